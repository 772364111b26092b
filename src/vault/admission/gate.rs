//! Who may append for whom, and who waits.
//!
//! One mutex guards all gates. One that cannot pass waits with nothing taken, so that none can
//! deadlock; a queue per subject keeps later ones from overtaking an exclusive admission, or
//! being one, for ever. Who waits for a closure leaves the queue meanwhile, because closures
//! last and others need not queue behind it.
//!
//! An admission may have an end. From then on it delays no one, no matter who still has it: those who
//! wait look for such admissions themselves, so that it needs no task of its own.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::{Notify, futures::Notified};

use crate::{event::Subject, runtime, vault::AdmissionRequest};

/// The gates of all subjects.
#[derive(Debug, Default)]
pub(in crate::vault) struct Gates {
    state: Mutex<State>,
    changed: Notify,
    /// How far the clock is ahead, in milliseconds.
    #[cfg(test)]
    ahead: std::sync::atomic::AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    gates: HashMap<Subject, Gate>,
    tickets: u64,
    /// The admissions with an end that has not come.
    ending: BTreeMap<End, Arc<Wanted>>,
}

/// When an admission ends, and its ticket.
type End = (Instant, u64);

#[derive(Debug, Default)]
struct Gate {
    shared: usize,
    exclusive: bool,
    closures: usize,
    /// Those who wait, by ticket, and whether exclusively.
    queue: BTreeMap<u64, bool>,
}

impl Gate {
    fn idle(&self) -> bool {
        self.shared == 0 && !self.exclusive && self.closures == 0 && self.queue.is_empty()
    }

    fn drained(&self) -> bool {
        self.shared == 0 && !self.exclusive
    }
}

/// Each subject once, with whether exclusively.
type Wanted = Vec<(Subject, bool)>;

enum Answer {
    Admitted,
    Closed,
    Busy,
}

impl State {
    fn try_admit(&mut self, wanted: &Wanted, ticket: u64) -> Answer {
        let gates = wanted.iter().map(|(subject, exclusive)| (self.gates.get(subject), *exclusive));
        let mut answer = Answer::Admitted;
        for (gate, exclusive) in gates {
            let Some(gate) = gate else { continue };
            // Before anything else: one that waits for a closure stays out of the queues of its other subjects, too.
            if gate.closures > 0 {
                return Answer::Closed;
            }
            // Only those with an earlier ticket come first. A shared one passes shared ones that wait, since it keeps
            // none of them waiting longer; it does not pass an exclusive one, which would else never find the gate empty.
            let mut before = gate.queue.range(..ticket);
            let busy = if exclusive {
                !gate.drained() || before.next().is_some()
            } else {
                gate.exclusive || before.any(|(_, exclusive)| *exclusive)
            };
            if busy {
                answer = Answer::Busy;
            }
        }
        // All or none, under one lock: who holds one subject never waits for another.
        if matches!(answer, Answer::Admitted) {
            for (subject, exclusive) in wanted {
                let gate = self.gates.entry(subject.clone()).or_default();
                if *exclusive {
                    gate.exclusive = true;
                } else {
                    gate.shared += 1;
                }
            }
        }
        answer
    }

    fn release(&mut self, wanted: &Wanted) {
        for (subject, exclusive) in wanted {
            self.change(std::iter::once(subject), |gate| {
                if *exclusive {
                    gate.exclusive = false;
                } else {
                    gate.shared -= 1;
                }
            });
        }
    }

    /// Lets go of what has come to its end. Returns whether there was something.
    fn expire(&mut self, now: Instant) -> bool {
        let mut some = false;
        while let Some(first) = self.ending.first_entry().filter(|first| first.key().0 <= now) {
            let wanted = first.remove();
            self.release(&wanted);
            some = true;
        }
        some
    }

    fn change<'a>(
        &mut self,
        subjects: impl Iterator<Item = &'a Subject>,
        mut change: impl FnMut(&mut Gate),
    ) {
        for subject in subjects {
            let Some(gate) = self.gates.get_mut(subject) else { continue };
            change(gate);
            // Else the map would keep the name of everybody who ever had an append, forgotten or not.
            if gate.idle() {
                self.gates.remove(subject);
            }
        }
    }
}

impl Gates {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The present instant, by a clock that cannot be set.
    fn now(&self) -> Instant {
        let now = Instant::now();
        #[cfg(test)]
        let now = now + Duration::from_millis(self.ahead.load(std::sync::atomic::Ordering::SeqCst));
        now
    }

    /// Sets the clock ahead, and has those who wait look at it.
    #[cfg(test)]
    pub(in crate::vault) fn pass_time(&self, time: Duration) {
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.ahead.fetch_add(millis, std::sync::atomic::Ordering::SeqCst);
        self.changed.notify_waiters();
    }

    /// Lets go of what has come to its end. To be called before waiting.
    fn expire(&self) {
        let now = self.now();
        if self.lock().expire(now) {
            self.changed.notify_waiters();
        }
    }

    /// Waits until something changed, or the next admission comes to its end.
    async fn until_changed(&self, changed: Pin<&mut Notified<'_>>) {
        let next = self.lock().ending.first_key_value().map(|((end, _), _)| *end);
        let Some(end) = next else { return changed.await };
        let left = end.saturating_duration_since(self.now());
        tokio::select! {
            () = changed => {}
            () = runtime::sleep(left) => {}
        }
    }

