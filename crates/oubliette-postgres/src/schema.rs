//! The schema: its versions, how it is made and brought forward, and what is asked of a server.

use tokio_postgres::Client;

use crate::{
    Options, Payloads,
    error::{OpenError, PostgresError},
    rewrite::REMOVED,
};

/// The oldest version of the server: older ones are no longer maintained, and lack what orders transactions for good.
const OLDEST: u32 = 14;

/// What brings a schema from the version that is its index to the next one.
const MIGRATIONS: [&str; 1] = [include_str!("schema/1.sql")];

/// The version that this program writes.
pub(crate) const VERSION: i64 = MIGRATIONS.len() as i64;

/// Where `meta` names the version.
const FORMAT: &str = "format";

/// One who makes or changes a schema keeps others from it: "oubliett" as a number.
const LOCK: i64 = 0x6F75_626C_6965_7474;

/// What a server and a schema are like.
#[derive(Debug, Clone)]
pub(crate) struct Looked {
    pub(crate) payloads: Payloads,
    pub(crate) doubts: Vec<String>,
}

/// Refuses what is no plain name: it stands in SQL as it is.
pub(crate) fn check_name(schema: &str) -> Result<(), OpenError> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let begins = schema.starts_with(|c: char| c.is_ascii_lowercase());
    if begins && schema.len() <= 40 && schema.chars().all(plain) && !schema.starts_with("pg_") {
        return Ok(());
    }
    Err(OpenError::SchemaName(schema.to_owned()))
}

