//! What the tests share: a bank over a server of its own.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use cqrs_es::{
    Aggregate, AggregateError, CqrsFramework, EventEnvelope, EventStore, Query,
    persist::{
        PersistedEventRepository, PersistedEventStore, PersistenceError, ReplayStream,
        SerializedEvent, SerializedSnapshot,
    },
};
use oubliette::{
    erasure::Erased,
    event::Subject,
    layer::{Codec, Oubliette},
    policy::Policy,
    vault::Vault,
};
use oubliette_cqrs_es::{
    SealError, SealedRepository,
    bank::{Account, AccountCommand, AccountError, AccountEvent, POLICY},
};
use oubliette_postgres::PostgresStore;
use oubliette_servers::{Postgres, skipped};
use postgres_es::PostgresEventRepository;
use serde_json::Value;
use sqlx::PgPool;

pub(crate) type Plain = PostgresEventRepository;
pub(crate) type Sealed = SealedRepository<Plain>;
pub(crate) type Store<R> = PersistedEventStore<R, Account>;
pub(crate) type Bank<R> = CqrsFramework<Account, Store<R>>;
pub(crate) type BankError = AggregateError<AccountError>;

/// What identifies the two customers of the tests, and must be in no table.
pub(crate) const OF_ADA: [&str; 4] = ["Ringelnatz", "DE02", "hospital", "Weiss"];
pub(crate) const OF_BEN: [&str; 4] = ["Okonkwo", "DE77", "gambling", "Feldmann"];

/// An erasure waits for permits, and this is less than one lasts: so it shows that none is held.
pub(crate) const SOON: Duration = Duration::from_secs(20);

pub(crate) struct World {
    pub(crate) url: String,
    pub(crate) pool: PgPool,
    pub(crate) codec: Codec,
    pub(crate) layer: Oubliette<PostgresStore>,
    // Last, so that nobody is connected when it goes.
    _server: Postgres,
}

impl World {
    pub(crate) async fn new() -> Option<Self> {
        Self::under(POLICY).await
    }

    pub(crate) async fn under(policy: &str) -> Option<Self> {
        let Some(server) = Postgres::start_with(&[("fsync", "off")]) else {
            skipped(
                "OUBLIETTE_REQUIRE_POSTGRES",
                "PostgreSQL (`initdb`, `postgres`) is not installed",
            );
            return None;
        };
        let url = server.database();
        let pool = PgPool::connect(&url).await.unwrap();
        sqlx::raw_sql(include_str!("../../db/init.sql")).execute(&pool).await.unwrap();
        let (vault, policy) = (Vault::in_memory().unwrap(), Policy::parse(policy).unwrap());
        let announced = PostgresStore::create(&url).await.unwrap();
        let layer = Oubliette::open(announced, vault.clone(), policy.clone()).await.unwrap();
        Some(Self { url, pool, codec: Codec::new(vault, policy), layer, _server: server })
    }

    pub(crate) fn plain(&self) -> Plain {
        PostgresEventRepository::new(self.pool.clone())
    }

    pub(crate) fn sealed(&self) -> Sealed {
        self.around(self.plain())
    }

    pub(crate) fn around<R>(&self, inner: R) -> SealedRepository<R> {
        SealedRepository::new(inner, self.codec.clone())
            .with_hole_event::<Account>(AccountEvent::in_place_of)
    }

    pub(crate) fn store(&self) -> Store<Sealed> {
        PersistedEventStore::new_event_store(self.sealed())
    }

    pub(crate) fn bank(&self) -> Bank<Sealed> {
        bank(self.store())
    }

    pub(crate) async fn account(&self, account: &str) -> Account {
        self.store().load_aggregate(account).await.unwrap().aggregate
    }

    pub(crate) async fn events(&self, account: &str) -> Vec<AccountEvent> {
        payloads(self.store().load_events(account).await.unwrap())
    }

    /// Forgets, and does not wait for anybody.
    pub(crate) async fn forget(&self, subject: &str) -> Erased {
        let subject = Subject::new(subject).unwrap();
        let forgetting = self.layer.forget(&subject, "request 7");
        tokio::time::timeout(SOON, forgetting).await.expect("a permit is held").unwrap()
    }

    pub(crate) async fn run(&self, sql: &str) {
        sqlx::raw_sql(sql).execute(&self.pool).await.unwrap();
    }

    pub(crate) async fn texts(&self, sql: &str) -> Vec<String> {
        sqlx::query_scalar(sql).fetch_all(&self.pool).await.unwrap()
    }

    pub(crate) async fn number(&self, sql: &str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.unwrap()
    }

    /// All rows of all tables, as text.
    pub(crate) async fn dump(&self) -> String {
        let tables = "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables \
                      WHERE schemaname NOT IN ('pg_catalog', 'information_schema')";
        let mut dump = String::new();
        for table in self.texts(tables).await {
            dump += &format!("{table}\n");
            dump += &self.texts(&format!("SELECT t::text FROM {table} t")).await.join("\n");
        }
        dump
    }
}

pub(crate) fn bank<R: PersistedEventRepository>(store: Store<R>) -> Bank<R> {
    CqrsFramework::new(store, vec![], ())
}

