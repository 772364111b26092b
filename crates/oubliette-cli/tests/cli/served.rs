//! Data folders whose events are at a NATS or a Kafka server: real ones.

#![allow(clippy::print_stderr)] // to skip loudly

#[cfg(feature = "kafka")]
use oubliette_servers::Kafka;
#[cfg(feature = "jetstream")]
use oubliette_servers::Nats;
use oubliette_servers::skipped;

use crate::world::{Ran, World, files};

const POLICY: &str = "\
[[stream]]
match = \"user-{id}\"
layout = \"split\"
public = [\"/n\"]
";

/// A server of the test's own.
#[cfg(feature = "jetstream")]
pub(crate) fn nats() -> Option<Nats> {
    let server = Nats::start().filter(|nats| nats.version() >= (2, 12));
    if server.is_none() {
        skipped("OUBLIETTE_REQUIRE_NATS", "no nats-server of 2.12 or later is installed");
    }
    server
}

/// A broker of the test's own.
#[cfg(feature = "kafka")]
pub(crate) fn kafka() -> Option<Kafka> {
    let server = Kafka::start();
    if server.is_none() {
        skipped("OUBLIETTE_REQUIRE_KAFKA", "no Kafka is installed");
    }
    server
}

fn rows() -> String {
    let row = |n: u32| {
        format!(
            "{{\"stream\":\"user-{n}\",\"type\":\"Registered\",\"data\":{{\"n\":{n},\"name\":\"Mustermann\"}}}}\n"
        )
    };
    (1..=5).map(row).collect()
}

/// What every command does there. `other` is another store of the same server.
fn walk(world: &World, store: &str, other: &str) {
    world.write("policy.toml", POLICY);
    world.write("events.ndjson", rows());
    let import = ["--store", store, "--policy", "policy.toml", "import", "events.ndjson"];
    let told = world.ok(&import);
    assert!(told.contains("5 imported"), "{told}");
    assert!(world.ok(&["import", "events.ndjson"]).contains("5 already there"));
    world.ok(&[
        "append",
        "user-1",
        "Moved",
        "--expect",
        "exists",
        "--data",
        r#"{"n":1,"to":"Bremen"}"#,
    ]);
    world.fails(3, &["append", "user-1", "Moved", "--expect", "none"]);
    assert_eq!(world.data("user-1")[0]["name"], "Mustermann");
    assert_eq!(world.json(&["read-all"]).len(), 6);
    assert_eq!(world.json(&["subscribe", "--until-caught-up", "--type", "Moved"]).len(), 2);
    assert!(!world.ok(&["--no-vault", "read-all"]).contains("Mustermann"));
    assert!(world.ok(&["--read-only", "read", "user-2"]).contains("Mustermann"));
    assert!(world.ok(&["plan", "user-1"]).contains("user-1"));
    world.ok(&["forget", "user-1", "--reason", "asked", "--yes"]);
    assert!(!world.ok(&["read", "user-1"]).contains("Mustermann"));
    world.fails(4, &["append", "user-1", "Moved"]);
    let told = world.ok(&["verify"]);
    assert!(told.contains("everything is as it should be"), "{told}");
    let told = world.ok(&["storage"]);
    assert!(told.contains("of 2 events, are dead") && told.contains("this store"), "{told}");
    // Another data folder has no business there.
    let told = world
        .fails(1, &["--dir", "b", "--root", "b.root", "--store", store, "append", "user-9", "T"]);
    assert!(!told.contains("Mustermann"), "{told}");
    // And another store of that server is another store.
    world.ok(&["--dir", "b", "--root", "b.root", "--store", other, "append", "user-9", "T"]);
    assert_eq!(world.json(&["read-all"]).len(), 7, "with the tombstone");
}

/// Each doubt of the server's is told by a command once, whatever the library logs.
fn tells_once(world: &World, args: &[&str], doubts: &[&str]) {
    let mut command = world.command(args);
    // As people run it.
    let ran: Ran = command.env_remove("OUBLIETTE_LOG").output().unwrap().into();
    assert_eq!(ran.code, 0, "{args:?}: {}", ran.stderr);
    for doubt in doubts {
        assert_eq!(ran.stderr.matches(doubt).count(), 1, "{args:?}, {doubt}: {}", ran.stderr);
    }
}

/// A secret that an address holds is in no file of this world, whatever is logged.
fn keeps_to_itself(world: &World, secret: &str, args: &[&str]) -> Ran {
    let mut command = world.command(args);
    let ran: Ran = command.env("OUBLIETTE_LOG", "trace").output().unwrap().into();
    for told in [&ran.stdout, &ran.stderr] {
        assert!(!told.contains(secret), "{args:?}: {told}");
    }
    for file in files(world.dir.path()) {
        let name = file.display().to_string();
        assert!(!name.contains(secret), "{args:?}: {name}");
        let bytes = std::fs::read(&file).unwrap();
        let is_there = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!is_there, "{args:?}: in {name}");
    }
    ran
}

