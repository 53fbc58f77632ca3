//! The connection: opens it, asks questions on it, and words its errors.

use lapin::options::{ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::protocol::AMQPErrorKind;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};
use lapin::{Channel, Connection, ConnectionProperties, ErrorKind, ExchangeKind};

use super::lane::probe;
use super::{BrokerQuestion, LANES, Login, wire};
use crate::limits::{BROKER_CHANNELS, BROKER_FRAME};
use crate::opencti::broker::{Binding, QueueType, Topology};
use crate::opencti::secrets::Secrets;
use crate::text::harmless;

/// Seconds between heartbeats, as pycti asks for them.
const HEARTBEAT: u16 = 10;

/// A connection that is open.
pub struct BrokerLink {
    /// The connection.
    pub connection: Connection,
    /// The channel on which questions are asked.
    asking: Option<Channel>,
}

impl BrokerLink {
    /// A link on which no question was asked yet.
    pub fn new(connection: Connection) -> Self {
        Self { connection, asking: None }
    }

    async fn channel(&mut self) -> lapin::Result<Channel> {
        if let Some(channel) = self.asking.as_ref().filter(|c| c.status().connected()) {
            return Ok(channel.clone());
        }
        let channel = self.connection.create_channel().await?;
        self.asking = Some(channel.clone());
        Ok(channel)
    }

    /// Answers a question; see [`BrokerQuestion`].
    pub async fn answer(&mut self, question: &BrokerQuestion) -> lapin::Result<Option<u32>> {
        match question {
            BrokerQuestion::Waiting(queue) => self.waiting(queue).await,
            BrokerQuestion::Probe(exchange) => match probe(&open_channel(&self.connection).await?, exchange).await {
                Ok(taken) => Ok(taken.then_some(0)),
                Err(error) if code_of(&error) == Some((404, true)) => Ok(None),
                Err(error) => Err(error),
            },
            BrokerQuestion::Declare(topology, queue_type) => {
                Ok(self.declare(topology, *queue_type).await?.then_some(0))
            }
        }
    }

