//! An event store that was put back to before an erasure is told of it again; and what is logged of an erasure.

use std::fs;

use crate::world::World;

const EVENTS: &str = "oubliette-data/events/events.db";

fn world() -> World {
    let world = World::new();
    for user in ["user-1", "user-2", "user-3"] {
        world.ok(&["append", user, "Registered", "--data", r#"{"name":"Erika"}"#]);
    }
    world
}

fn findings(world: &World) -> Vec<String> {
    let found = crate::world::rows(&world.run(&["--json", "verify"]).stdout);
    let kinds = found.iter().filter_map(|row| row["finding"].as_str().map(str::to_owned));
    kinds.collect()
}

#[test]
fn a_store_that_was_put_back_is_told_again_of_all_erasures() {
    let world = world();
    fs::copy(world.path(EVENTS), world.path("before.db")).unwrap();
    world.ok(&["forget", "user-1", "--reason", "asked", "--yes"]);
    world.ok(&["forget", "user-2", "--reason", "asked", "--yes"]);
    for beside in ["-shm", "-wal"] {
        let _ = fs::remove_file(world.path(&format!("{EVENTS}{beside}")));
    }
    fs::copy(world.path("before.db"), world.path(EVENTS)).unwrap();
    world.fails(1, &["read", "user-3"]);
    world.ok(&["--past-gap", "ticket 12", "read", "user-3"]);
    let found = findings(&world);
    for kind in ["tombstones-missing", "announcement-missing"] {
        assert!(found.iter().any(|found| found == kind), "{found:?}");
    }
    let told = world.run(&["verify"]).stdout;
    assert!(told.contains("oubliette erasures repeat"), "{told}");

    let told = world.ok(&["erasures", "repeat"]);
    assert!(told.contains("2 erasures announced again"), "{told}");
    // The vault knew the last announcement, which names the one before it.
    assert_eq!(findings(&world), ["accepted-gap"]);
    let types = |user: &str| -> Vec<String> {
        let rows = world.json(&["read", user]);
        rows.iter().map(|row| row["type"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(types("user-1"), ["Registered", "SubjectForgotten"]);
    // Nothing is doubled, and nobody else is reached.
    world.ok(&["erasures", "repeat"]);
    assert_eq!((types("user-1").len(), types("user-2").len(), types("user-3").len()), (2, 2, 1));
    assert_eq!(world.json(&["erasures"]).len(), 2);
    assert!(world.ok(&["read", "user-3"]).contains("Erika"));
}

/// Nothing was logged, and nothing said.
#[test]
fn a_log_level_that_is_none_is_told_and_the_command_goes_on() {
    let world = world();
    for (said, told) in
        [("quatsch", "`quatsch` is not understood"), ("oubliette=loud", "debug, trace")]
    {
        for json in [&[] as &[&str], &["--json"]] {
            let mut command = world.command(&[json, &["read", "user-1"]].concat());
            let output = command.env("OUBLIETTE_LOG", said).output().unwrap();
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert!(output.status.success() && stderr.contains(told), "{stderr}");
            assert!(json.is_empty() || crate::world::rows(&stderr)[0]["note"].is_string());
        }
    }
}

#[test]
fn an_erasure_is_logged_step_by_step_and_without_names() {
    let world = world();
    let forget = ["--json", "forget", "user-1", "--reason", "asked by letter", "--yes"];
    let mut command = world.command(&forget);
    let output = command.env("OUBLIETTE_LOG", "info").output().unwrap();
    let logged = String::from_utf8(output.stderr).unwrap();
    let mut at = 0;
    for step in ["is decided", "is announced", "keys are destroyed", "the erasure is done"] {
        at += logged[at..].find(step).unwrap_or_else(|| panic!("{step}: {logged}"));
    }
    for name in ["user-1", "Erika", "letter"] {
        assert!(!logged.contains(name), "{logged}");
    }
    let erasure = world.json(&["erasures"])[0]["erasure"].as_str().unwrap().to_owned();
    let rows = crate::world::rows(&logged);
    let of_it = rows.iter().filter(|row| row["erasure"] == erasure && row["level"] == "INFO");
    assert_eq!(of_it.count(), 4, "{logged}");
}
