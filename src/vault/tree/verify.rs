//! Walks that judge: over every page from the root down, past whatever is damaged; and over all
//! that a root opens in a heap of pages, as an adversary would.

use std::collections::HashSet;

use super::{
    Place, Tree,
    edits::Span,
    marker::{EPOCH, OPENINGS, RETIRE},
    page::{Page, PageId, hex},
    retire::RetireList,
};
use crate::{
    crypto::Secret,
    event::VaultId,
    vault::{
        VaultError,
        pages::{Batch, PageStore},
        root::Root,
    },
};

/// Random nonces allow 2³² seals under one key (NIST SP 800-38D, section 8.3); a page's version
/// counts them.
const MOST_SEALS: u64 = 1 << 32;

/// What a walk over the pages comes upon, in the order of places.
pub(crate) enum Seen<'a> {
    /// A value that is where it should be.
    Value(&'a [u8], &'a [u8]),
    /// Something that is not as it should be.
    Flaw(Flaw),
}

/// What is wrong with the pages.
pub(crate) enum Flaw {
    /// A page does not open, or is where it should not be: nothing beneath it can be read.
    Page {
        /// Its id, in hexadecimal digits.
        page: String,
        /// The first place that is beneath it.
        from: Place,
        /// The first place after it; `None`: there is no end.
        to: Option<Place>,
        /// What is wrong.
        why: String,
    },
    /// A page was sealed more often under one key than it may be.
    Worn {
        /// Its id, in hexadecimal digits.
        page: String,
        /// How often.
        seals: u64,
    },
    /// The page store holds a page that no other leads to.
    Orphan {
        /// Its name, in hexadecimal digits.
        page: String,
        /// Whether it was removed just now.
        removed: bool,
    },
    /// What the slot holds is not the root that is in use.
    Slot(String),
    /// The list of pages to remove does not open.
    RetireList,
}

#[cfg(feature = "drill")]
/// Pages of a copy, by their names.
pub(crate) type CopiedPages<'a> = &'a mut dyn FnMut(&[u8; 16]) -> Option<Vec<u8>>;

/// A walk in numbers.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Walked {
    /// Pages that are as they should be.
    pub(crate) pages: u64,
    /// Pages that are not, each with all that is beneath it.
    pub(crate) damaged: u64,
    /// Pages in the store that belong to nothing. Not looked for where pages are damaged, because
    /// what is beneath those looks the same.
    pub(crate) orphans: Option<u64>,
    /// How many roots came before.
    pub(crate) epoch: u64,
}

