//! What a vault announces in its event store: the kinds, the form, and the bytes that are sealed and
//! signed. `docs/format.md` specifies it; what is signed, says [`signed_bytes`](super::signed).

use std::{borrow::Cow, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{
    ANNOUNCED, ANNOUNCEMENTS, Digest, ErasureId, EventId, EventType, Json, JsonError, NewEvent,
    RecordedEvent, Signature, SigningKeyId, Timestamp, VerifyingKey,
    signed::{named, signed_bytes, without},
};

/// The form that this program writes.
const FORMAT: &str = "1";

/// What an announcement is about. The names are fixed; most of them say what later versions do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum AnnouncementKind {
    /// Keys are destroyed.
    Erasure,
    /// A change of the signing key.
    SigningKey,
    /// A successor of the signing key, pinned in advance.
    Successor,
    /// An earlier signing key is somebody else's as well.
    Distrust,
    /// Somebody who was forgotten is admitted again. Reserved.
    ErasureLifted,
    /// Nothing of these subjects may be destroyed. Reserved.
    Hold,
    /// The end of a hold. Reserved.
    HoldLifted,
    /// Keys are kept, and no ordinary reader opens them. Reserved.
    Suspension,
    /// The end of a suspension. Reserved.
    SuspensionLifted,
    /// A restriction of processing. Reserved.
    Restriction,
    /// The end of a restriction. Reserved.
    RestrictionLifted,
    /// Two subjects are one person. Reserved.
    Link,
    /// The end of a link. Reserved.
    LinkLifted,
}

/// Every kind, and its name.
const KINDS: [(AnnouncementKind, &str); 13] = [
    (AnnouncementKind::Erasure, "erasure"),
    (AnnouncementKind::SigningKey, "signing-key"),
    (AnnouncementKind::Successor, "successor"),
    (AnnouncementKind::Distrust, "distrust"),
    (AnnouncementKind::ErasureLifted, "erasure-lifted"),
    (AnnouncementKind::Hold, "hold"),
    (AnnouncementKind::HoldLifted, "hold-lifted"),
    (AnnouncementKind::Suspension, "suspension"),
    (AnnouncementKind::SuspensionLifted, "suspension-lifted"),
    (AnnouncementKind::Restriction, "restriction"),
    (AnnouncementKind::RestrictionLifted, "restriction-lifted"),
    (AnnouncementKind::Link, "link"),
    (AnnouncementKind::LinkLifted, "link-lifted"),
];

impl AnnouncementKind {
    /// Its name, as it is written.
    pub fn as_str(self) -> &'static str {
        KINDS.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }

    fn named(name: &str) -> Option<Self> {
        KINDS.iter().find(|(_, known)| *known == name).map(|(kind, _)| *kind)
    }

    /// Whether this version carries it out. What it does not, it refuses by name.
    fn is_carried_out(self) -> bool {
        matches!(self, Self::Erasure | Self::SigningKey | Self::Successor | Self::Distrust)
    }

    /// Whether it is about the signing keys.
    pub(crate) fn is_of_keys(self) -> bool {
        matches!(self, Self::SigningKey | Self::Successor | Self::Distrust)
    }
}

impl fmt::Display for AnnouncementKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for AnnouncementKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for AnnouncementKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::named(&name).ok_or_else(|| de::Error::custom("no kind of announcement"))
    }
}

/// What an announcement says that this program does not carry out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Beyond {
    /// It has a format of a later program.
    Format(String),
    /// Its kind is reserved, and this version does not carry it out.
    Reserved(AnnouncementKind),
    /// Its kind has a name that this program does not know.
    Unknown(String),
    /// It does not have the form of its kind.
    Form,
}

impl fmt::Display for Beyond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Format(format) => write!(f, "an announcement of format {format}"),
            Self::Reserved(kind) => write!(f, "an announcement of the kind `{kind}`"),
            Self::Unknown(kind) => write!(f, "an announcement of the unknown kind `{kind}`"),
            Self::Form => f.write_str("an announcement of an unknown form"),
        }
    }
}

