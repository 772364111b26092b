//! How far the vault knows what is announced, and what the store has behind that.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::super::{ErasureError, announce::stream};
use crate::{
    event::{
        ANNOUNCED, Announcement, AnnouncementRef, Digest, EventId, Payload, RecordedEvent,
        Revision, VaultNote, framed,
    },
    layer::Layer,
    store::{Capability, Direction, EventStore, ReadAllOptions, ReadOptions, StoreError},
    vault::{MemoKind, Vault, VaultError, memos},
};

/// The id of the memo of the kind `Witness` that holds the [`Mark`]. The other one of that kind is of
/// [gaps](super::gap).
const MARK: [u8; 16] = [0; 16];

/// An event of the stream of announcements, with all that it says: somebody may change it where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct At {
    revision: Revision,
    event: EventId,
    /// SHA-256 of what it says.
    digest: Digest,
}

impl At {
    pub(super) fn of(event: &RecordedEvent) -> Self {
        let mut text = String::new();
        let said = match &event.data {
            // A store may spell it in another way.
            Some(Payload::Json(data)) => {
                data.tree().root().canonical(&mut text, &[]);
                text.as_bytes()
            }
            Some(Payload::Bytes(bytes)) => bytes,
            None => b"",
        };
        Self::new(event.revision, event.id, event.event_type.as_str(), said)
    }

    fn new(revision: Revision, event: EventId, event_type: &str, said: &[u8]) -> Self {
        let digest = Sha256::digest(framed(&[event_type.as_bytes(), said]));
        Self { revision, event, digest: Digest(digest.into()) }
    }
}

/// How far the vault knows the announcements in the store: all of its own up to this event.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::erasure) struct Mark {
    /// The last event that was looked at, of whichever vault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) at: Option<At>,
    /// Its own that no other names, as far as it knows: they should be there, and the next one names them. This
    /// is known, and not available from the store again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) tips: Vec<Tip>,
}

/// An announcement that no other names, and where it is. Anyone who can write to the store can put something behind it, so
/// that the last event alone does not show that this one is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tip {
    event: EventId,
    digest: Digest,
    /// At which revision; `None`: it was not there when it was looked for, or it was not looked for yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) seen: Option<Revision>,
}

impl Tip {
    pub(super) fn new(named: AnnouncementRef, seen: Option<Revision>) -> Self {
        let AnnouncementRef { event, digest } = named;
        Self { event, digest, seen }
    }

    pub(super) fn announcement(&self) -> AnnouncementRef {
        AnnouncementRef { event: self.event, digest: self.digest }
    }
}

impl Mark {
    /// A damaged mark is none: all that the store has is compared, and only what was the newest is not missed. One
    /// that a newer program wrote is an error.
    pub(in crate::erasure) fn load(vault: &Vault) -> Result<Self, VaultError> {
        let note = vault.memo(MemoKind::Witness, MARK)?;
        Ok(note
            .and_then(|note| memos::from_json(MemoKind::Witness, &note).ok())
            .unwrap_or_default())
    }

    /// Has everything that was announced compared again. Which announcements should be there is known all the
    /// same.
    pub(in crate::erasure) async fn rewind(vault: &Vault) -> Result<(), VaultError> {
        Self { at: None, ..Self::load(vault)? }.save(vault).await
    }

    pub(in crate::erasure) async fn save(self, vault: &Vault) -> Result<(), VaultError> {
        // Where nothing is written, the next one to open it looks again.
        if Self::load(vault)? == self || vault.is_read_only() {
            return Ok(());
        }
        let note = memos::to_json(&self)?;
        vault.put_memo(MemoKind::Witness, MARK, &note).await
    }

    /// After announcements of this vault's own were appended, the last of them at `revision`. `false`: that is not known,
    /// or others wrote in between, and may have been copies of this vault; nothing is changed then.
    pub(super) fn advance(&mut self, revision: Option<Revision>, said: &[Announcement]) -> bool {
        let next = self.at.map_or(0, |at| at.revision.0 + 1);
        let is_next = |at: &Revision| {
            let end = at.0.checked_add(1);
            end.is_some_and(|end| end.checked_sub(said.len() as u64) == Some(next))
        };
        let (Some(revision), Some(last)) = (revision.filter(is_next), said.last()) else {
            return false;
        };
        // They may have been signed before others were seen, and do not name those.
        let is_named =
            |tip: &Tip| said.iter().any(|said| said.named().contains(&tip.announcement()));
        self.tips.retain(|tip| !is_named(tip));
        // Its own first: whatever others there are, the next one names this.
        self.tips.insert(0, Tip::new(last.reference(), Some(revision)));
        self.at = Some(At::new(revision, last.id(), ANNOUNCED, last.text().as_bytes()));
        true
    }

