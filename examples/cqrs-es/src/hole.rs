//! What takes the place of an event of which something is missing.

use std::{collections::HashMap, fmt, sync::Arc};

use cqrs_es::{Aggregate, DomainEvent};
use oubliette::event::Shredded;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::SealError;

/// An event whose keys are destroyed, in whole or in part.
#[derive(Debug)]
#[non_exhaustive]
pub struct Hole<'a> {
    /// The aggregate's id.
    pub aggregate_id: &'a str,
    /// The event's sequence number, which the event in its place keeps.
    pub sequence: usize,
    /// The type of the event that was there.
    pub event_type: &'a str,
    /// Its version: what is left is in the form of that version, because no upcaster saw it.
    pub event_version: &'a str,
    /// What is readable of its payload: what the policy called public when it was sealed.
    pub left: Option<&'a Value>,
    /// What is missing, since when, and by which erasure.
    pub shredded: &'a [Shredded],
}

impl Hole<'_> {
    /// What is left, as a type of the application's, if it is enough for one.
    pub fn left_as<T: DeserializeOwned>(&self) -> Option<T> {
        self.left.and_then(|left| T::deserialize(left).ok())
    }
}

/// An event of the application's, as the framework would have stored it.
pub(crate) struct StandIn {
    pub(crate) event_type: String,
    pub(crate) event_version: String,
    pub(crate) payload: Value,
}

type MakeEvent = dyn Fn(&Hole<'_>) -> Result<StandIn, serde_json::Error> + Send + Sync;

/// The application's events for holes, by the aggregate's type.
#[derive(Clone, Default)]
pub(crate) struct HoleEvents(HashMap<&'static str, Arc<MakeEvent>>);

impl HoleEvents {
    pub(crate) fn insert<A: Aggregate>(
        &mut self,
        make: impl Fn(&Hole<'_>) -> A::Event + Send + Sync + 'static,
    ) {
        // Its own type and version, so that no upcaster takes it for the event that was there.
        let stand_in = move |hole: &Hole<'_>| {
            let event = make(hole);
            Ok(StandIn {
                event_type: event.event_type(),
                event_version: event.event_version(),
                payload: serde_json::to_value(&event)?,
            })
        };
        self.0.insert(A::TYPE, Arc::new(stand_in));
    }

    pub(crate) fn fill(&self, aggregate_type: &str, hole: &Hole<'_>) -> Result<StandIn, SealError> {
        let make = self.0.get(aggregate_type);
        let make = make.ok_or_else(|| SealError::NoHoleEvent(aggregate_type.to_owned()))?;
        make(hole).map_err(SealError::HoleEvent)
    }
}

impl fmt::Debug for HoleEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
