#![doc = include_str!("../README.md")]

// `address`, `link` and `open` are the way to a server; `names`, `event` and `expected` say what is what there; `pages`, `read` and
// `subscription` are the way out, `append` the way in, by what `index` and `ids` know.

mod address;
mod append;
mod error;
mod event;
mod expected;
mod ids;
mod index;
mod link;
mod names;
mod open;
mod options;
mod pages;
mod read;
mod store;
mod subscription;

pub use error::KurrentError;
pub use options::KurrentOptions;
pub use store::KurrentStore;
