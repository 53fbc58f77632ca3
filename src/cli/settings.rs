//! What `airpouch.toml` sets, and what verbs make of the values of their arguments.

mod mapped;
mod value;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use airpouch::applicants::{Applicants, AppliesTo, Mapping, UserId};
use airpouch::clock;
use airpouch::destination::Destination;
use airpouch::envelope::ConnectorId;
use airpouch::error::{Error, Result};
use airpouch::ledger::exporter::ExporterView;
use airpouch::site::Site;
use airpouch::stream::is_zone;
use airpouch::text::{harmless, parse_duration, parse_size};
use serde::Deserialize;
use time::OffsetDateTime;

use super::mapping;
use mapped::MapsTo;
pub use mapped::name;
use value::{Address, Amount, AsWords, OneOrMore};

/// Seconds after which a connector that came every day is reported: a weekend is no silence.
const QUIET_AFTER: u64 = 3 * 86_400;

/// The zone where none is named.
const DEFAULT_ZONE: &str = "default";

/// Makes `Settings` of the keys that are options too, each with what its value is.
macro_rules! settings {
    ($($key:ident: $kind:ty,)*) => {
        /// `airpouch.toml`: the long options with `_`, and where things are. Each key may be absent. A verb takes what is
        /// said here as the defaults of its arguments ([`super::command_line`]); only the tables are for it to read.
        #[derive(Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct Settings {
            $($key: Option<$kind>,)*
            /// Connectors that have another id here, from the id there.
            #[serde(default)]
            connectors: BTreeMap<String, String>,
            /// The user for each applicant; below the id of a stream or the fingerprint of a key, for the batches of that
            /// stream or key alone.
            #[serde(default)]
            applicants: BTreeMap<String, MapsTo>,
        }

        /// The keys that are options.
        pub const OPTIONS: &[&str] = &[$(stringify!($key)),*];

        impl Settings {
            /// The options that are set, with their values as they would be typed. Paths count from where the file lies,
            /// not from where cron happens to run.
            pub fn options(&self, site: &Site) -> BTreeMap<&'static str, Vec<OsString>> {
                let all = [$((stringify!($key), self.$key.as_ref().map(|value| value.words(site.root())))),*];
                all.into_iter().filter_map(|(key, words)| Some((key, words?))).collect()
            }
        }
    };
}

settings! {
    source: PathBuf,
    medium: PathBuf,
    to: Address,
    zone: String,
    key: OneOrMore,
    passphrase_file: PathBuf,
    volume_size: Amount,
    max_batch: Amount,
    heartbeat: bool,
    promise: String,
    recursive: bool,
    threads: usize,
    require_mount: bool,
    diode: bool,
    overlap: u32,
    no_overlap: bool,
    trust: PathBuf,
    policy: PathBuf,
    on_gap: String,
    unmapped: String,
    keep: String,
    quiet_after: String,
    set_aside_quota: Amount,
    test_keys: bool,
    token_file: PathBuf,
    amqp_password_file: PathBuf,
    ca_file: PathBuf,
    amqp_host: String,
    amqp_port: u16,
    amqp_vhost: String,
    amqp_user: String,
    amqp_tls: bool,
    queue_prefix: String,
    queue_type: String,
    queue_limit: u32,
    max_message_size: Amount,
    patience: String,
    wait: String,
    plaintext: bool,
    works: String,
    works_day_range: u32,
    proxy: String,
}

/// A variable of the environment. An empty one is as one that is not set: compose files hand on what nobody has set.
pub fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// The site that was named, or the usual one.
pub fn site(named: Option<&Path>) -> Result<Site> {
    if let Some(path) = named {
        return Ok(Site::new(path.to_owned()));
    }
    if let Some(state) = variable("XDG_STATE_HOME") {
        return Ok(Site::new(PathBuf::from(state).join("airpouch")));
    }
    if rustix::process::geteuid().is_root() {
        return Ok(Site::new("/var/lib/airpouch".into()));
    }
    match variable("HOME") {
        Some(home) => Ok(Site::new(PathBuf::from(home).join(".local/state/airpouch"))),
        None => Err(Error::usage("there is no home directory for a site").advise("name one with --site DIR")),
    }
}

/// Whether this is the name of a setting.
fn is_setting(key: &str) -> bool {
    OPTIONS.contains(&key) || ["applicants", "connectors"].contains(&key)
}

/// The site's `airpouch.toml`; nothing set if it is not there.
pub fn load(site: &Site) -> Result<Settings> {
    match Site::text_of(&site.settings())? {
        Some(text) => of_text(&text, site),
        None => Ok(Settings::default()),
    }
}

