//! A token that is broken off at each of its steps: what SoftHSM cannot be made to do. It overwrites
//! nothing in place, either.

use std::{
    cell::Cell,
    sync::{Arc, Mutex},
};

use uuid::Uuid;

use super::*;
use crate::{
    crypto::Secret,
    event::VaultId,
    vault::root::{KekSecret, OpeningNumber, Root, RootSlot, Slot, device},
};

/// What is in a token: number, name, content.
type Content = Arc<Mutex<Vec<(u32, String, Vec<u8>)>>>;

#[derive(Clone, Copy, PartialEq)]
enum Overwrites {
    Yes,
    No,
    /// It says so, and does not.
    Pretends,
}

struct Fake {
    content: Content,
    overwrites: Overwrites,
    /// How many changes it takes before it is unplugged.
    left: Cell<usize>,
}

impl Fake {
    fn change(&self) -> Result<(), String> {
        let left = self.left.get().checked_sub(1).ok_or("unplugged")?;
        self.left.set(left);
        Ok(())
    }
}

impl Objects for Fake {
    type Handle = u32;

    fn find(&self, name: &str) -> Result<Vec<u32>, String> {
        let content = self.content.lock().unwrap();
        Ok(content.iter().filter(|(_, of, _)| of == name).map(|(number, ..)| *number).collect())
    }

    fn read(&self, object: u32) -> Result<Zeroizing<Vec<u8>>, String> {
        let content = self.content.lock().unwrap();
        let (.., bytes) = content.iter().find(|(number, ..)| *number == object).unwrap();
        Ok(Zeroizing::new(bytes.clone()))
    }

    fn overwrite(&self, object: u32, bytes: &[u8]) -> Result<bool, String> {
        match self.overwrites {
            Overwrites::Yes => self.change()?,
            Overwrites::No => return Ok(false),
            Overwrites::Pretends => return Ok(true),
        }
        let mut content = self.content.lock().unwrap();
        let (.., old) = content.iter_mut().find(|(number, ..)| *number == object).unwrap();
        *old = bytes.to_vec();
        Ok(true)
    }

    fn make(&self, name: &str, bytes: &[u8]) -> Result<(), String> {
        self.change()?;
        let mut content = self.content.lock().unwrap();
        let number = content.last().map_or(1, |(number, ..)| number + 1);
        content.push((number, name.to_owned(), bytes.to_vec()));
        Ok(())
    }

    fn destroy(&self, object: u32) -> Result<(), String> {
        self.change()?;
        self.content.lock().unwrap().retain(|(number, ..)| *number != object);
        Ok(())
    }
}

fn root(epoch: u64) -> Root {
    let key = Secret::copy_of(&[u8::try_from(epoch).unwrap(); 32]);
    let (vault, opening) = (VaultId(Uuid::from_u128(7)), OpeningNumber::default());
    Root { vault, epoch, key, page: [8; 16], opening }
}

fn sectors(content: &Content, overwrites: Overwrites, left: usize) -> TokenSectors<Fake> {
    let at = "pkcs11:token=t;object=vault-1?module-path=/m".parse().unwrap();
    let fake = Fake { content: Arc::clone(content), overwrites, left: Cell::new(left) };
    TokenSectors::of(&at, fake, None)
}

fn slot(sectors: TokenSectors<Fake>) -> Slot {
    Slot::over(sectors, KekSecret::None)
}

fn names(content: &Content) -> Vec<(u32, String)> {
    let mut names: Vec<_> =
        content.lock().unwrap().iter().map(|(n, name, _)| (*n, name.clone())).collect();
    names.sort();
    names
}

#[test]
fn a_token_that_overwrites_is_overwritten_in_place() {
    let content = Content::default();
    slot(device::create(sectors(&content, Overwrites::Yes, 99), &"x").unwrap())
        .write(&root(1))
        .unwrap();
    let before = names(&content);
    assert_eq!(before, [(1, "vault-1.0".to_owned()), (2, "vault-1.1".to_owned())]);
    slot(device::open(sectors(&content, Overwrites::Yes, 99), &"x").unwrap())
        .write(&root(2))
        .unwrap();
    assert_eq!(names(&content), before, "the objects are the same");
    for (.., bytes) in content.lock().unwrap().iter() {
        assert!(!bytes.windows(32).any(|window| window == [1; 32]));
        assert!(bytes.windows(32).any(|window| window == [2; 32]));
    }
}

#[test]
fn a_token_that_only_says_that_it_overwrites_is_not_believed() {
    let content = Content::default();
    let pretending = || sectors(&content, Overwrites::Pretends, 99);
    slot(device::create(pretending(), &"x").unwrap()).write(&root(1)).unwrap();
    slot(device::open(pretending(), &"x").unwrap()).write(&root(2)).unwrap();
    for (.., bytes) in content.lock().unwrap().iter() {
        assert!(!bytes.windows(32).any(|window| window == [1; 32]));
    }
    assert!(slot(device::open(pretending(), &"x").unwrap()).read().unwrap() == root(2));
}

/// Wherever it is unplugged, and then once more while it is mended, one root is there, and never
/// two objects of one name.
#[test]
fn a_token_that_is_unplugged_keeps_a_root() {
    for overwrites in [Overwrites::Yes, Overwrites::No] {
        for first in 0..6 {
            for second in 0..8 {
                let content = Content::default();
                let made = device::create(sectors(&content, overwrites, 99), &"x").unwrap();
                slot(made).write(&root(1)).unwrap();
                let opened = device::open(sectors(&content, overwrites, first), &"x").unwrap();
                let opened = slot(opened);
                opened.read().unwrap();
                let whole = opened.write(&root(2)).is_ok();
                // Mending it is broken off, too.
                if let Ok(opened) = device::open(sectors(&content, overwrites, second), &"x") {
                    let opened = slot(opened);
                    let found = opened.read().unwrap();
                    let _ = opened.write(&found);
                }
                let opened = slot(device::open(sectors(&content, overwrites, 99), &"x").unwrap());
                let found = opened.read().unwrap();
                assert!(found == root(2) || !whole && found == root(1), "{first} {second}");
                opened.write(&found).unwrap();
                let names: Vec<_> = names(&content).into_iter().map(|(_, name)| name).collect();
                assert_eq!(names.len(), 2, "{names:?}");
            }
        }
    }
}
