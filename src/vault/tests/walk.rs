//! The walk over everything, which several threads do ahead of its reader.

use std::collections::BTreeSet;

use super::*;

/// People with a stream each, and one with more streams than are handed over at a time.
const PEOPLE: usize = 2_000;
const STREAMS: usize = 2_500;

async fn filled(vault: &Vault) -> BTreeSet<KeyId> {
    let of_people = (0..PEOPLE).map(|n| (format!("user-{n}"), format!("user-{n}")));
    let of_one = (0..STREAMS).map(|n| (format!("note-{n}"), "writer".to_owned()));
    let keys = of_people.chain(of_one).map(|(of, whose)| async move {
        let key = key(vault, &of, &whose).await.unwrap();
        key.id()
    });
    futures::future::join_all(keys).await.into_iter().collect()
}

#[tokio::test]
async fn every_key_and_every_fence_is_listed_once_in_the_order_of_places() {
    let vault = over(&tree());
    let made = filled(&vault).await;
    // More fences than are read at a time.
    for n in 0..300 {
        forget(&vault, &format!("user-{n}")).await;
    }
    let (mut ids, mut people, mut fences) = (Vec::new(), Vec::new(), Vec::new());
    for entry in vault.inventory() {
        match entry.unwrap() {
            InventoryEntry::Key(key) => {
                assert!(fences.is_empty(), "keys come first");
                ids.push(key.id);
                people.push(vault.pseudonym(&key.subject));
            }
            InventoryEntry::Fence(fence) => fences.push(fence.pseudonym),
        }
    }
    assert_eq!(ids.len(), PEOPLE + STREAMS - 300);
    let listed: BTreeSet<KeyId> = ids.into_iter().collect();
    assert_eq!(listed.len(), PEOPLE + STREAMS - 300);
    assert!(listed.is_subset(&made));
    assert!(people.is_sorted());
    assert_eq!(fences.len(), 300);
    assert!(fences.is_sorted_by(|a, b| a < b));
}

#[tokio::test]
async fn a_walk_that_is_left_half_way_does_not_keep_the_vault_open() {
    let temp = tempfile::tempdir().unwrap();
    let (folder, root) = (temp.path().join("vault"), temp.path().join("root"));
    let vault = Vault::create(&folder, &root).unwrap();
    let made = filled(&vault).await;
    let mut walk = vault.inventory();
    assert!(walk.next().unwrap().is_ok());
    drop(vault);
    drop(walk);
    let vault = Vault::open(&folder, &root).unwrap();
    assert_eq!(vault.inventory().count(), made.len());
}

#[tokio::test]
async fn a_walk_tells_of_an_error_and_ends() {
    let vault = over(&tree());
    filled(&vault).await;
    vault.shared().disk.faults.fail.store(true, Ordering::SeqCst);
    key(&vault, "late", "late").await.unwrap_err();
    vault.shared().disk.tree().poison();
    let mut walk = vault.inventory();
    assert!(walk.next().unwrap().is_err());
    assert!(walk.next().is_none());
}
