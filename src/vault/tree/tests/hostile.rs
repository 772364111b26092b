//! Old copies, flipped bits, and what was cut off.

use proptest::prelude::*;
use uuid::Uuid;

use super::{
    super::{
        marker::{EPOCH, Marker, OPENINGS, RETIRE},
        openings::{Openings, Whereabouts},
        page::{Child, Entry, Items, Page, RootHead},
        retire::RetireList,
    },
    all,
    disk::{Crash, Disk, Image},
    forensic, set, tiny, unset,
};
use crate::{
    crypto::{Cipher, Label, Secret},
    event::VaultId,
    vault::{
        OpenVaultError, SlotError, VaultError,
        root::{OpeningNumber, RootSlot, SECTOR_BYTES},
        tree::Tree,
    },
};

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
    assert!(matches!(disk.open(tiny()), Err(OpenVaultError::RolledBack { epoch: 1 })));
    assert!(!forensic::readable(&disk).contains(&b"value 7"[..]));
}

#[test]
fn an_older_copy_beside_todays_pages_changes_nothing() {
    // Somebody who can write to the store puts all old pages back, without touching the new ones.
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
    assert!(matches!(opened, Err(OpenVaultError::SlotOutdated { slot: 0, vault: 2 })));
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
            let [first, second] = disk.sectors();
            assert!(first == second && first[..152] == whole[0][..152], "not mended");

            sectors[1 - index].truncate(at);
            disk.set_sectors(sectors);
            assert!(matches!(
                disk.open(tiny()),
                Err(OpenVaultError::Slot(SlotError::Damaged(_))
                    | OpenVaultError::Slot(SlotError::NotASlot(_)))
            ));
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
    assert!(matches!(disk.open(tiny()), Err(OpenVaultError::Vault(VaultError::Damaged(_)))));
    let mut mixed = disk.sectors();
    mixed[0] = filled().0.sectors()[0].clone();
    disk.set_sectors(mixed);
    assert!(matches!(
        disk.open(tiny()),
        Err(OpenVaultError::Slot(SlotError::Damaged(_))
            | OpenVaultError::Slot(SlotError::NotASlot(_)))
    ));
}

