//! What is told of a root slot.

use std::fmt;

use serde::Serialize;

/// The state of a root slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SlotState {
    /// Where the slot is.
    pub place: String,
    /// How many roots came before the present one.
    pub epoch: u64,
    /// What the root key is wrapped by.
    pub wrapped_by: WrappedBy,
    /// The slot's mirrors, and how far each is.
    pub mirrors: Vec<MirrorState>,
    /// The counter that bears witness of it.
    pub counter: Option<MirrorState>,
}

/// The state of a mirror of a root slot, or of the counter that bears witness of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MirrorState {
    /// The mirror's path, which is its name.
    pub name: String,
    /// Whether it is the counter: of that, the epoch is the one that it tells, and stale is one that
    /// does not tell the present epoch.
    #[serde(skip)]
    pub counter: bool,
    /// The epoch of the root that it was last known to hold; `None`: it may hold any, or the
    /// present one under an earlier key-encryption key.
    pub may_hold: Option<u64>,
    /// Whether it may hold anything but the present root. Until it is overwritten, what was forgotten
    /// since can be read with it.
    pub stale: bool,
    /// Why it could not be reached the last time.
    pub trouble: Option<String>,
}

impl MirrorState {
    /// Whether it may hold a root from before the one of this epoch, of which it may be unknown which it
    /// was: an erasure that led to it is pending then.
    pub fn may_precede(&self, epoch: Option<u64>) -> bool {
        self.may_hold.is_none_or(|held| epoch.is_none_or(|led| held < led))
    }
}

/// What the root key in a slot is wrapped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
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
