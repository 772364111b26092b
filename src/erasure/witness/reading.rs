//! One reading of the stream of announcements, from the mark on or from its beginning.
//!
//! Each announcement names the one that its vault made or saw last before it. Where one names another than stands before
//! it, there is a *fork* if that one stands further back: two copies of the vault were at work at once, and one did
//! not know what the other had announced meanwhile. If it does not stand further back, it is missing, or somebody
//! changed the order; then nothing is said of forks, because an order that was changed looks like them.

use std::collections::BTreeSet;

use super::{
    super::ErasureError,
    Witnessed,
    found::Found,
    mark::{At, Mark, is_empty, since},
};
use crate::{
    event::{Announcement, AnnouncementRef, ErasureId, EventId},
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
    /// Whether the mark's event is not there any more.
    lost: bool,
    /// Those that name another than stands before them, and that does not stand further back.
    unplaced: Vec<EventId>,
    /// Those that name one that stands further back.
    forked: Vec<EventId>,
    /// The last event, of whichever vault.
    at: Option<At>,
    /// The last announcement of the vault's own.
    last: Option<AnnouncementRef>,
    /// Events that are no announcements.
    odd: Vec<EventId>,
    /// Erasures that were applied again.
    replayed: Vec<ErasureId>,
}

impl Reading {
    /// Reads what comes behind the mark, or, where its event is not there, all.
    pub(super) async fn since<S: EventStore>(
        layer: &Layer<S>,
        vault: &Vault,
        mark: Mark,
    ) -> Result<Self, ErasureError> {
        let (events, lost) = since(layer, mark.at).await.map_err(ErasureError::WitnessSilent)?;
        let elsewhere = lost && events.is_empty() && is_empty(layer).await?;
        let (mut announcements, mut odd) = (Vec::new(), Vec::new());
        for event in &events {
            match Announcement::of(event) {
                Some(announcement) => announcements.push(announcement),
                None => odd.push(event.id),
            }
        }
        let mut found = Found::default();
        found.learn(vault, &announcements).await?;
        let is_whole = lost || mark.at.is_none();
        // Where all is compared anew, it is not known after which of them the first one comes.
        let knows_first = !is_whole || (!lost && mark.last.is_none());
        let mut last = knows_first.then_some(mark.last);
        let mut seen: BTreeSet<_> = last.flatten().into_iter().collect();
        let (mut unplaced, mut forked) = (Vec::new(), Vec::new());
        // What comes after the last one and does not count: a later one may name it as well.
        let mut passed = None;
        for announcement in &announcements {
            let follows = announcement.follows();
            let in_order = |last| follows == last || (passed.is_some() && follows == passed);
            let in_order = last.is_none_or(in_order);
            let is_own = found.take(vault, announcement)?;
            if !is_own && !in_order {
                continue;
            }
            let reference = announcement.reference();
            if is_own {
                // What names none was said when its vault had seen none.
                let is_fork = follows.is_none_or(|named| seen.contains(&named));
                match in_order {
                    true => {}
                    false if is_fork => forked.push(reference.event),
                    false => unplaced.push(reference.event),
                }
                (last, passed) = (Some(Some(reference)), None);
            } else {
                passed = Some(reference);
            }
            seen.insert(reference);
        }
        let (replayed, _) = found.apply(vault).await?;
        let at = events.last().map(At::of);
        let last = last.flatten();
        Ok(Self { is_whole, elsewhere, found, lost, unplaced, forked, at, last, odd, replayed })
    }

    /// With what an earlier reading told, of part of the same. Of what it could not place this one says where it belongs;
    /// forks before that part were told when they came.
    pub(super) fn after(mut self, earlier: Self) -> Self {
        self.replayed.splice(0..0, earlier.replayed);
        self.found.keys.splice(0..0, earlier.found.keys);
        self.found.distrusted.splice(0..0, earlier.found.distrusted);
        self.forked
            .retain(|event| earlier.forked.contains(event) || earlier.unplaced.contains(event));
        self
    }

    /// How far the announcements are known from now on.
    pub(super) fn mark(&self, before: Mark) -> Mark {
        let at = if self.is_whole || self.at.is_some() { self.at } else { before.at };
        Mark { at, last: self.last, newest: self.last }
    }

    /// What it told. `is_complete`: nothing is missing.
    pub(super) fn tell(self, is_complete: bool) -> Witnessed {
        let Self { elsewhere, found, lost, unplaced, mut forked, odd, replayed, .. } = self;
        let Found { unverifiable, compromised, keys, distrusted, refused, .. } = found;
        let compromised = compromised.into_iter().map(|(event, _)| event).collect();
        let gap = (lost || !unplaced.is_empty() || !is_complete) && !elsewhere;
        if !unplaced.is_empty() {
            forked.clear();
        }
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
