//! The files of vectors of `docs/format.md`: compared with what is written today, or made where one is missing
//! and that is asked for.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

/// Where a file is, for the tests of the library and of the program alike.
pub(crate) fn path(name: &str) -> PathBuf {
    let folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let mut folders = folders.map(|folder| folder.join("tests/vectors"));
    folders.find(|folder| folder.is_dir()).unwrap().join(name)
}

/// A file as it is checked in.
pub(crate) fn committed(name: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(path(name)).unwrap()).unwrap()
}

/// Whether a file is to be made, because it is not there and somebody asks for it.
pub(crate) fn is_wanted(name: &str) -> bool {
    !path(name).exists() && std::env::var_os("OUBLIETTE_WRITE_VECTORS").is_some()
}

/// Compares a file with what it should be, or makes it.
pub(crate) fn are_committed(name: &str, file: &Value) {
    let text = serde_json::to_string_pretty(file).unwrap() + "\n";
    if is_wanted(name) {
        fs::write(path(name), &text).unwrap();
    }
    assert!(fs::read_to_string(path(name)).unwrap() == text, "{name} differs");
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
