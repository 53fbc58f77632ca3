//! A run of the program as what it did to the disk, one call after the other, out of what strace wrote.
//!
//! A call of one thread may end after another thread's has begun, so that each gives two moments: its beginning, and
//! its end if it succeeded. What is written counts from its beginning and until its end; what is synced was written before
//! the sync began, and is durable once it has ended.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::strace::under;
use crate::support::{Unjudged, finish};

/// What a call does to what is on disk, or to who reads the terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// A file is opened to write, and made if it is not there.
    Opens(PathBuf),
    /// Bytes or times of a file.
    Writes(PathBuf),
    MakesDirectory(PathBuf),
    /// Also a link: the second name is what is looked at afterwards.
    Names {
        from: PathBuf,
        to: PathBuf,
    },
    Removes(PathBuf),
    /// A file or a directory.
    Syncs(PathBuf),
    /// All of the file system that this lies on.
    SyncsAll(PathBuf),
    Says(String),
    /// Something goes over the network.
    Sends,
}

/// The beginning of a call, or the end of one that succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moment {
    Begins(usize, Deed),
    Ends(usize),
}

/// The calls that are written down. `strace::points_of` holds that no other one changes anything.
const CALLS: &str = "trace=open,openat,creat,write,writev,pwrite64,pwritev,pwritev2,ftruncate,truncate,fallocate,\
    copy_file_range,sendfile,splice,sync_file_range,utimensat,utime,utimes,futimesat,mkdir,mkdirat,rename,renameat,renameat2,\
    link,linkat,symlink,symlinkat,unlink,unlinkat,rmdir,fsync,fdatasync,sync,syncfs,msync,mknod,mknodat,sendto,sendmsg";

/// Runs a command to its end and gives its moments, in their order; with more options for strace.
pub fn moments_of(command: &Command, more: &[&str]) -> (Unjudged, Vec<Moment>) {
    let log = tempfile::NamedTempFile::new().unwrap();
    let options = ["-o", log.path().to_str().unwrap(), "-e", "signal=none", "-s", "4000", "-y", "-e", CALLS];
    let run = finish(&mut under(command, &[&options, more].concat()));
    let at = command.get_current_dir().expect("a command of a world runs in it").canonicalize().unwrap();
    let text = String::from_utf8_lossy(&fs::read(log.path()).unwrap()).into_owned();
    (run, read(&text, &at))
}

/// Reads what `strace -f -y` wrote of a program that was started in `at`.
pub fn read(text: &str, at: &Path) -> Vec<Moment> {
    let mut moments = Vec::new();
    let mut open: HashMap<&str, usize> = HashMap::new();
    for (number, line) in text.lines().enumerate() {
        let (thread, rest) = line.split_once(' ').expect("strace -f writes the thread first");
        let rest = rest.trim_start();
        if rest.starts_with("<...") {
            if let Some(begun) = open.remove(thread).filter(|_| succeeded(rest)) {
                moments.push(Moment::Ends(begun));
            }
            continue;
        }
        // strace has no name for the call of a thread that was killed as it was looked at: it did nothing.
        let Some((name, arguments)) = rest.split_once('(').filter(|(name, _)| *name != "???") else { continue };
        let Some(deed) = deed(name, &words(arguments), at) else { continue };
        moments.push(Moment::Begins(number, deed));
        if rest.ends_with("<unfinished ...>") {
            open.insert(thread, number);
        } else if succeeded(rest) {
            moments.push(Moment::Ends(number));
        }
    }
    moments
}

fn succeeded(line: &str) -> bool {
    let (_, result) = line.rsplit_once(" = ").unwrap_or_else(|| panic!("a call that did not end: {line}"));
    !result.starts_with('-') && !result.starts_with('?')
}

/// One argument of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Word {
    Text(String),
    /// A descriptor with what it has open, as `-y` writes it; also `AT_FDCWD</where/it/is>`.
    Open(PathBuf),
    Other(String),
}

