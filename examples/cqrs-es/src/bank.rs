//! The application: a bank on cqrs-es. But for [`AccountEvent::HolderForgotten`] and [`POLICY`] it would be the same
//! without Oubliette.

use std::collections::HashMap;

use cqrs_es::{Aggregate, DomainEvent, EventEnvelope, View, event_sink::EventSink};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Hole;

/// What of the bank's events is public, and on whom an account depends.
pub const POLICY: &str = include_str!("policy.toml");

/// An account. A customer may have several; with the customer all of them are forgotten.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Who holds it, by name; nobody before it is opened, and after the holder is forgotten.
    pub holder: Option<String>,
    /// In cents.
    pub balance: i64,
    /// Whether it was opened.
    pub is_open: bool,
    /// Whether its holder is forgotten.
    pub is_forgotten: bool,
}

/// What customers ask for.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub enum AccountCommand {
    Open { customer: String, holder: String, iban: String },
    Transfer { customer: String, holder: String },
    Deposit { amount: i64, memo: String },
    Withdraw { amount: i64, machine: String },
    WriteCheck { amount: i64, payee: String, number: String },
}

/// What happened.
///
/// Each booking says what the balance is afterwards. cqrs-es 0.5 applies an event to the aggregate when the command writes it and once more
/// when it makes a snapshot, so that events must say what is, and not what to add.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum AccountEvent {
    AccountOpened {
        customer: String,
        holder: String,
        iban: String,
    },
    AccountTransferred {
        customer: String,
        holder: String,
    },
    MoneyDeposited {
        amount: i64,
        balance: i64,
        memo: String,
    },
    CashWithdrawn {
        amount: i64,
        balance: i64,
        machine: String,
    },
    CheckWritten {
        amount: i64,
        balance: i64,
        payee: String,
        number: String,
    },
    /// Takes the place of every event of a holder who is forgotten. No command makes it, and it is never stored.
    HolderForgotten {
        balance: Option<i64>,
    },
}

impl AccountEvent {
    /// The event in place of one that is shredded: of a booking, what the policy left public is enough to go on with the books.
    pub fn in_place_of(hole: &Hole<'_>) -> Self {
        let left: HashMap<String, Value> = hole.left_as().unwrap_or_default();
        let balance = left.values().find_map(|fields| fields.get("balance")?.as_i64());
        Self::HolderForgotten { balance }
    }
}

impl DomainEvent for AccountEvent {
    fn event_type(&self) -> String {
        let name = match self {
            Self::AccountOpened { .. } => "AccountOpened",
            Self::AccountTransferred { .. } => "AccountTransferred",
            Self::MoneyDeposited { .. } => "MoneyDeposited",
            Self::CashWithdrawn { .. } => "CashWithdrawn",
            Self::CheckWritten { .. } => "CheckWritten",
            Self::HolderForgotten { .. } => "HolderForgotten",
        };
        name.to_owned()
    }

    fn event_version(&self) -> String {
        "1.0".to_owned()
    }
}

/// Why a command was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum AccountError {
    #[error("this account is open already")]
    IsOpen,
    #[error("there is no such account")]
    NoAccount,
    #[error("this account is closed: its holder is forgotten")]
    HolderForgotten,
    #[error("there is not enough money")]
    TooLittle,
    #[error("the amount must be more than nothing")]
    NoAmount,
}

impl Account {
    fn with(&self, change: i64) -> Result<i64, AccountError> {
        match self.balance.checked_add(change) {
            _ if !self.is_open => Err(AccountError::NoAccount),
            Some(balance) if balance >= 0 => Ok(balance),
            _ => Err(AccountError::TooLittle),
        }
    }
}

impl Aggregate for Account {
    const TYPE: &'static str = "Account";
    type Command = AccountCommand;
    type Event = AccountEvent;
    type Error = AccountError;
    type Services = ();

    async fn handle(
        &mut self,
        command: AccountCommand,
        (): &(),
        sink: &EventSink<Self>,
    ) -> Result<(), AccountError> {
        use AccountCommand::{Deposit, Open, Transfer, Withdraw, WriteCheck};
        if self.is_forgotten {
            return Err(AccountError::HolderForgotten);
        }
        if let Deposit { amount, .. } | Withdraw { amount, .. } | WriteCheck { amount, .. } =
            command
            && amount <= 0
        {
            return Err(AccountError::NoAmount);
        }
        let event = match command {
            Open { .. } if self.is_open => return Err(AccountError::IsOpen),
            Open { customer, holder, iban } => {
                AccountEvent::AccountOpened { customer, holder, iban }
            }
            Transfer { .. } if !self.is_open => return Err(AccountError::NoAccount),
            Transfer { customer, holder } => AccountEvent::AccountTransferred { customer, holder },
            Deposit { amount, memo } => {
                AccountEvent::MoneyDeposited { amount, balance: self.with(amount)?, memo }
            }
            Withdraw { amount, machine } => {
                AccountEvent::CashWithdrawn { amount, balance: self.with(-amount)?, machine }
            }
            WriteCheck { amount, payee, number } => {
                AccountEvent::CheckWritten { amount, balance: self.with(-amount)?, payee, number }
            }
        };
        sink.write(event, self).await;
        Ok(())
    }

    fn apply(&mut self, event: AccountEvent) {
        match event {
            AccountEvent::AccountOpened { holder, .. } => {
                *self = Self { holder: Some(holder), is_open: true, ..Self::default() };
            }
            AccountEvent::AccountTransferred { holder, .. } => {
                self.holder = Some(holder);
                self.is_forgotten = false;
            }
            AccountEvent::MoneyDeposited { balance, .. }
            | AccountEvent::CashWithdrawn { balance, .. }
            | AccountEvent::CheckWritten { balance, .. } => self.balance = balance,
            AccountEvent::HolderForgotten { balance } => {
                self.balance = balance.unwrap_or(self.balance);
                (self.holder, self.is_open, self.is_forgotten) = (None, true, true);
            }
        }
    }
}

/// A statement of account, as a table of the bank's shows it: in clear. After a forgetting it is made anew, by a replay of its account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// Who holds the account.
    pub holder: Option<String>,
    /// In cents.
    pub balance: i64,
    /// A line for each booking.
    pub lines: Vec<String>,
}

impl View<Account> for Statement {
    fn update(&mut self, event: &EventEnvelope<Account>) {
        // A replay begins with the first event again.
        if event.sequence == 1 {
            *self = Self::default();
        }
        let (balance, line) = match &event.payload {
            AccountEvent::AccountOpened { holder, .. }
            | AccountEvent::AccountTransferred { holder, .. } => {
                self.holder = Some(holder.clone());
                return;
            }
            AccountEvent::MoneyDeposited { amount, balance, memo } => {
                (*balance, format!("+{amount} {memo}"))
            }
            AccountEvent::CashWithdrawn { amount, balance, machine } => {
                (*balance, format!("-{amount} {machine}"))
            }
            AccountEvent::CheckWritten { amount, balance, payee, number } => {
                (*balance, format!("-{amount} check {number} to {payee}"))
            }
            AccountEvent::HolderForgotten { balance } => {
                self.holder = None;
                (balance.unwrap_or(self.balance), "forgotten".to_owned())
            }
        };
        self.balance = balance;
        self.lines.push(line);
    }
}
