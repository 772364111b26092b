//! NATS with JetStream: one server, or a cluster of them.

use std::{
    env, fs,
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
};

use rustix::process::Signal;

use crate::{Program, free_port, wait_until};

/// A server in a folder of its own.
#[derive(Debug)]
pub struct Nats {
    program: PathBuf,
    // Before the folder, so that the server is gone when that is removed.
    server: Option<Program>,
    port: u16,
    folder: tempfile::TempDir,
}

impl Nats {
    /// Starts the newest server that is installed; `None` where none is.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn start() -> Option<Self> {
        Self::start_with("")
    }

    /// As [`Nats::start`], with more lines in its configuration.
    ///
    /// # Panics
    /// As [`Nats::start`].
    pub fn start_with(configuration: &str) -> Option<Self> {
        Some(Self::start_program(&newest()?, configuration))
    }

    /// Starts Debian's server, which is older; `None` where it is not installed.
    ///
    /// # Panics
    /// As [`Nats::start`].
    pub fn start_old() -> Option<Self> {
        let program = Path::new(DEBIANS);
        program.exists().then(|| Self::start_program(program, ""))
    }

    /// Starts the server that this program is.
    ///
    /// # Panics
    /// As [`Nats::start`].
    pub fn start_program(program: &Path, configuration: &str) -> Self {
        let mut nats = Self::prepare(program, configuration);
        nats.restart();
        nats
    }

    /// Starts a cluster; empty where no server is installed.
    ///
    /// # Panics
    /// As [`Nats::start`].
    pub fn cluster(servers: usize) -> Vec<Self> {
        let Some(program) = newest() else { return Vec::new() };
        let ports: Vec<u16> = (0..servers).map(|_| free_port()).collect();
        let routes: Vec<String> =
            ports.iter().map(|port| format!("nats://127.0.0.1:{port}")).collect();
        let mut all: Vec<Self> = ports
            .iter()
            .enumerate()
            .map(|(number, port)| {
                let configuration = format!(
                    "server_name: n{number}\ncluster {{ name: test, listen: \"127.0.0.1:{port}\", routes: [{}] }}",
                    routes.join(", ")
                );
                Self::prepare(&program, &configuration)
            })
            .collect();
        // Together: one that is alone does not answer.
        for nats in &mut all {
            nats.spawn();
        }
        for nats in &all {
            nats.wait();
        }
        all
    }

    fn prepare(program: &Path, configuration: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        // Debian's 2.9 knows neither. A batch is longer than by default, for events that are stored as two.
        let (version, mut more) = (version_of(program), String::new());
        if version >= (2, 10) {
            more.push_str("sync_interval: always");
        }
        if version >= (2, 12) {
            more.push_str(", limits { batch { max_msgs: 2000 } }");
        }
        let text = format!(
            "listen: \"127.0.0.1:{port}\"\n\
             # More than the longest event that the library has.\n\
             max_payload: 33554432\n\
             jetstream {{ store_dir: \"{}\", max_file_store: 8G, max_memory_store: 256M, {more} }}\n\
             {configuration}\n",
            folder.path().join("data").display()
        );
        fs::write(folder.path().join("nats.conf"), text).unwrap();
        Self { program: program.to_owned(), server: None, port, folder }
    }

    /// Its address, without a user.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder with all that it stores.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// What it printed.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Its major and minor version, such as `(2, 12)`.
    pub fn version(&self) -> (u32, u32) {
        version_of(&self.program)
    }

    /// Has the newest server that is installed take over at the next start; `false` where it is no newer.
    pub fn upgrade(&mut self) -> bool {
        let Some(newest) = newest().filter(|newest| version_of(newest) > self.version()) else {
            return false;
        };
        self.program = newest;
        true
    }

    /// Kills the server, as a power cut would but for what the system has not written yet.
    pub fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill();
        }
    }

    /// Stops the server, which tidies up.
    pub fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.end(Signal::TERM);
        }
    }

    /// Has it stand still: it keeps its connections, and answers nobody.
    pub fn freeze(&self) {
        if let Some(server) = &self.server {
            server.signal(Signal::STOP);
        }
    }

    /// Has it go on.
    pub fn thaw(&self) {
        if let Some(server) = &self.server {
            server.signal(Signal::CONT);
        }
    }

    /// Starts the server again, on the same folder and port.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn restart(&mut self) {
        self.stop();
        self.spawn();
        self.wait();
    }

    fn spawn(&mut self) {
        let mut command = Command::new(&self.program);
        command.arg("-c").arg(self.folder.path().join("nats.conf"));
        self.server = Some(Program::start(&command, &self.folder.path().join("log")));
    }

    fn wait(&self) {
        if let Some(server) = &self.server {
            let up = || TcpStream::connect(("127.0.0.1", self.port)).is_ok();
            wait_until(server, &self.folder.path().join("log"), up);
        }
    }
}

/// Where Debian's package puts it.
const DEBIANS: &str = "/usr/sbin/nats-server";

/// The newest server that is installed. `go install` puts one into `~/go/bin`, or where `GOBIN` says.
fn newest() -> Option<PathBuf> {
    if let Some(named) = env::var_os("OUBLIETTE_NATS_SERVER") {
        return Some(PathBuf::from(named));
    }
    let home = env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = env::var_os("PATH").unwrap_or_default();
    let mut found: Vec<PathBuf> =
        [home.join("go/bin"), workspace.join("target/go-bin"), PathBuf::from("/usr/sbin")]
            .into_iter()
            .chain(env::split_paths(&path))
            .map(|folder| folder.join("nats-server"))
            .filter(|program| program.is_file())
            .collect();
    // Of two of one version, the first.
    found.reverse();
    found.into_iter().max_by_key(|program| version_of(program))
}

/// Of `nats-server: v2.12.1`; `(0, 0)` where it says something else.
fn version_of(program: &Path) -> (u32, u32) {
    let Ok(said) = Command::new(program).arg("--version").output() else { return (0, 0) };
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let mut numbers =
        said.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}
