//! The history of signing keys in its memo, and the files of successors.

use std::{fs, sync::Arc};

mod distrust;

use super::{history::Odd, *};
use crate::{
    erasure::{KeyChange, KeyChangeError, change_key},
    vault::{
        records::memos,
        tests::{over, tree},
    },
};

async fn lived_in(vault: &Vault) -> History {
    let rotate = |successor: Option<&Arc<Successor>>| KeyChange::Rotate {
        successor: successor.cloned(),
        compromised: None,
        without_successor: false,
    };
    change_key(vault, &rotate(None)).await.unwrap();
    for _ in 0..2 {
        let successor = Arc::new(Successor::generate(vault.id()).unwrap());
        change_key(vault, &KeyChange::Pin(Arc::clone(&successor))).await.unwrap();
        change_key(vault, &rotate(Some(&successor))).await.unwrap();
    }
    change_key(vault, &rotate(None)).await.unwrap();
    vault.signing_history().unwrap()
}

fn odd(history: &History) -> Option<Odd> {
    match read(&memo(history).unwrap()) {
        Ok(_) => None,
        Err(VaultError::SigningKeyGap(key)) => Some(Odd::Gap(key)),
        Err(_) => Some(Odd::Form),
    }
}

/// What this vault says of its keys, it and every backup must be able to read.
#[tokio::test]
async fn a_successor_that_signed_before_is_refused_by_name() {
    let tree = tree();
    let vault = over(&tree);
    let successor = Arc::new(Successor::generate(vault.id()).unwrap());
    let pin = KeyChange::Pin(Arc::clone(&successor));
    let rotate = |successor: Option<&Arc<Successor>>| KeyChange::Rotate {
        successor: successor.cloned(),
        compromised: None,
        without_successor: false,
    };
    change_key(&vault, &pin).await.unwrap();
    change_key(&vault, &rotate(Some(&successor))).await.unwrap();
    // While it signs, and when another does.
    for _ in 0..2 {
        let again = change_key(&vault, &pin).await;
        let Err(KeyChangeError::SignedBefore(key)) = again else { panic!("{again:?}") };
        assert_eq!(key, successor.id());
        change_key(&vault, &rotate(None)).await.unwrap();
    }
    drop(vault);
    assert_eq!(over(&tree).signing_keys().unwrap().len(), 4);
}

/// Its file was lost, and was found.
#[tokio::test]
async fn a_successor_that_was_passed_by_may_be_pinned_again() {
    let tree = tree();
    let vault = over(&tree);
    let successor = Arc::new(Successor::generate(vault.id()).unwrap());
    let pin = KeyChange::Pin(Arc::clone(&successor));
    let rotate = |given: bool| KeyChange::Rotate {
        successor: given.then(|| Arc::clone(&successor)),
        compromised: None,
        without_successor: !given,
    };
    for change in [&pin, &rotate(false), &pin, &rotate(true)] {
        change_key(&vault, change).await.unwrap();
    }
    drop(vault);
    let vault = over(&tree);
    assert_eq!(vault.signing_keys().unwrap().len(), 3);
    assert_eq!(vault.signing_history().unwrap().signs(), successor.id());
}

#[tokio::test]
async fn a_history_that_could_not_be_read_again_is_not_written() {
    let tree = tree();
    let vault = over(&tree);
    let whole = lived_in(&vault).await;
    let mut gap = whole.clone();
    gap.keys.remove(1);
    let refused = vault.write_history(gap.clone(), None).await;
    assert!(matches!(refused, Err(VaultError::SigningKeyGap(key)) if key == gap.keys[1].key));
    assert_eq!(vault.signing_history().unwrap(), whole);
    drop(vault);
    assert_eq!(over(&tree).signing_history().unwrap(), whole);
}

