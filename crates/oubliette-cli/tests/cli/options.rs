//! An option does what it says, or is refused before anything is written.

use std::{collections::BTreeMap, fs, path::PathBuf};

use crate::world::{Ran, World, files};

const ID: &str = "6f0dbd6e-3c1e-4c53-9d0b-5b6c5f5f4d11";
const OTHER: &str = "6f0dbd6e-3c1e-4c53-9d0b-5b6c5f5f4d12";

fn world() -> World {
    let world = World::new();
    world.ok(&["append", "user-1", "UserRegistered", "--data", r#"{"name":"Erika"}"#]);
    world
}

/// All that is in the folder and at the slot, but for the two files that SQLite has beside the events.
fn everything(world: &World) -> BTreeMap<PathBuf, Vec<u8>> {
    let all = files(&world.path("oubliette-data")).into_iter().chain(files(&world.path("state")));
    let beside = |file: &PathBuf| {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        name.ends_with("-shm") || name.ends_with("-wal")
    };
    all.filter(|file| !beside(file)).map(|file| (file.clone(), fs::read(file).unwrap())).collect()
}

/// Each of the options before the command, and behind it.
fn places<'a>(one: &[&'a str], other: &[&'a str], command: &[&'a str]) -> [Vec<&'a str>; 4] {
    [
        [one, other, command].concat(),
        [one, command, other].concat(),
        [other, command, one].concat(),
        [command, one, other].concat(),
    ]
}

