//! Rotation: what comes is sealed under new keys, what was opens, and everybody is reached.

use std::thread;

use super::*;
use crate::{
    event::{EventId, OwnerChange, Timestamp},
    layer::Oubliette,
    policy::Policy,
    store::MemoryStore,
    vault::{AdmissionRequest, Claim, KeyInfo, KeyState},
};

fn generation(vault: &Vault, key: &DataKey) -> u32 {
    vault.shared().naming.hint(key.id()).unwrap().unwrap().generation.0
}

fn runtime(threads: usize) -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_time()
        .build()
        .unwrap()
}

/// The keys in the inventory, which must say the same as those of their subjects.
fn listed(vault: &Vault) -> Vec<KeyInfo> {
    let mut keys = Vec::new();
    for entry in vault.inventory() {
        if let InventoryEntry::Key(info) = entry.unwrap() {
            assert!(vault.keys_of(&info.subject).unwrap().contains(&info), "{info:?}");
            keys.push(info);
        }
    }
    keys.sort_by(|a, b| {
        (&a.subject, &a.stream, a.generation).cmp(&(&b.subject, &b.stream, b.generation))
    });
    keys
}

fn claim(owner: &str, change: fn(Subject) -> OwnerChange) -> Claim {
    claims::claim("account-1", EventId::random(), change(subject(owner)))
}

#[tokio::test]
async fn after_a_rotation_new_keys_seal_in_all_streams_and_old_ones_open() {
    let tree = tree();
    let vault = over(&tree);
    let mut old = Vec::new();
    for of in ["user-1", "ledger-1", "ledger-2"] {
        old.push(key(&vault, of, "user-1").await.unwrap());
    }
    let other = key(&vault, "user-2", "user-2").await.unwrap();
    assert_eq!(vault.rotate(&subject("user-1")).await.unwrap(), Some(Generation(2)));
    for reopened in [false, true] {
        let vault = if reopened { over(&tree) } else { vault.clone() };
        for (of, old) in ["user-1", "ledger-1", "ledger-2"].into_iter().zip(&old) {
            let new = key(&vault, of, "user-1").await.unwrap();
            assert_eq!((generation(&vault, old), generation(&vault, &new)), (1, 2));
            live(vault.opening_key(old.id()));
            live(vault.opening_key(new.id()));
        }
        assert_eq!(key(&vault, "user-2", "user-2").await.unwrap().id(), other.id());
    }
    let erasure = forget(&vault, "user-1").await;
    for key in old {
        assert_eq!(shredded(vault.opening_key(key.id())), erasure);
    }
    assert_eq!(vault.keys_of(&subject("user-1")).unwrap(), []);
}

#[tokio::test]
async fn what_is_new_already_is_not_rotated_again() {
    let tree = tree();
    let vault = over(&tree);
    let who = subject("user-1");
    assert_eq!(vault.rotate(&who).await.unwrap(), None);
    assert_eq!(vault.subject_state(&who).unwrap(), crate::vault::SubjectState::default());
    key(&vault, "user-1", "user-1").await.unwrap();
    assert_eq!(vault.rotate(&who).await.unwrap(), Some(Generation(2)));
    // No key of generation 2 was made yet: the next is new anyway.
    assert_eq!(vault.rotate(&who).await.unwrap(), None);
    assert_eq!(vault.rotate_past(&who, Generation(1)).await.unwrap(), None);
    key(&vault, "user-1", "user-1").await.unwrap();
    assert_eq!(vault.rotate_past(&who, Generation(1)).await.unwrap(), None);
    assert_eq!(vault.rotate_past(&who, Generation(2)).await.unwrap(), Some(Generation(3)));
    crash(vault);
    let vault = over(&tree);
    assert_eq!(vault.subject_state(&who).unwrap().current, Some(Generation(3)));
}

#[tokio::test]
async fn a_forgotten_subject_is_not_rotated() {
    let vault = over(&tree());
    key(&vault, "user-1", "user-1").await.unwrap();
    let erasure = forget(&vault, "user-1").await;
    let refused = vault.rotate(&subject("user-1")).await;
    assert!(matches!(refused, Err(VaultError::Forgotten { erasure: by, .. }) if by == erasure));
    // Reopened, they are like anybody, and nothing that is dead comes back.
    vault.reopen(&subject("user-1")).await.unwrap();
    let second = key(&vault, "user-1", "user-1").await.unwrap();
    assert_eq!(vault.rotate(&subject("user-1")).await.unwrap(), Some(Generation(3)));
    assert_eq!(generation(&vault, &second), 2);
}

