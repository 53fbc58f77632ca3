//! The medium: a shelf that travels, and the only one that is not trusted.
//!
//! The content of a file decides what it is; its name is only a hint. Airpouch follows no link, ignores hidden files,
//! and reads three levels of folders and a bounded number of names. It writes nothing, and reads nothing twice for one
//! decision: it uses the very bytes that it digested.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use walkdir::WalkDir;

use super::{PartFault, Shelf, refused};
use crate::batch::manifest::{Part, TAG};
use crate::batch::{Checked, NotAsNamed, name};
use crate::digest::Digest;
use crate::disk::{self, Mount};
use crate::error::{Error, Result, reason};
use crate::lack::{self, Lack, Unread};
use crate::limits::{JOURNAL_HEAD_MAX, MANIFEST_MAX, MEDIUM_DEPTH, MEDIUM_NAMES_MAX, SIGNATURES_MAX};
use crate::lock::lock;
use crate::stream::{Sequence, StreamId};
use crate::text::{harmless, harmless_bytes};
use crate::trust::signature::key_id_in;
use crate::trust::{Signature, SignatureFile, Unverified};

/// Unnamed signature files tried for one manifest: a folder of a batch or two has a few.
const UNNAMED_SIGNATURES_MAX: usize = 16;
/// Files read for one part because they have its name or its size.
const CANDIDATES_MAX: usize = 16;

/// The files on a medium.
pub struct Medium {
    files: Vec<MediumEntry>,
    by: Lookup,
    /// Ids of the keys whose signature files are tried first.
    ids: Vec<String>,
    /// Directories and files that could not be opened, each with the reason.
    pub unreadable: Vec<(String, String)>,
    /// Whether there were more names than the limit.
    pub too_many: bool,
    /// Files with the name of a manifest that could not be read, each with the reason.
    unread: Mutex<BTreeMap<String, String>>,
    /// Digests of files that were read for another part, so that none is hashed twice.
    digests: Mutex<HashMap<usize, Digest>>,
}

struct MediumEntry {
    path: PathBuf,
    dir: PathBuf,
    plain: String,
    size: u64,
}

/// Positions of files, indexed for each question. There may be any number of foreign files, so each question must check
/// only a few.
#[derive(Default)]
struct Lookup {
    names: HashMap<String, Vec<usize>>,
    sizes: HashMap<u64, Vec<usize>>,
    /// Files that end in `.sig`, by their plain name.
    signatures: Vec<usize>,
    /// Files in each directory that are as long as a signature is: those named for a trusted key first, then what ends in `.sig`.
    may_sign: HashMap<PathBuf, Vec<usize>>,
}

impl Lookup {
    fn of(files: &[MediumEntry], ids: &[String]) -> Self {
        let mut by = Self::default();
        for (at, file) in files.iter().enumerate() {
            by.names.entry(file.plain.clone()).or_default().push(at);
            by.sizes.entry(file.size).or_default().push(at);
            if file.plain.ends_with(".sig") {
                by.signatures.push(at);
            }
            if Signature::may_have(file.size) {
                by.may_sign.entry(file.dir.clone()).or_default().push(at);
            }
        }
        by.signatures.sort_by(|a, b| files[*a].plain.cmp(&files[*b].plain));
        let rank = |at: &usize| {
            let name = files[*at].plain.as_str();
            let named = key_id_in(name).is_some_and(|id| ids.contains(&id));
            (!named, !name.ends_with(".sig"))
        };
        by.may_sign.values_mut().for_each(|near| near.sort_by_key(rank));
        by
    }
}

/// A file that begins like a manifest, or has the name of one and signatures of that name; unverified.
pub struct Sighting {
    /// Its path, safe to print.
    pub place: String,
    /// The manifest and its signatures.
    pub unverified: Unverified,
    /// Whether the file is shorter than the tag of a manifest.
    shorter_than_tag: bool,
    /// Whether a signature of its name is shorter than a signature is.
    pub short_signature: bool,
    /// Whether a signature of its name is longer than a signature is.
    pub long_signature: bool,
    /// The first signature file of its name that could not be read, with the reason.
    pub unread_signature: Option<(String, String)>,
    dir: PathBuf,
}

impl Sighting {
    /// Whether it was cut in transfer. Asked only if no signature is valid: a signed manifest is complete.
    pub fn was_cut(&self) -> bool {
        self.shorter_than_tag || (self.unverified.len() as u64 <= MANIFEST_MAX && self.unverified.is_cut())
    }
}

