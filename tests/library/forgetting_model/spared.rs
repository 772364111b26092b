//! Steps that no caller of the layer takes yet, or that change nothing: erasures that spare keys, new
//! keys, erasures that are told once more.

use std::collections::BTreeSet;

use oubliette::{
    erasure::{export, replay},
    event::{ErasureId, KeyId, RecordedEvent, Subject},
    layer::RotateError,
    vault::{
        VaultError,
        internals::{Dead, Destruction, KeyInfo, KeyLookup, Loss, Plumbing as _},
    },
};

use super::{World, subject};
use crate::common::notes::note_of;

impl World {
    /// What a policy will do that spares keys: the vault destroys what was planned but for some keys. Nothing
    /// is announced, and no tombstone is set.
    pub(crate) async fn forget_but(&mut self, who: &str, bits: u8) {
        // Somebody of whom nothing is known, or is left.
        let Ok(plan) = self.layer.plan(&subject(who)).await else {
            assert!(!self.model.knows(who), "{who} is known");
            return;
        };
        if plan.already.is_some() {
            return;
        }
        let subjects: Vec<Subject> =
            plan.subjects.iter().map(|affected| affected.subject.clone()).collect();
        let _closed = self.vault.close(&subjects).await;
        let (mut losses, mut keys) = (Vec::new(), Vec::new());
        for affected in &plan.subjects {
            let spans = affected.generations.clone();
            keys.extend(self.vault.keys_of(&affected.subject).unwrap().into_iter().filter(|key| {
                spans.iter().flatten().any(|(from, to)| (*from..=*to).contains(&key.generation))
                    || spans.is_none()
            }));
            let dead = spans.map_or(Dead::All, Dead::Spans);
            losses.push(Loss { subject: affected.subject.clone(), dead });
        }
        let count = keys.len();
        keys.sort_by(|a, b| {
            (&a.subject, &a.stream, a.generation).cmp(&(&b.subject, &b.stream, b.generation))
        });
        // Whether a key was made for what failed, nobody knows; it is no matter here.
        keys.retain(|key| self.model.has_key(key.id));
        let of_bit = |(at, key): (usize, &KeyInfo)| (bits >> (at % 8) & 1 == 1).then_some(key.id);
        let spared: BTreeSet<KeyId> = keys.iter().enumerate().filter_map(of_bit).collect();
        let erasure = ErasureId::now();
        let destruction =
            Destruction { spared: spared.clone(), ..Destruction::new(erasure, losses) };
        let done = self.vault.destroy(&destruction, &note_of(erasure).await).await.unwrap();
        assert_eq!(done.keys, (count - spared.len()) as u64, "as many as were not spared");
        self.forgotten(&plan, &spared);
    }

    /// New keys change nothing of what is there.
    pub(crate) async fn rotate(&mut self, who: Option<&str>) {
        let Some(who) = who else {
            self.layer.rotate_root().await.unwrap();
            return;
        };
        match self.layer.rotate(&subject(who)).await {
            Ok(_) => assert!(!self.model.closed(who), "{who} is forgotten"),
            Err(RotateError::UnknownSubject(_)) => assert!(!self.model.reads(who)),
            Err(RotateError::Vault(VaultError::Forgotten { .. })) => {
                assert!(self.model.closed(who), "refused without a reason");
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// What is done is known, and spares and takes nothing once more.
    pub(crate) async fn replay(&mut self) {
        let told: Vec<_> = export(&self.vault).map(Result::unwrap).collect();
        let replayed = replay(&self.vault, told).await.unwrap();
        assert_eq!((replayed.keys, replayed.erasures), (0, vec![]));
        assert!(replayed.unverifiable.is_empty());
    }

    /// Tells the model which keys an event is under, as long as they say whose they are.
    pub(crate) fn note_keys(&mut self, event: &RecordedEvent) {
        for id in &event.keys {
            if let KeyLookup::Live { subject, .. } = self.vault.opening_key(*id).unwrap() {
                self.model.note_key(event.id, subject.as_str(), *id);
            }
        }
    }
}
