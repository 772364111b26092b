//! Changing how a slot keeps the root that is in it.

use super::{Binding, Counter, Known, Mirror, Seal, State, Writes};
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
                self.raise_counter(root)
            }
            SlotChange::Kek(secret) => {
                let new = Seal::new(&secret)?;
                let before = std::mem::replace(&mut self.known_mut()?.seal, new);
                // Until they are written again they hold the root under the earlier one.
                self.forget_mirrors();
                let changed = self.write(root);
                if changed.is_err() && !self.has_failed() {
                    self.known_mut()?.seal = before;
                }
                changed
            }
            #[cfg(feature = "tpm")]
            SlotChange::BindCounter(at) => {
                let earlier = self.known()?.counter().map(|counter| counter.bound);
                let new = Counter::bind(&at, earlier, root.epoch)?;
                let before = self.known_mut()?.rebind(Some(new));
                self.forget_mirrors();
                let bound = self.write(root);
                if bound.is_err() {
                    self.known_mut()?.rebind(before);
                }
                bound
            }
            SlotChange::ReleaseCounter { lost } => {
                let counter = self.known_mut()?.rebind(None);
                // The slot first: one that notes a counter that is gone does not open.
                if counter.is_some() {
                    self.forget_mirrors();
                    self.write(root)?;
                }
                match counter {
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
                mirror.refuse_unfit(root, &self.others)?;
                self.mirrors.push(mirror);
                let added = self.write(root);
                if added.is_err() && !self.has_failed() {
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

    fn has_failed(&self) -> bool {
        matches!(self.writes, Writes::Failed)
    }

    /// What the mirrors hold is outdated, though it is of the same root.
    fn forget_mirrors(&mut self) {
        self.mirrors.iter_mut().for_each(|mirror| mirror.confirmed = None);
    }
}

impl Known {
    /// Binds the slot to another counter, or to none, and returns the one before. The slot does not note it
    /// yet.
    fn rebind(&mut self, counter: Option<Counter>) -> Option<Counter> {
        match std::mem::replace(&mut self.binding, Binding::Done(counter)) {
            Binding::Done(before) => before,
            Binding::Due(_) => None,
        }
    }
}
