//! check: looks at the destination before anything is sent there, and changes nothing on it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::applicants::Applicants;
use crate::broker::Broker;
use crate::code::{Code, Severity};
use crate::destination::{Destination, Reach, TakeOver, WorkPer};
use crate::envelope::{Connector, ConnectorId, Scope};
use crate::error::{Error, Result};
use crate::fit::Unfit;
use crate::gate::{collision, login};
use crate::ledger::importer::ImporterView;
use crate::opencti::api::Registered;
use crate::opencti::broker::{BrokerAddress, Topology, push_exchange};
use crate::platform::Platform;
use crate::report::{CheckReport, Fact, Finding, Observer};
use crate::sink::registration;
use crate::text::{count, harmless};

/// What a check looks at.
pub struct CheckOptions {
    /// The destination.
    pub to: Destination,
    /// How it is reached.
    pub reach: Reach,
    /// Connectors that have another id here, from the id there.
    pub connectors: BTreeMap<String, ConnectorId>,
    /// In whose name.
    pub applicants: Applicants,
}

/// Checks a destination. `ledger` is the importer's, if there is one yet: it knows connectors and applicants. The report
/// holds what was seen, also if the check stops.
///
/// # Errors
/// The destination cannot be reached or used at all.
pub fn check(
    ledger: Option<&ImporterView>,
    options: &CheckOptions,
    observer: &dyn Observer,
    report: &mut CheckReport,
) -> Result<()> {
    let looked = look(ledger, options, observer, report);
    // Nothing is held here, and nothing is sent: it is what an import would stop at.
    for finding in report.findings.iter_mut().filter(|f| f.severity == Severity::Incomplete) {
        finding.label = "not ready";
    }
    looked
}

fn look(
    ledger: Option<&ImporterView>,
    options: &CheckOptions,
    observer: &dyn Observer,
    report: &mut CheckReport,
) -> Result<()> {
    let came = Came::of(ledger, options)?;
    fact(report, "destination", options.to.to_string());
    report.findings.extend(other_destination(ledger, &options.to)?);
    match &options.to {
        Destination::Directory(path) | Destination::Spool(path) => directory(path, report)?,
        Destination::Broker(address) => {
            let address = options.reach.overrides.over(address);
            let mut broker = broker(&address, None, options, observer, report)?;
            exchange(&mut broker, &push_exchange(&options.reach.queue_prefix), report)?;
            queues(&mut broker, &came, options, report)?;
        }
        Destination::Platform(address) => {
            let platform = Platform::open(address, &options.reach, observer)?;
            introduce(&platform, options, report);
            connectors(&platform, &came, ledger, options, report)?;
            match platform.broker_of_any()? {
                Some(told) => broker_of(&told, options, observer, report)?,
                None => fact(report, "broker", not_told(&platform).to_owned()),
            }
            fact(
                report,
                "worker",
                "not checked. Its user needs BYPASS, otherwise everything is created as that user".to_owned(),
            );
        }
    }
    applicants(&came, options, report);
    Ok(())
}

/// What came here so far.
struct Came {
    connectors: Vec<Connector>,
    /// Applicants for whom there is no user here.
    unmapped: BTreeMap<Option<String>, u64>,
}

impl Came {
    /// Of all batches in the ledger; the newest definition of each connector.
    fn of(ledger: Option<&ImporterView>, options: &CheckOptions) -> Result<Self> {
        let Some(ledger) = ledger else { return Ok(Self { connectors: Vec::new(), unmapped: BTreeMap::new() }) };
        let mut connectors = BTreeMap::new();
        for stream in ledger.incoming_streams()? {
            for came in ledger.came_connectors(stream)? {
                // What came was held against the format.
                let Some(there) = ConnectorId::parse(&came.id) else { continue };
                let id = options.connectors.get(&came.id).cloned().unwrap_or(there);
                let (name, kind, scope) = (came.name, came.kind, Scope::None);
                let connector = Connector { id, name, kind, scope, auto: None, validate_before_import: None };
                connectors.insert(connector.id.clone(), connector);
            }
        }
        let mut unmapped = ledger.came_applicants()?;
        unmapped.retain(|id, _| !options.applicants.knows(id.as_deref()));
        Ok(Self { connectors: connectors.into_values().collect(), unmapped })
    }
}

