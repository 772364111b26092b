//! What a table is like, for those who read and write it: its columns, quoted and with their types.

use oubliette::{
    event::Timestamp,
    store::{Capabilities, Capability},
};
use uuid::Uuid;

use super::{mapping::quoted, template::Template};

/// The member of an event's metadata in which its id is kept, where the table has no column for it.
pub(super) const EVENT_ID: &str = "$event_id";

/// A column, quoted, and what is known of its type.
#[derive(Debug, Clone)]
pub(super) struct Column<Kind> {
    pub(super) sql: String,
    pub(super) kind: Kind,
}

/// A column that makes a part of a stream's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Text,
    Uuid,
    /// With this name in SQL.
    Whole(&'static str),
}

impl Part {
    /// Whether the column gives this text back as it is: a value has one text, so that no two names are one stream.
    pub(super) fn takes(self, text: &str) -> bool {
        match self {
            Self::Text => true,
            Self::Uuid => Uuid::parse_str(text).is_ok_and(|uuid| uuid.to_string() == text),
            Self::Whole(name) => {
                let fits = |number: i64| match name {
                    "int2" => i16::try_from(number).is_ok(),
                    "int4" => i32::try_from(number).is_ok(),
                    _ => true,
                };
                text.parse::<i64>().is_ok_and(|number| fits(number) && number.to_string() == text)
            }
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Uuid => "uuid",
            Self::Whole(name) => name,
        }
    }

    /// What is behind a text in SQL, so that it has the column's type. Of `varchar` none: to cast to it cuts what is too long.
    pub(super) fn cast(self) -> &'static str {
        match self {
            Self::Text => "",
            Self::Uuid => "::uuid",
            Self::Whole("int2") => "::int2",
            Self::Whole("int4") => "::int4",
            Self::Whole(_) => "::int8",
        }
    }
}

/// A column of JSON, or of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    Json,
    Jsonb,
    Text,
    Bytes,
}

impl Kept {
    pub(super) fn cast(self) -> &'static str {
        match self {
            Self::Json => "::json",
            Self::Jsonb => "::jsonb",
            Self::Text | Self::Bytes => "",
        }
    }
}

/// A column of times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clock {
    /// `timestamptz`.
    Zoned,
    /// `timestamp`, taken as UTC.
    Utc,
    /// Microseconds since 1970.
    Micros,
}

/// Where events' ids are.
#[derive(Debug, Clone)]
pub(super) enum Ids {
    Uuid(String),
    Text(String),
    /// In the metadata, of those events that have one there.
    Metadata,
    Nowhere,
}

/// A table of events.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    /// The table's name: quoted, and for people.
    pub(super) table: String,
    pub(super) name: String,
    /// Its number in the catalog.
    pub(super) number: u32,
    /// What ids are derived in.
    pub(super) space: Uuid,
    pub(super) position: String,
    /// The sequence of positions, quoted.
    pub(super) sequence: Option<String>,
    /// Whether whoever inserts says the position.
    pub(super) says_position: bool,
    pub(super) template: Template,
    pub(super) parts: Vec<Column<Part>>,
    pub(super) revision: Column<Part>,
    pub(super) first_revision: i64,
    pub(super) ids: Ids,
    /// With the cast that its type needs.
    pub(super) event_type: Column<String>,
    pub(super) data: Column<Kept>,
    pub(super) metadata: Option<Column<Kept>>,
    pub(super) metadata_required: bool,
    pub(super) recorded: Option<Column<Clock>>,
    /// The indexes that keep positions unique, and streams' revisions and ids.
    pub(super) position_index: String,
    pub(super) other_indexes: Vec<String>,
    /// Whether positions grow as they must, so that all streams can be read in one order.
    pub(super) is_ordered: bool,
    /// Why nothing can be appended: none where it can.
    pub(super) lacks: Vec<String>,
    /// Why no event can be given other contents: none where it can.
    pub(super) not_in_place: Vec<String>,
    /// The columns that the mapping does not know, and that may hold what events hold.
    pub(super) unmapped: Vec<String>,
    pub(super) doubts: Vec<String>,
}

