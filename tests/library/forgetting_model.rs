//! Random sequences of everything that people do (append, transfer, share, forget, reopen,
//! rotate, replay, restart) over a store that fails now and then, before or after it really wrote; against a
//! model that knows of each sealed part whose erasure must shred it, and which it spared.
//!
//! The model takes one thing from the system: which events are in the inner store. All else it
//! works out by itself. A failing sequence is printed, as short as it can be made.
//!
//! `OUBLIETTE_MODEL_CASES` asks for more sequences than the default.

#![allow(clippy::unwrap_used)]

mod faulty;
mod model;
mod spared;
mod writes;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use faulty::{Fault, Faulty};
use futures::TryStreamExt;
use model::Model;
use oubliette::{
    audit::verify::{Defect, VerifyOptions},
    erasure::{ErasureError, ErasureRefusal, Kept, Plan},
    event::{
        ErasureId, EventId, EventType, Json, KeyId, NewEvent, RecordedEvent, StreamName, Subject,
    },
    layer::Oubliette,
    policy::Policy,
    store::{Append, EventStore, ExpectedRevision, ReadAllOptions, StoreError},
    vault::Vault,
};
use proptest::prelude::*;
use writes::{Kind, POLICY, Write};

/// One step. Numbers choose among the few names of [`writes`].
#[derive(Debug, Clone)]
enum Step {
    Append {
        writes: Vec<Write>,
        trouble: Trouble,
        again: bool,
    },
    /// Repeats an earlier append, with the same ids.
    Late(usize),
    /// Gives the ids of an earlier append to other events.
    Reuse(usize),
    Forget {
        who: String,
        trouble: Trouble,
    },
    /// As [`Step::Forget`], but for keys of which the bit is set.
    ForgetBut {
        who: String,
        spared: u8,
    },
    Reopen {
        who: String,
    },
    /// New keys for somebody, or a new root.
    Rotate {
        who: Option<String>,
    },
    /// All erasures so far, exported and applied again.
    Replay,
    /// A new process over the same store and vault.
    Restart,
}

/// What goes wrong during a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    None,
    /// The next append fails.
    Append(Fault),
    /// The next append fails, and reading fails until the step is over.
    AppendThenReads(Fault),
    /// Reading fails.
    Reads,
    /// The caller drops the future after so many microseconds.
    Dropped(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 1..40)
}

fn step() -> impl Strategy<Value = Step> {
    let forget = (writes::anyone(), trouble());
    let forget_but = (writes::anyone(), any::<u8>());
    prop_oneof![
        10 => (prop::collection::vec(writes::write(), 1..4), trouble(), any::<bool>())
            .prop_map(|(writes, trouble, again)| Step::Append { writes, trouble, again }),
        1 => (0..64usize).prop_map(Step::Late),
        1 => (0..64usize).prop_map(Step::Reuse),
        3 => forget.prop_map(|(who, trouble)| Step::Forget { who, trouble }),
        2 => forget_but.prop_map(|(who, spared)| Step::ForgetBut { who, spared }),
        2 => writes::anyone().prop_map(|who| Step::Reopen { who }),
        1 => prop::option::weighted(0.9, writes::anyone()).prop_map(|who| Step::Rotate { who }),
        1 => Just(Step::Replay),
        1 => Just(Step::Restart),
    ]
}

fn trouble() -> impl Strategy<Value = Trouble> {
    let fault = || prop_oneof![Just(Fault::Before), Just(Fault::After)];
    prop_oneof![
        6 => Just(Trouble::None),
        2 => fault().prop_map(Trouble::Append),
        2 => fault().prop_map(Trouble::AppendThenReads),
        1 => Just(Trouble::Reads),
        1 => (0..200u8).prop_map(Trouble::Dropped),
    ]
}

struct World {
    store: Faulty,
    vault: Vault,
    layer: Oubliette<Faulty>,
    model: Model,
    /// What was ever tried, for late retries.
    tried: Vec<(Vec<Write>, Vec<Append>)>,
    /// Of each erasure that was decided: where its tombstones must be.
    erasures: BTreeMap<ErasureId, BTreeSet<String>>,
    numbers: u32,
}

