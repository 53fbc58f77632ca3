//! A spool is drained into queues.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::{
    Broker, Fault, Message, Platform, Proxy, Unjudged, World, connector, ended, envelope_with, eventually, fresh_id,
    push_queue,
};

/// A world with a spool in which messages of two connectors lie, one after the other.
pub fn spooled(envelopes: usize, objects: usize) -> (World, [String; 2]) {
    let (world, ids) = (World::new(), [fresh_id(), fresh_id()]);
    for number in 0..envelopes {
        let id = &ids[number % 2];
        let name = format!("{number:04}.json");
        let objects: Vec<Value> = (0..objects).map(|at| tool(&format!("{id}-{number}-{at}"))).collect();
        let bundle = json!({"type": "bundle", "id": format!("bundle--{id}"), "objects": objects});
        let fields = json!({"connector": connector(id), "bundle": bundle, "entities_types": "tool"});
        world.put(&name, &envelope_with(&name, fields));
    }
    world.send(&[]).exits(0);
    world.import(&["--to", "spool:spool"]).exits(0);
    (world, ids)
}

fn tool(name: &str) -> Value {
    let digest = airpouch::digest::Digest::of(name.as_bytes()).to_string();
    let id = format!(
        "tool--{}-{}-4{}-8{}-{}",
        &digest[..8],
        &digest[8..12],
        &digest[13..16],
        &digest[17..20],
        &digest[20..32]
    );
    json!({"type": "tool", "id": id, "name": name})
}

fn drain(world: &World, to: &str, more: &[&str]) -> Unjudged {
    world.run(["drain", "spool", "--to", to, "--site", "importer"].iter().chain(more))
}

fn through(world: &World, platform: &Platform, more: &[&str]) -> Unjudged {
    let token = platform.token_file();
    let usual = ["--token-file", token.to_str().unwrap()];
    drain(world, &platform.destination(), &[&usual, more].concat())
}

/// The bodies that lie in the spool for a connector, in their order.
fn bodies(world: &World, id: &str) -> Vec<String> {
    let dir = world.path("spool").join(id);
    let mut names: Vec<_> =
        fs::read_dir(&dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name.starts_with('0'));
    names.sort();
    names.iter().map(|name| fs::read_to_string(dir.join(name)).unwrap()).collect()
}

fn is_empty(world: &World) -> bool {
    let all = walkdir::WalkDir::new(world.path("spool"));
    // An id may begin with the digit that numbers begin with.
    all.into_iter()
        .map(|e| e.unwrap())
        .all(|e| !(e.file_type().is_file() && e.file_name().to_string_lossy().starts_with('0')))
}

/// The messages, once each, in the order in which they came first; how often any came again.
fn once(messages: Vec<Message>) -> (Vec<Message>, usize) {
    let (mut seen, mut kept, mut again): (BTreeMap<String, String>, Vec<Message>, usize) =
        (BTreeMap::new(), Vec::new(), 0);
    for message in messages {
        let content = message.json()["content"].to_string();
        match seen.insert(message.message_id.clone().unwrap(), content.clone()) {
            Some(before) => {
                assert_eq!(before, content, "one id, two messages");
                again += 1;
            }
            None => kept.push(message),
        }
    }
    (kept, again)
}

