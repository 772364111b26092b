//! Makes the vectors of announcements of `docs/format.md`, under fixed keys and nonces, and checks that the
//! committed ones are still what this program writes.

use serde_json::{Value, json};

mod distrust;
mod histories;
mod instants;

use super::{super::ErasureRecord, *};
use crate::{
    event::{Era, Generation, KeyId},
    layer::document::vectors::{are_committed, hex},
    vault::{Taken, seal_as_vector},
};

const VAULT: &str = "886313e1-3b8a-4372-9b90-0c9aee199e5d";
const OTHER_VAULT: &str = "6fa459ea-ee8a-5ca4-894e-db77e1600009";
const ERASURE: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
/// Who signs, by the byte that the secret is made of. The vault never had the key of a stranger. What was
/// stolen was a pinned successor itself, and used.
const OLDEST: u8 = 8;
const STOLEN: u8 = 1;
const FIRST: u8 = 2;
const PRESENT: u8 = 3;
const SUCCESSOR: u8 = 4;
const STRANGER: u8 = 5;

fn era(number: u8) -> (Era, [u8; 32]) {
    let from = (number - 3) * 32;
    (Era([0x0e, 0x7a, 0, number]), std::array::from_fn(|at| from + at as u8))
}

fn signer(secret: u8) -> SigningKey {
    SigningKey::from_secret(&[secret; 32])
}

/// The log that a key began.
fn log(by: u8) -> String {
    signer(by).public().id().to_string()
}

fn numbered(number: u8) -> String {
    format!("6fa459ea-ee8a-5ca4-894e-db77e16000{number:02x}")
}

/// The id of what was decided at an instant.
fn about(at: &str, number: u8) -> String {
    let millis = at.parse::<Timestamp>().unwrap().as_micros() as u128 / 1000;
    Uuid::from_u128(millis << 80 | 0x774b << 64 | 0xbcce << 48 | u128::from(number)).to_string()
}

/// An announcement to be made.
#[derive(Clone)]
struct Case {
    /// All members that are in clear, but for who signed.
    line: Value,
    plaintext: Vec<u8>,
    eras: Vec<u8>,
    /// Whose key a statement names.
    prover: Option<u8>,
    by: u8,
}

impl Case {
    fn new(id: &str, kind: &str, about: &str, at: &str, epoch: u8) -> Self {
        let line = json!({
            "id": id, "format": 1, "kind": kind, "vault": VAULT, "log": log(OLDEST), "about": about, "at": at,
            "epoch": epoch, "previous": [],
        });
        Self { line, plaintext: plain(vec![], &[]), eras: vec![4], prover: None, by: PRESENT }
    }

    fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.line[member] = value.into();
        self
    }

    fn without(mut self, member: &str) -> Self {
        self.line.as_object_mut().unwrap().remove(member);
        self
    }

    /// Says that no other named these when the vault announced it.
    fn after(self, before: &[&Self]) -> Self {
        let mut named: Vec<_> =
            before.iter().map(|&before| before.clone().made().0.reference()).collect();
        named.sort_unstable();
        self.with("previous", json!(named))
    }

    fn by(mut self, by: u8) -> Self {
        self.by = by;
        self
    }

    fn sealing(mut self, plaintext: Vec<u8>) -> Self {
        self.plaintext = plaintext;
        self
    }

    fn said(&self) -> Announcement {
        self.line.to_string().parse().unwrap()
    }

    fn made(mut self) -> (Announcement, Self) {
        let eras: Vec<_> = self.eras.iter().map(|number| era(*number)).collect();
        let public = signer(self.by).public();
        self.line["public"] = public.to_string().into();
        self.line["key"] = public.id().to_string().into();
        let mut sealed = String::new();
        let bytes = seal_as_vector(&eras, &self.said().associated(), &self.plaintext);
        base64url::encode(&bytes, &mut sealed);
        self.line["sealed"] = sealed.into();
        if let Some(prover) = self.prover {
            let proof = signer(prover).sign(&self.said().proof_bytes());
            self.line["proof"] = proof.to_string().into();
        }
        self.line["sig"] = signer(self.by).sign(&self.said().signed_bytes()).to_string().into();
        (self.said(), self)
    }

    fn line(self) -> Value {
        self.made().1.line
    }
}

