//! `vault`: making one, attaching one that a program made, and where its pages are.

use std::{fs, path::Path};

use oubliette::{
    EventType, ExpectedRevision, Json, NewEvent, Oubliette, Policy, StreamName, Vault,
    store::{EventStoreExt, SqliteStore},
};

use crate::world::World;

#[test]
fn the_pages_move_to_sqlite_and_everything_reads_as_before() {
    let world = World::new();
    world.ok(&["append", "s-1", "T", "--data", "\"kept\""]);
    world.ok(&["append", "s-2", "T", "--data", "\"gone\""]);
    world.ok(&["forget", "s-2", "--reason", "asked", "--yes"]);
    assert!(world.ok(&["vault"]).contains("sled"));
    let told = world.ok(&["vault", "move", "--pages", "sqlite"]);
    assert!(told.contains("from sled to sqlite"), "{told}");
    assert!(world.ok(&["vault", "move", "--pages", "sqlite"]).contains("already"));
    assert!(world.ok(&["--json", "vault"]).contains(r#"{"pages":"sqlite"}"#));
    assert_eq!(world.data("s-1"), ["kept"]);
    world.ok(&["append", "s-3", "T", "--data", "\"new\""]);
    world.ok(&["verify"]);
    world.ok(&["vault", "move", "--pages", "sled"]);
    assert_eq!(world.data("s-3"), ["new"]);
    assert!(
        world.fails(2, &["vault", "move", "--pages", "redb"]).contains("not sled and not sqlite")
    );
}

#[test]
fn a_vault_is_made_where_there_is_none_and_its_policy_is_adopted() {
    let world = World::new();
    world.write("policy.toml", "[[stream]]\nmatch = \"user-{id}\"\npublic = [\"/id\"]\n");
    let create = ["--policy", "policy.toml", "vault", "create", "--pages", "sqlite"];
    let told = world.run(&create);
    assert!(
        told.code == 0 && told.stdout.contains(" is made, in the data folder"),
        "{}",
        told.stdout
    );
    assert!(told.stderr.contains("its root slot is"), "{}", told.stderr);
    assert!(world.ok(&["vault"]).contains("sqlite"));
    assert!(world.ok(&["policy", "show"]).contains("user-{id}"));
    assert!(world.json(&["read-all"]).is_empty());
    world.ok(&["append", "user-1", "T", "--data", r#"{"id":1}"#]);
    assert!(world.ok(&["--no-vault", "read", "user-1"]).contains(r#"{"id":1}"#));
    let again = world.fails(1, &create);
    assert!(again.contains("is a data folder already"), "{again}");
    assert_eq!(world.data("user-1"), [serde_json::json!({"id": 1})]);
    // A mistake leaves nothing behind.
    world.write("bad.toml", "stream = 1");
    world.fails(1, &["--dir", "new", "--policy", "bad.toml", "vault", "create"]);
    world.fails(2, &["--dir", "new", "vault", "create", "--pages", "redb"]);
    assert!(!world.path("new").exists());
}

/// What a program makes that uses the library.
fn made_by_a_program(world: &World, name: &str, policy: &str) {
    let at = |part: &str| world.path(&format!("{name}/{part}"));
    fs::create_dir_all(at("")).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let vault = Vault::create(&at("keys"), &*at("root")).unwrap();
        vault.adopt_policy(policy).await.unwrap();
        let store = SqliteStore::create(at("store")).unwrap();
        let policy = Policy::parse(policy).unwrap();
        let store = Oubliette::open(store, vault, policy).await.unwrap();
        for stream in ["user-1", "user-2"] {
            let data = Json::parse(r#"{"name":"Erika"}"#).unwrap();
            let event = NewEvent::new(EventType::new("Registered").unwrap(), data);
            let stream = StreamName::new(stream).unwrap();
            store.append_to(&stream, ExpectedRevision::Any, vec![event]).await.unwrap();
        }
    });
}

fn attach<'a>(name: &'a str, of: &'a [String; 3], more: &[&'a str]) -> Vec<&'a str> {
    let [root, vault, store] = of;
    let places = ["--dir", name, "--root", root, "--vault", vault, "--store", store];
    [&places[..], more, &["vault", "attach"]].concat()
}

#[test]
fn a_vault_and_a_store_that_a_program_made_are_attached_and_found_again() {
    let world = World::new();
    made_by_a_program(&world, "bank", "");
    made_by_a_program(&world, "shop", "");
    let places = |root: &str, of: &str| {
        [format!("{root}/root"), format!("{root}/keys"), format!("{of}/store")]
    };
    // The events of another vault.
    let other = places("bank", "shop");
    let told = world.fails(1, &attach("folder", &other, &[]));
    assert!(
        told.contains("do not belong to the vault") && told.contains("another vault"),
        "{told}"
    );
    assert!(!world.path("folder").exists());
    // What is not there is not made.
    let nowhere = places("bank", "nowhere");
    let told = world.fails(1, &attach("folder", &nowhere, &[]));
    assert!(told.contains("no events at ") && told.contains("nowhere/store"), "{told}");
    let [root, _, store] = &places("bank", "bank");
    let no_vault = [root.clone(), "nowhere/keys".to_owned(), store.clone()];
    let told = world.fails(1, &attach("folder", &no_vault, &[]));
    assert!(told.contains("no vault at ") && told.contains("nowhere/keys"), "{told}");
    let [_, keys, store] = &places("bank", "bank");
    let no_slot = ["--dir", "folder", "--vault", keys, "--store", store, "vault", "attach"];
    assert!(world.fails(1, &no_slot).contains("--root"));

    let own = places("bank", "bank");
    let told = world.run(&attach("folder", &own, &[]));
    assert!(
        told.code == 0 && told.stdout.contains(" is attached, "),
        "{}{}",
        told.stdout,
        told.stderr
    );
    assert!(told.stderr.contains("no policy is adopted in this vault"), "{}", told.stderr);
    assert!(!told.stderr.contains("lies in the data folder"), "{}", told.stderr);
    assert!(world.fails(1, &attach("folder", &own, &[])).contains("data folder already"));
    // From then on it is found.
    let named = ["--dir", "folder"];
    assert!(world.ok(&[&named[..], &["read", "user-1"]].concat()).contains("Erika"));
    world.ok(&[&named[..], &["forget", "user-1", "--reason", "asked", "--yes"]].concat());
    assert!(
        world.ok(&[&named[..], &["verify"]].concat()).contains("everything is as it should be")
    );
    // A slot that somebody put beside the pages, which are elsewhere.
    fs::copy(world.path("bank/root"), world.path("bank/keys/root")).unwrap();
    let read = ["--root", "bank/keys/root", "--read-only", "read", "user-2"];
    let told = world.run(&[&named[..], &read].concat()).stderr;
    assert!(told.contains("or in that of the vault"), "{told}");
    // And one in which each event is in two halves, whose first is a private one.
    let split = r#"
        [[stream]]
        match  = "user-{id}"
        layout = "split"
        public = ["/id"]
    "#;
    made_by_a_program(&world, "halves", split);
    let other = places("bank", "halves");
    let told = world.fails(1, &attach("other", &other, &[]));
    assert!(told.contains("do not belong to the vault"), "{told}");
    world.ok(&attach("other", &places("halves", "halves"), &[]));
    assert!(world.ok(&["--dir", "other", "read", "user-1"]).contains("Erika"));
    assert!(
        !world.finds("bank", "Erika") && Path::new(&world.path("folder/oubliette.json")).exists()
    );
    // Another folder over the same store says so.
    let shop = ["bank/root", "bank/keys", "shop/store"].map(str::to_owned);
    world.fails(1, &attach("two", &shop, &[]));
}

#[test]
fn the_policy_of_an_attached_vault_is_the_adopted_or_the_given_one() {
    let world = World::new();
    let policy = "[[stream]]\nmatch = \"user-{id}\"\npublic = [\"/id\"]\n";
    made_by_a_program(&world, "bank", policy);
    let own = ["bank/root", "bank/keys", "bank/store"].map(str::to_owned);
    let told = world.run(&attach("folder", &own, &[]));
    assert!(told.code == 0 && !told.stderr.contains("no policy"), "{}", told.stderr);
    assert_eq!(fs::read_to_string(world.path("folder/policy.toml")).unwrap(), policy);
    world.ok(&["--dir", "folder", "append", "user-3", "T", "--data", r#"{"id":3}"#]);

    made_by_a_program(&world, "shop", "");
    world.write("policy.toml", policy);
    let own = ["shop/root", "shop/keys", "shop/store"].map(str::to_owned);
    world.ok(&attach("two", &own, &["--policy", "policy.toml"]));
    assert_eq!(world.ok(&["--dir", "two", "policy", "show"]), policy);
}
