//! What is kept in memory of the topic: where each stream's events are, and which ids are known.
//!
//! For each event that is eight bytes of its stream's list and a place in the table of ids: 45 to 75 bytes, as full as
//! the tables happen to be. For each stream its name and about a hundred bytes.

use std::collections::HashMap;

use oubliette::{
    event::{EventId, Position, Revision, StreamName},
    store::Known,
};
use uuid::Uuid;

use crate::record::{Entry, NotOurs, Place};

/// Of the records that are passed over so many are described; all are counted.
const DESCRIBED: usize = 100;

/// Stands for an event that is missing, of a store that was restored from one that had removed it.
const NONE: u64 = u64::MAX;

/// So many revisions may be missing between two events of a stream: each takes eight bytes of memory.
pub(crate) const GAP: u64 = 1 << 20;

/// Which events there are.
#[derive(Debug, Default)]
pub(crate) struct Index {
    numbers: HashMap<StreamName, u32>,
    /// For each stream the offsets of its events: a revision is an index here. [`NONE`] where there is no event.
    offsets: Vec<Vec<u64>>,
    ids: HashMap<EventId, (u32, u32)>,
    /// One behind the last event's offset.
    head: u64,
    /// All records before this offset were looked at.
    end: u64,
    writer: Option<Uuid>,
    /// The first record of ours, which a topic of the same name that was made later has not.
    first: Option<(u64, Uuid)>,
    passed_over: PassedOver,
}

/// The records of a topic that are no events of the store's, or do not follow.
///
/// A record is passed over where its stream's events before it are not there, where its revision is taken, where its
/// id is known, or where another program wrote it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PassedOver {
    /// How many there are.
    pub count: u64,
    /// Where the first hundred of them are, and why.
    pub first: Vec<(Position, String)>,
}

impl Index {
    /// Looks at the next record: takes it as an event, or passes it over.
    ///
    /// # Errors
    /// The form of a record that a newer program wrote.
    pub(crate) fn take(
        &mut self,
        offset: u64,
        entry: Result<Entry, NotOurs>,
    ) -> Result<(), String> {
        if offset < self.end {
            return Ok(());
        }
        self.end = offset + 1;
        if let Ok(entry) = &entry {
            self.first.get_or_insert((offset, entry.id()));
        }
        let why = match entry {
            Ok(Entry::Event(place, _)) => match self.follows(&place) {
                Ok(()) => {
                    self.add(offset, place);
                    return Ok(());
                }
                Err(why) => why,
            },
            Ok(Entry::Writer(writer)) => {
                self.writer = Some(writer);
                return Ok(());
            }
            Err(NotOurs::Newer(form)) => return Err(form),
            Err(NotOurs::Foreign) => "another program wrote it".to_owned(),
            Err(NotOurs::Malformed(what)) => format!("it is malformed: {what}"),
        };
        self.pass_over(offset, why);
        Ok(())
    }

    fn follows(&self, place: &Place) -> Result<(), String> {
        if self.ids.contains_key(&place.id) {
            return Err(format!("the id {} is known already", place.id));
        }
        let next = self.next(&place.stream);
        let follows = place.after.map_or(0, |after| after.0.saturating_add(1)) == next;
        if follows && (next..=next.saturating_add(GAP)).contains(&place.revision.0) {
            return Ok(());
        }
        Err(format!(
            "it is revision {} of {}, where {next} is the next",
            place.revision, place.stream
        ))
    }

    /// Notes an event that was written, or found to follow.
    pub(crate) fn add(&mut self, offset: u64, place: Place) {
        let number = match self.numbers.get(&place.stream) {
            Some(number) => *number,
            None => {
                let number = u32::try_from(self.offsets.len()).unwrap_or(u32::MAX);
                self.numbers.insert(place.stream, number);
                self.offsets.push(Vec::new());
                number
            }
        };
        if let Some(offsets) = self.offsets.get_mut(number as usize) {
            // Nothing that has more of them missing comes here.
            let missing = place.revision.0.saturating_sub(offsets.len() as u64).min(GAP);
            offsets.extend((0..missing).map(|_| NONE));
            // Four thousand million events of one stream do not fit into memory.
            let at = u32::try_from(offsets.len()).unwrap_or(u32::MAX);
            offsets.push(offset);
            self.ids.insert(place.id, (number, at));
        }
        self.head = self.head.max(offset + 1);
        self.end = self.end.max(offset + 1);
    }

    fn pass_over(&mut self, offset: u64, why: String) {
        tracing::warn!(offset, why, "a record of the topic is passed over");
        self.passed_over.count += 1;
        if self.passed_over.first.len() < DESCRIBED {
            self.passed_over.first.push((Position::number(offset), why));
        }
    }

    /// All records before this offset were looked at.
    pub(crate) fn looked_until(&mut self, end: u64) {
        self.end = self.end.max(end);
    }

    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    pub(crate) fn head(&self) -> u64 {
        self.head
    }

    pub(crate) fn writer(&self) -> Option<Uuid> {
        self.writer
    }

    pub(crate) fn first(&self) -> Option<(u64, Uuid)> {
        self.first
    }

    pub(crate) fn passed_over(&self) -> &PassedOver {
        &self.passed_over
    }

