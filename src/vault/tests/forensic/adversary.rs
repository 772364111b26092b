//! One who has every byte that was ever written, and tries every 32 bytes of all that they can
//! read as a key to all that they cannot, until nothing new opens.
//!
//! They know the formats (from `tree/page.rs`, `tree/retire.rs` and `tree/openings.rs`, of which they use no code) and
//! use them for two things only: to know what is bound to a ciphertext, and to stop a trial after
//! one block where what it gives cannot be the beginning of a page.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasherDefault, Hasher},
};

use aes::{
    Aes256, Block,
    cipher::{BlockCipherEncrypt, KeyInit},
};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::crypto::Cipher;

/// 32 bytes that may be a key.
pub(super) type Window = [u8; 32];

/// Sets and maps of windows are most of what the adversary does, millions of times.
#[derive(Default)]
pub(super) struct WindowHasher(u64);
type ByWindow = BuildHasherDefault<WindowHasher>;

impl Hasher for WindowHasher {
    fn write(&mut self, window: &[u8]) {
        // Half of it is enough to tell most windows apart. The factor, 2^64 over the golden ratio, spreads what is
        // alike (Knuth, The Art of Computer Programming, volume 3, section 6.4).
        let eight = |from: usize| u64::from_le_bytes(window[from..from + 8].try_into().unwrap());
        let mixed = (eight(24) ^ eight(12).rotate_left(29)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = mixed ^ (mixed >> 32);
    }

    /// Of an array the length is told as well: always the same.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

/// A ciphertext that the adversary has seen.
pub(super) struct Sealed {
    pub(super) nonce: [u8; 12],
    pub(super) associated: Vec<u8>,
    /// Ciphertext and tag.
    pub(super) body: Vec<u8>,
    /// Whether what it seals may begin so.
    pub(super) begins: fn(&[u8; 16]) -> bool,
    /// What follows from what it seals: further keys.
    pub(super) derive: fn(&[u8]) -> Vec<Window>,
}

impl Sealed {
    /// A page, or what is kept beside the pages, as it stood in a page store under a name.
    pub(super) fn stored(vault: &[u8; 16], name: &[u8], content: &[u8]) -> Option<Self> {
        let fixed = |from: usize| content.get(from..from + 12)?.try_into().ok();
        let purpose = match name {
            b"retire" => Some(&b"oubliette retire list"[..]),
            b"openings" => Some(&b"oubliette openings"[..]),
            _ => None,
        };
        if let Some(purpose) = purpose {
            let associated = [purpose, &content[..1], vault].concat();
            let body = content.get(13..)?.to_vec();
            return Some(Self {
                nonce: fixed(1)?,
                associated,
                body,
                begins: number,
                derive: |_| Vec::new(),
            });
        }
        if name.len() != 16 {
            return None;
        }
        let (kind, version) = (content.get(..2)?, content.get(2..10)?);
        let associated = [b"oubliette page", kind, vault, name, version].concat();
        type Form = (fn(&[u8; 16]) -> bool, fn(&[u8]) -> Vec<Window>);
        let (begins, derive): Form = match kind[1] {
            1 => (|text| text[0] == 0 && text[1] <= 64, |_| Vec::new()),
            2 => (|text| (1..16).contains(&text[0]) && text[1] <= 64, |_| Vec::new()),
            _ => (number, from_identity),
        };
        Some(Self {
            nonce: fixed(10)?,
            associated,
            body: content.get(22..)?.to_vec(),
            begins,
            derive,
        })
    }

    /// The id of a page, as it is bound to it.
    fn id(&self) -> Option<&[u8]> {
        let from = self.associated.len().checked_sub(8 + 16)?;
        self.associated.starts_with(b"oubliette page").then(|| &self.associated[from..from + 16])
    }

    fn open(&self, key: &Window) -> Option<Vec<u8>> {
        let blob = [&self.nonce[..], &self.body].concat();
        Cipher::new(key).open_blob(&self.associated, &blob).map(|text| text.to_vec())
    }
}

/// An epoch, or a count of openings, that a test reaches.
fn number(text: &[u8; 16]) -> bool {
    text[..5] == [0; 5]
}

/// All that is derived from the identity, which a root page holds after its epoch.
fn from_identity(root_page: &[u8]) -> Vec<Window> {
    let labels = [
        &b"oubliette retire list"[..],
        b"oubliette openings",
        b"oubliette vault 1: names",
        b"oubliette vault 1: key ids",
    ];
    let derive = |label: &[u8]| {
        let identity = Hmac::<Sha256>::new_from_slice(&root_page[8..40]).unwrap();
        identity.chain_update(label).finalize().into_bytes().into()
    };
    labels.into_iter().map(derive).collect()
}

/// Something that can be read, and what it leads to.
pub(super) struct Text {
    pub(super) bytes: Vec<u8>,
    /// Which of the ciphertexts are opened by some window of it.
    opens: Vec<usize>,
    /// Which of the keys that are looked for stand in it.
    holds: Vec<usize>,
}

/// All that can be read by somebody who begins with any of several texts.
pub(super) struct Loot {
    pub(super) texts: Vec<Text>,
    /// The text of each ciphertext that was opened.
    pub(super) opened: HashMap<usize, usize>,
    /// The keys that opened something.
    pub(super) keys: HashMap<Window, Vec<usize>, ByWindow>,
}

/// Which windows of an opened text are tried. Of those that somebody begins with it is all.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Trials {
    Every,
    /// Those before which the id of some page stands: where thousands of large pages are to be
    /// opened.
    AfterIds,
}

impl Loot {
    /// Tries all windows of the given texts on all that is sealed, goes on with what that opens,
    /// and notes where the wanted keys stand.
    pub(super) fn gather(
        sealed: &[Sealed],
        beginnings: &[Vec<u8>],
        wanted: &HashMap<Window, usize>,
        trials: Trials,
    ) -> Self {
        let ids: HashSet<&[u8]> = sealed.iter().filter_map(Sealed::id).collect();
        let mut counters: Vec<Block> = Vec::new();
        for one in sealed {
            // The counter block of the first block of text (NIST SP 800-38D, section 7.1).
            let block: [u8; 16] = [&one.nonce[..], &[0, 0, 0, 2]].concat().try_into().unwrap();
            counters.push(block.into());
        }
        let mut loot = Self { texts: Vec::new(), opened: HashMap::new(), keys: HashMap::default() };
        let mut tried: HashSet<Window, ByWindow> = HashSet::default();
        let wanted: HashMap<Window, usize, ByWindow> =
            wanted.iter().map(|(window, key)| (*window, *key)).collect();
        // Texts, and from where on all windows are tried in any case.
        let mut todo: Vec<(Vec<u8>, usize)> =
            beginnings.iter().map(|text| (text.clone(), 0)).collect();
        let mut next = 0;
        while next < todo.len() {
            let (bytes, all_from) = std::mem::take(&mut todo[next]);
            next += 1;
            let (mut opens, mut holds) = (Vec::new(), Vec::new());
            for (at, window) in bytes.windows(32).enumerate() {
                let worth = trials == Trials::Every
                    || at >= all_from
                    || at >= 16 && ids.contains(&bytes[at - 16..at]);
                let window: Window = window.try_into().unwrap();
                holds.extend(wanted.get(&window));
                if worth && tried.insert(window) {
                    for index in openable(sealed, &counters, &window) {
                        let Some(text) = sealed[index].open(&window) else { continue };
                        loot.keys.entry(window).or_default().push(index);
                        if let std::collections::hash_map::Entry::Vacant(new) =
                            loot.opened.entry(index)
                        {
                            let mut more = text.clone();
                            for derived in (sealed[index].derive)(&text) {
                                more.extend_from_slice(&derived);
                            }
                            new.insert(todo.len());
                            todo.push((more, text.len()));
                        }
                    }
                }
                opens.extend(loot.keys.get(&window).into_iter().flatten());
            }
            loot.texts.push(Text { bytes, opens, holds });
        }
        loot
    }

