//! The platform, over HTTP: sends the questions of `opencti/api.rs`, waits while a problem is temporary, and reports
//! what is not.

mod http;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::clock;
use crate::destination::{PlatformAddress, Reach};
use crate::error::{Error, Result, unless_stopped};
use crate::lack;
use crate::opencti::api::{self, KnownConnector, Me, NoAnswer, OLDEST, Question, Registered, Version};
use crate::opencti::registration::Registration;
use crate::opencti::work::{IngestError, WorkThere, ingest_errors, work_there};
use crate::report::Observer;
use crate::text::{duration, harmless};

pub use http::{certificates, choose_crypto};

use http::{Http, Unanswered};

/// Wait this long before reporting that we are waiting.
const SAY_AFTER: Duration = Duration::from_secs(3);
/// How long to try a platform that accepts no connection, if nothing was begun yet.
const FIRST_TRIES: Duration = Duration::from_secs(3);

/// An answer, and whether the question may have been answered more than once.
struct PlatformAnswer {
    data: Value,
    doubtful: bool,
}

/// Why there is no answer.
enum PlatformFault {
    Stop(Error),
    Forbidden(Error),
    Refused(String),
    Failed(String),
    WorkGone,
    TooLong,
}

/// Why a connector is not registered: the platform's words.
#[derive(Debug)]
pub enum Unregistered {
    /// It refuses this one.
    Refused(String),
    /// It failed itself, perhaps at its broker.
    Failed(String),
}

/// The answer; the inner error is the platform's refusal of this one thing, others may pass.
pub type Asked<T> = Result<std::result::Result<T, String>>;

/// Result of updating a work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Updated {
    /// The platform did what it was asked.
    Once,
    /// An answer got lost and the question was asked again: it may have been done twice.
    PerhapsTwice,
    /// The work no longer exists.
    WorkGone,
}

/// A platform that has answered.
pub struct Platform<'a> {
    http: Http,
    patience: Duration,
    observer: &'a dyn Observer,
    version: Version,
    me: Option<Me>,
}

impl<'a> Platform<'a> {
    /// Asks the platform who it is and who we are.
    ///
    /// # Errors
    /// It does not answer, is no platform, is too old, or rejects the token.
    pub fn open(address: &PlatformAddress, reach: &Reach, observer: &'a dyn Observer) -> Result<Self> {
        let (http, patience) = (Http::new(address, reach)?, reach.patience);
        let mut platform = Self { http, patience, observer, version: OLDEST, me: None };
        platform.identify()?;
        Ok(platform)
    }

    fn identify(&mut self) -> Result<()> {
        let about =
            self.ask_within(&Question::about(), FIRST_TRIES, false).map_err(|fault| self.stop("about", fault))?;
        let told = about.data["about"]["version"].as_str().unwrap_or_default().to_owned();
        self.version = match Version::parse(&told) {
            Some(version) if version < OLDEST => {
                return Err(self.failed(
                    format!(
                        "the platform is {}, older than {OLDEST}, the oldest that airpouch speaks with",
                        harmless(&told)
                    ),
                    "update it, then run this again; until then import --to spool:PATH keeps the messages",
                ));
            }
            // A version between two known ones is asked only what the older one knows.
            found => found.unwrap_or(OLDEST),
        };
        match self.ask(&Question::me()) {
            Ok(answer) => self.me = Me::read(&answer.data),
            Err(PlatformFault::Refused(_) | PlatformFault::Failed(_) | PlatformFault::Forbidden(_)) => {}
            Err(fault) => return Err(self.stop("me", fault)),
        }
        match &self.me {
            Some(me) if !me.may("CONNECTORAPI") => Err(self.failed(
                format!("the token's user {} may not register connectors (CONNECTORAPI)", harmless(&me.name)),
                "put that user into the group Connectors, or give it the role Connector",
            )),
            _ => Ok(()),
        }
    }

    /// The run has failed already: do not wait any more.
    pub fn stop_waiting(&mut self) {
        self.patience = self.patience.min(FIRST_TRIES);
    }

    /// Its version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The user that the token belongs to, if the platform reports it.
    pub fn me(&self) -> Option<&Me> {
        self.me.as_ref()
    }

