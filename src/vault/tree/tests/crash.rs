//! Every point at which a crash can come, and what may be there afterwards.

// They say how many states there were.
#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;

use super::{
    super::{
        Erasure, Shape, Tree,
        marker::{OPENINGS, RETIRE},
        openings::{Openings, Whereabouts},
    },
    all,
    disk::{Crash, Disk},
    forensic, range, set, tiny, unset, value,
};
use crate::vault::{
    OpenVaultError, SlotError, VaultError,
    root::{RootSlot, SECTOR_BYTES},
    tests::{Chance, long_runs},
};

/// An operation of a small workload.
#[derive(Debug, Clone)]
enum Op {
    Put(Vec<(u8, Option<u64>)>),
    Erase(Vec<(u8, Option<u64>)>),
    EraseRange(u8, u8, Vec<(u8, Option<u64>)>),
    Rotate,
}

type Model = BTreeMap<u8, u64>;

fn bytes(serial: u64) -> Vec<u8> {
    format!("value number {serial:08}").into_bytes()
}

impl Op {
    fn run(&self, tree: &Tree) -> Result<(), VaultError> {
        let given = |changes: &[(u8, Option<u64>)]| {
            changes.iter().map(|(p, v)| (vec![*p], v.map(|v| value(&bytes(v))))).collect()
        };
        match self {
            Self::Put(changes) => tree.put(given(changes)),
            Self::Erase(changes) => tree.erase(given(changes)),
            Self::EraseRange(from, to, changes) => tree.erase_all(Erasure {
                remove_ranges: vec![range([*from], [*to])],
                changes: given(changes),
            }),
            Self::Rotate => tree.rotate_root(),
        }
    }

    fn model(&self, before: &Model) -> Model {
        let mut after = before.clone();
        let changes = match self {
            Self::Put(changes) | Self::Erase(changes) => changes,
            Self::EraseRange(from, to, changes) => {
                after.retain(|place, _| !(from..to).contains(&place));
                changes
            }
            Self::Rotate => &Vec::new(),
        };
        for (place, value) in changes {
            match value {
                Some(value) => after.insert(*place, *value),
                None => after.remove(place),
            };
        }
        after
    }

    fn erases(&self) -> bool {
        matches!(self, Self::Erase(_) | Self::EraseRange(..))
    }
}

/// Splits of leaves and of inner pages, changes in place, erasures that join, that drop whole
/// subtrees, and that leave a root alone.
fn workload() -> Vec<Op> {
    let mut serial = 0;
    let mut next = || {
        serial += 1;
        Some(serial)
    };
    let mut ops: Vec<Op> =
        (0..6u8).map(|i| Op::Put((0..5).map(|j| (j * 40 + i * 7, next())).collect())).collect();
    ops.push(Op::Put(vec![(7, next()), (14, next())]));
    ops.push(Op::Erase(vec![(14, None), (87, next())]));
    ops.push(Op::Put((100..112).map(|p| (p, next())).collect()));
    ops.push(Op::EraseRange(90, 170, vec![(250, next())]));
    ops.push(Op::Rotate);
    ops.push(Op::Put(vec![(99, next()), (7, None)]));
    ops.push(Op::EraseRange(0, 240, vec![(1, next())]));
    ops.push(Op::Put((0..20).map(|p| (p * 3, next())).collect()));
    ops.push(Op::EraseRange(0, 255, vec![(4, next())]));
    ops
}

/// The shortest in which a tree grows, is written to in place, loses one entry and many, and
/// shrinks to a leaf.
fn short_workload() -> Vec<Op> {
    vec![
        Op::Put((0..6).map(|p| (p, Some(p.into()))).collect()),
        Op::Put(vec![(3, Some(10)), (9, Some(11))]),
        Op::Erase(vec![(3, None)]),
        Op::EraseRange(1, 9, vec![(2, Some(12))]),
    ]
}

/// Whatever comes.
fn random_workload(seed: u64) -> Vec<Op> {
    let mut chance = Chance(seed);
    let mut serial = 0;
    let mut change = |chance: &mut Chance| {
        serial += 1;
        (chance.below(40) as u8, (chance.below(4) > 0).then_some(serial))
    };
    let mut ops = vec![Op::Put((0..30).map(|p| (p, Some(1000 + u64::from(p)))).collect())];
    for _ in 0..8 {
        let changes = (0..=chance.below(8)).map(|_| change(&mut chance)).collect();
        ops.push(match chance.below(6) {
            0 | 1 => Op::Put(changes),
            2 | 3 => Op::Erase(changes),
            4 => {
                let from = chance.below(40) as u8;
                Op::EraseRange(from, from + chance.below(30) as u8, changes)
            }
            _ => Op::Rotate,
        });
    }
    ops
}

