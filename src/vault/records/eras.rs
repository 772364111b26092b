//! Eras: the secrets that a vault replaces, so that a backup does not read what comes after it.
//!
//! The vault's identity cannot change: the places of all keys are hashes under it. It is in every
//! backup, and anyone who finds an expired one has it for ever. So the ids of data keys, the
//! announcements of erasures and the tags of events are made under secrets of an *era*. An era ends
//! when a backup is made; tokens, announcements and tags name theirs. The price is one memo of 32 bytes
//! per backup. Two things still rest on the identity alone: the references in tombstones, and the ids
//! of private halves. With a backup, however old, tombstones of one erasure can be joined.
//!
//! An era's name is four random bytes. So two vaults that came from one (by a backup, by an image) have no
//! era in common but those from before, whatever happened to either, and no one else can count eras. Which was first is
//! in the vault's memos alone.
//!
//! All eras stay known: a living key may be of any of them. So anyone who finds a backup reads the ids
//! of its time and before, and can test guesses of names against them, for ever; of later ones they
//! read nothing. Used by `places` (ids), `announced`, `tag` (tags of events) and `backup`.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use aes::{Aes256, cipher::KeyInit};
use hmac::Hmac;
use sha2::Sha256;

use super::{
    disk::{Disk, parts},
    memos, places,
};
use crate::{
    crypto::{Cipher, Label, Secret, derive, keyed, random, random_secret},
    event::{ERA_BYTES, Era},
    vault::{
        MemoKind, VaultError,
        tree::{Change, Place, Value},
    },
};

/// The keys of one era, one for each purpose.
#[derive(Clone)]
pub(in crate::vault) struct EraKeys {
    pub(in crate::vault) era: Era,
    /// The first era of a vault has 1, and each a higher one than those that it knew when it began.
    order: u64,
    /// Permutes the ids of data keys.
    pub(in crate::vault) ids: Aes256,
    /// Wraps the keys of announcements.
    pub(in crate::vault) announcements: Arc<Cipher>,
    /// Makes the tags of events.
    pub(in crate::vault) tags: Hmac<Sha256>,
    /// Makes the tags of the holes in copied events.
    pub(in crate::vault) holes: Hmac<Sha256>,
}

impl EraKeys {
    pub(in crate::vault) fn new(era: Era, order: u64, secret: &Secret) -> Self {
        Self {
            era,
            order,
            ids: Aes256::new((&*derive(secret, Label::KEY_IDS)).into()),
            announcements: Cipher::new(&derive(secret, Label::ANNOUNCEMENTS)).into(),
            tags: keyed(&derive(secret, Label::EVENT_TAGS)),
            holes: keyed(&derive(secret, Label::HOLES)),
        }
    }

    /// The era that a memo holds.
    fn read(stem: &[u8], memo: &[u8]) -> Result<Self, VaultError> {
        let odd = || VaultError::Damaged("the secret of an era".into());
        let id = places::memo_id(stem).ok_or_else(odd)?;
        let (order, era) = id.split_last_chunk::<ERA_BYTES>().ok_or_else(odd)?;
        let (zeros, order) = order.split_last_chunk::<8>().ok_or_else(odd)?;
        let (era, order) = (Era(*era), u64::from_be_bytes(*order));
        let memo = memos::content(MemoKind::Era, memo)?;
        let secret = <&[u8; 32]>::try_from(memo).map_err(|_| odd())?;
        if order == 0 || zeros.iter().any(|byte| *byte != 0) {
            return Err(odd());
        }
        Ok(Self::new(era, order, &Secret::copy_of(secret)))
    }
}

/// All eras of a vault: readers share them, and a copy takes their place where one is added. `None`: they are beneath
/// a damaged page.
pub(in crate::vault) struct Eras(RwLock<Option<Arc<Known>>>);

#[derive(Clone, Default)]
struct Known {
    eras: HashMap<Era, EraKeys>,
    current: Option<Era>,
}

impl Known {
    fn current(&self) -> Option<&EraKeys> {
        self.eras.get(&self.current?)
    }

