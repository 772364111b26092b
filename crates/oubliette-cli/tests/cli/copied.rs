//! A data folder that was copied with `cp -r`, as somebody meets it who works with commands.

use std::fs;

use crate::world::{World, files};

fn copy(world: &World, from: &str, to: &str) {
    for file in files(&world.path(from)) {
        let path = world.path(to).join(file.strip_prefix(world.path(from)).unwrap());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::copy(&file, path).unwrap();
    }
}

/// Production in `prod`, and a copy of it in `staging`.
fn copied() -> World {
    let world = World::new();
    for user in ["user-1", "user-2"] {
        let data = r#"{"name":"Erika"}"#;
        world.ok(&["--dir", "prod", "append", user, "UserRegistered", "--data", data]);
    }
    copy(&world, "prod", "staging");
    world
}

const FORGET: [&str; 5] = ["forget", "user-1", "--reason", "ticket 1", "--yes"];

#[test]
fn forgetting_or_rotating_in_staging_made_production_unreadable() {
    for work in [&FORGET[..], &["rotate", "--root-key"]] {
        let world = copied();
        let told = world.fails(1, &[&["--dir", "staging"], work].concat());
        for word in ["is a copy of the vault in", "prod/vault", "--read-only", "root own"] {
            assert!(told.contains(word), "{told}");
        }
        assert!(world.ok(&["--dir", "prod", "read", "user-1"]).contains("Erika"));
        world.ok(&[&["--dir", "prod"], work].concat());
        assert!(world.ok(&["--dir", "prod", "read", "user-2"]).contains("Erika"));
        world.fails(1, &["--dir", "staging", "read", "user-2"]);
    }
}

#[test]
fn a_copy_is_looked_into_and_nothing_is_written() {
    let world = copied();
    let bytes = |folder: &str| -> Vec<_> {
        let files = files(&world.path(folder)).into_iter();
        // SQLite's readers make a file in which they note who reads.
        let files = files.filter(|file| !file.to_string_lossy().contains("events.db-"));
        let mut all: Vec<_> = files.map(|file| (fs::read(&file).unwrap(), file)).collect();
        all.sort();
        all
    };
    let before = (bytes("staging"), bytes("state"));
    let read = ["--dir", "staging", "--read-only", "read", "user-1"];
    assert!(world.ok(&read).contains("Erika"));
    world.ok(&["--dir", "staging", "--read-only", "inventory"]);
    world.ok(&["--dir", "staging", "--read-only", "root"]);
    let refused = world.run(&[&["--dir", "staging", "--read-only"], &FORGET[..]].concat());
    assert!(refused.code == 2 && refused.stderr.contains("write nothing"), "{}", refused.stderr);
    let append = ["append", "user-3", "X", "--data", "1"];
    let refused = world.run(&[&["--dir", "staging", "--read-only"], &append[..]].concat());
    assert!(refused.code == 2, "{}", refused.stderr);
    assert!((bytes("staging"), bytes("state")) == before);
    world.fails(2, &["--read-only", "--this-is-the-one", "read", "user-1"]);
}

#[test]
fn a_copy_gets_a_slot_of_its_own_and_forgets_on_its_own() {
    let world = copied();
    let refused = world.fails(1, &["--dir", "prod", "root", "own"]);
    assert!(refused.contains("copy it"), "{refused}");
    let told = world.ok(&["--dir", "staging", "root", "own"]);
    assert!(told.contains("root slot") && told.contains("state/oubliette"), "{told}");
    world.ok(&[&["--dir", "staging"], &FORGET[..]].concat());
    assert!(!world.ok(&["--dir", "staging", "read", "user-1"]).contains("Erika"));
    assert!(world.ok(&["--dir", "staging", "read", "user-2"]).contains("Erika"));
    assert!(world.ok(&["--dir", "prod", "read", "user-1"]).contains("Erika"));
    world.ok(&[&["--dir", "prod"], &FORGET[..]].concat());
    assert!(world.ok(&["--dir", "staging", "read", "user-2"]).contains("Erika"));
}

#[test]
fn a_restored_folder_goes_on_at_a_word_and_a_moved_one_without() {
    let world = copied();
    fs::remove_dir_all(world.path("prod")).unwrap();
    fs::rename(world.path("staging"), world.path("prod")).unwrap();
    let told = world.fails(1, &["--dir", "prod", "read", "user-1"]);
    assert!(told.contains("it was restored") && told.contains("--this-is-the-one"), "{told}");
    let read = ["--dir", "prod", "--this-is-the-one", "read", "user-1"];
    assert!(world.ok(&read).contains("Erika"));
    assert!(world.ok(&["--dir", "prod", "read", "user-1"]).contains("Erika"));
    fs::rename(world.path("prod"), world.path("moved")).unwrap();
    assert!(world.ok(&["--dir", "moved", "read", "user-1"]).contains("Erika"));
}
