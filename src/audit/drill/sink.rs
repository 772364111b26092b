//! What a search shows, and how much may come out of what is packed.

use super::{
    backup,
    marks::{Found, Marks},
    needles::Needles,
};
use crate::vault::Trace;

/// What is shown.
pub(super) enum Seen<'a> {
    /// A value.
    Value(usize),
    /// A root, or what is left of one.
    Root(Trace),
    /// A sealed part.
    Token(Found<'a>),
    /// A backup that is not encrypted.
    Backup(backup::Header),
    /// A place and a value of such a backup.
    Stored(&'a [u8], &'a [u8]),
    /// A database, which the caller can read: it is no deeper than the file.
    Database,
    /// Something that is encrypted with age.
    Age,
    /// The files of a vault's page store.
    Pages,
    /// What is not looked into, and why.
    Closed(String),
}

/// Where it is.
#[derive(Clone, Copy)]
pub(super) struct Spot<'a> {
    /// What it is packed in, from the outside; empty: nothing.
    pub(super) inside: &'a str,
    /// At which byte of what is unpacked.
    pub(super) offset: u64,
}

/// Who looks, and what may still come out.
pub(super) struct Sink<'a> {
    /// `None`: values are not looked for.
    pub(super) needles: Option<&'a Needles>,
    pub(super) marks: &'a Marks,
    pub(super) see: &'a mut dyn FnMut(Spot<'_>, Seen<'_>),
    /// How many bytes may still come out of what is packed.
    pub(super) budget: u64,
}

impl Sink<'_> {
    pub(super) fn see(&mut self, spot: Spot<'_>, seen: Seen<'_>) {
        (self.see)(spot, seen);
    }

    /// Takes so much from the budget; `false` where there is none left, which is said once, of this spot.
    pub(super) fn spend(&mut self, spot: Spot<'_>, bytes: usize) -> bool {
        if self.budget == 0 {
            return false;
        }
        self.budget = self.budget.saturating_sub(bytes as u64);
        if self.budget == 0 {
            let why = "more comes out of what is packed in this file than may be unpacked";
            self.see(spot, Seen::Closed(why.to_owned()));
        }
        self.budget > 0
    }
}
