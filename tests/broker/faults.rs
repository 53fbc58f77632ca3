//! An import to a broker: what lies there, and what happens when the broker, the wire or a permission fails.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::feeds::{Feeds, REPEATS_MAX, Tap, repeats};
use crate::support::{Broker, Fault, Proxy, Unjudged, ended, eventually, fresh_id};

/// A run that waits longer than this ends by itself, and says so.
const PATIENT: [&str; 2] = ["--patience", "3s"];

/// An import in the background.
struct Running {
    child: Child,
    stderr: Arc<Mutex<String>>,
    listener: JoinHandle<()>,
}

impl Running {
    fn start(feeds: &Feeds, broker: &Broker, more: &[&str]) -> Self {
        let mut command = feeds.command(broker, more);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = Arc::new(Mutex::new(String::new()));
        let (lines, heard) = (BufReader::new(child.stderr.take().unwrap()).lines(), Arc::clone(&stderr));
        let listener = thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                *heard.lock().unwrap() += &(line + "\n");
            }
        });
        Self { child, stderr, listener }
    }

    /// One by a wire that is slow as soon as messages are on their way, so that it does not end before what a test does
    /// to it then, however fast the machine is.
    fn slow(feeds: &Feeds, broker: &Broker, more: &[&str]) -> (Self, Proxy) {
        let proxy = Proxy::to(broker.port(), Fault::SlowToServer(1 << 20));
        let port = proxy.port().to_string();
        let running = Self::start(feeds, broker, &[&["--amqp-port", &port], more].concat());
        eventually("messages flow", || proxy.has_struck());
        (running, proxy)
    }

    /// Waits until it has said this.
    #[track_caller]
    fn hears(&self, words: &str) {
        eventually(&format!("{words:?} is said"), || self.stderr.lock().unwrap().contains(words));
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        assert!(self.end().was_killed());
    }

    /// Asks it to stop, and waits for its end by that signal; what it said.
    fn stop(self, signal: Signal, meanwhile: impl FnOnce()) -> String {
        kill_process(Pid::from_raw(self.child.id() as i32).unwrap(), signal).unwrap();
        meanwhile();
        let output = ended(self.child);
        self.listener.join().unwrap();
        let said = self.stderr.lock().unwrap().clone();
        assert_eq!(output.status.signal(), Some(signal.as_raw()), "{said}");
        assert_eq!(said.matches("stopped: by SIG").count(), 1, "{said}");
        said
    }

    fn end(self) -> Unjudged {
        let output = ended(self.child);
        self.listener.join().unwrap();
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        Unjudged::from_parts(output.status.code(), stdout, self.stderr.lock().unwrap().clone())
    }
}

/// So many envelopes of each connector with so many messages each, sent.
fn sent(feeds: usize, envelopes: usize, messages: usize) -> Feeds {
    let sent = Feeds::new(feeds);
    for at in 0..feeds * envelopes {
        sent.put(at % feeds, messages);
    }
    sent.send();
    sent
}

#[track_caller]
fn all_there(tap: &Tap, feeds: &Feeds) -> usize {
    let wanted = feeds.wanted();
    (0..feeds.ids.len()).map(|feed| repeats(&tap.take(&feeds.queue(feed)), &wanted[feed])).sum()
}

#[test]
fn messages_of_three_connectors_arrive_once_in_order_and_as_in_a_spool() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let feeds = sent(3, 3, 250);
    feeds.import(&broker, &[]).exits(0).mentions("delivered 9 envelopes in 2,250 messages");
    let first = broker.peek(&feeds.queue(0));
    assert_eq!(first.len(), 750);
    for message in &first {
        assert_eq!((message.delivery_mode, message.content_encoding.as_deref()), (Some(2), Some("utf-8")));
        assert_eq!((&message.content_type, &message.headers), (&None, &Value::Null));
        assert_eq!(message.exchange, "amqp.worker.exchange");
        assert_eq!(message.routing_key, format!("push_routing_{}", feeds.ids[0]));
        assert!(message.json().get("work_id").is_none(), "there is no platform to open a work");
    }
    assert_eq!(all_there(&Tap::open(&broker), &feeds), 0, "each once");
    feeds.import(&broker, &[]).exits(0);
    feeds.import(&broker, &["--redeliver"]).exits(0);
    assert_eq!(all_there(&Tap::open(&broker), &feeds), 0, "redelivered under the same ids, and not twice before");
}

