//! Following a store from a checkpoint: the one way in which this library carries events elsewhere.

use std::{
    future::Future,
    io,
    path::{Path, PathBuf},
    pin::pin,
    time::Duration,
};

use async_trait::async_trait;
use futures::{FutureExt, StreamExt, future::Either};

use super::{BoxError, Delivery, EventStore, Filter, StoreError};
use crate::{
    durable,
    event::{Position, RecordedEvent},
    runtime,
};

/// The most events that are handled at once.
const BATCH: usize = 256;
/// … or about this many bytes.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// The longest pause between two attempts at a store that is away.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Where a follower keeps how far it came.
#[async_trait]
pub trait Checkpoint: Send + Sync {
    /// The position of the last event that was handled; `None` before the first.
    ///
    /// # Errors
    /// Whatever keeps it from being read. One that is lost must not be taken for none.
    async fn load(&self) -> Result<Option<Position>, BoxError>;

    /// Notes that everything up to this position is handled. Durable when it returns.
    ///
    /// # Errors
    /// Whatever keeps it from being written.
    async fn save(&self, position: Position) -> Result<(), BoxError>;
}

/// A checkpoint in a file of its own.
#[derive(Debug, Clone)]
pub struct FileCheckpoint {
    path: PathBuf,
}

impl FileCheckpoint {
    /// The checkpoint in this file, which is made when something is noted. Its folder must be there.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[async_trait]
impl Checkpoint for FileCheckpoint {
    async fn load(&self) -> Result<Option<Position>, BoxError> {
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let position = text.trim_end().parse().map_err(|_| {
            format!(
                "the checkpoint {} holds no position: write there the last position that was handled, or remove it to \
                 handle everything again",
                self.path.display()
            )
        })?;
        Ok(Some(position))
    }

