//! Restoring through the layer: events in clear, as another store recorded them, are sealed and restored beneath.
//!
//! That is the way in for what was there before the layer was. Ids, times, revisions and order stay; what the policy does
//! not call public is sealed, as in an append. What is sealed already moves beneath the layer, and is refused here.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use super::{
    CodecError, Layer,
    placement::{Placement, in_logical_words},
    sealing::{Prepared, SealedEvent, Work, owned, prepare},
};
use crate::{
    event::{EventId, NewEvent, Position, RecordedEvent, Revision, StreamName},
    runtime,
    store::{
        Appended, Capability, EventStore, EventStoreExt, ReadOptions, StoreError, check_restored,
    },
    vault::Keeper,
};

pub(super) async fn restore<S: EventStore>(
    layer: &Arc<Layer<S>>,
    events: Vec<RecordedEvent>,
) -> Result<Vec<Appended>, StoreError> {
    let Some(keeper) = layer.codec.keeper().cloned() else {
        return Err(CodecError::NoVault.into());
    };
    // What is sealed is text to the store, whatever it holds; what is not is looked at once cut.
    let sealed = layer.store.capabilities().with(Capability::LongNumbers).with(Capability::Nul);
    check_restored(&events, sealed)?;
    let layer = Arc::clone(layer);
    // A task of its own, as for an append.
    runtime::spawn(async move { run(&layer, &keeper, events).await })?.await?
}

/// What goes to one stream.
struct Target {
    stream: StreamName,
    placement: Placement,
    /// The lowest revision that its next private half may get.
    next_private: u64,
}

async fn run<S: EventStore>(
    layer: &Layer<S>,
    keeper: &Arc<dyn Keeper>,
    events: Vec<RecordedEvent>,
) -> Result<Vec<Appended>, StoreError> {
    let (mut targets, mut at) = (Vec::<Target>::new(), HashMap::<StreamName, usize>::new());
    let mut answers = vec![None; events.len()];
    let (mut work, mut new) = (Vec::<Vec<NewEvent>>::new(), Vec::new());
    let there = there(layer, &events).await?;
    for (place, event) in events.iter().enumerate() {
        if let Some((revision, position)) = there.get(&place) {
            // It was restored before: bytes are not compared, because sealing again gives others.
            let (revision, position) = (*revision, *position);
            answers[place] = Some(Appended { revision, position, already: true });
            continue;
        }
        let stream = &event.stream;
        let target = match at.get(stream) {
            Some(target) => *target,
            None => {
                layer.codec.policy().rule_for(stream).map_err(CodecError::Refused)?;
                let (placement, _) = layer.place(stream).await?;
                let next_private = next_private(layer, &placement).await?;
                targets.push(Target { stream: stream.clone(), placement, next_private });
                work.push(Vec::new());
                at.insert(stream.clone(), targets.len() - 1);
                targets.len() - 1
            }
        };
        work[target].push(NewEvent::copy_of(event));
        new.push((place, target));
    }
    if !new.is_empty() {
        let work = cut(layer, &targets, work)?;
        let Prepared { sealed, mut permit } = prepare(&layer.codec, keeper, layer, &work).await?;
        let (stored, readable) = stored(&events, &mut targets, &new, sealed);
        let restored = layer.store.restore(stored).await;
        // Whether they are there, is seen in the store: another restore may have been quicker.
        permit.judge(layer).await;
        if restored.is_ok() {
            owned::warn(&**keeper, &work).await;
        }
        let places = targets.iter().map(|target| (&target.stream, &target.placement));
        let restored = restored.map_err(|error| in_logical_words(error, places))?;
        for ((place, _), at) in new.iter().zip(readable) {
            answers[*place] = restored.get(at).copied();
        }
    }
    Ok(answers.into_iter().flatten().collect())
}

