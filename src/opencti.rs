//! What OpenCTI expects: the facts about its importer (pycti), its broker and its interface that others rest on.

pub mod api;
pub mod broker;
pub mod message;
pub mod python;
pub mod reference;
pub mod registration;
pub mod repr;
pub mod secrets;
pub mod split;
mod tlp;
mod types;
pub mod work;

pub use tlp::{Tlp, marking_words};
pub use types::{
    FURTHER_INTERNAL_TYPES, INTERNAL_TYPES, OPENCTI_EXTENSION, SUPPORTED_TYPES, is_internal, is_supported,
    is_supported_id, type_of_id,
};
