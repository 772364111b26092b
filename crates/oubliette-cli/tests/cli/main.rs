//! The command line, run as people run it: the real binary, in temporary folders.

mod adopting;
mod audit;
mod backup;
mod bad_input;
mod copied;
#[cfg(target_os = "linux")]
mod done;
mod exit_codes;
#[cfg(target_os = "linux")]
#[allow(dead_code)] // the tests of the disk itself use the rest
#[path = "../../../../tests/device/ext4.rs"]
mod ext4;
mod folder;
#[path = "../../../../tests/common/folders.rs"]
mod folders;
mod holes;
mod import;
#[cfg(unix)]
mod links;
#[cfg(target_os = "linux")]
mod memory;
#[cfg(target_os = "linux")]
mod narrow;
mod not_reached;
mod old_table;
mod options;
mod owners;
mod programs;
mod repeating;
mod rolled_back;
mod root;
mod root_move;
mod rotation;
mod runbook;
mod second_reader;
mod settings;
#[cfg(unix)]
#[path = "../../../../tests/device/skip.rs"]
mod skip;
mod slot_in_use;
mod trying;
mod unreadable;
mod vault;
mod waiting;
mod walk;
mod world;
