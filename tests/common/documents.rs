//! Made-up JSON.

#![allow(unreachable_pub)]

use proptest::prelude::*;

/// JSON with white space and spellings of all kinds.
pub fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        "-?(0|[1-9][0-9]{0,3})(\\.[0-9]{1,3})?([eE][+-]?[0-9]{1,2})?",
        "[a-zé]{0,6}".prop_map(|text| format!("\"{text}\"")),
        Just(r#""J\u00fcr\/gen""#.to_owned()),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            (prop::collection::vec((inner.clone(), gap(), gap()), 0..4), gap()).prop_map(
                |(items, empty)| {
                    let items: Vec<String> =
                        items.into_iter().map(|(v, a, b)| format!("{a}{v}{b}")).collect();
                    if items.is_empty() {
                        format!("[{empty}]")
                    } else {
                        format!("[{}]", items.join(","))
                    }
                }
            ),
            object(inner),
        ]
    })
}

fn gap() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", "", "", " ", "\n  ", "\t"])
}

pub fn object(values: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let keys = ["a", "b", "l", "who", "iban", "note", "m~/n"];
    let keys = prop::sample::subsequence(keys.to_vec(), 0..=keys.len()).prop_shuffle();
    let values = prop::collection::vec((values, gap(), gap(), gap(), gap()), keys_len());
    (keys, values, gap()).prop_map(|(keys, values, empty)| {
        let members: Vec<String> = keys
            .into_iter()
            .zip(values)
            .map(|(key, (value, a, b, c, d))| {
                // Who a field is of must be a name.
                let value = if key == "who" { "10e-1".to_owned() } else { value };
                format!("{a}\"{key}\"{b}:{c}{value}{d}")
            })
            .collect();
        if members.is_empty() {
            format!("{{{empty}}}")
        } else {
            format!("{{{}}}", members.join(","))
        }
    })
}

fn keys_len() -> usize {
    7
}
