//! Real sled and a real slot file.

use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{
    super::{Erasure, folder::lock_to_read},
    all, range, set, unset,
};
use crate::vault::{
    OpenVaultError, PageStoreKind, SlotError, VaultError,
    root::{SECTOR_BYTES, SECTORS_APART},
    tests::folder::copy_folder,
    tree::Tree,
};

struct Places {
    _temporary: tempfile::TempDir,
    folder: PathBuf,
    root: PathBuf,
}

fn places() -> Places {
    let temporary = tempfile::tempdir().unwrap();
    let (folder, root) = (temporary.path().join("vault"), temporary.path().join("state/root"));
    fs::create_dir(temporary.path().join("state")).unwrap();
    Places { _temporary: temporary, folder, root }
}

impl Places {
    fn create(&self) -> Tree {
        Tree::create_at(&self.folder, &self.root, PageStoreKind::Sled).unwrap()
    }

    fn open(&self) -> Result<Tree, OpenVaultError> {
        Tree::open_at(&self.folder, &self.root)
    }
}

#[test]
fn a_vault_on_disk_is_reopened() {
    let places = places();
    let tree = places.create();
    let (id, identity) = (tree.vault_id(), tree.identity().clone());
    let many = |fill: u8| (0..3000u32).map(|i| set(i.to_be_bytes(), [fill; 60])).collect();
    tree.put(many(1)).unwrap();
    tree.erase(vec![unset(7u32.to_be_bytes())]).unwrap();
    drop(tree);
    let tree = places.open().unwrap();
    assert_eq!(tree.vault_id(), id);
    assert!(*tree.identity() == identity);
    assert_eq!(all(&tree).len(), 2999);
    assert!(tree.get(&7u32.to_be_bytes()).unwrap().is_none());
    let slot = fs::metadata(&places.root).unwrap();
    let length = (SECTORS_APART + SECTOR_BYTES) as u64;
    assert_eq!((slot.len(), slot.permissions().mode() & 0o777), (length, 0o600));
}

#[test]
fn a_second_holder_is_told_who_the_first_is() {
    let places = places();
    let tree = places.create();
    assert!(matches!(places.open(), Err(OpenVaultError::InUse(id)) if id == std::process::id()));
    drop(tree);
    places.open().unwrap();
}

#[test]
fn nobody_is_named_where_readers_hold_the_folder() {
    let places = places();
    drop(places.create());
    // As it is left by a process that ended long ago.
    fs::write(places.folder.join("lock"), "4711").unwrap();
    let reader = lock_to_read(&places.folder).unwrap();
    assert!(matches!(places.open(), Err(OpenVaultError::InUse(0))));
    drop(reader);
    places.open().unwrap();
}

#[test]
fn nothing_is_made_where_something_is() {
    let places = places();
    drop(places.create());
    let elsewhere = places.root.with_file_name("other");
    let again = Tree::create_at(&places.folder, &elsewhere, PageStoreKind::Sled);
    assert!(matches!(again, Err(OpenVaultError::NotEmpty(_))));
    assert!(!elsewhere.exists());
    let other = places.folder.with_file_name("other");
    assert!(matches!(
        Tree::create_at(&other, &places.root, PageStoreKind::Sled),
        Err(OpenVaultError::Slot(SlotError::NotEmpty(_)))
    ));
    assert!(matches!(Tree::open_at(&other, &places.root), Err(OpenVaultError::NotFound(_))));
    // The attempt left nothing in the way of the next one.
    drop(Tree::create_at(&other, &elsewhere, PageStoreKind::Sled).unwrap());
    places.open().unwrap();
}

