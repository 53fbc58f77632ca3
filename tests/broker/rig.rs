//! The rig itself: a test that leans on it is worth no more than it is.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    APPLICANT, Broker, Fault, Message, Platform, Proxy, Stock, World, connector, envelope_with, eventually, finish,
    fresh_id, push_queue,
};

const REGISTER: &str = "mutation R($input: RegisterConnectorInput) { registerConnector(input: $input) {
    id config { connection { host port } push push_exchange push_routing } } }";

fn registration(id: &str) -> Value {
    json!({"input": {"id": id, "name": "Example Feed", "type": "EXTERNAL_IMPORT", "scope": ["indicator"],
        "auto": false, "only_contextual": false, "playbook_compatible": false}})
}

#[track_caller]
fn code(answer: &Value) -> &str {
    answer["errors"][0]["extensions"]["code"].as_str().unwrap_or_else(|| panic!("not refused: {answer}"))
}

#[test]
fn a_platform_of_6_8_8_refuses_auto_update_and_one_of_6_8_9_takes_it() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let id = fresh_id();
    let (plain, mut newer) = (registration(&id), registration(&id));
    newer["input"]["auto_update"] = json!(false);

    let old = Platform::start(&["--version", "6.8.8"]);
    let refused = old.ask(REGISTER, newer.clone());
    assert_eq!(code(&refused), "BAD_USER_INPUT");
    assert!(refused["errors"][0]["message"].as_str().unwrap().contains("auto_update"), "{refused}");
    assert_eq!(broker.count(&push_queue(&id)), None, "what was refused declares nothing");
    let taken = old.ask(REGISTER, plain);
    assert_eq!(taken["data"]["registerConnector"]["config"]["push"], json!(push_queue(&id)), "{taken}");
    assert_eq!(broker.count(&push_queue(&id)), Some(0));
    let operations = old.operations();
    assert!(operations[0].refused.as_ref().unwrap().contains("auto_update"));
    assert_eq!((operations[1].at, &operations[1].refused), (2, &None));

    let new = Platform::start(&["--version", "6.8.9"]);
    let taken = new.ask(REGISTER, newer);
    assert_eq!(taken["data"]["registerConnector"]["id"], json!(id), "{taken}");
}

#[test]
fn stand_in_has_no_later_fields_and_refuses_a_scalar_for_an_object() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let old = Platform::start(&["--version", "6.0.10"]);
    for query in [
        "{ isWorkAlive(id: \"a\") }",
        "mutation { draftWorkspaceAdd(input: {name: \"a\"}) { id } }",
        "mutation { workAdd(connectorId: \"a\", isMultiPartWork: false) { id } }",
        "mutation { workEdit(id: \"a\") { addDraftContext(draftContext: \"a\") } }",
        "{ connectors { config { s3 { endpoint } } } }",
        "{ connectors { jwks } }",
        "{ about }",
    ] {
        assert_eq!(code(&old.ask(query, json!({}))), "GRAPHQL_VALIDATION_FAILED", "{query}");
    }
    let newest = Platform::start(&["--version", "7.261026.0"]);
    let query = "{ isWorkAlive(id: \"a\") about { version } }";
    assert_eq!(
        newest.ask(query, json!({})),
        json!({"data": {"isWorkAlive": false, "about": {"version": "7.261026.0"}}})
    );
}

/// What the contract says of every message that pycti sends.
fn is_as_pycti_sends(message: &Message, id: &str, sequence: usize, work: &str) {
    assert_eq!(message.delivery_mode, Some(2));
    assert_eq!(message.content_encoding.as_deref(), Some("utf-8"));
    assert_eq!((&message.content_type, &message.message_id, &message.headers), (&None, &None, &Value::Null));
    assert_eq!(message.exchange, "amqp.worker.exchange");
    assert_eq!(message.routing_key, format!("push_routing_{id}"));
    let fields = message.json();
    assert_eq!(fields["bundle_type"], "QUEUE_BUNDLE");
    assert_eq!(fields["applicant_id"], APPLICANT);
    assert_eq!(fields["action_sequence"], sequence);
    assert_eq!(fields["entities_types"], json!([]));
    assert_eq!((&fields["update"], &fields["draft_id"]), (&json!(false), &Value::Null));
    assert_eq!(fields["no_split"], false);
    assert_eq!(fields["work_id"], work);
    assert_eq!(fields.as_object().unwrap().len(), 9);
    let bundle: Value = serde_json::from_str(&message.bundle()).unwrap();
    assert_eq!(bundle["objects"].as_array().unwrap().len(), 1);
}

