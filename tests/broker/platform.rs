//! Imports through the platform: what it is asked, what it is told, and what happens when it says no.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::scene::Scene;
use crate::support::{Broker, Platform, fresh_id, push_queue};

const NEWEST: &str = "7.261026.0";

fn version(version: &str) -> Platform {
    Platform::start(&["--version", version])
}

#[test]
fn each_batch_and_connector_has_one_work_which_ends() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let scene = Scene::new(2, 6, 4);
    let platform = version(NEWEST);
    scene.import(&platform, &[]).exits(0).mentions("delivered 6 envelopes in 24 messages");
    let works = platform.works();
    assert_eq!(works.len(), 2);
    for work in &works {
        assert_eq!((work.expected, work.is_multi_part), (12, true));
        assert!(work.errors.is_empty() && work.messages.len() == 1, "{work:?}");
        assert!(work.name.as_ref().unwrap().starts_with("Example Feed, airpouch batch 1 of stream "));
    }
    let messages = scene.take(&broker);
    scene.all_are_there(&messages, &platform);
    assert_eq!(messages.len(), 24);
    let before = platform.operations().len();
    assert_eq!(scene.import(&platform, &[]).exits(0).said(), "", "nothing to do");
    assert_eq!(platform.operations().len(), before, "and nobody is asked");
}

#[test]
fn works_can_be_one_for_each_envelope_or_none() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let scene = Scene::new(1, 3, 2);
    let platform = version(NEWEST);
    scene.import(&platform, &["--works", "envelope"]).exits(0);
    assert_eq!(platform.works().iter().map(|w| w.expected).collect::<Vec<_>>(), [2, 2, 2]);
    scene.take(&broker);
    let scene = Scene::new(1, 3, 2);
    let platform = version(NEWEST);
    scene.import(&platform, &["--works", "none"]).exits(0);
    assert!(platform.works().is_empty());
    assert!(scene.take(&broker).iter().all(|m| !m.body.contains("work_id")));
}

#[test]
fn platform_of_any_version_from_6_0_is_asked_only_for_fields_that_it_has() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    for (number, left_out) in [
        ("6.0.10", "drafts"),
        ("6.4.0", "the draft of a work"),
        ("6.5.1", "isWorkAlive"),
        ("6.8.6", "isWorkAlive"),
        ("6.8.7", "auto_update"),
        ("6.8.8", "auto_update"),
        ("6.8.9", "isMultiPartWork"),
        ("6.9.10", "isMultiPartWork"),
        ("7.260401.0", "isMultiPartWork"),
        ("7.260422.0", ""),
        (NEWEST, ""),
    ] {
        let scene = Scene::new(1, 2, 2);
        let platform = version(number);
        let run = scene.import(&platform, &[]).exits(0);
        match left_out {
            "" => drop(run.says_nothing_of("left out")),
            word => drop(run.mentions("left out").mentions(word)),
        }
        let refused: Vec<_> = platform.operations().into_iter().filter(|o| o.refused.is_some()).collect();
        assert!(refused.is_empty(), "{number}: {refused:?}");
        let messages = scene.take(&broker);
        scene.all_are_there(&messages, &platform);
    }
    let scene = Scene::new(1, 1, 1);
    scene.import(&version("5.10.3"), &[]).exits(1).mentions("older than 6.0.0");
}

#[test]
fn envelope_for_validation_is_sent_into_a_draft_or_held() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let wants = json!({"validate_before_import": true});
    for (number, context) in [("6.4.0", false), ("6.5.1", true), (NEWEST, true)] {
        let scene = Scene::with(1, 2, 2, wants.clone());
        let platform = version(number);
        scene.import(&platform, &[]).exits(0);
        let (works, messages) = (platform.works(), scene.take(&broker));
        assert_eq!((works.len(), messages.len()), (2, 4), "a work and a draft for each");
        for work in &works {
            assert_eq!(work.draft_context.is_some(), context, "{number}");
        }
        let drafts: BTreeSet<String> =
            messages.iter().map(|m| m.json()["draft_id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(drafts.len(), 2);
    }
    let scene = Scene::with(1, 1, 1, wants.clone());
    scene.import(&version("6.0.10"), &[]).exits(3).mentions("held").mentions("validated by a person");
    let scene = Scene::with(1, 1, 1, wants.clone());
    scene.import(&version(NEWEST), &["--works", "none"]).exits(3).mentions("held");
    let scene = Scene::with(1, 1, 1, wants);
    scene.world.import(&["--to", &broker.url(None)]).exits(3).mentions("held");
}

#[test]
fn envelope_for_validation_stays_in_a_draft_after_a_crash() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let scene = Scene::with(1, 1, 2, json!({"validate_before_import": true}));
    // Killed while its work is being closed: the work is open, its draft is known to nobody any more.
    let platform = Platform::start(&["--version", NEWEST, "--fault", "slow=60:workEdit.toProcessed:1"]);
    kill_at(&scene, &platform, "workEdit.toProcessed", 1);
    scene.again(&platform, &[]).exits(0);
    let messages = scene.take(&broker);
    assert_eq!(messages.len(), 4);
    assert!(messages.iter().all(|m| m.json()["draft_id"].is_string()), "all of them go into a draft");
    assert!(platform.works().iter().all(|w| !w.messages.is_empty() || !w.errors.is_empty()));
}

