//! Names of event streams as subjects of NATS, one to one.
//!
//! A subject is `PREFIX.NAME`. A name is one token of it, and stays readable: what a token cannot carry is written as `%`
//! and two capital hexadecimal digits, and so is `%` itself. Every other character, ASCII or not, stands for itself, so
//! that the longest name, which has 255 bytes, is at most three times as long here.

use oubliette::event::StreamName;

/// The longest prefix, in bytes. With it, a name at its longest and an inbox to answer to, a line of NATS' protocol stays
/// far below the 4096 bytes that a server takes by default.
const MAX_PREFIX_BYTES: usize = 128;

/// The longest name of a JetStream stream, in bytes: the server makes a folder of it.
const MAX_STREAM_BYTES: usize = 128;

/// What begins all subjects of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Prefix(String);

impl Prefix {
    /// Takes a prefix of one or more tokens: `None` where a subject cannot begin with it.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let token = |token: &str| !token.is_empty() && token.chars().all(is_plain);
        (text.len() <= MAX_PREFIX_BYTES && text.split('.').all(token))
            .then(|| Self(text.to_owned()))
    }

    /// The subject of an event stream.
    pub(crate) fn subject(&self, stream: &StreamName) -> String {
        format!("{}.{}", self.0, escape(stream.as_str()))
    }

    /// The event stream that has this subject. Another spelling of a name is no subject of ours: two subjects are never one
    /// stream.
    pub(crate) fn stream(&self, subject: &str) -> Option<StreamName> {
        let token = subject.strip_prefix(&self.0)?.strip_prefix('.')?;
        let name = StreamName::new(unescape(token)?).ok()?;
        (escape(name.as_str()) == token).then_some(name)
    }

    /// A subject that no event stream has, because a lone `%` is no escape: for asking the server, never for storing.
    pub(crate) fn subject_of_nobody(&self) -> String {
        format!("{}.%", self.0)
    }

    /// All subjects of the store.
    pub(crate) fn all(&self) -> String {
        format!("{}.*", self.0)
    }

    /// Where the server tells of each message that it stored.
    pub(crate) fn news(&self) -> String {
        format!("{}-new", self.0)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a JetStream stream can have this name.
pub(crate) fn is_stream(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_STREAM_BYTES && name.chars().all(is_plain)
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-' || c == '_'
}

/// What a token cannot carry: what parts tokens, wildcards, spaces and controls; and the sign of an escape.
fn is_escaped(c: char) -> bool {
    matches!(c, '.' | '*' | '>' | '%' | ' ') || c.is_ascii_control()
}

fn escape(name: &str) -> String {
    let mut token = String::with_capacity(name.len());
    for c in name.chars() {
        if is_escaped(c) {
            // Each of these is one byte.
            token.push_str(&format!("%{:02X}", u32::from(c)));
        } else {
            token.push(c);
        }
    }
    token
}

fn unescape(token: &str) -> Option<String> {
    let mut name = String::with_capacity(token.len());
    let mut rest = token;
    while let Some((plain, escaped)) = rest.split_once('%') {
        name.push_str(plain);
        let digits = escaped.get(..2)?;
        name.push(char::from(u8::from_str_radix(digits, 16).ok()?));
        rest = escaped.get(2..)?;
    }
    name.push_str(rest);
    Some(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn prefix() -> Prefix {
        Prefix::new("bank.events").unwrap()
    }

    #[test]
    fn usual_names_stay_as_they_are() {
        for (name, subject) in [
            ("user-456", "bank.events.user-456"),
            ("user-public-456", "bank.events.user-public-456"),
            ("acme/user_7", "bank.events.acme/user_7"),
            ("straße-é-日本", "bank.events.straße-é-日本"),
            ("a.b", "bank.events.a%2Eb"),
            ("*", "bank.events.%2A"),
            (">", "bank.events.%3E"),
            ("50%", "bank.events.50%25"),
            ("%2E", "bank.events.%252E"),
        ] {
            let name = StreamName::new(name).unwrap();
            assert_eq!(prefix().subject(&name), subject);
            assert_eq!(prefix().stream(subject), Some(name));
        }
    }

    #[test]
    fn another_spelling_is_no_stream() {
        for subject in [
            "bank.events",
            "bank.events.",
            "bank.eventsx",
            "bank.other.a",
            "bank.events.a.b",
            "bank.events.%2e",
            "bank.events.%41",
            "bank.events.%",
            "bank.events.%2",
            "bank.events.%+1",
            "bank.events.%é",
            "bank.events.%20",
            "bank.events.e\u{301}",
            "bank.events.*",
        ] {
            assert_eq!(prefix().stream(subject), None, "{subject}");
        }
    }

    #[test]
    fn the_longest_name_fits() {
        let name = StreamName::new(".".repeat(255)).unwrap();
        let subject = prefix().subject(&name);
        assert!(subject.len() < 1024, "{}", subject.len());
        assert_eq!(prefix().stream(&subject), Some(name));
    }

    #[test]
    fn a_prefix_or_a_stream_that_nats_cannot_have_is_refused() {
        let long = "a".repeat(MAX_PREFIX_BYTES + 1);
        for bad in
            ["", ".", "a.", ".a", "a..b", "a b", "a.*", ">", "$JS", "é", "a/b", long.as_str()]
        {
            assert_eq!(Prefix::new(bad), None, "{bad:?}");
            assert!(!is_stream(bad), "{bad:?}");
        }
        assert!(!is_stream("a.b") && is_stream("OUBLIETTE") && is_stream("bank_events-2"));
    }

    proptest! {
        #[test]
        fn each_name_has_one_subject(a in ".{1,40}", b in ".{1,40}") {
            let names = [&a, &b].map(StreamName::new);
            for name in names.iter().flatten() {
                let subject = prefix().subject(name);
                let read = prefix().stream(&subject);
                prop_assert_eq!(read.as_ref(), Some(name));
                prop_assert!(subject.split('.').count() == 3 && !subject.contains([' ', '*', '>']));
            }
            if let [Ok(a), Ok(b)] = &names {
                prop_assert_eq!(a == b, prefix().subject(a) == prefix().subject(b));
            }
        }

        #[test]
        fn a_subject_that_is_read_is_the_one_that_is_written(token in "[a%.2EFé*]{1,9}") {
            let subject = format!("bank.events.{token}");
            if let Some(name) = prefix().stream(&subject) {
                prop_assert_eq!(prefix().subject(&name), subject);
            }
        }
    }
}
