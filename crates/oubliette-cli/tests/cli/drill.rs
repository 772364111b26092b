//! `drill`: whatever would bring somebody forgotten back is found, wherever it lies; a copy of
//! which nothing does is clean.

mod hostile;
mod packed;
mod values;

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use crate::common::{bank_policy, event, folders::copy, put, stream, subject};
use flate2::{Compression, write::GzEncoder};
use futures::TryStreamExt;
use oubliette::{
    audit::{
        Finding, Location,
        drill::{CopyReader, DrillOptions, DrillProgress, DrillReport, Leak},
    },
    event::{EventId, EventType, NewEvent, Payload},
    layer::Oubliette,
    store::{EventStore, EventStoreExt, ExpectedRevision, ReadAllOptions, SqliteStore},
    vault::{OpenAs, Vault},
};
use tempfile::TempDir;

/// A bank in a folder of its own, its slot beside it, and a folder for what is drilled.
struct World {
    dir: TempDir,
    bank: Oubliette<SqliteStore>,
}

impl World {
    async fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("data")).unwrap();
        fs::create_dir_all(at("paths")).unwrap();
        let vault = Vault::create(&at("data/vault"), &at("slot")).unwrap();
        let store = SqliteStore::create(at("data/events")).unwrap();
        let bank = Oubliette::open(store, vault, bank_policy()).await.unwrap();
        for (to, event_type, data) in [
            (
                "user-1",
                "UserRegistered",
                r#"{"id":1,"colour":"turquoise","name":"Erika Musterfrau"}"#,
            ),
            (
                "user-2",
                "UserRegistered",
                r#"{"id":2,"colour":"magenta","name":"Otto \"Öko\" Normal"}"#,
            ),
            (
                "bankaccount-1",
                "AccountOpened",
                r#"{"owner":"user-1","iban":"DE89370400440532013000"}"#,
            ),
            (
                "bankaccount-2",
                "AccountOpened",
                r#"{"owner":"user-2","iban":"DE02120300000000202051"}"#,
            ),
            ("bankaccount-2", "Noted", r#"{"pin":48151623,"mood":"turquoise","code":"12"}"#),
        ] {
            put(&bank, to, event(event_type, data)).await.unwrap();
        }
        Self { dir, bank }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Puts a file among what is drilled.
    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.at("paths").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    async fn forget(&self, who: &str) {
        self.bank.forget(&subject(who), "asked").await.unwrap();
    }

    async fn drill(&self) -> (DrillReport, Vec<Finding<Leak>>) {
        self.drill_at(vec![self.at("paths")], &[]).await
    }

    async fn drill_at(
        &self,
        paths: Vec<PathBuf>,
        needles: &[&str],
    ) -> (DrillReport, Vec<Finding<Leak>>) {
        let options = DrillOptions {
            paths,
            needles: needles.iter().map(ToString::to_string).collect(),
            needles_file: None,
            slots: vec![self.at("slot")],
            vault: Some(self.at("data/vault")),
            reader: reader(),
            ..DrillOptions::default()
        };
        let mut found = Vec::new();
        let take = |news| {
            if let DrillProgress::Found(finding) = news {
                found.push(finding);
            }
        };
        let report = self.bank.drill(options, take).await.unwrap();
        assert_eq!(report.found.values().sum::<u64>(), found.len() as u64);
        // No finding shows what it is about.
        let told = format!("{found:?}");
        for value in ["Erika", "Otto", "DE89", "DE02", "48151623"] {
            assert!(!told.contains(value), "{told}");
        }
        (report, found)
    }
}

/// Whoever opens copies: the program, confined where the system can.
fn reader() -> CopyReader {
    CopyReader::Program { program: env!("CARGO_BIN_EXE_oubliette").into(), unconfined: true }
}

/// What a finding is packed in.
fn inside(finding: &Finding<Leak>) -> &str {
    match &finding.at {
        Location::File { inside, .. } => inside,
        other => panic!("{other}"),
    }
}

fn kinds(found: &[Finding<Leak>]) -> Vec<Leak> {
    found.iter().map(|finding| finding.kind).collect()
}

