//! Rotation and forgetting under readers and writers on threads of their own, through the public
//! interface alone.

#![allow(clippy::unwrap_used)]

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use crate::common::*;
use oubliette::{
    audit::Row,
    event::{EventId, Generation, OwnerChange, Timestamp},
    layer::{Oubliette, RotateError},
    store::{EventStore, MemoryStore},
    vault::{
        KeyState, Vault, VaultError,
        internals::{Claim, Plumbing as _},
    },
};

/// Streams, generations and states of all keys, in order.
fn keys<S: EventStore>(bank: &Oubliette<S>) -> Vec<(String, Generation, KeyState)> {
    let mut keys = Vec::new();
    for row in bank.inventory().unwrap() {
        if let Row::Key(key) = row.unwrap() {
            keys.push((key.stream.to_string(), key.generation, key.state));
        }
    }
    keys.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
    keys
}

#[tokio::test]
async fn everybody_is_rotated_once_and_reads_as_before() {
    let bank = layer().await;
    for n in 0..300 {
        let data = format!(r#"{{"to":"town {n}"}}"#);
        put(&bank, &format!("user-{n}"), event("UserMoved", &data)).await.unwrap();
    }
    bank.forget(&subject("user-5"), "asked").await.unwrap();
    let told = std::sync::Arc::new(Mutex::new(Vec::new()));
    let progress = std::sync::Arc::clone(&told);
    let sweep = bank.rotate_older_than(Timestamp::now(), move |sweeping| {
        progress.lock().unwrap().push(sweeping);
    });
    let swept = sweep.await.unwrap();
    assert_eq!((swept.keys, swept.rotated, swept.unsettled), (299, 299, 0));
    let again = bank.rotate_older_than(Timestamp::now(), |_| {}).await.unwrap();
    assert_eq!((again.keys, again.rotated), (299, 0));
    for n in 0..300 {
        let shape = shape(&all(&bank, &format!("user-{n}")).await);
        assert_eq!(shape, if n == 5 { "st" } else { "c" });
    }
    let early = Timestamp::from_micros(0);
    put(&bank, "user-0", event("UserMoved", r#"{"to":"Bremen"}"#)).await.unwrap();
    assert_eq!(bank.rotate_older_than(early, |_| {}).await.unwrap().rotated, 0);
    let states = keys(&bank);
    assert_eq!(states.len(), 300);
    let active = states.iter().filter(|(.., state)| *state == KeyState::Active).count();
    assert_eq!(active, 1);
}

#[tokio::test]
async fn an_owner_change_that_was_cut_off_is_settled_by_looking() {
    let bank = layer().await;
    put(&bank, "bankaccount-1", event("AccountOpened", r#"{"owner":"user-1","memo":"m"}"#))
        .await
        .unwrap();
    let claim = Claim {
        subject: subject("bankaccount-1"),
        event: EventId::random(),
        change: OwnerChange::Replace(subject("user-2")),
        any: false,
        content: [0; 32],
        stored: false,
    };
    bank.vault().unwrap().claim(&[claim]).await.unwrap();
    let rotated = bank.rotate(&subject("bankaccount-1")).await.unwrap();
    assert_eq!(rotated.generation, Some(Generation(3)));
    // It was withdrawn: user-1 is still the owner, of what comes, too.
    put(&bank, "bankaccount-1", event("Deposited", r#"{"amount":1,"memo":"m"}"#)).await.unwrap();
    bank.forget(&subject("user-1"), "asked").await.unwrap();
    assert_eq!(keys(&bank), []);
    assert_eq!(shape(&all(&bank, "bankaccount-1").await), "ppt");
}

#[tokio::test]
async fn a_rotation_of_nobody_is_an_error() {
    let bank = layer().await;
    let unknown = bank.rotate(&subject("user-1")).await;
    assert!(matches!(unknown, Err(RotateError::UnknownSubject(_))), "{unknown:?}");
    put(&bank, "user-1", event("UserMoved", r#"{"to":"Bremen"}"#)).await.unwrap();
    bank.forget(&subject("user-1"), "asked").await.unwrap();
    let gone = bank.rotate(&subject("user-1")).await;
    assert!(matches!(gone, Err(RotateError::Vault(VaultError::Forgotten { .. }))), "{gone:?}");
    let blind = Oubliette::without_vault(MemoryStore::new(), bank_policy());
    assert!(matches!(blind.rotate_root().await, Err(RotateError::NoVault)));
}

/// Many readers on threads of their own, who keep the keys warm, while people are forgotten and
/// keys rotated: a read that begins after `forget` returned finds nothing.
#[test]
fn no_read_that_begins_after_forget_returned_is_clear() {
    const PEOPLE: usize = 24;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    let bank = runtime.block_on(async {
        let bank = Oubliette::open(MemoryStore::new(), Vault::in_memory().unwrap(), bank_policy());
        let bank = bank.await.unwrap();
        for n in 0..PEOPLE {
            put(&bank, &format!("user-{n}"), event("UserMoved", r#"{"to":"X"}"#)).await.unwrap();
        }
        bank
    });
    let forgotten = AtomicUsize::new(0);
    let (stop, clear, shredded) =
        (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let wrong = AtomicUsize::new(0);
    thread::scope(|scope| {
        for reader in 0..6 {
            let (bank, forgotten, stop) = (&bank, &forgotten, &stop);
            let (clear, shredded, wrong) = (&clear, &shredded, &wrong);
            scope.spawn(move || {
                let runtime =
                    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
                for n in (0..PEOPLE).cycle().skip(reader * 4) {
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                    let gone = n < forgotten.load(Ordering::SeqCst);
                    let events = runtime.block_on(all(bank, &format!("user-{n}")));
                    match shape(&events[..1]).as_str() {
                        "c" if gone => wrong.fetch_add(1, Ordering::SeqCst),
                        "c" => clear.fetch_add(1, Ordering::SeqCst),
                        _ => shredded.fetch_add(1, Ordering::SeqCst),
                    };
                }
            });
        }
        for n in 0..PEOPLE {
            let next = subject(&format!("user-{}", n + 1));
            if n + 1 < PEOPLE {
                runtime.block_on(bank.rotate(&next)).unwrap();
            }
            runtime.block_on(bank.forget(&subject(&format!("user-{n}")), "asked")).unwrap();
            forgotten.store(n + 1, Ordering::SeqCst);
            let before = shredded.load(Ordering::SeqCst);
            while shredded.load(Ordering::SeqCst) < before + 20 {
                thread::yield_now();
            }
        }
        stop.store(true, Ordering::SeqCst);
    });
    assert_eq!(wrong.into_inner(), 0);
    assert!(clear.into_inner() > 0);
}
