//! Notes: what the rooms above the vault ask it to keep, sealed and removable for good.

use zeroize::Zeroizing;

use super::{
    NoteKind, Vault, VaultError,
    committer::{Committer, Job},
    places,
    tree::Erasure,
};

impl Vault {
    /// Writes a note durably, in the place of one of that kind and id.
    ///
    /// Only the room that a kind belongs to knows what its notes mean, and believes what it finds: a note
    /// that you write for it can keep the vault from opening, or an erasure from being carried out.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn put_note(
        &self,
        kind: NoteKind,
        id: [u8; 16],
        note: &[u8],
    ) -> Result<(), VaultError> {
        let note = Zeroizing::new(note.to_vec());
        self.ask(|reply| Job::PutNote(kind, id, note, reply)).await
    }

    /// Removes a note physically.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn remove_note(&self, kind: NoteKind, id: [u8; 16]) -> Result<(), VaultError> {
        self.ask(|reply| Job::RemoveNote(kind, id, reply)).await
    }

    /// One note.
    ///
    /// # Errors
    /// Storage errors.
    pub fn note(
        &self,
        kind: NoteKind,
        id: [u8; 16],
    ) -> Result<Option<Zeroizing<Vec<u8>>>, VaultError> {
        self.core().disk.whole(&places::note(kind, &id))
    }

    /// All notes of a kind.
    ///
    /// # Errors
    /// Storage errors.
    #[allow(clippy::type_complexity)]
    pub fn notes(&self, kind: NoteKind) -> Result<Vec<([u8; 16], Zeroizing<Vec<u8>>)>, VaultError> {
        let odd = || VaultError::Damaged("a note stands at an odd place".into());
        let notes = self.core().disk.wholes(places::notes(kind))?;
        let notes = notes
            .into_iter()
            .map(|(stem, note)| Ok((places::note_id(&stem).ok_or_else(odd)?, note)));
        notes.collect()
    }
}

impl Committer {
    /// Plans a note.
    pub(super) fn put_note(
        &mut self,
        kind: NoteKind,
        id: [u8; 16],
        note: &[u8],
    ) -> Result<(), VaultError> {
        self.core.disk.check()?;
        let stem = places::note(kind, &id);
        // Notes still to be written may be of the same id.
        if self.changes.range(stem.clone()..places::beginning_with(&stem).end).next().is_some() {
            self.commit()?;
        }
        let changes = self.core.disk.set_whole(&stem, note)?;
        self.changes.extend(changes);
        Ok(())
    }

    pub(super) fn remove_note(&mut self, kind: NoteKind, id: [u8; 16]) -> Result<(), VaultError> {
        self.commit()?;
        let range = places::beginning_with(&places::note(kind, &id));
        if self.core.disk.tree().range(&range.start, &range.end, 1)?.is_empty() {
            return Ok(());
        }
        let mut erasure = Erasure::default();
        if kind == NoteKind::Journal {
            // A journal that a crash took away before it counted left its bytes under the keys of
            // these pages, and names who was then forgotten by another. So wherever a journal may
            // have stood gets fresh keys.
            let all = places::notes(kind);
            for found in self.core.disk.walk(all.clone()) {
                let (place, value) = found?;
                if !range.contains(&place) {
                    erasure.changes.push((place, Some(value)));
                }
            }
            erasure.remove_ranges.push((all.start, all.end));
        } else {
            erasure.remove_ranges.push((range.start, range.end));
        }
        self.core.disk.erase(erasure)
    }
}
