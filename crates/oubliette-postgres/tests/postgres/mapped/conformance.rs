//! The contract of an event store, over tables of several kinds, plain and with the layer around it in each layout.

use oubliette::store::conformance::{Fixture, Profile, Violation, run_each};
use oubliette_postgres::TableMapping;
use oubliette_servers::{Postgres, note_case};

use super::{EVENTS, events, layer, table};
use crate::world::{client, postgres};

/// A public field between two that are not, so that objects are taken apart and joined again.
fn profile(kind: &'static str) -> Profile {
    let named = Profile::default().naming(move |tag| format!("{kind}-{tag}"));
    if kind == "sealed" {
        return named;
    }
    named.shaping(|value| {
        format!(
            r#"{{"before":{value},"id":{value},"list":[{{"public":{value},"sealed":1.50}},7]}}"#
        )
    })
}

/// Each case on an empty table: what is in it is read often.
async fn passes(
    kind: &str,
    layout: &'static str,
    postgres: &Postgres,
    (sql, mapping): (String, TableMapping),
) {
    let (name, store) = table(postgres, &sql, mapping).await;
    let app = client(&postgres.url(&name)).await;
    let empty =
        &format!("TRUNCATE {}", store.name().replace("Shop.all.events", r#""Shop"."all.events""#));
    let mut violations: Vec<Violation> = Vec::new();
    let fresh = async || {
        app.batch_execute(empty).await.unwrap();
        match layout {
            "plain" => Fixture::new(store.clone()),
            _ => Fixture::new(layer(store.clone()).await).with_profile(profile(layout)),
        }
    };
    run_each(fresh, |case, result| {
        note_case(&format!("PostgreSQL, a table with {kind}"), layout, case, result.is_ok());
        violations.extend(result.err());
    })
    .await;
    assert!(violations.is_empty(), "{violations:#?}");
}

/// The id in the metadata: of these the table keeps neither the text nor a NUL, where they are `jsonb`.
pub(super) fn without_ids(json: &str) -> (String, TableMapping) {
    let sql = format!(
        "CREATE TABLE events (
            number bigserial PRIMARY KEY,
            kind varchar(200) NOT NULL,
            id varchar(200) NOT NULL,
            version int NOT NULL,
            type varchar(255) NOT NULL,
            body {json} NOT NULL,
            headers {json} NOT NULL,
            at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'),
            UNIQUE (version, kind, id)
        );
        CREATE UNIQUE INDEX ON events ((headers ->> '$event_id'))"
    );
    let mapping = TableMapping::new("public.events")
        .position("number")
        .stream("{kind}-{id}")
        .revision("version")
        .event_type("type")
        .data("body")
        .metadata("headers")
        .recorded("at");
    (sql, mapping)
}

/// One column for the stream, bytes for the payload, ids as text, a time as a number, and a name that is to be quoted.
pub(super) fn with_bytes() -> (String, TableMapping) {
    let sql = r#"CREATE SCHEMA "Shop";
        CREATE SEQUENCE "Shop"."their ""own""";
        CREATE TABLE "Shop"."all.events" (
            "Position" int PRIMARY KEY,
            stream text COLLATE "C" NOT NULL,
            revision smallint NOT NULL,
            "select" text UNIQUE,
            type text NOT NULL,
            data bytea NOT NULL,
            "meta""data" text,
            recorded bigint NOT NULL,
            CONSTRAINT place UNIQUE (stream, revision)
        )"#;
    (sql.to_owned(), named(r#"Shop."all.events""#))
}

/// The mapping of that table, whatever its name is.
pub(super) fn named(table: &str) -> TableMapping {
    TableMapping::new(table)
        .position("Position")
        .sequence(r#"Shop."their ""own""""#)
        .stream("stream")
        .revision("revision")
        .id("select")
        .event_type("type")
        .data("data")
        .metadata(r#"meta"data"#)
        .recorded("recorded")
}

macro_rules! conformance {
    ($($name:ident: $table:expr;)*) => {$(
        mod $name {
            use super::*;

            #[tokio::test(flavor = "multi_thread")]
            async fn plain() {
                let Some(postgres) = postgres() else { return };
                passes(stringify!($name), "plain", &postgres, $table).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn sealed_inline_and_split() {
                let Some(postgres) = postgres() else { return };
                for layout in ["sealed", "inline", "split"] {
                    passes(stringify!($name), layout, &postgres, $table).await;
                }
            }
        }
    )*};
}

conformance! {
    json: (EVENTS.to_owned(), events());
    jsonb: (EVENTS.replace("json", "jsonb"), events());
    ids_in_json: without_ids("json");
    ids_in_jsonb: without_ids("jsonb");
    bytes: with_bytes();
}
