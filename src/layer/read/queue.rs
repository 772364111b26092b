//! The chunks of events that were read and are not delivered yet, and those who open them.
//!
//! Chunks are numbered. Whoever opens one takes its events out and leaves its place; so the reader gets them in order, and no
//! lock is held while anything is opened.

use std::{
    collections::VecDeque,
    mem,
    num::NonZeroUsize,
    sync::{
        Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    task::Context,
    thread::available_parallelism,
};

use futures::task::AtomicWaker;

use super::{Events, Opener};
use crate::{
    TaskError,
    layer::Layer,
    runtime,
    store::{EventStore, StoreError},
};

/// How many events are opened in one go: the task that reads them does nothing else meanwhile.
pub(super) const CHUNK: usize = 32;
/// … or about so many bytes of payload and metadata.
pub(super) const CHUNK_BYTES: usize = 256 * 1024;
/// How many steps the reader takes before it lets other tasks run: to open a chunk is one, to hand one out another. At
/// each pause the task may move to another core.
pub(super) const IN_A_ROW: usize = 8;
/// So many chunks may be read ahead: two pages of the embedded store …
const AHEAD: usize = 32;
/// … but of large events only about so many bytes.
const AHEAD_BYTES: usize = 8 * 1024 * 1024;
/// With more chunks than this waiting, which is more than a page, the store is quicker than its reader.
const BACKLOG: usize = AHEAD / 2 + 2;
/// Asked for once, because the system answers from files.
static CORES: LazyLock<usize> =
    LazyLock::new(|| available_parallelism().map_or(2, NonZeroUsize::get));

/// How many helpers there are of all reads together: each takes one of the runtime's threads for what blocks, and more of
/// them than cores would only wait for each other, and have others wait for a thread.
static HELPERS: AtomicUsize = AtomicUsize::new(0);

/// See the module.
#[derive(Default)]
pub(super) struct Queue {
    chunks: Mutex<Chunks>,
    /// The task that reads, where it waits for a chunk that a helper opens.
    reader: AtomicWaker,
}

#[derive(Default)]
struct Chunks {
    list: VecDeque<Chunk>,
    /// The number of the oldest.
    first: u64,
    /// How many bytes all of them had when they were read.
    bytes: usize,
    helpers: usize,
}

struct Chunk {
    bytes: usize,
    state: State,
}

enum State {
    Closed(Events),
    InWork,
    Opened(Events),
}

/// What the oldest chunk is like.
pub(super) enum Oldest {
    /// There is none.
    None,
    /// It is opened, and the reader's now.
    Opened(Events),
    /// It is not opened yet. Who does it wakes the reader.
    Unopened,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Chunks> {
        // No code panics while it holds this lock.
        self.chunks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn has_room(&self) -> bool {
        let chunks = self.lock();
        chunks.list.len() < AHEAD && chunks.bytes < AHEAD_BYTES
    }

    pub(super) fn push(&self, events: Events, bytes: usize) {
        let mut chunks = self.lock();
        chunks.bytes += bytes;
        chunks.list.push_back(Chunk { bytes, state: State::Closed(events) });
    }

    /// Takes the oldest chunk out, where it is opened.
    pub(super) fn oldest(&self, context: &Context<'_>) -> Oldest {
        // Before it is looked at: who finishes it afterwards must find the waker.
        self.reader.register(context.waker());
        let mut chunks = self.lock();
        match chunks.list.pop_front() {
            None => Oldest::None,
            Some(Chunk { bytes, state: State::Opened(events) }) => {
                chunks.first += 1;
                chunks.bytes -= bytes;
                Oldest::Opened(events)
            }
            Some(unopened) => {
                chunks.list.push_front(unopened);
                Oldest::Unopened
            }
        }
    }

    /// The oldest chunk with which nobody has begun, and its number: to be opened and put back.
    pub(super) fn take_closed(&self) -> Option<(u64, Events)> {
        let mut chunks = self.lock();
        let at = chunks.list.iter().position(Chunk::is_closed)?;
        match mem::replace(&mut chunks.list[at].state, State::InWork) {
            State::Closed(events) => Some((chunks.first + at as u64, events)),
            State::InWork | State::Opened(_) => None,
        }
    }

    /// Puts a chunk back that was opened.
    pub(super) fn put_back(&self, number: u64, events: Events) {
        let mut chunks = self.lock();
        let at = number.checked_sub(chunks.first).and_then(|at| usize::try_from(at).ok());
        // It may have been let go of meanwhile.
        if let Some(chunk) = at.and_then(|at| chunks.list.get_mut(at)) {
            chunk.state = State::Opened(events);
        }
    }

    /// Whether there is work for one helper more.
    pub(super) fn lacks_a_helper(&self) -> bool {
        let chunks = self.lock();
        let spared = if chunks.list.len() > BACKLOG { 1 } else { 2 };
        let closed = chunks.list.iter().filter(|chunk| chunk.is_closed());
        chunks.helpers < CORES.saturating_sub(spared)
            && closed.count() > chunks.helpers + 1
            && HELPERS.load(Ordering::Relaxed) < *CORES
    }

    /// Lets go of all that is not delivered.
    pub(super) fn clear(&self) {
        let mut chunks = self.lock();
        chunks.first += chunks.list.len() as u64;
        chunks.bytes = 0;
        drop(mem::take(&mut chunks.list));
    }
}

impl Chunk {
    fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed(_))
    }
}

