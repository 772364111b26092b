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
            "remains": [
                {
                    "forgotten": "account-1", "clear": true, "sealed_for": ["user-7"],
                    "while_others_own": null,
                },
                {
                    "forgotten": "user-7", "clear": true, "sealed_for": ["account-1"],
                    "while_others_own": null,
                },
                {
                    "forgotten": "user-456", "clear": true, "sealed_for": ["user-7"],
                    "while_others_own": "account-1",
                },
            ],
        })]
    );
    let text = world.ok(&[&["policy", "try", "draft.toml"], &event[..], &[data]].concat());
    for line in [
        "the rest, under the key of account-1",
        "/memo, under the key of user-7",
        "add user-456",
        "remains     once account-1 is forgotten: what is in clear; what is sealed for user-7; stream",
        "            once user-7 is forgotten: what is in clear; what is sealed for account-1; stream",
        "what is sealed for account-1 only while other owners keep it",
    ] {
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
    let told = crate::world::rows(&ran.stderr).remove(0);
    assert_eq!((ran.code, &told["kind"], &told["exit"]), (1, &json!("policy.invalid"), &json!(1)));
    let found = crate::world::rows(&ran.stdout).remove(0);
    assert_eq!((&found["ok"], &found["warnings"]), (&json!(false), &json!([])));
    let absent = world.run(&["--json", "policy", "check", "nowhere.toml"]);
    let told = crate::world::rows(&absent.stderr).remove(0);
    assert_eq!((absent.code, &told["exit"]), (1, &json!(1)), "{}", absent.stderr);
    let kinds: Vec<_> =
        found["errors"].as_array().unwrap().iter().map(|e| (&e["kind"], &e["line"])).collect();
    assert_eq!(kinds, [(&json!("not-yet"), &json!(3)), (&json!("word"), &json!(4))]);
    // For people as it was.
    assert!(
        world.fails(1, &["policy", "check", "bad.toml"]).contains("bad.toml:3:1: `hold` is not")
    );
}

/// The field held `user-1` already: the owner was `user-user-1`, and forgetting `user-1` missed the account.
#[test]
fn a_sample_shows_whom_the_policy_makes_up() {
    let world = World::new();
    world.write(
        "policy.toml",
        "[[stream]]\nmatch = \"account-{id}\"\nowner = [ { event = \"Opened\", add = \"user-{/owner}\" } ]\n",
    );
    world.write(
        "rows",
        "{\"stream\":\"user-1\",\"type\":\"T\",\"data\":{}}\n\
         {\"stream\":\"account-1\",\"type\":\"Opened\",\"data\":{\"owner\":\"user-1\"}}\n",
    );
    let check = ["policy", "check", "policy.toml", "--sample", "rows"];
    let told = world.ok(&check);
    let whom = "1 subject that events name has no stream in the sample, such as user-user-1 (of account-1)";
    assert!(told.contains(whom), "{told}");
    let sample = &world.json(&check)[0]["sample"];
    let example = json!({ "subject": "user-user-1", "in": "account-1" });
    assert_eq!(sample["without_stream"], json!({ "count": 1, "examples": [example] }));
}

