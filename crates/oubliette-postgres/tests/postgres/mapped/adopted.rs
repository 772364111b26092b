//! From a table in clear to a store that forgets: real events, and a layer that takes over beside those who write by SQL.

use std::{
    collections::{BTreeMap, HashMap},
    env, fs,
    path::{Path, PathBuf},
};

use oubliette::{
    audit::verify::Defect,
    erasure::{ErasureError, ForgetOptions},
    event::{Content, Json, Subject},
    layer::Oubliette,
    policy::Policy,
    store::{Comparison, EventStoreExt, ExpectedRevision, compare, copy},
    vault::Vault,
};
use oubliette_postgres::{Options, PostgresStore, TableMapping, TableStore};

use super::{EVENTS, database, events, layer, row, table};
use crate::world::{event, everything, postgres, stream};

/// The events are not in the repository. They are looked for beside it, or where `OUBLIETTE_GITHUB_DATA` says.
fn data() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = env::var_os("OUBLIETTE_GITHUB_DATA")
        .map_or_else(|| root.join("../../../shared/data/github-webhooks.ndjson"), PathBuf::from);
    if path.is_file() {
        return Some(path);
    }
    #[allow(clippy::print_stderr)]
    {
        eprintln!("SKIPPED: {} is not there; set OUBLIETTE_GITHUB_DATA", path.display());
    }
    None
}

/// The statements of the page that begin so.
pub(super) fn from_the_page(begin: &str) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/stores/postgres-table.md");
    let page = fs::read_to_string(page).unwrap();
    let block = page.split("```sql\n").find(|block| block.starts_with(begin)).unwrap();
    block.split("```").next().unwrap().to_owned()
}

