//! Which object of which token, as a URI of RFC 7512.

use std::{fmt, path::PathBuf, str::FromStr};

use crate::vault::root::Passphrase;

/// Where in a PKCS#11 token the slot is: an object's name, in a token, which a module speaks to.
///
/// As text (`Display`, `FromStr`) a URI of RFC 7512:
/// `pkcs11:token=bank;object=vault-1?module-path=/usr/lib/pkcs11.so&pin-source=file:/run/pin`. The token
/// is named by its `token`, `serial`, `manufacturer` and `model`, as many as it takes. It says
/// where the PIN is, and never what it is.
///
/// ```
/// use oubliette::vault::{SlotConfig, SlotLocation};
/// let uri = "pkcs11:token=bank;object=vault-1?module-path=/usr/lib/pkcs11.so&pin-source=file:/run/pin";
/// let slot = SlotConfig::at(SlotLocation::Pkcs11(uri.parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pkcs11Object {
    pub(super) object: String,
    /// What the token says of itself: which attribute, and its value.
    pub(super) token: Vec<(&'static str, String)>,
    pub(super) module: PathBuf,
    pub(super) pin_source: Option<PathBuf>,
    pub(super) pin: Option<Passphrase>,
}

/// Not a place in a PKCS#11 token. No message repeats a value of the URI.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0}; it is written like \
     pkcs11:token=NAME;object=NAME?module-path=/PATH/OF/MODULE.so&pin-source=file:/PATH/OF/PIN"
)]
pub struct Pkcs11UriError(String);

/// What a token is told from others by.
const OF_TOKENS: [&str; 4] = ["token", "serial", "manufacturer", "model"];
/// What else may be in the URI: before the `?`, and after it.
const OF_OBJECTS: [&str; 2] = ["object", "type"];
const OF_QUERIES: [&str; 2] = ["module-path", "pin-source"];

impl Pkcs11Object {
    /// With this PIN, instead of the one in the file that the URI names.
    #[must_use]
    pub fn with_pin(mut self, pin: Option<Passphrase>) -> Self {
        self.pin = pin;
        self
    }
}

impl FromStr for Pkcs11Object {
    type Err = Pkcs11UriError;

    fn from_str(text: &str) -> Result<Self, Pkcs11UriError> {
        let Some(uri) = text.strip_prefix("pkcs11:") else {
            return Err(bad("it does not begin with pkcs11:"));
        };
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        let path = attributes(path, ';', &[&OF_TOKENS[..], &OF_OBJECTS].concat())?;
        let mut query = attributes(query, '&', &OF_QUERIES)?;
        let (of_token, of_object): (Vec<_>, Vec<_>) =
            path.into_iter().partition(|(name, _)| OF_TOKENS.contains(name));
        if !of_token.iter().any(|(name, _)| ["token", "serial"].contains(name)) {
            return Err(bad("which token is not said: token=NAME or serial=NUMBER is missing"));
        }
        let mut object = None;
        for (name, value) in of_object {
            match name {
                "object" => object = Some(value),
                _ if value == "data" => {}
                _ => return Err(bad("a root slot is of type=data")),
            }
        }
        let mut file = |name: &str| {
            let at = query.iter().position(|(known, _)| *known == name);
            at.map(|at| query.swap_remove(at).1)
        };
        let (module, pin_source) = (file("module-path"), file("pin-source"));
        let module = module.ok_or_else(|| {
            bad("which module speaks to the token is not said: ?module-path=/PATH is missing")
        })?;
        let pin_source = pin_source.map(|source| {
            let path = source.strip_prefix("file:").unwrap_or(&source);
            absolute("pin-source", path.strip_prefix("//").unwrap_or(path))
        });
        Ok(Self {
            object: object.ok_or_else(|| bad("what to call the slot is missing: object=NAME"))?,
            token: of_token,
            module: absolute("module-path", &module)?,
            pin_source: pin_source.transpose()?,
            pin: None,
        })
    }
}

/// The attributes of one half of the URI, which must be of these names.
fn attributes(
    text: &str,
    separator: char,
    known: &[&'static str],
) -> Result<Vec<(&'static str, String)>, Pkcs11UriError> {
    let mut found: Vec<(&'static str, String)> = Vec::new();
    for part in text.split(separator).filter(|_| !text.is_empty()) {
        let Some((name, value)) = part.split_once('=') else {
            return Err(bad("a part of it has no ="));
        };
        if name == "pin-value" {
            return Err(bad(
                "a PIN does not belong into it, where others see it and the data folder notes it: put \
                 the PIN into a file of your own and say pin-source=file:/PATH, or set \
                 OUBLIETTE_PKCS11_PIN",
            ));
        }
        let Some(name) = known.iter().find(|known| **known == name) else {
            let known = known.join(", ");
            return Err(bad(&format!("{name:?} is not known there, only {known}")));
        };
        if found.iter().any(|(known, _)| known == name) {
            return Err(bad(&format!("{name} stands in it twice")));
        }
        let value = decode(value, separator).map_err(|why| bad(&format!("{name}: {why}")))?;
        if value.is_empty() {
            return Err(bad(&format!("{name} is empty")));
        }
        found.push((name, value));
    }
    Ok(found)
}

/// What may be in a value as it is, besides letters and digits (RFC 7512, section 2.3).
fn plain(byte: u8, separator: char) -> bool {
    let of_half: &[u8] = if separator == ';' { b"&" } else { b"/?|" };
    byte.is_ascii_alphanumeric() || b"-._~:[]@!$'()*+,=".contains(&byte) || of_half.contains(&byte)
}

fn decode(text: &str, separator: char) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            if !plain(byte, separator) {
                return Err(format!("a character must be written as %{byte:02X}"));
            }
            bytes.push(byte);
            continue;
        }
        let digits = rest.split_at_checked(2).filter(|(two, _)| two.is_ascii());
        let decoded = digits.and_then(|(two, after)| {
            let two = std::str::from_utf8(two).ok().filter(|two| !two.starts_with('+'))?;
            Some((u8::from_str_radix(two, 16).ok()?, after))
        });
        let (byte, after) = decoded.ok_or("a % without two hexadecimal digits after it")?;
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())
}