#[test]
fn failure_of_any_request_loses_nothing() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    // about, me, connector, registerConnector, workAdd, addExpectations, isWorkAlive, isWorkAlive, toProcessed
    let requests = asked_in_all();
    let mut points = 0;
    for fault in ["denied", "html", "502", "504", "429", "reset", "lost", "slow=1"] {
        for number in 1..=requests {
            one_fault(&broker, &format!("{fault}:{number}"));
            points += 1;
        }
    }
    println!("COUNT requests that failed: {points}");
    assert!(requests >= 8 && points >= 64, "{requests}");
}

fn asked_in_all() -> u64 {
    let platform = version(NEWEST);
    Scene::new(1, 2, 2).import(&platform, &[]).exits(0);
    platform.operations().last().unwrap().at
}

fn one_fault(broker: &Broker, fault: &str) {
    let scene = Scene::new(1, 2, 2);
    let platform = Platform::start(&["--version", NEWEST, "--fault", fault]);
    let first = scene.import(&platform, &["--patience", "10s"]).exits_one_of(&[0, 1, 3]);
    assert!(!first.said().contains("a-token-of-the-tests"), "{fault}");
    if first.status == Some(3) {
        // Only what the platform forbids stops a connector alone, and that is said.
        assert!(fault.starts_with("denied"), "{fault}: {first:?}");
        let said = first.said();
        assert!(said.contains("held: ") || said.contains("not delivered: "), "{fault}: {said}");
    }
    if first.status != Some(0) {
        scene.again(&platform, &[]).exits(0);
    }
    assert_eq!(scene.quarantined(), 0, "{fault}");
    let messages = scene.take(broker);
    scene.all_are_there(&messages, &platform);
    assert!(messages.len() <= 8, "{fault}: {} messages for 4", messages.len());
    // An answer that was lost may have opened a work of which nobody knows; every other one is at its end.
    let open = platform.works().into_iter().filter(|w| w.messages.is_empty() && w.errors.is_empty());
    let orphans = usize::from(fault.starts_with("lost") || fault.starts_with("504"));
    assert!(open.count() <= orphans, "{fault}: {:?}", platform.works());
}

#[test]
fn works_cleared_by_somebody_lose_no_message() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    for number in 5..=asked_in_all() {
        let scene = Scene::new(1, 2, 2);
        let platform = Platform::start(&["--version", NEWEST, "--fault", &format!("forget:{number}")]);
        let run = scene.import(&platform, &[]).exits_one_of(&[0, 3]);
        let messages = scene.take(&broker);
        if run.status == Some(3) {
            // They were cleared after the last look: it is said, with what brings the messages again.
            run.mentions("a work was cleared").mentions("--redeliver");
            scene.again(&platform, &["--redeliver"]).exits(0);
            scene.all_are_there(&scene.take(&broker), &platform);
        } else {
            scene.all_are_there(&messages, &platform);
        }
    }
}

/// Between two groups, of which the first was delivered under it: four envelopes of 17 MiB are more than an import holds
/// unconfirmed, so it waits until all four are recorded before it announces the fifth.
#[test]
fn work_cleared_between_two_groups_is_reported_whatever_the_platform_answers() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    for trips in [true, false] {
        let scene = Scene::of_large_envelopes(5, 17);
        let mut arguments = vec!["--version", NEWEST, "--fault", "forget:workEdit.addExpectations:5"];
        arguments.extend(trips.then_some("--trips-over-gone-works"));
        let platform = Platform::start(&arguments);
        scene.import(&platform, &[]).exits(3).mentions("a work was cleared").mentions("--redeliver");
        scene.take(&broker);
        scene.again(&platform, &["--redeliver"]).exits(0);
        scene.all_are_there(&scene.take(&broker), &platform);
    }
}

