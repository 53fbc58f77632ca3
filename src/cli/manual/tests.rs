//! The manual, made from the arguments: one page a verb, in `man/`.
//!
//! `AIRPOUCH_WRITE_MAN=1 cargo test --release --bin airpouch` writes it anew.

use std::fmt::Write;
use std::fs;

use clap::{Arg, ArgAction, Command, CommandFactory};
use clap_mangen::Man;

use super::{AFTER_HELP, Cli};

/// What a verb reads and writes in the site and beside it.
const FILES: [(&str, &[(&str, &str)]); 26] = [
    ("airpouch", &[SETTINGS, OUTBOX, INBOX]),
    (
        "keygen",
        &[
            ("PREFIX.key.pem", "the private key: it signs"),
            ("PREFIX.pub.pem", "the public key, for the other side's trust store"),
        ],
    ),
    ("pack", &[SETTINGS, OUTBOX, LEDGER, JOURNAL, SLIP]),
    ("carry", &[SETTINGS, OUTBOX, LEDGER, JOURNAL, SLIP]),
    ("sign", &[SETTINGS, OUTBOX, LEDGER, JOURNAL]),
    ("verify", &[TRUST, RULES]),
    ("show", &[INBOX, OUTBOX, LEDGER, POLICY, TRUST]),
    ("import", &[SETTINGS, INBOX, TRUST, RULES, POLICY, HELD, QUARANTINE, LEDGER, JOURNAL]),
    ("check", &[SETTINGS, POLICY]),
    (
        "drain",
        &[
            ("connector.json, *.json", "in each directory of the spool: a connector, and its messages by number"),
            SETTINGS,
        ],
    ),
    ("follow", &[SETTINGS, LEDGER, JOURNAL]),
    ("split", &[INBOX, OUTBOX, LEDGER]),
    ("status", &[LEDGER, JOURNAL, TRUST, RULES, SETTINGS]),
    ("log", &[JOURNAL, LEDGER]),
    ("audit", &[JOURNAL, HEAD, LEDGER]),
    ("witness", &[JOURNAL, HEAD, LEDGER]),
    ("pair", &[PAIRINGS, LEDGER, JOURNAL]),
    ("arrived", &[PAIRINGS, LEDGER, JOURNAL]),
    ("record", &[JOURNAL, HEAD, LEDGER]),
    ("review", &[JOURNAL, HEAD, LEDGER]),
    ("applicants", &[SETTINGS, POLICY, LEDGER, JOURNAL]),
    ("quarantine", &[POLICY, HELD, QUARANTINE, LEDGER, JOURNAL]),
    ("stream", &[OUTBOX, INBOX, LEDGER, JOURNAL]),
    ("demo", &[("demo/", "all that the demonstration makes, in a temporary directory that it names")]),
    (
        "completions",
        &[("/etc/bash_completion.d/airpouch", "where bash looks; the examples have those of other shells")],
    ),
    ("help", &[]),
];
const SETTINGS: (&str, &str) = ("airpouch.toml", "in the site: settings, so that the verb needs no options");
const OUTBOX: (&str, &str) = ("outbox/", "in the exporter's site: the batches that were packed");
const INBOX: (&str, &str) = ("inbox/", "in the importer's site: the batches that were taken from media");
const LEDGER: (&str, &str) = ("ledger.db", "in the site: what was packed, carried, taken and delivered");
const JOURNAL: (&str, &str) = ("journal.jsonl", "in the site: what was done, when, by whom and why");
const PAIRINGS: (&str, &str) =
    ("pairings/", "in the site: the keys that it shares with the other side, for the owner only");
const SLIP: (&str, &str) = ("slip.html", "in the site: the slip of the last carry with --slip");
const HEAD: (&str, &str) = ("journal.head", "in the site: where the journal ends, signed");
const TRUST: (&str, &str) = ("trust/", "the trust store: the exporter's public keys");
const RULES: (&str, &str) = ("trust/trust.toml", "how many keys must sign, and which key may sign what");
const POLICY: (&str, &str) = ("policy.toml", "in the site: what may cross");
const HELD: (&str, &str) = ("held/", "in the site: envelopes that wait, each with its reason");
const QUARANTINE: (&str, &str) =
    ("quarantine/", "in the site: envelopes that the policy stopped, each with its reason");

