//! The corpora of `fuzz/`, replayed as ordinary tests: see `docs/testing.md`.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The most bytes of a file, and of all.
const MAX_FILE: u64 = 4096;
const MAX_ALL: u64 = 300 * 1024;

/// `fuzz/`, for the tests of the library and of the program alike.
fn folder() -> PathBuf {
    let folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    folders.map(|folder| folder.join("fuzz")).find(|folder| folder.is_dir()).unwrap()
}

fn files(corpus: &Path) -> BTreeSet<PathBuf> {
    fs::read_dir(corpus).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// Hands every file of a corpus to its target.
pub(crate) fn replay(name: &str, target: fn(&[u8])) {
    let corpus = folder().join("corpus").join(name);
    let files = files(&corpus);
    assert!(!files.is_empty(), "{} is empty", corpus.display());
    for file in files {
        let bytes = fs::read(&file).unwrap();
        let held = std::panic::catch_unwind(|| target(&bytes));
        assert!(held.is_ok(), "{} does not hold", file.display());
    }
}

/// Checks that there is a corpus for each target that is fuzzed and for no other, and that all are small.
#[allow(dead_code)] // the program's tests leave it to the library's
pub(crate) fn are_whole() {
    let manifest = fs::read_to_string(folder().join("Cargo.toml")).unwrap();
    let bins = manifest.split("[[bin]]").skip(1);
    let targets = bins.map(|bin| bin.split('"').nth(1).unwrap().to_owned());
    let corpora = files(&folder().join("corpus"));
    let named = corpora.iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned());
    assert_eq!(targets.collect::<BTreeSet<_>>(), named.collect());
    let all = corpora.iter().flat_map(|corpus| files(corpus));
    let sizes: Vec<u64> = all.map(|file| fs::metadata(file).unwrap().len()).collect();
    assert!(sizes.iter().all(|size| *size <= MAX_FILE), "a file has more than {MAX_FILE} bytes");
    assert!(sizes.iter().sum::<u64>() <= MAX_ALL, "all have more than {MAX_ALL} bytes");
}