/// 329 webhooks of GitHub's in a table as cqrs-es makes it. It is copied and sealed, compared, and one sender is forgotten.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_real_events_is_copied_and_sealed_and_somebody_is_forgotten() {
    let (Some(postgres), Some(data)) = (postgres(), data()) else { return };
    let url = postgres.database();
    let app = crate::world::client(&url).await;
    app.batch_execute(
        "CREATE TABLE events (aggregate_type text NOT NULL, aggregate_id text NOT NULL, sequence bigint NOT NULL,
            event_type text NOT NULL, event_version text NOT NULL, payload json NOT NULL, metadata json NOT NULL,
            timestamp timestamptz DEFAULT CURRENT_TIMESTAMP, PRIMARY KEY (aggregate_type, aggregate_id, sequence))",
    )
    .await
    .unwrap();
    let mut lasts: HashMap<String, i64> = HashMap::new();
    let mut given = Vec::new();
    for line in fs::read_to_string(data).unwrap().lines() {
        let row: BTreeMap<String, Json> = Json::parse(line).unwrap().to().unwrap();
        let text = |key: &str| row.get(key).and_then(|json| json.to::<Option<String>>().unwrap());
        let name = text("stream").unwrap();
        let (kind, id) = name.split_once('-').unwrap();
        let last = lasts.entry(name.clone()).or_default();
        *last += 1;
        let payload = row["data"].as_str();
        let sql = "INSERT INTO events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata)
            VALUES ($1, $2, $3, $4, '1', $5::text::json, '{}')";
        app.execute(sql, &[&kind, &id, last, &text("type").unwrap(), &payload]).await.unwrap();
        given.push((name, text("subject"), payload.to_owned()));
    }
    let mapping = TableMapping::new("events")
        .position("position")
        .stream("{aggregate_type}-{aggregate_id}")
        .revision("sequence")
        .first_revision(1)
        .event_type("event_type")
        .data("payload")
        .metadata("metadata")
        .recorded("timestamp");
    // As rows are on the disk, which is not as they were inserted: a small one may be before a large one that is older.
    app.batch_execute("ALTER TABLE events ADD position bigint GENERATED ALWAYS AS IDENTITY UNIQUE")
        .await
        .unwrap();
    let clear = TableStore::open(Options::new(&url), mapping.clone()).await.unwrap();
    assert!(clear.doubts().iter().any(|doubt| doubt.contains("numbered")), "{:?}", clear.doubts());
    app.batch_execute("ALTER TABLE events DROP position").await.unwrap();
    app.batch_execute(&from_the_page("-- Numbers the rows")).await.unwrap();
    let clear = TableStore::open(Options::new(&url), mapping).await.unwrap();
    assert_eq!(clear.doubts(), [""; 0]);
    let before = everything(&clear).await;
    assert_eq!(before.len(), given.len());
    for (event, (name, _, payload)) in before.iter().zip(&given) {
        assert_eq!(
            (event.stream.as_str(), event.data.as_ref().unwrap().as_json().unwrap().as_str()),
            (&**name, &**payload)
        );
    }

    let policy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/github/policy.toml");
    let policy = Policy::parse(&fs::read_to_string(policy).unwrap()).unwrap();
    let target = PostgresStore::create(&url).await.unwrap();
    let sealed = Oubliette::open(target, Vault::in_memory().unwrap(), policy).await.unwrap();
    let copied = copy(&clear, &sealed, None, &mut Some, &mut |_| {}).await.unwrap();
    assert_eq!(copied.written, given.len() as u64);
    let compared = compare(&clear, &sealed, &mut Some, &mut |_| {}).await.unwrap();
    assert_eq!(compared, Comparison::Same { events: given.len() as u64, later: 0 });
    let again = copy(&clear, &sealed, None, &mut Some, &mut |_| {}).await.unwrap();
    assert_eq!((again.written, again.already), (0, given.len() as u64));

    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, subject, _) in &given {
        *counts.entry(subject.as_deref().unwrap_or_default()).or_default() += 1;
    }
    let (sender, theirs) = counts
        .into_iter()
        .filter(|(name, _)| !name.is_empty())
        .max_by_key(|(_, count)| *count)
        .unwrap();
    sealed.forget(&Subject::new(sender).unwrap(), "asked for it").await.unwrap();
    let after = everything(&sealed).await;
    let mut shredded = 0;
    for (event, (_, subject, payload)) in after.iter().zip(&given) {
        match event.content() {
            Content::Shredded(_) => {
                assert_eq!(subject.as_deref(), Some(sender));
                shredded += 1;
            }
            Content::Clear(data) => assert_eq!(data.as_json().unwrap().as_str(), payload),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(shredded, theirs);
}

/// A layer over the table itself: what was there stays in clear, what comes is sealed, and others go on by SQL.
#[tokio::test(flavor = "multi_thread")]
async fn a_layer_over_the_table_seals_what_comes_and_reads_what_was_there() {
    let Some(postgres) = postgres() else { return };
    let (name, plain) = table(&postgres, EVENTS, events()).await;
    for (kind, count) in [("sealed", 2), ("inline", 1)] {
        for sequence in 1..=count {
            postgres.sql(&name, &row((kind, "1"), sequence, r#"{"id":1,"surname":"Ringelnatz"}"#));
        }
    }
    let store = layer(plain.clone()).await;
    let clear = store.events(&stream("sealed-1"), Default::default()).await.unwrap();
    assert!(clear.iter().all(|event| matches!(event.content(), Content::Clear(_))));
    for layout in ["sealed-1", "inline-1", "split-1"] {
        let data = r#"{"id":1,"surname":"Hesse"}"#;
        store.append_to(&stream(layout), ExpectedRevision::Any, vec![event(data)]).await.unwrap();
    }
    assert_eq!(
        postgres.sql(&name, "SELECT count(*) FROM events WHERE payload::text LIKE '%Hesse%'"),
        "0"
    );
    // An application that inserts by itself is behind what we appended, and told of by the index where it is not.
    postgres.sql(&name, &row(("sealed", "1"), 4, r#"{"surname":"Kaléko"}"#));
    // What is in clear is not forgotten by destroying keys, and so somebody must say that they know.
    let user = Subject::new("sealed-1").unwrap();
    let refused = store.forget(&user, "asked").await.unwrap_err();
    assert!(matches!(refused, ErasureError::Refused(_)), "{refused:?}");
    let knowing = ForgetOptions { despite_unsealed: true, ..ForgetOptions::default() };
    store.forget_with(&user, "asked", knowing, |_| {}).await.unwrap();
    let events = store.events(&stream("sealed-1"), Default::default()).await.unwrap();
    let shown: Vec<&str> = events
        .iter()
        .map(|event| match event.content() {
            Content::Clear(_) => "clear",
            Content::Shredded(_) => "shredded",
            Content::Tombstone(_) => "tombstone",
            _ => "other",
        })
        .collect();
    assert_eq!(shown, ["clear", "clear", "shredded", "clear", "tombstone"]);
    // Verifying finds what is in clear of somebody who is forgotten, and nothing else.
    let report = store.verify(Default::default(), |_| {}).await.unwrap();
    assert_eq!(report.found.into_iter().collect::<Vec<_>>(), [(Defect::ForgottenInClear, 3)]);
    // Opened anew, by whoever knows no more than the mapping.
    let again = TableStore::open(Options::new(postgres.url(&name)), super::events()).await.unwrap();
    assert_eq!(everything(&again).await, everything(&plain).await);
    assert_eq!(database(&postgres.url(&name)), name);
}
