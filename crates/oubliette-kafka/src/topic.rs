//! What is asked of the server before a topic is used: whether it keeps what it is given, and what "stored" means there.

use std::{collections::HashMap, time::Duration};

use oubliette::event::MAX_STORED_BYTES;
use rdkafka::{
    admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication},
    consumer::{BaseConsumer, Consumer},
    types::RDKafkaErrorCode as Code,
};

use crate::{
    KafkaConfig,
    config::{Purpose, Quiet},
    error::{Cause, OpenError},
};

/// Room for the largest payload and the largest metadata that a store accepts.
const LARGEST: usize = 2 * MAX_STORED_BYTES + 64 * 1024;

/// What the server told about a topic.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) partitions: usize,
    pub(crate) max_bytes: usize,
    leader: i32,
    replicas: usize,
    brokers: usize,
    settings: HashMap<String, String>,
    /// Of the broker that leads the topic; `None` where we may not ask.
    broker: Option<HashMap<String, String>>,
    /// How many replicas the topic of the transactions has; `None` where there is none yet.
    transactions: Option<usize>,
}

/// Asks the server about a topic.
pub(crate) async fn ask(config: &KafkaConfig, topic: &str) -> Result<Topic, OpenError> {
    let Seen { brokers, found, transactions } = see(config, topic).await?;
    let missing = || OpenError::Missing { topic: topic.to_owned() };
    let Found { partitions, replicas, leader } = found.ok_or_else(missing)?;
    let admin: AdminClient<Quiet> =
        config.admin().map_err(|cause| OpenError::kafka(config, "making a client", cause))?;
    let settings =
        describe(config, &admin, &ResourceSpecifier::Topic(topic)).await.map_err(|cause| {
            if cause.is_denied() {
                let what =
                    format!("ask for the configuration of topic {topic} (`DescribeConfigs`)");
                OpenError::Denied { what, source: cause }
            } else {
                OpenError::kafka(config, "asking for the topic's configuration", cause)
            }
        })?;
    let broker = describe(config, &admin, &ResourceSpecifier::Broker(leader)).await.ok();
    let max_bytes = settings.get("max.message.bytes").and_then(|bytes| bytes.parse().ok());
    let max_bytes = max_bytes.unwrap_or(1_000_000);
    Ok(Topic { partitions, max_bytes, leader, replicas, brokers, settings, broker, transactions })
}

/// Makes the store's topic; says whether it was there already.
pub(crate) async fn create(config: &KafkaConfig) -> Result<bool, OpenError> {
    let brokers = see(config, config.topic()).await?.brokers;
    // Three copies, of which two must have an event before it is acknowledged.
    let replicas = i32::try_from(brokers.min(3)).unwrap_or(1);
    let largest = LARGEST.to_string();
    let settings = [
        ("retention.ms", "-1"),
        ("retention.bytes", "-1"),
        ("cleanup.policy", "delete"),
        ("unclean.leader.election.enable", "false"),
        ("max.message.bytes", largest.as_str()),
        ("min.insync.replicas", if replicas > 1 { "2" } else { "1" }),
    ];
    make(config, config.topic(), 1, replicas, &settings).await
}

/// Makes a topic; says whether it was there already.
pub(crate) async fn make(
    config: &KafkaConfig,
    name: &str,
    partitions: i32,
    replicas: i32,
    settings: &[(&str, &str)],
) -> Result<bool, OpenError> {
    let doing = "creating the topic";
    let admin: AdminClient<Quiet> =
        config.admin().map_err(|cause| OpenError::kafka(config, doing, cause))?;
    let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(replicas));
    topic.config.extend_from_slice(settings);
    let options = options(config);
    let made = admin.create_topics([&topic], &options).await;
    let made = made.map_err(|error| OpenError::kafka(config, doing, Cause::of(&error)))?;
    match made.into_iter().next() {
        Some(Err((_, Code::TopicAlreadyExists))) => Ok(true),
        Some(Err((_, code))) => Err(OpenError::kafka(config, doing, Cause::of_code(code))),
        _ => Ok(false),
    }
}

fn options(config: &KafkaConfig) -> AdminOptions {
    let patience = Some(config.patience());
    AdminOptions::new().request_timeout(patience).operation_timeout(patience)
}

/// What the brokers say of themselves and of a topic.
struct Seen {
    brokers: usize,
    found: Option<Found>,
    transactions: Option<usize>,
}

struct Found {
    partitions: usize,
    replicas: usize,
    leader: i32,
}

