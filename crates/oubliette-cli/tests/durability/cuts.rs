//! Block-device cuts: the session is stopped when an fsync has returned, and before it knows; what
//! the devices hold at that moment is copied and opened.

use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use oubliette::layer::Oubliette;
use oubliette_folder::{Access, AnyStore, FolderError};
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    child::Said,
    common::{everything, subject},
    exhaustive,
    ext4::Ext4,
    session::{self, PARTS, in_folder, phase_of, prepare},
    strace::strace,
    world::{Acknowledged, World},
};

/// Of each phase so many moments are cut, unless all are wanted.
const SAMPLE: usize = 4;

/// How long a process may take from one fsync to the next.
const PATIENCE: Duration = Duration::from_secs(120);

/// The file systems that a session works on: one for all, or one for each part.
pub(crate) struct Disks {
    at: PathBuf,
    disks: Vec<Ext4>,
}

impl Disks {
    pub(crate) fn make(at: &Path, apart: bool) -> Option<Self> {
        let places = places(at, apart);
        let disks = places.iter().map(|place| Ext4::make_at(place)).collect::<Option<_>>()?;
        Some(Self { at: at.to_owned(), disks })
    }

    /// All devices as they are at this moment, mounted there.
    pub(crate) fn cut(&self, at: &Path) -> Self {
        let cut = |disk: &Ext4| {
            let place = at.join(disk.folder().strip_prefix(&self.at).unwrap());
            fs::create_dir_all(&place).unwrap();
            disk.cut(&place)
        };
        Self { at: at.to_owned(), disks: self.disks.iter().map(cut).collect() }
    }
}

fn places(at: &Path, apart: bool) -> Vec<PathBuf> {
    let places = if apart { PARTS.map(|part| at.join(part)).to_vec() } else { vec![at.to_owned()] };
    for place in &places {
        fs::create_dir_all(place).unwrap();
    }
    places
}

/// A process under strace that stands still after each fsync.
pub(crate) struct Stopping {
    strace: Child,
    trace: PathBuf,
    said: PathBuf,
    /// How much of the trace was read, and how many stops of threads it told of, before.
    read: usize,
}

impl Stopping {
    pub(crate) fn start(mut command: Command, trace: &Path, said: &Path) -> Self {
        let strace = command.spawn().unwrap();
        Self { strace, trace: trace.to_owned(), said: said.to_owned(), read: 0 }
    }