/// The policy that the environment or the site's `airpouch.toml` names, for a verb without that option.
pub fn policy(site: &Site) -> Result<Option<PathBuf>> {
    if let Some(named) = variable("AIRPOUCH_POLICY") {
        return Ok(Some(named.into()));
    }
    Ok(load(site)?.policy.map(|path| site.root().join(path)))
}

/// How long the site's `airpouch.toml` lets a run wait for another one, for verbs that read nothing else of it.
pub fn wait(site: &Site) -> Result<Option<Duration>> {
    let Some(time) = load(site)?.wait else { return Ok(None) };
    duration(&time).map(|seconds| Some(Duration::from_secs(seconds))).map_err(|error| error.at(&site.settings()))
}

/// A setting in a table of ids, where the text is TOML but sets nothing that makes sense.
fn fallen_setting(text: &str) -> Option<String> {
    let whole: toml::Table = toml::from_str(text).ok()?;
    let tables = ["applicants", "connectors"].into_iter().filter_map(|name| whole.get(name)?.as_table());
    tables.flat_map(toml::Table::keys).find(|key| is_setting(key)).cloned()
}

/// What this text sets, as the site's `airpouch.toml`.
pub fn of_text(text: &str, site: &Site) -> Result<Settings> {
    let path = site.settings();
    let parsed: std::result::Result<Settings, toml::de::Error> = toml::from_str(text);
    let fallen = |key: &str| {
        Error::usage(format!("{key} is below [applicants] or [connectors], where only ids belong"))
            .at(&path)
            .advise("write it above the first line in [brackets]")
    };
    let mut set = parsed.map_err(|e| {
        if let Some(key) = fallen_setting(text) {
            return fallen(&key);
        }
        let what = e.message().replace('\n', " ");
        let line = e.span().map_or(0, |s| text[..s.start.min(text.len())].matches('\n').count() + 1);
        Error::usage(format!("line {line}: {what}"))
            .at(&path)
            .advise("its keys are the long options with _ for -, source, medium, to, [applicants] and [connectors]")
    })?;
    // TOML lets a table go on to the next one: what is appended to the file falls into its last table.
    if let Some(key) = set.applicants.keys().chain(set.connectors.keys()).find(|key| is_setting(key)) {
        return Err(fallen(key));
    }
    for (key, to) in &set.applicants {
        to.check(key).map_err(|error| error.at(&path))?;
    }
    let mut here: Vec<&String> = set.connectors.values().collect();
    here.sort_unstable();
    if let Some(twice) = here.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Error::usage(format!("two connectors get the id {} here, below [connectors]", harmless(twice[0])))
            .at(&path)
            .advise("give each an id of its own: the later one would take the earlier one's name and queue"));
    }
    if set.no_overlap == Some(true) {
        // So that only a number that is typed, or in the environment, goes over it.
        set.overlap = None;
    }
    Ok(set)
}

impl Settings {
    /// What applies to applicants that are not mapped, for a verb without that option.
    pub fn unmapped(&self) -> Option<&str> {
        self.unmapped.as_deref()
    }
}

/// The connectors that have another id here.
pub fn connectors(settings: &Settings) -> Result<BTreeMap<String, ConnectorId>> {
    let here = |id: &String| {
        ConnectorId::parse(id).ok_or_else(|| {
            Error::usage(format!("invalid connector id {:?}", harmless(id)))
                .advise("[connectors] in airpouch.toml gives \"ID THERE\" = \"ID HERE\", such as a new UUID")
        })
    };
    settings.connectors.iter().map(|(there, id)| Ok((there.clone(), here(id)?))).collect()
}

/// The user for applicants that are not mapped.
pub fn default_user(unmapped: Option<&str>) -> Result<Option<UserId>> {
    match unmapped {
        None | Some("hold") => Ok(None),
        Some(rule) => {
            let id = rule.strip_prefix("default=").ok_or_else(|| {
                Error::usage(format!("invalid rule for unmapped applicants {:?}", harmless(rule)))
                    .advise("--unmapped hold, or --unmapped default=ID")
            })?;
            mapping::user(id).map(Some)
        }
    }
}

