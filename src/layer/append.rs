//! Appending through the layer.
//!
//! First, in the caller's task, what can be refused without touching anything: names, payloads,
//! policy. Then, in a task of its own that is never cut off: admission, owner claims, keys,
//! sealing, the inner append, settling. The permit lasts until the inner store has answered,
//! and forgetting waits for it: that is what makes the two linearizable. After some minutes without an
//! answer no erasure waits any more. What the store takes after that is shredded if its subject was
//! forgotten meanwhile.

use std::{sync::Arc, time::Duration};

use super::{
    CodecError, Layer,
    placement::{Placement, in_logical_words},
    sealing::{Permit, Prepared, SealedEvent, Work, owned, prepare},
    stored::Ends,
};
use crate::{
    runtime,
    store::{Append, Appended, Capability, EventStore, ExpectedRevision, StoreError},
    vault::Keeper,
};

/// Where a piece of work goes.
struct Target {
    placement: Placement,
    /// Whether the stream had no events.
    is_new: bool,
    expected: ExpectedRevision,
}

pub(super) async fn append<S: EventStore>(
    layer: &Arc<Layer<S>>,
    appends: Vec<Append>,
) -> Result<Vec<Appended>, StoreError> {
    let (keeper, work, targets) = cut(layer, appends).await?;
    let layer = Arc::clone(layer);
    // A task of its own: a caller who drops the future must not stop an append between the claim and the store.
    runtime::spawn(async move { run(&layer, &keeper, work, targets).await })?.await?
}

/// Seals what the caller is going to append, in a transaction of theirs that is over when the permit ends.
pub(super) async fn seal<S: EventStore>(
    layer: &Arc<Layer<S>>,
    appends: Vec<Append>,
    lasting: Duration,
) -> Result<(Vec<Append>, Permit), StoreError> {
    let (keeper, work, targets) = cut(layer, appends).await?;
    let (layer, codec) = (Arc::clone(layer), layer.codec.clone().lasting_for(lasting));
    // Likewise. Where nobody waits for it any more, the claims stay open, and the next one who needs to know looks into the
    // store.
    let sealing = async move {
        let Prepared { sealed, permit } = prepare(&codec, &keeper, &*layer, &work).await?;
        let keys = sealed.iter().flatten().flat_map(|event| event.keys.iter().copied()).collect();
        Ok((self::appends(&work, &targets, sealed).0, permit.with_keys(keys)))
    };
    runtime::spawn(sealing)?.await?
}

/// Refuses what can be refused without touching anything, and has the policy cut the rest.
async fn cut<S: EventStore>(
    layer: &Layer<S>,
    appends: Vec<Append>,
) -> Result<(Arc<dyn Keeper>, Vec<Work>, Vec<Target>), StoreError> {
    let Some(keeper) = layer.codec.keeper().cloned() else {
        return Err(CodecError::NoVault.into());
    };
    // What is sealed is text to the store, whatever it holds; what is not is looked at once cut.
    let sealed = layer.store.capabilities().with(Capability::LongNumbers).with(Capability::Nul);
    crate::store::check_for_layer(&appends, sealed)?;
    let (mut work, mut targets) = (Vec::new(), Vec::new());
    for append in appends {
        let (one, target) = work_of(layer, append).await?;
        work.push(one);
        targets.push(target);
    }
    Work::refuse_too_many_halves(&work)?;
    Ok((keeper, work, targets))
}

async fn work_of<S: EventStore>(
    layer: &Layer<S>,
    append: Append,
) -> Result<(Work, Target), StoreError> {
    let Append { stream, expected, events } = append;
    let policy = layer.codec.policy();
    // Before the store is asked anything: a name that is refused must not be looked up there.
    policy.rule_for(&stream).map_err(CodecError::Refused)?;
    let (placement, is_new) = layer.place(&stream).await?;
    let split = matches!(placement, Placement::Split(_));
    let work = Work::cut(policy, stream, split, events)?;
    work.fits(layer.store.capabilities())?;
    if split && !layer.store.capabilities().has(Capability::AtomicMultiStream) {
        return Err(StoreError::Unsupported(Capability::AtomicMultiStream));
    }
    Ok((work, Target { placement, is_new, expected }))
}

