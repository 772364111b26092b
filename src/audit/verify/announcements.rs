//! What the vault announced: whether each announcement is its own word, and whether all of them are there.

use std::collections::{HashMap, HashSet};

use super::{
    Defect, VerifyProgress, VerifyReport, state::Events, tombstones::Tombstones, vault::Books,
};
use crate::{
    audit::{AuditError, Location},
    erasure::{self, ErasureRecord, Uncounted},
    event::{Announcement, AnnouncementKind, ErasureId, EventId, RecordedEvent, SigningKeyId},
    store::EventStore,
    vault::{Unlearned, Vault},
};

/// What to do about an erasure that only a compromised key announces.
const IF_OURS: &str = "it does not count: whoever stole the key can have written it. If you know that your own vault did \
     (it was put back since), say so: `erasure::believe` with the id of the event";

/// What to do about one that the vault itself made, and cannot open any more.
const FORGET_AGAIN: &str = "this vault was restored from a backup that is older than the announcement: restore a newer one; or \
     forget again by name whom it took, and say so: `erasure::pass_over` with the id of the erasure";

/// What to do about what another vault of the same backup may have announced, and this version does not know.
const IF_NEWER: &str = "nothing personal is served until then: use the newer version of this program that knows it; or, if it is \
     a forgery, say so: `erasure::pass_over` with the id of the event";

/// What of it is in the store.
#[derive(Default)]
pub(super) struct Announcements {
    pub(super) tombstones: Tombstones,
    /// The erasures that are announced.
    erasures: HashSet<ErasureId>,
    /// Those of which only the operator can say whether they are, each with an event that announces it.
    pub(super) doubts: HashMap<ErasureId, EventId>,
    /// The events that state something about the signing keys.
    statements: HashSet<EventId>,
}

impl Announcements {
    /// What the vault knows to have said, and is not there as it was: a changed announcement is another
    /// vault's, or no vault's.
    pub(super) fn missing(
        self,
        vault: &Vault,
        books: &Books,
        damaged: bool,
        report: &mut VerifyReport,
        tell: &mut (impl FnMut(VerifyProgress) + Send),
    ) {
        // An event that is damaged may be an announcement. Beside a codec, the store is empty and is a witness to
        // nothing.
        if !damaged && report.events.events > 0 {
            self.unannounced(vault, books, report, tell);
        }
        self.tombstones.missing(books, report, tell);
    }

    /// Where an erasure is announced, and it is not known yet whether that counts: the end of a sentence about it.
    pub(super) fn in_doubt(&self, erasure: ErasureId) -> String {
        let event = self.doubts.get(&erasure);
        let told = |event| format!("; event {event} announces erasure {erasure}, and is in doubt");
        event.map(told).unwrap_or_default()
    }

    fn unannounced(
        &self,
        vault: &Vault,
        books: &Books,
        report: &mut VerifyReport,
        tell: &mut (impl FnMut(VerifyProgress) + Send),
    ) {
        for (erasure, record) in &books.records {
            let there = self.erasures.contains(erasure) || record.dealt_with.is_some();
            if record.announced && !there {
                let what = "the vault knows that it was announced, and no event announces it";
                report
                    .found(Defect::AnnouncementMissing.at(Location::Erasure(*erasure), what), tell);
            }
        }
        // Where the history cannot be read that is told already.
        let (Ok(statements), Ok(due)) = (vault.key_statements(), vault.unsaid()) else {
            return;
        };
        if due.retell {
            let what = "not all tombstones are set again since the signing key was changed, or a word believed";
            report.found(Defect::TombstonesDue.at(Location::Vault, what), tell);
        }
        let due = due.statements;
        let said = statements.iter().filter(|said| due.iter().all(|due| due.id() != said.id()));
        for said in said.filter(|said| !self.statements.contains(&said.id())) {
            let what =
                format!("event {}, a statement about the signing keys, is not there", said.id());
            report.found(Defect::AnnouncementMissing.at(Location::Vault, what), tell);
        }
    }
}

