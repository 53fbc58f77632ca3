mod edit;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use airpouch::applicants::{ApplicantId, AppliesTo, Mapping, UserId};
use airpouch::came;
use airpouch::deed::{Deed, MappedApplicant};
use airpouch::destination::Destination;
use airpouch::disk;
use airpouch::error::{Error, Result};
use airpouch::ledger::importer::ImporterView;
use airpouch::platform::Platform;
use airpouch::report::{ApplicantsReport, ExitStatus, Unmapped, to_map};
use airpouch::site::Site;
use airpouch::text::{count, harmless, quoted_toml};

use super::command_line::{CommandLine, Meant};
use super::output::Output;
use super::settings::{self, Settings};
use super::{mapping, reach, record};

/// List applicants of the other side, and who they are here
///
/// Prints each applicant with its connectors and its user, and the [applicants] lines to paste into airpouch.toml, with how
/// many envelopes wait for each. With --write the mappings given by --applicant are put there, and the journal has them. They
/// are for all streams; [applicants."STREAM"] and [applicants."FINGERPRINT"] map for one stream or one key alone and are
/// edited by hand. With --check it asks the platform whether the users exist; without it nothing is contacted.
#[derive(clap::Args, Debug)]
#[command(
    args_override_self = true,
    after_help = "Example:\n  airpouch applicants\n  airpouch applicants --write --applicant 7c9e6679-7425-40de-944b-e07fc1f90ae7=0b2f1a56-6a1d-4c57-9f0e-3f1f3a2c9d10 --name \"MISP at CERT\"\n  airpouch applicants --check        with to and token_file in airpouch.toml"
)]
pub struct Args {
    /// The importer's site
    #[arg(long, value_name = "DIR", env = "AIRPOUCH_SITE")]
    site: Option<PathBuf>,
    /// Put lines into airpouch.toml: the mappings of --applicant, and the rest as comments
    #[arg(long)]
    write: bool,
    /// Who an applicant of the other side is here
    #[arg(long, value_name = "FROM=TO", requires = "write")]
    applicant: Vec<String>,
    /// What the applicant of the one --applicant is called here
    #[arg(long, value_name = "NAME", requires = "applicant")]
    name: Option<String>,
    /// Ask the platform whether the users exist there
    #[arg(long, conflicts_with = "write")]
    check: bool,
    /// The platform to ask, as for import (or `to` in airpouch.toml)
    #[arg(long, value_name = "DESTINATION", env = "AIRPOUCH_TO")]
    to: Option<String>,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    reach: reach::Args,
    #[command(flatten)]
    record: record::Args,
}

pub fn run(typed: &Args, line: &CommandLine, output: &Output) -> Result<ExitStatus> {
    let Meant { args, site, set } = line.meant::<Args>(typed.site.as_deref(), output)?;
    let ledger = ImporterView::look(&site)?;
    let unmapped = ledger.unmapped_applicants()?.into_iter();
    let unmapped: Vec<_> = unmapped.map(|(id, envelopes)| Unmapped { id, envelopes }).collect();
    let written = if args.write { Some(write(&args, &site, &set, &unmapped, output)?) } else { None };
    let set = if written.is_some() { settings::load(&site)? } else { set };
    let pairs: Vec<String> = everywhere(&set)?.iter().map(|(from, m)| format!("{}:{}", from.as_str(), m.to)).collect();
    let mut report = ApplicantsReport {
        applicants: came::applicants(&ledger, &set.mappings()?, settings::default_user(set.unmapped())?)?,
        unmapped,
        written,
        settings: site.settings().display().to_string(),
        is_narrowed: settings::applicants(&[], set.unmapped(), &set, &site)?.is_narrowed(),
        for_stock_connector: pairs.join(","),
    };
    if !args.check {
        return Ok(output.show(&report));
    }
    let Destination::Platform(address) = settings::destination(args.to.as_ref())? else {
        return Err(Error::usage("only a platform knows its users; this destination is none")
            .advise("--check --to opencti+https://HOST"));
    };
    let reach = args.reach.reach(output)?;
    let asked = Platform::open(&address, &reach, output)
        .and_then(|platform| came::ask_for_users(&platform, &mut report.applicants));
    Ok(output.show_ended(&report, asked))
}

/// What airpouch.toml maps for all streams.
fn everywhere(set: &Settings) -> Result<BTreeMap<ApplicantId, Mapping>> {
    let mappings = set.mappings()?.into_iter().filter(|mapping| mapping.applies_to == AppliesTo::All);
    Ok(mappings.map(|mapping| (ApplicantId::of(&mapping.from), mapping)).collect())
}

/// What is to be put into airpouch.toml.
struct Addition {
    /// The mappings that it does not have yet.
    new: Vec<MappedApplicant>,
    /// The lines that it gets.
    lines: Vec<String>,
    /// Its text with them.
    text: String,
}

