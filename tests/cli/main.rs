//! The command line, run as people run it: the real binary, in temporary folders.

mod audit;
mod bad_input;
mod exit_codes;
mod folder;
mod import;
mod walk;
mod world;
