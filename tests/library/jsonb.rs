//! What PostgreSQL's own `jsonb` makes of stored events still opens. A real PostgreSQL says what it
//! makes of them, where one is installed.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::{
    env, fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::common::documents::{object, value};
use crate::common::*;
use oubliette::{
    event::{Json, Payload, canonical_number},
    layer::{Codec, EventRef},
    policy::Policy,
    vault::Vault,
};
use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::TestRunner,
};

/// A cluster of its own, without a server: each call is a process in single-user mode.
struct Postgres {
    bin: PathBuf,
    folder: tempfile::TempDir,
}

impl Postgres {
    fn find() -> Option<Self> {
        let mut found: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
            .into_iter()
            .flatten()
            .map(|version| version.unwrap().path().join("bin"))
            .chain(env::split_paths(&env::var_os("PATH").unwrap_or_default()))
            .filter(|bin| bin.join("initdb").exists() && bin.join("postgres").exists())
            .collect();
        let bin = found.pop()?;
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let postgres = Self { bin, folder };
        let made = postgres
            .command("initdb")
            .args(["--no-sync", "--encoding=UTF8", "--locale=C", "--auth=trust", "-D"])
            .arg(postgres.data())
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Some(postgres)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A program of PostgreSQL's, which does not run as root.
    fn command(&self, program: &str) -> Command {
        let program = self.bin.join(program);
        let is_root = fs::metadata("/proc/self").is_ok_and(|own| {
            use std::os::unix::fs::MetadataExt;
            own.uid() == 0
        });
        let mut command = if is_root {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir(Path::new("/"));
        command
    }

    /// What each text is after it was a `jsonb`; `None` where it cannot be one.
    fn through_jsonb(&self, texts: &[&str]) -> Vec<Option<String>> {
        let mut child = self
            .command("postgres")
            .args(["--single", "-c", "log_min_messages=fatal", "-D"])
            .arg(self.data())
            .arg("postgres")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
        let questions: String = texts
            .iter()
            .enumerate()
            .map(|(i, text)| {
                let text = hex(text);
                format!(
                    "select 'r{i}:' || encode(convert_to(convert_from(decode('{text}', 'hex'), \
                     'UTF8')::jsonb::text, 'UTF8'), 'hex') || ';'\n"
                )
            })
            .collect();
        let writer = std::thread::spawn(move || stdin.write_all(questions.as_bytes()));
        let answered = child.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        let told = String::from_utf8(answered.stdout).unwrap();
        let answer = |i: usize| {
            let (_, rest) = told.split_once(&format!("\"r{i}:"))?;
            let (hex, _) = rest.split_once(';')?;
            let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
            String::from_utf8((0..hex.len()).step_by(2).map(byte).collect()).ok()
        };
        (0..texts.len()).map(answer).collect()
    }
}

fn postgres() -> Option<Postgres> {
    let found = Postgres::find();
    if found.is_none() {
        assert!(
            !env::var("OUBLIETTE_REQUIRE_POSTGRES").is_ok_and(|v| v == "1"),
            "none is installed"
        );
        eprintln!(
            "SKIPPED: PostgreSQL (`initdb`, `postgres`) is not installed, so that nobody but this \
             program itself has said what a jsonb column makes of a stored event"
        );
    }
    found
}

#[test]
fn numbers_that_a_jsonb_column_respelled_have_the_same_form() {
    let Some(postgres) = postgres() else { return };
    let mut runner = TestRunner::deterministic();
    let numbers = "-?(0|[1-9][0-9]{0,50})(\\.[0-9]{1,50})?([eE][+-]?[0-9]{1,3})?";
    let mut literals: Vec<String> =
        ["1e2", "1.50", "-0", "-0.0", "1E+2", "0.10e-7", "1e400", "100", "9007199254740993"]
            .map(str::to_owned)
            .into();
    let numbers = proptest::string::string_regex(numbers).unwrap();
    literals.extend((0..1_000).map(|_| numbers.new_tree(&mut runner).unwrap().current()));
    let texts: Vec<&str> = literals.iter().map(String::as_str).collect();
    let mut respelled = 0;
    for (literal, column) in literals.iter().zip(postgres.through_jsonb(&texts)) {
        let column = column.unwrap();
        respelled += usize::from(column != *literal);
        assert_eq!(canonical_number(&column), canonical_number(literal), "{literal}: {column}");
    }
    assert!(respelled > 100, "{respelled}");
}

#[tokio::test]
async fn events_that_a_jsonb_column_respelled_still_open() {
    let Some(postgres) = postgres() else { return };
    let policy = "public_metadata = ['/a', '/l']\n[[stream]]\nmatch = 's-{id}'\n\
                  public = ['/a', '/l', '/note/*', '/b/a']\n\
                  [[stream.field]]\npointer = '/*/iban'\nsubject = 'other-{id}'";
    let codec = Codec::new(Vault::in_memory().unwrap(), Policy::parse(policy).unwrap());
    let (name, mut runner) = (stream("s-1"), TestRunner::deterministic());
    let mut rows = Vec::new();
    for tries in 0.. {
        if rows.len() == 300 {
            break;
        }
        assert!(tries < 3_000, "only {} of {tries} were sealed", rows.len());
        let made = || object(value()).prop_map(|text| Json::parse(&text).unwrap());
        let (data, metadata) = (made(), made()).new_tree(&mut runner).unwrap().current();
        let event = event("X", "null").with_metadata(metadata.clone());
        let event = oubliette::event::NewEvent { data: data.clone().into(), ..event };
        // A field of somebody else's may want an object.
        let Ok(sealed) = codec.seal(&name, event.clone()).await else { continue };
        rows.push((event, sealed.data.clone(), sealed.metadata.clone()));
        sealed.stored().await.unwrap();
    }
    let texts: Vec<&str> = rows
        .iter()
        .flat_map(|(_, data, metadata)| {
            let metadata = metadata.as_ref().map_or("{}", Json::as_str);
            [data.as_json().unwrap().as_str(), metadata]
        })
        .collect();
    let columns = postgres.through_jsonb(&texts);
    let mut respelled = 0;
    for ((event, data, _), columns) in rows.iter().zip(columns.as_chunks::<2>().0) {
        let [stored, metadata] =
            columns.each_ref().map(|column| Json::parse(column.as_ref().unwrap()).unwrap());
        respelled += usize::from(data.as_json() != Some(&stored));
        let place = EventRef { stream: &name, id: event.id, event_type: &event.event_type };
        let opened = codec.open(place, &stored.into(), Some(&metadata)).unwrap();
        let canonical = |json: &Json| json.to_canonical();
        let got = opened.data.as_ref().and_then(Payload::as_json).map(canonical);
        assert_eq!(got, event.data.as_json().map(canonical));
        let told = |json: Option<&Json>| json.map_or("{}".to_owned(), canonical);
        assert_eq!(told(opened.metadata.as_ref()), told(event.metadata.as_ref()));
    }
    assert!(respelled > 100, "{respelled}");
}
