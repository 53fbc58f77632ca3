//! Keys and signatures against the `openssl` program, in both directions.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use airpouch::trust::{KeyError, PrivateKey, PublicKey};
use tempfile::TempDir;

const PASSPHRASE: &[u8] = b"correct-horse";
const MESSAGE: &[u8] = b"{\"airpouch\":\"batch/1\",\"stream\":\"x\"}";

/// Runs openssl in a folder; arguments are given as one text, since none has a space in it.
fn try_openssl(folder: &Path, arguments: &str) -> Output {
    let mut command = Command::new("openssl");
    command.current_dir(folder).args(arguments.split(' '));
    command.output().expect("openssl is there")
}

fn openssl(folder: &Path, arguments: &str) -> Vec<u8> {
    let output = try_openssl(folder, arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {arguments}: {stderr}");
    output.stdout
}

/// A folder with `k.pem`, an Ed25519 key that openssl made, `p.pem`, its public half, and `pass`.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("pass"), PASSPHRASE).unwrap();
    openssl(folder.path(), "genpkey -algorithm ed25519 -out k.pem");
    openssl(folder.path(), "pkey -in k.pem -pubout -out p.pem");
    folder
}

fn read(folder: &TempDir, name: &str) -> Vec<u8> {
    fs::read(folder.path().join(name)).unwrap()
}

fn private(folder: &TempDir, name: &str) -> Result<PrivateKey, KeyError> {
    PrivateKey::from_pem(&read(folder, name), Some(PASSPHRASE))
}

fn public(folder: &TempDir, name: &str) -> Result<PublicKey, KeyError> {
    PublicKey::from_pem(&read(folder, name))
}

#[test]
fn keys_that_openssl_made_are_read_and_written_byte_for_byte() {
    let folder = folder();
    let key = private(&folder, "k.pem").unwrap();
    let half = public(&folder, "p.pem").unwrap();
    assert_eq!(key.public(), half);
    assert_eq!(key.to_pem().as_bytes(), read(&folder, "k.pem"));
    assert_eq!(half.to_pem().as_bytes(), read(&folder, "p.pem"));
    openssl(folder.path(), "pkey -pubin -in p.pem -outform DER -out p.der");
    let sum = openssl(folder.path(), "dgst -sha256 -r p.der");
    assert!(sum.starts_with(half.fingerprint().to_string().as_bytes()));
    assert!(sum.starts_with(half.id().as_bytes()));
}

#[test]
fn keys_that_we_made_are_read_by_openssl() {
    let folder = tempfile::tempdir().unwrap();
    let key = PrivateKey::from_seed([7; 32]);
    fs::write(folder.path().join("k.pem"), key.to_pem().as_bytes()).unwrap();
    let half = openssl(folder.path(), "pkey -in k.pem -pubout");
    assert_eq!(half, key.public().to_pem().as_bytes());

    let encrypted = key.to_encrypted_pem(PASSPHRASE, [1; 16], [2; 16]);
    fs::write(folder.path().join("e.pem"), encrypted.as_bytes()).unwrap();
    fs::write(folder.path().join("pass"), PASSPHRASE).unwrap();
    let opened = openssl(folder.path(), "pkey -in e.pem -passin file:pass");
    assert_eq!(opened, key.to_pem().as_bytes());
    let parsed = openssl(folder.path(), "asn1parse -in e.pem");
    let parsed = String::from_utf8(parsed).unwrap();
    for part in ["PBES2", "PBKDF2", ":0927C0", "hmacWithSHA256", "aes-256-cbc"] {
        assert!(parsed.contains(part), "{part}: {parsed}");
    }
}

#[test]
fn keys_that_openssl_encrypted_are_opened() {
    let folder = folder();
    let key = public(&folder, "p.pem").unwrap();
    for scheme in [
        "-v2 aes-256-cbc -v2prf hmacWithSHA256",
        "-v2 aes-256-cbc -v2prf hmacWithSHA512 -iter 600000",
        "-v2 aes-128-cbc -v2prf hmacWithSHA256",
        "-v2 aes-192-cbc -v2prf hmacWithSHA256",
        "-scrypt",
        "-scrypt -scrypt_N 1024 -scrypt_r 8 -scrypt_p 16",
    ] {
        let arguments = format!("pkcs8 -topk8 -in k.pem -passout file:pass -out e.pem {scheme}");
        openssl(folder.path(), &arguments);
        assert!(PrivateKey::is_encrypted(&read(&folder, "e.pem")));
        assert_eq!(private(&folder, "e.pem").unwrap().public(), key, "{scheme}");
        let wrong = PrivateKey::from_pem(&read(&folder, "e.pem"), Some(b"x")).unwrap_err();
        assert_eq!(wrong, KeyError::WrongPassphrase, "{scheme}");
    }
    let make = "genpkey -algorithm ed25519 -aes-256-cbc -pass file:pass -out g.pem";
    openssl(folder.path(), make);
    assert!(private(&folder, "g.pem").is_ok());
}

