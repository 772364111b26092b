//! The program. All of it is in the library beside it, which is there for this program and for fuzzing alone.

use std::process::ExitCode;

fn main() -> ExitCode {
    oubliette_cli::main()
}
