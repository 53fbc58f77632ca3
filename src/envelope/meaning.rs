//! What the keys of a bundle mean to the pass over it.

use crate::json::Text;
use crate::opencti::OPENCTI_EXTENSION;
use crate::opencti::reference::Reference;

/// What a key means to us, at any place. The role of its object says whether it counts.
#[derive(Clone, Copy, Default, PartialEq)]
pub(super) enum Meaning {
    #[default]
    Nothing,
    /// Executed by pycti's `import_item`, from the object or its extension.
    Operation,
    /// Executed by the platform while it takes the object: replaces and removes what is there.
    UpsertOperations,
    Objects,
    Id,
    Type,
    SourceRef,
    TargetRef,
    SightingOf,
    WhereSighted,
    MarkingRefs,
    MarkingRef,
    /// Gives organizations access, under `granted_refs` and under what pycti makes that of.
    GrantedRefs,
    GrantedRef,
    Refs,
    Ref,
    References,
    Extensions,
    OpenctiExtension,
    InternalId,
    Files,
    Data,
    MimeType,
    PayloadBin,
    Name,
    NoTriggerImport,
    AdditionalNames,
    /// What a marking definition says that it is.
    TlpLevel,
    Definition,
}

impl Meaning {
    #[inline]
    pub(super) fn of(key: Text<'_>) -> Self {
        match key.plain() {
            Some(key) => Self::of_text(key.as_bytes()),
            None => Self::of_text(&key.decoded()),
        }
    }

    fn of_text(key: &[u8]) -> Self {
        match key {
            b"opencti_operation" => Self::Operation,
            b"opencti_upsert_operations" => Self::UpsertOperations,
            b"objects" => Self::Objects,
            b"id" => Self::Id,
            b"type" => Self::Type,
            b"external_references" | b"kill_chain_phases" => Self::References,
            b"extensions" => Self::Extensions,
            b"x_opencti_id" => Self::InternalId,
            b"x_opencti_files" | b"files" => Self::Files,
            b"data" => Self::Data,
            b"mime_type" => Self::MimeType,
            b"payload_bin" => Self::PayloadBin,
            b"name" => Self::Name,
            b"no_trigger_import" => Self::NoTriggerImport,
            b"x_opencti_additional_names" | b"additional_names" => Self::AdditionalNames,
            b"tlp" => Self::TlpLevel,
            b"definition" | b"x_opencti_definition" => Self::Definition,
            _ => match Reference::of(key) {
                Some(reference) => Self::of_reference(reference, key),
                None if key == OPENCTI_EXTENSION.as_bytes() => Self::OpenctiExtension,
                None => Self::Nothing,
            },
        }
    }

    fn of_reference(reference: Reference, key: &[u8]) -> Self {
        match reference {
            Reference::Source => Self::SourceRef,
            Reference::Target => Self::TargetRef,
            Reference::SightingOf => Self::SightingOf,
            Reference::WhereSighted => Self::WhereSighted,
            Reference::Markings => Self::MarkingRefs,
            Reference::One if key == b"marking_ref" => Self::MarkingRef,
            Reference::One if grants(key) => Self::GrantedRef,
            Reference::One => Self::Ref,
            Reference::Many if grants(key) => Self::GrantedRefs,
            Reference::Many => Self::Refs,
        }
    }

    /// Whether one id belongs under such a key.
    pub(super) fn is_ref(self) -> bool {
        matches!(
            self,
            Self::Ref | Self::SourceRef | Self::TargetRef | Self::SightingOf | Self::MarkingRef | Self::GrantedRef
        )
    }

    /// Whether a list of ids belongs under such a key.
    pub(super) fn is_refs(self) -> bool {
        matches!(self, Self::Refs | Self::WhereSighted | Self::MarkingRefs | Self::GrantedRefs)
    }

    /// What belongs under such a key, in words.
    pub(super) fn expected(self) -> &'static str {
        match self {
            _ if self.is_refs() => "a list of ids",
            _ if self.is_ref() || matches!(self, Self::Id | Self::InternalId) => "an id",
            Self::References => "a list of objects",
            _ => "an object",
        }
    }
}

/// Whether pycti shares under this key, which ends in `_ref` or `_refs`. Beside its two own names it makes of each such
/// key of an observable a relationship, named by the key without `_refs` or `_ref`, wherever in it these stand.
fn grants(key: &[u8]) -> bool {
    // Few keys have all of these letters.
    if !b"grantd".iter().all(|letter| key.to_ascii_lowercase().contains(letter)) {
        return false;
    }
    let key = String::from_utf8_lossy(key).to_ascii_lowercase().replace('-', "_");
    key.replace("_refs", "").replace("_ref", "").contains("granted")
}
