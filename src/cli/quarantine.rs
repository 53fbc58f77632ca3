use std::path::PathBuf;

use airpouch::clock;
use airpouch::code::Code;
use airpouch::error::{Error, Result};
use airpouch::journal;
use airpouch::ledger::importer::{ImporterView, RulesOfRun};
use airpouch::policy::RecordRules;
use airpouch::quarantine::{self, AskedAside, AskedToDecide, SecondName, Signing};
use airpouch::random;
use airpouch::report::{ExitStatus, QuarantineReport};
use airpouch::site::Site;
use airpouch::text::harmless;
use airpouch::trust::TrustStore;

use super::output::Output;
use super::record::Demanded;
use super::{keys, record, settings};

/// List what is held or quarantined, and decide about it
#[derive(clap::Args, Debug)]
#[command(
    args_override_self = true,
    after_help = "Example:\n  airpouch quarantine list\n  airpouch quarantine show 812302a6\n  airpouch quarantine release 812302a6 --reason \"checked with the feed's owner\"\n  airpouch quarantine unrelease 812302a6 --reason \"the owner called back\"\n  airpouch quarantine reject 3603596b --reason \"a command nobody asked for\" --remove-copy\n  airpouch quarantine unreject 3603596b --reason \"it was asked for after all\""
)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand, Debug)]
enum Verb {
    /// List what was quarantined, and what is held
    ///
    /// Up to 20 envelopes are listed one by one. More are counted by kind, reason and connector. What was delivered or
    /// rejected is listed only with --released or --rejected.
    List(List),
    /// Show all that is known of one envelope
    Show(Show),
    /// Let the next import deliver envelopes, in spite of the reason
    Release(Release),
    /// Take back releases of what is not delivered yet
    Unrelease(Unrelease),
    /// Decide that envelopes are never delivered
    Reject(Reject),
    /// Take back rejections
    Unreject(Unreject),
}

#[derive(clap::Args, Debug)]
struct Common {
    /// The importer's site
    #[arg(long, value_name = "DIR", env = "AIRPOUCH_SITE")]
    site: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args, Debug)]
#[command(
    after_help = "Example:\n  airpouch quarantine list\n  airpouch quarantine list --held --connector \"Example Feed\" --older-than 7d\n  airpouch quarantine list --released                  what was let through, by whom and why"
)]
struct List {
    /// What is held
    #[arg(long)]
    held: bool,
    /// What is quarantined
    #[arg(long)]
    quarantined: bool,
    /// What a person released, delivered or not
    #[arg(long)]
    released: bool,
    /// What a person rejected
    #[arg(long)]
    rejected: bool,
    /// Of the connector of this id or name
    #[arg(long, value_name = "ID|NAME")]
    connector: Option<String>,
    /// Set aside for this reason, such as command or applicant
    #[arg(long, value_name = "CODE")]
    code: Option<String>,
    /// Set aside longer ago than this, such as 7d
    #[arg(long, value_name = "TIME")]
    older_than: Option<String>,
    /// List envelopes one by one, however many there are
    #[arg(long)]
    all: bool,
    /// Only count them, however few there are
    #[arg(long, conflicts_with = "all")]
    groups: bool,
    #[command(flatten)]
    common: Common,
}

#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  airpouch quarantine show 812302a6")]
struct Show {
    /// The envelope's digest, or enough of its beginning to be the only one
    sha256: String,
    #[command(flatten)]
    common: Common,
}

#[derive(clap::Args, Debug)]
struct Decide {
    /// The envelopes' digests, or enough of each one's beginning to be the only one
    #[arg(required = true)]
    sha256: Vec<String>,
    /// Why, for the ledger
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    record: record::Args,
}

