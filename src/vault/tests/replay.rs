//! Erasures that are applied again by pseudonym.

use std::{collections::BTreeSet, fs, sync::atomic::Ordering};

use super::{folder::copy_folder, *};
use crate::{
    erasure::ErasureError,
    event::{EventType, Json, NewEvent},
    layer::Oubliette,
    policy::Policy,
    store::{EventStoreExt, ExpectedRevision, MemoryStore},
    vault::{Decision, Taken},
};

fn whole(vault: &Vault, who: &str, to: u32) -> Taken {
    Taken {
        pseudonym: vault.pseudonym(&subject(who)),
        dead: vec![(Generation::FIRST, Generation(to))],
        spared: BTreeSet::new(),
        whole: true,
        closed: true,
    }
}

fn decision(taken: Vec<Taken>) -> Decision {
    Decision { erasure: ErasureId::now(), taken, record: b"{}".to_vec() }
}

#[tokio::test]
async fn a_replay_destroys_by_pseudonym_and_once() {
    let tree = tree();
    let vault = over(&tree);
    let (dead, lives) = (key(&vault, "s-1", "a").await.unwrap(), key(&vault, "s-1", "b").await);
    let lives = lives.unwrap();
    let both = vec![decision(vec![whole(&vault, "a", 3)]), decision(vec![whole(&vault, "c", 2)])];
    let epoch = vault.epoch().unwrap();
    let done = vault.replay(both.clone()).await.unwrap();
    assert_eq!((done.keys, done.epoch), (1, epoch + 1), "one change of root for all");
    assert_eq!(shredded(vault.opening_key(dead.id())), both[0].erasure);
    assert_eq!(live(vault.opening_key(lives.id())).id(), lives.id());
    for who in ["a", "c"] {
        let refused = key(&vault, "s-1", who).await;
        assert!(matches!(refused, Err(VaultError::Forgotten { .. })), "{who}: {refused:?}");
    }
    assert!(both.iter().all(|decision| vault.covers(decision).unwrap()));
    assert_eq!(vault.replay(both).await.unwrap().keys, 0);
    // The generations that were dead elsewhere are dead here.
    assert_eq!(vault.reopen(&subject("a")).await.unwrap(), Some(Generation(4)));
    assert_eq!(vault.reopen(&subject("c")).await.unwrap(), Some(Generation(3)));
}

/// An erasure that found its part dead already is noted in the fence like one that took all. It
/// must not take all where it is replayed.
#[tokio::test]
async fn what_found_nothing_to_take_takes_nothing_elsewhere() {
    let vault = over(&tree());
    key(&vault, "s-1", "a").await.unwrap();
    vault.reopen(&subject("a")).await.unwrap();
    forget(&vault, "a").await;
    vault.reopen(&subject("a")).await.unwrap();
    key(&vault, "s-1", "a").await.unwrap();
    // The second generation dies, and closes; a later erasure finds it dead.
    destroy(&vault, ErasureId::now(), "a", spans(&[(2, 2)])).await.unwrap();
    let late = ErasureId::now();
    destroy(&vault, late, "a", spans(&[(2, 2)])).await.unwrap();
    let all: Vec<Decision> = vault.decisions().flat_map(Result::unwrap).collect();
    assert_eq!(all.len(), 3);
    let of_late = all.iter().find(|decision| decision.erasure == late).unwrap();
    assert!(of_late.taken[0].dead.is_empty());

    // While a generation before it lives, that it took nothing is all there is to it.
    let vault = over(&tree());
    let first = key(&vault, "s-1", "b").await.unwrap();
    let sold = crate::event::OwnerChange::Replace(subject("owner"));
    claims::owned(&vault, "b", sold, true).await.unwrap();
    key(&vault, "s-1", "b").await.unwrap();
    destroy(&vault, ErasureId::now(), "b", spans(&[(2, 2)])).await.unwrap();
    destroy(&vault, late, "b", spans(&[(2, 2)])).await.unwrap();
    let all: Vec<Decision> = vault.decisions().flat_map(Result::unwrap).collect();
    let of_late = all.iter().find(|decision| decision.erasure == late).unwrap();
    assert!(!of_late.taken[0].whole, "{of_late:?}");
    vault.replay(all).await.unwrap();
    live(vault.opening_key(first.id()));
}

