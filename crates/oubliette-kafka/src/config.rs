//! Which brokers, which topic, and how the clients of librdkafka are set up.

use std::{fmt, str::FromStr, time::Duration};

use rdkafka::{
    ClientConfig, ClientContext,
    config::{FromClientConfigAndContext, RDKafkaLogLevel},
    consumer::ConsumerContext,
    error::KafkaError as ClientError,
};

use crate::error::{Cause, OpenError};

/// How long a broker may keep us waiting, unless somebody says otherwise.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a consumer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// For the ends of what is committed.
    Ask,
    /// For the ends of all that is there.
    AskForAll,
    /// Reads here and there.
    Jump,
    /// Reads on, and waits at the end.
    Follow,
}

/// What the crate sets itself: with another value events would be lost, or read before they are committed.
const OURS: &[&str] = &[
    "acks",
    "request.required.acks",
    "auto.offset.reset",
    "bootstrap.servers",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "enable.partition.eof",
    "isolation.level",
    "max.in.flight",
    "max.in.flight.requests.per.connection",
    "message.max.bytes",
    "message.timeout.ms",
    "metadata.broker.list",
    "partitioner",
    "transaction.timeout.ms",
    "transactional.id",
];

/// The brokers, the topic, and settings of librdkafka such as those for a login.
///
/// `Debug` shows the names of the settings, never their values: one may be a password.
///
/// ```
/// use oubliette_kafka::KafkaConfig;
/// let config = KafkaConfig::new("kafka-1:9092,kafka-2:9092", "bank-events")
///     .with("security.protocol", "SASL_SSL")
///     .with("sasl.password", "hunter2");
/// assert!(!format!("{config:?}").contains("hunter2"));
/// let same: KafkaConfig = "kafka://kafka-1:9092,kafka-2:9092/bank-events".parse()?;
/// assert_eq!(same.topic(), "bank-events");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct KafkaConfig {
    servers: String,
    topic: String,
    settings: Vec<(String, String)>,
    patience: Duration,
}

impl KafkaConfig {
    /// These brokers (`host:port`, separated by commas) and this topic.
    pub fn new(servers: impl Into<String>, topic: impl Into<String>) -> Self {
        let (servers, topic) = (servers.into(), topic.into());
        Self { servers, topic, settings: Vec::new(), patience: PATIENCE }
    }

    /// The same, with one of librdkafka's settings: a login, a file of certificates. TLS needs the feature `ssl` of rdkafka.
    #[must_use]
    pub fn with(mut self, setting: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((setting.into(), value.into()));
        self
    }

    /// The same, but that a broker may keep a call waiting for so long (thirty seconds, unless this is said).
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    pub(crate) fn servers(&self) -> &str {
        &self.servers
    }

    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }

    /// What can be seen of it without asking a broker.
    pub(crate) fn check(&self) -> Result<(), OpenError> {
        check_servers(&self.servers)?;
        check_topic(&self.topic)?;
        match self.settings.iter().find(|(name, _)| OURS.contains(&name.as_str())) {
            Some((name, _)) => Err(OpenError::Setting { setting: name.clone() }),
            None => Ok(()),
        }
    }

    fn base(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.servers)
            .set("client.id", "oubliette")
            // A broker that comes back is found at once and not after ten seconds.
            .set("reconnect.backoff.max.ms", "500")
            .set("retry.backoff.ms", "5")
            .set("allow.auto.create.topics", "false");
        // One line for each error; the rest is ours to tell.
        config.set_log_level(RDKafkaLogLevel::Error);
        config
    }

    /// The user's own settings come last, because ours were checked not to be among them.
    fn finish<T: FromClientConfigAndContext<C>, C: ClientContext>(
        &self,
        mut config: ClientConfig,
        context: C,
    ) -> Result<T, Cause> {
        for (name, value) in &self.settings {
            config.set(name, value);
        }
        config.create_with_context(context).map_err(|error| Cause::of(&error))
    }

    /// A client that asks and changes topics.
    pub(crate) fn admin<T: FromClientConfigAndContext<Quiet>>(&self) -> Result<T, Cause> {
        self.finish(self.base(), Quiet)
    }

    /// A consumer for this.
    pub(crate) fn consumer<T: FromClientConfigAndContext<Quiet>>(
        &self,
        purpose: Purpose,
    ) -> Result<T, Cause> {
        let mut config = self.base();
        let committed = purpose != Purpose::AskForAll;
        config
            .set("isolation.level", if committed { "read_committed" } else { "read_uncommitted" });
        let wait = match purpose {
            Purpose::Ask | Purpose::AskForAll => return self.finish(config, Quiet),
            // A jump has to wait for the answer to the fetch before: at the end of the topic that is empty, and late.
            Purpose::Jump => "10",
            Purpose::Follow => "500",
        };
        config
            // Never joined: partitions are assigned by hand, and librdkafka wants a name for that.
            .set("group.id", format!("oubliette-{}", self.topic))
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            // What is not there any more is an error, and not a reason to begin elsewhere.
            .set("auto.offset.reset", "error")
            .set("enable.partition.eof", "true")
            .set("check.crcs", "true")
            // Reading one stream jumps through the log: what is fetched beside the event is in vain.
            .set("fetch.message.max.bytes", "262144")
            .set("queued.min.messages", "64")
            .set("fetch.queue.backoff.ms", "1")
            .set("fetch.error.backoff.ms", "10")
            .set("fetch.wait.max.ms", wait);
        self.finish(config, Quiet)
    }

    /// A producer whose transactions fence those of all others with the same id.
    pub(crate) fn producer<T: FromClientConfigAndContext<C>, C: ClientContext>(
        &self,
        transactional_id: &str,
        max_bytes: usize,
        context: C,
    ) -> Result<T, Cause> {
        let patience = self.patience.as_millis().clamp(1_000, 900_000).to_string();
        let mut config = self.base();
        config
            .set("transactional.id", transactional_id)
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("linger.ms", "0")
            // As Java's clients choose the partition of a key.
            .set("partitioner", "murmur2_random")
            .set("message.max.bytes", max_bytes.clamp(1_000, 1_000_000_000).to_string())
            .set("queue.buffering.max.messages", "0")
            .set("queue.buffering.max.kbytes", "2097151")
            .set("message.timeout.ms", &patience)
            .set("transaction.timeout.ms", &patience);
        self.finish(config, context)
    }
}

