//! A folder of one's own to run the binary in.

#![allow(dead_code, unreachable_pub)] // every test binary uses a part of it

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

/// A temporary folder with everything in it, the root slot too.
pub struct World {
    pub dir: TempDir,
}

/// What a command came to.
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl World {
    pub fn new() -> Self {
        Self { dir: TempDir::new().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        fs::write(self.path(name), content).unwrap();
        self.path(name)
    }

    /// The one root slot that was made where slots are made by default.
    pub fn root_slot(&self) -> PathBuf {
        let slots = fs::read_dir(self.path("state/oubliette")).unwrap();
        let slots: Vec<_> = slots.map(|slot| slot.unwrap().path()).collect();
        assert_eq!(slots.len(), 1, "{slots:?}");
        slots[0].clone()
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_oubliette"));
        command.current_dir(self.dir.path()).args(args);
        for name in [
            "OUBLIETTE_DIR",
            "OUBLIETTE_ROOT",
            "OUBLIETTE_KEK",
            "OUBLIETTE_PASSPHRASE",
            "OUBLIETTE_EXPECT_EPOCH",
            "OUBLIETTE_TPM_AUTH",
            "OUBLIETTE_PKCS11_PIN",
            "OUBLIETTE_STORE_PASSWORD",
            "OUBLIETTE_FROM_PASSWORD",
        ] {
            command.env_remove(name);
        }
        // As without it, but for the place of the test, which is nobody's choice.
        let quiet = "oubliette::erasure::witness=error,oubliette::layer::error=off,\
                     oubliette::vault::root::file_system=error,oubliette_postgres::store=error,\
                     oubliette_postgres::table=error,\
                     oubliette_jetstream::open=error,oubliette_kafka::store=error,\
                     oubliette_kafka::index=error";
        command.env("OUBLIETTE_LOG", format!("warn,{quiet}"));
        command.env("XDG_STATE_HOME", self.path("state")).env("HOME", self.path("home"));
        command.env("XDG_CONFIG_HOME", self.path("config"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        self.command(args).output().unwrap().into()
    }

    /// Runs with this on stdin.
    pub fn feed(&self, args: &[&str], stdin: impl AsRef<[u8]>) -> Ran {
        let mut child = self.command(args).stdin(Stdio::piped()).spawn().unwrap();
        let mut pipe = child.stdin.take().unwrap();
        let input = stdin.as_ref().to_vec();
        // On a thread: both pipes may fill up. A process that does not read all is no failure.
        let feeding = std::thread::spawn(move || drop(pipe.write_all(&input)));
        let output = child.wait_with_output().unwrap();
        feeding.join().unwrap();
        output.into()
    }

    pub fn spawn(&self, args: &[&str]) -> Child {
        self.command(args).spawn().unwrap()
    }

    /// Runs what must succeed, and returns stdout.
    pub fn ok(&self, args: &[&str]) -> String {
        let ran = self.run(args);
        assert_eq!(ran.code, 0, "{args:?}\n{}{}", ran.stdout, ran.stderr);
        ran.stdout
    }

    /// Runs what must succeed, with `--json`, and returns the rows.
    pub fn json(&self, args: &[&str]) -> Vec<Value> {
        rows(&self.ok(&[&["--json"], args].concat()))
    }

    /// Runs what must fail with this code, and returns stderr.
    pub fn fails(&self, code: i32, args: &[&str]) -> String {
        let ran = self.run(args);
        assert_eq!(ran.code, code, "{args:?}\n{}{}", ran.stdout, ran.stderr);
        assert_eq!(ran.stdout, "", "{args:?}");
        ran.stderr
    }

    /// The data of a stream's events.
    pub fn data(&self, stream: &str) -> Vec<Value> {
        self.json(&["read", stream]).iter().map(|row| row["data"].clone()).collect()
    }

    /// Whether a text is in any file of a folder.
    pub fn finds(&self, folder: &str, needle: &str) -> bool {
        files(&self.path(folder)).into_iter().any(|file| contains(&file, needle.as_bytes()))
    }
}

fn contains(file: &Path, needle: &[u8]) -> bool {
    fs::read(file).unwrap().windows(needle.len()).any(|window| window == needle)
}

/// All files below a folder.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { all.extend(files(&path)) } else { all.push(path) }
    }
    all
}

/// NDJSON, understood.
pub fn rows(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}