/// What a vault announced, as one event of the stream [`ANNOUNCEMENTS`]. Whom an erasure took is
/// sealed: only the vault that announced it, or one restored from it, can open that. And it is signed,
/// because the key that seals is in every backup of the vault, and the one that signs in none: the
/// finder of a backup can read what was announced, but have no one forgotten.
///
/// As text it is one line of JSON, as `oubliette erasures export` writes it. That a text has this
/// form proves nothing.
///
/// ```
/// use oubliette::{erasure, event::Announcement, *};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let vault = Vault::in_memory()?;
/// # let store = Oubliette::open(MemoryStore::new(), vault.clone(), Policy::sealed_by_default()).await?;
/// # let moved = NewEvent::new(EventType::new("UserMoved")?, Json::parse("{}")?);
/// # store.append_to(&StreamName::new("user-456")?, ExpectedRevision::Any, vec![moved]).await?;
/// let erased = store.forget(&Subject::new("user-456")?, "request 2026-117").await?;
/// // A list of the erasures, for a file that is kept apart from the vault.
/// for said in erasure::export(&vault) {
///     let line = serde_json::to_string(&said?)?;
///     let said: Announcement = line.parse()?;
///     assert_eq!(said.erasure(), Some(erased.erasure));
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    id: EventId,
    /// In canonical form.
    data: Json,
    head: Head,
    body: Result<Body, Beyond>,
}

/// What every announcement has, of whatever format and kind: all that a reader needs to check the
/// signature, and to see whether a holder of the vault made it. What else there is may be anything; were it
/// parsed here, the vault's own word could be passed over for its form.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Head {
    vault: Uuid,
    /// Who signed, by the key and by its id, and the signature. What has none may be an announcement; it
    /// counts for nothing.
    #[serde(default)]
    public: Option<VerifyingKey>,
    #[serde(default)]
    key: Option<SigningKeyId>,
    #[serde(default)]
    sig: Option<Signature>,
}

/// The members of the kinds that this version carries out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Body {
    pub(crate) format: u64,
    pub(crate) kind: AnnouncementKind,
    pub(crate) vault: Uuid,
    /// Which log of the vault's it belongs to: the key that began it. A restored vault begins another.
    pub(crate) log: SigningKeyId,
    /// What it is about: the erasure's id; of a statement about keys, an id of its own.
    pub(crate) about: Uuid,
    pub(crate) at: Timestamp,
    pub(crate) epoch: u64,
    /// Absent in what is made for a list that is kept elsewhere: it comes after nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) previous: Option<Previous>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) statement: Option<Statement>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) distrust: Option<Distrust>,
    pub(crate) sealed: String,
    /// The signature of the key that a statement is about: proof that its author has the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) proof: Option<Signature>,
    /// The key that signs. Without it the signature of an unknown key could not be checked,
    /// and its author could name any key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) public: Option<VerifyingKey>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<SigningKeyId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sig: Option<Signature>,
}

/// Names one announcement: by its event, and by all that it says. An event id alone names none, because a writer to
/// the store chooses what is stored under it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AnnouncementRef {
    pub(crate) event: EventId,
    /// SHA-256 of the bytes that the signature is over.
    pub(crate) digest: Digest,
}

/// The announcements that one names as those before it: in ascending order, each once, and not too many.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<AnnouncementRef>")]
pub(crate) struct Previous(Vec<AnnouncementRef>);

impl Previous {
    /// How many one announcement may name.
    const MOST: usize = 16;

    /// The first of these that fit. The others are for the next one to name.
    pub(crate) fn of(named: &[AnnouncementRef]) -> Self {
        let mut named: Vec<_> = named.iter().take(Self::MOST).copied().collect();
        named.sort_unstable();
        named.dedup();
        Self(named)
    }
}

impl TryFrom<Vec<AnnouncementRef>> for Previous {
    type Error = &'static str;

    fn try_from(named: Vec<AnnouncementRef>) -> Result<Self, Self::Error> {
        let is_spelled = named.windows(2).all(|pair| pair[0] < pair[1]);
        match is_spelled && named.len() <= Self::MOST {
            true => Ok(Self(named)),
            false => Err("not ascending, or more than may be named"),
        }
    }
}

