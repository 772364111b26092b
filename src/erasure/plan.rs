//! What would go: the transitive closure over owner edges.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use super::ErasureError;
use crate::{
    event::{Cause, ErasureId, Generation, StreamName, Subject},
    vault::{Dead, Epoch, KeyInfo, Standing, Vault},
};

/// What an erasure would do, or does: whose keys die, where tombstones are set, and what stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Plan {
    /// Who is to be forgotten.
    pub subject: Subject,
    /// The erasure that did it, where it is done already.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub already: Option<ErasureId>,
    /// Whose keys die: the subject, and all who depend on them.
    pub subjects: Vec<AffectedSubject>,
    /// The streams that lose events, each of which gets a tombstone.
    pub streams: Vec<AffectedStream>,
    /// Dependents that stay, and why.
    pub kept: Vec<Kept>,
}

/// A subject whose keys die.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AffectedSubject {
    /// Who.
    pub subject: Subject,
    /// How many owner edges from the one who asked.
    pub depth: u32,
    /// The owner through whom they are affected; `None` for the one who asked.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub through: Option<Subject>,
    /// The spans of generations that die (both ends inclusive); `None`: all, and the subject is
    /// closed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub generations: Option<Vec<(Generation, Generation)>>,
    /// The newest generation that had begun when this was planned.
    #[serde(default = "unknown")]
    pub begun: Generation,
    /// How many keys.
    pub keys: u64,
}

fn unknown() -> Generation {
    Generation(u32::MAX)
}

/// A stream that loses events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AffectedStream {
    /// The logical stream.
    pub stream: StreamName,
    /// Its tombstone's cause.
    pub cause: Cause,
    /// Its tombstone's depth.
    pub depth: u32,
    /// The ids of the keys that die in it.
    pub keys: Vec<String>,
    /// About how many sealed parts become unreadable in it.
    pub sealed_about: u64,
    /// Whether the stream's own subject is forgotten: only then the tombstone names them.
    pub own: bool,
}

/// A dependent that stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Kept {
    /// Who.
    pub subject: Subject,
    /// Why.
    pub why: String,
}

/// Someone whose keys die, while the plan is being made.
struct Doom {
    depth: u32,
    through: Option<Subject>,
    /// `None`: all.
    spans: Option<Vec<(Generation, Generation)>>,
}