#[test]
fn messages_of_a_spool_are_sent_unchanged_and_in_order() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let (world, ids) = spooled(6, 3);
    let there: Vec<Vec<String>> = ids.iter().map(|id| bodies(&world, id)).collect();
    drain(&world, &broker.url(None), &[]).exits(0).mentions("drained 9 messages");
    for (id, there) in ids.iter().zip(there) {
        let messages = broker.take(&push_queue(id));
        assert_eq!(messages.iter().map(|m| m.body.clone()).collect::<Vec<_>>(), there);
        let first = &messages[0];
        assert_eq!((first.delivery_mode, first.content_encoding.as_deref()), (Some(2), Some("utf-8")));
        assert_eq!(first.routing_key, format!("push_routing_{id}"));
        assert!(first.message_id.as_ref().unwrap().starts_with("airpouch-spool-"));
    }
    assert!(is_empty(&world));
    assert_eq!(drain(&world, &broker.url(None), &[]).exits(0).said(), "", "nothing to do, and quiet");
    // What comes later has other numbers, and other ids.
    let name = "later.json";
    world.put(name, &envelope_with(name, json!({"connector": connector(&ids[0])})));
    world.send(&[]).exits(0);
    world.import(&["--to", "spool:spool"]).exits(0);
    drain(&world, &broker.url(None), &[]).exits(0).mentions("drained 1 message");
}

#[test]
fn works_are_opened_only_when_messages_are_sent() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let (world, ids) = spooled(4, 3);
    assert!(ids.iter().flat_map(|id| bodies(&world, id)).all(|body| !body.contains("work_id")));
    let platform = Platform::start(&["--version", "7.261026.0"]);
    through(&world, &platform, &[]).exits(0);
    let works = platform.works();
    assert_eq!(works.len(), 2);
    for id in &ids {
        let work = works.iter().find(|w| w.connector_id == *id).unwrap();
        assert_eq!((work.expected, work.is_multi_part), (6, true));
        assert!(work.errors.is_empty() && !work.messages.is_empty(), "closed: {work:?}");
        let messages = broker.take(&push_queue(id));
        assert_eq!(messages.len(), 6);
        for message in messages {
            assert!(message.body.ends_with(&format!(", \"work_id\": \"{}\"}}", work.id)), "{}", message.body);
        }
    }
    assert!(is_empty(&world));
}

#[test]
fn messages_without_works_are_unchanged() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let (world, ids) = spooled(2, 2);
    let there = bodies(&world, &ids[0]);
    let platform = Platform::start(&["--version", "6.0.10"]);
    through(&world, &platform, &["--works", "none"]).exits(0);
    assert_eq!(broker.take(&push_queue(&ids[0])).iter().map(|m| m.body.clone()).collect::<Vec<_>>(), there);
    assert!(platform.works().is_empty());
}

#[test]
fn killed_drain_continues_where_it_stopped() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let (world, ids) = spooled(20, 300);
    // Each is killed while it waits for an answer to this, the last one with a group of messages in the queues.
    let kills = [
        ("workAdd", 1),
        ("workEdit.addExpectations", 1),
        ("isWorkAlive", 1),
        ("workEdit.addExpectations", 3),
        ("isWorkAlive", 5),
    ];
    let faults = kills.map(|(operation, number)| format!("slow=60:{operation}:{number}"));
    let faults: Vec<&str> = faults.iter().flat_map(|fault| ["--fault", fault]).collect();
    let platform = Platform::start(&[&["--version", "7.261026.0"][..], &faults].concat());
    let token = platform.token_file();
    for (operation, number) in kills {
        let mut child = slow_drain(&world, &platform, &token);
        let asked = || platform.operations().iter().filter(|o| o.operation == operation).count() >= number;
        eventually(&format!("{operation} is asked for"), asked);
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let run = through(&world, &platform, &[]).exits(0);
    assert!(is_empty(&world));
    // Each of those that were killed was to say what the ones before it may have sent twice.
    let said = run.said();
    let warned = said.split_once("was cut off; ").map_or("0", |(_, rest)| rest.split(' ').next().unwrap());
    let warned: usize = warned.replace(',', "").parse().unwrap();
    let mut repeated = 0;
    for id in &ids {
        let (kept, again) = once(broker.take(&push_queue(id)));
        assert_eq!(kept.len(), 3_000, "none is lost");
        assert!(again <= 5 * 2_000, "{again} came again");
        repeated += again;
        let names: Vec<String> = kept
            .iter()
            .map(|m| {
                serde_json::from_str::<Value>(&m.bundle()).unwrap()["objects"][0]["name"].as_str().unwrap().to_owned()
            })
            .collect();
        let order: Vec<(usize, usize)> = names.iter().map(|name| at(name)).collect();
        assert!(order.is_sorted(), "in their order");
    }
    assert!(repeated > 0 && repeated <= warned, "{repeated} came again, {warned} were told of");
    // Each work was told that it is at its end. Killed between the answer and its note, one is known to nobody here.
    let open: Vec<_> = platform.works().into_iter().filter(|w| w.messages.is_empty() && w.errors.is_empty()).collect();
    assert!(open.len() <= 5 && open.iter().all(|w| w.expected == 0), "{open:?}");
}