/// Asks for all topics: asking for one by its name may make it.
async fn see(config: &KafkaConfig, topic: &str) -> Result<Seen, OpenError> {
    let (asked, topic) = (config.clone(), topic.to_owned());
    let ask = move || {
        let consumer: BaseConsumer<Quiet> = asked.consumer(Purpose::Ask)?;
        let metadata = consumer.fetch_metadata(None, asked.patience()).map_err(|error| {
            // A login that is refused is told apart from the answer, which does not come.
            let mut told = (0..20).filter_map(|_| consumer.poll(Duration::from_millis(10))?.err());
            let denied = told.find_map(|error| Some(Cause::of(&error)).filter(Cause::is_denied));
            denied.unwrap_or_else(|| Cause::of(&error))
        })?;
        let find = |name: &str| metadata.topics().iter().find(|found| found.name() == name);
        let found = find(&topic).and_then(|found| {
            let first = found.partitions().first()?;
            let (partitions, leader) = (found.partitions().len(), first.leader());
            Some(Found { partitions, replicas: first.replicas().len(), leader })
        });
        let transactions = find("__transaction_state")
            .and_then(|topic| topic.partitions().iter().map(|one| one.replicas().len()).min());
        Ok(Seen { brokers: metadata.brokers().len(), found, transactions })
    };
    let asked = crate::pages::blocking(ask)?.await.map_err(oubliette::TaskError::from)?;
    asked.map_err(|cause| OpenError::kafka(config, "asking for topics", cause))
}

async fn describe(
    config: &KafkaConfig,
    admin: &AdminClient<Quiet>,
    what: &ResourceSpecifier<'_>,
) -> Result<HashMap<String, String>, Cause> {
    let described = admin.describe_configs([what], &options(config)).await;
    let described = described.map_err(|error| Cause::of(&error))?.into_iter().next();
    let entries = match described {
        Some(Ok(resource)) => resource.entries,
        Some(Err(code)) => return Err(Cause::of_code(code)),
        None => Vec::new(),
    };
    Ok(entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))).collect())
}

impl Topic {
    fn setting(&self, name: &str) -> &str {
        self.settings.get(name).map_or("", String::as_str)
    }

    /// Refuses what would lose events of a store.
    pub(crate) fn check_for_store(&self, topic: &str) -> Result<(), OpenError> {
        let unfit = |setting, found: &str, wanted: &str, why| {
            let (topic, found, wanted) = (topic.to_owned(), found.to_owned(), wanted.to_owned());
            Err(OpenError::Unfit { topic, setting, found, wanted, why })
        };
        if self.partitions != 1 {
            let found = self.partitions.to_string();
            return unfit(
                "partitions",
                &found,
                "1, which a new topic has",
                "and events have one order in one partition only",
            );
        }
        for setting in ["retention.ms", "retention.bytes"] {
            let found = self.setting(setting);
            if found != "-1" {
                return unfit(setting, found, "-1", "after which Kafka deletes events");
            }
        }
        let policy = self.setting("cleanup.policy");
        if policy != "delete" {
            return unfit("cleanup.policy", policy, "delete", "which removes events");
        }
        let in_sync = self.in_sync();
        if self.replicas > 1 && in_sync < 2 {
            return unfit(
                "min.insync.replicas",
                &in_sync.to_string(),
                "2",
                "so that an event is acknowledged with one copy and lost with that broker",
            );
        }
        Ok(())
    }

    /// Refuses what would keep of each stream the last event only.
    pub(crate) fn check_for_relay(&self, topic: &str) -> Result<(), OpenError> {
        let policy = self.setting("cleanup.policy");
        if !policy.contains("compact") {
            return Ok(());
        }
        Err(OpenError::Unfit {
            topic: topic.to_owned(),
            setting: "cleanup.policy",
            found: policy.to_owned(),
            wanted: "delete".to_owned(),
            why: "which would leave of each stream the last event only",
        })
    }

    /// Refuses what would keep what is forgotten in caches from being found.
    pub(crate) fn check_for_forgotten(&self, topic: &str) -> Result<(), OpenError> {
        let policy = self.setting("cleanup.policy");
        if policy == "compact" {
            return Ok(());
        }
        Err(OpenError::Unfit {
            topic: topic.to_owned(),
            setting: "cleanup.policy",
            found: policy.to_owned(),
            wanted: "compact".to_owned(),
            why: "so that a cache which comes late would not learn of those who are forgotten",
        })
    }

    /// Whether somebody takes what is written to it.
    pub(crate) fn has_leader(&self) -> bool {
        self.leader >= 0
    }

    fn in_sync(&self) -> usize {
        self.setting("min.insync.replicas").parse().unwrap_or(1)
    }