/// Lines of `rabbitmqctl` about one connector.
fn listed(broker: &Broker, words: &[&str], connector: &str) -> Vec<String> {
    let all = broker.ctl(&[&["-q"], words].concat());
    all.lines().filter(|line| line.contains(connector)).map(str::to_owned).collect()
}

#[test]
fn missing_exchange_and_queues_are_declared_as_the_platform_declares_them() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let (classic, quorum) = (sent(1, 1, 1), sent(1, 1, 1));
    classic.import(&broker, &[]).exits(0);
    quorum.import(&broker, &["--queue-type", "quorum", "--queue-prefix", "site"]).exits(0);
    let queues = ["list_queues", "name", "durable", "type", "arguments"];
    for (feeds, kind, prefix) in [(&classic, "classic", ""), (&quorum, "quorum", "site_")] {
        let id = &feeds.ids[0];
        let made = listed(&broker, &queues, id);
        for queue in ["push", "listen"] {
            let line = made.iter().find(|l| l.starts_with(&format!("{prefix}{queue}_{id}\ttrue\t{kind}\t")));
            let line = line.unwrap_or_else(|| panic!("no {queue} queue: {made:#?}"));
            for part in
                ["\"name\",\"Example Feed\"", "\"EXTERNAL_IMPORT\"", "\"indicator\"", "\"report\"", "x-queue-type"]
            {
                assert!(line.contains(part), "{part}: {line}");
            }
        }
        let bound = listed(&broker, &["list_bindings", "source_name", "destination_name", "routing_key"], id);
        for (exchange, queue) in [("amqp.worker.exchange", "push"), ("amqp.connector.exchange", "listen")] {
            let line = format!("{prefix}{exchange}\t{prefix}{queue}_{id}\t{prefix}{queue}_routing_{id}");
            assert!(bound.contains(&line), "{line}: {bound:#?}");
        }
    }
    let exchanges = broker.ctl(&["-q", "list_exchanges", "name", "type", "durable"]);
    assert!(exchanges.contains("amqp.worker.exchange\tdirect\ttrue"), "{exchanges}");
}

#[test]
fn a_queue_that_the_platform_declared_otherwise_is_left_as_it_is() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let feeds = sent(2, 1, 3);
    let others = ["x-queue-type=\"quorum\"", "x-max-length=100000"];
    for (feed, argument) in others.iter().enumerate() {
        let key = format!("push_routing_{}", feeds.ids[feed]);
        let bound = ["--exchange", "amqp.worker.exchange", "--routing-key", &key, "--argument", argument];
        broker.declare(&feeds.queue(feed), &bound);
    }
    feeds.import(&broker, &[]).exits(0);
    assert_eq!(all_there(&Tap::open(&broker), &feeds), 0);
    let arguments = |feed: usize| listed(&broker, &["list_queues", "name", "type", "arguments"], &feeds.queue(feed));
    assert!(arguments(0)[0].contains("\tquorum\t"), "{:?}", arguments(0));
    assert!(arguments(1)[0].contains("x-max-length") && !arguments(1)[0].contains("Example Feed"));
}

#[test]
fn an_exchange_that_was_declared_otherwise_is_left_as_it_is() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let feeds = sent(1, 1, 3);
    // A prefix of its own, for others use the exchange that has none.
    let prefix = fresh_id();
    let exchange = format!("{prefix}_amqp.worker.exchange");
    broker.declare(&format!("{prefix}_beside"), &["--exchange", &exchange, "--kind", "topic"]);
    feeds.import(&broker, &["--queue-prefix", &prefix]).exits(0).mentions("delivered 1 envelope in 3 messages");
    let elsewhere = fresh_id();
    let run = feeds.import(&broker, &["--queue-prefix", &elsewhere, "--site", "elsewhere"]).exits(0);
    run.mentions(&format!("had no exchange {elsewhere}_amqp.worker.exchange")).mentions("--queue-prefix");
    assert_eq!(broker.count(&format!("{prefix}_{}", feeds.queue(0))), Some(3));
    let exchanges = broker.ctl(&["-q", "list_exchanges", "name", "type", "durable"]);
    assert!(exchanges.contains(&format!("{exchange}\ttopic\tfalse")), "{exchanges}");
}

