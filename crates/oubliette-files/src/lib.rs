//! Files and folders that survive a power cut, and that no one else put there.
//!
//! [`durable`] writes what must not be lost; [`own`] opens what is to be locked, overwritten or removed. The
//! library and its data folder use these two, which know nothing of either.

pub mod durable;
pub mod own;

/// The text of a file without the byte-order mark that some editors put before it.
///
/// Whatever a person may have opened in an editor is read so. What is signed, sealed or raw bytes is not.
pub fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes)
}
