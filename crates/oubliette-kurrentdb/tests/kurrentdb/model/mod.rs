//! A model of a KurrentDB server, over the real protocol: what its documentation and its published source say that it does
//! with one stream, with `$all`, and with appends that it is sent twice. It is no proof of what the server does.
//!
//! Where the server promises little, the model does the least: it recognises no repeated append that says `Any`, and the
//! position that it returns for an append is none to rely on.

mod database;
mod quick;
mod wire;

use std::{
    collections::HashMap,
    convert::Infallible,
    future::{Future, ready},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use futures::{StreamExt as _, stream};
use tokio::{net::TcpListener, runtime::Runtime};
use tonic::codec::ProstCodec;
use tonic::{
    Code, Request, Response, Status, Streaming,
    body::Body,
    codegen::{BoxFuture, Service, http},
    metadata::MetadataMap,
    server::Grpc,
    transport::Server,
};

pub(crate) use database::{Database, New};
use wire::{AppendReq, AppendResp, Empty, ReadContent, ReadReq, ReadResp, SupportedMethods};

/// What is to go wrong.
#[derive(Debug, Default, Clone)]
pub(crate) struct Faults {
    /// So many appends are stored, and then answered as unavailable.
    pub(crate) lose_answers: u32,
    /// So many appends are answered as unavailable, and not stored.
    pub(crate) lose_appends: u32,
    /// So many requests are sent away to this node.
    pub(crate) not_leader: Option<(u32, SocketAddr)>,
    /// The right to do this is missing.
    pub(crate) deny_all: bool,
    pub(crate) deny_append: bool,
    pub(crate) deny_read: bool,
    /// Streams are read without positions.
    pub(crate) no_positions: bool,
    /// Before the next append, this is stored: what another process did a moment earlier.
    pub(crate) rival: Vec<New>,
}

#[derive(Debug)]
struct Shared {
    database: Database,
    faults: Faults,
    version: String,
    /// The authorization of the last request.
    authorization: Option<String>,
}

/// A server, which ends with this.
pub(crate) struct Model {
    shared: Arc<Mutex<Shared>>,
    address: SocketAddr,
    runtime: Option<Runtime>,
}

impl Model {
    pub(crate) fn start() -> Self {
        let database = Database::new();
        let shared = Shared {
            database,
            faults: Faults::default(),
            version: "24.10.5.2345".to_owned(),
            authorization: None,
        };
        let mut model = Self {
            shared: Arc::new(Mutex::new(shared)),
            address: "127.0.0.1:0".parse().unwrap(),
            runtime: None,
        };
        model.restart();
        model
    }

    /// Ends it, with all connections; what is stored stays.
    pub(crate) fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// Starts it again, on the same port.
    pub(crate) fn restart(&mut self) {
        let listener = (0..100).find_map(|_| {
            std::net::TcpListener::bind(self.address).ok().or_else(|| {
                std::thread::sleep(Duration::from_millis(50));
                None
            })
        });
        let listener = listener.unwrap();
        listener.set_nonblocking(true).unwrap();
        self.address = listener.local_addr().unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.unwrap();
        let service = Node(Arc::clone(&self.shared));
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            let incoming = stream::unfold(listener, async |listener| {
                let accepted = listener.accept().await;
                Some((accepted.map(|(stream, _)| quick::Quick(stream)), listener))
            });
            Server::builder().serve_with_incoming(service, incoming).await
        });
        self.runtime = Some(runtime);
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The connection string. The client waits before it connects; not long, here.
    pub(crate) fn url(&self) -> String {
        format!("kurrentdb://{}?tls=false&discoveryInterval=1", self.address)
    }

    pub(crate) fn fault(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.lock().faults);
    }

    pub(crate) fn set_version(&self, version: &str) {
        version.clone_into(&mut self.lock().version);
    }

    pub(crate) fn authorization(&self) -> Option<String> {
        self.lock().authorization.clone()
    }

    /// What an operator, or another program, does.
    pub(crate) fn database<T>(&self, act: impl FnOnce(&mut Database) -> T) -> T {
        act(&mut self.lock().database)
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The service of one node.
#[derive(Clone)]
struct Node(Arc<Mutex<Shared>>);

impl Service<http::Request<Body>> for Node {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let node = self.clone();
        Box::pin(async move {
            let path = request.uri().path().to_owned();
            let (service, method) = path.rsplit_once('/').unwrap_or_default();
            Ok(match (service, method) {
                ("/event_store.client.server_features.ServerFeatures", "GetSupportedMethods") => {
                    let call = Call(move |_: Request<Empty>| {
                        let version = node.lock().version.clone();
                        ready(Ok(Response::new(SupportedMethods { version })))
                    });
                    Grpc::new(ProstCodec::default()).unary(call, request).await
                }
                ("/event_store.client.streams.Streams", "Read") => {
                    let call = Call(move |request: Request<ReadReq>| {
                        let answer = |content| Ok::<_, Status>(ReadResp { content: Some(content) });
                        let answers = node.read(&request);
                        ready(answers.map(|answers| {
                            Response::new(stream::iter(answers.into_iter().map(answer)))
                        }))
                    });
                    Grpc::new(ProstCodec::default()).server_streaming(call, request).await
                }
                ("/event_store.client.streams.Streams", "Append") => {
                    let call = Call(move |request: Request<Streaming<AppendReq>>| {
                        let node = node.clone();
                        async move { node.append(request).await }
                    });
                    Grpc::new(ProstCodec::default())
                        .apply_max_message_size_config(Some(64 << 20), None)
                        .client_streaming(call, request)
                        .await
                }
                _ => Status::unimplemented(path).into_http(),
            })
        })
    }
}

