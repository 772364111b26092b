//! What the vault said in the store, tombstones and announcements: whether each is its own word, and whether
//! all of it is there.

use std::{
    collections::{HashMap, HashSet, hash_map::RandomState},
    hash::BuildHasher,
};

use super::{Ill, VerifyNews, VerifyReport, events::Events, vault::Books};
use crate::{
    audit::{AuditError, Where},
    erasure::{self, ErasureRecord, Uncounted},
    event::{Announcement, AnnouncementKind, ErasureId, EventId, RecordedEvent, Tombstone},
    layer::tombstone::{self, Touches, Unvouched},
    store::{EventStore, Unreadable},
    vault::{Unlearned, Vault},
};

/// What of it is in the store.
#[derive(Default)]
pub(super) struct Said {
    /// The streams with a tombstone of each erasure, eight bytes each: one may be set again.
    tombstones: HashMap<ErasureId, HashSet<u64>>,
    state: RandomState,
    /// The erasures that are announced.
    erasures: HashSet<ErasureId>,
    /// The events that state something about the signing keys.
    statements: HashSet<EventId>,
}

impl Said {
    /// What the vault knows to have said, and is not there as it was: whoever changes an announcement makes
    /// it another vault's, or nobody's.
    pub(super) fn missing(
        &self,
        vault: &Vault,
        books: &Books,
        damaged: bool,
        report: &mut VerifyReport,
        tell: &mut (impl FnMut(VerifyNews) + Send),
    ) {
        // An event that is damaged may be an announcement. Beside a codec, the store is empty and bears witness to
        // nothing.
        if !damaged && report.events.events > 0 {
            self.unannounced(vault, books, report, tell);
        }
        for (erasure, record) in &books.records {
            let set = self.tombstones.get(erasure).map_or(0, HashSet::len) as u64;
            if record.done && set < record.streams {
                let what = format!("{} tombstones were set, {set} are there", record.streams);
                report.found(Ill::TombstonesMissing.at(Where::Erasure(*erasure), what), tell);
            }
        }
    }

    fn unannounced(
        &self,
        vault: &Vault,
        books: &Books,
        report: &mut VerifyReport,
        tell: &mut (impl FnMut(VerifyNews) + Send),
    ) {
        for (erasure, record) in &books.records {
            let there = self.erasures.contains(erasure) || record.dealt_with.is_some();
            if record.announced && !there {
                let what = "the vault knows that it was announced, and no event announces it";
                report.found(Ill::AnnouncementMissing.at(Where::Erasure(*erasure), what), tell);
            }
        }
        // Where the history cannot be read that is told already.
        let (Ok(statements), Ok(due)) = (vault.key_statements(), vault.unsaid()) else {
            return;
        };
        if due.retell {
            let what = "not all tombstones are set again since the signing key was changed, or a word believed";
            report.found(Ill::TombstonesDue.at(Where::Vault, what), tell);
        }
        let due = due.statements;
        let said = statements.iter().filter(|said| due.iter().all(|due| due.id() != said.id()));
        for said in said.filter(|said| !self.statements.contains(&said.id())) {
            let what =
                format!("event {}, a statement about the signing keys, is not there", said.id());
            report.found(Ill::AnnouncementMissing.at(Where::Vault, what), tell);
        }
    }
}

