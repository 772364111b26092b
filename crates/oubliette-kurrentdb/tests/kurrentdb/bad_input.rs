//! Wrong addresses, servers that are none, rights that are missing: in bounded time, a clear error without a password.

use std::time::{Duration, Instant};

use oubliette::*;
use oubliette_kurrentdb::{KurrentError, KurrentOptions, KurrentStore};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::{
    common::{append_of, events, ids_of, name, open, options, told},
    model::{Model, New},
};

const PASSWORD: &str = "s3cret";

/// Opens what must not open, and returns the error's words.
async fn refused(address: &str) -> String {
    let began = Instant::now();
    let error = KurrentStore::open(address).await.unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(15), "{address}: {:?}", began.elapsed());
    let told = format!("{} {error:?}", told(&error));
    assert!(!told.contains(PASSWORD), "{told}");
    told
}

#[tokio::test]
async fn where_nobody_listens_it_is_said_soon() {
    let port = oubliette_servers::free_port();
    for tls in ["false", "true"] {
        let address = format!("kurrentdb://admin:{PASSWORD}@127.0.0.1:{port}?tls={tls}");
        let told = refused(&address).await;
        assert!(
            told.contains(&format!("127.0.0.1:{port}")) && told.contains("tls=false"),
            "{told}"
        );
    }
}

#[tokio::test]
async fn a_name_that_nobody_has_is_said_soon() {
    let told = refused(&format!("kurrentdb://admin:{PASSWORD}@no-such-host.invalid:2113")).await;
    assert!(told.contains("no-such-host.invalid"), "{told}");
}

