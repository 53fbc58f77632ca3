//! The traffic light protocol, as marking definitions name it.

/// The levels of the traffic light protocol, from the lowest. CLEAR was called WHITE in its first version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tlp {
    /// TLP:CLEAR, TLP:WHITE
    Clear,
    /// TLP:GREEN
    Green,
    /// TLP:AMBER
    Amber,
    /// TLP:AMBER+STRICT
    AmberStrict,
    /// TLP:RED
    Red,
}

impl Tlp {
    /// The level as `policy.toml` writes it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Clear => "clear",
            Self::Green => "green",
            Self::Amber => "amber",
            Self::AmberStrict => "amber+strict",
            Self::Red => "red",
        }
    }

    /// The level of this word, with `TLP:` before it or without, in letters of any size.
    pub fn of_word(word: &str) -> Option<Self> {
        let word = word.trim().to_ascii_lowercase();
        match word.strip_prefix("tlp:").unwrap_or(&word) {
            "clear" | "white" => Some(Self::Clear),
            "green" => Some(Self::Green),
            "amber" => Some(Self::Amber),
            "amber+strict" => Some(Self::AmberStrict),
            "red" => Some(Self::Red),
            _ => None,
        }
    }

    /// The level that a marking definition's id stands for: those of STIX 2.1 (section 7.2.1.4), those of TLP 2.0
    /// as OASIS publishes them, and OpenCTI's own for AMBER+STRICT (pycti's `MarkingDefinition.generate_id`).
    pub fn of_marking(id: &str) -> Option<Self> {
        let uuid = id.trim().get(MARKING.len()..).filter(|_| is_marking(id.trim()))?;
        match uuid.to_ascii_lowercase().as_str() {
            "613f2e26-407d-48c7-9eca-b8e91df99dc9" | "94868c89-83c2-464b-929b-a1a8aa3c8487" => Some(Self::Clear),
            "34098fce-860f-48ae-8e50-ebd3cc5e41da" | "bab4a63c-aed9-4cf5-a766-dfca5abac2bb" => Some(Self::Green),
            "f88d31f6-486f-44da-b317-01333bde0b82" | "55d920b0-5e8b-4f79-9ee9-91f868d9b421" => Some(Self::Amber),
            "939a9414-2ddd-4d32-a0cd-375ea402b003" | "826578e1-40ad-459f-bc73-ede076f81f37" => Some(Self::AmberStrict),
            "5e57c739-391a-4eb3-b6be-7d15ca92d5ed" | "e828b379-4e03-4974-9ac4-e53a884c97c1" => Some(Self::Red),
            _ => None,
        }
    }

    /// The level that a marking definition's own words claim: pycti makes the platform's TLP marking of it, whatever
    /// its id is. A level that nobody knows counts as the highest.
    pub fn of_definition(words: &str) -> Option<Self> {
        let words = words.trim().to_ascii_lowercase();
        let level = words.strip_prefix("tlp")?.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
        Some(Self::of_word(level).unwrap_or(Self::Red))
    }
}

/// A marking as people know it: its level of the traffic light protocol where its id stands for one, else its id. An
/// object may name anything for a marking: what is no id is in quotes, so that nobody takes it for a level.
pub fn marking_words(id: &str) -> String {
    match Tlp::of_marking(id) {
        Some(level) => format!("TLP:{}", level.word().to_uppercase()),
        None if is_marking(id) || id == "*" => id.to_owned(),
        None => format!("\"{id}\""),
    }
}

const MARKING: &str = "marking-definition--";

fn is_marking(id: &str) -> bool {
    id.get(..MARKING.len()).is_some_and(|prefix| prefix.eq_ignore_ascii_case(MARKING))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marking_is_known_by_its_id_in_any_case() {
        let red = "marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed";
        assert_eq!(Tlp::of_marking(red), Some(Tlp::Red));
        assert_eq!(Tlp::of_marking(&format!(" {} ", red.to_uppercase())), Some(Tlp::Red));
        assert_eq!(Tlp::of_marking("5e57c739-391a-4eb3-b6be-7d15ca92d5ed"), None);
        assert_eq!(Tlp::of_marking("marking-definition--fa42a846-8d90-4e51-bc29-71d5b4802168"), None);
    }

    #[test]
    fn words_of_a_marking_are_those_of_its_id_alone() {
        assert_eq!(marking_words("marking-definition--826578e1-40ad-459f-bc73-ede076f81f37"), "TLP:AMBER+STRICT");
        assert_eq!(marking_words("marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9"), "TLP:CLEAR");
        let other = "marking-definition--fa42a846-8d90-4e51-bc29-71d5b4802168";
        assert_eq!((marking_words(other), marking_words("*")), (other.to_owned(), "*".to_owned()));
        assert_eq!(marking_words("TLP:CLEAR"), "\"TLP:CLEAR\"");
    }

    #[test]
    fn marking_is_known_by_its_words() {
        for (words, level) in [
            ("TLP:RED", Some(Tlp::Red)),
            ("tlp:amber+strict", Some(Tlp::AmberStrict)),
            ("TLP-GREEN", Some(Tlp::Green)),
            ("TLP:VIOLET", Some(Tlp::Red)),
            ("PAP:RED", None),
            ("Copyright 2015-2025, The MITRE Corporation", None),
        ] {
            assert_eq!(Tlp::of_definition(words), level, "{words}");
        }
    }
}
