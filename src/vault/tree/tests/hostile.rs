//! Old copies, flipped bits, and what was cut off.

use super::{all, disk::Disk, forensic, set, tiny, unset};
use crate::vault::{VaultError, tree::Tree};

fn filled() -> (Disk, Tree) {
    let disk = Disk::default();
    let tree = disk.create(tiny()).unwrap();
    tree.put((0..60u8).map(|i| set([i], format!("value {i}"))).collect()).unwrap();
    (disk, tree)
}

#[test]
fn an_older_copy_of_the_pages_does_not_open_under_todays_root() {
    let (disk, tree) = filled();
    let copy = disk.image();
    tree.erase(vec![unset([7])]).unwrap();
    drop(tree);
    disk.set_image(copy);
    assert!(matches!(disk.open(tiny()), Err(VaultError::RolledBack { epoch: 1 })));
    assert!(!forensic::readable(&disk).contains(&b"value 7"[..]));
}

#[test]
fn an_older_copy_beside_todays_pages_changes_nothing() {
    // Whoever can write to the store puts all old pages back, without touching the new ones.
    let (disk, tree) = filled();
    let copy = disk.image();
    tree.erase(vec![unset([7])]).unwrap();
    drop(tree);
    let mut both = copy;
    both.extend(disk.image());
    disk.set_image(both);
    let tree = disk.open(tiny()).unwrap();
    assert!(tree.get(&[7]).unwrap().is_none());
    assert_eq!(all(&tree).len(), 59);
}

#[test]
fn an_older_slot_is_told_from_an_older_tree() {
    let (disk, tree) = filled();
    let sectors = disk.sectors();
    tree.erase(vec![unset([7])]).unwrap();
    tree.erase(vec![unset([8])]).unwrap();
    drop(tree);
    disk.set_sectors(sectors);
    let opened = disk.open(tiny());
    assert!(matches!(opened, Err(VaultError::SlotOutdated { slot: 0, vault: 2 })));
}

#[test]
fn a_slot_with_one_bad_sector_is_mended_and_with_two_is_refused() {
    for index in 0..2 {
        for at in [0, 17, 30, 60, 90, 2000, 4090] {
            let (disk, tree) = filled();
            drop(tree);
            let whole = disk.sectors();
            let mut sectors = whole.clone();
            sectors[index][at] ^= 0x40;
            disk.set_sectors(sectors.clone());
            assert_eq!(all(&disk.open(tiny()).unwrap()).len(), 60);
            assert!(disk.sectors() == whole, "not mended");

            sectors[1 - index].truncate(at);
            disk.set_sectors(sectors);
            assert!(matches!(disk.open(tiny()), Err(VaultError::SlotDamaged(_))));
        }
    }
}

#[test]
fn a_slot_of_another_vault_opens_nothing() {
    let (disk, tree) = filled();
    drop(tree);
    let (other, tree) = filled();
    drop(tree);
    disk.set_sectors(other.sectors());
    assert!(matches!(disk.open(tiny()), Err(VaultError::Damaged(_))));
    let mut mixed = disk.sectors();
    mixed[0] = filled().0.sectors()[0].clone();
    disk.set_sectors(mixed);
    assert!(matches!(disk.open(tiny()), Err(VaultError::SlotDamaged(_))));
}

#[test]
fn damage_to_one_page_is_contained() {
    let (disk, tree) = filled();
    drop(tree);
    let whole = disk.image();
    let leaf = forensic::leaf_of(&disk, &[30]);
    let beside: Vec<u8> =
        (0..60).filter(|place| forensic::leaf_of(&disk, &[*place]) != leaf).collect();
    assert!(beside.len() > 50);
    let stored = &whole[&leaf];
    let mut broken: Vec<Vec<u8>> = (0..stored.len())
        .map(|at| {
            let mut bytes = stored.clone();
            bytes[at] ^= 1 << (at % 8);
            bytes
        })
        .collect();
    broken.extend((0..stored.len()).map(|length| stored[..length].to_vec()));
    broken.push([stored.as_slice(), &[0]].concat());
    for bytes in broken {
        let mut image = whole.clone();
        image.insert(leaf.clone(), bytes);
        disk.set_image(image);
        let tree = disk.open(tiny()).unwrap();
        let found = tree.get(&[30]);
        assert!(
            matches!(found, Err(VaultError::Damaged(_) | VaultError::NewerFormat { .. })),
            "{found:?}"
        );
        for place in &beside {
            assert!(tree.get(&[*place]).unwrap().is_some());
        }
    }
}

#[test]
fn pages_swapped_for_one_another_do_not_open() {
    let (disk, tree) = filled();
    drop(tree);
    let mut image = disk.image();
    let (a, b) = (forensic::leaf_of(&disk, &[0]), forensic::leaf_of(&disk, &[59]));
    let (first, second) = (image[&a].clone(), image[&b].clone());
    image.insert(a, second);
    image.insert(b, first);
    disk.set_image(image);
    let tree = disk.open(tiny()).unwrap();
    assert!(matches!(tree.get(&[0]), Err(VaultError::Damaged(_))));
    assert!(matches!(tree.get(&[59]), Err(VaultError::Damaged(_))));
}

#[test]
fn a_bad_root_page_is_an_error() {
    let (disk, tree) = filled();
    drop(tree);
    let whole = disk.image();
    for name in whole.keys().filter(|name| name.len() == 16) {
        let mut image = whole.clone();
        image.remove(name);
        disk.set_image(image);
        // Either it is the root, or the rest opens.
        match disk.open(tiny()) {
            Ok(_) | Err(VaultError::Damaged(_)) => {}
            Err(other) => panic!("{other}"),
        }
    }
}