#[test]
fn stock_connector_publishes_messages_as_documented() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let (world, id) = (World::new(), fresh_id());
    let fields = || json!({"connector": connector(&id)});
    let envelopes = ["one", "two"].map(|n| world.put(&format!("{n}.json"), &envelope_with(n, fields())));
    let platform = Platform::start(&["--version", "7.261026.0"]);
    let sent = Stock::run(&envelopes, &platform.url());
    assert_eq!(sent.iter().map(|s| s.messages).collect::<Vec<_>>(), [1, 1]);

    assert_eq!(broker.peek(&push_queue(&id)).len(), 2);
    let messages = broker.take(&push_queue(&id));
    assert_eq!(messages.len(), 2);
    for (message, sent) in messages.iter().zip(&sent) {
        is_as_pycti_sends(message, &id, 1, &sent.work);
    }
    assert_eq!(broker.count(&push_queue(&id)), Some(0));

    let done = ["workAdd", "workEdit.addExpectations", "workEdit.toProcessed"];
    assert_eq!(platform.done(), [&["registerConnector"][..], &done, &done].concat());
    let works = platform.works();
    assert_eq!(works[0].name.as_deref(), Some("Example Feed run @ Sun Jun 15 15:07:40 2025"));
    for (work, sent) in works.iter().zip(&sent) {
        assert_eq!((&work.id, work.expected, work.processed), (&sent.work, 1, 0));
        assert_eq!(work.status, "wait", "no worker has reported");
        assert_eq!(work.messages[0]["message"], "Connector successfully run");
    }
    assert_eq!(platform.connectors()[0]["connector_scope"], json!(["indicator", "report"]));
}

#[test]
fn stock_connector_opens_a_draft_if_the_envelope_asks_for_one() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let (world, id) = (World::new(), fresh_id());
    let mut wants = connector(&id);
    wants["validate_before_import"] = json!(true);
    let envelope = world.put("one.json", &envelope_with("one", json!({"connector": wants})));
    let platform = Platform::start(&[]);
    Stock::run_as(&[envelope], &platform.url(), "");
    let operations = platform.operations();
    let draft = operations.iter().find(|o| o.operation == "draftWorkspaceAdd").unwrap().made.clone();
    let fields = broker.take(&push_queue(&id))[0].json();
    assert_eq!(fields["draft_id"], json!(draft));
    assert_eq!(fields["applicant_id"], Value::Null, "nobody is mapped");
    assert_eq!(platform.works()[0].draft_context, draft);
}

