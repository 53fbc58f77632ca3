use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use airpouch::destination::{BrokerOverrides, Reach, TakeOver, WorkPer};
use airpouch::error::{Error, Result};
use airpouch::opencti::broker::QueueType;
use airpouch::platform;
use airpouch::text::parse_size;
use clap::builder::BoolishValueParser;
use zeroize::Zeroizing;

use super::output::Output;
use super::{keys, settings};

/// The largest file with a token or a password.
const SECRET_MAX: u64 = 64 << 10;

/// How a broker and a platform are reached. Secrets come from files, or from systemd's credentials `token` and
/// `amqp-password`.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Broker and platform")]
pub struct Args {
    /// The file with the platform's token of airpouch's user
    #[arg(long, value_name = "FILE", env = "AIRPOUCH_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// The file with the broker's password; not needed if the platform reports it
    #[arg(long, value_name = "FILE", env = "AIRPOUCH_AMQP_PASSWORD_FILE")]
    amqp_password_file: Option<PathBuf>,
    /// The file with the certificate of a private authority (PEM), for platform and broker
    #[arg(long, value_name = "FILE", env = "AIRPOUCH_CA_FILE")]
    ca_file: Option<PathBuf>,
    /// The broker's host, if the one that the platform reports cannot be reached from here
    #[arg(long, value_name = "HOST", env = "AIRPOUCH_AMQP_HOST")]
    amqp_host: Option<String>,
    /// The broker's port, if it differs from what the platform reports
    #[arg(long, value_name = "PORT", env = "AIRPOUCH_AMQP_PORT")]
    amqp_port: Option<u16>,
    /// The broker's virtual host, if it differs from what the platform reports
    #[arg(long, value_name = "NAME", env = "AIRPOUCH_AMQP_VHOST")]
    amqp_vhost: Option<String>,
    /// The broker's user, if it differs from what the platform reports
    #[arg(long, value_name = "NAME", env = "AIRPOUCH_AMQP_USER")]
    amqp_user: Option<String>,
    /// Whether the broker is reached by TLS, if that differs from what the platform reports
    #[arg(long, value_name = "BOOL", env = "AIRPOUCH_AMQP_TLS", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    amqp_tls: Option<bool>,
    /// The platform's rabbitmq:queue_prefix, for amqp(s)://
    #[arg(long, value_name = "PREFIX", env = "AIRPOUCH_QUEUE_PREFIX")]
    queue_prefix: Option<String>,
    /// The platform's rabbitmq:queue_type, for queues that amqp(s):// has to make [default: classic]
    #[arg(long, value_name = "TYPE", env = "AIRPOUCH_QUEUE_TYPE", value_parser = ["classic", "quorum"])]
    queue_type: Option<String>,
    /// Messages in a queue above which airpouch waits for the workers; 0: none [default: 100000]
    #[arg(long, value_name = "N", env = "AIRPOUCH_QUEUE_LIMIT")]
    queue_limit: Option<u32>,
    /// The largest message that the broker takes, such as 16MiB; an envelope with a larger one is quarantined whole
    /// [default: as the broker answers]
    #[arg(long, value_name = "SIZE", env = "AIRPOUCH_MAX_MESSAGE_SIZE")]
    max_message_size: Option<String>,
    /// How long to wait while nothing gets better: an alarm, a queue that is too long, a platform that is down
    /// [default: 45s]
    #[arg(long, value_name = "TIME", env = "AIRPOUCH_PATIENCE")]
    patience: Option<String>,
    /// Let token, password and messages go over a network without TLS
    #[arg(long, env = "AIRPOUCH_PLAINTEXT", value_parser = BoolishValueParser::new())]
    plaintext: bool,
    /// Take over connectors that exist on the platform, or that came by another stream: those with these ids, or, without
    /// an id, all that an earlier run has reported
    #[arg(long, value_name = "ID", num_args = 0..=1, value_delimiter = ',', require_equals = true, default_missing_value = "")]
    take_over: Option<Vec<String>>,
    /// Works to open on the platform: one for each batch and connector, for each envelope, or none [default: batch]
    #[arg(long, value_name = "PER", env = "AIRPOUCH_WORKS", value_parser = ["batch", "envelope", "none"])]
    works: Option<String>,
    /// A proxy to the platform; none is used that is not named here
    #[arg(long, value_name = "URL", env = "AIRPOUCH_PROXY")]
    proxy: Option<String>,
}

impl Args {
    /// How it is reached, by the arguments.
    pub fn reach(&self, output: &Output) -> Result<Reach> {
        let usual = Reach::default();
        let patience = self.patience.as_deref().map(settings::duration).transpose()?;
        Ok(Reach {
            token: secret(self.token_file.as_ref(), "token", "token", output)?,
            amqp_password: secret(self.amqp_password_file.as_ref(), "amqp-password", "password", output)?,
            ca: self.ca_file.as_ref().map(|path| authority(path)).transpose()?,
            overrides: BrokerOverrides {
                host: self.amqp_host.clone(),
                port: self.amqp_port,
                vhost: self.amqp_vhost.clone(),
                user: self.amqp_user.clone(),
                tls: self.amqp_tls,
            },
            queue_prefix: self.queue_prefix.clone().unwrap_or_default(),
            queue_type: self.queue_type(),
            queue_limit: self.queue_limit.unwrap_or(usual.queue_limit),
            max_message: self.max_message_size.as_deref().map(parse_size).transpose().map_err(Error::usage)?,
            patience: patience.map_or(usual.patience, Duration::from_secs),
            plaintext: self.plaintext,
            take_over: self.take_over(),
            work_per: self.work_per(),
            proxy: self.proxy.clone(),
        })
    }

