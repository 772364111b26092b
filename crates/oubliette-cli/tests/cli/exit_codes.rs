//! Each exit code, and how errors are told.

use std::io::{BufRead, BufReader};

use serde_json::Value;

use crate::world::World;

#[test]
fn the_exit_code_is_0_when_done() {
    let world = World::new();
    world.ok(&["append", "s-1", "T"]);
    world.ok(&["read", "s-1"]);
}

#[test]
fn the_exit_code_is_1_when_it_failed() {
    let world = World::new();
    let told = world.fails(1, &["read", "s-1"]);
    for word in
        ["there is no data folder at ./oubliette-data yet", "is --dir, or OUBLIETTE_DIR, right?"]
    {
        assert!(told.contains(word), "{told}");
    }
    world.fails(1, &["import", "missing.ndjson"]);
    world.ok(&["append", "s-1", "T"]);
    let told = world.fails(1, &["plan", "s-2"]);
    assert!(told.contains("subject s-2 is unknown here"), "{told}");
}

#[test]
fn the_exit_code_is_2_for_wrong_usage() {
    let world = World::new();
    for args in [
        &[] as &[&str],
        &["remember"],
        &["append", "s-1"],
        &["append", "s-1", "T", "--expect", "maybe"],
        &["append", "s-1", "T", "--id", "7"],
        &["append", "s-1", "T", "--metadata", "[]"],
        &["read", "s-1", "--from", "-1"],
        &["read-all", "--after", "-1"],
        &["subscribe", "--after", "01"],
        &["forget", "s-1", "--yes"],
        &["--json", "inventory", "--format", "csv"],
    ] {
        world.fails(2, args);
    }
    world.ok(&["append", "s-1", "T"]);
    // Without a terminal nobody can be asked.
    let told = world.fails(2, &["forget", "s-1", "--reason", "r"]);
    assert!(told.contains("--yes"), "{told}");
    // A position may be one of another store's.
    for args in [&["read-all", "--after", "1-2"], &["subscribe", "--after", "x0a"]] {
        let told = world.fails(2, args);
        assert!(told.contains(&format!("position {} is none of this store's", args[2])), "{told}");
    }
    assert_eq!(world.data("s-1").len(), 1);
    assert!(!world.path("oubliette-data").join("x").exists());
}

#[test]
fn wrong_usage_is_json_where_json_is_asked_for() {
    let world = World::new();
    for (args, word) in [
        (&["--json", "remember"] as &[&str], "remember"),
        (&["append", "s-1", "--json"], "<TYPE>"),
        (&["read", "--json", "s-1", "--from", "x"], "--from"),
    ] {
        let told = world.fails(2, args);
        let told: Value = serde_json::from_str(&told).unwrap();
        assert_eq!(told["exit"], 2);
        let error = told["error"].as_str().unwrap();
        assert!(error.contains(word) && !error.contains("Usage"), "{error}");
    }
    assert!(world.ok(&["--json", "read", "--help"]).contains("Usage"));
}

/// The message was the help's first line, or had a command in it that is nobody's to call.
#[test]
fn a_command_without_its_subcommand_says_which_there_are() {
    let world = World::new();
    for (args, path, names) in [
        (&["--json", "policy"] as &[&str], "oubliette policy", "check, adopt, try, show"),
        (&["owners", "--json"], "oubliette owners", "rebuild"),
        (&["--json", "root", "mirror"], "oubliette root mirror", "add, retire"),
        (&["--json"], "oubliette", "demo, import, migrate, seal-existing, append"),
    ] {
        let told: Value = serde_json::from_str(&world.fails(2, args)).unwrap();
        let begins = format!("`{path}` needs a subcommand, one of: {names}");
        assert!(told["error"].as_str().unwrap().starts_with(&begins), "{told}");
        assert_eq!((&told["kind"], &told["exit"]), (&"usage".into(), &2.into()));
    }
    for args in [&[] as &[&str], &["--json"], &["--dir", "x"], &["--read-only"]] {
        assert!(!world.fails(2, args).contains("drill-reader"), "{args:?}");
    }
}

#[test]
fn a_claim_that_is_not_there_is_an_error_for_programs() {
    let world = World::new();
    world.ok(&["append", "s-1", "T"]);
    let id = "6f0dbd6e-3c1e-4c53-9d0b-5b6c5f5f4d11";
    for how in ["--stored", "--acknowledge"] {
        let ran = world.run(&["--json", "settle", id, how]);
        let told: Value = serde_json::from_str(&ran.stderr).unwrap();
        assert_eq!((ran.code, &told["exit"]), (1, &1.into()), "{told}");
        assert_eq!(crate::world::rows(&ran.stdout)[0]["event"], id);
        assert_eq!(world.run(&["settle", id, how]).stderr, "");
    }
}

