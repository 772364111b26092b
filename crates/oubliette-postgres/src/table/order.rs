//! Whether positions grow as they must: a row that is committed later must not have a position below one that a reader has
//! seen, unless the reader can know that it is still to come.

use tokio_postgres::Client;

use super::{
    TableError,
    catalog::{Found, Table, uniques},
    mapping::{Checked, quoted},
    shape::Shape,
};

/// So many rows at each end show whether positions grow with revisions.
const LOOKED_AT: u32 = 10_000;

/// The sequence that a column's default takes its numbers from.
struct Sequence {
    number: u32,
    sql: String,
    increment: i64,
    cache: i64,
    cycles: bool,
    last: Option<i64>,
    /// Whether this user may look at it.
    is_known: bool,
}

/// Looks where positions come from.
pub(super) async fn look(
    client: &Client,
    table: &Table,
    mapping: &Checked,
    shape: &mut Shape,
) -> Result<(), TableError> {
    let unsafe_ = |why: String| TableError::Unsafe { table: table.name.clone(), why };
    let (column, sql) = (&*mapping.position, &shape.position);
    let Found { is_required, has_default, .. } = *table.column("position", column)?;
    let unique = uniques(client, table).await?.into_iter().find(|unique| unique.is_on(&[column]));
    let Some(unique) = unique else {
        return Err(unsafe_(format!(
            "its column `{column}`, the position, is not unique by itself; run ALTER TABLE {} ADD UNIQUE ({sql})",
            table.sql
        )));
    };
    shape.position_index = unique.name;
    if !is_required {
        return Err(unsafe_(format!(
            "its column `{column}`, the position, may be NULL, and such a row is never read; run ALTER TABLE {} ALTER {sql} \
             SET NOT NULL",
            table.sql
        )));
    }
    if !table.heirs.is_empty() {
        shape.doubts.push(format!(
            "the tables {} inherit from {}, and no index keeps what is in all of them unique: two rows may have one position, so that \
             all streams cannot be read in one order, and nobody can subscribe; make them partitions, or tables of their own (NO INHERIT)",
            table.heirs.join(", "),
            table.name
        ));
        return Ok(());
    }
    // Before the sequence: whatever is inserted meanwhile raises both.
    let highest =
        client.query_one(&format!("SELECT max({sql})::bigint FROM {}", table.sql), &[]).await?;
    let highest: Option<i64> = highest.try_get(0)?;
    let default = of_default(client, table, column).await?;
    let named = match &mapping.sequence {
        Some(name) => Some(by_name(client, name).await?),
        None => None,
    };
    if let (Some(default), Some(named)) = (&default, &named)
        && default.number != named.number
    {
        return Err(TableError::Mapping(format!(
            "`sequence` is {}, and the default of `{column}` takes numbers from {}; leave `sequence` out",
            named.sql, default.sql
        )));
    }
    let has_own_default = default.is_some() || has_default;
    let Some(sequence) = default.or(named) else {
        shape.doubts.push(format!(
            "nothing says that positions grow: the default of the column `{column}` of {} is no sequence's next number; so \
             all streams cannot be read in one order, and nobody can subscribe; name the sequence in the mapping \
             (`sequence`), if whoever inserts takes positions from one, or give the column such a default",
            table.name
        ));
        return Ok(());
    };
    let Sequence { sql: sequence, increment, cache, cycles, last, is_known, .. } = sequence;
    if increment < 1 {
        return Err(unsafe_(format!(
            "the sequence {sequence}, which gives positions, counts downwards"
        )));
    }
    if cache != 1 {
        return Err(unsafe_(format!(
            "the sequence {sequence}, which gives positions, hands out {cache} numbers at once, so that a connection may \
             use a low one late; run ALTER SEQUENCE {sequence} CACHE 1, and connect anew"
        )));
    }
    if cycles {
        shape.doubts.push(format!(
            "the sequence {sequence}, which gives positions, begins anew behind its last number, so that new rows come before \
             old ones: all streams cannot be read in one order, and nobody can subscribe; run ALTER SEQUENCE {sequence} NO CYCLE"
        ));
        return Ok(());
    }
    if let Some(highest) = highest
        && is_known
        && last.is_none_or(|last| last < highest)
    {
        return Err(unsafe_(format!(
            "the sequence {sequence}, which gives positions, is behind the highest one that is there, so that new rows would \
             come before old ones; run SELECT setval('{}', (SELECT max({sql}) FROM {}))",
            sequence.replace('\'', "''"),
            table.sql
        )));
    }
    shape.says_position = !has_own_default;
    shape.sequence = Some(sequence);
    shape.is_ordered = true;
    if let Some(doubt) = contradiction(client, shape).await? {
        shape.doubts.push(doubt);
    }
    Ok(())
}

