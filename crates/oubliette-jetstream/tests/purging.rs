//! Removing what nobody can read any more.

use std::{fs, path::Path};

use oubliette::{
    audit::verify::VerifyOptions,
    store::{Delivery, Direction, Purge, ReadAllOptions, Removed},
    *,
};

use crate::common::{event, events, fresh, ids_of, name, server};

const SPLIT: &str = r#"
[[stream]]
match = "user-{id}"
layout = "split"
public = ["/number"]
"#;

fn removed(event: &RecordedEvent) -> Removed {
    Removed { stream: event.stream.clone(), revision: event.revision, id: event.id }
}

async fn all(store: &impl EventStore) -> Vec<RecordedEvent> {
    use futures::TryStreamExt as _;
    store.read_all(ReadAllOptions::default()).try_collect().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_revision_and_no_position_is_given_again() {
    let Some(nats) = server() else { return };
    let store = fresh(&nats).await;
    store.append_to(&name("a"), ExpectedRevision::Any, events(3)).await.unwrap();
    let there = all(&store).await;
    let elsewhere = Removed { stream: name("b"), ..removed(&there[0]) };
    let later = Removed { revision: there[1].revision, ..removed(&there[0]) };
    let asked = vec![elsewhere, later, removed(&there[0]), removed(&there[2]), removed(&there[0])];
    assert_eq!(store.remove(asked).await.unwrap(), [false, false, true, true, false]);
    assert_eq!(all(&store).await, [there[1].clone()]);
    let options = ReadOptions { direction: Direction::Backwards, ..ReadOptions::default() };
    assert_eq!(store.events(&name("a"), options).await.unwrap(), [there[1].clone()]);
    let next = store.append_to(&name("a"), ExpectedRevision::Any, vec![event(7)]).await.unwrap();
    assert!(next.revision > there[2].revision && next.position > there[2].position);
    // Who subscribes meets what is there, and is told that it has.
    use futures::StreamExt as _;
    let mut news = store.subscribe(None, Default::default());
    let mut met = Vec::new();
    while let Some(delivery) = news.next().await {
        match delivery.unwrap() {
            Delivery::Event(event) => met.push(event.revision),
            _ => break,
        }
    }
    assert_eq!(met, [there[1].revision, next.revision]);
}

/// Whether any file below holds these bytes.
fn holds(folder: &Path, bytes: &[u8]) -> bool {
    fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => holds(&path, bytes),
            false => {
                fs::read(path).is_ok_and(|file| file.windows(bytes.len()).any(|at| at == bytes))
            }
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_half_that_is_dead_goes_from_the_servers_disk() {
    let Some(nats) = server() else { return };
    let events = fresh(&nats).await;
    let policy = Policy::parse(SPLIT).unwrap();
    let bank = Oubliette::open(events.clone(), Vault::in_memory().unwrap(), policy).await.unwrap();
    let mut asked = Vec::new();
    for n in 0..3 {
        let data = format!(r#"{{"number":{n},"name":"Annika"}}"#);
        let event = NewEvent::new(EventType::new("Moved").unwrap(), Json::parse(&data).unwrap());
        asked.push(event.clone());
        bank.append_to(&name(&format!("user-{n}")), ExpectedRevision::Any, vec![event])
            .await
            .unwrap();
    }
    let half = events.events(&name("user-private-1"), ReadOptions::default()).await.unwrap();
    let stored = half[0].data.as_ref().unwrap().as_bytes().to_vec();
    // What is behind key id and nonce.
    let ciphertext = &stored[stored.len() / 2..stored.len() - 3];
    assert!(holds(&nats.data(), ciphertext));

    bank.forget(&Subject::of(&name("user-1")), "asked").await.unwrap();
    let before = all(&bank).await;
    let done = bank.purge(&events, |_| ()).await.unwrap();
    assert_eq!((done.counts.removed, done.counts.left), (1, 0), "{done:?}");
    assert_eq!(done.former_contents.len(), 2);
    assert_eq!(all(&bank).await, before);
    assert_eq!(ids_of(&events, "user-private-1").await, []);
    assert!(!holds(&nats.data(), ciphertext), "the server keeps it");
    let report = bank.verify(VerifyOptions::default(), |_| {}).await.unwrap();
    assert!(report.is_clean(), "{:?}", report.found);

    // The person comes back, and a writer from before tries again, at a server that was started anew.
    bank.reopen(&Subject::of(&name("user-1"))).await.unwrap();
    let mut nats = nats;
    nats.kill();
    nats.restart();
    let again = vec![asked[1].clone()];
    let retried = bank.append_to(&name("user-1"), ExpectedRevision::Any, again).await.unwrap();
    assert!(retried.already, "{retried:?}");
    assert_eq!(ids_of(&events, "user-public-1").await[0], asked[1].id);
    assert_eq!(ids_of(&events, "user-private-1").await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_dead_within_a_message_stays_and_is_named() {
    let Some(nats) = server() else { return };
    let events = fresh(&nats).await;
    let policy = Policy::sealed_by_default();
    let bank = Oubliette::open(events.clone(), Vault::in_memory().unwrap(), policy).await.unwrap();
    bank.append_to(&name("user-1"), ExpectedRevision::Any, vec![event(1)]).await.unwrap();
    bank.forget(&Subject::of(&name("user-1")), "asked").await.unwrap();
    let done = bank.purge(&events, |_| ()).await.unwrap();
    assert_eq!((done.counts.removed, done.counts.emptied, done.counts.left), (0, 0, 1));
    assert!(done.left[0].why.contains("split"), "{:?}", done.left);
}