#[test]
fn damage_to_one_page_is_contained() {
    let (disk, tree) = filled();
    drop(tree);
    let whole = disk.image();
    let leaf = forensic::leaf_of(&disk, &[30]);
    let beside: Vec<u8> =
        (0..60).filter(|place| forensic::leaf_of(&disk, &[*place]) != leaf).collect();
    assert!(beside.len() > 40);
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
    let sectors = disk.sectors();
    for bytes in broken {
        disk.set_sectors(sectors.clone());
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
fn no_bit_and_no_byte_of_a_page_can_change_unnoticed() {
    let (vault, id, key) = (VaultId(Uuid::from_u128(1)), [7; 16], Secret::copy_of(&[9; 32]));
    let (other_key, identity) = (Secret::copy_of(&[8; 32]), Secret::copy_of(&[5; 32]));
    let child = |low: &[u8], n| Child { low: low.to_vec(), id: [n; 16], key: other_key.clone() };
    for (root, leaf) in [(false, true), (false, false), (true, true), (true, false)] {
        let items = match leaf {
            true => Items::Leaf(vec![
                Entry { place: b"a", value: b"one" },
                Entry { place: b"b", value: b"two" },
            ]),
            false => Items::Inner { level: 1, children: vec![child(b"", 1), child(b"m", 2)] },
        };
        let head = root.then(|| RootHead { epoch: 3, identity: identity.clone() });
        let stored = Page::new(4, head, &items).seal(vault, &id, &key).unwrap();
        let open = |bytes: &[u8]| Page::open(vault, &id, &key, root, bytes).map(drop);
        open(&stored).unwrap();
        let is_damaged = |read: Result<(), VaultError>| matches!(read, Err(VaultError::Damaged(told)) if told.contains("page 0707"));
        for bit in 0..stored.len() * 8 {
            let mut bytes = stored.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            // The first byte is the format.
            let newer = bit < 8 && bytes[0] > 1;
            match open(&bytes) {
                Err(VaultError::NewerFormat { found, known: 1, .. }) if newer => {
                    assert_eq!(found, u32::from(bytes[0]));
                }
                read => assert!(!newer && is_damaged(read), "root {root}, leaf {leaf}: bit {bit}"),
            }
        }
        for length in 0..stored.len() {
            assert!(is_damaged(open(&stored[..length])), "cut to {length}");
        }
        assert!(is_damaged(open(&[stored.as_slice(), &[0]].concat())));
        // Another vault's, another page's, under another key, and one that is no root page or is one.
        let elsewhere = VaultId(Uuid::from_u128(2));
        for read in [
            Page::open(elsewhere, &id, &key, root, &stored),
            Page::open(vault, &[7; 16].map(|byte| byte + 1), &key, root, &stored),
            Page::open(vault, &id, &other_key, root, &stored),
            Page::open(vault, &id, &key, !root, &stored),
        ] {
            assert!(matches!(read.map(drop), Err(VaultError::Damaged(_))));
        }
    }
}

/// What does not open says nothing, and each kind of note is one of its own.
#[test]
fn no_bit_and_no_byte_of_a_small_note_can_change_unnoticed() {
    let (vault, identity) = (VaultId(Uuid::from_u128(1)), Secret::copy_of(&[5; 32]));
    let number = OpeningNumber::first().unwrap();
    let openings = Openings { numbers: [number; 2], at: Whereabouts::default() };
    let retire = RetireList { epoch: 3, added: vec![[1; 16]], replaced: vec![[2; 16], [3; 16]] };
    type Opens = fn(VaultId, &Secret, &[u8]) -> bool;
    let opens_openings: Opens =
        |vault, identity, bytes| matches!(Openings::open(vault, identity, bytes), Ok(Some(_)));
    let opens_retire: Opens =
        |vault, identity, bytes| RetireList::open(vault, identity, bytes).is_ok();
    let sealed = [
        (openings.seal(vault, &identity).unwrap(), opens_openings, opens_retire),
        (retire.seal(vault, &identity).unwrap(), opens_retire, opens_openings),
    ];
    for (stored, opens, other) in sealed {
        assert!(opens(vault, &identity, &stored));
        assert!(!other(vault, &identity, &stored));
        assert!(!opens(VaultId(Uuid::from_u128(2)), &identity, &stored), "another vault's");
        assert!(!opens(vault, &Secret::default(), &stored), "another vault's");
        for bit in 0..stored.len() * 8 {
            let mut bytes = stored.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(!opens(vault, &identity, &bytes), "bit {bit}");
        }
        for length in 0..stored.len() {
            assert!(!opens(vault, &identity, &stored[..length]), "cut to {length}");
        }
        assert!(!opens(vault, &identity, &[stored.as_slice(), &[0]].concat()));
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
    let (whole, sectors) = (disk.image(), disk.sectors());
    let root = disk.slot().read().unwrap().page;
    assert!(whole.contains_key(&root[..]));
    for name in whole.keys().filter(|name| name.len() == 16) {
        let mut image = whole.clone();
        image.remove(name);
        disk.set_image(image);
        disk.set_sectors(sectors.clone());
        let is_root = name[..] == root;
        match disk.open(tiny()) {
            Err(OpenVaultError::Vault(VaultError::Damaged(_))) if is_root => {}
            Ok(_) if !is_root => {}
            other => panic!("the root: {is_root}; {:?}", other.map(drop)),
        }
    }
}

/// It is not sealed: whoever writes to the folder can change it.
#[test]
fn the_epoch_beside_the_pages_only_words_an_error() {
    let (disk, tree) = filled();
    let before = disk.image();
    tree.erase(vec![unset([7])]).unwrap();
    drop(tree);
    let (whole, sectors) = (disk.image(), disk.sectors());
    let stored = whole[EPOCH].clone();
    assert_eq!(stored, 1u64.to_be_bytes());
    let flipped = (0..stored.len() * 8).map(|bit| {
        let mut bytes = stored.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        Some(bytes)
    });
    let cut = (0..stored.len()).map(|length| Some(stored[..length].to_vec()));
    let longer = [Some([stored.as_slice(), &[0]].concat()), None];
    for changed in flipped.chain(cut).chain(longer) {
        let opened = |mut image: Image| {
            match &changed {
                Some(bytes) => image.insert(EPOCH.to_vec(), bytes.clone()),
                None => image.remove(EPOCH),
            };
            disk.set_image(image);
            disk.set_sectors(sectors.clone());
            disk.open(tiny())
        };
        assert_eq!(all(&opened(whole.clone()).unwrap()).len(), 59, "{changed:?}");
        let old = opened(before.clone()).map(drop);
        assert!(
            matches!(
                old,
                Err(OpenVaultError::RolledBack { .. }
                    | OpenVaultError::SlotOutdated { .. }
                    | OpenVaultError::Vault(VaultError::Damaged(_)))
            ),
            "{changed:?}: {old:?}"
        );
    }
}

#[test]
fn a_damaged_retire_list_keeps_nobody_out() {
    let (disk, tree) = filled();
    // The flush of the slot's first sector fails.
    disk.crash_after(4, 0);
    assert!(tree.erase(vec![unset([7])]).is_err());
    drop(tree);
    disk.restart(Crash::Process);
    let mut image = disk.image();
    image.get_mut(RETIRE).unwrap()[20] ^= 1;
    disk.set_image(image);
    let tree = disk.open(tiny()).unwrap();
    assert!(all(&tree).len() >= 59);
    // The next erasure writes a list of its own.
    tree.erase(vec![unset([7])]).unwrap();
    assert!(!disk.image().contains_key(RETIRE));
}

proptest! {
    #[test]
    fn no_bytes_make_a_page_panic(
        plain in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..200),
            proptest::collection::vec(0u8..4, 0..200),
        ],
        kind in 0u8..6,
    ) {
        // Sealed under the right key: what a page would hold that a faulty program wrote.
        let (vault, id, key) = (VaultId(Uuid::nil()), [7; 16], Secret::copy_of(&[9; 32]));
        let mut associated = b"oubliette page".to_vec();
        associated.extend_from_slice(&[1, kind]);
        associated.extend_from_slice(vault.0.as_bytes());
        associated.extend_from_slice(&id);
        associated.extend_from_slice(&5u64.to_be_bytes());
        let mut stored = vec![1, kind, 0, 0, 0, 0, 0, 0, 0, 5];
        stored.extend_from_slice(&[0; 12]);
        stored.extend_from_slice(&plain);
        Cipher::new(&key).seal_in_place(&associated, &mut stored, 10).unwrap();
        for root in [true, false] {
            let Ok(page) = Page::open(vault, &id, &key, root, &stored) else { continue };
            page.find(&plain[..plain.len().min(3)]);
            match page.items() {
                Items::Leaf(entries) => prop_assert_eq!(entries.len(), page.len()),
                Items::Inner { children, .. } => {
                    prop_assert!(page.child_of(b"x") < children.len());
                }
            }
            // What opens is sealed to the same again.
            let again = page.seal(vault, &id, &key).unwrap();
            prop_assert_eq!(again.len(), stored.len());
        }
    }

    #[test]
    fn no_bytes_make_a_slot_or_a_retire_list_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        length in 0usize..=SECTOR_BYTES,
    ) {
        let disk = Disk::default();
        let mut long = bytes.clone();
        long.resize(length, 0);
        disk.set_sectors([bytes.clone(), long]);
        prop_assert!(matches!(disk.slot().read(), Err(SlotError::Damaged(_) | SlotError::NotASlot(_))));
        let list = RetireList::open(VaultId(Uuid::nil()), &Secret::default(), &bytes);
        prop_assert!(list.is_err());
    }
}

