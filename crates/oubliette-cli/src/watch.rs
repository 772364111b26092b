//! Progress, where somebody watches.

use std::{
    io::{IsTerminal, stderr},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};

/// A bar on stderr, or nothing.
pub(super) struct Watch {
    bar: Option<ProgressBar>,
    template: &'static str,
}

impl Watch {
    pub(super) fn new(json: bool) -> Self {
        let watched = !json && stderr().is_terminal();
        Self { bar: watched.then(ProgressBar::new_spinner), template: "" }
    }

    fn look(&mut self, template: &'static str) {
        if let Some(bar) = &self.bar
            && self.template != template
            && let Ok(style) = ProgressStyle::with_template(template)
        {
            bar.set_style(style);
            self.template = template;
        }
    }

    /// So much of something of which it is known how much there is.
    pub(super) fn part(&mut self, what: &str, done: u64, of: u64) {
        self.look("{wide_bar} {percent}% {msg} {eta}");
        if let Some(bar) = &self.bar {
            bar.set_length(of);
            bar.set_position(done.min(of));
            bar.set_message(what.to_owned());
        }
    }

    /// So much of something of which it is not known how much there is.
    pub(super) fn count(&mut self, what: String) {
        self.look("{spinner} {msg} {elapsed}");
        if let Some(bar) = &self.bar {
            bar.set_message(what);
            bar.tick();
        }
    }

    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// How far it is, where somebody watches. How far it goes nobody has counted. It can be told from
/// another thread.
pub(super) struct Spinner(Option<ProgressBar>);

impl Spinner {
    pub(super) fn new(what: &str) -> Self {
        if !stderr().is_terminal() {
            return Self(None);
        }
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template(&format!("{{spinner}} {{pos}} {what}")) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Self(Some(bar))
    }

    pub(super) fn teller(&self) -> impl Fn(u64) + Send + 'static {
        let bar = self.0.clone();
        move |reached| {
            if let Some(bar) = &bar {
                bar.set_position(reached);
            }
        }
    }

    pub(super) fn finish(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
