//! Pages: so many events of a stream, or of all, read in one request.

use std::{cmp::Ordering, sync::Arc};

use kurrentdb::{
    ReadAllOptions, ReadEvent, ReadStream, ReadStreamOptions, StreamPosition, SubscriptionFilter,
};
use oubliette::TaskError;
use tokio::runtime::Handle;

use crate::{
    event::{Found, Pair},
    link::{Failed, Link, Pauses},
    names::Prefix,
};

/// The most events of a page.
pub(crate) const PAGE: usize = 500;
/// A page ends early where its events take as much memory as this.
const PAGE_BYTES: usize = 16 * 1024 * 1024;

const NO_POSITION: &str = "an event of $all without a position";

/// What to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ask {
    /// A stream, by its name on the server: from this number on, or back.
    Stream { name: Arc<str>, from: StreamPosition<u64>, backwards: bool },
    /// All streams of the store: what is beyond this position, exclusive.
    All { beyond: Option<Pair>, backwards: bool },
}

/// Events, in the order asked for.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) found: Vec<Found>,
    /// Whether there was nothing behind them.
    pub(crate) end: bool,
}

/// What reads pages.
#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) link: Arc<Link>,
    pub(crate) prefix: Prefix,
}

impl Source {
    /// A page, as soon as a server is there: within the store's patience.
    pub(crate) async fn page(&self, ask: &Ask, count: usize) -> Result<Page, Failed> {
        let mut pauses = Pauses::new();
        loop {
            match self.attempt(ask, count).await {
                Err(failed) if failed.is_lost() && pauses.elapsed() < self.link.patience => {
                    pauses.pause().await;
                }
                answer => return answer,
            }
        }
    }

    /// A page, or why not, in a task of its own: at what it does not understand, the client panics.
    pub(crate) async fn attempt(&self, ask: &Ask, count: usize) -> Result<Page, Failed> {
        let runtime = Handle::try_current().map_err(|_| TaskError::NoRuntime)?;
        let (source, ask) = (self.clone(), ask.clone());
        let mut task = Task(runtime.spawn(async move { source.read(&ask, count).await }));
        (&mut task.0).await.map_err(TaskError::from)?
    }

    async fn read(&self, ask: &Ask, count: usize) -> Result<Page, Failed> {
        let link = &self.link;
        match ask {
            Ask::Stream { name, from, backwards } => {
                let options = ReadStreamOptions::default().position(*from);
                let options = if *backwards { options.backwards() } else { options.forwards() };
                let mut options = options.requires_leader(true).max_count(count);
                if let Some(credentials) = &link.address.credentials {
                    options = options.authenticated(credentials.clone());
                }
                let opened =
                    link.ask(async |client| client.read_stream(&**name, &options).await).await;
                match opened {
                    Ok((stream, number)) => self.collect(stream, number, count, |_| true).await,
                    Err(Failed::Missing) => Ok(Page { end: true, ..Page::default() }),
                    Err(failed) => Err(failed),
                }
            }
            Ask::All { beyond, backwards } => {
                let Some(from) = start(*beyond, *backwards) else {
                    return Ok(Page { end: true, ..Page::default() });
                };
                let options = ReadAllOptions::default().position(from);
                let options = if *backwards { options.backwards() } else { options.forwards() };
                // One more, because the server may return the one at the position as well.
                let count = count.saturating_add(usize::from(beyond.is_some()));
                let mut options =
                    options.requires_leader(true).max_count(count).filter(filter(&self.prefix));
                if let Some(credentials) = &link.address.credentials {
                    options = options.authenticated(credentials.clone());
                }
                let (stream, number) =
                    link.ask(async |client| client.read_all(&options).await).await?;
                let is_beyond = |found: &Found| is_beyond(found.position, *beyond, *backwards);
                let page = self.collect(stream, number, count, is_beyond).await?;
                if page.found.iter().any(|found| found.position.is_none()) {
                    return Err(Failed::Refused(NO_POSITION.to_owned()));
                }
                Ok(page)
            }
        }
    }

