//! Property 9: no key of a dead generation comes back by a restore.

use super::*;
use crate::{
    event::VaultId,
    vault::{
        backup::format::{Header, Writer},
        records::{delta::Delta, places},
        tree::{Place as At, Value},
    },
};

/// All values of a vault.
fn values(vault: &Vault) -> Vec<(At, Value)> {
    vault.shared().disk.walk(vec![0]..vec![0xff; 65]).map(|found| found.unwrap()).collect()
}

fn header(vault: &Vault, entry: &Backup) -> Header {
    Header {
        vault: vault.id(),
        backup: entry.backup,
        created: entry.created,
        expires: entry.expires,
        epoch: entry.epoch,
        identity: vault.shared().disk.tree().identity().clone(),
    }
}

/// A backup that holds what no vault would: what was killed, beside the fence that says so.
#[tokio::test]
async fn no_key_of_a_dead_generation_comes_back_by_a_restore() {
    for late in [false, true] {
        let place = Place::new();
        let vault = place.vault();
        let gone = key(&vault, "user-1", "user-1").await.unwrap().id();
        let other = key(&vault, "user-2", "user-2").await.unwrap().id();
        let of_user = values(&vault).into_iter().filter(|(at, _)| places::is_key(at));
        let of_user: Vec<_> = of_user.collect();
        forget(&vault, "user-1").await;
        // Back again, under a later generation: that key is not to be lost.
        vault.reopen(&subject("user-1")).await.unwrap();
        let later = key(&vault, "user-1", "user-1").await.unwrap().id();
        let made = place.back_up(&vault, "copy.age").await.unwrap();

        let mut walk = values(&vault);
        let missing: Vec<_> =
            of_user.into_iter().filter(|(at, _)| walk.iter().all(|(p, _)| p != at)).collect();
        assert_eq!(missing.len(), 1);
        let mut bytes = Vec::new();
        let mut writer = Writer::begin(&mut bytes, &header(&vault, &made)).unwrap();
        if !late {
            walk.extend(missing.clone());
            walk.sort_by(|a, b| a.0.cmp(&b.0));
        }
        for (at, value) in &walk {
            writer.walked(at, value).unwrap();
        }
        writer.end_of_walk().unwrap();
        if late {
            for (at, value) in missing {
                writer.change(&Delta::Value(at, value)).unwrap();
            }
        }
        writer.end().unwrap();
        place.seal("odd.age", &bytes);

        assert_eq!(place.restore("odd.age").unwrap().keys, 2);
        let again = place.restored();
        shredded(again.opening_key(gone));
        live(again.opening_key(other));
        live(again.opening_key(later));
    }
}

#[tokio::test]
async fn a_key_at_a_place_that_is_not_its_own_is_refused() {
    let place = Place::new();
    let vault = place.vault();
    key(&vault, "user-1", "user-1").await.unwrap();
    let made = place.back_up(&vault, "copy.age").await.unwrap();
    let mut bytes = Vec::new();
    let mut writer = Writer::begin(&mut bytes, &header(&vault, &made)).unwrap();
    for (mut at, value) in values(&vault) {
        if places::is_key(&at) {
            at[30] ^= 1;
        }
        writer.walked(&at, &value).unwrap();
    }
    writer.end_of_walk().unwrap();
    writer.end().unwrap();
    place.seal("odd.age", &bytes);
    let refused = place.restore("odd.age");
    assert!(matches!(refused, Err(BackupError::Odd { .. })), "{refused:?}");
}

/// Sealed properly, and with its end, but without something from its middle.
#[tokio::test]
async fn a_backup_that_holds_less_than_it_says_is_refused() {
    let place = Place::new();
    let vault = place.vault();
    for whose in ["user-1", "user-2", "user-3"] {
        key(&vault, whose, whose).await.unwrap();
    }
    let made = place.back_up(&vault, "copy.age").await.unwrap();
    let walk = values(&vault);
    let written = |values: &[(At, Value)]| {
        let mut bytes = Vec::new();
        let mut writer = Writer::begin(&mut bytes, &header(&vault, &made)).unwrap();
        values.iter().for_each(|(at, value)| writer.walked(at, value).unwrap());
        writer.end_of_walk().unwrap();
        writer.end().unwrap();
        bytes
    };
    let (whole, mut less) = (written(&walk), written(&walk[1..]));
    place.seal("whole.age", &whole);
    place.read("whole.age").unwrap();
    let end = |bytes: &[u8]| bytes.len() - 65_536 - 16;
    let (to, from) = (end(&less), end(&whole));
    less[to..].copy_from_slice(&whole[from..]);
    place.seal("less.age", &less);
    let refused = place.read("less.age");
    assert!(matches!(refused, Err(BackupError::Odd { .. })), "{refused:?}");
    let mut swapped = walk;
    swapped.swap(0, 1);
    place.seal("swapped.age", &written(&swapped));
    let refused = place.read("swapped.age");
    assert!(matches!(refused, Err(BackupError::Odd { .. })), "{refused:?}");
}

#[tokio::test]
async fn another_vaults_backup_is_refused_by_name() {
    let place = Place::new();
    let vault = place.vault();
    place.back_up(&vault, "copy.age").await.unwrap();
    let backup = place.read("copy.age").unwrap();
    backup.refuse_other_vault(&vault.id().to_string()).unwrap();
    let wanted = VaultId(uuid::Uuid::new_v4()).to_string();
    let refused = backup.refuse_other_vault(&wanted).unwrap_err();
    let both = refused.to_string();
    assert!(both.contains(&wanted) && both.contains(&vault.id().to_string()), "{both}");
}

