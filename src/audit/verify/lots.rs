//! The keys of the vault, as many at once as memory is given for, to be compared with the events.

use super::{
    Defect, VerifyProgress, VerifyReport, owned,
    used::{Edges, Lot},
};
use crate::{
    audit::Location,
    event::{Subject, Timestamp},
    layer::Oubliette,
    store::EventStore,
    vault::{InventoryEntry, KeyInfo, Vault, VaultError},
};

/// The keys of the vault, lot by lot.
pub(super) struct Keys<S> {
    layer: Oubliette<S>,
    began: Timestamp,
    inventory: Option<Inventory>,
    pub(super) ownerless: u64,
    /// Whether the walk broke off at a damaged page: then which keys are unused is not known.
    pub(super) broken: bool,
    /// What was found on the way, of whom.
    told: Vec<(Subject, owned::Told)>,
}

type Inventory = Box<dyn Iterator<Item = Result<InventoryEntry, VaultError>> + Send>;

impl<S: EventStore> Keys<S> {
    pub(super) fn new(layer: &Oubliette<S>, began: Timestamp) -> Self {
        Self {
            layer: layer.clone(),
            began,
            inventory: None,
            ownerless: 0,
            broken: false,
            told: Vec::new(),
        }
    }

    /// So many keys, and the owner edges of their streams.
    pub(super) fn next_lot(&mut self, vault: &Vault, most: usize) -> (Lot, Edges) {
        let (mut ids, mut edges) = (Vec::new(), Vec::new());
        loop {
            let inventory = self.inventory.get_or_insert_with(|| Box::new(vault.inventory()));
            match inventory.next() {
                Some(Ok(InventoryEntry::Key(key))) => {
                    let missing = self.judge(vault, &key);
                    if self.has_owners(&key) && !missing {
                        let owners = counting(vault, &key.subject);
                        let edge = |owner: &Subject| Edges::edge(vault, &key.subject, owner);
                        edges.extend(owners.iter().map(|owner| (edge(owner), key.id)));
                    }
                    // The event of a key that was made meanwhile may not be there yet.
                    if key.created < self.began {
                        ids.push(key.id);
                    }
                }
                Some(Ok(InventoryEntry::Fence(_))) => {}
                Some(Err(_)) => self.broken = true,
                None => return (Lot::new(ids), Edges::new(edges)),
            }
            if ids.len() + edges.len() >= most {
                return (Lot::new(ids), Edges::new(edges));
            }
        }
    }

    /// Tells what was found on the way.
    pub(super) fn tell(
        &mut self,
        report: &mut VerifyReport,
        tell: &mut (impl FnMut(VerifyProgress) + Send),
    ) {
        for (subject, (kind, what)) in self.told.drain(..) {
            report.found(kind.at(Location::Subject(subject), what), tell);
        }
    }

    /// Whether the key's stream should lead to a person and leads to none. Notes what is to be told.
    fn judge(&mut self, vault: &Vault, key: &KeyInfo) -> bool {
        if !self.has_owners(key) {
            return false;
        }
        let Ok(Some(told)) = owned::of_key(vault, key) else { return false };
        let ownerless = told.0 == Defect::Ownerless;
        self.ownerless += u64::from(ownerless);
        // A subject's keys come one after the other.
        let last = self.told.last();
        if last.is_none_or(|(subject, last)| (subject, last) != (&key.subject, &told)) {
            self.told.push((key.subject.clone(), told));
        }
        ownerless
    }

    /// Whether the key is one of a stream that names owners, for what is the stream's own.
    fn has_owners(&self, key: &KeyInfo) -> bool {
        key.subject.as_str() == key.stream.as_str()
            && self.layer.policy().reading_plan(&key.stream).declares_owners
    }
}

/// The owners who count for a subject; none if some of it is forgotten: then it is no longer
/// known who had owned that.
pub(super) fn counting(vault: &Vault, subject: &Subject) -> Vec<Subject> {
    let Ok(state) = vault.subject_state(subject) else { return Vec::new() };
    let tenures = state.tenures.iter().filter(|tenure| tenure.unsettled.is_none());
    let owners =
        tenures.flat_map(|tenure| &tenure.owners).filter(|owner| owner.unsettled.is_none());
    let whole = state.fence.is_none();
    owners.filter(|_| whole).filter_map(|owner| owner.subject.clone()).collect()
}