    /// Waits until so much time has passed.
    pub(in crate::vault) async fn elapse(&self, time: Duration) {
        let Some(end) = self.now().checked_add(time) else { return std::future::pending().await };
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            let left = end.saturating_duration_since(self.now());
            if left.is_zero() {
                return;
            }
            tokio::select! {
                () = changed => {}
                () = runtime::sleep(left) => {}
            }
        }
    }

    /// Waits until all subjects of the request are free, and takes them together; for so long, if that is
    /// said.
    pub(in crate::vault) async fn admit(
        self: &Arc<Self>,
        request: AdmissionRequest,
        lasting: Option<Duration>,
    ) -> Admission {
        let exclusive = request.exclusive.into_iter().map(|subject| (subject, true));
        let shared = request.shared.into_iter().map(|subject| (subject, false));
        let mut wanted: Wanted = exclusive.chain(shared).collect();
        // Who wants a subject both ways wants it exclusively.
        wanted.sort_unstable_by(|(a, a_exclusive), (b, b_exclusive)| {
            a.cmp(b).then(b_exclusive.cmp(a_exclusive))
        });
        wanted.dedup_by(|(later, _), (earlier, _)| later == earlier);
        let ticket = {
            let mut state = self.lock();
            state.tickets += 1;
            state.tickets
        };
        let mut waiter = Waiter { gates: self, wanted, ticket, lasting, queued: false };
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // From here on no change is missed.
            changed.as_mut().enable();
            self.expire();
            match waiter.try_admit() {
                Some(admission) => return admission,
                None => self.until_changed(changed.as_mut()).await,
            }
        }
    }

    /// Closes the subjects at once, and waits until they are drained.
    pub(in crate::vault) async fn close(self: &Arc<Self>, subjects: &[Subject]) -> Closure {
        let mut closure = Closure { gates: Arc::clone(self), subjects: HashSet::new() };
        closure.extend(subjects).await;
        closure
    }
}

/// Someone who waits. Leaves the queue when dropped.
struct Waiter<'a> {
    gates: &'a Arc<Gates>,
    wanted: Wanted,
    ticket: u64,
    lasting: Option<Duration>,
    queued: bool,
}

impl Waiter<'_> {
    fn try_admit(&mut self) -> Option<Admission> {
        let gates = self.gates;
        let mut state = gates.lock();
        let answer = state.try_admit(&self.wanted, self.ticket);
        // It keeps its ticket when it leaves, and with it its turn when it comes back from a closure.
        let queue = matches!(answer, Answer::Busy);
        if self.queued && !queue {
            self.leave(&mut state);
        } else if queue && !self.queued {
            for (subject, exclusive) in &self.wanted {
                let gate = state.gates.entry(subject.clone()).or_default();
                gate.queue.insert(self.ticket, *exclusive);
            }
            self.queued = true;
        }
        if !matches!(answer, Answer::Admitted) {
            return None;
        }
        let subjects = Arc::new(std::mem::take(&mut self.wanted));
        let end = self.lasting.and_then(|lasting| gates.now().checked_add(lasting));
        let end = end.map(|end| (end, self.ticket));
        if let Some(end) = end {
            state.ending.insert(end, Arc::clone(&subjects));
        }
        Some(Admission { gates: Arc::clone(gates), subjects, end })
    }

    fn leave(&mut self, state: &mut State) {
        self.queued = false;
        let subjects = self.wanted.iter().map(|(subject, _)| subject);
        state.change(subjects, |gate| {
            gate.queue.remove(&self.ticket);
        });
        // Those behind it may pass now, also where it gave up.
        self.gates.changed.notify_waiters();
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        if self.queued {
            let gates = Arc::clone(self.gates);
            self.leave(&mut gates.lock());
        }
    }
}

/// The right to append for some subjects. Until it is dropped or expires, no erasure of these subjects
/// runs. It belongs to the task that appends, so that a caller who drops a future changes nothing.
#[derive(Debug)]
#[must_use]
pub(crate) struct Admission {
    gates: Arc<Gates>,
    subjects: Arc<Wanted>,
    end: Option<End>,
}

impl Admission {
    pub(in crate::vault) fn subjects(&self) -> impl Iterator<Item = &Subject> {
        self.subjects.iter().map(|(subject, _)| subject)
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut state = self.gates.lock();
        // What has ended was let go of by those who waited for it.
        if self.end.is_none_or(|end| state.ending.remove(&end).is_some()) {
            state.release(&self.subjects);
        }
        drop(state);
        self.gates.changed.notify_waiters();
    }
}

/// Subjects whose appends are blocked: while it exists, none is in flight and none begins.
#[derive(Debug)]
#[must_use]
pub struct Closure {
    gates: Arc<Gates>,
    subjects: HashSet<Subject>,
}

impl Closure {
    /// Closes further subjects at once, and waits until all are drained.
    pub(crate) async fn extend(&mut self, subjects: &[Subject]) {
        // All are closed before the first is waited for: what is admitted meanwhile would have to be waited for as well. It
        // waits for admissions alone, never for another closure.
        {
            let mut state = self.gates.lock();
            for subject in subjects {
                if self.subjects.insert(subject.clone()) {
                    state.gates.entry(subject.clone()).or_default().closures += 1;
                }
            }
        }
        // Those who queue behind nothing but this closure leave their queues.
        self.gates.changed.notify_waiters();
        loop {
            let mut changed = std::pin::pin!(self.gates.changed.notified());
            changed.as_mut().enable();
            self.gates.expire();
            if self.drained() {
                return;
            }
            self.gates.until_changed(changed.as_mut()).await;
        }
    }

    fn drained(&self) -> bool {
        let state = self.gates.lock();
        self.subjects.iter().all(|subject| state.gates.get(subject).is_none_or(Gate::drained))
    }
}

impl Drop for Closure {
    fn drop(&mut self) {
        let mut state = self.gates.lock();
        state.change(self.subjects.iter(), |gate| gate.closures -= 1);
        drop(state);
        self.gates.changed.notify_waiters();
    }
}
