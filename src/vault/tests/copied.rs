//! Folders that were copied, moved and restored, over one root slot.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};
#[path = "../../../tests/device/skip.rs"]
mod skip;

use super::{folder::copy_folder, *};
use crate::vault::{MemoKind, SlotConfig, Vouched};

struct World {
    temp: tempfile::TempDir,
}

impl World {
    /// With production in `prod` and its slot in `root`.
    async fn new() -> (Self, KeyId) {
        let world = Self { temp: tempfile::tempdir().unwrap() };
        let vault = Vault::create(&world.at("prod"), &world.at("root")).unwrap();
        let kept = key(&vault, "user-1", "user-1").await.unwrap().id();
        drop(vault);
        (world, kept)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.temp.path().canonicalize().unwrap().join(name)
    }

    fn open(&self, folder: &str) -> Result<Vault, OpenVaultError> {
        self.open_as(folder, OpenAs::Known)
    }

    fn open_as(&self, folder: &str, how: OpenAs) -> Result<Vault, OpenVaultError> {
        Vault::open_as(&self.at(folder), &self.at("root"), how)
    }

    /// `cp -r`
    fn copy(&self, from: &str, to: &str) {
        copy_folder(&self.at(from), &self.at(to));
    }

    fn slot(&self) -> Vec<u8> {
        fs::read(self.at("root")).unwrap()
    }

    /// Whether the folder is refused as a copy, and the slot stays as it is.
    fn copied(&self, folder: &str, of: &str) {
        let slot = self.slot();
        let error = self.open(folder).unwrap_err();
        let told = error.to_string();
        match error {
            OpenVaultError::FolderCopied { folder: copy, of: original } => {
                assert_eq!((copy, original), (self.at(folder), self.at(of)));
            }
            other => panic!("{other}"),
        }
        for word in ["to be read", "root slot of its own", "that it is the one"] {
            assert!(told.contains(word), "{told}");
        }
        assert!(self.slot() == slot);
    }

    /// Whether the folder is refused as old, and the slot stays as it is.
    fn old(&self, folder: &str) {
        let slot = self.slot();
        let opened = self.open(folder);
        assert!(
            matches!(&opened, Err(OpenVaultError::FolderOld(path)) if *path == self.at(folder)),
            "{opened:?}"
        );
        assert!(self.slot() == slot);
    }
}

/// A staging folder, made by `cp -r`, in which somebody was forgotten, or the root rotated.
#[tokio::test]
async fn work_in_a_copied_folder_cost_production_every_key() {
    for first in ["prod", "staging"] {
        let (world, kept) = World::new().await;
        world.copy("prod", "staging");
        if first == "prod" {
            drop(world.open("prod").unwrap());
        }
        world.copied("staging", "prod");
        let vault = world.open("prod").unwrap();
        live(vault.opening_key(kept));
        forget(&vault, "user-2").await;
        vault.rotate_root().await.unwrap();
        drop(vault);
        // By now its pages do not open, whatever is said of them.
        for how in [OpenAs::Known, OpenAs::TheOne, OpenAs::ReadOnly] {
            let opened = world.open_as("staging", how);
            assert!(matches!(opened, Err(OpenVaultError::RolledBack { epoch: 2 })), "{opened:?}");
        }
        live(world.open("prod").unwrap().opening_key(kept));
    }
}

#[tokio::test]
async fn a_copy_that_takes_the_place_of_the_other_says_so_and_the_other_is_refused() {
    let (world, kept) = World::new().await;
    world.copy("prod", "staging");
    live(world.open_as("staging", OpenAs::TheOne).unwrap().opening_key(kept));
    // One word is enough.
    live(world.open("staging").unwrap().opening_key(kept));
    world.old("prod");
    drop(world.open_as("prod", OpenAs::TheOne).unwrap());
    world.old("staging");
}

#[tokio::test]
async fn a_copy_that_was_opened_over_a_slot_of_its_own_is_refused_over_the_others() {
    for (as_what, moved) in [(OpenAs::TheOne, false), (OpenAs::Known, true)] {
        let (world, kept) = World::new().await;
        world.copy("prod", "staging");
        fs::copy(world.at("root"), world.at("staging.root")).unwrap();
        // On another machine nothing is seen of the folder that it was copied from.
        if moved {
            fs::rename(world.at("prod"), world.at("away")).unwrap();
        }
        drop(Vault::open_as(&world.at("staging"), &world.at("staging.root"), as_what).unwrap());
        let opened = world.open("staging");
        assert!(matches!(opened, Err(OpenVaultError::SlotOld(_))), "{as_what:?}: {opened:?}");
        if moved {
            fs::rename(world.at("away"), world.at("prod")).unwrap();
        }
        live(world.open("prod").unwrap().opening_key(kept));
    }
}

