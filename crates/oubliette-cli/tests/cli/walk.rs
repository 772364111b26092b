//! Walks through the whole thing.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::world::{World, rows};

const BANK: &str = r#"
[[stream]]
match  = "user-{id}"
layout = "split"
public = ["/id", "/colour"]

[[stream]]
match  = "account-{id}"
layout = "inline"
public = ["/owner", "/amount"]
owner  = [{ event = "AccountOpened", add = "{/owner}" }]
on_owner_forgotten = "shred"
"#;

/// Two customers, one account each.
fn bank() -> World {
    let world = World::new();
    world.write("policy.toml", BANK);
    world.write(
        "events.ndjson",
        r#"{"stream":"user-456","type":"UserRegistered","data":{"id":456,"colour":"green","name":"Erika Musterfrau"}}
{"stream":"user-7","type":"UserRegistered","data":{"id":7,"colour":"blue","name":"Otto Normal"}}
{"stream":"account-1","type":"AccountOpened","data":{"owner":"user-456","iban":"DE89370400440532013000"}}
{"stream":"account-2","type":"AccountOpened","data":{"owner":"user-7","iban":"DE02120300000000202051"}}
{"stream":"account-1","type":"MoneyDeposited","data":{"amount":100.50,"text":"birthday present"}}
{"stream":"account-2","type":"MoneyDeposited","data":{"amount":2,"text":"found on the street"}}
"#,
    );
    world.ok(&["import", "events.ndjson", "--policy", "policy.toml"]);
    world
}

#[test]
fn import_read_forget_read_inventory() {
    let world = bank();

    let row = &world.json(&["read", "account-1"])[1];
    assert_eq!(row["stream"], "account-1");
    assert_eq!(row["revision"], 1);
    assert_eq!(row["type"], "MoneyDeposited");
    assert_eq!(row["subject"], "account-1");
    assert_eq!(row["data"], json!({"amount": 100.50, "text": "birthday present"}));
    for absent in ["metadata", "shredded", "withheld", "bytes"] {
        assert!(row.get(absent).is_none(), "{row}");
    }

    let plan = &world.json(&["plan", "user-456"])[0];
    let streams: Vec<&Value> =
        plan["streams"].as_array().unwrap().iter().map(|affected| &affected["stream"]).collect();
    assert_eq!(streams, ["user-456", "account-1"]);

    let erased = &world.json(&["forget", "user-456", "--reason", "asked for it", "--yes"])[0];
    assert_eq!((&erased["keys"], &erased["streams"]), (&json!(2), &json!(2)));
    assert_eq!(erased["already"], false);

    let user = world.json(&["read", "user-456"]);
    assert_eq!(user.len(), 2);
    assert_eq!(user[0]["data"], json!({"id": 456, "colour": "green"}));
    assert_eq!(user[0]["shredded"][0]["ref"], user[1]["data"]["ref"]);
    assert_eq!(user[0]["shredded"][0]["keys"], user[1]["data"]["keys"]);
    assert!(!user[1].to_string().contains(erased["erasure"].as_str().unwrap()), "{user:?}");
    assert_eq!(user[0]["shredded"][0]["fields"], json!(["*"]));
    assert_eq!(user[1]["type"], "SubjectForgotten");
    assert_eq!(user[1]["data"]["subject"], "user-456");
    let account = world.json(&["read", "account-1"]);
    assert_eq!(account[1]["data"], json!({"amount": 100.50}));
    assert_eq!(account[2]["data"]["state"], "forgotten");
    assert_ne!(account[2]["data"]["ref"], user[1]["data"]["ref"]);

    // An auditor, who has the vault, can tell which erasure a tombstone is of.
    let told = &world.json(&["erasures", "--stream", "account-1"])[0];
    assert_eq!(told["ref"], account[2]["data"]["ref"]);
    assert_eq!(told["erasure"]["erasure"], erased["erasure"]);
    assert!(world.ok(&["erasures", "--stream", "user-456"]).contains("asked for it"));
    assert!(world.ok(&["erasures", "--stream", "user-7"]).is_empty());
    // And who signed it.
    let keys = world.json(&["keys"]);
    assert_eq!((keys.len(), &keys[0]["key"]), (1, &account[2]["data"]["key"]));
    assert_eq!((&keys[0]["origin"], &keys[0]["signs"]), (&json!("created"), &json!(true)));
    assert!(keys[0].get("secret").is_none());

    // Nobody else lost anything.
    assert_eq!(world.data("user-7"), [json!({"id": 7, "colour": "blue", "name": "Otto Normal"})]);
    assert_eq!(world.data("account-2")[1], json!({"amount": 2, "text": "found on the street"}));

    let inventory = world.json(&["inventory"]);
    let of_kind = |kind: &str| -> Vec<&Value> {
        inventory.iter().filter(|row| row["kind"] == kind).collect()
    };
    let mut subjects: Vec<&Value> = of_kind("key").iter().map(|row| &row["subject"]).collect();
    subjects.sort_by_key(|subject| subject.to_string());
    assert_eq!(subjects, ["account-2", "user-7"]);
    assert_eq!(of_kind("forgotten").len(), 2);
    assert_eq!(of_kind("totals")[0]["forgotten"], 2);
    assert_eq!(of_kind("totals")[0]["unsealed"], 0);

    let again = &world.json(&["forget", "user-456", "--reason", "again", "--yes"])[0];
    assert_eq!((&again["already"], &again["erasure"]), (&json!(true), &erased["erasure"]));
    let members = |erased: &Value| erased.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(members(again), members(erased));
    // Where the plan names the erasure, the name is another one than of that yes or no.
    let plan = &world.json(&["plan", "user-456"])[0];
    assert_eq!((&plan["forgotten_by"], &plan["already"]), (&erased["erasure"], &Value::Null));
    let records = world.json(&["erasures"]);
    assert_eq!(records.len(), 1);
    // That of `forget` is a later one.
    assert!(world.ok(&["erasures"]).contains("destroyed in epoch"));
    assert_eq!(
        (&records[0]["reason"], &records[0]["done"]),
        (&json!("asked for it"), &json!(true))
    );
}

