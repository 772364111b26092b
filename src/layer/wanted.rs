//! Reading less: what a reader does not want of an event is not opened.

use std::sync::Arc;

use super::{Oubliette, document::Notes};
use crate::{
    event::{
        EventType, Kind, Node, Pointer, RecordedEvent, VaultId, Withheld, WithheldReason, same,
    },
    store::StoreError,
};

/// What a reader takes of the events. The rest is not opened and costs next to nothing. The default is all.
///
/// See [`Oubliette::wanting`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// Only events of these types; empty: of all types.
    pub event_types: Vec<EventType>,
    /// Only these fields, as JSON pointers such as `/customer/name`; empty: all fields.
    pub fields: Vec<String>,
}

/// As [`Wanted`], with its pointers read.
#[derive(Debug)]
pub(super) struct Selection {
    event_types: Vec<EventType>,
    fields: Vec<Pointer>,
}

impl<S> Oubliette<S> {
    /// The same layer for a reader that takes only some of what is there: a fold that needs three event types, a
    /// projection that needs two public fields.
    ///
    /// Every event still comes, so that revisions have no gaps. Of an event of another type nothing is opened or
    /// checked, and it comes as [`Withheld`](crate::event::Content::Withheld), for
    /// [`NotWanted`](WithheldReason::NotWanted). Of the others the parts that hold a wanted field are opened. Where all
    /// wanted fields are in clear, that is none: the vault's tag vouches for the event then, and of a split stream the
    /// private half is not read. A part that is not opened is withheld, or shredded, if its key is destroyed. Tombstones
    /// come as always.
    ///
    /// Whoever copies events reads without this: what was not wanted is missing of the copy.
    ///
    /// ```
    /// use oubliette::{layer::Wanted, *};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let store = Oubliette::open(MemoryStore::new(), Vault::in_memory()?, Policy::sealed_by_default()).await?;
    /// # let user = StreamName::new("user-456")?;
    /// let moved = EventType::new("UserMoved")?;
    /// # for event_type in [moved.clone(), EventType::new("UserLoggedIn")?] {
    /// #     let event = NewEvent::new(event_type, Json::parse(r#"{"to":"Leipzig"}"#)?);
    /// #     store.append_to(&user, ExpectedRevision::Any, vec![event]).await?;
    /// # }
    /// let wanted = Wanted { event_types: vec![moved], ..Wanted::default() };
    /// let moves = store.wanting(wanted)?;
    /// let moved = moves.fold(&user, 0, |n, _, content| n + u64::from(matches!(content, Content::Clear(_)))).await?;
    /// assert_eq!((moved.state, moved.revision), (1, Some(Revision(1))));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`StoreError::Invalid`] where a field is no JSON pointer.
    pub fn wanting(&self, wanted: Wanted) -> Result<Self, StoreError> {
        let Wanted { event_types, fields } = wanted;
        let read =
            |field: &String| field.parse().map_err(|error| format!("a wanted field: {error}"));
        let fields = fields.iter().map(read).collect::<Result<_, String>>();
        let fields = fields.map_err(StoreError::Invalid)?;
        let selection = Some(Arc::new(Selection { event_types, fields }));
        Ok(Self { layer: Arc::clone(&self.layer), selection })
    }
}

impl Selection {
    /// Whether anything is wanted of an event.
    pub(super) fn takes(&self, event: &RecordedEvent) -> bool {
        self.event_types.is_empty() || self.event_types.contains(&event.event_type)
    }

    /// An event of which nothing is wanted.
    pub(super) fn pass_by(mut event: RecordedEvent) -> RecordedEvent {
        event.data = None;
        event.metadata = None;
        event.withheld = vec![not_wanted(vec!["*".to_owned()])];
        event
    }

    /// The fields that are wanted of it; `None`: all.
    pub(super) fn fields(&self) -> Option<&[Pointer]> {
        (!self.fields.is_empty()).then_some(&*self.fields)
    }
}

pub(super) fn not_wanted(fields: Vec<String>) -> Withheld {
    Withheld { why: WithheldReason::NotWanted, fields }
}

/// The fields that are wanted of an event and are not in clear: where there are none, nothing need be opened. `None`: it
/// must be opened to know that it is genuine, because no tag of this vault's says so.
pub(super) fn sealed_of<'f>(
    public: Option<Node<'_>>,
    notes: &Notes,
    vault: VaultId,
    fields: &'f [Pointer],
) -> Option<Vec<&'f Pointer>> {
    notes.mac.filter(|tag| tag.names(vault))?;
    let is_sealed = |field: &&Pointer| !public.is_some_and(|root| is_in_clear(root, field));
    Some(fields.iter().filter(is_sealed).collect())
}

/// Whether the private half of an event need not be read: its public one has all that is wanted, and stubs for its
/// tokens.
pub(super) fn is_enough(
    public: Option<Node<'_>>,
    notes: &Notes,
    vault: VaultId,
    fields: &[Pointer],
) -> bool {
    let sealed = || sealed_of(public, notes, vault, fields);
    !notes.stubs.is_empty() && sealed().is_some_and(|sealed| sealed.is_empty())
}

/// Whether what a pointer names is here in one piece. Of an object some members may be sealed; and in an array from
/// which elements were taken, an index names another one.
fn is_in_clear(root: Node<'_>, field: &Pointer) -> bool {
    let node = field.steps().iter().try_fold(root, |node, step| node.member(step.as_str()));
    node.is_some_and(|node| !matches!(node.kind(), Kind::Array | Kind::Object))
}

/// Whether the token at this place may hold one of the fields that are wanted. `noted`: of each token the policy's
/// pointers, where there is more than one; `*` is all that no pointer names.
pub(super) fn may_hold(noted: &[Vec<String>], at: usize, wanted: &[&Pointer]) -> bool {
    let Some(fields) = noted.get(at) else { return !wanted.is_empty() };
    let pointers = noted.iter().flatten().filter_map(|field| field.parse().ok());
    let pointers: Vec<Pointer> = pointers.collect();
    let is_named = |wanted: &&Pointer| {
        let is_within = |noted: &Pointer| noted.steps().len() <= wanted.steps().len();
        pointers.iter().any(|noted| is_within(noted) && overlap(noted, wanted))
    };
    fields.iter().any(|field| match field.parse() {
        Ok(noted) => wanted.iter().any(|wanted| overlap(&noted, wanted)),
        Err(_) => !wanted.iter().all(is_named),
    })
}

/// Whether one of the two may name a place within the other's.
fn overlap(noted: &Pointer, wanted: &Pointer) -> bool {
    let mut both = noted.steps().iter().zip(wanted.steps());
    both.all(|(noted, wanted)| noted.as_str() == "*" || same(noted.as_str(), wanted.as_str()))
}
