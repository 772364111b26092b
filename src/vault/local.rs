//! The vault of this process: what its clones share, who is admitted, and keys to seal and open with. Its other
//! methods are in the rooms beside.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use tokio::sync::oneshot;

use super::{
    AdmissionRequest, KeyLookup, KeyRequest, VaultError,
    admission::{Admission, Closure, gate::Gates},
    commit::committer::{Committer, Job, Reply, Wanted},
    keeper::{Guards, NewStreams},
    records::disk::Disk,
    shared::{Limits, Shared},
    tree::Tree,
};
use crate::{
    TaskError,
    crypto::{DataKey, wipe_stack},
    event::{ErasureId, ErasureRef, EventId, KeyId, StreamName, Subject, VaultId},
};

/// A vault that is open. Clones are the same vault.
///
/// ```
/// use oubliette::*;
/// # let dir = tempfile::tempdir()?;
/// # let (folder, root) = (dir.path().join("vault"), dir.path().join("vault.root"));
/// // Once, by hand: the folder, and the root slot elsewhere, where no backup of the folder catches it.
/// let vault = Vault::create(&folder, root.as_path())?;
/// let id = vault.id();
/// drop(vault);
/// // From then on, at each start. One process at a time has a vault open.
/// let vault = Vault::open(&folder, root.as_path())?;
/// assert_eq!(vault.id(), id);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Vault {
    open: Arc<Open>,
}

/// What all clones of a vault share. When the last is dropped, the committer writes what is only
/// in memory, and the tree is closed.
struct Open {
    shared: Arc<Shared>,
    gates: Arc<Gates>,
    /// Held by an erasure from closing to closing the books.
    erasing: Arc<tokio::sync::Mutex<()>>,
    guards: Arc<Guards>,
    new_streams: NewStreams,
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

impl Vault {
    pub(super) fn over(tree: Arc<Tree>, limits: Limits) -> Result<Self, VaultError> {
        let shared = Arc::new(Shared::new(Disk::new(tree), limits)?);
        wipe_stack();
        let (jobs, inbox) = mpsc::channel();
        let committer = Committer::new(Arc::clone(&shared));
        let committer = std::thread::Builder::new()
            .name("oubliette-vault".into())
            .spawn(move || committer.run(&inbox))
            .map_err(|error| VaultError::Storage(Box::new(error)))?;
        let (jobs, committer) = (Some(jobs), Some(committer));
        Ok(Self {
            open: Arc::new(Open {
                shared,
                gates: Arc::default(),
                erasing: Arc::default(),
                guards: Arc::default(),
                new_streams: NewStreams::default(),
                #[cfg(feature = "backup")]
                backing_up: Arc::default(),
                jobs,
                committer,
            }),
        })
    }

    /// Waits until so much time has passed, by the clock that ends admissions.
    pub(crate) async fn elapse(&self, time: Duration) {
        self.open.gates.elapse(time).await;
    }

    /// Lets time pass for those who wait for an admission to end, and for what is dated.
    #[cfg(test)]
    pub(crate) fn pass_time(&self, time: Duration) {
        let micros = i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
        self.open.shared.disk.faults.ahead.fetch_add(micros, Ordering::SeqCst);
        self.open.gates.pass_time(time);
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.open.shared
    }

    pub(super) fn guards(&self) -> &Arc<Guards> {
        &self.open.guards
    }

    pub(super) fn new_streams(&self) -> &NewStreams {
        &self.open.new_streams
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
        self.open.shared.disk.faults.asked.load(Ordering::SeqCst)
    }

    /// Has the committer do something, unless the vault was opened to be read, and waits for its answer.
    pub(super) async fn ask<T>(&self, job: impl FnOnce(Reply<T>) -> Job) -> Result<T, VaultError> {
        if self.is_read_only() {
            return Err(VaultError::ReadOnly);
        }
        self.send(job).await
    }

    /// The same, however the vault was opened.
    pub(super) async fn send<T, E: From<TaskError>>(
        &self,
        job: impl FnOnce(Reply<T, E>) -> Job,
    ) -> Result<T, E> {
        let (reply, answer) = oneshot::channel();
        if let Some(jobs) = &self.open.jobs {
            // If the committer is gone, so is the reply.
            let _ = jobs.send(job(reply));
            #[cfg(test)]
            self.open.shared.disk.faults.asked.fetch_add(1, Ordering::SeqCst);
        }
        // It ends before the vault's last handle only where it panicked.
        answer.await.unwrap_or(Err(TaskError::Panicked.into()))
    }

    /// The vault's identity.
    pub fn id(&self) -> VaultId {
        self.open.shared.disk.tree().vault_id()
    }

    /// Whether it was opened [to be read](super::OpenAs::ReadOnly).
    pub fn is_read_only(&self) -> bool {
        self.open.shared.disk.tree().is_read_only()
    }

