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

/// It was noted before it was looked at, and the folder could not be made any more.
#[cfg(unix)]
#[test]
fn a_mirror_that_cannot_be_is_not_noted_and_the_vault_is_made_without_it() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    let foreign = |name: &str| {
        let file = world.write(name, "somebody's file");
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
    };
    foreign("diary");
    let create = |dir: &str, more: &[&str]| -> Vec<String> {
        let root = format!("{dir}.root");
        let args = [&["--dir", dir, "--root", &root], more, &["vault", "create"]].concat();
        args.into_iter().map(str::to_owned).collect()
    };
    let run = |args: &[String]| world.run(&args.iter().map(String::as_str).collect::<Vec<_>>());
    let mirrors = |dir: &str| -> Vec<String> {
        let root = world.json(&["--dir", dir, "root"]).remove(0);
        let names = root["mirrors"].as_array().unwrap().iter().map(|mirror| &mirror["name"]);
        names.map(|name| name.as_str().unwrap().to_owned()).collect()
    };
    for (dir, mirror, why) in
        [("one", "diary", "it is another file"), ("two", "two.root", "the root slot itself")]
    {
        let ran = run(&create(dir, &["--mirror", mirror]));
        assert!(ran.code == 1 && ran.stderr.contains(why), "{}", ran.stderr);
        assert!(!ran.stderr.contains("damaged"), "{}", ran.stderr);
        assert_eq!(run(&create(dir, &[])).code, 0);
        assert!(mirrors(dir).is_empty());
    }
    assert_eq!(fs::read(world.path("diary")).unwrap(), b"somebody's file");

    // What an attempt noted that failed later gives way to what the next one says.
    let path = |name: &str| world.path(name).to_str().unwrap().to_owned();
    let bad_key = ["--kek", "file:absent", "--mirror", "first"];
    for (dir, more, expected) in [
        ("three", &["--kek", "none", "--mirror", "second"][..], vec![path("second")]),
        ("four", &["--kek", "none"][..], vec![path("first")]),
        ("five", &["--kek", "none"][..], vec![]),
    ] {
        assert_eq!(run(&create(dir, &bad_key)).code, 1);
        if dir == "five" {
            foreign("first");
        }
        let ran = run(&create(dir, more));
        assert_eq!(ran.code, 0, "{dir}: {}", ran.stderr);
        assert_eq!(mirrors(dir), expected, "{dir}");
        let _ = fs::remove_file(world.path("first"));
    }
}

/// The second replaced the policy of the first.
#[cfg(target_os = "linux")]
#[test]
fn of_two_that_make_a_vault_at_once_one_is_told_that_it_is_there() {
    let world = World::new();
    world.write("first.toml", "[[stream]]\nmatch = \"first-{id}\"\n");
    world.write("second.toml", "[[stream]]\nmatch = \"second-{id}\"\n");
    // The second one waits for the lock of whoever makes the folder.
    fs::create_dir(world.path("bank")).unwrap();
    let lock = fs::File::create(world.path("bank/.making")).unwrap();
    lock.lock().unwrap();
    let create = ["--dir", "bank", "--policy", "second.toml", "vault", "create"];
    let mut second = world.spawn(&create);
    let pid = second.id().to_string();
    let waits = |line: &str| line.contains("-> FLOCK") && line.split(' ').any(|word| word == pid);
    while !fs::read_to_string("/proc/locks").unwrap().lines().any(waits) {
        assert!(second.try_wait().unwrap().is_none(), "it does not wait");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    world.ok(&["--dir", "made", "--policy", "first.toml", "vault", "create"]);
    for entry in fs::read_dir(world.path("made")).unwrap() {
        let entry = entry.unwrap();
        fs::rename(entry.path(), world.path("bank").join(entry.file_name())).unwrap();
    }
    drop(lock);
    let ran: crate::world::Ran = second.wait_with_output().unwrap().into();
    assert!(ran.code == 1 && ran.stderr.contains("already"), "{}{}", ran.stdout, ran.stderr);
    assert!(world.ok(&["--dir", "bank", "policy", "show"]).contains("first-{id}"));
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
