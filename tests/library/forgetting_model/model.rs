//! Who loses what when somebody is forgotten, said as simply as possible.

use std::collections::{BTreeMap, BTreeSet};

use oubliette::event::{EventId, KeyId};

use super::writes::{Kind, Write};

/// A time with the same owners.
#[derive(Debug, Clone, Default)]
struct Tenure {
    /// `None`: someone who was forgotten.
    owners: Vec<Option<String>>,
}

#[derive(Debug, Default)]
struct Someone {
    /// Never empty once looked at; those before `since` are over for good.
    tenures: Vec<Tenure>,
    since: usize,
    /// How often forgotten wholly.
    lives: usize,
    dead: BTreeSet<usize>,
    closed: bool,
}

impl Someone {
    fn current(&mut self) -> usize {
        if self.tenures.len() <= self.since {
            self.tenures.resize_with(self.since + 1, Tenure::default);
        }
        self.tenures.len() - 1
    }
}

#[derive(Debug)]
struct Part {
    event: EventId,
    stream: String,
    subject: String,
    epoch: usize,
    secret: String,
    /// The key that it is under, once it was read.
    key: Option<KeyId>,
    /// Whether the last erasure of its epoch spared that key.
    spared: bool,
}

/// Of a dependent and the owner through whom it is named.
type Edges = BTreeSet<(String, String)>;

/// What a forgetting does, and what it says: where it must, and where it may.
pub(crate) struct Fate {
    pub(crate) tombstones: (BTreeSet<String>, BTreeSet<String>),
    /// What depends on somebody of whom only a part dies.
    pub(crate) in_part: (Edges, Edges),
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

