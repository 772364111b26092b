//! The tags that vouch for events whatever happens to their keys: methods of [`Vault`].

use crate::{
    crypto::{EventTag, Token},
    vault::{Vault, VaultError, records::eras::EraKeys},
};

/// What a tag shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum Tagged {
    /// A holder of this vault (or of a backup of it) wrote the event as it is.
    Ours,
    /// It names this vault, and the event is not what it was made for: changed, moved or forged.
    Forged,
    /// It names another vault.
    OtherVault,
    /// It names an era that this vault does not know: it was restored from a backup that is older.
    UnknownEra,
}

impl Vault {
    /// The tag of an event with these tokens and this associated data.
    pub(crate) fn tag(&self, associated: &[u8], tokens: &[Token]) -> Result<EventTag, VaultError> {
        let vault = self.id();
        self.shared().naming.eras.with_current(|keys| {
            EventTag::new(&keys.tags, vault.0.as_bytes(), keys.era, associated, tokens)
        })
    }

    /// The tag of what is missing of a copied event; `said` is all that the holes say, and of which
    /// event.
    pub(crate) fn tag_holes(&self, said: &[u8]) -> Result<EventTag, VaultError> {
        let vault = self.id();
        self.shared().naming.eras.with_current(|keys| {
            EventTag::new(&keys.holes, vault.0.as_bytes(), keys.era, said, &[])
        })
    }

    /// What the tag of holes that say this shows.
    pub(crate) fn check_holes(&self, tag: &EventTag, said: &[u8]) -> Result<Tagged, VaultError> {
        self.check(tag, |keys| tag.covers(&keys.holes, said, &[]))
    }

    /// What the tag of an event with these tokens and this associated data shows.
    pub(crate) fn check_tag(
        &self,
        tag: &EventTag,
        associated: &[u8],
        tokens: &[Token],
    ) -> Result<Tagged, VaultError> {
        // The finder of a backup can make tags of its eras for ever, but no event of such an era has a key that is
        // newer.
        let eras = &self.shared().naming.eras;
        for token in tokens {
            if tag.names(self.id()) && eras.is_before(tag.era(), token.key_id().era())? {
                return Ok(Tagged::Forged);
            }
        }
        self.check(tag, |keys| tag.covers(&keys.tags, associated, tokens))
    }

    fn check(
        &self,
        tag: &EventTag,
        covers: impl FnOnce(&EraKeys) -> bool,
    ) -> Result<Tagged, VaultError> {
        if !tag.names(self.id()) {
            return Ok(Tagged::OtherVault);
        }
        Ok(match self.shared().naming.eras.with(tag.era(), covers)? {
            Some(true) => Tagged::Ours,
            Some(false) => Tagged::Forged,
            None => Tagged::UnknownEra,
        })
    }
}
