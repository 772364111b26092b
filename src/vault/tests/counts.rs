//! Seals are counted, never too few, and a key is replaced before it has sealed too much.

use super::*;
use crate::vault::reading::cache::Warm;

async fn sealed(vault: &Vault, seals: u32) -> KeyId {
    let request = KeyRequest {
        stream: &stream("user-1"),
        subject: &subject("user-1"),
        generation: None,
        layout: Layout::Sealed,
        policy: PolicyDigest::default(),
    };
    vault.sealing_key(request, seals).await.unwrap().id()
}

fn counted(vault: &Vault) -> u64 {
    vault.keys_of(&subject("user-1")).unwrap()[0].sealed_at_most
}

#[tokio::test]
async fn counts_are_exact_while_open() {
    let vault = over(&tree());
    let mut total = 0;
    for seals in [1, 100, 3, 70_000, 0, 64] {
        sealed(&vault, seals).await;
        total += u64::from(seals);
        assert_eq!(counted(&vault), total);
    }
    vault.flush().await.unwrap();
    assert_eq!(counted(&vault), total);
}

#[tokio::test]
async fn however_a_process_ends_a_count_is_never_too_small_and_never_more_than_double() {
    let tree = tree();
    let mut total = 0;
    for (round, seals) in [1_u32, 63, 5, 1000, 2, 1, 1, 1, 7, 1].into_iter().enumerate() {
        let vault = over(&tree);
        for part in [seals, 1, 1] {
            sealed(&vault, part).await;
            total += u64::from(part);
        }
        if round % 2 == 0 {
            crash(vault);
        }
        let counted = counted(&over(&tree));
        assert!((total..=2 * total).contains(&counted), "{counted} counted, {total} sealed");
    }
}

/// As a program does that is started for each event. Once, each start reserved as many again as there were. Now the
/// first has three to spare, and no other.
#[tokio::test]
async fn a_key_that_seals_once_each_time_it_is_opened_counts_for_three_more() {
    let tree = tree();
    for total in 1..=40 {
        let vault = over(&tree);
        sealed(&vault, 1).await;
        crash(vault);
        assert_eq!(counted(&over(&tree)), total + 3);
    }
}

/// An auditor was told that 300,001 events were about 12,575,711 sealed payloads: most of what was reserved for
/// streams of few events was never used.
#[tokio::test]
async fn what_is_told_of_many_streams_of_few_events_is_close() {
    let tree = tree();
    let limits = Limits { cached_keys: 1, ..Limits::default() };
    let vault = Vault::over(Arc::clone(&tree), limits).unwrap();
    let name = |n: u64| format!("user-{n}");
    for n in 0..300 {
        for _ in 0..=n % 3 {
            key(&vault, &name(n), &name(n)).await.unwrap();
        }
    }
    // Not a clean end, which may know better.
    crash(vault);
    let vault = over(&tree);
    let mut told = 0;
    for n in 0..300 {
        let count = vault.keys_of(&subject(&name(n))).unwrap()[0].sealed_at_most;
        assert!((n % 3 + 1..=n % 3 + 4).contains(&count), "{} sealed, {count} counted", n % 3 + 1);
        told += count;
    }
    assert!((600..=1500).contains(&told), "600 sealed, {told} told");
}

#[tokio::test]
async fn a_warm_key_is_not_written_for_each_seal() {
    let vault = over(&tree());
    for _ in 0..10_000 {
        sealed(&vault, 1).await;
    }
    // Each time as much again is reserved: 4, 9, 19… 10,000 are reached at the twelfth time.
    assert_eq!(vault.shared().disk.faults.writes.load(Ordering::SeqCst), 12);
    assert_eq!(counted(&vault), 10_000);
}

