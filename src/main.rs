//! The command line.
mod cli;

fn main() -> std::process::ExitCode {
    let json = std::env::args().any(|arg| arg == "--json");
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(_) => return std::process::ExitCode::FAILURE,
    };
    match runtime.block_on(cli::demo(json)) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            let _ = std::io::Write::write_fmt(
                &mut std::io::stderr(),
                format_args!("oubliette: {error}\n"),
            );
            std::process::ExitCode::FAILURE
        }
    }
}
