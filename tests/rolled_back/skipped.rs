//! Whatever somebody does to the store between two announcements: the later one names the earlier, so that nobody
//! can remove it unnoticed. What is announced next names all that no other names, and not the last in the stream alone.

use oubliette::{
    erasure::{ErasureError, export},
    event::{ANNOUNCED, ANNOUNCEMENTS, Announcement, EventId, NewEvent, RecordedEvent},
};

use crate::{
    common::*,
    machine::{Image, Machine},
};

/// A machine that forgot two, and then a third; and an image of before the third.
struct World {
    machine: Machine,
    before: Image,
    victim: EventId,
}

async fn forget(machine: &Machine, user: &str) -> EventId {
    machine.open().await.forget(&subject(user), "asked").await.unwrap();
    all(&machine.store, ANNOUNCEMENTS).await.last().unwrap().id
}

async fn world() -> World {
    let machine = Machine::new();
    let bank = machine.open().await;
    for n in 1..=5 {
        let user = format!(r#"{{"id":{n},"surname":"surname-{n}"}}"#);
        put(&bank, &format!("user-{n}"), event("UserRegistered", &user)).await.unwrap();
    }
    drop(bank);
    for user in ["user-1", "user-2"] {
        forget(&machine, user).await;
    }
    let before = machine.image();
    let victim = forget(&machine, "user-3").await;
    World { machine, before, victim }
}

fn without(missing: EventId) -> impl Fn(Vec<RecordedEvent>) -> Vec<RecordedEvent> + 'static {
    move |events| events.into_iter().filter(|event| event.id != missing).collect()
}

impl World {
    async fn is_missed(&self) {
        match self.machine.try_open().await {
            Err(ErasureError::WitnessGap(events)) => assert_eq!(events, [self.victim]),
            other => panic!("{other:?}"),
        }
    }

    /// The vault as it is misses it, and so does one from before, once there is a later announcement.
    async fn misses_it(self) {
        let own = self.machine.image();
        self.machine.store.tamper(without(self.victim));
        self.is_missed().await;
        self.machine.store.tamper(|all| all);
        self.machine.restore(&own);
        forget(&self.machine, "user-4").await;
        self.machine.store.tamper(without(self.victim));
        self.machine.restore(&self.before);
        self.is_missed().await;
    }
}

#[tokio::test]
async fn a_later_announcement_names_the_one_before_it() {
    world().await.misses_it().await;
}

/// As if the vault were beside a codec for one command.
#[tokio::test]
async fn no_store_that_was_empty_for_a_while_has_one_skipped() {
    let world = world().await;
    let elsewhere = Machine::new();
    elsewhere.restore(&world.machine.image());
    for _ in 0..2 {
        assert!(elsewhere.open().await.witnessed().elsewhere);
    }
    world.machine.restore(&elsewhere.image());
    world.misses_it().await;
}

#[tokio::test]
async fn no_announcement_that_was_moved_to_the_end_for_a_while_has_one_skipped() {
    for moved in [0, 1] {
        let world = world().await;
        world.machine.store.tamper(move |mut events| {
            let revisions: Vec<_> = events.iter().map(|event| event.revision).collect();
            let event = events.remove(moved);
            events.push(event);
            let numbered = events.iter_mut().zip(revisions);
            numbered.for_each(|(event, revision)| event.revision = revision);
            events
        });
        assert!(world.machine.open().await.witnessed().gap);
        world.machine.store.tamper(|all| all);
        drop(world.machine.open().await);
        world.misses_it().await;
    }
}

/// A vault that was put back knows only what it reads, and the last is an old one that was moved there.
#[tokio::test]
async fn no_announcement_that_was_moved_has_one_skipped_by_a_vault_that_was_put_back() {
    let world = world().await;
    world.machine.restore(&world.before);
    world.machine.store.tamper(|mut events| {
        let revisions: Vec<_> = events.iter().map(|event| event.revision).collect();
        let event = events.remove(0);
        events.push(event);
        let numbered = events.iter_mut().zip(revisions);
        numbered.for_each(|(event, revision)| event.revision = revision);
        events
    });
    let bank = world.machine.open().await;
    assert_eq!(bank.witnessed().replayed.len(), 1);
    bank.forget(&subject("user-4"), "asked").await.unwrap();
    drop(bank);
    world.machine.store.tamper(without(world.victim));
    world.machine.restore(&world.before);
    world.is_missed().await;
}

/// They are the vault's word, signed by its key, and name no other.
#[tokio::test]
async fn no_line_of_an_exported_list_has_one_skipped() {
    let world = world().await;
    let lines: Vec<_> = export(&world.machine.vault()).map(Result::unwrap).collect();
    let append = async |id: EventId, line: &Announcement| {
        let mut line = serde_json::to_value(line).unwrap();
        line.as_object_mut().unwrap().remove("id");
        let line = event(ANNOUNCED, &line.to_string());
        put(&world.machine.store, ANNOUNCEMENTS, NewEvent { id, ..line }).await.unwrap();
    };
    append(EventId::random(), &lines[0]).await;
    for line in &lines {
        append(line.id(), line).await;
    }
    let told = world.machine.open().await.witnessed();
    let ids: Vec<_> = lines.iter().map(|line| line.id()).collect();
    assert_eq!((told.forked, told.gap), (ids, false));
    assert_eq!(told.unverifiable.len(), 1, "under another id it is signed by nobody");
    world.misses_it().await;
}

/// Whoever writes to the store can put anything behind it.
#[tokio::test]
async fn nothing_that_is_put_behind_it_hides_that_the_newest_is_missing() {
    let world = world().await;
    put(&world.machine.store, ANNOUNCEMENTS, event("Noise", "{}")).await.unwrap();
    assert_eq!(world.machine.open().await.witnessed().odd.len(), 1);
    assert_eq!(world.machine.open().await.witnessed(), Default::default(), "told once");
    world.misses_it().await;
}
