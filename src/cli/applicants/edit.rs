//! Puts mappings into the text of airpouch.toml, whatever form `[applicants]` has there. All else stays as it is.

use std::collections::BTreeMap;

use airpouch::text::quoted_toml;
use toml_edit::{DocumentMut, InlineTable, Item, Key, Table, TomlError, Value};

const SECTION: &str = "applicants";

/// The text with these mappings, each from the id there to a value as TOML, and with these comments at their section.
///
/// # Errors
/// The text is no TOML, or `applicants` is no table in it.
pub fn with_mappings(text: &str, mapped: &BTreeMap<&str, &str>, comments: &[String]) -> Result<String, String> {
    let body = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut document: DocumentMut = body.parse().map_err(|e: TomlError| e.message().to_owned())?;
    if !document.contains_key(SECTION) {
        let section = section_at_end_of(&document);
        document.insert(SECTION, Item::Table(section));
        document.set_trailing("");
    }
    match &mut document[SECTION] {
        Item::Table(table) => {
            into_table(table, mapped)?;
            comment_table(table, comments);
        }
        Item::Value(Value::InlineTable(table)) => {
            into_inline(table, mapped)?;
            if let Some(mut key) = document.key_mut(SECTION) {
                put_before(key.leaf_decor_mut(), comments);
            }
        }
        _ => return Err("applicants is no table".to_owned()),
    }
    let written = document.to_string();
    let ends_in_cr = body.contains("\r\n") && !body.replace("\r\n", "").contains('\n');
    let written = if ends_in_cr { written.replace("\r\n", "\n").replace('\n', "\r\n") } else { written };
    Ok(text[..text.len() - body.len()].to_owned() + &written)
}

/// A new section, behind what was at the end of the file.
fn section_at_end_of(document: &DocumentMut) -> Table {
    let mut table = Table::new();
    let before = document.trailing().as_str().unwrap_or_default();
    let gap = if before.is_empty() || before.ends_with('\n') { "" } else { "\n" };
    let blank = if document.is_empty() && before.is_empty() { "" } else { "\n" };
    table.decor_mut().set_prefix(format!("{before}{gap}{blank}"));
    table
}

fn into_table(table: &mut Table, mapped: &BTreeMap<&str, &str>) -> Result<(), String> {
    if !mapped.is_empty() {
        table.set_implicit(false);
    }
    for (from, to) in mapped {
        table.insert_formatted(&key(from)?, Item::Value(value(to)?));
    }
    Ok(())
}

fn into_inline(table: &mut InlineTable, mapped: &BTreeMap<&str, &str>) -> Result<(), String> {
    for (from, to) in mapped {
        table.insert_formatted(&key(from)?, value(to)?.decorated(" ", " "));
    }
    Ok(())
}

/// Comments above the first mapping for all; where there is none, below the section's first line, or above the first of
/// the dotted keys that make it.
fn comment_table(table: &mut Table, comments: &[String]) {
    if comments.is_empty() {
        return;
    }
    let first = table.iter().find(|(_, item)| item.is_value()).map(|(key, _)| key.to_owned());
    if let Some(mut key) = first.and_then(|key| table.key_mut(&key)) {
        return put_before(key.leaf_decor_mut(), comments);
    }
    if table.is_dotted()
        && let Some(narrowed) = table.iter_mut().find_map(|(_, item)| item.as_table_mut())
    {
        return comment_table(narrowed, comments);
    }
    // The section may be there only as the name of others, such as [applicants."STREAM"].
    table.set_implicit(false);
    let suffix = table.decor().suffix().and_then(|s| s.as_str()).unwrap_or_default().to_owned();
    let added: String = comments.iter().map(|line| format!("\n{line}")).collect();
    table.decor_mut().set_suffix(suffix + &added);
}

fn put_before(decor: &mut toml_edit::Decor, comments: &[String]) {
    let before = decor.prefix().and_then(|s| s.as_str()).unwrap_or_default().to_owned();
    let added: String = comments.iter().map(|line| format!("{line}\n")).collect();
    decor.set_prefix(added + &before);
}

fn key(text: &str) -> Result<Key, String> {
    let mut keys = Key::parse(&quoted_toml(text)).map_err(|e| e.message().to_owned())?;
    keys.pop().ok_or_else(|| "an applicant has no id".to_owned())
}