    pub(crate) fn events(&self) -> usize {
        self.ids.len()
    }

    /// The offsets of a stream's events between two revisions, both inclusive, with their revisions.
    pub(crate) fn between(&self, stream: &StreamName, first: u64, last: u64) -> Vec<(u64, u64)> {
        let (Ok(start), Ok(end)) = (usize::try_from(first), usize::try_from(last)) else {
            return Vec::new();
        };
        let offsets = self.offsets(stream).get(start..=end).unwrap_or_default();
        (first..).zip(offsets.iter().copied()).filter(|(_, offset)| *offset != NONE).collect()
    }

    fn offsets(&self, stream: &StreamName) -> &[u64] {
        let number = self.numbers.get(stream);
        number.and_then(|number| self.offsets.get(*number as usize)).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn next(&self, stream: &StreamName) -> u64 {
        self.offsets(stream).len() as u64
    }

    pub(crate) fn find(&self, id: EventId, stream: &StreamName) -> Option<Known> {
        let (number, at) = *self.ids.get(&id)?;
        let offset = *self.offsets.get(number as usize)?.get(at as usize)?;
        Some(Known {
            same_stream: self.numbers.get(stream) == Some(&number),
            revision: Revision(u64::from(at)),
            position: Position::number(offset),
        })
    }

    /// Whether the event with this id is the record at this offset.
    pub(crate) fn is_at(&self, id: EventId, offset: u64) -> bool {
        let place = self.ids.get(&id);
        let found =
            place.and_then(|(number, at)| self.offsets.get(*number as usize)?.get(*at as usize));
        found == Some(&offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(place: Place) -> Result<Entry, NotOurs> {
        Ok(Entry::Event(place, oubliette::event::EventType::new("Paid").unwrap()))
    }

    fn event(stream: &str, revision: u64) -> Place {
        let stream = StreamName::new(stream).unwrap();
        let revision = Revision(revision);
        let after = crate::record::before(revision);
        Place { stream, revision, after, id: EventId::random() }
    }

    #[test]
    fn an_event_may_say_what_is_missing_before_it() {
        let mut index = Index::default();
        let after = |revision, after: Option<u64>| Place {
            after: after.map(Revision),
            ..event("a-1", revision)
        };
        let mut at = 0;
        let mut take = |index: &mut Index, place| {
            at += 1;
            index.take(at, entry(place)).unwrap();
        };
        take(&mut index, after(2, None));
        // What was not last there, the same revision again, one before it, and too many at once.
        let too_many = 3 + GAP + 1;
        for (revision, last) in
            [(7, Some(4)), (7, None), (2, Some(2)), (1, Some(2)), (too_many, Some(2))]
        {
            take(&mut index, after(revision, last));
        }
        take(&mut index, after(5, Some(2)));
        take(&mut index, event("a-1", 6));
        let stream = StreamName::new("a-1").unwrap();
        assert_eq!(index.between(&stream, 0, 6), [(2, 1), (5, 7), (6, 8)]);
        assert_eq!(index.between(&stream, 3, 5), [(5, 7)]);
        assert_eq!(index.between(&stream, 3, 4), []);
        assert_eq!((index.next(&stream), index.events(), index.passed_over().count), (7, 3, 5));
        take(&mut index, after(6 + GAP + 1, Some(6)));
        assert_eq!(index.next(&stream), 7 + GAP + 1);
    }

    #[test]
    fn what_does_not_follow_is_passed_over_and_told() {
        let mut index = Index::default();
        let first = event("a-1", 0);
        let again = Place { id: first.id, ..event("b-1", 0) };
        let mut at = 0;
        let mut take = |index: &mut Index, entry| {
            at += 2;
            index.take(at, entry)
        };
        let before = PassedOver::default();
        assert_eq!(index.passed_over(), &before);
        take(&mut index, entry(first)).unwrap();
        take(&mut index, entry(event("a-1", 2))).unwrap();
        take(&mut index, entry(event("a-1", 0))).unwrap();
        take(&mut index, entry(event("c-1", 1))).unwrap();
        take(&mut index, entry(again)).unwrap();
        take(&mut index, Err(NotOurs::Foreign)).unwrap();
        take(&mut index, Err(NotOurs::Malformed("no type"))).unwrap();
        take(&mut index, entry(event("a-1", 1))).unwrap();
        let newer = take(&mut index, Err(NotOurs::Newer("event/2".into())));
        assert_eq!(newer.unwrap_err(), "event/2");
        let stream = StreamName::new("a-1").unwrap();
        assert_eq!(index.offsets(&stream), [2, 16]);
        assert_eq!((index.events(), index.head(), index.end()), (2, 17, 19));
        assert_eq!(index.passed_over().count, 6);
        let told: Vec<&str> =
            index.passed_over().first.iter().map(|(_, why)| why.as_str()).collect();
        for (told, what) in
            told.iter().zip(["revision 2", "revision 0", "revision 1", "known", "program", "type"])
        {
            assert!(told.contains(what), "{told}");
        }
        // Looked at before: nothing is counted twice.
        index.take(4, Err(NotOurs::Foreign)).unwrap();
        assert_eq!(index.passed_over().count, 6);
    }
}
