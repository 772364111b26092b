//! Adopting a policy that is given with events.

use oubliette::store::{Refusal, StoreError};
use oubliette_folder::{DataFolder, FormerPolicy, PolicyText};

use super::{exit::CliError, open::Store};

/// A policy that was given with events. The folder adopts it before the first of them is stored: a
/// process that is killed in between leaves no event under a policy that the folder does not know.
/// If all are refused, the folder gets back what it had.
pub(super) struct Adoption {
    folder: DataFolder,
    stage: Stage,
}

enum Stage {
    /// The folder still works under its own.
    Given(PolicyText),
    /// It is the folder's; whether anything is stored under it is not known yet.
    Begun(PolicyText, FormerPolicy),
    /// It is the folder's for good, or none was given.
    Over,
}

impl Adoption {
    pub(super) fn of(folder: DataFolder, given: Option<PolicyText>) -> Self {
        Self { folder, stage: given.map_or(Stage::Over, Stage::Given) }
    }

    /// To be called before events are handed to the store.
    pub(super) async fn begin(&mut self, store: &Store) -> Result<(), CliError> {
        if let (Stage::Given(given), Some(vault)) = (&self.stage, store.vault()) {
            let former = self.folder.adopt(vault, given).await?;
            self.stage = Stage::Begun(given.clone(), former);
        }
        Ok(())
    }

    /// Some of the events are stored, or nobody knows.
    pub(super) fn keep(&mut self) {
        self.stage = Stage::Over;
    }

    /// All of the events were refused.
    pub(super) async fn put_back(&mut self, store: &Store) -> Result<(), CliError> {
        match (std::mem::replace(&mut self.stage, Stage::Over), store.vault()) {
            (Stage::Begun(given, former), Some(vault)) => {
                self.folder.put_back(vault, former).await?;
                self.stage = Stage::Given(given);
            }
            (stage, _) => self.stage = stage,
        }
        Ok(())
    }
}

/// Whether an error is about the store or the vault, and not about what was to be appended: whether
/// it is stored is then not known.
pub(super) fn is_the_stores(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::Backend { .. }
            | StoreError::Damaged { .. }
            | StoreError::Vault(_)
            // The task of the append did not end: nobody knows what it stored.
            | StoreError::Task(_)
            | StoreError::Unsupported(_)
            | StoreError::Refused { refusal: Refusal::NoVault, .. }
    )
}

#[cfg(test)]
mod tests {
    use oubliette::TaskError;

    use super::*;

    #[test]
    fn an_append_that_nobody_saw_end_is_not_taken_for_refused() {
        for error in [TaskError::Panicked, TaskError::Cancelled] {
            assert!(is_the_stores(&StoreError::Task(error)));
        }
        assert!(!is_the_stores(&StoreError::Invalid("too long".to_owned())));
    }
}