impl World {
    async fn new() -> Self {
        let store = Faulty::default();
        let vault = Vault::in_memory().unwrap();
        let layer = open(&store, &vault).await;
        Self {
            store,
            vault,
            layer,
            model: Model::default(),
            tried: Vec::new(),
            erasures: BTreeMap::new(),
            numbers: 0,
        }
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Append { writes, trouble, again } => {
                let (writes, appends) = self.write(writes);
                self.tried.push((writes.clone(), appends.clone()));
                self.append(&writes, &appends, trouble).await;
                if again || matches!(trouble, Trouble::Dropped(_)) {
                    self.append(&writes, &appends, Trouble::None).await;
                }
            }
            Step::Late(n) if !self.tried.is_empty() => {
                let (writes, appends) = self.tried[n % self.tried.len()].clone();
                // One whose stream was forgotten wholly since, and reopened, begins again.
                if self.model.same_lives(&writes) {
                    self.append(&writes, &appends, Trouble::None).await;
                }
            }
            Step::Reuse(n) if !self.tried.is_empty() => {
                let (writes, appends) = self.tried[n % self.tried.len()].clone();
                if self.store.holds(writes.iter().filter_map(|write| write.id)) {
                    self.reuse(&writes, appends).await;
                }
            }
            Step::Late(_) | Step::Reuse(_) => {}
            Step::Forget { who, trouble } => self.forget(&who, trouble).await,
            Step::ForgetBut { who, spared } => self.forget_but(&who, spared).await,
            Step::Rotate { who } => self.rotate(who.as_deref()).await,
            Step::Replay => self.replay().await,
            Step::Reopen { who } => {
                match self.layer.reopen(&subject(&who)).await {
                    Err(ErasureError::Refused(ErasureRefusal::UnknownSubject(_))) => {
                        assert!(!self.model.closed(&who));
                    }
                    reopened => {
                        reopened.unwrap();
                    }
                }
                self.model.reopen(&who);
            }
            Step::Restart => self.layer = open(&self.store, &self.vault).await,
        }
        self.store.heal();
        self.check().await;
    }

    /// Numbers the writes, and makes appends of them.
    fn write(&mut self, mut writes: Vec<Write>) -> (Vec<Write>, Vec<Append>) {
        let mut appends: Vec<Append> = Vec::new();
        for write in &mut writes {
            self.numbers += 1;
            write.number = self.numbers;
            write.life = self.model.life(&write.stream);
        }
        // The events of one stream stand together, as they do in the append.
        writes.sort_by(|a, b| a.stream.cmp(&b.stream));
        for write in &mut writes {
            let event = new_event(write);
            write.id = Some(event.id);
            match appends.last_mut().filter(|last| last.stream.as_str() == write.stream) {
                Some(last) => last.events.push(event),
                None => appends.push(Append::new(
                    StreamName::new(&write.stream).unwrap(),
                    ExpectedRevision::Any,
                    vec![event],
                )),
            }
        }
        (writes, appends)
    }

    /// Other events under ids that are taken change nothing, whatever they state.
    async fn reuse(&mut self, writes: &[Write], mut appends: Vec<Append>) {
        let mut changed = Vec::new();
        for write in writes {
            self.numbers += 1;
            changed.push(write.changed(self.numbers));
        }
        for event in appends.iter_mut().flat_map(|append| &mut append.events) {
            let write = changed.iter().find(|write| write.id == Some(event.id)).unwrap();
            *event = new_event(write).with_id(event.id);
        }
        let (forgotten, ownerless) =
            (self.model.refuses(&changed), self.model.lacks_owner(&changed));
        match self.layer.append(appends).await {
            Err(StoreError::Forgotten { .. }) => assert!(forgotten, "refused without a reason"),
            Err(StoreError::Refused { .. }) => assert!(ownerless, "refused without a reason"),
            Err(StoreError::OtherContent { .. }) => assert!(!forgotten && !ownerless),
            other => panic!("an id that is taken: {other:?}"),
        }
        if !forgotten && !ownerless {
            self.model.tried(&changed);
        }
    }

    async fn append(&mut self, writes: &[Write], appends: &[Append], trouble: Trouble) {
        let known = |store: &Faulty| store.holds(writes.iter().filter_map(|write| write.id));
        let before = known(&self.store);
        let forgotten = self.model.refuses(writes);
        let ownerless = !forgotten && self.model.lacks_owner(writes);
        self.store.fail(trouble_of(trouble));
        let answer = match trouble {
            Trouble::Dropped(micros) => {
                let append = self.layer.append(appends.to_vec());
                tokio::time::timeout(Duration::from_micros(u64::from(micros)), append).await.ok()
            }
            _ => Some(self.layer.append(appends.to_vec()).await),
        };
        if answer.is_none() {
            // It goes on by itself; the retry that follows meets it, or finds it done.
            return;
        }
        self.store.heal();
        let stored = known(&self.store);
        match answer.unwrap() {
            Ok(done) => {
                assert!(stored, "acknowledged, and not in the store");
                assert!(!forgotten, "acknowledged, though somebody of it is forgotten");
                assert!(!ownerless, "acknowledged, though nobody owns it");
                assert!(!before || done.iter().all(|done| done.already));
            }
            Err(StoreError::Forgotten { .. }) => assert!(forgotten, "refused without a reason"),
            Err(StoreError::Refused { .. }) => assert!(ownerless, "refused without a reason"),
            Err(error) => {
                assert!(trouble != Trouble::None, "failed without a reason: {error}");
            }
        }
        if !forgotten && !ownerless && !stored {
            self.model.tried(writes);
        }
        self.model.apply(writes.iter().filter(|write| self.store.holds(write.id)));
    }

    async fn forget(&mut self, who: &str, trouble: Trouble) {
        let decided_before = self.decided();
        let plan = self.layer.plan(&subject(who)).await;
        self.store.fail(trouble_of(trouble));
        let answer = self.layer.forget(&subject(who), "model").await;
        self.store.heal();
        let decided = self.decided();
        let new: Vec<ErasureId> = decided.difference(&decided_before).copied().collect();
        assert!(new.len() <= 1);
        let Some(&erasure) = new.first() else {
            match answer {
                Ok(erased) => {
                    assert!(erased.already);
                    assert!(self.model.is_gone(who), "nothing was done for {who}");
                }
                Err(ErasureError::Refused(ErasureRefusal::UnknownSubject(_))) => {
                    assert!(!self.model.knows(who), "{who} is known");
                }
                Err(error) => {
                    assert!(trouble != Trouble::None, "failed without a reason: {error}");
                }
            }
            return;
        };
        let plan = plan.expect("what was carried out could be planned");
        match answer {
            Ok(erased) => {
                assert_eq!((erased.erasure, erased.already), (erasure, false));
                assert_eq!(
                    stays(erased.kept.as_deref().unwrap_or_default()),
                    stays(&plan.kept),
                    "who stays is told as it was planned"
                );
                let keepers =
                    plan.kept.iter().chain(erased.kept.iter().flatten()).flat_map(|kept| &kept.by);
                for keeper in keepers.filter(|keeper| keeper.unknown) {
                    assert!(!self.model.has_stream(keeper.subject.as_str()), "{keeper:?} is known");
                }
            }
            Err(error) => assert!(trouble != Trouble::None, "failed without a reason: {error}"),
        }
        let planned: BTreeSet<String> =
            plan.streams.iter().map(|affected| affected.stream.to_string()).collect();
        let (must, may) = self.forgotten(&plan, &BTreeSet::new());
        assert!(planned.is_superset(&must), "planned {planned:?}, but these lose events: {must:?}");
        assert!(planned.is_subset(&may), "planned {planned:?}, but only these could: {may:?}");
        self.erasures.insert(erasure, planned);
    }

    /// Tells the model, and compares whom the plan names as reached in part. Returns the streams that must
    /// have a tombstone, and those that may.
    fn forgotten(
        &mut self,
        plan: &Plan,
        spared: &BTreeSet<KeyId>,
    ) -> (BTreeSet<String>, BTreeSet<String>) {
        let whole = plan.subjects.iter().filter(|affected| affected.generations.is_none());
        let whole = whole.map(|affected| affected.subject.to_string()).collect();
        let named = plan.kept.iter().flat_map(|kept| {
            kept.in_part.iter().map(|owner| (kept.subject.to_string(), owner.to_string()))
        });
        let named: BTreeSet<(String, String)> = named.collect();
        let fate = self.model.forget(plan.subject.as_str(), &whole, spared);
        let (must, may) = fate.in_part;
        assert!(named.is_superset(&must), "{named:?} are reached in part, but not all of {must:?}");
        assert!(named.is_subset(&may), "{named:?} are reached in part, and not only {may:?}");
        fate.tombstones
    }

    fn decided(&self) -> BTreeSet<ErasureId> {
        self.layer.erasures().unwrap().iter().map(|record| record.erasure).collect()
    }

    /// Nothing that happened leaves vault and events at odds.
    async fn verify(&self) {
        let mut told = Vec::new();
        let options = VerifyOptions { keys_at_once: 3, ..VerifyOptions::default() };
        let report = self.layer.verify(options, |news| told.push(format!("{news:?}"))).await;
        let mut report = report.unwrap();
        // Who has no owner, what depends on who died in part, and erasures that spare keys, which nothing announces
        // yet, are the steps' own doing.
        report.found.retain(|kind, _| {
            !matches!(
                kind,
                Defect::Ownerless
                    | Defect::OwnerForgotten
                    | Defect::MissedInPart
                    | Defect::AnnouncementMissing
            )
        });
        assert!(report.is_clean(), "{told:#?}");
    }

    /// Reads everything and compares each part of each event, and every tombstone.
    async fn check(&mut self) {
        self.layer.resume().await.unwrap();
        let events: Vec<RecordedEvent> =
            self.layer.read_all(ReadAllOptions::default()).try_collect().await.unwrap();
        let mut found: BTreeMap<EventId, String> = BTreeMap::new();
        let mut tombstones: BTreeMap<ErasureId, Vec<String>> = BTreeMap::new();
        for event in &events {
            let data = event.data.as_ref().and_then(|data| data.as_json());
            if let Some(tombstone) = &event.tombstone {
                let record = self.layer.erasure_of(tombstone.reference, &event.stream).unwrap();
                let erasure = record.expect("an erasure of this vault").erasure;
                tombstones.entry(erasure).or_default().push(event.stream.to_string());
                continue;
            }
            self.note_keys(event);
            let text = data.map_or("", Json::as_str).to_owned();
            assert!(found.insert(event.id, text).is_none(), "an event came twice");
        }
        self.model.check(&found);
        for (erasure, streams) in &self.erasures {
            let mut set = tombstones.remove(erasure).unwrap_or_default();
            set.sort();
            let wanted: Vec<String> = streams.iter().cloned().collect();
            assert_eq!(set, wanted, "the tombstones of an erasure");
        }
        assert!(tombstones.is_empty(), "tombstones that nobody asked for: {tombstones:?}");
    }
}