/// A statement that leads from one key to another.
fn statement(number: u8, kind: &str, at: &str, epoch: u8, of: u8, replaces: u8) -> Case {
    let (id, about) = (numbered(number), about(at, number));
    let mut case = Case::new(&id, kind, &about, at, epoch);
    case.line["statement"] = json!({
        "public": signer(of).public().to_string(),
        "replaces": signer(replaces).public().id().to_string(),
    });
    case.prover = Some(of);
    case.by(replaces)
}

fn plain(taken: Vec<Taken>, record: &[u8]) -> Vec<u8> {
    let decision = Decision { erasure: ErasureId(Uuid::nil()), taken, record: record.to_vec() };
    decision.plaintext().to_vec()
}

fn taken() -> Vec<Taken> {
    let rising: [u8; 16] = std::array::from_fn(|at| at as u8 * 0x11);
    let falling: [u8; 16] = std::array::from_fn(|at| (15 - at as u8) * 0x11);
    let key = |generation, byte| {
        let mut id = [byte; 20];
        id[..4].copy_from_slice(&era(3).0.0);
        (Generation(generation), KeyId(id))
    };
    let spans = |spans: &[(u32, u32)]| {
        spans.iter().map(|(from, to)| (Generation(*from), Generation(*to))).collect()
    };
    vec![
        Taken {
            pseudonym: rising,
            dead: spans(&[(1, 4)]),
            spared: [].into(),
            whole: true,
            closed: true,
        },
        Taken {
            pseudonym: falling,
            dead: spans(&[(1, 2), (5, 5)]),
            spared: [key(2, 0xab), key(5, 0xcd)].into(),
            whole: false,
            closed: false,
        },
    ]
}

fn record() -> Vec<u8> {
    let erasure = ErasureId(ERASURE.parse().unwrap());
    let reason = "ticket 4711".to_owned();
    let record = ErasureRecord {
        reason,
        attempt: 1,
        keys: 3,
        subjects: 2,
        streams: 2,
        ..ErasureRecord::empty(erasure)
    };
    record.to_memo().unwrap().to_vec()
}

/// As in a list.
fn first() -> Case {
    let case = Case::new(&numbered(1), "erasure", ERASURE, "2023-06-30T03:34:18.518Z", 17);
    case.without("previous").sealing(plain(taken(), &record()))
}

fn good(name: &str, case: Case) -> Value {
    let (said, case) = case.made();
    // The program would write the same.
    let written = Announcement::new(said.id(), said.body().unwrap()).unwrap();
    assert_eq!(written, said, "{name}");
    let mut vector = json!({
        "name": name,
        "associated": hex(&said.associated()),
        "signed": hex(&said.signed_bytes()),
        "plaintext": hex(&case.plaintext),
        "line": case.line,
    });
    if case.prover.is_some() {
        vector["proved"] = hex(&said.proof_bytes()).into();
    }
    vector["opened"] = if case.plaintext != plain(vec![], &[]) {
        let taken = taken().into_iter().map(|taken| {
            let span = |(from, to): &(Generation, Generation)| json!([from.0, to.0]);
            let mut told = json!({
                "pseudonym": hex(&taken.pseudonym), "whole": taken.whole, "closed": taken.closed,
                "dead": taken.dead.iter().map(span).collect::<Vec<_>>(),
            });
            if !taken.spared.is_empty() {
                let spared = taken.spared.iter().map(|(at, id)| json!([at.0, hex(&id.0)]));
                told["spared"] = spared.collect::<Vec<_>>().into();
            }
            told
        });
        let record = String::from_utf8(record()).unwrap();
        json!({ "taken": taken.collect::<Vec<_>>(), "record": record })
    } else {
        json!({ "taken": [], "record": "" })
    };
    vector
}

fn oldest() -> Case {
    statement(7, "successor", "2025-01-01T00:00:00Z", 19, STOLEN, OLDEST)
}

fn begun() -> Case {
    statement(8, "signing-key", "2025-07-01T00:00:00Z", 20, STOLEN, OLDEST)
}

fn statements() -> Vec<Value> {
    let (oldest, begun) = (oldest(), begun());
    let begun = begun.by(STOLEN).after(&[&oldest]);
    let pinned = statement(11, "successor", "2026-01-01T00:00:00Z", 21, FIRST, STOLEN);
    let pinned = pinned.after(&[&begun]);
    let mut used = statement(12, "signing-key", "2026-11-21T00:00:00Z", 22, FIRST, STOLEN);
    used.line["statement"]["compromised"] = "2026-11-20T00:00:00Z".into();
    let used = used.by(FIRST).after(&[&pinned]);
    let changed = statement(13, "signing-key", "2026-12-01T00:00:00Z", 23, PRESENT, FIRST);
    let changed = changed.after(&[&used]);
    let next = statement(14, "successor", "2026-12-02T00:00:00Z", 24, SUCCESSOR, PRESENT);
    let next = next.after(&[&changed]);
    vec![
        good("the first key pins a successor", oldest),
        good("which takes its place", begun),
        good("a successor is pinned", pinned),
        good("it takes the place of a key that was stolen", used),
        good("a key without a successor signs the change itself", changed),
        good("the next successor", next),
    ]
}