#[test]
fn messages_resent_under_another_work_are_counted_where_that_fails() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let scene = Scene::new(1, 2, 2);
    let faults = ["--fault", "forget:workEdit.toProcessed:2", "--fault", "denied:workAdd:3"];
    let platform = Platform::start(&[&["--version", NEWEST][..], &faults].concat());
    let run = scene.import(&platform, &["--works", "envelope"]).exits(1);
    assert!(run.said().contains("FORBIDDEN_ACCESS"), "{run:#?}");
    // The first envelope may have been recorded before the works were cleared, or not: then it goes again by itself.
    let is_lost = run.said().contains("a work was cleared");
    let next = scene.again(&platform, &[]);
    if is_lost {
        next.exits(3).mentions("a work was cleared").mentions("--redeliver").mentions("may come a second time");
        scene.again(&platform, &["--redeliver"]).exits(0);
    } else {
        next.exits(0).mentions("may come a second time");
    }
    scene.all_are_there(&scene.take(&broker), &platform);
}

#[test]
fn work_cleared_after_its_last_check_is_reported_until_it_is_settled() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    for settle in ["redeliver", "accept"] {
        let scene = Scene::new(1, 3, 2);
        // After each envelope's work was closed, found alive and recorded, and the run looks once more.
        let platform = Platform::start(&["--version", NEWEST, "--fault", "forget:isWorkAlive:4"]);
        let run = scene.import(&platform, &["--works", "envelope"]).exits(3).mentions("delivered 3 envelopes");
        assert_eq!(run.said().matches("a work was cleared").count(), 3, "{run:#?}");
        scene
            .again(&platform, &[])
            .exits(3)
            .mentions("a work was cleared")
            .mentions("--redeliver")
            .mentions("stream accept");
        let status = scene.world.run(["status", "--site", "importer"]).exits(0).mentions("a work was cleared");
        scene.take(&broker);
        if settle == "redeliver" {
            scene.again(&platform, &["--redeliver", "--works", "envelope"]).exits(0);
            scene.all_are_there(&scene.take(&broker), &platform);
        } else {
            let said = status.said();
            let command = said.split_once("airpouch stream accept --site importer ").unwrap().1.lines().next().unwrap();
            let mut words = command.split(' ');
            let (stream, number) = (words.next().unwrap(), words.next().unwrap());
            let accept = ["stream", "accept", stream, number, "--reason", "seen", "--site", "importer"];
            scene.world.run(accept).exits(0).mentions("accepted");
            scene.world.run(accept).exits(2).mentions("not missing");
        }
        assert_eq!(scene.again(&platform, &[]).exits(0).said(), "");
        scene.world.run(["status", "--site", "importer"]).exits(0).says_nothing_of("a work was cleared");
    }
}

#[test]
fn platform_that_goes_down_delays_a_run_once_and_not_for_each_open_work() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let scene = Scene::new(1, 40, 1);
    let platform = Platform::start(&["--version", NEWEST, "--fault", "down=600:workEdit.toProcessed:2"]);
    scene.import(&platform, &["--works", "envelope", "--patience", "2s"]).exits(1).mentions("nothing is lost");
    // 40 works are open: it does not ask about each of them, let alone several times.
    let asked = platform.operations().iter().filter(|o| o.operation == "down").count();
    assert!((1..40).contains(&asked), "asked {asked} times");
}

#[test]
fn platform_that_does_not_answer_is_reported_during_the_wait() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let scene = Scene::new(1, 1, 1);
    let platform = Platform::start(&["--version", NEWEST, "--fault", "slow=4:workAdd:1"]);
    let run = scene.import(&platform, &[]).exits(0).mentions("the platform has not answered yet; waiting up to 45 s");
    assert_eq!(run.said().matches("not answered yet").count(), 1, "{run:#?}");
    let platform = Platform::start(&["--version", NEWEST, "--fault", "slow=30:about:1"]);
    // Had it waited for the answer, it would have gone on.
    let hasty = ["--redeliver", "--same-destination", "--patience", "1s"];
    scene.again(&platform, &hasty).exits(1).mentions("not answered yet");
}

#[test]
fn platform_that_asks_for_an_endless_wait_fails_the_run() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let scene = Scene::new(1, 2, 2);
    let faults = ["--fault", "429:workAdd:1", "--fault", "429=18446744073709551615:workAdd:2"];
    let platform = Platform::start(&[&["--version", NEWEST][..], &faults].concat());
    scene.import(&platform, &[]).exits(1).mentions("more slowly").says_nothing_of("panicked");
    scene.again(&platform, &[]).exits(0);
    scene.all_are_there(&scene.take(&broker), &platform);
}

#[test]
fn connector_that_the_platform_cannot_look_up_is_not_overwritten() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let scene = Scene::new(1, 1, 2);
    let platform = Platform::start(&["--version", NEWEST, "--fault", "refused:connector:1"]);
    scene
        .import(&platform, &[])
        .exits(3)
        .mentions("does not say whether it has")
        .mentions("Database engine internal error");
    assert!(platform.operations().iter().all(|o| o.operation != "registerConnector"));
    scene.again(&platform, &[]).exits(0).mentions("delivered 1 envelope");
    scene.all_are_there(&scene.take(&broker), &platform);
}

