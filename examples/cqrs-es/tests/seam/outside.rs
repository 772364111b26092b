//! The framework's table as a store beneath the layer: to verify it, and to take the events elsewhere.

use cqrs_es::{EventStore, persist::PersistedEventStore};
use oubliette::{
    audit::{
        Severity,
        verify::{Defect, VerifyOptions},
    },
    event::{Content, NewEvent},
    layer::Oubliette,
    store::{EventStoreExt, ReadOptions},
};
use oubliette_cqrs_es::{bank::Account, stream_of};
use oubliette_postgres::{Options, TableMapping, TableStore};

use crate::world::{
    OF_ADA, OF_BEN, World, assert_has_none, bank, deposit, life, live, payloads, seal_error,
};

async fn layer(world: &World) -> Oubliette<TableStore> {
    let mapping = TableMapping::new("events")
        .position("position")
        .stream("{aggregate_type}-{aggregate_id}")
        .revision("sequence")
        .first_revision(1)
        .event_type("event_type")
        .data("payload")
        .metadata("metadata");
    let table = TableStore::open(Options::new(&world.url), mapping).await.unwrap();
    let vault = world.layer.vault().unwrap().clone();
    Oubliette::unresumed(table, vault, world.layer.policy().clone())
}

/// What the table needs to be read as a store.
const ORDER: &str = "ALTER TABLE events ALTER metadata TYPE jsonb, ADD position bigint GENERATED ALWAYS AS IDENTITY UNIQUE";

#[tokio::test]
async fn what_the_seam_sealed_the_layer_opens() {
    let Some(world) = World::new().await else { return };
    world.run(ORDER).await;
    live(&world.bank(), "1", life(OF_ADA, "customer-1")).await;
    live(&world.bank(), "2", life(OF_BEN, "customer-2")).await;
    let layer = layer(&world).await;
    let report = layer.verify(VerifyOptions::default(), |_| {}).await.unwrap();
    assert_eq!((report.events.open, report.count(Severity::Error)), (8, 0), "{report:?}");

    // A row in another's place is found there as well.
    world.run("CREATE TABLE kept AS TABLE events").await;
    world
        .run(
            "UPDATE events e SET payload = o.payload, metadata = o.metadata FROM events o \
             WHERE e.aggregate_id = '1' AND o.aggregate_id = '2' AND e.sequence = 2 AND o.sequence = 2",
        )
        .await;
    let report = layer.verify(VerifyOptions::default(), |_| {}).await.unwrap();
    assert_eq!(report.found.get(&Defect::Tampered), Some(&1), "{report:?}");
    world
        .run(
            "UPDATE events e SET payload = k.payload, metadata = k.metadata FROM kept k \
             WHERE (e.aggregate_id, e.sequence) = (k.aggregate_id, k.sequence)",
        )
        .await;

    world.forget("customer-1").await;
    let report = layer.verify(VerifyOptions::default(), |_| {}).await.unwrap();
    assert_eq!((report.events.open, report.events.shredded), (4, 4), "{report:?}");
    // What was announced of it is in the other store.
    let missed: Vec<_> = report.found.keys().copied().collect();
    assert_eq!(missed, [Defect::TombstonesMissing, Defect::AnnouncementMissing], "{report:?}");
    for (account, is_gone) in [("1", true), ("2", false)] {
        let stream = stream_of::<Account>(account).unwrap();
        for event in layer.events(&stream, ReadOptions::default()).await.unwrap() {
            assert_eq!(matches!(event.content(), Content::Clear(_)), !is_gone, "{event:?}");
            assert_eq!(event.shredded.is_empty(), !is_gone);
        }
    }
    assert_eq!(
        world.store().load_events("2").await.unwrap().len(),
        4,
        "the framework reads it as well"
    );
}

#[tokio::test]
async fn what_was_sealed_in_place_the_seam_opens() {
    let Some(world) = World::new().await else { return };
    world.run(ORDER).await;
    let plain = bank(PersistedEventStore::new_event_store(world.plain()));
    live(&plain, "1", life(OF_ADA, "customer-1")).await;
    let before = world.events("1").await;

    // Row by row, as sealing in place does: under the ids that the table's rows have there.
    let stream = stream_of::<Account>("1").unwrap();
    let layer = layer(&world).await;
    for event in layer.events(&stream, ReadOptions::default()).await.unwrap() {
        let sealed = world.codec.seal(&stream, NewEvent::copy_of(&event)).await.unwrap();
        let mut metadata: serde_json::Map<String, serde_json::Value> =
            sealed.metadata.as_ref().unwrap().to().unwrap();
        metadata.insert("$event_id".to_owned(), sealed.id.to_string().into());
        sqlx::query(
            "UPDATE events SET payload = $1::text::json, metadata = $2 WHERE aggregate_id = '1' AND sequence = $3",
        )
        .bind(sealed.data.as_json().unwrap().as_str())
        .bind(serde_json::Value::from(metadata))
        .bind(i64::try_from(event.revision.0).unwrap() + 1)
        .execute(&world.pool)
        .await
        .unwrap();
        sealed.stored().await.unwrap();
    }
    assert_has_none(&world.dump().await, &OF_ADA);

    // Only where the application says that it was so, and from which table.
    let store = |repository| PersistedEventStore::<_, Account>::new_event_store(repository);
    for repository in [world.sealed(), world.sealed().sealed_in_place("public.other")] {
        let error = store(repository).load_events("1").await.unwrap_err();
        assert!(seal_error(&error).is_tampered(), "{error}");
    }
    let known = || store(world.sealed().sealed_in_place("public.events"));
    assert_eq!(payloads(known().load_events("1").await.unwrap()), before);
    bank(known()).execute("1", deposit(1)).await.unwrap();
    world.forget("customer-1").await;
    let state = known().load_aggregate("1").await.unwrap().aggregate;
    assert_eq!((state.holder, state.balance, state.is_forgotten), (None, 51, true));
}
