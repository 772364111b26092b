//! Real events: 329 webhooks of GitHub's, imported, one sender forgotten, all others unharmed.

#![allow(clippy::print_stderr)] // to skip loudly

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use crate::world::{World, rows};
use serde::Deserialize;
use serde_json::value::RawValue;

/// The events are not in the repository. They are looked for beside it, or where
/// `OUBLIETTE_GITHUB_DATA` says.
fn data() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = std::env::var_os("OUBLIETTE_GITHUB_DATA")
        .map_or_else(|| root.join("../../../shared/data/github-webhooks.ndjson"), PathBuf::from);
    if path.is_file() {
        return Some(path);
    }
    eprintln!("SKIPPED: {} is not there; set OUBLIETTE_GITHUB_DATA", path.display());
    None
}

#[derive(Deserialize)]
struct Row<'a> {
    stream: String,
    #[serde(rename = "type")]
    event_type: String,
    subject: Option<String>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    shredded: Option<&'a RawValue>,
}

fn parsed(text: &str) -> Vec<Row<'_>> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn raw<'a>(row: &Row<'a>) -> Option<&'a str> {
    row.data.map(RawValue::get)
}

#[test]
fn a_sender_is_forgotten_and_everyone_else_reads_back_byte_for_byte() {
    let Some(data) = data() else { return };
    let input = fs::read_to_string(&data).unwrap();
    let policy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/github/policy.toml");
    let (data, policy) = (data.to_str().unwrap(), policy.to_str().unwrap());
    let world = World::new();

    let ran = world.run(&["--json", "import", data, "--policy", policy]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    let given = parsed(&input);
    assert_eq!(rows(&ran.stdout)[0]["imported"], given.len());

    // All of it, the five exact duplicates too, in its order, byte for byte.
    let before = world.ok(&["--json", "read-all"]);
    let before = parsed(&before);
    assert_eq!(before.len(), given.len());
    for (given, read) in given.iter().zip(&before) {
        assert_eq!((&given.stream, &given.event_type), (&read.stream, &read.event_type));
        assert_eq!(raw(given), raw(read));
        if given.subject.is_some() {
            assert_eq!(given.subject, read.subject);
        }
    }
    let mut lines: BTreeMap<&str, usize> = BTreeMap::new();
    for line in input.lines() {
        *lines.entry(line).or_default() += 1;
    }
    assert_eq!(lines.values().filter(|count| **count > 1).map(|count| count - 1).sum::<usize>(), 5);

    // A repetition doubles nothing.
    let ran = world.run(&["--json", "import", data]);
    let told = &rows(&ran.stdout)[0];
    assert_eq!(
        (ran.code, &told["imported"], &told["already"]),
        (0, &0.into(), &given.len().into())
    );

    // The sender with events in the most streams goes.
    let mut streams: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for row in &given {
        if let Some(subject) = &row.subject {
            let of = streams.entry(subject).or_default();
            if !of.contains(&row.stream.as_str()) {
                of.push(&row.stream);
            }
        }
    }
    let (sender, theirs) = streams.iter().max_by_key(|(_, of)| of.len()).unwrap();
    assert!(theirs.len() > 1);
    world.ok(&["forget", sender, "--reason", "asked for it", "--yes"]);

    let after = world.ok(&["--json", "read-all"]);
    let after = parsed(&after);
    let (events, tombstones) = after.split_at(given.len());
    let mut shredded = 0;
    for (given, read) in given.iter().zip(events) {
        assert_eq!((&given.stream, &given.event_type), (&read.stream, &read.event_type));
        if given.subject.as_deref() == Some(*sender) {
            shredded += 1;
            assert!(read.shredded.is_some(), "{} in {}", read.event_type, read.stream);
            assert_ne!(raw(given), raw(read));
        } else {
            assert!(read.shredded.is_none());
            assert_eq!(raw(given), raw(read));
        }
    }
    assert!(shredded > 0);
    let mut told: Vec<&str> = tombstones.iter().map(|row| row.stream.as_str()).collect();
    assert!(tombstones.iter().all(|row| row.event_type == "SubjectForgotten"));
    told.sort_unstable();
    let mut expected = theirs.clone();
    expected.sort_unstable();
    assert_eq!(told, expected);

    // And again, nothing is doubled and nothing comes back.
    let ran = world.run(&["--json", "import", data]);
    let told = &rows(&ran.stdout)[0];
    assert_eq!(
        (ran.code, &told["imported"], &told["already"]),
        (0, &0.into(), &given.len().into())
    );
    assert_eq!(parsed(&world.ok(&["--json", "read-all"])).len(), after.len());
}
