//! A work as the platform shows it: how far its messages came, and which objects it could not ingest.

use serde_json::Value;

use super::repr::Fields;

/// Errors that a platform keeps of one work at most; older ones keep 5,000 (its `reportExpectation`).
pub const ERRORS_KEPT: usize = 100;

/// The platform's codes (`doc_code`) for objects that its own rules refuse: they are refused again whenever they come.
const REFUSED_BY_RULES: [&str; 3] =
    ["INCORRECT_OBSERVABLE_FORMAT", "INCORRECT_INDICATOR_FORMAT", "INDICATOR_PATTERN_EXCLUDED"];

/// How far a work has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkThere {
    /// Whether the platform expects nothing more of it.
    pub is_complete: bool,
    /// Messages, or objects that workers made of them, that it expects; none where it does not say.
    pub expected: Option<u64>,
    /// Those that workers have reported.
    pub processed: Option<u64>,
    /// How many errors it has.
    pub errors: usize,
}

/// An object that could not be ingested, as a worker reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IngestError {
    /// What kind of error it is.
    pub kind: ErrorKind,
    /// The platform's code for it: its `doc_code`, else the error's name; none where a worker writes a sentence.
    pub code: Option<String>,
    /// The platform's or the worker's words.
    pub words: String,
    /// The object's STIX id, if the report names one.
    pub object: Option<String>,
}

/// What an error of a work is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The platform's rules refuse the object: it is not ingested, however often it comes.
    Refused,
    /// The object was not ingested; it may be, the next time.
    Failed,
    /// airpouch closed the work in error itself: a run was interrupted, and what was not confirmed went again.
    Ours,
}

/// Reads the answer to [`super::api::Question::work`]: the inner `None` where the platform has no such work, the outer one
/// where the answer is none.
#[allow(clippy::option_option, reason = "no work and no answer are two things")]
pub fn work_there(data: &Value) -> Option<Option<WorkThere>> {
    let work = data.get("work")?;
    if work.is_null() {
        return Some(None);
    }
    let number = |name: &str| work["tracking"][name].as_u64();
    Some(Some(WorkThere {
        is_complete: work.get("status")?.as_str()? == "complete",
        expected: number("import_expected_number"),
        processed: number("import_processed_number"),
        errors: work["errors"].as_array().map_or(0, Vec::len),
    }))
}

/// Reads the errors of a work, in the order of the platform, `most` of them.
pub fn ingest_errors(data: &Value, most: usize) -> Vec<IngestError> {
    let errors = data["work"]["errors"].as_array();
    errors.into_iter().flatten().take(most).map(ingest_error).collect()
}

/// pycti's worker reports `str()` of an error, which is a dict where the platform answered, and the object as JSON
/// (`OpenCTIStix2._report_expectation_item_error`).
fn ingest_error(error: &Value) -> IngestError {
    let message = error["message"].as_str().unwrap_or_default();
    let source = error["source"].as_str();
    let mut read = IngestError { kind: ErrorKind::Failed, code: None, words: message.to_owned(), object: None };
    if source.is_none() && message.starts_with("airpouch") {
        read.kind = ErrorKind::Ours;
        return read;
    }
    read.object = source.and_then(object_of);
    if let Some(fields) = Fields::parse(message) {
        read.code = fields.get("doc_code").or_else(|| fields.get("name")).map(str::to_owned);
        read.words = fields.get("error_message").unwrap_or(message).to_owned();
        if fields.get("doc_code").is_some_and(|code| REFUSED_BY_RULES.contains(&code)) {
            read.kind = ErrorKind::Refused;
        }
    }
    read
}

/// The id of the object in a report: of the object itself, of the first one of a bundle, or in a sentence.
fn object_of(source: &str) -> Option<String> {
    let text = |value: &Value| value["id"].as_str().map(str::to_owned);
    match serde_json::from_str::<Value>(source) {
        Ok(value) if value["type"] == "bundle" => text(&value["objects"][0]),
        Ok(value) => text(&value),
        Err(_) => source.split_whitespace().find(|word| word.contains("--")).map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(message: &str, source: &Value) -> IngestError {
        let error = json!({"message": message, "source": source});
        ingest_errors(&json!({"work": {"errors": [error]}}), 1).remove(0)
    }

    #[test]
    fn missing_reference_is_a_failure_of_its_object() {
        let message = "{'name': 'MISSING_REFERENCE_ERROR', 'error_message': \"Element(s) not found\", \
             'unresolvedIds': ['malware--1', \"it's\"], 'reason': None}";
        let error = read(message, &json!(r#"{"type": "relationship", "id": "relationship--a"}"#));
        assert_eq!(error.kind, ErrorKind::Failed);
        assert_eq!(error.code.as_deref(), Some("MISSING_REFERENCE_ERROR"));
        assert_eq!(error.words, "Element(s) not found");
        assert_eq!(error.object.as_deref(), Some("relationship--a"));
    }

    #[test]
    fn object_that_a_rule_of_the_platform_refuses_is_of_its_own_kind() {
        for code in REFUSED_BY_RULES {
            let message = format!("{{'name': 'FUNCTIONAL_ERROR', 'error_message': 'no', 'doc_code': '{code}'}}");
            let bundle = json!(r#"{"type":"bundle","objects":[{"id":"indicator--a"}]}"#);
            let error = read(&message, &bundle);
            assert_eq!((error.kind, error.code.as_deref()), (ErrorKind::Refused, Some(code)));
            assert_eq!(error.object.as_deref(), Some("indicator--a"));
        }
    }

    #[test]
    fn words_of_an_object_name_no_code_and_no_error_of_ours() {
        let message =
            r#"{'name': 'UNSUPPORTED_ERROR', 'error_message': "x', 'doc_code': 'INDICATOR_PATTERN_EXCLUDED', 'y': '"}"#;
        let error = read(message, &json!("Bundle too large"));
        assert_eq!((error.kind, error.code.as_deref()), (ErrorKind::Failed, Some("UNSUPPORTED_ERROR")));
        let error = read("airpouch: a run was interrupted", &json!("{}"));
        assert_eq!(error.kind, ErrorKind::Failed, "workers name a source, airpouch does not");
    }

    #[test]
    fn sentences_of_workers_are_kept_and_so_are_ours() {
        let too_large =
            read("Too large element in bundle", &json!("Element report--a is too large and couldn't be processed"));
        assert_eq!((too_large.kind, too_large.code), (ErrorKind::Failed, None));
        assert_eq!(too_large.object.as_deref(), Some("report--a"));
        assert_eq!(read("airpouch: a run was interrupted", &Value::Null).kind, ErrorKind::Ours);
    }

    #[test]
    fn work_that_is_gone_differs_from_a_malformed_answer() {
        assert_eq!(work_there(&json!({"work": null})), Some(None));
        for garbage in [json!(null), json!({}), json!({"work": 1}), json!({"work": {"id": "a"}})] {
            assert_eq!(work_there(&garbage), None, "{garbage}");
        }
        let running = json!({"work": {"status": "progress", "tracking": null, "errors": []}});
        assert_eq!(work_there(&running), Some(Some(WorkThere::default())));
    }
}