#[test]
fn platform_without_its_broker_is_waited_for_and_defers_nothing() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let scene = Scene::new(2, 4, 2);
    let fails = |times: u32| {
        let faults = (1..=times).flat_map(|n| ["--fault".to_owned(), format!("refused:registerConnector:{n}")]);
        let arguments: Vec<String> = ["--version", NEWEST].map(str::to_owned).into_iter().chain(faults).collect();
        Platform::start(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let down = fails(20);
    let run =
        scene.import(&down, &["--patience", "5s"]).exits(1).mentions("DATABASE_ERROR").mentions("is its broker up?");
    run.mentions("retrying for up to 5 s").says_nothing_of("held");
    let platform = fails(2);
    scene.again(&platform, &["--same-destination"]).exits(0).mentions("delivered 4 envelopes");
    scene.all_are_there(&scene.take(&broker), &platform);
}

#[test]
fn works_cleared_after_an_interrupted_run_are_reported() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    for works in ["batch", "envelope"] {
        let scene = Scene::new(1, 6, 1_000);
        let platform = Platform::start(&["--version", NEWEST, "--fault", "down=600:workEdit.addExpectations:3"]);
        let run = scene.import(&platform, &["--works", works, "--patience", "1s"]).exits(1);
        drop(run);
        scene.take(&broker);
        // It comes back without its works.
        let platform = Platform::start(&["--version", NEWEST]);
        let run = scene.again(&platform, &["--works", works, "--same-destination"]);
        if works == "batch" {
            let run = run.exits(3).mentions("a work was cleared").mentions("at most").mentions("--redeliver");
            assert_eq!(run.said().matches("a work was cleared").count(), 1, "{run:#?}");
            scene.again(&platform, &["--works", works]).exits(3).mentions("a work was cleared");
        } else {
            // Each was closed before its envelope was recorded.
            run.exits(0);
        }
        scene.take(&broker);
        scene.again(&platform, &["--redeliver"]).exits(0);
        scene.all_are_there(&scene.take(&broker), &platform);
    }
}

#[test]
fn address_without_a_platform_ends_the_run_without_a_wait() {
    let Some(broker) = Broker::there() else { return };
    let scene = Scene::new(1, 1, 1);
    let token = scene.world.path("token");
    fs::write(&token, "a-token-of-the-tests").unwrap();
    let platform = version(NEWEST);
    for to in [
        format!("opencti+https://127.0.0.1:{}", platform.port()),
        format!("opencti+http://127.0.0.1:{}", broker.port()),
    ] {
        let run = scene.world.import(&["--to", &to, "--token-file", token.to_str().unwrap()]);
        run.exits(1)
            .mentions("is that its address? opencti+https:// where it speaks TLS")
            .says_nothing_of("waiting, for");
    }
}

#[test]
fn a_run_that_fails_leaves_no_work_open() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let scene = Scene::new(1, 2, 2);
    let platform = Platform::start(&["--version", NEWEST, "--fault", "denied:workEdit.addExpectations:1"]);
    scene.import(&platform, &[]).exits(1).mentions("FORBIDDEN_ACCESS").mentions("airpouch check");
    let works = platform.works();
    assert_eq!(works.len(), 1);
    assert!(works[0].errors[0]["message"].as_str().unwrap().starts_with("airpouch stopped: "), "{works:?}");
    scene.again(&platform, &[]).exits(0).mentions("delivered 2 envelopes");
    assert_eq!(platform.works().len(), 2, "the rest goes in another one");
    scene.all_are_there(&scene.take(&broker), &platform);
}

/// Kills a run once the platform has done this for it and before it hears of it.
fn kill_at(scene: &Scene, platform: &Platform, operation: &str, number: usize) {
    let mut child = scene.start(platform);
    let asked = || platform.operations().iter().filter(|o| o.operation == operation).count() >= number;
    crate::support::eventually(&format!("{operation} is asked for"), asked);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn killed_run_continues_in_its_works() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    for (operation, number) in [
        ("workAdd", 1),
        ("workAdd", 2),
        ("workEdit.addExpectations", 1),
        ("isWorkAlive", 1),
        ("workEdit.toProcessed", 1),
    ] {
        let scene = Scene::new(2, 8, 400);
        let platform = Platform::start(&["--version", NEWEST, "--fault", &format!("slow=60:{operation}:{number}")]);
        kill_at(&scene, &platform, operation, number);
        scene.again(&platform, &[]).exits(0);
        scene.all_are_there(&scene.take(&broker), &platform);
        let open: Vec<_> =
            platform.works().into_iter().filter(|w| w.messages.is_empty() && w.errors.is_empty()).collect();
        // Killed between the answer and its note, a work is known to nobody here.
        assert!(open.len() <= 1 && open.iter().all(|w| w.expected == 0), "{open:?}");
        assert!(
            platform.works().len() - open.len() == 2,
            "one for each connector, in both runs: {:?}",
            platform.works()
        );
    }
}