#[test]
fn what_no_rule_calls_public_is_in_no_file_of_the_store() {
    let world = bank();
    for secret in
        ["Erika", "Musterfrau", "Otto", "DE89370400440532013000", "birthday", "found on the street"]
    {
        assert!(!world.finds("oubliette-data", secret), "{secret}");
        assert!(!world.finds("state", secret), "{secret}");
    }
    // The search finds what is there.
    for public in ["green", "100.50", "account-1"] {
        assert!(world.finds("oubliette-data/events", public), "{public}");
    }
}

#[test]
fn a_reopened_subject_begins_anew() {
    let world = bank();
    world.ok(&["forget", "user-456", "--reason", "r", "--yes"]);
    let refused = world.fails(4, &["append", "user-456", "UserMoved", "--data", r#"{"town":"X"}"#]);
    assert!(refused.contains("`reopen`"), "{refused}");
    // What is public needs no key, and is an event of theirs all the same.
    world.fails(4, &["append", "user-456", "UserRecoloured", "--data", r#"{"colour":"red"}"#]);

    let reopened = &world.json(&["reopen", "user-456"])[0];
    assert_eq!(reopened["generation"], 2);
    world.ok(&["append", "user-456", "UserMoved", "--data", r#"{"town":"Bremen"}"#]);
    let events = world.json(&["read", "user-456"]);
    let types: Vec<&Value> = events.iter().map(|row| &row["type"]).collect();
    assert_eq!(types, ["UserRegistered", "SubjectForgotten", "UserMoved"]);
    assert!(events[0].get("shredded").is_some());
    assert_eq!(events[2]["data"], json!({"town": "Bremen"}));
    assert!(world.json(&["reopen", "user-7"])[0]["generation"].is_null());
    // A mistyped name is no success.
    let unknown = world.fails(1, &["reopen", "user-465"]);
    assert!(unknown.contains("user-465"), "{unknown}");
}

#[test]
fn without_the_vault_only_what_is_public_is_read() {
    let world = bank();
    let rows = world.json(&["--no-vault", "read-all"]);
    assert_eq!(rows.len(), 6);
    assert_eq!(rows[0]["stream"], "user-456");
    assert_eq!(rows[0]["data"], json!({"id": 456, "colour": "green"}));
    assert_eq!(rows[0]["withheld"], json!([{"why": "no-vault", "fields": ["*"]}]));
    assert!(rows[0].get("subject").is_none());

    // A copy of the events alone, for a test system.
    let copy = world.path("copy");
    fs::create_dir(&copy).unwrap();
    fs::copy(world.path("oubliette-data/events/events.db"), copy.join("events.db")).unwrap();
    let same = world.json(&["--dir", "nowhere", "--store", "copy", "--no-vault", "read-all"]);
    assert_eq!(same, rows);
    for command in [&["append", "s", "T"] as &[&str], &["inventory"], &["plan", "user-7"]] {
        world.fails(2, &[&["--no-vault"], command].concat());
    }
}

#[test]
fn what_was_read_can_be_imported_elsewhere() {
    let world = bank();
    let before = world.ok(&["--json", "read-all"]);
    let told = world
        .feed(&["--dir", "other", "import", "-", "--policy", "policy.toml", "--json"], &before);
    assert_eq!(told.code, 0, "{}", told.stderr);
    assert_eq!(rows(&told.stdout)[0]["imported"], 6);
    let essence = |text: &str| -> Vec<Value> {
        let mut all = rows(text);
        for row in &mut all {
            row.as_object_mut().unwrap().remove("recorded");
            // Another vault has other keys.
            row.as_object_mut().unwrap().remove("keys");
        }
        all
    };
    assert_eq!(essence(&world.ok(&["--dir", "other", "--json", "read-all"])), essence(&before));
}

#[test]
fn rows_with_holes_are_imported_only_when_asked_for() {
    let world = bank();
    world.ok(&["forget", "user-456", "--reason", "r", "--yes"]);
    let holes = world.ok(&["--json", "read-all"]);
    let refused = world.feed(&["--dir", "other", "import", "-", "--policy", "policy.toml"], &holes);
    assert_eq!(refused.code, 1);
    assert_eq!(refused.stderr.matches("--with-holes").count(), 5, "{}", refused.stderr);
    assert!(refused.stdout.contains("3 imported"), "{}", refused.stdout);

    let taken = world.feed(&["--dir", "other", "--json", "import", "-", "--with-holes"], &holes);
    let summary = rows(&taken.stdout).pop().unwrap();
    assert_eq!(
        (taken.code, &summary["imported"], &summary["already"], &summary["skipped"]),
        (0, &json!(3), &json!(3), &json!(2)),
        "{}{}",
        taken.stdout,
        taken.stderr
    );
    let other = rows(&world.ok(&["--dir", "other", "--json", "read", "account-1"]));
    assert_eq!(other[1]["data"], json!({"amount": 100.50}));
}

#[test]
fn subscribe_shows_what_is_there_and_says_so() {
    let world = bank();
    let rows = world.json(&["subscribe", "--until-caught-up", "--stream-prefix", "account-"]);
    assert_eq!(rows.len(), 5);
    assert_eq!(rows[4], json!({"caught_up": true}));
    let typed = world.json(&["subscribe", "--until-caught-up", "--type", "UserRegistered"]);
    assert_eq!(typed.len(), 3);
    let after = rows[1]["position"].as_str().unwrap();
    let rest = world.json(&["subscribe", "--until-caught-up", "--after", after]);
    assert_eq!(rest.len(), 3, "{rest:?}");
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_subscription_cleanly() {
    let world = bank();
    let mut child = world.spawn(&["--json", "subscribe"]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == r#"{"caught_up":true}"#));
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    // And the vault is free again.
    world.ok(&["inventory"]);
}

#[cfg(unix)]
#[test]
fn every_signal_that_asks_to_end_leaves_no_copy_of_pages_behind() {
    let world = bank();
    fs::create_dir(world.path("tmp")).unwrap();
    for signal in ["-INT", "-TERM", "-HUP"] {
        let args = ["--json", "--read-only", "subscribe"];
        let mut child = world.command(&args).env("TMPDIR", world.path("tmp")).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap() == r#"{"caught_up":true}"#));
        assert_ne!(fs::read_dir(world.path("tmp")).unwrap().count(), 0, "nothing was copied");
        let kill = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        assert!(kill.success());
        assert_eq!(child.wait().unwrap().code(), Some(0), "{signal}");
        assert_eq!(fs::read_dir(world.path("tmp")).unwrap().count(), 0, "{signal}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_command_in_the_midst_of_its_work_leaves_no_copy_of_pages_behind() {
    let world = World::new();
    fs::create_dir(world.path("tmp")).unwrap();
    let row = format!("{{\"stream\":\"s-1\",\"type\":\"T\",\"data\":\"{}\"}}\n", "x".repeat(1000));
    world.write("many.ndjson", row.repeat(1000));
    world.ok(&["import", "many.ndjson"]);
    let args = ["--json", "--read-only", "read-all"];
    let mut child = world.command(&args).env("TMPDIR", world.path("tmp")).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 10]).unwrap();
    let kill = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    // It waits for whoever reads.
    std::io::copy(&mut stdout, &mut std::io::sink()).unwrap();
    assert!(matches!(child.wait().unwrap().code(), Some(0 | 1)));
    assert_eq!(fs::read_dir(world.path("tmp")).unwrap().count(), 0);
}

#[cfg(target_os = "linux")]
#[test]
fn a_hangup_that_nohup_ignores_stays_ignored() {
    let world = bank();
    let binary = env!("CARGO_BIN_EXE_oubliette");
    let command = world.command(&[]);
    let shell = format!("exec nohup {binary} --json subscribe");
    let mut child = {
        let mut nohup = Command::new("sh");
        nohup.args(["-c", &shell]).current_dir(world.dir.path());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => nohup.env(name, value),
                None => nohup.env_remove(name),
            };
        }
        nohup.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
    };
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == r#"{"caught_up":true}"#));
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-HUP", &id]).status().unwrap().success());
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap().trim();
    assert_eq!(u64::from_str_radix(ignored, 16).unwrap() & 1, 1, "{ignored}");
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_reader_who_leaves_is_no_error() {
    let world = World::new();
    let row = format!("{{\"stream\":\"s-1\",\"type\":\"T\",\"data\":\"{}\"}}\n", "x".repeat(1000));
    world.write("many.ndjson", row.repeat(1000));
    world.ok(&["import", "many.ndjson"]);
    for args in [&["--json", "read-all"] as &[&str], &["read-all"], &["read", "s-1"]] {
        let mut child = world.command(args).stdout(Stdio::piped()).spawn().unwrap();
        let mut first = [0; 10];
        let mut stdout = child.stdout.take().unwrap();
        stdout.read_exact(&mut first).unwrap();
        drop(stdout);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "", "{args:?}");
    }
}

#[test]
fn read_goes_both_ways_and_knows_limits() {
    let world = World::new();
    for i in 0..5 {
        world.ok(&["append", "s", "T", "--data", &i.to_string()]);
    }
    let read = |args: &[&str]| -> Vec<Value> {
        world.json(args).iter().map(|row| row["data"].clone()).collect()
    };
    assert_eq!(read(&["read", "s", "--from", "3"]), [3, 4]);
    assert_eq!(read(&["read", "s", "--limit", "2"]), [0, 1]);
    assert_eq!(read(&["read", "s", "--backwards", "--limit", "2"]), [4, 3]);
    assert_eq!(read(&["read", "s", "--backwards", "--from", "1"]), [1, 0]);
    assert_eq!(read(&["read-all", "--backwards", "--limit", "1"]), [4]);
    let rows = world.json(&["read-all"]);
    let second = rows[1]["position"].as_str().unwrap();
    assert_eq!(read(&["read-all", "--after", second]), [2, 3, 4]);
    assert_eq!(read(&["read-all", "--after", second, "--backwards"]), [0]);
    assert_eq!(world.json(&["read", "unknown"]).len(), 0);
}

#[test]
fn people_get_tables() {
    let world = bank();
    world.ok(&["forget", "user-456", "--reason", "asked for it", "--yes"]);
    let user = world.ok(&["read", "user-456"]);
    let lines: Vec<&str> = user.lines().collect();
    assert!(lines[0].contains("recorded (UTC)") && lines[0].contains("state"), "{user}");
    assert!(lines[2].contains("partly shredded") && lines[2].contains(r#"{"id":456"#), "{user}");
    assert!(lines[3].contains("tombstone") && lines[3].contains(": user-456, ref "), "{user}");
    assert!(!user.contains('\u{1b}'), "colours belong on terminals");

    let plan = world.ok(&["plan", "user-7"]);
    assert!(plan.contains("Forgetting user-7 destroys 2 keys of 2 subjects"), "{plan}");
    assert!(plan.contains("its owner user-7"), "{plan}");
    let inventory = world.ok(&["inventory"]);
    assert!(inventory.contains("2 keys (2 active)"), "{inventory}");
    assert!(world.ok(&["erasures"]).contains("asked for it"));
    assert!(world.ok(&["read-all"]).contains("account-1"));

    let csv = world.ok(&["inventory", "--format", "csv"]);
    assert!(csv.starts_with("kind,state,id,stream,subject,generation,"), "{csv}");
    assert_eq!(csv.lines().count(), 1 + 2 + 2, "{csv}");
}

#[test]
fn the_public_half_of_a_split_stream_is_read_by_name() {
    let world = bank();
    assert_eq!(world.data("user-public-456"), [json!({"id": 456, "colour": "green"})]);
}

#[test]
fn help_teaches() {
    let world = World::new();
    let help = world.ok(&["--help"]);
    for word in ["A first walk", "Exit codes", "OUBLIETTE_DIR", "forget", "--no-vault"] {
        assert!(help.contains(word), "{word}");
    }
    for command in [
        "demo",
        "import",
        "append",
        "read",
        "read-all",
        "subscribe",
        "plan",
        "forget",
        "reopen",
        "inventory",
        "erasures",
        "keys",
    ] {
        let help = world.ok(&[command, "--help"]);
        assert!(help.contains("Example"), "{command}");
        assert!(help.contains(&format!("oubliette {command}")), "{command}");
    }
    assert!(world.ok(&["policy", "check", "--help"]).contains("Example"));
}

/// Typed on a Mac, an `é` is two characters.
#[test]
fn a_name_typed_in_another_form_is_found() {
    let world = World::new();
    let rows = "{\"stream\":\"user-e\u{301}\",\"type\":\"Came\",\"data\":{}}\n";
    world.write("rows.ndjson", rows);
    world.ok(&["import", "rows.ndjson"]);
    world.ok(&["append", "user-\u{e9}", "Went", "--data", "{}"]);
    assert_eq!(world.json(&["read", "user-e\u{301}"]).len(), 2);
    let erased = &world.json(&["forget", "user-e\u{301}", "--reason", "asked", "--yes"])[0];
    assert_eq!((&erased["keys"], &erased["streams"]), (&json!(1), &json!(1)));
    let told = world.fails(2, &["append", "user-\u{200b}1", "Went", "--data", "{}"]);
    assert!(told.contains("U+200B"), "{told}");
}
