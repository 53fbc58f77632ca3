//! The service: one connection and its lanes, driven by one thread.

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
use tokio::time::{Interval, MissedTickBehavior, interval, sleep, timeout};

use super::lane::{Gathered, Lane, Suspect, probe};
use super::link::{Link, code_of, connecting, open, open_channel, words_of};
use super::{Command, Event, LANES, Login, Message, NotTaken, Outcome, Question};
use crate::text::{duration, harmless};

/// Bytes of messages that wait or are on their way; a larger one is there alone.
const HELD_BYTES_MAX: usize = 32 << 20;
/// Messages that wait or are on their way.
const HELD_MAX: usize = 8_000;
/// How long one try to connect may take.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// How long a lane has nothing but suspects before something else is sent to see whether it passes.
const ALONE: Duration = Duration::from_secs(1);
/// How often what is in trouble is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// What ends the service, and what to do.
type End = (String, String);

/// Something that passes, if one waits.
struct Trouble {
    since: Instant,
    what: String,
    /// The lane that it is in, if it is not in all of them.
    lane: Option<usize>,
    /// Whether it lasts until the broker says that it is over, whatever is confirmed meanwhile.
    is_alarm: bool,
}

/// One connection and its lanes.
pub struct Service {
    /// Bytes of messages among the commands.
    waiting_bytes: Arc<AtomicUsize>,
    login: Login,
    patience: Duration,
    commands: Receiver<Command>,
    events: Sender<Event>,
    link: Option<Link>,
    /// What the connection tells of itself.
    news: Option<Pin<Box<dyn Stream<Item = lapin::Event> + Send>>>,
    lanes: [Lane; LANES],
    held: usize,
    held_bytes: usize,
    trouble: Option<Trouble>,
    /// What is refused: the rest of it is not sent.
    refused: Vec<u64>,
    /// Queues that do not take messages, and why: nothing is sent there until they are opened again.
    closed: BTreeMap<String, NotTaken>,
    /// When something was confirmed last, or there was nothing to confirm.
    progress: Instant,
    /// Whether anything was confirmed since the connection was made.
    is_fruitful: bool,
    /// Since when each lane has nothing but suspects.
    alone_since: [Option<Instant>; LANES],
    /// Where a question was to be answered that has ended the service: it is heard first why.
    unanswered: Option<SyncSender<Result<Option<u32>, String>>>,
}

/// What happens next.
enum Turn {
    Landed(usize, Gathered),
    Told(lapin::Event),
    Asked(Option<Command>),
    Tick,
}

/// Drives the service until nobody can ask it any more. Tells whether it could connect at all.
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
            drop(service.events.send(Event::Failed(what, advice)));
        }
        if let Some(link) = service.link.take() {
            drop(timeout(Duration::from_secs(2), link.connection.close(200, "OK".into())).await);
        }
    });
    // What is still on its way through a dead connection must not hold the program.
    runtime.shutdown_timeout(Duration::from_millis(100));
}

impl Service {
    pub(super) fn new(
        login: Login,
        patience: Duration,
        commands: Receiver<Command>,
        events: Sender<Event>,
        waiting_bytes: Arc<AtomicUsize>,
    ) -> Self {
        Self {
            waiting_bytes,
            login,
            patience,
            commands,
            events,
            link: None,
            news: None,
            lanes: Default::default(),
            held: 0,
            held_bytes: 0,
            trouble: None,
            refused: Vec::new(),
            closed: BTreeMap::new(),
            progress: Instant::now(),
            is_fruitful: true,
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
            self.lanes.iter_mut().for_each(|lane| lane.fly(now));
            match self.turn(&mut tick).await {
                Turn::Landed(at, gathered) => self.landed(at, gathered).await?,
                Turn::Told(event) => self.told(event),
                Turn::Asked(Some(Command::Publish(message))) => self.take(message),
                Turn::Asked(Some(Command::Open(queue))) => drop(self.closed.remove(&queue)),
                Turn::Asked(Some(Command::Ask(question, reply))) => match self.answer(&question).await {
                    Ok(answer) => drop(reply.send(answer)),
                    Err(end) => {
                        self.unanswered = Some(reply);
                        return Err(end);
                    }
                },
                Turn::Asked(None) => return Ok(()),
                Turn::Tick => self.look().await?,
            }
        }
    }

