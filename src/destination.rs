//! Where to deliver: what `--to` names, and how it is reached.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use url::Url;
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::opencti::broker::{BrokerAddress, QueueType};
use crate::opencti::secrets::Secrets;
use crate::text::harmless;

/// What `--to` names: kind and address, never a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// `dir:PATH`: envelope files for the stock diode-import connector.
    Directory(PathBuf),
    /// `spool:PATH`: messages for the queues of a broker, by connector.
    Spool(PathBuf),
    /// `amqp://…`, `amqps://…`: the queues of a broker.
    Broker(BrokerAddress),
    /// `opencti+https://…`: the queues of a broker, through the platform that it belongs to.
    Platform(PlatformAddress),
}

/// Where a platform is: `https://HOST[:PORT][/BASE]`, without a slash at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlatformAddress {
    url: String,
    host: String,
    port: u16,
    tls: bool,
}

impl PlatformAddress {
    /// Where questions go.
    pub fn graphql(&self) -> String {
        format!("{}/graphql", self.url)
    }

    /// Whether it is reached by TLS.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    fn parse(text: &str) -> Result<Self> {
        let wrong = |what: &str| {
            Error::usage(format!("invalid address of a platform {:?}: {what}", harmless(text)))
                .advise("write opencti+https://HOST or opencti+https://HOST/BASE, without /graphql")
        };
        let url = text.strip_prefix("opencti+").unwrap_or(text);
        let url = Url::parse(url).map_err(|e| wrong(&e.to_string()))?;
        let host = url.host_str().filter(|h| !h.is_empty()).ok_or_else(|| wrong("it names no host"))?.to_owned();
        if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() {
            return Err(wrong("it takes no user, no ? and no #"));
        }
        let base = url.path().trim_end_matches('/');
        let base = base.strip_suffix("/graphql").unwrap_or(base);
        let tls = url.scheme() == "https";
        let shown = url.port().map_or_else(String::new, |p| format!(":{p}"));
        let port = url.port().unwrap_or(if tls { 443 } else { 80 });
        Ok(Self { url: format!("{}://{host}{shown}{base}", url.scheme()), host, port, tls })
    }
}

impl fmt::Display for PlatformAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

impl Destination {
    /// Reads `--to`.
    ///
    /// # Errors
    /// An unknown kind, no address, or a secret in it; the secret is not repeated.
    pub fn parse(text: &str) -> Result<Self> {
        let (kind, address) = text.split_once(':').unwrap_or(("", text));
        let lower = kind.to_ascii_lowercase();
        // A password may hold anything, a slash too.
        let user = address.trim_start_matches('/').rsplit_once('@').map(|(user, _)| user);
        let has_secret = !matches!(lower.as_str(), "dir" | "spool") && user.is_some_and(|user| user.contains(':'));
        if has_secret {
            return Err(Error::usage("the destination contains a password; it would show in every list of processes")
                .advise("take it out and give it by a file: --amqp-password-file FILE, --token-file FILE"));
        }
        let whole = format!("{lower}:{address}");
        match lower.as_str() {
            "dir" | "spool" if !address.is_empty() => {
                let path = std::path::absolute(address).map_err(|e| Error::io("find", Path::new(address), &e))?;
                // Without a slash at its end, so that one directory has one address.
                let path = path.components().collect();
                Ok(if lower == "dir" { Self::Directory(path) } else { Self::Spool(path) })
            }
            "amqp" | "amqps" => BrokerAddress::parse(&whole).map(Self::Broker).map_err(|what| {
                Error::usage(format!("invalid address of a broker {:?}: {what}", harmless(text)))
                    .advise("write amqp://HOST, amqps://USER@HOST:PORT or amqps://HOST/VHOST")
            }),
            "opencti+http" | "opencti+https" => PlatformAddress::parse(&whole).map(Self::Platform),
            _ => Err(Error::usage(format!("invalid destination {:?}", harmless(text)))
                .advise("write dir:PATH, spool:PATH, amqps://HOST or opencti+https://HOST")),
        }
    }

