use std::path::{Path, PathBuf};

use airpouch::disk;
use airpouch::error::{Error, Result};
use airpouch::random;
use airpouch::report::{ExitStatus, KeygenReport};
use airpouch::trust::PrivateKey;
use zeroize::Zeroizing;

use super::keys;
use super::output::Output;

/// Make a signing key and its public half
///
/// Writes NAME.key.pem (PKCS#8, mode 0600; keep it at the exporter) and NAME.pub.pem (for the importer's trust store).
/// Both are what openssl reads and writes. Nothing is ever overwritten.
#[derive(clap::Args, Debug)]
#[command(
    args_override_self = true,
    after_help = "Example:\n  airpouch keygen --out /etc/airpouch/site-a\n  airpouch keygen --out /etc/airpouch/site-a --passphrase-file /root/passphrase"
)]
pub struct Args {
    /// Path and beginning of the two names
    #[arg(long, value_name = "NAME")]
    out: PathBuf,
    /// Encrypt the private key, asking for a passphrase
    #[arg(long)]
    encrypt: bool,
    /// Encrypt the private key with the passphrase in this file
    #[arg(long, value_name = "FILE", env = "AIRPOUCH_PASSPHRASE_FILE")]
    passphrase_file: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

pub fn run(args: &Args, output: &Output) -> Result<ExitStatus> {
    let name = args
        .out
        .file_name()
        .and_then(|n| n.to_str())
        .ok_or_else(|| Error::usage("--out wants a path that ends in a name"))?;
    let dir = args.out.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (private, public) = (format!("{name}.key.pem"), format!("{name}.pub.pem"));
    let (private_path, public_path) = (dir.join(&private), dir.join(&public));
    let key = match (private_path.exists(), public_path.exists()) {
        (false, false) => {
            let seed = Zeroizing::new(random::bytes::<32>()?);
            let key = PrivateKey::from_seed(*seed);
            disk::write_secret(dir, &private, pem(&key, args)?.as_bytes())?;
            key
        }
        // A run that ended between the two files: the private key is whole, only its public half is missing.
        (true, false) => keys::private_key(&private_path, args.passphrase_file.as_deref(), true, output)?,
        (_, true) => {
            let there = if private_path.exists() { &private_path } else { &public_path };
            return Err(Error::usage("a key is there already; it was not overwritten")
                .at(there)
                .advise("choose another name with --out"));
        }
    };
    let half = key.public();
    disk::write_new(dir, &public, half.to_pem().as_bytes())?;
    Ok(output.show(&KeygenReport {
        private_key: private_path.display().to_string(),
        public_key: public_path.display().to_string(),
        id: half.id(),
        fingerprint: half.fingerprint().to_string(),
    }))
}

fn pem(key: &PrivateKey, args: &Args) -> Result<Zeroizing<String>> {
    let passphrase = match (&args.passphrase_file, args.encrypt) {
        (None, false) => return Ok(key.to_pem()),
        (Some(_), _) => keys::passphrase(&args.out, args.passphrase_file.as_deref())?,
        (None, true) => {
            let first = keys::passphrase(&args.out, None)?;
            if *first != *keys::ask("once more: ")? {
                return Err(Error::usage("the two passphrases differ; nothing was written"));
            }
            first
        }
    };
    if passphrase.is_empty() {
        return Err(Error::usage("the passphrase is empty; nothing was written"));
    }
    Ok(key.to_encrypted_pem(&passphrase, random::bytes()?, random::bytes()?))
}
