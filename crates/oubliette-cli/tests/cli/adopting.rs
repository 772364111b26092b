//! The policy that a folder works under is the one that was adopted, whatever its file says.

use std::fs;

use serde_json::json;

use crate::world::World;

const OPEN: &str = "[[stream]]\nmatch = \"user-{id}\"\nlayout = \"inline\"\npublic = [\"*\"]\n";
const CAREFUL: &str =
    "[[stream]]\nmatch = \"user-{id}\"\nlayout = \"inline\"\npublic = [\"/id\"]\n";
const RULES: &str = "[[stream]]\nmatch = \"user-{id}\"\n";
const PAID: &str = "[[stream]]\nmatch = \"payment-{id}\"\nowner = [{ event = \"Paid\", replace = \"{/payer}\" }]\n";
const OWNED: &str = concat!(
    "[[stream]]\nmatch = \"user-{id}\"\n[[stream]]\nmatch = \"order-{id}\"\n",
    "owner = [{ event = \"OrderPlaced\", add = \"{/owner}\" }]\n",
    "[[stream]]\nmatch = \"payment-{id}\"\nowner = [{ event = \"Paid\", replace = \"{/payer}\" }]\n",
);
const FILE: &str = "oubliette-data/policy.toml";
const ERIKA: &str = r#"{"id":1,"name":"Erika"}"#;

fn append(world: &World, more: &[&str]) -> crate::world::Ran {
    world.run(&[&["append", "user-1", "Registered", "--data", ERIKA], more].concat())
}

fn readable_in_the_store(world: &World) -> bool {
    world.json(&["--no-vault", "read", "user-1"]).iter().any(|row| row["data"]["name"] == "Erika")
}

/// Whether an append is refused, and not merely warned about.
fn refused(world: &World, word: &str) {
    let ran = append(world, &[]);
    assert!(ran.code == 1 && ran.stderr.contains(word), "{}: {}", ran.code, ran.stderr);
}

#[test]
fn a_policy_that_somebody_changed_seals_nothing_until_it_is_adopted() {
    let world = World::new();
    world.write("careful.toml", CAREFUL);
    assert_eq!(append(&world, &["--policy", "careful.toml"]).code, 0);
    assert_eq!(fs::read_to_string(world.path(FILE)).unwrap(), CAREFUL);

    world.ok(&["append", "user-2", "Registered"]);
    world.write(FILE, OPEN);
    refused(&world, "`oubliette policy adopt`");
    assert_eq!(world.run(&["import", "/dev/null"]).code, 1);
    assert!(!readable_in_the_store(&world));
    // Reading goes on, and tells of it; so does forgetting.
    let read = world.run(&["--json", "read", "user-1"]);
    assert!(read.code == 0 && read.stdout.contains("Erika"), "{}", read.stderr);
    assert!(read.stderr.contains("policy adopt"), "{}", read.stderr);
    assert_eq!(world.ok(&["policy", "show"]), CAREFUL);
    world.ok(&["forget", "user-2", "--reason", "asked", "--yes"]);

    // Put back, adopted, or removed.
    world.write(FILE, format!("# a comment\n{CAREFUL}"));
    assert_eq!(append(&world, &[]).code, 0);
    fs::remove_file(world.path(FILE)).unwrap();
    refused(&world, "policy.toml is absent");
    world.write(FILE, "public_metadata = \"no list\"\n");
    refused(&world, "policy.toml:1");
    assert_eq!(world.run(&["read", "user-1"]).code, 0);
    assert!(!readable_in_the_store(&world));
    world.write(FILE, OPEN);
    // It does not say first that it should be said.
    let adopted = world.run(&["policy", "adopt"]);
    assert!(adopted.code == 0 && !adopted.stderr.contains("policy adopt"), "{}", adopted.stderr);
    assert_eq!(append(&world, &[]).code, 0);
    assert!(readable_in_the_store(&world));
    assert_eq!(world.run(&["read", "user-1"]).stderr, "");
}

