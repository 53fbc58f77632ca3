//! The gate to the queues: finds or creates the queue of each connector, and checks whether it has space.

pub mod blocked;
mod room;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::broker::{Broker, LANES, Login, MessageOutcome};
use crate::code::Code;
use crate::destination::{Destination, Reach, TakeOver, WorkPer};
use crate::error::{Error, Result};
use crate::fit::Unfit;
use crate::opencti::broker::{BrokerAddress, Route, Topology};
use crate::opencti::registration::Registration;
use crate::platform::{Asked, Platform, Unregistered, choose_crypto};
use crate::report::{Finding, Observer};
use crate::text::harmless;
use blocked::{Blocked, Obstacle, Until};
use room::queue_refused;

/// Who sets up queues.
enum Setup<'a> {
    /// Airpouch, at the broker.
    Direct,
    /// The platform, when connectors are registered.
    Platform(Box<Platform<'a>>),
}

/// Notes that a connector, by id and name, is about to be registered (true), so that the next run knows it as ours if
/// this one is killed; or that the platform refused it (false).
pub type NoteRegistered<'a> = &'a mut dyn FnMut(&str, &str, bool) -> Result<()>;

/// What is known of a connector in this run.
enum Resolved {
    Route(Arc<Route>, usize),
    Unfit(Unfit),
    /// The platform failed to register it, with these words; whether the connector is to blame is known once another
    /// one passes.
    Fails(String),
    /// The broker refuses its queue.
    Refused,
}

/// Access to the queues of connectors.
pub struct Gate<'a> {
    setup: Setup<'a>,
    /// How broker and platform are reached.
    pub reach: Reach,
    /// Gets what cannot wait.
    pub observer: &'a dyn Observer,
    broker: Option<Broker<'a>>,
    connectors: BTreeMap<String, Resolved>,
    /// Connectors that airpouch has registered there before this run.
    ours: BTreeSet<String>,
    /// Connectors that earlier runs reported as existing on the platform.
    shown: BTreeSet<String>,
    /// Connectors that this run found to exist there.
    pub exist: Vec<String>,
    /// Connectors that cannot be delivered to at the moment.
    pub blocked: Blocked,
    /// Connectors that were reported as waiting.
    pub(super) reported: BTreeSet<String>,
    /// What is to be reported.
    pub findings: Vec<Finding>,
}

impl<'a> Gate<'a> {
    /// Opens the gate to a broker or a platform. `ours` are connectors that airpouch has registered there, `shown`
    /// those that were reported as existing there.
    ///
    /// # Errors
    /// It does not answer, or rejects the login; or it is neither of both.
    pub fn open(
        to: &Destination,
        reach: &Reach,
        ours: BTreeSet<String>,
        shown: BTreeSet<String>,
        observer: &'a dyn Observer,
    ) -> Result<Self> {
        match to {
            Destination::Broker(address) => Self::to_broker(address, reach.clone(), observer),
            Destination::Platform(address) => {
                let platform = Platform::open(address, reach, observer)?;
                Ok(Self::through(platform, reach.clone(), ours, shown, observer))
            }
            _ => Err(Error::usage(format!("{to} has no queues"))),
        }
    }

    /// A broker alone: connects now.
    fn to_broker(address: &BrokerAddress, reach: Reach, observer: &'a dyn Observer) -> Result<Self> {
        let address = reach.overrides.over(address);
        let broker = Broker::connect(login(&reach, &address, None)?, reach.patience, observer)?;
        Ok(Self { broker: Some(broker), ..Self::new(Setup::Direct, reach, observer) })
    }

