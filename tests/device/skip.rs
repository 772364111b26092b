//! Skipping a test loudly; and failing instead where what it needs was promised.

/// Says that a test is skipped, and why. `./test` sets `promise` where what it needs is available, and
/// `.ci/run` runs `./test`: so nothing is skipped there because our own code cannot do it any more.
#[allow(clippy::print_stderr)]
#[track_caller]
pub(crate) fn skipped(promise: &str, why: &str) {
    assert!(std::env::var_os(promise).is_none(), "{why}, though {promise} promises it");
    eprintln!("SKIPPED: {why}");
}
