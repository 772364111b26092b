//! In which order announcements were made, and which of them no other names.
//!
//! Each announcement names those that its vault knew and that no other named: the *tips*. As a rule that is the one
//! before it. Where it does not know one that is before it, there is a *fork*: two copies of the vault were at
//! work at once. Where one that it names is not before it, that one is missing, or somebody changed the
//! order; then nothing is said of forks, because an order that was changed looks like them.
//!
//! All tips are named by whatever is announced next, and not the last in the stream alone: a writer to the store
//! chooses which that is, and what is not named can be removed unmissed. A line of an exported
//! list is none: anyone who has the list can append its lines, and any number would crowd out the others.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::{Announcement, AnnouncementRef, EventId};

/// What announcements, read one after the other, say of their order.
#[derive(Default)]
pub(super) struct Order {
    /// Those so far that count and that none that counts names, in the order of the stream.
    tips: Vec<AnnouncementRef>,
    /// Those so far that count and of which none that counts knows, by what it names or by what that knows.
    heads: Vec<AnnouncementRef>,
    /// All so far that are there.
    seen: BTreeSet<AnnouncementRef>,
    /// What those know that do not count. What they name is not named by that: their key was stolen, say, and
    /// somebody else may have said it.
    passed: BTreeMap<AnnouncementRef, BTreeSet<AnnouncementRef>>,
    /// Those that name one that is not before them.
    pub(super) unplaced: Vec<EventId>,
    /// Those that do not know one that is before them.
    pub(super) forks: Vec<EventId>,
}

impl Order {
    /// Of what comes after these.
    pub(super) fn behind(tips: Vec<AnnouncementRef>) -> Self {
        let seen = tips.iter().copied().collect();
        // What the tips name was placed when it was read. Of what came before, only they can still be missed.
        Self { heads: tips.clone(), tips, seen, ..Self::default() }
    }

    /// The next one that is there. `counts`: it is the vault's word.
    pub(super) fn take(&mut self, said: &Announcement, counts: bool) {
        let (reference, named) = (said.reference(), said.named());
        // A store may have it twice.
        if !self.seen.insert(reference) {
            return;
        }
        let mut known: BTreeSet<_> = named.iter().copied().collect();
        for named in named {
            // What an announcement names that does not count is known through it, so that no fork is told. It is not
            // *named* by it: else a thief of an old key could name the newest one, and remove it unmissed.
            known.extend(self.passed.get(named).into_iter().flatten());
        }
        if counts {
            // Missing or moved comes first: an order that was changed also looks like a fork.
            if !named.iter().all(|named| self.seen.contains(named)) {
                self.unplaced.push(reference.event);
            } else if !self.heads.iter().all(|head| known.contains(head)) {
                self.forks.push(reference.event);
            }
            self.tips.retain(|tip| !named.contains(tip));
            self.heads.retain(|head| !known.contains(head));
            if !said.is_of_list() {
                self.tips.push(reference);
                self.heads.push(reference);
            }
        } else {
            self.passed.insert(reference, known);
        }
    }

    /// The tips, after some were known before. `named`: what is named by any that counts.
    pub(super) fn tips(
        &self,
        before: &[AnnouncementRef],
        named: &BTreeSet<AnnouncementRef>,
    ) -> Vec<AnnouncementRef> {
        let is_tip = |tip: &&AnnouncementRef| !named.contains(tip);
        // What is missing stays one until it is named: a vault that is put back must miss it, too.
        let mut tips: Vec<_> = before.iter().filter(is_tip).copied().collect();
        tips.extend(self.tips.iter().filter(is_tip).filter(|tip| !before.contains(tip)));
        tips
    }
}
