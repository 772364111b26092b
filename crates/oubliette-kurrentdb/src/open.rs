//! From an address to a store, or to the reason why not.

use std::{sync::Arc, time::Duration};

use kurrentdb::StreamPosition;
use oubliette::{
    TaskError,
    event::{ANNOUNCEMENTS, VAULTS},
};
use serde_json::Value;
use tokio::runtime::Handle;

use crate::{
    address::Address,
    error::KurrentError,
    link::{Failed, Link, Pauses},
    names::Prefix,
    pages::{Ask, Source},
    store::{Inner, KurrentStore},
};

/// Since when a server tells the position of an event that is read from its stream.
const OLDEST: Version = (22, 6, 0);

type Version = (usize, usize, usize);

pub(crate) async fn open(
    address: &str,
    prefix: Prefix,
    flushes: bool,
    patience: Duration,
) -> Result<KurrentStore, KurrentError> {
    Handle::try_current().map_err(|_| TaskError::NoRuntime)?;
    let address = Address::parse(address)?;
    let server = address.servers.clone();
    let doubts = doubts(flushes, &address);
    let source = Source { link: Arc::new(Link::new(address, patience)), prefix };
    let version = version(&source.link).await?;
    if version < OLDEST {
        return Err(match version {
            (0, ..) => KurrentError::Answer("it does not say its version".to_owned()),
            _ => KurrentError::TooOld { server, version: text(version) },
        });
    }
    // A user who may not read all streams is told now. Whether they may append shows only when they do.
    let all = Ask::All { beyond: None, backwards: true };
    source.page(&all, 1).await.map_err(|failed| {
        failed.explain(patience, "read $all (by default, only members of $admins may)", "$all")
    })?;
    for stream in [ANNOUNCEMENTS, VAULTS] {
        keeps_all(&source, stream).await?;
    }
    for doubt in &doubts {
        tracing::warn!(%server, "{doubt}");
    }
    let inner = Inner { source, ids: Arc::default(), version: text(version), doubts };
    Ok(KurrentStore { inner: Arc::new(inner) })
}

fn text((major, minor, patch): Version) -> String {
    format!("{major}.{minor}.{patch}")
}

/// Connects, and asks for the version.
async fn version(link: &Link) -> Result<Version, KurrentError> {
    let mut pauses = Pauses::new();
    loop {
        match link.ask(async |client| client.server_info().await).await {
            Ok((info, _)) => {
                let version = info.version();
                return Ok((version.major(), version.minor(), version.patch()));
            }
            // A cluster may be about to choose a leader.
            Err(failed)
                if failed.is_lost()
                    && link.address.is_cluster()
                    && pauses.elapsed() < link.patience =>
            {
                pauses.pause().await;
            }
            Err(failed) => return Err(no_connection(failed, &link.address.servers)),
        }
    }
}

fn no_connection(failed: Failed, server: &str) -> KurrentError {
    let (Failed::NotSent(said) | Failed::Unknown(said) | Failed::Refused(said)) = failed else {
        return failed.explain(Duration::ZERO, "connect", "");
    };
    KurrentError::Connect {
        server: server.to_owned(),
        why: format!(
            "check the address, that KurrentDB runs there, and `tls=false` where it has no TLS; the client says: {said}"
        ),
    }
}

/// Looks whether the server removes events of a stream of the layer's own.
async fn keeps_all(source: &Source, stream: &str) -> Result<(), KurrentError> {
    let stream = format!("{}{stream}", source.prefix.as_str());
    let metadata = format!("$${stream}");
    let ask = Ask::Stream { name: metadata.into(), from: StreamPosition::End, backwards: true };
    let found = source.page(&ask, 1).await.map_err(|failed| {
        failed.explain(source.link.patience, "read the metadata of streams", &stream)
    })?;
    match found.found.first().and_then(|found| removes(&found.data)) {
        Some(setting) => Err(KurrentError::Retention { stream, setting }),
        None => Ok(()),
    }
}

/// The setting in a stream's metadata by which the server removes events.
fn removes(metadata: &[u8]) -> Option<&'static str> {
    let metadata: Value = serde_json::from_slice(metadata).ok()?;
    let is_set = |setting: &&str| match &metadata[*setting] {
        Value::Null => false,
        Value::Number(number) => number.as_i64() != Some(0),
        _ => true,
    };
    ["$maxAge", "$maxCount", "$tb"].into_iter().find(is_set)
}

/// What "stored" does not mean here.
fn doubts(flushes: bool, address: &Address) -> Vec<String> {
    let mut doubts = Vec::new();
    if !flushes {
        doubts.push(
            "Whether the server has an event on its disk when it acknowledges it cannot be asked: with `MemDb` or \
             `UnsafeDisableFlushToDisk` set, a crash loses acknowledged events. See that neither is set on any node, and open \
             the store with `flushes_always`."
                .to_owned(),
        );
    }
    if !address.is_cluster() {
        doubts.push(
            "The address names one node: if there is only one, what its disk loses is lost. Run a cluster of three and name \
             all of them, or back the node up."
                .to_owned(),
        );
    }
    doubts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_that_removes_events_is_found_by_name() {
        for (metadata, setting) in [
            (r#"{"$maxAge":3600}"#, Some("$maxAge")),
            (r#"{"$maxCount":10,"x":1}"#, Some("$maxCount")),
            (r#"{"$tb":9223372036854775807}"#, Some("$tb")),
            (r#"{"$tb":5}"#, Some("$tb")),
            (r#"{"$tb":0,"$maxAge":null}"#, None),
            (r#"{"$acl":{"$r":"$admins"},"$cacheControl":5}"#, None),
            ("{}", None),
            ("", None),
        ] {
            assert_eq!(removes(metadata.as_bytes()), setting, "{metadata}");
        }
    }

    #[test]
    fn doubts_go_where_they_are_answered() {
        let one = Address::parse("kurrentdb://localhost").unwrap();
        let three = Address::parse("kurrentdb://a:1,b:1,c:1").unwrap();
        assert_eq!(doubts(false, &one).len(), 2);
        assert!(doubts(true, &one)[0].contains("one node"));
        assert!(doubts(false, &three)[0].contains("flushes_always"));
        assert!(doubts(true, &three).is_empty());
    }
}
