//! Random lives of a machine that is rolled back now and then, also in the middle of an erasure. Some
//! erasures spare keys: no layer announces such yet, so they are told again from an exported list.

use std::collections::{BTreeMap, BTreeSet};

use oubliette::{
    erasure::{ErasureError, ErasureRefusal, export, replay},
    event::{Announcement, Content, ErasureId, KeyId, RecordedEvent},
    layer::{Oubliette, RotateError},
    policy::Policy,
    store::{EventStoreExt, ReadOptions, StoreError, Unreadable},
    vault::{
        VaultError,
        internals::{Dead, Destruction, Loss, Plumbing as _},
    },
};
use proptest::prelude::*;

use super::machine::{Announcements, Image, Machine};
use crate::{
    common::notes::note_of,
    common::{event, put, stream, subject},
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
    /// But for the keys of whose notes the bit is set.
    ForgetBut(u8, u8),
    Reopen(u8),
    Rotate(u8),
    Image,
    Restore(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let who = || 1..4u8;
    prop_oneof![
        5 => who().prop_map(Step::Write),
        3 => who().prop_map(Step::Forget),
        1 => who().prop_map(Step::ForgetCutOff),
        3 => (who(), any::<u8>()).prop_map(|(who, spared)| Step::ForgetBut(who, spared)),
        2 => who().prop_map(Step::Reopen),
        1 => who().prop_map(Step::Rotate),
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
    /// The last erasure of its person spared its key: it is not dead, and where it is not there, it is lost.
    spared: bool,
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
            Found::Shredded => self.forgotten || !(self.has_key || self.spared),
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
    fn forget(&mut self, who: u8, spared: &BTreeSet<u32>) {
        for (number, note) in self.notes.iter_mut().filter(|(_, note)| note.who == who) {
            note.unexplained |= !note.forgotten && !note.has_key && !note.spared;
            note.spared = !note.forgotten && spared.contains(number);
            note.forgotten |= !note.spared;
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
    let mut told: Vec<Announcement> = Vec::new();
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
                        let (forgotten, spared, has_key, unexplained) = (false, false, true, false);
                        let written = Note { who, forgotten, spared, has_key, unexplained };
                        model.notes.insert(note, written);
                    }
                    Err(StoreError::Forgotten { .. }) => assert!(model.closed.contains(&who)),
                    Err(error) => panic!("{error}"),
                }
            }
            Step::Forget(who) => {
                if open.forget(&subject(&format!("user-{who}")), "asked").await.is_ok() {
                    model.forget(who, &BTreeSet::new());
                }
            }
            Step::ForgetBut(who, bits) => {
                let spared = forget_but(open, who, bits).await;
                model.forget(who, &spared);
                told.extend(export(open.vault().unwrap()).map(Result::unwrap));
            }
            Step::Rotate(who) => match open.rotate(&subject(&format!("user-{who}"))).await {
                Ok(_) | Err(RotateError::UnknownSubject(_)) => {}
                Err(RotateError::Vault(VaultError::Forgotten { .. })) => {
                    assert!(model.closed.contains(&who));
                }
                Err(error) => panic!("{error}"),
            },
            Step::ForgetCutOff(who) => {
                machine.store.after_announcing(true);
                let answer = open.forget(&subject(&format!("user-{who}")), "asked").await;
                machine.store.after_announcing(false);
                // Announced, and found out by whoever opens next, rolled back or not.
                let pending = matches!(answer, Err(ErasureError::Pending(_)));
                drop(bank.take());
                bank = Some(machine.open().await);
                if pending || answer.is_ok() {
                    model.forget(who, &BTreeSet::new());
                }
            }
            Step::Reopen(who) => {
                match open.reopen(&subject(&format!("user-{who}"))).await {
                    Err(ErasureError::Refused(ErasureRefusal::UnknownSubject(_))) => {
                        assert!(!model.closed.contains(&who));
                    }
                    reopened => {
                        reopened.unwrap();
                    }
                }
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
                if !told.is_empty() {
                    replay(&machine.vault(), told.clone()).await.unwrap();
                }
                bank = Some(machine.open().await);
                // Who is closed is asked of the vault: a reopening may be undone by the image.
                for who in 1..4 {
                    let state = bank.as_ref().unwrap().vault().unwrap();
                    let fence =
                        state.subject_state(&subject(&format!("user-{who}"))).unwrap().fence;
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

/// Destroys somebody's keys but for some, as a policy will do that spares them. Returns the notes whose
/// keys they are.
async fn forget_but(bank: &Oubliette<Announcements>, who: u8, bits: u8) -> BTreeSet<u32> {
    let (vault, who) = (bank.vault().unwrap(), subject(&format!("user-{who}")));
    let _closed = vault.close(std::slice::from_ref(&who)).await;
    let number = |stream: &str| stream.strip_prefix("note-").unwrap().parse::<u32>().unwrap();
    let keys: BTreeMap<u32, KeyId> = vault
        .keys_of(&who)
        .unwrap()
        .iter()
        .map(|key| (number(key.stream.as_str()), key.id))
        .collect();
    let spared = keys.into_iter().filter(|(number, _)| bits >> (number % 8) & 1 == 1);
    let (notes, spared): (BTreeSet<u32>, BTreeSet<KeyId>) = spared.unzip();
    let erasure = ErasureId::now();
    let losses = vec![Loss { subject: who, dead: Dead::All }];
    let destruction = Destruction { spared, ..Destruction::new(erasure, losses) };
    vault.destroy(&destruction, &note_of(erasure).await).await.unwrap();
    notes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn no_way_back_through_any_image(steps in prop::collection::vec(step(), 1..16)) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run(steps));
    }
}

/// The first note's key is spared, and the second's not; the next erasure takes both.
#[tokio::test]
async fn what_was_spared_is_read_after_any_image_until_an_erasure_takes_it() {
    let written = [Step::Write(1), Step::Rotate(1), Step::Write(1), Step::Rotate(1), Step::Image];
    let spared = [Step::ForgetBut(1, 1), Step::Restore(0), Step::Reopen(1), Step::Write(1)];
    let taken = [Step::Forget(1), Step::Restore(0)];
    run([&written[..], &spared[..], &taken[..]].concat()).await;
    // Nobody was admitted again in between.
    run([&written[..], &spared[..1], &taken[..1]].concat()).await;
}

/// It was to live, so that it is no forgotten person's.
#[tokio::test]
async fn a_spared_key_that_an_older_image_does_not_have_is_missing() {
    run(vec![Step::Image, Step::Write(1), Step::ForgetBut(1, 1), Step::Restore(0)]).await;
}

/// It was called forgotten already, since no key of theirs lives, and the lost one went on to be told as missing.
#[tokio::test]
async fn a_spared_key_that_is_lost_is_taken_by_the_next_erasure() {
    for taken in [Step::Forget(3), Step::ForgetCutOff(3)] {
        let spared = [Step::Write(1), Step::Image, Step::Write(3), Step::ForgetBut(3, 34)];
        run([&spared[..], &[Step::Restore(0), taken]].concat()).await;
    }
}

fn cases() -> u32 {
    std::env::var("OUBLIETTE_ROLLBACK_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(24)
}
