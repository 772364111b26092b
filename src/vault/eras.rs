//! Eras: the secrets that a vault replaces, so that a backup does not read what comes after it.
//!
//! The vault's identity cannot change: the places of all keys are hashes under it. It is in every
//! backup, and anyone who finds an expired one has it for ever. So the ids of data keys, the
//! announcements of erasures and the tags of events are made under secrets of an *era*. An era ends
//! when a backup is made; tokens, announcements and tags name theirs. The price is one note of 32 bytes
//! per backup. Two things still rest on the identity alone: the references in tombstones, and the ids
//! of private halves. With a backup, however old, tombstones of one erasure can be joined.
//!
//! All eras stay known: a living key may be of any of them. So anyone who finds a backup reads the ids
//! of its time and before, and can test guesses of names against them, for ever; of later ones they
//! read nothing. Used by `places` (ids), `verdict` (announcements), `tag` (tags of events) and `backup`.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use aes::{Aes256, cipher::KeyInit};
use hmac::Hmac;
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::{
    NoteKind, VaultError,
    disk::{Disk, parts},
    notes, places,
    tree::{Change, Place, Value},
};
#[cfg(feature = "backup")]
use super::{catalogue, committer::Committer};
use crate::crypto::{Cipher, RandomError, Secret, derive, keyed, random, random_secret};

/// The number of an era. The first is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Era(pub u16);

impl fmt::Display for Era {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The keys of one era, one for each purpose.
#[derive(Clone)]
pub(super) struct EraKeys {
    pub(super) era: Era,
    /// Permutes the ids of data keys.
    pub(super) ids: Aes256,
    /// Wraps the keys of announcements.
    pub(super) announcements: Arc<Cipher>,
    /// Makes the tags of events.
    pub(super) tags: Hmac<Sha256>,
    /// Makes the tags of the holes in copied events.
    pub(super) holes: Hmac<Sha256>,
}

impl EraKeys {
    pub(super) fn new(era: Era, secret: &Secret) -> Self {
        let ids = derive(secret, b"oubliette era 1: key ids");
        let announcements = derive(secret, b"oubliette era 1: announcements");
        let ids = Aes256::new((&*ids).into());
        let tags = keyed(&derive(secret, b"oubliette era 1: event tags"));
        let holes = keyed(&derive(secret, b"oubliette era 1: holes"));
        Self { era, ids, announcements: Arc::new(Cipher::new(&announcements)), tags, holes }
    }

    /// The era that a note holds.
    fn read(stem: &[u8], note: &[u8]) -> Result<Self, VaultError> {
        let odd = || VaultError::Damaged("the secret of an era".into());
        let id = places::note_id(stem).ok_or_else(odd)?;
        let (zeros, number) = id.split_last_chunk::<2>().ok_or_else(odd)?;
        let era = Era(u16::from_be_bytes(*number));
        let note = notes::content(NoteKind::Era, note)?;
        let secret = <&[u8; 32]>::try_from(note).map_err(|_| odd())?;
        if era.0 == 0 || zeros.iter().any(|byte| *byte != 0) {
            return Err(odd());
        }
        Ok(Self::new(era, &Secret::copy_of(secret)))
    }
}

/// All eras of a vault, in their order: readers share a list that is replaced as a whole. `None`:
/// they lie beneath a damaged page.
pub(super) struct Eras(RwLock<Option<Arc<Vec<EraKeys>>>>);

impl Eras {
    /// Reads the eras, and begins the first where there is none. Damage keeps nobody from opening the
    /// vault: what needs an era says so.
    pub(super) fn load(disk: &Disk) -> Result<Self, VaultError> {
        let eras = match disk.wholes(places::notes(NoteKind::Era)).and_then(|notes| read(&notes)) {
            Ok(eras) if eras.is_empty() => {
                let (change, first) = begin(Era(1))?;
                disk.put(change)?;
                vec![first]
            }
            Err(error @ VaultError::Damaged(_)) => {
                tracing::warn!(%error, "the secrets of the eras cannot be read");
                return Ok(Self(RwLock::new(None)));
            }
            eras => eras?,
        };
        Ok(Self::over(eras))
    }

