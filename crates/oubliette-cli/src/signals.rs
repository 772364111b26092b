//! Signals that ask this process to end.

use std::io;

/// Waits for one: Ctrl-C, that of a service manager (TERM), that of a terminal which is closed (HUP). One
/// that whoever started the process has it ignore, as `nohup` does, stays ignored. Returns its name.
#[cfg(unix)]
pub(super) async fn asked_to_end() -> io::Result<&'static str> {
    use tokio::signal::unix::{Signal, SignalKind, signal};
    let ignored = ignored();
    let heard = |kind: SignalKind| -> io::Result<Option<Signal>> {
        let bit = 1_u64.checked_shl(kind.as_raw_value().cast_unsigned() - 1).unwrap_or(0);
        (ignored & bit == 0).then(|| signal(kind)).transpose()
    };
    let mut interrupt = heard(SignalKind::interrupt())?;
    let mut terminate = heard(SignalKind::terminate())?;
    let mut hangup = heard(SignalKind::hangup())?;
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

/// Which signals this process ignores, a bit for each: nobody else can tell without `unsafe`. Elsewhere
/// than on Linux none is known to be.
#[cfg(unix)]
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
