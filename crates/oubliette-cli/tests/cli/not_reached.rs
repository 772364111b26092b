//! What forgetting does not reach is said, and refused where nobody knows of it.

use oubliette::{
    event::{EventType, Json, NewEvent, StreamName},
    layer::Codec,
    policy::Policy,
    store::{EventStoreExt, ExpectedRevision, ReadOptions, SqliteStore},
    vault::Vault,
};
use serde_json::json;

use super::world::{World, rows};

/// Writes an event past the layer, as one from before it would lie there.
fn clear(world: &World, stream: &str) {
    past_the_layer(world, stream, None);
}

fn past_the_layer(world: &World, stream: &str, metadata: Option<&str>) {
    let store = SqliteStore::open(world.path("oubliette-data/events")).unwrap();
    let data = Json::parse(r#"{"name":"Erika"}"#).unwrap();
    let mut event = NewEvent::new(EventType::new("Registered").unwrap(), data);
    event.metadata = metadata.map(|text| Json::parse(text).unwrap());
    let stream = StreamName::new(stream).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        store.append_to(&stream, ExpectedRevision::Any, vec![event]).await.unwrap();
    });
}

#[test]
fn clear_events_are_counted_and_forgetting_is_refused() {
    let world = World::new();
    world.ok(&["append", "user-1", "UserRegistered"]);
    clear(&world, "erika-1");
    let plan = &world.json(&["plan", "erika-1"])[0];
    assert_eq!(plan["unsealed"], json!([{"stream": "erika-1", "events": 1}]));
    let planned = world.ok(&["plan", "erika-1"]);
    assert!(planned.contains("1 event in erika-1 never sealed"), "{planned}");

    let forget = ["forget", "erika-1", "--reason", "ticket 1", "--yes"];
    let refused = world.fails(1, &forget);
    assert!(refused.contains("--despite-unsealed"), "{refused}");
    let forgotten = world.ok(&[forget.as_slice(), &["--despite-unsealed"]].concat());
    assert!(forgotten.contains("1 event about them was never sealed"), "{forgotten}");
    let found = world.run(&["verify", "--json"]);
    assert_eq!(found.code, 1);
    assert!(found.stdout.contains("forgotten-in-clear"), "{}", found.stdout);

    let erased = &world.json(&["forget", "user-1", "--reason", "ticket 2", "--yes"])[0];
    assert_eq!((&erased["unsealed"], &erased["passed_over"]), (&json!(0), &json!(0)));
}

/// The plan said so, and `forget` went on: it looks at the first event of a stream.
#[test]
fn what_the_plan_says_is_refused_is_refused() {
    let world = World::new();
    world.ok(&["append", "user-1", "Registered"]);
    clear(&world, "user-1");
    let planned = world.ok(&["plan", "user-1"]);
    assert!(planned.contains("refused without --despite-unsealed"), "{planned}");
    let forget = ["forget", "user-1", "--reason", "ticket 1", "--yes"];
    let refused = world.fails(1, &forget);
    assert!(refused.contains("1 event in 1 stream was never sealed"), "{refused}");
    assert!(world.ok(&["read", "user-1"]).contains("clear"));
    let json = ["--json", "--despite-unsealed"];
    let done = world.ok(&[forget.as_slice(), &json].concat());
    let done = &rows(&done)[0];
    assert_eq!((&done["unsealed"], &done["passed_over"]), (&json!(1), &json!(0)), "{done}");
    // Again, there is nothing to refuse.
    world.ok(&forget);
}

