//! Whatever somebody does to the store between two announcements: the later one names the earlier, so that nobody
//! can remove it unnoticed. What is announced next names all that no other names, and not the last in the stream alone.

use oubliette::{
    erasure::{
        Compromised, ErasureError, KeyChange, UnclearError, accept_gaps, change_key, export,
    },
    event::{
        ANNOUNCED, ANNOUNCEMENTS, Announcement, EventId, NewEvent, RecordedEvent, Revision,
        Timestamp,
    },
    layer::Oubliette,
};

use super::machine::{Announcements, Image, Machine};
use crate::common::*;

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

/// Five people whom nobody forgot.
async fn people() -> Machine {
    let machine = Machine::new();
    let bank = machine.open().await;
    for n in 1..=5 {
        let user = format!(r#"{{"id":{n},"surname":"surname-{n}"}}"#);
        put(&bank, &format!("user-{n}"), event("UserRegistered", &user)).await.unwrap();
    }
    drop(bank);
    machine
}

async fn world() -> World {
    let machine = people().await;
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
            Err(ErasureError::Unclear(UnclearError::WitnessGap(events))) => {
                assert_eq!(events, [self.victim]);
            }
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
async fn append_lines(machine: &Machine, lines: &[Announcement]) {
    for line in lines {
        let mut text = serde_json::to_value(line).unwrap();
        text.as_object_mut().unwrap().remove("id");
        let said = event(ANNOUNCED, &text.to_string());
        put(&machine.store, ANNOUNCEMENTS, NewEvent { id: line.id(), ..said }).await.unwrap();
    }
}

/// Several lists, each made again.
fn lines(machine: &Machine, many: usize) -> Vec<Announcement> {
    let list = || export(&machine.vault()).map(Result::unwrap);
    std::iter::repeat_with(list).flatten().take(many).collect()
}

#[tokio::test]
async fn no_line_of_an_exported_list_has_one_skipped() {
    let world = world().await;
    let lines = lines(&world.machine, 3);
    append_lines(&world.machine, &lines).await;
    let told = world.machine.open().await.witnessed();
    let ids: Vec<_> = lines.iter().map(|line| line.id()).collect();
    assert_eq!((told.forked, told.gap), (ids, false));
    world.misses_it().await;
}

/// An announcement names sixteen. Here by a copy of the vault, which does not know the victim, and by the vault itself,
/// where the answer to it was lost.
#[tokio::test]
async fn no_number_of_lines_crowds_one_out() {
    for lost in [false, true] {
        let world = world().await;
        world.machine.restore(&world.before);
        let mut victim = world.victim;
        if lost {
            let bank = world.machine.open().await;
            machine_loses_an_answer(&world.machine, &bank).await;
            victim = all(&world.machine.store, ANNOUNCEMENTS).await.last().unwrap().id;
        }
        append_lines(&world.machine, &lines(&world.machine, 40)).await;
        drop(world.machine.open().await);
        World { victim, ..world }.misses_it().await;
    }
    // They were there first.
    let world = world().await;
    append_lines(&world.machine, &lines(&world.machine, 40)).await;
    drop(world.machine.open().await);
    let filled = world.machine.image();
    let victim = forget(&world.machine, "user-5").await;
    world.machine.restore(&filled);
    drop(world.machine.open().await);
    World { victim, ..world }.misses_it().await;
}

async fn machine_loses_an_answer(machine: &Machine, bank: &Oubliette<Announcements>) {
    machine.store.after_announcing(true);
    let pending = bank.forget(&subject("user-5"), "asked").await.unwrap_err();
    assert!(matches!(pending, ErasureError::Pending(_)), "{pending}");
    machine.store.after_announcing(false);
}

fn rotation(compromised: bool) -> KeyChange {
    let compromised =
        compromised.then(|| Compromised { since: Timestamp::now(), keys: Vec::new() });
    KeyChange::Rotate { successor: None, compromised, without_successor: false }
}

/// Where a store has one many times, it is one.
#[tokio::test]
async fn no_announcement_that_is_there_many_times_has_one_skipped() {
    let world = world().await;
    let victim = world.victim;
    // What another copy says, which knows nothing of the victim.
    world.machine.restore(&world.before);
    world.machine.store.tamper(without(victim));
    let other = forget(&world.machine, "user-4").await;
    world.machine.restore(&world.before);
    world.machine.store.tamper(move |mut all| {
        let other = all.iter().find(|event| event.id == other).unwrap().clone();
        let at = all.iter().position(|event| event.id == victim).unwrap();
        all.splice(at..at, std::iter::repeat_n(other, 20));
        for (revision, event) in (0..).zip(&mut all) {
            event.revision = Revision(revision);
        }
        all
    });
    let bank = world.machine.open().await;
    bank.forget(&subject("user-5"), "asked").await.unwrap();
    drop(bank);
    world.machine.store.tamper(without(victim));
    world.machine.restore(&world.before);
    world.is_missed().await;
}

/// Two that name none, because their vaults knew of none, are both named by what comes after them.
#[tokio::test]
async fn none_that_was_said_when_nothing_was_known_is_skipped() {
    // By two copies from before anything was announced.
    let machine = people().await;
    let before = machine.image();
    let other = Machine::new().over_the_store_of(&machine);
    other.restore(&before);
    let (one, two) = (machine.open().await, other.open().await);
    for (bank, user) in [(&two, "user-1"), (&one, "user-2"), (&two, "user-3"), (&two, "user-4")] {
        bank.forget(&subject(user), "asked").await.unwrap();
    }
    drop((one, two));
    let victim = machine.announcements().await[1].id();
    machine.store.tamper(without(victim));
    machine.restore(&before);
    World { machine, before, victim }.is_missed().await;

    // By a vault that was put back, from which the first was hidden.
    let machine = people().await;
    let before = machine.image();
    let victim = forget(&machine, "user-1").await;
    machine.restore(&before);
    machine.store.tamper(without(victim));
    forget(&machine, "user-2").await;
    machine.store.tamper(|mut all| {
        let revisions: Vec<_> = all.iter().map(|event| event.revision).collect();
        all.rotate_left(1);
        all.iter_mut().zip(revisions).for_each(|(event, revision)| event.revision = revision);
        all
    });
    drop(machine.open().await);
    machine.store.tamper(|all| all);
    forget(&machine, "user-3").await;
    machine.store.tamper(without(victim));
    machine.restore(&before);
    World { machine, before, victim }.is_missed().await;
}

/// While the layer is open a copy announces the victim, and the store hides another until that is read.
#[tokio::test]
async fn what_was_learned_by_a_look_that_failed_is_not_skipped() {
    let machine = people().await;
    let hidden = forget(&machine, "user-1").await;
    let before = machine.image();
    let other = Machine::new().over_the_store_of(&machine);
    other.restore(&before);
    let bank = machine.open().await;
    let victim = forget(&other, "user-2").await;
    machine.store.tamper(without(hidden));
    bank.forget(&subject("user-3"), "asked").await.unwrap();
    drop(bank);
    machine.store.tamper(|all| all);
    World { machine, before, victim }.misses_it().await;
}

/// It does not name what the vault saw, or was answered, after it was signed.
#[tokio::test]
async fn no_statement_that_was_signed_before_has_one_skipped() {
    // By a copy that has not read the victim.
    let world = world().await;
    world.machine.restore(&world.before);
    change_key(&world.machine.vault(), &rotation(false)).await.unwrap();
    drop(world.machine.open().await);
    world.misses_it().await;
    // By the vault itself, before it knows that the victim was appended.
    let world = self::world().await;
    let bank = world.machine.open().await;
    machine_loses_an_answer(&world.machine, &bank).await;
    let victim = all(&world.machine.store, ANNOUNCEMENTS).await.last().unwrap().id;
    change_key(bank.vault().unwrap(), &rotation(false)).await.unwrap();
    bank.resume().await.unwrap();
    drop(bank);
    World { victim, ..world }.misses_it().await;
}

/// The vault is closed over one, and applies what came after it. While it is closed, that is removed, too.
#[tokio::test]
async fn what_a_closed_vault_saw_is_missed_as_well() {
    let world = world().await;
    let later = forget(&world.machine, "user-4").await;
    world.machine.restore(&world.before);
    world.machine.store.tamper(without(world.victim));
    world.is_missed().await;
    let victim = world.victim;
    let both = move |all: Vec<RecordedEvent>| without(later)(without(victim)(all));
    world.machine.store.tamper(both);
    accept_gaps(&world.machine.vault(), "ticket 12").await.unwrap();
    let closed = world.machine.try_open().await.unwrap_err();
    assert!(
        matches!(&closed, ErasureError::Unclear(UnclearError::WitnessGap(events)) if *events == [later]),
        "{closed}"
    );
    // Once that is accepted as well, the next one names it: a vault that is put back asks again.
    drop(world.machine.open_past_a_gap().await);
    forget(&world.machine, "user-5").await;
    world.machine.restore(&world.before);
    let closed = world.machine.try_open().await.unwrap_err();
    assert!(
        matches!(&closed, ErasureError::Unclear(UnclearError::WitnessGap(events)) if *events == [later]),
        "{closed}"
    );
}

/// What the stolen key said is passed over, and is in the chain.
#[tokio::test]
async fn one_vault_that_recovers_from_a_theft_has_not_forked() {
    let world = world().await;
    change_key(&world.machine.vault(), &rotation(true)).await.unwrap();
    drop(world.machine.open().await);
    forget(&world.machine, "user-4").await;
    world.machine.restore(&world.before);
    let told = world.machine.open().await.witnessed();
    assert_eq!((told.forked, told.gap), (vec![], false));
    forget(&world.machine, "user-5").await;
    assert_eq!(world.machine.open().await.witnessed(), Default::default());
}

/// Anyone who can write to the store can put anything behind it, and where the store takes an id twice, also under its id.
#[tokio::test]
async fn nothing_that_is_put_behind_it_hides_that_the_newest_is_missing() {
    let world = world().await;
    put(&world.machine.store, ANNOUNCEMENTS, event("Noise", "{}")).await.unwrap();
    assert_eq!(world.machine.open().await.witnessed().odd.len(), 1);
    assert_eq!(world.machine.open().await.witnessed(), Default::default(), "told once");
    world.misses_it().await;

    let world = self::world().await;
    let twin = |mut all: Vec<RecordedEvent>| {
        let mut twin = all.last().unwrap().clone();
        twin.revision = Revision(twin.revision.0 + 1);
        twin.data = Some(event("Noise", "{}").data);
        all.push(twin);
        all
    };
    world.machine.store.tamper(twin);
    assert_eq!(world.machine.open().await.witnessed().odd.len(), 1);
    world.machine.store.tamper(move |all| {
        let victim = all.len() - 1;
        let mut all = twin(all);
        all.remove(victim);
        all
    });
    world.is_missed().await;
}