/// Starts an import in which opening the first work takes three seconds, and takes a queue from its exchange meanwhile.
fn import_beside_an_unbound_queue(
    broker: &Broker,
    scene: &Scene,
    platform: &Platform,
    unbound: &str,
) -> std::process::Output {
    let mut command = scene.command(&platform.destination());
    command.args(["--patience", "3s", "--token-file"]).arg(platform.token_file());
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let opens = || platform.operations().iter().any(|o| o.operation == "workAdd");
    crate::support::eventually("the first work is opened", opens);
    let (queue, key) = (push_queue(unbound), format!("push_routing_{unbound}"));
    broker.queues(&["unbind", &queue, "--exchange", "amqp.worker.exchange", "--routing-key", &key]);
    crate::support::ended(child)
}

#[test]
fn message_without_a_queue_is_not_delivered_and_stops_no_other() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    // Five connectors share four channels: the last one stands in the way of the first one's messages.
    let scene = Scene::new(5, 40, 25);
    let platform = Platform::start(&["--version", NEWEST, "--fault", "slow=3:workAdd:1"]);
    let unbound = scene.ids[4].clone();
    let output = import_beside_an_unbound_queue(&broker, &scene, &platform, &unbound);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("are returned") && said.contains("not delivered: 8 envelopes of Example Feed"), "{said}");
    assert_eq!(broker.count(&push_queue(&unbound)), Some(0));
    // It is bound again when its connector is registered.
    scene.again(&platform, &[]).exits(0);
    scene.all_are_there(&scene.take(&broker), &platform);
}

fn existing(scene: &Scene, name: &str, active: bool) -> String {
    let there = json!([{"id": scene.ids[0], "name": name, "type": "EXTERNAL_IMPORT", "scope": [], "auto": false, "active": active}]);
    Platform::existing(&scene.world, &there).to_str().unwrap().to_owned()
}

#[test]
fn connector_of_somebody_else_on_the_platform_is_not_overwritten() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let scene = Scene::new(2, 4, 1);
    let platform = Platform::start(&["--version", NEWEST, "--existing", &existing(&scene, "Somebody Else", true)]);
    let run = scene.import(&platform, &[]).exits(3);
    run.mentions("another name: Somebody Else").mentions("--take-over").mentions("2 of 4 envelopes delivered, 2 held");
    assert_eq!(broker.take(&push_queue(&scene.ids[1])).len(), 2, "the others go");
    assert_eq!(scene.again(&platform, &[]).exits(0).said(), "", "it waits, and that was said");
    scene.again(&platform, &["--take-over"]).exits(0).mentions("delivered 2 envelopes");
    assert_eq!(broker.take(&push_queue(&scene.ids[0])).len(), 2);
}

#[test]
fn a_connector_can_be_given_another_id_here() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let (scene, here) = (Scene::new(1, 2, 1), fresh_id());
    let platform = Platform::start(&["--version", NEWEST, "--existing", &existing(&scene, "Somebody Else", true)]);
    fs::create_dir(scene.world.path("importer")).unwrap();
    let settings = format!("[connectors]\n\"{}\" = \"{here}\"\n", scene.ids[0]);
    fs::write(scene.world.path("importer/airpouch.toml"), settings).unwrap();
    scene.import(&platform, &[]).exits(0).mentions("delivered 2 envelopes");
    assert_eq!(broker.take(&push_queue(&here)).len(), 2);
    assert!(
        platform.connectors().iter().any(|c| c["id"] == json!(scene.ids[0]) && c["name"] == json!("Somebody Else"))
    );
}

#[test]
fn a_connector_of_ours_may_change_its_name() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let mut scene = Scene::new(1, 1, 1);
    let platform = version(NEWEST);
    scene.import(&platform, &[]).exits(0).says_nothing_of("another name");
    scene.put(0, "later", 1, &json!({"name": "Renamed Feed"}));
    scene.world.send(&[]).exits(0);
    scene.import(&platform, &[]).exits(0).mentions("delivered 1 envelope").says_nothing_of("another name");
    assert_eq!(platform.connectors()[0]["name"], json!("Renamed Feed"));
    scene.take(&broker);
}

