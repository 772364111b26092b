//! What a fence costs that names the keys that it spared, and what a note costs that is compared with what would be
//! written.

use std::{cell::Cell, time::Instant};

use oubliette::{
    erasure::ErasureRecord,
    event::{ErasureId, KeyId, Layout, PolicyDigest},
    vault::{
        Vault,
        internals::{Dead, Destruction, KeyRequest, Loss, Plumbing as _},
    },
};

use crate::{Bench, layer, noted, put, stream, subject, timed};

/// How many keys a subject has, of which half are spared.
const KEYS: usize = 200;

pub(crate) fn cases(bench: &mut Bench<'_>) {
    let vault = Vault::in_memory().unwrap();
    let handle = bench.runtime.handle().clone();
    let next = Cell::new(0);
    let destroy = |spared: usize| {
        next.set(next.get() + 1);
        let subject = subject(&format!("user-{}", next.get()));
        let keys: Vec<KeyId> = handle.block_on(async {
            let mut keys = Vec::new();
            for number in 0..KEYS {
                let stream = &stream(&format!("{subject}-{number}"));
                let (subject, layout) = (&subject, Layout::Sealed);
                let policy = PolicyDigest::default();
                let request = KeyRequest { stream, subject, generation: None, layout, policy };
                keys.push(vault.sealing_key(request, 1).await.unwrap().id());
            }
            keys
        });
        let losses = vec![Loss { subject, dead: Dead::All }];
        let mut destruction = Destruction::new(ErasureId::now(), losses);
        destruction.spared = keys[..spared].iter().copied().collect();
        let start = Instant::now();
        handle.block_on(vault.destroy(&destruction, b"measured")).unwrap();
        (start.elapsed(), keys[KEYS - 1])
    };
    bench.pair(
        "25",
        "destroying 100 of a subject's 200 keys and sparing the rest, against destroying 200",
        1,
        |_| destroy(0).0,
        |_| destroy(KEYS / 2).0,
    );
    let (none, half) = (destroy(0).1, destroy(KEYS / 2).1);
    bench.pair(
        "25",
        "looking up a dead key behind a fence that spares 100, against one that spares none",
        100,
        timed(|| vault.opening_key(none).unwrap()),
        timed(|| vault.opening_key(half).unwrap()),
    );

    let record = bench.run(async {
        let (layer, ..) = layer().await;
        put(&layer, "user-1", vec![noted()]).await;
        layer.forget(&subject("user-1"), "measured").await.unwrap();
        layer.erasures().unwrap().remove(0)
    });
    let text = serde_json::to_vec(&record).unwrap();
    let parse = || serde_json::from_slice::<ErasureRecord>(&text).unwrap();
    bench.pair(
        "33",
        "reading an erasure's record and writing it again to compare, against reading it",
        100,
        timed(parse),
        timed(|| serde_json::to_vec(&parse()).unwrap()),
    );
}
