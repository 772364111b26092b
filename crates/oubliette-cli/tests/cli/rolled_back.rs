//! Rolling the vault and its slot back together, as somebody meets it who works with commands.

use std::path::Path;

use crate::{
    folders::{copy, empty},
    world::{World, rows},
};

/// Vault and slot, but not the events.
fn put_back(from: &Path, to: &Path) {
    for part in ["oubliette-data/vault", "state"] {
        empty(&to.join(part));
        copy(&from.join(part), &to.join(part));
    }
}

#[test]
fn a_rollback_is_told_and_undone_and_an_expected_epoch_refuses_it() {
    let world = World::new();
    for user in ["user-1", "user-2"] {
        world.ok(&["append", user, "UserRegistered", "--data", r#"{"name":"Erika"}"#]);
    }
    let image = tempfile::tempdir().unwrap();
    copy(world.dir.path(), image.path());
    let erased = world.json(&["forget", "user-1", "--reason", "ticket 1", "--yes"]).remove(0);
    assert_eq!(erased["announced"], true);
    let epoch = erased["epoch"].as_u64().unwrap();
    let totals = world.json(&["inventory"]).pop().unwrap();
    assert_eq!(totals["epoch"], epoch);
    let record = world.json(&["erasures"]).remove(0);
    assert!(record["epoch"].as_u64().unwrap() <= epoch && record["epoch"].as_u64() > Some(0));
    let exported = world.ok(&["erasures", "export"]);
    assert_eq!(rows(&exported)[0]["about"], erased["erasure"]);
    let file = world.write("erasures.ndjson", &exported);
    let file = file.to_str().unwrap();

    put_back(image.path(), world.dir.path());
    let expected = epoch.to_string();
    let refused = world.fails(1, &["--expect-epoch", &expected, "read", "user-1"]);
    assert!(refused.contains("rolled back together"), "{refused}");

    let closed = world.fails(1, &["--read-only", "verify"]);
    assert!(closed.contains("announced since") && closed.contains("--read-only"), "{closed}");

    let read = world.run(&["--json", "read", "user-1"]);
    assert_eq!(read.code, 0, "{}", read.stderr);
    assert!(read.stderr.contains(erased["erasure"].as_str().unwrap()), "{}", read.stderr);
    assert_eq!(rows(&read.stderr)[0]["replayed"][0], erased["erasure"]);
    assert!(rows(&read.stdout)[0]["shredded"].is_array() && !read.stdout.contains("Erika"));
    assert_eq!(world.run(&["read", "user-1"]).stderr, "", "told once");
    assert!(world.ok(&["erasures"]).contains("applied again"));
    assert!(world.ok(&["read", "user-2"]).contains("Erika"));

    // Where the events are those of the image as well, there is no witness but the file.
    empty(&world.path("oubliette-data"));
    copy(&image.path().join("oubliette-data"), &world.path("oubliette-data"));
    put_back(image.path(), world.dir.path());
    assert!(world.ok(&["read", "user-1"]).contains("Erika"), "no witness, no detection");
    assert!(world.ok(&["erasures", "replay", file]).contains("1 erasure applied again, 1 key"));
    assert!(!world.ok(&["read", "user-1"]).contains("Erika"));
    assert!(world.ok(&["erasures", "replay", file]).contains("1 known already"));

    // What was changed is not applied, and what is none is refused with its line.
    let forged = world.write("forged", exported.replace(r#""epoch":"#, r#""epoch":1"#));
    let told = world.fails(1, &["erasures", "replay", forged.to_str().unwrap()]);
    assert!(told.contains("were changed"), "{told}");
    let ran = world.run(&["erasures", "replay", "--even-cut", forged.to_str().unwrap()]);
    assert!(ran.code == 1 && ran.stderr.contains("did not sign"), "{}", ran.stderr);
    let junk = world.write("junk", format!("{exported}{{}}\n"));
    assert!(world.fails(2, &["erasures", "replay", junk.to_str().unwrap()]).contains("line 3"));
}
