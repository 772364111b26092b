//! Where an event store is: a folder on this machine, or the address of a server.

use std::{
    ffi::OsStr,
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

/// Where an event store is.
///
/// ```
/// use oubliette_folder::StorePlace;
/// for folder in ["events", "/srv/bank/events", "sqlite:events", "sqlite:/srv/bank/events"] {
///     assert!(matches!(folder.parse()?, StorePlace::Folder(_)));
/// }
/// let place: StorePlace = "postgres://bank:secret@db.example/bank".parse()?;
/// assert_eq!(place.to_string(), "postgres://bank@db.example/bank");
/// // Not a folder of this name.
/// assert!("postgres:bank".parse::<StorePlace>().is_err());
/// # Ok::<(), oubliette_folder::PlaceError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StorePlace {
    /// The embedded store in this folder.
    Folder(PathBuf),
    /// A store at a server, which an [`OpenStore`](crate::OpenStore) opens.
    Address(StoreAddress),
}

/// Why a text does not say where an event store is. Nothing of the text is repeated but its scheme: it may hold a
/// password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlaceError {
    /// It begins as an address does, and is none.
    #[error(
        "what begins with `{0}:` is neither an address, which begins with `{0}://`, nor a folder: a folder of such a \
         name is written `./{0}:…`, or `sqlite:{0}:…`"
    )]
    Scheme(String),
    /// It would be an address with a colon.
    #[error("`{0}//` is no address: write `{0}://`; a folder of such a name is written `./{0}//…`")]
    Colon(String),
    /// Nothing is said.
    #[error("it names neither a folder nor a server")]
    Empty,
    /// Where a password ends cannot be told.
    #[error(
        "it cannot be told where its password ends: write `@` in user and password as %40, `/` as %2F, `?` as %3F and \
         `#` as %23, or give the password apart from the address"
    )]
    Password,
    /// It begins with no scheme, and may hold a password.
    #[error(
        "it looks like an address with a login or a password, and does not begin with a scheme such as `postgres://`; a \
         folder of such a name is written `./…`"
    )]
    Login,
    /// The name of its server is none, and may hold a password.
    #[error(
        "its server is none that it could be: write it behind the `@` as HOST or HOST:PORT, the port in digits, and `:` \
         and `@` around the password as they are"
    )]
    Server,
    /// It is an address, and not text.
    #[error("an address must be UTF-8 text")]
    NotText,
}

impl StorePlace {
    /// What an argument says.
    ///
    /// # Errors
    /// [`PlaceError`].
    pub fn parse(said: &OsStr) -> Result<Self, PlaceError> {
        match said.to_str() {
            Some(text) => text.parse(),
            None => match said.to_string_lossy() {
                text if scheme(text.trim_start()).is_some() => Err(PlaceError::NotText),
                text if may_hold_password(&text) => Err(PlaceError::Login),
                _ => Ok(Self::Folder(said.into())),
            },
        }
    }

    /// The folder, where it is one.
    pub fn folder(&self) -> Option<&Path> {
        match self {
            Self::Folder(folder) => Some(folder),
            Self::Address(_) => None,
        }
    }

    /// The address, where it is one.
    pub fn address(&self) -> Option<&StoreAddress> {
        match self {
            Self::Folder(_) => None,
            Self::Address(address) => Some(address),
        }
    }
}

impl FromStr for StorePlace {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        // In front of an address a space is a slip. A folder's name may begin with one.
        let trimmed = text.trim_start();
        let text = match scheme(trimmed) {
            Some((_, rest)) if rest.starts_with("//") => trimmed,
            _ => text,
        };
        if let Some((begin, _)) = text.split_once("//")
            && SCHEMES.contains(&&*begin.to_ascii_lowercase())
        {
            return Err(PlaceError::Colon(begin.to_owned()));
        }
        let Some((scheme, rest)) = scheme(text) else {
            return match text.is_empty() {
                true => Err(PlaceError::Empty),
                // The name of a folder is shown and noted.
                false if may_hold_password(text) => Err(PlaceError::Login),
                false => Ok(Self::Folder(text.into())),
            };
        };
        if scheme == "sqlite" {
            // `sqlite:///srv/events` is spelled as an address is.
            let folder = rest.strip_prefix("//").unwrap_or(rest);
            return match folder.is_empty() {
                true => Err(PlaceError::Empty),
                false => Ok(Self::Folder(folder.into())),
            };
        }
        match rest.strip_prefix("//") {
            Some(rest) => StoreAddress::new(scheme, rest).map(Self::Address),
            None => Err(PlaceError::Scheme(scheme)),
        }
    }
}

impl From<PathBuf> for StorePlace {
    fn from(folder: PathBuf) -> Self {
        Self::Folder(folder)
    }
}

