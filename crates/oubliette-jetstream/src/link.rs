//! The connection: requests that either get an answer, or say how they did not.

use std::{fmt, sync::Arc, time::Duration};

use async_nats::{
    Client, ConnectErrorKind, ConnectOptions, Event, HeaderMap, Message, Request, RequestErrorKind,
    ServerAddr, StatusCode, connection::State,
};
use bytes::Bytes;
use serde_json::Value;
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use crate::error::{JetStreamError, Said};

/// How long one answer is waited for. A server that is up answers within milliseconds; what has a fsync and a round of
/// replicas in it, within a second or so.
const ANSWER: Duration = Duration::from_secs(5);
/// Between attempts: at first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));

/// A connection, which the client mends by itself for as long as it takes.
#[derive(Clone)]
pub(crate) struct Link {
    client: Client,
    /// Counts connections: when it grows, what was asked before is not answered any more.
    connected: watch::Receiver<u64>,
    /// What the server said last that it does not allow.
    denied: watch::Receiver<Option<Arc<str>>>,
    /// The address without user and password.
    server: Arc<str>,
    /// How long a call waits for a server that is not there.
    pub(crate) patience: Duration,
}

/// Why there is no answer.
#[derive(Debug, Clone)]
pub(crate) enum Lost {
    /// Nothing was sent.
    NotSent,
    /// Nobody takes requests of this kind: the server said so, and did not store anything.
    NobodyThere,
    /// It was sent, or may have been, and what became of it is not known.
    Unanswered,
    /// The server refused to take it.
    Denied(Arc<str>),
    /// It is longer than the server takes. Nothing was sent.
    TooLong,
}

/// An answer of JetStream's, or why it is none.
#[derive(Debug, Clone)]
pub(crate) enum Failed {
    Lost(Lost),
    Said(Said),
}

impl From<Lost> for Failed {
    fn from(lost: Lost) -> Self {
        Self::Lost(lost)
    }
}

/// The same server, without user and password.
fn without_login(server: ServerAddr) -> Result<ServerAddr, JetStreamError> {
    let mut url = server.into_inner();
    let cleared = url.set_username("").and_then(|()| url.set_password(None));
    cleared.map_err(|()| JetStreamError::Address)?;
    ServerAddr::from_url(url).map_err(|_| JetStreamError::Address)
}

impl Link {
    /// Connects to one of the servers of an address; several are parted by commas.
    pub(crate) async fn connect(
        address: &str,
        options: ConnectOptions,
        patience: Duration,
    ) -> Result<Self, JetStreamError> {
        let servers: Vec<ServerAddr> = address
            .split(',')
            .map(|one| one.trim().parse().map_err(|_| JetStreamError::Address))
            .collect::<Result<_, _>>()?;
        let server: Arc<str> = servers
            .iter()
            .map(|one| format!("{}:{}", one.host(), one.port()))
            .collect::<Vec<_>>()
            .join(",")
            .into();
        // The client's own parser leaves these out.
        let options = match servers.iter().find_map(|one| Some((one.username()?, one.password()))) {
            None => options,
            Some((user, Some(password))) => {
                options.user_and_password(decoded(user), decoded(password))
            }
            Some((token, None)) => options.token(decoded(token)),
        };
        // It logs the addresses that it is given.
        let servers = servers.into_iter().map(without_login).collect::<Result<Vec<_>, _>>()?;
        let (tell_connected, connected) = watch::channel(0_u64);
        let (tell_denied, denied) = watch::channel(None);
        let options = options
            .name("oubliette")
            .reconnect_delay_callback(|attempts| {
                // At once, and then less and less often.
                Duration::from_millis(
                    (attempts.saturating_sub(1) as u64).saturating_mul(100).min(1_000),
                )
            })
            .event_callback(move |event| {
                match event {
                    Event::Connected => tell_connected.send_modify(|count| *count += 1),
                    Event::ServerError(error) => {
                        tell_denied.send_replace(Some(Arc::from(error.to_string())));
                    }
                    _ => {}
                }
                std::future::ready(())
            });
        let client = options.connect(servers).await.map_err(|error| {
            let why = match error.kind() {
                ConnectErrorKind::ServerParse => return JetStreamError::Address,
                ConnectErrorKind::Dns => "its name is not known; check the address",
                ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
                    "it refuses the user, the password or the credentials; check them"
                }
                ConnectErrorKind::Tls => "TLS fails; check the certificates, and whether the server has TLS",
                ConnectErrorKind::TimedOut => "it does not answer; check the address, and that it is a NATS server",
                _ => "nobody listens there, or it is no NATS server; check the address, and start the server",
            };
            JetStreamError::Connect { server: server.to_string(), why: why.to_owned() }
        })?;
        let mut link = Self { client, connected, denied, server, patience };
        // The first connection is told like every other: not to be taken for the next.
        let _ = timeout(Duration::from_secs(1), link.connected.wait_for(|count| *count > 0)).await;
        Ok(link)
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    /// The version of the server that we are connected to, such as `2.12.1`.
    pub(crate) fn version(&self) -> String {
        self.client.server_info().version
    }

