//! What version 1 of the formats wrote opens for ever: data folders, vaults, root slots of each kind, a
//! backup, a list of erasures and an export that were written once and checked in.
//!
//! **No change may edit this file or what lies in `fixtures/1`.** Where it turns red, the change broke a
//! format, and people's data with it. A new version of a format gets a folder and a file of its own. How
//! the fixtures were made is at the end.

#![cfg(unix)]
#![allow(clippy::print_stderr)] // to skip loudly

#[path = "cli/world.rs"]
#[allow(clippy::duplicate_mod)]
mod world;

use std::{fs, path::Path, process::Command};

use serde_json::Value;

use self::world::{World, rows};

const PACKED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/1/written.tar.gz");
const PASSPHRASE: &str = "a passphrase that everybody knows";
const TPM_AUTH: &str = "owl";
const PIN: &str = "rook-4711";

/// A copy of all that was written.
fn written() -> World {
    let world = World::new();
    let unpacked =
        Command::new("tar").args(["-xzpf", PACKED]).current_dir(world.dir.path()).status();
    assert!(unpacked.unwrap().success());
    world
}

/// The folder's arguments; its slot is a file beside it.
fn folder(name: &str) -> Vec<String> {
    let slot = format!("slots/{name}");
    ["--dir", name, "--root", &slot, "--this-is-the-one"].map(str::to_owned).to_vec()
}

fn with(folder: &[String], args: &[&str]) -> Vec<String> {
    folder.iter().cloned().chain(args.iter().map(|arg| (*arg).to_owned())).collect()
}

fn ok(world: &World, args: &[String]) -> String {
    let mut command = world.command(&args.iter().map(String::as_str).collect::<Vec<_>>());
    command.env("OUBLIETTE_PASSPHRASE", PASSPHRASE).env("FIXTURE_KEK", "6b".repeat(32));
    command.env("OUBLIETTE_TPM_AUTH", TPM_AUTH).env("OUBLIETTE_PKCS11_PIN", PIN);
    let ran: world::Ran = command.output().unwrap().into();
    assert_eq!(ran.code, 0, "{args:?}\n{}{}", ran.stdout, ran.stderr);
    ran.stdout
}

fn json(world: &World, of: &[String], args: &[&str]) -> Vec<Value> {
    rows(&ok(world, &with(of, &[&["--json"], args].concat())))
}

fn lines(world: &World, name: &str) -> Vec<Value> {
    rows(&fs::read_to_string(world.path(name)).unwrap())
}