/// A run that dies between the two leaves it so.
#[test]
fn a_queue_that_lacks_its_binding_is_bound() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let feeds = sent(1, 1, 3);
    broker.declare(&feeds.queue(0), &[]);
    feeds.import(&broker, &PATIENT).exits(0);
    assert_eq!(all_there(&Tap::open(&broker), &feeds), 0);
}

#[test]
fn broker_restart_is_waited_for() {
    let Some(broker) = Broker::there() else { return };
    let feeds = sent(2, 30, 500);
    let mut alone = broker.alone();
    let (running, proxy) = Running::slow(&feeds, &broker, &["--patience", "40s"]);
    alone.stop();
    proxy.arm(Fault::Nothing);
    running.hears("the connection to the broker broke");
    alone.start();
    let run = running.end().exits(0).mentions("delivered 60 envelopes");
    assert_eq!(run.said().matches("the connection to the broker broke").count(), 1, "{run:#?}");
    let repeated = all_there(&Tap::open(&broker), &feeds);
    println!("\nCOUNT repeats when a broker stops and starts: {repeated}");
    assert!(repeated <= REPEATS_MAX, "{repeated}");
}

#[test]
fn broker_that_stays_down_fails_the_run_and_the_next_one_delivers_the_rest() {
    let Some(broker) = Broker::there() else { return };
    let feeds = sent(2, 30, 500);
    let mut alone = broker.alone();
    let (running, proxy) = Running::slow(&feeds, &broker, &PATIENT);
    alone.stop();
    proxy.arm(Fault::Nothing);
    running.end().exits(1).mentions("gave up after 3 s");
    feeds.import(&broker, &PATIENT).exits(1).mentions("cannot reach the broker");
    alone.start();
    // Nor is that forgotten by one that is killed before it could say so.
    let (running, _proxy) = Running::slow(&feeds, &broker, &[]);
    running.kill();
    let run = feeds.import(&broker, &[]).exits(0).mentions("may come a second time");
    let warned: usize = run.said().split_once("was cut off; ").unwrap().1.split(' ').next().unwrap().parse().unwrap();
    let repeated = all_there(&Tap::open(&broker), &feeds);
    println!("\nCOUNT repeats when a broker stays away: {repeated}");
    assert!(repeated <= REPEATS_MAX && repeated <= warned * 500, "{repeated} of {warned} envelopes");
    feeds.import(&broker, &[]).exits(0).says_nothing_of("a second time");
    assert_eq!(broker.count(&feeds.queue(0)), Some(0), "nothing comes again");
}

/// Cuts a connection at so many places, spread evenly over all of its bytes one way.
fn cut_everywhere(broker: &Broker, places: u64, way: &str, fault: fn(u64) -> Fault) {
    let feeds = sent(2, 4, 20);
    let wanted = feeds.wanted();
    let (tap, proxy) = (Tap::open(broker), Proxy::to(broker.port(), Fault::Nothing));
    let port = proxy.port().to_string();
    feeds.import(broker, &["--site", "whole", "--amqp-port", &port]).exits(0);
    let bytes = if way == "to the server" { proxy.to_server() } else { proxy.to_client() };
    let take = || (0..2).map(|feed| repeats(&tap.take(&feeds.queue(feed)), &wanted[feed])).sum::<usize>();
    assert_eq!(take(), 0);
    let (mut most, mut struck, mut healed) = (0, 0, 0);
    for at in 0..places {
        let site = format!("site-{at}");
        proxy.arm(fault(bytes * at / places));
        let run = feeds.import(broker, &["--site", &site, "--amqp-port", &port, "--patience", "3s"]);
        struck += u32::from(proxy.has_struck());
        healed += u32::from(run.exits_one_of(&[0, 1]).status == Some(0));
        feeds.import(broker, &["--site", &site]).exits(0);
        most = most.max(take());
    }
    println!("\nCOUNT cuts {way}: {struck}, {healed} healed in the same run; lost 0, repeated at most {most}");
    // The broker confirms many at a time or few, so the last places may not come.
    assert!(u64::from(struck) >= places / 2, "only {struck} cuts");
    assert!(healed > 0 && most <= 160, "{healed} {most}");
}

