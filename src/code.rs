//! Codes: one word for each kind of finding, how much it weighs, its label and its meaning, and what a person can do about
//! an envelope that is set aside for it. docs/json.md is made from this table.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::digest::Digest;
use crate::text::harmless;

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Worth a line.
    Note,
    /// Worth a look; changes no exit status.
    Warning,
    /// Something is missing, or was newly refused or held: exit status 3.
    Incomplete,
    /// Something that should hold does not: exit status 4.
    Invalid,
}

impl Severity {
    /// The word in JSON and in docs/json.md.
    pub fn word(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Incomplete => "incomplete",
            Self::Invalid => "invalid",
        }
    }
}

/// What a code is about: the sections of docs/json.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A batch or a medium.
    Medium,
    /// A stream, or what the site keeps of it.
    Stream,
    /// The broker, the platform, or another destination.
    Destination,
    /// An envelope that the importer judges.
    Envelope,
    /// A file in the exporter's source.
    File,
    /// The outbox, and what is carried from it.
    Outbox,
    /// The journal of a site.
    Journal,
    /// What waits for a person, in `status`.
    Waiting,
}

macro_rules! codes {
    ($($subject:ident { $($name:ident $word:literal $severity:ident $label:literal $meaning:literal $(=> $advice:literal)?,)* })*) => {
        /// A kind of finding.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $($(#[doc = $meaning] $name,)*)*
        }

        impl Code {
            /// All of them.
            pub const ALL: &'static [Self] = &[$($(Self::$name,)*)*];

            /// Its word: for programs, in the ledger and in `.reason.json`.
            pub fn word(self) -> &'static str {
                match self { $($(Self::$name => $word,)*)* }
            }

            /// How much it weighs where nothing else is said.
            pub fn severity(self) -> Severity {
                match self { $($(Self::$name => Severity::$severity,)*)* }
            }

            /// The state that is printed in front of such a finding.
            pub fn label(self) -> &'static str {
                match self { $($(Self::$name => $label,)*)* }
            }

            /// What it means, for docs/json.md.
            pub fn meaning(self) -> &'static str {
                match self { $($(Self::$name => $meaning,)*)* }
            }

            /// What a person can do about an envelope that is held or quarantined for it, with places for `{sha256}` and
            /// `{connector}`; none where that depends on more, and is said where it is found.
            pub fn advice_with_places(self) -> Option<&'static str> {
                match self { $($(Self::$name => None$(.or(Some($advice)))?,)*)* }
            }

            /// What it is about.
            pub fn subject(self) -> Subject {
                match self { $($(Self::$name => Subject::$subject,)*)* }
            }
        }
    };
}

