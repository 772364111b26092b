//! What is to change, in order, and the part of it that concerns one page.

use std::collections::BTreeMap;

use super::page::{Entry, MAX_PLACE_BYTES, MAX_VALUE_BYTES, Page, Place, Value};
use crate::vault::VaultError;

/// A change of one place: a new value, or none.
pub(crate) type Change = (Place, Option<Value>);

/// What one erasure removes, and what it writes in the same batch.
#[derive(Default)]
pub(crate) struct Erasure {
    /// From (inclusive) and to (exclusive): everything there goes, before the changes are made.
    pub(crate) remove_ranges: Vec<(Place, Place)>,
    /// Changes of single places.
    pub(crate) changes: Vec<Change>,
}

/// Changes and removed ranges, each in ascending order and without overlap.
pub(super) struct Edits {
    changes: Vec<Change>,
    ranges: Vec<(Place, Place)>,
}

/// The edits within a span of places.
#[derive(Clone, Copy)]
pub(super) struct Slice<'a> {
    changes: &'a [Change],
    ranges: &'a [(Place, Place)],
}

/// The places that belong to a page.
#[derive(Clone)]
pub(super) struct Span {
    pub(super) low: Place,
    /// Exclusive; `None`: there is no end.
    pub(super) high: Option<Place>,
}

impl Edits {
    /// Sorts them; of several changes of a place the last counts. Ranges go before changes.
    pub(super) fn new(erasure: Erasure) -> Result<Self, VaultError> {
        let mut changes = BTreeMap::new();
        for (place, value) in erasure.changes {
            refuse_longer(place.len(), MAX_PLACE_BYTES)?;
            refuse_longer(value.as_ref().map_or(0, |v| v.len()), MAX_VALUE_BYTES)?;
            changes.insert(place, value);
        }
        let ranges = joined(erasure.remove_ranges);
        Ok(Self { changes: changes.into_iter().collect(), ranges })
    }

    pub(super) fn all(&self) -> Slice<'_> {
        Slice { changes: &self.changes, ranges: &self.ranges }
    }
}

/// The same places, in ascending order and without overlap.
pub(crate) fn joined(mut ranges: Vec<(Place, Place)>) -> Vec<(Place, Place)> {
    ranges.retain(|(from, to)| from < to);
    ranges.sort();
    let mut joined: Vec<(Place, Place)> = Vec::with_capacity(ranges.len());
    for (from, to) in ranges {
        match joined.last_mut() {
            Some(last) if from <= last.1 => last.1 = to.max(std::mem::take(&mut last.1)),
            _ => joined.push((from, to)),
        }
    }
    joined
}

fn refuse_longer(bytes: usize, most: usize) -> Result<(), VaultError> {
    if bytes > most { Err(VaultError::TooLarge { bytes, most }) } else { Ok(()) }
}

impl<'a> Slice<'a> {
    pub(super) fn is_empty(self) -> bool {
        self.changes.is_empty() && self.ranges.is_empty()
    }

    /// Whether the span goes as a whole, and nothing comes in its place.
    pub(super) fn covers(self, span: &Span) -> bool {
        let covered = |(from, to): &(Place, Place)| {
            *from <= span.low && span.high.as_ref().is_some_and(|high| high <= to)
        };
        self.changes.is_empty() && self.ranges.iter().any(covered)
    }

    /// The part within a span.
    pub(super) fn within(self, span: &Span) -> Slice<'a> {
        let changes = {
            let from = self.changes.partition_point(|(place, _)| *place < span.low);
            let to = match &span.high {
                Some(high) => self.changes.partition_point(|(place, _)| place < high),
                None => self.changes.len(),
            };
            &self.changes[from..to.max(from)]
        };
        let ranges = {
            let from = self.ranges.partition_point(|(_, to)| *to <= span.low);
            let to = match &span.high {
                Some(high) => self.ranges.partition_point(|(from, _)| from < high),
                None => self.ranges.len(),
            };
            &self.ranges[from..to.max(from)]
        };
        Slice { changes, ranges }
    }

    /// The first place that is edited, or at which a removed range begins.
    pub(super) fn first(self) -> Option<&'a [u8]> {
        let change = self.changes.first().map(|(place, _)| place.as_slice());
        let range = self.ranges.first().map(|(from, _)| from.as_slice());
        match (change, range) {
            (Some(change), Some(range)) => Some(change.min(range)),
            (change, range) => change.or(range),
        }
    }

    /// A leaf's entries after these edits.
    pub(super) fn apply(self, leaf: &'a Page) -> Vec<Entry<'a>> {
        let mut entries = Vec::with_capacity(leaf.len() + self.changes.len());
        let mut changes = self.changes.iter().peekable();
        let mut ranges = self.ranges.iter().peekable();
        let entry = |(place, value): &'a Change| Some(Entry { place, value: value.as_ref()? });
        for index in 0..leaf.len() {
            let place = leaf.place(index);
            while let Some(before) = changes.next_if(|(p, _)| p.as_slice() < place) {
                entries.extend(entry(before));
            }
            while ranges.next_if(|(_, to)| to.as_slice() <= place).is_some() {}
            let removed = ranges.peek().is_some_and(|(from, _)| from.as_slice() <= place);
            if changes.peek().is_some_and(|(p, _)| p.as_slice() == place) || removed {
                continue;
            }
            entries.push(Entry { place, value: leaf.value(index) });
        }
        entries.extend(changes.filter_map(entry));
        entries
    }
}
