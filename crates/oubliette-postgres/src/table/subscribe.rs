//! Subscriptions: rounds of looking, each from where the last one ended. Nothing is installed in the table, so that they look
//! twice a second; what this store itself appends, they hear of at once.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use oubliette::{
    event::{Position, RecordedEvent},
    store::{Capability, Delivery, Filter, StoreError, Subscription},
};
use tokio::sync::watch;

use super::{Inner, horizon::Round, read::number, rows::Seen};

/// How often a subscription looks.
const LOOK: Duration = Duration::from_millis(500);
/// … while transactions that are open keep something back.
const LOOK_SOON: Duration = Duration::from_millis(20);
/// For so long a subscription bears a server that is away.
const BEARS: Duration = Duration::from_secs(5 * 60);

pub(super) fn subscribe(
    inner: Arc<Inner>,
    after: Option<Position>,
    filter: Filter,
) -> Subscription {
    if !inner.shape.is_ordered {
        return stream::iter([Err(StoreError::Unsupported(Capability::Subscribe))]).boxed();
    }
    let asked = after;
    let after = match after.map(number).transpose() {
        Ok(after) => after.unwrap_or(i64::MIN),
        Err(error) => return stream::iter([Err(error)]).boxed(),
    };
    let state = State {
        appended: inner.appended.subscribe(),
        inner,
        asked,
        after,
        filter,
        seen: Seen::default(),
        ready: VecDeque::new(),
        round: None,
        decided: None,
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
    after: i64,
    filter: Filter,
    seen: Seen,
    ready: VecDeque<RecordedEvent>,
    /// What is waited for.
    round: Option<Round>,
    /// Up to here everything is decided.
    decided: Option<i64>,
    caught_up: bool,
    failed: bool,
}

/// What is to be done after a look.
enum Then {
    /// There may be more at once.
    GoOn,
    /// What was there at the start has been looked at.
    CaughtUp,
    Wait(Duration),
}

impl State {
    async fn next(&mut self) -> Result<Delivery, StoreError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Delivery::Event(event));
            }
            match self.patiently_look().await? {
                Then::GoOn => {}
                Then::CaughtUp => return Ok(Delivery::CaughtUp),
                Then::Wait(time) if self.round.is_some() => tokio::time::sleep(time).await,
                // Whether it was told or not, it looks again.
                Then::Wait(time) => drop(tokio::time::timeout(time, self.appended.changed()).await),
            }
        }
    }

    /// Looks; where the server is away, until it is back.
    async fn patiently_look(&mut self) -> Result<Then, StoreError> {
        let (began, mut pause) = (Instant::now(), Duration::from_millis(50));
        loop {
            match self.look().await {
                Err(error) if error.is_temporary() && began.elapsed() < BEARS => {
                    tracing::debug!(%error, "a subscription waits for the table of events");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(2));
                }
                looked => return looked,
            }
        }
    }

    async fn look(&mut self) -> Result<Then, StoreError> {
        if let Some(decided) = self.decided
            && self.after < decided
        {
            let found =
                self.inner.filtered(&mut self.seen, &self.filter, self.after, decided).await?;
            self.ready.extend(found.0);
            self.after = found.1.unwrap_or(decided);
            return Ok(Then::GoOn);
        }
        if self.decided.is_some() && !self.caught_up {
            self.caught_up = true;
            return Ok(Then::CaughtUp);
        }
        let mut round = match self.round.take() {
            Some(round) => round,
            None => {
                // Before it is looked, so that an append in between is heard of.
                self.appended.mark_unchanged();
                self.inner.begin_round().await?
            }
        };
        if let Some(asked) = self.asked
            && round.high.is_none_or(|high| self.after > high)
            && self.inner.never_gave(self.after).await?
        {
            return Err(StoreError::ForeignPosition(asked));
        }
        self.asked = None;
        let high = match round.high {
            Some(high) if high > self.after => high,
            // Nothing is new, whoever is about to write.
            _ => {
                self.decided = Some(self.after);
                return Ok(if self.caught_up { Then::Wait(LOOK) } else { Then::GoOn });
            }
        };
        if !round.open.is_empty() {
            let looked = self.inner.go_on(&mut round).await;
            let is_open = !round.open.is_empty();
            if is_open {
                self.round = Some(round);
            }
            looked?;
            if is_open {
                return Ok(Then::Wait(LOOK_SOON));
            }
        }
        self.decided = Some(high);
        Ok(Then::GoOn)
    }
}
