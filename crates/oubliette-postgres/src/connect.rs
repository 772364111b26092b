//! Connections: how they are made, what is set for each, and the pool that lends them.

use std::{
    future::poll_fn,
    ops::Deref,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::BytesMut;
use deadpool::managed::{self, Metrics, PoolError, RecycleError, RecycleResult, Timeouts};
use oubliette::{TaskError, store::BoxError};
use tokio::{runtime::Handle, task::JoinHandle};
use tokio_postgres::{AsyncMessage, Client, Config, NoTls, Statement, config::SslMode};
use tokio_postgres::{
    Row,
    types::{IsNull, ToSql, Type, to_sql_checked},
};

use crate::{
    Options,
    error::{OpenError, PostgresError},
};

/// What limits a connection at the server: how long it waits for a lock, and, longer, so that it is the lock that is told of,
/// how long a statement takes.
pub(crate) fn timeouts(patience: Duration) -> String {
    let (lock, statement) = (patience.as_millis(), (patience * 2).as_millis());
    // First what would end the others.
    format!(
        "SET statement_timeout = {statement}; SET lock_timeout = {lock}; \
         SET idle_in_transaction_session_timeout = {statement}"
    )
}

/// What our statements mean must not depend on what the database or the role has for its defaults.
///
/// What is acknowledged is on the server's disk: appends, restores and rewritings alike; stricter settings stay. And where row
/// level security would leave rows out, the server refuses the statement instead: what is not seen is not sealed.
const SETTINGS: &str = "SET standard_conforming_strings = on; SET quote_all_identifiers = off; SET transform_null_equals = off; \
    SET row_security = off; SET default_transaction_isolation = 'read committed'; SET default_transaction_deferrable = off; \
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";
/// The connections of the store write, also where opening it was not to.
const WRITES: &str = "SET default_transaction_read_only = off";

/// Makes connections.
pub(crate) struct Manager {
    config: Config,
    #[cfg(feature = "tls")]
    tls: Option<tokio_postgres_rustls::MakeRustlsConnect>,
    /// Run once on each connection, before anything else.
    settings: String,
    /// Whether whoever opens the store wants nothing written by that.
    opens_for_reading: bool,
    /// Prepared on each connection.
    append: String,
}

/// A connection, and what it needs to append.
pub(crate) struct Connection {
    client: Client,
    /// The server's process for it, and since when: where the connection is lost, it is told to end.
    pub(crate) backend: (i32, i64),
    pub(crate) append: Option<Statement>,
}

impl Deref for Connection {
    type Target = Client;
    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Connection {
    /// For a transaction, of which a connection has one at a time.
    pub(crate) fn client_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

pub(crate) type Pool = managed::Pool<Manager>;
pub(crate) type Lent = managed::Object<Manager>;

impl Manager {
    /// # Errors
    /// [`OpenError::Address`], [`OpenError::Tls`].
    pub(crate) fn new(options: &Options, append: String) -> Result<Self, OpenError> {
        let mut config: Config = options.url.parse().map_err(|error: tokio_postgres::Error| {
            // The cause names the part that is wrong, and not what is there.
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            OpenError::Address(cause.unwrap_or_else(|| "it cannot be read".to_owned()))
        })?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(OpenError::Address("it names no host".to_owned()));
        }
        if config.get_application_name().is_none() {
            config.application_name("oubliette");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(options.patience);
        }
        // A server that is gone without a word is noticed: an append would wait for it for a quarter of an hour.
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(options.patience);
        }
        config.keepalives_idle(options.patience.max(Duration::from_secs(1)));
        let settings = format!("{}; {SETTINGS}", timeouts(options.patience));
        let is_asked = |options: &str| options.contains("default_transaction_read_only");
        let opens_for_reading = config.get_options().is_some_and(is_asked);
        #[cfg(feature = "tls")]
        let tls = match config.get_ssl_mode() {
            SslMode::Disable => None,
            _ => Some(tls(options)?),
        };
        #[cfg(not(feature = "tls"))]
        if config.get_ssl_mode() == SslMode::Require {
            return Err(OpenError::Tls(
                "this program was built without the feature `tls`".to_owned(),
            ));
        }
        Ok(Self {
            config,
            #[cfg(feature = "tls")]
            tls,
            settings,
            opens_for_reading,
            append,
        })
    }

    /// Connects, for opening the store. What is wrong with it is told as it is.
    pub(crate) async fn connect_to_open(&self) -> Result<Client, tokio_postgres::Error> {
        let client = self.reach(|_| {}).await?;
        client.batch_execute(&self.settings).await?;
        if !self.opens_for_reading {
            client.batch_execute(WRITES).await?;
        }
        Ok(client)
    }

    /// Connects. What the server says by itself goes to `heard`.
    pub(crate) async fn connect(
        &self,
        heard: impl FnMut(AsyncMessage) + Send + 'static,
    ) -> Result<Client, tokio_postgres::Error> {
        let client = self.reach(heard).await?;
        client.batch_execute(&format!("{}; {WRITES}", self.settings)).await?;
        Ok(client)
    }

    async fn reach(
        &self,
        heard: impl FnMut(AsyncMessage) + Send + 'static,
    ) -> Result<Client, tokio_postgres::Error> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            let (client, connection) = self.config.connect(tls.clone()).await?;
            tokio::spawn(drive(connection, heard));
            return Ok(client);
        }
        let (client, connection) = self.config.connect(NoTls).await?;
        tokio::spawn(drive(connection, heard));
        Ok(client)
    }
}