fn named_by(event: u8, digest: &str) -> Value {
    json!({ "event": numbered(event), "digest": digest })
}

fn vectors() -> Vec<Value> {
    let mut two = first();
    two.eras = vec![3, 4];
    let given = "01890a5d-ac97-774b-bcce-b302099a8058";
    let other = Case::new(&numbered(2), "erasure", given, "2023-06-30T03:34:18.519Z", 18);
    let other = other.with("log", log(STRANGER)).after(&[&two]).by(FIRST);
    let at = "2023-06-30T03:35:00Z";
    let third = Case::new(&numbered(4), "erasure", &about(at, 4), at, 18).after(&[&other, &two]);
    // As texts, their digests are in the other order.
    let of_one = ["Dw", "-A"].map(|begins| named_by(9, &format!("{begins}{}", "A".repeat(41))));
    let at = "2023-06-30T03:36:00Z";
    let fourth = Case::new(&numbered(5), "erasure", &about(at, 5), at, 18);
    let fourth = fourth.with("previous", json!(of_one));
    let at = "2023-06-30T03:37:00Z";
    let fifth = Case::new(&numbered(6), "erasure", &about(at, 6), at, 18);
    vec![
        good("of a list, of two subjects, of one of whom keys are spared", two),
        good(
            "one of another log that names the one before, takes nothing, and is signed by an earlier key",
            other,
        ),
        good("one that was announced when none was known", fifth),
        good("one that names two", third),
        good("one that names two of one event, in the order of their bytes", fourth),
    ]
}

/// What is sealed before the record.
fn subjects(taken: &[Taken]) -> Vec<u8> {
    let size = |taken: &Taken| {
        let spared = taken.spared.len();
        21 + 8 * taken.dead.len() + if spared > 0 { 4 + 24 * spared } else { 0 }
    };
    let length = 5 + taken.iter().map(size).sum::<usize>();
    plain(taken.to_vec(), &[])[..length].to_vec()
}

/// An erasure with another record.
fn of_record(edit: &dyn Fn(Vec<u8>) -> Vec<u8>) -> Value {
    // The record's version and text are the last that is sealed, after their length.
    let mut text = subjects(&taken());
    let record = edit([&[1], record().as_slice()].concat());
    text.extend_from_slice(&u32::try_from(record.len()).unwrap().to_be_bytes());
    first().sealing([text, record].concat()).line()
}

/// The same, with this changed in the text of the record.
fn edited(from: &str, to: &str) -> Value {
    of_record(&|record| {
        let text = String::from_utf8(record).unwrap();
        assert!(text.contains(from));
        text.replacen(from, to, 1).into_bytes()
    })
}

/// Subjects and spans in orders in which nobody writes them.
fn odd_orders() -> Vec<(&'static str, Vec<u8>)> {
    let all = taken();
    let [first, second] = [0, 1].map(|n| subjects(&all[n..=n])[5..].to_vec());
    let two = |one: &[u8], other: &[u8]| [&[1, 0, 0, 0, 2], one, other].concat();
    let spans = |spans: &[(u32, u32)], flags: u8| {
        let mut plain = vec![1, 0, 0, 0, 1];
        plain.extend_from_slice(&[7; 16]);
        plain.push(flags);
        plain.extend_from_slice(&(spans.len() as u32).to_be_bytes());
        plain.extend(
            spans.iter().flat_map(|(from, to)| [from.to_be_bytes(), to.to_be_bytes()]).flatten(),
        );
        plain
    };
    vec![
        ("subjects in another order", two(&second, &first)),
        ("a subject twice", two(&first, &first)),
        ("spans in another order", spans(&[(4, 4), (1, 2)], 0)),
        ("spans that overlap", spans(&[(1, 2), (2, 4)], 0)),
        ("spans that touch", spans(&[(1, 2), (3, 4)], 0)),
        ("all of a subject, and no span", spans(&[], 1)),
    ]
}

