//! The history of a vault's signing keys: who signs, who signed, and who is to sign.
//!
//! Each key but the first is linked to an earlier one by a *statement*, an announcement of the vault's that
//! the earlier key signed, or that the successor signed which the earlier key had pinned. A vault
//! that was restored signs with a key to which no statement leads, because no backup has a secret.
//!
//! Where a successor is pinned, only it can take the key's place: a thief of the key could sign a
//! change as well. See `docs/decisions/0023-the-history-of-signing-keys.md`.
//!
//! The history is one memo, a JSON object with these members and no others. All bytes are base64url,
//! times RFC 3339; statements are announcements as `docs/format.md` has them, with the event's id.
//!
//! | member | what |
//! | --- | --- |
//! | `keys` | the oldest first, at least one: `key` (its id), `public`, `since`, `until`, `origin`, `compromised`, `statement` |
//! | `successors` | all that were ever pinned: `key`, `public`, `since`, `replaces`, `statement` |
//! | `distrusts` | the announcements that distrust an earlier key; absent where there is none |
//! | `due` | the ids of the statements that the event store has not taken yet, in the order in which they were made |
//! | `repeat` | whether all erasures are still to be announced once more |
//! | `retell` | whether tombstones are still to be set again; absent where not |
//!
//! Of a key, `until`, `compromised` and `statement` may be absent. `origin` is `created`, `restored`,
//! `rotated` or `successor`. A key to which nothing leads is refused, by its id, whenever the memo is read;
//! so is a memo in which nothing says why a key is compromised.

use serde::{Deserialize, Serialize};

use super::statement::{Said, is_proved, is_signed, signer_of};
use crate::{
    event::{
        Announcement, AnnouncementKind, EventId, Signature, SigningKeyId, Timestamp, VerifyingKey,
    },
    vault::VaultError,
};

/// A signing key, as the history has it.
///
/// ```
/// use oubliette::*;
/// let vault = Vault::in_memory()?;
/// for key in vault.signing_keys()? {
///     println!("{} signs since {}", key.key, key.since);
///     assert!(key.until.is_none() && key.compromised.is_none());
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SigningKeyInfo {
    /// Its id, as signatures name it.
    pub key: SigningKeyId,
    /// Its public key.
    pub public: VerifyingKey,
    /// From when on it signs.
    pub since: Timestamp,
    /// Until when it signed; absent: it still does, as far as this vault knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// How it came into the history.
    pub origin: KeyOrigin,
    /// Since when somebody else has it, as the operator said. What it alone says does not count, whatever
    /// date it bears: the holder of the key can write any date.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compromised: Option<Timestamp>,
    /// The signed statement that leads to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statement: Option<Announcement>,
}

impl SigningKeyInfo {
    pub(super) fn new(
        public: VerifyingKey,
        since: Timestamp,
        origin: KeyOrigin,
        statement: Option<Announcement>,
    ) -> Self {
        let (until, compromised) = (None, None);
        Self { key: public.id(), public, since, until, origin, compromised, statement }
    }
}

/// How a signing key came into the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum KeyOrigin {
    /// Made with the vault.
    Created,
    /// Made where the vault had no secret that signs: it was restored from a backup, put back to before a
    /// change of key, or is a copy that was given a root slot of its own. No earlier key vouches for it.
    Restored,
    /// Made to take the place of an earlier key, which signed the change.
    Rotated,
    /// Pinned in advance, and used since.
    Successor,
}

/// A successor of a signing key, pinned in advance. Its secret is kept elsewhere.
///
/// ```
/// use oubliette::*;
/// let vault = Vault::in_memory()?;
/// if vault.pinned_successor()?.is_none() {
///     println!("pin one, or a thief of the key can change it");
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct PinnedSuccessor {
    /// Its id.
    pub key: SigningKeyId,
    /// Its public key.
    pub public: VerifyingKey,
    /// When it was pinned.
    pub since: Timestamp,
    /// The key whose place it is to take.
    pub replaces: SigningKeyId,
    /// The signed statement that pins it.
    pub statement: Announcement,
}

/// All that is noted of signing keys. It is in every backup; no secret is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct History {
    /// The oldest first. The last one is the one whose secret the vault has.
    pub(super) keys: Vec<SigningKeyInfo>,
    pub(super) successors: Vec<PinnedSuccessor>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) distrusts: Vec<Announcement>,
    /// Statements that the event store has not taken yet.
    pub(super) due: Vec<EventId>,
    /// Whether all erasures are still to be announced once more, because an earlier key's word does not
    /// count everywhere.
    pub(super) repeat: bool,
    /// Whether tombstones are still to be set again, for the same reason. The announcements come first, and are
    /// not made again because a tombstone waits.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) retell: bool,
}

