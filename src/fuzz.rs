//! What a fuzzer calls: a function for each thing that is read from untrusted bytes. `docs/testing.md` says how it is
//! run. It is compiled for tests, which replay the corpora, and for fuzzing; no program has it.
//!
//! Each function takes any bytes, and panics where a property does not hold.

#[cfg(feature = "backup")]
pub use crate::vault::backup::fuzz::backup;
pub use crate::{
    crypto::fuzz::{plaintext, token},
    event::fuzz::json,
    policy::fuzz::policy,
    vault::{fuzz_page::page, fuzz_sector::sector},
};

#[cfg(test)]
#[path = "../tests/common/corpora.rs"]
mod corpora;

#[cfg(test)]
mod tests {
    use super::corpora::{are_whole, replay};

    #[test]
    fn every_target_has_a_corpus_of_its_own() {
        are_whole();
    }

    #[test]
    fn the_corpus_of_token_holds() {
        replay("token", super::token);
    }

    #[test]
    fn the_corpus_of_plaintext_holds() {
        replay("plaintext", super::plaintext);
    }

    #[test]
    fn the_corpus_of_json_holds() {
        replay("json", super::json);
    }

    #[test]
    fn the_corpus_of_policy_holds() {
        replay("policy", super::policy);
    }

    #[test]
    fn the_corpus_of_page_holds() {
        replay("page", super::page);
    }

    #[test]
    fn the_corpus_of_sector_holds() {
        replay("sector", super::sector);
    }

    #[cfg(feature = "backup")]
    #[test]
    fn the_corpus_of_backup_holds() {
        replay("backup", super::backup);
    }
}