/// Where a verb finds its site, if no option says so.
const PLACES: &str = "Without \\fB\\-\\-site\\fR the site is $XDG_STATE_HOME/airpouch; without that variable it is \
                      /var/lib/airpouch for root, and ~/.local/state/airpouch for everybody else.";

/// Each page: its name, its command, and the command whose examples it shares.
fn pages() -> Vec<(String, Command, Command)> {
    let mut command = Cli::command();
    command.build();
    let mut pages = vec![("airpouch".to_owned(), command.clone(), command.clone())];
    for verb in command.get_subcommands().filter(|v| v.get_name() != "help") {
        let name = format!("airpouch-{}", verb.get_name());
        pages.push((name.clone(), verb.clone(), verb.clone()));
        for below in verb.get_subcommands().filter(|v| v.get_name() != "help") {
            pages.push((format!("{name}-{}", below.get_name()), below.clone(), verb.clone()));
        }
    }
    pages
}

fn page(name: &str, command: &Command, examples_of: &Command) -> String {
    // clap wants names that live for ever.
    let called = name.replace('-', " ");
    let command = command.clone().name(&*name.to_owned().leak()).bin_name(&called);
    let man =
        Man::new(command.clone()).title(name.to_uppercase()).source(concat!("airpouch ", env!("CARGO_PKG_VERSION")));
    let mut made = Vec::new();
    man.render_title(&mut made).unwrap();
    man.render_name_section(&mut made).unwrap();
    made.extend(synopsis(&called, &command).bytes());
    man.render_description_section(&mut made).unwrap();
    if command.get_arguments().next().is_some() {
        man.render_options_section(&mut made).unwrap();
    }
    let mut page = String::from_utf8(made).unwrap();
    // clap_mangen begins each section with its two lines about the apostrophe, and ends some lines with blanks.
    let lines =
        page.lines().enumerate().filter(|(at, line)| *at < 2 || !line.starts_with(".ie ") && !line.starts_with(".el "));
    page = lines.map(|(_, line)| line.trim_end()).collect::<Vec<_>>().join("\n") + "\n";
    if command.get_subcommands().any(|v| v.get_name() != "help") {
        page.push_str(&verbs(name, &command));
    }
    page.push_str(&examples(&called, examples_of));
    page.push_str(&exit_status());
    page.push_str(&files(&called));
    page.push_str(&environment(&command));
    page.push_str(&see_also(name));
    page.chars().map(ascii).collect()
}

/// A character as groff takes it in every locale.
fn ascii(c: char) -> String {
    if c.is_ascii() { c.to_string() } else { format!("\\[u{:04X}]", u32::from(c)) }
}

fn heading(title: &str) -> String {
    format!(".SH {title}\n")
}

/// Text that roff takes as it is.
fn plain(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq");
    if text.starts_with('.') { format!("\\&{text}") } else { text }
}

fn item(term: &str, meaning: &str) -> String {
    format!(".TP\n\\fB{}\\fR\n{}\n", plain(term), plain(meaning))
}

/// `airpouch import [--site DIR] [--key FILE]… --to DESTINATION [MEDIUM]`
fn synopsis(called: &str, command: &Command) -> String {
    let mut line = format!("\\fB{}\\fR", plain(called));
    if command.get_subcommands().any(|v| v.get_name() != "help") {
        line.push_str(" \\fICOMMAND\\fR");
    }
    let shown = |arg: &&Arg| !arg.is_hide_set() && !["help", "version"].contains(&arg.get_id().as_str());
    let (named, placed): (Vec<_>, Vec<_>) = command.get_arguments().filter(shown).partition(|a| !a.is_positional());
    for arg in named.into_iter().chain(placed) {
        write!(line, " {}", argument(arg)).unwrap();
    }
    format!("{}{line}\n", heading("SYNOPSIS"))
}

fn argument(arg: &Arg) -> String {
    let takes_value = arg.is_positional() || arg.get_action().takes_values();
    let value = arg.get_value_names().and_then(|names| names.first()).map(|name| format!("\\fI{}\\fR", plain(name)));
    let option = arg.get_long().map(|long| format!("\\fB\\-\\-{}\\fR", plain(long)));
    let text = [option, value.filter(|_| takes_value)].into_iter().flatten().collect::<Vec<_>>().join(" ");
    // A destination has to be named, though airpouch.toml may do it.
    let is_needed = arg.is_required_set() || arg.get_id() == "to";
    let repeats =
        matches!(arg.get_action(), ArgAction::Append) || arg.get_num_args().is_some_and(|n| n.max_values() > 1);
    let text = if is_needed { text } else { format!("[{text}]") };
    if repeats { format!("{text}\\&...") } else { text }
}