    async fn collect(
        &self,
        mut stream: ReadStream,
        number: u64,
        count: usize,
        keep: impl Fn(&Found) -> bool,
    ) -> Result<Page, Failed> {
        let mut page = Page::default();
        let (mut received, mut bytes) = (0, 0);
        while bytes < PAGE_BYTES {
            match self.link.answer(number, stream.next_read_event()).await {
                Ok(Some(ReadEvent::Event(event))) => {
                    received += 1;
                    if let Some(found) = Found::of(event).filter(&keep) {
                        bytes += found.bytes();
                        page.found.push(found);
                    }
                }
                // Where the stream begins or ends.
                Ok(Some(_)) => {}
                Ok(None) => {
                    page.end = received < count;
                    return Ok(page);
                }
                Err(Failed::Missing) => {
                    page.end = true;
                    return Ok(page);
                }
                Err(failed) => return Err(failed),
            }
        }
        Ok(page)
    }

    /// The last event of a stream, by its name on the server.
    pub(crate) async fn last(&self, name: &str) -> Result<Option<Found>, Failed> {
        let ask = Ask::Stream { name: name.into(), from: StreamPosition::End, backwards: true };
        Ok(self.page(&ask, 1).await?.found.pop())
    }
}

/// A task that ends with whoever waits for it.
struct Task<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Where to begin: `None` where nothing can be there.
///
/// The server refuses positions of more than 63 bits, and those whose prepare is behind their commit position; no event has
/// one.
fn start(beyond: Option<Pair>, backwards: bool) -> Option<StreamPosition<kurrentdb::Position>> {
    match beyond {
        None if backwards => Some(StreamPosition::End),
        None => Some(StreamPosition::Start),
        Some((commit, _)) if i64::try_from(commit).is_err() => {
            backwards.then_some(StreamPosition::End)
        }
        Some((commit, prepare)) => {
            let prepare = prepare.min(commit);
            Some(StreamPosition::Position(kurrentdb::Position { commit, prepare }))
        }
    }
}

fn is_beyond(position: Option<Pair>, beyond: Option<Pair>, backwards: bool) -> bool {
    let wanted = if backwards { Ordering::Less } else { Ordering::Greater };
    match (position, beyond) {
        (Some(position), Some(beyond)) => position.cmp(&beyond) == wanted,
        _ => true,
    }
}

/// What the server leaves out by itself: its own streams, or those of others.
fn filter(prefix: &Prefix) -> SubscriptionFilter {
    let by_name = SubscriptionFilter::on_stream_name();
    match prefix.as_str() {
        "" => by_name.exclude_system_events(),
        prefix => by_name.add_prefix(prefix),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_read_of_all_begins_where_the_server_can() {
        let at = |commit, prepare| {
            Some(StreamPosition::Position(kurrentdb::Position { commit, prepare }))
        };
        let most = i64::MAX.unsigned_abs();
        for (beyond, forwards, backwards) in [
            (None, Some(StreamPosition::Start), Some(StreamPosition::End)),
            (Some((0, 0)), at(0, 0), at(0, 0)),
            (Some((90, 70)), at(90, 70), at(90, 70)),
            (Some((70, 90)), at(70, 70), at(70, 70)),
            (Some((most, u64::MAX)), at(most, most), at(most, most)),
            (Some((most + 1, 0)), None, Some(StreamPosition::End)),
            (Some((u64::MAX, u64::MAX)), None, Some(StreamPosition::End)),
        ] {
            assert_eq!(start(beyond, false), forwards, "{beyond:?}");
            assert_eq!(start(beyond, true), backwards, "{beyond:?}");
        }
    }

    #[test]
    fn the_server_is_told_to_leave_its_own_streams_out() {
        let shown = |prefix| format!("{:?}", filter(&Prefix::new(prefix).unwrap()));
        assert!(shown("").contains(r#"regex: Some("^[^\\$].*"), prefixes: []"#), "{}", shown(""));
        assert!(
            shown("bank-").contains(r#"regex: None, prefixes: ["bank-"]"#),
            "{}",
            shown("bank-")
        );
        assert!(shown("").contains("based_on_stream: true"));
    }

    proptest! {
        #[test]
        fn an_event_is_beyond_one_side_or_at_the_position(a in (0..9_u64, 0..9_u64), b in (0..9_u64, 0..9_u64)) {
            let (forwards, backwards) = (is_beyond(Some(a), Some(b), false), is_beyond(Some(a), Some(b), true));
            prop_assert_eq!(forwards, a > b);
            prop_assert_eq!(backwards, a < b);
            prop_assert!(is_beyond(Some(a), None, false) && is_beyond(Some(a), None, true));
        }
    }
}
