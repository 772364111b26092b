//! The example of the store's page, as it stands.

use crate::common::server;

#[allow(dead_code, unreachable_pub)]
#[path = "../examples/quickstart.rs"]
mod example;

#[tokio::test(flavor = "multi_thread")]
async fn the_quickstart_runs_twice() {
    let Some(nats) = server() else { return };
    let folder = tempfile::tempdir().unwrap();
    // As a program finds it that is pasted into an empty folder: nothing is there.
    let bank = folder.path().join("bank");
    example::run(&nats.url(), &bank).await.unwrap();
    example::run(&nats.url(), &bank).await.unwrap();
}

/// The page shows the example, word for word.
#[test]
fn the_page_shows_the_example() {
    let page = include_str!("../../../docs/stores/jetstream.md");
    let example = include_str!("../examples/quickstart.rs");
    let code = example.split_once("use std::").unwrap().1;
    assert!(
        page.contains(code.trim()),
        "docs/stores/jetstream.md does not show examples/quickstart.rs as it is"
    );
    assert!(example.lines().count() <= 60);
}