impl Shape {
    pub(super) fn capabilities(&self) -> Capabilities {
        // Several streams in one transaction are what any table can do. Where nothing can be appended at all, every
        // append says why.
        let mut capabilities = Capabilities::of(&[
            Capability::AtomicMultiStream,
            Capability::ReadBackwards,
            Capability::LongNumbers,
        ]);
        if self.is_ordered {
            capabilities = capabilities.with(Capability::ReadAll).with(Capability::Subscribe);
        }
        if self.data.kind == Kept::Bytes {
            capabilities = capabilities.with(Capability::Bytes);
        }
        let is_any = |kind| {
            self.data.kind == kind
                || self.metadata.as_ref().is_some_and(|column| column.kind == kind)
        };
        if !is_any(Kept::Jsonb) {
            capabilities = capabilities.with(Capability::Verbatim);
            // The index on the id in the metadata looks into them, and stumbles there as `jsonb` does.
            if !self.keeps_ids_in_metadata() {
                capabilities = capabilities.with(Capability::Nul);
            }
        }
        capabilities
    }

    pub(super) fn keeps_ids_in_metadata(&self) -> bool {
        matches!(self.ids, Ids::Metadata)
    }

    /// The columns of a page, as they are in the table, under names of ours.
    pub(super) fn raw(&self) -> String {
        let mut columns = vec![
            format!("t.{} AS at", self.position),
            format!("t.{} AS revision", self.revision.sql),
            format!("t.{} AS type", self.event_type.sql),
            format!("t.{} AS data", self.data.sql),
        ];
        if let Ids::Uuid(column) | Ids::Text(column) = &self.ids {
            columns.push(format!("t.{column} AS id"));
        }
        columns.extend(self.metadata.iter().map(|column| format!("t.{} AS metadata", column.sql)));
        columns.extend(self.recorded.iter().map(|column| format!("t.{} AS recorded", column.sql)));
        columns.extend(
            self.parts.iter().enumerate().map(|(at, column)| format!("t.{} AS s{at}", column.sql)),
        );
        columns.join(", ")
    }

    /// What rows are made events of, out of [`Shape::raw`]. Nothing in it can fail, whatever a row holds: one that is
    /// damaged keeps nobody from the others.
    pub(super) fn cooked(&self) -> String {
        let id = match (&self.ids, &self.metadata) {
            (Ids::Uuid(_) | Ids::Text(_), _) => "e.id::text".to_owned(),
            (Ids::Metadata, Some(Column { kind: Kept::Jsonb, .. })) => {
                format!("e.metadata ->> '{EVENT_ID}'")
            }
            // Of `json` it is looked for in the text: to look into it fails where there is a `\u0000` anywhere.
            _ => "NULL::text".to_owned(),
        };
        let (data, bytes) = match self.data.kind {
            Kept::Bytes => ("NULL::text", "e.data"),
            _ => ("e.data::text", "NULL::bytea"),
        };
        let metadata = match (&self.ids, &self.metadata) {
            (_, None) => "NULL::text".to_owned(),
            (Ids::Metadata, Some(Column { kind: Kept::Jsonb, .. })) => format!(
                "CASE WHEN e.metadata ->> '{EVENT_ID}' ~ '^[0-9a-f]{{8}}(-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}$'
                    THEN (e.metadata - '{EVENT_ID}')::text ELSE e.metadata::text END"
            ),
            _ => "e.metadata::text".to_owned(),
        };
        // What is beyond all times of ours is the last one: a column of times holds more years than its microseconds have room in
        // a bigint.
        let micros = |last: &str| {
            format!(
                "CASE WHEN e.recorded = '-infinity' THEN {} WHEN e.recorded >= {last} THEN {}
                    ELSE (extract(epoch FROM e.recorded) * 1000000)::bigint END",
                Timestamp::MIN.as_micros(),
                Timestamp::MAX.as_micros()
            )
        };
        let recorded = match &self.recorded {
            None => "NULL::bigint".to_owned(),
            Some(Column { kind: Clock::Micros, .. }) => "e.recorded".to_owned(),
            Some(Column { kind: Clock::Utc, .. }) => micros("make_timestamp(10000, 1, 1, 0, 0, 0)"),
            Some(Column { kind: Clock::Zoned, .. }) => {
                micros("make_timestamptz(10000, 1, 1, 0, 0, 0, 'UTC')")
            }
        };
        let mut columns = format!(
            "e.at::bigint, e.revision::bigint, {id}, e.type::text, {data}, {bytes}, {metadata}, {recorded}"
        );
        for at in 0..self.parts.len() {
            columns.push_str(&format!(", e.s{at}::text"));
        }
        columns
    }

