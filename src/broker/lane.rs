//! A lane: one channel, with the messages that wait for it and those in flight.

use std::collections::{HashSet, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use lapin::message::BasicReturnMessage;
use lapin::options::BasicPublishOptions;
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation};

use super::{Message, NotTaken};

/// Messages in flight in one lane: enough that the broker never waits for us.
const WINDOW: usize = 2_000;

/// The answer for a message in flight.
enum Confirm {
    /// The broker confirmed it. The id is that of a returned message, if there was one: lapin attaches a return to the
    /// next confirm, which may be that of another message.
    Acked(Option<String>),
    /// The broker did not store it. The id is that of a returned message, as above.
    Nack(Option<String>),
    /// Its channel or connection broke, so that nobody knows whether it arrived.
    Lost(lapin::Error),
}

type Confirming = Pin<Box<dyn Future<Output = Confirm> + Send>>;

/// A message in flight.
struct SentMessage {
    message: Arc<Message>,
    confirming: Confirming,
    confirm: Option<Confirm>,
}

impl SentMessage {
    fn poll(&mut self, cx: &mut Context<'_>, returned: &mut HashSet<String>) -> bool {
        if self.confirm.is_none()
            && let Poll::Ready(confirm) = self.confirming.as_mut().poll(cx)
        {
            if let Confirm::Acked(Some(id)) | Confirm::Nack(Some(id)) = &confirm {
                returned.insert(id.clone());
            }
            self.confirm = Some(confirm);
        }
        self.confirm.is_some()
    }
}

/// The outcomes of the messages that were sent first.
#[derive(Default)]
pub struct Gathered {
    /// The broker has these.
    pub confirmed: Vec<Arc<Message>>,
    /// The broker returned these, or did not store them.
    pub not_taken: Vec<(Arc<Message>, NotTaken)>,
    /// The channel or the connection broke.
    pub lost: Option<lapin::Error>,
    /// Suspects that are known now to be to blame themselves, since the broker confirmed another message.
    pub suspects: Vec<Suspect>,
}

/// A message with how often a fresh channel was closed over it.
struct Waiting {
    message: Arc<Message>,
    refusals: u8,
}

/// One channel, with the messages that wait for it and those in flight.
#[derive(Default)]
pub struct Lane {
    /// The channel, while it is open.
    pub channel: Option<Arc<Channel>>,
    waiting: VecDeque<Waiting>,
    in_flight: VecDeque<SentMessage>,
    /// Ids of returned messages whose own confirm was not processed yet.
    returned: HashSet<String>,
    /// This many are sent one by one, since one of them closed the channel.
    one_by_one: usize,
    /// How often the message in flight has closed a channel when it was sent alone.
    refusals: u8,
    /// Nothing is sent before this.
    pub paused_until: Option<Instant>,
    /// Messages that were refused twice, until the broker has confirmed another one.
    suspects: Vec<Suspect>,
}

/// A message that was refused twice.
pub struct Suspect {
    /// The message.
    pub message: Arc<Message>,
    /// The broker's words.
    pub words: String,
}

/// After this many refusals in a row without a success, the broker is to blame, not the messages.
const SUSPECTS_MAX: usize = 16;

impl Lane {
    /// Appends a message, unless a message of the same envelope is suspected. Returns whether it did.
    pub fn push(&mut self, message: Message) -> bool {
        if self.suspects.iter().any(|s| s.message.part_of == message.part_of) {
            return false;
        }
        self.waiting.push_back(Waiting { message: Arc::new(message), refusals: 0 });
        true
    }

    /// Whether anything is sent and not confirmed.
    pub fn has_unconfirmed(&self) -> bool {
        !self.in_flight.is_empty()
    }

