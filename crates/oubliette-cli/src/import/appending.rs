//! Appending batches: together where that goes, in ever smaller pieces where it does not.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
};

use futures::TryStreamExt;
use oubliette::{
    event::{EventId, EventType, NewEvent, Position, RecordedEvent, StreamName},
    store::{Append, Difference, EventStore, ExpectedRevision, ReadOptions, StoreError},
    words::chain,
};

use super::lines::{Batch, Line, What};
use crate::{adoption::is_the_stores, open::Store, rows::Kept};

/// How many ids of such streams are remembered, with the events' types: at some fifty bytes each.
const REMEMBERED: usize = 1_000_000;

/// What happened to a line.
#[derive(Debug)]
pub(super) enum Outcome {
    Imported,
    /// It is there from an earlier import.
    Already,
    /// A tombstone.
    Skipped,
    /// Its subject is forgotten, and it is not there.
    Forgotten(String),
    Bad(String),
    /// A line before it in its stream is bad: in another order it might state something else.
    Held,
}

/// Puts batches into the store.
pub(super) struct Appender {
    store: Store,
    /// The ids and types in some streams, for telling what is there from what is refused.
    seen: HashMap<StreamName, Option<HashMap<EventId, EventType>>>,
    remembered: usize,
    /// Streams of which a line was bad.
    held: HashSet<StreamName>,
}

/// An event that is ready to be appended.
struct Ready {
    line: u64,
    stream: StreamName,
    event: NewEvent,
    made_id: bool,
    kept: Option<Kept>,
}

impl Appender {
    pub(super) fn new(store: Store) -> Self {
        Self { store, seen: HashMap::new(), remembered: 0, held: HashSet::new() }
    }

    /// Appends what can be appended, and says of each line what happened to it, in their order. An
    /// error is one of the store itself: the lines that are not named were not reached.
    pub(super) async fn place(
        &mut self,
        batch: Batch,
    ) -> (Vec<(u64, Outcome)>, Option<StoreError>) {
        let mut outcomes = Vec::with_capacity(batch.lines.len());
        let mut ready = Vec::with_capacity(batch.lines.len());
        for Line { number, what, .. } in batch.lines {
            match what {
                What::Event { stream, .. } if self.held.contains(&stream) => {
                    outcomes.push((number, Outcome::Held));
                }
                What::Event { stream, event, made_id, kept } => {
                    let row = Ready { line: number, stream, event, made_id, kept };
                    match self.refuse_subject(&row) {
                        None => ready.push(row),
                        Some(why) => {
                            self.held.insert(row.stream);
                            outcomes.push((number, Outcome::Bad(why)));
                        }
                    }
                }
                What::Tombstone => outcomes.push((number, Outcome::Skipped)),
                What::Bad { error, stream } => {
                    self.held.extend(stream);
                    outcomes.push((number, Outcome::Bad(error.to_string())));
                }
            }
        }
        let failed = self.append(&ready, &mut outcomes).await.err();
        outcomes.sort_by_key(|(line, _)| *line);
        (outcomes, failed)
    }

    async fn append(
        &mut self,
        ready: &[Ready],
        outcomes: &mut Vec<(u64, Outcome)>,
    ) -> Result<(), StoreError> {
        // The ranges that are still to be appended, or restored, the next one last.
        let mut todo: Vec<Range<usize>> = Vec::new();
        for run in ready.chunk_by(|one, next| one.kept.is_some() == next.kept.is_some()) {
            let begin = todo.last().map_or(0, |before| before.end);
            todo.push(begin..begin + run.len());
        }
        todo.reverse();
        let mut held = vec![false; ready.len()];
        while let Some(range) = todo.pop() {
            let piece: Vec<&Ready> =
                range.clone().filter(|at| !held[*at]).map(|at| &ready[at]).collect();
            if piece.is_empty() {
                continue;
            }
            match self.store_piece(&piece).await {
                Ok(already) => {
                    for (row, already) in piece.iter().zip(already) {
                        let outcome = match already {
                            false => Outcome::Imported,
                            true => self.look_at(row).await?,
                        };
                        // One that is another holds nothing back: at its place is what is there.
                        outcomes.push((row.line, outcome));
                    }
                }
                Err(error) if is_the_stores(&error) => return Err(error),
                Err(error) => match piece[..] {
                    [row] => {
                        let outcome = self.explain(row, error).await?;
                        if matches!(outcome, Outcome::Bad(_)) {
                            self.held.insert(row.stream.clone());
                            for at in range.end..ready.len() {
                                if ready[at].stream == row.stream {
                                    held[at] = true;
                                    outcomes.push((ready[at].line, Outcome::Held));
                                }
                            }
                        }
                        outcomes.push((row.line, outcome));
                    }
                    _ => {
                        let middle = range.start + range.len() / 2;
                        todo.extend([middle..range.end, range.start..middle]);
                    }
                },
            }
        }
        Ok(())
    }

    /// Appends rows, or restores them, all or nothing. Returns of each whether it was there already.
    async fn store_piece(&self, piece: &[&Ready]) -> Result<Vec<bool>, StoreError> {
        if piece.iter().all(|row| row.kept.is_some()) {
            let events = piece.iter().filter_map(|row| as_recorded(row)).collect();
            let restored = self.store.restore(events).await?;
            return Ok(restored.iter().map(|restored| restored.already).collect());
        }
        let groups: Vec<&[&Ready]> =
            piece.chunk_by(|one, next| one.stream == next.stream).collect();
        let appends = groups.iter().map(|group| as_append(group)).collect();
        let appended = self.store.append(appends).await?;
        let of_rows = groups.iter().zip(appended);
        Ok(of_rows.flat_map(|(group, appended)| vec![appended.already; group.len()]).collect())
    }

