//! What an append, a tag and a signature cost.

use std::time::Instant;

use ed25519_dalek::{Signer as _, SigningKey};
use hmac::{Hmac, KeyInit as _, Mac as _};
use oubliette::{
    event::{ANNOUNCEMENTS, Position, StreamName},
    layer::Codec,
    store::{
        Append, Capabilities, Capability, EventStoreExt as _, ExpectedRevision, ReadOptions,
        check_appends,
    },
    vault::{Vault, internals::Plumbing as _},
};
use sha2::Sha256;

use crate::{Bench, event, folder, layer, noted, policy, put, stream, subject, timed};

pub(crate) fn cases(bench: &mut Bench<'_>) {
    gates(bench);
    permits(bench);
    signatures(bench);
    names(bench);
}

/// The gate of the stream's own subject, beside that of whom the event is about.
fn gates(bench: &mut Bench<'_>) {
    let vault = Vault::in_memory().unwrap();
    let (one, both) = ([subject("user-1")], [subject("room-1"), subject("user-1")]);
    let handle = bench.runtime.handle().clone();
    bench.pair(
        "17",
        "passing two gates, against one",
        1000,
        timed(|| handle.block_on(vault.pass(&one)).unwrap()),
        timed(|| handle.block_on(vault.pass(&both)).unwrap()),
    );
}

fn permits(bench: &mut Bench<'_>) {
    let codec = Codec::new(Vault::in_memory().unwrap(), policy());
    let to = stream("user-1");
    let handle = bench.runtime.handle().clone();
    let seal = || handle.block_on(codec.seal(&to, noted())).unwrap();
    bench.pair(
        "19",
        "`seal` and `stored()` of an event that states no owner, against `seal`, vault in memory",
        50,
        timed(seal),
        timed(|| handle.block_on(seal().stored()).unwrap()),
    );

    // Each in an account of its own, whose key is made for it: what states owners makes a stream's record grow.
    let folder = folder();
    let vault = Vault::create(&folder.path().join("vault"), &folder.path().join("root")).unwrap();
    let codec = Codec::new(vault, policy());
    let mut account = 0;
    let mut first = |kind: &'static str, times: u64| {
        let names: Vec<StreamName> = (0..times)
            .map(|_| {
                account += 1;
                stream(&format!("account-{account}"))
            })
            .collect();
        let start = Instant::now();
        for name in names {
            let event = event(kind, r#"{"owner":"user-1","memo":"a debt"}"#);
            let sealed = handle.block_on(codec.seal(&name, event)).unwrap();
            handle.block_on(sealed.stored()).unwrap();
        }
        start.elapsed()
    };
    let first = std::cell::RefCell::new(&mut first);
    bench.pair(
        "30",
        "`seal` and `stored()` of the first event of a stream on disk, which states an owner, against one that does not",
        2,
        |times| (first.borrow_mut())("Noted", times),
        |times| (first.borrow_mut())("Opened", times),
    );
}

/// A signature, where a tag would convince nobody but the vault's holder; and what checking one adds.
fn signatures(bench: &mut Bench<'_>) {
    let key = SigningKey::from_bytes(&[7; 32]);
    let said = [7; 600];
    let signature = key.sign(&said);
    let public = key.verifying_key().to_bytes();
    let mac = Hmac::<Sha256>::new_from_slice(&[7; 32]).unwrap();
    let tag = || mac.clone().chain_update(said).finalize();
    let verify = || {
        let key = ed25519_dalek::VerifyingKey::from_bytes(&public).unwrap();
        key.verify_strict(&said, &signature).unwrap();
    };
    bench.pair(
        "20",
        "a signature over 600 bytes, against a tag",
        20,
        timed(tag),
        timed(|| key.sign(&said)),
    );
    bench.pair("20", "checking a signature, against a tag", 20, timed(tag), timed(verify));

    let announced = bench.run(async {
        let (layer, store, _) = layer().await;
        put(&layer, "user-1", vec![noted()]).await;
        layer.forget(&subject("user-1"), "measured").await.unwrap();
        store.events(&stream(ANNOUNCEMENTS), ReadOptions::default()).await.unwrap().remove(0)
    });
    let announced = announced.data.unwrap();
    let text = announced.as_json().unwrap();
    bench.pair(
        "24",
        "the canonical form of an announcement, against checking its signature",
        20,
        timed(verify),
        timed(|| text.to_canonical()),
    );
}

fn names(bench: &mut Bench<'_>) {
    bench.pair(
        "34",
        "taking a name of 20 letters, each of them accented, against one in ASCII",
        1000,
        timed(|| StreamName::new("abcdefghijklmnopqrst").unwrap()),
        timed(|| StreamName::new("éàüöäñçøåêîôûëïéàüöä").unwrap()),
    );
    let mixed = |number: u64| number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let numbers: Vec<u64> = (0..10_000).map(mixed).collect();
    let positions: Vec<Position> = numbers.iter().copied().map(Position::number).collect();
    bench.pair(
        "27",
        "sorting 10,000 positions, against as many numbers",
        1,
        timed(|| {
            let mut numbers = numbers.clone();
            numbers.sort_unstable();
            numbers
        }),
        timed(|| {
            let mut positions = positions.clone();
            positions.sort_unstable();
            positions
        }),
    );
    let append = [Append::new(stream("user-1"), ExpectedRevision::Any, vec![noted()])];
    let fewer = Capabilities::ALL.without(Capability::LongNumbers).without(Capability::Nul);
    bench.pair(
        "28",
        "checking an event of 300 bytes for a store without long numbers and U+0000, against one that keeps all",
        1000,
        timed(|| check_appends(&append, Capabilities::ALL).unwrap()),
        timed(|| check_appends(&append, fewer).unwrap()),
    );
}
