//! Restoring with a list of erasures that was kept apart.

use std::{fs, path::Path};

use serde_json::Value;

use super::{RESTORE, back_up, lose_vault, world};
use crate::world::files;

/// The events, too, are those of an older day: what was forgotten since is in a file kept apart.
#[test]
fn erasures_from_a_file_are_applied_before_the_vault_can_be_found() {
    let (world, to) = world();
    back_up(&world, &to, "copy.age");
    let events = world.path("oubliette-data/events");
    copy(&events, &world.path("old-events"));
    world.ok(&["forget", "user-3", "--reason", "asked", "--yes"]);
    world.write("erasures.ndjson", world.ok(&["erasures", "export"]));
    let roll_back = || {
        lose_vault(&world);
        fs::remove_dir_all(&events).unwrap();
        copy(&world.path("old-events"), &events);
    };
    roll_back();
    let restored = &world.json(&[&RESTORE[..], &["--erasures", "erasures.ndjson"]].concat())[0];
    assert_eq!(restored["applied"], 1);
    let row = &world.json(&["read", "user-3"])[0];
    assert!(row["data"]["name"].is_null() && !row["shredded"].is_null(), "{row}");
    world.fails(4, &["append", "user-3", "Registered"]);
    assert_eq!(world.data("user-1")[0]["name"], "Erika 1");

    // What the documents say cannot be known: without either witness the person is back.
    roll_back();
    world.ok(&RESTORE);
    assert_eq!(world.data("user-3")[0]["name"], "Erika 3");

    // A file that was tampered with: no vault at all.
    let text = fs::read_to_string(world.path("erasures.ndjson")).unwrap();
    // One that was cut off: neither.
    lose_vault(&world);
    let first = text.find('\n').unwrap() + 1;
    for cut in ["", "\n", &text[..first], &text[first..], &text[..text.len() - 4]] {
        world.write("cut.ndjson", cut);
        let ran = world.run(&[&RESTORE[..], &["--erasures", "cut.ndjson"]].concat());
        let told = ["--even-cut", "line 2: not an announcement"];
        let told = told.iter().any(|told| ran.stderr.contains(told));
        assert!(ran.code != 0 && told, "{cut}: {}", ran.stderr);
        assert!(!world.path("oubliette-data/vault").exists());
    }
    world.write("cut.ndjson", format!("\u{feff}{}", text.replace('\n', "\r\n")));
    world.ok(&[&RESTORE[..], &["--erasures", "cut.ndjson"]].concat());
    lose_vault(&world);
    world.write("cut.ndjson", &text[..first + 9]);
    let cut = ["--erasures", "cut.ndjson", "--even-cut"];
    assert_eq!(world.json(&[&RESTORE[..], &cut].concat())[0]["applied"], 1);
    world.write("empty", "");
    let told = world.fails(1, &["erasures", "replay", "empty"]);
    assert!(told.contains("no end") && told.contains("--even-cut"), "{told}");

    let mut line: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let sealed = line.as_object_mut().unwrap().values_mut().filter_map(|value| match value {
        Value::String(text) if text.len() > 60 => Some(text),
        _ => None,
    });
    for text in sealed {
        let other = if text.as_bytes()[30] == b'A' { "B" } else { "A" };
        text.replace_range(30..31, other);
    }
    world.write("changed.ndjson", format!("{line}\n"));
    lose_vault(&world);
    let changed = ["--erasures", "changed.ndjson", "--even-cut"];
    let told = world.fails(1, &[&RESTORE[..], &changed].concat());
    assert!(told.contains("does not count"), "{told}");
    assert!(!world.path("oubliette-data/vault").exists());
    let told = world.fails(1, &[&RESTORE[..], &["--erasures", "absent"]].concat());
    assert!(told.contains("absent"), "{told}");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in files(from) {
        fs::copy(&file, to.join(file.file_name().unwrap())).unwrap();
    }
}

/// It counted as a list of which all is known.
#[test]
fn a_list_of_another_vaults_erasures_is_refused() {
    let ((world, to), (other, _)) = (world(), world());
    other.ok(&["forget", "user-1", "--reason", "asked", "--yes"]);
    world.write("theirs.ndjson", other.ok(&["erasures", "export"]));
    back_up(&world, &to, "copy.age");
    let told = world.fails(1, &["erasures", "replay", "theirs.ndjson"]);
    assert!(told.contains("none of this vault's"), "{told}");
    lose_vault(&world);
    let told = world.fails(1, &[&RESTORE[..], &["--erasures", "theirs.ndjson"]].concat());
    assert!(
        told.contains("none of this vault's") && told.contains("nothing was restored"),
        "{told}"
    );
    assert!(!world.path("oubliette-data/vault").exists());
    // One that says that nobody was forgotten is no other vault's.
    world.ok(&RESTORE);
    world.write("none.ndjson", world.ok(&["erasures", "export"]));
    world.ok(&["erasures", "replay", "none.ndjson"]);
}

/// The list is whole, and the key that signed it is in no backup.
#[test]
fn the_list_of_an_earlier_restoration_is_refused_with_a_word_on_why() {
    let (world, to) = world();
    back_up(&world, &to, "copy.age");
    lose_vault(&world);
    world.ok(&RESTORE);
    world.ok(&["forget", "user-1", "--reason", "asked", "--yes"]);
    world.write("list.ndjson", world.ok(&["erasures", "export"]));
    lose_vault(&world);
    let told = world.fails(1, &[&RESTORE[..], &["--erasures", "list.ndjson"]].concat());
    assert!(told.contains("earlier restoration") && told.contains("--believe-erasure"), "{told}");
}

/// No erasure is blamed for it.
#[test]
fn a_list_that_lacks_a_statement_about_keys_is_refused_by_that_name() {
    let (world, to) = world();
    back_up(&world, &to, "copy.age");
    for _ in 0..2 {
        world.ok(&["keys", "rotate"]);
    }
    world.ok(&["forget", "user-1", "--reason", "asked", "--yes"]);
    let list = world.ok(&["erasures", "export"]);
    let (first, rest) = list.split_once('\n').unwrap();
    assert!(first.contains("signing-key"), "{first}");
    world.write("list.ndjson", rest);
    lose_vault(&world);
    let lacking = ["--erasures", "list.ndjson", "--even-cut"];
    let told = world.fails(1, &[&RESTORE[..], &lacking].concat());
    let named = told.contains("a statement about signing keys") && told.contains("is missing");
    assert!(named && !told.contains("of the given erasures"), "{told}");
    world.write("list.ndjson", list);
    world.ok(&[&RESTORE[..], &["--erasures", "list.ndjson"]].concat());
}

/// Only the mark before the first line was passed over.
#[test]
fn lists_that_were_joined_with_their_byte_order_marks_are_read() {
    let (world, _) = world();
    world.ok(&["forget", "user-3", "--reason", "asked", "--yes"]);
    let list = format!("\u{feff}{}", world.ok(&["erasures", "export"]));
    world.write("both.ndjson", list.repeat(2));
    world.ok(&["erasures", "replay", "both.ndjson"]);
}
