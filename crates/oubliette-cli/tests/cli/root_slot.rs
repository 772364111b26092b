//! Forgetting, where a copy of the root slot cannot be reached: not done until it is, and said so.

#![cfg(unix)]

use std::{fs, path::PathBuf};

use oubliette::{
    erasure::{ErasureError, PendingError},
    event::{EventType, Json, NewEvent, StreamName, Subject},
    layer::Oubliette,
    policy::Policy,
    store::{Append, EventStore, EventStoreExt, ExpectedRevision, MemoryStore, ReadOptions},
    vault::{SlotConfig, Vault},
};

struct World {
    temp: tempfile::TempDir,
    store: MemoryStore,
}

impl World {
    fn new() -> Self {
        Self { temp: tempfile::tempdir().unwrap(), store: MemoryStore::default() }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    fn config(&self) -> SlotConfig {
        SlotConfig::from(&self.at("root")).with_mirror(self.at("usb/mirror"))
    }

    async fn over(&self, vault: Vault) -> Oubliette<MemoryStore> {
        let policy = Policy::sealed_by_default();
        Oubliette::open(self.store.clone(), vault, policy).await.unwrap()
    }

    async fn open(&self) -> Oubliette<MemoryStore> {
        self.over(Vault::open(&self.at("vault"), self.config()).unwrap()).await
    }

    fn unplug(&self) {
        fs::rename(self.at("usb"), self.at("unplugged")).unwrap();
    }

    fn plug(&self) {
        fs::rename(self.at("unplugged"), self.at("usb")).unwrap();
    }
}

fn user(n: u8) -> Subject {
    Subject::new(format!("user-{n}")).unwrap()
}

async fn append(layer: &Oubliette<MemoryStore>, n: u8) {
    let stream = StreamName::new(format!("user-{n}")).unwrap();
    let event = NewEvent::new(EventType::new("Born").unwrap(), Json::parse("1").unwrap());
    layer.append(vec![Append::new(stream, ExpectedRevision::Any, vec![event])]).await.unwrap();
}

async fn readable(layer: &Oubliette<MemoryStore>, n: u8) -> bool {
    let stream = StreamName::new(format!("user-{n}")).unwrap();
    let events = layer.events(&stream, ReadOptions::default()).await.unwrap();
    events[0].shredded.is_empty()
}

#[track_caller]
fn pending<T: std::fmt::Debug>(outcome: Result<T, ErasureError>, mirror: &str) -> usize {
    match outcome {
        Err(error @ ErasureError::Pending(PendingError::Mirrors { .. })) => {
            assert!(error.to_string().contains(mirror), "{error}");
            let ErasureError::Pending(PendingError::Mirrors { mirrors, erased }) = error else {
                unreachable!()
            };
            assert_eq!(mirrors.len(), 1);
            erased.len()
        }
        other => panic!("not pending: {other:?}"),
    }
}

#[tokio::test]
async fn an_erasure_is_not_called_done_before_its_last_mirror_is_overwritten() {
    let world = World::new();
    let name = world.at("usb/mirror").display().to_string();
    let layer = world.over(Vault::create(&world.at("vault"), world.config()).unwrap()).await;
    for n in 1..=4 {
        append(&layer, n).await;
    }
    assert_eq!(layer.forget(&user(1), "asked").await.unwrap().keys, 1);
    world.unplug();
    assert_eq!(pending(layer.forget(&user(2), "asked").await, &name), 1);
    // Everything else is done: the keys, the tombstone, the books.
    assert!(!readable(&layer, 2).await && readable(&layer, 3).await);
    assert!(layer.erasures().unwrap().iter().all(|record| record.done));
    // Asked again, it is still not done, nor is another one's; and the layer works.
    assert_eq!(pending(layer.forget(&user(2), "asked").await, &name), 1);
    assert_eq!(pending(layer.forget(&user(3), "asked").await, &name), 1);
    assert_eq!(pending(layer.resume().await, &name), 0);
    append(&layer, 4).await;
    // What was forgotten before it went away is.
    assert!(layer.forget(&user(1), "asked").await.unwrap().already);
    drop(layer);

    // Opened again, with the device still away.
    let layer = world.open().await;
    assert_eq!(pending(layer.forget(&user(3), "asked").await, &name), 1);
    assert!(readable(&layer, 4).await);
    world.plug();
    assert!(layer.resume().await.unwrap().is_empty());
    assert!(layer.forget(&user(2), "asked").await.unwrap().already);
    assert!(!layer.forget(&user(4), "asked").await.unwrap().already);
    let slot = fs::read(world.at("root")).unwrap();
    assert_eq!(slot[..152], fs::read(world.at("usb/mirror")).unwrap()[..152]);
}
