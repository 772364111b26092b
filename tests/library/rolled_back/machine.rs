//! A machine with a vault on its disk, of which images can be taken and put back, and an event
//! store elsewhere, whose announcements a test can meddle with.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use oubliette::{
    erasure::{self, ErasureError, KeyChange, OperatorError, UnclearError, change_key},
    event::{ANNOUNCEMENTS, Announcement, Position, RecordedEvent, StreamName},
    layer::Oubliette,
    policy::Policy,
    store::{
        Append, Appended, Capabilities, Direction, EventStore, EventStream, Filter, MemoryStore,
        ReadAllOptions, ReadOptions, Refusal, StoreError, Subscription,
    },
    vault::{OpenAs, Successor, Vault},
};

use uuid::Uuid;

use crate::common::{
    all, bank_policy,
    folders::{copy, empty},
    text,
};

type Tamper = dyn Fn(Vec<RecordedEvent>) -> Vec<RecordedEvent> + Send + Sync;

/// A store in memory that does as it is told with announcements.
#[derive(Clone, Default)]
pub(crate) struct Announcements {
    inner: MemoryStore,
    /// Fails each append of an announcement, having written nothing.
    pub(crate) away: Arc<AtomicBool>,
    /// So from the append of an announcement on that comes after so many.
    pub(crate) leaves: Arc<Mutex<Option<usize>>>,
    /// Fails each append of an announcement, having written it.
    after: Arc<AtomicBool>,
    /// Does not take them at all.
    pub(crate) refuse: Arc<AtomicBool>,
    /// Does not read them.
    pub(crate) silent: Arc<AtomicBool>,
    /// How many were read.
    pub(crate) read: Arc<AtomicUsize>,
    /// Whoever has this keeps appends waiting, but for those of announcements.
    pub(crate) hold: Arc<tokio::sync::Mutex<()>>,
    /// Told of each append that waits, or does not have to.
    pub(crate) arrived: Arc<tokio::sync::Notify>,
    tamper: Arc<Mutex<Option<Box<Tamper>>>>,
}

impl std::fmt::Debug for Announcements {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt(f)
    }
}

impl Announcements {
    pub(crate) fn after_announcing(&self, fail: bool) {
        self.after.store(fail, Ordering::SeqCst);
    }

    /// From now on, announcements are read so.
    pub(crate) fn tamper(
        &self,
        with: impl Fn(Vec<RecordedEvent>) -> Vec<RecordedEvent> + Send + Sync + 'static,
    ) {
        *self.tamper.lock().unwrap() = Some(Box::new(with));
    }

    async fn announcements(self, options: ReadOptions) -> Result<Vec<RecordedEvent>, StoreError> {
        let stream = StreamName::new(ANNOUNCEMENTS).unwrap();
        let all = self.inner.read(&stream, ReadOptions::default());
        let mut events: Vec<RecordedEvent> = all.try_collect().await?;
        if let Some(tamper) = self.tamper.lock().unwrap().as_ref() {
            events = tamper(events);
        }
        if options.direction == Direction::Backwards {
            events.reverse();
        } else if let Some(from) = options.from {
            events.retain(|event| event.revision >= from);
        }
        Ok(events)
    }
}

fn down() -> StoreError {
    StoreError::backend(true, "the store is away")
}

#[async_trait]
impl EventStore for Announcements {
    async fn append(&self, appends: Vec<Append>) -> Result<Vec<Appended>, StoreError> {
        let ours = appends.iter().any(|append| append.stream.as_str() == ANNOUNCEMENTS);
        let has_left = ours
            && self.leaves.lock().unwrap().as_mut().is_some_and(|left| {
                let is_over = *left == 0;
                *left = left.saturating_sub(1);
                is_over
            });
        if has_left || (ours && self.away.load(Ordering::SeqCst)) {
            return Err(down());
        }
        if ours && self.refuse.load(Ordering::SeqCst) {
            let refusal = Refusal::Name("no such stream here".to_owned());
            return Err(StoreError::Refused { refusal, source: None });
        }
        if !ours {
            self.arrived.notify_one();
            drop(self.hold.lock().await);
        }
        let done = self.inner.append(appends).await;
        if ours && self.after.load(Ordering::SeqCst) { Err(down()) } else { done }
    }

    async fn restore(&self, events: Vec<RecordedEvent>) -> Result<Vec<Appended>, StoreError> {
        self.inner.restore(events).await
    }