    /// The most bytes, with headers, that the server takes in a message.
    pub(crate) fn max_payload(&self) -> usize {
        self.client.server_info().max_payload
    }

    /// Which connection this is: another number, another connection.
    pub(crate) fn connection_number(&self) -> u64 {
        *self.connected.borrow()
    }

    /// Waits until there is a connection, as long as we are patient.
    async fn connection(&self) -> Result<(), Lost> {
        if self.client.connection_state() == State::Connected {
            return Ok(());
        }
        let end = Instant::now() + self.patience;
        while Instant::now() < end {
            sleep(PAUSES.0).await;
            if self.client.connection_state() == State::Connected {
                return Ok(());
            }
        }
        Err(Lost::NotSent)
    }

    /// Sends a message and waits for the one answer.
    pub(crate) async fn request(
        &self,
        subject: &str,
        headers: Option<HeaderMap>,
        payload: Bytes,
    ) -> Result<Message, Lost> {
        self.connection().await?;
        let (mut watch, subjects) = (self.watch(), [subject]);
        let mut request = Request::new().payload(payload).timeout(Some(ANSWER));
        if let Some(headers) = headers {
            request = request.headers(headers);
        }
        tokio::select! {
            answer = self.client.send_request(subject.to_owned(), request) => answer.map_err(|error| match error.kind() {
                RequestErrorKind::NoResponders => Lost::NobodyThere,
                RequestErrorKind::MaxPayloadExceeded => Lost::TooLong,
                _ => Lost::Unanswered,
            }),
            lost = watch.lost(&subjects) => Err(lost),
        }
    }

    /// Sends a request of which several messages are the answer. [`Answers::next`] returns them.
    pub(crate) async fn request_many(
        &self,
        subject: &str,
        payload: Bytes,
    ) -> Result<Answers, Lost> {
        let answers = self.answers().await?;
        let sent = self
            .client
            .publish_with_reply(subject.to_owned(), answers.inbox.clone(), payload)
            .await;
        sent.map_err(|_| Lost::Unanswered)?;
        Ok(answers)
    }

    /// Somewhere to answer to.
    pub(crate) async fn answers(&self) -> Result<Answers, Lost> {
        self.connection().await?;
        let watch = self.watch();
        let inbox = self.client.new_inbox();
        let messages = self.client.subscribe(inbox.clone()).await.map_err(|_| Lost::NotSent)?;
        Ok(Answers { inbox, messages, watch })
    }

    /// Asks JetStream's own interface.
    pub(crate) async fn api(&self, what: &str, body: &Value) -> Result<Value, Failed> {
        let payload = if body.is_null() { Bytes::new() } else { body.to_string().into() };
        let answer = self.request(&format!("$JS.API.{what}"), None, payload).await?;
        answered(&answer.payload)
    }

