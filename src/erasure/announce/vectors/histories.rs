//! The vectors of histories with keys to which no statement leads: those that a vault made because it was restored.
//! So each history is given, as its memo has it.

use super::*;
use crate::vault::{History, history_as_vector, memos};

/// The first key, and what the vault made when it was restored, and again.
const FIRST_OF_ALL: u8 = 31;
const MADE: u8 = 32;
const MADE_AGAIN: u8 = 33;
/// The pinned one, and what else may come.
const PINNED: u8 = 34;
const ANOTHER: u8 = 35;
const NOWHERE: u8 = 36;

const BEGAN: &str = "2026-01-01T00:00:00Z";
const PINNED_AT: &str = "2026-02-01T00:00:00Z";
const USED_AT: &str = "2026-03-01T00:00:00.35Z";
const RESTORED_AT: &str = "2026-04-01T00:00:00.350001Z";
const NOW: &str = "2026-11-28T00:00:00Z";

/// The history of a vault, and what is said to it: each by itself.
struct Told {
    name: &'static str,
    history: History,
    said: Vec<Value>,
    bad: Vec<Value>,
    next: u8,
}

fn key(of: u8, origin: &str, since: &str, until: Option<&str>, statement: Option<Case>) -> Value {
    let public = signer(of).public();
    let mut key = json!({ "key": log(of), "public": public, "since": since, "origin": origin });
    if let Some(until) = until {
        key["until"] = until.into();
    }
    if let Some(statement) = statement {
        key["statement"] = statement.line();
    }
    key
}

fn pin(number: u8, of: u8, replaces: u8) -> Value {
    let statement = said(statement(number, "successor", PINNED_AT, number, of, replaces));
    json!({
        "key": log(of), "public": signer(of).public(), "since": PINNED_AT, "replaces": log(replaces),
        "statement": statement.line(),
    })
}

/// In the log of a key that was made, whoever signs.
fn said(case: Case) -> Case {
    case.with("log", log(MADE))
}

impl Told {
    fn new(first: u8, name: &'static str, keys: &[Value], successors: &[Value]) -> Self {
        let note = json!({ "keys": keys, "successors": successors, "due": [], "repeat": false });
        let history: History = serde_json::from_str(&note.to_string()).unwrap();
        Self { name, history, said: Vec::new(), bad: Vec::new(), next: first }
    }

    fn text(history: &History) -> String {
        let note = memos::to_json(history).unwrap();
        // As any vault's is read.
        assert_eq!(&history_as_vector(&note).unwrap(), history);
        String::from_utf8(note.to_vec()).unwrap()
    }

    /// What counts, and the history that it leaves, where that is another one.
    fn counts(mut self, name: &str, case: impl FnOnce(u8) -> Case) -> Self {
        let (said, case) = case(self.next).made();
        let mut vector = json!({ "name": name, "line": case.line });
        let mut after = self.history.clone();
        if said.kind().is_some_and(AnnouncementKind::is_of_keys) {
            after.learn(&said).unwrap();
        }
        if after != self.history {
            vector["leaves"] = Self::text(&after).into();
        }
        self.said.push(vector);
        self.next += 1;
        self
    }

    fn fails(mut self, error: &str, name: &str, case: impl FnOnce(u8) -> Case) -> Self {
        let line = case(self.next).line();
        self.bad.push(json!({ "name": name, "error": error, "line": line }));
        self.next += 1;
        self
    }

    fn file(self) -> Value {
        json!({
            "name": self.name, "history": Self::text(&self.history), "vectors": self.said,
            "bad": self.bad,
        })
    }
}

fn change(of: u8, replaces: u8) -> impl Fn(u8) -> Case {
    move |number| said(statement(number, "signing-key", NOW, number, of, replaces))
}

/// The change that the successor signs.
fn takes_over(of: u8, replaces: u8) -> impl Fn(u8) -> Case {
    move |number| change(of, replaces)(number).by(of)
}

