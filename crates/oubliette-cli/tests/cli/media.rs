//! The media that slots and mirrors are on: away, shared, or not to be written to.

use std::{fs, path::Path, process::Command};

use serde_json::Value;

use crate::{backup::keygen, skip::skipped, world::World};

/// Promises that file systems can be mounted.
const DISKS: &str = "OUBLIETTE_REQUIRE_DISKS";

/// A file system in memory, unmounted when dropped.
struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    fn at(path: &'a Path) -> Option<Self> {
        fs::create_dir_all(path).unwrap();
        mount(&["-t", "tmpfs", "-o", "mode=700", "none"], path).then_some(Self(path))
    }

    fn make_read_only(&self) {
        assert!(mount(&["-o", "remount,ro"], self.0));
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

fn mount(options: &[&str], path: &Path) -> bool {
    let done = Command::new("mount").args(options).arg(path).output();
    done.is_ok_and(|done| done.status.success())
}

/// It was made on the system's disk, and a person who was forgotten while the medium was mounted over it was read
/// again with it later.
#[test]
fn no_folder_is_made_for_a_slot_or_a_mirror_whose_medium_is_away() {
    let world = World::new();
    let away = |args: &[&str]| {
        let told = world.fails(1, &[&["--json"], args].concat());
        let told: Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
        assert_eq!(told["kind"], "slot.no_folder", "{args:?}: {told}");
        let text = told["error"].as_str().unwrap();
        assert!(text.contains("media/stick") && text.contains("mount the medium"), "{text}");
        assert!(!world.path("media").exists(), "{args:?}");
    };
    let append = ["append", "s-1", "T", "--data", r#"{"name":"Erika"}"#];
    away(&[&["--dir", "new", "--root", "media/stick/new.root"], &append[..]].concat());
    away(&[&["--dir", "new", "--mirror", "media/stick/new.root"], &append[..]].concat());
    assert!(!world.path("new").exists());

    world.ok(&[&["--root", "one.root"], &append[..]].concat());
    let root = fs::canonicalize(world.path("one.root")).unwrap();
    away(&["root", "mirror", "add", "media/stick/bank.root"]);
    away(&["--mirror", "media/stick/bank.root", "read", "s-1"]);
    away(&["root", "move", "media/stick/bank.root"]);
    let state = world.json(&["root"]).remove(0);
    assert_eq!(state["place"], root.to_str().unwrap());
    assert_eq!(state["mirrors"], serde_json::json!([]));
    // The slot is made again of its mirror only where it was.
    world.ok(&["root", "mirror", "add", "mirror.root"]);
    away(&["--root", "media/stick/bank.root", "read", "s-1"]);

    let copied = Command::new("cp")
        .arg("-a")
        .args(["oubliette-data", "copy"])
        .current_dir(&world.dir)
        .status();
    assert!(copied.unwrap().success());
    away(&["--dir", "copy", "root", "own", "media/stick/own.root"]);

    let to = keygen(&world, "key.txt");
    world.ok(&["backup", "--to", &to, "--expires", "90d", "copy.age"]);
    fs::remove_dir_all(world.path("copy/vault")).unwrap();
    let restore = ["restore", "copy.age", "--identity", "key.txt"];
    away(&[&["--dir", "copy", "--root", "media/stick/restored.root"], &restore[..]].concat());
    assert!(!world.path("copy/vault").exists());
    assert!(world.ok(&["read", "s-1"]).contains("Erika"));
}

/// The folder of a user's own slots is no medium, and is made, also where all of it was lost.
#[test]
fn the_users_own_folder_of_slots_is_made() {
    let world = World::new();
    world.ok(&["append", "s-1", "T", "--data", "1"]);
    world.ok(&["root", "mirror", "add", "mirror.root"]);
    fs::remove_dir_all(world.path("state")).unwrap();
    assert_eq!(world.data("s-1"), [1]);
    assert!(world.root_slot().is_file());
}

#[test]
fn a_mirror_on_the_device_of_the_slot_or_the_vault_is_warned_of() {
    let world = World::new();
    let ran = world.run(&["--root", "one.root", "--mirror", "two.root", "append", "s-1", "T"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let beside = |told: &str, mirror: &str, other: &str| {
        let line = told.lines().find(|line| line.contains("the same device")).unwrap_or_default();
        assert!(line.contains(mirror) && line.contains(other), "{told}");
        assert!(told.contains("mounted at /"), "{told}");
    };
    beside(&ran.stderr, "two.root", "one.root");
    let ran = world.run(&["root", "mirror", "add", "three.root"]);
    beside(&ran.stderr, "three.root", "one.root");
    assert!(ran.stdout.contains("on one device with"), "{}", ran.stdout);
    // One that moves is no mirror.
    let ran = world.run(&["root", "move", "four.root"]);
    assert!(ran.code == 0 && !ran.stderr.contains("same device"), "{}", ran.stderr);

    let stick = world.path("stick");
    let Some(_mounted) = Mounted::at(&stick) else {
        skipped(DISKS, "no file system could be mounted; run as root");
        return;
    };
    let ran = world.run(&["root", "mirror", "add", "stick/bank.root"]);
    assert!(ran.code == 0 && !ran.stderr.contains("same device"), "{}", ran.stderr);
    let medium = format!("tmpfs, mounted at {}", stick.canonicalize().unwrap().display());
    assert!(ran.stderr.contains(&medium), "{}", ran.stderr);
    // The slot is elsewhere, and the vault's folder is there.
    let ran = world.run(
        &[
            &["--dir", "stick/data", "--root", "five.root", "--mirror", "stick/five.root"][..],
            &["append", "s-1", "T"],
        ]
        .concat(),
    );
    beside(&ran.stderr, "stick/five.root", "stick/data/vault");
}

/// A mirror that was made on the disk below a mount point is hidden by what is mounted there. It stays pending by name,
/// and is overwritten as soon as it is seen.
#[test]
fn a_mirror_that_a_mount_hides_is_pending_until_it_is_seen_again() {
    let world = World::new();
    let stick = world.path("stick");
    fs::create_dir(&stick).unwrap();
    world.ok(&["append", "s-1", "T", "--data", r#"{"name":"Erika"}"#]);
    world.ok(&["root", "mirror", "add", "stick/bank.root"]);
    let Some(mounted) = Mounted::at(&stick) else {
        skipped(DISKS, "no file system could be mounted; run as root");
        return;
    };
    let earlier = fs::read(world.root_slot()).unwrap()[104..136].to_vec();
    let ran = world.run(&["forget", "s-1", "--reason", "r", "--yes"]);
    assert!(ran.code == 1 && ran.stderr.contains("is its device attached"), "{}", ran.stderr);
    drop(mounted);
    let holds = || {
        let bytes = fs::read(world.path("stick/bank.root")).unwrap();
        bytes.windows(32).any(|window| window == earlier)
    };
    assert!(holds());
    assert!(world.ok(&["erasures"]).contains("done"));
    assert!(!holds());
}

/// It was "the vault's storage failed".
#[test]
fn a_disk_that_can_only_be_read_is_told_as_such_with_what_to_do() {
    let world = World::new();
    let disk = world.path("disk");
    for (part, args) in [
        ("vault", ["--dir", "disk/data", "--root", "vault.root"]),
        ("slot", ["--dir", "slot", "--root", "disk/slot.root"]),
        ("open_store", ["--dir", "store", "--store", "disk/events"]),
    ] {
        let Some(mounted) = Mounted::at(&disk) else {
            skipped(DISKS, "no file system could be mounted; run as root");
            return;
        };
        world.ok(&[&args[..], &["append", "s-1", "T", "--data", "1"]].concat());
        mounted.make_read_only();
        let told = world.fails(1, &[&args[..], &["--json", "append", "s-1", "T"]].concat());
        let told: Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
        let kind = match part {
            "open_store" => "open_store.read_only".to_owned(),
            part => format!("{part}.disk_read_only"),
        };
        assert_eq!(told["kind"], kind.as_str(), "{told}");
        assert!(told["hint"].as_str().unwrap().contains("--read-only"), "{told}");
        let read = world.ok(&[&args[..], &["--read-only", "--json", "read", "s-1"]].concat());
        assert!(read.contains("\"data\":1"), "{read}");
    }
}