#[test]
fn connection_cut_towards_the_broker_loses_nothing() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    cut_everywhere(&broker, 20, "to the server", Fault::CutToServer);
}

#[test]
fn connection_cut_from_the_broker_loses_nothing() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    cut_everywhere(&broker, 24, "to the client", Fault::CutToClient);
}

#[test]
fn connection_that_stalls_fails_the_run_after_the_wait() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    for fault in [Fault::StallToServer(0), Fault::StallToClient(0)] {
        let feeds = sent(1, 20, 500);
        let (running, proxy) = Running::slow(&feeds, &broker, &PATIENT);
        proxy.arm(fault);
        running.end().exits(1).mentions("nothing for 3 s");
        feeds.import(&broker, &[]).exits(0);
        assert!(all_there(&Tap::open(&broker), &feeds) <= REPEATS_MAX);
    }
}

#[test]
fn alarm_is_reported_once_waited_for_and_fails_the_run_if_it_lasts() {
    let Some(broker) = Broker::there() else { return };
    // More than one group, so that queues are looked at while the broker listens no more.
    let feeds = sent(2, 8, 400);
    let mut alone = broker.alone();
    alone.block();
    let run = feeds.import(&broker, &PATIENT);
    let run = run.exits(1).mentions("it has raised an alarm: low on memory").mentions("gave up after 3 s");
    assert_eq!(run.said().matches("; waiting up to 3 s").count(), 1, "{run:#?}");
    let running = Running::start(&feeds, &broker, &["--patience", "30s"]);
    running.hears("it has raised an alarm");
    alone.unblock();
    running.end().exits(0).mentions("the broker accepts messages again").mentions("delivered 16 envelopes");
    // What the first run wrote into the socket was read once the alarm ended.
    assert!(all_there(&Tap::open(&broker), &feeds) <= REPEATS_MAX);
}

/// The broker goes on confirming: the run waits for that, so that nothing comes a second time.
#[test]
fn run_that_is_asked_to_stop_records_what_the_broker_confirms() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let feeds = sent(2, 10, 500);
    let (running, proxy) = Running::slow(&feeds, &broker, &[]);
    let said = running.stop(Signal::TERM, || proxy.arm(Fault::Nothing));
    assert!(said.contains("at batch 1 of stream ") && said.contains("without the medium"), "{said}");
    let delivered = delivered_rows(&feeds);
    assert!((1..20).contains(&delivered), "{delivered} of 20");
    feeds.import(&broker, &[]).exits(0).says_nothing_of("a second time");
    assert_eq!(all_there(&Tap::open(&broker), &feeds), 0, "each once");
}

#[test]
fn run_that_waits_for_the_broker_or_a_queue_ends_with_the_signal() {
    let Some(broker) = Broker::there() else { return };
    let feeds = sent(2, 8, 400);
    let mut alone = broker.alone();
    alone.block();
    // Far beyond what the test may take.
    let running = Running::start(&feeds, &broker, &["--patience", "1h"]);
    running.hears("it has raised an alarm");
    let said = running.stop(Signal::TERM, || ());
    assert!(said.contains("while it waited for the broker; the next run sends again what"), "{said}");
    alone.unblock();
    feeds.import(&broker, &[]).exits(0);
    assert!(all_there(&Tap::open(&broker), &feeds) <= REPEATS_MAX);
    let feeds = sent(1, 6, 500);
    let running = Running::start(&feeds, &broker, &["--queue-limit", "100", "--patience", "1h"]);
    running.hears("(limit 100)");
    let said = running.stop(Signal::INT, || ());
    assert!(said.contains("while it waited for room in a queue; nothing is lost"), "{said}");
    feeds.import(&broker, &[]).exits(0);
    // What was confirmed after it had begun to wait is not recorded.
    assert!(all_there(&Tap::open(&broker), &feeds) <= 2_000);
}

