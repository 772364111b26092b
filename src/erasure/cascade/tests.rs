use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, HashMap},
};

use proptest::prelude::*;

use super::{Cascade, Edges, Span};
use crate::{
    event::{EventId, Generation, Subject},
    vault::{Owner, SubjectState, Tenure, VaultError},
};

fn subject(name: &str) -> Subject {
    Subject::new(name).unwrap()
}

/// A time with the same owners (`None`: somebody who was forgotten), and whether a key of it lives.
#[derive(Debug, Clone)]
struct Time {
    owners: Vec<Option<String>>,
    any: bool,
    key: bool,
}

/// Who is owned by whom. The time that is `n`th begins with generation `2n + 1`.
#[derive(Debug, Clone, Default)]
struct World {
    times: BTreeMap<String, Vec<Time>>,
    dependents: HashMap<String, Vec<Subject>>,
    looked: RefCell<HashMap<(&'static str, Subject), usize>>,
}

fn first_of(time: usize) -> Generation {
    Generation(2 * u32::try_from(time).unwrap() + 1)
}

impl World {
    fn new(times: BTreeMap<String, Vec<Time>>) -> Self {
        let mut dependents: HashMap<String, Vec<Subject>> = HashMap::new();
        for (who, times) in &times {
            let owners: BTreeSet<&String> =
                times.iter().flat_map(|time| time.owners.iter().flatten()).collect();
            for owner in owners {
                dependents.entry(owner.clone()).or_default().push(subject(who));
            }
        }
        Self { times, dependents, looked: RefCell::default() }
    }

    fn owned(mut self, who: &str, any: bool, owners: &[&str]) -> Self {
        let owners = owners.iter().map(|owner| Some((*owner).to_owned())).collect();
        self.times.entry(who.to_owned()).or_default().push(Time { owners, any, key: true });
        Self::new(self.times)
    }

    fn look(&self, what: &'static str, at: &Subject) {
        *self.looked.borrow_mut().entry((what, at.clone())).or_default() += 1;
    }

    /// Who falls wholly, and what dies of the others.
    fn fates(&self, asked: &str) -> (BTreeSet<String>, BTreeMap<String, Vec<Span>>) {
        let (mut whole, mut parts) = (BTreeSet::new(), BTreeMap::new());
        for (who, cascade) in Cascade::of(self, &subject(asked)).unwrap().losses {
            match cascade.spans {
                None => drop(whole.insert(who.to_string())),
                Some(spans) => drop(parts.insert(who.to_string(), spans)),
            }
        }
        (whole, parts)
    }
}

impl Edges for World {
    fn dependents(&self, owner: &Subject) -> Result<Vec<Subject>, VaultError> {
        self.look("dependents", owner);
        Ok(self.dependents.get(owner.as_str()).cloned().unwrap_or_default())
    }

    fn subject_state(&self, of: &Subject) -> Result<SubjectState, VaultError> {
        self.look("state", of);
        let tenure = |(at, time): (usize, &Time)| Tenure {
            from: first_of(at),
            unsettled: None,
            owners: time
                .owners
                .iter()
                .map(|owner| Owner { subject: owner.as_deref().map(subject), unsettled: None })
                .collect(),
            any: time.any,
        };
        let times = self.times.get(of.as_str()).into_iter().flatten();
        Ok(SubjectState {
            tenures: times.enumerate().map(tenure).collect(),
            ..SubjectState::default()
        })
    }

    fn living(&self, of: &Subject) -> Result<Vec<Generation>, VaultError> {
        self.look("living", of);
        let times = self.times.get(of.as_str()).into_iter().flatten().enumerate();
        Ok(times.filter(|(_, time)| time.key).map(|(at, _)| first_of(at)).collect())
    }
}

/// The same, as simply as it can be said: of all sets that may fall, the largest.
mod naive {
    use super::*;

    fn dies(time: &Time, fall: &BTreeSet<String>) -> bool {
        let mut fates = time.owners.iter().map(|o| o.as_ref().is_none_or(|o| fall.contains(o)));
        if time.any {
            fates.any(|falls| falls)
        } else {
            fates.len() > 0 && fates.all(|falls| falls)
        }
    }

    fn leads(time: &Time, from: &BTreeSet<String>) -> bool {
        time.owners.iter().flatten().any(|owner| from.contains(owner))
    }

    fn may_fall(world: &World, asked: &str, fall: &BTreeSet<String>) -> bool {
        let mut led = BTreeSet::from([asked.to_owned()]);
        loop {
            let before = led.len();
            for who in fall {
                let times = world.times.get(who).into_iter().flatten();
                if times.into_iter().any(|time| dies(time, fall) && leads(time, &led)) {
                    led.insert(who.clone());
                }
            }
            if led.len() == before {
                break;
            }
        }
        fall.iter().filter(|who| *who != asked).all(|who| {
            let times = &world.times[who];
            let last = times.len() - 1;
            led.contains(who)
                && times
                    .iter()
                    .enumerate()
                    .all(|(at, time)| (at < last && !time.key) || dies(time, fall))
        })
    }

