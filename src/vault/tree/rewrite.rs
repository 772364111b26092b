//! Which pages a change rewrites, and what they hold.
//!
//! There are two ways. *In place* (for `put`): a page is rewritten under its own key and id,
//! with a higher version; one that must split, or that vanishes, is replaced by pages with fresh
//! keys and ids (or by none), for which its parent is rewritten. *Fresh* (for `erase`): every
//! page on the way gets a fresh key and id, up to the root.
//!
//! In both, a page whose span of places shrinks gets a fresh key and id. That is what the
//! invariant of the tree rests on.

use std::{collections::HashMap, sync::Arc};

use super::{
    Place, Store,
    edits::{Edits, Slice, Span},
    ids,
    page::{Child, Items, Page, PageId, RootHead},
};
use crate::{
    crypto::{Secret, random_secret},
    vault::{VaultError, root::Root},
};

/// After how many seals a page's key is replaced, far below the 2³² that random nonces allow.
const MOST_SEALS: u64 = 1 << 30;

/// A page to write.
pub(super) struct Written {
    pub(super) key: Secret,
    pub(super) page: Arc<Page>,
}

/// What a change comes to.
pub(super) struct Rewritten {
    /// Pages with fresh ids and keys.
    pub(super) added: HashMap<PageId, Written>,
    /// Pages rewritten in place.
    pub(super) renewed: HashMap<PageId, Written>,
    /// Pages that no longer belong to the tree.
    pub(super) replaced: Vec<PageId>,
    /// What was in the pages that are renewed or replaced, for readers in the meantime. Only
    /// for changes in place.
    pub(super) before: HashMap<PageId, Arc<Page>>,
    /// The root and its page after the change.
    pub(super) root: Root,
    pub(super) root_page: Arc<Page>,
}

enum Outcome {
    /// The parent need not change.
    Same,
    /// These are in the page's place.
    Replaced(Vec<Child>),
}

struct Rewrite<'a> {
    store: &'a Store,
    fresh: bool,
    rewritten: Rewritten,
}

/// Plans a change. Writes nothing.
pub(super) fn rewrite(
    store: &Store,
    root: &Root,
    root_page: &Arc<Page>,
    edits: &Edits,
    fresh: bool,
) -> Result<Rewritten, VaultError> {
    let rewritten = Rewritten {
        added: HashMap::new(),
        renewed: HashMap::new(),
        replaced: Vec::new(),
        before: HashMap::new(),
        root: root.clone(),
        root_page: Arc::clone(root_page),
    };
    let mut rewrite = Rewrite { store, fresh, rewritten };
    rewrite.root(root_page, edits)?;
    Ok(rewrite.rewritten)
}

