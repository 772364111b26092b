//! Making data keys, and reserving seals for those that there are.

use std::sync::{Arc, atomic::Ordering};

use super::{Committer, Planned, Wanted};
use crate::{
    crypto::{DataKey, random_secret},
    event::{Class, Generation},
    vault::{
        KeyLookup, VaultError,
        reading::cache::Warm,
        records::entries::{KeyEntry, today},
        tree::Place,
    },
};

impl Committer {
    /// Plans a key. With it: whether it may be used at once, because nothing had to be planned.
    pub(super) fn seal(&mut self, wanted: Wanted) -> Result<(Arc<DataKey>, bool), VaultError> {
        self.shared.disk.check()?;
        let subject = &wanted.address.1;
        let hash = self.shared.naming.subject(subject);
        let fence = self.shared.disk.fence(&hash)?;
        if let Some(erasure) = fence.refusal() {
            return Err(VaultError::Forgotten { subject: subject.clone(), erasure });
        }
        let mut record = self.shared.record(&hash, &fence)?;
        let open = record.open_generation();
        let generation = match (wanted.generation, open) {
            (Some(generation), _) => {
                let begun = (Generation::FIRST..=record.highest).contains(&generation);
                if !begun || fence.is_dead(generation) {
                    return Err(VaultError::NoGeneration { subject: subject.clone(), generation });
                }
                generation
            }
            (None, Some(event)) => {
                return Err(VaultError::Unsettled { subject: subject.clone(), event });
            }
            (None, None) => record.current,
        };
        let current = self.current(hash);
        current.store(if open.is_none() { record.current.0 } else { 0 }, Ordering::Release);
        let place = self.shared.naming.key(&hash, &wanted.address.0, &Class::default(), generation);
        if !self.planned.contains_key(&place) {
            let warm = self.shared.cache.peek_warm(&wanted.address);
            let warm = warm.filter(|warm| warm.generation == generation);
            if let Some(warm) = &warm
                && warm.take(wanted.seals)
            {
                return Ok((Arc::clone(&warm.key), true));
            }
            let entry = match self.shared.disk.key(&place)? {
                Some(entry) => entry,
                None => self.mint(&place, &wanted, generation)?,
            };
            let (key, before, spare) = match warm {
                Some(warm) => (Arc::clone(&warm.key), warm.before, warm.drain()),
                None => (DataKey::new(entry.id, &entry.secret).into(), entry.reserved, 0),
            };
            let address = wanted.address.clone();
            let planned = Planned { address, entry, key, current, before, spare };
            self.planned.insert(place.clone(), planned);
        }
        let Some(planned) = self.planned.get_mut(&place) else {
            return Err(VaultError::Poisoned);
        };
        let (limits, seals) = (self.shared.limits, u64::from(wanted.seals));
        let used = planned.entry.reserved - planned.spare;
        let full = used > 0 && used + seals > limits.seals_per_key;
        if full && open.is_none() && generation == record.current {
            let begun = record.begin_generation()?;
            record.go_on_with(begun);
            self.shared.unsaved().insert(hash, record);
            return self.seal(wanted);
        }
        // Late retries alone come to a key that gave way long ago.
        if full && used + seals > limits.seals_per_key.saturating_mul(2) {
            let (subject, generation) = (wanted.address.1, generation);
            return Err(VaultError::KeyUsedUp { subject, generation });
        }
        planned.reserve(seals, limits.largest_block, limits.seals_per_key);
        Ok((Arc::clone(&planned.key), false))
    }

    /// A new key. Its id is unlike that of any living key, whatever the odds.
    fn mint(
        &mut self,
        place: &Place,
        wanted: &Wanted,
        generation: Generation,
    ) -> Result<KeyEntry, VaultError> {
        let id = loop {
            let id = self.shared.naming.mint(place)?;
            if self.shared.find(id)?.is_none() && self.minted.insert(id) {
                break id;
            }
        };
        Ok(KeyEntry {
            id,
            secret: random_secret()?,
            stream: wanted.address.0.clone(),
            subject: wanted.address.1.clone(),
            class: Class::default(),
            generation,
            created: self.shared.now(),
            last_day: today(),
            reserved: 0,
            layout: wanted.layout,
            policy: wanted.policy,
        })
    }

    /// Hands a key that is on the disk to readers and writers.
    pub(super) fn publish(&mut self, planned: Planned) {
        let Planned { address, entry, key, current, before, spare } = planned;
        let state = KeyLookup::Live { key: Arc::clone(&key), subject: entry.subject };
        // Nothing is destroyed meanwhile: this thread would do it.
        self.shared.cache.keep_state(entry.id, state, self.shared.cache.version());
        let KeyEntry { generation, reserved, last_day, .. } = entry;
        let left = spare.into();
        let warm = Warm { key, generation, current, reserved, before, left, last_day };
        self.shared.cache.keep_warm(address, warm);
    }
}

/// How many seals a new key has to spare: it is written once for a person's first events. A key that another process
/// made has none, so that many processes of one event each do not add them up.
const FIRST_BLOCK: u64 = 3;

impl Planned {
    /// Takes from what is reserved, and reserves more where that does not suffice: as many again as this process
    /// has reserved by then, within bounds.
    ///
    /// So a busy key is written seldom, and a new one not again at each of a person's first events. And however a
    /// process ends, and whatever gives way in memory, no key counts for more than twice what it sealed, and
    /// [`FIRST_BLOCK`]: what is reserved is `asked for + spare`, and a block, which is all that there is to
    /// spare, is no larger than what was asked for before it, but for a new key's first.
    fn reserve(&mut self, seals: u64, largest: u64, limit: u64) {
        if self.spare < seals {
            let missing = seals - self.spare;
            let room = limit.saturating_sub(self.entry.reserved + missing);
            let as_many = self.entry.reserved - self.before;
            let first = if self.before == 0 { FIRST_BLOCK } else { 0 };
            let block = as_many.max(first).min(largest).min(room);
            self.entry.reserved += missing + block;
            self.spare = seals + block;
        }
        self.spare -= seals;
    }
}