#[tokio::test]
async fn owners_stay_through_a_rotation_and_their_forgetting_reaches_both_generations() {
    let vault = over(&tree());
    let owned = claim("user-1", OwnerChange::Add);
    vault.claim(std::slice::from_ref(&owned)).await.unwrap();
    vault.settle(&owned.subject, &[owned.event], true).await.unwrap();
    let first = key(&vault, "account-1", "account-1").await.unwrap();
    vault.rotate(&owned.subject).await.unwrap();
    let second = key(&vault, "account-1", "account-1").await.unwrap();
    assert_eq!(
        listed(&vault).iter().map(|key| &key.owners[..]).collect::<Vec<_>>(),
        [[subject("user-1")], [subject("user-1")]]
    );
    // A change of hands after it: what was sealed before stays with the earlier owner.
    let sold = claim("user-2", OwnerChange::Replace);
    assert_eq!(vault.claim(std::slice::from_ref(&sold)).await.unwrap(), [Some(Generation(3))]);
    vault.settle(&sold.subject, &[sold.event], true).await.unwrap();
    let third = key(&vault, "account-1", "account-1").await.unwrap();
    let erasure = ErasureId::now();
    destroy(&vault, erasure, "account-1", spans(&[(1, 2)])).await.unwrap();
    assert_eq!(shredded(vault.opening_key(first.id())), erasure);
    assert_eq!(shredded(vault.opening_key(second.id())), erasure);
    live(vault.opening_key(third.id()));
}

#[tokio::test]
async fn an_open_owner_change_is_settled_first() {
    let vault = over(&tree());
    key(&vault, "account-1", "account-1").await.unwrap();
    let sold = claim("user-2", OwnerChange::Replace);
    vault.claim(std::slice::from_ref(&sold)).await.unwrap();
    let refused = vault.rotate(&sold.subject).await;
    assert!(matches!(refused, Err(VaultError::Unsettled { event, .. }) if event == sold.event));
    vault.settle(&sold.subject, &[sold.event], false).await.unwrap();
    // Generation 2 was begun by the claim, and is never used again.
    assert_eq!(vault.rotate(&sold.subject).await.unwrap(), Some(Generation(3)));
    // A rotation does not settle, nor forget, an owner who is claimed and may be withdrawn.
    let added = claim("user-3", OwnerChange::Add);
    vault.claim(std::slice::from_ref(&added)).await.unwrap();
    key(&vault, "account-1", "account-1").await.unwrap();
    assert_eq!(vault.rotate(&added.subject).await.unwrap(), Some(Generation(4)));
    let state = vault.subject_state(&added.subject).unwrap();
    assert_eq!(state.tenures.last().unwrap().owners.last().unwrap().unsettled, Some(added.event));
}

/// Sealers on threads of their own, who take a key and use it only later: when `rotate` has
/// returned, nobody is still about to store something under the old one, and nobody gets it.
#[test]
fn nothing_is_stored_under_an_old_key_after_a_rotation_returned() {
    let runtime = runtime(2);
    let vault = over(&tree());
    let least = AtomicU64::new(1);
    let (stop, stored, wrong) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for n in 0..4 {
            let (vault, least, stop) = (&vault, &least, &stop);
            let (stored, wrong) = (&stored, &wrong);
            scope.spawn(move || {
                let runtime =
                    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
                let of = format!("stream-{}", n % 3);
                while !stop.load(Ordering::SeqCst) {
                    let opening =
                        AdmissionRequest { shared: vec![subject("user-1")], exclusive: vec![] };
                    let admission = runtime.block_on(vault.admit(opening)).unwrap();
                    let key = runtime.block_on(key(vault, &of, "user-1")).unwrap();
                    thread::yield_now();
                    // Here the event would be stored.
                    let least = least.load(Ordering::SeqCst);
                    if u64::from(generation(vault, &key)) < least {
                        wrong.fetch_add(1, Ordering::SeqCst);
                    }
                    stored.fetch_add(1, Ordering::SeqCst);
                    drop(admission);
                }
            });
        }
        for _ in 0..60 {
            let before = stored.load(Ordering::SeqCst);
            if let Some(begun) = runtime.block_on(vault.rotate(&subject("user-1"))).unwrap() {
                least.store(u64::from(begun.0), Ordering::SeqCst);
            }
            while stored.load(Ordering::SeqCst) == before {
                thread::yield_now();
            }
        }
        stop.store(true, Ordering::SeqCst);
    });
    assert_eq!(wrong.into_inner(), 0);
    let newest = vault.subject_state(&subject("user-1")).unwrap().current.unwrap();
    assert!(newest > Generation(40), "{newest}");
    assert_eq!(least.into_inner(), u64::from(newest.0));
}

