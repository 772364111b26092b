//! The bank: who its customers are, which events its services write, how balances are folded.

use std::{
    fs,
    path::{Path, PathBuf},
};

use futures::TryStreamExt;
use oubliette::{
    event::{
        Content, EventType, Json, JsonError, NewEvent, Payload, RecordedEvent, StreamName, Subject,
    },
    layer::Oubliette,
    store::{
        Append, Appended, EventStore, EventStoreExt, ExpectedRevision, Folded, ReadAllOptions,
        ReadOptions, SqliteStore, StoreError,
    },
};
use oubliette_folder::{Access, DataFolder};
use serde::Deserialize;

use super::Failure;

/// The customer who asks to be forgotten, with her account and its ledger.
pub(super) const USER: &str = "user-456";
pub(super) const ACCOUNT: &str = "bankaccount-123";
pub(super) const LEDGER: &str = "ledger-123";
/// Another customer, whose data must stay.
pub(super) const OTHER_USER: &str = "user-789";
pub(super) const OTHER_ACCOUNT: &str = "bankaccount-124";
pub(super) const OTHER_LEDGER: &str = "ledger-124";
pub(super) const OTHER_IBAN: &str = "DE02120300000000202051";

/// What is personal of the customer. Nothing of it may be in the store in clear.
pub(super) const SURNAME: &str = "Quistorp";
pub(super) const FIRST_NAME: &str = "Annika";
pub(super) const PLATE: &str = "HH-AQ 456";
pub(super) const IBAN: &str = "DE88370400440532013000";
/// What the policy calls public.
pub(super) const COLOUR: &str = "turquoise";
/// What the policy keeps of the plate: its first two characters.
pub(super) const PLATE_RESIDUE: &str = "HH";

/// All accounts, and all ledgers.
pub(super) const ACCOUNTS: [&str; 2] = [ACCOUNT, OTHER_ACCOUNT];
pub(super) const LEDGERS: [&str; 2] = [LEDGER, OTHER_LEDGER];

/// The bank's data folder, open.
pub(super) struct Bank {
    pub(super) oubliette: Oubliette<SqliteStore>,
    /// Where everything lies; it is removed in the end.
    pub(super) place: PathBuf,
    /// The event store's folder.
    pub(super) events: PathBuf,
    /// The vault's folder.
    pub(super) vault: PathBuf,
    /// The vault's root slot, apart from both.
    pub(super) root: PathBuf,
}

/// The bank as it was before it forgot.
pub(super) struct Remembered {
    /// All events as the layer read them.
    pub(super) events: Vec<RecordedEvent>,
    /// The balance of each account, and of each ledger, in cents.
    pub(super) accounts: Vec<i64>,
    pub(super) ledgers: Vec<i64>,
}

/// Money in or out of an account, in cents. The ledger books it with its sign.
pub(super) struct Movement<'a> {
    pub(super) event_type: &'a str,
    pub(super) cents: i64,
    pub(super) text: &'a str,
    /// The other side's user and IBAN, where there is one.
    pub(super) counterparty: Option<(&'a str, &'a str)>,
}

impl Movement<'_> {
    /// Cash at the counter: in for a positive amount, out for a negative one.
    pub(super) fn cash(cents: i64) -> Self {
        let event_type = if cents < 0 { "MoneyWithdrawn" } else { "MoneyDeposited" };
        Self { event_type, cents, text: "at the counter", counterparty: None }
    }
}

/// The part of an event that balances need.
#[derive(Deserialize)]
struct Amount {
    amount: Option<i64>,
}

impl Bank {
    /// A new data folder under `place`, with the root slot beside it instead of in it.
    pub(super) async fn open(place: &Path, policy: &str) -> Result<Self, Failure> {
        let policy_file = place.join("policy.toml");
        fs::write(&policy_file, policy)?;
        let (data, root) = (place.join("data"), place.join("root-slot"));
        let folder = DataFolder::at(&data).with_root(Some(root.clone()));
        let parts = folder.open(Access::Create, Some(&policy_file)).await?;
        if let (Some(given), Some(vault)) = (&parts.given, parts.oubliette.vault()) {
            folder.adopt(vault, given).await?;
        }
        Ok(Self {
            oubliette: parts.oubliette,
            place: place.to_owned(),
            events: data.join("events"),
            vault: data.join("vault"),
            root,
        })
    }

    /// Appends one event to a stream that is expected to be new.
    pub(super) async fn begin(&self, stream: &str, kind: &str, json: &str) -> Result<(), Failure> {
        let events = vec![event(kind, json)?];
        self.oubliette.append_to(&name(stream)?, ExpectedRevision::NoStream, events).await?;
        Ok(())
    }

