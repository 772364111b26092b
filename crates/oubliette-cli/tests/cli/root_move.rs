//! `root move`: the slot is in another file, and the one before is gone.

use std::fs;

use crate::world::World;

fn world() -> World {
    let world = World::new();
    world.ok(&["--root", "one.root", "append", "user-1", "T", "--data", "1"]);
    world
}

#[test]
fn the_slot_moves_and_the_file_before_is_destroyed() {
    let world = world();
    world.ok(&["root", "mirror", "add", "mirror.root"]);
    fs::create_dir(world.path("safe")).unwrap();
    let told = world.ok(&["root", "move", "safe/two.root"]);
    assert!(told.contains("two.root (moved from") && told.contains("one.root, which is"), "{told}");
    assert!(!world.path("one.root").exists());
    let root = world.json(&["root"]).remove(0);
    assert_eq!(root["place"], world.path("safe/two.root").to_str().unwrap());
    let mirrors: Vec<_> = root["mirrors"].as_array().unwrap().iter().map(|m| &m["name"]).collect();
    assert_eq!(mirrors, [world.path("mirror.root").to_str().unwrap()]);
    assert_eq!(root["mirrors"][0]["stale"], false);
    world.ok(&["append", "user-2", "T", "--data", "2"]);
    world.ok(&["forget", "user-1", "--reason", "asked", "--yes"]);
    assert_eq!(world.data("user-2"), [2]);
    assert!(world.ok(&["root", "move", "safe/two.root"]).contains("there already"));
    world.ok(&["verify"]);
    // The mirror alone brings it back, as before.
    fs::remove_file(world.path("safe/two.root")).unwrap();
    assert_eq!(world.data("user-2"), [2]);
}

#[test]
fn a_wrapped_slot_moves_with_what_wraps_it() {
    let world = world();
    world.write("key", [7; 32]);
    world.ok(&["root", "kek", "file:key"]);
    world.ok(&["root", "move", "two.root"]);
    let root = world.json(&["root"]).remove(0);
    assert!(root["kek"].as_str().unwrap().contains("key") && root["wrapped_by"] == "key", "{root}");
    fs::remove_file(world.path("key")).unwrap();
    world.fails(1, &["read", "user-1"]);
}

#[test]
fn a_move_that_cannot_be_leaves_the_slot_where_it_is() {
    let world = world();
    world.write("other", "somebody's file");
    world.ok(&["--dir", "shop", "--root", "shop.root", "append", "user-9", "T"]);
    for (to, why) in [
        ("oubliette-data/slot", "would lie in the folder"),
        ("other", "other"),
        ("shop.root", "belongs to vault"),
        ("tpm:0x01500016", "moves from one file to another"),
        ("-", "names a file"),
    ] {
        let ran = world.run(&["root", "move", to]);
        assert!(ran.code != 0 && ran.stderr.contains(why), "{to}: {}", ran.stderr);
        assert_eq!(world.data("user-1"), [1]);
        let root = world.json(&["root"]).remove(0);
        assert_eq!(root["place"], world.path("one.root").to_str().unwrap());
        assert_eq!(root["mirrors"], serde_json::json!([]), "{to}");
    }
    assert_eq!(fs::read(world.path("other")).unwrap(), b"somebody's file");
    assert_eq!(world.json(&["--dir", "shop", "read", "user-9"]).len(), 1);
    // One that was cut off after the first step is repeated.
    world.ok(&["root", "mirror", "add", "two.root"]);
    world.ok(&["root", "move", "two.root"]);
    assert_eq!(world.json(&["root"])[0]["mirrors"], serde_json::json!([]));
    assert!(!world.path("one.root").exists());
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        match entry.path().is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name())),
            false => drop(fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
        }
    }
}

/// Two folders of one vault's id, each with a slot of its own: the root of one was overwritten by the other, and with it
/// went every key; or one stood in for the other's slot, and nothing opened any more.
#[test]
fn another_folders_slot_is_taken_neither_as_a_mirror_nor_as_a_place_to_move_to() {
    let world = world();
    copy(&world.path("oubliette-data"), &world.path("staging"));
    world.ok(&["--dir", "staging", "--root", "one.root", "root", "own", "staging.root"]);
    world.ok(&["--dir", "staging", "append", "user-9", "T", "--data", "9"]);
    for args in [&["root", "mirror", "add"][..], &["root", "move"]] {
        for (dir, theirs) in [("oubliette-data", "staging.root"), ("staging", "one.root")] {
            let told = world.fails(1, &[&["--dir", dir], args, &[theirs]].concat());
            assert!(told.contains("another folder may be in use over it"), "{told}");
            assert_eq!(world.data("user-1"), [1]);
            let read = world.json(&["--dir", "staging", "read", "user-9"]);
            assert_eq!(read[0]["data"], 9, "{dir}: {theirs}");
        }
    }
}

/// Whoever copies the vault's folder would have its root as well, wherever the data folder is.
#[test]
fn no_slot_and_no_mirror_comes_into_the_vaults_folder_or_the_data_folder() {
    let world = World::new();
    world.ok(&["--root", "one.root", "--vault", "keys", "append", "user-1", "T", "--data", "1"]);
    for place in ["keys/slot", "oubliette-data/slot"] {
        for args in [&["root", "mirror", "add"][..], &["root", "move"]] {
            let told = world.fails(1, &[args, &[place]].concat());
            assert!(told.contains("would lie in the folder"), "{told}");
            assert!(!world.path(place).exists());
            assert_eq!(world.data("user-1"), [1]);
        }
    }
}