/// Who stays, who keeps them, and through whom something of theirs may have been missed.
fn stays(kept: &[Kept]) -> Vec<(Subject, Vec<Subject>, Vec<Subject>)> {
    let one = |kept: &Kept| {
        let by = kept.by.iter().map(|keeper| keeper.subject.clone());
        (kept.subject.clone(), by.collect(), kept.in_part.clone())
    };
    kept.iter().map(one).collect()
}

fn trouble_of(trouble: Trouble) -> (Option<Fault>, bool, bool) {
    match trouble {
        Trouble::None | Trouble::Dropped(_) => (None, false, false),
        Trouble::Append(fault) => (Some(fault), false, false),
        Trouble::AppendThenReads(fault) => (Some(fault), true, false),
        Trouble::Reads => (None, false, true),
    }
}

async fn open(store: &Faulty, vault: &Vault) -> Oubliette<Faulty> {
    Oubliette::open(store.clone(), vault.clone(), Policy::parse(POLICY).unwrap()).await.unwrap()
}

fn new_event(write: &Write) -> NewEvent {
    let (event_type, data) = write.event();
    let mut event = NewEvent::new(EventType::new(event_type).unwrap(), Json::parse(&data).unwrap());
    event.subject = write.names().map(|name| subject(&name));
    event
}

