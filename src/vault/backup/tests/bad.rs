//! Bad input: each its own error, and nothing is written.

use super::*;

async fn one_key(place: &Place) -> Vault {
    let vault = place.vault();
    key(&vault, "user-1", "user-1").await.unwrap();
    place.back_up(&vault, "copy.age").await.unwrap();
    vault
}

fn nothing_was_made(place: &Place) {
    for name in ["restored", "restored.root"] {
        assert!(!place.path(name).exists(), "{name}");
    }
}

#[tokio::test]
async fn a_file_that_is_cut_off_anywhere_is_refused() {
    let place = Place::new();
    one_key(&place).await;
    let whole = std::fs::read(place.path("copy.age")).unwrap();
    let lengths =
        (0..400).chain((400..whole.len()).step_by(1499)).chain(whole.len() - 20..whole.len());
    for length in lengths {
        std::fs::write(place.path("cut.age"), &whole[..length]).unwrap();
        match place.restore("cut.age") {
            Err(BackupError::CutOff(_)) => {}
            other => panic!("{length} of {}: {other:?}", whole.len()),
        }
    }
    nothing_was_made(&place);
}

#[tokio::test]
async fn a_file_with_a_bit_flipped_anywhere_is_refused() {
    let place = Place::new();
    one_key(&place).await;
    let whole = std::fs::read(place.path("copy.age")).unwrap();
    let body = whole.windows(4).position(|w| w == b"\n---").unwrap();
    for at in (0..body + 100).chain((body..whole.len()).step_by(997)) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        std::fs::write(place.path("flipped.age"), bytes).unwrap();
        match place.restore("flipped.age") {
            Err(BackupError::Damaged(_) | BackupError::CutOff(_)) => {}
            // What says to whom it is sealed.
            Err(BackupError::OtherRecipient(_) | BackupError::NotAge(_)) if at < body => {}
            other => panic!("{at}: {other:?}"),
        }
    }
    let mut longer = whole;
    longer.push(0);
    std::fs::write(place.path("longer.age"), longer).unwrap();
    assert!(place.restore("longer.age").is_err());
    nothing_was_made(&place);
}

/// Sealed properly by someone who had only a part of it.
#[tokio::test]
async fn a_plaintext_that_is_cut_off_anywhere_is_refused() {
    let place = Place::new();
    one_key(&place).await;
    let whole = place.open("copy.age");
    let content = whole.len() - 65_536;
    for length in (16..content).chain([content, content + 1, whole.len() - 1]) {
        place.seal("cut.age", &whole[..length]);
        let refused = place.restore("cut.age");
        assert!(matches!(refused, Err(BackupError::CutOff(_))), "{length}: {refused:?}");
    }
    let mut longer = whole;
    longer.push(0);
    place.seal("longer.age", &longer);
    assert!(matches!(place.restore("longer.age"), Err(BackupError::Odd { .. })));
    nothing_was_made(&place);
}

#[tokio::test]
async fn what_is_no_backup_is_told_as_what_it_is() {
    let place = Place::new();
    one_key(&place).await;
    std::fs::write(place.path("text"), b"a diary, or a tar archive").unwrap();
    assert!(matches!(place.read("text"), Err(BackupError::NotAge(_))));
    place.seal("diary.age", b"a diary of some length");
    assert!(matches!(place.read("diary.age"), Err(BackupError::NotABackup(_))));
    let mut newer = place.open("copy.age");
    newer[19] = 2;
    place.seal("newer.age", &newer);
    let refused = place.read("newer.age");
    assert!(
        matches!(
            refused,
            Err(BackupError::Vault(VaultError::NewerFormat { found: 2, known: 1, .. }))
        ),
        "{refused:?}"
    );
    assert!(matches!(place.read("absent.age"), Err(BackupError::Io { .. })));

    for (name, content) in [("empty", ""), ("comment", "# nothing\n"), ("ssh", "-----BEGIN")] {
        std::fs::write(place.path(name), content).unwrap();
        let refused = Identities::from_file(&place.path(name));
        assert!(matches!(refused, Err(BackupError::NotAnIdentity(_))), "{refused:?}");
    }
    std::fs::write(place.path("bytes"), [0xff; 100]).unwrap();
    let refused = Identities::from_file(&place.path("bytes"));
    assert!(matches!(refused, Err(BackupError::NotAnIdentity(_))));
}

#[test]
fn a_secret_in_the_place_of_a_recipient_is_not_repeated() {
    use age::secrecy::ExposeSecret;
    let identity = age::x25519::Identity::generate().to_string();
    let refused = Recipients::default().add(identity.expose_secret()).unwrap_err();
    assert!(matches!(refused, BackupError::IdentityForRecipient(_)));
    assert!(!refused.to_string().contains(identity.expose_secret()));
    let refused = Recipients::default().add("hunter2").unwrap_err();
    assert!(!refused.to_string().contains("hunter2"), "{refused}");
    let refused = Recipients::default().add("age1nonsense").unwrap_err();
    assert!(refused.to_string().contains("age1nonsense"), "{refused}");
}

#[tokio::test]
async fn a_backup_without_recipients_or_days_to_live_is_refused() {
    let place = Place::new();
    let vault = place.vault();
    let path = place.path("copy.age");
    let refused = vault.back_up(&path, &Recipients::default(), in_days(1), |_| {}).await;
    assert!(matches!(refused, Err(BackupError::NoRecipients)));
    let refused = vault.back_up(&path, &place.recipients(), in_days(0), |_| {}).await;
    assert!(matches!(refused, Err(BackupError::ExpiresInThePast(_))));
    assert!(!path.exists() && vault.backups().unwrap().is_empty());
    // The latest day there is can be read again.
    let never = Timestamp::from_micros(i64::MAX / 2);
    let made = vault.back_up(&path, &place.recipients(), never, |_| {}).await.unwrap();
    assert_eq!(vault.backups().unwrap(), [made]);
}

#[tokio::test]
async fn an_expired_backup_says_so() {
    let place = Place::new();
    let vault = place.vault();
    let soon = Timestamp::from_micros(Timestamp::now().as_micros() + 300_000);
    vault.back_up(&place.path("copy.age"), &place.recipients(), soon, |_| {}).await.unwrap();
    while Timestamp::now() < soon {
        tokio::task::yield_now().await;
    }
    let backup = place.read("copy.age").unwrap();
    assert!(matches!(backup.refuse_expired(), Err(BackupError::Expired(at)) if at == soon));
    assert_eq!(vault.backups_before(None).unwrap().len(), 1, "nobody said that it is destroyed");
}
