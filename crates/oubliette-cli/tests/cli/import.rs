//! Importing: bad lines, repetition, order, crashes.

use serde_json::{Value, json};

use crate::world::{Ran, World, rows};

fn row(stream: &str, data: impl std::fmt::Display) -> String {
    format!("{{\"stream\":\"{stream}\",\"type\":\"T\",\"data\":{data}}}\n")
}

fn summary(ran: &Ran) -> Value {
    rows(&ran.stdout).pop().unwrap()
}

fn counts(ran: &Ran) -> [u64; 5] {
    let summary = summary(ran);
    ["imported", "already", "forgotten", "bad", "skipped"]
        .map(|name| summary[name].as_u64().unwrap())
}

#[test]
fn bad_lines_are_listed_and_cost_only_themselves() {
    let world = World::new();
    let mut text: Vec<u8> = Vec::new();
    text.extend(row("s-1", 1).bytes());
    text.extend(b"not a row\n\n");
    text.extend(row("s-1", 2).bytes());
    text.extend(row("a b", 3).bytes());
    text.extend(b"{\"stream\":\"s-1\",\"type\":\"T\",\"data\":\"\xff\"}\n");
    text.extend(row("s-1", format!("\"{}\"", "x".repeat(16 << 20))).bytes());
    text.extend(row("erika@example.org", 4).bytes());
    text.extend(row("s-2", "{\"$sealed\":1}").bytes());
    text.extend(row("s-2", 5).bytes());
    world.write("rows.ndjson", &text);

    let ran = world.run(&["--json", "import", "rows.ndjson"]);
    assert_eq!(ran.code, 1);
    assert_eq!(counts(&ran), [2, 0, 0, 6, 0], "{}", ran.stdout);
    assert_eq!(summary(&ran)["held"], 1, "{}", ran.stdout);
    let listed = rows(&ran.stdout);
    let numbers: Vec<u64> = listed.iter().filter_map(|row| row["line"].as_u64()).collect();
    assert_eq!(numbers, [2, 5, 6, 7, 8, 9, 10]);
    for (row, reason) in listed.iter().zip([
        "not JSON",
        "white space",
        "not UTF-8",
        "16777216",
        "refused",
        "refused",
        "an earlier line of its stream is bad",
    ]) {
        assert!(row["reason"].as_str().unwrap().contains(reason), "{row}");
    }
    assert_eq!(world.data("s-1"), [1, 2]);
    assert!(world.data("s-2").is_empty());

    let people = world.run(&["import", "rows.ndjson"]);
    assert_eq!(
        people.stdout,
        format!(
            "0 imported, 2 already there, 6 bad, 1 held back behind a bad line of its stream\n\
             rows without an id got theirs from the source {}\n",
            world.path("rows.ndjson").canonicalize().unwrap().display()
        )
    );
    assert!(
        people.stderr.contains("line 5: `stream`: a stream name must not"),
        "{}",
        people.stderr
    );
}

/// Nobody was told that the same rows under another path would be there twice.
#[test]
fn rows_that_get_their_ids_from_a_path_say_so_where_they_may_be_there_already() {
    let world = World::new();
    world.write("rows.ndjson", row("s-1", 1));
    world.write("moved.ndjson", row("s-1", 1));
    let twice = "under another path";
    let import = |args: &[&str]| world.run(&[&["import"], args].concat());
    // Nothing was there; it is the same source; it has a name that stays; a row has its own id.
    assert!(!import(&["rows.ndjson"]).stderr.contains(twice));
    assert!(!import(&["rows.ndjson"]).stderr.contains(twice));
    let named = import(&["rows.ndjson", "--source", "nightly"]);
    assert!(!named.stderr.contains(twice), "{}", named.stderr);
    assert!(named.stdout.contains("from the source nightly\n"), "{}", named.stdout);
    let with_id =
        r#"{"stream":"s-2","type":"T","data":1,"id":"6f0dbd6e-3c1e-4c53-9d0b-5b6c5f5f4d11"}"#;
    world.write("ids.ndjson", with_id);
    let own = import(&["ids.ndjson"]);
    assert!(!own.stderr.contains(twice) && !own.stdout.contains("source"), "{}", own.stdout);
    let moved = import(&["moved.ndjson"]);
    assert!(moved.stderr.contains(twice) && moved.stderr.contains("--source"), "{}", moved.stderr);
    let source = world.path("moved.ndjson").canonicalize().unwrap();
    assert!(moved.stdout.contains(source.to_str().unwrap()), "{}", moved.stdout);
}

