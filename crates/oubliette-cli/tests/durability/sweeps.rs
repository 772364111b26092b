//! A fault at every system call of the program: the disk is full, it fails, or the process is
//! killed, once. When that has passed, the program opens the folder again, everything that was
//! acknowledged is there, and nobody is told that the vault is damaged.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use age::secrecy::ExposeSecret;

use crate::{
    cli::{Ran, World},
    exhaustive,
    strace::strace,
};

/// So many faults of each sweep are tried, unless all are wanted.
const SAMPLE: usize = 12;

/// The calls that can fail, and how.
const FAULTS: [(&str, &[&str]); 17] = [
    ("openat", &["error=ENOSPC", "error=EIO", "signal=SIGKILL"]),
    ("read", &["error=EIO"]),
    ("pread64", &["error=EIO"]),
    ("write", &["error=ENOSPC", "error=EIO", "signal=SIGKILL"]),
    ("pwrite64", &["error=ENOSPC", "error=EIO", "signal=SIGKILL"]),
    ("fsync", &["error=EIO", "signal=SIGKILL"]),
    ("fdatasync", &["error=EIO", "signal=SIGKILL"]),
    // No error: sled then waits for ever. Nothing is lost, but the process must be killed.
    ("sync_file_range", &["signal=SIGKILL"]),
    ("ftruncate", &["error=ENOSPC", "error=EIO", "signal=SIGKILL"]),
    ("fallocate", &["error=ENOSPC"]),
    ("rename", &["error=ENOSPC", "error=EIO", "signal=SIGKILL"]),
    ("unlink", &["error=EIO", "signal=SIGKILL"]),
    ("unlinkat", &["error=EIO", "signal=SIGKILL"]),
    ("mkdir", &["error=ENOSPC", "signal=SIGKILL"]),
    ("linkat", &["error=ENOSPC", "signal=SIGKILL"]),
    ("mmap", &["error=ENOMEM"]),
    ("statx", &["error=EIO"]),
];

const PEOPLE: [&str; 3] = ["user-1", "user-2", "user-3"];

/// A folder that is put back before each trial, to the same place.
struct Sweep {
    world: World,
    pristine: tempfile::TempDir,
    /// Every fault of these calls, and no other; none: a sample of all.
    only: &'static [&'static str],
}