    /// Whatever comes first: an outcome, an event of the connection, a command if there is room for it, or time.
    async fn turn(&mut self, tick: &mut Interval) -> Turn {
        let has_room = self.held == 0 || (self.held < HELD_MAX && self.held_bytes < HELD_BYTES_MAX);
        let (lanes, commands, news) = (&mut self.lanes, &mut self.commands, &mut self.news);
        poll_fn(|cx| {
            for (at, lane) in lanes.iter_mut().enumerate() {
                if let Poll::Ready(landed) = lane.gather(cx) {
                    return Poll::Ready(Turn::Landed(at, landed));
                }
            }
            if let Some(news) = news
                && let Poll::Ready(Some(event)) = news.as_mut().poll_next(cx)
            {
                return Poll::Ready(Turn::Told(event));
            }
            if has_room && let Poll::Ready(command) = commands.poll_recv(cx) {
                return Poll::Ready(Turn::Asked(command));
            }
            // Who asked has gone away; what waits is nobody's any more.
            if !has_room && commands.is_closed() {
                return Poll::Ready(Turn::Asked(None));
            }
            pin!(tick.tick()).as_mut().poll(cx).map(|_| Turn::Tick)
        })
        .await
    }

    fn take(&mut self, message: Message) {
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

    async fn landed(&mut self, at: usize, gathered: Gathered) -> Result<(), End> {
        let Gathered { confirmed, not_taken, lost, suspects } = gathered;
        if !confirmed.is_empty() {
            self.is_fruitful = true;
            self.progress = Instant::now();
            self.passed(at);
        }
        for message in confirmed {
            self.released(&[message.as_ref()]);
            drop(self.events.send(Event::Outcome(Outcome::Confirmed { part_of: message.part_of })));
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

    /// A queue did not take a message: that and all that waits for it is given back.
    fn close_queue(&mut self, at: usize, message: &Arc<Message>, why: NotTaken) {
        let queue = message.route.queue.clone();
        let waiting = self.lanes[at].take_of_queue(&queue);
        let waiting: Vec<&Message> = waiting.iter().map(Arc::as_ref).collect();
        self.released(&waiting);
        self.give_back(&[&[message.as_ref()][..], &waiting].concat(), &why);
        self.closed.insert(queue, why);
    }

    /// Says once of each envelope or other whole that messages of it are not taken.
    fn give_back(&self, messages: &[&Message], why: &NotTaken) {
        let mut last = None;
        for Message { part_of, .. } in messages {
            if last.replace(*part_of) != Some(*part_of) {
                let outcome = Outcome::NotTaken { part_of: *part_of, why: why.clone() };
                drop(self.events.send(Event::Outcome(outcome)));
            }
        }
    }

    /// Something passed in a lane: what was in trouble there is well again.
    fn passed(&mut self, at: usize) {
        self.trouble =
            self.trouble.take().filter(|trouble| trouble.is_alarm || trouble.lane.is_some_and(|lane| lane != at));
    }

    /// A message did not get through: the connection is gone, or its channel.
    async fn failed(&mut self, at: usize, error: &lapin::Error) -> Result<(), End> {
        let alive = self.link.as_ref().is_some_and(|link| link.connection.status().connected());
        let words = self.words(error);
        match code_of(error) {
            Some((code @ (403 | 404), true)) if alive => {
                if let Some(message) = self.lanes[at].closed_over_a_place() {
                    self.released(&[message.as_ref()]);
                    let why = if code == 403 { NotTaken::Forbidden(words) } else { NotTaken::Closed(words) };
                    self.close_queue(at, &message, why);
                }
            }
            Some((403, _)) => return Err(may_not_publish(&words)),
            Some((406, true)) if alive => {
                let dropped = self.lanes[at].closed_over_one(&words);
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

    fn words(&self, error: &lapin::Error) -> String {
        words_of(error, &self.login.secrets)
    }

    async fn open_lane(&mut self, at: usize) -> Result<(), End> {
        let Some(link) = &self.link else { return Ok(()) };
        match timeout(CONNECT_MAX, open_channel(&link.connection)).await {
            Ok(Ok(channel)) => self.lanes[at].channel = Some(Arc::new(channel)),
            Ok(Err(error)) => return self.disconnected(&self.words(&error)),
            Err(_) => return self.disconnected("it does not open a channel"),
        }
        Ok(())
    }

    /// Nothing else is there that could pass: a message that nobody wants shows whether the exchange takes any.
    async fn probe(&mut self, at: usize) -> Result<(), End> {
        let lane = &self.lanes[at];
        let (Some(channel), Some(first)) = (lane.channel.clone(), lane.first_suspect()) else { return Ok(()) };
        let (exchange, words) = (first.message.route.exchange.clone(), first.words.clone());
        match timeout(CONNECT_MAX, probe(&channel, &exchange)).await {
            Ok(Ok(true)) => {
                let suspects = self.lanes[at].take_suspects();
                suspects.into_iter().for_each(|suspect| self.refuse(suspect));
                self.passed(at);
                Ok(())
            }
            Ok(Ok(false)) => {
                self.trouble(&format!("the broker takes nothing for {exchange} (nack): a queue may be full"), Some(at));
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
                // It is looked at again when there is a connection.
                _ => self.disconnected(&self.words(&error)),
            },
            Err(_) => self.disconnected("it does not answer"),
        }
    }

    /// Whether nothing waits for an answer: no message, and none that is suspected.
    fn is_idle(&self) -> bool {
        self.held == 0 && !self.lanes.iter().any(Lane::has_suspects)
    }

    fn refuse(&mut self, suspect: Suspect) {
        let Suspect { message, words } = suspect;
        self.refused.push(message.part_of);
        let (part_of, id) = (message.part_of, message.id.clone());
        drop(self.events.send(Event::Outcome(Outcome::Refused { part_of, id, words })));
    }

    fn released(&mut self, messages: &[&Message]) {
        self.held -= messages.len();
        self.held_bytes -= messages.iter().map(|m| m.body.len()).sum::<usize>();
    }

    fn told(&mut self, event: lapin::Event) {
        match event {
            lapin::Event::ConnectionBlocked(reason) => {
                self.trouble(
                    &format!(
                        "the broker blocks publishers, it has raised an alarm: {}",
                        harmless(&self.login.secrets.out_of(&reason))
                    ),
                    None,
                );
                self.trouble.iter_mut().filter(|trouble| trouble.lane.is_none()).for_each(|t| t.is_alarm = true);
            }
            lapin::Event::ConnectionUnblocked => {
                self.trouble = self.trouble.take().filter(|trouble| trouble.lane.is_some());
                self.progress = Instant::now();
                self.say("the broker takes messages again");
            }
            // What an error does to messages is heard from them.
            _ => {}
        }
    }

    /// Whether what is in trouble is better, or has lasted too long.
    async fn look(&mut self) -> Result<(), End> {
        if self.link.as_ref().is_some_and(|link| !link.connection.status().connected()) {
            return self.disconnected("it is gone");
        }
        for at in 0..LANES {
            if self.lanes[at].channel.is_none() && self.link.is_some() {
                self.open_lane(at).await?;
            }
            // Others may be on their way to it, which would show more than a probe.
            let is_alone = self.lanes[at].has_only_suspects() && self.link.is_some();
            let since = *self.alone_since[at].get_or_insert_with(Instant::now);
            if !is_alone {
                self.alone_since[at] = None;
            } else if since.elapsed() > ALONE {
                self.probe(at).await?;
            }
        }
        self.give_up()
    }

    /// Ends the service if trouble has lasted too long, or nothing was confirmed for so long.
    fn give_up(&self) -> Result<(), End> {
        let advice = "nothing is lost. Fix that, then run it again (for import: without the medium)";
        let waited = duration(self.patience.as_secs());
        match &self.trouble {
            // With nothing to send, and a connection, it troubles nobody.
            Some(_) if self.is_idle() && self.link.is_some() => Ok(()),
            Some(trouble) if trouble.since.elapsed() > self.patience => {
                Err((format!("{}; gave up after {waited}", trouble.what), advice.into()))
            }
            None if self.lanes.iter().any(Lane::is_flying) && self.progress.elapsed() > self.patience => {
                Err((format!("the broker has confirmed nothing for {waited}"), advice.into()))
            }
            _ => Ok(()),
        }
    }

    fn disconnected(&mut self, words: &str) -> Result<(), End> {
        self.link = None;
        self.lanes.iter_mut().for_each(Lane::lost);
        // With the connection goes what it has told of itself.
        self.trouble.iter_mut().for_each(|trouble| trouble.is_alarm = false);
        self.trouble(&format!("the connection to the broker broke: {words}"), None);
        self.give_up()
    }

    /// Notes trouble, and says it once.
    fn trouble(&mut self, what: &str, lane: Option<usize>) {
        if self.trouble.is_none() {
            let line = format!("{what}; waiting up to {}", duration(self.patience.as_secs()));
            self.say(&line);
            self.trouble = Some(Trouble { since: Instant::now(), what: what.to_owned(), lane, is_alarm: false });
        }
    }

    fn say(&self, line: &str) {
        drop(self.events.send(Event::Word(line.to_owned())));
    }

    async fn connect_again(&mut self) -> Result<(), End> {
        let mut pause = Duration::from_millis(200);
        if self.link.is_none() && !self.is_fruitful {
            sleep(pause).await;
        }
        while self.link.is_none() {
            // Who asked has gone away; what waits is nobody's any more.
            if self.commands.is_closed() {
                return Err(("the run has ended".into(), String::new()));
            }
            match self.connect().await {
                Ok(()) if self.is_idle() => self.trouble = None,
                Ok(()) => self.progress = Instant::now(),
                Err(_) => self.give_up()?,
            }
            if self.link.is_none() {
                sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(2));
            }
        }
        Ok(())
    }

    async fn connect(&mut self) -> Result<(), String> {
        let within = CONNECT_MAX.min(self.patience.max(LOOK_AGAIN));
        let tried = timeout(within, open(&self.login)).await;
        let (connection, channels) = match tried {
            Ok(Ok(opened)) => opened,
            Ok(Err(error)) => return Err(connecting(&error, &self.login.secrets)),
            Err(_) => return Err(format!("the broker does not answer within {}", duration(within.as_secs()))),
        };
        for (lane, channel) in self.lanes.iter_mut().zip(channels) {
            lane.channel = Some(Arc::new(channel));
        }
        self.is_fruitful = false;
        self.news = Some(Box::pin(connection.events_listener()));
        self.link = Some(Link::new(connection));
        Ok(())
    }

    fn advice(&self, what: &str) -> String {
        match what {
            _ if what.contains("certificate") => {
                "if a private authority signed it: --ca-file FILE, with that authority's certificate".into()
            }
            _ if what.contains("virtual host") => {
                "name the platform's virtual host: amqp://HOST/VHOST, or --amqp-vhost; this user needs permissions there".into()
            }
            _ if what.contains("ACCESS_REFUSED") || what.contains("not let") => {
                "name the user in the address (amqp://USER@HOST) or with --amqp-user, the password with --amqp-password-file FILE".into()
            }
            _ => "is it up, and is that its address, with TLS (amqps://) or without (amqp://)? --amqp-host, --amqp-port, --amqp-tls and their like go over what the platform tells".into(),
        }
    }

    /// Asks until there is an answer: a connection that breaks is made again, and an alarm is waited for.
    async fn answer(&mut self, question: &Question) -> Result<Result<Option<u32>, String>, End> {
        let began = Instant::now();
        if self.held == 0 {
            self.trouble.iter_mut().for_each(|trouble| trouble.since = began);
        }
        loop {
            self.connect_again().await?;
            let Some(mut link) = self.link.take() else { continue };
            let asked = self.hear_answer(began, pin!(link.answer(question))).await?;
            self.link = Some(link);
            match asked {
                Ok(found) => return Ok(Ok(found)),
                Err(error) if code_of(&error).is_some_and(|(_, of_channel)| of_channel) => {
                    return Ok(Err(format!("the broker refused: {}", self.words(&error))));
                }
                Err(error) => {
                    self.disconnected(&self.words(&error))?;
                    if began.elapsed() > self.patience {
                        let what = format!("the broker ends the connection when it is asked: {}", self.words(&error));
                        return Err((what, "look at the broker's log, then run this again".into()));
                    }
                    sleep(LOOK_AGAIN).await;
                }
            }
        }
    }

    /// Waits for an answer, and hears meanwhile why none comes: a broker in alarm reads nothing from who publishes.
    async fn hear_answer<F>(&mut self, began: Instant, mut answer: Pin<&mut F>) -> Result<F::Output, End>
    where
        F: Future<Output = lapin::Result<Option<u32>>>,
    {
        loop {
            if let Ok(asked) = timeout(LOOK_AGAIN, answer.as_mut()).await {
                return Ok(asked);
            }
            while let Some(event) = self.next_news().await {
                self.told(event);
            }
            if self.trouble.is_some() {
                self.give_up()?;
            } else if began.elapsed() > self.patience {
                let waited = duration(self.patience.as_secs());
                let advice = "nothing is lost. Fix that, then run it again (for import: without the medium)";
                return Err((format!("the broker has answered nothing for {waited}"), advice.into()));
            }
        }
    }

    /// What the connection has told, if anything.
    async fn next_news(&mut self) -> Option<lapin::Event> {
        let news = self.news.as_mut()?;
        poll_fn(|cx| match news.as_mut().poll_next(cx) {
            Poll::Ready(event) => Poll::Ready(event),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }
}

fn all_refused(words: &str) -> End {
    let advice = "look at the broker's max_message_size; with --max-message-size, what is larger is quarantined and the rest goes";
    (format!("the broker refuses every message: {words}"), advice.into())
}

fn may_not_publish(words: &str) -> End {
    let advice = "give the broker's user write permission for OpenCTI's exchanges";
    (format!("the broker does not let this user publish: {words}"), advice.into())
}