/// A backup that holds dead keys beside the fence that spared others.
#[tokio::test]
async fn a_restore_brings_back_what_its_fence_spared_and_nothing_else_of_the_dead() {
    let place = Place::new();
    let vault = place.vault();
    let [mut ids, mut classed] = [Vec::new(), Vec::new()];
    for of in ["a", "b", "c"] {
        ids.push(key(&vault, of, "user-1").await.unwrap().id());
        let class = classes::class("health", "2026-12-31");
        classed.push(classes::key_of_class(&vault, of, "user-1", &class, 1));
    }
    let keys: Vec<_> = values(&vault).into_iter().filter(|(at, _)| places::is_key(at)).collect();
    let (spared, lost) = (ids[1], classed[2]);
    let erasure = crate::event::ErasureId::now();
    let all = crate::vault::Dead::All;
    destroy_but(&vault, erasure, "user-1", all, [spared, lost, classed[0]]).await.unwrap();
    crate::vault::tests::spared::lose(&vault, lost);
    let made = place.back_up(&vault, "copy.age").await.unwrap();
    let mut walk = values(&vault);
    walk.retain(|(at, _)| !places::is_key(at));
    walk.extend(keys.into_iter().filter(|(_, value)| !value.windows(20).any(|at| at == lost.0)));
    walk.sort_by(|a, b| a.0.cmp(&b.0));
    let mut bytes = Vec::new();
    let mut writer = Writer::begin(&mut bytes, &header(&vault, &made)).unwrap();
    walk.iter().for_each(|(at, value)| writer.walked(at, value).unwrap());
    writer.end_of_walk().unwrap();
    writer.end().unwrap();
    place.seal("odd.age", &bytes);

    assert_eq!(place.restore("odd.age").unwrap().keys, 2);
    let again = place.restored();
    for id in [spared, classed[0]] {
        assert_eq!(live(again.opening_key(id)).id(), id);
    }
    for id in [ids[0], ids[2], classed[1]] {
        assert_eq!(shredded(again.opening_key(id)), erasure);
    }
    assert!(is_missing(&again.opening_key(lost)));
    assert_eq!(verify::troubles(&again), [format!("spared {lost}: missing")]);
}

#[tokio::test]
async fn a_backup_with_a_key_of_a_newer_form_is_refused_by_name() {
    for (byte, newer) in [(0, 2), (77, 0x41)] {
        let place = Place::new();
        let vault = place.vault();
        key(&vault, "user-1", "user-1").await.unwrap();
        let made = place.back_up(&vault, "copy.age").await.unwrap();
        let mut bytes = Vec::new();
        let mut writer = Writer::begin(&mut bytes, &header(&vault, &made)).unwrap();
        for (at, mut value) in values(&vault) {
            if places::is_key(&at) {
                value[byte] = newer;
            }
            writer.walked(&at, &value).unwrap();
        }
        writer.end_of_walk().unwrap();
        writer.end().unwrap();
        place.seal("newer.age", &bytes);
        let refused = place.restore("newer.age").unwrap_err();
        let named = match byte {
            0 => matches!(
                refused,
                BackupError::Vault(VaultError::NewerFormat { found: 2, known: 1, .. })
            ),
            _ => refused.to_string().contains("written by a newer program"),
        };
        assert!(named, "{refused}");
        assert!(!place.path("restored").exists() && !place.path("restored.root").exists());
    }
}

/// What a newer program keeps in a vault, a hold for one, an older one must not restore without.
#[tokio::test]
async fn a_backup_that_holds_what_this_program_does_not_know_is_refused_before_anything_is_made() {
    use crate::vault::{
        MemoKind,
        records::{disk::parts, memos},
    };
    let later = MemoKind::LAST as u8 + 1;
    let memo = |kind: u8, version: u8| {
        let mut content = memos::stored(b"{}");
        content[0] = version;
        let mut stem = vec![3, kind];
        stem.resize(18, 9);
        let (place, value) = parts(&stem, &content).unwrap().remove(0);
        (place, value.unwrap())
    };
    let strange = ([&[4][..], &[7; 20]].concat(), zeroize::Zeroizing::new(vec![1]));
    for added in [
        memo(later, 1),
        memo(MemoKind::Journal as u8, 2),
        memo(MemoKind::Erasure as u8, 2),
        memo(MemoKind::Backup as u8, 2),
        memo(MemoKind::Witness as u8, 2),
        memo(MemoKind::Claim as u8, 2),
        strange,
    ] {
        let place = Place::new();
        let vault = place.vault();
        key(&vault, "user-1", "user-1").await.unwrap();
        let made = place.back_up(&vault, "copy.age").await.unwrap();
        let mut all = values(&vault);
        all.push(added);
        all.sort_by(|one, other| one.0.cmp(&other.0));
        let mut bytes = Vec::new();
        let mut writer = Writer::begin(&mut bytes, &header(&vault, &made)).unwrap();
        for (at, value) in all {
            writer.walked(&at, &value).unwrap();
        }
        writer.end_of_walk().unwrap();
        writer.end().unwrap();
        place.seal("newer.age", &bytes);
        let refused = place.restore("newer.age").unwrap_err();
        assert!(refused.to_string().contains("written by a newer program"), "{refused}");
        assert!(!place.path("restored").exists() && !place.path("restored.root").exists());
    }
}
