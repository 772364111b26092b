//! From an address to a store, or to the reason why not.

use std::{sync::Arc, time::Duration};

use async_nats::ConnectOptions;
use oubliette::{
    EventId, TaskError,
    store::{Capabilities, Capability},
};
use serde_json::Value;
use tokio::{runtime::Handle, sync::Semaphore};

use crate::{
    JetStreamOptions,
    config::{self, Facts, Version},
    error::{JetStreamError, code},
    ids,
    link::{Failed, Link, Lost, Pauses},
    pages::Source,
    store::{Inner, JetStreamStore, News},
    subject::Prefix,
};

/// How many batches one process has in flight. A server takes 50 for a stream, from all processes together.
const BATCHES_IN_FLIGHT: usize = 12;

pub(crate) async fn open(
    mut options: JetStreamOptions,
    make: bool,
) -> Result<JetStreamStore, JetStreamError> {
    Handle::try_current().map_err(|_| TaskError::NoRuntime)?;
    let prefix =
        Prefix::new(&options.prefix).ok_or(JetStreamError::Answer("the prefix is none"))?;
    // A server that is gone without a word is noticed after two of these.
    let connect = options
        .connect
        .take()
        .unwrap_or_else(|| ConnectOptions::new().ping_interval(Duration::from_secs(10)));
    let link = Link::connect(&options.address, connect, options.patience).await?;
    let version = Version::parse(&link.version())
        .ok_or(JetStreamError::Answer("its version is no version"))?;
    if version < Version::OLDEST {
        return Err(JetStreamError::Answer("it is older than 2.9.0"));
    }
    let info = find_or_make(&link, &options, &prefix, version, make).await?;
    let facts = config::check(&info["config"], &options, &prefix, version)?;
    let (pages, replicated) = (version >= Version::PAGES, facts.replicas > 1);
    let source = Source::new(link.clone(), &options.stream, &info, pages, replicated);
    // A user who may not append is told now, and so is one whose server does not answer by id.
    ids::sequence(&link, &prefix.subject_of_nobody(), EventId::random()).await.map_err(
        |failed| match failed {
            Failed::Lost(lost) => link.explain(lost),
            Failed::Said(said) => said.into(),
        },
    )?;
    let doubts = doubts(&options, facts);
    for doubt in &doubts {
        tracing::warn!(stream = %options.stream, "{doubt}");
    }
    let inner = Inner {
        capabilities: capabilities(facts.batches),
        news: News::new(facts.news),
        batches: Semaphore::new(BATCHES_IN_FLIGHT),
        batch_limit: options.batch,
        version: link.version(),
        stream: options.stream,
        prefix,
        facts,
        doubts,
        source,
        link,
    };
    Ok(JetStreamStore { inner: Arc::new(inner) })
}

/// What the store can do. It does not restore: a revision is the sequence that the server gives, and nobody can choose it.
fn capabilities(batches: bool) -> Capabilities {
    let all = Capabilities::of(&[
        Capability::ReadBackwards,
        Capability::ReadAll,
        Capability::Subscribe,
        Capability::Bytes,
        Capability::Verbatim,
        Capability::LongNumbers,
        Capability::Nul,
    ]);
    if batches { all.with(Capability::AtomicMultiStream) } else { all }
}

/// What the server says of the stream.
async fn find_or_make(
    link: &Link,
    options: &JetStreamOptions,
    prefix: &Prefix,
    version: Version,
    make: bool,
) -> Result<Value, JetStreamError> {
    let JetStreamOptions { stream, .. } = options;
    let asked = format!("STREAM.INFO.{stream}");
    let found = match ask(link, &asked, &Value::Null).await {
        Err(Failed::Said(said)) if said.code == code::NO_STREAM => None,
        Ok(info) => Some(info),
        Err(failed) => return Err(explain(link, failed)),
    };
    let wanted = config::wanted(options, prefix, version);
    let (what, config) = match found {
        None if !make => return Err(JetStreamError::Missing { stream: stream.clone() }),
        None => ("CREATE", wanted),
        Some(info) => {
            let mut config = info["config"].clone();
            let lacks_batches = version >= Version::BATCHES && config["allow_atomic"] != true;
            // Only of a stream that is ours in every other way.
            if !(make && lacks_batches && config::check(&config, options, prefix, version).is_ok())
            {
                return Ok(info);
            }
            config["allow_atomic"] = true.into();
            ("UPDATE", config)
        }
    };
    match ask(link, &format!("STREAM.{what}.{stream}"), &config).await {
        Ok(_) => {}
        // Somebody made it in this moment: looked at like any other.
        Err(Failed::Said(said)) if said.code == code::NAME_IN_USE => {}
        Err(Failed::Said(said)) if !code::NO_JETSTREAM.contains(&said.code) => {
            return Err(JetStreamError::Create { stream: stream.clone(), said: said.text });
        }
        Err(failed) => return Err(explain(link, failed)),
    }
    ask(link, &asked, &Value::Null).await.map_err(|failed| explain(link, failed))
}

/// Asks until there is an answer. Right after its start a server says that nobody is there; a cluster, that it has no
/// leader yet.
async fn ask(link: &Link, what: &str, body: &Value) -> Result<Value, Failed> {
    const NOT_YET: [u64; 2] = [10008, 10009];
    let mut pauses = Pauses::new();
    loop {
        let answer = link.api(what, body).await;
        let patience = match &answer {
            Err(Failed::Lost(Lost::NobodyThere)) => Duration::from_secs(2),
            Err(Failed::Lost(Lost::Unanswered)) => link.patience,
            Err(Failed::Said(said)) if NOT_YET.contains(&said.code) => link.patience,
            _ => return answer,
        };
        if pauses.elapsed() >= patience {
            return answer;
        }
        pauses.pause().await;
    }
}

fn explain(link: &Link, failed: Failed) -> JetStreamError {
    let no_jetstream = || JetStreamError::NoJetStream { server: link.server().to_owned() };
    match failed {
        Failed::Lost(Lost::NobodyThere) => no_jetstream(),
        Failed::Said(said) if code::NO_JETSTREAM.contains(&said.code) => no_jetstream(),
        Failed::Lost(lost) => link.explain(lost),
        Failed::Said(said) => said.into(),
    }
}

/// What "stored" does not mean here.
fn doubts(options: &JetStreamOptions, facts: Facts) -> Vec<String> {
    let mut doubts = Vec::new();
    if !options.synced {
        doubts.push(match facts.replicas {
            0 | 1 => "The server acknowledges an event before it is on the disk: by default it syncs every two minutes, \
                and a power cut in between loses acknowledged events. Set `sync_interval: always` in the `jetstream` block \
                of the server, and open the store with `synced_always`."
                .to_owned(),
            count => format!(
                "Each of the {count} servers acknowledges an event before it is on its disk: by default they sync every two \
                minutes, and a power cut that meets most of them at once loses acknowledged events. Set \
                `sync_interval: always` in the `jetstream` block of every server, and open the store with `synced_always`."
            ),
        });
    }
    if facts.replicas <= 1 {
        doubts.push(
            "The stream has one replica: what its one server's disk loses is lost. Set `num_replicas` to 3 in a cluster, or \
             back the stream up."
                .to_owned(),
        );
    }
    doubts
}