    /// A connector of the platform. The inner error is a refusal or an invalid answer: then it is unknown whether the
    /// connector exists.
    ///
    /// # Errors
    /// The platform is in trouble.
    pub fn known(&self, id: &str) -> Asked<Option<KnownConnector>> {
        match self.ask(&Question::connector(id)) {
            Ok(answer) => {
                let none = || "its answer is none that a platform gives".to_owned();
                Ok(api::known_connector(&answer.data).ok_or_else(none))
            }
            Err(PlatformFault::Forbidden(error)) => Ok(Err(error.what)),
            Err(PlatformFault::Refused(words) | PlatformFault::Failed(words)) => Ok(Err(words)),
            Err(fault) => Err(self.stop("connector", fault)),
        }
    }

    /// The name of a user of the platform, if it has him. The inner error is a refusal: mostly that the token's user may not
    /// see users.
    ///
    /// # Errors
    /// The platform is in trouble.
    pub fn name_of_user(&self, id: &str) -> Asked<Option<String>> {
        match self.ask(&Question::user(id)) {
            Ok(answer) => {
                let none = || "its answer is none that a platform gives".to_owned();
                Ok(api::name_of_user(&answer.data).ok_or_else(none))
            }
            Err(PlatformFault::Forbidden(_)) => {
                Ok(Err("the token may not ask: its user lacks SETTINGS_SETACCESSES".into()))
            }
            Err(PlatformFault::Refused(words) | PlatformFault::Failed(words)) => Ok(Err(words)),
            Err(fault) => Err(self.stop("user", fault)),
        }
    }

    /// What the platform tells its connectors about the broker, if there is a connector and we may see it.
    ///
    /// # Errors
    /// The platform is in trouble.
    pub fn broker_of_any(&self) -> Result<Option<Registered>> {
        match self.ask(&Question::connectors()) {
            Ok(answer) => Ok(api::told_to_any(&answer.data)),
            Err(PlatformFault::Refused(_) | PlatformFault::Failed(_) | PlatformFault::Forbidden(_)) => Ok(None),
            Err(fault) => Err(self.stop("connectors", fault)),
        }
    }

    /// Registers a connector. The inner error is the platform's refusal of this one. With `wait`, a failure of the
    /// platform itself is retried for as long as the run may wait.
    ///
    /// # Errors
    /// The platform is in trouble, or refuses to register any.
    pub fn register(
        &self,
        connector: &Registration,
        wait: bool,
    ) -> Result<std::result::Result<Registered, Unregistered>> {
        let question = Question::register(connector, self.version);
        match self.ask_within(&question, self.patience, wait) {
            Ok(answer) => {
                let none = || Unregistered::Refused("it answers with no broker and no queue".into());
                let registered = api::registered(&answer.data).ok_or_else(none);
                if let Ok(told) = &registered {
                    self.http.add_secret(&told.password);
                }
                Ok(registered)
            }
            Err(PlatformFault::Refused(words)) => Ok(Err(Unregistered::Refused(words))),
            Err(PlatformFault::Failed(words)) => Ok(Err(Unregistered::Failed(words))),
            Err(fault) => Err(self.stop("registerConnector", fault)),
        }
    }

    /// Opens a work, and returns its id.
    ///
    /// # Errors
    /// The platform is in trouble.
    pub fn add_work(&self, connector: &str, name: &str, several_parts: bool) -> Asked<String> {
        let question = Question::add_work(connector, name, several_parts, self.version);
        let answer = match self.ask(&question) {
            Ok(answer) => answer,
            Err(fault) => return self.refusal_of("workAdd", fault),
        };
        if answer.doubtful {
            self.observer
                .say("the platform may have opened a work twice, for an answer got lost; one of them stays open");
        }
        let id = answer.data["workAdd"]["id"].as_str().map(str::to_owned);
        Ok(id.ok_or_else(|| "the platform opened a work and returned no id".to_owned()))
    }

    /// Announces that this many more messages will follow.
    ///
    /// # Errors
    /// The platform is in trouble.
    pub fn expect(&self, work: &str, messages: usize) -> Asked<Updated> {
        self.update_work(&Question::add_expectations(work, messages))
    }

    /// Reports that a work has ended.
    ///
    /// # Errors
    /// The platform is in trouble.
    pub fn close(&self, work: &str, message: &str, in_error: bool) -> Asked<Updated> {
        self.update_work(&Question::to_processed(work, message, in_error))
    }

    /// Creates a draft for a work, and returns its id.
    ///
    /// # Errors
    /// The platform is in trouble.
    pub fn add_draft(&self, work: &str) -> Asked<String> {
        let question = Question::add_draft(&format!("{work}.json"));
        let answer = match self.ask(&question) {
            Ok(answer) => answer,
            Err(fault) => return self.refusal_of("draftWorkspaceAdd", fault),
        };
        let Some(draft) = answer.data["draftWorkspaceAdd"]["id"].as_str() else {
            return Ok(Err("the platform made a draft and returned no id".to_owned()));
        };
        if self.version.knows_draft_contexts()
            && let Err(words) = self.update_work(&Question::add_draft_context(work, draft))?
        {
            return Ok(Err(words));
        }
        Ok(Ok(draft.to_owned()))
    }