#[test]
fn an_encryption_that_we_do_not_read_is_named_and_the_advice_helps() {
    let folder = folder();
    let key = public(&folder, "p.pem").unwrap();
    for (scheme, name) in [
        ("-v2 des3", "3DES"),
        ("-v2 aes-256-cbc -v2prf hmacWithSHA1", "PBKDF2 with SHA-1"),
        ("-v1 PBE-SHA1-3DES", "PKCS#12's 3DES"),
    ] {
        let arguments = format!("pkcs8 -topk8 -in k.pem -passout file:pass -out e.pem {scheme}");
        openssl(folder.path(), &arguments);
        let error = private(&folder, "e.pem").unwrap_err();
        assert_eq!(error, KeyError::UnsupportedEncryption(name.to_owned()));

        let text = error.to_string();
        let advice = &text[text.find("openssl pkcs8").unwrap() + "openssl ".len()..];
        let passes = "-passin file:pass -passout pass:correct-horse";
        let arguments = format!("{advice} -in e.pem {passes} -out n.pem");
        openssl(folder.path(), &arguments);
        assert_eq!(private(&folder, "n.pem").unwrap().public(), key);
    }
}

#[test]
fn signatures_of_openssl_and_airpouch_are_equal_and_valid_for_both() {
    let folder = folder();
    fs::write(folder.path().join("m"), MESSAGE).unwrap();
    openssl(folder.path(), "pkeyutl -sign -rawin -in m -inkey k.pem -out theirs");
    let ours = private(&folder, "k.pem").unwrap().sign(MESSAGE);
    assert_eq!(read(&folder, "theirs"), ours.bytes());
    fs::write(folder.path().join("ours"), ours.bytes()).unwrap();
    let verify = "pkeyutl -verify -rawin -in m -pubin -inkey p.pem -sigfile ours";
    openssl(folder.path(), verify);

    fs::write(folder.path().join("m"), b"changed").unwrap();
    assert!(!try_openssl(folder.path(), verify).status.success());
    assert!(!public(&folder, "p.pem").unwrap().verifies(b"changed", &ours));
}

#[test]
fn keys_of_other_algorithms_are_named() {
    let folder = tempfile::tempdir().unwrap();
    for (make, name) in [
        ("-algorithm RSA -pkeyopt rsa_keygen_bits:1024", "RSA"),
        ("-algorithm EC -pkeyopt ec_paramgen_curve:P-256", "EC (ECDSA)"),
        ("-algorithm X25519", "X25519"),
        ("-algorithm ED448", "Ed448"),
    ] {
        openssl(folder.path(), &format!("genpkey {make} -out k.pem"));
        openssl(folder.path(), "pkey -in k.pem -pubout -out p.pem");
        let expected = KeyError::OtherAlgorithm(name.to_owned());
        assert_eq!(private(&folder, "k.pem").unwrap_err(), expected);
        assert_eq!(public(&folder, "p.pem").unwrap_err(), expected);
    }
    openssl(folder.path(), "genrsa -traditional -out k.pem 1024");
    let expected = KeyError::OtherAlgorithm("RSA".to_owned());
    assert_eq!(private(&folder, "k.pem").unwrap_err(), expected);
}

#[test]
fn key_with_text_of_openssl_is_read_and_a_certificate_is_named() {
    let folder = folder();
    openssl(folder.path(), "pkey -in k.pem -text -out t.pem");
    openssl(folder.path(), "pkey -pubin -in p.pem -text -out u.pem");
    let key = public(&folder, "p.pem").unwrap();
    assert_eq!(private(&folder, "t.pem").unwrap().public(), key);
    assert_eq!(public(&folder, "u.pem").unwrap(), key);
    openssl(folder.path(), "req -x509 -new -key k.pem -subj /CN=x -out c.pem");
    let error = public(&folder, "c.pem").unwrap_err().to_string();
    assert!(error.contains("openssl x509 -noout -pubkey"), "{error}");
}

#[test]
fn openssl_accepts_a_forgery_under_a_weak_key_and_we_never_load_that_key() {
    let folder = tempfile::tempdir().unwrap();
    // The identity as key and as R, S = 0: RFC 8032's equation holds for every message.
    let mut point = [0; 32];
    point[0] = 1;
    let mut der = vec![48, 42, 48, 5, 6, 3, 43, 101, 112, 3, 33, 0];
    der.extend(point);
    fs::write(folder.path().join("p.der"), der).unwrap();
    let mut forgery = [0; 64];
    forgery[..32].copy_from_slice(&point);
    fs::write(folder.path().join("sig"), forgery).unwrap();
    fs::write(folder.path().join("m"), b"anything").unwrap();
    openssl(folder.path(), "pkey -pubin -inform DER -in p.der -out p.pem");
    let verify = "pkeyutl -verify -rawin -in m -pubin -inkey p.pem -sigfile sig";
    openssl(folder.path(), verify);
    assert_eq!(public(&folder, "p.pem").unwrap_err(), KeyError::Weak);
}
