//! Who may append for whom, and what is being appended.
//!
//! Used by `local`, which admits, and by `commit`, which must not judge a claim whose append is in
//! flight. Nothing here is on disk.

pub(in crate::vault) mod gate;
pub(in crate::vault) mod in_flight;

use self::gate::Pass;

/// The right to append for some subjects. Until it is dropped or expires, no erasure of these subjects
/// runs. It belongs to the task that appends, so that a caller who drops a future changes nothing.
#[derive(Debug)]
#[must_use]
pub(crate) struct Admission {
    _pass: Pass,
}

impl Admission {
    pub(in crate::vault) fn of(pass: Pass) -> Self {
        Self { _pass: pass }
    }
}
