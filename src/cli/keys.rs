//! Keys out of files: private ones with their passphrase, trust stores with their rules.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use airpouch::digest::Digest;
use airpouch::disk;
use airpouch::error::{Error, Result};
use airpouch::limits::SETTINGS_FILE_MAX;
use airpouch::site::read_trust;
use airpouch::trust::key::is_published_test_key;
use airpouch::trust::{KeyError, PrivateKey, TrustError, TrustStore};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use super::output::Output;
use super::settings;

/// What editors of Windows write before UTF-8.
pub const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The name of the passphrase among systemd's credentials.
const CREDENTIAL: &str = "airpouch-passphrase";

/// The private keys that a verb signs with.
pub fn private_keys(
    paths: &[PathBuf],
    passphrase_file: Option<&Path>,
    test_keys: bool,
    output: &Output,
) -> Result<Vec<PrivateKey>> {
    if paths.is_empty() {
        return Err(Error::usage("no key given to sign with")
            .advise("--key FILE, or `key = \"FILE\"` in airpouch.toml; make one with: airpouch keygen --out NAME"));
    }
    paths.iter().map(|path| private_key(path, passphrase_file, test_keys, output)).collect()
}

/// Reads a private key; warns if others can read it too.
pub fn private_key(
    path: &Path,
    passphrase_file: Option<&Path>,
    test_keys: bool,
    output: &Output,
) -> Result<PrivateKey> {
    let text =
        Zeroizing::new(disk::read_bounded_following(path, SETTINGS_FILE_MAX).map_err(|e| {
            Error::setting("read the key", path, &e).advise("make one with: airpouch keygen --out NAME")
        })?);
    let mode = std::fs::metadata(path).map(|m| m.mode() & 0o777).unwrap_or(0o600);
    if mode & 0o077 != 0 && !is_credential(path) {
        let what = format!("this private key is readable by others (mode {mode:o})");
        output.warn(&what, path, Some("chmod 600 it"));
    }
    let passphrase = match PrivateKey::is_encrypted(&text) {
        true => Some(passphrase(path, passphrase_file)?),
        false => None,
    };
    let key =
        PrivateKey::from_pem(&text, passphrase.as_ref().map(|p| p.as_slice())).map_err(|e| key_error(&e, path))?;
    if is_published_test_key(&key.public()) && !test_keys {
        return Err(Error::usage("this key is published with airpouch's sources; anyone can sign with it")
            .at(path)
            .advise("make your own with airpouch keygen, or say --test-keys in a test"));
    }
    Ok(key)
}

/// Whether systemd has made this file for this service alone. It may show group rights (mode 440), since it gives the user
/// of the service access by a list beside the mode; but nobody else can enter the directory.
fn is_credential(path: &Path) -> bool {
    settings::variable("CREDENTIALS_DIRECTORY").is_some_and(|dir| path.starts_with(dir))
}

fn key_error(fault: &KeyError, path: &Path) -> Error {
    let advice = match fault {
        KeyError::WrongPassphrase => "try again, or look into --passphrase-file: its first line is the passphrase",
        _ => "name the private key of airpouch keygen, or of openssl genpkey -algorithm ed25519",
    };
    Error::usage(format!("the key cannot be used: it {fault}")).at(path).advise(advice)
}

/// Reads a trust store and says what is odd in it.
pub fn trust_store(dir: &Path, test_keys: bool, output: &Output) -> Result<TrustStore> {
    let files = read_trust(dir)?;
    let store =
        TrustStore::from_files(files.keys, files.rules.as_deref(), test_keys).map_err(|e| trust_error(&e, dir))?;
    for warning in store.warnings() {
        output.warn(&warning.to_string(), dir, None);
    }
    Ok(store)
}

/// The trust store of a directory; an empty one where it cannot be read or used. Nothing is decided by it.
pub fn readable_store(dir: &Path) -> TrustStore {
    let store = read_trust(dir).ok().and_then(|f| TrustStore::from_files(f.keys, f.rules.as_deref(), true).ok());
    store.unwrap_or_default()
}

/// The names of the keys in a store, by their fingerprints.
pub fn names_in(store: &TrustStore) -> BTreeMap<Digest, String> {
    store.keys().map(|(key, who)| (key.fingerprint(), who.to_owned())).collect()
}

fn trust_error(fault: &TrustError, dir: &Path) -> Error {
    Error::usage(fault.to_string()).at(dir)
}

/// The passphrase: from its file, from systemd's credentials, or from a person at a terminal; never from elsewhere.
pub fn passphrase(key: &Path, file: Option<&Path>) -> Result<Zeroizing<Vec<u8>>> {
    let credential =
        settings::variable("CREDENTIALS_DIRECTORY").map(|d| PathBuf::from(d).join(CREDENTIAL)).filter(|p| p.exists());
    if let Some(path) = file.map(Path::to_owned).or(credential) {
        return from_file(&path);
    }
    if !io::stdin().is_terminal() {
        return Err(Error::usage("the key is encrypted, and there is no terminal to ask for its passphrase")
            .at(key)
            .advise(format!("give --passphrase-file FILE, or a systemd credential named {CREDENTIAL}")));
    }
    ask(&format!("passphrase of {}: ", key.display()))
}

/// A passphrase file holds one line. Its line end (LF or CR LF) and a byte order mark before it are not part of the
/// passphrase.
fn from_file(path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(
        disk::read_bounded_following(path, SETTINGS_FILE_MAX)
            .map_err(|e| Error::setting("read the passphrase", path, &e))?,
    );
    if bytes.starts_with(BYTE_ORDER_MARK) {
        bytes.drain(..BYTE_ORDER_MARK.len());
    }
    if bytes.ends_with(b"\n") {
        bytes.pop();
        if bytes.ends_with(b"\r") {
            bytes.pop();
        }
    }
    Ok(bytes)
}

/// Asks at the terminal, without showing what is typed.
#[expect(clippy::disallowed_methods, reason = "a terminal is asked, and it is to wait")]
pub fn ask(prompt: &str) -> Result<Zeroizing<Vec<u8>>> {
    let terminal = Path::new("/dev/tty");
    let fault = |e: &io::Error| Error::io("ask for the passphrase", terminal, e);
    let mut tty = File::options().read(true).write(true).open(terminal).map_err(|e| fault(&e))?;
    let before = tcgetattr(&tty).map_err(|e| fault(&e.into()))?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    tty.write_all(prompt.as_bytes()).map_err(|e| fault(&e))?;
    tcsetattr(&tty, OptionalActions::Flush, &silent).map_err(|e| fault(&e.into()))?;
    let mut line = Zeroizing::new(String::new());
    let read = BufReader::new(&tty).read_line(&mut line);
    let restored = tcsetattr(&tty, OptionalActions::Flush, &before);
    let _ = writeln!(&tty);
    read.map_err(|e| fault(&e))?;
    restored.map_err(|e| fault(&e.into()))?;
    Ok(Zeroizing::new(line.trim_end_matches(['\n', '\r']).as_bytes().to_vec()))
}