    fn add(&mut self, keys: EraKeys) {
        if self.current().is_none_or(|current| current.order < keys.order) {
            self.current = Some(keys.era);
        }
        self.eras.insert(keys.era, keys);
    }
}

impl Eras {
    /// Reads the eras, and begins the first where there is none. Damage does not prevent opening the
    /// vault: what needs an era says so.
    pub(in crate::vault) fn load(disk: &Disk) -> Result<Self, VaultError> {
        let eras = match disk.wholes(places::memos(MemoKind::Era)).and_then(|memos| read(&memos)) {
            Ok(eras) if eras.is_empty() => {
                let (change, first) = Self::over(Vec::new()).begin()?;
                disk.put(change)?;
                vec![first]
            }
            Err(error @ VaultError::Damaged(_)) => {
                tracing::warn!(error = %crate::words::chain(&error), "the secrets of the eras cannot be read");
                return Ok(Self(RwLock::new(None)));
            }
            eras => eras?,
        };
        Ok(Self::over(eras))
    }

    pub(in crate::vault) fn over(eras: Vec<EraKeys>) -> Self {
        let mut known = Known::default();
        eras.into_iter().for_each(|keys| known.add(keys));
        Self(RwLock::new(Some(Arc::new(known))))
    }

    fn all(&self) -> Result<Arc<Known>, VaultError> {
        // No code panics while it holds this lock.
        let eras = self.0.read().unwrap_or_else(PoisonError::into_inner);
        eras.clone().ok_or_else(|| VaultError::Damaged("the secrets of the eras".into()))
    }

    /// Does something with the keys of an era; `None` if this vault does not know it.
    pub(in crate::vault) fn with<T>(
        &self,
        era: Era,
        what: impl FnOnce(&EraKeys) -> T,
    ) -> Result<Option<T>, VaultError> {
        Ok(self.all()?.eras.get(&era).map(what))
    }

    /// Does something with the keys of the era of all that is made now.
    pub(in crate::vault) fn with_current<T>(
        &self,
        what: impl FnOnce(&EraKeys) -> T,
    ) -> Result<T, VaultError> {
        let none = || VaultError::Damaged("there is no era".into());
        self.all()?.current().map(what).ok_or_else(none)
    }

    /// The era of all that is made now.
    pub(in crate::vault) fn current(&self) -> Result<Era, VaultError> {
        self.with_current(|keys| keys.era)
    }

    /// Whether an era began before another one, both being known.
    pub(in crate::vault) fn is_before(&self, era: Era, other: Era) -> Result<bool, VaultError> {
        let known = self.all()?;
        let order = |era: Era| known.eras.get(&era).map(|keys| keys.order);
        Ok(order(era).zip(order(other)).is_some_and(|(era, other)| era < other))
    }

    /// A new era, unlike any that is known: what is to be written, and its keys.
    pub(in crate::vault) fn begin(&self) -> Result<(Vec<Change>, EraKeys), VaultError> {
        let known = self.all()?;
        let era = loop {
            let era = Era(random()?);
            if !known.eras.contains_key(&era) {
                break era;
            }
        };
        let order = known.current().map_or(0, |last| last.order).saturating_add(1);
        let secret = random_secret()?;
        let mut id = [0; 16];
        id[4..12].copy_from_slice(&order.to_be_bytes());
        id[12..].copy_from_slice(&era.0);
        let memo = memos::stored(secret.as_slice());
        let change = parts(&places::memo(MemoKind::Era, &id), &memo)?;
        Ok((change, EraKeys::new(era, order, &secret)))
    }

    /// After its memo is on the disk.
    #[cfg(feature = "backup")]
    pub(in crate::vault) fn add(&self, keys: EraKeys) {
        let mut eras = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = eras.as_mut() {
            Arc::make_mut(known).add(keys);
        }
    }
}

/// The eras in these memos.
pub(in crate::vault) fn read(memos: &[(Place, Value)]) -> Result<Vec<EraKeys>, VaultError> {
    memos.iter().map(|(stem, memo)| EraKeys::read(stem, memo)).collect()
}
