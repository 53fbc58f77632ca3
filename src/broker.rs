//! RabbitMQ: messages go out in windows over several channels, and each is said to be there only when the broker has
//! confirmed it.
//!
//! ```text
//!   the sink ──Command──> service thread: its own runtime, one connection, four lanes
//!            <──Event────   lane: waiting ──publish──> flying ──confirm──> done
//! ```
//!
//! A *lane* is one channel: what goes through it stays in order. This is the only room with async code in it; the
//! service has a thread of its own, and lapin one for the socket, so that heartbeats go on while others split bundles or
//! wait for a disk.
//!
//! What goes wrong is of four kinds. *Trouble* passes: the connection breaks, an alarm blocks publishers; it is said once
//! and waited for. A queue that does *not take* messages (it is full, it is gone, it may not be written to) stops its
//! connector alone: its messages are given back, and no more are sent there until it is opened again. A *poison* message
//! is refused by itself: the broker closes a fresh channel over it twice, while another message passes. Everything else
//! ends the service.

mod inspect;
mod lane;
mod link;
mod service;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::lack;
use crate::opencti::broker::{BrokerAddress, QueueType, Route, Topology};
use crate::opencti::secrets::Secrets;
use crate::report::Observer;

use service::Service;

/// Lanes, each a channel: four of them made one and a half times the messages of one.
pub const LANES: usize = 4;

/// Commands that wait for the service: with 16 of them it made half as many messages a second.
const COMMANDS_WAITING: usize = 256;
/// Bytes of messages among them; a larger one waits alone.
const WAITING_BYTES_MAX: usize = 16 << 20;

/// Where the broker is and who is there.
#[derive(Clone)]
pub struct Login {
    /// Its address.
    pub address: BrokerAddress,
    /// The user.
    pub user: String,
    /// The user's password.
    pub password: Zeroizing<String>,
    /// Certificates (PEM) that are trusted beside the system's.
    pub ca: Option<String>,
    /// Whether plain text may go to another machine.
    pub plaintext: bool,
    /// What is taken out of the broker's words.
    pub secrets: Secrets,
}

/// A message for a connector's queue.
#[derive(Debug)]
pub struct Message {
    /// The lane in which it stays behind those before it.
    pub lane: usize,
    /// Where it goes.
    pub route: Arc<Route>,
    /// `message_id`: the same each time that it is sent.
    pub id: String,
    /// The body.
    pub body: Vec<u8>,
    /// What it is a part of; a refusal hits all of that.
    pub part_of: u64,
}

/// What became of messages.
#[derive(Debug)]
pub enum MessageOutcome {
    /// The broker has one, and wrote it down.
    Confirmed {
        /// What it is a part of.
        part_of: u64,
    },
    /// The broker does not take one.
    Refused {
        /// What it is a part of; the rest of that is not sent any more.
        part_of: u64,
        /// The id of the message.
        id: String,
        /// The broker's words.
        words: String,
    },
    /// The broker does not take messages for a queue at the moment.
    NotTaken {
        /// What the message is a part of; nothing more goes to its queue until that is opened again.
        part_of: u64,
        /// Why.
        why: NotTaken,
    },
}

/// Why the broker does not take messages for a queue at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotTaken {
    /// It did not want to keep one (nack): the queue may be full.
    Full,
    /// No queue is bound there: it came back.
    Returned,
    /// It closed the channel over where one goes; its words.
    Closed(String),
    /// This user may not write there; the broker's words.
    Forbidden(String),
}

/// A look at a queue, or the making of one.
#[derive(Debug)]
enum BrokerQuestion {
    /// How many messages wait in a queue, if it is there.
    Waiting(String),
    /// Whether an exchange takes a message; it goes to no queue.
    Probe(String),
    /// Makes what is missing of exchanges, queues and bindings; nothing is answered where an exchange was missing.
    Declare(Box<Topology>, QueueType),
}

enum Command {
    Publish(Message),
    /// Messages for this queue may go again.
    Open(String),
    Ask(BrokerQuestion, SyncSender<std::result::Result<Option<u32>, String>>),
}

