//! Whoever finds a backup, and writes to the store, can put an announcement of their own where one of the vault's
//! was, under the same event id. It hides nothing.

use serde_json::{Value, json};

use super::{
    doubt::{name_signer, restored, seal, signed},
    eras::{bank, is_read, lived_in},
    *,
};
use crate::{
    erasure::{
        Compromised, ErasureError, KeyChange, UnclearError, accept_gaps, announced, change_key,
        gaps, pass_over,
    },
    event::{Announcement, ErasureId, EventId},
    store::{EventStore, MemoryStore, ReadAllOptions},
    vault::{Dead, Decision, Destruction, Loss, OpenAs, tests::folder::copy_folder},
};

/// A store that announces that user-9 is forgotten, and, since the backup, user-2 and user-3.
struct Announced {
    place: Place,
    store: MemoryStore,
    said: Vec<Announcement>,
}

impl Announced {
    async fn new() -> Self {
        let place = Place::new();
        let (store, own) = lived_in(&place, &["user-1", "user-2", "user-3", "user-9"]).await;
        own.forget(&subject("user-9"), "ticket 0").await.unwrap();
        place.back_up(own.vault().unwrap(), "copy.age").await.unwrap();
        for who in ["user-2", "user-3"] {
            own.forget(&subject(who), "ticket 1").await.unwrap();
        }
        drop(own);
        let said = announced(&store).await.unwrap();
        assert!(said[2].previous().eq([said[1].id()]));
        Self { place, store, said }
    }

    /// The store, with this in the place of the one whose id it bears, and without tombstones.
    async fn with(&self, mask: Option<&Announcement>) -> MemoryStore {
        let all = self.store.read_all(ReadAllOptions::default());
        let mut events: Vec<_> = futures::TryStreamExt::try_collect::<Vec<_>>(all).await.unwrap();
        events.retain(|event| !event.is_tombstone());
        for event in &mut events {
            if let Some(mask) = mask.filter(|mask| mask.id() == event.id) {
                event.data = Some(mask.to_event().unwrap().data);
            }
        }
        let store = MemoryStore::new();
        store.restore(events).await.unwrap();
        store
    }
}

/// What the finder of the backup says in the place of one of them.
fn said_instead(
    place: &Announcement,
    finder: &Vault,
    decision: &Decision,
    with: &[(&str, Value)],
) -> Announcement {
    let mut line = serde_json::to_value(place).unwrap();
    line["about"] = decision.erasure.to_string().into();
    line["at"] = decision.erasure.at().to_string().into();
    for (name, value) in with {
        line[name] = value.clone();
    }
    name_signer(finder, &mut line);
    seal(finder, decision, &mut line);
    signed(finder, line)
}

/// An erasure of user-1 of which nobody else knows.
fn unknown(finder: &Vault) -> Decision {
    let losses = vec![Loss { subject: subject("user-1"), dead: Dead::All }];
    finder.decision(&Destruction::new(ErasureId::now(), losses), b"").unwrap()
}

