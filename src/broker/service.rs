//! The service: one connection and its lanes, driven by one thread.
//!
//! `service/connecting.rs` connects and reconnects; `service/trouble.rs` decides how long to wait for what is
//! temporary; `service/asking.rs` asks about queues while messages are in flight. This file processes messages and
//! their confirms.

mod asking;
mod connecting;
mod trouble;

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, SyncSender};
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_core::Stream;
use tokio::sync::mpsc::Receiver;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};

use super::lane::{Gathered, Lane, Suspect, probe};
use super::link::{BrokerLink, code_of, words_of};
use super::{BrokerEvent, Command, LANES, Login, Message, MessageOutcome, NotTaken};

use trouble::Trouble;

/// Bytes of messages that wait or are in flight; a larger message is held alone.
const HELD_BYTES_MAX: usize = 32 << 20;
/// Messages that wait or are in flight.
const HELD_MAX: usize = 8_000;
/// How long one try to connect may take.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// How often a connection, lane or question in trouble is tried again.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// What ends the service, and what to do.
type End = (String, String);

/// One connection and its lanes.
pub struct Service {
    /// Bytes of messages among the commands.
    waiting_bytes: Arc<AtomicUsize>,
    login: Login,
    patience: Duration,
    commands: Receiver<Command>,
    events: Sender<BrokerEvent>,
    link: Option<BrokerLink>,
    /// What lapin reports of the connection itself: alarms, and that it broke.
    connection_events: Option<Pin<Box<dyn Stream<Item = lapin::Event> + Send>>>,
    lanes: [Lane; LANES],
    held: usize,
    held_bytes: usize,
    trouble: Option<Trouble>,
    /// Envelopes of which a message was refused: the rest of them is not sent.
    refused: Vec<u64>,
    /// Queues that do not accept messages, and why: nothing is sent there until the caller opens them again.
    closed: BTreeMap<String, NotTaken>,
    /// When something was confirmed last, or there was nothing to confirm.
    progress: Instant,
    /// Whether anything was confirmed on this connection.
    has_confirmed: bool,
    /// Since when each lane holds only suspects.
    alone_since: [Option<Instant>; LANES],
    /// The reply channel of the question that ended the service: kept open, so that the caller reads the reason first.
    unanswered: Option<SyncSender<Result<Option<u32>, String>>>,
}

/// What happens next.
enum ServiceTurn {
    Answered(usize, Gathered),
    Connection(lapin::Event),
    Asked(Option<Command>),
    Tick,
}

/// Runs the service until its last handle is dropped. Sends to `ready` whether it could connect.
pub fn run(mut service: Service, ready: &SyncSender<Result<(), End>>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return drop(ready.send(Err((format!("cannot start a runtime: {e}"), String::new())))),
    };
    runtime.block_on(async {
        match service.connect().await {
            Ok(()) => drop(ready.send(Ok(()))),
            Err(what) => {
                let advice = service.advice(&what);
                return drop(ready.send(Err((what, advice))));
            }
        }
        if let Err((what, advice)) = service.serve().await {
            drop(service.events.send(BrokerEvent::Failed(what, advice)));
        }
        if let Some(link) = service.link.take() {
            drop(timeout(Duration::from_secs(2), link.connection.close(200, "OK".into())).await);
        }
    });
    // Writes to a dead connection must not keep the program from ending.
    runtime.shutdown_timeout(Duration::from_millis(100));
}

impl Service {
    pub(super) fn new(
        login: Login,
        patience: Duration,
        commands: Receiver<Command>,
        events: Sender<BrokerEvent>,
        waiting_bytes: Arc<AtomicUsize>,
    ) -> Self {
        Self {
            waiting_bytes,
            login,
            patience,
            commands,
            events,
            link: None,
            connection_events: None,
            lanes: Default::default(),
            held: 0,
            held_bytes: 0,
            trouble: None,
            refused: Vec::new(),
            closed: BTreeMap::new(),
            progress: Instant::now(),
            has_confirmed: true,
            alone_since: [None; LANES],
            unanswered: None,
        }
    }

