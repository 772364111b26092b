//! The store: opening, and the contract.

use std::{
    convert::Infallible,
    fmt,
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use futures::{StreamExt, stream};
use oubliette::{
    TaskError,
    event::{EventType, Json, Position, RecordedEvent, StreamName},
    store::{
        Append, Appended, Capabilities, Capability, EventStore, EventStream, Filter,
        ReadAllOptions, ReadOptions, StoreError, Subscription, check_appends, check_restored,
    },
};
use uuid::Uuid;

use crate::{
    KafkaConfig, PassedOver,
    config::Purpose,
    error::{Cause, KafkaError, OpenError},
    log::{Asking, Ends},
    pages::{Pages, Reading, blocking, offset_of},
    plan::Task,
    record::{self, Entry},
    session::{Outcome, Record, Session},
    shared::Shared,
    subscription::subscribe,
    tail, topic,
    writer::{Writer, transactional_id},
};

/// Events in one topic of Kafka's. A clone is the same store.
///
/// - One program at a time writes: opening the topic again ends the writer before, wherever it runs.
/// - Each append is one transaction, or shares one with others that wait at the same moment; it is acknowledged once it
///   is committed with `acks=all`. What that means on your brokers, [`KafkaStore::doubts`] tells.
/// - Opening reads the whole topic: it keeps in memory where each stream's events are, about 60 bytes an event. Payloads
///   stay in Kafka.
/// - Reading needs a Tokio runtime, because it runs on its blocking threads.
///
/// ```no_run
/// use oubliette::*;
/// use oubliette_kafka::{KafkaConfig, KafkaStore};
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let config: KafkaConfig = "kafka://127.0.0.1:9092/bank-events".parse()?;
/// let store = KafkaStore::create(config).await?;
/// for doubt in store.doubts() {
///     eprintln!("{doubt}");
/// }
/// let event = NewEvent::new(EventType::new("Paid")?, Json::parse(r#"{"amount":5}"#)?);
/// store.append_to(&StreamName::new("account-7")?, ExpectedRevision::Any, vec![event]).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct KafkaStore {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    /// `None`: opened for reading only.
    writer: Option<Writer>,
    doubts: Vec<String>,
    max_bytes: usize,
}

impl KafkaStore {
    /// Opens a topic for reading and writing, and ends the writer before.
    ///
    /// # Errors
    /// [`OpenError`], which says what to do.
    pub async fn open(config: KafkaConfig) -> Result<Self, OpenError> {
        Self::begin(config, true).await
    }

    /// Opens a topic for reading and writing; makes it where it is missing, with three copies where there are three
    /// brokers, and with nothing that deletes events.
    ///
    /// # Errors
    /// As [`KafkaStore::open`].
    pub async fn create(config: KafkaConfig) -> Result<Self, OpenError> {
        config.check()?;
        topic::create(&config).await?;
        // A new topic is not known everywhere at once.
        let began = Instant::now();
        loop {
            match topic::ask(&config, config.topic()).await {
                Ok(found) if found.has_leader() => break,
                Ok(_) | Err(OpenError::Missing { .. }) if began.elapsed() < config.patience() => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(error) => return Err(error),
                Ok(_) => break,
            }
        }
        Self::begin(config, true).await
    }

    /// Opens a topic for reading only, beside whoever writes to it. What the writer acknowledged is seen a moment later.
    ///
    /// # Errors
    /// As [`KafkaStore::open`].
    pub async fn open_reader(config: KafkaConfig) -> Result<Self, OpenError> {
        Self::begin(config, false).await
    }

    /// What the server told at opening about what "stored" means there: whole sentences, each with what to set instead.
    /// Empty where acknowledged means on the disk.
    pub fn doubts(&self) -> &[String] {
        &self.inner.doubts
    }

    /// The records of the topic that are no events of this store's, or do not follow. They do no harm; somebody else
    /// writes to the topic, or did.
    pub fn passed_over(&self) -> PassedOver {
        self.inner.shared.index().passed_over().clone()
    }

