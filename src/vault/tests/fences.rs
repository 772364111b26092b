//! Fences: dead stays dead, living stays living, missing is neither.

use super::*;
use crate::event::OwnerChange;

#[tokio::test]
async fn an_id_that_nobody_made_is_missing_and_not_shredded() {
    let vault = over(&tree());
    key(&vault, "user-1", "user-1").await.unwrap();
    forget(&vault, "user-1").await;
    for n in 0..200_u8 {
        let id = KeyId([n; 20]);
        assert!(
            matches!(vault.opening_key(id), Err(VaultError::KeyMissing(missing)) if missing == id)
        );
    }
}

#[tokio::test]
async fn a_key_that_vanished_without_an_erasure_is_missing() {
    let tree = tree();
    let vault = over(&tree);
    let lost = key(&vault, "user-1", "user-1").await.unwrap();
    let dead = key(&vault, "user-2", "user-2").await.unwrap();
    forget(&vault, "user-2").await;
    let [old, new] = handed_over(&vault).await;
    destroy(&vault, ErasureId::now(), "account-1", spans(&[(1, 1)])).await.unwrap();
    drop(vault);
    let everything = tree.range(&[1], &[2], usize::MAX).unwrap();
    tree.put(everything.into_iter().map(|(place, _)| (place, None)).collect()).unwrap();
    let vault = over(&tree);
    assert!(matches!(vault.opening_key(lost.id()), Err(VaultError::KeyMissing(_))));
    shredded(vault.opening_key(dead.id()));
    // The fence of a generation explains no other one.
    shredded(vault.opening_key(old.id()));
    assert!(matches!(vault.opening_key(new.id()), Err(VaultError::KeyMissing(_))));
}

