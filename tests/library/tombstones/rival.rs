//! Somebody who appends events under the ids that the vault is about to use.

use std::{
    fmt::Debug,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use oubliette::{
    event::{ANNOUNCEMENTS, EventId, Position, RecordedEvent, SUBJECT_FORGOTTEN, StreamName},
    layer::Oubliette,
    store::{
        Append, Appended, Capabilities, EventStore, EventStream, ExpectedRevision, Filter,
        MemoryStore, ReadAllOptions, ReadOptions, StoreError, Subscription,
    },
};
use serde_json::Value;
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

use super::{peopled, raw, value};
use crate::common::{all, bank_policy, event, layer_over, stream, subject};

/// What is logged as an error.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl Visit for Log {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.lock().unwrap().push_str(&format!("{field}={value:?} "));
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::ERROR
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &Event<'_>) {
        event.record(&mut self.clone());
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// A store in which somebody is always first: before an append that the test chooses, they append
/// an event of their own, under an id that they know.
#[derive(Debug, Clone)]
struct Rival {
    inner: MemoryStore,
    plan: Arc<Mutex<Option<Plan>>>,
}

/// Told of an append, says what is appended before it.
type Plan = fn(&Append) -> Option<(String, EventId)>;

impl Rival {
    fn new(plan: Plan) -> Self {
        Self { inner: MemoryStore::new(), plan: Arc::new(Mutex::new(Some(plan))) }
    }
}

#[async_trait]
impl EventStore for Rival {
    async fn append(&self, appends: Vec<Append>) -> Result<Vec<Appended>, StoreError> {
        let plan = *self.plan.lock().unwrap();
        let planted = plan.and_then(|plan| appends.iter().find_map(plan));
        if let Some((to, id)) = planted {
            // Once.
            *self.plan.lock().unwrap() = None;
            let theirs = event("Noted", r#"{"by":"a rival"}"#).with_id(id);
            let append = Append::new(stream(&to), ExpectedRevision::Any, vec![theirs]);
            self.inner.append(vec![append]).await?;
        }
        self.inner.append(appends).await
    }
    async fn restore(&self, events: Vec<RecordedEvent>) -> Result<Vec<Appended>, StoreError> {
        self.inner.restore(events).await
    }

    fn read(&self, stream: &StreamName, options: ReadOptions) -> EventStream {
        self.inner.read(stream, options)
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

async fn forgotten_despite(plan: Plan) {
    let store = Rival::new(plan);
    let bank = layer_over(store.clone()).await;
    peopled(&bank).await;
    bank.forget(&subject("user-1"), "asked").await.unwrap();
    assert!(store.plan.lock().unwrap().is_none(), "the rival was not asked");
    for name in ["user-1", "bankaccount-1", "room-selfhelp"] {
        let set = all(&bank, name).await.iter().filter(|event| event.tombstone.is_some()).count();
        assert_eq!(set, 1, "{name}");
    }
    let record = bank.erasures().unwrap().remove(0);
    assert!(record.done && record.announced, "{record:?}");
    // Nothing is set twice, and a vault that is put back is told.
    let vault = bank.vault().unwrap().clone();
    let again = Oubliette::open(store, vault, bank_policy()).await.unwrap();
    assert!(again.resume().await.unwrap().is_empty());
    let all = raw(again.store()).await;
    assert_eq!(all.iter().filter(|event| event.is_tombstone()).count(), 3);
    // The witness has it, and not only the vault's word for it.
    let id = record.erasure.to_string();
    let announced = all.iter().filter(|event| event.is_announcement());
    assert_eq!(announced.filter(|event| value(event)["about"] == *id).count(), 1);
}

/// The announcement names the erasure before the tombstones are set.
#[tokio::test]
async fn whoever_knows_the_erasure_cannot_take_the_id_of_a_tombstone() {
    forgotten_despite(|append| {
        let announced = append.stream == stream(ANNOUNCEMENTS);
        let data = append.events[0].data.as_json().filter(|_| announced)?;
        let data: Value = serde_json::from_str(data.as_str()).unwrap();
        let erasure: oubliette::event::ErasureId = data["about"].as_str()?.parse().ok()?;
        Some(("room-selfhelp".to_owned(), EventId::derived(erasure.0, "room-selfhelp")))
    })
    .await;
}

#[tokio::test]
async fn an_event_with_the_id_of_a_tombstone_does_not_suppress_it() {
    let log = Log::default();
    let logging = tracing::subscriber::set_default(log.clone());
    forgotten_despite(|append| {
        let is_it = append.stream == stream("room-selfhelp")
            && append.events[0].event_type.as_str() == SUBJECT_FORGOTTEN;
        is_it.then(|| ("room-selfhelp".to_owned(), append.events[0].id))
    })
    .await;
    drop(logging);
    let told = log.0.lock().unwrap();
    assert_eq!(told.matches("the tombstone gets another id").count(), 1, "{told}");
    // The event's id leads to it. A stream's name beside it would say in a log whom an erasure reached.
    assert!(told.contains("event=") && !told.contains("selfhelp"), "{told}");
}

#[tokio::test]
async fn an_event_with_the_id_of_a_tombstone_in_another_stream_does_not_keep_it_pending() {
    forgotten_despite(|append| {
        let is_it = append.stream == stream("room-selfhelp")
            && append.events[0].event_type.as_str() == SUBJECT_FORGOTTEN;
        is_it.then(|| ("elsewhere".to_owned(), append.events[0].id))
    })
    .await;
}

#[tokio::test]
async fn an_event_with_the_id_of_an_announcement_does_not_suppress_it() {
    for to in [ANNOUNCEMENTS, "elsewhere"] {
        let plan: Plan = match to {
            ANNOUNCEMENTS => |append| {
                (append.stream == stream(ANNOUNCEMENTS))
                    .then(|| (ANNOUNCEMENTS.to_owned(), append.events[0].id))
            },
            _ => |append| {
                (append.stream == stream(ANNOUNCEMENTS))
                    .then(|| ("elsewhere".to_owned(), append.events[0].id))
            },
        };
        forgotten_despite(plan).await;
    }
}