#[tokio::test]
async fn a_copy_is_refused_where_nothing_is_seen_of_the_other_as_soon_as_that_was_opened() {
    let (world, kept) = World::new().await;
    world.copy("prod", "staging");
    drop(world.open("prod").unwrap());
    fs::rename(world.at("prod"), world.at("away")).unwrap();
    world.old("staging");
    fs::rename(world.at("away"), world.at("prod")).unwrap();
    live(world.open("prod").unwrap().opening_key(kept));
}

#[tokio::test]
async fn a_moved_folder_goes_on() {
    let (world, kept) = World::new().await;
    fs::rename(world.at("prod"), world.at("moved")).unwrap();
    live(world.open("moved").unwrap().opening_key(kept));
    // To another disk, where it is a folder of its own.
    world.copy("moved", "far");
    fs::remove_dir_all(world.at("moved")).unwrap();
    live(world.open("far").unwrap().opening_key(kept));
    // Another vault is by now where it was.
    fs::rename(world.at("far"), world.at("on")).unwrap();
    drop(Vault::create(&world.at("far"), &world.at("other")).unwrap());
    live(world.open("on").unwrap().opening_key(kept));
    // By way of a link it is the same.
    std::os::unix::fs::symlink(world.at("on"), world.at("link")).unwrap();
    live(world.open("link").unwrap().opening_key(kept));
}

/// As in a container, where its folder has another path than outside.
#[tokio::test]
async fn a_folder_that_is_mounted_at_two_places_is_one() {
    let (world, kept) = World::new().await;
    fs::create_dir(world.at("bound")).unwrap();
    let (from, to) = (world.at("prod"), world.at("bound"));
    let mounted = Command::new("mount").arg("--bind").args([&from, &to]).status();
    if !mounted.is_ok_and(|status| status.success()) {
        skip::skipped(
            "OUBLIETTE_REQUIRE_DISKS",
            "a folder cannot be mounted at two places; run as root",
        );
        return;
    }
    let opened = ["bound", "prod", "bound"].map(|folder| {
        let opened = world.open(folder);
        opened.map(|vault| drop(live(vault.opening_key(kept)))).map_err(|error| error.to_string())
    });
    assert!(Command::new("umount").arg(&to).status().unwrap().success());
    assert_eq!(opened, [const { Ok(()) }; 3]);
}

#[tokio::test]
async fn a_restored_folder_is_refused_and_goes_on_at_a_word() {
    // Restored as it was last, and as it was some openings ago.
    for openings in [0, 1, 3] {
        let (world, kept) = World::new().await;
        world.copy("prod", "backup");
        for _ in 0..openings {
            drop(world.open("prod").unwrap());
        }
        fs::remove_dir_all(world.at("prod")).unwrap();
        world.copy("backup", "prod");
        fs::remove_dir_all(world.at("backup")).unwrap();
        if openings > 0 || fs::metadata(world.at("prod")).unwrap().created().is_ok() {
            world.old("prod");
        }
        live(world.open_as("prod", OpenAs::TheOne).unwrap().opening_key(kept));
        live(world.open("prod").unwrap().opening_key(kept));
    }
}

#[tokio::test]
async fn a_slot_that_was_put_back_is_told_from_a_folder_that_was() {
    let (world, kept) = World::new().await;
    let slot = world.slot();
    drop(world.open("prod").unwrap());
    fs::write(world.at("root"), &slot).unwrap();
    let opened = world.open("prod");
    assert!(matches!(opened, Err(OpenVaultError::SlotOld(_))), "{opened:?}");
    assert!(world.slot() == slot);
    live(world.open_as("prod", OpenAs::TheOne).unwrap().opening_key(kept));

    // The slot of another copy, which was opened more often than this one.
    fs::create_dir(world.at("twin")).unwrap();
    world.copy("prod", "twin/vault");
    fs::copy(world.at("root"), world.at("twin/root")).unwrap();
    for how in [OpenAs::TheOne, OpenAs::Known, OpenAs::Known] {
        drop(Vault::open_as(&world.at("twin/vault"), &world.at("twin/root"), how).unwrap());
    }
    fs::rename(world.at("twin/root"), world.at("root")).unwrap();
    fs::remove_dir_all(world.at("twin")).unwrap();
    world.old("prod");
}

