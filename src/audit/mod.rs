//! What an auditor asks: which keys there are, whose, how old, and who is forgotten.
//!
//! Called through methods of [`Oubliette`]. No report holds key material, and nothing is changed, but that
//! [`verify`] removes orphan pages of the vault where it is told to. It asks whether vault and events
//! are whole and agree; `drill`, whether anybody forgotten can still be read from files.

mod compare;
#[cfg(feature = "drill")]
pub mod drill;
mod finding;
mod inventory;
pub mod verify;

pub use compare::PolicyComparison;
pub use finding::{Finding, Location, Severity};
pub use inventory::{AuditError, DeadSpan, ForgottenRow, KeyRow, Row, Totals, Unsealed};

#[cfg(doc)]
use crate::layer::Oubliette;
