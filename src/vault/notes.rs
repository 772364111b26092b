//! Notes: what the vault and the rooms above it keep in the tree, sealed and removable for good.
//!
//! A note is at `3 ‖ kind ‖ id ‖ part` (see [`super::places`]). All numbers are big-endian; JSON is UTF-8.
//!
//! | kind | id | note |
//! | --- | --- | --- |
//! | 1 journal | of the erasure | JSON: `erasure`, `reason`, `plan`, `secret` (32 bytes as base64url), `attempt`, `earlier`, and `taken` where there is any. A member that is unknown is refused (`src/erasure/journal.rs`) |
//! | 2 erasure | of the erasure | JSON: its record, without names (`src/erasure/journal.rs`) |
//! | 3 backup | of the backup | JSON: its entry in the catalogue (see [`super::catalogue`]) |
//! | 4 witness | zeros | JSON: `at` (revision and event), `last`, `newest`: how far announcements are known (`src/erasure/witness.rs`) |
//! | 4 witness | of an erasure | the text `believed`: the operator believes a stranger's announcement of it |
//! | 5 signing keys | zeros | JSON, format 1: the history (see [`super::signing`]) |
//! | 6 signing secret | of the signing key | 32 bytes. There is one such note, and no backup has it |
//! | 7 policy | zeros | the text of the adopted policy, UTF-8 |
//! | 8 era | 4 zeros, its order among the vault's eras(8), its name(4) | 32 bytes: its secret (see [`super::eras`]) |
//! | 9 claim | of the event | version(1): 1, `H(dependent)`(16), since when(8) in microseconds (see [`super::unsettled`]) |
//! | 10 owners | zeros | 8 bytes: the digest of the owner rules under which the whole store was read. No backup has it |
//!
//! A note that is not as it should be is an error, [`VaultError::Damaged`], or of the room that reads it.
//! But a note of kind 4 that is not is none: then all announcements are compared.

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
