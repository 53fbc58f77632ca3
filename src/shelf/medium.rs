//! The medium: a shelf that travels, and the only one that is not trusted.
//!
//! What a file is, its content says; its name is a hint. No link is followed, nothing hidden is looked at,
//! three folders deep, and a bounded number of names. Nothing is written, and nothing is read twice for one
//! decision: bytes that were digested are the bytes that are used.

use std::collections::{BTreeMap, HashMap};
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rustix::fs::OFlags;
use walkdir::WalkDir;

use super::{PartFault, Shelf};
use crate::batch::manifest::{self, Part, TAG};
use crate::batch::{Checked, NotAsNamed, name};
use crate::digest::Digest;
use crate::disk;
use crate::error::{Error, Result, reason};
use crate::limits::{MANIFEST_MAX, MEDIUM_DEPTH, MEDIUM_NAMES_MAX, SIGNATURES_MAX};
use crate::stream::StreamId;
use crate::text::{harmless, harmless_bytes};
use crate::trust::{SignatureFile, Unverified};

/// What lies on a medium.
pub struct Medium {
    files: Vec<Entry>,
    /// Directories that could not be read, each with the reason.
    pub unreadable: Vec<(String, String)>,
    /// Whether there were more names than are looked at.
    pub too_many: bool,
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
    /// Whether its closing brace came: if not, it was cut off on its way.
    pub ends: bool,
    /// Whether its line ends were turned: without the CR or LF after it, it ends as a manifest does.
    pub line_ends_turned: bool,
    /// Whether a signature of its name is shorter than a signature is.
    pub short_signature: bool,
    /// Number and stream in its name, for findings about what cannot be read.
    pub named: Option<String>,
    dirs: Vec<PathBuf>,
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
        let mut medium = Self { files: Vec::new(), unreadable: Vec::new(), too_many: false, digests: Mutex::default() };
        let visible = |e: &walkdir::DirEntry| e.depth() == 0 || !e.file_name().as_encoded_bytes().starts_with(b".");
        let walk = WalkDir::new(root).min_depth(1).max_depth(MEDIUM_DEPTH + 1).sort_by_file_name();
        for (count, entry) in walk.into_iter().filter_entry(visible).enumerate() {
            if count == MEDIUM_NAMES_MAX {
                medium.too_many = true;
                break;
            }
            match entry {
                Ok(entry) if entry.file_type().is_file() => medium.list(root, &entry),
                Ok(_) => {}
                Err(e) => {
                    let why = e.io_error().map_or_else(|| "it cannot be read".to_owned(), reason);
                    let path = e.path().unwrap_or(root).strip_prefix(root).unwrap_or(Path::new("?")).to_owned();
                    medium.unreadable.push((harmless_bytes(path.as_os_str().as_encoded_bytes()), why));
                }
            }
        }
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

    /// All that may be a manifest, each content once, in the order of names. What cannot be read is no sighting.
    pub fn sightings(&self) -> Vec<Sighting> {
        self.sightings_among(self.files.iter())
    }

    /// Only those whose name is a manifest's, and not one of these streams up to that number: for an
    /// exporter that looks for batches that it does not know, on shelves full of those that it does.
    pub fn sightings_beyond(&self, known: &[(StreamId, u64)]) -> Vec<Sighting> {
        let is_known =
            |prefix: &str, sequence: u64| known.iter().any(|(s, last)| s.prefix() == prefix && sequence <= *last);
        let beyond = |f: &&Entry| match name::parse(&f.plain) {
            Some((prefix, sequence)) => is_called_manifest(&f.plain) && !is_known(prefix, sequence.get()),
            None => false,
        };
        self.sightings_among(self.files.iter().filter(beyond))
    }

