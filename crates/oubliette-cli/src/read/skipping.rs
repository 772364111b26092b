//! What `--skip-unreadable` passes over: damage of single events, and nothing that a vault says.

use oubliette::{
    event::{Position, Revision},
    store::{StoreError, Unreadable},
};

use crate::output::{self, note};

/// An event that cannot be opened, behind which reading goes on.
pub(super) struct Behind {
    pub(super) position: Position,
    /// Where that is known.
    pub(super) revision: Option<Revision>,
}

impl Behind {
    /// `None`: the error is not about the damage of one event.
    fn of(error: &StoreError) -> Option<Self> {
        match error {
            StoreError::Unreadable { position, revision, unreadable, .. }
                if is_damage(unreadable) =>
            {
                Some(Self { position: *position, revision: Some(*revision) })
            }
            StoreError::Damaged { position, .. } => {
                Some(Self { position: *position, revision: None })
            }
            _ => None,
        }
    }
}

/// Whether this is about the one event: it is damaged, or its key is not there. Nothing of it is shown, and what it is
/// says nothing of the others.
///
/// Not so what a vault says. A tombstone that is undone may be all that is left to tell that forgotten people's keys
/// are back: whoever reads past it is served them in clear.
fn is_damage(unreadable: &Unreadable) -> bool {
    match unreadable {
        Unreadable::Tampered
        | Unreadable::KeyMissing
        | Unreadable::NotBase64
        | Unreadable::Truncated
        | Unreadable::Malformed(_)
        | Unreadable::Untagged
        | Unreadable::ForgedHole
        | Unreadable::Misplaced
        | Unreadable::Purged
        | Unreadable::HalfMissing
        // Another vault's event, where two have one store.
        | Unreadable::OtherVault
        // Its key was lost when a backup was restored. What was announced since is applied by then.
        | Unreadable::UnknownEra => true,
        // What only a newer program understands may be its vault's word. No program ever wrote a zero there.
        Unreadable::Version(_) | Unreadable::Algorithm(_) | Unreadable::NotesVersion(_) => {
            !unreadable.is_newer()
        }
        Unreadable::State(_) | Unreadable::Undone => false,
        // The library may tell of more one day: until it is looked at here, nothing is read past it.
        _ => false,
    }
}

/// Events that were passed over.
#[derive(Default)]
pub(super) struct Skipped {
    pub(super) count: u64,
    last: Option<Position>,
}

/// Of how many each is told.
const TOLD: u64 = 20;

impl Skipped {
    /// Takes an error for an event that is passed over, and tells of it. `None`: reading cannot go on behind it.
    pub(super) fn pass(&mut self, json: bool, error: &StoreError) -> Option<Behind> {
        let behind = Behind::of(error)?;
        // Whatever comes after it, it is not the same one again.
        if self.last.replace(behind.position) == Some(behind.position) {
            return None;
        }
        self.count += 1;
        if self.count <= TOLD {
            note(json, &format!("passed over: {error}"));
        }
        Some(behind)
    }

    pub(super) fn tell(&self, json: bool) {
        if self.count == 0 {
            return;
        }
        let text = format!(
            "{} passed over that cannot be opened; `oubliette verify` tells of each",
            output::count(self.count, "event")
        );
        if json {
            let told = serde_json::json!({ "note": text, "skipped": self.count });
            output::to_stderr(&told.to_string());
        } else {
            note(false, &text);
        }
    }
}

#[cfg(test)]
mod tests {
    use oubliette::event::EventId;

    use super::*;

    #[test]
    fn what_a_vault_says_is_passed_over_by_no_one() {
        let passes = |unreadable| {
            let error = StoreError::Unreadable {
                stream: "user-1".parse().unwrap(),
                revision: Revision(2),
                position: Position::number(3),
                id: EventId::random(),
                unreadable,
            };
            Skipped::default().pass(true, &error).is_some()
        };
        for damage in [
            Unreadable::Tampered,
            Unreadable::KeyMissing,
            Unreadable::UnknownEra,
            Unreadable::Malformed("a test"),
            // No program wrote that.
            Unreadable::Version(0),
        ] {
            assert!(passes(damage.clone()), "{damage}");
        }
        for said in [
            Unreadable::Undone,
            Unreadable::State(None),
            Unreadable::State(Some("suspended".to_owned())),
            Unreadable::Version(9),
            Unreadable::Algorithm(9),
            Unreadable::NotesVersion(9),
        ] {
            assert!(!passes(said.clone()), "{said}");
        }
    }
}
