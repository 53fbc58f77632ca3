//! The medium: a shelf that travels, and the only one that is not trusted.
//!
//! What a file is, its content says; its name is a hint. No link is followed, nothing hidden is looked at,
//! three folders deep, and a bounded number of names. Nothing is written, and nothing is read twice for one
//! decision: bytes that were digested are the bytes that are used.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use walkdir::WalkDir;

use super::{PartFault, Shelf};
use crate::batch::manifest::{Part, TAG};
use crate::batch::{Checked, NotAsNamed, name};
use crate::digest::Digest;
use crate::disk;
use crate::error::{Error, Result, reason};
use crate::limits::{MANIFEST_MAX, MEDIUM_DEPTH, MEDIUM_NAMES_MAX, SIGNATURES_MAX};
use crate::stream::StreamId;
use crate::text::{harmless, harmless_bytes};
use crate::trust::{SignatureFile, Unverified};

/// Unnamed signature files tried for one manifest: a folder of a batch or two has a few.
const UNNAMED_SIGNATURES_MAX: usize = 16;
/// Files read for one part because they have its name or its size.
const CANDIDATES_MAX: usize = 16;

/// What lies on a medium.
pub struct Medium {
    files: Vec<Entry>,
    /// Directories that could not be read, each with the reason.
    pub unreadable: Vec<(String, String)>,
    /// Whether there were more names than are looked at.
    pub too_many: bool,
    /// Manifests by their name that could not be read, each with the reason.
    unread: Mutex<BTreeMap<String, String>>,
    /// Digests of files that were read and were not what was sought, so that none is hashed twice.
    digests: Mutex<HashMap<usize, Digest>>,
}

struct Entry {
    path: PathBuf,
    dir: PathBuf,
    plain: String,
    size: u64,
}

/// A file that begins as a manifest, or is called one and signed by name; with its signatures, unverified.
pub struct Sighting {
    /// Where it lies, harmless to print.
    pub place: String,
    /// Manifest and signatures.
    pub unverified: Unverified,
    /// Whether there are fewer bytes than the tag of a manifest has.
    shorter_than_tag: bool,
    /// Whether a signature of its name is shorter than a signature is.
    pub short_signature: bool,
    /// Whether a signature of its name is longer than a signature is.
    pub long_signature: bool,
    dir: PathBuf,
}

impl Sighting {
    /// Whether it was cut off on its way. Asked only when no signature holds: what is signed is whole.
    pub fn was_cut(&self) -> bool {
        self.shorter_than_tag || (self.unverified.len() as u64 <= MANIFEST_MAX && self.unverified.is_cut())
    }
}

impl Medium {
    /// Looks at a medium. Its files are listed; only what may be a manifest is opened.
    ///
    /// # Errors
    /// The directory itself is not there or cannot be read.
    pub fn scan(root: &Path) -> Result<Self> {
        std::fs::read_dir(root).map_err(|e| {
            Error::io("read the medium", root, &e).advise("mount it, and name the directory where it is mounted")
        })?;
        let mut medium = Self {
            files: Vec::new(),
            unreadable: Vec::new(),
            too_many: false,
            unread: Mutex::default(),
            digests: Mutex::default(),
        };
        let mut walk = WalkDir::new(root).min_depth(1).max_depth(MEDIUM_DEPTH + 1).into_iter();
        let mut names = 0;
        while let Some(entry) = walk.next() {
            names += 1;
            if names > MEDIUM_NAMES_MAX {
                medium.too_many = true;
                // A heap of strangers' files must not hide a batch: what is called ours is looked for a while longer.
                let ours = |e: &walkdir::DirEntry| {
                    name::plain(&e.file_name().to_string_lossy()).starts_with("airpouch-") && e.file_type().is_file()
                };
                match &entry {
                    _ if names > MEDIUM_NAMES_MAX * 10 || medium.files.len() > MEDIUM_NAMES_MAX * 2 => break,
                    Ok(entry) if ours(entry) => {}
                    _ => continue,
                }
            }
            match entry {
                Ok(entry) if entry.file_name().as_encoded_bytes().starts_with(b".") => {
                    if entry.file_type().is_dir() {
                        walk.skip_current_dir();
                    }
                }
                Ok(entry) if entry.file_type().is_file() => medium.list(root, &entry),
                Ok(_) => {}
                Err(e) => {
                    let why = e.io_error().map_or_else(|| "it cannot be read".to_owned(), reason);
                    let path = e.path().unwrap_or(root).strip_prefix(root).unwrap_or(Path::new("?")).to_owned();
                    medium.unreadable.push((harmless_bytes(path.as_os_str().as_encoded_bytes()), why));
                }
            }
        }
        medium.files.sort_by(|a, b| a.path.cmp(&b.path));
        medium.unreadable.sort();
        Ok(medium)
    }

