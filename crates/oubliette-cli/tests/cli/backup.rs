//! Backups and restoring, as people do them.

#![allow(clippy::print_stderr)] // to skip loudly

use std::{fs, process::Command, thread, time::Duration};

use age::secrecy::ExposeSecret;
use serde_json::Value;

use crate::world::World;

mod lists;

/// A key pair in `key.txt`; its recipient.
pub(crate) fn keygen(world: &World, name: &str) -> String {
    let identity = age::x25519::Identity::generate();
    world.write(name, format!("# a key\n{}\n", identity.to_string().expose_secret()));
    identity.to_public().to_string()
}

fn world() -> (World, String) {
    let world = World::new();
    for n in 1..=3 {
        let (stream, data) = (format!("user-{n}"), format!("{{\"name\":\"Erika {n}\"}}"));
        world.ok(&["append", &stream, "Registered", "--data", &data]);
    }
    let to = keygen(&world, "key.txt");
    (world, to)
}

fn back_up(world: &World, to: &str, name: &str) -> Value {
    world.json(&["backup", "--to", to, "--expires", "90d", name]).remove(0)
}

fn lose_vault(world: &World) {
    fs::remove_dir_all(world.path("oubliette-data/vault")).unwrap();
}

const RESTORE: [&str; 5] = ["restore", "copy.age", "--identity", "key.txt", "--overwrite-slot"];

#[test]
fn a_vault_that_is_lost_comes_back_from_its_backup() {
    let (world, to) = world();
    let before = world.ok(&["--json", "read-all"]);
    world.ok(&["forget", "user-3", "--reason", "asked", "--yes"]);
    let forgotten = world.ok(&["--json", "read-all"]);
    assert_ne!(before, forgotten);
    let made = back_up(&world, &to, "copy.age");
    assert_eq!((&made["keys"], &made["state"]), (&2.into(), &"valid".into()));
    fs::remove_file(world.root_slot()).unwrap();
    lose_vault(&world);
    let told = world.fails(1, &["read", "user-1"]);
    assert!(told.contains("oubliette restore"), "{told}");

    let restored = world.json(&RESTORE).remove(0);
    assert_eq!((&restored["keys"], &restored["backup"]), (&2.into(), &made["backup"]));
    assert!(world.root_slot().is_file(), "where it was noted");
    assert_eq!(world.ok(&["--json", "read-all"]), forgotten);
    let told = world.fails(4, &["append", "user-3", "Registered"]);
    assert!(told.contains("reopen"), "{told}");
    world.ok(&["append", "user-1", "Moved", "--data", "\"Bremen\""]);
    assert_eq!(world.data("user-1")[1], "Bremen");
    let listed = world.json(&["backup", "list"]);
    assert_eq!(listed, [made], "the restored vault knows of its backup");
}

/// A key that was destroyed after the backup stays destroyed: the events have it that it was.
#[test]
fn who_was_forgotten_after_the_backup_stays_forgotten() {
    let (world, to) = world();
    back_up(&world, &to, "copy.age");
    world.ok(&["forget", "user-3", "--reason", "asked", "--yes"]);
    let forgotten = world.ok(&["--json", "read-all"]);
    lose_vault(&world);
    let ran = world.run(&RESTORE);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("1 erasure announced since applied again"), "{}", ran.stderr);
    assert_eq!(world.ok(&["--json", "read-all"]), forgotten);
    world.fails(4, &["append", "user-3", "Registered"]);
    assert_eq!(world.data("user-1")[0]["name"], "Erika 1");
}

