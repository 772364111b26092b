//! What is fuzzed of pages.

use super::page::{Entry, Items, Page};
use crate::event::VaultId;

const VAULT: VaultId = VaultId(uuid::Uuid::from_u128(3));
const ID: [u8; 16] = [4; 16];
const KEY: [u8; 32] = [5; 32];

/// What is read as a page is written as the same bytes, finds each of its entries, and does not open once it is
/// changed. The first two bytes say where it is changed; the lowest bit of the first, whether it is a root page.
pub fn page(data: &[u8]) {
    for root in [false, true] {
        assert!(
            Page::open(VAULT, &ID, &KEY, root, data).is_err(),
            "a page opens that nobody sealed"
        );
    }
    let Some((at, plain)) = data.split_first_chunk::<2>() else { return };
    let root = at[0] & 1 == 1;
    let Some(read) = Page::parse(6, root, plain) else { return };
    let written = Page::new(6, read.root().cloned(), &read.items());
    let sealed = written.seal(VAULT, &ID, &KEY).unwrap();
    let opened =
        Page::open(VAULT, &ID, &KEY, root, &sealed).unwrap_or_else(|error| panic!("{error}"));
    assert!(plaintext(&opened) == plain, "it is written otherwise than it was read");
    assert_eq!((opened.version, opened.len()), (6, read.len()));
    if let Items::Leaf(entries) = opened.items() {
        for Entry { place, value } in entries {
            assert!(opened.find(place) == Some(value));
        }
    }

    let opens = |root, bytes: &[u8]| Page::open(VAULT, &ID, &KEY, root, bytes).is_ok();
    let bit = usize::from(u16::from_be_bytes(*at)) % (sealed.len() * 8);
    let mut changed = sealed.clone();
    changed[bit / 8] ^= 1 << (bit % 8);
    assert!(!opens(root, &changed), "bit {bit} was changed, and it opens");
    assert!(!opens(root, &sealed[..bit / 8]), "it opens, cut to {} bytes", bit / 8);
    assert!(!opens(!root, &sealed), "a root page passes for another");
    assert!(Page::open(VAULT, &[0; 16], &KEY, root, &sealed).is_err(), "it opens as another page");
}

/// The plaintext of a page, by what the page answers.
fn plaintext(page: &Page) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(root) = page.root() {
        bytes.extend_from_slice(&root.epoch.to_be_bytes());
        bytes.extend_from_slice(root.identity.as_slice());
    }
    bytes.push(page.level());
    for index in 0..page.len() {
        let place = page.place(index);
        bytes.push(place.len() as u8);
        if page.level() == 0 {
            bytes.extend_from_slice(&(page.value(index).len() as u16).to_be_bytes());
            bytes.extend_from_slice(place);
            bytes.extend_from_slice(page.value(index));
        } else {
            let (id, key) = page.look_at_child(index);
            bytes.extend_from_slice(place);
            bytes.extend_from_slice(&id);
            bytes.extend_from_slice(key);
        }
    }
    bytes
}