fn encode(text: &str, separator: char) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            byte if plain(byte, separator) => encoded.push(char::from(byte)),
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

fn absolute(name: &str, path: &str) -> Result<PathBuf, Pkcs11UriError> {
    if path.starts_with('/') || PathBuf::from(path).is_absolute() {
        return Ok(path.into());
    }
    Err(bad(&format!("{name} must be the whole path of a file: one works in another folder later")))
}

impl fmt::Display for Pkcs11Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("pkcs11:")?;
        for (name, value) in &self.token {
            write!(f, "{name}={};", encode(value, ';'))?;
        }
        write!(f, "object={}", encode(&self.object, ';'))?;
        write!(f, "?module-path={}", encode(&self.module.to_string_lossy(), '&'))?;
        match &self.pin_source {
            Some(file) => write!(f, "&pin-source=file:{}", encode(&file.to_string_lossy(), '&')),
            None => Ok(()),
        }
    }
}

fn bad(why: &str) -> Pkcs11UriError {
    Pkcs11UriError(why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(uri: &str) -> String {
        uri.parse::<Pkcs11Object>().unwrap_err().to_string()
    }

    #[test]
    fn a_uri_is_understood_and_written_again() {
        let uri = "pkcs11:token=The%20Software%3b%20Token;serial=12ab;object=vault-%31;type=data\
                   ?pin-source=file:///run/a%20pin&module-path=/usr/lib/softhsm/libsofthsm2.so";
        let object: Pkcs11Object = uri.parse().unwrap();
        assert_eq!(object.object, "vault-1");
        let token = [("token", "The Software; Token"), ("serial", "12ab")];
        assert_eq!(object.token, token.map(|(name, value)| (name, value.to_owned())));
        assert_eq!(object.module, PathBuf::from("/usr/lib/softhsm/libsofthsm2.so"));
        assert_eq!(object.pin_source, Some("/run/a pin".into()));
        let again = object.to_string();
        assert_eq!(
            again,
            "pkcs11:token=The%20Software%3B%20Token;serial=12ab;object=vault-1\
             ?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/run/a%20pin"
        );
        assert_eq!(again.parse::<Pkcs11Object>().unwrap(), object);
    }

    #[test]
    fn what_is_missing_unknown_or_malformed_is_said() {
        for (uri, word) in [
            ("tpm:0x01500016", "begin with pkcs11:"),
            ("pkcs11:", "token=NAME"),
            ("pkcs11:model=x;object=v?module-path=/m", "token=NAME"),
            ("pkcs11:token=t?module-path=/m", "object=NAME"),
            ("pkcs11:token=t;object=v", "module-path=/PATH is missing"),
            ("pkcs11:token=t;object=v?module-path=m.so", "whole path"),
            ("pkcs11:token=t;object=v?module-path=/m&pin-source=pin", "whole path"),
            ("pkcs11:token=t;object=v?module-path=/m&pin-source=%7Ccat%20pin", "whole path"),
            ("pkcs11:token=t;object=v?module-name=softhsm2", "\"module-name\" is not known"),
            ("pkcs11:token=t;object=v;slot-id=0?module-path=/m", "\"slot-id\" is not known"),
            ("pkcs11:token=t;token=u;object=v?module-path=/m", "twice"),
            ("pkcs11:token=t;object=v;type=private?module-path=/m", "type=data"),
            ("pkcs11:token=t;object=?module-path=/m", "object is empty"),
            ("pkcs11:token=t;object?module-path=/m", "no ="),
            ("pkcs11:token=t;;object=v?module-path=/m", "no ="),
            ("pkcs11:token=my token;object=v?module-path=/m", "%20"),
            ("pkcs11:token=t/u;object=v?module-path=/m", "%2F"),
            ("pkcs11:token=%4;object=v?module-path=/m", "two hexadecimal digits"),
            ("pkcs11:token=%+4;object=v?module-path=/m", "two hexadecimal digits"),
            ("pkcs11:token=%ff;object=v?module-path=/m", "UTF-8"),
        ] {
            assert!(told(uri).contains(word), "{uri}: {}", told(uri));
        }
    }

    #[test]
    fn a_pin_in_the_uri_is_refused_and_not_repeated() {
        for uri in [
            "pkcs11:token=t;object=v?module-path=/m&pin-value=hunter2",
            "pkcs11:token=t;object=v;pin-value=hunter2?module-path=/m",
        ] {
            let told = told(uri);
            assert!(told.contains("pin-source") && told.contains("OUBLIETTE_PKCS11_PIN"), "{told}");
            assert!(!told.contains("hunter2"), "{told}");
        }
        // Nor is any other value, which may be the PIN in the wrong place.
        assert!(
            !told("pkcs11:token=t;object=v?module-path=/m&pin-source=hunter2").contains("hunter2")
        );
    }
}