#[test]
fn queue_deleted_during_the_run_is_waited_for_and_returned_messages_are_not_delivered() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let feeds = sent(1, 10, 1_000);
    let tap = Tap::open(&broker);
    let (running, proxy) = Running::slow(&feeds, &broker, &PATIENT);
    tap.delete(&feeds.queue(0));
    proxy.arm(Fault::Nothing);
    running.end().exits(1).mentions("was deleted").mentions("gave up after 3 s");
    let delivered = delivered_rows(&feeds);
    feeds.import(&broker, &[]).exits(0);
    // What lay in the queue is gone with it; all else is there.
    let got = tap.take(&feeds.queue(0));
    assert_eq!(got.len(), 10_000 - delivered * 1_000, "each envelope that was not recorded came whole");
    assert!(delivered < 10);
}

/// How many envelopes the site has recorded as delivered.
fn delivered_rows(feeds: &Feeds) -> usize {
    let ledger = rusqlite::Connection::open(feeds.world.path("importer/ledger.db")).unwrap();
    ledger.query_row("SELECT count(*) FROM delivered", [], |row| row.get::<_, u32>(0)).unwrap() as usize
}

#[test]
fn long_queue_is_waited_for_until_workers_take_messages() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let feeds = sent(1, 6, 500);
    let limited = ["--queue-limit", "100", "--patience", "3s"];
    let run = feeds.import(&broker, &limited);
    run.exits(1).mentions("holds 2,000 messages (limit 100)").mentions("gave up after 3 s");
    let tap = Tap::open(&broker);
    let running = Running::start(&feeds, &broker, &["--queue-limit", "100", "--patience", "20s"]);
    running.hears("(limit 100)");
    assert!((2_000..3_500).contains(&tap.count(&feeds.queue(0))), "it waits");
    let mut got = tap.take(&feeds.queue(0));
    running.end().exits(0);
    got.extend(tap.take(&feeds.queue(0)));
    // What was confirmed after the first run had begun to wait is not recorded.
    assert!(repeats(&got, &feeds.wanted()[0]) <= 2_000);
}

/// A user of the broker, until it is dropped.
struct User {
    broker: Broker,
    name: String,
}

impl User {
    const PASSWORD: &str = "a-secret-of-the-tests";

    /// With permissions to configure, write and read.
    fn new(broker: &Broker, may: [&str; 3]) -> Self {
        let name = format!("user-{}", fresh_id());
        broker.ctl(&["add_user", &name, Self::PASSWORD]);
        broker.ctl(&[&["set_permissions", "-p", "/", &name][..], &may].concat());
        Self { broker: *broker, name }
    }

