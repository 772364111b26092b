//! Bad input gets a clear error and loses nothing.

use crate::world::{World, rows};

/// A folder with one event that must still be there afterwards.
fn world() -> World {
    let world = World::new();
    world.ok(&["append", "keep-1", "Kept", "--data", r#"{"v":1}"#]);
    world
}

fn unharmed(world: &World) {
    assert_eq!(world.json(&["read-all"]).len(), 1);
    assert_eq!(world.data("keep-1"), [serde_json::json!({"v": 1})]);
}

#[test]
fn odd_names_are_refused_with_the_reason() {
    let world = world();
    for (name, reason) in [
        ("", "must not be empty"),
        (&*"x".repeat(256), "at most 255 bytes"),
        ("a b", "white space"),
        ("a\nb", "white space, control"),
        ("a\u{200b}b", "invisible"),
        ("$all", "must not begin with '$'"),
    ] {
        let told = world.fails(2, &["append", name, "T"]);
        assert!(told.contains(reason), "{name:?}: {told}");
    }
    unharmed(&world);
    // The longest name is a name.
    world.ok(&["append", &"x".repeat(255), "T"]);
}

#[test]
fn names_that_look_like_personal_data_are_refused() {
    let world = world();
    for name in ["erika@example.org", "user-erika@example.org", "account-DE89370400440532013000"] {
        let told = world.fails(1, &["append", name, "T"]);
        assert!(told.contains("refused"), "{told}");
    }
    unharmed(&world);
}

#[test]
fn names_of_a_splits_halves_are_refused() {
    let world = World::new();
    world.write(
        "policy.toml",
        "[[stream]]\nmatch = \"user-{id}\"\nlayout = \"split\"\npublic = [\"/id\"]\n",
    );
    world.ok(&[
        "append",
        "user-1",
        "T",
        "--data",
        r#"{"id":1,"name":"E"}"#,
        "--policy",
        "policy.toml",
    ]);
    for name in ["user-public-1", "user-private-1"] {
        let told = world.fails(1, &["append", name, "T"]);
        assert!(told.contains("split"), "{told}");
    }
    assert_eq!(world.json(&["read-all"]).len(), 1);
}

#[test]
fn payloads_that_are_not_json_are_refused() {
    let world = world();
    for (data, reason) in [
        ("Erika", "not JSON"),
        ("", "not JSON"),
        ("{\"a\":1,}", "not JSON"),
        ("{\"a\":1} x", "not JSON"),
        ("{\"name\":\"Erika\",\"name\":\"Otto\"}", "same key twice"),
    ] {
        let told = world.fails(2, &["append", "s-1", "T", "--data", data]);
        assert!(told.contains(reason), "{data}: {told}");
        assert!(!told.contains("Erika"), "{told}");
        let fed = world.feed(&["append", "s-1", "T", "--data", "-"], data);
        assert_eq!((fed.code, fed.stdout.as_str()), (2, ""), "{}", fed.stderr);
    }
    let fed = world.feed(&["append", "s-1", "T", "--data", "-"], [b'"', 0xff, b'"']);
    assert_eq!(fed.code, 2);
    assert!(fed.stderr.contains("not UTF-8"), "{}", fed.stderr);
    unharmed(&world);
}

#[test]
fn payloads_that_are_too_large_or_too_deep_are_refused() {
    let world = world();
    let large = format!("\"{}\"", "x".repeat(16 * 1024 * 1024));
    let fed = world.feed(&["append", "s-1", "T", "--data", "-"], &large);
    assert_ne!(fed.code, 0);
    assert!(fed.stderr.contains("16777216"), "{}", fed.stderr);
    let deep = format!("{}{}", "[".repeat(129), "]".repeat(129));
    let told = world.fails(2, &["append", "s-1", "T", "--data", &deep]);
    assert!(told.contains("nested deeper than 128"), "{told}");
    unharmed(&world);

    // What is just small enough comes back.
    let fits = format!("\"{}\"", "y".repeat(16 * 1024 * 1024 - 2));
    let fed = world.feed(&["append", "s-1", "T", "--data", "-"], &fits);
    assert_eq!(fed.code, 0, "{}", fed.stderr);
    assert!(world.ok(&["--json", "read", "s-1"]).contains(&fits));
    let fits = format!("{}{}", "[".repeat(128), "]".repeat(128));
    world.ok(&["append", "s-2", "T", "--data", &fits]);
    assert!(world.ok(&["--json", "read", "s-2"]).contains(&fits));
}

#[test]
fn numbers_come_back_exactly_as_they_were() {
    let world = World::new();
    let data = r#"{"a":9007199254740993,"b":1e400,"c":-0.0,"d":1.10,"e":123456789012345678901234567890.5E-7}"#;
    world.ok(&["append", "s-1", "T", "--data", data]);
    assert!(world.ok(&["--json", "read", "s-1"]).contains(&format!("\"data\":{data}")));
    // Through an import, too, and with the spelling of everything else.
    let odd = r#"{ "z" : 1E+2,"a":"\u00e9é\/" , "n":null }"#;
    let row = format!("{{\"stream\":\"s-2\",\"type\":\"T\",\"data\":{odd}}}\n");
    assert_eq!(world.feed(&["import", "-", "--source", "s"], row).code, 0);
    assert!(world.ok(&["--json", "read", "s-2"]).contains(&format!("\"data\":{odd}")));
}

#[test]
fn names_and_members_that_are_the_layers_own_are_refused() {
    let world = world();
    for (event_type, data, metadata) in [
        ("T", r#"{"$sealed":["x"]}"#, "{}"),
        ("T", r#"{"a":1,"$sealed":null}"#, "{}"),
        ("SubjectForgotten", "{}", "{}"),
        ("T", "{}", r#"{"$oubliette":{}}"#),
        ("T", "{}", r#"{"$sealed":[]}"#),
    ] {
        let told =
            world.fails(1, &["append", "s-1", event_type, "--data", data, "--metadata", metadata]);
        assert!(told.contains("refused"), "{told}");
    }
    unharmed(&world);
}

#[test]
fn subjects_that_contradict_the_policy_or_are_missing_are_refused() {
    let world = world();
    world.write(
        "policy.toml",
        "[[stream]]\nmatch = \"repository-{id}\"\nsubject = \"user-{/sender/id}\"\n",
    );
    let append = |data: &str, more: &[&str]| {
        let args = ["append", "repository-1", "T", "--policy", "policy.toml", "--data", data];
        world.run(&[&args, more].concat())
    };
    for (data, more) in [
        (r#"{"sender":{"id":7}}"#, &["--subject", "user-8"] as &[&str]),
        (r#"{"sender":{}}"#, &[]),
        (r#"{"sender":{"id":{"x":1}}}"#, &[]),
        (r#"{"sender":{"id":null}}"#, &[]),
    ] {
        let ran = append(data, more);
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{data}: {}", ran.stderr);
        assert!(ran.stderr.contains("refused"), "{}", ran.stderr);
    }
    unharmed(&world);
    assert_eq!(append(r#"{"sender":{"id":7}}"#, &["--subject", "user-7"]).code, 0);
    assert_eq!(world.json(&["read", "repository-1"])[0]["subject"], "user-7");
}

#[test]
fn policies_with_mistakes_name_file_and_line_and_change_nothing() {
    let world = world();
    world.write("bad.toml", "[[stream]]\nmatch = \"user-{id}\"\nlayuot = \"split\"\n");
    let told = world.fails(1, &["policy", "check", "bad.toml"]);
    assert!(told.contains("bad.toml:3"), "{told}");
    let told = world.fails(1, &["append", "s-1", "T", "--policy", "bad.toml"]);
    assert!(told.contains("bad.toml:3"), "{told}");
    assert!(!world.path("oubliette-data/policy.toml").exists());
    world.fails(1, &["--dir", "new", "append", "s-1", "T", "--policy", "bad.toml"]);
    assert!(!world.path("new").exists());
    unharmed(&world);

    world.write("good.toml", "[[stream]]\nmatch = \"user-{id}\"\nlayout = \"sealed\"\n");
    let checked = world.json(&["policy", "check", "good.toml"]);
    assert_eq!(checked[0]["ok"], true);
    // Reading under another policy does not make it the folder's.
    world.ok(&["read", "keep-1", "--policy", "good.toml"]);
    assert!(!world.path("oubliette-data/policy.toml").exists());
}

#[test]
fn no_message_of_an_import_quotes_a_value_of_the_line() {
    let world = world();
    let lines = [
        r#"{"stream":"Erika Musterfrau","type":"T","data":1}"#,
        r#"{"stream":"s","type":"T","data":{"Erika":1,"Erika":2}}"#,
        r#"{"stream":"t","type":"T","data":{"$sealed":"Erika"}}"#,
        r#"{"stream":"s","type":["Erika"],"data":1}"#,
        r#"{"Erika Musterfrau":1}"#,
        r#""Erika""#,
        "Erika",
    ];
    for json in [&[] as &[&str], &["--json"]] {
        let ran = world.feed(&[json, &["import", "-", "--source", "s"]].concat(), lines.join("\n"));
        assert_eq!(ran.code, 1);
        assert!(!ran.stderr.contains("Erika"), "{}", ran.stderr);
        assert!(!ran.stdout.contains("Erika"), "{}", ran.stdout);
        if !json.is_empty() {
            assert_eq!(rows(&ran.stdout).last().unwrap()["bad"], 7);
        }
    }
    unharmed(&world);
}

#[test]
fn a_key_given_in_the_place_of_its_source_is_not_repeated() {
    let world = world();
    let key = "a7".repeat(32);
    for wrong in [key.clone(), format!("{key}:x"), format!("env:{key}")] {
        for args in [&["--kek", &wrong, "read", "keep-1"][..], &["root", "kek", &wrong]] {
            let told = world.fails(2, args);
            assert!(!told.contains(&key) && told.contains("command:CMD"), "{told}");
            let json = world.run(&[&["--json"], args].concat());
            assert!(!json.stderr.contains(&key) && !json.stdout.contains(&key), "{}", json.stderr);
        }
    }
    unharmed(&world);
}

/// A path or a file that somebody else wrote cleared the screen of who looked at its error.
#[cfg(unix)]
#[test]
fn what_somebody_else_wrote_moves_no_cursor() {
    let world = world();
    let (odd, shown) = ("a\u{1b}[2Jb", "a\\u001b[2Jb");
    world.write("policy.toml", "[[stream]]\nmatch = 'user-{id}'\n\"a\\u001b[2Jb\" = 1\n");
    world.write(odd, "");
    let kek = format!("file:{odd}.nix");
    let made = format!("{odd}.age");
    let to = crate::backup::keygen(&world, "key.txt");
    for (code, args) in [
        (1, &["policy", "check", "policy.toml"][..]),
        (1, &["import", "a\u{1b}[2Jb.nix"]),
        (1, &["--dir", odd, "append", "user-1", "T"]),
        (1, &["--kek", kek.as_str(), "--dir", "new", "append", "user-1", "T"]),
        (0, &["--dir", "a\u{1b}[2Jb-2", "vault", "create"]),
        (0, &["backup", "--to", to.as_str(), "--expires", "9d", made.as_str()]),
    ] {
        let ran = world.run(args);
        let told = format!("{}{}", ran.stdout, ran.stderr);
        assert_eq!(ran.code, code, "{args:?}: {told}");
        assert!(!told.contains('\u{1b}') && told.contains(shown), "{args:?}: {told:?}");
    }
    // For programs it is what it is.
    let json = rows(&world.fails(1, &["--json", "import", "a\u{1b}[2Jb.nix"])).remove(0);
    assert!(json["error"].as_str().unwrap().contains(odd), "{json}");
    unharmed(&world);
}

#[test]
fn a_name_is_no_formula_in_a_spreadsheet() {
    let world = world();
    world.ok(&["append", "=HYPERLINK(1)", "T", "--data", "{}"]);
    world.ok(&["append", "+1", "T", "--data", "{}"]);
    let csv = world.ok(&["inventory", "--format", "csv"]);
    for name in ["=HYPERLINK(1)", "+1"] {
        assert!(csv.contains(&format!(",'{name},'{name},")), "{csv}");
        assert!(!csv.contains(&format!(",{name}")), "{csv}");
    }
    assert!(world.ok(&["--json", "inventory"]).contains("\"=HYPERLINK(1)\""));
}
