//! One question over HTTP: what is sent, to which addresses, and why there is no answer.

use std::fmt;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use serde_json::Value;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use zeroize::Zeroizing;

use crate::destination::{PlatformAddress, Reach, is_here};
use crate::error::{Error, Result};
use crate::opencti::api::{self, NoAnswer, Question, Reply};
use crate::opencti::secrets::Secrets;
use crate::text::harmless;

/// How long a connection may take.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// How long an answer may take: a busy platform is slow.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// The least time for a question, however little time is left.
const ANSWER_AT_LEAST: Duration = Duration::from_secs(5);

/// Why one question has no answer.
pub struct Unanswered {
    /// What is to be made of it.
    pub why: NoAnswer,
    /// Whether no connection was possible.
    pub is_absent: bool,
}

/// How to reach a platform.
pub struct Http {
    agent: ureq::Agent,
    address: PlatformAddress,
    token: Zeroizing<String>,
    /// Secrets that are removed from its answers.
    secrets: Mutex<Secrets>,
    proxy: Option<String>,
}

/// One crypto provider for all TLS in the program; rustls panics if none is chosen.
pub fn choose_crypto() {
    static ONCE: Once = Once::new();
    // It fails only if another part of the program has chosen one, and none does.
    ONCE.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
}

impl Http {
    /// Prepares the connection; sends nothing yet.
    ///
    /// # Errors
    /// Proxy or certificates are invalid; the address may not be used without TLS; there is no token.
    pub fn new(address: &PlatformAddress, reach: &Reach) -> Result<Self> {
        let agent = agent(address, reach)?;
        reach.permits_platform(address)?;
        let token = reach.token.clone().ok_or_else(|| {
            Error::usage("no token for the platform is given")
                .advise("--token-file FILE, with the token of airpouch's user in that OpenCTI")
        })?;
        choose_crypto();
        let (secrets, proxy) = (Mutex::new(reach.secrets()), reach.proxy.clone());
        Ok(Self { agent, address: address.clone(), token, secrets, proxy })
    }

    /// The address for questions.
    pub fn place(&self) -> String {
        self.address.graphql()
    }

    /// Adds a password that the platform has reported to the secrets that are removed from its answers.
    pub fn add_secret(&self, password: &str) {
        self.secrets().add_password(password);
    }

    /// Asks once, for as long as time is left, but not for too short a time.
    pub fn ask(&self, question: &Question, left: Duration) -> std::result::Result<Value, Unanswered> {
        let mut bearer = Zeroizing::new(String::from("Bearer "));
        bearer.push_str(&self.token);
        let sent = self
            .agent
            .post(self.address.graphql())
            .config()
            .timeout_global(Some(ANSWER_WITHIN.min(left.max(ANSWER_AT_LEAST))))
            .build()
            .header("authorization", bearer.as_str())
            .header("content-type", "application/json")
            .header("accept", "application/json")
            .send(question.body().as_slice());
        let mut response = sent.map_err(|e| self.no_answer(&e))?;
        let header = |name: &str| response.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let mut reply = Reply {
            status: response.status().as_u16(),
            content_type: header("content-type").unwrap_or_default(),
            location: header("location"),
            retry_after: header("retry-after").and_then(|t| t.parse().ok()),
            body: Vec::new(),
        };
        let body = response.body_mut().with_config().limit(question.answer_max).read_to_vec();
        reply.body = body.map_err(|e| self.no_answer(&e))?;
        api::data(question, &reply, &self.secrets()).map_err(|why| Unanswered { why, is_absent: false })
    }