    pub(super) fn over(eras: Vec<EraKeys>) -> Self {
        Self(RwLock::new(Some(Arc::new(eras))))
    }

    fn all(&self) -> Result<Arc<Vec<EraKeys>>, VaultError> {
        // No code panics while it holds this lock.
        let eras = self.0.read().unwrap_or_else(PoisonError::into_inner);
        eras.clone().ok_or_else(|| VaultError::Damaged("the secrets of the eras".into()))
    }

    /// Does something with the keys of an era; `None` if this vault does not know it.
    pub(super) fn with<T>(
        &self,
        era: Era,
        what: impl FnOnce(&EraKeys) -> T,
    ) -> Result<Option<T>, VaultError> {
        let all = self.all()?;
        Ok(all.binary_search_by_key(&era, |keys| keys.era).ok().map(|at| what(&all[at])))
    }

    /// Does something with the keys of the era of all that is made now.
    pub(super) fn with_current<T>(
        &self,
        what: impl FnOnce(&EraKeys) -> T,
    ) -> Result<T, VaultError> {
        let all = self.all()?;
        let none = || VaultError::Damaged("there is no era".into());
        all.last().map(what).ok_or_else(none)
    }

    /// The era of all that is made now.
    pub(super) fn current(&self) -> Result<Era, VaultError> {
        self.with_current(|keys| keys.era)
    }

    /// After its note is on the disk.
    #[cfg(feature = "backup")]
    pub(super) fn add(&self, keys: EraKeys) {
        let mut eras = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let before = eras.iter().flat_map(|eras| eras.iter().cloned());
        *eras = Some(Arc::new(before.chain([keys]).collect()));
    }
}

/// The eras in these notes, which are in the order of their places, and so of the eras.
pub(super) fn read(notes: &[(Place, Value)]) -> Result<Vec<EraKeys>, VaultError> {
    notes.iter().map(|(stem, note)| EraKeys::read(stem, note)).collect()
}

/// A new era: what is to be written, and its keys.
pub(super) fn begin(era: Era) -> Result<(Vec<Change>, EraKeys), VaultError> {
    let secret = random_secret()?;
    let mut id = [0; 16];
    id[14..].copy_from_slice(&era.0.to_be_bytes());
    let note = notes::stored(secret.as_slice());
    let change = parts(&places::note(NoteKind::Era, &id), &note)?;
    Ok((change, EraKeys::new(era, &secret)))
}

/// How far the era of a vault that parts from another lies from the last that both know, at most.
const APART: u16 = 1024;

/// The era of a vault that parts from another: of a restored one from the vault that was lost, of a copy
/// with a slot of its own from the original. The other one goes on with the next few; a number that is
/// not theirs lets nobody take one's ids for the other's. `None`: there are no more numbers, so that the
/// last era goes on.
pub(super) fn apart(last: Era) -> Result<Option<Era>, RandomError> {
    let step = 2 + u16::from_be_bytes(random()?) % APART;
    let next = last.0.checked_add(step).map(Era);
    if next.is_none() {
        tracing::warn!("the vault has no number left for an era of its own");
    }
    Ok(next)
}

#[cfg(feature = "backup")]
impl Committer {
    /// Ends the era if a backup may hold its secret: one that was cut off by a crash, in whatever state its
    /// file is, has not ended it.
    pub(super) fn end_exposed_era(&mut self) -> Result<(), VaultError> {
        if self.core.disk.tree().is_read_only() {
            return Ok(());
        }
        let current = self.core.naming.eras.current()?;
        if catalogue::entries(&self.core.disk)?.iter().any(|backup| backup.era == current) {
            self.end_era()?;
        }
        Ok(())
    }

    /// Ends the era: what is made from now on cannot be read with a backup that was made before.
    pub(super) fn end_era(&mut self) -> Result<Era, VaultError> {
        let eras = &self.core.naming.eras;
        let last = eras.current()?;
        let Some(next) = last.0.checked_add(1) else {
            tracing::warn!("the vault had 65,535 eras, and begins no further one");
            return Ok(last);
        };
        let (change, keys) = begin(Era(next))?;
        self.changes.extend(change);
        self.commit()?;
        // Ids are made by this thread, so that none was made in between.
        self.core.naming.eras.add(keys);
        Ok(Era(next))
    }
}
