//! A child process whose system calls are watched, stopped or failed by strace.

use std::{ffi::OsStr, path::Path, process::Command};

/// The command `strace OPTIONS -- PROGRAM`, which writes its trace there. `None`: not available
/// here, and said so.
pub(crate) fn strace(trace: &Path, options: &[&str], program: &OsStr) -> Option<Command> {
    if !can_trace() {
        return None;
    }
    let mut command = Command::new("strace");
    // All threads; with the path of each descriptor.
    command.args(["-f", "-y", "-s", "300", "-o"]).arg(trace).args(options).arg("--").arg(program);
    Some(command)
}

/// A container may have strace, and not let anyone trace.
#[allow(clippy::print_stderr)]
fn can_trace() -> bool {
    let tried = Command::new("strace").args(["-o", "/dev/null", "true"]).output();
    let can = tried.is_ok_and(|done| done.status.success());
    if !can {
        assert!(
            std::env::var_os("OUBLIETTE_REQUIRE_STRACE").is_none(),
            "strace is required here, and not available"
        );
        eprintln!("SKIPPED: strace cannot be had or may not trace here; install it");
    }
    can
}
