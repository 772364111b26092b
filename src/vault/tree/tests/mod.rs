//! The properties of the erasable map, each with a test that can fail.

mod concurrency;
mod crash;
pub(in crate::vault) mod disk;
#[cfg(unix)]
mod files;
mod forensic;
mod hostile;
#[cfg(feature = "backup")]
mod load;
#[cfg(target_os = "linux")]
mod memory;
mod model;
mod rotation;
mod verify;

use super::{Change, Place, Sabotage, Shape, Tree, Value};

/// Pages so small that a few entries make a tree of several levels.
fn tiny() -> Shape {
    Shape {
        page_bytes: 160,
        leaf_bytes: 160,
        cache_bytes: 4096,
        batch_pages: 12,
        sabotage: Sabotage::None,
    }
}

fn value(bytes: &[u8]) -> Value {
    Value::new(bytes.to_vec())
}

fn set(place: impl AsRef<[u8]>, bytes: impl AsRef<[u8]>) -> Change {
    (place.as_ref().to_vec(), Some(value(bytes.as_ref())))
}

fn unset(place: impl AsRef<[u8]>) -> Change {
    (place.as_ref().to_vec(), None)
}

fn range(from: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> (Place, Place) {
    (from.as_ref().to_vec(), to.as_ref().to_vec())
}

/// Everything in the tree.
fn all(tree: &Tree) -> Vec<(Place, Vec<u8>)> {
    let found = tree.range(&[], &[0xff; 65], usize::MAX).unwrap();
    found.into_iter().map(|(place, value)| (place, value.to_vec())).collect()
}
