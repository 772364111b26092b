//! The tree does what a plain ordered map does.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{super::Erasure, all, disk::Disk, range, set, tiny, unset, value};
use crate::vault::VaultError;

#[derive(Debug, Clone)]
enum Op {
    Put(Vec<(Vec<u8>, Option<Vec<u8>>)>),
    Erase(Vec<(Vec<u8>, Option<Vec<u8>>)>),
    EraseRange(Vec<(Vec<u8>, Vec<u8>)>, Vec<(Vec<u8>, Option<Vec<u8>>)>),
    Rotate,
    Reopen,
}

/// Few letters, so that places collide, nest, and stand in few ranges.
fn place() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => proptest::collection::vec(0u8..6, 0..4),
        1 => proptest::collection::vec(any::<u8>(), 0..=64),
    ]
}

fn bytes() -> impl Strategy<Value = Option<Vec<u8>>> {
    prop_oneof![
        6 => proptest::collection::vec(any::<u8>(), 0..40).prop_map(Some),
        1 => proptest::collection::vec(any::<u8>(), 150..600).prop_map(Some),
        3 => Just(None),
    ]
}

fn changes() -> impl Strategy<Value = Vec<(Vec<u8>, Option<Vec<u8>>)>> {
    proptest::collection::vec((place(), bytes()), 0..12)
}

fn op() -> impl Strategy<Value = Op> {
    let ranges = || proptest::collection::vec((place(), place()), 0..3);
    prop_oneof![
        6 => changes().prop_map(Op::Put),
        2 => changes().prop_map(Op::Erase),
        2 => (ranges(), changes()).prop_map(|(r, c)| Op::EraseRange(r, c)),
        1 => Just(Op::Rotate),
        1 => Just(Op::Reopen),
    ]
}

fn given(changes: &[(Vec<u8>, Option<Vec<u8>>)]) -> Vec<super::Change> {
    changes.iter().map(|(p, v)| (p.clone(), v.as_deref().map(value))).collect()
}

fn note(model: &mut BTreeMap<Vec<u8>, Vec<u8>>, changes: &[(Vec<u8>, Option<Vec<u8>>)]) {
    for (place, value) in changes {
        match value {
            Some(value) => model.insert(place.clone(), value.clone()),
            None => model.remove(place),
        };
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    #[test]
    fn agrees_with_an_ordered_map(ops in proptest::collection::vec(op(), 1..40)) {
        let disk = Disk::default();
        let mut tree = disk.create(tiny()).unwrap();
        let mut model = BTreeMap::new();
        for op in ops {
            match &op {
                Op::Put(changes) => {
                    tree.put(given(changes)).unwrap();
                    note(&mut model, changes);
                }
                Op::Erase(changes) => {
                    tree.erase(given(changes)).unwrap();
                    note(&mut model, changes);
                }
                Op::EraseRange(ranges, changes) => {
                    let remove_ranges = ranges.clone();
                    tree.erase_all(Erasure { remove_ranges, changes: given(changes) }).unwrap();
                    for (from, to) in ranges {
                        model.retain(|place, _| !(from <= place && place < to));
                    }
                    note(&mut model, changes);
                }
                Op::Rotate => tree.rotate_root().unwrap(),
                Op::Reopen => {
                    let (id, identity, epoch) =
                        (tree.vault_id(), tree.identity().clone(), tree.epoch().unwrap());
                    drop(tree);
                    tree = disk.open(tiny()).unwrap();
                    prop_assert_eq!(tree.vault_id(), id);
                    prop_assert!(*tree.identity() == identity);
                    prop_assert_eq!(tree.epoch().unwrap(), epoch);
                }
            }
            let expected: Vec<_> = model.iter().map(|(p, v)| (p.clone(), v.clone())).collect();
            prop_assert_eq!(all(&tree), expected, "after {:?}", op);
        }
        for (place, value) in &model {
            let found = tree.get(place).unwrap();
            prop_assert_eq!(found.as_deref(), Some(value));
        }
        prop_assert!(tree.get(b"nowhere").unwrap().is_none());
        // Every page in the store belongs to the tree.
        let reached = super::forensic::reachable(&disk).len();
        let stored = disk.image().keys().filter(|name| name.len() == 16).count();
        prop_assert_eq!(reached, stored);
        super::verify::assert_whole(&tree);
    }
}

#[test]
fn ranges_stop_at_their_end_and_their_limit() {
    let tree = Disk::default().create(tiny()).unwrap();
    tree.put((0..100u8).map(|i| set([i], [i; 20])).collect()).unwrap();
    let places = |from: u8, to: u8, limit| -> Vec<u8> {
        tree.range(&[from], &[to], limit).unwrap().into_iter().map(|(p, _)| p[0]).collect()
    };
    assert_eq!(places(10, 13, 100), [10, 11, 12]);
    assert_eq!(places(10, 90, 3), [10, 11, 12]);
    assert_eq!(places(98, 255, 100), [98, 99]);
    assert!(places(13, 10, 100).is_empty());
    assert!(places(0, 255, 0).is_empty());
}

#[test]
fn what_is_too_large_is_refused_and_changes_nothing() {
    let tree = Disk::default().create(tiny()).unwrap();
    let most = vec![7; super::super::page::MAX_VALUE_BYTES];
    tree.put(vec![set(b"most", &most), set([9; 64], b"longest place")]).unwrap();
    assert_eq!(tree.get(b"most").unwrap().unwrap().len(), most.len());

    let over = tree.put(vec![set(b"a", b"a"), set(b"over", vec![7; most.len() + 1])]);
    assert!(matches!(over, Err(VaultError::TooLarge { bytes: 16_385, most: 16_384 })));
    let over = tree.erase(vec![set(b"a", b"a"), unset([0; 65])]);
    assert!(matches!(over, Err(VaultError::TooLarge { bytes: 65, most: 64 })));
    assert!(tree.get(b"a").unwrap().is_none());
}

#[test]
fn a_dropped_range_reads_only_its_ends() {
    // A leaf within the range is damaged: forgetting must not need it.
    let disk = Disk::default();
    let tree = disk.create(tiny()).unwrap();
    tree.put((0..200u8).map(|i| set([i], [i; 20])).collect()).unwrap();
    let erasure = Erasure { remove_ranges: vec![range([20], [180])], changes: Vec::new() };
    drop(tree);
    let mut image = disk.image();
    let leaf = super::forensic::leaf_of(&disk, &[100]);
    image.get_mut(leaf.as_slice()).unwrap()[40] ^= 1;
    disk.set_image(image);
    let tree = disk.open(tiny()).unwrap();
    assert!(matches!(tree.get(&[100]), Err(VaultError::Damaged(_))));
    tree.erase_all(erasure).unwrap();
    let left: Vec<u8> = all(&tree).into_iter().map(|(place, _)| place[0]).collect();
    assert_eq!(left, (0..20).chain(180..200).collect::<Vec<u8>>());
}

#[test]
fn a_put_that_is_too_much_for_one_batch_is_whole() {
    let disk = Disk::default();
    let tree = disk.create(tiny()).unwrap();
    let many = |fill: u8| (0..5000u32).map(|i| set(i.to_be_bytes(), [fill; 30])).collect();
    tree.put(many(1)).unwrap();
    tree.put(many(2)).unwrap();
    assert_eq!(all(&tree).len(), 5000);
    assert!(all(&tree).iter().all(|(_, value)| *value == [2; 30]));
}
