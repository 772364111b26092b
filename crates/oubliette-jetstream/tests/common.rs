//! What the tests share.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use oubliette::{store::Append, *};
use oubliette_jetstream::{JetStreamOptions, JetStreamStore};
use oubliette_servers::{Nats, skipped};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::timeout,
};

/// `./test` sets it where it installed a server.
pub(crate) const REQUIRE: &str = "OUBLIETTE_REQUIRE_NATS";

/// A server of the test's own, which has batches; or says that there is none.
pub(crate) fn server() -> Option<Nats> {
    server_with("")
}

pub(crate) fn server_with(configuration: &str) -> Option<Nats> {
    let nats = Nats::start_with(configuration).filter(|nats| nats.version() >= (2, 12));
    if nats.is_none() {
        skipped(
            REQUIRE,
            "no nats-server of 2.12 or later is installed: go install github.com/nats-io/nats-server/v2@latest",
        );
    }
    nats
}

/// Options with a stream and a prefix that no other test of this process has.
pub(crate) fn options(address: &str) -> JetStreamOptions {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    JetStreamOptions::new(address)
        .stream(format!("TEST{number}"))
        .prefix(format!("test{number}"))
        .synced_always()
}

pub(crate) async fn fresh(nats: &Nats) -> JetStreamStore {
    options(&nats.url()).create().await.unwrap()
}

pub(crate) fn name(text: &str) -> StreamName {
    StreamName::new(text).unwrap()
}

pub(crate) fn event(number: usize) -> NewEvent {
    let data = Json::parse(&format!(r#"{{"number":{number}}}"#)).unwrap();
    NewEvent::new(EventType::new("Counted").unwrap(), data)
}

pub(crate) fn events(count: usize) -> Vec<NewEvent> {
    (0..count).map(event).collect()
}

pub(crate) fn append_of(stream: &str, events: Vec<NewEvent>) -> Append {
    Append::new(name(stream), ExpectedRevision::Any, events)
}

pub(crate) fn ids(events: &[NewEvent]) -> Vec<EventId> {
    events.iter().map(|event| event.id).collect()
}

/// The ids that a stream has.
pub(crate) async fn ids_of(store: &impl EventStore, stream: &str) -> Vec<EventId> {
    let found = store.events(&name(stream), ReadOptions::default()).await.unwrap();
    found.iter().map(|event| event.id).collect()
}

/// Asks JetStream's interface, as an operator would: again, where there is no leader to answer.
pub(crate) async fn api(address: &str, what: &str, body: Value) -> Value {
    for _ in 0..20 {
        if let Some(answer) = ask(address, what, &body).await {
            return answer;
        }
    }
    panic!("no answer to {what}");
}

/// Asks once.
pub(crate) async fn ask(address: &str, what: &str, body: &Value) -> Option<Value> {
    let servers: Vec<async_nats::ServerAddr> =
        address.split(',').map(|one| one.parse().unwrap()).collect();
    let client = async_nats::connect(servers).await.ok()?;
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let answer = client.request(format!("$JS.API.{what}"), body.into());
    let answer = timeout(Duration::from_secs(3), answer).await.ok()?.ok()?;
    serde_json::from_slice(&answer.payload).ok()
}

/// Changes settings of a stream, as an operator would.
pub(crate) async fn edit(address: &str, stream: &str, changes: Value) -> Value {
    let mut config =
        api(address, &format!("STREAM.INFO.{stream}"), Value::Null).await["config"].clone();
    for (setting, value) in changes.as_object().unwrap() {
        config[setting] = value.clone();
    }
    api(address, &format!("STREAM.UPDATE.{stream}"), config).await
}

/// Stands between client and server, and can swallow what the server says, or cut the connection.
pub(crate) struct Proxy {
    port: u16,
    mute: Arc<AtomicBool>,
    cut: watch::Sender<u32>,
}

impl Proxy {
    pub(crate) async fn before(nats: &Nats) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let (port, server) = (listener.local_addr().unwrap().port(), nats.port());
        let (mute, cut) = (Arc::new(AtomicBool::new(false)), watch::Sender::new(0));
        let (muted, cutting) = (Arc::clone(&mute), cut.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (muted, mut cutting) = (Arc::clone(&muted), cutting.subscribe());
                tokio::spawn(async move {
                    let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else {
                        return;
                    };
                    let (mut from_client, mut to_client) = client.into_split();
                    let (mut from_server, mut to_server) = server.into_split();
                    let up =
                        async { tokio::io::copy(&mut from_client, &mut to_server).await.map(drop) };
                    let down = async {
                        // Small, so that a cut leaves a part of what was said.
                        let mut buffer = vec![0; 4_096];
                        loop {
                            let read = from_server.read(&mut buffer).await?;
                            if read == 0 {
                                return Ok::<(), std::io::Error>(());
                            }
                            if !muted.load(Ordering::SeqCst) {
                                to_client.write_all(&buffer[..read]).await?;
                            }
                        }
                    };
                    tokio::select! {
                        _ = up => {}
                        _ = down => {}
                        _ = cutting.changed() => {}
                    }
                });
            }
        });
        Self { port, mute, cut }
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Swallows what the server says from now on, or no longer.
    pub(crate) fn mute(&self, mute: bool) {
        self.mute.store(mute, Ordering::SeqCst);
    }

    /// Cuts all connections; new ones are let through.
    pub(crate) fn cut(&self) {
        self.cut.send_modify(|cuts| *cuts += 1);
    }
}