async fn is_closed_over(store: &MemoryStore, vault: &Vault, missing: EventId) {
    for _ in 0..2 {
        match bank(store, vault.clone()).await {
            Err(ErasureError::Unclear(UnclearError::WitnessGap(events))) => {
                assert_eq!(events, [missing]);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn where_nothing_is_masked_all_are_forgotten_again() {
    let world = Announced::new().await;
    let again = bank(&world.with(None).await, restored(&world.place, "again")).await.unwrap();
    assert_eq!(again.witnessed().replayed.len(), 2, "the test of the test");
    assert!(!is_read(&again, "user-2").await && is_read(&again, "user-1").await);
}

/// An erasure that everybody knows takes nobody.
#[tokio::test]
async fn a_strangers_word_of_a_known_erasure_hides_no_missing_announcement() {
    let world = Announced::new().await;
    let (finder, again) = (restored(&world.place, "finder"), restored(&world.place, "again"));
    let known = world.said[0].erasure().unwrap();
    let decisions = finder.decisions().flat_map(Result::unwrap).find(|told| told.erasure == known);
    let mask = said_instead(&world.said[1], &finder, &decisions.unwrap(), &[]);
    is_closed_over(&world.with(Some(&mask)).await, &again, world.said[1].id()).await;
    // Nor where it is the last that the vault knew.
    let own = Vault::open(&world.place.path("vault"), &world.place.path("root")).unwrap();
    let decisions = finder.decisions().flat_map(Result::unwrap).find(|told| told.erasure == known);
    let mask = said_instead(&world.said[2], &finder, &decisions.unwrap(), &[]);
    is_closed_over(&world.with(Some(&mask)).await, &own, world.said[2].id()).await;
}

#[tokio::test]
async fn a_strangers_statement_about_keys_hides_no_missing_announcement() {
    let world = Announced::new().await;
    let (finder, again) = (restored(&world.place, "finder"), restored(&world.place, "again"));
    let (nobody, about) = (Vec::new(), ErasureId::now());
    let decision = Decision { erasure: about, taken: nobody, record: Vec::new() };
    let (_, key, _) = world.said[0].signature().unwrap();
    let distrust = json!({ "key": key.to_string(), "compromised": world.said[0].erasure().unwrap().at().to_string() });
    let with = [("kind", json!("distrust")), ("distrust", distrust)];
    let mask = said_instead(&world.said[1], &finder, &decision, &with);
    is_closed_over(&world.with(Some(&mask)).await, &again, world.said[1].id()).await;
    let past = accept_gaps(&again, "ticket 2").await.unwrap();
    assert_eq!(past.len(), 1);
    let opened = bank(&world.with(Some(&mask)).await, again).await.unwrap();
    assert_eq!(opened.vault().unwrap().signing_history().unwrap().compromised(key), None);
}

/// Who passes over it has said nothing of what it stands for.
#[tokio::test]
async fn a_strangers_word_that_is_passed_over_hides_no_missing_announcement() {
    let world = Announced::new().await;
    let (finder, again) = (restored(&world.place, "finder"), restored(&world.place, "again"));
    let mask = said_instead(&world.said[1], &finder, &unknown(&finder), &[]);
    let store = world.with(Some(&mask)).await;
    match bank(&store, again.clone()).await {
        Err(ErasureError::Unclear(UnclearError::UnknownSigner(doubts))) => {
            assert_eq!(doubts[0].event, mask.id());
        }
        other => panic!("{other:?}"),
    }
    // It is noted, although something else is told first.
    assert_eq!(gaps(&again).unwrap().len(), 1);
    pass_over(&again, &announced(&store).await.unwrap(), mask.id().0).await.unwrap();
    is_closed_over(&store, &again, world.said[1].id()).await;
    accept_gaps(&again, "ticket 2").await.unwrap();
    let opened = bank(&store, again).await.unwrap();
    assert!(is_read(&opened, "user-1").await);
}

/// What the vault says next comes right after its mark, whatever stands there now.
#[tokio::test]
async fn a_change_of_key_opens_nothing_where_the_last_announcement_is_in_doubt() {
    let world = Announced::new().await;
    let finder = restored(&world.place, "finder");
    let own = Vault::open(&world.place.path("vault"), &world.place.path("root")).unwrap();
    let mask = said_instead(&world.said[2], &finder, &unknown(&finder), &[]);
    let store = world.with(Some(&mask)).await;
    let is_closed = async || match bank(&store, own.clone()).await {
        Err(ErasureError::Unclear(UnclearError::UnknownSigner(doubts))) => {
            assert_eq!(doubts[0].event, mask.id());
        }
        other => panic!("{other:?}"),
    };
    is_closed().await;
    change_key(&own, &rotation(None)).await.unwrap();
    for _ in 0..3 {
        is_closed().await;
    }
    let said = announced(&store).await.unwrap();
    assert_eq!(said.len(), 4, "the change is announced all the same");
    // And names the one that is missing.
    assert!(said[3].previous().any(|named| named == mask.id()));
}

/// A thief who has the vault's key, and the vault, which has distrusted that since.
async fn robbed(world: &Announced) -> (Vault, Vault) {
    let path = |name: &str| world.place.path(name);
    copy_folder(&path("vault"), &path("thief"));
    std::fs::copy(path("root"), path("thief.root")).unwrap();
    let thief = Vault::open_as(&path("thief"), &path("thief.root"), OpenAs::TheOne).unwrap();
    let own = Vault::open(&path("vault"), &path("root")).unwrap();
    let stolen = Compromised { since: Timestamp::now(), keys: vec![] };
    change_key(&own, &rotation(Some(stolen))).await.unwrap();
    (thief, own)
}

fn rotation(compromised: Option<Compromised>) -> KeyChange {
    KeyChange::Rotate { successor: None, compromised, without_successor: false }
}

/// Such a key is in the history.
#[tokio::test]
async fn whoever_has_a_backup_and_a_distrusted_key_hides_no_missing_announcement() {
    let world = Announced::new().await;
    let (thief, own) = robbed(&world).await;
    let over = bank(&world.store, own.clone()).await.unwrap();
    let last = over.forget(&subject("user-1"), "ticket 1").await.unwrap().erasure;
    change_key(&own, &rotation(None)).await.unwrap();
    over.resume().await.unwrap();
    let said = announced(&world.store).await.unwrap();
    let place = said.iter().find(|said| said.erasure() == Some(last)).unwrap();
    let known = world.said[0].erasure().unwrap();
    let decisions = thief.decisions().flat_map(Result::unwrap).find(|told| told.erasure == known);
    let mask = said_instead(place, &thief, &decisions.unwrap(), &[]);
    let again = restored(&world.place, "again");
    is_closed_over(&world.with(Some(&mask)).await, &again, place.id()).await;
}

/// What they say next to it is no word of the vault's: it names nothing, and the vault's next announcement does not
/// come after it.
#[tokio::test]
async fn whoever_has_a_backup_and_a_distrusted_key_has_no_announcement_skipped() {
    let world = Announced::new().await;
    let (thief, own) = robbed(&world).await;
    let over = bank(&world.store, own.clone()).await.unwrap();
    let victim = over.forget(&subject("user-1"), "ticket 1").await.unwrap().erasure;
    drop(over);
    let said = announced(&world.store).await.unwrap();
    let victim = said.iter().find(|said| said.erasure() == Some(victim)).unwrap();
    let known = world.said[0].erasure().unwrap();
    let decisions = thief.decisions().flat_map(Result::unwrap).find(|told| told.erasure == known);
    let decision = decisions.unwrap();
    for (previous, id) in
        [(victim.named(), EventId::random()), (&[victim.reference()], EventId::random())]
    {
        let with = [("id", json!(id)), ("previous", json!(previous))];
        let beside = said_instead(victim, &thief, &decision, &with);
        let append = crate::store::Append::new(
            crate::event::StreamName::new(crate::event::ANNOUNCEMENTS).unwrap(),
            crate::store::ExpectedRevision::Any,
            vec![beside.to_event().unwrap()],
        );
        world.store.append(vec![append]).await.unwrap();
    }
    let over = bank(&world.store, own.clone()).await.unwrap();
    change_key(&own, &rotation(None)).await.unwrap();
    over.resume().await.unwrap();
    let said = announced(&world.store).await.unwrap();
    assert!(said.last().unwrap().previous().eq([victim.id()]));

    let mask = said_instead(victim, &thief, &decision, &[]);
    let again = restored(&world.place, "again");
    is_closed_over(&world.with(Some(&mask)).await, &again, victim.id()).await;
}
