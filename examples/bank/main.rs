//! A bank: aggregates by `fold`, an invariant kept by expected revisions, and books that balance
//! before and after a customer is forgotten.
//!
//! It asserts what it says. `account` is the aggregate, `books` are the totals, and
//! `policy.toml` says what of all this is public, and who depends on whom.
//!
//! ```text
//! cargo run --example bank
//! ```
#![allow(clippy::print_stdout)]

mod account;
mod books;

use account::{Withdrawal, deposit, event, open, withdraw};
use books::Books;
use futures::future::try_join_all;
use oubliette::{
    event::{StreamName, Subject},
    layer::Oubliette,
    policy::Policy,
    store::{EventStoreExt, ExpectedRevision, SqliteStore, StoreError},
    vault::Vault,
};

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let store = SqliteStore::create(folder.path().join("events"))?;
    let vault = Vault::create(&folder.path().join("vault"), &folder.path().join("root"))?;
    let policy = Policy::parse(include_str!("policy.toml"))?;
    let bank = Oubliette::open(store, vault, policy.clone()).await?;

    for (number, user, name) in [(123, "user-456", "Annika Quistorp"), (124, "user-789", "Bo Sand")]
    {
        let (id, stream) = (user.trim_start_matches("user-"), StreamName::new(user)?);
        let registered = format!(r#"{{"id":"{id}","name":"{name}","colour":"turquoise"}}"#);
        let registered = event("UserRegistered", &registered)?;
        bank.append_to(&stream, ExpectedRevision::NoStream, vec![registered]).await?;
        open(&bank, number, user, name).await?;
        deposit(&bank, number, 100_000, &format!("salary of {name}")).await?;
    }

    // Twenty counters pay out 90 EUR each, at once, from an account with 1000 EUR.
    println!("twenty withdrawals of 90.00 EUR at once, from 1000.00 EUR:");
    let counters = (0..20).map(|counter| {
        let bank = bank.clone();
        tokio::spawn(
            async move { withdraw(&bank, 123, 9_000, &format!("counter {counter}")).await },
        )
    });
    let (mut paid, mut refused, mut decided) = (0, 0, 0);
    for outcome in try_join_all(counters).await? {
        match outcome? {
            Withdrawal::Paid { attempts } => (paid, decided) = (paid + 1, decided + attempts),
            Withdrawal::NotEnough { attempts } => {
                (refused, decided) = (refused + 1, decided + attempts);
            }
        }
    }
    println!("  {paid} paid, {refused} refused; {decided} decisions, because of conflicts\n");
    assert_eq!((paid, refused), (11, 9), "eleven times 90 are 990, a twelfth would be too much");

    let before = Books::of(&bank, "before").await?;
    assert_eq!(before.balances, [1_000, 100_000]);

    let subject = Subject::new("user-456")?;
    let plan = bank.plan(&subject).await?;
    let streams: Vec<&str> = plan.streams.iter().map(|at| at.stream.as_str()).collect();
    println!("the plan: {} keys, in {}", plan.keys(), streams.join(", "));
    let erased = bank.forget(&subject, "the customer asked").await?;
    println!("forgotten: {} keys, {} tombstones\n", erased.keys, erased.streams);
    assert_eq!((erased.keys, erased.streams), (3, 3), "user, account and ledger");

    let after = Books::of(&bank, "after").await?;
    assert_eq!(after, before, "not a cent is missing");

    // The copy of production that a test system gets: the store, and no vault.
    let copy = Oubliette::without_vault(bank.store().clone(), policy);
    let without = Books::of(&copy, "for a reader without the vault").await?;
    assert_eq!(without, before, "who may read no text may still do the sums");

    let late = deposit(&bank, 123, 100, "too late").await.expect_err("the account is forgotten");
    println!("a deposit to the forgotten account: {late}");
    let late = late.downcast_ref::<StoreError>();
    assert!(matches!(late, Some(StoreError::Forgotten { .. })));
    deposit(&bank, 124, 100, "goes on").await?;
    println!("a deposit to the other one: done");
    Ok(())
}
