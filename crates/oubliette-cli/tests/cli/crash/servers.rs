//! How a program opens event stores at servers for its data folder: here, for the process that is killed.

use std::sync::Arc;

use async_trait::async_trait;
use oubliette::store::{StoreError, sqlite::OpenMode};
use oubliette_folder::{OpenStore, OpenedStore, StoreAddress};

/// What opens, or the error of the adapter.
macro_rules! opened {
    ($opening:expr) => {
        $opening.await.map_err(|error| StoreError::backend(error.is_temporary(), error))?
    };
}

#[derive(Debug)]
pub(super) struct Servers;

#[async_trait]
impl OpenStore for Servers {
    async fn open(
        &self,
        address: &StoreAddress,
        mode: OpenMode,
    ) -> Result<OpenedStore, StoreError> {
        let url = address.with_password(None);
        let store: oubliette_folder::AnyStore = match (address.scheme(), mode) {
            #[cfg(feature = "postgres")]
            ("postgres", OpenMode::Create) => {
                Arc::new(opened!(oubliette_postgres::PostgresStore::create(&url)))
            }
            #[cfg(feature = "postgres")]
            ("postgres", _) => Arc::new(opened!(oubliette_postgres::PostgresStore::open(&url))),
            #[cfg(feature = "jetstream")]
            ("nats", OpenMode::Create) => {
                Arc::new(opened!(oubliette_jetstream::JetStreamStore::create(&url)))
            }
            #[cfg(feature = "jetstream")]
            ("nats", _) => Arc::new(opened!(oubliette_jetstream::JetStreamStore::open(&url))),
            #[cfg(feature = "kafka")]
            ("kafka", mode) => {
                use oubliette_kafka::KafkaStore;
                let config = url.parse().unwrap();
                Arc::new(match mode {
                    OpenMode::Create => opened!(KafkaStore::create(config)),
                    OpenMode::ReadOnly => opened!(KafkaStore::open_reader(config)),
                    _ => opened!(KafkaStore::open(config)),
                })
            }
            other => panic!("{other:?} {url}"),
        };
        Ok(OpenedStore { store, changing: None, doubts: Vec::new() })
    }
}
