//! `oubliette demo`, as somebody runs it who has just cloned the repository.

use std::{
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

/// The steps of the story, in their order.
const STEPS: [&str; 17] = [
    "accounts",
    "raw",
    "read",
    "conflict",
    "split",
    "archive",
    "plan",
    "forget",
    "shredded",
    "tombstones",
    "public-half",
    "totals",
    "refused",
    "others",
    "inventory",
    "old-copy",
    "end",
];

fn demo(place: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_oubliette"))
        .arg("demo")
        .args(args)
        .env("TMPDIR", place)
        .current_dir(place)
        .output()
        .unwrap()
}

#[test]
fn it_tells_the_whole_story_and_leaves_nothing_behind() {
    let place = tempfile::tempdir().unwrap();
    let output = demo(place.path(), &[]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    for number in 1..=STEPS.len() {
        let begins = format!("{number:>2}  ");
        assert!(text.lines().any(|line| line.starts_with(&begins)), "step {number}\n{text}");
    }
    assert!(!text.contains('✗') && !text.contains('\x1b'), "{text}");
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0, "the folder is removed");
}

#[test]
fn as_json_it_is_one_object_for_each_step_and_nothing_else() {
    let place = tempfile::tempdir().unwrap();
    let output = demo(place.path(), &["--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let steps: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    let names: Vec<&str> = steps.iter().map(|step| step["step"].as_str().unwrap()).collect();
    assert_eq!(names, STEPS);
    for (number, step) in (1..).zip(&steps) {
        assert_eq!(step["number"], number);
        let checks = step["checks"].as_array().unwrap();
        assert!(!checks.is_empty(), "{step} checks something");
        assert!(checks.iter().all(|check| check["holds"] == true), "{step}");
    }

    let fact = |step: &str, fact: &str| {
        let step = steps.iter().find(|found| found["step"] == step).unwrap();
        step["facts"][fact].clone()
    };
    let searched = fact("raw", "searched");
    let events = |text: &str| {
        let found = searched.as_array().unwrap().iter().find(|found| found["text"] == text);
        found.unwrap()["events"].as_u64().unwrap()
    };
    assert!(events("Quistorp") == 0 && events("turquoise") > 0, "{searched}");
    assert!(fact("conflict", "conflict").as_str().unwrap().contains("expected revision 4"));
    assert_eq!(fact("plan", "plan")["subject"], "user-456");
    assert_eq!(fact("forget", "erased")["keys"], 4);
    assert_eq!(fact("forget", "erased")["streams"], 4);
    assert_eq!(fact("inventory", "totals")["forgotten"], 3);
    let folder = fact("accounts", "folder");
    assert!(!Path::new(folder.as_str().unwrap()).exists());
}
