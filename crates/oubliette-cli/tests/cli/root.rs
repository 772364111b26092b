//! The root slot on the command line: where it is, what wraps it, its mirrors.

use std::fs;

use crate::{skip::skipped, world::World};

fn root_key(world: &World, file: &str) -> Vec<u8> {
    fs::read(world.path(file)).unwrap()[104..136].to_vec()
}

#[test]
fn the_root_slot_is_shown() {
    let world = World::new();
    fs::create_dir(world.path("slots")).unwrap();
    world.ok(&["--root", "slots/a", "--mirror", "slots/b", "append", "s-1", "T"]);
    let shown = &world.json(&["root"])[0];
    assert!(shown["place"].as_str().unwrap().ends_with("slots/a"), "{shown}");
    assert_eq!((&shown["wrapped_by"], &shown["kek"]), (&"nothing".into(), &"none".into()));
    assert_eq!(shown["mirrors"][0]["stale"], false);
    let told = world.ok(&["root"]);
    assert!(told.contains("slots/b") && told.contains("holds the present root"), "{told}");
}

#[test]
fn a_key_encryption_key_is_remembered_by_its_place_alone() {
    let world = World::new();
    let key = "5e".repeat(32);
    world.write("key", format!("{key}\n"));
    world.ok(&["--kek", "file:key", "append", "s-1", "T", "--data", "1"]);
    assert_eq!(world.data("s-1"), [1]);
    assert!(!world.finds("oubliette-data", &key) && !world.finds("state", &key));
    let shown = &world.json(&["root"])[0];
    assert_eq!(shown["wrapped_by"], "key");

    // From a command, and from a variable, which are remembered as well.
    world.ok(&["--kek", "command:cat key", "read", "s-1"]);
    assert_eq!(world.json(&["root"])[0]["kek"], "command:cat key");
    let with_key =
        |args: &[&str]| world.command(args).env("THE_KEY", &key).output().unwrap().status.code();
    assert_eq!(with_key(&["--kek", "env:THE_KEY", "read", "s-1"]), Some(0));
    assert_eq!(with_key(&["read", "s-1"]), Some(0));
    let told = world.fails(1, &["read", "s-1"]);
    assert!(told.contains("env:THE_KEY") && told.contains("not set"), "{told}");
    assert!(!world.finds("oubliette-data", &key));
}

#[test]
fn the_kek_is_changed_and_a_wrong_one_is_told_as_such() {
    let world = World::new();
    world.ok(&["--root", "slot", "--mirror", "mirror", "append", "s-1", "T", "--data", "1"]);
    let clear = root_key(&world, "slot");
    world.write("one", [1; 32]);
    world.write("two", [2; 32]);
    world.ok(&["root", "kek", "file:one"]);
    for file in ["slot", "mirror"] {
        let bytes = fs::read(world.path(file)).unwrap();
        assert!(!bytes.windows(32).any(|window| window == clear), "{file}");
    }
    assert_eq!(world.data("s-1"), [1]);

    let told = world.fails(1, &["--kek", "file:two", "read", "s-1"]);
    assert!(told.contains("not the key-encryption key"), "{told}");
    let told = world.fails(1, &["--kek", "none", "read", "s-1"]);
    assert!(told.contains("wrapped by a key") && told.contains("--kek"), "{told}");
    let told = world.fails(1, &["--kek", "file:three", "read", "s-1"]);
    assert!(told.contains("three") && told.contains("cannot be read"), "{told}");
    let told = world.fails(1, &["--kek", "command:echo oh >&2; exit 4", "read", "s-1"]);
    assert!(told.contains("oh"), "{told}");
    let told = world.fails(2, &["--kek", "hunter2", "read", "s-1"]);
    assert!(told.contains("file:PATH"), "{told}");

    world.ok(&["root", "kek", "none"]);
    assert_eq!(world.data("s-1"), [1]);
    let told = world.fails(1, &["--kek", "file:two", "read", "s-1"]);
    assert!(told.contains("--kek none"), "{told}");
}

