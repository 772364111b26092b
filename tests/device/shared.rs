//! What the tests of root slots in devices share.

use std::{fs, path::Path};

use oubliette::{
    crypto::KeyId,
    event::{ErasureId, Layout, PolicyDigest, StreamName, Subject},
    vault::{Dead, Destruction, Doomed, KeyRequest, Vault},
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
    let destruction = Destruction { erasure: ErasureId::now(), doomed };
    vault.destroy(&destruction, b"{}").await.unwrap();
}

/// Removes all files. The folders stay: a machine that is put back as a whole has those that it had.
#[allow(dead_code)]
pub(crate) fn empty(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { empty(&path) } else { fs::remove_file(path).unwrap() }
    }
}

pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, to).unwrap();
        }
    }
}
