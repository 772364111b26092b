//! A keeper that is nothing but bytes: a handle of a vault that lives on a thread of its own, under a runtime of
//! its own. All that is asked and answered is JSON. What could not be carried so could not be carried by a
//! socket, either.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use futures::{FutureExt, future::Either};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::sync::{mpsc, oneshot};

use crate::{
    crypto::{DataKey, EventTag, Token},
    event::{
        Era, ErasureId, ErasureRef, EventId, Generation, KeyId, Layout, PolicyDigest, Signature,
        SigningKeyId, StreamName, Subject, VaultId,
    },
    vault::{
        AdmissionRequest, Answer, Claim, Evidence, Guard, GuardId, Halves, Keeper, KeyLookup,
        KeyRequest, OpenClaim, Release, Settled, SubjectState, Tagged, Vault, VaultError, Vouched,
    },
};

/// What is asked.
#[derive(Serialize, Deserialize)]
enum Ask {
    Elapse(Duration),
    Admit(AdmissionRequest, Duration),
    PlaceStream(StreamName, Halves),
    SealingKey {
        stream: StreamName,
        subject: Subject,
        generation: Option<Generation>,
        layout: Layout,
        policy: [u8; 8],
        seals: u32,
    },
    OpeningKey(KeyId),
    KnowsEra([u8; 4]),
    HalfId(EventId),
    Reference(ErasureId, StreamName),
    Tag(Vec<u8>, Vec<String>),
    CheckTag(String, Vec<u8>, Vec<String>),
    TagHoles(Vec<u8>),
    CheckHoles(String, Vec<u8>),
    Vouches(SigningKeyId, Vec<u8>, Signature),
    SubjectState(Subject),
    HasOwner(Subject),
    LostItsOwners(Subject),
    BeginClaims(Vec<EventId>),
    BeginLook(Vec<EventId>),
    Claim(Vec<Claim>, bool),
    SettleBy(Subject, Vec<(EventId, Evidence)>, Option<GuardId>),
    SettleForCaller(EventId, bool),
    OpenClaims,
    AcknowledgeClaim(EventId),
    Release(GuardId),
}

/// A data key on its way.
#[derive(Serialize, Deserialize)]
struct Key {
    id: KeyId,
    secret: [u8; 32],
}

impl Key {
    fn of(key: &DataKey) -> Self {
        Self { id: key.id(), secret: *key.secret() }
    }

    fn into_key(self) -> Arc<DataKey> {
        Arc::new(DataKey::from_bytes(self.id, &self.secret))
    }
}

#[derive(Serialize, Deserialize)]
enum State {
    Live(Key, Subject),
    Shredded(ErasureId),
}

/// What goes wrong: each kind that a layer tells apart, and the words of all others.
#[derive(Serialize, Deserialize)]
enum Fault {
    Forgotten(Subject, ErasureId),
    Unsettled(Subject, EventId),
    NoGeneration(Subject, Generation),
    KeyMissing(KeyId),
    ReadOnly,
    Poisoned,
    Other(String),
}

impl From<VaultError> for Fault {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::Forgotten { subject, erasure } => Self::Forgotten(subject, erasure),
            VaultError::Unsettled { subject, event } => Self::Unsettled(subject, event),
            VaultError::NoGeneration { subject, generation } => {
                Self::NoGeneration(subject, generation)
            }
            VaultError::KeyMissing(id) => Self::KeyMissing(id),
            VaultError::ReadOnly => Self::ReadOnly,
            VaultError::Poisoned => Self::Poisoned,
            other => Self::Other(other.to_string()),
        }
    }
}

impl From<Fault> for VaultError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Forgotten(subject, erasure) => Self::Forgotten { subject, erasure },
            Fault::Unsettled(subject, event) => Self::Unsettled { subject, event },
            Fault::NoGeneration(subject, generation) => Self::NoGeneration { subject, generation },
            Fault::KeyMissing(id) => Self::KeyMissing(id),
            Fault::ReadOnly => Self::ReadOnly,
            Fault::Poisoned => Self::Poisoned,
            Fault::Other(what) => Self::Storage(what.into()),
        }
    }
}

