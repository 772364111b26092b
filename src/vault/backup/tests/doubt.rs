//! Announcements that only the operator can judge: a word for one of them is no word for another.

use serde_json::{Value, json};

use super::{
    eras::{bank, is_read, lived_in},
    *,
};
use crate::{
    audit::{
        Finding, Location,
        verify::{Defect, VerifyOptions, VerifyProgress},
    },
    erasure::{
        ErasureError, InDoubt, KeyChange, OperatorError, UnclearError, announced, believe,
        change_key, export, pass_over, replay,
    },
    event::{ANNOUNCEMENTS, Announcement, ErasureId, StreamName},
    layer::Oubliette,
    policy::Policy,
    store::{
        Append, EventStore, EventStoreExt, ExpectedRevision, MemoryStore, ReadAllOptions,
        ReadOptions,
    },
    vault::{Dead, Decision, Destruction, Loss, Unlearned},
};

/// A backup, and a store in which a lost restoration of it announced that user-1 is forgotten.
struct Doubtful {
    place: Place,
    store: MemoryStore,
    erasure: ErasureId,
    genuine: Announcement,
}

impl Doubtful {
    async fn new() -> Self {
        let place = Place::new();
        let (store, lost) = lived_in(&place, &["user-1", "user-2"]).await;
        place.back_up(lost.vault().unwrap(), "copy.age").await.unwrap();
        drop(lost);
        let first = bank(&store, restored(&place, "first")).await.unwrap();
        let erasure = first.forget(&subject("user-1"), "ticket 1").await.unwrap().erasure;
        drop(first);
        let genuine = announced(&store).await.unwrap().remove(0);
        Self { place, store, erasure, genuine }
    }

    fn again(&self) -> Vault {
        restored(&self.place, "second")
    }

    /// Whoever found the backup announces that the same erasure took user-2.
    async fn forge(&self) -> Announcement {
        let finder = restored(&self.place, "finder");
        let losses = vec![Loss { subject: subject("user-2"), dead: Dead::All }];
        finder.destroy(&Destruction::new(self.erasure, losses), b"").await.unwrap();
        let forged = export(&finder).map(Result::unwrap).last().unwrap();
        let events = vec![forged.to_event().unwrap()];
        let stream = StreamName::new(ANNOUNCEMENTS).unwrap();
        let append = Append::new(stream, ExpectedRevision::Any, events);
        self.store.append(vec![append]).await.unwrap();
        forged
    }

    /// What a finder says of the same erasure, under the id of the genuine announcement, and signs.
    fn said_by(&self, finder: &Vault, whom: &str) -> Announcement {
        signed(finder, self.resealed(finder, whom, true, &[]))
    }

    /// The genuine announcement with something else sealed in it, and with other members; by the finder, or as if
    /// the genuine signer had.
    fn resealed(&self, finder: &Vault, whom: &str, own: bool, with: &[(&str, Value)]) -> Value {
        let losses = vec![Loss { subject: subject(whom), dead: Dead::All }];
        let decision = finder.decision(&Destruction::new(self.erasure, losses), b"").unwrap();
        let mut line = serde_json::to_value(&self.genuine).unwrap();
        for (name, value) in with {
            line[name] = value.clone();
        }
        if own {
            name_signer(finder, &mut line);
        }
        seal(finder, &decision, &mut line);
        line
    }

    /// The store, with this in the place of the genuine announcement.
    async fn with_instead(&self, said: &Announcement) -> MemoryStore {
        let all = self.store.read_all(ReadAllOptions::default());
        let mut events: Vec<_> = futures::TryStreamExt::try_collect::<Vec<_>>(all).await.unwrap();
        let genuine = events.iter_mut().find(|event| event.id == self.genuine.id()).unwrap();
        genuine.data = Some(said.to_event().unwrap().data);
        let store = MemoryStore::new();
        store.restore(events).await.unwrap();
        store
    }

    async fn told(&self, vault: &Vault) -> Vec<InDoubt> {
        match bank(&self.store, vault.clone()).await {
            Err(ErasureError::Unclear(UnclearError::UnknownSigner(doubts))) => doubts,
            other => panic!("{other:?}"),
        }
    }
}

/// Says of an announcement that this vault is to sign it.
pub(super) fn name_signer(by: &Vault, line: &mut Value) {
    let public = by.as_signer(|key| key.public()).unwrap();
    line["public"] = public.to_string().into();
    line["key"] = public.id().to_string().into();
}

