//! What a table lacks for appending to it, and for changing its events in place.

use oubliette::event::Timestamp;
use tokio_postgres::Client;

use super::{
    TableError,
    catalog::{Table, Unique, uniques},
    mapping::{Checked, quoted},
    shape::{Clock, Column, Ids, Kept, Shape},
};

/// Looks whether events can be appended, and notes what keeps them from it.
pub(super) async fn look(
    client: &Client,
    table: &Table,
    mapping: &Checked,
    shape: &mut Shape,
) -> Result<(), TableError> {
    let uniques = uniques(client, table).await?;
    let mut lacks = Vec::new();
    let mut indexes = Vec::new();
    let mut needs = |found: Option<&Unique>, lacking: String| match found {
        Some(unique) => indexes.push(unique.name.clone()),
        None => lacks.push(lacking),
    };

    let mut place: Vec<&str> = mapping.stream.columns().collect();
    place.push(&mapping.revision);
    let list = place.iter().map(|column| quoted(column)).collect::<Vec<_>>().join(", ");
    let found = uniques.iter().find(|unique| unique.is_on(&place));
    needs(
        found,
        format!(
            "a stream's revisions are not unique: run ALTER TABLE {} ADD UNIQUE ({list})",
            table.sql
        ),
    );

    match (&shape.ids, &mapping.id, &mapping.metadata) {
        (Ids::Uuid(sql) | Ids::Text(sql), Some(id), _) => {
            let found = uniques.iter().find(|unique| unique.is_on(&[id]));
            needs(found, format!("ids are not unique: run ALTER TABLE {} ADD UNIQUE ({sql})", table.sql));
        }
        (Ids::Metadata, _, Some(metadata)) => {
            let found = uniques.iter().find(|unique| unique.is_of(&format!("{metadata}->>'{}'", super::shape::EVENT_ID)));
            let make = Shape::index_on_metadata(&table.sql, metadata);
            needs(found, format!("an event's id is kept in its metadata, where nothing finds it again: run {make}"));
        }
        _ => lacks.push(
            "there is no place for an event's id: map a column of uuid or text as `id`, or one of json or jsonb as `metadata`"
                .to_owned(),
        ),
    }
    shape.other_indexes = indexes;
    if let (Ids::Text(sql), Some(id)) = (&shape.ids, &mapping.id)
        && !table.column("id", id)?.is_exact
    {
        lacks.push(format!(
            "its column `{id}` takes ids that differ for one, because its collation is not deterministic: run ALTER TABLE {} ALTER \
             {sql} TYPE text COLLATE \"C\"",
            table.sql
        ));
    }
    if !table.heirs.is_empty() {
        lacks.push(format!(
            "its unique indexes do not cover the rows of the tables that inherit from it ({}): make them partitions, or run ALTER TABLE … \
             NO INHERIT {} for each",
            table.heirs.join(", "),
            table.sql
        ));
    }

    if shape.recorded.is_none() {
        lacks.push(format!(
            "there is no place for the time: run ALTER TABLE {} ADD recorded timestamptz, and map it as `recorded`",
            table.sql
        ));
    }
    let mapped = mapping.columns();
    let position = table.column("position", &mapping.position)?;
    if shape.sequence.is_none() && !position.has_default {
        lacks.push(format!(
            "nothing gives `{}`, the position, a number: give it a default",
            position.name
        ));
    }
    for column in &table.columns {
        let key = mapped.iter().find(|(_, mapped)| *mapped == column.name).map(|(key, _)| *key);
        let is_left_out = key.is_none_or(|key| key == "position");
        if is_left_out {
            if column.is_required && !column.has_default && !column.is_generated && key.is_none() {
                lacks.push(format!(
                    "its column `{0}` must have a value and the mapping knows none: run ALTER TABLE {1} ALTER {2} SET DEFAULT …",
                    column.name,
                    table.sql,
                    quoted(&column.name)
                ));
            }
        } else if column.is_generated || column.is_identity {
            lacks.push(format!(
                "its column `{}` is computed, and cannot be written to",
                column.name
            ));
        }
    }
    lacks.extend(rights(client, table, shape).await?);
    shape.not_in_place = not_in_place(client, table, mapping, shape, &lacks).await?;
    shape.lacks = lacks;
    if shape.recorded.is_none() {
        shape.doubts.push(format!(
            "the mapping of {} names no `recorded`: every event seems to be of the first of January 1970, so that nothing \
             that goes by age may be done with them",
            table.name
        ));
    }
    shape.doubts.extend(unlikely_times(client, table, shape).await?);
    if matches!(&shape.metadata, Some(column) if column.kind == Kept::Text)
        && matches!(shape.ids, Ids::Nowhere)
    {
        shape.doubts.push(format!(
            "the metadata of {} are text, where no id can be kept: each event has an id that is derived from its place",
            table.name
        ));
    }
    Ok(())
}

