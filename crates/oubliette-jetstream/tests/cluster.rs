//! Three servers, three replicas. Long, and so not run by default: `cargo nextest run -p oubliette-jetstream --run-ignored all cluster`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::StreamExt;
use oubliette::{
    store::{
        Append, Delivery, Filter, ReadAllOptions,
        conformance::{Fixture, run_all},
    },
    *,
};
use oubliette_jetstream::JetStreamOptions;
use oubliette_servers::{Nats, skipped};
use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::common::{Proxy, REQUIRE, api, append_of, ask, events, ids, ids_of, name};

fn cluster() -> Option<Vec<Nats>> {
    let servers = Nats::cluster(3);
    if servers.is_empty() || servers[0].version() < (2, 12) {
        skipped(REQUIRE, "no nats-server of 2.12 or later is installed");
        return None;
    }
    Some(servers)
}

fn all_of(servers: &[Nats]) -> String {
    servers.iter().map(Nats::url).collect::<Vec<_>>().join(",")
}

/// The server that leads the stream, by its number.
async fn leader(address: &str, stream: &str) -> Option<usize> {
    let info = ask(address, &format!("STREAM.INFO.{stream}"), &Value::Null).await?;
    info["cluster"]["leader"].as_str()?.strip_prefix('n')?.parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: a cluster, the suite on it, and a leader and a connection that change amid it"]
async fn the_suite_holds_while_the_leader_moves_and_the_client_is_cut_off() {
    let Some(servers) = cluster() else { return };
    // The client begins with the proxy, and may go on with the servers that it then hears of.
    let proxy = Arc::new(Proxy::before(&servers[0]).await);
    let (over, number) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mover = {
        let (over, number, proxy) = (Arc::clone(&over), Arc::clone(&number), Arc::clone(&proxy));
        let address = all_of(&servers);
        tokio::spawn(async move {
            let mut moves = 0;
            while !over.load(Ordering::SeqCst) {
                sleep(Duration::from_millis(700)).await;
                let stepped =
                    format!("STREAM.LEADER.STEPDOWN.SUITE{}", number.load(Ordering::SeqCst));
                if ask(&address, &stepped, &Value::Null)
                    .await
                    .is_some_and(|said| said["success"] == true)
                {
                    moves += 1;
                }
                if moves % 3 == 2 {
                    proxy.cut();
                }
            }
            moves
        })
    };
    let fresh = async || {
        let number = number.fetch_add(1, Ordering::SeqCst) + 1;
        let options = JetStreamOptions::new(proxy.url()).replicas(3).synced_always();
        let options = options.stream(format!("SUITE{number}")).prefix(format!("suite{number}"));
        Fixture::new(options.create().await.unwrap())
    };
    let held = run_all(fresh).await;
    over.store(true, Ordering::SeqCst);
    let moves = mover.await.unwrap();
    assert_eq!(held, Ok(()));
    assert!(moves > 3, "the leader moved {moves} times");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: a cluster of which each server is killed once"]
async fn a_killed_server_costs_no_event() {
    let Some(mut servers) = cluster() else { return };
    let make = |address: String| {
        JetStreamOptions::new(address).stream("BANK").prefix("bank").replicas(3).synced_always()
    };
    let store = make(all_of(&servers)).create().await.unwrap();
    assert_eq!(store.doubts(), [] as [String; 0]);
    let mut subscription = store.subscribe(None, Filter::default());
    let (done, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut writers = Vec::new();
    for writer in 0..3 {
        // Each over another server first.
        let store = make(all_of(&servers)).open().await.unwrap();
        let (done, written) = (Arc::clone(&done), Arc::clone(&written));
        writers.push(tokio::spawn(async move {
            let stream = format!("w{writer}");
            let (mut expected, mut all) = (ExpectedRevision::NoStream, Vec::new());
            while !done.load(Ordering::SeqCst) {
                let new = events(1 + all.len() % 3);
                all.extend(ids(&new));
                let mut appends = vec![Append::new(name(&stream), expected, new)];
                if all.len() % 2 == 0 {
                    appends.push(append_of(&format!("shared-{writer}"), events(1)));
                }
                let answer = store.append(appends).await.unwrap()[0];
                expected = ExpectedRevision::Exact(answer.revision);
                // What was acknowledged is read at once, whichever replica answers.
                let last = store.last(&name(&stream)).await.unwrap().unwrap();
                assert_eq!(last.revision, answer.revision);
                assert_eq!(Some(&last.id), all.last());
                written.fetch_add(1, Ordering::SeqCst);
            }
            (stream, all)
        }));
    }
    for victim in 0..3 {
        let before = written.load(Ordering::SeqCst);
        while written.load(Ordering::SeqCst) < before + 30 {
            sleep(Duration::from_millis(10)).await;
        }
        // The leader once, whoever it is, and then the others.
        let victim = match leader(&all_of(&servers), "BANK").await {
            Some(leader) if victim == 0 => leader,
            _ => victim,
        };
        servers[victim].kill();
        let before = written.load(Ordering::SeqCst);
        while written.load(Ordering::SeqCst) < before + 20 {
            sleep(Duration::from_millis(10)).await;
        }
        servers[victim].restart();
        // Until it has caught up, a second one that goes would leave no majority.
        loop {
            let info = api(&all_of(&servers), "STREAM.INFO.BANK", Value::Null).await;
            let replicas = info["cluster"]["replicas"].as_array().cloned().unwrap_or_default();
            if replicas.len() == 2 && replicas.iter().all(|replica| replica["current"] == true) {
                break;
            }
            sleep(Duration::from_millis(200)).await;
        }
    }
    done.store(true, Ordering::SeqCst);
    let mut count = 0;
    for writer in writers {
        let (stream, all) = writer.await.unwrap();
        assert_eq!(ids_of(&store, &stream).await, all);
        count += all.len();
    }
    let read: Vec<_> =
        store.read_all(ReadAllOptions::default()).map(Result::unwrap).collect().await;
    assert!(read.windows(2).all(|pair| pair[0].position < pair[1].position) && read.len() >= count);
    let mut seen = Vec::new();
    let mut caught_up = 0;
    while seen.len() < read.len() {
        match timeout(Duration::from_secs(30), subscription.next()).await.unwrap().unwrap().unwrap()
        {
            Delivery::Event(event) => seen.push(event),
            Delivery::CaughtUp => caught_up += 1,
        }
    }
    assert_eq!((seen, caught_up <= 1), (read, true));
}