#[tokio::test]
async fn reading_makes_no_key() {
    let tree = tree();
    let vault = over(&tree);
    assert!(vault.opening_key(KeyId([7; 20])).is_err());
    assert!(vault.keys_of(&subject("user-1")).unwrap().is_empty());
    assert_eq!(vault.subject_state(&subject("user-1")).unwrap(), Default::default());
    assert_eq!(living(&vault), (vec![], 0));
    assert_eq!(vault.shared().disk.faults.writes.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn reopen_begins_above_everything_and_brings_nothing_back() {
    let tree = tree();
    let vault = over(&tree);
    let old = key(&vault, "user-1", "user-1").await.unwrap();
    assert_eq!(vault.reopen(&subject("user-1")).await.unwrap(), None);
    let erasure = forget(&vault, "user-1").await;
    assert_eq!(vault.reopen(&subject("user-1")).await.unwrap(), Some(Generation(2)));
    assert_eq!(vault.reopen(&subject("user-1")).await.unwrap(), None);
    let new = key(&vault, "user-1", "user-1").await.unwrap();
    assert_ne!(old.id(), new.id());
    assert_eq!(shredded(vault.opening_key(old.id())), erasure);
    live(vault.opening_key(new.id()));
    let dead = key_of(&vault, "user-1", "user-1", Some(1)).await;
    assert!(matches!(dead, Err(VaultError::NoGeneration { .. })), "{dead:?}");
    drop(vault);

    let vault = over(&tree);
    assert_eq!(key(&vault, "user-1", "user-1").await.unwrap().id(), new.id());
    assert_eq!(shredded(vault.opening_key(old.id())), erasure);
    let state = vault.subject_state(&subject("user-1")).unwrap();
    assert_eq!((state.current, state.tenures.len()), (Some(Generation(2)), 0));
    assert!(!state.fence.unwrap().closed);

    let second = forget(&vault, "user-1").await;
    assert_eq!(shredded(vault.opening_key(old.id())), erasure);
    assert_eq!(shredded(vault.opening_key(new.id())), second);
    assert_eq!(vault.reopen(&subject("user-1")).await.unwrap(), Some(Generation(3)));
}

#[tokio::test]
async fn an_erasure_done_again_takes_nothing_that_reopen_began() {
    let vault = over(&tree());
    key(&vault, "user-1", "user-1").await.unwrap();
    let first = forget(&vault, "user-1").await;
    // A second erasure finds nothing left to kill, and is remembered all the same.
    let second = forget(&vault, "user-1").await;
    vault.reopen(&subject("user-1")).await.unwrap();
    let new = key(&vault, "user-1", "user-1").await.unwrap();
    for erasure in [first, second] {
        let done = destroy(&vault, erasure, "user-1", Dead::All).await.unwrap();
        assert_eq!(done.keys, 0);
        live(vault.opening_key(new.id()));
        key(&vault, "user-1", "user-1").await.unwrap();
    }
}

#[tokio::test]
async fn an_erasure_of_a_part_done_again_takes_nothing_that_reopen_began() {
    let vault = over(&tree());
    let [old, _] = handed_over(&vault).await;
    let [first, second] = [ErasureId::now(), ErasureId::now()];
    // The second finds nothing left to kill, and is remembered all the same.
    for erasure in [first, second] {
        destroy(&vault, erasure, "account-1", spans(&[(2, u32::MAX)])).await.unwrap();
    }
    vault.reopen(&subject("account-1")).await.unwrap();
    let new = key(&vault, "account-1", "account-1").await.unwrap();
    for erasure in [first, second] {
        let done = destroy(&vault, erasure, "account-1", spans(&[(2, u32::MAX)])).await.unwrap();
        assert_eq!(done.keys, 0);
        live(vault.opening_key(new.id()));
        live(vault.opening_key(old.id()));
        key(&vault, "account-1", "account-1").await.unwrap();
    }
}

#[tokio::test]
async fn who_was_never_seen_can_be_forgotten_and_stays_so() {
    let tree = tree();
    let vault = over(&tree);
    let erasure = forget(&vault, "user-1").await;
    drop(vault);
    let vault = over(&tree);
    let refused = key(&vault, "user-1", "user-1").await;
    assert!(matches!(refused, Err(VaultError::Forgotten { erasure: by, .. }) if by == erasure));
}

/// An account that was handed over: generation 1 was `user-a`'s, generation 2 is `user-b`'s.
async fn handed_over(vault: &Vault) -> [Arc<DataKey>; 2] {
    claims::owned(vault, "account-1", OwnerChange::Add(subject("user-a")), true).await.unwrap();
    let first = key(vault, "account-1", "account-1").await.unwrap();
    claims::owned(vault, "account-1", OwnerChange::Replace(subject("user-b")), true).await.unwrap();
    let second = key(vault, "account-1", "account-1").await.unwrap();
    assert_ne!(first.id(), second.id());
    [first, second]
}

#[tokio::test]
async fn the_older_generation_dies_and_the_newer_lives() {
    let tree = tree();
    let vault = over(&tree);
    let [first, second] = handed_over(&vault).await;
    let erasure = ErasureId::now();
    destroy(&vault, erasure, "account-1", spans(&[(1, 1)])).await.unwrap();
    for _ in 0..2 {
        assert_eq!(shredded(vault.opening_key(first.id())), erasure);
        live(vault.opening_key(second.id()));
        assert_eq!(key(&vault, "account-1", "account-1").await.unwrap().id(), second.id());
    }
    drop(vault);
    let vault = over(&tree);
    assert_eq!(shredded(vault.opening_key(first.id())), erasure);
    assert_eq!(key(&vault, "account-1", "account-1").await.unwrap().id(), second.id());
    assert!(!vault.subject_state(&subject("account-1")).unwrap().fence.unwrap().closed);
}

#[tokio::test]
async fn the_newer_generation_dies_and_the_older_lives() {
    let tree = tree();
    let vault = over(&tree);
    let [first, second] = handed_over(&vault).await;
    let erasure = ErasureId::now();
    destroy(&vault, erasure, "account-1", spans(&[(2, u32::MAX)])).await.unwrap();
    assert_eq!(shredded(vault.opening_key(second.id())), erasure);
    live(vault.opening_key(first.id()));
    // What came next would be the forgotten owner's: nothing is sealed until somebody reopens.
    let refused = key(&vault, "account-1", "account-1").await;
    assert!(matches!(refused, Err(VaultError::Forgotten { erasure: by, .. }) if by == erasure));
    assert_eq!(vault.reopen(&subject("account-1")).await.unwrap(), Some(Generation(3)));
    let third = key(&vault, "account-1", "account-1").await.unwrap();
    assert!(third.id() != first.id() && third.id() != second.id());
    drop(vault);
    let vault = over(&tree);
    let state = vault.subject_state(&subject("account-1")).unwrap();
    assert_eq!(state.current, Some(Generation(3)));
    assert_eq!(state.fence.unwrap().dead, [(Generation(2), Generation(2), erasure)]);
    live(vault.opening_key(first.id()));
    live(vault.opening_key(third.id()));

    // Later all of it: each key names the erasure that took it.
    let last = forget(&vault, "account-1").await;
    assert_eq!(shredded(vault.opening_key(first.id())), last);
    assert_eq!(shredded(vault.opening_key(second.id())), erasure);
    assert_eq!(shredded(vault.opening_key(third.id())), last);
}

#[tokio::test]
async fn nothing_names_the_forgotten() {
    let tree = tree();
    let vault = over(&tree);
    handed_over(&vault).await;
    let withdrawn = OwnerChange::Add(subject("user-c"));
    claims::owned(&vault, "account-1", withdrawn, false).await.unwrap();
    vault.put_memo(crate::vault::MemoKind::Journal, [1; 16], b"plan").await.unwrap();
    let erasure = ErasureId::now();
    let losses =
        ["user-a", "account-1"].map(|name| Loss { subject: subject(name), dead: Dead::All });
    vault.destroy(&Destruction::new(erasure, losses.into()), b"two").await.unwrap();
    vault.flush().await.unwrap();
    let names = |name: &str| {
        let all = tree.range(&[0], &[255], usize::MAX).unwrap();
        all.iter().any(|(_, value)| value.windows(name.len()).any(|part| part == name.as_bytes()))
    };
    assert!(!names("account-1") && !names("user-a") && !names("user-c"));
    assert_eq!(vault.dependents(&subject("user-b")).unwrap(), []);
}

#[tokio::test]
async fn a_forgotten_owner_is_no_longer_named_but_was_there() {
    let tree = tree();
    let vault = over(&tree);
    handed_over(&vault).await;
    forget(&vault, "user-b").await;
    drop(vault);
    let vault = over(&tree);
    let state = vault.subject_state(&subject("account-1")).unwrap();
    let owners: Vec<_> =
        state.tenures.iter().map(|tenure| tenure.owners[0].subject.clone()).collect();
    assert_eq!(owners, [Some(subject("user-a")), None]);
    assert_eq!(state.fence, None);
    key(&vault, "account-1", "account-1").await.unwrap();
}

#[tokio::test]
async fn an_erasures_note_comes_with_its_destruction() {
    let tree = tree();
    let vault = over(&tree);
    let erasure = ErasureId::now();
    let losses = vec![Loss { subject: subject("user-1"), dead: Dead::All }];
    let destruction = Destruction::new(erasure, losses);
    vault.destroy(&destruction, b"a memo").await.unwrap();
    let epoch = tree.epoch().unwrap();
    drop(vault);
    let vault = over(&tree);
    let memos = vault.memos(crate::vault::MemoKind::Erasure).unwrap();
    assert_eq!(memos.len(), 1);
    assert_eq!((memos[0].0, memos[0].1.as_slice()), (erasure.0.into_bytes(), &b"a memo"[..]));
    // Done already: asking again changes no root.
    let again = vault.destroy(&destruction, b"a memo").await.unwrap();
    assert_eq!(again.epoch, epoch);
}