#[test]
fn what_is_no_vault_is_told_apart() {
    let places = places();
    assert!(matches!(places.open(), Err(OpenVaultError::NotFound(_))));
    fs::create_dir_all(&places.folder).unwrap();
    assert!(matches!(places.open(), Err(OpenVaultError::NotFound(_))));
    fs::write(places.folder.join("letter.txt"), "Dear").unwrap();
    assert!(matches!(places.open(), Err(OpenVaultError::NotAVault(_))));
    // None of these attempts left anything behind.
    assert_eq!(fs::read_dir(&places.folder).unwrap().count(), 1);

    let header = places.folder.join("vault.json");
    fs::write(&header, r#"{"kind": "other", "format": 1, "vault": null}"#).unwrap();
    assert!(matches!(places.open(), Err(OpenVaultError::NotAVault(_))));
    fs::write(&header, r#"{"kind": "oubliette vault", "format": 9, "vault": null}"#).unwrap();
    assert!(matches!(
        places.open(),
        Err(OpenVaultError::Vault(VaultError::NewerFormat { found: 9, known: 1, .. }))
    ));
    let newer = r#"{"kind": "oubliette vault", "format": 2, "holds": ["x"]}"#;
    fs::write(&header, newer).unwrap();
    let refused = places.open().unwrap_err();
    assert!(refused.to_string().contains("written by a newer program"), "{refused}");
    fs::write(&header, "{").unwrap();
    assert!(matches!(places.open(), Err(OpenVaultError::Vault(VaultError::Damaged(_)))));
}

/// A restoration empties a folder whose header names no vault. One that lost that member is none of these.
#[test]
fn a_header_has_the_members_of_its_version_and_no_others() {
    let places = places();
    drop(places.create());
    let header = places.folder.join("vault.json");
    let whole = fs::read_to_string(&header).unwrap();
    let members: serde_json::Map<_, _> = serde_json::from_str(&whole).unwrap();
    let refused = |members: &serde_json::Map<String, serde_json::Value>| {
        fs::write(&header, serde_json::to_vec(members).unwrap()).unwrap();
        #[cfg(feature = "backup")]
        assert!(!super::super::is_free(&places.folder).unwrap());
        matches!(places.open(), Err(OpenVaultError::Vault(VaultError::Damaged(_))))
    };
    for name in members.keys() {
        let mut less = members.clone();
        less.remove(name);
        assert!(refused(&less), "without {name}");
    }
    let mut other = members.clone();
    other.insert("more".to_owned(), true.into());
    assert!(refused(&other));
    let mut other = members;
    other.insert("format".to_owned(), 0.into());
    assert!(refused(&other));
    fs::write(&header, whole).unwrap();
    places.open().unwrap();
}

#[test]
fn a_slot_that_is_missing_foreign_open_to_others_or_cut_off_is_refused() {
    let places = places();
    drop(places.create());
    let aside = places.root.with_file_name("aside");
    fs::rename(&places.root, &aside).unwrap();
    assert!(matches!(places.open(), Err(OpenVaultError::Slot(SlotError::Missing(_)))));
    assert!(!places.root.exists(), "opening must not make a slot");

    let other = self::places();
    drop(other.create());
    fs::copy(&other.root, &places.root).unwrap();
    assert!(matches!(places.open(), Err(OpenVaultError::Slot(SlotError::OfAnotherVault { .. }))));
    fs::copy(&aside, &places.root).unwrap();

    fs::set_permissions(&places.root, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(
        places.open(),
        Err(OpenVaultError::Slot(SlotError::Permissions { mode: 0o640, .. }))
    ));
    fs::set_permissions(&places.root, fs::Permissions::from_mode(0o600)).unwrap();

    // One sector is enough; less is not.
    let cut =
        |length| fs::OpenOptions::new().write(true).open(&places.root).unwrap().set_len(length);
    cut(4100).unwrap();
    drop(places.open().unwrap());
    let slot = fs::read(&places.root).unwrap();
    assert_eq!(slot[..SECTOR_BYTES], slot[SECTORS_APART..]);
    assert_eq!(slot[..152], fs::read(&aside).unwrap()[..152]);
    cut(4000).unwrap();
    assert!(matches!(places.open(), Err(OpenVaultError::Slot(SlotError::Damaged(_)))));
}

#[test]
fn a_copy_of_the_folder_taken_before_does_not_open_under_todays_slot() {
    let places = places();
    let tree = places.create();
    tree.put(vec![set(b"a", b"secret"), set(b"b", b"other")]).unwrap();
    drop(tree);
    let copy = places.folder.with_file_name("copy");
    copy_folder(&places.folder, &copy);
    let tree = places.open().unwrap();
    tree.erase(vec![unset(b"a")]).unwrap();
    drop(tree);
    let opened = Tree::open_at(&copy, &places.root);
    assert!(matches!(opened, Err(OpenVaultError::RolledBack { epoch: 1 })));
    // And the present one still does.
    assert_eq!(all(&places.open().unwrap()).len(), 1);
}

/// Names the folder that the child process works in.
const WORK: &str = "OUBLIETTE_KILL_WORK";

/// How often the loop kills; some hundred rounds for a night.
const ROUNDS: &str = "OUBLIETTE_KILL_ROUNDS";

/// The child: puts, erases, and says after each what is done. Not a test of its own.
#[test]
fn worker_that_is_killed() {
    let Ok(work) = env::var(WORK) else { return };
    let work = Path::new(&work);
    let tree = Tree::open_at(&work.join("vault"), &work.join("root")).unwrap();
    let mut told = fs::OpenOptions::new().append(true).open(work.join("told")).unwrap();
    let mut round = tree.get(b"round").unwrap().map_or(0, |v| number(&v));
    loop {
        round += 1;
        let person = (round % 16) as u8;
        let mut entries: Vec<_> =
            (0..40u8).map(|i| set([b'p', person, i], round.to_be_bytes())).collect();
        entries.push(set(b"round", round.to_be_bytes()));
        tree.put(entries).unwrap();
        told.write_all(format!("put {round}\n").as_bytes()).unwrap();
        if round.is_multiple_of(3) {
            let remove_ranges = vec![range([b'p', person], [b'p', person + 1])];
            let changes = vec![set([b'f', person], round.to_be_bytes())];
            tree.erase_all(Erasure { remove_ranges, changes }).unwrap();
            told.write_all(format!("erased {round}\n").as_bytes()).unwrap();
        }
    }
}

fn number(value: &[u8]) -> u64 {
    u64::from_be_bytes(value.try_into().unwrap())
}

#[test]
fn what_was_acknowledged_survives_kill_9_with_sled() {
    survives_kill_9(PageStoreKind::Sled);
}

#[test]
#[cfg(feature = "sqlite")]
fn what_was_acknowledged_survives_kill_9_with_sqlite() {
    survives_kill_9(PageStoreKind::Sqlite);
}

/// How long a worker may take until it tells of something.
const PATIENCE: Duration = Duration::from_secs(60);

/// Kills a worker: every fourth at any moment, also while it opens, the others once they told of
/// something.
fn kill_one(work: &Path, round: u64) {
    let told = || fs::metadata(work.join("told")).unwrap().len();
    let (before, began) = (told(), Instant::now());
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["worker_that_is_killed", "--nocapture", "--test-threads=1"])
        .env(WORK, work)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let waits = !round.is_multiple_of(4);
    while waits
        && told() <= before
        && began.elapsed() < PATIENCE
        && child.try_wait().unwrap().is_none()
    {
        thread::sleep(Duration::from_millis(1));
    }
    let at_work = !waits || told() > before;
    thread::sleep(Duration::from_millis(37 * (round % 11)));
    child.kill().unwrap();
    let done = child.wait_with_output().unwrap();
    let why = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.code().is_none(), "the worker ended by itself: {why}");
    assert!(at_work, "the worker never got to work: {why}");
}