pub(crate) fn payloads(envelopes: Vec<EventEnvelope<Account>>) -> Vec<AccountEvent> {
    envelopes.into_iter().map(|envelope| envelope.payload).collect()
}

/// What the two customers do: four commands, an event each.
pub(crate) fn life(of: [&str; 4], customer: &str) -> Vec<AccountCommand> {
    let [holder, iban, memo, payee] = of.map(str::to_owned);
    vec![
        AccountCommand::Open { customer: customer.to_owned(), holder, iban },
        AccountCommand::Deposit { amount: 100, memo },
        AccountCommand::Withdraw { amount: 30, machine: "Harbour Street".to_owned() },
        AccountCommand::WriteCheck { amount: 20, payee, number: "0042".to_owned() },
    ]
}

pub(crate) async fn live<R: PersistedEventRepository>(
    bank: &Bank<R>,
    account: &str,
    commands: Vec<AccountCommand>,
) {
    for command in commands {
        let metadata = HashMap::from([("clerk".to_owned(), "Mr. Petersen".to_owned())]);
        bank.execute_with_metadata(account, command, metadata).await.unwrap();
    }
}

pub(crate) fn deposit(amount: i64) -> AccountCommand {
    AccountCommand::Deposit { amount, memo: "a coin".to_owned() }
}

#[track_caller]
pub(crate) fn assert_has_none(text: &str, words: &[&str]) {
    for word in words {
        assert!(!text.contains(word), "{word} is there in clear");
    }
}

/// The seam's own error within the framework's.
pub(crate) fn seal_error(error: &BankError) -> &SealError {
    let (AggregateError::UnexpectedError(source) | AggregateError::DatabaseConnectionError(source)) =
        error
    else {
        panic!("{error:?}")
    };
    source.downcast_ref().unwrap_or_else(|| panic!("{source:?}"))
}

/// A query that keeps what it is given.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen(Arc<Mutex<Vec<(String, usize, AccountEvent)>>>);

impl Seen {
    pub(crate) fn of(&self, account: &str) -> Vec<(usize, AccountEvent)> {
        let seen = self.0.lock().unwrap();
        let of = seen.iter().filter(|(id, ..)| id == account);
        of.map(|(_, sequence, event)| (*sequence, event.clone())).collect()
    }
}

#[async_trait]
impl Query<Account> for Seen {
    async fn dispatch(&self, account: &str, events: &[EventEnvelope<Account>]) {
        for event in events {
            let event = (account.to_owned(), event.sequence, event.payload.clone());
            self.0.lock().unwrap().push(event);
        }
    }
}

/// A repository that fails to answer.
pub(crate) struct Faulty<R> {
    inner: R,
    fault: Arc<AtomicU8>,
}

pub(crate) const NO_FAULT: u8 = 0;
/// It stores, and the answer is lost.
pub(crate) const ANSWER_LOST: u8 = 1;
/// It stores, and calls it a conflict: as postgres-es does, where the snapshot is another one's, behind the commit of the events.
pub(crate) const LATE_CONFLICT: u8 = 4;
/// The connection is lost before it stores.
pub(crate) const CALL_LOST: u8 = 2;
/// The server refuses the statement.
pub(crate) const REFUSED: u8 = 3;

impl<R> Faulty<R> {
    pub(crate) fn new(inner: R) -> (Self, Arc<AtomicU8>) {
        let fault = Arc::default();
        (Self { inner, fault: Arc::clone(&fault) }, fault)
    }
}

fn lost() -> PersistenceError {
    PersistenceError::ConnectionError("connection reset".into())
}

impl<R: PersistedEventRepository> PersistedEventRepository for Faulty<R> {
    async fn get_events<A: Aggregate>(
        &self,
        id: &str,
    ) -> Result<Vec<SerializedEvent>, PersistenceError> {
        self.inner.get_events::<A>(id).await
    }

    async fn get_last_events<A: Aggregate>(
        &self,
        id: &str,
        last: usize,
    ) -> Result<Vec<SerializedEvent>, PersistenceError> {
        self.inner.get_last_events::<A>(id, last).await
    }

    async fn get_snapshot<A: Aggregate>(
        &self,
        id: &str,
    ) -> Result<Option<SerializedSnapshot>, PersistenceError> {
        self.inner.get_snapshot::<A>(id).await
    }

    async fn persist<A: Aggregate>(
        &self,
        events: &[SerializedEvent],
        snapshot: Option<(String, Value, usize)>,
    ) -> Result<(), PersistenceError> {
        match self.fault.load(Ordering::SeqCst) {
            CALL_LOST => Err(lost()),
            REFUSED => Err(PersistenceError::UnknownError("no such table".into())),
            fault => {
                self.inner.persist::<A>(events, snapshot).await?;
                match fault {
                    ANSWER_LOST => Err(lost()),
                    LATE_CONFLICT => Err(PersistenceError::OptimisticLockError),
                    _ => Ok(()),
                }
            }
        }
    }

    async fn stream_events<A: Aggregate>(
        &self,
        id: &str,
    ) -> Result<ReplayStream, PersistenceError> {
        self.inner.stream_events::<A>(id).await
    }

    async fn stream_all_events<A: Aggregate>(&self) -> Result<ReplayStream, PersistenceError> {
        self.inner.stream_all_events::<A>().await
    }
}
