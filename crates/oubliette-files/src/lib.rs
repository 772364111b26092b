//! Files and folders that survive a power cut, and that nobody else put there.
//!
//! [`durable`] writes what must not be lost; [`own`] opens what is to be locked, overwritten or removed. The
//! library and its data folder stand on these two, which know nothing of either.

pub mod durable;
pub mod own;