    /// Waits until none of the request's subjects is being forgotten, and admits.
    ///
    /// All or nothing, with nothing held while waiting, so that admissions cannot deadlock.
    ///
    /// # Errors
    /// [`VaultError::Forgotten`] where one of them is.
    pub(crate) async fn admit(&self, request: AdmissionRequest) -> Result<Admission, VaultError> {
        self.admit_for(request, None).await
    }

    /// As [`Vault::admit`], for so long: from then on the admission delays no one, no matter who
    /// still holds it.
    ///
    /// # Errors
    /// As [`Vault::admit`].
    pub(crate) async fn admit_for(
        &self,
        request: AdmissionRequest,
        lasting: Option<Duration>,
    ) -> Result<Admission, VaultError> {
        let admission = self.open.gates.admit(request, lasting).await;
        self.open.shared.disk.check()?;
        for subject in admission.subjects() {
            if let Some(erasure) = self.open.shared.closed(subject)? {
                return Err(VaultError::Forgotten { subject: subject.clone(), erasure });
            }
        }
        Ok(admission)
    }

    /// The key to seal with, made if there is none, durable before it is returned; `seals`
    /// payloads are counted against it. A key that is near its limit of 2³² seals is replaced by
    /// one of a new generation. Warm keys cost no write and no await.
    ///
    /// The caller must hold an [`Admission`] of the subject, from before this call until the event is
    /// stored. Without one an erasure does not wait for the event, which then reads as shredded though its
    /// append was acknowledged after the erasure.
    ///
    /// # Errors
    /// [`VaultError::Forgotten`]; [`VaultError::Unsettled`], unless the request names the
    /// generation (that of its own claim, or the one before it);
    /// [`VaultError::NoGeneration`] where it names one that is dead or was never begun.
    pub(crate) async fn sealing_key(
        &self,
        request: KeyRequest<'_>,
        seals: u32,
    ) -> Result<Arc<DataKey>, VaultError> {
        match self.warm_key(&request, seals)? {
            Some(warm) => Ok(warm),
            None => self.clone().cold_key(Wanted::new(request, seals)).await,
        }
    }

    /// The same, if it is warm: without a write, and without waiting.
    pub(super) fn warm_key(
        &self,
        request: &KeyRequest<'_>,
        seals: u32,
    ) -> Result<Option<Arc<DataKey>>, VaultError> {
        // After a destruction that failed, it is not known which keys are still alive.
        self.open.shared.disk.check()?;
        let address = (request.stream.clone(), request.subject.clone());
        let Some(warm) = self.open.shared.cache.warm(&address) else { return Ok(None) };
        let wanted = match request.generation {
            Some(generation) => generation.0,
            None => warm.current.load(Ordering::Acquire),
        };
        let fits = warm.generation.0 == wanted && warm.take(seals);
        Ok(fits.then(|| Arc::clone(&warm.key)))
    }

    /// The same, asked of the committer.
    pub(super) async fn cold_key(self, wanted: Wanted) -> Result<Arc<DataKey>, VaultError> {
        self.ask(|reply| Job::Seal(wanted, reply)).await
    }

    /// Returns the state of the key with this id. Blocks for page reads.
    ///
    /// # Errors
    /// [`VaultError::KeyMissing`] where neither a key nor a fence explains the id.
    pub(crate) fn opening_key(&self, id: KeyId) -> Result<KeyLookup, VaultError> {
        self.open.shared.state(id)
    }

    /// What stands for an erasure in a stream, in its tombstone and beside what is shredded.
    pub(crate) fn reference(&self, erasure: ErasureId, stream: &StreamName) -> ErasureRef {
        self.open.shared.naming.reference(erasure, stream)
    }

    /// The erasure that a reference identifies in a stream, provided that this vault made it: any
    /// other bytes mean an erasure that never was.
    pub fn erasure(&self, reference: ErasureRef, stream: &StreamName) -> ErasureId {
        self.open.shared.naming.erasure(reference, stream)
    }

    /// The id that the private half of an event has.
    pub(crate) fn half_id(&self, event: EventId) -> EventId {
        self.open.shared.naming.half(event)
    }

    /// Waits until no other erasure is in progress, and keeps others waiting until the answer is
    /// dropped: each plans on what the one before it left.
    pub(crate) async fn erase_alone(&self) -> impl Send + use<> {
        Arc::clone(&self.open.erasing).lock_owned().await
    }

    /// Blocks new appends for these subjects and waits for those in flight. When the closure is
    /// dropped, blocked appends go on, or are refused if the subject is forgotten by then. Several
    /// closures may exist at a time.
    pub(crate) async fn close(&self, subjects: &[Subject]) -> Closure {
        self.open.gates.close(subjects).await
    }

    /// Writes what is only in memory (claims that were settled), and waits until it is on the disk. Dropping
    /// the last handle does the same, without telling of errors.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn flush(&self) -> Result<(), VaultError> {
        self.ask(Job::Flush).await
    }
}
