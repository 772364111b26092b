//! Purging: what nobody can read any more goes from the tables, and nothing else changes.

use oubliette::{
    event::{EventType, Json, NewEvent, Payload, RecordedEvent, Subject},
    layer::Oubliette,
    policy::Policy,
    store::{
        Append, Capability, Direction, EventStore, EventStoreExt, ExpectedRevision, Purge,
        ReadOptions, Removed, Rewrite, Rewritten, StoreError, Stored,
    },
    vault::Vault,
};
use oubliette_postgres::{Options, Payloads, PostgresStore};

use crate::{
    dumped::dump,
    world::{event, everything, grows, in_files, quick, shape, stream},
};

pub(crate) const LAYOUTS: [&str; 3] = ["sealed", "inline", "split"];

/// A policy with one layout for people, whose accounts are theirs.
fn policy(layout: &str) -> Policy {
    let public = if layout == "sealed" { "" } else { r#"public = ["/id", "/colour"]"# };
    Policy::parse(&format!(
        r#"
        [[stream]]
        match = "user-{{id}}"
        layout = "{layout}"
        {public}

        [[stream]]
        match = "account-{{id}}"
        layout = "inline"
        public = ["/owner", "/amount"]
        owner = [ {{ event = "AccountOpened", add = "{{/owner}}" }} ]
        "#
    ))
    .unwrap()
}

async fn bank<S: EventStore + Clone>(events: &S, layout: &str) -> Oubliette<S> {
    let vault = Vault::in_memory().unwrap();
    Oubliette::open(events.clone(), vault, policy(layout)).await.unwrap()
}

fn typed(event_type: &str, data: &str) -> NewEvent {
    let mut event = event(data);
    event.event_type = EventType::new(event_type).unwrap();
    event
}

async fn put(bank: &impl EventStore, to: &str, event: NewEvent) {
    bank.append_to(&stream(to), ExpectedRevision::Any, vec![event]).await.unwrap();
}

/// Events of three people.
async fn live(bank: &impl EventStore) {
    for n in 0..3 {
        for (to, event_type, data) in [
            (
                format!("user-{n}"),
                "UserRegistered",
                format!(r#"{{"id":{n},"colour":"red","name":"Annika"}}"#),
            ),
            (
                format!("account-{n}"),
                "AccountOpened",
                format!(r#"{{"owner":"user-{n}","amount":1.50,"iban":"DE8937"}}"#),
            ),
            (format!("user-{n}"), "UserMoved", format!(r#"{{"id":{n},"town":"Bremen"}}"#)),
        ] {
            let by = Json::parse(r#"{"by":"Annika"}"#).unwrap();
            put(bank, &to, typed(event_type, &data).with_metadata(by)).await;
        }
        if bank.capabilities().has(Capability::Bytes) {
            let photo = Payload::Bytes(vec![7; 300].into());
            let photo = NewEvent::new(EventType::new("UserPhotographed").unwrap(), photo);
            put(bank, &format!("user-{n}"), photo).await;
        }
    }
}

/// What a reader sees of all events.
fn seen(events: &[RecordedEvent]) -> Vec<String> {
    let one = |event: &RecordedEvent| {
        let RecordedEvent { stream, revision, position, id, event_type, recorded, .. } = event;
        let parts = (&event.data, &event.metadata, &event.shredded, &event.withheld, &event.keys);
        format!("{stream} {revision} {position:?} {id} {event_type} {recorded} {parts:?}")
    };
    events.iter().map(one).collect()
}

/// The texts of all tokens in a store, with their ciphertext.
async fn tokens(store: &impl EventStore) -> Vec<Vec<u8>> {
    let mut tokens = Vec::new();
    for event in everything(store).await {
        match event.data.unwrap() {
            Payload::Bytes(bytes) => tokens.push(bytes.to_vec()),
            Payload::Json(json) => {
                let after = json.as_str().split(r#""$sealed""#).nth(1).unwrap_or_default();
                let texts = after.split('"').filter(|text| text.len() > 40);
                tokens.extend(texts.map(|text| text.as_bytes().to_vec()));
            }
        }
    }
    tokens
}

/// What is after the key id and the nonce: a stub has those as well.
fn ends(tokens: &[Vec<u8>]) -> Vec<Vec<u8>> {
    tokens.iter().map(|token| token[token.len() / 2..].to_vec()).collect()
}

/// Purges a store in which somebody is forgotten. `kept` is how many halves the store cannot remove for now. Returns the
/// tokens that are gone, and those that are not.
pub(crate) async fn what_is_dead_goes<S: Rewrite + Clone>(
    events: &S,
    layout: &str,
    kept: u64,
) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let bank = bank(events, layout).await;
    live(&bank).await;
    let all_tokens = tokens(events).await;
    let of_user = if events.capabilities().has(Capability::Bytes) { 3 } else { 2 };
    assert_eq!(all_tokens.len(), 3 * (of_user as usize + 1), "{layout}: {all_tokens:?}");
    let nothing = bank.purge(events, |_| ()).await.unwrap();
    let counts = nothing.counts;
    assert_eq!((counts.removed, counts.emptied, counts.events), (0, 0, 3 * (of_user + 1)));
    assert!(nothing.former_contents.is_empty());

    bank.forget(&Subject::new("user-1").unwrap(), "asked").await.unwrap();
    let before = seen(&everything(&bank).await);
    let dead = bank.storage(|_| ()).await.unwrap().total().dead_bytes;
    assert!(dead > 3 * 60);
    let done = bank.purge(events, |_| ()).await.unwrap();
    // What the store keeps of private halves is emptied.
    let (removed, emptied) =
        if layout == "split" { (of_user - kept, 1 + kept) } else { (0, of_user + 1) };
    let left = 0;
    let counts = done.counts;
    assert_eq!(
        (counts.removed, counts.emptied, counts.left),
        (removed, emptied, left),
        "{layout}: {done:?}"
    );
    // Backups and free blocks of the disk: nothing else.
    assert_eq!(done.former_contents.len(), 2, "{:?}", done.former_contents);

    assert_eq!(seen(&everything(&bank).await), before, "{layout}");
    let of = |name: &str| {
        let (bank, name) = (bank.clone(), stream(name));
        async move { bank.events(&name, ReadOptions::default()).await.unwrap() }
    };
    assert_eq!(shape(&of("user-0").await), "c".repeat(of_user as usize), "{layout}");
    let expected = match (layout, of_user) {
        ("sealed", 3) => "ssst",
        ("sealed", _) => "sst",
        (_, 3) => "ppst",
        _ => "ppt",
    };
    assert_eq!(shape(&of("user-1").await), expected, "{layout}");
    let living = tokens(events).await;
    let gone: Vec<_> = all_tokens.iter().filter(|token| !living.contains(token)).cloned().collect();
    assert_eq!(gone.len() as u64, of_user + 1 - left, "{layout}");
    let report = bank.verify(Default::default(), |_| {}).await.unwrap();
    assert!(report.is_clean(), "{layout}: {:?}", report.found);
    assert_eq!(bank.storage(|_| ()).await.unwrap().total().dead_bytes, 0);
    assert!(counts.bytes == dead || kept > 0 && counts.bytes < dead, "{counts:?} of {dead}");
    let again = bank.purge(events, |_| ()).await.unwrap();
    assert_eq!((again.counts.removed, again.counts.emptied, again.counts.left), (0, 0, left));
    (
        ends(&gone),
        ends(&living.into_iter().filter(|token| all_tokens.contains(token)).collect::<Vec<_>>()),
    )
}

async fn own(url: &str, payloads: Payloads) -> PostgresStore {
    Options::new(url).payloads(payloads).create().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_dead_goes_and_all_reads_as_before() {
    let Some(mut postgres) = quick() else { return };
    let (mut gone, mut living) = (Vec::new(), Vec::new());
    for payloads in [Payloads::Json, Payloads::Jsonb, Payloads::Text] {
        for layout in LAYOUTS {
            let events = own(&postgres.database(), payloads).await;
            let (these, others) = what_is_dead_goes(&events, layout, 0).await;
            gone.extend(these);
            living.extend(others);
            if layout == "split" {
                let of = async |name: &str| {
                    events.events(&stream(name), Default::default()).await.unwrap().len()
                };
                assert_eq!((of("user-private-1").await, of("user-public-1").await), (0, 4));
            }
        }
    }
    postgres.stop();
    assert_eq!(in_files(&postgres.data(), &gone), []);
    assert_eq!(in_files(&postgres.data(), &living).len(), living.len());
}

/// The person comes back, and a writer from before the forgetting tries again.
#[tokio::test(flavor = "multi_thread")]
async fn a_retry_is_answered_as_before_the_purge() {
    let Some(postgres) = quick() else { return };
    for payloads in [Payloads::Json, Payloads::Jsonb, Payloads::Text] {
        for layout in LAYOUTS {
            a_retry_is_answered(&own(&postgres.database(), payloads).await, layout, 0).await;
        }
    }
}

pub(crate) async fn a_retry_is_answered<S: Rewrite + Clone>(events: &S, layout: &str, kept: u64) {
    let bank = bank(events, layout).await;
    let user = stream("user-1");
    let two = || {
        let one = typed("UserRegistered", r#"{"id":1,"colour":"red","name":"Annika"}"#);
        vec![one, typed("UserMoved", r#"{"id":1,"town":"Bremen"}"#)]
    };
    let first = two();
    let append = |events: &[NewEvent]| {
        vec![Append::new(user.clone(), ExpectedRevision::Any, events.to_vec())]
    };
    let written = bank.append(append(&first)).await.unwrap();
    bank.forget(&Subject::of(&user), "asked").await.unwrap();
    bank.reopen(&Subject::of(&user)).await.unwrap();
    put(&bank, "user-1", typed("UserRegistered", r#"{"id":1,"name":"Annika"}"#)).await;
    let retried = bank.append(append(&first)).await.unwrap();
    assert!(retried[0].already && retried[0].revision == written[0].revision);
    let stored = everything(events).await.len();

    // They came back, so that none of the dead halves is the last one.
    let done = bank.purge(events, |_| ()).await.unwrap();
    assert_eq!(done.counts.removed + done.counts.emptied + kept, 2, "{layout}");
    assert_eq!(bank.append(append(&first)).await.unwrap(), retried, "{layout}");
    let gone = usize::try_from(done.counts.removed).unwrap();
    assert_eq!(everything(events).await.len(), stored - gone, "{layout}: doubled");
    // Another event under that id is still another one, and a retry of half an append is none.
    let mut other = first.clone();
    other[0].event_type = EventType::new("UserLeft").unwrap();
    let error = bank.append(append(&other)).await.unwrap_err();
    assert!(matches!(error, StoreError::OtherContent { .. }), "{layout}: {error}");
    let mut half = first.clone();
    half[1] = two().remove(1);
    let error = bank.append(append(&half)).await.unwrap_err();
    assert!(matches!(error, StoreError::IdInUse { .. }), "{layout}: {error}");
    let shape = shape(&bank.events(&user, ReadOptions::default()).await.unwrap());
    assert_eq!(shape, if layout == "sealed" { "sstc" } else { "pptc" }, "{layout}");
}

pub(crate) fn removed(event: &RecordedEvent) -> Removed {
    Removed { stream: event.stream.clone(), revision: event.revision, id: event.id }
}

fn three() -> Vec<NewEvent> {
    (0..3).map(|n| event(&format!(r#"{{"n":{n}}}"#))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_revision_and_no_position_is_given_again() {
    let Some(mut postgres) = quick() else { return };
    let url = postgres.database();
    let store = PostgresStore::create(&url).await.unwrap();
    let wide = store.append_to(&stream("a"), ExpectedRevision::Any, three()).await.unwrap();
    let events = everything(&store).await;
    let elsewhere = Removed { stream: stream("b"), ..removed(&events[0]) };
    let later = Removed { revision: events[1].revision, ..removed(&events[0]) };
    let (first, last) = (removed(&events[0]), removed(&events[2]));
    let asked = vec![elsewhere, later, first.clone(), last, first];
    assert_eq!(store.remove(asked).await.unwrap(), [false, false, true, true, false]);
    assert_eq!(everything(&store).await, [events[1].clone()]);
    let backwards = ReadOptions { direction: Direction::Backwards, ..ReadOptions::default() };
    assert_eq!(store.events(&stream("a"), backwards).await.unwrap(), [events[1].clone()]);
    let next = store.append_to(&stream("a"), ExpectedRevision::Any, three()).await.unwrap();
    assert_eq!(next.revision.0, 5, "three that were, and three that came");
    assert!(next.position > wide.position);

    // All of them, and the server is started again.
    let all = everything(&store).await;
    let done = store.remove(all.iter().map(removed).collect()).await.unwrap();
    assert_eq!(done, vec![true; all.len()]);
    let highest = all.last().unwrap().position;
    let mut postgres = tokio::task::spawn_blocking(move || {
        postgres.restart();
        postgres
    })
    .await
    .unwrap();
    let store = PostgresStore::open(&url).await.unwrap();
    let next = store.append_to(&stream("a"), ExpectedRevision::Any, three()).await.unwrap();
    assert!((next.revision.0, next.position) > (8, highest) && next.revision.0 == 8);
    let there = everything(&store).await;
    assert!(grows(&there) && there.len() == 3);

    // Another server counts transactions from the beginning: it goes on behind what was there.
    postgres.sql(
        "test_0",
        "DO $$ BEGIN FOR i IN 1..3000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$",
    );
    let high = store.append_to(&stream("a"), ExpectedRevision::Any, three()).await.unwrap();
    let all = everything(&store).await;
    store.remove(all.iter().map(removed).collect()).await.unwrap();
    let Some(other) = quick() else { return };
    let target = other.database();
    dump(&url, &target);
    let store = PostgresStore::open(&target).await.unwrap();
    let next = store.append_to(&stream("a"), ExpectedRevision::Any, three()).await.unwrap();
    assert_eq!(next.revision.0, 14);
    assert!(next.position > high.position, "{:?} {:?}", next.position, high.position);
    postgres.stop();
}

/// Only what is still what it is said to be gets other contents.
pub(crate) async fn only_what_is_still_so_is_changed(store: &impl Rewrite) {
    let two = vec![event("{}"), event("{}")];
    store.append_to(&stream("of-a"), ExpectedRevision::Any, two).await.unwrap();
    let there = store.events(&stream("of-a"), ReadOptions::default()).await.unwrap();
    let json = |text: &str| Json::parse(text).unwrap();
    let stored = |text: &str| Stored { data: json(text).into(), metadata: None };
    let rewritten = |at: usize, from: &str, to: &str| Rewritten {
        stream: stream("of-a"),
        revision: there[at].revision,
        id: there[at].id,
        from: stored(from),
        to: stored(to),
    };
    let noted = |text| Stored { metadata: Some(json(r#"{"m":1}"#)), ..stored(text) };
    let other_stream = Rewritten { stream: stream("of-b"), ..rewritten(0, "{}", "2") };
    let other_id = Rewritten { id: there[1].id, ..rewritten(0, "{}", "3") };
    let other_metadata = Rewritten { from: noted("{}"), ..rewritten(0, "{}", "7") };
    let with_metadata = Rewritten { to: noted("4"), ..rewritten(1, "{}", "4") };
    let asked = vec![
        rewritten(0, "1", "5"),
        other_stream,
        other_id,
        other_metadata,
        with_metadata,
        rewritten(1, "4", "6"),
    ];
    let done = store.rewrite(asked).await.unwrap();
    assert_eq!(done, [false, false, false, false, true, false], "{store:?}");
    let now = store.events(&stream("of-a"), ReadOptions::default()).await.unwrap();
    assert_eq!(now[0], there[0]);
    let canonical = |json: &Json| json.to_canonical();
    let (data, metadata) = (now[1].data.as_ref(), now[1].metadata.as_ref());
    assert_eq!(data.and_then(Payload::as_json).map(canonical).as_deref(), Some("4"));
    assert_eq!(metadata.map(canonical).as_deref(), Some(r#"{"m":1}"#));
    let rest = |event: &RecordedEvent| {
        (event.position, event.recorded, event.id, event.event_type.clone(), event.revision)
    };
    assert_eq!(rest(&now[1]), rest(&there[1]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_changed_meanwhile_is_not_written_over() {
    let Some(postgres) = quick() else { return };
    for payloads in [Payloads::Json, Payloads::Jsonb, Payloads::Text] {
        only_what_is_still_so_is_changed(&own(&postgres.database(), payloads).await).await;
    }
}