fn held(tree: &Tree) -> Model {
    all(tree)
        .into_iter()
        .map(|(place, value)| {
            let text = String::from_utf8(value).unwrap();
            (place[0], text.rsplit(' ').next().unwrap().parse().unwrap())
        })
        .collect()
}

/// Runs the workload until the disk crashes. Says what was there before the operation that it
/// cut off, that operation, and which values were erased with success.
fn run_until_crash(disk: &Disk, tree: &Tree, ops: &[Op]) -> Option<(Model, Op, Vec<u64>)> {
    let mut model = Model::new();
    let mut dead = Vec::new();
    for op in ops {
        let after = op.model(&model);
        if op.run(tree).is_err() {
            assert!(disk.crashed());
            // Nothing is said any more.
            assert!(matches!(tree.get(&[1]), Err(VaultError::Poisoned)));
            assert!(matches!(tree.put(vec![set([1], [1])]), Err(VaultError::Poisoned)));
            assert!(matches!(tree.rotate_root(), Err(VaultError::Poisoned)));
            return Some((model, op.clone(), dead));
        }
        if op.erases() {
            let values = |m: &Model| m.values().copied().collect::<Vec<_>>();
            dead.extend(values(&model).into_iter().filter(|v| !values(&after).contains(v)));
        }
        model = after;
    }
    None
}

/// What must hold after a restart. `forensic`: also let the adversary try, which is slow.
fn check(disk: &Disk, tree: &Tree, before: &Model, op: &Op, dead: &[u64], forensic: bool) {
    let held = held(tree);
    let after = op.model(before);
    assert!(held == *before || held == after, "{op:?}: neither before nor after: {held:?}");
    let stored = disk.image().keys().filter(|name| name.len() == 16).count();
    assert_eq!(forensic::reachable(disk).len(), stored, "{op:?}: pages of nobody are left");
    assert!(!disk.image().contains_key(RETIRE));
    if forensic {
        let seen = forensic::readable(disk);
        for serial in dead {
            assert!(!seen.contains(&bytes(*serial)), "{op:?}: {serial} came back");
        }
        // What an operation cut off has taken away is gone as well once it shows as taken.
        if op.erases() && held == after {
            for serial in before.values().filter(|v| !after.values().any(|a| a == *v)) {
                assert!(!seen.contains(&bytes(*serial)), "{op:?}: {serial} came back");
            }
        }
    }
    // And it goes on.
    tree.put(vec![set([255], bytes(9999))]).unwrap();
    tree.erase(vec![unset([255])]).unwrap();
}

/// Every write and every flush of these operations, and the ways in which each can fail.
fn every_step(shape: Shape, ops: &[Op]) -> impl Iterator<Item = (u64, u64)> + use<> {
    let disk = Disk::default();
    let tree = disk.create(shape).unwrap();
    let created = disk.steps() as usize;
    assert!(run_until_crash(&disk, &tree, ops).is_none());
    let ways = disk.ways().split_off(created);
    assert!(ways.len() >= 20, "the workload is too small: {} steps", ways.len());
    (1..).zip(ways).flat_map(|(step, ways)| (0..ways).map(move |way| (step, way)))
}

/// Lets every step fail in every way, and looks at everything that may be on the disk then.
fn every_crash(shape: Shape, ops: &[Op]) {
    let mut states = 0;
    for (step, way) in every_step(shape, ops) {
        let disk = Disk::default();
        let tree = disk.create(shape).unwrap();
        disk.crash_after(step, way);
        let (before, op, dead) = run_until_crash(&disk, &tree, ops).unwrap();
        drop(tree);
        for crash in [Crash::Process, Crash::Power] {
            for (at, disk) in disk.after(crash).into_iter().enumerate() {
                let tree = disk.open(shape).unwrap();
                check(&disk, &tree, &before, &op, &dead, at == 0);
                states += 1;
            }
        }
    }
    println!("{states} states");
}

#[test]
fn every_crash_leaves_what_was_before_or_after() {
    every_crash(tiny(), &workload());
}

#[test]
fn every_crash_in_a_change_of_many_batches_leaves_what_was_before_or_after() {
    every_crash(Shape { batch_pages: 3, ..tiny() }, &workload());
}

#[test]
fn every_crash_of_random_operations_leaves_what_was_before_or_after() {
    for seed in 0..long_runs("OUBLIETTE_CRASH_ROUNDS", 1) {
        every_crash(tiny(), &random_workload(seed));
    }
}

