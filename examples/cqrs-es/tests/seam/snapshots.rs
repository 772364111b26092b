//! Snapshots: sealed, used, and gone with any of the events that they are made of.

use cqrs_es::{
    EventStore,
    persist::{PersistedEventRepository, PersistedEventStore},
};
use oubliette::event::Subject;
use oubliette_cqrs_es::bank::{Account, AccountCommand, AccountEvent};
use oubliette_cqrs_es::stream_of;

use crate::world::{
    ANSWER_LOST, Faulty, OF_ADA, OF_BEN, Sealed, Store, World, assert_has_none, bank, deposit,
    life, live, seal_error,
};

fn snapshots(world: &World) -> Store<Sealed> {
    PersistedEventStore::new_snapshot_store(world.sealed(), 2)
}

fn states(world: &World) -> Store<Sealed> {
    PersistedEventStore::new_aggregate_store(world.sealed())
}

const COUNT: &str = "SELECT count(*) FROM snapshots";
const KEPT: &str = "SELECT count(*) FROM snapshots WHERE payload ->> '$snapshot' = 'sealed'";

async fn load(store: &Store<Sealed>, account: &str) -> Account {
    store.load_aggregate(account).await.unwrap().aggregate
}

#[tokio::test]
async fn a_snapshot_is_used() {
    let Some(world) = World::new().await else { return };
    for (account, make) in [("1", snapshots as fn(&World) -> _), ("2", states)] {
        live(&bank(make(&world)), account, life(OF_ADA, "customer-1")).await;
        let whole = load(&make(&world), account).await;
        assert_eq!((whole.balance, whole.holder.as_deref()), (50, Some("Ringelnatz")));
        // It alone says so: the events that it covers are not there any more.
        world.run("DELETE FROM events").await;
        assert_eq!(load(&make(&world), account).await, whole);
    }
    assert_eq!((world.number(COUNT).await, world.number(KEPT).await), (2, 2));
    assert_has_none(&world.dump().await, &OF_ADA);
}

#[tokio::test]
async fn a_snapshot_is_gone_with_its_aggregate() {
    let Some(world) = World::new().await else { return };
    for (account, make) in [("1", snapshots as fn(&World) -> _), ("2", states)] {
        live(&bank(make(&world)), account, life(OF_ADA, "customer-1")).await;
    }
    world.forget("customer-1").await;
    for (account, make) in [("1", snapshots as fn(&World) -> _), ("2", states)] {
        // Not the blank aggregate that would be opened anew.
        let forgotten = load(&make(&world), account).await;
        let Account { holder, balance, is_open, is_forgotten } = forgotten;
        assert_eq!((holder, balance, is_open, is_forgotten), (None, 50, true, true));
        let context = make(&world).load_aggregate(account).await.unwrap();
        assert_eq!(context.current_sequence, 4);
    }
}

#[tokio::test]
async fn an_old_snapshot_brings_nobody_back() {
    let Some(world) = World::new().await else { return };
    let store = snapshots(&world);
    live(&bank(snapshots(&world)), "1", life(OF_ADA, "customer-1")).await;
    let plain = bank(PersistedEventStore::new_snapshot_store(world.plain(), 2));
    live(&plain, "clear", life(OF_ADA, "customer-1")).await;
    world.run("CREATE TABLE backup AS TABLE snapshots; CREATE TABLE old AS TABLE events").await;
    world.forget("customer-1").await;

    // Last night's tables are put back.
    world.run("DELETE FROM snapshots; INSERT INTO snapshots SELECT * FROM backup").await;
    world.run("DELETE FROM events; INSERT INTO events SELECT * FROM old").await;
    let account = load(&store, "1").await;
    assert_eq!((account.holder, account.is_forgotten), (None, true));

    // So is a snapshot from before anything was sealed.
    world
        .run(
            "UPDATE snapshots s SET payload = c.payload FROM snapshots c \
             WHERE s.aggregate_id = '1' AND c.aggregate_id = 'clear'",
        )
        .await;
    let account = load(&store, "1").await;
    assert_eq!((account.holder, account.is_forgotten), (None, true));
}

