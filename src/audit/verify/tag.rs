//! What an event's tag shows of it, when its tokens were tried.

use super::{Defect, VerifyProgress, state::Events};
use crate::{
    audit::AuditError,
    event::{KeyId, RecordedEvent},
    store::EventStore,
    vault::Tagged,
};

/// What happened to an event's tokens.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// How many there are.
    pub(super) parts: usize,
    /// The keys of those whose key is destroyed.
    pub(super) dead: Vec<KeyId>,
    /// One opened. It is bound to the key ids of all.
    pub(super) open: bool,
    /// One did not open, though its key lives. That is told already.
    pub(super) failed: bool,
    /// It notes that parts were missing when it was copied.
    pub(super) holes: bool,
}

impl<S: EventStore, T: FnMut(VerifyProgress) + Send> Events<'_, S, T> {
    /// Judges an event by its tag.
    pub(super) fn tag(
        &mut self,
        event: &RecordedEvent,
        tagged: Option<Tagged>,
        seen: &Seen,
    ) -> Result<(), AuditError> {
        // Nothing vouches that the keys are this event's. Of one that never was a key of this stream, it is known
        // that they are not: somebody wants the event to pass for a forgotten person's.
        if tagged != Some(Tagged::Ours)
            && !seen.open
            && let Some(id) = self.borrowed(event, &seen.dead)?
        {
            let what = format!("key {id} is destroyed, and it was never a key of this stream");
            self.found(Defect::BorrowedKey, event, what);
            return Ok(());
        }
        let in_clear = seen.parts == 0 && !seen.holes;
        match tagged {
            Some(Tagged::Ours) => self.report.events.shredded += seen.dead.len() as u64,
            Some(Tagged::Forged) if seen.failed => {}
            Some(Tagged::Forged) => {
                let what = match seen.dead.as_slice() {
                    [] => "its tag was made for another event",
                    _ => {
                        "its tag was made for another event: its public part was changed, or its parts"
                    }
                };
                self.found(Defect::Tampered, event, what);
            }
            Some(Tagged::UnknownEra) => {
                let what = "its tag names an era that this vault never had";
                self.found(Defect::UnknownEra, event, what);
                if in_clear {
                    self.is_forgotten(event, "nobody can vouch for what it has in clear");
                }
            }
            // Not this vault's, and no more can be said.
            _ if in_clear => self.clear(event)?,
            // A key of this vault's is in it: only this vault could have written it.
            Some(Tagged::OtherVault) => {
                let kind = if seen.dead.is_empty() { Defect::TagMissing } else { Defect::Untagged };
                self.found(kind, event, "its tag names another vault, and its key is this one's");
            }
            None if !seen.dead.is_empty() || seen.parts == 0 => {
                self.found(Defect::Untagged, event, "nothing opens, and no tag vouches for it");
            }
            None => self.found(Defect::TagMissing, event, "a sealed event without a tag"),
        }
        Ok(())
    }

    /// A key of these that was never one of the event's stream.
    fn borrowed(&self, event: &RecordedEvent, dead: &[KeyId]) -> Result<Option<KeyId>, AuditError> {
        for &id in dead {
            if !self.vault.may_be_key_of(id, &event.stream)? {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }
}
