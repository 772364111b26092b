//! Rows of which parts are missing, from one folder into another; and what a program that keeps rows
//! does with a tombstone.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::world::{World, rows};

const POLICY: &str = r#"
[[stream]]
match  = "user-{id}"
layout = "split"
public = ["/id"]
[[stream]]
match     = "room-{id}"
layout    = "inline"
subject   = "user-{/author}"
otherwise = "stream"
public    = ["/at"]
"#;

const EVENTS: &str = r#"
{"stream":"user-1","type":"Registered","data":{"id":1,"name":"Erika"},"metadata":{"ip":"192.0.2.7","correlationId":"c"}}
{"stream":"user-1","type":"Moved","data":{"to":"Bonn"}}
{"stream":"user-2","type":"Registered","data":{"id":2,"name":"Otto"}}
{"stream":"room-1","type":"Said","data":{"author":1,"at":3,"text":"first"}}
{"stream":"room-1","type":"Said","data":{"author":2,"at":4,"text":"second"}}
"#;

/// A folder in which user-1 is forgotten.
fn origin() -> World {
    let world = World::new();
    world.write("policy.toml", POLICY);
    let import = ["import", "-", "--source", "s", "--policy", "policy.toml"];
    let ran = world.feed(&import, EVENTS);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    world.ok(&["forget", "user-1", "--reason", "asked", "--yes"]);
    world
}

fn export(world: &World, args: &[&str]) -> String {
    world.ok(&[&["--json"], args, &["read-all"]].concat())
}

/// What a row says, but for what store and vault give anew; without tombstones.
fn told(text: &str) -> Vec<Value> {
    let mut told = Vec::new();
    for mut row in rows(text) {
        if row["type"] == "SubjectForgotten" {
            continue;
        }
        for member in ["revision", "position", "recorded", "keys"] {
            row.as_object_mut().unwrap().remove(member);
        }
        told.push(row);
    }
    told
}

#[test]
fn rows_with_holes_come_back_as_the_same_rows() {
    let (a, b) = (origin(), World::new());
    let exported = export(&a, &[]);
    b.write("policy.toml", POLICY);
    let import = ["--json", "import", "-", "--policy", "policy.toml"];
    // Without a word about holes they are refused, one by one.
    let ran = b.feed(&import, &exported);
    let bad: Vec<_> =
        rows(&ran.stdout).iter().filter(|row| row["outcome"] == "bad").cloned().collect();
    assert_eq!((ran.code, bad.len()), (1, 5), "{}", ran.stdout);
    assert!(bad.iter().all(|row| row["reason"].as_str().unwrap().contains("--with-holes")));

    let with_holes = [&import[..], &["--with-holes"]].concat();
    let ran = b.feed(&with_holes, &exported);
    let summary = rows(&ran.stdout).pop().unwrap();
    assert_eq!((ran.code, summary["imported"].as_u64()), (0, Some(4)), "{}", ran.stdout);
    // One that is whole had waited behind them.
    assert_eq!(summary["skipped"], 2);
    assert_eq!(rows(&b.feed(&with_holes, &exported).stdout).pop().unwrap()["already"], 5);

    let again = export(&b, &[]);
    let (before, mut after) = (told(&exported), told(&again));
    // Those without holes were there first.
    after.sort_by_key(|row| before.iter().position(|other| other["id"] == row["id"]));
    assert_eq!(after, before);
    let gone = &after[0];
    assert_eq!(
        (&gone["data"], &gone["metadata"]),
        (&json!({"id": 1}), &json!({"correlationId": "c"}))
    );
    assert_eq!(gone["shredded"][0]["fields"], json!(["*"]));
    assert!(after[1].get("data").is_none());
    // And once more, elsewhere.
    let c = World::new();
    c.write("policy.toml", POLICY);
    c.feed(&with_holes, &again);
    assert_eq!(told(&export(&c, &[])), told(&again));

    let report = b.json(&["verify"]).pop().unwrap();
    assert_eq!((&report["clean"], &report["events"]["holes"]), (&json!(true), &json!(3)));
    let people = b.ok(&["read", "room-1"]);
    assert!(people.contains("before it was copied"), "{people}");
    assert!(b.ok(&["verify"]).contains("3 holes of copied events"));
}

