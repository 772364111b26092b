//! Clearing away what events were before they were changed or removed: in the table's pages, in the planner's statistics of it,
//! and in the write-ahead log. What cannot be reached is said, with who has to run what.

use std::time::{Duration, Instant};

use oubliette::store::StoreError;
use tokio_postgres::{Client, error::SqlState, types::Type};

use crate::{connect::Pool, error::PostgresError};

/// Between two looks whether older transactions have ended.
const GLANCE: Duration = Duration::from_millis(50);

/// Writes zeros over every segment of the log that is there to be used again, by going on to the next one so many times.
const PASS: &str = "DO $$ BEGIN FOR segment IN 0..(SELECT count(*) FROM pg_ls_waldir() \
    WHERE substr(name, 9) > substr(pg_walfile_name(pg_current_wal_insert_lsn()), 9)) LOOP \
    PERFORM pg_logical_emit_message(false, 'oubliette', ''); PERFORM pg_switch_wal(); END LOOP; END $$";

/// The tables with the rows of a table: itself, or those that it is made of.
const HOLDERS: &str = "WITH RECURSIVE holder (number) AS (
        SELECT to_regclass($1)::oid
        UNION SELECT i.inhrelid FROM holder h JOIN pg_inherits i ON i.inhparent = h.number)
    SELECT format('%I.%I', n.nspname, c.relname), c.relkind = 'r'
    FROM holder h JOIN pg_class c ON c.oid = h.number JOIN pg_namespace n ON n.oid = c.relnamespace ORDER BY c.oid";

/// The tables that have rows with this one (`kin`), of which it or a part of it is one (`holder`), their indexes, and the views
/// that are made of any of them, also by way of others (`reader`).
const KIN: &str = "WITH RECURSIVE holder (number) AS (
        SELECT to_regclass($1)::oid
        UNION SELECT i.inhrelid FROM holder h JOIN pg_inherits i ON i.inhparent = h.number),
    kin (number) AS (
        SELECT number FROM holder
        UNION SELECT i.inhparent FROM kin k JOIN pg_inherits i ON i.inhrelid = k.number),
    reader (number) AS (
        SELECT number FROM kin
        UNION SELECT w.ev_class FROM reader v
            JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = v.number
            JOIN pg_rewrite w ON w.oid = d.objid JOIN pg_class c ON c.oid = w.ev_class AND c.relkind IN ('v', 'm'))";

/// What has copies of their rows, each in a sentence. A trigger of a table is on each of its parts as well, with the same name.
const ELSEWHERE: &str = "SELECT format('what the trigger %I noted when rows of %s were inserted, changed or removed: look into its function',
        g.tgname, g.tgrelid::regclass)
     FROM kin k JOIN pg_trigger g ON g.tgrelid = k.number
     WHERE NOT g.tgisinternal AND g.tgparentid = 0 AND g.tgtype::int & 28 <> 0 AND g.tgenabled <> 'D'
    UNION ALL
    SELECT format('what the rule %I of %s did with rows that were inserted, changed or removed: look into what it does', w.rulename,
        w.ev_class::regclass)
     FROM kin k JOIN pg_class c ON c.oid = k.number AND c.relkind IN ('r', 'p') JOIN pg_rewrite w ON w.ev_class = k.number
     WHERE w.ev_type <> '1' AND w.ev_enabled <> 'D'
    UNION ALL
    SELECT format('the materialized view %1$s, which is made of %2$s: run REFRESH MATERIALIZED VIEW %1$s, and VACUUM FULL %1$s',
        r.number::regclass, $1)
     FROM reader r JOIN pg_class c ON c.oid = r.number AND c.relkind = 'm'
    UNION ALL
    SELECT DISTINCT format('what subscribers to the publication %I received of %s, as it was: seal it there as well, or remove it', t.pubname,
        $1)
     FROM kin k JOIN pg_class c ON c.oid = k.number JOIN pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_publication_tables t ON t.schemaname = n.nspname AND t.tablename = c.relname
    UNION ALL
    SELECT format('what the planner remembers of the column %I of %s, which ANALYZE left as it was: as a superuser run DELETE FROM \
        pg_statistic WHERE starelid = %L::regclass, and do it again', a.attname, c.oid::regclass, c.oid::regclass)
     FROM (SELECT number, number FROM holder UNION SELECT i.indexrelid, i.indrelid FROM holder h JOIN pg_index i ON i.indrelid = h.number)
            AS o (number, of)
        JOIN pg_class c ON c.oid = o.number JOIN pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_class t ON t.oid = o.of
        JOIN pg_attribute a ON a.attrelid = c.oid AND (a.attstattarget = 0 OR t.reltuples = 0)
     WHERE EXISTS (SELECT FROM pg_stats p WHERE p.schemaname = n.nspname AND p.tablename = c.relname AND p.attname = a.attname)";

