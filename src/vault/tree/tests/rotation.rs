//! What a thief of an earlier root still reads after a rotation.

use std::sync::Arc;

use super::{
    Shape,
    disk::Disk,
    forensic::{attack, current},
    tiny,
};
use crate::{
    crypto::Secret,
    event::{ErasureId, Generation, Layout, PolicyDigest, StreamName, Subject},
    vault::{
        KeyRequest, Vault,
        shared::Limits,
        tests::{destroy, spans},
    },
};

fn subject(n: u32) -> Subject {
    Subject::new(format!("user-{n}")).unwrap()
}

async fn seal(vault: &Vault, stream: &str, n: u32) {
    let (stream, subject) = (StreamName::new(stream).unwrap(), subject(n));
    let (layout, policy) = (Layout::Sealed, PolicyDigest::default());
    let (stream, subject) = (&stream, &subject);
    let request = KeyRequest { stream, subject, generation: None, layout, policy };
    vault.sealing_key(request, 1).await.unwrap();
}

/// The secrets of a subject, with their generations.
fn secrets(vault: &Vault, n: u32) -> Vec<(Generation, Secret)> {
    let shared = vault.shared();
    let hash = shared.naming.subject(&subject(n));
    let keys = vault.keys_of(&subject(n)).unwrap().into_iter();
    keys.map(|info| {
        let place = shared.naming.key(&hash, &info.stream, &info.class, info.generation);
        (info.generation, shared.disk.key(&place).unwrap().unwrap().secret)
    })
    .collect()
}

#[tokio::test]
async fn who_stole_the_root_and_all_pages_does_not_read_the_keys_after_a_rotation() {
    let disk = Disk::default();
    let shape = Shape { page_bytes: 1024, ..tiny() };
    let vault = Vault::over(Arc::new(disk.create(shape).unwrap()), Limits::default()).unwrap();
    for n in 0..36 {
        seal(&vault, "first", n).await;
        if n % 7 == 0 {
            for more in 0..12 {
                seal(&vault, &format!("more-{more}"), n).await;
            }
        }
    }
    let (id, stolen) = current(&disk);
    let rotated = [3, 7, 31];
    for n in rotated {
        vault.rotate(&subject(n)).await.unwrap().unwrap();
    }
    // In streams that were there, and in new ones.
    for n in 0..36 {
        seal(&vault, "first", n).await;
        for new in 0..2 {
            seal(&vault, &format!("new-{new}"), n).await;
        }
    }
    let loot = attack(id, &disk.archive(), vec![stolen]);
    let read = |secret: &Secret| {
        loot.iter().any(|value| value.windows(32).any(|window| window == secret.as_slice()))
    };
    let mut others = 0;
    for n in 0..36 {
        for (generation, secret) in secrets(&vault, n) {
            if rotated.contains(&n) {
                // What was sealed before they have, and nobody can take it from them.
                assert_eq!(read(&secret), generation == Generation(1), "user-{n}, {generation}");
            } else {
                others += u32::from(read(&secret));
            }
        }
    }
    // Of the others they read what was there, and new keys that came to stand beside it.
    let there = 33 + 5 * 12;
    assert!(others > there + 5, "{others}");
}

/// The pages of a subject are not only those that hold keys of theirs: where keys were destroyed,
/// the next ones come to stand beside a neighbour's.
#[tokio::test]
async fn a_new_key_does_not_stand_on_a_page_that_a_thief_knows_where_none_stood_before() {
    let disk = Disk::default();
    let shape = Shape { page_bytes: 1024, ..tiny() };
    let vault = Vault::over(Arc::new(disk.create(shape).unwrap()), Limits::default()).unwrap();
    let streams: Vec<String> = (0..12).map(|n| format!("stream-{n}")).collect();
    for n in 0..24 {
        for stream in &streams {
            seal(&vault, stream, n).await;
        }
        vault.rotate(&subject(n)).await.unwrap().unwrap();
        seal(&vault, &streams[0], n).await;
        destroy(&vault, ErasureId::now(), subject(n).as_str(), spans(&[(1, 1)])).await.unwrap();
    }
    let (id, stolen) = current(&disk);
    for n in 0..24 {
        vault.rotate(&subject(n)).await.unwrap().unwrap();
        for stream in &streams {
            seal(&vault, stream, n).await;
        }
    }
    let loot = attack(id, &disk.archive(), vec![stolen]);
    let read = |secret: &Secret| {
        loot.iter().any(|value| value.windows(32).any(|window| window == secret.as_slice()))
    };
    for n in 0..24 {
        for (generation, secret) in secrets(&vault, n) {
            assert_eq!(read(&secret), generation == Generation(2), "user-{n}, {generation}");
        }
    }
}

/// What the documentation says that a new root alone does not give.
#[tokio::test]
async fn a_new_root_key_alone_does_not_lock_out_who_knows_the_pages_below() {
    let disk = Disk::default();
    let shape = Shape { page_bytes: 1024, leaf_bytes: 1024, ..tiny() };
    let vault = Vault::over(Arc::new(disk.create(shape).unwrap()), Limits::default()).unwrap();
    for n in 0..20 {
        seal(&vault, "first", n).await;
    }
    let (id, stolen) = current(&disk);
    vault.rotate_root().await.unwrap();
    // The stolen root opens nothing that is written under the new one.
    assert_ne!(current(&disk).1.as_slice(), stolen.as_slice());
    for n in 0..20 {
        seal(&vault, "second", n).await;
    }
    let loot = attack(id, &disk.archive(), vec![stolen]);
    let secrets: Vec<Secret> = (0..20).flat_map(|n| secrets(&vault, n)).map(|(_, s)| s).collect();
    let read = |secret: &&Secret| {
        loot.iter().any(|value| value.windows(32).any(|window| window == secret.as_slice()))
    };
    let count = secrets.iter().filter(read).count();
    assert!(count > 20, "{count}");
}
