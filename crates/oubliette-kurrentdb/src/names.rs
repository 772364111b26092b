//! Names of streams: ours and the server's, one to one.
//!
//! A stream is named on the server as here, with the store's prefix before it (none by default). Names that begin with `$`
//! are the server's own streams; no name of ours does.

use oubliette::event::StreamName;

/// The longest prefix, in bytes.
const MAX_PREFIX_BYTES: usize = 128;

/// What begins the names of a store's streams on the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Prefix(String);

/// Whose a stream of the server is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    Ours(StreamName),
    /// The server's own, or of another prefix.
    Others,
    /// It would be ours, but no stream of ours can have this name: another program made it.
    Odd,
}

impl Prefix {
    /// `None` where no stream's name can begin with it.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let is_name = || StreamName::new(text).is_ok_and(|name| name.as_str() == text);
        (text.is_empty() || text.len() <= MAX_PREFIX_BYTES && is_name())
            .then(|| Self(text.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The name on the server.
    pub(crate) fn theirs(&self, stream: &StreamName) -> String {
        format!("{}{stream}", self.0)
    }

    /// The stream that the server has under this name.
    pub(crate) fn ours(&self, name: &str) -> Whose {
        let Some(rest) = name.strip_prefix(self.0.as_str()).filter(|_| !name.starts_with('$'))
        else {
            return Whose::Others;
        };
        match StreamName::new(rest) {
            // Another spelling of a name is another stream to the server.
            Ok(stream) if stream.as_str() == rest => Whose::Ours(stream),
            _ => Whose::Odd,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_stream_has_its_own_name_and_the_servers_streams_are_left_alone() {
        let none = Prefix::new("").unwrap();
        let bank = Prefix::new("bank-").unwrap();
        let user = StreamName::new("user-456").unwrap();
        assert_eq!(none.theirs(&user), "user-456");
        assert_eq!(bank.theirs(&user), "bank-user-456");
        assert_eq!(none.ours("user-456"), Whose::Ours(user.clone()));
        assert_eq!(bank.ours("bank-user-456"), Whose::Ours(user));
        for name in ["$all", "$ce-user", "$$user-456", "$stats-127.0.0.1:2113", "$"] {
            assert_eq!(none.ours(name), Whose::Others, "{name}");
            assert_eq!(bank.ours(name), Whose::Others, "{name}");
        }
        assert_eq!(bank.ours("user-456"), Whose::Others);
        assert_eq!(bank.ours("$$bank-user-456"), Whose::Others);
    }

    #[test]
    fn a_name_that_no_stream_of_ours_has_is_told_apart() {
        let none = Prefix::new("").unwrap();
        for name in ["", "a b", "e\u{301}", "tab\t", &"x".repeat(300)] {
            assert_eq!(none.ours(name), Whose::Odd, "{name:?}");
        }
        let bank = Prefix::new("bank-").unwrap();
        assert_eq!(bank.ours("bank-"), Whose::Odd);
        assert_eq!(bank.ours("bank-$x"), Whose::Odd);
    }

    #[test]
    fn a_prefix_that_no_name_can_have_is_refused() {
        let long = "a".repeat(MAX_PREFIX_BYTES + 1);
        for bad in ["$", "$bank-", "a b", "e\u{301}", long.as_str()] {
            assert_eq!(Prefix::new(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn each_name_has_one_name_on_the_server(
            prefix in "[a-z]{0,4}-?",
            a in ".{1,40}",
            b in ".{1,40}",
        ) {
            let prefix = Prefix::new(&prefix).unwrap();
            let names = [&a, &b].map(StreamName::new);
            for name in names.iter().flatten() {
                prop_assert_eq!(prefix.ours(&prefix.theirs(name)), Whose::Ours(name.clone()));
            }
            if let [Ok(a), Ok(b)] = &names {
                prop_assert_eq!(a == b, prefix.theirs(a) == prefix.theirs(b));
            }
        }

        #[test]
        fn a_name_that_is_read_is_the_one_that_is_written(name in "b?a?n?k?-?[$a e\u{301}é]{0,9}") {
            let prefix = Prefix::new("bank-").unwrap();
            if let Whose::Ours(stream) = prefix.ours(&name) {
                prop_assert_eq!(prefix.theirs(&stream), name);
            }
        }
    }
}