    /// The texts that can be read by who begins with this one.
    pub(super) fn readable_from(&self, beginning: usize) -> Vec<&Text> {
        let mut seen = HashSet::from([beginning]);
        let mut todo = vec![beginning];
        while let Some(text) = todo.pop() {
            let next = self.texts[text].opens.iter().map(|sealed| self.opened[sealed]);
            todo.extend(next.filter(|text| seen.insert(*text)));
        }
        seen.into_iter().map(|text| &self.texts[text]).collect()
    }

    /// The wanted keys that stand in what can be read by who begins with this one.
    pub(super) fn found_from(&self, beginning: usize) -> HashSet<usize> {
        self.readable_from(beginning).into_iter().flat_map(|text| text.holds.clone()).collect()
    }
}

/// The ciphertexts whose first block, under this key, looks as it must.
fn openable(sealed: &[Sealed], counters: &[Block], key: &Window) -> Vec<usize> {
    let mut stream = counters.to_vec();
    Aes256::new(key.into()).encrypt_blocks(&mut stream);
    let mut openable = Vec::new();
    for (index, one) in sealed.iter().enumerate() {
        let length = one.body.len().saturating_sub(16).min(16);
        let mut text = [0; 16];
        for at in 0..length {
            text[at] = one.body[at] ^ stream[index][at];
            // What is not decrypted yet is zero, which every form allows: most trials end here.
            if at < 2 && !(one.begins)(&text) && (at == 1 || text[0] > 15) {
                break;
            }
        }
        if length > 0 && (one.begins)(&text) {
            openable.push(index);
        }
    }
    openable
}
