//! Which key may distrust which, and whose change of another counts.

use super::*;
use crate::{
    erasure::Compromised,
    event::{AnnouncementKind, Body, Distrust, Statement, Timestamp},
};

/// A statement about keys that nobody but a test makes.
fn stated(kind: AnnouncementKind, by: &SigningKey, said: Said<'_>) -> Announcement {
    let id = EventId::random();
    let (statement, distrust, prover) = match said {
        Said::Key(key, replaces) => {
            (Some(Statement { public: key.public(), replaces, compromised: None }), None, Some(key))
        }
        Said::Distrusts(key) => (None, Some(Distrust { key, compromised: Timestamp::now() }), None),
    };
    let at = Timestamp::now();
    let body = Body {
        format: 1,
        kind,
        vault: uuid::Uuid::nil(),
        log: SigningKeyId([0; 16]),
        about: at.new_uuid(),
        at,
        epoch: 1,
        previous: Some(crate::event::Previous::default()),
        statement,
        distrust,
        sealed: "AAAA".to_owned(),
        proof: None,
        public: Some(by.public()),
        key: Some(by.public().id()),
        sig: None,
    };
    let said = |body: &Body| Announcement::new(id, body).unwrap();
    let proof = prover.map(|key| key.sign(&said(&body).proof_bytes()));
    let body = Body { proof, ..body };
    let sig = Some(by.sign(&said(&body).signed_bytes()));
    said(&Body { sig, ..body })
}

#[derive(Clone, Copy)]
enum Said<'a> {
    Key(&'a SigningKey, SigningKeyId),
    Distrusts(SigningKeyId),
}

fn distrusts(by: &SigningKey, key: SigningKeyId) -> Announcement {
    stated(AnnouncementKind::Distrust, by, Said::Distrusts(key))
}

fn changes(by: &SigningKey, to: &SigningKey) -> Announcement {
    stated(AnnouncementKind::SigningKey, by, Said::Key(to, by.public().id()))
}

fn pins(by: &SigningKey, successor: &SigningKey) -> Announcement {
    stated(AnnouncementKind::Successor, by, Said::Key(successor, by.public().id()))
}

/// Keys, each of which took the place of the one before, and the history of them.
fn chain(length: usize) -> (Vec<SigningKey>, History) {
    let keys: Vec<_> = (0..length).map(|_| SigningKey::generate().unwrap()).collect();
    let mut history = History::begin(keys[0].public());
    for pair in keys.windows(2) {
        assert_eq!(history.learn(&changes(&pair[0], &pair[1])), Ok(true));
    }
    (keys, history)
}

fn ids(keys: &[SigningKey]) -> Vec<SigningKeyId> {
    keys.iter().map(|key| key.public().id()).collect()
}

/// Which keys are compromised, by their places.
fn compromised(history: &History) -> Vec<usize> {
    let keys = history.keys.iter().enumerate();
    keys.filter(|(_, info)| info.compromised.is_some()).map(|(at, _)| at).collect()
}

#[test]
fn a_key_that_was_replaced_changes_itself_no_more() {
    let (keys, mut history) = chain(2);
    let (before, id) = (history.clone(), keys[0].public().id());
    let other = SigningKey::generate().unwrap();
    let replaced = Err(Unlearned::Replaced { key: id });
    assert_eq!(history.learn(&changes(&keys[0], &other)), replaced);
    assert_eq!(history.learn(&pins(&keys[0], &other)), replaced);
    // Nor does the present one give its place to a key that signed before.
    let id = keys[1].public().id();
    assert_eq!(history.learn(&changes(&keys[1], &keys[0])), Err(Unlearned::Replaced { key: id }));
    assert_eq!(history, before);
}

