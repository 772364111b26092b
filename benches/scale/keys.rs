//! Making keys, by one task or by many.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use oubliette::{
    event::{KeyId, Layout, PolicyDigest, StreamName, Subject},
    vault::{
        Vault,
        internals::{KeyRequest, Plumbing as _},
    },
};
use tokio::runtime::Runtime;

/// The key of a stream for a subject, made if there is none.
pub(crate) async fn key(vault: &Vault, stream: &StreamName, subject: &Subject) -> KeyId {
    let request = KeyRequest {
        stream,
        subject,
        generation: None,
        layout: Layout::Sealed,
        policy: PolicyDigest([7; 8]),
    };
    vault.sealing_key(request, 1).await.unwrap().id()
}

pub(crate) fn subject(kind: &str, number: u64) -> Subject {
    Subject::new(format!("{kind}-{number}")).unwrap()
}

/// Makes the keys of so many subjects of one stream each, by so many tasks at once. Says how long
/// that took, and the ids of a sample of them: each `every`th, 0 for none.
pub(crate) fn make(
    runtime: &Runtime,
    vault: &Vault,
    kind: &'static str,
    count: u64,
    tasks: u64,
    every: u64,
    progress: bool,
) -> (Duration, Vec<KeyId>) {
    let next = Arc::new(AtomicU64::new(0));
    let begin = Instant::now();
    let mut sample = Vec::new();
    runtime.block_on(async {
        let task = || {
            let (vault, next) = (vault.clone(), Arc::clone(&next));
            tokio::spawn(async move {
                let mut sample = Vec::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return sample;
                    }
                    let subject = subject(kind, number);
                    let id = key(&vault, &subject.stream(), &subject).await;
                    if every > 0 && number.is_multiple_of(every) {
                        sample.push(id);
                    }
                    if progress && number.is_multiple_of(250_000) && number > 0 {
                        let rate = number as f64 / begin.elapsed().as_secs_f64();
                        eprintln!("      {number} keys, {rate:.0}/s so far");
                    }
                }
            })
        };
        let running: Vec<_> = (0..tasks).map(|_| task()).collect();
        for task in running {
            sample.extend(task.await.unwrap());
        }
    });
    (begin.elapsed(), sample)
}

/// Makes the keys of one subject in so many streams.
pub(crate) fn make_streams(runtime: &Runtime, vault: &Vault, subject: &Subject, streams: u64) {
    runtime.block_on(async {
        let task = |number: u64| {
            let (vault, subject) = (vault.clone(), subject.clone());
            tokio::spawn(async move {
                let stream = StreamName::new(format!("of-{subject}-{number}")).unwrap();
                key(&vault, &stream, &subject).await;
            })
        };
        for task in (0..streams).map(task).collect::<Vec<_>>() {
            task.await.unwrap();
        }
    });
}
