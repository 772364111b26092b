//! One page, opened and sealed. All numbers are big-endian.
//!
//! | bytes | a page as it is stored |
//! | --- | --- |
//! | 1 | format: 1 |
//! | 1 | kind: 1 a leaf, 2 an inner page; 3 and 4 the same as the root page |
//! | 8 | version: higher with each write under one key |
//! | 12 | nonce |
//! | … | ciphertext, AES-256-GCM under the page's key |
//! | 16 | tag, also over `"oubliette page" ‖ format ‖ kind ‖ vault(16) ‖ page id(16) ‖ version` |
//!
//! | bytes | the plaintext |
//! | --- | --- |
//! | 8 | root pages only: the epoch |
//! | 32 | root pages only: the vault's identity |
//! | 1 | level: 0 a leaf, above it the inner pages |
//! | … | items, in strictly ascending order of places or bounds |
//!
//! | bytes | an item of a leaf |
//! | --- | --- |
//! | 1 | length of the place |
//! | 2 | length of the value |
//! | … | place: see [`crate::vault::places`] |
//! | … | value: see [`crate::vault::records`] and [`crate::vault::fence`] |
//!
//! A place has at most 64 bytes, a value at most 16,384.
//!
//! | bytes | an item of an inner page |
//! | --- | --- |
//! | 1 | length of the bound |
//! | … | bound: no place in the child is less, but in the first child |
//! | 16 | the child's page id |
//! | 32 | the child's key |
//!
//! A page stays in memory as one wiped buffer and the offsets of its items.

use zeroize::Zeroizing;

use crate::{
    crypto::{BLOB_OVERHEAD, Cipher, NONCE_BYTES, SECRET_BYTES, Secret},
    event::VaultId,
    vault::VaultError,
};

/// Where a value is: at most [`MAX_PLACE_BYTES`] bytes, ordered byte by byte.
pub(crate) type Place = Vec<u8>;

/// The longest place, in bytes.
pub(crate) const MAX_PLACE_BYTES: usize = 64;

/// The longest value, in bytes.
pub(crate) const MAX_VALUE_BYTES: usize = 16 * 1024;

/// A value, wiped when dropped.
pub(crate) type Value = Zeroizing<Vec<u8>>;

/// The name of a page: random, and new whenever its key is.
pub(super) type PageId = [u8; 16];

/// The newest format of a page that this program knows.
pub(super) const FORMAT: u8 = 1;

/// What is before the nonce.
const HEAD_BYTES: usize = 1 + 1 + 8;
const CHILD_BYTES: usize = 16 + SECRET_BYTES;

/// Buffers come in multiples of so many bytes, so that the allocator finds one that was freed.
const ROUND_BYTES: usize = 512;

/// A place and its value, where they are: in a page, or in a change.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) place: &'a [u8],
    pub(super) value: &'a [u8],
}

/// A page as its parent knows it.
#[derive(Clone)]
pub(super) struct Child {
    /// No place in it is less, except in the first child of a page, which takes all that are.
    pub(super) low: Place,
    pub(super) id: PageId,
    pub(super) key: Secret,
}

/// What a page holds, taken apart to be changed.
pub(super) enum Items<'a> {
    Leaf(Vec<Entry<'a>>),
    Inner { level: u8, children: Vec<Child> },
}

/// What the root page holds besides.
#[derive(Clone)]
pub(super) struct RootHead {
    pub(super) epoch: u64,
    pub(super) identity: Secret,
}

/// An opened page.
pub(super) struct Page {
    pub(super) version: u64,
    level: u8,
    root: Option<RootHead>,
    body: Zeroizing<Vec<u8>>,
    starts: Vec<u32>,
}

impl Entry<'_> {
    pub(super) fn bytes(&self) -> usize {
        3 + self.place.len() + self.value.len()
    }
}

impl Child {
    pub(super) fn bytes(&self) -> usize {
        1 + self.low.len() + CHILD_BYTES
    }
}

impl Items<'_> {
    pub(super) fn level(&self) -> u8 {
        match self {
            Self::Leaf(_) => 0,
            Self::Inner { level, .. } => *level,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Leaf(entries) => entries.is_empty(),
            Self::Inner { children, .. } => children.is_empty(),
        }
    }

    /// How many bytes, and how many items.
    fn extent(&self) -> (usize, usize) {
        match self {
            Self::Leaf(entries) => (entries.iter().map(Entry::bytes).sum(), entries.len()),
            Self::Inner { children, .. } => {
                (children.iter().map(Child::bytes).sum(), children.len())
            }
        }
    }

    pub(super) fn sizes(&self) -> Vec<usize> {
        match self {
            Self::Leaf(entries) => entries.iter().map(Entry::bytes).collect(),
            Self::Inner { children, .. } => children.iter().map(Child::bytes).collect(),
        }
    }
}

