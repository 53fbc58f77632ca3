//! The platform's GraphQL interface, as far as a connector uses it: questions as values, answers as values. Nothing
//! here reaches a network.
//!
//! A field that a platform does not know makes it refuse the whole question, so each platform is asked for what its
//! version has; where a field began is said at [`Version`]'s questions.

use std::fmt;

use serde_json::{Value, json};

use super::broker::{BrokerAddress, Route};
use super::registration::Registration;
use super::secrets::Secrets;
use crate::limits::{PLATFORM_ANSWER_MAX, WORK_ERRORS_ANSWER_MAX};
use crate::text::harmless;

/// The version of a platform, such as 6.8.9 or 7.261026.0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32, pub u32);

/// The oldest platform that airpouch speaks with.
pub const OLDEST: Version = Version(6, 0, 0);

impl Version {
    /// Reads what `about { version }` answers; what follows the third number (`-rc1`) is left out.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().trim_start_matches('v').splitn(3, '.');
        let mut number = || {
            let digits: String = parts.next()?.chars().take_while(char::is_ascii_digit).collect();
            digits.parse().ok()
        };
        Some(Self(number()?, number()?, number().unwrap_or(0)))
    }

    /// Inputs `auto_update` and `enrichment_resolution` of `registerConnector`.
    pub fn knows_auto_update(self) -> bool {
        self >= Self(6, 8, 9)
    }

    /// Drafts, and messages that go into one.
    pub fn knows_drafts(self) -> bool {
        self >= Self(6, 4, 0)
    }

    /// `workEdit.addDraftContext`
    pub fn knows_draft_contexts(self) -> bool {
        self >= Self(6, 5, 1)
    }

    /// The query `isWorkAlive`.
    pub fn knows_is_work_alive(self) -> bool {
        self >= Self(6, 8, 7)
    }

    /// `workAdd(isMultiPartWork)`
    pub fn knows_multi_part_works(self) -> bool {
        self >= Self(7, 260_422, 0)
    }

    /// What this platform is not sent that the newest one is, in words; empty for the newest.
    pub fn left_out(self) -> Vec<&'static str> {
        let all = [
            (self.knows_drafts(), "drafts (6.4), so that what wants validation is held"),
            (self.knows_draft_contexts(), "the draft of a work (6.5.1)"),
            (self.knows_is_work_alive(), "isWorkAlive (6.8.7), in whose place the work is looked up"),
            (self.knows_auto_update(), "auto_update and enrichment_resolution (6.8.9)"),
            (self.knows_multi_part_works(), "isMultiPartWork (7.260422)"),
        ];
        all.into_iter().filter(|(known, _)| !known).map(|(_, what)| what).collect()
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// A question for the platform.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// The operation, for messages.
    pub name: &'static str,
    /// The query's text.
    pub query: &'static str,
    /// Its variables.
    pub variables: Value,
    /// Bytes of the largest answer that is read.
    pub answer_max: u64,
}

impl Question {
    fn new(name: &'static str, query: &'static str, variables: Value) -> Self {
        Self { name, query, variables, answer_max: PLATFORM_ANSWER_MAX }
    }

    /// The body to post.
    pub fn body(&self) -> Vec<u8> {
        json!({ "query": self.query, "variables": self.variables }).to_string().into_bytes()
    }

    /// What it is.
    pub fn about() -> Self {
        Self::new("about", "query About { about { version } }", json!({}))
    }

    /// Who asks, and what he may.
    pub fn me() -> Self {
        Self::new("me", "query Me { me { id name user_email capabilities { name } } }", json!({}))
    }

    /// A connector by its id.
    pub fn connector(id: &str) -> Self {
        let query = "query Connector($id: String!) { connector(id: $id) { id name active connector_type } }";
        Self::new("connector", query, json!({ "id": id }))
    }