/// Takes the arguments apart, up to the bracket that closes them.
fn words(arguments: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut rest = arguments;
    loop {
        rest = rest.trim_start_matches([',', ' ', '.']);
        if rest.is_empty() || rest.starts_with([')', '<']) {
            return words;
        }
        let end = if let Some(text) = rest.strip_prefix('"') {
            let mut escaped = false;
            let is_end = |c: char| {
                let end = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                end
            };
            let end = text.find(is_end).expect("a text ends");
            words.push(Word::Text(text[..end].to_owned()));
            end + 2
        } else {
            let end = rest.find([',', ')']).unwrap_or(rest.len());
            // A call that is interrupted by another thread's may have been given one descriptor only.
            let word = rest[..end].trim_end_matches("<unfinished ...>").trim_end();
            words.push(match word.split_once('<').and_then(|(_, path)| path.split_once('>')) {
                Some((path, _)) => Word::Open(PathBuf::from(path)),
                None => Word::Other(word.to_owned()),
            });
            end
        };
        rest = &rest[end..];
    }
}

/// What a call does, by its name and arguments; nothing if it only reads.
///
/// # Panics
/// At a call that changes something and that nobody has said the meaning of.
fn deed(name: &str, words: &[Word], at: &Path) -> Option<Deed> {
    let is_cwd = |word: &Word| matches!(word, Word::Other(text) if text == "AT_FDCWD");
    // Every path of the call: a text is below the directory that was given before it, or below the current one.
    let mut paths = Vec::new();
    let mut dir = at.to_owned();
    for word in words {
        match word {
            Word::Text(text) if text.is_empty() => paths.push(dir.clone()),
            Word::Text(text) => paths.push(dir.join(text)),
            Word::Open(path) => dir.clone_from(path),
            other if is_cwd(other) => at.clone_into(&mut dir),
            Word::Other(_) => {}
        }
    }
    let flags = |flag: &str| words.iter().any(|w| matches!(w, Word::Other(text) if text.contains(flag)));
    let path = |nth: usize| paths.get(nth).unwrap_or_else(|| panic!("{name} has no path: {words:?}")).clone();
    let descriptor = |nth: usize| match words.get(nth) {
        Some(Word::Open(path)) => path.clone(),
        _ => panic!("{name} has no descriptor: {words:?}"),
    };
    match name {
        "open" | "openat" | "openat2" => {
            assert!(!flags("O_TMPFILE"), "a file without a name: {words:?}");
            (flags("O_WRONLY") || flags("O_RDWR") || flags("O_CREAT")).then(|| Deed::Opens(path(0)))
        }
        // Nothing is sent: signal-hook looks whether its own pipe is a socket.
        "sendto" if words.get(1) == Some(&Word::Text(String::new())) => None,
        "sendto" | "sendmsg" => Some(Deed::Sends),
        "write" | "writev" if matches!(words.first(), Some(Word::Open(to)) if is_socket(to)) => Some(Deed::Sends),
        "write" if matches!(words.first(), Some(Word::Open(to)) if is_talk(to)) => match &words[1] {
            Word::Text(text) => Some(Deed::Says(text.clone())),
            other => panic!("{other:?} was said"),
        },
        "write" | "writev" | "pwrite64" | "pwritev" | "pwritev2" | "ftruncate" | "fallocate" => {
            Some(Deed::Writes(descriptor(0)))
        }
        "copy_file_range" => Some(Deed::Writes(descriptor(2))),
        "utimensat" if paths.is_empty() => Some(Deed::Writes(descriptor(0))),
        "utimensat" => Some(Deed::Writes(path(0))),
        "mkdir" | "mkdirat" => Some(Deed::MakesDirectory(path(0))),
        "rename" | "renameat" | "renameat2" | "link" | "linkat" => Some(Deed::Names { from: path(0), to: path(1) }),
        "unlink" | "unlinkat" | "rmdir" => Some(Deed::Removes(path(0))),
        "fsync" | "fdatasync" => Some(Deed::Syncs(descriptor(0))),
        "syncfs" => Some(Deed::SyncsAll(descriptor(0))),
        other => panic!("{other} is not one of the calls that are judged: {words:?}"),
    }
}

fn is_socket(to: &Path) -> bool {
    to.to_string_lossy().starts_with("socket:")
}

/// Whether it is a pipe or a terminal: somebody reads what is written there.
fn is_talk(to: &Path) -> bool {
    let to = to.to_string_lossy();
    to.starts_with("pipe:") || to.starts_with("/dev/pts/")
}
