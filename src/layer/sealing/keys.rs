//! The data keys that a piece of work needs.

use std::{collections::BTreeMap, sync::Arc};

use futures::future::try_join_all;

use super::{SETTLING_ROUNDS, StoreView, Work, claims};
use crate::{
    crypto::DataKey,
    event::{Generation, Layout, NewEvent, StreamName, Subject},
    layer::{Codec, CodecError},
    policy::{CutEvent, Part},
    vault::{Keeper, KeyRequest, VaultError},
};

/// The keys of a piece of work.
pub(super) struct Keys<'a>(BTreeMap<Whose<'a>, Arc<DataKey>>);

impl<'a> Keys<'a> {
    /// Those of an event's parts, in their order; fewer, where one is missing.
    pub(super) fn of(
        &self,
        stream: &'a StreamName,
        cut: &'a CutEvent,
        begun: Option<Generation>,
    ) -> Vec<&DataKey> {
        let key = |part: &'a Part| {
            let whose = (stream, &part.subject, own(&part.subject, stream, begun));
            self.0.get(&whose).map(|key| &**key)
        };
        cut.parts.iter().map_while(key).collect()
    }
}

/// All keys; and for each event the generation that it or one before it begins.
pub(super) async fn fetch_all<'a, V: StoreView>(
    codec: &Codec,
    vault: &dyn Keeper,
    view: &V,
    work: &'a [Work],
) -> Result<(Keys<'a>, Vec<Vec<Option<Generation>>>), V::Error> {
    // What is before a change of generation is sealed under the generation that it ends, so
    // that those keys are fetched before the change is claimed.
    let mut keys = fetch(codec, vault, view, needs(work, Phase::Before, &[])).await?;
    let begun = claims::claim(vault, view, work).await?;
    keys.extend(fetch(codec, vault, view, needs(work, Phase::After, &begun)).await?);
    Ok((Keys(keys), begun))
}

/// The generation that counts for a part: one that this append begins counts for the stream's
/// own subject.
fn own(subject: &Subject, stream: &StreamName, begun: Option<Generation>) -> Option<Generation> {
    begun.filter(|_| subject.as_str() == stream.as_str())
}

/// Before the first change of generation in an append, or from it on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Before,
    After,
}

/// Whose key in which stream, of which generation.
type Whose<'a> = (&'a StreamName, &'a Subject, Option<Generation>);

/// Which keys the events of a phase need, and for how many payloads.
fn needs<'a>(
    work: &'a [Work],
    phase: Phase,
    begun: &[Vec<Option<Generation>>],
) -> BTreeMap<Whose<'a>, (Layout, u32)> {
    let mut needs = BTreeMap::new();
    for (i, work) in work.iter().enumerate() {
        let changes = |(_, cut): &(NewEvent, CutEvent)| {
            cut.owners.iter().any(|change| change.begins_generation())
        };
        let middle = work.events.iter().position(changes).unwrap_or(work.events.len());
        let range = if phase == Phase::Before { 0..middle } else { middle..work.events.len() };
        for at in range {
            let (_, cut) = &work.events[at];
            let generation = begun.get(i).and_then(|begun| begun.get(at).copied().flatten());
            for part in &cut.parts {
                let generation = own(&part.subject, &work.stream, generation);
                let whose = (&work.stream, &part.subject, generation);
                needs.entry(whose).or_insert((cut.layout, 0)).1 += 1;
            }
        }
    }
    needs
}

/// The keys, made where there are none, durable; asked for all at once, so that new ones share
/// one flush.
async fn fetch<'a, V: StoreView>(
    codec: &Codec,
    vault: &dyn Keeper,
    view: &V,
    needs: BTreeMap<Whose<'a>, (Layout, u32)>,
) -> Result<BTreeMap<Whose<'a>, Arc<DataKey>>, V::Error> {
    let policy = codec.policy().digest();
    let asked = needs.into_iter().map(|((stream, subject, generation), (layout, seals))| {
        key(vault, view, KeyRequest { stream, subject, generation, layout, policy }, seals)
    });
    Ok(try_join_all(asked).await?.into_iter().collect())
}

/// One data key. Where the vault first needs to know whether an event of an append that was cut
/// off is in the store: looks, tells it, and asks again.
async fn key<'a, V: StoreView>(
    vault: &dyn Keeper,
    view: &V,
    request: KeyRequest<'a>,
    seals: u32,
) -> Result<(Whose<'a>, Arc<DataKey>), V::Error> {
    let mut rounds = 0;
    loop {
        match vault.sealing_key(request, seals).await {
            Err(VaultError::Unsettled { subject, .. }) if rounds < SETTLING_ROUNDS => {
                view.settle(vault, &subject).await?;
                rounds += 1;
            }
            answer => {
                let key = answer.map_err(CodecError::from)?;
                return Ok(((request.stream, request.subject, request.generation), key));
            }
        }
    }
}