    /// A user by his id. Whoever may not manage users is refused.
    pub fn user(id: &str) -> Self {
        Self::new("user", "query User($id: String!) { user(id: $id) { id name } }", json!({ "id": id }))
    }

    /// All connectors, with what each is told of the broker.
    pub fn connectors() -> Self {
        const QUERY: &str = "query Connectors { connectors { id name config { \
            connection { host vhost use_ssl port user pass } push push_routing push_exchange } } }";
        Self::new("connectors", QUERY, json!({}))
    }

    /// Registers a connector.
    pub fn register(connector: &Registration, version: Version) -> Self {
        const QUERY: &str = "mutation RegisterConnector($input: RegisterConnectorInput) { \
            registerConnector(input: $input) { id connector_user_id config { \
            connection { host vhost use_ssl port user pass } \
            listen listen_routing listen_exchange push push_routing push_exchange } } }";
        let mut input = json!(connector);
        if version.knows_auto_update() {
            input["auto_update"] = json!(false);
            input["enrichment_resolution"] = json!("none");
        }
        Self::new("registerConnector", QUERY, json!({ "input": input }))
    }

    /// Opens a work. One to which expectations are added more than once says so where that can be said: else it would
    /// be complete as soon as the first of them are met.
    pub fn add_work(connector: &str, name: &str, several_parts: bool, version: Version) -> Self {
        if several_parts && version.knows_multi_part_works() {
            let query = "mutation WorkAdd($connectorId: String!, $friendlyName: String, $isMultiPartWork: Boolean) { \
                workAdd(connectorId: $connectorId, friendlyName: $friendlyName, isMultiPartWork: $isMultiPartWork) { id } }";
            let variables = json!({ "connectorId": connector, "friendlyName": name, "isMultiPartWork": true });
            return Self::new("workAdd", query, variables);
        }
        let query = "mutation WorkAdd($connectorId: String!, $friendlyName: String) { \
            workAdd(connectorId: $connectorId, friendlyName: $friendlyName) { id } }";
        Self::new("workAdd", query, json!({ "connectorId": connector, "friendlyName": name }))
    }

    /// So many messages more will come.
    pub fn add_expectations(work: &str, expectations: usize) -> Self {
        let query = "mutation AddExpectations($id: ID!, $expectations: Int) { \
            workEdit(id: $id) { addExpectations(expectations: $expectations) } }";
        Self::new("addExpectations", query, json!({ "id": work, "expectations": expectations }))
    }

    /// All of a work was sent, or, in error, all that will be.
    pub fn to_processed(work: &str, message: &str, in_error: bool) -> Self {
        let query = "mutation ToProcessed($id: ID!, $message: String, $inError: Boolean) { \
            workEdit(id: $id) { toProcessed(message: $message, inError: $inError) } }";
        Self::new("toProcessed", query, json!({ "id": work, "message": message, "inError": in_error }))
    }

    /// Whether a work is there: workers pass over messages of one that is gone.
    pub fn is_work_alive(work: &str, version: Version) -> Self {
        let query = if version.knows_is_work_alive() {
            "query IsWorkAlive($id: ID!) { isWorkAlive(id: $id) }"
        } else {
            "query Work($id: ID!) { work(id: $id) { id } }"
        };
        Self::new("isWorkAlive", query, json!({ "id": work }))
    }

    /// How far a work has come, and how many errors it has.
    pub fn work(work: &str) -> Self {
        const QUERY: &str = "query Work($id: ID!) { work(id: $id) { id status \
            tracking { import_expected_number import_processed_number } errors { timestamp } } }";
        Self { answer_max: WORK_ERRORS_ANSWER_MAX, ..Self::new("work", QUERY, json!({ "id": work })) }
    }

    /// The errors of a work; with `sources`, what each one is about, which may be 50,000 characters of each.
    pub fn work_errors(work: &str, sources: bool) -> Self {
        let query = match sources {
            true => "query WorkErrors($id: ID!) { work(id: $id) { id errors { message source } } }",
            false => "query WorkErrors($id: ID!) { work(id: $id) { id errors { message } } }",
        };
        Self { answer_max: WORK_ERRORS_ANSWER_MAX, ..Self::new("work", query, json!({ "id": work })) }
    }

