//! `rotate`, as people use it.

use serde_json::{Value, json};

use crate::world::World;

const BANK: &str = r#"
[[stream]]
match  = "account-{id}"
layout = "inline"
public = ["/owner"]
owner  = [{ event = "AccountOpened", add = "{/owner}" }]
on_owner_forgotten = "shred"
"#;

/// One person, with an account.
fn bank() -> World {
    let world = World::new();
    world.write("policy.toml", BANK);
    world.write(
        "events.ndjson",
        r#"{"stream":"user-1","type":"UserRegistered","data":{"name":"Erika"}}
{"stream":"user-2","type":"UserRegistered","data":{"name":"Otto"}}
{"stream":"account-1","type":"AccountOpened","data":{"owner":"user-1","iban":"DE1"}}
"#,
    );
    world.ok(&["import", "events.ndjson", "--policy", "policy.toml"]);
    world
}

/// The states of all keys: stream, generation, state, whether there is a date of deactivation.
fn states(world: &World) -> Vec<(String, u64, String, bool)> {
    let rows = world.json(&["inventory"]);
    let keys = rows.iter().filter(|row| row["kind"] == "key");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut states: Vec<_> = keys
        .map(|row| {
            assert!(row["activation"].is_string(), "{row}");
            let generation = row["generation"].as_u64().unwrap();
            let ended = row["deactivation"].is_string();
            (text(&row["stream"]), generation, text(&row["state"]), ended)
        })
        .collect();
    states.sort();
    states
}

fn state(stream: &str, generation: u64, state: &str) -> (String, u64, String, bool) {
    (stream.to_owned(), generation, state.to_owned(), state == "deactivated")
}

#[test]
fn one_subjects_keys_are_rotated_and_all_is_read_and_forgotten_as_before() {
    let world = bank();
    let rotated = &world.json(&["rotate", "account-1"])[0];
    assert_eq!(rotated, &json!({"subject": "account-1", "generation": 2}));
    // No key of generation 2 is there yet.
    assert!(world.json(&["rotate", "account-1"])[0]["generation"].is_null());
    world.ok(&["append", "account-1", "Noted", "--data", r#"{"text":"new"}"#]);
    assert_eq!(
        states(&world),
        [
            state("account-1", 1, "deactivated"),
            state("account-1", 2, "active"),
            state("user-1", 1, "active"),
            state("user-2", 1, "active"),
        ]
    );
    assert_eq!(world.data("account-1")[1], json!({"text": "new"}));
    assert_eq!(world.data("account-1")[0], json!({"owner": "user-1", "iban": "DE1"}));
    // The edge to the owner is older than the new key, and reaches it.
    world.ok(&["forget", "user-1", "--reason", "r", "--yes"]);
    assert_eq!(states(&world), [state("user-2", 1, "active")]);
    let told = world.fails(4, &["rotate", "account-1"]);
    assert!(told.contains("is forgotten"), "{told}");

    let gone: Vec<Value> = world.json(&["inventory"]);
    let gone: Vec<&Value> = gone.iter().filter(|row| row["kind"] == "forgotten").collect();
    assert_eq!(gone.len(), 2);
    for row in gone {
        assert_eq!((&row["state"], &row["closed"]), (&json!("destroyed"), &json!(true)));
        assert!(row["erasures"][0]["destruction"].is_string(), "{row}");
    }
    let csv = world.ok(&["inventory", "--format", "csv"]);
    assert!(csv.lines().next().unwrap().contains("activation,deactivation,destruction"), "{csv}");
    assert!(csv.contains("forgotten,destroyed,"), "{csv}");
}

#[test]
fn who_is_old_is_rotated_once() {
    let world = bank();
    let none = &world.json(&["rotate", "--older-than", "1y", "--yes"])[0];
    assert_eq!((&none["keys"], &none["rotated"]), (&json!(3), &json!(0)));
    let all = &world.json(&["rotate", "--older-than", "0s", "--yes"])[0];
    assert_eq!(
        (&all["keys"], &all["rotated"], &all["unsettled"]),
        (&json!(3), &json!(3), &json!(0))
    );
    let again = &world.json(&["rotate", "--older-than", "0s", "--yes"])[0];
    assert_eq!(again["rotated"], 0);
    world.ok(&["append", "user-2", "UserMoved", "--data", r#"{"to":"Bremen"}"#]);
    assert_eq!(world.json(&["rotate", "--older-than", "1h", "--yes"])[0]["rotated"], 0);
    let told = world.ok(&["rotate", "--older-than", "0s", "--yes"]);
    assert!(told.contains("1 subject with an active one"), "{told}");
    assert_eq!(world.data("user-2"), [json!({"name": "Otto"}), json!({"to": "Bremen"})]);
}

#[test]
fn an_earlier_copy_of_the_slot_is_outdated_after_a_rotation_of_the_root() {
    let world = bank();
    let slot = world.root_slot();
    let copy = std::fs::read(&slot).unwrap();
    let first = world.json(&["rotate", "--root-key"])[0]["epoch"].as_u64().unwrap();
    assert_eq!(world.json(&["rotate", "--root-key"])[0]["epoch"], first + 1);
    assert_eq!(states(&world).len(), 3);
    let now = std::fs::read(&slot).unwrap();
    assert_ne!(copy, now);
    std::fs::write(&slot, copy).unwrap();
    let told = world.fails(1, &["read", "user-2"]);
    assert!(told.contains("an older copy of the slot"), "{told}");
    std::fs::write(&slot, now).unwrap();
    world.ok(&["read", "user-2"]);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let world = bank();
    for args in [
        &["rotate"] as &[&str],
        &["rotate", "user-1", "--root-key"],
        &["rotate", "--root-key", "--older-than", "1y"],
        &["rotate", "--older-than", "old", "--yes"],
        &["rotate", "--older-than=-1d", "--yes"],
        &["rotate", "--older-than", "90000y", "--yes"],
        // Without a terminal nobody can be asked.
        &["rotate", "--older-than", "1y"],
        &["--no-vault", "rotate", "user-1"],
    ] {
        world.fails(2, args);
    }
    let told = world.fails(1, &["rotate", "user-3"]);
    assert!(told.contains("subject user-3 is unknown here"), "{told}");
}