#[test]
fn works_end_when_all_is_reported_and_edits_of_a_deleted_one_are_answered() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let id = fresh_id();
    let platform = Platform::start(&["--fault", "forget:isWorkAlive:2"]);
    platform.ask(REGISTER, registration(&id));
    let add = |more: &str| {
        let answer = platform.ask(&format!("mutation {{ workAdd(connectorId: \"{id}\"{more}) {{ id }} }}"), json!({}));
        answer["data"]["workAdd"]["id"].as_str().unwrap().to_owned()
    };
    let edit = |work: &str, what: &str| {
        platform.ask(&format!("mutation {{ workEdit(id: \"{work}\") {{ {what} }} }}"), json!({}))
    };
    let status = |at: usize| platform.works()[at].status.clone();
    let (one, many) = (add(""), add(", isMultiPartWork: true"));
    for work in [&one, &many] {
        edit(work, "addExpectations(expectations: 1)");
        edit(work, "reportExpectation(error: {error: \"e\", source: \"s\"})");
    }
    assert_eq!((status(0), status(1)), ("complete".to_owned(), "wait".to_owned()));
    edit(&many, "toProcessed(message: \"done\")");
    assert_eq!(status(1), "complete");
    assert_eq!(platform.works()[1].errors[0]["message"], "e");

    let alive = format!("{{ isWorkAlive(id: \"{one}\") }}");
    assert_eq!(platform.ask(&alive, json!({}))["data"]["isWorkAlive"], true);
    assert_eq!(platform.ask(&alive, json!({}))["data"]["isWorkAlive"], false);
    assert_eq!(edit(&one, "addExpectations(expectations: 1)")["data"]["workEdit"]["addExpectations"], json!(one));
    assert!(platform.works().is_empty());
}

#[test]
fn faults_happen_once_at_the_chosen_request() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let faults = ["502:about:2", "429:3", "reset:4", "lost:5", "html:6", "denied:7", "504:8", "down=0.3:9"];
    let platform = Platform::start(&faults.map(|f| ["--fault", f]).concat());
    let about = json!({"query": "{ about { version } }"}).to_string();
    let statuses: Vec<u16> = (1..=10).map(|_| platform.post("/graphql", &about).0).collect();
    assert_eq!(statuses, [200, 502, 429, 0, 0, 200, 200, 504, 0, 0]);
    eventually("the platform is back", || platform.post("/graphql", &about).0 == 200);
    assert_eq!(platform.post("/elsewhere", &about).0, 404);
    let done: Vec<u64> = platform.operations().iter().filter(|o| o.refused.is_none()).map(|o| o.at).collect();
    assert_eq!(done, [1, 5, 8, 10], "lost and 504 are done");
}

#[test]
fn token_may_do_only_what_its_capabilities_allow() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let id = fresh_id();
    let add = json!({"query": format!("mutation {{ workAdd(connectorId: \"{id}\") {{ id }} }}")});
    let platform = Platform::start(&["--capabilities", "CONNECTORAPI,KNOWLEDGE"]);
    assert!(platform.ask(REGISTER, registration(&id))["errors"].is_null());
    assert_eq!(code(&platform.ask(add["query"].as_str().unwrap(), json!({}))), "FORBIDDEN_ACCESS");
    let draft = platform.ask("mutation { draftWorkspaceAdd(input: {name: \"a\"}) { id } }", json!({}));
    assert!(draft["errors"].is_null(), "{draft}");
    assert_eq!(code(&platform.ask("{ connectors { id } }", json!({}))), "FORBIDDEN_ACCESS");
    let other = Platform::start(&["--capabilities", "KNOWLEDGE_KNASKIMPORT"]);
    assert_eq!(code(&other.ask(REGISTER, registration(&id))), "FORBIDDEN_ACCESS");
}

#[test]
fn existing_connectors_are_known_and_queue_names_have_the_prefix() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let (world, id) = (World::new(), fresh_id());
    let there = json!({"id": id, "name": "There", "type": "STREAM", "scope": [], "auto": true, "active": false});
    let existing = Platform::existing(&world, &json!([there]));
    let more = ["--queue-prefix", "site", "--queue-type", "quorum", "--amqp-host-told", "rabbitmq", "--existing"];
    let platform = Platform::start(&[&more[..], &[existing.to_str().unwrap()]].concat());
    let query = format!(
        "{{ connector(id: \"{id}\") {{ name active config {{ connection {{ host }} push_exchange push }} }} }}"
    );
    let queue = format!("site_push_{id}");
    let config =
        json!({"connection": {"host": "rabbitmq"}, "push_exchange": "site_amqp.worker.exchange", "push": queue});
    let known = json!({"name": "There", "active": false, "config": config});
    assert_eq!(platform.ask(&query, json!({}))["data"]["connector"], known);
    assert_eq!(broker.count(&queue), Some(0));
    assert!(broker.ctl(&["-q", "list_queues", "name", "type"]).contains(&format!("{queue}\tquorum")));
}