async fn run<S: EventStore>(
    layer: &Layer<S>,
    keeper: &Arc<dyn Keeper>,
    work: Vec<Work>,
    targets: Vec<Target>,
) -> Result<Vec<Appended>, StoreError> {
    let Prepared { sealed, mut permit } = prepare(&layer.codec, keeper, layer, &work).await?;
    let (appends, readable) = appends(&work, &targets, sealed);
    match layer.store.append(appends).await {
        Ok(appended) if appended.iter().any(|appended| appended.already) => {
            // The ids are there. Whether these events are, is to be seen.
            permit.judge(layer).await;
            let answers = answers(&readable, &appended);
            for (work, (readable, private)) in work.iter().zip(&answers) {
                layer.compare(work, Ends::of(*readable, *private)).await?;
            }
            Ok(answers.into_iter().map(|(readable, _)| readable).collect())
        }
        Ok(appended) => {
            for (work, target) in work.iter().zip(&targets).filter(|(_, target)| target.is_new) {
                layer.is_placed(&work.stream, &target.placement);
            }
            // This call wrote every event, so that its claims count without a look into the store.
            permit.confirm().await.map_err(CodecError::from)?;
            owned::warn(&**keeper, &work).await;
            let answers = answers(&readable, &appended);
            Ok(answers.into_iter().map(|(readable, _)| readable).collect())
        }
        Err(error) => {
            // An error does not say that nothing was written: the answer may be lost. So the claims are settled by what the
            // store has.
            permit.judge(layer).await;
            if matches!(error, StoreError::IdInUse { .. })
                && let Some(done) = layer.answer_purged(&work).await?
            {
                return Ok(done);
            }
            let places = work.iter().zip(&targets);
            let places = places.map(|(work, target)| (&work.stream, &target.placement));
            Err(in_logical_words(error, places))
        }
    }
}

/// What the inner store is given; and for each logical append, which of it has its revisions.
fn appends(
    work: &[Work],
    targets: &[Target],
    sealed: Vec<Vec<SealedEvent>>,
) -> (Vec<Append>, Vec<usize>) {
    let (mut appends, mut readable) = (Vec::new(), Vec::new());
    for ((work, target), sealed) in work.iter().zip(targets).zip(sealed) {
        let (events, halves): (Vec<_>, Vec<_>) =
            sealed.into_iter().map(|SealedEvent { event, half, .. }| (event, half)).unzip();
        let private: Vec<_> = halves.into_iter().flatten().collect();
        // The private half first: a reader of all streams then holds it when it meets the other.
        if let (Placement::Split(names), false) = (&target.placement, private.is_empty()) {
            let private = Append::new(names.private.clone(), ExpectedRevision::Any, private);
            appends.push(private);
        }
        readable.push(appends.len());
        let stream = target.placement.readable(&work.stream);
        appends.push(Append::new(stream, target.expected, events));
    }
    (appends, readable)
}

/// For each logical append, what the store said of the readable half, and of the private one that
/// is before it.
fn answers(readable: &[usize], appended: &[Appended]) -> Vec<(Appended, Option<Appended>)> {
    let mut next = 0;
    let answer = |&at: &usize| {
        let private = if at > next { appended.get(next).copied() } else { None };
        next = at + 1;
        Some((*appended.get(at)?, private))
    };
    readable.iter().filter_map(answer).collect()
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::{
        event::{EventType, Json, NewEvent, StreamName},
        layer::Oubliette,
        policy::Policy,
        store::{EventStoreExt, MemoryStore},
        vault::Vault,
    };

    #[test]
    fn an_append_outside_of_a_runtime_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let (pages, slot) = (folder.path().join("vault"), folder.path().join("slot"));
        let vault = Vault::create(&pages, slot.as_path()).unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let policy = Policy::parse("").unwrap();
        let opened = runtime.block_on(Oubliette::open(MemoryStore::new(), vault, policy));
        let store = opened.unwrap();
        let event = NewEvent::new(EventType::new("T").unwrap(), Json::parse("{}").unwrap());
        let stream = StreamName::new("user-1").unwrap();
        let appended = store.append_to(&stream, ExpectedRevision::Any, vec![event]).now_or_never();
        assert!(appended.unwrap().unwrap_err().to_string().contains("needs a Tokio runtime"));
    }
}