#[test]
fn what_a_newer_program_wrote_is_called_so_by_every_command() {
    let world = World::new();
    world.ok(&["append", "erika-1", "Registered"]);
    past_the_layer(&world, "erika-1", Some(r#"{"$oubliette":{"v":2,"new":true}}"#));
    for command in [&["read", "erika-1"][..], &["read-all"], &["--json", "read-all"]] {
        // What is before it was told already.
        let told = world.run(command);
        assert_eq!(told.code, 1, "{}", told.stdout);
        let told = told.stderr;
        assert!(told.contains("have version 2") && told.contains("newer one"), "{told}");
    }
    let plan = &world.json(&["plan", "erika-1"])[0];
    assert_eq!(plan["newer"], json!([{"stream": "erika-1", "events": 1}]));
    assert_eq!(plan["unsealed"], json!([]));
    let planned = world.ok(&["plan", "erika-1"]);
    assert!(planned.contains("a newer program wrote 1 event in erika-1"), "{planned}");
    assert!(!planned.contains("never sealed"), "{planned}");
    let counted = world.ok(&["inventory"]);
    assert!(counted.contains("1 event by a newer program"), "{counted}");
    assert!(!counted.contains("never sealed"), "{counted}");
    let verified = world.run(&["verify"]);
    assert_eq!(verified.code, 1);
    assert!(verified.stdout.contains("newer event"), "{}", verified.stdout);
    assert!(!verified.stdout.contains("restore"), "{}", verified.stdout);
    assert!(world.run(&["owners", "rebuild"]).stdout.contains("by a newer program"));

    let forget = ["forget", "erika-1", "--reason", "ticket 1", "--yes"];
    let refused = world.fails(1, &forget);
    assert!(refused.contains("a newer program wrote 1 event in 1 stream"), "{refused}");
    assert!(!refused.contains("remove"), "{refused}");
    let others = ["--despite-unsealed", "--despite-unknown-keys"];
    world.fails(1, &[forget.as_slice(), &others].concat());
    let forgotten = world.ok(&[forget.as_slice(), &["--despite-newer"]].concat());
    assert!(forgotten.contains("a newer program wrote 1 event in these streams"), "{forgotten}");
    let again = world.ok(&forget);
    assert!(again.contains("or that a newer program knows"), "{again}");
}

/// Another vault's event behind one of this vault's, in the same stream.
fn of_another_vault(world: &World, stream: &str) {
    let other = World::new();
    other.ok(&["append", stream, "Registered", "--data", r#"{"name":"Erika"}"#]);
    let name = StreamName::new(stream).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let theirs = SqliteStore::open(other.path("oubliette-data/events")).unwrap();
        let event = theirs.events(&name, ReadOptions::default()).await.unwrap().remove(0);
        let mut new = NewEvent::new(event.event_type, event.data.unwrap()).with_id(event.id);
        new.metadata = event.metadata;
        let store = SqliteStore::open(world.path("oubliette-data/events")).unwrap();
        store.append_to(&name, ExpectedRevision::Any, vec![new]).await.unwrap();
    });
}

/// All of it behind a first event that this vault sealed: forgetting itself would pass over it. Each is asked
/// for by its own option, what is newer first, and all that was passed over is counted.
#[test]
fn forgetting_asks_for_each_thing_that_it_does_not_reach_and_counts_it() {
    let newer = r#"{"$oubliette":{"v":2,"new":true}}"#;
    let [unknown, late] = ["--despite-unknown-keys", "--despite-newer"];
    for (has_unknown, has_newer) in [(true, false), (false, true), (true, true)] {
        let world = World::new();
        world.ok(&["append", "user-1", "Registered"]);
        if has_unknown {
            of_another_vault(&world, "user-1");
        }
        if has_newer {
            past_the_layer(&world, "user-1", Some(newer));
        }
        let forget = ["forget", "user-1", "--reason", "ticket 1", "--yes"];
        let with = |options: &[&'static str]| [&forget[..], options].concat();
        if has_newer {
            for options in [&[][..], &[unknown], &["--despite-unsealed", unknown]] {
                let told = world.fails(1, &with(options));
                assert!(told.contains(late) && !told.contains(unknown), "{told}");
            }
        }
        if has_unknown {
            for options in [&[late][..], &[late, "--despite-unsealed"]] {
                let told = world.fails(1, &with(options));
                assert!(told.contains(unknown), "{told}");
            }
        }
        assert_eq!(world.json(&["erasures"]).len(), 0);
        let planned = world.json(&["plan", "user-1"]).remove(0);
        let erased = rows(&world.ok(&with(&[unknown, late, "--json"]))).remove(0);
        for (what, is_there) in [("unknown_keys", has_unknown), ("newer", has_newer)] {
            assert_eq!(erased[what], u64::from(is_there), "{what}: {erased}");
            let of_plan = planned.get(what).and_then(|of| of.as_array()).map_or(0, Vec::len);
            assert_eq!(of_plan, usize::from(is_there), "{what}: {planned}");
        }
        assert_eq!(erased["passed_over"], 0);
    }
}

/// The store takes no announcement: no key is destroyed yet, and what was asked for then counts.
#[test]
fn what_is_decided_needs_no_option_a_second_time() {
    let world = World::new();
    world.ok(&["append", "user-1", "Registered"]);
    clear(&world, "user-1");
    let events = world.path("oubliette-data/events/events.db");
    let on_events = |sql: &str| {
        let db = rusqlite::Connection::open(&events).unwrap();
        db.execute_batch(sql).unwrap();
    };
    on_events(
        "CREATE TRIGGER full BEFORE INSERT ON event WHEN NEW.type = 'Announced' \
         BEGIN SELECT RAISE(ABORT, 'full'); END",
    );
    let forget = ["forget", "user-1", "--reason", "ticket 1", "--yes"];
    assert!(world.fails(1, &forget).contains("--despite-unsealed"));
    let decided = world.fails(1, &[&forget[..], &["--despite-unsealed"]].concat());
    assert!(decided.contains("is decided, but not done"), "{decided}");
    let again = world.fails(1, &forget);
    assert!(again.contains("is decided, but not done"), "{again}");
    assert!(!again.contains("--despite-unsealed"), "{again}");
    let erasure = world.json(&["erasures"]).remove(0)["erasure"].clone();
    let planned = world.json(&["plan", "user-1"]).remove(0);
    assert_eq!(planned["decided"], erasure);
    let told = world.ok(&["plan", "user-1"]);
    assert!(told.contains("is decided and waits"), "{told}");
    assert!(told.contains("never sealed") && !told.contains("refused"), "{told}");

    on_events("DROP TRIGGER full");
    let done = world.run(&forget);
    assert_eq!(done.code, 0, "{}", done.stderr);
    // It was completed before it was repeated.
    assert!(done.stderr.contains("user-1 is forgotten"), "{}", done.stderr);
    let record = world.json(&["erasures"]).remove(0);
    assert_eq!((&record["erasure"], &record["unsealed"]), (&erasure, &json!(1)));
    assert_eq!(world.json(&["plan", "user-1"])[0].get("decided"), None);
}

/// Whoever is to be forgotten is readable until the store takes the announcement: to a process that carries it out
/// once it can, and to no other.
#[test]
fn whose_erasure_is_decided_is_not_read_by_who_writes_nothing() {
    let world = World::new();
    world.ok(&["append", "user-1", "Registered", "--data", r#"{"name":"Erika"}"#]);
    let events = world.path("oubliette-data/events/events.db");
    let on_events = |sql: &str| {
        let db = rusqlite::Connection::open(&events).unwrap();
        db.execute_batch(sql).unwrap();
    };
    let forget = ["forget", "user-1", "--reason", "ticket 1", "--yes"];
    let read = ["--read-only", "--json", "read", "user-1"];
    for event_type in ["Announced", "SubjectForgotten"] {
        on_events(&format!(
            "CREATE TRIGGER full BEFORE INSERT ON event WHEN NEW.type = '{event_type}' \
             BEGIN SELECT RAISE(ABORT, 'full'); END"
        ));
        world.fails(1, &forget);
        for is_full in [true, false] {
            if !is_full {
                on_events("DROP TRIGGER full");
            }
            let told = rows(&world.fails(1, &read));
            let told = told.last().unwrap();
            assert_eq!(told["kind"], "erasure.needs_writing", "{event_type}: {told}");
        }
    }
    world.ok(&forget);
    assert!(!world.ok(&read).contains("Erika"));
}

/// The keys are gone, and the store takes no tombstone.
#[test]
fn forgetting_again_does_not_call_done_what_still_waits_for_tombstones() {
    let world = World::new();
    world.ok(&["append", "user-1", "Registered"]);
    let events = world.path("oubliette-data/events/events.db");
    let on_events = |sql: &str| {
        let db = rusqlite::Connection::open(&events).unwrap();
        db.execute_batch(sql).unwrap();
    };
    on_events(
        "CREATE TRIGGER full BEFORE INSERT ON event WHEN NEW.type = 'SubjectForgotten' \
         BEGIN SELECT RAISE(ABORT, 'full'); END",
    );
    let forget = ["forget", "user-1", "--reason", "ticket 1", "--yes"];
    for _ in 0..2 {
        let told = world.fails(1, &forget);
        assert!(told.contains("tombstones are still to be written"), "{told}");
    }
    on_events("DROP TRIGGER full");
    world.ok(&forget);
    assert!(world.ok(&["read", "user-1"]).contains("SubjectForgotten"));
}

#[test]
fn a_reason_that_holds_personal_data_is_wrong_usage() {
    let world = World::new();
    world.ok(&["append", "user-1", "UserRegistered"]);
    for reason in ["erika@example.org", "from DE89 3704 0044 0532 0130 00", "user-1", " "] {
        let refused = world.fails(2, &["forget", "user-1", "--reason", reason, "--yes"]);
        assert!(refused.contains("number of the request or ticket"), "{refused}");
        assert!(!refused.contains("erika") && !refused.contains("DE89"), "{refused}");
    }
}

#[test]
fn an_event_names_its_subject_only_where_the_policy_lets_it() {
    let world = World::new();
    let named = ["append", "user-1", "Noted", "--subject", "user-2"];
    let refused = world.fails(1, &named);
    assert!(refused.contains("otherwise = \"named\""), "{refused}");
    world.ok(&["append", "user-1", "Noted", "--subject", "user-1"]);

    let world = World::new();
    world.write("policy.toml", "[[stream]]\nmatch = 'user-{id}'\notherwise = 'named'");
    world.ok(&[["--policy", "policy.toml"].as_slice(), &named].concat());
    world.ok(&["append", "user-1", "Noted"]);
    let forgotten = world.ok(&["forget", "user-1", "--reason", "ticket 1", "--yes"]);
    assert!(forgotten.contains("user-1 holds something of user-2 (1 key)"), "{forgotten}");
    world.fails(4, &named);
}

/// A person, and a policy by which accounts name their owner.
fn somebody_who_may_own(world: &World) {
    world.write(
        "policy.toml",
        "[[stream]]\nmatch = 'user-{id}'\n[[stream]]\nmatch = 'account-{id}'\n\
         owner = [{ event = 'Opened', add = 'user-{/owner}' }]",
    );
    world.ok(&["--policy", "policy.toml", "append", "user-1", "UserRegistered"]);
}

/// A program sealed an account with the codec and was cut off before it said whether it was stored.
#[test]
fn a_dependent_whose_claim_is_open_is_named_and_not_missed_in_silence() {
    let world = World::new();
    somebody_who_may_own(&world);
    let id = open_claim(&world);

    let plan = &world.json(&["plan", "user-1"])[0];
    let open = json!([{"subject": "account-1", "event": id}]);
    assert_eq!(plan["not_reached"], open);
    let forget = ["forget", "user-1", "--reason", "ticket 1", "--yes"];
    for told in [world.ok(&["plan", "user-1"]), world.ok(&forget)] {
        assert!(told.contains("account-1 is not reached"), "{told}");
        assert!(told.contains(&id) && told.contains("Codec::settle"), "{told}");
    }
    let found = world.run(&["verify"]);
    assert!(found.code == 1 && found.stdout.contains("open claim"), "{}", found.stdout);

    world.ok(&["append", "user-2", "UserRegistered"]);
    let erased = &world.json(&["forget", "user-2", "--reason", "ticket 2", "--yes"])[0];
    assert_eq!(erased["not_reached"], json!([]));
}

/// The same, seen to from the command line: the owner was forgotten before.
#[test]
fn claims_are_listed_settled_and_acknowledged() {
    let world = World::new();
    somebody_who_may_own(&world);
    assert_eq!(world.ok(&["claims"]), "no claim is open\n");
    let id = open_claim(&world);
    assert!(world.ok(&["settle", &id, "--rejected"]).contains("withdrawn"));
    let id = open_claim(&world);
    let listed = world.ok(&["claims"]);
    assert!(listed.contains(&id) && listed.contains("user-1"), "{listed}");
    assert!(listed.contains("settle --stored"), "{listed}");

    world.ok(&["forget", "user-1", "--reason", "ticket 1", "--yes"]);
    for command in [vec!["plan", "user-1"], vec!["forget", "user-1", "--reason", "r", "--yes"]] {
        let told = world.ok(&command);
        assert!(told.contains("settle") && !told.contains("nothing to do"), "{told}");
    }
    let none = world.run(&["settle", &id, "--acknowledge"]);
    assert!(none.code == 1 && none.stdout.contains("nothing to acknowledge"), "{}", none.stdout);
    assert_eq!(world.run(&["settle", &id]).code, 2);
    for _ in 0..2 {
        let late = world.run(&["--json", "settle", &id, "--stored"]);
        assert!(late.code == 1 && late.stdout.contains("owner-forgotten"), "{}", late.stdout);
        assert_eq!(world.json(&["claims"])[0]["owner_forgotten"], true);
    }
    let told = world.ok(&["plan", "user-1"]);
    assert!(told.contains("forget account-1 by name"), "{told}");
    let found = world.run(&["verify"]);
    assert!(found.code == 1 && found.stdout.contains("owner forgotten"), "{}", found.stdout);

    world.ok(&["settle", &id, "--acknowledge"]);
    assert_eq!(world.ok(&["claims"]), "no claim is open\n");
    assert!(world.ok(&["plan", "user-1"]).contains("nothing to do"));
    assert_eq!(world.run(&["verify"]).code, 0);
    assert_eq!(world.run(&["settle", &id, "--stored"]).code, 1);
}

fn open_claim(world: &World) -> String {
    let vault = Vault::open(&world.path("oubliette-data/vault"), &world.root_slot()).unwrap();
    let policy = std::fs::read_to_string(world.path("policy.toml")).unwrap();
    let codec = Codec::new(vault, Policy::parse(&policy).unwrap());
    let data = Json::parse(r#"{"owner":1}"#).unwrap();
    let event = NewEvent::new(EventType::new("Opened").unwrap(), data);
    let account = StreamName::new("account-1").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let sealed = runtime.block_on(codec.seal(&account, event)).unwrap();
    sealed.id.to_string()
}