impl Plan {
    /// Follows the owner edges from `subject`. Cycles are fine; a joint dependent goes when its
    /// last owner goes, or any, as its policy said; a dependent that changed hands loses the
    /// generations of the forgotten owner only.
    ///
    /// Blocks for page reads. Claims that nobody settled do not count.
    pub(super) fn make(vault: &Vault, subject: &Subject) -> Result<Self, ErasureError> {
        let standing = vault.standing(subject)?;
        if let Some(fence) = &standing.fence
            && fence.closed
            && vault.keys_of(subject)?.is_empty()
        {
            let already = fence.dead.last().map(|&(_, _, erasure)| erasure);
            return Ok(Self {
                subject: subject.clone(),
                already,
                subjects: vec![],
                streams: vec![],
                kept: vec![],
            });
        }

        let mut doomed: BTreeMap<Subject, Doom> = BTreeMap::new();
        doomed.insert(subject.clone(), Doom { depth: 0, through: None, spans: None });
        let mut standings: HashMap<Subject, Standing> = HashMap::new();
        let mut seen: BTreeSet<Subject> = BTreeSet::new();

        // Until nothing changes: a joint dependent may be reached before its last owner is.
        let mut frontier = vec![subject.clone()];
        while let Some(owner) = frontier.pop() {
            let (depth, gone) = match doomed.get(&owner) {
                Some(doom) => (doom.depth, doom.spans.is_none()),
                None => continue,
            };
            // Who lost only some generations is not forgotten, and nobody falls with them.
            if !gone {
                continue;
            }
            for dependent in vault.dependents(&owner)? {
                seen.insert(dependent.clone());
                if doomed.get(&dependent).is_some_and(|doom| doom.spans.is_none()) {
                    continue;
                }
                let standing = match standings.get(&dependent) {
                    Some(standing) => standing,
                    None => {
                        let standing = vault.standing(&dependent)?;
                        standings.entry(dependent.clone()).or_insert(standing)
                    }
                };
                if is_gone(vault, &dependent, standing)? {
                    continue;
                }
                let spans = dead_spans(&standing.epochs, |owner| {
                    doomed.get(owner).is_some_and(|doom| doom.spans.is_none())
                });
                if spans.is_empty() {
                    continue;
                }
                let all = leaves_nothing(vault, &dependent, standing, &spans)?;
                let doom = Doom {
                    depth: depth + 1,
                    through: Some(owner.clone()),
                    spans: (!all).then_some(spans),
                };
                doomed.insert(dependent.clone(), doom);
                if all {
                    frontier.push(dependent);
                }
            }
        }

        let kept = seen.into_iter().filter(|dependent| !doomed.contains_key(dependent)).filter_map(
            |dependent| {
                let standing = standings.get(&dependent)?;
                if standing.fence.as_ref().is_some_and(|fence| fence.closed) {
                    return None;
                }
                let joint = standing.epochs.iter().any(|epoch| epoch.owners.len() > 1);
                let why = if joint {
                    "another owner is not forgotten"
                } else {
                    "the owner edge is no longer, or not yet, in force"
                };
                Some(Kept { subject: dependent, why: why.to_owned() })
            },
        );
        let kept = kept.collect();
        Self::gather(vault, subject, doomed, kept)
    }

    fn gather(
        vault: &Vault,
        subject: &Subject,
        doomed: BTreeMap<Subject, Doom>,
        kept: Vec<Kept>,
    ) -> Result<Self, ErasureError> {
        let mut subjects = Vec::new();
        let mut streams: BTreeMap<StreamName, AffectedStream> = BTreeMap::new();
        for (who, doom) in doomed {
            let dies = |key: &KeyInfo| match &doom.spans {
                None => true,
                Some(spans) => {
                    spans.iter().any(|(from, to)| (*from..=*to).contains(&key.generation))
                }
            };
            let keys: Vec<KeyInfo> = vault.keys_of(&who)?.into_iter().filter(dies).collect();
            let cause = if doom.depth == 0 { Cause::Request } else { Cause::OwnerForgotten };
            let own = who.stream();
            let empty = |stream: StreamName| AffectedStream {
                stream,
                cause,
                depth: doom.depth,
                keys: vec![],
                sealed_about: 0,
                own: false,
            };
            if doom.spans.is_none() {
                // Without a key of its own, too: a wholly public stream is affected as well.
                streams.entry(own.clone()).or_insert_with(|| empty(own)).own = true;
            }
            for key in &keys {
                let stream =
                    streams.entry(key.stream.clone()).or_insert_with(|| empty(key.stream.clone()));
                if doom.depth < stream.depth {
                    (stream.depth, stream.cause) = (doom.depth, cause);
                }
                stream.keys.push(key.id.to_string());
                stream.sealed_about += key.sealed_about;
            }
            subjects.push(AffectedSubject {
                begun: begun(vault, &who)?,
                subject: who,
                depth: doom.depth,
                through: doom.through,
                generations: doom.spans,
                keys: keys.len() as u64,
            });
        }
        subjects.sort_by(|a, b| (a.depth, &a.subject).cmp(&(b.depth, &b.subject)));
        let mut streams: Vec<AffectedStream> = streams.into_values().collect();
        streams.sort_by(|a, b| (a.depth, &a.stream).cmp(&(b.depth, &b.stream)));
        Ok(Self { subject: subject.clone(), already: None, subjects, streams, kept })
    }

