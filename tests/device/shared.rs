//! What the tests of root slots in devices share.

use oubliette::{
    event::{ErasureId, KeyId, Layout, PolicyDigest, StreamName, Subject},
    vault::{
        Vault,
        internals::{Dead, Destruction, Doomed, KeyRequest, Plumbing as _},
    },
};

pub(crate) async fn key_of(vault: &Vault, name: &str) -> KeyId {
    let stream = StreamName::new(name).unwrap();
    let request = KeyRequest {
        stream: &stream,
        subject: &Subject::new(name).unwrap(),
        generation: None,
        layout: Layout::Sealed,
        policy: PolicyDigest([0; 8]),
    };
    vault.sealing_key(request, 1).await.unwrap().id()
}

pub(crate) async fn forget(vault: &Vault, name: &str) {
    let doomed = vec![Doomed { subject: Subject::new(name).unwrap(), dead: Dead::All }];
    let destruction = Destruction::new(ErasureId::now(), doomed);
    vault.destroy(&destruction, b"").await.unwrap();
}
