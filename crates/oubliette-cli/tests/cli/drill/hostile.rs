//! Files made by somebody who wants the process that searches them, which holds the vault, to do
//! something for them.

use std::{collections::BTreeMap, io::Read};

use proptest::prelude::*;

use super::packed::{base64, gzip, hexed, tar, zip};
use super::*;

/// All files of a world, with what they hold; but for its own store and vault, which are open and
/// are read for the values.
fn everything(world: &World) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = snapshot(world.dir.path());
    all.retain(|path, _| !path.starts_with(world.at("data")));
    assert!(all.contains_key(&world.at("slot")));
    all
}

fn snapshot(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            all.extend(snapshot(&entry.path()));
        } else {
            all.insert(entry.path(), fs::read(entry.path()).unwrap());
        }
    }
    all
}

/// A journal that says that it belongs to a transaction over several databases, which this file
/// leads: whoever plays it back removes that file.
fn journal_that_names(file: &Path) -> Vec<u8> {
    let name = file.to_str().unwrap().as_bytes();
    let mut journal = b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7".to_vec();
    for number in [0_u32, 7, 2, 512, 4096] {
        journal.extend(number.to_be_bytes());
    }
    journal.resize(512, 0);
    let sum = name.iter().fold(0_u32, |sum, byte| sum.wrapping_add(u32::from(*byte)));
    journal.extend(((1 << 30) / 4096_u32 + 1).to_be_bytes());
    journal.extend(name);
    journal.extend((name.len() as u32).to_be_bytes());
    journal.extend(sum.to_be_bytes());
    journal.extend(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7");
    journal
}

fn database(path: &Path) {
    let db = rusqlite::Connection::open(path).unwrap();
    db.execute_batch("CREATE TABLE t (b TEXT); INSERT INTO t VALUES ('something')").unwrap();
}

#[tokio::test]
async fn a_journal_beside_a_database_does_not_have_the_slot_deleted() {
    let world = World::new().await;
    database(&world.at("paths/some.db"));
    world.write("some.db-journal", journal_that_names(&world.at("slot")));
    // The test of the test: SQLite itself does it, to a copy of the slot.
    let victim = world.at("victim");
    fs::copy(world.at("slot"), &victim).unwrap();
    database(&world.at("other.db"));
    fs::write(world.at("other.db-journal"), journal_that_names(&victim)).unwrap();
    let db = rusqlite::Connection::open(world.at("other.db")).unwrap();
    db.query_row("SELECT count(*) FROM t", [], |_| Ok(())).unwrap();
    drop(db);
    assert!(!victim.exists(), "the journal is not the weapon that this test needs");

    let before = everything(&world);
    world.drill().await;
    assert!(everything(&world) == before, "something was written or removed");
}

#[tokio::test]
async fn names_in_archives_are_no_paths() {
    let world = World::new().await;
    let slot = world.at("slot");
    let text = b"Otto \"\xc3\x96ko\" Normal";
    for name in ["../../canary", slot.to_str().unwrap(), "a/../../b", "C:\\x", "\u{1b}[2J\n"] {
        world.write("some.tar", tar(&[(name, text)]));
        world.write("some.zip", zip(&[(name, text)]));
        world.write("some.tar.gz", gzip(&tar(&[(name, text)])));
        let before = everything(&world);
        let (_, found) = world.drill().await;
        assert_eq!(kinds(&found), [Leak::ClearText; 3], "{found:?}");
        assert!(everything(&world) == before, "something was written or removed");
        assert!(!format!("{}", found[0].at).contains('\u{1b}'));
    }
}

#[tokio::test]
async fn what_unpacks_to_more_than_it_may_ends_and_is_told() {
    let world = World::new().await;
    let zeros = gzip(&vec![0; 24 << 20]);
    let many = zip(&[("a", &zeros), ("b", &zeros), ("c", &zeros)]);
    let mut deep = gzip(b"nothing");
    for _ in 0..20 {
        deep = gzip(&deep);
    }
    for (name, bomb) in [("wide.zip", many), ("deep.gz", deep)] {
        let path = world.write(name, bomb);
        let options = DrillOptions {
            paths: vec![world.at("paths")],
            unpack: Some(2),
            ..DrillOptions::default()
        };
        let report = world.bank.drill(options, |_| {}).await.unwrap();
        assert!(report.unpacked <= 2 << 20, "{name}: {report:?}");
        assert!(report.found.contains_key(&Leak::NotLookedInto), "{name}: {report:?}");
        fs::remove_file(path).unwrap();
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_pipe_that_nobody_writes_to_is_not_waited_for() {
    let world = World::new().await;
    let pipe = world.at("paths/pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let (report, found) = world.drill().await;
    assert_eq!((kinds(&found), report.passed_over), (vec![], 1));
    let (report, _) = world.drill_at(vec![pipe], &[]).await;
    assert_eq!((report.passed_over, report.files), (1, 0));
    let (_, found) = world.drill_at(vec!["/dev/zero".into()], &[]).await;
    assert_eq!(kinds(&found), [Leak::NotLookedInto]);
}

/// The process that opens a copy reaches nothing but the copy.
#[cfg(target_os = "linux")]
#[allow(clippy::print_stderr)] // to skip loudly
#[tokio::test]
async fn the_reader_of_copies_has_no_rights_outside_of_its_folder() {
    let world = World::new().await;
    world.bank.vault().unwrap().flush().await.unwrap();
    copy(&world.at("data/vault/pages"), &world.at("copy"));
    copy(&world.at("copy"), &world.at("elsewhere"));
    let open = |folder: &str| {
        let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_oubliette"))
            .arg(oubliette::audit::drill::READER)
            .arg(world.at(folder))
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let mut said = Vec::new();
        child.stdout.take().unwrap().read_to_end(&mut said).unwrap();
        child.wait().unwrap();
        said
    };
    let said = open("copy");
    if said.first() == Some(&0) {
        assert_eq!(said, [0], "what is not confined opens nothing");
        assert!(!has_landlock(), "this system has Landlock, and the reader did not use it");
        eprintln!("SKIPPED: this system has no Landlock");
        return;
    }
    assert_eq!(said, [1, 1]);
    // The same, where a file is a link out of the folder. Of this one only sled knows.
    fs::remove_file(world.at("copy/conf")).unwrap();
    std::os::unix::fs::symlink(world.at("elsewhere/conf"), world.at("copy/conf")).unwrap();
    let said = open("copy");
    assert_eq!(said[..2], [1, 0]);
    let why = String::from_utf8_lossy(&said[2..]).into_owned();
    assert!(why.contains("denied") || why.contains("Permission"), "{why}");
}

/// Whether this system can confine a thread, asked past our own code.
#[cfg(target_os = "linux")]
fn has_landlock() -> bool {
    use landlock::{AccessFs, Ruleset, RulesetAttr, RulesetError, RulesetStatus};
    let confine = || -> Result<RulesetStatus, RulesetError> {
        let rules = Ruleset::default().handle_access(AccessFs::MakeBlock)?.create()?;
        Ok(rules.restrict_self()?.ruleset)
    };
    let confined = std::thread::spawn(confine).join().unwrap();
    confined.is_ok_and(|status| status != RulesetStatus::NotEnforced)
}

#[tokio::test]
async fn a_copy_that_nobody_may_open_is_told_as_not_looked_into() {
    let world = World::new().await;
    world.bank.vault().unwrap().flush().await.unwrap();
    copy(&world.at("data/vault"), &world.at("paths/old"));
    let mut found = Vec::new();
    let options = DrillOptions { paths: vec![world.at("paths")], ..DrillOptions::default() };
    let take = |news| {
        if let DrillProgress::Found(finding) = news {
            found.push(finding);
        }
    };
    let report = world.bank.drill(options, take).await.unwrap();
    assert_eq!((kinds(&found), report.is_clean()), (vec![Leak::NotLookedInto], false));
}

/// Whatever happens to a copy or an archive, the drill neither panics nor fails nor writes outside
/// of its temporary files: it says what it can.
#[test]
fn hostile_copies_and_files_never_end_a_drill() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let world = runtime.block_on(async {
        let world = World::new().await;
        world.bank.vault().unwrap().flush().await.unwrap();
        copy(&world.at("data"), &world.at("whole"));
        let noise: Vec<u8> = (0..9000_u32).map(|i| (i * i % 251) as u8).collect();
        let members = [
            ("a", &noise[..]),
            ("b/../../c", b"Erika"),
            ("x-journal", &journal_that_names(&world.at("slot"))),
        ];
        database(&world.at("whole/some.db"));
        let db = fs::read(world.at("whole/some.db")).unwrap();
        for (name, content) in [
            ("some.tar", tar(&members)),
            ("some.zip", zip(&members)),
            ("some.tar.gz", gzip(&[tar(&members), gzip(&db)].concat())),
            ("some.txt", [base64(&gzip(&db)), hexed(&zip(&members))].join("\n").into_bytes()),
            ("some.db-journal", journal_that_names(&world.at("slot"))),
            ("wide.txt", "J\u{fc}rgen".encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ] {
            fs::write(world.at("whole").join(name), content).unwrap();
        }
        world
    });
    let files = [
        "vault/pages/db",
        "vault/pages/conf",
        "vault/vault.json",
        "events/events.db",
        "some.tar",
        "some.zip",
        "some.tar.gz",
        "some.txt",
        "some.db",
        "some.db-journal",
        "wide.txt",
    ];
    let config =
        ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() };
    let damage = (0..files.len(), any::<prop::sample::Index>(), any::<u8>(), any::<bool>());
    let noise = prop::collection::vec(any::<u8>(), 0..5000);
    proptest!(config, |(damages in prop::collection::vec(damage, 1..4), noise in noise)| {
        let _ = fs::remove_dir_all(world.at("paths"));
        copy(&world.at("whole"), &world.at("paths"));
        for (file, at, with, cut) in damages {
            let path = world.at("paths").join(files[file]);
            let mut bytes = fs::read(&path).unwrap();
            if bytes.is_empty() {
                continue;
            }
            let at = at.index(bytes.len());
            if cut {
                bytes.truncate(at);
            } else {
                bytes[at] ^= with | 1;
            }
            fs::write(&path, bytes).unwrap();
        }
        fs::write(world.at("paths/noise"), &noise).unwrap();
        fs::write(world.at("paths/noise.root"), [b"OUBLIETTE ROOT\r\n", &noise[..]].concat()).unwrap();
        fs::write(world.at("paths/noise.gz"), [b"\x1f\x8b\x08", &noise[..]].concat()).unwrap();
        fs::write(world.at("paths/noise.db"), [b"SQLite format 3\0", &noise[..]].concat()).unwrap();
        fs::write(world.at("paths/beginnings"), b"AQEA".repeat(3000)).unwrap();
        let before = everything(&world);
        runtime.block_on(world.drill());
        assert!(everything(&world) == before, "something was written or removed");
    });
}
