//! Permits and time: what is sealed delays others until it ends, and is told the truth afterwards.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proptest::prelude::*;

use crate::{
    event::{EventId, EventType, Json, NewEvent, StreamName, Subject},
    layer::{Codec, EventRef, Oubliette, Sealed},
    policy::Policy,
    store::MemoryStore,
    vault::{Settled, Vault},
};

const MINUTE: Duration = Duration::from_secs(60);
const POLICY: &str = r#"
[[stream]]
match  = "user-{id}"
layout = "inline"
[[stream]]
match  = "account-{id}"
layout = "inline"
owner  = [ { event = "Opened", add = "user-{/owner}" } ]
"#;

#[derive(Debug, Clone)]
enum Step {
    Seal(usize),
    /// An account of theirs, one that nothing was ever sealed for.
    Open(usize),
    /// Of those that are held, this one.
    Stored(prop::sample::Index),
    Rejected(prop::sample::Index),
    /// Lets go of it, as a caller does who is killed.
    Dropped(prop::sample::Index),
    /// Of the claims that nobody holds, says of this one whether its event is stored.
    Settled(prop::sample::Index, bool),
    Minutes(u64),
    Forget(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..2_usize).prop_map(Step::Seal),
        3 => (0..2_usize).prop_map(Step::Open),
        3 => any::<prop::sample::Index>().prop_map(Step::Stored),
        1 => any::<prop::sample::Index>().prop_map(Step::Rejected),
        1 => any::<prop::sample::Index>().prop_map(Step::Dropped),
        1 => any::<(prop::sample::Index, bool)>().prop_map(|(at, stored)| Step::Settled(at, stored)),
        2 => (1..7_u64).prop_map(Step::Minutes),
        2 => (0..2_usize).prop_map(Step::Forget),
    ]
}

/// A sealed event that is held: whose it is, until which minute it delays others, and whether they
/// were forgotten since.
struct Held {
    who: usize,
    until: u64,
    forgotten: bool,
    /// Of which account it states that they own it.
    account: Option<usize>,
    sealed: Sealed,
}

/// A claim of an account that nobody holds.
struct Left {
    who: usize,
    account: usize,
    event: EventId,
    owner_forgotten: bool,
}

fn stream(who: usize) -> StreamName {
    StreamName::new(format!("user-{who}")).unwrap()
}

fn account(number: usize) -> StreamName {
    StreamName::new(format!("account-{number}")).unwrap()
}

#[derive(Default)]
struct World {
    held: Vec<Held>,
    left: Vec<Left>,
    /// Stored when its owner was forgotten already: by whom, the account, and the event.
    too_late: Vec<(usize, usize, EventId)>,
    /// Whose account it is, as long as they are not forgotten.
    owned: BTreeMap<usize, usize>,
    accounts: usize,
    minute: u64,
}