    fn list(&mut self, root: &Path, entry: &walkdir::DirEntry) {
        let Ok(metadata) = entry.metadata() else { return };
        let path = entry.path().to_owned();
        let dir = path.parent().unwrap_or(root).to_owned();
        let plain = name::plain(&entry.file_name().to_string_lossy());
        self.files.push(Entry { path, dir, plain, size: metadata.len() });
    }

    /// Number of files.
    pub fn file_count(&self) -> u64 {
        self.files.len() as u64
    }

    /// All that may be a manifest, in the order of names, one at a time: strangers may have left any number.
    /// What cannot be read is no sighting, but told by [`Self::unread_manifests`] afterwards; the same content twice is two.
    pub fn sightings(&self) -> impl Iterator<Item = Sighting> + '_ {
        self.files.iter().filter_map(|file| self.sighting(file))
    }

    /// Only those whose name is a manifest's, and not one of these streams up to that number: for an
    /// exporter that looks for batches that it does not know, on shelves full of those that it does.
    pub fn sightings_beyond<'a>(&'a self, known: &'a [(StreamId, u64)]) -> impl Iterator<Item = Sighting> + 'a {
        let is_known =
            |prefix: &str, sequence: u64| known.iter().any(|(s, last)| s.prefix() == prefix && sequence <= *last);
        let beyond = move |f: &&Entry| match name::parse(&f.plain) {
            Some((prefix, sequence)) => is_called_manifest(&f.plain) && !is_known(prefix, sequence.get()),
            None => false,
        };
        self.files.iter().filter(beyond).filter_map(|file| self.sighting(file))
    }

    /// Manifests of which there was no sighting, because the system refused to read them; with its reason.
    pub fn unread_manifests(&self) -> BTreeMap<String, String> {
        self.unread.lock().expect("no thread panics with it").clone()
    }

    fn read_if_manifest(&self, file: &Entry) -> Option<Vec<u8>> {
        let called_manifest = is_called_manifest(&file.plain);
        if (file.size > MANIFEST_MAX || file.size < TAG.len() as u64) && !called_manifest {
            return None;
        }
        let read = read_tagged(&file.path, called_manifest);
        if let Err(e) = &read
            && called_manifest
        {
            let name = harmless_bytes(file.path.file_name().unwrap_or_default().as_encoded_bytes());
            self.unread.lock().expect("no thread panics with it").insert(name, reason(e));
        }
        read.ok().flatten()
    }

    fn sighting(&self, file: &Entry) -> Option<Sighting> {
        let bytes = self.read_if_manifest(file)?;
        let begins = bytes.starts_with(TAG);
        let cut = bytes.len() < TAG.len() && TAG.starts_with(&bytes);
        let named: Vec<&Entry> = self.signatures_named_for(file);
        if !begins && !cut && named.is_empty() {
            return None;
        }
        let signatures = match named.as_slice() {
            [] => self.signatures_beside(file),
            named => named.iter().filter_map(|f| read_signature(f, true)).collect(),
        };
        Some(Sighting {
            place: harmless_bytes(file.path.file_name()?.as_encoded_bytes()),
            shorter_than_tag: cut,
            short_signature: named.iter().any(|f| f.size < 64),
            long_signature: named.iter().any(|f| f.size > 64),
            dir: file.dir.clone(),
            unverified: Unverified::new(bytes, signatures),
        })
    }

    /// Signature files that bear the manifest's name, wherever they lie.
    fn signatures_named_for(&self, manifest: &Entry) -> Vec<&Entry> {
        let stem = manifest.plain.strip_suffix(".manifest").or_else(|| manifest.plain.rsplit_once('.').map(|(s, _)| s));
        let Some(stem) = stem else { return Vec::new() };
        let bears =
            |f: &&Entry| f.plain.strip_prefix(stem).is_some_and(|rest| rest.starts_with('.') && rest.ends_with(".sig"));
        self.files.iter().filter(bears).take(SIGNATURES_MAX).collect()
    }

    fn signatures_beside(&self, manifest: &Entry) -> Vec<SignatureFile> {
        let near = self.files.iter().filter(|f| f.size == 64 && f.dir == manifest.dir);
        near.take(UNNAMED_SIGNATURES_MAX).filter_map(|f| read_signature(f, false)).collect()
    }

    /// The files of the batch that was sighted.
    pub fn shelf_of<'a>(&'a self, sighting: &'a Sighting) -> MediumShelf<'a> {
        MediumShelf { medium: self, dir: &sighting.dir }
    }

    /// By its name, beside the manifest first; else by its size.
    fn find(&self, dir: &Path, part: &Part<'_>) -> std::result::Result<Checked, PartFault> {
        let mut named: Vec<usize> = (0..self.files.len()).filter(|i| self.files[*i].plain == part.name).collect();
        named.sort_by_key(|i| self.files[*i].dir != dir);
        let sized = (0..self.files.len()).filter(|i| self.files[*i].size == part.bytes && !named.contains(i));
        let mut fault = PartFault::Missing;
        for at in named.iter().copied().take(CANDIDATES_MAX) {
            match self.read_part(at, part) {
                Ok(checked) => return Ok(checked),
                // The first one of its name says what is wrong.
                Err(f) if fault == PartFault::Missing => fault = f,
                Err(_) => {}
            }
        }
        for at in sized.take(CANDIDATES_MAX) {
            if let Ok(checked) = self.read_part(at, part) {
                return Ok(checked);
            }
        }
        Err(fault)
    }

    fn read_part(&self, at: usize, part: &Part<'_>) -> std::result::Result<Checked, PartFault> {
        let file = &self.files[at];
        match file.size.cmp(&part.bytes) {
            std::cmp::Ordering::Less => return Err(PartFault::NotAsNamed(NotAsNamed::Short)),
            std::cmp::Ordering::Greater => return Err(PartFault::NotAsNamed(NotAsNamed::Long)),
            std::cmp::Ordering::Equal => {}
        }
        let known = self.digests.lock().expect("no thread panics with it").get(&at).copied();
        if let Some(found) = known.filter(|digest| *digest != part.sha256) {
            return Err(PartFault::NotAsNamed(NotAsNamed::Other { found }));
        }
        let bytes = disk::read_bounded(&file.path, part.bytes).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => PartFault::Missing,
            _ => PartFault::Unreadable(reason(&e)),
        })?;
        part.check(bytes).map_err(|fault| {
            if let NotAsNamed::Other { found } = fault {
                self.digests.lock().expect("no thread panics with it").insert(at, found);
            }
            PartFault::NotAsNamed(fault)
        })
    }
}