    /// Moves money: one event for the account, one for its ledger, both or neither. Returns
    /// where the account stands then.
    pub(super) async fn move_money(
        &self,
        (account, ledger): (&str, &str),
        expected: ExpectedRevision,
        movement: &Movement<'_>,
    ) -> Result<Appended, Failure> {
        let Movement { event_type, cents, text, counterparty } = movement;
        let other = match counterparty {
            Some((user, iban)) => {
                format!(r#","counterparty":{{"user":"{user}","iban":"{iban}"}}"#)
            }
            None => String::new(),
        };
        let amount = cents.abs();
        let moved = format!(r#"{{"amount":{amount},"currency":"EUR","text":"{text}"}}"#);
        let booked = format!(
            r#"{{"account":"{account}","amount":{cents},"currency":"EUR","text":"{text}"{other}}}"#
        );
        let appends = vec![
            Append::new(name(account)?, expected, vec![event(event_type, &moved)?]),
            Append::new(
                name(ledger)?,
                ExpectedRevision::StreamExists,
                vec![event("Booked", &booked)?],
            ),
        ];
        let appended = self.oubliette.append(appends).await?;
        appended.first().copied().ok_or_else(|| "the store did not say where it appended".into())
    }

    /// An account's balance in cents, by folding its events.
    pub(super) async fn balance(&self, account: &str) -> Result<Folded<i64>, Failure> {
        self.sum(account, |event| match event.event_type.as_str() {
            "MoneyWithdrawn" | "TransferSent" => -1,
            _ => 1,
        })
        .await
    }

    /// What a ledger's bookings come to, in cents.
    pub(super) async fn booked(&self, ledger: &str) -> Result<i64, Failure> {
        Ok(self.sum(ledger, |_| 1).await?.state)
    }

    /// Amounts are public: they are there whether or not the rest of the event still is.
    async fn sum(
        &self,
        stream: &str,
        sign: fn(&RecordedEvent) -> i64,
    ) -> Result<Folded<i64>, Failure> {
        let start: Result<i64, JsonError> = Ok(0);
        let stream = name(stream)?;
        let folded = self.oubliette.fold(&stream, start, |sum, event, content| {
            let cents = match content {
                Content::Clear(data) | Content::Partial { data, .. } => amount(data)?,
                // Nothing of it is readable, so that it cannot have had a public amount.
                Content::Shredded(_) | Content::Withheld(_) => 0,
                // It tells that somebody is forgotten here, and moves no money.
                Content::Tombstone(_) | Content::Foreign(_) => 0,
            };
            Ok(sum? + sign(event) * cents)
        });
        let Folded { state, revision } = folded.await?;
        Ok(Folded { state: state?, revision })
    }

    /// The balances of all accounts, and of all ledgers.
    pub(super) async fn totals(&self) -> Result<(Vec<i64>, Vec<i64>), Failure> {
        let (mut accounts, mut ledgers) = (Vec::new(), Vec::new());
        for account in ACCOUNTS {
            accounts.push(self.balance(account).await?.state);
        }
        for ledger in LEDGERS {
            ledgers.push(self.booked(ledger).await?);
        }
        Ok((accounts, ledgers))
    }

    /// All events and all totals as they are now.
    pub(super) async fn remember(&self) -> Result<Remembered, Failure> {
        let (accounts, ledgers) = self.totals().await?;
        Ok(Remembered { events: self.all().await?, accounts, ledgers })
    }

    /// All events of the bank, through the layer.
    pub(super) async fn all(&self) -> Result<Vec<RecordedEvent>, StoreError> {
        self.oubliette.read_all(ReadAllOptions::default()).try_collect().await
    }

    /// The events of one stream, through the layer.
    pub(super) async fn read(&self, stream: &str) -> Result<Vec<RecordedEvent>, Failure> {
        Ok(self.oubliette.events(&name(stream)?, ReadOptions::default()).await?)
    }
}

impl Remembered {
    /// The events of one stream.
    pub(super) fn of<'a>(&'a self, stream: &'a str) -> impl Iterator<Item = &'a RecordedEvent> {
        self.events.iter().filter(move |event| event.stream.as_str() == stream)
    }
}

fn amount(data: &Payload) -> Result<i64, JsonError> {
    match data.as_json() {
        Some(json) => Ok(json.to::<Amount>()?.amount.unwrap_or(0)),
        None => Ok(0),
    }
}

pub(super) fn name(stream: &str) -> Result<StreamName, Failure> {
    Ok(StreamName::new(stream)?)
}

pub(super) fn subject(name: &str) -> Result<Subject, Failure> {
    Ok(Subject::new(name)?)
}

pub(super) fn event(event_type: &str, json: &str) -> Result<NewEvent, Failure> {
    Ok(NewEvent::new(EventType::new(event_type)?, Json::parse(json)?))
}

/// An event's payload as text; empty where nothing of it is readable.
pub(super) fn text(event: &RecordedEvent) -> &str {
    event.data.as_ref().and_then(Payload::as_json).map_or("", Json::as_str)
}

/// Cents as an amount of money.
pub(super) fn euros(cents: i64) -> String {
    let sign = if cents < 0 { "-" } else { "" };
    let cents = cents.unsigned_abs();
    format!("{sign}{}.{:02} EUR", cents / 100, cents % 100)
}
