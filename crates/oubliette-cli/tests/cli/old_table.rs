//! The guide's chapter on old tables, done as it says.

use std::fs;

use super::world::World;

/// What is in the chapter's blocks of this kind.
fn block(chapter: &str, kind: &str) -> String {
    let (_, rest) = chapter.split_once(&format!("```{kind}\n")).unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

#[test]
fn the_chapter_on_old_tables_works_as_it_is_written() {
    let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/guide.md");
    let guide = fs::read_to_string(guide).unwrap();
    let (_, chapter) = guide.split_once("\n## Bring an old table in\n").unwrap();
    let chapter = chapter.split_once("\n## ").unwrap().0;
    let world = World::new();
    world.write("old.ndjson", block(chapter, "json"));
    world.write("policy.toml", block(chapter, "toml"));
    let mut last = String::new();
    let mut commands = 0;
    for line in block(chapter, "console").lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let Some(["$", "oubliette", args @ ..]) = words.get(..) else { panic!("{line}") };
        last = world.ok(args);
        commands += 1;
    }
    assert_eq!(commands, 5);
    assert!(last.contains("account-7") && last.contains("its owner user-1"), "{last}");

    // Repeated, it doubles nothing; and the person can be forgotten.
    let again = world.ok(&["import", "old.ndjson", "--source", "accounts-2026"]);
    assert!(again.starts_with("0 imported, 3 already there"), "{again}");
    world.ok(&["forget", "user-1", "--reason", "ticket 1", "--yes"]);
    let left = world.ok(&["--json", "read-all"]);
    assert!(!left.contains("Erika") && !left.contains("DE89"), "{left}");
    assert!(left.contains("120.00"), "{left}");
    // The source is in clear, as the chapter says.
    assert!(fs::read_to_string(world.path("old.ndjson")).unwrap().contains("Erika"));
}
