//! Who may append for whom, and who waits.
//!
//! One mutex guards all gates. Who cannot pass waits with nothing taken, so that nobody can
//! deadlock; a queue per subject keeps later ones from overtaking an exclusive admission, or
//! being one, for ever. Who waits for a closure leaves the queue meanwhile, because closures
//! last and others need not stand behind it.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use super::Opening;
use crate::event::Subject;

/// The gates of all subjects.
#[derive(Debug, Default)]
pub(super) struct Gates {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    gates: HashMap<Subject, Gate>,
    tickets: u64,
}

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
            if gate.closures > 0 {
                return Answer::Closed;
            }
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

    fn change<'a>(
        &mut self,
        subjects: impl Iterator<Item = &'a Subject>,
        mut change: impl FnMut(&mut Gate),
    ) {
        for subject in subjects {
            let Some(gate) = self.gates.get_mut(subject) else { continue };
            change(gate);
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

    /// Waits until all of the opening's subjects are free, and takes them together.
    pub(super) async fn admit(self: &Arc<Self>, opening: Opening) -> Pass {
        let exclusive = opening.exclusive.into_iter().map(|subject| (subject, true));
        let shared = opening.shared.into_iter().map(|subject| (subject, false));
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
        let mut waiter = Waiter { gates: self, wanted, ticket, queued: false };
        loop {
            let mut changed = pin!(self.changed.notified());
            // From here on no change is missed.
            changed.as_mut().enable();
            match waiter.try_admit() {
                Some(pass) => return pass,
                None => changed.await,
            }
        }
    }

    /// Closes the subjects at once, and waits until they are drained.
    pub(super) async fn close(self: &Arc<Self>, subjects: &[Subject]) -> Shut {
        let mut shut = Shut { gates: Arc::clone(self), subjects: HashSet::new() };
        shut.extend(subjects).await;
        shut
    }
}

/// Someone who waits. Leaves the queue when dropped.
struct Waiter<'a> {
    gates: &'a Arc<Gates>,
    wanted: Wanted,
    ticket: u64,
    queued: bool,
}

impl Waiter<'_> {
    fn try_admit(&mut self) -> Option<Pass> {
        let gates = self.gates;
        let mut state = gates.lock();
        let answer = state.try_admit(&self.wanted, self.ticket);
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
        let subjects = std::mem::take(&mut self.wanted);
        Some(Pass { gates: Arc::clone(gates), subjects })
    }

    fn leave(&mut self, state: &mut State) {
        self.queued = false;
        let subjects = self.wanted.iter().map(|(subject, _)| subject);
        state.change(subjects, |gate| {
            gate.queue.remove(&self.ticket);
        });
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

/// An admission's hold on its gates.
#[derive(Debug)]
pub(super) struct Pass {
    gates: Arc<Gates>,
    subjects: Wanted,
}

impl Pass {
    pub(super) fn subjects(&self) -> impl Iterator<Item = &Subject> {
        self.subjects.iter().map(|(subject, _)| subject)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut state = self.gates.lock();
        for (subject, exclusive) in &self.subjects {
            state.change(std::iter::once(subject), |gate| {
                if *exclusive {
                    gate.exclusive = false;
                } else {
                    gate.shared -= 1;
                }
            });
        }
        drop(state);
        self.gates.changed.notify_waiters();
    }
}

/// A closure's hold on its gates.
#[derive(Debug)]
pub(super) struct Shut {
    gates: Arc<Gates>,
    subjects: HashSet<Subject>,
}

impl Shut {
    /// Closes further subjects at once, and waits until all are drained.
    pub(super) async fn extend(&mut self, subjects: &[Subject]) {
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
            let mut changed = pin!(self.gates.changed.notified());
            changed.as_mut().enable();
            if self.drained() {
                return;
            }
            changed.await;
        }
    }

    fn drained(&self) -> bool {
        let state = self.gates.lock();
        self.subjects.iter().all(|subject| state.gates.get(subject).is_none_or(Gate::drained))
    }
}

impl Drop for Shut {
    fn drop(&mut self) {
        let mut state = self.gates.lock();
        state.change(self.subjects.iter(), |gate| gate.closures -= 1);
        drop(state);
        self.gates.changed.notify_waiters();
    }
}
