//! `postgres://USER@HOST:PORT/DATABASE?…`.

use std::sync::Arc;

use oubliette::store::{StoreError, sqlite::OpenMode};
use oubliette_folder::OpenedStore;
use oubliette_postgres::{Options, Payloads};

use super::parameters::taken;

/// `schema`, `payloads` and `sslrootcert` are ours, all other parameters PostgreSQL's.
pub(super) async fn open(mut url: String, mode: OpenMode) -> Result<OpenedStore, StoreError> {
    let (schema, payloads) = (taken(&mut url, "schema"), taken(&mut url, "payloads"));
    let root = taken(&mut url, "sslrootcert");
    if mode == OpenMode::ReadOnly {
        // What opening a store may have to mend then fails, instead of being written.
        read_only(&mut url);
    }
    let mut options = Options::new(url);
    if let Some(schema) = schema {
        options = options.schema(schema);
    }
    if let Some(root) = root {
        options = options.root_certificate(root);
    }
    if let Some(payloads) = payloads {
        options = options.payloads(match &*payloads {
            "json" => Payloads::Json,
            "jsonb" => Payloads::Jsonb,
            "text" => Payloads::Text,
            _ => {
                let why = "`payloads` in the address is json, jsonb or text";
                return Err(StoreError::backend(false, why));
            }
        });
    }
    let opened = match mode {
        OpenMode::Create => options.create().await,
        _ => options.open().await,
    };
    let store = opened.map_err(|error| StoreError::backend(error.is_temporary(), error))?;
    let doubts = store.doubts().to_vec();
    let store = Arc::new(store);
    Ok(OpenedStore { store: store.clone(), changing: Some(store), doubts })
}

/// Has the connection that opens the store write nothing.
fn read_only(url: &mut String) {
    const OFF: &str = "-c%20default_transaction_read_only%3Don";
    let options = taken(url, "options").map_or_else(String::new, |options| {
        let encoded = options.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
        format!("{encoded}%20")
    });
    let mark = if url.contains('?') { '&' } else { '?' };
    url.push_str(&format!("{mark}options={options}{OFF}"));
}
