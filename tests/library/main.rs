//! The library as its users see it. One program, because each that is linked has the whole library in it;
//! a file for each property, and those of one feature are there with that feature.

mod allocations;
mod codec_and_layer;
#[path = "../common/mod.rs"]
mod common;
#[cfg(feature = "conformance")]
mod conformance_can_fail;
mod documents;
mod forgetting_model;
mod format_vectors;
mod holes;
mod hostile;
mod jsonb;
#[cfg(all(feature = "conformance", feature = "sqlite"))]
mod layered_conformance;
mod one_person;
mod permits;
mod properties;
#[cfg(feature = "sqlite")]
mod purge;
mod python_vectors;
#[cfg(feature = "sqlite")]
mod restore;
mod rolled_back;
mod rotation;
#[cfg(feature = "sqlite")]
mod seal_existing;
mod sizes;
#[path = "../device/skip.rs"]
#[cfg(feature = "sqlite")]
mod skip;
#[cfg(feature = "sqlite")]
mod sqlite_store;
#[cfg(all(feature = "conformance", feature = "sqlite"))]
mod store_conformance;
#[cfg(feature = "sqlite")]
mod store_cut;
#[cfg(feature = "sqlite")]
mod subscribing_while_forgetting;
mod tags;
mod tombstones;
#[cfg(feature = "sqlite")]
mod verify;
mod wanted;
