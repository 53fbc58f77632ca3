//! Asks about exchanges and queues while messages are in flight.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Instant;

use tokio::time::{sleep, timeout};

use super::{End, LOOK_AGAIN, Service};
use crate::broker::BrokerQuestion;
use crate::broker::link::code_of;
use crate::text::duration;

impl Service {
    /// Asks until there is an answer: reconnects if the connection breaks, and waits while an alarm lasts.
    pub(super) async fn answer(&mut self, question: &BrokerQuestion) -> Result<Result<Option<u32>, String>, End> {
        let began = Instant::now();
        if self.held == 0 {
            self.trouble.iter_mut().for_each(|trouble| trouble.since = began);
        }
        loop {
            self.connect_again().await?;
            let Some(mut link) = self.link.take() else { continue };
            let asked = self.wait_for_answer(began, pin!(link.answer(question))).await?;
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

    /// Waits for an answer, and for what the connection reports meanwhile: a broker in alarm reads nothing from a
    /// connection that has published, so it does not even read the question.
    async fn wait_for_answer<F>(&mut self, began: Instant, mut answer: Pin<&mut F>) -> Result<F::Output, End>
    where
        F: Future<Output = lapin::Result<Option<u32>>>,
    {
        loop {
            if let Ok(asked) = timeout(LOOK_AGAIN, answer.as_mut()).await {
                return Ok(asked);
            }
            while let Some(event) = self.next_connection_event().await {
                self.connection_event(event);
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

    /// Processes what lapin has reported of the connection, without waiting.
    async fn next_connection_event(&mut self) -> Option<lapin::Event> {
        let events = self.connection_events.as_mut()?;
        poll_fn(|cx| match events.as_mut().poll_next(cx) {
            Poll::Ready(event) => Poll::Ready(event),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }
}
