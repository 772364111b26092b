//! Bytes of what the vault keeps, written and read: numbers big-endian, texts with their length before them.
//!
//! Used by `records`, by the markers of `tree`, and by `root`. Pages, and the items of a backup, have readers of
//! their own: those find their items by offsets, and these are read from a stream.

use uuid::Uuid;
use zeroize::Zeroizing;

use crate::{
    event::{Category, Class, Day, Subject, Timestamp},
    vault::VaultError,
};

/// What a class has, by its form.
const CATEGORY: u8 = 1;
const PERIOD: u8 = 2;

/// The form of a class, in four bits: 0 is the empty one.
pub(in crate::vault) fn class_form(class: &Class) -> u8 {
    let category = if class.category.is_some() { CATEGORY } else { 0 };
    category | if class.period.is_some() { PERIOD } else { 0 }
}

/// Writes a record.
pub(in crate::vault) struct Writer(Zeroizing<Vec<u8>>);

impl Writer {
    /// `room`: about how many bytes will come.
    pub(in crate::vault) fn new(room: usize) -> Self {
        Self(Zeroizing::new(Vec::with_capacity(room)))
    }

    pub(in crate::vault) fn bytes(&mut self, bytes: &[u8]) {
        let length = self.0.len() + bytes.len();
        if length > self.0.capacity() {
            // Moved by hand: a buffer that grows by itself leaves what it held behind.
            let mut larger = Zeroizing::new(Vec::with_capacity(2 * length));
            larger.extend_from_slice(&self.0);
            self.0 = larger;
        }
        self.0.extend_from_slice(bytes);
    }

    pub(in crate::vault) fn u8(&mut self, number: u8) {
        self.bytes(&[number]);
    }

    pub(in crate::vault) fn u32(&mut self, number: u32) {
        self.bytes(&number.to_be_bytes());
    }

    pub(in crate::vault) fn u64(&mut self, number: u64) {
        self.bytes(&number.to_be_bytes());
    }

    pub(in crate::vault) fn i64(&mut self, number: i64) {
        self.bytes(&number.to_be_bytes());
    }

    /// A length or a count. One that does not fit makes what is written too large for its place, which
    /// the caller refuses.
    pub(in crate::vault) fn u16(&mut self, number: usize) {
        self.bytes(&u16::try_from(number).unwrap_or(u16::MAX).to_be_bytes());
    }

    /// Counts are far below 2³²: what they count is held in memory.
    pub(in crate::vault) fn count(&mut self, count: usize) {
        self.u32(u32::try_from(count).unwrap_or(u32::MAX));
    }

    /// A name, which has at most 255 bytes.
    pub(in crate::vault) fn name(&mut self, name: &str) {
        self.u8(u8::try_from(name.len()).unwrap_or(u8::MAX));
        self.bytes(name.as_bytes());
    }

    /// An id that may be absent.
    pub(in crate::vault) fn maybe_id(&mut self, id: Option<Uuid>) {
        self.u8(u8::from(id.is_some()));
        if let Some(id) = id {
            self.bytes(id.as_bytes());
        }
    }

    /// A class, whose form says what is here of it.
    pub(in crate::vault) fn class(&mut self, class: &Class) {
        if let Some(category) = &class.category {
            self.name(category.as_str());
        }
        if let Some(period) = class.period {
            self.bytes(&period.to_bytes());
        }
    }

    /// Zeros up to a multiple of so many bytes.
    pub(in crate::vault) fn fill(&mut self, step: usize) {
        let length = self.0.len().next_multiple_of(step) - self.0.len();
        self.bytes(&vec![0; length]);
    }

    /// What is written by now.
    pub(in crate::vault) fn so_far(&self) -> &[u8] {
        &self.0
    }

    pub(in crate::vault) fn done(self) -> Zeroizing<Vec<u8>> {
        self.0
    }
}