/// A site delivers to one destination: import stops before another one, until it is told what that means.
fn other_destination(ledger: Option<&ImporterView>, to: &Destination) -> Result<Option<Finding>> {
    let Some(known) = ledger.map_or(Ok(None), ImporterView::destination)? else { return Ok(None) };
    if known.is(to) {
        return Ok(None);
    }
    let known = Destination::shown(&known.kind, &known.address);
    let what = format!("this site delivers to {known}; import would stop before it delivers to {to}");
    Ok(Some(Finding::new(Code::OtherDestination, what).advise(
        "another platform: `airpouch import --new-destination`; the same one elsewhere: `airpouch import --same-destination`",
    )))
}

fn directory(path: &Path, report: &mut CheckReport) -> Result<()> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let is = if path.is_dir() {
        "is there"
    } else if path.exists() {
        return Err(Error::failed("this is no directory").at(path).advise("name a directory, or one that can be made"));
    } else if parent.is_dir() {
        "will be made"
    } else {
        return Err(Error::failed("there is no directory to make it in").at(parent).advise("make that one first"));
    };
    fact(report, "directory", is.to_owned());
    Ok(())
}

fn fact(report: &mut CheckReport, about: &'static str, is: String) {
    report.facts.push(Fact { about, is });
}

fn introduce(platform: &Platform<'_>, options: &CheckOptions, report: &mut CheckReport) {
    let version = platform.version();
    fact(report, "platform", format!("OpenCTI {version}"));
    let left_out = version.left_out();
    if !left_out.is_empty() {
        fact(report, "left out", left_out.join("; "));
    }
    let Some(me) = platform.me() else {
        return fact(report, "user", "the platform does not say whose token this is".to_owned());
    };
    fact(report, "user", format!("{} ({})", harmless(&me.name), harmless(&me.id)));
    for (capability, what_for) in me.lacks(version.knows_drafts()) {
        let what = format!("the token's user lacks {capability}, {what_for}");
        let stops = capability == "KNOWLEDGE_KNASKIMPORT" && options.reach.work_per != WorkPer::None;
        let (severity, or) =
            if stops { (Severity::Incomplete, "; or import with --works none") } else { (Severity::Warning, "") };
        let advice = format!("put that user into the group Connectors, or give it the role Connector{or}");
        report.findings.push(Finding::new(Code::Capability, what).weighing(severity).advise(advice));
    }
}

/// Connectors that came, and that the platform has already.
fn connectors(
    platform: &Platform<'_>,
    came: &Came,
    ledger: Option<&ImporterView>,
    options: &CheckOptions,
    report: &mut CheckReport,
) -> Result<()> {
    let known = ledger.map_or(Ok(None), ImporterView::destination)?.filter(|row| row.is(&options.to));
    let ours = match (ledger, known) {
        (Some(ledger), Some(row)) => ledger.registered(row.id)?,
        _ => BTreeSet::new(),
    };
    let imported = match came.connectors.len() as u64 {
        0 => "none imported so far".to_owned(),
        number => format!("{} imported so far", count(number, "connector")),
    };
    fact(report, "connectors", imported);
    let is_taken_over = |id: &str| match &options.reach.take_over {
        TakeOver::Nothing => false,
        TakeOver::Shown => true,
        TakeOver::These(ids) => ids.contains(id),
    };
    let asked = |connector: &&Connector| !is_taken_over(connector.id.as_str()) && !ours.contains(connector.id.as_str());
    for connector in came.connectors.iter().filter(asked) {
        if let Some(Unfit::Hold { code, what, .. }) = collision(platform, &registration(connector))? {
            let finding = Finding::new(code, what).at(connector.id.as_str());
            report.findings.push(finding.advise(code.advice_with_places().unwrap_or_default()));
        }
    }
    Ok(())
}

