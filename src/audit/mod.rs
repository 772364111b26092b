//! What an auditor asks: which keys there are, whose, how old, and who is forgotten.
//!
//! All of it is methods of [`Oubliette`]. [`Oubliette::inventory`] lists the keys. [`Oubliette::verify`] checks that vault
//! and events are whole and agree. [`Oubliette::storage`] counts what the events take, living and dead. `Oubliette::drill` (feature `drill`) checks whether anyone forgotten can still be read
//! from files. No report holds key material. Nothing is changed, except that `verify` removes orphan pages of the vault if
//! it is told to.

// It runs where the vault is, and calls it directly: it looks at pages.

mod compare;
#[cfg(feature = "drill")]
pub mod drill;
mod finding;
mod inventory;
mod storage;
pub mod verify;

pub use compare::PolicyComparison;
pub use finding::{Finding, Location, Severity};
pub use inventory::{AuditError, DeadSpan, ForgottenRow, KeyRow, Row, Totals, Unsealed};
pub use storage::{FamilyStorage, Storage};

#[cfg(doc)]
use crate::layer::Oubliette;