    /// Whether a work still exists.
    ///
    /// # Errors
    /// The platform is in trouble.
    pub fn is_alive(&self, work: &str) -> Asked<bool> {
        match self.ask(&Question::is_work_alive(work, self.version)) {
            Ok(answer) if self.version.knows_is_work_alive() => {
                Ok(Ok(answer.data["isWorkAlive"].as_bool().unwrap_or(false)))
            }
            Ok(answer) => Ok(Ok(answer.data["work"].is_object())),
            Err(PlatformFault::WorkGone) => Ok(Ok(false)),
            Err(fault) => self.refusal_of("isWorkAlive", fault),
        }
    }

    /// How far a work has come; none if it is gone.
    ///
    /// # Errors
    /// The platform is in trouble, or does not let us see works.
    pub fn work(&self, work: &str) -> Asked<Option<WorkThere>> {
        match self.ask(&Question::work(work)) {
            Ok(answer) => {
                Ok(work_there(&answer.data).ok_or_else(|| "its answer is none that a platform gives".to_owned()))
            }
            Err(PlatformFault::WorkGone) => Ok(Ok(None)),
            Err(fault) => self.refusal_of("work", fault),
        }
    }

    /// The first errors of a work, `most` of them. Where what they are about is too long to be read, they come without it.
    ///
    /// # Errors
    /// The platform is in trouble, or does not let us see works.
    pub fn work_errors(&self, work: &str, most: usize) -> Asked<Vec<IngestError>> {
        for sources in [true, false] {
            match self.ask(&Question::work_errors(work, sources)) {
                Ok(answer) => return Ok(Ok(ingest_errors(&answer.data, most))),
                Err(PlatformFault::TooLong) => {}
                Err(PlatformFault::WorkGone) => return Ok(Ok(Vec::new())),
                Err(fault) => return self.refusal_of("work", fault),
            }
        }
        Ok(Err("the errors of a work are too long to be read".to_owned()))
    }

    fn update_work(&self, question: &Question) -> Asked<Updated> {
        match self.ask(question) {
            Ok(answer) if answer.doubtful => Ok(Ok(Updated::PerhapsTwice)),
            Ok(_) => Ok(Ok(Updated::Once)),
            Err(PlatformFault::WorkGone) => Ok(Ok(Updated::WorkGone)),
            Err(fault) => {
                let against = self.refusal_of(question.name, fault)?;
                // Older platforms fail on a work that is gone, with any error.
                match question.variables["id"].as_str() {
                    Some(work) if self.is_alive(work)? == Ok(false) => Ok(Ok(Updated::WorkGone)),
                    _ => Ok(against),
                }
            }
        }
    }

    /// A refusal of one thing is returned to the caller; any other error stops the run.
    fn refusal_of<T>(&self, asked: &str, fault: PlatformFault) -> Asked<T> {
        match fault {
            PlatformFault::Refused(words) => Ok(Err(format!("the platform refuses {asked}: {words}"))),
            PlatformFault::Failed(words) => Ok(Err(format!("the platform fails at {asked}: {words}"))),
            fault => Err(self.stop(asked, fault)),
        }
    }

    fn ask(&self, question: &Question) -> std::result::Result<PlatformAnswer, PlatformFault> {
        self.ask_within(question, self.patience, false)
    }

