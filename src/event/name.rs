//! Names that are checked once and then trusted: streams, subjects, event types.

use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::characters::{Odd, UNICODE_VERSION, normalized, oddity};

/// The longest name that is accepted, in bytes of UTF-8.
///
/// Long enough for any identifier that people write by hand, short enough to be an index key in
/// every store that we know of.
pub const MAX_NAME_BYTES: usize = 255;

/// Why a name was refused.
///
/// ```
/// use oubliette::{event::NameError, *};
/// assert!(matches!(StreamName::new(""), Err(NameError::Empty { .. })));
/// assert!(StreamName::new("x".repeat(300)).is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// The name has no characters.
    #[error("{} must not be empty", with_article(what))]
    Empty {
        /// What was being named.
        what: &'static str,
    },
    /// The name is longer than [`MAX_NAME_BYTES`].
    #[error(
        "{} has at most {MAX_NAME_BYTES} bytes, this one has {bytes}; shorten it",
        with_article(what)
    )]
    TooLong {
        /// What was being named.
        what: &'static str,
        /// Its length in bytes.
        bytes: usize,
    },
    /// The name contains white space, a control character, or another that does not show.
    #[error(
        "{} must not contain white space, control, invisible or private characters \
         (U+{:04X} at byte {at}): names that look the same must be the same",
        with_article(what), u32::from(*.character)
    )]
    BadCharacter {
        /// What was being named.
        what: &'static str,
        /// The first offending character.
        character: char,
        /// Its position, in bytes from the start.
        at: usize,
    },
    /// The name contains a character that Unicode has not assigned, as far as this program knows.
    #[error(
        "{} must not contain characters that Unicode has not assigned (U+{:04X} at byte {at}; this \
         program knows Unicode {}): in which form such a name is kept may change; leave the character out, or \
         use a newer program",
        with_article(what), u32::from(*.character), UNICODE_VERSION.0
    )]
    Unassigned {
        /// What was being named.
        what: &'static str,
        /// The first such character.
        character: char,
        /// Its position, in bytes from the start.
        at: usize,
    },
    /// The name begins with `$`, which event stores keep for their own streams and types.
    #[error(
        "{} must not begin with '$', which event stores keep for themselves",
        with_article(what)
    )]
    Reserved {
        /// What was being named.
        what: &'static str,
    },
}

/// What was being named, with its article.
fn with_article(what: &str) -> String {
    let article = if what.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {what}")
}

