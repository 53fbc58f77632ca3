//! A dict as Python's `repr` writes it: in this form OpenCTI's workers report what the platform answered.

/// The texts of a dict, by their keys. Numbers, lists and all else in it are passed over.
#[derive(Debug, PartialEq, Eq)]
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// Reads a dict whose keys are texts; none if the text is no such dict, up to its end.
    pub fn parse(text: &str) -> Option<Self> {
        let mut left = text.trim().strip_prefix('{')?;
        let mut fields = Vec::new();
        loop {
            if left == "}" {
                return Some(Self(fields));
            }
            let (key, rest) = literal(left)?;
            let rest = rest.strip_prefix(": ")?;
            let rest = match literal(rest) {
                Some((value, rest)) => {
                    fields.push((key, value));
                    rest
                }
                None => after_value(rest)?,
            };
            left = rest.strip_prefix(", ").unwrap_or(rest);
        }
    }

    /// The text of a key; of several with that key the first one.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(is, _)| is == key).map(|(_, value)| value.as_str())
    }
}

/// The text that begins with a quotation mark, and what follows behind it.
fn literal(text: &str) -> Option<(String, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let mut out = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            c if c == quote => return Some((out, &text[at + 1..])),
            '\\' => {
                let digits = match chars.next()?.1 {
                    'n' => {
                        out.push('\n');
                        continue;
                    }
                    'r' => {
                        out.push('\r');
                        continue;
                    }
                    't' => {
                        out.push('\t');
                        continue;
                    }
                    'x' => 2,
                    'u' => 4,
                    'U' => 8,
                    other => {
                        out.push(other);
                        continue;
                    }
                };
                let hex: String = chars.by_ref().take(digits).map(|(_, c)| c).collect();
                let code = u32::from_str_radix(&hex, 16).ok()?;
                out.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            c => out.push(c),
        }
    }
    None
}

/// What follows behind a value that is no text.
fn after_value(text: &str) -> Option<&str> {
    let (mut depth, mut left) = (0usize, text);
    loop {
        if let Some((_, rest)) = literal(left) {
            left = rest;
            continue;
        }
        let c = left.chars().next()?;
        match c {
            ',' | '}' if depth == 0 => return Some(left),
            '{' | '[' | '(' => depth += 1,
            '}' | ']' | ')' => depth = depth.checked_sub(1)?,
            '\'' | '"' => return None,
            _ => {}
        }
        left = &left[c.len_utf8()..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(text: &str, key: &str) -> Option<String> {
        Fields::parse(text)?.get(key).map(str::to_owned)
    }

    #[test]
    fn texts_are_read_with_their_escapes_and_the_rest_is_passed_over() {
        let text =
            r#"{'a': 'it\'s', 'n': 12, 'l': ['x', {"b}": "}"}, (1,)], 'none': None, 'b': "it's \\ \x41\u00e4\n"}"#;
        assert_eq!(get(text, "a").as_deref(), Some("it's"));
        assert_eq!(get(text, "b").as_deref(), Some("it's \\ A\u{e4}\n"));
        assert_eq!(get(text, "n"), None);
        assert_eq!(Fields::parse("{}"), Some(Fields(Vec::new())));
    }

    #[test]
    fn text_that_is_no_dict_up_to_its_end_is_none() {
        for text in [
            "",
            "Too large",
            "{",
            "{'a'}",
            "{'a': ",
            "{'a': 'b",
            "{'a': 'b'} x",
            "{'a': [1}",
            "{'a': ]}",
            "{a: 1}",
            "{'a': 1]}",
        ] {
            assert_eq!(Fields::parse(text), None, "{text}");
        }
    }

    #[test]
    fn key_that_stands_in_a_text_is_no_key() {
        assert_eq!(get(r#"{'a': "', 'doc_code': 'x"}"#, "doc_code"), None);
    }
}
