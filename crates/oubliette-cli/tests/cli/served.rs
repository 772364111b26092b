//! Data folders whose events are at a NATS or a Kafka server: real ones.

#![allow(clippy::print_stderr)] // to skip loudly

#[cfg(feature = "kafka")]
use oubliette_servers::Kafka;
#[cfg(feature = "jetstream")]
use oubliette_servers::Nats;
use oubliette_servers::skipped;

use crate::world::{Ran, World};

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
}