impl Tree {
    /// Walks over the whole tree, as it is in the page store: no page is taken from memory.
    /// Writers wait meanwhile; readers go on. It keeps the id of
    /// each page in memory.
    ///
    /// With `repair`, pages that belong to nothing are removed, unless some page is damaged, or the
    /// slot holds another root, to which they may belong.
    ///
    /// # Errors
    /// Where the page store fails as a whole. A damaged page is no error, it is told.
    pub(crate) fn verify(
        &self,
        repair: bool,
        see: &mut dyn FnMut(Seen<'_>),
    ) -> Result<Walked, VaultError> {
        if repair {
            self.refuse_read_only()?;
        }
        let _writer = self.writer.lock().map_err(|_| VaultError::Poisoned)?;
        let root = self.view()?.root.clone();
        let differs = match self.slot.read() {
            Ok(found) if found == root && found.opening == root.opening => None,
            Ok(found) if found == root => Some(
                "another folder, a copy, was opened with it since this one was; two over one slot \
                 destroy each other's keys"
                    .to_owned(),
            ),
            Ok(found) => Some(format!(
                "it holds epoch {} of vault {}, and epoch {} of vault {} is in use",
                found.epoch, found.vault, root.epoch, root.vault
            )),
            Err(error) => Some(crate::words::chain(&error)),
        };
        let repair = repair && differs.is_none();
        if let Some(why) = differs {
            see(Seen::Flaw(Flaw::Slot(why)));
        }
        let pages = &*self.store.pages;
        let walked = Walked { epoch: root.epoch, ..Walked::default() };
        let mut walk = Walk { vault: root.vault, pages, see, ids: HashSet::new(), walked };
        walk.begin(&root)?;
        let Walk { ids, walked, see, .. } = walk;
        if walked.damaged > 0 {
            return Ok(walked);
        }
        let orphans = self.orphans(ids, repair, see)?;
        Ok(Walked { orphans: Some(orphans), ..walked })
    }

    /// Pages that are in the store, and neither in the tree nor on their way out.
    fn orphans(
        &self,
        mut known: HashSet<PageId>,
        repair: bool,
        see: &mut dyn FnMut(Seen<'_>),
    ) -> Result<u64, VaultError> {
        let pages = &*self.store.pages;
        if let Some(stored) = pages.get(RETIRE)? {
            match RetireList::open(self.store.vault, &self.identity, &stored) {
                Ok(list) => known.extend(list.added.into_iter().chain(list.replaced)),
                Err(_) => see(Seen::Flaw(Flaw::RetireList)),
            }
        }
        let mut orphans: Vec<Vec<u8>> = Vec::new();
        pages.names(&mut |name| {
            let known = name == RETIRE
                || name == EPOCH
                || name == OPENINGS
                || PageId::try_from(name).is_ok_and(|id| known.contains(&id));
            if !known {
                orphans.push(name.to_vec());
            }
        })?;
        if repair {
            for names in orphans.chunks(self.store.shape.batch_pages) {
                pages.apply(Batch { removals: names.to_vec(), ..Batch::default() })?;
            }
            pages.flush()?;
        }
        for name in &orphans {
            let page = name.iter().map(|byte| format!("{byte:02x}")).collect();
            see(Seen::Flaw(Flaw::Orphan { page, removed: repair }));
        }
        Ok(orphans.len() as u64)
    }

    /// Shows every value that can be reached from a root of this vault over this tree's own pages
    /// and those of a copy, in whichever version either has a page. Returns whether the root
    /// opens anything there. `None`: from today's root.
    #[cfg(feature = "drill")]
    pub(crate) fn reach(
        &self,
        root: Option<&Root>,
        copy: CopiedPages<'_>,
        see: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<bool, VaultError> {
        let today;
        let root = match root {
            Some(root) => root,
            None => {
                today = self.view()?.root.clone();
                &today
            }
        };
        let own = |id: &PageId| self.store.pages.get(id).ok().flatten();
        Ok(reach(self.store.vault, root, &mut |id| [own(id), copy(id)], see))
    }

    /// Whether a root is the one that is in use.
    #[cfg(feature = "drill")]
    pub(crate) fn is_root(&self, root: &Root) -> Result<bool, VaultError> {
        Ok(self.view()?.root == *root)
    }
}

struct Walk<'a, 's> {
    vault: VaultId,
    pages: &'a dyn PageStore,
    see: &'s mut dyn FnMut(Seen<'_>),
    ids: HashSet<PageId>,
    walked: Walked,
}

impl Walk<'_, '_> {
    fn begin(&mut self, root: &Root) -> Result<(), VaultError> {
        let span = Span { low: Place::new(), high: None };
        let page = match self.page(&root.page, &root.key, true)? {
            Ok(page) => page,
            Err(why) => {
                self.damaged(&root.page, &span, why);
                return Ok(());
            }
        };
        if page.root().is_none_or(|head| head.epoch != root.epoch) {
            self.damaged(&root.page, &span, "it is the root page of another epoch".into());
            return Ok(());
        }
        self.visit(&root.page, &page, &span)
    }

    /// The page, or what is wrong with it.
    fn page(
        &self,
        id: &PageId,
        key: &Secret,
        root: bool,
    ) -> Result<Result<Page, String>, VaultError> {
        // A store that fails here may have the next page: sled tells so of a page that it cannot
        // read.
        let stored = match self.pages.get(id) {
            Ok(Some(stored)) => stored,
            Ok(None) => return Ok(Err("it is missing".into())),
            Err(VaultError::Poisoned) => return Err(VaultError::Poisoned),
            Err(error) => return Ok(Err(crate::words::chain(&error))),
        };
        Ok(Page::open(self.vault, id, key, root, &stored)
            .map_err(|error| crate::words::chain(&error)))
    }

    fn damaged(&mut self, id: &PageId, span: &Span, why: String) {
        self.walked.damaged += 1;
        let (from, to) = (span.low.clone(), span.high.clone());
        (self.see)(Seen::Flaw(Flaw::Page { page: hex(id), from, to, why }));
    }

    fn visit(&mut self, id: &PageId, page: &Page, span: &Span) -> Result<(), VaultError> {
        self.walked.pages += 1;
        self.ids.insert(*id);
        if page.version == 0 || page.version > MOST_SEALS {
            (self.see)(Seen::Flaw(Flaw::Worn { page: hex(id), seals: page.version }));
        }
        let within = |place: &[u8]| {
            place >= span.low.as_slice()
                && span.high.as_ref().is_none_or(|high| place < high.as_slice())
        };
        if page.level() == 0 {
            // Their order was checked when the page was opened.
            let ends = [0, page.len().saturating_sub(1)];
            if page.len() > 0 && !ends.iter().all(|&end| within(page.place(end))) {
                self.damaged(id, span, "it holds places that are not its own".into());
                return Ok(());
            }
            for index in 0..page.len() {
                (self.see)(Seen::Value(page.place(index), page.value(index)));
            }
            return Ok(());
        }
        for index in 0..page.len() {
            // The first child takes all places from the page's own bound.
            let low = if index == 0 { span.low.clone() } else { page.place(index).to_vec() };
            let high = match index + 1 {
                next if next < page.len() => Some(page.place(next).to_vec()),
                _ => span.high.clone(),
            };
            let (child, key) = page.child(index);
            let bounded = within(&low) || (index == 0 && low == span.low);
            let span = Span { low, high };
            if !bounded {
                self.damaged(&child, &span, "its bound lies outside of its parent's".into());
                continue;
            }
            if self.ids.contains(&child) {
                self.damaged(&child, &span, "it stands twice in the tree".into());
                continue;
            }
            match self.page(&child, &key, false)? {
                Ok(below) if below.level().checked_add(1) == Some(page.level()) => {
                    self.visit(&child, &below, &span)?;
                }
                Ok(_) => self.damaged(&child, &span, "it stands at the wrong level".into()),
                Err(why) => self.damaged(&child, &span, why),
            }
        }
        Ok(())
    }
}

/// Shows every value that a root opens in these pages, taking each page in every version that
/// there is, and goes on with all keys found there. Whatever does not open is passed over.
/// It keeps the id of each page in memory.
#[cfg(feature = "drill")]
fn reach(
    vault: VaultId,
    root: &Root,
    versions: &mut dyn FnMut(&PageId) -> [Option<Vec<u8>>; 2],
    see: &mut dyn FnMut(&[u8], &[u8]),
) -> bool {
    let mut opened = false;
    let mut known = HashSet::from([root.page]);
    let mut next = vec![(root.page, root.key.clone(), true)];
    while let Some((id, key, is_root)) = next.pop() {
        for stored in versions(&id).into_iter().flatten() {
            let Ok(page) = Page::open(vault, &id, &key, is_root, &stored) else { continue };
            opened = true;
            for index in 0..page.len() {
                if page.level() == 0 {
                    see(page.place(index), page.value(index));
                    continue;
                }
                let (child, key) = page.child(index);
                if known.insert(child) {
                    next.push((child, key, false));
                }
            }
        }
    }
    opened
}
