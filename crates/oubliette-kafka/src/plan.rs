//! Which events an append or a restore writes, and what it is answered.

use std::collections::{HashMap, HashSet};

use oubliette::{
    event::{EventId, Position, RecordedEvent, Revision, StreamName, Timestamp},
    store::{Append, Appended, Known, StoreError, answer_retry, plan_restore},
};

use crate::{
    index::{GAP, Index},
    record::{Outbound, before},
};

/// A group ends with this many events, or bytes: others wait for all of it.
const EVENTS: usize = 2_000;
const BYTES: usize = 4 * 1024 * 1024;

#[derive(Debug)]
pub(crate) enum Task {
    Append(Vec<Append>),
    Restore(Vec<RecordedEvent>),
}

/// What is to be done for a task.
#[derive(Debug)]
pub(crate) enum Plan {
    /// Write these events, then answer so.
    Write(Vec<Outbound>, Reply),
    /// Nothing is written.
    Answer(Result<Vec<Appended>, StoreError>),
    /// It depends on what the group before it comes to.
    Wait,
}

/// How to answer once the events have offsets.
#[derive(Debug)]
pub(crate) enum Reply {
    /// For each stream, which event is its last.
    Append(Vec<usize>),
    /// For each event, where it was before; the others are those that were written, in order.
    Restore(Vec<Option<Known>>),
}

impl Reply {
    pub(crate) fn of(&self, events: &[Outbound], offsets: &[u64]) -> Vec<Appended> {
        let mut written = events.iter().zip(offsets).map(|(event, offset)| Appended {
            revision: event.revision,
            position: Position::number(*offset),
            already: false,
        });
        match self {
            Self::Append(lasts) => {
                let written: Vec<Appended> = written.collect();
                lasts.iter().filter_map(|last| written.get(*last).copied()).collect()
            }
            Self::Restore(given) => {
                let known = |known: Known| Appended {
                    revision: known.revision,
                    position: known.position,
                    already: true,
                };
                given.iter().filter_map(|at| at.map(known).or_else(|| written.next())).collect()
            }
        }
    }
}

/// What a transaction will have written: appends in it are decided as if it had.
#[derive(Debug, Default)]
pub(crate) struct Group {
    /// The next revision of each stream that it writes to.
    next: HashMap<StreamName, u64>,
    ids: HashSet<EventId>,
    bytes: usize,
}

impl Group {
    pub(crate) fn add(&mut self, events: &[Outbound]) {
        for event in events {
            self.next.insert(event.stream.clone(), event.revision.0.saturating_add(1));
            self.ids.insert(event.id);
            self.bytes += event.size();
        }
    }

    /// Decides what becomes of a task after this group.
    pub(crate) fn plan(&self, index: &Index, task: &Task) -> Plan {
        let plan = match task {
            Task::Append(appends) => self.append(index, appends),
            Task::Restore(events) => self.restore(index, events),
        };
        match plan {
            Plan::Write(events, _) if !self.has_room_for(&events) => Plan::Wait,
            // Whether the group will be there is not known yet: a refusal could be wrong.
            Plan::Answer(_) if self.touches(task) => Plan::Wait,
            plan => plan,
        }
    }

    fn has_room_for(&self, events: &[Outbound]) -> bool {
        let bytes: usize = events.iter().map(Outbound::size).sum();
        self.ids.is_empty()
            || self.ids.len() + events.len() <= EVENTS && self.bytes + bytes <= BYTES
    }

    fn touches(&self, task: &Task) -> bool {
        let meets = |id: EventId, stream: &StreamName| {
            self.ids.contains(&id) || self.next.contains_key(stream)
        };
        match task {
            Task::Append(appends) => appends
                .iter()
                .any(|append| append.events.iter().any(|event| meets(event.id, &append.stream))),
            Task::Restore(events) => events.iter().any(|event| meets(event.id, &event.stream)),
        }
    }

    fn next(&self, index: &Index, stream: &StreamName) -> u64 {
        self.next.get(stream).copied().unwrap_or_else(|| index.next(stream))
    }

    fn last(&self, index: &Index, stream: &StreamName) -> Option<Revision> {
        self.next(index, stream).checked_sub(1).map(Revision)
    }

    fn find(&self, index: &Index, id: EventId, stream: &StreamName) -> Option<Known> {
        if self.ids.contains(&id) {
            // Its place is not known yet; whoever meets it waits.
            let (revision, position) = (Revision(0), Position::number(0));
            return Some(Known { same_stream: true, revision, position });
        }
        index.find(id, stream)
    }