#[tokio::test]
async fn a_mirror_that_was_away_for_long_takes_a_word_when_the_slot_is_lost() {
    let (world, kept) = World::new().await;
    fs::create_dir(world.at("usb")).unwrap();
    let config = || SlotConfig::from(&world.at("root")).with_mirror(world.at("usb/mirror"));
    let open = |how| Vault::open_as(&world.at("prod"), config(), how);
    drop(open(OpenAs::Known).unwrap());
    fs::rename(world.at("usb"), world.at("unplugged")).unwrap();
    for _ in 0..3 {
        drop(world.open("prod").unwrap());
    }
    // With the slot there, an older mirror is overwritten.
    fs::rename(world.at("unplugged"), world.at("usb")).unwrap();
    let old = fs::read(world.at("usb/mirror")).unwrap();
    drop(world.open("prod").unwrap());
    assert!(world.slot() == fs::read(world.at("usb/mirror")).unwrap());
    fs::write(world.at("usb/mirror"), old).unwrap();

    fs::remove_file(world.at("root")).unwrap();
    assert!(matches!(open(OpenAs::Known), Err(OpenVaultError::SlotOld(_))));
    assert!(!world.at("root").exists());
    live(open(OpenAs::TheOne).unwrap().opening_key(kept));
    live(world.open("prod").unwrap().opening_key(kept));
}

/// All files of a folder, with what is in them and when they were last written.
fn state(folder: &Path) -> Vec<(PathBuf, Vec<u8>, std::time::SystemTime)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(state(&path));
        } else {
            let written = fs::metadata(&path).unwrap().modified().unwrap();
            all.push((path.clone(), fs::read(&path).unwrap(), written));
        }
    }
    all.sort();
    all
}

#[tokio::test]
async fn to_read_nothing_is_written() {
    let (world, kept) = World::new().await;
    world.copy("prod", "copy");
    let (before, slot) = (state(&world.at("copy")), world.slot());
    let vault = world.open_as("copy", OpenAs::ReadOnly).unwrap();
    let second = world.open_as("copy", OpenAs::ReadOnly).unwrap();
    assert!(vault.is_read_only());
    live(vault.opening_key(kept));
    assert_eq!(vault.keys_of(&subject("user-1")).unwrap().len(), 1);
    assert!(vault.inventory().all(|entry| entry.is_ok()));
    // Nobody is forgotten while others have the root that they would be read with.
    assert!(matches!(world.open("prod"), Err(OpenVaultError::InUse(_))));
    for refused in [
        key(&vault, "user-2", "user-2").await.map(drop),
        vault.rotate_root().await.map(drop),
        vault.flush().await,
        vault.add_mirror(&world.at("mirror")).await.map_err(VaultError::from),
        vault.put_memo(MemoKind::Journal, [1; 16], b"x").await,
        vault.judge(true, &mut |_| {}, &mut |_| {}).map(drop),
    ] {
        assert!(matches!(refused, Err(VaultError::ReadOnly)), "{refused:?}");
    }
    live(vault.opening_key(kept));
    assert!(vault.judge(false, &mut |_| {}, &mut |_| {}).is_ok());
    drop((vault, second));
    assert!(state(&world.at("copy")) == before && world.slot() == slot);
    live(world.open("prod").unwrap().opening_key(kept));
}

#[tokio::test]
async fn a_copy_with_a_slot_of_its_own_forgets_on_its_own() {
    let (world, kept) = World::new().await;
    world.copy("prod", "staging");
    let own =
        |folder: &str| Vault::give_own_slot(&world.at(folder), &world.at("root"), &world.at("own"));
    let refused = own("prod");
    assert!(matches!(refused, Err(OpenVaultError::OwnSlot)), "{refused:?}");
    assert!(!world.at("own").exists());

    // Production goes on meanwhile.
    let production = world.open("prod").unwrap();
    let slot = world.slot();
    let staging = own("staging").unwrap();
    assert!(world.slot() == slot);
    assert_eq!(staging.id(), production.id());
    // What staging announces had people forgotten in production, wherever its events were taken.
    let (signer, signature) = staging.sign(|_| b"said in staging".to_vec()).unwrap();
    let worth = production.vouches(signer, b"said in staging", &signature).unwrap();
    assert_eq!(worth, Vouched::UnknownKey);
    let secrets = staging.memos(MemoKind::SigningSecret).unwrap();
    assert!(
        matches!(secrets.as_slice(), [(id, _)] if *id == signer.0),
        "production's stays behind"
    );
    live(staging.opening_key(kept));
    // What either of them makes from now on, the other does not take for its own.
    let theirs = key(&staging, "new", "new").await.unwrap().id();
    let ours = key(&production, "new", "new").await.unwrap().id();
    assert_ne!(theirs.era(), ours.era(), "one era each");
    assert!(matches!(production.opening_key(theirs), Err(VaultError::KeyMissing(_))));
    forget(&staging, "user-1").await;
    shredded(staging.opening_key(kept));
    drop(staging);
    live(production.opening_key(kept));
    forget(&production, "user-2").await;
    drop(production);

    let staging = Vault::open(&world.at("staging"), &world.at("own")).unwrap();
    shredded(staging.opening_key(kept));
    live(world.open("prod").unwrap().opening_key(kept));
    let opened = world.open("staging");
    assert!(opened.is_err(), "{opened:?}");
}

