//! What a process can say of itself: writes, memory; and of a folder: its size.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicU64, Ordering},
};

use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

/// What the vault's tree wrote, from the events that it traces.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Writes {
    /// Writes with one flush each.
    pub(crate) in_place: u64,
    /// Writes that change the root, too.
    pub(crate) fresh: u64,
    pub(crate) pages: u64,
}

static IN_PLACE: AtomicU64 = AtomicU64::new(0);
static FRESH: AtomicU64 = AtomicU64::new(0);
static PAGES: AtomicU64 = AtomicU64::new(0);

impl Writes {
    pub(crate) fn now() -> Self {
        Self {
            in_place: IN_PLACE.load(Ordering::Relaxed),
            fresh: FRESH.load(Ordering::Relaxed),
            pages: PAGES.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            in_place: self.in_place - before.in_place,
            fresh: self.fresh - before.fresh,
            pages: self.pages - before.pages,
        }
    }
}

/// Counts the writes of this process from here on.
pub(crate) fn count_writes() {
    tracing::subscriber::set_global_default(Counter).unwrap();
}

struct Counter;

impl Subscriber for Counter {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "oubliette::vault::writes"
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &Event<'_>) {
        event.record(&mut Fields);
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

struct Fields;

impl Visit for Fields {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "pages" {
            PAGES.fetch_add(value, Ordering::Relaxed);
        }
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        if field.name() == "fresh" {
            (if value { &FRESH } else { &IN_PLACE }).fetch_add(1, Ordering::Relaxed);
        }
    }
    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

/// Resident memory now, and at most since the start or the last [`forget_peak`], in bytes.
pub(crate) fn memory() -> (u64, u64) {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
        kib.unwrap_or(0) * 1024
    };
    (of("VmRSS:"), of("VmHWM:"))
}

/// Begins to look for the highest resident memory anew.
pub(crate) fn forget_peak() {
    let _ = fs::write("/proc/self/clear_refs", "5");
}

/// What a folder takes on the disk, in bytes.
pub(crate) fn disk(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(found) if found.is_dir() => disk(&entry.path()),
            Ok(found) => found.blocks() * 512,
            Err(_) => 0,
        })
        .sum()
}

/// Asks the system to keep nothing of a folder's files in its memory, as after a restart. `dd`
/// does it without any right of its own.
pub(crate) fn cool(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            cool(&path);
        } else {
            let file = format!("if={}", path.display());
            let _ = Command::new("dd")
                .args([file.as_str(), "iflag=nocache", "count=0"])
                .stderr(Stdio::null())
                .status();
        }
    }
}
