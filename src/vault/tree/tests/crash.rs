//! Every point at which a crash can come, and what may be there afterwards.

use std::collections::BTreeMap;

use super::{
    super::{Erasure, Shape, Tree},
    all,
    disk::{Crash, Disk},
    forensic, range, set, tiny, unset, value,
};
use crate::vault::VaultError;

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
    assert!(!disk.image().contains_key(super::super::open::RETIRE));
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

#[test]
fn every_crash_leaves_what_was_before_or_after() {
    every_crash(tiny(), 0..10);
}

#[test]
fn so_does_every_crash_where_a_change_takes_many_batches() {
    every_crash(Shape { batch_pages: 3, ..tiny() }, 0..3);
}

fn every_crash(shape: Shape, chances: std::ops::Range<u64>) {
    let ops = workload();
    let total = {
        let disk = Disk::default();
        let tree = disk.create(shape).unwrap();
        let created = disk.steps();
        assert!(run_until_crash(&disk, &tree, &ops).is_none());
        disk.steps() - created
    };
    assert!(total > 50, "the workload is too small: {total} steps");
    for step in 1..=total {
        for crash in [Crash::Process, Crash::Power] {
            for chance in chances.clone() {
                let luck = step + chance;
                let disk = Disk::default();
                let tree = disk.create(shape).unwrap();
                disk.crash_after(step, luck);
                let (before, op, dead) = run_until_crash(&disk, &tree, &ops).unwrap();
                drop(tree);
                disk.restart(crash);
                let tree = disk.open(shape).unwrap();
                check(&disk, &tree, &before, &op, &dead, chance == 0);
            }
        }
    }
}

#[test]
fn a_crash_while_opening_after_a_crash_loses_nothing() {
    let ops = workload();
    let total = {
        let disk = Disk::default();
        let tree = disk.create(tiny()).unwrap();
        let created = disk.steps();
        run_until_crash(&disk, &tree, &ops);
        disk.steps() - created
    };
    for step in 1..=total {
        for first in [Crash::Process, Crash::Power] {
            for second in [Crash::Process, Crash::Power] {
                for again in 1.. {
                    let luck = step * 7 + again;
                    let disk = Disk::default();
                    let tree = disk.create(tiny()).unwrap();
                    disk.crash_after(step, luck);
                    let (before, op, dead) = run_until_crash(&disk, &tree, &ops).unwrap();
                    drop(tree);
                    disk.restart(first);
                    disk.crash_after(again, luck / 2);
                    let done = disk.open(tiny()).is_ok();
                    disk.restart(second);
                    let tree = disk.open(tiny()).unwrap();
                    check(&disk, &tree, &before, &op, &dead, false);
                    if done {
                        break;
                    }
                }
            }
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
