//! Reading the root: from the slot itself, or from a mirror that is newer.

use super::{Binding, Counter, KekSecret, Known, Mirror, Noted, Own, Phase, Seal, State, Writes};
use crate::{
    event::VaultId,
    vault::{
        SlotError,
        root::{
            Root,
            pair::{Records, age_of, not_whole},
            sector::Record,
        },
    },
};

impl State {
    pub(super) fn read(&mut self) -> Result<Root, SlotError> {
        let vault = match &self.phase {
            Phase::Known(Known { root: Some(root), .. }) => return Ok(root.clone()),
            Phase::Known(known) => return known.read_again(&self.look()?.newest),
            Phase::Unread(unread) => unread.vault,
        };
        let found = self.look()?;
        found.refuse_other(vault)?;
        let trouble = match &self.own {
            None => SlotError::Missing(self.place.to_string()),
            Some(_) => found.trouble(&self.place),
        };
        let own = found.newest;
        let mut copy = Records::new();
        if !matches!(self.writes, Writes::Refused) {
            self.note_mirrors(&own);
            copy = self.newest_mirror(vault)?;
        }
        // The slot itself decides, unless a mirror is newer: then it is an old copy, or damaged.
        let from_copy = age_of(&copy) > age_of(&own);
        if let Some(sectors) = &mut self.own {
            sectors.age = age_of(&own);
            sectors.keep = own.first().map_or(0, |(index, _)| *index);
        }
        let records = if from_copy { copy } else { own };
        if records.is_empty() {
            return Err(trouble);
        }
        let (index, record, root, seal) = self.unwrap(&records)?;
        let counter = match record.counter {
            Some(bound) => Some(Counter::noted(bound, &self.asked, root.epoch)?),
            None => {
                self.asked.warn_unbound();
                None
            }
        };
        if from_copy {
            self.note_mirrors(&records);
            tracing::warn!(
                slot = %self.place, epoch = root.epoch,
                "the root slot is missing, damaged or older than its mirror, whose root is taken; if it is \
                 on a device that is not there, what it holds must be destroyed"
            );
        } else if let Some(Own { keep, .. }) = &mut self.own {
            *keep = index;
        }
        let (binding, epoch) = (Binding::Done(counter), root.epoch);
        self.phase = Phase::Known(Known { seal, binding, root: Some(root.clone()), epoch });
        Ok(root)
    }

    /// The first of these that opens. Of the two sectors of a slot whose key-encryption key was being
    /// changed, each may be wrapped by another one.
    fn unwrap<'a>(
        &self,
        records: &'a Records,
    ) -> Result<(usize, &'a Record, Root, Seal), SlotError> {
        let Phase::Unread(unread) = &self.phase else { return Err(SlotError::Poisoned) };
        let secret: KekSecret = (unread.secret)()?;
        // To stretch a passphrase takes its time: each wrapping once.
        let mut tried: Vec<Seal> = Vec::new();
        let mut error = None;
        for (index, record) in records {
            let at = match tried.iter().position(|seal| seal.wrapping == record.wrapping) {
                Some(at) => at,
                None => match Seal::of(&record.wrapping, &secret) {
                    Ok(seal) => {
                        tried.push(seal);
                        tried.len() - 1
                    }
                    Err(why) => {
                        error.get_or_insert(why);
                        continue;
                    }
                },
            };
            if let Some(root) = record.root(&tried[at]) {
                return Ok((*index, record, root, tried.swap_remove(at)));
            }
            error.get_or_insert(SlotError::WrongKek(record.wrapping.by()));
        }
        Err(error.unwrap_or(SlotError::Poisoned))
    }

    /// Adds the mirrors that the slot notes to those that the caller named.
    pub(super) fn note_mirrors(&mut self, records: &Records) {
        let noted: &[Noted] = records.first().map_or(&[], |(_, record)| &record.mirrors);
        for noted in noted {
            // A mirror that became the slot itself. One that only leads to it stays: its own file may be away.
            if self.place.is_named(&noted.name) {
                continue;
            }
            let mut mirror = Mirror::noted(noted, &self.place);
            match self.mirrors.iter_mut().find(|known| known.is_noted_as(&mirror)) {
                Some(given) => {
                    mirror.trouble = given.trouble.take();
                    *given = mirror;
                }
                None => self.mirrors.push(mirror),
            }
        }
    }

    /// The newest records among all mirrors.
    ///
    /// # Errors
    /// As of [`Mirror::look`].
    pub(super) fn newest_mirror(&mut self, vault: Option<VaultId>) -> Result<Records, SlotError> {
        let mut newest = Records::new();
        for mirror in &mut self.mirrors {
            let found = mirror.look(vault)?;
            if age_of(&found) > age_of(&newest) {
                newest = found;
            }
        }
        Ok(newest)
    }
}

impl Known {
    /// What is in the slot now, after it was written.
    fn read_again(&self, own: &Records) -> Result<Root, SlotError> {
        let (_, record) = own.first().ok_or_else(not_whole)?;
        let mut roots = own.iter().filter_map(|(_, record)| record.root(&self.seal));
        roots.next().ok_or(SlotError::WrongKek(record.wrapping.by()))
    }
}
