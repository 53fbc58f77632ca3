//! Files inside a bundle: how large they are, of which type, and whether the platform may take one for a bundle.

use super::super::contents::EmbeddedFile;
use super::{BundleRole, OpenContainer, Pass, notes};
use crate::json::{JsonEvent, Text};
use crate::limits::KEY_LENGTH_MAX;

impl<'a> Pass<'a> {
    pub(super) fn file(&mut self, value: JsonEvent<'a>) {
        let (JsonEvent::String(base64), Some(frame)) = (value, self.frames.last_mut()) else {
            return;
        };
        let characters = base64.decoded();
        let padding = characters.iter().rev().take(2).filter(|b| **b == b'=').count();
        let length = characters.len() - padding;
        // Under a duplicate key the larger counts.
        let bytes = (length as u64 * 3 / 4).max(frame.data.map_or(0, |(bytes, _)| bytes));
        frame.data = Some((bytes, frame.key));
    }

    pub(super) fn mime_type(&mut self, value: JsonEvent<'a>) {
        if let (JsonEvent::String(mime), Some(frame)) = (value, self.frames.last_mut()) {
            frame.mime = Some(mime);
            frame.is_feed |= is_type_of_feed(&notes::beginning(mime));
        }
    }

    pub(super) fn file_name(&mut self, value: JsonEvent<'a>) {
        if let (JsonEvent::String(name), Some(frame)) = (value, self.frames.last_mut()) {
            frame.is_feed |= is_name_of_feed(name);
        }
    }

    /// A name that pycti may give a `payload_bin`: it takes them from the object, and from its extension.
    pub(super) fn additional_name(&mut self, value: JsonEvent<'a>) {
        if let JsonEvent::String(name) = value {
            self.item.has_feed_name |= is_name_of_feed(name);
        }
    }

    pub(super) fn no_trigger_import(&mut self, value: JsonEvent<'a>) {
        if let Some(frame) = self.frames.last_mut() {
            frame.no_trigger = Some(frame.no_trigger != Some(false) && value == JsonEvent::Bool(true));
        }
    }

    /// An object ends in which an embedded file was.
    #[cold]
    pub(super) fn end_file(&mut self, frame: &OpenContainer<'a>) {
        let Some((bytes, key)) = frame.data else { return };
        let place = format!("{}/{}", self.pointer(self.frames.len()), notes::shown(key));
        let is_listed = frame.role == BundleRole::File;
        // A payload_bin is uploaded without that word.
        let is_imported = !is_listed || frame.no_trigger != Some(true);
        if is_imported && (frame.is_feed || !is_listed && self.item.has_feed_name) {
            self.note_nested_file(&place);
        }
        let mime = frame.mime.map(|mime| mime.lossy().into_owned());
        self.out.add_file(EmbeddedFile { place, bytes, mime });
    }
}

/// Whether a MIME type is one of bundles or feeds: JSON, XML and STIX, and what is made of them. Pictures and office
/// files are not, though some are written in XML.
fn is_type_of_feed(mime: &str) -> bool {
    let mime = mime.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let words = || mime.split(|c: char| !c.is_ascii_alphanumeric());
    !mime.starts_with("image/")
        && words().any(|word| {
            word.contains("json") || word.contains("stix") || ["xml", "rss", "atom", "taxii"].contains(&word)
        })
}

/// Whether a file's name ends as those of bundles and feeds do. Blanks and dots behind it do not count; a name that is
/// longer than any system takes may end in anything.
fn is_name_of_feed(name: Text<'_>) -> bool {
    if name.raw().len() > KEY_LENGTH_MAX {
        return true;
    }
    let name = name.lossy().to_ascii_lowercase();
    let name = name.trim_end_matches(|c: char| c.is_whitespace() || c.is_control() || c == '.');
    let endings = [".json", ".xml", ".stix", ".stix2", ".jsonl", ".ndjson", ".rss", ".atom"];
    endings.iter().any(|ending| name.ends_with(ending))
}
