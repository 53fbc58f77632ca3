//! RabbitMQ: sends messages in windows over several channels, and reports each as delivered only when the broker has
//! confirmed it.
//!
//! ```text
//!   the sink ──Command──> service thread: its own runtime, one connection, four lanes
//!            <──Event────   lane: waiting ──publish──> in flight ──confirm──> done
//! ```
//!
//! A *lane* is one channel: its messages stay in order. This is the only room with async code in it; the service has a
//! thread of its own, and lapin has one for the socket, so that heartbeats continue while other threads split bundles
//! or wait for a disk.
//!
//! Four kinds of things go wrong. *Trouble* is temporary: the connection breaks, or an alarm blocks publishers; the
//! service reports it once and waits. A queue that does *not take* messages (it is full, it is gone, it may not be
//! written to) stops its connector alone: the service gives its messages back, and sends no more there until the caller
//! opens the queue again. A *poison* message is to blame itself: the broker closes a fresh channel over it twice, and
//! confirms another message. Everything else ends the service.

mod inspect;
mod lane;
mod link;
mod service;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::error::TrySendError;
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::lack;
use crate::opencti::broker::{BrokerAddress, QueueType, Route, Topology};
use crate::opencti::secrets::Secrets;
use crate::report::Observer;

use service::Service;

/// Lanes, each a channel. Measured: four lanes sent one and a half times as many messages as one.
pub const LANES: usize = 4;

/// Commands that wait for the service. Measured: with 16 it sent half as many messages a second.
const COMMANDS_WAITING: usize = 256;
/// Bytes of messages among them; a larger one waits alone.
const WAITING_BYTES_MAX: usize = 16 << 20;

/// How long a run that was asked to stop waits for a broker that says nothing.
const STOPPED_WAIT: Duration = Duration::from_secs(2);

/// The address of the broker, and who logs in.
#[derive(Clone)]
pub struct Login {
    /// Its address.
    pub address: BrokerAddress,
    /// The user.
    pub user: String,
    /// The user's password.
    pub password: Zeroizing<String>,
    /// Certificates (PEM) that are trusted in addition to the system's.
    pub ca: Option<String>,
    /// Whether plain text may be sent to another machine.
    pub plaintext: bool,
    /// Secrets that are removed from the broker's words.
    pub secrets: Secrets,
}

/// A message for a connector's queue.
#[derive(Debug)]
pub struct Message {
    /// The lane that keeps it in order.
    pub lane: usize,
    /// Its exchange, routing key and queue.
    pub route: Arc<Route>,
    /// `message_id`: the same each time that the message is sent.
    pub id: String,
    /// The body.
    pub body: Vec<u8>,
    /// The envelope (in a drain: the message of the spool) that it belongs to: a refusal applies to the whole.
    pub part_of: u64,
}

/// What the broker did with a message.
#[derive(Debug)]
pub enum MessageOutcome {
    /// The broker has stored it.
    Confirmed {
        /// The envelope that it belongs to.
        part_of: u64,
    },
    /// The broker refuses it.
    Refused {
        /// The envelope that it belongs to; the rest of that is not sent any more.
        part_of: u64,
        /// The id of the message.
        id: String,
        /// The broker's words.
        words: String,
    },
    /// The broker does not accept messages for its queue at the moment.
    NotTaken {
        /// The envelope that the message belongs to; nothing more is sent to its queue until that is opened again.
        part_of: u64,
        /// Why.
        why: NotTaken,
    },
}

/// Why the broker does not take messages for a queue at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotTaken {
    /// The broker did not store one (nack): the queue may be full.
    Full,
    /// No queue is bound there: the broker returned the message.
    Returned,
    /// The broker closed the channel because of the exchange or queue; its words.
    Closed(String),
    /// This user may not write there; the broker's words.
    Forbidden(String),
}

/// A question about queues or exchanges, or a request to create them.
#[derive(Debug)]
enum BrokerQuestion {
    /// How many messages wait in a queue, if it is there.
    Waiting(String),
    /// Whether an exchange accepts a message; the probe reaches no queue.
    Probe(String),
    /// Creates exchanges, queues and bindings that are missing; the answer is empty if an exchange was missing.
    Declare(Box<Topology>, QueueType),
}