/// Seals this in it.
pub(super) fn seal(by: &Vault, decision: &Decision, line: &mut Value) {
    let draft: Announcement = line.to_string().parse().unwrap();
    let mut sealed = String::new();
    let bytes = by.seal_decision(decision, &draft.associated()).unwrap();
    crate::crypto::base64url::encode(&bytes, &mut sealed);
    line["sealed"] = sealed.into();
}

pub(super) fn signed(by: &Vault, mut line: Value) -> Announcement {
    let unsigned: Announcement = line.to_string().parse().unwrap();
    let (_, sig) = by.sign(|_| unsigned.signed_bytes()).unwrap();
    line["sig"] = sig.to_string().into();
    line.to_string().parse().unwrap()
}

pub(super) fn restored(place: &Place, name: &str) -> Vault {
    let (folder, slot) = (place.path(name), place.path(&format!("{name}.root")));
    place.read("copy.age").unwrap().restore(&folder, &slot, |_| {}).unwrap();
    Vault::open(&folder, &slot).unwrap()
}

#[tokio::test]
async fn a_word_for_one_announcement_is_none_for_another_of_the_same_erasure() {
    let world = Doubtful::new().await;
    let (erasure, genuine, forged) = (world.erasure, world.genuine.id(), world.forge().await.id());
    let (vault, said) = (world.again(), announced(&world.store).await.unwrap());
    let told = world.told(&vault).await;
    let named: Vec<_> = told.iter().map(|doubt| (doubt.erasure, doubt.event)).collect();
    assert_eq!(named, [(Some(erasure), genuine), (Some(erasure), forged)]);
    assert_ne!(told[0].signer, told[1].signer);
    let text = ErasureError::Unclear(UnclearError::UnknownSigner(told.clone())).to_string();
    for InDoubt { event, signer, .. } in &told {
        assert!(text.contains(&event.to_string()) && text.contains(&signer.to_string()), "{text}");
    }
    let by_erasure =
        [believe(&vault, &said, erasure.0).await, pass_over(&vault, &said, erasure.0).await];
    for refused in by_erasure {
        match refused {
            Err(OperatorError::SeveralStatements(several)) => assert_eq!(several, told),
            other => panic!("{other:?}"),
        }
    }
    let stray = ErasureId::now().0;
    let refused = believe(&vault, &said, stray).await;
    assert!(matches!(refused, Err(OperatorError::NotInDoubt(id)) if id == stray));

    believe(&vault, &said, genuine.0).await.unwrap();
    assert_eq!(world.told(&vault).await, told[1..]);
    pass_over(&vault, &said, forged.0).await.unwrap();
    let second = bank(&world.store, vault.clone()).await.unwrap();
    assert_eq!(second.witnessed().unverifiable, [forged]);
    assert!(!is_read(&second, "user-1").await && is_read(&second, "user-2").await);
    // What is known needs no word.
    believe(&vault, &said, genuine.0).await.unwrap();
}

/// Under the id of the event that the operator has looked at.
#[tokio::test]
async fn a_word_is_for_what_is_said_and_not_for_an_id() {
    let world = Doubtful::new().await;
    let (vault, said) = (world.again(), announced(&world.store).await.unwrap());
    believe(&vault, &said, world.erasure.0).await.unwrap();
    let forged = world.forge().await;
    // The genuine one is gone, and the finder's is in its place.
    let all = world.store.read_all(ReadAllOptions::default());
    let mut events: Vec<_> = futures::TryStreamExt::try_collect::<Vec<_>>(all).await.unwrap();
    let at = events.iter().find(|event| event.id == world.genuine.id()).unwrap().revision;
    events.retain(|event| event.id != world.genuine.id());
    events.iter_mut().filter(|event| event.id == forged.id()).for_each(|event| event.revision = at);
    let store = MemoryStore::new();
    store.restore(events).await.unwrap();
    match bank(&store, vault.clone()).await {
        Err(ErasureError::Unclear(UnclearError::UnknownSigner(doubts))) => {
            assert_eq!(doubts[0].event, forged.id());
        }
        other => panic!("{other:?}"),
    }
    assert!(vault.keys_of(&subject("user-2")).unwrap().len() == 1);
}