/// Does a connection's work until it ends. Why it ended, those hear who wait for an answer.
async fn drive<S, T>(
    mut connection: tokio_postgres::Connection<S, T>,
    mut heard: impl FnMut(AsyncMessage),
) where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
        heard(message);
    }
}

#[cfg(feature = "tls")]
fn tls(options: &Options) -> Result<tokio_postgres_rustls::MakeRustlsConnect, OpenError> {
    use std::sync::Arc;

    use rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, pem::PemObject},
    };

    let mut roots = RootCertStore::empty();
    match &options.root_certificate {
        Some(file) => {
            let unreadable = |why: String| {
                OpenError::Tls(format!("the certificate {} cannot be read ({why})", file.display()))
            };
            for certificate in CertificateDer::pem_file_iter(file)
                .map_err(|error| unreadable(error.to_string()))?
            {
                let certificate = certificate.map_err(|error| unreadable(error.to_string()))?;
                roots.add(certificate).map_err(|error| unreadable(error.to_string()))?;
            }
        }
        // Where the system trusts none, no certificate will be good, and that is told.
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| OpenError::Tls(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(tokio_postgres_rustls::MakeRustlsConnect::new(config))
}

/// A connection's process at the server, by which it is found again.
const BACKEND: &str =
    "SELECT pg_backend_pid(), (extract(epoch FROM backend_start) * 1000000)::bigint
    FROM pg_stat_get_activity(pg_backend_pid())";

impl managed::Manager for Manager {
    type Type = Connection;
    type Error = tokio_postgres::Error;

    async fn create(&self) -> Result<Connection, tokio_postgres::Error> {
        let client = self.connect(|_| {}).await?;
        let row = client.query_one(BACKEND, &[]).await?;
        Ok(Connection { client, backend: (row.try_get(0)?, row.try_get(1)?), append: None })
    }

    async fn recycle(
        &self,
        connection: &mut Connection,
        _: &Metrics,
    ) -> RecycleResult<tokio_postgres::Error> {
        match connection.client.is_closed() {
            true => Err(RecycleError::message("closed")),
            false => Ok(()),
        }
    }
}

impl Manager {
    /// The statement that appends, which a connection prepares when it first does.
    pub(crate) async fn append_on(
        &self,
        connection: &mut Connection,
    ) -> Result<Statement, tokio_postgres::Error> {
        if let Some(statement) = &connection.append {
            return Ok(statement.clone());
        }
        let statement = connection.client.prepare(&self.append).await?;
        connection.append = Some(statement.clone());
        Ok(statement)
    }
}

pub(crate) fn pool(manager: Manager, options: &Options) -> Result<Pool, OpenError> {
    let wait = Some(options.patience);
    let timeouts = Timeouts { wait, create: wait, recycle: Some(Duration::from_secs(5)) };
    Pool::builder(manager)
        .max_size(options.connections)
        .timeouts(timeouts)
        .runtime(deadpool::Runtime::Tokio1)
        .build()
        .map_err(|error| OpenError::Server(PostgresError::Client(error.to_string())))
}

/// Lends a connection.
pub(crate) async fn lend(pool: &Pool) -> Result<Lent, PostgresError> {
    pool.get().await.map_err(|error| match error {
        PoolError::Backend(error) => (&error).into(),
        PoolError::Timeout(managed::TimeoutType::Wait) => PostgresError::Busy,
        PoolError::Timeout(_) => PostgresError::Connection("it takes too long to make".to_owned()),
        other => PostgresError::Client(other.to_string()),
    })
}

/// Something that goes on whether it is waited for or not. A reader that is not asked for its next event would otherwise keep a
/// connection for as long: as many of them as there are connections, and nobody gets on.
pub(crate) struct OnItsOwn<T>(JoinHandle<T>);

impl<T: Send + 'static> OnItsOwn<T> {
    pub(crate) fn run(run: impl Future<Output = T> + Send + 'static) -> Result<Self, TaskError> {
        let runtime = Handle::try_current().map_err(|_| TaskError::NoRuntime)?;
        Ok(Self(runtime.spawn(run)))
    }
}

