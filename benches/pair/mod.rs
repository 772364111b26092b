//! Two ways of doing the same, measured in alternation.
//!
//! What is reported is a ratio, and on a machine with other things to do both of its sides drift.
//! So they take turns within one run, a few milliseconds each, now one first and now the other,
//! and the ratio is the median over the turns' ratios. Criterion times our side of the pair; the
//! turns themselves are left in `target/oubliette-bench/`, in the folder of the cipher's library, for
//! `benches/report.py`.

#![allow(missing_docs, clippy::unwrap_used)]

use std::{cell::RefCell, fmt::Write as _, fs, path::Path, time::Duration};

use criterion::{BenchmarkGroup, measurement::WallTime};

/// One pair to measure.
pub(crate) struct Pair {
    /// Of the group of the table that it belongs to.
    pub(crate) row: &'static str,
    /// What makes it different from the others of the row.
    pub(crate) case: String,
    /// How often one turn does the thing.
    pub(crate) times: u64,
    /// How many things one doing of it is: events, for a rate.
    pub(crate) unit: &'static str,
}

/// What was measured in this run.
pub(crate) struct Ledger {
    name: &'static str,
    lines: RefCell<Vec<String>>,
}

/// Whose cipher it is.
const PROVIDER: &str = if cfg!(feature = "aws-lc") { "aws-lc" } else { "aes-gcm" };
/// Fewer turns than this are a trial, as `cargo test --benches` makes, and not reported.
const FEWEST: usize = 20;

impl Ledger {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, lines: RefCell::default() }
    }

    /// Measures a pair: `bare` and `ours` each do the thing `times` times and say how long it took.
    pub(crate) fn pair(
        &self,
        group: &mut BenchmarkGroup<'_, WallTime>,
        pair: &Pair,
        mut bare: impl FnMut(u64) -> Duration,
        mut ours: impl FnMut(u64) -> Duration,
    ) {
        let mut turns: Vec<(Duration, Duration)> = Vec::new();
        group.bench_function(&pair.case, |bencher| {
            bencher.iter_custom(|rounds| {
                let mut total = Duration::ZERO;
                for _ in 0..rounds {
                    let turn = if turns.len().is_multiple_of(2) {
                        let bare = bare(pair.times);
                        (bare, ours(pair.times))
                    } else {
                        let ours = ours(pair.times);
                        (bare(pair.times), ours)
                    };
                    total += turn.1;
                    turns.push(turn);
                }
                total
            });
        });
        // The first ones find cold caches.
        let warm = &turns[turns.len() / 10..];
        if warm.len() < FEWEST {
            return;
        }
        let mut line = format!(
            r#"{{"row":"{}","case":"{}","unit":"{}","times":{},"turns":["#,
            pair.row, pair.case, pair.unit, pair.times
        );
        for (at, (bare, ours)) in warm.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            write!(line, "{comma}[{},{}]", bare.as_nanos(), ours.as_nanos()).unwrap();
        }
        line.push_str("]}\n");
        self.lines.borrow_mut().push(line);
        self.save();
    }

    /// After each pair, so that a run that is cut short leaves what it has.
    fn save(&self) {
        let folder =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join("../oubliette-bench").join(PROVIDER);
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join(self.name).with_extension("ndjson");
        fs::write(file, self.lines.borrow().concat()).unwrap();
    }
}
