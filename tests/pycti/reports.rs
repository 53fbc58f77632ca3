//! What a worker reports of an object: `str()` of the error that pycti's client raises, as Python itself writes it.

use std::collections::BTreeMap;
use std::process::Command;

use airpouch::opencti::repr::Fields;
use serde::Deserialize;

use crate::reference::Pycti;

/// Makes such errors, with every kind of text and value that may stand in one.
const MAKE: &str = r#"
import json, random
random.seed(7)
ALPHABET = list("abc'\"\\{}[](),: \n\r\t\0\x1b\x7f\x85\xa0\u00e4\u200b\u2028\u202e\ufeff\U0001f600") + ["\ud800"]
def text():
    return "".join(random.choice(ALPHABET) for _ in range(random.randrange(12)))
def value(depth=0):
    kinds = [text, text, lambda: random.randrange(-9, 9), lambda: None, lambda: True, lambda: random.random()]
    if depth < 3:
        kinds += [lambda: [value(depth + 1) for _ in range(random.randrange(4))],
                  lambda: tuple(value(depth + 1) for _ in range(random.randrange(3))),
                  lambda: {text(): value(depth + 1) for _ in range(random.randrange(3))}]
    return random.choice(kinds)()
for _ in range(5000):
    fields = {"name": text(), "error_message": text(), **{text(): value() for _ in range(random.randrange(5))}}
    texts = {k: v.replace("\ud800", "\ufffd") for k, v in fields.items() if isinstance(v, str) and "\ud800" not in k}
    print(json.dumps({"report": str(ValueError(fields)), "texts": texts}))
"#;

#[derive(Deserialize)]
struct Report {
    report: String,
    texts: BTreeMap<String, String>,
}

#[test]
fn reports_of_workers_are_read_as_python_writes_them() {
    if !Pycti::is_there() {
        return;
    }
    let python = std::env::var_os("AIRPOUCH_PYCTI").expect("it is there");
    let made = Command::new(python).args(["-c", MAKE]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let made = String::from_utf8(made.stdout).unwrap();
    assert_eq!(made.lines().count(), 5000);
    for line in made.lines() {
        let Report { report, texts } = serde_json::from_str(line).unwrap();
        let fields = Fields::parse(&report).unwrap_or_else(|| panic!("{report}"));
        for (key, text) in texts {
            assert_eq!(fields.get(&key), Some(text.as_str()), "{key:?} of {report}");
        }
    }
}