/// Why the platform does not say where the broker is.
fn not_told(platform: &Platform<'_>) -> &'static str {
    match platform.me() {
        Some(me) if !me.may("MODULES") => "not checked: the token's user may not see connectors (MODULES)",
        _ => "not checked: the platform reports where it is when the first connector is registered",
    }
}

fn broker_of(
    told: &Registered,
    options: &CheckOptions,
    observer: &dyn Observer,
    report: &mut CheckReport,
) -> Result<()> {
    let address = options.reach.overrides.over(&told.broker);
    let mut broker = broker(&address, Some(&told.password), options, observer, report)?;
    exchange(&mut broker, &told.route.exchange, report)
}

fn broker<'a>(
    address: &BrokerAddress,
    told: Option<&str>,
    options: &CheckOptions,
    observer: &'a dyn Observer,
    report: &mut CheckReport,
) -> Result<Broker<'a>> {
    let broker = Broker::connect(login(&options.reach, address, told)?, options.reach.patience, observer)?;
    let user = address.user.as_deref().unwrap_or("guest");
    fact(report, "broker", format!("login to {address} as {} works", harmless(user)));
    Ok(broker)
}

fn exchange(broker: &mut Broker<'_>, exchange: &str, report: &mut CheckReport) -> Result<()> {
    match broker.accepts(exchange)? {
        true => fact(report, "exchange", format!("{exchange} is writable")),
        false => {
            let what = format!("the broker has no exchange {exchange}, so no OpenCTI uses it yet");
            let advice = "is that the platform's broker, virtual host and --queue-prefix?";
            report.findings.push(Finding::new(Code::NoExchange, what).advise(advice));
        }
    }
    Ok(())
}

/// Where no platform is asked, the queues themselves show which connectors it knows.
fn queues(broker: &mut Broker<'_>, came: &Came, options: &CheckOptions, report: &mut CheckReport) -> Result<()> {
    for connector in &came.connectors {
        let topology = Topology::of(registration(connector), &options.reach.queue_prefix);
        let queue = topology.push.queue;
        match broker.waiting(&queue)? {
            Ok(Some(waiting)) => {
                fact(report, "queue", format!("{queue}: {} wait", count(u64::from(waiting), "message")));
            }
            Err(words) => {
                let finding = Finding::new(Code::QueueRefused, words).at(queue);
                report.findings.push(finding.advise("look at the permissions of the broker's user"));
            }
            Ok(None) => {
                let what = format!(
                    "there is no queue {queue}; it will be made, and workers read only those of registered connectors"
                );
                let advice = "register the connector there, or deliver through the platform: opencti+https://HOST";
                report.findings.push(Finding::new(Code::NoQueue, what).advise(advice));
            }
        }
    }
    Ok(())
}

fn applicants(came: &Came, options: &CheckOptions, report: &mut CheckReport) {
    for (id, envelopes) in &came.unmapped {
        let who =
            id.as_deref().map_or_else(|| "no applicant at all".to_owned(), |id| format!("applicant {}", harmless(id)));
        let what = format!("{who} is not mapped ({} named it)", count(*envelopes, "envelope"));
        let finding = Finding::new(Code::Applicant, what);
        report.findings.push(finding.advise("airpouch applicants lists the lines for airpouch.toml"));
    }
    let users: Vec<String> = options.applicants.users().iter().map(ToString::to_string).collect();
    if !users.is_empty() {
        let is = format!("envelopes go in the names of {}; compare with the users over there", users.join(", "));
        fact(report, "applicants", is);
    }
}
