//! The command line: arguments, settings, output. The library does the work.

mod applicants;
mod arrived;
mod audit;
mod called;
mod carry;
mod check;
mod command_line;
mod completions;
mod demo;
mod drain;
mod examine;
mod follow;
mod import;
mod keygen;
mod keys;
mod log;
#[cfg(test)]
#[path = "cli/manual/tests.rs"]
mod manual;
mod mapping;
mod pack;
mod pair;
mod quarantine;
mod reach;
mod record;
mod record_page;
mod review;
mod settings;
mod show;
mod sign;
mod split;
mod status;
pub mod stop;
mod stream;
mod output;
mod verify;
mod wait;
mod witness;

use airpouch::error::Result;
use airpouch::examining::EXAMINE_APART;
use airpouch::report::ExitStatus;
use clap::builder::Resettable;
use clap::{Arg, Command, CommandFactory, FromArgMatches, Parser, Subcommand};

use command_line::CommandLine;
use output::{Flags, Output};

const AFTER_HELP: &str = "\
Exit status:
  0  done, also where there was nothing to do
  1  failed
  2  wrong usage
  3  something new was refused or held, or something is missing
  4  a signature or digest does not hold, or no trusted key signed
  5  another run holds the lock
  130, 143  SIGINT or SIGTERM stopped it before its end, as a shell shows that

Settings may also stand in airpouch.toml in the site (with _ for -, paths counted from
the site) and in the environment (AIRPOUCH_ZONE for --zone). An option goes over the
environment, the environment over the file. Orders for one run (--resend, --slip, --again,
--redeliver, --new-destination, --same-destination, --new-zone, --take-over, --quiet, --json)
are given as options only.

Examples:
  airpouch demo                                               run a self-contained demonstration
  airpouch keygen --out /etc/airpouch/site-a
  airpouch pack /srv/opencti/out /media/stick --key /etc/airpouch/site-a.key.pem
  airpouch import /media/stick --to opencti+https://cti.example --token-file /etc/airpouch/token";

/// The version, and the commit that build.rs found. What airpouch writes has the version alone.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("AIRPOUCH_BUILT_FROM"), ")");

/// Carries OpenCTI knowledge across an air gap: signed, once, in order
#[derive(Parser, Debug)]
#[command(name = "airpouch", version = VERSION, after_help = AFTER_HELP, max_term_width = 110)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    Keygen(keygen::Args),
    Pack(pack::Args),
    Sign(sign::Args),
    Carry(carry::Args),
    Verify(verify::Args),
    Show(show::Args),
    Import(Box<import::Args>),
    Check(check::Args),
    Drain(drain::Args),
    Follow(follow::Args),
    Split(split::Args),
    Status(status::Args),
    Log(log::Args),
    Audit(audit::Args),
    Witness(witness::Args),
    Pair(pair::Args),
    Arrived(arrived::Args),
    Record(record_page::Args),
    Review(review::Args),
    Applicants(applicants::Args),
    Quarantine(quarantine::Args),
    Stream(stream::Args),
    Demo(demo::Args),
    Completions(completions::Args),
}

/// Runs what the arguments ask for.
pub fn run() -> ExitStatus {
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|word| word == EXAMINE_APART) {
        return examine::run(words.next().as_deref().and_then(std::ffi::OsStr::to_str));
    }
    let unbuilt = without_empty_variables(Cli::command());
    let mut command = unbuilt.clone();
    let matches = match command.try_get_matches_from_mut(std::env::args_os()) {
        Err(error) if error.use_stderr() && status::is_check(std::env::args_os()) => return status::refused(&error),
        matches => matches.unwrap_or_else(|error| error.exit()),
    };
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|e| e.exit());
    let flags = Flags { json: cli.verb.json(), quiet: cli.verb.quiet(), all: cli.verb.all() };
    let output = Output::new(called::verb(&matches), flags, called::call(&command, &matches));
    let line = CommandLine::new(unbuilt, &matches);
    let status = cli.verb.run(&line, &output).unwrap_or_else(|error| output.error(&error));
    output.or_unsaid(status)
}

/// The command, which does not look at variables of the environment that are set to nothing.
fn without_empty_variables(command: Command) -> Command {
    let is_empty = |arg: &Arg| arg.get_env().is_some_and(|name| std::env::var_os(name).is_some_and(|v| v.is_empty()));
    let command = command.mut_args(|arg| if is_empty(&arg) { arg.env(Resettable::Reset) } else { arg });
    command.mut_subcommands(without_empty_variables)
}