impl fmt::Debug for KafkaConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.settings.iter().map(|(name, _)| name).collect();
        f.debug_struct("KafkaConfig")
            .field("topic", &self.topic)
            .field("settings", &names)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}

impl FromStr for KafkaConfig {
    type Err = OpenError;

    /// Takes `kafka://host:port,host:port/topic`.
    fn from_str(url: &str) -> Result<Self, OpenError> {
        let wrong = |why| OpenError::Address { why };
        let rest = url.strip_prefix("kafka://").ok_or(wrong("it does not begin with kafka://"))?;
        let (servers, topic) = rest.split_once('/').ok_or(wrong("it names no topic"))?;
        check_servers(servers)?;
        check_topic(topic)?;
        Ok(Self::new(servers, topic))
    }
}

fn check_servers(servers: &str) -> Result<(), OpenError> {
    let wrong = |why| Err(OpenError::Address { why });
    if servers.contains('@') {
        return wrong("a login does not belong there: set `sasl.username` and `sasl.password`");
    }
    for server in servers.split(',') {
        let port = server.rsplit_once(':').filter(|(host, _)| !host.is_empty());
        if port.and_then(|(_, port)| port.parse::<u16>().ok()).is_none_or(|port| port == 0) {
            return wrong("each broker is a host, a colon and a port");
        }
    }
    Ok(())
}

/// Kafka's own rule for the names of topics.
fn check_topic(topic: &str) -> Result<(), OpenError> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if topic.is_empty() || topic.len() > 249 || topic == "." || topic == ".." {
        return Err(OpenError::Address { why: "a topic's name has 1 to 249 characters" });
    }
    if !topic.bytes().all(fits) {
        let why = "a topic's name has letters and digits of ASCII, '.', '_' and '-'";
        return Err(OpenError::Address { why });
    }
    Ok(())
}

/// What librdkafka says goes to `tracing`, and is not printed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(target: "librdkafka", facility, message);
    }

    fn error(&self, error: ClientError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, reason);
    }
}

impl ConsumerContext for Quiet {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_none_is_refused_and_not_repeated() {
        for (url, why) in [
            ("kafka:/a:1/t", "kafka://"),
            ("http://a:1/t", "kafka://"),
            ("kafka://a:1", "no topic"),
            ("kafka://a:1/", "1 to 249"),
            ("kafka://a:1/..", "1 to 249"),
            ("kafka://a:1/with space", "letters"),
            ("kafka://a:1/t/u", "letters"),
            ("kafka://a:1/t?acks=0", "letters"),
            ("kafka://a/t", "port"),
            ("kafka://:9092/t", "port"),
            ("kafka://a:0/t", "port"),
            ("kafka://a:99999/t", "port"),
            ("kafka://a:1,/t", "port"),
            ("kafka://me:hunter2@a:1/t", "sasl.password"),
        ] {
            let refused = url.parse::<KafkaConfig>().map(drop).unwrap_err().to_string();
            assert!(refused.contains(why) && !refused.contains("hunter2"), "{url}: {refused}");
        }
        assert!("kafka://[::1]:9092,b:2/a.b_c-1".parse::<KafkaConfig>().is_ok());
    }

    #[test]
    fn what_the_crate_relies_on_cannot_be_set() {
        for setting in OURS {
            let config = KafkaConfig::new("a:1", "t").with(*setting, "hunter2");
            let refused = config.check().unwrap_err().to_string();
            assert!(refused.contains(setting) && !refused.contains("hunter2"), "{refused}");
        }
        assert!(KafkaConfig::new("a:1", "t").with("client.rack", "a").check().is_ok());
    }
}
