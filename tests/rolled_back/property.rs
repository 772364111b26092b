//! Random lives of a machine that is rolled back now and then, also in the middle of an erasure.

use std::collections::{BTreeMap, BTreeSet};

use oubliette::{
    event::{Content, RecordedEvent},
    policy::Policy,
    store::{EventStoreExt, ReadOptions, StoreError, Unreadable},
};
use proptest::prelude::*;

use crate::{
    common::{event, put, stream, subject},
    machine::{Image, Machine},
};

/// A stream for each event, so that one that cannot be read hides no other.
const POLICY: &str = r#"
[[stream]]
match   = "note-{id}"
subject = "user-{/who}"
public  = ["/who"]
layout  = "inline"
"#;

#[derive(Debug, Clone)]
enum Step {
    Write(u8),
    Forget(u8),
    /// Announced, and killed before the keys are destroyed.
    ForgetCutOff(u8),
    Reopen(u8),
    Image,
    Restore(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let who = || 1..4u8;
    prop_oneof![
        5 => who().prop_map(Step::Write),
        3 => who().prop_map(Step::Forget),
        1 => who().prop_map(Step::ForgetCutOff),
        1 => who().prop_map(Step::Reopen),
        2 => Just(Step::Image),
        3 => (0..8usize).prop_map(Step::Restore),
    ]
}

/// What a reader finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Readable,
    Shredded,
    KeyMissing,
}

/// An event, and what must be so of it.
#[derive(Debug)]
struct Note {
    who: u8,
    /// Its person was forgotten since: for ever, whatever is put back.
    forgotten: bool,
    /// Whether the vault has, or had, its key: not, where it was made after the image put back.
    has_key: bool,
    /// Whether the erasure was of a vault that did not know of its key any more.
    unexplained: bool,
}

impl Note {
    fn may_be(&self, found: Found) -> bool {
        match found {
            Found::Readable => !self.forgotten && self.has_key,
            // A later erasure may happen to explain a key that is lost.
            Found::Shredded => self.forgotten || !self.has_key,
            Found::KeyMissing => self.unexplained || !(self.has_key || self.forgotten),
        }
    }
}

#[derive(Default)]
struct Model {
    notes: BTreeMap<u32, Note>,
    closed: BTreeSet<u8>,
    written: u32,
}

impl Model {
    fn forget(&mut self, who: u8) {
        for note in self.notes.values_mut().filter(|note| note.who == who) {
            note.unexplained |= !note.forgotten && !note.has_key;
            note.forgotten = true;
        }
        self.closed.insert(who);
    }

    fn keys(&self) -> BTreeSet<u32> {
        self.notes.iter().filter(|(_, note)| note.has_key).map(|(number, _)| *number).collect()
    }

    fn restore(&mut self, keys: &BTreeSet<u32>) {
        for (number, note) in &mut self.notes {
            note.has_key = keys.contains(number);
        }
    }
}

async fn run(steps: Vec<Step>) {
    let machine = Machine::new().with_policy(Policy::parse(POLICY).unwrap());
    let mut model = Model::default();
    let mut images: Vec<(Image, BTreeSet<u32>)> = Vec::new();
    let mut bank = Some(machine.open().await);
    for step in steps {
        let open = bank.as_ref().unwrap();
        match step {
            Step::Write(who) => {
                let note = model.written;
                model.written += 1;
                let data = format!(r#"{{"who":{who},"text":"<{note}>"}}"#);
                match put(open, &format!("note-{note}"), event("Noted", &data)).await {
                    Ok(_) => {
                        let (forgotten, has_key, unexplained) = (false, true, false);
                        model.notes.insert(note, Note { who, forgotten, has_key, unexplained });
                    }
                    Err(StoreError::Forgotten { .. }) => assert!(model.closed.contains(&who)),
                    Err(error) => panic!("{error}"),
                }
            }
            Step::Forget(who) => {
                if open.forget(&subject(&format!("user-{who}")), "asked").await.is_ok() {
                    model.forget(who);
                }
            }
            Step::ForgetCutOff(who) => {
                machine.store.after_announcing(true);
                let answer = open.forget(&subject(&format!("user-{who}")), "asked").await;
                machine.store.after_announcing(false);
                // Announced, and found out by whoever opens next, rolled back or not.
                let pending = answer.as_ref().err().is_some_and(|error| error.is_pending());
                drop(bank.take());
                bank = Some(machine.open().await);
                if pending || answer.is_ok() {
                    model.forget(who);
                }
            }
            Step::Reopen(who) => {
                open.reopen(&subject(&format!("user-{who}"))).await.unwrap();
                model.closed.remove(&who);
            }
            Step::Image => {
                drop(bank.take());
                images.push((machine.image(), model.keys()));
                bank = Some(machine.open().await);
            }
            Step::Restore(n) if !images.is_empty() => {
                let (image, keys) = &images[n % images.len()];
                drop(bank.take());
                machine.restore(image);
                model.restore(keys);
                bank = Some(machine.open().await);
                // Who is closed is asked of the vault: a reopening may be undone by the image.
                for who in 1..4 {
                    let standing = bank.as_ref().unwrap().vault().unwrap();
                    let fence = standing.standing(&subject(&format!("user-{who}"))).unwrap().fence;
                    if fence.is_some_and(|fence| fence.closed) {
                        model.closed.insert(who);
                    } else {
                        model.closed.remove(&who);
                    }
                }
            }
            Step::Restore(_) => {}
        }
        let open = bank.as_ref().unwrap();
        for (number, note) in &model.notes {
            let name = stream(&format!("note-{number}"));
            let content = |events: &[RecordedEvent]| match events[0].content() {
                Content::Clear(_) => Found::Readable,
                Content::Partial { .. } | Content::Shredded(_) => Found::Shredded,
                other => panic!("{other:?}"),
            };
            let found = match &open.events(&name, ReadOptions::default()).await {
                Ok(events) => content(events),
                Err(StoreError::Unreadable { unreadable: Unreadable::KeyMissing, .. }) => {
                    Found::KeyMissing
                }
                Err(error) => panic!("{error}"),
            };
            assert!(note.may_be(found), "note-{number} is {found:?}: {note:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn no_way_back_through_any_image(steps in prop::collection::vec(step(), 1..16)) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run(steps));
    }
}

fn cases() -> u32 {
    std::env::var("OUBLIETTE_ROLLBACK_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(24)
}