    /// Asks until there is an answer, or none can be expected. `absent` is how long to try a platform that accepts no
    /// connection; with `outlast`, a failure of the platform itself is retried.
    fn ask_within(
        &self,
        question: &Question,
        absent: Duration,
        outlast: bool,
    ) -> std::result::Result<PlatformAnswer, PlatformFault> {
        let (began, mut pause, mut doubtful) = (Instant::now(), Duration::from_millis(500), false);
        let is_said = AtomicBool::new(false);
        loop {
            // ureq resolves names in a thread, and panics if it does not start.
            lack::threads(2).map_err(|lack| PlatformFault::Stop(lack.into()))?;
            let (left, mut failed) = (self.patience.saturating_sub(began.elapsed()), None);
            let Unanswered { why, is_absent } = match self.ask_once(question, left, &is_said) {
                Ok(data) => return Ok(PlatformAnswer { data, doubtful }),
                Err(unanswered) => unanswered,
            };
            let (what, after) = match why {
                NoAnswer::Later { what, after, doubtful: heard } => {
                    doubtful |= heard;
                    (what, after)
                }
                NoAnswer::WorkGone => return Err(PlatformFault::WorkGone),
                NoAnswer::TooLong => return Err(PlatformFault::TooLong),
                NoAnswer::Refused(words) => return Err(PlatformFault::Refused(words)),
                NoAnswer::Failed(words) => {
                    failed = Some(PlatformFault::Failed(words.clone()));
                    (words, None)
                }
                NoAnswer::Forbidden { what, advice } => {
                    return Err(PlatformFault::Forbidden(self.failed(what, &advice)));
                }
                NoAnswer::Never { what, advice } => return Err(PlatformFault::Stop(self.failed(what, &advice))),
            };
            let limit = if is_absent { absent.min(self.patience) } else { self.patience };
            let wait = after.map_or(pause, Duration::from_secs);
            let is_late = began.elapsed().saturating_add(wait) > limit;
            if let Some(fault) = failed.filter(|_| is_late || !outlast) {
                return Err(fault);
            }
            if is_late {
                let waited = duration(began.elapsed().as_secs());
                let what = format!("{what} ({}); tried for {waited}", question.name);
                let advice = if is_absent && absent < self.patience {
                    "is it up, and is that its address? opencti+https:// where it speaks TLS, opencti+http:// where not"
                } else {
                    "nothing is lost. When the platform answers, run this again (for import: without the medium)"
                };
                return Err(PlatformFault::Stop(self.failed(what, advice)));
            }
            if began.elapsed().saturating_add(wait) > SAY_AFTER && !is_said.swap(true, Ordering::Relaxed) {
                self.observer.say(&format!("the platform: {what}; retrying for up to {}", duration(limit.as_secs())));
            }
            clock::pause(self.observer, wait);
            unless_stopped(self.observer, || {
                "while the platform did not answer; nothing is lost, and the next run goes on from there".to_owned()
            })
            .map_err(PlatformFault::Stop)?;
            pause = (pause * 2).min(Duration::from_secs(8));
        }
    }

    /// Asks once, and reports it if the answer takes long.
    fn ask_once(
        &self,
        question: &Question,
        left: Duration,
        is_said: &AtomicBool,
    ) -> std::result::Result<Value, Unanswered> {
        let (observer, limit) = (self.observer, duration(self.patience.as_secs()));
        std::thread::scope(|scope| {
            let (answered, is_answered) = channel::<()>();
            // Without that thread the wait is not reported.
            let _ = lack::spawn_scoped(scope, move || {
                let waited = is_answered.recv_timeout(SAY_AFTER);
                if waited == Err(RecvTimeoutError::Timeout) && !is_said.swap(true, Ordering::Relaxed) {
                    observer.say(&format!("the platform has not answered yet; waiting up to {limit}"));
                }
            });
            let answer = self.http.ask(question, left);
            drop(answered);
            answer
        })
    }

    fn stop(&self, asked: &str, fault: PlatformFault) -> Error {
        match fault {
            PlatformFault::Stop(error) => error,
            PlatformFault::Forbidden(error) => match self.lacks() {
                Some(lacks) => error.advise(lacks),
                None => error,
            },
            PlatformFault::Failed(words) => self.failed(
                format!("the platform fails at {asked}: {words}"),
                "its log says why; nothing is lost. Fix that, then run it again",
            ),
            PlatformFault::Refused(words) => self.failed(
                format!("the platform refuses {asked}: {words}"),
                "its answer says why; an older or newer platform may expect something else",
            ),
            PlatformFault::TooLong => {
                self.failed("its answer is longer than any platform's".to_owned(), "is that OpenCTI's address?")
            }
            PlatformFault::WorkGone => {
                self.failed(format!("the work is gone ({asked})"), "run this again: another one is opened")
            }
        }
    }

    /// Which capabilities the token's user lacks, if the platform lists what the user has.
    fn lacks(&self) -> Option<String> {
        let lacking = self.me.as_ref()?.lacks(self.version.knows_drafts());
        let named: Vec<String> = lacking.iter().map(|(what, what_for)| format!("{what} ({what_for})")).collect();
        let lacks = named.join(", ");
        (!named.is_empty())
            .then(|| format!("its user lacks {lacks}: put it into the group Connectors, or give it the role Connector"))
    }

    fn failed(&self, what: String, advice: &str) -> Error {
        Error::failed(what).at_place(&self.http.place()).advise(advice)
    }
}
