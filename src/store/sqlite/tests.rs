use super::*;
use crate::{
    event::{EventType, Json, NewEvent},
    store::{EventStoreExt, ExpectedRevision},
};

fn event(text: &str) -> NewEvent {
    NewEvent::new(EventType::new("Happened").unwrap(), Json::parse(text).unwrap())
}

#[tokio::test]
async fn smoke() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(folder.path()).unwrap();
    let stream = StreamName::new("a").unwrap();
    let done =
        store.append_to(&stream, ExpectedRevision::NoStream, vec![event("1"), event("2")]).await;
    println!("{done:?}");
    println!("{:?}", store.events(&stream, ReadOptions::default()).await.unwrap());
    store.set_meta("a", "b").await.unwrap();
    assert_eq!(store.meta("a").await.unwrap().as_deref(), Some("b"));
    drop(store);
    println!(
        "{:?}",
        std::fs::read_dir(folder.path())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect::<Vec<_>>()
    );
    let store = SqliteStore::open(folder.path()).unwrap();
    println!("{:?}", store.events(&stream, ReadOptions::default()).await.unwrap().len());
}
