//! Rolling the vault and its slot back together, as somebody meets it who works with commands.

use std::path::Path;

use oubliette::{
    layer::Oubliette,
    policy::Policy,
    store::SqliteStore,
    vault::{OpenAs, Vault},
};

use crate::{
    backup::keygen,
    common::folders::{copy, empty},
    world::{Ran, World, rows},
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
    // One with nobody in it may be the wrong one.
    let other = ["--dir", "other", "erasures"];
    world.ok(&["--dir", "other", "append", "user-9", "T"]);
    let empty = world.ok(&[&other[..], &["export"]].concat());
    let empty = world.write("empty.ndjson", empty);
    let told = world.run(&[&other[..], &["replay", empty.to_str().unwrap()]].concat());
    assert!(
        told.code == 0 && told.stderr.contains("the list of erasures is empty"),
        "{}",
        told.stderr
    );
    let junk = world.write("junk", format!("{exported}{{}}\n"));
    assert!(world.fails(2, &["erasures", "replay", junk.to_str().unwrap()]).contains("line 3"));
}

#[test]
fn a_gap_in_what_was_announced_keeps_everything_closed_until_somebody_accepts_it() {
    let world = World::new();
    for user in ["user-1", "user-2", "user-3"] {
        world.ok(&["append", user, "UserRegistered", "--data", r#"{"name":"Erika"}"#]);
    }
    let image = tempfile::tempdir().unwrap();
    copy(world.dir.path(), image.path());
    for user in ["user-1", "user-2"] {
        world.ok(&["forget", user, "--reason", "asked", "--yes"]);
    }
    let list = world.ok(&["erasures", "export"]);
    let list = world.write("erasures.ndjson", &list);
    put_back(image.path(), world.dir.path());
    let db = rusqlite::Connection::open(world.path("oubliette-data/events/events.db")).unwrap();
    let first = "DELETE FROM event WHERE position = (SELECT min(position) FROM event WHERE type = 'Announced')";
    assert_eq!(db.execute(first, []).unwrap(), 1);
    drop(db);

    for args in [&["read", "user-1"][..], &["append", "user-3", "T", "--data", "1"]] {
        let closed = world.fails(1, args);
        assert!(
            closed.contains("missing in the event store") && closed.contains("--past-gap"),
            "{closed}"
        );
    }
    let ran = world.run(&["verify"]);
    assert!(ran.code == 1 && ran.stdout.contains("gap in what was announced"), "{}", ran.stdout);
    world.ok(&["drill", list.to_str().unwrap()]);
    // What people need to decide what to do; but no list that says that it is whole.
    for args in [&["erasures"][..], &["keys"], &["backup", "list"]] {
        let ran = world.run(args);
        assert_eq!(ran.code, 0, "{args:?}: {}", ran.stderr);
        let told = ["this is what the vault knows by itself", "nothing is served", "--past-gap"];
        assert!(told.iter().all(|told| ran.stderr.contains(told)), "{args:?}: {}", ran.stderr);
    }
    for args in [&["erasures", "export"][..], &["erasures", "--stream", "user-1"]] {
        assert!(world.fails(1, args).contains("--past-gap"), "{args:?}");
    }
    // What is public is nobody's.
    assert!(world.ok(&["--no-vault", "read", "user-3"]).contains("UserRegistered"));
    world.fails(2, &["--past-gap", "anna@example.org", "read", "user-3"]);
    // As the error says, with the list that was kept.
    let replay = ["--past-gap", "ticket 12", "erasures", "replay", list.to_str().unwrap()];
    world.ok(&replay);
    assert!(!world.ok(&["read", "user-1"]).contains("Erika"));
    assert!(world.ok(&["read", "user-3"]).contains("Erika"));
    let told = world.run(&["verify"]).stdout;
    assert!(told.contains("accepted by ticket 12"), "{told}");
    assert!(world.fails(1, &replay).contains("no announcement is missing"));
    let told = world.run(&["erasures"]).stderr;
    assert!(told.contains("missing in the event store; noticed 20"), "{told}");
    assert!(told.contains("ticket 12") && !told.contains("since"), "{told}");
}

/// Two copies of a machine over one event store, each of which forgot somebody before it heard of the other.
#[test]
fn two_copies_of_a_vault_that_were_at_work_at_once_are_told_as_that() {
    let world = World::new();
    for user in ["user-1", "user-2", "user-3"] {
        world.ok(&["append", user, "UserRegistered", "--data", r#"{"name":"Erika"}"#]);
    }
    let [image, other] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    copy(world.dir.path(), image.path());
    copy(world.dir.path(), other.path());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = SqliteStore::open(world.path("oubliette-data/events")).unwrap();
        let open = async |machine: &Path| {
            let mut slots = std::fs::read_dir(machine.join("state/oubliette")).unwrap();
            let (slot, vault) = (slots.next().unwrap().unwrap().path(), "oubliette-data/vault");
            let vault = Vault::open_as(&machine.join(vault), slot.as_path(), OpenAs::TheOne);
            let policy = Policy::sealed_by_default();
            Oubliette::open(store.clone(), vault.unwrap(), policy).await.unwrap()
        };
        let (one, two) = (open(world.dir.path()).await, open(other.path()).await);
        for (bank, user) in [(two, "user-2"), (one, "user-1")] {
            bank.forget(&user.parse().unwrap(), "asked").await.unwrap();
        }
    });
    put_back(image.path(), world.dir.path());
    let told = world.run(&["--json", "read", "user-3"]);
    assert!(told.code == 0 && told.stdout.contains("Erika"), "{}", told.stderr);
    let notes = rows(&told.stderr);
    let is_it =
        |row: &&serde_json::Value| row["note"].to_string().contains("two copies of this vault");
    assert_eq!(notes.iter().filter(is_it).count(), 1, "{}", told.stderr);
    assert!(!told.stderr.contains("another place or order"), "{}", told.stderr);
    assert_eq!(world.run(&["read", "user-1"]).stderr, "", "told once");
}

/// A vault that may not be written to notes no gap; it is found all the same.
#[test]
fn a_gap_is_found_where_nothing_can_be_noted() {
    let world = World::new();
    world.ok(&["append", "user-1", "UserRegistered", "--data", r#"{"name":"Erika"}"#]);
    world.ok(&["forget", "user-1", "--reason", "asked", "--yes"]);
    let db = rusqlite::Connection::open(world.path("oubliette-data/events/events.db")).unwrap();
    assert_eq!(db.execute("DELETE FROM event WHERE type = 'Announced'", []).unwrap(), 1);
    drop(db);
    for _ in 0..2 {
        let closed = world.fails(1, &["--read-only", "read", "user-1"]);
        assert!(closed.contains("--past-gap"), "{closed}");
        let refused = world.fails(2, &["--read-only", "--past-gap", "ops", "read", "user-1"]);
        assert!(refused.contains("exclude each other"), "{refused}");
    }
}

/// The restored vault stands, and is closed until somebody accepts what it cannot know. Its backups know who did.
#[test]
fn a_vault_restored_over_a_gap_waits_and_its_backups_know_who_accepted_it() {
    let world = World::new();
    let to = keygen(&world, "key.txt");
    let recipients = world.write("recipients.txt", to);
    let back_up = |file: &str| {
        let recipients = recipients.to_str().unwrap();
        world.ok(&["backup", "--recipients-file", recipients, "--expires", "90d", file]);
    };
    let restore = |args: &[&str]| {
        std::fs::remove_dir_all(world.path("oubliette-data/vault")).unwrap();
        world.run(&[&["restore", "--identity", "key.txt", "--overwrite-slot"], args].concat())
    };
    for user in ["user-1", "user-2"] {
        world.ok(&["append", user, "UserRegistered", "--data", r#"{"name":"Erika"}"#]);
    }
    back_up("before.age");
    for user in ["user-1", "user-2"] {
        world.ok(&["forget", user, "--reason", "asked", "--yes"]);
    }
    let db = rusqlite::Connection::open(world.path("oubliette-data/events/events.db")).unwrap();
    let first = "DELETE FROM event WHERE position = (SELECT min(position) FROM event WHERE type = 'Announced')";
    assert_eq!(db.execute(first, []).unwrap(), 1);
    drop(db);
    let ran = restore(&["before.age"]);
    assert_eq!(ran.code, 1, "{}", ran.stdout);
    let told = ran.stderr;
    assert!(told.contains("the vault is restored") && told.contains("--past-gap"), "{told}");
    world.fails(1, &["read", "user-2"]);
    world.ok(&["--past-gap", "ticket 12", "read", "user-2"]);
    back_up("after.age");
    assert_eq!(restore(&["after.age"]).code, 0);
    let told = world.run(&["verify"]).stdout;
    assert!(told.contains("accepted by ticket 12"), "{told}");
}

/// Nobody had found the gap before: the command that finds it is the one that accepts it.
#[test]
fn one_option_accepts_the_gap_that_the_very_command_finds() {
    let world = World::new();
    let to = keygen(&world, "key.txt");
    for user in ["user-1", "user-2", "user-3"] {
        world.ok(&["append", user, "UserRegistered", "--data", r#"{"name":"Erika"}"#]);
    }
    world.ok(&["backup", "--to", &to, "--expires", "90d", "before.age"]);
    let before = tempfile::tempdir().unwrap();
    copy(world.dir.path(), before.path());
    for user in ["user-1", "user-2"] {
        world.ok(&["forget", user, "--reason", "asked", "--yes"]);
    }
    let db = rusqlite::Connection::open(world.path("oubliette-data/events/events.db")).unwrap();
    let first =
        "SELECT lower(hex(id)) FROM event WHERE type = 'Announced' ORDER BY position LIMIT 1";
    let missing: String = db.query_row(first, [], |row| row.get(0)).unwrap();
    let missing = uuid::Uuid::parse_str(&missing).unwrap().to_string();
    let remove = "DELETE FROM event WHERE position = (SELECT min(position) FROM event WHERE type = 'Announced')";
    assert_eq!(db.execute(remove, []).unwrap(), 1);
    drop(db);
    let (events, at) = (tempfile::tempdir().unwrap(), world.path("oubliette-data/events"));
    copy(&at, events.path());

    for command in [
        &["read", "user-3"][..],
        &["append", "user-3", "Noted"],
        &["forget", "user-3", "--reason", "asked", "--yes"],
        &["verify"],
        &["keys"],
        &["keys", "rotate"],
        &["backup", "list"],
        &["erasures", "export"],
        &["restore", "before.age", "--identity", "key.txt", "--overwrite-slot"],
    ] {
        empty(&at);
        copy(events.path(), &at);
        put_back(before.path(), world.dir.path());
        if command[0] == "restore" {
            std::fs::remove_dir_all(world.path("oubliette-data/vault")).unwrap();
        }
        let ran = world.run(&[&["--past-gap", "ticket 12"], command].concat());
        // `verify` tells of what else is the matter.
        assert!(ran.code == 0 || command == ["verify"], "{command:?}: {}", ran.stderr);
        let accepted = format!("announcement {missing} is missing, which is accepted from now on");
        assert!(ran.stderr.contains(&accepted), "{command:?}: {}", ran.stderr);
        // What is there is applied, and that is told as well.
        assert!(ran.stderr.contains("1 erasure announced since applied again"), "{}", ran.stderr);
        world.ok(&["read", "user-3"]);
        let told = world.run(&["verify"]).stdout;
        assert!(told.contains("accepted by ticket 12"), "{command:?}: {told}");
        // It is of what was found, and not said for good.
        let told = world.fails(1, &["--past-gap", "ticket 12", "read", "user-3"]);
        assert!(told.contains("no announcement is missing"), "{told}");
    }
    // Nor does a restoration that finds nothing missing take the word in advance.
    world.ok(&["append", "user-4", "UserRegistered"]);
    world.ok(&["backup", "--to", &to, "--expires", "90d", "after.age"]);
    std::fs::remove_dir_all(world.path("oubliette-data/vault")).unwrap();
    let restore =
        ["--past-gap", "ops", "restore", "after.age", "-i", "key.txt", "--overwrite-slot"];
    let told = world.fails(1, &restore);
    assert!(
        told.contains("the vault is restored") && told.contains("no announcement is missing"),
        "{told}"
    );
    world.ok(&["read", "user-4"]);
}

/// The announcements are taken out, and vault and slot are put back: the tombstones are all that tells.
#[test]
fn a_tombstone_that_is_undone_is_never_passed_over() {
    let world = World::new();
    for user in ["user-1", "user-2"] {
        world.ok(&["append", user, "UserRegistered", "--data", r#"{"name":"Erika"}"#]);
    }
    let image = tempfile::tempdir().unwrap();
    copy(world.dir.path(), image.path());
    world.ok(&["forget", "user-1", "--reason", "asked", "--yes"]);
    world.ok(&["append", "user-2", "UserMoved", "--data", r#"{"to":"Leipzig"}"#]);
    put_back(image.path(), world.dir.path());
    let db = rusqlite::Connection::open(world.path("oubliette-data/events/events.db")).unwrap();
    db.execute("DELETE FROM event WHERE type = 'Announced'", []).unwrap();
    drop(db);
    // Nothing tells the vault when it opens.
    world.ok(&["inventory"]);
    for args in [
        &["read-all"][..],
        &["read-all", "--backwards"],
        &["read", "user-1"],
        &["read", "user-1", "--backwards"],
        &["subscribe", "--until-caught-up"],
    ] {
        let args = [&["--json"], args].concat();
        let ended = world.run(&args);
        assert!(ended.code == 1 && ended.stderr.contains("this tombstone says"), "{args:?}");
        let ran = world.run(&[&args[..], &["--skip-unreadable"]].concat());
        let of = |ran: &Ran| (ran.code, ran.stdout.clone(), ran.stderr.clone());
        assert_eq!(of(&ran), of(&ended), "{args:?}");
    }
    let newest = ["read", "user-1", "--backwards", "--skip-unreadable"];
    assert!(!world.run(&newest).stdout.contains("Erika"));
}
