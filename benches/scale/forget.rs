//! Forgetting, in the vault alone and through the layer.

use std::{path::Path, time::Instant};

use oubliette::{
    event::{ErasureId, EventType, Json, NewEvent, StreamName, Subject},
    layer::Oubliette,
    policy::Policy,
    store::{EventStoreExt as _, ExpectedRevision, SqliteStore},
    vault::{
        Vault,
        internals::{Dead, Destruction, Loss, Plumbing as _},
    },
};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::{
    keys::{make, make_streams, subject},
    meter::{Writes, memory},
    steps::{Step, open},
};

/// How many single forgets are compared, here and in a vault of 10,000 keys.
const SINGLES: u64 = 200;
/// How many streams the large subject has.
const STREAMS: u64 = 1_000;
/// How many subjects go in one batch.
const BATCH: u64 = 10_000;
/// How many subjects of many streams are forgotten, each against as many single forgets.
const ROUNDS: u64 = 3;

const POLICY: &str = r#"
[[stream]]
match   = "note-{id}"
subject = "{/who}"
"#;

/// In the vault alone. The folder of a vault of 10,000 keys comes with it.
pub(crate) fn alone(step: &Step, reference: &Path) -> Value {
    let runtime = &step.runtime;
    let (vault, _) = step.open();
    let small = (reference != step.folder).then(|| open(reference).0);
    make(runtime, &vault, "single", SINGLES, 64, 0, false);
    let (mut here, mut there) = (Vec::new(), Vec::new());
    if let Some(small) = &small {
        make(runtime, small, "single", SINGLES, 64, 0, false);
    }
    // In turns, so that what else the machine does falls on both alike.
    for number in 0..SINGLES {
        let who = [subject("single", number)];
        here.push(forget(runtime, &vault, &who).0);
        if let Some(small) = &small {
            there.push(forget(runtime, small, &who).0);
        }
    }
    drop(small);

    let mut many = Vec::new();
    for round in 0..ROUNDS {
        let whole = subject("whole", round);
        make_streams(runtime, &vault, &whole, STREAMS);
        let kind = ["a", "b", "c"][round as usize % 3];
        make(runtime, &vault, kind, STREAMS, 64, 0, false);
        let (together, destroyed) = forget(runtime, &vault, std::slice::from_ref(&whole));
        assert_eq!(destroyed, STREAMS);
        let begin = Instant::now();
        for number in 0..STREAMS {
            forget(runtime, &vault, &[subject(kind, number)]);
        }
        many.push(json!([together, begin.elapsed().as_secs_f64()]));
    }

    make(runtime, &vault, "batch", BATCH, 1024, 0, false);
    let batch: Vec<Subject> = (0..BATCH).map(|number| subject("batch", number)).collect();
    let before = Writes::now();
    let (seconds, destroyed) = forget(runtime, &vault, &batch);
    assert_eq!(destroyed, BATCH);
    let (resident, peak) = memory();
    json!({
        "one": here, "one_at_10000": there, "streams": STREAMS, "many": many,
        "batch": {
            "subjects": BATCH, "seconds": seconds,
            "pages": Writes::now().since(before).pages,
        },
        "resident": resident, "peak": peak,
    })
}

/// How long it took in seconds, and how many keys went.
pub(crate) fn forget(runtime: &Runtime, vault: &Vault, who: &[Subject]) -> (f64, u64) {
    let losses = |subject: &Subject| Loss { subject: subject.clone(), dead: Dead::All };
    let erasure = ErasureId::now();
    let destruction = Destruction::new(erasure, who.iter().map(losses).collect());
    let begin = Instant::now();
    let destroyed = runtime.block_on(vault.destroy(&destruction, b"measured")).unwrap();
    (begin.elapsed().as_secs_f64(), destroyed.keys)
}

/// Through the layer, with a tombstone on each stream.
pub(crate) fn with_tombstones(step: &Step) -> Value {
    let (vault, _) = step.open();
    let runtime = &step.runtime;
    let store = SqliteStore::create(step.folder.join("events")).unwrap();
    let policy = Policy::parse(POLICY).unwrap();
    let layer = runtime.block_on(Oubliette::open(store, vault, policy)).unwrap();
    let whole = subject("everywhere", 0);
    let others: Vec<Subject> = (0..STREAMS).map(|number| subject("elsewhere", number)).collect();
    runtime.block_on(async {
        for (number, other) in others.iter().enumerate() {
            for who in [&whole, other] {
                let stream = StreamName::new(format!("note-{who}-{number}")).unwrap();
                let data = Json::parse(&format!(r#"{{"who":"{who}","text":"said"}}"#)).unwrap();
                let event = NewEvent::new(EventType::new("Noted").unwrap(), data);
                layer.append_to(&stream, ExpectedRevision::Any, vec![event]).await.unwrap();
            }
        }
    });
    let begin = Instant::now();
    let erased = runtime.block_on(layer.forget(&whole, "measured")).unwrap();
    let together = begin.elapsed().as_secs_f64();
    assert_eq!(erased.keys, STREAMS);
    let begin = Instant::now();
    for other in &others {
        runtime.block_on(layer.forget(other, "measured")).unwrap();
    }
    json!({ "streams": STREAMS, "many": [[together, begin.elapsed().as_secs_f64()]] })
}