impl Page {
    /// A page of these items.
    pub(super) fn new(version: u64, root: Option<RootHead>, items: &Items<'_>) -> Self {
        let (bytes, count) = items.extent();
        let mut body = Zeroizing::new(Vec::with_capacity(bytes.next_multiple_of(ROUND_BYTES)));
        let mut starts = Vec::with_capacity(count);
        match items {
            Items::Leaf(entries) => {
                for Entry { place, value } in entries {
                    starts.push(body.len() as u32);
                    body.push(place.len() as u8);
                    body.extend_from_slice(&(value.len() as u16).to_be_bytes());
                    body.extend_from_slice(place);
                    body.extend_from_slice(value);
                }
            }
            Items::Inner { children, .. } => {
                for Child { low, id, key } in children {
                    starts.push(body.len() as u32);
                    body.push(low.len() as u8);
                    body.extend_from_slice(low);
                    body.extend_from_slice(id);
                    body.extend_from_slice(key.as_slice());
                }
            }
        }
        Self { version, level: items.level(), root, body, starts }
    }

    /// 0 for a leaf.
    pub(super) fn level(&self) -> u8 {
        self.level
    }

    pub(super) fn root(&self) -> Option<&RootHead> {
        self.root.as_ref()
    }

    /// The length of the items.
    pub(super) fn bytes(&self) -> usize {
        self.body.len()
    }

    pub(super) fn len(&self) -> usize {
        self.starts.len()
    }

    /// The place of a leaf's entry, or the bound of an inner page's child.
    pub(super) fn place(&self, index: usize) -> &[u8] {
        self.place_at(self.starts[index])
    }

    fn place_at(&self, start: u32) -> &[u8] {
        let at = start as usize;
        let from = at + if self.level == 0 { 3 } else { 1 };
        &self.body[from..from + self.body[at] as usize]
    }

    /// The value of a leaf's entry.
    pub(super) fn value(&self, index: usize) -> &[u8] {
        let at = self.starts[index] as usize;
        let from = at + 3 + self.body[at] as usize;
        let len = u16::from_be_bytes([self.body[at + 1], self.body[at + 2]]);
        &self.body[from..from + len as usize]
    }

    /// The id and key of an inner page's child.
    pub(super) fn child(&self, index: usize) -> (PageId, Secret) {
        let (id, key) = self.look_at_child(index);
        (id, Secret::copy_of(key))
    }

    /// The same, with the key where it is.
    pub(super) fn look_at_child(&self, index: usize) -> (PageId, &[u8; SECRET_BYTES]) {
        let at = self.starts[index] as usize;
        let from = at + 1 + self.body[at] as usize;
        let mut id = PageId::default();
        id.copy_from_slice(&self.body[from..from + 16]);
        // Always there, or the page would not have been parsed.
        let key = self.body[from + 16..].first_chunk().unwrap_or(&[0; SECRET_BYTES]);
        (id, key)
    }

    /// The child of an inner page that a place belongs to.
    pub(super) fn child_of(&self, place: &[u8]) -> usize {
        // The last whose bound is not above it. Below the first bound it is the first child, which has no lower end:
        // so the leftmost page of the tree takes what is less than all that it held when it was made.
        self.starts.partition_point(|at| self.place_at(*at) <= place).saturating_sub(1)
    }

    /// The first entry of a leaf at or after a place.
    pub(super) fn entry_from(&self, place: &[u8]) -> usize {
        self.starts.partition_point(|at| self.place_at(*at) < place)
    }

    /// The value at a place of a leaf.
    pub(super) fn find(&self, place: &[u8]) -> Option<&[u8]> {
        let index = self.entry_from(place);
        (index < self.len() && self.place(index) == place).then(|| self.value(index))
    }