#[cfg(feature = "jetstream")]
#[test]
fn what_a_nats_server_does_not_promise_is_told_once_and_not_where_somebody_states_it() {
    let Some(nats) = nats() else { return };
    let world = World::new();
    let store = format!("{}/BANK", nats.url());
    let doubts = ["sync_interval", "one replica"];
    tells_once(&world, &["--store", &store, "vault", "create"], &doubts);
    tells_once(&world, &["append", "s-1", "T"], &doubts);
    tells_once(&world, &["--json", "read", "s-1"], &doubts);
    tells_once(&world, &["--no-vault", "read", "s-1"], &doubts);
    let synced = format!("{store}?synced_always=true");
    let told = world.run(&["--store", &synced, "append", "s-1", "T"]).stderr;
    assert!(!told.contains("sync_interval") && told.contains("one replica"), "{told}");
    // It is noted with the address.
    let (dir, root) = (["--dir", "b"], ["--root", "b.root"]);
    let other = format!("{}/OTHER?synced_always", nats.url());
    world.ok(&[&dir[..], &root, &["--store", &other, "append", "s-1", "T"]].concat());
    let told = world.run(&["--dir", "b", "read", "s-1"]).stderr;
    assert!(!told.contains("sync_interval") && told.contains("one replica"), "{told}");
    let told = world.fails(1, &["--store", &format!("{store}?synced_always=no"), "read", "s-1"]);
    assert!(told.contains("true or false"), "{told}");
}