/// What is said of a signing key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Statement {
    /// The key that comes, or is to come.
    pub(crate) public: VerifyingKey,
    /// The key in whose place it comes, or is to come.
    pub(crate) replaces: SigningKeyId,
    /// Since when somebody else has that key, as far as is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) compromised: Option<Timestamp>,
}

/// Which earlier signing key is distrusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Distrust {
    pub(crate) key: SigningKeyId,
    /// Since when somebody else has it, as far as is known.
    pub(crate) compromised: Timestamp,
}

/// A text is no announcement.
#[derive(Debug, thiserror::Error)]
#[error("not an announcement, as lists of erasures hold them")]
pub struct AnnouncementError(#[source] JsonError);

impl FromStr for Announcement {
    type Err = AnnouncementError;

    fn from_str(text: &str) -> Result<Self, AnnouncementError> {
        #[derive(Deserialize)]
        struct Line {
            id: EventId,
        }
        let line = Json::parse(text).map_err(AnnouncementError)?;
        let Line { id } = line.to().map_err(AnnouncementError)?;
        Self::read(id, without(&line, &["id"])).map_err(AnnouncementError)
    }
}

impl Announcement {
    /// The id of its event.
    pub fn id(&self) -> EventId {
        self.id
    }

    /// The vault that announced it, as it says.
    pub fn vault(&self) -> Uuid {
        self.head.vault
    }

    /// What it is about; `None`: a kind that this program does not carry out.
    pub fn kind(&self) -> Option<AnnouncementKind> {
        self.body.as_ref().ok().map(|body| body.kind)
    }

    /// The erasure, if it is about one.
    pub fn erasure(&self) -> Option<ErasureId> {
        let body = self.body.as_ref().ok()?;
        (body.kind == AnnouncementKind::Erasure).then_some(ErasureId(body.about))
    }

    /// The announcements that its vault knew then and that no other named: as a rule, the one before it. None:
    /// it knew of none, or it is exported.
    pub fn previous(&self) -> impl Iterator<Item = EventId> + '_ {
        self.named().iter().map(|named| named.event)
    }

    /// Those announcements, and no others in their places; in ascending order.
    pub(crate) fn named(&self) -> &[AnnouncementRef] {
        let previous = self.body.as_ref().ok().and_then(|body| body.previous.as_ref());
        previous.map_or(&[], |previous| &previous.0)
    }

    /// Whether it was made for a list that is kept elsewhere, and not for the stream.
    pub(crate) fn is_of_list(&self) -> bool {
        self.body.as_ref().is_ok_and(|body| body.previous.is_none())
    }

    /// Names it.
    pub(crate) fn reference(&self) -> AnnouncementRef {
        let digest = Digest(Sha256::digest(self.signed_bytes()).into());
        AnnouncementRef { event: self.id, digest }
    }

    /// The log that the vault kept then, by the id of the signing key that began it.
    pub fn log(&self) -> Option<SigningKeyId> {
        self.body.as_ref().ok().map(|body| body.log)
    }

    /// One of these members. Nothing of it is signed yet.
    pub(crate) fn new(id: EventId, body: &Body) -> Result<Self, JsonError> {
        Self::read(id, without(&Json::of(body)?, &[]))
    }

    /// The announcement in an event, if it has the form of one.
    pub(crate) fn of(event: &RecordedEvent) -> Option<Self> {
        let data = event.data.as_ref()?.as_json().filter(|_| event.is_announcement())?;
        Self::read(event.id, without(data, &[])).ok()
    }

    /// Of the canonical form: a store may spell numbers in other ways than they were signed in.
    fn read(id: EventId, canonical: String) -> Result<Self, JsonError> {
        let data = Json::composed(canonical);
        if !data.tree().root().is_object() {
            return Err(JsonError::Type("an announcement is an object".to_owned()));
        }
        let head: Head = data.to()?;
        let body = body(&data);
        Ok(Self { id, data, head, body })
    }

    pub(crate) fn body(&self) -> Result<&Body, &Beyond> {
        self.body.as_ref()
    }

    /// All that it says, in canonical form.
    pub(crate) fn text(&self) -> &str {
        self.data.as_str()
    }

    /// The event that it is.
    pub(crate) fn to_event(&self) -> Result<NewEvent, super::NameError> {
        Ok(NewEvent::new(EventType::new(ANNOUNCED)?, self.data.clone()).with_id(self.id))
    }

    /// Who signed, as it says: the key, its id, and the signature. Nothing of it is checked here.
    pub(crate) fn signature(&self) -> Option<(VerifyingKey, SigningKeyId, &Signature)> {
        Some((self.head.public?, self.head.key?, self.head.sig.as_ref()?))
    }

    /// What is sealed of it, as text; empty where that is none.
    pub(crate) fn sealed(&self) -> String {
        let tree = self.data.tree();
        let sealed = tree.root().member("sealed").and_then(|sealed| sealed.string());
        sealed.map(Cow::into_owned).unwrap_or_default()
    }

    /// What the seal covers besides: all that is said in clear, where, and who signs it. So no one puts
    /// their signature under what somebody else sealed.
    pub(crate) fn associated(&self) -> Vec<u8> {
        self.bytes(b"oubliette announcement", &["sealed", "proof", "sig"])
    }

    /// What the key that a statement is about signs.
    pub(crate) fn proof_bytes(&self) -> Vec<u8> {
        self.bytes(b"oubliette proof of possession", &["sealed", "proof", "sig"])
    }

    /// What the signature is over.
    pub(crate) fn signed_bytes(&self) -> Vec<u8> {
        self.bytes(b"oubliette signed announcement", &["sig"])
    }

    fn bytes(&self, label: &[u8], left_out: &[&str]) -> Vec<u8> {
        let place: [&[u8]; 2] = [ANNOUNCEMENTS.as_bytes(), self.id.0.as_bytes()];
        signed_bytes(label, &place, &self.data, left_out)
    }
}

