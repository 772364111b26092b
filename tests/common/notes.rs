//! What a vault notes of an erasure, for those who have it destroy keys without a layer.

use oubliette::{
    event::{ErasureId, EventType, Json, NewEvent, StreamName, Subject},
    layer::Oubliette,
    policy::Policy,
    store::{EventStoreExt, ExpectedRevision, MemoryStore},
    vault::{
        Vault,
        internals::{MemoKind, Plumbing as _},
    },
};

const POLICY: &str = r#"
[[stream]]
match  = "account-{id}"
layout = "inline"
public = ["/owner"]
owner  = [ { event = "Opened", add = "{/owner}" } ]
"#;

/// The note of an erasure that destroys no key, as a layer leaves it, with this erasure's id.
pub(crate) async fn note_of(erasure: ErasureId) -> Vec<u8> {
    let vault = Vault::in_memory().unwrap();
    let policy = Policy::parse(POLICY).unwrap();
    let layer = Oubliette::open(MemoryStore::new(), vault.clone(), policy).await.unwrap();
    for owner in ["user-1", "user-2"] {
        let data = Json::parse(&format!(r#"{{"owner":"{owner}","memo":"x"}}"#)).unwrap();
        let event = NewEvent::new(EventType::new("Opened").unwrap(), data);
        let to = StreamName::new("account-1").unwrap();
        layer.append_to(&to, ExpectedRevision::Any, vec![event]).await.unwrap();
    }
    let other = layer.forget(&Subject::new("user-1").unwrap(), "model").await.unwrap().erasure;
    let notes = vault.memos(MemoKind::Erasure).unwrap();
    let text = std::str::from_utf8(&notes[0].1).unwrap();
    text.replace(&other.to_string(), &erasure.to_string()).into_bytes()
}
