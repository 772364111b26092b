//! What is at hand where an event is judged, and how it is told what was found of it.

use std::{
    collections::{HashSet, hash_map::RandomState},
    hash::BuildHasher,
};

use super::{
    Defect, VerifyProgress, VerifyReport,
    used::{Edges, Lot},
    vault::Books,
};
use crate::{
    audit::{Finding, Location},
    event::{RecordedEvent, StreamName, Subject},
    layer::{Oubliette, document::Notes},
    policy::EventFacts,
    store::{EventStore, Unreadable},
    vault::Vault,
};

/// What is at hand where an event is judged.
pub(super) struct Events<'a, S, T> {
    pub(super) layer: &'a Oubliette<S>,
    pub(super) vault: &'a Vault,
    pub(super) books: &'a Books,
    pub(super) report: &'a mut VerifyReport,
    pub(super) tell: &'a mut T,
    pub(super) lot: &'a mut Lot,
    pub(super) edges: &'a mut Edges,
    pub(super) others: &'a mut Others,
}

impl<S: EventStore, T: FnMut(VerifyProgress) + Send> Events<'_, S, T> {
    pub(super) fn in_clear(&mut self, event: &RecordedEvent, why: &str) {
        self.report.events.unsealed += 1;
        self.is_forgotten(event, why);
    }

    /// Whether something in clear is about somebody who is forgotten.
    pub(super) fn is_forgotten(&mut self, event: &RecordedEvent, why: &str) {
        let own = || vec![Subject::of(&event.stream)];
        let facts =
            EventFacts { stream: &event.stream, event_type: &event.event_type, subject: None };
        // The policy refuses notes, which would hide what is beside them.
        let metadata = Notes::strip(event.metadata.as_ref());
        let cut = |data| self.layer.policy().cut(&facts, data, metadata.as_ref()).ok();
        let cut = event.data.as_ref().and_then(cut);
        let about =
            cut.map_or_else(own, |cut| cut.parts.into_iter().map(|part| part.subject).collect());
        let forgotten = |subject: &&Subject| matches!(self.vault.is_closed(subject), Ok(true));
        if let Some(subject) = about.iter().find(forgotten) {
            let what = format!("{subject} is forgotten, and {why}");
            self.found(Defect::ForgottenInClear, event, what);
        }
    }

    pub(super) fn found(&mut self, kind: Defect, event: &RecordedEvent, what: impl Into<String>) {
        self.tell(kind.at(Location::of(event), what));
    }

    pub(super) fn tell(&mut self, finding: Finding<Defect>) {
        self.report.found(finding, self.tell);
    }

    pub(super) fn unreadable(&mut self, event: &RecordedEvent, unreadable: &Unreadable) {
        let kind = match unreadable {
            newer if newer.is_newer() => {
                self.report.events.newer += 1;
                Defect::Newer
            }
            Unreadable::Tampered => Defect::Tampered,
            Unreadable::Misplaced => Defect::Misplaced,
            _ => Defect::Unreadable,
        };
        self.found(kind, event, unreadable.to_string());
    }
}

/// The streams in which another vault's events are: eight bytes each.
#[derive(Default)]
pub(super) struct Others {
    streams: HashSet<u64>,
    state: RandomState,
}

impl Others {
    pub(super) fn add(&mut self, stream: &StreamName) {
        self.streams.insert(self.state.hash_one(stream));
    }

    pub(super) fn write_to(&self, stream: &StreamName) -> bool {
        self.streams.contains(&self.state.hash_one(stream))
    }
}
