//! Whatever is done in whatever order: the vault agrees with a few lines that say what it means.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Key { of: u8, whose: u8 },
    Forget { whose: u8 },
    ForgetTogether { one: u8, two: u8 },
    ForgetSpan { whose: u8, from: u32, to: u32 },
    ForgetAgain { which: usize },
    Reopen { whose: u8 },
    Restart,
    Crash,
    Flush,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0..3_u8, 0..3_u8).prop_map(|(of, whose)| Step::Key { of, whose }),
        2 => (0..3_u8).prop_map(|whose| Step::Forget { whose }),
        1 => (0..3_u8, 0..3_u8).prop_map(|(one, two)| Step::ForgetTogether { one, two }),
        2 => (0..3_u8, 0..4_u32, 0..6_u32)
            .prop_map(|(whose, from, to)| Step::ForgetSpan { whose, from, to }),
        1 => any::<usize>().prop_map(|which| Step::ForgetAgain { which }),
        3 => (0..3_u8).prop_map(|whose| Step::Reopen { whose }),
        1 => Just(Step::Restart),
        1 => Just(Step::Crash),
        1 => Just(Step::Flush),
    ];
    proptest::collection::vec(step, 1..60)
}

#[derive(Default)]
struct Person {
    closed: Option<ErasureId>,
    /// Generation 0 is none yet; else the one of new keys.
    current: u32,
    dead: BTreeMap<u32, ErasureId>,
}

impl Person {
    fn last_dead(&self) -> Option<(u32, ErasureId)> {
        self.dead.last_key_value().map(|(generation, by)| (*generation, *by))
    }

    /// Who loses the generation of new keys is closed, and begins none until reopened.
    fn kill(&mut self, from: u32, to: u32, by: ErasureId) {
        let begun = match (self.closed, self.last_dead()) {
            (Some(_), Some((last, _))) => last,
            _ => self.current.max(1),
        };
        for generation in from.max(1)..=to.min(begun) {
            self.dead.entry(generation).or_insert(by);
        }
        if self.closed.is_none() && self.dead.contains_key(&self.current.max(1)) {
            self.closed = self.last_dead().map(|(_, by)| by);
            self.current = self.last_dead().map_or(1, |(last, _)| last + 1);
        }
    }

    fn forget(&mut self, by: ErasureId) {
        self.kill(1, u32::MAX, by);
    }
}

#[derive(Default)]
struct Model {
    people: [Person; 3],
    /// By stream, subject and generation.
    keys: BTreeMap<(u8, u8, u32), KeyId>,
    whole: Vec<(ErasureId, u8)>,
}

fn name(whose: u8) -> String {
    format!("user-{whose}")
}

async fn run(steps: Vec<Step>) {
    let tree = tree();
    let mut vault = over(&tree);
    let mut model = Model::default();
    for step in steps {
        match step {
            Step::Key { of, whose } => {
                let made = key(&vault, &format!("stream-{of}"), &name(whose)).await;
                let person = &mut model.people[usize::from(whose)];
                if let Some(by) = person.closed {
                    assert!(
                        matches!(made, Err(VaultError::Forgotten { erasure, .. }) if erasure == by)
                    );
                } else {
                    person.current = person.current.max(1);
                    let id = made.unwrap().id();
                    let known = *model.keys.entry((of, whose, person.current)).or_insert(id);
                    assert_eq!(id, known, "one key for one stream, subject and generation");
                }
            }
            Step::Forget { whose } => {
                let by = forget(&vault, &name(whose)).await;
                model.people[usize::from(whose)].forget(by);
                model.whole.push((by, whose));
            }
            Step::ForgetTogether { one, two } => {
                let erasure = ErasureId::now();
                let losses = [one, two]
                    .map(|whose| Loss { subject: subject(&name(whose)), dead: Dead::All });
                let destruction = Destruction::new(erasure, losses.into());
                vault.destroy(&destruction, b"").await.unwrap();
                for whose in [one, two] {
                    model.people[usize::from(whose)].forget(erasure);
                    model.whole.push((erasure, whose));
                }
            }
            Step::ForgetSpan { whose, from, to } => {
                let by = ErasureId::now();
                destroy(&vault, by, &name(whose), spans(&[(from, to)])).await.unwrap();
                model.people[usize::from(whose)].kill(from, to, by);
            }
            Step::ForgetAgain { which } => {
                if let Some((by, whose)) = model.whole.get(which % model.whole.len().max(1)) {
                    let again = destroy(&vault, *by, &name(*whose), Dead::All).await.unwrap();
                    assert_eq!(again.keys, 0);
                }
            }
            Step::Reopen { whose } => {
                let opened = vault.reopen(&subject(&name(whose))).await.unwrap();
                let person = &mut model.people[usize::from(whose)];
                let expected = person.closed.take().map(|_| Generation(person.current));
                assert_eq!(opened, expected);
            }
            Step::Restart => {
                drop(vault);
                vault = over(&tree);
            }
            Step::Crash => {
                crash(vault);
                vault = over(&tree);
            }
            Step::Flush => vault.flush().await.unwrap(),
        }
        agree(&vault, &model);
    }
    assert_eq!(verify::troubles(&vault), [] as [&str; 0]);
}

fn agree(vault: &Vault, model: &Model) {
    let mut alive = Vec::new();
    for (&(_, whose, generation), &id) in &model.keys {
        match model.people[usize::from(whose)].dead.get(&generation) {
            Some(by) => assert_eq!(shredded(vault.opening_key(id)), *by),
            None => {
                assert_eq!(live(vault.opening_key(id)).id(), id);
                alive.push(id);
            }
        }
    }
    let (mut keys, fences) = living(vault);
    keys.sort_unstable();
    alive.sort_unstable();
    assert_eq!(keys, alive);
    let fenced = model.people.iter().filter(|person| !person.dead.is_empty()).count();
    assert_eq!(fences, fenced);
    for (whose, person) in (0..).zip(&model.people) {
        let fence = vault.subject_state(&subject(&name(whose))).unwrap().fence;
        assert_eq!(fence.as_ref().is_some_and(|fence| fence.closed), person.closed.is_some());
        for (from, to, by) in fence.into_iter().flat_map(|fence| fence.dead) {
            assert!((from.0..=to.0).all(|generation| person.dead.get(&generation) == Some(&by)));
        }
    }
}

/// `OUBLIETTE_MODEL_CASES` asks for more.
fn cases() -> u32 {
    long_runs("OUBLIETTE_MODEL_CASES", 24) as u32
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn the_vault_agrees_with_its_model(steps in steps()) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(run(steps));
    }

    #[test]
    fn damaged_records_are_errors_and_no_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        use crate::vault::records::{entries::{KeyEntry, SubjectRecord}, fence::FenceRecord};
        let mut bytes = bytes;
        let _ = (KeyEntry::decode(&bytes), SubjectRecord::decode(&bytes), FenceRecord::decode(&bytes));
        if let Some(version) = bytes.first_mut() {
            *version = 1;
        }
        let _ = (KeyEntry::decode(&bytes), SubjectRecord::decode(&bytes), FenceRecord::decode(&bytes));
    }
}
