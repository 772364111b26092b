//! What PostgreSQL knows of a table: whether a mapping fits it, and what it lacks.

use tokio_postgres::Client;
use uuid::Uuid;

use super::{
    TableError,
    mapping::{Checked, quoted},
    shape::{Clock, Column, Ids, Kept, Part, Shape},
};
use crate::{OpenError, PostgresError, schema};

/// In it ids are derived for rows that have none.
const SPACE: Uuid = Uuid::from_u128(0x2f1c_9a5e_7d43_4b0f_9c6e_51a8_03d7_e2b4);

/// A column of the table.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) name: String,
    /// The type as people write it, and the one beneath, where it is a domain.
    pub(super) type_name: String,
    pub(super) base: String,
    pub(super) is_required: bool,
    pub(super) has_default: bool,
    pub(super) is_identity: bool,
    pub(super) is_generated: bool,
    /// Whether equal means the same bytes.
    pub(super) is_exact: bool,
}

/// A table as it is found.
pub(super) struct Table {
    pub(super) sql: String,
    pub(super) name: String,
    pub(super) number: u32,
    /// Tables that inherit from it, by name: their rows are read with its own, and no index of it covers them. Not partitions.
    pub(super) heirs: Vec<String>,
    pub(super) columns: Vec<Found>,
}

/// Looks whether the mapping fits, and what the server promises.
pub(super) async fn look(client: &Client, mapping: Checked) -> Result<Shape, TableError> {
    if client.query_one("SELECT pg_is_in_recovery()", &[]).await?.try_get(0)? {
        return Err(TableError::Unsafe {
            table: mapping.table,
            why: "the server is a standby, where nobody sees which transactions are open on the primary; connect to the \
                  primary"
                .to_owned(),
        });
    }
    let table = find(client, &mapping).await?;
    for (key, column) in mapping.columns() {
        table.column(key, column)?;
    }
    let mut shape = shape(&table, &mapping)?;
    super::order::look(client, &table, &mapping, &mut shape).await?;
    super::lacks::look(client, &table, &mapping, &mut shape).await?;
    shape.doubts.extend(doubts(client).await?);
    shape.doubts.extend(collations(client, &table).await?);
    Ok(shape)
}

async fn find(client: &Client, mapping: &Checked) -> Result<Table, TableError> {
    let found = client
        .query_opt(
            "SELECT c.oid, n.nspname::text, c.relname::text, c.relkind::text, c.relpersistence::text,
                has_table_privilege(c.oid, 'SELECT')
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass($1)",
            &[&mapping.table],
        )
        .await?;
    let Some(row) = found else { return Err(TableError::NoTable(mapping.table.clone())) };
    let (schema, relation): (String, String) = (row.try_get(1)?, row.try_get(2)?);
    let name = format!("{schema}.{relation}");
    let is = match &*row.try_get::<_, String>(3)? {
        "r" | "p" => None,
        "v" | "m" => Some("a view"),
        "f" => Some("a foreign table, whose transactions another server has"),
        _ => Some("no table"),
    };
    if let Some(found) = is {
        return Err(TableError::NotATable { table: name, found: found.to_owned() });
    }
    if !row.try_get::<_, bool>(5)? {
        return Err(TableError::NoRights(format!("SELECT on the table {name}")));
    }
    if row.try_get::<_, String>(4)? != "p" {
        return Err(OpenError::Unlogged(name).into());
    }
    let number: u32 = row.try_get(0)?;
    let rows = client
        .query(
            "SELECT a.attname::text, format_type(a.atttypid, a.atttypmod),
                CASE WHEN base.typtype = 'e' THEN 'enum' WHEN base.typnamespace = 'pg_catalog'::regnamespace
                    THEN base.typname::text ELSE '' END,
                a.attnotnull, a.atthasdef OR a.attidentity <> '' OR t.typdefault IS NOT NULL, a.attidentity <> '',
                a.attgenerated <> '', coalesce(l.collisdeterministic, true)
             FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
                JOIN pg_type base ON base.oid = CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.oid END
                LEFT JOIN pg_collation l ON l.oid = a.attcollation
             WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
            &[&number],
        )
        .await?;
    let mut columns = Vec::with_capacity(rows.len());
    for row in &rows {
        columns.push(Found {
            name: row.try_get(0)?,
            type_name: row.try_get(1)?,
            base: row.try_get(2)?,
            is_required: row.try_get(3)?,
            has_default: row.try_get(4)?,
            is_identity: row.try_get(5)?,
            is_generated: row.try_get(6)?,
            is_exact: row.try_get(7)?,
        });
    }
    let heirs = client
        .query(
            "SELECT i.inhrelid::regclass::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhparent AND c.relkind = 'r'
             WHERE i.inhparent = $1 ORDER BY i.inhrelid",
            &[&number],
        )
        .await?;
    let heirs = heirs.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    let sql = format!("{}.{}", quoted(&schema), quoted(&relation));
    schema::check_row_security(client, &sql).await?;
    Ok(Table { sql, name, number, heirs, columns })
}