/// A method, as tonic wants it.
struct Call<F>(F);

impl<F, Asked, M, R> Service<Request<M>> for Call<F>
where
    F: FnMut(Request<M>) -> Asked,
    Asked: Future<Output = Result<Response<R>, Status>> + Send + 'static,
{
    type Response = Response<R>;
    type Error = Status;
    type Future = Asked;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<M>) -> Asked {
        (self.0)(request)
    }
}

impl Node {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, request: &Request<ReadReq>) -> Result<Vec<ReadContent>, Status> {
        let mut shared = self.lock();
        shared.arrived(request.metadata())?;
        let options = request.get_ref().options.clone().unwrap();
        let is_all = matches!(options.what, Some(wire::What::All(_)));
        if is_all && shared.faults.deny_all || !is_all && shared.faults.deny_read {
            return Err(denied());
        }
        shared.database.read(&options, !shared.faults.no_positions)
    }

    async fn append(
        &self,
        request: Request<Streaming<AppendReq>>,
    ) -> Result<Response<AppendResp>, Status> {
        self.lock().arrived(request.metadata())?;
        let mut messages = request.into_inner();
        let (mut options, mut events) = (None, Vec::new());
        while let Some(message) = messages.next().await {
            match message?.content.unwrap() {
                wire::AppendContent::Options(given) => options = Some(given),
                wire::AppendContent::Event(event) => events.push(event),
            }
        }
        let mut shared = self.lock();
        if shared.faults.deny_append {
            return Err(denied());
        }
        if shared.faults.lose_appends > 0 {
            shared.faults.lose_appends -= 1;
            return Err(Status::unavailable("Server Is Too Busy"));
        }
        for rival in std::mem::take(&mut shared.faults.rival) {
            shared.database.put(rival);
        }
        let answer = shared.database.append(options.unwrap(), events)?;
        if shared.faults.lose_answers > 0 {
            shared.faults.lose_answers -= 1;
            return Err(Status::aborted("Operation timed out: Commit phase timeout"));
        }
        Ok(Response::new(answer))
    }
}

impl Shared {
    fn arrived(&mut self, metadata: &MetadataMap) -> Result<(), Status> {
        let text = |name: &str| metadata.get(name)?.to_str().ok().map(str::to_owned);
        self.authorization = text("authorization");
        assert_eq!(text("requires-leader").as_deref(), Some("true"), "a follower may be behind");
        match &mut self.faults.not_leader {
            Some((left, leader)) if *left > 0 => {
                *left -= 1;
                Err(status(
                    Code::NotFound,
                    "Leader info available",
                    &[
                        ("exception", "not-leader"),
                        ("leader-endpoint-host", &leader.ip().to_string()),
                        ("leader-endpoint-port", &leader.port().to_string()),
                    ],
                ))
            }
            _ => Ok(()),
        }
    }
}

fn denied() -> Status {
    status(Code::PermissionDenied, "Access Denied", &[("exception", "access-denied")])
}

fn status(code: Code, message: &str, metadata: &[(&str, &str)]) -> Status {
    let metadata: HashMap<String, String> =
        metadata.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let mut headers = MetadataMap::new();
    for (name, value) in metadata {
        let name: tonic::metadata::AsciiMetadataKey = name.parse().unwrap();
        headers.insert(name, value.parse().unwrap());
    }
    Status::with_metadata(code, message, headers)
}
