//! What the tests of root slots in devices share.

use oubliette::{
    event::{ErasureId, KeyId, Layout, PolicyDigest, StreamName, Subject},
    vault::{
        Vault,
        internals::{Dead, Destruction, KeyRequest, Loss, Plumbing as _},
    },
};
use sha2::{Digest, Sha256};

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
    let losses = vec![Loss { subject: Subject::new(name).unwrap(), dead: Dead::All }];
    let destruction = Destruction::new(ErasureId::now(), losses);
    vault.destroy(&destruction, b"").await.unwrap();
}

/// A sector of a root slot with another number of its format, and the sum that it has then.
pub(crate) fn of_format(sector: &[u8], format: u32) -> Vec<u8> {
    let (body, _) = sector.split_last_chunk::<32>().unwrap();
    let mut body = body.to_vec();
    body[16..20].copy_from_slice(&format.to_be_bytes());
    let sum = Sha256::digest(&body);
    body.extend_from_slice(&sum);
    body
}
