//! A restore drill on the machine where the vault lives, and a copy's own slot beside a slot that the environment
//! names.

use std::{fs, path::Path};

use crate::{
    backup::keygen,
    common::folders::copy,
    world::{Ran, World},
};

const RESTORE: [&str; 6] = ["--dir", "drill", "restore", "copy.age", "--identity", "key.txt"];

/// Production in `prod`, its options as given, and a backup that lacks `user-2`.
fn production(options: &[&str]) -> World {
    let world = World::new();
    world.write("kek", [7; 32]);
    fs::create_dir(world.path("slots")).unwrap();
    let append = |user: &str, options: &[&str]| {
        let args = ["--dir", "prod", "append", user, "Registered", "--data", r#"{"name":"Erika"}"#];
        world.ok(&[&args[..], options].concat());
    };
    append("user-1", options);
    let to = keygen(&world, "key.txt");
    world.ok(&["--dir", "prod", "backup", "--to", &to, "--expires", "90d", "copy.age"]);
    append("user-2", &[]);
    world
}

/// The folder without its vault, as somebody makes it for a drill.
fn copied(world: &World) {
    copy(&world.path("prod"), &world.path("drill"));
    fs::remove_dir_all(world.path("drill/vault")).unwrap();
}

fn with_root(world: &World, root: &Path, args: &[&str]) -> Ran {
    world.command(args).env("OUBLIETTE_ROOT", root).output().unwrap().into()
}

fn is_refused(ran: &Ran, slot: &Path) {
    assert_eq!(ran.code, 1, "{}{}", ran.stdout, ran.stderr);
    for word in [slot.to_str().unwrap(), "Nothing was changed", "--root", "--overwrite-slot"] {
        assert!(ran.stderr.contains(word), "{word}: {}", ran.stderr);
    }
}

/// It works, and goes on forgetting.
fn production_works(world: &World) {
    for user in ["user-1", "user-2"] {
        assert!(world.ok(&["--dir", "prod", "read", user]).contains("Erika"));
    }
    world.ok(&["--dir", "prod", "forget", "user-1", "--reason", "ticket 1", "--yes"]);
    assert!(world.ok(&["--dir", "prod", "read", "user-2"]).contains("Erika"));
}

/// Exit code 0, no word, and production was gone.
#[test]
fn a_copied_folder_does_not_lead_a_restoration_to_the_slot_in_use() {
    for options in [&[][..], &["--root", "slots/prod.root"], &["--kek", "file:kek"]] {
        let world = production(options);
        let slot = match options {
            ["--root", slot] => world.path(slot),
            _ => world.root_slot(),
        };
        copied(&world);
        let before = fs::read(&slot).unwrap();
        is_refused(&world.run(&RESTORE), &slot);
        assert!(fs::read(&slot).unwrap() == before && !world.path("drill/vault").exists());
        let ran = world.run(&[&RESTORE[..], &["--root", "drill.root"]].concat());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert!(ran.stderr.contains("if no folder uses it any more, destroy it"), "{}", ran.stderr);
        assert!(world.ok(&["--dir", "drill", "read", "user-1"]).contains("Erika"));
        production_works(&world);
        assert!(world.ok(&["--dir", "drill", "read", "user-1"]).contains("Erika"));
    }
}

/// Of all that production has, the drill has the events and the environment.
#[test]
fn the_environment_does_not_lead_a_restoration_to_the_slot_in_use() {
    let world = production(&["--root", "slots/prod.root"]);
    let slot = world.path("slots/prod.root");
    copy(&world.path("prod/events"), &world.path("drill/events"));
    is_refused(&with_root(&world, &slot, &RESTORE), &slot);
    assert!(!world.path("drill/vault").exists() && !world.path("drill/oubliette.json").exists());
    // What the command line says counts more than the environment.
    let args = [&RESTORE[..], &["--root", "drill.root"]].concat();
    let ran = with_root(&world, &slot, &args);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    production_works(&world);
}

/// A copied manifest leads to this user's settings, and they to the mirrors of production.
#[test]
fn a_restoration_leaves_the_mirrors_in_use_alone() {
    let world = production(&["--mirror", "mirror.root"]);
    copied(&world);
    let ran = world.run(&[&RESTORE[..], &["--root", "drill.root"]].concat());
    is_refused(&ran, &world.path("mirror.root"));
    assert!(!world.path("drill.root").exists());
    production_works(&world);
    // Without the manifest nothing leads there.
    fs::remove_file(world.path("drill/oubliette.json")).unwrap();
    world.ok(&[&RESTORE[..], &["--root", "drill.root"]].concat());
    assert!(world.ok(&["--dir", "prod", "read", "user-2"]).contains("Erika"));
}

/// Who says so gets the vault back where it was, and the root that the slot held is gone.
#[test]
fn a_slot_whose_folder_is_gone_is_overwritten_where_somebody_says_so() {
    let world = production(&[]);
    let slot = world.root_slot();
    fs::rename(world.path("prod/vault"), world.path("moved")).unwrap();
    let restore = ["--dir", "prod", "restore", "copy.age", "--identity", "key.txt"];
    is_refused(&world.run(&restore), &slot);
    fs::rename(world.path("moved"), world.path("prod/vault")).unwrap();
    assert!(world.ok(&["--dir", "prod", "read", "user-2"]).contains("Erika"));

    fs::rename(world.path("prod/vault"), world.path("moved")).unwrap();
    world.ok(&[&restore[..], &["--overwrite-slot"]].concat());
    assert_eq!(world.root_slot(), slot);
    assert!(world.ok(&["--dir", "prod", "read", "user-1"]).contains("Erika"));
    let told = world.fails(1, &["--dir", "prod", "--vault", "moved", "read", "user-1"]);
    assert!(told.contains("the vault was restored elsewhere into this slot"), "{told}");
    // Where the slot is gone as well, nobody need say anything.
    fs::remove_dir_all(world.path("prod/vault")).unwrap();
    fs::remove_file(&slot).unwrap();
    world.ok(&restore);
    assert_eq!(world.root_slot(), slot);
}

/// The advice was to copy one slot over the other, which was production's.
#[test]
fn a_copy_with_a_slot_of_its_own_says_that_the_environment_names_another() {
    let world = production(&["--root", "slots/prod.root"]);
    let slot = world.path("slots/prod.root");
    copy(&world.path("prod"), &world.path("staging"));
    let staging = |args: &[&str]| with_root(&world, &slot, &[&["--dir", "staging"], args].concat());
    let ran = staging(&["root", "own"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let own = world.root_slot();
    let (theirs, own) = (slot.to_str().unwrap(), own.to_str().unwrap());
    for word in ["OUBLIETTE_ROOT", theirs, own] {
        assert!(ran.stderr.contains(word), "{word}: {}", ran.stderr);
    }
    // Behind the copy's pages, and before them.
    for _ in 0..3 {
        let ran = staging(&["read", "user-1"]);
        assert_eq!(ran.code, 1, "{}", ran.stdout);
        for word in ["OUBLIETTE_ROOT", theirs, own, "Copy neither"] {
            assert!(ran.stderr.contains(word), "{word}: {}", ran.stderr);
        }
        assert!(!ran.stderr.contains("put the present one"), "{}", ran.stderr);
        world.ok(&["--dir", "prod", "rotate", "--root-key"]);
    }
    assert!(world.ok(&["--dir", "staging", "read", "user-1"]).contains("Erika"));
    production_works(&world);
}
