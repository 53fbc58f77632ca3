//! The gate to the queues: who sets them up, where messages go, and whether there is room.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use super::super::Unfit;
use super::super::destination::{Reach, WorkPer};
use super::super::platform::{Platform, Unregistered, choose_crypto};
use super::super::rabbitmq::{Broker, LANES, Login, Outcome};
use crate::error::{Error, Result};
use crate::opencti::broker::{BrokerAddress, Route, Topology};
use crate::opencti::registration::Registration;
use crate::report::{Finding, Observer, Weight};
use crate::text::{count, duration, grouped, harmless};

/// How often a full queue is looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Who sets up queues.
enum Door<'a> {
    /// We do.
    Alone,
    /// The platform, when connectors are registered.
    Platform(Box<Platform<'a>>),
}

/// What is known of a connector in this run.
enum Known {
    Route(Arc<Route>, usize),
    Unfit(Unfit),
}

/// The way to the queues of connectors.
pub struct Gate<'a> {
    door: Door<'a>,
    /// How broker and platform are reached.
    pub reach: Reach,
    /// Who hears what cannot wait.
    pub observer: &'a dyn Observer,
    broker: Option<Broker<'a>>,
    connectors: BTreeMap<String, Known>,
    /// Connectors that airpouch has registered there before this run.
    ours: BTreeSet<String>,
    /// Connectors that were registered in this run, with their names.
    pub registered: Vec<(String, String)>,
    /// What is to be reported.
    pub findings: Vec<Finding>,
}

impl<'a> Gate<'a> {
    /// To a broker alone, which is connected to now.
    ///
    /// # Errors
    /// It is not there, or does not let us in.
    pub fn to_broker(address: &BrokerAddress, reach: Reach, observer: &'a dyn Observer) -> Result<Self> {
        let address = reach.overrides.over(address);
        let broker = Broker::connect(login(&reach, &address, None)?, reach.patience, observer)?;
        Ok(Self { broker: Some(broker), ..Self::new(Door::Alone, reach, BTreeSet::new(), observer) })
    }

    /// Through a platform. `ours` are connectors that were registered there by us before.
    pub fn through(platform: Platform<'a>, reach: Reach, ours: BTreeSet<String>, observer: &'a dyn Observer) -> Self {
        let (left_out, version) = (platform.version().left_out(), platform.version());
        let mut gate = Self::new(Door::Platform(Box::new(platform)), reach, ours, observer);
        if !left_out.is_empty() {
            let what = format!("the platform is {version}; left out: {}", left_out.join("; "));
            gate.findings.push(Finding::new(Weight::Note, "older-platform", what));
        }
        gate
    }

    fn new(door: Door<'a>, reach: Reach, ours: BTreeSet<String>, observer: &'a dyn Observer) -> Self {
        let (connectors, registered, findings) = (BTreeMap::new(), Vec::new(), Vec::new());
        Self { door, reach, observer, broker: None, connectors, ours, registered, findings }
    }

