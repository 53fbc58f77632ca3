//! Ed25519 keys (RFC 8032), and the PEM files in which OpenSSL and we keep them.
//!
//! Private keys are PKCS#8 (RFC 5958, for Ed25519 RFC 8410), as they are or encrypted with PBES2 (RFC 8018)
//! by PBKDF2 or scrypt (RFC 7914). Public keys are SubjectPublicKeyInfo (RFC 8410). What people do to such
//! files by accident is borne: other line ends, a byte order mark, notes before and after the key.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use pkcs8::der::asn1::{AnyRef, OctetStringRef};
use pkcs8::der::{Decode as _, Encode as _, ErrorKind, pem};
use pkcs8::pkcs5::{self, pbes2};
use pkcs8::spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};
use pkcs8::{EncryptedPrivateKeyInfoRef, LineEnding, ObjectIdentifier, PrivateKeyInfoRef};
use zeroize::Zeroizing;

use crate::digest::Digest;

/// An Ed25519 public key (RFC 8032) that is fit to be trusted: of large order and without torsion.
/// It is compared, ordered and counted by its 32 bytes.
#[derive(Clone)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Reads a file that holds one SubjectPublicKeyInfo (RFC 8410), in PEM or in DER.
    ///
    /// # Errors
    /// Any [`KeyError`] but those about passphrases; a private key is [`KeyError::IsPrivate`].
    pub fn from_pem(text: &[u8]) -> Result<Self, KeyError> {
        let block = PemBlock::find(text)?;
        match block.label.as_str() {
            "PUBLIC KEY" => {}
            "PRIVATE KEY" | "ENCRYPTED PRIVATE KEY" => return Err(KeyError::IsPrivate),
            _ => return Err(block.unexpected()),
        }
        let info = SubjectPublicKeyInfoRef::from_der(&block.der).map_err(malformed)?;
        require_ed25519(info.algorithm.oid, info.algorithm.parameters.is_some())?;
        let bytes = info.subject_public_key.as_bytes();
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        Self::from_bytes(bytes.ok_or_else(not_32_bytes)?)
    }

    /// The key that these 32 bytes are (RFC 8032, section 5.1.5).
    ///
    /// # Errors
    /// [`KeyError::Malformed`] if they are no point of the curve. [`KeyError::Weak`] if the point is of small
    /// order or has torsion: under such keys a signature can be made to hold for messages that nobody signed,
    /// or to hold for one verifier and not for another.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        let key = VerifyingKey::from_bytes(bytes)
            .map_err(|_| KeyError::Malformed("the bytes are no point of the curve".to_owned()))?;
        // This also leaves each key one byte form, so that none counts as two signers: every point that has a
        // second encoding has torsion or is of small order. A test goes through all of them.
        if key.is_weak() || !key.to_edwards().is_torsion_free() {
            return Err(KeyError::Weak);
        }
        Ok(Self(key))
    }

    /// The 32 bytes of the key.
    pub fn bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The SHA-256 of the key's SubjectPublicKeyInfo in DER: what
    /// `openssl pkey -pubin -outform DER | sha256sum` prints.
    pub fn fingerprint(&self) -> Digest {
        Digest::of(&self.spki())
    }

    /// The key id: the first 16 hex digits of the fingerprint. It finds files and names keys to people; it
    /// is never compared where trust is decided.
    pub fn id(&self) -> String {
        self.fingerprint().to_string()[..16].to_owned()
    }

    /// The PEM file of the key, byte for byte as OpenSSL writes it.
    pub fn to_pem(&self) -> String {
        encode_pem("PUBLIC KEY", &self.spki())
    }

    /// Whether this is the key's signature over the message. Verification is strict: no S past the group's
    /// order (RFC 8032, section 5.1.7), no R of small order, no cofactor.
    pub fn verifies(&self, message: &[u8], signature: &Signature) -> bool {
        let Signature::Ed25519(bytes) = signature;
        self.0.verify_strict(message, &ed25519_dalek::Signature::from_bytes(bytes)).is_ok()
    }

    /// The canonical DER of RFC 8410, section 4: a fixed head and the 32 bytes.
    fn spki(&self) -> [u8; 44] {
        let mut der = [0; 44];
        der[..12].copy_from_slice(&SPKI_HEAD);
        der[12..].copy_from_slice(self.bytes());
        der
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for PublicKey {}

impl PartialOrd for PublicKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for PublicKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.bytes().cmp(other.bytes())
    }
}

impl Hash for PublicKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.bytes().hash(state);
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.id())
    }
}

/// An Ed25519 private key (RFC 8032). Its seed is wiped from memory when it is dropped, and is never printed.
pub struct PrivateKey(SigningKey);

