//! What is kept in memory of keys and fences: bounded, and never stale.
//!
//! A reader that finds nothing here reads the tree and would like to leave here what it found.
//! In between, what it found may have been destroyed. So it notes the [`Cache::version`] before
//! it reads, and leaves nothing if that has changed; who destroys first changes the tree, then
//! the version, then sweeps. Both look under the lock of the shard, so that either the reader
//! sees the new version, or the sweep sees what the reader left.

use std::{
    hash::{BuildHasher, Hash, RandomState},
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
};

use lru::LruCache;

use crate::{
    cache::lru,
    crypto::DataKey,
    event::{ErasureId, Generation, KeyId, StreamName, Subject},
    vault::{KeyLookup, records::entries::today},
};

/// Locks are spread over so many shards.
const SHARDS: usize = 64;

/// The generation that a subject's new events are sealed under, or 0: ask the committer. All
/// warm keys of a subject share it, so that one store turns all of them off.
pub(in crate::vault) type Current = Arc<AtomicU32>;

/// A data key that is ready to seal, with the seals that are reserved for it on the disk. The next reservation is
/// another `Warm`, which takes over what this one has left.
#[derive(Debug)]
pub(in crate::vault) struct Warm {
    pub(in crate::vault) key: Arc<DataKey>,
    pub(in crate::vault) generation: Generation,
    pub(in crate::vault) current: Current,
    pub(in crate::vault) reserved: u64,
    /// How many were reserved before this process reserved any.
    pub(in crate::vault) before: u64,
    /// How many of those that are reserved are not used.
    pub(in crate::vault) left: AtomicU64,
    /// The last day of its use that the disk knows of.
    pub(in crate::vault) last_day: u32,
}

impl Warm {
    /// Uses up reserved seals, if there are as many. Not on a day that the disk does not know of: it must know
    /// the day of a key's last use, whatever crashes.
    pub(in crate::vault) fn take(&self, seals: u32) -> bool {
        let take = |left: u64| left.checked_sub(seals.into());
        self.last_day >= today()
            && self.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, take).is_ok()
    }

    /// Takes what is left, for the next reservation.
    pub(in crate::vault) fn drain(&self) -> u64 {
        self.left.swap(0, Ordering::AcqRel)
    }

    /// How many seals were used.
    pub(in crate::vault) fn used(&self) -> u64 {
        self.reserved - self.left.load(Ordering::Acquire)
    }
}

/// Where warm keys are looked up. They are of the empty class: no other key seals.
pub(in crate::vault) type Address = (StreamName, Subject);

/// All that is kept in memory.
pub(in crate::vault) struct Cache {
    version: AtomicU64,
    warm: Shards<Address, Arc<Warm>>,
    /// Whether there ever was a warm key: most reports are made by a process of their own, which seals nothing.
    ever_warm: AtomicBool,
    keys: Shards<KeyId, KeyLookup>,
    fences: Shards<Subject, Fenced>,
}

/// What is kept of a fence.
#[derive(Debug, Clone, Copy)]
pub(in crate::vault) struct Fenced {
    /// By which erasure the subject is closed.
    pub(in crate::vault) closed: Option<ErasureId>,
    /// Whether some of it was ever forgotten.
    pub(in crate::vault) ever: bool,
}

impl Cache {
    pub(in crate::vault) fn new(keys: usize) -> Self {
        Self {
            version: AtomicU64::new(0),
            warm: Shards::new(keys),
            ever_warm: AtomicBool::new(false),
            keys: Shards::new(keys),
            fences: Shards::new(keys),
        }
    }

    /// To be noted before the tree is read; see [`Self::keep_state`], [`Self::keep_fence`].
    pub(in crate::vault) fn version(&self) -> u64 {
        self.version.load(Ordering::SeqCst)
    }

    /// Says that what readers have read from the tree by now may be out of date. To be followed
    /// by the sweep.
    pub(in crate::vault) fn outdate(&self) {
        self.version.fetch_add(1, Ordering::SeqCst);
    }

    pub(in crate::vault) fn warm(&self, address: &Address) -> Option<Arc<Warm>> {
        self.warm.shard(address).get(address).cloned()
    }

    /// The same for reports, which do not count as use.
    pub(in crate::vault) fn peek_warm(&self, address: &Address) -> Option<Arc<Warm>> {
        if !self.ever_warm.load(Ordering::Acquire) {
            return None;
        }
        self.warm.shard(address).peek(address).cloned()
    }

    /// For the committer alone.
    pub(in crate::vault) fn keep_warm(&self, address: Address, warm: Warm) {
        self.ever_warm.store(true, Ordering::Release);
        self.warm.shard(&address).put(address, Arc::new(warm));
    }

    pub(in crate::vault) fn drop_warm(&self, address: &Address) {
        self.warm.shard(address).pop(address);
    }

    pub(in crate::vault) fn state(&self, id: KeyId) -> Option<KeyLookup> {
        self.keys.shard(&id).get(&id).cloned()
    }

    pub(in crate::vault) fn keep_state(&self, id: KeyId, state: KeyLookup, version: u64) {
        let mut shard = self.keys.shard(&id);
        if self.version() == version {
            shard.put(id, state);
        }
    }

    pub(in crate::vault) fn drop_state(&self, id: KeyId) {
        self.keys.shard(&id).pop(&id);
    }

    /// What a subject's fence says; `None` if that is not known here.
    pub(in crate::vault) fn fence(&self, subject: &Subject) -> Option<Fenced> {
        self.fences.shard(subject).get(subject).copied()
    }

    pub(in crate::vault) fn keep_fence(&self, subject: &Subject, fenced: Fenced, version: u64) {
        let mut shard = self.fences.shard(subject);
        if self.version() == version {
            shard.put(subject.clone(), fenced);
        }
    }

    pub(in crate::vault) fn drop_fence(&self, subject: &Subject) {
        self.fences.shard(subject).pop(subject);
    }

    /// Where it is not known by name who was forgotten.
    pub(in crate::vault) fn drop_all_fences(&self) {
        self.fences.0.iter().for_each(|shard| lock(shard).clear());
    }
}

struct Shards<K: Hash + Eq, V>(Vec<Mutex<LruCache<K, V>>>, RandomState);

impl<K: Hash + Eq, V> Shards<K, V> {
    fn new(room: usize) -> Self {
        let room = NonZeroUsize::new(room.div_ceil(SHARDS)).unwrap_or(NonZeroUsize::MIN);
        let shards = (0..SHARDS).map(|_| Mutex::new(lru(room))).collect();
        Self(shards, RandomState::new())
    }

    fn shard(&self, key: &K) -> MutexGuard<'_, LruCache<K, V>> {
        let number = self.1.hash_one(key) % SHARDS as u64;
        // Less than SHARDS, so that no bits are lost.
        lock(&self.0[number as usize])
    }
}

/// No code panics while it holds one of these locks halfway through a change.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