#[test]
fn the_slot_goes_where_it_is_wanted_and_is_found_from_then_on() {
    let (world, to) = world();
    back_up(&world, &to, "copy.age");
    lose_vault(&world);
    let old = world.root_slot();
    fs::create_dir(world.path("slots")).unwrap();
    let ran = world.run(&["--root", "slots/new.root", "restore", "copy.age", "-i", "key.txt"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stdout.contains("slots/new.root"), "{}", ran.stdout);
    assert!(ran.stderr.contains("after the backup"), "{}", ran.stderr);
    // The old one opens what was copied before.
    let named = ran.stderr.lines().find(|line| line.contains("still there")).unwrap();
    assert!(named.contains(old.to_str().unwrap()), "{named}");
    fs::remove_file(old).unwrap();
    assert_eq!(world.data("user-1")[0]["name"], "Erika 1");
}

/// All that was saved of the folder is its events.
#[test]
fn events_and_a_backup_are_enough() {
    let (world, to) = world();
    back_up(&world, &to, "copy.age");
    fs::create_dir(world.path("new")).unwrap();
    fs::rename(world.path("oubliette-data/events"), world.path("new/events")).unwrap();
    fs::remove_dir_all(world.path("oubliette-data")).unwrap();
    fs::remove_dir_all(world.path("state")).unwrap();
    world.ok(&["--dir", "new", "restore", "copy.age", "-i", "key.txt"]);
    assert_eq!(world.json(&["--dir", "new", "read", "user-2"])[0]["data"]["name"], "Erika 2");
}

/// Of `user-1`, who is forgotten, so many backups.
fn the_plan_names_what_forgetting_again_names(world: &World, count: usize) {
    let again = ["forget", "user-1", "--reason", "asked", "--yes"];
    let (plan, forgot) = (world.json(&["plan", "user-1"]), world.json(&again));
    assert_eq!(plan[0].get("backups"), forgot[0].get("backups"));
    assert_eq!(plan[0]["backups"].as_array().unwrap().len(), count);
    let (plan, forgot) = (world.ok(&["plan", "user-1"]), world.ok(&again));
    assert!(!plan.contains("nothing to do"), "{plan}");
    let (_, named) = forgot.split_once("not out of reach yet").unwrap();
    assert!(plan.ends_with(named), "{plan}");
}

#[test]
fn forgetting_names_the_backups_that_still_hold_the_keys() {
    let (world, to) = world();
    let first = back_up(&world, &to, "first.age");
    let second = back_up(&world, &to, "second.age");
    let id = |backup: &Value| backup["backup"].as_str().unwrap().to_owned();
    let forgot = world.ok(&["forget", "user-1", "--reason", "asked", "--yes"]);
    let until = &first["expires"].as_str().unwrap()[..10];
    for word in ["first.age", "second.age", &id(&first), until, "backup retire"] {
        assert!(forgot.contains(word), "{word}: {forgot}");
    }
    the_plan_names_what_forgetting_again_names(&world, 2);
    world.ok(&["backup", "retire", &id(&first)]);
    let third = back_up(&world, &to, "third.age");
    // Of who was forgotten before the third was made.
    the_plan_names_what_forgetting_again_names(&world, 1);
    let forgot = &world.json(&["forget", "user-2", "--reason", "asked", "--yes"])[0];
    let named: Vec<_> = forgot["backups"].as_array().unwrap().iter().map(id).collect();
    assert_eq!(named, [id(&second), id(&third)]);
    let states = world.json(&["backup", "list"]);
    let states: Vec<_> = states.iter().map(|row| row["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["retired", "valid", "valid"]);
    assert!(world.ok(&["backup", "list"]).contains("second.age"));
    // Begun after it, and so not named.
    world.ok(&["backup", "retire", &id(&second)]);
    world.ok(&["backup", "retire", &id(&third)]);
    back_up(&world, &to, "fourth.age");
    let again = world.ok(&["forget", "user-2", "--reason", "asked", "--yes"]);
    assert!(again.contains("already"), "{again}");
}

#[test]
fn what_cannot_be_backed_up_is_refused_with_a_word_on_what_to_do() {
    let (world, to) = world();
    let secret = fs::read_to_string(world.path("key.txt")).unwrap();
    let secret = secret.lines().nth(1).unwrap();
    world.write("taken.age", "precious");
    for (code, args, says) in [
        (2, vec!["--expires", "90d", "a.age"], "--to age1"),
        (2, vec!["--to", &to, "a.age"], "--expires"),
        (2, vec!["--to", &to, "--expires", "90d"], "FILE"),
        (2, vec!["--to", "age1nobody", "--expires", "90d", "a.age"], "age1nobody"),
        (2, vec!["--to", secret, "--expires", "90d", "a.age"], "secret half"),
        (2, vec!["--to", &to, "--expires", "2020-01-01", "a.age"], "has passed"),
        (2, vec!["--to", &to, "--expires", "soon", "a.age"], "90d"),
        (2, vec!["--to", &to, "--expires", "3m", "a.age"], "mo or min"),
        (2, vec!["--to", &to, "--expires", "2127-03-28T02:30", "a.age"], "which zone"),
        (1, vec!["--recipients-file", "absent", "--expires", "90d", "a.age"], "absent"),
        (1, vec!["--to", &to, "--expires", "90d", "taken.age"], "give another name"),
        (1, vec!["--to", &to, "--expires", "90d", "no/folder/a.age"], "no/folder/a.age cannot"),
    ] {
        let told = world.fails(code, &[&["backup"], args.as_slice()].concat());
        assert!(told.contains(says), "{args:?}: {told}");
        assert!(!told.contains(secret), "a secret is repeated: {told}");
    }
    assert!(!world.path("a.age").exists());
    assert_eq!(fs::read_to_string(world.path("taken.age")).unwrap(), "precious");
    assert!(world.json(&["backup", "list"]).is_empty());
    let unknown = uuid::Uuid::nil().to_string();
    assert!(world.fails(1, &["backup", "retire", &unknown]).contains("backup list"));
    world.fails(1, &["--dir", "nothing", "backup", "--to", &to, "--expires", "1d", "a.age"]);
}

#[test]
fn what_cannot_be_restored_is_refused_with_a_word_on_what_to_do() {
    let (world, to) = world();
    back_up(&world, &to, "copy.age");
    let told = world.fails(1, &RESTORE);
    assert!(told.contains("move it away"), "{told}");
    assert_eq!(world.data("user-1")[0]["name"], "Erika 1");
    lose_vault(&world);
    keygen(&world, "other.txt");
    let whole = fs::read(world.path("copy.age")).unwrap();
    world.write("cut.age", &whole[..whole.len() / 2]);
    let mut flipped = whole;
    flipped[300] ^= 4;
    world.write("flipped.age", flipped);
    world.write("text", "a letter");
    for (file, identity, says) in [
        ("copy.age", "other.txt", "other recipients"),
        ("copy.age", "text", "no age identity"),
        ("copy.age", "absent", "absent"),
        ("cut.age", "key.txt", "cut off"),
        ("flipped.age", "key.txt", "damaged or was changed"),
        ("text", "key.txt", "not a file of age's"),
        ("absent.age", "key.txt", "absent.age"),
    ] {
        let told = world.fails(1, &["restore", file, "--identity", identity]);
        assert!(told.contains(says), "{file} {identity}: {told}");
        assert!(!world.path("oubliette-data/vault").exists());
    }
    let told = world.fails(1, &["--dir", "nothing", "restore", "copy.age", "-i", "key.txt"]);
    assert!(told.contains("restore the event store first"), "{told}");
    let told = world.fails(2, &["--no-vault", "restore", "copy.age", "-i", "key.txt"]);
    assert!(told.contains("--no-vault"), "{told}");

    // Events of another vault.
    world.ok(&["--dir", "other", "--root", "other.root", "append", "s", "T"]);
    fs::remove_dir_all(world.path("other/vault")).unwrap();
    let told = world.fails(1, &["--dir", "other", "restore", "copy.age", "-i", "key.txt"]);
    assert!(told.contains("belongs to them"), "{told}");
    // A slot of another vault in the way.
    let args = ["--root", "other.root", "restore", "copy.age", "-i", "key.txt"];
    let told = world.fails(1, &args);
    assert!(
        told.contains("move it away, or choose another place") && told.contains("--root"),
        "{told}"
    );
    world.ok(&RESTORE);
    assert_eq!(world.data("user-1")[0]["name"], "Erika 1");
}

#[test]
fn an_expired_backup_is_restored_only_when_asked_for() {
    let (world, to) = world();
    // On a busy machine three seconds may pass before it begins.
    let backed_up = |seconds: i64| {
        let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
        let args = ["backup", "--to", &to, "--expires", &soon.to_string(), "copy.age"];
        (world.run(&args).code == 0).then_some(soon)
    };
    let soon = [3, 20, 60].into_iter().find_map(backed_up).unwrap();
    lose_vault(&world);
    while jiff::Timestamp::now() < soon {
        thread::sleep(Duration::from_millis(50));
    }
    let told = world.fails(1, &RESTORE);
    assert!(told.contains("--even-expired"), "{told}");
    world.ok(&[&RESTORE[..], &["--even-expired"]].concat());
    assert_eq!(world.data("user-1")[0]["name"], "Erika 1");
    let listed = &world.json(&["backup", "list"])[0];
    assert_eq!(listed["state"], "expired");

    // It counted as destroyed, because its day had passed.
    let verified = world.run(&["verify"]);
    assert!(
        verified.code == 1 && verified.stdout.contains("backup overdue"),
        "{}",
        verified.stdout
    );
    let forget = ["forget", "user-1", "--reason", "asked", "--yes"];
    for _ in 0..2 {
        let told = world.ok(&forget);
        assert!(told.contains("copy.age") && told.contains("nobody said"), "{told}");
    }
    world.ok(&["backup", "retire", listed["backup"].as_str().unwrap()]);
    assert!(!world.ok(&forget).contains("copy.age"));
    assert_eq!(world.run(&["verify"]).code, 0);
}

#[test]
fn a_restore_that_is_killed_leaves_no_half_vault_and_can_be_repeated() {
    let (world, to) = world();
    let row = |n| format!("{{\"stream\":\"s-{n}\",\"type\":\"T\",\"data\":{n}}}\n");
    world.write("many.ndjson", (0..3000).map(row).collect::<String>());
    world.ok(&["import", "many.ndjson"]);
    assert_eq!(back_up(&world, &to, "copy.age")["keys"], 3003);
    let events = world.ok(&["--json", "read-all"]);
    lose_vault(&world);
    let (mut killed, mut delay) = (0, 0);
    loop {
        let mut child = world.spawn(&RESTORE);
        thread::sleep(Duration::from_millis(delay));
        child.kill().unwrap();
        let ended = child.wait().unwrap().success();
        let ran = world.run(&["--json", "read-all"]);
        if ran.code == 0 {
            assert!(ran.stdout == events, "a half vault, or a wrong one");
            if ended {
                break;
            }
            lose_vault(&world);
        } else {
            assert!(ran.stderr.contains("restore the vault from a backup"), "{}", ran.stderr);
        }
        killed += 1;
        delay += 25;
        assert!(killed < 400, "never done");
    }
    assert!(killed > 0);
}

/// The standard tool opens our file, and what it seals can be restored.
#[test]
fn the_age_command_line_opens_a_backup() {
    let age = |args: &[&str], world: &World| {
        Command::new(args[0]).args(&args[1..]).current_dir(world.dir.path()).output()
    };
    let (world, ours) = world();
    if age(&["age", "--version"], &world).is_err() {
        eprintln!("SKIPPED: no `age` here; a backup was not opened by it");
        assert!(std::env::var_os("OUBLIETTE_REQUIRE_AGE").is_none(), "age was to be there");
        return;
    }
    let run = |args: &[&str]| {
        let ran = age(args, &world).unwrap();
        assert!(ran.status.success(), "{args:?}: {}", String::from_utf8_lossy(&ran.stderr));
        ran.stdout
    };
    run(&["age-keygen", "-o", "theirs.txt"]);
    let theirs = String::from_utf8(run(&["age-keygen", "-y", "theirs.txt"])).unwrap();
    world.write("recipients", format!("# both\n{ours}\n{theirs}"));
    let args = ["backup", "--recipients-file", "recipients", "--expires", "1y", "copy.age"];
    assert_eq!(world.json(&args)[0]["recipients"].as_array().unwrap().len(), 2);
    let plain = run(&["age", "-d", "-i", "theirs.txt", "copy.age"]);
    assert!(plain.starts_with(b"OUBLIETTE BACKUP\0\0\0\x01"));
    assert_eq!(run(&["age", "-d", "-i", "key.txt", "copy.age"]), plain);

    world.write("plain", plain);
    run(&["age", "-r", theirs.trim(), "-o", "again.age", "plain"]);
    lose_vault(&world);
    world.ok(&["restore", "again.age", "--identity", "theirs.txt", "--overwrite-slot"]);
    assert_eq!(world.data("user-2")[0]["name"], "Erika 2");
}

#[test]
fn a_restore_that_is_refused_leaves_the_vault_that_was_moved_away_as_it_was() {
    let (world, to) = world();
    back_up(&world, &to, "copy.age");
    world.ok(&["forget", "user-2", "--reason", "asked", "--yes"]);
    let text = world.ok(&["erasures", "export"]);
    world.write("changed.ndjson", text.replacen("\"sealed\":\"", "\"sealed\":\"AAAA", 1));
    let (vault, old) = (world.path("oubliette-data/vault"), world.path("oubliette-data/vault.old"));
    fs::rename(&vault, &old).unwrap();
    let changed = ["--erasures", "changed.ndjson"];
    let told = world.fails(1, &[&RESTORE[..], &changed].concat());
    assert!(told.contains("were changed"), "{told}");
    let told = world.fails(1, &[&RESTORE[..], &changed, &["--even-cut"]].concat());
    assert!(told.contains("does not count"), "{told}");
    assert!(!vault.exists());
    fs::rename(&old, &vault).unwrap();
    assert_eq!(world.run(&["read", "user-1"]).code, 0);
}

/// Nothing that cannot be taken back comes before something whose impossibility can be seen.
#[test]
fn a_restore_that_cannot_end_leaves_the_slot_as_it_was() {
    let (world, to) = world();
    back_up(&world, &to, "copy.age");
    let (vault, old) = (world.path("oubliette-data/vault"), world.path("vault.old"));
    let slot = fs::read(world.root_slot()).unwrap();
    fs::rename(&vault, &old).unwrap();
    let refused = |args: &[&str], says: &str| {
        let told = world.fails(1, &[args, &RESTORE[..]].concat());
        assert!(told.contains(says), "{args:?}: {told}");
        assert!(fs::read(world.root_slot()).unwrap() == slot, "{args:?}: the slot was touched");
    };
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("nowhere", world.path("dangling")).unwrap();
        refused(&["--vault", "dangling"], "symbolic link");
        std::os::unix::fs::symlink("elsewhere", &vault).unwrap();
        refused(&[], "symbolic link");
        fs::remove_file(&vault).unwrap();
        // Where the vault is could not be noted.
        std::os::unix::fs::symlink("nowhere", world.path("config")).unwrap();
        refused(&["--vault", "elsewhere"], "config");
        fs::remove_file(world.path("config")).unwrap();
    }
    world.write("file", "precious");
    refused(&["--vault", "file"], "move it away");
    refused(&["--vault", "file/in-it"], "file/in-it");
    let manifest = world.path("oubliette-data/oubliette.json");
    let text = fs::read(&manifest).unwrap();
    fs::remove_file(&manifest).unwrap();
    fs::create_dir(&manifest).unwrap();
    refused(&["--vault", "elsewhere"], "oubliette.json");
    fs::remove_dir(&manifest).unwrap();
    fs::write(&manifest, text).unwrap();

    fs::rename(&old, &vault).unwrap();
    assert_eq!(world.data("user-1")[0]["name"], "Erika 1");
}

/// A folder that cannot get another name: a mount point, and one that is worked in.
#[test]
fn a_vault_is_restored_to_a_folder_that_cannot_be_renamed() {
    let (world, to) = world();
    back_up(&world, &to, "copy.age");
    lose_vault(&world);
    let whole = |vault: &str| {
        assert_eq!(world.data("user-1")[0]["name"], "Erika 1", "{vault}");
        world.ok(&["append", "user-1", "Moved"]);
    };
    world.ok(&[&["--vault", "v9/."], &RESTORE[..]].concat());
    whole("v9/.");

    fs::create_dir(world.path("here")).unwrap();
    let mut restore = world.command(&["--dir", "../oubliette-data", "--vault", "."]);
    restore.args(["restore", "../copy.age", "-i", "../key.txt", "--overwrite-slot"]);
    let ran = restore.current_dir(world.path("here")).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    whole(".");

    #[cfg(target_os = "linux")]
    {
        fs::create_dir(world.path("mounted")).unwrap();
        let Some(_disk) = crate::ext4::Ext4::make_at(&world.path("mounted")) else { return };
        world.ok(&[&["--vault", "mounted"], &RESTORE[..]].concat());
        whole("mounted");
    }
}

#[test]
fn a_dash_is_no_file_of_a_backup_and_a_backup_lies_in_no_vault() {
    let world = World::new();
    world.ok(&["append", "user-1", "T"]);
    let recipient = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj";
    let make = ["backup", "--to", recipient, "--expires", "9d"];
    let told = world.fails(2, &[&make[..], &["-"]].concat());
    assert!(told.contains("FILE names a file, and cannot be stdin or stdout (`-`)"), "{told}");
    assert!(!world.path("-").exists());
    let told = world.fails(2, &["restore", "-", "--identity", "key.txt"]);
    assert!(told.contains("FILE names a file"), "{told}");
    let told = world.fails(2, &["restore", "one.age", "-i", "-"]);
    assert!(told.contains("--identity names a file"), "{told}");
    for file in ["oubliette-data/vault/x.age", "oubliette-data/vault/pages/x.age"] {
        let told = world.fails(2, &[&make[..], &[file]].concat());
        assert!(told.contains("must not lie in a vault's own folder"), "{told}");
        assert!(!world.path(file).exists());
    }
    assert!(world.json(&["backup", "list"]).is_empty());
    world.ok(&[&make[..], &["./-"]].concat());
}

/// It ended nowhere, as far as this vault knows: it signs where its secret is, and not here.
#[test]
fn a_key_that_a_restored_vault_learned_of_is_not_called_retired() {
    let (world, to) = world();
    back_up(&world, &to, "copy.age");
    let learned = world.json(&["keys", "rotate"]).remove(0)["key"].clone();
    lose_vault(&world);
    world.ok(&RESTORE);
    let keys = world.json(&["keys"]);
    let signs: Vec<bool> = keys.iter().map(|key| key["signs"].as_bool().unwrap()).collect();
    assert_eq!(signs, [false, false, true]);
    assert!(keys[1]["key"] == learned && keys[1].get("until").is_none(), "{keys:?}");
    let table = world.ok(&["keys"]);
    let of = |key: &Value| {
        let key = key["key"].as_str().unwrap();
        table.lines().find(|line| line.starts_with(key)).unwrap()
    };
    assert!(of(&keys[0]).contains("retired"), "{table}");
    assert!(of(&keys[1]).contains("signs elsewhere"), "{table}");
    assert!(of(&keys[2]).contains("signs  "), "{table}");
}

/// It had two stanzas for one, and said `to 2`.
#[test]
fn a_recipient_who_is_named_twice_counts_once() {
    let (world, to) = world();
    world.write("recipients.txt", &to);
    let twice = ["--to", &to, "--to", &to, "--recipients-file", "recipients.txt"];
    let made = world.json(&[&["backup"], &twice[..], &["--expires", "90d", "a.age"]].concat());
    assert_eq!(made[0]["recipients"], serde_json::json!([to]));
}

/// It told of an invalid length.
#[test]
fn a_backup_is_retired_by_its_whole_id() {
    let (world, to) = world();
    let made = back_up(&world, &to, "a.age");
    let told = world.fails(2, &["backup", "retire", &made["backup"].as_str().unwrap()[..8]]);
    assert!(told.contains("give the whole id") && !told.contains("length"), "{told}");
}
