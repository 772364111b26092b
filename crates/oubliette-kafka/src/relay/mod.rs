//! The relay: copies an event store into a topic, and goes on where it stopped.

mod error;
mod floors;
mod resume;

use std::{
    convert::Infallible,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{FutureExt, StreamExt};
use oubliette::{
    TaskError,
    event::{Payload, Position, RecordedEvent, Tombstone},
    store::{Delivery, EventStore, Filter, StoreError},
};
use rdkafka::Message;

use floors::Floors;

use crate::{
    KafkaConfig, NotOurs,
    error::OpenError,
    pages::blocking,
    record::{self, Outbound},
    session::{Outcome, Record, Session},
    topic,
};
pub use error::RelayError;

/// A transaction ends with this many events or bytes, or where none waits.
const EVENTS: usize = 500;
const BYTES: usize = 1024 * 1024;
/// How long to wait before Kafka is asked again.
const PAUSE: Duration = Duration::from_millis(500);
/// How long a topic may be missing that was there before.
const LOST: Duration = Duration::from_secs(5 * 60);

/// Copies the events of a store into a topic, in their order, keyed by stream.
///
/// It reads the store **beneath** the layer: what is sealed stays sealed, tombstones come as they are stored, and
/// consumers open with a [`Codec`](oubliette::layer::Codec), or read what is public without a vault.
///
/// Each batch is one transaction. The relay keeps no file: it goes on behind the highest position that the topic holds,
/// wherever it runs and however it ended. A consumer with `isolation.level=read_committed` gets each event once; one that
/// starts again and goes by position, too.
///
/// ```no_run
/// use oubliette::*;
/// use oubliette_kafka::{KafkaConfig, Relay};
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = SqliteStore::open("/srv/bank/events")?;
/// let config = KafkaConfig::new("127.0.0.1:9092", "bank-events");
/// let relay = Relay::new(store, config).with_forgotten("bank-forgotten");
/// relay.run().await?; // until something happens that needs somebody
/// # Ok(())
/// # }
/// ```
pub struct Relay {
    store: Arc<dyn EventStore>,
    config: KafkaConfig,
    forgotten: Option<String>,
    after: Option<Position>,
    takes_added_partitions: bool,
}

/// How far a relay came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Progress {
    /// How many events it sent.
    pub events: u64,
    /// The position of the last event in the topic.
    pub last: Option<Position>,
}

/// The event in a record of a relay's topic, as the store beneath the layer would return it.
///
/// # Errors
/// [`NotOurs`] where it is none. A consumer passes over [`NotOurs::Foreign`] and stops at the others.
pub fn relayed<M: Message>(message: &M) -> Result<RecordedEvent, NotOurs> {
    record::relayed(message)
}

impl Relay {
    /// A relay from this store, beneath the layer, to this topic. Nothing happens before it runs.
    pub fn new(store: impl EventStore, config: KafkaConfig) -> Self {
        let (store, forgotten, after) = (Arc::new(store), None, None);
        Self { store, config, forgotten, after, takes_added_partitions: false }
    }

    /// The same, that also writes each tombstone to a compacted topic, keyed by its reference: a cache reads that from
    /// its beginning and knows all whom it must not know.
    #[must_use]
    pub fn with_forgotten(mut self, topic: impl Into<String>) -> Self {
        self.forgotten = Some(topic.into());
        self
    }

    /// The same, that begins behind this position where the topic does not say how far the relay came.
    #[must_use]
    pub fn starting_after(mut self, position: Position) -> Self {
        self.after = Some(position);
        self
    }

    /// The same, that goes on where partitions were added to the topic. Keys move with them: of a stream the later events may
    /// then be in another partition than the earlier, and a consumer gets them in any order.
    #[must_use]
    pub fn with_added_partitions(mut self) -> Self {
        self.takes_added_partitions = true;
        self
    }

