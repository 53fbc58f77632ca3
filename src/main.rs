//! The command line of airpouch: arguments in, exit code out.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests open what they have made themselves"))]

mod cli;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use airpouch::report::ExitStatus;
use signal_hook::consts::SIGXFSZ;

fn main() -> ExitCode {
    // Unhandled, it kills whoever writes beyond the limit on the size of a file; handled, the write answers EFBIG. Nobody
    // asks for the flag. Where the handler cannot be set, it is as without it.
    let _ = signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)));
    let status = cli::run();
    if let ExitStatus::Stopped(signal) = status {
        cli::stop::die_of(signal);
    }
    ExitCode::from(status.code())
}
