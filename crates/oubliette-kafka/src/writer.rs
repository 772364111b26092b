//! The thread that writes. It serves all appends that wait at the same moment with one transaction, each of which is
//! decided by itself, and finds out what became of a transaction before it answers. Where the broker refuses one of them,
//! they are tried one by one.

use std::{
    collections::VecDeque,
    sync::{Arc, Weak},
    thread,
    time::{Duration, Instant},
};

use oubliette::store::{Appended, StoreError};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::{
    error::KafkaError,
    plan::{Group, Plan, Reply, Task},
    record::{self, Outbound},
    session::{Arrival, Outcome, Record, Session, Trouble},
    shared::Shared,
    tail,
};

/// This many appends may wait before the next has to.
const WAITING: usize = 1_024;
/// Who takes over says so in the topic within this time.
const TAKEOVER: Duration = Duration::from_secs(2);

type Answer = Result<Vec<Appended>, StoreError>;

struct Request {
    task: Task,
    answer: oneshot::Sender<Answer>,
    /// A transaction that it shared was refused: it is tried by itself.
    alone: bool,
    /// Its transaction was thrown away, because the session had lapsed.
    repeated: bool,
}

/// The way to the thread.
#[derive(Debug, Clone)]
pub(crate) struct Writer {
    requests: mpsc::Sender<Request>,
}

/// What the thread has.
struct Desk {
    shared: Weak<Shared>,
    requests: mpsc::Receiver<Request>,
    session: Option<Session>,
    /// The id by which the topic says that we write.
    writer_id: Uuid,
    max_bytes: usize,
    /// Why nothing is written any more.
    ended: Option<KafkaError>,
}

/// A task whose events are being written.
struct Draft {
    request: Request,
    events: Vec<Outbound>,
    reply: Reply,
}

impl Writer {
    pub(crate) fn start(
        shared: &Arc<Shared>,
        session: Session,
        writer_id: Uuid,
        max_bytes: usize,
    ) -> Result<Self, std::io::Error> {
        let (sender, requests) = mpsc::channel(WAITING);
        let (shared, session) = (Arc::downgrade(shared), Some(session));
        let desk = Desk { shared, requests, session, writer_id, max_bytes, ended: None };
        thread::Builder::new().name("oubliette-kafka".to_owned()).spawn(move || desk.run())?;
        Ok(Self { requests: sender })
    }

    /// Hands a task over. Dropped before that, nothing is written; after it, all or nothing.
    pub(crate) async fn commit(&self, task: Task) -> Answer {
        let (answer, answered) = oneshot::channel();
        let gone = |_| StoreError::from(KafkaError::Stopped);
        let request = Request { task, answer, alone: false, repeated: false };
        self.requests.send(request).await.map_err(|_| gone(()))?;
        answered.await.map_err(|_| gone(()))?
    }
}

/// The id of all writers of a topic: each fences the one before.
pub(crate) fn transactional_id(topic: &str) -> String {
    format!("oubliette-{topic}")
}

impl Desk {
    fn run(mut self) {
        let mut waiting = VecDeque::new();
        while let Some(first) = self.requests.blocking_recv() {
            waiting.push_back(first);
            while let Some(shared) = self.shared.upgrade() {
                while waiting.len() < WAITING
                    && let Ok(next) = self.requests.try_recv()
                {
                    waiting.push_back(next);
                }
                if waiting.is_empty() {
                    break;
                }
                self.serve(&shared, &mut waiting);
            }
        }
    }

    /// Takes as many of those that wait as fit into one transaction, and answers them.
    fn serve(&mut self, shared: &Arc<Shared>, waiting: &mut VecDeque<Request>) {
        let (mut group, mut drafts) = (Group::default(), Vec::new());
        while let Some(request) = waiting.pop_front() {
            // Nobody waits for it, and nothing was begun.
            if request.answer.is_closed() {
                continue;
            }
            let plan = match request.alone && !drafts.is_empty() {
                true => Plan::Wait,
                false => group.plan(&shared.index(), &request.task),
            };
            match plan {
                Plan::Answer(answered) => drop(request.answer.send(answered)),
                Plan::Wait => {
                    waiting.push_front(request);
                    break;
                }
                Plan::Write(events, reply) => match &self.ended {
                    Some(error) => drop(request.answer.send(Err(error.clone().into()))),
                    None => {
                        let alone = request.alone;
                        group.add(&events);
                        drafts.push(Draft { request, events, reply });
                        if alone {
                            break;
                        }
                    }
                },
            }
        }
        if !drafts.is_empty() {
            self.commit(shared, drafts, waiting);
        }
    }