#[test]
fn options_that_exclude_each_other_are_refused_wherever_they_stand() {
    let world = world();
    let before = everything(&world);
    let words: [&[&str]; 4] = [
        &["--past-gap", "ops"],
        &["--past-erasure", ID],
        &["--believe-erasure", ID],
        &["--this-is-the-one"],
    ];
    let with_vault: [&[&str]; 2] = [&["--past-counter"], &["--mirror", "mirror.root"]];
    let no_vault = words.iter().chain(&with_vault).map(|word| (&["--no-vault"][..], *word));
    let read_only = words.iter().map(|word| (&["--read-only"][..], *word));
    for (one, other) in no_vault.chain(read_only) {
        for args in places(one, other, &["read", "user-1"]) {
            let told = world.fails(2, &args);
            let both = told.contains(one[0]) && told.contains(other[0]);
            assert!(both && told.contains("exclude each other"), "{args:?}: {told}");
        }
    }
    assert_eq!(everything(&world), before);
    let told = world.fails(2, &["--read-only", "--json", "read", "user-1", "--this-is-the-one"]);
    assert!(told.starts_with('{') && told.contains(r#""exit":2"#), "{told}");
}

#[test]
fn an_announcement_is_not_believed_and_passed_over_in_one_breath() {
    let world = world();
    world.ok(&["append", "user-2", "UserRegistered"]);
    let erased = world.json(&["forget", "user-1", "--reason", "ticket 1", "--yes"]).remove(0);
    let erasure = erased["erasure"].as_str().unwrap();
    let db = rusqlite::Connection::open(world.path("oubliette-data/events/events.db")).unwrap();
    let id = "SELECT lower(hex(id)) FROM event WHERE type = 'Announced'";
    let event: String = db.query_row(id, [], |row| row.get(0)).unwrap();
    drop(db);
    let event = uuid::Uuid::parse_str(&event).unwrap().to_string();

    let before = everything(&world);
    let (believe, pass) = (["--believe-erasure", erasure], ["--past-erasure", erasure]);
    for args in places(&believe, &pass, &["read", "user-2"]) {
        let told = world.fails(2, &args);
        assert!(told.contains(erasure) && told.contains("say one of the two"), "{told}");
    }
    assert_eq!(everything(&world), before);
    // The same by another name.
    for (one, other) in [(erasure, &*event), (&*event, erasure)] {
        let args = ["--believe-erasure", one, "--past-erasure", other, "read", "user-2"];
        let told = world.fails(2, &args);
        assert!(told.contains(one) && told.contains(other), "{told}");
    }
}

/// Clap keeps one of the two places only.
#[test]
fn an_option_that_is_repeated_counts_before_the_command_and_behind_it() {
    let world = world();
    let root = world.json(&["--mirror", "a.root", "root", "--mirror", "b.root"]).remove(0);
    assert_eq!(root["mirrors"].as_array().unwrap().len(), 2, "{root}");
    for (one, other) in [(ID, OTHER), (OTHER, ID)] {
        let args = ["--past-erasure", one, "read", "user-1", "--believe-erasure", one];
        world.fails(2, &args);
        let args = ["--past-erasure", one, "read", "user-1", "--past-erasure", other];
        let believed = [&args[..], &["--believe-erasure", one]].concat();
        let told = world.fails(2, &believed);
        assert!(told.contains("say one of the two"), "{told}");
    }
}

/// Clap has three places for it, and kept one.
#[test]
fn an_option_between_two_commands_counts() {
    let world = world();
    let args = ["root", "--mirror", "a.root", "mirror", "--mirror", "b.root", "add", "c.root"];
    let root = world.json(&args).remove(0);
    let mut mirrors: Vec<_> = root["mirrors"].as_array().unwrap().iter().collect();
    mirrors.sort_by_key(|mirror| mirror["name"].to_string());
    let ends: Vec<_> = ["a.root", "b.root", "c.root"].map(|name| world.path(name)).into();
    let names: Vec<_> = mirrors.iter().map(|mirror| mirror["name"].as_str().unwrap()).collect();
    assert_eq!(names, ends.iter().map(|end| end.to_str().unwrap()).collect::<Vec<_>>());
    // One that counts once was taken from one of the places, whichever.
    for args in [
        &["--dir", "one", "read", "user-1", "--dir", "oubliette-data"][..],
        &["root", "--dir", "one", "mirror", "add", "--dir", "oubliette-data", "d.root"],
    ] {
        let told = world.fails(2, args);
        assert!(told.contains("--dir is said twice"), "{told}");
    }
    world.ok(&["--json", "read", "user-1", "--json"]);
}

#[test]
fn an_option_that_has_no_effect_is_refused() {
    let world = world();
    world.write("policy.toml", "");
    for command in
        [&["demo"][..], &["policy", "check", "policy.toml"], &["man"], &["completions", "bash"]]
    {
        for option in [
            &["--dir", "other"][..],
            &["--root", "slot"],
            &["--read-only"],
            &["--no-vault"],
            &["--wait", "1s"],
            &["--kek", "none"],
        ] {
            let told = world.fails(2, &[command, option].concat());
            assert!(told.contains(option[0]) && told.contains("no effect"), "{told}");
        }
    }
    for args in [
        &["--no-vault", "vault"][..],
        &["--wait", "1s", "vault"],
        &["--wait", "1s", "--no-vault", "read", "user-1"],
    ] {
        assert!(world.fails(2, args).contains("has no effect with this command"), "{args:?}");
    }
    // What the environment says is said of all commands.
    let mut there = world.command(&["policy", "check", "policy.toml"]);
    assert!(there.env("OUBLIETTE_DIR", "elsewhere").output().unwrap().status.success());
}

#[test]
fn a_variable_that_is_empty_counts_as_not_set() {
    let world = world();
    for variable in ["OUBLIETTE_DIR", "OUBLIETTE_ROOT", "OUBLIETTE_KEK", "OUBLIETTE_EXPECT_EPOCH"] {
        for args in [&["read", "user-1"][..], &["--dir", "oubliette-data", "read", "user-1"]] {
            let mut read = world.command(args);
            let read = read.env(variable, "").env("OUBLIETTE_LOG", "").output().unwrap();
            assert!(read.status.success(), "{variable}: {}", String::from_utf8_lossy(&read.stderr));
        }
    }
    let mut asked = world.command(&["--dir", "new", "--kek", "passphrase", "append", "s-1", "T"]);
    let asked: Ran = asked.env("OUBLIETTE_PASSPHRASE", "").output().unwrap().into();
    assert_eq!(asked.code, 2);
    assert!(asked.stderr.contains("nobody can be asked"), "{}", asked.stderr);
}

#[test]
fn a_variable_that_is_wrong_is_named_and_none_where_an_option_overrides_it() {
    let world = world();
    let with = |variable: &str, value: &str, args: &[&str]| -> Ran {
        world.command(args).env(variable, value).output().unwrap().into()
    };
    for (variable, option, good) in
        [("OUBLIETTE_EXPECT_EPOCH", "--expect-epoch", "0"), ("OUBLIETTE_KEK", "--kek", "none")]
    {
        let wrong = with(variable, "Sesame7", &["read", "user-1"]);
        assert_eq!(wrong.code, 2, "{}", wrong.stderr);
        assert!(wrong.stderr.starts_with(&format!("error: {variable}: ")), "{}", wrong.stderr);
        assert!(!wrong.stderr.contains("Sesame7"), "{}", wrong.stderr);
        for args in [["read", "user-1", option, good], [option, good, "read", "user-1"]] {
            let read = with(variable, "Sesame7", &args);
            assert_eq!(read.code, 0, "{args:?}: {}", read.stderr);
        }
    }
    let elsewhere = with("OUBLIETTE_DIR", "elsewhere", &["read", "user-1"]);
    assert_eq!(elsewhere.code, 1);
    assert!(elsewhere.stderr.contains("elsewhere"), "{}", elsewhere.stderr);
    let overridden =
        with("OUBLIETTE_DIR", "elsewhere", &["read", "user-1", "--dir", "oubliette-data"]);
    assert_eq!(overridden.code, 0, "{}", overridden.stderr);
}

#[test]
fn what_is_said_of_announcements_is_refused_where_nothing_is_opened() {
    let world = world();
    world.write("policy.toml", "");
    let before = everything(&world);
    for command in [
        &["demo"][..],
        &["policy", "check", "policy.toml"],
        &["policy", "try", "policy.toml", "--stream", "user-1", "--type", "T"],
        &["root", "own"],
        &["vault"],
        &["vault", "move", "--pages", "sqlite"],
    ] {
        for word in [&["--past-gap", "ops"][..], &["--believe-erasure", ID], &["--this-is-the-one"]]
        {
            let told = world.fails(2, &[word, command].concat());
            assert!(told.contains(word[0]) && told.contains("no effect"), "{told}");
        }
    }
    for command in [
        &["policy", "adopt", "policy.toml"][..],
        &["policy", "show"],
        &["restore", "a.age", "-i", "b"],
    ] {
        let told = world.fails(2, &[&["--policy", "policy.toml"], command].concat());
        assert!(told.contains("--policy has no effect"), "{told}");
    }
    assert_eq!(everything(&world), before);
    // A folder that is made has nothing of the kind.
    for word in [["--past-gap", "ops"], ["--past-erasure", ID], ["--believe-erasure", ID]] {
        world.fails(1, &[&word[..], &["--dir", "new", "append", "user-1", "T"]].concat());
        assert!(!world.path("new").exists());
    }
}

/// Those that look write nothing, and those that write say at once that they cannot.
#[test]
fn read_only_runs_what_only_looks_and_refuses_what_writes() {
    let world = world();
    world.ok(&["append", "user-2", "UserRegistered"]);
    world.ok(&["forget", "user-2", "--reason", "ticket 1", "--yes"]);
    let to = crate::backup::keygen(&world, "key.txt");
    world.ok(&["backup", "--to", &to, "--expires", "90d", "before.age"]);
    let list = world.ok(&["erasures", "export"]);
    world.write("list.ndjson", list);
    world.write("policy.toml", "");
    world.write("rows.ndjson", r#"{"stream":"user-3","type":"T","data":1}"#);
    let before = everything(&world);
    for command in [
        &["read", "user-1"][..],
        &["read-all"],
        &["subscribe", "--until-caught-up"],
        &["plan", "user-1"],
        &["claims"],
        &["inventory"],
        &["erasures"],
        &["erasures", "export"],
        &["keys"],
        &["backup", "list"],
        &["verify"],
        &["drill", "rows.ndjson"],
        &["policy", "show"],
        &["owners", "rebuild", "--dry-run"],
        &["root"],
        &["vault"],
    ] {
        world.ok(&[&["--read-only"], command].concat());
        assert_eq!(everything(&world), before, "{command:?}");
    }
    for command in [
        &["append", "user-3", "T"][..],
        &["import", "rows.ndjson"],
        &["forget", "user-1", "--reason", "ticket 2", "--yes"],
        &["reopen", "user-2"],
        &["settle", ID, "--stored"],
        &["rotate", "user-1"],
        &["rotate", "--older-than", "0s"],
        &["erasures", "replay", "list.ndjson"],
        &["keys", "successor", "--out", "successor.key"],
        &["keys", "rotate"],
        &["backup", "--to", &to, "--expires", "90d", "after.age"],
        &["backup", "retire", ID],
        &["restore", "before.age", "-i", "key.txt"],
        &["verify", "--repair"],
        &["policy", "adopt", "policy.toml"],
        &["owners", "rebuild"],
        &["root", "kek", "none"],
        &["root", "own"],
        &["root", "move", "two.root"],
        &["erasures", "repeat"],
        &["vault", "attach"],
        &["root", "mirror", "add", "mirror.root"],
        &["root", "counter", "release"],
        &["vault", "move", "--pages", "sqlite"],
    ] {
        let told = world.fails(2, &[command, &["--read-only"]].concat());
        assert!(told.contains("--read-only says to write nothing"), "{command:?}: {told}");
        assert_eq!(everything(&world), before, "{command:?}");
    }
    assert!(!world.path("successor.key").exists() && !world.path("after.age").exists());
}

/// There is not even a folder: what is wrong with the words is told first.
#[test]
fn what_can_be_judged_of_the_arguments_is_judged_before_anything_is_read() {
    let world = World::new();
    let to = crate::backup::keygen(&world, "key.txt");
    for (args, why) in [
        (&["forget", "user-1", "--reason", "user-1", "--yes"][..], "names the subject"),
        (&["forget", "user-1", "--reason", "user-1"], "names the subject"),
        (&["forget", "user-1", "--reason", "erika@example.org", "--yes"], "ticket"),
        (&["--past-gap", " ", "read", "user-1"], "who accepts the gap"),
        (&["--past-gap", "erika@example.org", "keys", "rotate"], "who accepts the gap"),
        (&["keys", "rotate", "--compromised-since", "2999-01-01"], "still to come"),
        (&["backup", "--to", &to, "--expires", "2020-01-01", "a.age"], "2020-01-01"),
        (&["keys", "successor", "--out", "-"], "--out names a file"),
        (&["root", "kek", "passphrase"], "nobody can be asked"),
        (&["--read-only", "forget", "user-1", "--reason", "r", "--yes"], "--read-only"),
        (&["--no-vault", "rotate", "--older-than", "1y"], "needs the vault"),
        #[cfg(feature = "tpm")]
        (&["root", "counter", "bind", "tpm:nonsense"], "tpm:nonsense"),
    ] {
        let told = world.fails(2, args);
        assert!(told.contains(why), "{args:?}: {told}");
        assert!(!told.contains("erika"), "{told}");
    }
    assert!(!world.path("oubliette-data").exists());
}

/// It was taken, and what came was no JSON.
#[test]
fn what_prints_no_rows_takes_no_json() {
    let world = World::new();
    for command in [&["man"][..], &["completions", "bash"]] {
        for args in [[&["--json"], command].concat(), [command, &["--json"]].concat()] {
            let told = world.fails(2, &args);
            assert!(told.starts_with('{') && told.contains("--json has no effect"), "{told}");
        }
    }
    assert_eq!(world.json(&["man", "--out", "pages"]).len(), 1);
}
