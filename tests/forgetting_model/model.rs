//! Who loses what when somebody is forgotten, said as simply as possible.

use std::collections::{BTreeMap, BTreeSet};

use oubliette::event::EventId;
use proptest::prelude::*;

pub(crate) const POLICY: &str = r#"
[[stream]]
match  = "user-{id}"
layout = "split"
public = ["/id"]
otherwise = "named"

[[stream]]
match  = "account-{id}"
layout = "inline"
public = ["/owner"]
owner  = [ { event = "Opened",   add     = "{/owner}" },
           { event = "Left",     remove  = "{/owner}" },
           { event = "Replaced", replace = "{/owner}" } ]

[[stream]]
match  = "shared-{id}"
layout = "split"
public = ["/owner"]
owner  = [ { event = "Opened",   add     = "{/owner}" },
           { event = "Left",     remove  = "{/owner}" },
           { event = "Replaced", replace = "{/owner}" } ]
on_owner_forgotten = "shred-on-any"

[[stream]]
match  = "ledger-{id}"
layout = "inline"
public = ["/owner"]
owner  = [ { event = "Opened", add = "{/owner}" } ]
[[stream.field]]
pointer = "/iban"
subject = "{/other}"

[[stream]]
match     = "room-{id}"
subject   = "user-{/author}"
otherwise = "stream"
"#;

/// What an event says. A number names `user-N`; in a ledger's `Opened` the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Noted,
    Opened(u8),
    /// Owned by another account.
    Joined(u8),
    Left(u8),
    Replaced(u8),
    /// A part under the key of `user-N`.
    About(u8),
}

/// One event. Its secrets contain its number.
#[derive(Debug, Clone)]
pub(crate) struct Write {
    pub(crate) stream: String,
    pub(crate) kind: Kind,
    pub(crate) number: u32,
    pub(crate) id: Option<EventId>,
    /// How often its stream had been forgotten wholly when it was first tried.
    pub(crate) life: usize,
}

impl Write {
    pub(crate) fn new(stream: &str, kind: Kind) -> Self {
        Self { stream: stream.to_owned(), kind, number: 0, id: None, life: 0 }
    }

    fn owner(&self) -> Option<String> {
        match self.kind {
            Kind::Opened(n) if self.stream.starts_with("ledger-") => {
                Some(format!("account-{}", n.min(2)))
            }
            Kind::Opened(n) | Kind::Left(n) | Kind::Replaced(n) => Some(format!("user-{n}")),
            Kind::Joined(n) => {
                let accounts = ["account-1", "account-2", "shared-1"].into_iter();
                let mut others = accounts.filter(|account| *account != self.stream);
                others.nth(usize::from(n % 2)).map(str::to_owned)
            }
            Kind::Noted | Kind::About(_) => None,
        }
    }

    /// Whom the event names as its subject.
    pub(crate) fn names(&self) -> Option<String> {
        match self.kind {
            Kind::About(n) if self.stream.starts_with("user-") => Some(format!("user-{n}")),
            _ => None,
        }
    }

    /// An event of another type, for the same id.
    pub(crate) fn changed(&self, number: u32) -> Self {
        let kind = match self.kind {
            Kind::Noted if self.stream.starts_with("account-") => Kind::Replaced(2),
            Kind::Noted if self.stream.starts_with("shared-") => Kind::Opened(2),
            Kind::Noted => Kind::About(2),
            _ => Kind::Noted,
        };
        Self { kind, number, ..self.clone() }
    }

    fn secret(&self, part: usize) -> String {
        format!("<{}/{part}>", self.number)
    }

