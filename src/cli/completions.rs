use airpouch::error::Result;
use airpouch::report::ExitStatus;
use clap::{Command, ValueEnum};
use clap_complete::{Shell, generate};

use super::output::Output;

/// Print the completions for a shell
///
/// The script goes to standard output. Where it belongs is up to the shell: see the examples.
#[derive(clap::Args, Debug)]
#[command(
    args_override_self = true,
    after_help = "Example:\n  airpouch completions bash > /usr/share/bash-completion/completions/airpouch\n  airpouch completions zsh > /usr/share/zsh/vendor-completions/_airpouch\n  airpouch completions fish > /usr/share/fish/vendor_completions.d/airpouch.fish"
)]
pub struct Args {
    /// The shell that is to complete
    shell: CompletionKind,
}

/// Shells for which completions are tried by a test.
#[derive(ValueEnum, Debug, Clone, Copy)]
enum CompletionKind {
    Bash,
    Zsh,
    Fish,
}

pub fn run(args: &Args, mut command: Command, output: &Output) -> Result<ExitStatus> {
    let shell = match args.shell {
        CompletionKind::Bash => Shell::Bash,
        CompletionKind::Zsh => Shell::Zsh,
        CompletionKind::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    generate(shell, &mut command, "airpouch", &mut script);
    output.raw(String::from_utf8_lossy(&script).trim_end());
    Ok(ExitStatus::Done)
}
