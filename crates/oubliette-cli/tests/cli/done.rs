//! What is done is told as done, though something small fails after it.

use std::fs::{self, File};

use crate::{
    skip::skipped,
    world::{Ran, World, files},
};

/// Runs with a standard output that takes nothing.
fn unheard(world: &World, args: &[&str]) -> Ran {
    let full = File::options().write(true).open("/dev/full").unwrap();
    world.command(args).stdout(full).output().unwrap().into()
}

#[test]
fn what_was_done_is_said_where_the_answer_cannot_be_printed() {
    let world = World::new();
    world.ok(&["append", "user-1", "T"]);
    world.ok(&["append", "user-2", "T"]);
    world.write("rows", r#"{"stream":"user-3","type":"T","data":{}}"#);
    world.write("key", [7; 32]);
    world.write("policy.toml", "");
    let recipient = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj";
    let backup = &["backup", "--to", recipient, "--expires", "9d", "one.age"];
    let cases: [(&[&str], &str); 12] = [
        (&["append", "user-1", "T"], "appended to user-1 at revision 1, position "),
        (&["import", "rows"], "1 imported, 0 already there, 0 bad; "),
        (&["forget", "user-1", "--reason", "asked", "--yes"], "user-1 is forgotten: 1 key of "),
        (&["reopen", "user-1"], "user-1 is admitted again, under generation 2; "),
        (&["rotate", "user-2"], "user-2 is sealed under generation 2 from now on; "),
        (&["rotate", "--older-than", "0s", "--yes"], "rotated; copies of the root slot are "),
        (&["rotate", "--root-key"], "the root key is new, of epoch "),
        (backup, "is in one.age: about "),
        (&["keys", "successor", "--out", "next.key"], "and its secret is in next.key; "),
        (&["policy", "adopt", "policy.toml"], "the folder works under this policy now, digest "),
        (
            &["root", "kek", "file:key"],
            "the root key is wrapped by the new KEK now (--kek 'file:key')",
        ),
        (&["vault", "move", "--pages", "sqlite"], "pages moved from sled to sqlite"),
    ];
    for (args, did) in cases {
        let told = unheard(&world, args);
        assert_eq!(told.code, 1, "{args:?}\n{}", told.stderr);
        assert!(told.stderr.contains(did), "{args:?}\n{}", told.stderr);
        let why = "; the answer could not be printed: No space left on device";
        assert!(told.stderr.contains(why), "{args:?}\n{}", told.stderr);
    }
    assert_eq!(world.json(&["read", "user-1"])[0]["shredded"][0]["fields"][0], "*");

    // For programs as well; and what changes nothing has only the error to tell.
    let told = unheard(&world, &["--json", "append", "user-2", "T"]).stderr;
    assert!(told.contains(r#"{"error":"appended to user-2 at revision 1,"#), "{told}");
    let told = unheard(&world, &["read", "user-2"]).stderr;
    assert!(told.contains("error: No space left on device"), "{told}");
}

#[test]
fn an_import_goes_on_where_its_bad_lines_cannot_be_printed() {
    let world = World::new();
    let bad = "{\"stream\":\"bad-1\",\"type\":\"T\"}\n".repeat(1500);
    world.write("rows", bad + r#"{"stream":"good-1","type":"T","data":1}"#);
    let told = unheard(&world, &["import", "rows", "--json"]);
    assert_eq!(told.code, 1);
    let said = "1 imported, 0 already there, 1500 bad; the answer could not be printed: No space left on device";
    assert!(told.stderr.contains(said), "{}", told.stderr);
    assert_eq!(world.data("good-1"), [1]);
}

#[test]
fn help_that_cannot_be_printed_is_a_failure() {
    let world = World::new();
    for args in [&["--help"][..], &["--version"], &["help", "append"], &["append", "-h"]] {
        let told = unheard(&world, args);
        assert_eq!(told.code, 1, "{args:?}");
        let why = "error: the answer could not be printed: No space left on device";
        assert!(told.stderr.starts_with(why), "{args:?}\n{}", told.stderr);
    }
}

#[test]
fn a_kek_that_cannot_be_noted_is_in_force_and_told_with_how_to_give_it() {
    let world = World::new();
    world.write("one", [1; 32]);
    world.write("two", [2; 32]);
    world.ok(&["--kek", "file:one", "append", "s-1", "T", "--data", "1"]);
    let settings = files(&world.path("config")).remove(0);
    let change = |flag: &str| {
        let changed = std::process::Command::new("chattr").arg(flag).arg(&settings).output();
        changed.is_ok_and(|changed| changed.status.success())
    };
    // Its folder can be written to, so that a rehearsal succeeds.
    if !change("+i") {
        let why = "a file that nobody may replace (chattr +i) takes a privilege, and a file system for it";
        return skipped("OUBLIETTE_REQUIRE_DISKS", why);
    }
    let changed = world.run(&["root", "kek", "file:two"]);
    let unnoted = world.run(&["read", "s-1"]);
    assert!(change("-i"));
    assert_eq!(changed.code, 0, "{}", changed.stderr);
    assert!(changed.stdout.contains("wrapped by  a key (file:two)"), "{}", changed.stdout);
    let told = "what wraps the root key now could not be noted for you: ";
    assert!(changed.stderr.contains(told), "{}", changed.stderr);
    assert!(changed.stderr.contains("say --kek 'file:two' with every"), "{}", changed.stderr);
    assert_eq!(unnoted.code, 1, "{}", unnoted.stderr);
    world.ok(&["--kek", "file:two", "root"]);
    assert_eq!(world.data("s-1"), [1]);
    assert!(fs::read_to_string(&settings).unwrap().contains("two"));
}
