//! Which statements about keys count, and what they change in the history.
//!
//! A statement comes from the event store, where anyone who may write to it can put one. So each is judged by
//! the keys that are known already, and what is believed of one may decide on the next. What distrusts a key has
//! rules of its own: see `distrust`.

use serde::Serialize;

use super::{
    history::{History, KeyOrigin, PinnedSuccessor, SigningKeyInfo},
    statement::{Said, is_proved, is_signed, signer_of},
};
use crate::event::{Announcement, AnnouncementKind, SigningKeyId};

/// Why a statement about signing keys does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Serialize)]
#[serde(rename_all = "kebab-case", tag = "why")]
#[non_exhaustive]
pub enum Unlearned {
    /// It replaces a key of which the vault knows nothing.
    #[error(
        "it says that signing key {key} takes the place of {replaces}, and the vault knows nothing of the \
         latter: the announcement of an earlier change is missing"
    )]
    Gap {
        /// The key that it names.
        key: SigningKeyId,
        /// The key that it replaces.
        replaces: SigningKeyId,
    },
    /// Nobody who may say so signed it, or the key that it names did not.
    #[error("its signatures do not fit, or not to the keys that may say so")]
    Forged,
    /// The key that signed it was stolen before.
    #[error("only signing key {key} says so, which is compromised")]
    Compromised {
        /// That key.
        key: SigningKeyId,
    },
    /// Another key has taken the place already.
    #[error("signing key {key} was replaced before by another")]
    Replaced {
        /// That key.
        key: SigningKeyId,
    },
    /// Only the pinned successor may take the place.
    #[error("signing key {key} says so itself, and only its pinned successor {successor} may")]
    NotTheSuccessor {
        /// That key.
        key: SigningKeyId,
        /// Its successor.
        successor: SigningKeyId,
    },
    /// A successor is pinned already.
    #[error("signing key {key} has a pinned successor already, {successor}")]
    PinnedBefore {
        /// That key.
        key: SigningKeyId,
        /// Its successor.
        successor: SigningKeyId,
    },
    /// A key can distrust only keys that are older than itself.
    #[error("signing key {signer} distrusts key {key}, and only a later key may")]
    NotLater {
        /// The key that signed it.
        signer: SigningKeyId,
        /// The key that it distrusts.
        key: SigningKeyId,
    },
    /// A key of which the vault knows nothing distrusts another.
    #[error(
        "it is signed by key {signer}, of which the vault knows nothing: another restoration says so, or \
         the announcement of a change of key is missing"
    )]
    UnknownSigner {
        /// The key that signed it.
        signer: SigningKeyId,
    },
}

impl History {
    /// Takes a statement of this vault's into account. Returns whether it is new.
    ///
    /// # Errors
    /// Why it does not count; then nothing is changed.
    pub(crate) fn learn(&mut self, said: &Announcement) -> Result<bool, Unlearned> {
        if said.kind() == Some(AnnouncementKind::Distrust) {
            return self.learn_distrust(said);
        }
        let stated = Said::of(said).ok_or(Unlearned::Forged)?;
        let Said { statement, key, signer, .. } = stated;
        // Who names a key has it, or nothing is told of either.
        if signer_of(said).is_none() || !is_proved(said) {
            return Err(Unlearned::Forged);
        }
        let Some(old) = self.find(statement.replaces) else {
            let may_say_so = signer == statement.replaces || signer == key;
            let gap = Unlearned::Gap { key, replaces: statement.replaces };
            return Err(if may_say_so { gap } else { Unlearned::Forged });
        };
        let by_itself = is_signed(said, &old.public);
        let successor = self.successor_of(old.key);
        let by_successor = stated.kind == AnnouncementKind::SigningKey
            && successor.is_some_and(|pin| pin.key == key && is_signed(said, &pin.public));
        if !(by_itself || by_successor) {
            return Err(Unlearned::Forged);
        }
        let is_known = match stated.kind {
            AnnouncementKind::Successor => successor.is_some_and(|pin| pin.key == key),
            _ => self.find_use_of(old).is_some_and(|info| info.key == key),
        };
        if is_known {
            return Ok(false);
        }
        if old.compromised.is_some() {
            return Err(Unlearned::Compromised { key: signer });
        }
        if self.find_use_of(old).is_some() || self.find(key).is_some() {
            return Err(Unlearned::Replaced { key: old.key });
        }
        // Whoever has the key that a restored vault made may not pass by the one that was pinned before.
        match (stated.kind, successor.or_else(|| self.waits_for(old.key))) {
            (AnnouncementKind::Successor, Some(pin)) => {
                Err(Unlearned::PinnedBefore { key: old.key, successor: pin.key })
            }
            (AnnouncementKind::Successor, None) => {
                self.pin(said);
                Ok(true)
            }
            (_, Some(pin)) if !by_successor => {
                Err(Unlearned::NotTheSuccessor { key: old.key, successor: pin.key })
            }
            _ => {
                self.change(said, by_successor, false);
                Ok(true)
            }
        }
    }

    /// Pins a successor.
    pub(crate) fn pin(&mut self, said: &Announcement) {
        let Some(stated) = Said::of(said) else { return };
        self.successors.push(PinnedSuccessor {
            key: stated.key,
            public: stated.statement.public,
            since: stated.at,
            replaces: stated.statement.replaces,
            statement: said.clone(),
        });
    }

    /// Adds a key; the vault's own is the last one from then on. Of another's change, what this vault made
    /// for itself stays the last, unless it is what was changed.
    pub(crate) fn change(&mut self, said: &Announcement, is_successor: bool, own: bool) {
        let Some(stated) = Said::of(said) else { return };
        if let Some(old) = self.keys.iter_mut().find(|info| info.key == stated.statement.replaces) {
            old.until = Some(stated.at);
            old.compromised = old.compromised.or(stated.statement.compromised);
        }
        if let Some(last) = self.keys.last_mut().filter(|_| own) {
            last.until = Some(stated.at);
        }
        let origin = if is_successor { KeyOrigin::Successor } else { KeyOrigin::Rotated };
        let public = stated.statement.public;
        let info = SigningKeyInfo::new(public, stated.at, origin, Some(said.clone()));
        let replaced = stated.statement.replaces;
        let stays = |last: &mut SigningKeyInfo| {
            !own && last.origin == KeyOrigin::Restored && last.key != replaced
        };
        let made = self.keys.pop_if(stays);
        self.keys.push(info);
        self.keys.extend(made);
    }
}
