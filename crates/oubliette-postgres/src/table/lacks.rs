//! What a table lacks for appending to it, and for changing its events in place.

use tokio_postgres::Client;

use super::{
    TableError,
    catalog::{Table, Unique, uniques},
    mapping::{Checked, quoted},
    shape::{Ids, Kept, Shape},
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
    shape.fixed = fixed(client, table, mapping, &lacks).await?;
    shape.lacks = lacks;
    if shape.recorded.is_none() {
        shape.doubts.push(format!(
            "the mapping of {} names no `recorded`: every event seems to be of the first of January 1970, so that nothing \
             that goes by age may be done with them",
            table.name
        ));
    }
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
async fn fixed(
    client: &Client,
    table: &Table,
    mapping: &Checked,
    lacks: &[String],
) -> Result<Vec<String>, TableError> {
    let mut fixed = lacks.to_vec();
    if mapping.metadata.is_none() {
        fixed.push(format!(
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
        fixed.push(format!(
            "this user may not change payloads and metadata: run GRANT UPDATE ({}) ON {} TO this user",
            denied.join(", "),
            table.sql
        ));
    }
    Ok(fixed)
}
