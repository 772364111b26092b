//! Sealing events: the one path of layer and codec.
//!
//! The policy cuts ([`Work::cut`]); then [`prepare`] admits everybody concerned, notes owner
//! claims, fetches keys and seals. What comes out is ready to be stored, and a [`Permit`] is the
//! right to store it: no one concerned is forgotten until it is settled, or ends. The layer appends it to its store,
//! the codec hands it to its caller; that is all in which they differ, but for who can say what is
//! in the store ([`StoreView`]).

mod claims;
mod event;
mod keys;
pub(super) mod owned;
mod permit;

use std::{future::Future, sync::Arc};

pub(super) use event::SealedEvent;
pub(super) use permit::Permit;

use super::{Codec, CodecError, halves::PATIENCE};
use crate::{
    event::{Holes, MAX_PAYLOAD_BYTES, NewEvent, StreamName, Subject},
    policy::{CutEvent, EventFacts, Policy, personal_data::check_text},
    store::{Capabilities, StoreError, lacking},
    vault::{AdmissionRequest, Claim, Guard, Keeper, VaultError},
};

/// How often open claims are settled before giving up: each round settles all that it finds.
pub(super) const SETTLING_ROUNDS: usize = 3;

/// Who can say which events are in the store.
pub(super) trait StoreView: Sync {
    /// What goes wrong with looking.
    type Error: From<CodecError> + std::error::Error + Send + 'static;

    /// Whether only the caller can say so.
    const BY_CALLER: bool;

    /// Settles the open claims of a dependent, as far as it can be told.
    fn settle(
        &self,
        vault: &dyn Keeper,
        dependent: &Subject,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Whether the events of all these claims are known to be stored, and to state them.
    fn holds_all(&self, claims: &[Claim])
    -> impl Future<Output = Result<bool, Self::Error>> + Send;
}

/// What goes to one stream, cut by the policy and not yet sealed.
pub(super) struct Work {
    pub(super) stream: StreamName,
    /// Whether its events are in two halves.
    pub(super) split: bool,
    pub(super) events: Vec<(NewEvent, CutEvent)>,
}

impl Work {
    /// Refuses what can be refused without touching anything: names, payloads, policy.
    pub(super) fn cut(
        policy: &Policy,
        stream: StreamName,
        split: bool,
        events: Vec<NewEvent>,
    ) -> Result<Self, CodecError> {
        let cut = |event: NewEvent| {
            check_size(&event)?;
            let facts = EventFacts {
                stream: &stream,
                event_type: &event.event_type,
                subject: event.subject.as_ref(),
            };
            let cut = match &event.holes {
                None => policy.cut(&facts, &event.data, event.metadata.as_ref())?,
                Some(holes) => {
                    check_holes(&event, holes)?;
                    let data = Some(&event.data).filter(|_| !holes.bare);
                    policy.cut_copy(&facts, data, event.metadata.as_ref())?
                }
            };
            Ok((event, cut))
        };
        let events = events.into_iter().map(cut).collect::<Result<_, CodecError>>()?;
        Ok(Self { stream, split, events })
    }

    /// Refuses what would be in clear, and a store with these capabilities could not give back.
    pub(super) fn fits(&self, capabilities: Capabilities) -> Result<(), StoreError> {
        let in_clear = self.events.iter().flat_map(|(_, cut)| [&cut.public, &cut.public_metadata]);
        match in_clear.flatten().find_map(|json| lacking(json, capabilities)) {
            Some(capability) => Err(StoreError::Unsupported(capability)),
            None => Ok(()),
        }
    }

