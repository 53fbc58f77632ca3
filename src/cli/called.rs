//! How this run was called, for the commands that advice names.

use std::collections::BTreeMap;
use std::ffi::OsStr;

use airpouch::report::call::Call;
use airpouch::site::Role;
use airpouch::text::shell_word;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};

/// What was asked of one run, and is not to be asked of the next one.
const ORDERS: [&str; 42] = [
    "accept_gone",
    "accept_ledger",
    "again",
    "all",
    "arrival",
    "bundles",
    "check",
    "code",
    "connector",
    "crit",
    "encrypt",
    "file",
    "groups",
    "heartbeat",
    "held",
    "json",
    "medium",
    "name",
    "new_destination",
    "new_zone",
    "note",
    "older_than",
    "operator",
    "out",
    "quarantined",
    "quiet",
    "reason",
    "redeliver",
    "rejected",
    "released",
    "remove_copy",
    "replace",
    "resend",
    "same_destination",
    "second",
    "take_over",
    "ticket",
    "wait",
    "warn",
    "without",
    "witness",
    "write",
];

/// The commands that work on a site, and on which side.
const OF_SIDES: [(&str, Option<Role>); 20] = [
    ("pack", Some(Role::Exporter)),
    ("carry", Some(Role::Exporter)),
    ("sign", Some(Role::Exporter)),
    ("arrived", Some(Role::Exporter)),
    ("stream renew", Some(Role::Exporter)),
    ("import", Some(Role::Importer)),
    ("check", Some(Role::Importer)),
    ("drain", Some(Role::Importer)),
    ("follow", Some(Role::Importer)),
    ("applicants", Some(Role::Importer)),
    ("quarantine list", Some(Role::Importer)),
    ("quarantine reject", Some(Role::Importer)),
    ("quarantine release", Some(Role::Importer)),
    ("quarantine show", Some(Role::Importer)),
    ("quarantine unreject", Some(Role::Importer)),
    ("quarantine unrelease", Some(Role::Importer)),
    ("stream accept", Some(Role::Importer)),
    ("log", None),
    ("split", None),
    ("status", None),
];

fn side_of(command: &str) -> Option<Role> {
    OF_SIDES.iter().find(|(name, _)| *name == command).and_then(|(_, side)| *side)
}

/// Whether advice that names a command means this side's site.
pub fn is_of_side(command: &str, side: Role) -> bool {
    side_of(command).is_none_or(|of| of == side)
}

/// The verb that was typed, such as `stream accept`, with what was typed for it.
pub fn typed(matches: &ArgMatches) -> (String, &ArgMatches) {
    let mut path = Vec::new();
    let mut typed = matches;
    while let Some((name, below)) = typed.subcommand() {
        path.push(name);
        typed = below;
    }
    (path.join(" "), typed)
}

/// The verb that was typed, such as `stream accept`.
pub fn verb(matches: &ArgMatches) -> String {
    typed(matches).0
}

/// What was typed in this run, for each command of the same side that takes it too. `command` is built.
pub fn call(command: &Command, matches: &ArgMatches) -> Call {
    let (name, typed) = typed(matches);
    let Some(own) = find(command, &name) else { return Call::default() };
    let here = side_of(&name);
    let mut options = BTreeMap::new();
    for (other, side) in OF_SIDES {
        if let Some(other_command) = find(command, other)
            && (here.is_none() || side.is_none() || here == side)
        {
            let given = other_command.get_arguments().filter(|arg| own.get_arguments().any(|o| is_same(o, arg)));
            let words: Vec<String> = match (name.as_str(), other) {
                // It contacts nothing unless it is told to, so it needs no more.
                (_, "applicants") => {
                    given.filter(|arg| arg.get_id() == "site").flat_map(|arg| words(&name, arg, typed)).collect()
                }
                ("drain", "import") => into_spool(given, typed),
                ("drain", "drain") => {
                    let words = given.flat_map(|arg| words(&name, arg, typed));
                    words.chain(spool_of(typed).map(|spool| shell_word(&spool))).collect()
                }
                _ => given.flat_map(|arg| words(&name, arg, typed)).collect(),
            };
            options.insert(other.to_owned(), words.join(" "));
        }
    }
    Call::new(options)
}

/// The import that fills the spool of a drain: where the drain sends is not where that delivers.
fn into_spool<'a>(given: impl Iterator<Item = &'a Arg>, typed: &ArgMatches) -> Vec<String> {
    let of_site = given.filter(|arg| arg.get_id() == "site").flat_map(|arg| words("drain", arg, typed));
    let to = spool_of(typed).into_iter().flat_map(|spool| ["--to".to_owned(), shell_word(&format!("spool:{spool}"))]);
    of_site.chain(to).collect()
}

/// The spool of a drain, as it was typed.
fn spool_of(typed: &ArgMatches) -> Option<String> {
    typed.get_raw("spool")?.next().map(|spool| spool.to_string_lossy().into_owned())
}

fn find<'a>(command: &'a Command, path: &str) -> Option<&'a Command> {
    path.split(' ').try_fold(command, |command, name| command.find_subcommand(name))
}

fn is_same(one: &Arg, other: &Arg) -> bool {
    one.get_id() == other.get_id() && one.get_long().is_some() && one.get_long() == other.get_long()
}

/// An option as it was typed, once for each of its values; nothing if it came from elsewhere.
fn words(name: &str, arg: &Arg, typed: &ArgMatches) -> Vec<String> {
    let id = arg.get_id().as_str();
    // An officer signs with a key of his own.
    let is_of_this_person = name == "quarantine release" && ["key", "passphrase_file"].contains(&id);
    let is_order = ORDERS.contains(&id) || (name, id) == ("applicants", "applicant") || is_of_this_person;
    let is_typed =
        typed.try_contains_id(id).unwrap_or(false) && typed.value_source(id) == Some(ValueSource::CommandLine);
    let Some(long) = arg.get_long().filter(|_| is_typed && !is_order) else { return Vec::new() };
    if !arg.get_action().takes_values() {
        return vec![format!("--{long}")];
    }
    let sign = if arg.is_require_equals_set() { '=' } else { ' ' };
    let values = typed.get_raw(id).into_iter().flatten().filter(|value| !holds_a_password(value));
    values.map(|value| format!("--{long}{sign}{}", shell_word(&value.to_string_lossy()))).collect()
}

/// Whether a value is an address with a password in it.
fn holds_a_password(value: &OsStr) -> bool {
    let value = value.to_string_lossy();
    let authority = value.split_once("://").and_then(|(_, rest)| rest.split('/').next());
    authority.and_then(|a| a.rsplit_once('@')).is_some_and(|(user, _)| user.contains(':'))
}
