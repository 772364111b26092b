//! What the JetStream stream must be like, and what it would do to events where it is not.

use serde_json::{Value, json};

use crate::{JetStreamOptions, envelope::FORMAT, error::JetStreamError, subject::Prefix};

/// How long the server knows a message's id: a hundred years, which is for as long as the stream lives. See `ids`.
const WINDOW_NANOS: u64 = 100 * 365 * 24 * 60 * 60 * 1_000_000_000;
/// What is shorter than half of that was set by somebody else.
const SHORTEST_WINDOW_NANOS: u64 = WINDOW_NANOS / 2;

/// The stream's note of whose it is. In the metadata, which servers have since 2.10, and in the description, which all
/// have.
const MARK: &str = "oubliette-format";

fn description() -> String {
    format!("Oubliette event store, format {FORMAT}")
}

/// Since when a server has what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(u64, u64, u64);

impl Version {
    /// Direct gets.
    pub(crate) const OLDEST: Self = Self(2, 9, 0);
    /// Direct gets of many messages at once.
    pub(crate) const PAGES: Self = Self(2, 11, 0);
    /// Atomic batches that look at message ids; 2.12.0 has them, and does not.
    pub(crate) const BATCHES: Self = Self(2, 12, 1);

    /// Reads `2.12.1` and `2.15.0-dev`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(str::parse);
        let mut next = || numbers.next()?.ok();
        Some(Self(next()?, next()?, next()?))
    }
}

/// The stream as it is made.
pub(crate) fn wanted(options: &JetStreamOptions, prefix: &Prefix, version: Version) -> Value {
    let mut config = json!({
        "name": options.stream,
        "subjects": [prefix.all()],
        "description": description(),
        "metadata": { MARK: FORMAT.to_string() },
        "storage": "file",
        "retention": "limits",
        "discard": "new",
        "max_age": 0,
        "max_msgs": -1,
        "max_bytes": -1,
        "max_msgs_per_subject": -1,
        "max_msg_size": -1,
        "max_consumers": -1,
        "num_replicas": options.replicas,
        "duplicate_window": WINDOW_NANOS,
        "allow_direct": true,
        // Tells subscriptions that something is new, without its data.
        "republish": {
            "src": prefix.all(),
            "dest": format!("{}.{{{{wildcard(1)}}}}", prefix.news()),
            "headers_only": true,
        },
    });
    if version >= Version::BATCHES
        && let Some(config) = config.as_object_mut()
    {
        config.insert("allow_atomic".to_owned(), true.into());
    }
    config
}

/// What of a stream's configuration the store goes by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    pub(crate) replicas: u64,
    /// `allow_atomic`, on a server that has it.
    pub(crate) batches: bool,
    /// The longest message, where the stream has a limit of its own.
    pub(crate) max_message: Option<usize>,
    /// Whether the server tells of new messages.
    pub(crate) news: bool,
}

/// Looks at a stream that is there.
pub(crate) fn check(
    config: &Value,
    options: &JetStreamOptions,
    prefix: &Prefix,
    version: Version,
) -> Result<Facts, JetStreamError> {
    whose(config, &options.stream)?;
    for rule in RULES {
        rule.check(config, &options.stream)?;
    }
    let setting = |setting, value: &Value, consequence, remedy: String| JetStreamError::Setting {
        stream: options.stream.clone(),
        setting,
        value: value.to_string(),
        consequence,
        remedy,
    };
    let subjects = &config["subjects"];
    if *subjects != json!([prefix.all()]) {
        return Err(setting(
            "subjects",
            subjects,
            "is not what this prefix needs: events would go elsewhere",
            format!(
                "open the store with the prefix that it was made with, or set subjects to [{:?}]",
                prefix.all()
            ),
        ));
    }
    let window = config["duplicate_window"].as_u64().unwrap_or(0);
    if window < SHORTEST_WINDOW_NANOS {
        return Err(setting(
            "duplicate_window",
            &format!("{}s", window / 1_000_000_000).into(),
            "lets a retry write its events a second time once it is over",
            "set it to 876000h (a hundred years)".to_owned(),
        ));
    }
    let number = |name: &str| config[name].as_i64().unwrap_or(0);
    if config["discard"] != "new" {
        for name in ["max_msgs", "max_bytes"] {
            if number(name) > 0 {
                return Err(setting(
                    if name == "max_msgs" { "max_msgs" } else { "max_bytes" },
                    &config[name],
                    "removes the oldest events when it is reached, because discard is old",
                    "set it to -1, or discard to new".to_owned(),
                ));
            }
        }
    }
    let dest = config["republish"]["dest"].as_str().unwrap_or_default();
    Ok(Facts {
        replicas: config["num_replicas"].as_u64().unwrap_or(1),
        batches: version >= Version::BATCHES && config["allow_atomic"] == true,
        max_message: usize::try_from(number("max_msg_size")).ok().filter(|most| *most > 0),
        news: dest.strip_prefix(&prefix.news()).is_some_and(|rest| rest.starts_with('.')),
    })
}

