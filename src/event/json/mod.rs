//! JSON that comes back as it went in.
//!
//! A payload is kept as its text. Numbers keep their literals (2⁵³ + 1, 1e400), members keep
//! their order and spelling, and duplicate keys are refused, because two readers could take
//! different ones. `serde_json`'s own value type does none of this unless features are switched
//! on that change it for every other crate of the program (see `docs/decisions`); so a small
//! strict reader of RFC 8259 is here, checked against `serde_json` by property tests.

mod canonical;
mod filling;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod node;
mod pointer;
mod reader;
#[cfg(test)]
mod vectors;

use std::{fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};
use serde_json::value::RawValue;

pub(crate) use canonical::Sink;
pub use canonical::canonical_number;
pub(crate) use filling::fill;
pub(crate) use filling::{Fillings, Pieces};
pub(crate) use node::{Kind, Node, Tree};
pub(crate) use pointer::{Pointer, Step};
pub(crate) use reader::Entry;

/// How deep arrays and objects may nest, as in `serde_json`.
pub const MAX_DEPTH: usize = 128;

const OTHER_FORM: &str = "it has another form than the value is written in";

/// Well-formed JSON text without duplicate keys. `Debug` tells its length, never its content.
///
/// ```
/// use oubliette::*;
/// let json = Json::parse(r#"{ "amount": 120.00 }"#)?;
/// assert_eq!(json.as_str(), r#"{ "amount": 120.00 }"#); // to the byte
/// let value: serde_json::Value = json.to()?;
/// assert_eq!(Json::of(&value)?.to_canonical(), r#"{"amount":120}"#);
/// assert!(Json::parse(r#"{"a":1,"a":2}"#).is_err()); // readers would disagree
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
// One allocation, though it copies a text that was just made: what one thread allocates and another frees costs more.
#[derive(Clone, PartialEq, Eq)]
pub struct Json(Arc<str>);

/// Why a text was refused. It names places, never content.
///
/// ```
/// use oubliette::{event::JsonError, *};
/// let twice = Json::parse(r#"{"iban":"DE89","iban":"DE90"}"#);
/// assert!(matches!(twice, Err(JsonError::DuplicateKey { .. })));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// The text is not JSON.
    #[error("not JSON: {problem} at byte {at}")]
    Syntax {
        /// What is wrong.
        problem: &'static str,
        /// Where, in bytes from the start.
        at: usize,
    },
    /// An object has the same key twice.
    #[error(
        "an object has the same key twice, the second time at byte {at}; \
         readers would disagree on which one counts"
    )]
    DuplicateKey {
        /// Where the second one is, in bytes from the start.
        at: usize,
    },
    /// The nesting is deeper than [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH} levels at byte {at}")]
    TooDeep {
        /// Where, in bytes from the start.
        at: usize,
    },
    /// A value could not be turned into JSON, or JSON not into the type asked for.
    #[error("the JSON does not fit the type: {0}")]
    Type(String),
}

impl Json {
    /// Checks a text and takes it, with the white space around it removed.
    ///
    /// # Errors
    /// [`JsonError`] where it is not JSON by RFC 8259, repeats a key, or nests too deep.
    pub fn parse(text: &str) -> Result<Self, JsonError> {
        reader::read(text)?;
        Ok(Self::trusted(text.trim_matches([' ', '\t', '\n', '\r'])))
    }

    /// Takes a text that [`Json::parse`] accepted before, without reading it again. For a store's adapter, which
    /// reads back the texts that it wrote: to parse each one again costs more than the rest of reading an event. A
    /// text from anywhere else goes through [`Json::parse`].
    ///
    /// Where the text is not JSON after all, because somebody changed it in the database, nothing panics:
    /// [`Json::to`] is an error, writing it with `serde` is one, and [`Json::to_canonical`] returns `null`.
    ///
    /// ```
    /// use oubliette::*;
    /// let written = Json::parse(r#"{"amount":5}"#)?;
    /// let column = written.as_str().to_owned(); // what the database keeps, and gives back
    /// assert_eq!(Json::trusted(column), written);
    /// assert!(Json::trusted("{\"amount\":").to::<serde_json::Value>().is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    // Our own texts come this way as well, and those for which an authenticated cipher vouches.
    pub fn trusted(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The JSON of a value.
    ///
    /// # Errors
    /// [`JsonError::Type`] where the value cannot be written as JSON, otherwise as [`Json::parse`].
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, JsonError> {
        Self::parse(&serde_json::to_string(value).map_err(type_error)?)
    }

    /// The value that the JSON describes.
    ///
    /// # Errors
    /// [`JsonError::Type`] where it describes another type's.
    pub fn to<T: DeserializeOwned>(&self) -> Result<T, JsonError> {
        serde_json::from_str(&self.0).map_err(type_error)
    }

    /// As [`Json::to`], where the JSON is one that the value would be written as, white space and the
    /// order of members apart.
    ///
    /// For what others may have written: `serde` takes lists for structs, objects for names, `null` for
    /// what is absent, and other spellings of ids, so that two readers could take one text differently.
    ///
    /// # Errors
    /// [`JsonError::Type`] where it describes another type's, or does so in another form.
    pub fn to_exact<T: DeserializeOwned + Serialize>(&self) -> Result<T, JsonError> {
        let value = self.to()?;
        if self.is_of(&value) { Ok(value) } else { Err(JsonError::Type(OTHER_FORM.to_owned())) }
    }

    /// Whether the value would be written as this, white space and the order of members apart.
    pub(crate) fn is_of(&self, value: &impl Serialize) -> bool {
        Self::of(value).is_ok_and(|written| self.is_same(&written))
    }

    /// Whether both are the same value, whatever its spelling.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.to_canonical() == other.to_canonical()
    }

    /// The value in its one canonical spelling: no white space, members sorted by the UTF-8 of their keys,
    /// strings with the escapes of RFC 8785, numbers as [`canonical_number`] writes them. Two texts that a
    /// store may give back for each other have the same.
    pub fn to_canonical(&self) -> String {
        self.tree().root().to_canonical()
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where each value of the text is.
    pub(crate) fn tree(&self) -> Tree<'_> {
        // The text was read once already, when it was taken.
        self.try_tree().unwrap_or_else(|_| Tree::null())
    }

    /// As [`Json::tree`], for a text that a store kept, and somebody may have spoiled there.
    ///
    /// # Errors
    /// [`JsonError`] where it is no JSON any more.
    pub(crate) fn try_tree(&self) -> Result<Tree<'_>, JsonError> {
        Ok(Tree::of(&self.0, reader::read(&self.0)?))
    }

    /// Takes a text that was put together from pieces of valid JSON, without reading it again.
    pub(crate) fn composed(text: String) -> Self {
        debug_assert!(reader::read(&text).is_ok());
        Self::trusted(text)
    }
}

/// `serde_json`'s messages quote content, so that only the category is passed on.
#[allow(clippy::needless_pass_by_value)]
fn type_error(error: serde_json::Error) -> JsonError {
    let kind = match error.classify() {
        serde_json::error::Category::Data => "a member is missing, unknown or of another type",
        serde_json::error::Category::Syntax => "a syntax error",
        serde_json::error::Category::Eof => "it ends too early",
        serde_json::error::Category::Io => "it could not be written",
    };
    JsonError::Type(format!("{kind} (line {}, column {})", error.line(), error.column()))
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Json({} bytes)", self.0.len())
    }
}

impl std::str::FromStr for Json {
    type Err = JsonError;
    fn from_str(text: &str) -> Result<Self, JsonError> {
        Self::parse(text)
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(&self.0).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Self::parse(raw.get()).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
