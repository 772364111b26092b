//! The layer is the codec around a store: what one of them seals, the other opens, byte for byte.

#![allow(clippy::unwrap_used)]

use crate::common::documents::{object, value};
use crate::common::*;
use oubliette::{
    event::{Json, Payload, RecordedEvent},
    layer::{Codec, EventRef, Oubliette, Sealed},
    policy::Policy,
    store::{EventStoreExt, MemoryStore, StoreError},
    vault::Vault,
};
use proptest::prelude::*;

/// A layer and a codec over one vault and one policy, each with a store of its own.
struct Both {
    layer: Oubliette<MemoryStore>,
    codec: Codec,
    theirs: MemoryStore,
}

impl Both {
    async fn new(policy: &str) -> Self {
        Self::over(Policy::parse(policy).unwrap()).await
    }

    async fn over(policy: Policy) -> Self {
        let (vault, theirs) = (Vault::in_memory().unwrap(), MemoryStore::new());
        let layer = Oubliette::open(MemoryStore::new(), vault.clone(), policy.clone());
        let codec = Codec::new(vault, policy);
        Self { layer: layer.await.unwrap(), codec, theirs }
    }

    /// Puts what the codec sealed into its store, under the same id and type.
    async fn keep(&self, name: &str, event_type: &str, sealed: Sealed) {
        let mut row = event(event_type, "null").with_id(sealed.id);
        (row.data, row.metadata) = (sealed.data.clone(), sealed.metadata.clone());
        put(&self.theirs, name, row).await.unwrap();
        sealed.stored().await.unwrap();
    }

    /// Reads the codec's store through a layer. It has no announcements, so that after an erasure one that is opened
    /// would call that a gap, and serve nothing.
    async fn through_a_layer(&self, name: &str) -> Result<RecordedEvent, StoreError> {
        let (vault, policy) = (self.layer.vault().unwrap().clone(), self.layer.policy().clone());
        let layer = Oubliette::unresumed(self.theirs.clone(), vault, policy);
        Ok(layer.last(&stream(name)).await?.unwrap())
    }
}

fn open(codec: &Codec, row: &RecordedEvent) -> (Option<Payload>, Option<Json>) {
    let place = EventRef { stream: &row.stream, id: row.id, event_type: &row.event_type };
    let opened = codec.open(place, row.data.as_ref().unwrap(), row.metadata.as_ref()).unwrap();
    assert!(!opened.unsealed && opened.shredded.is_empty() && opened.withheld.is_empty());
    (opened.data, opened.metadata)
}

const BOOKED: &str = r#"{ "amount": 1.50, "iban": "DE02", "user": "user-7" }"#;

/// It opened as tampered at once: the notes, which the tokens are bound to, were not handed out.
#[tokio::test]
async fn a_field_of_somebody_else_sealed_by_the_codec_is_not_lost() {
    for public in ["", "public = ['*']", "public = ['/amount']"] {
        let policy = format!(
            "[[stream]]\nmatch = 'ledger-{{id}}'\n{public}\n\
             [[stream.field]]\npointer = '/iban'\nsubject = '{{/user}}'"
        );
        let both = Both::new(&policy).await;
        let sealed = both.codec.seal(&stream("ledger-1"), event("Booked", BOOKED)).await.unwrap();
        both.keep("ledger-1", "Booked", sealed).await;
        let row = both.theirs.last(&stream("ledger-1")).await.unwrap().unwrap();
        assert_eq!(open(&both.codec, &row), (Some(json(BOOKED).into()), None), "{public}");
        let read = both.through_a_layer("ledger-1").await.unwrap();
        assert_eq!(text(&read), BOOKED);
    }
}

/// It opened as tampered through the layer: the codec had not known of metadata.
#[tokio::test]
async fn metadata_beside_what_the_codec_sealed_comes_back() {
    let both = Both::new("public_metadata = ['/tenant']").await;
    let metadata = json("{ \"tenant\": 7,\n \"ip\" : \"::1\" }");
    let written = event("Moved", "7").with_metadata(metadata.clone());
    let sealed = both.codec.seal(&stream("user-1"), written).await.unwrap();
    assert!(sealed.metadata.as_ref().is_some_and(|json| !json.as_str().contains("::1")));
    both.keep("user-1", "Moved", sealed).await;
    let read = both.through_a_layer("user-1").await.unwrap();
    assert_eq!((text(&read).as_str(), read.metadata), ("7", Some(metadata)));
}