#[tokio::test]
async fn a_snapshot_in_clear_is_replaced_by_the_next_one() {
    let Some(world) = World::new().await else { return };
    let plain = bank(PersistedEventStore::new_snapshot_store(world.plain(), 2));
    live(&plain, "1", life(OF_ADA, "customer-1")).await;
    let bank = bank(snapshots(&world));
    for _ in 0..2 {
        bank.execute("1", deposit(1)).await.unwrap();
    }
    assert_eq!((world.number(COUNT).await, world.number(KEPT).await), (1, 1));
    let snapshot = world.texts("SELECT payload::text FROM snapshots").await.join("");
    assert_has_none(&snapshot, &OF_ADA);
    assert_eq!(load(&snapshots(&world), "1").await.balance, 52);
}

#[tokio::test]
async fn a_snapshot_that_was_moved_is_tampered_with() {
    let Some(world) = World::new().await else { return };
    live(&bank(snapshots(&world)), "1", life(OF_ADA, "customer-1")).await;
    live(&bank(snapshots(&world)), "2", life(OF_BEN, "customer-2")).await;
    world.run("CREATE TABLE kept AS TABLE snapshots").await;
    for change in [
        "UPDATE snapshots s SET payload = o.payload FROM snapshots o \
         WHERE s.aggregate_id = '1' AND o.aggregate_id = '2'",
        "UPDATE snapshots SET current_snapshot = 7",
        "UPDATE snapshots SET last_sequence = 2",
        "UPDATE snapshots s SET payload = json_build_object('$snapshot', 'sealed', 'data', e.payload, 'metadata', e.metadata) \
         FROM events e WHERE e.aggregate_id = s.aggregate_id AND e.sequence = 2",
    ] {
        world.run(change).await;
        let error = snapshots(&world).load_aggregate("1").await.err().expect(change);
        assert!(seal_error(&error).is_tampered(), "{change}: {error}");
        world.run("DELETE FROM snapshots; INSERT INTO snapshots SELECT * FROM kept").await;
    }
    assert_eq!(load(&snapshots(&world), "1").await.balance, 50);
}

#[tokio::test]
async fn of_an_account_that_changed_hands_no_snapshot_outlives_the_first_holder() {
    let Some(world) = World::new().await else { return };
    let holder = "Okonkwo".to_owned();
    let transfer =
        || AccountCommand::Transfer { customer: "customer-2".to_owned(), holder: holder.clone() };
    for (account, make) in [("1", snapshots as fn(&World) -> _), ("2", states)] {
        let bank = bank(make(&world));
        live(&bank, account, life(OF_ADA, "customer-1")).await;
        bank.execute(account, transfer()).await.unwrap();
        for _ in 0..3 {
            bank.execute(account, deposit(1)).await.unwrap();
        }
        let both = load(&make(&world), account).await;
        assert_eq!((both.holder.as_deref(), both.balance), (Some("Okonkwo"), 53));
    }
    assert_eq!((world.number(COUNT).await, world.number(KEPT).await), (2, 0));

    world.forget("customer-1").await;
    for (account, make) in [("1", snapshots as fn(&World) -> _), ("2", states)] {
        let events = world.events(account).await;
        let is_hole = |event: &AccountEvent| matches!(event, AccountEvent::HolderForgotten { .. });
        let holes: Vec<_> = events.iter().map(is_hole).collect();
        assert_eq!(holes, [true, true, true, true, false, false, false, false]);
        let Account { holder, balance, is_forgotten, .. } = load(&make(&world), account).await;
        assert_eq!((holder.as_deref(), balance, is_forgotten), (Some("Okonkwo"), 53, false));
        bank(make(&world)).execute(account, deposit(1)).await.unwrap();
    }
}

#[tokio::test]
async fn what_was_folded_before_the_first_snapshot_counts_as_well() {
    let Some(world) = World::new().await else { return };
    let store = || PersistedEventStore::<_, Account>::new_snapshot_store(world.sealed(), 4);
    let transfer = AccountCommand::Transfer {
        customer: "customer-2".to_owned(),
        holder: "Okonkwo".to_owned(),
    };
    let open = life(OF_ADA, "customer-1").remove(0);
    live(&bank(store()), "1", vec![open.clone(), transfer, deposit(1), deposit(1)]).await;
    // The last event is Ben's, and so would be the snapshot; the first one is Ada's.
    assert_eq!((world.number(COUNT).await, world.number(KEPT).await), (1, 0));
    live(&bank(store()), "2", vec![open, deposit(1), deposit(1), deposit(1)]).await;
    assert_eq!((world.number(COUNT).await, world.number(KEPT).await), (2, 1));
}

