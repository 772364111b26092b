//! Who falls with whom.
//!
//! A dependent falls when no one outside of those who fall keeps it. That cannot be found by
//! following edges from the one who asked: two accounts that own each other, both owned by them,
//! would each wait for the other. So everybody who can be reached counts as falling at first, and
//! all who are kept from outside are taken out, until there is none left to take out: what remains is the
//! largest set of which none is kept. It must also hang together. Two accounts that own each other
//! do not fall by themselves: each of the fallen is led to from the one who asked, by owners who
//! fall and by parts that die.
//!
//! Here each subject is looked up once, and each edge is walked over a few times. The plan looks those up
//! again of whom it says more.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use crate::{
    event::{Generation, Subject},
    vault::{Owner, SubjectState, Vault, VaultError},
};

/// A span of generations, both ends inclusive.
pub(super) type Span = (Generation, Generation);

/// Someone whose keys die.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fall {
    /// How many owner edges from the one who asked.
    pub(super) depth: u32,
    /// The owner through whom they fall.
    pub(super) through: Option<Subject>,
    /// The spans that die; `None`: all.
    pub(super) spans: Option<Vec<Span>>,
}

/// A dependent of somebody who falls, that does not fall.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stays {
    pub(super) subject: Subject,
    /// The owners who keep it; empty where the edge to the fallen is not in force.
    pub(super) by: Vec<Subject>,
    /// The owners who lose what they had in the time of somebody who falls, and live on. How much of the
    /// dependent is of that time is not known: a change of hands begins a generation in the stream
    /// that changes hands, and in none that depends on it.
    pub(super) in_part: Vec<Subject>,
}

/// Who falls and who stays.
#[derive(Debug, Default)]
pub(super) struct Cascade {
    pub(super) losses: Vec<(Subject, Fall)>,
    pub(super) stays: Vec<Stays>,
}

/// What has to be known of subjects.
pub(super) trait Edges {
    /// Who ever named this subject as an owner.
    fn dependents(&self, owner: &Subject) -> Result<Vec<Subject>, VaultError>;
    /// Returns the state of a subject.
    fn subject_state(&self, subject: &Subject) -> Result<SubjectState, VaultError>;
    /// The generations of a subject's living keys.
    fn living(&self, subject: &Subject) -> Result<Vec<Generation>, VaultError>;
}

impl Edges for Vault {
    fn dependents(&self, owner: &Subject) -> Result<Vec<Subject>, VaultError> {
        self.dependents(owner)
    }

    fn subject_state(&self, subject: &Subject) -> Result<SubjectState, VaultError> {
        self.subject_state(subject)
    }

    fn living(&self, subject: &Subject) -> Result<Vec<Generation>, VaultError> {
        Ok(self.keys_of(subject)?.iter().map(|key| key.generation).collect())
    }
}

impl Cascade {
    /// What forgetting `asked` brings about. No one falls by an unsettled claim, and what
    /// somebody may own by one does not fall with the others: it is said not to be reached.
    pub(super) fn of(edges: &impl Edges, asked: &Subject) -> Result<Self, VaultError> {
        let mut graph = Graph::reach(edges, asked)?;
        graph.let_fall();
        let led_to = graph.hold_together();
        Ok(graph.fates(&led_to))
    }
}

/// A time with the same owners.
struct Tenure {
    span: Span,
    any: bool,
    /// Those who count, but for such as were forgotten earlier and are no longer named.
    owners: Vec<Subject>,
    /// How many owners count, or will if their claims are settled so.
    all: usize,
    /// How many of these fall, or were forgotten earlier.
    falling: usize,
    /// Whether something would outlive the rest in it: what is sealed next, or a living key.
    matters: bool,
}

impl Tenure {
    fn dies(&self) -> bool {
        if self.any { self.falling > 0 } else { self.all > 0 && self.falling == self.all }
    }
}

struct Node {
    who: Subject,
    tenures: Vec<Tenure>,
    /// Whether it has keys of a time before its first owners.
    older_keys: bool,
    closed: bool,
    keys: usize,
    /// Whether all of it falls, as far as is known.
    falls: bool,
    dependents: Vec<usize>,
    /// The tenures (of which node, which of its) that this one owns.
    owns: Vec<(usize, usize)>,
}

impl Node {
    /// Whether nothing of it outlives the tenures that die.
    fn leaves_nothing(&self) -> bool {
        !self.older_keys
            && !self.tenures.is_empty()
            && self.tenures.iter().all(|tenure| !tenure.matters || tenure.dies())
    }
}