#[test]
fn a_passphrase_comes_from_the_environment_or_a_terminal() {
    let world = World::new();
    let run = |passphrase: &str, args: &[&str]| {
        let mut command = world.command(args);
        command.env("OUBLIETTE_PASSPHRASE", passphrase).env("OUBLIETTE_NEW_PASSPHRASE", "cuckoo");
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let made = run("owl", &["--kek", "passphrase", "append", "s-1", "T", "--data", "1"]);
    assert_eq!(made.0, Some(0), "{}", made.1);
    // It is remembered that there is one, and without one nobody can be asked.
    let told = world.fails(2, &["read", "s-1"]);
    assert!(told.contains("OUBLIETTE_PASSPHRASE"), "{told}");
    assert_eq!(run("", &["read", "s-1"]).0, Some(2));
    let wrong = run("eagle", &["read", "s-1"]);
    assert!(wrong.0 == Some(1) && !wrong.1.contains("eagle"), "{}", wrong.1);
    assert_eq!(run("owl", &["read", "s-1"]).0, Some(0));
    assert_eq!(run("owl", &["root", "kek", "passphrase"]).0, Some(0));
    assert_eq!(run("owl", &["read", "s-1"]).0, Some(1));
    assert_eq!(run("cuckoo", &["read", "s-1"]).0, Some(0));
    assert!(!world.finds("oubliette-data", "cuckoo"));
}

/// However its scheme is written, it is never taken for the name of a file.
#[test]
fn a_place_in_a_device_is_no_file() {
    for place in ["tpm:", "TPM:0x1", "pkcs11:token=t", "PKCS11:token=t;object=v?pin-value=1234"] {
        let world = World::new();
        let told = world.fails(1, &["--root", place, "append", "s-1", "T"]);
        assert!(!told.contains("1234"), "{told}");
        assert!(!world.path(place).exists(), "{place}");
    }
}

/// It was called a damaged slot, and a backup was to be restored over it.
#[test]
fn a_file_that_is_no_slot_is_called_so_and_left_alone() {
    let world = World::new();
    world.ok(&["--root", "slot", "append", "s-1", "T"]);
    let key = world.write("key.txt", "AGE-SECRET-KEY-1".repeat(200));
    #[cfg(unix)]
    fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let told = world.fails(1, &["--root", "key.txt", "read", "s-1"]);
    assert!(told.contains("holds no root slot") && told.contains("--root"), "{told}");
    assert!(!told.contains("damaged") && !told.contains("backup"), "{told}");
    assert_eq!(fs::read_to_string(&key).unwrap(), "AGE-SECRET-KEY-1".repeat(200));
    world.ok(&["--root", "slot", "read", "s-1"]);
}

/// Sled panicked.
#[cfg(target_os = "linux")]
#[test]
#[allow(clippy::print_stderr)]
fn a_clock_before_1970_is_refused_before_anything_is_opened() {
    let world = World::new();
    world.ok(&["append", "s-1", "T"]);
    let source = "#define _GNU_SOURCE\n#include <dlfcn.h>\n#include <time.h>\n\
        int clock_gettime(clockid_t c, struct timespec *t) {\n\
        int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, \"clock_gettime\");\n\
        int done = real(c, t);\n\
        if (c == CLOCK_REALTIME) t->tv_sec -= 4000000000L;\n\
        return done; }\n";
    world.write("clock.c", source);
    let mut cc = std::process::Command::new("cc");
    cc.args(["-shared", "-fPIC", "-o", "clock.so", "clock.c", "-ldl"])
        .current_dir(world.dir.path());
    if !cc.output().is_ok_and(|made| made.status.success()) {
        eprintln!("SKIPPED: there is no C compiler to turn the clock back with");
        return;
    }
    for args in [&["append", "s-1", "T"][..], &["--dir", "new", "append", "s-1", "T"]] {
        let mut command = world.command(args);
        let ran: crate::world::Ran =
            command.env("LD_PRELOAD", world.path("clock.so")).output().unwrap().into();
        assert_eq!(ran.code, 1, "{}", ran.stderr);
        assert!(ran.stderr.contains("before 1970"), "{}", ran.stderr);
        assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    }
    assert_eq!(world.json(&["read", "s-1"]).len(), 1);
}

/// It was not noted any more, so that forgetting was done, and its own file kept the root before.
#[test]
#[cfg(unix)]
fn a_mirror_that_leads_to_the_slot_keeps_the_erasure_pending() {
    let world = World::new();
    fs::create_dir(world.path("usb")).unwrap();
    world.ok(&["--root", "slot", "--mirror", "usb/mirror", "append", "s-1", "T"]);
    world.ok(&["append", "s-2", "T"]);
    fs::rename(world.path("usb"), world.path("away")).unwrap();
    fs::create_dir(world.path("usb")).unwrap();
    fs::hard_link(world.path("slot"), world.path("usb/mirror")).unwrap();
    let ran = world.run(&["forget", "s-1", "--reason", "r", "--yes"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{}", ran.stderr);
    assert!(ran.stderr.contains("pending") && ran.stderr.contains("usb/mirror"), "{}", ran.stderr);
    assert!(ran.stderr.contains("leads to the root slot itself"), "{}", ran.stderr);
    let told = world.fails(1, &["root", "mirror", "retire", "usb/mirror"]);
    assert!(told.contains("leads to the root slot itself"), "{told}");
    fs::remove_dir_all(world.path("usb")).unwrap();
    fs::rename(world.path("away"), world.path("usb")).unwrap();
    assert!(world.ok(&["erasures"]).contains("done"));
    assert_eq!(world.json(&["root"])[0]["mirrors"][0]["stale"], false);
}

/// The user's settings named it still, and so it was made again, with the root.
#[test]
fn a_mirror_whose_file_cannot_be_removed_is_none_any_more() {
    let world = World::new();
    fs::create_dir(world.path("usb")).unwrap();
    world.ok(&["--root", "slot", "--mirror", "usb/mirror", "append", "s-1", "T"]);
    let change = |flag: &str| {
        let changed =
            std::process::Command::new("chattr").arg(flag).arg(world.path("usb")).output();
        changed.is_ok_and(|changed| changed.status.success())
    };
    if !change("+a") {
        let why = "a folder that nothing may be taken from (chattr +a) takes a privilege, and a file system for it";
        return skipped("OUBLIETTE_REQUIRE_DISKS", why);
    }
    let told = world.run(&["root", "mirror", "retire", "usb/mirror"]);
    assert!(change("-a"));
    assert!(told.code == 1 && told.stderr.contains("its file stays, remove it"), "{}", told.stderr);
    assert_eq!(world.json(&["root"])[0]["mirrors"], serde_json::json!([]));
    world.ok(&["forget", "s-1", "--reason", "r", "--yes"]);
    let left = fs::read(world.path("usb/mirror")).unwrap();
    assert!(left.iter().all(|byte| *byte == 0), "it got a root again");
}

#[test]
fn a_mirror_that_is_away_keeps_the_erasure_pending_by_name() {
    let world = World::new();
    world.ok(&["--root", "slot", "append", "s-1", "T"]);
    world.ok(&["append", "s-2", "T"]);
    fs::create_dir(world.path("usb")).unwrap();
    world.ok(&["root", "mirror", "add", "usb/mirror"]);
    fs::rename(world.path("usb"), world.path("away")).unwrap();
    let ran = world.run(&["forget", "s-1", "--reason", "r", "--yes"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{}", ran.stderr);
    assert!(ran.stderr.contains("pending") && ran.stderr.contains("usb/mirror"), "{}", ran.stderr);
    // Once, though the root changed several times.
    let warned = ran.stderr.matches("a mirror of the root slot cannot be written").count();
    assert_eq!(warned, 1, "{}", ran.stderr);
    // Nobody is told that keys are lost.
    assert!(ran.stderr.contains("is its device attached?"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("no key of this vault"), "{}", ran.stderr);
    assert!(ran.stderr.contains("retire FILE --lost"), "{}", ran.stderr);
    assert!(world.ok(&["erasures"]).contains("mirror pending"));
    // It was green everywhere else.
    let plan = world.ok(&["plan", "s-1"]);
    assert!(plan.contains("pending") && !plan.contains("nothing to do"), "{plan}");
    assert_eq!(world.json(&["plan", "s-1"])[0]["mirrors"][0]["stale"], true);
    let verified = world.run(&["verify"]);
    assert!(verified.code == 1 && verified.stdout.contains("mirror stale"), "{}", verified.stdout);
    let told = world.fails(1, &["root", "mirror", "retire", "usb/mirror"]);
    assert!(told.contains("is its device attached?"), "{told}");
    assert!(!told.contains("no key of this vault"), "{told}");
    assert_eq!(world.json(&["root"])[0]["mirrors"][0]["stale"], true);
    // The rest goes on.
    world.ok(&["append", "s-2", "T"]);
    // It comes back: any command that opens the vault finishes it.
    fs::rename(world.path("away"), world.path("usb")).unwrap();
    assert!(world.ok(&["erasures"]).contains("done"));
    assert!(world.ok(&["plan", "s-1"]).contains("nothing to do"));
    assert_eq!(world.run(&["verify"]).code, 0);
    assert_eq!(world.run(&["forget", "s-1", "--reason", "r", "--yes"]).code, 0);

    // The slot is lost: the folder remembers where its mirror is.
    fs::remove_file(world.path("slot")).unwrap();
    world.ok(&["read", "s-2"]);
    assert!(world.path("slot").is_file());
    world.ok(&["root", "mirror", "retire", "usb/mirror"]);
    assert!(!world.path("usb/mirror").exists());
    assert!(world.ok(&["root"]).contains("mirrors     none"));
}

#[test]
fn a_root_slot_in_the_data_folder_is_refused() {
    let world = World::new();
    for args in [["--root", "oubliette-data/root"], ["--mirror", "oubliette-data/vault/mirror"]] {
        let told = world.fails(1, &[&args, &["append", "s-1", "T"] as &[&str]].concat());
        assert!(told.contains("whoever copies the folder"), "{told}");
    }
    world.ok(&["append", "s-1", "T"]);
    // One that was moved there is warned of, at every opening.
    fs::rename(world.root_slot(), world.path("oubliette-data/root")).unwrap();
    let ran = world.run(&["--root", "oubliette-data/root", "read", "s-1"]);
    assert!(ran.code == 0 && ran.stderr.contains("lies in the data folder"), "{}", ran.stderr);
}

#[cfg(not(feature = "pkcs11"))]
#[test]
fn a_token_without_the_feature_is_told_as_such() {
    let world = World::new();
    let told = world.fails(1, &["--root", "pkcs11:token=t;object=o", "append", "s-1", "T"]);
    assert!(told.contains("feature `pkcs11`"), "{told}");
}

#[cfg(not(feature = "tpm"))]
#[test]
fn a_tpm_without_the_feature_is_told_as_such() {
    let world = World::new();
    let told = world.fails(1, &["--root", "tpm:0x01500016", "append", "s-1", "T"]);
    assert!(told.contains("feature `tpm`"), "{told}");
}