    /// Type and data.
    pub(crate) fn event(&self) -> (&'static str, String) {
        let secret = self.secret(0);
        let owner = self.owner().unwrap_or_default();
        let with_owner = format!(r#"{{"owner":"{owner}","memo":"{secret}"}}"#);
        match self.kind {
            Kind::Noted => ("Noted", format!(r#"{{"id":1,"memo":"{secret}"}}"#)),
            Kind::Opened(_) | Kind::Joined(_) => ("Opened", with_owner),
            Kind::Left(_) => ("Left", with_owner),
            Kind::Replaced(_) => ("Replaced", with_owner),
            Kind::About(n) if self.stream.starts_with("room-") => {
                ("Said", format!(r#"{{"author":{n},"memo":"{secret}"}}"#))
            }
            Kind::About(_) if self.stream.starts_with("user-") => {
                ("Said", format!(r#"{{"id":1,"memo":"{secret}"}}"#))
            }
            Kind::About(n) => {
                let theirs = self.secret(1);
                let data = format!(r#"{{"memo":"{secret}","other":"user-{n}","iban":"{theirs}"}}"#);
                ("Booked", data)
            }
        }
    }

    /// Whose the parts are.
    fn subjects(&self) -> Vec<String> {
        match self.kind {
            Kind::About(n) if !self.stream.starts_with("ledger-") => vec![format!("user-{n}")],
            Kind::About(n) => vec![self.stream.clone(), format!("user-{n}")],
            _ => vec![self.stream.clone()],
        }
    }
}

pub(crate) fn anyone() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => (1..4u8).prop_map(|n| format!("user-{n}")),
        2 => (1..3u8).prop_map(|n| format!("account-{n}")),
        1 => Just("shared-1".to_owned()),
        1 => Just("ledger-1".to_owned()),
        1 => Just("room-1".to_owned()),
    ]
}

pub(crate) fn write() -> impl Strategy<Value = Write> {
    let user = || 1..4u8;
    let change = || {
        prop_oneof![
            2 => Just(Kind::Noted),
            3 => user().prop_map(Kind::Opened),
            2 => (0..2u8).prop_map(Kind::Joined),
            1 => user().prop_map(Kind::Left),
            2 => user().prop_map(Kind::Replaced),
        ]
    };
    prop_oneof![
        2 => user().prop_map(|n| Write::new(&format!("user-{n}"), Kind::Noted)),
        1 => (user(), user())
            .prop_map(|(n, other)| Write::new(&format!("user-{n}"), Kind::About(other))),
        4 => (1..3u8, change()).prop_map(|(n, kind)| Write::new(&format!("account-{n}"), kind)),
        2 => change().prop_map(|kind| Write::new("shared-1", kind)),
        2 => prop_oneof![
            Just(Kind::Noted),
            (1..3u8).prop_map(Kind::Opened),
            user().prop_map(Kind::About)
        ]
        .prop_map(|kind| Write::new("ledger-1", kind)),
        2 => prop_oneof![Just(Kind::Noted), user().prop_map(Kind::About)]
            .prop_map(|kind| Write::new("room-1", kind)),
    ]
}

/// A time with the same owners.
#[derive(Debug, Clone, Default)]
struct Epoch {
    /// `None`: someone who was forgotten.
    owners: Vec<Option<String>>,
}

#[derive(Debug, Default)]
struct Someone {
    /// Never empty once looked at; those before `since` are over for good.
    epochs: Vec<Epoch>,
    since: usize,
    /// How often forgotten wholly.
    lives: usize,
    dead: BTreeSet<usize>,
    closed: bool,
}

impl Someone {
    fn current(&mut self) -> usize {
        if self.epochs.len() <= self.since {
            self.epochs.resize_with(self.since + 1, Epoch::default);
        }
        self.epochs.len() - 1
    }
}

#[derive(Debug)]
struct Part {
    event: EventId,
    stream: String,
    subject: String,
    epoch: usize,
    secret: String,
}

#[derive(Debug, Default)]
pub(crate) struct Model {
    people: BTreeMap<String, Someone>,
    parts: Vec<Part>,
    stored: BTreeSet<EventId>,
    /// Streams that have events.
    streams: BTreeSet<String>,
    /// Where somebody may have a key (subject, stream, epoch): from appends that failed.
    keys: BTreeSet<(String, String, usize)>,
}

impl Model {
    pub(crate) fn life(&self, stream: &str) -> usize {
        self.people.get(stream).map_or(0, |someone| someone.lives)
    }

    pub(crate) fn same_lives(&self, writes: &[Write]) -> bool {
        writes.iter().all(|write| self.life(&write.stream) == write.life)
    }

    fn closed(&self, who: &str) -> bool {
        self.people.get(who).is_some_and(|someone| someone.closed)
    }

    /// Whether an append needs something of somebody who is forgotten.
    pub(crate) fn refuses(&self, writes: &[Write]) -> bool {
        writes.iter().any(|write| {
            let mut needed = write.subjects();
            // The stream of somebody who is forgotten takes no events, whoever they are about.
            needed.push(write.stream.clone());
            if let Some(owner) = write.owner() {
                needed.extend([owner, write.stream.clone()]);
            }
            needed.iter().any(|who| self.closed(who))
        })
    }

    /// Whether an append seals something in a stream that lost its owners, and states none: the
    /// events of one stream stand together.
    pub(crate) fn lacks_owner(&self, writes: &[Write]) -> bool {
        writes.chunk_by(|a, b| a.stream == b.stream).any(|writes| {
            let stream = writes[0].stream.as_str();
            let declares = ["account-", "shared-", "ledger-"].iter().any(|p| stream.starts_with(p));
            let Some(someone) = self.people.get(stream).filter(|_| declares) else { return false };
            let owned = someone.epochs[someone.since.min(someone.epochs.len())..].last();
            let owned = owned.is_some_and(|epoch| epoch.owners.iter().any(Option::is_some));
            if someone.dead.is_empty() || owned {
                return false;
            }
            let (mut sealed, mut ended) = (false, false);
            for write in writes {
                match write.kind {
                    Kind::Opened(_) | Kind::Joined(_) => return sealed && ended,
                    Kind::Replaced(_) => return sealed,
                    Kind::Left(_) => ended = true,
                    Kind::Noted | Kind::About(_) => {}
                }
                sealed = true;
            }
            sealed
        })
    }

    pub(crate) fn tried(&mut self, writes: &[Write]) {
        for write in writes {
            for subject in write.subjects() {
                let epoch = self.people.entry(subject.clone()).or_default().current();
                self.keys.insert((subject, write.stream.clone(), epoch));
            }
        }
    }

    /// What these events change, now that they are in the store.
    pub(crate) fn apply<'a>(&mut self, writes: impl Iterator<Item = &'a Write>) {
        for write in writes {
            let Some(id) = write.id.filter(|id| self.stored.insert(*id)) else { continue };
            self.streams.insert(write.stream.clone());
            let dependent = self.people.entry(write.stream.clone()).or_default();
            let current = dependent.current();
            // What only removes an owner is of the time that it ends.
            let ended = matches!(write.kind, Kind::Left(_)).then_some(current);
            let owners = dependent.epochs[current].owners.clone();
            let owner = write.owner();
            match write.kind {
                Kind::Opened(_) | Kind::Joined(_) if !owners.contains(&owner) => {
                    dependent.epochs[current].owners.push(owner);
                }
                Kind::Left(_) => {
                    let owners = owners.into_iter().filter(|other| *other != owner).collect();
                    dependent.epochs.push(Epoch { owners });
                }
                Kind::Replaced(_) => dependent.epochs.push(Epoch { owners: vec![owner] }),
                _ => {}
            }
            for (i, subject) in write.subjects().into_iter().enumerate() {
                let own = ended.filter(|_| subject == write.stream);
                let current = self.people.entry(subject.clone()).or_default().current();
                let epoch = own.unwrap_or(current);
                let (stream, secret) = (write.stream.clone(), write.secret(i));
                self.keys.insert((subject.clone(), stream.clone(), epoch));
                self.parts.push(Part { event: id, stream, subject, epoch, secret });
            }
        }
    }

    fn lives(&self, part: &Part) -> bool {
        !self.people[&part.subject].dead.contains(&part.epoch)
    }

    /// Whether there is nothing left to forget.
    pub(crate) fn is_gone(&self, who: &str) -> bool {
        self.closed(who) && !self.parts.iter().any(|part| part.subject == who && self.lives(part))
    }

    /// Whether forgetting them must find something.
    pub(crate) fn knows(&self, who: &str) -> bool {
        self.parts.iter().any(|part| part.subject == who && self.lives(part))
            || self.people.values().any(|someone| {
                someone.epochs[someone.since.min(someone.epochs.len())..]
                    .iter()
                    .any(|epoch| epoch.owners.contains(&Some(who.to_owned())))
            })
    }

    /// The epochs of someone that die with these, who are forgotten wholly.
    fn dying(&self, who: &str, whole: &BTreeSet<String>) -> Vec<usize> {
        let someone = &self.people[who];
        let gone = |owner: &Option<String>| owner.as_ref().is_none_or(|who| whole.contains(who));
        let any = who.starts_with("shared-");
        let dies = |epoch: &Epoch| {
            let mut owners = epoch.owners.iter();
            if any { owners.any(gone) } else { owners.len() > 0 && owners.all(gone) }
        };
        (someone.since..someone.epochs.len()).filter(|&at| dies(&someone.epochs[at])).collect()
    }

    /// Whether nothing of someone outlives these epochs. Only a key of an append that failed
    /// makes that a question: then it is as the plan says.
    fn leaves_nothing(&self, who: &str, dying: &[usize], planned_whole: &BTreeSet<String>) -> bool {
        let someone = &self.people[who];
        if !dying.contains(&(someone.epochs.len() - 1)) {
            return false;
        }
        let outlives = |epoch: usize| !dying.contains(&epoch) && !someone.dead.contains(&epoch);
        if self.parts.iter().any(|part| part.subject == who && outlives(part.epoch)) {
            return false;
        }
        let maybe = self.keys.iter().any(|(subject, _, epoch)| subject == who && outlives(*epoch));
        !maybe || planned_whole.contains(who)
    }

    /// Whether one of these owns someone in one of these epochs.
    fn leads(&self, who: &str, epochs: &[usize], owners: &BTreeSet<String>) -> bool {
        let someone = &self.people[who];
        let owner = |owner: &Option<String>| owner.as_ref().is_some_and(|o| owners.contains(o));
        epochs.iter().any(|at| someone.epochs[*at].owners.iter().any(owner))
    }

    /// Who is forgotten wholly with someone: all who depend on them, but for those whom somebody
    /// else keeps, and those whom nobody leads to.
    fn falling(&self, asked: &str, planned_whole: &BTreeSet<String>) -> BTreeSet<String> {
        let live = |who: &str| {
            let someone = &self.people[who];
            (someone.since.min(someone.epochs.len())..someone.epochs.len()).collect::<Vec<_>>()
        };
        let reach = |epochs: &dyn Fn(&str) -> Vec<usize>, among: &dyn Fn(&str) -> bool| {
            let mut led = BTreeSet::from([asked.to_owned()]);
            loop {
                let more: Vec<String> = self
                    .people
                    .keys()
                    .filter(|who| !led.contains(*who) && among(who))
                    .filter(|who| self.leads(who, &epochs(who), &led))
                    .cloned()
                    .collect();
                if more.is_empty() {
                    return led;
                }
                led.extend(more);
            }
        };
        let mut whole = reach(&live, &|who| !self.is_gone(who));
        loop {
            let before = whole.clone();
            whole.retain(|who| {
                let dying = || self.dying(who, &before);
                who == asked || self.leaves_nothing(who, &dying(), planned_whole)
            });
            if whole == before {
                whole = reach(&|who| self.dying(who, &before), &|who| before.contains(who));
                if whole == before {
                    return whole;
                }
            }
        }
    }

    /// Forgets, and returns the streams that must have a tombstone and those that may.
    pub(crate) fn forget(
        &mut self,
        who: &str,
        planned_whole: &BTreeSet<String>,
    ) -> (BTreeSet<String>, BTreeSet<String>) {
        self.people.entry(who.to_owned()).or_default().current();
        let whole = self.falling(who, planned_whole);
        let mut partly: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for other in self.people.keys().filter(|other| !whole.contains(*other)) {
            let dying = self.dying(other, &whole);
            if !self.is_gone(other) && self.leads(other, &dying, &whole) {
                partly.insert(other.clone(), dying);
            }
        }

        let before: Vec<bool> = self.parts.iter().map(|part| self.lives(part)).collect();
        let mut may = BTreeSet::new();
        for gone in whole.iter().chain(partly.keys()) {
            may.insert(gone.clone());
            let theirs = self.keys.iter().filter(|(subject, ..)| subject == gone);
            may.extend(theirs.map(|(_, stream, _)| stream.clone()));
        }
        for gone in &whole {
            let someone = self.people.get_mut(gone).unwrap();
            someone.dead.extend(0..someone.epochs.len());
            someone.since = someone.epochs.len();
            someone.lives += 1;
            someone.closed = true;
            for other in self.people.values_mut() {
                for owner in other.epochs.iter_mut().flat_map(|epoch| &mut epoch.owners) {
                    if owner.as_ref() == Some(gone) {
                        *owner = None;
                    }
                }
            }
        }
        for (gone, epochs) in partly {
            let someone = self.people.get_mut(&gone).unwrap();
            // Whoever lost the newest part is closed: what would come next is nobody's.
            someone.closed |= epochs.contains(&(someone.epochs.len() - 1));
            someone.dead.extend(epochs);
        }
        let died =
            self.parts.iter().zip(before).filter(|(part, lived)| *lived && !self.lives(part));
        let mut must: BTreeSet<String> = died.map(|(part, _)| part.stream.clone()).collect();
        must.extend(whole.into_iter().filter(|gone| self.streams.contains(gone)));
        (must, may)
    }

    pub(crate) fn reopen(&mut self, who: &str) {
        let Some(someone) = self.people.get_mut(who).filter(|someone| someone.closed) else {
            return;
        };
        someone.closed = false;
        if someone.epochs.len() > someone.since {
            someone.epochs.push(Epoch::default());
        }
    }

    /// Compares every part of every event with what was read.
    pub(crate) fn check(&self, found: &BTreeMap<EventId, String>) {
        assert_eq!(found.len(), self.stored.len(), "as many events as were stored");
        for part in &self.parts {
            let text = found.get(&part.event).unwrap_or_else(|| panic!("lost: {part:?}"));
            assert_eq!(
                text.contains(&part.secret),
                self.lives(part),
                "whether it is readable: {part:?}"
            );
        }
    }
}
