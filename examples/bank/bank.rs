//! The bank: its customers, the events that its services write, and the sums of its books.
//!
//! `policy.toml` beside this file says what of the events is public, and who depends on whom. The program's
//! `oubliette demo` uses this file and that policy too.

use std::fmt;

use oubliette::{
    event::{Content, EventType, Json, NewEvent, Payload, RecordedEvent, StreamName},
    store::{Append, Appended, EventStore, EventStoreExt, ExpectedRevision, Folded, StoreError},
};
use serde::{Deserialize, Serialize};

use super::Failure;

/// A customer: the streams of the three services, and what is personal.
#[derive(Debug)]
pub(crate) struct Customer {
    pub(crate) user: &'static str,
    pub(crate) account: &'static str,
    pub(crate) ledger: &'static str,
    pub(crate) first_name: &'static str,
    pub(crate) surname: &'static str,
    pub(crate) plate: &'static str,
    pub(crate) iban: &'static str,
    /// This one is public.
    pub(crate) colour: &'static str,
}

/// The customer who asks to be forgotten.
pub(crate) const ANNIKA: Customer = Customer {
    user: "user-456",
    account: "bankaccount-123",
    ledger: "ledger-123",
    first_name: "Annika",
    surname: "Quistorp",
    plate: "HH-AQ 456",
    iban: "DE88370400440532013000",
    colour: "turquoise",
};

/// Another customer, who must lose nothing.
pub(crate) const BERTIL: Customer = Customer {
    user: "user-789",
    account: "bankaccount-124",
    ledger: "ledger-124",
    first_name: "Bertil",
    surname: "Sandgren",
    plate: "B-SG 789",
    iban: "DE02120300000000202051",
    colour: "ochre",
};

pub(crate) const CUSTOMERS: [&Customer; 2] = [&ANNIKA, &BERTIL];

impl Customer {
    /// The streams that depend on the customer: user, account, ledger.
    pub(crate) const fn streams(&self) -> [&'static str; 3] {
        [self.user, self.account, self.ledger]
    }

    fn full_name(&self) -> String {
        format!("{} {}", self.first_name, self.surname)
    }

    /// What the user service writes about the customer.
    pub(crate) fn registered(&self) -> Result<Json, Failure> {
        Ok(Json::of(&UserRegistered {
            id: self.user.trim_start_matches("user-"),
            first_name: self.first_name,
            surname: self.surname,
            plate: self.plate,
            colour: self.colour,
        })?)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UserRegistered<'a> {
    id: &'a str,
    first_name: &'a str,
    surname: &'a str,
    plate: &'a str,
    colour: &'a str,
}

#[derive(Serialize)]
struct AccountOpened<'a> {
    owner: &'a str,
    currency: &'a str,
    holder: &'a str,
}

#[derive(Serialize)]
struct LedgerOpened<'a> {
    account: &'a str,
}

/// Money into or out of an account, and, with `account`, its booking in the ledger.
#[derive(Serialize)]
struct Moved<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<&'a str>,
    amount: i64,
    currency: &'a str,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    counterparty: Option<Counterparty<'a>>,
}

#[derive(Serialize)]
struct Counterparty<'a> {
    user: &'a str,
    iban: &'a str,
}

/// Writes a customer's first events: the user, the account and its ledger, all of them or none.
pub(crate) async fn register(store: &impl EventStore, customer: &Customer) -> Result<(), Failure> {
    let holder = customer.full_name();
    let opened = AccountOpened { owner: customer.user, currency: "EUR", holder: &holder };
    let ledger = LedgerOpened { account: customer.account };
    let first = |stream, event_type, data| {
        let event = event(event_type, data)?;
        Ok::<_, Failure>(Append::new(name(stream)?, ExpectedRevision::NoStream, vec![event]))
    };
    let appends = vec![
        first(customer.user, "UserRegistered", customer.registered()?)?,
        first(customer.account, "AccountOpened", Json::of(&opened)?)?,
        first(customer.ledger, "LedgerOpened", Json::of(&ledger)?)?,
    ];
    store.append(appends).await?;
    Ok(())
}