#[test]
fn a_policy_file_in_a_folder_without_one_is_adopted_by_name() {
    let world = World::new();
    assert_eq!(append(&world, &[]).code, 0);
    world.write(FILE, OPEN);
    refused(&world, "policy adopt");
    world.ok(&["policy", "adopt"]);
    assert_eq!(append(&world, &[]).code, 0);
    // Another file is copied into the folder.
    world.write("careful.toml", CAREFUL);
    let adopted = world.json(&["policy", "adopt", "careful.toml"]);
    assert_eq!(adopted[0]["adopted"], world.json(&["policy", "show"])[0]["digest"]);
    assert_eq!(fs::read_to_string(world.path(FILE)).unwrap(), CAREFUL);
    world.write("bad.toml", "[[stream]]\nmatch = 1\n");
    assert!(world.fails(1, &["policy", "adopt", "bad.toml"]).contains("bad.toml:2"));
    assert_eq!(world.ok(&["policy", "show"]), CAREFUL);
}

/// The folder's policy was replaced even when the append was refused.
#[test]
fn a_policy_is_adopted_with_the_event_or_not_at_all() {
    let world = World::new();
    world.write("open.toml", OPEN);
    world.write("careful.toml", CAREFUL);
    assert_eq!(append(&world, &["--policy", "careful.toml"]).code, 0);
    let refused = append(&world, &["--policy", "open.toml", "--expect", "7"]);
    assert_eq!(refused.code, 3);
    assert_eq!(fs::read_to_string(world.path(FILE)).unwrap(), CAREFUL);
    assert_eq!(append(&world, &[]).code, 0);
    assert!(!readable_in_the_store(&world));

    let bad = json!({"stream": "user-1", "type": "SubjectForgotten", "data": {}}).to_string();
    let import = ["import", "-", "--source", "s", "--policy", "open.toml"];
    assert_eq!(world.feed(&import, &bad).code, 1);
    assert_eq!(world.ok(&["policy", "show"]), CAREFUL);
    let good = json!({"stream": "user-2", "type": "T", "data": {}}).to_string();
    assert_eq!(world.feed(&import, format!("{bad}\n{good}\n")).code, 1);
    assert_eq!(world.ok(&["policy", "show"]), OPEN);
}

/// What was put back is what was there, to the byte; and nothing where there was nothing.
#[test]
fn a_policy_whose_events_are_all_refused_leaves_no_trace() {
    let world = World::new();
    world.write("open.toml", OPEN);
    let nothing = append(&world, &["--policy", "open.toml", "--expect", "7"]);
    assert_eq!(nothing.code, 3);
    assert!(!world.path(FILE).exists());
    assert_eq!(world.ok(&["policy", "show"]), "");

    world.write("careful.toml", CAREFUL);
    assert_eq!(append(&world, &["--policy", "careful.toml"]).code, 0);
    let commented = format!("# a comment\n{CAREFUL}");
    world.write(FILE, &commented);
    assert_eq!(append(&world, &["--policy", "open.toml", "--expect", "7"]).code, 3);
    assert_eq!(fs::read_to_string(world.path(FILE)).unwrap(), commented);
    // The first batch is refused as a whole, and the second.
    let bad = json!({"stream": "user-1", "type": "SubjectForgotten", "data": {}}).to_string();
    let import = ["import", "-", "--source", "s", "--policy", "open.toml"];
    assert_eq!(world.feed(&import, [bad.clone(), bad].join("\n")).code, 1);
    assert_eq!(fs::read_to_string(world.path(FILE)).unwrap(), commented);
    assert_eq!(world.ok(&["policy", "show"]), CAREFUL);
}