fn verbs(name: &str, command: &Command) -> String {
    let mut out = heading("COMMANDS");
    for verb in command.get_subcommands().filter(|v| v.get_name() != "help") {
        let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
        out.push_str(&item(&format!("{name}-{}(1)", verb.get_name()), &about));
    }
    out
}

/// The examples of a command's help; those of its own, where it shares them with others.
fn examples(called: &str, command: &Command) -> String {
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let all: Vec<&str> =
        help.lines().filter_map(|line| line.strip_prefix("  ")).filter(|l| l.starts_with("airpouch")).collect();
    let own: Vec<&str> = all.iter().filter(|line| line.starts_with(called)).copied().collect();
    assert!(!own.is_empty(), "{called} has no example");
    let lines: Vec<String> = own.iter().map(|line| plain(line)).collect();
    format!("{}.nf\n.RS\n{}\n.RE\n.fi\n", heading("EXAMPLES"), lines.join("\n"))
}

fn exit_status() -> String {
    let lines = AFTER_HELP.lines().skip(1).take_while(|line| !line.is_empty());
    let items: String =
        lines.map(|line| line.trim().split_once("  ").unwrap()).map(|(n, what)| item(n, what)).collect();
    format!("{}{items}", heading("EXIT STATUS"))
}

fn files(called: &str) -> String {
    let verb = called.split(' ').nth(1).unwrap_or(called);
    let (_, files) = FILES.iter().find(|(name, _)| *name == verb).unwrap_or_else(|| panic!("no files of {verb}"));
    let items: String = files.iter().map(|(name, what)| item(name, what)).collect();
    format!("{}{items}.PP\n{PLACES}\n", heading("FILES"))
}

fn environment(command: &Command) -> String {
    let mut out = heading("ENVIRONMENT");
    for arg in command.get_arguments().filter(|a| !a.is_hide_set()) {
        if let (Some(variable), Some(long)) = (arg.get_env(), arg.get_long()) {
            out.push_str(&item(&variable.to_string_lossy(), &format!("for --{long}, which precedes it")));
        }
    }
    out.push_str(&item("XDG_STATE_HOME", "where the site is, without --site: see FILES"));
    out.push_str(&item("NO_COLOR", "print no colors on a terminal"));
    out
}

fn see_also(name: &str) -> String {
    let others = pages().into_iter().map(|(other, ..)| other).filter(|other| other != name);
    let related =
        others.filter(|other| other == "airpouch" || name == "airpouch" || other.starts_with(&format!("{name}-")));
    let names: Vec<String> = related.map(|other| format!("\\fB{}\\fR(1)", plain(&other))).collect();
    format!("{}{}\n", heading("SEE ALSO"), names.join(", "))
}

#[test]
fn manual_matches_the_arguments() {
    let mut stale = Vec::new();
    for (name, command, examples_of) in pages() {
        let (path, made) = (format!("man/{name}.1"), page(&name, &command, &examples_of));
        if std::env::var_os("AIRPOUCH_WRITE_MAN").is_some() {
            fs::write(&path, &made).unwrap();
        }
        if fs::read_to_string(&path).unwrap_or_default() != made {
            stale.push(path);
        }
    }
    assert!(
        stale.is_empty(),
        "{stale:?}: write them anew with AIRPOUCH_WRITE_MAN=1 cargo test --release --bin airpouch"
    );
}

#[test]
fn manual_has_every_section_in_every_page() {
    for (name, command, examples_of) in pages() {
        let page = page(&name, &command, &examples_of);
        for section in
            ["NAME", "SYNOPSIS", "DESCRIPTION", "EXAMPLES", "EXIT STATUS", "FILES", "ENVIRONMENT", "SEE ALSO"]
        {
            assert_eq!(page.matches(&format!("\n.SH {section}\n")).count(), 1, "{section} of {name}");
        }
        assert!(!page.contains("EXTRA"), "{name}");
    }
}
