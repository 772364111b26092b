//! Many readers, some writers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use super::{super::Erasure, disk::Disk, range, set, tiny};

/// Places of 40 persons with 4 entries each.
fn entries(person: u8, round: u64) -> Vec<super::Change> {
    (0..4u8).map(|i| set([person, i], round.to_be_bytes())).collect()
}

#[test]
fn readers_see_each_change_whole_and_nothing_after_its_erasure() {
    let disk = Disk::default();
    let tree = Arc::new(disk.create(tiny()).unwrap());
    for person in 0..40 {
        tree.put(entries(person, 1)).unwrap();
    }
    let done = Arc::new(AtomicBool::new(false));
    // The last round whose erasure of person 20 has returned.
    let erased = Arc::new(AtomicU64::new(0));
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let (tree, done, erased) = (Arc::clone(&tree), Arc::clone(&done), Arc::clone(&erased));
            thread::spawn(move || {
                let mut reads = 0u64;
                while !done.load(Ordering::Relaxed) {
                    let dead = erased.load(Ordering::SeqCst);
                    let found = tree.range(&[20], &[21], 10).unwrap();
                    assert!(found.is_empty() || found.len() == 4, "half of a change");
                    for (_, value) in &found {
                        assert_eq!(value, &found[0].1, "two changes mixed");
                        let round = u64::from_be_bytes(value.as_slice().try_into().unwrap());
                        assert!(round > dead, "read round {round} after erasure of {dead}");
                    }
                    // Nobody else is ever away.
                    for person in [0, 19, 21, 39] {
                        assert!(tree.get(&[person, 2]).unwrap().is_some());
                    }
                    reads += 1;
                }
                reads
            })
        })
        .collect();
    let writer = {
        let tree = Arc::clone(&tree);
        thread::spawn(move || {
            for round in 2..200 {
                tree.put(entries((round % 20) as u8 + 21, round)).unwrap();
            }
        })
    };
    for round in 2..200u64 {
        let remove_ranges = vec![range([20], [21])];
        tree.erase_all(Erasure { remove_ranges, changes: Vec::new() }).unwrap();
        erased.store(round - 1, Ordering::SeqCst);
        tree.put(entries(20, round)).unwrap();
    }
    writer.join().unwrap();
    done.store(true, Ordering::Relaxed);
    for reader in readers {
        assert!(reader.join().unwrap() > 0);
    }
}
