//! How a program opens event stores at servers for its data folder: here, for the process that is killed.

use std::sync::Arc;

use async_trait::async_trait;
use oubliette::store::{StoreError, sqlite::OpenMode};
use oubliette_folder::{OpenStore, OpenedStore, StoreAddress};

#[derive(Debug)]
pub(super) struct Servers;

#[async_trait]
impl OpenStore for Servers {
    async fn open(
        &self,
        address: &StoreAddress,
        mode: OpenMode,
    ) -> Result<OpenedStore, StoreError> {
        let (url, new) = (address.with_password(None), mode == OpenMode::Create);
        let store: oubliette_folder::AnyStore = match address.scheme() {
            #[cfg(feature = "postgres")]
            "postgres" if new => {
                Arc::new(oubliette_postgres::PostgresStore::create(&url).await.unwrap())
            }
            #[cfg(feature = "postgres")]
            "postgres" => Arc::new(oubliette_postgres::PostgresStore::open(&url).await.unwrap()),
            #[cfg(feature = "jetstream")]
            "nats" if new => {
                Arc::new(oubliette_jetstream::JetStreamStore::create(&url).await.unwrap())
            }
            #[cfg(feature = "jetstream")]
            "nats" => Arc::new(oubliette_jetstream::JetStreamStore::open(&url).await.unwrap()),
            #[cfg(feature = "kafka")]
            "kafka" if new => {
                Arc::new(oubliette_kafka::KafkaStore::create(url.parse().unwrap()).await.unwrap())
            }
            #[cfg(feature = "kafka")]
            "kafka" => {
                Arc::new(oubliette_kafka::KafkaStore::open(url.parse().unwrap()).await.unwrap())
            }
            other => panic!("{other} {new} {url}"),
        };
        Ok(OpenedStore { store, changing: None, doubts: Vec::new() })
    }
}