fn subject(name: &str) -> Subject {
    Subject::new(name).unwrap()
}

fn run(steps: Vec<Step>) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut world = World::new().await;
        for step in steps {
            world.take(step).await;
        }
        world.verify().await;
    });
}

fn cases() -> u32 {
    std::env::var("OUBLIETTE_MODEL_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(32)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 3000, ..ProptestConfig::default() })]

    #[test]
    fn each_erasure_shreds_what_is_theirs_and_nothing_else(steps in steps()) {
        run(steps);
    }
}

fn append(writes: Vec<Write>, trouble: Trouble, again: bool) -> Step {
    Step::Append { writes, trouble, again }
}

/// What a stream stated before it was forgotten wholly stays over, though it lost a part of its next life.
#[test]
fn a_part_that_dies_in_the_next_life_brings_back_nothing_of_the_last() {
    let opened = |kinds: &[Kind]| {
        let writes = kinds.iter().map(|kind| Write::new("account-1", *kind)).collect();
        append(writes, Trouble::None, false)
    };
    let forget = |who: &str| Step::Forget { who: who.to_owned(), trouble: Trouble::None };
    run(vec![
        opened(&[Kind::Joined(0)]),
        forget("account-1"),
        Step::Reopen { who: "account-1".to_owned() },
        opened(&[Kind::Opened(3), Kind::Replaced(1)]),
        forget("user-3"),
    ]);
}

/// The transfer was written, the writer was told that it failed, and nobody could look: the
/// claim stays open, and who next needs to know asks the store.
#[test]
fn a_transfer_that_was_written_though_it_failed_counts() {
    for trouble in [Trouble::Append(Fault::After), Trouble::AppendThenReads(Fault::After)] {
        for again in [false, true] {
            run(vec![
                append(vec![Write::new("account-1", Kind::Opened(1))], Trouble::None, false),
                append(vec![Write::new("account-1", Kind::Replaced(2))], trouble, again),
                append(vec![Write::new("account-1", Kind::Noted)], Trouble::None, false),
                Step::Forget { who: "user-1".into(), trouble: Trouble::None },
                append(vec![Write::new("account-1", Kind::Noted)], Trouble::None, false),
                Step::Forget { who: "user-2".into(), trouble: Trouble::None },
            ]);
        }
    }
}

/// The transfer was never written: the old owner still takes it all, the new one nothing.
#[test]
fn a_transfer_that_was_not_written_does_not_count() {
    for first in ["user-1", "user-2"] {
        for trouble in [Trouble::Append(Fault::Before), Trouble::AppendThenReads(Fault::Before)] {
            run(vec![
                append(vec![Write::new("account-1", Kind::Opened(1))], Trouble::None, false),
                append(vec![Write::new("user-2", Kind::Noted)], Trouble::None, false),
                append(vec![Write::new("account-1", Kind::Replaced(2))], trouble, false),
                append(vec![Write::new("account-1", Kind::Noted)], Trouble::None, false),
                Step::Forget { who: first.into(), trouble: Trouble::None },
                Step::Forget { who: "user-1".into(), trouble: Trouble::None },
            ]);
        }
    }
}

/// An event that named again who was an owner already, repeated after they gave the account
/// away, does not bring them back.
#[test]
fn a_late_retry_does_not_bring_back_an_owner_who_left() {
    let opened = || append(vec![Write::new("account-1", Kind::Opened(3))], Trouble::None, false);
    let replaced = append(vec![Write::new("account-1", Kind::Replaced(2))], Trouble::None, false);
    let forget = Step::Forget { who: "user-2".into(), trouble: Trouble::None };
    run(vec![opened(), opened(), replaced, Step::Late(1), forget]);
}

/// What stood in an account before it had any owner goes with nobody but the account itself.
#[test]
fn what_was_there_before_the_first_owner_stays() {
    let one = |kind| append(vec![Write::new("account-1", kind)], Trouble::None, false);
    let forget = |who: &str| Step::Forget { who: who.into(), trouble: Trouble::None };
    run(vec![one(Kind::Noted), one(Kind::Replaced(2)), one(Kind::Noted), forget("user-2")]);
    run(vec![one(Kind::Noted), one(Kind::Left(1)), one(Kind::Opened(2)), forget("user-2")]);
}

/// A retry of an append that changes owners, after nobody could look whether the first attempt
/// was stored, settles that by itself.
#[test]
fn a_retry_settles_its_own_open_claim() {
    for fault in [Fault::Before, Fault::After] {
        let writes =
            vec![Write::new("account-2", Kind::Noted), Write::new("account-2", Kind::Left(1))];
        run(vec![append(writes, Trouble::AppendThenReads(fault), true)]);
    }
}

/// An account changed hands, and its new owner is forgotten, so that it is closed. Who had a share of it
/// before, and nothing else, was called unknown; they kept what should go with the last of them.
#[test]
fn who_had_a_share_of_what_is_closed_now_can_be_forgotten() {
    let one = |kind| append(vec![Write::new("account-1", kind)], Trouble::None, false);
    let forget = |who: &str| Step::Forget { who: who.into(), trouble: Trouble::None };
    let changed = [one(Kind::Opened(1)), one(Kind::Opened(2)), one(Kind::Replaced(3))];
    run([&changed[..], &[forget("user-3"), forget("user-2"), forget("user-1")]].concat());
}