/// The file and the offset of a finding.
fn place(finding: &Finding<Leak>) -> (PathBuf, Option<u64>) {
    match &finding.at {
        Location::File { path, offset, .. } => (path.clone(), *offset),
        other => panic!("{other}"),
    }
}

/// All events as they are stored, as a dump.
async fn dump(bank: &Oubliette<SqliteStore>) -> String {
    let events: Vec<_> =
        bank.store().read_all(ReadAllOptions::default()).try_collect().await.unwrap();
    events
        .iter()
        .map(|event| {
            let data = event.data.as_ref().unwrap().as_json().unwrap().as_str().to_owned();
            format!("INSERT INTO event VALUES ('{}', '{data}');\n", event.stream)
        })
        .collect()
}

#[tokio::test]
async fn copies_dumps_and_logs_of_which_nothing_brings_anybody_back_are_clean() {
    let world = World::new().await;
    world.bank.vault().unwrap().flush().await.unwrap();
    copy(&world.at("data"), &world.at("paths/old"));
    world.write("dump.sql", dump(&world.bank).await);
    world.write("app.log", "user-1 has logged in\nturquoise and magenta\n");
    world.write("empty", "");
    let (report, found) = world.drill().await;
    assert_eq!(kinds(&found), [Leak::VaultCopy]);
    // Once in the dump, and in the copy as often as its database wrote them.
    assert!(report.live >= 10 && report.shredded == 0);
    world.forget("user-1").await;
    let (report, found) = world.drill().await;
    assert_eq!(kinds(&found), [Leak::VaultCopy], "{found:?}");
    assert!(report.is_clean());
    assert!(report.live >= 6 && report.shredded >= 4 && report.unknown == 0);
}

#[tokio::test]
async fn an_old_copy_gives_nothing_under_todays_slot_and_everything_with_the_old_slot_beside_it() {
    let world = World::new().await;
    world.bank.vault().unwrap().flush().await.unwrap();
    copy(&world.at("data"), &world.at("paths/old"));
    let slot = fs::read(world.at("slot")).unwrap();
    world.forget("user-1").await;
    assert!(world.drill().await.0.is_clean());

    let slot = world.write("elsewhere/forgotten.bin", slot);
    let (report, found) = world.drill().await;
    let of = |kind| found.iter().filter(move |finding| finding.kind == kind);
    assert_eq!(of(Leak::EarlierRoot).count(), 2);
    assert_eq!(of(Leak::DestroyedKey).count(), 2);
    for finding in of(Leak::DestroyedKey) {
        assert_eq!(place(finding).0, world.at("paths/old/vault"));
        assert!(finding.what.contains(&slot.display().to_string()), "{}", finding.what);
    }
    // And with the keys the events in the old copy open.
    assert!(of(Leak::TokenOpens).count() >= 2, "{found:?}");
    for finding in of(Leak::TokenOpens) {
        assert!(place(finding).0.starts_with(world.at("paths/old/events")));
        assert!(finding.what.contains("paths/old/vault"), "{}", finding.what);
    }
    assert!(!report.is_clean());
    assert_eq!(report.copies, 1);
}

#[tokio::test]
async fn the_pages_alone_are_a_copy_too() {
    let world = World::new().await;
    world.bank.vault().unwrap().flush().await.unwrap();
    copy(&world.at("data/vault/pages"), &world.at("paths/some.sled"));
    world.write("slot", fs::read(world.at("slot")).unwrap());
    world.forget("user-2").await;
    let (_, found) = world.drill().await;
    assert_eq!(found.iter().filter(|finding| finding.kind == Leak::DestroyedKey).count(), 2);
}