type Told = oneshot::Sender<Vec<u8>>;

/// The handle. Clones are the same client; each new one is another.
#[derive(Debug, Clone)]
pub(super) struct Relay {
    id: VaultId,
    line: mpsc::UnboundedSender<(Vec<u8>, Option<Told>)>,
    /// Once set, it releases nothing any more: a client that was killed.
    dead: Arc<AtomicBool>,
    /// Once set, the next key to open with does not come.
    loses_a_key: Arc<AtomicBool>,
}

impl Relay {
    /// A new client of a vault.
    pub(super) fn to(vault: &Vault) -> Self {
        let (line, asked) = mpsc::unbounded_channel();
        let (vault, id) = (vault.clone(), vault.id());
        thread::spawn(move || keep(&vault, asked));
        Self { id, line, dead: Arc::default(), loses_a_key: Arc::default() }
    }

    /// From now on it says nothing more.
    pub(super) fn kill(&self) {
        self.dead.store(true, Ordering::SeqCst);
    }

    /// The next key to open with does not come: the line is cut, or a page cannot be read.
    pub(super) fn lose_a_key(&self) {
        self.loses_a_key.store(true, Ordering::SeqCst);
    }

    fn ask<T: DeserializeOwned + Send + 'static>(&self, ask: &Ask) -> Answer<T> {
        let (told, answer) = oneshot::channel();
        self.line.send((serde_json::to_vec(ask).unwrap(), Some(told))).unwrap();
        let answer = async move {
            let answer: Result<T, Fault> = serde_json::from_slice(&answer.await.unwrap()).unwrap();
            Ok(answer?)
        };
        Either::Right(answer.boxed())
    }

    /// The same, of what is something else here.
    fn ask_for<T: DeserializeOwned + Send + 'static, R: Send + 'static>(
        &self,
        ask: &Ask,
        of: impl FnOnce(T) -> R + Send + 'static,
    ) -> Answer<R> {
        let answer = self.ask::<T>(ask);
        Either::Right(async move { answer.await.map(of) }.boxed())
    }

    fn ask_for_guard(&self, ask: &Ask) -> Answer<Guard> {
        let relay = Arc::new(self.clone());
        self.ask_for(ask, move |id: GuardId| Guard::new(id, relay))
    }
}

impl Release for Relay {
    fn release(&self, guard: GuardId) {
        if !self.dead.load(Ordering::SeqCst) {
            let _ = self.line.send((serde_json::to_vec(&Ask::Release(guard)).unwrap(), None));
        }
    }
}

fn texts(tokens: &[Token]) -> Vec<String> {
    tokens.iter().map(Token::to_string).collect()
}

impl Keeper for Relay {
    fn id(&self) -> VaultId {
        self.id
    }

    fn here(&self) -> Option<&Vault> {
        None
    }

    fn elapse(&self, time: Duration) -> Answer<()> {
        self.ask(&Ask::Elapse(time))
    }

    fn admit(&self, opening: AdmissionRequest, lasting: Duration) -> Answer<Guard> {
        self.ask_for_guard(&Ask::Admit(opening, lasting))
    }

    fn place_stream(&self, stream: &StreamName, wanted: Halves) -> Answer<Halves> {
        self.ask(&Ask::PlaceStream(stream.clone(), wanted))
    }

    fn sealing_key(&self, request: KeyRequest<'_>, seals: u32) -> Answer<Arc<DataKey>> {
        let KeyRequest { stream, subject, generation, layout, policy } = request;
        let (stream, subject, policy) = (stream.clone(), subject.clone(), policy.0);
        let ask = Ask::SealingKey { stream, subject, generation, layout, policy, seals };
        self.ask_for(&ask, Key::into_key)
    }

    fn opening_key(&self, id: KeyId) -> Answer<KeyLookup> {
        if self.loses_a_key.swap(false, Ordering::SeqCst) {
            let lost = VaultError::Storage("the line was cut".into());
            return Either::Right(async { Err(lost) }.boxed());
        }
        self.ask_for(&Ask::OpeningKey(id), |state| match state {
            State::Live(key, subject) => KeyLookup::Live { key: key.into_key(), subject },
            State::Shredded(erasure) => KeyLookup::Shredded { erasure },
        })
    }

