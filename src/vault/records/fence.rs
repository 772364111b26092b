//! The fence: what remains of a forgotten subject.
//!
//! It says which generations are dead, by which erasure, and which keys of them were spared: because
//! they are retained, held, or of a category that was not asked for. No other key may ever exist in a
//! dead generation. A spared key that is not there is therefore lost, and reads as missing; every other
//! key of a dead generation reads as shredded.
//!
//! A fence is at `2 ‖ H(subject) ‖ part` (see [`super::places`]). All numbers are big-endian.
//!
//! | bytes | what |
//! | --- | --- |
//! | 1 | version: 1 |
//! | 1 | flags: 1, new keys are refused (*closed*); 2, keys were spared. Others are errors |
//! | 4 | how many dead spans |
//! | 24 each | a span: first generation(4) last generation(4) erasure(16). In ascending order, without overlap, 1 ≤ first ≤ last < 2²⁴ |
//! | 4 | how many erasures took the whole subject |
//! | 16 each | their ids |
//! | | with flag 2: |
//! | 4 | how many keys were spared, at least one |
//! | 25 or 41 each | generation(4) key id(20) and 0; or 1 and the erasure(16) that took it later. In ascending order |
//!
//! So the fence of somebody who was forgotten once, with nothing spared, has 50 bytes.

use std::collections::{BTreeMap, BTreeSet};

use super::places::{Hash, LAST_GENERATION};
use crate::{
    event::{ErasureId, Generation, KeyId},
    vault::{
        Fence, Taken, VaultError,
        questions::Spared,
        tree::Value,
        wire::{Reader, Writer},
    },
};

const VERSION: u8 = 1;
const CLOSED: u8 = 1;
const SPARED: u8 = 2;

/// What remains of a forgotten subject.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::vault) struct FenceRecord {
    /// Dead spans in order, both ends inclusive.
    pub(in crate::vault) dead: Vec<(Generation, Generation, ErasureId)>,
    pub(in crate::vault) closed: bool,
    /// The erasures that took the whole subject, or found the part that they were to take dead
    /// already. One that is asked for again, after a restart say, must not take what a `reopen`
    /// began since.
    pub(in crate::vault) whole: Vec<ErasureId>,
    /// The keys of dead generations that their erasure spared, each with the later erasure that took
    /// it, if one did.
    pub(in crate::vault) spared: BTreeMap<(Generation, KeyId), Option<ErasureId>>,
}

impl FenceRecord {
    /// The highest generation that is dead.
    pub(in crate::vault) fn last_dead(&self) -> Option<Generation> {
        self.dead.last().map(|&(_, to, _)| to)
    }

    /// The first generation above the dead.
    pub(in crate::vault) fn next_generation(&self) -> Generation {
        self.last_dead().map_or(Generation::FIRST, Generation::next)
    }

    /// The first generation that is not dead.
    pub(in crate::vault) fn first_living(&self) -> Generation {
        self.dead.iter().fold(Generation::FIRST, |first, (from, to, _)| {
            if (*from..=*to).contains(&first) { to.next() } else { first }
        })
    }

    /// Whether an erasure took something of the subject.
    pub(in crate::vault) fn names(&self, erasure: ErasureId) -> bool {
        self.whole.contains(&erasure)
            || self.dead.iter().any(|&(_, _, by)| by == erasure)
            || self.spared.values().any(|later| *later == Some(erasure))
    }

    fn span_of(&self, generation: Generation) -> Option<ErasureId> {
        let span = self.dead.iter().find(|(from, to, _)| (*from..=*to).contains(&generation));
        span.map(|&(_, _, erasure)| erasure)
    }

    /// Whether a generation is dead: no key is made in it any more, and none seals, not even one
    /// that was spared.
    pub(in crate::vault) fn is_dead(&self, generation: Generation) -> bool {
        self.span_of(generation).is_some()
    }

    /// The erasure that killed a key.
    pub(in crate::vault) fn killer(&self, generation: Generation, id: KeyId) -> Option<ErasureId> {
        match self.spared.get(&(generation, id)) {
            Some(later) => *later,
            None => self.span_of(generation),
        }
    }

    /// Whether a key of a dead generation was spared, and still is.
    pub(in crate::vault) fn spares(&self, generation: Generation, id: KeyId) -> bool {
        self.spared.get(&(generation, id)) == Some(&None)
    }