/// The files of one batch on a medium.
pub struct MediumShelf<'a> {
    medium: &'a Medium,
    dir: &'a Path,
}

impl Shelf for MediumShelf<'_> {
    fn fetch(&self, part: &Part<'_>) -> std::result::Result<Checked, PartFault> {
        self.medium.find(self.dir, part)
    }
}

fn is_called_manifest(plain: &str) -> bool {
    plain.starts_with("airpouch-") && plain.ends_with(".manifest")
}

/// A file that begins as a manifest, or any file if it is called one.
fn read_tagged(path: &Path, called_manifest: bool) -> io::Result<Option<Vec<u8>>> {
    let mut opened = disk::open_regular(path)?;
    let mut bytes = Vec::new();
    opened.by_ref().take(TAG.len() as u64).read_to_end(&mut bytes)?;
    if !bytes.starts_with(TAG) && !called_manifest {
        return Ok(None);
    }
    opened.take(MANIFEST_MAX + 1 - bytes.len() as u64).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

fn read_signature(file: &Entry, named: bool) -> Option<SignatureFile> {
    if file.size != 64 {
        return None;
    }
    let bytes = disk::read_bounded(&file.path, 64).ok()?;
    let name = harmless(&file.path.file_name()?.to_string_lossy());
    Some(SignatureFile { name, bytes: bytes.try_into().ok()?, named })
}
