//! Notes of any size, and the inventory of everything.

use std::collections::HashSet;

use super::*;
use crate::vault::NoteKind;

#[tokio::test]
async fn a_note_of_any_size_comes_back_and_goes() {
    let tree = tree();
    let vault = over(&tree);
    let note = |size: usize| -> Vec<u8> { (0..size).map(|n| (n % 251) as u8).collect() };
    for size in [0, 1, 8191, 8192, 8193, 100_000, 3_000_000, 16_384, 5] {
        vault.put_note(NoteKind::Journal, [1; 16], &note(size)).await.unwrap();
        vault.put_note(NoteKind::Erasure, [1; 16], b"other").await.unwrap();
        let again = over(&tree);
        let notes = again.notes(NoteKind::Journal).unwrap();
        assert_eq!(notes.len(), 1);
        assert_eq!(notes[0].0, [1; 16]);
        assert!(notes[0].1.as_slice() == note(size), "{size}");
    }
    vault.put_note(NoteKind::Journal, [2; 16], &note(50_000)).await.unwrap();
    vault.remove_note(NoteKind::Journal, [1; 16]).await.unwrap();
    vault.remove_note(NoteKind::Journal, [9; 16]).await.unwrap();
    let ids: Vec<_> = vault.notes(NoteKind::Journal).unwrap().into_iter().map(|n| n.0).collect();
    assert_eq!(ids, [[2; 16]]);
    assert_eq!(vault.notes(NoteKind::Erasure).unwrap().len(), 1);
    vault.remove_note(NoteKind::Journal, [2; 16]).await.unwrap();
    vault.remove_note(NoteKind::Erasure, [1; 16]).await.unwrap();
    assert!(is_bare(&tree));
}

#[tokio::test]
async fn the_same_note_written_at_once_is_one_of_them() {
    let vault = over(&tree());
    let hold = vault.core().disk.faults.hold.lock().unwrap();
    let writers: Vec<_> = [20_000, 10, 30_000, 9_000]
        .into_iter()
        .map(|size| {
            let vault = vault.clone();
            tokio::spawn(
                async move { vault.put_note(NoteKind::Journal, [1; 16], &vec![7; size]).await },
            )
        })
        .collect();
    tokio::task::yield_now().await;
    drop(hold);
    for writer in writers {
        writer.await.unwrap().unwrap();
    }
    let notes = vault.notes(NoteKind::Journal).unwrap();
    assert_eq!((notes.len(), notes[0].1.len()), (1, 9_000));
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
    let doomed =
        (0..600).map(|n| Doomed { subject: subject(&format!("user-{}", n * 4)), dead: Dead::All });
    let destruction = Destruction::new(ErasureId::now(), doomed.collect());
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
