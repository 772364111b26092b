//! Tombstones: whether each is the vault's own word, and whether all that it set are there.

use std::{
    collections::{HashMap, HashSet, hash_map::RandomState},
    hash::BuildHasher,
};

use futures::TryStreamExt;

use super::{
    Defect, VerifyProgress, VerifyReport, announcements::Announcements, state::Events, vault::Books,
};
use crate::{
    audit::{AuditError, Location},
    erasure,
    event::{ErasureId, Position, RecordedEvent, SigningKeyId, StreamName, Subject, Tombstone},
    layer::{
        Oubliette,
        tombstone::{self, Touches, Unvouched},
    },
    store::{EventStore, StoreError, Unreadable},
    vault::Vault,
    words::{agree, count},
};

/// How many tombstones of one erasure in one stream wait until one is found there that counts: as many as other
/// restorations of a backup may have set. What comes after them is not known for one of these.
const MOST_WAITING: usize = 8;

/// What to do where the erasure is announced, and it is not known yet whether that counts.
const SAY_WHICH: &str = "it does not count until somebody says so of its erasure: if this vault decided that before it was \
     put back, or another restoration of it did, `erasure::believe` with its id, and the vault sets a tombstone of its own; \
     if it is a forgery, `erasure::pass_over`. Forget nobody because of it";

/// What to do where none is beside it that counts.
const NONE_COUNTS: &str = "it does not count, and readers get nothing of it: anybody who can write to the event store can have \
     written it. The vault's own tombstone is not there: restore the stream from a copy of the event store that has it";

/// Which of them are in the store.
#[derive(Default)]
pub(super) struct Tombstones {
    /// The streams in which one of each erasure counts, eight bytes each: one may be set again.
    counted: HashMap<ErasureId, HashSet<u64>>,
    /// Those in which none counts, and where the vault sets none again.
    left_out: HashMap<ErasureId, HashSet<u64>>,
    /// Those by keys that are not known, and that agree with the vault, by their erasure and stream: until one
    /// is found there that counts.
    waiting: HashMap<(ErasureId, u64), Vec<Waiting>>,
    state: RandomState,
}

struct Waiting {
    position: Position,
    at: Location,
    signer: SigningKeyId,
}

impl Tombstones {
    /// Notes one that counts. Returns those that waited for it.
    fn count(&mut self, erasure: ErasureId, stream: &StreamName) -> Vec<Waiting> {
        let stream = self.state.hash_one(stream);
        self.counted.entry(erasure).or_default().insert(stream);
        self.waiting.remove(&(erasure, stream)).unwrap_or_default()
    }

    fn counts(&self, erasure: ErasureId, stream: &StreamName) -> bool {
        let stream = self.state.hash_one(stream);
        self.counted.get(&erasure).is_some_and(|streams| streams.contains(&stream))
    }

    fn leave_out(&mut self, erasure: ErasureId, stream: &StreamName) {
        self.left_out.entry(erasure).or_default().insert(self.state.hash_one(stream));
    }

    /// Whether there is room for it.
    fn wait(&mut self, erasure: ErasureId, event: &RecordedEvent, signer: SigningKeyId) -> bool {
        let stream = self.state.hash_one(&event.stream);
        let waiting = self.waiting.entry((erasure, stream)).or_default();
        let has_room = waiting.len() < MOST_WAITING;
        if has_room {
            let (position, at) = (event.position, Location::of(event));
            waiting.push(Waiting { position, at, signer });
        }
        has_room
    }

    /// In how many streams one of an erasure is there; and in how many others the vault sets none again.
    fn known_of(&self, erasure: ErasureId) -> (u64, u64) {
        let none = HashSet::new();
        let there = self.counted.get(&erasure).unwrap_or(&none);
        let not_again = self.left_out.get(&erasure).unwrap_or(&none).difference(there).count();
        (there.len() as u64, not_again as u64)
    }