    /// What "stored" means there, where it is not "on the disk".
    pub(crate) fn doubts(&self) -> Vec<String> {
        let mut doubts = Vec::new();
        let of_broker = |name: &str| self.broker.as_ref()?.get(name).cloned();
        if self.setting("unclean.leader.election.enable") == "true" {
            doubts.push(
                "unclean.leader.election.enable is true: a broker that missed acknowledged events may become the \
                 leader, and they are lost; set it to false for this topic."
                    .to_owned(),
            );
        }
        // The mark that makes a transaction count is in a topic of Kafka's own: what is said of this topic alone is
        // not enough.
        let is_synced = of_broker("log.flush.interval.messages").as_deref() == Some("1");
        if self.broker.is_none() {
            doubts.push(
                "Kafka does not let this program ask for the broker's configuration, so that it is not known whether \
                 acknowledged events are on the disk; grant `DescribeConfigs` on the cluster."
                    .to_owned(),
            );
        } else if self.replicas == 1 && !is_synced {
            doubts.push(
                "The topic has one copy (replication factor 1), and its broker does not write each event through to \
                 the disk (log.flush.interval.messages is not 1): what it acknowledged in the last moments is lost in \
                 a power cut; use three copies with min.insync.replicas=2, or set log.flush.interval.messages=1 for \
                 the broker."
                    .to_owned(),
            );
        } else if !is_synced {
            let in_sync = self.in_sync();
            doubts.push(format!(
                "Acknowledged events are in the memory of at least {in_sync} of {} brokers, which write them to the \
                 disk later (log.flush.interval.messages is not 1): if all {in_sync} lose their power in one moment \
                 the last events are lost; keep the brokers where that does not happen, or set it to 1.",
                self.replicas
            ));
        }
        let transactions = self.transactions.or_else(|| {
            of_broker("transaction.state.log.replication.factor")
                .and_then(|count| count.parse().ok())
        });
        let in_sync = of_broker("transaction.state.log.min.isr");
        let in_sync = in_sync.and_then(|count| count.parse::<usize>().ok());
        if self.replicas > 1
            && (transactions.is_some_and(|count| count < 2)
                || in_sync.is_some_and(|count| count < 2))
        {
            doubts.push(
                "The topic __transaction_state is acknowledged with one copy (transaction.state.log.replication.factor \
                 or transaction.state.log.min.isr is 1): whether the last appends count is lost with that broker; use \
                 3 and 2."
                    .to_owned(),
            );
        }
        if self.brokers > 1 && self.replicas == 1 {
            doubts.push(format!(
                "The topic has one copy though there are {} brokers: it is lost with one broker's disk; give it three.",
                self.brokers
            ));
        }
        doubts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(replicas: usize, settings: &[(&str, &str)], broker: Option<&[(&str, &str)]>) -> Topic {
        let mut all: HashMap<String, String> = [
            ("retention.ms", "-1"),
            ("retention.bytes", "-1"),
            ("cleanup.policy", "delete"),
            ("min.insync.replicas", "1"),
            ("unclean.leader.election.enable", "false"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        all.extend(settings.iter().map(owned));
        let broker = broker.map(|broker| broker.iter().map(owned).collect());
        let (partitions, max_bytes, leader, brokers) = (1, 1_000, 1, replicas);
        let (settings, transactions) = (all, None);
        Topic { partitions, max_bytes, leader, replicas, brokers, settings, broker, transactions }
    }

    #[test]
    fn what_would_lose_events_is_refused_by_name() {
        assert!(topic(1, &[], None).check_for_store("t").is_ok());
        assert!(topic(3, &[("min.insync.replicas", "2")], None).check_for_store("t").is_ok());
        for (replicas, setting, value) in [
            (1, "retention.ms", "604800000"),
            (1, "retention.bytes", "1"),
            (1, "cleanup.policy", "compact"),
            (1, "cleanup.policy", "compact,delete"),
            (3, "min.insync.replicas", "1"),
        ] {
            let refused = topic(replicas, &[(setting, value)], None).check_for_store("t");
            let told = refused.unwrap_err().to_string();
            assert!(
                told.contains(setting) && told.contains(value) && told.contains("set it to"),
                "{told}"
            );
        }
        let two = Topic { partitions: 2, ..topic(1, &[], None) };
        assert!(two.check_for_store("t").unwrap_err().to_string().contains("partitions = 2"));
    }

    #[test]
    fn there_is_no_doubt_where_acknowledged_means_on_the_disk() {
        let synced: &[(&str, &str)] =
            &[("log.flush.interval.messages", "1"), ("transaction.state.log.min.isr", "2")];
        assert!(topic(1, &[], Some(synced)).doubts().is_empty());
        let safe = [("min.insync.replicas", "2")];
        assert!(topic(3, &safe, Some(synced)).doubts().is_empty());
        for (topic, what) in [
            (topic(1, &[], None), "DescribeConfigs"),
            (topic(1, &[], Some(&[])), "power cut"),
            (topic(3, &safe, Some(&[])), "memory of at least 2 of 3"),
            (topic(1, &[("unclean.leader.election.enable", "true")], Some(synced)), "unclean"),
            (
                topic(
                    3,
                    &safe,
                    Some(&[
                        ("log.flush.interval.messages", "1"),
                        ("transaction.state.log.min.isr", "1"),
                    ]),
                ),
                "__transaction_state",
            ),
            (Topic { brokers: 3, ..topic(1, &[], Some(synced)) }, "3 brokers"),
        ] {
            let doubts = topic.doubts();
            assert!(doubts.len() == 1 && doubts[0].contains(what), "{doubts:?}");
        }
    }
}