#[test]
fn a_sample_shows_what_of_a_policy_fits_nothing_and_which_events_it_refuses() {
    let world = World::new();
    let policy = r#"
[[stream]]
match  = "user-{id}"
public = ["/colour", "/contry"]
[[stream]]
match  = "account-{id}"
public = ["/amount"]
owner  = [ { event = "Opend", add = "{/owner}" } ]
"#;
    world.write("policy.toml", policy);
    let rows = r#"{"stream":"user-1","type":"T","data":{"colour":1,"country":"DE"}}

{"stream":"account-1","type":"Opened","data":{"owner":"user-1","amount":1}}
{"stream":"anna@example.org","type":"T","data":{}}
{"stream":"user-2","type":"SubjectForgotten","foreign":{}}
"#;
    world.write("events.ndjson", rows);
    let check = ["policy", "check", "policy.toml", "--sample", "events.ndjson"];
    let ran = world.run(&[&["--json"], &check[..]].concat());
    assert_eq!(ran.code, 1, "{}", ran.stdout);
    let sample = &crate::world::rows(&ran.stdout)[0]["sample"];
    let unfit = |rule: &str, word: &str, says: &str| json!({ "rule": rule, "type": null, "events": 1, "word": word, "says": says });
    assert_eq!(
        sample["fits_nothing"],
        json!([unfit("user-{id}", "public", "/contry"), unfit("account-{id}", "owner", "Opend"),])
    );
    assert_eq!((&sample["events"], &sample["without_rule"]), (&json!(3), &json!(1)));
    assert_eq!(sample["refused"][0]["lines"], json!([4]));
    let told = world.run(&check).stdout;
    for line in [
        "sample: 3 events, 1 without a rule",
        "`public` of `user-{id}`: `/contry` fits nothing in 1 event",
        "line 4: would be refused: the stream name looks like an e-mail address",
    ] {
        assert!(told.contains(line), "{told}");
    }
    assert!(!told.contains("anna"), "{told}");
    // What `read-all --json` writes is a sample, and so is stdin.
    world.ok(&["--policy", "policy.toml", "append", "user-1", "T", "--data", r#"{"colour":1}"#]);
    let all = world.ok(&["read-all", "--json"]);
    let fed = world.feed(&["policy", "check", "policy.toml", "--sample", "-"], all);
    assert!(
        fed.code == 0 && fed.stdout.contains("no event is in a stream `account-{id}`"),
        "{}",
        fed.stdout
    );
    for (wrong, why) in [("{", "line 1 of the sample"), ("\n[]", "line 2 of the sample")] {
        let fed = world.feed(&["policy", "check", "policy.toml", "--sample", "-"], wrong);
        assert!(fed.code == 2 && fed.stderr.contains(why), "{}", fed.stderr);
    }
    world.fails(1, &["policy", "check", "policy.toml", "--sample", "nowhere"]);
}

/// It said `good:`, and ended with 1. The first line that was no row hid all that came after it.
#[test]
fn a_sample_that_is_refused_is_not_good_and_equal_reasons_are_told_once_with_their_lines() {
    let world = World::new();
    world.write("policy.toml", "[[stream]]\nmatch = \"case-{id}\"\nsubject = \"user-{/user}\"\n");
    let good = r#"{"stream":"case-1","type":"T","data":{"user":7}}"#;
    let refused = r#"{"stream":"case-1","type":"T","data":{}}"#;
    let unknown = r#"{"stream":"case-1","type":"T","data":{},"tenant":"Erika"}"#;
    let check = ["policy", "check", "policy.toml", "--sample", "rows.ndjson"];
    let json = |code: i32| {
        let ran = world.run(&[&["--json"], &check[..]].concat());
        let (found, told) = (crate::world::rows(&ran.stdout), crate::world::rows(&ran.stderr));
        assert_eq!((ran.code, found.len(), told.len()), (code, 1, 1), "{}", ran.stderr);
        assert_eq!((&found[0]["ok"], &told[0]["exit"]), (&json!(false), &json!(code)));
        (found[0]["sample"].clone(), told[0]["error"].as_str().unwrap().to_owned())
    };
    let lines = |lines: &[&str]| world.write("rows.ndjson", lines.join("\n"));

    lines(&[&[good][..], &[refused; 7]].concat());
    let (sample, told) = json(1);
    assert_eq!(told, "7 of 8 events of the sample would be refused");
    let group = &sample["refused"][0];
    assert_eq!((&group["count"], &group["lines"]), (&json!(7), &json!([2, 3, 4, 5, 6])));
    assert_eq!((sample["refused"].as_array().unwrap().len(), &sample["bad"]), (1, &json!([])));
    let ran = world.run(&check);
    assert_eq!((ran.code, ran.stderr.as_str()), (1, ""));
    assert!(!ran.stdout.contains("\ngood:"), "{}", ran.stdout);
    for words in ["7 lines (2, 3, 4, 5, 6, …): would be refused:", "not good: policy.toml, digest "]
    {
        assert!(ran.stdout.contains(words), "{}", ran.stdout);
    }
    assert!(ran.stdout.trim_end().ends_with(&told), "{}", ran.stdout);

    // Lines that are no rows are listed, and what comes behind them is looked at as well.
    lines(&[good, unknown, "{\"stream\"", unknown, refused]);
    let (sample, told) = json(2);
    assert_eq!(
        told,
        "1 of 2 events of the sample would be refused; 3 lines of the sample are no rows"
    );
    let bad = sample["bad"].as_array().unwrap();
    let numbers: Vec<_> = bad.iter().map(|group| (&group["count"], &group["lines"])).collect();
    assert_eq!(numbers, [(&json!(2), &json!([2, 4])), (&json!(1), &json!([3]))]);
    assert!(bad[0]["reason"].as_str().unwrap().contains("`tenant` is unknown"), "{sample}");
    let ran = world.run(&check);
    assert!(ran.code == 2 && !ran.stdout.contains("Erika"), "{}", ran.stdout);
    assert!(ran.stdout.contains("2 lines (2, 4): no row: its member `tenant`"), "{}", ran.stdout);
}

#[test]
fn ids_of_sixteen_digits_that_pass_for_cards_can_be_allowed_by_a_rule() {
    let world = World::new();
    let (card, other) = ("order-4111111111111111", "parcel-4111111111111111");
    let refused = world.fails(1, &["append", card, "Placed"]);
    assert!(
        refused.contains("a payment card's number") && refused.contains("card_like_ids"),
        "{refused}"
    );
    let policy = "[[stream]]\nmatch = \"order-{id}\"\ncard_like_ids = true\n\
                  [[stream]]\nmatch = \"case-{id}\"\nsubject = \"order-{/order}\"\n";
    world.write("policy.toml", policy);
    world.ok(&["--policy", "policy.toml", "append", card, "Placed"]);
    world.ok(&["append", "case-1", "Opened", "--data", r#"{"order":"4111111111111111"}"#]);
    world.ok(&["forget", card, "--reason", "asked", "--yes"]);
    // Only there, and only cards.
    assert!(world.fails(1, &["append", other, "Sent"]).contains("payment card"));
    assert!(world.fails(1, &["append", "order-anna@example.org", "T"]).contains("e-mail address"));
    let typed = world.fails(1, &["append", "order-1", "4111111111111111"]);
    assert!(typed.contains("event type") && !typed.contains("card_like_ids"), "{typed}");
    // What is not said does not change the name of a policy.
    world.write("one.toml", "[[stream]]\nmatch = \"order-{id}\"\n");
    world.write("two.toml", "[[stream]]\nmatch = \"order-{id}\"\ncard_like_ids = false\n");
    world.write("three.toml", "[[stream]]\nmatch = \"order-{id}\"\ncard_like_ids = true\n");
    let digest = |file: &str| world.json(&["policy", "check", file])[0]["digest"].clone();
    assert_eq!(digest("one.toml"), digest("two.toml"));
    assert_ne!(digest("one.toml"), digest("three.toml"));
}

/// `--dir` was refused, though the policy is that folder's.
#[test]
fn an_event_is_tried_by_the_policy_of_the_folder_that_is_named() {
    let world = World::new();
    fs::create_dir(world.path("prod")).unwrap();
    world.write("prod/policy.toml", "[[stream]]\nmatch = \"customer-{id}\"\nlayout = \"split\"");
    let (dir, event) = (&["--dir", "prod"][..], &["--stream", "customer-1", "--type", "X"][..]);
    let by_folder = [&["policy", "try"], event].concat();
    for args in [[dir, &by_folder[..]].concat(), [&by_folder[..], dir].concat()] {
        let told = world.ok(&args);
        assert!(told.contains("customer-public-1"), "{told}");
    }
    let by_file = [&["policy", "try", "prod/policy.toml"], event].concat();
    for args in [[dir, &by_file[..]].concat(), [&["--wait", "1s"], &by_folder[..]].concat()] {
        assert!(world.fails(2, &args).contains("has no effect"), "{args:?}");
    }
}

/// Each named its subject, and so each was told: 3000 lines, 3000 reasons.
#[test]
fn events_that_are_refused_for_one_cause_are_told_together_whomever_they_name() {
    let world = World::new();
    world.write("policy.toml", "[[stream]]\nmatch = \"case-{id}\"\n");
    let row = |n: u32| {
        format!(
            "{{\"stream\":\"case-{n}\",\"type\":\"T\",\"data\":{{}},\"subject\":\"user-{n}\"}}\n"
        )
    };
    world.write("rows.ndjson", (1..=30).map(row).collect::<String>());
    let check = ["policy", "check", "policy.toml", "--sample", "rows.ndjson"];
    let ran = world.run(&[&["--json"], &check[..]].concat());
    let refused = crate::world::rows(&ran.stdout)[0]["sample"]["refused"].clone();
    assert_eq!((ran.code, refused.as_array().unwrap().len()), (1, 1), "{refused}");
    assert_eq!((&refused[0]["count"], &refused[0]["lines"]), (&json!(30), &json!([1, 2, 3, 4, 5])));
    assert!(refused[0]["reason"].as_str().unwrap().contains("`user-1`"), "{refused}");
    let told = world.run(&check).stdout;
    assert!(told.contains("(so line 1; the others name others)"), "{told}");
}