    async fn begin(config: KafkaConfig, writes: bool) -> Result<Self, OpenError> {
        config.check()?;
        let found = topic::ask(&config, config.topic()).await?;
        found.check_for_store(config.topic())?;
        let (mut doubts, max_bytes) = (found.doubts(), found.max_bytes);
        let open = move || {
            let shared = Arc::new(Shared::new(config));
            let writer = if writes { Some(write(&shared, max_bytes)?) } else { read(&shared)? };
            Ok::<_, OpenError>((shared, writer))
        };
        let (shared, writer) = blocking(open)?.await.map_err(TaskError::from)??;
        let passed_over = shared.index().passed_over().count;
        if passed_over > 0 {
            doubts.push(format!(
                "{passed_over} records of the topic are no events of this store's or do not follow, and are passed \
                 over: only this program may have the right to write to it."
            ));
        }
        for doubt in &doubts {
            tracing::warn!(topic = shared.config.topic(), "{doubt}");
        }
        let events = shared.index().events();
        tracing::info!(topic = shared.config.topic(), events, "topic opened");
        Ok(Self { inner: Arc::new(Inner { shared, writer, doubts, max_bytes }) })
    }

    async fn commit(&self, task: Task) -> Result<Vec<Appended>, StoreError> {
        let writer = self.inner.writer.as_ref();
        writer.ok_or(KafkaError::ReadOnly)?.commit(task).await
    }

    /// Whether Kafka takes it: asked before anything is sent.
    fn check_size(
        &self,
        stream: &StreamName,
        event_type: &EventType,
        data: usize,
        metadata: Option<&Json>,
    ) -> Result<(), StoreError> {
        let (size, most) =
            (record::size_of(data, metadata, stream, event_type), self.inner.max_bytes);
        if size <= most {
            return Ok(());
        }
        Err(StoreError::Invalid(format!(
            "an event for stream {stream} takes {size} bytes in Kafka, and topic {} takes at most {most} \
             (max.message.bytes): make it smaller, or set that higher and open the store again",
            self.inner.shared.config.topic()
        )))
    }
}

/// Asks where the topic begins and ends, and whether what is in it is ours.
fn look(shared: &Shared) -> Result<Ends, OpenError> {
    let config = &shared.config;
    let topic = || config.topic().to_owned();
    let ends = Asking::new(config)
        .and_then(|asking| asking.ends(config.topic(), 0))
        .map_err(|cause| OpenError::kafka(config, "reading the topic", cause))?;
    if ends.begins > 0 {
        return Err(OpenError::Cut { topic: topic(), begins: ends.begins });
    }
    // The first thing that a store writes says that it does.
    let mut first = None;
    let mut cursor =
        shared.cursors.make(Purpose::Jump).map_err(|error| unreadable(config, error))?;
    let read = cursor.read_until(
        0,
        ends.decided,
        || true,
        |_, message| {
            first = Some(record::entry(message));
            Ok(ControlFlow::Break(()))
        },
    );
    read.map_err(|error| unreadable(config, error))?;
    match first {
        None | Some(Ok(Entry::Writer(_) | Entry::Event(..))) => Ok(ends),
        Some(Err(record::NotOurs::Newer(found))) => Err(OpenError::Newer { topic: topic(), found }),
        Some(Err(_)) => {
            let found = "its first record is none of this program's".to_owned();
            Err(OpenError::NotOurs { topic: topic(), found })
        }
    }
}

fn unreadable(config: &KafkaConfig, error: KafkaError) -> OpenError {
    let topic = config.topic().to_owned();
    match error {
        KafkaError::Newer { found, .. } => OpenError::Newer { topic, found },
        KafkaError::Lost { offset, .. } => OpenError::Cut { topic, begins: offset },
        KafkaError::TakenOver { .. } => OpenError::Fenced { topic },
        KafkaError::Denied { source }
        | KafkaError::NotStored { source }
        | KafkaError::Silent { source: Some(source) } => {
            OpenError::kafka(config, "reading the topic", source)
        }
        KafkaError::Silent { source: None } => OpenError::Busy { topic },
        other => OpenError::kafka(config, "reading the topic", Cause::text(other.to_string())),
    }
}