    fn commit(
        &mut self,
        shared: &Arc<Shared>,
        drafts: Vec<Draft>,
        waiting: &mut VecDeque<Request>,
    ) {
        // Nothing was sent yet.
        if self.session.is_none() {
            return match self.reopen(shared, false) {
                // What others wrote meanwhile may come before these.
                Ok(()) => plan_again(drafts, waiting, |_| ()),
                Err(error) => {
                    self.end_if_permanent(shared, &error);
                    refuse(drafts, &error);
                }
            };
        }
        let Some(session) = &self.session else {
            return refuse(drafts, &KafkaError::Stopped);
        };
        let keys: Vec<String> = drafts
            .iter()
            .flat_map(|draft| &draft.events)
            .map(|event| event.id.to_string())
            .collect();
        let events = drafts.iter().flat_map(|draft| &draft.events);
        let records = events.zip(&keys).map(|(event, key)| Record {
            topic: shared.config.topic(),
            partition: Some(0),
            key: key.as_bytes(),
            value: event.data.as_bytes(),
            headers: event.headers(record::EVENT, &[]),
        });
        match session.transact(records.collect(), |arrivals| is_behind(shared, arrivals)) {
            Outcome::Stored(arrivals) if is_alone(shared, &arrivals) => {
                stored(shared, drafts, &arrivals);
            }
            // Somebody wrote between: whether ours follow is found out as by whoever reads the topic.
            Outcome::Stored(_) => self.find_out(shared, drafts, false),
            Outcome::Withdrawn(error) => {
                self.session = None;
                self.end_if_permanent(shared, &error);
                refuse(drafts, &error);
            }
            Outcome::Nothing(trouble) => {
                self.session = None;
                self.nothing(shared, drafts, waiting, trouble);
            }
            Outcome::Unknown(trouble) => {
                tracing::warn!(cause = %trouble.cause, "whether events were stored is being asked");
                self.session = None;
                self.find_out(shared, drafts, trouble.fenced);
            }
        }
    }

    /// Nothing of these is stored: they are tried again where that may help, or refused.
    fn nothing(
        &mut self,
        shared: &Arc<Shared>,
        drafts: Vec<Draft>,
        waiting: &mut VecDeque<Request>,
        Trouble { cause, fenced }: Trouble,
    ) {
        if cause.is_refusal() {
            return match drafts.len() {
                1 => refuse(drafts, &KafkaError::Refused { source: cause }),
                // One of them is, and which one is not said.
                _ => plan_again(drafts, waiting, |request| request.alone = true),
            };
        }
        if cause.is_lapse() && drafts.iter().all(|draft| !draft.request.repeated) {
            tracing::debug!(%cause, "this writer's session had lapsed");
            return plan_again(drafts, waiting, |request| request.repeated = true);
        }
        let mut error = KafkaError::NotStored { source: cause };
        if fenced {
            tracing::warn!("Kafka does not take this writer's transactions any more");
            // Otherwise the broker gave up waiting: the next append begins anew.
            match self.reopen(shared, true) {
                Err(permanent) if !permanent.is_temporary() => error = permanent,
                _ => {}
            }
        }
        self.end_if_permanent(shared, &error);
        refuse(drafts, &error);
    }

    /// Opens a session again, unless another writer was opened meanwhile. Afterwards every transaction that this
    /// writer began is decided, and in the index where it was committed.
    fn reopen(&mut self, shared: &Arc<Shared>, fenced: bool) -> Result<(), KafkaError> {
        let config = &shared.config;
        let open = || !self.requests.is_closed();
        let taken = || KafkaError::TakenOver { topic: config.topic().to_owned() };
        let is_ours = || shared.index().writer() == Some(self.writer_id);
        let began = Instant::now();
        loop {
            // Not to the end: a transaction of ours may be open there, which only a new session ends. One who took over
            // has ended it, and has said so behind it.
            shared.look(open)?;
            if !is_ours() {
                return Err(taken());
            }
            if !fenced || began.elapsed() > TAKEOVER || !open() {
                break;
            }
            thread::sleep(Duration::from_millis(100));
        }
        // Nor is the writer of another topic of this name ended.
        shared.check_identity()?;
        let id = transactional_id(config.topic());
        let session = Session::open(config, &id, self.max_bytes);
        let session = session.map_err(|source| match source.is_denied() {
            true => KafkaError::Denied { source },
            false => KafkaError::Silent { source: Some(source) },
        })?;
        shared.settle(open)?;
        // One that was opened while we looked has lost its session to us, and will say so. Neither goes on.
        if !is_ours() {
            return Err(taken());
        }
        self.session = Some(session);
        Ok(())
    }