    fn password_file(feeds: &Feeds, password: &str) -> String {
        let path = feeds.world.path("password");
        std::fs::write(&path, password).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for User {
    fn drop(&mut self) {
        self.broker.ctl(&["delete_user", &self.name]);
    }
}

/// It ends without waiting, with what, where and what to do, and without a secret.
#[track_caller]
fn is_refused(feeds: &Feeds, broker: &Broker, more: &[&str], words: &[&str]) {
    let run = feeds.import(broker, &[more, &PATIENT].concat());
    let run = run.exits(1).says_nothing_of(User::PASSWORD).says_nothing_of("wrong-password");
    let run = words.iter().fold(run, |run, word| run.mentions(word));
    let run = run.says_nothing_of("waiting, for").says_nothing_of("gave up after");
    let about = run.stderr.lines().skip_while(|line| !line.starts_with("error: ")).count();
    assert!((2..=3).contains(&about), "{run:#?}");
}

#[test]
fn missing_permission_fails_fast() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let feeds = sent(1, 1, 3);
    let password = User::password_file(&feeds, User::PASSWORD);
    let no_configure = User::new(&broker, ["^$", ".*", ".*"]);
    let no_write = User::new(&broker, [".*", "^(push|listen)_", ".*"]);
    let with = |user: &User| ["--amqp-user", &user.name, "--amqp-password-file", &password].map(str::to_owned);
    for (user, words) in [
        (&no_configure, &["ACCESS_REFUSED", "push_", "permission"][..]),
        (&no_write, &["amqp.worker.exchange", "write permission"]),
    ] {
        let with = with(user);
        let with: Vec<&str> = with.iter().map(String::as_str).collect();
        is_refused(&feeds, &broker, &with, words);
    }
    assert_eq!(broker.count(&feeds.queue(0)), Some(0));
    feeds.import(&broker, &[]).exits(0);
    assert_eq!(all_there(&Tap::open(&broker), &feeds), 0);
}

#[test]
fn wrong_port_password_or_vhost_fails_fast() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let feeds = sent(1, 1, 3);
    let wrong = User::password_file(&feeds, "wrong-password");
    let place = format!("127.0.0.1:{}", broker.port());
    let refused = |more: &[&str], words: &[&str]| is_refused(&feeds, &broker, more, words);
    refused(&["--amqp-password-file", &wrong], &["ACCESS_REFUSED", &place, "--amqp-password-file"]);
    refused(&["--amqp-vhost", "nowhere"], &["virtual host", "nowhere", &place, "--amqp-vhost"]);
    let tls = broker.tls_port().to_string();
    // What a port with TLS answers to one without may be an alert or the end of the connection: the advice names both.
    refused(&["--amqp-port", &tls], &["cannot reach the broker", "with TLS (amqps://) or without (amqp://)"]);
    refused(&["--amqp-tls=true"], &["cannot reach the broker", "with TLS (amqps://) or without (amqp://)"]);
    refused(&["--amqp-port", "1"], &["cannot reach the broker", "127.0.0.1:1", "--amqp-port"]);
    feeds.import(&broker, &[]).exits(0);
    assert_eq!(all_there(&Tap::open(&broker), &feeds), 0);
}

#[test]
fn a_broker_behind_a_private_authority_is_trusted_only_with_its_certificate() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let feeds = sent(1, 1, 3);
    let to = format!("amqps://guest@localhost:{}", broker.tls_port());
    let import = |more: &[&str]| crate::support::finish(&mut feeds.import_to(&to, more));
    import(&[]).exits(1).mentions("certificate").mentions("--ca-file");
    let ca = Broker::tls().join("ca.pem");
    import(&["--ca-file", ca.to_str().unwrap()]).exits(0).mentions("delivered 1 envelope in 3 messages");
    assert_eq!(all_there(&Tap::open(&broker), &feeds), 0);
}

#[test]
fn a_password_in_the_address_and_a_network_without_tls_are_refused() {
    let Some(_broker) = Broker::there() else { return };
    let feeds = sent(1, 1, 1);
    let import = |to: &str, more: &[&str]| crate::support::finish(&mut feeds.import_to(to, more));
    import("amqp://guest:secret@127.0.0.1", &[]).exits(2).mentions("--amqp-password-file").says_nothing_of("secret@");
    // An address for documentation (RFC 5737): nobody is there.
    import("amqp://guest@192.0.2.1", &PATIENT).exits(2).mentions("without TLS").mentions("--plaintext");
}

/// A queue that takes so many and refuses what is more.
fn full_queue(broker: &Broker, feeds: &Feeds, room: u32) {
    let key = format!("push_routing_{}", feeds.ids[0]);
    let room = format!("x-max-length={room}");
    let words = ["--exchange", "amqp.worker.exchange", "--routing-key", &key, "--argument", &room];
    broker.declare(&feeds.queue(0), &[&words[..], &["--argument", "x-overflow=\"reject-publish\""]].concat());
}

#[test]
fn full_queue_fails_the_run_and_blames_no_message() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    for room in [0, 1] {
        let feeds = sent(1, 3, 1);
        full_queue(&broker, &feeds, room);
        let run = feeds.import(&broker, &PATIENT);
        run.exits(1)
            .mentions("nack")
            .mentions("may be full")
            .mentions("gave up after 3 s")
            .says_nothing_of("quarantine");
        let tap = Tap::open(&broker);
        let mut got = tap.take(&feeds.queue(0));
        tap.delete(&feeds.queue(0));
        feeds.import(&broker, &[]).exits(0);
        got.extend(tap.take(&feeds.queue(0)));
        assert!(repeats(&got, &feeds.wanted()[0]) <= 1);
    }
}

