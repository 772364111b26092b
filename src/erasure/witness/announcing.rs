//! Having the store announce an erasure, before anything is destroyed.

use super::{
    super::{
        ErasureError, ErasureRecord, PendingError,
        announce::{Chain, Draft, open, stream},
        journal::Journal,
        keys::{refuses, say_due},
    },
    look,
    mark::Mark,
};
use crate::{
    event::{Announcement, AnnouncementRef, ErasureId, EventId, NameError, NewEvent, Revision},
    layer::Layer,
    store::{Append, EventStore, ExpectedRevision, StoreError},
    vault::{Decision, Destruction, Vault, VaultError},
};

/// How many subjects one announcement names at most: some forty kilobytes, which any store takes.
pub(super) const SUBJECTS_PER_ANNOUNCEMENT: usize = 1024;
/// How many times other events may have the ids of an announcement before something else is the
/// matter than chance.
const MOST_ATTEMPTS: usize = 8;

/// Has the store announce the erasure. Returns whether it has: one that never takes such events
/// cannot bear witness, and must not keep any keys alive.
pub(in crate::erasure) async fn announce<S: EventStore>(
    layer: &Layer<S>,
    vault: &Vault,
    journal: &mut Journal,
    destruction: &Destruction,
    record: &mut ErasureRecord,
    mark: &mut Mark,
) -> Result<bool, ErasureError> {
    let erasure = journal.erasure;
    let pending = |error| match error {
        ErasureError::Pending(PendingError::KeyChange(source) | PendingError::Repeat(source)) => {
            PendingError::Announcement { erasure, source }.into()
        }
        other => other,
    };
    // A reader of the announcement must know the key that signs it.
    say_due(layer, vault).await.map_err(pending)?;
    *mark = Mark::load(vault)?;
    for _ in 0..MOST_ATTEMPTS {
        let decision = vault.decision(destruction, &record.to_memo()?)?;
        let said = parts(vault, journal, mark.tips(), decision)?;
        let ids: Vec<_> = said.iter().map(Announcement::id).collect();
        let append = Append::new(stream()?, ExpectedRevision::Any, events_of(&said)?);
        let appended = match layer.answer(layer.store.append(vec![append])).await {
            Ok(appended) => appended.first().copied(),
            Err(StoreError::IdInUse { .. }) => None,
            Err(error) if refuses(&error) => {
                tracing::warn!(
                    %erasure, error = %crate::words::chain(&error),
                    "the event store does not take announcements of erasures: a vault that is \
                     rolled back to before this one will not be found out by it"
                );
                return Ok(false);
            }
            Err(source) => return Err(PendingError::Announcement { erasure, source }.into()),
        };
        // An earlier attempt was answered, and the answer was lost; or another event has the id.
        let is_new = appended.is_some_and(|appended| !appended.already);
        let said = match is_new {
            true => Some(said),
            false => said_before(layer, vault, erasure, &ids).await?,
        };
        if let Some(said) = said {
            let revision = appended.map(|appended| appended.revision);
            *mark = after_saying(layer, vault, revision, &said).await?;
            return Ok(true);
        }
        tracing::error!(
            events = ?ids,
            "another event has the id of an announcement, which nobody could foresee; it gets \
             another id: find out who appended that event"
        );
        journal.try_anew();
        journal.write(vault).await?;
        record.attempt = journal.attempts();
    }
    let source = StoreError::IdInUse { id: journal.announcement(0), stream: stream()? };
    Err(PendingError::Announcement { erasure, source }.into())
}

/// The parts of the announcement.
fn parts(
    vault: &Vault,
    journal: &Journal,
    tips: Vec<AnnouncementRef>,
    mut decision: Decision,
) -> Result<Vec<Announcement>, VaultError> {
    let taken = std::mem::take(&mut decision.taken);
    let mut parts: Vec<_> = taken.chunks(SUBJECTS_PER_ANNOUNCEMENT).collect();
    if parts.is_empty() {
        parts.push(&[]);
    }
    let mut chain = Chain::behind(tips);
    let mut said = Vec::with_capacity(parts.len());
    for (part, taken) in parts.into_iter().enumerate() {
        decision.taken = taken.to_vec();
        said.push(chain.say(Draft::of(&decision), vault, journal.announcement(part), None)?);
    }
    Ok(said)
}

pub(in crate::erasure) fn events_of(said: &[Announcement]) -> Result<Vec<NewEvent>, StoreError> {
    let invalid = |error: NameError| StoreError::Invalid(error.to_string());
    said.iter().map(Announcement::to_event).collect::<Result<_, _>>().map_err(invalid)
}

/// How far the announcements are known after these were appended, the last of them at `revision`, as far as that is
/// known.
pub(in crate::erasure) async fn after_saying<S: EventStore>(
    layer: &Layer<S>,
    vault: &Vault,
    revision: Option<Revision>,
    said: &[Announcement],
) -> Result<Mark, VaultError> {
    let mut mark = Mark::load(vault)?;
    if mark.advance(revision, said) {
        return Ok(mark);
    }
    // Another vault over the same store, as a rule; or a copy of this one.
    if let Err(error) = look(layer, vault).await {
        tracing::warn!(vault = %vault.id(), error = %crate::words::chain(&error), "what others announced is not known");
    }
    // What it found is noted also where it failed.
    Ok(Mark::load(vault)?.with(said))
}

/// What the events with these ids say, if they all announce the erasure in this vault's word. What an earlier attempt
/// said is sealed in another way, and the next announcement names what is there.
async fn said_before<S: EventStore>(
    layer: &Layer<S>,
    vault: &Vault,
    erasure: ErasureId,
    ids: &[EventId],
) -> Result<Option<Vec<Announcement>>, ErasureError> {
    let pending = |source| PendingError::Announcement { erasure, source };
    let found = layer.find_in(&stream()?, ids.iter().copied().collect(), None).await;
    let found = found.map_err(pending)?;
    let mut said = Vec::with_capacity(ids.len());
    for event in &found {
        let Some(announcement) = Announcement::of(event) else { return Ok(None) };
        match open(&announcement, vault)? {
            Ok(decision) if decision.erasure == erasure => {}
            _ => return Ok(None),
        }
        said.push(announcement);
    }
    said.sort_by_key(|said| ids.iter().position(|id| *id == said.id()));
    Ok(Some(said).filter(|said| said.len() == ids.len()))
}