    /// Whether it has nothing to do.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.in_flight.is_empty()
    }

    /// Whether it has suspects.
    pub fn has_suspects(&self) -> bool {
        !self.suspects.is_empty()
    }

    /// Whether only suspects are left, so that none of our messages can show whether the broker accepts others.
    pub fn has_only_suspects(&self) -> bool {
        self.has_suspects() && self.is_empty()
    }

    /// Whether so many were refused in a row that the broker must be to blame.
    pub fn suspects_all(&self) -> bool {
        self.suspects.len() > SUSPECTS_MAX
    }

    /// Sends as many messages as the window allows.
    pub fn send(&mut self, now: Instant) {
        let Some(channel) = self.channel.clone() else { return };
        if !self.returned.is_empty() || self.paused_until.is_some_and(|until| until > now) {
            return;
        }
        let window = if self.one_by_one > 0 { 1 } else { WINDOW };
        while self.in_flight.len() < window
            && let Some(next) = self.waiting.pop_front()
        {
            self.refusals = next.refusals;
            let confirming = publish(Arc::clone(&channel), Arc::clone(&next.message));
            let mut in_flight = SentMessage { message: next.message, confirming, confirm: None };
            // The first poll passes the message to the connection; later ones ask for the confirm.
            in_flight.poll(&mut Context::from_waker(Waker::noop()), &mut self.returned);
            self.in_flight.push_back(in_flight);
        }
    }

    /// The outcomes of the messages that were sent first, as far as they are known.
    ///
    /// lapin attaches a returned message to the next confirm that arrives, which may be that of another message, and
    /// one acknowledgement may be for many. So no confirm can be read alone. A confirm without a return shows that
    /// every earlier return is attached to an earlier confirm; this polls all of them before it counts the first as
    /// delivered. As soon as there is a return, it counts nothing before every message is answered.
    pub fn gather(&mut self, cx: &mut Context<'_>) -> Poll<Gathered> {
        let Some(front) = self.in_flight.front_mut() else { return Poll::Pending };
        if !front.poll(cx, &mut self.returned) && self.returned.is_empty() {
            return Poll::Pending;
        }
        let mut unwatched = Context::from_waker(Waker::noop());
        for in_flight in &mut self.in_flight {
            in_flight.poll(&mut unwatched, &mut self.returned);
        }
        if !self.returned.is_empty() {
            let pending =
                self.in_flight.iter_mut().filter_map(|f| (!f.poll(cx, &mut self.returned)).then_some(())).count();
            if pending > 0 {
                return Poll::Pending;
            }
        }
        Poll::Ready(self.take_confirmed())
    }

    /// Removes the answered messages from the front.
    fn take_confirmed(&mut self) -> Gathered {
        let mut gathered = Gathered::default();
        while let Some(SentMessage { message, confirm: Some(_), .. }) = self.in_flight.front() {
            let (message, returned) = (Arc::clone(message), self.returned.remove(&message.id));
            let confirm = self.in_flight.front_mut().and_then(|f| f.confirm.take());
            match confirm {
                Some(Confirm::Lost(error)) => {
                    gathered.lost = Some(error);
                    break;
                }
                Some(Confirm::Nack(_)) if !returned => gathered.not_taken.push((message, NotTaken::Full)),
                _ if returned => gathered.not_taken.push((message, NotTaken::Returned)),
                _ => {
                    self.one_by_one = self.one_by_one.saturating_sub(1);
                    (self.refusals, self.paused_until) = (0, None);
                    gathered.suspects.append(&mut self.suspects);
                    gathered.confirmed.push(message);
                }
            }
            self.in_flight.pop_front();
        }
        gathered
    }

    /// Removes the messages that wait for a queue.
    pub fn take_of_queue(&mut self, queue: &str) -> Vec<Arc<Message>> {
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        let (of_it, others): (VecDeque<_>, VecDeque<_>) = waiting.partition(|w| w.message.route.queue == queue);
        self.waiting = others;
        of_it.into_iter().map(|w| w.message).collect()
    }

    /// The channel is gone: the messages in flight are sent again, in their order.
    pub fn lost(&mut self) {
        self.channel = None;
        self.returned.clear();
        for in_flight in self.in_flight.drain(..).rev() {
            self.waiting.push_front(Waiting { message: in_flight.message, refusals: 0 });
        }
    }

    /// The broker closed the channel because of the exchange or queue of a message. It does not name the message, so
    /// they are sent again one by one. Returns the message once it is known.
    pub fn channel_closed_over_route(&mut self) -> Option<Arc<Message>> {
        let is_alone = self.one_by_one > 0;
        self.lost();
        if !is_alone {
            self.one_by_one = self.waiting.len();
            return None;
        }
        self.one_by_one = self.one_by_one.saturating_sub(1).max(1);
        self.waiting.pop_front().map(|first| first.message)
    }

    /// The broker closed the channel because of a message. It does not name the message, so they are sent again one by
    /// one. Returns the messages that are not sent any more: the suspect and the rest of its envelope.
    pub fn channel_closed_over_message(&mut self, words: &str) -> Vec<Arc<Message>> {
        let (alone, refusals) = (self.one_by_one > 0, self.refusals + 1);
        self.lost();
        self.refusals = 0;
        if !alone {
            self.one_by_one = self.waiting.len();
            return Vec::new();
        }
        if refusals < 2 {
            if let Some(first) = self.waiting.front_mut() {
                first.refusals = refusals;
            }
            return Vec::new();
        }
        let Some(Waiting { message, .. }) = self.waiting.pop_front() else { return Vec::new() };
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        let (of_it, others): (VecDeque<_>, VecDeque<_>) = waiting.partition(|w| w.message.part_of == message.part_of);
        self.waiting = others;
        let mut dropped: Vec<Arc<Message>> = of_it.into_iter().map(|w| w.message).collect();
        dropped.push(Arc::clone(&message));
        self.one_by_one = self.one_by_one.saturating_sub(dropped.len()).max(1);
        self.suspects.push(Suspect { message, words: words.to_owned() });
        dropped
    }

    /// The first message that is suspected.
    pub fn first_suspect(&self) -> Option<&Suspect> {
        self.suspects.first()
    }

    /// Removes the suspects: a probe has shown whether the broker accepts messages.
    pub fn take_suspects(&mut self) -> Vec<Suspect> {
        self.one_by_one = 0;
        std::mem::take(&mut self.suspects)
    }
}