#[derive(clap::Args, Debug)]
#[command(
    after_help = "Example:\n  airpouch quarantine release 812302a6 --reason \"checked with the feed's owner\"\n  airpouch quarantine release 812302a6 3603596b --reason \"both seen\" --operator Ada --second Bob\n  airpouch quarantine release 812302a6 --reason \"both seen\" --key ada.key.pem          where officers sign"
)]
struct Release {
    /// The envelopes' digests, or enough of each one's beginning to be the only one
    #[arg(required = true)]
    sha256: Vec<String>,
    /// Why, for the ledger; with --key the reason that was signed first, if it is left out
    #[arg(long, value_name = "TEXT", required_unless_present = "key")]
    reason: Option<String>,
    /// The private key of an officer who signs it; signatures in policy.toml says how many must
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// A file with the passphrase of that key
    #[arg(long, value_name = "FILE", requires = "key")]
    passphrase_file: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    record: record::Args,
    /// A second person who agrees; second in policy.toml says which releases need one
    #[arg(long, value_name = "NAME", help_heading = "For the journal")]
    second: Option<String>,
}

#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  airpouch quarantine unrelease 812302a6 --reason \"the owner called back\"")]
struct Unrelease {
    #[command(flatten)]
    decide: Decide,
}

#[derive(clap::Args, Debug)]
#[command(
    after_help = "Example:\n  airpouch quarantine reject 3603596b --reason \"a command nobody asked for\" --remove-copy"
)]
struct Reject {
    #[command(flatten)]
    decide: Decide,
    /// Remove its copy from held/ or quarantine/ too; the ledger keeps digest, name, connector and reason
    #[arg(long)]
    remove_copy: bool,
}

#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  airpouch quarantine unreject 3603596b --reason \"it was asked for after all\"")]
struct Unreject {
    #[command(flatten)]
    decide: Decide,
}

/// As many are listed one by one.
const FEW: u64 = 20;

impl Args {
    pub fn json(&self) -> bool {
        match &self.verb {
            Verb::List(args) => args.common.json,
            Verb::Show(args) => args.common.json,
            Verb::Release(args) => args.common.json,
            Verb::Unrelease(args) => args.decide.common.json,
            Verb::Reject(args) => args.decide.common.json,
            Verb::Unreject(args) => args.decide.common.json,
        }
    }
}

pub fn run(args: &Args, output: &Output) -> Result<ExitStatus> {
    match &args.verb {
        Verb::List(args) => list(args, output),
        Verb::Show(args) => show(args, output),
        Verb::Release(args) => release(args, output),
        Verb::Unrelease(args) => unrelease(&args.decide, output),
        Verb::Reject(args) => reject(args, output),
        Verb::Unreject(args) => unreject(&args.decide, output),
    }
}

fn list(args: &List, output: &Output) -> Result<ExitStatus> {
    let now = clock::now().0;
    let asked = asked(args, now)?;
    let site = settings::site(args.common.site.as_deref())?;
    output.is_in(&site);
    let ledger = ImporterView::look(&site)?;
    let groups = quarantine::groups(&ledger, &asked, now)?;
    let number: u64 = groups.iter().map(|group| group.envelopes).sum();
    let mut report = QuarantineReport { groups, is_narrowed: asked.is_narrowed(), ..QuarantineReport::default() };
    let is_counted = args.groups || (!args.all && !args.common.json && number > FEW);
    if is_counted || number == 0 {
        return Ok(output.show(&report));
    }
    quarantine::each(&ledger, &asked, now, |one| {
        // One by one, for there may be more than fits into memory; the document is asked for as a whole.
        match args.common.json {
            true => report.set_aside.push(one),
            false => output.print_report(&one, true),
        }
        Ok(())
    })?;
    Ok(output.close(&report, Ok(())))
}

fn asked(args: &List, now: i64) -> Result<AskedAside> {
    let code = args.code.as_deref().map(|word| {
        let known = Code::parse(word).filter(|code| code.advice_with_places().is_some());
        known.ok_or_else(|| {
            Error::usage(format!("no envelope is set aside for {:?}", harmless(word)))
                .advise("--code takes the word behind held or quarantined, such as command or applicant")
        })
    });
    let age = args.older_than.as_deref().map(settings::duration).transpose()?;
    Ok(AskedAside {
        held: args.held,
        quarantined: args.quarantined,
        released: args.released,
        rejected: args.rejected,
        connector: args.connector.clone(),
        code: code.transpose()?,
        before: age.map(|age| now.saturating_sub(i64::try_from(age).unwrap_or(i64::MAX))),
    })
}