#[test]
fn who_asks_for_a_dry_run_is_told_what_there_is() {
    let world = World::new();
    world.write("rows.ndjson", row("s-1", 1));
    let told = world.fails(2, &["import", "rows.ndjson", "--dry-run"]);
    assert!(told.contains("policy check POLICY --sample FILE"), "{told}");
    assert!(
        !world.path("oubliette-data").exists()
            && !world.ok(&["import", "--help"]).contains("--dry-run")
    );
}

const OWNED: &str = "[[stream]]\nmatch = 'acc-{id}'\n\
     owner = [{ event = 'Opened', add = '{/owner}' }, { event = 'Moved', replace = '{/owner}' }]";

/// The first row was bad, the second was imported; repaired and repeated, both owned the account.
#[test]
fn behind_a_bad_line_its_stream_waits_and_others_go_on() {
    for bad in [
        // Refused by the line, by the store, and not even JSON.
        r#"{"stream":"acc-1","type":"Opened","data":{"owner":"u-1"},"oops":1}"#,
        r#"{"stream":"acc-1","type":"Opened","data":{"owner":"u-1","$sealed":1}}"#,
        r#"{"stream":"acc-1","type":"Opened","data":{"owner":"u-1"}"#,
    ] {
        let world = World::new();
        world.write("policy.toml", OWNED);
        let rows = |first: &str| {
            let moved = |on: &str| {
                format!(r#"{{"stream":"{on}","type":"Moved","data":{{"owner":"u-2","iban":"x"}}}}"#)
            };
            let first = first.to_owned();
            // The last one is in a batch of its own.
            [moved("acc-2"), first, moved("acc-3"), moved("acc-1"), moved("acc-2"), moved("acc-1")]
                .join("\n")
        };
        world.write("rows.ndjson", rows(bad));
        let import = ["--json", "import", "rows.ndjson", "--policy", "policy.toml"];
        let ran = world.run(&import);
        assert_eq!((ran.code, counts(&ran)), (1, [3, 0, 0, 1, 0]), "{}", ran.stdout);
        let listed = rows_of(&ran);
        assert_eq!(listed, [(2, "bad".into()), (4, "held".into()), (6, "held".into())], "{bad}");
        assert!(world.data("acc-1").is_empty());

        let good = r#"{"stream":"acc-1","type":"Opened","data":{"owner":"u-1"}}"#;
        world.write("rows.ndjson", rows(good));
        let ran = world.run(&import);
        assert_eq!((ran.code, counts(&ran)), (0, [3, 3, 0, 0, 0]), "{}{}", ran.stdout, ran.stderr);
        world.ok(&["forget", "u-2", "--reason", "r", "--yes"]);
        let read = world.ok(&["--json", "read", "acc-1"]);
        assert!(!read.contains("\"iban\":\"x\""), "u-1 keeps what is u-2's: {read}");
    }
}

/// Each listed line, and what it is.
fn rows_of(ran: &Ran) -> Vec<(u64, String)> {
    let listed = rows(&ran.stdout);
    let line = |row: &Value| Some((row["line"].as_u64()?, row["outcome"].as_str()?.to_owned()));
    listed.iter().filter_map(line).collect()
}

/// It was kept waiting for more, and lost with the process.
#[cfg(unix)]
#[test]
fn what_came_through_a_pipe_is_stored_while_the_pipe_stays_open() {
    use std::io::Write;
    let world = World::new();
    world.write("policy.toml", OWNED);
    let args = ["import", "-", "--source", "s", "--policy", "policy.toml"];
    let mut child = world.command(&args).stdin(std::process::Stdio::piped()).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let opened = |n| format!(r#"{{"stream":"acc-{n}","type":"Opened","data":{{"owner":"u-1"}}}}"#);
    for n in 0..40 {
        writeln!(pipe, "{}", opened(n)).unwrap();
    }
    pipe.flush().unwrap();
    // Another process may look into the store, which needs no vault.
    let stored = || {
        let ran = world.run(&["--no-vault", "--json", "read-all"]);
        if ran.code == 0 { rows(&ran.stdout).len() } else { 0 }
    };
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while stored() < 40 {
        assert!(std::time::Instant::now() < deadline, "nothing is stored while the pipe is open");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // And what is stored is stored under a policy that the folder knows.
    assert_eq!(world.ok(&["policy", "show"]).trim(), OWNED);
    world.ok(&["append", "acc-99", "Opened", "--data", r#"{"owner":"u-1"}"#]);
    let plan = &world.json(&["plan", "u-1"])[0];
    assert_eq!(plan["subjects"].as_array().unwrap().len(), 42, "{plan}");
}

#[test]
fn what_an_old_table_loses_is_said() {
    let world = World::new();
    let row = |data: &str| {
        let said = r#""recorded":"2019-01-31T12:00:00Z","position":"7""#;
        format!(r#"{{"stream":"s-1","type":"T","data":{data},"revision":null,{said}}}"#)
    };
    let lines = [row("1"), row(r#""{\"owner\":\"u-1\"}""#), row(r#""[1]""#), row(r#""{ no JSON""#)];
    let ran = world.feed(&["import", "-", "--source", "s"], lines.join("\n"));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let told = "not taken: `position` of 4 rows, `recorded` of 4 rows. The store numbers and dates";
    assert!(ran.stderr.contains(told) && !ran.stderr.contains("`revision`"), "{}", ran.stderr);
    let json = world.feed(&["--json", "import", "-", "--source", "s"], &lines[0]);
    let summary = rows(&json.stdout).remove(0);
    assert_eq!(summary["not_taken"], serde_json::json!({"position": 1, "recorded": 1}));
    assert_eq!(ran.stderr.matches("is a text that holds JSON").count(), 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("line 2: "), "{}", ran.stderr);

    let csv = "id,type,data\n1,T,{}\n2,T,{}\n";
    let ran = world.feed(&["import", "-", "--source", "s"], csv);
    assert_eq!((ran.code, ran.stderr.matches("error").count()), (2, 1), "{}", ran.stderr);
    assert!(ran.stderr.contains("import takes NDJSON"), "{}", ran.stderr);
    assert_eq!(ran.stdout, "0 imported, 0 already there, 0 bad\n");
}

#[test]
fn a_repetition_doubles_nothing_and_keeps_duplicates() {
    let world = World::new();
    // Two equal rows are two events; equal ids are one.
    let id = "\"id\":\"6f0dbd6e-3c1e-4c53-9d0b-5b6c5f5f4d11\"";
    let with_id = format!("{{\"stream\":\"s-2\",\"type\":\"T\",\"data\":7,{id}}}\n");
    let text = [row("s-1", 1), row("s-1", 1), with_id.clone(), with_id].concat();
    world.write("rows.ndjson", &text);
    let ran = world.run(&["--json", "import", "rows.ndjson"]);
    assert_eq!((ran.code, counts(&ran)), (0, [3, 1, 0, 0, 0]), "{}", ran.stdout);
    let ran = world.run(&["--json", "import", "rows.ndjson"]);
    assert_eq!((ran.code, counts(&ran)), (0, [0, 4, 0, 0, 0]), "{}", ran.stdout);
    assert_eq!(world.data("s-1"), [1, 1]);
    assert_eq!(world.data("s-2"), [7]);

    // Lines that were added are imported, also from elsewhere under the same name.
    world.write("longer.ndjson", text + &row("s-1", 2));
    let source = world.path("rows.ndjson").canonicalize().unwrap();
    let ran =
        world.run(&["--json", "import", "longer.ndjson", "--source", source.to_str().unwrap()]);
    assert_eq!((ran.code, counts(&ran)), (0, [1, 4, 0, 0, 0]), "{}", ran.stdout);
}

#[test]
fn a_line_that_was_imported_with_other_content_is_not_lost_silently() {
    let world = World::new();
    world.write("rows.ndjson", [row("s-1", 1), row("s-1", 2), row("s-2", 3)].concat());
    world.ok(&["import", "rows.ndjson"]);
    // Changed data, changed stream, changed type; and white space that changes nothing.
    world.write("rows.ndjson", [row("s-1", " 1"), row("s-1", 9), row("s-3", 3)].concat());
    let ran = world.run(&["--json", "import", "rows.ndjson"]);
    assert_eq!((ran.code, counts(&ran)), (1, [0, 1, 0, 2, 0]), "{}", ran.stdout);
    for (line, how) in rows(&ran.stdout).iter().zip(["with other content", "in another stream"]) {
        assert!(line["reason"].as_str().unwrap().contains(how), "{line}");
    }
    assert_eq!(world.data("s-1"), [1, 2]);
    // As a source of their own they are new.
    let ran = world.run(&["--json", "import", "rows.ndjson", "--source", "second"]);
    assert_eq!((ran.code, counts(&ran)), (0, [3, 0, 0, 0, 0]), "{}", ran.stdout);
}

/// "Other content" was said of the same content in another stream, and the stream that was asked named as the other.
#[test]
fn an_id_that_is_in_use_is_told_with_where() {
    let world = World::new();
    let split = "[[stream]]\nmatch = 'half-{id}'\nlayout = 'split'\npublic = ['/n']\n";
    world.write("policy.toml", split);
    let id = |n: u8| format!("6f0dbd6e-3c1e-4c53-9d0b-5b6c5f5f4d1{n}");
    let with_id = |stream: &str, data: &str, n: u8| {
        format!("{{\"stream\":\"{stream}\",\"type\":\"T\",\"data\":{data},\"id\":\"{}\"}}\n", id(n))
    };
    let first = with_id("s-1", "1", 1) + &with_id("half-1", r#"{"n":1}"#, 2);
    let imported = world.feed(&["import", "-", "--policy", "policy.toml"], first);
    assert_eq!(imported.code, 0, "{}", imported.stderr);
    for (row, how) in [
        (with_id("s-2", "1", 1), "in another stream"),
        (with_id("s-1", "2", 1), "with other content"),
        // One half of it is there, in the same stream.
        (with_id("half-1", r#"{"n":1,"name":"E"}"#, 2), "with other content"),
    ] {
        let ran = world.feed(&["import", "-"], &row);
        assert_eq!(ran.code, 1, "{}", ran.stderr);
        assert!(ran.stderr.contains(&format!("in use by an event {how}")), "{}", ran.stderr);
    }
    let told = world.fails(1, &["append", "s-2", "T", "--data", "1", "--id", &id(1)]);
    assert!(told.contains("already in use (asked for stream s-2)"), "{told}");
}

#[test]
fn rows_of_forgotten_subjects_are_counted_apart() {
    let world = World::new();
    let text = [row("s-1", 1), row("s-2", 2), row("s-1", 3)].concat();
    world.write("rows.ndjson", &text);
    world.ok(&["import", "rows.ndjson"]);
    world.ok(&["forget", "s-1", "--reason", "r", "--yes"]);
    // What is there, shredded, is there.
    let ran = world.run(&["--json", "import", "rows.ndjson"]);
    assert_eq!((ran.code, counts(&ran)), (0, [0, 3, 0, 0, 0]), "{}", ran.stdout);
    // What is new is refused, said, and counted.
    world.write("rows.ndjson", text + &row("s-1", 4) + &row("s-2", 5));
    let ran = world.run(&["--json", "import", "rows.ndjson"]);
    assert_eq!((ran.code, counts(&ran)), (4, [1, 3, 1, 0, 0]), "{}", ran.stdout);
    assert_eq!(rows(&ran.stdout)[0]["line"], 4);
    assert_eq!(world.data("s-2"), [2, 5]);
}

#[test]
fn the_order_of_the_lines_is_the_order_of_positions() {
    let world = World::new();
    let text: String = (0..500).map(|i| row(&format!("s-{}", i * i % 7), i)).collect();
    assert_eq!(world.feed(&["import", "-", "--source", "s"], text).code, 0);
    let all: Vec<u64> =
        world.json(&["read-all"]).iter().map(|row| row["data"].as_u64().unwrap()).collect();
    assert_eq!(all, (0..500).collect::<Vec<_>>());
}

#[test]
fn stdin_needs_a_name_for_rows_without_ids() {
    let world = World::new();
    let ran = world.feed(&["import", "-"], row("s-1", 1));
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("--source"), "{}", ran.stderr);
    let with_id =
        r#"{"stream":"s-1","type":"T","data":7,"id":"6f0dbd6e-3c1e-4c53-9d0b-5b6c5f5f4d11"}"#;
    assert_eq!(world.feed(&["import", "-"], with_id).code, 0);
}

/// It was not found: its path leads to no file.
#[cfg(target_os = "linux")]
#[test]
fn a_pipe_that_a_path_leads_to_is_read_as_stdin_is() {
    let world = World::new();
    for path in ["/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"] {
        let ran = world.feed(&["import", path], row("s-1", 1));
        assert_eq!(ran.code, 2, "{}", ran.stderr);
        assert!(ran.stderr.contains("say --source NAME"), "{}", ran.stderr);
        let ran = world.feed(&["--json", "import", path, "--source", path], row("s-1", 1));
        assert_eq!((ran.code, counts(&ran)), (0, [1, 0, 0, 0, 0]), "{}", ran.stderr);
    }
}

/// Its path gave ids to the rows, and the second row was taken for the first.
#[test]
#[cfg(unix)]
fn a_pipe_with_a_name_gives_no_ids() {
    let world = World::new();
    let made = std::process::Command::new("mkfifo").arg(world.path("pipe")).status();
    assert!(made.unwrap().success());
    let pipe = world.path("pipe");
    let writer = std::thread::spawn(move || std::fs::write(pipe, row("s-1", 1)));
    let ran = world.run(&["import", "pipe"]);
    let _ = writer.join();
    assert!(ran.code == 2 && ran.stderr.contains("say --source NAME"), "{}", ran.stderr);
}

/// Somebody of the stream being forgotten, its id alone made it the event that is there.
#[test]
fn an_id_of_an_event_of_somebody_forgotten_is_no_other_events() {
    let world = World::new();
    world.write("policy.toml", "[[stream]]\nmatch = 's-{id}'\nsubject = 'user-{/by}'\n");
    let id = "6f0dbd6e-3c1e-4c53-9d0b-5b6c5f5f4d11";
    let line = |kind: &str| {
        format!("{{\"stream\":\"s-1\",\"type\":\"{kind}\",\"id\":\"{id}\",\"data\":{{\"by\":9}}}}")
    };
    let import = ["--json", "import", "-", "--policy", "policy.toml"];
    assert_eq!(world.feed(&import, line("Paid")).code, 0);
    world.ok(&["forget", "user-9", "--reason", "asked", "--yes"]);
    let import = ["--json", "import", "-"];
    let again = world.feed(&import, line("Paid"));
    assert_eq!((again.code, counts(&again)), (0, [0, 1, 0, 0, 0]), "{}", again.stderr);
    let other = world.feed(&import, line("TotallyOther"));
    assert!(other.code == 1 && other.stdout.contains("with other content"), "{}", other.stdout);
}

#[test]
fn metadata_bytes_and_subjects_are_kept() {
    let world = World::new();
    let lines = [
        r#"{"stream":"s-1","type":"T","data":1,"metadata":{"by":"me","correlationId":"c"}}"#,
        r#"{"stream":"s-1","type":"T","bytes":"AP/+"}"#,
        r#"{"stream":"s-1","type":"T","data":{"bytes":"AP/+"},"subject":"user-9"}"#,
    ];
    world.write("policy.toml", "[[stream]]\nmatch = 's-{id}'\notherwise = 'named'");
    let import = ["import", "-", "--source", "s", "--policy", "policy.toml"];
    let ran = world.feed(&import, lines.join("\n"));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let rows = world.json(&["read", "s-1"]);
    assert_eq!(rows[0]["metadata"], json!({"by": "me", "correlationId": "c"}));
    assert_eq!(rows[1]["bytes"], "AP/+");
    assert!(rows[1].get("data").is_none());
    assert_eq!(
        (&rows[2]["data"], &rows[2]["subject"]),
        (&json!({"bytes": "AP/+"}), &json!("user-9"))
    );
    assert!(!world.finds("oubliette-data", "\"by\""));
}

/// Killed at any moment, an import is completed by its repetition, with each row once.
#[cfg(unix)]
#[test]
fn a_killed_import_is_completed_by_its_repetition() {
    let world = World::new();
    let text: String = (0..20_000).map(|i| row(&format!("s-{}", i % 50), i)).collect();
    world.write("rows.ndjson", text);
    for kills in 0..4 {
        let mut child = world.spawn(&["import", "rows.ndjson"]);
        std::thread::sleep(std::time::Duration::from_millis(60 * (kills + 1)));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let ran = world.run(&["--json", "import", "rows.ndjson"]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    let [imported, already, ..] = counts(&ran);
    assert_eq!(imported + already, 20_000);
    let all: Vec<u64> =
        world.json(&["read-all"]).iter().map(|row| row["data"].as_u64().unwrap()).collect();
    assert_eq!(all, (0..20_000).collect::<Vec<_>>());
}
