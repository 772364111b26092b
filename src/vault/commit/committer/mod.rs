//! The one writer: a thread that takes jobs in order, puts as many as are there into one write,
//! and answers when that is on the disk.
//!
//! What is planned but not written yet is: `planned` keys, `changes`, and the records in
//! [`Shared::unsaved`]. A settlement waits there for the next write, since losing it costs
//! nothing: should it be lost, the claim is found unsettled and asked about again.

mod keys;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicU32, Ordering},
        mpsc::{Receiver, TryRecvError},
    },
};

use tokio::sync::oneshot;

#[cfg(feature = "backup")]
use crate::event::Era;
#[cfg(feature = "backup")]
use crate::vault::records::delta::Delta;
use crate::{
    crypto::{DataKey, wipe_stack},
    event::{EventId, Generation, KeyId, Layout, PolicyDigest, Subject},
    vault::{
        Admission, Claim, Decision, Destroyed, Destruction, Evidence, KeyRequest, MemoKind,
        OwnerBackfill, VaultError, Watch,
        reading::cache::{Address, Current},
        records::{
            entries::{KeyEntry, today},
            places::{self, Hash},
        },
        root::{SlotChange, SlotError},
        shared::Shared,
        tree::{Change, Erasure, Place, Value},
    },
};

/// How many jobs one write serves at most.
const MOST_JOBS: usize = 1024;
/// How many settlements wait for a write of somebody else's at most.
const MOST_UNSAVED: usize = 1024;

pub(in crate::vault) type Reply<T, E = VaultError> = oneshot::Sender<Result<T, E>>;

/// What the committer is asked to do.
pub(in crate::vault) enum Job {
    Seal(Wanted, Reply<Arc<DataKey>>),
    /// And whether the caller has to settle them: no one else can see their store.
    Claim(Vec<Claim>, bool, Reply<Vec<Option<Generation>>>),
    NoteOwners(OwnerBackfill, Reply<()>),
    /// Told when it is written, if it says so; else at once.
    Settle(Hash, Vec<(EventId, Evidence)>, Option<Arc<Watch>>, bool, Reply<()>),
    Destroy(Destruction, Vec<u8>, Reply<Destroyed>),
    Replay(Vec<Decision>, Reply<Destroyed>),
    Reopen(Subject, Reply<Option<Generation>>),
    PutMemo(MemoKind, [u8; 16], Value, Reply<()>),
    RemoveMemo(MemoKind, [u8; 16], Reply<()>),
    /// The history, and the secret of a new key.
    SigningKeys(Value, Option<Vec<Change>>, Reply<()>),
    Slot(SlotChange, Reply<(), SlotError>),
    /// Who, past which generation, and the hold on the subject's gate.
    Rotate(Subject, Option<Generation>, Admission, Reply<Option<Generation>>),
    RotateRoot(Reply<u64>),
    #[cfg(feature = "backup")]
    EndEra(Reply<Era>),
    Flush(Reply<()>),
    /// From when on a backup is told of all changes.
    #[cfg(feature = "backup")]
    OpenTap(Reply<()>),
    /// The end of a backup: what changed last, read while nothing is written.
    #[cfg(feature = "backup")]
    CloseTap(Reply<Vec<Delta>>),
}

/// A key that is wanted, as the committer takes it.
pub(in crate::vault) struct Wanted {
    pub(in crate::vault) address: Address,
    pub(in crate::vault) generation: Option<Generation>,
    pub(in crate::vault) layout: Layout,
    pub(in crate::vault) policy: PolicyDigest,
    pub(in crate::vault) seals: u32,
}

impl Wanted {
    pub(in crate::vault) fn new(request: KeyRequest<'_>, seals: u32) -> Self {
        let KeyRequest { stream, subject, generation, layout, policy } = request;
        Self { address: (stream.clone(), subject.clone()), generation, layout, policy, seals }
    }
}

/// A key that this write makes, or reserves seals for.
pub(in crate::vault) struct Planned {
    address: Address,
    pub(in crate::vault) entry: KeyEntry,
    key: Arc<DataKey>,
    current: Current,
    /// How many seals were reserved before this process reserved any.
    before: u64,
    /// Reserved, and asked for by nobody yet.
    spare: u64,
}

type Waiting = Box<dyn FnOnce(Result<(), VaultError>) + Send>;