/// Money into or out of an account. `cents` are positive; the type of the event says which way they go.
#[derive(Clone, Copy)]
pub(crate) struct Movement<'a> {
    event_type: &'static str,
    cents: i64,
    text: &'a str,
    /// The other side of a transfer.
    counterparty: Option<&'a Customer>,
}

impl<'a> Movement<'a> {
    pub(crate) fn paid_in(cents: i64, text: &'a str) -> Self {
        Self { event_type: "MoneyDeposited", cents, text, counterparty: None }
    }

    pub(crate) fn paid_out(cents: i64, text: &'a str) -> Self {
        Self { event_type: "MoneyWithdrawn", cents, text, counterparty: None }
    }

    /// One event for the account and one for its ledger.
    fn appends(
        self,
        customer: &Customer,
        expected: ExpectedRevision,
    ) -> Result<[Append; 2], Failure> {
        let Self { event_type, cents, text, counterparty } = self;
        let moved =
            Moved { account: None, amount: cents, currency: "EUR", text, counterparty: None };
        let booked = Moved {
            account: Some(customer.account),
            amount: sign(event_type) * cents,
            counterparty: counterparty
                .map(|Customer { user, iban, .. }| Counterparty { user, iban }),
            ..moved
        };
        let moved = Json::of(&moved)?;
        let booked = Json::of(&booked)?;
        Ok([
            Append::new(name(customer.account)?, expected, vec![event(event_type, moved)?]),
            Append::new(
                name(customer.ledger)?,
                ExpectedRevision::StreamExists,
                vec![event("Booked", booked)?],
            ),
        ])
    }
}

/// What an event of this type does to the balance: adds its amount, takes it off, or neither.
fn sign(event_type: &str) -> i64 {
    match event_type {
        "MoneyDeposited" | "TransferReceived" => 1,
        "MoneyWithdrawn" | "TransferSent" => -1,
        _ => 0,
    }
}

/// Moves money, in the account and in its ledger: in both or in neither. Returns the account's new revision.
///
/// Who pays in may expect any revision: more money does the account no harm. Who pays out says which
/// revision the decision rests on. If another writer was faster, nothing is written.
pub(crate) async fn move_money(
    store: &impl EventStore,
    customer: &Customer,
    expected: ExpectedRevision,
    movement: Movement<'_>,
) -> Result<Appended, Failure> {
    let appended = store.append(movement.appends(customer, expected)?.into()).await?;
    appended.first().copied().ok_or_else(|| "the store did not say where it appended".into())
}

/// A transfer, in the books of both customers or of neither. `expected` is the revision of the sender's account.
pub(crate) async fn transfer(
    store: &impl EventStore,
    (from, to): (&Customer, &Customer),
    expected: ExpectedRevision,
    cents: i64,
    text: &str,
) -> Result<(), Failure> {
    let sent = Movement { event_type: "TransferSent", cents, text, counterparty: Some(to) };
    let received = Movement { event_type: "TransferReceived", counterparty: Some(from), ..sent };
    let mut appends = Vec::from(sent.appends(from, expected)?);
    appends.extend(received.appends(to, ExpectedRevision::StreamExists)?);
    store.append(appends).await?;
    Ok(())
}

/// An account, folded from its events.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Account {
    pub(crate) cents: i64,
    /// The lowest balance that the account ever had. It is never below zero.
    pub(crate) lowest: i64,
    /// How many of its events are fully readable, partly, and not at all.
    pub(crate) clear: usize,
    pub(crate) partly: usize,
    pub(crate) dark: usize,
    /// Whether a tombstone says that the holder is forgotten.
    pub(crate) forgotten: bool,
}

/// The part of an event that the books need. The policy makes amounts public, so they outlive the customer.
#[derive(Deserialize)]
struct Amount {
    #[serde(default)]
    amount: i64,
}

