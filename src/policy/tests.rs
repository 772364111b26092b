mod carving;
mod errors;
mod properties;
mod streams;

use super::*;
use crate::event::{EventType, Filling, Node};

fn policy(toml: &str) -> Policy {
    Policy::parse(toml).unwrap_or_else(|errors| panic!("{errors}\n{toml}"))
}

fn stream(name: &str) -> StreamName {
    StreamName::new(name).unwrap()
}

fn subject(name: &str) -> Subject {
    Subject::new(name).unwrap()
}

/// Carves an event that names no subject itself.
fn carve(toml: &str, name: &str, event_type: &str, data: &str) -> Result<Carved, PolicyRefusal> {
    carve_as(toml, name, event_type, None, data)
}

fn carve_as(
    toml: &str,
    name: &str,
    event_type: &str,
    given: Option<&str>,
    data: &str,
) -> Result<Carved, PolicyRefusal> {
    let given = given.map(subject);
    let facts = EventFacts {
        stream: &stream(name),
        event_type: &EventType::new(event_type).unwrap(),
        subject: given.as_ref(),
    };
    policy(toml).carve(&facts, &Json::parse(data).unwrap().into(), None)
}

/// Puts the parts of some subjects back into what is public, as a reader would.
fn rebuild(carved: &Carved, readable: impl Fn(&Subject) -> bool) -> String {
    let mut tree = carved.public.as_ref().map_or(Node::Object(Vec::new()), Json::tree);
    let parts: Vec<_> = carved.parts.iter().filter(|part| readable(&part.subject)).collect();
    let mut fillings = Vec::new();
    for part in &parts {
        match &part.body {
            Body::Fields(text) => fillings.extend(Filling::read_all(text).unwrap()),
            Body::Nothing => {}
            Body::Whole => panic!("a whole payload has nothing to put together"),
        }
    }
    assert!(tree.fill_all(fillings, false));
    tree.to_text()
}