/// Refuses a server that will not do.
pub(crate) async fn check_server(client: &Client) -> Result<(), OpenError> {
    let row = client
        .query_one(
            "SELECT current_setting('server_version_num')::int / 10000, current_setting('server_version'),
                current_setting('server_encoding')",
            &[],
        )
        .await?;
    let (major, version, encoding): (i32, String, String) =
        (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    if u32::try_from(major).unwrap_or(0) < OLDEST {
        return Err(OpenError::OldServer { found: version, needed: OLDEST });
    }
    if encoding != "UTF8" {
        return Err(OpenError::Encoding(encoding));
    }
    Ok(())
}

/// The version of the schema; 0 where there is nothing of ours, and nothing else either.
async fn version(client: &Client, schema: &str) -> Result<i64, OpenError> {
    let others = client
        .query(
            "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname = $1 AND c.relkind IN ('r', 'p', 'v', 'm', 'f') ORDER BY c.relname",
            &[&schema],
        )
        .await?;
    let mut tables = Vec::with_capacity(others.len());
    for row in &others {
        tables.push(row.try_get::<_, String>(0)?);
    }
    if tables.is_empty() {
        return Ok(0);
    }
    let ours = ["clock", "event", "meta", "stream"];
    if !ours.iter().all(|table| tables.iter().any(|found| found == table)) {
        let found = format!("tables such as `{}`", tables[0]);
        return Err(OpenError::NotOurs { schema: schema.to_owned(), found });
    }
    let noted = client
        .query_opt(&format!("SELECT value FROM {schema}.meta WHERE key = $1"), &[&FORMAT])
        .await?;
    let noted: Option<String> = noted.map(|row| row.try_get(0)).transpose()?;
    noted.and_then(|noted| noted.parse().ok()).filter(|version| *version > 0).ok_or_else(|| {
        let found = "its table `meta` names no format".to_owned();
        OpenError::NotOurs { schema: schema.to_owned(), found }
    })
}

/// Makes the schema where there is none, and brings it forward where it is older.
pub(crate) async fn migrate(client: &mut Client, options: &Options) -> Result<(), OpenError> {
    let schema = &options.schema;
    let transaction = client.transaction().await?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await?;
    let known = version(transaction.client(), schema).await?;
    if known > VERSION {
        return Err(OpenError::Newer { schema: schema.clone(), found: known, known: VERSION });
    }
    let from = usize::try_from(known).unwrap_or(0);
    if from == 0 {
        // Somebody who may not make schemas may have been given one.
        let there =
            transaction.query_opt("SELECT FROM pg_namespace WHERE nspname = $1", &[schema]).await?;
        if there.is_none() {
            transaction.batch_execute(&format!("CREATE SCHEMA {schema}")).await?;
        }
    }
    for migration in &MIGRATIONS[from..] {
        let sql =
            migration.replace("{schema}", schema).replace("{payload}", options.payloads.name());
        transaction.batch_execute(&sql).await?;
    }
    if known < VERSION {
        transaction
            .execute(
                &format!(
                    "INSERT INTO {schema}.meta (key, value) VALUES ($1, $2)
                     ON CONFLICT (key) DO UPDATE SET value = excluded.value"
                ),
                &[&FORMAT, &VERSION.to_string()],
            )
            .await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// Looks whether the schema is one that this program works with, and what the server promises.
pub(crate) async fn look(client: &Client, schema: &str) -> Result<Looked, OpenError> {
    let found = version(client, schema).await?;
    let of = || schema.to_owned();
    match found {
        0 => return Err(OpenError::Missing { schema: of() }),
        newer if newer > VERSION => {
            return Err(OpenError::Newer { schema: of(), found, known: VERSION });
        }
        older if older < VERSION => {
            return Err(OpenError::Older { schema: of(), found, known: VERSION });
        }
        _ => {}
    }
    let row = client
        .query_one(
            "SELECT CASE WHEN t.typnamespace = 'pg_catalog'::regnamespace THEN t.typname::text ELSE t.oid::text END,
                c.relpersistence = 'p'
             FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname = $1 AND c.relname = 'event' AND a.attname = 'data'",
            &[&schema],
        )
        .await?;
    let column: String = row.try_get(0)?;
    let payloads = Payloads::ALL.into_iter().find(|payloads| payloads.name() == column);
    let payloads = payloads.ok_or_else(|| OpenError::NotOurs {
        schema: of(),
        found: format!("its table `event` has data of the type {column}"),
    })?;
    if !row.try_get::<_, bool>(1)? {
        return Err(OpenError::Unlogged(format!("{schema}.event")));
    }
    let rights = client
        .query_one(
            "SELECT has_schema_privilege($1, 'USAGE'), has_table_privilege($2, 'SELECT')",
            &[&schema, &format!("{schema}.event")],
        )
        .await?;
    if !(rights.try_get::<_, bool>(0)? && rights.try_get::<_, bool>(1)?) {
        return Err(OpenError::NoRights(format!("on the schema {schema}")));
    }
    check_row_security(client, &format!("{schema}.stream")).await?;
    check_row_security(client, &format!("{schema}.event")).await?;
    Ok(Looked { payloads, doubts: doubts(client).await? })
}

/// Refuses a table some of whose rows this user would not see. `table` is its name in SQL.
pub(crate) async fn check_row_security(client: &Client, table: &str) -> Result<(), OpenError> {
    let is_active = client.query_one("SELECT row_security_active($1::text)", &[&table]).await?;
    match is_active.try_get(0)? {
        true => Err(OpenError::RowSecurity(table.to_owned())),
        false => Ok(()),
    }
}

/// Why an acknowledged event might not outlive a crash of the server.
async fn doubts(client: &Client) -> Result<Vec<String>, PostgresError> {
    let row = client
        .query_one("SELECT current_setting('fsync'), current_setting('full_page_writes')", &[])
        .await?;
    let (fsync, full_pages): (String, String) = (row.try_get(0)?, row.try_get(1)?);
    let mut doubts = Vec::new();
    if fsync == "off" {
        doubts.push(
            "the server runs with fsync = off: after a crash of its machine, events that were acknowledged may be \
             gone, tombstones among them, and the whole database may be damaged; set fsync = on"
                .to_owned(),
        );
    }
    if full_pages == "off" {
        doubts.push(
            "the server runs with full_page_writes = off: a crash of its machine may leave half a page written, and \
             damage what was acknowledged long ago; set full_page_writes = on, unless the file system keeps pages whole"
                .to_owned(),
        );
    }
    Ok(doubts)
}

/// Keeps numbers of transactions growing on a server that was filled from a dump: it counts from another number on.
pub(crate) async fn wind(client: &mut Client, options: &Options) -> Result<(), PostgresError> {
    let schema = &options.schema;
    // The highest number that an event has, or that a removed one had.
    let behind = format!(
        "SELECT greatest((SELECT max(e.tx) FROM {schema}.event e),
                (SELECT m.value::bigint FROM {schema}.meta m WHERE m.key = '{REMOVED}'), -1) + 1 - c.ahead
            - pg_snapshot_xmax(pg_current_snapshot())::text::bigint
         FROM {schema}.clock c"
    );
    let is_behind = async |client: &Client| -> Result<i64, PostgresError> {
        Ok(client.query_one(&behind, &[]).await?.try_get(0)?)
    };
    if is_behind(client).await? <= 0 {
        return Ok(());
    }
    let transaction = client.transaction().await?;
    // Waits for every transaction that appends, and keeps others from beginning.
    let patience = options.patience.as_millis();
    let lock = format!(
        "SET LOCAL lock_timeout = {patience}; LOCK TABLE {schema}.clock IN ACCESS EXCLUSIVE MODE"
    );
    transaction.batch_execute(&lock).await?;
    let by = is_behind(transaction.client()).await?;
    if by > 0 {
        transaction
            .execute(&format!("UPDATE {schema}.clock SET ahead = ahead + $1"), &[&by])
            .await?;
        tracing::warn!(
            by,
            "the server counts transactions from another number on than the one that wrote these events"
        );
    }
    transaction.commit().await?;
    Ok(())
}
