//! Moving a vault's pages from one page store to another.

use std::{fs, path::PathBuf};

use super::{folder::copy_folder, *};
use crate::vault::{MemoKind, PageStoreKind};

struct Places {
    _temp: tempfile::TempDir,
    folder: PathBuf,
    root: PathBuf,
}

impl Places {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let (folder, root) = (temp.path().join("vault"), temp.path().join("root"));
        Self { _temp: temp, folder, root }
    }

    fn open(&self) -> Vault {
        Vault::open(&self.folder, &self.root).unwrap()
    }

    fn move_to(&self, to: PageStoreKind) -> crate::vault::Moved {
        Vault::move_pages(&self.folder, &self.root, to, |_| {}).unwrap()
    }

    /// Its page stores, by the folders that are there.
    fn stores(&self) -> Vec<PageStoreKind> {
        PageStoreKind::ALL
            .into_iter()
            .filter(|kind| self.folder.join(kind.folder()).exists())
            .collect()
    }
}

/// A vault in such a store, with people, one of whom is forgotten.
async fn filled(pages: PageStoreKind) -> (Places, Vec<([u8; 32], KeyId)>, KeyId) {
    let places = Places::new();
    let vault = Vault::create_with(&places.folder, &places.root, pages).unwrap();
    let names: Vec<String> = (0..600).map(|n| format!("user-{n}")).collect();
    let made = names.iter().map(|name| key(&vault, name, name));
    let made = futures::future::try_join_all(made).await.unwrap();
    let mut keys: Vec<_> = made.iter().map(|key| (*key.secret(), key.id())).collect();
    forget(&vault, &names[7]).await;
    let (_, gone) = keys.remove(7);
    vault.put_memo(MemoKind::Journal, [1; 16], &[7; 40_000]).await.unwrap();
    drop(vault);
    (places, keys, gone)
}

fn is_whole(vault: &Vault, keys: &[([u8; 32], KeyId)], gone: KeyId) {
    for (secret, id) in keys {
        assert_eq!(live(vault.opening_key(*id)).secret(), secret);
    }
    shredded(vault.opening_key(gone));
    assert_eq!(vault.memos(MemoKind::Journal).unwrap()[0].1.len(), 40_000);
}

#[tokio::test]
async fn pages_move_there_and_back_and_the_vault_is_what_it_was() {
    let (places, keys, gone) = filled(PageStoreKind::Sled).await;
    let id = places.open().id();
    for to in [PageStoreKind::Sqlite, PageStoreKind::Sqlite, PageStoreKind::Sled] {
        let moved = places.move_to(to);
        assert_eq!(moved.from == to, moved.pages == 0);
        assert_eq!(places.stores(), [to]);
        assert_eq!(PageStoreKind::of_vault(&places.folder).unwrap(), to);
        let vault = places.open();
        assert_eq!(vault.id(), id);
        is_whole(&vault, &keys, gone);
        forget(&vault, &format!("somebody-in-{to}")).await;
    }
}

#[tokio::test]
async fn a_vault_made_in_sqlite_forgets_and_opens_again() {
    let (places, keys, gone) = filled(PageStoreKind::Sqlite).await;
    assert_eq!(places.stores(), [PageStoreKind::Sqlite]);
    is_whole(&places.open(), &keys, gone);
}

#[tokio::test]
async fn a_move_that_was_cut_off_leaves_the_old_store_in_force() {
    let (places, keys, gone) = filled(PageStoreKind::Sled).await;
    let copies = places.folder.with_file_name("copies");
    // What is there after each part, and the slot at that moment.
    let cut = |pages: u64| {
        let copy = copies.join(pages.to_string());
        copy_folder(&places.folder, &copy.join("vault"));
        fs::copy(&places.root, copy.join("root")).unwrap();
    };
    Vault::move_pages(&places.folder, &places.root, PageStoreKind::Sqlite, cut).unwrap();
    let cuts: Vec<_> = fs::read_dir(&copies).unwrap().map(|cut| cut.unwrap().path()).collect();
    assert!(!cuts.is_empty());
    for cut in cuts {
        let (folder, root) = (cut.join("vault"), cut.join("root"));
        assert!(folder.join("pages.sqlite").exists());
        // It is a copy, over a copy of the slot.
        let vault = Vault::open_as(&folder, &root, OpenAs::TheOne).unwrap();
        is_whole(&vault, &keys, gone);
        drop(vault);
        assert!(!folder.join("pages.sqlite").exists(), "what was left is not removed");
        Vault::move_pages(&folder, &root, PageStoreKind::Sqlite, |_| {}).unwrap();
        is_whole(&Vault::open(&folder, &root).unwrap(), &keys, gone);
    }
}

#[tokio::test]
async fn a_move_that_was_cut_off_at_its_end_leaves_the_new_one() {
    let (places, keys, gone) = filled(PageStoreKind::Sled).await;
    let old = places.folder.with_file_name("old");
    copy_folder(&places.folder.join("pages"), &old);
    places.move_to(PageStoreKind::Sqlite);
    copy_folder(&old, &places.folder.join("pages"));
    is_whole(&places.open(), &keys, gone);
    assert_eq!(places.stores(), [PageStoreKind::Sqlite]);
}

/// Nothing is removed before it is sure which store the vault's pages are in.
#[tokio::test]
async fn a_header_that_names_the_wrong_store_costs_no_page() {
    let (places, keys, gone) = filled(PageStoreKind::Sled).await;
    let header = places.folder.join("vault.json");
    let right = fs::read_to_string(&header).unwrap();
    fs::write(&header, right.replace("\"sled\"", "\"sqlite\"")).unwrap();
    Vault::open(&places.folder, &places.root).unwrap_err();
    let moved = Vault::move_pages(&places.folder, &places.root, PageStoreKind::Sled, |_| {});
    moved.unwrap_err();
    fs::write(&header, right.replace("\"sled\"", "\"a newer one\"")).unwrap();
    let opened = Vault::open(&places.folder, &places.root);
    assert!(matches!(opened, Err(OpenVaultError::NoPageStore(name)) if name == "a newer one"));
    fs::write(&header, right).unwrap();
    is_whole(&places.open(), &keys, gone);
}

#[tokio::test]
async fn pages_move_from_nobodys_hands() {
    let (places, keys, gone) = filled(PageStoreKind::Sled).await;
    let vault = places.open();
    let moved = Vault::move_pages(&places.folder, &places.root, PageStoreKind::Sqlite, |_| {});
    assert!(matches!(moved, Err(OpenVaultError::InUse(_))));
    is_whole(&vault, &keys, gone);
}