#[test]
fn full_queue_gets_the_rest_when_a_worker_takes_messages() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let feeds = sent(1, 3, 1);
    full_queue(&broker, &feeds, 1);
    let tap = Tap::open(&broker);
    let running = Running::start(&feeds, &broker, &["--patience", "20s"]);
    let mut got = Vec::new();
    eventually("all are there", || {
        got.extend(tap.take(&feeds.queue(0)));
        got.len() >= 3
    });
    running.end().exits(0);
    // A queue that takes one and refuses the next knows no order.
    let mut ids: Vec<String> = got.into_iter().map(|m| m.id).collect();
    ids.sort();
    let mut wanted = feeds.message_ids(0);
    wanted.sort();
    assert_eq!(ids, wanted);
    assert_eq!(tap.count(&feeds.queue(0)), 0);
}

#[test]
fn full_queue_stops_its_connector_and_not_the_others() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    // Five connectors share four channels: the last one stands in the way of the first one's messages.
    let feeds = sent(5, 2, 3);
    full_queue(&broker, &feeds, 0);
    let run = feeds.import(&broker, &PATIENT).exits(3).mentions("delivered 8 envelopes");
    run.mentions("not delivered: 2 envelopes of Example Feed").mentions("(nack): the queue may be full");
    let tap = Tap::open(&broker);
    for (feed, wanted) in feeds.wanted().iter().enumerate().skip(1) {
        assert_eq!(repeats(&tap.take(&feeds.queue(feed)), wanted), 0);
    }
    assert_eq!(delivered_rows(&feeds), 8);
    tap.delete(&feeds.queue(0));
    feeds.import(&broker, &PATIENT).exits(0).mentions("delivered 2 envelopes");
    assert_eq!(repeats(&tap.take(&feeds.queue(0)), &feeds.wanted()[0]), 0);
}

#[test]
fn long_queue_stops_its_connector_and_not_the_others() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let feeds = sent(2, 4, 100);
    // Somebody else's messages lie there before.
    let mut beside = Feeds::new(1);
    beside.ids = vec![feeds.ids[0].clone()];
    beside.put(0, 200);
    beside.send();
    beside.import(&broker, &[]).exits(0);
    let limited = ["--queue-limit", "100", "--patience", "3s"];
    let run = feeds.import(&broker, &limited).exits(3);
    run.mentions("holds 200 messages").mentions("not delivered: ").mentions("the other connectors continue");
    let tap = Tap::open(&broker);
    let wanted = feeds.wanted();
    let mut other = tap.take(&feeds.queue(1));
    assert_eq!(tap.take(&feeds.queue(0)).len(), 200, "nothing was added");
    // The workers have come.
    feeds.import(&broker, &["--queue-limit", "10000"]).exits(0);
    assert_eq!(repeats(&tap.take(&feeds.queue(0)), &wanted[0]), 0);
    other.extend(tap.take(&feeds.queue(1)));
    assert_eq!(repeats(&other, &wanted[1]), 0);
}

#[test]
fn queue_that_this_user_may_not_make_stops_its_connector_and_not_the_others() {
    let Some(broker) = Broker::there() else { return };
    let _shared = broker.shared();
    let feeds = sent(2, 2, 3);
    let password = User::password_file(&feeds, User::PASSWORD);
    let configure = format!(r"^(amqp\..*|(push|listen)_{})$", feeds.ids[1]);
    let user = User::new(&broker, [&configure, ".*", ".*"]);
    let with = ["--amqp-user", &user.name, "--amqp-password-file", &password];
    let run = feeds.import(&broker, &[&with[..], &PATIENT].concat()).exits(3).mentions("delivered 2 envelopes");
    run.mentions("ACCESS_REFUSED").mentions("not delivered: 2 envelopes of Example Feed").mentions("permission");
    assert_eq!(repeats(&Tap::open(&broker).take(&feeds.queue(1)), &feeds.wanted()[1]), 0);
    feeds.import(&broker, &[]).exits(0).mentions("delivered 2 envelopes");
    assert_eq!(repeats(&Tap::open(&broker).take(&feeds.queue(0)), &feeds.wanted()[0]), 0);
}
