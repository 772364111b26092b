//! What a vault of many keys does: how fast they are made, looked up, forgotten and listed, and
//! what that takes of memory and disk.
//!
//! `./bench scale [N…]` runs it; without sizes it does nothing, so that `cargo test --benches`
//! passes it by. Each step is a process of its own, the same program called again, so that its
//! memory can be read from `/proc/self/status` and so that it can be killed. What was measured is
//! left in `target/oubliette-bench/scale-N.json`, for `benches/report.py`.

#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod conduct;
mod durable;
mod forget;
mod keys;
mod meter;
mod steps;

fn main() {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    match arguments.first().map(String::as_str) {
        Some("step") => steps::run(&arguments[1..]),
        Some("durable") => durable::run(),
        _ => conduct::run(&arguments),
    }
}