impl Rewrite<'_> {
    fn root(&mut self, old: &Arc<Page>, edits: &Edits) -> Result<(), VaultError> {
        let span = Span { low: Place::new(), high: None };
        match self.content(old, &self.rewritten.root.page.clone(), &span, edits.all())? {
            Some(items) if items.is_empty() => self.crown(old, Items::Leaf(Vec::new())),
            Some(items) => self.crown(old, items),
            None => Ok(()),
        }
    }

    /// Puts a root page over these items.
    fn crown(&mut self, old: &Arc<Page>, mut items: Items<'_>) -> Result<(), VaultError> {
        // A root with one child takes its place; only here, where all keys are new anyway.
        if self.fresh
            && let Items::Inner { children, .. } = &items
            && let [only] = children.as_slice()
        {
            let page = self.load(only)?;
            self.forget(&only.id, &page);
            return self.crown(old, page.items());
        }
        // The identity is in the root page alone: lost here, no name would ever be found again.
        let damaged = || VaultError::Damaged("the root page is no root page".into());
        let mut head = old.root().cloned().ok_or_else(damaged)?;
        // As many levels as it takes: what an erasure joins or a batch adds may overflow more than once.
        loop {
            let cuts = self.cuts(&items);
            if cuts.len() < 2 {
                break;
            }
            let (level, id) = (items.level() + 1, self.rewritten.root.page);
            items = Items::Inner { level, children: self.write(&id, Place::new(), items, &cuts)? };
        }
        let mut version = old.version + 1;
        if self.fresh {
            // A new id as well as a new key: what the slot is overwritten with must not open the old root page.
            self.rewritten.replaced.push(self.rewritten.root.page);
            let epoch = self.rewritten.root.epoch + 1;
            head = RootHead { epoch, ..head };
            version = 1;
            let (page, key) = (ids::inner()?, random_secret()?);
            let Root { vault, opening, .. } = self.rewritten.root;
            self.rewritten.root = Root { vault, epoch, key, page, opening };
        }
        let page = Arc::new(Page::new(version, Some(head), &items));
        let written = Written { key: self.rewritten.root.key.clone(), page: Arc::clone(&page) };
        let pages =
            if self.fresh { &mut self.rewritten.added } else { &mut self.rewritten.renewed };
        pages.insert(self.rewritten.root.page, written);
        self.rewritten.root_page = page;
        Ok(())
    }

    /// What a page holds after the edits; `None` where it need not change.
    fn content<'i>(
        &mut self,
        page: &'i Arc<Page>,
        id: &PageId,
        span: &Span,
        edits: Slice<'i>,
    ) -> Result<Option<Items<'i>>, VaultError> {
        if page.level() == 0 {
            return Ok(Some(Items::Leaf(edits.apply(page))));
        }
        // Which children are replaced, and by what; only those with edits are looked at.
        let mut replaced: Vec<(usize, Vec<Child>)> = Vec::new();
        let mut rest = edits;
        let mut low = span.low.clone();
        while let Some(first) = rest.first() {
            // An edit may begin before this page's first bound; then it belongs to the first child, or to where
            // the last round ended.
            let index = page.child_of(first.max(&low));
            let mut child = page.child_at(index);
            if index == 0 {
                // The first child takes all places from the page's own bound.
                child.low.clone_from(&span.low);
            }
            let high = match index + 1 {
                next if next < page.len() => Some(page.place(next).to_vec()),
                _ => span.high.clone(),
            };
            let of_child = Span { low: child.low.clone(), high };
            match self.visit(&child, id, page.level() - 1, &of_child, rest.within(&of_child))? {
                Outcome::Same => {}
                Outcome::Replaced(instead) => replaced.push((index, instead)),
            }
            // An edit may be a range that goes on in the next child: what is left of it begins there.
            match of_child.high {
                Some(high) if index + 1 < page.len() => {
                    rest = rest.within(&Span { low: high.clone(), high: None });
                    low = high;
                }
                _ => break,
            }
        }
        // In a fresh rewrite the page itself needs a new key even if no child changed: it is on the path, and its
        // old key opened an older version that led to what is erased.
        if replaced.is_empty() && !self.fresh {
            return Ok(None);
        }
        let more: usize = replaced.iter().map(|(_, instead)| instead.len()).sum();
        let mut children = Vec::with_capacity(page.len() + more);
        let mut replaced = replaced.into_iter().peekable();
        for index in 0..page.len() {
            match replaced.next_if(|(at, _)| *at == index) {
                Some((_, instead)) => children.extend(instead),
                None => children.push(page.child_at(index)),
            }
        }
        // Where the first child vanished, its places fall to the next one.
        if let Some(first) = children.first_mut() {
            first.low.clone_from(&span.low);
        }
        if self.fresh {
            self.merge(id, &mut children)?;
        }
        Ok(Some(Items::Inner { level: page.level(), children }))
    }

    fn visit(
        &mut self,
        child: &Child,
        parent: &PageId,
        level: u8,
        span: &Span,
        edits: Slice<'_>,
    ) -> Result<Outcome, VaultError> {
        // The whole subtree goes. Its pages are not rewritten, since no key to them is kept: the entry in the
        // parent was the only one.
        if self.fresh && edits.covers(span) {
            self.forget_below(child, level);
            return Ok(Outcome::Replaced(Vec::new()));
        }
        let page = self.load(child)?;
        if page.level() != level {
            return Err(VaultError::Damaged("a page stands at the wrong level".into()));
        }
        let Some(items) = self.content(&page, &child.id, span, edits)? else {
            return Ok(Outcome::Same);
        };
        let cuts = self.cuts(&items);
        // The one case in which a page keeps its key: its span of places is as before, so that every key that ever
        // sealed an entry is still on the entry's path. A split does not qualify: half of the entries would leave
        // the span while the old key opens the old version of all of them.
        if !self.fresh && cuts.len() == 1 && page.version < MOST_SEALS {
            let new = Page::new(page.version + 1, None, &items);
            self.rewritten.before.insert(child.id, Arc::clone(&page));
            let written = Written { key: child.key.clone(), page: Arc::new(new) };
            self.rewritten.renewed.insert(child.id, written);
            return Ok(Outcome::Same);
        }
        // From here the page is replaced: fresh ids and keys, also where it is only split.
        self.forget(&child.id, &page);
        #[cfg(test)]
        if let Some(kept) = self.sabotage(child, &items, &cuts)? {
            return Ok(Outcome::Replaced(kept));
        }
        Ok(Outcome::Replaced(self.write(parent, child.low.clone(), items, &cuts)?))
    }

    /// How many items go to each of the pages that hold them.
    fn cuts(&self, items: &Items<'_>) -> Vec<usize> {
        // An inner page of one child would be a level that leads nowhere.
        let fewest = if items.level() == 0 { 1 } else { 2 };
        cut(&items.sizes(), self.store.shape.most_bytes(items.level()), fewest)
    }

    /// Puts items into fresh pages, the first of which takes all places from `low`.
    fn write(
        &mut self,
        parent: &PageId,
        low: Place,
        items: Items<'_>,
        cuts: &[usize],
    ) -> Result<Vec<Child>, VaultError> {
        let mut children = Vec::with_capacity(cuts.len());
        let mut low = Some(low);
        match items {
            Items::Leaf(entries) => {
                let mut entries = entries.into_iter();
                let mut last = &[][..];
                for &count in cuts {
                    let part: Vec<_> = entries.by_ref().take(count).collect();
                    let first = part.first().map_or(&[][..], |e| e.place);
                    let low = low.take().unwrap_or_else(|| separator(last, first));
                    last = part.last().map_or(&[][..], |e| e.place);
                    children.push(self.add(parent, low, &Items::Leaf(part))?);
                }
            }
            Items::Inner { level, children: all } => {
                let mut all = all.into_iter();
                for &count in cuts {
                    let part: Vec<_> = all.by_ref().take(count).collect();
                    let first = part.first().map(|c| c.low.clone()).unwrap_or_default();
                    let low = low.take().unwrap_or(first);
                    let part = Items::Inner { level, children: part };
                    children.push(self.add(parent, low, &part)?);
                }
            }
        }
        Ok(children)
    }

    fn add(&mut self, parent: &PageId, low: Place, items: &Items<'_>) -> Result<Child, VaultError> {
        let id = if items.level() == 0 { ids::leaf(parent)? } else { ids::inner()? };
        let key = random_secret()?;
        let page = Arc::new(Page::new(1, None, items));
        self.rewritten.added.insert(id, Written { key: key.clone(), page });
        Ok(Child { low, id, key })
    }

    fn load(&self, child: &Child) -> Result<Arc<Page>, VaultError> {
        match self.rewritten.added.get(&child.id) {
            Some(written) => Ok(Arc::clone(&written.page)),
            None => self.store.load(&child.id, &child.key),
        }
    }

    /// Takes a page out of the tree.
    fn forget(&mut self, id: &PageId, page: &Arc<Page>) {
        // One that this very change made was never on the disk: there is nothing to retire.
        if self.rewritten.added.remove(id).is_none() {
            self.rewritten.replaced.push(*id);
            if !self.fresh {
                self.rewritten.before.insert(*id, Arc::clone(page));
            }
        }
    }

    /// Takes a page and all below it out of the tree. Its leaves need not be read. Below a page
    /// that is damaged nothing can be named, and nothing can be read by anyone.
    fn forget_below(&mut self, child: &Child, level: u8) {
        self.rewritten.replaced.push(child.id);
        if level > 0
            && let Ok(page) = self.store.load(&child.id, &child.key)
            && page.level() == level
        {
            for index in 0..page.len() {
                let (id, key) = page.child(index);
                self.forget_below(&Child { low: Place::new(), id, key }, level - 1);
            }
        }
    }

    /// Joins pages that an erasure left nearly empty with a neighbour of the same parent.
    fn merge(&mut self, parent: &PageId, children: &mut Vec<Child>) -> Result<(), VaultError> {
        let shape = self.store.shape;
        let mut index = 0;
        while index < children.len() {
            let small = |w: &Written| {
                w.page.bytes() < shape.most_bytes(w.page.level()) / 4 && w.page.root().is_none()
            };
            if !self.rewritten.added.get(&children[index].id).is_some_and(small)
                || children.len() < 2
            {
                index += 1;
                continue;
            }
            let left = if index + 1 < children.len() { index } else { index - 1 };
            // A neighbour that is damaged is left alone: it must not hinder an erasure.
            let (Ok(a), Ok(b)) = (self.load(&children[left]), self.load(&children[left + 1]))
            else {
                index += 1;
                continue;
            };
            if a.bytes() + b.bytes() > shape.most_bytes(a.level()) / 4 * 3 || a.level() != b.level()
            {
                index += 1;
                continue;
            }
            // Joining moves the bound between the two, so that both give up their keys, though nothing is erased from
            // the neighbour.
            let low = children[left].low.clone();
            let items = join(a.items(), b.items(), &children[left + 1].low);
            self.forget(&children[left].id, &a);
            self.forget(&children[left + 1].id, &b);
            children[left] = self.add(parent, low, &items)?;
            children.remove(left + 1);
            index = left;
        }
        Ok(())
    }

    /// Breaks the invariant on purpose, to see that the tests notice.
    #[cfg(test)]
    fn sabotage(
        &mut self,
        child: &Child,
        items: &Items<'_>,
        cuts: &[usize],
    ) -> Result<Option<Vec<Child>>, VaultError> {
        use super::Sabotage;
        let Items::Leaf(entries) = items else { return Ok(None) };
        let split = self.store.shape.sabotage == Sabotage::SplitKeepsKey && cuts.len() > 1;
        let erase = self.store.shape.sabotage == Sabotage::EraseKeepsLeafKey && self.fresh;
        if !(split || erase) {
            return Ok(None);
        }
        let rest = Items::Leaf(entries[cuts.first().copied().unwrap_or(0)..].to_vec());
        let first = Items::Leaf(entries[..cuts.first().copied().unwrap_or(0)].to_vec());
        let mut kept =
            self.write(&child.id, child.low.clone(), first, &cuts[..cuts.len().min(1)])?;
        if let Some(head) = kept.first_mut()
            && let Some(mut written) = self.rewritten.added.remove(&head.id)
        {
            written.key = child.key.clone();
            head.key = child.key.clone();
            self.rewritten.added.insert(head.id, written);
        }
        if cuts.len() > 1
            && let (Items::Leaf(first), Items::Leaf(second)) = (items, &rest)
        {
            let low = separator(first[cuts[0] - 1].place, second[0].place);
            kept.extend(self.write(&child.id, low, rest, &cuts[1..])?);
        }
        Ok(Some(kept))
    }
}

