//! Memos of any size, and the inventory of everything.

use std::collections::HashSet;

use super::*;
use crate::vault::{
    MemoKind,
    records::{disk::parts, memos, places},
};

#[tokio::test]
async fn a_note_of_any_size_comes_back_and_goes() {
    let tree = tree();
    let vault = over(&tree);
    let memo = |size: usize| -> Vec<u8> { (0..size).map(|n| (n % 251) as u8).collect() };
    for size in [0, 1, 8191, 8192, 8193, 100_000, 3_000_000, 16_384, 5] {
        vault.put_memo(MemoKind::Journal, [1; 16], &memo(size)).await.unwrap();
        vault.put_memo(MemoKind::Erasure, [1; 16], b"other").await.unwrap();
        let again = over(&tree);
        let memos = again.memos(MemoKind::Journal).unwrap();
        assert_eq!(memos.len(), 1);
        assert_eq!(memos[0].0, [1; 16]);
        assert!(memos[0].1.as_slice() == memo(size), "{size}");
    }
    vault.put_memo(MemoKind::Journal, [2; 16], &memo(50_000)).await.unwrap();
    vault.remove_memo(MemoKind::Journal, [1; 16]).await.unwrap();
    vault.remove_memo(MemoKind::Journal, [9; 16]).await.unwrap();
    let ids: Vec<_> = vault.memos(MemoKind::Journal).unwrap().into_iter().map(|n| n.0).collect();
    assert_eq!(ids, [[2; 16]]);
    assert_eq!(vault.memos(MemoKind::Erasure).unwrap().len(), 1);
    vault.remove_memo(MemoKind::Journal, [2; 16]).await.unwrap();
    vault.remove_memo(MemoKind::Erasure, [1; 16]).await.unwrap();
    assert!(is_bare(&tree));
}

#[tokio::test]
async fn the_same_note_written_at_once_is_one_of_them() {
    let vault = over(&tree());
    let hold = vault.shared().disk.faults.hold.lock().unwrap();
    let writers: Vec<_> = [20_000, 10, 30_000, 9_000]
        .into_iter()
        .map(|size| {
            let vault = vault.clone();
            tokio::spawn(
                async move { vault.put_memo(MemoKind::Journal, [1; 16], &vec![7; size]).await },
            )
        })
        .collect();
    tokio::task::yield_now().await;
    drop(hold);
    for writer in writers {
        writer.await.unwrap().unwrap();
    }
    let memos = vault.memos(MemoKind::Journal).unwrap();
    assert_eq!((memos.len(), memos[0].1.len()), (1, 9_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_inventory_walks_over_everything_once() {
    let tree = tree();
    let vault = over(&tree);
    let mut made = HashSet::new();
    for chunk in (0..10_000).collect::<Vec<u32>>().chunks(500) {
        let keys = chunk.iter().map(|n| {
            let vault = vault.clone();
            async move {
                let whose = format!("user-{}", n % 3000);
                key(&vault, &format!("stream-{n}"), &whose).await.unwrap().id()
            }
        });
        made.extend(futures::future::join_all(keys).await);
    }
    assert_eq!(made.len(), 10_000);
    let losses =
        (0..600).map(|n| Loss { subject: subject(&format!("user-{}", n * 4)), dead: Dead::All });
    let destruction = Destruction::new(ErasureId::now(), losses.collect());
    vault.destroy(&destruction, b"").await.unwrap();
    let walk = vault.inventory();
    drop(vault);
    let (mut keys, mut fences) = (HashSet::new(), HashSet::new());
    for entry in walk {
        match entry.unwrap() {
            InventoryEntry::Key(info) => {
                assert!(made.contains(&info.id));
                assert!(keys.insert(info.id));
            }
            InventoryEntry::Fence(fence) => {
                assert!(keys.len() > 5000, "fences come after the keys");
                assert!(fences.insert(fence.pseudonym));
            }
        }
    }
    assert_eq!(fences.len(), 600);
    let gone = (0..10_000).filter(|n| n % 3000 < 2400 && n % 3000 % 4 == 0).count();
    assert_eq!(keys.len(), 10_000 - gone);
    let pseudonym = over(&tree).pseudonym(&subject("user-4"));
    assert!(fences.contains(&pseudonym));
}

/// A hold, say: an older program that opened the vault all the same would destroy what is held.
#[tokio::test]
async fn a_vault_with_a_kind_of_note_that_this_program_does_not_know_does_not_open() {
    let newer = MemoKind::LAST as u8 + 1;
    for (place, told) in [
        (vec![3, newer], "memos of kind 12"),
        (vec![3, u8::MAX], "memos of kind 255"),
        (vec![4, 0], "kind 4"),
        (vec![u8::MAX; 22], "kind 255"),
    ] {
        let tree = tree();
        let vault = over(&tree);
        key(&vault, "user-1", "user-1").await.unwrap();
        drop(vault);
        let mut place = place;
        place.resize(18, 7);
        tree.put(parts(&place, &memos::stored(b"{}")).unwrap()).unwrap();
        let refused = Vault::over(Arc::clone(&tree), Limits::default()).unwrap_err();
        assert!(matches!(refused, VaultError::UnknownKind(_)), "{refused}");
        let text = refused.to_string();
        assert!(text.contains(told) && text.contains("written by a newer program"), "{text}");
        tree.put(vec![(parts(&place, b"").unwrap()[0].0.clone(), None)]).unwrap();
        drop(over(&tree));
    }
    // All that there is comes before.
    assert!(places::memos(MemoKind::LAST).end <= places::after_memos(MemoKind::LAST));
}

#[tokio::test]
async fn a_note_of_a_later_version_is_told_by_verify_and_read_by_nobody() {
    let tree = tree();
    let vault = over(&tree);
    let id = [5; 16];
    vault.put_newer_memo(MemoKind::Backup, id, b"{}").await.unwrap();
    assert!(matches!(vault.backups(), Err(VaultError::NewerFormat { found: 2, known: 1, .. })));
    vault.put_newer_memo(MemoKind::Claim, id, b"x").await.unwrap();
    assert!(matches!(vault.memos(MemoKind::Claim), Err(VaultError::NewerFormat { found: 2, .. })));
    let mut told = Vec::new();
    vault.judge(false, &mut |trouble| told.push(trouble), &mut |_| {}).unwrap();
    let newer = |trouble: &crate::vault::Trouble| match trouble {
        crate::vault::Trouble::Value { why, .. } => why.contains("written by a newer program"),
        _ => false,
    };
    assert_eq!(told.iter().filter(|trouble| newer(trouble)).count(), 2);
}

#[test]
fn no_other_bytes_are_read_for_an_entry_of_the_catalogue() {
    let entry = crate::vault::Backup {
        backup: crate::vault::BackupId(uuid::Uuid::from_u128(7)),
        created: crate::event::Timestamp::from_micros(1_000_000),
        expires: crate::event::Timestamp::from_micros(9_000_000),
        epoch: 4,
        era: crate::event::Era([0, 0, 0, 2]),
        recipients: vec!["age1abc".to_owned()],
        file: "copy.age".to_owned(),
        keys: Some(3),
        retired: None,
    };
    let kind = MemoKind::Backup;
    memos::tests::is_strict(kind, &entry.to_memo().unwrap(), &[], |text| {
        let read: crate::vault::Backup = memos::from_json(kind, text).ok()?;
        Some(read.to_memo().unwrap())
    });
}