impl Medium {
    /// Lists the files of a medium, and opens only those that may be a manifest. Of the signatures with a manifest's
    /// name, those named for one of the keys with these ids are tried first.
    ///
    /// # Errors
    /// The directory itself does not exist or cannot be read; or the machine lacks memory or descriptors.
    pub fn scan(root: &Path, ids: Vec<String>) -> Result<Self> {
        std::fs::read_dir(root).map_err(|e| {
            Error::io("read the medium", root, &e).advise("mount it, and name the directory where it is mounted")
        })?;
        let mut medium = Self {
            files: Vec::new(),
            by: Lookup::default(),
            ids,
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
                // A large number of foreign files must not hide a batch: continue to look for our names for some time.
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
                Ok(entry) if entry.file_type().is_file() => medium.list(root, &entry)?,
                Ok(_) => {}
                Err(e) => medium.note_unreadable(root, &e)?,
            }
        }
        medium.files.sort_by(|a, b| a.path.cmp(&b.path));
        medium.unreadable.sort();
        medium.by = Lookup::of(&medium.files, &medium.ids);
        Ok(medium)
    }

    fn note_unreadable(&mut self, root: &Path, cause: &walkdir::Error) -> Result<()> {
        let path = cause.path().unwrap_or(root);
        if let Some(lacking) = cause.io_error().filter(|e| Lack::of(e).is_some()) {
            return Err(Error::io("read the medium", path, lacking));
        }
        let why = cause.io_error().map_or_else(|| "it cannot be read".to_owned(), reason);
        let path = path.strip_prefix(root).unwrap_or(Path::new("?"));
        self.unreadable.push((harmless_bytes(path.as_os_str().as_encoded_bytes()), why));
        Ok(())
    }

    fn list(&mut self, root: &Path, entry: &walkdir::DirEntry) -> Result<()> {
        let metadata = match entry.metadata() {
            Ok(metadata) => metadata,
            Err(e) if e.io_error().is_some_and(|e| e.kind() == io::ErrorKind::NotFound) => return Ok(()),
            Err(e) => return self.note_unreadable(root, &e),
        };
        let path = entry.path().to_owned();
        let dir = path.parent().unwrap_or(root).to_owned();
        let plain = name::plain(&entry.file_name().to_string_lossy());
        self.files.push(MediumEntry { path, dir, plain, size: metadata.len() });
        Ok(())
    }

    /// The head of the exporter's journal beside a batch, as text: of the first few files of its name one that can be read.
    /// Those before it that cannot be read are given to `unread`, each with the reason.
    ///
    /// # Errors
    /// The machine lacks what reading takes.
    pub fn head_of(
        &self,
        stream: StreamId,
        sequence: Sequence,
        mut unread: impl FnMut(String, String),
    ) -> Result<Option<String>> {
        let named = self.by.names.get(&name::head(stream, sequence)).map_or(&[][..], Vec::as_slice);
        for at in named.iter().take(CANDIDATES_MAX) {
            let path = &self.files[*at].path;
            match disk::read_bounded(path, JOURNAL_HEAD_MAX) {
                Ok(bytes) => match String::from_utf8(bytes) {
                    Ok(text) => return Ok(Some(text)),
                    Err(_) => continue,
                },
                Err(e) if Lack::of(&e).is_some() => return Err(Error::io("read the medium", path, &e)),
                Err(e) => {
                    unread(harmless_bytes(path.file_name().unwrap_or_default().as_encoded_bytes()), reason(&e));
                }
            }
        }
        Ok(None)
    }

    /// Number of files that have the name of such a head.
    pub fn head_count(&self) -> u64 {
        self.files.iter().filter(|file| name::parse_head(&file.plain).is_some()).count() as u64
    }

    /// Number of files.
    pub fn file_count(&self) -> u64 {
        self.files.len() as u64
    }

    /// All files that may be a manifest, in the order of names, one at a time, since there may be any number. A file
    /// that cannot be read is no sighting; [`Self::unread_manifests`] returns it afterwards. Two files with the same
    /// content are two sightings.
    ///
    /// An item may be an error instead: what the machine lacks to read the file.
    pub fn sightings(&self) -> impl Iterator<Item = Result<Sighting>> + '_ {
        self.files.iter().filter_map(|file| self.sighting(file).transpose())
    }

    /// Only those with the name of a manifest of interest, by stream prefix and number: for an exporter that looks for
    /// batches missing in its ledger, on a medium with many others.
    pub fn sightings_of<'a>(
        &'a self,
        of_interest: impl Fn(&str, u64) -> bool + 'a,
    ) -> impl Iterator<Item = Result<Sighting>> + 'a {
        let is = move |f: &&MediumEntry| match name::parse(&f.plain) {
            Some((prefix, sequence)) => is_called_manifest(&f.plain) && of_interest(prefix, sequence.get()),
            None => false,
        };
        self.files.iter().filter(is).filter_map(|file| self.sighting(file).transpose())
    }

    /// Manifests that the system did not read, with the reason.
    pub fn unread_manifests(&self) -> BTreeMap<String, String> {
        lock(&self.unread).clone()
    }

    fn read_if_manifest(&self, file: &MediumEntry) -> Result<Option<Vec<u8>>> {
        let called_manifest = is_called_manifest(&file.plain);
        if (file.size > MANIFEST_MAX || file.size < TAG.len() as u64) && !called_manifest {
            return Ok(None);
        }
        match read_tagged(&file.path, called_manifest) {
            Ok(bytes) => Ok(bytes),
            Err(e) if Lack::of(&e).is_some() => Err(Error::io("read the medium", &file.path, &e)),
            Err(e) => {
                if called_manifest {
                    let name = harmless_bytes(file.path.file_name().unwrap_or_default().as_encoded_bytes());
                    lock(&self.unread).insert(name, reason(&e));
                }
                Ok(None)
            }
        }
    }

    fn sighting(&self, file: &MediumEntry) -> Result<Option<Sighting>> {
        let Some(bytes) = self.read_if_manifest(file)? else { return Ok(None) };
        let begins = bytes.starts_with(TAG);
        let cut = bytes.len() < TAG.len() && TAG.starts_with(&bytes);
        let named: Vec<&MediumEntry> = self.signatures_named_for(file);
        if !begins && !cut && named.is_empty() {
            return Ok(None);
        }
        let is_named = !named.is_empty();
        let near = if is_named { named } else { self.signatures_beside(file) };
        let mut signatures = Vec::new();
        let mut unread = None;
        for signature in near.iter().filter(|f| Signature::may_have(f.size)) {
            let name = harmless(&signature.path.file_name().unwrap_or_default().to_string_lossy());
            match disk::read_bounded(&signature.path, Signature::LONGEST) {
                Ok(bytes) => signatures.extend(Signature::from_bytes(&bytes).map(|signature| SignatureFile {
                    name,
                    signature,
                    named: is_named,
                })),
                Err(e) if Lack::of(&e).is_some() => return Err(Error::io("read the medium", &signature.path, &e)),
                Err(e) if is_named => unread = unread.or(Some((name, reason(&e)))),
                // A file that is only beside it may be anything.
                Err(_) => {}
            }
        }
        Ok(Some(Sighting {
            place: harmless_bytes(file.path.file_name().unwrap_or_default().as_encoded_bytes()),
            shorter_than_tag: cut,
            short_signature: is_named && near.iter().any(|f| f.size < Signature::SHORTEST),
            long_signature: is_named && near.iter().any(|f| f.size > Signature::LONGEST),
            unread_signature: unread,
            dir: file.dir.clone(),
            unverified: Unverified::new(bytes, signatures),
        }))
    }

    /// Signature files with the manifest's name, in any folder: first those named for a known key, the one beside the
    /// manifest before its copies, so that no number of others hides the valid one.
    fn signatures_named_for(&self, manifest: &MediumEntry) -> Vec<&MediumEntry> {
        let stem = manifest.plain.strip_suffix(".manifest").or_else(|| manifest.plain.rsplit_once('.').map(|(s, _)| s));
        let Some(stem) = stem else { return Vec::new() };
        let mut found: Vec<usize> = Vec::new();
        for id in &self.ids {
            let name = format!("{stem}.{id}.sig");
            let own = manifest.dir.join(&name);
            let copies = self.by.names.get(&name).map_or(&[][..], Vec::as_slice);
            let own = copies.iter().copied().find(|at| self.files[*at].path == own);
            found.extend(own);
            found.extend(copies.iter().copied().filter(|at| Some(*at) != own).take(SIGNATURES_MAX));
        }
        let begin = format!("{stem}.");
        let from = self.by.signatures.partition_point(|at| self.files[*at].plain < begin);
        let bear =
            self.by.signatures[from..].iter().copied().take_while(|at| self.files[*at].plain.starts_with(&begin));
        let known = |at: &usize| self.ids.iter().any(|id| self.files[*at].plain[begin.len()..] == format!("{id}.sig"));
        found.extend(bear.take(SIGNATURES_MAX).filter(|at| !known(at)));
        found.into_iter().map(|at| &self.files[at]).collect()
    }

    fn signatures_beside(&self, manifest: &MediumEntry) -> Vec<&MediumEntry> {
        let near = self.by.may_sign.get(&manifest.dir).map_or(&[][..], Vec::as_slice);
        near.iter().take(UNNAMED_SIGNATURES_MAX).map(|at| &self.files[*at]).collect()
    }

    /// The files of the batch that was sighted.
    pub fn shelf_of<'a>(&'a self, sighting: &'a Sighting) -> MediumShelf<'a> {
        MediumShelf { medium: self, dir: &sighting.dir }
    }

    /// Files of any batch, in any folder.
    pub fn anywhere(&self) -> MediumShelf<'_> {
        MediumShelf { medium: self, dir: Path::new("") }
    }

    /// Searches by name, beside the manifest first; then by size.
    fn find(&self, dir: &Path, part: &Part<'_>) -> std::result::Result<Checked, Unread<PartFault>> {
        let named = self.by.names.get(part.name).map_or(&[][..], Vec::as_slice);
        let (beside, elsewhere) =
            (|at: &&usize| self.files[**at].dir == dir, |at: &&usize| self.files[**at].dir != dir);
        let mut fault = PartFault::Missing;
        for at in named.iter().filter(beside).chain(named.iter().filter(elsewhere)).take(CANDIDATES_MAX) {
            match lack::apart(self.read_part(*at, part))? {
                Ok(checked) => return Ok(checked),
                // The first file of its name decides which fault is reported.
                Err(f) if fault == PartFault::Missing => fault = f,
                Err(_) => {}
            }
        }
        let sized = self.by.sizes.get(&part.bytes).map_or(&[][..], Vec::as_slice);
        for at in sized.iter().filter(|at| self.files[**at].plain != part.name).take(CANDIDATES_MAX) {
            if let Ok(checked) = lack::apart(self.read_part(*at, part))? {
                return Ok(checked);
            }
        }
        Err(Unread::Fault(fault))
    }

    fn read_part(&self, at: usize, part: &Part<'_>) -> std::result::Result<Checked, Unread<PartFault>> {
        let file = &self.files[at];
        let otherwise = |fault| Unread::Fault(PartFault::NotAsNamed(fault));
        match file.size.cmp(&part.bytes) {
            std::cmp::Ordering::Less => return Err(otherwise(NotAsNamed::Short)),
            std::cmp::Ordering::Greater => return Err(otherwise(NotAsNamed::Long)),
            std::cmp::Ordering::Equal => {}
        }
        let known = lock(&self.digests).get(&at).copied();
        if let Some(found) = known.filter(|digest| *digest != part.sha256) {
            return Err(otherwise(NotAsNamed::Other { found }));
        }
        let bytes = disk::read_bounded(&file.path, part.bytes).map_err(|e| refused(&e))?;
        part.check(bytes).map_err(|fault| {
            if let NotAsNamed::Other { found } = fault {
                lock(&self.digests).insert(at, found);
            }
            otherwise(fault)
        })
    }
}