impl History {
    /// That of a new vault.
    pub(crate) fn begin(public: VerifyingKey) -> Self {
        let first = SigningKeyInfo::new(public, Timestamp::now(), KeyOrigin::Created, None);
        Self {
            keys: vec![first],
            successors: Vec::new(),
            distrusts: Vec::new(),
            due: Vec::new(),
            repeat: false,
            retell: false,
        }
    }

    /// When its last key began to sign.
    #[cfg(all(test, feature = "backup"))]
    pub(crate) fn signing_since(&self) -> Timestamp {
        self.keys.last().unwrap().since
    }

    /// What is wrong with one that was read.
    pub(super) fn trouble(&self) -> Option<Odd> {
        if self.keys.is_empty() {
            return Some(Odd::Form);
        }
        let why = (!self.says_why()).then_some(Odd::Form);
        self.gap().map(Odd::Gap).or(why)
    }

    /// The first key to which nothing leads.
    fn gap(&self) -> Option<SigningKeyId> {
        let linked = |(n, info): (usize, &SigningKeyInfo)| {
            let earlier = &self.keys[..n];
            info.key == info.public.id()
                && match (info.origin, &info.statement) {
                    (KeyOrigin::Created, None) => n == 0,
                    (KeyOrigin::Restored, None) => n > 0,
                    (KeyOrigin::Rotated, Some(said)) => leads(earlier, said, info)
                        .is_some_and(|replaced| is_signed(said, &replaced.public)),
                    (KeyOrigin::Successor, Some(said)) => {
                        let replaced = leads(earlier, said, info);
                        // The same key may have been pinned for an earlier one, and not been used.
                        let pinned = |old: &SigningKeyInfo| {
                            let of = |pin: &PinnedSuccessor| (pin.key, pin.replaces);
                            self.successors.iter().any(|pin| of(pin) == (info.key, old.key))
                        };
                        is_signed(said, &info.public) && replaced.is_some_and(pinned)
                    }
                    _ => false,
                }
        };
        let gap = self.keys.iter().enumerate().find(|entry| !linked(*entry));
        let pinned = |pin: &PinnedSuccessor| {
            let by = self.find(pin.replaces);
            pin.key == pin.public.id()
                && is_proved(&pin.statement)
                && Said::of(&pin.statement).is_some_and(|said| {
                    said.kind == AnnouncementKind::Successor
                        && said.key == pin.key
                        && said.statement.replaces == pin.replaces
                })
                && by.is_some_and(|by| is_signed(&pin.statement, &by.public))
        };
        let odd_pin = || self.successors.iter().find(|pin| !pinned(pin)).map(|pin| pin.key);
        gap.map(|(_, info)| info.key).or_else(odd_pin)
    }

    /// The log that the vault keeps, by the key that began it. A log begins whenever the vault makes a key
    /// because it has no secret that signs, so that no two of one vault have the same name.
    pub(super) fn log(&self) -> Option<SigningKeyId> {
        let begins = |info: &&SigningKeyInfo| {
            matches!(info.origin, KeyOrigin::Created | KeyOrigin::Restored)
        };
        self.keys.iter().rev().find(begins).map(|info| info.key)
    }

    pub(super) fn find(&self, key: SigningKeyId) -> Option<&SigningKeyInfo> {
        self.keys.iter().find(|info| info.key == key)
    }

    /// The id of the key that signs.
    pub(crate) fn signs(&self) -> SigningKeyId {
        // There is at least one: see `parse`.
        self.current().map_or(SigningKeyId([0; 16]), |info| info.key)
    }

    /// How a key came into the history; `None`: it is not in it.
    pub(crate) fn origin_of(&self, key: SigningKeyId) -> Option<KeyOrigin> {
        self.find(key).map(|info| info.origin)
    }

    /// Since when somebody else has a key, as was said.
    pub(crate) fn compromised(&self, key: SigningKeyId) -> Option<Timestamp> {
        self.find(key).and_then(|info| info.compromised)
    }

    /// The keys that came after one.
    pub(crate) fn after(&self, key: SigningKeyId) -> Vec<SigningKeyId> {
        let after = self.keys.iter().skip_while(|info| info.key != key).skip(1);
        after.map(|info| info.key).collect()
    }

    /// The key that signs.
    pub(super) fn current(&self) -> Option<&SigningKeyInfo> {
        self.keys.last()
    }

    /// The successor that is pinned for a key.
    pub(super) fn successor_of(&self, key: SigningKeyId) -> Option<&PinnedSuccessor> {
        self.successors.iter().find(|pin| pin.replaces == key)
    }

    /// The successor that may take the place of the key that signs.
    pub(crate) fn successor(&self) -> Option<&PinnedSuccessor> {
        self.current().and_then(|info| self.waits_for(info.key))
    }

