//! Applicants at import: mapped, unmapped, and the default for those who name nobody.

use std::fs;

use serde_json::json;

use super::{HERE, import_as};
use crate::support::{APPLICANT, World, envelope, envelope_with, files, finish};

#[test]
fn mapping_in_the_form_of_opencti_is_taken() {
    let world = World::new();
    let second = "11111111-2222-4333-8444-555555555555";
    world.made("a.json");
    world.put("b.json", &envelope_with("b", json!({"applicant_id": second})));
    world.send(&[]).exits(0);
    import_as(&world, &["medium", "--applicant", "nonsense"]).exits(2).says("FROM=TO, or FROM:TO,FROM:TO");
    import_as(&world, &["medium", "--applicant", &format!("{APPLICANT}:")]).exits(2).says("invalid mapping");
    import_as(&world, &["medium", "--unmapped", "drop"]).exits(2).says("--unmapped hold, or --unmapped default=ID");
    let both = format!("{APPLICANT}:{HERE}, {second}:{HERE}");
    import_as(&world, &["medium", "--applicant", &both]).exits(0).prints("delivered 2 envelopes");
}

#[test]
fn mapping_in_the_environment_is_taken() {
    let world = World::new();
    world.send_new(&["a.json"]);
    let mut run = world.command();
    run.args(["import", "medium", "--to", "dir:out", "--trust", "trust", "--site", "importer"]);
    finish(run.env("AIRPOUCH_APPLICANT", format!("x:{HERE},{APPLICANT}:{HERE}")))
        .exits(0)
        .prints("delivered 1 envelope");
}

#[test]
fn unmapped_applicant_is_shown_with_lines_that_work_when_pasted() {
    let world = World::new();
    world.made("a.json");
    world.put("null.json", &envelope_with("n", json!({"applicant_id": null})));
    world.send(&[]).exits(0);
    let run = import_as(&world, &["medium"]).exits(3).says("[applicants]").says("unmapped = \"default=ID\"");
    let run = run.says("held").says("no applicant at all");
    world.run(["applicants", "--site", "importer"]).exits(0).prints("# 1 envelope");
    // No user has that for an id, and everything in such a name would fail in the worker.
    let no_id = format!("{APPLICANT}=bob@example.org");
    let write = ["applicants", "--write", "--applicant", &no_id, "--site", "importer"];
    world.run(write).exits(2).says("\"bob@example.org\" is not the id of a user").says("a UUID");
    let line = format!("# \"{APPLICANT}\" = \"ID OF THE USER HERE\"    # 1 envelope");
    let run = run.says(&line);
    // What a person does with them: paste, take the mark away, put the ids in.
    let pasted = line.trim_start_matches("# ").replace("ID OF THE USER HERE", HERE);
    let settings = format!("unmapped = \"default={HERE}\"\n[applicants]\n{pasted}\n");
    fs::write(world.path("importer/airpouch.toml"), settings).unwrap();
    // The medium may leave: what is held is here.
    fs::remove_dir_all(world.medium()).unwrap();
    let again = import_as(&world, &[]).exits(0).prints("delivered 2 envelopes, all of them held before,");
    again.says_nothing_of("[applicants]");
    assert_ne!(run.said(), "");
    assert!(files(&world.path("importer/held")).is_empty());
    let delivered = world.delivered_bytes();
    assert!(delivered.contains(&envelope("a.json")), "dir: never changes an applicant that is named");
    world.run(["applicants", "--site", "importer"]).exits(0).says("DIODE_IMPORT_APPLICANT_MAPPINGS=");
}

#[test]
fn default_applicant_replaces_null_and_no_other_byte() {
    let world = World::new();
    // White space, escapes and the order of keys are the connector's own.
    let null = String::from_utf8(envelope("null")).unwrap();
    let null = null.replacen(&format!("\"applicant_id\":\"{APPLICANT}\""), "\"applicant_id\" : null ", 1);
    let null = null.replacen("\"Example Feed\"", "\"Ex\\u0061mple Feed\"", 1);
    world.put("null.json", null.as_bytes());
    world.put("named.json", &envelope("named"));
    world.send(&[]).exits(0);
    world.import(&["--to", "dir:other", "--site", "another"]).exits(3).says("names no applicant");
    import_as(&world, &["medium", "--unmapped", &format!("default={HERE}")]).exits(0).prints("delivered 2 envelopes");
    let wanted = null.replacen("\"applicant_id\" : null ", &format!("\"applicant_id\" : \"{HERE}\" "), 1);
    assert_eq!(world.delivered_bytes(), [wanted.into_bytes(), envelope("named")]);
}

#[test]
fn setting_inside_a_table_of_ids_is_wrong_usage() {
    let world = World::new();
    world.send_new(&["a.json"]);
    fs::create_dir(world.path("importer")).unwrap();
    for (table, setting) in [("applicants", "patience = \"2s\""), ("connectors", "works = \"none\"")] {
        let text = format!("[{table}]\n\"7c9e6679-7425-40de-944b-e07fc1f90ae7\" = \"x\"\n{setting}\n");
        fs::write(world.path("importer/airpouch.toml"), text).unwrap();
        let key = setting.split(' ').next().unwrap();
        world.import(&[]).exits(2).says(&format!("{key} is below [applicants] or [connectors]"));
    }
    fs::write(world.path("importer/airpouch.toml"), "[connectors]\na = \"here\"\nb = \"here\"\n").unwrap();
    world.import(&[]).exits(2).says("two connectors get the id here");
}
