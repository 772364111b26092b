//! Forgetting: from plan to tombstones.
//!
//! To forget a person, call [`Oubliette::plan`](crate::Oubliette::plan), which changes nothing, and then
//! [`Oubliette::forget`](crate::Oubliette::forget). The guide has a [chapter](crate::guide#forget) on it. The functions
//! below are for operators: lists of erasures, signing keys, and what opening a layer may ask.
//!
//! Called through methods of [`Oubliette`](crate::layer::Oubliette): `plan`, `forget`, `reopen`, `resume`.
//! Before there is a layer, the data folder calls [`replay`], [`believe`], [`pass_over`] and [`check_name`], the
//! command line [`export`], [`gaps`] and [`check_reason`]. Opening a layer calls [`accept_gaps`]. `audit` reads records and announcements.
//! An erasure runs where the vault is, and calls it directly: it signs, writes memos and destroys keys, which is given to no
//! other process. The order of the steps is what makes it safe:
//!
//! 1. **Look** into the streams concerned for events that were never sealed, which forgetting does not
//!    reach. Where there are some, it is refused, unless the caller allows it.
//! 2. **Close** the subject, and everyone whose keys will go: new appends are blocked, and those in
//!    flight are waited for. Closing can bring new dependents to light, so planning and closing
//!    alternate until nothing is new.
//! 3. **Journal** the whole plan, durably. From here on the erasure happens, whatever crashes.
//! 4. **Announce** it in the event store, sealed and without names, so that a rollback of the vault is
//!    detected. Where the store does not answer, the erasure waits.
//! 5. **Destroy** all keys in one batch and fence their subjects. The vault's pages are rewritten, and
//!    then the root slot is overwritten: that is the moment of forgetting.
//! 6. **Set tombstones** in every affected stream, signed, under ids that come from a secret of the
//!    journal and the stream, so that repeating this step changes nothing and no one can foresee them.
//! 7. **Close the books**: the journal, which holds names, is removed; a record without names
//!    stays.
//!
//! `docs/architecture.md` shows the same steps with the same numbers.

mod announce;
mod answers;
mod cascade;
mod error;
mod journal;
mod keys;
mod plan;
mod planning;
mod reason;
mod resume;
mod retell;
mod run;
mod steps;
mod survey;
#[cfg(test)]
mod tests;
mod tombstones;
mod witness;

pub(crate) use announce::{Uncounted, open, opens};
#[cfg(feature = "backup")]
pub use announce::{Unsuitable, unsuitable};
pub use answers::{Erased, ForgetOptions, Progress, Reopened};
pub use error::{
    BadMemo, ErasureError, ErasureRefusal, KeyChangeError, OperatorError, PendingError,
    UnclearError,
};
pub use journal::ErasureRecord;
pub use keys::{Compromised, KeyChange, change_key};
pub use plan::{
    AffectedStream, AffectedSubject, Foreign, Kept, KeptBy, NotReached, Plan, Untouched,
};
pub use reason::{UnfitReason, check_reason};
pub use witness::{
    Acceptance, Gap, InDoubt, RefusedStatement, Replayed, Witnessed, accept_gaps, announced,
    believe, check_name, export, gaps, pass_over, replay,
};
pub(crate) use witness::{believes_key, is_passed_over};
