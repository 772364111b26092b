//! Whatever is copied: the copy reads as its original did, or it is refused.

use oubliette::{
    event::{NewEvent, Subject},
    layer::Oubliette,
    policy::Policy,
    store::{MemoryStore, StoreError},
    vault::Vault,
};
use proptest::prelude::*;

use super::{Layer, append, in_a_copy, verified};
use crate::{
    common::documents::{object, value},
    common::{all, event, everything, json, put, stream, text},
};

async fn under(policy: &Policy) -> Layer {
    let vault = Vault::in_memory().unwrap();
    Oubliette::open(MemoryStore::new(), vault, policy.clone()).await.unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_copy_reads_as_its_original(
        layout in prop::sample::select(vec!["sealed", "inline", "split"]),
        public in prop::sample::subsequence(vec!["/a", "/who", "/l/*", "/note"], 0..=4),
        theirs in any::<bool>(),
        data in object(value()),
        metadata in object(value()),
        own in any::<bool>(),
    ) {
        let public = if layout == "sealed" { Vec::new() } else { public };
        let field = "[[stream.field]]\npointer = '/iban'\nsubject = 'user-{/who}'";
        let field = if theirs && layout != "sealed" { field } else { "" };
        let text_ = format!(
            "public_metadata = ['/a']\n[[stream]]\nmatch = 's-{{id}}'\nlayout = '{layout}'\n\
             public = {public:?}\n{field}"
        );
        let policy = Policy::parse(&text_);
        prop_assume!(policy.is_ok());
        let policy = policy.unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (a, b) = (under(&policy).await, under(&policy).await);
            let written = event("T", &data).with_metadata(json(&metadata));
            // Whose field nobody can name is refused at once.
            if put(&a, "s-1", written).await.is_err() {
                return;
            }
            let whom = if own { "s-1" } else { "user-1" };
            let _ = a.forget(&Subject::new(whom).unwrap(), "asked").await;
            let original = all(&a, "s-1").await.remove(0);
            let copied = append(&b, &stream("s-1"), NewEvent::copy_of(&original)).await;
            if let Err(error) = copied {
                // What names the other person went with what was the stream's own.
                assert!(matches!(error, StoreError::Refused { .. }), "{error}");
                assert!(own && !field.is_empty() && !original.shredded.is_empty(), "{error}");
                return;
            }
            let copy = all(&b, "s-1").await.remove(0);
            assert_eq!((text(&copy), &copy.metadata), (text(&original), &original.metadata));
            assert_eq!(copy.data.is_some(), original.data.is_some());
            assert_eq!(copy.shredded, in_a_copy(&original));
            assert!(everything(&b).await.iter().all(|event| event.withheld.is_empty()));
            let (defects, report) = verified(&b).await;
            assert_eq!((defects, report.is_clean(), b.unsealed()), (vec![], true, 0));
        });
    }
}
