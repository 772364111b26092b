//! The example of the store's page, as it stands.

use crate::model::Model;

#[allow(dead_code, unreachable_pub)]
#[path = "../../examples/quickstart.rs"]
mod example;

#[tokio::test(flavor = "multi_thread")]
async fn the_quickstart_runs_twice() {
    let model = Model::start();
    let folder = tempfile::tempdir().unwrap();
    // As a program finds it that is pasted into an empty folder: nothing is there.
    let bank = folder.path().join("bank");
    example::run(&model.url(), &bank).await.unwrap();
    example::run(&model.url(), &bank).await.unwrap();
}

const WARNING: &str = "**Not yet run against a server.**";

/// The page shows the example, word for word, and begins with the warning that the package's own page begins with.
#[test]
fn the_page_shows_the_example_and_the_warning() {
    let page = include_str!("../../../../docs/stores/kurrentdb.md");
    let example = include_str!("../../examples/quickstart.rs");
    let code = example.split_once("use std::").unwrap().1;
    assert!(
        page.contains(code.trim()),
        "docs/stores/kurrentdb.md does not show examples/quickstart.rs as it is"
    );
    assert!(example.lines().count() <= 60);
    let warning = |page: &str| {
        let paragraphs: Vec<&str> = page.split("\n\n").collect();
        assert!(paragraphs[1].starts_with(WARNING), "{}", paragraphs[1]);
        paragraphs[1].to_owned()
    };
    let words = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(words(warning(page)), words(warning(include_str!("../../README.md"))));
}
