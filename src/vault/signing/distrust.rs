//! Distrusting an earlier key of the history, because somebody else has it as well.
//!
//! Only a later key may: a thief has an earlier one, and cannot turn the good ones against their owner. A
//! compromised key distrusts none. What was distrusted stays so, also where the key that said so
//! is distrusted in turn; then the vault says it again under the key that signs.

use std::cmp::Reverse;

use super::{
    history::{History, SigningKeyInfo},
    learn::Unlearned,
    statement::{is_signed, signer_of},
};
use crate::event::{Announcement, AnnouncementKind, Distrust, SigningKeyId, Timestamp};

/// What an announcement distrusts, and who says so.
fn said_of(said: &Announcement) -> Option<(Distrust, SigningKeyId)> {
    Some((said.body().ok()?.distrust?, said.signature()?.1))
}

impl History {
    /// Takes the statements of this vault's into account, in whatever order they come. Returns those
    /// that are new.
    pub(crate) fn learn_all<'a>(
        &mut self,
        statements: &[&'a Announcement],
    ) -> Vec<&'a Announcement> {
        let distrusts = |said: &&Announcement| said.kind() == Some(AnnouncementKind::Distrust);
        let (mut distrusts, changes): (Vec<_>, Vec<_>) =
            statements.iter().copied().partition(distrusts);
        let mut learned = Vec::new();
        // A key may be changed again and again.
        loop {
            let before = learned.len();
            learned.extend(changes.iter().filter(|said| self.learn(said) == Ok(true)));
            if learned.len() == before {
                break;
            }
        }
        // The later key's word goes first: it may say that the earlier one has none.
        distrusts.sort_by_key(|said| {
            Reverse(said.signature().and_then(|(_, signer, _)| self.position(signer)))
        });
        learned.extend(distrusts.into_iter().filter(|said| self.learn(said) == Ok(true)));
        learned
    }

    /// Takes into account that an earlier key is distrusted. Returns whether it is new.
    pub(super) fn learn_distrust(&mut self, said: &Announcement) -> Result<bool, Unlearned> {
        let (Distrust { key, .. }, signer) = said_of(said).ok_or(Unlearned::Forged)?;
        if signer_of(said).is_none() {
            return Err(Unlearned::Forged);
        }
        let Some(by) = self.position(signer) else {
            return Err(Unlearned::UnknownSigner { signer });
        };
        if !is_signed(said, &self.keys[by].public) {
            return Err(Unlearned::Forged);
        }
        let known = |said: &Announcement| {
            said_of(said).is_some_and(|(known, by)| (known.key, by) == (key, signer))
        };
        if self.distrusts.iter().any(known) {
            return Ok(false);
        }
        if self.keys[by].compromised.is_some() {
            return Err(Unlearned::Compromised { key: signer });
        }
        match self.position(key) {
            // Another restoration's own key: it says nothing here as it is.
            None => return Ok(false),
            Some(at) if at >= by => return Err(Unlearned::NotLater { signer, key }),
            Some(_) => {}
        }
        // Else the thief of a restored vault's key could lock the successor out.
        if let Some(pin) = self.waits_for(signer).filter(|pin| pin.replaces == key) {
            return Err(Unlearned::NotTheSuccessor { key: signer, successor: pin.key });
        }
        self.distrust(said);
        Ok(true)
    }

    /// Distrusts a key.
    pub(crate) fn distrust(&mut self, said: &Announcement) {
        let Some((Distrust { key, compromised }, _)) = said_of(said) else { return };
        if let Some(info) = self.keys.iter_mut().find(|info| info.key == key) {
            info.compromised.get_or_insert(compromised);
        }
        self.distrusts.push(said.clone());
    }

    /// The keys that no trusted key calls compromised any more, and since when
    /// they are. A vault that is restored would trust them again.
    pub(crate) fn unsupported(&self) -> Vec<(SigningKeyId, Timestamp)> {
        let trusted = |key| self.find(key).is_some_and(|info| info.compromised.is_none());
        let supported = |info: &SigningKeyInfo| {
            self.was_changed_as_compromised(info) || self.distrusted_by(info.key).any(trusted)
        };
        let unsupported = self.keys.iter().filter(|info| !supported(info));
        unsupported.filter_map(|info| Some((info.key, info.compromised?))).collect()
    }

    /// Whether something in the history says of each compromised key that it is, and nothing says it of
    /// another.
    pub(super) fn says_why(&self) -> bool {
        let why = |info: &SigningKeyInfo| {
            let said = self.was_changed_as_compromised(info)
                || self.distrusted_by(info.key).next().is_some();
            said == info.compromised.is_some()
        };
        let fits = |said: &Announcement| {
            said_of(said).is_some_and(|(Distrust { key, .. }, signer)| {
                let places = self.position(key).zip(self.position(signer));
                places.is_some_and(|(at, by)| at < by && is_signed(said, &self.keys[by].public))
            })
        };
        self.keys.iter().all(why) && self.distrusts.iter().all(fits)
    }

    /// Who distrusts a key.
    fn distrusted_by(&self, key: SigningKeyId) -> impl Iterator<Item = SigningKeyId> {
        let by = move |(distrust, signer): (Distrust, _)| (distrust.key == key).then_some(signer);
        self.distrusts.iter().filter_map(said_of).filter_map(by)
    }

    fn position(&self, key: SigningKeyId) -> Option<usize> {
        self.keys.iter().position(|info| info.key == key)
    }
}
