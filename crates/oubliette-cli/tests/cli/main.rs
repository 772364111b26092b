//! The command line, run as people run it: the real binary, in temporary folders.

mod adopting;
#[cfg(target_os = "linux")]
mod asking;
mod audit;
mod backup;
mod bad_input;
#[path = "../../../../tests/common/mod.rs"]
mod common;
mod copied;
#[cfg(unix)]
mod crash;
mod demo;
#[cfg(target_os = "linux")]
mod done;
mod drill;
mod exit_codes;
#[cfg(target_os = "linux")]
#[allow(dead_code)] // the tests of the disk itself use the rest
#[path = "../../../../tests/device/ext4.rs"]
mod ext4;
mod folder;
#[cfg(target_os = "linux")]
mod full_disk;
mod github;
mod holes;
mod import;
mod in_place;
mod keep_times;
#[cfg(unix)]
mod links;
#[cfg(target_os = "linux")]
mod media;
#[cfg(target_os = "linux")]
mod memory;
mod migrate;
#[cfg(target_os = "linux")]
mod narrow;
mod not_reached;
mod old_table;
mod options;
mod owners;
#[cfg(all(unix, feature = "pkcs11"))]
mod pkcs11;
mod programs;
mod repeating;
mod rolled_back;
mod root;
mod root_move;
#[cfg(unix)]
mod root_slot;
mod rotation;
mod runbook;
mod second_reader;
#[cfg(any(feature = "jetstream", feature = "kafka"))]
mod served;
mod settings;
#[cfg(any(feature = "tpm", feature = "pkcs11"))]
#[path = "../../../../tests/device/shared.rs"]
mod shared;
#[cfg(unix)]
#[path = "../../../../tests/device/skip.rs"]
mod skip;
mod slot_in_use;
#[cfg(all(unix, feature = "postgres"))]
mod stores;
#[cfg(target_os = "linux")]
#[path = "../../../../tests/device/strace.rs"]
mod strace;
#[cfg(all(unix, feature = "tpm"))]
mod tpm;
mod trying;
#[cfg(unix)]
mod unread;
mod unreadable;
mod vault;
mod waiting;
mod walk;
mod world;
