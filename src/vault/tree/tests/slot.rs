//! What a crash may leave of a slot that is wrapped, that changes its key-encryption key, or that has a
//! mirror.

use std::fs;

use super::{
    all,
    disk::{Crash, Disk},
    set, tiny, unset,
};
use crate::{
    crypto::Secret,
    vault::{
        OpenVaultError, SlotError,
        root::{KekSecret, Passphrase, RootSlot, SECTORS_APART, Slot, SlotChange},
        tests::long_runs,
        tree::Tree,
    },
};

fn key(fill: u8) -> KekSecret {
    KekSecret::Key(Secret::copy_of(&[fill; 32]))
}

fn passphrase(text: &str) -> KekSecret {
    KekSecret::Passphrase(Passphrase::new(text.to_owned()).unwrap())
}

fn slot(disk: &Disk, kek: &KekSecret) -> Box<Slot> {
    Box::new(Slot::over(disk.clone(), kek.clone()))
}

fn create(kek: &KekSecret) -> (Disk, Tree) {
    let disk = Disk::default();
    let tree = Tree::create(Box::new(disk.clone()), slot(&disk, kek), tiny()).unwrap();
    tree.put((0..20u8).map(|i| set([i], format!("value {i}"))).collect()).unwrap();
    (disk, tree)
}

fn open(disk: &Disk, kek: &KekSecret) -> Result<Tree, OpenVaultError> {
    Tree::open(Box::new(disk.clone()), slot(disk, kek), tiny())
}

fn refused(error: &OpenVaultError) -> bool {
    matches!(
        error,
        OpenVaultError::Slot(
            SlotError::WrongKek(_) | SlotError::KekMissing(_) | SlotError::KekNotNeeded
        )
    )
}

/// Whether the slot holds what these sectors held: the nonce and the wrapped key, or the key itself.
fn holds_any_of(disk: &Disk, earlier: &[Vec<u8>; 2]) -> bool {
    let wrapped: Vec<&[u8]> = earlier.iter().map(|sector| &sector[104..136]).collect();
    let now = disk.slot_bytes();
    now.iter().any(|sector| sector.windows(32).any(|window| wrapped.contains(&window)))
}

fn pairs() -> Vec<(KekSecret, KekSecret)> {
    vec![
        (KekSecret::None, key(1)),
        (key(1), key(2)),
        (key(1), key(1)),
        (key(1), KekSecret::None),
        (passphrase("owl"), passphrase("cuckoo")),
        (key(1), passphrase("owl")),
    ]
}

#[test]
fn a_slot_opens_with_its_key_encryption_key_alone() {
    let all_of_them = [KekSecret::None, key(1), key(2), passphrase("owl"), passphrase("cuckoo")];
    for (right, kek) in all_of_them.iter().enumerate() {
        let (disk, tree) = create(kek);
        drop(tree);
        let sectors = disk.sectors();
        for (other, wrong) in all_of_them.iter().enumerate() {
            if other == right {
                assert_eq!(all(&open(&disk, wrong).unwrap()).len(), 20);
                disk.set_sectors(sectors.clone());
                continue;
            }
            let error = open(&disk, wrong).unwrap_err();
            let as_it_is = match (right, other) {
                (0, _) => matches!(error, OpenVaultError::Slot(SlotError::KekNotNeeded)),
                (_, 0) => matches!(error, OpenVaultError::Slot(SlotError::KekMissing(_))),
                _ => matches!(error, OpenVaultError::Slot(SlotError::WrongKek(_))),
            };
            assert!(as_it_is, "{right} {other}: {error}");
            assert!(disk.sectors() == sectors, "a wrong key must change nothing");
        }
    }
}

#[test]
fn what_the_slot_says_in_clear_is_bound_to_the_wrapped_key() {
    use sha2::{Digest, Sha256};
    let kek = key(1);
    let (disk, tree) = create(&kek);
    drop(tree);
    let whole = disk.sectors();
    // Vault id, epoch, page id, salt, the number of the opening, the counter, the list of mirrors,
    // what is beyond it.
    for at in [20, 43, 59, 76, 91, 92, 103, 104, 151, 152, 167, 168, 188, 189, 3000] {
        let mut sectors = whole.clone();
        for sector in &mut sectors {
            sector[at] ^= 1;
            let body = sector.len() - 32;
            let sum = Sha256::digest(&sector[..body]);
            sector[body..].copy_from_slice(&sum);
        }
        disk.set_sectors(sectors);
        let error = open(&disk, &kek).unwrap_err();
        let expected = matches!(
            error,
            OpenVaultError::Slot(SlotError::WrongKek(_))
                | OpenVaultError::Slot(SlotError::Damaged(_))
        );
        assert!(expected, "byte {at}: {error}");
    }
}

