//! Purging: what nobody can read any more goes from the store as well.
//!
//! A private half that holds nothing living is removed; within any other event stubs take the place of dead tokens. All that
//! is needed to know the event again stays: id, type, revision, position, what is public, and by the stubs and the tag the
//! proof that it was this vault's. So a purged event reads as the shredded one that it was, and a retry of its append is
//! answered as before. Public halves, tombstones, and what the layer keeps for itself are never touched.

use std::collections::HashSet;

use futures::TryStreamExt;
use serde::Serialize;

use super::{
    Oubliette,
    dead::{Dead, Way, Weighed, shrinks_by},
};
use crate::{
    event::{EventId, Position, Revision, StreamName, Subject},
    runtime,
    store::{EventStore, Purge, Rewrite, StoreError},
};

/// So many events are changed together.
const BATCH: usize = 256;
/// So many events that stay are named; all are counted.
const NAMED: usize = 1_000;

/// How far a purge has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct PurgedSoFar {
    /// Events that were looked at; a split one counts once.
    pub events: u64,
    /// Private halves that were removed.
    pub removed: u64,
    /// Events, or private halves, whose dead tokens were emptied.
    pub emptied: u64,
    /// Bytes of dead ciphertext that went.
    pub bytes: u64,
    /// Events whose dead ciphertext stays.
    pub left: u64,
    /// The position of the last event that was looked at.
    #[serde(skip)]
    pub up_to: Option<Position>,
}

/// An event whose dead ciphertext stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LeftDead {
    /// Its logical stream.
    pub stream: StreamName,
    /// Its revision there.
    pub revision: Revision,
    /// Its id.
    pub id: EventId,
    /// Why, and what to do.
    pub why: String,
}

/// What a purge did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Purged {
    /// The counts.
    #[serde(flatten)]
    pub counts: PurgedSoFar,
    /// Events whose dead ciphertext stays: the first thousand of them.
    #[serde(rename = "left_events")]
    pub left: Vec<LeftDead>,
    /// Where what went may still be, each in a sentence that says what to do about it.
    pub former_contents: Vec<String>,
}

impl<S: EventStore> Oubliette<S> {
    /// Removes from the store beneath the ciphertext whose keys are destroyed, as far as that store can. `beneath` is the store
    /// that this layer is around, by the trait that lets it remove events. Nothing can be read less afterwards: what
    /// goes could not be read. Repeatable, and it can be cut off.
    ///
    /// Claims of ownership that are open in a stream are settled before anything goes of it.
    ///
    /// ```
    /// use oubliette::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let events = MemoryStore::new();
    /// let store = Oubliette::open(events.clone(), Vault::in_memory()?, Policy::sealed_by_default()).await?;
    /// let user = StreamName::new("user-456")?;
    /// let moved = NewEvent::new(EventType::new("UserMoved")?, Json::parse(r#"{"to":"Leipzig"}"#)?);
    /// store.append_to(&user, ExpectedRevision::Any, vec![moved]).await?;
    ///
    /// assert_eq!(store.purge(&events, |_| ()).await?.counts.emptied, 0);
    /// store.forget(&Subject::of(&user), "asked for it").await?;
    /// assert_eq!(store.purge(&events, |_| ()).await?.counts.emptied, 1);
    /// let events = store.events(&user, ReadOptions::default()).await?;
    /// assert!(matches!(events[0].content(), Content::Shredded(_)));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`StoreError::Refused`] without a vault; errors of the store and of the vault. What was done until then is done.
    pub async fn purge(
        &self,
        beneath: &dyn Purge,
        mut progress: impl FnMut(PurgedSoFar),
    ) -> Result<Purged, StoreError> {
        runtime::check()?;
        let keeper = self.layer.keeper_here()?;
        let mut purging = Purging {
            beneath,
            rewriting: beneath.as_rewrite(),
            counts: PurgedSoFar::default(),
            left: Vec::new(),
        };
        let mut settled: HashSet<StreamName> = HashSet::new();
        let mut purged = false;
        let mut events = self.weighed(keeper.clone());
        loop {
            let (mut batch, mut last) = (Vec::new(), None);
            let mut looked_at = 0;
            while batch.len() < BATCH && looked_at < 16 * BATCH {
                let Some(weighed) = events.try_next().await? else { break };
                (looked_at, last) = (looked_at + 1, Some(weighed.position));
                purged |= weighed.purged;
                if weighed.dead.is_none() {
                    continue;
                }
                // An open claim is judged by what its event says.
                if !settled.contains(&weighed.stream) {
                    if let Ok(dependent) = Subject::new(weighed.stream.as_str()) {
                        self.layer.settle(&*keeper, &dependent).await?;
                    }
                    settled.insert(weighed.stream.clone());
                }
                batch.push(weighed);
            }
            let Some(last) = last else { break };
            purging.purge(batch).await?;
            purging.counts.events += looked_at as u64;
            purging.counts.up_to = Some(last);
            progress(purging.counts);
        }
        // Also where a purge before this one did all there was to do: it may have been cut off before it cleared away what it left,
        // or told of something that is done since.
        let former_contents = match purging.counts.removed + purging.counts.emptied {
            0 if !purged => Vec::new(),
            _ => beneath.scrub().await?,
        };
        let Purging { counts, left, .. } = purging;
        Ok(Purged { counts, left, former_contents })
    }
}