    /// Makes a draft, in which a person looks at what is imported.
    pub fn add_draft(name: &str) -> Self {
        let query =
            "mutation DraftWorkspaceAdd($input: DraftWorkspaceAddInput!) { draftWorkspaceAdd(input: $input) { id } }";
        Self::new("draftWorkspaceAdd", query, json!({ "input": { "name": name, "entity_id": null } }))
    }

    /// Says into which draft a work goes.
    pub fn add_draft_context(work: &str, draft: &str) -> Self {
        let query = "mutation AddDraftContext($id: ID!, $draftContext: String) { \
            workEdit(id: $id) { addDraftContext(draftContext: $draftContext) } }";
        Self::new("addDraftContext", query, json!({ "id": work, "draftContext": draft }))
    }
}

/// Why there is no answer to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoAnswer {
    /// It may work later: what to say while waiting.
    Later {
        /// What is the matter.
        what: String,
        /// Seconds that the platform asks to wait.
        after: Option<u64>,
        /// Whether the question may have been answered all the same.
        doubtful: bool,
    },
    /// The work is gone.
    WorkGone,
    /// The platform itself failed over it: its database, its broker, or a fault of its own.
    Failed(String),
    /// The platform does not take this input.
    Refused(String),
    /// The token's user may not.
    Forbidden {
        /// What is the matter.
        what: String,
        /// What to do.
        advice: String,
    },
    /// It is longer than what is read of an answer.
    TooLong,
    /// It will not work before somebody has changed something.
    Never {
        /// What is the matter.
        what: String,
        /// What to do.
        advice: String,
    },
}

impl NoAnswer {
    /// It may work later.
    pub fn later(what: impl Into<String>, doubtful: bool) -> Self {
        Self::Later { what: what.into(), after: None, doubtful }
    }

    /// It will not work as things are.
    pub fn never(what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::Never { what: what.into(), advice: advice.into() }
    }
}

/// What came over HTTP.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// `Content-Type`
    pub content_type: String,
    /// `Location`, of a redirect.
    pub location: Option<String>,
    /// `Retry-After` in seconds.
    pub retry_after: Option<u64>,
    /// The body.
    pub body: Vec<u8>,
}

/// Reads the answer to a question: the object `data`, without secrets of ours that whoever answered put there.
///
/// # Errors
/// There is none, and why. Platforms answer errors with status 200, proxies before them with HTML.
pub fn data(question: &Question, reply: &Reply, secrets: &Secrets) -> Result<Value, NoAnswer> {
    let mut parsed: Result<Value, _> = serde_json::from_slice(&reply.body);
    parsed.iter_mut().for_each(|answer| secrets.out_of_answer(answer));
    match parsed {
        Ok(Value::Object(answer)) if answer.contains_key("data") || answer.contains_key("errors") => {
            match answer.get("errors").and_then(Value::as_array).filter(|errors| !errors.is_empty()) {
                Some(errors) => Err(of_errors(question, errors)),
                None => Ok(answer.get("data").cloned().unwrap_or(Value::Null)),
            }
        }
        _ => Err(of_status(reply, secrets)),
    }
}

