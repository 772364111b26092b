//! A root slot in a PKCS#11 token: SoftHSM, with a token that each test makes for itself. Run with
//! `--features pkcs11`.

#![cfg(unix)]
#![allow(clippy::print_stderr)] // to skip loudly

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use age::secrecy::ExposeSecret;
use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    object::{Attribute, AttributeType, ObjectClass, ObjectHandle},
    session::{Session, UserType},
    types::AuthPin,
};
use oubliette::vault::{
    Kek, OpenAs, OpenVaultError, Passphrase, Pkcs11Object, SlotConfig, SlotError, SlotLocation,
    Vault, VaultError,
    internals::{KeyLookup, Plumbing as _},
};

use crate::{
    common::folders::copy,
    shared::{forget, key_of},
    world::{Ran, World},
};

const PIN: &str = "rook-4711";
const CHILD: &str = "OUBLIETTE_TEST_TOKEN";

/// A token of one's own.
struct Token {
    folder: PathBuf,
}

/// Where the module is; `None`, and a word about it, where it is not to be had.
fn module() -> Option<PathBuf> {
    let places = ["/usr/lib/softhsm", "/usr/lib64", "/usr/lib64/pkcs11", "/usr/local/lib/softhsm"];
    let module =
        places.iter().map(|at| Path::new(at).join("libsofthsm2.so")).find(|at| at.exists());
    if module.is_none() {
        assert!(env::var_os("OUBLIETTE_REQUIRE_PKCS11").is_none(), "softhsm2 is missing");
        eprintln!("SKIPPED: softhsm2 is missing, the slot in a token is not tested");
    }
    module
}

/// Runs a test in a process of its own: where its tokens are, the module reads in the environment,
/// once in a process.
fn with_token(test: &str, body: impl AsyncFnOnce(Token)) {
    if let Some(folder) = env::var_os(CHILD) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        return runtime.block_on(body(Token { folder: folder.into() }));
    }
    if module().is_none() {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let (tokens, conf) = (temp.path().join("tokens"), temp.path().join("softhsm2.conf"));
    fs::create_dir(&tokens).unwrap();
    fs::write(&conf, format!("directories.tokendir = {}\nlog.level = ERROR\n", tokens.display()))
        .unwrap();
    fs::write(temp.path().join("pin"), format!("{PIN}\n")).unwrap();
    for label in ["bank; one", "spare"] {
        let made = Command::new("softhsm2-util")
            .args(["--init-token", "--free", "--label", label, "--so-pin", "queen-0815"])
            .args(["--pin", PIN])
            .env("SOFTHSM2_CONF", &conf)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
    let ran = Command::new(env::current_exe().unwrap())
        .args([&format!("pkcs11::{test}"), "--exact", "--nocapture"])
        .env("SOFTHSM2_CONF", &conf)
        .env(CHILD, temp.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    let all = format!("{said}{}", String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success() && said.contains("1 passed"), "{all}");
}

impl Token {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The URI of a slot, with what follows the `?`.
    fn uri(&self, token: &str, object: &str, query: &str) -> String {
        let module = module().unwrap();
        format!("pkcs11:{token};object={object}?module-path={}{query}", module.display())
    }

    /// The slot that the tests are about, without a PIN.
    fn object(&self) -> Pkcs11Object {
        self.uri("token=bank%3B%20one", "vault-1", "").parse().unwrap()
    }

    fn config(&self) -> SlotConfig {
        at(self.object().with_pin(pin(PIN)))
    }

    fn vault(&self) -> PathBuf {
        self.path("vault")
    }

    /// As an operator, or an attacker, who has the PIN.
    fn session(&self) -> Session {
        let module = Pkcs11::new(module().unwrap()).unwrap();
        // Once for all: the module that is unloaded while others use it is no use to them.
        let module = Box::leak(Box::new(module));
        let _ = module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK));
        let slots = module.get_slots_with_token().unwrap().into_iter();
        let mut ours =
            slots.filter(|slot| module.get_token_info(*slot).unwrap().label() == "bank; one");
        let session = module.open_rw_session(ours.next().unwrap()).unwrap();
        // Where the vault is open the whole process is logged in already.
        let _ = session.login(UserType::User, Some(&AuthPin::from(PIN)));
        session
    }
}

