//! What an auditor asks: which keys there are, whose, how old, and who is forgotten.
//!
//! Called through [`Oubliette::inventory`]. It reads the vault and the store, and changes
//! neither; no report holds key material.

mod inventory;

pub use inventory::{AuditError, DeadSpan, ForgottenRow, KeyRow, Row, Totals};

pub use crate::vault::KeyStanding;

#[cfg(doc)]
use crate::layer::Oubliette;