#[tokio::test]
async fn events_of_several_people_leave_no_snapshot() {
    // Each booking belongs to whom it names; a snapshot names nobody.
    for otherwise in ["", "otherwise = 'stream'"] {
        let policy = format!(
            "[[stream]]\nmatch = 'Account-{{id}}'\nsubject = 'payee-{{/CheckWritten/payee}}'\n{otherwise}"
        );
        let Some(world) = World::under(&policy).await else { return };
        let bank = bank(snapshots(&world));
        let event = |payee: &str| AccountEvent::CheckWritten {
            amount: 1,
            balance: 1,
            payee: payee.to_owned(),
            number: "0042".to_owned(),
        };
        for payee in ["Weiss", "Weiss", "Feldmann", "Feldmann"] {
            let store = snapshots(&world);
            let context = store.load_aggregate("1").await.unwrap();
            store.commit(vec![event(payee)], context, [].into()).await.unwrap();
        }
        drop(bank);
        assert_eq!((world.number(COUNT).await, world.number(KEPT).await), (1, 0));
        let dump = world.dump().await;
        assert_has_none(&dump, &["\"balance\":1"]);

        world.forget("payee-Weiss").await;
        let events = world.events("1").await;
        let gone = AccountEvent::HolderForgotten { balance: None };
        assert_eq!(events, [gone.clone(), gone, event("Feldmann"), event("Feldmann")]);
        snapshots(&world).load_aggregate("1").await.unwrap();
    }
}

#[tokio::test]
async fn who_comes_back_is_written_to_again() {
    let Some(world) = World::new().await else { return };
    for (account, make) in [("1", snapshots as fn(&World) -> _), ("2", states)] {
        live(&bank(make(&world)), account, life(OF_ADA, "customer-1")).await;
    }
    world.forget("customer-1").await;
    world.layer.reopen(&Subject::new("customer-1").unwrap()).await.unwrap();
    for (account, make) in [("1", snapshots as fn(&World) -> _), ("2", states)] {
        let stream = stream_of::<Account>(account).unwrap();
        world.layer.reopen(&Subject::of(&stream)).await.unwrap();
        let store = make(&world);
        // The application admits them in its own way.
        let event = AccountEvent::AccountTransferred {
            customer: "customer-1".to_owned(),
            holder: "Ringelnatz".to_owned(),
        };
        let context = store.load_aggregate(account).await.unwrap();
        store.commit(vec![event], context, [].into()).await.unwrap();
        let bank = bank(make(&world));
        for _ in 0..5 {
            bank.execute(account, deposit(1)).await.unwrap();
        }
        let Account { holder, balance, is_forgotten, .. } = load(&store, account).await;
        assert_eq!((holder.as_deref(), balance, is_forgotten), (Some("Ringelnatz"), 55, false));
    }
    // The framework does not know the number of a snapshot that it cannot use, and would insert another row each time.
    assert_eq!(world.number(COUNT).await, 2);
}

#[tokio::test]
async fn a_snapshot_that_was_stored_without_an_answer_is_there_once() {
    let Some(world) = World::new().await else { return };
    let (faulty, fault) = Faulty::new(world.plain());
    fault.store(ANSWER_LOST, std::sync::atomic::Ordering::SeqCst);
    let store = PersistedEventStore::new_snapshot_store(world.around(faulty), 2);
    live(&bank(store), "1", life(OF_ADA, "customer-1")).await;
    assert_eq!((world.number(COUNT).await, world.number(KEPT).await), (1, 1));
    let snapshot = world.sealed().get_snapshot::<Account>("1").await.unwrap().unwrap();
    assert_eq!((snapshot.current_sequence, snapshot.current_snapshot), (4, 2));
}
