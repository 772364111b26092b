//! What must hold of the vault's records.

// Tests hold the lock that keeps writes waiting on purpose.
#![allow(clippy::await_holding_lock)]
// Long runs say how far they went.
#![allow(clippy::print_stdout)]

pub(super) mod claims;
pub(super) mod classes;
#[cfg(unix)]
mod copied;
mod counts;
#[cfg(unix)]
mod damage;
mod faults;
mod fences;
pub(super) mod folder;
#[cfg(unix)]
pub(super) mod forensic;
mod forms;
mod gates;
mod keys;
mod memos;
mod model;
#[cfg(feature = "sqlite")]
mod moving;
mod races;
mod replay;
mod rotation;
mod sizes;
#[cfg(unix)]
mod slots;
pub(super) mod spared;
pub(super) mod verify;
mod walk;

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
};

use super::{
    Dead, Destroyed, Destruction, InventoryEntry, KeyLookup, KeyRequest, Loss, OpenAs,
    OpenVaultError, SlotError, Vault, VaultError, shared::Limits, tree::Tree,
};
use crate::{
    crypto::DataKey,
    event::{ErasureId, Generation, KeyId, Layout, PolicyDigest, StreamName, Subject},
};

/// Faults that a test injects into the writes of one vault.
#[derive(Default)]
pub(super) struct Faults {
    /// How many writes were begun.
    pub(super) writes: AtomicU64,
    /// How many jobs the committer was given.
    pub(super) asked: AtomicU64,
    /// How far the clock is ahead, in microseconds.
    pub(super) ahead: AtomicI64,
    /// Whether the next write fails.
    pub(super) fail: AtomicBool,
    /// Whoever holds this keeps writes waiting.
    pub(super) hold: Mutex<()>,
    /// What happens once, after a reader has read the tree and before it leaves what it found in
    /// the cache.
    pub(super) meanwhile: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Faults {
    pub(super) fn after_read(&self) {
        let meanwhile = self.meanwhile.lock().unwrap().take();
        if let Some(meanwhile) = meanwhile {
            meanwhile();
        }
    }

    pub(super) fn before_write(&self) -> Result<(), VaultError> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        drop(self.hold.lock().unwrap());
        if self.fail.load(Ordering::SeqCst) {
            return Err(VaultError::Storage("no space left".into()));
        }
        Ok(())
    }
}

/// How many rounds of a test that has no end are made: as many as an environment variable says.
pub(super) fn long_runs(variable: &str, short: u64) -> u64 {
    std::env::var(variable).map_or(short, |rounds| rounds.parse().unwrap())
}

/// A few random numbers, the same for a seed (Steele, Lea and Flood: SplitMix64).
pub(super) struct Chance(pub(super) u64);

impl Chance {
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// A vault over a tree that a test keeps, so that it can be opened again.
pub(super) fn over(tree: &Arc<Tree>) -> Vault {
    let vault = Vault::over(Arc::clone(tree), Limits::default()).unwrap();
    // A new vault has written its signing key and its first era.
    vault.shared().disk.faults.writes.store(0, Ordering::SeqCst);
    vault
}

/// Whether a tree holds nothing but the signing key and the era that every vault has.
pub(super) fn is_bare(tree: &Tree) -> bool {
    let all = tree.range(&[0], &[255], usize::MAX).unwrap();
    use super::MemoKind::{Era, SigningKeys, SigningSecret};
    let own = [SigningKeys, SigningSecret, Era].map(super::records::places::memos);
    all.iter().all(|(place, _)| own.iter().any(|memos| memos.contains(place)))
}

pub(super) fn tree() -> Arc<Tree> {
    Arc::new(Tree::in_memory().unwrap())
}

pub(super) fn subject(name: &str) -> Subject {
    Subject::new(name).unwrap()
}

pub(super) fn stream(name: &str) -> StreamName {
    StreamName::new(name).unwrap()
}

/// The key to seal one payload of a stream of a subject's.
pub(super) async fn key(vault: &Vault, of: &str, whose: &str) -> Result<Arc<DataKey>, VaultError> {
    key_of(vault, of, whose, None).await
}

pub(super) async fn key_of(
    vault: &Vault,
    of: &str,
    whose: &str,
    generation: Option<u32>,
) -> Result<Arc<DataKey>, VaultError> {
    let request = KeyRequest {
        stream: &stream(of),
        subject: &subject(whose),
        generation: generation.map(Generation),
        layout: Layout::Inline,
        policy: PolicyDigest(*b"policy 1"),
    };
    vault.sealing_key(request, 1).await
}

/// Forgets a subject wholly.
pub(super) async fn forget(vault: &Vault, whose: &str) -> ErasureId {
    let erasure = ErasureId::now();
    destroy(vault, erasure, whose, Dead::All).await.unwrap();
    erasure
}

pub(super) async fn destroy(
    vault: &Vault,
    erasure: ErasureId,
    whose: &str,
    dead: Dead,
) -> Result<Destroyed, VaultError> {
    let losses = vec![Loss { subject: subject(whose), dead }];
    vault.destroy(&Destruction::new(erasure, losses), b"").await
}

/// Destroys keys of a subject, but for those that are spared.
pub(super) async fn destroy_but(
    vault: &Vault,
    erasure: ErasureId,
    whose: &str,
    dead: Dead,
    spared: impl IntoIterator<Item = KeyId>,
) -> Result<Destroyed, VaultError> {
    let losses = vec![Loss { subject: subject(whose), dead }];
    let spared = spared.into_iter().collect();
    let destruction = Destruction { spared, ..Destruction::new(erasure, losses) };
    vault.destroy(&destruction, b"").await
}

pub(super) fn live(state: Result<KeyLookup, VaultError>) -> Arc<DataKey> {
    match state.unwrap() {
        KeyLookup::Live { key, .. } => key,
        other => panic!("not live: {other:?}"),
    }
}

pub(super) fn shredded(state: Result<KeyLookup, VaultError>) -> ErasureId {
    match state.unwrap() {
        KeyLookup::Shredded { erasure } => erasure,
        other => panic!("not shredded: {other:?}"),
    }
}

/// Ends a vault as a crash would: without writing what is only in memory.
pub(super) fn crash(vault: Vault) {
    vault.shared().disk.poison();
    drop(vault);
}

/// The vault says that it knows nothing of a key.
pub(super) fn is_missing(state: &Result<KeyLookup, VaultError>) -> bool {
    matches!(state, Err(VaultError::KeyMissing(_)))
}

pub(super) fn spans(spans: &[(u32, u32)]) -> Dead {
    Dead::Spans(spans.iter().map(|(a, b)| (Generation(*a), Generation(*b))).collect())
}

/// The ids of all living keys, and the number of fences.
pub(super) fn living(vault: &Vault) -> (Vec<KeyId>, usize) {
    let mut keys = Vec::new();
    let mut fences = 0;
    for entry in vault.inventory() {
        match entry.unwrap() {
            InventoryEntry::Key(info) => keys.push(info.id),
            InventoryEntry::Fence(_) => fences += 1,
        }
    }
    (keys, fences)
}