/// What the platform's own errors mean (its `errors.ts`).
fn of_errors(question: &Question, errors: &[Value]) -> NoAnswer {
    let code = |error: &Value| shown(error["extensions"]["code"].as_str().unwrap_or_default());
    let first = errors.first().cloned().unwrap_or_default();
    let words = shown(first["message"].as_str().unwrap_or("an error without words"));
    if errors.iter().any(|e| code(e) == "WORK_NOT_ALIVE") {
        return NoAnswer::WorkGone;
    }
    let code = code(&first);
    let name = question.name;
    match code.as_str() {
        "AUTH_REQUIRED" | "AUTH_FAILURE" | "OTP_REQUIRED" | "PASSWORD_CHANGE_REQUIRED" => NoAnswer::never(
            format!("the platform rejected the token: {words} ({code})"),
            "give the token of airpouch's user: --token-file FILE; it stands on that user's page in OpenCTI",
        ),
        "FORBIDDEN_ACCESS" => NoAnswer::Forbidden {
            what: format!("the token's user may not do this ({name}): {words} (FORBIDDEN_ACCESS)"),
            advice: "give that user the role Connector; airpouch check says what is missing".into(),
        },
        "LTS_REQUIRED_ACTIVATION" => NoAnswer::never(
            format!("the platform wants its licence activated: {words}"),
            "have its administrator do that, then run this again",
        ),
        "LOCK_ERROR" | "DRAFT_LOCKED" => NoAnswer::later(format!("{words} ({code})"), false),
        "INTERNAL_SERVER_ERROR" | "DATABASE_ERROR" | "UNKNOWN_ERROR" => NoAnswer::Failed(format!("{words} ({code})")),
        "" => NoAnswer::Refused(words),
        _ => NoAnswer::Refused(format!("{words} ({code})")),
    }
}

/// What an answer that is no GraphQL means.
fn of_status(reply: &Reply, secrets: &Secrets) -> NoAnswer {
    let start: Vec<u8> = reply.body.iter().copied().skip_while(u8::is_ascii_whitespace).take(1).collect();
    let is_html = reply.content_type.contains("html") || start == b"<";
    let kind = if is_html { "HTML, not JSON" } else { "no GraphQL" };
    let what = format!("status {}, {kind}", reply.status);
    match reply.status {
        429 => NoAnswer::Later {
            what: "it asks to come more slowly (status 429)".into(),
            after: reply.retry_after,
            doubtful: false,
        },
        502..=504 => NoAnswer::Later { what, after: reply.retry_after, doubtful: reply.status != 503 },
        300..=399 => {
            let to =
                reply.location.as_deref().map_or_else(String::new, |l| format!(" to {}", shown(&secrets.out_of(l))));
            NoAnswer::never(
                format!("it redirects{to} (status {})", reply.status),
                "name the address where that leads in --to",
            )
        }
        404 => NoAnswer::never(what, "is the base path missing? --to opencti+https://HOST/BASE, without /graphql"),
        405 => NoAnswer::never(what, "it takes no POST there; is that OpenCTI's address?"),
        401 | 403 | 407 => {
            NoAnswer::never(what, "something before the platform wants a login; let airpouch pass there")
        }
        413 => NoAnswer::never(what, "something before the platform does not let a question of this size pass"),
        200..=299 => NoAnswer::never(what, "a login page, or another site? name OpenCTI's own address in --to"),
        _ => NoAnswer::later(what, true),
    }
}

fn shown(words: &str) -> String {
    let short: String = words.chars().take(300).collect();
    harmless(&short)
}

/// A connector that the platform has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownConnector {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: String,
    /// Whether it gave a sign of life in the last five minutes.
    pub active: bool,
}

/// Reads the answer to [`Question::connector`]: the inner `None` where the platform has no such connector, the outer one
/// where it does not say, for then nobody knows.
#[allow(clippy::option_option, reason = "no connector and no answer are two things")]
pub fn known_connector(data: &Value) -> Option<Option<KnownConnector>> {
    let connector = data.get("connector")?;
    if connector.is_null() {
        return Some(None);
    }
    let text = |name: &str| connector.get(name)?.as_str().map(str::to_owned);
    let active = connector.get("active").and_then(Value::as_bool);
    // Of one that never gave a sign, a platform may say nothing.
    let active = if connector.get("active").is_some_and(Value::is_null) { Some(false) } else { active };
    Some(Some(KnownConnector { name: text("name")?, kind: text("connector_type")?, active: active? }))
}