    /// The word for its kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Directory(_) => "dir",
            Self::Spool(_) => "spool",
            Self::Broker(_) => "amqp",
            Self::Platform(_) => "opencti",
        }
    }

    /// Its address.
    pub fn address(&self) -> String {
        match self {
            Self::Directory(path) | Self::Spool(path) => path.to_string_lossy().into_owned(),
            Self::Broker(address) => address.to_string(),
            Self::Platform(address) => address.to_string(),
        }
    }

    /// The directory that it is, if it is one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Directory(path) | Self::Spool(path) => Some(path),
            Self::Broker(_) | Self::Platform(_) => None,
        }
    }

    /// Whether messages, and not envelopes, are delivered there.
    pub fn takes_messages(&self) -> bool {
        !matches!(self, Self::Directory(_))
    }

    /// A destination as people write it, of its kind and address.
    pub fn shown(kind: &str, address: &str) -> String {
        match kind {
            "amqp" => harmless(address),
            "opencti" => format!("opencti+{}", harmless(address)),
            _ => format!("{kind}:{}", harmless(address)),
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Self::shown(self.kind(), &self.address()))
    }
}

/// How works are opened on the platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WorkPer {
    /// One for each batch and connector.
    #[default]
    Batch,
    /// One for each envelope, as the stock diode-import connector does it.
    Envelope,
    /// None: messages without a work.
    None,
}

/// Which connectors that exist over there are registered over.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum TakeOver {
    /// None.
    #[default]
    Nothing,
    /// Those of which a run before this one has told that they exist.
    Shown,
    /// These, by their ids here.
    These(BTreeSet<String>),
}

/// What is known better than the platform tells, or is not in the address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BrokerOverrides {
    /// `--amqp-host`
    pub host: Option<String>,
    /// `--amqp-port`
    pub port: Option<u16>,
    /// `--amqp-vhost`
    pub vhost: Option<String>,
    /// `--amqp-user`
    pub user: Option<String>,
    /// `--amqp-tls`
    pub tls: Option<bool>,
}

impl BrokerOverrides {
    /// The address with what is known better.
    pub fn over(&self, told: &BrokerAddress) -> BrokerAddress {
        let told = told.clone();
        BrokerAddress {
            tls: self.tls.unwrap_or(told.tls),
            host: self.host.clone().unwrap_or(told.host),
            port: self.port.unwrap_or(told.port),
            vhost: self.vhost.clone().unwrap_or(told.vhost),
            user: self.user.clone().or(told.user),
        }
    }
}

/// How broker and platform are reached, and what is asked of them.
#[derive(Clone)]
pub struct Reach {
    /// The platform's token.
    pub token: Option<Zeroizing<String>>,
    /// The broker's password.
    pub amqp_password: Option<Zeroizing<String>>,
    /// Certificates (PEM) of a private authority.
    pub ca: Option<String>,
    /// What goes over the address of the broker.
    pub overrides: BrokerOverrides,
    /// `rabbitmq:queue_prefix` of the platform, where queues are declared by airpouch.
    pub queue_prefix: String,
    /// `rabbitmq:queue_type` of the platform, where queues are declared by airpouch.
    pub queue_type: QueueType,
    /// Messages in a queue above which airpouch waits; 0 for none.
    pub queue_limit: u32,
    /// The largest message that the broker takes, in bytes, where that is known.
    pub max_message: Option<u64>,
    /// How long to wait while nothing gets better.
    pub patience: Duration,
    /// Whether anything may go over a network without TLS.
    pub plaintext: bool,
    /// Connectors that exist over there and are taken over.
    pub take_over: TakeOver,
    /// How works are opened.
    pub work_per: WorkPer,
    /// A proxy to the platform, only if it is named.
    pub proxy: Option<String>,
}

impl Default for Reach {
    fn default() -> Self {
        Self {
            token: None,
            amqp_password: None,
            ca: None,
            overrides: BrokerOverrides::default(),
            queue_prefix: String::new(),
            queue_type: QueueType::Classic,
            queue_limit: 100_000,
            max_message: None,
            patience: Duration::from_secs(45),
            plaintext: false,
            take_over: TakeOver::Nothing,
            work_per: WorkPer::Batch,
            proxy: None,
        }
    }
}

impl Reach {
    /// What is taken out of all that the other side says.
    pub fn secrets(&self) -> Secrets {
        let mut secrets = Secrets::with_token(self.token.as_ref().map(|token| token.as_str()));
        self.amqp_password.iter().for_each(|password| secrets.add_password(password));
        secrets
    }

    /// Whether a platform may be talked to as its address says. A proxy is what is connected to, if there is one.
    ///
    /// # Errors
    /// It may not: everything would go in plain text over a network.
    pub fn permits_platform(&self, platform: &PlatformAddress) -> Result<()> {
        let proxy = || self.proxy.as_ref().and_then(|proxy| Url::parse(proxy).ok());
        let leads_there =
            |url: &Url| leads_here(url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or(80));
        let is_here = || leads_here(&platform.host, platform.port) && proxy().as_ref().is_none_or(leads_there);
        if platform.tls || self.plaintext || is_here() {
            return Ok(());
        }
        Err(Error::usage("the token and all messages about works would go over a network without TLS")
            .at_place(&platform.to_string())
            .advise("use opencti+https://; if that network is to be trusted: --plaintext"))
    }