    /// Relays what is there and what comes, through restarts of the brokers. Ends with an error only. May be dropped at
    /// any time.
    ///
    /// # Errors
    /// [`RelayError`]: what somebody has to do something about.
    pub async fn run(&self) -> Result<Infallible, RelayError> {
        let mut standing = Standing::new();
        loop {
            self.relay(&mut standing, false).await?;
        }
    }

    /// Relays what is there, and returns.
    ///
    /// # Errors
    /// As [`Relay::run`].
    pub async fn catch_up(&self) -> Result<Progress, RelayError> {
        let mut standing = Standing::new();
        self.relay(&mut standing, true).await?;
        Ok(standing.progress)
    }

    async fn relay(&self, standing: &mut Standing, to_the_end: bool) -> Result<(), RelayError> {
        loop {
            match self.go(standing, to_the_end).await {
                Ok(()) => return Ok(()),
                Err(Stop::Fenced) => standing.fenced = true,
                Err(Stop::For(RelayError::Partitions { .. })) if self.takes_added_partitions => {
                    standing.partitions = None;
                }
                Err(Stop::For(error)) => {
                    let waited = standing.since.elapsed();
                    // Brokers that are being started say this and that for a while.
                    let is_passing = error.is_temporary()
                        || standing.has_begun
                            && waited < LOST
                            && matches!(
                                error,
                                RelayError::Missing { .. }
                                    | RelayError::Topic(OpenError::Kafka { .. })
                            );
                    // Whoever asked for an end is told after a while.
                    if !is_passing || to_the_end && waited > self.config.patience() {
                        return Err(error);
                    }
                    tracing::warn!(error = chain(&error), "the relay waits and goes on");
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn go(&self, standing: &mut Standing, to_the_end: bool) -> Result<(), Stop> {
        let (mut sending, last) = self.begin(standing).await?;
        // What this relay sent, or found, is there still.
        if last < standing.relayed {
            return Err(RelayError::Lost { topic: self.config.topic().to_owned() }.into());
        }
        let partitions = sending.floors.partitions();
        if *standing.partitions.get_or_insert(partitions) != partitions {
            return Err(RelayError::Partitions { topic: self.config.topic().to_owned() }.into());
        }
        (standing.has_begun, standing.fenced, standing.since) = (true, false, Instant::now());
        (standing.relayed, standing.progress.last) = (last, last.or(self.after));
        let max_bytes = sending.max_bytes;
        let mut deliveries = self.store.subscribe(last.or(self.after), Filter::default());
        let mut batch = Batch::default();
        loop {
            let delivery = match batch.is_ready() {
                true => None,
                false if batch.events.is_empty() => Some(deliveries.next().await),
                false => deliveries.next().now_or_never(),
            };
            match delivery {
                Some(Some(Ok(Delivery::Event(event)))) => {
                    batch.add(event, self.config.topic(), max_bytes);
                    continue;
                }
                Some(Some(Ok(Delivery::CaughtUp))) => batch.caught_up = true,
                // What came before the error is sent first: it is asked for again.
                Some(ended) if batch.events.is_empty() => {
                    let ended = ended.and_then(Result::err);
                    let error = ended.unwrap_or_else(|| StoreError::from(TaskError::Cancelled));
                    return Err(RelayError::from(error).into());
                }
                _ => {}
            }
            let Batch { events, caught_up, too_large, .. } = std::mem::take(&mut batch);
            if let Some(last) = events.last().map(|event| event.position) {
                let count = events.len() as u64;
                standing.attempted = standing.attempted.max(Some(last));
                let send = blocking(move || sending.send(events));
                sending = send
                    .map_err(RelayError::from)?
                    .await
                    .map_err(TaskError::from)
                    .map_err(RelayError::from)??;
                standing.progress.events += count;
                (standing.relayed, standing.progress.last) = (Some(last), Some(last));
                standing.since = Instant::now();
            }
            if let Some(error) = too_large {
                return Err(error.into());
            }
            if caught_up && to_the_end {
                return Ok(());
            }
        }
    }

    /// Ends the relay before, and finds how far it came.
    async fn begin(&self, standing: &Standing) -> Result<(Sending, Option<Position>), Stop> {
        let config = &self.config;
        config.check().map_err(RelayError::from)?;
        let found = found(config, config.topic(), "delete").await?;
        found.check_for_relay(config.topic()).map_err(RelayError::from)?;
        let mut max_bytes = found.max_bytes;
        let mut forgotten = None;
        if let Some(topic) = &self.forgotten {
            let found = self::found(config, topic, "compact").await?;
            found.check_for_forgotten(topic).map_err(RelayError::from)?;
            max_bytes = max_bytes.min(found.max_bytes);
            forgotten = Some((topic.clone(), found.partitions));
        }
        let (config, partitions) = (config.clone(), found.partitions);
        // Where this relay has come further since, that is no word to begin again.
        let is_said = self.after.is_some() && standing.relayed.is_none();
        let (fenced, attempted) = (standing.fenced, standing.attempted);
        let takes_added_partitions = self.takes_added_partitions;
        let open = blocking(move || {
            // The brokers also end the transactions of a relay that they did not hear from for long. Another relay is
            // one that has come further.
            if fenced && resume::ask(&config, partitions)?.last > attempted {
                return Err(RelayError::TakenOver { topic: config.topic().to_owned() });
            }
            let id = format!("oubliette-relay-{}", config.topic());
            let session = Session::open(&config, &id, max_bytes).map_err(|cause| {
                OpenError::kafka(&config, "writing transactions to the topic", cause)
            })?;
            let found = resume::ask(&config, partitions)?;
            if found.is_expired && !is_said {
                return Err(RelayError::Expired { topic: config.topic().to_owned() });
            }
            if found.has_moved && !takes_added_partitions {
                return Err(RelayError::Partitions { topic: config.topic().to_owned() });
            }
            let mut floors = Floors::new(config.topic(), found.ends);
            if let Some((topic, partitions)) = forgotten {
                let ends = resume::ends(&config, &topic, partitions)?;
                floors = floors.with_forgotten(topic, ends);
            }
            Ok::<_, RelayError>((Sending { session, floors, max_bytes }, found.last))
        });
        let opened = open.map_err(RelayError::from)?.await;
        let opened = opened.map_err(TaskError::from).map_err(RelayError::from)?;
        match opened {
            Ok(begun) => Ok(begun),
            Err(RelayError::Topic(OpenError::Fenced { .. })) => Err(Stop::Fenced),
            Err(error) => Err(error.into()),
        }
    }
}

/// What Kafka says of a topic of the relay's.
async fn found(
    config: &KafkaConfig,
    topic: &str,
    policy: &'static str,
) -> Result<topic::Topic, RelayError> {
    match topic::ask(config, topic).await {
        Err(OpenError::Missing { topic }) => Err(RelayError::Missing { topic, policy }),
        found => Ok(found?),
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay")
            .field("store", &self.store)
            .field("config", &self.config)
            .field("forgotten", &self.forgotten)
            .finish_non_exhaustive()
    }
}

/// How a relay stands, from one session to the next.
struct Standing {
    progress: Progress,
    /// The last position that was in the topic.
    relayed: Option<Position>,
    /// The last position that it tried to send, stored or not.
    attempted: Option<Position>,
    /// How many partitions the topic had at first.
    partitions: Option<usize>,
    fenced: bool,
    has_begun: bool,
    /// When something last went well.
    since: Instant,
}

impl Standing {
    fn new() -> Self {
        let (progress, since) = (Progress::default(), Instant::now());
        let (relayed, attempted, partitions) = (None, None, None);
        let (fenced, has_begun) = (false, false);
        Self { progress, relayed, attempted, partitions, fenced, has_begun, since }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(Some(error), |error| error.source());
    sources.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

enum Stop {
    Fenced,
    For(RelayError),
}

impl From<RelayError> for Stop {
    fn from(error: RelayError) -> Self {
        Self::For(error)
    }
}

/// What a relay sends by, from its start to its next error.
struct Sending {
    session: Session,
    floors: Floors,
    max_bytes: usize,
}

/// What goes into the next transaction.
#[derive(Default)]
struct Batch {
    events: Vec<RecordedEvent>,
    bytes: usize,
    caught_up: bool,
    /// What comes next does not fit into the topic.
    too_large: Option<RelayError>,
}

impl Batch {
    fn is_ready(&self) -> bool {
        self.caught_up
            || self.too_large.is_some()
            || self.events.len() >= EVENTS
            || self.bytes >= BYTES
    }

    fn add(&mut self, event: RecordedEvent, topic: &str, most: usize) {
        let data = event.data.as_ref().map_or(0, |data| data.as_bytes().len());
        let bytes =
            record::size_of(data, event.metadata.as_ref(), &event.stream, &event.event_type);
        if bytes > most {
            let (id, topic) = (event.id, topic.to_owned());
            self.too_large = Some(RelayError::TooLarge { id, topic, bytes, most });
            return;
        }
        self.bytes += bytes;
        self.events.push(event);
    }
}

/// An event on its way, and what its records are named by.
struct Sent {
    outbound: Outbound,
    id: String,
    position: String,
    /// The reference of the tombstone that it is.
    reference: Option<String>,
}

impl Sent {
    fn of(event: RecordedEvent) -> Option<Self> {
        // Whether a vault vouches for it is seen by whoever opens the event of that id.
        let tombstone =
            event.data.as_ref().and_then(Payload::as_json).filter(|_| event.is_tombstone());
        let tombstone = tombstone.and_then(|data| Tombstone::parse(data).ok());
        let reference = tombstone.map(|tombstone| tombstone.reference.to_string());
        let (id, position) = (event.id.to_string(), event.position.to_string());
        let outbound = Outbound {
            stream: event.stream,
            revision: event.revision,
            // Whoever reads a relay's topic goes by positions.
            after: record::before(event.revision),
            id: event.id,
            event_type: event.event_type,
            recorded: event.recorded,
            restored: event.restored,
            // A plain store always has one.
            data: event.data?,
            metadata: event.metadata,
        };
        Some(Self { outbound, id, position, reference })
    }
}

impl Sending {
    fn send(mut self, events: Vec<RecordedEvent>) -> Result<Self, Stop> {
        let Self { session, floors, .. } = &mut self;
        let sent: Vec<Sent> = events.into_iter().filter_map(Sent::of).collect();
        let mut records = Vec::with_capacity(sent.len());
        let mut topics = Vec::with_capacity(sent.len());
        for Sent { outbound, id, position, reference } in &sent {
            let more = [("id", id.as_str()), ("position", position.as_str())];
            let mut add = |which: floors::Which, key, mark| {
                let Some(topic) = floors.topic(which) else { return };
                let (value, headers) = (outbound.data.as_bytes(), outbound.headers(mark, &more));
                records.push(Record { topic, partition: None, key, value, headers });
                topics.push(which);
            };
            add(floors::Which::Events, outbound.stream.as_str().as_bytes(), record::RELAYED);
            if let Some(reference) = reference {
                add(floors::Which::Forgotten, reference.as_bytes(), record::FORGOTTEN);
            }
        }
        match session.transact(records, |arrivals| floors.check(&topics, arrivals)) {
            Outcome::Stored(arrivals) => floors.raise(&topics, &arrivals),
            Outcome::Withdrawn(error) => return Err(error.into()),
            Outcome::Nothing(trouble) | Outcome::Unknown(trouble) if trouble.fenced => {
                return Err(Stop::Fenced);
            }
            // Whether it is there, the topic itself will tell.
            Outcome::Nothing(trouble) | Outcome::Unknown(trouble) => {
                return Err(RelayError::Kafka { source: trouble.cause }.into());
            }
        }
        Ok(self)
    }
}