/// Whose envelopes go in whose name: what is set, and over it what was named as `FROM=TO`.
pub fn applicants(named: &[String], unmapped: Option<&str>, settings: &Settings, site: &Site) -> Result<Applicants> {
    let mut applicants = Applicants::with_default(default_user(unmapped)?);
    let twice = |from: &str| Error::usage(format!("the applicant {} is mapped to two users", harmless(from)));
    for Mapping { applies_to, from, to, .. } in settings.mappings()? {
        let before = applicants.map(applies_to, &from, to);
        if before.is_some_and(|before| before != to) {
            return Err(twice(&from).at(&site.settings()).advise("leave one of its lines there; case does not count"));
        }
    }
    let mut here = Applicants::default();
    for text in named {
        for (from, to) in mapping::parse(text)? {
            if here.map(AppliesTo::All, &from, to).is_some_and(|before| before != to) {
                return Err(twice(&from).advise("give --applicant once for each"));
            }
            applicants.map(AppliesTo::All, &from, to);
        }
    }
    Ok(applicants)
}

/// The destination, which has to be given.
pub fn destination(to: Option<&String>) -> Result<Destination> {
    let to = to.ok_or_else(|| {
        Error::usage("no destination given")
            .advise("--to opencti+https://HOST, amqps://HOST, spool:PATH or dir:PATH; or `to = \"…\"` in airpouch.toml")
    })?;
    Destination::parse(to)
}

/// The zone to use: as given, else the usual one.
pub fn zone(given: Option<&str>) -> Result<String> {
    let zone = given.unwrap_or(DEFAULT_ZONE);
    check_zone(zone)?;
    Ok(zone.to_owned())
}

/// Refuses what cannot be a zone.
pub fn check_zone(zone: &str) -> Result<()> {
    if is_zone(zone) {
        return Ok(());
    }
    Err(Error::usage(format!("invalid zone {:?}", harmless(zone))).advise("a zone has 1 to 64 of a-z, 0-9 and -"))
}

/// The zone of a site that has streams already: its only one, unless one is given. One that has no stream there is
/// mistyped, unless `new` says that it is meant.
pub fn exporter_zone(given: Option<&str>, ledger: &ExporterView, new: bool) -> Result<String> {
    let mut zones: Vec<String> = ledger.streams()?.into_iter().filter(|s| s.active).map(|s| s.zone).collect();
    if given.is_some() {
        let zone = zone(given)?;
        if new || zones.is_empty() || zones.contains(&zone) {
            return Ok(zone);
        }
        let what = format!("this site has no stream for zone {zone}; it packs for {}", zones.join(", "));
        return Err(Error::usage(what).advise("correct the zone; to begin a stream for it: airpouch pack --new-zone"));
    }
    match zones.len() {
        0 => zone(None),
        1 => Ok(zones.remove(0)),
        _ => Err(Error::usage(format!("this site packs for several zones: {}", zones.join(", ")))
            .advise("name one with --zone NAME")),
    }
}

/// Processors to use: as given, else all.
pub fn threads(given: Option<usize>) -> Result<usize> {
    match given {
        Some(0) => Err(Error::usage("invalid value 0 for --threads").advise("give 1 or more")),
        Some(n) => Ok(n.min(256)),
        None => Ok(std::thread::available_parallelism().map_or(1, usize::from)),
    }
}

/// Bytes, as people write them; else what is usual.
pub fn bytes(given: Option<&str>, usual: u64) -> Result<u64> {
    given.map_or(Ok(usual), |text| parse_size(text).map_err(Error::usage))
}

/// Seconds, as people write them.
pub fn duration(text: &str) -> Result<u64> {
    parse_duration(text).map_err(Error::usage)
}

/// After how many seconds a connector that came every day is reported; 0: never.
pub fn quiet_after(given: Option<&str>) -> Result<u64> {
    match given {
        None => Ok(QUIET_AFTER),
        Some("off") => Ok(0),
        Some(text) => duration(text),
    }
}

/// The time for records, RFC 3339 in whole seconds; `SOURCE_DATE_EPOCH` goes over the clock.
pub fn timestamp() -> Result<String> {
    let seconds = match variable("SOURCE_DATE_EPOCH") {
        Some(text) => text
            .to_str()
            .and_then(|text| text.parse::<i64>().ok())
            .ok_or_else(|| Error::usage("SOURCE_DATE_EPOCH is no number of seconds"))?,
        None => clock::now().0,
    };
    rfc3339(seconds).ok_or_else(|| Error::usage("SOURCE_DATE_EPOCH is outside the years 1 to 9999"))
}

fn rfc3339(seconds: i64) -> Option<String> {
    let at = OffsetDateTime::from_unix_timestamp(seconds).ok().filter(|t| (1..=9999).contains(&t.year()))?;
    let (month, day) = (u8::from(at.month()), at.day());
    Some(format!("{:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", at.year(), at.hour(), at.minute(), at.second()))
}

#[cfg(test)]
mod documented;
