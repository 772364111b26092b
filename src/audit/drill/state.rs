//! What a drill has at hand and has found so far, and how it tells that.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
};

use super::{
    DrillOptions, DrillProgress, DrillReport, Leak,
    copies::Candidate,
    marks::{Marks, Stray},
    needles::Needles,
};
use crate::{
    audit::{Finding, Location},
    crypto::Secret,
    event::KeyId,
    vault::{Backup, DeadKey, Vault},
};

/// How many destroyed keys are tried on sealed parts. All are told.
const MOST_KEYS: usize = 1 << 20;

pub(super) type Tell<'a> = &'a mut (dyn FnMut(DrillProgress) + Send);

/// A drill in progress.
pub(super) struct Run<'a> {
    pub(super) vault: &'a Vault,
    pub(super) options: &'a DrillOptions,
    pub(super) needles: &'a Needles,
    pub(super) marks: Marks,
    pub(super) given: Vec<PathBuf>,
    pub(super) slots: Vec<PathBuf>,
    pub(super) folder: Option<PathBuf>,
    pub(super) needles_file: Option<PathBuf>,
    pub(super) epoch: u64,
    /// The catalogue of the vault's backups.
    pub(super) backups: Vec<Backup>,
    pub(super) report: DrillReport,
    pub(super) strays: Vec<Stray>,
    pub(super) candidates: Vec<Candidate>,
    /// The folders of pages that are known for what they are.
    pub(super) pages: HashSet<PathBuf>,
    /// The destroyed keys that were found, each with where from.
    pub(super) keys: HashMap<KeyId, (Secret, String)>,
    pub(super) pass: u64,
    pub(super) searched: u64,
    pub(super) of: u64,
    pub(super) tell: Tell<'a>,
}

pub(super) fn whole(path: &Path) -> Location {
    Location::File { path: path.to_owned(), inside: String::new(), offset: None }
}

impl Run<'_> {
    pub(super) fn found(&mut self, finding: Finding<Leak>) {
        *self.report.found.entry(finding.kind).or_default() += 1;
        (self.tell)(DrillProgress::Found(finding));
    }

    /// Keeps a destroyed key, to be tried.
    pub(super) fn keep(&mut self, key: DeadKey, from: String) {
        if self.keys.len() < MOST_KEYS {
            self.keys.entry(key.id).or_insert((key.secret, from));
        }
    }
}
