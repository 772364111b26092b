//! A TPM's counter that bears witness against a rollback of vault and slot together.

use std::{fs, os::unix::fs::PermissionsExt};

use age::secrecy::ExposeSecret;
use oubliette::vault::{OpenAs, OpenVaultError, SlotConfig, SlotError, TpmIndex, Vault};
use serde_json::Value;

use super::{Tpm, copy, forget, key_of};
use crate::{
    common::folders::empty,
    world::{Ran, World, rows},
};

const COUNTER: &str = "tpm:0x01500020";

/// A data folder whose slot, in a file, is bound to a counter.
struct Bound {
    tpm: Tpm,
    world: World,
}

impl Bound {
    fn new() -> Option<Self> {
        let bound = Self { tpm: Tpm::start()?, world: World::new() };
        for user in ["user-1", "user-2"] {
            bound.ok(&["append", user, "UserRegistered", "--data", r#"{"name":"Erika"}"#]);
        }
        bound.ok(&["root", "counter", "bind", COUNTER]);
        Some(bound)
    }

    fn run(&self, args: &[&str]) -> Ran {
        self.run_past("", args)
    }

    /// With a folder before all others in which programs are looked for.
    fn run_past(&self, folder: &str, args: &[&str]) -> Ran {
        let others = std::env::var("PATH").unwrap();
        let path = format!("{}:{others}", self.world.path(folder).display());
        let mut command = self.world.command(args);
        command.env("TPM2TOOLS_TCTI", self.tpm.tcti()).env("PATH", path).output().unwrap().into()
    }

    fn ok(&self, args: &[&str]) -> String {
        let ran = self.run(args);
        assert_eq!(ran.code, 0, "{args:?}\n{}{}", ran.stdout, ran.stderr);
        ran.stdout
    }

    fn forget(&self, who: &str) -> Value {
        rows(&self.ok(&["--json", "forget", who, "--reason", "asked", "--yes"])).remove(0)
    }

    fn slot(&self) -> Value {
        rows(&self.ok(&["--json", "root"])).remove(0)
    }

    /// In the folder `name`: instead of raising the counter this is done.
    fn instead_of_raising(&self, name: &str, script: &str) {
        self.instead_of("tpm2_nvincrement", name, script);
    }

    fn instead_of(&self, tool: &str, name: &str, script: &str) {
        fs::create_dir(self.world.path(name)).unwrap();
        let tool = self.world.write(&format!("{name}/{tool}"), script);
        fs::set_permissions(tool, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// What the image of a machine has.
    fn image(&self) -> tempfile::TempDir {
        let image = tempfile::tempdir().unwrap();
        for part in ["oubliette-data", "state"] {
            copy(&self.world.path(part), &image.path().join(part));
        }
        image
    }

    fn put_back(&self, image: &tempfile::TempDir, parts: &[&str]) {
        for part in parts {
            empty(&self.world.path(part));
            copy(&image.path().join(part), &self.world.path(part));
        }
    }

    /// A key pair in `key.txt`; its recipient.
    fn keygen(&self) -> String {
        let identity = age::x25519::Identity::generate();
        self.world.write("key.txt", identity.to_string().expose_secret());
        identity.to_public().to_string()
    }

    fn refused(&self, args: &[&str]) -> String {
        let ran = self.run(args);
        assert_eq!(ran.code, 1, "{}{}", ran.stdout, ran.stderr);
        assert!(!ran.stdout.contains("Erika"), "{}", ran.stdout);
        ran.stderr
    }
}

const RESTORE: [&str; 5] = ["restore", "copy.age", "--identity", "key.txt", "--overwrite-slot"];
const EVERYTHING: [&str; 2] = ["oubliette-data", "state"];

#[test]
fn an_image_of_vault_and_slot_that_is_put_back_is_refused() {
    let Some(bound) = Bound::new() else { return };
    let image = bound.image();
    bound.forget("user-1");
    let exported = bound.ok(&["erasures", "export"]);
    bound.world.write("erasures.ndjson", &exported);
    for parts in [&EVERYTHING[..], &["oubliette-data/vault", "state"]] {
        bound.put_back(&image, parts);
        let told = bound.refused(&["read", "user-1"]);
        for word in ["rolled back together", COUNTER, "--past-counter", "root counter bind"] {
            assert!(told.contains(word), "{word}: {told}");
        }
    }
    // The owner knows what they do, and goes on.
    bound.put_back(&image, &EVERYTHING);
    let replayed = bound.run(&["--past-counter", "erasures", "replay", "erasures.ndjson"]);
    assert_eq!(replayed.code, 0, "{}", replayed.stderr);
    // Applied, and not done: nothing bears witness of it yet.
    assert!(replayed.stderr.contains("note: the erasure is pending"), "{}", replayed.stderr);
    bound.ok(&["--past-counter", "root", "counter", "bind", COUNTER]);
    assert!(!bound.ok(&["read", "user-1"]).contains("Erika"));
    assert!(bound.ok(&["read", "user-2"]).contains("Erika"));
    bound.forget("user-2");
    // The image is what it was.
    bound.put_back(&image, &EVERYTHING);
    assert!(bound.refused(&["read", "user-2"]).contains("rolled back together"));
}

/// Both branches of a vault that was put back on purpose have an end. The one that was left must not
/// look like the newest, at whatever height the other is.
#[test]
fn the_end_of_the_branch_that_was_left_is_refused_from_the_binding_on() {
    let Some(bound) = Bound::new() else { return };
    let early = bound.image();
    for _ in 0..4 {
        bound.ok(&["rotate", "--root-key"]);
    }
    let late = bound.image();
    bound.put_back(&early, &EVERYTHING);
    bound.ok(&["--past-counter", "read", "user-1"]);
    let forgetting = ["--past-counter", "forget", "user-1", "--reason", "asked", "--yes"];
    for _ in 0..2 {
        // Asked again it is no more done than before.
        let told = bound.refused(&forgetting);
        assert!(told.contains("pending") && told.contains("ahead"), "{told}");
    }
    assert!(bound.ok(&["--past-counter", "erasures"]).contains("pending"));
    bound.ok(&["--past-counter", "root", "counter", "bind", COUNTER]);
    bound.ok(&["erasures"]);
    let newest = bound.image();
    bound.put_back(&late, &EVERYTHING);
    assert!(bound.refused(&["read", "user-1"]).contains("rolled back together"));
    bound.put_back(&newest, &EVERYTHING);
    assert!(!bound.ok(&["read", "user-1"]).contains("Erika"));
}

#[test]
fn a_vault_that_catches_up_with_its_counter_is_still_behind() {
    let Some(bound) = Bound::new() else { return };
    let early = bound.image();
    bound.ok(&["rotate", "--root-key"]);
    bound.ok(&["rotate", "--root-key"]);
    let late = bound.image();
    bound.put_back(&early, &EVERYTHING);
    for _ in 0..3 {
        bound.ok(&["--past-counter", "rotate", "--root-key"]);
        assert_eq!(
            rows(&bound.ok(&["--json", "--past-counter", "root"]))[0]["counter"]["stale"],
            true
        );
    }
    bound.put_back(&late, &EVERYTHING);
    assert!(bound.refused(&["read", "user-1"]).contains("rolled back together"));
}

#[test]
fn a_slot_has_one_counter_at_a_time() {
    let Some(bound) = Bound::new() else { return };
    let image = bound.image();
    let other = ["root", "counter", "bind", "tpm:0x01500021"];
    assert!(bound.refused(&other).contains("root counter release"));
    assert_eq!(bound.slot()["counter"]["name"], COUNTER);
    // What broke off in the middle is finished when it is done again.
    bound.instead_of("tpm2_nvundefine", "failing", "#!/bin/sh\nexit 1\n");
    assert_eq!(bound.run_past("failing", &["root", "counter", "release"]).code, 1);
    bound.ok(&["root", "counter", "release"]);
    assert!(!bound.tpm.tool(&["tpm2_nvreadpublic", "0x01500020"]).status.success());
    bound.ok(&other);
    bound.forget("user-1");
    bound.put_back(&image, &EVERYTHING);
    assert!(bound.refused(&["read", "user-1"]).contains("cannot be used"));
}

#[test]
fn a_mirror_that_missed_the_binding_is_pending() {
    let Some(bound) = Bound::new() else { return };
    bound.ok(&["root", "counter", "release"]);
    let (usb, away) = (bound.world.path("usb"), bound.world.path("away"));
    fs::create_dir(&usb).unwrap();
    bound.ok(&["root", "mirror", "add", "usb/mirror"]);
    fs::rename(&usb, &away).unwrap();
    bound.ok(&["root", "counter", "bind", COUNTER]);
    assert_eq!(bound.slot()["mirrors"][0]["stale"], true);
    fs::rename(&away, &usb).unwrap();
    bound.ok(&["read", "user-1"]);
    assert_eq!(bound.slot()["mirrors"][0]["stale"], false);
    // The mirror leads to the counter as well.
    let slot = bound.slot();
    fs::remove_file(slot["place"].as_str().unwrap()).unwrap();
    assert_eq!(bound.slot()["counter"]["name"], COUNTER);
}

#[test]
fn a_slot_from_before_the_binding_is_told() {
    let Some(bound) = Bound::new() else { return };
    bound.ok(&["root", "counter", "release"]);
    let image = bound.image();
    bound.ok(&["root", "counter", "bind", COUNTER]);
    assert!(!bound.run(&["read", "user-1"]).stderr.contains("not bound"));
    bound.put_back(&image, &["oubliette-data/vault", "state"]);
    let ran = bound.run(&["read", "user-1"]);
    assert!(ran.code == 0 && ran.stderr.contains("not bound to its counter"), "{}", ran.stderr);
}

#[test]
fn an_ordinary_index_in_the_counters_place_is_refused() {
    let Some(bound) = Bound::new() else { return };
    let epoch = bound.slot()["epoch"].as_u64().unwrap();
    let reads =
        bound.tpm.tool(&["tpm2_nvread", "0x01500020", "-C", "0x01500020", "-s", "8"]).stdout;
    assert!(bound.tpm.tool(&["tpm2_nvundefine", "0x01500020", "-C", "o"]).status.success());
    let define = ["tpm2_nvdefine", "0x01500020", "-C", "o", "-s", "8", "-a", "authread|authwrite"];
    assert!(bound.tpm.tool(&define).status.success());
    let content = bound.world.write("content", reads);
    let content = content.to_str().unwrap();
    let write = ["tpm2_nvwrite", "0x01500020", "-C", "0x01500020", "-i", content];
    assert!(bound.tpm.tool(&write).status.success());
    assert!(bound.refused(&["read", "user-1"]).contains("no counter"), "epoch {epoch}");
}

#[test]
fn a_restoration_does_not_write_over_what_the_counter_knows() {
    let Some(bound) = Bound::new() else { return };
    let to = bound.keygen();
    bound.ok(&["backup", "--to", &to, "--expires", "90d", "copy.age"]);
    let image = bound.image();
    bound.forget("user-1");
    bound.put_back(&image, &EVERYTHING);
    fs::remove_dir_all(bound.world.path("oubliette-data/vault")).unwrap();
    assert!(bound.refused(&RESTORE).contains("rolled back together"));
    bound.ok(&[&["--past-counter"], &RESTORE[..]].concat());
    assert_eq!(bound.slot()["counter"]["stale"], false);
}

/// The copied folder led to the counter: what the drill forgot, production had not reached.
#[test]
fn a_restoration_in_a_copied_folder_leaves_the_counter_in_use_alone() {
    let Some(bound) = Bound::new() else { return };
    let to = bound.keygen();
    bound.ok(&["backup", "--to", &to, "--expires", "90d", "copy.age"]);
    copy(&bound.world.path("oubliette-data"), &bound.world.path("drill"));
    fs::remove_dir_all(bound.world.path("drill/vault")).unwrap();
    let drill = ["--dir", "drill", "--root", "drill.root"];
    let restore = ["restore", "copy.age", "--identity", "key.txt"];
    let told = bound.refused(&[&drill[..], &restore].concat());
    assert!(told.contains(COUNTER) && told.contains("--overwrite-slot"), "{told}");
    // The events alone lead nowhere.
    fs::remove_file(bound.world.path("drill/oubliette.json")).unwrap();
    bound.ok(&[&drill[..], &restore].concat());
    let forget = ["forget", "user-1", "--reason", "asked", "--yes"];
    bound.ok(&[&drill[..], &forget].concat());
    assert!(bound.ok(&["read", "user-1"]).contains("Erika"));
}

#[test]
fn a_vault_that_goes_its_way_is_not_refused() {
    let Some(bound) = Bound::new() else { return };
    assert_eq!(bound.slot()["counter"]["stale"], false);
    let before = bound.slot()["counter"]["may_hold"].as_u64().unwrap();
    let epoch = bound.forget("user-1")["epoch"].as_u64().unwrap();
    assert!(epoch > before);
    assert_eq!(bound.slot()["counter"]["may_hold"], epoch);
    bound.ok(&["rotate", "--root-key"]);
    assert!(bound.ok(&["root"]).contains(&format!("{COUNTER}, which tells epoch {}", epoch + 1)));
    assert!(bound.ok(&["read", "user-2"]).contains("Erika"));
}

#[test]
fn a_crash_before_the_counter_is_raised_or_after_it_is_mended() {
    let Some(bound) = Bound::new() else { return };
    let image = bound.image();
    bound.instead_of_raising("before", "#!/bin/sh\nkill -9 $PPID\n");
    let raising = "PATH=\"${PATH#*:}\" tpm2_nvincrement \"$@\"";
    bound.instead_of_raising("after", &format!("#!/bin/sh\n{raising}\nkill -9 $PPID\n"));
    for (crash, who) in [("before", "user-1"), ("after", "user-2")] {
        let killed = bound.run_past(crash, &["forget", who, "--reason", "asked", "--yes"]);
        assert_eq!(killed.code, -1, "{}", killed.stderr);
        assert!(!bound.ok(&["read", who]).contains("Erika"));
        let slot = bound.slot();
        assert_eq!(slot["counter"]["may_hold"], slot["epoch"]);
    }
    bound.put_back(&image, &EVERYTHING);
    assert!(bound.refused(&["read", "user-1"]).contains("rolled back together"));
}

#[test]
fn a_counter_that_cannot_be_raised_keeps_the_erasure_pending_by_name() {
    let Some(bound) = Bound::new() else { return };
    bound.instead_of_raising("failing", "#!/bin/sh\necho 'ERROR: worn out' >&2\nexit 1\n");
    let forgetting = ["forget", "user-1", "--reason", "asked", "--yes"];
    let ran = bound.run_past("failing", &forgetting);
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{}", ran.stderr);
    for word in ["pending", COUNTER, "worn out", "would not be detected"] {
        assert!(ran.stderr.contains(word), "{word}: {}", ran.stderr);
    }
    let listed = bound.run_past("failing", &["erasures"]).stdout;
    assert!(listed.contains("pending") && listed.contains(COUNTER), "{listed}");
    // The keys are gone all the same, and the rest goes on.
    let read = bound.run_past("failing", &["read", "user-1"]);
    assert!(read.code == 0 && !read.stdout.contains("Erika"), "{}", read.stderr);
    // Any command that opens the vault finishes it.
    assert!(bound.ok(&["erasures"]).contains("done"));
    bound.ok(&forgetting);
}

#[test]
fn a_tpm_that_is_gone_is_told_and_can_be_left_behind() {
    let Some(mut bound) = Bound::new() else { return };
    bound.tpm.child.kill().unwrap();
    bound.tpm.child.wait().unwrap();
    let told = bound.refused(&["read", "user-2"]);
    for word in [COUNTER, "cannot be used", "--past-counter"] {
        assert!(told.contains(word), "{word}: {told}");
    }
    assert!(bound.ok(&["--past-counter", "read", "user-2"]).contains("Erika"));
    let forgetting = ["--past-counter", "forget", "user-1", "--reason", "asked", "--yes"];
    assert!(bound.refused(&forgetting).contains("pending"));
    bound.ok(&["--past-counter", "root", "counter", "release", "--lost"]);
    assert!(bound.ok(&["read", "user-2"]).contains("Erika"));
    assert_eq!(bound.slot()["counter"], Value::Null);
}

#[test]
fn a_vault_is_restored_where_the_tpm_is_gone() {
    let Some(mut bound) = Bound::new() else { return };
    let to = bound.keygen();
    bound.ok(&["backup", "--to", &to, "--expires", "90d", "copy.age"]);
    bound.tpm.child.kill().unwrap();
    bound.tpm.child.wait().unwrap();
    fs::remove_dir_all(bound.world.path("oubliette-data/vault")).unwrap();
    assert!(bound.refused(&RESTORE).contains("--past-counter"));
    bound.ok(&[&["--past-counter"], &RESTORE[..]].concat());
    assert!(bound.ok(&["read", "user-2"]).contains("Erika"));
    assert_eq!(bound.slot()["counter"], Value::Null);
}

#[test]
fn what_is_no_counter_is_not_taken_for_one() {
    let Some(bound) = Bound::new() else { return };
    let define = ["tpm2_nvdefine", "0x01500030", "-C", "o", "-s", "8", "-a", "authread|authwrite"];
    assert!(bound.tpm.tool(&define).status.success());
    let content = bound.world.write("content", [7; 8]);
    let content = content.to_str().unwrap();
    let write = ["tpm2_nvwrite", "0x01500030", "-C", "0x01500030", "-i", content];
    assert!(bound.tpm.tool(&write).status.success());
    bound.ok(&["root", "counter", "release"]);
    let told = bound.refused(&["root", "counter", "bind", "tpm:0x01500030"]);
    assert!(told.contains("tpm:0x01500030") && told.contains("cannot be used"), "{told}");
    assert_eq!(bound.run(&["root", "counter", "bind", "0x81000001"]).code, 2);
    assert_eq!(bound.slot()["counter"], Value::Null);
    bound.forget("user-1");
}

#[test]
fn a_counter_is_released_and_removed() {
    let Some(bound) = Bound::new() else { return };
    let there = || bound.tpm.tool(&["tpm2_nvreadpublic", "0x01500020"]).status.success();
    assert!(there());
    bound.ok(&["root", "counter", "release"]);
    assert!(!there());
    assert!(bound.ok(&["read", "user-1"]).contains("Erika"));
    // An image from when it was bound is refused still: nobody can say that it is the newest.
    bound.ok(&["root", "counter", "bind", COUNTER]);
    let image = bound.image();
    bound.ok(&["root", "counter", "release"]);
    bound.put_back(&image, &EVERYTHING);
    assert!(bound.refused(&["read", "user-1"]).contains("cannot be used"));
}

#[test]
fn a_restored_vault_is_bound_anew() {
    let Some(bound) = Bound::new() else { return };
    let to = bound.keygen();
    bound.ok(&["backup", "--to", &to, "--expires", "90d", "copy.age"]);
    bound.forget("user-1");
    for lost in [&["oubliette-data/vault"][..], &["oubliette-data/vault", "state"]] {
        for part in lost {
            fs::remove_dir_all(bound.world.path(part)).unwrap();
        }
        bound.ok(&RESTORE);
        let slot = bound.slot();
        assert_eq!(slot["counter"]["name"], COUNTER, "{slot}");
        assert_eq!(
            (&slot["counter"]["may_hold"], &slot["counter"]["stale"]),
            (&slot["epoch"], &false.into())
        );
        assert!(!bound.ok(&["read", "user-1"]).contains("Erika"));
    }
    let image = bound.image();
    bound.forget("user-2");
    bound.put_back(&image, &EVERYTHING);
    assert!(bound.refused(&["read", "user-2"]).contains("rolled back together"));
}

#[tokio::test]
async fn a_slot_is_bound_when_it_is_made() {
    let Some(tpm) = Tpm::start() else { return };
    let counter = || Some(TpmIndex::new(0x0150_0020).unwrap().over(tpm.tcti()));
    let slot = tpm.folder.path().join("slot");
    let config = || SlotConfig::from(&slot).with_counter(counter());
    let vault = Vault::create(&tpm.vault(), config()).unwrap();
    key_of(&vault, "user-1").await;
    vault.flush().await.unwrap();
    let before = tpm.folder.path().join("before");
    copy(&tpm.vault(), &before.join("vault"));
    fs::copy(&slot, before.join("slot")).unwrap();
    forget(&vault, "user-1").await;
    assert!(vault.stale_mirrors().unwrap().is_empty());
    drop(vault);
    let opened = Vault::open(&tpm.vault(), config()).unwrap();
    assert_eq!(opened.root_slot().unwrap().counter.unwrap().may_hold, Some(1));
    drop(opened);
    let image = || SlotConfig::from(&before.join("slot"));
    let rolled_back = Vault::open(&before.join("vault"), image().with_counter(counter()));
    let behind = matches!(
        rolled_back,
        Err(OpenVaultError::Slot(SlotError::BehindCounter { found: 0, expected: 1, .. }))
    );
    assert!(behind, "{rolled_back:?}");
    let past = image().with_counter(counter()).past_counter(true);
    drop(Vault::open_as(&before.join("vault"), past, OpenAs::TheOne).unwrap());
}
