//! A bank: aggregates by `fold`, an invariant kept by expected revisions, and books that balance
//! before and after a customer is forgotten.
//!
//! It asserts what it says. `bank` is the bank, and `policy.toml` says what of all this is public, and who
//! depends on whom.
//!
//! ```text
//! cargo run --example bank
//! ```
#![allow(clippy::print_stdout)]

mod bank;

use bank::{
    ANNIKA, Account, BERTIL, CUSTOMERS, Customer, Euros, Line, Movement, books, is_forgotten,
    move_money, register, sums, transfer,
};
use futures::future::try_join_all;
use oubliette::{
    event::Subject,
    layer::Oubliette,
    policy::Policy,
    store::{EventStore, ExpectedRevision, SqliteStore, StoreError},
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

    for customer in CUSTOMERS {
        register(&bank, customer).await?;
        let salary = format!("salary of {} {}", customer.first_name, customer.surname);
        let salary = Movement::paid_in(100_000, &salary);
        move_money(&bank, customer, ExpectedRevision::Any, salary).await?;
    }

    // Twenty counters pay out 90 EUR each, at once, from an account with 1000 EUR.
    println!("twenty withdrawals of 90.00 EUR at once, from 1000.00 EUR:");
    let counters = (0..20).map(|counter| {
        let bank = bank.clone();
        tokio::spawn(
            async move { withdraw(&bank, &ANNIKA, 9_000, &format!("counter {counter}")).await },
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

    // In his ledger, her IBAN is sealed under her key.
    let read = Account::load(&bank, &ANNIKA).await?;
    transfer(&bank, (&ANNIKA, &BERTIL), read.expected(), 500, "coffee").await?;

    let before = show("before", &books(&bank).await?);
    assert_eq!(before, [(500, 500), (100_500, 100_500)]);

    let subject = Subject::new(ANNIKA.user)?;
    let plan = bank.plan(&subject).await?;
    let streams: Vec<&str> = plan.streams.iter().map(|at| at.stream.as_str()).collect();
    println!("the plan: {} keys, in {}", plan.keys(), streams.join(", "));
    assert!(ANNIKA.streams().iter().all(|stream| streams.contains(stream)));
    let erased = bank.forget(&subject, "the customer asked").await?;
    println!("forgotten: {} keys, {} tombstones\n", erased.keys, erased.streams);
    assert_eq!((erased.keys, erased.streams), (4, 4), "user, account, ledger, and his ledger");

    let after = show("after", &books(&bank).await?);
    assert_eq!(after, before, "not a cent is missing");

    // The copy of production that a test system gets: the store, and no vault.
    let copy = Oubliette::without_vault(bank.store().clone(), policy);
    let without = show("for a reader without the vault", &books(&copy).await?);
    assert_eq!(without, before, "who may read no text may still do the sums");

    let any = ExpectedRevision::Any;
    let late = move_money(&bank, &ANNIKA, any, Movement::paid_in(100, "too late")).await;
    let late = late.expect_err("she is forgotten");
    println!("a deposit to the forgotten account: {late}");
    assert!(is_forgotten(&late));
    move_money(&bank, &BERTIL, any, Movement::paid_in(100, "goes on")).await?;
    println!("a deposit to the other one: done");
    Ok(())
}

/// How a withdrawal ended, and how often it had to be decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Withdrawal {
    Paid { attempts: u32 },
    NotEnough { attempts: u32 },
}

/// Pays out, unless the account would fall below zero.
///
/// The decision holds for the revision that was read, and the append says which. On a conflict it is made
/// again, on what is there now.
async fn withdraw(
    store: &impl EventStore,
    customer: &Customer,
    cents: i64,
    text: &str,
) -> Result<Withdrawal, Failure> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        let read = Account::load(store, customer).await?;
        if read.state.cents < cents {
            return Ok(Withdrawal::NotEnough { attempts });
        }
        let paid = Movement::paid_out(cents, text);
        let Err(error) = move_money(store, customer, read.expected(), paid).await else {
            return Ok(Withdrawal::Paid { attempts });
        };
        if !matches!(error.downcast_ref(), Some(StoreError::Conflict { .. })) {
            return Err(error);
        }
    }
}

/// Prints the books, and returns their sums.
fn show(who: &str, books: &[Line]) -> Vec<(i64, i64)> {
    println!("{who}:");
    println!("  account             balance         ledger   clear  partly  tombstone");
    for Line { customer, account, booked } in books {
        let Account { cents, lowest, clear, partly, dark, forgotten } = *account;
        assert!(lowest >= 0, "no account was ever below zero");
        assert_eq!(dark, 0, "amounts are public, so each event of an account has a readable part");
        assert_eq!(cents, *booked, "an account and its ledger say the same");
        println!(
            "  {:<15} {:>11} {:>14} {clear:>7} {partly:>7}  {}",
            customer.account,
            Euros(cents),
            Euros(*booked),
            if forgotten { "yes" } else { "-" }
        );
    }
    println!();
    sums(books)
}
