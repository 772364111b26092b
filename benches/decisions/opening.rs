//! What an opening costs.

use std::time::Instant;

use oubliette::{
    erasure::{ErasureError, KeyChange, UnclearError, change_key},
    event::ANNOUNCEMENTS,
    layer::Oubliette,
    store::{EventStoreExt as _, MemoryStore, ReadOptions},
    vault::{OpenAs, Vault},
};

use crate::{Bench, folder, layer, noted, policy, put, stream, subject, timed};

/// How many erasures are announced.
const ERASURES: usize = 200;
/// How often the signing key is changed.
const CHANGES: usize = 10;

pub(crate) fn cases(bench: &mut Bench<'_>) {
    vaults(bench);
    witness(bench);
}

fn vaults(bench: &mut Bench<'_>) {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    let create = |name: &str| Vault::create(&at(name), &at(&format!("{name}.root"))).unwrap();
    let open = |name: &str, how| Vault::open_as(&at(name), &at(&format!("{name}.root")), how);
    drop(create("one"));
    bench.pair(
        "15",
        "opening a vault on disk, against opening it to be read, which leaves no number",
        1,
        timed(|| open("one", OpenAs::ReadOnly).unwrap()),
        timed(|| open("one", OpenAs::Known).unwrap()),
    );
    let changed = create("changed");
    let change = KeyChange::Rotate { successor: None, compromised: None, without_successor: false };
    bench.run(async {
        for _ in 0..CHANGES {
            change_key(&changed, &change).await.unwrap();
        }
    });
    drop(changed);
    bench.pair(
        "23",
        "opening a vault on disk to be read whose signing key was changed ten times, against never",
        1,
        timed(|| open("one", OpenAs::ReadOnly).unwrap()),
        timed(|| open("changed", OpenAs::ReadOnly).unwrap()),
    );
}

/// A vault that announced so many erasures, and the store that has them.
async fn announced(erasures: usize) -> (MemoryStore, Vault) {
    let (layer, store, vault) = layer().await;
    for number in 0..erasures {
        let name = format!("user-{number}");
        put(&layer, &name, vec![noted()]).await;
        layer.forget(&subject(&name), "measured").await.unwrap();
    }
    (store, vault)
}

/// The look at what was announced.
fn witness(bench: &mut Bench<'_>) {
    let (few, many, missing) = bench.run(async {
        let (few, many) = (announced(1).await, announced(ERASURES).await);
        let (store, vault) = announced(ERASURES).await;
        let kept = MemoryStore::new();
        let all = store.events(&stream(ANNOUNCEMENTS), ReadOptions::default()).await.unwrap();
        // All but the last, which the vault remembers.
        for event in &all[..all.len() - 1] {
            put(&kept, ANNOUNCEMENTS, vec![crate::reading::as_it_is(event)]).await;
        }
        (few, many, (kept, vault))
    });
    let handle = bench.runtime.handle().clone();
    let open = |(store, vault): &(MemoryStore, Vault)| {
        let start = Instant::now();
        let opened = handle.block_on(Oubliette::open(store.clone(), vault.clone(), policy()));
        let took = start.elapsed();
        assert!(matches!(opened, Ok(_) | Err(ErasureError::Unclear(UnclearError::WitnessGap(_)))));
        took
    };
    for (decision, case, with) in [
        ("9", "opening a layer over 200 announcements that the vault knows, against one", &many),
        (
            "35",
            "opening a layer over 200 announcements of which the newest is missing, against one that is there",
            &missing,
        ),
    ] {
        bench.pair(decision, case, 1, |_| open(&few), |_| open(with));
    }
}
