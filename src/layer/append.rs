//! Appending through the layer.
//!
//! First, in the caller's task, what can be refused without touching anything: names, payloads,
//! policy. Then, in a task of its own that nobody can cut off: admission, owner claims, keys,
//! sealing, the inner append, settling. The admission lasts until the inner store has answered,
//! and forgetting waits for it: that is what makes the two linearizable.

use std::{collections::HashMap, sync::Arc};

use futures::{TryStreamExt, future::try_join_all};

use super::{CodecError, Layer, codec::SealedEvent, halves::PATIENCE, placement::Placement};
use crate::{
    crypto::DataKey,
    event::{EventId, Generation, Layout, MAX_PAYLOAD_BYTES, NewEvent, StreamName, Subject},
    policy::{Carved, EventFacts, Part},
    store::{
        Append, Appended, Capability, Direction, EventStore, ExpectedRevision, ReadOptions,
        StoreError,
    },
    vault::{Admission, Claim, KeyRequest, Opening, UnderWay, Vault, VaultError},
};

/// How often open claims are settled before giving up: each round settles all that it finds.
const SETTLING_ROUNDS: usize = 3;

/// One stream's append, carved by the policy and not yet sealed.
struct Work {
    stream: StreamName,
    placement: Placement,
    expected: ExpectedRevision,
    events: Vec<(NewEvent, Carved)>,
}

pub(super) async fn append<S: EventStore>(
    layer: &Arc<Layer<S>>,
    appends: Vec<Append>,
) -> Result<Vec<Appended>, StoreError> {
    let Some(vault) = layer.vault().cloned() else {
        return Err(CodecError::NoVault.on_append());
    };
    crate::store::check_appends(&appends, layer.store.capabilities())?;
    let mut work = Vec::with_capacity(appends.len());
    for append in appends {
        work.push(carve(layer, append).await?);
    }
    let of_two_halves = work.iter().filter(|work| matches!(work.placement, Placement::Split(_)));
    let halves: usize = of_two_halves.map(|work| work.events.len()).sum();
    if halves > PATIENCE {
        // Readers would have to look up each private half by itself.
        return Err(StoreError::Invalid(format!(
            "{halves} split events in one append, at most {PATIENCE} are accepted"
        )));
    }
    let layer = Arc::clone(layer);
    let task = tokio::spawn(async move { run(&layer, &vault, work).await });
    task.await.unwrap_or_else(|_| {
        Err(StoreError::backend(true, "the append's task was cut off; retry with the same ids"))
    })
}

async fn carve<S: EventStore>(layer: &Layer<S>, append: Append) -> Result<Work, StoreError> {
    let Append { stream, expected, events } = append;
    let refused = |refusal| CodecError::Refused(refusal).on_append();
    let policy = layer.codec.policy();
    policy.rule_for(&stream).map_err(refused)?;
    let placement = layer.placement(&stream).await?;
    let mut carved = Vec::with_capacity(events.len());
    for event in events {
        check_size(&event)?;
        let facts = EventFacts {
            stream: &stream,
            event_type: &event.event_type,
            subject: event.subject.as_ref(),
        };
        let cut = policy.carve(&facts, &event.data, event.metadata.as_ref()).map_err(refused)?;
        carved.push((event, cut));
    }
    let two_halves = matches!(placement, Placement::Split(_));
    if two_halves && !layer.store.capabilities().has(Capability::AtomicMultiStream) {
        return Err(StoreError::Unsupported(Capability::AtomicMultiStream));
    }
    Ok(Work { stream, placement, expected, events: carved })
}

fn check_size(event: &NewEvent) -> Result<(), StoreError> {
    let metadata = event.metadata.as_ref().map_or(0, |metadata| metadata.as_str().len());
    let bytes = event.data.as_bytes().len().saturating_add(metadata);
    if bytes <= MAX_PAYLOAD_BYTES {
        return Ok(());
    }
    Err(StoreError::Invalid(format!(
        "event {} has {bytes} bytes of payload and metadata, at most {MAX_PAYLOAD_BYTES} are \
         accepted; keep large data elsewhere and refer to it",
        event.id
    )))
}

