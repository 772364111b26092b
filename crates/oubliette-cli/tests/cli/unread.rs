//! What becomes of a command where nobody reads what it prints: `oubliette … | head -1`.

use std::{
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader, PipeWriter},
};

use crate::world::{Ran, World};

/// The pipe to a reader who has gone.
fn to_nobody() -> PipeWriter {
    std::io::pipe().unwrap().1
}

fn unread(world: &World, args: &[&str]) -> Ran {
    world.command(args).stdout(to_nobody()).output().unwrap().into()
}

/// What is printed before anybody can be missed.
const BUFFERED: usize = 64 << 10;

/// So many lines, each with its number in the place of `N`.
fn lines(count: usize, line: &str) -> String {
    (0..count).fold(String::new(), |mut text, n| {
        writeln!(text, "{}", line.replace('N', &n.to_string())).unwrap();
        text
    })
}

/// It is told at once where its answer is long, and changes nothing where nobody reads that.
fn fails_as_if_read(world: &World, args: &[&str]) {
    let left = unread(world, args);
    let read = world.run(args);
    assert!(read.stdout.len() > BUFFERED, "{args:?}: {} bytes", read.stdout.len());
    assert_eq!((left.code, read.code), (1, 1), "{args:?}\n{}", left.stderr);
    assert_eq!(left.stderr, read.stderr, "{args:?}");
}