pub(in crate::vault) struct Committer {
    pub(in crate::vault) shared: Arc<Shared>,
    pub(in crate::vault) changes: BTreeMap<Place, Option<Value>>,
    /// From where to where this write takes fresh page keys along. What stays there is among the
    /// changes.
    pub(in crate::vault) renewed: Vec<(Place, Place)>,
    /// In order of places, so that of one stream's keys the newest generation is published last
    /// and stays warm.
    pub(in crate::vault) planned: BTreeMap<Place, Planned>,
    /// The ids of the keys that this write makes.
    minted: HashSet<KeyId>,
    waiting: Vec<Waiting>,
    currents: HashMap<Hash, Weak<AtomicU32>>,
}

impl Committer {
    pub(in crate::vault) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            changes: BTreeMap::new(),
            renewed: Vec::new(),
            planned: BTreeMap::new(),
            minted: HashSet::new(),
            waiting: Vec::new(),
            currents: HashMap::new(),
        }
    }

    /// Works until no handle of the vault is left.
    pub(in crate::vault) fn run(mut self, jobs: &Receiver<Job>) {
        #[cfg(feature = "backup")]
        if let Err(error) = self.end_exposed_era() {
            tracing::warn!(error = %crate::words::chain(&error), "a backup that was cut off may read what is made from now on");
        }
        while let Ok(job) = jobs.recv() {
            self.take(job);
            // Group commit: all that came while the last write was on its way shares the next one. No job waits for
            // company: an empty queue writes at once.
            for _ in 1..MOST_JOBS {
                match jobs.try_recv() {
                    Ok(job) => self.take(job),
                    Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
                }
            }
            if !self.waiting.is_empty() || self.shared.unsaved().len() > MOST_UNSAVED {
                // Anyone who waits is told; no one else needs to know.
                let _ = self.commit();
            }
        }
        if let Err(error) = self.commit() {
            tracing::warn!(error = %crate::words::chain(&error), "the vault could not write what was settled last");
        }
        drop(self);
        wipe_stack();
    }

    fn take(&mut self, job: Job) {
        match job {
            Job::Seal(wanted, reply) => match self.seal(wanted) {
                Ok((key, true)) => answer(reply, Ok(key)),
                Ok((key, false)) => self.when_written(reply, key),
                Err(error) => answer(reply, Err(error)),
            },
            Job::Claim(claims, by_caller, reply) => match self.claim(&claims, by_caller) {
                Ok(generations) => self.when_written(reply, generations),
                Err(error) => answer(reply, Err(error)),
            },
            Job::NoteOwners(backfill, reply) => match self.note_owners(&backfill) {
                Ok(()) => self.when_written(reply, ()),
                Err(error) => answer(reply, Err(error)),
            },
            Job::Settle(subject, found, watch, durably, reply) => {
                let settled = self.settle(subject, &found, watch.as_deref());
                // Before the answer: whoever hears it may begin anew at once.
                drop(watch);
                match settled {
                    Ok(()) if durably => self.when_written(reply, ()),
                    settled => answer(reply, settled),
                }
            }
            Job::Destroy(destruction, memo, reply) => {
                wiped(reply, self.destroy(&destruction, &memo));
            }
            Job::Replay(decisions, reply) => wiped(reply, self.replay(&decisions)),
            Job::Reopen(subject, reply) => answer(reply, self.reopen(&subject)),
            Job::PutMemo(kind, id, memo, reply) => match self.put_memo(kind, id, &memo) {
                Ok(()) => self.when_written(reply, ()),
                Err(error) => answer(reply, Err(error)),
            },
            Job::RemoveMemo(kind, id, reply) => answer(reply, self.remove_memo(kind, id)),
            Job::SigningKeys(memo, secret, reply) => {
                wiped(reply, self.write_signing_keys(&memo, secret));
            }
            Job::Slot(change, reply) => {
                let changed = self.shared.disk.tree().change_slot(change);
                // Then memory answers nothing any more, either.
                if self.shared.disk.tree().refuse_poisoned().is_err() {
                    self.shared.disk.poison();
                }
                wipe_stack();
                answer(reply, changed);
            }
            // The subject stays blocked until the rotation is durable. Released earlier, an append could seal under
            // the old key after the caller was told that the new one counts.
            Job::Rotate(subject, past, admission, reply) => match self.rotate(&subject, past) {
                Ok(generation) => self.waiting.push(Box::new(move |result| {
                    drop(admission);
                    answer(reply, result.map(|()| generation));
                })),
                Err(error) => {
                    drop(admission);
                    answer(reply, Err(error));
                }
            },
            Job::RotateRoot(reply) => wiped(reply, self.rotate_root()),
            #[cfg(feature = "backup")]
            Job::EndEra(reply) => wiped(reply, self.end_era()),
            Job::Flush(reply) => answer(reply, self.commit()),
            #[cfg(feature = "backup")]
            Job::OpenTap(reply) => {
                // What is planned and not written yet is not in the tree: it comes by the tap.
                self.shared.disk.tap.open();
                answer(reply, self.shared.disk.check());
            }
            #[cfg(feature = "backup")]
            Job::CloseTap(reply) => {
                let last = self.commit().and_then(|()| Delta::read(&self.shared.disk));
                self.shared.disk.tap.close();
                answer(reply, last);
            }
        }
    }

    fn when_written<T: Send + 'static>(&mut self, reply: Reply<T>, value: T) {
        self.waiting.push(Box::new(move |result| answer(reply, result.map(|()| value))));
    }

    /// Turns a subject's warm keys off, but for those of this generation.
    pub(in crate::vault) fn set_current(&self, subject: &Hash, current: Option<Generation>) {
        if let Some(cell) = self.currents.get(subject).and_then(Weak::upgrade) {
            cell.store(current.map_or(0, |generation| generation.0), Ordering::Release);
        }
    }

    fn current(&mut self, subject: Hash) -> Current {
        if self.currents.len() > 2 * self.shared.limits.cached_keys {
            self.currents.retain(|_, cell| cell.strong_count() > 0);
        }
        if let Some(cell) = self.currents.get(&subject).and_then(Weak::upgrade) {
            return cell;
        }
        let cell = Current::default();
        self.currents.insert(subject, Arc::downgrade(&cell));
        cell
    }

    /// Writes everything that is planned, and tells those who wait.
    pub(in crate::vault) fn commit(&mut self) -> Result<(), VaultError> {
        let result = self.write();
        // Before anyone is told: of what is gone then nothing must be left, here either.
        wipe_stack();
        let mut waiting = std::mem::take(&mut self.waiting);
        match result {
            Ok(()) => {
                waiting.drain(..).for_each(|reply| reply(Ok(())));
                Ok(())
            }
            Err(error) => {
                // After a failed write it is not known what is on the disk, and memory may be ahead of it. So nothing is
                // answered from here until the vault is opened again.
                self.shared.disk.poison();
                let shared = Arc::new(error);
                waiting.drain(..).for_each(|reply| reply(Err(again(&shared))));
                Err(again(&shared))
            }
        }
    }

    fn write(&mut self) -> Result<(), VaultError> {
        self.shared.disk.check()?;
        let mut planned = std::mem::take(&mut self.planned);
        let mut changes = std::mem::take(&mut self.changes);
        self.minted.clear();
        for (place, Planned { entry, .. }) in &mut planned {
            entry.last_day = entry.last_day.max(today());
            changes.insert(place.clone(), Some(entry.encode()));
        }
        let unsaved = self.shared.unsaved().clone();
        for (hash, record) in &unsaved {
            let stem = places::record(hash);
            changes.extend(self.shared.disk.set_whole(&stem, &record.encode())?);
        }
        if changes.is_empty() {
            return Ok(());
        }
        let changes = changes.into_iter().collect();
        let remove_ranges = std::mem::take(&mut self.renewed);
        if remove_ranges.is_empty() {
            self.shared.disk.put(changes)?;
        } else {
            self.shared.disk.erase(Erasure { remove_ranges, changes })?;
        }
        // Only now: until the tree has them, readers find what was settled here.
        self.shared.unsaved().clear();
        // Published after the write: durable before use. A key in the cache can seal at once.
        for planned in planned.into_values() {
            self.publish(planned);
        }
        Ok(())
    }
}