impl<S: EventStore, T: FnMut(VerifyNews) + Send> Events<'_, S, T> {
    pub(super) fn tombstone(
        &mut self,
        event: &RecordedEvent,
        said: &mut Said,
    ) -> Result<(), AuditError> {
        let tombstone = match tombstone::judge(self.vault, event)? {
            Ok(tombstone) => tombstone,
            Err(Unvouched::Odd(error)) => {
                self.found(Ill::ForgedTombstone, event, error.to_string());
                return Ok(());
            }
            Err(Unvouched::Misplaced) => {
                let what = "a tombstone that notes another stream than it lies in";
                self.found(Ill::Misplaced, event, what);
                return Ok(());
            }
            Err(Unvouched::Forged) => {
                let what = "a tombstone here was not written by this vault";
                self.found(Ill::ForgedTombstone, event, what);
                return Ok(());
            }
            Err(Unvouched::UnknownKey(tombstone)) => return self.strangers(event, &tombstone),
            Err(Unvouched::Compromised(tombstone)) => {
                self.compromised(event, &tombstone)?;
                return Ok(());
            }
            Err(Unvouched::Newer(state)) => {
                self.found(Ill::NewerState, event, Unreadable::State(state).to_string());
                return Ok(());
            }
        };
        self.report.events.tombstones += 1;
        let erasure = self.vault.erasure(tombstone.reference, &event.stream);
        said.tombstones.entry(erasure).or_default().insert(said.state.hash_one(&event.stream));
        if !self.books.records.contains_key(&erasure) && !self.books.fenced.contains(&erasure) {
            let what = format!("the vault signed it, and knows no erasure {erasure}");
            self.found(Ill::ErasureUnknown, event, what);
        }
        for id in tombstone::living(self.vault, &tombstone) {
            self.found(Ill::TombstoneOfLivingKey, event, format!("key {id} lives"));
        }
        Ok(())
    }

    /// One by a key that this vault does not know. It says nothing here; whose it is decides how loud that is told.
    fn strangers(
        &mut self,
        event: &RecordedEvent,
        tombstone: &Tombstone,
    ) -> Result<(), AuditError> {
        if erasure::believes_key(self.vault, tombstone.key)?
            && tombstone::agrees(self.vault, &event.stream, tombstone)?
        {
            let what =
                "it names a signing key whose announcement was believed, and agrees with the vault";
            self.found(Ill::UncountedTombstone, event, what);
            return Ok(());
        }
        let (kind, what) = match tombstone::touches(self.vault, &event.stream, tombstone)? {
            Touches::Known if self.others.write_to(&event.stream) => (
                Ill::ForeignTombstone,
                "it is signed by a key that this vault never had, in a stream to which another vault \
                 writes as well",
            ),
            Touches::Ours | Touches::Known => {
                (Ill::UnknownSigner, "it names a signing key that this vault never had")
            }
            Touches::Nothing => (
                Ill::ForeignTombstone,
                "it is signed by a key that this vault never had, and names nothing of it",
            ),
        };
        self.found(kind, event, what);
        Ok(())
    }

    fn compromised(
        &mut self,
        event: &RecordedEvent,
        tombstone: &Tombstone,
    ) -> Result<(), AuditError> {
        let (kind, what) = match tombstone::agrees(self.vault, &event.stream, tombstone)? {
            true => (
                Ill::UncountedTombstone,
                "a compromised key signed it, and it agrees with the vault",
            ),
            false => (
                Ill::CompromisedWord,
                "only a compromised signing key says that somebody is forgotten here",
            ),
        };
        self.found(kind, event, what);
        Ok(())
    }

    pub(super) fn announcement(
        &mut self,
        event: &RecordedEvent,
        told: &mut Said,
    ) -> Result<(), AuditError> {
        let Some(said) = Announcement::of(event) else {
            self.found(Ill::ForgedAnnouncement, event, "it does not have the form of one");
            return Ok(());
        };
        if said.vault() != self.vault.id().0 {
            return Ok(());
        }
        if said.kind().is_some_and(AnnouncementKind::is_of_keys) {
            return self.statement(event, &said, told);
        }
        match erasure::open(&said, self.vault)? {
            Ok(verdict) => {
                told.erasures.insert(verdict.erasure);
            }
            Err(Uncounted::TooNew) => {
                told.erasures.extend(said.erasure());
                let record = said.erasure().and_then(|erasure| self.books.records.get(&erasure));
                if !record.is_some_and(ErasureRecord::is_final) {
                    let what = "this vault announced an erasure here, and cannot open it any more";
                    self.found(Ill::UnknownEra, event, what);
                }
            }
            // What the vault knows is so, whoever says it.
            Err(Uncounted::Compromised(verdict) | Uncounted::Stranger(Ok(verdict)))
                if self.books.records.contains_key(&verdict.erasure)
                    && self.vault.covers(&verdict)? =>
            {
                told.erasures.insert(verdict.erasure);
            }
            Err(Uncounted::Compromised(_)) => {
                let what = "only a compromised signing key announces this erasure";
                self.found(Ill::CompromisedWord, event, what);
            }
            Err(Uncounted::Beyond(beyond)) => {
                self.found(Ill::NotCarriedOut, event, format!("the vault made {beyond}"));
            }
            Err(Uncounted::Unsigned | Uncounted::Stranger(..)) => {
                let what = "it names this vault, and no key of this vault's signed it";
                self.found(Ill::ForgedAnnouncement, event, what);
            }
        }
        Ok(())
    }

    /// A statement about the vault's signing keys.
    fn statement(
        &mut self,
        event: &RecordedEvent,
        said: &Announcement,
        told: &mut Said,
    ) -> Result<(), AuditError> {
        let Err(why) = self.vault.signing_history()?.learn(said) else {
            told.statements.insert(event.id);
            return Ok(());
        };
        let kind = match why {
            Unlearned::Compromised { .. } => Ill::CompromisedWord,
            Unlearned::Gap { .. } if erasure::opens(said, self.vault) => Ill::SigningKeyGap,
            Unlearned::UnknownSigner { .. } if erasure::opens(said, self.vault) => {
                Ill::RefusedStatement
            }
            Unlearned::Gap { .. } | Unlearned::UnknownSigner { .. } | Unlearned::Forged => {
                Ill::ForgedAnnouncement
            }
            _ => Ill::RefusedStatement,
        };
        self.found(kind, event, why.to_string());
        Ok(())
    }
}
