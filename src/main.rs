//! The command line `oubliette`.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