    fn watch(&self) -> Watch {
        let mut watch = Watch { connected: self.connected.clone(), denied: self.denied.clone() };
        watch.connected.mark_unchanged();
        watch.denied.mark_unchanged();
        watch
    }

    /// What the caller is told where something did not succeed within its patience.
    pub(crate) fn explain(&self, lost: Lost) -> JetStreamError {
        // Who may not listen to answers gets none.
        let deaf =
            self.denied.borrow().clone().filter(|said| said.contains("Subscription to \"_INBOX"));
        match lost {
            Lost::NotSent => JetStreamError::NotConnected(self.patience),
            Lost::Unanswered if deaf.is_some() => {
                JetStreamError::NotAllowed { said: deaf.unwrap_or_default().to_string() }
            }
            Lost::NobodyThere | Lost::Unanswered => JetStreamError::NoAnswer(self.patience),
            Lost::Denied(said) => JetStreamError::NotAllowed { said: said.to_string() },
            Lost::TooLong => JetStreamError::Answer("a request is longer than the server takes"),
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("server", &self.server).finish_non_exhaustive()
    }
}

/// What an address spells with `%` and two digits.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, escaped)) = rest.split_once('%') {
        bytes.extend(plain.as_bytes());
        match escaped.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = escaped.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(b'%');
                rest = escaped;
            }
        }
    }
    bytes.extend(rest.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Sees that an answer will not come any more, long before the time for it is over.
pub(crate) struct Watch {
    connected: watch::Receiver<u64>,
    denied: watch::Receiver<Option<Arc<str>>>,
}

impl Watch {
    /// Returns when the connection was made anew, or when the server refused one of these subjects.
    async fn lost(&mut self, subjects: &[&str]) -> Lost {
        loop {
            tokio::select! {
                changed = self.connected.changed() => {
                    // The client is gone with its last handle, and we hold one.
                    return if changed.is_ok() { Lost::Unanswered } else { Lost::NotSent };
                }
                changed = self.denied.changed() => {
                    if changed.is_err() {
                        return Lost::Unanswered;
                    }
                    let said = self.denied.borrow_and_update().clone();
                    // `Permissions Violation for Publish to "SUBJECT"`
                    let of_ours = |said: &Arc<str>| subjects.iter().any(|one| said.contains(&format!("\"{one}\"")));
                    if let Some(said) = said.filter(of_ours) {
                        return Lost::Denied(said);
                    }
                }
            }
        }
    }
}

/// Messages that answer one request.
pub(crate) struct Answers {
    pub(crate) inbox: String,
    messages: async_nats::Subscriber,
    watch: Watch,
}

impl Answers {
    /// The next message.
    pub(crate) async fn next(&mut self, subjects: &[&str]) -> Result<Message, Lost> {
        use futures::StreamExt as _;
        let Self { messages, watch, .. } = self;
        tokio::select! {
            // What has arrived counts, whatever the connection is like by now.
            biased;
            message = timeout(ANSWER, messages.next()) => match message {
                Ok(Some(message)) if message.status == Some(StatusCode::NO_RESPONDERS) => Err(Lost::NobodyThere),
                Ok(Some(message)) => Ok(message),
                Ok(None) | Err(_) => Err(Lost::Unanswered),
            },
            lost = watch.lost(subjects) => Err(lost),
        }
    }
}

/// Reads an answer of JetStream's interface, which is an acknowledgement, or an error, or whatever was asked for.
pub(crate) fn answered(payload: &[u8]) -> Result<Value, Failed> {
    let answer: Value = serde_json::from_slice(payload).unwrap_or_default();
    let Some(error) = answer.get("error") else { return Ok(answer) };
    let text = error.get("description").and_then(Value::as_str).unwrap_or("an error without words");
    let code = error.get("err_code").and_then(Value::as_u64).unwrap_or(0);
    Err(Failed::Said(Said { code, text: text.to_owned() }))
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