/// Whether numbers that are taken for microseconds are something else, as far as the last row tells.
async fn unlikely_times(
    client: &Client,
    table: &Table,
    shape: &Shape,
) -> Result<Option<String>, TableError> {
    // 1990 and 2200.
    const LIKELY: std::ops::Range<i64> = 631_152_000_000_000..7_258_118_400_000_000;
    let Some(Column { sql, kind: Clock::Micros }) = &shape.recorded else { return Ok(None) };
    let last = format!(
        "SELECT t.{sql} FROM {} t WHERE t.{sql} IS NOT NULL ORDER BY t.{} DESC LIMIT 1",
        table.sql, shape.position
    );
    let last = client.query_opt(&last, &[]).await?;
    let last: Option<i64> = last.map(|row| row.try_get(0)).transpose()?;
    Ok(last.filter(|last| !LIKELY.contains(last)).map(|last| {
        format!(
            "the column {sql} of {0}, the time, is taken for microseconds since 1970, and its last row would be of the year {1}: where it \
             counts something else, nothing that goes by age may be done; of milliseconds ALTER TABLE {2} ALTER {sql} TYPE \
             timestamptz USING to_timestamp({sql} / 1000.0) makes what can be mapped",
            table.name,
            Timestamp::from_micros(last).day().to_string().get(..4).unwrap_or_default(),
            table.sql
        )
    }))
}

async fn rights(client: &Client, table: &Table, shape: &Shape) -> Result<Vec<String>, TableError> {
    let mut lacks = Vec::new();
    let may =
        client.query_one("SELECT has_table_privilege($1::oid, 'INSERT')", &[&table.number]).await?;
    if !may.try_get::<_, bool>(0)? {
        lacks.push(format!(
            "this user may not insert: run GRANT INSERT ON {} TO this user",
            table.sql
        ));
    }
    if let Some(sequence) = &shape.sequence {
        // An identity's own sequence asks for no right.
        let may = client
            .query_one(
                "SELECT has_sequence_privilege($1::text, 'USAGE') OR EXISTS (SELECT FROM pg_depend d
                    WHERE d.classid = 'pg_class'::regclass AND d.objid = $1::text::regclass AND d.refobjid = $2 AND d.deptype = 'i')",
                &[sequence, &table.number],
            )
            .await?;
        if !may.try_get::<_, bool>(0)? {
            lacks.push(format!("this user may take no position: run GRANT USAGE ON SEQUENCE {sequence} TO this user"));
        }
    }
    Ok(lacks)
}

/// Why no event can be given other contents. Where nothing can be appended, no tombstone can either: whoever sealed such a
/// table could forget nobody.
async fn not_in_place(
    client: &Client,
    table: &Table,
    mapping: &Checked,
    shape: &Shape,
    lacks: &[String],
) -> Result<Vec<String>, TableError> {
    let mut why = lacks.to_vec();
    if mapping.metadata.is_none() {
        why.push(format!(
            "the mapping names no `metadata`, where is noted what is sealed: run ALTER TABLE {} ADD metadata json, and map it",
            table.sql
        ));
    }
    let mut denied = Vec::new();
    for column in [Some(&mapping.data), mapping.metadata.as_ref()].into_iter().flatten() {
        let sql = "SELECT has_column_privilege($1::oid, $2::text, 'UPDATE')";
        if !client.query_one(sql, &[&table.number, column]).await?.try_get::<_, bool>(0)? {
            denied.push(quoted(column));
        }
    }
    if !denied.is_empty() {
        why.push(format!(
            "this user may not change payloads and metadata: run GRANT UPDATE ({}) ON {} TO this user",
            denied.join(", "),
            table.sql
        ));
    }
    // Where changes are published, the server refuses those of rows that nobody could tell from each other.
    let published = client
        .query(
            "WITH RECURSIVE holder (number) AS (
                SELECT $1::oid UNION SELECT i.inhrelid FROM holder h JOIN pg_inherits i ON i.inhparent = h.number)
             SELECT DISTINCT format('%I', p.pubname), c.oid::regclass::text, c.oid = $1
             FROM holder h JOIN pg_class c ON c.oid = h.number JOIN pg_namespace n ON n.oid = c.relnamespace
                JOIN pg_publication_tables t ON t.schemaname = n.nspname AND t.tablename = c.relname
                JOIN pg_publication p ON p.pubname = t.pubname AND p.pubupdate
             WHERE CASE c.relreplident WHEN 'f' THEN false
                WHEN 'd' THEN NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)
                WHEN 'i' THEN NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisreplident)
                ELSE true END",
            &[&table.number],
        )
        .await?;
    for row in published {
        let (publication, holder): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        // A partition has an index of another name.
        let index = if row.try_get(2)? { quoted(&shape.position_index) } else { "…".to_owned() };
        why.push(format!(
            "the publication {publication} publishes changes of {holder}, which has no replica identity, so that the server refuses \
             them: run ALTER TABLE {holder} REPLICA IDENTITY USING INDEX {index}"
        ));
    }
    Ok(why)
}
