//! Folders that are not ours, not whole, not writable, or not of this time.

use std::{fs, process::Command};

use crate::world::World;

fn world() -> World {
    let world = World::new();
    world.ok(&["append", "s-1", "T", "--data", "\"kept\""]);
    world
}

#[test]
fn a_new_folder_says_where_its_root_slot_is() {
    let world = World::new();
    let ran = world.run(&["append", "s-1", "T"]);
    let root = world.root_slot();
    assert!(ran.stderr.contains(root.to_str().unwrap()), "{}", ran.stderr);
    assert!(ran.stderr.contains("oubliette backup"), "{}", ran.stderr);
    assert!(!ran.stdout.contains("root"), "{}", ran.stdout);
    // Once.
    assert_eq!(world.run(&["append", "s-1", "T"]).stderr, "");

    fs::create_dir(world.path("slots")).unwrap();
    let ran = world.run(&["--dir", "d", "--root", "slots/mine.root", "append", "s-1", "T"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(world.path("slots/mine.root").is_file());
    world.ok(&["--dir", "d", "read", "s-1"]);
}

/// SQLite takes a relative name of this form for a URI: of a database in memory, or nowhere.
#[test]
fn a_folder_whose_name_begins_as_a_uri_is_a_folder() {
    let world = World::new();
    for dir in ["file:y", "file:x?mode=memory&a="] {
        let create = ["--dir", dir, "vault", "create", "--pages", "sqlite"];
        world.ok(&create);
        world.ok(&["--dir", dir, "append", "s-1", "T", "--data", "\"kept\""]);
        assert!(world.ok(&["--dir", dir, "read", "s-1"]).contains("kept"), "{dir}");
        assert!(world.path(dir).join("events/events.db").is_file(), "{dir}");
        let mut beside = fs::read_dir(world.dir.path()).unwrap();
        assert!(beside.all(|entry| entry.unwrap().file_name() != "file:"), "{dir}");
    }
}

/// `afile is not empty`, and a vault "without events" of a folder that was nowhere.
#[test]
fn the_path_that_was_looked_at_is_named_and_a_file_is_called_one() {
    let world = World::new();
    world.ok(&["append", "s-1", "T"]);
    let told = world.fails(1, &["--store", "nix", "read", "s-1"]);
    assert!(told.contains("no events at nix"), "{told}");
    let told = world.fails(1, &["--vault", "nix", "read", "s-1"]);
    assert!(told.contains("no vault at nix"), "{told}");
    world.write("afile", "a text");
    for args in [
        &["--dir", "afile", "append", "s-1", "T"] as &[&str],
        &["--dir", "afile", "read", "s-1"],
        &["--dir", "afile/", "append", "s-1", "T"],
        &["--dir", "afile/", "read", "s-1"],
        &["--dir", "new", "--store", "afile", "append", "s-1", "T"],
        &["--dir", "new", "--vault", "afile", "append", "s-1", "T"],
        &["--vault", "afile", "read", "s-1"],
    ] {
        let told = world.fails(1, args);
        assert!(told.contains("afile is a file") && !told.contains("empty"), "{args:?}: {told}");
    }
    let told = world.fails(1, &["--store", "afile", "read", "s-1"]);
    assert!(told.contains("it is not a folder"), "{told}");
    assert_eq!(fs::read_to_string(world.path("afile")).unwrap(), "a text");
}

/// `File exists`, of a folder that was not there.
#[cfg(unix)]
#[test]
fn a_link_to_nothing_in_the_place_of_a_folder_is_called_one() {
    let world = World::new();
    std::os::unix::fs::symlink("gone", world.path("link")).unwrap();
    let told = world.fails(1, &["--dir", "link", "append", "s-1", "T"]);
    assert!(told.contains("link is a symbolic link to something that is not there"), "{told}");
    assert!(!world.path("gone").exists() && !world.path("state").exists());
    // Made where it leads to, it is a folder as any.
    fs::create_dir(world.path("gone")).unwrap();
    world.ok(&["--dir", "link", "append", "s-1", "T"]);
}

#[test]
fn one_that_is_not_ours_is_left_as_it_is() {
    let world = World::new();
    fs::create_dir(world.path("oubliette-data")).unwrap();
    world.write("oubliette-data/novel.txt", "Chapter 1");
    for args in [&["append", "s-1", "T"] as &[&str], &["read", "s-1"], &["inventory"]] {
        let told = world.fails(1, args);
        assert!(told.contains("not a data folder of ours"), "{told}");
    }
    assert_eq!(fs::read_dir(world.path("oubliette-data")).unwrap().count(), 1);
    world.write("file", "x");
    world.fails(1, &["--dir", "file", "append", "s-1", "T"]);
}

#[test]
fn events_that_belong_elsewhere_are_named_and_nothing_is_left_behind() {
    let world = World::new();
    for dir in ["one", "two"] {
        world.ok(&["--dir", dir, "append", "s-1", "T", "--data", "1"]);
    }
    let append = ["append", "s-1", "T", "--data", "1"];
    let elsewhere = ["--dir", "new", "--store", "one/events"];
    let told = world.fails(1, &[&elsewhere[..], &append].concat());
    for word in ["no data folder at", "one/events must be empty", "--dir", "--store"] {
        assert!(told.contains(word), "{told}");
    }
    assert!(!world.path("new").exists());
    let told = world.fails(1, &["--dir", "two", "--store", "one/events", "read", "s-1"]);
    assert!(told.contains("the events in ") && told.contains("one/events are sealed"), "{told}");
}

#[test]
fn one_of_a_newer_format_is_left_as_it_is() {
    let world = world();
    let manifest = world.path("oubliette-data/oubliette.json");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replace("\"oubliette\": 1", "\"oubliette\": 99")).unwrap();
    for args in
        [&["append", "s-1", "T"] as &[&str], &["read", "s-1"], &["--no-vault", "read", "s-1"]]
    {
        let told = world.fails(1, args);
        assert!(told.contains("format is 99"), "{told}");
    }
    fs::write(&manifest, text).unwrap();
    assert_eq!(world.data("s-1"), ["kept"]);
}

#[test]
fn a_store_without_its_vault_gets_no_new_one() {
    let world = world();
    let (vault, away) = (world.path("oubliette-data/vault"), world.path("away"));
    fs::rename(&vault, &away).unwrap();
    for args in [&["append", "s-1", "T"] as &[&str], &["import", "/dev/null"], &["read", "s-1"]] {
        let told = world.fails(1, args);
        assert!(told.contains("there is no vault at "), "{told}");
    }
    assert!(!vault.exists());
    assert_eq!(world.json(&["--no-vault", "read", "s-1"]).len(), 1);
    fs::rename(&away, &vault).unwrap();
    assert_eq!(world.data("s-1"), ["kept"]);
}

#[test]
fn a_vault_without_its_store_gets_no_new_one() {
    let world = world();
    let (events, away) = (world.path("oubliette-data/events"), world.path("away"));
    fs::rename(&events, &away).unwrap();
    for args in [&["append", "s-1", "T"] as &[&str], &["read", "s-1"], &["inventory"]] {
        let told = world.fails(1, args);
        assert!(told.contains("there are no events at "), "{told}");
    }
    assert!(!events.exists());
    fs::rename(&away, &events).unwrap();
    assert_eq!(world.data("s-1"), ["kept"]);
}

#[test]
fn a_vault_of_another_store_is_found_out() {
    let world = world();
    world.ok(&["--dir", "other", "append", "s-1", "T"]);
    let told = world.fails(1, &["--store", "other/events", "read", "s-1"]);
    assert!(told.contains("are sealed by vault"), "{told}");
    let told = world.fails(1, &["--store", "other/events", "append", "s-1", "T"]);
    assert!(told.contains("are sealed by vault"), "{told}");
}

#[test]
fn without_its_root_slot_nothing_opens_and_nothing_is_made() {
    let world = world();
    let root = world.root_slot();
    let away = world.path("slot");
    fs::rename(&root, &away).unwrap();
    let told = world.fails(1, &["append", "s-1", "T"]);
    assert!(told.contains("root slot"), "{told}");
    assert!(!root.exists());
    // It may lie elsewhere, if one says where.
    world.ok(&["--root", away.to_str().unwrap(), "read", "s-1"]);
    fs::rename(&away, &root).unwrap();
    assert_eq!(world.data("s-1"), ["kept"]);
}

#[test]
fn vault_and_store_may_lie_elsewhere_and_are_found_again() {
    let world = World::new();
    world.ok(&["--vault", "v", "--store", "e", "append", "s-1", "T", "--data", "1"]);
    assert!(world.path("v").is_dir() && world.path("e/events.db").is_file());
    assert_eq!(world.data("s-1"), [1]);
}

/// What a process leaves that is killed while it makes the folder is taken on, not given up.
#[test]
fn a_folder_whose_making_was_cut_off_is_completed() {
    let world = world();
    let manifest = world.path("oubliette-data/oubliette.json");
    let text = fs::read_to_string(&manifest).unwrap();
    let vault = text.lines().find(|line| line.contains("\"vault\"")).unwrap().to_owned();
    let unfinished = text.replace(&vault, "  \"vault\": null,");

    // With events in it, it was finished: no new vault beside them.
    fs::write(&manifest, &unfinished).unwrap();
    world.fails(1, &["append", "s-1", "T"]);
    fs::write(&manifest, &text).unwrap();
    assert_eq!(world.data("s-1"), ["kept"]);

    // Store there, vault cut off half-way: a new one, with a new slot.
    let fresh = |dir: &str| {
        fs::create_dir_all(world.path(dir).join("vault/pages")).unwrap();
        fs::write(world.path(dir).join("vault/pages/half"), "a page").unwrap();
        fs::write(world.path(dir).join("oubliette.json"), &unfinished).unwrap();
    };
    fresh("half");
    world.fails(1, &["--dir", "half", "read", "s-1"]);
    world.ok(&["--dir", "half", "append", "s-1", "T", "--data", "2"]);
    assert!(world.ok(&["--dir", "half", "--json", "read", "s-1"]).contains("\"data\":2"));
    assert_eq!(fs::read_dir(world.path("state/oubliette")).unwrap().count(), 2);
    // The other folder's slot was not touched.
    assert_eq!(world.data("s-1"), ["kept"]);
}

#[test]
fn two_that_make_the_same_folder_make_one() {
    let world = World::new();
    let children: Vec<_> = (0..8).map(|_| world.spawn(&["append", "s-1", "T"])).collect();
    let done = children
        .into_iter()
        .map(|child| child.wait_with_output().unwrap())
        .filter(|output| match output.status.code() {
            Some(0) => true,
            Some(5) => false,
            other => panic!("{other:?}: {}", String::from_utf8_lossy(&output.stderr)),
        })
        .count();
    assert!(done >= 1);
    assert_eq!(world.data("s-1").len(), done);
    assert_eq!(fs::read_dir(world.path("state/oubliette")).unwrap().count(), 1);
}

#[cfg(unix)]
#[test]
fn a_read_only_folder_is_said_to_be_one() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    let folder = world.path("sealed-off");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o500)).unwrap();
    let mut command = world.command(&["--dir", "sealed-off/d", "append", "s-1", "T"]);
    if fs::write(folder.join("probe"), "x").is_ok() {
        // The superuser may write everywhere, but for one without that right.
        command = without_rights(&command);
    }
    let ran = command.output().unwrap();
    let told = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(ran.status.code(), Some(1), "{told}");
    assert!(told.contains("sealed-off") && told.contains("ermission"), "{told}");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
}