/// Envelope and object of a name `<id>-<envelope>-<object>`.
fn at(name: &str) -> (usize, usize) {
    let mut parts = name.rsplit('-').map(|n| n.parse().unwrap());
    let (object, envelope) = (parts.next().unwrap(), parts.next().unwrap());
    (envelope, object)
}

#[test]
fn broker_lost_during_a_drain_loses_no_message() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let (world, ids) = spooled(10, 200);
    let proxy = Proxy::to(broker.port(), Fault::CutToServer(300_000));
    drain(&world, &format!("amqp://guest@127.0.0.1:{}", proxy.port()), &[])
        .exits(0)
        .mentions("broke")
        .mentions("drained");
    assert!(proxy.has_struck() && is_empty(&world));
    for id in &ids {
        assert_eq!(once(broker.take(&push_queue(id))).0.len(), 1_000);
    }
}

#[test]
fn drain_that_is_asked_to_stop_ends_between_two_groups_and_sends_nothing_twice() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let (world, ids) = spooled(12, 500);
    let spooled: BTreeMap<&String, Vec<String>> = ids.iter().map(|id| (id, bodies(&world, id))).collect();
    let proxy = Proxy::to(broker.port(), Fault::SlowToServer(300_000));
    let to = format!("amqp://guest@127.0.0.1:{}", proxy.port());
    let mut command = world.command();
    command.args(["drain", "spool", "--to", &to, "--site", "importer"]);
    let run = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    eventually("messages flow", || proxy.has_struck());
    kill_process(Pid::from_raw(run.id() as i32).unwrap(), Signal::TERM).unwrap();
    proxy.arm(Fault::Nothing);
    let stopped = ended(run);
    let said = String::from_utf8_lossy(&stopped.stderr).into_owned();
    assert_eq!(stopped.status.signal(), Some(15), "{said}");
    assert!(said.contains(" messages; the next drain sends what is in the spool"), "{said}");
    assert!(!is_empty(&world));
    drain(&world, &to, &[]).exits(0).says_nothing_of("a second time");
    assert!(is_empty(&world));
    for (id, bodies) in spooled {
        let (messages, again) = once(broker.take(&push_queue(id)));
        assert_eq!((messages.len(), again), (bodies.len(), 0));
    }
}

#[test]
fn message_that_the_broker_refuses_is_put_aside_with_the_reason() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let (world, ids) = (World::new(), [fresh_id()]);
    let long = json!({"type": "tool", "id": tool("long")["id"], "name": "long", "description": "x".repeat(14 << 20)});
    let bundle = json!({"type": "bundle", "id": "bundle--1", "objects": [tool("first"), long, tool("last")]});
    world.put("a.json", &envelope_with("a", json!({"connector": connector(&ids[0]), "bundle": bundle})));
    world.send(&[]).exits(0);
    world.import(&["--to", "spool:spool"]).exits(0);
    let run = drain(&world, &broker.url(None), &[]).exits(3);
    run.mentions("the broker does not take a message").mentions("refused");
    let refused = world.path("spool").join(&ids[0]).join("refused");
    let reason = fs::read_dir(&refused)
        .unwrap()
        .map(|e| e.unwrap().path())
        .find(|p| p.extension().is_some_and(|e| e == "reason"));
    assert!(fs::read_to_string(reason.unwrap()).unwrap().contains("larger than"));
    assert_eq!(broker.take(&push_queue(&ids[0])).len(), 2);
    assert_eq!(drain(&world, &broker.url(None), &[]).exits(0).said(), "");
}