/// A thread that opens chunks until there are none. It is counted from when it is called.
pub(super) struct Helper {
    queue: Arc<Queue>,
    /// The chunk that it is at.
    at: Option<u64>,
}

impl Helper {
    pub(super) fn new(queue: &Arc<Queue>) -> Self {
        queue.lock().helpers += 1;
        HELPERS.fetch_add(1, Ordering::Relaxed);
        Self { queue: Arc::clone(queue), at: None }
    }

    /// The layer is held for a chunk at most: whoever read to the end and drops it must find its vault free.
    pub(super) fn run<S: EventStore>(mut self, layer: &Weak<Layer<S>>, opener: &Opener) {
        while let Some((number, events)) = self.queue.take_closed() {
            self.at = Some(number);
            // Gone: then so is the reader.
            let Some(layer) = layer.upgrade() else { return };
            let opened = runtime::block_on(opener.clone().open(layer, events));
            self.done(opened);
        }
    }

    fn done(&mut self, opened: Events) {
        if let Some(number) = self.at.take() {
            self.queue.put_back(number, opened);
            self.queue.reader.wake();
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.queue.lock().helpers -= 1;
        HELPERS.fetch_sub(1, Ordering::Relaxed);
        // It panicked, or the runtime or the layer ended before it did: its reader must not wait for it.
        let why = if std::thread::panicking() { TaskError::Panicked } else { TaskError::Cancelled };
        self.done(vec![Err(StoreError::from(why))]);
    }
}

#[cfg(test)]
mod tests {
    use std::{panic, task::Waker};

    use futures::task::{ArcWake, waker};

    use super::*;
    use crate::layer::halves::Joined;

    /// A chunk that is known by how long it is.
    fn chunk(length: usize) -> Events {
        (0..length).map(|_| Ok(Joined::CaughtUp)).collect()
    }

    fn queue(lengths: &[usize]) -> Arc<Queue> {
        let queue = Arc::<Queue>::default();
        lengths.iter().for_each(|length| queue.push(chunk(*length), 1));
        queue
    }

    fn oldest(queue: &Queue) -> Oldest {
        queue.oldest(&Context::from_waker(Waker::noop()))
    }

    struct Count(AtomicUsize);

    impl ArcWake for Count {
        fn wake_by_ref(count: &Arc<Self>) {
            count.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn chunks_come_out_in_order_whoever_opens_them_first() {
        let queue = queue(&[1, 2, 3]);
        let mut helpers = [Helper::new(&queue), Helper::new(&queue), Helper::new(&queue)];
        for helper in &mut helpers {
            let (number, events) = queue.take_closed().unwrap();
            assert_eq!(events.len() as u64, number + 1);
            helper.at = Some(number);
        }
        assert!(queue.take_closed().is_none());
        let woken = Arc::new(Count(AtomicUsize::new(0)));
        let waker = waker(Arc::clone(&woken));
        assert!(matches!(queue.oldest(&Context::from_waker(&waker)), Oldest::Unopened));
        helpers[2].done(chunk(3));
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert!(matches!(oldest(&queue), Oldest::Unopened));
        helpers[0].done(chunk(1));
        helpers[1].done(chunk(2));
        for length in 1..=3 {
            assert!(matches!(oldest(&queue), Oldest::Opened(events) if events.len() == length));
        }
        assert!(matches!(oldest(&queue), Oldest::None));
    }

    #[test]
    fn nobody_waits_for_a_helper_that_panicked() {
        let queue = queue(&[5]);
        let mut helper = Helper::new(&queue);
        helper.at = queue.take_closed().map(|(number, _)| number);
        let ended = panic::catch_unwind(panic::AssertUnwindSafe(move || {
            let _helper = helper;
            panic!("while it opens");
        }));
        assert!(ended.is_err());
        let Oldest::Opened(mut events) = oldest(&queue) else { panic!("it is waited for") };
        let error = events.pop().unwrap().unwrap_err();
        assert!(error.to_string().contains("panicked"), "{error}");
        assert_eq!(queue.lock().helpers, 0);
    }

    #[test]
    fn many_reads_at_once_have_no_more_helpers_than_there_are_cores() {
        let queues: Vec<_> = (0..*CORES).map(|_| queue(&[1; AHEAD])).collect();
        let _helpers: Vec<_> = queues.iter().map(Helper::new).collect();
        assert!(!queue(&[1; AHEAD]).lacks_a_helper());
    }

    #[test]
    fn what_was_let_go_of_does_not_come_back() {
        let queue = queue(&[1, 2]);
        let (number, events) = queue.take_closed().unwrap();
        queue.clear();
        queue.push(chunk(7), 1);
        queue.put_back(number, events);
        assert!(matches!(queue.take_closed(), Some((2, events)) if events.len() == 7));
    }

    #[test]
    fn what_is_read_ahead_has_an_end_in_chunks_and_in_bytes() {
        let many = Arc::<Queue>::default();
        while many.has_room() {
            many.push(chunk(1), 1);
        }
        assert_eq!(many.lock().list.len(), AHEAD);
        let large = Arc::<Queue>::default();
        large.push(chunk(1), AHEAD_BYTES);
        assert!(!large.has_room());
        large.put_back(0, chunk(1));
        assert!(matches!(oldest(&large), Oldest::Opened(_)));
        assert!(large.has_room());
    }
}
