//! Which column of a table is what.

use super::{TableError, template::Template};

/// Which column of an existing table of events is what.
///
/// ```
/// use oubliette_postgres::TableMapping;
/// let mapping = TableMapping::new("shop.events")
///     .position("position")
///     .stream("{aggregate_type}-{aggregate_id}")
///     .revision("sequence")
///     .first_revision(1)
///     .id("event_id")
///     .event_type("event_type")
///     .data("payload")
///     .metadata("metadata")
///     .recorded("timestamp");
/// // The same, as an operator writes it.
/// let parsed = TableMapping::parse(
///     r#"
///     table          = "shop.events"
///     position       = "position"
///     stream         = "{aggregate_type}-{aggregate_id}"
///     revision       = "sequence"
///     first_revision = 1
///     id             = "event_id"
///     type           = "event_type"
///     data           = "payload"
///     metadata       = "metadata"
///     recorded       = "timestamp"
///     "#,
/// )?;
/// assert_eq!(parsed, mapping);
/// # Ok::<(), oubliette_postgres::TableError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableMapping {
    table: String,
    position: Option<String>,
    sequence: Option<String>,
    stream: Option<String>,
    revision: Option<String>,
    first_revision: u32,
    id: Option<String>,
    event_type: Option<String>,
    data: Option<String>,
    metadata: Option<String>,
    recorded: Option<String>,
}

impl TableMapping {
    /// Of this table, spelled as it is in the database: `events`, which is looked for where the connection looks, or
    /// `shop.events`. A name with a dot in it stands in `"`.
    pub fn new(table: impl Into<String>) -> Self {
        Self {
            table: table.into(),
            position: None,
            sequence: None,
            stream: None,
            revision: None,
            first_revision: 0,
            id: None,
            event_type: None,
            data: None,
            metadata: None,
            recorded: None,
        }
    }

    /// The column with an event's place among all events: a whole number, unique, which a sequence gives out when the row
    /// is inserted. Required.
    #[must_use]
    pub fn position(mut self, column: impl Into<String>) -> Self {
        self.position = Some(column.into());
        self
    }

    /// The sequence that positions are taken from, where the column's default does not say so: whoever inserts a row takes
    /// its position from there, by `nextval`, in the transaction that inserts.
    #[must_use]
    pub fn sequence(mut self, sequence: impl Into<String>) -> Self {
        self.sequence = Some(sequence.into());
        self
    }

    /// The stream's name: a column, or a template of columns such as `{aggregate_type}-{aggregate_id}`. Required.
    #[must_use]
    pub fn stream(mut self, template: impl Into<String>) -> Self {
        self.stream = Some(template.into());
        self
    }

    /// The column with an event's place in its stream. Required.
    #[must_use]
    pub fn revision(mut self, column: impl Into<String>) -> Self {
        self.revision = Some(column.into());
        self
    }

    /// What that column says of a stream's first event: 0, unless this is said, or 1. The store's revisions count from 0.
    #[must_use]
    pub fn first_revision(mut self, first: u32) -> Self {
        self.first_revision = first;
        self
    }

    /// The column with an event's id. Where there is none, ids are derived, and those of appended events are kept in the
    /// metadata.
    #[must_use]
    pub fn id(mut self, column: impl Into<String>) -> Self {
        self.id = Some(column.into());
        self
    }

    /// The column with an event's type. Required.
    #[must_use]
    pub fn event_type(mut self, column: impl Into<String>) -> Self {
        self.event_type = Some(column.into());
        self
    }

    /// The column with an event's payload. Required.
    #[must_use]
    pub fn data(mut self, column: impl Into<String>) -> Self {
        self.data = Some(column.into());
        self
    }

    /// The column with an event's metadata.
    #[must_use]
    pub fn metadata(mut self, column: impl Into<String>) -> Self {
        self.metadata = Some(column.into());
        self
    }

    /// The column with the time at which an event was recorded.
    #[must_use]
    pub fn recorded(mut self, column: impl Into<String>) -> Self {
        self.recorded = Some(column.into());
        self
    }

    /// A mapping in TOML.
    ///
    /// # Errors
    /// [`TableError::Mapping`], which names the key that is wrong or missing.
    pub fn parse(text: &str) -> Result<Self, TableError> {
        let read: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            TableError::Mapping(format!("line {line} is no TOML: {}", error.message()))
        })?;
        let mut mapping = Self::new("");
        for (key, value) in read {
            if key == "first_revision" {
                let first = value.as_integer().and_then(|first| u32::try_from(first).ok());
                mapping.first_revision = first.ok_or_else(first_revision)?;
                continue;
            }
            let toml::Value::String(text) = value else {
                return Err(TableError::Mapping(format!("`{key}` must be a text")));
            };
            match &*key {
                "table" => mapping.table = text,
                "position" => mapping.position = Some(text),
                "sequence" => mapping.sequence = Some(text),
                "stream" => mapping.stream = Some(text),
                "revision" => mapping.revision = Some(text),
                "id" => mapping.id = Some(text),
                "type" => mapping.event_type = Some(text),
                "data" => mapping.data = Some(text),
                "metadata" => mapping.metadata = Some(text),
                "recorded" => mapping.recorded = Some(text),
                _ => {
                    return Err(TableError::Mapping(format!(
                        "`{key}` is no key of a mapping; they are table, position, sequence, stream, revision, \
                         first_revision, id, type, data, metadata, recorded"
                    )));
                }
            }
        }
        mapping.checked()?;
        Ok(mapping)
    }

    /// The mapping, where nothing is missing that every table has.
    pub(super) fn checked(&self) -> Result<Checked, TableError> {
        let required = |key: &str, value: &Option<String>| {
            value.clone().ok_or_else(|| TableError::Mapping(format!("it names no `{key}`")))
        };
        if self.table.is_empty() {
            return Err(TableError::Mapping("it names no `table`".to_owned()));
        }
        if self.first_revision > 1 {
            return Err(first_revision());
        }
        let checked = Checked {
            table: qualified("table", &self.table)?,
            position: required("position", &self.position)?,
            sequence: self.sequence.as_ref().map(|name| qualified("sequence", name)).transpose()?,
            stream: Template::parse(&required("stream", &self.stream)?)?,
            revision: required("revision", &self.revision)?,
            first_revision: self.first_revision.into(),
            id: self.id.clone(),
            event_type: required("type", &self.event_type)?,
            data: required("data", &self.data)?,
            metadata: self.metadata.clone(),
            recorded: self.recorded.clone(),
        };
        let mut seen: Vec<(&str, &str)> = Vec::new();
        for (key, column) in checked.columns() {
            if let Some((other, _)) = seen.iter().find(|(_, other)| *other == column) {
                return Err(TableError::Mapping(format!(
                    "`{other}` and `{key}` are the same column, `{column}`"
                )));
            }
            seen.push((key, column));
        }
        Ok(checked)
    }
}