    /// A platform: it reports the address of its broker when the first connector is registered.
    fn through(
        platform: Platform<'a>,
        reach: Reach,
        ours: BTreeSet<String>,
        shown: BTreeSet<String>,
        observer: &'a dyn Observer,
    ) -> Self {
        let (left_out, version) = (platform.version().left_out(), platform.version());
        let mut gate = Self { ours, shown, ..Self::new(Setup::Platform(Box::new(platform)), reach, observer) };
        if !left_out.is_empty() {
            let what = format!("the platform is {version}; left out: {}", left_out.join("; "));
            gate.findings.push(Finding::new(Code::OlderPlatform, what));
        }
        gate
    }

    fn new(setup: Setup<'a>, reach: Reach, observer: &'a dyn Observer) -> Self {
        Self {
            setup,
            reach,
            observer,
            broker: None,
            connectors: BTreeMap::new(),
            ours: BTreeSet::new(),
            shown: BTreeSet::new(),
            exist: Vec::new(),
            blocked: Blocked::default(),
            reported: BTreeSet::new(),
            findings: Vec::new(),
        }
    }

    /// The platform, if there is one.
    pub fn platform(&self) -> Option<&Platform<'a>> {
        match &self.setup {
            Setup::Direct => None,
            Setup::Platform(platform) => Some(platform),
        }
    }

    /// Whether messages belong to works.
    pub fn has_works(&self) -> bool {
        self.platform().is_some() && self.reach.work_per != WorkPer::None
    }

    /// The run has failed: do not wait any more.
    pub fn stop_waiting(&mut self) {
        if let Setup::Platform(platform) = &mut self.setup {
            platform.stop_waiting();
        }
    }

    /// The connection to the broker.
    ///
    /// # Errors
    /// No connector was looked up yet, so its address is unknown.
    pub fn broker(&mut self) -> Result<&mut Broker<'a>> {
        self.broker.as_mut().ok_or_else(|| Error::failed("there is no connection to the broker"))
    }

    /// The outcomes of messages since the last call.
    ///
    /// # Errors
    /// The broker has failed, and why.
    pub fn poll_outcomes(&mut self, wait: bool) -> Result<Vec<MessageOutcome>> {
        self.broker.as_mut().map_or_else(|| Ok(Vec::new()), |broker| broker.outcomes(wait))
    }

    /// Whether the broker has failed, or was never reached.
    pub fn is_over(&self) -> bool {
        self.broker.as_ref().is_none_or(Broker::is_over)
    }

    /// Looks up or sets up a connector, once a run, and returns whether its messages are accepted. Blocks a connector
    /// that cannot be set up at the moment.
    ///
    /// # Errors
    /// Broker or platform are in trouble.
    pub fn admits(&mut self, connector: &Registration, note: NoteRegistered<'_>) -> Result<Option<Unfit>> {
        if !self.connectors.contains_key(&connector.id) {
            let known = self.resolve_connector(connector, note)?;
            self.connectors.insert(connector.id.clone(), known);
        }
        match self.connectors.get(&connector.id) {
            Some(Resolved::Unfit(unfit)) => Ok(Some(unfit.clone())),
            _ => Ok(None),
        }
    }

    /// What the platform answered about a connector's works. If it refuses, this blocks the connector.
    ///
    /// # Errors
    /// The platform is in trouble.
    pub fn answer_about<T>(&mut self, connector: &str, asked: Asked<T>) -> Result<Option<T>> {
        Ok(match asked? {
            Ok(answer) => Some(answer),
            Err(words) => {
                self.works_refused(connector, &words);
                None
            }
        })
    }

    /// Whether a work exists. If the platform does not answer that, this blocks its connector.
    ///
    /// # Errors
    /// The platform is in trouble.
    pub fn is_work_alive(&mut self, connector: &str, work: &str) -> Result<Option<bool>> {
        let Some(platform) = self.platform() else { return Ok(Some(true)) };
        let asked = platform.is_alive(work);
        self.answer_about(connector, asked)
    }

    /// The route for the messages of a connector.
    ///
    /// # Errors
    /// It was not admitted.
    pub fn route(&self, connector: &str) -> Result<Arc<Route>> {
        match self.connectors.get(connector) {
            Some(Resolved::Route(route, _)) => Ok(Arc::clone(route)),
            _ => Err(Error::failed("messages reached the queues before their connector was looked up")),
        }
    }

    /// The lane in which the messages of a connector stay in order: each has one, and they take turns.
    pub fn lane(&self, connector: &str) -> usize {
        match self.connectors.get(connector) {
            Some(Resolved::Route(_, lane)) => *lane,
            _ => 0,
        }
    }

    fn resolve_connector(&mut self, wanted: &Registration, note: NoteRegistered<'_>) -> Result<Resolved> {
        let lane = self.connectors.len() % LANES;
        if self.platform().is_none() {
            return self.declare(wanted, lane);
        }
        if !self.ours.contains(&wanted.id)
            && !self.takes_over(&wanted.id)
            && let Setup::Platform(platform) = &self.setup
            && let Some(unfit) = collision(platform, wanted)?
        {
            self.exist.push(wanted.id.clone());
            return Ok(Resolved::Unfit(unfit));
        }
        self.register(wanted, lane, note)
    }

    fn takes_over(&self, connector: &str) -> bool {
        match &self.reach.take_over {
            TakeOver::Nothing => false,
            TakeOver::Shown => self.shown.contains(connector),
            TakeOver::These(ids) => ids.contains(connector),
        }
    }

    /// Without a platform: creates what is missing.
    fn declare(&mut self, wanted: &Registration, lane: usize) -> Result<Resolved> {
        let topology = Topology::of(wanted.clone(), &self.reach.queue_prefix);
        let queue_type = self.reach.queue_type;
        match self.broker()?.declare(&topology, queue_type)? {
            Ok(true) => {}
            Ok(false) => {
                let what = format!("the broker had no exchange {}, so no OpenCTI uses it yet", topology.push.exchange);
                let advice = "it was made; is that the platform's broker, virtual host and --queue-prefix?";
                self.findings.push(Finding::new(Code::NoExchange, what).advise(advice));
            }
            Err(words) => {
                self.blocked.add(&wanted.id, queue_refused(words));
                return Ok(Resolved::Refused);
            }
        }
        Ok(Resolved::Route(Arc::new(topology.route()), lane))
    }

    fn register(&mut self, wanted: &Registration, lane: usize, note: NoteRegistered<'_>) -> Result<Resolved> {
        let Setup::Platform(platform) = &self.setup else { return Ok(Resolved::Refused) };
        // Noted before: if this run is killed right after, the next one would take the connector for somebody else's
        // and hold all its envelopes.
        note(&wanted.id, &wanted.name, true)?;
        let is_first = !self.connectors.values().any(|known| matches!(known, Resolved::Route(..) | Resolved::Fails(_)));
        let registered = match platform.register(wanted, is_first)? {
            Ok(registered) => registered,
            Err(Unregistered::Failed(words)) if !self.any_has_passed() => {
                let obstacle = Obstacle {
                    code: Code::NotRegistered,
                    what: format!("the platform fails when {} is registered: {words}", harmless(&wanted.name)),
                    advice: "is its broker up? its log says more; if it is this connector alone, pause it in policy.toml",
                    until: Until::Others,
                };
                self.blocked.add(&wanted.id, obstacle);
                return Ok(Resolved::Fails(not_registered(&wanted.name, &words)));
            }
            Err(Unregistered::Refused(words)) => {
                if !self.ours.contains(&wanted.id) {
                    note(&wanted.id, &wanted.name, false)?;
                }
                return Ok(Resolved::Unfit(hold(
                    Code::NotRegistered,
                    not_registered(&wanted.name, &words),
                    "/connector",
                )));
            }
            // It may be registered nevertheless.
            Err(Unregistered::Failed(words)) => {
                return Ok(Resolved::Unfit(hold(
                    Code::NotRegistered,
                    not_registered(&wanted.name, &words),
                    "/connector",
                )));
            }
        };
        if self.broker.is_none() {
            let address = self.reach.overrides.over(&registered.broker);
            let login = login(&self.reach, &address, Some(&registered.password))?;
            self.broker = Some(Broker::connect(login, self.reach.patience, self.observer)?);
        }
        Ok(Resolved::Route(Arc::new(registered.route), lane))
    }

    fn any_has_passed(&self) -> bool {
        self.connectors.values().any(|known| matches!(known, Resolved::Route(..)))
    }

    /// Once a connector has passed, those on which the platform failed are to blame themselves: their envelopes are
    /// held. Returns whether there were any.
    pub(super) fn hold_failed(&mut self) -> bool {
        if !self.any_has_passed() {
            return false;
        }
        let mut any = false;
        for (id, known) in &mut self.connectors {
            if let Resolved::Fails(words) = known {
                *known = Resolved::Unfit(hold(Code::NotRegistered, std::mem::take(words), "/connector"));
                self.blocked.release(id);
                any = true;
            }
        }
        any
    }

    /// A connector may be tried again.
    ///
    /// # Errors
    /// The broker has failed, and why.
    pub(super) fn release(&mut self, connector: &str) -> Result<()> {
        self.blocked.release(connector);
        let queue = self.route(connector)?.queue.clone();
        self.broker()?.open(&queue)
    }
}