/// Nobody's forgetting in the copy would reach the field.
#[test]
fn a_readable_field_of_somebody_whose_name_is_gone_is_made_a_hole_by_hand() {
    const LEDGER: &str = r#"
[[stream]]
match  = "ledger-{id}"
layout = "inline"
public = ["/amount"]
[[stream.field]]
pointer = "/counterparty/account"
subject = "{/counterparty/user}"
"#;
    let (a, b) = (World::new(), World::new());
    for world in [&a, &b] {
        world.write("policy.toml", LEDGER);
    }
    let row = r#"{"stream":"ledger-9","type":"Booked","data":{"amount":5,"counterparty":{"user":"user-2","account":"4711"}}}"#;
    let ran = a.feed(&["import", "-", "--source", "s", "--policy", "policy.toml"], row);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    a.ok(&["forget", "ledger-9", "--reason", "asked", "--yes"]);
    let mut row = told(&export(&a, &[])).remove(0);
    assert_eq!(row["data"], json!({"amount": 5, "counterparty": {"account": "4711"}}));

    let import = ["--json", "import", "-", "--policy", "policy.toml", "--with-holes"];
    let ran = b.feed(&import, row.to_string());
    assert_eq!(ran.code, 1);
    let why = rows(&ran.stdout)[0]["reason"].as_str().unwrap().to_owned();
    let hole = json!({"fields": ["/counterparty/account"], "why": "not-copied"});
    for word in ["`/counterparty/user`", "`withheld`", &hole.to_string()] {
        assert!(why.contains(word), "{why}");
    }
    // As it says.
    row["data"].as_object_mut().unwrap().remove("counterparty");
    row["withheld"] = json!([hole]);
    let ran = b.feed(&import, row.to_string());
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    let copy = told(&export(&b, &[])).remove(0);
    assert_eq!((&copy["data"], &copy["withheld"]), (&row["data"], &row["withheld"]));
    assert_eq!(copy["shredded"], row["shredded"]);
}

#[test]
fn what_a_reader_without_a_vault_exported_stays_withheld() {
    let (a, b) = (origin(), World::new());
    b.write("policy.toml", POLICY);
    let import = ["--json", "import", "-", "--policy", "policy.toml", "--with-holes"];
    let ran = b.feed(&import, export(&a, &["--no-vault"]));
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    let all = b.json(&["read-all"]);
    assert_eq!(all.len(), 5);
    for row in &all {
        assert_eq!(row["withheld"][0]["why"], "not-copied", "{row}");
        assert!(row.get("shredded").is_none());
    }
    // Which is what they say in the next folder, too.
    let c = World::new();
    c.write("policy.toml", POLICY);
    c.feed(&import, export(&b, &[]));
    assert_eq!(told(&export(&c, &[])), told(&export(&b, &[])));
}

#[test]
fn rows_of_whoever_is_forgotten_here_too_are_refused_and_counted() {
    let (a, b) = (origin(), World::new());
    b.write("policy.toml", POLICY);
    let import = ["--json", "import", "-", "--policy", "policy.toml", "--with-holes"];
    let theirs = r#"{"stream":"user-1","type":"Registered","data":{"id":1,"name":"Erika"},"id":"6f0dbd6e-3c1e-4c53-9d0b-5b6c5f5f4d11"}"#;
    assert_eq!(b.feed(&import, theirs).code, 0);
    b.ok(&["forget", "user-1", "--reason", "asked", "--yes"]);
    let ran = b.feed(&import, export(&a, &[]));
    let summary = rows(&ran.stdout).pop().unwrap();
    assert_eq!((ran.code, summary["forgotten"].as_u64()), (4, Some(2)), "{}", ran.stdout);
    // In a stream of many a hole of theirs needs no key.
    assert_eq!((&summary["imported"], &summary["bad"]), (&json!(3), &json!(0)));
}

#[test]
fn a_projection_finds_the_rows_that_a_tombstone_means_by_its_keys() {
    let world = World::new();
    world.write("policy.toml", POLICY);
    world.feed(&["import", "-", "--source", "s", "--policy", "policy.toml"], EVENTS);
    // It asks for one type of events in the rooms, and keeps the keys of each row beside it.
    let watch =
        ["subscribe", "--stream-prefix", "room-", "--type", "Said", "--until-caught-up", "--after"];
    let mut kept: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let keys =
        |value: &Value| -> BTreeSet<String> { serde_json::from_value(value.clone()).unwrap() };
    let mut last = String::new();
    for row in world.json(&[&watch[..], &["0"]].concat()) {
        if row.get("caught_up").is_none() {
            last = row["position"].as_str().unwrap().to_owned();
            kept.insert(row["data"]["text"].as_str().unwrap().to_owned(), keys(&row["keys"]));
        }
    }
    assert_eq!(kept.len(), 2);
    world.ok(&["forget", "user-1", "--reason", "asked", "--yes"]);
    // A tombstone comes although it did not ask for it.
    for row in world.json(&[&watch[..], &[&*last]].concat()) {
        if row["type"] == "SubjectForgotten" {
            let dead = keys(&row["data"]["keys"]);
            kept.retain(|_, keys| keys.is_disjoint(&dead));
        }
    }
    assert_eq!(kept.keys().collect::<Vec<_>>(), ["second"]);
}
