//! How long a backup of many keys takes, and how much memory: run by hand,
//!
//! ```sh
//! OUBLIETTE_KEYS=1000000 CARGO_PROFILE_DEV_OPT_LEVEL=3 \
//!     cargo test --lib backup::tests::scale -- --ignored --nocapture
//! ```

#![allow(clippy::print_stderr)]

use std::time::Instant;

use super::*;
use crate::{
    crypto::random_secret,
    event::{Class, Generation, KeyId, Layout, PolicyDigest, VaultId},
    vault::{
        pages::SledPages,
        records::{entries::KeyEntry, naming::Naming},
        root::MemorySlot,
        shared::Limits,
        tree::{Seed, Shape, Tree, Value, Whereabouts},
    },
};

/// Resident memory now and at most, in MiB, since the last call.
fn memory() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = |name: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.trim().trim_end_matches(" kB").parse().unwrap_or_default()
    };
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    (kib("VmRSS:") / 1024, kib("VmHWM:") / 1024)
}

fn tell(what: &str, began: Instant) {
    let (now, most) = memory();
    eprintln!(
        "{what}: {:.1} s, resident {now} MiB, at most {most} MiB",
        began.elapsed().as_secs_f64()
    );
}

/// A vault of so many people with one key each, made without sealing anything.
fn vault_of(keys: u64, folder: &Path) -> Vault {
    let identity = random_secret().unwrap();
    let naming = Naming::new(&identity, crate::vault::records::eras::Eras::over(Vec::new()));
    let name = |n: u64| subject(&format!("user-{n}"));
    let mut order: Vec<_> = (0..keys).map(|n| (naming.subject(&name(n)), n)).collect();
    order.sort_unstable();
    let values = order.into_iter().map(|(hash, n)| {
        let (subject, stream) = (name(n), name(n).stream());
        let place = naming.key(&hash, &stream, &Class::default(), Generation::FIRST);
        let entry = KeyEntry {
            class: Class::default(),
            id: KeyId([&[0, 1][..], &u128::from(n).to_be_bytes()].concat().try_into().unwrap()),
            secret: random_secret()?,
            stream,
            subject,
            generation: Generation::FIRST,
            created: Timestamp::now(),
            last_day: 20_000,
            reserved: 64,
            layout: Layout::Sealed,
            policy: PolicyDigest(*b"policy 1"),
        };
        Ok::<(_, Value), VaultError>((place, entry.encode()))
    });
    let seed = Seed { vault: VaultId(uuid::Uuid::new_v4()), identity, epoch: 1 };
    let pages = Box::new(SledPages::open(folder).unwrap());
    let slot = || Ok(Box::new(MemorySlot::default()) as _);
    let tree =
        Tree::load(pages, slot, Shape::default(), seed, Whereabouts::default(), values).unwrap();
    Vault::over(tree.into(), Limits::default()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes long; a measurement, not a test"]
async fn many_keys() {
    let keys = std::env::var("OUBLIETTE_KEYS").ok().and_then(|n| n.parse().ok());
    let keys: u64 = keys.unwrap_or(1_000_000);
    let place = Place::new();
    let began = Instant::now();
    let vault = vault_of(keys, &place.path("pages"));
    tell("a vault of these keys, filled from the leaves up", began);
    let began = Instant::now();
    let made = place.back_up(&vault, "copy.age").await.unwrap();
    tell("backup", began);
    assert_eq!(made.keys, Some(keys));
    let length = std::fs::metadata(place.path("copy.age")).unwrap().len();
    eprintln!("file: {} MiB", length >> 20);
    drop(vault);
    let began = Instant::now();
    let backup = place.read("copy.age").unwrap();
    tell("check", began);
    let began = Instant::now();
    let (folder, root) = (place.path("restored"), place.path("restored.root"));
    let restored = backup.restore(&folder, &root, |_| {}).unwrap();
    tell("restore", began);
    assert_eq!(restored.keys, keys);
    let began = Instant::now();
    drop(place.restored());
    tell("open", began);
}
