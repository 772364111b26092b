//! From an address to a store, or to the reason why not: each says what to do, and none tells a password.

use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use oubliette::{
    store::{Capability, Delivery, Filter, ReadAllOptions},
    *,
};
use oubliette_jetstream::{ConnectOptions, JetStreamError, JetStreamOptions, JetStreamStore};
use oubliette_servers::free_port;
use serde_json::{Value, json};

use crate::common::{api, append_of, edit, events, ids_of, options, server, server_with};

fn told(error: &JetStreamError) -> String {
    format!("{error} {error:?}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_is_made_once_and_opened_then() {
    let Some(nats) = server() else { return };
    let url = nats.url();
    let missing = JetStreamStore::open(&url).await.unwrap_err();
    assert!(
        matches!(&missing, JetStreamError::Missing { stream } if stream == "OUBLIETTE"),
        "{missing:?}"
    );
    let (one, other) = tokio::join!(JetStreamStore::create(&url), JetStreamStore::create(&url));
    let (one, other) = (one.unwrap(), other.unwrap());
    one.append(vec![append_of("a", events(2))]).await.unwrap();
    assert_eq!(ids_of(&other, "a").await.len(), 2);
    let opened = JetStreamStore::open(&url).await.unwrap();
    assert_eq!(ids_of(&opened, "a").await.len(), 2);
    assert!(opened.capabilities().has(Capability::AtomicMultiStream));
    assert!(!opened.capabilities().has(Capability::Restore));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stored_means_is_told() {
    let Some(nats) = server() else { return };
    let store = JetStreamStore::create(&nats.url()).await.unwrap();
    let [synced, replicas] = store.doubts() else { panic!("{:?}", store.doubts()) };
    assert!(
        synced.contains("every two minutes") && synced.contains("sync_interval: always"),
        "{synced}"
    );
    assert!(replicas.contains("num_replicas") && replicas.contains('3'), "{replicas}");
    let stated = JetStreamOptions::new(nats.url()).synced_always().open().await.unwrap();
    assert_eq!(stated.doubts(), std::slice::from_ref(replicas));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_address_says_what_is_wrong() {
    let Some(nats) = server() else { return };
    let bad = JetStreamStore::open("no address: at all").await.unwrap_err();
    assert!(matches!(bad, JetStreamError::Address), "{bad:?}");
    let nobody = format!("nats://me:hunter2@127.0.0.1:{}", free_port());
    let refused = JetStreamStore::open(&nobody).await.unwrap_err();
    assert!(matches!(refused, JetStreamError::Connect { .. }), "{refused:?}");
    assert!(
        !told(&refused).contains("hunter2") && told(&refused).contains("127.0.0.1"),
        "{refused:?}"
    );
    // Something else listens there: it sends nothing, or closes.
    let other = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = format!("nats://127.0.0.1:{}", other.local_addr().unwrap().port());
    tokio::spawn(async move { while other.accept().await.is_ok() {} });
    let refused = JetStreamStore::open(&address).await.unwrap_err();
    assert!(matches!(refused, JetStreamError::Connect { .. }), "{refused:?}");
    for (stream, prefix) in [("a.b", "p"), ("", "p"), ("S", "p.*"), ("S", "")] {
        let options = JetStreamOptions::new(nats.url()).stream(stream).prefix(prefix);
        assert!(!format!("{options:?}").contains("nats://"));
        assert!(
            matches!(options.open().await, Err(JetStreamError::Option { .. })),
            "{stream} {prefix}"
        );
    }
    let even = JetStreamOptions::new(nats.url()).replicas(2).create().await;
    assert!(matches!(even, Err(JetStreamError::Option { option: "replicas", .. })));
    // One server keeps one copy.
    let alone = options(&nats.url()).replicas(3).create().await.unwrap_err();
    assert!(
        matches!(&alone, JetStreamError::Create { said, .. } if said.contains("replicas")),
        "{alone:?}"
    );
}

const USERS: &str = r#"
accounts {
  BANK {
    jetstream: enabled
    users: [
      { user: all, password: hunter2 }
      { user: reader, password: hunter2, permissions: {
          publish: ["$JS.API.STREAM.INFO.*", "$JS.API.DIRECT.GET.*"], subscribe: ["_INBOX.>"] } }
      { user: narrow, password: hunter2, permissions: { subscribe: ["_INBOX.>"], publish: ["$JS.API.>", "rights.%",
          "rights.a"] } }
      { user: nothing, password: hunter2, permissions: { publish: ["nothing"], subscribe: ["_INBOX.>"] } }
      { user: deaf, password: hunter2, permissions: { subscribe: ["nothing"] } }
    ]
  }
  OTHER { users: [ { user: other, password: hunter2 } ] }
}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn no_rights_no_store_and_no_password_is_told() {
    let Some(nats) = server_with(USERS) else { return };
    let as_user = |user: &str, password: &str| {
        let url = nats.url().replace("nats://", &format!("nats://{user}:{password}@"));
        JetStreamOptions::new(url)
            .stream("RIGHTS")
            .prefix("rights")
            .patience(Duration::from_secs(7))
    };
    let all = as_user("all", "hunter2").create().await.unwrap();
    assert!(!format!("{all:?}").contains("hunter2"), "{all:?}");
    let wrong = as_user("all", "swordfish").open().await.unwrap_err();
    assert!(
        matches!(&wrong, JetStreamError::Connect { why, .. } if why.contains("password")),
        "{wrong:?}"
    );
    assert!(!told(&wrong).contains("swordfish"));
    for user in ["reader", "nothing"] {
        let refused = as_user(user, "hunter2").open().await.unwrap_err();
        assert!(matches!(&refused, JetStreamError::NotAllowed { .. }), "{user}: {refused:?}");
        assert!(
            told(&refused).contains("Publish") && !told(&refused).contains("hunter2"),
            "{refused:?}"
        );
    }
    // It cannot hear any answer.
    let deaf = as_user("deaf", "hunter2").open().await.unwrap_err();
    assert!(
        matches!(deaf, JetStreamError::NotAllowed { .. } | JetStreamError::NoAnswer(_)),
        "{deaf:?}"
    );
    let other = as_user("other", "hunter2").open().await.unwrap_err();
    assert!(matches!(other, JetStreamError::NoJetStream { .. }), "{other:?}");
    // Rights for one stream only, found out when it is used.
    let narrow = as_user("narrow", "hunter2").open().await.unwrap();
    narrow.append(vec![append_of("a", events(2))]).await.unwrap();
    for new in [events(1), events(3)] {
        let refused = narrow.append(vec![append_of("b", new)]).await.unwrap_err();
        let source = std::error::Error::source(&refused)
            .and_then(|source| source.downcast_ref::<JetStreamError>());
        assert!(
            matches!(source, Some(JetStreamError::NotAllowed { said }) if said.contains("rights.b")),
            "{refused:?}"
        );
    }
    assert_eq!(ids_of(&all, "b").await, []);
    // Credentials by the client's own options.
    let given = ConnectOptions::with_user_and_password("all".to_owned(), "hunter2".to_owned());
    let store =
        JetStreamOptions::new(nats.url()).stream("RIGHTS").prefix("rights").connect_options(given);
    assert_eq!(ids_of(&store.open().await.unwrap(), "a").await.len(), 2);
}

/// Streams that are not ours, or not as they must be, are left as they are.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_another_kind_is_refused_and_left_alone() {
    let Some(nats) = server() else { return };
    let url = nats.url();
    let opened = async |stream: &str, prefix: &str| {
        let make = || JetStreamOptions::new(&url).stream(stream).prefix(prefix);
        let (opened, made) = (make().open().await, make().create().await);
        let refused = opened.unwrap_err();
        assert_eq!(refused.to_string(), made.unwrap_err().to_string());
        refused
    };
    let theirs = json!({ "name": "ORDERS", "subjects": ["orders.*"], "storage": "file" });
    api(&url, "STREAM.CREATE.ORDERS", theirs).await;
    assert!(matches!(opened("ORDERS", "orders").await, JetStreamError::NotOurs { .. }));
    // Its subjects, under another name.
    let overlap =
        JetStreamOptions::new(&url).stream("MINE").prefix("orders").create().await.unwrap_err();
    assert!(
        matches!(&overlap, JetStreamError::Create { said, .. } if said.contains("overlap")),
        "{overlap:?}"
    );

    let mut marked = api(&url, "STREAM.INFO.ORDERS", Value::Null).await["config"].clone();
    marked["name"] = "NEWER".into();
    marked["subjects"] = json!(["newer.*"]);
    marked["metadata"] = json!({ "oubliette-format": "2" });
    api(&url, "STREAM.CREATE.NEWER", marked).await;
    assert!(matches!(
        opened("NEWER", "newer").await,
        JetStreamError::Newer { found: 2, known: 1, .. }
    ));

    JetStreamOptions::new(&url).stream("OURS").prefix("ours").create().await.unwrap();
    let ours = api(&url, "STREAM.INFO.OURS", Value::Null).await["config"].clone();
    for (setting, changes) in [
        (
            "max_age",
            json!({ "max_age": 3_600_000_000_000_u64, "duplicate_window": 60_000_000_000_u64 }),
        ),
        ("max_msgs_per_subject", json!({ "max_msgs_per_subject": 10 })),
        ("max_msgs", json!({ "max_msgs": 100, "discard": "old" })),
        ("max_bytes", json!({ "max_bytes": 100_000, "discard": "old" })),
        ("duplicate_window", json!({ "duplicate_window": 120_000_000_000_u64 })),
        ("allow_rollup_hdrs", json!({ "allow_rollup_hdrs": true })),
        ("no_ack", json!({ "no_ack": true })),
        ("allow_direct", json!({ "allow_direct": false })),
        ("subjects", json!({ "subjects": ["ours.*", "more.*"] })),
    ] {
        let edited = edit(&url, "OURS", changes).await;
        assert!(edited["error"].is_null(), "{setting}: {edited}");
        let refused = opened("OURS", "ours").await;
        assert!(
            matches!(&refused, JetStreamError::Setting { setting: named, .. } if *named == setting),
            "{refused:?}"
        );
        api(&url, "STREAM.UPDATE.OURS", ours.clone()).await;
    }
    for (setting, value) in [
        ("storage", json!("memory")),
        ("retention", json!("workqueue")),
        ("allow_msg_ttl", json!(true)),
    ] {
        let mut other = ours.clone();
        other["name"] = "KIND".into();
        other["subjects"] = json!(["kind.*"]);
        other["republish"] = Value::Null;
        other[setting] = value;
        let made = api(&url, "STREAM.CREATE.KIND", other).await;
        assert!(made["error"].is_null(), "{setting}: {made}");
        let refused = opened("KIND", "kind").await;
        assert!(
            matches!(&refused, JetStreamError::Setting { setting: named, .. } if *named == setting),
            "{refused:?}"
        );
        api(&url, "STREAM.DELETE.KIND", Value::Null).await;
    }
    // Another prefix than it was made with.
    assert!(matches!(
        opened("OURS", "other").await,
        JetStreamError::Setting { setting: "subjects", .. }
    ));
    JetStreamOptions::new(&url).stream("OURS").prefix("ours").open().await.unwrap();
}

fn cause(error: &StoreError) -> &JetStreamError {
    std::error::Error::source(error).unwrap().downcast_ref::<JetStreamError>().unwrap()
}

/// The stream is removed and made again while it is used: it counts from 1 again, and whoever believed that its sequences are
/// those of before would miss events, or take them for others.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_was_made_anew_is_not_taken_for_the_one_that_was_opened() {
    let Some(nats) = server() else { return };
    let url = nats.url();
    let make = || JetStreamOptions::new(&url).stream("ANEW").prefix("anew");
    // With fewer events than before at once, and with more a moment later.
    for (others, wait) in [(0, 0), (2, 0), (30, 1_200)] {
        let opened = async || {
            let store = make().create().await.unwrap();
            store.append(vec![append_of("a", events(5))]).await.unwrap();
            store
        };
        let [appends, batches, reads, reads_all] =
            [opened().await, opened().await, opened().await, opened().await];
        let seen: Vec<_> =
            reads_all.read_all(ReadAllOptions::default()).try_collect().await.unwrap();
        let seen: Vec<RecordedEvent> = seen;
        // It waits at the end.
        let mut follows = appends.subscribe(None, Filter::default());
        while follows.next().await.unwrap().unwrap() != Delivery::CaughtUp {}
        tokio::time::sleep(Duration::from_millis(wait)).await;
        api(&url, "STREAM.DELETE.ANEW", Value::Null).await;
        let new = make().create().await.unwrap();
        if others > 0 {
            new.append(vec![append_of("b", events(others))]).await.unwrap();
        }
        let errors = [
            appends.append(vec![append_of("a", events(1))]).await.map(drop).unwrap_err(),
            batches.append(vec![append_of("a", events(2))]).await.map(drop).unwrap_err(),
            reads_all
                .read_all(ReadAllOptions { after: Some(seen[18].position), ..Default::default() })
                .try_collect::<Vec<_>>()
                .await
                .map(drop)
                .unwrap_err(),
            follows.next().await.unwrap().map(drop).unwrap_err(),
        ];
        for error in &errors {
            assert!(matches!(cause(error), JetStreamError::Replaced { .. }), "{others}: {error:?}");
            assert!(!error.is_temporary());
        }
        // From then on it writes nothing more, and reads nothing.
        let before = new.read_all(ReadAllOptions::default()).count().await;
        appends.append(vec![append_of("a", events(3))]).await.unwrap_err();
        assert_eq!(new.read_all(ReadAllOptions::default()).count().await, before);
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        let read = reads.events(&"b".parse().unwrap(), ReadOptions::default()).await.unwrap_err();
        assert!(matches!(cause(&read), JetStreamError::Replaced { .. }), "{read:?}");
        api(&url, "STREAM.DELETE.ANEW", Value::Null).await;
    }
}

/// The stream is removed while it is used: an error, and no waiting for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_removed_is_missed() {
    let Some(nats) = server() else { return };
    let store = options(&nats.url()).stream("GONE").prefix("gone").create().await.unwrap();
    store.append(vec![append_of("a", events(1))]).await.unwrap();
    let mut subscription = store.subscribe(None, Filter::default());
    api(&nats.url(), "STREAM.DELETE.GONE", Value::Null).await;
    let is_missing = |error: &StoreError| {
        let source = std::error::Error::source(error)
            .and_then(|source| source.downcast_ref::<JetStreamError>());
        assert!(matches!(source, Some(JetStreamError::Missing { .. })), "{error:?}");
    };
    is_missing(&store.append(vec![append_of("a", events(1))]).await.unwrap_err());
    is_missing(&store.append(vec![append_of("a", events(2))]).await.unwrap_err());
    is_missing(&store.events(&"a".parse().unwrap(), ReadOptions::default()).await.unwrap_err());
    is_missing(&futures::StreamExt::next(&mut subscription).await.unwrap().unwrap_err());
}