#[test]
fn a_slot_that_asks_for_a_machines_memory_is_refused() {
    use sha2::{Digest, Sha256};
    let (disk, tree) = create(&passphrase("owl"));
    drop(tree);
    for (at, bytes) in [(64, u32::MAX), (68, 1 << 20), (72, 1 << 12), (64, 0), (68, 0), (72, 0)] {
        let mut sectors = disk.sectors();
        for sector in &mut sectors {
            sector[at..at + 4].copy_from_slice(&bytes.to_be_bytes());
            let sum = Sha256::digest(&sector[..4064]);
            sector[4064..].copy_from_slice(&sum);
        }
        let disk = Disk::default();
        disk.set_sectors(sectors);
        let error = Slot::over(disk, passphrase("owl")).read().unwrap_err();
        assert!(matches!(error, SlotError::Damaged(_)), "{error}");
    }
}

#[test]
fn a_change_of_kek_leaves_nothing_of_the_earlier_wrapping_and_the_tree_as_it_was() {
    for (from, to) in pairs() {
        let (disk, tree) = create(&from);
        tree.erase(vec![unset([7])]).unwrap();
        let (pages, sectors, epoch) = (disk.image(), disk.sectors(), tree.epoch().unwrap());
        tree.change_slot(SlotChange::Kek(to.clone())).unwrap();
        assert!(disk.image() == pages);
        assert!(!holds_any_of(&disk, &sectors), "{from:?}");
        assert_eq!(tree.epoch().unwrap(), epoch);
        // What comes after is wrapped by the new one.
        tree.erase(vec![unset([8])]).unwrap();
        drop(tree);
        assert_eq!(all(&open(&disk, &to).unwrap()).len(), 18);
    }
    let (disk, tree) = create(&key(1));
    tree.change_slot(SlotChange::Kek(key(2))).unwrap();
    drop(tree);
    assert!(matches!(open(&disk, &key(1)), Err(OpenVaultError::Slot(SlotError::WrongKek(_)))));
}

/// After each crash, and a second one while opening with either key, one of them opens, with
/// everything; and once opened, the other does not any more.
#[test]
fn every_crash_of_a_change_of_kek_leaves_a_slot_that_opens_with_one_of_them() {
    // One way in three, unless more is asked for.
    let sample = if long_runs("OUBLIETTE_CRASH_ROUNDS", 1) > 1 { 1 } else { 3 };
    for (from, to) in pairs() {
        for step in 1.. {
            assert!(step < 40, "it never succeeds");
            let mut changed = false;
            for (first, second) in crashes() {
                let ways = (0..6).flat_map(|again| (0..5).map(move |luck| (again, luck)));
                for (again, luck) in
                    ways.filter(|(again, luck)| (again + luck + step) % sample == 0)
                {
                    let (disk, tree) = create(&from);
                    disk.crash_after(step, luck);
                    changed = tree.change_slot(SlotChange::Kek(to.clone())).is_ok();
                    drop(tree);
                    disk.restart(first);
                    // Somebody opens it, with the one or the other, and that crashes, too.
                    let kek = if (luck + again) % 2 == 0 { &from } else { &to };
                    disk.crash_after(again, luck * 2 + step);
                    drop(open(&disk, kek));
                    disk.restart(second);
                    let opened = open_either(&disk, &from, &to);
                    if changed && again == 0 {
                        assert!(opened, "step {step}: what was changed is taken back");
                    }
                }
            }
            if changed {
                assert!(step > 4, "only {step} steps: a sector was skipped");
                break;
            }
        }
    }
}

fn crashes() -> impl Iterator<Item = (Crash, Crash)> {
    let both = [Crash::Process, Crash::Power];
    both.into_iter().flat_map(move |first| both.map(|second| (first, second)))
}

