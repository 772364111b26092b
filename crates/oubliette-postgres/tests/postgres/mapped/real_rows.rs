//! From a table of clear events to the first forgetting, by the words of the page: nothing of the person is left in the
//! server's files.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use oubliette::{
    audit::drill::{DrillOptions, DrillProgress, Leak},
    event::{Content, Json, RecordedEvent},
    store::{EventStore, EventStoreExt},
    *,
};
use oubliette_postgres::{Options, TableMapping, TableStore};

use super::adopted::from_the_page;
use crate::world::{client, everything, in_files, quick, stream};

const PAGE: &str = include_str!("../../../../../docs/stores/postgres-table.md");
/// So many people, each with words of their own; and one whom we forget.
const PEOPLE: usize = 50;
const FORGOTTEN: usize = 17;
/// So many events of an order.
const EACH: usize = 10;

/// As many as `OUBLIETTE_TABLE_ROWS` says.
fn count() -> usize {
    env::var("OUBLIETTE_TABLE_ROWS").map_or(5_000, |count| count.parse().unwrap())
}

/// The webhooks are not in the repository. They are looked for beside it, or where `OUBLIETTE_WEBHOOKS` says.
fn webhooks() -> Option<Vec<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = env::var_os("OUBLIETTE_WEBHOOKS")
        .map_or_else(|| root.join("../../../shared/data"), PathBuf::from);
    let mut webhooks = Vec::new();
    for name in ["github-webhooks.ndjson", "shopify-webhooks.ndjson"] {
        let Ok(text) = fs::read_to_string(folder.join(name)) else { continue };
        let data = |line: &str| {
            let row: BTreeMap<String, Json> = Json::parse(line).unwrap().to().unwrap();
            row["data"].as_str().to_owned()
        };
        webhooks.extend(text.lines().map(data));
    }
    if webhooks.is_empty() {
        #[allow(clippy::print_stderr)]
        {
            eprintln!("SKIPPED: {} has no webhooks; set OUBLIETTE_WEBHOOKS", folder.display());
        }
        return None;
    }
    Some(webhooks)
}

/// What is nobody else's.
fn words(person: usize) -> [String; 3] {
    [
        format!("Kuttel{person:03}Daddeldu"),
        format!("daddeldu{person:03}@seepferdchen.example"),
        format!("DE89370400440532{person:06}"),
    ]
}

/// The rows as cqrs-es makes them, in clear.
async fn fill(app: &tokio_postgres::Client, webhooks: &[String]) {
    app.batch_execute(
        "CREATE TABLE events (aggregate_type text NOT NULL, aggregate_id text NOT NULL, sequence bigint NOT NULL,
            event_type text NOT NULL, event_version text NOT NULL, payload json NOT NULL, metadata json NOT NULL,
            timestamp timestamptz DEFAULT CURRENT_TIMESTAMP, PRIMARY KEY (aggregate_type, aggregate_id, sequence));
         -- Not compressed, so that a search finds each value where it is.
         ALTER TABLE events ALTER payload SET STORAGE EXTERNAL;",
    )
    .await
    .unwrap();
    let numbers: Vec<usize> = (0..count()).collect();
    for numbers in numbers.chunks(500) {
        let (mut ids, mut sequences, mut payloads) = (Vec::new(), Vec::new(), Vec::new());
        for number in numbers {
            let order = number / EACH;
            let person = order % PEOPLE;
            let [name, mail, iban] = words(person);
            ids.push(order.to_string());
            sequences.push(i64::try_from(number % EACH + 1).unwrap());
            payloads.push(format!(
                r#"{{"customer":{{"id":{person},"name":"{name}","mail":"{mail}","iban":"{iban}"}},"webhook":{}}}"#,
                webhooks[number % webhooks.len()]
            ));
        }
        let sql = "INSERT INTO events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata)
            SELECT 'order', u.id, u.sequence, 'WebhookReceived', '1.0', u.payload::json, '{}' FROM unnest($1::text[], $2::int8[], $3::text[])
                AS u (id, sequence, payload)";
        app.execute(sql, &[&ids, &sequences, &payloads]).await.unwrap();
    }
}

/// Runs statements as the page has them, one after the other.
fn psql(url: &str, statements: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("statements.sql");
    fs::write(&file, statements).unwrap();
    let mut psql = Command::new("psql");
    let run = psql.args(["-qX", "-v", "ON_ERROR_STOP=1", "-f"]).arg(&file).arg(url);
    let ran = run.output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}

/// The page's code, to the letter: [`the_code_is_the_page_s`] compares.
#[allow(clippy::print_stdout)]
#[rustfmt::skip]
async fn first_forgetting(url: &str, mapping: TableMapping, vault: Vault, policy: Policy) -> Result<(), Box<dyn std::error::Error>> {
    let table = TableStore::open(Options::new(url), mapping).await?;
    let shop = Oubliette::open(table.clone(), vault, policy).await?;

    let sealed = shop.seal_existing(&table, |so_far| println!("{} events", so_far.sealed)).await?;
    for left in &sealed.left {
        println!("in clear: event {} of {}: {}", left.revision, left.stream, left.why);
    }
    shop.forget(&Subject::new("customer-17")?, "request 2026-117").await?;
    let purged = shop.purge(&table, |_| ()).await?;
    for place in &purged.former_contents {
        println!("still in: {place}");
    }
    Ok(())
}