codes! {
    Envelope {
        // The first six in this order: what a person looks at first.
        Command "command" Incomplete "quarantined" "an object carries a platform operation (`opencti_operation`)"
            => "to let it through: airpouch quarantine release {sha256} --reason TEXT",
        InternalType "internal-type" Incomplete "quarantined" "an object of a type that administrates the platform"
            => "to let it through: airpouch quarantine release {sha256} --reason TEXT",
        DuplicateKey "duplicate-key" Incomplete "quarantined" "a key appears twice in one object"
            => "to let it through: airpouch quarantine release {sha256} --reason TEXT",
        TooMany "too-many" Incomplete "quarantined" "more objects or keys than can be judged"
            => "to let it through: airpouch quarantine release {sha256} --reason TEXT",
        TooLong "too-long" Incomplete "quarantined" "a key, an id, a type, a marking or a field is too long"
            => "to let it through: airpouch quarantine release {sha256} --reason TEXT",
        Unsplittable "unsplittable" Incomplete "quarantined" "OpenCTI's own client would stop at the bundle, or spoil it"
            => "fix it at the exporter's connector: OpenCTI's own client would stop at it, or corrupt it",
        Applicant "applicant" Incomplete "held" "the applicant is not mapped to a user here"
            => "run `airpouch applicants`, add its lines to airpouch.toml, then `airpouch import` (no medium needed)",
        ApplicantOfTwoKeys "applicant-of-two-keys" Incomplete "held" "the applicant is mapped to different users for two keys that signed its batch"
            => "map it for its stream in airpouch.toml, or to one user for both keys; then `airpouch import` (no medium needed)",
        Tlp "tlp" Incomplete "held" "marked above `max_tlp`"
            => "raise max_tlp in policy.toml, if it may cross, then `airpouch import` (no medium needed)",
        Marking "marking" Incomplete "held" "a marking that is no level of the TLP, where `other_markings` does not let it pass"
            => "let it pass in policy.toml (other_markings), if it may cross, then `airpouch import` (no medium needed)",
        Sharing "sharing" Incomplete "held" "gives organizations access"
            => "set sharing = \"pass\" in policy.toml, if such may cross, then `airpouch import` (no medium needed)",
        Vocabulary "vocabulary" Incomplete "held" "changes the platform's own vocabularies"
            => "set vocabularies = \"pass\" in policy.toml, if such may cross, then `airpouch import` (no medium needed)",
        NestedFile "nested-file" Incomplete "held" "a file inside the bundle is a bundle or a feed itself"
            => "set nested_files = \"pass\" in policy.toml, if such may cross, then `airpouch import` (no medium needed)",
        FileTooLarge "file-too-large" Incomplete "held" "a file inside the bundle is larger than `max_file`"
            => "allow it in policy.toml, if it may cross, then `airpouch import` (no medium needed)",
        FileType "file-type" Incomplete "held" "a file inside the bundle is of a type that `mime_types` does not list"
            => "allow it in policy.toml, if it may cross, then `airpouch import` (no medium needed)",
        ConnectorType "connector-type" Incomplete "held" "`connector_types` does not list the connector's type"
            => "allow its type in policy.toml (connector_types), if it may cross, then `airpouch import` (no medium needed)",
        ConnectorNotListed "connector-not-listed" Incomplete "held" "`[connectors]` in policy.toml does not list the connector"
            => "let it pass in policy.toml ([connectors]), then `airpouch import` (no medium needed)",
        ConnectorPaused "connector-paused" Incomplete "held" "`[connectors]` in policy.toml pauses the connector"
            => "let it pass in policy.toml ([connectors]), then `airpouch import` (no medium needed)",
        ConnectorName "connector-name" Incomplete "held" "the connector's name is shorter than the platform accepts"
            => "give the connector a longer name at the exporter; the platform would reject this one",
        UnknownConnectorType "unknown-connector-type" Incomplete "held" "a connector type that the destination does not know"
            => "deliver through the platform (opencti+https://), by a site of its own: it says itself which types it knows",
        ValidateBeforeImport "validate-before-import" Incomplete "held" "the connector wants each import validated, which takes a draft on the platform"
            => "deliver through a platform of 6.4 or newer (opencti+https://), with works; or have the connector write without it",
        ConnectorOfAnotherStream "connector-of-another-stream" Incomplete "held" "the connector's id came by another stream first, under another key; held for all destinations"
            => "if it is the same feed: `airpouch import --take-over={connector}`, once; if not, ask the exporter of that stream why",
        StoppedARun "stopped-a-run" Incomplete "held" "a run died while it examined the envelope, and so did a process of its own"
            => "each import tries it again in a process of its own; give the machine more memory, or fix the envelope at the exporter",
        StopsRuns "stops-runs" Incomplete "quarantined" "several runs died while they examined the envelope"
            => "to let it through: airpouch quarantine release {sha256} --reason TEXT",
        MessageTooLarge "message-too-large" Incomplete "quarantined" "a message would be larger than `max_message_size`"
            => "raise max_message_size of the broker (and --max-message-size), then: airpouch quarantine release {sha256} --reason TEXT",
        MessageRefused "message-refused" Incomplete "quarantined" "the broker rejects a message; `drain` puts the message aside in the spool"
            => "raise max_message_size of the broker (and --max-message-size), then: airpouch quarantine release {sha256} --reason TEXT",
    }
    Medium {
        NoBatch "no-batch" Incomplete "missing" "nothing on the medium begins as a manifest",
        CutManifest "cut-manifest" Incomplete "missing" "the end of the manifest is missing",
        CutSignature "cut-signature" Incomplete "missing" "a signature of fewer than 64 bytes",
        NoSignature "no-signature" Incomplete "missing" "no signature file",
        UnknownKey "unknown-key" Invalid "INVALID" "signatures, none by a trusted key",
        InvalidSignature "invalid-signature" Invalid "INVALID" "named for a trusted key and does not match: manifest or signature were changed",
        LineEnds "line-ends" Invalid "INVALID" "the same, since the medium was written as text",
        InvalidManifest "invalid-manifest" Invalid "INVALID" "a trusted key signed a manifest that breaks the format",
        WrongZone "wrong-zone" Incomplete "not taken" "meant for another zone; a note where the medium has batches for this zone too",
        MadeDate "made-date" Note "note" "a batch says that it was made in the future, or more than ten years ago",
        NotAllowed "not-allowed" Invalid "INVALID" "trust.toml does not let this key sign this stream, zone or number",
        TooFewSignatures "too-few-signatures" Incomplete "missing" "fewer keys have signed than trust.toml needs",
        IncompleteBatch "incomplete" Incomplete "missing" "an index, a volume or a list of objects is missing or too short",
        Damaged "damaged" Invalid "INVALID" "an index, a volume or a list of objects does not match its digest",
        InvalidBatch "invalid-batch" Invalid "INVALID" "an index or volume that was signed breaks the format",
        NotTaken "not-taken" Incomplete "not taken" "no room in the inbox: do not erase the medium",
        Unreadable "unreadable" Incomplete "unreadable" "a file or directory cannot be read; a warning where it may be no input",
        TooManyNames "too-many-names" Incomplete "unreadable" "more than 100,000 names on the medium",
    }
    Stream {
        Gap "gap" Incomplete "missing" "batches are missing; at every run until they come or are accepted as lost",
        UnknownStart "unknown-start" Incomplete "missing" "the first batch received is not number 1, and those before it never arrived",
        Overdue "overdue" Incomplete "overdue" "no batch has come within the time that the exporter promises",
        Quiet "quiet" Incomplete "quiet" "a connector that came every day has brought nothing for `quiet_after`",
        NeverHeard "never-heard" Note "note" "no batch has come of a stream that trust.toml lists",
        OnlyHeartbeats "only-heartbeats" Warning "warning" "batches come, and have had no envelopes for longer than the exporter takes between two",
        Waiting "waiting" Incomplete "held" "held until the batches before it come (`on_gap = \"hold\"`)",
        Fork "fork" Invalid "INVALID" "two histories under one number; held",
        Unlinked "unlinked" Incomplete "held" "no admitted batch names it; kept",
        NoLongerTrusted "no-longer-trusted" Invalid "INVALID" "taken, and today no trusted key signs it",
        ChangedInInbox "changed-in-inbox" Invalid "INVALID" "files in the inbox are not those that were taken",
        LedgerAccepted "ledger-accepted" Warning "warning" "went on with a ledger that is not the one this site worked with last (`--accept-ledger`)",
        LostFromSite "lost-from-site" Incomplete "missing" "a held or released envelope cannot be read from the site",
        ReleaseUnsigned "release-unsigned" Incomplete "held" "the policy demands signatures of more officers over a release than hold today",
        KeptInInbox "kept-in-inbox" Warning "warning" "held/ or quarantine/ took no copy; the envelopes are kept in the inbox alone",
        Clock "clock" Warning "warning" "the clock is beyond reason and not used for the files' times in `dir:`, or was so in an earlier run",
    }
    Destination {
        OlderPlatform "older-platform" Note "note" "what an older platform is not sent",
        ConnectorExists "connector-exists" Incomplete "held" "the platform has this connector id under another name, as another type, or running"
            => "if it is the same feed: `airpouch import --take-over`, once; else give this one another id here: [connectors] in airpouch.toml",
        ConnectorUnknown "connector-unknown" Incomplete "held" "the platform does not say whether it has this connector id"
            => "give airpouch's user the right to look (MODULES), then `airpouch import`; or, if nobody there has that id: `airpouch import --take-over`, once",
        NotRegistered "not-registered" Incomplete "held" "the platform does not register this connector"
            => "fix what the platform complains about, or the connector at the exporter; then `airpouch import` (no medium needed)",
        NameTaken "name-taken" Incomplete "not delivered" "something else has an envelope's name in `dir:`; the envelope waits",
        SpoolDirectory "spool-directory" Incomplete "not delivered" "a connector's directory in the spool cannot be used; its envelopes or messages wait",
        QueueFull "queue-full" Incomplete "not delivered" "a connector's queue takes no more; its envelopes or messages wait",
        QueueGone "queue-gone" Incomplete "not delivered" "a connector's queue was deleted; its envelopes or messages wait",
        QueueRefused "queue-refused" Incomplete "not delivered" "the broker does not let airpouch use a connector's queue",
        ExchangeRefused "exchange-refused" Incomplete "not delivered" "the broker does not let airpouch publish to an exchange",
        WorkRefused "work-refused" Incomplete "not delivered" "the platform does not open works for a connector",
        WorkGone "work-gone" Incomplete "missing" "a work was cleared after envelopes were recorded under it; at every run until they are delivered again or accepted as lost",
        IngestFailed "ingest-failed" Incomplete "not ingested" "objects that were sent could not be ingested; in `status` until they are delivered again or accepted as lost",
        IngestRefused "ingest-refused" Incomplete "not ingested" "the platform's own rules refuse objects that were sent (its codes INCORRECT_OBSERVABLE_FORMAT, INCORRECT_INDICATOR_FORMAT, INDICATOR_PATTERN_EXCLUDED); reported once",
        WorkUnknown "work-unknown" Warning "warning" "the platform had removed a work before `follow` asked for it; reported once",
        WorkOpen "work-open" Incomplete "not closed" "a work could not be closed on the platform",
        DeliveredAgain "delivered-again" Warning "warning" "a run was cut off; so many envelopes (of a drain: messages) may come a second time",
        WorksLeft "works-left" Warning "warning" "a drain to another destination was cut off and left works open there",
        UnreadableMessage "unreadable-message" Incomplete "not delivered" "a file in the spool is no message of the spool's owner; it stays there",
        Capability "capability" Incomplete "not ready" "the token's user lacks a right; a warning where an import would not stop",
        NoExchange "no-exchange" Warning "warning" "the broker does not have the exchange yet (`check`), or did not have it (`import`, `drain`)",
        NoQueue "no-queue" Warning "warning" "the broker does not have a connector's queue yet (`check`)",
        OtherDestination "other-destination" Incomplete "not ready" "in `check`: the site delivers to another destination",
    }
    File {
        Empty "empty" Incomplete "not packed" "the file is empty"
            => "no destination can take it; ask the exporter how it came to be packed",
        Zeros "zeros" Incomplete "not packed" "the file holds only zero bytes"
            => "no destination can take it; ask the exporter how it came to be packed",
        TooLarge "too-large" Incomplete "not packed" "the file is larger than an envelope may be"
            => "no destination can take it; ask the exporter how it came to be packed",
        ByteOrderMark "byte-order-mark" Incomplete "not packed" "the file begins with a byte order mark"
            => "no destination can take it; ask the exporter how it came to be packed",
        Utf16 "utf-16" Incomplete "not packed" "the file is UTF-16"
            => "no destination can take it; ask the exporter how it came to be packed",
        NotUtf8 "not-utf-8" Incomplete "not packed" "the file is not UTF-8"
            => "no destination can take it; ask the exporter how it came to be packed",
        CutOff "cut-off" Incomplete "not packed" "the file ends before its JSON does"
            => "no destination can take it; ask the exporter how it came to be packed",
        NotJson "not-json" Incomplete "not packed" "the file is not JSON"
            => "no destination can take it; ask the exporter how it came to be packed",
        TooDeep "too-deep" Incomplete "not packed" "objects and lists are nested too deep"
            => "no destination can take it; ask the exporter how it came to be packed",
        NotAnObject "not-an-object" Incomplete "not packed" "the JSON value is no object"
            => "no destination can take it; ask the exporter how it came to be packed",
        MissingField "missing-field" Incomplete "not packed" "a field of an envelope is missing"
            => "no destination can take it; ask the exporter how it came to be packed",
        WrongType "wrong-type" Incomplete "not packed" "a field of an envelope has another type"
            => "no destination can take it; ask the exporter how it came to be packed",
        ConnectorId "connector-id" Incomplete "not packed" "`connector.id` is not 1 to 128 letters, digits, `_` and `-`"
            => "no destination can take it; ask the exporter how it came to be packed",
        BundleType "bundle-type" Incomplete "not packed" "`bundle_type` is not one that connectors write"
            => "no destination can take it; ask the exporter how it came to be packed",
        NotAFile "not-a-file" Incomplete "not packed" "a link, or no regular file",
    }
    Outbox {
        LostEnvelopes "lost-envelopes" Incomplete "missing" "envelopes of a batch that was given up are no longer in the source",
        NotLost "not-lost" Note "note" "a batch that was to be given up is whole",
        NoDirectorySync "no-directory-sync" Warning "warning" "the medium cannot promise that file names are durable: unmount before you pull it out",
        LostFromOutbox "lost-from-outbox" Incomplete "missing" "a file of a batch is gone from the outbox, or damaged there",
        NeverComes "never-comes" Warning "warning" "a batch that was given up and will never come",
        DoesNotFit "does-not-fit" Warning "warning" "the medium refused a further batch although it reports room, such as by a quota",
        WrongCode "wrong-code" Invalid "INVALID" "an arrival code fits no batch of this site",
        PairingDamaged "pairing-damaged" Warning "warning" "the key of a pairing cannot be read: there is no arrival code by it",
        NotRepeated "not-repeated" Incomplete "not carried" "a batch that should go again did not; invalid where other bytes have its name",
    }
    Journal {
        JournalInvalid "journal-invalid" Invalid "INVALID" "the journal is not as it was written",
        AgainstRules "against-rules" Invalid "INVALID" "by the trust store and the policy of then, something that was done was not allowed",
        JournalChanged "journal-changed" Incomplete "changed" "a run found another journal than its ledger knew",
        PeerJournal "peer-journal" Incomplete "changed" "the exporter's journal is another one than it was",
        JournalUnsigned "journal-unsigned" Incomplete "not signed" "lines of the journal are not covered by its signed head",
    }
    Waiting {
        Sealed "sealed" Incomplete "not signed" "a batch is sealed and not signed",
        NotCarried "not-carried" Note "note" "batches that no medium has taken yet",
        Refused "refused" Note "note" "at the exporter files that cannot be packed, at the importer an invalid batch",
        Held "held" Note "note" "envelopes that are held",
        Quarantined "quarantined" Note "note" "envelopes that are quarantined",
        Rejected "rejected" Note "note" "in `import`: a batch brought envelopes that a person rejected here; they are not delivered",
        BeingDelivered "being-delivered" Note "note" "a batch is not delivered to its end",
    }
}

