//! `docs/signing-keys.md`, run as it is: each section in a world in which that has happened.

use std::{fs, process::Stdio};

use serde_json::Value;

use crate::{
    backup::keygen,
    common::folders::copy,
    world::{Ran, World, rows},
};

const PAGE: &str = include_str!("../../../../docs/signing-keys.md");

/// The commands of a section, in their order.
fn commands(section: &str) -> Vec<&'static str> {
    let (_, text) = PAGE.split_once(&format!("\n## {section}\n")).unwrap();
    let text = text.split("\n## ").next().unwrap();
    let blocks = text.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap());
    let found: Vec<_> = blocks.flat_map(str::lines).filter(|line| !line.is_empty()).collect();
    assert!(!found.is_empty(), "{section}");
    found
}

/// Types a line of the page into a shell.
fn types(world: &World, line: &str, variables: &[(&str, &str)]) -> Ran {
    let program = env!("CARGO_BIN_EXE_oubliette");
    let (folder, _) = program.rsplit_once('/').unwrap();
    let like = world.command(&[]);
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", line]).current_dir(world.dir.path()).stdin(Stdio::null());
    for (name, value) in like.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell.env("PATH", format!("{folder}:{}", std::env::var("PATH").unwrap()));
    shell.envs(variables.iter().copied());
    shell.output().unwrap().into()
}

/// Runs the section: every command must end as the page says. Returns what all of them said.
fn follow(world: &World, section: &str, variables: &[(&str, &str)]) -> String {
    let mut said = String::new();
    for line in commands(section) {
        let wanted = line.split_once("# exit code ").map_or(0, |(_, code)| code.parse().unwrap());
        let ran = types(world, line, variables);
        assert_eq!(ran.code, wanted, "{line}\n{}{}", ran.stdout, ran.stderr);
        said.push_str(&ran.stdout);
        said.push_str(&ran.stderr);
    }
    said
}

