//! A connection that was lost while the server was at an append, perhaps.

use std::time::{Duration, Instant};

use crate::{
    connect::{Lent, Pool, lend},
    error::PostgresError,
};

pub(super) struct Lost {
    /// The server's process.
    pub(super) backend: (i32, i64),
    pub(super) since: Instant,
}

impl Lost {
    /// A new connection, once the server does nothing for the lost one any more: what it had not written by then, it never
    /// will. Until the server can be asked that, nobody knows.
    pub(super) async fn ended(
        &self,
        pool: &Pool,
        patience: Duration,
    ) -> Result<Lent, PostgresError> {
        let until = self.since + patience;
        let mut told = None;
        while told.is_none() || Instant::now() < until {
            match self.end(pool).await {
                Ok(Some(connection)) => return Ok(connection),
                Ok(None) => {}
                Err(error) => told = Some(error),
            }
            told.get_or_insert_with(|| PostgresError::Connection("it was lost".to_owned()));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err(told.unwrap_or(PostgresError::Busy))
    }

    async fn end(&self, pool: &Pool) -> Result<Option<Lent>, PostgresError> {
        let connection = lend(pool).await?;
        let (pid, since) = &self.backend;
        let still_there = connection
            .query_opt(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE pid = $1 AND (extract(epoch FROM backend_start) * 1000000)::bigint = $2",
                &[pid, since],
            )
            .await?;
        Ok(still_there.is_none().then_some(connection))
    }
}
