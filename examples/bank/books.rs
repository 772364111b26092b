//! The books: what the bank's accounts and ledgers come to, and what a reader can see of them.

use oubliette::{
    event::{Content, Payload},
    store::{EventStore, EventStoreExt},
};
use serde::Deserialize;

use crate::{
    Failure,
    account::{Account, Euros, account, ledger_of},
};

/// The numbers of all accounts.
pub(crate) const ACCOUNTS: [u32; 2] = [123, 124];

/// Every balance, and every ledger's sum, in cents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Books {
    pub(crate) balances: Vec<i64>,
    pub(crate) bookings: Vec<i64>,
}

impl Books {
    /// Folds all accounts and ledgers, and prints what is left of their events.
    pub(crate) async fn of(store: &impl EventStore, who: &str) -> Result<Self, Failure> {
        let mut books = Self { balances: Vec::new(), bookings: Vec::new() };
        println!("{who}:");
        println!("  account             balance         ledger   clear  partly  tombstone");
        for number in ACCOUNTS {
            let name = account(number)?;
            let account = Account::load(store, &name).await?.state;
            let booked = booked(store, number).await?;
            let Account { cents, lowest, clear, partly, dark, forgotten } = account;
            assert!(lowest >= 0, "no account was ever below zero");
            assert_eq!(dark, 0, "amounts are public: nothing of an account is wholly dark");
            assert_eq!(cents, booked, "an account and its ledger say the same");
            println!(
                "  {name:<15} {:>11} {:>14} {clear:>7} {partly:>7}  {}",
                Euros(cents),
                Euros(booked),
                if forgotten { "yes" } else { "-" }
            );
            books.balances.push(cents);
            books.bookings.push(booked);
        }
        println!();
        Ok(books)
    }
}

/// What a ledger's bookings come to.
async fn booked(store: &impl EventStore, number: u32) -> Result<i64, Failure> {
    #[derive(Deserialize)]
    struct Booked {
        #[serde(default)]
        amount: i64,
    }
    let start: Result<i64, Failure> = Ok(0);
    let add = |sum: Result<i64, Failure>, data: &Payload| {
        let Booked { amount } = data.as_json().ok_or("ledgers write JSON")?.to()?;
        Ok(sum? + amount)
    };
    let ledger = ledger_of(number)?;
    let folded = store.fold(&ledger, start, |sum, _, content| match content {
        Content::Clear(data) | Content::Partial { data, .. } => add(sum, data),
        Content::Shredded(_)
        | Content::Withheld(_)
        | Content::Tombstone(_)
        | Content::Foreign(_) => sum,
    });
    folded.await?.state
}
