use airpouch::error::Result;
use airpouch::report::ExitStatus;

use super::terminal::Talk;

/// Show the whole journey in a directory of its own
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  airpouch demo")]
pub struct Args {}

pub fn run(_: &Args, talk: &Talk) -> Result<ExitStatus> {
    talk.note("to come");
    Ok(ExitStatus::Failed)
}
