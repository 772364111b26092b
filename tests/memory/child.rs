//! The child of the test `no_destroyed_key_is_left_in_memory`: it works with a vault and waits at each step, while its
//! parent reads all of its memory.
//!
//! A program by itself, so that it can be optimised as what people run is, without all other tests; and a module of the
//! library's tests, which start themselves as the child where they are given no such program.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::{
    env,
    io::{self, Write},
    path::PathBuf,
    sync::Arc,
    thread,
};

#[allow(unused_imports)] // In the library itself the methods are the vault's own.
use oubliette::vault::internals::Plumbing as _;
use oubliette::{
    crypto::internals::{Body, Context, DataKey, PublicDigest, Purpose, SealPart, open, seal},
    event::{ErasureId, EventId, EventType, Layout, PolicyDigest, StreamName, Subject},
    vault::{
        Vault,
        internals::{Dead, Destruction, KeyLookup, KeyRequest, Loss},
    },
};

/// Where the child finds its folder.
pub(crate) const FOLDER: &str = "OUBLIETTE_MEMORY_TEST";
/// The program that is the child, where it is not the one that tests: `./test` gives one that is optimised, because what a
/// compiler leaves on the stack depends on that.
pub(crate) const CHILD: &str = "OUBLIETTE_MEMORY_CHILD";
pub(crate) const VICTIM: &str = "user-7";
pub(crate) const OTHER: &str = "user-8";
pub(crate) const STREAMS: [&str; 3] = ["user", "ledger", "letters"];

pub(crate) fn main() {
    // Who names a program for the child wants one that is optimised.
    assert!(env::var_os(CHILD).is_none() || !cfg!(debug_assertions), "this is a development build");
    let Some(folder) = env::var_os(FOLDER).map(PathBuf::from) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let (pages, root) = (folder.join("vault"), folder.join("root"));
    let vault = Vault::create(&pages, &root).unwrap();
    runtime.block_on(async {
        let names: Vec<String> = (0..300).map(|n| format!("user-{n}")).collect();
        let made = names.iter().map(|name| sealing_key(&vault, "user", name));
        futures::future::join_all(made).await;
    });
    // As if it came from another run: keys are read from pages, and not made.
    drop(vault);
    let vault = Vault::open(&pages, &root).unwrap();
    for who in [OTHER, VICTIM] {
        for stream in STREAMS {
            runtime.block_on(seal_and_open(&vault, stream, who));
        }
    }
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                for who in [OTHER, VICTIM] {
                    runtime.block_on(seal_and_open(&vault, "letters", who));
                    assert_eq!(vault.keys_of(&subject(who)).unwrap().len(), STREAMS.len());
                }
                assert!(vault.inventory().all(|entry| entry.is_ok()));
            });
        }
    });
    tell("used");

    runtime.block_on(async {
        let losses = vec![Loss { subject: subject(VICTIM), dead: Dead::All }];
        let destruction = Destruction::new(ErasureId::now(), losses);
        assert_eq!(vault.destroy(&destruction, b"").await.unwrap().keys, STREAMS.len() as u64);
    });
    tell("forgotten");

    runtime.block_on(vault.rotate_root()).unwrap();
    tell("rotated");

    drop(vault);
    tell("closed");
}

fn subject(name: &str) -> Subject {
    Subject::new(name).unwrap()
}

async fn sealing_key(vault: &Vault, stream: &str, whose: &str) -> Arc<DataKey> {
    let request = KeyRequest {
        stream: &StreamName::new(stream).unwrap(),
        subject: &subject(whose),
        generation: None,
        layout: Layout::Sealed,
        policy: PolicyDigest::default(),
    };
    vault.sealing_key(request, 1).await.unwrap()
}

async fn seal_and_open(vault: &Vault, stream: &str, whose: &str) {
    let key = sealing_key(vault, stream, whose).await;
    let (name, event_type) = (StreamName::new(stream).unwrap(), EventType::new("Moved").unwrap());
    let context = Context {
        purpose: Purpose::Event,
        stream: &name,
        event_id: EventId::random(),
        event_type: &event_type,
    };
    let body = Body::Json("{\"to\":\"Leipzig\"}");
    let policy = PolicyDigest::default();
    let part = SealPart { key: &key, policy, body, metadata: "", pad: 0 };
    let public = PublicDigest::NOTHING;
    let token = seal(&[part], &context, &public).unwrap().remove(0);
    let associated = context.associated([token.key_id()].into_iter(), &public);
    let KeyLookup::Live { key, .. } = vault.opening_key(token.key_id()).unwrap() else { panic!() };
    assert_eq!(open(token, &key, &associated).unwrap().body().unwrap(), body);
}

/// Says how far the child is, and waits until its parent has looked.
fn tell(step: &str) {
    let mut stdout = io::stdout();
    writeln!(stdout, "\nreached {step}").unwrap();
    stdout.flush().unwrap();
    io::stdin().read_line(&mut String::new()).unwrap();
}