    /// The successor that may take the place of a key, and has not. Where the key was made because the
    /// vault was restored, and has none: of the key before.
    pub(super) fn waits_for(&self, key: SigningKeyId) -> Option<&PinnedSuccessor> {
        let until = self.keys.iter().position(|info| info.key == key)?;
        for info in self.keys[..=until].iter().rev() {
            let unused = self.successor_of(info.key).filter(|_| self.find_use_of(info).is_none());
            if unused.is_some() || info.origin != KeyOrigin::Restored {
                return unused.filter(|_| info.compromised.is_none());
            }
        }
        None
    }

    /// Whether the change of a key says that it is compromised.
    pub(super) fn was_changed_as_compromised(&self, info: &SigningKeyInfo) -> bool {
        let said = self.find_use_of(info).and_then(|new| new.statement.as_ref());
        said.and_then(Said::of).is_some_and(|said| said.statement.compromised.is_some())
    }

    /// The key that took the place of another, by a statement.
    pub(super) fn find_use_of(&self, replaced: &SigningKeyInfo) -> Option<&SigningKeyInfo> {
        self.keys.iter().find(|info| {
            let said = info.statement.as_ref().and_then(Said::of);
            said.is_some_and(|said| said.statement.replaces == replaced.key)
        })
    }

    /// Judges a signature.
    pub(crate) fn judge(&self, key: SigningKeyId, bytes: &[u8], signature: &Signature) -> Vouched {
        match self.find(key) {
            None => Vouched::UnknownKey,
            Some(known) if !known.public.verifies(bytes, signature) => Vouched::Forged,
            Some(known) if known.compromised.is_some() => Vouched::Compromised,
            Some(_) => Vouched::Ours,
        }
    }

    /// Judges who signed an announcement.
    pub(crate) fn vouches(&self, said: &Announcement) -> Vouched {
        let Some(public) = signer_of(said) else { return Vouched::Forged };
        match self.find(public.id()) {
            None => Vouched::UnknownKey,
            Some(known) if known.public != public => Vouched::Forged,
            Some(known) if known.compromised.is_some() => Vouched::Compromised,
            Some(_) => Vouched::Ours,
        }
    }

    /// Whether an announcement is the vault's word, whatever it says: it is signed by a key of this history that
    /// is not compromised, or by the successor that may take the place of the present one. Not by any that was
    /// ever pinned: one that was used may be stolen since, and one that was given up may be found by anyone.
    pub(crate) fn is_word(&self, said: &Announcement) -> bool {
        let keys = self.keys.iter().filter(|info| info.compromised.is_none());
        let keys = keys.map(|info| &info.public);
        keys.chain(self.successor().map(|pin| &pin.public)).any(|key| is_signed(said, key))
    }

    /// Adds a key that the vault made because it has no secret of an earlier one.
    pub(super) fn restored(&mut self, public: VerifyingKey) {
        let since = Timestamp::now();
        if let Some(last) = self.keys.last_mut() {
            last.until.get_or_insert(since);
        }
        self.keys.push(SigningKeyInfo::new(public, since, KeyOrigin::Restored, None));
    }

    /// All statements, in their order.
    pub(super) fn statements(&self) -> impl Iterator<Item = &Announcement> {
        let pins = |key| self.successors.iter().filter(move |pin| pin.replaces == key);
        let of_keys = self.keys.iter().flat_map(move |info| {
            info.statement.iter().chain(pins(info.key).map(|pin| &pin.statement))
        });
        // The key that distrusts must be known first.
        of_keys.chain(&self.distrusts)
    }

    /// Those of them that the event store has not taken yet, in the order in which they were made: each names
    /// the one before it.
    pub(crate) fn due(&self) -> impl DoubleEndedIterator<Item = &Announcement> {
        self.due.iter().filter_map(|due| self.statements().find(|said| said.id() == *due))
    }
}

/// The earlier key from which a statement leads to a key.
fn leads<'a>(
    earlier: &'a [SigningKeyInfo],
    said: &Announcement,
    to: &SigningKeyInfo,
) -> Option<&'a SigningKeyInfo> {
    let stated = Said::of(said)
        .filter(|stated| stated.kind == AnnouncementKind::SigningKey && stated.key == to.key)?;
    let replaced = earlier.iter().find(|info| info.key == stated.statement.replaces);
    replaced.filter(|_| is_proved(said))
}

/// What a signature is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum Vouched {
    /// A key of this vault's history made it.
    Ours,
    /// A key of this vault's history made it, which somebody else has as well.
    Compromised,
    /// It names a key of this vault's history, which did not make it.
    Forged,
    /// It names a key of which this vault knows nothing.
    UnknownKey,
}

/// Why a memo is no history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::vault) enum Odd {
    Form,
    /// Nothing leads to this key.
    Gap(SigningKeyId),
}

impl From<Odd> for VaultError {
    fn from(odd: Odd) -> Self {
        match odd {
            Odd::Form => Self::Damaged("the signing keys cannot be read".into()),
            Odd::Gap(key) => Self::SigningKeyGap(key),
        }
    }
}