/// Sends a message, and returns the answer of the broker.
fn publish(channel: Arc<Channel>, message: Arc<Message>) -> Confirming {
    Box::pin(async move {
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_content_encoding("utf-8".into())
            .with_message_id(ShortString::from(message.id.as_str()));
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let route = &message.route;
        let (exchange, key) = (route.exchange.as_str().into(), route.routing_key.as_str().into());
        let confirmation = match channel.basic_publish(exchange, key, options, &message.body, properties).await {
            Ok(confirm) => confirm.await,
            Err(error) => Err(error),
        };
        match confirmation {
            Ok(Confirmation::Ack(returned)) => Confirm::Acked(returned.map(|m| id_of(&m, &message))),
            Ok(Confirmation::Nack(returned)) => Confirm::Nack(returned.map(|m| id_of(&m, &message))),
            Ok(Confirmation::NotRequested) => Confirm::Acked(None),
            Err(error) => Confirm::Lost(error),
        }
    })
}

/// The id of a returned message; one without an id can only be this message.
fn id_of(returned: &BasicReturnMessage, sent: &Message) -> String {
    returned.delivery.properties.message_id().as_ref().map_or_else(|| sent.id.clone(), ToString::to_string)
}

/// Sends a message that no queue is bound for, to see whether the broker accepts any: the broker returns it and keeps
/// nothing.
pub async fn probe(channel: &Channel, exchange: &str) -> lapin::Result<bool> {
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let (exchange, key) = (ShortString::from(exchange), ShortString::from("airpouch: is anything taken?"));
    let confirm = channel.basic_publish(exchange, key, options, b"", BasicProperties::default()).await?;
    Ok(matches!(confirm.await?, Confirmation::Ack(_)))
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;
    use crate::opencti::broker::Route;

    fn message(id: &str, queue: &str, part_of: u64) -> Message {
        let [exchange, routing_key, queue] = ["exchange", "key", queue].map(str::to_owned);
        let route = Arc::new(Route { exchange, routing_key, queue });
        Message { lane: 0, route, id: id.to_owned(), body: Vec::new(), part_of }
    }

    /// A lane with messages in flight; `None` is one that is not answered yet.
    fn lane(in_flight: Vec<(&str, Option<Confirm>)>) -> Lane {
        let of = |(id, confirm): (&str, Option<Confirm>)| {
            let confirming: Confirming = match confirm {
                Some(confirm) => Box::pin(ready(confirm)),
                None => Box::pin(pending()),
            };
            SentMessage { message: Arc::new(message(id, "queue", 1)), confirming, confirm: None }
        };
        Lane { in_flight: in_flight.into_iter().map(of).collect(), ..Lane::default() }
    }

    fn gather(lane: &mut Lane) -> Poll<Gathered> {
        lane.gather(&mut Context::from_waker(Waker::noop()))
    }

    fn ids(messages: &[Arc<Message>]) -> Vec<&str> {
        messages.iter().map(|m| m.id.as_str()).collect()
    }

    fn back(gathered: &Gathered) -> Vec<(&str, NotTaken)> {
        gathered.not_taken.iter().map(|(m, why)| (m.id.as_str(), why.clone())).collect()
    }

    #[test]
    fn first_confirm_does_not_count_when_a_return_arrives_later() {
        let returned = Confirm::Acked(Some("first".into()));
        let mut lane = lane(vec![("first", Some(Confirm::Acked(None))), ("second", Some(returned))]);
        let Poll::Ready(gathered) = gather(&mut lane) else { panic!("both are answered") };
        assert_eq!(ids(&gathered.confirmed), ["second"]);
        assert_eq!(back(&gathered), [("first", NotTaken::Returned)]);
        assert!(lane.is_empty());
    }

    #[test]
    fn no_confirm_counts_after_a_return_until_all_are_answered() {
        let returned = Confirm::Acked(Some("third".into()));
        let mut lane = lane(vec![("first", Some(Confirm::Acked(None))), ("second", Some(returned)), ("third", None)]);
        assert!(gather(&mut lane).is_pending() && lane.has_unconfirmed());
        if let Some(third) = lane.in_flight.back_mut() {
            third.confirming = Box::pin(ready(Confirm::Acked(None)));
        }
        let Poll::Ready(gathered) = gather(&mut lane) else { panic!("all are answered") };
        assert_eq!(ids(&gathered.confirmed), ["first", "second"]);
        assert_eq!(back(&gathered), [("third", NotTaken::Returned)]);
    }

    #[test]
    fn confirmed_messages_count_in_order_up_to_one_in_flight() {
        let acked = || Some(Confirm::Acked(None));
        let mut lane = lane(vec![("first", acked()), ("second", None), ("third", acked())]);
        let Poll::Ready(gathered) = gather(&mut lane) else { panic!("the first is answered") };
        assert_eq!((ids(&gathered.confirmed), gathered.not_taken.len()), (vec!["first"], 0));
        assert!(gather(&mut lane).is_pending());
    }

    #[test]
    fn refused_message_is_given_back_and_later_ones_are_delivered() {
        let mut lane = lane(vec![("first", Some(Confirm::Nack(None))), ("second", Some(Confirm::Acked(None)))]);
        let Poll::Ready(gathered) = gather(&mut lane) else { panic!("both are answered") };
        assert_eq!(back(&gathered), [("first", NotTaken::Full)]);
        assert_eq!(ids(&gathered.confirmed), ["second"]);
    }

    #[test]
    fn messages_of_one_queue_are_taken_out_alone() {
        let mut lane = Lane::default();
        for (id, queue) in [("a1", "a"), ("b1", "b"), ("a2", "a")] {
            assert!(lane.push(message(id, queue, 1)));
        }
        assert_eq!(ids(&lane.take_of_queue("a")), ["a1", "a2"]);
        assert_eq!(ids(&lane.take_of_queue("b")), ["b1"]);
        assert!(lane.is_empty());
    }

    #[test]
    fn message_that_closes_the_channel_is_found_by_sending_one_by_one() {
        let mut lane = lane(vec![("first", None), ("second", None)]);
        assert!(lane.channel_closed_over_route().is_none(), "either may be it");
        assert!(!lane.has_unconfirmed() && lane.one_by_one == 2);
        let found = lane.channel_closed_over_route().unwrap();
        assert_eq!(found.id, "first");
        assert_eq!(ids(&lane.take_of_queue("queue")), ["second"]);
    }
}
