//! A vault in a folder: what was acknowledged is there after any end.

use std::{
    collections::HashSet,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
};

use super::*;
use crate::{event::EventId, vault::MemoKind};

fn places(of: &Path) -> (std::path::PathBuf, std::path::PathBuf) {
    (of.join("vault"), of.join("root"))
}

#[tokio::test]
async fn a_vault_in_a_folder_opens_again_with_everything() {
    let temp = tempfile::tempdir().unwrap();
    let (folder, root) = places(temp.path());
    let vault = Vault::create(&folder, &root).unwrap();
    let id = vault.id();
    let kept = key(&vault, "user-1", "user-1").await.unwrap();
    let gone = key(&vault, "user-2", "user-2").await.unwrap();
    let pseudonym = vault.pseudonym(&subject("user-2"));
    let erasure = forget(&vault, "user-2").await;
    vault.put_memo(MemoKind::Journal, [1; 16], &[7; 40_000]).await.unwrap();
    let change = crate::event::OwnerChange::Add(subject("user-1"));
    claims::owned(&vault, "account-1", change, true).await.unwrap();
    // The last handle is gone, so the folder is free at once.
    drop(vault);

    assert!(matches!(Vault::create(&folder, &root), Err(OpenVaultError::NotEmpty(_))));
    let vault = Vault::open(&folder, &root).unwrap();
    assert_eq!(vault.id(), id);
    assert_eq!(vault.pseudonym(&subject("user-2")), pseudonym);
    assert_eq!(live(vault.opening_key(kept.id())).secret(), kept.secret());
    assert_eq!(key(&vault, "user-1", "user-1").await.unwrap().id(), kept.id());
    assert_eq!(vault.keys_of(&subject("user-1")).unwrap()[0].sealed_at_most, 2 + 3);
    assert_eq!(shredded(vault.opening_key(gone.id())), erasure);
    assert_eq!(vault.memos(MemoKind::Journal).unwrap()[0].1.len(), 40_000);
    let tenures = vault.subject_state(&subject("account-1")).unwrap().tenures;
    assert_eq!(tenures[0].owners[0].unsettled, None, "a clean end writes settlements");
    assert_eq!(vault.dependents(&subject("user-1")).unwrap(), [subject("account-1")]);
}

#[test]
fn a_vault_that_is_not_there_is_not_made() {
    let temp = tempfile::tempdir().unwrap();
    let (folder, root) = places(temp.path());
    assert!(matches!(Vault::open(&folder, &root), Err(OpenVaultError::NotFound(_))));
    assert!(!folder.exists() && !root.exists());
}

pub(in crate::vault) fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Each would overwrite the other's root, and all keys of one of them would be lost.
#[tokio::test]
async fn a_copy_of_the_folder_does_not_open_beside_it_over_the_same_root() {
    let temp = tempfile::tempdir().unwrap();
    let (folder, root) = places(temp.path());
    let copy = temp.path().join("copy");
    let vault = Vault::create(&folder, &root).unwrap();
    let kept = key(&vault, "user-1", "user-1").await.unwrap();
    key(&vault, "user-2", "user-2").await.unwrap();
    vault.flush().await.unwrap();
    copy_folder(&folder, &copy);
    let second = Vault::open(&copy, &root);
    forget(&vault, "user-2").await;
    match second {
        Err(error) => assert!(matches!(error, OpenVaultError::InUse(0)), "{error}"),
        // What would follow.
        Ok(second) => drop(forget(&second, "user-3").await),
    }
    drop(vault);
    let vault = Vault::open(&folder, &root).unwrap();
    live(vault.opening_key(kept.id()));
}

const CHILD: &str = "OUBLIETTE_TEST_VAULT_OF_CHILD";

/// How many at once make keys, forget and reopen.
const WORKERS: usize = 3;

