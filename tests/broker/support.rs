//! A broker, a platform, the stock connector and a wire that breaks, beside the words of the other tests.
//!
//! `tests/run` starts the broker by `tests/broker/node` and names it in the environment. Every test takes it with
//! others or alone: see [`Broker::shared`] and [`Broker::alone`].

#![allow(dead_code, reason = "each test module uses some of these words")]

mod proxy;
#[path = "../it/support.rs"]
pub mod world;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use airpouch::digest::Digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

#[allow(unused_imports, reason = "each test module uses some of these words")]
pub use proxy::{Fault, Proxy};
#[allow(unused_imports, reason = "each test module uses some of these words")]
pub use world::{APPLICANT, Run, SEED, Unjudged, World, ended, envelope, envelope_with, files, finish, output};

/// What the platform's stand-in wants to hear from who asks it.
pub const TOKEN: &str = "a-token-of-the-tests";

/// Who uses the broker at this moment.
static USE: RwLock<()> = RwLock::new(());

/// The broker that `tests/run` has started.
#[derive(Debug, Clone, Copy)]
pub struct Broker {
    port: u16,
    tls_port: u16,
}

/// One message, as it lay in a queue.
#[derive(Debug, Clone, Deserialize)]
pub struct Message {
    /// Empty if it was no UTF-8: see `base64`.
    #[serde(default)]
    pub body: String,
    pub base64: Option<String>,
    pub message_id: Option<String>,
    pub delivery_mode: Option<u8>,
    pub content_encoding: Option<String>,
    pub content_type: Option<String>,
    pub headers: Value,
    pub exchange: String,
    pub routing_key: String,
    pub redelivered: bool,
}

impl Message {
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:#?}"))
    }

    /// The bundle that it carries, as text.
    #[track_caller]
    pub fn bundle(&self) -> String {
        String::from_utf8(STANDARD.decode(self.json()["content"].as_str().unwrap()).unwrap()).unwrap()
    }
}

