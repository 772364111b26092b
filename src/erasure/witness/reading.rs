//! One reading of the stream of announcements, from the mark on or from its beginning.

use std::collections::BTreeMap;

use super::{
    super::ErasureError,
    Witnessed,
    found::Found,
    mark::{At, Mark, Tip, is_empty, since},
    tips::Order,
};
use crate::{
    event::{Announcement, AnnouncementRef, ErasureId, EventId, Revision},
    layer::Layer,
    store::EventStore,
    vault::Vault,
};

/// What was read, judged and applied.
pub(super) struct Reading {
    /// Whether all that the store has was read, and not only what came behind the mark.
    pub(super) is_whole: bool,
    /// Whether there is nothing in the store, although the vault knew announcements.
    pub(super) elsewhere: bool,
    pub(super) found: Found,
    /// Whether the mark's event, or a tip, is not where it was.
    lost: bool,
    order: Order,
    /// The last event, of whichever vault.
    at: Option<At>,
    /// Where the announcements are that are there.
    places: BTreeMap<AnnouncementRef, Revision>,
    /// Events that are no announcements.
    odd: Vec<EventId>,
    /// Erasures that were applied again.
    replayed: Vec<ErasureId>,
}

impl Reading {
    /// Reads what comes behind the mark, or, where that is not there, all.
    pub(super) async fn since<S: EventStore>(
        layer: &Layer<S>,
        vault: &Vault,
        mark: &Mark,
    ) -> Result<Self, ErasureError> {
        let (events, lost) = since(layer, mark).await.map_err(ErasureError::WitnessSilent)?;
        let is_known = lost || !mark.tips.is_empty();
        let elsewhere = is_known && events.is_empty() && is_empty(layer).await?;
        let (mut announcements, mut revisions, mut odd) = (Vec::new(), Vec::new(), Vec::new());
        for event in &events {
            match Announcement::of(event) {
                Some(announcement) => {
                    announcements.push(announcement);
                    revisions.push(event.revision);
                }
                None => odd.push(event.id),
            }
        }
        let mut found = Found::default();
        found.learn(vault, &announcements).await?;
        let is_whole = lost || mark.at.is_none();
        let mut order = if is_whole { Order::default() } else { Order::behind(mark.tips()) };
        let mut places = BTreeMap::new();
        for (announcement, revision) in announcements.iter().zip(revisions) {
            let counts = found.take(vault, announcement)?;
            let reference = announcement.reference();
            if found.there.contains(&reference) {
                order.take(announcement, counts);
                places.insert(reference, revision);
            }
        }
        let (replayed, _) = found.apply(vault).await?;
        let at = events.last().map(At::of);
        Ok(Self { is_whole, elsewhere, found, lost, order, places, at, odd, replayed })
    }

    /// Whether it is known of each what it comes after.
    pub(super) fn is_in_order(&self) -> bool {
        self.order.unplaced.is_empty()
    }

    /// With what an earlier reading told, of part of the same. Of what it could not place this one says where it belongs;
    /// forks before that part were told when they came.
    pub(super) fn after(mut self, earlier: Self) -> Self {
        self.replayed.splice(0..0, earlier.replayed);
        self.found.keys.splice(0..0, earlier.found.keys);
        self.found.distrusted.splice(0..0, earlier.found.distrusted);
        let Order { forks, unplaced, .. } = earlier.order;
        self.order.forks.retain(|event| forks.contains(event) || unplaced.contains(event));
        self
    }

    /// How far the announcements are known from now on. Which should be there stays known where the store is not
    /// the one that was.
    pub(super) fn mark(&self, before: &Mark) -> Mark {
        let tips = self.order.tips(&before.tips(), &self.found.named).into_iter().map(|named| {
            let before = before.tips.iter().find(|tip| tip.announcement() == named);
            let before = before.filter(|_| !self.is_whole).and_then(|tip| tip.seen);
            Tip::new(named, self.places.get(&named).copied().or(before))
        });
        let at = if self.is_whole { self.at } else { self.at.or(before.at) };
        Mark { at, tips: tips.collect() }
    }

    /// What it told. `is_complete`: nothing is missing.
    pub(super) fn tell(self, is_complete: bool) -> Witnessed {
        let Self { elsewhere, found, lost, order, odd, replayed, .. } = self;
        let Found { unverifiable, compromised, keys, distrusted, refused, .. } = found;
        let compromised = compromised.into_iter().map(|(event, _)| event).collect();
        let is_in_order = order.unplaced.is_empty();
        let gap = (lost || !is_in_order || !is_complete) && !elsewhere;
        let forked = if is_in_order { order.forks } else { Vec::new() };
        Witnessed {
            replayed,
            unverifiable,
            odd,
            compromised,
            keys,
            distrusted,
            refused,
            forked,
            gap,
            elsewhere,
        }
    }
}