#[test]
fn the_code_is_the_page_s() {
    let own = include_str!("real_rows.rs");
    let begin = own.find("async fn first_forgetting").unwrap();
    let code = &own[begin..begin + own[begin..].find("\n}\n").unwrap() + 3];
    assert!(PAGE.contains(code), "the page has other code than this test");
}

/// Where a drill finds one of their words.
async fn drilled<S: EventStore>(shop: &Oubliette<S>, paths: Vec<PathBuf>) -> Vec<String> {
    let needles = words(FORGOTTEN).to_vec();
    let options = DrillOptions { paths, needles, ..DrillOptions::default() };
    let mut found = Vec::new();
    let report = shop.drill(options, |progress| {
        // Of others' values it finds short ones by chance, in what is random.
        if let DrillProgress::Found(finding) = progress
            && finding.kind == Leak::ClearText
            && finding.what.contains("of those given")
        {
            found.push(format!("{:?}", finding.at));
        }
    });
    let report = report.await.unwrap();
    assert!(report.files > 100 && report.values > 3, "{report:?}");
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clear_table_is_sealed_in_place_and_nothing_of_the_forgotten_is_in_the_files() {
    let (Some(mut postgres), Some(webhooks)) = (quick(), webhooks()) else { return };
    let url = postgres.database();
    let app = client(&url).await;
    fill(&app, &webhooks).await;
    psql(&url, &from_the_page("-- Numbers the rows"));
    psql(&url, "CREATE ROLE app LOGIN; ANALYZE; CHECKPOINT;");
    psql(&url, &from_the_page("-- A place where the id"));
    psql(&url, &from_the_page("-- Who seals"));
    let theirs = words(FORGOTTEN);
    let everybody: Vec<String> = (0..PEOPLE).flat_map(words).collect();
    let data = postgres.data();
    assert_eq!(in_files(&data, &theirs).len(), 3, "the search can fail");
    let block = |begin: &str| {
        let block = PAGE.split("```toml\n").find(|block| block.starts_with(begin)).unwrap();
        block.split("```").next().unwrap()
    };
    let mapping = TableMapping::parse(block("table          = \"events\"")).unwrap();
    let policy = || Policy::parse(block("[[stream]]")).unwrap();
    let by_app = url.replace("postgres@", "app@");
    let table = TableStore::open(Options::new(&by_app), mapping.clone()).await.unwrap();
    assert_eq!(table.why_not_in_place(), [""; 0]);
    let before = everything(&table).await;
    assert_eq!(before.len(), count());

    let folder = tempfile::tempdir().unwrap();
    let (place, slot) = (folder.path().join("vault"), folder.path().join("slot"));
    let vault = Vault::create(&place, slot.as_path()).unwrap();
    first_forgetting(&by_app, mapping, vault.clone(), policy()).await.unwrap();

    // All else is as it was.
    let shop = Oubliette::open(table.clone(), vault, policy()).await.unwrap();
    let after = everything(&shop).await;
    let theirs_too = |event: &RecordedEvent| {
        let order: usize = event.stream.as_str().strip_prefix("order-").unwrap().parse().unwrap();
        order % PEOPLE == FORGOTTEN
    };
    let (mut shredded, mut others) =
        (0, after.iter().filter(|event| event.tombstone.is_none() && !event.is_bookkeeping()));
    for before in &before {
        let after = others.next().unwrap();
        assert_eq!(
            (after.id, &after.stream, after.revision, after.position),
            (before.id, &before.stream, before.revision, before.position)
        );
        match after.content() {
            Content::Shredded(_) => {
                assert!(theirs_too(before));
                shredded += 1;
            }
            Content::Clear(data) => {
                assert!(!theirs_too(before));
                assert_eq!(data, before.data.as_ref().unwrap());
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(shredded, before.iter().filter(|event| theirs_too(event)).count());
    assert!(others.next().is_none());
    assert!(shop.verify(Default::default(), |_| {}).await.unwrap().is_clean());
    // One who writes by SQL, as cqrs-es does, has gone on; it is not the person whom we forgot.
    let next = "INSERT INTO events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata)
        VALUES ('order', '0', 11, 'WebhookReceived', '1.0', '{\"customer\":{\"id\":0}}', '{}')";
    app.batch_execute(next).await.unwrap();
    assert_eq!(shop.events(&stream("order-0"), Default::default()).await.unwrap().len(), EACH + 1);

    // As a user who is no superuser: so what is left to do was said, and the page's script does it.
    assert_ne!(in_files(&data, &theirs), [], "what the script clears away");
    psql(&url, &from_the_page("-- Writes the table and the statistics anew"));
    // One file beside it has a word of theirs, so that the drill can fail.
    let other = folder.path().join("note.txt");
    fs::write(&other, &theirs[0]).unwrap();
    let found = drilled(&shop, vec![data.clone(), other]).await;
    assert!(found.len() == 1 && found[0].contains("note.txt"), "{found:?}");
    drop((app, shop, table));
    postgres.stop();
    assert_eq!(in_files(&data, &everybody), []);
}