/// The order of ids is not that of erasures.
#[tokio::test]
async fn an_erasure_after_the_clock_was_set_back_took_all_where_it_is_told_again() {
    let vault = over(&tree());
    let id = |day: u128| ErasureId(uuid::Uuid::from_u128(day << 80 | 0x7000_8000_0000_0000_0000));
    key(&vault, "s-1", "a").await.unwrap();
    destroy(&vault, id(2), "a", spans(&[(1, 1)])).await.unwrap();
    vault.reopen(&subject("a")).await.unwrap();
    key(&vault, "s-1", "a").await.unwrap();
    destroy(&vault, id(1), "a", Dead::All).await.unwrap();
    let all: Vec<Decision> = vault.decisions().flat_map(Result::unwrap).collect();
    let taken = |by| &all.iter().find(|decision| decision.erasure == by).unwrap().taken[0];
    assert!(taken(id(1)).whole && !taken(id(2)).whole, "{all:?}");
}

#[tokio::test]
async fn a_replay_that_fails_poisons() {
    let tree = tree();
    let vault = over(&tree);
    let dead = key(&vault, "s-1", "a").await.unwrap();
    let once = vec![decision(vec![whole(&vault, "a", 1)])];
    vault.shared().disk.faults.fail.store(true, Ordering::SeqCst);
    vault.replay(once.clone()).await.unwrap_err();
    vault.shared().disk.faults.fail.store(false, Ordering::SeqCst);
    assert!(matches!(vault.opening_key(dead.id()), Err(VaultError::Poisoned)));
    drop(vault);
    let vault = over(&tree);
    assert_eq!(vault.replay(once.clone()).await.unwrap().keys, 1);
    assert_eq!(shredded(vault.opening_key(dead.id())), once[0].erasure);
}

/// A vault that was rolled back and cannot apply what it missed serves nothing, and says what.
#[tokio::test]
async fn what_cannot_be_applied_again_keeps_the_layer_closed() {
    let disk = tempfile::tempdir().unwrap();
    let at = |part: &str| disk.path().join(part);
    let store = MemoryStore::new();
    // It is restored from a copy.
    let open = || Vault::open_as(&at("vault"), &at("slot"), OpenAs::TheOne).unwrap();
    let layer =
        async |vault| Oubliette::open(store.clone(), vault, Policy::sealed_by_default()).await;
    let bank = layer(Vault::create(&at("vault"), &at("slot")).unwrap()).await.unwrap();
    let event = NewEvent::new(EventType::new("X").unwrap(), Json::parse("{\"a\":1}").unwrap());
    bank.append_to(&stream("user-1"), ExpectedRevision::Any, vec![event]).await.unwrap();
    drop(bank);
    copy_folder(&at("vault"), &at("image"));
    fs::copy(at("slot"), at("image slot")).unwrap();
    let erased = layer(open()).await.unwrap().forget(&subject("user-1"), "asked").await.unwrap();
    fs::remove_dir_all(at("vault")).unwrap();
    copy_folder(&at("image"), &at("vault"));
    fs::copy(at("image slot"), at("slot")).unwrap();

    let vault = open();
    vault.shared().disk.faults.fail.store(true, Ordering::SeqCst);
    match layer(vault).await {
        Err(ErasureError::NotReplayed { erasures, .. }) => assert_eq!(erasures, [erased.erasure]),
        other => panic!("{other:?}"),
    }
    let bank = layer(open()).await.unwrap();
    assert_eq!(bank.witnessed().replayed, [erased.erasure]);
}