#[test]
fn connector_that_runs_there_is_of_another_type_or_not_shown_is_held_until_it_is_taken_over() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    for (kind, active, rights, words) in [
        ("EXTERNAL_IMPORT", true, "CONNECTORAPI,MODULES,KNOWLEDGE,KNOWLEDGE_KNASKIMPORT", "runs on this side too"),
        ("STREAM", false, "CONNECTORAPI,MODULES,KNOWLEDGE,KNOWLEDGE_KNASKIMPORT", "as another type: STREAM"),
        ("EXTERNAL_IMPORT", false, "CONNECTORAPI,KNOWLEDGE,KNOWLEDGE_KNASKIMPORT", "does not say whether it has"),
    ] {
        let scene = Scene::new(1, 1, 1);
        let there = json!([{"id": scene.ids[0], "name": "Example Feed", "type": kind, "scope": [], "auto": false, "active": active}]);
        let existing = Platform::existing(&scene.world, &there);
        let arguments = ["--version", NEWEST, "--capabilities", rights, "--existing", existing.to_str().unwrap()];
        let platform = Platform::start(&arguments);
        // Nothing was shown before this run, so that nothing is taken over.
        scene
            .import(&platform, &["--take-over"])
            .exits(3)
            .mentions(words)
            .mentions("--take-over")
            .mentions("1 envelope held");
        let registers = || platform.operations().iter().any(|o| o.operation == "registerConnector");
        assert!(!registers());
        scene.again(&platform, &["--take-over=somebody-else"]).exits(0).says_nothing_of("delivered");
        assert!(!registers());
        scene.again(&platform, &["--take-over"]).exits(0).mentions("delivered 1 envelope");
        assert!(registers());
        scene.take(&broker);
    }
}

#[test]
fn connectors_are_taken_over_by_their_ids_and_no_others() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let scene = Scene::new(2, 2, 1);
    let there: Vec<Value> = scene
        .ids
        .iter()
        .map(|id| json!({"id": id, "name": "Theirs", "type": "EXTERNAL_IMPORT", "scope": [], "auto": false, "active": false}))
        .collect();
    let existing = Platform::existing(&scene.world, &json!(there));
    let platform = Platform::start(&["--version", NEWEST, "--existing", existing.to_str().unwrap()]);
    let taken = format!("--take-over={}", scene.ids[1]);
    scene.import(&platform, &[&taken]).exits(3).mentions("1 of 2 envelopes delivered, 1 held");
    assert_eq!(broker.take(&push_queue(&scene.ids[1])).len(), 1);
    assert_eq!(broker.take(&push_queue(&scene.ids[0])).len(), 0);
}

#[test]
fn connector_that_fails_on_the_platform_is_held_and_others_are_delivered() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let scene = Scene::new(2, 4, 2);
    let platform = Platform::start(&["--version", NEWEST, "--trips-over", &scene.ids[0]]);
    let run = scene.import(&platform, &["--patience", "2s"]).exits(3).mentions("2 of 4 envelopes delivered, 2 held");
    run.mentions("the platform does not register Example Feed")
        .mentions("DATABASE_ERROR")
        .says_nothing_of("not delivered: ");
    assert_eq!(broker.take(&push_queue(&scene.ids[1])).len(), 4);
    let platform = version(NEWEST);
    scene.again(&platform, &["--same-destination"]).exits(0).mentions("delivered 2 envelopes");
    assert_eq!(broker.take(&push_queue(&scene.ids[0])).len(), 4);
}

#[test]
fn connector_whose_works_cannot_be_opened_waits_and_others_are_delivered() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let scene = Scene::new(2, 4, 2);
    let platform = Platform::start(&["--version", NEWEST, "--no-works-for", &scene.ids[0]]);
    let run = scene.import(&platform, &["--patience", "2s"]).exits(3).mentions("delivered 2 envelopes");
    run.mentions("not delivered: 2 envelopes of Example Feed")
        .mentions("the platform fails at workAdd")
        .mentions("--works none");
    assert_eq!(broker.take(&push_queue(&scene.ids[1])).len(), 4);
    assert!(platform.works().iter().all(|w| !w.messages.is_empty() && w.errors.is_empty()), "{:?}", platform.works());
    scene.again(&platform, &["--works", "none"]).exits(0).mentions("delivered 2 envelopes");
    assert_eq!(broker.take(&push_queue(&scene.ids[0])).len(), 4);
}

#[test]
fn a_connector_that_a_failed_run_has_registered_is_ours() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let scene = Scene::new(1, 1, 1);
    let platform = version(NEWEST);
    let nowhere = ["--amqp-port", "1"];
    scene.import(&platform, &nowhere).exits(1).mentions("cannot reach the broker");
    scene.again(&platform, &[]).exits(0).mentions("delivered 1 envelope").says_nothing_of("runs on this side too");
    scene.take(&broker);
}

