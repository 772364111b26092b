//! Permits and time: what is sealed delays others until it ends, and is told the truth afterwards.

use std::time::Duration;

use proptest::prelude::*;

use crate::{
    event::{EventType, Json, NewEvent, StreamName, Subject},
    layer::{Codec, EventRef, Oubliette, Sealed, Settled},
    policy::Policy,
    store::MemoryStore,
    vault::Vault,
};

const MINUTE: Duration = Duration::from_secs(60);
const POLICY: &str = "[[stream]]\nmatch = \"user-{id}\"\nlayout = \"inline\"\n";

#[derive(Debug, Clone)]
enum Step {
    Seal(usize),
    /// Of those that are held, this one.
    Stored(prop::sample::Index),
    Rejected(prop::sample::Index),
    Minutes(u64),
    Forget(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..2_usize).prop_map(Step::Seal),
        3 => any::<prop::sample::Index>().prop_map(Step::Stored),
        1 => any::<prop::sample::Index>().prop_map(Step::Rejected),
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
    sealed: Sealed,
}

fn event_type() -> EventType {
    EventType::new("Moved").unwrap()
}

fn stream(who: usize) -> StreamName {
    StreamName::new(format!("user-{who}")).unwrap()
}

async fn tell(codec: &Codec, held: Held, stored: bool) {
    let Held { who, forgotten, sealed, .. } = held;
    let (id, data, metadata) = (sealed.id, sealed.data.clone(), sealed.metadata.clone());
    let told = if stored { sealed.stored().await } else { sealed.rejected().await }.unwrap();
    let lived = if stored { Settled::Stored } else { Settled::Withdrawn };
    assert_eq!(told, if forgotten { Settled::Forgotten } else { lived });
    let (stream, event_type) = (stream(who), event_type());
    let event = EventRef { stream: &stream, id, event_type: &event_type };
    let opened = codec.open(event, &data, metadata.as_ref()).unwrap();
    assert_eq!(!opened.shredded.is_empty(), forgotten, "what was said is what is read");
}

async fn run(steps: Vec<Step>) {
    let (vault, policy) = (Vault::in_memory().unwrap(), Policy::parse(POLICY).unwrap());
    let codec = Codec::new(vault.clone(), policy.clone());
    let layer = Oubliette::open(MemoryStore::new(), vault.clone(), policy).await.unwrap();
    let (mut held, mut minute): (Vec<Held>, u64) = (Vec::new(), 0);
    for step in steps {
        match step {
            Step::Seal(who) => {
                let event = NewEvent::new(event_type(), Json::parse(r#"{"to":"Ulm"}"#).unwrap());
                let sealed = codec.seal(&stream(who), event).await.unwrap();
                held.push(Held { who, until: minute + 5, forgotten: false, sealed });
            }
            Step::Stored(at) | Step::Rejected(at) if !held.is_empty() => {
                let one = held.swap_remove(at.index(held.len()));
                tell(&codec, one, matches!(step, Step::Stored(_))).await;
            }
            Step::Stored(_) | Step::Rejected(_) => {}
            Step::Minutes(minutes) => {
                minute += minutes;
                vault.pass_time(MINUTE * u32::try_from(minutes).unwrap());
            }
            Step::Forget(who) => {
                let subject = Subject::new(format!("user-{who}")).unwrap();
                if vault.keys_of(&subject).unwrap().is_empty() {
                    continue;
                }
                let delaying = held.iter().filter(|held| held.who == who && held.until > minute);
                let last = delaying.map(|held| held.until).max();
                let forgetting = {
                    let (layer, subject) = (layer.clone(), subject.clone());
                    tokio::spawn(async move { layer.forget(&subject, "they asked").await })
                };
                if let Some(last) = last {
                    for _ in 0..50 {
                        tokio::task::yield_now().await;
                    }
                    assert!(!forgetting.is_finished(), "a permit is held and has not ended");
                    vault.pass_time(MINUTE * u32::try_from(last - minute).unwrap());
                    minute = last;
                }
                forgetting.await.unwrap().unwrap();
                held.iter_mut().filter(|held| held.who == who).for_each(|h| h.forgotten = true);
                layer.reopen(&subject).await.unwrap();
            }
        }
    }
    for one in held {
        tell(&codec, one, true).await;
    }
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
