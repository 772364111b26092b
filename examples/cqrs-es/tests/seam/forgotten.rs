//! One person is forgotten, and the bank goes on.

use std::sync::Arc;

use cqrs_es::{
    AggregateError, EventStore,
    persist::{GenericQuery, PersistedEventStore, QueryReplay},
};
use oubliette::{
    event::{Content, Subject},
    layer::Codec,
    store::{EventStoreExt, ReadOptions},
};
use oubliette_cqrs_es::{
    SealError, SealedRepository, aggregate_of,
    bank::{Account, AccountError, AccountEvent, Statement},
    stream_of,
};
use postgres_es::PostgresViewRepository;

use crate::world::{
    OF_ADA, OF_BEN, Seen, World, assert_has_none, bank, deposit, life, live, seal_error,
};

#[tokio::test]
async fn nothing_is_readable_and_the_bank_goes_on() {
    let Some(world) = World::new().await else { return };
    let bank = world.bank();
    live(&bank, "1", life(OF_ADA, "customer-1")).await;
    live(&bank, "2", life(OF_BEN, "customer-2")).await;
    live(&bank, "3", life(OF_ADA, "customer-1")).await;
    let of_ben = world.events("2").await;
    let rows = world.texts("SELECT e::text FROM events e ORDER BY 1").await;

    let erased = world.forget("customer-1").await;
    assert_eq!(erased.keys, 2, "both of her accounts");
    assert_eq!(
        world.texts("SELECT e::text FROM events e ORDER BY 1").await,
        rows,
        "no row is touched"
    );

    for account in ["1", "3"] {
        let gone = |balance| AccountEvent::HolderForgotten { balance };
        let events = world.events(account).await;
        assert_eq!(events, [gone(None), gone(Some(100)), gone(Some(70)), gone(Some(50))]);
        let state = world.account(account).await;
        let left = Account { holder: None, balance: 50, is_open: true, is_forgotten: true };
        assert_eq!(state, left);
        let envelopes = world.store().load_events(account).await.unwrap();
        assert!(envelopes.iter().all(|event| event.metadata.is_empty()), "of the clerk nothing");
        let refused = bank.execute(account, deposit(1)).await;
        let forgotten = AccountError::HolderForgotten;
        assert!(
            matches!(&refused, Err(AggregateError::UserError(why)) if *why == forgotten),
            "{refused:?}"
        );
    }
    assert_eq!(world.events("2").await, of_ben);
    bank.execute("2", deposit(1)).await.unwrap();
    live(&bank, "4", life(OF_BEN, "customer-4")).await;
    assert_eq!((world.account("2").await.balance, world.account("4").await.balance), (51, 50));
}

#[tokio::test]
async fn an_application_that_does_not_ask_is_refused() {
    let Some(world) = World::new().await else { return };
    live(&world.bank(), "1", life(OF_ADA, "customer-1")).await;
    let store = world.store();
    let before = store.load_aggregate("1").await.unwrap();
    world.forget("customer-1").await;
    let after = store.load_aggregate("1").await.unwrap();
    // Also where it had loaded the account before.
    for context in [before, after] {
        let event =
            AccountEvent::MoneyDeposited { amount: 1, balance: 51, memo: "late".to_owned() };
        let refused = store.commit(vec![event], context, [].into()).await.unwrap_err();
        assert!(seal_error(&refused).is_forgotten(), "{refused}");
    }
    assert_eq!(world.number("SELECT count(*) FROM events").await, 4);
}

#[tokio::test]
async fn without_an_event_for_holes_it_is_an_error_that_says_so() {
    let Some(world) = World::new().await else { return };
    live(&world.bank(), "1", life(OF_ADA, "customer-1")).await;
    live(&world.bank(), "2", life(OF_BEN, "customer-2")).await;
    world.forget("customer-1").await;
    let repository = SealedRepository::new(world.plain(), world.codec.clone());
    let store = PersistedEventStore::<_, Account>::new_event_store(repository);
    let error = store.load_aggregate("1").await.err().unwrap();
    assert!(matches!(seal_error(&error), SealError::NoHoleEvent(_)), "{error}");
    assert!(error.to_string().contains("with_hole_event"));
    store.load_aggregate("2").await.unwrap();
}

#[tokio::test]
async fn a_process_without_the_vault_is_told_so_and_calls_nobody_forgotten() {
    let Some(world) = World::new().await else { return };
    live(&world.bank(), "1", life(OF_ADA, "customer-1")).await;
    let policy = world.layer.policy().clone();
    let blind = Codec::without_vault(policy);
    let repository = SealedRepository::new(world.plain(), blind)
        .with_hole_event::<Account>(AccountEvent::in_place_of);
    let store = PersistedEventStore::<_, Account>::new_event_store(repository);
    let error = store.load_aggregate("1").await.err().unwrap();
    assert!(matches!(seal_error(&error), SealError::Withheld { .. }), "{error}");
}

#[tokio::test]
async fn queries_and_views_are_made_anew() {
    let Some(world) = World::new().await else { return };
    let views = || {
        let views = PostgresViewRepository::new("account_view", world.pool.clone());
        GenericQuery::<_, Statement, Account>::new(Arc::new(views))
    };
    let bank = bank(world.store()).append_query(Box::new(views()));
    live(&bank, "1", life(OF_ADA, "customer-1")).await;
    live(&bank, "2", life(OF_BEN, "customer-2")).await;
    let of_ben = views().load("2").await.unwrap();
    assert!(views().load("1").await.unwrap().lines.join(" ").contains("hospital"));

    // The plan names whose views are to be made anew.
    let customer = Subject::new("customer-1").unwrap();
    let plan = world.layer.plan(&customer).await.unwrap();
    let lost: Vec<_> =
        plan.streams.iter().filter_map(|lost| aggregate_of::<Account>(&lost.stream)).collect();
    assert_eq!(lost, ["1"]);
    world.forget("customer-1").await;
    for account in lost {
        QueryReplay::new(world.sealed(), views()).replay(account).await.unwrap();
    }
    let Statement { holder, balance, lines } = views().load("1").await.unwrap();
    assert_eq!((holder, balance, lines.len()), (None, 50, 4));
    assert_eq!(views().load("2").await.unwrap(), of_ben);
    assert_has_none(&world.dump().await, &OF_ADA);

    let seen = Seen::default();
    QueryReplay::new(world.sealed(), seen.clone()).replay_all().await.unwrap();
    assert!(
        seen.of("1").iter().all(|(_, event)| matches!(event, AccountEvent::HolderForgotten { .. }))
    );
    assert_eq!((seen.of("1").len(), seen.of("2").len()), (4, 4));
}

#[tokio::test]
async fn tombstones_are_in_the_vaults_tables_and_not_in_the_frameworks() {
    let Some(world) = World::new().await else { return };
    live(&world.bank(), "1", life(OF_ADA, "customer-1")).await;
    world.forget("customer-1").await;
    let stream = stream_of::<Account>("1").unwrap();
    let events = world.layer.events(&stream, ReadOptions::default()).await.unwrap();
    let [event] = events.as_slice() else { panic!("{events:?}") };
    assert!(matches!(event.content(), Content::Tombstone(_)));
    assert_eq!(world.number("SELECT count(*) FROM events").await, 4);
}
