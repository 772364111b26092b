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

/// It was two mirrors, of which the first that was retired destroyed both; and a slot beside itself.
#[cfg(unix)]
#[test]
fn a_file_is_one_file_by_whichever_name() {
    let world = world();
    fs::create_dir(world.path("m")).unwrap();
    std::os::unix::fs::symlink(world.path("m"), world.path("link")).unwrap();
    let names = ["m/x", "m/../m/x", "link/x"];
    for name in names {
        world.ok(&["root", "mirror", "add", name]);
    }
    let root = |world: &World| world.json(&["root"]).remove(0);
    let mirror = world.path("m/x").to_str().unwrap().to_owned();
    assert_eq!(root(&world)["mirrors"].as_array().unwrap().len(), 1);
    assert_eq!(root(&world)["mirrors"][0]["name"], mirror.as_str());
    let told = world.fails(1, &["root", "mirror", "add", "m/../one.root"]);
    assert!(told.contains("the root slot itself"), "{told}");
    // Onto that mirror, and onto itself.
    let told = world.ok(&["root", "move", names[1]]);
    assert!(told.contains("moved from") && !world.path("one.root").exists(), "{told}");
    for name in names {
        assert!(world.ok(&["root", "move", name]).contains("there already"));
    }
    assert_eq!(root(&world)["place"], mirror.as_str());
    assert_eq!(root(&world)["mirrors"], serde_json::json!([]));
    world.ok(&["--root", "link/x", "forget", "user-1", "--reason", "asked", "--yes"]);
    world.ok(&["append", "user-2", "T", "--data", "2"]);
    assert_eq!(world.data("user-2"), [2]);
}

/// Runs a command, and lets strace do this to its calls that have to do with one file.
#[cfg(target_os = "linux")]
fn met(
    world: &World,
    args: &[&str],
    file: &str,
    calls: &str,
    fault: &str,
) -> Option<crate::world::Ran> {
    let plain = world.command(args);
    let file = world.dir.path().canonicalize().unwrap().join(file);
    let (watched, inject) = (format!("trace={calls}"), format!("inject={calls}:{fault}"));
    let options = ["-P", file.to_str().unwrap(), "-e", &watched, "-e", &inject];
    let trace = world.path("trace");
    let mut command = crate::strace::strace(&trace, &options, plain.get_program())?;
    command.args(plain.get_args()).current_dir(plain.get_current_dir().unwrap());
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    Some(command.stdin(std::process::Stdio::null()).output().unwrap().into())
}

/// Where the medium has no locks, nothing but the file itself tells that it is the same. It was destroyed.
#[cfg(target_os = "linux")]
#[test]
fn a_slot_without_locks_is_not_moved_onto_itself() {
    let world = world();
    fs::create_dir(world.path("sub")).unwrap();
    std::os::unix::fs::symlink(world.dir.path(), world.path("link")).unwrap();
    for to in ["sub/../one.root", "link/one.root"] {
        let args = ["root", "move", to];
        let ran = met(&world, &args, "one.root", "flock", "error=EOPNOTSUPP");
        let Some(ran) = ran else { return };
        assert!(ran.code == 0 && ran.stdout.contains("there already"), "{}", ran.stderr);
        assert_eq!(world.data("user-1"), [1], "{to}");
        assert_eq!(world.json(&["root"])[0]["mirrors"], serde_json::json!([]));
    }
}

/// The file before stayed, a mirror that nobody wanted, and with it everyone who was forgotten while it was away.
#[cfg(target_os = "linux")]
#[test]
fn a_move_that_is_killed_anywhere_is_finished_by_the_same_command() {
    for (calls, step) in [("openat", 1), ("fsync", 3), ("/^unlink(at)?$", 1)] {
        for when in (1..).step_by(step) {
            let world = world();
            let (args, from) = (["root", "move", "two.root"], world.path("one.root"));
            let fault = format!("signal=SIGKILL:when={when}");
            let Some(ran) = met(&world, &args, "one.root", calls, &fault) else { return };
            if ran.code == 0 {
                assert!(when > 1, "{calls}: it was never killed");
                break;
            }
            assert!(from.exists(), "{calls} {when}: {}", ran.stderr);
            let told = world.json(&args).remove(0);
            assert_eq!(told["from"], from.to_str().unwrap(), "{calls} {when}");
            assert!(!from.exists(), "{calls} {when}");
            let root = world.json(&["root"]).remove(0);
            assert_eq!(root["place"], world.path("two.root").to_str().unwrap());
            assert_eq!(root["mirrors"], serde_json::json!([]), "{calls} {when}");
            assert_eq!(world.data("user-1"), [1]);
            // It is over: a mirror there is wanted from now on.
            world.ok(&["root", "mirror", "add", "one.root"]);
            assert!(world.ok(&args).contains("there already") && from.exists());
        }
    }
}
