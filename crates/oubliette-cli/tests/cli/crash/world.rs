//! What was acknowledged, and whether all of it is found after a crash.

use std::collections::{BTreeMap, BTreeSet};

use oubliette::{
    event::{ErasureId, EventId, RecordedEvent, Tombstone},
    layer::Oubliette,
    vault::internals::Plumbing as _,
};
use oubliette_folder::AnyStore;

use super::child::{self, Guest, Said};
use crate::common::{subject, text};

/// All that was acknowledged, over all rounds.
#[derive(Default)]
pub(crate) struct Acknowledged {
    pub(crate) appended: BTreeMap<EventId, (String, String)>,
    pub(crate) begun: BTreeSet<String>,
    pub(crate) forgotten: BTreeSet<String>,
    /// Of guests: the events of each stay, and the last stay whose end was begun, and is done.
    pub(crate) stays: BTreeMap<(String, u32), EventId>,
    pub(crate) leaving: BTreeMap<String, u32>,
    pub(crate) left: BTreeMap<String, u32>,
}

impl Acknowledged {
    pub(crate) fn hear(&mut self, said: Said) {
        match said {
            Said::Appended { id, stream, secret } => {
                self.appended.insert(id, (stream, secret));
            }
            Said::Forgetting(who) => {
                self.begun.insert(who);
            }
            Said::Forgotten(who) => {
                self.forgotten.insert(who);
            }
            Said::Guest { who, stay, what: Guest::Came(id) } => {
                self.stays.insert((who, stay), id);
            }
            Said::Guest { who, stay, what: Guest::Leaving } => {
                self.leaving.insert(who, stay);
            }
            Said::Guest { who, stay, what: Guest::Left } => {
                self.left.insert(who, stay);
            }
        }
    }
}

/// What is found after a crash.
pub(crate) struct World<'a> {
    pub(crate) events: BTreeMap<EventId, &'a RecordedEvent>,
    /// In each stream its tombstones, and the erasures that they stand for.
    pub(crate) tombstones: BTreeMap<&'a str, Vec<(ErasureId, Tombstone)>>,
    /// The people whom someone asked to forget, and who are.
    pub(crate) forgotten: BTreeSet<String>,
}

impl<'a> World<'a> {
    pub(crate) fn of(
        events: &'a [RecordedEvent],
        acknowledged: &Acknowledged,
        bank: &Oubliette<AnyStore>,
    ) -> Self {
        let mut world = Self {
            events: BTreeMap::new(),
            tombstones: BTreeMap::new(),
            forgotten: BTreeSet::new(),
        };
        for event in events {
            if event.is_tombstone() {
                let tombstone = *event.tombstone.clone().expect("the vault vouches for it");
                let erasure = bank.vault().unwrap().erasure(tombstone.reference, &event.stream);
                let told = world.tombstones.entry(event.stream.as_str()).or_default();
                told.push((erasure, tombstone));
            } else {
                assert!(world.events.insert(event.id, event).is_none(), "an event came twice");
            }
        }
        let is_forgotten = |who: &&String| {
            let fence = bank.vault().unwrap().subject_state(&subject(who)).unwrap().fence;
            fence.is_some_and(|fence| fence.closed)
        };
        world.forgotten = acknowledged.begun.iter().filter(is_forgotten).cloned().collect();
        let records = bank.erasures().unwrap();
        for (erasure, _) in world.tombstones.values().flatten() {
            assert!(
                records.iter().any(|record| record.erasure == *erasure),
                "a tombstone of an erasure that the vault does not know"
            );
        }
        world
    }

    /// Every event that was acknowledged is there, and opens unless its stream says forgotten.
    pub(crate) fn durable_before_use(&self, acknowledged: &Acknowledged) {
        for (id, (stream, secret)) in &acknowledged.appended {
            let event = self.events.get(id).unwrap_or_else(|| {
                panic!("an acknowledged event of {stream} is lost");
            });
            assert_eq!(event.stream.as_str(), stream);
            if event.shredded.is_empty() {
                assert!(text(event).contains(secret), "{stream} reads otherwise");
            }
        }
    }

