//! What is called durable is: seen in the system calls, and on the block device.
//!
//! A child process makes a bank, appends, transfers, forgets, rotates, backs up and restores
//! (`session`). `watched` reads its system calls and looks whether each file was synchronised
//! before something was built on it. `cuts` stops it after an fsync, copies the devices, and opens
//! what is on them. `sweeps` lets single system calls of the program fail, or kills it there.
//! `control` does all of it to somebody who does not synchronise, and must find that out.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

#[allow(dead_code)]
#[path = "../cli/crash/child.rs"]
mod child;
#[path = "../cli/world.rs"]
mod cli;
#[path = "../../../../tests/common/mod.rs"]
mod common;
mod control;
mod cuts;
#[allow(dead_code)]
#[path = "../../../../tests/device/ext4.rs"]
mod ext4;
mod rules;
#[path = "../cli/crash/servers.rs"]
mod servers;
mod session;
#[path = "../../../../tests/device/strace.rs"]
mod strace;
mod sweeps;
mod trace;
mod watched;
#[allow(dead_code)]
#[path = "../cli/crash/world.rs"]
mod world;

/// How much more than a sample is wanted: everything.
fn exhaustive() -> bool {
    std::env::var_os("OUBLIETTE_CUT_ALL").is_some_and(|set| !set.is_empty() && set != "0")
}