fn whose(config: &Value, stream: &str) -> Result<(), JetStreamError> {
    let noted = config["metadata"][MARK].as_str().map(str::to_owned).or_else(|| {
        let described = config["description"].as_str()?;
        described.strip_prefix("Oubliette event store, format ").map(str::to_owned)
    });
    let not_ours = |found| JetStreamError::NotOurs { stream: stream.to_owned(), found };
    let noted = noted.ok_or_else(|| not_ours("it has no mark of this library"))?;
    match noted.parse::<u64>() {
        Ok(FORMAT) => Ok(()),
        Ok(found) if found > FORMAT => {
            Err(JetStreamError::Newer { stream: stream.to_owned(), found, known: FORMAT })
        }
        _ => Err(not_ours("its mark is no version")),
    }
}

/// A setting that must be as it is here, or not be there.
struct Rule {
    setting: &'static str,
    /// Whether a value is right. A setting that the server does not know is `null`.
    right: fn(&Value) -> bool,
    consequence: &'static str,
    remedy: &'static str,
}

impl Rule {
    fn check(&self, config: &Value, stream: &str) -> Result<(), JetStreamError> {
        let value = &config[self.setting];
        if (self.right)(value) {
            return Ok(());
        }
        Err(JetStreamError::Setting {
            stream: stream.to_owned(),
            setting: self.setting,
            value: value.to_string(),
            consequence: self.consequence,
            remedy: self.remedy.to_owned(),
        })
    }
}

fn is_off(value: &Value) -> bool {
    value.is_null() || *value == false
}

fn is_none(value: &Value) -> bool {
    value.is_null() || value.as_array().is_some_and(Vec::is_empty)
}

fn is_unlimited(value: &Value) -> bool {
    value.as_i64().is_none_or(|limit| limit <= 0)
}