    /// With the last of what this vault said itself, whatever else was read.
    pub(super) fn with(mut self, said: &[Announcement]) -> Self {
        let last = said.last().map(Announcement::reference);
        let is_new =
            |last: &AnnouncementRef| self.tips.iter().all(|tip| tip.announcement() != *last);
        if let Some(last) = last.filter(is_new) {
            self.tips.insert(0, Tip::new(last, None));
        }
        self
    }

    /// The announcements that the next one names, as many as it may: its own first, then those that were known first.
    pub(in crate::erasure) fn tips(&self) -> Vec<AnnouncementRef> {
        self.tips.iter().map(Tip::announcement).collect()
    }
}

/// Whether there is nothing at all in the store, but for notes whose it is: then it never held what was announced, as far
/// as can be told, and nothing is hidden by it that can still be read there.
pub(super) async fn is_empty<S: EventStore>(layer: &Layer<S>) -> Result<bool, ErasureError> {
    if !layer.store.capabilities().has(Capability::ReadAll) {
        return Ok(false);
    }
    let mut all = layer.store.read_all(ReadAllOptions::default());
    loop {
        match layer.next(&mut all).await.map_err(ErasureError::WitnessSilent)? {
            None => return Ok(true),
            Some(event) if VaultNote::of(&event).is_some() => {}
            Some(_) => return Ok(false),
        }
    }
}

/// The events of the stream after a mark, in order; or, where that or a tip is no longer where it was, all that there
/// are, and that it is missing.
pub(super) async fn since<S: EventStore>(
    layer: &Layer<S>,
    mark: &Mark,
) -> Result<(Vec<RecordedEvent>, bool), StoreError> {
    let Some(at) = mark.at else { return Ok((all(layer).await?, false)) };
    for tip in &mark.tips {
        // What the mark was set at is seen by that.
        if let Some(revision) = tip.seen.filter(|revision| *revision != at.revision)
            && !is_there(layer, tip.announcement(), revision).await?
        {
            return Ok((all(layer).await?, true));
        }
    }
    match behind(layer, at).await? {
        Some(found) => Ok((found, false)),
        None => Ok((all(layer).await?, true)),
    }
}

async fn all<S: EventStore>(layer: &Layer<S>) -> Result<Vec<RecordedEvent>, StoreError> {
    layer.rest(layer.store.read(&stream()?, ReadOptions::default())).await
}

async fn is_there<S: EventStore>(
    layer: &Layer<S>,
    named: AnnouncementRef,
    revision: Revision,
) -> Result<bool, StoreError> {
    let options = ReadOptions { from: Some(revision), limit: Some(1), ..ReadOptions::default() };
    let mut events = layer.store.read(&stream()?, options);
    let found = layer.next(&mut events).await?.filter(|event| event.revision == revision);
    let found = found.as_ref().and_then(Announcement::of);
    Ok(found.is_some_and(|found| found.reference() == named))
}

/// The events behind one, in order; `None`: that one is not there.
async fn behind<S: EventStore>(
    layer: &Layer<S>,
    mark: At,
) -> Result<Option<Vec<RecordedEvent>>, StoreError> {
    let stream = stream()?;
    let mut found = Vec::new();
    if layer.store.capabilities().has(Capability::ReadBackwards) {
        let direction = Direction::Backwards;
        let mut events =
            layer.store.read(&stream, ReadOptions { direction, ..ReadOptions::default() });
        while let Some(event) = layer.next(&mut events).await? {
            if event.revision <= mark.revision {
                if At::of(&event) == mark {
                    found.reverse();
                    return Ok(Some(found));
                }
                break;
            }
            found.push(event);
        }
    } else {
        let options = ReadOptions { from: Some(mark.revision), ..ReadOptions::default() };
        let mut events = layer.store.read(&stream, options);
        if layer.next(&mut events).await?.is_some_and(|first| At::of(&first) == mark) {
            return Ok(Some(layer.rest(events).await?));
        }
    }
    Ok(None)
}
