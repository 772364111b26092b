//! Whom a forgetting would miss, or missed: by what the events say, whose key they have, and whom the
//! vault knows as owners.

use super::Defect;
use crate::{
    audit::AuditError,
    event::{OwnerChange, Payload, RecordedEvent, Subject, Timestamp},
    layer::Oubliette,
    policy::{EventFacts, Policy},
    store::EventStore,
    vault::{KeyInfo, SubjectState, Vault, VaultError},
};

/// What is to be told, and the words for it.
pub(super) type Told = (Defect, String);

/// Of a living key in a stream that names owners.
pub(super) fn of_key(vault: &Vault, key: &KeyInfo) -> Result<Option<Told>, VaultError> {
    let state = vault.subject_state(&key.subject)?;
    let tenure = state.tenures.iter().rfind(|tenure| tenure.from <= key.generation);
    if tenure.is_none_or(|tenure| tenure.owners.is_empty()) {
        let what = "its rule names owners, and it has none: no person's forgetting reaches it";
        return Ok(Some((Defect::Ownerless, what.to_owned())));
    }
    for owner in &key.owners {
        if lost_a_part_since(vault, owner, key)? {
            let what = format!(
                "its owner {owner} changed hands, and one part of {owner} is forgotten: what was sealed \
                 here in that time stays"
            );
            return Ok(Some((Defect::MissedInPart, what)));
        }
    }
    Ok(None)
}

/// Whether an owner lost a time in which the key may have sealed.
fn lost_a_part_since(vault: &Vault, owner: &Subject, key: &KeyInfo) -> Result<bool, VaultError> {
    let Some(fence) = vault.subject_state(owner)?.fence else { return Ok(false) };
    for (_, to, erasure) in fence.dead {
        let ended = vault.ended(owner, to)?.unwrap_or_else(|| erasure.at());
        if key.created < ended {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Of the owners that an event states, as far as it can be read. `in_clear`: nothing shows that this
/// vault wrote it.
pub(super) fn of_owners<S: EventStore>(
    layer: &Oubliette<S>,
    vault: &Vault,
    event: &RecordedEvent,
    data: &Payload,
    in_clear: bool,
) -> Result<Vec<Told>, VaultError> {
    let changes = layer.policy().stated_owners(&event.stream, &event.event_type, data);
    if changes.is_empty() {
        return Ok(Vec::new());
    }
    let dependent = Subject::of(&event.stream);
    let own = vault.subject_state(&dependent)?;
    let mut told = Vec::new();
    if is_over(vault, &own, event)? {
        return Ok(told);
    }
    for change in changes {
        let (OwnerChange::Add(owner) | OwnerChange::Replace(owner)) = &change else { continue };
        let named = own.tenures.iter().flat_map(|tenure| &tenure.owners);
        let is_named = named.into_iter().any(|named| named.subject.as_ref() == Some(owner));
        if is_named || vault.has_stated(&dependent, event.id, &change)? {
            continue;
        }
        told.push(if vault.is_closed(owner)? {
            let what = format!(
                "it states the owner {owner}, who is forgotten; that did not reach this stream"
            );
            (Defect::Missed, what)
        } else if in_clear {
            (Defect::OwnerInClear, format!("it states the owner {owner}, and was never sealed"))
        } else {
            (Defect::OwnerNotNoted, format!("it states the owner {owner}"))
        });
    }
    Ok(told)
}

/// Whether what an event states ended with a forgetting of its whole stream.
fn is_over(vault: &Vault, own: &SubjectState, event: &RecordedEvent) -> Result<bool, VaultError> {
    let Some(fence) = &own.fence else { return Ok(false) };
    // What a living generation sealed is of this life, whatever the store's clock said.
    let is_dead = |at| fence.dead.iter().any(|(from, to, _)| (*from..=*to).contains(&at));
    for key in &event.keys {
        let info = vault.key_info(*key)?;
        let of_this_life =
            |info: KeyInfo| info.subject == Subject::of(&event.stream) && !is_dead(info.generation);
        if info.is_some_and(of_this_life) {
            return Ok(false);
        }
    }
    // Only where nothing lived on do the tenures begin again, behind what died. What died in part lies within
    // them: its owners are still there, without their names.
    let begins = own.tenures.first().map(|first| first.from);
    let whole = fence.dead.iter().filter(|(_, to, _)| begins.is_none_or(|begins| *to < begins));
    let last = whole.map(|(_, _, erasure)| erasure.at()).max();
    // An erasure's id has its instant in whole milliseconds, cut off.
    let millis = |at: Timestamp| at.as_micros().div_euclid(1000);
    Ok(fence.closed || last.is_some_and(|last| millis(event.recorded) <= millis(last)))
}

/// Of the subjects for whom an event is sealed, where the present policy would say otherwise.
pub(super) fn of_subjects(
    policy: &Policy,
    vault: &Vault,
    event: &RecordedEvent,
    data: &Payload,
    sealed_for: &[Subject],
) -> Result<Option<Told>, AuditError> {
    let Some(other) = other_subject(policy, event, data, sealed_for) else { return Ok(None) };
    let sealed: Vec<&str> = sealed_for.iter().map(Subject::as_str).collect();
    let sealed = sealed.join(", ");
    Ok(Some(if vault.is_closed(&other)? {
        let what = format!(
            "under the present policy it is about {other}, who is forgotten; it is sealed for {sealed}, \
             and stays readable"
        );
        (Defect::Missed, what)
    } else {
        let what =
            format!("it is sealed for {sealed}; under the present policy it is about {other}");
        (Defect::OtherSubject, what)
    }))
}

/// Somebody for whom the policy would seal some of an event, and for whom none of it is sealed.
pub(crate) fn other_subject(
    policy: &Policy,
    event: &RecordedEvent,
    data: &Payload,
    sealed_for: &[Subject],
) -> Option<Subject> {
    let cut = |subject| {
        let facts = EventFacts { stream: &event.stream, event_type: &event.event_type, subject };
        policy.cut(&facts, data, None).ok()
    };
    // An event may have named its subject, where the policy lets it.
    let named = sealed_for.iter().find_map(|subject| cut(Some(subject)));
    let cut = named.or_else(|| cut(None))?;
    let mut parts = cut.parts.into_iter().map(|part| part.subject);
    parts.find(|subject| !sealed_for.contains(subject))
}