impl PrivateKey {
    /// The key of this seed: 32 bytes of good randomness.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let seed = Zeroizing::new(seed);
        Self(SigningKey::from_bytes(&seed))
    }

    /// Reads a file that holds one private key, in PEM or in DER: PKCS#8 version 1 or 2 (RFC 5958, RFC 8410), as it is or
    /// encrypted with PBES2 (RFC 8018). A passphrase that is not needed is not used.
    ///
    /// # Errors
    /// [`KeyError::Encrypted`] if a passphrase is needed and none was given, [`KeyError::WrongPassphrase`]
    /// if it does not fit, [`KeyError::UnsupportedEncryption`] for schemes that we do not read,
    /// [`KeyError::OtherPublicHalf`] if the file names another public key than its own, and what
    /// [`PublicKey::from_pem`] may say.
    pub fn from_pem(text: &[u8], passphrase: Option<&[u8]>) -> Result<Self, KeyError> {
        let block = PemBlock::find(text)?;
        match block.label.as_str() {
            "PRIVATE KEY" => {
                let info = PrivateKeyInfoRef::from_der(&block.der).map_err(malformed)?;
                Self::from_info(&info)
            }
            "ENCRYPTED PRIVATE KEY" => {
                let passphrase = passphrase.ok_or(KeyError::Encrypted)?;
                let der = decrypt(&block.der, passphrase)?;
                // One wrong passphrase in 256 leaves what looks like padding; what is below is then no key.
                let info = PrivateKeyInfoRef::from_der(&der);
                Self::from_info(&info.map_err(|_| KeyError::WrongPassphrase)?)
            }
            "PUBLIC KEY" => Err(KeyError::IsPublic),
            _ => Err(block.unexpected()),
        }
    }

    /// Whether reading this file takes a passphrase.
    pub fn is_encrypted(text: &[u8]) -> bool {
        PemBlock::find(text).is_ok_and(|block| block.label == "ENCRYPTED PRIVATE KEY")
    }

    /// The PEM file of the key: PKCS#8 version 1, byte for byte as `openssl genpkey` writes it (version 2,
    /// with the public half in it, is what OpenSSL 3.0 cannot read).
    pub fn to_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(encode_pem("PRIVATE KEY", self.pkcs8().as_slice()))
    }

    /// The PEM file of the key, encrypted with PBES2 (RFC 8018): PBKDF2 with HMAC-SHA-256 and 600,000
    /// rounds, AES-256-CBC. Salt and iv are randomness that was never used before.
    pub fn to_encrypted_pem(&self, passphrase: &[u8], salt: [u8; 16], iv: [u8; 16]) -> Zeroizing<String> {
        let scheme = pbes2::Parameters::generate_pbkdf2_sha256_aes256cbc(PBKDF2_ROUNDS, &salt, iv)
            .expect("16 bytes are a salt, and the rounds are below the limit");
        let encrypted = scheme.encrypt(passphrase, self.pkcs8().as_slice()).expect("48 bytes can be encrypted");
        let info = EncryptedPrivateKeyInfoRef {
            encryption_algorithm: scheme.into(),
            encrypted_data: OctetStringRef::new(&encrypted).expect("64 bytes are few"),
        };
        let der = info.to_der().expect("what was just made has a DER form");
        Zeroizing::new(encode_pem("ENCRYPTED PRIVATE KEY", &der))
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// The signature over the message (RFC 8032, section 5.1.6): the same message has the same signature.
    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature::Ed25519(self.0.sign(message).to_bytes())
    }

    fn from_info(info: &PrivateKeyInfoRef<'_>) -> Result<Self, KeyError> {
        require_ed25519(info.algorithm.oid, info.algorithm.parameters.is_some())?;
        let seed = <&OctetStringRef>::from_der(info.private_key.as_bytes()).map_err(malformed)?;
        let seed: &[u8; 32] = seed.as_bytes().try_into().map_err(|_| not_32_bytes())?;
        let key = Self(SigningKey::from_bytes(seed));
        match info.public_key {
            Some(half) if half.as_bytes() != Some(&key.0.verifying_key().to_bytes()[..]) => {
                Err(KeyError::OtherPublicHalf)
            }
            _ => Ok(key),
        }
    }

    /// The 48 bytes of RFC 8410, section 7: a fixed head and the seed.
    fn pkcs8(&self) -> Zeroizing<[u8; 48]> {
        let mut der = Zeroizing::new([0; 48]);
        der[..16].copy_from_slice(&PKCS8_HEAD);
        der[16..].copy_from_slice(self.0.as_bytes());
        der
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey(of {})", self.public().id())
    }
}

/// A signature. Another algorithm is another variant, and a length of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signature {
    /// 64 raw bytes (RFC 8032, section 5.1.6).
    Ed25519([u8; 64]),
}

impl Signature {
    /// Bytes of the shortest signature that there is.
    pub const SHORTEST: u64 = 64;
    /// Bytes of the longest one.
    pub const LONGEST: u64 = 64;

    /// Whether a signature can have so many bytes.
    pub fn may_have(bytes: u64) -> bool {
        bytes == 64
    }

    /// The signature in a file, which holds its bytes and nothing else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self::Ed25519)
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Ed25519(bytes) => bytes,
        }
    }
}

