mod edit;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use airpouch::applicants::{ApplicantId, AppliesTo, UserId};
use airpouch::disk;
use airpouch::error::{Error, Result};
use airpouch::ledger::importer::ImporterView;
use airpouch::report::{ApplicantsReport, ExitStatus, Unmapped, to_map};
use airpouch::site::Site;
use airpouch::text::{count, harmless, quoted_toml};

use super::mapping;
use super::output::Output;
use super::settings::{self, Settings};

/// List applicants of the other side that are not mapped
///
/// Prints the [applicants] lines to paste into airpouch.toml, with how many envelopes wait for each. With --write the
/// mappings given by --applicant are put there. They are for all streams; [applicants."STREAM"] and
/// [applicants."FINGERPRINT"] map for one stream or one key alone and are edited by hand.
#[derive(clap::Args, Debug)]
#[command(
    args_override_self = true,
    after_help = "Example:\n  airpouch applicants\n  airpouch applicants --write --applicant 7c9e6679-7425-40de-944b-e07fc1f90ae7=0b2f1a56-6a1d-4c57-9f0e-3f1f3a2c9d10"
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
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

pub fn run(args: &Args, output: &Output) -> Result<ExitStatus> {
    let site = settings::site(args.site.as_deref())?;
    output.is_in(&site);
    let set = settings::load(&site)?;
    let unmapped = ImporterView::look(&site)?.unmapped_applicants()?.into_iter();
    let unmapped: Vec<_> = unmapped.map(|(id, envelopes)| Unmapped { id, envelopes }).collect();
    let written = if args.write { Some(write(args, &site, &set, &unmapped)?) } else { None };
    let pairs: Vec<String> = everywhere(&set)?.iter().map(|(from, to)| format!("{}:{to}", from.as_str())).collect();
    Ok(output.show(&ApplicantsReport {
        unmapped,
        written,
        settings: site.settings().display().to_string(),
        is_narrowed: settings::applicants(&[], set.unmapped(), &set, &site)?.is_narrowed(),
        for_stock_connector: pairs.join(","),
    }))
}

/// What airpouch.toml maps for all streams.
fn everywhere(set: &Settings) -> Result<BTreeMap<ApplicantId, UserId>> {
    let mappings = set.mappings()?.into_iter().filter(|mapping| mapping.applies_to == AppliesTo::All);
    Ok(mappings.map(|mapping| (ApplicantId::of(&mapping.from), mapping.to)).collect())
}

/// Puts into airpouch.toml what it does not have yet; gives the lines that were written.
fn write(args: &Args, site: &Site, set: &Settings, unmapped: &[Unmapped]) -> Result<Vec<String>> {
    let path = site.settings();
    let mut mapped = BTreeMap::new();
    for text in &args.applicant {
        mapped.extend(mapping::parse(text)?.into_iter().map(|(from, to)| (ApplicantId::of(&from), to)));
    }
    let text = Site::text_of(&path)?.unwrap_or_default();
    let there = everywhere(set)?;
    let new = not_mapped_yet(&mapped, &there, &path)?;
    let comments = comments(unmapped, &mapped, &there, &text);
    let lines = new.iter().map(|(from, to)| format!("{} = {}", quoted_toml(from.as_str()), quoted_toml(to)));
    let lines: Vec<String> = lines.chain(comments.iter().cloned()).collect();
    if lines.is_empty() {
        return Ok(lines);
    }
    let advice = "write these lines below [applicants] by hand: airpouch applicants prints them";
    let refused = |what: String| Error::usage(what).at(&path).advise(advice);
    let added = new.iter().map(|(from, to)| (from.as_str(), to.as_str())).collect();
    let text = edit::with_mappings(&text, &added, &comments)
        .map_err(|what| refused(format!("nothing was written: {}", harmless(&what))))?;
    // Import has to understand it, or nothing is replaced.
    let read = everywhere(&settings::of_text(&text, site)?)?;
    if !new.keys().all(|from| read.get(from) == mapped.get(from)) {
        return Err(refused("nothing was written: the mappings cannot be added to this file".to_owned()));
    }
    disk::replace(&path, text.as_bytes())?;
    Ok(lines)
}

/// The mappings that the file does not have.
fn not_mapped_yet(
    mapped: &BTreeMap<ApplicantId, UserId>,
    there: &BTreeMap<ApplicantId, UserId>,
    path: &Path,
) -> Result<BTreeMap<ApplicantId, String>> {
    let mut new = BTreeMap::new();
    for (from, to) in mapped {
        match there.get(from) {
            Some(there) if there == to => {}
            Some(there) => {
                return Err(Error::usage(format!("{} is mapped to {there} already", harmless(from.as_str())))
                    .at(path)
                    .advise("change that line by hand"));
            }
            None => drop(new.insert(from.clone(), to.to_string())),
        }
    }
    Ok(new)
}

/// A line for each applicant that waits and is mapped neither here nor there, unless the file has it.
fn comments(
    unmapped: &[Unmapped],
    mapped: &BTreeMap<ApplicantId, UserId>,
    there: &BTreeMap<ApplicantId, UserId>,
    text: &str,
) -> Vec<String> {
    let mut lines = Vec::new();
    for (id, envelopes) in unmapped.iter().filter_map(|u| Some((u.id.as_ref()?, u.envelopes))) {
        let is_mapped = [mapped, there].iter().any(|map| map.contains_key(&ApplicantId::of(id)));
        let line = to_map(id);
        if !is_mapped && !text.contains(&line) {
            lines.push(format!("{line} \"ID OF THE USER HERE\"    # {}", count(envelopes, "envelope")));
        }
    }
    lines
}
