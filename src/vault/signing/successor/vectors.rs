//! Makes the vectors of successors' files of `docs/format.md`, and checks that the committed ones are what is
//! written today, and are read as they say.

use serde_json::{Value, json};

use super::*;
use crate::layer::document::vectors::{are_committed, hex};

const VAULT: &str = "886313e1-3b8a-4372-9b90-0c9aee199e5d";

fn read(text: &[u8]) -> Result<Successor, SuccessorError> {
    Successor::read(text, Path::new("a file"))
}

fn named(text: &[u8]) -> &'static str {
    match read(text) {
        Ok(successor) if successor.vault().to_string() != VAULT => "another vault",
        Ok(successor) if successor.public() != made().public() => "another key",
        Ok(_) => "good",
        Err(SuccessorError::NotASuccessor(_)) => "not a successor",
        Err(SuccessorError::Newer { .. }) => "newer",
        Err(other) => panic!("{other}"),
    }
}

fn made() -> Successor {
    let secret: [u8; 32] = std::array::from_fn(|at| 0x60 + at as u8);
    Successor { vault: VaultId(VAULT.parse().unwrap()), key: SigningKey::from_secret(&secret) }
}

fn good() -> Vec<Value> {
    let text = made().text().to_string();
    let line = text.lines().last().unwrap();
    let texts = [
        ("as it is written", text.clone()),
        ("the one line", line.to_owned()),
        ("a byte-order mark, and lines that end as on Windows", {
            format!("\u{feff}{}", text.replace('\n', "\r\n"))
        }),
        ("tabs, and lines of white space", format!(" \n{}\n\t\n", line.replace(' ', "\t "))),
    ];
    let good = texts.into_iter().map(|(name, text)| {
        assert_eq!(named(text.as_bytes()), "good", "{name}");
        json!({ "name": name, "text": text })
    });
    good.collect()
}

fn bad() -> Vec<Value> {
    let text = made().text().to_string();
    let line = text.lines().last().unwrap();
    let words: Vec<_> = line.split(' ').collect();
    let (vault, secret) = (words[1], words[2]);
    let padded = |zeros: &str| text.replace(secret, &format!("{secret}{zeros}"));
    let mut bad: Vec<(&str, &str, String)> = vec![
        ("nothing", "not a successor", String::new()),
        ("nothing but words for people", "not a successor", text.replace(line, "")),
        ("an age identity", "not a successor", "AGE-SECRET-KEY-1QQQ\n".to_owned()),
        ("the mark alone", "not a successor", words[0].to_owned()),
        ("without the secret", "not a successor", text.replace(secret, "")),
        ("without the vault", "not a successor", text.replace(vault, "")),
        ("a word more", "not a successor", text.replace(secret, &format!("{secret} more"))),
        ("a line more", "not a successor", format!("{text}{line}\n")),
        ("a line before it", "not a successor", format!("Keep this.\n{text}")),
        ("a secret that is cut by a character", "not a successor", {
            text.replace(secret, &secret[..42])
        }),
        ("a secret of one byte less", "not a successor", text.replace(secret, &secret[1..])),
        ("a secret with padding", "not a successor", padded("=")),
        ("a secret of a byte more", "not a successor", padded("A")),
        ("a secret whose spare bits are not zero", "not a successor", {
            let last = secret.as_bytes()[42] as char;
            let other = char::from(last as u8 + 1);
            text.replace(secret, &format!("{}{other}", &secret[..42]))
        }),
        (
            "a secret in the other alphabet",
            "not a successor",
            text.replace(secret, &"+".repeat(43)),
        ),
        ("a vault in capitals", "not a successor", text.replace(vault, &vault.to_uppercase())),
        (
            "a vault without hyphens",
            "not a successor",
            text.replace(vault, &vault.replace('-', "")),
        ),
        ("a vault that is none", "not a successor", text.replace(vault, "886313e1")),
        ("the mark in small letters", "not a successor", text.replace("OUBLIETTE-", "oubliette-")),
        ("version 0", "not a successor", text.replace("SUCCESSOR-1", "SUCCESSOR-0")),
        ("version 01", "not a successor", text.replace("SUCCESSOR-1", "SUCCESSOR-01")),
        ("no version", "not a successor", text.replace("SUCCESSOR-1", "SUCCESSOR-")),
        (
            "a version that is no number",
            "not a successor",
            text.replace("SUCCESSOR-1", "SUCCESSOR-x"),
        ),
        ("longer than any", "not a successor", format!("#{}\n{text}", "-".repeat(4096))),
        ("a newer version", "newer", text.replace("SUCCESSOR-1", "SUCCESSOR-2")),
        (
            "a newer version, and what it says is not looked at",
            "newer",
            "OUBLIETTE-SUCCESSOR-10 x".into(),
        ),
        (
            "another vault's",
            "another vault",
            text.replace(vault, "6fa459ea-ee8a-4ca4-894e-db77e1600009"),
        ),
        ("a bit of the secret", "another key", text.replace(secret, &secret.replacen('Y', "Z", 1))),
    ];
    // In hexadecimal digits, because it is no text.
    let mut odd = text.clone().into_bytes();
    odd[5] = 0xff;
    let odd = json!({ "name": "not UTF-8", "error": "not a successor", "hex": hex(&odd) });
    assert_eq!(named(&[b"# \xff\n", text.as_bytes()].concat()), "not a successor");
    let told = bad.drain(..).map(|(name, error, text)| {
        assert_eq!(named(text.as_bytes()), error, "{name}");
        json!({ "name": name, "error": error, "text": text })
    });
    told.chain([odd]).collect()
}

#[test]
fn the_committed_successors_files_are_what_is_written_today() {
    let successor = made();
    are_committed(
        "successors.json",
        &json!({
            "vault": VAULT, "key": successor.id().to_string(), "public": successor.public().to_string(),
            "secret": hex(successor.key().secret().as_slice()), "good": good(), "bad": bad(),
        }),
    );
}