    /// Waits for as long as it takes: whoever is told that nothing was stored may rely on it.
    fn find_out(&mut self, shared: &Arc<Shared>, drafts: Vec<Draft>, fenced: bool) {
        let mut pause = Duration::from_millis(100);
        let error = loop {
            if self.requests.is_closed() {
                return;
            }
            let settled = match self.session {
                Some(_) => shared.settle(|| !self.requests.is_closed()),
                None => self.reopen(shared, fenced),
            };
            match settled {
                Ok(()) => {
                    let source = crate::error::Cause::text("the transaction was not committed");
                    break KafkaError::NotStored { source };
                }
                Err(error) if error.is_temporary() => {
                    tracing::debug!(%error, "whether events were stored is not known yet");
                    thread::sleep(pause);
                    pause = (pause * 2).min(Duration::from_secs(2));
                }
                Err(error) => break error,
            }
        };
        self.end_if_permanent(shared, &error);
        for draft in drafts {
            let index = shared.index();
            let offset = |event: &Outbound| {
                let known = index.find(event.id, &event.stream)?;
                let same = known.same_stream && known.revision == event.revision;
                known.position.as_number().filter(|_| same)
            };
            let offsets: Option<Vec<u64>> = draft.events.iter().map(offset).collect();
            drop(index);
            let answered = match offsets {
                Some(offsets) => Ok(draft.reply.of(&draft.events, &offsets)),
                None => Err(error.clone().into()),
            };
            drop(draft.request.answer.send(answered));
        }
    }

    fn end_if_permanent(&mut self, shared: &Arc<Shared>, error: &KafkaError) {
        if error.is_temporary() || self.ended.is_some() {
            return;
        }
        tracing::error!(%error, "this writer has ended");
        (self.ended, self.session) = (Some(error.clone()), None);
        if matches!(error, KafkaError::Lost { .. }) {
            return shared.stop(error.clone());
        }
        // What the other writes can still be read.
        if let Err(error) = tail::start(shared) {
            tracing::error!(%error, "reading does not go on");
        }
    }
}

/// Whether these come behind all that is known of the topic: it did not lose its end, and is no other of the same name.
fn is_behind(shared: &Shared, arrivals: &[Arrival]) -> Result<(), KafkaError> {
    let end = shared.index().end();
    match arrivals.iter().map(|arrival| arrival.offset).min() {
        Some(offset) if offset < end => {
            Err(KafkaError::Lost { topic: shared.config.topic().to_owned(), offset })
        }
        // Somebody wrote between, or it is another topic that has become longer.
        Some(offset) if offset > end + 1 => shared.check_identity(),
        _ => Ok(()),
    }
}

/// Whether no record of anybody else's came before the last of these since we looked. The mark of the transaction
/// before takes one offset.
fn is_alone(shared: &Shared, arrivals: &[Arrival]) -> bool {
    let (Some(first), Some(last)) = (arrivals.first(), arrivals.last()) else { return true };
    let next_to_each_other =
        last.offset.checked_sub(first.offset) == Some(arrivals.len() as u64 - 1);
    next_to_each_other && first.offset <= shared.index().end() + 1
}

/// Back to where they waited, in their order.
fn plan_again(drafts: Vec<Draft>, waiting: &mut VecDeque<Request>, mark: impl Fn(&mut Request)) {
    for Draft { mut request, .. } in drafts.into_iter().rev() {
        mark(&mut request);
        waiting.push_front(request);
    }
}

fn stored(shared: &Arc<Shared>, drafts: Vec<Draft>, arrivals: &[Arrival]) {
    let offsets: Vec<u64> = arrivals.iter().map(|arrival| arrival.offset).collect();
    let mut rest = &offsets[..];
    let mut answers = Vec::with_capacity(drafts.len());
    shared.change(|index| {
        for Draft { request, events, reply } in drafts {
            let (own, others) = rest.split_at(events.len().min(rest.len()));
            rest = others;
            for (event, offset) in events.iter().zip(own) {
                index.add(*offset, event.place());
            }
            answers.push((request.answer, reply.of(&events, own)));
        }
    });
    for (answer, done) in answers {
        drop(answer.send(Ok(done)));
    }
}

fn refuse(drafts: Vec<Draft>, error: &KafkaError) {
    for draft in drafts {
        drop(draft.request.answer.send(Err(error.clone().into())));
    }
}
