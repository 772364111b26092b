//! Which keys are used, and which owners are stated: a lot of them at a time, as many as memory may
//! hold.

use crate::{
    event::{KeyId, Subject},
    vault::Vault,
};

/// Key ids, each with whether it was seen.
pub(super) struct Lot {
    ids: Vec<KeyId>,
    seen: Vec<bool>,
}

impl Lot {
    pub(super) fn new(mut ids: Vec<KeyId>) -> Self {
        ids.sort_unstable();
        let seen = vec![false; ids.len()];
        Self { ids, seen }
    }

    pub(super) fn see(&mut self, id: KeyId) {
        if let Ok(at) = self.ids.binary_search(&id)
            && let Some(seen) = self.seen.get_mut(at)
        {
            *seen = true;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Those that were not seen.
    pub(super) fn unseen(&self) -> impl Iterator<Item = KeyId> {
        self.ids.iter().zip(&self.seen).filter(|(_, seen)| !**seen).map(|(id, _)| *id)
    }
}

/// An owner edge: the beginnings of both pseudonyms, the dependent's first.
type Edge = [u8; 16];

/// Owner edges that count, each with a key of the dependent's, and whether an event states it.
pub(super) struct Edges {
    edges: Vec<(Edge, KeyId)>,
    seen: Vec<bool>,
}

impl Edges {
    pub(super) fn new(mut edges: Vec<(Edge, KeyId)>) -> Self {
        edges.sort_unstable();
        edges.dedup_by_key(|(edge, _)| *edge);
        let seen = vec![false; edges.len()];
        Self { edges, seen }
    }

    pub(super) fn edge(vault: &Vault, dependent: &Subject, owner: &Subject) -> Edge {
        let mut edge = Edge::default();
        edge[..8].copy_from_slice(&vault.pseudonym(dependent)[..8]);
        edge[8..].copy_from_slice(&vault.pseudonym(owner)[..8]);
        edge
    }

    pub(super) fn see(&mut self, edge: Edge) {
        self.see_from(edge, &edge);
    }

    /// Of a dependent of whose events some cannot be read, nothing can be said.
    pub(super) fn see_all_of(&mut self, vault: &Vault, dependent: &Subject) {
        let from = Self::edge(vault, dependent, dependent);
        let mut first = Edge::default();
        first[..8].copy_from_slice(&from[..8]);
        self.see_from(first, &from[..8]);
    }

    /// All that begin so, of which none is before `first`.
    fn see_from(&mut self, first: Edge, beginning: &[u8]) {
        let from = self.edges.partition_point(|(edge, _)| *edge < first);
        for at in from..self.edges.len() {
            if !self.edges[at].0.starts_with(beginning) {
                return;
            }
            self.seen[at] = true;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.edges.is_empty()
    }

    /// Those that no event states.
    pub(super) fn unseen(&self) -> impl Iterator<Item = (Edge, KeyId)> {
        self.edges.iter().zip(&self.seen).filter(|(_, seen)| !**seen).map(|(edge, _)| *edge)
    }
}
