//! What is printed on a terminal of eighty columns.

use std::{fs, process::Command};

use crate::{
    skip::skipped,
    world::{Ran, World},
};

/// Runs the program on a terminal so wide, as `script` makes one. `None`: there is no `script` here.
fn on_a_terminal(world: &World, columns: u16, args: &[&str]) -> Option<Ran> {
    let program = world.command(args);
    let words: Vec<_> = args.iter().map(|word| format!("'{word}'")).collect();
    let line = format!(
        "stty cols {columns} rows 40; exec '{}' {} 2>/dev/null",
        program.get_program().display(),
        words.join(" ")
    );
    let mut script = Command::new("script");
    script.current_dir(world.dir.path()).args(["-qec", &line, "/dev/null"]);
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => script.env(name, value),
            None => script.env_remove(name),
        };
    }
    match script.env("NO_COLOR", "1").env("SHELL", "/bin/sh").output() {
        Ok(output) => Some(output.into()),
        Err(error) => {
            skipped("OUBLIETTE_REQUIRE_SCRIPT", &format!("no terminal can be made: {error}"));
            None
        }
    }
}

/// An id in a text, as the one that begins there.
fn id_after<'a>(text: &'a str, before: &str) -> &'a str {
    &text.split(before).nth(1).unwrap()[..36]
}

/// The remedy of a finding asks for the id that was cut off.
#[test]
fn no_id_of_a_finding_is_cut_on_a_terminal() {
    let world = World::new();
    for user in ["user-1", "user-2"] {
        world.ok(&["append", user, "Registered", "--data", r#"{"name":"Erika"}"#]);
    }
    world.ok(&["forget", "user-1", "--reason", "asked", "--yes"]);
    world.ok(&["--dir", "other", "append", "user-3", "Registered"]);
    let manifest = fs::read_to_string(world.path("oubliette-data/oubliette.json")).unwrap();
    let vault = id_after(&manifest, "\"vault\": \"");
    let db = rusqlite::Connection::open(world.path("other/events/events.db")).unwrap();
    db.execute("UPDATE meta SET value = ?1 WHERE key = 'vault'", [vault]).unwrap();
    drop(db);

    let verify = ["--store", "other/events", "verify"];
    let rows = crate::world::rows(&world.run(&[&["--json"], &verify[..]].concat()).stdout);
    let what = rows[0]["what"].as_str().unwrap();
    let ids: Vec<&str> = what.split(' ').filter(|word| word.matches('-').count() == 4).collect();
    assert!(rows[0]["finding"] == "witness-gap" && !ids.is_empty(), "{what}");
    let Some(told) = on_a_terminal(&world, 80, &verify) else { return };
    assert_eq!(told.code, 1, "{}", told.stdout);
    assert!(!told.stdout.contains('…'), "{}", told.stdout);
    let first = "error: gap in what was announced\r\n  the vault\r\n  announcement ";
    assert!(told.stdout.starts_with(first), "{}", told.stdout);
    for line in told.stdout.lines().filter(|line| line.starts_with("  ")) {
        assert!(line.chars().count() <= 80, "{line}");
    }
    for id in ids {
        assert!(told.stdout.contains(id), "{id} in {}", told.stdout);
    }
    let words: Vec<_> = told.stdout.split_whitespace().collect();
    assert!(words.join(" ").contains(what), "{}", told.stdout);
    // Where there is room, a table.
    let wide = on_a_terminal(&world, 500, &verify).unwrap();
    assert!(wide.stdout.starts_with("severity ") && wide.stdout.contains(what), "{}", wide.stdout);
}

#[test]
fn a_public_key_and_the_day_of_a_tombstone_are_whole_on_a_terminal() {
    let world = World::new();
    world.ok(&["append", "user-1", "Registered", "--data", r#"{"name":"Erika"}"#]);
    world.ok(&["forget", "user-1", "--reason", "asked", "--yes"]);
    let public = world.json(&["keys"])[0]["public"].as_str().unwrap().to_owned();
    let Some(keys) = on_a_terminal(&world, 80, &["keys"]) else { return };
    assert!(keys.stdout.contains(&public), "{}", keys.stdout);
    let day = world.json(&["read", "user-1"])[1]["data"]["day"].as_str().unwrap().to_owned();
    let read = on_a_terminal(&world, 80, &["read", "user-1"]).unwrap();
    let tombstone = read.stdout.lines().find(|line| line.contains("tombstone")).unwrap();
    assert!(tombstone.contains(&format!("forgotten {day}")), "{}", read.stdout);
}