#[test]
fn a_successor_that_was_stolen_or_given_up_says_nothing_that_closes_the_vault() {
    let keys: Vec<_> = (0..4).map(|_| SigningKey::generate().unwrap()).collect();
    let [first, used, next, other] = &keys[..] else { panic!() };
    let hold =
        |by: &SigningKey| stated(AnnouncementKind::Hold, by, Said::Distrusts(by.public().id()));
    let takes_over = |successor: &SigningKey, replaced: &SigningKey| {
        let said = Said::Key(successor, replaced.public().id());
        stated(AnnouncementKind::SigningKey, successor, said)
    };
    let mut history = History::begin(first.public());
    assert!(!history.is_word(&hold(used)), "a stranger's");
    assert_eq!(history.learn(&pins(first, used)), Ok(true));
    assert!(history.is_word(&hold(used)), "it may take over at any time");
    let pinned = history.clone();
    for said in [takes_over(used, first), pins(used, next), takes_over(next, used)] {
        assert_eq!(history.learn(&said), Ok(true));
        assert!(history.is_word(&hold(used)), "nobody else has it");
    }
    assert_eq!(history.learn(&distrusts(next, used.public().id())), Ok(true));
    assert!(!history.is_word(&hold(used)), "stolen");
    assert!(history.is_word(&hold(next)) && history.is_word(&hold(first)));

    let mut history = pinned;
    history.change(&changes(first, other), false, true);
    assert!(!history.is_word(&hold(used)), "given up");
    assert!(history.is_word(&hold(other)) && history.is_word(&hold(first)));
}

#[test]
fn only_a_later_key_that_is_trusted_distrusts_an_earlier_one() {
    let (keys, mut history) = chain(3);
    let [first, second, last] = ids(&keys)[..] else { panic!() };
    let before = history.clone();
    let not_later = |signer, key| Err(Unlearned::NotLater { signer, key });
    for (by, key) in [(0, first), (0, second), (0, last), (1, last), (2, last)] {
        assert_eq!(history.learn(&distrusts(&keys[by], key)), not_later(ids(&keys)[by], key));
    }
    // Somebody else's word, one that was changed, and another restoration's key.
    let other = SigningKey::generate().unwrap();
    let signer = other.public().id();
    let unknown = Err(Unlearned::UnknownSigner { signer });
    assert_eq!(history.learn(&distrusts(&other, first)), unknown);
    let text = serde_json::to_string(&distrusts(&keys[2], first)).unwrap();
    let changed = text.replace(&first.to_string(), &second.to_string());
    assert_eq!(history.learn(&changed.parse().unwrap()), Err(Unlearned::Forged));
    assert_eq!(history.learn(&distrusts(&keys[2], signer)), Ok(false));
    assert_eq!(history, before, "nothing was learned");

    let said = distrusts(&keys[2], first);
    assert_eq!(history.learn(&said), Ok(true));
    assert_eq!((compromised(&history), history.learn(&said)), (vec![0], Ok(false)));
    // Whoever has it says nothing of others, either, of whom it might have before.
    let (keys, mut history) = chain(3);
    let [first, second, _] = ids(&keys)[..] else { panic!() };
    assert_eq!(history.learn(&distrusts(&keys[2], second)), Ok(true));
    let told = history.learn(&distrusts(&keys[1], first));
    assert_eq!(told, Err(Unlearned::Compromised { key: second }));
    assert_eq!(compromised(&history), [1]);
    // What it signs is worth as much, and what those before and after it sign is worth what it was.
    let worth = |key: &SigningKey| history.judge(key.public().id(), b"said", &key.sign(b"said"));
    let all = [Vouched::Ours, Vouched::Compromised, Vouched::Ours];
    assert_eq!(keys.iter().map(worth).collect::<Vec<_>>(), all);
}

#[test]
fn a_stolen_keys_distrust_of_good_ones_counts_in_no_order() {
    let (keys, whole) = chain(3);
    let [first, second, _] = ids(&keys)[..] else { panic!() };
    let mut all: Vec<_> = whole.statements().cloned().collect();
    all.push(distrusts(&keys[1], first));
    all.push(distrusts(&keys[2], second));
    for turned in 0..all.len() {
        all.rotate_left(1);
        let mut history = History::begin(keys[0].public());
        history.learn_all(&all.iter().collect::<Vec<_>>());
        assert_eq!(compromised(&history), [1], "turned by {turned}");
        assert_eq!(history.keys.len(), 3);
    }
}