/// Cuts items of these sizes into pages of at most `limit` bytes (more, where so few items are
/// more), evenly and about three quarters full, with at least `fewest` items in each.
pub(super) fn cut(sizes: &[usize], limit: usize, fewest: usize) -> Vec<usize> {
    let total: usize = sizes.iter().sum();
    if sizes.is_empty() {
        return Vec::new();
    }
    if total <= limit {
        return vec![sizes.len()];
    }
    // Three quarters full, so that the next entries do not split the new pages at once.
    let goal = total.div_ceil(total.div_ceil(limit * 3 / 4).max(2));
    let (mut cuts, mut count, mut bytes) = (Vec::new(), 0, 0);
    for size in sizes {
        if count >= fewest && (bytes + size > limit || bytes >= goal) {
            cuts.push(count);
            (count, bytes) = (0, 0);
        }
        count += 1;
        bytes += size;
    }
    // Too few are left for a page of their own: the page before is then a little over its limit.
    match cuts.last_mut() {
        Some(last) if count < fewest => *last += count,
        _ => cuts.push(count),
    }
    cuts
}

/// The shortest bound that tells the places up to `left` from those from `right`.
pub(super) fn separator(left: &[u8], right: &[u8]) -> Place {
    let common = left.iter().zip(right).take_while(|(a, b)| a == b).count();
    right[..right.len().min(common + 1)].to_vec()
}

/// The items of two neighbours. The first child of the right one takes all places from the
/// right one's bound.
fn join<'a>(left: Items<'a>, right: Items<'a>, bound: &[u8]) -> Items<'a> {
    match (left, right) {
        (Items::Inner { level, mut children }, Items::Inner { children: mut more, .. }) => {
            if let Some(first) = more.first_mut() {
                first.low = bound.to_vec();
            }
            children.extend(more);
            Items::Inner { level, children }
        }
        (Items::Leaf(mut entries), Items::Leaf(more)) => {
            entries.extend(more);
            Items::Leaf(entries)
        }
        // Pages of different levels are never joined.
        (left, _) => left,
    }
}
