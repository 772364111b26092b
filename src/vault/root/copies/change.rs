//! Changing how a slot keeps the root that is in it.

#[cfg(feature = "tpm")]
use super::Counter;
use super::{Mirror, Seal, State};
use crate::vault::root::{Root, SlotChange, SlotError};

impl State {
    /// Makes the change. The root stays the same.
    pub(super) fn change(&mut self, root: &Root, change: SlotChange) -> Result<(), SlotError> {
        // Before anything beside the slot is changed: a mirror may be wiped, a counter raised.
        self.refuse_unwritable()?;
        self.refuse_taken()?;
        match change {
            SlotChange::Retry => {
                if self.mirrors.iter().any(|mirror| mirror.confirmed != Some(root.epoch)) {
                    return self.write(root);
                }
                self.raise_counter(root);
                Ok(())
            }
            SlotChange::Kek(secret) => {
                let before = self.seal.replace(Seal::new(&secret)?);
                // Until they are written again they hold the root under the earlier one.
                self.forget_mirrors();
                let changed = self.write(root);
                if changed.is_err() && !self.failed {
                    self.seal = before;
                }
                changed
            }
            #[cfg(feature = "tpm")]
            SlotChange::BindCounter(at) => {
                let earlier = self.counter.as_ref().map(|counter| counter.bound);
                let before = self.counter.replace(Counter::bind(&at, earlier, root.epoch)?);
                self.forget_mirrors();
                self.write(root).inspect_err(|_| self.counter = before)
            }
            SlotChange::ReleaseCounter { lost } => {
                let bound = self.counter.take();
                // The slot first: one that notes a counter that is gone does not open.
                if bound.is_some() {
                    self.forget_mirrors();
                    self.write(root)?;
                }
                match bound {
                    _ if lost => Ok(()),
                    Some(counter) => counter.remove(),
                    // What broke off before the counter was removed is finished.
                    None => self.asked.remove(),
                }
            }
            SlotChange::AddMirror(path) => {
                let mirror = Mirror::given(&path)?;
                let name = mirror.name.clone();
                if self.mirrors.iter().any(|known| known.name == name) {
                    return self.write(root);
                }
                self.mirrors.push(mirror);
                let added = self.write(root);
                if added.is_err() && !self.failed {
                    self.mirrors.retain(|mirror| mirror.name != name);
                }
                added
            }
            SlotChange::RetireMirror { path, lost } => {
                let name = Mirror::given(&path)?.name;
                let Some(at) = self.mirrors.iter().position(|mirror| mirror.name == name) else {
                    let why = "it is no mirror of this slot".to_owned();
                    return Err(SlotError::Mirror { mirror: name, why });
                };
                if !lost {
                    self.mirrors[at].wipe(root.vault)?;
                }
                self.mirrors.remove(at);
                self.write(root)
            }
        }
    }

    /// What the mirrors hold is outdated, though it is of the same root.
    fn forget_mirrors(&mut self) {
        self.mirrors.iter_mut().for_each(|mirror| mirror.confirmed = None);
    }
}
