//! What a policy makes of an event, for people who write one.

use super::{Policy, PolicyRefusal, cut::EventFacts};
use crate::event::{Json, Layout, NewEvent, OwnerChange, Payload, StreamName, Subject};

/// What a policy makes of one event: see [`Policy::explain`].
///
/// [`Policy::explain`] has an example.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// How the event is stored.
    pub layout: Layout,
    /// The streams that it is written to: two where the stream is split, the public one first.
    pub streams: Vec<StreamName>,
    /// What of the payload is stored in clear, and is all that is left of it when everybody in `sealed` is
    /// forgotten; `None`: nothing.
    pub data: Option<Payload>,
    /// The same of the metadata.
    pub metadata: Option<Json>,
    /// What is sealed, for whom. Nothing: the event is wholly public.
    pub sealed: Vec<SealedFor>,
    /// What the event says about who its stream depends on.
    pub owners: Vec<OwnerChange>,
}

/// What of an event is sealed for one subject, and goes when they are forgotten.
///
/// [`Policy::explain`] has an example.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SealedFor {
    /// Under whose key.
    pub subject: Subject,
    /// The policy's pointers of the fields; `*` is the rest of the payload.
    pub fields: Vec<String>,
    /// Whether metadata is among it.
    pub metadata: bool,
}

impl Policy {
    /// Returns what the policy would make of an event in this stream. Nothing is stored or sealed, and no vault is
    /// needed.
    ///
    /// ```
    /// use oubliette::{EventType, Json, NewEvent, Policy, StreamName};
    ///
    /// let policy = Policy::parse(r#"
    ///     [[stream]]
    ///     match = "user-{id}"
    ///     layout = "inline"
    ///     public = ["/colour"]
    /// "#)?;
    /// let data = Json::parse(r#"{"colour": "blue", "surname": "Ringelnatz"}"#)?;
    /// let event = NewEvent::new(EventType::new("UserRegistered")?, data);
    /// let explained = policy.explain(&StreamName::new("user-456")?, &event)?;
    ///
    /// assert_eq!(explained.data, Some(Json::parse(r#"{"colour": "blue"}"#)?.into()));
    /// assert_eq!(explained.sealed[0].subject.as_str(), "user-456");
    /// assert_eq!(explained.sealed[0].fields, ["*"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`PolicyRefusal`] where the event would not be appended.
    pub fn explain(
        &self,
        stream: &StreamName,
        event: &NewEvent,
    ) -> Result<Explanation, PolicyRefusal> {
        let plan = self.rule_for(stream)?;
        let facts =
            EventFacts { stream, event_type: &event.event_type, subject: event.subject.as_ref() };
        let cut = match &event.holes {
            None => self.cut(&facts, &event.data, event.metadata.as_ref())?,
            Some(holes) => {
                let data = Some(&event.data).filter(|_| !holes.bare);
                self.cut_copy(&facts, data, event.metadata.as_ref())?
            }
        };
        let streams = match plan.split {
            Some(names) => vec![names.public, names.private],
            None => vec![stream.clone()],
        };
        let sealed = cut.parts.into_iter().map(|part| SealedFor {
            subject: part.subject,
            fields: part.fields,
            metadata: part.metadata.is_some(),
        });
        Ok(Explanation {
            layout: cut.layout,
            streams,
            data: if cut.clear { Some(event.data.clone()) } else { cut.public.map(Payload::from) },
            // An empty object is as good as none.
            metadata: cut.public_metadata.filter(|json| !json.tree().root().is_empty()),
            sealed: sealed.collect(),
            owners: cut.owners,
        })
    }
}
