//! The memory of the process, in which keys are, is left to nobody.

use std::{
    io::Write,
    os::unix::process::ExitStatusExt,
    process::{Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::world::World;

/// Starts a program where cores may be of any size, has it abort once it is `ready`, and says how
/// it ended.
fn abort(command: &Command, ready: impl Fn(u32) -> bool) -> ExitStatus {
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -c unlimited; exec \"$0\" \"$@\""]).arg(command.get_program());
    shell.args(command.get_args()).stdin(Stdio::piped()).stdout(Stdio::null());
    shell.stderr(Stdio::null());
    if let Some(folder) = command.get_current_dir() {
        shell.current_dir(folder);
    }
    let mut child = shell.spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    while !ready(child.id()) {
        assert!(Instant::now() < until, "it did not get ready");
        thread::sleep(Duration::from_millis(10));
    }
    let id = child.id().to_string();
    assert!(Command::new("sh").args(["-c", "kill -ABRT $0", &id]).status().unwrap().success());
    child.wait().unwrap()
}

#[test]
fn a_process_that_dies_leaves_no_core() {
    let world = World::new();
    let is = |process: u32, name: &str| {
        let command = std::fs::read_to_string(format!("/proc/{process}/comm"));
        command.is_ok_and(|command| command.trim() == name)
    };
    let mut other = Command::new("cat");
    other.current_dir(world.dir.path());
    if !abort(&other, |process| is(process, "cat")).core_dumped() {
        let told = b"SKIPPED: this system leaves no cores, so that there is none to prevent\n";
        std::io::stderr().write_all(told).unwrap();
        return;
    }
    // It waits for its input, and has its vault open by then, or not: the limit comes first.
    let limited = |process: u32| {
        let limits = std::fs::read_to_string(format!("/proc/{process}/limits"));
        let limit = |text: String| {
            let line =
                text.lines().find(|line| line.starts_with("Max core file size")).map(str::to_owned);
            line.is_some_and(|line| line.split_whitespace().nth(4) == Some("0"))
        };
        is(process, "oubliette") && limits.is_ok_and(limit)
    };
    let ended = abort(&world.command(&["import", "-"]), limited);
    assert!(ended.signal().is_some() && !ended.core_dumped(), "{ended}");
}