/// Everybody who can be reached; the first is the one who asked.
struct Graph(Vec<Node>);

impl Graph {
    fn reach(edges: &impl Edges, asked: &Subject) -> Result<Self, VaultError> {
        let mut nodes = vec![node(edges, asked.clone(), edges.subject_state(asked)?)?];
        // `None`: nothing of them is left.
        let mut known: HashMap<Subject, Option<usize>> = HashMap::from([(asked.clone(), Some(0))]);
        let mut next = 0;
        while next < nodes.len() {
            let mut dependents = edges.dependents(&nodes[next].who)?;
            dependents.sort_unstable();
            for dependent in dependents {
                let at = match known.get(&dependent) {
                    Some(at) => *at,
                    None => {
                        let state = edges.subject_state(&dependent)?;
                        let node = node(edges, dependent.clone(), state)?;
                        // One who changed hands may be closed on behalf of the newer owner while
                        // keys of the older one's time still live.
                        let gone = node.closed && node.keys == 0;
                        let at = (!gone).then_some(nodes.len());
                        if !gone {
                            nodes.push(node);
                        }
                        known.insert(dependent, at);
                        at
                    }
                };
                nodes[next].dependents.extend(at);
            }
            next += 1;
        }
        let mut owns: Vec<Vec<(usize, usize)>> = vec![Vec::new(); nodes.len()];
        for (at, node) in nodes.iter_mut().enumerate() {
            for (number, tenure) in node.tenures.iter_mut().enumerate() {
                for owner in &tenure.owners {
                    if let Some(Some(owner)) = known.get(owner) {
                        owns[*owner].push((at, number));
                        tenure.falling += 1;
                    }
                }
            }
        }
        for (node, owns) in nodes.iter_mut().zip(owns) {
            node.owns = owns;
        }
        Ok(Self(nodes))
    }

    /// Takes out all who are kept, and then all who are kept by them.
    fn let_fall(&mut self) {
        let kept: Vec<usize> =
            (1..self.0.len()).filter(|at| !self.0[*at].leaves_nothing()).collect();
        self.take_out(kept);
    }

    fn take_out(&mut self, mut kept: Vec<usize>) {
        kept.retain(|at| std::mem::take(&mut self.0[*at].falls));
        while let Some(at) = kept.pop() {
            for i in 0..self.0[at].owns.len() {
                let (dependent, tenure) = self.0[at].owns[i];
                let node = &mut self.0[dependent];
                let tenure = &mut node.tenures[tenure];
                tenure.falling -= 1;
                if node.falls && dependent != 0 && tenure.matters && !tenure.dies() {
                    node.falls = false;
                    kept.push(dependent);
                }
            }
        }
    }

    /// Takes out those whom only others hold among those who fall, and not the one who asked. Returns
    /// how each is led to: its depth, and the owner before it.
    fn hold_together(&mut self) -> HashMap<usize, (u32, Option<usize>)> {
        loop {
            let mut led_to = HashMap::from([(0, (0, None))]);
            let mut queue = VecDeque::from([0]);
            while let Some(owner) = queue.pop_front() {
                let depth = led_to.get(&owner).map_or(0, |(depth, _)| depth + 1);
                for &(dependent, tenure) in &self.0[owner].owns {
                    let node = &self.0[dependent];
                    if !node.tenures[tenure].dies() || led_to.contains_key(&dependent) {
                        continue;
                    }
                    led_to.insert(dependent, (depth, Some(owner)));
                    // Who lost only some generations is not forgotten. No one falls with them, but
                    // who depends on them is told: see `below_parts`.
                    if node.falls {
                        queue.push_back(dependent);
                    }
                }
            }
            let apart: Vec<usize> = (1..self.0.len())
                .filter(|at| self.0[*at].falls && !led_to.contains_key(at))
                .collect();
            if apart.is_empty() {
                return led_to;
            }
            self.take_out(apart);
        }
    }

    /// Who depends, by however many steps, on somebody of whom only a part dies; and on which owner.
    fn below_parts(
        &self,
        led_to: &HashMap<usize, (u32, Option<usize>)>,
    ) -> HashMap<usize, BTreeSet<usize>> {
        let nodes = &self.0;
        let mut below: HashMap<usize, BTreeSet<usize>> = HashMap::new();
        let mut todo: Vec<usize> = led_to.keys().copied().filter(|at| !nodes[*at].falls).collect();
        while let Some(owner) = todo.pop() {
            for &(dependent, _) in &nodes[owner].owns {
                let node = &nodes[dependent];
                // One who falls wholly leaves nothing; of whom a part falls, that part is known.
                if dependent == 0 || node.falls || node.keys == 0 {
                    continue;
                }
                let known = below.contains_key(&dependent);
                below.entry(dependent).or_default().insert(owner);
                if !known && !led_to.contains_key(&dependent) {
                    todo.push(dependent);
                }
            }
        }
        below
    }