/// Checks that the directory exists: airpouch never creates a missing mount point.
///
/// # Errors
/// It does not exist, is no directory, or nothing is mounted there although something must be.
pub fn mounted(medium: &Path, require_mount: bool) -> Result<Mount> {
    let metadata = std::fs::metadata(medium).map_err(|e| {
        Error::io("find the medium", medium, &e).advise("mount it, and name the directory where it is mounted")
    })?;
    if !metadata.is_dir() {
        return Err(Error::failed("the medium is no directory").at(medium));
    }
    let mount = Mount::of(medium)?;
    if require_mount && !mount.is_mount_point {
        return Err(Error::failed("nothing is mounted here; nothing was written")
            .at(medium)
            .advise("mount the medium, then run this again"));
    }
    Ok(mount)
}

/// Removes what an interrupted carry left, for the streams with our prefixes.
///
/// # Errors
/// The system refused.
pub fn sweep_partials(medium: &Path, is_ours: impl Fn(&str) -> bool) -> Result<()> {
    let entries = std::fs::read_dir(medium).map_err(|e| Error::io("read the medium", medium, &e))?;
    for entry in entries.flatten() {
        let name = entry.file_name();
        let placed = name.to_str().and_then(name::of_partial);
        let of_batch = placed.map(|name| name::parse_head(name).unwrap_or(name));
        let prefix = of_batch.and_then(name::parse).map(|(prefix, _)| prefix);
        if prefix.is_some_and(&is_ours) && entry.file_type().is_ok_and(|t| t.is_file()) {
            disk::remove_file(&entry.path())
                .map_err(|e| Error::io("remove what a broken carry left", &entry.path(), &e))?;
        }
    }
    Ok(())
}

/// The files of one batch on a medium.
pub struct MediumShelf<'a> {
    medium: &'a Medium,
    dir: &'a Path,
}

impl Shelf for MediumShelf<'_> {
    fn fetch(&self, part: &Part<'_>) -> std::result::Result<Checked, Unread<PartFault>> {
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
