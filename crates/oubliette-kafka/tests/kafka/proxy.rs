//! Between a store and its broker: passes on what both say, and can lose the end of a transaction.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use oubliette_servers::Kafka;

/// Kafka's number for the request that ends a transaction.
const END_TRANSACTION: [u8; 2] = [0, 26];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// The broker gets the request, and its answer is lost.
    LosesAnswer,
    /// The broker never gets the request.
    LosesLastWord,
}

pub(crate) struct Proxy {
    address: String,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    broker: Mutex<Option<String>>,
    armed: Mutex<Option<What>>,
    closed: AtomicBool,
}

impl Proxy {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shared = Arc::new(Shared::default());
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let broker = accepting.broker.lock().unwrap().clone();
                let Some(broker) = broker.filter(|_| !accepting.closed.load(Ordering::SeqCst))
                else {
                    continue;
                };
                if let Ok(broker) = TcpStream::connect(broker) {
                    accepting.join(&client, &broker);
                }
            }
        });
        Self { address, shared }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn lead_to(&self, kafka: &Kafka) {
        *self.shared.broker.lock().unwrap() = Some(kafka.servers());
    }

    /// The next end of a transaction goes like this, and nothing goes through behind it.
    pub(crate) fn arm(&self, what: What) {
        *self.shared.armed.lock().unwrap() = Some(what);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.shared.closed.load(Ordering::SeqCst)
    }

    pub(crate) fn open(&self) {
        self.shared.closed.store(false, Ordering::SeqCst);
    }
}

impl Shared {
    fn join(self: &Arc<Self>, client: &TcpStream, broker: &TcpStream) {
        let loses_answer = Arc::new(AtomicBool::new(false));
        for is_request in [true, false] {
            let (from, to) = if is_request { (client, broker) } else { (broker, client) };
            let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
            let (shared, loses_answer) = (Arc::clone(self), Arc::clone(&loses_answer));
            thread::spawn(move || {
                while shared.pass_on(is_request, &from, &to, &loses_answer).unwrap_or(false) {}
                let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
            });
        }
    }

    /// One request, or one answer. Says whether the connection goes on.
    fn pass_on(
        &self,
        is_request: bool,
        mut from: &TcpStream,
        mut to: &TcpStream,
        loses_answer: &AtomicBool,
    ) -> io::Result<bool> {
        let mut length = [0; 4];
        from.read_exact(&mut length)?;
        let mut message = vec![0; u32::from_be_bytes(length) as usize];
        from.read_exact(&mut message)?;
        if self.closed.load(Ordering::SeqCst) {
            return Ok(false);
        }
        if is_request && message.starts_with(&END_TRANSACTION) {
            match self.armed.lock().unwrap().take() {
                Some(What::LosesLastWord) => {
                    self.closed.store(true, Ordering::SeqCst);
                    return Ok(false);
                }
                Some(What::LosesAnswer) => loses_answer.store(true, Ordering::SeqCst),
                None => {}
            }
        }
        if !is_request && loses_answer.load(Ordering::SeqCst) {
            self.closed.store(true, Ordering::SeqCst);
            return Ok(false);
        }
        to.write_all(&length)?;
        to.write_all(&message)?;
        Ok(true)
    }
}