/// Not a test of its own: what [`what_was_acknowledged_survives_a_kill`] runs and kills. It says
/// what is acknowledged, line by line: of a person before their first forgetting as `NAME#0`, of
/// the same one reopened as `NAME#1`.
#[test]
#[ignore = "is run by another test, as a process of its own"]
fn child() {
    let Some(at) = std::env::var_os(CHILD) else { return };
    let (folder, root) = places(Path::new(&at));
    let vault = Vault::open(&folder, &root).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let run = EventId::random();
    let workers = (0..WORKERS).map(|worker| go_on(&vault, format!("user-{run}-{worker}")));
    runtime.block_on(futures::future::join_all(workers));
}

/// Makes keys for one person after the other. Of three, one is forgotten, and comes back.
async fn go_on(vault: &Vault, prefix: String) {
    let say = |words: String| writeln!(std::io::stderr(), "{words}").unwrap();
    let make = |whose: String, era: u32, keys: usize| async move {
        let all = (0..keys).map(|of| {
            let whose = &whose;
            async move { key(vault, &format!("stream-{of}"), whose).await.unwrap().id() }
        });
        for id in futures::future::join_all(all).await {
            say(format!("made {whose}#{era} {}", hex(id)));
        }
    };
    for n in 0.. {
        make(format!("{prefix}-{n}"), 0, 5).await;
        if n % 3 == 2 {
            let whose = format!("{prefix}-{}", n - 2);
            say(format!("forgetting {whose}#0 -"));
            forget(vault, &whose).await;
            say(format!("forgot {whose}#0 -"));
            vault.reopen(&subject(&whose)).await.unwrap().unwrap();
            make(whose.clone(), 1, 2).await;
            if n % 2 == 0 {
                say(format!("forgetting {whose}#1 -"));
                forget(vault, &whose).await;
                say(format!("forgot {whose}#1 -"));
            }
        }
    }
}

fn hex(id: KeyId) -> String {
    id.0.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> KeyId {
    let byte = |at: usize| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap();
    KeyId(std::array::from_fn(byte))
}

/// `OUBLIETTE_KILL_ROUNDS` asks for more rounds than the default.
#[test]
fn what_was_acknowledged_survives_a_kill() {
    let temp = tempfile::tempdir().unwrap();
    let (folder, root) = places(temp.path());
    drop(Vault::create(&folder, &root).unwrap());
    let mut made: Vec<(String, KeyId)> = Vec::new();
    let (mut forgotten, mut forgetting) = (HashSet::new(), HashSet::new());
    let mut chance = Chance(u64::from(std::process::id()));
    let rounds = long_runs("OUBLIETTE_KILL_ROUNDS", 6);
    for round in 0.. {
        // However long the machine lets a child live, in the end there was something to lose.
        if round >= rounds && made.len() > 60 && forgotten.len() > 3 {
            break;
        }
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "vault::tests::folder::child", "--ignored", "--nocapture"])
            .env(CHILD, temp.path())
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        // After so many lines, and a moment, it is killed, wherever it then is.
        let last = chance.below(120) as usize;
        for (seen, line) in lines.map_while(Result::ok).enumerate() {
            let words: Vec<&str> = line.split(' ').collect();
            match words.as_slice() {
                ["made", whose, id] => made.push(((*whose).to_string(), unhex(id))),
                ["forgetting", whose, _] => _ = forgetting.insert((*whose).to_string()),
                ["forgot", whose, _] => _ = forgotten.insert((*whose).to_string()),
                other => panic!("the child says {other:?}"),
            }
            if seen == last {
                std::thread::sleep(std::time::Duration::from_micros(chance.below(4000)));
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        let vault = Vault::open(&folder, &root).unwrap();
        for (whose, id) in &made {
            let state = vault.opening_key(*id).unwrap();
            if forgotten.contains(whose) {
                assert!(matches!(state, KeyLookup::Shredded { .. }), "{whose} came back");
            } else if !forgetting.contains(whose) {
                assert!(matches!(state, KeyLookup::Live { .. }), "{whose} is lost");
            }
        }
        for who in forgotten.iter().filter_map(|whose| whose.strip_suffix("#1")) {
            assert!(vault.subject_state(&subject(who)).unwrap().fence.unwrap().closed);
        }
    }
    println!("{} keys made, {} forgettings", made.len(), forgotten.len());
}
