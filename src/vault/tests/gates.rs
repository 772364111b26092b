//! Admissions and closures: nobody forgets under an append, nobody waits for ever.

use std::{pin::Pin, time::Duration};

use futures::FutureExt;

use super::*;
use crate::vault::{Admission, AdmissionRequest};

fn shared(names: &[&str]) -> AdmissionRequest {
    AdmissionRequest {
        shared: names.iter().map(|name| subject(name)).collect(),
        ..AdmissionRequest::default()
    }
}

fn exclusive(names: &[&str]) -> AdmissionRequest {
    AdmissionRequest {
        exclusive: names.iter().map(|name| subject(name)).collect(),
        ..AdmissionRequest::default()
    }
}

/// An admission that is asked for, and polled once.
struct Asked<'a>(Pin<Box<dyn Future<Output = Result<Admission, VaultError>> + Send + 'a>>);

impl<'a> Asked<'a> {
    fn new(
        vault: &'a Vault,
        opening: AdmissionRequest,
    ) -> (Self, Option<Result<Admission, VaultError>>) {
        let mut asked = Self(Box::pin(vault.admit(opening)));
        let now = asked.now();
        (asked, now)
    }

    fn now(&mut self) -> Option<Result<Admission, VaultError>> {
        self.0.as_mut().now_or_never()
    }
}

#[tokio::test]
async fn a_closure_drains_and_the_forgotten_are_refused() {
    let vault = over(&tree());
    let in_flight = vault.admit(shared(&["a", "b"])).await.unwrap();
    let names = [subject("a")];
    let mut closing = Box::pin(vault.close(&names));
    assert!(closing.as_mut().now_or_never().is_none(), "an append is in flight");
    let (mut waiting, now) = Asked::new(&vault, shared(&["a"]));
    assert!(now.is_none(), "closing subjects admit nobody");
    let (_, other) = Asked::new(&vault, shared(&["b", "c"]));
    assert!(other.unwrap().is_ok(), "others go on");
    drop(in_flight);
    let closure = closing.await;
    assert!(waiting.now().is_none());
    let erasure = forget(&vault, "a").await;
    assert!(waiting.now().is_none());
    drop(closure);
    let refused = waiting.now().unwrap();
    assert!(matches!(refused, Err(VaultError::Forgotten { erasure: by, .. }) if by == erasure));
    assert!(matches!(vault.admit(shared(&["a"])).await, Err(VaultError::Forgotten { .. })));
    vault.reopen(&subject("a")).await.unwrap();
    assert!(vault.admit(shared(&["a"])).await.is_ok());
}

#[tokio::test]
async fn a_closure_without_consequence_lets_the_waiting_go_on() {
    let vault = over(&tree());
    let closure = vault.close(&[subject("a"), subject("b")]).await;
    let (mut waiting, now) = Asked::new(&vault, exclusive(&["b"]));
    assert!(now.is_none());
    drop(closure);
    assert!(waiting.now().unwrap().is_ok());
}

#[tokio::test]
async fn closures_overlap_and_are_extended() {
    let vault = over(&tree());
    let mut first = vault.close(&[subject("a"), subject("a")]).await;
    let second = vault.close(&[subject("a")]).await;
    let in_flight = vault.admit(shared(&["b"])).await.unwrap();
    let further = [subject("b"), subject("a")];
    {
        let mut extending = Box::pin(first.extend(&further));
        assert!(extending.as_mut().now_or_never().is_none());
        drop(in_flight);
        extending.await;
    }
    let (mut a, _) = Asked::new(&vault, shared(&["a"]));
    let (mut b, _) = Asked::new(&vault, shared(&["b"]));
    drop(first);
    assert!(a.now().is_none(), "the second closure lasts");
    assert!(b.now().unwrap().is_ok());
    drop(second);
    assert!(a.now().unwrap().is_ok());
}

#[tokio::test]
async fn a_closure_that_is_given_up_while_draining_closes_nothing() {
    let vault = over(&tree());
    let in_flight = vault.admit(shared(&["a"])).await.unwrap();
    let names = [subject("a")];
    let mut closing = Box::pin(vault.close(&names));
    assert!(closing.as_mut().now_or_never().is_none());
    drop(closing);
    assert!(Asked::new(&vault, shared(&["a"])).1.unwrap().is_ok());
    drop(in_flight);
    assert!(vault.admit(exclusive(&["a"])).await.is_ok());
}

#[tokio::test]
async fn exclusive_means_alone() {
    let vault = over(&tree());
    let reader = vault.admit(shared(&["a"])).await.unwrap();
    let (mut writer, now) = Asked::new(&vault, exclusive(&["a"]));
    assert!(now.is_none());
    let (mut late, now) = Asked::new(&vault, shared(&["a"]));
    assert!(now.is_none(), "nobody overtakes an exclusive one");
    drop(reader);
    assert!(late.now().is_none());
    let writing = writer.now().unwrap().unwrap();
    assert!(late.now().is_none());
    let (mut second, now) = Asked::new(&vault, exclusive(&["a"]));
    assert!(now.is_none());
    drop(writing);
    assert!(second.now().is_none(), "the one who came before goes first");
    drop(late.now().unwrap().unwrap());
    drop(second.now().unwrap().unwrap());
}

