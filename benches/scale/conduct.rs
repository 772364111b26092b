//! Has the steps done, one process after the other, and gathers what they say.

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Map, Value, json};

/// What every size is compared with.
const REFERENCE: u64 = 10_000;

/// Measures vaults of these sizes, but for those that are measured already.
pub(crate) fn run(sizes: &[String]) {
    if sizes.is_empty() {
        eprintln!("which sizes? `./bench scale 10000 1000000`");
        return;
    }
    let temporary = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let results = temporary.join("../oubliette-bench");
    fs::create_dir_all(&results).unwrap();
    for size in sizes {
        let size: u64 = size.replace('_', "").parse().expect("a size is a number of keys");
        let file = results.join(format!("scale-{size}.json"));
        if file.exists() {
            eprintln!("{size} keys: measured already; remove {} to repeat it", file.display());
            continue;
        }
        let folder = Folder(temporary.join(format!("scale-{size}")));
        let reference = Folder(temporary.join("scale-reference"));
        let _ = fs::remove_dir_all(&folder.0);
        let _ = fs::remove_dir_all(&reference.0);
        fs::create_dir_all(&folder.0).unwrap();
        let measured = measure(size, &folder.0, &reference.0);
        fs::write(&file, format!("{measured:#}\n")).unwrap();
    }
}

/// A folder that goes when it is no longer needed.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn measure(size: u64, folder: &Path, reference: &Path) -> Value {
    eprintln!("{size} keys");
    let mut measured = Map::new();
    measured.insert("size".into(), json!(size));
    measured.insert("load".into(), json!(load()));
    let mut step = |name: &str, called: &str, rest: &[&Path]| {
        let said = step(name, folder, size, rest);
        measured.insert(called.into(), said);
    };
    step("fill", "fill", &[]);
    step("open", "open_clean", &[]);
    step("create", "create", &[]);
    step("look-up", "look_up", &[]);
    step("inventory", "inventory", &[]);
    kill(folder, size);
    step("open", "open_killed", &[]);
    if size == REFERENCE {
        step("forget", "forget", &[folder]);
    } else {
        fs::create_dir_all(reference).unwrap();
        child("fill", reference, REFERENCE, &[]);
        step("forget", "forget", &[reference]);
    }
    step("tombstones", "tombstones", &[]);
    step("move", "move", &[]);
    step("open", "open_sqlite", &[]);
    measured.into()
}

/// The load averages of the machine.
fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

fn step(name: &str, folder: &Path, size: u64, rest: &[&Path]) -> Value {
    eprint!("   {name}…{}", if name == "fill" { "\n" } else { " " });
    let begin = Instant::now();
    let said = child(name, folder, size, rest);
    eprintln!("{:.1} s, load {}", begin.elapsed().as_secs_f64(), load());
    said
}

fn command(name: &str, folder: &Path, size: u64, rest: &[&Path]) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.arg("step").arg(name).arg(folder).arg(size.to_string()).args(rest);
    command.stdout(Stdio::piped());
    command
}

fn child(name: &str, folder: &Path, size: u64, rest: &[&Path]) -> Value {
    let child = command(name, folder, size, rest).spawn().unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "the step {name} failed");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Kills a process that makes keys.
fn kill(folder: &Path, size: u64) {
    let mut child = command("load", folder, size, &[]).spawn().unwrap();
    let mut ready = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    std::thread::sleep(Duration::from_secs(2));
    // SIGKILL, on Unix.
    child.kill().unwrap();
    child.wait().unwrap();
}