/// Without a password.
impl fmt::Display for StorePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => folder.display().fmt(f),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// What addresses begin with, and people forget the colon behind.
const SCHEMES: [&str; 5] = ["postgres", "postgresql", "nats", "kafka", "sqlite"];

/// What a text begins with, in lower case, and what is behind its colon. One letter is a drive.
fn scheme(text: &str) -> Option<(String, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | '_');
    let is_scheme = scheme.len() > 1 && scheme.starts_with(|c: char| c.is_ascii_alphabetic());
    (is_scheme && scheme.chars().all(fits)).then(|| (scheme.to_ascii_lowercase(), rest))
}

/// Whether a text without a scheme looks like an address with a login (`USER:PASSWORD@HOST`), or with a parameter that is
/// a secret, and not like a path.
fn may_hold_password(text: &str) -> bool {
    let text = text.trim_start();
    let text = text.strip_prefix("://").or_else(|| text.strip_prefix("//")).unwrap_or(text);
    if text.starts_with(['.', '/', '\\']) {
        return false;
    }
    let has_login = text.split_once(':').is_some_and(|(user, rest)| {
        let is_drive = user.len() == 1 && rest.starts_with(['/', '\\']);
        !is_drive && !user.contains(['/', '\\']) && rest.contains('@')
    });
    let has_secret = |parameter: &str| parameter.contains('=') && is_secret(parameter);
    has_login || text.split_once('?').is_some_and(|(_, rest)| rest.split('&').any(has_secret))
}

/// Whether these may be servers. What has another form may be a login whose `@` is missing or encoded, and servers are shown.
fn are_servers(servers: &str) -> bool {
    let is_server = |server: &str| {
        // An address of IPv6 has its colons in brackets.
        let behind = server.rsplit_once(']').map_or(server, |(_, behind)| behind);
        let port = behind.rsplit_once(':').map_or("", |(_, port)| port);
        port.bytes().all(|byte| byte.is_ascii_digit()) && behind.matches(':').count() <= 1
    };
    !servers.contains("%40") && servers.split(',').all(is_server)
}

/// The address of an event store at a server: `SCHEME://USER@HOST:PORT/NAME?…`.
///
/// It is shown without what opens the store: a password, or the token of NATS.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreAddress {
    // In a box, because places are in errors.
    parts: Box<AddressParts>,
}

#[derive(Clone, PartialEq, Eq)]
struct AddressParts {
    scheme: String,
    /// Before the password, of which there may be none.
    user: String,
    password: Option<String>,
    /// Behind the user: server, path and parameters, without secrets.
    rest: String,
    /// The parameters that are secrets.
    secrets: Vec<String>,
}

/// What is in the names of parameters that are secrets, or hold one: of PostgreSQL, of NATS, and of librdkafka's settings.
const SECRETS: [&str; 8] =
    ["pass", "token", "secret", "sasl", "pem", "key", "credential", "config"];

impl StoreAddress {
    fn new(scheme: String, text: &str) -> Result<Self, PlaceError> {
        let end = text.find(['/', '?', '#']).unwrap_or(text.len());
        let (before, behind) = text.split_at(end);
        // Where another one is, programs do not agree on where the server's name begins.
        if behind.contains('@') || before.matches('@').count() > 1 {
            return Err(PlaceError::Password);
        }
        let (user, servers) = before.split_once('@').unwrap_or(("", before));
        let (user, password) = match user.split_once(':') {
            Some((user, password)) => (user, Some(password.to_owned())),
            // A user alone is a token there.
            None if scheme == "nats" && !user.is_empty() => ("", Some(user.to_owned())),
            // A colon that is encoded may be meant to part the two.
            None if user.to_ascii_lowercase().contains("%3a") => return Err(PlaceError::Server),
            None => (user, None),
        };
        if !are_servers(servers) {
            return Err(PlaceError::Server);
        }
        let (path, parameters) = behind.split_once('?').unwrap_or((behind, ""));
        let (secrets, shown): (Vec<&str>, Vec<&str>) =
            parameters.split('&').filter(|one| !one.is_empty()).partition(|one| is_secret(one));
        let mark = if shown.is_empty() { "" } else { "?" };
        let parts = AddressParts {
            scheme,
            user: user.to_owned(),
            password: password.filter(|password| !password.is_empty()),
            rest: format!("{servers}{path}{mark}{}", shown.join("&")),
            secrets: secrets.into_iter().map(str::to_owned).collect(),
        };
        Ok(Self { parts: Box::new(parts) })
    }

    /// Its scheme, in lower case: `postgres`.
    pub fn scheme(&self) -> &str {
        &self.parts.scheme
    }

    /// Whether it holds a password, or another secret.
    pub fn has_password(&self) -> bool {
        self.parts.password.is_some() || !self.parts.secrets.is_empty()
    }