impl Code {
    /// What a person can do about an envelope of a connector that is held or quarantined for this, with the command;
    /// empty for codes for which no envelope is set aside.
    pub fn advice(self, sha256: Digest, connector: &str) -> String {
        let advice = self.advice_with_places().unwrap_or_default();
        advice.replace("{sha256}", &sha256.short()).replace("{connector}", &harmless(connector))
    }

    /// The code of a word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.word() == word)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn word_names_one_code_and_is_read_back() {
        let words: HashSet<_> = Code::ALL.iter().map(|code| code.word()).collect();
        assert_eq!(words.len(), Code::ALL.len());
        assert!(Code::ALL.iter().all(|code| Code::parse(code.word()) == Some(*code)));
        assert_eq!(Code::parse("no-such-code"), None);
    }

    #[test]
    fn advice_is_given_for_all_that_an_envelope_is_set_aside_for() {
        for code in Code::ALL.iter().filter(|code| matches!(code.subject(), Subject::Envelope | Subject::File)) {
            // A link never becomes an envelope.
            assert!(code.advice_with_places().is_some() || *code == Code::NotAFile, "{code}");
        }
        let sha256 = Digest::of(b"");
        let release = Code::Command.advice(sha256, "feed");
        assert_eq!(release, "to let it through: airpouch quarantine release e3b0c442 --reason TEXT");
        let other = Code::ConnectorOfAnotherStream.advice(sha256, "feed\u{1b}[2J");
        assert!(other.contains("--take-over=feed\\u{1b}[2J`") && !other.contains('\u{1b}'), "{other}");
        assert_eq!(Code::Gap.advice(sha256, "feed"), "");
    }

    #[test]
    fn label_shows_the_severity() {
        for code in Code::ALL {
            let label = code.label();
            match code.severity() {
                Severity::Note => assert_eq!(label, "note", "{code}"),
                Severity::Warning => assert_eq!(label, "warning", "{code}"),
                Severity::Invalid => assert_eq!(label, "INVALID", "{code}"),
                Severity::Incomplete => assert!(!["note", "warning", "INVALID"].contains(&label), "{code}"),
            }
        }
    }
}
