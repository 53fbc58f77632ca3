//! A destination is looked at, and nothing is changed there.

use serde_json::json;

use crate::support::{APPLICANT, Broker, Platform, Unjudged, World, connector, envelope_with, fresh_id, push_queue};

/// A world in which one batch of one connector is in custody, and no destination was reached yet.
fn came() -> (World, String) {
    let (world, id) = (World::new(), fresh_id());
    world.put("a.json", &envelope_with("a", json!({"connector": connector(&id)})));
    world.send(&[]).exits(0);
    world.run(["import", "medium", "--to", "dir:nowhere/in", "--trust", "trust", "--site", "importer"]).exits(1);
    (world, id)
}

fn check(world: &World, to: &str, more: &[&str]) -> Unjudged {
    world.run(["check", "--to", to, "--site", "importer"].iter().chain(more))
}

fn through(world: &World, platform: &Platform, more: &[&str]) -> Unjudged {
    let token = platform.token_file();
    let usual = ["--token-file", token.to_str().unwrap(), "--unmapped", "default=0b2f1a56-6a1d-4c57-9f0e-3f1f3a2c9d10"];
    check(world, &platform.destination(), &[&usual, more].concat())
}

#[test]
fn check_reports_platform_version_user_and_broker() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let (world, id) = came();
    let there = json!([{"id": fresh_id(), "name": "Theirs", "type": "EXTERNAL_IMPORT", "scope": [], "auto": false, "active": false}]);
    let existing = Platform::existing(&world, &there);
    let platform = Platform::start(&["--version", "7.261026.0", "--existing", existing.to_str().unwrap()]);
    let run = through(&world, &platform, &[]).exits(0);
    for word in [
        "platform: OpenCTI 7.261026.0",
        "user: ",
        "1 connector imported so far",
        "as guest works",
        "is writable",
        "needs BYPASS",
    ] {
        run.clone().mentions(word);
    }
    run.says_nothing_of("a-token-of-the-tests");
    let changes = ["registerConnector", "workAdd", "pingConnector", "draftWorkspaceAdd"];
    assert!(platform.operations().iter().all(|o| !changes.contains(&o.operation.as_str())), "it changes nothing");
    assert_eq!(broker.count(&push_queue(&id)), None, "and makes no queue");
}

#[test]
fn check_reports_what_import_would_fail_on() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let (world, id) = came();
    let there =
        json!([{"id": id, "name": "Theirs", "type": "EXTERNAL_IMPORT", "scope": [], "auto": false, "active": true}]);
    let existing = Platform::existing(&world, &there);
    let arguments = ["--version", "6.0.10", "--existing", existing.to_str().unwrap()];
    let platform = Platform::start(&arguments);
    let run = through(&world, &platform, &[]).exits(3);
    run.clone().mentions("another name: Theirs").mentions("--take-over").mentions("left out: ");
    through(&world, &platform, &["--take-over"]).exits(0).says_nothing_of("another name");
    let token = platform.token_file();
    let run = check(&world, &platform.destination(), &["--token-file", token.to_str().unwrap()]).exits(3);
    run.mentions("not ready: applicant").mentions("is not mapped").mentions("airpouch applicants");
}

#[test]
fn check_reports_the_capabilities_that_a_token_lacks() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let (world, _) = came();
    let platform = Platform::start(&["--version", "7.261026.0", "--capabilities", "CONNECTORAPI"]);
    let run =
        through(&world, &platform, &[]).exits(3).mentions("lacks KNOWLEDGE_KNASKIMPORT").mentions("lacks MODULES");
    run.mentions("--works none").mentions("may not see connectors (MODULES)");
    let run = through(&world, &platform, &["--works", "none"]).exits(3).mentions("lacks KNOWLEDGE_KNASKIMPORT");
    run.mentions("does not say whether it has Example Feed already");
    let platform = Platform::start(&["--version", "7.261026.0", "--capabilities", "KNOWLEDGE"]);
    through(&world, &platform, &[]).exits(1).mentions("may not register connectors (CONNECTORAPI)");
}

#[test]
fn check_works_with_a_broker_alone() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let (world, id) = came();
    let default = ["--unmapped", "default=0b2f1a56-6a1d-4c57-9f0e-3f1f3a2c9d10"];
    let run = check(&world, &broker.url(None), &default).exits(0);
    run.mentions("as guest works").mentions(&format!("there is no queue {}", push_queue(&id)));
    assert_eq!(broker.count(&push_queue(&id)), None);
    check(&world, &broker.url(Some("nowhere")), &default).exits(1).mentions("virtual host");
    check(&world, "amqp://127.0.0.1:1", &default).exits(1).mentions("cannot reach the broker");
    check(&world, &broker.url(None), &[&default[..], &["--json"]].concat()).exits(0).mentions("\"facts\":");
}

#[test]
fn check_reports_an_alarm_of_the_broker_while_it_waits() {
    let Some(broker) = Broker::there() else { return };
    let (world, _) = came();
    let mut alone = broker.alone();
    alone.block();
    let run = check(&world, &broker.url(None), &["--patience", "2s"]).exits(1);
    run.mentions("it has raised an alarm: low on memory; waiting up to 2 s").mentions("gave up after 2 s");
}

#[test]
fn applicants_check_says_which_users_exist_and_asks_nothing_without_it() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let (world, _) = came();
    let [here, gone] = ["0b2f1a56-6a1d-4c57-9f0e-3f1f3a2c9d10", "3d5c7a10-2f64-4b0b-9c6e-1a7f0e2b8c43"];
    let capabilities = "CONNECTORAPI,MODULES,KNOWLEDGE_KNASKIMPORT,SETTINGS_SETACCESSES";
    let user = format!("{here}=CERT\u{1b}[2J");
    let platform = Platform::start(&["--capabilities", capabilities, "--user", &user]);
    let settings = |users: &str| {
        let (to, token) = (platform.destination(), platform.token_file());
        let text = format!("to = {to:?}\ntoken_file = {token:?}\nplaintext = true\n[applicants]\n{users}");
        std::fs::write(world.path("importer/airpouch.toml"), text).unwrap();
    };
    let applicants = |more: &[&str]| world.run(["applicants", "--site", "importer"].iter().chain(more));
    settings(&format!("{APPLICANT:?} = {here:?}\nanother = {here:?}\n"));
    applicants(&[]).exits(0).prints(here);
    assert!(platform.operations().is_empty(), "nothing is contacted");
    applicants(&["--check"]).exits(0).prints(&format!("as {here}: CERT\\u{{1b}}[2J"));
    let asked = platform.done();
    assert_eq!(asked.iter().filter(|operation| *operation == "user").count(), 1, "once for each user: {asked:?}");
    settings(&format!("{APPLICANT:?} = {{ to = {gone:?}, name = 'MISP' }}\n"));
    applicants(&["--check"]).exits(3).prints("(MISP)").prints(&format!("as {gone}: NO SUCH USER there"));
    let there = &applicants(&["--check", "--json"]).exits(3).json()["report"]["applicants"][0]["users"][0]["there"];
    assert_eq!(*there, json!({"exists": false, "name": null, "why": null}));
    let platform = Platform::start(&[]);
    let (to, token) = (platform.destination(), platform.token_file());
    let through = ["--check", "--to", &to, "--token-file", token.to_str().unwrap()];
    applicants(&through).exits(0).prints("not checked: the token may not ask").prints("SETTINGS_SETACCESSES");
    applicants(&["--check", "--to", "spool:x"]).exits(2).says("only a platform knows its users");
}