    /// Whatever cannot be read was forgotten: its stream has that very erasure's tombstone.
    pub(crate) fn nothing_else_lost(&self) {
        for event in self.events.values() {
            assert!(event.withheld.is_empty());
            for shredded in &event.shredded {
                let told = self.tombstones.get(event.stream.as_str()).into_iter().flatten();
                assert!(
                    told.into_iter().any(|(_, told)| told.reference == shredded.reference),
                    "{} has lost an event and does not say why",
                    event.stream
                );
            }
        }
    }

    /// An erasure is done or was never begun: nothing of it is half.
    pub(crate) fn once_decided_done(
        &self,
        acknowledged: &Acknowledged,
        bank: &Oubliette<AnyStore>,
    ) {
        let records = bank.erasures().unwrap();
        for record in &records {
            assert!(record.done, "opening leaves no erasure open");
            let set = |all: &&Vec<(ErasureId, Tombstone)>| {
                all.iter().filter(|(erasure, _)| *erasure == record.erasure).count()
            };
            let counts: Vec<usize> =
                self.tombstones.values().map(|all| set(&all)).filter(|&n| n > 0).collect();
            assert!(counts.iter().all(|&n| n == 1), "a tombstone was set twice: {counts:?}");
            assert_eq!(counts.len() as u64, record.streams, "as many as were planned");
        }
        assert!(acknowledged.forgotten.is_subset(&self.forgotten), "an erasure was forgotten");
        for who in &self.forgotten {
            if self.events.values().any(|event| event.stream.as_str() == who) {
                let told = self.tombstones.get(who.as_str()).into_iter().flatten();
                let told = told.filter(|(_, told)| told.subject == Some(subject(who)));
                assert_eq!(told.count(), 1, "the stream of {who} says so once");
            }
            assert!(
                bank.vault().unwrap().keys_of(&subject(who)).unwrap().is_empty(),
                "{who} is forgotten and has keys"
            );
        }
    }

    /// Who is admitted again does not get back what was forgotten, and keeps what came since.
    pub(crate) fn each_stay_ends_for_itself(&self, acknowledged: &Acknowledged) {
        for ((who, stay), id) in &acknowledged.stays {
            let event = self.events.get(id).unwrap_or_else(|| panic!("a stay of {who} is lost"));
            let ended = |by: &BTreeMap<String, u32>| by.get(who).is_some_and(|last| stay <= last);
            if ended(&acknowledged.left) {
                assert!(!event.shredded.is_empty(), "stay {stay} of {who} came back");
            } else if !ended(&acknowledged.leaving) {
                assert!(event.shredded.is_empty(), "stay {stay} of {who} is lost");
            }
        }
    }

    /// Each sealed part follows its own person: readable exactly if they are not forgotten. An
    /// account's events follow whoever owned it when they were written, as the stored events say.
    pub(crate) fn no_wrong_person(&self) {
        let mut in_order: Vec<&RecordedEvent> = self.events.values().copied().collect();
        in_order.sort_by_key(|event| event.position);
        let mut owners: BTreeMap<&str, String> = BTreeMap::new();
        for event in in_order {
            let stream = event.stream.as_str();
            let data = text(event);
            let field = |name: &str| {
                let rest = data.split_once(&format!("\"{name}\":\""))?.1;
                Some(rest.split_once('"')?.0.to_owned())
            };
            let who = match stream.split_once('-').unwrap().0 {
                "user" => stream.to_owned(),
                "bankaccount" => {
                    if let Some(owner) = field("owner").or_else(|| field("newOwner")) {
                        owners.insert(stream, owner);
                    }
                    owners[stream].clone()
                }
                _ => match child::author_of(event.metadata.as_ref()) {
                    Some(author) => author,
                    None => continue,
                },
            };
            assert_eq!(
                self.forgotten.contains(&who),
                !event.shredded.is_empty(),
                "an event of {stream} that is {who}'s: {event:?}"
            );
        }
    }
}
