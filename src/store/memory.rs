//! A store in memory, for tests and for trying things out.
/// Events in memory.
#[derive(Debug, Default)]
pub struct MemoryStore;
