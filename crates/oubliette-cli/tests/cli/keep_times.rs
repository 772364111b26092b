//! `import --keep-times`: rows keep when they were recorded, and their revisions.

use serde_json::{Value, json};

use crate::world::World;

fn said(row: &Value) -> [Value; 5] {
    ["stream", "revision", "recorded", "id", "data"].map(|name| row[name].clone())
}

#[test]
fn an_export_comes_back_with_its_times_and_revisions() {
    let world = World::new();
    for (stream, n) in [("user-1", 0), ("user-2", 1), ("user-1", 2)] {
        world.ok(&["append", stream, "T", "--data", &format!("{{\"n\":{n}}}")]);
    }
    let rows = world.json(&["read-all"]);
    let text: String = rows.iter().map(|row| format!("{row}\n")).collect();
    world.write("rows.ndjson", &text);
    let import = ["--dir", "copy", "import", "rows.ndjson", "--keep-times"];
    let told = world.run(&import);
    assert!(told.code == 0 && told.stdout.contains("3 imported"), "{}{}", told.stdout, told.stderr);
    assert!(told.stderr.contains("not taken: `position` of 3 rows"), "{}", told.stderr);
    let copied = world.json(&["--dir", "copy", "read-all"]);
    assert_eq!(
        copied.iter().map(said).collect::<Vec<_>>(),
        rows.iter().map(said).collect::<Vec<_>>()
    );
    assert!(copied.iter().all(|row| row["restored"].is_string()));
    assert!(world.ok(&import).contains("3 already there"));
    assert!(!world.finds("copy/events", "\"n\":"));
    // Without it both are new, and it is said how they would be kept.
    let told = world.run(&["--dir", "new", "import", "rows.ndjson"]);
    assert!(told.stderr.contains("`recorded` of 3 rows") && told.stderr.contains("--keep-times"));
    let new = world.json(&["--dir", "new", "read-all"]);
    assert_ne!(new[0]["recorded"], rows[0]["recorded"]);
}

#[test]
fn what_cannot_be_kept_is_a_bad_row() {
    let world = World::new();
    let row = |stream: &str, more: Value| {
        let mut row = json!({"stream": stream, "type": "T", "data": {"owner": "user-7"}});
        row.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        format!("{row}\n")
    };
    let at = |revision: u64| json!({"recorded": "2019-01-31T12:00:00.25Z", "revision": revision});
    let text = [
        row("a-1", at(0)),
        row("a-1", json!({"recorded": "2019-01-31T12:00:00Z"})),
        row("b-1", json!({"recorded": "yesterday", "revision": 0})),
        row("c-1", json!({"recorded": "2019-01-31T12:00:00Z", "revision": -1})),
        // A gap, which is kept; what would come into it, and what comes behind that.
        row("d-1", at(0)),
        row("d-1", at(2)),
        row("d-1", at(1)),
        row("d-1", at(3)),
        // One without a time, among others.
        row("e-1", json!({})),
        row("e-1", at(1)),
        // Whose it is, says nothing but the row.
        row("f-1", json!({"recorded": "2019-01-31T12:00:00Z", "revision": 0, "subject": "user-9"})),
        // And what the policy finds by itself.
        row("g-1", json!({"recorded": "2019-01-31T12:00:00Z", "revision": 0, "subject": "g-1"})),
    ]
    .concat();
    world.write("rows.ndjson", text);
    world.write("policy.toml", "[[stream]]\nmatch = \"f-{id}\"\notherwise = \"named\"\n");
    let args = ["--policy", "policy.toml", "--json", "import", "rows.ndjson", "--keep-times"];
    let ran = world.run(&args);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    let rows = crate::world::rows(&ran.stdout);
    let bad = |line: u64| {
        let found = rows.iter().find(|row| row["line"] == line);
        found.map(|row| (row["outcome"].clone(), row["reason"].as_str().unwrap().to_owned()))
    };
    for (line, outcome, why) in [
        (2, "bad", "`revision`, which is missing"),
        (3, "bad", "no time such as"),
        (4, "bad", "no number from 0"),
        (7, "bad", "conflict"),
        (8, "held", "an earlier line"),
        (11, "bad", "--keep-times keeps no such event"),
    ] {
        let (found, reason) = bad(line).unwrap_or_else(|| panic!("line {line}: {rows:?}"));
        assert!(found == outcome && reason.contains(why), "line {line}: {found} {reason}");
    }
    let summary = rows.last().unwrap();
    assert_eq!((&summary["imported"], &summary["bad"]), (&6.into(), &5.into()), "{summary}");
    let kept = world.json(&["read", "e-1"]);
    assert_eq!(kept[1]["recorded"], "2019-01-31T12:00:00.25Z");
    assert_ne!(kept[0]["recorded"], kept[1]["recorded"]);
    world.fails(2, &["import", "rows.ndjson", "--keep-times", "--with-holes"]);
}

#[test]
fn rows_of_the_forgotten_are_refused_and_others_kept() {
    let world = World::new();
    let row = |user: u32, revision: u32| {
        let id = format!("6f0dbd6e-3c1e-4c53-9d0b-5b6c5f5f{user:02}{revision:02}");
        format!(
            "{{\"stream\":\"user-{user}\",\"type\":\"T\",\"data\":{{}},\"id\":\"{id}\",\
             \"recorded\":\"2019-01-31T12:00:00Z\",\"revision\":{revision}}}\n"
        )
    };
    world.write("first.ndjson", [row(1, 0), row(2, 0)].concat());
    world.ok(&["import", "first.ndjson", "--keep-times"]);
    world.ok(&["forget", "user-1", "--reason", "asked", "--yes"]);
    world.write("more.ndjson", [row(1, 0), row(2, 0), row(1, 2), row(2, 1)].concat());
    let ran = world.run(&["import", "more.ndjson", "--keep-times"]);
    assert_eq!(ran.code, 4, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("1 imported, 2 already there, 0 bad, 1 refused"), "{}", ran.stdout);
}

/// An id and a revision are no statement: what is there says something else.
#[test]
fn a_row_that_says_another_thing_than_what_is_there_is_bad() {
    let world = World::new();
    let row = |user: u32, what: &str, recorded: &str| {
        format!(
            "{{\"stream\":\"user-{user}\",\"type\":\"T\",\"data\":{{\"n\":{what}}},\"revision\":0,\
             \"id\":\"6f0dbd6e-3c1e-4c53-9d0b-5b6c5f5f00{user:02}\",\"recorded\":\"{recorded}T12:00:00Z\"}}\n"
        )
    };
    let day = "2019-01-31";
    world.write("first.ndjson", (1..5).map(|user| row(user, "1.50", day)).collect::<String>());
    world.ok(&["import", "first.ndjson", "--keep-times"]);
    world.ok(&["forget", "user-4", "--reason", "asked", "--yes"]);
    let more =
        [row(1, "1.5e0", day), row(2, "7", day), row(3, "1.5", "2020-01-31"), row(4, "7", day)];
    world.write("more.ndjson", more.concat());
    let ran = world.run(&["import", "more.ndjson", "--keep-times"]);
    assert_eq!(ran.code, 1, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("0 imported, 2 already there, 2 bad"), "{}", ran.stdout);
    assert!(ran.stderr.contains("line 2:") && ran.stderr.contains("its payload is another"));
    assert!(ran.stderr.contains("line 3:") && ran.stderr.contains("at another time"));
}