/// Why a file is no key that can be used, as a phrase that goes on from the file's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// There is no PEM block in it.
    #[error("holds no PEM key: no line that begins with -----BEGIN, or no -----END line after it")]
    NoPem,
    /// There is more than one PEM block in it.
    #[error("holds more than one PEM block: put each key into a file of its own")]
    TwoKeys,
    /// A public key was wanted.
    #[error(
        "is a private key where a public key belongs: make the public one with openssl pkey -pubout, and keep this one secret"
    )]
    IsPrivate,
    /// A private key was wanted.
    #[error("is a public key where a private key belongs: give the .key.pem file that goes with it")]
    IsPublic,
    /// A key, but not of Ed25519; the algorithm's name or object identifier.
    #[error("is a key for {0}, not for Ed25519: make one with airpouch keygen or openssl genpkey -algorithm ed25519")]
    OtherAlgorithm(String),
    /// No passphrase was given.
    #[error("is encrypted: give its passphrase, with --passphrase-file or at a terminal")]
    Encrypted,
    /// The passphrase does not open it.
    #[error("does not open with this passphrase: wrong passphrase, or the file is damaged")]
    WrongPassphrase,
    /// The scheme it is encrypted with.
    #[error(
        "is encrypted with {0}, which is not supported: convert it with openssl pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA256"
    )]
    UnsupportedEncryption(String),
    /// The block is not what its label says.
    #[error("is damaged or of another kind ({0}): take a fresh copy of the file")]
    Malformed(String),
    /// PKCS#8 version 2 whose two halves are of different keys.
    #[error("holds a public half that is not its own: never use this key, make a new one")]
    OtherPublicHalf,
    /// Small order or torsion.
    #[error("is a weak key (small order or torsion), under which signatures can be forged: never trust it")]
    Weak,
}

/// Whether this is one of the keys in `keys/` of the source tree. Everybody has their private halves, so
/// they are refused unless they are asked for by `--test-keys`.
pub fn is_published_test_key(key: &PublicKey) -> bool {
    PUBLISHED_TEST_KEYS.contains(key.bytes())
}

/// `keys/test-a.pub.pem` and `keys/test-b.pub.pem`.
const PUBLISHED_TEST_KEYS: [[u8; 32]; 2] = [
    [
        0x7c, 0x6d, 0x71, 0xe1, 0x77, 0xa9, 0x93, 0x41, 0x85, 0x9b, 0x62, 0x61, 0xe5, 0xd2, 0x6e, 0x5e, 0xa8, 0x32,
        0xcd, 0xce, 0xaa, 0xa1, 0xf5, 0xed, 0x3b, 0xa9, 0xea, 0xa6, 0xed, 0x23, 0x4d, 0xd9,
    ],
    [
        0x6a, 0xe8, 0xad, 0x78, 0x77, 0x2f, 0xfe, 0x38, 0x41, 0xa7, 0x65, 0xc0, 0x10, 0x43, 0x8b, 0x3b, 0xb0, 0x44,
        0xfa, 0xa9, 0xe9, 0x6a, 0x96, 0x55, 0x68, 0x2f, 0x51, 0xb1, 0xc7, 0xdb, 0x64, 0x94,
    ],
];

/// SEQUENCE { SEQUENCE { OID 1.3.101.112 }, BIT STRING of 32 bytes }.
const SPKI_HEAD: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// SEQUENCE { INTEGER 0, SEQUENCE { OID 1.3.101.112 }, OCTET STRING { OCTET STRING of 32 bytes } }.
const PKCS8_HEAD: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// id-Ed25519 (RFC 8410, section 3).
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// Rounds of PBKDF2 in the files we write: about 60 ms.
const PBKDF2_ROUNDS: u32 = 600_000;

/// Rounds of PBKDF2 in files we read: about a second, 16 times what we write.
const PBKDF2_ROUNDS_MAX: u32 = 10_000_000;

/// Memory of scrypt, 128 * N * r (RFC 7914): OpenSSL's own default limit is 32 MiB.
const SCRYPT_MEMORY_MAX: u64 = 1 << 30;

/// Work of scrypt, N * r * p: some seconds, 128 times what OpenSSL writes.
const SCRYPT_WORK_MAX: u64 = 1 << 24;

/// The one PEM block (RFC 7468) of a file.
struct PemBlock {
    label: String,
    der: Zeroizing<Vec<u8>>,
}

impl PemBlock {
    /// Finds the block and decodes it. The strict reader is given a block written anew, since a byte order
    /// mark, blank lines, odd line lengths and text around the block are what people's files have.
    fn find(text: &[u8]) -> Result<Self, KeyError> {
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let mut lines = text.split(|&byte| byte == b'\n' || byte == b'\r').map(<[u8]>::trim_ascii);
        let Some(label) = lines.by_ref().find_map(label_of) else { return Self::of_der(text) };
        let label = String::from_utf8(label.to_vec()).map_err(|_| KeyError::NoPem)?;
        let end = format!("-----END {label}-----");
        let mut body = Zeroizing::new(Vec::with_capacity(text.len()));
        loop {
            let line = lines.next().ok_or(KeyError::NoPem)?;
            if line == end.as_bytes() {
                break;
            }
            if label_of(line).is_some() {
                return Err(KeyError::TwoKeys);
            }
            body.extend(line.iter().copied().filter(|byte| !byte.is_ascii_whitespace()));
        }
        if lines.any(|line| label_of(line).is_some()) {
            return Err(KeyError::TwoKeys);
        }
        let der = match label.as_str() {
            "PUBLIC KEY" | "PRIVATE KEY" | "ENCRYPTED PRIVATE KEY" => decode(&label, &body)?,
            // What is of no use to us need not be well-formed to be named.
            _ => Zeroizing::default(),
        };
        Ok(Self { label, der })
    }

