//! Symbolic links, other users' files and wide modes in places where somebody else may write.

use std::{
    fs,
    os::unix::fs::{DirBuilderExt, MetadataExt, chown, symlink},
};

use crate::{skip::skipped, world::World};

fn world() -> World {
    let world = World::new();
    world.ok(&["append", "s-1", "T", "--data", "\"kept\""]);
    world
}

/// A folder of somebody else's business, with something in it.
fn precious(world: &World) -> impl Fn() + use<> {
    let folder = world.path("precious");
    fs::create_dir_all(folder.join("letters")).unwrap();
    fs::write(folder.join("letters/one"), "from Erika").unwrap();
    fs::write(folder.join("diary"), "of Otto").unwrap();
    move || {
        assert_eq!(fs::read(folder.join("letters/one")).unwrap(), b"from Erika");
        assert_eq!(fs::read(folder.join("diary")).unwrap(), b"of Otto");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2, "something was made in it");
    }
}

fn is_a_link(told: &str) {
    assert!(told.contains("symbolic link"), "{told}");
}

#[test]
fn a_lock_that_is_a_link_truncates_no_file() {
    let world = world();
    let unharmed = precious(&world);
    for lock in ["oubliette-data/vault/lock", "new/.making"] {
        let lock = world.path(lock);
        fs::create_dir_all(lock.parent().unwrap()).unwrap();
        let _ = fs::remove_file(&lock);
        symlink(world.path("precious/diary"), &lock).unwrap();
    }
    is_a_link(&world.fails(1, &["read", "s-1"]));
    is_a_link(&world.fails(1, &["--dir", "new", "append", "s-1", "T"]));
    unharmed();
    fs::remove_file(world.path("oubliette-data/vault/lock")).unwrap();
    assert_eq!(world.data("s-1"), ["kept"]);
}

#[test]
fn a_draft_that_is_a_link_or_not_ours_is_not_emptied() {
    let world = world();
    let unharmed = precious(&world);
    let to = crate::backup::keygen(&world, "key.txt");
    world.ok(&["backup", "--to", &to, "--expires", "90d", "copy.age"]);
    fs::rename(world.path("oubliette-data/vault"), world.path("lost")).unwrap();
    let restore = ["restore", "copy.age", "--identity", "key.txt", "--overwrite-slot"];

    let draft = world.path("oubliette-data/vault");
    symlink(world.path("precious"), &draft).unwrap();
    is_a_link(&world.fails(1, &restore));
    unharmed();
    fs::remove_file(&draft).unwrap();

    // A folder that nobody made for this, also where it says that it is a draft.
    fs::rename(world.path("precious"), &draft).unwrap();
    let told = world.fails(1, &restore);
    assert!(told.contains("move it away"), "{told}");
    let header = r#"{"kind":"oubliette vault","format":1,"vault":null,"pages":"sled"}"#;
    fs::write(draft.join("vault.json"), header).unwrap();
    let told = world.fails(1, &restore);
    assert!(told.contains("vault/") && told.contains("never finished"), "{told}");
    for ours in ["lock", "vault.json"] {
        fs::remove_file(draft.join(ours)).unwrap();
    }
    fs::rename(&draft, world.path("precious")).unwrap();
    unharmed();

    // What an attempt left that was cut off is removed, and a link in it is not followed.
    fs::create_dir_all(draft.join("pages/blobs")).unwrap();
    fs::write(draft.join("vault.json"), header).unwrap();
    symlink(world.path("precious"), draft.join("pages/blobs/1")).unwrap();
    world.ok(&restore);
    unharmed();
    assert_eq!(world.data("s-1"), ["kept"]);
}

#[test]
fn a_vault_that_is_a_link_is_never_removed_as_unfinished() {
    let world = world();
    let unharmed = precious(&world);
    fs::create_dir(world.path("half")).unwrap();
    world
        .write("half/oubliette.json", "{\"oubliette\": 1, \"vault\": null, \"root\": \"/absent\"}");
    symlink(world.path("precious"), world.path("half/vault")).unwrap();
    world.fails(1, &["--dir", "half", "append", "s-1", "T"]);
    unharmed();
    // Nor one that was finished, whatever the folder says, nor what is nobody's vault.
    fs::remove_file(world.path("half/vault")).unwrap();
    fs::rename(world.path("oubliette-data/vault"), world.path("half/vault")).unwrap();
    world.fails(1, &["--dir", "half", "append", "s-1", "T"]);
    fs::rename(world.path("half/vault"), world.path("oubliette-data/vault")).unwrap();
    assert_eq!(world.data("s-1"), ["kept"]);
    fs::rename(world.path("precious"), world.path("half/vault")).unwrap();
    world.fails(1, &["--dir", "half", "append", "s-1", "T"]);
    let _ = fs::remove_file(world.path("half/vault/lock"));
    fs::rename(world.path("half/vault"), world.path("precious")).unwrap();
    unharmed();
}