/// What the workload is there for.
#[test]
fn the_workload_grows_splits_joins_and_shrinks() {
    for (ops, highest) in [(workload(), 2), (short_workload(), 1)] {
        let disk = Disk::default();
        let tree = disk.create(tiny()).unwrap();
        let (mut levels, mut pages) = (vec![], vec![]);
        for op in &ops {
            op.run(&tree).unwrap();
            levels.push(tree.view().unwrap().page.level());
            pages.push(forensic::reachable(&disk).len());
        }
        assert!(levels.iter().any(|level| *level >= highest), "{levels:?}");
        assert!(!levels.is_sorted(), "{levels:?}");
        assert!(pages.windows(2).any(|pair| pair[1] > pair[0]), "{pages:?}");
        assert!(pages.windows(2).any(|pair| pair[1] < pair[0]), "{pages:?}");
    }
}

#[test]
fn a_crash_while_opening_after_a_crash_loses_nothing() {
    let ops = short_workload();
    let mut states = 0;
    // One in three, unless more is asked for.
    let sample = if long_runs("OUBLIETTE_CRASH_ROUNDS", 1) > 1 { 1 } else { 3 };
    let all = every_step(tiny(), &ops);
    for (step, way) in all.filter(|(step, way)| (step + way) % sample == 0) {
        let disk = Disk::default();
        let tree = disk.create(tiny()).unwrap();
        disk.crash_after(step, way);
        let (before, op, dead) = run_until_crash(&disk, &tree, &ops).unwrap();
        drop(tree);
        for first in [Crash::Process, Crash::Power].map(|crash| disk.after(crash)).concat() {
            // The same state as often as it is needed.
            let again = || first.after(Crash::Process).remove(0);
            let opening = {
                let disk = again();
                let before = disk.steps() as usize;
                disk.open(tiny()).unwrap();
                disk.ways().split_off(before)
            };
            for (step, ways) in (1..).zip(opening) {
                for way in 0..ways {
                    let disk = again();
                    disk.crash_after(step, way);
                    // What cleans up after its work is done may fail, and the tree be open.
                    drop(disk.open(tiny()));
                    for disk in [Crash::Process, Crash::Power].map(|c| disk.after(c)).concat() {
                        let tree = disk.open(tiny()).unwrap();
                        check(&disk, &tree, &before, &op, &dead, false);
                        states += 1;
                    }
                }
            }
        }
    }
    println!("{states} states");
}

/// An opening leaves its number in the pages and then in the slot. Wherever it breaks off, and the next
/// one, too, whose number is another: the pages know the one that is in the slot then.
#[test]
fn openings_that_crash_one_after_the_other_leave_a_folder_that_knows_its_slot() {
    let disk = Disk::default();
    drop(disk.create(tiny()).unwrap());
    let after = |disk: &Disk| [Crash::Process, Crash::Power].map(|c| disk.after(c)).concat();
    let (mut states, mut fewest) = (0, u64::MAX);
    // Every state that an opening of this disk may leave.
    let mut openings = |from: &Disk, each: &mut dyn FnMut(Disk)| {
        let again = || from.after(Crash::Process).remove(0);
        let ways = {
            let disk = again();
            let before = disk.steps() as usize;
            disk.open(tiny()).unwrap();
            disk.ways().split_off(before)
        };
        fewest = fewest.min(ways.len() as u64);
        for (step, ways) in (1..).zip(ways) {
            for way in 0..ways {
                let disk = again();
                disk.crash_after(step, way);
                assert!(disk.open(tiny()).is_err());
                after(&disk).into_iter().for_each(&mut *each);
            }
        }
    };
    let mut once = Vec::new();
    openings(&disk, &mut |disk| once.push(disk));
    for disk in once {
        openings(&disk, &mut |disk| {
            let tree = disk.open(tiny()).unwrap();
            assert!(all(&tree).is_empty());
            states += 1;
        });
    }
    // The pages and their flush, and the two sectors, each flushed.
    assert!(fewest >= 6, "{fewest} steps");
    println!("{states} states");
}

/// A copy with a copy of the slot is opened as the one, and cut off. It must not open over the other's slot, which
/// still has the number before.
#[test]
fn an_opening_as_the_one_that_is_cut_off_knows_no_number_before_beside_its_own() {
    let disk = Disk::default();
    drop(disk.create(tiny()).unwrap());
    let before = disk.slot().read().unwrap().opening;
    let open = |disk: &Disk| {
        let (pages, slot) = (Box::new(disk.clone()), Box::new(disk.slot()));
        Tree::open_here(pages, slot, tiny(), Whereabouts::default(), true)
    };
    let again = || disk.after(Crash::Process).remove(0);
    let ways = {
        let disk = again();
        let steps = disk.steps() as usize;
        open(&disk).unwrap();
        disk.ways().split_off(steps)
    };
    let (mut unchanged, mut changed) = (0, 0);
    for (step, ways) in (1..).zip(ways) {
        for way in 0..ways {
            let disk = again();
            disk.crash_after(step, way);
            assert!(open(&disk).is_err());
            for disk in [Crash::Process, Crash::Power].map(|crash| disk.after(crash)).concat() {
                let noted = disk.image().remove(OPENINGS).unwrap();
                let tree = open(&disk).unwrap();
                let known = Openings::open(tree.vault_id(), &tree.identity, &noted).unwrap();
                match known.unwrap().numbers {
                    numbers if numbers == [before; 2] => unchanged += 1,
                    numbers if !numbers.contains(&before) => changed += 1,
                    numbers => panic!("{before:?} beside its own: {numbers:?}"),
                }
            }
        }
    }
    assert!(unchanged > 0 && changed > 0);
}