fn at(object: Pkcs11Object) -> SlotConfig {
    SlotConfig::at(SlotLocation::Pkcs11(object))
}

fn pin(text: &str) -> Option<Passphrase> {
    Passphrase::new(text.to_owned())
}

/// The objects of the token, of a name or of any.
fn objects(session: &Session, label: Option<&str>) -> Vec<ObjectHandle> {
    let label = label.map(|label| Attribute::Label(label.into()));
    let template: Vec<_> = [Attribute::Token(true)].into_iter().chain(label).collect();
    session.find_objects(&template).unwrap()
}

fn value(session: &Session, object: ObjectHandle) -> Vec<u8> {
    match session.get_attributes(object, &[AttributeType::Value]).unwrap().remove(0) {
        Attribute::Value(value) => value,
        other => panic!("{other:?}"),
    }
}

fn sector(session: &Session, label: &str) -> Vec<u8> {
    match objects(session, Some(label))[..] {
        [object] => value(session, object),
        ref other => panic!("{} objects {label}", other.len()),
    }
}

fn plant(session: &Session, label: &str, value: &[u8], private: bool) {
    let template = [
        Attribute::Class(ObjectClass::DATA),
        Attribute::Token(true),
        Attribute::Private(private),
        Attribute::Label(label.into()),
        Attribute::Value(value.to_vec()),
    ];
    session.create_object(&template).unwrap();
}