    /// The block that a file in DER would be, by what it holds.
    fn of_der(bytes: &[u8]) -> Result<Self, KeyError> {
        let label = if SubjectPublicKeyInfoRef::from_der(bytes).is_ok() {
            "PUBLIC KEY"
        } else if PrivateKeyInfoRef::from_der(bytes).is_ok() {
            "PRIVATE KEY"
        } else if EncryptedPrivateKeyInfoRef::from_der(bytes).is_ok() {
            "ENCRYPTED PRIVATE KEY"
        } else if bytes.starts_with(b"ssh-") {
            return Err(KeyError::Malformed("a key in the form of OpenSSH, not PEM".to_owned()));
        } else {
            return Err(KeyError::NoPem);
        };
        Ok(Self { label: label.to_owned(), der: Zeroizing::new(bytes.to_vec()) })
    }

    /// What to say of a block that is no key we could use.
    fn unexpected(&self) -> KeyError {
        let what = match self.label.as_str() {
            "OPENSSH PRIVATE KEY" => "a key in the form of OpenSSH, not PKCS#8",
            "CERTIFICATE" | "TRUSTED CERTIFICATE" => {
                "a certificate; its key comes out with openssl x509 -noout -pubkey"
            }
            label => {
                // The older forms bear the algorithm in their label: RSA PRIVATE KEY, EC PARAMETERS.
                return match label.split(' ').next() {
                    Some(name @ ("RSA" | "EC" | "DSA" | "DH" | "X25519")) => KeyError::OtherAlgorithm(name.to_owned()),
                    _ => KeyError::Malformed(format!("a PEM block {label:?}")),
                };
            }
        };
        KeyError::Malformed(what.to_owned())
    }
}

/// The label of a line `-----BEGIN LABEL-----`.
fn label_of(line: &[u8]) -> Option<&[u8]> {
    line.strip_prefix(b"-----BEGIN ")?.strip_suffix(b"-----")
}

/// Decodes base64 by the strict PEM reader, from lines of 64.
fn decode(label: &str, body: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let mut text = Zeroizing::new(Vec::with_capacity(body.len() * 2 + 128));
    text.extend_from_slice(format!("-----BEGIN {label}-----\n").as_bytes());
    for line in body.chunks(64) {
        text.extend_from_slice(line);
        text.push(b'\n');
    }
    text.extend_from_slice(format!("-----END {label}-----\n").as_bytes());
    match pem::decode_vec(&text) {
        Ok((_, der)) => Ok(Zeroizing::new(der)),
        Err(error) => Err(KeyError::Malformed(error.to_string())),
    }
}

fn encode_pem(label: &str, der: &[u8]) -> String {
    pem::encode_string(label, LineEnding::LF, der).expect("labels of ours, and few bytes")
}

/// Decrypts a PKCS#8 EncryptedPrivateKeyInfo (RFC 5958, section 3).
fn decrypt(der: &[u8], passphrase: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let unsupported = |oid| KeyError::UnsupportedEncryption(scheme_name(oid));
    // The scheme's name first: what is no PKCS#5 scheme at all would only be called malformed below.
    let outer = AnyRef::from_der(der).and_then(|info| {
        info.sequence(|parts| {
            let scheme = AlgorithmIdentifierRef::decode(parts)?;
            AnyRef::decode(parts)?;
            Ok::<_, pkcs8::der::Error>(scheme.oid)
        })
    });
    let outer = outer.map_err(malformed)?;
    if outer != pbes2::PBES2_OID {
        return Err(unsupported(outer));
    }
    let info = EncryptedPrivateKeyInfoRef::from_der(der).map_err(|error| match error.kind() {
        ErrorKind::OidUnknown { oid } => unsupported(oid),
        _ => malformed(error),
    })?;
    let Some(scheme) = info.encryption_algorithm.pbes2() else {
        return Err(unsupported(outer));
    };
    refuse_unbounded_work(&scheme.kdf)?;
    match scheme.decrypt(passphrase, info.encrypted_data.as_bytes()) {
        Ok(der) => Ok(Zeroizing::new(der)),
        Err(pkcs5::Error::DecryptFailed) => Err(KeyError::WrongPassphrase),
        Err(pkcs5::Error::UnsupportedAlgorithm { oid }) => Err(unsupported(oid)),
        Err(error) => Err(KeyError::Malformed(error.to_string())),
    }
}

