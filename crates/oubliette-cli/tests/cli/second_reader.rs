//! Backups of today, opened by the second reader: `tests/vectors/vault.py`, in Python and written from the documents.

#![allow(clippy::print_stderr)] // to skip loudly

use std::{fs, path::Path, process::Command};

use serde_json::Value;

use crate::{backup::keygen, world::World};

/// Whether Python is here. A machine that checks changes must have it.
fn has_python() -> bool {
    let found = Command::new("python3").args(["-c", "import cryptography"]).output();
    let here = found.is_ok_and(|found| found.status.success());
    let required = std::env::var_os("CI").is_some()
        || std::env::var("OUBLIETTE_REQUIRE_PYTHON").is_ok_and(|value| value == "1");
    assert!(here || !required, "python3 with the package `cryptography` is needed here");
    if !here {
        eprintln!(
            "SKIPPED: python3 with the package `cryptography` is not installed, no second program \
             reads the backups that this one writes"
        );
    }
    here
}

/// Makes a backup, and returns what the other program finds in it, and its history of signing keys. That has the keys
/// that `keys` tells of, and the vault has the data keys of which `inventory` does.
fn read(world: &World, to: &str) -> (Value, Value) {
    let backup = ["backup", "--to", to, "--expires", "90d", "one.age"];
    world.ok(&backup);
    let reader = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/vault.py");
    let mut python = Command::new("python3");
    python.env("PYTHONDONTWRITEBYTECODE", "1").current_dir(world.dir.path());
    let ran = python.arg(reader).args(["one.age", "key.txt"]).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    fs::remove_file(world.path("one.age")).unwrap();
    let found: Value = serde_json::from_slice(&ran.stdout).unwrap();
    let history: Value = serde_json::from_str(found["history"].as_str().unwrap()).unwrap();
    let told = world.json(&["keys"]);
    let told: Vec<_> = told.iter().filter(|key| key["origin"] != "pinned").collect();
    let keys = history["keys"].as_array().unwrap();
    assert_eq!(keys.len(), told.len(), "{told:?}");
    for (key, told) in keys.iter().zip(told) {
        for member in ["key", "origin", "compromised"] {
            assert_eq!(key[member], told[member], "{told}");
        }
    }
    let rows = world.json(&["inventory"]);
    let living = rows.iter().filter(|row| row["generation"].is_u64()).count();
    assert_eq!(found["keys"].as_array().unwrap().len(), living, "{rows:?}");
    (found, history)
}

fn refuse_tombstones(world: &World, refuse: bool) {
    let db = rusqlite::Connection::open(world.path("oubliette-data/events/events.db")).unwrap();
    let trigger = match refuse {
        true => {
            "CREATE TRIGGER no_tombstones BEFORE INSERT ON event WHEN NEW.type = 'SubjectForgotten'
             BEGIN SELECT RAISE(ABORT, 'not now'); END"
        }
        false => "DROP TRIGGER no_tombstones",
    };
    db.execute_batch(trigger).unwrap();
}

#[test]
fn another_program_reads_a_backup_whatever_became_of_the_keys_that_sign() {
    if !has_python() {
        return;
    }
    let world = World::new();
    let to = keygen(&world, "key.txt");
    for n in 1..=3 {
        let data = format!("{{\"name\":\"Erika {n}\"}}");
        world.ok(&["append", &format!("user-{n}"), "Registered", "--data", &data]);
    }
    world.ok(&["forget", "user-3", "--reason", "asked", "--yes"]);
    let (found, history) = read(&world, &to);
    assert_eq!(
        (&found["policy"], &history["successors"]),
        (&Value::Null, &Value::from(vec![0; 0]))
    );
    assert_eq!(found["fences"].as_array().unwrap().len(), 1);

    world.ok(&["keys", "successor", "--out", "next.key"]);
    let (_, history) = read(&world, &to);
    assert_eq!(history["successors"].as_array().unwrap().len(), 1);

    world.ok(&["keys", "rotate", "--successor", "next.key"]);
    let (_, history) = read(&world, &to);
    assert_eq!(history["keys"][1]["origin"], "successor");

    // The distrust is told, and the tombstones are still to be set again.
    refuse_tombstones(&world, true);
    let first = history["keys"][0]["key"].as_str().unwrap();
    let distrust = ["keys", "distrust", first, "--compromised-since", "2026-01-31"];
    world.run(&distrust);
    let (_, history) = read(&world, &to);
    assert_eq!(history["distrusts"].as_array().unwrap().len(), 1);
    assert_eq!(history["retell"], true);
    refuse_tombstones(&world, false);
    world.ok(&["erasures"]);
    let (_, history) = read(&world, &to);
    assert_eq!(history["retell"], Value::Null);

    // A restored vault, with a policy that is adopted.
    world.ok(&["backup", "--to", &to, "--expires", "90d", "two.age"]);
    fs::remove_file(world.root_slot()).unwrap();
    fs::remove_dir_all(world.path("oubliette-data/vault")).unwrap();
    world.ok(&["restore", "two.age", "--identity", "key.txt"]);
    world.write("policy.toml", "[[stream]]\nmatch = 'user-{id}'\n");
    world.ok(&["--policy", "policy.toml", "append", "user-1", "Moved", "--data", "{}"]);
    let (found, history) = read(&world, &to);
    assert_eq!(history["keys"][2]["origin"], "restored");
    assert_eq!(found["policy"], fs::read_to_string(world.path("policy.toml")).unwrap());
}
