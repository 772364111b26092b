mod cutting;
mod errors;
mod properties;
mod streams;

use super::*;
use crate::event::{EventType, Fillings, Tree, fill};

fn policy(toml: &str) -> Policy {
    Policy::parse(toml).unwrap_or_else(|errors| panic!("{errors}\n{toml}"))
}

fn stream(name: &str) -> StreamName {
    StreamName::new(name).unwrap()
}

fn subject(name: &str) -> Subject {
    Subject::new(name).unwrap()
}

/// Cuts an event that names no subject itself.
fn cut(toml: &str, name: &str, event_type: &str, data: &str) -> Result<CutEvent, PolicyRefusal> {
    cut_as(toml, name, event_type, None, data)
}

fn cut_as(
    toml: &str,
    name: &str,
    event_type: &str,
    given: Option<&str>,
    data: &str,
) -> Result<CutEvent, PolicyRefusal> {
    let given = given.map(subject);
    let facts = EventFacts {
        stream: &stream(name),
        event_type: &EventType::new(event_type).unwrap(),
        subject: given.as_ref(),
    };
    policy(toml).cut(&facts, &Json::parse(data).unwrap().into(), None)
}

/// Puts the parts of some subjects back into what is public, as a reader would.
fn rebuild(pieces: &CutEvent, readable: impl Fn(&Subject) -> bool) -> String {
    let parts: Vec<_> = pieces.parts.iter().filter(|part| readable(&part.subject)).collect();
    let texts = parts.iter().filter_map(|part| match &part.body {
        Body::Fields(text) => Some(text.as_str()),
        Body::Nothing => None,
        Body::Whole => panic!("a whole payload has nothing to put together"),
    });
    rebuild_from(pieces.public.as_ref(), texts, parts.len() < pieces.parts.len())
}

fn rebuild_from<'t>(
    public: Option<&Json>,
    texts: impl Iterator<Item = &'t str>,
    gaps: bool,
) -> String {
    let read: Vec<Fillings<'_>> = texts.map(|text| Fillings::read(text).unwrap()).collect();
    let all = read.iter().flat_map(Fillings::iter).map(Result::unwrap).collect();
    let tree = public.map(Json::tree);
    fill(tree.as_ref().map(Tree::root), &[], all, gaps).unwrap().as_str().to_owned()
}
