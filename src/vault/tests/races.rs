//! Many at once: one flush for many, no stale key, no append beside a forgetting.

use std::thread;

use super::*;
use crate::vault::AdmissionRequest;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_creations_share_one_flush() {
    let vault = over(&tree());
    let writes = || vault.shared().disk.faults.writes.load(Ordering::SeqCst);
    let hold = vault.shared().disk.faults.hold.lock().unwrap();
    let create = |n: u32| {
        let vault = vault.clone();
        let name = format!("user-{n}");
        tokio::spawn(async move { key(&vault, &name, &name).await.unwrap().id() })
    };
    let first = create(0);
    while writes() == 0 {
        tokio::task::yield_now().await;
    }
    // While the first is being written, the others gather.
    let others: Vec<_> = (1..1000).map(create).collect();
    while vault.asked() < 1000 {
        tokio::task::yield_now().await;
    }
    assert!(!first.is_finished());
    drop(hold);
    first.await.unwrap();
    for other in others {
        other.await.unwrap();
    }
    assert_eq!(writes(), 2);
    assert_eq!(living(&vault).0.len(), 1000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_write_is_told_to_all_who_waited_for_it() {
    let tree = tree();
    let vault = over(&tree);
    let hold = vault.shared().disk.faults.hold.lock().unwrap();
    let tasks: Vec<_> = (0..50)
        .map(|n| {
            let vault = vault.clone();
            let name = format!("user-{n}");
            tokio::spawn(async move { key(&vault, &name, &name).await })
        })
        .collect();
    while vault.asked() < 50 {
        tokio::task::yield_now().await;
    }
    vault.shared().disk.faults.fail.store(true, Ordering::SeqCst);
    drop(hold);
    for task in tasks {
        let result = task.await.unwrap();
        assert!(matches!(result, Err(VaultError::Storage(_) | VaultError::Poisoned)), "{result:?}");
    }
    let memo = vault.put_memo(crate::vault::MemoKind::Journal, [1; 16], b"").await;
    assert!(matches!(memo, Err(VaultError::Poisoned)));
    drop(vault);
    assert!(is_bare(&tree));
}

#[tokio::test]
async fn after_a_failed_destruction_nothing_is_sealed_opened_or_admitted() {
    let vault = over(&tree());
    let made = key(&vault, "user-1", "user-1").await.unwrap();
    live(vault.opening_key(made.id()));
    vault.shared().disk.faults.fail.store(true, Ordering::SeqCst);
    let failed = destroy(&vault, ErasureId::now(), "user-1", Dead::All).await;
    assert!(matches!(failed, Err(VaultError::Storage(_))), "{failed:?}");
    // The keys are warm; but they may be gone from the disk, or not.
    assert!(matches!(key(&vault, "user-1", "user-1").await, Err(VaultError::Poisoned)));
    assert!(matches!(vault.opening_key(made.id()), Err(VaultError::Poisoned)));
    assert!(matches!(vault.admit(AdmissionRequest::default()).await, Err(VaultError::Poisoned)));
}

/// Keys that gave way in the cache wait, with their unused seals, for the next write: not so those
/// that are destroyed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destroyed_key_does_not_wait_in_memory_for_the_next_write() {
    let limits = Limits { cached_keys: 1, ..Limits::default() };
    let vault = Vault::over(tree(), limits).unwrap();
    let hold = vault.shared().disk.faults.hold.lock().unwrap();
    let create = |n: u32| {
        let vault = vault.clone();
        let name = format!("user-{n}");
        tokio::spawn(async move { Arc::downgrade(&key(&vault, &name, &name).await.unwrap()) })
    };
    let mut tasks = vec![create(0)];
    while vault.shared().disk.faults.writes.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    // One write makes the others, and their destruction follows at once.
    tasks.extend((1..200).map(create));
    while vault.asked() < 200 {
        tokio::task::yield_now().await;
    }
    let losses = (0..200)
        .map(|n| Loss { subject: subject(&format!("user-{n}")), dead: Dead::All })
        .collect();
    let destruction = Destruction::new(ErasureId::now(), losses);
    let destroying = vault.clone();
    let destroying = tokio::spawn(async move { destroying.destroy(&destruction, b"").await });
    while vault.asked() < 201 {
        tokio::task::yield_now().await;
    }
    drop(hold);
    assert_eq!(destroying.await.unwrap().unwrap().keys, 200);
    for task in tasks {
        assert_eq!(task.await.unwrap().strong_count(), 0);
    }
}

/// Has a subject be forgotten between what the next reader reads and what it keeps.
fn forget_meanwhile(vault: &Vault, whose: &'static str) {
    let forgetting = vault.clone();
    let meanwhile = move || {
        let forget = move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            runtime.block_on(forget(&forgetting, whose));
        };
        thread::spawn(forget).join().unwrap();
    };
    *vault.shared().disk.faults.meanwhile.lock().unwrap() = Some(Box::new(meanwhile));
}

