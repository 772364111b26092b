//! Claims: owners count once their event is stored, and not before.

use super::*;
use crate::{
    event::{EventId, OwnerChange},
    vault::{Claim, Evidence, Owner},
};

pub(in crate::vault) fn claim(of: &str, event: EventId, change: OwnerChange) -> Claim {
    Claim { subject: subject(of), event, change, any: false, content: [0; 32], stored: false }
}

/// Claims, and settles whether the event was stored.
pub(in crate::vault) async fn owned(
    vault: &Vault,
    of: &str,
    change: OwnerChange,
    stored: bool,
) -> Result<Option<Generation>, VaultError> {
    let event = EventId::random();
    let generations = vault.claim(&[claim(of, event, change)]).await?;
    vault.settle(&subject(of), &[event], stored).await?;
    Ok(generations[0])
}

fn add(owner: &str) -> OwnerChange {
    OwnerChange::Add(subject(owner))
}

fn remove(owner: &str) -> OwnerChange {
    OwnerChange::Remove(subject(owner))
}

fn replace(owner: &str) -> OwnerChange {
    OwnerChange::Replace(subject(owner))
}

/// Per epoch: its first generation, whether it is settled, and the names of its settled owners.
fn tenures(vault: &Vault, of: &str) -> Vec<(u32, bool, Vec<String>)> {
    let state = vault.subject_state(&subject(of)).unwrap();
    let names = |owners: &[Owner]| {
        let settled = owners.iter().filter(|owner| owner.unsettled.is_none());
        settled
            .map(|owner| owner.subject.as_ref().map_or("-".into(), ToString::to_string))
            .collect()
    };
    let tenures = state.tenures.iter();
    tenures.map(|e| (e.from.0, e.unsettled.is_none(), names(&e.owners))).collect()
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn owners_join_leave_and_are_replaced() {
    let tree = tree();
    let vault = over(&tree);
    assert_eq!(owned(&vault, "account-1", add("a"), true).await.unwrap(), None);
    assert_eq!(owned(&vault, "account-1", add("b"), true).await.unwrap(), None);
    assert_eq!(tenures(&vault, "account-1"), [(1, true, names(&["a", "b"]))]);
    assert_eq!(owned(&vault, "account-1", remove("a"), true).await.unwrap(), Some(Generation(2)));
    assert_eq!(owned(&vault, "account-1", replace("c"), true).await.unwrap(), Some(Generation(3)));
    vault.flush().await.unwrap();
    drop(vault);
    let vault = over(&tree);
    let expected =
        [(1, true, names(&["a", "b"])), (2, true, names(&["b"])), (3, true, names(&["c"]))];
    assert_eq!(tenures(&vault, "account-1"), expected);
    for owner in ["a", "b", "c"] {
        assert_eq!(vault.dependents(&subject(owner)).unwrap(), [subject("account-1")]);
    }
    assert_eq!(vault.subject_state(&subject("account-1")).unwrap().current, Some(Generation(3)));
}

#[tokio::test]
async fn a_claim_is_durable_before_it_is_answered_and_open_until_settled() {
    let tree = tree();
    let vault = over(&tree);
    let event = EventId::random();
    vault.claim(&[claim("account-1", event, add("a"))]).await.unwrap();
    crash(vault);
    let vault = over(&tree);
    assert_eq!(tenures(&vault, "account-1"), [(1, true, vec![])]);
    let owner = vault.subject_state(&subject("account-1")).unwrap().tenures[0].owners[0].clone();
    assert_eq!((owner.subject, owner.unsettled), (Some(subject("a")), Some(event)));
    assert_eq!(vault.dependents(&subject("a")).unwrap(), [subject("account-1")]);
    // An owner who joins opens no generation: keys go on.
    key(&vault, "account-1", "account-1").await.unwrap();
}

#[tokio::test]
async fn a_rejected_append_leaves_the_owners_as_they_were() {
    let tree = tree();
    let vault = over(&tree);
    assert_eq!(owned(&vault, "account-1", add("mallory"), false).await.unwrap(), None);
    assert!(tenures(&vault, "account-1").is_empty());
    owned(&vault, "account-1", add("a"), true).await.unwrap();
    let before = key(&vault, "account-1", "account-1").await.unwrap();
    for change in [add("mallory"), replace("mallory"), remove("a")] {
        owned(&vault, "account-1", change, false).await.unwrap();
        assert_eq!(tenures(&vault, "account-1"), [(1, true, names(&["a"]))]);
        assert_eq!(key(&vault, "account-1", "account-1").await.unwrap().id(), before.id());
    }
    vault.flush().await.unwrap();
    drop(vault);
    let vault = over(&tree);
    assert_eq!(tenures(&vault, "account-1"), [(1, true, names(&["a"]))]);
    // Whoever was named once is still found from both sides, so that forgetting finds all names.
    assert_eq!(vault.dependents(&subject("mallory")).unwrap(), [subject("account-1")]);
    // The generations of what was withdrawn are not used again.
    assert_eq!(owned(&vault, "account-1", replace("b"), true).await.unwrap(), Some(Generation(4)));
}

#[tokio::test]
async fn a_rejected_joining_does_not_change_what_anys_forgetting_means() {
    let vault = over(&tree());
    owned(&vault, "account-1", add("a"), true).await.unwrap();
    let event = EventId::random();
    let claim = Claim { any: true, ..claim("account-1", event, add("mallory")) };
    vault.claim(&[claim]).await.unwrap();
    assert!(!vault.subject_state(&subject("account-1")).unwrap().tenures[0].any);
}

#[tokio::test]
async fn an_open_generation_is_for_its_own_append_alone() {
    let tree = tree();
    let vault = over(&tree);
    owned(&vault, "account-1", add("a"), true).await.unwrap();
    let first = key(&vault, "account-1", "account-1").await.unwrap();
    let event = EventId::random();
    let open = vault.claim(&[claim("account-1", event, replace("b"))]).await.unwrap();
    assert_eq!(open, [Some(Generation(2))]);
    let second = key_of(&vault, "account-1", "account-1", Some(2)).await.unwrap();
    assert_ne!(first.id(), second.id());
    assert_eq!(key_of(&vault, "account-1", "account-1", Some(2)).await.unwrap().id(), second.id());
    assert_eq!(key_of(&vault, "account-1", "account-1", Some(1)).await.unwrap().id(), first.id());
    let refused = |result: Result<Arc<DataKey>, VaultError>| matches!(result, Err(VaultError::Unsettled { event: by, .. }) if by == event);
    assert!(refused(key(&vault, "account-1", "account-1").await));
    assert!(matches!(
        key_of(&vault, "account-1", "account-1", Some(3)).await,
        Err(VaultError::NoGeneration { .. })
    ));
    crash(vault);

    let vault = over(&tree);
    assert!(refused(key(&vault, "account-1", "account-1").await));
    let other = claim("account-1", EventId::random(), replace("c"));
    assert!(matches!(
        vault.claim(&[other]).await,
        Err(VaultError::Unsettled { event: by, .. }) if by == event
    ));
    vault.settle(&subject("account-1"), &[event], true).await.unwrap();
    assert_eq!(key(&vault, "account-1", "account-1").await.unwrap().id(), second.id());
    live(vault.opening_key(first.id()));
}

#[tokio::test]
async fn a_settlement_that_a_crash_lost_is_asked_for_again() {
    let tree = tree();
    let vault = over(&tree);
    let event = EventId::random();
    vault.claim(&[claim("account-1", event, replace("b"))]).await.unwrap();
    let writes = vault.shared().disk.faults.writes.load(Ordering::SeqCst);
    vault.settle(&subject("account-1"), &[event], true).await.unwrap();
    assert_eq!(vault.shared().disk.faults.writes.load(Ordering::SeqCst), writes);
    assert!(vault.subject_state(&subject("account-1")).unwrap().tenures[1].unsettled.is_none());
    crash(vault);
    let vault = over(&tree);
    assert!(matches!(
        key(&vault, "account-1", "account-1").await,
        Err(VaultError::Unsettled { .. })
    ));
    vault.settle(&subject("account-1"), &[event], true).await.unwrap();
    key(&vault, "account-1", "account-1").await.unwrap();
    drop(vault);
    let expected = [(1, true, names(&[])), (2, true, names(&["b"]))];
    assert_eq!(tenures(&over(&tree), "account-1"), expected);
}

#[tokio::test]
async fn the_same_claim_again_has_the_same_answer() {
    let vault = over(&tree());
    owned(&vault, "account-1", add("a"), true).await.unwrap();
    let event = EventId::random();
    let claims = [claim("account-1", event, replace("b")), claim("account-1", event, add("c"))];
    let expected = [Some(Generation(2)), None];
    for _ in 0..3 {
        assert_eq!(vault.claim(&claims).await.unwrap(), expected);
    }
    vault.settle(&subject("account-1"), &[event], true).await.unwrap();
    let then = tenures(&vault, "account-1");
    assert_eq!(then[1], (2, true, names(&["b", "c"])));
    // Even long after, when others own the account.
    owned(&vault, "account-1", replace("d"), true).await.unwrap();
    let then = tenures(&vault, "account-1");
    assert_eq!(vault.claim(&claims).await.unwrap(), expected);
    vault.settle(&subject("account-1"), &[event], true).await.unwrap();
    assert_eq!(tenures(&vault, "account-1"), then);
}

#[tokio::test]
async fn several_changes_of_one_append_follow_each_other() {
    let vault = over(&tree());
    let events: Vec<EventId> = (0..3).map(|_| EventId::random()).collect();
    let claims = [
        claim("account-1", events[0], add("a")),
        claim("account-1", events[1], replace("b")),
        claim("account-1", events[2], add("c")),
        claim("ledger-1", events[2], add("account-1")),
    ];
    let generations = vault.claim(&claims).await.unwrap();
    assert_eq!(generations, [None, Some(Generation(2)), None, None]);
    vault.settle(&subject("account-1"), &events, true).await.unwrap();
    let expected = [(1, true, names(&["a"])), (2, true, names(&["b", "c"]))];
    assert_eq!(tenures(&vault, "account-1"), expected);
    assert_eq!(vault.dependents(&subject("account-1")).unwrap(), [subject("ledger-1")]);
}

#[tokio::test]
async fn nobody_comes_to_depend_on_the_forgotten() {
    let vault = over(&tree());
    forget(&vault, "a").await;
    for change in [add("a"), replace("a")] {
        let refused = owned(&vault, "account-1", change, true).await;
        assert!(matches!(refused, Err(VaultError::Forgotten { .. })), "{refused:?}");
    }
    // Neither did the refused claim leave half of itself.
    let both = [
        claim("account-1", EventId::random(), add("b")),
        claim("account-1", EventId::random(), add("a")),
    ];
    assert!(vault.claim(&both).await.is_err());
    assert!(tenures(&vault, "account-1").is_empty());
    assert_eq!(vault.dependents(&subject("b")).unwrap(), []);
}

#[tokio::test]
async fn an_account_of_many_owners_keeps_them_all() {
    let tree = tree();
    let vault = over(&tree);
    let owner = |n: u32| format!("{}-{n:04}", "o".repeat(240));
    let claims: Vec<Claim> =
        (0..300).map(|n| claim("account-1", EventId::random(), add(&owner(n)))).collect();
    vault.claim(&claims).await.unwrap();
    let events: Vec<EventId> = claims.iter().map(|claim| claim.event).collect();
    vault.settle(&subject("account-1"), &events, true).await.unwrap();
    drop(vault);
    let vault = over(&tree);
    assert_eq!(tenures(&vault, "account-1")[0].2.len(), 300);
    vault.claim(&[claim("account-1", EventId::random(), replace("one"))]).await.unwrap();
    forget(&vault, "account-1").await;
    assert_eq!(vault.dependents(&subject(&owner(299))).unwrap(), []);
}

#[tokio::test]
async fn the_first_owner_owns_what_was_before_but_not_what_is_dead() {
    let limits = Limits { seals_per_key: 1, ..Limits::default() };
    let vault = Vault::over(tree(), limits).unwrap();
    for _ in 0..3 {
        key(&vault, "account-1", "account-1").await.unwrap();
    }
    assert_eq!(vault.subject_state(&subject("account-1")).unwrap().current, Some(Generation(3)));
    destroy(&vault, ErasureId::now(), "account-1", spans(&[(1, 1)])).await.unwrap();
    owned(&vault, "account-1", add("a"), true).await.unwrap();
    assert_eq!(tenures(&vault, "account-1"), [(2, true, names(&["a"]))]);
}

#[tokio::test]
async fn a_retry_of_a_change_whose_generation_is_dead_needs_no_dead_key() {
    let tree = tree();
    let vault = over(&tree);
    let first = claim("account-1", EventId::random(), replace("a"));
    let begun = vault.claim(std::slice::from_ref(&first)).await.unwrap()[0].unwrap();
    vault.settle(&first.subject, &[first.event], true).await.unwrap();
    owned(&vault, "account-1", replace("b"), true).await.unwrap();
    let dead = Dead::Spans(vec![(begun, begun)]);
    destroy(&vault, ErasureId::now(), "account-1", dead).await.unwrap();
    let refused = vault.claim(std::slice::from_ref(&first)).await;
    assert!(matches!(refused, Err(VaultError::NoGeneration { .. })), "{refused:?}");
    assert_eq!(vault.claim(&[Claim { stored: true, ..first }]).await.unwrap(), [None]);
    key(&vault, "account-1", "account-1").await.unwrap();
}

#[tokio::test]
async fn whose_change_of_owner_is_open_is_not_closed_with_the_owner_before() {
    let tree = tree();
    let vault = over(&tree);
    key(&vault, "account-1", "account-1").await.unwrap();
    vault.claim(&[claim("account-1", EventId::random(), replace("b"))]).await.unwrap();
    let dead = Dead::Spans(vec![(Generation(1), Generation(1))]);
    destroy(&vault, ErasureId::now(), "account-1", dead).await.unwrap();
    // Whose the next generation is, nobody knows: it may be somebody's who is not forgotten.
    assert_eq!(vault.reopen(&subject("account-1")).await.unwrap(), None);
    assert_eq!(vault.dependents(&subject("b")).unwrap(), [subject("account-1")]);
    forget(&vault, "account-1").await;
    assert_eq!(vault.dependents(&subject("b")).unwrap(), []);
}

/// Forgotten with all that they had, and back, while the change was open: it is not known any more, so
/// that settling it late makes nobody an owner of what is sealed since.
#[tokio::test]
async fn a_change_of_owner_that_was_open_counts_no_more_once_they_are_back() {
    let tree = tree();
    let vault = over(&tree);
    let before = key(&vault, "account-1", "account-1").await.unwrap();
    let event = EventId::random();
    vault.claim(&[claim("account-1", event, replace("b"))]).await.unwrap();
    forget(&vault, "account-1").await;
    assert!(vault.reopen(&subject("account-1")).await.unwrap().is_some());
    let since = key(&vault, "account-1", "account-1").await.unwrap();
    for vault in [vault, over(&tree)] {
        vault.settle(&subject("account-1"), &[event], true).await.unwrap();
        assert_eq!(vault.dependents(&subject("b")).unwrap(), []);
        assert_eq!(tenures(&vault, "account-1"), []);
        shredded(vault.opening_key(before.id()));
        live(vault.opening_key(since.id()));
    }
}

/// Whether a claim is withdrawn by somebody who did not find its event, or whose own attempt failed. `meanwhile`: from
/// before they began, to after they began, until they say so.
async fn is_withdrawn(look: bool, before: bool, meanwhile: bool) -> bool {
    let vault = over(&tree());
    let event = EventId::random();
    let attempt = || vault.begin_claims(vec![event]);
    let earlier = before.then(attempt);
    let watch = if look { vault.begin_look(vec![event]) } else { attempt() };
    vault.claim(&[claim("account-1", event, add("a"))]).await.unwrap();
    drop(earlier);
    if meanwhile {
        drop(attempt());
    }
    let evidence = if look { Evidence::Nothing } else { Evidence::Withdrawn };
    let found = vec![(event, evidence)];
    let who = subject("account-1");
    vault.settle_by(&who, found.clone(), Some(watch.into())).await.unwrap();
    let state = vault.subject_state(&who).unwrap();
    let withdrawn = state.tenures.iter().all(|tenure| tenure.owners.is_empty());
    // Once it is quiet, whoever looks anew is believed; and nobody without a look.
    let nothing = vec![(event, Evidence::Nothing)];
    vault.settle_by(&who, nothing.clone(), None).await.unwrap();
    assert_eq!(vault.subject_state(&who).unwrap(), state);
    let anew = vault.begin_look(vec![event]);
    vault.settle_by(&who, nothing, Some(anew.into())).await.unwrap();
    let state = vault.subject_state(&who).unwrap();
    assert!(state.tenures.iter().all(|tenure| tenure.owners.is_empty()));
    withdrawn
}

#[tokio::test]
async fn what_one_did_not_find_or_write_says_nothing_of_another_attempt() {
    for look in [true, false] {
        assert!(is_withdrawn(look, false, false).await);
        assert!(!is_withdrawn(look, true, false).await, "one was in flight before: {look}");
        assert!(!is_withdrawn(look, false, true).await, "one began meanwhile: {look}");
        assert!(!is_withdrawn(look, true, true).await, "{look}");
    }
}
