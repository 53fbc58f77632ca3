//! Connects and reconnects.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

use super::{CONNECT_MAX, End, LOOK_AGAIN, Service};
use crate::broker::lane::Lane;
use crate::broker::link::{BrokerLink, connecting, open, open_channel};
use crate::text::duration;

impl Service {
    /// Reconnects, until trouble has lasted too long.
    pub(super) async fn connect_again(&mut self) -> Result<(), End> {
        let mut pause = Duration::from_millis(200);
        // A connection that broke before anything was confirmed may break again at once: wait, to avoid a busy loop.
        if self.link.is_none() && !self.has_confirmed {
            sleep(pause).await;
        }
        while self.link.is_none() {
            // The caller dropped its handle: discard the queue.
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

    pub(super) async fn connect(&mut self) -> Result<(), String> {
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
        self.has_confirmed = false;
        self.connection_events = Some(Box::pin(connection.events_listener()));
        self.link = Some(BrokerLink::new(connection));
        Ok(())
    }

    pub(super) fn advice(&self, what: &str) -> String {
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
            _ => "is it up, and is that its address, with TLS (amqps://) or without (amqp://)? --amqp-host, --amqp-port, --amqp-tls and the like replace what the platform reports".into(),
        }
    }

    /// Opens another channel for a lane: the broker closes a channel because of a single message.
    pub(super) async fn open_lane(&mut self, at: usize) -> Result<(), End> {
        let Some(link) = &self.link else { return Ok(()) };
        match timeout(CONNECT_MAX, open_channel(&link.connection)).await {
            Ok(Ok(channel)) => self.lanes[at].channel = Some(Arc::new(channel)),
            Ok(Err(error)) => return self.disconnected(&self.words(&error)),
            Err(_) => return self.disconnected("it does not open a channel"),
        }
        Ok(())
    }

    /// The connection is gone: all messages in flight are sent again, since nobody knows which arrived.
    pub(super) fn disconnected(&mut self, words: &str) -> Result<(), End> {
        self.link = None;
        self.lanes.iter_mut().for_each(Lane::lost);
        // Events of the old connection say nothing about the next one.
        self.trouble.iter_mut().for_each(|trouble| trouble.is_alarm = false);
        self.trouble(&format!("the connection to the broker broke: {words}"), None);
        self.give_up()
    }
}
