//! How a stream's name is made of columns, and taken apart again.

use super::TableError;

/// What is before, between and behind the columns of a stream's name: `{aggregate_type}-{aggregate_id}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template {
    /// What every name begins with.
    lead: String,
    /// Each column, and what follows its value.
    columns: Vec<(String, String)>,
}

impl Template {
    /// # Errors
    /// [`TableError::Mapping`], which says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, TableError> {
        let wrong = |why: &str| {
            let why = format!(
                "`stream` is `{text}`, and {why}; write a column, or a template such as {{kind}}-{{id}}"
            );
            TableError::Mapping(why)
        };
        if !text.contains(['{', '}']) {
            if text.is_empty() {
                return Err(wrong("that names no column"));
            }
            return Ok(Self {
                lead: String::new(),
                columns: vec![(text.to_owned(), String::new())],
            });
        }
        let (lead, mut rest) =
            text.split_once('{').ok_or_else(|| wrong("a `}` has no `{` before it"))?;
        if lead.contains('}') {
            return Err(wrong("a `}` has no `{` before it"));
        }
        let mut columns: Vec<(String, String)> = Vec::new();
        loop {
            let (column, behind) =
                rest.split_once('}').ok_or_else(|| wrong("a `{` has no `}` behind it"))?;
            if column.is_empty() || column.contains('{') {
                return Err(wrong("between `{` and `}` there is no column"));
            }
            if columns.iter().any(|(other, _)| other == column) {
                return Err(wrong("a column is there twice"));
            }
            let (literal, next) = match behind.split_once('{') {
                Some((literal, next)) => (literal, Some(next)),
                None => (behind, None),
            };
            if literal.contains('}') {
                return Err(wrong("a `}` has no `{` before it"));
            }
            if next.is_some() && literal.is_empty() {
                return Err(wrong(
                    "between two columns there is nothing that would tell where one ends",
                ));
            }
            columns.push((column.to_owned(), literal.to_owned()));
            match next {
                Some(next) => rest = next,
                None => return Ok(Self { lead: lead.to_owned(), columns }),
            }
        }
    }

    pub(super) fn columns(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|(column, _)| &**column)
    }

    /// The name that these values make.
    pub(super) fn compose<'v>(&self, values: impl IntoIterator<Item = &'v str>) -> String {
        let mut name = self.lead.clone();
        for ((_, literal), value) in self.columns.iter().zip(values) {
            name.push_str(value);
            name.push_str(literal);
        }
        name
    }

    /// The first character of what is behind each column.
    pub(super) fn behind_each(&self) -> impl Iterator<Item = Option<char>> {
        self.columns.iter().map(|(_, literal)| literal.chars().next())
    }

    /// The values that a name is made of: each up to the next literal, the last one the rest. `None` where it fits not.
    pub(super) fn split<'n>(&self, name: &'n str) -> Option<Vec<&'n str>> {
        let mut rest = name.strip_prefix(&*self.lead)?;
        let (last, others) = self.columns.split_last()?;
        let mut values = Vec::with_capacity(self.columns.len());
        for (_, literal) in others {
            let (value, behind) = rest.split_once(&**literal)?;
            values.push(value);
            rest = behind;
        }
        values.push(rest.strip_suffix(&*last.1)?);
        Some(values)
    }

    /// As it is written in a mapping.
    pub(super) fn text(&self) -> String {
        let names: Vec<String> = self.columns().map(|column| format!("{{{column}}}")).collect();
        self.compose(names.iter().map(|name| &**name))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn names_are_taken_apart_as_they_were_put_together() {
        for (template, name, values) in [
            ("stream", "user-7", vec!["user-7"]),
            ("{kind}-{id}", "user-7", vec!["user", "7"]),
            ("{kind}-{id}", "user-public-7", vec!["user", "public-7"]),
            ("{kind}-{id}", "-", vec!["", ""]),
            ("order-{id}", "order-7-8", vec!["7-8"]),
            ("{tenant}/{kind}-{id}", "a/b-c/d-e", vec!["a", "b", "c/d-e"]),
            ("<{id}>", "<a>b>", vec!["a>b"]),
        ] {
            let parsed = Template::parse(template).unwrap();
            let split = parsed.split(name).unwrap();
            assert_eq!(split, values, "{template}");
            assert_eq!(parsed.compose(values), name);
        }
        let two = Template::parse("{kind}-{id}").unwrap();
        assert_eq!((two.split("ledger"), &*two.text()), (None, "{kind}-{id}"));
        assert_eq!(Template::parse("order-{id}").unwrap().split("user-1"), None);
    }

    #[test]
    fn templates_that_make_no_sense_are_refused() {
        for template in
            ["", "{", "}", "{}", "a}{b}", "{a}{b}", "{a}-{a}", "{a{b}}", "{a}-b}", "{a}-{b"]
        {
            let refused = Template::parse(template).unwrap_err().to_string();
            assert!(refused.contains("`stream`"), "{template}: {refused}");
        }
    }
}