fn not_registered(name: &str, words: &str) -> String {
    format!("the platform does not register {}: {words}", harmless(name))
}

fn hold(code: Code, what: String, place: &str) -> Unfit {
    Unfit::Hold { code, what, place: place.to_owned() }
}

/// Whether the platform has a connector of this id already that may be somebody else's: registering ours would overwrite
/// its name, type, scope and user.
///
/// # Errors
/// The platform is in trouble.
pub fn collision(platform: &Platform<'_>, wanted: &Registration) -> Result<Option<Unfit>> {
    let name = harmless(&wanted.name);
    let there = match platform.known(&wanted.id)? {
        Ok(Some(there)) => there,
        Ok(None) => return Ok(None),
        Err(words) => {
            let what = format!("the platform does not say whether it has {name} already: {words}");
            return Ok(Some(hold(Code::ConnectorUnknown, what, "/connector/id")));
        }
    };
    let what = if there.name != wanted.name {
        format!("the platform has a connector of this id under another name: {} (here {name})", harmless(&there.name))
    } else if there.kind != wanted.kind {
        let (there, here) = (harmless(&there.kind), harmless(&wanted.kind));
        format!("the platform has {name} with this id as another type: {there} (here {here})")
    } else if there.active {
        format!("{name} runs on this side too, under the same id")
    } else {
        return Ok(None);
    };
    Ok(Some(hold(Code::ConnectorExists, what, "/connector/id")))
}

/// The login for a broker: settings of the site override what the platform reports, and that overrides RabbitMQ's own
/// guest.
///
/// # Errors
/// The address may not be used without TLS, or no password is given.
pub fn login(reach: &Reach, address: &BrokerAddress, told: Option<&str>) -> Result<Login> {
    reach.permits(address)?;
    choose_crypto();
    let user = address.user.clone().unwrap_or_else(|| "guest".to_owned());
    let password = match (&reach.amqp_password, told) {
        (Some(password), _) => password.clone(),
        (None, Some(told)) => Zeroizing::new(told.to_owned()),
        (None, None) if user == "guest" => Zeroizing::new("guest".to_owned()),
        (None, None) => {
            return Err(Error::usage(format!("no password for the broker's user {} is given", harmless(&user)))
                .at_place(&address.to_string())
                .advise("--amqp-password-file FILE"));
        }
    };
    let (ca, plaintext, mut secrets) = (reach.ca.clone(), reach.plaintext, reach.secrets());
    secrets.add_password(&password);
    Ok(Login { address: address.clone(), user, password, ca, plaintext, secrets })
}
