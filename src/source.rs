//! The directory where connectors write their envelopes. It is read, and never changed.

use std::ffi::OsStr;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use walkdir::WalkDir;

use crate::error::{Error, Result, reason};
use crate::lack::Lack;
use crate::limits::{ENVELOPE_MAX, NAME_MAX};
use crate::mtime::Mtime;

/// A file that may be an envelope.
#[derive(Debug, Clone)]
pub struct SourceFile {
    /// Its path below the source directory.
    pub path: PathBuf,
    /// Its last part as text, as the index lists it.
    pub name: String,
    /// What the system said of it.
    pub stamp: Stamp,
}

/// What changes when a file changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Device.
    pub dev: u64,
    /// Inode.
    pub ino: u64,
    /// Size in bytes.
    pub size: u64,
    /// Modification, in nanoseconds since 1970.
    pub mtime: i128,
    /// Change of the inode, likewise.
    pub ctime: i128,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        let nanos = |s: i64, n: i64| i128::from(s) * 1_000_000_000 + i128::from(n);
        Self {
            dev: metadata.dev(),
            ino: metadata.ino(),
            size: metadata.size(),
            mtime: nanos(metadata.mtime(), metadata.mtime_nsec()),
            ctime: nanos(metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// The time of modification as the index lists it.
    pub fn mtime(&self) -> Mtime {
        let seconds = self.mtime.div_euclid(1_000_000_000);
        Mtime::new(seconds as i64, self.mtime.rem_euclid(1_000_000_000) as u32)
    }
}

/// What a look into the directory gave.
#[derive(Debug, Default)]
pub struct Listing {
    /// Files that may be envelopes, in no order.
    pub files: Vec<SourceFile>,
    /// What is named as an envelope and is no regular file, and linked directories where those below are looked into. No
    /// link is followed: it may lead anywhere.
    pub passed_over: Vec<(SourceFile, &'static str)>,
    /// Directories and files that could not be looked at, with the system's reason.
    pub unreadable: Vec<(PathBuf, String)>,
    /// Files gone between listing and looking.
    pub gone: u64,
}

/// Lists regular files that end in `.json` and are not hidden; `recursive` goes into directories that are
/// not hidden either. No link is followed.
///
/// # Errors
/// The directory itself cannot be read.
pub fn list(root: &Path, recursive: bool) -> Result<Listing> {
    std::fs::read_dir(root).map_err(|e| {
        Error::io("read the source directory", root, &e).advise("give the directory into which the connectors write")
    })?;
    let mut listing = Listing::default();
    let depth = if recursive { usize::MAX } else { 1 };
    let visible = |e: &walkdir::DirEntry| e.depth() == 0 || !e.file_name().as_encoded_bytes().starts_with(b".");
    for entry in WalkDir::new(root).min_depth(1).max_depth(depth).into_iter().filter_entry(visible) {
        match entry {
            Ok(entry) if entry.file_type().is_file() && entry.file_name().as_encoded_bytes().ends_with(b".json") => {
                match entry.metadata() {
                    Ok(metadata) => listing.files.push(source_file(root, &entry, &metadata)),
                    Err(_) => listing.gone += 1,
                }
            }
            Ok(entry) => {
                if let Some(why) = why_passed_over(&entry, recursive) {
                    match entry.metadata() {
                        Ok(metadata) => listing.passed_over.push((source_file(root, &entry, &metadata), why)),
                        Err(_) => listing.gone += 1,
                    }
                }
            }
            Err(e) => match e.io_error() {
                Some(cause) if cause.kind() == io::ErrorKind::NotFound => listing.gone += 1,
                Some(cause) if Lack::of(cause).is_some() => {
                    return Err(Error::io("read the source directory", e.path().unwrap_or(root), cause));
                }
                Some(cause) => listing.unreadable.push((e.path().unwrap_or(root).to_owned(), reason(cause))),
                None => listing.unreadable.push((e.path().unwrap_or(root).to_owned(), e.to_string())),
            },
        }
    }
    Ok(listing)
}

/// A file's name as the index lists it: what is no UTF-8 is replaced, and what is longer than the format allows is cut.
fn name_of(name: &OsStr) -> String {
    let mut name = name.to_string_lossy().into_owned();
    let end = (0..=NAME_MAX.min(name.len())).rev().find(|at| name.is_char_boundary(*at)).unwrap_or(0);
    name.truncate(end);
    name
}

fn source_file(root: &Path, entry: &walkdir::DirEntry, metadata: &Metadata) -> SourceFile {
    SourceFile {
        path: entry.path().strip_prefix(root).unwrap_or(entry.path()).to_owned(),
        name: name_of(entry.file_name()),
        stamp: Stamp::of(metadata),
    }
}

/// Why a person might miss this in a batch: what it is, if it looks like input and is none.
fn why_passed_over(entry: &walkdir::DirEntry, recursive: bool) -> Option<&'static str> {
    let (kind, is_named) = (entry.file_type(), entry.file_name().as_encoded_bytes().ends_with(b".json"));
    if kind.is_symlink() {
        let leads_to_directory = || std::fs::metadata(entry.path()).is_ok_and(|metadata| metadata.is_dir());
        return match is_named {
            true => Some("it is a link"),
            false if recursive && leads_to_directory() => Some("it is a linked directory"),
            false => None,
        };
    }
    (is_named && !kind.is_dir()).then_some("it is not a regular file")
}

/// What reading one file gave.
pub enum Content {
    /// All its bytes were read, and it stood still meanwhile.
    Whole,
    /// It is not there any more.
    Gone,
    /// It was written while it was read, or is another file by now.
    Changing,
    /// It is larger than an envelope may be; it was not read.
    TooLarge,
    /// The system refused.
    Refused(String),
    /// The machine lacks what reading it takes; nothing is known of the file.
    Lacking(Lack),
}

/// Reads one file once, behind the bytes that are there. Unless it is [`Content::Whole`] they end with a part of it.
#[expect(clippy::disallowed_methods, reason = "what is no regular file by now has changed, and is no error")]
pub fn read(root: &Path, file: &SourceFile, bytes: &mut Vec<u8>) -> Content {
    if file.stamp.size > ENVELOPE_MAX {
        return Content::TooLarge;
    }
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32)
        .open(root.join(&file.path));
    match opened.and_then(|f| read_still(&f, file.stamp, bytes, read_up_to)) {
        Ok(content) => content,
        Err(e) if e.kind() == io::ErrorKind::NotFound => Content::Gone,
        Err(e) => Lack::of(&e).map_or_else(|| Content::Refused(reason(&e)), Content::Lacking),
    }
}

