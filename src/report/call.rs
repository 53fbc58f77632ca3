//! The options that commands in advice need, so that they can be pasted as they stand.

use std::collections::BTreeMap;

/// How this run was called: for each command that advice may name, the options that it needs to reach the same site,
/// destination and keys.
#[derive(Debug, Clone, Default)]
pub struct Call(BTreeMap<String, String>);

impl Call {
    /// Options by command: `stream accept` and `--site /srv/site`, as a shell reads them.
    pub fn new(options: BTreeMap<String, String>) -> Self {
        Self(options.into_iter().filter(|(_, options)| !options.is_empty()).collect())
    }

    /// The same for some of the commands.
    pub fn only(&self, keep: impl Fn(&str) -> bool) -> Self {
        Self(self.0.iter().filter(|(command, _)| keep(command)).map(|(c, o)| (c.clone(), o.clone())).collect())
    }

    /// The advice, with its options put into each `airpouch COMMAND`. A command that has them already is left as it is.
    pub fn complete(&self, advice: &str) -> String {
        const PROGRAM: &str = "airpouch ";
        let mut out = String::new();
        let mut rest = advice;
        while let Some(at) = rest.find(PROGRAM) {
            let (before, found) = rest.split_at(at + PROGRAM.len());
            out.push_str(before);
            rest = found;
            let Some((command, options)) = self.0.iter().rev().find(|(command, _)| begins_with_word(found, command))
            else {
                continue;
            };
            out.push_str(command);
            rest = &found[command.len()..];
            if rest.strip_prefix(' ').is_none_or(|rest| !begins_with_word(rest, options)) {
                out.push(' ');
                out.push_str(options);
            }
        }
        out + rest
    }
}

/// Whether a text begins with this word, and not with a longer one.
fn begins_with_word(text: &str, word: &str) -> bool {
    text.strip_prefix(word).is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '-' || c == '_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call() -> Call {
        let options = [("import", "--site a --to dir:b"), ("stream accept", "--site a"), ("status", "")];
        Call::new(options.map(|(command, options)| (command.to_owned(), options.to_owned())).into())
    }

    #[test]
    fn command_in_advice_gets_the_options_of_this_run() {
        let text = "settle it: airpouch stream accept S 2-3 --reason TEXT; then `airpouch import` (no medium needed)";
        let wanted = "settle it: airpouch stream accept --site a S 2-3 --reason TEXT; \
                      then `airpouch import --site a --to dir:b` (no medium needed)";
        assert_eq!(call().complete(text), wanted);
        assert_eq!(call().complete(wanted), wanted, "what has its options is left as it is");
    }

    #[test]
    fn other_commands_and_other_words_are_left_as_they_are() {
        for text in ["airpouch carry MEDIUM", "airpouch imports", "airpouch status", "import", "airpouch ", ""] {
            assert_eq!(call().complete(text), text);
        }
        assert_eq!(call().only(|command| command != "import").complete("airpouch import"), "airpouch import");
        assert_eq!(Call::default().complete("airpouch import"), "airpouch import");
    }
}