/// As after a crash between the last page and the slot: the copy was taken for the folder of the slot
/// that it shared, and nothing could be done about it any more.
#[tokio::test]
async fn a_copy_that_was_cut_off_before_it_had_its_slot_belongs_to_none() {
    let (world, kept) = World::new().await;
    world.copy("prod", "staging");
    let (from, half) = (world.at("root"), world.at("half"));
    let cut_off =
        Tree::give_own_slot(&world.at("staging"), from.as_path().into(), half.as_path().into());
    drop(cut_off.unwrap());
    let slot = world.slot();
    let opened = world.open("staging");
    assert!(opened.is_err(), "{opened:?}");
    assert!(world.slot() == slot);
    live(world.open("prod").unwrap().opening_key(kept));
    let again = Vault::give_own_slot(&world.at("staging"), &from, &world.at("own"));
    live(again.unwrap().opening_key(kept));
    live(world.open("prod").unwrap().opening_key(kept));
}

/// Between containers and machines no lock reaches.
#[tokio::test]
async fn who_no_longer_has_the_slot_writes_nothing() {
    let (world, kept) = World::new().await;
    fs::create_dir(world.at("twin")).unwrap();
    world.copy("prod", "twin/vault");
    let vault = world.open("prod").unwrap();
    // Elsewhere: over the same slot, by its bytes.
    fs::copy(world.at("root"), world.at("twin/root")).unwrap();
    let twin = (world.at("twin/vault"), world.at("twin/root"));
    drop(Vault::open_as(&twin.0, &twin.1, OpenAs::TheOne).unwrap());
    let theirs = fs::read(&twin.1).unwrap();
    fs::write(world.at("root"), &theirs).unwrap();

    let losses = vec![Loss { subject: subject("user-1"), dead: Dead::All }];
    let destruction = Destruction::new(ErasureId::now(), losses);
    let refused = vault.destroy(&destruction, b"").await;
    assert!(matches!(refused, Err(VaultError::Slot(SlotError::Taken(_)))), "{refused:?}");
    assert!(world.slot() == theirs);
    drop(vault);
    let twin = Vault::open(&twin.0, &world.at("root")).unwrap();
    live(twin.opening_key(kept));
}

/// A mirror that is retired is wiped, and by then it is somebody else's.
#[tokio::test]
async fn who_no_longer_has_the_slot_wipes_no_mirror_of_it() {
    let (world, _) = World::new().await;
    let mirror = world.at("mirror");
    let vault = world.open("prod").unwrap();
    vault.add_mirror(&mirror).await.unwrap();
    world.copy("prod", "twin");
    fs::copy(world.at("root"), world.at("twin.root")).unwrap();
    drop(Vault::open_as(&world.at("twin"), &world.at("twin.root"), OpenAs::TheOne).unwrap());
    fs::write(world.at("root"), fs::read(world.at("twin.root")).unwrap()).unwrap();

    let theirs = fs::read(&mirror).unwrap();
    let refused = vault.retire_mirror(&mirror, false).await;
    assert!(matches!(refused, Err(SlotError::Taken(_))), "{refused:?}");
    assert!(fs::read(&mirror).unwrap() == theirs);
}

/// How long an opening takes, and how long one that writes nothing.
#[allow(clippy::print_stdout)]
#[tokio::test]
#[ignore = "a measurement, not a test"]
async fn openings() {
    let (world, _) = World::new().await;
    let median = |how| {
        let mut took: Vec<_> = (0..40)
            .map(|_| {
                let begun = std::time::Instant::now();
                let vault = world.open_as("prod", how).unwrap();
                let took = begun.elapsed();
                drop(vault);
                took
            })
            .collect();
        took.sort();
        took[20]
    };
    println!("{:?}; to be read: {:?}", median(OpenAs::Known), median(OpenAs::ReadOnly));
}