fn pins(of: u8, replaces: u8) -> impl Fn(u8) -> Case {
    move |number| said(statement(number, "successor", NOW, number, of, replaces))
}

fn distrusts(key: u8, by: u8) -> impl Fn(u8) -> Case {
    move |number| {
        let case = said(Case::new(&numbered(number), "distrust", &about(NOW, number), NOW, number));
        let since = "2026-10-01T00:00:00.35Z";
        case.with("distrust", json!({ "key": log(key), "compromised": since })).by(by)
    }
}

fn erasure(at: &'static str, by: u8) -> impl Fn(u8) -> Case {
    move |number| {
        said(Case::new(&numbered(number), "erasure", &about(at, number), at, number)).by(by)
    }
}

/// With a record that has all that one may have.
fn replayed(number: u8) -> Case {
    let again = "2026-11-28T00:00:00.35Z".parse().unwrap();
    let record = ErasureRecord {
        epoch: Some(7),
        replayed: Some(again),
        dealt_with: Some(again),
        ..ErasureRecord::empty(ErasureId(ERASURE.parse().unwrap()))
    };
    let case = erasure("2023-06-30T03:34:18.518Z", MADE)(number).with("about", ERASURE);
    case.sealing(plain(taken(), &record.to_memo().unwrap()))
}

fn later(by: u8) -> impl Fn(u8) -> Case {
    move |number| erasure(NOW, by)(number).with("format", 2)
}