/// Transactions that still see what was there before the one with this number. One without a database may be that of a standby,
/// of which only a superuser is told so.
const OLDER: &str = "SELECT format('process %s, %s', a.pid, coalesce(a.state, a.backend_type, 'in a state that only its own user may see')) FROM pg_stat_activity a
        WHERE a.pid <> pg_backend_pid() AND (a.datname IS NULL OR a.datname = current_database())
            AND greatest(age(a.backend_xmin), age(a.backend_xid)) > age($1::text::xid)
    UNION ALL SELECT format('the replication slot %s', s.slot_name) FROM pg_replication_slots s
        WHERE greatest(age(s.xmin), age(s.catalog_xmin)) > age($1::text::xid)
    UNION ALL SELECT format('the prepared transaction %s', p.gid) FROM pg_prepared_xacts p
        WHERE p.database = current_database() AND age(p.transaction) > age($1::text::xid)
    LIMIT 3";

/// Writes the table anew, and what the server keeps of it elsewhere. `table` is its name in SQL, with its schema; `unmapped`
/// are columns of which nobody knows what they hold.
pub(crate) async fn scrub(
    pool: &Pool,
    patience: Duration,
    table: &str,
    unmapped: &[String],
) -> Result<Vec<String>, StoreError> {
    // A connection of its own: it takes as long as the table is large. But nobody is to wait for long behind it, where
    // somebody else keeps the table.
    let client = pool.manager().connect(|_| {}).await.map_err(PostgresError::from)?;
    let settings = "SET statement_timeout = 0";
    client.batch_execute(settings).await.map_err(PostgresError::from)?;
    let mut still = Scrubbing { client: &client, patience, still: Vec::new() };
    still.run(table).await.map_err(StoreError::from)?;
    still.still.extend(unmapped.iter().map(|column| {
        format!(
            "the column `{column}` of {table}, which the mapping does not know: it stays as it is; see that it holds nothing of a \
             person, or empty it and do this again"
        )
    }));
    Ok(still.still)
}

struct Scrubbing<'a> {
    client: &'a Client,
    patience: Duration,
    still: Vec<String>,
}

