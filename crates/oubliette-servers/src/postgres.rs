//! PostgreSQL, as the distribution installs it.

use std::{
    env, fs,
    net::TcpStream,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::{Program, free_port, wait_until};

/// A cluster of its own, with a server that runs.
#[derive(Debug)]
pub struct Postgres {
    bin: PathBuf,
    // Before the folder, so that the server is gone when that is removed.
    server: Option<Program>,
    port: u16,
    databases: AtomicU32,
    folder: tempfile::TempDir,
}

impl Postgres {
    /// Makes a cluster and starts its server; `None` where PostgreSQL is not installed.
    ///
    /// # Panics
    /// Where it is, and does not start.
    pub fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// As [`Postgres::start`], with settings such as `("fsync", "off")`.
    ///
    /// # Panics
    /// As [`Postgres::start`].
    pub fn start_with(settings: &[(&str, &str)]) -> Option<Self> {
        let bin = find()?;
        let folder = tempfile::tempdir().unwrap();
        // PostgreSQL does not run as root, and the user that it then runs as must get in.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let port = free_port();
        let mut postgres = Self { bin, server: None, port, databases: AtomicU32::new(0), folder };
        let made = postgres
            .command("initdb")
            .args([
                "--no-sync",
                "--encoding=UTF8",
                "--locale=C",
                "--auth=trust",
                "--username=postgres",
                "-D",
            ])
            .arg(postgres.data())
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut text = format!(
            "port = {port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\nmax_connections = 400\n"
        );
        for (name, value) in settings {
            text.push_str(&format!("{name} = '{value}'\n"));
        }
        // The file is PostgreSQL's own user's: it is written to and not replaced.
        let file = postgres.data().join("postgresql.conf");
        let before = fs::read_to_string(&file).unwrap();
        fs::write(&file, before + &text).unwrap();
        postgres.restart();
        Some(postgres)
    }

    /// The folder with all that it stores.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address of a database, as its owner.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Makes an empty database and returns its address.
    ///
    /// # Panics
    /// Where it cannot be made.
    pub fn database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name} TEMPLATE template0"));
        self.url(&name)
    }

    /// Runs statements by PostgreSQL's own program, and returns what it prints.
    ///
    /// # Panics
    /// Where they fail.
    #[track_caller]
    pub fn sql(&self, database: &str, sql: &str) -> String {
        let run = self
            .command("psql")
            .args([
                "--no-psqlrc",
                "--quiet",
                "--tuples-only",
                "--no-align",
                "-v",
                "ON_ERROR_STOP=1",
            ])
            .args(["-c", sql])
            .arg(self.url(database))
            .output()
            .unwrap();
        assert!(run.status.success(), "{sql}: {}", String::from_utf8_lossy(&run.stderr));
        String::from_utf8(run.stdout).unwrap().trim_end().to_owned()
    }

    /// Kills the server and all that it started, at once.
    pub fn kill(&mut self) {
        // Its children end when they see that the first one is gone: that may take a moment, and the next server waits.
        if let Some(mut server) = self.server.take() {
            server.kill();
        }
    }

    /// Stops the server: open transactions are rolled back.
    pub fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.end(Signal::INT);
        }
    }

    /// Starts the server again, on the same folder and port.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn restart(&mut self) {
        self.stop();
        let log = self.folder.path().join("log");
        let mut attempts = 0;
        loop {
            let mut command = self.command("postgres");
            command.arg("-D").arg(self.data());
            let server = Program::start(&command, &log);
            let is_up = || TcpStream::connect(("127.0.0.1", self.port)).is_ok() && self.answers();
            // After a kill, children of the last server may still be about for a moment: then this one ends at once.
            let began = Instant::now();
            while !server.has_ended() && !is_up() && began.elapsed() < Duration::from_secs(60) {
                thread::sleep(Duration::from_millis(20));
            }
            if server.has_ended() && attempts < 100 {
                attempts += 1;
                thread::sleep(Duration::from_millis(100));
                continue;
            }
            wait_until(&server, &log, is_up);
            self.server = Some(server);
            return;
        }
    }

    fn answers(&self) -> bool {
        self.command("psql")
            .args(["--no-psqlrc", "-qtAc", "SELECT 1"])
            .arg(self.url("postgres"))
            .output()
            .is_ok_and(|run| run.status.success())
    }

    /// A program of PostgreSQL's, which does not run as root.
    fn command(&self, program: &str) -> Command {
        let program = self.bin.join(program);
        let is_root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
        let mut command = if is_root {
            // Not `runuser`, which would stay between us and the program.
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
            // Another user's process does not get the signal that it asked for before it became that user's.
            command.args(["--pdeathsig", "SIGKILL", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir(Path::new("/"));
        command
    }
}

fn find() -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .map(|version| version.unwrap().path().join("bin"))
        .chain(env::split_paths(&env::var_os("PATH").unwrap_or_default()))
        .filter(|bin| {
            ["initdb", "postgres", "psql"].iter().all(|program| bin.join(program).exists())
        })
        .collect();
    found.sort();
    found.pop()
}