    fn take_over(&self) -> TakeOver {
        let Some(ids) = &self.take_over else { return TakeOver::Nothing };
        let ids: BTreeSet<String> = ids.iter().map(|id| id.trim().to_owned()).filter(|id| !id.is_empty()).collect();
        if ids.is_empty() { TakeOver::Shown } else { TakeOver::These(ids) }
    }

    // Other words than these are none of the options' values.
    fn queue_type(&self) -> QueueType {
        match self.queue_type.as_deref() {
            Some("quorum") => QueueType::Quorum,
            _ => QueueType::Classic,
        }
    }

    fn work_per(&self) -> WorkPer {
        match self.works.as_deref() {
            Some("envelope") => WorkPer::Envelope,
            Some("none") => WorkPer::None,
            _ => WorkPer::Batch,
        }
    }
}

/// The secret in a file, or in systemd's credential of that name; the first line, without its end.
fn secret(file: Option<&PathBuf>, credential: &str, what: &str, output: &Output) -> Result<Option<Zeroizing<String>>> {
    let of_systemd = || {
        let path = PathBuf::from(settings::variable("CREDENTIALS_DIRECTORY")?).join(credential);
        path.is_file().then_some(path)
    };
    let Some(path) = file.cloned().or_else(of_systemd) else { return Ok(None) };
    let bytes = airpouch::disk::read_bounded_following(&path, SECRET_MAX).map_err(|e| {
        // Whoever writes the secret in the place of its file is not to find it in a log.
        let is_path = path.components().count() > 1 || path.to_str().is_some_and(|p| p.len() < 16 || p.contains('.'));
        let shown = if is_path || path.exists() { path.clone() } else { PathBuf::from("(what is named is no file)") };
        Error::setting(&format!("read the file with the {what}"), &shown, &e)
            .advise(format!("name a file that holds the {what} in one line, readable for this user alone"))
    })?;
    let mode = std::fs::metadata(&path).map_or(0, |m| m.mode() & 0o777);
    if mode & 0o007 != 0 {
        output.warn(
            &format!("the file with the {what} is open to everybody here (mode {mode:o})"),
            &path,
            Some("chmod 600 it"),
        );
    }
    let bytes = Zeroizing::new(bytes);
    one_line(&bytes, what).map(Some).map_err(|wrong| {
        Error::usage(wrong).at(&path).advise(format!("one line belongs there: the {what} and nothing else"))
    })
}

/// The first line of a file, without a byte order mark and its end. A password may hold anything but controls, blanks at
/// its ends too; a token goes into a header.
fn one_line(bytes: &[u8], what: &str) -> std::result::Result<Zeroizing<String>, String> {
    let bytes = bytes.strip_prefix(keys::BYTE_ORDER_MARK).unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|_| format!("this file is no UTF-8, so it holds no {what}"))?;
    let line = text.lines().next().unwrap_or_default();
    let line = if what == "token" { line.trim() } else { line };
    if line.trim().is_empty() {
        return Err(format!("this file holds no {what}"));
    }
    if line.chars().any(char::is_control) {
        return Err(format!("this file holds a control character, which is no part of a {what}"));
    }
    if what == "token" && !line.is_ascii() {
        return Err("this file holds a character that is no ASCII, which is no part of a token".into());
    }
    Ok(Zeroizing::new(line.to_owned()))
}

fn authority(path: &Path) -> Result<String> {
    let bytes = airpouch::disk::read_bounded_following(path, airpouch::limits::SETTINGS_FILE_MAX)
        .map_err(|e| Error::setting("read the authority's certificate", path, &e))?;
    let text = String::from_utf8(bytes).map_err(|_| Error::usage("the file of --ca-file is no PEM").at(path))?;
    platform::certificates(&text).map_err(|e| e.at(path))?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn password_is_any_utf_8_and_is_sent_byte_for_byte() {
        for (file, password) in [
            ("plain #1\n", "plain #1"),
            ("p\u{e4}\u{df}w\u{f6}rt/@:%40\r\n", "p\u{e4}\u{df}w\u{f6}rt/@:%40"),
            ("\u{feff}secret\n", "secret"),
            (" with blanks \nsecond line", " with blanks "),
        ] {
            assert_eq!(one_line(file.as_bytes(), "password").unwrap().as_str(), password);
        }
    }

    #[test]
    fn secret_that_is_none_is_refused_with_what_is_wrong() {
        for (file, what, words) in [
            (&b""[..], "password", "holds no password"),
            (b" \n", "token", "holds no token"),
            (b"\xef\xbb\xbf", "token", "holds no token"),
            (b"a\x1b[2J", "token", "control character"),
            (b"\xff\xfe", "password", "no UTF-8"),
            ("t\u{f6}ken".as_bytes(), "token", "no ASCII"),
        ] {
            let said = one_line(file, what).unwrap_err();
            assert!(said.contains(words), "{said}");
        }
        assert_eq!(one_line(b" a-token \r\n", "token").unwrap().as_str(), "a-token");
    }
}
