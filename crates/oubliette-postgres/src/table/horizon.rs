//! Which events are decided: those that are there, where nothing can come before them any more.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use tokio_postgres::{Row, types::Type};

use super::Inner;
use crate::PostgresError;

/// Between two looks whether transactions have ended.
const GLANCES: [u64; 6] = [2, 5, 10, 20, 50, 100];

/// What is there now, and who may still put something before it.
///
/// Why nothing is missed. Take a row with a position up to `high` that this look does not see. Its number was drawn from the
/// sequence before that of the row with `high` was, which this look sees; so before this look. Who draws one holds a lock on
/// the sequence until their transaction ends, and on the table from before its default is computed. The list of locks is made
/// after the snapshot was taken. So that transaction is in the list, or has ended since; and once those in the list have
/// ended, a new snapshot shows what they committed. Locks are let go behind the commit, never before it.
///
/// That holds for numbers that the sequence gives one by one, in the transaction that inserts the row.
#[derive(Debug, Default)]
pub(super) struct Round {
    /// The highest position; none where there is nothing.
    pub(super) high: Option<i64>,
    /// Transactions that may have a lower one, and are open.
    pub(super) open: HashSet<String>,
}

/// A transaction that was prepared for a commit in two phases has no process, and another number than before.
fn is_prepared(transaction: &str) -> bool {
    transaction.starts_with('-')
}

impl Inner {
    /// Who holds what a writer holds, in SQL.
    fn holders(&self) -> String {
        let literal = |name: &str| format!("to_regclass('{}')", name.replace('\'', "''"));
        let mut relations = literal(&self.shape.table);
        if let Some(sequence) = &self.shape.sequence {
            relations.push_str(", ");
            relations.push_str(&literal(sequence));
        }
        format!(
            "SELECT DISTINCT virtualtransaction, pid FROM pg_locks
             WHERE locktype = 'relation' AND mode = 'RowExclusiveLock' AND granted AND relation IN ({relations})
                AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
    }

    /// Looks what is there, and who may be before it.
    pub(super) async fn begin_round(&self) -> Result<Round, PostgresError> {
        // One statement: its snapshot is taken before it looks at locks.
        let sql = format!(
            "SELECT m.high, l.virtualtransaction FROM (SELECT max({})::bigint AS high FROM {}) m LEFT JOIN ({}) l ON true",
            self.shape.position,
            self.shape.table,
            self.holders()
        );
        let rows = self.query(&sql, &[]).await?;
        let high = rows.first().map(|row| row.try_get(0)).transpose()?.flatten();
        Ok(Round { high, open: transactions(&rows, 1)? })
    }

    /// Whether the sequence never gave a position that is beyond all that are there. Rows may have been deleted; and where it
    /// cannot be told, it may have.
    pub(super) async fn never_gave(&self, position: i64) -> Result<bool, PostgresError> {
        let Some(sequence) = &self.shape.sequence else { return Ok(false) };
        let sequence = sequence.replace('\'', "''");
        let sql = format!(
            "SELECT CASE WHEN has_sequence_privilege('{sequence}', 'SELECT') OR has_sequence_privilege('{sequence}', 'USAGE')
                THEN coalesce(pg_sequence_last_value('{sequence}'::regclass), 0) < $1 AND NOT pg_is_in_recovery()
                ELSE false END"
        );
        let rows = self.query(&sql, &[(&position, Type::INT8)]).await?;
        Ok(rows.first().map(|row| row.try_get(0)).transpose()?.unwrap_or(false))
    }

    /// Looks which of them have ended.
    pub(super) async fn go_on(&self, round: &mut Round) -> Result<(), PostgresError> {
        let now = transactions(&self.query(&self.holders(), &[]).await?, 0)?;
        let mut next: HashSet<String> = round.open.intersection(&now).cloned().collect();
        // One that is gone may have been prepared, and goes on under another number.
        if round.open.iter().any(|gone| !now.contains(gone) && !is_prepared(gone)) {
            next.extend(now.into_iter().filter(|transaction| is_prepared(transaction)));
        }
        round.open = next;
        Ok(())
    }

    /// The highest position that was there when it was called, once everything up to it is decided.
    pub(super) async fn decided(&self) -> Result<Option<i64>, PostgresError> {
        let mut round = self.begin_round().await?;
        let (until, mut glances) = (Instant::now() + self.patience, GLANCES.into_iter());
        while round.high.is_some() && !round.open.is_empty() {
            if Instant::now() >= until {
                return Err(PostgresError::HeldBack(self.who(&round).await?));
            }
            let pause = glances.next().unwrap_or(100);
            tokio::time::sleep(Duration::from_millis(pause)).await;
            self.go_on(&mut round).await?;
        }
        Ok(round.high)
    }

    /// Some of those who are waited for, in words.
    async fn who(&self, round: &Round) -> Result<String, PostgresError> {
        let sql = format!(
            "SELECT h.pid, coalesce(a.state, 'in a state that only its own user may see'),
                coalesce(extract(epoch FROM now() - a.xact_start)::bigint, 0)
             FROM ({}) h LEFT JOIN pg_stat_activity a ON a.pid = h.pid
             WHERE h.virtualtransaction = ANY ($1) ORDER BY a.xact_start LIMIT 3",
            self.holders()
        );
        let open: Vec<&String> = round.open.iter().collect();
        let mut told = Vec::new();
        for row in self.query(&sql, &[(&open, Type::TEXT_ARRAY)]).await? {
            let (state, seconds): (&str, i64) = (row.try_get(1)?, row.try_get(2)?);
            told.push(match row.try_get::<_, Option<i32>>(0)? {
                Some(pid) => format!("process {pid}, {state}, open for {seconds} s"),
                None => {
                    "one that is prepared and neither committed nor rolled back (pg_prepared_xacts)"
                        .to_owned()
                }
            });
        }
        Ok(if told.is_empty() { "they ended just now".to_owned() } else { told.join("; ") })
    }
}

fn transactions(rows: &[Row], column: usize) -> Result<HashSet<String>, PostgresError> {
    let mut transactions = HashSet::with_capacity(rows.len());
    for row in rows {
        transactions.extend(row.try_get::<_, Option<String>>(column)?);
    }
    Ok(transactions)
}