#[test]
fn databases_are_not_opened_through_links() {
    let world = world();
    let unharmed = precious(&world);
    for (place, away) in [("events/events.db", "db"), ("vault/pages", "pages")] {
        let place = world.path("oubliette-data").join(place);
        fs::rename(&place, world.path(away)).unwrap();
        symlink(world.path("precious"), &place).unwrap();
        is_a_link(&world.fails(1, &["read", "s-1"]));
        is_a_link(&world.fails(1, &["append", "s-1", "T"]));
        fs::remove_file(&place).unwrap();
        fs::rename(world.path(away), &place).unwrap();
    }
    unharmed();
    assert_eq!(world.data("s-1"), ["kept"]);
}

#[test]
fn a_slot_or_mirror_that_is_a_link_or_another_users_is_refused() {
    let world = World::new();
    world.ok(&["--root", "slot", "--mirror", "mirror", "append", "s-1", "T"]);
    for file in ["slot", "mirror"] {
        fs::rename(world.path(file), world.path("away")).unwrap();
        symlink(world.path("away"), world.path(file)).unwrap();
        let ran = world.run(&["root"]);
        is_a_link(&[ran.stdout.as_str(), &ran.stderr].concat());
        fs::remove_file(world.path(file)).unwrap();
        fs::rename(world.path("away"), world.path(file)).unwrap();
        if chown(world.path(file), Some(65_533), None).is_err() {
            // Where disks are available, we are the superuser.
            skipped("OUBLIETTE_REQUIRE_DISKS", "only the superuser can give a file away");
            continue;
        }
        let ran = world.run(&["root"]);
        assert!([ran.stdout, ran.stderr].concat().contains("belongs to user 65533"));
        chown(world.path(file), Some(fs::metadata(world.dir.path()).unwrap().uid()), None).unwrap();
    }
    assert_eq!(world.json(&["root"])[0]["mirrors"][0]["stale"], false);
}

/// Also where the user's mask lets others read, and vault and store lie elsewhere.
#[test]
fn what_is_made_is_its_owners_alone() {
    let world = World::new();
    for folder in ["r", "m"] {
        fs::DirBuilder::new().mode(0o700).create(world.path(folder)).unwrap();
    }
    let args = ["--vault", "v/v", "--store", "e/e", "--root", "r/r", "--mirror", "m/m"];
    let shell = format!("umask 022; exec {} \"$@\"", env!("CARGO_BIN_EXE_oubliette"));
    let mut command = std::process::Command::new("sh");
    command.arg("-c").arg(shell).arg("sh").args(args).args(["append", "s-1", "T"]);
    command.current_dir(world.dir.path()).env("HOME", world.path("home"));
    command.env("XDG_CONFIG_HOME", world.path("config")).env("XDG_STATE_HOME", world.path("state"));
    assert!(command.output().unwrap().status.success());
    let mut seen = 0;
    let mut look = vec![world.dir.path().to_owned()];
    while let Some(folder) = look.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let mode = fs::symlink_metadata(&path).unwrap().mode() & 0o777;
            assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", path.display());
            seen += 1;
            if path.is_dir() {
                look.push(path);
            }
        }
    }
    assert!(seen > 12, "{seen}");
}

#[test]
fn an_old_folder_into_which_others_may_look_is_told_with_what_to_do() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    world.ok(&["--store", "e", "append", "s-1", "T"]);
    for (folder, mode, may) in [
        ("oubliette-data", 0o755, "look in"),
        ("oubliette-data/vault", 0o777, "write"),
        ("e", 0o750, "look in"),
    ] {
        let path = world.path(folder);
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let ran = world.run(&["read", "s-1"]);
        let command =
            format!("chmod -R go= {}", if folder == "e" { path.to_str().unwrap() } else { "./" });
        assert!(ran.code == 0 && ran.stderr.contains(&command), "{}", ran.stderr);
        assert!(ran.stderr.contains(may) && ran.stderr.contains(folder), "{}", ran.stderr);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    }
    assert_eq!(world.run(&["read", "s-1"]).stderr, "");
}
