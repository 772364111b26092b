//! Signals that ask this process to end, and one that would end it.

use std::io;
#[cfg(unix)]
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

#[cfg(unix)]
static AWAITED: AtomicBool = AtomicBool::new(false);

/// Whether the command ends itself on a signal.
#[cfg(unix)]
pub(super) fn are_awaited() -> bool {
    AWAITED.load(Ordering::Relaxed)
}

/// Waits for one: Ctrl-C, that of a service manager (TERM), that of a terminal which is closed (HUP). One
/// that whoever started the process has it ignore, as `nohup` does, stays ignored. Returns its name.
#[cfg(unix)]
pub(super) async fn asked_to_end() -> io::Result<&'static str> {
    use tokio::signal::unix::{Signal, SignalKind, signal};
    let heard = |kind: SignalKind| -> io::Result<Option<Signal>> {
        (!is_ignored(kind.as_raw_value())).then(|| signal(kind)).transpose()
    };
    let mut interrupt = heard(SignalKind::interrupt())?;
    let mut terminate = heard(SignalKind::terminate())?;
    let mut hangup = heard(SignalKind::hangup())?;
    AWAITED.store(true, Ordering::Relaxed);
    async fn comes(signal: &mut Option<Signal>) {
        match signal {
            Some(signal) => drop(signal.recv().await),
            None => std::future::pending().await,
        }
    }
    Ok(tokio::select! {
        () = comes(&mut interrupt) => "SIGINT",
        () = comes(&mut terminate) => "SIGTERM",
        () = comes(&mut hangup) => "SIGHUP",
    })
}

#[cfg(not(unix))]
pub(super) async fn asked_to_end() -> io::Result<&'static str> {
    tokio::signal::ctrl_c().await.map(|()| "Ctrl-C")
}

/// A file that would grow beyond the limit of its size (`ulimit -f`) is an error of whoever writes, as is a full disk,
/// and does not end the process without a word. Programs that this one starts are ended as ever.
#[cfg(unix)]
pub(super) fn outlive_file_limit() {
    use signal_hook::{consts::SIGXFSZ, flag};
    // Nobody looks whether it came: the write says so. Where it cannot be heard, it ends the process.
    let _ = flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)));
}

#[cfg(not(unix))]
pub(super) fn outlive_file_limit() {}

/// Whether this process ignores a signal, as only the system can tell without `unsafe`. Elsewhere than on Linux
/// none is known to be.
#[cfg(unix)]
pub(super) fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    let bit = 1_u64.checked_shl(signal.cast_unsigned().wrapping_sub(1)).unwrap_or(0);
    mask & bit != 0
}