/// Whether it opened with the new one.
fn open_either(disk: &Disk, from: &KekSecret, to: &KekSecret) -> bool {
    let (opened, kek, other) = match open(disk, to) {
        Ok(tree) => (tree, to, from),
        Err(error) => {
            assert!(refused(&error), "{error}");
            (open(disk, from).unwrap(), from, to)
        }
    };
    assert_eq!(all(&opened).len(), 20);
    opened.erase(vec![unset([7])]).unwrap();
    drop(opened);
    if let Err(error) = open(disk, other) {
        assert!(refused(&error), "{error}");
    } else {
        // The same key twice.
        assert!(matches!((from, to), (KekSecret::Key(a), KekSecret::Key(b)) if a == b));
    }
    assert_eq!(all(&open(disk, kek).unwrap()).len(), 19);
    std::ptr::eq(kek, to)
}

#[test]
fn every_crash_of_an_erasure_leaves_a_wrapped_slot_that_opens() {
    let kek = key(1);
    for step in 1.. {
        assert!(step < 40, "it never succeeds");
        let mut done = false;
        for (first, second) in crashes() {
            for again in 0..8 {
                for luck in 0..5 {
                    let (disk, tree) = create(&kek);
                    disk.crash_after(step, luck);
                    done = tree.erase(vec![unset([7])]).is_ok();
                    drop(tree);
                    disk.restart(first);
                    disk.crash_after(again, luck * 2 + step);
                    let seen = open(&disk, &kek).map(|tree| all(&tree).len());
                    disk.restart(second);
                    let now = all(&open(&disk, &kek).unwrap()).len();
                    assert!(now == 19 || now == 20);
                    if let Ok(seen) = seen {
                        assert_eq!(seen, now, "what was seen is taken back");
                    }
                    assert!(now == 19 || !done || again > 0, "an erasure is taken back");
                }
            }
        }
        if done {
            break;
        }
    }
}

/// The slot may say of a mirror that it holds the present root only where it does.
#[test]
fn whatever_crashes_a_mirror_that_is_behind_is_known_to_be() {
    let temp = tempfile::tempdir().unwrap();
    let (mirror, away) = (temp.path().join("mirror"), temp.path().join("away"));
    let slot = |disk: &Disk| {
        Box::new(
            Slot::over(disk.clone(), KekSecret::None).with_mirrors(std::slice::from_ref(&mirror)),
        )
    };
    let epoch_in = |file: &std::path::Path| {
        let bytes = fs::read(file).unwrap();
        [0, SECTORS_APART].map(|at| u64::from_be_bytes(bytes[at + 36..at + 44].try_into().unwrap()))
    };
    let (mut behind, mut done) = (0, false);
    for step in 1.. {
        assert!(step < 40, "it never succeeds");
        for crash in [Crash::Process, Crash::Power] {
            for luck in 0..5 {
                let _ = fs::remove_file(&mirror);
                let disk = Disk::default();
                let tree = Tree::create(Box::new(disk.clone()), slot(&disk), tiny()).unwrap();
                tree.put(vec![set(b"a", b"secret")]).unwrap();
                disk.crash_after(step, luck);
                done = tree.erase(vec![unset(b"a")]).is_ok();
                drop(tree);
                disk.restart(crash);
                // The device is not there.
                fs::rename(&mirror, &away).unwrap();
                let tree = Tree::open(Box::new(disk.clone()), slot(&disk), tiny()).unwrap();
                let state = tree.slot().unwrap();
                let [known] = &state.mirrors[..] else { panic!("the mirror is not known") };
                let held = epoch_in(&away);
                assert!(known.stale || held == [state.epoch; 2], "step {step}: {held:?}");
                assert!(!mirror.exists(), "a mirror whose device is away is not made anew");
                behind += u32::from(held != [state.epoch; 2]);
                // It comes back.
                fs::rename(&away, &mirror).unwrap();
                tree.change_slot(SlotChange::Retry).unwrap();
                assert!(!tree.slot().unwrap().mirrors[0].stale);
                assert_eq!(epoch_in(&mirror), [tree.epoch().unwrap(); 2]);
            }
        }
        if done {
            break;
        }
    }
    assert!(behind > 0, "no crash left a mirror behind: the test does not look where it should");
}