/// Without an admission, too: a key that is asked for after `rotate` returned is a new one.
#[test]
fn a_warm_key_is_not_handed_out_after_a_rotation_returned() {
    let runtime = runtime(2);
    let vault = over(&tree());
    let (least, stop, wrong) = (AtomicU64::new(1), AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..3 {
            let (vault, least, stop, wrong) = (&vault, &least, &stop, &wrong);
            scope.spawn(move || {
                let runtime =
                    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
                while !stop.load(Ordering::SeqCst) {
                    let least = least.load(Ordering::SeqCst);
                    let key = runtime.block_on(key(vault, "user-1", "user-1")).unwrap();
                    if u64::from(generation(vault, &key)) < least {
                        wrong.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
        for _ in 0..300 {
            if let Some(begun) = runtime.block_on(vault.rotate(&subject("user-1"))).unwrap() {
                least.store(u64::from(begun.0), Ordering::SeqCst);
            }
        }
        stop.store(true, Ordering::SeqCst);
    });
    assert_eq!(wrong.into_inner(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_drops_a_rotations_future_leaves_no_gate_shut() {
    let vault = over(&tree());
    for _ in 0..20 {
        key(&vault, "user-1", "user-1").await.unwrap();
        let who = subject("user-1");
        let mut asked = Box::pin(vault.rotate(&who));
        let _ = futures::poll!(asked.as_mut());
        drop(asked);
        let opening = AdmissionRequest { shared: vec![who], exclusive: vec![] };
        drop(vault.admit(opening).await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_rotations_share_one_change_of_root() {
    let vault = over(&tree());
    let names: Vec<String> = (0..500).map(|n| format!("user-{n}")).collect();
    futures::future::join_all(names.iter().map(|name| key(&vault, name, name))).await;
    let epoch = || vault.shared().disk.tree().epoch().unwrap();
    let (before, asked) = (epoch(), vault.asked());
    let hold = vault.shared().disk.faults.hold.lock().unwrap();
    let tasks: Vec<_> = names
        .iter()
        .map(|name| {
            let (vault, who) = (vault.clone(), subject(name));
            tokio::spawn(async move { vault.rotate(&who).await.unwrap() })
        })
        .collect();
    while vault.asked() < asked + 500 {
        tokio::task::yield_now().await;
    }
    drop(hold);
    for task in tasks {
        assert_eq!(task.await.unwrap(), Some(Generation(2)));
    }
    // The first may have been alone.
    assert!(epoch() - before <= 2, "{}", epoch() - before);
}

#[tokio::test]
async fn a_rotation_whose_write_failed_is_not_told_as_done() {
    let vault = over(&tree());
    key(&vault, "user-1", "user-1").await.unwrap();
    vault.shared().disk.faults.fail.store(true, Ordering::SeqCst);
    let failed = vault.rotate(&subject("user-1")).await;
    assert!(matches!(failed, Err(VaultError::Storage(_))), "{failed:?}");
    assert!(matches!(key(&vault, "user-1", "user-1").await, Err(VaultError::Poisoned)));
    let root = vault.rotate_root().await;
    assert!(matches!(root, Err(VaultError::Poisoned)), "{root:?}");
}

#[tokio::test]
async fn the_inventory_says_how_each_generation_stands_and_since_when() {
    let limits = Limits { seals_per_key: 3, ..Limits::default() };
    let tree = tree();
    let vault = Vault::over(Arc::clone(&tree), limits).unwrap();
    let began = Timestamp::now();
    // Generation 1 is used up, 2 is rotated, 3 ends with a change of hands, 4 is the new owner's.
    for _ in 0..4 {
        key(&vault, "account-1", "account-1").await.unwrap();
    }
    vault.rotate(&subject("account-1")).await.unwrap();
    key(&vault, "account-1", "account-1").await.unwrap();
    let sold = claim("user-2", OwnerChange::Replace);
    vault.claim(std::slice::from_ref(&sold)).await.unwrap();
    key_of(&vault, "account-1", "account-1", Some(4)).await.unwrap();
    let states = |vault: &Vault| -> Vec<(u32, KeyState, bool)> {
        let keys = listed(vault).into_iter();
        keys.map(|key| (key.generation.0, key.state, key.deactivated.is_some())).collect()
    };
    use KeyState::{Active, Deactivated, PreActivation};
    let (one, two) = ((1, Deactivated, true), (2, Deactivated, true));
    assert_eq!(states(&vault), [one, two, (3, Active, false), (4, PreActivation, false)]);
    vault.settle(&sold.subject, &[sold.event], true).await.unwrap();
    // Settled in memory, and then on the disk.
    let after = [one, two, (3, Deactivated, true), (4, Active, false)];
    assert_eq!(states(&vault), after);
    vault.flush().await.unwrap();
    drop(vault);
    let vault = over(&tree);
    assert_eq!(states(&vault), after);
    let keys = listed(&vault);
    let dates: Vec<Timestamp> = keys.iter().filter_map(|key| key.deactivated).collect();
    assert!(dates.is_sorted() && dates[0] >= began && dates[2] <= Timestamp::now());
    for (old, new) in keys.iter().zip(&keys[1..]) {
        assert!(old.created <= new.created);
    }
    // Who changed hands and whose new owner is forgotten: nothing seals any more, some still opens.
    destroy(&vault, ErasureId::now(), "account-1", spans(&[(4, 4)])).await.unwrap();
    assert_eq!(states(&vault), [one, two, (3, Deactivated, true)]);
}

#[tokio::test]
async fn a_withdrawn_changes_key_is_not_active() {
    let vault = over(&tree());
    key(&vault, "account-1", "account-1").await.unwrap();
    let sold = claim("user-2", OwnerChange::Replace);
    vault.claim(std::slice::from_ref(&sold)).await.unwrap();
    key_of(&vault, "account-1", "account-1", Some(2)).await.unwrap();
    vault.settle(&sold.subject, &[sold.event], false).await.unwrap();
    let keys = listed(&vault);
    let states: Vec<KeyState> = keys.iter().map(|key| key.state).collect();
    assert_eq!(states, [KeyState::Active, KeyState::Deactivated]);
}

/// The walk reads a few hundred places at a time; records, keys and fences of one subject may lie
/// on both sides of a cut.
#[tokio::test]
async fn the_walk_finds_each_keys_record_and_fence_wherever_it_is_cut() {
    let vault = over(&tree());
    for n in 0..150 {
        let name = format!("user-{n}");
        for of in 0..3 {
            key(&vault, &format!("stream-{of}"), &name).await.unwrap();
        }
        match n % 3 {
            0 => drop(vault.rotate(&subject(&name)).await.unwrap()),
            1 => {
                forget(&vault, &name).await;
                vault.reopen(&subject(&name)).await.unwrap();
            }
            _ => continue,
        }
        key(&vault, "stream-0", &name).await.unwrap();
    }
    let keys = listed(&vault);
    assert_eq!(keys.len(), 50 * 4 + 50 + 50 * 3);
    let active = keys.iter().filter(|key| key.state == KeyState::Active).count();
    assert_eq!(active, 50 + 50 + 150);
    assert_eq!(living(&vault).1, 50);
}

#[tokio::test]
async fn a_rotated_root_changes_nothing_but_the_root() {
    let tree = tree();
    let vault = over(&tree);
    let made = key(&vault, "user-1", "user-1").await.unwrap();
    let before = tree.epoch().unwrap();
    assert_eq!(vault.rotate_root().await.unwrap(), before + 1);
    assert_eq!(vault.rotate_root().await.unwrap(), before + 2);
    assert_eq!(key(&vault, "user-1", "user-1").await.unwrap().id(), made.id());
    drop(vault);
    live(over(&tree).opening_key(made.id()));
}

#[test]
fn a_record_of_another_version_is_refused() {
    use crate::vault::records::{entries::SubjectRecord, fence::FenceRecord};
    let mut record = SubjectRecord::default_for(&FenceRecord::default());
    let begun = record.begin_generation().unwrap();
    record.go_on_with(begun);
    let encoded = record.encode();
    assert_eq!(SubjectRecord::decode(&encoded).unwrap(), record);
    let of_version = |version| {
        let mut other = encoded.to_vec();
        other[0] = version;
        SubjectRecord::decode(&other)
    };
    assert!(matches!(of_version(2), Err(VaultError::Damaged(_))));
    assert!(matches!(of_version(4), Err(VaultError::NewerFormat { found: 4, known: 3, .. })));
}

#[tokio::test]
async fn a_key_made_while_the_clock_was_ahead_is_old_for_every_age() {
    let vault = over(&tree());
    let layer = Oubliette::open(MemoryStore::new(), vault.clone(), Policy::sealed_by_default());
    let layer = layer.await.unwrap();
    let year = 365 * 86_400_000_000;
    vault.shared().disk.faults.ahead.store(year, Ordering::SeqCst);
    key(&vault, "user-1", "user-1").await.unwrap();
    vault.shared().disk.faults.ahead.store(0, Ordering::SeqCst);
    key(&vault, "user-2", "user-2").await.unwrap();

    // Also a rotation of what is older than ten years reaches it: it is not known how old it is.
    let ten_years = Timestamp::from_micros(Timestamp::now().as_micros() - 10 * year);
    let swept = layer.rotate_older_than(ten_years, |_| {}).await.unwrap();
    assert_eq!((swept.keys, swept.rotated), (2, 1));
    // Once: the new key has a date.
    key(&vault, "user-1", "user-1").await.unwrap();
    let swept = layer.rotate_older_than(ten_years, |_| {}).await.unwrap();
    assert_eq!((swept.keys, swept.rotated), (3, 0));
}
