//! What the operator says of announcements, and when it is noted: most of it before the layer opens, and that a
//! gap is accepted once the opening has found one.

use uuid::Uuid;

use super::{AnyStore, DataFolder, FolderError, Note};
use oubliette::{
    erasure::{self, ErasureError, OperatorError},
    event::{Announcement, EventId},
    layer::Oubliette,
    policy::Policy,
    vault::Vault,
};

impl DataFolder {
    /// Accepting, in this name, that announcements are missing: those that are missing when the folder is opened,
    /// also if that was not found before. Where none is missing, opening fails with
    /// [`OperatorError::NoGap`], so that no script says it for good. See [`Oubliette::open_past_gap`].
    #[must_use]
    pub fn past_gap(mut self, by: Option<String>) -> Self {
        self.past_gap = by;
        self
    }

    /// Passing over the announcements that are named so; see [`erasure::pass_over`].
    #[must_use]
    pub fn past_erasures(mut self, named: Vec<Uuid>) -> Self {
        self.past_erasures = named;
        self
    }

    /// Applying the announcements that are named so, on a stranger's word; see [`erasure::believe`].
    #[must_use]
    pub fn believed_erasures(mut self, named: Vec<Uuid>) -> Self {
        self.believed_erasures = named;
        self
    }

    /// With these announcements beside those of the event store, for what is named.
    #[must_use]
    pub fn with_list(mut self, listed: Vec<Announcement>) -> Self {
        self.listed = listed;
        self
    }

    /// Whether all that was said can be followed, as far as that is seen without looking anywhere. Opening
    /// and restoring ask the same, before anything is read.
    ///
    /// # Errors
    /// [`FolderError::Contradiction`], [`OperatorError::UnfitName`].
    pub fn check(&self) -> Result<(), FolderError> {
        self.past_gap.as_deref().map_or(Ok(()), erasure::check_name)?;
        match self.past_erasures.iter().find(|named| self.believed_erasures.contains(named)) {
            Some(&named) => Err(FolderError::Contradiction { believed: named, passed: named }),
            None => Ok(()),
        }
    }

    /// An error where something is said of announcements: a folder that is made has none.
    pub(super) fn refuse_words(&self) -> Result<(), OperatorError> {
        match self.past_erasures.iter().chain(&self.believed_erasures).next() {
            Some(&named) => Err(OperatorError::NotInDoubt(named)),
            None if self.past_gap.is_some() => Err(OperatorError::NoGap),
            None => Ok(()),
        }
    }

    /// What is announced, as far as something is said of it.
    ///
    /// # Errors
    /// [`FolderError::Contradiction`], before anything is noted; those of the store.
    pub(super) async fn announced(
        &self,
        store: &AnyStore,
    ) -> Result<Vec<Announcement>, FolderError> {
        if self.past_erasures.is_empty() && self.believed_erasures.is_empty() {
            return Ok(Vec::new());
        }
        let mut announced = erasure::announced(store).await?;
        announced.extend(self.listed.iter().cloned());
        // An erasure goes by its own id, and by those of the events that announce it.
        let events = |named: Uuid| -> Vec<EventId> {
            let is_named = |said: &&Announcement| {
                said.id().0 == named || said.erasure().is_some_and(|erasure| erasure.0 == named)
            };
            announced.iter().filter(is_named).map(Announcement::id).collect()
        };
        for &passed in &self.past_erasures {
            let events_passed = events(passed);
            let is_same = |&&believed: &&Uuid| {
                events(believed).iter().any(|event| events_passed.contains(event))
            };
            if let Some(&believed) = self.believed_erasures.iter().find(is_same) {
                return Err(FolderError::Contradiction { believed, passed });
            }
        }
        Ok(announced)
    }

    /// Notes what is said of announcements.
    pub(super) async fn decide(
        &self,
        vault: &Vault,
        announced: &[Announcement],
    ) -> Result<(), FolderError> {
        for named in &self.past_erasures {
            erasure::pass_over(vault, announced, *named).await?;
        }
        for named in &self.believed_erasures {
            erasure::believe(vault, announced, *named).await?;
        }
        Ok(())
    }

    /// Opens the layer, over a gap where somebody accepts what this very opening finds to be missing.
    pub(super) async fn open_layer(
        &self,
        store: &AnyStore,
        vault: &Vault,
        policy: &Policy,
        notes: &mut Vec<Note>,
    ) -> Result<Oubliette<AnyStore>, ErasureError> {
        let (store, vault, policy) = (store.clone(), vault.clone(), policy.clone());
        let Some(by) = &self.past_gap else { return Oubliette::open(store, vault, policy).await };
        let (oubliette, accepted) = Oubliette::open_past_gap(store, vault, policy, by).await?;
        notes.extend(accepted.iter().map(|gap| {
            let event = gap.event;
            Note::Text(format!(
                "announcement {event} is missing, which is accepted from now on; `verify` tells of it"
            ))
        }));
        Ok(oubliette)
    }
}
