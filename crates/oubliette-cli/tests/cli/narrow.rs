//! What is printed on a terminal of eighty columns.

use std::{fs, process::Command};

use crate::{
    skip::skipped,
    world::{Ran, World},
};

/// Runs the program on a terminal so wide, as `script` makes one. `None`: there is no `script` here.
fn on_a_terminal(world: &World, columns: u16, args: &[&str]) -> Option<Ran> {
    on_a_terminal_with(world, columns, args, "2>/dev/null")
}

/// With what the shell is to do with what goes elsewhere than stdout.
fn on_a_terminal_with(world: &World, columns: u16, args: &[&str], stderr: &str) -> Option<Ran> {
    let program = world.command(args);
    let words: Vec<_> = args.iter().map(|word| format!("'{word}'")).collect();
    let line = format!(
        "stty cols {columns} rows 40; exec '{}' {} {stderr}",
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

/// Each word had a line of its own.
#[test]
fn on_a_terminal_that_says_it_has_no_columns_lines_are_as_wide_as_usual() {
    let world = World::new();
    world.ok(&["append", "user-1", "Registered", "--data", r#"{"name":"Erika"}"#]);
    for args in [&["read", "user-1"][..], &["inventory"], &["keys"]] {
        let Some(unknown) = on_a_terminal(&world, 0, args) else { return };
        let usual = on_a_terminal(&world, 80, args).unwrap();
        assert_eq!(unknown.stdout, usual.stdout, "{args:?}");
    }
}

#[test]
fn a_payload_that_a_terminal_cuts_is_said_to_be_cut_and_a_pipe_has_it_whole() {
    let world = World::new();
    let data = format!("{{\"text\":\"{}\"}}", "x".repeat(90));
    world.ok(&["append", "user-1", "T", "--data", &data]);
    world.ok(&[
        "append",
        "a-stream-of-a-long-name-for-which-there-is-no-room-1",
        "Typed",
        "--data",
        &data,
    ]);
    world.ok(&["append", "user-2", "T", "--data", "{}"]);
    let cut = "is cut where the terminal ends";
    for (args, is_cut) in
        [(&["read", "user-1"][..], true), (&["read-all"], true), (&["read", "user-2"], false)]
    {
        let Some(told) = on_a_terminal_with(&world, 80, args, "") else { return };
        assert_eq!((told.stdout.contains('…'), told.stdout.contains(cut)), (is_cut, is_cut));
        let piped = world.run(args);
        assert!(!piped.stderr.contains(cut), "{}", piped.stderr);
        assert_eq!(piped.stdout.contains(&data), is_cut, "{}", piped.stdout);
    }
}

/// They were up to 190 columns wide.
#[test]
fn every_table_fits_eighty_columns() {
    let world = World::new();
    let long = "customer-relationship-0198c2de-6f0d-7d6e-8c1e-4c539d0b5b6c";
    for stream in ["user-1", "user-2", long] {
        let data = r#"{"name":"Erika Musterfrau, geborene Gabler, of Aachen on the Rhine"}"#;
        world.ok(&["append", stream, "CustomerRegisteredWithAnAgent", "--data", data]);
    }
    let to = crate::backup::keygen(&world, "key.txt");
    world.ok(&["backup", "--to", &to, "--expires", "90d", "of-the-customers-vault-2026-05.age"]);
    world.ok(&["keys", "successor", "--out", "next.key"]);
    world.ok(&["forget", "user-1", "--reason", "asked for it by a letter of 3 May", "--yes"]);
    world.ok(&["rotate", "user-2"]);
    for args in [
        &["read", "user-1"][..],
        &["read", long],
        &["read-all"],
        &["plan", "user-2"],
        &["inventory"],
        &["erasures"],
        &["erasures", "--stream", "user-1"],
        &["keys"],
        &["backup", "list"],
    ] {
        let Some(told) = on_a_terminal(&world, 80, args) else { return };
        assert_eq!(told.code, 0, "{args:?}: {}", told.stdout);
        for line in told.stdout.lines() {
            assert!(line.chars().count() <= 80, "{args:?}: {line}");
        }
        // What is only looked at may be cut, and a pseudonym; nothing else.
        let may_be_cut = args[0].starts_with("read") || args == ["inventory"];
        assert!(may_be_cut || !told.stdout.contains('…'), "{}", told.stdout);
    }
    let erasures = on_a_terminal(&world, 80, &["erasures"]).unwrap().stdout;
    let id = world.json(&["erasures"])[0]["erasure"].as_str().unwrap().to_owned();
    for whole in [&format!("erasure {id}"), "keys 1", "reason asked for it by a letter of 3 May"] {
        assert!(erasures.contains(whole), "{erasures}");
    }
    // Where there is no terminal, a table is as wide as what is in it.
    assert!(world.ok(&["erasures"]).contains("epoch  state  reason"));
    for columns in ["at (UTC)", "recorded (UTC)"] {
        let told = [world.ok(&["erasures"]), world.ok(&["read", "user-2"])].concat();
        assert!(told.contains(columns), "{told}");
    }
}
