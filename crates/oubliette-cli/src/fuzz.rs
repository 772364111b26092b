//! What a fuzzer calls of the program, as the library's module of this name has it: see `docs/testing.md`.

pub use crate::{erasures::list::fuzz::list, import::fuzz::rows};

#[cfg(test)]
#[path = "../../../tests/common/corpora.rs"]
mod corpora;

#[cfg(test)]
mod tests {
    use super::corpora::replay;

    #[test]
    fn the_corpus_of_rows_holds() {
        replay("rows", super::rows);
    }

    #[test]
    fn the_corpus_of_list_holds() {
        replay("list", super::list);
    }
}