    async fn serve(&mut self) -> Result<(), End> {
        let mut tick = interval(LOOK_AGAIN);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.connect_again().await?;
            let now = Instant::now();
            self.lanes.iter_mut().for_each(|lane| lane.send(now));
            match self.turn(&mut tick).await {
                ServiceTurn::Answered(at, gathered) => self.answered(at, gathered).await?,
                ServiceTurn::Connection(event) => self.connection_event(event),
                ServiceTurn::Asked(Some(Command::Publish(message))) => self.accept(message),
                ServiceTurn::Asked(Some(Command::Open(queue))) => drop(self.closed.remove(&queue)),
                ServiceTurn::Asked(Some(Command::Ask(question, reply))) => match self.answer(&question).await {
                    Ok(answer) => drop(reply.send(answer)),
                    Err(end) => {
                        self.unanswered = Some(reply);
                        return Err(end);
                    }
                },
                ServiceTurn::Asked(None) => return Ok(()),
                ServiceTurn::Tick => self.check_trouble().await?,
            }
        }
    }

    /// Waits for the first of: an outcome, an event of the connection, a command if there is space for it, or the tick.
    async fn turn(&mut self, tick: &mut Interval) -> ServiceTurn {
        let has_room = self.held == 0 || (self.held < HELD_MAX && self.held_bytes < HELD_BYTES_MAX);
        let (lanes, commands, events) = (&mut self.lanes, &mut self.commands, &mut self.connection_events);
        poll_fn(|cx| {
            for (at, lane) in lanes.iter_mut().enumerate() {
                if let Poll::Ready(gathered) = lane.gather(cx) {
                    return Poll::Ready(ServiceTurn::Answered(at, gathered));
                }
            }
            if let Some(events) = events
                && let Poll::Ready(Some(event)) = events.as_mut().poll_next(cx)
            {
                return Poll::Ready(ServiceTurn::Connection(event));
            }
            if has_room && let Poll::Ready(command) = commands.poll_recv(cx) {
                return Poll::Ready(ServiceTurn::Asked(command));
            }
            // The caller dropped its handle: discard the queue.
            if !has_room && commands.is_closed() {
                return Poll::Ready(ServiceTurn::Asked(None));
            }
            pin!(tick.tick()).as_mut().poll(cx).map(|_| ServiceTurn::Tick)
        })
        .await
    }

    /// Appends a message to its lane, unless its queue is closed or a message of the same envelope was refused.
    fn accept(&mut self, message: Message) {
        self.waiting_bytes.fetch_sub(message.body.len(), Ordering::Relaxed);
        if self.refused.contains(&message.part_of) {
            return;
        }
        if let Some(why) = self.closed.get(&message.route.queue).cloned() {
            return self.give_back(&[&message], &why);
        }
        if self.held == 0 {
            self.progress = Instant::now();
            self.trouble.iter_mut().for_each(|trouble| trouble.since = Instant::now());
        }
        let (bytes, lane) = (message.body.len(), message.lane % LANES);
        if self.lanes[lane].push(message) {
            self.held += 1;
            self.held_bytes += bytes;
        }
    }

    async fn answered(&mut self, at: usize, gathered: Gathered) -> Result<(), End> {
        let Gathered { confirmed, not_taken, lost, suspects } = gathered;
        if !confirmed.is_empty() {
            self.has_confirmed = true;
            self.progress = Instant::now();
            self.end_trouble_in(at);
        }
        for message in confirmed {
            self.released(&[message.as_ref()]);
            drop(self.events.send(BrokerEvent::Outcome(MessageOutcome::Confirmed { part_of: message.part_of })));
        }
        suspects.into_iter().for_each(|suspect| self.refuse(suspect));
        for (message, why) in not_taken {
            self.progress = Instant::now();
            self.released(&[message.as_ref()]);
            self.close_queue(at, &message, why);
        }
        match lost {
            Some(error) => self.failed(at, &error).await,
            None => Ok(()),
        }
    }

    /// A queue did not accept a message: gives back this message and all that wait for the queue.
    fn close_queue(&mut self, at: usize, message: &Arc<Message>, why: NotTaken) {
        let queue = message.route.queue.clone();
        let waiting = self.lanes[at].take_of_queue(&queue);
        let waiting: Vec<&Message> = waiting.iter().map(Arc::as_ref).collect();
        self.released(&waiting);
        self.give_back(&[&[message.as_ref()][..], &waiting].concat(), &why);
        self.closed.insert(queue, why);
    }

    /// Reports once for each envelope that its messages are not accepted.
    fn give_back(&self, messages: &[&Message], why: &NotTaken) {
        let mut last = None;
        for Message { part_of, .. } in messages {
            if last.replace(*part_of) != Some(*part_of) {
                let outcome = MessageOutcome::NotTaken { part_of: *part_of, why: why.clone() };
                drop(self.events.send(BrokerEvent::Outcome(outcome)));
            }
        }
    }

    /// A message was lost with its channel or its connection.
    async fn failed(&mut self, at: usize, error: &lapin::Error) -> Result<(), End> {
        let alive = self.link.as_ref().is_some_and(|link| link.connection.status().connected());
        let words = self.words(error);
        match code_of(error) {
            // 403 and 404 are about the exchange, not about the message: RabbitMQ closes the channel with all messages
            // in it, and does not name the message.
            Some((code @ (403 | 404), true)) if alive => {
                if let Some(message) = self.lanes[at].channel_closed_over_route() {
                    self.released(&[message.as_ref()]);
                    let why = if code == 403 { NotTaken::Forbidden(words) } else { NotTaken::Closed(words) };
                    self.close_queue(at, &message, why);
                }
            }
            Some((403, _)) => return Err(may_not_publish(&words)),
            // 406, PRECONDITION_FAILED: a message beyond max_message_size. Sent again with the others it would close
            // each new channel, so that no message ever arrived.
            Some((406, true)) if alive => {
                let dropped = self.lanes[at].channel_closed_over_message(&words);
                let dropped: Vec<&Message> = dropped.iter().map(Arc::as_ref).collect();
                self.released(&dropped);
                if self.lanes[at].suspects_all() {
                    return Err(all_refused(&words));
                }
            }
            Some((_, true)) if alive => {
                self.lanes[at].lost();
                self.lanes[at].paused_until = Some(Instant::now() + LOOK_AGAIN);
                self.trouble(&format!("the broker closed a channel: {words}"), Some(at));
            }
            _ => return self.disconnected(&words),
        }
        self.open_lane(at).await
    }

    /// The lane holds only suspects: sends a message for no queue, which shows whether the exchange accepts any.
    async fn probe(&mut self, at: usize) -> Result<(), End> {
        let lane = &self.lanes[at];
        let (Some(channel), Some(first)) = (lane.channel.clone(), lane.first_suspect()) else { return Ok(()) };
        let (exchange, words) = (first.message.route.exchange.clone(), first.words.clone());
        match timeout(CONNECT_MAX, probe(&channel, &exchange)).await {
            Ok(Ok(true)) => {
                let suspects = self.lanes[at].take_suspects();
                suspects.into_iter().for_each(|suspect| self.refuse(suspect));
                self.end_trouble_in(at);
                Ok(())
            }
            Ok(Ok(false)) => {
                self.trouble(
                    &format!("the broker accepts nothing for {exchange} (nack): a queue may be full"),
                    Some(at),
                );
                Ok(())
            }
            Ok(Err(error)) => match code_of(&error) {
                Some((406, true)) => Err(all_refused(&words)),
                Some((403, _)) => Err(may_not_publish(&self.words(&error))),
                // The exchange is gone, and the channel with it.
                Some((_, true)) => {
                    self.lanes[at].lost();
                    self.trouble(&format!("the broker closed a channel: {}", self.words(&error)), Some(at));
                    self.open_lane(at).await
                }
                // The next connection tries again.
                _ => self.disconnected(&self.words(&error)),
            },
            Err(_) => self.disconnected("it does not answer"),
        }
    }

    /// Whether nothing waits for an answer: no message and no suspect.
    fn is_idle(&self) -> bool {
        self.held == 0 && !self.lanes.iter().any(Lane::has_suspects)
    }

    fn refuse(&mut self, suspect: Suspect) {
        let Suspect { message, words } = suspect;
        self.refused.push(message.part_of);
        let (part_of, id) = (message.part_of, message.id.clone());
        drop(self.events.send(BrokerEvent::Outcome(MessageOutcome::Refused { part_of, id, words })));
    }

    fn released(&mut self, messages: &[&Message]) {
        self.held -= messages.len();
        self.held_bytes -= messages.iter().map(|m| m.body.len()).sum::<usize>();
    }

    fn words(&self, error: &lapin::Error) -> String {
        words_of(error, &self.login.secrets)
    }

    fn send_line(&self, line: &str) {
        drop(self.events.send(BrokerEvent::Line(line.to_owned())));
    }
}

fn all_refused(words: &str) -> End {
    let advice = "check the broker's max_message_size; with --max-message-size, larger messages are quarantined and the rest is sent";
    (format!("the broker refuses every message: {words}"), advice.into())
}

fn may_not_publish(words: &str) -> End {
    let advice = "give the broker's user write permission for OpenCTI's exchanges";
    (format!("the broker does not let this user publish: {words}"), advice.into())
}