/// A restored vault works under the policy that it knew, and tells of a newer one.
#[test]
fn the_adopted_policy_is_in_a_backup() {
    let world = World::new();
    world.write("careful.toml", CAREFUL);
    assert_eq!(append(&world, &["--policy", "careful.toml"]).code, 0);
    let to = crate::backup::keygen(&world, "key.txt");
    world.ok(&["backup", "--to", &to, "--expires", "90d", "copy.age"]);
    world.write("open.toml", OPEN);
    world.ok(&["policy", "adopt", "open.toml"]);
    fs::remove_dir_all(world.path("oubliette-data/vault")).unwrap();
    let ran = world.run(&["restore", "copy.age", "--identity", "key.txt", "--overwrite-slot"]);
    assert!(ran.code == 0 && ran.stderr.contains("policy adopt"), "{}", ran.stderr);
    assert_eq!(world.ok(&["policy", "show"]), CAREFUL);
    assert_eq!(append(&world, &[]).code, 1);
    assert_eq!(fs::read_to_string(world.path(FILE)).unwrap(), OPEN);
}

/// No backup has the file. Without it every command said to adopt what was not there.
#[test]
fn a_restoration_writes_the_policy_file_where_it_is_absent() {
    let world = World::new();
    world.write("careful.toml", CAREFUL);
    assert_eq!(append(&world, &["--policy", "careful.toml"]).code, 0);
    let to = crate::backup::keygen(&world, "key.txt");
    world.ok(&["backup", "--to", &to, "--expires", "90d", "copy.age"]);
    fs::remove_dir_all(world.path("oubliette-data/vault")).unwrap();
    fs::remove_file(world.path(FILE)).unwrap();
    let ran = world.run(&["restore", "copy.age", "--identity", "key.txt", "--overwrite-slot"]);
    assert!(ran.code == 0 && ran.stderr.contains("written anew"), "{}", ran.stderr);
    assert_eq!(fs::read_to_string(world.path(FILE)).unwrap(), CAREFUL);
    assert_eq!(append(&world, &[]).code, 0);
}

/// It took the owner rules from the vault, and a later erasure missed people.
#[test]
fn an_absent_policy_file_is_not_adopted_as_an_empty_policy() {
    let world = World::new();
    world.write("owned.toml", OWNED);
    assert_eq!(append(&world, &["--policy", "owned.toml"]).code, 0);
    fs::remove_file(world.path(FILE)).unwrap();

    let told = world.run(&["read", "user-1"]).stderr;
    assert!(told.contains("policy.toml is absent") && told.contains("policy show"), "{told}");
    let refused = world.fails(1, &["policy", "adopt"]);
    assert!(refused.contains("oubliette policy show"), "{refused}");
    assert!(!world.path(FILE).exists());

    // As the sentence says: back, or without rules.
    let shown = world.ok(&["policy", "show"]);
    assert_eq!(shown, OWNED);
    world.write(FILE, shown);
    assert_eq!(append(&world, &[]).code, 0);
    world.write(FILE, "");
    let adopted = world.run(&["policy", "adopt"]);
    assert_eq!(adopted.code, 0, "{}", adopted.stderr);
    assert_eq!(world.ok(&["policy", "show"]), "");
    fs::remove_file(world.path(FILE)).unwrap();
    assert_eq!(append(&world, &[]).code, 0);
}

#[test]
fn adopting_names_the_owner_rules_that_no_longer_count() {
    let world = World::new();
    world.write("owned.toml", OWNED);
    let first = world.run(&["append", "user-1", "Registered", "--policy", "owned.toml"]);
    assert_eq!(first.code, 0, "{}", first.stderr);
    // The other rule stays, in another order.
    world.write(FILE, ["# fewer\n", PAID, RULES].concat());
    let fewer = world.run(&["policy", "adopt"]);
    assert_eq!(fewer.code, 0, "{}", fewer.stderr);
    let gone = "no longer counts: `order-{id}`: OrderPlaced add `{/owner}`";
    assert!(fewer.stderr.contains(gone), "{}", fewer.stderr);
    assert_eq!(fewer.stderr.matches("no longer counts").count(), 1, "{}", fewer.stderr);
    let again = world.run(&["policy", "adopt"]);
    assert!(!again.stderr.contains("no longer counts"), "{}", again.stderr);
    world.write(FILE, "");
    let none = world.run(&["--json", "policy", "adopt"]);
    assert!(none.stderr.contains("`payment-{id}`: Paid replace `{/payer}`"), "{}", none.stderr);
}
