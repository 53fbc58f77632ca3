//! A wire that breaks where a test wants it: a proxy on loopback, of threads.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// What is to happen, once. Bytes count over all connections, from when the fault was armed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: all passes.
    Nothing,
    /// After so many bytes from client to server their connection ends, both ways.
    CutToServer(u64),
    /// After so many bytes from server to client.
    CutToClient(u64),
    /// After so many bytes from client to server nothing passes on their connection any more, and it stays open.
    StallToServer(u64),
    /// After so many bytes from server to client.
    StallToClient(u64),
    /// After so many bytes from client to server the rest trickles, until another fault is armed.
    SlowToServer(u64),
    /// For so long every connection ends as soon as it is made.
    Refuse(Duration),
}

/// How long each 16 KiB take that trickle.
const TRICKLE: Duration = Duration::from_millis(20);

/// Forwards connections to a port of loopback until it is dropped.
pub struct Proxy {
    port: u16,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    ToServer,
    ToClient,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    GoOn,
    Cut,
    Stall,
    Slow,
}

struct State {
    fault: Fault,
    armed_at: Instant,
    /// Bytes since the fault was armed.
    since: [u64; 2],
    bytes: [u64; 2],
    connections: usize,
    has_struck: bool,
    has_ended: bool,
    streams: Vec<TcpStream>,
}

impl State {
    fn refuses(&self) -> bool {
        matches!(self.fault, Fault::Refuse(time) if self.armed_at.elapsed() < time)
    }

    /// How many of these bytes pass, and what happens then.
    fn pass(&mut self, way: Way, count: usize) -> (usize, Then) {
        if let (Fault::SlowToServer(limit), Way::ToServer) = (self.fault, way) {
            self.has_struck = self.since[way as usize] >= limit;
            self.since[way as usize] += count as u64;
            self.bytes[way as usize] += count as u64;
            return (count, if self.has_struck { Then::Slow } else { Then::GoOn });
        }
        let (limit, then) = match (self.fault, way) {
            (Fault::CutToServer(limit), Way::ToServer) | (Fault::CutToClient(limit), Way::ToClient) => {
                (limit, Then::Cut)
            }
            (Fault::StallToServer(limit), Way::ToServer) | (Fault::StallToClient(limit), Way::ToClient) => {
                (limit, Then::Stall)
            }
            _ => (u64::MAX, Then::GoOn),
        };
        let left = limit - self.since[way as usize];
        let passed = left.min(count as u64);
        self.since[way as usize] += passed;
        self.bytes[way as usize] += passed;
        if passed < left {
            return (count, Then::GoOn);
        }
        (self.fault, self.has_struck) = (Fault::Nothing, true);
        (passed as usize, then)
    }
}

impl Proxy {
    /// A way to this port of 127.0.0.1.
    pub fn to(port: u16, fault: Fault) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let own = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State {
            fault,
            armed_at: Instant::now(),
            since: [0; 2],
            bytes: [0; 2],
            connections: 0,
            has_struck: false,
            has_ended: false,
            streams: Vec::new(),
        }));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if lock(&shared).has_ended {
                    return;
                }
                forward(&client, port, &shared);
            }
        });
        Self { port: own, state }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sets another fault, from now on.
    pub fn arm(&self, fault: Fault) {
        let mut state = lock(&self.state);
        (state.fault, state.armed_at, state.since, state.has_struck) = (fault, Instant::now(), [0; 2], false);
    }

    /// Whether the connection was cut or stalled, or is slow.
    pub fn has_struck(&self) -> bool {
        lock(&self.state).has_struck
    }

    /// Connections that were made, also those that were refused.
    pub fn connections(&self) -> usize {
        lock(&self.state).connections
    }

    /// Bytes that passed from client to server.
    pub fn to_server(&self) -> u64 {
        lock(&self.state).bytes[Way::ToServer as usize]
    }

    /// Bytes that passed from server to client.
    pub fn to_client(&self) -> u64 {
        lock(&self.state).bytes[Way::ToClient as usize]
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        state.has_ended = true;
        for stream in state.streams.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        drop(state);
        // Wakes the thread that waits for connections.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts one thread a direction. A server that is not there ends the client's connection.
fn forward(client: &TcpStream, port: u16, state: &Arc<Mutex<State>>) {
    let refuses = {
        let mut state = lock(state);
        state.connections += 1;
        state.refuses()
    };
    let Some(server) = Some(port).filter(|_| !refuses).and_then(|p| TcpStream::connect(("127.0.0.1", p)).ok()) else {
        let _ = client.shutdown(Shutdown::Both);
        return;
    };
    let copy = |stream: &TcpStream| stream.try_clone().unwrap();
    lock(state).streams.extend([copy(client), copy(&server)]);
    // Where one direction stalls the other stands still as well.
    let stalled = Arc::new(AtomicBool::new(false));
    for (from, to, way) in [(client, &server, Way::ToServer), (&server, client, Way::ToClient)] {
        let (from, to, stalled, state) = (copy(from), copy(to), Arc::clone(&stalled), Arc::clone(state));
        thread::spawn(move || pump(from, to, way, &stalled, &state));
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream, way: Way, is_stalled: &AtomicBool, state: &Mutex<State>) {
    let mut buffer = [0; 16 * 1024];
    loop {
        let count = from.read(&mut buffer).unwrap_or(0);
        if is_stalled.load(Ordering::SeqCst) {
            // The sockets stay open: the state has copies of them, until the proxy ends.
            return;
        }
        if count == 0 {
            let _ = to.shutdown(Shutdown::Write);
            return;
        }
        let (passed, then) = lock(state).pass(way, count);
        let written = to.write_all(&buffer[..passed]);
        match then {
            Then::GoOn if written.is_ok() => {}
            Then::Slow if written.is_ok() => thread::sleep(TRICKLE),
            Then::Stall => {
                is_stalled.store(true, Ordering::SeqCst);
                return;
            }
            Then::GoOn | Then::Slow | Then::Cut => {
                let _ = from.shutdown(Shutdown::Both);
                let _ = to.shutdown(Shutdown::Both);
                return;
            }
        }
    }
}