impl Table {
    pub(super) fn column(&self, key: &'static str, name: &str) -> Result<&Found, TableError> {
        self.columns.iter().find(|column| column.name == name).ok_or_else(|| TableError::NoColumn {
            table: self.name.clone(),
            column: name.to_owned(),
            key,
            columns: self.columns.iter().map(|column| &*column.name).collect::<Vec<_>>().join(", "),
        })
    }

    /// A column, and what its type is good for.
    fn typed<T>(
        &self,
        key: &'static str,
        name: &str,
        fits: &'static str,
        kind: impl FnOnce(&Found) -> Option<T>,
    ) -> Result<Column<T>, TableError> {
        let column = self.column(key, name)?;
        match kind(column) {
            Some(kind) => Ok(Column { sql: quoted(name), kind }),
            None => Err(TableError::ColumnType {
                table: self.name.clone(),
                column: name.to_owned(),
                found: column.type_name.clone(),
                key,
                fits,
            }),
        }
    }
}

fn whole(column: &Found) -> Option<Part> {
    ["int2", "int4", "int8"].into_iter().find(|name| *name == column.base).map(Part::Whole)
}

fn is_text(column: &Found) -> bool {
    matches!(&*column.base, "text" | "varchar")
}

fn kept(column: &Found) -> Option<Kept> {
    match &*column.base {
        "json" => Some(Kept::Json),
        "jsonb" => Some(Kept::Jsonb),
        "bytea" => Some(Kept::Bytes),
        _ => is_text(column).then_some(Kept::Text),
    }
}

