//! What programs get: one style of keys, warnings as JSON; and what shells and `man` get.

use std::fs;

use serde_json::Value;

use crate::world::{World, rows};

fn keys(value: &Value, all: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                all.push(name.clone());
                // What people name, and not we.
                if !["data", "metadata", "foreign", "clear"].contains(&name.as_str()) {
                    keys(member, all);
                }
            }
        }
        Value::Array(members) => members.iter().for_each(|member| keys(member, all)),
        _ => {}
    }
}

#[test]
fn all_keys_of_json_have_one_style() {
    let world = World::new();
    world.write("policy.toml", "[[stream]]\nmatch = \"user-{id}\"\npublic = [\"/surname\"]\n");
    let to = crate::backup::keygen(&world, "key.txt");
    let row = r#"{"stream":"user-3","type":"T","data":{},"recorded":"2019-01-31T12:00:00Z"}"#;
    world.write("rows.ndjson", row);
    let mut all = Vec::new();
    for args in [
        &["vault", "create", "--policy", "policy.toml"][..],
        &["append", "user-1", "Registered", "--data", r#"{"a":1}"#, "--metadata", r#"{"b":1}"#],
        &["append", "user-2", "Registered"],
        &["import", "rows.ndjson"],
        &["plan", "user-1"],
        &["forget", "user-1", "--reason", "asked", "--yes"],
        &["plan", "user-1"],
        &["reopen", "user-1"],
        &["read-all"],
        &["subscribe", "--until-caught-up"],
        &["rotate", "user-2"],
        &["rotate", "--root-key"],
        &["rotate", "--older-than", "0s", "--yes"],
        &["inventory"],
        &["erasures"],
        &["erasures", "--stream", "user-1"],
        &["erasures", "export"],
        &["keys"],
        &["keys", "successor", "--out", "next.key"],
        &["backup", "--to", &to, "--expires", "90d", "one.age"],
        &["backup", "list"],
        &["claims"],
        &["verify"],
        &["drill", "."],
        &["demo"],
        &["policy", "check", "policy.toml"],
        &["policy", "try", "--stream", "user-1", "--type", "T"],
        &["policy", "show"],
        &["owners", "rebuild"],
        &["root"],
        &["vault"],
        &["vault", "move", "--pages", "sqlite"],
        &["man", "--out", "pages"],
    ] {
        let told = world.run(&[&["--json"], args].concat());
        assert!([0, 1].contains(&told.code), "{args:?}: {}", told.stderr);
        rows(&told.stdout).iter().chain(&rows(&told.stderr)).for_each(|row| keys(row, &mut all));
    }
    assert!(all.len() > 200, "{}", all.len());
    // Of findings there were some to count.
    assert!(all.contains(&"count".to_owned()), "{all:?}");
    let odd = |key: &&String| {
        !key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    let odd: Vec<_> = all.iter().filter(odd).collect();
    assert!(odd.is_empty(), "{odd:?}");
}

#[test]
fn warnings_of_the_library_are_json_for_programs() {
    let world = World::new();
    world.ok(&["append", "user-1", "T"]);
    let within = world.path("oubliette-data/slot");
    fs::copy(world.root_slot(), &within).unwrap();
    let read = ["--root", within.to_str().unwrap(), "--read-only", "read", "user-1"];
    let people = world.run(&read).stderr;
    assert!(people.contains("WARN") && people.contains("lies in the data folder"), "{people}");
    let programs = rows(&world.run(&[&["--json"], &read[..]].concat()).stderr);
    let warning = &programs[0];
    assert_eq!(warning["level"], "WARN");
    assert!(warning["message"].as_str().unwrap().contains("lies in the data folder"), "{warning}");
    assert_eq!(warning["slot"], within.to_str().unwrap());
}

#[test]
fn shells_complete_commands_and_their_options() {
    let world = World::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = world.ok(&["completions", shell]);
        for word in ["inventory", "until-caught-up", "despite-unsealed"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
        assert!(!script.contains("drill-reader"), "{shell} offers what is not for people");
        // `import --dry-run` is there to say that there is none.
        assert!(!script.contains("What people look for"), "{shell} offers what is hidden");
        let of_import = script.lines().filter(|line| line.contains("--source"));
        for line in of_import {
            assert!(!line.contains("--dry-run"), "{shell}: {line}");
        }
    }
    world.fails(2, &["completions", "ksh"]);
}

#[test]
fn each_command_has_a_manual_page() {
    let world = World::new();
    assert!(world.ok(&["man"]).starts_with(".ie"));
    let told = world.ok(&["man", "--out", "pages"]);
    let pages: Vec<_> = fs::read_dir(world.path("pages")).unwrap().collect();
    assert_eq!(told.trim_end(), format!("{} pages in pages", pages.len()));
    for name in ["oubliette.1", "oubliette-forget.1", "oubliette-root-mirror-add.1"] {
        let page = fs::read_to_string(world.path(&format!("pages/{name}"))).unwrap();
        assert!(page.contains(".TH"), "{name}");
    }
    assert!(!world.path("pages/oubliette-drill-reader.1").exists());
    world.write("file", "");
    world.fails(1, &["man", "--out", "file"]);
}

/// `--vault` and `--store` had no description, and only the first page a version.
#[test]
fn a_manual_page_describes_all_that_it_lists_and_has_a_version() {
    let world = World::new();
    world.ok(&["man", "--out", "pages"]);
    let version = format!("oubliette {}", env!("CARGO_PKG_VERSION"));
    for page in fs::read_dir(world.path("pages")).unwrap() {
        let page = page.unwrap().path();
        let text = fs::read_to_string(&page).unwrap();
        assert!(text.contains(&version), "{}", page.display());
        let lines: Vec<&str> = text.lines().collect();
        // A paragraph of this kind has what is described, and then the description.
        for paragraph in lines.windows(3).filter(|lines| lines[0] == ".TP") {
            let is_described = !paragraph[2].is_empty() && !paragraph[2].starts_with('.');
            assert!(is_described, "{}: {}", page.display(), paragraph[1]);
        }
    }
}