/// Reads a record; whatever is odd is [`VaultError::Damaged`].
pub(in crate::vault) struct Reader<'a> {
    what: &'static str,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(in crate::vault) fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self { what, rest: bytes }
    }

    pub(in crate::vault) fn odd(&self) -> VaultError {
        VaultError::Damaged(format!("{} does not have its form", self.what))
    }

    pub(in crate::vault) fn bytes(&mut self, count: usize) -> Result<&'a [u8], VaultError> {
        let (bytes, rest) = self.rest.split_at_checked(count).ok_or_else(|| self.odd())?;
        self.rest = rest;
        Ok(bytes)
    }

    pub(in crate::vault) fn array<const N: usize>(&mut self) -> Result<[u8; N], VaultError> {
        let bytes = self.bytes(N)?;
        bytes.try_into().map_err(|_| self.odd())
    }

    pub(in crate::vault) fn u8(&mut self) -> Result<u8, VaultError> {
        Ok(self.array::<1>()?[0])
    }

    pub(in crate::vault) fn flag(&mut self) -> Result<bool, VaultError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.odd()),
        }
    }

    pub(in crate::vault) fn u16(&mut self) -> Result<u16, VaultError> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub(in crate::vault) fn u32(&mut self) -> Result<u32, VaultError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(in crate::vault) fn u64(&mut self) -> Result<u64, VaultError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    /// An instant that there is.
    pub(in crate::vault) fn time(&mut self) -> Result<Timestamp, VaultError> {
        let micros = i64::from_be_bytes(self.array()?);
        let at = Timestamp::from_micros(micros);
        if at.as_micros() == micros { Ok(at) } else { Err(self.odd()) }
    }

    pub(in crate::vault) fn name(&mut self) -> Result<&'a str, VaultError> {
        let length = self.u8()?;
        self.text(length.into())
    }

    pub(in crate::vault) fn text(&mut self, length: usize) -> Result<&'a str, VaultError> {
        std::str::from_utf8(self.bytes(length)?).map_err(|_| self.odd())
    }

    pub(in crate::vault) fn subject(&mut self) -> Result<Subject, VaultError> {
        Subject::new(self.name()?).map_err(|_| self.odd())
    }

    /// A class of a form.
    pub(in crate::vault) fn class(&mut self, form: u8) -> Result<Class, VaultError> {
        if form & !(CATEGORY | PERIOD) != 0 {
            return Err(VaultError::UnknownClass(form));
        }
        let mut class = Class::default();
        if form & CATEGORY != 0 {
            let name = self.name()?;
            class.category = Some(Category::new(name).map_err(|_| self.odd())?);
        }
        if form & PERIOD != 0 {
            let day = Day::from_bytes(self.array()?);
            class.period = Some(day.ok_or_else(|| self.odd())?);
        }
        Ok(class)
    }

    pub(in crate::vault) fn id(&mut self) -> Result<Uuid, VaultError> {
        Ok(Uuid::from_bytes(self.array()?))
    }

    pub(in crate::vault) fn maybe_id(&mut self) -> Result<Option<Uuid>, VaultError> {
        Ok(if self.flag()? { Some(self.id()?) } else { None })
    }

    /// The version byte that each record begins with.
    pub(in crate::vault) fn version(&mut self, known: u8) -> Result<(), VaultError> {
        match self.u8()? {
            version if version == known => Ok(()),
            version if version > known => {
                let (found, known) = (u32::from(version), u32::from(known));
                Err(VaultError::NewerFormat { what: self.what, found, known })
            }
            _ => Err(self.odd()),
        }
    }

    pub(in crate::vault) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// All that is left.
    pub(in crate::vault) fn rest(self) -> &'a [u8] {
        self.rest
    }

    pub(in crate::vault) fn end(self) -> Result<(), VaultError> {
        if self.is_empty() { Ok(()) } else { Err(self.odd()) }
    }

    /// As [`Self::end`], behind what [`Writer::fill`] wrote.
    pub(in crate::vault) fn end_filled(self) -> Result<(), VaultError> {
        if self.rest.iter().all(|byte| *byte == 0) { Ok(()) } else { Err(self.odd()) }
    }
}