async fn run<S: EventStore>(
    layer: &Layer<S>,
    vault: &Vault,
    work: Vec<Work>,
) -> Result<Vec<Appended>, StoreError> {
    let _admission = admit(vault, &work).await.map_err(vault_error)?;
    settle_before(layer, vault, &work).await?;
    let claiming = Claiming::begin(vault, &work);
    let sealed = seal_all(layer, vault, &work).await;
    let sealed = match sealed {
        Ok(sealed) => sealed,
        Err(error) => {
            claiming.judge(layer, vault).await;
            return Err(error);
        }
    };
    match layer.store.append(sealed.appends).await {
        Ok(appended) => {
            claiming.confirm(vault).await?;
            Ok(sealed.readable.into_iter().filter_map(|at| appended.get(at).copied()).collect())
        }
        Err(error) => {
            claiming.judge(layer, vault).await;
            Err(logical(error, &work))
        }
    }
}

/// An error of the inner store in the caller's words: of a split stream they know the logical
/// name, and appended to no other.
fn logical(mut error: StoreError, work: &[Work]) -> StoreError {
    if let StoreError::Conflict { stream, .. } | StoreError::IdInUse { stream, .. } = &mut error {
        let is_half = |work: &&Work| match &work.placement {
            Placement::Single => false,
            Placement::Split(names) => names.public == *stream || names.private == *stream,
        };
        if let Some(work) = work.iter().find(is_half) {
            *stream = work.stream.clone();
        }
    }
    error
}

/// Settles what appends that were cut off left open with the subjects for whom something is to
/// be claimed. Before this append's own events count as under way: it may be the retry of the
/// one that was cut off, and their ids the same.
async fn settle_before<S: EventStore>(
    layer: &Layer<S>,
    vault: &Vault,
    work: &[Work],
) -> Result<(), StoreError> {
    for Work { stream, events, .. } in work {
        if events.iter().any(|(_, carved)| !carved.owners.is_empty()) {
            layer.settle(vault, &Subject::of(stream)).await?;
        }
    }
    Ok(())
}

/// Everybody whose keys are needed, or who is named as an owner.
async fn admit(vault: &Vault, work: &[Work]) -> Result<Admission, VaultError> {
    let mut opening = Opening::default();
    for Work { stream, events, .. } in work {
        for (_, carved) in events {
            opening.shared.extend(carved.parts.iter().map(|part| part.subject.clone()));
            opening.shared.extend(carved.owners.iter().map(|change| change.owner().clone()));
            if carved.owners.iter().any(|change| change.begins_generation()) {
                opening.exclusive.push(Subject::of(stream));
            } else if !carved.owners.is_empty() {
                opening.shared.push(Subject::of(stream));
            }
        }
    }
    opening.exclusive.sort();
    opening.exclusive.dedup();
    opening.shared.sort();
    opening.shared.dedup();
    opening.shared.retain(|subject| !opening.exclusive.contains(subject));
    vault.admit(opening).await
}

struct SealedWork {
    appends: Vec<Append>,
    /// For each logical append, which of `appends` has its revisions.
    readable: Vec<usize>,
}

async fn seal_all<S: EventStore>(
    layer: &Layer<S>,
    vault: &Vault,
    work: &[Work],
) -> Result<SealedWork, StoreError> {
    // What stands before a change of generation is sealed under the generation that it ends, so
    // that those keys are fetched before the change is claimed.
    let mut keys = fetch(layer, vault, needs(work, Half::Before, &[])).await?;
    let begun = claim(layer, vault, work).await?;
    keys.extend(fetch(layer, vault, needs(work, Half::After, &begun)).await?);

    let mut sealed = SealedWork { appends: Vec::new(), readable: Vec::new() };
    for (work, begun) in work.iter().zip(&begun) {
        let split = matches!(work.placement, Placement::Split(_));
        let (mut readable, mut private) = (Vec::with_capacity(work.events.len()), Vec::new());
        for ((event, carved), begun) in work.events.iter().zip(begun) {
            let key = |part: &Part| {
                let generation = own(&part.subject, &work.stream, *begun);
                keys.get(&(&work.stream, &part.subject, generation)).cloned()
            };
            let keys: Option<Vec<Arc<DataKey>>> = carved.parts.iter().map(key).collect();
            let SealedEvent { event, half } = layer
                .codec
                .seal_carved(&work.stream, event, carved, &keys.unwrap_or_default(), split)
                .map_err(CodecError::on_append)?;
            readable.push(event);
            private.extend(half);
        }
        // The private half first: a reader of all streams then holds it when it meets the other.
        if let (Placement::Split(names), false) = (&work.placement, private.is_empty()) {
            let private = Append::new(names.private.clone(), ExpectedRevision::Any, private);
            sealed.appends.push(private);
        }
        sealed.readable.push(sealed.appends.len());
        let stream = work.placement.readable(&work.stream);
        sealed.appends.push(Append::new(stream, work.expected, readable));
    }
    Ok(sealed)
}

