//! Under which keys of a STIX object pycti looks for ids of others.

/// A key under which ids of other objects belong: pycti goes by its end alone, and knows some by their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reference {
    /// `source_ref`
    Source,
    /// `target_ref`
    Target,
    /// `sighting_of_ref`
    SightingOf,
    /// `where_sighted_refs`
    WhereSighted,
    /// `object_marking_refs`
    Markings,
    /// Any other that ends in `_ref`: one id.
    One,
    /// Any other that ends in `_refs`: a list of ids.
    Many,
}

impl Reference {
    /// What a key is.
    #[inline]
    pub fn of(key: &[u8]) -> Option<Self> {
        if key.ends_with(b"_refs") {
            return Some(match key {
                b"object_marking_refs" => Self::Markings,
                b"where_sighted_refs" => Self::WhereSighted,
                _ => Self::Many,
            });
        }
        if !key.ends_with(b"_ref") {
            return None;
        }
        Some(match key {
            b"source_ref" => Self::Source,
            b"target_ref" => Self::Target,
            b"sighting_of_ref" => Self::SightingOf,
            _ => Self::One,
        })
    }
}
