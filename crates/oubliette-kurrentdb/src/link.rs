//! The connection: requests that either get an answer, or say how they did not.
//!
//! The client mends some of what breaks by itself, and not all of it. Once it could not connect, it never tries again, and
//! in a cluster it stays with a node that is gone. So it is replaced where that may be. (Each one that was connected leaves
//! an idle task behind, which the client has no way to end.)

use std::{future::Future, time::Duration};

use kurrentdb::{Client, CurrentRevision, Error};
use oubliette::TaskError;
use tokio::{
    runtime::Handle,
    sync::Mutex,
    task::spawn_blocking,
    time::{Instant, sleep, timeout},
};

use crate::{address::Address, error::KurrentError};

/// How long one answer is waited for. Above the ten seconds that the server has for an append, and above what the client
/// takes to connect.
const ANSWER: Duration = Duration::from_secs(15);
/// What the server is told to have for an append.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);
/// Between attempts: at first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));
/// As much of what client or server says is handed on.
const TOLD: usize = 300;

pub(crate) struct Link {
    pub(crate) address: Address,
    slot: Mutex<Slot>,
    /// How long a call waits for a server that is not there.
    pub(crate) patience: Duration,
}

#[derive(Default)]
struct Slot {
    client: Option<Client>,
    /// Counts clients.
    number: u64,
}

/// Why there is no answer, or not the one that was wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failed {
    /// Nothing was done, because no server that could was reached.
    NotSent(String),
    /// It was sent, or may have been, and what became of it is not known.
    Unknown(String),
    /// The stream is not as expected. Nothing was done.
    WrongRevision(CurrentRevision),
    /// The user may not.
    Denied,
    /// The stream was hard-deleted.
    Deleted,
    /// There is no such thing.
    Missing,
    /// The request cannot be. Nothing was done.
    Invalid(String),
    /// Anything else.
    Refused(String),
    Task(TaskError),
}

impl Failed {
    pub(crate) fn of(error: &Error) -> Self {
        match error {
            Error::ConnectionClosed => Self::NotSent("the client has no connection".to_owned()),
            Error::GrpcConnectionError(error) => Self::NotSent(told(&error.to_string())),
            Error::NotLeaderException(leader) => Self::NotSent(told(&format!(
                "the node that was asked is not the leader, and says that {}:{} is; can that be reached from here?",
                leader.host, leader.port
            ))),
            Error::ServerError(said) if never_arrived(said) => Self::NotSent(told(said)),
            Error::ServerError(said) => Self::Unknown(told(said)),
            Error::DeadlineExceeded => {
                Self::Unknown("the server's time for it was over".to_owned())
            }
            Error::Grpc { code, message } => match i32::from(*code) {
                // Cancelled; aborted, which is how the server says that a write took too long.
                1 | 10 => Self::Unknown(told(message)),
                3 => Self::Invalid(told(message)),
                _ => Self::Refused(told(message)),
            },
            Error::AccessDenied => Self::Denied,
            Error::ResourceDeleted => Self::Deleted,
            Error::ResourceNotFound => Self::Missing,
            Error::WrongExpectedVersion { current, .. } => Self::WrongRevision(*current),
            other => Self::Refused(told(&other.to_string())),
        }
    }

    /// Whether it may be different in a moment.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(self, Self::NotSent(_) | Self::Unknown(_))
    }

    /// As an error for the caller: of a request about a stream, where it was about one.
    pub(crate) fn explain(self, waited: Duration, what: &str, stream: &str) -> KurrentError {
        match self {
            Self::NotSent(why) | Self::Unknown(why) => KurrentError::NotConnected { waited, why },
            Self::Denied => KurrentError::NotAllowed { what: what.to_owned() },
            Self::Deleted => KurrentError::Deleted { stream: stream.to_owned() },
            Self::Missing => KurrentError::Answer("it says that there is nothing".to_owned()),
            Self::WrongRevision(_) => {
                KurrentError::Answer("a revision where none was asked for".to_owned())
            }
            Self::Invalid(said) | Self::Refused(said) => KurrentError::Answer(said),
            Self::Task(error) => error.into(),
        }
    }
}

impl From<TaskError> for Failed {
    fn from(error: TaskError) -> Self {
        Self::Task(error)
    }
}

/// Whether a request failed before any of it was sent.
fn never_arrived(said: &str) -> bool {
    ["tcp connect error", "(Connect)", "dns error"].iter().any(|sign| said.contains(sign))
}

/// What others say is cut, and put on one line: anybody may listen at an address.
fn told(said: &str) -> String {
    let mut told: String =
        said.chars().map(|c| if c.is_control() { ' ' } else { c }).take(TOLD).collect();
    if said.chars().nth(TOLD).is_some() {
        told.push('…');
    }
    told
}

impl Link {
    pub(crate) fn new(address: Address, patience: Duration) -> Self {
        Self { address, slot: Mutex::default(), patience }
    }

