//! `verify` and `drill`, as people and their CI run them.

use std::fs;

use crate::world::{World, files, rows};

/// Two customers, one of whom is forgotten; and a copy of everything from before, slot and all.
fn world() -> World {
    let world = World::new();
    world.write(
        "events.ndjson",
        r#"{"stream":"user-1","type":"Registered","data":{"name":"Erika Musterfrau"}}
{"stream":"user-2","type":"Registered","data":{"name":"Otto Normal"}}
"#,
    );
    world.ok(&["--root", "slot", "import", "events.ndjson"]);
    fs::remove_file(world.path("events.ndjson")).unwrap();
    copy(&world, "oubliette-data", "copies/data");
    fs::create_dir(world.path("safe")).unwrap();
    fs::copy(world.path("slot"), world.path("safe/slot")).unwrap();
    world.ok(&["forget", "user-1", "--reason", "asked", "--yes"]);
    world
}

fn copy(world: &World, from: &str, to: &str) {
    let (from, to) = (world.path(from), world.path(to));
    for file in files(&from) {
        let path = to.join(file.strip_prefix(&from).unwrap());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::copy(&file, path).unwrap();
    }
}

#[test]
fn verify_says_that_all_is_well_or_what_is_not_and_how_to_mend_it() {
    let world = world();
    let said = world.ok(&["verify"]);
    assert!(said.contains("4 events: 1 sealed part open, 1 shredded, 0 unknown; 1 tombstone"));
    assert!(said.ends_with("everything is as it should be\n"), "{said}");
    let report = &world.json(&["verify", "--repair"])[0];
    assert_eq!((&report["kind"], &report["clean"]), (&"report".into(), &true.into()));
    assert_eq!(report["vault"]["erasures"], 1);

    // The events of another folder, under this vault.
    world.write(
        "more.ndjson",
        r#"{"stream":"user-3","type":"Registered","data":{"name":"No One"}}"#,
    );
    world.ok(&["--dir", "other", "import", "more.ndjson"]);
    let manifest = fs::read_to_string(world.path("oubliette-data/oubliette.json")).unwrap();
    let vault = manifest.split("\"vault\": \"").nth(1).unwrap()[..36].to_owned();
    let db = rusqlite::Connection::open(world.path("other/events/events.db")).unwrap();
    db.execute("UPDATE meta SET value = ?1 WHERE key = 'vault'", [&vault]).unwrap();
    drop(db);
    let ran = world.run(&["--store", "other/events", "verify"]);
    assert!(ran.stdout.contains("another vault's"), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("user-3 revision 0 (position 1)"), "{}", ran.stdout);
    assert!(ran.stdout.contains("open it with that one"));
    let ran = world.run(&["--json", "--store", "other/events", "verify"]);
    let rows = rows(&ran.stdout);
    assert_eq!((ran.code, &rows.last().unwrap()["clean"]), (1, &false.into()));
    // That store has none of what the vault announced.
    assert_eq!(rows[0]["finding"], "witness-gap");
    assert_eq!(rows[1]["finding"], "other-vault");
    assert_eq!(rows[1]["where"]["event"]["stream"], "user-3");
    assert_eq!(ran.stderr, "");
    assert!(world.ok(&["verify"]).ends_with("everything is as it should be\n"));
}

#[test]
fn drill_is_clean_or_names_what_brings_somebody_back() {
    let world = world();
    let said = world.ok(&["drill", "copies"]);
    assert!(said.contains("nothing of the forgotten was found in what was searched"), "{said}");
    world.write("copies/app.log", "hello Erika Musterfrau");
    world.write("forgotten.txt", "Erika Musterfrau\n");
    world.ok(&["drill", "copies"]);
    let ran = world.run(&["drill", "copies", "forgotten.txt", "--needles", "forgotten.txt"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stdout.contains("copies/app.log at byte 6"), "{}", ran.stdout);
    assert!(!ran.stdout.contains("Erika"), "{}", ran.stdout);

    let ran = world.run(&["--json", "drill", "copies", "safe"]);
    let rows = rows(&ran.stdout);
    let found = |kind: &str| rows.iter().filter(|row| row["finding"] == kind).count();
    assert_eq!((ran.code, found("destroyed-key"), found("earlier-root")), (1, 1, 2));
    assert!(found("token-opens") > 0);
    assert_eq!(rows.last().unwrap()["clean"], false);
    assert_eq!(ran.stderr, "");
}

#[test]
fn values_are_read_with_a_mark_before_them_and_what_is_not_looked_into_is_no_success() {
    let world = world();
    world.write("copies/app.log", "hello Erika Musterfrau");
    let name = "Erika Musterfrau\r\n";
    let wide = |order: fn(u16) -> [u8; 2]| -> Vec<u8> {
        format!("\u{feff}{name}").encode_utf16().flat_map(order).collect()
    };
    for list in
        [format!("\u{feff}{name}").into_bytes(), wide(u16::to_le_bytes), wide(u16::to_be_bytes)]
    {
        world.write("forgotten.txt", list);
        let ran = world.run(&["drill", "copies", "--needles", "forgotten.txt"]);
        assert_eq!(ran.code, 1, "{}", ran.stdout);
        assert!(ran.stdout.contains("value number 1"), "{}", ran.stdout);
    }
    world.write("forgotten.txt", b"J\xfcrgen");
    world.fails(2, &["drill", "copies", "--needles", "forgotten.txt"]);

    world.write("copies/app.log", b"\x28\xb5\x2f\xfd....");
    let ran = world.run(&["drill", "copies"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stdout.contains("not everything was looked into"), "{}", ran.stdout);
    assert!(!ran.stdout.contains("nothing of the forgotten"), "{}", ran.stdout);
}

#[test]
fn a_copy_that_breaks_the_database_is_a_finding_and_no_noise() {
    let world = world();
    let pages = world.path("copies/data/vault/pages");
    for (file, content) in [("conf", &b"no"[..]), ("db", &[0xff; 5000])] {
        fs::write(pages.join(file), content).unwrap();
    }
    let ran = world.run(&["drill", "copies"]);
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    assert!(matches!(ran.code, 0 | 1), "{}", ran.stderr);
    assert!(ran.stdout.contains("copies/data/vault"), "{}", ran.stdout);
}

#[test]
fn bad_paths_and_values_are_wrong_usage() {
    let world = world();
    world.fails(2, &["drill"]);
    assert!(world.fails(2, &["drill", "nowhere"]).contains("nowhere"));
    world.write("short.txt", "Erika Musterfrau\n\nab\n");
    let said = world.fails(2, &["drill", "copies", "--needles", "short.txt"]);
    assert!(said.contains("line 3") && !said.contains("ab\n"), "{said}");
}

#[cfg(target_os = "linux")]
#[test]
fn the_drills_own_trouble_is_not_told_as_damage_of_a_copy() {
    let world = World::new();
    world.ok(&["append", "user-1", "T"]);
    fs::create_dir(world.path("copies")).unwrap();
    let copied = std::process::Command::new("cp")
        .args(["-r", "oubliette-data/vault", "copies"])
        .current_dir(world.dir.path())
        .status();
    assert!(copied.unwrap().success());
    let drill = ["drill", "copies"];
    let ran: crate::world::Ran =
        world.command(&drill).env("TMPDIR", "/nowhere").output().unwrap().into();
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("the temporary folder /nowhere cannot be used; "),
        "{}",
        ran.stderr
    );
    assert!(!ran.stdout.contains("broken copy"), "{}", ran.stdout);
    assert!(!world.run(&drill).stdout.contains("broken copy"));
}
