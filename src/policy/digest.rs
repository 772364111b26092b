//! What names a policy: the digests of its rules, and its owner rules in words.

use sha2::{Digest, Sha256};
use toml::Spanned;

use super::file::{FieldRule, OwnerRule, PolicyFile, StreamRule};
use crate::event::PolicyDigest;

/// The first eight bytes of the SHA-256 of the file as JSON, with rules and lists sorted.
pub(super) fn digest(file: &PolicyFile) -> PolicyDigest {
    fn sort(list: &mut Vec<Spanned<String>>) {
        list.sort_by(|a, b| a.get_ref().cmp(b.get_ref()));
        list.dedup_by(|a, b| a.get_ref() == b.get_ref());
    }
    fn sort_fields(list: &mut [Spanned<FieldRule>]) {
        list.sort_by(|a, b| a.get_ref().pointer.get_ref().cmp(b.get_ref().pointer.get_ref()));
    }
    let mut file = file.clone();
    sort(&mut file.public_metadata);
    file.stream.sort_by(|a, b| a.pattern.get_ref().cmp(b.pattern.get_ref()));
    for rule in &mut file.stream {
        rule.public.iter_mut().for_each(sort);
        sort_fields(&mut rule.field);
        for rule in rule.types.values_mut() {
            rule.public.iter_mut().for_each(sort);
            rule.field.iter_mut().for_each(|fields| sort_fields(fields));
        }
    }
    // Types made of strings, numbers and lists: writing them cannot fail.
    named(&serde_json::to_string(&file).unwrap_or_default())
}

/// The same of the rules by which streams get owners; `None`: there are none.
pub(super) fn owner_digest(file: &PolicyFile) -> Option<PolicyDigest> {
    let rules = file.stream.iter().filter(|rule| !rule.owner.is_empty());
    let rule = |rule: &StreamRule| {
        serde_json::to_string(&(&rule.pattern, &rule.owner)).unwrap_or_default()
    };
    let mut rules: Vec<String> = rules.map(rule).collect();
    rules.sort_unstable();
    (!rules.is_empty()).then(|| named(&rules.join("\n")))
}

/// Each rule by which streams get owners, in words.
pub(super) fn owner_rules(file: &PolicyFile) -> Vec<String> {
    let rules = file.stream.iter().flat_map(|stream| {
        stream.owner.iter().map(|owner| (stream.pattern.get_ref(), owner.get_ref()))
    });
    let words = |(stream, rule): (&String, &OwnerRule)| {
        let changes = [("add", &rule.add), ("remove", &rule.remove), ("replace", &rule.replace)];
        let change = changes.iter().find_map(|(word, who)| Some((word, who.as_ref()?)));
        change.map(|(word, who)| {
            format!("`{stream}`: {} {word} `{}`", rule.event.get_ref(), who.get_ref())
        })
    };
    rules.filter_map(words).collect()
}

fn named(canonical: &str) -> PolicyDigest {
    let hash: [u8; 32] = Sha256::digest(canonical.as_bytes()).into();
    let mut digest = PolicyDigest::default();
    digest.0.copy_from_slice(&hash[..8]);
    digest
}
