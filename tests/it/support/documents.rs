//! Holds every JSON document that the tests see against the schema of its verb in docs/json.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::Value;

/// The schemas, by the name of their file.
struct Compiled {
    schemas: Schemas,
    by_name: BTreeMap<String, SchemaIndex>,
}

fn compiled() -> &'static Compiled {
    static COMPILED: OnceLock<Compiled> = OnceLock::new();
    COMPILED.get_or_init(|| {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/json");
        let (mut schemas, mut by_name) = (Schemas::new(), BTreeMap::new());
        let mut compiler = Compiler::new();
        compiler.enable_format_assertions();
        for file in std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
            let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
            let index = compiler.compile(file.to_str().unwrap(), &mut schemas).unwrap_or_else(|e| panic!("{e:#}"));
            by_name.insert(name, index);
        }
        Compiled { schemas, by_name }
    })
}

/// The document of a run with `--json`, if the text is one.
pub fn document(text: &str) -> Option<Value> {
    let value: Value = serde_json::from_str(text).ok()?;
    ["version", "verb", "warnings"].iter().all(|key| value.get(key).is_some()).then_some(value)
}

/// Fails where a document has a key that is not in the schema of its verb, or lacks one that is.
#[track_caller]
pub fn validate(document: &Value) {
    let verb = document["verb"].as_str().unwrap_or_else(|| panic!("it names no verb: {document}"));
    let Compiled { schemas, by_name } = compiled();
    let index = by_name.get(&verb.replace(' ', "-")).unwrap_or_else(|| panic!("{verb} has no schema in docs/json"));
    if let Err(fault) = schemas.validate(document, *index) {
        panic!("docs/json does not describe this document of {verb}: {fault:#}\n{document}");
    }
}