    async fn save(&self, position: Position) -> Result<(), BoxError> {
        Ok(durable::replace(&self.path, format!("{position}\n").as_bytes())?)
    }
}

/// What is done with events.
#[async_trait]
pub trait Handler: Send {
    /// Handles some events, in their order. They come again where this fails, or the process ends before the checkpoint is
    /// written: so handle each as if it might have been handled already, by its id or its position.
    ///
    /// # Errors
    /// Whatever kept it from that; following ends with it, and goes on before these events when it is called again.
    async fn handle(&mut self, events: Vec<RecordedEvent>) -> Result<(), BoxError>;
}

/// Why following a store ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FollowError {
    /// The store failed, and not for a moment only.
    #[error("the store that is followed failed")]
    Store(#[source] StoreError),
    /// The checkpoint cannot be read or written.
    #[error("the checkpoint failed")]
    Checkpoint(#[source] BoxError),
    /// The events were not handled.
    #[error("the events up to position {up_to} were not handled")]
    Handler {
        /// The position of the last of them.
        up_to: Position,
        /// What the handler said.
        source: BoxError,
    },
}

/// Follows a store: hands what passes the filter to a handler, from the checkpoint on, and notes how far it came. At least
/// once, in order. It waits for a store that is away for a moment.
///
/// Ends when `until` does, between two batches; returns how many events were handled. [`catch_up`] ends by itself.
///
/// ```
/// use oubliette::{store::{BoxError, FileCheckpoint, Filter, Handler, catch_up}, *};
///
/// struct Print;
/// #[async_trait::async_trait]
/// impl Handler for Print {
///     async fn handle(&mut self, events: Vec<RecordedEvent>) -> Result<(), BoxError> {
///         events.iter().for_each(|event| println!("{} {}", event.position, event.stream));
///         Ok(())
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (store, folder) = (MemoryStore::new(), tempfile::tempdir()?);
/// # let moved = NewEvent::new(EventType::new("UserMoved")?, Json::parse("{}")?);
/// # store.append_to(&StreamName::new("user-456")?, ExpectedRevision::Any, vec![moved]).await?;
/// let checkpoint = FileCheckpoint::new(folder.path().join("printed"));
/// assert_eq!(catch_up(&store, &checkpoint, Filter::default(), &mut Print).await?, 1);
/// assert_eq!(catch_up(&store, &checkpoint, Filter::default(), &mut Print).await?, 0);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`FollowError`].
pub async fn follow(
    store: &dyn EventStore,
    checkpoint: &dyn Checkpoint,
    filter: Filter,
    handler: &mut dyn Handler,
    until: impl Future<Output = ()> + Send,
) -> Result<u64, FollowError> {
    let mut until = pin!(until);
    let mut following = Following { checkpoint, handler, handled: 0, pause: Duration::ZERO };
    loop {
        let ended = following.once(store, filter.clone(), Some(until.as_mut())).await;
        if following.goes_on(ended, &mut until).await? {
            return Ok(following.handled);
        }
    }
}

/// As [`follow`], until everything that is there when it begins is handled.
///
/// # Errors
/// [`FollowError`].
pub async fn catch_up(
    store: &dyn EventStore,
    checkpoint: &dyn Checkpoint,
    filter: Filter,
    handler: &mut dyn Handler,
) -> Result<u64, FollowError> {
    let mut never = pin!(std::future::pending::<()>());
    let mut following = Following { checkpoint, handler, handled: 0, pause: Duration::ZERO };
    loop {
        let ended = following.once::<std::future::Pending<()>>(store, filter.clone(), None).await;
        if following.goes_on(ended, &mut never).await? {
            return Ok(following.handled);
        }
    }
}

struct Following<'a> {
    checkpoint: &'a dyn Checkpoint,
    handler: &'a mut dyn Handler,
    handled: u64,
    /// Before the next attempt at a store that is away.
    pause: Duration,
}

impl Following<'_> {
    /// Follows one subscription to its end: `Ok` where it was to end.
    async fn once<F: Future<Output = ()>>(
        &mut self,
        store: &dyn EventStore,
        filter: Filter,
        mut until: Option<std::pin::Pin<&mut F>>,
    ) -> Result<(), FollowError> {
        let after = self.checkpoint.load().await.map_err(FollowError::Checkpoint)?;
        let mut deliveries = store.subscribe(after, filter);
        loop {
            let first = match &mut until {
                None => deliveries.next().await,
                Some(until) => {
                    match futures::future::select(until.as_mut(), deliveries.next()).await {
                        Either::Left(((), _)) => return Ok(()),
                        Either::Right((first, _)) => first,
                    }
                }
            };
            let (mut events, mut bytes, mut caught_up) = (Vec::new(), 0, false);
            let mut failed = None;
            let mut next = first;
            loop {
                match next {
                    Some(Ok(Delivery::Event(event))) => {
                        bytes += event.bytes();
                        events.push(event);
                    }
                    Some(Ok(Delivery::CaughtUp)) => caught_up = true,
                    Some(Err(error)) => failed = Some(error),
                    None => {
                        failed =
                            Some(StoreError::backend(true, "the subscription ended by itself"));
                    }
                }
                if failed.is_some() || events.len() >= BATCH || bytes >= BATCH_BYTES {
                    break;
                }
                // What is there already is handled together; for the rest nobody waits.
                match deliveries.next().now_or_never() {
                    Some(delivery) => next = delivery,
                    None => break,
                }
            }
            self.handle(events).await?;
            if let Some(error) = failed {
                return Err(FollowError::Store(error));
            }
            if caught_up && until.is_none() {
                return Ok(());
            }
        }
    }

    async fn handle(&mut self, events: Vec<RecordedEvent>) -> Result<(), FollowError> {
        let (count, Some(up_to)) = (events.len() as u64, events.last().map(|event| event.position))
        else {
            return Ok(());
        };
        let handled = self.handler.handle(events).await;
        handled.map_err(|source| FollowError::Handler { up_to, source })?;
        self.checkpoint.save(up_to).await.map_err(FollowError::Checkpoint)?;
        self.handled += count;
        self.pause = Duration::ZERO;
        Ok(())
    }

