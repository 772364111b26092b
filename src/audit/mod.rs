//! What an auditor asks: which keys there are, whose, how old, and who is forgotten.
//!
//! Called through methods of [`Oubliette`]. It reads the vault and the store, and changes neither;
//! no report holds key material. [`verify`] asks whether vault and events are whole and agree.

#[cfg(feature = "drill")]
pub mod drill;
mod finding;
mod inventory;
pub mod verify;

pub use finding::{Finding, Severity, Where};
pub use inventory::{AuditError, DeadSpan, ForgottenRow, KeyRow, Row, Totals};

pub use crate::vault::KeyStanding;

#[cfg(doc)]
use crate::layer::Oubliette;
