//! What an adversary reads who has every byte that the page store ever wrote, and today's slot.

use std::collections::{BTreeMap, HashMap, HashSet};

use proptest::prelude::*;

use super::{
    super::{Erasure, Sabotage, Shape, page::Page},
    disk::Disk,
    set, tiny, unset, value,
};
use crate::{
    crypto::{Cipher, Secret},
    event::VaultId,
    vault::root::RootSlot,
};

/// Tries every key that it knows on every page, and goes on with the keys that it finds.
pub(super) fn attack(
    vault: VaultId,
    archive: &[(Vec<u8>, Vec<u8>)],
    keys: Vec<Secret>,
) -> HashSet<Vec<u8>> {
    let mut loot = HashSet::new();
    let mut known: HashSet<Vec<u8>> = keys.iter().map(|k| k.to_vec()).collect();
    let mut todo = keys;
    while let Some(key) = todo.pop() {
        let cipher = Cipher::new(&key);
        for (name, stored) in archive {
            let Ok(id) = <[u8; 16]>::try_from(name.as_slice()) else { continue };
            // The second byte says whether it was sealed as a root page.
            let root = stored[1] > 2;
            let Ok(page) = Page::open_with(vault, &id, &cipher, root, stored) else { continue };
            for index in 0..page.len() {
                if page.level() == 0 {
                    loot.insert(page.value(index).to_vec());
                } else {
                    let (_, key) = page.child(index);
                    if known.insert(key.to_vec()) {
                        todo.push(key);
                    }
                }
            }
        }
    }
    loot
}

/// Every 32 bytes of the slot as a key, wherever they stand.
fn keys_in_slot(disk: &Disk) -> Vec<Secret> {
    let mut keys = HashSet::new();
    for sector in disk.slot_bytes() {
        for window in sector.windows(32).filter(|w| w.iter().any(|b| *b != 0)) {
            keys.insert(<[u8; 32]>::try_from(window).unwrap());
        }
    }
    keys.iter().map(Secret::copy_of).collect()
}

pub(super) fn current(disk: &Disk) -> (VaultId, Secret) {
    let root = disk.slot().read().unwrap();
    (root.vault, root.key)
}

/// The values that can be read from the archive with today's root.
pub(super) fn readable(disk: &Disk) -> HashSet<Vec<u8>> {
    let (vault, key) = current(disk);
    attack(vault, &disk.archive(), vec![key])
}

/// The pages of today's store that belong to today's tree, by an honest walk.
pub(super) fn reachable(disk: &Disk) -> HashSet<Vec<u8>> {
    let root = disk.slot().read().unwrap();
    let image = disk.image();
    let mut found = HashSet::new();
    let mut todo = vec![(root.page, root.key.clone())];
    while let Some((id, key)) = todo.pop() {
        let at_root = id == root.page;
        let page = Page::open(root.vault, &id, &key, at_root, &image[id.as_slice()]).unwrap();
        found.insert(id.to_vec());
        if page.level() > 0 {
            todo.extend((0..page.len()).map(|index| page.child(index)));
        }
    }
    found
}

/// The name of the leaf that a place stands in.
pub(super) fn leaf_of(disk: &Disk, place: &[u8]) -> Vec<u8> {
    let root = disk.slot().read().unwrap();
    let image = disk.image();
    let (mut id, mut key, mut at_root) = (root.page, root.key, true);
    loop {
        let page = Page::open(root.vault, &id, &key, at_root, &image[id.as_slice()]).unwrap();
        if page.level() == 0 {
            return id.to_vec();
        }
        (id, key) = page.child(page.child_of(place));
        at_root = false;
    }
}

#[derive(Debug, Clone)]
struct Step {
    erase: bool,
    /// Place, and whether it gets a value.
    changes: Vec<(u16, bool)>,
    /// From and to.
    range: Option<(u16, u16)>,
    reopen: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let changes = |most| proptest::collection::vec((0u16..400, prop::bool::weighted(0.8)), 1..most);
    let put = (changes(60), any::<u8>()).prop_map(|(changes, reopen)| Step {
        erase: false,
        changes,
        range: None,
        reopen: reopen < 30,
    });
    let range = prop::option::weighted(0.4, (0u16..400, 0u16..60));
    let erase = (changes(6), range).prop_map(|(changes, range)| Step {
        erase: true,
        changes,
        range: range.map(|(from, length)| (from, from + length)),
        reopen: false,
    });
    prop_oneof![3 => put, 2 => erase]
}