    fn read(&self, name: &StreamName, options: ReadOptions) -> EventStream {
        if name.as_str() != ANNOUNCEMENTS {
            return self.inner.read(name, options);
        }
        if self.silent.load(Ordering::SeqCst) {
            return stream::iter([Err(down())]).boxed();
        }
        let read = Arc::clone(&self.read);
        let events = stream::once(self.clone().announcements(options));
        let events = events.map_ok(|events| stream::iter(events.into_iter().map(Ok)));
        let count = move |_: &RecordedEvent| {
            read.fetch_add(1, Ordering::SeqCst);
        };
        events.try_flatten().inspect_ok(count).boxed()
    }

    fn read_all(&self, options: ReadAllOptions) -> EventStream {
        self.inner.read_all(options)
    }

    fn subscribe(&self, after: Option<Position>, filter: Filter) -> Subscription {
        self.inner.subscribe(after, filter)
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }
}

/// Vault and slot on a disk, and a store elsewhere.
pub(crate) struct Machine {
    disk: tempfile::TempDir,
    pub(crate) store: Announcements,
    policy: Policy,
}

/// What was on the disk: vault and slot.
pub(crate) struct Image(tempfile::TempDir);

impl Machine {
    pub(crate) fn new() -> Self {
        Self::over(MemoryStore::new())
    }

    pub(crate) fn over(inner: MemoryStore) -> Self {
        let disk = tempfile::tempdir().unwrap();
        fs::create_dir(disk.path().join("slot")).unwrap();
        let store = Announcements { inner, ..Announcements::default() };
        drop(Vault::create(&vault(disk.path()), &slot(disk.path())).unwrap());
        Self { disk, store, policy: bank_policy() }
    }

    pub(crate) fn with_policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// This machine, with the other's store.
    pub(crate) fn over_the_store_of(mut self, other: &Self) -> Self {
        self.store = other.store.clone();
        self
    }

    pub(crate) async fn try_open(&self) -> Result<Oubliette<Announcements>, ErasureError> {
        Oubliette::open(self.store.clone(), self.vault(), self.policy.clone()).await
    }

    /// Where announcements are missing, and somebody accepts that.
    pub(crate) async fn open_past_a_gap(&self) -> Oubliette<Announcements> {
        let closed = self.try_open().await.unwrap_err();
        assert!(matches!(closed, ErasureError::Unclear(UnclearError::WitnessGap(_))), "{closed}");
        erasure::accept_gaps(&self.vault(), "ticket 12").await.unwrap();
        self.open().await
    }

    /// The vault, with no layer over it.
    pub(crate) fn vault(&self) -> Vault {
        // It may be a copy of another machine's disk, with a slot of its own.
        let (vault, slot) = (vault(self.disk.path()), slot(self.disk.path()));
        Vault::open_as(&vault, &slot, OpenAs::TheOne).unwrap()
    }

    /// The operator takes a stranger's word for what is named so.
    pub(crate) async fn believe(&self, named: Uuid) -> Result<(), OperatorError> {
        erasure::believe(&self.vault(), &self.announcements().await, named).await
    }

    /// Makes and pins a successor of the key that signs.
    pub(crate) async fn pin(&self) -> Arc<Successor> {
        let bank = self.open().await;
        let vault = bank.vault().unwrap();
        let successor = Arc::new(Successor::generate(vault.id()).unwrap());
        change_key(vault, &KeyChange::Pin(Arc::clone(&successor))).await.unwrap();
        bank.resume().await.unwrap();
        successor
    }

    pub(crate) async fn open(&self) -> Oubliette<Announcements> {
        self.try_open().await.unwrap()
    }

    /// To be taken of a machine on which nothing runs.
    pub(crate) fn image(&self) -> Image {
        let image = Image(tempfile::tempdir().unwrap());
        copy(self.disk.path(), image.0.path());
        image
    }

    pub(crate) fn restore(&self, image: &Image) {
        for part in ["vault", "slot"] {
            empty(&self.disk.path().join(part));
        }
        copy(image.0.path(), self.disk.path());
    }

    /// What is announced, as the store has it.
    pub(crate) async fn announcements(&self) -> Vec<Announcement> {
        let events = all(&self.store, ANNOUNCEMENTS).await;
        let line = |event: &RecordedEvent| {
            text(event).replacen('{', &format!(r#"{{"id":"{}","#, event.id), 1)
        };
        events.iter().map(|event| line(event).parse().unwrap()).collect()
    }
}

fn vault(disk: &Path) -> PathBuf {
    disk.join("vault")
}

fn slot(disk: &Path) -> PathBuf {
    disk.join("slot/root")
}