    fn sightings_among<'a>(&'a self, files: impl Iterator<Item = &'a Entry>) -> Vec<Sighting> {
        let mut by_content: BTreeMap<Vec<u8>, Vec<&Entry>> = BTreeMap::new();
        for file in files {
            if let Some(bytes) = self.read_if_manifest(file) {
                by_content.entry(bytes).or_default().push(file);
            }
        }
        let mut out: Vec<(&Path, Sighting)> = by_content
            .into_iter()
            .filter_map(|(bytes, files)| Some((files.first()?.path.as_path(), self.sighting(bytes, &files)?)))
            .collect();
        out.sort_by(|a, b| a.0.cmp(b.0));
        out.into_iter().map(|(_, s)| s).collect()
    }

    fn read_if_manifest(&self, file: &Entry) -> Option<Vec<u8>> {
        let called_manifest = is_called_manifest(&file.plain);
        if (file.size > MANIFEST_MAX || file.size < TAG.len() as u64) && !called_manifest {
            return None;
        }
        let mut opened = open(&file.path).ok()?;
        let mut bytes = Vec::new();
        opened.by_ref().take(TAG.len() as u64).read_to_end(&mut bytes).ok()?;
        if !bytes.starts_with(TAG) && !called_manifest {
            return None;
        }
        opened.take(MANIFEST_MAX + 1 - bytes.len() as u64).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    fn sighting(&self, bytes: Vec<u8>, files: &[&Entry]) -> Option<Sighting> {
        let mut signatures = Vec::new();
        let (mut short_signature, mut any_named) = (false, false);
        for file in files {
            for (signature, size) in self.signatures_named_for(file) {
                any_named = true;
                short_signature |= size < 64;
                signatures.extend(signature);
            }
        }
        let begins = bytes.starts_with(TAG);
        let cut = bytes.len() < TAG.len() && TAG.starts_with(&bytes);
        if !begins && !cut && !any_named {
            return None;
        }
        if !any_named {
            let dirs: Vec<&Path> = files.iter().map(|f| f.dir.as_path()).collect();
            signatures = self.signatures_in(&dirs);
        }
        let whole = bytes.trim_ascii_end();
        let first = files.first()?;
        Some(Sighting {
            place: harmless_bytes(first.path.file_name()?.as_encoded_bytes()),
            ends: !cut && (!begins || manifest::ends(&bytes)),
            line_ends_turned: whole.len() < bytes.len() && manifest::ends(whole),
            short_signature,
            named: name::parse(&first.plain).map(|(_, sequence)| sequence.to_string()),
            dirs: files.iter().map(|f| f.dir.clone()).collect(),
            unverified: Unverified::new(bytes, signatures),
        })
    }

    /// Signature files that bear the manifest's name, with their sizes; one of another size has no bytes.
    fn signatures_named_for(&self, manifest: &Entry) -> Vec<(Option<SignatureFile>, u64)> {
        let Some(stem) =
            manifest.plain.strip_suffix(".manifest").or_else(|| manifest.plain.rsplit_once('.').map(|(s, _)| s))
        else {
            return Vec::new();
        };
        let bears =
            |f: &&Entry| f.plain.strip_prefix(stem).is_some_and(|rest| rest.starts_with('.') && rest.ends_with(".sig"));
        self.files.iter().filter(bears).take(SIGNATURES_MAX).map(|f| (read_signature(f, true), f.size)).collect()
    }

    fn signatures_in(&self, dirs: &[&Path]) -> Vec<SignatureFile> {
        let near = self.files.iter().filter(|f| f.size == 64 && dirs.contains(&f.dir.as_path()));
        near.take(SIGNATURES_MAX).filter_map(|f| read_signature(f, false)).collect()
    }

    /// The files of the batch that was sighted.
    pub fn shelf_of<'a>(&'a self, sighting: &'a Sighting) -> MediumShelf<'a> {
        MediumShelf { medium: self, dirs: &sighting.dirs }
    }

    fn find(&self, dirs: &[PathBuf], part: &Part<'_>) -> std::result::Result<Checked, PartFault> {
        let mut named: Vec<usize> = (0..self.files.len()).filter(|i| self.files[*i].plain == part.name).collect();
        named.sort_by_key(|i| !dirs.contains(&self.files[*i].dir));
        let mut fault = PartFault::Missing;
        for at in &named {
            match self.read_part(*at, part) {
                Ok(checked) => return Ok(checked),
                // The first one of its name, beside the manifest if it can be, says what is wrong.
                Err(f) if fault == PartFault::Missing => fault = f,
                Err(_) => {}
            }
        }
        let sized = (0..self.files.len()).filter(|i| self.files[*i].size == part.bytes && !named.contains(i));
        for at in sized {
            if let Ok(checked) = self.read_part(at, part) {
                return Ok(checked);
            }
        }
        Err(fault)
    }

    fn read_part(&self, at: usize, part: &Part<'_>) -> std::result::Result<Checked, PartFault> {
        let known = self.digests.lock().expect("no thread panics with it").get(&at).copied();
        if let Some(found) = known.filter(|digest| *digest != part.sha256) {
            return Err(PartFault::NotAsNamed(NotAsNamed::Other { found }));
        }
        let file = &self.files[at];
        if file.size == 0 && part.bytes > 0 {
            return Err(PartFault::NotAsNamed(NotAsNamed::Short));
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
    dirs: &'a [PathBuf],
}

impl Shelf for MediumShelf<'_> {
    fn fetch(&self, part: &Part<'_>) -> std::result::Result<Checked, PartFault> {
        self.medium.find(self.dirs, part)
    }
}

fn is_called_manifest(plain: &str) -> bool {
    plain.starts_with("airpouch-") && plain.ends_with(".manifest")
}

fn open(path: &Path) -> io::Result<std::fs::File> {
    OpenOptions::new().read(true).custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32).open(path)
}

fn read_signature(file: &Entry, named: bool) -> Option<SignatureFile> {
    if file.size != 64 {
        return None;
    }
    let bytes = disk::read_bounded(&file.path, 64).ok()?;
    let name = harmless(&file.path.file_name()?.to_string_lossy());
    Some(SignatureFile { name, bytes: bytes.try_into().ok()?, named })
}
