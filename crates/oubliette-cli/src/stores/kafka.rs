//! `kafka://USER@HOST:PORT,HOST:PORT/TOPIC?…`: one topic of Apache Kafka.

use std::sync::Arc;

use oubliette::store::{StoreError, sqlite::OpenMode};
use oubliette_folder::OpenedStore;
use oubliette_kafka::{KafkaConfig, KafkaStore};

use super::parameters::decoded;

/// A user and a password are those of SASL PLAIN; parameters are librdkafka's settings.
pub(super) async fn open(url: String, mode: OpenMode) -> Result<OpenedStore, StoreError> {
    let config = config(&url)?;
    let opened = match mode {
        OpenMode::Create => KafkaStore::create(config).await,
        OpenMode::ReadOnly => KafkaStore::open_reader(config).await,
        _ => KafkaStore::open(config).await,
    };
    let store = opened.map_err(|error| StoreError::backend(error.is_temporary(), error))?;
    let doubts = store.doubts().to_vec();
    // What is in a log stays there until the log goes.
    Ok(OpenedStore { store: Arc::new(store), changing: None, doubts })
}

fn config(url: &str) -> Result<KafkaConfig, StoreError> {
    let (address, parameters) = url.split_once('?').unwrap_or((url, ""));
    let begin = address.find("://").map_or(0, |at| at + 3);
    let (login, servers) = match address[begin..].split_once('@') {
        Some((login, servers)) => (Some(login), servers),
        None => (None, &address[begin..]),
    };
    let config: Result<KafkaConfig, _> = format!("kafka://{servers}").parse();
    let mut config = config.map_err(|error| StoreError::backend(false, error))?;
    if let Some(login) = login {
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        config = config
            .with("security.protocol", "SASL_PLAINTEXT")
            .with("sasl.mechanism", "PLAIN")
            .with("sasl.username", decoded(user))
            .with("sasl.password", decoded(password));
    }
    for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
        let (setting, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        config = config.with(decoded(setting), decoded(value));
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_and_settings_are_taken_out_of_an_address() {
        let told = format!("{:?}", config("kafka://a:1,b:2/bank").unwrap());
        assert!(told.contains("bank") && !told.contains("sasl"), "{told}");
        let told = config("kafka://app:hu%2Fsh@a:1/bank?client.rack=x").unwrap();
        let told = format!("{told:?}");
        assert!(told.contains("sasl.password") && told.contains("client.rack"), "{told}");
        assert!(!told.contains("hu"), "{told}");
        assert!(config("kafka://a/bank").is_err());
    }
}