    fn append(&self, index: &Index, appends: &[Append]) -> Plan {
        match answer_retry(appends, |id, stream| Ok(self.find(index, id, stream))) {
            Ok(None) => {}
            Ok(Some(done)) => return Plan::Answer(Ok(done)),
            Err(error) => return Plan::Answer(Err(error)),
        }
        let recorded = Timestamp::now();
        let (mut events, mut lasts) = (Vec::new(), Vec::with_capacity(appends.len()));
        for Append { stream, expected, events: new } in appends {
            let last = self.last(index, stream);
            if !expected.matches(last) {
                let (stream, expected) = (stream.clone(), *expected);
                let actual = Some(last.into());
                return Plan::Answer(Err(StoreError::Conflict { stream, expected, actual }));
            }
            let first = self.next(index, stream);
            events.extend((first..).zip(new).map(|(revision, event)| Outbound {
                stream: stream.clone(),
                revision: Revision(revision),
                after: before(Revision(revision)),
                id: event.id,
                event_type: event.event_type.clone(),
                recorded,
                restored: None,
                data: event.data.clone(),
                metadata: event.metadata.clone(),
            }));
            lasts.push(events.len().saturating_sub(1));
        }
        Plan::Write(events, Reply::Append(lasts))
    }

    fn restore(&self, index: &Index, events: &[RecordedEvent]) -> Plan {
        let planned = plan_restore(
            events,
            |id, stream| Ok(self.find(index, id, stream)),
            |stream| Ok(self.last(index, stream)),
        );
        let planned = match planned {
            Ok(planned) => planned,
            Err(error) => return Plan::Answer(Err(error)),
        };
        let restored = Some(Timestamp::now());
        let mut lasts: HashMap<&StreamName, Option<Revision>> = HashMap::new();
        let mut new = Vec::new();
        for (event, _) in events.iter().zip(&planned).filter(|(_, known)| known.is_none()) {
            let RecordedEvent { stream, revision, id, .. } = event;
            let last = lasts.entry(stream).or_insert_with(|| self.last(index, stream));
            let after = last.replace(*revision);
            let missing = revision.0 - after.map_or(0, |after| after.0 + 1);
            if missing > GAP {
                return Plan::Answer(Err(StoreError::Invalid(format!(
                    "before event {id}, revision {revision} of {stream}, {missing} revisions are missing; a topic keeps \
                     gaps of at most {GAP}"
                ))));
            }
            // Events without a payload were refused before.
            let Some(data) = event.data.clone() else { continue };
            new.push(Outbound {
                stream: stream.clone(),
                revision: *revision,
                after,
                id: *id,
                event_type: event.event_type.clone(),
                recorded: event.recorded,
                restored,
                data,
                metadata: event.metadata.clone(),
            });
        }
        let reply = Reply::Restore(planned);
        if new.is_empty() { Plan::Answer(Ok(reply.of(&[], &[]))) } else { Plan::Write(new, reply) }
    }
}

#[cfg(test)]
mod tests {
    use oubliette::{
        event::{EventType, Json, NewEvent},
        store::ExpectedRevision::{self, Any, Exact, NoStream},
    };

    use super::*;

    fn append(stream: &str, expected: ExpectedRevision, events: usize) -> Append {
        let event = || NewEvent::new(EventType::new("Paid").unwrap(), Json::parse("{}").unwrap());
        let events = (0..events).map(|_| event()).collect();
        Append::new(StreamName::new(stream).unwrap(), expected, events)
    }

    #[test]
    fn what_depends_on_the_group_waits_for_it_and_what_follows_joins_it() {
        let (index, mut group) = (Index::default(), Group::default());
        let first = Task::Append(vec![append("a-1", NoStream, 2), append("b-1", Any, 1)]);
        let Plan::Write(events, Reply::Append(lasts)) = group.plan(&index, &first) else {
            panic!("it is new");
        };
        assert_eq!(lasts, [1, 2]);
        group.add(&events);

        let follows = Task::Append(vec![append("a-1", Exact(Revision(1)), 1)]);
        let Plan::Write(events, _) = group.plan(&index, &follows) else { panic!("it follows") };
        assert_eq!(events[0].revision, Revision(2));
        let stale = Task::Append(vec![append("a-1", NoStream, 1)]);
        assert!(matches!(group.plan(&index, &stale), Plan::Wait));
        assert!(matches!(group.plan(&index, &first), Plan::Wait), "a retry");
        // Of another stream: the group changes nothing about it.
        let stale = Task::Append(vec![append("c-1", Exact(Revision(0)), 1)]);
        assert!(matches!(group.plan(&index, &stale), Plan::Answer(Err(_))));
        let large = Task::Append(vec![append("d-1", Any, EVENTS)]);
        assert!(matches!(group.plan(&index, &large), Plan::Wait));
        assert!(matches!(Group::default().plan(&index, &large), Plan::Write(..)));
    }
}