#[test]
fn connector_of_another_name_on_the_platform_is_not_overwritten() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let (world, ids) = spooled(4, 1);
    let there = json!([{"id": ids[0], "name": "Somebody Else", "type": "EXTERNAL_IMPORT", "scope": [], "auto": false, "active": true}]);
    let existing = Platform::existing(&world, &there);
    let platform = Platform::start(&["--version", "7.261026.0", "--existing", existing.to_str().unwrap()]);
    through(&world, &platform, &[])
        .exits(3)
        .mentions("another name: Somebody Else")
        .mentions("2 messages stay in the spool");
    assert_eq!(broker.take(&push_queue(&ids[1])).len(), 2, "the other connector's go");
    assert_eq!(bodies(&world, &ids[0]).len(), 2);
    through(&world, &platform, &["--take-over"]).exits(0).mentions("drained 2 messages");
    assert_eq!(broker.take(&push_queue(&ids[0])).len(), 2);
    // It is ours now, and no question any more.
    through(&world, &platform, &[]).exits(0);
}

#[test]
fn full_queue_stops_its_connector_in_a_drain_and_not_the_others() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let (world, ids) = spooled(4, 3);
    let queue = push_queue(&ids[0]);
    let key = format!("push_routing_{}", ids[0]);
    let bound = ["--exchange", "amqp.worker.exchange", "--routing-key", &key, "--argument", "x-max-length=0"];
    broker.declare(&queue, &[&bound[..], &["--argument", "x-overflow=\"reject-publish\""]].concat());
    let run = drain(&world, &broker.url(None), &["--patience", "2s"]).exits(3).mentions("drained 6 messages");
    run.mentions("not delivered: 6 messages: ")
        .mentions("(nack): the queue may be full")
        .mentions("6 messages stay in the spool");
    assert_eq!(broker.take(&push_queue(&ids[1])).len(), 6);
    broker.delete(&queue);
    drain(&world, &broker.url(None), &[]).exits(0).mentions("drained 6 messages");
    assert_eq!(broker.take(&queue).len(), 6);
    assert!(is_empty(&world));
}

#[test]
fn connector_that_fails_on_the_platform_stays_in_the_spool_and_others_are_sent() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    for option in ["--trips-over", "--no-works-for"] {
        let (world, ids) = spooled(4, 1);
        let platform = Platform::start(&["--version", "7.261026.0", option, &ids[0]]);
        let run = through(&world, &platform, &["--patience", "2s"]).exits(3).mentions("DATABASE_ERROR");
        run.mentions("drained 2 messages").mentions("2 messages stay in the spool");
        assert_eq!(broker.take(&push_queue(&ids[1])).len(), 2);
        drain(&world, &broker.url(None), &[]).exits(0).mentions("drained 2 messages");
        assert_eq!(broker.take(&push_queue(&ids[0])).len(), 2);
    }
}

#[test]
fn messages_whose_works_were_cleared_are_sent_again() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let (world, ids) = spooled(2, 2);
    // The question whether the work is there comes after the messages.
    let platform = Platform::start(&["--version", "7.261026.0", "--fault", "forget:isWorkAlive:1"]);
    through(&world, &platform, &[]).exits(0).mentions("works were cleared");
    let alive: Vec<String> = platform.works().into_iter().map(|w| w.id).collect();
    for id in &ids {
        let messages = broker.take(&push_queue(id));
        let good = messages.iter().filter(|m| alive.iter().any(|work| m.json()["work_id"] == json!(work))).count();
        assert!(good >= 2, "each message went under a work that is there");
    }
    assert!(is_empty(&world));
}

