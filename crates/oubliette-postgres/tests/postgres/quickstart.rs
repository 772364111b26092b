//! The examples of the stores' pages, as they stand.

use std::fs;

use crate::world::postgres;

#[allow(dead_code, unreachable_pub)]
#[path = "../../examples/quickstart.rs"]
mod example;

#[allow(dead_code, unreachable_pub)]
#[path = "../../examples/table.rs"]
mod table;

const PAGE: &str = include_str!("../../../../docs/stores/postgres.md");
const TABLE_PAGE: &str = include_str!("../../../../docs/stores/postgres-table.md");

#[tokio::test(flavor = "multi_thread")]
async fn the_quickstart_runs_twice() {
    let Some(postgres) = postgres() else { return };
    let (url, folder) = (postgres.database(), tempfile::tempdir().unwrap());
    // As a program finds it that is pasted into an empty folder: nothing is there.
    let shop = folder.path().join("shop");
    example::run(&url, &shop).await.unwrap();
    example::run(&url, &shop).await.unwrap();
}

/// The first block of a language that begins so.
fn block(page: &'static str, language: &str, begin: &str) -> &'static str {
    let mut blocks = page.split("```").filter_map(|block| block.strip_prefix(language));
    blocks
        .find_map(|block| block.strip_prefix('\n').filter(|block| block.starts_with(begin)))
        .unwrap()
}

/// With the table, the mapping and the policy that the page says, and again when more came into the table.
#[tokio::test(flavor = "multi_thread")]
async fn the_quickstart_over_a_table_runs_twice() {
    let Some(postgres) = postgres() else { return };
    let (url, folder) = (postgres.database(), tempfile::tempdir().unwrap());
    let app = crate::world::client(&url).await;
    app.batch_execute(block(TABLE_PAGE, "sql", "-- Two events")).await.unwrap();
    fs::write(folder.path().join("events.toml"), block(TABLE_PAGE, "toml", "table    = ")).unwrap();
    fs::write(folder.path().join("policy.toml"), "").unwrap();
    table::run(&url, folder.path()).await.unwrap();
    let more = "INSERT INTO events (stream, revision, type, data) VALUES ('user-7', 0, 'Registered', '{}')";
    app.batch_execute(more).await.unwrap();
    table::run(&url, folder.path()).await.unwrap();
}

/// The pages show the examples, word for word.
#[test]
fn the_pages_show_the_examples() {
    for (page, example) in [
        (PAGE, include_str!("../../examples/quickstart.rs")),
        (TABLE_PAGE, include_str!("../../examples/table.rs")),
    ] {
        let code = example.split_once("use std::").unwrap().1;
        assert!(page.contains(code.trim()), "a page does not show this as it is:\n{code}");
        assert!(example.lines().count() <= 60);
    }
}