    /// What the rows of a stream have, whose name's parts are the first parameters.
    pub(super) fn of_stream(&self) -> String {
        let parts = self.parts.iter().enumerate();
        let each = parts
            .map(|(at, column)| format!("t.{} = ${}{}", column.sql, at + 1, column.kind.cast()));
        each.collect::<Vec<_>>().join(" AND ")
    }

    /// Whether a column of a row `t` holds what was written to it, in SQL.
    pub(super) fn holds(column: &Column<Kept>, value: &str) -> String {
        let Column { sql, kind } = column;
        match kind {
            Kept::Jsonb => format!("t.{sql}::jsonb IS NOT DISTINCT FROM {value}::jsonb"),
            Kept::Bytes => format!("t.{sql} IS NOT DISTINCT FROM {value}"),
            // By its bytes, whatever the column's collation takes for the same.
            Kept::Json | Kept::Text => {
                format!("t.{sql}::text COLLATE \"C\" IS NOT DISTINCT FROM {value} COLLATE \"C\"")
            }
        }
    }

    /// What of a row stays when it is given other contents.
    pub(super) fn stays(&self, row: &str) -> String {
        let mut columns = vec![&self.position, &self.revision.sql, &self.event_type.sql];
        columns.extend(self.parts.iter().map(|part| &part.sql));
        if let Ids::Uuid(column) | Ids::Text(column) = &self.ids {
            columns.push(column);
        }
        columns.extend(self.recorded.iter().map(|column| &column.sql));
        let columns = columns.into_iter().map(|column| format!("{row}.{column}"));
        format!("({})", columns.collect::<Vec<_>>().join(", "))
    }

    /// An id's column or expression, of a row `t`.
    pub(super) fn id(&self) -> Option<String> {
        match (&self.ids, &self.metadata) {
            (Ids::Uuid(column) | Ids::Text(column), _) => Some(format!("t.{column}")),
            (Ids::Metadata, Some(metadata)) => {
                Some(format!("(t.{} ->> '{EVENT_ID}')", metadata.sql))
            }
            _ => None,
        }
    }

    /// What would make an index on the id in the metadata.
    pub(super) fn index_on_metadata(table: &str, metadata: &str) -> String {
        format!("CREATE UNIQUE INDEX ON {table} (({} ->> '{EVENT_ID}'))", quoted(metadata))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_one_text() {
        let uuid = "57ff261f-6b5d-4a84-a96e-002d6a9d0371";
        for (part, good, bad) in [
            (Part::Text, vec!["", "7", "é"], vec![]),
            (Part::Uuid, vec![uuid], vec!["", "7", &*uuid.to_uppercase(), &*uuid.replace('-', "")]),
            (
                Part::Whole("int8"),
                vec!["0", "-7", "9223372036854775807"],
                vec!["", "07", "+7", "-0", "7.0", "9223372036854775808"],
            ),
            (Part::Whole("int4"), vec!["2147483647"], vec!["2147483648"]),
            (Part::Whole("int2"), vec!["32767"], vec!["32768"]),
        ] {
            assert!(good.iter().all(|text| part.takes(text)), "{part:?} {good:?}");
            assert!(!bad.iter().any(|text| part.takes(text)), "{part:?} {bad:?}");
        }
    }
}
