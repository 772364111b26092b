//! The vectors of a history in which an earlier key is distrusted.

use super::*;

/// The keys of that history, in the order in which they signed. The thief has the first.
const STOLEN_FIRST: u8 = 21;
const SECOND: u8 = 22;
const SIGNS: u8 = 23;
const NEVER_IN_IT: u8 = 24;
const NEXT: u8 = 25;

const NOTICED: &str = "2026-11-28T00:00:00Z";
const SINCE: &str = "2026-10-01T00:00:00Z";

fn case(number: u8, kind: &str, at: &str) -> Case {
    let case = Case::new(&numbered(number), kind, &about(at, number), at, number + 20);
    case.with("log", log(STOLEN_FIRST))
}

trait CaseExt {
    fn distrusting(self, key: u8) -> Self;
}

impl CaseExt for Case {
    fn distrusting(self, key: u8) -> Self {
        self.with("distrust", json!({ "key": log(key), "compromised": SINCE }))
    }
}

fn changed(number: u8, at: &str, from: u8, to: u8) -> Case {
    let case = statement(number, "signing-key", at, number + 20, to, from);
    case.with("log", log(STOLEN_FIRST))
}

fn distrust(number: u8, key: u8, by: u8) -> Case {
    case(number, "distrust", NOTICED).distrusting(key).by(by)
}

fn erasure(number: u8) -> Case {
    let case = case(number, "erasure", "2023-06-30T03:34:18.518Z").with("about", ERASURE);
    case.sealing(plain(taken(), &record())).by(SIGNS)
}

fn bad() -> Vec<Value> {
    let bad = |name: &str, error: &str, line: Value| json!({ "name": name, "error": error, "line": line });
    let mut other_key = distrust(9, SECOND, SIGNS).line();
    other_key["distrust"]["key"] = log(NEVER_IN_IT).into();
    let to_come = case(11, "distrust", NOTICED).by(SIGNS).with(
        "statement",
        json!({
            "public": signer(NEVER_IN_IT).public().to_string(), "replaces": log(SECOND),
        }),
    );
    let spelled = |spelled: &str| {
        let distrust = json!({ "key": log(SECOND), "compromised": spelled });
        case(15, "distrust", NOTICED).with("distrust", distrust).by(SIGNS).line()
    };
    let mut proved = distrust(12, SECOND, SIGNS);
    proved.prover = Some(SIGNS);
    let mut all = vec![
        bad(
            "an erasure that only a distrusted key announces",
            "compromised",
            erasure(5).by(STOLEN_FIRST).line(),
        ),
        bad(
            "a key distrusts the one that took its place",
            "not later",
            distrust(6, SIGNS, SECOND).line(),
        ),
        bad("a key distrusts itself", "not later", distrust(7, SECOND, SECOND).line()),
        bad(
            "a distrusted key distrusts a later one",
            "compromised",
            distrust(8, SIGNS, STOLEN_FIRST).line(),
        ),
        bad("a distrust of another key than was signed", "forged", other_key),
        bad(
            "a distrust by a key that is not in the history",
            "unknown signer",
            distrust(10, SECOND, NEVER_IN_IT).line(),
        ),
        bad("a distrust that names a key to come", "form", to_come.line()),
        bad("a distrust with a proof", "form", proved.line()),
        bad("an erasure that distrusts a key", "form", erasure(13).distrusting(SECOND).line()),
    ];
    all.extend(instants::odd(SINCE).into_iter().map(|since| {
        bad(&format!("a distrust of a key that is stolen since {since}"), "form", spelled(&since))
    }));
    all
}

#[test]
fn the_committed_vectors_of_distrust_are_what_is_written_today() {
    let key = |secret: u8| {
        let public = signer(secret).public();
        json!({ "key": public.id().to_string(), "public": public.to_string() })
    };
    let mut stolen = key(STOLEN_FIRST);
    stolen["compromised"] = SINCE.into();
    let (era, secret) = era(4);
    are_committed(
        "distrust.json",
        &json!({
            "vault": VAULT, "eras": [{ "era": era, "secret": hex(&secret) }],
            "keys": [stolen, key(SECOND), key(SIGNS)],
            "successor": key(NEXT),
            "vectors": [good("by the key that signs", erasure(4))],
            "statements": [
                good("the key is changed", changed(1, "2026-01-01T00:00:00Z", STOLEN_FIRST, SECOND)),
                good("and again", changed(2, "2026-06-01T00:00:00Z", SECOND, SIGNS)),
                good("the first key was stolen", distrust(3, STOLEN_FIRST, SIGNS)),
                good(
                    "the next successor",
                    statement(14, "successor", NOTICED, 34, NEXT, SIGNS).with("log", log(STOLEN_FIRST)),
                ),
            ],
            "bad": bad(),
        }),
    );
}