/// The same command, by a superuser whom the modes of files bind like others.
#[cfg(unix)]
fn without_rights(command: &Command) -> Command {
    let mut bound = Command::new("setpriv");
    bound.arg("--bounding-set=-dac_override,-dac_read_search").arg(command.get_program());
    bound.args(command.get_args()).current_dir(command.get_current_dir().unwrap());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => bound.env(name, value),
            None => bound.env_remove(name),
        };
    }
    bound
}

/// A folder whose own file is lost is not nothing, and not somebody else's: whoever has the slot has it back.
#[test]
fn a_folder_without_a_whole_manifest_is_opened_with_its_slot_and_gets_it_anew() {
    let world = world();
    let manifest = world.path("oubliette-data/oubliette.json");
    let whole = fs::read(&manifest).unwrap();
    let slot = world.root_slot();
    let root = slot.to_str().unwrap();
    world.ok(&["--dir", "other", "--root", "other.root", "append", "s", "T"]);
    let bom = [b"\xef\xbb\xbf", &whole[..]].concat();
    fs::write(&manifest, &bom).unwrap();
    assert_eq!(world.data("s-1"), ["kept"], "a mark before the text is no damage");

    let cuts = (0..whole.len() - 2).step_by(17).map(|cut| Some(whole[..cut].to_vec()));
    let odd =
        [None, Some(vec![0xff, 0xfe, 0]), Some(b"[]".to_vec()), Some(b"{\"name\":1}".to_vec())];
    for broken in cuts.chain(odd) {
        match &broken {
            Some(text) => fs::write(&manifest, text).unwrap(),
            None => fs::remove_file(&manifest).unwrap(),
        }
        let stays = || assert_eq!(fs::read(&manifest).ok(), broken, "it was written");
        for args in [&["append", "s-1", "T"] as &[&str], &["read", "s-1"], &["inventory"]] {
            let told = world.fails(1, args);
            assert!(told.contains("is damaged") && told.contains("--root SLOT root"), "{told}");
            stays();
        }
        // Neither another vault's slot counts, nor one that is not there, nor other events.
        for (slot, says) in [("other.root", "belongs to vault"), ("absent.root", "absent.root")] {
            let told = world.fails(1, &["--root", slot, "read", "s-1"]);
            assert!(told.contains(says), "{told}");
            stays();
        }
        let told = world.fails(1, &["--root", root, "--store", "other/events", "read", "s-1"]);
        assert!(told.contains("sealed by vault"), "{told}");
        stays();
        let ran = world.run(&["--root", root, "read", "s-1"]);
        assert!(ran.code == 0 && ran.stdout.contains("kept"), "{}", ran.stderr);
        assert!(ran.stderr.contains("written anew"), "{}", ran.stderr);
        // Found without a word from now on.
        assert_eq!(world.data("s-1"), ["kept"]);
        assert_eq!(world.run(&["read", "s-1"]).stderr, "");
    }
    // What is not ours stays so, whatever is named.
    fs::rename(world.path("oubliette-data/vault"), world.path("vault")).unwrap();
    fs::write(&manifest, "").unwrap();
    let told = world.fails(1, &["--root", root, "read", "s-1"]);
    assert!(told.contains("not a data folder of ours"), "{told}");
}