/// Another last bit but one of a text in base64url that is long enough.
fn flipped(line: &Value, member: &str) -> Value {
    let mut text = line[member].as_str().unwrap().to_owned().into_bytes();
    text[8] = if text[8] == b'A' { b'B' } else { b'A' };
    let mut line = line.clone();
    line[member] = String::from_utf8(text).unwrap().into();
    line
}

fn bad(vectors: &[Value], statements: &[Value]) -> Vec<Value> {
    let (line, second) = (&vectors[0]["line"], &vectors[1]["line"]);
    let mut bad = Vec::new();
    let mut add = |name: &str, error: &str, line: Value| {
        bad.push(json!({ "name": name, "error": error, "line": line }));
    };
    let set = |line: &Value, member: &str, value: Value| {
        let mut line = line.clone();
        line[member] = value;
        line
    };
    let without = |line: &Value, members: &[&str]| {
        let mut line = line.clone();
        for member in members {
            line.as_object_mut().unwrap().remove(*member).unwrap();
        }
        line
    };
    add(
        "not signed: whoever has a backup of the vault can make it",
        "unsigned",
        without(line, &["key", "sig"]),
    );
    add("a key and no signature", "unsigned", without(line, &["sig"]));
    add("a signature and no key", "unsigned", without(line, &["key"]));
    add("a bit of the signature", "unsigned", flipped(line, "sig"));
    let key = signer(FIRST).public().id().to_string();
    add("under the id of another key of the history", "unsigned", set(line, "key", key.into()));
    add("signed by a key that the vault never had", "stranger", first().by(STRANGER).line());
    add(
        "signed by a pinned successor that is not used yet",
        "stranger",
        first().by(SUCCESSOR).line(),
    );
    let mut closed = first().by(STRANGER);
    closed.eras = vec![5];
    add(
        "signed by a key that the vault never had, and it does not open",
        "unsigned",
        closed.line(),
    );
    let newer = |text: &[u8]| [&[2], &text[1..]].concat();
    let strange = first().by(STRANGER).sealing(newer(&plain(taken(), &record())));
    add("signed by a key that the vault never had, and newer inside", "stranger", strange.line());
    for (name, member, value) in [
        ("in a later format", "format", json!(2)),
        ("of a reserved kind", "kind", json!("hold")),
        ("of a kind of which nobody knows", "kind", json!("pardon")),
        ("with a member of which nobody knows", "more", json!(true)),
    ] {
        let case = || first().by(STRANGER).with(member, value.clone());
        add(
            &format!("signed by a key that the vault never had, {name}"),
            "stranger",
            case().line(),
        );
        let mut closed = case();
        closed.eras = vec![5];
        add(
            &format!("signed by a key that the vault never had, {name}, and it does not open"),
            "unsigned",
            closed.line(),
        );
    }
    let mut later = first();
    later.eras = vec![5];
    add("sealed for later eras alone", "too new", later.line());
    let mut later = first();
    later.eras = vec![];
    add("sealed for nobody", "too new", later.line());
    add(
        "the signature of another announcement",
        "unsigned",
        set(line, "sig", second["sig"].clone()),
    );
    add("as another event", "unsigned", set(line, "id", numbered(3).into()));
    add("at another epoch", "unsigned", set(line, "epoch", 18.into()));
    add("of another log", "unsigned", set(line, "log", log(STRANGER).into()));
    add("as another kind", "unsigned", set(line, "kind", "hold".into()));
    add("what is sealed changed", "unsigned", flipped(line, "sealed"));
    let theirs = first().with("vault", OTHER_VAULT).line();
    add("another vault's under this vault's name", "unsigned", set(&theirs, "vault", VAULT.into()));
    add("a later format that nobody signed", "unsigned", set(line, "format", 2.into()));
    add("another vault's", "another vault", theirs);
    add("only a compromised key says it", "compromised", first().by(STOLEN).line());
    add("a later format", "format", first().with("format", 2).line());
    let named = |value: Value| first().with("previous", value).line();
    let digest = first().made().0.reference().digest.to_string();
    add("names the one before by its event alone", "form", named(json!([numbered(2)])));
    add("the same, as an object", "form", named(json!([{ "event": numbered(2) }])));
    let cut = json!({ "event": numbered(2), "digest": digest[..42] });
    add("names the one before by a digest that is cut", "form", named(json!([cut])));
    let more = json!({ "event": numbered(2), "digest": digest, "more": 1 });
    add("says more of the one before", "form", named(json!([more])));
    let one = |n| json!({ "event": numbered(n), "digest": digest });
    add("names the one before, and not in a list", "form", named(one(2)));
    add("names two in another order", "form", named(json!([one(3), one(2)])));
    add("says null of those before it", "form", named(Value::Null));
    for (kind, case) in [("successor", oldest()), ("signing-key", begun())] {
        add(
            &format!("a {kind} that says nothing of those before it"),
            "form",
            case.without("previous").line(),
        );
    }
    add("names one twice", "form", named(json!([one(2), one(2)])));
    let of_one = ["-A", "Dw"].map(|begins| named_by(9, &format!("{begins}{}", "A".repeat(41))));
    add("names two of one event, in the order of their texts", "form", named(json!(of_one)));
    let seventeen: Vec<_> = (2..19).map(one).collect();
    add("names more than can be named", "form", named(seventeen.into()));
    add(
        "a later format of what is sealed",
        "format",
        first().sealing(newer(&plain(taken(), &record()))).line(),
    );
    add("a later format of the record", "format", of_record(&|record| newer(&record)));
    add("a member of the record of which nobody knows", "form", edited("{", "{\"more\":1,"));
    add("a member of the record missing", "form", edited("\"keys\":3,", ""));
    add(
        "members of the record in another order",
        "form",
        edited("\"keys\":3,\"subjects\":2,", "\"subjects\":2,\"keys\":3,"),
    );
    add(
        "a number of the record in another spelling",
        "form",
        edited("\"keys\":3,", "\"keys\":3.0,"),
    );
    add("a number of the record that is a text", "form", edited("\"keys\":3,", "\"keys\":\"3\","));
    add("the record of another erasure", "form", edited("8057", "8058"));
    add(
        "a record cut by a byte",
        "form",
        of_record(&|mut record| {
            record.pop();
            record
        }),
    );
    let mut odd = |name: &str, change: &dyn Fn(&mut Vec<Taken>)| {
        let mut taken = taken();
        change(&mut taken);
        add(name, "form", first().sealing(plain(taken, &record())).line());
    };
    let span = |from, to| (Generation(from), Generation(to));
    odd("a span that ends before it begins", &|taken| taken[0].dead = vec![span(4, 1)]);
    odd("a span from generation 0 on", &|taken| taken[0].dead = vec![span(0, 4)]);
    odd("a span beyond the last generation", &|taken| taken[0].dead = vec![span(1, 1 << 24)]);
    let mut tail = plain(taken(), &record());
    tail.push(1);
    add("something follows what is sealed", "form", first().sealing(tail).line());
    let mut filled = plain(taken(), &record());
    *filled.last_mut().unwrap() = 1;
    add("what is sealed is filled with something", "form", first().sealing(filled).line());
    for (name, subjects) in odd_orders() {
        add(name, "form", first().sealing([subjects, vec![0; 4]].concat()).line());
    }
    for (name, id) in [
        ("an erasure whose id is all zeros", Uuid::nil().to_string()),
        ("an erasure whose id is of version 4", VAULT.to_owned()),
        ("an erasure whose id carries another millisecond", ERASURE.replace("ac96", "ac97")),
    ] {
        add(name, "form", first().with("about", id).line());
    }
    let mut later =
        statement(42, "signing-key", "2026-12-03T00:00:00Z", 52, SUCCESSOR, PRESENT).by(SUCCESSOR);
    later.line["about"] = about("2026-12-03T00:00:00.001Z", 42).into();
    add("a statement whose id carries another millisecond", "form", later.line());
    add("without the key that signs", "unsigned", without(line, &["public"]));
    let other = signer(FIRST).public().to_string();
    add("with a key that does not have the id", "unsigned", set(line, "public", other.into()));
    let mut other = first().sealing(plain(vec![], &[])).line();
    other["sig"] = line["sig"].clone();
    add("what was signed, with something else sealed in it", "unsigned", other);
    let (stranger, mut theirs) = (signer(STRANGER), line.clone());
    theirs["public"] = stranger.public().to_string().into();
    theirs["key"] = stranger.public().id().to_string().into();
    let bytes = theirs.to_string().parse::<Announcement>().unwrap().signed_bytes();
    theirs["sig"] = stranger.sign(&bytes).to_string().into();
    add("what the vault sealed, signed by somebody else", "unsigned", theirs);
    for kind in [
        "erasure-lifted",
        "hold",
        "hold-lifted",
        "suspension",
        "suspension-lifted",
        "restriction",
        "restriction-lifted",
        "link",
        "link-lifted",
    ] {
        let case = first().sealing(plain(vec![], &[])).with("kind", kind);
        add(&format!("the reserved kind {kind}"), "reserved", case.line());
    }
    let hold = first().sealing(plain(vec![], &[])).with("kind", "hold").by(STOLEN);
    add(
        "a reserved kind that only a compromised key signs, which was a pinned successor",
        "unsigned",
        hold.line(),
    );
    let pardon = first().sealing(plain(vec![], &[])).with("kind", "pardon");
    add("a kind of which nobody knows", "kind", pardon.line());
    for kind in [json!(["hold"]), json!({"name": "hold"}), json!(7), Value::Null] {
        let case = first().sealing(plain(vec![], &[])).with("kind", kind);
        add("a kind that is no text", "kind", case.line());
    }
    for format in [json!("1"), json!(1.5), json!([1]), Value::Null] {
        add("a format that is no number of ours", "format", first().with("format", format).line());
    }
    add("a log that is no key's id", "form", first().with("log", 1).line());
    add("a member of which nobody knows", "form", first().with("more", true).line());
    let later = first().with("format", 2).with("kind", "signing-key").by(SUCCESSOR);
    add("a later form that the pinned successor signed", "format", later.line());
    let at = "2026-12-03T00:00:00Z";
    let change =
        |number, kind, of, replaces| statement(number, kind, at, number + 10, of, replaces);
    let key = "signing-key";
    add("a stranger changes the key", "forged", change(30, key, 6, PRESENT).by(STRANGER).line());
    add("the compromised key changes itself", "compromised", change(31, key, 6, STOLEN).line());
    add(
        "the compromised key pins a successor",
        "compromised",
        change(32, "successor", 6, STOLEN).line(),
    );
    add("a key that was replaced changes itself", "replaced", change(33, key, 6, FIRST).line());
    add(
        "a key with a successor changes itself",
        "not the successor",
        change(34, key, 6, PRESENT).line(),
    );
    let mut successor = change(39, "successor", SUCCESSOR, PRESENT);
    successor.line["statement"]["compromised"] = at.into();
    add("a successor of a key that is said to be stolen", "form", successor.line());
    add("a second successor", "pinned before", change(35, "successor", 6, PRESENT).line());
    add("from a key that is not in the history", "gap", change(36, key, 7, STRANGER).line());
    let change = |number| change(number, key, 7, STRANGER);
    add("from such a key, which did not sign it", "forged", change(40).by(OLDEST).line());
    let mut unproved = change(41);
    unproved.prover = Some(STRANGER);
    add("from such a key, to one that did not sign it", "forged", unproved.line());
    let change =
        |number, kind, of, replaces| statement(number, kind, at, number + 10, of, replaces);
    let mut unproved = change(37, key, SUCCESSOR, PRESENT).by(SUCCESSOR);
    unproved.prover = Some(STRANGER);
    add("whoever names the key does not have it", "forged", unproved.line());
    let theirs = change(38, key, SUCCESSOR, PRESENT).by(SUCCESSOR).with("vault", OTHER_VAULT);
    add("the successor of another vault", "another vault", theirs.line());
    let used = &statements[3]["line"];
    add("a bit of the statement's signature", "forged", flipped(used, "sig"));
    add("a bit of the proof", "forged", flipped(used, "proof"));
    add("without its proof", "forged", without(used, &["proof"]));
    add("without its statement", "unsigned", without(used, &["statement"]));
    let mut dated = used.clone();
    dated["statement"]["compromised"] = "2026-11-21T00:00:00Z".into();
    add("another day since when it is stolen", "forged", dated);
    for (name, line) in instants::bad() {
        add(&name, "form", line);
    }
    bad
}

#[test]
fn the_committed_announcements_are_what_is_written_today() {
    let key = |secret: u8| {
        let public = signer(secret).public();
        json!({ "key": public.id().to_string(), "public": public.to_string() })
    };
    let mut stolen = key(STOLEN);
    stolen["compromised"] = "2026-11-20T00:00:00Z".into();
    let era = |number| {
        let (era, secret) = era(number);
        json!({ "era": era, "secret": hex(&secret) })
    };
    let (statements, vectors) = (statements(), vectors());
    let bad = bad(&vectors, &statements);
    are_committed(
        "announcements.json",
        &json!({
            "vault": VAULT, "eras": [era(3), era(4)], "keys": [key(OLDEST), stolen, key(FIRST), key(PRESENT)],
            "successor": key(SUCCESSOR), "vectors": vectors, "statements": statements, "bad": bad,
        }),
    );
}