/// The generation that counts for a part: one that this append begins counts for the stream's
/// own subject.
fn own(subject: &Subject, stream: &StreamName, begun: Option<Generation>) -> Option<Generation> {
    begun.filter(|_| subject.as_str() == stream.as_str())
}

/// Notes the owner changes. Returns, for each event, the generation begun by it or before it.
async fn claim<S: EventStore>(
    layer: &Layer<S>,
    vault: &Vault,
    work: &[Work],
) -> Result<Vec<Vec<Option<Generation>>>, StoreError> {
    let mut claims = Vec::new();
    for work in work {
        for (event, carved) in &work.events {
            claims.extend(carved.owners.iter().map(|change| Claim {
                subject: Subject::of(&work.stream),
                event: event.id,
                change: change.clone(),
                any: carved.any_owner,
                stored: false,
            }));
        }
    }
    let begun = if claims.is_empty() {
        Vec::new()
    } else {
        match vault.claim(&claims).await {
            // A late retry, perhaps, of a change whose part is forgotten since.
            Err(VaultError::NoGeneration { .. }) if layer.holds_all(&claims).await? => {
                claims.iter_mut().for_each(|claim| claim.stored = true);
                vault.claim(&claims).await
            }
            claimed => claimed,
        }
        .map_err(vault_error)?
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

/// Before the first change of generation in an append, or from it on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Half {
    Before,
    After,
}

/// Whose key in which stream, of which generation.
type Whose<'a> = (&'a StreamName, &'a Subject, Option<Generation>);

/// Which keys a half of the events needs, and for how many payloads.
fn needs<'a>(
    work: &'a [Work],
    half: Half,
    begun: &[Vec<Option<Generation>>],
) -> HashMap<Whose<'a>, (Layout, u32)> {
    let mut needs = HashMap::new();
    for (i, work) in work.iter().enumerate() {
        let changes = |(_, carved): &(NewEvent, Carved)| {
            carved.owners.iter().any(|change| change.begins_generation())
        };
        let middle = work.events.iter().position(changes).unwrap_or(work.events.len());
        let range = if half == Half::Before { 0..middle } else { middle..work.events.len() };
        for at in range {
            let (_, carved) = &work.events[at];
            let generation = begun.get(i).and_then(|begun| begun.get(at).copied().flatten());
            for part in &carved.parts {
                let generation = own(&part.subject, &work.stream, generation);
                let whose = (&work.stream, &part.subject, generation);
                needs.entry(whose).or_insert((carved.layout, 0)).1 += 1;
            }
        }
    }
    needs
}

/// The keys, made where there are none, durable; asked for all at once, so that new ones share
/// one flush.
async fn fetch<'a, S: EventStore>(
    layer: &Layer<S>,
    vault: &Vault,
    needs: HashMap<Whose<'a>, (Layout, u32)>,
) -> Result<HashMap<Whose<'a>, Arc<DataKey>>, StoreError> {
    let policy = layer.codec.policy().digest();
    let asked = needs.into_iter().map(|((stream, subject, generation), (layout, seals))| {
        key(layer, vault, KeyRequest { stream, subject, generation, layout, policy }, seals)
    });
    Ok(try_join_all(asked).await?.into_iter().collect())
}

/// One data key. Where the vault first needs to know whether an event of an append that was cut
/// off is in the store: looks, tells it, and asks again.
async fn key<'a, S: EventStore>(
    layer: &Layer<S>,
    vault: &Vault,
    request: KeyRequest<'a>,
    seals: u32,
) -> Result<(Whose<'a>, Arc<DataKey>), StoreError> {
    let mut rounds = 0;
    loop {
        match vault.sealing_key(request, seals).await {
            Err(VaultError::Unsettled { subject, .. }) if rounds < SETTLING_ROUNDS => {
                layer.settle(vault, &subject).await?;
                rounds += 1;
            }
            answer => {
                let key = answer.map_err(vault_error)?;
                return Ok(((request.stream, request.subject, request.generation), key));
            }
        }
    }
}