#[tokio::test]
async fn the_codec_takes_bytes_and_a_subject() {
    let both = Both::new("[[stream]]\nmatch = 'room-{id}'\notherwise = 'named'").await;
    let mut scan = event("Scan", "null").with_subject(subject("user-1"));
    scan.data = Payload::Bytes(b"\xff\0scan".as_slice().into());
    let sealed = both.codec.seal(&stream("room-1"), scan.clone()).await.unwrap();
    assert!(matches!(sealed.data, Payload::Bytes(_)));
    both.keep("room-1", "Scan", sealed).await;
    let read = both.through_a_layer("room-1").await.unwrap();
    assert_eq!(
        (read.data.as_ref(), read.subject.as_ref()),
        (Some(&scan.data), Some(&subject("user-1")))
    );
    both.layer.forget(&subject("user-1"), "asked").await.unwrap();
    let gone = both.through_a_layer("room-1").await.unwrap();
    assert_eq!(shape(&[gone]), "s");
}

/// A transaction over several streams, one of which changes hands, does not wait for itself.
#[tokio::test]
async fn what_one_transaction_stores_is_sealed_in_one_call() {
    let both = Both::new(
        "[[stream]]\nmatch = 'acc-{id}'\npublic = ['/owner']\n\
         owner = [{ event = 'Opened', add = '{/owner}' }, { event = 'Given', replace = '{/owner}' }]",
    )
    .await;
    let account = stream("acc-1");
    let events = vec![
        (account.clone(), event("Opened", r#"{"owner":"user-1","memo":"old"}"#)),
        (account.clone(), event("Given", r#"{"owner":"user-2","memo":"new"}"#)),
        (stream("user-2"), event("Got", r#"{"account":"acc-1"}"#)),
        (account.clone(), event("Noted", r#"{"memo":"after the change"}"#)),
    ];
    let twice = vec![events[0].clone(), events[0].clone()];
    assert!(both.codec.seal_many(twice).await.is_err());
    let written = events.clone();
    for ((name, event), sealed) in written.iter().zip(both.codec.seal_many(events).await.unwrap()) {
        assert_eq!(sealed.id, event.id);
        both.keep(name.as_str(), event.event_type.as_str(), sealed).await;
    }
    // What stood there before the change goes with the old owner, and nothing else.
    both.layer.forget(&subject("user-1"), "asked").await.unwrap();
    let rows = everything(&both.theirs).await;
    let places = rows.iter().map(|row| {
        let place = EventRef { stream: &row.stream, id: row.id, event_type: &row.event_type };
        (place, row.data.as_ref().unwrap(), row.metadata.as_ref())
    });
    let opened = both.codec.open_many(places);
    let shredded: Vec<usize> =
        opened.iter().map(|opened| opened.as_ref().unwrap().shredded.len()).collect();
    assert_eq!(shredded, [1, 0, 0, 0]);
}

/// What a store of another kind makes of JSON: white space of its own, sorted keys, strings and
/// numbers respelled.
fn respelled(json: &Json) -> Json {
    let canonical = json.to_canonical();
    Json::parse(&canonical.replace("\":", "\" : ").replace("\\/", "/")).unwrap()
}

#[derive(Debug, Clone)]
struct Event {
    data: Payload,
    metadata: Option<Json>,
    event_type: &'static str,
    subject: bool,
}

fn an_event() -> impl Strategy<Value = Event> {
    let parse = |text: String| Json::parse(&text).unwrap();
    let data = prop_oneof![
        6 => object(value()).prop_map(move |text| Payload::Json(parse(text))),
        1 => value().prop_map(move |text| Payload::Json(parse(text))),
        1 => prop::collection::vec(any::<u8>(), 0..20).prop_map(|bytes| Payload::Bytes(bytes.into())),
    ];
    let metadata = prop::option::of(object(value()).prop_map(parse));
    let event_type = prop::sample::select(vec!["X", "Opened", "Given"]);
    (data, metadata, event_type, any::<bool>()).prop_map(|(data, metadata, event_type, subject)| {
        Event { data, metadata, event_type, subject }
    })
}

fn a_policy() -> impl Strategy<Value = String> {
    let layout = prop::sample::select(vec!["", "layout = 'inline'", "layout = 'split'"]);
    let public = prop::sample::select(vec![
        "",
        "public = ['*']",
        "public = ['/a']",
        "public = ['/a', '/l/*/b', '/note/*']",
        "public = ['/l', '/who']",
    ]);
    let subject = prop::sample::select(vec![
        "",
        "otherwise = 'named'",
        "subject = 'user-{/who}'\notherwise = 'stream'",
        "subject = 'user-{/who}'\notherwise = 'named'",
        "subject = 'all'",
    ]);
    let owner = prop::sample::select(vec![
        "",
        "owner = [{ event = 'Opened', add = 'user-{/who}' }]",
        "owner = [{ event = 'Opened', add = 'user-{/who}' }, { event = 'Given', replace = 'user-{id}' }]\non_owner_forgotten = 'shred-on-any'",
    ]);
    let field = prop::sample::select(vec![
        "",
        "keep = 'first 1'",
        "placeholder = '?'",
        "subject = 'other-{id}'",
        "subject = 'user-{/who}'\nkeep = 'last 1'",
    ]);
    let place = prop::sample::select(vec!["/iban", "/l/*/iban", "/note", "/*/iban", "/m~0~1n/a"]);
    let more = prop::sample::select(vec![
        "",
        "public_metadata = ['/a']",
        "public_metadata = ['/l/*/b']\npad = 64",
    ]);
    let types = prop::sample::select(vec![
        "",
        "[stream.type.Given]\npublic = ['*']",
        "[stream.type.X]\nfield = []",
    ]);
    let fields = prop::collection::vec((place, field), 0..3);
    (layout, public, subject, owner, fields, more, types).prop_map(
        |(layout, public, subject, owner, fields, more, types)| {
            let mut toml = format!(
                "{more}\n[[stream]]\nmatch = 's-{{id}}'\n{layout}\n{public}\n{subject}\n{owner}\n"
            );
            for (place, field) in fields {
                toml += &format!("[[stream.field]]\npointer = '{place}'\n{field}\n");
            }
            toml + types
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, max_shrink_iters: 2_000, max_global_rejects: 8_000, ..ProptestConfig::default() })]

    #[test]
    fn each_opens_what_the_other_sealed_byte_for_byte(policy in a_policy(), made in an_event()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(exchange(&policy, made))?;
    }
}

async fn exchange(policy: &str, made: Event) -> Result<(), TestCaseError> {
    let splits = policy.contains("layout = 'split'");
    let policy = Policy::parse(policy).map_err(|why| TestCaseError::reject(why.to_string()))?;
    let both = Both::over(policy).await;
    let mut written = event(made.event_type, "null");
    (written.data, written.metadata) = (made.data.clone(), made.metadata.clone());
    written.subject = made.subject.then(|| subject("user-1"));
    let expected_metadata = made.metadata.filter(|json| json.to_canonical() != "{}");
    let expected = (Some(made.data), expected_metadata);

    let sealed = both.codec.seal(&stream("s-1"), written.clone()).await;
    let refused = sealed.is_err();
    if let Ok(sealed) = sealed {
        both.keep("s-1", made.event_type, sealed).await;
    }
    // What one refuses, the other refuses.
    written.id = oubliette::event::EventId::random();
    let explained = both.layer.policy().explain(&stream("s-1"), &written);
    prop_assert_eq!(put(&both.layer, "s-1", written).await.is_err(), refused);
    if refused {
        return Err(TestCaseError::reject("both refuse it"));
    }

    let row = both.theirs.last(&stream("s-1")).await.unwrap().unwrap();
    prop_assert_eq!(&open(&both.codec, &row), &expected);
    let read = both.through_a_layer("s-1").await.unwrap();
    prop_assert_eq!((&read.data, &read.metadata), (&expected.0, &expected.1));
    let own = both.layer.last(&stream("s-1")).await.unwrap().unwrap();
    prop_assert_eq!((&own.data, &own.metadata), (&expected.0, &expected.1));
    prop_assert_eq!(&own.subject, &read.subject);

    // The policy foretold what a reader without the vault sees, and what they do not.
    let explained = explained.map_err(|refusal| TestCaseError::fail(refusal.to_string()))?;
    let blind = Oubliette::without_vault(both.layer.store().clone(), both.layer.policy().clone());
    let seen = blind.last(&stream("s-1")).await.unwrap().unwrap();
    // A public half of nothing and one of `{}` are stored alike.
    let shown =
        |data: &Option<Payload>| data.as_ref().map(plain).filter(|text| !splits || text != "{}");
    prop_assert_eq!(shown(&seen.data), shown(&explained.data));
    prop_assert_eq!(
        seen.metadata.as_ref().map(Json::to_canonical),
        explained.metadata.as_ref().map(Json::to_canonical)
    );
    // A reader without the vault is not told which fields a part has; and each part has a key of its own.
    prop_assert_eq!(own.keys.len(), explained.sealed.len());

    if !splits {
        // As the layer stored it, the codec opens it; and both stored the same but for the tokens.
        let stored = both.layer.store().last(&stream("s-1")).await.unwrap().unwrap();
        prop_assert_eq!(&open(&both.codec, &stored), &expected);
    }

    // Respelled by the store, it is the same value still.
    let mut other = row;
    if let Some(Payload::Json(json)) = &other.data {
        other.data = Some(respelled(json).into());
    }
    other.metadata = other.metadata.as_ref().map(respelled);
    let (data, metadata) = open(&both.codec, &other);
    let canonical = |json: &Json| json.to_canonical();
    match (&data, &expected.0) {
        (Some(Payload::Json(one)), Some(Payload::Json(other))) => {
            prop_assert_eq!(canonical(one), canonical(other));
        }
        (one, other) => prop_assert_eq!(one, other),
    }
    prop_assert_eq!(metadata.as_ref().map(canonical), expected.1.as_ref().map(canonical));
    Ok(())
}

/// A payload in a form that does not depend on how it is spelled.
fn plain(data: &Payload) -> String {
    data.as_json().map_or_else(|| format!("{:?}", data.as_bytes()), Json::to_canonical)
}

/// The public half of which nothing is public is stored as `{}`, and was taken for it.
#[tokio::test]
async fn an_empty_public_payload_of_a_split_stream_comes_back() {
    let policy = "[[stream]]\nmatch = 's-{id}'\nlayout = 'split'\npublic = ['*']";
    let both = Both::new(policy).await;
    for data in ["{}", "{ }"] {
        let written = event("X", data).with_metadata(json(r#"{"ip":"::1"}"#));
        put(&both.layer, "s-1", written).await.unwrap();
        assert_eq!(text(&both.layer.last(&stream("s-1")).await.unwrap().unwrap()), data);
    }
}

/// The signature of a webhook is over its bytes.
#[tokio::test]
async fn a_webhook_comes_back_as_it_was_signed() {
    let both =
        Both::new("[[stream]]\nmatch = 'hook-{id}'\npublic = ['/id', '/action', '/sender/id']")
            .await;
    let signed = "{\n  \"action\" : \"opened\",\n\n  \"sender\": {\n    \"login\": \"anna\",\n    \"id\": 7.0\n  },\n  \"id\": 1E2\n}";
    put(&both.layer, "hook-1", event("Came", signed)).await.unwrap();
    assert_eq!(text(&both.layer.last(&stream("hook-1")).await.unwrap().unwrap()), signed);
    let stored = both.layer.store().last(&stream("hook-1")).await.unwrap().unwrap();
    assert!(!text(&stored).contains("anna") && text(&stored).contains("7.0"));
}