    /// Adds what a plan that was made later has more: an erasure that is decided takes no less
    /// than was decided. Of dependents it takes no generation that began since, unless the later
    /// plan says so: whoever became an owner meanwhile is not forgotten. Returns whether anything
    /// is different.
    pub(super) fn extend(&mut self, later: Self) -> bool {
        let before = self.clone();
        let parts_only = |affected: &AffectedSubject| {
            let now = later.subjects.iter().find(|now| now.subject == affected.subject);
            now.is_none_or(|now| now.generations.is_some())
        };
        for ours in self.subjects.iter_mut().filter(|ours| parts_only(ours)) {
            ours.confine();
        }
        for theirs in later.subjects {
            match self.subjects.iter_mut().find(|ours| ours.subject == theirs.subject) {
                None => self.subjects.push(theirs),
                Some(ours) => {
                    ours.keys = ours.keys.max(theirs.keys);
                    ours.begun = theirs.begun;
                    ours.generations = match (ours.generations.take(), theirs.generations) {
                        (Some(mut spans), Some(others)) => {
                            spans.extend(
                                others
                                    .iter()
                                    .filter(|span| !spans.contains(span))
                                    .copied()
                                    .collect::<Vec<_>>(),
                            );
                            Some(spans)
                        }
                        _ => None,
                    };
                }
            }
        }
        for theirs in later.streams {
            match self.streams.iter_mut().find(|ours| ours.stream == theirs.stream) {
                None => self.streams.push(theirs),
                Some(ours) => {
                    let new = theirs.keys.into_iter().filter(|key| !ours.keys.contains(key));
                    ours.keys.extend(new.collect::<Vec<_>>());
                    ours.sealed_about = ours.sealed_about.max(theirs.sealed_about);
                    ours.own |= theirs.own;
                }
            }
        }
        (&self.subjects, &self.streams) != (&before.subjects, &before.streams)
    }

    /// Of dependents, only the generations that had begun when this was planned.
    pub(super) fn confine(&mut self) {
        self.subjects.iter_mut().for_each(AffectedSubject::confine);
    }

    /// How many keys die.
    pub fn keys(&self) -> u64 {
        self.subjects.iter().map(|affected| affected.keys).sum()
    }

    /// Who dies with which generations, in the vault's words.
    pub(super) fn doomed(&self) -> Vec<crate::vault::Doomed> {
        let doomed = |affected: &AffectedSubject| crate::vault::Doomed {
            subject: affected.subject.clone(),
            dead: affected.generations.clone().map_or(Dead::All, Dead::Spans),
        };
        self.subjects.iter().map(doomed).collect()
    }
}

impl AffectedSubject {
    fn confine(&mut self) {
        if self.depth == 0 || self.begun == unknown() {
            return;
        }
        let spans = self.generations.take().unwrap_or_else(|| vec![(Generation::FIRST, unknown())]);
        let ended = spans.into_iter().map(|(from, to)| (from, to.min(self.begun)));
        self.generations = Some(ended.filter(|(from, to)| from <= to).collect());
    }
}

/// The newest generation that a subject began, as far as it is settled.
fn begun(vault: &Vault, subject: &Subject) -> Result<Generation, ErasureError> {
    let standing = vault.standing(subject)?;
    let epochs = standing.epochs.iter().filter(|epoch| epoch.unsettled.is_none());
    let dead = standing.fence.iter().flat_map(|fence| fence.dead.iter().map(|&(_, to, _)| to));
    let begun = epochs.map(|epoch| epoch.from).chain(dead).chain(standing.current).max();
    Ok(begun.unwrap_or(Generation::FIRST))
}

/// Whether nothing of a subject is left. One who changed hands may be closed on behalf of the
/// newer owner while keys of the older one's time still live.
fn is_gone(vault: &Vault, subject: &Subject, standing: &Standing) -> Result<bool, ErasureError> {
    let closed = standing.fence.as_ref().is_some_and(|fence| fence.closed);
    Ok(closed && vault.keys_of(subject)?.is_empty())
}