fn remember(world: &World, destination: &str, id: &str, work: &str) {
    let memory = json!({"destination": destination, "works": {id: work}, "registered": [id]});
    fs::write(world.path("spool/.drain.json"), memory.to_string()).unwrap();
}

#[test]
fn connector_registered_on_another_platform_is_not_ours_here() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let (world, ids) = spooled(2, 1);
    let there = json!([{"id": ids[0], "name": "Somebody Else", "type": "EXTERNAL_IMPORT", "scope": [], "auto": false, "active": false}]);
    let existing = Platform::existing(&world, &there);
    let platform = Platform::start(&["--version", "7.261026.0", "--existing", existing.to_str().unwrap()]);
    remember(&world, "opencti+https://elsewhere.example", &ids[0], "work_there");
    let run = through(&world, &platform, &[]).exits(3);
    run.mentions("another name: Somebody Else").mentions("left works open there: work_there");
    assert!(platform.operations().iter().all(|o| o.arguments["id"] != json!("work_there")), "it is not asked for here");
    assert!(platform.connectors().iter().any(|c| c["name"] == json!("Somebody Else")));
    broker.take(&push_queue(&ids[1]));
}

#[test]
fn drain_without_works_ignores_the_work_of_a_broken_drain() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let (world, ids) = spooled(2, 1);
    let platform = Platform::start(&["--version", "7.261026.0"]);
    remember(&world, &platform.destination(), &ids[0], "work_gone");
    through(&world, &platform, &["--works", "none"]).exits(0);
    let messages: Vec<Message> = ids.iter().flat_map(|id| broker.take(&push_queue(id))).collect();
    assert_eq!(messages.len(), 2);
    assert!(messages.iter().all(|m| m.json().get("work_id").is_none()), "{messages:?}");
}

#[test]
fn work_with_uncertain_expectations_ends_in_error() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let (world, ids) = spooled(1, 2);
    let platform = Platform::start(&["--version", "7.261026.0", "--fault", "lost:workEdit.addExpectations:1"]);
    through(&world, &platform, &[]).exits(0);
    let works = platform.works();
    assert_eq!((works.len(), works[0].expected, works[0].errors.len()), (1, 4, 1), "{works:?}");
    assert_eq!(broker.take(&push_queue(&ids[0])).len(), 2);
}

#[test]
fn drain_refuses_what_is_no_spool_or_no_broker() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let (world, _) = spooled(2, 1);
    world.run(["drain", "src", "--to", &broker.url(None)]).exits(1).mentions("this is no spool");
    drain(&world, "dir:out", &[]).exits(2).mentions("not drained to");
    drain(&world, "amqp://127.0.0.1:1", &[]).exits(1).mentions("cannot reach the broker");
    drain(&world, "amqp://user:hunter2@127.0.0.1", &[]).exits(2).says_nothing_of("hunter2");
    assert!(!is_empty(&world));
    fs::write(world.path("spool").join(somebodys(&world)).join("000000000099.json"), "{}").unwrap();
    let run = drain(&world, &broker.url(None), &[]).exits(3);
    run.mentions("this is no message").mentions("000000000099.json").mentions("drained 1 message");
}

/// Between two groups, of which the first has left the spool.
#[test]
fn work_cleared_between_two_groups_is_reported() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let (world, ids) = spooled(2, 2_400);
    let arguments =
        ["--version", "7.261026.0", "--fault", "forget:workEdit.addExpectations:3", "--trips-over-gone-works"];
    let platform = Platform::start(&arguments);
    let spool = "airpouch import --site importer --to spool:spool --redeliver";
    through(&world, &platform, &[]).exits(3).mentions("a work was cleared").mentions(spool);
    ids.iter().for_each(|id| drop(broker.take(&push_queue(id))));
    // It is reported until a person says that it is settled, also where the platform is not there.
    let run = through(&world, &platform, &[]).exits(3).mentions("a work was cleared").mentions(spool);
    assert_eq!(run.said().matches("a work was cleared").count(), 1, "{run:#?}");
    drain(&world, "amqp://127.0.0.1:1", &[]).exits(3).mentions("a work was cleared");
    world.import(&["--to", "spool:spool", "--redeliver"]).exits(0);
    through(&world, &platform, &["--accept-gone"])
        .exits(0)
        .mentions("drained 2,400 messages")
        .says_nothing_of("cleared");
    through(&world, &platform, &[]).exits(0).says_nothing_of("cleared");
    ids.iter().for_each(|id| drop(broker.take(&push_queue(id))));
}