#[tokio::test]
async fn a_root_is_found_at_any_byte_of_any_file_and_told_for_what_it_is() {
    let world = World::new().await;
    let slot = fs::read(world.at("slot")).unwrap();
    let sector = &slot[..4096];
    // Around the seams of what is read at a time.
    for before in [0, 1, 4095, (1 << 20) - 1, (1 << 20) + 1, (1 << 20) + 4096, (2 << 20) + 7] {
        let path = world.write("image", [&vec![7; before][..], sector, b"after"].concat());
        let (report, found) = world.drill().await;
        assert_eq!(kinds(&found), [Leak::SlotCopy], "{before}");
        assert_eq!(place(&found[0]), (path, Some(before as u64)));
        assert_eq!((report.roots, report.is_clean()), (1, false));
    }
    world.forget("user-1").await;
    assert_eq!(kinds(&world.drill().await.1), [Leak::EarlierRoot]);

    let mut broken = sector.to_vec();
    broken[3000] ^= 1;
    world.write("image", &broken);
    assert_eq!(kinds(&world.drill().await.1), [Leak::BrokenRoot]);
    world.write("image", &sector[..200]);
    assert_eq!(kinds(&world.drill().await.1), [Leak::BrokenRoot]);
    world.write("image", &sector[..16]);
    assert_eq!(kinds(&world.drill().await.1), []);

    fs::remove_file(world.at("paths/image")).unwrap();
    let (report, found) = world.drill_at(vec![world.dir.path().to_owned()], &[]).await;
    assert_eq!(kinds(&found), [Leak::TodaysSlot, Leak::TodaysSlot, Leak::TodaysVault]);
    assert!(report.is_clean());
    let other = World::new().await;
    world.write("other", fs::read(other.at("slot")).unwrap());
    assert_eq!(kinds(&world.drill().await.1), [Leak::OtherRoot, Leak::OtherRoot]);
}

#[tokio::test]
async fn a_broken_root_opens_old_copies_as_well() {
    let world = World::new().await;
    world.bank.vault().unwrap().flush().await.unwrap();
    copy(&world.at("data/vault"), &world.at("paths/old"));
    let slot = fs::read(world.at("slot")).unwrap();
    world.forget("user-1").await;
    // As far as the root key: see the table of a sector.
    world.write("remnant", &slot[..136]);
    let (_, found) = world.drill().await;
    assert_eq!(
        kinds(&found),
        [Leak::BrokenRoot, Leak::DestroyedKey, Leak::DestroyedKey],
        "{found:?}"
    );
}

#[tokio::test]
async fn a_vault_that_was_put_back_is_found_out_by_the_newer_root() {
    let world = World::new().await;
    world.bank.vault().unwrap().flush().await.unwrap();
    let (old, slot) = (world.at("old"), fs::read(world.at("slot")).unwrap());
    copy(&world.at("data"), &old);
    world.forget("user-1").await;
    let newer = fs::read(world.at("slot")).unwrap();
    let World { dir, bank } = world;
    drop(bank);
    fs::write(dir.path().join("slot"), slot).unwrap();
    fs::remove_dir_all(dir.path().join("data")).unwrap();
    copy(&old, &dir.path().join("data"));
    let vault =
        Vault::open_as(&dir.path().join("data/vault"), &dir.path().join("slot"), OpenAs::TheOne);
    let vault = vault.unwrap();
    let store = SqliteStore::open(dir.path().join("data/events")).unwrap();
    let bank = Oubliette::open(store, vault, bank_policy()).await.unwrap();
    let world = World { dir, bank };
    world.write("newer", &newer[..4096]);
    assert_eq!(kinds(&world.drill().await.1), [Leak::NewerRoot]);
}

#[tokio::test]
async fn what_is_sealed_is_found_in_clear_however_it_is_spelled_and_packed() {
    let world = World::new().await;
    let log = r#"{"level":"info","user":"otto \"\u00d6ko\" normal","pin":48151623,"x":148151623}"#;
    for (name, text, at) in [
        ("a.log", log.to_owned(), 24),
        ("b.log", format!("{}{log}", "x".repeat(1 << 20)), (1 << 20) + 24),
    ] {
        let path = world.write("app.log", text);
        let (report, found) = world.drill().await;
        assert_eq!(kinds(&found), [Leak::ClearText, Leak::ClearText], "{name} {found:?}");
        assert_eq!(place(&found[0]), (path.clone(), Some(at)));
        assert_eq!(found[0].what, "a value that is sealed in /name of user-2, once");
        assert!(found[1].what.contains("/pin of bankaccount-2, once"), "{}", found[1].what);
        assert!(!report.is_clean());
    }
    fs::remove_file(world.at("paths/app.log")).unwrap();
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(log.as_bytes()).unwrap();
    world.write("app.log.gz", packed.finish().unwrap());
    let (_, found) = world.drill().await;
    assert_eq!(kinds(&found), [Leak::ClearText, Leak::ClearText]);
    assert_eq!(inside(&found[0]), "gzip at byte 0");
}