/// Whether positions fall somewhere in a stream, as far as the first and the last of them tell: to look at all would take long.
async fn contradiction(client: &Client, shape: &Shape) -> Result<Option<String>, TableError> {
    let parts: Vec<String> = (0..shape.parts.len()).map(|part| format!("p.s{part}")).collect();
    let columns =
        shape.parts.iter().enumerate().map(|(at, part)| format!("t.{} AS s{at}", part.sql));
    let columns = columns.collect::<Vec<_>>().join(", ");
    for way in ["ASC", "DESC"] {
        let sql = format!(
            "SELECT q.at::bigint FROM (
                SELECT p.at, p.revision, lag(p.revision) OVER (PARTITION BY {} ORDER BY p.at) AS before
                FROM (SELECT t.{position} AS at, t.{} AS revision, {columns} FROM {} t ORDER BY t.{position} {way} LIMIT {LOOKED_AT}) p
             ) q WHERE q.revision <= q.before ORDER BY q.at LIMIT 1",
            parts.join(", "),
            shape.revision.sql,
            shape.table,
            position = shape.position,
        );
        if let Some(row) = client.query_opt(&sql, &[]).await? {
            let at: i64 = row.try_get(0)?;
            return Ok(Some(format!(
                "at position {at} of {} a stream's revision is not above that of the position before: its rows were numbered in \
                 another order than they were written, so that readers of all streams get them so, and copying them is refused; \
                 number them anew, as the page on tables shows",
                shape.name
            )));
        }
    }
    Ok(None)
}

/// The sequence whose next number is a column's default, and nothing else is.
async fn of_default(
    client: &Client,
    table: &Table,
    column: &str,
) -> Result<Option<Sequence>, TableError> {
    let found = client
        .query_opt(
            "SELECT d.refobjid FROM pg_attrdef f JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid
                JOIN pg_class c ON c.oid = d.refobjid AND c.relkind = 'S'
                JOIN pg_attribute a ON a.attrelid = f.adrelid AND a.attnum = f.adnum
             WHERE f.adrelid = $1 AND a.attname = $2 AND d.refclassid = 'pg_class'::regclass
                AND pg_get_expr(f.adbin, f.adrelid) ~ '^nextval\\(''[^'']*''::regclass\\)$'
             UNION ALL
             SELECT d.objid FROM pg_depend d JOIN pg_class c ON c.oid = d.objid AND c.relkind = 'S'
                JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
             WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype = 'i'
                AND d.refobjid = $1 AND a.attname = $2
             LIMIT 1",
            &[&table.number, &column],
        )
        .await?;
    match found {
        Some(row) => Ok(Some(sequence(client, row.try_get(0)?).await?)),
        None => Ok(None),
    }
}

async fn by_name(client: &Client, name: &str) -> Result<Sequence, TableError> {
    let found = client
        .query_opt(
            "SELECT oid FROM pg_class WHERE oid = to_regclass($1) AND relkind = 'S'",
            &[&name],
        )
        .await?;
    match found {
        Some(row) => sequence(client, row.try_get(0)?).await,
        None => {
            Err(TableError::Mapping(format!("`sequence` is {name}, and there is no such sequence")))
        }
    }
}

async fn sequence(client: &Client, number: u32) -> Result<Sequence, TableError> {
    let row = client
        .query_one(
            "SELECT n.nspname::text, c.relname::text, s.seqincrement, s.seqcache,
                has_sequence_privilege(c.oid, 'SELECT') OR has_sequence_privilege(c.oid, 'USAGE'), s.seqcycle
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_sequence s ON s.seqrelid = c.oid
             WHERE c.oid = $1",
            &[&number],
        )
        .await?;
    let (schema, name): (String, String) = (row.try_get(0)?, row.try_get(1)?);
    let is_known = row.try_get(4)?;
    let last = match is_known {
        true => client
            .query_one("SELECT pg_sequence_last_value($1::oid)", &[&number])
            .await?
            .try_get(0)?,
        false => None,
    };
    Ok(Sequence {
        number,
        sql: format!("{}.{}", quoted(&schema), quoted(&name)),
        increment: row.try_get(2)?,
        cache: row.try_get(3)?,
        cycles: row.try_get(5)?,
        last,
        is_known,
    })
}