/// Ends the writer before, says so in the topic, and then reads it to the end.
fn write(shared: &Arc<Shared>, max_bytes: usize) -> Result<Writer, OpenError> {
    let config = &shared.config;
    look(shared)?;
    let doing = "writing transactions to the topic";
    let id = transactional_id(config.topic());
    let session = Session::open(config, &id, max_bytes)
        .map_err(|cause| OpenError::kafka(config, doing, cause))?;
    let writer_id = Uuid::new_v4();
    let key = writer_id.to_string();
    let record = Record {
        topic: config.topic(),
        partition: Some(0),
        key: key.as_bytes(),
        value: b"",
        headers: record::mark(record::WRITER),
    };
    // Read behind it, so that where it came to is not asked.
    match session.transact(vec![record], |_| Ok::<(), Infallible>(())) {
        Outcome::Stored(_) => {}
        Outcome::Withdrawn(never) => match never {},
        Outcome::Nothing(trouble) | Outcome::Unknown(trouble) => {
            return Err(OpenError::kafka(config, doing, trouble.cause));
        }
    }
    shared.settle(|| true).map_err(|error| unreadable(config, error))?;
    if shared.index().writer() != Some(writer_id) {
        return Err(OpenError::Fenced { topic: config.topic().to_owned() });
    }
    Writer::start(shared, session, writer_id, max_bytes).map_err(|error| no_thread(config, &error))
}

/// Reads to the end of what is decided, and follows from there.
fn read(shared: &Arc<Shared>) -> Result<Option<Writer>, OpenError> {
    let config = &shared.config;
    let ends = look(shared)?;
    shared.catch_up(ends.decided, || true).map_err(|error| unreadable(config, error))?;
    tail::start(shared).map_err(|error| no_thread(config, &error))?;
    Ok(None)
}

fn no_thread(config: &KafkaConfig, error: &std::io::Error) -> OpenError {
    OpenError::kafka(config, "starting a thread", Cause::text(error.to_string()))
}

impl fmt::Debug for KafkaStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaStore")
            .field("config", &self.inner.shared.config)
            .field("reads_only", &self.inner.writer.is_none())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl EventStore for KafkaStore {
    async fn append(&self, appends: Vec<Append>) -> Result<Vec<Appended>, StoreError> {
        check_appends(&appends, self.capabilities())?;
        for Append { stream, events, .. } in &appends {
            for event in events {
                let bytes = event.data.as_bytes().len();
                self.check_size(stream, &event.event_type, bytes, event.metadata.as_ref())?;
            }
        }
        self.commit(Task::Append(appends)).await
    }

    async fn restore(&self, events: Vec<RecordedEvent>) -> Result<Vec<Appended>, StoreError> {
        check_restored(&events, self.capabilities())?;
        for event in &events {
            let bytes = event.data.as_ref().map_or(0, |data| data.as_bytes().len());
            self.check_size(&event.stream, &event.event_type, bytes, event.metadata.as_ref())?;
        }
        self.commit(Task::Restore(events)).await
    }

    fn read(&self, stream: &StreamName, options: ReadOptions) -> EventStream {
        let reading = Reading::StreamFrom(stream.clone(), options);
        Pages::new(Arc::clone(&self.inner.shared), reading).boxed()
    }

    fn read_all(&self, options: ReadAllOptions) -> EventStream {
        match options.after.map(offset_of).transpose() {
            Ok(_) => Pages::new(Arc::clone(&self.inner.shared), Reading::AllFrom(options)).boxed(),
            Err(error) => stream::iter([Err(error)]).boxed(),
        }
    }

    fn subscribe(&self, after: Option<Position>, filter: Filter) -> Subscription {
        subscribe(Arc::clone(&self.inner.shared), after, filter)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::of(&[
            Capability::AtomicMultiStream,
            Capability::ReadBackwards,
            Capability::ReadAll,
            Capability::Subscribe,
            Capability::Bytes,
            Capability::Verbatim,
            Capability::LongNumbers,
            Capability::Nul,
            Capability::Restore,
            Capability::Sole,
        ])
    }
}