enum Command {
    Publish(Message),
    /// Messages for this queue may be sent again.
    Open(String),
    Ask(BrokerQuestion, SyncSender<std::result::Result<Option<u32>, String>>),
}

enum BrokerEvent {
    Outcome(MessageOutcome),
    /// A line for the user that cannot wait.
    Line(String),
    /// The service has ended; why, and what to do.
    Failed(String, String),
}

/// A connection to a broker, with blocking methods.
pub struct Broker<'a> {
    commands: Option<tokio::sync::mpsc::Sender<Command>>,
    events: Receiver<BrokerEvent>,
    thread: Option<JoinHandle<()>>,
    /// Bytes of messages that the service has not taken yet.
    waiting_bytes: Arc<AtomicUsize>,
    place: String,
    /// Gets what cannot wait, also while a message waits for space.
    observer: &'a dyn Observer,
    outcomes: Vec<MessageOutcome>,
    /// Since when the broker has said nothing in a run that was asked to stop.
    silent_since: Option<Instant>,
}

impl<'a> Broker<'a> {
    /// Connects, without a second try. In later trouble it waits, for up to `patience` without any progress.
    ///
    /// # Errors
    /// The broker does not answer, or rejects the login.
    pub fn connect(login: Login, patience: Duration, observer: &'a dyn Observer) -> Result<Self> {
        let place = login.address.to_string();
        let (commands, received) = tokio::sync::mpsc::channel(COMMANDS_WAITING);
        let (sender, events) = std::sync::mpsc::channel();
        let (ready, is_ready) = sync_channel(1);
        let waiting_bytes = Arc::new(AtomicUsize::new(0));
        let taken = Arc::clone(&waiting_bytes);
        // lapin runs the connection in a thread of its own, and tokio resolves names in another; tokio panics if that
        // does not start.
        lack::threads(3)?;
        let thread = lack::spawn("broker", move || {
            service::run(Service::new(login, patience, received, sender, taken), &ready)
        })?;
        let broker = Self {
            commands: Some(commands),
            events,
            thread: Some(thread),
            waiting_bytes,
            place,
            observer,
            outcomes: Vec::new(),
            silent_since: None,
        };
        match is_ready.recv() {
            Ok(Ok(())) => Ok(broker),
            Ok(Err((what, advice))) => Err(broker.error(what, advice)),
            Err(_) => Err(broker.error("the thread for the broker has ended".into(), String::new())),
        }
    }

    /// How many messages wait in a queue; `None` if there is no such queue. The inner error is the broker's refusal of
    /// this queue.
    ///
    /// # Errors
    /// The broker does not answer.
    pub fn waiting(&mut self, queue: &str) -> Result<std::result::Result<Option<u32>, String>> {
        self.ask(BrokerQuestion::Waiting(queue.to_owned()))
    }

    /// Lets messages be sent to a queue again, after the broker did not accept one.
    ///
    /// # Errors
    /// The service has ended, and why.
    pub fn open(&mut self, queue: &str) -> Result<()> {
        self.send(Command::Open(queue.to_owned()))
    }

    /// Whether an exchange exists and accepts messages of this user. The probe reaches no queue.
    ///
    /// # Errors
    /// The user may not write there, or the broker does not answer.
    pub fn accepts(&mut self, exchange: &str) -> Result<bool> {
        let answer = self.ask(BrokerQuestion::Probe(exchange.to_owned()))?;
        answer
            .map(|taken| taken.is_some())
            .map_err(|words| self.error(words, "look at the permissions of the broker's user".into()))
    }

    /// Creates the exchanges, queues and bindings of a connector that are missing. Returns whether the exchange
    /// existed. The inner error is the broker's refusal of one of them.
    ///
    /// # Errors
    /// The broker does not answer.
    pub fn declare(&mut self, topology: &Topology, queue_type: QueueType) -> Result<std::result::Result<bool, String>> {
        let answer = self.ask(BrokerQuestion::Declare(Box::new(topology.clone()), queue_type))?;
        Ok(answer.map(|was_there| was_there.is_some()))
    }

