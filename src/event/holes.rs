//! What is missing of an event: parts that are gone, and parts that this reader may not open; also
//! of an event that is a copy of another.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{
    Day, ErasureRef, EventId, EventType, KeyId, RecordedEvent, StreamName, VaultId, framed,
};

/// A part of an event whose key is destroyed. Its form in rows and in stored events is the same.
///
/// ```
/// use oubliette::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = Oubliette::open(MemoryStore::new(), Vault::in_memory()?, Policy::sealed_by_default()).await?;
/// # let user = StreamName::new("user-456")?;
/// # let moved = NewEvent::new(EventType::new("UserMoved")?, Json::parse(r#"{"to":"Leipzig"}"#)?);
/// # store.append_to(&user, ExpectedRevision::Any, vec![moved]).await?;
/// store.forget(&Subject::of(&user), "request 2026-117").await?;
/// let events = store.events(&user, ReadOptions::default()).await?;
/// let part = &events[0].shredded[0];
/// assert_eq!(part.fields, ["*"]); // the whole payload
/// println!("gone since {}, with the keys {:?}", part.day, part.keys);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shredded {
    /// The vault that destroyed it.
    pub origin: VaultId,
    /// Identifies the erasure that destroyed it, as in the tombstone of the stream that it was
    /// sealed in.
    #[serde(rename = "ref")]
    pub reference: ErasureRef,
    /// The day in UTC on which that erasure was decided.
    pub day: Day,
    /// The ids of the destroyed keys.
    pub keys: Vec<KeyId>,
    /// The fields that it held, as the policy's pointers; `*` is all that is not shown and not
    /// named by another part.
    pub fields: Vec<String>,
    /// Whether it was gone already when the event was copied to here: no tombstone of this stream
    /// speaks of it, and its keys were never this vault's.
    #[serde(skip)]
    pub copied: bool,
}

/// A part of an event that this reader may not open now, and might open another time.
///
/// ```
/// use oubliette::{event::WithheldReason, *};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let events = MemoryStore::new();
/// # let store = Oubliette::open(events.clone(), Vault::in_memory()?, Policy::sealed_by_default()).await?;
/// # let user = StreamName::new("user-456")?;
/// # let moved = NewEvent::new(EventType::new("UserMoved")?, Json::parse(r#"{"to":"Leipzig"}"#)?);
/// # store.append_to(&user, ExpectedRevision::Any, vec![moved]).await?;
/// // A copy of the events for a test system, which has no vault.
/// let copy = Oubliette::without_vault(events, Policy::sealed_by_default());
/// let event = copy.last(&user).await?.expect("there is one");
/// assert_eq!(event.withheld[0].why, WithheldReason::NoVault);
/// assert!(matches!(event.content(), Content::Withheld(_)));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Withheld {
    /// Why this reader does not get it.
    pub why: WithheldReason,
    /// The fields that it holds, as for [`Shredded::fields`].
    pub fields: Vec<String>,
}

/// Why a part is withheld.
///
/// [`Withheld`] has an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WithheldReason {
    /// The reader has no vault: a copy of production for a test system, or an analyst's.
    NoVault,
    /// The event is a copy, and this part of the original could not be opened when the copy was made.
    NotCopied,
    /// Its key is destroyed, and it is not known whether it was this event's: its tag is of an era that the
    /// vault never had, because it was put back to before that, by a backup or an image.
    Unvouched,
    /// The reader said that it does not want it: see [`Oubliette::wanting`](crate::Oubliette::wanting).
    NotWanted,
}

impl WithheldReason {
    /// Those of a stored hole, or of a row: what somebody did not want is there still, and is not copied.
    const COPIED: [Self; 3] = [Self::NoVault, Self::NotCopied, Self::Unvouched];

    fn as_str(self) -> &'static str {
        match self {
            Self::NoVault => "no-vault",
            Self::NotCopied => "not-copied",
            Self::Unvouched => "unvouched",
            Self::NotWanted => "not-wanted",
        }
    }
}

impl fmt::Display for WithheldReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for WithheldReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for WithheldReason {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let known = Self::COPIED.into_iter().find(|why| why.as_str() == text);
        known.ok_or_else(|| de::Error::custom("not a reason for withholding"))
    }
}

/// What was missing of an event when it was copied. It stays missing in the copy, and a reader is
/// told so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holes {
    /// Each is [`copied`](Shredded::copied).
    pub(crate) shredded: Vec<Shredded>,
    /// The fields of each part that could not be opened.
    pub(crate) withheld: Vec<Vec<String>>,
    pub(crate) bare: bool,
    /// Whether something is missing only because its reader did not want it. Such a copy is refused.
    pub(crate) not_wanted: bool,
}

impl Holes {
    /// The holes of a copy of an event with these parts missing; `None` if there are none. `bare`:
    /// nothing of the payload was readable, and what the copy has in its place says nothing.
    pub fn new(shredded: &[Shredded], withheld: &[Withheld], bare: bool) -> Option<Self> {
        if shredded.is_empty() && withheld.is_empty() {
            return None;
        }
        let copied = |part: &Shredded| Shredded { copied: true, ..part.clone() };
        Some(Self {
            shredded: shredded.iter().map(copied).collect(),
            withheld: withheld.iter().map(|part| part.fields.clone()).collect(),
            bare,
            not_wanted: withheld.iter().any(|part| part.why == WithheldReason::NotWanted),
        })
    }

    /// The holes of a copy of this event.
    pub fn of(event: &RecordedEvent) -> Option<Self> {
        Self::new(&event.shredded, &event.withheld, event.data.is_none())
    }

    /// The parts whose keys were destroyed.
    pub fn shredded(&self) -> &[Shredded] {
        &self.shredded
    }

    /// The parts that could not be opened, as a reader of the copy gets them.
    pub fn withheld(&self) -> impl Iterator<Item = Withheld> + '_ {
        self.withheld
            .iter()
            .map(|fields| Withheld { why: WithheldReason::NotCopied, fields: fields.clone() })
    }

    /// All fields that are missing. Their names stay in clear.
    pub(crate) fn fields(&self) -> impl Iterator<Item = &str> {
        let of_parts = self.shredded.iter().flat_map(|part| &part.fields);
        of_parts.chain(self.withheld.iter().flatten()).map(String::as_str)
    }

    /// How many parts are missing.
    pub(crate) fn count(&self) -> usize {
        self.shredded.len() + self.withheld.len()
    }

    /// What the tag of the holes is over: all that they say, and of which event. `docs/format.md`
    /// specifies it.
    pub(crate) fn tagged_bytes(
        &self,
        stream: &StreamName,
        id: EventId,
        event_type: &EventType,
    ) -> Vec<u8> {
        let fields =
            |fields: &[String]| framed(&fields.iter().map(String::as_bytes).collect::<Vec<_>>());
        let shredded = self.shredded.iter().map(|part| {
            let keys: Vec<u8> = part.keys.iter().flat_map(|key| key.0).collect();
            framed(&[
                part.origin.0.as_bytes(),
                &part.reference.0,
                part.day.to_string().as_bytes(),
                &keys,
                &fields(&part.fields),
            ])
        });
        let withheld = self.withheld.iter().map(|part| framed(&[&fields(part)]));
        framed(&[
            b"oubliette holes",
            stream.as_str().as_bytes(),
            id.0.as_bytes(),
            event_type.as_str().as_bytes(),
            &[u8::from(self.bare)],
            &shredded.collect::<Vec<_>>().concat(),
            &withheld.collect::<Vec<_>>().concat(),
        ])
    }
}
