//! Owners noted late, and dependents that a forgetting does not reach.

use serde_json::json;

use super::world::World;

const OWNED: &str = r#"
[[stream]]
match = "user-{id}"

[[stream]]
match  = "bankaccount-{id}"
public = ["/owner", "/newOwner"]
owner  = [ { event = "AccountOpened",      add     = "{/owner}" },
           { event = "AccountTransferred", replace = "{/newOwner}" } ]

[[stream]]
match  = "ledger-{id}"
public = ["/account"]
owner  = [ { event = "LedgerOpened", add = "{/account}" } ]
"#;

const ROWS: &str = r#"{"stream":"user-4","type":"Registered","data":{"name":"Vier"}}
{"stream":"bankaccount-4","type":"AccountOpened","data":{"owner":"user-4","iban":"x"}}
{"stream":"ledger-4","type":"LedgerOpened","data":{"account":"bankaccount-4","note":"rent"}}
"#;

#[test]
fn a_policy_that_comes_after_the_events_knows_their_owners_once_it_was_told_to_look() {
    let world = World::new();
    world.write("rows.ndjson", ROWS);
    world.write("policy.toml", OWNED);
    world.ok(&["import", "rows.ndjson"]);
    let adopted = world.ok(&["policy", "adopt", "policy.toml"]);
    assert!(adopted.contains("2 events: stored before, and state owners"), "{adopted}");
    let plan = world.ok(&["plan", "user-4"]);
    assert!(plan.contains("it is not known whom this missed"), "{plan}");
    let dry = world.ok(&["owners", "rebuild", "--dry-run"]);
    assert!(dry.contains("owners of 2 streams would be noted"), "{dry}");
    assert_eq!(world.json(&["plan", "user-4"])[0]["owners_unknown"], json!(true));
    let rebuilt = &world.json(&["owners", "rebuild"])[0];
    assert_eq!((&rebuilt["mended"], &rebuilt["left"]), (&json!(2), &json!([])));

    let forget = ["forget", "user-4", "--reason", "ticket 1", "--yes", "--json"];
    let erased = world.json(&forget[..5]);
    assert_eq!((&erased[0]["subjects"], &erased[0]["owners_unknown"]), (&json!(3), &json!(false)));
    world.ok(&["verify"]);
}

#[test]
fn what_a_forgetting_missed_before_somebody_looked_is_named() {
    let world = World::new();
    world.write("rows.ndjson", ROWS);
    world.write("policy.toml", OWNED);
    world.ok(&["import", "rows.ndjson"]);
    world.ok(&["policy", "adopt", "policy.toml"]);
    let told = world.ok(&["forget", "user-4", "--reason", "ticket 1", "--yes"]);
    assert!(told.contains("`owners rebuild` looks once for all"), "{told}");
    let found = world.run(&["verify"]);
    assert_eq!(found.code, 1);
    assert!(found.stdout.contains("missed by a forgetting"), "{}", found.stdout);
    let rebuilt = world.run(&["owners", "rebuild"]);
    assert_eq!(rebuilt.code, 1, "{}", rebuilt.stderr);
    assert!(
        rebuilt.stdout.contains("bankaccount-4 was missed when its owner user-4 was forgotten"),
        "{}",
        rebuilt.stdout
    );
    world.ok(&["forget", "bankaccount-4", "--reason", "ticket 1", "--yes"]);
    world.ok(&["verify"]);
    assert_eq!(world.data("ledger-4")[0], json!(null));
}

#[test]
fn a_ledger_of_an_account_that_changed_hands_is_named_in_plan_and_verify() {
    let world = World::new();
    world.write("policy.toml", OWNED);
    let append = |stream: &str, kind: &str, data: &str| {
        world.ok(&["append", stream, kind, "--data", data, "--policy", "policy.toml"]);
    };
    append("user-1", "Registered", "{}");
    append("user-2", "Registered", "{}");
    append("bankaccount-1", "AccountOpened", r#"{"owner":"user-1","memo":"a"}"#);
    append("ledger-1", "LedgerOpened", r#"{"account":"bankaccount-1"}"#);
    append("ledger-1", "Booked", r#"{"memo":"rent of Eins"}"#);
    append("bankaccount-1", "AccountTransferred", r#"{"newOwner":"user-2","memo":"b"}"#);
    let missed = "ledger-1 stays: its owner bankaccount-1 changed hands";
    let plan = world.ok(&["plan", "user-1"]);
    assert!(plan.contains(missed), "{plan}");
    let told = world.ok(&["forget", "user-1", "--reason", "ticket 1", "--yes"]);
    assert!(told.contains(missed), "{told}");
    let found = world.run(&["verify"]);
    assert_eq!(found.code, 1);
    assert!(found.stdout.contains("part missed by a forgetting"), "{}", found.stdout);
    world.ok(&["forget", "user-2", "--reason", "ticket 2", "--yes"]);
    assert_eq!(world.data("ledger-1")[1], json!(null));
    world.ok(&["verify"]);
}

#[test]
fn who_comes_back_comes_back_alone_and_is_told_so() {
    let world = World::new();
    world.write("policy.toml", OWNED);
    let account = ["append", "bankaccount-3", "AccountOpened", "--data"];
    let opened = [account.as_slice(), &[r#"{"owner":"user-3","memo":"a"}"#]].concat();
    world.ok(&[opened.as_slice(), &["--policy", "policy.toml"]].concat());
    world.ok(&["append", "user-3", "Registered"]);
    world.ok(&["forget", "user-3", "--reason", "ticket 1", "--yes"]);
    let reopened = world.ok(&["reopen", "user-3"]);
    assert!(reopened.contains("if a stream depended on user-3"), "{reopened}");
    let reopened = world.ok(&["reopen", "bankaccount-3"]);
    assert!(reopened.contains("(AccountOpened, AccountTransferred)"), "{reopened}");
    let memo = ["append", "bankaccount-3", "Noted", "--data", r#"{"memo":"geheim"}"#];
    let refused = world.fails(1, &memo);
    assert!(refused.contains("first append an event that states one"), "{refused}");
    world.ok(&opened);
    world.ok(&memo);
    world.ok(&["forget", "user-3", "--reason", "ticket 2", "--yes"]);
    assert!(world.data("bankaccount-3").iter().all(|data| data["memo"].is_null()));
}

#[test]
fn an_owner_whose_name_fits_no_rule_is_warned_of() {
    let world = World::new();
    world.write("wrong.toml", OWNED.replace("add     = \"{/owner}\"", "add = \"users-{/owner}\""));
    let checked = world.ok(&["policy", "check", "wrong.toml"]);
    assert!(checked.contains("no rule fits the streams that this names (`users-7x9`"), "{checked}");
    world.write("right.toml", OWNED.replace("add     = \"{/owner}\"", "add = \"user-{/owner}\""));
    assert!(!world.ok(&["policy", "check", "right.toml"]).contains("no rule fits"));
}

/// It said that nothing depends on them any more.
#[test]
fn where_nothing_can_depend_on_anybody_reopening_does_not_speak_of_it() {
    let world = World::new();
    world.ok(&["append", "account-7", "Opened"]);
    world.ok(&["forget", "account-7", "--reason", "ticket 1", "--yes"]);
    let reopened = world.ok(&["reopen", "account-7"]);
    assert!(reopened.contains("admitted again") && !reopened.contains("depend"), "{reopened}");
}
