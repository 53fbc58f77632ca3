//! What was set aside, and what a person released.

use serde::Serialize;

use super::{ExitStatus, NamedConnector, NamedEnvelope, Page, Report};
use crate::code::Code;
use crate::digest::Digest;
use crate::stream::StreamId;
use crate::text::{count, duration, harmless};

/// What `quarantine list` lists.
#[derive(Debug, Default, Serialize)]
pub struct QuarantineReport {
    /// How many there are of each kind, reason and connector.
    pub groups: Vec<AsideGroup>,
    /// The envelopes; none where only the groups are listed.
    pub set_aside: Vec<SetAside>,
    /// Whether only some were asked for.
    #[serde(skip)]
    pub is_narrowed: bool,
}

/// Envelopes of one kind, reason and connector.
#[derive(Debug, Serialize)]
pub struct AsideGroup {
    /// `held`, `quarantined`, `released`, `delivered`, `empty` or `rejected`.
    pub kind: &'static str,
    /// Why they were set aside, in one word.
    pub code: Code,
    /// Their connector.
    pub connector: NamedConnector,
    /// How many.
    pub envelopes: u64,
    /// When the first of them was set aside; none if that is known of none.
    pub oldest: Option<String>,
    /// When the last of them was.
    pub newest: Option<String>,
    /// Whether an older airpouch set some of them aside, and did not keep when.
    pub has_older: bool,
    /// How long ago the first one was, in seconds.
    #[serde(skip)]
    pub age: Option<u64>,
    /// What to do.
    #[serde(rename = "do")]
    pub advice: String,
}

/// One envelope that was set aside, named as in a finding.
#[derive(Debug, Serialize)]
pub struct SetAside {
    /// Its digest.
    pub sha256: Digest,
    /// `held`, `quarantined` or `released`; of one that was settled `delivered`, `empty` or `rejected`.
    pub kind: &'static str,
    /// Why, in one word.
    pub code: Code,
    /// The stream that brought it.
    pub stream: StreamId,
    /// The batch that brought it.
    pub sequence: u64,
    /// Its place in that batch.
    pub envelope: NamedEnvelope,
    /// Its connector.
    pub connector: NamedConnector,
    /// Its applicant on the other side.
    pub applicant: Option<String>,
    /// Where in the envelope: a JSON pointer.
    pub pointer: String,
    /// Whether a copy lies in held/ or quarantine/.
    pub copied: bool,
    /// When it was set aside first; an older airpouch did not keep that.
    pub since: Option<String>,
    /// How long ago that was, in seconds.
    #[serde(skip)]
    pub age: Option<u64>,
    /// When it was delivered, or rejected.
    pub settled_at: Option<String>,
    /// What persons decided about it, the first first.
    pub decisions: Vec<DecisionMade>,
    /// Why.
    pub what: String,
    /// What to do.
    #[serde(rename = "do")]
    pub advice: String,
}

/// A decision about an envelope that was set aside. Names are as they were told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DecisionMade {
    /// `released`, `unreleased`, `rejected` or `unrejected`.
    pub decision: &'static str,
    /// When; an older airpouch left that to the journal.
    pub at: Option<String>,
    /// The user of the operating system.
    pub user: Option<String>,
    /// The person who did it.
    pub operator: Option<String>,
    /// The second person who agreed.
    pub second: Option<String>,
    /// A person who looked on.
    pub witness: Option<String>,
    /// The ticket by which it was done.
    pub ticket: Option<String>,
    /// What else was written down.
    pub note: Option<String>,
    /// Why.
    pub reason: String,
}

impl DecisionMade {
    fn words(&self) -> String {
        let mut line = self.decision.to_owned();
        if let Some(at) = &self.at {
            line += &format!(" {at}");
        }
        let by = self.operator.as_ref().or(self.user.as_ref());
        let people = [("by ", by), ("second ", self.second.as_ref()), ("witness ", self.witness.as_ref())];
        let others = [("ticket ", self.ticket.as_ref()), ("note: ", self.note.as_ref())];
        let told = |(word, text): (&str, Option<&String>)| text.map(|text| format!("{word}{}", harmless(text)));
        let told: Vec<String> = people.into_iter().chain(others).filter_map(told).collect();
        if !told.is_empty() {
            line += &format!(" {}", told.join(", "));
        }
        if self.reason.is_empty() { line } else { format!("{line}: {}", harmless(&self.reason)) }
    }
}

/// How a kind is called where it stands in front of an envelope.
fn title(kind: &str) -> &str {
    match kind {
        "delivered" => "released and delivered",
        "empty" => "released, with nothing to deliver",
        other => other,
    }
}