/// Which of these events are in their stream already, at their revision or a later one; and where.
async fn there<S: EventStore>(
    layer: &Layer<S>,
    events: &[RecordedEvent],
) -> Result<HashMap<usize, (Revision, Position)>, StoreError> {
    let mut streams: HashMap<&StreamName, HashMap<EventId, usize>> = HashMap::new();
    for (place, event) in events.iter().enumerate() {
        streams.entry(&event.stream).or_default().insert(event.id, place);
    }
    let mut there = HashMap::new();
    for (stream, mut wanted) in streams {
        let revisions = wanted.values().map(|place| events[*place].revision);
        let free: BTreeSet<Revision> = revisions.collect();
        let (from, last) = (free.first().copied(), free.last().copied());
        // Of those that are still wanted, whose places something else has: they may have come later.
        let mut taken = 0;
        let readable = layer.placement(stream).await?.readable(stream);
        let mut found = layer.store.read(&readable, ReadOptions { from, ..ReadOptions::default() });
        while let Some(found) = layer.next(&mut found).await? {
            if Some(found.revision) > last && taken == 0 || wanted.is_empty() {
                break;
            }
            let is_wanted = |place: &usize| events[*place].revision <= found.revision;
            let place = wanted.get(&found.id).copied().filter(is_wanted);
            let is_at_its_own = place.is_some_and(|at| events[at].revision == found.revision);
            if let Some(place) = place {
                wanted.remove(&found.id);
                taken -= usize::from(!is_at_its_own).min(taken);
                there.insert(place, (found.revision, found.position));
            }
            taken += usize::from(!is_at_its_own && free.contains(&found.revision));
        }
    }
    Ok(there)
}

async fn next_private<S: EventStore>(
    layer: &Layer<S>,
    placement: &Placement,
) -> Result<u64, StoreError> {
    let Placement::Split(names) = placement else { return Ok(0) };
    let last = layer.answer(layer.store.last(&names.private)).await?;
    Ok(last.map_or(0, |last| last.revision.0 + 1))
}

fn cut<S: EventStore>(
    layer: &Layer<S>,
    targets: &[Target],
    events: Vec<Vec<NewEvent>>,
) -> Result<Vec<Work>, StoreError> {
    let mut work = Vec::with_capacity(targets.len());
    for (target, events) in targets.iter().zip(events) {
        let split = matches!(target.placement, Placement::Split(_));
        let one = Work::cut(layer.codec.policy(), target.stream.clone(), split, events)?;
        one.fits(layer.store.capabilities())?;
        work.push(one);
    }
    Work::refuse_too_many_halves(&work)?;
    Ok(work)
}

/// What the inner store is given, in the order of the events; and for each event, which of it has its revision.
fn stored(
    events: &[RecordedEvent],
    targets: &mut [Target],
    new: &[(usize, usize)],
    sealed: Vec<Vec<SealedEvent>>,
) -> (Vec<RecordedEvent>, Vec<usize>) {
    let mut sealed: Vec<_> = sealed.into_iter().map(Vec::into_iter).collect();
    let (mut stored, mut readable) = (Vec::with_capacity(new.len()), Vec::with_capacity(new.len()));
    for (place, at) in new {
        let Some(SealedEvent { event, half, .. }) = sealed.get_mut(*at).and_then(Iterator::next)
        else {
            continue;
        };
        let (original, target) = (&events[*place], &mut targets[*at]);
        let recorded = |stream, revision, event: NewEvent| {
            let NewEvent { id, event_type, data, metadata, .. } = event;
            let (position, at) = (Position::number(0), original.recorded);
            RecordedEvent::plain(stream, revision, position, id, event_type, at, data, metadata)
        };
        // The private half first, as in an append.
        if let (Placement::Split(names), Some(half)) = (&target.placement, half) {
            // There are never more private halves than events: the event's own revision is behind all that the private stream
            // ever gave, also those of halves that were purged, which no read shows.
            let revision = original.revision.max(Revision(target.next_private));
            target.next_private = revision.0 + 1;
            stored.push(recorded(names.private.clone(), revision, half));
        }
        readable.push(stored.len());
        let stream = target.placement.readable(&target.stream);
        stored.push(recorded(stream, original.revision, event));
    }
    (stored, readable)
}