/// Answers every connection with these bytes; without any, with silence.
async fn listener(says: Option<&'static [u8]>, closes: bool) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                if let Some(says) = says {
                    let _ = client.write_all(says).await;
                }
                let mut sink = [0; 1024];
                while !closes && client.read(&mut sink).await.is_ok_and(|read| read > 0) {}
            });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_another_kind_is_said_soon() {
    let kinds: [(Option<&'static [u8]>, bool); 5] = [
        (None, true),
        (None, false),
        (Some(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"), true),
        (Some(b"-ERR unknown command\r\n"), false),
        (Some(&[0xff; 4096]), false),
    ];
    let mut asked = Vec::new();
    for (says, closes) in kinds {
        let port = listener(says, closes).await;
        for tls in [true, false] {
            let address = format!("esdb://admin:{PASSWORD}@127.0.0.1:{port}?tls={tls}");
            asked.push(tokio::spawn(async move { refused(&address).await }));
        }
    }
    for asked in asked {
        let told = asked.await.unwrap();
        assert!(told.contains("cannot connect"), "{told}");
    }
}

#[tokio::test]
async fn tls_with_a_server_that_has_none_is_said() {
    let model = Model::start();
    let told = refused(&model.url().replace("tls=false", "tls=true")).await;
    assert!(told.contains("tls=false"), "{told}");
}

#[tokio::test]
async fn what_is_no_address_or_no_option_is_said_at_once() {
    for address in ["", "localhost", "postgres://localhost", "kurrentdb://a:b:c", "kurrentdb://"] {
        let error = KurrentStore::open(address).await.unwrap_err();
        assert!(matches!(error, KurrentError::Address(_)), "{address}: {error}");
    }
    let options = KurrentOptions::new("kurrentdb://localhost").prefix("$all");
    assert!(matches!(options.open().await, Err(KurrentError::Option { option: "prefix", .. })));
    let missing = "kurrentdb://localhost?tlsCaFile=/no/such/file.pem";
    assert!(refused(missing).await.contains("tlsCaFile"));
}

/// The client panics at it.
#[tokio::test]
async fn a_certificate_that_is_none_is_said() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n")
        .unwrap();
    let address = format!("kurrentdb://localhost?tlsCaFile={}", file.path().display());
    assert!(refused(&address).await.contains("tlsCaFile"));
}

#[test]
fn outside_of_a_runtime_it_is_an_error_and_no_panic() {
    let opened = futures::executor::block_on(KurrentStore::open("kurrentdb://localhost"));
    assert!(matches!(opened, Err(KurrentError::Task(TaskError::NoRuntime))));
}

#[tokio::test]
async fn an_older_server_is_refused_by_its_version() {
    let model = Model::start();
    for (version, refused) in [
        ("21.10.9", true),
        ("22.6.0", false),
        ("23.10.1.0", false),
        ("25.1.0-rc", false),
        ("20.10.2", true),
    ] {
        model.set_version(version);
        match options(&model).open().await {
            Err(KurrentError::TooOld { version: said, .. }) => {
                assert!(refused && said == version, "{version}");
            }
            opened => assert!(opened.is_ok() && !refused, "{version}"),
        }
    }
    for version in ["", "x"] {
        model.set_version(version);
        let error = options(&model).open().await.unwrap_err();
        assert!(!error.to_string().is_empty());
    }
}

#[tokio::test]
async fn a_right_that_is_missing_is_named() {
    let model = Model::start();
    model.fault(|faults| faults.deny_all = true);
    let error = options(&model).open().await.unwrap_err();
    assert!(matches!(error, KurrentError::NotAllowed { .. }), "{error}");
    assert!(error.to_string().contains("$admins"), "{error}");
    model.fault(|faults| faults.deny_all = false);

    let store = open(&model).await;
    store.append(vec![append_of("a-1", events(1))]).await.unwrap();
    model.fault(|faults| faults.deny_append = true);
    let error = store.append(vec![append_of("a-1", events(1))]).await.unwrap_err();
    assert!(!error.is_temporary() && told(&error).contains("append"), "{}", told(&error));
    model.fault(|faults| faults.deny_read = true);
    let error = store.events(&name("a-1"), ReadOptions::default()).await.unwrap_err();
    assert!(!error.is_temporary() && told(&error).contains("read"), "{}", told(&error));
    model.fault(|faults| (faults.deny_append, faults.deny_read) = (false, false));
    assert_eq!(ids_of(&store, "a-1").await.len(), 1);
}

#[tokio::test]
async fn the_password_is_sent_as_it_was_meant_and_shown_nowhere() {
    let model = Model::start();
    let url = model.url().replace("//", "//ops:s3cret%40%3A@");
    let store = KurrentOptions::new(url).open().await.unwrap();
    assert!(!format!("{store:?}").contains(PASSWORD));
    let basic = "Basic b3BzOnMzY3JldEA6"; // ops:s3cret@:
    assert_eq!(model.authorization().as_deref(), Some(basic));
    store.append(vec![append_of("a-1", events(1))]).await.unwrap();
    assert_eq!(model.authorization().as_deref(), Some(basic));
    assert!(!format!("{:?}", KurrentOptions::new("kurrentdb://a:s3cret@b")).contains(PASSWORD));
}

#[tokio::test]
async fn an_append_that_is_too_large_is_refused_with_the_servers_limit() {
    let model = Model::start();
    model.database(|database| database.max_append = 1 << 20);
    let store = open(&model).await;
    let large = |bytes: usize| {
        let data = Payload::Bytes(vec![7; bytes].into());
        append_of("a-1", vec![NewEvent::new(EventType::new("Large").unwrap(), data)])
    };
    let error = store.append(vec![large(1 << 20)]).await;
    assert!(error.is_ok());
    for bytes in [(1 << 20) + 1, 17 << 20] {
        let error = store.append(vec![large(bytes)]).await.unwrap_err();
        let told = told(&error);
        assert!(matches!(error, StoreError::Invalid(_)) && told.contains("part it"), "{told}");
    }
    assert_eq!(ids_of(&store, "a-1").await.len(), 1);
}

#[tokio::test]
async fn retention_on_the_layers_own_streams_is_refused_by_name() {
    let model = Model::start();
    let stream = format!("$${}", event::ANNOUNCEMENTS);
    model.database(|database| {
        database.put(New::json(&stream, "$metadata", r#"{"$maxCount":3}"#));
    });
    let error = options(&model).open().await.unwrap_err();
    let told = error.to_string();
    assert!(told.contains(event::ANNOUNCEMENTS) && told.contains("$maxCount"), "{told}");
    model.database(|database| {
        database.put(New::json(&stream, "$metadata", r#"{"$cacheControl":3}"#));
    });
    open(&model).await;
}