/// Puts into airpouch.toml what it does not have yet; gives the lines that were written. Mappings are noted for the journal.
fn write(args: &Args, site: &Site, set: &Settings, unmapped: &[Unmapped], output: &Output) -> Result<Vec<String>> {
    let path = site.settings();
    let replace = |addition: &Addition| disk::replace(&path, addition.text.as_bytes());
    let addition = addition(args, site, set, unmapped)?;
    if addition.new.is_empty() {
        if !addition.lines.is_empty() {
            replace(&addition)?;
        }
        return Ok(addition.lines);
    }
    let addition = record::importer(site, &args.record, output, |ledger| {
        // Another run may have written since.
        let addition = self::addition(args, site, &settings::load(site)?, unmapped)?;
        ledger.note_with(&Deed::applicants_mapped(addition.new.clone()), || replace(&addition))?;
        Ok(addition)
    })??;
    Ok(addition.lines)
}

/// What is to be put into airpouch.toml, once import would understand it.
fn addition(args: &Args, site: &Site, set: &Settings, unmapped: &[Unmapped]) -> Result<Addition> {
    let path = site.settings();
    let mut mapped = BTreeMap::new();
    for text in &args.applicant {
        mapped.extend(mapping::parse(text)?.into_iter().map(|(from, to)| (ApplicantId::of(&from), to)));
    }
    let name = args.name.as_deref().map(settings::name).transpose().map_err(Error::usage)?;
    if name.is_some() && mapped.len() != 1 {
        return Err(Error::usage("--name is the name of one applicant").advise("give --write once for each applicant"));
    }
    let text = Site::text_of(&path)?.unwrap_or_default();
    let there = everywhere(set)?;
    let new = not_mapped_yet(&mapped, name.as_ref(), &there, &path)?;
    let comments = comments(unmapped, &mapped, &there, &text);
    let values: BTreeMap<&str, String> = new.iter().map(|m| (m.applicant.as_str(), value(m))).collect();
    let lines = values.iter().map(|(from, value)| format!("{} = {value}", quoted_toml(from)));
    let lines: Vec<String> = lines.chain(comments.iter().cloned()).collect();
    if lines.is_empty() {
        return Ok(Addition { new, lines, text });
    }
    let advice = "write these lines below [applicants] by hand: airpouch applicants prints them";
    let refused = |what: String| Error::usage(what).at(&path).advise(advice);
    let added = values.iter().map(|(from, value)| (*from, value.as_str())).collect();
    let text = edit::with_mappings(&text, &added, &comments)
        .map_err(|what| refused(format!("nothing was written: {}", harmless(&what))))?;
    // Import has to understand it, or nothing is replaced.
    let read = everywhere(&settings::of_text(&text, site)?)?;
    let is_read = |m: &MappedApplicant| {
        let read = read.get(&ApplicantId::of(&m.applicant));
        read.is_some_and(|read| read.to.to_string() == m.user && read.name == m.name)
    };
    if !new.iter().all(is_read) {
        return Err(refused("nothing was written: the mappings cannot be added to this file".to_owned()));
    }
    Ok(Addition { new, lines, text })
}

/// The value of an applicant's line.
fn value(mapped: &MappedApplicant) -> String {
    let to = quoted_toml(&mapped.user);
    match &mapped.name {
        Some(name) => format!("{{ to = {to}, name = {} }}", quoted_toml(name)),
        None => to,
    }
}

/// The mappings that the file does not have.
fn not_mapped_yet(
    mapped: &BTreeMap<ApplicantId, UserId>,
    name: Option<&String>,
    there: &BTreeMap<ApplicantId, Mapping>,
    path: &Path,
) -> Result<Vec<MappedApplicant>> {
    let mut new = Vec::new();
    for (from, to) in mapped {
        let already = |what: String| {
            Error::usage(format!("{} {what} already", harmless(from.as_str())))
                .at(path)
                .advise("change that line by hand")
        };
        match there.get(from) {
            Some(there) if there.to != *to => return Err(already(format!("is mapped to {}", there.to))),
            Some(there) if name.is_some_and(|name| there.name.as_ref() != Some(name)) => {
                let called = there
                    .name
                    .as_deref()
                    .map_or_else(|| "without a name".to_owned(), |n| format!("as {}", harmless(n)));
                return Err(already(format!("is mapped, {called},")));
            }
            Some(_) => {}
            None => {
                let (applicant, user) = (from.as_str().to_owned(), to.to_string());
                new.push(MappedApplicant { applicant, user, name: name.cloned() });
            }
        }
    }
    Ok(new)
}

/// A line for each applicant that waits and is mapped neither here nor there, unless the file has it.
fn comments(
    unmapped: &[Unmapped],
    mapped: &BTreeMap<ApplicantId, UserId>,
    there: &BTreeMap<ApplicantId, Mapping>,
    text: &str,
) -> Vec<String> {
    let mut lines = Vec::new();
    for (id, envelopes) in unmapped.iter().filter_map(|u| Some((u.id.as_ref()?, u.envelopes))) {
        let key = ApplicantId::of(id);
        let is_mapped = mapped.contains_key(&key) || there.contains_key(&key);
        let line = to_map(id);
        if !is_mapped && !text.contains(&line) {
            lines.push(format!("{line} \"ID OF THE USER HERE\"    # {}", count(envelopes, "envelope")));
        }
    }
    lines
}