fn amount(data: &Payload) -> Result<i64, Failure> {
    let Amount { amount } = data.as_json().ok_or("the bank writes JSON")?.to()?;
    Ok(amount)
}

impl Account {
    /// The account now, and the revision that it has.
    pub(crate) async fn load(
        store: &impl EventStore,
        customer: &Customer,
    ) -> Result<Folded<Self>, Failure> {
        let start: Result<Self, Failure> = Ok(Self::default());
        let stream = name(customer.account)?;
        let folded =
            store.fold(&stream, start, |state, event, content| state?.apply(event, &content));
        let Folded { state, revision } = folded.await?;
        Ok(Folded { state: state?, revision })
    }

    /// The account after one more event. Each kind of content is answered here, once.
    fn apply(mut self, event: &RecordedEvent, content: &Content<'_>) -> Result<Self, Failure> {
        match content {
            Content::Clear(data) => {
                self.clear += 1;
                self.book(event, data)?;
            }
            // The text is gone, or this reader may not see it. The amount is public.
            Content::Partial { data, .. } => {
                self.partly += 1;
                self.book(event, data)?;
            }
            // No event of an account looks like this under our policy: its amount would be missing.
            Content::Shredded(_) | Content::Withheld(_) => self.dark += 1,
            Content::Tombstone(_) => self.forgotten = true,
            // A tombstone whose signature is not the vault's says nothing.
            Content::Unverified(_) => {}
        }
        Ok(self)
    }

    fn book(&mut self, event: &RecordedEvent, data: &Payload) -> Result<(), Failure> {
        self.cents += sign(event.event_type.as_str()) * amount(data)?;
        self.lowest = self.lowest.min(self.cents);
        Ok(())
    }
}

/// The sum of a ledger's bookings, in cents.
pub(crate) async fn booked(store: &impl EventStore, customer: &Customer) -> Result<i64, Failure> {
    let start: Result<i64, Failure> = Ok(0);
    let ledger = name(customer.ledger)?;
    let folded = store.fold(&ledger, start, |sum, _, content| match content {
        Content::Clear(data) | Content::Partial { data, .. } => Ok(sum? + amount(data)?),
        Content::Shredded(_)
        | Content::Withheld(_)
        | Content::Tombstone(_)
        | Content::Unverified(_) => sum,
    });
    folded.await?.state
}

/// One customer's line in the books.
pub(crate) struct Line {
    pub(crate) customer: &'static Customer,
    pub(crate) account: Account,
    /// The sum of the ledger.
    pub(crate) booked: i64,
}

/// All accounts and ledgers, as a reader of `store` sees them.
pub(crate) async fn books(store: &impl EventStore) -> Result<Vec<Line>, Failure> {
    let mut lines = Vec::new();
    for customer in CUSTOMERS {
        let account = Account::load(store, customer).await?.state;
        lines.push(Line { customer, account, booked: booked(store, customer).await? });
    }
    Ok(lines)
}

/// The balances and the ledgers' sums, in cents.
pub(crate) fn sums(books: &[Line]) -> Vec<(i64, i64)> {
    books.iter().map(|line| (line.account.cents, line.booked)).collect()
}

/// Whether an append was refused because somebody is forgotten.
pub(crate) fn is_forgotten(failure: &Failure) -> bool {
    matches!(failure.downcast_ref(), Some(StoreError::Forgotten { .. }))
}

pub(crate) fn event(event_type: &str, data: Json) -> Result<NewEvent, Failure> {
    Ok(NewEvent::new(EventType::new(event_type)?, data))
}

pub(crate) fn name(stream: &str) -> Result<StreamName, Failure> {
    Ok(StreamName::new(stream)?)
}

/// Cents as an amount of money.
pub(crate) struct Euros(pub(crate) i64);

impl fmt::Display for Euros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let cents = self.0.unsigned_abs();
        f.pad(&format!("{sign}{}.{:02} EUR", cents / 100, cents % 100))
    }
}