#[test]
fn works_cleared_after_an_interrupted_drain_are_reported_with_possible_duplicates() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let (world, ids) = spooled(2, 2_400);
    let down = ["--version", "7.261026.0", "--fault", "down=600:workEdit.addExpectations:3"];
    let platform = Platform::start(&down);
    let port = platform.port().to_string();
    through(&world, &platform, &["--patience", "1s"]).exits(1);
    drop(platform);
    // It comes back without its works.
    let platform = Platform::start(&["--version", "7.261026.0", "--port", &port]);
    let run = through(&world, &platform, &[]).exits(3).mentions("a work was cleared").mentions("--redeliver");
    run.mentions("the last drain was cut off; ").mentions("may come a second time");
    through(&world, &platform, &[]).exits(3).says_nothing_of("a second time").mentions("a work was cleared");
    through(&world, &platform, &["--accept-gone"]).exits(0).says_nothing_of("cleared");
    ids.iter().for_each(|id| drop(broker.take(&push_queue(id))));
}

#[test]
fn messages_without_connector_data_are_reported() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let (world, _) = spooled(1, 1);
    fs::remove_file(world.path("spool").join(somebodys(&world)).join("connector.json")).unwrap();
    fs::create_dir(world.path("spool/lost+found")).unwrap();
    let run = drain(&world, &broker.url(None), &[]).exits(3);
    run.mentions("a connector's registration").mentions("connector.json");
}

fn somebodys(world: &World) -> String {
    let dirs = fs::read_dir(world.path("spool")).unwrap().map(|e| e.unwrap());
    dirs.filter(|e| e.path().is_dir()).map(|e| e.file_name().into_string().unwrap()).next().unwrap()
}

#[test]
fn two_drains_do_not_share_a_spool() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let (world, _) = spooled(2, 1);
    let platform = Platform::start(&["--version", "7.261026.0", "--fault", "slow=4:workAdd:1"]);
    let token = platform.token_file();
    let mut first = slow_drain(&world, &platform, &token);
    eventually("the first one is at work", || platform.operations().iter().any(|o| o.operation == "registerConnector"));
    drain(&world, &broker.url(None), &[]).exits(5).mentions("another drain");
    assert!(first.wait().unwrap().success());
    assert!(is_empty(&world));
}

fn slow_drain(world: &World, platform: &Platform, token: &Path) -> std::process::Child {
    let mut command: Command = world.command();
    command.args(["drain", "spool", "--to", &platform.destination(), "--site", "importer", "--token-file"]);
    command.arg(token).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn spool_filled_during_a_drain_loses_no_message() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let (world, ids) = spooled(8, 200);
    let mut command = world.command();
    command.args(["drain", "spool", "--to", &broker.url(None), "--site", "importer"]);
    let mut draining = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    for number in 0..6 {
        let name = format!("more-{number}.json");
        world.put(&name, &envelope_with(&name, json!({"connector": connector(&ids[0])})));
        world.send(&[]).exits(0);
        world.import(&["--to", "spool:spool"]).exits(0);
    }
    assert!(draining.wait().unwrap().success());
    drain(&world, &broker.url(None), &[]).exits(0);
    assert_eq!(broker.take(&push_queue(&ids[0])).len(), 800 + 6);
    assert!(is_empty(&world));
}