impl Scrubbing<'_> {
    async fn run(&mut self, table: &str) -> Result<(), PostgresError> {
        self.wait(table).await?;
        let holders = self.holders(table).await?;
        for (holder, has_rows) in &holders {
            if *has_rows {
                let who = "as its owner";
                self.anew(holder, &format!("VACUUM (FULL, ANALYZE) {holder}"), who).await?;
            } else {
                // What is known of all its parts together.
                self.client.batch_execute(&format!("ANALYZE {holder}")).await?;
            }
        }
        // The planner remembers frequent values. What it remembered before is in pages of its own table.
        let mut statistics = vec!["pg_catalog.pg_statistic"];
        let extended = "SELECT EXISTS (SELECT FROM pg_statistic_ext)";
        if self.client.query_one(extended, &[]).await?.try_get(0)? {
            statistics.push("pg_catalog.pg_statistic_ext_data");
        }
        self.wait(statistics[0]).await?;
        for statistics in statistics {
            let who = "as the owner of the database";
            self.anew(statistics, &format!("VACUUM FULL {statistics}"), who).await?;
        }
        self.log().await?;
        self.elsewhere(table).await?;
        self.still.extend([
            "backups of the database, its archived write-ahead log, its standbys and the server's own log, from before: destroy \
             them, or keep them for as long as they are needed, and say so in what you tell the person"
                .to_owned(),
            "blocks of the server's disk that are free now: overwrite them".to_owned(),
        ]);
        Ok(())
    }

    /// Waits until nobody sees any more what was there before now: what somebody sees is kept.
    async fn wait(&mut self, table: &str) -> Result<(), PostgresError> {
        let row = self.client.query_one("SELECT pg_current_xact_id()::xid::text", &[]).await?;
        let now: String = row.try_get(0)?;
        let until = Instant::now() + self.patience;
        loop {
            let rows = self.client.query_typed(OLDER, &[(&now, Type::TEXT)]).await?;
            let who = rows.iter().map(|row| row.try_get(0)).collect::<Result<Vec<String>, _>>()?;
            if who.is_empty() {
                return Ok(());
            }
            if Instant::now() >= until {
                self.still.push(format!(
                    "rows of {table} that older transactions still see ({}): end those, and do it again",
                    who.join("; ")
                ));
                return Ok(());
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    async fn holders(&self, table: &str) -> Result<Vec<(String, bool)>, PostgresError> {
        let rows = self.client.query_typed(HOLDERS, &[(&table, Type::TEXT)]).await?;
        let read = |row: &tokio_postgres::Row| Ok((row.try_get(0)?, row.try_get(1)?));
        rows.iter().map(read).collect()
    }

    async fn file(&self, table: &str) -> Result<Option<u32>, PostgresError> {
        let sql = "SELECT pg_relation_filenode(to_regclass($1))";
        let rows = self.client.query_typed(sql, &[(&table, Type::TEXT)]).await?;
        Ok(rows.first().map(|row| row.try_get(0)).transpose()?.flatten())
    }

    /// Has a table written into another file. Where the right is missing, the server only warns of it, and does nothing.
    async fn anew(&mut self, table: &str, sql: &str, who: &str) -> Result<(), PostgresError> {
        let before = self.file(table).await?;
        let why = match self.client.batch_execute(sql).await {
            Ok(()) if self.file(table).await? != before => return Ok(()),
            Ok(()) => "this user may not write it anew",
            Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
                "somebody else holds it"
            }
            Err(error) => return Err(error.into()),
        };
        self.still.push(format!("pages of {table}, since {why}: {who} run {sql}"));
        Ok(())
    }

    /// What was written to the log is in its segments until these are gone, or written over.
    async fn log(&mut self) -> Result<(), PostgresError> {
        let from = self.client.query_one("SELECT pg_current_wal_insert_lsn()::text", &[]).await?;
        let from: String = from.try_get(0)?;
        // A segment that is not needed any more may be kept under another name, to be used again: so each is used once. The
        // one that is in use is among them at the second time.
        for statement in ["CHECKPOINT", PASS, "CHECKPOINT", PASS, "CHECKPOINT"] {
            if let Err(error) = self.client.batch_execute(statement).await {
                if error.is_closed() {
                    return Err(error.into());
                }
                self.still.push(format!(
                    "the server's write-ahead log (pg_wal), which this user may not renew: as a superuser run twice \
                     CHECKPOINT; {PASS}; and then CHECKPOINT"
                ));
                return Ok(());
            }
        }
        let sql = "SELECT count(*) FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$'
            AND substr(name, 9) <= substr(pg_walfile_name($1::text::pg_lsn), 9)";
        let kept = self.client.query_typed(sql, &[(&from, Type::TEXT)]).await?;
        let kept: i64 = kept.first().map_or(Ok(0), |row| row.try_get(0))?;
        if kept > 0 {
            self.still.push(format!(
                "{kept} segments of the write-ahead log (pg_wal) that are kept for a standby, a replication slot or the archive: \
                 when these have them (pg_replication_slots, pg_stat_archiver, wal_keep_size), do it again"
            ));
        }
        Ok(())
    }

    /// Where the database itself may have copied rows to.
    async fn elsewhere(&mut self, table: &str) -> Result<(), PostgresError> {
        let sql = format!("{KIN} {ELSEWHERE}");
        for row in self.client.query_typed(&sql, &[(&table, Type::TEXT)]).await? {
            self.still.push(row.try_get(0)?);
        }
        Ok(())
    }
}