#[tokio::test]
async fn a_subject_named_twice_is_admitted_once_and_exclusively() {
    let vault = over(&tree());
    let both = AdmissionRequest {
        shared: vec![subject("a"), subject("a")],
        exclusive: vec![subject("a")],
    };
    let admission = vault.admit(both).await.unwrap();
    let (mut other, now) = Asked::new(&vault, shared(&["a"]));
    assert!(now.is_none());
    drop(admission);
    assert!(other.now().unwrap().is_ok());
}

#[tokio::test]
async fn who_gives_up_waiting_blocks_nobody() {
    let vault = over(&tree());
    let reader = vault.admit(shared(&["a"])).await.unwrap();
    let (writer, _) = Asked::new(&vault, exclusive(&["a"]));
    let (mut late, now) = Asked::new(&vault, shared(&["a"]));
    assert!(now.is_none());
    drop(writer);
    assert!(late.now().unwrap().is_ok());
    drop(reader);
}

#[tokio::test]
async fn who_waits_for_a_closure_blocks_nobody_elsewhere() {
    let vault = over(&tree());
    let reader = vault.admit(shared(&["a"])).await.unwrap();
    let (mut both, now) = Asked::new(&vault, exclusive(&["a", "b"]));
    assert!(now.is_none());
    let closure = vault.close(&[subject("b")]).await;
    assert!(both.now().is_none());
    let (_, other) = Asked::new(&vault, shared(&["a"]));
    assert!(other.unwrap().is_ok());
    drop((closure, reader));
    assert!(both.now().unwrap().is_ok());
}

#[tokio::test]
async fn guards_may_end_on_any_thread_and_after_the_vault() {
    fn sends<T: Send + Sync + 'static>(guard: T) -> T {
        guard
    }
    let vault = over(&tree());
    let admission = sends(vault.admit(shared(&["a"])).await.unwrap());
    let closure = sends(vault.close(&[subject("b")]).await);
    let clone = vault.clone();
    let waiting = tokio::spawn(async move { clone.admit(exclusive(&["a", "b"])).await });
    std::thread::spawn(move || drop((admission, closure))).join().unwrap();
    let admission = waiting.await.unwrap().unwrap();
    drop(vault);
    drop(admission);
}

/// Threads append for each other's subjects, alone and together, while others close: everyone
/// gets through, and nobody is in together who must not be.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn everyone_gets_through_and_nobody_together_who_must_not() {
    let vault = over(&tree());
    let names = ["a", "b", "c", "d"];
    let inside: Arc<[AtomicU64; 4]> = Arc::default();
    // Who is in alone counts a thousand.
    let enter = |inside: &[AtomicU64; 4], at: usize, weight: u64| {
        let before = inside[at].fetch_add(weight, Ordering::SeqCst);
        let alone = weight == 1000;
        assert!(if alone { before == 0 } else { before < 1000 }, "{before} were in");
    };
    let tasks: Vec<_> = (0..8_usize)
        .map(|task| {
            let (vault, inside) = (vault.clone(), Arc::clone(&inside));
            tokio::spawn(async move {
                for round in 0..150_usize {
                    let (one, two) = ((task + round) % 4, (task * 3 + round / 2) % 4);
                    let weights: Vec<(usize, u64)> = match round % 5 {
                        0 => vec![(one, 1000)],
                        1 if one != two => vec![(one, 1000), (two, 1)],
                        _ if one != two => vec![(one, 1), (two, 1)],
                        _ => vec![(one, 1)],
                    };
                    let opening = AdmissionRequest {
                        shared: weights
                            .iter()
                            .filter(|w| w.1 == 1)
                            .map(|w| subject(names[w.0]))
                            .collect(),
                        exclusive: weights
                            .iter()
                            .filter(|w| w.1 > 1)
                            .map(|w| subject(names[w.0]))
                            .collect(),
                    };
                    let guard: Box<dyn Send> = if task < 2 {
                        let all: Vec<_> =
                            opening.shared.iter().chain(&opening.exclusive).cloned().collect();
                        let closure = vault.close(&all).await;
                        weights.iter().for_each(|w| {
                            // Closures may overlap each other, but nothing else.
                            assert_eq!(inside[w.0].load(Ordering::SeqCst), 0);
                        });
                        Box::new(closure)
                    } else {
                        let admission = vault.admit(opening).await.unwrap();
                        weights.iter().for_each(|w| enter(&inside, w.0, w.1));
                        tokio::task::yield_now().await;
                        weights.iter().for_each(|w| {
                            inside[w.0].fetch_sub(w.1, Ordering::SeqCst);
                        });
                        Box::new(admission)
                    };
                    drop(guard);
                }
            })
        })
        .collect();
    let all = futures::future::join_all(tasks);
    // No test of speed: only that it ends at all.
    for task in
        tokio::time::timeout(Duration::from_secs(60), all).await.expect("someone waits for ever")
    {
        task.unwrap();
    }
}