fn value(text: &str) -> Result<Value, String> {
    text.parse().map_err(|e: TomlError| e.message().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(text: &str) -> String {
        let mapped = BTreeMap::from([("there", "\"here\"")]);
        with_mappings(text, &mapped, &["# \"open\" = \"?\"".to_owned()]).unwrap()
    }

    #[test]
    fn each_form_of_the_section_takes_a_mapping_and_keeps_the_rest() {
        for (before, after) in [
            ("", "[applicants]\n# \"open\" = \"?\"\n\"there\" = \"here\"\n"),
            ("zone = 'z' # mine", "zone = 'z' # mine\n\n[applicants]\n# \"open\" = \"?\"\n\"there\" = \"here\"\n"),
            ("a = 1\n# the end\n", "a = 1\n# the end\n\n[applicants]\n# \"open\" = \"?\"\n\"there\" = \"here\"\n"),
            ("[applicants]  # ours\n", "[applicants]  # ours\n# \"open\" = \"?\"\n\"there\" = \"here\"\n"),
            (
                "[ applicants ] # ours\n# one\nx = 'y' # two\n[connectors]\nc = 'd'\n",
                "[ applicants ] # ours\n# \"open\" = \"?\"\n# one\nx = 'y' # two\n\"there\" = \"here\"\n[connectors]\nc = 'd'\n",
            ),
            (
                "applicants.x = 'y'\nzone = 'z'\n",
                "# \"open\" = \"?\"\napplicants.x = 'y'\napplicants.\"there\" = \"here\"\nzone = 'z'\n",
            ),
            ("applicants = { x = 'y' }\n", "# \"open\" = \"?\"\napplicants = { x = 'y' , \"there\" = \"here\" }\n"),
            (
                "\u{feff}zone = 'z'\r\n[applicants]\r\nx = 'y'\r\n",
                "\u{feff}zone = 'z'\r\n[applicants]\r\n# \"open\" = \"?\"\r\nx = 'y'\r\n\"there\" = \"here\"\r\n",
            ),
        ] {
            let written = edited(before);
            assert_eq!(written, after);
            let body = written.trim_start_matches('\u{feff}');
            let read: toml::Table = body.parse().unwrap();
            assert_eq!(read["applicants"]["there"].as_str(), Some("here"), "{written}");
        }
    }

    #[test]
    fn tables_of_single_streams_and_keys_stay_as_they_are() {
        for before in [
            "zone = 'z'\n[connectors]\nc = 'd'\n# theirs\n[applicants.'stream'] # one\nx = 'y' # two\n",
            "[applicants.stream]\nx = 'y'\n[applicants.'key']\nx = 'z'\n",
            "[applicants.stream]\nx = 'y'\n[applicants] # all\nz = 'z'\n[applicants.key]\nx = 'z'\n",
            "applicants.stream.x = 'y'\nzone = 'z'\n",
            "[applicants]\nstream = { x = 'y' } # one\n",
            "applicants = { stream = { x = 'y' } }\n",
        ] {
            let comment = "# \"open\" = \"?\"".to_owned();
            for mapped in [BTreeMap::new(), BTreeMap::from([("there", "\"here\"")])] {
                let written = with_mappings(before, &mapped, std::slice::from_ref(&comment)).unwrap();
                assert!(written.lines().any(|line| line == comment), "{written}");
                let first_line =
                    before.lines().find(|line| line.contains("x = 'y'")).unwrap().trim_end_matches([' ', '}']);
                assert!(written.contains(first_line), "{written}");
                let mut read: toml::Table = written.parse().unwrap();
                let applicants = read["applicants"].as_table_mut().unwrap();
                assert_eq!(applicants.remove("there").is_some(), !mapped.is_empty(), "{written}");
                assert_eq!(read, before.parse::<toml::Table>().unwrap(), "{written}");
            }
        }
    }

    #[test]
    fn a_section_of_another_kind_is_refused() {
        for text in ["applicants = 1", "[[applicants]]\nx = 'y'", "zone = "] {
            assert!(with_mappings(text, &BTreeMap::new(), &[]).is_err(), "{text}");
        }
    }

    #[test]
    fn characters_that_nobody_sees_are_escaped() {
        let written =
            with_mappings("", &BTreeMap::from([("a\u{202e}\"\u{e0041}", quoted_toml("b\n").as_str())]), &[]).unwrap();
        assert!(written.is_ascii(), "{written}");
        let read: toml::Table = written.parse().unwrap();
        assert_eq!(read["applicants"]["a\u{202e}\"\u{e0041}"].as_str(), Some("b\n"));
    }
}