/// Whether these spans are all that there is of a subject: what they would seal next, and every
/// key that lives. An epoch in which nothing was ever sealed keeps nobody.
fn leaves_nothing(
    vault: &Vault,
    subject: &Subject,
    standing: &Standing,
    spans: &[(Generation, Generation)],
) -> Result<bool, ErasureError> {
    let dies = |generation| spans.iter().any(|(from, to)| (*from..=*to).contains(&generation));
    let newest = standing.epochs.iter().rfind(|epoch| epoch.unsettled.is_none());
    Ok(newest.is_some_and(|epoch| dies(epoch.from))
        && vault.keys_of(subject)?.iter().all(|key| dies(key.generation)))
}

/// The spans of generations whose owners are forgotten.
fn dead_spans(
    epochs: &[Epoch],
    is_forgotten: impl Fn(&Subject) -> bool,
) -> Vec<(Generation, Generation)> {
    let mut spans = Vec::new();
    for (i, epoch) in epochs.iter().enumerate() {
        if epoch.unsettled.is_some() {
            continue;
        }
        // An owner who is no longer named was forgotten earlier.
        let owners = epoch.owners.iter().filter(|owner| owner.unsettled.is_none());
        let fate: Vec<bool> =
            owners.map(|owner| owner.subject.as_ref().is_none_or(&is_forgotten)).collect();
        let dies = if epoch.any {
            fate.contains(&true)
        } else {
            !fate.is_empty() && !fate.contains(&false)
        };
        if dies {
            let next = epochs[i + 1..].iter().find(|next| next.unsettled.is_none());
            let to = next.map_or(Generation(u32::MAX), |next| Generation(next.from.0 - 1));
            spans.push((epoch.from, to));
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{event::EventId, vault::Owner};

    fn subject(name: &str) -> Subject {
        Subject::new(name).unwrap()
    }

    fn epoch(from: u32, owners: &[Option<&str>], any: bool) -> Epoch {
        let owner = |name: &Option<&str>| Owner { subject: name.map(subject), unsettled: None };
        Epoch {
            from: Generation(from),
            unsettled: None,
            owners: owners.iter().map(owner).collect(),
            any,
        }
    }

    fn span(from: u32, to: u32) -> (Generation, Generation) {
        (Generation(from), Generation(to))
    }

    #[test]
    fn the_last_owner_takes_the_dependent_along_or_any() {
        let is = |who: &'static str| move |owner: &Subject| owner.as_str() == who;
        let joint = [epoch(1, &[Some("a"), Some("b")], false)];
        assert_eq!(dead_spans(&joint, is("a")), []);
        assert_eq!(
            dead_spans(&[epoch(1, &[Some("a"), None], false)], is("a")),
            [span(1, u32::MAX)]
        );
        assert_eq!(
            dead_spans(&[epoch(1, &[Some("a"), Some("b")], true)], is("b")),
            [span(1, u32::MAX)]
        );
        assert_eq!(dead_spans(&[epoch(1, &[], false)], is("a")), []);
    }

    #[test]
    fn only_the_generations_of_the_forgotten_owner_die() {
        let is_old = |owner: &Subject| owner.as_str() == "old";
        let epochs = [epoch(1, &[Some("old")], false), epoch(3, &[Some("new")], false)];
        assert_eq!(dead_spans(&epochs, is_old), [span(1, 2)]);
    }

    #[test]
    fn what_nobody_settled_does_not_count() {
        let is = |owner: &Subject| owner.as_str() == "a";
        let mut pending = epoch(1, &[Some("a")], false);
        pending.owners[0].unsettled = Some(EventId::random());
        assert_eq!(dead_spans(&[pending], is), []);
        let mut begun = epoch(2, &[Some("b")], false);
        begun.unsettled = Some(EventId::random());
        assert_eq!(dead_spans(&[epoch(1, &[Some("a")], false), begun], is), [span(1, u32::MAX)]);
    }
}
