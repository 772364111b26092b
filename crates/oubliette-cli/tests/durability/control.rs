//! Somebody who takes sled's word for it: a flush, and then a file that is really synchronised, as
//! our root slot is. The watch and the cuts must both find them out.

use std::{
    fs::{self, File},
    io::{Seek, Write},
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    child::say,
    cuts::{Disks, Stopping},
    rules::Disk,
    session::{self, PARTS},
    strace::strace,
    trace::{self, CALLS, What},
};

const FOLDER: &str = "OUBLIETTE_TEST_CONTROL_IN";
const SYNCS: &str = "OUBLIETTE_TEST_CONTROL_SYNCS";
const ROUNDS: u8 = 8;

/// Does nothing unless it was started for it.
#[test]
fn child() {
    if let Some(at) = std::env::var_os(FOLDER) {
        keep(Path::new(&at), std::env::var_os(SYNCS).is_some());
    }
}

fn keep(at: &Path, syncs: bool) {
    say(&format!("\nprocess {}", std::process::id()));
    let pages = at.join("vault/pages");
    let flat = sled::Config::new().path(&pages).flush_every_ms(None).open().unwrap();
    let mut slot = File::create(at.join("slot/root")).unwrap();
    if syncs {
        for folder in ["vault/pages/blobs", "vault/pages", "vault", "slot"] {
            File::open(at.join(folder)).unwrap().sync_all().unwrap();
        }
        for file in ["vault/pages/db", "vault/pages/conf"] {
            File::open(at.join(file)).unwrap().sync_all().unwrap();
        }
    }
    for round in 0..ROUNDS {
        flat.insert([round], vec![round; 200]).unwrap();
        flat.flush().unwrap();
        if syncs {
            File::open(pages.join("db")).unwrap().sync_data().unwrap();
        }
        slot.rewind().unwrap();
        slot.write_all(&[round; 512]).unwrap();
        slot.sync_all().unwrap();
        say(&format!("kept {round}"));
    }
}

fn in_folder(mut command: Command, at: &Path, said: &Path, syncs: bool) -> Command {
    command.args(["--exact", "control::child", "--nocapture", "--test-threads=1"]);
    command.env(FOLDER, at).stdout(File::create(said).unwrap());
    if syncs {
        command.env(SYNCS, "1");
    }
    command
}

/// Where it works, with all folders made, and where its trace and its words go.
fn places(temp: &Path) -> [PathBuf; 3] {
    let [at, trace, said] = ["live", "trace", "said"].map(|name| temp.join(name));
    for part in PARTS {
        fs::create_dir_all(at.join(part)).unwrap();
    }
    [at, trace, said]
}

/// How many rounds had been kept, and how many of them a cut after the slot's last fsync has.
fn cut(syncs: bool) -> Option<(usize, usize)> {
    let temp = tempfile::tempdir().unwrap();
    let (at, after) = (temp.path().join("live"), temp.path().join("cut"));
    let (trace, said) = (temp.path().join("trace"), temp.path().join("said"));
    let program = std::env::current_exe().unwrap();
    let command = strace(&trace, &Stopping::OPTIONS, program.as_os_str())?;
    let disks = Disks::make(&at, true)?;
    let mut stopping = Stopping::start(in_folder(command, &at, &said, syncs), &trace, &said);
    let mut rounds = 0;
    while let Some(synced) = stopping.next() {
        rounds += usize::from(synced.iter().any(|path| path.ends_with("slot/root")));
        if rounds == usize::from(ROUNDS) {
            let cut = disks.cut(&after);
            let flat = sled::open(after.join("vault/pages"));
            let found = flat.map_or(0, |flat| {
                (0..ROUNDS).filter(|round| flat.contains_key([*round]).unwrap_or(false)).count()
            });
            drop(cut);
            return Some((rounds, found));
        }
    }
    panic!("the slot was written {rounds} times");
}

#[test]
fn a_cut_finds_out_who_does_not_synchronise() {
    let Some((kept, found)) = cut(false) else { return };
    println!("without fsync {found} of {kept}");
    assert!(found < kept, "nothing was lost: the cut is none");
    assert_eq!(cut(true).unwrap(), (kept, kept), "what was synchronised is lost");
}

#[test]
fn the_watch_finds_out_who_does_not_synchronise() {
    let risks = |syncs: bool| {
        let temp = tempfile::tempdir().unwrap();
        let [at, trace, said] = places(temp.path());
        let program = std::env::current_exe().unwrap();
        let command = strace(&trace, &["--seccomp-bpf", "-e", CALLS], program.as_os_str())?;
        assert!(in_folder(command, &at, &said, syncs).status().unwrap().success());
        let mut disk = Disk::default();
        let mut risks = Vec::new();
        for call in trace::read(&fs::read_to_string(&trace).unwrap(), &said) {
            if matches!(&call.what, What::Said(text) if text.contains("kept")) {
                risks.extend(disk.at_risk(&at));
            }
            disk.see(&call);
        }
        Some(risks)
    };
    let Some(without) = risks(false) else { return };
    for risk in ["what was written to", "the name of"] {
        assert!(without.iter().any(|found| found.starts_with(risk)), "{risk}: {without:#?}");
    }
    let with = risks(true).unwrap();
    assert!(with.is_empty(), "{with:#?}");
}

/// So that what it has said is what it acknowledged before the cut.
#[test]
fn a_stopped_process_has_not_heard_of_its_fsync() {
    let temp = tempfile::tempdir().unwrap();
    let [at, trace, said] = places(temp.path());
    let program = std::env::current_exe().unwrap();
    let Some(command) = strace(&trace, &Stopping::OPTIONS, program.as_os_str()) else { return };
    let mut stopping = Stopping::start(in_folder(command, &at, &said, false), &trace, &said);
    let mut rounds = 0;
    while let Some(synced) = stopping.next() {
        if synced.iter().any(|path| path.ends_with("slot/root")) {
            let kept = stopping.said().matches("kept").count();
            assert_eq!(kept, rounds, "it went on after its fsync");
            rounds += 1;
        }
    }
    assert_eq!(rounds, usize::from(ROUNDS));
    assert_eq!(session::phase_of(&stopping.said()), "start");
}