#[cfg(feature = "jetstream")]
#[test]
fn a_token_or_password_in_the_address_of_a_nats_server_is_kept_to_itself() {
    let Some(nats) = nats() else { return };
    let secret = "hush7token";
    for (number, login) in ["hush7token", "app:hush7token", "app%3Ahush7token"].iter().enumerate() {
        let world = World::new();
        let address = nats.url().replace("nats://", &format!("nats://{login}@"));
        let store = format!("{address}/BANK{number}");
        let append = ["--store", &store, "append", "s-1", "T"];
        let ran = keeps_to_itself(&world, secret, &append);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert!(ran.stderr.contains("can see command lines"), "{}", ran.stderr);
        // In front of an address a space is a slip.
        let ran =
            keeps_to_itself(&world, secret, &["--store", &format!(" {store}"), "read", "s-1"]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let ran = keeps_to_itself(&world, secret, &["read", "s-1"]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
    }
    // No address, and no folder of that name.
    for store in ["app:hush7token@h/x", "://hush7token:x@h", "post gres://app:hush7token@h/x"] {
        let world = World::new();
        let ran = keeps_to_itself(&world, secret, &["--store", store, "append", "s-1", "T"]);
        assert_eq!(ran.code, 2, "{store}: {}", ran.stderr);
        assert_eq!(std::fs::read_dir(world.path("")).unwrap().count(), 0, "{store}");
    }
    drop(nats);
}

#[cfg(feature = "jetstream")]
#[test]
fn every_command_works_over_jetstream() {
    let Some(nats) = nats() else { return };
    let world = World::new();
    let store = format!("{}/BANK", nats.url());
    walk(&world, &store, &format!("{}/OTHER", nats.url()));
    // Private halves go; sealing in place is not for this store.
    let Ran { code, stdout, stderr } = world.run(&["purge", "--yes"]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(stdout.contains("2 private halves removed"), "{stdout}");
    let told = world.fails(1, &["seal-existing", "--yes"]);
    assert!(told.contains("migrate"), "{told}");
    assert!(world.ok(&["verify"]).contains("everything is as it should be"));
    // It is there again in another process, and a server that is not is told within its patience.
    drop(nats);
    let told = world.fails(1, &["read", "user-1"]);
    assert!(told.contains("NATS server"), "{told}");
}

#[cfg(feature = "kafka")]
#[test]
fn every_command_works_over_kafka() {
    let Some(kafka) = kafka() else { return };
    let world = World::new();
    let store = format!("kafka://{}/bank", kafka.servers());
    walk(&world, &store, &format!("kafka://{}/other", kafka.servers()));
    let told = world.fails(1, &["purge", "--yes"]);
    assert!(told.contains("changes none"), "{told}");
    tells_once(&world, &["append", "s-1", "T"], &["power cut"]);
    tells_once(&world, &["--json", "--no-vault", "read", "s-1"], &["power cut"]);
}

/// Opening a topic to write ends its writer. So whose it is must be asked before, by whoever may only read.
#[cfg(feature = "kafka")]
#[test]
fn a_folder_that_is_refused_ends_no_writer_that_works_over_kafka() {
    use oubliette::{
        EventType, ExpectedRevision, Json, NewEvent, StreamName, store::EventStoreExt,
    };
    use oubliette_kafka::{KafkaConfig, KafkaStore};

    let Some(kafka) = kafka() else { return };
    let world = World::new();
    let store = format!("kafka://{}/bank", kafka.servers());
    let other = format!("kafka://{}/other", kafka.servers());
    world.ok(&["--dir", "bank", "--root", "bank.root", "--store", &store, "vault", "create"]);
    // Of another vault: a folder, what is left where its folder was lost, and a backup.
    world.ok(&["--dir", "shop", "--root", "shop.root", "--store", &other, "vault", "create"]);
    let to = crate::backup::keygen(&world, "key.txt");
    world.ok(&["--dir", "shop", "backup", "--to", &to, "--expires", "90d", "copy.age"]);
    world.ok(&["--dir", "loose", "--root", "loose.root", "append", "s-1", "T"]);
    std::fs::rename(world.path("loose/vault"), world.path("vault")).unwrap();

    let runtime = tokio::runtime::Runtime::new().unwrap();
    let writer = KafkaStore::open(KafkaConfig::new(kafka.servers(), "bank"));
    let writer = runtime.block_on(writer).unwrap();
    let goes_on = |after: &[&str]| {
        let data = Json::parse("1").unwrap();
        let event = NewEvent::new(EventType::new("T").unwrap(), data);
        let stream = StreamName::new("s-1").unwrap();
        let appended = writer.append_to(&stream, ExpectedRevision::Any, vec![event]);
        runtime.block_on(appended).unwrap_or_else(|error| panic!("{after:?}: {error:?}"));
    };
    let new = ["--dir", "new", "--root", "new.root", "--store", &store];
    let attach = ["--root", "loose.root", "--vault", "vault", "--store", &store, "vault", "attach"];
    let restore = ["restore", "copy.age", "--identity", "key.txt"];
    for refused in [
        [&new[..], &["vault", "create"]].concat(),
        [&new[..], &["append", "s-1", "T"]].concat(),
        [&new[..], &["vault", "create", "--with-events"]].concat(),
        attach.to_vec(),
        vec!["--dir", "shop", "--store", &store, "append", "s-1", "T"],
        [&new[..], &restore].concat(),
    ] {
        let ran = world.run(&refused);
        assert_eq!(ran.code, 1, "{refused:?}: {}{}", ran.stdout, ran.stderr);
        assert!(!world.path("new").exists() && !world.path("oubliette-data").exists());
        goes_on(&refused);
    }
    // Whose topic it is may write to it, and the other is told.
    world.ok(&["--dir", "bank", "append", "s-2", "T"]);
}