    /// The client, and its number.
    async fn client(&self) -> Result<(Client, u64), Failed> {
        let runtime = Handle::try_current().map_err(|_| TaskError::NoRuntime)?;
        let mut slot = self.slot.lock().await;
        if let Some(client) = &slot.client {
            return Ok((client.clone(), slot.number));
        }
        let settings = self.address.settings.clone();
        // Reads certificates, and panics at a file that holds none.
        let made = spawn_blocking(move || {
            Client::with_runtime_handle(runtime, settings).map_err(|error| error.to_string())
        });
        let client = made.await.unwrap_or_else(|_| Err("the client panicked".to_owned()));
        let client = client.map_err(|why| {
            Failed::Refused(told(&format!(
                "the client cannot be set up ({why}); look at the files that tlsCaFile, userCertFile and userKeyFile of \
                 the address name"
            )))
        })?;
        slot.number += 1;
        slot.client = Some(client.clone());
        Ok((client, slot.number))
    }

    /// Has the next request use another client, unless there is another already.
    async fn replace(&self, number: u64) {
        let mut slot = self.slot.lock().await;
        if slot.number == number {
            slot.client = None;
        }
    }

    /// Asks, and waits for the answer as long as it makes sense.
    pub(crate) async fn ask<T, Asked>(
        &self,
        ask: impl FnOnce(Client) -> Asked,
    ) -> Result<(T, u64), Failed>
    where
        Asked: Future<Output = Result<T, Error>>,
    {
        let (client, number) = self.client().await?;
        let answer = self.answer(number, ask(client)).await?;
        Ok((answer, number))
    }

    /// Waits for what was asked of the client with this number.
    pub(crate) async fn answer<T>(
        &self,
        number: u64,
        answer: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Failed> {
        let Ok(answer) = timeout(ANSWER, answer).await else {
            self.replace(number).await;
            return Err(Failed::Unknown(format!("no answer for {ANSWER:?}")));
        };
        match answer {
            Ok(answer) => Ok(answer),
            Err(error) => {
                let failed = Failed::of(&error);
                let is_dead =
                    matches!(error, Error::ConnectionClosed | Error::GrpcConnectionError(_));
                let is_elsewhere =
                    self.address.is_cluster() && matches!(error, Error::ServerError(_));
                if is_dead || is_elsewhere {
                    self.replace(number).await;
                }
                Err(failed)
            }
        }
    }
}

/// Waits between attempts, longer each time.
#[derive(Debug)]
pub(crate) struct Pauses {
    began: Instant,
    next: Duration,
}

impl Pauses {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), next: PAUSES.0 }
    }

    /// Since the first attempt.
    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    pub(crate) async fn pause(&mut self) {
        sleep(self.next).await;
        self.next = (self.next * 2).min(PAUSES.1);
    }
}

#[cfg(test)]
mod tests {
    use kurrentdb::StreamState;

    use super::*;

    fn server(said: &str) -> Failed {
        Failed::of(&Error::ServerError(said.to_owned()))
    }

    #[test]
    fn what_the_client_says_is_sorted_by_what_became_of_the_request() {
        assert!(matches!(Failed::of(&Error::ConnectionClosed), Failed::NotSent(_)));
        assert!(matches!(
            server("status: Unavailable, message: \"tcp connect error\""),
            Failed::NotSent(_)
        ));
        for said in ["status: Unavailable, message: \"Server Is Too Busy\"", "broken pipe", ""] {
            assert!(matches!(server(said), Failed::Unknown(_)), "{said}");
        }
        assert!(matches!(Failed::of(&Error::DeadlineExceeded), Failed::Unknown(_)));
        assert_eq!(Failed::of(&Error::AccessDenied), Failed::Denied);
        assert_eq!(Failed::of(&Error::ResourceDeleted), Failed::Deleted);
        assert_eq!(Failed::of(&Error::ResourceNotFound), Failed::Missing);
        let current = CurrentRevision::Current(4);
        let expected = StreamState::NoStream;
        assert_eq!(
            Failed::of(&Error::WrongExpectedVersion { expected, current }),
            Failed::WrongRevision(current)
        );
        assert!(matches!(Failed::of(&Error::UnsupportedFeature), Failed::Refused(_)));
    }

    #[test]
    fn what_others_say_is_short_and_on_one_line() {
        let Failed::Unknown(said) = server(&"a\r\nb\u{1b}[31m".repeat(200)) else { panic!() };
        assert!(said.chars().count() == TOLD + 1 && !said.contains(char::is_control));
        assert_eq!(server("short"), Failed::Unknown("short".to_owned()));
    }

    #[test]
    fn each_failure_says_what_to_do() {
        let waited = Duration::from_secs(30);
        let explain = |failed: Failed| failed.explain(waited, "read $all", "user-1");
        let lost = explain(Failed::NotSent("gone".to_owned()));
        assert!(lost.is_temporary() && lost.to_string().contains("gone"));
        let denied = explain(Failed::Denied);
        assert!(!denied.is_temporary() && denied.to_string().contains("read $all"));
        assert!(explain(Failed::Deleted).to_string().contains("another name"));
        for failed in [Failed::Missing, Failed::Invalid("x".into()), Failed::Refused("y".into())] {
            assert!(!explain(failed).is_temporary());
        }
        assert!(explain(Failed::Task(TaskError::Cancelled)).is_temporary());
    }
}
