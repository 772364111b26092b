//! Backups while others write: with real threads.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicU64, Ordering},
    mpsc,
};

use super::*;
use crate::{
    crypto::DataKey,
    event::{EventId, KeyId, OwnerChange},
    vault::{
        Claim, InventoryEntry,
        commit::committer::Job,
        records::{delta::Delta, places},
        tests::claims::claim,
    },
};

/// Enough places for the walk to take some hundred steps.
async fn populated(vault: &Vault, subjects: usize) {
    let streams = futures::future::join_all((0..subjects).map(|n| {
        let vault = vault.clone();
        async move { key(&vault, &format!("old-{n}"), &format!("old-{n}")).await.unwrap() }
    }));
    streams.await;
}

/// Every record's owners know of it, and nobody names the forgotten.
fn assert_whole(vault: &Vault) {
    let mut subjects = std::collections::BTreeSet::new();
    for entry in vault.inventory() {
        if let InventoryEntry::Key(info) = entry.unwrap() {
            subjects.insert(info.subject);
        }
    }
    for whose in &subjects {
        for dependent in vault.dependents(whose).unwrap() {
            let state = vault.subject_state(&dependent).unwrap();
            let named = state.tenures.iter().flat_map(|tenure| &tenure.owners);
            let mut named = named.filter_map(|owner| owner.subject.as_ref());
            assert!(
                named.any(|owner| owner == whose) || state.fence.is_some(),
                "{whose} has {dependent} as a dependent, whose record does not say so"
            );
        }
        for epoch in vault.subject_state(whose).unwrap().tenures {
            for owner in epoch.owners.iter().filter_map(|owner| owner.subject.as_ref()) {
                let dependents = vault.dependents(owner).unwrap();
                assert!(dependents.contains(whose), "{owner} does not know of {whose}");
            }
        }
    }
}

#[derive(Default)]
struct Seen {
    /// Acknowledged and not being forgotten, with their secrets.
    living: Mutex<Vec<Arc<DataKey>>>,
    forgotten: Mutex<Vec<KeyId>>,
}

