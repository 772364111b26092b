//! What is kept in memory of the store: where the event with each id is, and at which number each stream ends.
//!
//! For each event that is its id and its place: 60 to 110 bytes, as full as the table happens to be. For each stream its
//! name and about a hundred bytes.

use std::collections::HashMap;

use oubliette::{
    event::{EventId, Revision, StreamName},
    store::Known,
};

use crate::{
    event::{Found, Pair, position},
    names::{Prefix, Whose},
};

#[derive(Debug, Default)]
pub(crate) struct Index {
    numbers: HashMap<StreamName, u32>,
    /// For each stream the number of its last event.
    lasts: Vec<u64>,
    ids: HashMap<EventId, Place>,
    /// All events up to this position were looked at.
    seen: Option<Pair>,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    stream: u32,
    revision: u64,
    position: Pair,
}

impl Index {
    /// Looks at the next event of all.
    pub(crate) fn take(&mut self, found: &Found, prefix: &Prefix) {
        let Some(position) = found.position.filter(|at| self.seen.is_none_or(|seen| seen < *at))
        else {
            return;
        };
        self.seen = Some(position);
        // The server's own events count as well: a stream may hold links, and its numbers are theirs too.
        let Whose::Ours(stream) = prefix.ours(&found.stream) else { return };
        let number = match self.numbers.get(&stream) {
            Some(number) => *number,
            None => {
                let number = u32::try_from(self.lasts.len()).unwrap_or(u32::MAX);
                self.numbers.insert(stream, number);
                self.lasts.push(found.revision);
                number
            }
        };
        if let Some(last) = self.lasts.get_mut(number as usize) {
            *last = found.revision.max(*last);
        }
        let place = Place { stream: number, revision: found.revision, position };
        // The first keeps its id, where another program wrote it twice.
        self.ids.entry(EventId(found.id)).or_insert(place);
    }

    pub(crate) fn seen(&self) -> Option<Pair> {
        self.seen
    }

    /// How many ids are known.
    pub(crate) fn events(&self) -> usize {
        self.ids.len()
    }

    /// The number of a stream's last event.
    pub(crate) fn last(&self, stream: &StreamName) -> Option<u64> {
        self.lasts.get(*self.numbers.get(stream)? as usize).copied()
    }

    pub(crate) fn find(&self, id: EventId, stream: &StreamName) -> Option<Known> {
        let place = self.ids.get(&id)?;
        Some(Known {
            same_stream: self.numbers.get(stream) == Some(&place.stream),
            revision: Revision(place.revision),
            position: position(place.position),
        })
    }
}

#[cfg(test)]
mod tests {
    use oubliette::event::Position;
    use uuid::Uuid;

    use super::*;

    fn found(stream: &str, revision: u64, at: u64, id: Uuid) -> Found {
        Found {
            stream: stream.to_owned(),
            revision,
            position: Some((at, at)),
            id,
            event_type: "Paid".to_owned(),
            json: true,
            ticks: Some(0),
            data: "{}".into(),
            metadata: bytes::Bytes::new(),
        }
    }

    #[test]
    fn an_id_is_known_with_its_stream_revision_and_position() {
        let prefix = Prefix::new("").unwrap();
        let name = |text| StreamName::new(text).unwrap();
        let (a, b) = (name("a-1"), name("b-1"));
        let ids: Vec<Uuid> = (0..4).map(|_| Uuid::new_v4()).collect();
        let mut index = Index::default();
        assert!(index.seen().is_none() && index.last(&a).is_none());
        index.take(&found("a-1", 0, 100, ids[0]), &prefix);
        index.take(&found("b-1", 4, 150, ids[1]), &prefix);
        index.take(&found("a-1", 1, 200, ids[2]), &prefix);
        index.take(&found("$$a-1", 0, 250, ids[3]), &prefix);
        assert_eq!(
            (index.last(&a), index.last(&b), index.seen()),
            (Some(1), Some(4), Some((250, 250)))
        );
        let known = index.find(EventId(ids[2]), &a).unwrap();
        assert_eq!((known.same_stream, known.revision.0), (true, 1));
        assert_eq!(known.position, Position::pair(200, 200));
        assert!(!index.find(EventId(ids[1]), &a).unwrap().same_stream);
        assert!(!index.find(EventId(ids[1]), &name("new")).unwrap().same_stream);
        assert!(index.find(EventId(ids[3]), &a).is_none());
        // Read a second time, nothing changes.
        index.take(&found("a-1", 0, 100, ids[3]), &prefix);
        assert!(index.find(EventId(ids[3]), &a).is_none());
        // A second event with an id does not take it from the first.
        index.take(&found("b-1", 5, 300, ids[0]), &prefix);
        assert!(index.find(EventId(ids[0]), &a).unwrap().same_stream);
        assert_eq!((index.last(&b), index.events()), (Some(5), 3));
    }

    #[test]
    fn a_link_in_a_stream_takes_a_number_there() {
        let prefix = Prefix::new("").unwrap();
        let mut index = Index::default();
        let link = Found { event_type: "$>".into(), ..found("a-1", 3, 100, Uuid::new_v4()) };
        index.take(&link, &prefix);
        assert_eq!(index.last(&StreamName::new("a-1").unwrap()), Some(3));
    }
}