const RULES: &[Rule] = &[
    Rule {
        setting: "storage",
        right: |value| value == "file",
        consequence: "loses every event when the server ends",
        remedy: "make a stream with storage = file, and copy what is there",
    },
    Rule {
        setting: "retention",
        right: |value| value == "limits",
        consequence: "removes events once they are read",
        remedy: "make a stream with retention = limits, and copy what is there",
    },
    Rule {
        setting: "max_age",
        right: is_unlimited,
        consequence: "removes events that are older",
        remedy: "set it to 0",
    },
    Rule {
        setting: "max_msgs_per_subject",
        right: is_unlimited,
        consequence: "removes the oldest events of a longer event stream",
        remedy: "set it to -1",
    },
    Rule {
        setting: "no_ack",
        right: is_off,
        consequence: "leaves appends without an answer",
        remedy: "set it to false",
    },
    Rule {
        setting: "sealed",
        right: is_off,
        consequence: "takes no more events",
        remedy: "make another stream, and copy what is there",
    },
    Rule {
        setting: "persist_mode",
        right: |value| value.is_null() || value == "default" || value == "",
        consequence: "acknowledges events before they are written",
        remedy: "set it to default",
    },
    Rule {
        setting: "allow_rollup_hdrs",
        right: is_off,
        consequence: "lets one message remove all others",
        remedy: "set it to false",
    },
    Rule {
        setting: "allow_msg_ttl",
        right: is_off,
        consequence: "lets events expire",
        remedy: "make a stream without it, and copy what is there",
    },
    Rule {
        setting: "allow_msg_counter",
        right: is_off,
        consequence: "takes counters only",
        remedy: "make a stream without it, and copy what is there",
    },
    Rule {
        setting: "allow_direct",
        right: |value| value == true,
        consequence: "keeps events from being read",
        remedy: "set it to true",
    },
    Rule {
        setting: "mirror",
        right: is_none,
        consequence: "makes it a copy that takes no events",
        remedy: "open the stream that it mirrors",
    },
    Rule {
        setting: "sources",
        right: is_none,
        consequence: "mixes in the messages of other streams, with other revisions",
        remedy: "make a stream without sources",
    },
    Rule {
        setting: "subject_transform",
        right: is_none,
        consequence: "moves events to other streams",
        remedy: "remove it",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> JetStreamOptions {
        JetStreamOptions::new("nats://127.0.0.1")
    }

    fn checked(config: &Value) -> Result<Facts, JetStreamError> {
        let prefix = Prefix::new("oubliette").unwrap();
        check(config, &options(), &prefix, Version::BATCHES)
    }

    fn made() -> Value {
        wanted(&options(), &Prefix::new("oubliette").unwrap(), Version::BATCHES)
    }

    #[test]
    fn versions_are_compared_by_number() {
        let parse = |text| Version::parse(text).unwrap();
        assert!(parse("2.9.10") < parse("2.11.0") && parse("2.12.0") < Version::BATCHES);
        assert!(parse("2.15.0-dev") > Version::BATCHES && parse("2.12.1") == Version::BATCHES);
        assert_eq!(Version::parse("two"), None);
    }

    #[test]
    fn what_is_made_is_right() {
        let facts = checked(&made()).unwrap();
        assert!(facts.batches && facts.news && facts.replicas == 1 && facts.max_message.is_none());
        let old = wanted(&options(), &Prefix::new("oubliette").unwrap(), Version::OLDEST);
        assert!(old["allow_atomic"].is_null() && !checked(&old).unwrap().batches);
    }

    /// Each setting that would lose an event, or keep it out.
    #[test]
    fn what_would_lose_events_is_refused_by_name() {
        for (setting, value) in [
            ("storage", json!("memory")),
            ("retention", json!("interest")),
            ("retention", json!("workqueue")),
            ("max_age", json!(1_000_000_000_u64)),
            ("max_msgs_per_subject", json!(5)),
            ("no_ack", json!(true)),
            ("sealed", json!(true)),
            ("persist_mode", json!("async")),
            ("allow_rollup_hdrs", json!(true)),
            ("allow_msg_ttl", json!(true)),
            ("allow_msg_counter", json!(true)),
            ("allow_direct", json!(false)),
            ("mirror", json!({"name": "OTHER"})),
            ("sources", json!([{"name": "OTHER"}])),
            ("subject_transform", json!({"src": "a", "dest": "b"})),
            ("subjects", json!(["oubliette.>"])),
            ("duplicate_window", json!(120_000_000_000_u64)),
        ] {
            let mut config = made();
            config[setting] = value;
            match checked(&config) {
                Err(JetStreamError::Setting { setting: named, .. }) => assert_eq!(named, setting),
                other => panic!("{setting}: {other:?}"),
            }
        }
        for setting in ["max_msgs", "max_bytes"] {
            let mut config = made();
            config[setting] = json!(1000);
            assert!(checked(&config).is_ok(), "a full store refuses, and loses nothing");
            config["discard"] = json!("old");
            let refused = checked(&config).unwrap_err().to_string();
            assert!(refused.contains(setting) && refused.contains("-1"), "{refused}");
        }
    }

    #[test]
    fn a_stream_of_another_program_or_a_newer_one_is_refused() {
        let mut config = made();
        config["metadata"] = json!({});
        assert!(checked(&config).is_ok(), "servers before 2.10 keep the description alone");
        config["description"] = json!("orders");
        assert!(matches!(checked(&config), Err(JetStreamError::NotOurs { .. })));
        config["metadata"] = json!({ MARK: "2" });
        assert!(matches!(checked(&config), Err(JetStreamError::Newer { found: 2, .. })));
        config["metadata"] = json!({ MARK: "" });
        assert!(matches!(checked(&config), Err(JetStreamError::NotOurs { .. })));
    }
}