fn survives_kill_9(pages: PageStoreKind) {
    let rounds = env::var(ROUNDS).map_or(8, |rounds| rounds.parse().unwrap());
    let temporary = tempfile::tempdir().unwrap();
    let work = temporary.path();
    drop(Tree::create_at(&work.join("vault"), &work.join("root"), pages).unwrap());
    fs::write(work.join("told"), "").unwrap();
    let mut before = 0;
    for round in 0..rounds {
        kill_one(work, round);

        // What the child said is done, in order.
        let file = fs::File::open(work.join("told")).unwrap();
        let (mut put, mut erased) = ([0u64; 16], [0u64; 16]);
        let mut last = 0;
        for line in BufReader::new(file).lines() {
            let line = line.unwrap();
            let (word, round) = line.split_once(' ').unwrap();
            last = round.parse::<u64>().unwrap();
            let of = if word == "put" { &mut put } else { &mut erased };
            of[(last % 16) as usize] = last;
        }
        let tree = Tree::open_at(&work.join("vault"), &work.join("root")).unwrap();
        // One operation of each child may be done without having been told.
        let reached = tree.get(b"round").unwrap().map_or(0, |v| number(&v));
        assert!(last <= reached && reached <= last.max(before) + 1, "{last}, found {reached}");
        before = reached;
        for person in 0..16u8 {
            let (put, erased) = (put[person as usize], erased[person as usize]);
            let fence = tree.get(&[b'f', person]).unwrap().map_or(0, |v| number(&v));
            assert!(erased <= fence, "the fence of {erased} is lost");
            let found = tree.range(&[b'p', person], &[b'p', person + 1], 100).unwrap();
            match found.first().map(|(_, value)| number(value)) {
                Some(round) => {
                    assert!(round > fence, "{round} came back after its erasure");
                    assert!(round >= put, "{round} instead of {put}");
                    assert!(found.len() == 40, "half of a change");
                    assert!(found.iter().all(|(_, value)| number(value) == round));
                }
                None => assert!(fence >= put, "{put} is lost"),
            }
        }
    }
}