#[test]
fn missing_capability_is_named() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let scene = Scene::new(1, 1, 1);
    let few = ["--version", NEWEST, "--capabilities", "CONNECTORAPI,MODULES"];
    let platform = Platform::start(&few);
    scene
        .import(&platform, &[])
        .exits(1)
        .mentions("(workAdd)")
        .mentions("lacks KNOWLEDGE_KNASKIMPORT (to open and close works)");
    scene.again(&platform, &["--works", "none"]).exits(0).mentions("delivered 1 envelope");
    scene.take(&broker);
}

#[test]
fn connector_that_the_platform_refuses_stops_no_other() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let scene = Scene::new(2, 2, 1);
    let fault = ["--version", NEWEST, "--refuse", &scene.ids[0]];
    let platform = Platform::start(&fault);
    scene
        .import(&platform, &[])
        .exits(3)
        .mentions("the platform does not register")
        .mentions("1 of 2 envelopes delivered, 1 held");
    assert_eq!(broker.take(&push_queue(&scene.ids[1])).len(), 1);
    let platform = version(NEWEST);
    scene.again(&platform, &["--same-destination"]).exits(0).mentions("delivered 1 envelope");
}

#[test]
fn connector_of_an_unknown_type_is_left_to_the_platform_to_refuse() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let scene = Scene::with(1, 1, 1, json!({"type": "INTERNAL_HUNT"}));
    let platform = version(NEWEST);
    scene.import(&platform, &[]).exits(3).mentions("INTERNAL_HUNT").mentions("connector_types");
    fs::write(scene.world.path("policy.toml"), "connector_types = [\"INTERNAL_HUNT\"]\n").unwrap();
    scene.again(&platform, &["--policy", "policy.toml"]).exits(3).mentions("the platform does not register");
    assert!(platform.works().is_empty());
}

#[test]
fn address_that_answers_without_a_platform_is_named_for_what_it_is() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let scene = Scene::new(1, 1, 1);
    let platform = Platform::start(&["--version", NEWEST, "--base-path", "/cti"]);
    scene.import(&platform, &[]).exits(1).mentions("404").mentions("is the base path missing?");
    let to = format!("{}/cti", platform.destination());
    let token = platform.token_file();
    let through = ["--to", &to, "--token-file", token.to_str().unwrap()];
    scene.world.import(&through).exits(0).mentions("delivered 1 envelope");
    scene.take(&broker);
    let scene = Scene::new(1, 1, 1);
    let platform = Platform::start(&["--version", NEWEST, "--fault", "html:1"]);
    scene.import(&platform, &[]).exits(1).mentions("HTML, not JSON").mentions("a login page");
    scene
        .world
        .import(&["--to", "opencti+http://127.0.0.1:1", "--token-file", token.to_str().unwrap()])
        .exits(1)
        .mentions("cannot reach it");
    assert_eq!(scene.quarantined(), 0);
}

#[test]
fn token_is_required_and_never_shown() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let scene = Scene::new(1, 1, 1);
    let platform = version(NEWEST);
    let to = platform.destination();
    scene.world.import(&["--to", &to]).exits(2).mentions("--token-file FILE");
    for (content, status, word) in [
        ("", 2, "holds no token"),
        ("a wrong token\n", 1, "rejected the token"),
        ("\u{1b}[2J", 2, "holds a control character"),
    ] {
        fs::write(scene.world.path("secret"), content).unwrap();
        scene
            .world
            .import(&["--to", &to, "--token-file", "secret"])
            .exits(status)
            .mentions(word)
            .says_nothing_of("a wrong token");
    }
    scene.world.import(&["--to", &to, "--token-file", "absent"]).exits(2).mentions("absent").mentions("name a file");
    // Where people write the token itself in the place of its file.
    let misplaced = fresh_id();
    let run = scene.world.import(&["--to", &to, "--token-file", &misplaced]).exits(2).mentions("name a file");
    run.says_nothing_of(&misplaced);
    fs::write(scene.world.path("secret"), "a wrong token\n").unwrap();
    fs::set_permissions(scene.world.path("secret"), fs::Permissions::from_mode(0o644)).unwrap();
    let run = scene.world.import(&["--to", &to, "--token-file", "secret"]);
    run.exits_one_of(&[1, 2]).mentions("open to everybody here (mode 644)");
    // systemd hands secrets over in a directory.
    fs::create_dir(scene.world.path("credentials")).unwrap();
    fs::copy(platform.token_file(), scene.world.path("credentials/token")).unwrap();
    let mut command = scene.command(&to);
    crate::support::finish(command.env("CREDENTIALS_DIRECTORY", scene.world.path("credentials"))).exits(0);
    scene.take(&broker);
}