    /// Refuses more split events in one call than a reader would find the other halves of without looking each up.
    pub(super) fn refuse_too_many_halves(work: &[Self]) -> Result<(), StoreError> {
        let halves: usize =
            work.iter().filter(|work| work.split).map(|work| work.events.len()).sum();
        if halves <= PATIENCE {
            return Ok(());
        }
        Err(StoreError::Invalid(format!(
            "{halves} split events in one call, at most {PATIENCE} are accepted"
        )))
    }
}

/// The longest name of a field that a hole may have: longer than any pointer of a policy should be.
const LONGEST_FIELD: usize = 512;

/// The names of the fields that are missing stay in clear, and come from the maker of the copy.
fn check_holes(event: &NewEvent, holes: &Holes) -> Result<(), CodecError> {
    let fits = |field: &str| {
        field == "*"
            || (field.starts_with('/') && field.len() <= LONGEST_FIELD && check_text(field).is_ok())
    };
    if holes.not_wanted {
        return Err(CodecError::Invalid(format!(
            "event {} is a copy of one that was not read whole, because its reader did not want all of it; read it without \
             that, and copy it again",
            event.id
        )));
    }
    if holes.fields().all(fits) {
        return Ok(());
    }
    Err(CodecError::Invalid(format!(
        "event {} has a hole with a field that is no JSON pointer, or that looks like personal data: the \
         names of fields stay in clear",
        event.id
    )))
}

fn check_size(event: &NewEvent) -> Result<(), CodecError> {
    let metadata = event.metadata.as_ref().map_or(0, |metadata| metadata.as_str().len());
    let bytes = event.data.as_bytes().len().saturating_add(metadata);
    if bytes <= MAX_PAYLOAD_BYTES {
        return Ok(());
    }
    Err(CodecError::Invalid(format!(
        "event {} has {bytes} bytes of payload and metadata, at most {MAX_PAYLOAD_BYTES} are \
         accepted; keep large data elsewhere and refer to it",
        event.id
    )))
}

/// Events that are sealed, and the right to store them.
pub(super) struct Prepared {
    /// For each [`Work`] its events.
    pub(super) sealed: Vec<Vec<SealedEvent>>,
    pub(super) permit: Permit,
}

/// Seals all of it. To be run to its end, also if no caller waits for it any more: claims that were
/// noted must not be left without somebody who settles them.
pub(super) async fn prepare<V: StoreView>(
    codec: &Codec,
    keeper: &Arc<dyn Keeper>,
    view: &V,
    work: &[Work],
) -> Result<Prepared, V::Error> {
    let vault = &**keeper;
    let admission = admit(codec, vault, work).await.map_err(CodecError::from)?;
    // What was cut off earlier is settled before this attempt's events count as in flight: it may
    // be the retry of the one that was cut off, and their ids the same.
    for Work { stream, events, .. } in work {
        if events.iter().any(|(_, cut)| !cut.owners.is_empty()) {
            view.settle(vault, &Subject::of(stream)).await?;
        }
    }
    for work in work {
        owned::check(codec, vault, view, work).await?;
    }
    let mut permit = Permit::begin(keeper, admission, work).await.map_err(CodecError::from)?;
    match seal_all(codec, vault, view, work).await {
        Ok(sealed) => Ok(Prepared { sealed, permit }),
        Err(error) => {
            permit.judge(view).await;
            Err(error)
        }
    }
}

/// Everybody whose keys are needed, or who is named as an owner; and each stream's own subject:
/// the stream of somebody who is forgotten takes no events, no matter whom they are about.
async fn admit(codec: &Codec, vault: &dyn Keeper, work: &[Work]) -> Result<Guard, VaultError> {
    let mut opening = AdmissionRequest::default();
    for Work { stream, events, .. } in work {
        opening.shared.push(Subject::of(stream));
        for (_, cut) in events {
            opening.shared.extend(cut.parts.iter().map(|part| part.subject.clone()));
            opening.shared.extend(cut.owners.iter().map(|change| change.owner().clone()));
            if cut.owners.iter().any(|change| change.begins_generation()) {
                opening.exclusive.push(Subject::of(stream));
            }
        }
    }
    opening.exclusive.sort();
    opening.exclusive.dedup();
    opening.shared.sort();
    opening.shared.dedup();
    opening.shared.retain(|subject| opening.exclusive.binary_search(subject).is_err());
    vault.admit(opening, codec.lasting()).await
}

async fn seal_all<V: StoreView>(
    codec: &Codec,
    vault: &dyn Keeper,
    view: &V,
    work: &[Work],
) -> Result<Vec<Vec<SealedEvent>>, V::Error> {
    let (keys, begun) = keys::fetch_all(codec, vault, view, work).await?;
    let mut sealed = Vec::with_capacity(work.len());
    for (work, begun) in work.iter().zip(&begun) {
        let mut events = Vec::with_capacity(work.events.len());
        for ((event, cut), begun) in work.events.iter().zip(begun) {
            let keys = keys.of(&work.stream, cut, *begun);
            events.push(event::seal(codec.policy(), vault, work, event, cut, &keys).await?);
        }
        sealed.push(events);
    }
    Ok(sealed)
}

#[cfg(test)]
mod tests;