/// Reads with `read`, and looks at the file before and after: what was written meanwhile is not taken for whole.
fn read_still(
    file: &File,
    listed: Stamp,
    bytes: &mut Vec<u8>,
    read: impl FnOnce(&File, u64, &mut Vec<u8>) -> io::Result<usize>,
) -> io::Result<Content> {
    let metadata = file.metadata()?;
    if !metadata.is_file() || Stamp::of(&metadata) != listed {
        return Ok(Content::Changing);
    }
    if read(file, listed.size, bytes)? as u64 != listed.size {
        return Ok(Content::Changing);
    }
    if Stamp::of(&file.metadata()?) != listed {
        return Ok(Content::Changing);
    }
    Ok(Content::Whole)
}

fn read_up_to(file: &File, size: u64, bytes: &mut Vec<u8>) -> io::Result<usize> {
    bytes.try_reserve(size as usize)?;
    file.take(size).read_to_end(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::time::{Duration, SystemTime};

    /// A file of five bytes, with its stamp.
    fn file() -> (tempfile::TempDir, PathBuf, Stamp) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        fs::write(&path, "first").unwrap();
        let stamp = Stamp::of(&path.metadata().unwrap());
        (dir, path, stamp)
    }

    fn is_changing(content: io::Result<Content>) -> bool {
        matches!(content.unwrap(), Content::Changing)
    }

    fn open(path: &Path) -> File {
        File::open(path).unwrap()
    }

    #[test]
    fn unchanged_file_is_read_whole() {
        let (_dir, path, stamp) = file();
        let mut bytes = b"before ".to_vec();
        let content = read_still(&open(&path), stamp, &mut bytes, read_up_to).unwrap();
        assert!(matches!(content, Content::Whole) && bytes == b"before first");
    }

    #[test]
    fn file_that_changed_between_listing_and_opening_is_changing() {
        let (dir, path, stamp) = file();
        // As long as before, and put in the other one's place.
        fs::write(dir.path().join("new"), "other").unwrap();
        fs::rename(dir.path().join("new"), &path).unwrap();
        let unread = |_: &File, _: u64, _: &mut Vec<u8>| -> io::Result<usize> { panic!("it is not read") };
        assert!(is_changing(read_still(&open(&path), stamp, &mut Vec::new(), unread)));
        let listed = SourceFile { path: "a.json".into(), name: "a.json".into(), stamp };
        assert!(matches!(read(dir.path(), &listed, &mut Vec::new()), Content::Changing));
    }

    #[test]
    fn file_that_changes_while_it_is_read_is_changing() {
        let (_dir, path, stamp) = file();
        let written_over = |file: &File, size: u64, bytes: &mut Vec<u8>| {
            let read = read_up_to(file, size, bytes);
            // The same length and another time, as an editor or a connector leaves it.
            fs::write(&path, "other")?;
            File::options().write(true).open(&path)?.set_modified(SystemTime::now() + Duration::from_secs(9))?;
            read
        };
        assert!(is_changing(read_still(&open(&path), stamp, &mut Vec::new(), written_over)));
    }

    #[test]
    fn file_that_is_cut_while_it_is_read_is_changing() {
        let (_dir, path, stamp) = file();
        let cut = |file: &File, size: u64, bytes: &mut Vec<u8>| read_up_to(file, size - 1, bytes);
        assert!(is_changing(read_still(&open(&path), stamp, &mut Vec::new(), cut)));
    }

    #[test]
    fn name_beyond_the_formats_bound_is_cut_between_letters() {
        let name = |text: &str| name_of(OsStr::new(text));
        assert_eq!(name("feed.json"), "feed.json");
        assert_eq!(name(&"é".repeat(512)), "é".repeat(512));
        assert_eq!(name(&("x".to_owned() + &"é".repeat(512))), "x".to_owned() + &"é".repeat(511));
    }
}