    /// The keys of dead generations that were spared, and still are.
    pub(in crate::vault) fn left(&self) -> impl Iterator<Item = Spared> + '_ {
        let left = self.spared.iter().filter(|(_, later)| later.is_none());
        left.map(|(spared, _)| *spared)
    }

    /// The generations in which an erasure took something.
    pub(in crate::vault) fn taken_by(&self, erasure: ErasureId) -> Vec<(Generation, Generation)> {
        let spans = self.dead.iter().filter(|&&(_, _, by)| by == erasure);
        let later = self.spared.iter().filter(|(_, later)| **later == Some(erasure));
        let later = later.map(|((generation, _), _)| (*generation, *generation));
        let mut taken: Vec<_> = spans.map(|&(from, to, _)| (from, to)).chain(later).collect();
        taken.sort_unstable();
        taken.dedup();
        taken
    }

    /// The keys that live on after an erasure, as far as it goes: those that another one took, too.
    pub(in crate::vault) fn left_by(&self, erasure: ErasureId) -> BTreeSet<Spared> {
        let others = self.spared.iter().filter(|(_, later)| **later != Some(erasure));
        others.map(|(spared, _)| *spared).collect()
    }

    /// Whether all of these generations are dead, but for keys that are spared here.
    fn covers(&self, from: Generation, to: Generation, spared: &BTreeSet<Spared>) -> bool {
        let mut next = from;
        for (dead_from, dead_to, _) in &self.dead {
            if (*dead_from..=*dead_to).contains(&next) {
                next = dead_to.next();
            }
        }
        let mut left = self.left().filter(|(at, _)| (from..=to).contains(at));
        next > to && left.all(|left| spared.contains(&left))
    }

    /// Whether all that an erasure took is dead.
    pub(in crate::vault) fn covers_all(&self, taken: &Taken) -> bool {
        taken.dead.iter().all(|&(from, to)| self.covers(from, to, &taken.spared))
    }

    /// The erasure because of which new keys are refused.
    pub(in crate::vault) fn refusal(&self) -> Option<ErasureId> {
        self.dead.last().filter(|_| self.closed).map(|&(_, _, erasure)| erasure)
    }

    /// Adds to the dead what of `from..=to` is not dead yet, but for what is spared. A key that an
    /// earlier erasure spared, and this one does not, dies as well. One that is dead stays so.
    pub(in crate::vault) fn kill(
        &mut self,
        from: Generation,
        to: Generation,
        erasure: ErasureId,
        spared: &BTreeSet<Spared>,
    ) {
        let mut fresh = Vec::new();
        let mut next = from.0;
        for &(dead_from, dead_to, _) in &self.dead {
            if dead_to.0 < next || dead_from.0 > to.0 {
                continue;
            }
            if dead_from.0 > next {
                fresh.push((Generation(next), Generation(dead_from.0 - 1), erasure));
            }
            next = dead_to.0 + 1;
        }
        if next <= to.0 {
            fresh.push((Generation(next), to, erasure));
        }
        for ((generation, id), later) in &mut self.spared {
            if later.is_none()
                && (from..=to).contains(generation)
                && !spared.contains(&(*generation, *id))
            {
                *later = Some(erasure);
            }
        }
        for (from, to, _) in &fresh {
            let within = spared.iter().filter(|(at, _)| (*from..=*to).contains(at));
            self.spared.extend(within.map(|spared| (*spared, None)));
        }
        self.dead.extend(fresh);
        self.dead.sort_unstable_by_key(|&(from, _, _)| from);
        // Neighbours of the same erasure are one span.
        self.dead.dedup_by(|later, earlier| {
            let joined = earlier.2 == later.2 && earlier.1.next() == later.0;
            if joined {
                earlier.1 = later.1;
            }
            joined
        });
    }

    pub(in crate::vault) fn public(&self, pseudonym: Hash) -> Fence {
        let (dead, spared) = (self.dead.clone(), self.left().collect());
        Fence { pseudonym, dead, spared, closed: self.closed }
    }

    pub(in crate::vault) fn encode(&self) -> Value {
        let room = 10 + 24 * self.dead.len() + 16 * self.whole.len();
        let mut to = Writer::new(room + 4 + 39 * self.spared.len());
        to.u8(VERSION);
        let spared = if self.spared.is_empty() { 0 } else { SPARED };
        to.u8(if self.closed { CLOSED } else { 0 } | spared);
        to.count(self.dead.len());
        for (first, last, erasure) in &self.dead {
            to.u32(first.0);
            to.u32(last.0);
            to.bytes(erasure.0.as_bytes());
        }
        to.count(self.whole.len());
        for erasure in &self.whole {
            to.bytes(erasure.0.as_bytes());
        }
        if !self.spared.is_empty() {
            to.count(self.spared.len());
        }
        for ((generation, id), later) in &self.spared {
            to.u32(generation.0);
            to.bytes(&id.0);
            to.maybe_id(later.map(|erasure| erasure.0));
        }
        to.done()
    }

    pub(in crate::vault) fn decode(bytes: &[u8]) -> Result<Self, VaultError> {
        let mut from = Reader::new("a fence", bytes);
        from.version(VERSION)?;
        let flags = from.u8()?;
        if flags & !(CLOSED | SPARED) != 0 {
            return Err(from.odd());
        }
        let mut dead = Vec::new();
        let mut next = Generation::FIRST;
        for _ in 0..from.u32()? {
            let (first, last) = (Generation(from.u32()?), Generation(from.u32()?));
            if first < next || last < first || last.0 > LAST_GENERATION {
                return Err(from.odd());
            }
            next = last.next();
            dead.push((first, last, ErasureId(from.id()?)));
        }
        let mut whole = Vec::new();
        for _ in 0..from.u32()? {
            whole.push(ErasureId(from.id()?));
        }
        let mut spared = BTreeMap::new();
        if flags & SPARED != 0 {
            for _ in 0..from.u32()? {
                let key = (Generation(from.u32()?), KeyId(from.array()?));
                if spared.last_key_value().is_some_and(|(last, _)| *last >= key) {
                    return Err(from.odd());
                }
                spared.insert(key, from.maybe_id()?.map(ErasureId));
            }
            if spared.is_empty() {
                return Err(from.odd());
            }
        }
        from.end()?;
        Ok(Self { dead, closed: flags & CLOSED != 0, whole, spared })
    }
}