/// What an announcement says, as far as this program carries it out.
fn body(data: &Json) -> Result<Body, Beyond> {
    let tree = data.tree();
    let member = |name| tree.root().member(name);
    // In canonical form there is one spelling.
    let format = member("format").ok_or(Beyond::Form)?.text();
    if format != FORMAT {
        return Err(Beyond::Format(number(format)));
    }
    // What is no text, or empty, is told as an unknown name.
    let name = member("kind").ok_or(Beyond::Form)?.string();
    let name = name.filter(|name| !name.is_empty()).unwrap_or("?".into());
    match AnnouncementKind::named(&name) {
        Some(kind) if kind.is_carried_out() => {
            let body = data.to_exact::<Body>().map_err(|_| Beyond::Form)?;
            if body.has_its_form() { Ok(body) } else { Err(Beyond::Form) }
        }
        Some(kind) => Err(Beyond::Reserved(kind)),
        None => Err(Beyond::Unknown(named(&name))),
    }
}

impl Body {
    /// A statement names a key, with its proof; a distrust names one that is known; an erasure names none.
    /// What it is about has an id that carries the instant.
    fn has_its_form(&self) -> bool {
        let distrusts = self.kind == AnnouncementKind::Distrust;
        let names = self.kind.is_of_keys() && !distrusts;
        // Who calls a key stolen puts another in its place at once.
        let stolen = self.statement.as_ref().and_then(|statement| statement.compromised).is_some();
        self.statement.is_some() == names
            && stolen <= (self.kind == AnnouncementKind::SigningKey)
            && self.proof.is_some() <= names
            && self.distrust.is_some() == distrusts
            // Only an erasure is told again in a list.
            && (self.previous.is_some() || self.kind == AnnouncementKind::Erasure)
            && self.at.is_in(self.about)
    }
}

/// A format that somebody else gave, made fit to be told.
fn number(text: &str) -> String {
    const LONGEST: usize = 20;
    let fit = text.len() <= LONGEST && text.bytes().all(|byte| byte.is_ascii_digit());
    if fit { text.to_owned() } else { "?".to_owned() }
}

impl Serialize for Announcement {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = self.data.as_str().replacen('{', &format!(r#"{{"id":"{}","#, self.id), 1);
        Json::parse(&text).map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Announcement {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Json::deserialize(deserializer)?.as_str().parse().map_err(de::Error::custom)
    }
}