    fn secrets(&self) -> MutexGuard<'_, Secrets> {
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Describes why there is no answer at all.
    fn no_answer(&self, error: &ureq::Error) -> Unanswered {
        let through = self.proxy.as_ref().map_or_else(String::new, |p| format!(" through the proxy {}", harmless(p)));
        let words = match error {
            ureq::Error::Io(cause) => crate::error::reason(cause),
            other => other.to_string(),
        };
        let words = self.secrets().out_of(&words);
        if words.contains("certificate") {
            let advice = "if a private authority signed it: --ca-file FILE, with that authority's certificate";
            let what = format!("the platform's certificate is not trusted: {}", harmless(&words));
            return Unanswered { why: NoAnswer::never(what, advice), is_absent: false };
        }
        let unheard = match error {
            ureq::Error::Io(cause) => cause.kind() == std::io::ErrorKind::ConnectionRefused,
            ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => true,
            _ => false,
        };
        match error {
            ureq::Error::BodyExceedsLimit(_) => Unanswered { why: NoAnswer::TooLong, is_absent: false },
            _ => Unanswered {
                why: NoAnswer::later(format!("cannot reach it{through}: {}", harmless(&words)), !unheard),
                // After a timeout the platform may exist; a server with another protocol, or none, is not the platform.
                is_absent: !matches!(error, ureq::Error::Timeout(_)),
            },
        }
    }
}

/// An agent that connects only where it is told: no proxy from the environment, no redirect, no plain text where TLS is
/// required.
fn agent(address: &PlatformAddress, reach: &Reach) -> Result<ureq::Agent> {
    let proxy = match &reach.proxy {
        None => None,
        // A password in it would be visible in every list of processes; the error does not show it.
        Some(url) if url.contains('@') => {
            return Err(Error::usage("the address of the proxy contains a user or a password")
                .advise("write http://HOST:PORT, and let the proxy know this machine by its address"));
        }
        Some(url) => Some(ureq::Proxy::new(url).map_err(|_| {
            Error::usage(format!("invalid address of a proxy {:?}", harmless(url))).advise("write http://HOST:PORT")
        })?),
    };
    let mut tls = TlsConfig::builder();
    tls = match &reach.ca {
        Some(pem) => tls.root_certs(RootCerts::new_with_certs(&certificates(pem)?)),
        None => tls.root_certs(RootCerts::PlatformVerifier),
    };
    let config = ureq::Agent::config_builder()
        .proxy(proxy)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .https_only(address.is_tls())
        .user_agent(concat!("airpouch/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Some(CONNECT_MAX))
        .tls_config(tls.build())
        .build();
    let only_here = !address.is_tls() && !reach.plaintext;
    Ok(ureq::Agent::with_parts(
        config,
        DefaultConnector::default(),
        Resolving { only_here, usual: DefaultResolver::default() },
    ))
}

/// Resolves the addresses to connect to. Without TLS and without permission only addresses of this machine are left,
/// whatever the name of the host or proxy resolves to at that moment.
struct Resolving {
    only_here: bool,
    usual: DefaultResolver,
}

impl fmt::Debug for Resolving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolving").field("only_here", &self.only_here).finish_non_exhaustive()
    }
}

impl Resolver for Resolving {
    fn resolve(
        &self,
        uri: &ureq::http::Uri,
        config: &ureq::config::Config,
        timeout: NextTimeout,
    ) -> std::result::Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.usual.resolve(uri, config, timeout)?;
        let mut open = self.empty();
        found.iter().filter(|at| !self.only_here || is_here(at)).for_each(|at| open.push(*at));
        if open.is_empty() { Err(ureq::Error::HostNotFound) } else { Ok(open) }
    }
}

/// The certificates in a PEM text.
///
/// # Errors
/// There is none, or one that is broken.
pub fn certificates(pem: &str) -> Result<Vec<Certificate<'static>>> {
    let mut found = Vec::new();
    for item in parse_pem(pem.as_bytes()) {
        match item {
            Ok(PemItem::Certificate(certificate)) => found.push(certificate),
            Ok(_) => {}
            Err(_) => return Err(Error::usage("the file of --ca-file is no PEM")),
        }
    }
    if found.is_empty() {
        return Err(Error::usage("the file of --ca-file holds no certificate")
            .advise("give the certificate of the authority in PEM: -----BEGIN CERTIFICATE-----"));
    }
    Ok(found)
}
