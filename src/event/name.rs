//! Names that are checked once and then trusted: streams, subjects, event types.

use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The longest name that is accepted, in bytes of UTF-8.
///
/// Long enough for any identifier that people write by hand, short enough to be an index key in
/// every store that we know of.
pub const MAX_NAME_BYTES: usize = 255;

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// The name has no characters.
    #[error("a {what} must not be empty")]
    Empty {
        /// What was being named.
        what: &'static str,
    },
    /// The name is longer than [`MAX_NAME_BYTES`].
    #[error("a {what} has at most {MAX_NAME_BYTES} bytes, this one has {bytes}; shorten it")]
    TooLong {
        /// What was being named.
        what: &'static str,
        /// Its length in bytes.
        bytes: usize,
    },
    /// The name contains white space, a control character, or another invisible character.
    #[error(
        "a {what} must not contain white space, control or invisible characters (U+{:04X} at byte {at})",
        u32::from(*.character)
    )]
    BadCharacter {
        /// What was being named.
        what: &'static str,
        /// The first offending character.
        character: char,
        /// Where it stands, in bytes from the start.
        at: usize,
    },
    /// The name begins with `$`, which event stores keep for their own streams and types.
    #[error("a {what} must not begin with '$', which event stores keep for themselves")]
    Reserved {
        /// What was being named.
        what: &'static str,
    },
}

fn check(what: &'static str, text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty { what });
    }
    if text.len() > MAX_NAME_BYTES {
        return Err(NameError::TooLong { what, bytes: text.len() });
    }
    let odd = |c: char| c.is_whitespace() || c.is_control() || is_invisible(c);
    if let Some((at, character)) = text.char_indices().find(|&(_, c)| odd(c)) {
        return Err(NameError::BadCharacter { what, character, at });
    }
    if text.starts_with('$') {
        return Err(NameError::Reserved { what });
    }
    Ok(())
}

/// Characters that two different names could differ in without anybody seeing it: zero-width
/// and directional marks (Unicode's general category Cf, as far as it matters in names).
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{00AD}' | '\u{061C}' | '\u{180E}' | '\u{200B}'..='\u{200F}'
        | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}')
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $type(Arc<str>);

        impl $type {
            /// Checks and takes a name.
            ///
            /// # Errors
            /// [`NameError`] where the text is empty, longer than [`MAX_NAME_BYTES`], begins
            /// with `$`, or contains white space, control or invisible characters.
            pub fn new(text: impl AsRef<str>) -> Result<Self, NameError> {
                let text = text.as_ref();
                check($what, text)?;
                Ok(Self(text.into()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl FromStr for $type {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl TryFrom<&str> for $type {
            type Error = NameError;
            fn try_from(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::new(text).map_err(de::Error::custom)
            }
        }
    };
}

name! {
    /// The name of a stream, such as `user-456`.
    ///
    /// Stream names are never encrypted: they must not be personal data.
    StreamName, "stream name"
}

name! {
    /// The data subject: the root stream of one person, such as `user-456`.
    Subject, "subject"
}

name! {
    /// The type of an event, such as `AccountOpened`. Never encrypted.
    EventType, "event type"
}

impl Subject {
    /// The subject that a stream is by default: itself.
    pub fn of(stream: &StreamName) -> Self {
        Self(Arc::clone(&stream.0))
    }

    /// The subject's own stream.
    pub fn stream(&self) -> StreamName {
        StreamName(Arc::clone(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_pass() {
        for name in ["user-456", "tenant/user-1", "a", "Überweisung-7", "x".repeat(255).as_str()] {
            assert_eq!(StreamName::new(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn odd_names_are_refused_with_the_reason() {
        let refused = |text: &str| StreamName::new(text).unwrap_err();
        assert!(matches!(refused(""), NameError::Empty { .. }));
        assert!(matches!(refused(&"x".repeat(256)), NameError::TooLong { bytes: 256, .. }));
        assert!(matches!(refused("a b"), NameError::BadCharacter { at: 1, .. }));
        assert!(matches!(refused("a\0"), NameError::BadCharacter { at: 1, .. }));
        assert!(matches!(refused("a\u{200B}b"), NameError::BadCharacter { at: 1, .. }));
        assert!(matches!(refused("$all"), NameError::Reserved { .. }));
    }

    #[test]
    fn a_stream_is_its_own_subject_and_back() {
        let stream = StreamName::new("user-456").unwrap();
        assert_eq!(Subject::of(&stream).stream(), stream);
    }
}
