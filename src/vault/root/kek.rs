//! Where a key-encryption key comes from: what a caller says of it, and what is told of it.

use std::{fmt, path::PathBuf, str::FromStr};

use serde::{Deserialize, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::event::{Odd, UNICODE_VERSION, typed};

/// Where the key-encryption key comes from that wraps the root at rest.
///
/// As text (`Display`, `FromStr`): `none`, `passphrase`, `file:PATH`, `env:VAR`, `command:CMD`. It
/// says where a secret is, and is none itself.
///
/// A key is 32 bytes: raw (in a file, or from a command), or as 64 hexadecimal digits, or in
/// Base64; white space around a text is passed over.
///
/// ```no_run
/// use oubliette::vault::{Kek, Passphrase, Vault};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let vault = Vault::in_memory()?;
/// // Wraps the root key by a passphrase, and later by nothing.
/// let passphrase = Passphrase::new("correct horse battery staple".to_owned());
/// vault.set_kek(&Kek::Passphrase, passphrase.as_ref()).await?;
/// vault.set_kek(&Kek::None, None).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(try_from = "String")]
pub enum Kek {
    /// From nowhere: anyone who reads the slot has the root key.
    #[default]
    None,
    /// A passphrase, which is given apart.
    Passphrase,
    /// A file that holds the key.
    File(PathBuf),
    /// An environment variable that holds the key, as text.
    Environment(String),
    /// A command of the system's shell that writes the key to its standard output, within a minute: so
    /// any key management service can decrypt it.
    Command(String),
}

impl fmt::Display for Kek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Passphrase => f.write_str("passphrase"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Environment(name) => write!(f, "env:{name}"),
            Self::Command(command) => write!(f, "command:{command}"),
        }
    }
}

/// As it may be logged: a command can hold a password or a token of a key management service.
impl fmt::Debug for Kek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.described())
    }
}

/// Not a place of a key-encryption key. It never repeats the text, which may be the key itself, given
/// by mistake.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "what was given does not say where a key-encryption key comes from; it is not repeated here, because it \
     may be the key itself; give none, passphrase, file:PATH, env:VAR or command:CMD"
)]
pub struct KekError;

impl FromStr for Kek {
    type Err = KekError;

    fn from_str(text: &str) -> Result<Self, KekError> {
        Ok(match text.split_once(':') {
            None if text == "none" => Self::None,
            None if text == "passphrase" => Self::Passphrase,
            Some(("file", path)) if !path.is_empty() => Self::File(path.into()),
            // Whatever is no name of a variable may be the key.
            Some(("env", name)) if is_variable(name) => Self::Environment(name.to_owned()),
            Some(("command", command)) if !command.is_empty() => Self::Command(command.to_owned()),
            _ => return Err(KekError),
        })
    }
}

/// A portable name of an environment variable (POSIX.1, section 8.1), in either case, and too short
/// to be a key: those have 43 characters or more.
fn is_variable(name: &str) -> bool {
    if name.len() > 40 {
        return false;
    }
    let letter = |byte: &u8| byte.is_ascii_alphabetic() || *byte == b'_';
    name.as_bytes().first().is_some_and(letter)
        && name.bytes().all(|byte| letter(&byte) || byte.is_ascii_digit())
}

impl Kek {
    /// Its text, for messages and logs: of a command only that it is one.
    pub(crate) fn described(&self) -> String {
        match self {
            Self::Command(_) => "command:…".to_owned(),
            other => other.to_string(),
        }
    }
}

impl TryFrom<String> for Kek {
    type Error = KekError;

    fn try_from(text: String) -> Result<Self, KekError> {
        text.parse()
    }
}

/// As text; an error where the path of a file is none.
impl Serialize for Kek {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::File(path) if path.to_str().is_none() => {
                Err(serde::ser::Error::custom("the path of the key's file is not UTF-8"))
            }
            kek => serializer.collect_str(kek),
        }
    }
}

/// A passphrase, wiped when dropped.
///
/// ```
/// use oubliette::{vault::{Kek, Passphrase, SlotConfig}, *};
/// # let dir = tempfile::tempdir()?;
/// # let (folder, root) = (dir.path().join("vault"), dir.path().join("vault.root"));
/// # let typed = || "seven words that nobody else would choose".to_owned();
/// let slot = |passphrase| SlotConfig::from(root.as_path()).with_kek(Kek::Passphrase, passphrase);
/// drop(Vault::create(&folder, slot(Passphrase::new(typed())))?);
/// assert!(Vault::open(&folder, slot(Passphrase::new("another".to_owned()))).is_err());
/// let vault = Vault::open(&folder, slot(Passphrase::new(typed())))?;
/// # drop(vault);
/// assert!(Passphrase::new(String::new()).is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// A passphrase; `None` if it is empty.
    pub fn new(text: impl Into<Zeroizing<String>>) -> Option<Self> {
        let text = text.into();
        (!text.is_empty()).then_some(Self(text))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// As the person who types it means it: two keyboards, or a terminal and a variable, may give other bytes for
    /// the same `é`.
    pub(super) fn in_one_form(&self) -> Result<Self, String> {
        typed(&self.0).map(Self).map_err(|(c, odd)| match odd {
            Odd::Unassigned => format!(
                "it has a character that Unicode {} has not assigned, so that its bytes may change",
                UNICODE_VERSION.0
            ),
            Odd::Hidden if c.is_control() => {
                "it has a control character, such as the end of a line".to_owned()
            }
            Odd::Hidden => "it has a character that does not show, or of private use".to_owned(),
        })
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase")
    }
}

/// What the root key in a slot is wrapped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WrappedBy {
    /// Nothing: anyone who reads the slot has the root key.
    Nothing,
    /// A key of 32 bytes.
    Key,
    /// A passphrase, by way of Argon2id.
    Passphrase,
}

impl fmt::Display for WrappedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "nothing",
            Self::Key => "a key",
            Self::Passphrase => "a passphrase",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_place_is_read_back() {
        for text in ["none", "passphrase", "file:/a:b", "env:KEY", "command:kms decrypt x"] {
            assert_eq!(text.parse::<Kek>().unwrap().to_string(), text);
        }
        let wrong = [
            "",
            "file:",
            "hunter2",
            "pass:hunter2",
            "env:",
            "hunter2:x",
            "env:hunter2=",
            "env:7hunter2",
        ];
        for text in wrong {
            let error = text.parse::<Kek>().unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
