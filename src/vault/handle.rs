//! The vault as its callers hold it.

use std::{
    fmt,
    path::Path,
    sync::{Arc, atomic::Ordering, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::{
    Claim, Destroyed, Destruction, Evidence, InventoryEntry, Judged, KeyInfo, KeyRequest, KeyState,
    Moved, NoteKind, OpenAs, Opening, PageStoreKind, SlotConfig, Standing, Trouble, UnderWay,
    VaultError, VaultId,
    committer::{Committer, Job, Reply, Wanted},
    core::{Core, Limits},
    disk::Disk,
    eras::{self, Eras},
    gate::{Gates, Pass, Shut},
    inventory::Inventory,
    places,
    records::{FenceRecord, KeyEntry},
    tree::{Erasure, Tree},
};
#[cfg(feature = "drill")]
use super::{
    copy::{CopiedPages, DeadKey},
    root::Root,
};
use crate::{
    crypto::{DataKey, KeyId, wipe_stack},
    event::{ErasureId, ErasureRef, EventId, Generation, StreamName, Subject},
};

/// A vault that is open. Clones are the same vault.
#[derive(Clone)]
pub struct Vault {
    open: Arc<Open>,
}

/// What all clones of a vault share. When the last is dropped, the committer writes what is only
/// in memory, and the tree is closed.
struct Open {
    core: Arc<Core>,
    gates: Arc<Gates>,
    /// Held by an erasure from closing to closing the books.
    erasing: Arc<tokio::sync::Mutex<()>>,
    /// Held by a backup from its beginning to its end.
    #[cfg(feature = "backup")]
    backing_up: Arc<tokio::sync::Mutex<()>>,
    /// `None` only while dropping: that is how the committer learns of it.
    jobs: Option<mpsc::Sender<Job>>,
    committer: Option<JoinHandle<()>>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(committer) = self.committer.take() {
            // It tells of its errors itself; a panic of its own is reported by the runtime.
            let _ = committer.join();
        }
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Vault").field(&self.id().0).finish()
    }
}

/// The right to append for some subjects: while it lives, nobody of them is forgotten. It
/// belongs to the task that appends, so that a caller who drops a future changes nothing.
#[derive(Debug)]
#[must_use]
pub struct Admission {
    _pass: Pass,
}

/// Subjects for whom no append is under way, nor begins, while it lives.
#[derive(Debug)]
#[must_use]
pub struct Closure {
    shut: Shut,
}

impl Vault {
    /// Makes a vault: its pages in `folder`, in sled, the root slot where the configuration says (a path:
    /// in a file there, without mirrors, wrapped by nothing).
    ///
    /// # Errors
    /// [`VaultError::NotEmpty`] where either exists; [`VaultError::SlotWithin`] where the slot lies in
    /// the folder.
    pub fn create(folder: &Path, slot: impl Into<SlotConfig>) -> Result<Self, VaultError> {
        Self::create_with(folder, slot, PageStoreKind::default())
    }

    /// [`Vault::create`], with its pages in this page store.
    ///
    /// # Errors
    /// Those of [`Vault::create`]; [`VaultError::NoPageStore`].
    pub fn create_with(
        folder: &Path,
        slot: impl Into<SlotConfig>,
        pages: PageStoreKind,
    ) -> Result<Self, VaultError> {
        Self::over(Tree::create_at(folder, slot, pages)?.into(), Limits::default())
    }

    /// Moves the pages of a vault that nobody has open to another page store, and shows how many were
    /// copied. Each is read again before the new store takes the old one's place, and the vault must
    /// open. Root and keys stay as they are. A failure, or a crash at any moment, leaves the old
    /// store in force.
    ///
    /// # Errors
    /// Those of [`Vault::open`]; [`VaultError::NoPageStore`], [`VaultError::DiskFull`].
    pub fn move_pages(
        folder: &Path,
        slot: impl Into<SlotConfig>,
        to: PageStoreKind,
        progress: impl Fn(u64),
    ) -> Result<Moved, VaultError> {
        Tree::open_as(folder, slot, OpenAs::Known)?.move_pages(folder, to, progress)
    }

    /// Opens a vault. Nothing is made, but mirrors that are asked for, and the slot where only a mirror
    /// of it is left: what is missing is an error.
    ///
    /// # Errors
    /// [`VaultError::InUse`], [`VaultError::NotFound`], [`VaultError::SlotMissing`],
    /// [`VaultError::WrongKek`], [`VaultError::KekMissing`]; [`VaultError::EpochTooLow`] and
    /// [`VaultError::Counter`], where the slot is bound to one; [`VaultError::FolderCopied`],
    /// [`VaultError::FolderOld`] and [`VaultError::SlotOld`], where it is not certain that this is the
    /// folder that was opened last with the slot…
    pub fn open(folder: &Path, slot: impl Into<SlotConfig>) -> Result<Self, VaultError> {
        Self::open_as(folder, slot, OpenAs::Known)
    }

    /// As [`Vault::open`], where the caller knows more of the folder, or wants less.
    ///
    /// # Errors
    /// As of [`Vault::open`].
    pub fn open_as(
        folder: &Path,
        slot: impl Into<SlotConfig>,
        how: OpenAs,
    ) -> Result<Self, VaultError> {
        Self::over(Tree::open_as(folder, slot, how)?.into(), Limits::default())
    }

    /// Gives a copy of a vault's folder a root slot of its own, at `to`, with a fresh root, and opens
    /// it. From then on the two are vaults apart: what is forgotten in one lives on in the other.
    ///
    /// The slot `from`, which the copy had in common with the folder that it was copied from, is read
    /// and not written to; that folder may be open meanwhile.
    ///
    /// Both keep one id, and the secrets that come with it, because without them the copy's events
    /// would be a stranger's to it. The copy gets a key of its own to sign with: what it announces is not
    /// the other's word. Use them with two event stores: neither knows the keys that the other makes.
    ///
    /// # Errors
    /// [`VaultError::NotEmpty`] where there is something at `to`; [`VaultError::SlotWithin`]; as of
    /// [`Vault::open`].
    pub fn give_own_slot(
        folder: &Path,
        from: impl Into<SlotConfig>,
        to: impl Into<SlotConfig>,
    ) -> Result<Self, VaultError> {
        let tree = Arc::new(Tree::give_own_slot(folder, from.into(), to.into())?);
        let disk = Disk::new(Arc::clone(&tree));
        // It signs with a key of its own: otherwise what it announces would be the other's word, too.
        let secret = places::notes(NoteKind::SigningSecret);
        let remove_ranges = vec![(secret.start, secret.end)];
        let mut parting = Erasure { remove_ranges, ..Erasure::default() };
        // And names its keys by itself: both would make the same ids of different keys.
        if let Some(next) = eras::apart(Eras::load(&disk)?.current()?)? {
            parting.changes = eras::begin(next)?.0;
        }
        // All in one step, which is the one that writes the slot.
        disk.erase(parting)?;
        drop(disk);
        Self::over(tree, Limits::default())
    }

    /// A vault in memory, for tests and for trying things out.
    ///
    /// # Errors
    /// [`VaultError::Random`].
    pub fn in_memory() -> Result<Self, VaultError> {
        Self::over(Tree::in_memory()?.into(), Limits::default())
    }

    pub(super) fn over(tree: Arc<Tree>, limits: Limits) -> Result<Self, VaultError> {
        let core = Arc::new(Core::new(Disk::new(tree), limits)?);
        wipe_stack();
        let (jobs, inbox) = mpsc::channel();
        let committer = Committer::new(Arc::clone(&core));
        let committer = std::thread::Builder::new()
            .name("oubliette-vault".into())
            .spawn(move || committer.run(&inbox))
            .map_err(|error| VaultError::Storage(Box::new(error)))?;
        let (jobs, committer) = (Some(jobs), Some(committer));
        let (gates, erasing) = (Arc::default(), Arc::default());
        Ok(Self {
            open: Arc::new(Open {
                core,
                gates,
                erasing,
                #[cfg(feature = "backup")]
                backing_up: Arc::default(),
                jobs,
                committer,
            }),
        })
    }

    /// Lets time pass for those who wait for an admission to end, and for what is dated.
    #[cfg(test)]
    pub(crate) fn pass_time(&self, time: Duration) {
        let micros = i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
        self.open.core.disk.faults.ahead.fetch_add(micros, Ordering::SeqCst);
        self.open.gates.pass_time(time);
    }

    pub(super) fn core(&self) -> &Arc<Core> {
        &self.open.core
    }

    /// Waits until no other backup is being made, and keeps others waiting until the answer is
    /// dropped.
    #[cfg(feature = "backup")]
    pub(super) async fn back_up_alone(&self) -> impl Send + use<> {
        Arc::clone(&self.open.backing_up).lock_owned().await
    }

    /// How many jobs were handed to the committer.
    #[cfg(test)]
    pub(super) fn asked(&self) -> u64 {
        self.open.core.disk.faults.asked.load(Ordering::SeqCst)
    }

    /// Has the committer do something, and waits for its answer.
    pub(super) async fn ask<T>(&self, job: impl FnOnce(Reply<T>) -> Job) -> Result<T, VaultError> {
        if self.is_read_only() {
            return Err(VaultError::ReadOnly);
        }
        let (reply, answer) = oneshot::channel();
        if let Some(jobs) = &self.open.jobs {
            // If the committer is gone, so is the reply.
            let _ = jobs.send(job(reply));
            #[cfg(test)]
            self.open.core.disk.faults.asked.fetch_add(1, Ordering::SeqCst);
        }
        answer.await.unwrap_or(Err(VaultError::Poisoned))
    }

    /// The vault's identity.
    pub fn id(&self) -> VaultId {
        self.open.core.disk.tree().vault_id()
    }

    /// Whether it was opened [to be read](OpenAs::ReadOnly).
    pub fn is_read_only(&self) -> bool {
        self.open.core.disk.tree().is_read_only()
    }

    /// Waits until nobody of the opening's subjects is being forgotten, and admits.
    ///
    /// All or nothing, with nothing held while waiting, so that admissions cannot deadlock.
    ///
    /// # Errors
    /// [`VaultError::Forgotten`] where one of them is.
    pub async fn admit(&self, opening: Opening) -> Result<Admission, VaultError> {
        self.admit_for(opening, None).await
    }

    /// As [`Vault::admit`], for so long: from then on the admission keeps nobody waiting, whoever
    /// still holds it.
    ///
    /// # Errors
    /// As [`Vault::admit`].
    pub async fn admit_for(
        &self,
        opening: Opening,
        lasting: Option<Duration>,
    ) -> Result<Admission, VaultError> {
        let pass = self.open.gates.admit(opening, lasting).await;
        self.open.core.disk.check()?;
        for subject in pass.subjects() {
            if let Some(erasure) = self.open.core.closed(subject)? {
                return Err(VaultError::Forgotten { subject: subject.clone(), erasure });
            }
        }
        Ok(Admission { _pass: pass })
    }

    /// The key to seal with, made if there is none, durable before it is returned; `seals`
    /// payloads are counted against it. A key that is near its limit of 2³² seals is replaced by
    /// one of a new generation. Warm keys cost no write and no await.
    ///
    /// # Errors
    /// [`VaultError::Forgotten`]; [`VaultError::Unsettled`], unless the request names the
    /// generation (that of its own claim, or the one before it);
    /// [`VaultError::NoGeneration`] where it names one that is dead or was never begun.
    pub async fn sealing_key(
        &self,
        request: KeyRequest<'_>,
        seals: u32,
    ) -> Result<Arc<DataKey>, VaultError> {
        // After a destruction that failed, nobody knows which keys are still alive.
        self.open.core.disk.check()?;
        let address = (request.stream.clone(), request.subject.clone());
        if let Some(warm) = self.open.core.cache.warm(&address) {
            let wanted = match request.generation {
                Some(generation) => generation.0,
                None => warm.current.load(Ordering::Acquire),
            };
            if warm.generation.0 == wanted && warm.take(seals) {
                return Ok(Arc::clone(&warm.key));
            }
        }
        let KeyRequest { generation, layout, policy, .. } = request;
        let wanted = Wanted { address, generation, layout, policy, seals };
        self.ask(|reply| Job::Seal(wanted, reply)).await
    }

    /// What became of the key with this id. Blocks for a page read at most.
    ///
    /// # Errors
    /// [`VaultError::KeyMissing`] where neither a key nor a fence explains the id.
    pub fn opening_key(&self, id: KeyId) -> Result<KeyState, VaultError> {
        self.open.core.state(id)
    }

    /// What stands for an erasure in a stream, in its tombstone and beside what is shredded.
    pub fn reference(&self, erasure: ErasureId, stream: &StreamName) -> ErasureRef {
        self.open.core.naming.reference(erasure, stream)
    }

    /// The erasure that a reference stands for in a stream, provided that this vault made it: any
    /// other bytes stand for an erasure that never was.
    pub fn erasure(&self, reference: ErasureRef, stream: &StreamName) -> ErasureId {
        self.open.core.naming.erasure(reference, stream)
    }

    /// The id that the private half of an event has.
    pub fn half_id(&self, event: EventId) -> EventId {
        self.open.core.naming.half(event)
    }

    /// Notes owner changes durably, before the append that states them. Returns for each the
    /// generation under which its event, and the later ones of the same append, are sealed
    /// (`None`: no new generation). The same claim again changes nothing and has the same answer,
    /// also when it was settled long ago. Where the generation is dead since, that is `None` if the event
    /// is said to be stored, and else an error.
    ///
    /// A claim that begins a generation is refused while any claim of another append is open, one
    /// that adds an owner only while a generation is.
    ///
    /// # Errors
    /// [`VaultError::Unsettled`] where an earlier claim of a subject is open;
    /// [`VaultError::Forgotten`] where the subject or the owner is; [`VaultError::NoGeneration`] where
    /// what the event began is dead.
    pub async fn claim(&self, claims: &[Claim]) -> Result<Vec<Option<Generation>>, VaultError> {
        self.ask(|reply| Job::Claim(claims.to_vec(), false, reply)).await
    }

    /// Announces that these events are about to be written, before they are claimed: until the
    /// answer is dropped, nobody's [`Vault::settle`] withdraws their claims.
    pub fn begin_claims(&self, events: Vec<EventId>) -> UnderWay {
        self.open.core.under_way.begin(events)
    }

    /// Says whether the events of earlier claims are in the store: the claims count from now on,
    /// or are withdrawn, unless they are under way. Repeatable; unknown events are passed over. Not
    /// written at once; durable with the next commit. After a crash before it, the claims are found
    /// unsettled, and settled again.
    ///
    /// Only the writer of the events may say so: whoever finds an event by its id calls
    /// [`Vault::settle_by`].
    ///
    /// # Errors
    /// Storage errors.
    pub async fn settle(
        &self,
        subject: &Subject,
        events: &[EventId],
        stored: bool,
    ) -> Result<(), VaultError> {
        let evidence = if stored { Evidence::Written } else { Evidence::Withdrawn };
        let found = events.iter().map(|event| (*event, evidence.clone())).collect();
        self.settle_by(subject, found).await
    }

    /// As [`Vault::settle`], by what the store holds under the ids of the claims' events.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn settle_by(
        &self,
        subject: &Subject,
        found: Vec<(EventId, Evidence)>,
    ) -> Result<(), VaultError> {
        let subject = self.open.core.naming.subject(subject);
        self.ask(|reply| Job::Settle(subject, found, reply)).await
    }

    /// How a subject stands.
    ///
    /// # Errors
    /// Storage errors.
    pub fn standing(&self, subject: &Subject) -> Result<Standing, VaultError> {
        let core = &self.open.core;
        let hash = core.naming.subject(subject);
        let fence = core.disk.fence(&hash)?;
        let own = core.own_record(&hash)?;
        let known = own.is_some() || core.disk.walk(places::keys(&hash)).next().is_some();
        let current = own.as_ref().map(|record| record.current);
        let current = current.or_else(|| known.then(|| fence.next_generation()));
        Ok(Standing {
            current: current.filter(|_| !fence.closed),
            epochs: own.map(|record| record.epochs).unwrap_or_default(),
            fence: (fence != FenceRecord::default()).then(|| fence.public(hash)),
        })
    }

    /// Whether a subject is forgotten, and not admitted again.
    ///
    /// # Errors
    /// Storage errors.
    pub(crate) fn is_closed(&self, subject: &Subject) -> Result<bool, VaultError> {
        Ok(self.open.core.closed(subject)?.is_some())
    }

    /// The subjects that ever named this one as an owner, in claims that were withdrawn, too:
    /// their standing says what counts.
    ///
    /// # Errors
    /// Storage errors.
    pub fn dependents(&self, owner: &Subject) -> Result<Vec<Subject>, VaultError> {
        let core = &self.open.core;
        core.dependents(&core.naming.subject(owner))
    }

    /// The living keys of a subject, in all streams.
    ///
    /// # Errors
    /// Storage errors.
    pub fn keys_of(&self, subject: &Subject) -> Result<Vec<KeyInfo>, VaultError> {
        let core = &self.open.core;
        let hash = core.naming.subject(subject);
        let record = core.own_record(&hash)?.unwrap_or_default();
        let keys = core.disk.walk(places::keys(&hash));
        keys.map(|found| Ok(core.info(KeyEntry::decode(&found?.1)?, &record))).collect()
    }

    /// Waits until no other erasure is under way, and keeps others waiting until the answer is
    /// dropped: two that close each other's subjects would wait for ever.
    pub async fn erase_alone(&self) -> impl Send + use<> {
        Arc::clone(&self.open.erasing).lock_owned().await
    }

    /// Stops appends for these subjects: new ones wait, those under way are waited for. Dropping
    /// the closure lets the waiting ones go on (or be refused, if the subject is forgotten then).
    /// Closures of one erasure after the other may overlap: one at a time may be extended.
    pub async fn close(&self, subjects: &[Subject]) -> Closure {
        Closure { shut: self.open.gates.close(subjects).await }
    }

    /// Destroys keys, fences their subjects, and replaces the named owner in their dependents'
    /// epochs, in one batch and one change of root. On return they are physically gone. The note
    /// (kind `Erasure`, under the erasure's id) is written in the same batch. Repeatable.
    ///
    /// # Errors
    /// Storage errors, after which the vault is poisoned.
    pub async fn destroy(
        &self,
        destruction: &Destruction,
        note: &[u8],
    ) -> Result<Destroyed, VaultError> {
        self.ask(|reply| Job::Destroy(destruction.clone(), note.to_vec(), reply)).await
    }

    /// Admits a forgotten subject again, under a new generation, which is returned. `None`: they
    /// were not closed.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn reopen(&self, subject: &Subject) -> Result<Option<Generation>, VaultError> {
        self.ask(|reply| Job::Reopen(subject.clone(), reply)).await
    }

    /// Writes a note durably.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn put_note(
        &self,
        kind: NoteKind,
        id: [u8; 16],
        note: &[u8],
    ) -> Result<(), VaultError> {
        let note = Zeroizing::new(note.to_vec());
        self.ask(|reply| Job::PutNote(kind, id, note, reply)).await
    }

    /// Removes a note physically.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn remove_note(&self, kind: NoteKind, id: [u8; 16]) -> Result<(), VaultError> {
        self.ask(|reply| Job::RemoveNote(kind, id, reply)).await
    }

    /// One note.
    ///
    /// # Errors
    /// Storage errors.
    pub fn note(
        &self,
        kind: NoteKind,
        id: [u8; 16],
    ) -> Result<Option<Zeroizing<Vec<u8>>>, VaultError> {
        self.open.core.disk.whole(&places::note(kind, &id))
    }

    /// All notes of a kind.
    ///
    /// # Errors
    /// Storage errors.
    #[allow(clippy::type_complexity)]
    pub fn notes(&self, kind: NoteKind) -> Result<Vec<([u8; 16], Zeroizing<Vec<u8>>)>, VaultError> {
        let odd = || VaultError::Damaged("a note stands at an odd place".into());
        let notes = self.open.core.disk.wholes(places::notes(kind))?;
        let notes = notes
            .into_iter()
            .map(|(stem, note)| Ok((places::note_id(&stem).ok_or_else(odd)?, note)));
        notes.collect()
    }

    /// Walks over every living key and every fence, in the order of places, in constant memory.
    pub fn inventory(
        &self,
    ) -> impl Iterator<Item = Result<InventoryEntry, VaultError>> + Send + use<> {
        Inventory::new(Arc::clone(&self.open.core))
    }

    /// Looks at everything that is stored, page by page, and tells of all that is not as it should
    /// be; `at` learns how far it has come, from 0 to 1. Nothing is written meanwhile, but readers
    /// go on. Blocks. With `repair`, pages that belong to nothing are removed.
    pub(crate) fn judge(
        &self,
        repair: bool,
        tell: &mut dyn FnMut(Trouble),
        at: &mut dyn FnMut(f64),
    ) -> Result<Judged, VaultError> {
        self.open.core.judge(repair, tell, at)
    }

    /// What may be told of the living key with this id.
    pub(crate) fn key_info(&self, id: KeyId) -> Result<Option<KeyInfo>, VaultError> {
        let core = &self.open.core;
        let Some(entry) = core.find(id)? else { return Ok(None) };
        let record = core.own_record(&core.naming.subject(&entry.subject))?.unwrap_or_default();
        Ok(Some(core.info(entry, &record)))
    }

    /// Shows every key that is no longer in this vault and that can be read from a copy of its
    /// pages under a root, or (`None`) under today's. Returns whether the root opens anything there.
    #[cfg(feature = "drill")]
    pub(crate) fn dead_keys(
        &self,
        root: Option<&Root>,
        copy: CopiedPages<'_>,
        see: &mut dyn FnMut(DeadKey),
    ) -> Result<bool, VaultError> {
        self.open.core.dead_keys(root, copy, see)
    }

    /// The key in a value that stands at a place, if that is what it is and this vault does not
    /// have it any more.
    #[cfg(feature = "drill")]
    pub(crate) fn dead_key(
        &self,
        place: &[u8],
        value: &[u8],
    ) -> Result<Option<DeadKey>, VaultError> {
        self.open.core.dead_key(place, value)
    }

    /// Whether a root is the one that is in use.
    #[cfg(feature = "drill")]
    pub(crate) fn is_root(&self, root: &Root) -> Result<bool, VaultError> {
        self.open.core.disk.tree().is_root(root)
    }

    /// The fence of a pseudonym as a subject's name, where that subject is the one: the vault
    /// itself keeps no name of the forgotten.
    pub fn pseudonym(&self, subject: &Subject) -> [u8; 16] {
        self.open.core.naming.subject(subject)
    }

    /// Writes what is only in memory (exact counts), and waits until it is on the disk. Dropping
    /// the last handle does the same, without telling of errors.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn flush(&self) -> Result<(), VaultError> {
        self.ask(Job::Flush).await
    }
}

impl Closure {
    /// Closes further subjects.
    pub async fn extend(&mut self, subjects: &[Subject]) {
        self.shut.extend(subjects).await;
    }
}