/// Two people, who may read backups, and a folder for what is to be taken away.
fn world() -> World {
    let world = World::new();
    let to = keygen(&world, "key.txt");
    world.write("recipients.txt", to);
    fs::create_dir(world.path("offline")).unwrap();
    for user in ["user-1", "user-2"] {
        world.ok(&["append", user, "UserRegistered", "--data", r#"{"name":"Erika"}"#]);
    }
    world
}

fn forget(world: &World, who: &str) -> String {
    let erased = world.json(&["forget", who, "--reason", "ticket 1", "--yes"]).remove(0);
    erased["erasure"].as_str().unwrap().to_owned()
}

fn prepared() -> World {
    let world = world();
    world.ok(&["keys", "successor", "--out", "offline/successor.key"]);
    back_up(&world);
    world
}

fn back_up(world: &World) {
    let args = ["backup", "--recipients-file", "recipients.txt", "--expires", "90d", "vault.age"];
    world.ok(&args);
}

fn lose_vault(world: &World) {
    fs::remove_dir_all(world.path("oubliette-data/vault")).unwrap();
}

/// Origin and state of each key.
fn history(world: &World) -> Vec<String> {
    let row = |row: &Value| {
        let signs = if row["signs"] == true { " signs" } else { "" };
        let stolen = if row["compromised"].is_string() { " stolen" } else { "" };
        format!("{}{signs}{stolen}", row["origin"].as_str().unwrap())
    };
    world.json(&["keys"]).iter().map(row).collect()
}

#[test]
fn in_advance() {
    let world = world();
    let said = follow(&world, "In advance", &[]);
    for word in ["is to follow", "pinned successor", "signs from now on", "take the file elsewhere"]
    {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert_eq!(history(&world), ["created", "successor signs", "pinned"]);
    // The secrets are where they belong, and nowhere else.
    for name in ["offline/successor.key", "offline/successor-2.key"] {
        let text = fs::read_to_string(world.path(name)).unwrap();
        let secret = text.trim().rsplit(' ').next().unwrap();
        assert!(!world.finds("oubliette-data", secret) && !said.contains(secret));
    }
    forget(&world, "user-1");
    assert!(world.ok(&["verify"]).contains("everything is as it should be"));
}

#[test]
fn lost() {
    let world = prepared();
    let section = "Lost: the vault is restored from a backup";
    lose_vault(&world);
    let (restore, rest) = commands(section).split_first().map(|(f, r)| (*f, r.to_vec())).unwrap();
    assert_eq!(types(&world, restore, &[]).code, 0);
    assert_eq!(history(&world), ["created", "restored signs", "pinned"]);
    let listed = world.run(&["keys"]).stderr;
    assert!(listed.contains("keys rotate --successor"), "{listed}");
    // Somebody is forgotten meanwhile, by a key that only this vault knows.
    forget(&world, "user-1");
    for line in rest {
        let ran = types(&world, line, &[]);
        assert_eq!(ran.code, 0, "{line}\n{}{}", ran.stdout, ran.stderr);
    }
    assert_eq!(history(&world), ["created", "restored", "successor signs", "pinned"]);
    // Restored from the earlier backup once more, nothing is in doubt.
    lose_vault(&world);
    let ran = world.run(&["restore", "vault.age", "--identity", "key.txt", "--overwrite-slot"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("applied again"), "{}", ran.stderr);
    assert!(!world.ok(&["read", "user-1"]).contains("Erika"));
    // Of the two tombstones, this vault knows the key of the one that was set again.
    let rows = world.json(&["read", "user-1"]);
    let tombstones = rows.iter().filter(|row| row["type"] == "SubjectForgotten");
    let counts: Vec<_> = tombstones.map(|row| row["data"].is_object()).collect();
    assert_eq!(counts, [false, true]);
    // The other one was an error for ever.
    let rows = world.json(&["verify"]);
    let kinds: Vec<_> = rows.iter().filter_map(|row| row["finding"].as_str()).collect();
    assert_eq!(kinds, ["uncounted-tombstone"]);
    assert_eq!(history(&world), ["created", "successor", "restored signs", "pinned"]);
}

#[test]
fn restored_twice() {
    let world = world();
    back_up(&world);
    let restore = ["restore", "vault.age", "--identity", "key.txt", "--overwrite-slot"];
    lose_vault(&world);
    world.ok(&restore);
    let erasure = forget(&world, "user-1");
    lose_vault(&world);
    let told = world.fails(1, &restore);
    assert!(told.contains(&erasure) && told.contains("--believe-erasure"), "{told}");
    assert!(told.contains("the vault is restored"), "{told}");
    // What there is to be said, and of which event, for people and for programs.
    let table = world.run(&["verify"]).stdout;
    let rows = rows(&world.run(&["--json", "verify"]).stdout);
    for kind in ["announcement in doubt", "unknown signer"] {
        let is_it = |row: &&Value| row["finding"] == *kind.replace(' ', "-");
        let row = rows.iter().find(is_it).unwrap();
        let (event, signer) = (&row["where"]["event"]["id"], &row["signer"]);
        let (event, signer) = (event.as_str().unwrap(), signer.as_str().unwrap());
        let what = row["what"].as_str().unwrap();
        assert!([event, signer, &*erasure].iter().all(|word| what.contains(word)), "{row}");
        let remedy = row["remedy"].as_str().unwrap();
        assert!(remedy.contains("--believe-erasure") && remedy.contains("--past-erasure"), "{row}");
        assert!(table.contains(&format!("{kind}: {remedy}")), "{table}");
    }
    follow(&world, "Restored twice", &[("ERASURE", &erasure)]);
    assert!(!world.ok(&["read", "user-1"]).contains("Erika"));
    assert!(world.ok(&["read", "user-2"]).contains("Erika"));
}

#[test]
fn folder_copied() {
    let world = prepared();
    copy(&world.path("oubliette-data"), &world.path("staging"));
    let said = follow(&world, "Folder copied", &[]);
    assert!(said.contains("made when it was restored or copied"), "{said}");
    assert_eq!(history(&world), ["created signs", "pinned"]);
}

/// Who has a copy of folder and slot, goes on with them, and can write to the store.
struct Thief(tempfile::TempDir);

impl Thief {
    fn of(world: &World) -> Self {
        let thief = tempfile::tempdir().unwrap();
        copy(world.dir.path(), thief.path());
        Self(thief)
    }

    fn runs(&self, world: &World, args: &[&str]) {
        let data = self.0.path().join("oubliette-data");
        let slot = fs::read_dir(self.0.path().join("state/oubliette")).unwrap().next().unwrap();
        let slot = slot.unwrap().path();
        let (dir, root) = (data.to_str().unwrap(), slot.to_str().unwrap());
        world.ok(&[&["--dir", dir, "--root", root, "--this-is-the-one"], args].concat());
    }

    fn writes_to(&self, world: &World) {
        let events = self.0.path().join("oubliette-data/events");
        copy(&events, &world.path("oubliette-data/events"));
    }

    /// Appends what their own store has more, and removes nothing.
    fn appends_to(&self, world: &World) {
        let db = "oubliette-data/events/events.db";
        let (ours, theirs) = (world.path(db), self.0.path().join(db));
        let ours = rusqlite::Connection::open(ours).unwrap();
        ours.execute("ATTACH ?1 AS theirs", [theirs.to_str().unwrap()]).unwrap();
        let more = "
            INSERT OR IGNORE INTO stream (name) SELECT name FROM theirs.stream;
            INSERT INTO event (stream, revision, id, type, recorded, data, metadata)
                SELECT stream.id,
                    (SELECT coalesce(max(revision), -1) FROM event WHERE stream = stream.id)
                        + row_number() OVER (PARTITION BY stream.id ORDER BY position),
                    more.id, type, recorded, data, metadata
                FROM theirs.event AS more
                    JOIN theirs.stream AS named ON named.id = more.stream
                    JOIN main.stream AS stream ON stream.name = named.name
                WHERE more.id NOT IN (SELECT id FROM main.event)
                ORDER BY position;";
        ours.execute_batch(more).unwrap();
    }
}

#[test]
fn stolen() {
    let world = prepared();
    forget(&world, "user-1");
    let thief = Thief::of(&world);
    thief.runs(&world, &["forget", "user-2", "--reason", "malice", "--yes"]);
    thief.writes_to(&world);

    let said = follow(&world, "Stolen: folder and slot", &[]);
    for word in ["does not count any more", "compromised word", "not counted"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert!(world.ok(&["read", "user-2"]).contains("Erika"));
    assert_eq!(history(&world), ["created stolen", "successor signs", "pinned"]);
    // Nor in a vault from before all this.
    lose_vault(&world);
    world.ok(&["restore", "vault.age", "--identity", "key.txt", "--overwrite-slot"]);
    assert!(world.ok(&["read", "user-2"]).contains("Erika"));
    assert!(!world.ok(&["read", "user-1"]).contains("Erika"));
    let keys = world.run(&["keys"]);
    assert!(keys.stdout.contains("compromised since 2026-11-20"), "{}", keys.stdout);
}

/// The change was made, and not announced: a vault that was restored then carried out what the thief had said.
#[test]
fn stolen_and_changed() {
    let world = prepared();
    let thief = Thief::of(&world);
    thief.runs(&world, &["forget", "user-2", "--reason", "malice", "--yes"]);
    thief.runs(&world, &["keys", "rotate", "--without-successor"]);
    thief.runs(&world, &["forget", "user-1", "--reason", "malice", "--yes"]);
    thief.writes_to(&world);

    let first = commands("Stolen: folder and slot")[0];
    let ran = types(&world, first, &[]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("the signing keys are changed"), "{}", ran.stderr);
    let event = ran.stderr.split_once("in event ").unwrap().1[..36].to_owned();
    // A restored vault learns of it already.
    let pinned = |world: &World| {
        lose_vault(world);
        let restore = ["restore", "vault.age", "--identity", "key.txt", "--overwrite-slot"];
        let told = world.fails(1, &restore);
        assert!(told.contains("the vault is restored") && told.contains(&event), "{told}");
        follow(world, "Stolen, and the thief changed the key", &[("EVENT", &event)]);
        assert!(world.ok(&["read", "user-1"]).contains("Erika"));
        assert!(world.ok(&["read", "user-2"]).contains("Erika"));
    };
    follow(&world, "Stolen, and the thief changed the key", &[("EVENT", &event)]);
    assert_eq!(history(&world), ["created stolen", "successor signs"]);
    // Nothing asks again what was said.
    let found = rows(&world.run(&["--json", "verify"]).stdout);
    let found: Vec<_> = found.iter().filter(|row| row["where"]["event"]["id"] == *event).collect();
    assert_eq!((found.len(), &found[0]["finding"]), (1, &"forged-announcement".into()));
    assert!(found[0]["what"].as_str().unwrap().contains("passed over"), "{}", found[0]);
    assert!(world.ok(&["read", "user-2"]).contains("Erika"));
    pinned(&world);
}

#[test]
fn an_earlier_key_is_stolen() {
    let world = world();
    let thief = Thief::of(&world);
    thief.runs(&world, &["forget", "user-2", "--reason", "malice", "--yes"]);
    let stolen = world.json(&["keys"]).remove(0)["key"].as_str().unwrap().to_owned();
    world.ok(&["keys", "rotate"]);
    thief.appends_to(&world);

    let told = world.fails(2, &["keys", "distrust", &stolen, "--compromised-since", "2999-01-01"]);
    assert!(told.contains("still to come"), "{told}");
    let distrust = |key: &str, says: &str| {
        let told = world.fails(2, &["keys", "distrust", key, "--compromised-since", "2026-10-01"]);
        assert!(told.contains(says), "{key}: {told}");
    };
    distrust("AAAAAAAAAAAAAAAAAAAAAA", "never signed");
    distrust("the-first", "not the id of a signing key");
    world.fails(2, &["keys", "distrust", &stolen]);
    world.fails(2, &["keys", "rotate", "--distrust", &stolen]);

    let said = follow(&world, "Stolen: an earlier key", &[("KEY", &stolen)]);
    for word in ["does not count any more", "compromised word", "not counted", "new backup"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert!(world.ok(&["read", "user-2"]).contains("Erika"));
    assert_eq!(history(&world), ["created stolen", "rotated signs"]);
    distrust(&stolen, "compromised already");
    let signs = world.json(&["keys"]).pop().unwrap()["key"].as_str().unwrap().to_owned();
    distrust(&signs, "signs now");
    // A vault that is restored knows it.
    lose_vault(&world);
    world.ok(&["restore", "vault-2.age", "--identity", "key.txt", "--overwrite-slot"]);
    assert!(world.ok(&["read", "user-2"]).contains("Erika"));
    assert_eq!(history(&world), ["created stolen", "rotated", "restored signs"]);
}

#[test]
fn the_successors_file_is_lost() {
    let world = prepared();
    let told = world.fails(2, &["keys", "rotate"]);
    assert!(told.contains("--without-successor"), "{told}");
    let told = world.fails(2, &["keys", "successor", "--out", "offline/other.key"]);
    assert!(told.contains("pinned already"), "{told}");
    assert!(!world.path("offline/other.key").exists());
    follow(&world, "The successor's file is lost", &[]);
    assert_eq!(history(&world), ["created", "rotated signs", "pinned"]);
    // A vault from before does not believe it, and says so.
    lose_vault(&world);
    let ran = world.run(&["restore", "vault.age", "--identity", "key.txt", "--overwrite-slot"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("only its pinned successor"), "{}", ran.stderr);
}

#[test]
fn every_section_with_commands_is_run() {
    let sections = PAGE.split("\n## ").skip(1);
    let with: Vec<_> = sections.filter(|text| text.contains("```sh")).collect();
    assert_eq!(with.len(), 8, "a test for each");
}

#[test]
fn a_wrong_successor_is_refused_with_a_word_on_what_to_do() {
    let (world, other) = (prepared(), prepared());
    let theirs = other.path("offline/successor.key");
    let text = fs::read_to_string(world.path("offline/successor.key")).unwrap();
    let last = text.trim_end().len() - 4;
    let mut flipped = text.clone().into_bytes();
    flipped[last] = if flipped[last] == b'A' { b'B' } else { b'A' };
    let rotate = |world: &World, file: &str, says: &str, code| {
        let told = world.fails(code, &["keys", "rotate", "--successor", file]);
        assert!(told.contains(says), "{file}: {told}");
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            assert!(!told.contains(line.rsplit(' ').next().unwrap()), "a secret is repeated");
        }
    };
    let private = |name: &str, bytes: &[u8]| {
        world.write(name, bytes);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(world.path(name), fs::Permissions::from_mode(0o600)).unwrap();
        }
    };
    private("flipped", &flipped);
    private("cut", &text.as_bytes()[..text.len() - 9]);
    private("newer", text.replace("SUCCESSOR-1", "SUCCESSOR-2").as_bytes());
    private("letter", b"a letter");
    rotate(&world, theirs.to_str().unwrap(), "for vault", 2);
    rotate(&world, "flipped", "pinned successor is", 2);
    rotate(&world, "cut", "not the file of a successor", 1);
    rotate(&world, "newer", "newer program", 1);
    rotate(&world, "letter", "not the file of a successor", 1);
    rotate(&world, "absent", "absent", 1);
    let args = ["keys", "rotate", "--successor", "offline/successor.key", "--compromised-since"];
    let told = world.fails(2, &[&args[..], &["2999-01-01"]].concat());
    assert!(told.contains("still to come"), "{told}");
    let told = world.fails(2, &[&args[..], &["yesterday"]].concat());
    assert!(told.contains("2026-11-20"), "{told}");
    let told = world.fails(2, &["keys", "successor", "--out", "oubliette-data/s.key"]);
    assert!(told.contains("keep it elsewhere"), "{told}");
    assert_eq!(history(&world), ["created signs", "pinned"], "nothing was changed");
    world.ok(&["keys", "rotate", "--successor", "offline/successor.key"]);
}