impl<T> Future for OnItsOwn<T> {
    type Output = Result<T, TaskError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|ended| {
            ended.map_err(|error| match error.is_panic() {
                true => TaskError::Panicked,
                false => TaskError::Cancelled,
            })
        })
    }
}

impl<T> Drop for OnItsOwn<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Whether the server only repeats what another one does, and may be behind it.
pub(crate) async fn is_standby(pool: &Pool) -> Result<bool, PostgresError> {
    let rows = query(pool, "SELECT pg_is_in_recovery()", &[]).await?;
    Ok(rows.first().map(|row| row.try_get(0)).transpose()?.unwrap_or(false))
}

/// Runs a query on a connection; again on another one where the first was lost, because it changes nothing. On its own, so
/// that who does not ask for its answer keeps no connection.
pub(crate) async fn query(
    pool: &Pool,
    sql: &str,
    parameters: &[(&(dyn ToSql + Sync), Type)],
) -> Result<Vec<Row>, PostgresError> {
    let encoded = parameters.iter().map(|(value, kind)| Encoded::of(*value, kind));
    let encoded = encoded.collect::<Result<Vec<_>, _>>()?;
    let (pool, sql) = (pool.clone(), sql.to_owned());
    let asked = OnItsOwn::run(async move {
        let parameters: Vec<(&(dyn ToSql + Sync), Type)> =
            encoded.iter().map(|one| (one as &(dyn ToSql + Sync), one.kind.clone())).collect();
        for _ in 0..2 {
            match lend(&pool).await?.query_typed(&sql, &parameters).await {
                Err(error)
                    if matches!(PostgresError::from(&error), PostgresError::Connection(_)) => {}
                rows => return Ok(rows?),
            }
        }
        Ok(lend(&pool).await?.query_typed(&sql, &parameters).await?)
    });
    let ended = |error: TaskError| PostgresError::Client(error.to_string());
    asked.map_err(ended)?.await.map_err(ended)?
}

/// A parameter in the form in which it is sent, which needs nothing of the caller's any more.
#[derive(Debug)]
struct Encoded {
    kind: Type,
    /// `None`: it is null.
    bytes: Option<BytesMut>,
}

impl Encoded {
    fn of(value: &(dyn ToSql + Sync), kind: &Type) -> Result<Self, PostgresError> {
        let mut bytes = BytesMut::new();
        let is_null = value
            .to_sql_checked(kind, &mut bytes)
            .map_err(|error| PostgresError::Client(error.to_string()))?;
        let bytes = matches!(is_null, IsNull::No).then_some(bytes);
        Ok(Self { kind: kind.clone(), bytes })
    }
}

impl ToSql for Encoded {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, BoxError> {
        Ok(match &self.bytes {
            None => IsNull::Yes,
            Some(bytes) => {
                out.extend_from_slice(bytes);
                IsNull::No
            }
        })
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// A connection that was lost while the server was at an append, perhaps.
pub(crate) struct Lost {
    /// The server's process.
    pub(crate) backend: (i32, i64),
    pub(crate) since: Instant,
}

impl Lost {
    /// A new connection, once the server does nothing for the lost one any more: what it had not written by then, it never
    /// will. Until the server can be asked that, nobody knows.
    pub(crate) async fn ended(
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
