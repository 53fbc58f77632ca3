//! The broker as OpenCTI sets it up: where it is, and what its exchanges, queues and routes are called (the platform's
//! `registerConnectorQueues` and `getConnectorConfig`).

use std::fmt;

use url::Url;

use super::registration::Registration;

/// The exchange that workers' queues hang on.
const PUSH_EXCHANGE: &str = "amqp.worker.exchange";
/// The exchange that connectors' queues hang on.
const LISTEN_EXCHANGE: &str = "amqp.connector.exchange";

/// Where a broker is; no password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerAddress {
    /// Whether it is reached by TLS (`amqps`).
    pub tls: bool,
    /// Name or IP address; an IPv6 address without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The virtual host, decoded.
    pub vhost: String,
    /// The user, if one is named.
    pub user: Option<String>,
}

impl BrokerAddress {
    /// Reads an AMQP URI (RabbitMQ's "URI Specification"). Without a path, or with an empty one, the virtual host is
    /// `/`; without a user it is for others to say who asks.
    ///
    /// # Errors
    /// What is wrong with it, in words that repeat no password.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|e| format!("this is no URL: {e}"))?;
        let tls = match url.scheme() {
            "amqp" => false,
            "amqps" => true,
            other => return Err(format!("{other}: is no AMQP")),
        };
        if url.password().is_some() {
            return Err("the address contains a password".into());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("an address of a broker takes no parameters here".into());
        }
        let host = url.host_str().filter(|h| !h.is_empty()).ok_or("the address names no host")?;
        let host = decoded(host.trim_start_matches('[').trim_end_matches(']'))?;
        let path = url.path().strip_prefix('/').unwrap_or_default();
        if path.contains('/') {
            return Err("a / in a virtual host is written %2F".into());
        }
        let vhost = Some(decoded(path)?).filter(|v| !v.is_empty()).unwrap_or_else(|| "/".to_owned());
        let user = Some(decoded(url.username())?).filter(|u| !u.is_empty());
        Ok(Self { tls, host, port: url.port().unwrap_or(if tls { 5671 } else { 5672 }), vhost, user })
    }
}

impl fmt::Display for BrokerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "amqps" } else { "amqp" };
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        write!(f, "{scheme}://{host}:{}/{}", self.port, encoded(&self.vhost))
    }
}

fn decoded(text: &str) -> Result<String, String> {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let digits = if byte == b'%' { Some((bytes.next(), bytes.next())) } else { None };
        out.push(match digits {
            None => byte,
            Some((Some(high), Some(low))) => {
                let digit = |b: u8| char::from(b).to_digit(16).ok_or("a % stands before what is no pair of hex digits");
                (digit(high)? * 16 + digit(low)?) as u8
            }
            Some(_) => return Err("a % stands at the end of the address".into()),
        });
    }
    String::from_utf8(out).map_err(|_| "the address is no UTF-8 once decoded".into())
}

fn encoded(text: &str) -> String {
    let keep = |b: &u8| b.is_ascii_alphanumeric() || b"-._~".contains(b);
    text.bytes().map(|b| if keep(&b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// The kind of queue that a platform declares (`rabbitmq:queue_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum QueueType {
    /// One node's.
    #[default]
    Classic,
    /// Replicated.
    Quorum,
}

impl QueueType {
    /// The value of `x-queue-type`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Quorum => "quorum",
        }
    }
}

/// Where a connector's messages go: a part of the registration's `config`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// `push_exchange`
    pub exchange: String,
    /// `push_routing`
    pub routing_key: String,
    /// `push`, the queue that workers read.
    pub queue: String,
}

/// An exchange with a queue that is bound to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The exchange: direct, durable.
    pub exchange: String,
    /// The queue: durable.
    pub queue: String,
    /// Which messages go there.
    pub routing_key: String,
}

/// What the platform declares for a connector when it is registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    /// What workers read. Messages go here.
    pub push: Binding,
    /// What the connector would read.
    pub listen: Binding,
    /// The connector, whose name and configuration stand in the queues' arguments.
    pub connector: Registration,
}

impl Topology {
    /// The names for a connector on a platform with this `rabbitmq:queue_prefix`, empty for none.
    pub fn of(connector: Registration, prefix: &str) -> Self {
        let binding = |kind: &str, exchange: &str| Binding {
            exchange: prefixed(prefix, exchange),
            queue: prefixed(prefix, &format!("{kind}_{}", connector.id)),
            routing_key: prefixed(prefix, &format!("{kind}_routing_{}", connector.id)),
        };
        Self { push: binding("push", PUSH_EXCHANGE), listen: binding("listen", LISTEN_EXCHANGE), connector }
    }

    /// Where its messages go.
    pub fn route(&self) -> Route {
        let Binding { exchange, queue, routing_key } = self.push.clone();
        Route { exchange, routing_key, queue }
    }
}

/// The exchange to which messages go on a platform with this `rabbitmq:queue_prefix`.
pub fn push_exchange(prefix: &str) -> String {
    prefixed(prefix, PUSH_EXCHANGE)
}

fn prefixed(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}_{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> BrokerAddress {
        BrokerAddress::parse(text).unwrap()
    }

    #[test]
    fn address_is_read_as_an_amqp_uri() {
        for (text, shown) in [
            ("amqp://host", "amqp://host:5672/%2F"),
            ("amqp://host/", "amqp://host:5672/%2F"),
            ("amqp://host:1/%2f", "amqp://host:1/%2F"),
            ("amqps://user@host/cti", "amqps://host:5671/cti"),
            ("amqp://[::1]:5673/a%2Fb", "amqp://[::1]:5673/a%2Fb"),
            ("amqp://us%40er@10.0.0.1", "amqp://10.0.0.1:5672/%2F"),
        ] {
            assert_eq!(read(text).to_string(), shown);
        }
        assert_eq!(read("amqp://us%40er@host").user.as_deref(), Some("us@er"));
        assert_eq!(read("amqp://host").user, None);
    }

    #[test]
    fn invalid_address_is_refused_without_showing_its_password() {
        for text in
            ["amqp://", "amqp://user:hunter2@host", "http://host", "amqp://host/a/b", "amqp://host/%zz", "amqp://h?x=1"]
        {
            let said = BrokerAddress::parse(text).unwrap_err();
            assert!(!said.contains("hunter2"), "{said}");
        }
    }

    #[test]
    fn queues_are_named_as_the_platform_names_them() {
        let connector = Registration::new("c-1", "Feed", "EXTERNAL_IMPORT", vec![], false);
        let plain = Topology::of(connector.clone(), "");
        assert_eq!(plain.push.queue, "push_c-1");
        assert_eq!(plain.push.routing_key, "push_routing_c-1");
        assert_eq!(plain.listen.exchange, "amqp.connector.exchange");
        let prefixed = Topology::of(connector, "zone");
        assert_eq!(prefixed.push.exchange, "zone_amqp.worker.exchange");
        assert_eq!(prefixed.route().queue, "zone_push_c-1");
    }
}
