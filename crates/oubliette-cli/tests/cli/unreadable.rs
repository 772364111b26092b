//! One event that cannot be opened does not end all reading, where somebody says so.

use crate::world::{Ran, World, rows};

/// Six events, of which two are broken: one is changed, the row of the other is damaged.
fn world() -> World {
    let world = World::new();
    for n in 0..6 {
        world.ok(&["append", "user-1", "T", "--data", &n.to_string()]);
    }
    let db = rusqlite::Connection::open(world.path("oubliette-data/events/events.db")).unwrap();
    let id = "6f0dbd6e3c1e4c539d0b5b6c5f5f4d11";
    let changed = format!("UPDATE event SET id = x'{id}' WHERE position = 3");
    assert_eq!(db.execute(&changed, []).unwrap(), 1);
    world
}

fn data(ran: &Ran) -> Vec<i64> {
    rows(&ran.stdout).iter().filter_map(|row| row["data"].as_i64()).collect()
}

#[test]
fn what_cannot_be_opened_is_passed_over_and_counted() {
    let world = world();
    for (args, expected) in [
        (&["read-all"][..], &[0, 1, 3, 4, 5][..]),
        (&["read", "user-1"], &[0, 1, 3, 4, 5]),
        (&["read-all", "--backwards"], &[5, 4, 3, 1, 0]),
        (&["read", "user-1", "--backwards"], &[5, 4, 3, 1, 0]),
        (&["read", "user-1", "--limit", "3"], &[0, 1, 3]),
        (&["read-all", "--limit", "3"], &[0, 1, 3]),
        (&["read", "user-1", "--from", "2"], &[3, 4, 5]),
        (&["read", "user-1", "--from", "2", "--backwards"], &[1, 0]),
        (&["subscribe", "--until-caught-up"], &[0, 1, 3, 4, 5]),
    ] {
        let ended = world.run(&[args, &["--json"]].concat());
        assert!(ended.code == 1 && ended.stderr.contains("tampered"), "{args:?}: {}", ended.stderr);
        let ran = world.run(&[args, &["--skip-unreadable", "--json"]].concat());
        assert_eq!(ran.code, 0, "{args:?}: {}", ran.stderr);
        assert_eq!(data(&ran), expected, "{args:?}");
        let told = rows(&ran.stderr);
        let note = |at: usize| told[at]["note"].as_str().unwrap();
        assert_eq!(told.len(), 2, "{}", ran.stderr);
        assert!(note(0).starts_with("passed over: event 6f0dbd6e-"), "{}", ran.stderr);
        assert!(note(1).starts_with("1 event passed over") && told[1]["skipped"] == 1, "{told:?}");
    }
    // Nothing is told where nothing is passed over.
    let rest = world.run(&["read", "user-1", "--from", "3", "--skip-unreadable"]);
    assert_eq!((rest.code, rest.stderr.as_str()), (0, ""));
    // Only what is about one event is passed over.
    world.fails(1, &["--dir", "nowhere", "read-all", "--skip-unreadable"]);
}

#[test]
fn the_last_event_and_the_first_can_be_passed_over() {
    let world = world();
    let db = rusqlite::Connection::open(world.path("oubliette-data/events/events.db")).unwrap();
    db.execute("DELETE FROM event WHERE position != 3", []).unwrap();
    drop(db);
    for more in [&["--backwards"][..], &[]] {
        for read in [&["read-all"][..], &["read", "user-1"]] {
            let args = [read, more, &["--skip-unreadable"]].concat();
            let ran = world.run(&args);
            assert_eq!((ran.code, ran.stdout.as_str()), (0, ""), "{}", ran.stderr);
            assert!(ran.stderr.contains("1 event passed over"), "{}", ran.stderr);
        }
    }
}
