//! Apache Kafka, from the jars that its makers publish.

use std::{
    env, fs,
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::{Program, free_port};

/// The version whose jars are fetched.
const VERSION: &str = "4.4.0";
/// Each broker is the only one of its cluster.
const CLUSTER: &str = "MkU3OEVBNTcwNTJENDM2Qg";
/// A small heap, the collector that needs no threads of its own, and no time for compiling what soon ends.
const JVM: [&str; 4] = ["-Xmx384m", "-Xms384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"];
/// How long a broker may take to start on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(240);

/// One broker that is its own controller, in a temporary folder.
#[derive(Debug)]
pub struct Kafka {
    jars: PathBuf,
    // Before the folder, so that the server is gone when that is removed.
    server: Option<Program>,
    port: u16,
    topics: AtomicU32,
    folder: tempfile::TempDir,
}

impl Kafka {
    /// Starts a broker; `None` where Java or Maven is missing, or the jars cannot be fetched, which it says.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// As [`Kafka::start`], with properties such as `("log.flush.interval.messages", "1")`.
    ///
    /// # Panics
    /// As [`Kafka::start`].
    pub fn start_with(properties: &[(&str, &str)]) -> Option<Self> {
        let jars = jars()?;
        let folder = tempfile::tempdir().unwrap();
        let (port, controller) = (free_port(), free_port());
        let text = format!(
            "process.roles=broker,controller\n\
             node.id=1\n\
             controller.quorum.voters=1@127.0.0.1:{controller}\n\
             listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{port}\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
             controller.listener.names=CONTROLLER\n\
             inter.broker.listener.name=PLAINTEXT\n\
             log.dirs={}\n\
             auto.create.topics.enable=false\n\
             offsets.topic.replication.factor=1\n\
             offsets.topic.num.partitions=1\n\
             transaction.state.log.replication.factor=1\n\
             transaction.state.log.num.partitions=1\n\
             transaction.state.log.min.isr=1\n\
             share.coordinator.state.topic.replication.factor=1\n\
             share.coordinator.state.topic.min.isr=1\n\
             group.initial.rebalance.delay.ms=0\n\
             log.cleaner.dedupe.buffer.size=2097152\n",
            folder.path().join("data").display()
        );
        let more = properties.iter().map(|(name, value)| format!("{name}={value}\n"));
        let text: String = std::iter::once(text).chain(more).collect();
        fs::write(folder.path().join("server.properties"), text).unwrap();
        let mut kafka = Self { jars, server: None, port, topics: AtomicU32::new(0), folder };
        kafka.format();
        kafka.restart();
        Some(kafka)
    }

    /// Makes the folder that a broker begins with. It is the same for all, so that it is made once and copied.
    fn format(&self) {
        let kept = self.jars.with_file_name(format!("kafka-{VERSION}-formatted"));
        let files = || fs::read_dir(&kept).map(|files| files.map(Result::unwrap).collect());
        let files: Vec<fs::DirEntry> = files().unwrap_or_default();
        if files.is_empty() {
            let format = ["format", "-t", CLUSTER, "-c"];
            let made = self.java("kafka.tools.StorageTool", &format).output().unwrap();
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
            // Somewhere else first, and whole: another test may do the same.
            let work = tempfile::tempdir_in(kept.parent().unwrap()).unwrap();
            copy(&self.data(), work.path());
            let _ = fs::rename(work.path(), &kept);
            return;
        }
        fs::create_dir_all(self.data()).unwrap();
        copy(&kept, &self.data());
    }

    /// The folder with all that it stores.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Its address, as a client's `bootstrap.servers`.
    pub fn servers(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A name that no topic has yet.
    pub fn new_topic(&self) -> String {
        format!("test-{}", self.topics.fetch_add(1, Ordering::Relaxed))
    }

    /// Kills the broker, at once.
    pub fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill();
        }
    }

    /// Stops the broker: it writes everything to the disk first.
    pub fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.end(Signal::TERM);
        }
    }

    /// Starts the broker again, on the same folder and port.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn restart(&mut self) {
        self.stop();
        let log = self.folder.path().join("log");
        let server = Program::start(&self.java("kafka.Kafka", &[]), &log);
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(
                !server.has_ended() && began.elapsed() < PATIENCE,
                "Kafka does not start:\n{}",
                fs::read_to_string(&log).unwrap_or_default()
            );
            thread::sleep(Duration::from_millis(50));
        }
        self.server = Some(server);
    }

    /// Stops the broker in the middle of what it does, so that it answers nobody; [`Kafka::thaw`] lets it go on.
    pub fn freeze(&self) {
        if let Some(server) = &self.server {
            server.signal(Signal::STOP);
        }
    }

    /// Lets a broker go on that was frozen.
    pub fn thaw(&self) {
        if let Some(server) = &self.server {
            server.signal(Signal::CONT);
        }
    }

    /// One of Kafka's programs, with the server's properties as its last argument.
    fn java(&self, class: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("java");
        let classes = format!("{}/*", self.jars.display());
        command.args(JVM).args(["-cp", &classes, class]).args(arguments);
        command.arg(self.folder.path().join("server.properties"));
        command.current_dir(Path::new("/"));
        command
    }
}

/// Copies the files of a folder.
fn copy(from: &Path, to: &Path) {
    for file in fs::read_dir(from).unwrap().map(Result::unwrap) {
        if file.file_type().unwrap().is_file() {
            fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    }
}

/// The folder with Kafka's jars: fetched once, by whichever test is first.
fn jars() -> Option<PathBuf> {
    let is_there = |program: &str| {
        let paths = env::var_os("PATH").unwrap_or_default();
        env::split_paths(&paths).any(|folder| folder.join(program).exists())
    };
    if !is_there("java") {
        return None;
    }
    let target = env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target =
        target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"));
    let jars = target.join(format!("kafka-{VERSION}"));
    if jars.exists() {
        return Some(jars);
    }
    if !is_there("mvn") {
        return None;
    }
    fs::create_dir_all(&target).unwrap();
    let lock = fs::File::create(target.join("kafka.lock")).unwrap();
    lock.lock().unwrap();
    if jars.exists() {
        return Some(jars);
    }
    // Somewhere else first: half a folder would be taken for a whole one.
    let work = tempfile::tempdir_in(&target).unwrap();
    fs::write(work.path().join("pom.xml"), pom()).unwrap();
    let fetched = Command::new("mvn")
        .args(["--batch-mode", "--quiet", "dependency:copy-dependencies", "-DoutputDirectory=jars"])
        .current_dir(work.path())
        .output()
        .unwrap();
    if !fetched.status.success() {
        eprintln!("Maven cannot fetch Kafka: {}", String::from_utf8_lossy(&fetched.stdout));
        return None;
    }
    fs::rename(work.path().join("jars"), &jars).unwrap();
    Some(jars)
}

fn pom() -> String {
    let dependency = |group: &str, artifact: &str, version: &str| {
        format!(
            "<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>\
             <version>{version}</version></dependency>"
        )
    };
    format!(
        "<project><modelVersion>4.0.0</modelVersion><groupId>test</groupId><artifactId>kafka</artifactId>\
         <version>1</version><packaging>pom</packaging><dependencies>{}{}</dependencies></project>",
        dependency("org.apache.kafka", "kafka_2.13", VERSION),
        dependency("org.apache.logging.log4j", "log4j-slf4j-impl", "2.25.1")
    )
}
