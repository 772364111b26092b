//! The terminal while it shows nothing of what is typed: a signal that ends the process leaves it as it was before.

use std::{
    fs::File,
    io::{self, Write},
    sync::{Mutex, Once, PoisonError, mpsc},
    thread,
};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM},
    iterator::Signals,
    low_level::emulate_default_handler,
};

use super::signals;

/// What it was like, while somebody is asked.
static BEFORE: Mutex<Option<(File, Termios)>> = Mutex::new(None);

/// Somebody is being asked.
pub(super) struct Kept(());

impl Drop for Kept {
    fn drop(&mut self) {
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Keeps what the terminal is like, until what is returned is dropped.
pub(super) fn keep() -> io::Result<Kept> {
    static WATCHED: Once = Once::new();
    WATCHED.call_once(watch);
    let terminal = File::options().read(true).write(true).open("/dev/tty")?;
    let state = tcgetattr(&terminal)?;
    *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some((terminal, state));
    Ok(Kept(()))
}

/// Somebody typed Ctrl-C: while nothing is shown, no signal comes of it but the one that asking raises.
pub(super) fn interrupted() {
    if !signals::is_ignored(SIGINT) {
        end(SIGINT);
    }
}

/// Takes the signals over, for good: nothing puts their defaults back but what ends the process.
fn watch() {
    let (ready, is_ready) = mpsc::channel();
    let watch = move || {
        let heard = [SIGHUP, SIGINT, SIGQUIT, SIGTERM].into_iter();
        let Ok(mut signals) = Signals::new(heard.filter(|signal| !signals::is_ignored(*signal)))
        else {
            return;
        };
        let _ = ready.send(());
        signals.forever().for_each(end);
    };
    if thread::Builder::new().name("terminal".to_owned()).spawn(watch).is_ok() {
        let _ = is_ready.recv();
    }
}

/// Ends the process by a signal, as its default does, unless nobody is asked and the command ends itself on it.
fn end(signal: i32) {
    if put_back(signal) || signal == SIGQUIT || !signals::are_awaited() {
        let _ = emulate_default_handler(signal);
    }
}

/// Whether there was something to put back.
fn put_back(signal: i32) -> bool {
    let mut before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some((terminal, state)) = &mut *before else { return false };
    // It may be gone.
    let _ = tcsetattr(&*terminal, OptionalActions::Now, state);
    if signal != SIGINT {
        let _ = terminal.write_all(b"\n");
    }
    true
}