#[test]
fn deleted_queue_has_no_count() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let queue = fresh_id();
    broker.declare(&queue, &["--argument", "x-max-length=1"]);
    assert_eq!(broker.count(&queue), Some(0));
    broker.delete(&queue);
    assert_eq!(broker.count(&queue), None);
}

#[test]
fn stopped_broker_starts_again() {
    let Some(broker) = Broker::there() else { return };
    let connects = || TcpStream::connect(("127.0.0.1", broker.port())).is_ok();
    let mut alone = broker.alone();
    alone.stop();
    assert!(!connects());
    drop(alone);
    let mut alone = broker.alone();
    assert!(connects());
    alone.block();
    let alarms = || broker.ctl(&["-q", "eval", "rabbit_alarm:get_alarms()."]);
    assert!(alarms().contains("memory"));
    drop(alone);
    let _shared = broker.shared();
    eventually("the alarm is over", || !alarms().contains("memory"));
}

#[test]
fn broker_and_platform_have_a_certificate_of_the_tests_ca() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let (ca, cert, key) = ("ca.pem", "server.pem", "server.key");
    let [ca, cert, key] = [ca, cert, key].map(|name| Broker::tls().join(name).to_str().unwrap().to_owned());
    let platform = Platform::start(&["--tls", &cert, &key]);
    assert!(platform.url().starts_with("https://"));
    for port in [broker.tls_port(), platform.port()] {
        let mut openssl = Command::new("openssl");
        openssl.args(["s_client", "-verify_return_error", "-verify_ip", "127.0.0.1", "-CAfile", &ca]);
        openssl.arg("-connect").arg(format!("127.0.0.1:{port}")).stdin(Stdio::null());
        finish(&mut openssl).exits(0).mentions("Verify return code: 0 (ok)");
    }
}

/// A server that says back whatever it hears.
fn echo() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut stream.try_clone().unwrap(), &mut &stream);
            });
        }
    });
    port
}

/// What comes back of what is said, until the connection ends or half a second is silent; and whether it ended.
fn said_back(port: u16, count: usize) -> (usize, bool) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let _ = stream.write_all(&vec![7; count]);
    let (mut heard, mut buffer) = (0, [0; 4096]);
    while heard < count {
        match stream.read(&mut buffer) {
            Ok(0) => return (heard, true),
            Ok(more) => heard += more,
            Err(e) => return (heard, e.kind() != std::io::ErrorKind::WouldBlock),
        }
    }
    (heard, false)
}

#[test]
fn proxy_cuts_the_connection_at_the_chosen_byte() {
    let server = echo();
    let proxy = Proxy::to(server, Fault::CutToServer(50_000));
    assert!(said_back(proxy.port(), 100_000).0 <= 50_000);
    assert!(proxy.has_struck());
    assert_eq!(proxy.to_server(), 50_000);
    // Once: the next connection passes, until another fault is armed.
    assert_eq!(said_back(proxy.port(), 100_000), (100_000, false));

    proxy.arm(Fault::CutToClient(10));
    assert_eq!(said_back(proxy.port(), 100), (10, true));
    proxy.arm(Fault::StallToClient(10));
    assert_eq!(said_back(proxy.port(), 100), (10, false));
    let before = proxy.to_server();
    proxy.arm(Fault::StallToServer(20));
    // The echo of the twenty does not pass either, or it was on its way already.
    assert!(matches!(said_back(proxy.port(), 100), (0 | 20, false)));
    assert_eq!(proxy.to_server() - before, 20);
    assert_eq!(proxy.connections(), 5);

    proxy.arm(Fault::Refuse(Duration::from_millis(200)));
    assert_eq!(said_back(proxy.port(), 100), (0, true));
    eventually("the proxy takes connections again", || said_back(proxy.port(), 100) == (100, false));
}