    /// Passes a message to its lane, and waits while the window is full.
    ///
    /// # Errors
    /// The service has ended, and why.
    pub fn publish(&mut self, message: Message) -> Result<()> {
        let bytes = message.body.len();
        loop {
            let waiting = self.waiting_bytes.load(Ordering::Relaxed);
            if waiting == 0 || waiting + bytes <= WAITING_BYTES_MAX {
                break;
            }
            if self.is_over() {
                return Err(self.ended());
            }
            self.gather(Duration::from_millis(20))?;
        }
        self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.send(Command::Publish(message))
    }

    /// The outcomes since the last call; waits until there is one or something happens.
    ///
    /// # Errors
    /// The service has ended, and why.
    pub fn outcomes(&mut self, wait: bool) -> Result<Vec<MessageOutcome>> {
        self.gather(Duration::ZERO)?;
        if wait && self.outcomes.is_empty() {
            self.gather(Duration::from_secs(1))?;
        }
        Ok(std::mem::take(&mut self.outcomes))
    }

    /// Whether the service has ended.
    pub fn is_over(&self) -> bool {
        self.commands.is_none()
    }

    fn ask(&mut self, question: BrokerQuestion) -> Result<std::result::Result<Option<u32>, String>> {
        let (reply, answer) = sync_channel(1);
        self.send(Command::Ask(question, reply))?;
        loop {
            match answer.recv_timeout(Duration::from_millis(200)) {
                Ok(answered) => return Ok(answered),
                Err(RecvTimeoutError::Timeout) => self.gather(Duration::ZERO)?,
                Err(RecvTimeoutError::Disconnected) => {
                    self.gather(Duration::from_secs(1))?;
                    return Err(self.ended());
                }
            }
        }
    }

    /// Sends a command. The channel to the service is bounded; while it is full, this reads the events of the service,
    /// so that both never wait for each other.
    fn send(&mut self, command: Command) -> Result<()> {
        let mut command = command;
        loop {
            let Some(commands) = &self.commands else { return Err(self.ended()) };
            match commands.try_send(command) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Full(back)) => {
                    command = back;
                    self.gather(Duration::from_millis(50))?;
                }
                Err(TrySendError::Closed(_)) => {
                    self.gather(Duration::from_secs(1))?;
                    return Err(self.ended());
                }
            }
        }
    }

    /// Reads the events of the service, and waits this long for the first one.
    fn gather(&mut self, wait: Duration) -> Result<()> {
        let mut next = match wait {
            Duration::ZERO => self.events.try_recv().map_err(|e| e == TryRecvError::Disconnected),
            wait => self.events.recv_timeout(wait).map_err(|e| e == RecvTimeoutError::Disconnected),
        };
        if next.as_ref().is_err_and(|is_over| *is_over) && self.commands.take().is_some() {
            return Err(self.ended());
        }
        if next.is_err() {
            self.leave_if_stopped()?;
        }
        while let Ok(event) = next {
            self.silent_since = None;
            match event {
                BrokerEvent::Outcome(outcome) => self.outcomes.push(outcome),
                BrokerEvent::Line(line) => self.observer.say(&line),
                BrokerEvent::Failed(what, advice) => {
                    self.commands = None;
                    return Err(self.error(what, advice));
                }
            }
            next = self.events.try_recv().map_err(|_| false);
        }
        Ok(())
    }

    /// A run that was asked to stop waits for a broker that goes on confirming, and leaves one that says nothing.
    fn leave_if_stopped(&mut self) -> Result<()> {
        let Some(signal) = self.observer.asked_to_stop().filter(|_| !self.is_over()) else { return Ok(()) };
        if self.silent_since.get_or_insert_with(Instant::now).elapsed() < STOPPED_WAIT {
            return Ok(());
        }
        self.commands = None;
        let at = "while it waited for the broker; the next run sends again what the broker has not confirmed";
        Err(Error::stopped(signal, at))
    }

    fn ended(&self) -> Error {
        self.error("the connection to the broker has ended".into(), "run this again; nothing is lost".into())
    }

    fn error(&self, what: String, advice: String) -> Error {
        let error = Error::failed(what).at_place(&self.place);
        if advice.is_empty() { error } else { error.advise(advice) }
    }
}

impl Drop for Broker<'_> {
    fn drop(&mut self) {
        // The service ends when its last handle is dropped, and closes the connection properly.
        self.commands = None;
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