/// A person's first events are one write of the vault.
#[tokio::test]
async fn a_new_key_is_written_once_for_four_events() {
    let vault = over(&tree());
    for _ in 0..4 {
        sealed(&vault, 1).await;
    }
    assert_eq!(vault.shared().disk.faults.writes.load(Ordering::SeqCst), 1);
    sealed(&vault, 1).await;
    assert_eq!(vault.shared().disk.faults.writes.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_new_key_is_written_once_also_where_it_gives_way_to_another() {
    let limits = Limits { cached_keys: 1, ..Limits::default() };
    let vault = Vault::over(tree(), limits).unwrap();
    let writes = || vault.shared().disk.faults.writes.load(Ordering::SeqCst);
    let before = writes();
    for n in 0..300 {
        let name = format!("user-{n}");
        key(&vault, &name, &name).await.unwrap();
    }
    vault.flush().await.unwrap();
    assert_eq!(writes(), before + 300);
}

#[tokio::test]
async fn a_key_that_is_wanted_again_after_it_gave_way_goes_on_counting() {
    let tree = tree();
    let limits = Limits { cached_keys: 1, ..Limits::default() };
    let vault = Vault::over(Arc::clone(&tree), limits).unwrap();
    for _ in 0..20 {
        for n in 0..300 {
            let name = format!("user-{n}");
            key(&vault, &name, &name).await.unwrap();
            key(&vault, &name, &name).await.unwrap();
        }
    }
    drop(vault);
    let vault = over(&tree);
    for n in 0..300 {
        let keys = vault.keys_of(&subject(&format!("user-{n}"))).unwrap();
        let counted = keys[0].sealed_at_most;
        assert!((40..=80).contains(&counted), "{counted} counted, 40 sealed");
    }
}

/// A vault may be open over midnight, and crash after it.
#[tokio::test]
async fn no_key_seals_on_a_day_that_the_disk_does_not_know_of() {
    let tree = tree();
    let vault = over(&tree);
    sealed(&vault, 8).await;
    sealed(&vault, 1).await;
    let address = (stream("user-1"), subject("user-1"));
    let warm = vault.shared().cache.warm(&address).unwrap();
    assert!(warm.take(1));
    let (key, current) = (Arc::clone(&warm.key), Arc::clone(&warm.current));
    let yesterday = Warm {
        key,
        current,
        generation: warm.generation,
        reserved: warm.reserved,
        before: warm.before,
        left: warm.drain().into(),
        last_day: warm.last_day - 1,
    };
    assert!(!yesterday.take(1));
    let (used, before) =
        (yesterday.used(), vault.shared().disk.faults.writes.load(Ordering::SeqCst));
    vault.shared().cache.keep_warm(address.clone(), yesterday);
    sealed(&vault, 1).await;
    assert_eq!(vault.shared().disk.faults.writes.load(Ordering::SeqCst), before + 1);
    // What was reserved yesterday is used today.
    let today = vault.shared().cache.warm(&address).unwrap();
    assert_eq!(
        (today.reserved, today.used(), today.last_day),
        (warm.reserved, used + 1, warm.last_day)
    );
}

#[tokio::test]
async fn a_key_near_its_limit_is_replaced_and_opens_still() {
    let tree = tree();
    let limits = Limits { seals_per_key: 100, ..Limits::default() };
    let open = || Vault::over(Arc::clone(&tree), limits).unwrap();
    let vault = open();
    let first = sealed(&vault, 60).await;
    assert_eq!(sealed(&vault, 40).await, first);
    let second = sealed(&vault, 1).await;
    assert_ne!(second, first);
    for _ in 0..1000 {
        sealed(&vault, 1).await;
    }
    let keys = vault.keys_of(&subject("user-1")).unwrap();
    assert_eq!(keys.len(), 12);
    assert!(keys.iter().all(|key| key.sealed_at_most <= 100));
    assert_eq!(keys.iter().map(|key| key.sealed_at_most).sum::<u64>(), 1101);
    live(vault.opening_key(first));
    let last = sealed(&vault, 1).await;
    drop(vault);
    let vault = open();
    assert_eq!(sealed(&vault, 1).await, last);
    live(vault.opening_key(first));
    live(vault.opening_key(second));
    // One append of more than the limit has a key of its own.
    let large = sealed(&vault, 5000).await;
    assert_ne!(large, last);
    assert_ne!(sealed(&vault, 1).await, large);
    forget(&vault, "user-1").await;
    for id in [first, second, last, large] {
        shredded(vault.opening_key(id));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_seals_are_all_counted() {
    let vault = over(&tree());
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let vault = vault.clone();
            tokio::spawn(async move {
                for n in 0..500 {
                    sealed(&vault, n % 7).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let total: u64 = 8 * (0..500).map(|n| n % 7).sum::<u64>();
    assert_eq!(counted(&vault), total);
    vault.flush().await.unwrap();
    assert_eq!(counted(&vault), total);
}

#[tokio::test]
async fn a_key_tells_its_layout_policy_and_days() {
    let vault = over(&tree());
    let before = crate::event::Timestamp::now();
    key(&vault, "ledger-1", "user-1").await.unwrap();
    let info = vault.keys_of(&subject("user-1")).unwrap().remove(0);
    assert_eq!((info.stream, info.subject), (stream("ledger-1"), subject("user-1")));
    assert_eq!((info.layout, info.policy), (Layout::Inline, PolicyDigest(*b"policy 1")));
    assert_eq!(info.generation, Generation(1));
    assert!(info.created >= before && info.last_use <= crate::event::Timestamp::now());
    assert_eq!(info.last_use.as_micros() % 86_400_000_000, 0);
}

#[tokio::test]
async fn late_retries_do_not_wear_out_a_key_that_gave_way() {
    let limits = Limits { seals_per_key: 3, ..Limits::default() };
    let tree = tree();
    let vault = Vault::over(Arc::clone(&tree), limits).unwrap();
    for _ in 0..4 {
        key(&vault, "user-1", "user-1").await.unwrap();
    }
    // Generation 1 sealed three times and gave way. What began under it may be asked for again.
    for _ in 0..3 {
        key_of(&vault, "user-1", "user-1", Some(1)).await.unwrap();
    }
    for reopened in [false, true] {
        let vault =
            if reopened { Vault::over(Arc::clone(&tree), limits).unwrap() } else { vault.clone() };
        let refused = key_of(&vault, "user-1", "user-1", Some(1)).await;
        assert!(
            matches!(&refused, Err(VaultError::KeyUsedUp { subject: of, generation: Generation(1) })
                if *of == subject("user-1")),
            "{refused:?}"
        );
        key(&vault, "user-1", "user-1").await.unwrap();
    }
}