    fn knows_era(&self, era: Era) -> Answer<bool> {
        self.ask(&Ask::KnowsEra(era.0))
    }

    fn half_id(&self, event: EventId) -> Answer<EventId> {
        self.ask(&Ask::HalfId(event))
    }

    fn reference(&self, erasure: ErasureId, stream: &StreamName) -> Answer<ErasureRef> {
        self.ask(&Ask::Reference(erasure, stream.clone()))
    }

    fn tag(&self, associated: &[u8], tokens: &[Token]) -> Answer<EventTag> {
        let ask = Ask::Tag(associated.to_vec(), texts(tokens));
        self.ask_for(&ask, |tag: String| EventTag::parse(&tag).unwrap())
    }

    fn check_tag(&self, tag: &EventTag, associated: &[u8], tokens: &[Token]) -> Answer<Tagged> {
        self.ask(&Ask::CheckTag(tag.to_string(), associated.to_vec(), texts(tokens)))
    }

    fn tag_holes(&self, said: &[u8]) -> Answer<EventTag> {
        let ask = Ask::TagHoles(said.to_vec());
        self.ask_for(&ask, |tag: String| EventTag::parse(&tag).unwrap())
    }

    fn check_holes(&self, tag: &EventTag, said: &[u8]) -> Answer<Tagged> {
        self.ask(&Ask::CheckHoles(tag.to_string(), said.to_vec()))
    }

    fn vouches(&self, key: SigningKeyId, bytes: &[u8], signature: &Signature) -> Answer<Vouched> {
        self.ask(&Ask::Vouches(key, bytes.to_vec(), *signature))
    }

    fn subject_state(&self, subject: &Subject) -> Answer<SubjectState> {
        self.ask(&Ask::SubjectState(subject.clone()))
    }

    fn has_owner(&self, subject: &Subject) -> Answer<bool> {
        self.ask(&Ask::HasOwner(subject.clone()))
    }

    fn lost_its_owners(&self, subject: &Subject) -> Answer<bool> {
        self.ask(&Ask::LostItsOwners(subject.clone()))
    }

    fn begin_claims(&self, events: Vec<EventId>) -> Answer<Guard> {
        self.ask_for_guard(&Ask::BeginClaims(events))
    }

    fn begin_look(&self, events: Vec<EventId>) -> Answer<Guard> {
        self.ask_for_guard(&Ask::BeginLook(events))
    }

    fn claim(&self, claims: &[Claim], by_caller: bool) -> Answer<Vec<Option<Generation>>> {
        self.ask(&Ask::Claim(claims.to_vec(), by_caller))
    }

    fn settle_by(
        &self,
        subject: &Subject,
        found: Vec<(EventId, Evidence)>,
        under: Option<&Guard>,
    ) -> Answer<()> {
        self.ask(&Ask::SettleBy(subject.clone(), found, under.map(Guard::id)))
    }

    fn settle_for_caller(&self, event: EventId, stored: bool) -> Answer<Settled> {
        self.ask(&Ask::SettleForCaller(event, stored))
    }

    fn open_claims(&self) -> Answer<Vec<OpenClaim>> {
        self.ask(&Ask::OpenClaims)
    }

    fn acknowledge_claim(&self, event: EventId) -> Answer<bool> {
        self.ask(&Ask::AcknowledgeClaim(event))
    }
}

/// What clients hold, by its number.
type Held = Arc<Mutex<HashMap<GuardId, Guard>>>;