#[test]
fn a_private_authority_is_trusted_when_it_is_named() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let scene = Scene::new(1, 1, 1);
    let tls = Broker::tls();
    let file = |name: &str| tls.join(name).to_str().unwrap().to_owned();
    let (port, ca) = (broker.tls_port().to_string(), file("ca.pem"));
    let arguments = [
        "--version",
        NEWEST,
        "--tls",
        &file("server.pem"),
        &file("server.key"),
        "--amqp-port-told",
        &port,
        "--amqp-tls-told",
    ];
    let platform = Platform::start(&arguments);
    scene.import(&platform, &[]).exits(1).mentions("certificate is not trusted").mentions("--ca-file");
    assert!(platform.operations().is_empty(), "and nothing was asked");
    scene.import(&platform, &["--ca-file", &file("server.key")]).exits(2).mentions("holds no certificate");
    scene.import(&platform, &["--ca-file", &ca]).exits(0).mentions("delivered 1 envelope");
    scene.take(&broker);
}

#[test]
fn a_proxy_is_used_only_when_it_is_named() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let scene = Scene::new(1, 1, 1);
    let platform = version(NEWEST);
    let (to, token) = (platform.destination(), platform.token_file());
    let mut command = scene.command(&to);
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"] {
        command.env(name, "http://127.0.0.1:9");
    }
    crate::support::finish(command.arg("--token-file").arg(&token)).exits(0).mentions("delivered 1 envelope");
    let scene = Scene::new(1, 1, 1);
    scene
        .import(&platform, &["--proxy", "http://127.0.0.1:9"])
        .exits(1)
        .mentions("through the proxy http://127.0.0.1:9");
    scene.import(&platform, &["--proxy", "nonsense://"]).exits(2).mentions("invalid address of a proxy");
    let secret = ["--proxy", "http://somebody:hunter2@127.0.0.1:9"];
    scene.import(&platform, &secret).exits(2).mentions("the address of the proxy contains").says_nothing_of("hunter2");
}

#[test]
fn plain_text_over_a_network_is_refused_unless_allowed() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let scene = Scene::new(1, 1, 1);
    let platform = version(NEWEST);
    let token = platform.token_file();
    let token = token.to_str().unwrap();
    let to = "opencti+http://cti.example";
    scene.world.import(&["--to", to, "--token-file", token]).exits(2).mentions("without TLS").mentions("--plaintext");
    // The platform tells of a broker elsewhere, without TLS.
    let platform = Platform::start(&["--version", NEWEST, "--amqp-host-told", "rabbitmq"]);
    scene.import(&platform, &[]).exits(2).mentions("without TLS").mentions("rabbitmq");
    let port = broker.port().to_string();
    scene
        .import(&platform, &["--amqp-host", "127.0.0.1", "--amqp-port", &port])
        .exits(0)
        .mentions("delivered 1 envelope");
    scene.take(&broker);
}

#[test]
fn queue_prefix_and_quorum_queues_of_the_platform_work() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let scene = Scene::new(1, 2, 2);
    let platform = Platform::start(&["--version", NEWEST, "--queue-prefix", "zone", "--queue-type", "quorum"]);
    scene.import(&platform, &[]).exits(0);
    assert_eq!(broker.take(&format!("zone_{}", push_queue(&scene.ids[0]))).len(), 4);
}

#[test]
fn connector_that_would_have_to_answer_is_registered_without_an_offer() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let scene = Scene::with(1, 1, 1, json!({"type": "INTERNAL_ENRICHMENT", "auto": true}));
    let policy = "connector_types = [\"EXTERNAL_IMPORT\", \"INTERNAL_ENRICHMENT\"]\n";
    fs::write(scene.world.path("policy.toml"), policy).unwrap();
    let platform = version(NEWEST);
    scene.import(&platform, &["--policy", "policy.toml"]).exits(0).mentions("delivered 1 envelope");
    let registered = platform.operations().into_iter().find(|o| o.operation == "registerConnector").unwrap();
    assert_eq!(registered.arguments["input"]["auto"], json!(false));
    scene.take(&broker);
}

#[test]
fn another_platform_needs_new_destination() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let scene = Scene::new(1, 2, 1);
    let (one, other) = (version(NEWEST), version(NEWEST));
    scene.import(&one, &[]).exits(0);
    scene.import(&other, &[]).exits(2).mentions(&one.destination()).mentions("--new-destination");
    scene.import(&other, &["--new-destination"]).exits(0).mentions("delivered 2 envelopes");
    assert_eq!(scene.take(&broker).len(), 4);
}
