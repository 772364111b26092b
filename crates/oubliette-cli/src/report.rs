//! What a run of `verify` or `drill` came to, for programs.

use std::collections::BTreeMap;

use serde::{
    Serialize, Serializer,
    ser::{Error, SerializeMap},
};
use serde_json::Value;

/// The last line of a run: whether it is clean, the numbers of the report, and how many findings of each kind there
/// were. A kind is a value, and never the name of a member: those are ours, and have one style.
pub(super) struct Report<'a, R, K> {
    pub(super) clean: bool,
    pub(super) report: &'a R,
    pub(super) found: &'a BTreeMap<K, u64>,
}

#[derive(Serialize)]
struct Found<'a, K> {
    finding: &'a K,
    count: u64,
}

impl<R: Serialize, K: Serialize> Serialize for Report<'_, R, K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Value::Object(numbers) = serde_json::to_value(self.report).map_err(S::Error::custom)?
        else {
            return Err(S::Error::custom("a report is an object"));
        };
        let found = self.found.iter().map(|(finding, count)| Found { finding, count: *count });
        let mut line = serializer.serialize_map(None)?;
        line.serialize_entry("kind", "report")?;
        line.serialize_entry("clean", &self.clean)?;
        for (name, number) in numbers.iter().filter(|(name, _)| *name != "found") {
            line.serialize_entry(name, number)?;
        }
        line.serialize_entry("found", &found.collect::<Vec<_>>())?;
        line.end()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn kinds_of_findings_are_values_and_no_names_of_members() {
        let found = BTreeMap::from([("unknown-key", 2)]);
        let numbers = json!({ "files": 1, "found": { "unknown-key": 2 } });
        let report = Report { clean: false, report: &numbers, found: &found };
        assert_eq!(
            serde_json::to_value(report).unwrap(),
            json!({
                "kind": "report", "clean": false, "files": 1,
                "found": [{ "finding": "unknown-key", "count": 2 }],
            })
        );
    }
}