    pub(crate) fn closed(&self, who: &str) -> bool {
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
            let owned = someone.tenures[someone.since.min(someone.tenures.len())..].last();
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
            let owners = dependent.tenures[current].owners.clone();
            let owner = write.owner();
            match write.kind {
                Kind::Opened(_) | Kind::Joined(_) if !owners.contains(&owner) => {
                    dependent.tenures[current].owners.push(owner);
                }
                Kind::Left(_) => {
                    let owners = owners.into_iter().filter(|other| *other != owner).collect();
                    dependent.tenures.push(Tenure { owners });
                }
                Kind::Replaced(_) => dependent.tenures.push(Tenure { owners: vec![owner] }),
                _ => {}
            }
            for (i, subject) in write.subjects().into_iter().enumerate() {
                let own = ended.filter(|_| subject == write.stream);
                let current = self.people.entry(subject.clone()).or_default().current();
                let epoch = own.unwrap_or(current);
                let (stream, secret) = (write.stream.clone(), write.secret(i));
                self.keys.insert((subject.clone(), stream.clone(), epoch));
                let (key, spared) = (None, false);
                self.parts.push(Part { event: id, stream, subject, epoch, secret, key, spared });
            }
        }
    }

    fn lives(&self, part: &Part) -> bool {
        part.spared || !self.people[&part.subject].dead.contains(&part.epoch)
    }

    /// Notes which key of a subject's seals a part of an event.
    pub(crate) fn note_key(&mut self, event: EventId, subject: &str, key: KeyId) {
        let parts = self.parts.iter_mut();
        for part in parts.filter(|part| part.event == event && part.subject == subject) {
            assert!(part.key.is_none_or(|known| known == key), "another key: {part:?}");
            part.key = Some(key);
        }
    }

    pub(crate) fn has_stream(&self, name: &str) -> bool {
        self.streams.contains(name)
    }

    /// Whether this key seals something that is stored.
    pub(crate) fn has_key(&self, key: KeyId) -> bool {
        self.parts.iter().any(|part| part.key == Some(key))
    }

    /// Whether there is nothing left to forget.
    pub(crate) fn is_gone(&self, who: &str) -> bool {
        self.closed(who) && !self.reads(who)
    }

    /// Whether something of theirs can be read.
    pub(crate) fn reads(&self, who: &str) -> bool {
        self.parts.iter().any(|part| part.subject == who && self.lives(part))
    }

    /// Whether forgetting them must find something.
    pub(crate) fn knows(&self, who: &str) -> bool {
        self.reads(who)
            || self.people.values().any(|someone| {
                someone.tenures[someone.since.min(someone.tenures.len())..]
                    .iter()
                    .any(|epoch| epoch.owners.contains(&Some(who.to_owned())))
            })
    }

    /// The tenures of someone that die with these, who are forgotten wholly.
    fn dying(&self, who: &str, whole: &BTreeSet<String>) -> Vec<usize> {
        let someone = &self.people[who];
        let gone = |owner: &Option<String>| owner.as_ref().is_none_or(|who| whole.contains(who));
        let any = who.starts_with("shared-");
        let dies = |epoch: &Tenure| {
            let mut owners = epoch.owners.iter();
            if any { owners.any(gone) } else { owners.len() > 0 && owners.all(gone) }
        };
        (someone.since..someone.tenures.len()).filter(|&at| dies(&someone.tenures[at])).collect()
    }

    /// Whether nothing of someone outlives these tenures. Only a key of an append that failed
    /// makes that a question: then it is as the plan says.
    fn leaves_nothing(&self, who: &str, dying: &[usize], planned_whole: &BTreeSet<String>) -> bool {
        let someone = &self.people[who];
        if !dying.contains(&(someone.tenures.len() - 1)) {
            return false;
        }
        let outlives = |epoch: usize| !dying.contains(&epoch) && !someone.dead.contains(&epoch);
        let stays = |part: &&Part| part.subject == who && self.lives(part);
        if self.parts.iter().filter(stays).any(|part| !dying.contains(&part.epoch)) {
            return false;
        }
        let maybe = self.keys.iter().any(|(subject, _, epoch)| subject == who && outlives(*epoch));
        !maybe || planned_whole.contains(who)
    }

    /// Whether one of these owns someone in one of these tenures.
    fn leads(&self, who: &str, tenures: &[usize], owners: &BTreeSet<String>) -> bool {
        let someone = &self.people[who];
        let owner = |owner: &Option<String>| owner.as_ref().is_some_and(|o| owners.contains(o));
        tenures.iter().any(|at| someone.tenures[*at].owners.iter().any(owner))
    }

    /// Who is forgotten wholly with someone: all who depend on them, but for those whom somebody
    /// else keeps, and those whom nobody leads to.
    fn falling(&self, asked: &str, planned_whole: &BTreeSet<String>) -> BTreeSet<String> {
        let live = |who: &str| {
            let someone = &self.people[who];
            (someone.since.min(someone.tenures.len())..someone.tenures.len()).collect::<Vec<_>>()
        };
        let reach = |tenures: &dyn Fn(&str) -> Vec<usize>, among: &dyn Fn(&str) -> bool| {
            let mut led = BTreeSet::from([asked.to_owned()]);
            loop {
                let more: Vec<String> = self
                    .people
                    .keys()
                    .filter(|who| !led.contains(*who) && among(who))
                    .filter(|who| self.leads(who, &tenures(who), &led))
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

    /// Who depends, by however many steps, on somebody of whom only a part dies, and lives on. `sure`: no
    /// key counts of which it is not known whether it was made.
    fn in_part(&self, whole: &BTreeSet<String>, parts: &[&String], sure: bool) -> Edges {
        let lives = |who: &String| {
            let dead = &self.people[who].dead;
            let maybe = |(subject, _, epoch): &&(String, String, usize)| {
                subject == who && !dead.contains(epoch)
            };
            self.parts.iter().any(|part| part.subject == *who && self.lives(part))
                || (!sure && self.keys.iter().any(|key| maybe(&key)))
        };
        let mut found = Edges::new();
        let mut todo: Vec<&String> = parts.to_vec();
        while let Some(owner) = todo.pop() {
            let owned = |someone: &Someone| {
                let tenures = &someone.tenures[someone.since.min(someone.tenures.len())..];
                tenures.iter().any(|epoch| epoch.owners.contains(&Some(owner.clone())))
            };
            for (who, someone) in &self.people {
                if whole.contains(who) || !owned(someone) || !lives(who) {
                    continue;
                }
                let first = found.iter().all(|(other, _)| other != who);
                found.insert((who.clone(), owner.clone()));
                if first && !parts.contains(&who) {
                    todo.push(who);
                }
            }
        }
        found
    }

    /// Forgets, but for what is under a key that is spared.
    pub(crate) fn forget(
        &mut self,
        who: &str,
        planned_whole: &BTreeSet<String>,
        spared: &BTreeSet<KeyId>,
    ) -> Fate {
        self.people.entry(who.to_owned()).or_default().current();
        let whole = self.falling(who, planned_whole);
        let mut partly: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for other in self.people.keys().filter(|other| !whole.contains(*other)) {
            let dying = self.dying(other, &whole);
            if !self.is_gone(other) && self.leads(other, &dying, &whole) {
                partly.insert(other.clone(), dying);
            }
        }

        let parts: Vec<&String> = partly.keys().collect();
        let in_part = (self.in_part(&whole, &parts, true), self.in_part(&whole, &parts, false));

        let before: Vec<bool> = self.parts.iter().map(|part| self.lives(part)).collect();
        for (part, lived) in self.parts.iter_mut().zip(&before) {
            let dies = |tenures: &Vec<usize>| tenures.contains(&part.epoch);
            if whole.contains(&part.subject) || partly.get(&part.subject).is_some_and(dies) {
                part.spared = *lived && part.key.is_some_and(|key| spared.contains(&key));
            }
        }
        let mut may = BTreeSet::new();
        for gone in whole.iter().chain(partly.keys()) {
            may.insert(gone.clone());
            let theirs = self.keys.iter().filter(|(subject, ..)| subject == gone);
            may.extend(theirs.map(|(_, stream, _)| stream.clone()));
        }
        for gone in &whole {
            let someone = self.people.get_mut(gone).unwrap();
            someone.dead.extend(0..someone.tenures.len());
            someone.since = someone.tenures.len();
            someone.lives += 1;
            someone.closed = true;
            for other in self.people.values_mut() {
                for owner in other.tenures.iter_mut().flat_map(|epoch| &mut epoch.owners) {
                    if owner.as_ref() == Some(gone) {
                        *owner = None;
                    }
                }
            }
        }
        for (gone, tenures) in partly {
            let someone = self.people.get_mut(&gone).unwrap();
            // Whoever lost the newest part is closed: what would come next is nobody's.
            someone.closed |= tenures.contains(&(someone.tenures.len() - 1));
            someone.dead.extend(tenures);
        }
        let died =
            self.parts.iter().zip(before).filter(|(part, lived)| *lived && !self.lives(part));
        let mut must: BTreeSet<String> = died.map(|(part, _)| part.stream.clone()).collect();
        must.extend(whole.into_iter().filter(|gone| self.streams.contains(gone)));
        Fate { tombstones: (must, may), in_part }
    }

    pub(crate) fn reopen(&mut self, who: &str) {
        let Some(someone) = self.people.get_mut(who).filter(|someone| someone.closed) else {
            return;
        };
        someone.closed = false;
        if someone.tenures.len() > someone.since {
            someone.tenures.push(Tenure::default());
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
