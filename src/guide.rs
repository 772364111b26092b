//! How to put it into a program and operate it; and pages for operators, officers and cryptographers.
#![doc = ""]
#![doc = include_str!("links.md")]
#![doc = include_str!("../docs/guide.md")]
//!
//! # In the repository
//!
//! The architecture (`docs/architecture.md`), the measurements
//! (`docs/performance.md`) and the decisions (`docs/decisions/`) are in the repository and in the crate's package.

macro_rules! page {
    ($name:ident, $file:literal) => {
        #[doc = include_str!("links.md")]
        #[doc = include_str!($file)]
        pub mod $name {}
    };
}

page!(policy, "../docs/policy.md");
page!(command_line, "../docs/command-line.md");
page!(backups, "../docs/backups.md");
page!(signing_keys, "../docs/signing-keys.md");
page!(format, "../docs/format.md");
page!(how_it_forgets, "../docs/how-it-forgets.md");
page!(threat_model, "../docs/threat-model.md");
page!(data_protection, "../docs/data-protection.md");
page!(questions, "../docs/questions.md");
page!(security, "../SECURITY.md");