impl Broker {
    /// The broker, or nothing: then the test that asks is skipped, and counted as skipped.
    pub fn there() -> Option<Self> {
        let port = |name: &str| std::env::var(name).ok()?.parse().ok();
        let there = match (port("AIRPOUCH_TEST_AMQP_PORT"), port("AIRPOUCH_TEST_AMQPS_PORT")) {
            (Some(port), Some(tls_port)) => Some(Self { port, tls_port }),
            _ => None,
        };
        let all = ["AIRPOUCH_TEST_TLS", "AIRPOUCH_TEST_RABBITMQCTL", "AIRPOUCH_PYCTI"];
        let there = there.filter(|_| all.iter().all(|name| std::env::var_os(name).is_some()));
        if there.is_none() {
            // Skips are counted by the beginning of a line, and another test may be in the middle of one.
            println!("\nSKIP: no broker; tests/run starts one");
        }
        there
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn tls_port(&self) -> u16 {
        self.tls_port
    }

    /// `amqp://guest@127.0.0.1:PORT`, with a virtual host if one is given; the password is [`Self::PASSWORD`].
    pub fn url(&self, vhost: Option<&str>) -> String {
        let vhost = vhost.map_or(String::new(), |name| format!("/{}", name.replace('/', "%2F")));
        format!("amqp://guest@127.0.0.1:{}{vhost}", self.port)
    }

    /// guest's.
    pub const PASSWORD: &str = "guest";

    /// The directory with `ca.pem`, `server.pem` and `server.key`, which the broker shows and a platform may show.
    pub fn tls() -> PathBuf {
        PathBuf::from(std::env::var_os("AIRPOUCH_TEST_TLS").expect("there() has seen it"))
    }

    /// Runs `rabbitmqctl`; it has to succeed.
    #[track_caller]
    pub fn ctl(&self, arguments: &[&str]) -> String {
        let program = std::env::var_os("AIRPOUCH_TEST_RABBITMQCTL").expect("there() has seen it");
        finish(Command::new(program).args(arguments)).exits(0).stdout
    }

    /// All messages of a queue of `/`, in their order; they are gone from it then.
    #[track_caller]
    pub fn take(&self, queue: &str) -> Vec<Message> {
        self.messages(&["take", queue])
    }

    /// The same, but they stay.
    #[track_caller]
    pub fn peek(&self, queue: &str) -> Vec<Message> {
        self.messages(&["peek", queue])
    }

    #[track_caller]
    fn messages(&self, arguments: &[&str]) -> Vec<Message> {
        self.queues(arguments).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// How many wait in a queue, or nothing if there is no such queue.
    #[track_caller]
    pub fn count(&self, queue: &str) -> Option<u64> {
        serde_json::from_str(&self.queues(&["count", queue])).unwrap()
    }

    #[track_caller]
    pub fn delete(&self, queue: &str) {
        self.queues(&["delete", queue]);
    }

    /// Makes a durable queue; `more` as `queues.py declare` has it.
    #[track_caller]
    pub fn declare(&self, queue: &str, more: &[&str]) {
        self.queues(&[&["declare", queue], more].concat());
    }

    /// Runs `queues.py`.
    #[track_caller]
    pub fn queues(&self, arguments: &[&str]) -> String {
        finish(python("queues.py").arg("--port").arg(self.port.to_string()).args(arguments)).exits(0).stdout
    }

    /// Takes the broker together with other tests: for all that leave it as it is.
    pub fn shared(&self) -> Shared {
        Shared(USE.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes the broker alone: for tests that stop it or make it block.
    pub fn alone(&self) -> Alone {
        Alone { broker: *self, has_stopped: false, has_blocked: false, has_limited: false, held: lock_alone() }
    }
}

fn lock_alone() -> RwLockWriteGuard<'static, ()> {
    USE.write().unwrap_or_else(PoisonError::into_inner)
}

/// As long as it lives nobody has the broker alone.
#[must_use]
pub struct Shared(#[allow(dead_code, reason = "it is held, not read")] RwLockReadGuard<'static, ()>);

/// As long as it lives nobody else uses the broker. Sets things right again at its end.
#[must_use]
pub struct Alone {
    broker: Broker,
    has_stopped: bool,
    has_blocked: bool,
    has_limited: bool,
    #[allow(dead_code, reason = "it is held, not read")]
    held: RwLockWriteGuard<'static, ()>,
}

impl Alone {
    /// The broker refuses connections from now on and ends those that it has. What is durable stays.
    pub fn stop(&mut self) {
        self.has_stopped = true;
        self.broker.ctl(&["stop_app"]);
    }

    pub fn start(&mut self) {
        self.broker.ctl(&["start_app"]);
        self.has_stopped = false;
    }

    /// The broker takes nothing more from who publishes, as when its memory is full, and says so.
    pub fn block(&mut self) {
        self.has_blocked = true;
        self.broker.ctl(&["set_vm_memory_high_watermark", "0.00001"]);
        let alarms = || self.broker.ctl(&["-q", "eval", "rabbit_alarm:get_alarms()."]);
        eventually("the broker is in alarm", || alarms().contains("memory"));
    }

    pub fn unblock(&mut self) {
        self.broker.ctl(&["set_vm_memory_high_watermark", "0.6"]);
        self.has_blocked = false;
    }

    /// Channels that are opened from now on take messages of so many bytes at most.
    pub fn limit(&mut self, bytes: u32) {
        self.has_limited = true;
        self.broker.ctl(&["eval", &format!("application:set_env(rabbit, max_message_size, {bytes}).")]);
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        if self.has_stopped {
            self.start();
        }
        if self.has_blocked {
            self.unblock();
        }
        if self.has_limited {
            self.limit(16 << 20);
        }
    }
}

/// One operation that the platform was asked for.
#[derive(Debug, Clone, Deserialize)]
pub struct Operation {
    /// Which request it came with, from 1.
    pub at: u64,
    /// `registerConnector`, `workAdd`, `workEdit.toProcessed`, `about`, …
    pub operation: String,
    pub arguments: Value,
    /// In whose name it was asked, by the header.
    pub applicant: Option<String>,
    /// The id of what it made.
    pub made: Option<String>,
    /// Why it was not done.
    pub refused: Option<String>,
}

/// A work of the platform.
#[derive(Debug, Clone, Deserialize)]
pub struct Work {
    pub id: String,
    pub connector_id: String,
    pub name: Option<String>,
    pub is_multi_part: bool,
    /// `wait`, `progress` or `complete`.
    pub status: String,
    pub expected: i64,
    pub processed: i64,
    pub draft_context: Option<String>,
    /// Each with its `message`.
    pub messages: Vec<Value>,
    pub errors: Vec<Value>,
}

/// The platform's stand-in, `opencti.py`, until it is dropped.
pub struct Platform {
    child: Child,
    url: String,
    dir: tempfile::TempDir,
}

impl Platform {
    /// Starts one beside this broker, with options of `opencti.py`; its token is [`TOKEN`].
    #[track_caller]
    pub fn start(arguments: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        write_token(dir.path());
        let mut command = python("opencti.py");
        command.arg("--log").arg(dir.path().join("log")).arg("--state").arg(dir.path().join("state"));
        command.args(["--token", TOKEN]).args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
        assert!(url.starts_with("http"), "the platform does not start");
        Self { child, url: url.trim_end().to_owned(), dir }
    }

    /// Writes a list of connectors to a file for `--existing`.
    pub fn existing(world: &World, connectors: &Value) -> PathBuf {
        let path = world.path("existing.json");
        std::fs::write(&path, connectors.to_string()).unwrap();
        path
    }

    /// `http://127.0.0.1:PORT`, or `https:` with `--tls`.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// The same as `--to` has it.
    pub fn destination(&self) -> String {
        format!("opencti+{}", self.url)
    }

    pub fn port(&self) -> u16 {
        self.url.rsplit(':').next().unwrap().parse().unwrap()
    }

    /// A file with its token, that only its owner may read.
    pub fn token_file(&self) -> PathBuf {
        self.dir.path().join("token")
    }

    /// All that it was asked for so far, in this order.
    pub fn operations(&self) -> Vec<Operation> {
        let text = std::fs::read_to_string(self.dir.path().join("log")).unwrap();
        // A line without its end is still being written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The names of what it has done, in this order.
    pub fn done(&self) -> Vec<String> {
        self.operations().into_iter().filter(|o| o.refused.is_none()).map(|o| o.operation).collect()
    }

    #[track_caller]
    pub fn works(&self) -> Vec<Work> {
        serde_json::from_value(self.state()["works"].take()).unwrap()
    }

    #[track_caller]
    pub fn connectors(&self) -> Vec<Value> {
        serde_json::from_value(self.state()["connectors"].take()).unwrap()
    }

    /// Makes it forget all connectors, as one that was set up anew.
    #[track_caller]
    pub fn forget_connectors(&self) {
        self.state_after(rustix::process::Signal::USR2);
        assert!(self.connectors().is_empty());
    }

    /// Asks it to write down what it knows.
    #[track_caller]
    fn state(&self) -> Value {
        self.state_after(rustix::process::Signal::USR1)
    }

    #[track_caller]
    fn state_after(&self, signal: rustix::process::Signal) -> Value {
        let path = self.dir.path().join("state");
        let _ = std::fs::remove_file(&path);
        let process = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(process, signal).unwrap();
        eventually("the platform writes its state", || path.exists());
        serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap()
    }

    /// Asks it a query over plain HTTP; data and errors.
    #[track_caller]
    pub fn ask(&self, query: &str, variables: Value) -> Value {
        let (status, body) = self.post("/graphql", &json!({"query": query, "variables": variables}).to_string());
        serde_json::from_str(&body).unwrap_or_else(|e| panic!("{e}: {status} {body}"))
    }

    /// Posts a body; the status, and what came back. Status 0 if the connection ended without an answer.
    pub fn post(&self, path: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port())).unwrap();
        let length = body.len();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        let mut answer = String::new();
        let read = stream.write_all(request.as_bytes()).and_then(|()| stream.read_to_string(&mut answer));
        match (read, answer.split_once("\r\n\r\n")) {
            (Ok(_), Some((head, body))) => {
                (head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap(), body.to_owned())
            }
            _ => (0, answer),
        }
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn write_token(dir: &Path) {
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::File::options().write(true).create_new(true).mode(0o600).open(dir.join("token")).unwrap();
    file.write_all(format!("{TOKEN}\n").as_bytes()).unwrap();
}

/// What the stock connector did with one envelope.
#[derive(Debug, Clone, Deserialize)]
pub struct Stock {
    pub envelope: PathBuf,
    pub work: String,
    pub messages: usize,
}

impl Stock {
    /// Has pycti deliver these envelopes to a platform as the stock connector does, [`APPLICANT`] as itself. It speaks
    /// the language of 7.261026: the platform has to be of 7.261008 or newer.
    #[track_caller]
    pub fn run(envelopes: &[PathBuf], url: &str) -> Vec<Self> {
        Self::run_as(envelopes, url, &format!("{APPLICANT}:{APPLICANT}"))
    }

    /// The same with another mapping, `FROM:TO,FROM:TO`.
    #[track_caller]
    pub fn run_as(envelopes: &[PathBuf], url: &str, applicants: &str) -> Vec<Self> {
        let mut command = python("stock.py");
        command.args(["--url", url, "--token", TOKEN, "--applicants", applicants]).args(envelopes).env("TZ", "UTC");
        finish(&mut command).exits(0).stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// A program of this directory, in the Python that has pycti.
fn python(name: &str) -> Command {
    let mut command = Command::new(std::env::var_os("AIRPOUCH_PYCTI").expect("there() has seen it"));
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broker").join(name));
    // Or a directory for Python's own files appears among ours.
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// An id that no other test and no other run has: for a connector, so that each test has its own queues.
pub fn fresh_id() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    let hex = Digest::of(format!("{} {now} {count}", std::process::id()).as_bytes()).to_string();
    format!("{}-{}-4{}-8{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32])
}

/// An envelope's `connector` with this id.
pub fn connector(id: &str) -> Value {
    json!({"id": id, "name": "Example Feed", "type": "EXTERNAL_IMPORT", "scope": "indicator, report", "auto": false,
        "validate_before_import": false})
}

/// Where the messages of a connector go, without a prefix.
pub fn push_queue(connector: &str) -> String {
    format!("push_{connector}")
}

/// Waits until it is so. A minute ends a test that would hang, also on a machine with other things to do.
#[track_caller]
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(60), "it does not come to pass that {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