    /// What it holds, to be changed.
    pub(super) fn items(&self) -> Items<'_> {
        if self.level == 0 {
            let entry = |i| Entry { place: self.place(i), value: self.value(i) };
            return Items::Leaf((0..self.len()).map(entry).collect());
        }
        let children = (0..self.len()).map(|index| self.child_at(index)).collect();
        Items::Inner { level: self.level, children }
    }

    /// A child of an inner page, with its bound.
    pub(super) fn child_at(&self, index: usize) -> Child {
        let (id, key) = self.child(index);
        Child { low: self.place(index).to_vec(), id, key }
    }

    /// The page as it is stored.
    pub(super) fn seal(
        &self,
        vault: VaultId,
        id: &PageId,
        key: &[u8; SECRET_BYTES],
    ) -> Result<Vec<u8>, VaultError> {
        let kind = kind(self.root.is_some(), self.level > 0);
        let root_bytes = if self.root.is_some() { 8 + SECRET_BYTES } else { 0 };
        // Enough from the start: a buffer that grows leaves copies of what it held.
        let length = HEAD_BYTES + root_bytes + 1 + self.body.len() + BLOB_OVERHEAD;
        let mut bytes = Zeroizing::new(Vec::with_capacity(length));
        bytes.extend_from_slice(&[FORMAT, kind]);
        bytes.extend_from_slice(&self.version.to_be_bytes());
        bytes.extend_from_slice(&[0; NONCE_BYTES]);
        if let Some(root) = &self.root {
            bytes.extend_from_slice(&root.epoch.to_be_bytes());
            bytes.extend_from_slice(root.identity.as_slice());
        }
        bytes.push(self.level);
        bytes.extend_from_slice(&self.body);
        let associated = associated(kind, vault, id, self.version);
        Cipher::new(key).seal_in_place(&associated, &mut bytes, HEAD_BYTES)?;
        // From here on it is ciphertext, which needs no wiping.
        Ok(std::mem::take(&mut *bytes))
    }

    /// Opens a stored page. `root` says whether it must be the root page.
    pub(super) fn open(
        vault: VaultId,
        id: &PageId,
        key: &[u8; SECRET_BYTES],
        root: bool,
        stored: &[u8],
    ) -> Result<Self, VaultError> {
        Self::open_with(vault, id, &Cipher::new(key), root, stored)
    }

    /// [`Page::open`] with a key whose schedule is there already.
    pub(super) fn open_with(
        vault: VaultId,
        id: &PageId,
        cipher: &Cipher,
        root: bool,
        stored: &[u8],
    ) -> Result<Self, VaultError> {
        let damaged = |why: &str| VaultError::Damaged(format!("page {}: {why}", hex(id)));
        let (&[format, found_kind, ref version @ ..], blob) =
            stored.split_first_chunk::<HEAD_BYTES>().ok_or_else(|| damaged("it is cut off"))?;
        if format > FORMAT {
            let (found, known) = (format.into(), FORMAT.into());
            return Err(VaultError::NewerFormat { what: "a page of the vault", found, known });
        }
        // The tag is over the head, and over the id by which the page was asked for: a page that was put in the place of
        // another does not open. Whether it is an *older* one of the same id the tag cannot say. Forgetting does not rest on
        // that: an erasure gives the page a new key, and the one before it is in no page of today's tree.
        let version = u64::from_be_bytes(*version);
        if format != FORMAT || ![kind(root, false), kind(root, true)].contains(&found_kind) {
            return Err(damaged("it is of another kind"));
        }
        let plain = cipher
            .open_blob(&associated(found_kind, vault, id, version), blob)
            .ok_or_else(|| damaged("it does not open under its key"))?;
        let page = Self::parse(version, root, &plain).ok_or_else(|| damaged("it is malformed"))?;
        if found_kind != kind(root, page.level > 0) {
            return Err(damaged("it is of another kind"));
        }
        Ok(page)
    }

    pub(super) fn parse(version: u64, root: bool, mut plain: &[u8]) -> Option<Self> {
        let mut head = None;
        if root {
            let (epoch, rest) = plain.split_first_chunk::<8>()?;
            let (identity, rest) = rest.split_first_chunk::<SECRET_BYTES>()?;
            let epoch = u64::from_be_bytes(*epoch);
            head = Some(RootHead { epoch, identity: Secret::copy_of(identity) });
            plain = rest;
        }
        let (&level, plain) = plain.split_first()?;
        let room = plain.len().next_multiple_of(ROUND_BYTES);
        let mut body = Zeroizing::new(Vec::with_capacity(room));
        body.extend_from_slice(plain);
        let mut starts = Vec::with_capacity(plain.len() / 64);
        // Every length is checked here once, up to the last byte. What reads items later indexes without asking.
        let mut at = 0;
        while at < body.len() {
            starts.push(u32::try_from(at).ok()?);
            let place = body[at] as usize;
            let value = if level == 0 {
                let length = body.get(at + 1..at + 3)?;
                u16::from_be_bytes([length[0], length[1]]) as usize + 2
            } else {
                CHILD_BYTES
            };
            if place > MAX_PLACE_BYTES || value > MAX_VALUE_BYTES + 2 {
                return None;
            }
            at += 1 + place + value;
        }
        if at != body.len() || (level > 0 && starts.is_empty()) {
            return None;
        }
        // Look-ups halve: in a page out of order they would miss what is there.
        let page = Self { version, level, root: head, body, starts };
        (1..page.len()).all(|i| page.place(i - 1) < page.place(i)).then_some(page)
    }
}

/// A page's id, for messages: it says nothing.
pub(super) fn hex(id: &PageId) -> String {
    format!("{:032x}", u128::from_be_bytes(*id))
}

fn kind(root: bool, inner: bool) -> u8 {
    1 + u8::from(inner) + 2 * u8::from(root)
}

fn associated(kind: u8, vault: VaultId, id: &PageId, version: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(64);
    bytes.extend_from_slice(b"oubliette page");
    bytes.extend_from_slice(&[FORMAT, kind]);
    bytes.extend_from_slice(vault.0.as_bytes());
    bytes.extend_from_slice(id);
    bytes.extend_from_slice(&version.to_be_bytes());
    bytes
}
