//! Checking a policy, and trying it on an event: what would stay in clear, and whose the rest would be.

use std::fs;

use serde_json::json;

use crate::world::World;

const POLICY: &str = r#"
[[stream]]
match  = "account-{id}"
layout = "inline"
public = ["/owner"]
owner  = [ { event = "Opened", add = "{/owner}" } ]
[[stream.field]]
pointer = "/memo"
subject = "user-{/by}"
"#;

#[test]
fn a_policy_is_tried_on_an_event_that_nobody_stores() {
    let world = World::new();
    world.write("draft.toml", POLICY);
    let event = ["--stream", "account-1", "--type", "Opened", "--data"];
    let data = r#"{"owner":"user-456","memo":"hi","by":7}"#;
    let told = world.json(&[&["policy", "try", "draft.toml"], &event[..], &[data]].concat());
    assert_eq!(
        told,
        [json!({
            "layout": "inline",
            "streams": ["account-1"],
            "clear": { "owner": "user-456" },
            "clear_metadata": null,
            "sealed": [
                { "subject": "account-1", "fields": ["*"], "metadata": false },
                { "subject": "user-7", "fields": ["/memo"], "metadata": false },
            ],
            "owners": [{ "add": "user-456" }],
        })]
    );
    let text = world.ok(&[&["policy", "try", "draft.toml"], &event[..], &[data]].concat());
    for line in
        ["the rest, under the key of account-1", "/memo, under the key of user-7", "add user-456"]
    {
        assert!(text.contains(line), "{text}");
    }
    assert!(!world.path("oubliette-data").exists(), "nothing is made");
}

#[test]
fn what_would_be_refused_is_refused_when_it_is_tried() {
    let world = World::new();
    fs::create_dir(world.path("oubliette-data")).unwrap();
    world.write(
        "oubliette-data/policy.toml",
        "[[stream]]\nmatch = \"user-{id}\"\nlayout = \"split\"",
    );
    let half = ["policy", "try", "--stream", "user-public-1", "--type", "Registered"];
    let refused = world.run(&half);
    assert!(
        refused.code == 1 && refused.stderr.contains("half of the split stream"),
        "{}",
        refused.stderr
    );
    // By the policy of the folder, adopted or not.
    let whole = world.ok(&["policy", "try", "--stream", "user-1", "--type", "Registered"]);
    assert!(whole.contains("user-public-1, user-private-1 (split)"), "{whole}");
    let wrong = world.run(&["policy", "try", "--stream", "user-1", "--type", "X", "--data", "{"]);
    assert!(wrong.code == 2 && wrong.stderr.contains("--data"), "{}", wrong.stderr);
}

#[test]
fn what_a_check_finds_are_objects_for_programs() {
    let world = World::new();
    world.write("good.toml", "[[stream]]\nmatch = \"user-{id}\"\npublic = [\"/surname\"]\n");
    let found = world.json(&["policy", "check", "good.toml"]).remove(0);
    assert_eq!((&found["ok"], &found["errors"]), (&json!(true), &json!([])));
    let warning = &found["warnings"][0];
    assert_eq!((&warning["line"], &warning["column"]), (&json!(3), &json!(11)));
    assert!(warning["message"].as_str().unwrap().contains("`/surname` is public"), "{warning}");

    world.write("bad.toml", "[[stream]]\nmatch = \"user-{id}\"\nhold = 1\npublik = []\n");
    let ran = world.run(&["--json", "policy", "check", "bad.toml"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (1, ""));
    let found = crate::world::rows(&ran.stdout).remove(0);
    assert_eq!((&found["ok"], &found["warnings"]), (&json!(false), &json!([])));
    let kinds: Vec<_> =
        found["errors"].as_array().unwrap().iter().map(|e| (&e["kind"], &e["line"])).collect();
    assert_eq!(kinds, [(&json!("not-yet"), &json!(3)), (&json!("word"), &json!(4))]);
    // For people as it was.
    assert!(
        world.fails(1, &["policy", "check", "bad.toml"]).contains("bad.toml:3:1: `hold` is not")
    );
}