impl Verb {
    fn json(&self) -> bool {
        match self {
            Self::Keygen(a) => a.json,
            Self::Pack(a) => a.json,
            Self::Sign(a) => a.json,
            Self::Carry(a) => a.json,
            Self::Verify(a) => a.json,
            Self::Show(a) => a.json,
            Self::Import(a) => a.json,
            Self::Check(a) => a.json,
            Self::Drain(a) => a.json,
            Self::Follow(a) => a.json,
            Self::Split(a) => a.json,
            Self::Status(a) => a.json,
            Self::Log(a) => a.json,
            Self::Audit(a) => a.json,
            Self::Witness(a) => a.json,
            Self::Arrived(a) => a.json,
            Self::Record(a) => a.json,
            Self::Review(a) => a.json,
            Self::Applicants(a) => a.json,
            Self::Quarantine(a) => a.json(),
            Self::Stream(a) => a.json(),
            Self::Pair(_) | Self::Demo(_) | Self::Completions(_) => false,
        }
    }

    fn quiet(&self) -> bool {
        match self {
            Self::Pack(a) => a.quiet,
            Self::Import(a) => a.quiet,
            _ => false,
        }
    }

    /// Whether each finding is printed.
    fn all(&self) -> bool {
        match self {
            Self::Pack(a) => a.all,
            Self::Verify(a) => a.all,
            Self::Import(a) => a.all,
            Self::Follow(a) => a.all,
            Self::Status(a) => a.all,
            _ => false,
        }
    }

    fn run(self, line: &CommandLine, output: &Output) -> Result<ExitStatus> {
        match self {
            Self::Keygen(args) => keygen::run(&args, output),
            Self::Pack(args) => pack::run(&args, line, output),
            Self::Sign(args) => sign::run(&args, line, output),
            Self::Carry(args) => carry::run(&args, line, output),
            Self::Verify(args) => verify::run(&args, output),
            Self::Show(args) => show::run(&args, output),
            Self::Import(args) => import::run(&args, line, output),
            Self::Check(args) => check::run(&args, line, output),
            Self::Drain(args) => drain::run(&args, line, output),
            Self::Follow(args) => follow::run(&args, line, output),
            Self::Split(args) => split::run(&args, output),
            Self::Status(args) => status::run(&args, line, output),
            Self::Log(args) => log::run(&args, output),
            Self::Audit(args) => audit::run(&args, output),
            Self::Witness(args) => witness::run(&args, output),
            Self::Pair(args) => pair::run(&args, output),
            Self::Arrived(args) => arrived::run(&args, output),
            Self::Record(args) => record_page::run(&args, output),
            Self::Review(args) => review::run(&args, output),
            Self::Applicants(args) => applicants::run(&args, line, output),
            Self::Quarantine(args) => quarantine::run(&args, output),
            Self::Stream(args) => stream::run(&args, line, output),
            Self::Demo(args) => demo::run(&args, output),
            Self::Completions(args) => completions::run(&args, Cli::command(), output),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    /// Their documents are held against the schemas wherever tests run the program.
    #[test]
    fn each_verb_with_json_has_a_schema_and_each_schema_a_verb() {
        let mut command = Cli::command();
        command.build();
        let mut verbs = std::collections::BTreeSet::from(["shared.json".to_owned()]);
        for verb in command.get_subcommands() {
            let below = verb.get_subcommands().map(|b| (format!("{}-{}", verb.get_name(), b.get_name()), b));
            for (name, verb) in below.chain([(verb.get_name().to_owned(), verb)]) {
                if verb.get_arguments().any(|arg| arg.get_id() == "json") {
                    verbs.insert(format!("{name}.json"));
                }
            }
        }
        let there = std::fs::read_dir("docs/json").unwrap().map(|f| f.unwrap().file_name().into_string().unwrap());
        assert_eq!(there.collect::<std::collections::BTreeSet<_>>(), verbs);
    }

    #[test]
    fn the_arguments_are_consistent_and_every_verb_has_an_example() {
        let mut command = Cli::command();
        command.build();
        command.clone().debug_assert();
        for verb in command.get_subcommands_mut().filter(|v| v.get_name() != "help") {
            let help = verb.render_long_help().to_string();
            assert!(help.contains("Example"), "{} has no example", verb.get_name());
        }
    }
}
