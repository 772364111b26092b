//! Subscriptions: reads of all streams, one after the other, each from where the last one ended. Who appended tells the
//! others by `NOTIFY`; and they look by themselves as well, because a message may be lost, and a transaction of somebody
//! else's may be what they wait for.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use oubliette::{
    event::{Position, RecordedEvent},
    store::{Delivery, Filter, StoreError, Subscription},
};
use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
};
use tokio_postgres::{AsyncMessage, types::Type};

use crate::{
    connect::is_standby,
    rows::{Names, numbers},
    store::Inner,
};

/// How often a subscription looks by itself.
const LOOK: Duration = Duration::from_millis(500);
/// … while older transactions keep something back.
const LOOK_SOON: Duration = Duration::from_millis(20);
/// At most so often others are told of appends: many share one message.
const TELL: Duration = Duration::from_millis(5);
/// For so long a subscription bears a server that is away.
const BEARS: Duration = Duration::from_secs(5 * 60);

/// Who is to hear of appends.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    /// Grows with every append that this process hears of.
    appended: watch::Sender<u64>,
    /// Somebody here appended, and others are to be told.
    tell: Arc<Notify>,
    telling: AtomicBool,
    listening: AtomicBool,
}

impl Signals {
    fn heard(&self) {
        self.appended.send_modify(|number| *number = number.wrapping_add(1));
    }
}

impl Inner {
    fn channel(&self) -> String {
        format!("oubliette_{}", self.schema)
    }

    /// Tells subscribers here and elsewhere that something was appended. In a transaction of its own, and many appends
    /// together: a transaction that notifies keeps all others that do so from committing.
    pub(crate) fn appended(self: &Arc<Self>) {
        self.signals.heard();
        self.signals.tell.notify_one();
        if !self.signals.telling.swap(true, Ordering::Relaxed) {
            tokio::spawn(tell(Arc::downgrade(self), Arc::clone(&self.signals.tell)));
        }
    }

    fn listen(self: &Arc<Self>) {
        if Handle::try_current().is_ok() && !self.signals.listening.swap(true, Ordering::Relaxed) {
            tokio::spawn(listen(Arc::downgrade(self)));
        }
    }
}

async fn tell(store: Weak<Inner>, due: Arc<Notify>) {
    loop {
        // Without a strong reference: a store that nobody uses any more must go. It wakes us for the last time then.
        due.notified().await;
        let Some(inner) = store.upgrade() else { return };
        let channel = inner.channel();
        // Where it fails, subscribers elsewhere look by themselves.
        let _ = inner.query("SELECT pg_notify($1, '')", &[(&channel.as_str(), Type::TEXT)]).await;
        drop(inner);
        tokio::time::sleep(TELL).await;
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.tell.notify_one();
    }
}

/// Listens on a connection of its own, and on another one where that is lost.
async fn listen(store: Weak<Inner>) {
    let mut pause = Duration::from_millis(100);
    loop {
        let Some(inner) = store.upgrade() else { return };
        let for_messages = Weak::clone(&store);
        let heard = move |message| {
            if let (AsyncMessage::Notification(_), Some(inner)) = (message, for_messages.upgrade())
            {
                inner.signals.heard();
            }
        };
        let connected = inner.pool.manager().connect(heard).await;
        let channel = inner.channel();
        drop(inner);
        if let Ok(client) = connected
            && client.batch_execute(&format!("LISTEN {channel}")).await.is_ok()
        {
            pause = Duration::from_millis(100);
            while !client.is_closed() && store.strong_count() > 0 {
                tokio::time::sleep(LOOK).await;
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(5));
    }
}

pub(crate) fn subscribe(
    inner: Arc<Inner>,
    after: Option<Position>,
    filter: Filter,
) -> Subscription {
    let asked = after;
    let after = match after.map(numbers).transpose() {
        Ok(after) => after.unwrap_or((-1, -1)),
        Err(error) => return stream::iter([Err(error)]).boxed(),
    };
    let state = State {
        appended: inner.signals.appended.subscribe(),
        inner,
        asked,
        after,
        filter,
        names: Names::default(),
        ready: VecDeque::new(),
        catching_up_to: None,
        caught_up: false,
        failed: false,
    };
    stream::unfold(state, |mut state| async move {
        if state.failed {
            return None;
        }
        let delivery = state.next().await;
        state.failed = delivery.is_err();
        Some((delivery, state))
    })
    .fuse()
    .boxed()
}

struct State {
    inner: Arc<Inner>,
    appended: watch::Receiver<u64>,
    /// The position that was named, until it is known to be one of this store's.
    asked: Option<Position>,
    /// The last position that was looked at.
    after: (i64, i64),
    filter: Filter,
    names: Names,
    ready: VecDeque<RecordedEvent>,
    /// Transactions below had begun at the start.
    catching_up_to: Option<i64>,
    caught_up: bool,
    failed: bool,
}

impl State {
    async fn next(&mut self) -> Result<Delivery, StoreError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Delivery::Event(event));
            }
            self.inner.listen();
            // Before it is looked, so that an append in between is heard of.
            self.appended.mark_unchanged();
            let (is_end, is_complete) = self.patiently_look().await?;
            if !is_end || !self.ready.is_empty() {
                continue;
            }
            if is_complete && !self.caught_up {
                self.caught_up = true;
                return Ok(Delivery::CaughtUp);
            }
            let look = if is_complete { LOOK } else { LOOK_SOON };
            // Whether it was told or not, it looks again.
            let _ = tokio::time::timeout(look, self.appended.changed()).await;
        }
    }

    /// Looks for what there is to deliver; where the server is away, until it is back.
    async fn patiently_look(&mut self) -> Result<(bool, bool), StoreError> {
        let (began, mut pause) = (Instant::now(), Duration::from_millis(50));
        loop {
            match self.look().await {
                Err(error) if error.is_temporary() && began.elapsed() < BEARS => {
                    tracing::debug!(%error, "a subscription waits for the event store");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(2));
                }
                looked => return looked,
            }
        }
    }

    /// Whether there is nothing more to look at now, and whether nothing older is open that was at the start.
    async fn look(&mut self) -> Result<(bool, bool), StoreError> {
        let horizon = self.inner.horizon().await?;
        if let Some(asked) = self.asked
            && self.after.0 >= horizon.begun
            && !is_standby(&self.inner.pool).await?
        {
            return Err(StoreError::ForeignPosition(asked));
        }
        self.asked = None;
        let found = self.inner.filtered(&mut self.names, &self.filter, self.after, horizon.decided);
        let (events, next) = found.await?;
        let target = *self.catching_up_to.get_or_insert(horizon.begun);
        self.ready.extend(events);
        self.after = next.unwrap_or(self.after);
        // After the start it is complete where nothing is open at all.
        let wanted = if self.caught_up { horizon.begun } else { target };
        Ok((next.is_none(), horizon.decided >= wanted))
    }
}