/// Whoever has the secrets of a backup chooses the ids, and says something else under them later.
#[tokio::test]
async fn a_word_is_for_all_that_is_said_under_an_id() {
    let world = Doubtful::new().await;
    let (vault, id) = (world.again(), world.genuine.id());
    let (finder, other) = (restored(&world.place, "finder"), restored(&world.place, "other"));
    let looked_at = [world.said_by(&finder, "user-1")];
    let others =
        [world.said_by(&finder, "user-2"), world.said_by(&other, "user-1"), world.genuine.clone()];
    for passes_over in [false, true] {
        match passes_over {
            true => pass_over(&vault, &looked_at, id.0).await.unwrap(),
            false => believe(&vault, &looked_at, id.0).await.unwrap(),
        }
        for said in &others {
            assert_eq!((said.id(), said.erasure()), (id, Some(world.erasure)));
            match replay(&vault, [said.clone()]).await {
                Err(ErasureError::Unclear(UnclearError::UnknownSigner(doubts))) => {
                    assert_eq!(doubts[0].event, id);
                }
                other => panic!("{passes_over} {said:?}: {other:?}"),
            }
        }
        for whom in ["user-1", "user-2"] {
            assert_eq!(vault.keys_of(&subject(whom)).unwrap().len(), 1, "{passes_over} {whom}");
        }
    }
    assert_eq!(replay(&vault, looked_at.clone()).await.unwrap().unverifiable, [id]);
}

