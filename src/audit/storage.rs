//! What the events take, and how much of it nobody can read any more.

use std::collections::BTreeMap;

use futures::TryStreamExt;
use serde::Serialize;

use super::AuditError;
use crate::{
    layer::{Oubliette, Weight},
    store::EventStore,
};

/// What the events of one family of streams take: of those that one rule of the policy is for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct FamilyStorage {
    /// The rule's pattern, `user-{id}`; `None`: streams that no rule fits.
    pub family: Option<String>,
    /// Events; a split one counts once.
    pub events: u64,
    /// Bytes of payload and metadata.
    pub bytes: u64,
    /// Those of them that are dead: ciphertext whose keys are destroyed, and that [`Oubliette::purge`] removes.
    pub dead_bytes: u64,
    /// Events with something dead in them.
    pub dead_events: u64,
    /// Events that do not read, of which it is not known what is dead.
    pub unreadable: u64,
}

/// What the events of a store take.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct Storage {
    /// Each family that has events, in the order of their patterns.
    pub families: Vec<FamilyStorage>,
    /// Bytes of tombstones, announcements and what else the layer keeps for itself. They are never purged.
    pub own_bytes: u64,
    /// How many events these are.
    pub own_events: u64,
}

impl Storage {
    /// All families as one.
    pub fn total(&self) -> FamilyStorage {
        let mut total = FamilyStorage::default();
        for family in &self.families {
            total.events += family.events;
            total.bytes += family.bytes;
            total.dead_bytes += family.dead_bytes;
            total.dead_events += family.dead_events;
            total.unreadable += family.unreadable;
        }
        total
    }
}

impl<S: EventStore> Oubliette<S> {
    /// Counts what is stored, living and dead, by family of streams. It reads every event. `progress` is told after each how
    /// many there were.
    ///
    /// What a store needs beside payloads and metadata (names, ids, indexes, free pages) is not counted.
    ///
    /// ```
    /// use oubliette::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let store = Oubliette::open(MemoryStore::new(), Vault::in_memory()?, Policy::sealed_by_default()).await?;
    /// let storage = store.storage(|_| ()).await?;
    /// for family in &storage.families {
    ///     println!("{:?}: {} of {} bytes are dead", family.family, family.dead_bytes, family.bytes);
    /// }
    /// # assert_eq!(storage.total().bytes, 0);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`AuditError::NoVault`] without a vault, which says whose keys are destroyed; errors of the store.
    pub async fn storage(&self, mut progress: impl FnMut(u64)) -> Result<Storage, AuditError> {
        let keeper = self.layer.keeper_here().map_err(|_| AuditError::NoVault)?;
        let policy = self.policy();
        let mut families: BTreeMap<Option<String>, FamilyStorage> = BTreeMap::new();
        let (mut storage, mut seen) = (Storage::default(), 0);
        let mut events = self.weighed(keeper);
        while let Some(event) = events.try_next().await? {
            seen += 1;
            progress(seen);
            if event.kind == Weight::Own {
                storage.own_events += 1;
                storage.own_bytes += event.bytes;
                continue;
            }
            let name = policy.family(&event.stream);
            let family = families
                .entry(name.clone())
                .or_insert_with(|| FamilyStorage { family: name, ..FamilyStorage::default() });
            family.events += 1;
            family.bytes += event.bytes;
            family.unreadable += u64::from(event.kind == Weight::Unknown);
            if let Some(dead) = event.dead.filter(|dead| dead.bytes > 0) {
                family.dead_events += 1;
                family.dead_bytes += dead.bytes;
            }
        }
        storage.families = families.into_values().collect();
        Ok(storage)
    }
}