#[test]
fn a_sector_of_a_newer_format_is_named_as_such() {
    use sha2::{Digest, Sha256};
    let (disk, tree) = filled();
    drop(tree);
    let whole = disk.sectors();
    // Whatever is in the other sector.
    for at in 0..2 {
        let opened = |format| {
            let mut sectors = whole.clone();
            sectors[at][19] = format;
            let sum = Sha256::digest(&sectors[at][..SECTOR_BYTES - 32]);
            sectors[at][SECTOR_BYTES - 32..].copy_from_slice(&sum);
            disk.set_sectors(sectors);
            disk.open(tiny()).map(drop)
        };
        let newer = opened(5);
        assert!(matches!(
            newer,
            Err(OpenVaultError::Vault(VaultError::NewerFormat { found: 5, known: 4, .. }))
        ));
        let older = opened(3);
        assert!(
            matches!(older, Err(OpenVaultError::Slot(SlotError::Damaged(told))) if told.contains("format 3"))
        );
    }
}

/// To go on without it would be to write over what a newer program keeps there.
#[test]
fn a_small_note_of_a_later_format_keeps_the_vault_closed() {
    for (name, purpose) in [(RETIRE, Label::RETIRE_LIST), (OPENINGS, Label::OPENINGS)] {
        let (disk, tree) = filled();
        let (vault, identity) = (tree.vault_id(), tree.identity().clone());
        drop(tree);
        let whole = disk.image();
        let note = |format| Marker { purpose, what: "the note", format };
        let newer = note(2).seal(vault, &identity, b"new").unwrap();
        let mut image = whole.clone();
        image.insert(name.to_vec(), newer.clone());
        disk.set_image(image);
        let refused = disk.open(tiny()).unwrap_err();
        assert!(
            matches!(
                refused,
                OpenVaultError::Vault(VaultError::NewerFormat { found: 2, known: 1, .. })
            ),
            "{refused}"
        );

        // No changed byte makes a note a newer one, and none is read for another.
        let known = note(1).seal(vault, &identity, b"known").unwrap();
        let open = |bytes: &[u8]| note(1).open(vault, &identity, bytes).unwrap();
        assert_eq!(open(&known).unwrap().as_slice(), b"known");
        for stored in [&known, &newer] {
            for bit in 0..stored.len() * 8 {
                let mut flipped = stored.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert!(open(&flipped).is_none(), "bit {bit}");
            }
            for at in 0..stored.len() {
                assert!(open(&[&stored[..at], &stored[at + 1..]].concat()).is_none(), "byte {at}");
                assert!(open(&stored[..at]).is_none(), "{at} bytes");
            }
        }
        assert!(note(1).open(VaultId(Uuid::new_v4()), &identity, &newer).unwrap().is_none());
    }
}
