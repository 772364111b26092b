//! Copies of events of which parts are gone: they stay gone, say so, and nobody else can say it.

#![allow(clippy::unwrap_used)]

mod forged;
mod property;

use crate::common::{
    all, bank_policy, event, everything, json, layer, layer_over, put, shape, stream, subject, text,
};
use oubliette::{
    audit::{
        Location,
        verify::{Defect, VerifyOptions, VerifyProgress, VerifyReport},
    },
    event::{
        Content, EventId, Holes, KeyId, NewEvent, Payload, RecordedEvent, Shredded, StreamName,
        VaultId, Withheld, WithheldReason,
    },
    layer::{Codec, EventRef, Oubliette},
    policy::Policy,
    store::{
        Append, Appended, EventStore, EventStoreExt, ExpectedRevision, MemoryStore, StoreError,
    },
    vault::{Vault, internals::Plumbing as _},
};

type Layer = Oubliette<MemoryStore>;

/// A bank in which user-1 is forgotten: their stream, their account, and their word in a room; and a
/// ledger of which a part is user-2's.
async fn origin() -> Layer {
    let bank = layer().await;
    for (to, event_type, data) in [
        ("user-1", "UserRegistered", r#"{"id":1,"colour":"red","name":"Erika"}"#),
        ("user-1", "UserMoved", r#"{"to":"Bonn"}"#),
        ("user-2", "UserRegistered", r#"{"id":2,"name":"Otto"}"#),
        ("bankaccount-1", "AccountOpened", r#"{"owner":"user-1","iban":"DE89"}"#),
        ("room-1", "Said", r#"{"author":1,"at":3,"text":"first"}"#),
        ("room-1", "Said", r#"{"author":2,"at":4,"text":"second"}"#),
        (
            "ledger-1",
            "Booked",
            r#"{"amount":5,"memo":"rent","counterparty":{"user":"user-2","iban":"DE02"}}"#,
        ),
        (
            "ledger-2",
            "Booked",
            r#"{"amount":7,"memo":"gift","counterparty":{"user":"user-1","iban":"DE89"}}"#,
        ),
        ("ledger-1", "LedgerOpened", r#"{"account":"user-2","memo":"late"}"#),
        ("ledger-2", "LedgerOpened", r#"{"account":"user-2","memo":"late"}"#),
    ] {
        put(&bank, to, event(event_type, data)).await.unwrap();
    }
    bank.forget(&subject("user-1"), "asked").await.unwrap();
    bank
}

fn vault_of<S: EventStore>(layer: &Oubliette<S>) -> VaultId {
    layer.vault().unwrap().id()
}

async fn append<S: EventStore>(
    to: &Oubliette<S>,
    name: &StreamName,
    event: NewEvent,
) -> Result<Appended, StoreError> {
    to.append_to(name, ExpectedRevision::Any, vec![event]).await
}

/// Copies every event but the tombstones.
async fn copy<S: EventStore, T: EventStore>(from: &Oubliette<S>, to: &Oubliette<T>) {
    for event in everything(from).await {
        if !event.is_tombstone() {
            append(to, &event.stream, NewEvent::copy_of(&event)).await.unwrap();
        }
    }
}

async fn copied<S: EventStore>(from: &Oubliette<S>) -> Layer {
    let to = layer().await;
    copy(from, &to).await;
    to
}

/// What `verify` finds at events, and what it counts.
async fn verified<S: EventStore>(layer: &Oubliette<S>) -> (Vec<Defect>, VerifyReport) {
    let mut found = Vec::new();
    let report = layer
        .verify(VerifyOptions::default(), |news| {
            if let VerifyProgress::Found(finding) = news
                && matches!(finding.at, Location::Event { .. })
            {
                found.push(finding.kind);
            }
        })
        .await
        .unwrap();
    (found, report)
}

/// What is missing, as it reads in a copy.
fn in_a_copy(event: &RecordedEvent) -> Vec<Shredded> {
    event.shredded.iter().map(|part| Shredded { copied: true, ..part.clone() }).collect()
}

#[tokio::test]
async fn a_hole_that_is_copied_is_still_one_and_tells_where_it_was_made() {
    let a = origin().await;
    let (b, there) = (copied(&a).await, vault_of(&a));
    assert_ne!(there, vault_of(&b));
    let originals: Vec<_> =
        everything(&a).await.into_iter().filter(|event| !event.is_tombstone()).collect();
    let copies = everything(&b).await;
    assert_eq!(shape(&originals), "pscppccpcc");
    assert_eq!(shape(&copies), shape(&originals));
    let dead: Vec<KeyId> =
        originals.iter().flat_map(|event| &event.shredded).flat_map(|p| p.keys.clone()).collect();
    assert!(dead.len() >= 5);
    for (original, copy) in originals.iter().zip(&copies) {
        assert_eq!(
            (copy.id, &copy.stream, &copy.event_type),
            (original.id, &original.stream, &original.event_type)
        );
        assert_eq!((text(copy), &copy.metadata), (text(original), &original.metadata));
        assert!(original.shredded.iter().all(|part| part.origin == there && !part.copied));
        assert_eq!(copy.shredded, in_a_copy(original));
        // They are no keys of this vault's, and no tombstone of it will name them.
        assert!(copy.keys.iter().all(|key| !dead.contains(key)));
        if let Some(subject) = &original.subject {
            assert_eq!(copy.subject.as_ref(), Some(subject));
        }
    }
    assert!(b.vault().unwrap().opening_key(dead[0]).is_err());

    let (defects, report) = verified(&b).await;
    let holes = copies.iter().map(|event| event.shredded.len() as u64).sum::<u64>();
    assert_eq!((defects, report.is_clean()), (vec![], true), "{:?}", report.found);
    assert_eq!(
        (report.events.holes, report.events.shredded, report.events.unsealed),
        (holes, 0, 0)
    );
    assert_eq!((b.unsealed(), b.count_unsealed().await.unwrap().unsealed), (0, 0));

    // A copy of the copy is the same once more.
    let c = copied(&b).await;
    for (copy, second) in copies.iter().zip(everything(&c).await) {
        assert_eq!((&second.shredded, text(&second)), (&copy.shredded, text(copy)));
    }
}

#[tokio::test]
async fn a_tombstone_is_not_copied_since_it_is_its_vaults_word() {
    let (a, b) = (origin().await, layer().await);
    let events = all(&a, "room-1").await;
    let tombstone = events.iter().find(|event| event.tombstone.is_some()).unwrap();
    let refused = append(&b, &tombstone.stream, NewEvent::copy_of(tombstone)).await;
    assert!(matches!(refused, Err(StoreError::Refused { .. })), "{refused:?}");
}

#[tokio::test]
async fn what_is_readable_of_a_copy_is_its_subjects_and_goes_with_them() {
    let a = origin().await;
    let b = copied(&a).await;
    // Of the booking about user-1's account, the rest is the ledger's.
    let before = all(&b, "ledger-2").await;
    assert_eq!(text(&before[0]), r#"{"amount":7,"memo":"gift","counterparty":{"user":"user-1"}}"#);
    assert_eq!((before[0].keys.len(), before[0].shredded.len()), (1, 1));
    assert_eq!(before[0].shredded[0].fields, ["/counterparty/iban"]);
    b.forget(&subject("ledger-2"), "asked").await.unwrap();
    let after = all(&b, "ledger-2").await;
    assert_eq!(shape(&after), "ppt");
    assert_eq!(text(&after[0]), r#"{"amount":7}"#);
    let [own, copied] = &after[0].shredded[..] else { panic!("{:?}", after[0].shredded) };
    assert_eq!((own.origin, own.copied), (vault_of(&b), false));
    assert_eq!((copied.origin, copied.copied), (vault_of(&a), true));
    // The tombstone means what died here, and nothing else.
    assert_eq!(after[2].tombstone.as_ref().unwrap().keys, own.keys);
    assert!(copied.keys.iter().all(|key| !own.keys.contains(key)));
    let (defects, report) = verified(&b).await;
    assert_eq!((defects, report.is_clean()), (vec![], true), "{:?}", report.found);
    assert_eq!(report.events.shredded, 2);
}

#[tokio::test]
async fn whoever_is_forgotten_here_too_gets_nothing_into_their_own_stream() {
    let (a, b) = (origin().await, layer().await);
    put(&b, "user-1", event("UserRegistered", r#"{"id":1,"name":"Erika"}"#)).await.unwrap();
    b.forget(&subject("user-1"), "asked").await.unwrap();
    for original in all(&a, "user-1").await.iter().filter(|event| !event.is_tombstone()) {
        let refused = append(&b, &original.stream, NewEvent::copy_of(original)).await;
        assert!(matches!(refused, Err(StoreError::Forgotten { .. })), "{refused:?}");
    }
    // In a stream of many, a hole of theirs needs no key.
    let said = &all(&a, "room-1").await[0];
    append(&b, &said.stream, NewEvent::copy_of(said)).await.unwrap();
    assert_eq!(all(&b, "room-1").await[0].shredded, in_a_copy(said));
}

#[tokio::test]
async fn whoever_lives_here_keeps_what_was_gone_elsewhere_gone() {
    let (a, b) = (origin().await, layer().await);
    put(&b, "user-1", event("UserMoved", r#"{"to":"Köln"}"#)).await.unwrap();
    for original in all(&a, "user-1").await.iter().filter(|event| !event.is_tombstone()) {
        append(&b, &original.stream, NewEvent::copy_of(original)).await.unwrap();
    }
    assert_eq!(shape(&all(&b, "user-1").await), "cps");
    b.forget(&subject("user-1"), "asked").await.unwrap();
    let events = all(&b, "user-1").await;
    assert_eq!(shape(&events), "spst");
    assert!(!events[0].shredded[0].copied && events[2].shredded[0].copied);
    assert!(verified(&b).await.1.is_clean());
}

#[tokio::test]
async fn a_copy_that_is_repeated_is_there_already_and_another_one_is_not() {
    let (a, b) = (origin().await, layer().await);
    for name in ["user-1", "ledger-2", "room-1"] {
        for original in all(&a, name).await.iter().filter(|event| !event.is_tombstone()) {
            let copy = NewEvent::copy_of(original);
            assert!(!append(&b, &original.stream, copy.clone()).await.unwrap().already);
            assert!(append(&b, &original.stream, copy.clone()).await.unwrap().already);
            let Some(holes) = copy.holes.clone() else { continue };
            // With fewer holes, or others, it is another event: nothing is lost silently. (In two
            // halves it has an id more.)
            let mut fewer = copy.clone();
            fewer.holes = None;
            let mut other = copy.clone();
            let mut changed = holes.shredded().to_vec();
            changed[0].fields.push("/more".to_owned());
            other.holes = Holes::new(&changed, &[], original.data.is_none()).map(Box::new);
            for event in [fewer, other] {
                let told = append(&b, &original.stream, event).await;
                let refused = matches!(
                    told,
                    Err(StoreError::OtherContent { .. } | StoreError::IdInUse { .. })
                );
                assert!(refused, "{told:?}");
            }
        }
    }
}

async fn is_stored_under_the_layer_alone<S: EventStore + Clone>(store: S) {
    let a = origin().await;
    let copy = NewEvent::copy_of(&all(&a, "room-1").await[0]);
    assert!(copy.holes.is_some());
    let append = || vec![Append::new(stream("room-1"), ExpectedRevision::Any, vec![copy.clone()])];
    let told = store.append(append()).await;
    assert!(matches!(told, Err(StoreError::Invalid(_))), "{told:?}");
    let bank = layer_over(store).await;
    bank.append(append()).await.unwrap();
    assert_eq!(shape(&all(&bank, "room-1").await), "p");
}

#[tokio::test]
async fn a_store_without_the_layer_refuses_what_it_could_not_tell() {
    is_stored_under_the_layer_alone(MemoryStore::new()).await;
    #[cfg(feature = "sqlite")]
    {
        let folder = tempfile::tempdir().unwrap();
        let store = oubliette::store::SqliteStore::create(folder.path().join("events"));
        is_stored_under_the_layer_alone(store.unwrap()).await;
    }
}

#[tokio::test]
async fn without_a_vault_a_hole_says_of_nobody_that_they_are_forgotten() {
    let a = origin().await;
    let b = copied(&a).await;
    let analyst = Oubliette::without_vault(b.store().clone(), bank_policy());
    let events = all(&analyst, "user-1").await;
    assert_eq!(shape(&events), "pw");
    for (event, whole) in events.iter().zip(all(&b, "user-1").await) {
        assert!(event.shredded.is_empty());
        let fields = whole.shredded[0].fields.clone();
        assert_eq!(event.withheld, [Withheld { why: WithheldReason::NoVault, fields }]);
    }
}

#[tokio::test]
async fn what_the_copier_could_not_open_stays_withheld() {
    let a = origin().await;
    let analyst = Oubliette::without_vault(a.store().clone(), bank_policy());
    let b = copied(&analyst).await;
    let registered = all(&b, "user-2").await;
    assert_eq!(shape(&registered), "p");
    assert_eq!(text(&registered[0]), r#"{"id":2}"#);
    let withheld = Withheld { why: WithheldReason::NotCopied, fields: vec!["*".to_owned()] };
    assert_eq!(registered[0].withheld, [withheld]);
    assert!(registered[0].shredded.is_empty());
    assert!(matches!(all(&b, "user-1").await[1].content(), Content::Withheld(_)));
    let (defects, report) = verified(&b).await;
    assert_eq!((defects, report.is_clean()), (vec![], true), "{:?}", report.found);
    assert!(report.events.holes >= 7);
}

#[tokio::test]
async fn the_codec_seals_and_opens_a_copy_as_the_layer_does() {
    let a = origin().await;
    let vault = Vault::in_memory().unwrap();
    let codec = Codec::new(vault.clone(), bank_policy());
    for original in all(&a, "ledger-2").await.iter().filter(|event| !event.shredded.is_empty()) {
        let sealed = codec.seal(&original.stream, NewEvent::copy_of(original)).await.unwrap();
        let (data, metadata) = (sealed.data.clone(), sealed.metadata.clone());
        sealed.stored().await.unwrap();
        let at = EventRef {
            stream: &original.stream,
            id: original.id,
            event_type: &original.event_type,
        };
        let opened = codec.open(at, &data, metadata.as_ref()).unwrap();
        assert_eq!((opened.data, opened.shredded), (original.data.clone(), in_a_copy(original)));
        let elsewhere = stream("ledger-3");
        let moved = EventRef { stream: &elsewhere, ..at };
        let told = codec.open(moved, &data, metadata.as_ref()).unwrap_err();
        assert!(told.to_string().contains("forged hole"), "{told}");
    }
}

const SHARED: &str = r#"
[[stream]]
match   = "wall-{id}"
subject = "user-{/author}"
layout  = "inline"
public  = ["/at"]
owner   = [ { event = "Opened", add = "{/keeper}" } ]
[[stream.field]]
pointer = "/about"
subject = "user-{/whom}"
"#;

async fn walls() -> Layer {
    let policy = Policy::parse(SHARED).unwrap();
    Oubliette::open(MemoryStore::new(), Vault::in_memory().unwrap(), policy).await.unwrap()
}

#[tokio::test]
async fn a_copy_keeps_its_subject_where_what_names_them_is_gone() {
    let a = walls().await;
    put(&a, "wall-1", event("Said", r#"{"author":1,"at":3,"text":"x"}"#)).await.unwrap();
    put(&a, "wall-1", event("Said", r#"{"author":2,"at":4,"whom":1,"about":"y"}"#)).await.unwrap();
    a.forget(&subject("user-1"), "asked").await.unwrap();
    let b = walls().await;
    copy(&a, &b).await;
    let events = all(&b, "wall-1").await;
    assert_eq!(shape(&events), "pp");
    // Whose the first was, nobody knows any more, and nothing of it needs a key.
    assert_eq!((text(&events[0]), events[0].keys.len()), (r#"{"at":3}"#.to_owned(), 0));
    assert_eq!(events[1].subject, Some(subject("user-2")));
    assert_eq!(text(&events[1]), r#"{"author":2,"at":4,"whom":1}"#);

    // Something of theirs that must be sealed needs to know them.
    let with = |subject_: Option<&str>| {
        let mut copy = NewEvent::copy_of(&events[0]);
        copy.data = json(r#"{"at":3,"mood":"glad"}"#).into();
        copy.subject = subject_.map(subject);
        copy.with_id(EventId::random())
    };
    let refused = append(&b, &stream("wall-2"), with(None)).await;
    assert!(matches!(refused, Err(StoreError::Refused { .. })), "{refused:?}");
    append(&b, &stream("wall-2"), with(Some("user-3"))).await.unwrap();
    assert_eq!(all(&b, "wall-2").await[0].subject, Some(subject("user-3")));
    b.forget(&subject("user-3"), "asked").await.unwrap();
    assert_eq!(text(&all(&b, "wall-2").await[0]), r#"{"at":3}"#);
    // A writer of something new must name the author, as before.
    let new = event("Said", r#"{"at":3,"mood":"glad"}"#).with_subject(subject("user-3"));
    assert!(matches!(put(&b, "wall-2", new).await, Err(StoreError::Refused { .. })));
}

#[tokio::test]
async fn an_owner_whom_a_hole_swallowed_is_passed_over() {
    let a = walls().await;
    let opened = r#"{"author":1,"at":3,"keeper":"user-9"}"#;
    put(&a, "wall-1", event("Opened", opened)).await.unwrap();
    a.forget(&subject("user-1"), "asked").await.unwrap();
    let b = walls().await;
    copy(&a, &b).await;
    assert_eq!(shape(&all(&b, "wall-1").await), "p");
    assert!(verified(&b).await.1.is_clean());
    // One that says nothing of missing parts must name its owner.
    let silent = event("Opened", r#"{"author":1,"at":3}"#);
    assert!(matches!(put(&b, "wall-1", silent).await, Err(StoreError::Refused { .. })));
}

#[tokio::test]
async fn bytes_and_metadata_are_copied_with_their_holes() {
    let policy = r#"
        [[stream]]
        match  = "doc-{id}"
        layout = "inline"
        public = ["*"]
        [[stream]]
        match  = "raw-{id}"
    "#;
    let open = async || {
        let vault = Vault::in_memory().unwrap();
        Oubliette::open(MemoryStore::new(), vault, Policy::parse(policy).unwrap()).await.unwrap()
    };
    let (a, b) = (open().await, open().await);
    let kind = || oubliette::event::EventType::new("Stored").unwrap();
    let bytes = Payload::Bytes([0, 159, 255].as_slice().into());
    let metadata = json(r#"{"by":"Erika"}"#);
    // Public payloads with sealed metadata: `{}`, an array, bytes; and bytes that are sealed.
    for (to, data) in [
        ("doc-1", json("{}").into()),
        ("doc-1", json("[1,2]").into()),
        ("doc-1", bytes.clone()),
        ("raw-1", bytes),
    ] {
        put(&a, to, NewEvent::new(kind(), data).with_metadata(metadata.clone())).await.unwrap();
    }
    for name in ["doc-1", "raw-1"] {
        a.forget(&subject(name), "asked").await.unwrap();
    }
    copy(&a, &b).await;
    for name in ["doc-1", "raw-1"] {
        let originals = all(&a, name).await;
        for (original, copy) in originals.iter().zip(all(&b, name).await) {
            assert_eq!((&copy.data, &copy.metadata), (&original.data, &None), "{name}");
            assert_eq!(copy.shredded, in_a_copy(original));
        }
    }
    let report = verified(&b).await.1;
    assert_eq!((report.is_clean(), report.events.holes), (true, 4));
}

/// The names of missing fields stay in clear, for ever: they are pointers, and nobody's data.
#[tokio::test]
async fn a_hole_names_fields_and_nothing_else() {
    let from = origin().await;
    let events = everything(&from).await;
    let gone = events.iter().find(|event| !event.shredded.is_empty()).unwrap();
    let to = copied(&from).await;
    for field in ["Erika Mustermann", "/mail/erika@example.org", &format!("/{}", "x".repeat(600))] {
        let mut event = gone.clone();
        event.id = EventId::random();
        event.shredded[0].fields = vec![field.to_owned()];
        let refused = append(&to, &event.stream, NewEvent::copy_of(&event)).await.unwrap_err();
        assert!(matches!(refused, StoreError::Invalid(_)), "{refused}");
        assert!(!refused.to_string().contains("rika"), "{refused}");
    }
}