    pub(super) fn fates(
        world: &World,
        asked: &str,
    ) -> (BTreeSet<String>, BTreeMap<String, Vec<Span>>) {
        let others: Vec<&String> = world.times.keys().filter(|who| *who != asked).collect();
        let mut largest = BTreeSet::new();
        for bits in 0..1_u32 << others.len() {
            let chosen = others.iter().enumerate().filter(|(i, _)| bits >> i & 1 == 1);
            let mut fall: BTreeSet<String> = chosen.map(|(_, who)| (*who).clone()).collect();
            fall.insert(asked.to_owned());
            if may_fall(world, asked, &fall) {
                largest.extend(fall);
            }
        }
        let mut parts = BTreeMap::new();
        for (who, times) in world.times.iter().filter(|(who, _)| !largest.contains(*who)) {
            let dead = |time: &&(usize, &Time)| dies(time.1, &largest);
            let numbered: Vec<(usize, &Time)> = times.iter().enumerate().collect();
            if !numbered.iter().filter(dead).any(|(_, time)| leads(time, &largest)) {
                continue;
            }
            let end = |at: usize| match at + 1 < times.len() {
                true => Generation(first_of(at + 1).0 - 1),
                false => Generation(u32::MAX),
            };
            let spans = numbered.iter().filter(dead).map(|(at, _)| (first_of(*at), end(*at)));
            parts.insert(who.clone(), spans.collect());
        }
        (largest, parts)
    }
}

fn a_world() -> impl Strategy<Value = World> {
    let names = ["u0", "u1", "u2", "a0", "a1", "a2", "a3", "a4"];
    let owner = prop::option::weighted(0.9, prop::sample::select(names.to_vec()));
    let time = (prop::collection::vec(owner, 1..3), any::<bool>(), any::<bool>());
    let times = prop::collection::vec(prop::collection::vec(time, 0..3), 5);
    times.prop_map(|accounts| {
        let mut all = BTreeMap::new();
        for (at, times) in accounts.into_iter().enumerate() {
            let who = format!("a{at}");
            let time = |(owners, any, key): (Vec<Option<&str>>, bool, bool)| {
                let owners = owners.into_iter().filter(|owner| *owner != Some(who.as_str()));
                let mut owners: Vec<_> = owners.map(|o| o.map(str::to_owned)).collect();
                owners.sort();
                owners.dedup();
                Time { owners, any, key }
            };
            let times: Vec<Time> = times.into_iter().map(time).collect();
            if !times.is_empty() {
                all.insert(who, times);
            }
        }
        World::new(all)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn who_falls_is_the_largest_set_that_nobody_keeps(world in a_world(), a in any::<bool>()) {
        let asked = if a { "u0" } else { "a0" };
        prop_assert_eq!(world.fates(asked), naive::fates(&world, asked));
    }
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(ToString::to_string).collect()
}

#[test]
fn a_circle_of_owners_falls_with_who_keeps_it() {
    let world = World::default().owned("acc-1", false, &["user-1", "acc-2"]).owned(
        "acc-2",
        false,
        &["acc-1"],
    );
    assert_eq!(world.fates("user-1").0, names(&["user-1", "acc-1", "acc-2"]));
    let kept = world.owned("acc-2", false, &["user-2"]);
    assert_eq!(kept.fates("user-1").0, names(&["user-1"]));
}

#[test]
fn a_circle_that_only_itself_brings_down_stays() {
    // Reached by way of an account that somebody else keeps.
    let world = World::default()
        .owned("acc-1", false, &["user-1", "user-2"])
        .owned("acc-2", true, &["acc-1", "acc-3"])
        .owned("acc-3", false, &["acc-2"]);
    assert_eq!(world.fates("user-1").0, names(&["user-1"]));
}

#[test]
fn the_last_owner_takes_the_dependent_along_or_any() {
    let of = |any| World::default().owned("acc", any, &["a", "b"]);
    assert_eq!(of(false).fates("a").0, names(&["a"]));
    assert_eq!(of(true).fates("a").0, names(&["a", "acc"]));
    let stays = Cascade::of(&of(false), &subject("a")).unwrap().stays;
    assert_eq!((stays.len(), &stays[0].by), (1, &vec![subject("b")]));
    let mut forgotten = of(false);
    forgotten.times.get_mut("acc").unwrap()[0].owners[1] = None;
    assert_eq!(forgotten.fates("a").0, names(&["a", "acc"]));
}

#[test]
fn only_the_generations_of_the_forgotten_owner_die() {
    let world = World::default().owned("acc", false, &["old"]).owned("acc", false, &["new"]);
    let (whole, parts) = world.fates("old");
    assert_eq!((whole, &parts["acc"]), (names(&["old"]), &vec![(Generation(1), Generation(2))]));
}

#[test]
fn nobody_falls_by_what_nobody_settled_nor_takes_along_what_may_be_anothers() {
    struct Open(World, bool);
    impl Edges for Open {
        fn dependents(&self, owner: &Subject) -> Result<Vec<Subject>, VaultError> {
            self.0.dependents(owner)
        }
        fn subject_state(&self, of: &Subject) -> Result<SubjectState, VaultError> {
            let mut state = self.0.subject_state(of)?;
            if let Some(tenure) = state.tenures.last_mut() {
                let event = Some(EventId::random());
                if self.1 { tenure.unsettled = event } else { tenure.owners[0].unsettled = event }
            }
            Ok(state)
        }
        fn living(&self, of: &Subject) -> Result<Vec<Generation>, VaultError> {
            self.0.living(of)
        }
    }
    let losses = |open: Open| {
        let losses = Cascade::of(&open, &subject("a")).unwrap().losses;
        (losses.len(), losses.last().and_then(|(_, cascade)| cascade.spans.clone()))
    };
    let one = World::default().owned("acc", false, &["a"]);
    assert_eq!(losses(Open(one.clone(), false)), (1, None));
    // Of a change of hands that is open, only what was before it dies.
    let before = vec![(Generation(1), Generation(2))];
    assert_eq!(losses(Open(one.owned("acc", false, &["b"]), true)), (2, Some(before)));
    // Who may have become an owner keeps it.
    let two = World::default().owned("acc", false, &["b", "a"]);
    assert_eq!(losses(Open(two, false)), (1, None));
    // Whose it is where an owner may have left it alone, nobody knows.
    let alone = World::default().owned("acc", false, &["a", "b"]).owned("acc", false, &["a"]);
    assert_eq!(losses(Open(alone, true)), (1, None));
}

/// Twenty thousand dependents in a row, side by side, in a ring, and all of one account: everybody
/// is looked up once. It would not end if each step looked at all of them.
#[test]
fn finding_who_falls_looks_each_of_many_dependents_up_once() {
    const MANY: usize = 20_000;
    let name = |at: usize| format!("acc-{at}");
    let one = |owners: Vec<String>| {
        vec![Time { owners: owners.into_iter().map(Some).collect(), any: false, key: true }]
    };
    let before = |at: usize| if at == 0 { "user".to_owned() } else { name(at - 1) };
    let row = (0..MANY).map(|at| (name(at), one(vec![before(at)])));
    let side_by_side = (0..MANY).map(|at| (name(at), one(vec!["user".to_owned()])));
    let ring = (0..MANY).map(|at| {
        let last = (at == 0).then(|| name(MANY - 1));
        (name(at), one(std::iter::once(before(at)).chain(last).collect()))
    });
    let joint = (0..MANY).map(|at| (name(at), one(vec!["user".to_owned()])));
    let joint = joint.chain([("joint".to_owned(), one((0..MANY).map(name).collect()))]);
    let worlds = [row.collect(), side_by_side.collect(), ring.collect(), joint.collect()];
    for times in worlds {
        let world = World::new(times);
        assert_eq!(world.fates("user").0.len(), world.times.len() + 1);
        assert!(world.looked.borrow().values().all(|times| *times == 1));
        // And where the last of them keeps them all.
        let kept = World::new(world.times.clone()).owned(&name(MANY - 1), false, &["other"]);
        assert!(kept.fates("user").0.len() <= world.times.len());
        assert!(kept.looked.borrow().values().all(|times| *times == 1));
    }
}

/// Of a ledger whose account changed hands it is not known what is of whose time: it is named, and so is
/// what depends on it.
#[test]
fn who_depends_on_what_dies_in_part_is_named() {
    let world = World::default()
        .owned("acc", false, &["old"])
        .owned("acc", false, &["new"])
        .owned("ledger", false, &["acc"])
        .owned("line", false, &["ledger"])
        .owned("both", false, &["acc", "old"])
        .owned("gone", false, &["old"]);
    for asked in ["old", "new"] {
        let fates = Cascade::of(&world, &subject(asked)).unwrap();
        let stays: Vec<_> = fates.stays.iter().filter(|stays| !stays.in_part.is_empty()).collect();
        let told: Vec<_> =
            stays.iter().map(|stays| (stays.subject.as_str(), stays.in_part.as_slice())).collect();
        let (acc, ledger) = ([subject("acc")], [subject("ledger")]);
        assert_eq!(told, [("both", &acc[..]), ("ledger", &acc[..]), ("line", &ledger[..])]);
    }
    // Once both are forgotten, all of it goes.
    let mut world = world;
    world.times.get_mut("acc").unwrap()[0].owners[0] = None;
    let world = World::new(world.times);
    let fates = Cascade::of(&world, &subject("new")).unwrap();
    assert!(fates.stays.iter().all(|stays| stays.in_part.is_empty()), "{:?}", fates.stays);
    assert!(
        fates.losses.iter().any(|(who, cascade)| who.as_str() == "line" && cascade.spans.is_none())
    );
}
