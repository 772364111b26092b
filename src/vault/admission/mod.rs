//! Who may append for whom, and what is being appended.
//!
//! Used by `local`, which admits, and by `commit`, which must not judge a claim whose append is in
//! flight. Nothing here is on disk.

pub(in crate::vault) mod gate;
pub(in crate::vault) mod in_flight;

pub(super) use self::gate::Admission;
pub use self::gate::Closure;