    fn fates(self, led_to: &HashMap<usize, (u32, Option<usize>)>) -> Cascade {
        let nodes = &self.0;
        let mut fates = Cascade::default();
        let mut in_part = self.below_parts(led_to);
        let mut stays: HashSet<usize> = in_part.keys().copied().collect();
        for (at, node) in nodes.iter().enumerate() {
            if let Some((depth, through)) = led_to.get(&at) {
                let dead = node.tenures.iter().filter(|tenure| tenure.dies());
                let cascade = Fall {
                    depth: *depth,
                    through: through.map(|owner| nodes[owner].who.clone()),
                    spans: (!node.falls).then(|| dead.map(|tenure| tenure.span).collect()),
                };
                fates.losses.push((node.who.clone(), cascade));
            }
            if node.falls {
                // Also one that is closed on behalf of a newer owner: what is older lives on.
                stays.extend(node.dependents.iter().filter(|at| !led_to.contains_key(*at)));
            }
        }
        let falls: HashSet<&Subject> =
            nodes.iter().filter(|node| node.falls).map(|node| &node.who).collect();
        let mut stays: Vec<Stays> = stays
            .into_iter()
            .map(|at| {
                let in_part = in_part.remove(&at).unwrap_or_default();
                let in_part = in_part.into_iter().map(|owner| nodes[owner].who.clone()).collect();
                nodes[at].stays(&falls, in_part)
            })
            .collect();
        stays.sort_unstable_by(|a, b| a.subject.cmp(&b.subject));
        fates.stays = stays;
        fates
    }
}

impl Node {
    /// Who keeps it: of a time that lives on and that somebody who falls owned, the others.
    fn stays(&self, falls: &HashSet<&Subject>, in_part: Vec<Subject>) -> Stays {
        let shared = self.tenures.iter().filter(|tenure| tenure.falling > 0 && !tenure.dies());
        let mut by: Vec<Subject> = shared
            .flat_map(|tenure| &tenure.owners)
            .filter(|owner| !falls.contains(owner))
            .cloned()
            .collect();
        by.sort_unstable();
        by.dedup();
        Stays { subject: self.who.clone(), by, in_part }
    }
}

fn node(edges: &impl Edges, who: Subject, state: SubjectState) -> Result<Node, VaultError> {
    let mut living = edges.living(&who)?;
    living.sort_unstable();
    let mut tenures = Vec::with_capacity(state.tenures.len());
    for (i, tenure) in state.tenures.iter().enumerate() {
        let next = state.tenures.get(i + 1);
        let to = next.map_or(Generation(u32::MAX), |next| Generation(next.from.0 - 1));
        let span = (tenure.from, to);
        let counting = tenure.owners.iter().filter(|owner| owner.unsettled.is_none());
        let (mut owners, mut all) = (Vec::new(), 0);
        for owner in counting {
            all += 1;
            owners.extend(owner.subject.clone());
        }
        let mut falling = all - owners.len();
        let may_own = |owner: &&Owner| {
            owner.unsettled.is_some()
                && owner.subject.as_ref().is_none_or(|subject| !owners.contains(subject))
        };
        if tenure.unsettled.is_some() {
            // It is not known whose this time is.
            (owners, all, falling) = (Vec::new(), 1, 0);
        } else {
            all += tenure.owners.iter().filter(may_own).count();
        }
        // What was never sealed in keeps no one, unless something would be sealed in it next.
        let first = living.partition_point(|generation| *generation < span.0);
        let sealed = living.get(first).is_some_and(|generation| *generation <= span.1);
        tenures.push(Tenure {
            span,
            any: tenure.any,
            // Who is no longer named was forgotten earlier.
            falling,
            owners,
            all,
            matters: next.is_none() || sealed,
        });
    }
    Ok(Node {
        older_keys: tenures.first().zip(living.first()).is_some_and(|(e, key)| *key < e.span.0),
        keys: living.len(),
        closed: state.fence.is_some_and(|fence| fence.closed),
        falls: true,
        who,
        tenures,
        dependents: Vec::new(),
        owns: Vec::new(),
    })
}

#[cfg(test)]
mod tests;