#[test]
fn a_data_folder_reads_as_it_did() {
    let world = written();
    let main = folder("main");
    assert_eq!(json(&world, &main, &["read-all"]), lines(&world, "export.ndjson"));
    for (command, file) in [("inventory", "inventory.ndjson"), ("keys", "keys.ndjson")] {
        assert_eq!(json(&world, &main, &[command]), lines(&world, file), "{command}");
    }
    let report = ok(&world, &with(&main, &["verify"]));
    assert!(report.contains("everything is as it should be"), "{report}");
    // And it goes on: everything that can be done to a folder of today can be done to it.
    ok(&world, &with(&main, &["append", "user-3", "Moved", "--data", r#"{"town":"Ulm"}"#]));
    let erased = &json(&world, &main, &["forget", "user-3", "--reason", "ticket 3", "--yes"])[0];
    assert_eq!(erased["already"], false);
    assert!(erased["keys"].as_u64().unwrap() >= 2);
    let again = &json(&world, &main, &["forget", "user-2", "--reason", "ticket 2", "--yes"])[0];
    assert_eq!(again["already"], false, "user-2 came back, and goes again");
}

#[test]
fn a_backup_is_restored_and_forgets_what_was_announced_since() {
    let world = written();
    fs::remove_dir_all(world.path("main/vault")).unwrap();
    let restored: Vec<String> =
        ["--dir", "main", "--root", "slots/new"].map(str::to_owned).to_vec();
    let restore = ["restore", "backup.age", "--identity", "identity.txt", "--even-expired"];
    ok(&world, &with(&restored, &restore));
    let (now, then) = (json(&world, &restored, &["read-all"]), lines(&world, "export.ndjson"));
    let told = |rows: &[Value]| -> Vec<Value> {
        rows.iter().map(|row| (row["id"].clone(), row["data"].clone()).into_value()).collect()
    };
    assert_eq!(told(&now), told(&then));
}

#[test]
fn the_lists_are_taken() {
    let world = written();
    let replayed = json(&world, &folder("main"), &["erasures", "replay", "erasures.ndjson"]);
    assert_eq!(replayed[0]["erasures"], serde_json::json!([]), "all of them are known");
    assert!(replayed[0]["known"].as_u64().unwrap() > 0);
    let other: Vec<String> =
        ["--dir", "other", "--policy", "policy.toml"].map(str::to_owned).to_vec();
    ok(&world, &with(&other, &["import", "export.ndjson", "--with-holes"]));
    let copied = json(&world, &other, &["read-all"]);
    let events =
        |rows: &[Value]| rows.iter().filter(|row| row["type"] != "SubjectForgotten").count();
    assert_eq!(events(&copied), events(&lines(&world, "export.ndjson")));
}

/// Page stores, and whatever wraps the root key.
#[test]
fn a_vault_opens_from_a_slot_of_each_kind() {
    let world = written();
    for (name, kek) in KEKS {
        let of = with(&folder(name), &["--kek", kek]);
        assert_reads(&world, &of, name);
    }
}

fn assert_reads(world: &World, of: &[String], name: &str) {
    let data: Vec<Value> =
        json(world, of, &["read", "user-1"]).iter().map(|row| row["data"].clone()).collect();
    assert_eq!(data, [serde_json::json!({"name": "Erika"})], "{name}");
    let gone = json(world, of, &["read", "user-2"]);
    assert!(gone[0]["data"].is_null() && !gone[0]["shredded"].is_null(), "{name}");
}

/// The slots of one vault each, by what wraps the root key in them.
const KEKS: [(&str, &str); 5] = [
    ("none", "none"),
    ("passphrase", "passphrase"),
    ("file", "file:kek.key"),
    ("env", "env:FIXTURE_KEK"),
    ("command", "command:cat kek.key"),
];

trait IntoValue {
    fn into_value(self) -> Value;
}

impl IntoValue for (Value, Value) {
    fn into_value(self) -> Value {
        Value::Array(vec![self.0, self.1])
    }
}

#[cfg(feature = "tpm")]
mod tpm {
    use std::{
        path::Path,
        process::{Child, Stdio},
        time::{Duration, Instant},
    };

    use super::*;

    /// A TPM whose state lies in this folder.
    pub(super) struct Tpm(Child, pub(super) String);

    impl Drop for Tpm {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    pub(super) fn start(folder: &Path) -> Option<Tpm> {
        let there = |tool: &str| Command::new(tool).arg("--version").output().is_ok();
        if !there("swtpm") || !there("tpm2_nvread") {
            let required = std::env::var_os("OUBLIETTE_REQUIRE_TPM").is_some();
            assert!(!required, "swtpm or tpm2-tools is missing");
            eprintln!("SKIPPED: swtpm or tpm2-tools is missing, the slot in a TPM is not opened");
            return None;
        }
        let socket = folder.join("s");
        let server = format!("type=unixio,path={}", socket.display());
        let mut command = Command::new("swtpm");
        command.args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"]);
        command.arg("--tpmstate").arg(format!("dir={}", folder.display()));
        command.args(["--server", &server, "--ctrl", &format!("{server}.ctrl")]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let began = Instant::now();
        while !(socket.exists() && folder.join("s.ctrl").exists()) {
            assert!(began.elapsed() < Duration::from_secs(20), "swtpm does not start");
            std::thread::sleep(Duration::from_millis(5));
        }
        Some(Tpm(child, format!("swtpm:path={}", socket.display())))
    }

    pub(super) fn folder() -> Vec<String> {
        ["--dir", "tpm", "--root", "tpm:0x01500016", "--this-is-the-one"]
            .map(str::to_owned)
            .to_vec()
    }

    #[test]
    fn a_vault_opens_from_a_slot_in_a_tpm() {
        let world = written();
        let Some(tpm) = start(&world.path("slots/tpm")) else { return };
        let read = |stream| {
            let mut command = world.command(&[]);
            command.args(with(&folder(), &["--json", "read", stream]));
            command.env("TPM2TOOLS_TCTI", &tpm.1).env("OUBLIETTE_TPM_AUTH", TPM_AUTH);
            let ran: world::Ran = command.output().unwrap().into();
            assert_eq!(ran.code, 0, "{}", ran.stderr);
            rows(&ran.stdout)
        };
        assert_eq!(read("user-1")[0]["data"], serde_json::json!({"name": "Erika"}));
        assert!(!read("user-2")[0]["shredded"].is_null());
    }
}

#[cfg(feature = "pkcs11")]
mod pkcs11 {
    use std::path::PathBuf;

    use super::*;

    pub(super) fn module() -> Option<PathBuf> {
        let places =
            ["/usr/lib/softhsm", "/usr/lib64", "/usr/lib64/pkcs11", "/usr/local/lib/softhsm"];
        let module = places.iter().map(|at| Path::new(at).join("libsofthsm2.so"));
        let module = module.into_iter().find(|at| at.exists());
        if module.is_none() {
            let required = std::env::var_os("OUBLIETTE_REQUIRE_PKCS11").is_some();
            assert!(!required, "softhsm2 is missing");
            eprintln!("SKIPPED: softhsm2 is missing, the slot in a token is not opened");
        }
        module
    }

    pub(super) fn folder(module: &Path) -> Vec<String> {
        let root = format!("pkcs11:token=bank;object=vault-1?module-path={}", module.display());
        ["--dir", "pkcs11", "--root", &root, "--this-is-the-one"].map(str::to_owned).to_vec()
    }

    pub(super) fn configure(world: &World) -> PathBuf {
        let tokens = world.path("slots/pkcs11");
        let text = format!("directories.tokendir = {}\nlog.level = ERROR\n", tokens.display());
        world.write("softhsm2.conf", text)
    }

    #[test]
    fn a_vault_opens_from_a_slot_in_a_token() {
        let world = written();
        let Some(module) = module() else { return };
        let conf = configure(&world);
        let read = |stream| {
            let mut command = world.command(&[]);
            command.args(with(&folder(&module), &["--json", "read", stream]));
            command.env("SOFTHSM2_CONF", &conf).env("OUBLIETTE_PKCS11_PIN", PIN);
            let ran: world::Ran = command.output().unwrap().into();
            assert_eq!(ran.code, 0, "{}", ran.stderr);
            rows(&ran.stdout)
        };
        assert_eq!(read("user-1")[0]["data"], serde_json::json!({"name": "Erika"}));
        assert!(!read("user-2")[0]["shredded"].is_null());
    }
}

/// How they were made: with `OUBLIETTE_WRITE_FIXTURES` set, and where there are none yet.
#[test]
fn the_fixtures_are_there() {
    if Path::new(PACKED).exists() {
        return;
    }
    assert!(std::env::var_os("OUBLIETTE_WRITE_FIXTURES").is_some(), "{PACKED} is missing");
    make::all();
}

mod make {
    use super::*;

    const POLICY: &str = r#"
[[stream]]
match  = "user-{id}"
layout = "split"
public = ["/colour"]

[[stream]]
match  = "bankaccount-{id}"
layout = "inline"
public = ["/owner", "/amount"]
owner  = [ { event = "AccountOpened", add = "{/owner}" } ]

[[stream]]
match     = "room-{id}"
subject   = "user-{/author}"
otherwise = "stream"
layout    = "inline"
"#;

    const EVENTS: &str = r#"{"stream":"user-1","type":"UserRegistered","data":{"colour":"red","name":"Erika"}}
{"stream":"user-2","type":"UserRegistered","data":{"colour":"blue","name":"J\u00fcrgen"},"metadata":{"ip":"192.0.2.7","traceparent":"00-01"}}
{"stream":"user-3","type":"UserRegistered","data":{"colour":"green","name":"Anna"}}
{"stream":"bankaccount-1","type":"AccountOpened","data":{"owner":"user-1","amount":1.50,"iban":"DE1"}}
{"stream":"bankaccount-2","type":"AccountOpened","data":{"owner":"user-2","amount":1e2,"iban":"DE2"}}
{"stream":"room-1","type":"Said","data":{"author":2,"text":"good morning"}}
{"stream":"room-1","type":"Said","data":{"author":3,"text":"good evening"}}
{"stream":"other-1","type":"Happened","data":[1,2,3]}
"#;

    /// Runs a command in a world that writes the fixtures.
    fn run(world: &World, of: &[String], args: &[&str]) -> String {
        ok(world, &with(of, args))
    }

    fn new_folder(name: &str) -> Vec<String> {
        let slot = format!("slots/{name}");
        ["--dir", name, "--root", &slot].map(str::to_owned).to_vec()
    }

    pub(super) fn all() {
        let world = World::new();
        fs::create_dir(world.path("slots")).unwrap();
        world.write("policy.toml", POLICY);
        world.write("events.ndjson", EVENTS);
        let mut kek = "6b".repeat(32);
        kek.push('\n');
        world.write("kek.key", kek);
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(world.path("kek.key"), mode).unwrap();
        main(&world);
        for (name, kek) in KEKS {
            let of = with(&new_folder(name), &["--kek", kek]);
            small(&world, name, &of, &[]);
            if name != "none" {
                run(&world, &of, &["vault", "move", "--pages", "sqlite"]);
            }
        }
        devices(&world);
        neutral(&world);
        let to = Path::new(PACKED);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        let mut pack = Command::new("tar");
        pack.args(["--owner=0", "--group=0", "--sort=name", "-czf", PACKED, "--exclude=state"]);
        pack.args(["--exclude=config", "--exclude=home", "--exclude=s", "--exclude=s.ctrl"]);
        let names = fs::read_dir(world.dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
        pack.args(names).current_dir(world.dir.path());
        assert!(pack.status().unwrap().success());
    }

    fn main(world: &World) {
        let of = new_folder("main");
        run(world, &of, &["--policy", "policy.toml", "import", "events.ndjson"]);
        let identity = age::x25519::Identity::generate();
        let recipient = identity.to_public().to_string();
        world.write(
            "identity.txt",
            age::secrecy::ExposeSecret::expose_secret(&identity.to_string()),
        );
        let forget = |who| run(world, &of, &["forget", who, "--reason", "ticket 2", "--yes"]);
        forget("user-2");
        run(world, &of, &["reopen", "user-2"]);
        let back = r#"{"colour":"black","name":"J\u00fcrgen"}"#;
        run(world, &of, &["append", "user-2", "UserRegistered", "--data", back]);
        run(world, &of, &["rotate", "user-1"]);
        run(world, &of, &["append", "user-1", "Moved", "--data", r#"{"town":"Bonn"}"#]);
        run(world, &of, &["append", "user-4", "UserRegistered", "--data", r#"{"name":"Otto"}"#]);
        // A copy of what has holes already.
        let export = run(world, &of, &["--json", "read", "bankaccount-2"]);
        let hole = export.lines().next().unwrap().replace("bankaccount-2", "bankaccount-9");
        let mut hole: Value = serde_json::from_str(&hole).unwrap();
        hole["id"] = uuid::Uuid::from_u128(9).to_string().into();
        world.write("hole.ndjson", hole.to_string());
        run(world, &of, &["import", "hole.ndjson", "--with-holes"]);
        run(world, &of, &["backup", "backup.age", "--to", &recipient, "--expires", "2199-12-31"]);
        run(world, &of, &["keys", "successor", "--out", "successor.key"]);
        run(world, &of, &["keys", "rotate", "--successor", "successor.key"]);
        forget("user-4");
        world.write("erasures.ndjson", run(world, &of, &["--json", "erasures", "export"]));
        for (file, args) in [
            ("export.ndjson", ["--json", "read-all"]),
            ("inventory.ndjson", ["--json", "inventory"]),
            ("keys.ndjson", ["--json", "keys"]),
        ] {
            world.write(file, run(world, &of, &args));
        }
    }

    /// Somebody who lives and somebody who is forgotten.
    fn small(world: &World, name: &str, of: &[String], env: &[(&str, &str)]) {
        let run = |args: &[&str]| {
            let mut command = world.command(&[]);
            command.args(with(of, args)).env("OUBLIETTE_PASSPHRASE", PASSPHRASE);
            command.env("OUBLIETTE_NEW_PASSPHRASE", PASSPHRASE);
            command.env("FIXTURE_KEK", "6b".repeat(32)).envs(env.iter().copied());
            let ran: world::Ran = command.output().unwrap().into();
            assert_eq!(ran.code, 0, "{name} {args:?} {}", ran.stderr);
        };
        for (who, data) in [("user-1", r#"{"name":"Erika"}"#), ("user-2", r#"{"name":"Anna"}"#)] {
            run(&["append", who, "UserRegistered", "--data", data]);
        }
        run(&["forget", "user-2", "--reason", "ticket 1", "--yes"]);
    }

    #[cfg(all(feature = "tpm", feature = "pkcs11"))]
    fn devices(world: &World) {
        fs::create_dir_all(world.path("slots/tpm")).unwrap();
        let tpm = tpm::start(&world.path("slots/tpm")).expect("a TPM");
        let env = [("TPM2TOOLS_TCTI", &*tpm.1), ("OUBLIETTE_TPM_AUTH", TPM_AUTH)];
        let of: Vec<String> = tpm::folder().into_iter().take(4).collect();
        small(world, "tpm", &of, &env);
        drop(tpm);

        fs::create_dir_all(world.path("slots/pkcs11")).unwrap();
        let module = pkcs11::module().expect("SoftHSM");
        let conf = pkcs11::configure(world);
        let made = Command::new("softhsm2-util")
            .args(["--init-token", "--free", "--label", "bank", "--so-pin", "queen-0815"])
            .args(["--pin", PIN])
            .env("SOFTHSM2_CONF", &conf)
            .output()
            .unwrap();
        assert!(made.status.success());
        let env = [("SOFTHSM2_CONF", conf.to_str().unwrap()), ("OUBLIETTE_PKCS11_PIN", PIN)];
        let of: Vec<String> = pkcs11::folder(&module).into_iter().take(4).collect();
        small(world, "pkcs11", &of, &env);
        fs::remove_file(conf).unwrap();
    }

    #[cfg(not(all(feature = "tpm", feature = "pkcs11")))]
    fn devices(_: &World) {
        panic!("the fixtures are made with the features tpm and pkcs11");
    }

    /// Where the slots were while the fixtures were made says nothing to anybody.
    fn neutral(world: &World) {
        let here = world.dir.path().to_str().unwrap();
        for entry in fs::read_dir(world.dir.path()).unwrap() {
            let manifest = entry.unwrap().path().join("oubliette.json");
            if let Ok(text) = fs::read_to_string(&manifest) {
                fs::write(&manifest, text.replace(here, "/srv/bank")).unwrap();
            }
        }
    }
}