/// Reads the answer to [`Question::user`]: the name; the inner `None` where the platform has no such user, the outer one
/// where it does not say.
#[allow(clippy::option_option, reason = "no user and no answer are two things")]
pub fn name_of_user(data: &Value) -> Option<Option<String>> {
    match data.get("user")? {
        Value::Null => Some(None),
        user => user.get("id")?.as_str().map(|_| Some(user["name"].as_str().unwrap_or_default().to_owned())),
    }
}

/// What a registration tells of the broker: where it is, whom to be there, and where messages go.
#[derive(Clone, PartialEq, Eq)]
pub struct Registered {
    /// The broker.
    pub broker: BrokerAddress,
    /// The password there.
    pub password: String,
    /// Where messages go.
    pub route: Route,
}

/// Reads the answer to [`Question::register`].
pub fn registered(data: &Value) -> Option<Registered> {
    of_config(&data["registerConnector"]["config"])
}

/// Reads of the answer to [`Question::connectors`] what the first connector is told that is told anything.
pub fn told_to_any(data: &Value) -> Option<Registered> {
    data["connectors"].as_array()?.iter().find_map(|connector| of_config(&connector["config"]))
}

/// The longest name that AMQP 0-9-1 can say (a short string).
const NAME_MAX: usize = 255;

fn of_config(config: &Value) -> Option<Registered> {
    let is_name = |text: &&str| text.len() <= NAME_MAX && !text.chars().any(char::is_control);
    let text = |value: &Value| value.as_str().filter(is_name).map(str::to_owned);
    let connection = &config["connection"];
    Some(Registered {
        broker: BrokerAddress {
            tls: connection["use_ssl"].as_bool().unwrap_or(false),
            host: text(&connection["host"])?,
            port: u16::try_from(connection["port"].as_u64()?).ok()?,
            vhost: if connection["vhost"].is_null() { "/".to_owned() } else { text(&connection["vhost"])? },
            user: Some(text(&connection["user"])?),
        },
        password: connection["pass"].as_str()?.to_owned(),
        route: Route {
            exchange: text(&config["push_exchange"])?,
            routing_key: text(&config["push_routing"])?,
            queue: text(&config["push"])?,
        },
    })
}

/// The user that a token belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Me {
    /// His id.
    pub id: String,
    /// His name.
    pub name: String,
    /// What he may.
    pub capabilities: Vec<String>,
}

impl Me {
    /// Reads the answer to [`Question::me`].
    pub fn read(data: &Value) -> Option<Self> {
        let me = data.get("me").filter(|m| m.is_object())?;
        let capabilities = me["capabilities"].as_array()?;
        Some(Self {
            id: me["id"].as_str()?.to_owned(),
            name: me["name"].as_str().unwrap_or_default().to_owned(),
            capabilities: capabilities.iter().filter_map(|c| c["name"].as_str()).map(str::to_owned).collect(),
        })
    }

    /// Whether he may; a capability holds those above it in its name.
    pub fn may(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|c| c == "BYPASS" || c == capability || c.starts_with(&format!("{capability}_")))
    }

    /// What airpouch needs and he may not, each with what it is needed for.
    pub fn lacks(&self, drafts: bool) -> Vec<(&'static str, &'static str)> {
        let mut lacking = Vec::new();
        if !self.may("CONNECTORAPI") {
            lacking.push(("CONNECTORAPI", "to register connectors"));
        }
        if !self.may("KNOWLEDGE_KNASKIMPORT") && !self.may("KNOWLEDGE_KNGETEXPORT_KNASKEXPORT") {
            lacking.push(("KNOWLEDGE_KNASKIMPORT", "to open and close works"));
        }
        if drafts && !self.may("KNOWLEDGE") {
            lacking.push(("KNOWLEDGE", "to make drafts"));
        }
        if !self.may("MODULES") {
            lacking.push(("MODULES", "to see connectors that exist already"));
        }
        lacking
    }
}

