//! The vectors of `docs/format.md`, opened by another implementation: `tests/vectors/check.py`,
//! with Python's `cryptography`.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::{env, process::Command};

/// Whether this machine must have Python: a machine that checks changes must, a contributor's
/// may not.
fn required() -> bool {
    env::var_os("CI").is_some() || env::var("OUBLIETTE_REQUIRE_PYTHON").is_ok_and(|v| v == "1")
}

#[test]
fn python_opens_every_good_vector_and_no_bad_one() {
    let found = Command::new("python3").args(["-c", "import cryptography"]).output();
    if !found.is_ok_and(|found| found.status.success()) {
        assert!(!required(), "python3 with the package `cryptography` is needed here");
        eprintln!(
            "SKIPPED: python3 with the package `cryptography` is not installed, so that nobody \
             but this program itself has checked the vectors of docs/format.md"
        );
        return;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/check.py");
    let checked = Command::new("python3").arg(script).output().unwrap();
    assert!(
        checked.status.success(),
        "{}{}",
        String::from_utf8_lossy(&checked.stdout),
        String::from_utf8_lossy(&checked.stderr)
    );
    let told = String::from_utf8(checked.stdout).unwrap();
    for kind in [
        "good",
        "bad",
        "hole",
        "announcement",
        "history",
        "tombstone",
        "signature",
        "value",
        "position",
        "row",
        "list",
        "successor",
        "backup",
    ] {
        assert!(told.contains(&format!("{kind} vector")), "{told}");
    }
    for kind in ["tokens", "tombstones", "announcements", "lists", "successors", "backup"] {
        assert!(told.contains(&format!("{kind}: each of")), "{told}");
    }
}