fn check(what: &'static str, text: &str) -> Result<Arc<str>, NameError> {
    if text.is_empty() {
        return Err(NameError::Empty { what });
    }
    let too_long = |text: &str| NameError::TooLong { what, bytes: text.len() };
    // No form is that much shorter than another.
    if text.len() > 8 * MAX_NAME_BYTES {
        return Err(too_long(text));
    }
    let name = normalized(text);
    // Most names, of which a walk over millions of keys reads as many, are of these alone, and none of these is odd.
    if !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        for (at, character) in name.char_indices() {
            match oddity(character) {
                Some(Odd::Hidden) => return Err(NameError::BadCharacter { what, character, at }),
                Some(Odd::Unassigned) => return Err(NameError::Unassigned { what, character, at }),
                None => {}
            }
        }
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(too_long(&name));
    }
    if name.starts_with('$') {
        return Err(NameError::Reserved { what });
    }
    Ok(name.into())
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $type(Arc<str>);

        impl $type {
            /// Checks a name, and takes it in Unicode's Normalization Form C: however an `é` was
            /// typed, it is the same name. Case is not folded.
            ///
            /// # Errors
            /// [`NameError`] where the text is empty, longer than [`MAX_NAME_BYTES`], begins
            /// with `$`, or contains white space, or characters that do not show: controls,
            /// zero-width and directional marks, variation selectors, private use; or characters that
            /// Unicode has not assigned.
            pub fn new(text: impl AsRef<str>) -> Result<Self, NameError> {
                check($what, text.as_ref()).map(Self)
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
    ///
    /// ```
    /// use oubliette::*;
    /// let name = StreamName::new("user-456")?;
    /// assert_eq!(name.as_str(), "user-456");
    /// assert!(StreamName::new("user 456").is_err()); // no white space, nothing that does not show
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    StreamName, "stream name"
}

name! {
    /// Whose data an event holds, and who can be forgotten: a person, or a stream that depends on one. Its
    /// name is that of its own stream, such as `user-456`.
    ///
    /// ```
    /// use oubliette::*;
    /// let name = Subject::new("user-456")?;
    /// assert_eq!(name.as_str(), "user-456");
    /// assert_eq!(Subject::of(&StreamName::new("user-456")?), name); // by default a stream is its own
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    Subject, "subject"
}

name! {
    /// The type of an event, such as `AccountOpened`. Never encrypted.
    ///
    /// ```
    /// use oubliette::*;
    /// let name = EventType::new("UserMoved")?;
    /// assert_eq!(name.as_str(), "UserMoved");
    /// assert!(EventType::new("$reserved").is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    EventType, "event type"
}

name! {
    /// The kind of what a data key seals, such as `marketing`.
    Category, "category"
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
        assert!(matches!(refused(&"x".repeat(1 << 20)), NameError::TooLong { .. }));
        assert_eq!(refused("").to_string(), "a stream name must not be empty");
        let refused = EventType::new("").unwrap_err();
        assert_eq!(refused.to_string(), "an event type must not be empty");
    }

    #[test]
    fn a_name_typed_in_another_form_is_the_same_name() {
        for (one, other) in [
            ("user-é", "user-e\u{301}"),
            ("Überweisung-7", "U\u{308}berweisung-7"),
            ("user-한", "user-\u{1112}\u{1161}\u{11AB}"),
            ("user-ệ", "user-e\u{302}\u{323}"),
        ] {
            assert_eq!(Subject::new(one).unwrap(), Subject::new(other).unwrap());
            assert_eq!(StreamName::new(other).unwrap().as_str(), one);
            let json = serde_json::to_string(other).unwrap();
            assert_eq!(serde_json::from_str::<EventType>(&json).unwrap().as_str(), one);
        }
        // In the other form it would be too long.
        assert!(StreamName::new("e\u{301}".repeat(100)).is_ok());
        assert!(StreamName::new("é".repeat(128)).is_err());
    }

    #[test]
    fn characters_that_do_not_show_are_refused() {
        for odd in [
            '\u{00AD}',
            '\u{034F}',
            '\u{200D}',
            '\u{202E}',
            '\u{2066}',
            '\u{FE0F}',
            '\u{3164}',
            '\u{E0041}',
            '\u{E000}',
            '\u{10FFFD}',
            '\u{2800}',
            '\u{85}',
            '\u{A0}',
        ] {
            let refused = Subject::new(format!("user-{odd}1"));
            assert!(matches!(refused, Err(NameError::BadCharacter { at: 5, .. })), "{odd:?}");
        }
    }

    /// With the tables of Unicode 15 the first stayed as it is, and with those of 18 it is U+113C7.
    #[test]
    fn characters_that_are_not_assigned_are_refused_in_every_name() {
        assert_eq!(Subject::new("user-\u{113C2}\u{113B8}").unwrap().as_str(), "user-\u{113C7}");
        for odd in ['\u{378}', '\u{2FE0}', '\u{FFFE}', '\u{FDD0}', '\u{3FFFE}', '\u{10FFFF}'] {
            let name = format!("user-{odd}1");
            let of = |error: NameError| match error {
                NameError::Unassigned { at: 5, character, .. } => character,
                other => panic!("{other}"),
            };
            assert_eq!(Subject::new(&name).map_err(of), Err(odd));
            assert_eq!(StreamName::new(&name).map_err(of), Err(odd));
            assert_eq!(EventType::new(&name).map_err(of), Err(odd));
            assert_eq!(Category::new(&name).map_err(of), Err(odd));
        }
        let told = Subject::new("user-\u{378}").unwrap_err().to_string();
        assert!(told.contains("U+0378 at byte 5") && told.contains("Unicode 18"), "{told}");
    }

    #[test]
    fn a_stream_is_its_own_subject_and_back() {
        let stream = StreamName::new("user-456").unwrap();
        assert_eq!(Subject::of(&stream).stream(), stream);
    }
}
