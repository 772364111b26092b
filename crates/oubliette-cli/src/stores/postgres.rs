//! `postgres://USER@HOST:PORT/DATABASE?…`.

use std::{fs, path, sync::Arc};

use oubliette::store::{StoreError, sqlite::OpenMode};
use oubliette_folder::OpenedStore;
use oubliette_postgres::{Options, Payloads, TableError, TableMapping, TableStore};

use super::parameters::{encoded, taken};

/// The file that says which column is what, of a table that was there before.
const MAPPING: &str = "mapping";

/// An address that means the same wherever it is read: it is noted in the data folder, and the path in it was given in this
/// folder.
pub(super) fn anchored(address: &str) -> String {
    if !["postgres://", "postgresql://"].iter().any(|scheme| address.starts_with(scheme)) {
        return address.to_owned();
    }
    let mut anchored = address.to_owned();
    let file = taken(&mut anchored, MAPPING).filter(|file| !file.is_empty());
    let Some(file) = file.and_then(|file| path::absolute(file).ok()) else {
        return address.to_owned();
    };
    let Some(file) = file.to_str() else { return address.to_owned() };
    let mark = if anchored.contains('?') { '&' } else { '?' };
    format!("{anchored}{mark}{MAPPING}={}", encoded(file))
}

/// `schema`, `payloads`, `mapping` and `sslrootcert` are ours, all other parameters PostgreSQL's.
pub(super) async fn open(mut url: String, mode: OpenMode) -> Result<OpenedStore, StoreError> {
    let (schema, payloads) = (taken(&mut url, "schema"), taken(&mut url, "payloads"));
    let (root, mapping) = (taken(&mut url, "sslrootcert"), taken(&mut url, MAPPING));
    if mode == OpenMode::ReadOnly {
        // What opening a store may have to mend then fails, instead of being written.
        read_only(&mut url);
    }
    let mut options = Options::new(url);
    if let Some(file) = mapping {
        if schema.is_some() || payloads.is_some() {
            let why = "`schema` and `payloads` in the address are of tables of our own, and `mapping` is of one that was there \
                       before: the file names its table, as SCHEMA.NAME";
            return Err(StoreError::backend(false, why));
        }
        if let Some(root) = root {
            options = options.root_certificate(root);
        }
        return table(options, &file).await;
    }
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

/// A table that was there before: nothing is made, and nothing changed but by what seals, purges and appends.
async fn table(options: Options, file: &str) -> Result<OpenedStore, StoreError> {
    let unreadable =
        |error| StoreError::backend(false, format!("the mapping {file} cannot be read: {error}"));
    let text = fs::read_to_string(file).map_err(unreadable)?;
    let mapping = TableMapping::parse(&text)
        .map_err(|error| StoreError::backend(false, format!("{file}: {error}")))?;
    let opened = TableStore::open(options, mapping).await;
    let store = opened.map_err(|error| match error {
        // As of tables of our own, so that it is told alike.
        TableError::Open(error) => StoreError::backend(error.is_temporary(), error),
        error => error.into(),
    })?;
    let mut doubts = store.doubts().to_vec();
    for (what, lacks) in [
        ("appended", store.why_read_only()),
        ("sealed in place or purged", store.why_not_in_place()),
    ] {
        if !lacks.is_empty() {
            doubts.push(format!("nothing can be {what} there: {}", lacks.join("; ")));
        }
    }
    let store = Arc::new(store);
    Ok(OpenedStore { store: store.clone(), changing: Some(store), doubts })
}

/// Has the connection that opens the store write nothing.
fn read_only(url: &mut String) {
    const OFF: &str = "-c%20default_transaction_read_only%3Don";
    let options = taken(url, "options")
        .map_or_else(String::new, |options| format!("{}%20", encoded(&options)));
    let mark = if url.contains('?') { '&' } else { '?' };
    url.push_str(&format!("{mark}options={options}{OFF}"));
}
