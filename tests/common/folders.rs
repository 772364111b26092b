//! Folders that are copied, emptied and put back.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used)] // every test binary uses a part of it

use std::{fs, path::Path};

/// Removes all files. The folders stay: a machine that is put back as a whole has those that it had.
pub fn empty(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            empty(&entry.path());
        } else {
            fs::remove_file(entry.path()).unwrap();
        }
    }
}

/// Copies all of a folder, with the modes of its folders.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}
