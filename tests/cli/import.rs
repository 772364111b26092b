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
    assert_eq!(counts(&ran), [3, 0, 0, 6, 0], "{}", ran.stdout);
    let listed = rows(&ran.stdout);
    let numbers: Vec<u64> = listed.iter().filter_map(|row| row["line"].as_u64()).collect();
    assert_eq!(numbers, [2, 5, 6, 7, 8, 9]);
    for (row, reason) in listed.iter().zip([
        "not JSON",
        "white space",
        "not UTF-8",
        "16777216",
        "refused",
        "refused",
    ]) {
        assert!(row["reason"].as_str().unwrap().contains(reason), "{row}");
    }
    assert_eq!(world.data("s-1"), [1, 2]);
    assert_eq!(world.data("s-2"), [5]);

    let people = world.run(&["import", "rows.ndjson"]);
    assert_eq!(people.stdout, "0 imported, 3 already there, 6 bad\n");
    assert!(
        people.stderr.contains("line 5: `stream`: a stream name must not"),
        "{}",
        people.stderr
    );
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
    for line in &rows(&ran.stdout)[..2] {
        assert!(line["reason"].as_str().unwrap().contains("other content"), "{line}");
    }
    assert_eq!(world.data("s-1"), [1, 2]);
    // As a source of their own they are new.
    let ran = world.run(&["--json", "import", "rows.ndjson", "--source", "second"]);
    assert_eq!((ran.code, counts(&ran)), (0, [3, 0, 0, 0, 0]), "{}", ran.stdout);
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