impl Report for QuarantineReport {
    fn write<'a>(&'a self, page: &mut Page<'a>) {
        self.groups.iter().for_each(|group| group.write(page));
        let number: u64 = self.groups.iter().map(|group| group.envelopes).sum();
        match (self.groups.len(), self.is_narrowed) {
            (0, false) => page.note("nothing is held or quarantined"),
            (0, true) => page.note("there is no such envelope"),
            (groups, _) => page.result(format!(
                "{} in {}; one by one: {}",
                count(number, "envelope"),
                count(groups as u64, "group"),
                if self.is_narrowed { "the same with --all" } else { "airpouch quarantine list --all" }
            )),
        }
    }
}

impl Report for AsideGroup {
    fn write<'a>(&'a self, page: &mut Page<'a>) {
        let envelopes = count(self.envelopes, "envelope");
        let (name, id) = (harmless(&self.connector.name), harmless(&self.connector.id));
        let oldest = match (&self.oldest, self.age) {
            (Some(oldest), Some(age)) => format!(", the oldest set aside {oldest} ({} ago)", duration(age)),
            _ => String::new(),
        };
        let older = if self.has_older { ", some by an older airpouch that did not keep when" } else { "" };
        page.result(format!("{} {}: {envelopes} of {name} ({id}){oldest}{older}", title(self.kind), self.code));
        page.result(format!("         {}", self.advice));
    }
}

impl Report for SetAside {
    fn write<'a>(&'a self, page: &mut Page<'a>) {
        let (name, ordinal, sequence) = (harmless(&self.envelope.name), self.envelope.ordinal, self.sequence);
        let connector = harmless(&self.connector.name);
        page.result(format!("{} {} {}: {}", self.sha256.short(), title(self.kind), self.code, self.what));
        page.result(format!("         {name} of {connector}, envelope {ordinal} of batch {sequence}"));
        if let Some(where_it_is) = self.without_copy() {
            page.result(format!("         {where_it_is}"));
        }
        if let Some(last) = self.decisions.last() {
            page.result(format!("         {}", last.words()));
        }
        if let Some(delivered) = self.delivered() {
            page.result(format!("         {delivered}"));
        }
        page.result(format!("         {}", self.advice));
    }
}

impl SetAside {
    fn without_copy(&self) -> Option<&'static str> {
        match self.kind {
            _ if self.copied => None,
            "delivered" | "empty" => None,
            "rejected" => Some("no copy of it is kept"),
            _ => Some("kept in the inbox alone"),
        }
    }

    fn delivered(&self) -> Option<String> {
        let at = self.settled_at.as_ref()?;
        match self.kind {
            "delivered" => Some(format!("delivered {at}, out of batch {}", self.sequence)),
            "empty" => Some(format!("found to hold nothing to deliver {at}, out of batch {}", self.sequence)),
            _ => None,
        }
    }
}

/// What `quarantine show` shows.
#[derive(Debug, Serialize)]
pub struct ShowAsideReport {
    /// The envelope.
    #[serde(flatten)]
    pub envelope: SetAside,
    /// When the connector wrote it.
    pub written: Option<String>,
    /// The fingerprints of the keys that signed its batch; none where the ledger does not have them.
    pub signers: Vec<Digest>,
    /// Where its copy lies.
    pub copy: Option<String>,
}

impl Report for ShowAsideReport {
    fn write<'a>(&'a self, page: &mut Page<'a>) {
        let of = &self.envelope;
        let (name, id) = (harmless(&of.connector.name), harmless(&of.connector.id));
        page.result(of.sha256.to_string());
        page.result(format!("         {} {}: {}", title(of.kind), of.code, of.what));
        if !of.pointer.is_empty() {
            page.result(format!("         at {}", harmless(&of.pointer)));
        }
        page.result(format!("         file {} of {name} ({id})", harmless(&of.envelope.name)));
        page.result(format!(
            "         envelope {} of batch {} of stream {}",
            of.envelope.ordinal, of.sequence, of.stream
        ));
        for key in &self.signers {
            page.result(format!("         batch signed by key {key}"));
        }
        if let Some(applicant) = &of.applicant {
            page.result(format!("         applicant {}", harmless(applicant)));
        }
        if let Some(written) = &self.written {
            page.result(format!("         written {written}"));
        }
        if let (Some(since), Some(age)) = (&of.since, of.age) {
            page.result(format!("         set aside {since} ({} ago)", duration(age)));
        }
        if let Some(copy) = &self.copy {
            page.result(format!("         copy {}", harmless(copy)));
        }
        if let Some(where_it_is) = of.without_copy() {
            page.result(format!("         {where_it_is}"));
        }
        for decision in &of.decisions {
            page.result(format!("         {}", decision.words()));
        }
        if let Some(delivered) = of.delivered() {
            page.result(format!("         {delivered}"));
        }
        page.result(format!("         {}", of.advice));
    }
}

