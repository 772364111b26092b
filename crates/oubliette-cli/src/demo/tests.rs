//! The demo holds, and is able to fail.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
};

use serde_json::Value;

use super::{POLICY, stage::Stage, tell};

/// What a stage wrote, for looking at it afterwards.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Paper {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// Tells the story under a policy. Returns what it came to, and what was written.
async fn told(policy: &str, json: bool) -> (Result<(), String>, String) {
    let place = tempfile::tempdir().unwrap();
    let paper = Paper::default();
    let mut stage = Stage::on(Box::new(paper.clone()), json, false);
    let told = tell(&mut stage, place.path(), policy).await.map_err(|error| error.to_string());
    stage.finish().unwrap();
    (told, paper.text())
}

#[tokio::test]
async fn every_claim_of_the_story_holds() {
    let (told, text) = told(POLICY, false).await;
    assert_eq!(told, Ok(()));
    assert!(text.contains('✓') && !text.contains('✗') && !text.contains('\x1b'), "{text}");
}

#[tokio::test]
async fn a_public_surname_is_found_and_ends_the_demo() {
    let leaky = POLICY.replacen(r#"["/id", "/colour"]"#, r#"["/id", "/colour", "/surname"]"#, 1);
    assert_ne!(leaky, POLICY);
    let (told, text) = told(&leaky, false).await;
    assert!(told.unwrap_err().contains("step `raw` claims"));
    assert!(text.lines().last().unwrap().contains('✗'), "{text}");
}

#[tokio::test]
async fn an_account_that_depends_on_nobody_ends_the_demo() {
    let edge = r#"{ event = "AccountOpened", add = "{/owner}" },"#;
    let loose = POLICY.replacen(edge, "", 1);
    assert_ne!(loose, POLICY);
    let (told, _) = told(&loose, false).await;
    assert!(told.unwrap_err().contains("step `plan` claims"));
}

#[tokio::test]
async fn sealed_amounts_end_the_demo() {
    let opaque = POLICY.replace(r#""/amount", "#, "");
    assert_ne!(opaque, POLICY);
    let (told, _) = told(&opaque, false).await;
    assert!(told.unwrap_err().contains("step `totals` claims"));
}

#[tokio::test]
async fn a_plate_without_residue_ends_the_demo_and_json_says_where() {
    let strict = POLICY.replacen(r#"keep    = "first 2""#, r#"keep    = "first 1""#, 1);
    assert_ne!(strict, POLICY);
    let (told, text) = told(&strict, true).await;
    assert!(told.unwrap_err().contains("step `shredded` claims"));
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(last["step"], "shredded");
    assert_eq!(last["checks"].as_array().unwrap().last().unwrap()["holds"], false);
}
