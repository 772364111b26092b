//! How a stream's events are laid out in the store, and which policy said so.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// How a sealed event is stored.
///
/// The policy says which (`layout = "inline"`); [the reference](crate::guide::policy) shows each.
///
/// ```
/// use oubliette::event::Layout;
/// assert_eq!("inline".parse(), Ok(Layout::Inline));
/// assert_eq!(Layout::default().to_string(), "sealed");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Layout {
    /// Nothing is public: the payload is a token.
    #[default]
    Sealed,
    /// Public fields are in clear beside the token, in one event.
    Inline,
    /// Public fields in one stream, the token in another: `user-public-{id}` and
    /// `user-private-{id}`.
    Split,
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Sealed => "sealed",
            Self::Inline => "inline",
            Self::Split => "split",
        })
    }
}

impl FromStr for Layout {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "sealed" => Ok(Self::Sealed),
            "inline" => Ok(Self::Inline),
            "split" => Ok(Self::Split),
            _ => Err(()),
        }
    }
}

/// Names the policy that an event was sealed under: the first eight bytes of the SHA-256 of its
/// canonical form.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct PolicyDigest(pub [u8; 8]);

impl fmt::Display for PolicyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PolicyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
