//! A server that lets its users do what the store's page lists, and nothing else.

use futures::StreamExt as _;
use oubliette::{
    store::{Delivery, Filter, Purge as _, Removed},
    *,
};
use oubliette_jetstream::{JetStreamError, JetStreamOptions, JetStreamStore};
use oubliette_servers::Nats;

use crate::common::{append_of, events, ids_of, name, server_with};

const PAGE: &str = include_str!("../../../docs/stores/jetstream.md");

/// The rights in a row of the page's table that begins so: to publish, and to subscribe.
fn rights(begin: &str) -> [Vec<&'static str>; 2] {
    let table = PAGE.split_once("| publish | subscribe |").unwrap().1;
    let row = table.lines().find(|line| line.starts_with(begin)).unwrap();
    let (publish, subscribe) = row[2..].split_once(" | ").unwrap();
    [publish, subscribe].map(|cell| cell.split('`').skip(1).step_by(2).collect())
}

/// A server with the page's user, with one who may make the store as well, and with one who may purge.
fn server_of_the_page() -> Option<Nats> {
    let [publish, subscribe] = rights("| `");
    let [make, nothing] = rights("| to make it also ");
    let [purge, none] = rights("| to [purge](#purge-and-backup) also ");
    assert_eq!((publish.len(), make.len(), purge.len()), (4, 2, 1));
    assert!(nothing.is_empty() && none.is_empty());
    let user = |name: &str, more: &[&str]| {
        let publish = [&publish[..], more].concat();
        format!(
            "{{ user: {name}, password: hunter2, permissions: {{ publish: {publish:?}, subscribe: {subscribe:?} }} }}\n"
        )
    };
    let users = [user("app", &[]), user("maker", &make), user("purger", &purge)].concat();
    server_with(&format!("accounts {{ BANK {{ jetstream: enabled, users: [\n{users}] }} }}\n"))
}

fn as_user(nats: &Nats, user: &str) -> JetStreamOptions {
    JetStreamOptions::new(nats.url().replace("nats://", &format!("nats://{user}:hunter2@")))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_rights_are_enough_and_each_is_needed_for_what_it_is_for() {
    let Some(nats) = server_of_the_page() else { return };
    let refused = as_user(&nats, "app").create().await.unwrap_err();
    assert!(matches!(refused, JetStreamError::NotAllowed { .. }), "{refused:?}");
    as_user(&nats, "maker").create().await.unwrap();

    let app: JetStreamStore = as_user(&nats, "app").open().await.unwrap();
    let mut news = app.subscribe(None, Filter::default());
    assert!(matches!(news.next().await.unwrap().unwrap(), Delivery::CaughtUp));
    app.append(vec![append_of("a", events(1))]).await.unwrap();
    app.append(vec![append_of("a", events(2)), append_of("b", events(1))]).await.unwrap();
    assert_eq!((ids_of(&app, "a").await.len(), ids_of(&app, "b").await.len()), (3, 1));
    assert!(matches!(news.next().await.unwrap().unwrap(), Delivery::Event(_)));

    let there = app.events(&name("b"), ReadOptions::default()).await.unwrap().remove(0);
    let removed = || vec![Removed { stream: name("b"), revision: there.revision, id: there.id }];
    let refused = app.remove(removed()).await.unwrap_err();
    let source = std::error::Error::source(&refused)
        .and_then(|source| source.downcast_ref::<JetStreamError>());
    assert!(
        matches!(source, Some(JetStreamError::NotAllowed { said }) if said.contains("MSG.DELETE")),
        "{refused:?}"
    );
    let purger = as_user(&nats, "purger").open().await.unwrap();
    assert_eq!(purger.remove(removed()).await.unwrap(), [true]);
    assert_eq!(ids_of(&app, "b").await, []);
}