fn histories() -> Vec<Value> {
    let first = |until| key(FIRST_OF_ALL, "created", BEGAN, until, None);
    let made = |until| key(MADE, "restored", RESTORED_AT, until, None);
    let again = key(MADE_AGAIN, "restored", "2026-05-01T00:00:00Z", None, None);
    let (restored, again_at) = (Some(RESTORED_AT), Some("2026-05-01T00:00:00Z"));

    let waits = Told::new(
        2,
        "a successor waits for the key that a restored vault made",
        &[first(restored), made(None)],
        &[pin(1, PINNED, FIRST_OF_ALL)],
    );
    let waits = waits
        .counts(
            "it takes the place of the key for which it is pinned",
            takes_over(PINNED, FIRST_OF_ALL),
        )
        .counts("the same, and that key was stolen", |number| {
            let mut case = change(PINNED, FIRST_OF_ALL)(number).by(PINNED);
            case.line["statement"]["compromised"] = "2026-10-01T00:00:00.000001Z".into();
            case
        })
        .counts("the key that was made announces an erasure", erasure(NOW, MADE))
        .counts("with a fraction of a second", erasure("2026-11-28T00:00:00.35Z", MADE))
        .counts("with microseconds", erasure("2026-11-28T00:00:00.350001Z", MADE))
        .counts("the key before it does", erasure(NOW, FIRST_OF_ALL))
        .counts("an erasure that was applied again, and dealt with", replayed)
        .counts("a distrust of a key that is not in the history", distrusts(NOWHERE, MADE))
        .fails("not the successor", "the key that was made changes itself", change(ANOTHER, MADE))
        .fails("pinned before", "it pins another successor", pins(ANOTHER, MADE))
        .fails("pinned before", "it pins the same successor", pins(PINNED, MADE))
        .fails("pinned before", "the key before it pins another", pins(ANOTHER, FIRST_OF_ALL))
        .fails(
            "not the successor",
            "it distrusts the key whose successor waits",
            distrusts(FIRST_OF_ALL, MADE),
        )
        .fails("not later", "the key before it distrusts it", distrusts(MADE, FIRST_OF_ALL))
        .fails("unknown signer", "the successor distrusts a key", distrusts(FIRST_OF_ALL, PINNED))
        .fails(
            "forged",
            "the successor takes the place of the key for which it waits",
            takes_over(PINNED, MADE),
        )
        .fails("not the successor", "the first key changes itself", change(ANOTHER, FIRST_OF_ALL))
        .fails("format", "the successor signed a later form", later(PINNED))
        .fails("stranger", "the successor announces an erasure", erasure(NOW, PINNED));

    let used = takes_over(PINNED, FIRST_OF_ALL)(41);
    let used = used.with("at", USED_AT).with("about", about(USED_AT, 41));
    let used = Told::new(
        42,
        "the successor was used, and the vault restored after that",
        &[
            first(Some(USED_AT)),
            key(PINNED, "successor", USED_AT, restored, Some(used)),
            made(None),
        ],
        &[pin(40, PINNED, FIRST_OF_ALL)],
    );
    let used = used
        .counts("the key that was made changes itself", change(ANOTHER, MADE))
        .counts("it pins a successor", pins(ANOTHER, MADE))
        .counts("it distrusts the first key", distrusts(FIRST_OF_ALL, MADE))
        .counts("it distrusts the successor that was used", distrusts(PINNED, MADE))
        .counts("which distrusts the first key", distrusts(FIRST_OF_ALL, PINNED))
        .fails("not later", "which distrusts it", distrusts(MADE, PINNED))
        .fails("replaced", "the first key changes itself", change(ANOTHER, FIRST_OF_ALL));

    let own = Told::new(
        62,
        "the key that was made has a successor of its own",
        &[first(restored), made(None)],
        &[pin(60, ANOTHER, MADE), pin(61, PINNED, FIRST_OF_ALL)],
    );
    let own = own
        .counts("its successor takes its place", takes_over(ANOTHER, MADE))
        .counts("the first key's takes that key's place", takes_over(PINNED, FIRST_OF_ALL))
        .counts(
            "it distrusts the first key, whose successor does not wait for it",
            distrusts(FIRST_OF_ALL, MADE),
        )
        .fails("not the successor", "it changes itself", change(NOWHERE, MADE))
        .fails("stranger", "the first key's successor signed a later form", later(PINNED))
        .fails("format", "its own successor did", later(ANOTHER));

    let twice = Told::new(
        81,
        "it was restored twice, and a successor waits",
        &[first(restored), made(again_at), again.clone()],
        &[pin(80, PINNED, FIRST_OF_ALL)],
    );
    let twice = twice
        .counts("the successor takes over", takes_over(PINNED, FIRST_OF_ALL))
        .counts("the second key that was made distrusts the first", distrusts(MADE, MADE_AGAIN))
        .fails("not the successor", "the second changes itself", change(ANOTHER, MADE_AGAIN))
        .fails("not the successor", "the first does", change(ANOTHER, MADE))
        .fails(
            "not the successor",
            "the second distrusts the key whose successor waits",
            distrusts(FIRST_OF_ALL, MADE_AGAIN),
        )
        .fails("not the successor", "the first does", distrusts(FIRST_OF_ALL, MADE))
        .fails("format", "the successor signed a later form", later(PINNED));

    let between = Told::new(
        101,
        "it was restored twice, and the successor was pinned in between",
        &[first(restored), made(again_at), again],
        &[pin(100, PINNED, MADE)],
    );
    let between = between
        .counts("the successor takes over", takes_over(PINNED, MADE))
        .counts("the last key distrusts the first", distrusts(FIRST_OF_ALL, MADE_AGAIN))
        .counts("the one before it does", distrusts(FIRST_OF_ALL, MADE))
        .counts("the first changes itself", change(ANOTHER, FIRST_OF_ALL))
        .fails(
            "not the successor",
            "the last distrusts the key whose successor waits",
            distrusts(MADE, MADE_AGAIN),
        )
        .fails("not the successor", "the last changes itself", change(ANOTHER, MADE_AGAIN));

    [waits, used, own, twice, between].map(Told::file).into()
}

#[test]
fn the_committed_histories_are_what_is_written_today() {
    let (era, secret) = era(4);
    are_committed(
        "histories.json",
        &json!({
            "vault": VAULT, "eras": [{ "era": era, "secret": hex(&secret) }], "histories": histories(),
        }),
    );
}
