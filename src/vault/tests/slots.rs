//! Slots in real files: mirrors that come and go, key-encryption keys, copies and mistakes.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use sha2::Digest;

use super::*;
use crate::vault::{Kek, Passphrase, SlotConfig, WrappedBy, root::SECTORS_APART};

struct World {
    temp: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir(temp.path().join("usb")).unwrap();
        Self { temp }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    fn config(&self) -> SlotConfig {
        SlotConfig::from(&self.at("root")).with_mirror(self.at("usb/mirror"))
    }

    fn create(&self) -> Vault {
        Vault::create(&self.at("vault"), self.config()).unwrap()
    }

    fn open(&self, config: impl Into<SlotConfig>) -> Result<Vault, OpenVaultError> {
        Vault::open(&self.at("vault"), config)
    }

    /// The device is unplugged, or comes back.
    fn unplug(&self) {
        fs::rename(self.at("usb"), self.at("unplugged")).unwrap();
    }

    fn plug(&self) {
        fs::rename(self.at("unplugged"), self.at("usb")).unwrap();
    }

    /// The 32 bytes that are the root key, in a slot that is not wrapped.
    fn root_key(&self, file: &str) -> Vec<u8> {
        fs::read(self.at(file)).unwrap()[104..136].to_vec()
    }

    fn holds(&self, file: &str, needle: &[u8]) -> bool {
        fs::read(self.at(file)).unwrap().windows(needle.len()).any(|window| window == needle)
    }
}

fn stale(vault: &Vault) -> Vec<String> {
    vault.stale_mirrors().unwrap().into_iter().map(|mirror| mirror.name).collect()
}

fn damage(file: &Path, at: &[usize]) {
    let mut bytes = fs::read(file).unwrap();
    at.iter().for_each(|at| bytes[*at] ^= 0x20);
    fs::write(file, bytes).unwrap();
}