#[tokio::test]
async fn a_reader_keeps_nothing_that_was_destroyed_while_it_read() {
    let tree = tree();
    let made = key(&over(&tree), "user-1", "user-1").await.unwrap();
    let vault = over(&tree);
    forget_meanwhile(&vault, "user-1");
    // This one came before: it may still see the key.
    live(vault.opening_key(made.id()));
    shredded(vault.opening_key(made.id()));
}

#[tokio::test]
async fn an_admission_keeps_nothing_that_changed_while_it_looked() {
    let vault = over(&tree());
    let opening = || AdmissionRequest { shared: vec![subject("user-1")], exclusive: vec![] };
    forget_meanwhile(&vault, "user-1");
    let _ = vault.admit(opening()).await;
    assert!(matches!(vault.admit(opening()).await, Err(VaultError::Forgotten { .. })));
}

/// Readers hammer a key while it is destroyed: as soon as `destroy` has returned, nobody reads
/// it any more.
#[test]
fn no_reader_sees_a_key_after_its_destruction() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    let tree = tree();
    for round in 0..60 {
        // A fresh vault each time: cold readers are the ones who could leave something stale.
        let vault = over(&tree);
        let name = format!("user-{round}");
        let keys: Vec<KeyId> = runtime.block_on(async {
            let streams = (0..8).map(|n| format!("stream-{n}"));
            let keys = streams.map(|of| {
                let (vault, name) = (&vault, &name);
                async move { key(vault, &of, name).await.unwrap().id() }
            });
            futures::future::join_all(keys).await
        });
        drop(vault);
        let vault = over(&tree);
        let destroyed = AtomicBool::new(false);
        thread::scope(|scope| {
            for reader in 0..4 {
                let (vault, keys, destroyed) = (&vault, &keys, &destroyed);
                scope.spawn(move || {
                    let mut after = 0;
                    for id in keys.iter().cycle().skip(reader) {
                        let gone = destroyed.load(Ordering::SeqCst);
                        let state = vault.opening_key(*id).unwrap();
                        if gone {
                            assert!(matches!(state, KeyLookup::Shredded { .. }), "{state:?}");
                            after += 1;
                        }
                        if after > 2 * keys.len() {
                            break;
                        }
                    }
                });
            }
            runtime.block_on(forget(&vault, &name));
            destroyed.store(true, Ordering::SeqCst);
        });
    }
}

/// Appends as the layer makes them, against one who forgets and reopens: an append that is let
/// in gets a key, and that key opens until the append is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_is_admitted_keeps_their_key_until_they_are_done() {
    let vault = over(&tree());
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..6)
        .map(|n| {
            let (vault, stop) = (vault.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                let (mut done, mut refused) = (0, 0);
                let of = format!("stream-{}", n % 3);
                while !stop.load(Ordering::SeqCst) {
                    let whose = format!("user-{}", (n + done + refused) % 2);
                    let opening =
                        AdmissionRequest { shared: vec![subject(&whose)], exclusive: vec![] };
                    match vault.admit(opening).await {
                        Ok(admission) => {
                            let sealing = key(&vault, &of, &whose).await.unwrap();
                            tokio::task::yield_now().await;
                            live(vault.opening_key(sealing.id()));
                            drop(admission);
                            done += 1;
                        }
                        Err(VaultError::Forgotten { .. }) => refused += 1,
                        Err(other) => panic!("{other}"),
                    }
                    tokio::task::yield_now().await;
                }
                done
            })
        })
        .collect();
    for round in 0..100 {
        let whose = format!("user-{}", round % 2);
        let closure = vault.close(&[subject(&whose)]).await;
        let keys = vault.keys_of(&subject(&whose)).unwrap();
        let erasure = forget(&vault, &whose).await;
        for key in keys {
            assert_eq!(shredded(vault.opening_key(key.id)), erasure);
        }
        drop(closure);
        tokio::task::yield_now().await;
        vault.reopen(&subject(&whose)).await.unwrap().unwrap();
        tokio::task::yield_now().await;
    }
    stop.store(true, Ordering::SeqCst);
    let mut done = 0;
    for writer in writers {
        done += writer.await.unwrap();
    }
    assert!(done > 0);
}

#[test]
fn any_runtime_will_do_and_none_for_reading() {
    let tree = tree();
    let vault = over(&tree);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let made = runtime.block_on(key(&vault, "user-1", "user-1")).unwrap();
    drop(runtime);
    live(vault.opening_key(made.id()));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let clone = vault.clone();
        let task = tokio::spawn(async move { key(&clone, "user-2", "user-2").await });
        task.await.unwrap().unwrap();
        vault.flush().await.unwrap();
    });
}

#[tokio::test]
async fn who_drops_the_future_changes_nothing_for_others() {
    let vault = over(&tree());
    for _ in 0..20 {
        let (of, whose) = (stream("user-1"), subject("user-1"));
        let request = KeyRequest {
            stream: &of,
            subject: &whose,
            generation: None,
            layout: Layout::Sealed,
            policy: PolicyDigest::default(),
        };
        let mut asked = Box::pin(vault.sealing_key(request, 1));
        let _ = futures::poll!(asked.as_mut());
    }
    key(&vault, "user-1", "user-1").await.unwrap();
    assert_eq!(living(&vault).0.len(), 1);
}