/// A key file says itself how much work its passphrase costs: no file may make a run hang. And numbers that
/// are out of form stop here, since pkcs5 0.8.1 panics where scrypt's N is 0.
fn refuse_unbounded_work(kdf: &pbes2::Kdf) -> Result<(), KeyError> {
    let too_much = |what: String| Err(KeyError::UnsupportedEncryption(what));
    let malformed = |what: &str| Err(KeyError::Malformed(what.to_owned()));
    match kdf {
        pbes2::Kdf::Pbkdf2(p) => match p.iteration_count {
            0 => malformed("no rounds of PBKDF2"),
            1..=PBKDF2_ROUNDS_MAX => Ok(()),
            rounds => too_much(format!("{rounds} rounds of PBKDF2")),
        },
        pbes2::Kdf::Scrypt(p) => {
            let (n, r, p) = (p.cost_parameter, p.block_size, p.parallelization);
            if n < 2 || !n.is_power_of_two() || r == 0 || p == 0 {
                return malformed("scrypt's N is a power of two, its r and p are not 0");
            }
            let blocks = n.saturating_mul(u64::from(r));
            let work = blocks.saturating_mul(u64::from(p));
            if blocks > SCRYPT_MEMORY_MAX / 128 || work > SCRYPT_WORK_MAX {
                return too_much(format!("scrypt of great cost (N {n}, r {r}, p {p})"));
            }
            Ok(())
        }
        _ => too_much("an unknown key derivation".to_owned()),
    }
}

fn require_ed25519(oid: ObjectIdentifier, has_parameters: bool) -> Result<(), KeyError> {
    if oid != ED25519 {
        return Err(KeyError::OtherAlgorithm(algorithm_name(oid)));
    }
    if has_parameters {
        // RFC 8410, section 3: the parameters MUST be absent; with them a key would have a second DER form.
        return Err(KeyError::Malformed("parameters where Ed25519 has none".to_owned()));
    }
    Ok(())
}

fn algorithm_name(oid: ObjectIdentifier) -> String {
    let oid = oid.to_string();
    let name = match oid.as_str() {
        "1.2.840.113549.1.1.1" => "RSA",
        "1.2.840.113549.1.1.10" => "RSA-PSS",
        "1.2.840.10040.4.1" => "DSA",
        "1.2.840.113549.1.3.1" => "DH",
        "1.2.840.10045.2.1" => "EC (ECDSA)",
        "1.3.101.110" => "X25519",
        "1.3.101.111" => "X448",
        "1.3.101.113" => "Ed448",
        "2.16.840.1.101.3.4.3.17" => "ML-DSA-44",
        "2.16.840.1.101.3.4.3.18" => "ML-DSA-65",
        "2.16.840.1.101.3.4.3.19" => "ML-DSA-87",
        _ => return oid,
    };
    name.to_owned()
}

fn scheme_name(oid: ObjectIdentifier) -> String {
    let oid = oid.to_string();
    let name = match oid.as_str() {
        "1.2.840.113549.3.7" => "3DES",
        "1.3.14.3.2.7" => "DES",
        "1.2.840.113549.3.2" => "RC2",
        "1.2.840.113549.2.7" => "PBKDF2 with SHA-1",
        "1.2.840.113549.1.5.1" | "1.2.840.113549.1.5.3" => "PBES1 with DES",
        "1.2.840.113549.1.5.4" | "1.2.840.113549.1.5.6" => "PBES1 with RC2",
        "1.2.840.113549.1.5.10" => "PBES1 with SHA-1 and DES",
        "1.2.840.113549.1.5.11" => "PBES1 with SHA-1 and RC2",
        "1.2.840.113549.1.12.1.3" | "1.2.840.113549.1.12.1.4" => "PKCS#12's 3DES",
        _ => return format!("the scheme {oid}"),
    };
    name.to_owned()
}

fn malformed(error: pkcs8::der::Error) -> KeyError {
    KeyError::Malformed(error.to_string())
}

