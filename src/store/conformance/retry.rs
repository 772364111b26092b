//! The cases about event ids that come a second time.

use std::sync::Arc;

use tokio::sync::Barrier;

use super::kit::{Decision, Kit, TASKS, ensure, join};
use crate::{
    event::{NewEvent, Revision},
    store::{Append, Appended, Capability, ExpectedRevision, StoreError},
};
use ExpectedRevision::{Any, Exact, NoStream, StreamExists};

fn is_answer_to_a_retry(first: Appended, again: Appended) -> Decision {
    ensure!(again.already, "a retry was not answered as one");
    ensure!(
        (first.revision, first.position) == (again.revision, again.position),
        "a retry was told revision {} and position {}, its events are at {} and {}",
        again.revision,
        again.position,
        first.revision,
        first.position
    );
    Ok(())
}

pub(super) async fn retry_is_answered_as_done(kit: &Kit<'_>) -> Decision {
    let stream = kit.stream("a")?;
    let one = kit.events(1)?;
    let three = kit.events(3)?;
    let first = kit.append(&stream, NoStream, one.clone()).await?;
    is_answer_to_a_retry(first, kit.append(&stream, NoStream, one.clone()).await?)?;
    let second = kit.append(&stream, Exact(first.revision), three.clone()).await?;
    let later = kit.events(2)?;
    kit.append(&stream, Any, later.clone()).await?;

    for expected in [NoStream, StreamExists, Any, Exact(first.revision), Exact(Revision(u64::MAX))]
    {
        is_answer_to_a_retry(first, kit.append(&stream, expected, one.clone()).await?)?;
        is_answer_to_a_retry(second, kit.append(&stream, expected, three.clone()).await?)?;
    }

    // Other bytes under the same id: as sealing again gives. What was written first stays. Only
    // the layer knows what they mean, and refuses.
    let changed: Vec<NewEvent> = three
        .iter()
        .map(|event| Ok(NewEvent { data: kit.payload("\"changed\"")?.into(), ..event.clone() }))
        .collect::<Decision<_>>()?;
    match kit.store.append(vec![Append::new(stream.clone(), Any, changed)]).await {
        Ok(again) => {
            ensure!(again.len() == 1, "one stream was appended to, {} are answered", again.len());
            is_answer_to_a_retry(second, again[0])?;
        }
        Err(StoreError::OtherContent { .. }) => {}
        Err(other) => return Err(format!("other bytes in a retry: {other}")),
    }

    // Some events of an append by themselves: all ids that come are there.
    let found = kit.read(&stream).await?;
    let of_two = found.iter().find(|event| event.id == three[1].id).ok_or("an event is gone")?;
    let of_two = Appended { revision: of_two.revision, position: of_two.position, already: false };
    is_answer_to_a_retry(of_two, kit.append(&stream, Any, three[..2].to_vec()).await?)?;
    kit.holds(&stream, &[one, three, later].concat()).await?;

    if kit.has(Capability::AtomicMultiStream) {
        let appends = vec![
            Append::new(kit.stream("b")?, NoStream, kit.events(2)?),
            Append::new(kit.stream("c")?, NoStream, kit.events(2)?),
        ];
        let first = kit.append_all(appends.clone()).await?;
        for (first, again) in first.iter().zip(kit.append_all(appends.clone()).await?) {
            is_answer_to_a_retry(*first, again)?;
        }
        for Append { stream, events, .. } in &appends {
            kit.holds(stream, events).await?;
        }
    }
    retries_at_once(kit).await
}

/// The same append from many tasks: one writes, and all are told the same.
async fn retries_at_once(kit: &Kit<'_>) -> Decision {
    let stream = kit.stream("d")?;
    let events = kit.events(3)?;
    let barrier = Arc::new(Barrier::new(TASKS));
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            let (store, barrier) = (Arc::clone(kit.store), Arc::clone(&barrier));
            let append = Append::new(stream.clone(), NoStream, events.clone());
            tokio::spawn(async move {
                barrier.wait().await;
                store.append(vec![append]).await
            })
        })
        .collect();
    let mut answers = Vec::new();
    for task in tasks {
        let answer = join(task).await?;
        let answer = answer.map_err(|error| format!("one of several retries failed: {error}"))?;
        answers.extend(answer);
    }
    ensure!(
        answers.iter().filter(|answer| !answer.already).count() == 1,
        "not exactly one of several concurrent retries wrote"
    );
    ensure!(
        answers.windows(2).all(|pair| {
            (pair[0].revision, pair[0].position) == (pair[1].revision, pair[1].position)
        }),
        "concurrent retries were told different places"
    );
    kit.holds(&stream, &events).await
}

pub(super) async fn partial_retry_is_refused(kit: &Kit<'_>) -> Decision {
    let (a, b) = (kit.stream("a")?, kit.stream("b")?);
    let known = kit.events(3)?;
    kit.append(&a, Any, known.clone()).await?;
    let elsewhere = kit.events(2)?;
    kit.append(&b, Any, elsewhere.clone()).await?;

    let new = || kit.event(9);
    let twice = new()?;
    let bad = [
        ("a known id, then a new one", vec![known[0].clone(), new()?]),
        ("a new id, then a known one", vec![new()?, known[2].clone()]),
        ("all known ids and a new one", [known.clone(), vec![new()?]].concat()),
        ("an id of another stream", vec![elsewhere[0].clone()]),
        ("a new id, then one of another stream", vec![new()?, elsewhere[1].clone()]),
        ("a known id, then one of another stream", vec![known[1].clone(), elsewhere[1].clone()]),
        ("a new id twice", vec![twice.clone(), new()?, twice.clone()]),
        ("a known id twice", vec![known[0].clone(), known[0].clone()]),
    ];
    for (what, events) in bad {
        for expected in [Any, NoStream] {
            let append = Append::new(a.clone(), expected, events.clone());
            is_in_use(what, &kit.refused(vec![append]).await?)?;
        }
    }
    if kit.has(Capability::AtomicMultiStream) {
        let c = kit.stream("c")?;
        let of = |stream, events| Append::new(stream, Any, events);
        let bad = [
            (
                "the same new id in two streams",
                vec![of(a.clone(), vec![twice.clone()]), of(c.clone(), vec![twice])],
            ),
            (
                "known ids in one stream, new ones in another",
                vec![of(a.clone(), known.clone()), of(c.clone(), vec![new()?])],
            ),
            (
                "new ids in one stream, known ones in another",
                vec![of(c.clone(), vec![new()?]), of(a.clone(), known.clone())],
            ),
        ];
        for (what, appends) in bad {
            is_in_use(what, &kit.refused(appends).await?)?;
        }
        kit.holds(&c, &[]).await?;
    }
    kit.holds(&a, &known).await?;
    kit.holds(&b, &elsewhere).await
}

fn is_in_use(what: &str, error: &StoreError) -> Decision {
    match error {
        StoreError::IdInUse { .. } => Ok(()),
        other => Err(format!("{what}: IdInUse was due and came: {other}")),
    }
}