fn show(args: &Show, output: &Output) -> Result<ExitStatus> {
    let site = settings::site(args.common.site.as_deref())?;
    output.is_in(&site);
    let ledger = ImporterView::look(&site)?;
    Ok(output.show(&quarantine::show(&site, &ledger, &args.sha256, clock::now().0)?))
}

fn release(args: &Release, output: &Output) -> Result<ExitStatus> {
    let site = args.common.existing(output)?;
    let reason = match args.reason.as_deref() {
        Some(text) => given_reason(text)?,
        None => String::new(),
    };
    let second = record::bounded("--second", args.second.as_deref())?;
    let key = args.key.as_ref().map(|path| keys::private_key(path, args.passphrase_file.as_deref(), false, output));
    let key = key.transpose()?;
    let asked = AskedToDecide { named: &args.sha256, reason: &reason };
    let released = record::importer_by(&site, &args.record, None, output, |ledger, demanded| {
        let Demanded { actor, rules, policy } = demanded;
        let (operator, rule) = (actor.operator.as_deref(), rules.second);
        let second = SecondName { given: second.as_deref(), operator, user: &actor.user, rule };
        let officers = officers(rules, &site, output)?;
        if key.is_some() && officers.is_none() {
            return Err(Error::usage("the policy demands no signatures; nothing was released")
                .advise("leave --key out, or set signatures below [record] in policy.toml"));
        }
        ledger.note_rules(&RulesOfRun { trust: None, officers: officers.as_ref(), policy })?;
        let (site, number) = (journal::public_key(&site)?.fingerprint(), u64::from_be_bytes(random::bytes()?));
        let signing = Signing { rules, officers: officers.as_ref(), key: key.as_ref(), site, number };
        quarantine::release(ledger, asked, &second, &signing)
    })??;
    Ok(output.show(&released))
}

fn unrelease(args: &Decide, output: &Output) -> Result<ExitStatus> {
    let (site, reason) = args.checked(output)?;
    let asked = AskedToDecide { named: &args.sha256, reason: &reason };
    let unrelease = |ledger: &mut _| quarantine::unrelease(ledger, asked);
    Ok(output.show(&record::importer(&site, &args.record, output, unrelease)??))
}

fn reject(args: &Reject, output: &Output) -> Result<ExitStatus> {
    let (site, reason) = args.decide.checked(output)?;
    let asked = AskedToDecide { named: &args.decide.sha256, reason: &reason };
    let reject = |ledger: &mut _| quarantine::reject(&site, ledger, asked, args.remove_copy);
    Ok(output.show(&record::importer(&site, &args.decide.record, output, reject)??))
}

fn unreject(args: &Decide, output: &Output) -> Result<ExitStatus> {
    let (site, reason) = args.checked(output)?;
    let asked = AskedToDecide { named: &args.sha256, reason: &reason };
    let unreject = |ledger: &mut _| quarantine::unreject(&site, ledger, asked);
    Ok(output.show(&record::importer(&site, &args.record, output, unreject)??))
}

/// The officers who sign releases; none where the policy demands no signatures.
pub fn officers(rules: &RecordRules, site: &Site, output: &Output) -> Result<Option<TrustStore>> {
    if rules.signatures == 0 {
        return Ok(None);
    }
    let dir = rules.officers.clone().unwrap_or_else(|| site.officers());
    keys::trust_store(&dir, false, output).map(Some)
}

fn given_reason(text: &str) -> Result<String> {
    record::bounded("--reason", Some(text))?
        .ok_or_else(|| Error::usage("this needs a reason; the ledger keeps it").advise("--reason TEXT"))
}

impl Decide {
    /// The site, which has to be there, and the reason.
    fn checked(&self, output: &Output) -> Result<(Site, String)> {
        // The reason is wrong whichever site it is for.
        let reason = given_reason(&self.reason)?;
        Ok((self.common.existing(output)?, reason))
    }
}

impl Common {
    /// The site, which has to be there.
    fn existing(&self, output: &Output) -> Result<Site> {
        let site = settings::site(self.site.as_deref())?;
        output.is_in(&site);
        if !site.exists() {
            return Err(Error::failed("no airpouch site here").at(site.root()).advise("name it with --site DIR"));
        }
        Ok(site)
    }
}