#[tokio::test]
async fn a_destroy_overwrites_every_mirror() {
    let world = World::new();
    let vault = world.create();
    key(&vault, "user-1", "user-1").await.unwrap();
    let earlier = world.root_key("root");
    assert_eq!(earlier, world.root_key("usb/mirror"));
    forget(&vault, "user-1").await;
    assert_eq!(stale(&vault), Vec::<String>::new());
    drop(vault);
    for file in ["root", "usb/mirror"] {
        assert!(!world.holds(file, &earlier), "{file}");
    }
    let mode = fs::metadata(world.at("usb/mirror")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn an_unreachable_mirror_keeps_the_erasure_pending_by_name_until_it_is_overwritten() {
    let world = World::new();
    let name = world.at("usb/mirror").display().to_string();
    let vault = world.create();
    let kept = key(&vault, "user-1", "user-1").await.unwrap().id();
    let gone = key(&vault, "user-2", "user-2").await.unwrap().id();
    world.unplug();
    assert_eq!(stale(&vault), Vec::<String>::new(), "it holds the present root all the same");
    let earlier = world.root_key("unplugged/mirror");
    forget(&vault, "user-2").await;
    // The vault works, and knows which copy is left.
    assert_eq!(stale(&vault), std::slice::from_ref(&name));
    assert_eq!(vault.stale_mirrors().unwrap()[0].may_hold, Some(0));
    shredded(vault.opening_key(gone));
    key(&vault, "user-3", "user-3").await.unwrap();
    crash(vault);

    // It is known ever after, whoever opens and whatever they name.
    for _ in 0..2 {
        let vault = world.open(&world.at("root")).unwrap();
        assert_eq!(stale(&vault), std::slice::from_ref(&name));
        live(vault.opening_key(kept));
    }
    let vault = world.open(&world.at("root")).unwrap();
    assert!(!world.at("usb").exists(), "the place of an absent device is left alone");
    world.plug();
    assert!(world.holds("usb/mirror", &earlier));
    vault.retry_mirrors().await.unwrap();
    assert_eq!(stale(&vault), Vec::<String>::new());
    assert!(!world.holds("usb/mirror", &earlier));

    // Opening tries again, too.
    world.unplug();
    forget(&vault, "user-3").await;
    drop(vault);
    world.plug();
    assert_eq!(stale(&world.open(&world.at("root")).unwrap()), Vec::<String>::new());
}

#[tokio::test]
async fn a_missing_slot_is_made_again_from_its_mirror() {
    let world = World::new();
    let vault = world.create();
    let kept = key(&vault, "user-1", "user-1").await.unwrap().id();
    forget(&vault, "user-2").await;
    drop(vault);
    fs::remove_file(world.at("root")).unwrap();
    assert!(matches!(
        world.open(&world.at("root")),
        Err(OpenVaultError::Slot(SlotError::Missing(_)))
    ));
    let vault = world.open(world.config()).unwrap();
    live(vault.opening_key(kept));
    drop(vault);
    assert_eq!(fs::metadata(world.at("root")).unwrap().permissions().mode() & 0o777, 0o600);
    live(world.open(&world.at("root")).unwrap().opening_key(kept));
}

#[tokio::test]
async fn a_stale_mirror_does_not_bring_back_what_was_forgotten() {
    let world = World::new();
    let vault = world.create();
    key(&vault, "user-1", "user-1").await.unwrap();
    world.unplug();
    forget(&vault, "user-1").await;
    vault.flush().await.unwrap();
    drop(vault);
    world.plug();
    fs::remove_file(world.at("root")).unwrap();
    let opened = world.open(world.config());
    assert!(
        matches!(opened, Err(OpenVaultError::SlotOutdated { slot: 0, vault: 1 })),
        "{opened:?}"
    );
    assert!(!world.at("root").exists());
}

#[tokio::test]
async fn an_old_or_damaged_slot_gives_way_to_a_newer_mirror() {
    let world = World::new();
    let vault = world.create();
    let kept = key(&vault, "user-1", "user-1").await.unwrap().id();
    let old = fs::read(world.at("root")).unwrap();
    forget(&vault, "user-2").await;
    drop(vault);
    let present = world.root_key("root");
    fs::write(world.at("root"), &old).unwrap();
    let vault = world.open(world.config()).unwrap();
    live(vault.opening_key(kept));
    drop(vault);
    assert_eq!(world.root_key("root"), present);

    damage(&world.at("root"), &[50, SECTORS_APART + 50]);
    live(world.open(world.config()).unwrap().opening_key(kept));
    assert_eq!(world.root_key("root"), present);
    // Without a mirror an old slot is told as such, and both sectors damaged, too.
    fs::remove_dir_all(world.at("usb")).unwrap();
    fs::write(world.at("root"), &old).unwrap();
    let opened = world.open(world.config());
    assert!(
        matches!(opened, Err(OpenVaultError::SlotOutdated { slot: 0, vault: 1 })),
        "{opened:?}"
    );
    damage(&world.at("root"), &[50, SECTORS_APART + 50]);
    let opened = world.open(&world.at("root"));
    assert!(matches!(opened, Err(OpenVaultError::Slot(SlotError::Damaged(_)))), "{opened:?}");
}

/// It may hold a root that is newer than the slot's: then the slot is an old copy.
#[tokio::test]
async fn a_mirror_of_a_newer_format_is_not_one_that_is_away() {
    let world = World::new();
    let vault = world.create();
    let kept = key(&vault, "user-1", "user-1").await.unwrap().id();
    drop(vault);
    let before = fs::read(world.at("usb/mirror")).unwrap();
    let mut newer = before.clone();
    for at in [0, SECTORS_APART] {
        let sector = &mut newer[at..at + 4096];
        sector[19] += 1;
        let sum = sha2::Sha256::digest(&sector[..4096 - 32]);
        sector[4096 - 32..].copy_from_slice(&sum);
    }
    fs::write(world.at("usb/mirror"), &newer).unwrap();
    // Whether the caller names it or the slot does, and whether the slot itself is there.
    for config in [world.config(), (&world.at("root")).into()] {
        let told = world.open(config).unwrap_err();
        assert!(matches!(&told, OpenVaultError::Slot(SlotError::NewerMirror { .. })), "{told:?}");
        let told = told.to_string();
        assert!(told.contains("usb/mirror") && told.contains("use the newer program"), "{told}");
    }
    let root = fs::read(world.at("root")).unwrap();
    fs::remove_file(world.at("root")).unwrap();
    assert!(matches!(
        world.open(world.config()),
        Err(OpenVaultError::Slot(SlotError::NewerMirror { .. }))
    ));
    assert_eq!(fs::read(world.at("usb/mirror")).unwrap(), newer);
    fs::write(world.at("root"), root).unwrap();
    fs::set_permissions(world.at("root"), fs::Permissions::from_mode(0o600)).unwrap();
    // To be read, mirrors have no part in it.
    drop(Vault::open_as(&world.at("vault"), world.config(), OpenAs::ReadOnly).unwrap());
    fs::write(world.at("usb/mirror"), before).unwrap();
    live(world.open(world.config()).unwrap().opening_key(kept));
}

#[tokio::test]
async fn a_damaged_mirror_is_mended_and_a_strangers_file_is_left_alone() {
    let world = World::new();
    drop(world.create());
    let mirror = world.at("usb/mirror");
    damage(&mirror, &[50]);
    drop(world.open(world.config()).unwrap());
    damage(&mirror, &[50, SECTORS_APART + 50]);
    let vault = world.open(world.config()).unwrap();
    assert_eq!(stale(&vault), Vec::<String>::new());
    assert_eq!(world.root_key("root"), world.root_key("usb/mirror"));

    // Others may read it, or it is something else: not touched, and told.
    fs::set_permissions(&mirror, fs::Permissions::from_mode(0o644)).unwrap();
    forget(&vault, "user-1").await;
    let told = vault.stale_mirrors().unwrap()[0].trouble.clone().unwrap();
    assert!(told.contains("644"), "{told}");
    fs::set_permissions(&mirror, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&mirror, "Dear diary").unwrap();
    vault.retry_mirrors().await.unwrap();
    assert_eq!(stale(&vault).len(), 1);
    assert_eq!(fs::read(&mirror).unwrap(), b"Dear diary");

    // The slot of another vault is not ours to overwrite.
    let other = World::new();
    drop(other.create());
    fs::copy(other.at("root"), &mirror).unwrap();
    let theirs = fs::read(&mirror).unwrap();
    vault.retry_mirrors().await.unwrap();
    let told = vault.stale_mirrors().unwrap()[0].trouble.clone().unwrap();
    assert!(told.contains("belongs to vault"), "{told}");
    assert_eq!(fs::read(&mirror).unwrap(), theirs);
}

#[tokio::test]
async fn mirrors_are_added_and_retired() {
    let world = World::new();
    let vault = Vault::create(&world.at("vault"), &world.at("root")).unwrap();
    let (one, two) = (world.at("one"), world.at("two"));
    fs::write(&two, "Dear diary").unwrap();
    fs::set_permissions(&two, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(matches!(vault.add_mirror(&two).await, Err(SlotError::Mirror { .. })));
    assert!(matches!(vault.add_mirror(&world.at("root")).await, Err(SlotError::Mirror { .. })));
    // The slot has room for so many names.
    let long = |n: u32| world.at(&format!("{n}/{}", "x".repeat(200)));
    for n in 0..100 {
        fs::create_dir(world.at(&n.to_string())).unwrap();
        match vault.add_mirror(&long(n)).await {
            Ok(()) => assert!(n < 50, "where does it all go?"),
            Err(SlotError::Mirror { why, .. }) => {
                assert!(n > 5 && why.contains("bytes") && !long(n).exists(), "{n}: {why}");
                break;
            }
            Err(other) => panic!("{other}"),
        }
    }
    for mirror in vault.root_slot().unwrap().mirrors {
        vault.retire_mirror(Path::new(&mirror.name), false).await.unwrap();
    }

    vault.add_mirror(&one).await.unwrap();
    vault.add_mirror(&one).await.unwrap();
    assert_eq!(vault.root_slot().unwrap().mirrors.len(), 1);
    assert_eq!(world.root_key("one"), world.root_key("root"));
    assert!(matches!(vault.retire_mirror(&two, false).await, Err(SlotError::Mirror { .. })));
    vault.retire_mirror(&one, false).await.unwrap();
    assert!(!one.exists());

    // One that is lost is given up only by whoever answers for it.
    vault.add_mirror(&one).await.unwrap();
    fs::rename(&one, world.at("lost")).unwrap();
    forget(&vault, "user-1").await;
    assert!(matches!(vault.retire_mirror(&one, false).await, Err(SlotError::Mirror { .. })));
    assert_eq!(stale(&vault).len(), 1);
    vault.retire_mirror(&one, true).await.unwrap();
    assert_eq!(stale(&vault), Vec::<String>::new());
    drop(vault);
    let vault = world.open(&world.at("root")).unwrap();
    assert!(vault.root_slot().unwrap().mirrors.is_empty());
}

/// Two names of one file were two mirrors: retiring one destroyed the other, and every erasure was pending.
#[tokio::test]
async fn a_file_is_one_mirror_by_whichever_name_and_never_the_slot_itself() {
    let world = World::new();
    let link = std::os::unix::fs::symlink::<PathBuf, PathBuf>;
    link(world.at("usb"), world.at("link")).unwrap();
    let (mirror, spelled) = (world.at("usb/mirror"), world.at("usb/../usb/mirror"));
    for itself in ["root", "usb/../root"] {
        let config = world.config().with_mirror(world.at(itself));
        let created = Vault::create(&world.at("vault"), config);
        let told = created.unwrap_err().to_string();
        assert!(told.contains("the root slot itself"), "{told}");
        assert!(!world.at("root").exists() && !mirror.exists());
    }
    let config = world.config().with_mirror(&spelled).with_mirror(world.at("link/mirror"));
    let vault = Vault::create(&world.at("vault"), config.clone()).unwrap();
    drop(vault);
    let vault = world.open(config).unwrap();
    fs::hard_link(&mirror, world.at("second")).unwrap();
    for name in [&spelled, &world.at("link/mirror"), &world.at("second")] {
        vault.add_mirror(name).await.unwrap();
    }
    let names = |vault: &Vault| -> Vec<_> {
        vault.root_slot().unwrap().mirrors.into_iter().map(|mirror| mirror.name).collect()
    };
    assert_eq!(names(&vault), [mirror.to_str().unwrap()]);
    let told = vault.add_mirror(&world.at("usb/../root")).await.unwrap_err().to_string();
    assert!(told.contains("the root slot itself"), "{told}");
    forget(&vault, "user-1").await;
    assert_eq!(stale(&vault), Vec::<String>::new());
    vault.retire_mirror(&world.at("link/mirror"), false).await.unwrap();
    assert!(!mirror.exists() && names(&vault).is_empty());
    drop(vault);
    drop(world.open(&world.at("root")).unwrap());
}

/// A link or a mount may lead there since.
#[tokio::test]
async fn what_a_mirror_leads_to_now_is_not_destroyed_with_it_where_it_is_needed() {
    let world = World::new();
    fs::create_dir(world.at("stick")).unwrap();
    let vault = world.create();
    vault.add_mirror(&world.at("stick/mirror")).await.unwrap();
    fs::rename(world.at("stick"), world.at("away")).unwrap();
    std::os::unix::fs::symlink(world.at("usb"), world.at("stick")).unwrap();
    for (retired, needed) in [("stick/mirror", "usb/mirror"), ("usb/mirror", "stick/mirror")] {
        let told = vault.retire_mirror(&world.at(retired), false).await.unwrap_err().to_string();
        assert!(told.contains("it leads to") && told.contains(needed), "{told}");
        assert_eq!(world.root_key("usb/mirror"), world.root_key("root"));
    }
    // Whoever answers for it that no other file belongs to the name gives the name up alone.
    vault.retire_mirror(&world.at("stick/mirror"), true).await.unwrap();
    assert_eq!(vault.root_slot().unwrap().mirrors.len(), 1);
    vault.retire_mirror(&world.at("usb/mirror"), false).await.unwrap();
    assert!(!world.at("usb/mirror").exists() && world.at("away/mirror").exists());
    drop(vault);
    drop(world.open(&world.at("root")).unwrap());
}

/// The slot of another folder may be there.
#[test]
fn a_new_vault_takes_no_mirror_that_holds_a_root_or_something_else() {
    let (world, other) = (World::new(), World::new());
    drop(other.create());
    fs::write(world.at("diary"), "Dear diary").unwrap();
    fs::set_permissions(world.at("diary"), fs::Permissions::from_mode(0o600)).unwrap();
    for (mirror, why) in [(other.at("root"), "holds a root"), (world.at("diary"), "another file")] {
        let before = fs::read(&mirror).unwrap();
        let config = SlotConfig::from(&world.at("root")).with_mirror(&mirror);
        let refused = config.refuse_unfit_mirrors().unwrap_err().to_string();
        let created = Vault::create(&world.at("vault"), config).unwrap_err().to_string();
        for told in [refused, created] {
            assert!(told.contains(why) && !told.contains("from a backup"), "{told}");
        }
        assert!(!world.at("root").exists() && fs::read(&mirror).unwrap() == before);
    }
    drop(world.create());
}

#[test]
fn nothing_is_left_of_a_vault_whose_mirror_or_key_cannot_be_had() {
    let world = World::new();
    fs::write(world.at("file"), "").unwrap();
    let bad = world.config().with_mirror(world.at("file/mirror"));
    let created = Vault::create(&world.at("vault"), bad);
    assert!(
        matches!(created, Err(OpenVaultError::Slot(SlotError::NoFolder { .. }))),
        "{created:?}"
    );
    assert!(!world.at("root").exists() && !world.at("usb/mirror").exists());
    let created = Vault::create(&world.at("vault"), world.config().with_mirror(world.at("file")));
    assert!(matches!(created, Err(OpenVaultError::Slot(SlotError::Mirror { .. }))), "{created:?}");
    assert!(!world.at("root").exists() && !world.at("usb/mirror").exists());
    let bad = world.config().with_kek(Kek::File(world.at("no-key")), None);
    let created = Vault::create(&world.at("vault"), bad);
    assert!(
        matches!(created, Err(OpenVaultError::Slot(SlotError::KekUnusable { .. }))),
        "{created:?}"
    );
    assert!(!world.at("root").exists());
    drop(world.create());
}

#[tokio::test]
async fn no_file_of_a_slot_is_made_in_a_folder_that_is_not_there() {
    let world = World::new();
    let none = |error: OpenVaultError| match error {
        OpenVaultError::Slot(SlotError::NoFolder { folder, .. }) => {
            assert_eq!(folder, world.at("stick"));
            assert!(!world.at("stick").exists());
        }
        other => panic!("{other:?}"),
    };
    let (away, mirrored) =
        (world.at("stick/root"), world.config().with_mirror(world.at("stick/m")));
    for config in [SlotConfig::from(&away), mirrored.clone()] {
        none(Vault::create(&world.at("vault"), config).unwrap_err());
    }
    assert!(!world.at("vault").exists() && !world.at("root").exists());
    let vault = world.create();
    let kept = key(&vault, "user-1", "user-1").await.unwrap().id();
    none(vault.add_mirror(&world.at("stick/m")).await.unwrap_err().into());
    assert_eq!(vault.root_slot().unwrap().mirrors.len(), 1);
    // It goes on.
    key(&vault, "user-2", "user-2").await.unwrap();
    drop(vault);
    none(world.open(mirrored).unwrap_err());
    none(world.open(SlotConfig::from(&away).with_mirror(world.at("usb/mirror"))).unwrap_err());
    none(Vault::give_own_slot(&world.at("vault"), world.config(), &away).unwrap_err());
    live(world.open(world.config()).unwrap().opening_key(kept));
}

#[tokio::test]
async fn a_mirror_says_with_what_it_shares_a_device() {
    let world = World::new();
    let vault = world.create();
    let beside = |vault: &Vault| vault.root_slot().unwrap().mirrors[0].beside.clone();
    assert_eq!(beside(&vault), Some(world.at("root")));
    // One that cannot be reached says nothing.
    world.unplug();
    assert_eq!(beside(&vault), None);
    drop(vault);
    world.plug();
    assert_eq!(beside(&world.open(&world.at("root")).unwrap()), Some(world.at("root")));
    let medium = crate::vault::Medium::of(&world.at("root"));
    assert!(medium.is_none_or(|medium| medium.mounted_at.is_absolute()));
}

#[test]
fn a_file_is_no_place_for_a_vault() {
    let world = World::new();
    fs::write(world.at("vault"), "a text").unwrap();
    for made in [Vault::create(&world.at("vault"), world.config()), world.open(world.config())] {
        assert!(matches!(made, Err(OpenVaultError::NotAFolder(_))), "{made:?}");
    }
    assert!(!world.at("root").exists());
}

#[test]
fn a_slot_in_the_vaults_folder_is_refused() {
    let world = World::new();
    let vault = world.at("vault");
    let inside = SlotConfig::from(&vault.join("root"));
    for config in [inside, world.config().with_mirror(vault.join("x/mirror"))] {
        let created = Vault::create(&vault, config);
        assert!(
            matches!(created, Err(OpenVaultError::Slot(SlotError::Within { .. }))),
            "{created:?}"
        );
    }
    // By way of a link, too.
    fs::create_dir(&vault).unwrap();
    std::os::unix::fs::symlink(&vault, world.at("link")).unwrap();
    let created = Vault::create(&vault, &world.at("link/root"));
    assert!(matches!(created, Err(OpenVaultError::Slot(SlotError::Within { .. }))), "{created:?}");
    assert!(fs::read_dir(&vault).unwrap().next().is_none());
}

#[tokio::test]
async fn the_root_is_wrapped_and_the_kek_can_be_changed() {
    let world = World::new();
    let vault = world.create();
    let kept = key(&vault, "user-1", "user-1").await.unwrap().id();
    let clear = world.root_key("root");
    fs::write(world.at("key"), [7; 32]).unwrap();
    let file = Kek::File(world.at("key"));
    vault.set_kek(&file, None).await.unwrap();
    assert_eq!(vault.root_slot().unwrap().wrapped_by, WrappedBy::Key);
    for name in ["root", "usb/mirror"] {
        assert!(!world.holds(name, &clear), "{name}");
    }
    drop(vault);

    assert!(matches!(
        world.open(world.config()),
        Err(OpenVaultError::Slot(SlotError::KekMissing(WrappedBy::Key)))
    ));
    let owl = Passphrase::new("owl".to_owned());
    let wrong = world.config().with_kek(Kek::Passphrase, owl.clone());
    assert!(matches!(
        world.open(wrong),
        Err(OpenVaultError::Slot(SlotError::WrongKek(WrappedBy::Key)))
    ));
    fs::write(world.at("other"), [8; 32]).unwrap();
    let wrong = world.config().with_kek(Kek::File(world.at("other")), None);
    assert!(matches!(
        world.open(wrong),
        Err(OpenVaultError::Slot(SlotError::WrongKek(WrappedBy::Key)))
    ));
    let command = Kek::Command(format!("cat '{}'", world.at("key").display()));
    let vault = world.open(world.config().with_kek(command, None)).unwrap();
    live(vault.opening_key(kept));

    // A key that cannot be read changes nothing.
    let missing = vault.set_kek(&Kek::File(world.at("none")), None).await;
    assert!(matches!(missing, Err(SlotError::KekUnusable { .. })));
    vault.set_kek(&Kek::Passphrase, owl.as_ref()).await.unwrap();
    forget(&vault, "user-2").await;
    drop(vault);
    // The mirror alone opens with the new one as well.
    fs::remove_file(world.at("root")).unwrap();
    let vault = world.open(world.config().with_kek(Kek::Passphrase, owl)).unwrap();
    live(vault.opening_key(kept));
}

#[tokio::test]
async fn a_slot_opens_with_its_passphrase_in_whatever_form_it_is_typed() {
    let world = World::new();
    let vault = world.create();
    let typed = |text: &str| Passphrase::new(text.to_owned());
    vault.set_kek(&Kek::Passphrase, typed("caf\u{e9}-garten").as_ref()).await.unwrap();
    // Nothing is wrapped by what could not be typed again.
    for odd in ["owl\r", "owl\u{378}"] {
        let refused = vault.set_kek(&Kek::Passphrase, typed(odd).as_ref()).await;
        assert!(matches!(refused, Err(SlotError::KekUnusable { .. })), "{odd:?}");
    }
    drop(vault);
    let open = |text| world.open(world.config().with_kek(Kek::Passphrase, typed(text)));
    assert!(matches!(
        open("cafe-garten"),
        Err(OpenVaultError::Slot(SlotError::WrongKek(WrappedBy::Passphrase)))
    ));
    drop(open("cafe\u{301}-garten").unwrap());
    drop(open("caf\u{e9}-garten").unwrap());
}

/// Checks of others refuse an `origin` or a `vault` that is none.
#[test]
fn a_vaults_id_is_a_random_uuid() {
    for _ in 0..8 {
        let id = World::new().create().id().0;
        assert_eq!((id.get_version_num(), id.get_variant()), (4, uuid::Variant::RFC4122), "{id}");
    }
}

#[tokio::test]
async fn a_mirror_that_was_away_when_the_kek_changed_is_stale() {
    let world = World::new();
    let vault = world.create();
    let clear = world.root_key("root");
    world.unplug();
    fs::write(world.at("key"), [7; 32]).unwrap();
    vault.set_kek(&Kek::File(world.at("key")), None).await.unwrap();
    assert_eq!(stale(&vault).len(), 1);
    world.plug();
    vault.retry_mirrors().await.unwrap();
    assert_eq!(stale(&vault), Vec::<String>::new());
    assert!(!world.holds("usb/mirror", &clear));
}