fn not_32_bytes() -> KeyError {
    KeyError::Malformed("an Ed25519 key has 32 bytes, this one has not".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All encodings of the eight points of small order, the alternative ones too.
    const SMALL_ORDER: [&str; 14] = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000080",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    ];

    fn hex(text: &str) -> Vec<u8> {
        let digits = text.as_bytes().chunks(2);
        let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.map(byte).collect()
    }

    fn hex32(text: &str) -> [u8; 32] {
        hex(text).try_into().unwrap()
    }

    fn key(number: u8) -> PrivateKey {
        PrivateKey::from_seed([number; 32])
    }

    fn public_error(text: &[u8]) -> KeyError {
        PublicKey::from_pem(text).unwrap_err()
    }

    fn private_error(text: &str) -> KeyError {
        PrivateKey::from_pem(text.as_bytes(), Some(b"secret")).unwrap_err()
    }

    /// PKCS#8 version 2 of one key's seed with another's public half.
    fn version_2(seed_of: &PrivateKey, half_of: &PrivateKey) -> String {
        let mut der = vec![0x30, 0x51, 0x02, 0x01, 0x01];
        der.extend(&seed_of.pkcs8()[5..]);
        der.extend([0x81, 0x21, 0x00]);
        der.extend(half_of.public().bytes());
        encode_pem("PRIVATE KEY", &der)
    }

    fn encrypted(scheme: pbes2::Parameters, data: &[u8]) -> String {
        let info = EncryptedPrivateKeyInfoRef {
            encryption_algorithm: scheme.into(),
            encrypted_data: OctetStringRef::new(data).unwrap(),
        };
        encode_pem("ENCRYPTED PRIVATE KEY", &info.to_der().unwrap())
    }

    #[test]
    fn keys_and_signature_are_those_of_rfc_8032() {
        let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
        let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        let signature = "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b";
        let key = PrivateKey::from_seed(hex32(seed));
        assert_eq!(key.public().bytes(), &hex32(public));
        assert_eq!(key.sign(b"").bytes(), hex(signature));
        assert!(key.public().verifies(b"", &key.sign(b"")));
        assert!(!key.public().verifies(b"x", &key.sign(b"")));
    }

    #[test]
    fn a_private_key_is_written_as_in_rfc_8410_and_read_again() {
        let text = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";
        let key = PrivateKey::from_pem(text.as_bytes(), None).unwrap();
        assert_eq!(*key.to_pem(), text);
        let text = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";
        assert_eq!(key.public().to_pem(), text);
        assert_eq!(PublicKey::from_pem(text.as_bytes()).unwrap(), key.public());
    }

    #[test]
    fn version_2_is_read_and_a_foreign_public_half_is_not() {
        let (a, b) = (key(1), key(2));
        let read = PrivateKey::from_pem(version_2(&a, &a).as_bytes(), None).unwrap();
        assert_eq!(read.public(), a.public());
        assert_eq!(private_error(&version_2(&a, &b)), KeyError::OtherPublicHalf);
    }

    #[test]
    fn files_that_people_have_touched_are_read() {
        let key = key(1);
        let pem = key.public().to_pem();
        let crlf = pem.replace('\n', "\r\n");
        let in_one = pem.replacen("-----\nM", "-----\n\n\nM", 1);
        let wrapped = pem.replace("AyEA", "Ay\nEA");
        for text in [
            crlf.clone(),
            format!("\u{feff}{pem}"),
            format!("\u{feff}\r\n{crlf}"),
            format!("Key of site A\n\n{pem}\n\n\nED25519 Public-Key:\npub:\n  8a:88\n"),
            in_one,
            wrapped,
            pem.replace('\n', "  \n  "),
            pem.replace('\n', "\r"),
            pem.trim_end().to_owned(),
        ] {
            assert_eq!(PublicKey::from_pem(text.as_bytes()), Ok(key.public()), "{text:?}");
        }
        let private = key.to_pem().replace('\n', "\r\n");
        assert!(PrivateKey::from_pem(private.as_bytes(), None).is_ok());
    }

    #[test]
    fn a_wrong_file_is_told_by_what_it_is() {
        let pem = key(1).public().to_pem();
        let private = key(1).to_pem();
        assert_eq!(public_error(b""), KeyError::NoPem);
        assert_eq!(public_error(b"\xff\xfe\x00"), KeyError::NoPem);
        assert_eq!(public_error(&pem.as_bytes()[..60]), KeyError::NoPem);
        assert_eq!(public_error(format!("{pem}{pem}").as_bytes()), KeyError::TwoKeys);
        let both = format!("{}{pem}", *private);
        assert_eq!(public_error(both.as_bytes()), KeyError::TwoKeys);
        let unended = pem.replace("-----END PUBLIC KEY-----", &pem);
        assert_eq!(public_error(unended.as_bytes()), KeyError::TwoKeys);
        assert_eq!(public_error(private.as_bytes()), KeyError::IsPrivate);
        let encrypted = key(1).to_encrypted_pem(b"secret", [1; 16], [2; 16]);
        assert_eq!(public_error(encrypted.as_bytes()), KeyError::IsPrivate);
        assert_eq!(private_error(&pem), KeyError::IsPublic);
        let x25519 = pem.replace("K2VwAyEA", "K2VuAyEA");
        let expected = KeyError::OtherAlgorithm("X25519".to_owned());
        assert_eq!(public_error(x25519.as_bytes()), expected);
        let rsa = "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\n";
        assert_eq!(private_error(rsa), KeyError::OtherAlgorithm("RSA".to_owned()));
        let ssh = rsa.replace("RSA", "OPENSSH");
        assert!(private_error(&ssh).to_string().contains("OpenSSH"));
    }

    #[test]
    fn a_damaged_file_is_malformed_and_never_a_panic() {
        let der = key(1).public().spki();
        for cut in 0..der.len() {
            let text = encode_pem("PUBLIC KEY", &der[..cut]);
            assert!(matches!(public_error(text.as_bytes()), KeyError::Malformed(_)), "{cut}");
        }
        let mut longer = der.to_vec();
        longer.push(0);
        for der in [&longer[..], &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], &[0; 44]] {
            let text = encode_pem("PUBLIC KEY", der);
            assert!(matches!(public_error(text.as_bytes()), KeyError::Malformed(_)));
        }
        let text = key(1).public().to_pem().replace("MCow", "M!ow");
        assert!(matches!(public_error(text.as_bytes()), KeyError::Malformed(_)));
        let der = key(1).pkcs8();
        for cut in 0..der.len() {
            let text = encode_pem("PRIVATE KEY", &der[..cut]);
            assert!(matches!(private_error(&text), KeyError::Malformed(_)), "{cut}");
        }
    }

    #[test]
    fn parameters_that_would_give_a_key_a_second_form_are_refused() {
        let mut der = vec![0x30, 0x2c, 0x30, 0x07, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x05, 0x00];
        der.extend(&key(1).public().spki()[9..]);
        let text = encode_pem("PUBLIC KEY", &der);
        let error = public_error(text.as_bytes()).to_string();
        assert!(error.contains("parameters"), "{error}");
    }

    #[test]
    fn a_passphrase_opens_its_file_and_another_does_not() {
        let key = key(1);
        let text = key.to_encrypted_pem(b"secret", [1; 16], [2; 16]);
        let read = |passphrase| PrivateKey::from_pem(text.as_bytes(), passphrase);
        assert!(PrivateKey::is_encrypted(text.as_bytes()));
        assert!(!PrivateKey::is_encrypted(key.to_pem().as_bytes()));
        assert!(!PrivateKey::is_encrypted(b""));
        assert_eq!(read(Some(b"secret")).unwrap().public(), key.public());
        assert_eq!(read(None).unwrap_err(), KeyError::Encrypted);
        let wrong = read(Some(b"Secret")).unwrap_err();
        assert_eq!(wrong, KeyError::WrongPassphrase);
        assert!(wrong.to_string().contains("wrong passphrase"));
    }

    #[test]
    fn no_wrong_passphrase_looks_like_anything_else() {
        // Cheap rounds, so that enough are tried for some to leave valid padding by chance.
        let scheme = pbes2::Parameters::generate_pbkdf2_sha256_aes256cbc(1, &[1; 16], [2; 16]);
        let scheme = scheme.unwrap();
        let data = scheme.encrypt(b"secret", key(1).pkcs8().as_slice()).unwrap();
        let text = encrypted(scheme, &data);
        for n in 0..2000u32 {
            let error = PrivateKey::from_pem(text.as_bytes(), Some(&n.to_be_bytes())).unwrap_err();
            assert_eq!(error, KeyError::WrongPassphrase);
        }
    }

    #[test]
    fn a_key_file_that_asks_for_endless_work_is_refused_at_once() {
        let salt = pbes2::Salt::new(&[1; 16][..]).unwrap();
        let scrypt = |cost_parameter, block_size, parallelization| {
            pbes2::Kdf::Scrypt(pbes2::ScryptParams {
                salt,
                cost_parameter,
                block_size,
                parallelization,
                key_length: None,
            })
        };
        let pbkdf2 = pbes2::Pbkdf2Params::hmac_sha256(100_000_000, &[1; 16]).unwrap();
        for kdf in [
            pbkdf2.into(),
            scrypt(1 << 24, 8, 1),
            scrypt(1 << 14, 8, u16::MAX),
            scrypt(1 << 63, u16::MAX, u16::MAX),
            scrypt(2, u16::MAX, u16::MAX),
        ] {
            let encryption = pbes2::EncryptionScheme::Aes256Cbc { iv: [2; 16] };
            let text = encrypted(pbes2::Parameters { kdf, encryption }, &[0; 64]);
            let error = private_error(&text);
            assert!(matches!(error, KeyError::UnsupportedEncryption(_)), "{error}");
        }
        for kdf in [scrypt(0, 8, 1), scrypt(1, 8, 1), scrypt(3, 8, 1), scrypt(1 << 14, 0, 0)] {
            let encryption = pbes2::EncryptionScheme::Aes256Cbc { iv: [2; 16] };
            let text = encrypted(pbes2::Parameters { kdf, encryption }, &[0; 64]);
            let error = private_error(&text);
            assert!(matches!(error, KeyError::Malformed(_)), "{error}");
        }
    }

    #[test]
    fn no_bit_changed_in_an_encrypted_key_makes_a_panic() {
        let scheme = pbes2::Parameters::generate_pbkdf2_sha256_aes256cbc(1, &[1; 16], [2; 16]);
        let scheme = scheme.unwrap();
        let data = scheme.encrypt(b"secret", key(1).pkcs8().as_slice()).unwrap();
        let text = encrypted(scheme, &data);
        let der = PemBlock::find(text.as_bytes()).unwrap().der;
        for bit in 0..der.len() * 8 {
            let mut der = der.to_vec();
            der[bit / 8] ^= 1 << (bit % 8);
            let text = encode_pem("ENCRYPTED PRIVATE KEY", &der);
            // CBC has no check of its own: a change in the seed's blocks gives another key, which is then
            // in no trust store. All else is told.
            let _ = PrivateKey::from_pem(text.as_bytes(), Some(b"secret"));
        }
    }

    #[test]
    fn every_key_of_small_order_is_refused() {
        for text in SMALL_ORDER {
            assert_eq!(PublicKey::from_bytes(&hex32(text)), Err(KeyError::Weak), "{text}");
            let mut der = SPKI_HEAD.to_vec();
            der.extend(hex(text));
            let pem = encode_pem("PUBLIC KEY", &der);
            assert_eq!(public_error(pem.as_bytes()), KeyError::Weak, "{text}");
        }
    }

    #[test]
    fn every_good_key_with_torsion_added_is_refused() {
        let mut refused = 0;
        for number in 0..8 {
            let good = key(number).0.verifying_key().to_edwards();
            for text in SMALL_ORDER {
                let torsion = VerifyingKey::from_bytes(&hex32(text)).unwrap().to_edwards();
                let mixed = (good + torsion).compress().to_bytes();
                if mixed == good.compress().to_bytes() {
                    continue; // the identity, in its encodings
                }
                assert_eq!(PublicKey::from_bytes(&mixed), Err(KeyError::Weak));
                refused += 1;
            }
        }
        assert_eq!(refused, 8 * 10);
    }

    #[test]
    fn no_key_has_a_second_byte_form_that_would_count_as_another_signer() {
        // Besides those in SMALL_ORDER, all second forms are: y from p to 2^255 - 1, with either sign.
        let mut points = 0;
        for low in 0xed..=0xff_u8 {
            for high in [0x7f, 0xff] {
                let mut bytes = [0xff; 32];
                (bytes[0], bytes[31]) = (low, high);
                if VerifyingKey::from_bytes(&bytes).is_ok() {
                    points += 1;
                    assert_eq!(PublicKey::from_bytes(&bytes), Err(KeyError::Weak));
                }
            }
        }
        assert!(points > 4, "some are points, or this test shows nothing");
    }

    #[test]
    fn a_signature_that_strict_verification_lets_pass_falls_with_its_mixed_key() {
        // Number 7 of C2SP/CCTV's ed25519vectors.json: key and R with torsion, that cancel out.
        let bytes = hex32("10eb7c3acfb2bed3e0d6ab89bf5a3d6afddd1176ce4812e38d9fd485058fdb1f");
        let signature: [u8; 64] = hex("36684ea91032ba5b1dbab2d02f4debc74c3327f2b3802e2e4d371aa42b12b56bbbfd00bd9c259d8d222d15e67a3d8228585050dbb9b9585be20d8fadc721da03").try_into().unwrap();
        let signature = ed25519_dalek::Signature::from_bytes(&signature);
        let key = VerifyingKey::from_bytes(&bytes).unwrap();
        assert!(key.verify_strict(b"ed25519vectors", &signature).is_ok());
        assert_eq!(PublicKey::from_bytes(&bytes), Err(KeyError::Weak));
    }

    #[test]
    fn a_second_signature_made_by_adding_the_order_is_refused() {
        let order = hex32("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
        let key = key(1);
        let signature = key.sign(b"message");
        assert!(key.public().verifies(b"message", &signature));
        let Signature::Ed25519(mut bytes) = signature;
        let mut carry = 0;
        for (byte, add) in bytes[32..].iter_mut().zip(order) {
            let sum = u16::from(*byte) + u16::from(add) + carry;
            *byte = sum as u8;
            carry = sum >> 8;
        }
        assert_eq!(carry, 0);
        assert!(!key.public().verifies(b"message", &Signature::Ed25519(bytes)));
    }

    #[test]
    fn any_bit_changed_in_a_signature_breaks_it() {
        let key = key(1);
        let Signature::Ed25519(good) = key.sign(b"message");
        for bit in 0..512 {
            let mut bytes = good;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(!key.public().verifies(b"message", &Signature::Ed25519(bytes)), "{bit}");
        }
    }

    #[test]
    fn wycheproof_agrees_on_every_signature() {
        let (mut count, mut valid) = (0, 0);
        for line in include_str!("../../tests/vectors/wycheproof-ed25519.txt").lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let [number, result, key, message, signature] = words[..] else {
                panic!("{line}");
            };
            if number == "#" {
                continue;
            }
            let unempty = |text: &str| if text == "-" { Vec::new() } else { hex(text) };
            let key = PublicKey::from_bytes(&hex32(key)).unwrap();
            // What is not 64 bytes long is no signature file, and never comes here.
            let signature = Signature::from_bytes(&unempty(signature));
            let holds = signature.is_some_and(|signature| key.verifies(&unempty(message), &signature));
            assert_eq!(holds, result == "valid", "number {number}");
            count += 1;
            valid += usize::from(holds);
        }
        assert_eq!((count, valid), (151, 88));
    }

    #[test]
    fn the_keys_in_the_source_tree_are_known_as_published() {
        for (letter, public, private) in [
            ('a', include_str!("../../keys/test-a.pub.pem"), include_str!("../../keys/test-a.key.pem")),
            ('b', include_str!("../../keys/test-b.pub.pem"), include_str!("../../keys/test-b.key.pem")),
        ] {
            let seed = Digest::of(format!("airpouch test key {letter}: published, never use it").as_bytes());
            let key = PrivateKey::from_seed(*seed.as_bytes());
            assert_eq!((&*key.to_pem(), &key.public().to_pem()), (&private.to_owned(), &public.to_owned()));
            assert!(is_published_test_key(&key.public()));
        }
        assert!(!is_published_test_key(&key(1).public()));
    }

    #[test]
    fn a_key_is_never_printed() {
        let key = key(7);
        let text = format!("{key:?}");
        assert!(text.contains(&key.public().id()) && !text.contains("7, 7"), "{text}");
    }
}