impl World {
    async fn seal(&mut self, codec: &Codec, who: usize, opens: bool) {
        let account = opens.then_some(self.accounts);
        self.accounts += usize::from(opens);
        let kind = if opens { "Opened" } else { "Moved" };
        let data = Json::parse(&format!(r#"{{"owner":{who},"to":"Ulm"}}"#)).unwrap();
        let event = NewEvent::new(EventType::new(kind).unwrap(), data);
        let to = account.map_or(stream(who), self::account);
        let sealed = codec.seal(&to, event).await.unwrap();
        let until = self.minute + 5;
        self.held.push(Held { who, until, forgotten: false, account, sealed });
    }

    async fn tell(&mut self, codec: &Codec, held: Held, stored: bool) {
        let Held { who, forgotten, account, sealed, .. } = held;
        let (id, data, metadata) = (sealed.id, sealed.data.clone(), sealed.metadata.clone());
        let told = if stored { sealed.stored().await } else { sealed.rejected().await }.unwrap();
        let lived = if stored { Settled::Stored } else { Settled::Withdrawn };
        let wanted = match (forgotten, account) {
            (true, None) => Settled::Forgotten,
            // Whoever did not get the account leaves it alone.
            (true, Some(_)) if stored => Settled::OwnerForgotten,
            _ => lived,
        };
        assert_eq!(told, wanted);
        self.settled(who, account, id, stored, forgotten);
        let event_type =
            EventType::new(if account.is_some() { "Opened" } else { "Moved" }).unwrap();
        let stream = account.map_or(stream(who), self::account);
        let event = EventRef { stream: &stream, id, event_type: &event_type };
        let opened = codec.open(event, &data, metadata.as_ref()).unwrap();
        let gone = forgotten && account.is_none();
        assert_eq!(!opened.shredded.is_empty(), gone, "what was said is what is read");
    }

    fn settled(
        &mut self,
        who: usize,
        account: Option<usize>,
        id: EventId,
        stored: bool,
        late: bool,
    ) {
        match account.filter(|_| stored) {
            Some(account) if late => self.too_late.push((who, account, id)),
            Some(account) => drop(self.owned.insert(account, who)),
            None => {}
        }
    }

    /// The claims on somebody's accounts that an erasure of theirs does not reach.
    fn not_reached(&self, who: usize) -> BTreeSet<(String, EventId)> {
        let held = self.held.iter().filter(|held| held.who == who);
        let held = held.filter_map(|held| Some((held.account?, held.sealed.id)));
        let left = self.left.iter().filter(|left| left.who == who);
        let late = self.too_late.iter().filter(|(by, ..)| *by == who);
        held.chain(left.map(|left| (left.account, left.event)))
            .chain(late.map(|(_, account, event)| (*account, *event)))
            .map(|(number, event)| (account(number).to_string(), event))
            .collect()
    }
}

async fn run(steps: Vec<Step>) {
    let (vault, policy) = (Vault::in_memory().unwrap(), Policy::parse(POLICY).unwrap());
    let codec = Codec::new(vault.clone(), policy.clone());
    let layer = Oubliette::open(MemoryStore::new(), vault.clone(), policy).await.unwrap();
    let mut world = World::default();
    for step in steps {
        match step {
            Step::Seal(who) => world.seal(&codec, who, false).await,
            Step::Open(who) => world.seal(&codec, who, true).await,
            Step::Stored(at) | Step::Rejected(at) if !world.held.is_empty() => {
                let one = world.held.swap_remove(at.index(world.held.len()));
                world.tell(&codec, one, matches!(step, Step::Stored(_))).await;
            }
            Step::Dropped(at) if !world.held.is_empty() => {
                let one = world.held.swap_remove(at.index(world.held.len()));
                let (who, event, owner_forgotten) = (one.who, one.sealed.id, one.forgotten);
                let left = one.account.map(|account| Left { who, account, event, owner_forgotten });
                world.left.extend(left);
            }
            Step::Settled(at, stored) if !world.left.is_empty() => {
                let one = world.left.swap_remove(at.index(world.left.len()));
                let told = codec.settle(one.event, stored).await.unwrap();
                let wanted = match (stored, one.owner_forgotten) {
                    (true, true) => Settled::OwnerForgotten,
                    (true, false) => Settled::Stored,
                    (false, _) => Settled::Withdrawn,
                };
                assert_eq!(told, wanted);
                world.settled(one.who, Some(one.account), one.event, stored, one.owner_forgotten);
            }
            Step::Stored(_) | Step::Rejected(_) | Step::Dropped(_) | Step::Settled(..) => {}
            Step::Minutes(minutes) => {
                world.minute += minutes;
                vault.pass_time(MINUTE * u32::try_from(minutes).unwrap());
            }
            Step::Forget(who) => forget(&mut world, &vault, &layer, who).await,
        }
        let open = codec.unsettled().unwrap();
        let open: BTreeSet<EventId> = open.iter().map(|claim| claim.event).collect();
        let left = world.left.iter().map(|left| left.event);
        let late = world.too_late.iter().map(|(.., event)| *event);
        assert_eq!(open, left.chain(late).collect(), "what somebody has to see to");
    }
    for one in std::mem::take(&mut world.held) {
        world.tell(&codec, one, true).await;
    }
}

async fn forget(world: &mut World, vault: &Vault, layer: &Oubliette<MemoryStore>, who: usize) {
    let subject = Subject::new(format!("user-{who}")).unwrap();
    if vault.keys_of(&subject).unwrap().is_empty() {
        return;
    }
    let delaying = world.held.iter().filter(|held| held.who == who && held.until > world.minute);
    let last = delaying.map(|held| held.until).max();
    let forgetting = {
        let (layer, subject) = (layer.clone(), subject.clone());
        tokio::spawn(async move { layer.forget(&subject, "they asked").await })
    };
    if let Some(last) = last {
        // As many answers of the committer as an erasure needs, if nothing keeps it waiting.
        for _ in 0..50 {
            vault.flush().await.unwrap();
        }
        assert!(!forgetting.is_finished(), "a permit is held and has not ended");
        vault.pass_time(MINUTE * u32::try_from(last - world.minute).unwrap());
        world.minute = last;
    }
    let erased = forgetting.await.unwrap().unwrap();
    let told = erased.not_reached.iter().map(|open| (open.subject.to_string(), open.event));
    assert_eq!(told.collect::<BTreeSet<_>>(), world.not_reached(who));
    let accounts = world.owned.values().filter(|owner| **owner == who).count();
    assert_eq!(erased.subjects, 1 + accounts as u64, "they, and the accounts that are theirs");
    world.owned.retain(|_, owner| *owner != who);
    world.held.iter_mut().filter(|held| held.who == who).for_each(|held| held.forgotten = true);
    let left = world.left.iter_mut().filter(|left| left.who == who);
    left.for_each(|left| left.owner_forgotten = true);
    layer.reopen(&subject).await.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_permit_delays_until_it_ends_and_then_says_who_was_forgotten(
        steps in prop::collection::vec(step(), 1..24)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(steps));
    }
}