#[test]
fn an_import_whose_bad_lines_nobody_reads_imports_the_good_ones() {
    let bad = lines(1500, r#"{"stream":"bad-N","type":"T"}"#);
    let rows = bad + &lines(40, r#"{"stream":"good-N","type":"T","data":{}}"#);
    let world = World::new();
    world.write("rows", &rows);
    let left = unread(&world, &["import", "rows", "--json"]);
    assert_eq!(left.code, 1, "{}", left.stderr);
    assert_eq!(world.json(&["read-all"]).iter().filter(|row| row["type"] == "T").count(), 40);
    fails_as_if_read(&world, &["import", "rows", "--json"]);
}

#[test]
fn a_verify_whose_findings_nobody_reads_still_says_that_there_are_some() {
    let world = World::new();
    world.ok(&["append", "user-1", "T"]);
    world.ok(&["forget", "user-1", "--reason", "asked", "--yes"]);
    world.write("rows", lines(400, r#"{"stream":"client-N","type":"T","data":{"name":"Erika"}}"#));
    world.ok(&["--dir", "other", "import", "rows"]);
    let manifest = fs::read_to_string(world.path("oubliette-data/oubliette.json")).unwrap();
    let vault = manifest.split("\"vault\": \"").nth(1).unwrap()[..36].to_owned();
    let db = rusqlite::Connection::open(world.path("other/events/events.db")).unwrap();
    db.execute("UPDATE meta SET value = ?1 WHERE key = 'vault'", [&vault]).unwrap();
    drop(db);
    fails_as_if_read(&world, &["--store", "other/events", "verify", "--json"]);
}

#[test]
fn a_drill_whose_findings_nobody_reads_still_says_that_there_are_some() {
    let world = World::new();
    world.ok(&["append", "user-1", "T"]);
    world.write("needles", "Erika Musterfrau\n");
    fs::create_dir(world.path("logs")).unwrap();
    for n in 0..400 {
        world.write(&format!("logs/{n}.log"), "hello Erika Musterfrau");
    }
    fails_as_if_read(&world, &["drill", "logs", "--needles", "needles", "--json"]);
}

#[test]
fn a_policy_that_refuses_events_is_refused_though_nobody_reads_which() {
    let world = World::new();
    // Refusals are told together; what fits no event is not.
    let pointers = lines(80, &format!("  \"/{}N\",", "a".repeat(900)));
    let rule = format!("[[stream]]\nmatch = \"n{{id}}\"\npublic = [\n{pointers}]\n");
    world.write("policy.toml", rule);
    world.write("rows", lines(10, r#"{"stream":"nN@example.com","type":"T","data":{}}"#));
    fails_as_if_read(&world, &["policy", "check", "policy.toml", "--sample", "rows", "--json"]);
}

#[test]
fn owners_are_noted_though_nobody_reads_which_are_left() {
    let world = World::new();
    world.write(
        "policy.toml",
        "[[stream]]\nmatch = \"user-{id}\"\n\n[[stream]]\nmatch = \"account-{id}\"\npublic = [\"/owner\"]\n\
         owner = [ { event = \"Opened\", add = \"{/owner}\" } ]\n",
    );
    let user = "{\"stream\":\"user-4\",\"type\":\"T\",\"data\":{}}\n".to_owned();
    let owned = r#"{"stream":"account-N","type":"Opened","data":{"owner":"user-4"}}"#;
    let living = r#"{"stream":"account-x","type":"Opened","data":{"owner":"user-5"}}"#;
    world.write("rows", user + &lines(1300, owned) + living);
    world.ok(&["import", "rows"]);
    world.ok(&["policy", "adopt", "policy.toml"]);
    world.ok(&["forget", "user-4", "--reason", "asked", "--yes"]);
    let left = unread(&world, &["owners", "rebuild", "--json"]);
    assert_eq!(left.code, 1, "{}", left.stderr);
    fails_as_if_read(&world, &["owners", "rebuild", "--json"]);
    // It was noted by the first.
    world.ok(&["plan", "user-5"]);
}

#[test]
fn what_nobody_reads_is_done_and_no_error() {
    let world = World::new();
    world.write("policy.toml", "");
    let recipient = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj";
    for args in [
        &["append", "user-1", "T"][..],
        &["append", "user-2", "T"],
        &["rotate", "user-2"],
        &["backup", "--to", recipient, "--expires", "9d", "one.age"],
        &["keys", "successor", "--out", "next.key"],
        &["policy", "adopt", "policy.toml"],
        &["forget", "user-1", "--reason", "asked", "--yes"],
        &["verify"],
        &["read-all"],
        &["subscribe", "--until-caught-up"],
        &["inventory"],
        &["erasures", "export"],
        &["keys"],
        &["root"],
        &["--help"],
    ] {
        let left = unread(&world, args);
        assert_eq!(left.code, 0, "{args:?}\n{}", left.stderr);
        assert!(!left.stderr.contains("error"), "{args:?}\n{}", left.stderr);
    }
    assert_eq!(world.json(&["read", "user-1"])[0]["shredded"][0]["fields"][0], "*");
    assert_eq!(world.json(&["backup", "list"]).len(), 1);
    assert!(world.path("next.key").exists());
    // A failure is one, whoever reads.
    for args in [&["read", "user-9", "--after", "1"][..], &["append", "user-1", "T"]] {
        let (left, read) = (unread(&world, args), world.run(args));
        assert_eq!((left.code, &left.stderr), (read.code, &read.stderr), "{args:?}");
        assert_ne!(read.code, 0);
    }
}

#[test]
fn a_subscription_whose_reader_has_gone_ends_and_gives_the_vault_back() {
    let world = World::new();
    world.ok(&["append", "user-1", "T"]);
    let mut holder = world.spawn(&["subscribe", "--json"]);
    let mut read = BufReader::new(holder.stdout.take().unwrap()).lines();
    assert!(read.any(|line| line.unwrap().contains("caught_up")));
    // Nor does anybody wait for the vault, for a reader who has gone.
    let waiting = unread(&world, &["--wait", "20s", "read", "user-1"]);
    assert_eq!(waiting.code, 0, "{}", waiting.stderr);
    drop(read);
    let appended = world.run(&["--wait", "20s", "append", "user-1", "T"]);
    let _ = holder.kill();
    let ended = holder.wait().unwrap();
    assert_eq!(appended.code, 0, "{}", appended.stderr);
    assert_eq!(ended.code(), Some(0));
}
