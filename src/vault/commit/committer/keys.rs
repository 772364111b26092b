//! Making data keys, and reserving seals for those that there are.

use std::sync::{Arc, atomic::Ordering};

use super::Committer;
use crate::{
    crypto::{DataKey, random_secret},
    event::{Class, Generation, Layout, PolicyDigest},
    vault::{
        KeyLookup, KeyRequest, VaultError,
        reading::cache::{Address, Current, Warm},
        records::entries::{KeyEntry, today},
        tree::Place,
    },
};

/// How many keys that gave way to others in memory wait with a few unused seals for [`Committer::flush`]
/// at most.
const MOST_OWED: usize = 4096;

/// A key that is wanted, as the committer takes it.
pub(in crate::vault) struct Wanted {
    pub(in crate::vault) address: Address,
    pub(in crate::vault) generation: Option<Generation>,
    pub(in crate::vault) layout: Layout,
    pub(in crate::vault) policy: PolicyDigest,
    pub(in crate::vault) seals: u32,
}

impl Wanted {
    pub(in crate::vault) fn new(request: KeyRequest<'_>, seals: u32) -> Self {
        let KeyRequest { stream, subject, generation, layout, policy } = request;
        Self { address: (stream.clone(), subject.clone()), generation, layout, policy, seals }
    }
}

/// A key that this write makes, or reserves seals for.
pub(in crate::vault) struct Planned {
    address: Address,
    pub(in crate::vault) entry: KeyEntry,
    key: Arc<DataKey>,
    current: Current,
    warm: Option<Arc<Warm>>,
    /// Reserved in this write, and not asked for yet.
    spare: u64,
}

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
            self.returns.extend(self.owed.remove_entry(&wanted.address));
            let mut entry = match self.shared.disk.key(&place)? {
                Some(entry) => entry,
                None => self.mint(&place, &wanted, generation)?,
            };
            let key = match &warm {
                Some(warm) => Arc::clone(&warm.key),
                None => DataKey::new(entry.id, &entry.secret).into(),
            };
            // Too few are left: they count as never reserved.
            entry.reserved -= warm.as_ref().map_or(0, |warm| warm.give_back()).min(entry.reserved);
            let address = wanted.address.clone();
            let planned = Planned { address, entry, key, current, warm, spare: 0 };
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
        planned.reserve(seals, limits.first_block, limits.largest_block, limits.seals_per_key);
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
        let Planned { address, entry, key, current, warm, spare } = planned;
        let state = KeyLookup::Live { key: Arc::clone(&key), subject: entry.subject };
        // Nothing is destroyed meanwhile: this thread would do it.
        self.shared.cache.keep_state(entry.id, state, self.shared.cache.version());
        let warm = warm.unwrap_or_else(|| {
            Arc::new(Warm::new(key, entry.generation, current, entry.reserved, entry.last_day))
        });
        warm.grant(entry.reserved, spare, entry.last_day);
        if let Some((address, warm)) = self.shared.cache.keep_warm(address, &warm) {
            if warm.left() > self.shared.limits.first_block || warm.is_news() {
                self.returns.push((address, warm));
            } else if warm.left() > 0 && self.owed.len() < MOST_OWED {
                self.owed.insert(address, warm);
            }
        }
    }
}

impl Planned {
    /// Takes from what this write reserves, and reserves more where that does not suffice: as
    /// much again as there was, within bounds, so that a busy key is written seldom.
    fn reserve(&mut self, seals: u64, first: u64, largest: u64, limit: u64) {
        if self.spare < seals {
            let missing = seals - self.spare;
            let room = limit.saturating_sub(self.entry.reserved + missing);
            let block = self.entry.reserved.clamp(first, largest).min(room);
            self.entry.reserved += missing + block;
            self.spare = seals + block;
        }
        self.spare -= seals;
    }
}