fn vault_error(error: VaultError) -> StoreError {
    CodecError::from(error).on_append()
}

/// The claims of an append under way.
struct Claiming {
    events: Vec<(Subject, Vec<EventId>)>,
    under_way: UnderWay,
}

impl Claiming {
    fn begin(vault: &Vault, work: &[Work]) -> Self {
        let claiming = |work: &Work| {
            let stating = work.events.iter().filter(|(_, carved)| !carved.owners.is_empty());
            let events: Vec<EventId> = stating.map(|(event, _)| event.id).collect();
            (!events.is_empty()).then(|| (Subject::of(&work.stream), events))
        };
        let events: Vec<_> = work.iter().filter_map(claiming).collect();
        let all = events.iter().flat_map(|(_, events)| events).copied().collect();
        Self { events, under_way: vault.begin_claims(all) }
    }

    /// After an append that succeeded.
    async fn confirm(self, vault: &Vault) -> Result<(), StoreError> {
        for (subject, events) in &self.events {
            vault.settle(subject, events, true).await.map_err(vault_error)?;
        }
        Ok(())
    }

    /// After an append that failed: the store is asked whether the events are there, since they
    /// may be from an earlier attempt. Where it does not answer, the claims stay open, and
    /// whoever next needs to know asks again.
    async fn judge<S: EventStore>(self, layer: &Layer<S>, vault: &Vault) {
        drop(self.under_way);
        for (subject, _) in &self.events {
            if let Err(error) = layer.settle(vault, subject).await {
                tracing::warn!(%subject, %error, "an owner claim stays open");
            }
        }
    }
}

impl<S: EventStore> Layer<S> {
    /// Settles the open claims of a dependent by looking whether their events are in its stream.
    /// Claims of appends that are under way stay open: the vault sees to that.
    pub(crate) async fn settle(
        &self,
        vault: &Vault,
        dependent: &Subject,
    ) -> Result<(), StoreError> {
        let standing = vault.standing(dependent).map_err(vault_error)?;
        let owners = standing.epochs.iter().flat_map(|epoch| &epoch.owners);
        let begun = standing.epochs.iter().filter_map(|epoch| epoch.unsettled);
        let mut open: Vec<EventId> =
            owners.filter_map(|owner| owner.unsettled).chain(begun).collect();
        open.sort();
        open.dedup();
        if open.is_empty() {
            return Ok(());
        }
        let stream = dependent.stream();
        let stream = self.placement(&stream).await?.readable(&stream);
        let mut events = self.store.read(&stream, self.newest_first());
        let mut stored = Vec::new();
        while let Some(event) = events.try_next().await? {
            if let Some(at) = open.iter().position(|open| *open == event.id) {
                stored.push(open.swap_remove(at));
                if open.is_empty() {
                    break;
                }
            }
        }
        vault.settle(dependent, &stored, true).await.map_err(vault_error)?;
        vault.settle(dependent, &open, false).await.map_err(vault_error)
    }

    /// Whether the events of all these claims are in the streams of those who claim.
    async fn holds_all(&self, claims: &[Claim]) -> Result<bool, StoreError> {
        let mut missing: HashMap<&Subject, Vec<EventId>> = HashMap::new();
        for claim in claims {
            missing.entry(&claim.subject).or_default().push(claim.event);
        }
        for (subject, mut missing) in missing {
            let stream = subject.stream();
            let stream = self.placement(&stream).await?.readable(&stream);
            let mut events = self.store.read(&stream, self.newest_first());
            while !missing.is_empty() {
                let Some(event) = events.try_next().await? else { return Ok(false) };
                missing.retain(|id| *id != event.id);
            }
        }
        Ok(true)
    }

    /// Backwards, where the store can: what is looked for is likely to be near the end.
    pub(crate) fn newest_first(&self) -> ReadOptions {
        let backwards = self.store.capabilities().has(Capability::ReadBackwards);
        let direction = if backwards { Direction::Backwards } else { Direction::Forwards };
        ReadOptions { direction, ..ReadOptions::default() }
    }
}