#[tokio::test]
async fn a_note_that_is_no_word_is_refused() {
    let world = Doubtful::new().await;
    let (vault, said) = (world.again(), announced(&world.store).await.unwrap());
    believe(&vault, &said, world.erasure.0).await.unwrap();
    let id = *world.genuine.id().0.as_bytes();
    let word = vault.memo(MemoKind::Believed, id).unwrap().unwrap();
    let word = String::from_utf8(word.to_vec()).unwrap();
    let others = ["believed", "refused", "{}x", ""].map(str::to_owned);
    let changed =
        [("{", r#"{"more":1,"#), ("believed", "believes"), ("event", "evens"), (",", ", ")]
            .map(|(from, to)| word.replacen(from, to, 1));
    for memo in others.iter().chain(&changed) {
        vault.put_memo(MemoKind::Believed, id, memo.as_bytes()).await.unwrap();
        match bank(&world.store, vault.clone()).await {
            Err(ErasureError::Vault(VaultError::Damaged(_))) => {}
            other => panic!("{memo}: {other:?}"),
        }
    }
    vault.put_memo(MemoKind::Believed, id, word.as_bytes()).await.unwrap();
    bank(&world.store, vault).await.unwrap();
}

#[tokio::test]
async fn who_passed_over_a_forgery_has_nothing_pending() {
    let world = Doubtful::new().await;
    let (vault, said) = (world.again(), announced(&world.store).await.unwrap());
    pass_over(&vault, &said, world.erasure.0).await.unwrap();
    let second = bank(&world.store, vault).await.unwrap();
    assert_eq!(second.erasures().unwrap(), []);
    let report = second.verify(VerifyOptions::default(), |_| {}).await.unwrap();
    assert!(!report.found.contains_key(&Defect::ErasurePending), "{:?}", report.found);
    assert!(!report.found.contains_key(&Defect::AnnouncementMissing), "{:?}", report.found);
}

/// A thief announced something under a key of their own, before the owner changed the key.
#[tokio::test]
async fn a_change_of_the_key_is_announced_though_something_else_is_in_doubt() {
    let world = Doubtful::new().await;
    let vault = world.again();
    let change = KeyChange::Rotate { successor: None, compromised: None, without_successor: false };
    change_key(&vault, &change).await.unwrap();
    assert_eq!(world.told(&vault).await[0].erasure, Some(world.erasure));
    let due = vault.unsaid().unwrap();
    assert!(due.statements.is_empty() && !due.repeat && !due.retell);
    let said = announced(&world.store).await.unwrap();
    assert_eq!((said.len(), said[1].kind().unwrap().as_str()), (2, "signing-key"));
    pass_over(&vault, &said, world.erasure.0).await.unwrap();
    let told = bank(&world.store, vault).await.unwrap().witnessed();
    assert!(!told.gap && told.refused.is_empty(), "{told:?}");
    let stream = StreamName::new(ANNOUNCEMENTS).unwrap();
    assert_eq!(world.store.events(&stream, ReadOptions::default()).await.unwrap().len(), 2);
}

/// The finder of a backup lays their own content under the name of the genuine signer, in its place.
#[tokio::test]
async fn nobody_is_asked_about_what_the_signer_that_it_names_did_not_sign() {
    let world = Doubtful::new().await;
    let finder = restored(&world.place, "finder");
    let other = finder.as_signer(|key| key.public().to_string()).unwrap();
    let announcement = |line: Value| line.to_string().parse::<Announcement>().unwrap();
    for whom in ["user-2", "user-99"] {
        let forged = [
            announcement(world.resealed(&finder, whom, false, &[])),
            // With a key that does not have that id.
            signed(
                &finder,
                world.resealed(&finder, whom, false, &[("public", other.clone().into())]),
            ),
            signed(&finder, world.resealed(&finder, whom, false, &[])),
        ];
        for (n, said) in forged.iter().enumerate() {
            let store = world.with_instead(said).await;
            let vault = restored(&world.place, &format!("{whom}-{n}"));
            for refused in [
                believe(&vault, std::slice::from_ref(said), world.erasure.0).await,
                pass_over(&vault, std::slice::from_ref(said), said.id().0).await,
            ] {
                assert!(
                    matches!(refused, Err(OperatorError::NotInDoubt(_))),
                    "{whom} {n} {refused:?}"
                );
            }
            let bank = bank(&store, vault.clone()).await.unwrap();
            assert_eq!(bank.witnessed().unverifiable, [said.id()], "{whom} {n}");
            assert_eq!(vault.keys_of(&subject("user-2")).unwrap().len(), 1, "{whom} {n}");
        }
    }
}

/// Anyone who can write to the store puts a signature of their own under what the vault sealed.
#[tokio::test]
async fn what_is_sealed_is_sealed_for_who_signs_it() {
    let world = Doubtful::new().await;
    let stranger = Vault::in_memory().unwrap();
    let public = stranger.as_signer(|key| key.public()).unwrap();
    let mut line = serde_json::to_value(&world.genuine).unwrap();
    line["public"] = public.to_string().into();
    line["key"] = public.id().to_string().into();
    let taken = signed(&stranger, line);
    let store = world.with_instead(&taken).await;
    let bank = bank(&store, world.again()).await.unwrap();
    assert_eq!(bank.witnessed().unverifiable, [taken.id()]);
}

/// An image or another restoration learns from the store what a newer program said, as it does of what this one
/// understands.
#[tokio::test]
async fn what_a_stranger_says_and_this_version_does_not_understand_closes_the_vault() {
    let world = Doubtful::new().await;
    let first = restored(&world.place, "newer");
    let plain = |whom: &str, with: &[(&str, Value)]| world.resealed(&first, whom, true, with);
    let newer = [
        (plain("user-1", &[("format", json!(2))]), "format 2"),
        (plain("user-1", &[("format", json!(2)), ("more", json!({"a": [1]}))]), "format 2"),
        (plain("user-1", &[("kind", json!("hold"))]), "`hold`"),
        (plain("user-1", &[("kind", json!("something-new"))]), "`something-new`"),
        (plain("user-1", &[("more", json!(true))]), "an unknown form"),
    ];
    for (n, (line, what)) in newer.into_iter().enumerate() {
        let said = signed(&first, line.clone());
        let store = world.with_instead(&said).await;
        let vault = restored(&world.place, &format!("image-{n}"));
        let closed = bank(&store, vault.clone()).await.map(drop).unwrap_err();
        let text = closed.to_string();
        assert!(text.contains(what) && text.contains(&said.id().to_string()), "{text}");
        assert!(matches!(closed, ErasureError::Unclear(UnclearError::UnknownSigner(_))), "{text}");
        // Nobody can apply it with this version.
        let id = said.id().0;
        let refused = believe(&vault, std::slice::from_ref(&said), id).await;
        let said_so =
            matches!(refused, Err(OperatorError::Unclear(UnclearError::NotCarriedOut { .. })));
        assert!(said_so, "{refused:?}");
        pass_over(&vault, std::slice::from_ref(&said), id).await.unwrap();
        assert_eq!(bank(&store, vault).await.unwrap().witnessed().unverifiable, [said.id()]);
        // Whoever has no backup closes nothing, whatever they sign.
        let mut unopened = line;
        unopened["sealed"] = "AAAA".into();
        let said = signed(&first, unopened);
        let store = world.with_instead(&said).await;
        let vault = restored(&world.place, &format!("other-{n}"));
        assert_eq!(bank(&store, vault).await.unwrap().witnessed().unverifiable, [said.id()]);
    }
}

/// The signature is whoever's, and says nothing of a key that they name.
#[tokio::test]
async fn an_unproved_statement_names_nobody() {
    let world = Doubtful::new().await;
    let finder = restored(&world.place, "finder");
    let change = KeyChange::Rotate { successor: None, compromised: None, without_successor: false };
    change_key(&finder, &change).await.unwrap();
    let said = finder.unsaid().unwrap().statements;
    let mut line = serde_json::to_value(&said[0]).unwrap();
    let genuine = serde_json::to_value(&world.genuine).unwrap();
    let vault = world.again();
    let why = |line: &Value| {
        let said: Announcement = line.to_string().parse().unwrap();
        vault.signing_history().unwrap().learn(&said).unwrap_err()
    };
    assert!(matches!(why(&line), Unlearned::Gap { .. }));
    // As if it led to the genuine signer: without a proof, and without that signature.
    line["statement"]["public"] = genuine["public"].clone();
    let unproved = signed(&finder, line.clone());
    assert_eq!(why(&serde_json::to_value(&unproved).unwrap()), Unlearned::Forged);
    assert_eq!(why(&line), Unlearned::Forged);
}

/// What `verify` finds before anybody said anything, of one kind.
async fn found(store: &MemoryStore, vault: &Vault, kind: Defect) -> Vec<Finding<Defect>> {
    let over = Oubliette::unresumed(store.clone(), vault.clone(), Policy::sealed_by_default());
    let mut found = Vec::new();
    let take = |news| match news {
        VerifyProgress::Found(finding) if finding.kind == kind => found.push(finding),
        _ => {}
    };
    over.verify(VerifyOptions::default(), take).await.unwrap();
    found
}

fn asks(finding: &Finding<Defect>) -> [bool; 2] {
    ["`erasure::believe`", "`erasure::pass_over`"].map(|call| finding.remedy.contains(call))
}

/// What verify told was the same for a forgery and for the word of another restoration, and named nobody.
#[tokio::test]
async fn a_finding_names_the_signer_and_the_event_and_the_calls_where_they_are_the_remedy() {
    let world = Doubtful::new().await;
    let (vault, genuine) = (world.again(), world.genuine.id());
    let signer = world.genuine.signature().unwrap().1;
    let names = |finding: &Finding<Defect>, words: &[String]| {
        let Location::Event { id, .. } = finding.at else { panic!("{finding:?}") };
        assert_eq!(finding.signer, Some(signer));
        for word in words.iter().chain(&[id.to_string(), signer.to_string()]) {
            assert!(finding.what.contains(word), "{word}: {finding:?}");
        }
        assert_eq!(serde_json::to_value(finding).unwrap()["signer"], signer.to_string());
    };
    // By another restoration: its announcement, and the tombstone.
    let [said] = &found(&world.store, &vault, Defect::AnnouncementInDoubt).await[..] else {
        panic!()
    };
    names(said, &[genuine.to_string(), world.erasure.to_string()]);
    assert_eq!(asks(said), [true, true], "{}", said.remedy);
    let [set] = &found(&world.store, &vault, Defect::UnknownSigner).await[..] else { panic!() };
    names(set, &[genuine.to_string(), world.erasure.to_string()]);
    assert_eq!(asks(set), [true, true], "{}", set.remedy);
    assert!(found(&world.store, &vault, Defect::ForgedAnnouncement).await.is_empty());

    // Of another form, which nothing but a newer program applies; and one that nobody signed.
    let finder = restored(&world.place, "finder");
    let mut line = world.resealed(&finder, "user-2", true, &[("kind", "hold".into())]);
    let store = world.with_instead(&signed(&finder, line.clone())).await;
    let [newer] = &found(&store, &vault, Defect::AnnouncementInDoubt).await[..] else { panic!() };
    assert_eq!(asks(newer), [false, true], "{}", newer.remedy);
    assert!(newer.what.contains(&genuine.to_string()) && newer.what.contains("`hold`"));
    line["sig"] = "A".repeat(86).into();
    let store = world.with_instead(&line.to_string().parse().unwrap()).await;
    let [forged] = &found(&store, &vault, Defect::ForgedAnnouncement).await[..] else { panic!() };
    assert_eq!(asks(forged), [false, false], "{}", forged.remedy);
    let finders = finder.as_signer(|key| key.public()).unwrap().id();
    assert_eq!(forged.signer, Some(finders));
    assert!(
        forged.what.contains(&genuine.to_string()) && forged.what.contains(&finders.to_string())
    );
    // Without an announcement, nobody can believe anything.
    let [set] = &found(&store, &vault, Defect::UnknownSigner).await[..] else { panic!() };
    assert_eq!(asks(set), [false, false], "{}", set.remedy);
    names(set, &[]);
}
