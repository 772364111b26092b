//! The same search over the raw device below a file system: what neither the vault nor the
//! database, but the disk itself, still has. Needs root and a loop device.

#[allow(dead_code)]
#[path = "../../../../tests/device/ext4.rs"]
pub(in crate::vault) mod ext4;

use std::collections::{HashMap, HashSet};

use ext4::Ext4;

use super::{
    adversary::{Loot, Sealed, Trials, Window},
    archive::{Archive, search},
    life::recorded,
};
use crate::{
    crypto::random_secret,
    vault::{
        Vault,
        tests::{forget, key},
        tree::Shape,
    },
};

/// How many keys are destroyed.
const DESTROYED: usize = 200;

fn numbered(keys: &[Window]) -> HashMap<Window, usize> {
    keys.iter().enumerate().map(|(number, key)| (*key, number)).collect()
}

fn found(raw: &[u8], keys: &[Window]) -> usize {
    search(raw, &numbered(keys)).into_iter().collect::<HashSet<_>>().len()
}

/// Forgets 200 of 400 people, one by one, each with a key.
fn forget_half(vault: &Vault) -> (Vec<Window>, Vec<Window>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let name = |n: usize| format!("user-{n}");
    let secrets = runtime.block_on(async {
        let made = (0..2 * DESTROYED)
            .map(|n| async move { *key(vault, &name(n), &name(n)).await.unwrap().secret() });
        let secrets = futures::future::join_all(made).await;
        for n in 0..DESTROYED {
            forget(vault, &name(n)).await;
        }
        secrets
    });
    let (dead, living) = secrets.split_at(DESTROYED);
    (dead.to_vec(), living.to_vec())
}

#[test]
fn no_destroyed_key_and_no_earlier_root_is_found_on_the_raw_device() {
    let Some(ext4) = Ext4::make() else { return };
    let (folder, slot) = (ext4.folder().join("vault"), ext4.folder().join("state-root"));
    let archive = Archive::default();
    let vault = recorded(&folder, &slot, true, Shape::default(), &archive);
    let id = *vault.id().0.as_bytes();
    let (dead, living) = forget_half(&vault);
    drop(vault);
    let mut roots = archive.roots();
    let today = *roots.last().unwrap();
    roots.retain(|root| *root != today);
    assert!(roots.len() >= DESTROYED);
    let pages = archive.pages();
    let sealed: Vec<Sealed> =
        pages.iter().filter_map(|(name, content)| Sealed::stored(&id, name, content)).collect();
    let raw = ext4.raw_after();

    // Directly.
    assert_eq!(found(&raw, &dead), 0, "destroyed data keys stand on the device");
    assert_eq!(found(&raw, &living), 0, "living ones stand there in clear");
    assert_eq!(found(&raw, &roots), 0, "earlier roots stand on the device");
    assert_eq!(found(&raw, &[today]), 1, "the search finds nothing at all");
    // With today's root, and every page that was ever written.
    let both: Vec<Window> = dead.iter().chain(&living).copied().collect();
    let loot = Loot::gather(&sealed, &[today.to_vec()], &numbered(&both), Trials::AfterIds);
    let read = loot.found_from(0);
    assert_eq!(read.iter().filter(|key| **key < DESTROYED).count(), 0);
    assert_eq!(read.len(), living.len());
    // With anything on the device as a key: of all keys that ever opened a page, found with all
    // roots together, it has today's root alone.
    let all: Vec<Vec<u8>> = archive.roots().iter().map(|root| root.to_vec()).collect();
    let loot = Loot::gather(&sealed, &all, &HashMap::new(), Trials::AfterIds);
    let pages_opened = loot.opened.len();
    assert_eq!(pages_opened, sealed.len(), "some page was opened by nobody");
    let keys: Vec<Window> = loot.keys.keys().copied().filter(|key| *key != today).collect();
    assert_eq!(found(&raw, &keys), 0, "keys of pages stand on the device");
    println!("{} pages, {} page keys, {} earlier roots", sealed.len(), keys.len(), roots.len());
}

/// The control: the same device does keep what others delete.
#[test]
fn keys_deleted_by_databases_are_found_on_the_raw_device() {
    let Some(ext4) = Ext4::make() else { return };
    let keys: Vec<Window> = (0..10 * DESTROYED).map(|_| *random_secret().unwrap()).collect();
    let (dead, _) = keys.split_at(DESTROYED);
    let flat = sled::open(ext4.folder().join("flat")).unwrap();
    for key in &keys {
        flat.insert(&key[..4], &key[..]).unwrap();
    }
    flat.flush().unwrap();
    for key in dead {
        flat.remove(&key[..4]).unwrap();
    }
    flat.flush().unwrap();
    drop(flat);
    assert_eq!(found(&ext4.raw_after(), dead), DESTROYED, "sled");

    #[cfg(feature = "sqlite")]
    {
        let Some(ext4) = Ext4::make() else { return };
        let database = rusqlite::Connection::open(ext4.folder().join("flat.db")).unwrap();
        let set_up = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
            PRAGMA secure_delete = ON; CREATE TABLE keys (id INTEGER PRIMARY KEY, key BLOB)";
        database.execute_batch(set_up).unwrap();
        database.execute_batch("BEGIN").unwrap();
        for (id, key) in keys.iter().enumerate() {
            database.execute("INSERT INTO keys VALUES (?1, ?2)", (id as i64, &key[..])).unwrap();
        }
        database.execute_batch("COMMIT").unwrap();
        database.execute("DELETE FROM keys WHERE id < ?1", [DESTROYED as i64]).unwrap();
        drop(database);
        let found = found(&ext4.raw_after(), dead);
        println!("SQLite with secure_delete: {found} of {DESTROYED}");
        assert!(found > DESTROYED / 2, "SQLite with secure_delete: {found}");
    }
}
