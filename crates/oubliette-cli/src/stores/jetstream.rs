//! `nats://USER@HOST:PORT/STREAM?prefix=…&replicas=…&synced_always=true`: a stream of NATS JetStream.

use std::sync::Arc;

use oubliette::store::{StoreError, sqlite::OpenMode};
use oubliette_folder::OpenedStore;
use oubliette_jetstream::JetStreamOptions;

use super::parameters::taken;

/// What the stream is called where the address does not say.
const STREAM: &str = "OUBLIETTE";

/// The path names the stream; its subjects begin with the stream's name in lower case, unless `prefix` says otherwise, so that
/// two on one server do not get in each other's way.
pub(super) async fn open(mut url: String, mode: OpenMode) -> Result<OpenedStore, StoreError> {
    let (prefix, replicas) = (taken(&mut url, "prefix"), taken(&mut url, "replicas"));
    let synced = is_said(taken(&mut url, "synced_always").as_deref())?;
    if url.contains('?') {
        let why = "behind the address of a NATS server stand `prefix`, `replicas` and `synced_always`, and nothing else";
        return Err(StoreError::backend(false, why));
    }
    let (server, stream) = split(&url);
    let prefix = prefix.unwrap_or_else(|| stream.to_ascii_lowercase());
    let mut options = JetStreamOptions::new(server).stream(stream).prefix(prefix);
    if let Some(replicas) = replicas {
        let count = replicas.parse();
        let why = "`replicas` in the address is 1, 3 or 5";
        options = options.replicas(count.map_err(|_| StoreError::backend(false, why))?);
    }
    if synced {
        options = options.synced_always();
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

/// Whether a parameter says yes; its name alone does.
fn is_said(value: Option<&str>) -> Result<bool, StoreError> {
    match value {
        Some("" | "true") => Ok(true),
        None | Some("false") => Ok(false),
        Some(_) => {
            Err(StoreError::backend(false, "`synced_always` in the address is true or false"))
        }
    }
}

/// The server, and the stream.
fn split(url: &str) -> (&str, &str) {
    let begin = url.find("://").map_or(0, |at| at + 3);
    match url[begin..].split_once('/') {
        Some((server, stream)) => {
            let server = &url[..begin + server.len()];
            (server, if stream.is_empty() { STREAM } else { stream })
        }
        None => (url, STREAM),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_a_server_and_a_stream() {
        assert_eq!(split("nats://a:1"), ("nats://a:1", "OUBLIETTE"));
        assert_eq!(split("nats://a:1/"), ("nats://a:1", "OUBLIETTE"));
        assert_eq!(split("nats://hush@a:1/BANK"), ("nats://hush@a:1", "BANK"));
    }
}