    /// All of it, for whoever opens the store; with this password where it has none. Not to be shown.
    pub fn with_password(&self, password: Option<&str>) -> String {
        let other = password.filter(|_| !self.has_password()).map(encoded);
        let mut password = self.parts.password.as_ref().or(other.as_ref());
        let mut secrets = self.parts.secrets.clone();
        if self.parts.user.is_empty() && self.parts.scheme.starts_with("postgres") {
            // With a colon alone the user would have no name there, instead of that of whoever asks.
            secrets.extend(password.take().map(|password| format!("password={password}")));
        }
        let mut text = format!("{}://{}", self.parts.scheme, self.parts.user);
        match password {
            // For NATS a token.
            Some(password) if self.parts.user.is_empty() && self.parts.scheme == "nats" => {
                text.push_str(password);
            }
            Some(password) => text.extend([":", password]),
            None if !self.parts.user.is_empty() && self.parts.scheme == "nats" => text.push(':'),
            None => {}
        }
        if password.is_some() || !self.parts.user.is_empty() {
            text.push('@');
        }
        text.push_str(&self.parts.rest);
        for secret in &secrets {
            text.push(if text.contains('?') { '&' } else { '?' });
            text.push_str(secret);
        }
        text
    }
}

/// Whether a parameter is a secret, or may be one by a name that is hard to read.
fn is_secret(parameter: &str) -> bool {
    let name = parameter.split('=').next().unwrap_or_default().to_ascii_lowercase();
    name.contains('%') || SECRETS.iter().any(|secret| name.contains(secret))
}

/// A password as it stands in an address.
fn encoded(password: &str) -> String {
    let mut text = String::with_capacity(password.len());
    for byte in password.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                text.push(byte.into());
            }
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

/// Without a password.
impl fmt::Display for StoreAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = match &*self.parts.user {
            "" => "",
            // Alone it would be a token.
            _ if self.parts.scheme == "nats" => ":@",
            _ => "@",
        };
        write!(f, "{}://{}{at}{}", self.parts.scheme, self.parts.user, self.parts.rest)
    }
}