enum BrokerEvent {
    Outcome(MessageOutcome),
    /// A word that cannot wait.
    Word(String),
    /// The end, and why; the second text is what to do.
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
    /// Who is told what cannot wait, also while a message waits for room.
    observer: &'a dyn Observer,
    outcomes: Vec<MessageOutcome>,
}

impl<'a> Broker<'a> {
    /// Connects. Later trouble is told and waited for, `patience` long without any progress; now there is none to be
    /// had.
    ///
    /// # Errors
    /// The broker is not there, or does not let this user in.
    pub fn connect(login: Login, patience: Duration, observer: &'a dyn Observer) -> Result<Self> {
        let place = login.address.to_string();
        let (commands, received) = tokio::sync::mpsc::channel(COMMANDS_WAITING);
        let (sender, events) = std::sync::mpsc::channel();
        let (ready, is_ready) = sync_channel(1);
        let waiting_bytes = Arc::new(AtomicUsize::new(0));
        let taken = Arc::clone(&waiting_bytes);
        // lapin drives the connection in a thread of its own, and tokio looks names up in another: it panics without.
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
        };
        match is_ready.recv() {
            Ok(Ok(())) => Ok(broker),
            Ok(Err((what, advice))) => Err(broker.error(what, advice)),
            Err(_) => Err(broker.error("the thread for the broker has ended".into(), String::new())),
        }
    }

    /// How many messages wait in a queue; `None` if there is no such queue. The inner error is the broker's word against
    /// this queue.
    ///
    /// # Errors
    /// The broker does not answer.
    pub fn waiting(&mut self, queue: &str) -> Result<std::result::Result<Option<u32>, String>> {
        self.ask(BrokerQuestion::Waiting(queue.to_owned()))
    }

    /// Messages for a queue may go again, after one was not taken.
    ///
    /// # Errors
    /// The service has ended, and why.
    pub fn open(&mut self, queue: &str) -> Result<()> {
        self.send(Command::Open(queue.to_owned()))
    }

    /// Whether an exchange is there and takes messages of this user; what is sent to see it goes to no queue.
    ///
    /// # Errors
    /// The user may not write there, or the broker does not say.
    pub fn takes(&mut self, exchange: &str) -> Result<bool> {
        let answer = self.ask(BrokerQuestion::Probe(exchange.to_owned()))?;
        answer
            .map(|taken| taken.is_some())
            .map_err(|words| self.error(words, "look at the permissions of the broker's user".into()))
    }

    /// Makes what is missing of a connector's exchanges, queues and bindings. Says whether the exchange was there. The
    /// inner error is the broker's word against one of them.
    ///
    /// # Errors
    /// The broker does not answer.
    pub fn declare(&mut self, topology: &Topology, queue_type: QueueType) -> Result<std::result::Result<bool, String>> {
        let answer = self.ask(BrokerQuestion::Declare(Box::new(topology.clone()), queue_type))?;
        Ok(answer.map(|was_there| was_there.is_some()))
    }

    /// Gives a message to its lane, and waits while the window is full.
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

    /// What became of messages since this was asked for last; waits until something is known or happens.
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

    /// The channel to the service is bounded; while it is full, what the service says is taken.
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

    /// Takes what the service has said, and waits so long for the first of it.
    fn gather(&mut self, wait: Duration) -> Result<()> {
        let mut next = match wait {
            Duration::ZERO => self.events.try_recv().map_err(|e| e == TryRecvError::Disconnected),
            wait => self.events.recv_timeout(wait).map_err(|e| e == RecvTimeoutError::Disconnected),
        };
        if next.as_ref().is_err_and(|is_over| *is_over) && self.commands.take().is_some() {
            return Err(self.ended());
        }
        while let Ok(event) = next {
            match event {
                BrokerEvent::Outcome(outcome) => self.outcomes.push(outcome),
                BrokerEvent::Word(word) => self.observer.say(&word),
                BrokerEvent::Failed(what, advice) => {
                    self.commands = None;
                    return Err(self.error(what, advice));
                }
            }
            next = self.events.try_recv().map_err(|_| false);
        }
        Ok(())
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
        // The service ends when nobody can ask it any more, and closes the connection in good order.
        self.commands = None;
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