#[test]
fn the_exit_code_is_3_for_a_conflict() {
    let world = World::new();
    world.ok(&["append", "s-1", "T", "--expect", "none"]);
    world.ok(&["append", "s-1", "T", "--expect", "0"]);
    world.ok(&["append", "s-1", "T", "--expect", "exists"]);
    world.ok(&["append", "s-1", "T", "--expect", "any"]);
    let told = world.fails(3, &["append", "s-1", "T", "--expect", "4"]);
    assert!(told.contains("expected revision 4, but it is at revision 3"), "{told}");
    world.fails(3, &["append", "s-1", "T", "--expect", "none"]);
    world.fails(3, &["append", "s-2", "T", "--expect", "exists"]);
    assert_eq!(world.data("s-1").len(), 4);
}

#[test]
fn the_exit_code_is_4_when_a_forgotten_subjects_key_was_needed() {
    let world = World::new();
    world.ok(&["append", "s-1", "T"]);
    world.ok(&["forget", "s-1", "--reason", "r", "--yes"]);
    world.fails(4, &["append", "s-1", "T"]);
}

#[test]
fn the_exit_code_is_5_for_a_vault_in_use() {
    let world = World::new();
    world.ok(&["append", "s-1", "T"]);
    let mut child = world.command(&["--json", "subscribe"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("caught_up")));
    let told = world.fails(5, &["append", "s-1", "T"]);
    assert!(told.contains(&format!("in use by process {}", child.id())), "{told}");
    // Who needs no vault is not kept out.
    world.ok(&["--no-vault", "read", "s-1"]);
    child.kill().unwrap();
    child.wait().unwrap();
    world.ok(&["append", "s-1", "T"]);
}

#[test]
fn a_retry_with_the_same_id_is_done_already() {
    let world = World::new();
    let id = "6f0dbd6e-3c1e-4c53-9d0b-5b6c5f5f4d11";
    let first = &world.json(&["append", "s-1", "T", "--id", id, "--expect", "none"])[0];
    let again = &world.json(&["append", "s-1", "T", "--id", id, "--expect", "none"])[0];
    assert_eq!((&first["already"], &again["already"]), (&false.into(), &true.into()));
    assert_eq!(first["position"], again["position"]);
    assert_eq!(world.data("s-1").len(), 1);
    world.fails(1, &["append", "s-2", "T", "--id", id]);
}

#[test]
fn with_json_errors_are_json_on_stderr() {
    let world = World::new();
    world.ok(&["append", "s-1", "T"]);
    let told = world.fails(3, &["--json", "append", "s-1", "T", "--expect", "9"]);
    let error: Value = serde_json::from_str(told.trim()).unwrap();
    assert_eq!(error["exit"], 3);
    assert!(error["error"].as_str().unwrap().starts_with("conflict on stream s-1"));
    let again = "read the stream again, decide again, append again";
    assert_eq!((&error["kind"], &error["hint"]), (&"store.conflict".into(), &again.into()));
    // Of the error beneath, and with the program's own word on it; usage has no variant.
    for (code, args, kind, hint) in [
        (4, &["append", "s-2", "T"] as &[&str], "store.forgotten", "oubliette reopen"),
        (1, &["--root", "nowhere", "read", "s-1"], "slot.missing", "--mirror"),
        (1, &["forget", "s-9", "--reason", "r", "--yes"], "erasure.unknown_subject", "inventory"),
        (2, &["forget", "s-1", "--reason", "s-1", "--yes"], "reason.names_the_subject", ""),
        (2, &["append", "s-1", "T", "--data", "{"], "usage", ""),
    ] {
        if code == 4 {
            world.ok(&["append", "s-2", "T"]);
            world.ok(&["forget", "s-2", "--reason", "r", "--yes"]);
        }
        let told = world.fails(code, &[&["--json"], args].concat());
        let error: Value = serde_json::from_str(told.trim()).unwrap();
        assert_eq!((&error["kind"], &error["exit"]), (&kind.into(), &code.into()), "{told}");
        assert_eq!(error["hint"].is_null(), hint.is_empty() && kind != "usage", "{told}");
        assert!(error["hint"].as_str().unwrap_or_default().contains(hint), "{told}");
    }
}
