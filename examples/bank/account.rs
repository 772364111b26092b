//! The account: an aggregate that is folded from its events, and keeps one invariant.

use std::fmt;

use oubliette::{
    event::{Content, EventType, Json, NewEvent, Payload, RecordedEvent, StreamName},
    store::{Append, EventStore, EventStoreExt, ExpectedRevision, Folded, StoreError},
};
use serde::Deserialize;

use crate::Failure;

/// What an account's events come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Account {
    /// The balance. It is never below zero.
    pub(crate) cents: i64,
    /// The lowest that the balance ever was.
    pub(crate) lowest: i64,
    /// How many events are wholly readable, partly, and not at all.
    pub(crate) clear: usize,
    pub(crate) partly: usize,
    pub(crate) dark: usize,
    /// Whether a tombstone says that the holder is forgotten.
    pub(crate) forgotten: bool,
}

/// How a withdrawal ended, and how often it had to be decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Withdrawal {
    Paid { attempts: u32 },
    NotEnough { attempts: u32 },
}

/// What is readable of an event, as far as the balance needs it. The policy makes amounts
/// public, and so they survive their holder.
#[derive(Deserialize)]
struct Moved {
    #[serde(default)]
    amount: i64,
}

impl Account {
    /// The account now, and the revision at which it is so.
    pub(crate) async fn load(
        store: &impl EventStore,
        stream: &StreamName,
    ) -> Result<Folded<Self>, Failure> {
        let start: Result<Self, Failure> = Ok(Self::default());
        let folded =
            store.fold(stream, start, |state, event, content| state?.apply(event, &content));
        let Folded { state, revision } = folded.await?;
        Ok(Folded { state: state?, revision })
    }

    /// One event more. All that an event can be is handled here, once.
    fn apply(mut self, event: &RecordedEvent, content: &Content<'_>) -> Result<Self, Failure> {
        match content {
            Content::Clear(data) => {
                self.clear += 1;
                self.book(event, data)?;
            }
            // Somebody's text is gone, or not for this reader: the amount is there.
            Content::Partial { data, .. } => {
                self.partly += 1;
                self.book(event, data)?;
            }
            // Under this policy no event of an account is dark: its amount would be missing.
            Content::Shredded(_) | Content::Withheld(_) => self.dark += 1,
            Content::Tombstone(_) => self.forgotten = true,
            // No vault vouches for it: it says nothing.
            Content::Foreign(_) => {}
        }
        Ok(self)
    }

    fn book(&mut self, event: &RecordedEvent, data: &Payload) -> Result<(), Failure> {
        let Moved { amount } = data.as_json().ok_or("accounts write JSON")?.to()?;
        match event.event_type.as_str() {
            "MoneyDeposited" => self.cents += amount,
            "MoneyWithdrawn" => self.cents -= amount,
            _ => {}
        }
        self.lowest = self.lowest.min(self.cents);
        Ok(())
    }
}

/// Opens an account with its ledger: two streams, both or neither.
pub(crate) async fn open(
    store: &impl EventStore,
    number: u32,
    owner: &str,
    holder: &str,
) -> Result<(), Failure> {
    let opened = format!(r#"{{"owner":"{owner}","currency":"EUR","holder":"{holder}"}}"#);
    let ledger = format!(r#"{{"account":"{}"}}"#, account(number)?);
    let new = ExpectedRevision::NoStream;
    let appends = vec![
        Append::new(account(number)?, new, vec![event("AccountOpened", &opened)?]),
        Append::new(ledger_of(number)?, new, vec![event("LedgerOpened", &ledger)?]),
    ];
    store.append(appends).await?;
    Ok(())
}

/// Pays in. Whatever the account is meanwhile, more money does it no harm: any revision will do.
pub(crate) async fn deposit(
    store: &impl EventStore,
    number: u32,
    cents: i64,
    text: &str,
) -> Result<(), Failure> {
    store.append(movement(number, ExpectedRevision::Any, "MoneyDeposited", cents, text)?).await?;
    Ok(())
}

/// Pays out, unless the account would fall below zero.
///
/// The decision holds for the revision that was read, and the append says which: if another
/// writer was faster, nothing is written, and the decision is made again on what is there now.
pub(crate) async fn withdraw(
    store: &impl EventStore,
    number: u32,
    cents: i64,
    text: &str,
) -> Result<Withdrawal, Failure> {
    let stream = account(number)?;
    let mut attempts = 0;
    loop {
        attempts += 1;
        let read = Account::load(store, &stream).await?;
        if read.state.cents < cents {
            return Ok(Withdrawal::NotEnough { attempts });
        }
        let appends = movement(number, read.expected(), "MoneyWithdrawn", cents, text)?;
        match store.append(appends).await {
            Ok(_) => return Ok(Withdrawal::Paid { attempts }),
            Err(StoreError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// A movement in the account and its booking in the ledger: both or neither.
fn movement(
    number: u32,
    expected: ExpectedRevision,
    event_type: &str,
    cents: i64,
    text: &str,
) -> Result<Vec<Append>, Failure> {
    let signed = if event_type == "MoneyWithdrawn" { -cents } else { cents };
    let moved = format!(r#"{{"amount":{cents},"currency":"EUR","text":"{text}"}}"#);
    let (account, ledger) = (account(number)?, ledger_of(number)?);
    let booked =
        format!(r#"{{"account":"{account}","amount":{signed},"currency":"EUR","text":"{text}"}}"#);
    Ok(vec![
        Append::new(account, expected, vec![event(event_type, &moved)?]),
        Append::new(ledger, ExpectedRevision::StreamExists, vec![event("Booked", &booked)?]),
    ])
}

pub(crate) fn event(event_type: &str, json: &str) -> Result<NewEvent, Failure> {
    Ok(NewEvent::new(EventType::new(event_type)?, Json::parse(json)?))
}

pub(crate) fn account(number: u32) -> Result<StreamName, Failure> {
    Ok(StreamName::new(format!("bankaccount-{number}"))?)
}

pub(crate) fn ledger_of(number: u32) -> Result<StreamName, Failure> {
    Ok(StreamName::new(format!("ledger-{number}"))?)
}

/// Cents as euros, for a table.
pub(crate) struct Euros(pub(crate) i64);

impl fmt::Display for Euros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (euros, cents) = (self.0 / 100, (self.0 % 100).abs());
        f.pad(&format!("{euros}.{cents:02} EUR"))
    }
}