    /// Whether it is over. Where the store is away for a moment, waits before the next attempt.
    async fn goes_on<F: Future<Output = ()>>(
        &mut self,
        ended: Result<(), FollowError>,
        until: &mut std::pin::Pin<&mut F>,
    ) -> Result<bool, FollowError> {
        match ended {
            Ok(()) => Ok(true),
            Err(FollowError::Store(error)) if error.is_temporary() => {
                tracing::warn!(%error, "the store that is followed is away; trying again");
                self.pause = (self.pause * 2 + Duration::from_millis(50)).min(LONGEST_PAUSE);
                let pause = pin!(runtime::sleep(self.pause));
                Ok(matches!(futures::future::select(until.as_mut(), pause).await, Either::Left(_)))
            }
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::{
        event::{EventType, Json, NewEvent, StreamName},
        store::{EventStoreExt, ExpectedRevision, MemoryStore},
    };

    #[derive(Clone, Default)]
    struct Seen {
        positions: Arc<Mutex<Vec<Position>>>,
        refuses: Arc<Mutex<Option<usize>>>,
    }

    #[async_trait]
    impl Handler for Seen {
        async fn handle(&mut self, events: Vec<RecordedEvent>) -> Result<(), BoxError> {
            if let Some(refuses) = &mut *self.refuses.lock().unwrap() {
                if *refuses == 0 {
                    return Err("refused".into());
                }
                *refuses -= 1;
            }
            self.positions.lock().unwrap().extend(events.iter().map(|event| event.position));
            Ok(())
        }
    }

    async fn append(store: &MemoryStore, count: usize) {
        let stream = StreamName::new("user-1").unwrap();
        let event = || NewEvent::new(EventType::new("T").unwrap(), Json::parse("{}").unwrap());
        let events = (0..count).map(|_| event()).collect();
        store.append_to(&stream, ExpectedRevision::Any, events).await.unwrap();
    }

    fn all(count: u64) -> Vec<Position> {
        (0..count).map(Position::number).collect()
    }

    #[tokio::test]
    async fn it_goes_on_where_it_stopped() {
        let (store, folder) = (MemoryStore::new(), tempfile::tempdir().unwrap());
        let checkpoint = FileCheckpoint::new(folder.path().join("at"));
        let mut seen = Seen::default();
        for (new, total) in [(700, 700), (0, 700), (1, 701)] {
            if new > 0 {
                append(&store, new).await;
            }
            let handled =
                catch_up(&store, &checkpoint, Filter::default(), &mut seen).await.unwrap();
            assert_eq!(handled, new as u64);
            assert_eq!(*seen.positions.lock().unwrap(), all(total));
        }
        std::fs::write(checkpoint.path(), "nonsense").unwrap();
        let lost = catch_up(&store, &checkpoint, Filter::default(), &mut seen).await.unwrap_err();
        assert!(matches!(lost, FollowError::Checkpoint(_)), "{lost}");
    }

    #[tokio::test]
    async fn what_was_not_handled_comes_again() {
        let (store, folder) = (MemoryStore::new(), tempfile::tempdir().unwrap());
        let checkpoint = FileCheckpoint::new(folder.path().join("at"));
        append(&store, 3 * BATCH).await;
        let mut seen = Seen::default();
        *seen.refuses.lock().unwrap() = Some(1);
        let refused =
            catch_up(&store, &checkpoint, Filter::default(), &mut seen).await.unwrap_err();
        assert!(matches!(refused, FollowError::Handler { .. }), "{refused}");
        *seen.refuses.lock().unwrap() = None;
        catch_up(&store, &checkpoint, Filter::default(), &mut seen).await.unwrap();
        assert_eq!(*seen.positions.lock().unwrap(), all(3 * BATCH as u64));
    }

    #[tokio::test]
    async fn it_follows_until_it_is_told_to_end() {
        let (store, folder) = (MemoryStore::new(), tempfile::tempdir().unwrap());
        let checkpoint = FileCheckpoint::new(folder.path().join("at"));
        let seen = Seen::default();
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let following = tokio::spawn({
            let (store, mut seen) = (store.clone(), seen.clone());
            async move {
                let until = async { drop(ended.await) };
                follow(&store, &checkpoint, Filter::default(), &mut seen, until).await
            }
        });
        for total in 1..=3 {
            append(&store, 1).await;
            while seen.positions.lock().unwrap().len() < total {
                tokio::task::yield_now().await;
            }
        }
        end.send(()).unwrap();
        assert_eq!(following.await.unwrap().unwrap(), 3);
    }
}
