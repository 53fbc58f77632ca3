//! What a person can do about an envelope that is held or quarantined.

use super::Code;
use crate::digest::Digest;
use crate::text::harmless;

/// What a person can do about a connector whose id the platform has under another name.
pub const CONNECTOR_EXISTS: &str = "if it is the same feed: `airpouch import --take-over`, once; else give this one another id here: [connectors] in airpouch.toml";

/// What a person can do where the platform does not say whether it has a connector.
pub const CONNECTOR_UNKNOWN: &str = "give airpouch's user the right to look (MODULES), then `airpouch import`; or, if nobody there has that id: `airpouch import --take-over`, once";

impl Code {
    /// What a person can do about an envelope of a connector that is held or quarantined for this, with the command.
    pub fn advice(self, sha256: Digest, connector: &str) -> String {
        match self {
        Self::Applicant => {
            "run `airpouch applicants`, add its lines to airpouch.toml, then `airpouch import` (no medium needed)".into()
        }
        Self::ApplicantOfTwoKeys => {
            "map it for its stream in airpouch.toml, or to one user for both keys; then `airpouch import` (no medium needed)".into()
        }
        Self::ConnectorType => {
            "allow its type in policy.toml (connector_types), if it may cross, then `airpouch import` (no medium needed)".into()
        }
        Self::UnknownConnectorType => {
            "deliver through the platform (opencti+https://), by a site of its own: it says itself which types it knows"
                .into()
        }
        Self::ConnectorNotListed | Self::ConnectorPaused => {
            "let it pass in policy.toml ([connectors]), then `airpouch import` (no medium needed)".into()
        }
        Self::Tlp => "raise max_tlp in policy.toml, if it may cross, then `airpouch import` (no medium needed)".into(),
        Self::StoppedARun => {
            "each import tries it again in a process of its own; give the machine more memory, or fix the envelope at the exporter".into()
        }
        Self::Marking => {
            "let it pass in policy.toml (other_markings), if it may cross, then `airpouch import` (no medium needed)".into()
        }
        Self::Sharing | Self::Vocabulary | Self::NestedFile => {
            let key = match self {
                Self::Sharing => "sharing",
                Self::Vocabulary => "vocabularies",
                _ => "nested_files",
            };
            format!("set {key} = \"pass\" in policy.toml, if such may cross, then `airpouch import` (no medium needed)")
        }
        Self::FileTooLarge | Self::FileType => {
            "allow it in policy.toml, if it may cross, then `airpouch import` (no medium needed)".into()
        }
        Self::ConnectorName => "give the connector a longer name at the exporter; the platform would reject this one".into(),
        Self::ValidateBeforeImport => {
            "deliver through a platform of 6.4 or newer (opencti+https://), with works; or have the connector write without it"
                .into()
        }
        Self::ConnectorExists => CONNECTOR_EXISTS.into(),
        Self::ConnectorUnknown => CONNECTOR_UNKNOWN.into(),
        Self::ConnectorOfAnotherStream => format!(
            "if it is the same feed: `airpouch import --take-over={}`, once; if not, ask the exporter of that stream why",
            harmless(connector)
        ),
        Self::NotRegistered => "fix what the platform complains about, or the connector at the exporter; then `airpouch import` (no medium needed)".into(),
        Self::MessageTooLarge | Self::MessageRefused => format!(
            "raise max_message_size of the broker (and --max-message-size), then: airpouch quarantine release {} --reason TEXT",
            sha256.short()
        ),
        Self::Empty | Self::Zeros | Self::TooLarge | Self::ByteOrderMark | Self::Utf16 | Self::NotUtf8 | Self::CutOff | Self::NotJson
        | Self::TooDeep | Self::NotAnObject | Self::MissingField | Self::WrongType | Self::ConnectorId | Self::BundleType => {
            "no destination can take it; ask the exporter how it came to be packed".into()
        }
        Self::Unsplittable => "fix it at the exporter's connector: OpenCTI's own client would stop at it, or corrupt it".into(),
        _ => format!("to let it through: airpouch quarantine release {} --reason TEXT", sha256.short()),
    }
    }
}
