//! What is in the store otherwise than a policy would have it: a policy decides of what is appended, and
//! changes nothing that is there.

use futures::TryStreamExt;
use serde::Serialize;

use super::{AuditError, verify::other_subject};
use crate::{
    event::{OwnerChange, Payload, RecordedEvent, Subject},
    layer::{Oubliette, Specimen, TokenFate, document::Document, try_tokens},
    policy::{EventFacts, Policy},
    store::EventStore,
    vault::Vault,
};

/// How many stored events are otherwise than a policy would have them.
///
/// ```
/// use oubliette::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = Oubliette::open(MemoryStore::new(), Vault::in_memory()?, Policy::sealed_by_default()).await?;
/// # let user = StreamName::new("user-456")?;
/// # let moved = NewEvent::new(EventType::new("UserMoved")?, Json::parse(r#"{"to":"Leipzig"}"#)?);
/// # store.append_to(&user, ExpectedRevision::Any, vec![moved]).await?;
/// // Before a policy is adopted: which stored events are otherwise than it would have them.
/// let next = Policy::parse("[[stream]]\nmatch = 'user-{id}'\npublic = ['/to']")?;
/// let compared = store.compare_policy(&next).await?;
/// println!("{} of {} events differ", compared.in_clear + compared.other_subject, compared.events);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct PolicyComparison {
    /// Events that were read.
    pub events: u64,
    /// Events sealed for somebody else: forgetting whom the policy names does not reach them.
    pub other_subject: u64,
    /// Events that are in clear, and of which the policy would seal some.
    pub in_clear: u64,
    /// Events that state owners of whom the vault does not know.
    pub owners_not_noted: u64,
    /// Events that a newer program wrote: what they are, only that one can say.
    pub newer: u64,
}

impl PolicyComparison {
    /// Whether a forgetting under that policy would miss something, as far as this program can say.
    pub fn differs(&self) -> bool {
        self.other_subject + self.in_clear + self.owners_not_noted + self.newer > 0
    }
}

impl<S: EventStore> Oubliette<S> {
    /// Counts what is in the store otherwise than a policy would have it. Reads and opens all of it, and
    /// changes nothing. Events of which a part is forgotten are not judged.
    ///
    /// # Errors
    /// [`AuditError::NoVault`]; errors of a vault or a store that fails as a whole.
    pub async fn compare_policy(&self, policy: &Policy) -> Result<PolicyComparison, AuditError> {
        let vault = self.vault().ok_or(AuditError::NoVault)?;
        let mut compared = PolicyComparison::default();
        let mut events = self.specimens();
        while let Some(specimen) = events.try_next().await? {
            compared.events += 1;
            if specimen.event.is_tombstone() || specimen.event.is_bookkeeping() {
                continue;
            }
            compared.newer += u64::from(specimen.is_newer());
            let in_clear = specimen.is_unsealed(vault).await;
            let anothers = specimen.is_anothers(vault).await;
            let Specimen { event, document, .. } = specimen;
            let Some((data, sealed_for)) = opened(vault, &event, document).await? else { continue };
            let facts =
                EventFacts { stream: &event.stream, event_type: &event.event_type, subject: None };
            let seals = || policy.cut(&facts, &data, None).is_ok_and(|c| !c.parts.is_empty());
            if in_clear {
                compared.in_clear += u64::from(seals());
            } else if !sealed_for.is_empty() {
                let other = other_subject(policy, &event, &data, &sealed_for);
                compared.other_subject += u64::from(other.is_some());
            }
            // What another vault's event states is that vault's to know.
            let unknown = !anothers && states_unknown(policy, vault, &event, &data)?;
            compared.owners_not_noted += u64::from(unknown);
        }
        Ok(compared)
    }
}

/// An event's data, and for whom it is sealed; `None` where not all of it opens.
async fn opened(
    vault: &Vault,
    event: &RecordedEvent,
    document: Result<Document, crate::store::Unreadable>,
) -> Result<Option<(Payload, Vec<Subject>)>, AuditError> {
    let mut stored = match document {
        Ok(Document::Clear) => return Ok(event.data.clone().map(|data| (data, Vec::new()))),
        Ok(Document::Stored(stored)) => stored,
        Err(_) => return Ok(None),
    };
    let (mut parts, mut subjects) = (Vec::new(), Vec::new());
    for (_, fate) in try_tokens(vault, event, &mut stored).await? {
        let TokenFate::Open(plaintext, subject) = fate else { return Ok(None) };
        parts.push(plaintext);
        subjects.push(subject);
    }
    let data = stored.assemble(parts).ok().and_then(|(data, _)| data);
    Ok(data.map(|data| (data, subjects)))
}

fn states_unknown(
    policy: &Policy,
    vault: &Vault,
    event: &RecordedEvent,
    data: &Payload,
) -> Result<bool, AuditError> {
    let dependent = Subject::of(&event.stream);
    for change in policy.stated_owners(&event.stream, &event.event_type, data) {
        let gives = !matches!(change, OwnerChange::Remove(_));
        if gives && !vault.has_stated(&dependent, event.id, &change)? {
            return Ok(true);
        }
    }
    Ok(false)
}
