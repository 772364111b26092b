//! The examples run as they are.

use std::{env, path::PathBuf, process::Command};

use oubliette_kafka::{KafkaConfig, KafkaStore};

use crate::{make_topic, start};

/// Beside the tests' own folder; cargo builds it before them.
fn example(name: &str) -> PathBuf {
    let tests = env::current_exe().unwrap();
    tests.parent().unwrap().parent().unwrap().join("examples").join(name)
}

fn run(name: &str, arguments: &[&str]) -> String {
    let run = Command::new(example(name)).args(arguments).output().unwrap();
    let told = String::from_utf8_lossy(&run.stdout).into_owned();
    assert!(run.status.success(), "{told}{}", String::from_utf8_lossy(&run.stderr));
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn the_quickstart_runs_and_can_be_pasted() {
    let source = include_str!("../../examples/quickstart.rs");
    assert!(source.lines().count() <= 60);
    let page = include_str!("../../../../docs/stores/kafka.md");
    let code = source.split_once("use oubliette").unwrap().1;
    assert!(page.contains(code), "docs/stores/kafka.md shows another program");
    let Some(kafka) = start() else { return };
    let url = format!("kafka://{}/bank-events", kafka.servers());
    let told = run("kafka_quickstart", &[&url]);
    assert!(told.contains("Erika") && told.contains("forgotten on"), "{told}");
    // Again, on the topic that is there.
    run("kafka_quickstart", &[&url]);
    let config: KafkaConfig = url.parse().unwrap();
    let store = KafkaStore::open_reader(config).await.unwrap();
    let text = format!("{:?}", crate::all(&store).await.len());
    assert_ne!(text, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_of_the_relay_runs() {
    let Some(kafka) = start() else { return };
    make_topic(&kafka, "bank-events", 3, &[]).await;
    make_topic(&kafka, "bank-forgotten", 1, &[("cleanup.policy", "compact")]).await;
    let told = run("kafka_relay", &[&kafka.servers()]);
    for what in ["with the vault", "Erika", "without the vault", "gone", "whoever caches"] {
        assert!(told.contains(what), "{what}: {told}");
    }
}