/// Does the steps, and after each erasure lets the adversary try. Says what it read that it must
/// not, or did not read that lives.
fn run(shape: Shape, steps: &[Step]) -> Result<(), String> {
    let disk = Disk::default();
    let mut tree = disk.create(shape).unwrap();
    let mut serial = 0u64;
    let mut living: BTreeMap<u16, Vec<u8>> = BTreeMap::new();
    // All values ever at a place since its last erasure.
    let mut past: HashMap<u16, Vec<Vec<u8>>> = HashMap::new();
    let mut dead: Vec<Vec<u8>> = Vec::new();
    for step in steps {
        let mut changes = Vec::new();
        let mut gone: Vec<u16> = Vec::new();
        if let Some((from, to)) = step.range {
            gone.extend((from..to).filter(|p| past.contains_key(p)));
            living.retain(|p, _| !(from..to).contains(p));
        }
        let unique: BTreeMap<u16, bool> = step.changes.iter().copied().collect();
        for (place, keep) in unique {
            if step.erase {
                gone.push(place);
            }
            living.remove(&place);
            let bytes = keep.then(|| {
                serial += 1;
                format!("value number {serial:08}").into_bytes()
            });
            changes.push((place.to_be_bytes().to_vec(), bytes.as_deref().map(value)));
            if let Some(bytes) = bytes {
                living.insert(place, bytes);
            }
        }
        for place in gone {
            dead.extend(past.remove(&place).unwrap_or_default());
        }
        for (place, _) in &step.changes {
            if let Some(bytes) = living.get(place) {
                past.entry(*place).or_default().push(bytes.clone());
            }
        }
        if step.erase {
            let bytes = |p: u16| p.to_be_bytes().to_vec();
            let remove_ranges = step.range.map(|(a, b)| (bytes(a), bytes(b))).into_iter().collect();
            tree.erase_all(Erasure { remove_ranges, changes }).unwrap();
            let seen = readable(&disk);
            if let Some(value) = dead.iter().find(|v| seen.contains(*v)) {
                return Err(format!("read {}", String::from_utf8_lossy(value)));
            }
            if let Some((place, _)) = living.iter().find(|(_, v)| !seen.contains(*v)) {
                return Err(format!("lost {place}"));
            }
        } else {
            tree.put(changes).unwrap();
        }
        if step.reopen {
            drop(tree);
            tree = disk.open(shape).unwrap();
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn nothing_erased_is_read_from_all_bytes_ever_written(
        page_bytes in 120usize..600,
        leaf_bytes in 120usize..600,
        batch_pages in 4usize..64,
        steps in proptest::collection::vec(step(), 4..24),
    ) {
        let shape = Shape { page_bytes, leaf_bytes, batch_pages, ..tiny() };
        prop_assert_eq!(run(shape, &steps), Ok(()));
    }
}

/// A workload in which leaves split before some of what they held is erased.
fn splits_then_erasures() -> Vec<Step> {
    let put = |place: u16| Step {
        erase: false,
        changes: vec![(place, true)],
        range: None,
        reopen: false,
    };
    let erase = |place: u16| Step {
        erase: true,
        changes: vec![(place, false)],
        range: None,
        reopen: false,
    };
    let mut steps: Vec<Step> = (0..50u16).map(|i| put(i * 7 % 50)).collect();
    steps.extend((0..10u16).map(|i| erase(i * 5 + 3)));
    steps
}

#[test]
fn a_workload_of_splits_holds() {
    assert_eq!(run(tiny(), &splits_then_erasures()), Ok(()));
}

#[test]
fn the_test_notices_a_split_that_keeps_a_key() {
    let shape = Shape { sabotage: Sabotage::SplitKeepsKey, ..tiny() };
    assert!(run(shape, &splits_then_erasures()).unwrap_err().starts_with("read"));
}

#[test]
fn the_test_notices_an_erasure_that_keeps_a_leafs_key() {
    let shape = Shape { sabotage: Sabotage::EraseKeepsLeafKey, ..tiny() };
    assert!(run(shape, &splits_then_erasures()).unwrap_err().starts_with("read"));
}

#[test]
fn the_slot_holds_no_key_of_an_earlier_root() {
    let disk = Disk::default();
    let tree = disk.create(tiny()).unwrap();
    for i in 0..20u8 {
        tree.put(vec![set([i], format!("secret {i}"))]).unwrap();
        tree.erase(vec![unset([i])]).unwrap();
    }
    tree.put(vec![set(b"a", b"alive")]).unwrap();
    let seen = attack(tree.vault_id(), &disk.archive(), keys_in_slot(&disk));
    assert_eq!(seen, HashSet::from([b"alive".to_vec()]));
}

#[test]
fn no_place_or_value_stands_in_clear_in_the_store() {
    let disk = Disk::default();
    let tree = disk.create(tiny()).unwrap();
    tree.put((0..50).map(|i| set(format!("place-{i}"), format!("secret-{i}"))).collect()).unwrap();
    tree.erase(vec![unset("place-7")]).unwrap();
    for (_, stored) in disk.archive() {
        for word in [&b"place-"[..], b"secret-"] {
            assert!(!stored.windows(word.len()).any(|w| w == word));
        }
    }
}
