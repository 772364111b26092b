//! What a data folder says is not believed, because others may write into it; and what is noted of
//! one can be found again.

use std::{ffi::OsString, fs, path::PathBuf};

use serde_json::{Value, json};

use crate::world::{Ran, World, files};

const MANIFEST: &str = "oubliette-data/oubliette.json";

fn world() -> World {
    let world = World::new();
    world.ok(&["append", "s-1", "T", "--data", "\"kept\""]);
    world
}

/// Changes what the folder says, as somebody does who may write there.
fn meddle(world: &World, members: &Value) {
    let text = fs::read_to_string(world.path(MANIFEST)).unwrap();
    let mut manifest: Value = serde_json::from_str(&text).unwrap();
    for (name, value) in members.as_object().unwrap() {
        manifest[name] = value.clone();
    }
    world.write(MANIFEST, manifest.to_string());
}

fn settings(world: &World) -> PathBuf {
    let mut all = files(&world.path("config/oubliette"));
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

#[test]
fn a_command_that_a_folder_names_as_its_kek_is_not_run() {
    let world = world();
    let mark = world.path("ran");
    let command = format!("command:touch '{}'; printf %064d 7", mark.display());
    let text = fs::read_to_string(world.path(MANIFEST)).unwrap();
    meddle(&world, &json!({ "kek": command }));
    for args in [&["read", "s-1"] as &[&str], &["root"]] {
        let told = world.fails(1, args);
        assert!(told.contains("is damaged"), "{told}");
    }
    assert!(!mark.exists());
    // Nor a module that would be loaded.
    world.write(MANIFEST, text);
    meddle(&world, &json!({ "root": "pkcs11:token=t;object=o?module-path=/tmp/evil.so" }));
    let told = world.fails(1, &["read", "s-1"]);
    assert!(told.contains("--root") && !told.contains("evil"), "{told}");
}

#[test]
fn mirrors_that_a_folder_names_get_no_root_key() {
    let world = world();
    let mirror = world.path("elsewhere/mirror");
    world.write("blank", [0; 8192]);
    meddle(&world, &json!({ "mirrors": [mirror, world.path("blank")] }));
    for args in [&["append", "s-1", "T"] as &[&str], &["root"]] {
        let told = world.fails(1, args);
        assert!(told.contains("is damaged"), "{told}");
    }
    assert!(!mirror.exists());
    assert_eq!(fs::read(world.path("blank")).unwrap(), [0; 8192]);
}

#[test]
fn a_folder_that_says_it_is_unfinished_has_nothing_removed_elsewhere() {
    let world = world();
    let letters = world.path("letters");
    fs::create_dir(&letters).unwrap();
    fs::write(letters.join("one"), "from Erika").unwrap();
    fs::create_dir(world.path("new")).unwrap();
    let manifest = |more: Value| {
        let mut manifest = json!({ "oubliette": 1, "vault": null, "root": "/x" });
        manifest.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        world.write("new/oubliette.json", manifest.to_string());
    };
    let append = ["--dir", "new", "append", "s-1", "T", "--data", "1"];
    manifest(json!({ "vault_at": letters }));
    world.fails(1, &append);
    assert!(!world.path("new/vault").exists());
    manifest(json!({}));
    world.ok(&append);
    assert_eq!(fs::read(letters.join("one")).unwrap(), b"from Erika");
    assert!(world.path("new/vault/vault.json").exists());
    // The finished vault of a folder is not removed either.
    meddle(&world, &json!({ "vault": null }));
    world.fails(1, &["append", "s-1", "T"]);
    assert!(world.path("oubliette-data/vault/vault.json").exists());
}

/// A folder whose vault is not named holds nothing yet, so the name must not get lost unseen.
#[test]
fn what_a_folder_and_its_settings_say_has_the_members_of_its_version_and_no_others() {
    let world = World::new();
    world.write("key", [7; 32]);
    world.ok(&["--kek", "file:key", "append", "s-1", "T", "--data", "\"kept\""]);
    for file in [world.path(MANIFEST), settings(&world)] {
        let whole = fs::read(&file).unwrap();
        let members: Value = serde_json::from_slice(&whole).unwrap();
        let refused = |edit: &dyn Fn(&mut serde_json::Map<String, Value>)| {
            let mut changed = members.clone();
            edit(changed.as_object_mut().unwrap());
            fs::write(&file, changed.to_string()).unwrap();
            world.fails(1, &["read", "s-1"])
        };
        for name in ["oubliette", "vault"] {
            refused(&|members| drop(members.remove(name)));
        }
        refused(&|members| drop(members.insert("more".into(), true.into())));
        refused(&|members| drop(members.insert("oubliette".into(), 0.into())));
        let told = refused(&|members| {
            members.insert("oubliette".into(), 2.into());
            members.insert("holds".into(), json!(["x"]));
        });
        assert!(told.contains("written by a newer program"), "{told}");
        fs::write(&file, whole).unwrap();
        assert_eq!(world.data("s-1"), ["kept"]);
    }
}

#[test]
fn a_folder_does_not_lead_to_what_was_noted_for_another() {
    let world = World::new();
    world.write("key", [7; 32]);
    world.ok(&["--kek", "file:key", "--dir", "rich", "append", "s-1", "T"]);
    world.ok(&["append", "s-1", "T"]);
    let rich: Value =
        serde_json::from_slice(&fs::read(world.path("rich/oubliette.json")).unwrap()).unwrap();
    meddle(&world, &json!({ "settings": rich["settings"] }));
    let told = world.fails(1, &["read", "s-1"]);
    assert!(told.contains("was changed"), "{told}");
    // Nor is a slot taken that is another vault's.
    meddle(&world, &json!({ "settings": null, "root": rich["root"] }));
    let told = world.fails(1, &["read", "s-1"]);
    assert!(told.contains("belongs to vault"), "{told}");
}

#[cfg(unix)]
#[test]
fn settings_that_others_may_write_are_not_taken() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    world.write("key", [7; 32]);
    world.ok(&["--kek", "file:key", "append", "s-1", "T", "--data", "1"]);
    let noted = settings(&world);
    assert_eq!(fs::metadata(&noted).unwrap().permissions().mode() & 0o777, 0o600);
    fs::set_permissions(&noted, fs::Permissions::from_mode(0o666)).unwrap();
    let told = world.fails(1, &["read", "s-1"]);
    assert!(told.contains("chmod 600"), "{told}");
    fs::set_permissions(&noted, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(&noted, world.path("away")).unwrap();
    std::os::unix::fs::symlink(world.path("away"), &noted).unwrap();
    assert!(world.fails(1, &["read", "s-1"]).contains("symbolic link"));
}

#[test]
fn a_mark_that_an_editor_puts_before_the_settings_is_no_damage() {
    let world = world();
    world.ok(&["root", "mirror", "add", "mirror"]);
    let noted = settings(&world);
    let text = fs::read(&noted).unwrap();
    fs::write(&noted, [b"\xef\xbb\xbf", &text[..]].concat()).unwrap();
    assert_eq!(world.data("s-1"), ["kept"]);
    assert!(world.ok(&["root"]).contains("mirror"));
}

/// A plain folder opens for whoever has the slot; one with settings says which are missing.
#[test]
fn a_folder_that_is_carried_elsewhere_says_what_is_to_be_given() {
    let world = World::new();
    let elsewhere = |args: &[&str]| -> Ran {
        world.command(args).env("XDG_CONFIG_HOME", world.path("config-2")).output().unwrap().into()
    };
    world.ok(&["append", "s-1", "T"]);
    assert_eq!(elsewhere(&["read", "s-1"]).code, 0);
    assert!(!world.path("config").exists() && !world.path("config-2").exists());

    world.write("key", [7; 32]);
    world.ok(&["root", "kek", "file:key"]);
    assert_eq!(world.run(&["read", "s-1"]).code, 0);
    let told = elsewhere(&["read", "s-1"]);
    assert!(told.code == 1 && told.stderr.contains("--kek says where it is"), "{}", told.stderr);
    assert_eq!(elsewhere(&["--kek", "file:key", "read", "s-1"]).code, 0);
    assert_eq!(elsewhere(&["read", "s-1"]).code, 0, "it is noted there, too");

    world.ok(&["--dir", "d", "--vault", "v", "--store", "e", "append", "s-1", "T"]);
    world.ok(&["--dir", "d", "read", "s-1"]);
    let told = elsewhere(&["--dir", "d", "read", "s-1"]);
    assert!(told.code == 1 && told.stderr.contains("--store"), "{}", told.stderr);
    let told = elsewhere(&["--dir", "d", "--store", "e", "read", "s-1"]);
    assert!(told.code == 1 && told.stderr.contains("--vault"), "{}", told.stderr);
    let given = ["--dir", "d", "--store", "e", "--vault", "v"];
    assert_eq!(elsewhere(&[&given[..], &["read", "s-1"]].concat()).code, 0);
    assert_eq!(elsewhere(&[&given[..], &["root"]].concat()).code, 0);
    assert_eq!(elsewhere(&["--dir", "d", "read", "s-1"]).code, 0, "`root` notes the places");

    fs::rename(world.path("oubliette-data"), world.path("moved")).unwrap();
    world.ok(&["--dir", "moved", "read", "s-1"]);
}

#[cfg(target_os = "linux")]
mod not_text {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};

    use super::*;

    fn odd(world: &World) -> PathBuf {
        let odd = world.dir.path().join(OsString::from_vec(b"m\xfcller".to_vec()));
        fs::create_dir_all(&odd).unwrap();
        odd
    }

    /// The folder was made, and nobody could read what was in it.
    #[test]
    fn a_home_whose_name_is_not_text_is_refused_before_anything_is_made() {
        let world = World::new();
        let home = odd(&world);
        let append = || {
            let mut command = world.command(&["append", "s-1", "T", "--data", "1"]);
            command.env_remove("XDG_STATE_HOME").env_remove("XDG_CONFIG_HOME").env("HOME", &home);
            command
        };
        let ran: Ran = append().output().unwrap().into();
        assert!(ran.code == 1 && ran.stderr.contains("not UTF-8"), "{}", ran.stderr);
        assert!(!world.path("oubliette-data").exists());
        assert_eq!(fs::read_dir(&home).unwrap().count(), 0);
        let ran: Ran = append().env("XDG_STATE_HOME", world.path("state")).output().unwrap().into();
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert_eq!(world.data("s-1"), [1]);
    }

    #[test]
    fn no_place_is_noted_that_is_not_text() {
        let world = world();
        let before = fs::read(world.path(MANIFEST)).unwrap();
        let odd = odd(&world).join("x");
        for option in ["--root", "--vault", "--store", "--mirror"] {
            let mut command = world.command(&["--dir", "new"]);
            command.arg(option).arg(&odd).args(["append", "s-1", "T"]);
            let ran: Ran = command.output().unwrap().into();
            assert!(ran.code == 1 && ran.stderr.contains("not UTF-8"), "{option}: {}", ran.stderr);
            assert!(!world.path("new").exists() && !odd.exists(), "{option}");
        }
        // A key whose file is given by a name alone, in a folder of such a name.
        fs::write(odd.with_file_name("key"), [7; 32]).unwrap();
        let mut command = world.command(&["root", "kek", "file:key", "--dir"]);
        command.arg(world.path("oubliette-data")).current_dir(odd.parent().unwrap());
        let ran: Ran = command.output().unwrap().into();
        assert!(ran.code == 1 && ran.stderr.contains("not UTF-8"), "{}", ran.stderr);
        assert_eq!(fs::read(world.path(MANIFEST)).unwrap(), before);
        assert_eq!(world.data("s-1"), ["kept"]);
    }

    /// A good `oubliette.json` was written over with nothing.
    #[test]
    fn restoring_to_a_root_whose_name_is_not_text_changes_nothing() {
        let world = world();
        let to = crate::backup::keygen(&world, "key.txt");
        world.ok(&["backup", "--to", &to, "--expires", "90d", "copy.age"]);
        fs::rename(world.path("oubliette-data/vault"), world.path("lost")).unwrap();
        let before = fs::read(world.path(MANIFEST)).unwrap();
        let odd = odd(&world).join("root");
        let mut command =
            world.command(&["restore", "copy.age", "--identity", "key.txt", "--root"]);
        let ran: Ran = command.arg(&odd).output().unwrap().into();
        assert!(ran.code == 1 && ran.stderr.contains("not UTF-8"), "{}", ran.stderr);
        assert!(!odd.exists() && !world.path("oubliette-data/vault").exists());
        assert_eq!(fs::read(world.path(MANIFEST)).unwrap(), before);
        world.ok(&["restore", "copy.age", "--identity", "key.txt", "--overwrite-slot"]);
        assert_eq!(world.data("s-1"), ["kept"]);
    }

    /// Rows got the same ids where the paths of two files differed in such bytes alone.
    #[test]
    fn files_whose_names_are_not_text_need_a_source() {
        let world = World::new();
        let row = r#"{"stream":"s-1","type":"T","data":1}"#;
        for byte in [0xfc, 0xfd] {
            let file = world.dir.path().join(OsString::from_vec(vec![b'f', byte]));
            fs::write(&file, row).unwrap();
            let import = |more: &[&str]| -> Ran {
                world.command(&["import"]).arg(&file).args(more).output().unwrap().into()
            };
            let ran = import(&[]);
            assert!(ran.code == 2 && ran.stderr.contains("--source"), "{}", ran.stderr);
            assert_eq!(import(&["--source", &byte.to_string()]).code, 0);
        }
        assert_eq!(world.data("s-1"), [1, 1]);
        // Shown it is, without a panic.
        let mut command = world.command(&["--json", "append", "s-1", "T", "--dir"]);
        let odd = std::ffi::OsStr::from_bytes(b"d\xfc");
        let ran: Ran = command.arg(odd).output().unwrap().into();
        assert_eq!(ran.code, 0, "{}", ran.stderr);
    }
}

/// The slot was noted by a path that led elsewhere from another folder.
#[test]
fn a_relative_home_is_none() {
    let world = World::new();
    fs::create_dir(world.path("deeper")).unwrap();
    let run = |home: &str, state: &str, dir: &str, deeper: bool| -> Ran {
        let mut command = world.command(&["--dir"]);
        command.arg(world.path(dir)).args(["append", "s-1", "T"]);
        command.env("HOME", home).env("XDG_STATE_HOME", state).env_remove("XDG_CONFIG_HOME");
        command.current_dir(world.path(if deeper { "deeper" } else { "" })).output().unwrap().into()
    };
    let home = world.path("home");
    let home = home.to_str().unwrap();
    // As the XDG specification says, a relative one counts as absent.
    let ran = run(home, "state", "one", false);
    assert!(ran.code == 0 && !world.path("state").exists(), "{}", ran.stderr);
    assert_eq!(run(home, "state", "one", true).code, 0);
    let ran = run("home", "state", "two", false);
    assert!(ran.code == 1 && ran.stderr.contains("absolute path"), "{}", ran.stderr);
    assert!(!world.path("two").exists());
}
