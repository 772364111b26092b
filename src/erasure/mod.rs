//! Forgetting: from plan to tombstones.
//!
//! Called through [`Oubliette`](crate::layer::Oubliette): `plan`, `forget`, `reopen`, `resume`.
//! The order of things is what makes it safe, and it is this:
//!
//! 0. **Look** into the streams concerned for what forgetting does not reach: events that were never
//!    sealed. Where there are some, it is refused, unless the caller knows.
//! 1. **Close** the subject, and everyone whose keys will go: appends under way are waited for,
//!    new ones wait. Closing can bring new dependents to light, so that planning and closing
//!    alternate until nothing is new.
//! 2. **Journal** the whole plan, durably. From here on the erasure happens, whatever crashes.
//! 3. **Announce** it in the event store, sealed and without names, so that a vault that is rolled
//!    back is found out. Where the store does not answer, the erasure waits.
//! 4. **Destroy** all keys in one batch and fence their subjects.
//! 5. **Tombstones** on every affected stream, signed, under ids that come from a secret of the
//!    journal and the stream, so that repeating this step changes nothing and nobody foresees them.
//! 6. **Close the books**: the journal, which holds names, is removed; a record without names
//!    stays.

mod announce;
mod doom;
mod error;
mod journal;
mod keys;
mod plan;
mod reason;
mod run;
mod survey;
mod tombstones;
mod witness;

#[cfg(feature = "cli")]
pub(crate) use announce::unsuitable;
pub(crate) use announce::{Uncounted, open, opens};
pub use error::ErasureError;
pub use journal::ErasureRecord;
pub use keys::{KeyChange, KeyChangeError, change_key};
pub use plan::{
    AffectedStream, AffectedSubject, Foreign, Keeper, Kept, NotReached, Plan, Unsealed,
};
pub use reason::UnfitReason;
pub use run::{Erased, ForgetOptions, Progress, Reopened};
pub use witness::{RefusedStatement, Replayed, Witnessed, believe, export, pass_over, replay};

pub use crate::event::{Announcement, AnnouncementError, AnnouncementKind};