    /// Whether a broker may be talked to as its address says.
    ///
    /// # Errors
    /// It may not: everything would go in plain text over a network.
    pub fn permits(&self, broker: &BrokerAddress) -> Result<()> {
        if broker.tls || self.plaintext || leads_here(&broker.host, broker.port) {
            return Ok(());
        }
        Err(Error::usage("messages and the broker's password would go over a network without TLS")
            .at_place(&broker.to_string())
            .advise("use amqps:// (with a platform: --amqp-tls); if that network is to be trusted: --plaintext"))
    }
}

/// Whether a host's name leads to this very machine, now that it is looked up; each connection looks again.
fn leads_here(host: &str, port: u16) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (host, port).to_socket_addrs().is_ok_and(|mut found| found.any(|at| is_here(&at)))
}

/// Whether an address is this very machine, from which nothing leaves it.
pub fn is_here(address: &SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destination_is_shown_as_it_is_written() {
        for (text, shown) in [
            ("opencti+https://cti.example/", "opencti+https://cti.example"),
            ("opencti+http://127.0.0.1:4000/base/graphql", "opencti+http://127.0.0.1:4000/base"),
            ("amqp://guest@[::1]", "amqp://[::1]:5672/%2F"),
            ("AMQPS://host/cti", "amqps://host:5671/cti"),
            ("spool:/var/spool/x/", "spool:/var/spool/x"),
        ] {
            assert_eq!(Destination::parse(text).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn destination_with_a_password_is_refused_without_showing_it() {
        for text in
            ["amqp://u:hun/ter2@host", "amqps:u:hunter2@host", "opencti+https://u:hunter2@host", "amqp://u:hunter2#@h"]
        {
            let said = Destination::parse(text).unwrap_err().to_string();
            assert!(said.contains("password") && !said.contains("ter2"), "{said}");
        }
    }

    #[test]
    fn destination_with_a_user_or_without_a_host_is_invalid() {
        for text in ["opencti+https://user@host", "opencti+https://", "opencti+ftp://h", "amqp:", "host", "dir:"] {
            assert!(Destination::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn destination_on_another_machine_needs_tls() {
        let reach = Reach::default();
        let address = |text: &str| BrokerAddress::parse(text).unwrap();
        assert!(reach.permits(&address("amqp://192.0.2.1")).is_err());
        assert!(reach.permits(&address("amqps://192.0.2.1")).is_ok());
        for here in ["amqp://127.0.0.1", "amqp://127.0.0.9", "amqp://[::1]", "amqp://localhost", "amqp://127.1"] {
            assert!(reach.permits(&address(here)).is_ok(), "{here}");
        }
        for elsewhere in ["amqp://192.0.2.1", "amqp://0.0.0.0", "amqp://[2001:db8::1]"] {
            assert!(reach.permits(&address(elsewhere)).is_err(), "{elsewhere}");
        }
        assert!(Reach { plaintext: true, ..Reach::default() }.permits(&address("amqp://192.0.2.1")).is_ok());
        let overrides = BrokerOverrides { tls: Some(true), port: Some(5671), ..BrokerOverrides::default() };
        assert_eq!(overrides.over(&address("amqp://rabbitmq/cti")).to_string(), "amqps://rabbitmq:5671/cti");
    }

    #[test]
    fn proxy_on_another_machine_needs_tls() {
        let permits = |proxy: Option<&str>, to: &str| {
            let reach = Reach { proxy: proxy.map(str::to_owned), ..Reach::default() };
            let Destination::Platform(address) = Destination::parse(to).unwrap() else { panic!("{to}") };
            reach.permits_platform(&address).is_ok()
        };
        assert!(permits(None, "opencti+http://127.0.0.1:4000") && permits(None, "opencti+http://[::1]"));
        assert!(permits(Some("http://127.0.0.1:3128"), "opencti+http://localhost"));
        assert!(!permits(Some("http://192.0.2.1:3128"), "opencti+http://127.0.0.1"));
        assert!(!permits(None, "opencti+http://192.0.2.1"));
        assert!(permits(Some("http://192.0.2.1:3128"), "opencti+https://192.0.2.2"));
    }
}