/// Without a password.
impl fmt::Debug for StoreAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreAddress({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> StorePlace {
        text.parse().unwrap()
    }

    fn address(text: &str) -> StoreAddress {
        parsed(text).address().unwrap().clone()
    }

    /// Kafka's parameters are librdkafka's settings, of which many are secrets or hold one.
    #[test]
    fn no_setting_that_is_a_secret_is_shown() {
        for name in ["sasl.password", "ssl.key.password", "ssl.key.pem", "sasl.oauthbearer.config"]
        {
            let address = address(&format!("kafka://h:1/bank?{name}=hush&client.rack=a"));
            assert_eq!(address.to_string(), "kafka://h:1/bank?client.rack=a", "{name}");
            assert!(address.has_password() && !format!("{address:?}").contains("hush"), "{name}");
            assert!(address.with_password(None).contains(&format!("{name}=hush")), "{name}");
        }
    }

    #[test]
    fn a_path_is_a_folder_and_what_begins_as_an_address_is_none() {
        for path in ["events", "./a:b", "/srv/postgres://x", "a/b:c", "c:", "C:\\events", "1a:b"] {
            assert_eq!(parsed(path), StorePlace::Folder(path.into()), "{path}");
        }
        for (text, folder) in
            [("sqlite:a", "a"), ("SQLite:/a", "/a"), ("sqlite:///a", "/a"), ("sqlite:a:b", "a:b")]
        {
            assert_eq!(parsed(text), StorePlace::Folder(folder.into()), "{text}");
        }
        for text in ["postgres:a", "foo:bar", "foo:/bar", "file:"] {
            let scheme = text.split(':').next().unwrap().to_owned();
            assert_eq!(text.parse::<StorePlace>(), Err(PlaceError::Scheme(scheme)), "{text}");
        }
        for text in ["", "sqlite:", "sqlite://"] {
            assert_eq!(text.parse::<StorePlace>(), Err(PlaceError::Empty), "{text}");
        }
        // Whether anybody knows the scheme is not asked here.
        assert_eq!(address("FOO://bar").scheme(), "foo");
    }

    #[test]
    fn no_address_shows_its_password_and_whoever_opens_the_store_gets_it() {
        for (text, shown) in [
            ("postgres://u:hush@h:1/d?sslmode=require", "postgres://u@h:1/d?sslmode=require"),
            ("postgres://:hush@h/d", "postgres://h/d"),
            ("postgres://h/d?password=hush&a=b", "postgres://h/d?a=b"),
            ("postgres://u@h/d?a=b&PASSWORD=hush", "postgres://u@h/d?a=b"),
            ("postgres://h/d?pass%77ord=hush", "postgres://h/d"),
            ("postgres://u:hush@h,h2:3/d", "postgres://u@h,h2:3/d"),
            ("nats://hush@h:4222", "nats://h:4222"),
            ("nats://u:hush@h:4222", "nats://u:@h:4222"),
            ("kafka://u:hu%40sh@h", "kafka://u@h"),
        ] {
            let address = address(text);
            assert_eq!(address.to_string(), shown, "{text}");
            assert!(!format!("{address:?}{:?}", parsed(text)).contains("hu"), "{text}");
            assert!(address.has_password());
            // The parameters may stand in another order.
            let full = address.with_password(Some("other"));
            assert!(full.contains("hush") || full.contains("hu%40sh"), "{full}");
            assert!(!full.contains("other"), "{full}");
            // What is noted is read again, and has none.
            let noted = parsed(shown);
            assert_eq!(noted.to_string(), shown);
            assert!(!noted.address().unwrap().has_password());
        }
        assert_eq!(
            address("postgres://u:hush@h/d?password=x").with_password(None),
            "postgres://u:hush@h/d?password=x"
        );
    }

    /// A folder is shown and noted by its name, and a server by its: neither may be where a password is.
    #[test]
    fn a_password_in_the_wrong_place_is_neither_a_folders_name_nor_a_servers() {
        for (text, error) in [
            ("u:hush@h/d", PlaceError::Login),
            ("bank:hush@h/d", PlaceError::Scheme("bank".into())),
            ("b%40nk:hush@h/d", PlaceError::Login),
            ("u:hu/sh@h/d", PlaceError::Login),
            ("//u:hush@h/d", PlaceError::Login),
            ("://u:hush@h/d", PlaceError::Login),
            (" u:hush@h/d", PlaceError::Login),
            ("post gres://u:hush@h/d", PlaceError::Login),
            ("url=postgres://u:hush@h/d", PlaceError::Login),
            ("h/d?password=hush", PlaceError::Login),
            ("postgres://u:hush%40h/d", PlaceError::Server),
            ("postgres://u:hush/d", PlaceError::Server),
            ("postgres://u%3Ahush@h/d", PlaceError::Server),
            ("kafka://u%3ahush@h:1/d", PlaceError::Server),
            ("nats://u:hush", PlaceError::Server),
            ("kafka://a:1,u:hush/d", PlaceError::Server),
        ] {
            let refused = text.parse::<StorePlace>().unwrap_err();
            assert_eq!(refused, error, "{text}");
            assert_eq!(StorePlace::parse(OsStr::new(text)), Err(error), "{text}");
            assert!(!format!("{refused} {refused:?}").contains("hu"), "{text}: {refused}");
        }
        for folder in
            ["./u:hush@h", "/u:x@h", "C:\\a@b", "c:/a@b", "a@b", " a b", "a/b:c@d", "what?"]
        {
            assert_eq!(parsed(folder), StorePlace::Folder(folder.into()), "{folder}");
        }
        for (text, shown) in [
            (" postgres://u:hush@h/d", "postgres://u@h/d"),
            ("\n\tnats://hush@h:4222", "nats://h:4222"),
            ("nats://u%3Ahush@h", "nats://h"),
            ("postgres://u:hush@[::1]:5432,h2/d", "postgres://u@[::1]:5432,h2/d"),
            ("postgres://%2Frun%2Fpostgresql/d", "postgres://%2Frun%2Fpostgresql/d"),
        ] {
            let place = parsed(text);
            assert_eq!(place.to_string(), shown, "{text}");
            assert!(!format!("{place:?}").contains("hush"), "{text}");
        }
    }

    #[test]
    fn a_password_from_elsewhere_is_put_where_it_belongs() {
        for (text, full) in [
            ("postgres://u@h/d", "postgres://u:a%2Fb%40@h/d"),
            ("postgres://h/d?a=b", "postgres://h/d?a=b&password=a%2Fb%40"),
            ("kafka://h/d", "kafka://:a%2Fb%40@h/d"),
            ("nats://h:4222", "nats://a%2Fb%40@h:4222"),
            ("nats://u:@h:4222", "nats://u:a%2Fb%40@h:4222"),
        ] {
            assert_eq!(address(text).with_password(Some("a/b@")), full, "{text}");
        }
        assert_eq!(address("nats://u:@h").with_password(None), "nats://u:@h");
    }

    #[test]
    fn an_address_whose_password_ends_somewhere_is_refused_and_not_repeated() {
        for text in [
            "postgres://u:hu/sh@h/d",
            "postgres://u:hu?sh@h/d",
            "postgres://u:hu#sh@h/d",
            "postgres://u:hu@sh@h/d",
            "postgres://h/d?options=a@b",
        ] {
            let error = text.parse::<StorePlace>().unwrap_err();
            assert_eq!(error, PlaceError::Password, "{text}");
            assert!(!error.to_string().contains("hu"), "{error}");
        }
    }
}