    /// What a row is that is there already. Of an append that was asked by the layer; a restore compares nothing but id and
    /// revision.
    async fn look_at(&self, row: &Ready) -> Result<Outcome, StoreError> {
        let Some(wanted) = as_recorded(row) else { return Ok(Outcome::Already) };
        let options =
            ReadOptions { from: Some(wanted.revision), limit: Some(1), ..ReadOptions::default() };
        let Some(found) = self.store.read(&row.stream, options).try_next().await? else {
            return Ok(Outcome::Already);
        };
        let gone = !found.shredded.is_empty() || !found.withheld.is_empty();
        Ok(match Difference::between(&wanted, &found, true) {
            None => Outcome::Already,
            // What is left of it cannot be compared here.
            Some(Difference::Payload | Difference::Metadata) if gone => Outcome::Already,
            Some(what) => Outcome::Bad(format!("{}: {what}", in_use(row, "that is another"))),
        })
    }

    /// Why a row cannot be kept as it was recorded: a restored event has no word of its own on whose it is. What the policy
    /// finds by itself need not be said.
    fn refuse_subject(&self, row: &Ready) -> Option<String> {
        row.kept?;
        row.event.subject.as_ref()?;
        let policy = self.store.policy();
        let unsaid = NewEvent { subject: None, ..row.event.clone() };
        match (policy.explain(&row.stream, &row.event), policy.explain(&row.stream, &unsaid)) {
            (Ok(said), Ok(unsaid)) if said == unsaid => None,
            (Err(refusal), _) => Some(refusal.to_string()),
            _ => Some(
                "`subject` says whose it is, and nothing else does: --keep-times keeps no such event; give the policy \
                 a `subject` that finds it in the payload, or import without --keep-times"
                    .to_owned(),
            ),
        }
    }

    /// Why a single row was refused.
    async fn explain(&mut self, row: &Ready, error: StoreError) -> Result<Outcome, StoreError> {
        Ok(match error {
            StoreError::Forgotten { .. } => {
                match self.type_of(&row.stream, row.event.id).await? {
                    // What of it is left cannot be compared here; its type is never sealed.
                    Some(found) if found == row.event.event_type => Outcome::Already,
                    Some(_) => Outcome::Bad(in_use(row, "with other content")),
                    None => Outcome::Forgotten(error.to_string()),
                }
            }
            StoreError::IdInUse { .. } => {
                // Of a split event with this id only one half may be there: that is in this stream.
                let is_here = matches!(self.type_of(&row.stream, row.event.id).await, Ok(Some(_)));
                let how = if is_here { "with other content" } else { "in another stream" };
                Outcome::Bad(in_use(row, how))
            }
            StoreError::OtherContent { .. } => Outcome::Bad(in_use(row, "with other content")),
            error => Outcome::Bad(chain(&error)),
        })
    }

    /// The type of an event, if it is in a stream, of a forgotten subject or with an id that is in use: nothing is
    /// appended to it any more.
    async fn type_of(
        &mut self,
        stream: &StreamName,
        id: EventId,
    ) -> Result<Option<EventType>, StoreError> {
        if !self.seen.contains_key(stream) {
            if self.remembered > REMEMBERED {
                self.seen.clear();
                self.remembered = 0;
            }
            let mut ids = HashMap::new();
            let mut events = self.store.read(stream, ReadOptions::default());
            while let Some(event) = events.try_next().await? {
                ids.insert(event.id, event.event_type);
                if ids.len() > REMEMBERED {
                    break;
                }
            }
            self.remembered += ids.len();
            // Of a stream that is too long nothing is known, and its rows count as refused.
            let known = (ids.len() <= REMEMBERED).then_some(ids);
            self.seen.insert(stream.clone(), known);
        }
        Ok(self.seen.get(stream).and_then(Option::as_ref).and_then(|ids| ids.get(&id)).cloned())
    }
}

/// The event as another store recorded it, where that is to be kept.
fn as_recorded(row: &Ready) -> Option<RecordedEvent> {
    let Kept { recorded, revision } = row.kept?;
    let NewEvent { id, event_type, data, metadata, .. } = row.event.clone();
    // Positions are this store's own.
    let at = Position::number(0);
    let stream = row.stream.clone();
    Some(RecordedEvent::plain(stream, revision, at, id, event_type, recorded, data, metadata))
}

fn as_append(group: &[&Ready]) -> Append {
    // `chunk_by` makes no empty groups.
    let stream = group[0].stream.clone();
    let events = group.iter().map(|row| row.event.clone()).collect();
    Append::new(stream, ExpectedRevision::Any, events)
}

/// How the event differs that has a row's id.
fn in_use(row: &Ready, how: &str) -> String {
    if row.made_id {
        format!(
            "this line of this source was imported before {how}; if the lines are new, give them a source name \
             of their own with --source"
        )
    } else {
        format!("its id {} is in use by an event {how}", row.event.id)
    }
}