fn told(slot: SlotConfig, token: &Token) -> String {
    match Vault::open(&token.vault(), slot) {
        Err(error @ OpenVaultError::Slot(SlotError::Device { .. })) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_vault_whose_root_is_in_a_token_opens_again_and_forgets() {
    with_token("a_vault_whose_root_is_in_a_token_opens_again_and_forgets", async |token| {
        let vault = Vault::create(&token.vault(), token.config()).unwrap();
        assert_eq!(vault.root_slot().unwrap().place, token.object().to_string());
        let (kept, gone) = (key_of(&vault, "user-1").await, key_of(&vault, "user-2").await);
        vault.flush().await.unwrap();
        let before = token.path("before");
        copy(&token.vault(), &before);
        let session = token.session();
        let root = sector(&session, "vault-1.0");
        assert_eq!(root, sector(&session, "vault-1.1"));
        assert_eq!(root.len(), 512);
        forget(&vault, "user-2").await;
        // While it is open nobody else gets at it, with a copy of the folder neither.
        let copied = Vault::open(&before, token.config());
        assert!(matches!(copied, Err(OpenVaultError::InUse(_))), "{copied:?}");
        drop(vault);

        let vault = Vault::open(&token.vault(), token.config()).unwrap();
        assert!(matches!(vault.opening_key(kept), Ok(KeyLookup::Live { .. })));
        assert!(matches!(vault.opening_key(gone), Ok(KeyLookup::Shredded { .. })));
        assert_eq!(vault.root_slot().unwrap().epoch, 1);
        drop(vault);
        // In no object of the token is anything of the earlier root key (bytes 104 to 136) any more.
        let session = token.session();
        let all = objects(&session, None);
        assert_eq!(all.len(), 2);
        for object in all {
            let now = value(&session, object);
            assert!(!now.windows(32).any(|window| window == &root[104..136]));
        }
        let rolled_back = Vault::open(&before, token.config());
        assert!(
            matches!(rolled_back, Err(OpenVaultError::RolledBack { epoch: 1 })),
            "{rolled_back:?}"
        );
    });
}

#[test]
fn the_slot_cannot_be_read_without_the_pin() {
    with_token("the_slot_cannot_be_read_without_the_pin", async |token| {
        drop(Vault::create(&token.vault(), token.config()).unwrap());
        let session = token.session();
        assert_eq!(objects(&session, None).len(), 2);
        session.logout().unwrap();
        assert_eq!(objects(&session, None), []);
    });
}

#[test]
fn one_sector_lost_or_damaged_loses_nobody() {
    with_token("one_sector_lost_or_damaged_loses_nobody", async |token| {
        let key = pin("correct horse");
        let config = || token.config().with_kek(Kek::Passphrase, key.clone());
        let vault = Vault::create(&token.vault(), config()).unwrap();
        let kept = key_of(&vault, "user-1").await;
        drop(vault);
        type Harm = fn(&Session, &str);
        let lost: Harm = |session, label| {
            session.destroy_object(objects(session, Some(label))[0]).unwrap();
        };
        let torn: Harm = |session, label| {
            let mut torn = sector(session, label);
            torn[200..].fill(7);
            session.destroy_object(objects(session, Some(label))[0]).unwrap();
            plant(session, label, &torn, true);
        };
        let cut: Harm = |session, label| {
            session.destroy_object(objects(session, Some(label))[0]).unwrap();
            plant(session, label, &[1; 9], true);
        };
        for harm in [lost, torn, cut] {
            for label in ["vault-1.0", "vault-1.1"] {
                harm(&token.session(), label);
                let vault = Vault::open(&token.vault(), config()).unwrap();
                assert!(matches!(vault.opening_key(kept), Ok(KeyLookup::Live { .. })));
                let session = token.session();
                assert_eq!(sector(&session, "vault-1.0"), sector(&session, "vault-1.1"));
            }
        }
        let opened = Vault::open(&token.vault(), token.config());
        assert!(
            matches!(opened, Err(OpenVaultError::Slot(SlotError::KekMissing(_)))),
            "{opened:?}"
        );
        let session = token.session();
        for label in ["vault-1.0", "vault-1.1"] {
            torn(&session, label);
        }
        let opened = Vault::open(&token.vault(), config());
        assert!(matches!(opened, Err(OpenVaultError::Slot(SlotError::Damaged(_)))), "{opened:?}");
    });
}

/// One that a newer program wrote is not called damaged, and is left as it is.
#[test]
fn a_sector_of_a_newer_format_in_a_token_is_named_as_such() {
    with_token("a_sector_of_a_newer_format_in_a_token_is_named_as_such", async |token| {
        drop(Vault::create(&token.vault(), token.config()).unwrap());
        let put = |label: &str, bytes: &[u8]| {
            let session = token.session();
            session.destroy_object(objects(&session, Some(label))[0]).unwrap();
            plant(&session, label, bytes, true);
        };
        for label in ["vault-1.0", "vault-1.1"] {
            let whole = sector(&token.session(), label);
            let newer = crate::shared::of_format(&whole, 5);
            put(label, &newer);
            let opened = Vault::open(&token.vault(), token.config());
            let named = matches!(
                opened,
                Err(OpenVaultError::Vault(VaultError::NewerFormat { found: 5, known: 4, .. }))
            );
            assert!(named, "{opened:?}");
            assert!(sector(&token.session(), label) == newer);
            put(label, &whole);
        }
        drop(Vault::open(&token.vault(), token.config()).unwrap());
    });
}

#[test]
fn what_is_wrong_with_a_token_is_said() {
    with_token("what_is_wrong_with_a_token_is_said", async |token| {
        drop(Vault::create(&token.vault(), token.config()).unwrap());
        let says = |object: Pkcs11Object, words: &[&str]| {
            let told = told(at(object), &token);
            for word in words {
                assert!(told.contains(word), "{word:?} is not in {told}");
            }
            assert!(!told.contains(PIN) && !told.contains("cuckoo"), "{told}");
        };
        let uri = |token_is: &str, query: &str| -> Pkcs11Object {
            token.uri(token_is, "vault-1", query).parse().unwrap()
        };
        says(token.object().with_pin(pin("cuckoo-99")), &["PIN is wrong", "OUBLIETTE_PKCS11_PIN"]);
        says(token.object(), &["wants a PIN", "pin-source=file:", "OUBLIETTE_PKCS11_PIN"]);
        let away = token.path("away");
        let query = format!("&pin-source=file:{}", away.display());
        says(uri("token=spare", &query), &["PIN cannot be read", &away.display().to_string()]);
        fs::write(&away, "\n").unwrap();
        says(uri("token=spare", &query), &["no PIN is in"]);
        says(uri("token=bark", ""), &["not there", "plug it in", "\"bank; one\"", "\"spare\""]);
        says(uri("token=spare;serial=1", ""), &["the token is not there"]);
        says(uri("serial=%20", ""), &["the token is not there"]);
        let elsewhere = "pkcs11:token=spare;object=v?module-path=/nowhere/x.so".parse().unwrap();
        says(elsewhere, &["there is no module /nowhere/x.so", "install it"]);
        let text = format!("pkcs11:token=spare;object=v?module-path={}", away.display());
        says(text.parse().unwrap(), &["cannot be loaded"]);
        // And nothing is harmed.
        drop(Vault::open(&token.vault(), token.config()).unwrap());
    });
}

#[test]
fn what_is_not_the_vaults_slot_is_told_as_such() {
    with_token("what_is_not_the_vaults_slot_is_told_as_such", async |token| {
        drop(Vault::create(&token.vault(), token.config()).unwrap());
        let named = |name: &str| {
            let object: Pkcs11Object = token.uri("token=bank%3B%20one", name, "").parse().unwrap();
            at(object.with_pin(pin(PIN)))
        };
        // It is taken.
        let again = Vault::create(&token.path("other"), token.config());
        let taken = matches!(again, Err(OpenVaultError::Slot(SlotError::NotEmpty(_))));
        assert!(taken, "{again:?}");
        // Another name: nothing is there.
        let missing = Vault::open(&token.vault(), named("vault-2"));
        match missing {
            Err(error @ OpenVaultError::Slot(SlotError::Missing(_))) => {
                let told = error.to_string();
                assert!(
                    told.contains("object=vault-2") && told.contains("say where it is"),
                    "{told}"
                );
            }
            other => panic!("{other:?}"),
        }
        // Two vaults in one token, at the same time; and the one with the other's slot.
        let other = Vault::create(&token.path("other"), named("vault-2")).unwrap();
        drop(Vault::open(&token.vault(), token.config()).unwrap());
        drop(other);
        let others = Vault::open(&token.vault(), named("vault-2"));
        assert!(
            matches!(others, Err(OpenVaultError::Slot(SlotError::OfAnotherVault { .. }))),
            "{others:?}"
        );

        // An object that anybody could read is not taken for a sector.
        let session = token.session();
        let whole = sector(&session, "vault-1.0");
        plant(&session, "vault-1.0", &whole, false);
        drop(Vault::open(&token.vault(), token.config()).unwrap());
        // Two that could be one.
        plant(&session, "vault-1.1", &whole, true);
        let told = told(token.config(), &token);
        assert!(told.contains("2 data objects") && told.contains("\"vault-1.1\""), "{told}");
        // What it says helps.
        for object in objects(&session, Some("vault-1.1")) {
            session.destroy_object(object).unwrap();
        }
        drop(Vault::open(&token.vault(), token.config()).unwrap());
    });
}

/// What the program says, with its warnings.
fn loudly(world: &World, args: &[&str]) -> Ran {
    world.command(args).env_remove("OUBLIETTE_LOG").output().unwrap().into()
}

#[test]
fn the_command_line_keeps_its_slot_in_a_token() {
    with_token("the_command_line_keeps_its_slot_in_a_token", async |token| {
        let world = World::new();
        let pin_file = token.path("pin");
        let query = format!("&pin-source=file:{}", pin_file.display());
        let uri = token.uri("token=bank%3B%20one", "vault-1", &query);
        let made = loudly(&world, &["--root", &uri, "append", "s-1", "T", "--data", "1"]);
        assert_eq!(made.code, 0, "{}", made.stderr);
        assert!(
            made.stderr.contains("SoftHSM") && made.stderr.contains("for tests"),
            "{}",
            made.stderr
        );
        world.ok(&["append", "s-2", "T", "--data", "2"]);
        let opened = loudly(&world, &["read", "s-1"]);
        assert!(opened.stderr.contains("for tests"), "{}", opened.stderr);
        assert_eq!(world.json(&["root"])[0]["place"], uri);
        assert!(!world.path("state").exists(), "no slot in a file");

        let epoch = || world.json(&["root"])[0]["epoch"].as_u64().unwrap();
        let before = epoch();
        world.ok(&["forget", "s-1", "--reason", "r", "--yes"]);
        assert!(world.json(&["read", "s-1"])[0]["shredded"].is_array());
        assert_eq!(world.data("s-2"), [2]);
        assert!(epoch() > before);

        // Wrapped, and with a mirror, from which it is made again.
        world.write("kek", [3; 32]);
        world.ok(&["root", "kek", "file:kek"]);
        fs::create_dir(world.path("stick")).unwrap();
        world.ok(&["root", "mirror", "add", "stick/mirror"]);
        let session = token.session();
        let before = sector(&session, "vault-1.0");
        for object in objects(&session, None) {
            session.destroy_object(object).unwrap();
        }
        drop(session);
        assert_eq!(world.data("s-2"), [2]);
        assert_eq!(before.len(), sector(&token.session(), "vault-1.1").len());
        world.ok(&["root", "mirror", "retire", "stick/mirror"]);

        // Restored from a backup, into the same token.
        let identity = age::x25519::Identity::generate();
        world.write("key.txt", format!("{}\n", identity.to_string().expose_secret()));
        let to = identity.to_public().to_string();
        world.ok(&["backup", "--to", &to, "--expires", "90d", "copy.age"]);
        fs::remove_dir_all(world.path("oubliette-data/vault")).unwrap();
        world.ok(&["restore", "copy.age", "--identity", "key.txt", "--overwrite-slot"]);
        assert_eq!(world.data("s-2"), [2]);
        assert!(world.json(&["root"])[0]["place"].as_str().unwrap().starts_with("pkcs11:"));
        assert!(!world.finds("oubliette-data", PIN));
    });
}

#[test]
fn the_command_line_refuses_what_it_must() {
    with_token("the_command_line_refuses_what_it_must", async |token| {
        let world = World::new();
        let bare = token.uri("token=bank%3B%20one", "vault-1", "");
        let run = |pin: &str, args: &[&str]| -> Ran {
            world.command(args).env("OUBLIETTE_PKCS11_PIN", pin).output().unwrap().into()
        };
        let named = format!("{bare}&pin-value={PIN}");
        let told = world.fails(1, &["--root", &named, "append", "s-1", "T"]);
        assert!(told.contains("pin-source=file:") && !told.contains(PIN), "{told}");
        let told = world.fails(1, &["--root", "pkcs11:token=x", "append", "s-1", "T"]);
        assert!(told.contains("object=NAME"), "{told}");
        assert!(!world.path("oubliette-data/vault").exists());

        let made = run(PIN, &["--root", &bare, "append", "s-1", "T", "--data", "1"]);
        assert_eq!(made.code, 0, "{}", made.stderr);
        let told = world.fails(1, &["read", "s-1"]);
        assert!(told.contains("wants a PIN"), "{told}");
        let wrong = run("cuckoo-99", &["read", "s-1"]);
        assert!(wrong.code == 1 && wrong.stderr.contains("PIN is wrong"), "{}", wrong.stderr);
        assert!(!wrong.stderr.contains("cuckoo-99"), "{}", wrong.stderr);

        // Another process has it, by a copy of the folder.
        copy(&world.path("oubliette-data"), &world.path("copied"));
        let refused = Vault::open(&world.path("copied/vault"), token.config());
        assert!(matches!(refused, Err(OpenVaultError::FolderCopied { .. })), "{refused:?}");
        let how = OpenAs::TheOne;
        let _open = Vault::open_as(&world.path("copied/vault"), token.config(), how).unwrap();
        // As in a service, whose folders are others than those of a login session.
        let second = world
            .command(&["read", "s-1"])
            .env("OUBLIETTE_PKCS11_PIN", PIN)
            .envs([
                ("XDG_RUNTIME_DIR", world.path("oubliette-data")),
                ("TMPDIR", world.path("copied")),
            ])
            .output()
            .unwrap();
        let second = Ran::from(second);
        assert!(second.code == 5 && second.stderr.contains("in use"), "{}", second.stderr);
    });
}
