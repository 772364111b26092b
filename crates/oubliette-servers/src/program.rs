//! A program that runs beside a test, and no longer than that.

use std::{
    fs::File,
    net::TcpListener,
    path::Path,
    process::{Command, ExitStatus, Stdio},
    sync::mpsc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// A program that runs in the background. It is killed with its handle.
#[derive(Debug)]
pub struct Program {
    pid: Pid,
    waiting: Option<JoinHandle<ExitStatus>>,
}

impl Program {
    /// Starts it, with what it prints in a file. It is killed also where this process is.
    ///
    /// # Panics
    /// Where it cannot be started.
    #[track_caller]
    pub fn start(command: &Command, log: &Path) -> Self {
        // `setpriv` asks the kernel to kill the program with its parent. That is the thread which started it, so that
        // one stays until the program has ended.
        let mut started = Command::new("setpriv");
        started
            .args(["--pdeathsig", "SIGKILL", "--"])
            .arg(command.get_program())
            .args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => started.env(name, value),
                None => started.env_remove(name),
            };
        }
        started.current_dir(command.get_current_dir().unwrap_or(Path::new("/")));
        let file = File::options().create(true).append(true).open(log).unwrap();
        started.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        let (tell, told) = mpsc::channel();
        let waiting = thread::spawn(move || {
            let mut child = started.spawn().unwrap();
            tell.send(child.id()).unwrap();
            child.wait().unwrap()
        });
        let pid = told.recv().unwrap_or_else(|_| panic!("{command:?} cannot be started"));
        Self { pid: Pid::from_raw(pid.try_into().unwrap()).unwrap(), waiting: Some(waiting) }
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&self) -> bool {
        self.waiting.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        if !self.has_ended() {
            let _ = kill_process(self.pid, signal);
        }
    }

    /// Kills it, as a power cut would: it has no time to tidy up. Returns once it is gone.
    pub fn kill(&mut self) {
        self.end(Signal::KILL);
    }

    /// Asks it to end with this signal, and waits until it has.
    pub fn end(&mut self, signal: Signal) {
        self.signal(signal);
        if let Some(waiting) = self.waiting.take() {
            let _ = waiting.join();
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port that nobody listens on now.
///
/// # Panics
/// Where there is none.
pub fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// Waits until something is so: half a minute at most, or while the program runs.
///
/// # Panics
/// Where it does not become so, with what the program printed.
#[track_caller]
pub fn wait_until(program: &Program, log: &Path, mut so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(
            !program.has_ended() && began.elapsed() < Duration::from_secs(60),
            "the server does not start:\n{}",
            std::fs::read_to_string(log).unwrap_or_default()
        );
        thread::sleep(Duration::from_millis(20));
    }
}