fn shape(table: &Table, mapping: &Checked) -> Result<Shape, TableError> {
    const WHOLE: &str = "bigint, integer or smallint";
    let position = table.typed("position", &mapping.position, WHOLE, whole)?;
    let revision = table.typed("revision", &mapping.revision, WHOLE, whole)?;
    let part = |column: &Found| match &*column.base {
        "uuid" => Some(Part::Uuid),
        _ if is_text(column) => column.is_exact.then_some(Part::Text),
        _ => whole(column),
    };
    let fits = "text or varchar with a deterministic collation, uuid, bigint, integer or smallint";
    let parts = mapping.stream.columns().map(|column| table.typed("stream", column, fits, part));
    let parts = parts.collect::<Result<Vec<_>, _>>()?;
    let event_type =
        table.typed("type", &mapping.event_type, "text, varchar or an enum", |column| {
            if column.base == "enum" {
                Some(format!("::{}", column.type_name))
            } else {
                is_text(column).then(String::new)
            }
        })?;
    let data = table.typed("data", &mapping.data, "json, jsonb, text, varchar or bytea", kept)?;
    let metadata = mapping.metadata.as_ref().map(|name| {
        let json = |column: &Found| kept(column).filter(|kind| *kind != Kept::Bytes);
        table.typed("metadata", name, "json, jsonb, text or varchar", json)
    });
    let metadata = metadata.transpose()?;
    let recorded = mapping.recorded.as_ref().map(|name| {
        let fits = "timestamptz, timestamp (taken as UTC), or bigint (microseconds since 1970)";
        table.typed("recorded", name, fits, |column| match &*column.base {
            "timestamptz" => Some(Clock::Zoned),
            "timestamp" => Some(Clock::Utc),
            "int8" => Some(Clock::Micros),
            _ => None,
        })
    });
    let ids = match &mapping.id {
        Some(name) => {
            let is_uuid = |column: &Found| {
                (column.base == "uuid").then_some(true).or(is_text(column).then_some(false))
            };
            let Column { sql, kind } = table.typed("id", name, "uuid, text or varchar", is_uuid)?;
            if kind { Ids::Uuid(sql) } else { Ids::Text(sql) }
        }
        None => match &metadata {
            Some(Column { kind: Kept::Json | Kept::Jsonb, .. }) => Ids::Metadata,
            _ => Ids::Nowhere,
        },
    };
    let required = mapping.metadata.as_ref().map(|name| table.column("metadata", name));
    let required = required.transpose()?.is_some_and(|column| column.is_required);
    Ok(Shape {
        table: table.sql.clone(),
        name: table.name.clone(),
        number: table.number,
        space: Uuid::new_v5(&SPACE, table.name.as_bytes()),
        position: position.sql,
        sequence: None,
        says_position: false,
        template: mapping.stream.clone(),
        parts,
        revision,
        first_revision: mapping.first_revision,
        ids,
        event_type,
        data,
        metadata,
        metadata_required: required,
        recorded: recorded.transpose()?,
        position_index: String::new(),
        other_indexes: Vec::new(),
        is_ordered: false,
        lacks: Vec::new(),
        not_in_place: Vec::new(),
        unmapped: unmapped(table, mapping),
        doubts: Vec::new(),
    })
}

/// The columns that the mapping does not know, of types that hold more than a number or a time. What the database computes of
/// others follows them.
fn unmapped(table: &Table, mapping: &Checked) -> Vec<String> {
    const HARMLESS: [&str; 14] = [
        "int2",
        "int4",
        "int8",
        "float4",
        "float8",
        "numeric",
        "bool",
        "uuid",
        "timestamptz",
        "timestamp",
        "date",
        "time",
        "interval",
        "enum",
    ];
    let mapped = mapping.columns();
    let left = table.columns.iter().filter(|column| {
        let is_mapped = mapped.iter().any(|(_, name)| *name == column.name);
        !is_mapped && !column.is_generated && !HARMLESS.contains(&&*column.base)
    });
    left.map(|column| column.name.clone()).collect()
}

/// An index that keeps its columns unique, for every row and at once.
#[derive(Debug, Clone)]
pub(super) struct Unique {
    pub(super) name: String,
    pub(super) columns: Vec<String>,
    /// Its definition, without parentheses, quotes and spaces, where it is on an expression alone.
    pub(super) expression: Option<String>,
}

impl Unique {
    pub(super) fn is_on(&self, columns: &[&str]) -> bool {
        self.columns.len() == columns.len()
            && columns.iter().all(|column| self.columns.iter().any(|own| own == column))
    }

    pub(super) fn is_of(&self, expression: &str) -> bool {
        self.expression.as_deref() == Some(&*bare(expression))
    }
}

/// Without what PostgreSQL adds when it shows an expression.
fn bare(expression: &str) -> String {
    expression
        .replace("::text", "")
        .chars()
        .filter(|c| !matches!(c, '(' | ')' | '"') && !c.is_whitespace())
        .collect()
}