/// An envelope about which was decided.
#[derive(Debug, Clone, Serialize)]
pub struct Decided {
    /// Its digest.
    pub sha256: Digest,
    /// Why it was set aside, in one word.
    pub code: Code,
    /// The same, all of it.
    pub what: String,
    /// What became of its copy, where it was rejected: `kept`, `removed`, or `none` where there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copy: Option<&'static str>,
    /// How it is set aside now, where a rejection was taken back: `held`, `quarantined`, or `gone` where no bytes are left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<&'static str>,
}

impl Decided {
    fn write(&self, page: &mut Page<'_>, words: &str) {
        page.result(format!("{words}:"));
        page.result(format!("         {}: {}", self.code, self.what));
    }
}

/// What `quarantine release` released.
#[derive(Debug, Serialize)]
pub struct ReleaseReport {
    /// The digest of the first envelope.
    pub released: Digest,
    /// Why they may go, as a person says.
    pub reason: String,
    /// Why the first one was quarantined, in one word.
    pub code: Code,
    /// Why the first one was quarantined: all of it.
    pub what: String,
    /// The second person who agreed, as that was told.
    pub second: Option<String>,
    /// All envelopes that were released.
    pub envelopes: Vec<Decided>,
    /// Those that an officer signed.
    pub signed: Vec<SignedRelease>,
}

/// The release of an envelope that officers sign.
#[derive(Debug, Clone, Serialize)]
pub struct SignedRelease {
    /// Its digest.
    pub sha256: Digest,
    /// Why it was quarantined, in one word.
    pub code: Code,
    /// The same in words.
    pub what: String,
    /// Why it may go, as the first officer says.
    pub reason: String,
    /// The officers who have signed.
    pub signers: Vec<String>,
    /// How many must.
    pub need: usize,
    /// Whether it is released.
    #[serde(rename = "released")]
    pub is_released: bool,
}

impl Report for ReleaseReport {
    fn exit(&self) -> ExitStatus {
        match self.signed.iter().all(|signed| signed.is_released) {
            true => ExitStatus::Done,
            false => ExitStatus::Incomplete,
        }
    }

    fn write<'a>(&'a self, page: &mut Page<'a>) {
        for signed in &self.signed {
            let signers: Vec<String> = signed.signers.iter().map(|who| harmless(who)).collect();
            let (signers, need) = (signers.join(", "), signed.need);
            page.result(format!("signed: {} {}, because: {}", signed.code, signed.sha256, harmless(&signed.reason)));
            page.result(format!("  by {signers}; {need} must sign"));
            if !signed.is_released {
                let one = Decided {
                    sha256: signed.sha256,
                    code: signed.code,
                    what: signed.what.clone(),
                    copy: None,
                    kind: None,
                };
                one.write(page, &format!("not released yet: {}; for another officer, with all of this", signed.sha256));
                let short = signed.sha256.short();
                page.note(format!("another officer signs it with: airpouch quarantine release {short} --key FILE"));
            }
        }
        for one in &self.envelopes {
            one.write(page, &format!("released {}: it goes with the next import, with all of this", one.sha256));
        }
    }
}

/// What `quarantine unrelease` took back.
#[derive(Debug, Serialize)]
pub struct UnreleaseReport {
    /// The envelopes.
    pub unreleased: Vec<Decided>,
    /// Why.
    pub reason: String,
}

impl Report for UnreleaseReport {
    fn write<'a>(&'a self, page: &mut Page<'a>) {
        for one in &self.unreleased {
            one.write(page, &format!("took back the release of {}: it is quarantined as before", one.sha256));
        }
    }
}

/// What `quarantine reject` rejected.
#[derive(Debug, Serialize)]
pub struct RejectReport {
    /// The envelopes.
    pub rejected: Vec<Decided>,
    /// Why.
    pub reason: String,
}

impl Report for RejectReport {
    fn write<'a>(&'a self, page: &mut Page<'a>) {
        for one in &self.rejected {
            let copy = match one.copy {
                Some("kept") => "its copy is kept",
                Some("removed") => "its copy is removed",
                _ => "there was no copy of it",
            };
            one.write(page, &format!("rejected {}: it is never delivered; {copy}", one.sha256));
        }
    }
}

/// What `quarantine unreject` took back.
#[derive(Debug, Serialize)]
pub struct UnrejectReport {
    /// The envelopes.
    pub unrejected: Vec<Decided>,
    /// Why.
    pub reason: String,
    /// How an envelope comes back of which nothing is left here.
    #[serde(rename = "do")]
    pub advice: Option<String>,
}

impl Report for UnrejectReport {
    fn write<'a>(&'a self, page: &mut Page<'a>) {
        for one in &self.unrejected {
            let now = match one.kind {
                Some("gone") => "no bytes of it are left here; it is judged anew when a batch brings it".to_owned(),
                kind => format!("it is {} as before", kind.unwrap_or_default()),
            };
            one.write(page, &format!("took back the rejection of {}: {now}", one.sha256));
        }
        if let Some(advice) = &self.advice {
            page.result(format!("         {advice}"));
        }
    }
}
