//! A tree that was made as a whole is the tree that was put together value by value.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{
    super::{Erasure, Seed, openings::Whereabouts},
    all, range, set, tiny, value,
};
use crate::{
    crypto::random_secret,
    event::VaultId,
    vault::{
        VaultError,
        pages::MemoryPages,
        root::MemorySlot,
        tree::{Shape, Tree},
    },
};

type Values = BTreeMap<Vec<u8>, Vec<u8>>;

fn load(values: &Values, shape: Shape) -> Tree {
    let seed =
        Seed { vault: VaultId(uuid::Uuid::new_v4()), identity: random_secret().unwrap(), epoch: 7 };
    let values = values.iter().map(|(p, v)| Ok::<_, VaultError>((p.clone(), value(v))));
    let slot = || Ok(Box::new(MemorySlot::default()) as _);
    Tree::load(Box::new(MemoryPages::default()), slot, shape, seed, Whereabouts::default(), values)
        .unwrap()
}

fn place() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => proptest::collection::vec(0u8..6, 0..4),
        1 => proptest::collection::vec(any::<u8>(), 0..=64),
    ]
}

fn values() -> impl Strategy<Value = Values> {
    let bytes = prop_oneof![
        8 => proptest::collection::vec(any::<u8>(), 0..40),
        1 => proptest::collection::vec(any::<u8>(), 150..600),
    ];
    proptest::collection::btree_map(place(), bytes, 0..300)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_loaded_is_there_and_goes_on_as_any_tree(
        mut values in values(),
        new in proptest::collection::vec((place(), any::<u8>()), 0..20),
        gone in (place(), place()),
    ) {
        let tree = load(&values, tiny());
        prop_assert_eq!(tree.epoch().unwrap(), 7);
        prop_assert_eq!(all(&tree), values.clone().into_iter().collect::<Vec<_>>());
        for (place, _) in values.iter().take(20) {
            prop_assert!(tree.get(place).unwrap().is_some());
        }
        for (place, byte) in &new {
            tree.put(vec![set(place, [*byte])]).unwrap();
            values.insert(place.clone(), vec![*byte]);
        }
        let erasure = Erasure { remove_ranges: vec![range(&gone.0, &gone.1)], changes: vec![] };
        tree.erase_all(erasure).unwrap();
        values.retain(|place, _| !(gone.0 <= *place && *place < gone.1));
        prop_assert_eq!(all(&tree), values.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn pages_of_the_usual_size_are_loaded_about_three_quarters_full() {
    let values: Values = (0..5_000_u32).map(|n| (n.to_be_bytes().to_vec(), vec![7; 100])).collect();
    let tree = load(&values, Shape::default());
    assert_eq!(all(&tree), values.into_iter().collect::<Vec<_>>());
}
