//! The command line in two steps: what was typed, and what it means in a site. There the values of airpouch.toml are the
//! defaults of the arguments, so that an option goes over the environment, and the environment over the file, by the one
//! rule that clap has. Help, which is about all sites, shows none of them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use airpouch::error::{Error, Result};
use airpouch::site::Site;
use airpouch::text::harmless;
use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgMatches, Command, FromArgMatches};

use super::called;
use super::output::Output;
use super::settings::{self, Settings};

/// Options that share their name with a key and do not take its value: pack and import work without a medium, and what
/// renew and drain are told is about one time.
const ONLY_TYPED: [(&str, &str); 5] =
    [("pack", "medium"), ("import", "medium"), ("drain", "to"), ("stream renew", "medium"), ("stream renew", "trust")];

/// What was typed.
pub struct CommandLine {
    command: Command,
    words: Vec<OsString>,
    verb: String,
}

/// What was typed, as it is meant in a site.
pub struct Meant<A> {
    pub args: A,
    pub site: Site,
    pub set: Settings,
}

impl CommandLine {
    /// The command, not built yet, and what it made of the words of this process.
    pub fn new(command: Command, matches: &ArgMatches) -> Self {
        Self { command, words: std::env::args_os().collect(), verb: called::verb(matches) }
    }

    /// The arguments of the verb that was typed, with what the site sets.
    pub fn meant<A: FromArgMatches>(&self, site: Option<&Path>, output: &Output) -> Result<Meant<A>> {
        let site = settings::site(site)?;
        output.is_in(&site);
        let set = settings::load(&site)?;
        let options = set.options(&site);
        let path: Vec<&str> = self.verb.split(' ').collect();
        let command = within(self.command.clone(), &path, |verb| with_defaults(verb, &self.verb, &options));
        let matches = command.try_get_matches_from(&self.words).map_err(|error| of_file(&error, &site))?;
        let args = A::from_arg_matches(called::typed(&matches).1).map_err(|error| of_file(&error, &site))?;
        Ok(Meant { args, site, set })
    }

    /// What another verb would take from the site, if nothing was typed for it and nothing is in the environment.
    pub fn of_site<A: FromArgMatches>(&self, verb: &str, set: &Settings, site: &Site) -> Result<A> {
        let command = self.command.find_subcommand(verb).cloned().expect("it is the name of a verb");
        let command = command.mut_args(|arg| arg.env(Resettable::Reset));
        let matches = with_defaults(command, verb, &set.options(site)).try_get_matches_from([verb]);
        matches.and_then(|matches| A::from_arg_matches(&matches)).map_err(|error| of_file(&error, site))
    }
}

/// Changes the subcommand at the end of a path.
fn within(command: Command, path: &[&str], change: impl FnOnce(Command) -> Command) -> Command {
    match path {
        [] => change(command),
        [name, below @ ..] => command.mut_subcommand(name, |command| within(command, below, change)),
    }
}

fn with_defaults(command: Command, verb: &str, options: &BTreeMap<&str, Vec<OsString>>) -> Command {
    command.mut_args(|arg| {
        let id = arg.get_id().as_str();
        let is_taken = !ONLY_TYPED.contains(&(verb, id));
        match options.get(id).filter(|_| is_taken) {
            Some(words) => with_default(arg, words),
            None => arg,
        }
    })
}

fn with_default(arg: Arg, words: &[OsString]) -> Arg {
    // A `false` in the environment does not take back a `true` of the file.
    let is_set = !arg.get_action().takes_values() && words.iter().any(|word| word == "true");
    let arg = if is_set { arg.env(Resettable::Reset) } else { arg };
    arg.default_values(words)
}

/// What was typed is right, so it is a value of the file that is none for its key.
fn of_file(error: &clap::Error, site: &Site) -> Error {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.as_str(),
        _ => "",
    };
    let option = text(ContextKind::InvalidArg).split(' ').next().unwrap_or_default();
    let key = option.trim_start_matches('-').replace('-', "_");
    let choice: Vec<String> = match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(choice)) => choice.iter().map(|word| format!("{word:?}")).collect(),
        _ => Vec::new(),
    };
    let choice = match &choice[..] {
        [before @ .., last] if !before.is_empty() => format!("{} or {last}", before.join(", ")),
        choice => choice.concat(),
    };
    Error::usage(format!("{:?} is no value for {key}", harmless(text(ContextKind::InvalidValue))))
        .at(&site.settings())
        .advise(format!("{key} is {choice}"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    /// The verbs, and those below them, with the whole of their names.
    fn verbs() -> Vec<(String, Command)> {
        let command = Cli::command();
        let below = |verb: &Command| {
            let of = |b: &Command| (format!("{} {}", verb.get_name(), b.get_name()), b.clone());
            verb.get_subcommands().map(of).collect::<Vec<_>>()
        };
        let verbs = command.get_subcommands();
        verbs.flat_map(|verb| [vec![(verb.get_name().to_owned(), verb.clone())], below(verb)].concat()).collect()
    }

    #[test]
    fn each_key_is_an_argument_of_a_verb_that_takes_its_value() {
        let is_taken = |key: &str| {
            let takes = |(verb, command): &(String, Command)| {
                command.get_arguments().any(|arg| arg.get_id() == key) && !ONLY_TYPED.contains(&(verb.as_str(), key))
            };
            verbs().iter().any(takes)
        };
        let unknown: Vec<_> = settings::OPTIONS.iter().filter(|key| !is_taken(key)).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
        for (verb, key) in ONLY_TYPED {
            let (_, command) = verbs().into_iter().find(|(name, _)| name == verb).unwrap();
            assert!(command.get_arguments().any(|arg| arg.get_id() == key), "{verb} has no {key}");
        }
    }

    #[test]
    fn value_of_a_file_is_a_default_that_what_was_typed_goes_over() {
        let site = Site::new("/site".into());
        let text =
            "key = [\"a.pem\", \"/b.pem\"]\nzone = \"red\"\nvolume_size = 65536\nheartbeat = true\nmedium = \"m\"\n";
        let options = settings::of_text(text, &site).unwrap().options(&site);
        let (_, pack) = verbs().into_iter().find(|(name, _)| name == "pack").unwrap();
        let pack = with_defaults(pack, "pack", &options);
        let said = |words: &[&str], id: &str| {
            let matches = pack.clone().try_get_matches_from(["pack"].iter().chain(words)).unwrap();
            let values = matches.get_raw(id).into_iter().flatten().map(|value| value.to_string_lossy().into_owned());
            values.collect::<Vec<_>>()
        };
        assert_eq!(said(&[], "key"), ["/site/a.pem", "/b.pem"]);
        assert_eq!(said(&["--key", "c.pem"], "key"), ["c.pem"]);
        assert_eq!(said(&[], "zone"), ["red"]);
        assert_eq!(said(&["--zone", "blue"], "zone"), ["blue"]);
        assert_eq!(said(&[], "volume_size"), ["65536"]);
        assert_eq!(said(&[], "heartbeat"), ["true"]);
        assert!(said(&[], "medium").is_empty() && said(&[], "trust").is_empty());
    }
}
