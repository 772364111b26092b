//! Owner claims: what events state of owners is noted before they are stored, and counts once they
//! are.

use super::{Witness, Work};
use crate::{
    event::{Generation, NewEvent, Subject},
    layer::{CodecError, stored},
    policy::Carved,
    vault::{Claim, Vault, VaultError},
};

/// Notes the owner changes. Returns, for each event, the generation begun by it or before it.
pub(super) async fn claim<W: Witness>(
    vault: &Vault,
    witness: &W,
    work: &[Work],
) -> Result<Vec<Vec<Option<Generation>>>, W::Error> {
    let mut claims = Vec::new();
    for work in work {
        for (event, carved) in work.events.iter().filter(|(_, carved)| !carved.owners.is_empty()) {
            let content = stored::content(&event.event_type, &event.data);
            claims.extend(carved.owners.iter().map(|change| Claim {
                subject: Subject::of(&work.stream),
                event: event.id,
                change: change.clone(),
                any: carved.any_owner,
                content,
                stored: false,
            }));
        }
    }
    let begun = if claims.is_empty() {
        Vec::new()
    } else {
        let noted = match W::BY_CALLER {
            true => vault.claim_for_caller(&claims).await,
            false => vault.claim(&claims).await,
        };
        match noted {
            // A late retry, perhaps, of a change whose part is forgotten since.
            Err(VaultError::NoGeneration { .. }) if witness.holds_all(&claims).await? => {
                claims.iter_mut().for_each(|claim| claim.stored = true);
                vault.claim(&claims).await
            }
            claimed => claimed,
        }
        .map_err(CodecError::from)?
    };
    let mut begun = begun.into_iter();
    let generations = work.iter().map(|work| {
        let mut current = None;
        let of_event = |(_, carved): &(NewEvent, Carved)| {
            for generation in begun.by_ref().take(carved.owners.len()) {
                current = generation.or(current);
            }
            current
        };
        work.events.iter().map(of_event).collect()
    });
    Ok(generations.collect())
}