impl Sweep {
    /// Three people, of whom the last is forgotten; an account of the first; and a backup.
    fn new() -> Self {
        let world = World::new();
        let identity = age::x25519::Identity::generate();
        world.write("key", identity.to_string().expose_secret());
        for (n, user) in PEOPLE.iter().enumerate() {
            // With a character that no id has: a name of three letters stood in a reference once.
            let data = format!(r#"{{"surname":"s{n}.x"}}"#);
            world.ok(&["append", user, "UserRegistered", "--data", &data]);
        }
        world.ok(&["append", "user-2", "UserMoved", "--data", r#"{"to":"t1.x"}"#]);
        let to = identity.to_public().to_string();
        world.ok(&["backup", "--to", &to, "--expires", "90d", "copy.age"]);
        world.ok(&["forget", "user-3", "--reason", "asked", "--yes"]);
        let sweep = Self { world, pristine: tempfile::tempdir().unwrap(), only: &[] };
        copy(sweep.world.dir.path(), sweep.pristine.path());
        sweep
    }

    fn reset(&self) {
        for part in ["oubliette-data", "state"] {
            let (from, to) = (self.pristine.path().join(part), self.world.path(part));
            empty(&to, &from);
            if from.exists() {
                copy(&from, &to);
            }
        }
    }

    /// Runs a command, and lets strace do this to it.
    fn run(&self, args: &[&str], trace: &Path, options: &[&str]) -> Option<Ran> {
        let plain = self.world.command(args);
        let mut command = strace(trace, options, plain.get_program())?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.args(plain.get_args()).current_dir(plain.get_current_dir().unwrap());
        for (name, value) in plain.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        Some(finished(command))
    }

    /// Lets a command meet each fault once, and asks `check` each time.
    fn sweep(&self, args: &[&str], check: impl Fn(&Self, &Ran) -> Result<(), String>) {
        let trace = self.pristine.path().join("trace");
        self.reset();
        let names: Vec<&str> = FAULTS.iter().map(|(name, _)| *name).collect();
        let watched = format!("trace={}", names.join(","));
        let Some(recorded) = self.run(args, &trace, &["-e", &watched]) else { return };
        assert_eq!(recorded.code, 0, "{}", recorded.stderr);
        let mut faults = self.faults(&fs::read_to_string(&trace).unwrap());
        faults.retain(|(name, ..)| self.only.is_empty() || self.only.contains(name));
        let step = if exhaustive() || !self.only.is_empty() {
            1
        } else {
            faults.len().div_ceil(SAMPLE).max(1)
        };
        // Another part of them for each command.
        let offset = args[0].len() % step;
        let (mut tried, mut failed) = (0, 0);
        let mut wrong = Vec::new();
        for (name, number, fault) in faults.iter().skip(offset).step_by(step) {
            self.reset();
            let inject = format!("inject={name}:{fault}:when={number}");
            let met = self.run(args, &trace, &["-e", &format!("trace={name}"), "-e", &inject]);
            let met = met.unwrap();
            tried += 1;
            failed += usize::from(met.code != 0);
            let found = [told(&met), check(self, &met)];
            for what in found.into_iter().filter_map(Result::err) {
                let at = fs::read_to_string(&trace).unwrap();
                let at: Vec<&str> = at.lines().filter(|line| line.contains("INJECTED")).collect();
                wrong.push(format!("{name} {number} {fault}: {what}; it met {at:#?}"));
            }
        }
        println!("{args:?}: {tried} of {} faults, {failed} failed", faults.len());
        assert!(failed * 3 > tried, "most faults were not met");
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    /// Each call that touches the folder, by its name and its number among its thread's, which is
    /// how strace counts; and what can go wrong there.
    fn faults(&self, recorded: &str) -> Vec<(&'static str, usize, &'static str)> {
        let place = self.world.dir.path().to_str().unwrap();
        let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        let mut touched = BTreeSet::new();
        // Sled's own reads of its log, of which a failed one would cost it all: they come from memory,
        // because the log was read before, by calls that are among the faults.
        let mut spared = BTreeSet::new();
        for line in recorded.lines() {
            let Some((thread, text)) = line.split_once(' ') else { continue };
            let Some((name, rest)) = text.trim_start().split_once('(') else { continue };
            let count = counts.entry((thread, name)).or_default();
            *count += 1;
            // Not where it works, which is in every call.
            let rest = rest.replace(&format!("AT_FDCWD<{place}>"), "");
            if name == "pread64" && rest.contains("/pages/db>") {
                spared.insert((name, *count));
            } else if rest.contains(place) || rest.contains("\"./oubliette-data") {
                touched.insert((name, *count));
            }
        }
        let of = |&(name, number): &(&str, usize)| {
            let (name, faults) = *FAULTS.iter().find(|(known, _)| *known == name).unwrap();
            faults.iter().map(move |fault| (name, number, *fault))
        };
        touched.difference(&spared).flat_map(of).collect()
    }

    /// All that was acknowledged before, without any fault.
    fn holds(&self) -> Result<(), String> {
        for (user, wanted) in [("user-1", vec!["s0.x"]), ("user-2", vec!["s1.x", "t1.x"])] {
            let read = self.read(user)?;
            for secret in wanted {
                if !read.contains(secret) {
                    return Err(format!("{user} has lost {secret}: {read}"));
                }
            }
        }
        let read = self.read("user-3")?;
        if read.contains("s2.x") { Err("user-3 is back".into()) } else { Ok(()) }
    }

    fn read(&self, user: &str) -> Result<String, String> {
        self.works(&["--json", "read", user])
    }

    fn works(&self, args: &[&str]) -> Result<String, String> {
        let ran = self.world.run(args);
        told(&ran)?;
        match ran.code {
            0 => Ok(ran.stdout),
            code => Err(format!("{args:?} ends with {code} afterwards: {}", ran.stderr)),
        }
    }
}

/// How long a command may take before it is said to hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a command under strace came to. One that hangs is killed, and said so.
fn finished(mut command: Command) -> Ran {
    let strace = command.spawn().unwrap();
    let id = strace.id();
    let (done, waiting) = mpsc::channel();
    let guard = thread::spawn(move || {
        if waiting.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
            for child in children.unwrap_or_default().split_whitespace() {
                let _ = Command::new("kill").args(["-KILL", child]).status();
            }
            return true;
        }
        false
    });
    let mut ran: Ran = strace.wait_with_output().unwrap().into();
    let _ = done.send(());
    if guard.join().unwrap() {
        ran.stderr.push_str("it hung, and was killed by the test");
    }
    ran
}

/// What a fault that passes is no reason to say.
fn told(ran: &Ran) -> Result<(), String> {
    // That it was restored is told in the same words as that it was rolled back.
    let said = ran.stderr.to_lowercase().replace("rolled back, or restored", "");
    let said = said.replace("nothing of the vault is damaged", "");
    // A dependency's panic under a fault that it does not expect (sled's when it is closed, tokio's
    // when it cannot wake itself) is told by the process itself; what is lost by it, is looked for.
    let ours = |line: &str| line.contains("panicked at") && !line.contains("/registry/src/");
    let wrong = ["damaged", "hung", "rolled back", "older copy"];
    if said.lines().any(ours) || wrong.iter().any(|word| said.contains(word)) {
        return Err(format!("it says: {}", ran.stderr));
    }
    Ok(())
}

/// Removes all files of a folder, and all folders in it that its model lacks. The others stay: a vault
/// notices where its folder was made anew.
fn empty(folder: &Path, model: &Path) {
    if !model.is_dir() {
        let _ = fs::remove_dir_all(folder);
        return;
    }
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            empty(&entry.path(), &model.join(entry.file_name()));
        } else {
            fs::remove_file(entry.path()).unwrap();
        }
    }
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-aT").arg(from).arg(to).status();
    assert!(status.unwrap().success());
}

#[test]
fn a_fault_while_reading_harms_nothing() {
    Sweep::new().sweep(&["read-all"], |sweep, _| sweep.holds());
}

#[test]
fn a_fault_while_appending_loses_nothing() {
    let args = ["append", "user-4", "UserRegistered", "--data", r#"{"surname":"s4.x"}"#];
    Sweep::new().sweep(&args, |sweep, met| {
        sweep.holds()?;
        if met.code == 0 && !sweep.read("user-4")?.contains("s4.x") {
            return Err("what was acknowledged is lost".into());
        }
        sweep.works(&args)?;
        if sweep.read("user-4")?.contains("s4.x") { Ok(()) } else { Err("nothing is kept".into()) }
    });
}

#[test]
fn a_fault_while_forgetting_forgets_one_or_nobody() {
    let args = ["forget", "user-1", "--reason", "asked", "--yes"];
    Sweep::new().sweep(&args, |sweep, met| {
        let gone = !sweep.read("user-1")?.contains("s0.x");
        if met.code == 0 && !gone {
            return Err("an acknowledged forgetting is undone".into());
        }
        sweep.works(&args)?;
        if sweep.read("user-1")?.contains("s0.x") {
            return Err("it cannot be forgotten any more".into());
        }
        if !sweep.read("user-2")?.contains("t1.x") {
            return Err("somebody else is lost".into());
        }
        Ok(())
    });
}

#[test]
fn a_fault_while_restoring_can_be_repeated() {
    let sweep = Sweep::new();
    fs::remove_dir_all(sweep.pristine.path().join("oubliette-data/vault")).unwrap();
    let args = ["restore", "copy.age", "--identity", "key", "--overwrite-slot"];
    sweep.sweep(&args, |sweep, met| {
        // Until the end the header names no vault.
        let header = fs::read_to_string(sweep.world.path("oubliette-data/vault/vault.json"));
        let there = header.is_ok_and(|header| !header.contains("\"vault\": null"));
        if met.code == 0 || there {
            return sweep.holds();
        }
        sweep.works(&args)?;
        sweep.holds()
    });
}

#[test]
fn a_fault_while_a_folder_is_made_can_be_repeated() {
    let sweep = Sweep::new();
    for part in ["oubliette-data", "state"] {
        fs::remove_dir_all(sweep.pristine.path().join(part)).unwrap();
    }
    let args = ["append", "user-1", "UserRegistered", "--data", r#"{"surname":"s0.x"}"#];
    sweep.sweep(&args, |sweep, met| {
        if met.code != 0 {
            sweep.works(&args)?;
        }
        if sweep.read("user-1")?.contains("s0.x") { Ok(()) } else { Err("it is lost".into()) }
    });
}

const OWNED: &str = r#"
[[stream]]
match = "acc-{id}"
owner = [ { event = "Opened", add = "{/owner}" } ]
"#;

/// Whether events and policy belong together: where an event is, the folder works under the policy
/// that it was sealed under, so that what comes later is sealed for its owner, too.
fn sealed_for_their_owner(sweep: &Sweep) -> Result<(), String> {
    let stored = sweep.read("acc-1")?.contains("i1x");
    let adopted = sweep.works(&["policy", "show"])? == OWNED;
    if stored && !adopted {
        return Err("an event is stored, and the folder does not know its policy".into());
    }
    let later = ["append", "acc-9", "Opened", "--data", r#"{"owner":"u-1","iban":"i9x"}"#];
    let ran = sweep.world.run(&later);
    told(&ran)?;
    if ran.code != 0 && !ran.stderr.contains("policy adopt") {
        return Err(format!("nothing can be appended: {}", ran.stderr));
    }
    if !stored {
        return Ok(());
    }
    sweep.works(&["forget", "u-1", "--reason", "asked", "--yes"])?;
    let left = ["acc-1", "acc-9"].map(|account| sweep.read(account));
    match left.into_iter().collect::<Result<String, _>>()? {
        left if left.contains("i1x") || left.contains("i9x") => Err(format!("missed: {left}")),
        _ => Ok(()),
    }
}

#[test]
fn a_fault_while_importing_leaves_no_event_without_its_policy() {
    let sweep = Sweep::new();
    sweep.world.write("owned.toml", OWNED);
    let row = |account: &str, iban: &str| {
        format!(
            r#"{{"stream":"{account}","type":"Opened","data":{{"owner":"u-1","iban":"{iban}"}}}}"#
        )
    };
    // Two batches: a stream comes back.
    let rows = [row("acc-1", "i1x"), row("acc-2", "i2x"), row("acc-1", "i3x")].join("\n");
    sweep.world.write("rows.ndjson", rows);
    let args = ["import", "rows.ndjson", "--policy", "owned.toml"];
    sweep.sweep(&args, |sweep, met| {
        if met.code == 0 && sweep.works(&["policy", "show"])? != OWNED {
            return Err("the policy is not adopted".into());
        }
        sealed_for_their_owner(sweep)
    });
}

#[test]
fn a_fault_while_appending_under_a_policy_leaves_no_event_without_it() {
    let sweep = Sweep { only: &["fsync", "rename"], ..Sweep::new() };
    sweep.world.write("owned.toml", OWNED);
    let data = r#"{"owner":"u-1","iban":"i1x"}"#;
    let args = ["append", "acc-1", "Opened", "--data", data, "--policy", "owned.toml"];
    sweep.sweep(&args, |sweep, _| sealed_for_their_owner(sweep));
}
