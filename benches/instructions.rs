//! Does one thing so many times, to have its instructions counted: `instructions CASE TIMES`. Without arguments it
//! names the cases.
//!
//! `./bench instructions` runs it under valgrind. Unlike a time, a count is nearly the same on a busy machine.

#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod bookings;

use std::{env, hint::black_box, process::exit};

use bookings::{POLICY, booking};
use futures::{TryStreamExt, executor};
use oubliette::{layer::EventRef, store::ReadAllOptions, *};
use tokio::runtime::{Builder, Runtime};

const CASES: [&str; 8] = [
    "seal sealed 300",
    "seal sealed 1024",
    "seal inline 300",
    "open sealed 300",
    "open sealed 1024",
    "open inline 300",
    "read sealed 300",
    "read split 300",
];

fn main() {
    // `cargo bench` adds words of its own.
    let arguments: Vec<String> = env::args().skip(1).filter(|word| word != "--bench").collect();
    let [case, times] = arguments.as_slice() else {
        println!("{}", CASES.join("\n"));
        return;
    };
    let words: Vec<&str> = case.split(' ').collect();
    let (Ok(times), &[what, layout, size]) = (times.parse(), &words[..]) else {
        eprintln!("usage: instructions CASE TIMES; without arguments the cases are named");
        exit(2);
    };
    let stream = StreamName::new(format!("{layout}-1")).unwrap();
    let event = booking(7, size.parse().unwrap());
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    match what {
        "seal" => seal(&runtime, &stream, &event, times),
        "open" => open(&runtime, &stream, event, times),
        _ => read(&runtime, &stream, &event, times),
    }
}

fn codec() -> Codec {
    Codec::new(Vault::in_memory().unwrap(), Policy::parse(POLICY).unwrap())
}

/// With the answer of the store that it is there.
fn seal(runtime: &Runtime, stream: &StreamName, event: &NewEvent, times: u64) {
    let codec = codec();
    runtime.block_on(async {
        for _ in 0..times {
            let event = NewEvent { id: EventId::random(), ..event.clone() };
            let sealed = codec.seal(stream, event).await.unwrap();
            black_box(&sealed.data);
            sealed.stored().await.unwrap();
        }
    });
}

fn open(runtime: &Runtime, stream: &StreamName, event: NewEvent, times: u64) {
    let (codec, event_type) = (codec(), event.event_type.clone());
    let sealed = runtime.block_on(codec.seal(stream, event)).unwrap();
    let event = EventRef { stream, id: sealed.id, event_type: &event_type };
    for _ in 0..times {
        let opened = codec.open(event, &sealed.data, sealed.metadata.as_ref()).unwrap();
        assert!(black_box(opened).data.is_some());
    }
    runtime.block_on(sealed.stored()).unwrap();
}

/// The events of one stream, out of memory and on one thread: outside of a runtime, they are opened where they are read.
fn read(runtime: &Runtime, stream: &StreamName, event: &NewEvent, times: u64) {
    const EVENTS: u64 = 100;
    let vault = Vault::in_memory().unwrap();
    let opening = Oubliette::open(MemoryStore::new(), vault, Policy::parse(POLICY).unwrap());
    let store = runtime.block_on(opening).unwrap();
    let event = |_| NewEvent { id: EventId::random(), ..event.clone() };
    let events = (0..EVENTS).map(event).collect();
    runtime.block_on(store.append_to(stream, ExpectedRevision::NoStream, events)).unwrap();
    for _ in 0..times.div_ceil(EVENTS) {
        let events = store.read_all(ReadAllOptions::default());
        let events: Vec<_> = executor::block_on(events.try_collect()).unwrap();
        assert_eq!(black_box(events).len() as u64, EVENTS);
    }
}
