//! Keys: made durably, found again, counted, and gone when they are destroyed.

use super::*;

#[tokio::test]
async fn a_key_is_found_again_by_its_id_also_after_reopening() {
    let tree = tree();
    let vault = over(&tree);
    let made = key(&vault, "user-1", "user-1").await.unwrap();
    let shared = key(&vault, "repository-1", "user-1").await.unwrap();
    assert_ne!(made.id(), shared.id());
    assert_eq!(key(&vault, "user-1", "user-1").await.unwrap().id(), made.id());
    drop(vault);
    let vault = over(&tree);
    for known in [made, shared] {
        let found = live(vault.opening_key(known.id()));
        assert_eq!(found.secret(), known.secret());
    }
    assert_eq!(vault.keys_of(&subject("user-1")).unwrap().len(), 2);
}

#[tokio::test]
async fn a_key_whose_write_failed_is_handed_to_nobody() {
    let tree = tree();
    let vault = over(&tree);
    vault.shared().disk.faults.fail.store(true, Ordering::SeqCst);
    let failed = key(&vault, "user-1", "user-1").await;
    assert!(matches!(failed, Err(VaultError::Storage(_))), "{failed:?}");
    vault.shared().disk.faults.fail.store(false, Ordering::SeqCst);
    let after = key(&vault, "user-1", "user-1").await;
    assert!(matches!(after, Err(VaultError::Poisoned)), "{after:?}");
    drop(vault);
    assert_eq!(over(&tree).inventory().count(), 0);
}

#[tokio::test]
async fn forgotten_means_shredded_refused_and_fenced() {
    let tree = tree();
    let vault = over(&tree);
    let mine = key(&vault, "user-1", "user-1").await.unwrap();
    let shared = key(&vault, "repository-1", "user-1").await.unwrap();
    let other = key(&vault, "repository-1", "user-2").await.unwrap();
    let erasure = forget(&vault, "user-1").await;
    let again = destroy(&vault, erasure, "user-1", Dead::All).await.unwrap();
    assert_eq!(again.keys, 0);
    drop(vault);
    let vault = over(&tree);
    assert_eq!(shredded(vault.opening_key(mine.id())), erasure);
    assert_eq!(shredded(vault.opening_key(shared.id())), erasure);
    assert_eq!(live(vault.opening_key(other.id())).secret(), other.secret());
    let refused = key(&vault, "user-1", "user-1").await;
    assert!(matches!(refused, Err(VaultError::Forgotten { erasure: by, .. }) if by == erasure));
    let state = vault.subject_state(&subject("user-1")).unwrap();
    assert_eq!(state.current, None);
    let fence = state.fence.unwrap();
    assert!(fence.closed);
    assert_eq!(fence.dead, [(Generation(1), Generation(1), erasure)]);
}

#[tokio::test]
async fn ids_do_not_link_a_persons_streams() {
    let vault = over(&tree());
    let keys = (0..256).map(|n| {
        let vault = &vault;
        async move { key(vault, &format!("stream-{n}"), "user-1").await.unwrap().id() }
    });
    let ids = futures::future::join_all(keys).await;
    // Of 256 random bytes about 162 differ; of what two ids share before they are permuted
    // (the subject, the generation) nothing shows after the era.
    for at in 4..20 {
        let different: std::collections::HashSet<u8> = ids.iter().map(|id| id.0[at]).collect();
        assert!(different.len() > 100, "byte {at} has {} values", different.len());
    }
    // Nor does another vault make anything of them.
    let other = over(&tree());
    key(&other, "stream-0", "user-1").await.unwrap();
    assert!(matches!(other.opening_key(ids[0]), Err(VaultError::KeyMissing(_))));
    assert_ne!(other.pseudonym(&subject("user-1")), vault.pseudonym(&subject("user-1")));
}
