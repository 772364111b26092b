//! The system calls of a session, asked what was on the disk by when.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    rules::Disk,
    session::{self, in_folder, prepare},
    strace::strace,
    trace::{self, CALLS, Call, What},
};

/// What was at risk when something was built on it.
#[derive(Debug, Default)]
struct Watched {
    /// How often each was looked at, by phase and moment.
    looked: BTreeMap<(String, &'static str), usize>,
    at_risk: Vec<String>,
}

impl Watched {
    fn look(&mut self, phase: &str, moment: &'static str, number: usize, found: Vec<String>) {
        *self.looked.entry((phase.to_owned(), moment)).or_default() += 1;
        let told = |what| format!("line {number}, {phase}, {moment}: {what} can be lost");
        self.at_risk.extend(found.into_iter().map(told));
    }
}

const SLOT: &str = "the slot is written";
const EVENT: &str = "an event is written";
const SAID: &str = "it is said";

/// Where old pages were removed after the slot was written: that need not be durable, for the
/// list that names them is, until they are gone.
const TIDIES_UP: [&str; 2] = ["forget", "end"];

fn watch(calls: &[Call], at: &Path, known: Vec<PathBuf>) -> Watched {
    let [vault, slot, store] = session::PARTS.map(|part| at.join(part));
    let mut watched = Watched::default();
    let mut disk = Disk::with(known);
    let mut phase = "start".to_owned();
    for call in calls {
        let number = call.begun + 1;
        match &call.what {
            // Forgetting is irreversible from here on: what the new root leads to must be there.
            What::Wrote(path) if path.starts_with(&slot) => {
                watched.look(&phase, SLOT, number, disk.at_risk(&vault));
            }
            // No event is stored under a key, or beside an owner edge, that can be lost.
            What::Wrote(path) if path.starts_with(&store) && is_log(path) => {
                let mut risks = disk.at_risk(&slot);
                if !TIDIES_UP.contains(&phase.as_str()) {
                    risks.extend(disk.at_risk(&vault));
                }
                watched.look(&phase, EVENT, number, risks);
            }
            What::Said(text) => {
                if let Some(next) = text.trim().strip_prefix("phase ") {
                    phase = next.trim_end_matches(" .").to_owned();
                }
                let risks = [&slot, &store].map(|part| disk.at_risk(part)).concat();
                watched.look(&phase, SAID, number, risks);
            }
            _ => {}
        }
        disk.see(call);
    }
    watched
}

fn is_log(path: &Path) -> bool {
    path.extension().is_some_and(|kind| kind == "db-wal")
}

/// What is there from the start.
fn files(at: &Path) -> Vec<PathBuf> {
    let mut found = vec![at.to_owned()];
    for entry in fs::read_dir(at).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

/// What a process that was killed wrote and did not synchronise is seen by the next one, which
/// answers from it: so it is made durable at each opening, with its names.
#[test]
fn an_opening_synchronises_what_a_killed_process_may_have_left() {
    let temp = tempfile::tempdir().unwrap();
    let (at, trace, said) =
        (temp.path().join("bank"), temp.path().join("trace"), temp.path().join("said"));
    let program = std::env::current_exe().unwrap();
    let options = ["--seccomp-bpf", "-e", CALLS];
    let Some(command) = strace(&trace, &options, program.as_os_str()) else { return };
    prepare(&at);
    let done = in_folder(Command::new(&program), &at, &said).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let done = in_folder(command, &at, &said).env(session::RESUMES, "1").output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));

    let calls = trace::read(&fs::read_to_string(&trace).unwrap(), &said);
    let opened = |call: &Call| matches!(&call.what, What::Said(text) if text.contains("opened"));
    let before = calls.iter().take_while(|call| !opened(call));
    let synced: BTreeSet<&Path> = before
        .filter_map(|call| match &call.what {
            What::Synced(path) => Some(path.strip_prefix(&at).unwrap()),
            _ => None,
        })
        .collect();
    let wanted = [
        "slot/root",
        "store/data",
        "store/data/events",
        "store/data/events/events.db-wal",
        "vault",
        "vault/vault",
        "vault/vault/pages",
        "vault/vault/pages/db",
    ];
    for path in wanted {
        assert!(synced.contains(Path::new(path)), "{path} is not in {synced:#?}");
    }
}

#[test]
fn nothing_is_built_on_what_a_power_cut_could_take() {
    watch_a_session(false);
}

#[test]
fn nothing_is_built_on_pages_in_sqlite_that_a_power_cut_could_take() {
    watch_a_session(true);
}

fn watch_a_session(sqlite: bool) {
    let temp = tempfile::tempdir().unwrap();
    let (at, trace, said) =
        (temp.path().join("bank"), temp.path().join("trace"), temp.path().join("said"));
    let program = std::env::current_exe().unwrap();
    let Some(command) = strace(&trace, &["--seccomp-bpf", "-e", CALLS], program.as_os_str()) else {
        return;
    };
    prepare(&at);
    let known = files(&at);
    let mut command = in_folder(command, &at, &said);
    if sqlite {
        command.env(session::SQLITE, "1");
    }
    let done = command.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(fs::read_to_string(&said).unwrap().contains("phase end"), "it did not live to its end");
    let text = fs::read_to_string(&trace).unwrap();
    let calls = trace::read(&text, &said);
    let watched = watch(&calls, &at, known);
    if let Some(keep) = std::env::var_os("OUBLIETTE_KEEP_TRACE") {
        fs::copy(&trace, keep).unwrap();
    }
    let phases = ["creation", "first keys", "owner edges", "forget", "rotation", "restore"];
    for phase in phases {
        let seen = |moment| watched.looked.get(&(phase.to_owned(), moment)).copied();
        println!("{phase}: {:?} {:?} {:?}", seen(SLOT), seen(EVENT), seen(SAID));
    }
    for phase in ["creation", "forget", "rotation", "restore"] {
        let seen = watched.looked.get(&(phase.to_owned(), SLOT));
        assert!(seen.is_some_and(|times| *times >= 2), "{phase} did not write the slot");
    }
    for phase in ["first keys", "owner edges", "append", "forget"] {
        let seen = watched.looked.get(&(phase.to_owned(), EVENT));
        assert!(seen.is_some_and(|times| *times >= 2), "{phase} did not append");
    }
    assert!(watched.at_risk.is_empty(), "{:#?}", watched.at_risk);
}
