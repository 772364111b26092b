//! A bank on cqrs-es, sealed, over the PostgreSQL that `DATABASE_URL` names: it serves two customers, shows what is in its
//! tables, forgets one of them, and shows it again.
//!
//! ```text
//! DATABASE_URL=postgres://app@localhost/bank cargo run
//! ```
//!
//! The vault is in the folder that `BANK_VAULT` names (`bank-vault`), its root slot beside it. Each run opens new accounts.
#![allow(clippy::print_stdout)]

use std::{env, error::Error, path::PathBuf, sync::Arc};

use cqrs_es::{
    CqrsFramework, EventStore,
    persist::{GenericQuery, PersistedEventStore, QueryReplay},
};
use oubliette::{
    event::Subject,
    layer::{Codec, Oubliette},
    policy::Policy,
    vault::Vault,
};
use oubliette_cqrs_es::{
    SealedRepository, aggregate_of,
    bank::{Account, AccountCommand, AccountEvent, POLICY, Statement},
};
use oubliette_postgres::PostgresStore;
use postgres_es::{PostgresEventRepository, PostgresViewRepository};
use sqlx::{PgPool, Row};
use uuid::Uuid;

type Failure = Box<dyn Error>;
type Repository = SealedRepository<PostgresEventRepository>;
type Statements = GenericQuery<PostgresViewRepository<Statement, Account>, Statement, Account>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let url = env::var("DATABASE_URL").map_err(|_| "say where PostgreSQL is: DATABASE_URL")?;
    let pool = PgPool::connect(&url).await?;
    sqlx::raw_sql(include_str!("../db/init.sql")).execute(&pool).await?;

    let (vault, policy) = (open_vault()?, Policy::parse(POLICY)?);
    let layer =
        Oubliette::open(PostgresStore::create(&url).await?, vault.clone(), policy.clone()).await?;
    let codec = Codec::new(vault, policy);
    sealed(&pool, &codec).settle::<Account>().await?;

    let store = PersistedEventStore::<_, Account>::new_snapshot_store(sealed(&pool, &codec), 3);
    let bank = CqrsFramework::new(store, vec![Box::new(statements(&pool))], ());

    let (ada, ben) = (new_customer(), new_customer());
    let (first, second) = (Uuid::new_v4().to_string(), Uuid::new_v4().to_string());
    for (account, customer, holder) in
        [(&first, &ada, "Ada Ringelnatz"), (&second, &ben, "Ben Okonkwo")]
    {
        let (customer, holder) = (customer.clone(), holder.to_owned());
        let iban = "DE02 1203 0000 0000 2020 51".to_owned();
        for command in [
            AccountCommand::Open { customer, holder, iban },
            AccountCommand::Deposit { amount: 120_000, memo: "wages, March".to_owned() },
            AccountCommand::Withdraw { amount: 5_000, machine: "Harbour Street".to_owned() },
            AccountCommand::WriteCheck {
                amount: 70_000,
                payee: "Dr. Weiss".to_owned(),
                number: "0042".to_owned(),
            },
        ] {
            bank.execute(account, command).await?;
        }
    }

    println!("In the tables:");
    print_rows(&pool, &first).await?;
    println!("\nWhat the bank reads:");
    print_accounts(&pool, &codec, [&first, &second]).await?;

    let plan = layer.plan(&Subject::new(&ada)?).await?;
    let erased = layer.forget(&Subject::new(&ada)?, "request 2026-117").await?;
    println!("\nAda is forgotten: {} keys destroyed (erasure {})", erased.keys, erased.erasure);
    // What the bank keeps in clear, for its screens, is made anew.
    for account in plan.streams.iter().filter_map(|lost| aggregate_of::<Account>(&lost.stream)) {
        QueryReplay::new(sealed(&pool, &codec), statements(&pool)).replay(account).await?;
    }

    println!("\nWhat the bank reads:");
    print_accounts(&pool, &codec, [&first, &second]).await?;
    let deposit = || AccountCommand::Deposit { amount: 100, memo: "a coin".to_owned() };
    let refused = bank.execute(&first, deposit()).await;
    println!("\nA deposit for Ada: {}", refused.err().map_or("done".into(), |why| why.to_string()));
    bank.execute(&second, deposit()).await?;
    println!("A deposit for Ben: done");
    Ok(())
}

/// Makes the vault where there is none. In production that is done once, by hand.
fn open_vault() -> Result<Vault, Failure> {
    let folder = PathBuf::from(env::var("BANK_VAULT").unwrap_or_else(|_| "bank-vault".to_owned()));
    let slot = folder.with_extension("root");
    Ok(match folder.exists() {
        true => Vault::open(&folder, slot.as_path())?,
        false => Vault::create(&folder, slot.as_path())?,
    })
}

fn new_customer() -> String {
    format!("customer-{}", Uuid::new_v4())
}

fn sealed(pool: &PgPool, codec: &Codec) -> Repository {
    SealedRepository::new(PostgresEventRepository::new(pool.clone()), codec.clone())
        .with_hole_event::<Account>(AccountEvent::in_place_of)
}

fn statements(pool: &PgPool) -> Statements {
    GenericQuery::new(Arc::new(PostgresViewRepository::new("account_view", pool.clone())))
}

async fn print_rows(pool: &PgPool, account: &str) -> Result<(), Failure> {
    for (table, columns) in
        [("events", "event_type, payload"), ("snapshots", "'snapshot', payload")]
    {
        let rows =
            format!("SELECT {columns}::text FROM {table} WHERE aggregate_id = $1 ORDER BY 1");
        for row in sqlx::query(&rows).bind(account).fetch_all(pool).await? {
            let (name, payload): (String, String) = (row.try_get(0)?, row.try_get(1)?);
            println!("  {name:<15} {}…", payload.chars().take(90).collect::<String>());
        }
    }
    Ok(())
}

async fn print_accounts(
    pool: &PgPool,
    codec: &Codec,
    accounts: [&String; 2],
) -> Result<(), Failure> {
    let store = PersistedEventStore::<_, Account>::new_snapshot_store(sealed(pool, codec), 3);
    for account in accounts {
        let Account { holder, balance, is_forgotten, .. } =
            store.load_aggregate(account).await?.aggregate;
        let holder = holder.unwrap_or_else(|| "nobody".to_owned());
        println!("  {account}: {holder}, {balance} cents, forgotten: {is_forgotten}");
        if let Some(Statement { lines, .. }) = statements(pool).load(account).await {
            println!("    statement: {}", lines.join("; "));
        }
    }
    Ok(())
}