fn first_revision() -> TableError {
    TableError::Mapping(
        "`first_revision` must be 0 or 1: what a stream's first event has".to_owned(),
    )
}

/// A mapping that is complete.
#[derive(Debug, Clone)]
pub(super) struct Checked {
    pub(super) table: String,
    pub(super) position: String,
    pub(super) sequence: Option<String>,
    pub(super) stream: Template,
    pub(super) revision: String,
    pub(super) first_revision: i64,
    pub(super) id: Option<String>,
    pub(super) event_type: String,
    pub(super) data: String,
    pub(super) metadata: Option<String>,
    pub(super) recorded: Option<String>,
}

impl Checked {
    /// Each column, by its key.
    pub(super) fn columns(&self) -> Vec<(&'static str, &str)> {
        let mut columns = vec![("position", &*self.position), ("revision", &*self.revision)];
        columns.extend(self.stream.columns().map(|column| ("stream", column)));
        columns.extend([("type", &*self.event_type), ("data", &*self.data)]);
        let others = [("id", &self.id), ("metadata", &self.metadata), ("recorded", &self.recorded)];
        columns
            .extend(others.into_iter().filter_map(|(key, column)| Some((key, column.as_deref()?))));
        columns
    }
}

/// A name in SQL, whatever it is.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A name that may have a schema before it, quoted for SQL.
fn qualified(key: &str, text: &str) -> Result<String, TableError> {
    let wrong = || {
        TableError::Mapping(format!(
            "`{key}` is `{text}`: write NAME or SCHEMA.NAME, and \"NA.ME\" for one with a dot"
        ))
    };
    let (mut parts, mut rest) = (Vec::new(), text);
    loop {
        let (part, behind) = match rest.strip_prefix('"') {
            Some(inner) => until_quote(inner).ok_or_else(wrong)?,
            None => {
                let end = rest.find('.').unwrap_or(rest.len());
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        if part.is_empty() || part.contains('\0') {
            return Err(wrong());
        }
        parts.push(quoted(&part));
        match behind.strip_prefix('.') {
            Some(next) => rest = next,
            None if behind.is_empty() && parts.len() <= 2 => return Ok(parts.join(".")),
            None => return Err(wrong()),
        }
    }
}

/// What is before the closing `"`, in which two mean one; and what is behind it.
fn until_quote(inner: &str) -> Option<(String, &str)> {
    let (mut part, mut rest) = (String::new(), inner);
    loop {
        let (before, behind) = rest.split_once('"')?;
        part.push_str(before);
        match behind.strip_prefix('"') {
            Some(more) => {
                part.push('"');
                rest = more;
            }
            None => return Some((part, behind)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const WHOLE: &str = "table = \"events\"\nposition = \"p\"\nstream = \"s\"\nrevision = \"r\"\ntype = \"t\"\ndata = \"d\"\n";

    #[test]
    fn a_name_is_quoted_whatever_is_in_it() {
        for (text, sql) in [
            ("events", r#""events""#),
            ("Shop.Events", r#""Shop"."Events""#),
            (r#""a.b"."c d""#, r#""a.b"."c d""#),
            (r#"x"; DROP TABLE y; --"#, r#""x""; DROP TABLE y; --""#),
            (r#""say ""hi""""#, r#""say ""hi""""#),
        ] {
            assert_eq!(qualified("table", text).unwrap(), sql);
        }
        for text in ["", ".", "a.", ".a", "a.b.c", "\"a", "\"a\"b", "\"\"", "a\0"] {
            assert!(qualified("table", text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_mapping_that_is_wrong_names_the_key() {
        assert!(TableMapping::parse(WHOLE).is_ok());
        for (text, told) in [
            ("", "`table`"),
            ("table = \"events\"", "`position`"),
            ("table = [", "line 1"),
            ("colour = \"red\"", "`colour`"),
            ("table = 7", "`table`"),
            (&format!("{WHOLE}first_revision = 2"), "`first_revision`"),
            (&format!("{WHOLE}first_revision = -1"), "`first_revision`"),
            (&format!("{WHOLE}first_revision = \"1\""), "`first_revision`"),
            (&format!("{WHOLE}id = \"d\""), "`data` and `id`"),
            (&format!("{WHOLE}sequence = \"a.b.c\""), "`sequence`"),
            (&WHOLE.replace("\"s\"", "\"{a\""), "`stream`"),
            (&WHOLE.replace("\"s\"", "\"{p}-{b}\""), "`position` and `stream`"),
        ] {
            let refused = TableMapping::parse(text).unwrap_err().to_string();
            assert!(refused.contains(told), "{text}: {refused}");
        }
    }
}
