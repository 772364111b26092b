//! Vaults that do not forget, before the same adversary: if they did not see the destroyed keys
//! here, that they see none elsewhere would say nothing.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
};

use super::{
    Case,
    adversary::{Loot, Sealed, Trials, Window},
    archive::{Archive, search},
};
use crate::crypto::{Cipher, random_secret};

/// Data keys as records of a sled database, as others keep them.
struct Flat {
    records: sled::Db,
    /// Wraps the keys, or does not.
    master: Option<Window>,
    /// Every record ever written.
    written: Vec<(u32, Vec<u8>)>,
    keys: Vec<Window>,
}

impl Flat {
    fn at(folder: &Path, master: Option<Window>) -> Self {
        let records = sled::open(folder).unwrap();
        Self { records, master, written: Vec::new(), keys: Vec::new() }
    }

    fn make(&mut self) {
        let key = *random_secret().unwrap();
        let number = self.keys.len() as u32;
        let mut record = key.to_vec();
        if let Some(master) = &self.master {
            record = Cipher::new(master).seal_blob(&number.to_be_bytes(), &key).unwrap();
        }
        self.records.insert(number.to_be_bytes(), record.clone()).unwrap();
        self.records.flush().unwrap();
        self.written.push((number, record));
        self.keys.push(key);
    }

    /// Removes a key as thoroughly as sled can be told to.
    fn destroy(&mut self, number: u32) {
        let zeros = vec![0; self.written[number as usize].1.len()];
        self.records.insert(number.to_be_bytes(), zeros).unwrap();
        self.records.remove(number.to_be_bytes()).unwrap();
        self.records.flush().unwrap();
    }

    /// Makes a hundred keys and destroys every other.
    fn live(&mut self, folder: &Path, archive: &Archive) -> HashMap<Window, usize> {
        for _ in 0..100 {
            self.make();
            archive.take_files(folder);
        }
        for number in (0..100).step_by(2) {
            self.destroy(number);
            archive.take_files(folder);
        }
        let dead = self.keys.iter().copied().enumerate().step_by(2);
        dead.map(|(number, key)| (key, number)).collect()
    }
}

#[test]
fn keys_removed_from_sled_are_found_in_its_files() {
    let folder = tempfile::tempdir().unwrap();
    let archive = Archive::default();
    let mut flat = Flat::at(folder.path(), None);
    let dead = flat.live(folder.path(), &archive);
    assert_eq!(archive.raw(&dead).len(), 50);
    // Nor is the archive needed: they are in today's files.
    drop(flat);
    let files = super::archive::files_of(folder.path());
    let today = files.iter().flat_map(|file| search(&std::fs::read(file).unwrap(), &dead));
    assert_eq!(today.collect::<HashSet<_>>().len(), 50);
}

#[test]
fn keys_wrapped_by_one_that_stays_are_found_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let archive = Archive::default();
    let master = *random_secret().unwrap();
    let mut flat = Flat::at(folder.path(), Some(master));
    let dead = flat.live(folder.path(), &archive);
    assert!(archive.raw(&dead).is_empty(), "they are wrapped");
    let sealed: Vec<Sealed> = flat
        .written
        .iter()
        .map(|(number, record)| Sealed {
            nonce: record[..12].try_into().unwrap(),
            associated: number.to_be_bytes().to_vec(),
            body: record[12..].to_vec(),
            begins: |_| true,
            derive: |_| Vec::new(),
        })
        .collect();
    // The slot, in which the master key stands somewhere.
    let slot = [&[7; 100][..], &master, &[9; 50]].concat();
    let loot = Loot::gather(&sealed, &[slot], &dead, Trials::Every);
    assert_eq!(loot.found_from(0).len(), 50);
}

/// The case of a flat vault, put to the same judgement as the tree's, is a failure.
#[test]
fn the_judge_of_the_forensic_test_condemns_a_flat_vault() {
    let folder = tempfile::tempdir().unwrap();
    let mut flat = Flat::at(folder.path(), None);
    let case = Case::default();
    flat.live(folder.path(), &case.archive);
    let keys = flat
        .keys
        .iter()
        .map(|key| (crate::crypto::KeyId([0; crate::crypto::KEY_ID_BYTES]), *key))
        .collect();
    let decision = Case { keys, ..case }.judge();
    assert!(decision.unwrap_err().starts_with("read"));
}
