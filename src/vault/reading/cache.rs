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
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

use lru::LruCache;

use crate::{
    crypto::DataKey,
    event::{ErasureId, Generation, KeyId, StreamName, Subject},
    vault::{KeyLookup, records::entries::today},
};

/// Locks are spread over so many shards.
const SHARDS: usize = 64;

/// The generation that a subject's new events are sealed under, or 0: ask the committer. All
/// warm keys of a subject share it, so that one store turns all of them off.
pub(in crate::vault) type Current = Arc<AtomicU32>;

/// A data key that is ready to seal, with the seals that are reserved for it.
#[derive(Debug)]
pub(in crate::vault) struct Warm {
    pub(in crate::vault) key: Arc<DataKey>,
    pub(in crate::vault) generation: Generation,
    pub(in crate::vault) current: Current,
    /// The count of reserved seals as on the disk, above, and in the lower [`LEFT_BITS`] how many
    /// of them are not used yet: one number, so that their difference is right at any moment.
    counts: AtomicU64,
    last_day: AtomicU32,
    /// The last day of use that the disk knows of.
    noted_day: AtomicU32,
}

const LEFT_BITS: u32 = 24;
const LEFT: u64 = (1 << LEFT_BITS) - 1;

impl Warm {
    pub(in crate::vault) fn new(
        key: Arc<DataKey>,
        generation: Generation,
        current: Current,
        reserved: u64,
        last_day: u32,
    ) -> Self {
        let counts = AtomicU64::new(reserved << LEFT_BITS);
        let (last_day, noted_day) = (AtomicU32::new(last_day), AtomicU32::new(last_day));
        Self { key, generation, current, counts, last_day, noted_day }
    }

    /// Uses up reserved seals, if there are as many.
    pub(in crate::vault) fn take(&self, seals: u32) -> bool {
        let seals = u64::from(seals);
        let take = |counts: u64| (counts & LEFT >= seals).then(|| counts - seals);
        let taken = self.counts.fetch_update(Ordering::AcqRel, Ordering::Acquire, take).is_ok();
        let today = today();
        if taken && self.last_day.load(Ordering::Relaxed) != today {
            self.last_day.store(today, Ordering::Relaxed);
        }
        taken
    }

    /// Makes `grant` more seals available, of so many that are now reserved on the disk, with
    /// this day as that of the last use.
    pub(in crate::vault) fn grant(&self, reserved: u64, grant: u64, day: u32) {
        self.noted_day.store(day, Ordering::Relaxed);
        let add = |counts: u64| Some((reserved << LEFT_BITS) | ((counts & LEFT) + grant));
        let _ = self.counts.fetch_update(Ordering::AcqRel, Ordering::Acquire, add);
    }

    /// Gives back what is reserved and not used: the count, which the disk is to be told.
    pub(in crate::vault) fn give_back(&self) -> u64 {
        let drain = |counts: u64| Some(((counts >> LEFT_BITS) - (counts & LEFT)) << LEFT_BITS);
        let before = self.counts.fetch_update(Ordering::AcqRel, Ordering::Acquire, drain);
        before.unwrap_or_else(|counts| counts) & LEFT
    }

    /// How many seals are reserved and not used.
    pub(in crate::vault) fn left(&self) -> u64 {
        self.counts.load(Ordering::Acquire) & LEFT
    }

    /// How many seals were used.
    pub(in crate::vault) fn used(&self) -> u64 {
        let counts = self.counts.load(Ordering::Acquire);
        (counts >> LEFT_BITS) - (counts & LEFT)
    }

    /// Whether it was used on a day later than the disk knows.
    pub(in crate::vault) fn is_news(&self) -> bool {
        self.last_day() > self.noted_day.load(Ordering::Relaxed)
    }

    pub(in crate::vault) fn last_day(&self) -> u32 {
        self.last_day.load(Ordering::Relaxed)
    }
}

/// Where warm keys are looked up. They are of the empty class: no other key seals.
pub(in crate::vault) type Address = (StreamName, Subject);

/// All that is kept in memory.
pub(in crate::vault) struct Cache {
    version: AtomicU64,
    warm: Shards<Address, Arc<Warm>>,
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
        self.warm.shard(address).peek(address).cloned()
    }

    /// For the committer alone. Returns the one that had to give way, if any.
    pub(in crate::vault) fn keep_warm(
        &self,
        address: Address,
        warm: &Arc<Warm>,
    ) -> Option<(Address, Arc<Warm>)> {
        let replaced = self.warm.shard(&address).push(address, Arc::clone(warm));
        replaced.filter(|(_, old)| !Arc::ptr_eq(old, warm))
    }

    pub(in crate::vault) fn drop_warm(&self, address: &Address) -> Option<Arc<Warm>> {
        self.warm.shard(address).pop(address)
    }

    /// All warm keys.
    pub(in crate::vault) fn all_warm(&self) -> Vec<(Address, Arc<Warm>)> {
        let shards = self.warm.0.iter().map(lock);
        let all = |shard: MutexGuard<'_, LruCache<Address, Arc<Warm>>>| -> Vec<_> {
            shard.iter().map(|(address, warm)| (address.clone(), Arc::clone(warm))).collect()
        };
        shards.flat_map(all).collect()
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
        let shards = (0..SHARDS).map(|_| Mutex::new(LruCache::new(room))).collect();
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