pub(super) async fn uniques(client: &Client, table: &Table) -> Result<Vec<Unique>, TableError> {
    let rows = client
        .query(
            "SELECT c.relname::text,
                ARRAY(SELECT a.attname::text FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (number, ord)
                    JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number
                    WHERE k.ord <= i.indnkeyatts),
                CASE WHEN i.indexprs IS NOT NULL AND i.indnkeyatts = 1 THEN pg_get_indexdef(i.indexrelid, 1, false) END,
                i.indexprs IS NOT NULL
             FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
             WHERE i.indrelid = $1 AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL",
            &[&table.number],
        )
        .await?;
    let mut uniques = Vec::with_capacity(rows.len());
    for row in &rows {
        let (columns, has_expressions): (Vec<String>, bool) = (row.try_get(1)?, row.try_get(3)?);
        uniques.push(Unique {
            name: row.try_get(0)?,
            columns: if has_expressions { Vec::new() } else { columns },
            expression: row.try_get::<_, Option<String>>(2)?.map(|expression| bare(&expression)),
        });
    }
    Ok(uniques)
}

/// Why an acknowledged event might not outlive a crash of the server.
async fn doubts(client: &Client) -> Result<Vec<String>, PostgresError> {
    let row = client
        .query_one("SELECT current_setting('fsync'), current_setting('full_page_writes')", &[])
        .await?;
    let told = [
        "the server runs with fsync = off: after a crash of its machine, events that were acknowledged may be gone, \
         tombstones among them, and the whole database may be damaged; set fsync = on",
        "the server runs with full_page_writes = off: a crash of its machine may leave half a page written, and damage \
         what was acknowledged long ago; set full_page_writes = on, unless the file system keeps pages whole",
    ];
    let mut doubts = Vec::new();
    for (at, doubt) in told.into_iter().enumerate() {
        if row.try_get::<_, String>(at)? == "off" {
            doubts.push(doubt.to_owned());
        }
    }
    Ok(doubts)
}

/// Where text is sorted by another version of the system's library than when the table's indexes were made: rows are looked for
/// where they are not.
async fn collations(client: &Client, table: &Table) -> Result<Vec<String>, TableError> {
    let of_columns = "SELECT DISTINCT format('%I', l.collname), l.collversion, coalesce(pg_collation_actual_version(l.oid), 'none'),
            format('ALTER COLLATION %I.%I', n.nspname, l.collname)
         FROM pg_index i CROSS JOIN unnest(i.indcollation::oid[]) AS k (number) JOIN pg_collation l ON l.oid = k.number
            JOIN pg_namespace n ON n.oid = l.collnamespace
         WHERE i.indrelid = $1 AND l.collversion IS DISTINCT FROM pg_collation_actual_version(l.oid) AND l.collversion IS NOT NULL";
    // The database's own, where an index goes by it: PostgreSQL 14 noted no version of that.
    let of_the_database = "SELECT format('%I', d.datname), d.datcollversion, coalesce(pg_database_collation_actual_version(d.oid), 'none'),
            format('ALTER DATABASE %I', d.datname)
         FROM pg_database d WHERE d.datname = current_database() AND d.datcollversion IS NOT NULL
            AND d.datcollversion IS DISTINCT FROM pg_database_collation_actual_version(d.oid)
            AND EXISTS (SELECT FROM pg_index i WHERE i.indrelid = $1 AND 'default'::regcollation::oid = ANY (i.indcollation::oid[]))";
    let version = "SELECT current_setting('server_version_num')::int";
    let version: i32 = client.query_one(version, &[]).await?.try_get(0)?;
    let mut doubts = Vec::new();
    for (sql, since) in [(of_columns, 0), (of_the_database, 150_000)] {
        if version < since {
            continue;
        }
        for row in client.query(sql, &[&table.number]).await? {
            let (collation, was, is, alter): (String, String, String, String) =
                (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
            doubts.push(format!(
                "the indexes of {} may be in the order of version {was} of the collation {collation}, and the system has {is}: rows \
                 that are there may not be found, and a stream may be taken for empty; run REINDEX TABLE {}, and then {alter} \
                 REFRESH VERSION",
                table.name, table.sql
            ));
        }
    }
    Ok(doubts)
}