/// Appends, claims and forgets, for ever new people, until told to stop.
async fn work(vault: Vault, worker: u64, seen: &Seen, stop: &AtomicBool, done: &AtomicU64) {
    for n in 0.. {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let user = format!("user-{worker}-{n}");
        let account = format!("account-{worker}-{n}");
        let of_user = key(&vault, &user, &user).await.unwrap();
        let event = EventId::random();
        let change = OwnerChange::Add(subject(&user));
        let claim = Claim { any: true, ..claim(&account, event, change) };
        vault.claim(&[claim]).await.unwrap();
        let of_account = key(&vault, &account, &account).await.unwrap();
        vault.settle(&subject(&account), &[event], true).await.unwrap();
        if n % 3 == 0 {
            forget(&vault, &user).await;
            seen.forgotten.lock().unwrap().push(of_user.id());
        } else {
            seen.living.lock().unwrap().push(of_user);
        }
        seen.living.lock().unwrap().push(of_account);
        done.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_backup_under_load_shows_one_moment() {
    let place = Place::new();
    let vault = Vault::in_memory().unwrap();
    populated(&vault, 4_000).await;
    let (seen, stop, done) = (Arc::<Seen>::default(), Arc::<AtomicBool>::default(), Arc::default());
    let workers: Vec<_> = (0..4)
        .map(|worker| {
            let (vault, seen, stop, done): (_, _, _, Arc<AtomicU64>) =
                (vault.clone(), Arc::clone(&seen), Arc::clone(&stop), Arc::clone(&done));
            tokio::spawn(async move { work(vault, worker, &seen, &stop, &done).await })
        })
        .collect();
    for round in 0..3 {
        let name = format!("{round}.age");
        let (forgotten, began) =
            (seen.forgotten.lock().unwrap().clone(), done.load(Ordering::SeqCst));
        let acknowledged = seen.living.lock().unwrap().clone();
        // The walk waits now and then, so that much happens behind it and before it.
        let watched = Arc::clone(&done);
        let progress = move |_| {
            let reached = watched.load(Ordering::SeqCst) + 10;
            while watched.load(Ordering::SeqCst) < reached {
                std::thread::yield_now();
            }
        };
        let path = place.path(&name);
        vault.back_up(&path, &place.recipients(), in_days(1), progress).await.unwrap();
        assert!(done.load(Ordering::SeqCst) > began + 10, "nothing happened meanwhile");

        let (folder, root) = (place.path(&format!("v{round}")), place.path(&format!("r{round}")));
        place.read(&name).unwrap().restore(&folder, &root, |_| {}).unwrap();
        let again = Vault::open(&folder, &root).unwrap();
        for kept in acknowledged {
            assert_eq!(live(again.opening_key(kept.id())).secret(), kept.secret());
        }
        for id in forgotten {
            shredded(again.opening_key(id));
        }
        assert_whole(&again);
    }
    stop.store(true, Ordering::SeqCst);
    for worker in workers {
        worker.await.unwrap();
    }
    assert!(!seen.forgotten.lock().unwrap().is_empty());
}

/// At the moment that a backup shows, the vault and what is restored of it are the same, value
/// by value, whatever happened during the walk, or after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_restored_is_the_vault_at_the_end_of_the_backup() {
    let place = Place::new();
    let vault = Vault::in_memory().unwrap();
    populated(&vault, 2_500).await;
    // Some of whom will be forgotten before the walk is where they stand, and others after.
    for n in 0..60 {
        let change = OwnerChange::Add(subject(&format!("old-{n}")));
        claims::owned(&vault, &format!("account-{n}"), change, true).await.unwrap();
    }
    let (go, gate) = mpsc::channel::<()>();
    let (at, mut reached) = tokio::sync::mpsc::unbounded_channel();
    let gate = Mutex::new(gate);
    let progress = move |_| {
        at.send(()).unwrap();
        gate.lock().unwrap().recv().unwrap();
    };
    let backup = {
        let (vault, path, recipients) = (vault.clone(), place.path("copy.age"), place.recipients());
        tokio::spawn(async move { vault.back_up(&path, &recipients, in_days(1), progress).await })
    };
    // In the middle of the walk, and when all is written but what the committer is to read at
    // last: behind the walk and before it, keys are made, seals are counted, people are forgotten,
    // and come back, and memos come and go.
    let mut stops = 0;
    while reached.recv().await.is_some() {
        live_on(&vault, stops).await;
        stops += 1;
        go.send(()).unwrap();
    }
    let made = backup.await.unwrap().unwrap();
    assert!(stops >= 3, "{stops}");

    // Nothing was written since but the entry of the catalogue, which restoring completes too.
    let (folder, root) = (place.path("restored"), place.path("restored.root"));
    place.read("copy.age").unwrap().restore(&folder, &root, |_| {}).unwrap();
    let again = place.restored();
    assert_eq!(again.backups().unwrap(), [made]);
    let everything = |vault: &Vault| {
        let walk = vault.shared().disk.walk(vec![0]..vec![0xff; 65]);
        let all = walk.map(|found| found.unwrap()).map(|(p, v)| (p, v.to_vec()));
        // The restored one has a signing key of its own, and both ended the era of the backup.
        let own = |place: &[u8]| {
            [MemoKind::SigningKeys, MemoKind::SigningSecret, MemoKind::Era]
                .into_iter()
                .any(|kind| places::memos(kind).contains(&place.to_vec()))
        };
        all.filter(|(place, _)| !own(place)).collect::<Vec<_>>()
    };
    assert!(everything(&again) == everything(&vault));
}

async fn live_on(vault: &Vault, round: u32) {
    let old = |n: u32| format!("old-{}", 100 * round + n);
    for n in 0..30 {
        key(vault, "another", &old(n)).await.unwrap();
        key(vault, "new", &format!("new-{round}-{n}")).await.unwrap();
    }
    for n in 20..50 {
        forget(vault, &old(n)).await;
    }
    for n in 40..60 {
        vault.reopen(&subject(&old(n))).await.unwrap();
        key(vault, "again", &old(n)).await.unwrap();
    }
    let (id, length) = ([u8::try_from(round).unwrap(); 16], 30_000 / (1 + round as usize));
    vault.put_memo(MemoKind::Erasure, id, &vec![1; length]).await.unwrap();
    match round {
        0 | 1 => vault.put_memo(MemoKind::Journal, [8; 16], &vec![2; length]).await.unwrap(),
        // It was in the walk.
        _ => vault.remove_memo(MemoKind::Journal, [8; 16]).await.unwrap(),
    }
}

/// The catalogue has a backup before its file has a byte of a key: an erasure during the walk
/// finds it, and names it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erasure_during_a_backup_counts_it() {
    let place = Place::new();
    let vault = Vault::in_memory().unwrap();
    populated(&vault, 1_500).await;
    let (go, gate) = mpsc::channel::<()>();
    let (at, mut reached) = tokio::sync::mpsc::unbounded_channel();
    let gate = Mutex::new(gate);
    let progress = move |_| {
        let _ = at.send(());
        let _ = gate.lock().unwrap().recv();
    };
    let backup = {
        let (vault, path, recipients) = (vault.clone(), place.path("copy.age"), place.recipients());
        tokio::spawn(async move { vault.back_up(&path, &recipients, in_days(1), progress).await })
    };
    reached.recv().await.unwrap();
    let gone = key(&vault, "old-1", "old-1").await.unwrap().id();
    let erasure = crate::event::ErasureId::now();
    let destroyed = destroy(&vault, erasure, "old-1", crate::vault::Dead::All).await.unwrap();
    let counted = vault.backups_before(Some(destroyed.epoch)).unwrap();
    assert_eq!(counted.len(), 1);
    assert_eq!(counted[0].state(Timestamp::now()), crate::vault::BackupState::Incomplete);
    drop(go);
    let made = backup.await.unwrap().unwrap();
    assert_eq!(vault.backups_before(Some(destroyed.epoch)).unwrap(), [made]);
    // What it says when it is restored: it shows the moment of its end.
    place.restore("copy.age").unwrap();
    assert_eq!(shredded(place.restored().opening_key(gone)), erasure);
}

/// Whatever was changed since the tap was opened is in the memos that are taken, or in later ones.
#[tokio::test]
async fn the_tap_misses_nothing_and_is_closed_afterwards() {
    let vault = Vault::in_memory().unwrap();
    let disk = &vault.shared().disk;
    key(&vault, "a", "a").await.unwrap();
    assert_eq!(disk.tap.take().len(), 0, "nobody listens");
    vault.ask(Job::OpenTap).await.unwrap();
    key(&vault, "b", "b").await.unwrap();
    forget(&vault, "a").await;
    vault.put_memo(MemoKind::Journal, [1; 16], b"x").await.unwrap();
    vault.remove_memo(MemoKind::Journal, [1; 16]).await.unwrap();
    let last = vault.ask(Job::CloseTap).await.unwrap();
    let keys = last.iter().filter(|delta| match delta {
        Delta::Value(place, _) => places::is_key(place),
        _ => false,
    });
    assert_eq!(keys.count(), 1);
    let ranges = last.iter().filter(|delta| matches!(delta, Delta::RangeGone(..)));
    assert!(ranges.count() >= 2, "a person and a memo");
    key(&vault, "c", "c").await.unwrap();
    assert_eq!(disk.tap.take().len(), 0);
}