/// The vault says again what only a key said that is distrusted now: else whoever is restored
/// would trust the first thief again.
#[tokio::test]
async fn who_was_distrusted_by_a_key_that_is_distrusted_stays_so_for_those_who_are_restored() {
    let vault = over(&tree());
    let first = vault.signing_keys().unwrap()[0].public;
    let rotate =
        |compromised| KeyChange::Rotate { successor: None, compromised, without_successor: false };
    let since = Timestamp::now();
    let stolen = |keys: &[SigningKeyId]| Compromised { since, keys: keys.to_vec() };
    change_key(&vault, &rotate(None)).await.unwrap();
    change_key(&vault, &KeyChange::Distrust(stolen(&[first.id()]))).await.unwrap();
    let second = vault.signing_history().unwrap().signs();
    change_key(&vault, &rotate(None)).await.unwrap();
    // Both in one step: the key that signs, and one that it replaced.
    change_key(&vault, &rotate(Some(stolen(&[second])))).await.unwrap();
    let own = vault.signing_history().unwrap();
    assert_eq!(compromised(&own), [0, 1, 2]);
    let due = vault.unsaid().unwrap();
    assert!(due.repeat && due.retell);
    let mut said = due.statements;
    for backwards in [false, true] {
        let mut restored = History::begin(first);
        restored.learn_all(&said.iter().collect::<Vec<_>>());
        assert_eq!(compromised(&restored), [0, 1, 2], "backwards: {backwards}");
        said.reverse();
    }
}

#[test]
fn nobody_passes_by_the_successor_of_a_key_that_a_restored_vault_put_its_own_after() {
    let (keys, mut history) = chain(1);
    let (first, pinned) = (keys[0].public().id(), SigningKey::generate().unwrap());
    let [own, other] = [(); 2].map(|()| SigningKey::generate().unwrap());
    assert_eq!(history.learn(&pins(&keys[0], &pinned)), Ok(true));
    history.restored(own.public());
    let (key, successor) = (own.public().id(), pinned.public().id());
    let waits = Err(Unlearned::NotTheSuccessor { key, successor });
    assert_eq!(history.learn(&changes(&own, &other)), waits);
    assert_eq!(history.learn(&distrusts(&own, first)), waits);
    let told = history.learn(&pins(&own, &other));
    assert_eq!(told, Err(Unlearned::PinnedBefore { key, successor }));
    // It takes the place all the same.
    let taken = stated(AnnouncementKind::SigningKey, &pinned, Said::Key(&pinned, first));
    assert_eq!(history.learn(&taken), Ok(true));
    assert_eq!(history.learn(&distrusts(&own, first)), Ok(true));
}

#[test]
fn a_history_that_does_not_say_why_a_key_is_compromised_is_none() {
    let (keys, mut whole) = chain(3);
    let [first, second, _] = ids(&keys)[..] else { panic!() };
    assert_eq!(whole.learn(&distrusts(&keys[2], first)), Ok(true));
    assert_eq!(odd(&whole), None);
    let changed = |change: &dyn Fn(&mut History)| {
        let mut history = whole.clone();
        change(&mut history);
        odd(&history)
    };
    let form = Some(Odd::Form);
    assert_eq!(changed(&|history| history.keys[0].compromised = None), form);
    assert_eq!(changed(&|history| history.keys[1].compromised = Some(Timestamp::now())), form);
    assert_eq!(changed(&|history| history.distrusts.clear()), form);
    assert_eq!(changed(&|history| history.distrusts.push(distrusts(&keys[0], second))), form);
    let other = SigningKey::generate().unwrap();
    assert_eq!(changed(&|history| history.distrusts.push(distrusts(&other, first))), form);
    let text = serde_json::to_string(&whole.distrusts[0]).unwrap();
    let at = text.find(r#""sig":""#).unwrap() + 8;
    let mut flipped = text.into_bytes();
    flipped[at] = if flipped[at] == b'A' { b'B' } else { b'A' };
    let flipped: Announcement = String::from_utf8(flipped).unwrap().parse().unwrap();
    assert_eq!(changed(&|history| history.distrusts[0] = flipped.clone()), form);
}

#[tokio::test]
async fn what_is_to_be_said_is_due_until_the_event_store_has_taken_it_and_no_longer() {
    use crate::{layer::Oubliette, policy::Policy, store::MemoryStore};
    let vault = over(&tree());
    let key = vault.signing_history().unwrap().signs();
    let rotate = KeyChange::Rotate { successor: None, compromised: None, without_successor: false };
    change_key(&vault, &rotate).await.unwrap();
    let since = Timestamp::now();
    let distrust = KeyChange::Distrust(Compromised { since, keys: vec![key] });
    change_key(&vault, &distrust).await.unwrap();
    let due = vault.unsaid().unwrap();
    assert_eq!((due.statements.len(), due.repeat, due.retell), (2, true, true));
    let policy = Policy::sealed_by_default();
    Oubliette::open(MemoryStore::new(), vault.clone(), policy).await.unwrap();
    let due = vault.unsaid().unwrap();
    assert!(due.statements.is_empty() && !due.repeat && !due.retell);
}