#[tokio::test]
async fn what_is_public_too_or_too_short_is_no_value_to_search_for() {
    let world = World::new().await;
    // `turquoise` is sealed in one event and public in another.
    world.write("app.log", "turquoise 12 bankaccount-1 user-2 AccountOpened");
    let (report, found) = world.drill().await;
    assert_eq!(kinds(&found), []);
    assert_eq!(report.public_values, 1);
    // Four of the people and accounts, and the pin.
    assert_eq!(report.values, 5);
}

#[tokio::test]
async fn values_of_the_forgotten_are_found_when_the_caller_names_them() {
    let world = World::new().await;
    world.forget("user-1").await;
    world.write("app.log", "once: Erika Musterfrau; twice: ERIKA MUSTERFRAU");
    assert_eq!(kinds(&world.drill().await.1), []);
    let paths = vec![world.at("paths")];
    let (_, found) = world.drill_at(paths, &["nobody here", "Erika Musterfrau"]).await;
    assert_eq!(kinds(&found), [Leak::ClearText]);
    assert_eq!(found[0].what, "value number 2 of those given, 2 times");
    // The file that they come from is no leak of its own.
    let list = world.write("needles.txt", "Erika Musterfrau\n");
    fs::remove_file(world.at("paths/app.log")).unwrap();
    let options = DrillOptions {
        paths: vec![world.at("paths")],
        needles: vec!["Erika Musterfrau".to_owned()],
        needles_file: Some(list),
        ..DrillOptions::default()
    };
    assert!(world.bank.drill(options, |_| {}).await.unwrap().is_clean());
}

#[tokio::test]
async fn long_values_of_a_database_are_found_across_its_pages() {
    let world = World::new().await;
    let path = world.at("paths/some.db");
    let db = rusqlite::Connection::open(&path).unwrap();
    // Over two overflow pages, with the value across their seam whichever it is.
    let text: String = (0..400).map(|i| format!("{i:07} Otto \"Öko\" Normal, ")).collect();
    let plain = text.matches("Otto").count();
    db.execute_batch("PRAGMA page_size = 512; CREATE TABLE \"t\"\"x\" (a, b TEXT)").unwrap();
    db.execute("INSERT INTO \"t\"\"x\" VALUES (1, ?1)", [&text]).unwrap();
    drop(db);
    let (_, found) = world.drill().await;
    assert_eq!(kinds(&found), [Leak::ClearText]);
    let bytes = fs::read(&path).unwrap();
    let needle = "Otto \"Öko\" Normal".as_bytes();
    let raw = bytes.windows(needle.len()).filter(|window| *window == needle).count();
    assert!(raw < plain, "all of them lie in one piece");

    // One that lies in no piece at all.
    let value = "Otto \"Öko\" Normal";
    for before in (0..1100).step_by(9) {
        fs::remove_file(&path).unwrap();
        let db = rusqlite::Connection::open(&path).unwrap();
        db.execute_batch("PRAGMA synchronous = OFF; PRAGMA page_size = 512").unwrap();
        db.execute_batch("CREATE TABLE t (b TEXT)").unwrap();
        let text = format!("{}{value}{}", "-".repeat(before), "-".repeat(3000));
        db.execute("INSERT INTO t VALUES (?1)", [&text]).unwrap();
        drop(db);
        let bytes = fs::read(&path).unwrap();
        if !bytes.windows(needle.len()).any(|window| window == needle) {
            let (_, found) = world.drill().await;
            assert_eq!(kinds(&found), [Leak::ClearText]);
            assert_eq!(inside(&found[0]), "a long value");
            return;
        }
    }
    panic!("no value lay across a seam");
}

