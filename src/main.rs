//! The command line of airpouch: arguments in, exit code out.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(cli::run().code())
}