struct Purging<'a> {
    beneath: &'a dyn Purge,
    rewriting: Option<&'a dyn Rewrite>,
    counts: PurgedSoFar,
    left: Vec<LeftDead>,
}

/// Where a change came from.
struct Origin {
    stream: StreamName,
    revision: Revision,
    id: EventId,
    bytes: u64,
}

impl Purging<'_> {
    fn leave(&mut self, from: Origin, why: &str) {
        self.counts.left += 1;
        if self.left.len() < NAMED {
            let Origin { stream, revision, id, .. } = from;
            self.left.push(LeftDead { stream, revision, id, why: why.to_owned() });
        }
    }

    async fn purge(&mut self, batch: Vec<Weighed>) -> Result<(), StoreError> {
        let (mut removed, mut emptied) = (Vec::new(), Vec::new());
        for Weighed { stream, revision, id, dead, .. } in batch {
            let Some(Dead { bytes, way, .. }) = dead else { continue };
            let from = Origin { stream, revision, id, bytes };
            match way {
                Way::Half(half, stubs) => removed.push((from, half, stubs)),
                Way::Stubs(changed) if self.rewriting.is_some() => emptied.push((from, *changed)),
                Way::Stubs(_) => self.leave(
                    from,
                    "the store can remove events, and not change them: in a split stream what is dead would go",
                ),
                Way::Stays(why) => self.leave(from, why),
            }
        }
        if !removed.is_empty() {
            let halves = removed.iter().map(|(_, half, _)| half.clone()).collect();
            let done = self.beneath.remove(halves).await?;
            for ((from, _, stubs), done) in removed.into_iter().zip(done) {
                match (done, stubs.filter(|_| self.rewriting.is_some())) {
                    (true, _) => {
                        self.counts.removed += 1;
                        self.counts.bytes += from.bytes;
                    }
                    // The half stays, since the store counts from it; what is dead in it does not.
                    (false, Some(stubs)) => {
                        let bytes = shrinks_by(&stubs) as u64;
                        emptied.push((Origin { bytes, ..from }, *stubs));
                    }
                    // There are stubs in it alone.
                    (false, None) if from.bytes == 0 => {}
                    (false, None) => self.leave(
                        from,
                        "the store keeps its private half for now: do it again when more was appended",
                    ),
                }
            }
        }
        if let (Some(rewriting), false) = (self.rewriting, emptied.is_empty()) {
            let (from, changes): (Vec<_>, Vec<_>) = emptied.into_iter().unzip();
            let done = rewriting.rewrite(changes).await?;
            for (from, done) in from.into_iter().zip(done) {
                match done {
                    true => {
                        self.counts.emptied += 1;
                        self.counts.bytes += from.bytes;
                    }
                    false => self.leave(from, "somebody changed it at this moment: do it again"),
                }
            }
        }
        Ok(())
    }
}