#[tokio::test]
async fn a_history_with_a_gap_is_told_by_the_key_to_which_nothing_leads() {
    let whole = lived_in(&over(&tree())).await;
    assert_eq!((odd(&whole), whole.keys.len(), whole.successors.len()), (None, 5, 2));
    for missing in 0..whole.keys.len() - 1 {
        let mut history = whole.clone();
        history.keys.remove(missing);
        let next = history.keys[missing].key;
        assert_eq!(odd(&history), Some(Odd::Gap(next)), "without key {missing}");
    }
    // The statement is missing, is another key's, or another key is in the place of the one that it names.
    for at in 1..whole.keys.len() {
        let gap = Some(Odd::Gap(whole.keys[at].key));
        let mut history = whole.clone();
        history.keys[at].statement = None;
        assert_eq!(odd(&history), gap);
        history.keys[at].statement = whole.keys[at % 4 + 1].statement.clone();
        assert_eq!(odd(&history), gap);
        let mut history = whole.clone();
        history.keys[at].public = whole.keys[0].public;
        assert_eq!(odd(&history), gap);
        // No key of another origin may go without one.
        let mut history = whole.clone();
        history.keys[at].statement = None;
        history.keys[at].origin = KeyOrigin::Created;
        assert_eq!(odd(&history), gap);
    }
    // Nobody pinned the successor that took over.
    let mut history = whole.clone();
    let pin = history.successors.remove(0);
    assert_eq!(odd(&history), Some(Odd::Gap(pin.key)));
    let mut history = whole;
    history.keys.swap(1, 2);
    assert!(matches!(odd(&history), Some(Odd::Gap(_))));
}

#[tokio::test]
async fn a_note_that_is_flipped_cut_or_newer_is_no_history() {
    let vault = over(&tree());
    let successor = Arc::new(Successor::generate(vault.id()).unwrap());
    change_key(&vault, &KeyChange::Pin(successor)).await.unwrap();
    let text = memos::to_json(&vault.signing_history().unwrap()).unwrap();
    let again = History { retell: true, ..vault.signing_history().unwrap() };
    let again = memos::to_json(&again).unwrap();
    memos::tests::is_strict(MemoKind::SigningKeys, &again, &["retell"], |text| {
        read(&memos::stored(text)).ok().map(|history| memos::to_json(&history).unwrap())
    });
    memos::tests::is_strict(MemoKind::SigningKeys, &text, &[], |text| {
        read(&memos::stored(text)).ok().map(|history| memos::to_json(&history).unwrap())
    });
    let text = String::from_utf8(text.to_vec()).unwrap();
    let parse = |text: &[u8]| read(&memos::stored(text));
    // No bit of a signature in it.
    let sig = text.find(r#""sig":""#).unwrap() + 12;
    let mut flipped = text.into_bytes();
    flipped[sig] ^= 1;
    let flipped = parse(&flipped);
    assert!(matches!(flipped, Err(VaultError::SigningKeyGap(_) | VaultError::Damaged(_))));
}

#[tokio::test]
async fn a_vault_whose_history_has_a_gap_opens_signs_nothing_and_says_so() {
    let tree = tree();
    let vault = over(&tree);
    let mut history = lived_in(&vault).await;
    let gap = history.keys[2].key;
    history.keys.remove(1);
    let noted = memos::to_json(&history).unwrap();
    vault.put_memo(MemoKind::SigningKeys, HISTORY, &noted).await.unwrap();
    drop(vault);
    let vault = over(&tree);
    let says =
        |error: VaultError| assert!(matches!(error, VaultError::SigningKeyGap(key) if key == gap));
    says(vault.signing_keys().unwrap_err());
    says(vault.sign(|_| vec![]).unwrap_err());
    let told = vault.signing_keys().unwrap_err().to_string();
    assert!(told.contains(&gap.to_string()) && told.contains("gap"), "{told}");
}

#[tokio::test]
async fn the_secret_of_a_key_that_was_replaced_is_gone() {
    let tree = tree();
    let vault = over(&tree);
    let before = vault.memos(MemoKind::SigningSecret).unwrap();
    lived_in(&vault).await;
    let after = vault.memos(MemoKind::SigningSecret).unwrap();
    assert_eq!(after.len(), 1);
    assert_ne!(before[0].0, after[0].0);
    let signs = vault.signing_keys().unwrap().pop().unwrap().key;
    assert_eq!(after[0].0, signs.0);
    let (key, signature) = vault.sign(|_| b"said".to_vec()).unwrap();
    assert_eq!(key, signs);
    assert_eq!(vault.vouches(key, b"said", &signature).unwrap(), Vouched::Ours);
    drop(vault);
    assert_eq!(over(&tree).signing_keys().unwrap().pop().unwrap().key, signs);
}

#[test]
fn a_successors_file_is_private_and_what_is_none_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("successor.key");
    let vault = crate::event::VaultId(uuid::Uuid::new_v4());
    let successor = Successor::generate(vault).unwrap();
    successor.save(&path).unwrap();
    let again = Successor::load(&path).unwrap();
    assert_eq!((again.id(), again.vault()), (successor.id(), vault));
    assert!(matches!(successor.save(&path), Err(SuccessorError::Io(..))), "nothing is replaced");
    let text = fs::read_to_string(&path).unwrap();
    let secret = text.trim().rsplit(' ').next().unwrap().to_owned();
    assert!(!format!("{successor:?}").contains(&secret));

    let refused = |text: &str| {
        fs::write(&path, text).unwrap();
        Successor::load(&path).unwrap_err()
    };
    for version in ["2", "10", "99999999999999999999"] {
        let newer = refused(&text.replace("SUCCESSOR-1", &format!("SUCCESSOR-{version}")));
        assert!(matches!(&newer, SuccessorError::Newer { version: told, .. } if told == version));
    }
    for cut in 1..secret.len() {
        let end = text.trim_end().len() - cut;
        let error = refused(&text[..end]);
        assert!(matches!(error, SuccessorError::NotASuccessor(_)), "{error}");
        assert!(!error.to_string().contains(&secret[..10]), "{error}");
    }
    for odd in [
        "",
        "a letter",
        "OUBLIETTE-SUCCESSOR-1",
        "OUBLIETTE-SUCCESSOR-0 1 2",
        "OUBLIETTE-SUCCESSOR-01 1 2",
        "OUBLIETTE-SUCCESSOR-x 1 2",
        "AGE-SECRET-KEY-1",
    ] {
        assert!(matches!(refused(odd), SuccessorError::NotASuccessor(_)), "{odd}");
    }
    assert!(matches!(Successor::load(&folder.path().join("absent")), Err(SuccessorError::Io(..))));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::write(&path, &text).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let told = Successor::load(&path).unwrap_err();
        assert!(told.to_string().contains("chmod 600"), "{told}");
    }
}