#[test]
fn a_crash_while_creating_leaves_no_vault_or_an_empty_one() {
    let steps = {
        let disk = Disk::default();
        disk.create(tiny()).unwrap();
        disk.ways()
    };
    for (step, ways) in (1..).zip(steps) {
        for way in 0..ways {
            let disk = Disk::default();
            disk.crash_after(step, way);
            assert!(disk.create(tiny()).is_err());
            for disk in [Crash::Process, Crash::Power].map(|crash| disk.after(crash)).concat() {
                match disk.open(tiny()) {
                    Ok(tree) => assert!(all(&tree).is_empty()),
                    Err(error) => assert!(
                        matches!(error, OpenVaultError::Slot(SlotError::Damaged(_))),
                        "{error}"
                    ),
                }
            }
        }
    }
}

/// A write that fails, where those after it would not: nothing is written any more all the same.
#[test]
fn after_any_failure_nothing_is_written_until_the_tree_is_opened_anew() {
    let ops = workload();
    for (step, way) in every_step(tiny(), &ops) {
        let disk = Disk::default();
        let tree = disk.create(tiny()).unwrap();
        disk.fail_once_after(step, way);
        let (before, op, dead) = run_until_crash(&disk, &tree, &ops).unwrap();
        let steps = disk.steps();
        assert!(matches!(tree.range(&[0], &[255], 9), Err(VaultError::Poisoned)));
        assert!(matches!(tree.erase(vec![unset([1])]), Err(VaultError::Poisoned)));
        assert!(matches!(tree.epoch(), Err(VaultError::Poisoned)));
        drop(tree);
        assert_eq!(disk.steps(), steps, "it was written to after a failure");
        for crash in [Crash::Process, Crash::Power] {
            let disk = disk.after(crash).pop().unwrap();
            check(&disk, &disk.open(tiny()).unwrap(), &before, &op, &dead, false);
        }
    }
}

#[test]
fn a_root_that_was_seen_is_never_taken_back() {
    // The process dies between the first sector's write and its flush; it is started again, and
    // serves the new state; then the power goes.
    let disk = Disk::default();
    let tree = disk.create(Shape::default()).unwrap();
    tree.put(vec![set(b"a", b"secret")]).unwrap();
    // The pages, their flush, the first sector, and its flush, which fails.
    disk.crash_after(4, 0);
    assert!(tree.erase(vec![unset(b"a")]).is_err());
    drop(tree);
    disk.restart(Crash::Process);
    let tree = disk.open(Shape::default()).unwrap();
    assert_eq!(tree.epoch().unwrap(), 1);
    assert!(tree.get(b"a").unwrap().is_none());
    drop(tree);
    disk.restart(Crash::Power);
    let tree = disk.open(Shape::default()).unwrap();
    assert_eq!(tree.epoch().unwrap(), 1);
    assert!(tree.get(b"a").unwrap().is_none());
    assert!(!forensic::readable(&disk).contains(&b"secret"[..]));
}

/// The slot alone, torn at every byte, in each of its two sectors.
#[test]
fn a_slot_torn_at_any_byte_holds_the_root_before_or_the_one_after() {
    let disk = Disk::default();
    let tree = disk.create(tiny()).unwrap();
    let old = disk.sectors();
    tree.rotate_root().unwrap();
    let (new, pages) = (disk.sectors(), disk.image());
    for cut in 0..=SECTOR_BYTES {
        let torn = |index: usize| [&new[index][..cut], &old[index][cut..]].concat();
        // A tear in what both have in common is none: the last bytes of two sums may be equal.
        let whole = torn(0) == new[0];
        assert!(!whole || cut > SECTOR_BYTES - 32, "no more than the sums may agree at {cut}");
        disk.set_sectors([torn(0), old[1].clone()]);
        assert_eq!(disk.slot().read().unwrap().epoch, u64::from(whole), "{cut}");
        disk.set_sectors([new[0].clone(), torn(1)]);
        assert_eq!(disk.slot().read().unwrap().epoch, 1);
        // Opening makes both the same.
        if cut % 512 == 100 {
            // The pages know the slot's number, and none of before.
            disk.set_image(pages.clone());
            drop(disk.open(tiny()).unwrap());
            let [first, second] = disk.sectors();
            assert!(first == second && first[104..136] == new[0][104..136]);
        }
    }
}