    /// The erasures of which fewer are known than the vault set, with how many these were and are, as in
    /// [`Self::known_of`].
    fn short<'b>(
        &self,
        books: &'b Books,
    ) -> impl Iterator<Item = (&'b ErasureId, u64, (u64, u64))> {
        books.records.iter().filter(|(_, record)| record.done).filter_map(|(erasure, record)| {
            let (there, not_again) = self.known_of(*erasure);
            let is_short = there + not_again < record.streams;
            is_short.then_some((erasure, record.streams, (there, not_again)))
        })
    }

    /// Where fewer are there than were set, reads once more in which streams the vault sets none again: those of
    /// whoever was admitted again since, or lives on in part. Nothing is amiss there, and nothing can be done.
    pub(super) async fn leave_out_living<S: EventStore>(
        &mut self,
        layer: &Oubliette<S>,
        vault: &Vault,
        books: &Books,
    ) -> Result<(), AuditError> {
        let short: HashSet<ErasureId> = self.short(books).map(|(erasure, ..)| *erasure).collect();
        if short.is_empty() {
            return Ok(());
        }
        let mut seen = HashSet::new();
        let (mut specimens, mut passed_over) = (layer.specimens(), None);
        loop {
            let event = match specimens.try_next().await {
                Ok(Some(specimen)) => specimen.event,
                Ok(None) => return Ok(()),
                Err(StoreError::Damaged { position, .. }) if passed_over < Some(position) => {
                    passed_over = Some(position);
                    specimens = layer.specimens_after(passed_over);
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            if !seen.insert(self.state.hash_one(&event.stream)) {
                continue;
            }
            let fence = vault.subject_state(&Subject::of(&event.stream))?.fence;
            let Some(fence) = fence.filter(|fence| !fence.closed) else { continue };
            for (_, _, erasure) in fence.dead {
                if short.contains(&erasure) && !self.counts(erasure, &event.stream) {
                    self.leave_out(erasure, &event.stream);
                }
            }
        }
    }

    /// What the vault set and is not there; and what waited for it in vain.
    pub(super) fn missing(
        &self,
        books: &Books,
        report: &mut VerifyReport,
        tell: &mut (impl FnMut(VerifyProgress) + Send),
    ) {
        let mut waiting: Vec<_> = self.waiting.values().flatten().collect();
        waiting.sort_unstable_by_key(|waiting| waiting.position);
        for Waiting { at, signer, .. } in waiting {
            let what = format!(
                "{} names key {signer}, which this vault never had; it agrees with the vault, and no tombstone \
                 that counts is here",
                named(at)
            );
            let found = Defect::UnknownSigner.at(at.clone(), what).by(*signer);
            report.found(found.remedied(NONE_COUNTS), tell);
        }
        for (erasure, set, (there, not_again)) in self.short(books) {
            let mut what = format!(
                "{} {} set, {there} {} there",
                count(set, "tombstone"),
                agree(set, "was", "were"),
                agree(there, "is", "are"),
            );
            if not_again > 0 {
                let are = agree(not_again, "is", "are");
                what.push_str(&format!(", and {not_again} {are} not to be set again"));
            }
            report.found(Defect::TombstonesMissing.at(Location::Erasure(*erasure), what), tell);
        }
    }
}

/// An event, as the options on the command line take it.
fn named(at: &Location) -> String {
    match at {
        Location::Event { id, .. } => format!("event {id}"),
        other => other.to_string(),
    }
}

impl<S: EventStore, T: FnMut(VerifyProgress) + Send> Events<'_, S, T> {
    pub(super) async fn tombstone(
        &mut self,
        event: &RecordedEvent,
        said: &mut Announcements,
    ) -> Result<(), AuditError> {
        let tombstone = match tombstone::judge(self.vault, event).await? {
            Ok(tombstone) => tombstone,
            Err(Unvouched::Odd(error)) => {
                self.found(Defect::ForgedTombstone, event, format!("event {}: {error}", event.id));
                return Ok(());
            }
            Err(Unvouched::Misplaced) => {
                let what = "a tombstone that names another stream than the one it is in";
                self.found(Defect::Misplaced, event, what);
                return Ok(());
            }
            Err(Unvouched::Forged(signer)) => {
                let what = format!(
                    "event {} names key {signer} of this vault's, which did not sign it",
                    event.id
                );
                self.tell(Defect::ForgedTombstone.at(Location::of(event), what).by(signer));
                return Ok(());
            }
            Err(Unvouched::UnknownKey(tombstone)) => {
                return self.strangers(event, &tombstone, said);
            }
            Err(Unvouched::Compromised(tombstone)) => {
                return self.compromised(event, &tombstone, said);
            }
            Err(Unvouched::Newer(state)) => {
                self.found(Defect::NewerState, event, Unreadable::State(state).to_string());
                return Ok(());
            }
        };
        self.report.events.tombstones += 1;
        let erasure = self.vault.erasure(tombstone.reference, &event.stream);
        for Waiting { at, signer, .. } in said.tombstones.count(erasure, &event.stream) {
            self.beside_one_that_counts(at, signer);
        }
        if !self.books.records.contains_key(&erasure) && !self.books.fenced.contains(&erasure) {
            let what = format!("the vault signed it, and knows no erasure {erasure}");
            self.found(Defect::ErasureUnknown, event, what);
        }
        for id in tombstone::living(self.vault, &tombstone).await {
            self.found(Defect::TombstoneOfLivingKey, event, format!("key {id} lives"));
        }
        Ok(())
    }

    /// One by a key that this vault does not know. It says nothing here; whose it is decides how loud that is told.
    fn strangers(
        &mut self,
        event: &RecordedEvent,
        tombstone: &Tombstone,
        said: &mut Announcements,
    ) -> Result<(), AuditError> {
        let (vault, stream, signer) = (self.vault, &event.stream, tombstone.key);
        let (erasure, at) = (vault.erasure(tombstone.reference, stream), Location::of(event));
        if tombstone::agrees(vault, stream, tombstone)? {
            let counts = said.tombstones.counts(erasure, stream);
            // Behind the one that counts, it would be set over somebody who was admitted again since.
            let late = counts && tombstone::lives_on(vault, stream, erasure)?;
            if !late && erasure::believes_key(vault, signer)? {
                self.is_left_out(event, erasure, said)?;
                let what = format!(
                    "it names key {signer}, of which an announcement was believed; it agrees with the vault"
                );
                self.tell(Defect::UncountedTombstone.at(at, what).by(signer));
                return Ok(());
            }
            if !late && counts {
                self.beside_one_that_counts(at, signer);
                return Ok(());
            }
            if !late && said.tombstones.wait(erasure, event, signer) {
                return Ok(());
            }
        }
        let names = format!("event {} names key {signer}, which this vault never had", event.id);
        let (kind, why) = match tombstone::touches(vault, stream, tombstone)? {
            Touches::Known if self.others.write_to(stream) => (
                Defect::ForeignTombstone,
                "; it is in a stream to which another vault writes as well".to_owned(),
            ),
            Touches::Nothing => {
                (Defect::ForeignTombstone, ", and nothing of this vault".to_owned())
            }
            Touches::Ours | Touches::Known => (Defect::UnknownSigner, said.in_doubt(erasure)),
        };
        let finding = kind.at(at, names + &why).by(signer);
        self.tell(match kind == Defect::UnknownSigner && said.doubts.contains_key(&erasure) {
            true => finding.remedied(SAY_WHICH),
            false => finding,
        });
        Ok(())
    }

    fn beside_one_that_counts(&mut self, at: Location, signer: SigningKeyId) {
        let what = format!(
            "it names key {signer}, which this vault never had; it agrees with the vault, and a tombstone that \
             counts is here as well"
        );
        self.tell(Defect::UncountedTombstone.at(at, what).by(signer));
    }

    fn compromised(
        &mut self,
        event: &RecordedEvent,
        tombstone: &Tombstone,
        said: &mut Announcements,
    ) -> Result<(), AuditError> {
        let (stream, signer, at) = (&event.stream, tombstone.key, Location::of(event));
        let erasure = self.vault.erasure(tombstone.reference, stream);
        if tombstone::agrees(self.vault, stream, tombstone)? {
            self.is_left_out(event, erasure, said)?;
            let what =
                format!("key {signer} signed it, which is compromised; it agrees with the vault");
            self.tell(Defect::UncountedTombstone.at(at, what).by(signer));
            return Ok(());
        }
        let what = format!(
            "event {}: only key {signer}, which is compromised, says that somebody is forgotten here{}",
            event.id,
            said.in_doubt(erasure)
        );
        let finding = Defect::CompromisedWord.at(at, what).by(signer);
        self.tell(match said.doubts.contains_key(&erasure) {
            true => finding.remedied(SAY_WHICH),
            false => finding,
        });
        Ok(())
    }

    /// Notes that one does not count, where the vault sets none again.
    fn is_left_out(
        &self,
        event: &RecordedEvent,
        erasure: ErasureId,
        said: &mut Announcements,
    ) -> Result<(), AuditError> {
        if tombstone::lives_on(self.vault, &event.stream, erasure)? {
            said.tombstones.leave_out(erasure, &event.stream);
        }
        Ok(())
    }
}