/// `asctime`, by which connectors name their works: `Sun Jun  5 12:00:00 2025`, the day padded with a space. Seconds
/// since 1970, in UTC; outside the years 1 to 9999 the nearest.
pub fn ctime(seconds: i64) -> String {
    let least = time::Date::MIN.replace_year(1).map_or(i64::MIN, |d| d.midnight().assume_utc().unix_timestamp());
    let at = time::OffsetDateTime::from_unix_timestamp(seconds.clamp(least, 253_402_300_799))
        .unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    let short = |name: String| name.chars().take(3).collect::<String>();
    format!(
        "{} {} {:2} {:02}:{:02}:{:02} {}",
        short(at.weekday().to_string()),
        short(at.month().to_string()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second(),
        at.year()
    )
}

#[cfg(test)]
mod answer {
    use super::*;

    fn reply(status: u16, content_type: &str, body: &str) -> Reply {
        let (content_type, body) = (content_type.to_owned(), body.as_bytes().to_vec());
        Reply { status, content_type, body, ..Reply::default() }
    }

    fn of(status: u16, content_type: &str, body: &str) -> Result<Value, NoAnswer> {
        data(&Question::about(), &reply(status, content_type, body), &Secrets::default())
    }

    #[test]
    fn data_is_read_whatever_the_status() {
        let body = r#"{"data":{"about":{"version":"7.261026.0"}}}"#;
        assert_eq!(of(200, "application/json", body).unwrap()["about"]["version"], "7.261026.0");
        assert!(of(500, "application/json", body).is_ok());
    }

    #[test]
    fn html_page_is_reported_as_one() {
        let NoAnswer::Never { what, advice } = of(404, "text/html", "<html>").unwrap_err() else { panic!() };
        assert!(what.contains("404") && what.contains("HTML, not JSON") && advice.contains("base path"));
        let NoAnswer::Never { what, advice } = of(200, "", " \n<!DOCTYPE html>").unwrap_err() else { panic!() };
        assert!(what.contains("HTML") && advice.contains("login page"));
        let NoAnswer::Later { what, doubtful, .. } = of(504, "text/html", "<html>").unwrap_err() else { panic!() };
        assert!(what.contains("504") && doubtful);
    }

    #[test]
    fn error_code_decides_whether_waiting_helps() {
        let errors =
            |code: &str| format!(r#"{{"data":null,"errors":[{{"message":"No.","extensions":{{"code":"{code}"}}}}]}}"#);
        let of = |code: &str| of(200, "application/json", &errors(code)).unwrap_err();
        assert!(matches!(of("AUTH_REQUIRED"), NoAnswer::Never { .. }));
        assert!(matches!(of("FORBIDDEN_ACCESS"), NoAnswer::Forbidden { .. }));
        assert!(matches!(of("LOCK_ERROR"), NoAnswer::Later { .. }));
        assert_eq!(of("WORK_NOT_ALIVE"), NoAnswer::WorkGone);
        assert_eq!(of("DATABASE_ERROR"), NoAnswer::Failed("No. (DATABASE_ERROR)".into()));
        assert_eq!(of("FUNCTIONAL_ERROR"), NoAnswer::Refused("No. (FUNCTIONAL_ERROR)".into()));
    }

    #[test]
    fn no_secret_appears_in_messages_codes_redirects_or_names() {
        let secrets = Secrets::with_token(Some("SECRET-0123456789"));
        let of = |reply: &Reply| data(&Question::about(), reply, &secrets);
        let errors = r#"{"errors":[{"message":"SECRET-0123456789","extensions":{"code":"E_SECRET-0123456789"}}]}"#;
        assert_eq!(of(&reply(200, "", errors)), Err(NoAnswer::Refused("(secret) (E_(secret))".into())));
        let location = Some("https://x/?t=SECRET%2d0123456789".to_owned());
        let Err(NoAnswer::Never { what, .. }) = of(&Reply { location, ..reply(302, "", "") }) else { panic!() };
        assert_eq!(what, "it redirects to (secret) (status 302)");
        let named = reply(200, "", r#"{"data":{"connector":{"name":"SECRET-0123456789"}}}"#);
        assert_eq!(of(&named).unwrap()["connector"]["name"], "(secret)");
    }

    #[test]
    fn missing_connector_differs_from_a_malformed_answer() {
        let of = |text: &str| known_connector(&serde_json::from_str(text).unwrap());
        assert_eq!(of(r#"{"connector":null}"#), Some(None));
        let known = r#"{"connector":{"id":"c","name":"Feed","active":true,"connector_type":"STREAM"}}"#;
        let (name, kind) = ("Feed".to_owned(), "STREAM".to_owned());
        assert_eq!(of(known), Some(Some(KnownConnector { name, kind, active: true })));
        for garbage in [
            "null",
            "{}",
            r#"{"connector":1}"#,
            r#"{"connector":[]}"#,
            r#"{"connector":{}}"#,
            r#"{"connector":{"name":"Feed","active":true}}"#,
            r#"{"connector":{"name":"Feed","active":"no","connector_type":"STREAM"}}"#,
        ] {
            assert_eq!(of(garbage), None, "{garbage}");
        }
    }

    #[test]
    fn missing_user_differs_from_a_malformed_answer() {
        let of = |text: &str| name_of_user(&serde_json::from_str(text).unwrap());
        assert_eq!(of(r#"{"user":null}"#), Some(None));
        assert_eq!(of(r#"{"user":{"id":"u","name":"MISP"}}"#), Some(Some("MISP".to_owned())));
        for garbage in ["null", "{}", r#"{"user":1}"#, r#"{"user":{}}"#, r#"{"user":{"name":"MISP"}}"#] {
            assert_eq!(of(garbage), None, "{garbage}");
        }
    }

    #[test]
    fn json_of_another_site_is_refused() {
        assert!(matches!(of(200, "application/json", r#"{"ok":true}"#), Err(NoAnswer::Never { .. })));
        assert!(matches!(of(200, "application/json", "[]"), Err(NoAnswer::Never { .. })));
    }
}

#[cfg(test)]
mod version {
    use super::*;

    #[test]
    fn version_is_read_as_platforms_write_it() {
        assert_eq!(Version::parse("6.0.10"), Some(Version(6, 0, 10)));
        assert_eq!(Version::parse("7.261026.0"), Some(Version(7, 261_026, 0)));
        assert_eq!(Version::parse("6.8.9-rc1"), Some(Version(6, 8, 9)));
        assert_eq!(Version::parse("6.8"), Some(Version(6, 8, 0)));
        assert_eq!(Version::parse("rolling"), None);
    }

    #[test]
    fn version_decides_what_is_asked() {
        let connector = Registration::new("c", "Feed", "EXTERNAL_IMPORT", vec![], false);
        let input = |version| Question::register(&connector, version).variables["input"].clone();
        assert!(input(Version(6, 8, 8)).get("auto_update").is_none());
        assert_eq!(input(Version(6, 8, 9))["enrichment_resolution"], "none");
        assert!(Question::is_work_alive("w", Version(6, 8, 6)).query.contains("work(id"));
        assert!(!Question::add_work("c", "n", true, Version(7, 260_401, 0)).query.contains("isMultiPartWork"));
        assert!(Question::add_work("c", "n", true, Version(7, 260_422, 0)).query.contains("isMultiPartWork"));
        assert!(Version(7, 261_026, 0).left_out().is_empty());
    }

    #[test]
    fn works_are_named_as_python_does() {
        assert_eq!(ctime(1_749_124_800), "Thu Jun  5 12:00:00 2025");
        assert_eq!(ctime(0), "Thu Jan  1 00:00:00 1970");
    }
}