    /// The platform, if there is one.
    pub fn platform(&self) -> Option<&Platform<'a>> {
        match &self.door {
            Door::Alone => None,
            Door::Platform(platform) => Some(platform),
        }
    }

    /// Whether messages belong to works.
    pub fn has_works(&self) -> bool {
        self.platform().is_some() && self.reach.work_per != WorkPer::None
    }

    /// The run has failed: what does not get better is waited for no more.
    pub fn hurry(&mut self) {
        if let Door::Platform(platform) = &mut self.door {
            platform.hurry();
        }
    }

    /// The connection to the broker.
    ///
    /// # Errors
    /// No connector was looked up yet, so that nobody knows where it is.
    pub fn broker(&mut self) -> Result<&mut Broker<'a>> {
        self.broker.as_mut().ok_or_else(|| Error::failed("there is no connection to the broker"))
    }

    /// What became of messages since this was asked for last.
    ///
    /// # Errors
    /// The broker has failed, and why.
    pub fn hear(&mut self, wait: bool) -> Result<Vec<Outcome>> {
        self.broker.as_mut().map_or_else(|| Ok(Vec::new()), |broker| broker.outcomes(wait))
    }

    /// Whether the broker has failed, or was never reached.
    pub fn is_over(&self) -> bool {
        self.broker.as_ref().is_none_or(Broker::is_over)
    }

    /// Looks up or sets up a connector, once a run, and says whether its messages are taken.
    ///
    /// # Errors
    /// Broker or platform are in trouble.
    pub fn admits(&mut self, connector: &Registration) -> Result<Option<Unfit>> {
        if !self.connectors.contains_key(&connector.id) {
            let known = self.meet(connector)?;
            self.connectors.insert(connector.id.clone(), known);
        }
        match self.connectors.get(&connector.id) {
            Some(Known::Unfit(unfit)) => Ok(Some(unfit.clone())),
            _ => Ok(None),
        }
    }

    /// Where the messages of a connector go.
    ///
    /// # Errors
    /// It was not admitted.
    pub fn route(&self, connector: &str) -> Result<Arc<Route>> {
        match self.connectors.get(connector) {
            Some(Known::Route(route, _)) => Ok(Arc::clone(route)),
            _ => Err(Error::failed("messages came to the queues whose connector was not looked up")),
        }
    }

    /// The lane in which the messages of a connector stay in order: each has one, and they take turns.
    pub fn lane(&self, connector: &str) -> usize {
        match self.connectors.get(connector) {
            Some(Known::Route(_, lane)) => *lane,
            _ => 0,
        }
    }

    fn meet(&mut self, wanted: &Registration) -> Result<Known> {
        let lane = self.connectors.len() % LANES;
        let Door::Platform(platform) = &self.door else {
            let topology = Topology::of(wanted.clone(), &self.reach.queue_prefix);
            let queue_type = self.reach.queue_type;
            if !self.broker()?.declare(&topology, queue_type)? {
                let what = format!("the broker had no exchange {}, so no OpenCTI uses it yet", topology.push.exchange);
                let advice = "it was made; is that the platform's broker, virtual host and --queue-prefix?";
                self.findings.push(Finding::new(Weight::Warning, "no-exchange", what).advise(advice));
            }
            return Ok(Known::Route(Arc::new(topology.route()), lane));
        };
        if !self.reach.take_over && !self.ours.contains(&wanted.id) {
            match collision(platform, wanted)? {
                Some(Collision::Hold(unfit)) => return Ok(Known::Unfit(unfit)),
                Some(Collision::Active(finding)) => self.findings.push(finding),
                None => {}
            }
        }
        let others_are = self.connectors.values().any(|known| matches!(known, Known::Route(..)));
        let registered = match platform.register(wanted, !others_are)? {
            Ok(registered) => registered,
            // It cannot be this connector's fault as long as no other one passes.
            Err(Unregistered::Failed(words)) if !others_are => {
                let name = harmless(&wanted.name);
                return Err(Error::failed(format!("the platform fails when {name} is registered: {words}"))
                    .at_place(&wanted.id)
                    .advise(
                        "is its broker up? its log says more; if it is this connector alone, pause it in policy.toml",
                    ));
            }
            Err(Unregistered::Refused(words) | Unregistered::Failed(words)) => {
                let what = format!("the platform does not register {}: {words}", harmless(&wanted.name));
                let place = "/connector".to_owned();
                return Ok(Known::Unfit(Unfit::Hold { code: "not-registered", what, place }));
            }
        };
        self.registered.push((wanted.id.clone(), wanted.name.clone()));
        if self.broker.is_none() {
            let address = self.reach.overrides.over(&registered.broker);
            let login = login(&self.reach, &address, Some(&registered.password))?;
            self.broker = Some(Broker::connect(login, self.reach.patience, self.observer)?);
        }
        Ok(Known::Route(Arc::new(registered.route), lane))
    }

    /// Waits while a connector's queue is too long: workers are slower than we are.
    ///
    /// # Errors
    /// It does not get shorter, or is gone.
    pub fn wait_for_room(&mut self, connector: &str) -> Result<()> {
        let (limit, patience, observer) = (self.reach.queue_limit, self.reach.patience, self.observer);
        if limit == 0 {
            return Ok(());
        }
        let queue = self.route(connector)?.queue.clone();
        let (mut since, mut least, mut said) = (Instant::now(), u32::MAX, false);
        loop {
            let waiting = self.broker()?.waiting(&queue)?;
            let what = match waiting {
                Some(waiting) if waiting <= limit => return Ok(()),
                Some(waiting) => {
                    let (waiting, limit) = (count(u64::from(waiting), "message"), grouped(u64::from(limit)));
                    format!("{waiting} wait in {queue}, more than {limit}")
                }
                None => format!("the queue {queue} is gone: it was deleted"),
            };
            // Workers that come forward are waited for as long as they do.
            if waiting.is_some_and(|waiting| waiting < least) {
                (since, least) = (Instant::now(), waiting.unwrap_or(u32::MAX));
            }
            let limit = duration(patience.as_secs());
            if !said {
                observer.say(&format!("{what}; waiting, for {limit} at most without any progress"));
                said = true;
            }
            if since.elapsed() > patience {
                return Err(Error::failed(format!("{what}; gave up after {limit}")).advise(match waiting {
                    Some(_) => {
                        "are workers running? nothing is lost: run this again later; --queue-limit N sets the limit"
                    }
                    None => "run this again: the queue is set up anew; what lay in the old one comes again with import --redeliver",
                }));
            }
            std::thread::sleep(LOOK_AGAIN.min(patience));
        }
    }
}

/// A connector of the same id that the platform has already.
pub enum Collision {
    /// Under another name, or nobody knows, for the platform does not say: registering ours would overwrite it.
    Hold(Unfit),
    /// Under the same name, and it runs.
    Active(Finding),
}

/// Whether the platform has a connector of this id already: registering overwrites its name, scope and user.
///
/// # Errors
/// The platform is in trouble.
pub fn collision(platform: &Platform<'_>, wanted: &Registration) -> Result<Option<Collision>> {
    let there = match platform.known(&wanted.id)? {
        Ok(Some(there)) => there,
        Ok(None) => return Ok(None),
        Err(words) => {
            let what = format!("the platform does not say whether it has {} already: {words}", harmless(&wanted.name));
            let place = "/connector/id".to_owned();
            return Ok(Some(Collision::Hold(Unfit::Hold { code: "not-registered", what, place })));
        }
    };
    if there.name != wanted.name {
        let (there, here) = (harmless(&there.name), harmless(&wanted.name));
        let what = format!("the platform has a connector of this id under another name: {there} (here {here})");
        let place = "/connector/id".to_owned();
        return Ok(Some(Collision::Hold(Unfit::Hold { code: "connector-exists", what, place })));
    }
    if there.active {
        let what = format!("{} runs on this side too, under the same id", harmless(&there.name));
        let advice = "stop that connector, or give the one that crosses another id: [connectors] in airpouch.toml";
        let finding = Finding::new(Weight::Warning, "connector-active", what).at(wanted.id.clone()).advise(advice);
        return Ok(Some(Collision::Active(finding)));
    }
    Ok(None)
}

/// Who logs in at a broker: what the site says goes over what the platform told, and that over RabbitMQ's own guest.
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
