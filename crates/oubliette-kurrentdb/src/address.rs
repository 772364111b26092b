//! From the address that a user writes to the client's settings.
//!
//! The client's parser is not enough by itself: its error may quote the whole address with its password, and it sends a
//! user's name and password as they stand in the address, where `%40` means `@`.

use kurrentdb::{ClientSettings, Credentials};
use percent_encoding::percent_decode_str;

use crate::error::KurrentError;

/// The schemes of a connection string. Each may end in `+discover`.
const SCHEMES: [&str; 4] = ["kurrentdb", "kurrent", "kdb", "esdb"];

/// An address that was read. It has no `Debug`: the settings hold the password.
#[derive(Clone)]
pub(crate) struct Address {
    pub(crate) settings: ClientSettings,
    /// The user and the password, without escapes.
    pub(crate) credentials: Option<Credentials>,
    /// The servers, for messages: nothing of a user or a password.
    pub(crate) servers: String,
}

impl Address {
    pub(crate) fn parse(text: &str) -> Result<Self, KurrentError> {
        let text = text.trim();
        let (scheme, rest) = text.split_once("://").ok_or(KurrentError::Address(NO_SCHEME))?;
        let name = scheme.strip_suffix("+discover").unwrap_or(scheme);
        if !SCHEMES.contains(&name.to_ascii_lowercase().as_str()) {
            return Err(KurrentError::Address(NO_SCHEME));
        }
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let authority = rest.get(..end).unwrap_or(rest);
        let (user, servers) = match authority.rsplit_once('@') {
            Some((user, servers)) => (Some(user), servers),
            None => (None, authority),
        };
        let hosts_are_right = servers.split(',').all(is_host);
        if !hosts_are_right {
            return Err(KurrentError::Address(NO_HOST));
        }
        let settings: ClientSettings =
            // What the client says of it may quote the password.
            text.parse().map_err(|_| KurrentError::Address(BAD_PARAMETER))?;
        let credentials = user.map(credentials).transpose()?;
        Ok(Self { settings, credentials, servers: servers.to_owned() })
    }

    /// Whether there is more than one server to ask.
    pub(crate) fn is_cluster(&self) -> bool {
        self.settings.is_dns_discovery_enabled() || self.settings.hosts().len() > 1
    }
}

const NO_SCHEME: &str = "it begins with kurrentdb:// (or esdb://)";
const NO_HOST: &str = "a host is a name or an address, with a port or without";
const BAD_PARAMETER: &str = "one of its parameters, behind the `?`, is not right, or a character of the user or the \
     password needs an escape (`@` is %40)";

/// The client makes a URI of it, and panics where it cannot.
fn is_host(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => {
            (address, rest.strip_prefix(':').or_else(|| rest.is_empty().then_some("2113")))
        }
        None => match host.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (host, Some("2113")),
        },
    };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    !name.is_empty()
        && name.chars().all(is_plain)
        && port.is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

fn credentials(user: &str) -> Result<Credentials, KurrentError> {
    let (login, password) = user.split_once(':').unwrap_or((user, ""));
    let decoded = |text: &str| {
        let text = percent_decode_str(text).decode_utf8();
        text.map(|text| text.into_owned()).map_err(|_| KurrentError::Address(BAD_PARAMETER))
    };
    Ok(Credentials::new(decoded(login)?, decoded(password)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        match Address::parse(text) {
            Ok(_) => panic!("{text} was taken"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn an_address_is_read_and_its_servers_are_shown_without_the_password() {
        for (text, servers, cluster) in [
            ("kurrentdb://localhost:2113?tls=false", "localhost:2113", false),
            ("esdb://admin:changeit@db.example:2113", "db.example:2113", false),
            ("kdb://localhost", "localhost", false),
            ("kurrentdb://[::1]:2113?tls=false", "[::1]:2113", false),
            ("kurrentdb://u:p@n1:2113,n2:2113,n3:2113", "n1:2113,n2:2113,n3:2113", true),
            ("esdb+discover://u:p@cluster.example", "cluster.example", true),
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!((address.servers.as_str(), address.is_cluster()), (servers, cluster));
        }
    }

    #[test]
    fn the_password_is_the_one_that_was_meant() {
        let of = |text: &str| Address::parse(text).unwrap().credentials;
        let is = |login: &str, password: &str| {
            Some(Credentials::new(login.to_owned(), password.to_owned()))
        };
        assert_eq!(of("kurrentdb://ops:a%40b%3Ac%25@localhost"), is("ops", "a@b:c%"));
        assert_eq!(of("kurrentdb://ops@localhost"), is("ops", ""));
        assert_eq!(of("kurrentdb://zo%C3%AB:x@localhost"), is("zoë", "x"));
        assert_eq!(of("kurrentdb://localhost"), None);
    }

    #[test]
    fn what_is_no_address_is_refused_without_its_password() {
        for text in [
            "",
            "localhost:2113",
            "postgres://u:s3cret@localhost/db",
            "kurrentdb://u:s3cret@",
            "kurrentdb://u:s3cret@:2113",
            "kurrentdb://u:s3cret@host name:2113",
            "kurrentdb://u:s3cret@host:port",
            "kurrentdb://u:s3cret@host:70000",
            "kurrentdb://u:s3cret@host:0",
            "kurrentdb://u:s3cret@a:1,b:",
            "kurrentdb://u:s3cret@a,,b",
            "kurrentdb://u:s3cret@host?tls=perhaps",
            "kurrentdb://u:s3cret@host?nodePreference=best",
            "kurrentdb://u:s3cret@host?userCertFile=a.pem",
            "kurrentdb://u:s3cret@host/path",
            "kurrentdb://u:s3cret%FF@host",
            "kurrentdb://u:s3cret/x@host:2113",
        ] {
            let told = refused(text);
            assert!(!told.contains("s3cret") && told.contains("kurrentdb://"), "{text}: {told}");
        }
    }
}