/// Answers the one who asked; who no longer waits need not know.
fn answer<T, E>(reply: Reply<T, E>, result: Result<T, E>) {
    let _ = reply.send(result);
}

/// Answers when what the work left on the stack is wiped. Inlined, because a frame of its own would lie
/// over what is to be wiped.
#[inline(always)]
fn wiped<T, E>(reply: Reply<T, E>, result: Result<T, E>) {
    wipe_stack();
    answer(reply, result);
}

/// One failure, told to many.
fn again(error: &Arc<VaultError>) -> VaultError {
    match &**error {
        VaultError::Poisoned => VaultError::Poisoned,
        VaultError::Damaged(what) => VaultError::Damaged(what.clone()),
        VaultError::DiskFull(_) => VaultError::DiskFull(Box::new(SharedError(Arc::clone(error)))),
        _ => VaultError::Storage(Box::new(SharedError(Arc::clone(error)))),
    }
}

struct SharedError(Arc<VaultError>);

impl fmt::Debug for SharedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for SharedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The one around it says already that the storage failed.
        match &*self.0 {
            VaultError::Storage(source) | VaultError::DiskFull(source) => {
                fmt::Display::fmt(source, f)
            }
            other => fmt::Display::fmt(other, f),
        }
    }
}

impl std::error::Error for SharedError {}