impl<S: EventStore, T: FnMut(VerifyProgress) + Send> Events<'_, S, T> {
    pub(super) fn announcement(
        &mut self,
        event: &RecordedEvent,
        told: &mut Announcements,
    ) -> Result<(), AuditError> {
        let Some(said) = Announcement::of(event) else {
            self.found(Defect::ForgedAnnouncement, event, "it does not have the form of one");
            return Ok(());
        };
        if said.vault() != self.vault.id().0 {
            return Ok(());
        }
        if said.kind().is_some_and(AnnouncementKind::is_of_keys) {
            return self.statement(event, &said, told);
        }
        let signer = said.signature().map(|(_, signer, _)| signer);
        let by = |signer: Option<SigningKeyId>| match signer {
            Some(signer) => format!("key {signer}"),
            None => "no key".to_owned(),
        };
        let (id, by) = (event.id, by(signer));
        match erasure::open(&said, self.vault)? {
            Ok(decision) => {
                told.erasures.insert(decision.erasure);
            }
            Err(Uncounted::TooNew) => {
                told.erasures.extend(said.erasure());
                let record = said.erasure().and_then(|erasure| self.books.records.get(&erasure));
                if !record.is_some_and(ErasureRecord::is_final) {
                    let erasure = said.erasure().map(|erasure| format!(" {erasure}"));
                    let what = format!(
                        "event {id}: this vault announced erasure{}, signed by {by}, and cannot open it any more",
                        erasure.unwrap_or_default()
                    );
                    let finding = Defect::UnknownEra.at(Location::of(event), what).by(signer);
                    self.tell(finding.remedied(FORGET_AGAIN));
                }
            }
            // What the vault knows is true, no matter who says it.
            Err(Uncounted::Compromised(decision) | Uncounted::Stranger(Ok(decision)))
                if self.books.records.contains_key(&decision.erasure)
                    && self.vault.covers(&decision)? =>
            {
                told.erasures.insert(decision.erasure);
            }
            Err(Uncounted::Compromised(_) | Uncounted::Stranger(_))
                if erasure::is_passed_over(self.vault, &said)? =>
            {
                let what =
                    format!("event {id}: {by} signed it, and somebody said that it is passed over");
                self.tell(Defect::ForgedAnnouncement.at(Location::of(event), what).by(signer));
            }
            Err(Uncounted::Compromised(decision)) => {
                told.doubts.insert(decision.erasure, event.id);
                let what = format!(
                    "event {id}: only {by}, which is compromised, announces erasure {}",
                    decision.erasure
                );
                let finding = Defect::CompromisedWord.at(Location::of(event), what).by(signer);
                self.tell(finding.remedied(IF_OURS));
            }
            Err(Uncounted::Beyond(beyond)) => {
                self.found(
                    Defect::NotCarriedOut,
                    event,
                    format!("event {id}: the vault made {beyond}"),
                );
            }
            Err(Uncounted::Stranger(content)) => {
                let signed = format!("event {id}: {by}, which this vault never had, announces");
                let finding =
                    |what| Defect::AnnouncementInDoubt.at(Location::of(event), what).by(signer);
                let finding = match content {
                    Ok(decision) => {
                        told.doubts.insert(decision.erasure, id);
                        finding(format!(
                            "{signed} erasure {}, with this vault's secrets",
                            decision.erasure
                        ))
                    }
                    Err(beyond) => {
                        finding(format!("{signed}, with this vault's secrets, {beyond}"))
                            .remedied(IF_NEWER)
                    }
                };
                self.tell(finding);
            }
            Err(Uncounted::Unsigned) => {
                let what = format!(
                    "event {id}: it names this vault, and {by} as its signer, and is not its word"
                );
                self.tell(Defect::ForgedAnnouncement.at(Location::of(event), what).by(signer));
            }
        }
        Ok(())
    }

    /// A statement about the vault's signing keys.
    fn statement(
        &mut self,
        event: &RecordedEvent,
        said: &Announcement,
        told: &mut Announcements,
    ) -> Result<(), AuditError> {
        let Err(why) = self.vault.signing_history()?.learn(said) else {
            told.statements.insert(event.id);
            return Ok(());
        };
        let kind = match why {
            Unlearned::Compromised { .. } => Defect::CompromisedWord,
            Unlearned::Gap { .. } if erasure::opens(said, self.vault) => Defect::SigningKeyGap,
            Unlearned::UnknownSigner { .. } if erasure::opens(said, self.vault) => {
                Defect::RefusedStatement
            }
            Unlearned::Gap { .. } | Unlearned::UnknownSigner { .. } | Unlearned::Forged => {
                Defect::ForgedAnnouncement
            }
            _ => Defect::RefusedStatement,
        };
        let signer = said.signature().map(|(_, signer, _)| signer);
        let what = format!("event {}: {why}", event.id);
        self.tell(kind.at(Location::of(event), what).by(signer));
        Ok(())
    }
}
