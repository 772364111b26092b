//! Changing how a slot keeps the root that is in it.

use super::{Binding, Counter, Known, Mirror, Seal, State, Writes, refuse_slot};
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
                let mirror = Mirror::given(&path, &self.place)?;
                refuse_slot(&self.place, &mirror)?;
                if self.mirrors.iter().any(|known| known.is_file(&path)) {
                    return self.write(root);
                }
                let name = mirror.name.clone();
                mirror.refuse_unfit(root, &self.others)?;
                self.mirrors.push(mirror);
                let added = self.write(root);
                if added.is_err() && !self.has_failed() {
                    self.mirrors.retain(|mirror| mirror.name != name);
                }
                added
            }
            SlotChange::RetireMirror { path, lost } => {
                let name = Mirror::given(&path, &self.place)?.name;
                // The name that is given, before another one that leads to the same file now.
                let by_name = self.mirrors.iter().position(|mirror| mirror.name == name);
                let by_file = || self.mirrors.iter().position(|mirror| mirror.is_file(&path));
                let Some(at) = by_name.or_else(by_file) else {
                    let why = "it is no mirror of this slot".to_owned();
                    return Err(SlotError::Mirror { mirror: name, why });
                };
                if !lost {
                    self.refuse_needed(at)?;
                    self.mirrors[at].wipe(root.vault)?;
                }
                let retired = self.mirrors.remove(at);
                self.write(root)?;
                // Last: what is cut off before that can be repeated, because the file is there.
                if lost { Ok(()) } else { retired.remove() }
            }
        }
    }

    /// An error where the file of a mirror is needed under another name: a link or a mount may have come since.
    fn refuse_needed(&self, at: usize) -> Result<(), SlotError> {
        let mirror = &self.mirrors[at];
        let others = self.mirrors.iter().enumerate().filter(|(other, _)| *other != at);
        let mut others = others.map(|(_, other)| other);
        let needed = match others.find(|other| other.is_file(&mirror.path)) {
            _ if self.place.is_file(&mirror.path) => "the root slot itself".to_owned(),
            Some(other) => format!("the mirror {}", other.name),
            None => return Ok(()),
        };
        Err(mirror.refused(&format!(
            "it leads to {needed}, which is not overwritten; if no other file belongs to this name, retire it \
             as lost"
        )))
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