    /// What strace needs to be told.
    pub(crate) const OPTIONS: [&str; 4] =
        ["-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:signal=SIGSTOP"];

    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.said).unwrap()
    }

    /// Lets it go on, and waits until all of its threads stand still again. The file or folder of
    /// each fsync since; `None`: it ended.
    pub(crate) fn next(&mut self) -> Option<Vec<PathBuf>> {
        let began = Instant::now();
        if self.read > 0 {
            kill_process(self.process().unwrap(), Signal::CONT).unwrap();
        }
        loop {
            if let Some(status) = self.strace.try_wait().unwrap() {
                let mut why = String::new();
                if let Some(mut pipe) = self.strace.stderr.take() {
                    pipe.read_to_string(&mut why).unwrap();
                }
                assert!(status.success(), "{why}");
                return None;
            }
            let trace = fs::read_to_string(&self.trace).unwrap_or_default();
            let new = &trace[self.read.min(trace.len())..];
            if self.process().is_some_and(|process| stands_still(process, new)) {
                self.read = trace.len();
                let calls = crate::trace::read(&trace, &self.said);
                let lines = trace.len() - new.len();
                let before = trace[..lines].lines().count();
                let synced = calls.into_iter().filter(|call| call.ended >= before);
                let synced = synced.filter_map(|call| match call.what {
                    crate::trace::What::Synced(path) => Some(path),
                    _ => None,
                });
                return Some(synced.collect());
            }
            assert!(began.elapsed() < PATIENCE, "it neither goes on nor ends: {new}");
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn process(&self) -> Option<Pid> {
        let said = self.said();
        let number =
            said.lines().find_map(|line| line.strip_prefix("process ")?.strip_suffix(" ."));
        Pid::from_raw(number?.parse().ok()?)
    }
}

impl Drop for Stopping {
    fn drop(&mut self) {
        if let (Ok(None), Some(process)) = (self.strace.try_wait(), self.process()) {
            let _ = kill_process(process, Signal::KILL);
        }
        let _ = self.strace.wait();
    }
}

/// Whether strace has told of the stop of each thread: none of them is on its way into, in, or out
/// of a call any more.
fn stands_still(process: Pid, new: &str) -> bool {
    let threads = fs::read_dir(format!("/proc/{}/task", process.as_raw_nonzero()));
    let Ok(threads) = threads.map(Iterator::count) else { return false };
    new.matches("--- stopped by SIGSTOP ---").count() >= threads
}

/// Which moments of a phase are cut: all, or the first few and then fewer and fewer; and always
/// when the slot was written, which is where a forgetting cannot be taken back.
fn is_wanted(taken: &mut BTreeMap<String, usize>, phase: &str, synced: &[PathBuf]) -> bool {
    let count = taken.entry(phase.to_owned()).or_default();
    *count += 1;
    let slot = synced.iter().any(|path| path.ends_with("slot/root"));
    exhaustive()
        || count.is_power_of_two() && *count < 1 << SAMPLE
        || slot && count.is_multiple_of(2)
}

#[test]
fn what_was_acknowledged_is_on_the_devices_all_on_one() {
    cut_a_session(false, false);
}

#[test]
fn what_was_acknowledged_is_on_the_devices_each_on_its_own() {
    cut_a_session(true, false);
}

#[test]
fn what_was_acknowledged_is_on_the_devices_with_pages_in_sqlite() {
    cut_a_session(true, true);
}

fn cut_a_session(apart: bool, sqlite: bool) {
    let temp = tempfile::tempdir().unwrap();
    let (live, trace, said) =
        (temp.path().join("live"), temp.path().join("trace"), temp.path().join("said"));
    let program = std::env::current_exe().unwrap();
    let Some(command) = strace(&trace, &Stopping::OPTIONS, program.as_os_str()) else { return };
    let Some(disks) = Disks::make(&live, apart) else { return };
    // Absolute paths are noted in the folder. The cut is found at the same one, as after a restart.
    let at = temp.path().join("bank");
    symlink(&live, &at).unwrap();
    prepare(&at);
    let mut command = in_folder(command, &at, &said);
    if sqlite {
        command.env(session::SQLITE, "1");
    }
    let mut session = Stopping::start(command, &trace, &said);
    let runtime = session::runtime();
    let (mut stops, mut cuts) = (0, BTreeMap::<String, usize>::new());
    let mut taken = BTreeMap::new();
    let mut broken = Vec::new();
    while let Some(synced) = session.next() {
        stops += 1;
        let said = session.said();
        let phase = phase_of(&said);
        if !is_wanted(&mut taken, phase, &synced) {
            continue;
        }
        let after = temp.path().join(format!("cut-{stops}"));
        let cut = disks.cut(&after);
        *cuts.entry(phase.to_owned()).or_default() += 1;
        turn(&at, &after);
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            runtime.block_on(check(&at, &said));
        }));
        if checked.is_err() {
            let last = said.lines().last().unwrap_or_default();
            broken.push(format!("cut {stops} in {phase}, after {synced:?} and {last:?}"));
        }
        turn(&at, &live);
        drop(cut);
        fs::remove_dir_all(&after).unwrap();
    }
    println!("{stops} fsyncs; cut: {cuts:?}");
    assert!(session.said().contains("phase end"), "it did not live to its end");
    for phase in ["creation", "first keys", "owner edges", "append", "forget", "rotation", "backup"]
    {
        assert!(cuts.contains_key(phase), "{phase} was not cut");
    }
    assert!(cuts.contains_key("restore"), "restore was not cut");
    assert_eq!(cuts.contains_key("move"), sqlite);
    assert!(broken.is_empty(), "{broken:#?}");
}

/// Lets a link lead elsewhere.
fn turn(link: &Path, to: &Path) {
    fs::remove_file(link).unwrap();
    symlink(to, link).unwrap();
}

/// Opens what the cut left, and looks for all that was acknowledged before it.
async fn check(at: &Path, said: &str) {
    let heard = |what: &str| said.lines().any(|line| line == format!("{what} ."));
    let mut acknowledged = Acknowledged::default();
    said.lines().filter_map(Said::parse).for_each(|said| acknowledged.hear(said));
    let bank = open(at, &heard).await;
    holds(&bank, &acknowledged, heard("phase loss")).await;

    // The owner edges are there: whoever is forgotten now takes their accounts along.
    for n in [2, 3, 14, 15, 6] {
        let user = format!("user-{n}");
        let known = acknowledged
            .appended
            .values()
            .any(|(stream, secret)| *stream == user || secret == &format!("n{}x", n - 10));
        if known && !acknowledged.begun.contains(&user) {
            bank.forget(&subject(&user), "they asked later").await.unwrap();
            acknowledged.begun.insert(user.clone());
            acknowledged.forgotten.insert(user);
        }
    }
    holds(&bank, &acknowledged, heard("phase loss")).await;
}

async fn open(at: &Path, heard: &impl Fn(&str) -> bool) -> Oubliette<AnyStore> {
    if !heard("created") {
        return session::made(at).await;
    }
    let opened = session::data_folder(at).open(Access::Existing, None).await;
    match opened {
        // The vault was lost, and its restoring was cut off: it can be repeated.
        Err(FolderError::VaultMissing { .. }) if heard("phase loss") && !heard("restored") => {
            session::restored(at).await
        }
        opened => opened.unwrap().oubliette,
    }
}

/// All that was acknowledged is there, and nobody else is lost; `restored`: from a backup, whose
/// vault does not know how many streams an erasure reached that it was told of.
async fn holds(bank: &Oubliette<AnyStore>, acknowledged: &Acknowledged, restored: bool) {
    let events = everything(bank).await;
    let world = World::of(&events, acknowledged, bank);
    world.durable_before_use(acknowledged);
    world.nothing_else_lost();
    world.no_wrong_person();
    assert!(acknowledged.forgotten.is_subset(&world.forgotten), "an erasure was forgotten");
    if !restored {
        world.once_decided_done(acknowledged, bank);
    }
}