/// Nothing in the file vouches for it: a changed one is another vault's, or another key, and no such key is
/// taken for the one that is pinned.
#[test]
fn no_bit_and_no_byte_of_a_successors_file_makes_it_the_same_successor() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("successor.key");
    let vault = crate::event::VaultId(uuid::Uuid::new_v4());
    let successor = Successor::generate(vault).unwrap();
    successor.save(&path).unwrap();
    let good = fs::read(&path).unwrap();
    // What is before it is for people.
    let said = good.iter().rposition(|byte| *byte == b'O').unwrap();
    let said = good[..=said].windows(2).rposition(|two| two == b"\nO").map_or(0, |at| at + 1);
    let load = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        Successor::load(&path)
    };
    let (mut others, mut newer) = (0, 0);
    for bit in said * 8..(good.len() - 1) * 8 {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        match load(&bytes) {
            Ok(read) => {
                assert_ne!((read.id(), read.vault()), (successor.id(), vault), "bit {bit}");
                others += 1;
            }
            Err(SuccessorError::Newer { .. }) => newer += 1,
            Err(SuccessorError::NotASuccessor(_)) => {}
            Err(other) => panic!("bit {bit}: {other}"),
        }
    }
    assert!(others > 100 && newer == 3, "{others}, {newer}");
    for at in 0..good.len() - 1 {
        let mut bytes = good.clone();
        bytes.remove(at);
        let shorter = [load(&good[..at]), load(&bytes)];
        for read in shorter.into_iter().flatten() {
            // A byte less for people.
            assert!(at < said && (read.id(), read.vault()) == (successor.id(), vault), "byte {at}");
        }
    }
}