/// The keeper's side: answers until the last client is gone.
fn keep(vault: &Vault, mut asked: mpsc::UnboundedReceiver<(Vec<u8>, Option<Told>)>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let held = Held::default();
    runtime.block_on(async {
        while let Some((ask, told)) = asked.recv().await {
            match (serde_json::from_slice(&ask).unwrap(), told) {
                // In order: what is asked next relies on it.
                (Ask::Release(guard), _) => drop(held.lock().unwrap().remove(&guard)),
                (ask, Some(told)) => {
                    let (vault, held) = (vault.clone(), Arc::clone(&held));
                    tokio::spawn(async move {
                        // Where nobody waits any more, the connection is gone.
                        let _ = told.send(answer(&vault, &held, ask).await);
                    });
                }
                (_, None) => unreachable!("a question that nobody waits for"),
            }
        }
    });
}

fn told<T: Serialize>(answer: Result<T, VaultError>) -> Vec<u8> {
    serde_json::to_vec(&answer.map_err(Fault::from)).unwrap()
}

async fn answer(vault: &dyn Keeper, held: &Held, ask: Ask) -> Vec<u8> {
    let tokens = |texts: Vec<String>| -> Vec<Token> {
        texts.iter().map(|text| Token::parse(text).unwrap()).collect()
    };
    let tag = |text: String| EventTag::parse(&text).unwrap();
    let kept = |guard: Guard| {
        let id = guard.id();
        held.lock().unwrap().insert(id, guard);
        id
    };
    match ask {
        Ask::Elapse(time) => told(vault.elapse(time).await),
        Ask::Admit(opening, lasting) => told(vault.admit(opening, lasting).await.map(kept)),
        Ask::PlaceStream(stream, wanted) => told(vault.place_stream(&stream, wanted).await),
        Ask::SealingKey { stream, subject, generation, layout, policy, seals } => {
            let (stream, subject, policy) = (&stream, &subject, PolicyDigest(policy));
            let request = KeyRequest { stream, subject, generation, layout, policy };
            told(vault.sealing_key(request, seals).await.map(|key| Key::of(&key)))
        }
        Ask::OpeningKey(id) => told(vault.opening_key(id).await.map(|state| match state {
            KeyLookup::Live { key, subject } => State::Live(Key::of(&key), subject),
            KeyLookup::Shredded { erasure } => State::Shredded(erasure),
        })),
        Ask::KnowsEra(era) => told(vault.knows_era(Era(era)).await),
        Ask::HalfId(event) => told(vault.half_id(event).await),
        Ask::Reference(erasure, stream) => told(vault.reference(erasure, &stream).await),
        Ask::Tag(associated, texts) => {
            told(vault.tag(&associated, &tokens(texts)).await.map(|tag| tag.to_string()))
        }
        Ask::CheckTag(text, associated, texts) => {
            told(vault.check_tag(&tag(text), &associated, &tokens(texts)).await)
        }
        Ask::TagHoles(said) => told(vault.tag_holes(&said).await.map(|tag| tag.to_string())),
        Ask::CheckHoles(text, said) => told(vault.check_holes(&tag(text), &said).await),
        Ask::Vouches(key, bytes, signature) => told(vault.vouches(key, &bytes, &signature).await),
        Ask::SubjectState(subject) => told(vault.subject_state(&subject).await),
        Ask::HasOwner(subject) => told(vault.has_owner(&subject).await),
        Ask::LostItsOwners(subject) => told(vault.lost_its_owners(&subject).await),
        Ask::BeginClaims(events) => told(vault.begin_claims(events).await.map(kept)),
        Ask::BeginLook(events) => told(vault.begin_look(events).await.map(kept)),
        Ask::Claim(claims, by_caller) => told(vault.claim(&claims, by_caller).await),
        Ask::SettleBy(subject, found, under) => {
            let settled = {
                let held = held.lock().unwrap();
                match under.map(|id| held.get(&id)) {
                    // It was let go of meanwhile: nothing is settled by it.
                    Some(None) => return told(Ok(())),
                    under => vault.settle_by(&subject, found, under.flatten()),
                }
            };
            told(settled.await)
        }
        Ask::SettleForCaller(event, stored) => told(vault.settle_for_caller(event, stored).await),
        Ask::OpenClaims => told(vault.open_claims().await),
        Ask::AcknowledgeClaim(event) => told(vault.acknowledge_claim(event).await),
        Ask::Release(_) => unreachable!("released in order"),
    }
}