#[tokio::test]
async fn a_payload_that_is_no_json_is_found_sealed_and_in_clear() {
    let world = World::new().await;
    let bytes = Payload::Bytes(b"<customer>Erika Musterfrau, again</customer>"[..].into());
    let xml = NewEvent::new(EventType::new("Scanned").unwrap(), bytes).with_id(EventId::random());
    let to = stream("user-3");
    let append = world.bank.append_to(&to, ExpectedRevision::Any, vec![xml]);
    append.await.unwrap();
    world.bank.vault().unwrap().flush().await.unwrap();
    copy(&world.at("data"), &world.at("paths/old"));
    let (report, _) = world.drill().await;
    let before = report.live;
    assert!(before >= 6);
    world.write("scan.xml", "<customer>Erika Musterfrau, again</customer>");
    let slot = fs::read(world.at("slot")).unwrap();
    let (_, found) = world.drill().await;
    assert!(kinds(&found).contains(&Leak::ClearText));
    world.write("slot", slot);
    world.forget("user-3").await;
    let (_, found) = world.drill().await;
    assert!(kinds(&found).contains(&Leak::TokenOpens));
}

#[tokio::test]
async fn what_cannot_be_looked_into_is_said() {
    let world = World::new().await;
    world.write("backup.age", "age-encryption.org/v1\n-> X25519 …");
    let (report, found) = world.drill().await;
    assert_eq!((kinds(&found), report.is_clean()), (vec![Leak::Encrypted], false));
    world.write("dump.zst", b"\x28\xb5\x2f\xfd....");
    world.write("cut.gz", b"\x1f\x8b\x08.........");
    world.write("db", b"SQLite format 3\0 and nothing of the kind");
    let (report, found) = world.drill().await;
    let told = kinds(&found);
    assert_eq!(told.iter().filter(|kind| **kind == Leak::NotLookedInto).count(), 3, "{found:?}");
    assert!(!report.is_clean());
    let (_, found) = world.drill_at(vec![world.at("nowhere")], &[]).await;
    assert_eq!(kinds(&found), [Leak::Unreadable]);
}

#[cfg(unix)]
#[tokio::test]
async fn links_are_not_followed_and_those_that_lead_out_are_told() {
    let world = World::new().await;
    let outside = world.at("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("slot"), fs::read(world.at("slot")).unwrap()).unwrap();
    std::os::unix::fs::symlink(&outside, world.at("paths/folder")).unwrap();
    std::os::unix::fs::symlink(outside.join("slot"), world.at("paths/file")).unwrap();
    std::os::unix::fs::symlink(world.at("paths"), world.at("paths/round")).unwrap();
    let pipe = std::os::unix::net::UnixListener::bind(world.at("paths/socket")).unwrap();
    let (report, found) = world.drill().await;
    // The links out of what was given, and neither the one that leads back nor the socket.
    let out = vec![Leak::NotLookedInto; 2];
    assert_eq!((kinds(&found), report.passed_over, report.files), (out, 2, 0));
    drop(pipe);
}

#[tokio::test]
async fn other_vaults_and_broken_copies_are_told_for_what_they_are() {
    let world = World::new().await;
    let other = World::new().await;
    other.bank.vault().unwrap().flush().await.unwrap();
    copy(&other.at("data/vault"), &world.at("paths/other"));
    let (report, found) = world.drill().await;
    assert_eq!((kinds(&found), report.is_clean()), (vec![Leak::OtherVault], true));
    copy(&world.at("data/vault"), &world.at("paths/broken"));
    fs::remove_dir_all(world.at("paths/broken/pages")).unwrap();
    fs::remove_dir_all(world.at("paths/other")).unwrap();
    assert_eq!(kinds(&world.drill().await.1), [Leak::BrokenCopy]);
    fs::write(world.at("paths/broken/vault.json"), "{").unwrap();
    assert_eq!(kinds(&world.drill().await.1), [Leak::BrokenCopy]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_shrinks_and_grows_while_it_is_read_is_no_error() {
    let world = World::new().await;
    let path = world.write("app.log", vec![b'x'; 8 << 20]);
    let turning = std::thread::spawn(move || {
        for turn in 0..60 {
            let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
            file.set_len(if turn % 2 == 0 { 1000 } else { 9 << 20 }).unwrap();
        }
    });
    let mut drills = 0;
    while !turning.is_finished() || drills == 0 {
        assert_eq!(kinds(&world.drill().await.1), []);
        drills += 1;
    }
    turning.join().unwrap();
}