    async fn waiting(&mut self, queue: &str) -> lapin::Result<Option<u32>> {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let found = self.channel().await?.queue_declare(ShortString::from(queue), options, FieldTable::default()).await;
        match found {
            Ok(queue) => Ok(Some(queue.message_count())),
            Err(error) if code_of(&error) == Some((404, true)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates what is missing. It asks first, so that what exists stays as the platform declared it. Returns whether
    /// the exchanges existed.
    async fn declare(&mut self, topology: &Topology, queue_type: QueueType) -> lapin::Result<bool> {
        let mut were_there = true;
        for binding in [&topology.push, &topology.listen] {
            let Binding { exchange, queue, routing_key } = binding;
            let exchange = ShortString::from(exchange.as_str());
            let kind = ExchangeKind::Direct;
            let passive = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
            let found = self
                .channel()
                .await?
                .exchange_declare(exchange.clone(), kind.clone(), passive, FieldTable::default())
                .await;
            match found {
                Ok(()) => {}
                Err(error) if code_of(&error) == Some((404, true)) => {
                    were_there = false;
                    let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
                    let channel = self.channel().await?;
                    channel.exchange_declare(exchange.clone(), kind, durable, FieldTable::default()).await?;
                }
                Err(error) => return Err(error),
            }
            let is_there = self.waiting(queue).await?.is_some();
            let (queue, key) = (ShortString::from(queue.as_str()), ShortString::from(routing_key.as_str()));
            let channel = self.channel().await?;
            if !is_there {
                let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
                channel.queue_declare(queue.clone(), durable, arguments(topology, queue_type)).await?;
            }
            // An interrupted run may have left a queue without its binding. If this user may not bind it, the platform
            // will.
            let bound =
                channel.queue_bind(queue, exchange, key, QueueBindOptions::default(), FieldTable::default()).await;
            match bound {
                Err(error) if is_there && code_of(&error) == Some((403, true)) => {}
                bound => bound?,
            }
        }
        Ok(were_there)
    }
}

/// A queue's arguments, as the platform gives them.
fn arguments(topology: &Topology, queue_type: QueueType) -> FieldTable {
    let text = |text: &str| AMQPValue::LongString(LongString::from(text));
    let connector = &topology.connector;
    let mut config = FieldTable::default();
    config.insert("id".into(), text(&connector.id));
    config.insert("type".into(), text(&connector.kind));
    let scope: Vec<AMQPValue> = connector.scope.iter().map(|part| text(part)).collect();
    config.insert("scope".into(), AMQPValue::FieldArray(scope.into()));
    let mut arguments = FieldTable::default();
    arguments.insert("name".into(), text(&connector.name));
    arguments.insert("config".into(), AMQPValue::FieldTable(config));
    arguments.insert("x-queue-type".into(), text(queue_type.word()));
    arguments
}

/// Connects, and opens a channel for each lane.
pub async fn open(login: &Login) -> lapin::Result<(Connection, Vec<Channel>)> {
    let address = &login.address;
    let host = if address.host.contains(':') { format!("[{}]", address.host) } else { address.host.clone() };
    let uri = AMQPUri {
        scheme: if address.tls { AMQPScheme::AMQPS } else { AMQPScheme::AMQP },
        authority: AMQPAuthority {
            userinfo: AMQPUserInfo { username: login.user.clone(), password: login.password.to_string() },
            host,
            port: address.port,
        },
        vhost: address.vhost.clone(),
        // lapin uses the smaller of this and what the broker proposes; 0 means no limit.
        query: AMQPQueryString {
            frame_max: Some(BROKER_FRAME),
            channel_max: Some(BROKER_CHANNELS),
            heartbeat: Some(HEARTBEAT),
            ..AMQPQueryString::default()
        },
    };
    let properties = ConnectionProperties::default().with_connection_name("airpouch".into());
    let way = login.clone();
    let connect = async move |_, _| wire::connect(&way).await.map_err(lapin::Error::from);
    let connection = Connection::connector(uri, wire::runtime(), connect, properties).await?;
    let mut channels = Vec::new();
    for _ in 0..LANES {
        channels.push(open_channel(&connection).await?);
    }
    Ok((connection, channels))
}

/// Opens a channel on which each message is confirmed.
pub async fn open_channel(connection: &Connection) -> lapin::Result<Channel> {
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok(channel)
}

/// The broker's reply code, and whether it closes a channel only.
pub fn code_of(error: &lapin::Error) -> Option<(u16, bool)> {
    match error.kind() {
        ErrorKind::ProtocolError(said) => Some((said.get_id(), matches!(said.kind(), AMQPErrorKind::Soft(_)))),
        _ => None,
    }
}

/// The broker's own words without secrets of ours, or the system's.
pub fn words_of(error: &lapin::Error, secrets: &Secrets) -> String {
    harmless(&secrets.out_of(&match error.kind() {
        ErrorKind::ProtocolError(said) => said.get_message().to_string(),
        ErrorKind::IOError(cause) if cause.to_string().contains("InvalidContentType") => {
            "the server does not speak TLS on this port; is it plain (amqp://)?".to_owned()
        }
        ErrorKind::IOError(cause) => crate::error::reason(cause),
        ErrorKind::MissingHeartbeatError => "heartbeat timed out".to_owned(),
        ErrorKind::InvalidConnectionState(_) => "it was closed".to_owned(),
        ErrorKind::ParsingError(_) => "the server does not speak AMQP on this port; is it TLS (amqps://)?".to_owned(),
        _ => error.to_string(),
    }))
}

/// Why there is no connection.
pub fn connecting(error: &lapin::Error, secrets: &Secrets) -> String {
    let words = words_of(error, secrets);
    match code_of(error) {
        Some((403, _)) => format!("the broker rejected the login: {words}"),
        Some((530, _)) => format!("the broker does not let this user use the virtual host: {words}"),
        _ if words.contains("certificate") => format!("the broker's certificate is not trusted: {words}"),
        _ => format!("cannot reach the broker: {words}"),
    }
}
