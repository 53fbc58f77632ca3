//! The program under `strace`: what it asks of the system, and one fault at one of its calls.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Unjudged, finish, output};

/// Calls after which something on disk is different, or safer, than before: each of them is a point to stop at.
const CHANGING: [&str; 50] = [
    "chmod",
    "chown",
    "copy_file_range",
    "creat",
    "fallocate",
    "fchmod",
    "fchmodat",
    "fchmodat2",
    "fchown",
    "fchownat",
    "fdatasync",
    "fsetxattr",
    "fsync",
    "ftruncate",
    "futimesat",
    "lchown",
    "link",
    "linkat",
    "lsetxattr",
    "mkdir",
    "mkdirat",
    "mknod",
    "mknodat",
    "msync",
    "open",
    "openat",
    "openat2",
    "pwrite64",
    "pwritev",
    "pwritev2",
    "rename",
    "renameat",
    "renameat2",
    "rmdir",
    "sendfile",
    "setxattr",
    "splice",
    "symlink",
    "symlinkat",
    "sync",
    "sync_file_range",
    "syncfs",
    "truncate",
    "unlink",
    "unlinkat",
    "utime",
    "utimensat",
    "utimes",
    "write",
    "writev",
];

/// Calls that look, wait, or concern the process alone. A call in neither list fails the test: somebody has to say which
/// it is, or a sweep would pass over it unseen.
const HARMLESS: [&str; 90] = [
    "access",
    "arch_prctl",
    "brk",
    "clock_getres",
    "clock_gettime",
    "clock_nanosleep",
    "clone",
    "clone3",
    "close",
    "close_range",
    "dup",
    "dup2",
    "dup3",
    "epoll_create1",
    "epoll_ctl",
    "epoll_wait",
    "eventfd2",
    "execve",
    "exit",
    "exit_group",
    "faccessat",
    "faccessat2",
    "fadvise64",
    "fchdir",
    "fcntl",
    "fgetxattr",
    "flock",
    "fstat",
    "fstatfs",
    "futex",
    "futex_waitv",
    "getcwd",
    "getdents64",
    "getegid",
    "geteuid",
    "getgid",
    "getpgrp",
    "getpid",
    "getppid",
    "getrandom",
    "getrlimit",
    "getrusage",
    "getuid",
    "gettid",
    "getxattr",
    "ioctl",
    "lgetxattr",
    "lseek",
    "lstat",
    "madvise",
    "membarrier",
    "mmap",
    "mprotect",
    "mremap",
    "munmap",
    "name_to_handle_at",
    "nanosleep",
    "newfstatat",
    "pipe",
    "pipe2",
    "poll",
    "ppoll",
    "prctl",
    "pread64",
    "preadv",
    "prlimit64",
    "pselect6",
    "read",
    "readahead",
    "readlink",
    "readlinkat",
    "readv",
    "restart_syscall",
    "rseq",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sched_getaffinity",
    "sched_yield",
    "sendto",
    "set_robust_list",
    "set_tid_address",
    "sigaltstack",
    "stat",
    "statfs",
    "statx",
    "sysinfo",
    "tgkill",
    "umask",
    "uname",
];

/// Directories whose files the loader and the runtime open before any work begins.
const SYSTEM: [&str; 6] = ["/lib", "/usr", "/etc", "/proc", "/sys", "/dev"];

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blow {
    /// The process dies before the system does it.
    Kill,
    /// The system says this error instead of doing it.
    Error(&'static str),
}

/// One fault: the n-th call of a name, counted in each thread by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    pub call: &'static str,
    pub nth: usize,
    pub blow: Blow,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.blow {
            Blow::Kill => write!(f, "killed before {} number {}", self.call, self.nth),
            Blow::Error(error) => write!(f, "{error} from {} number {}", self.call, self.nth),
        }
    }
}

/// How a run under a fault ended.
#[derive(Debug)]
pub enum Ended {
    Killed,
    ByItself(Unjudged),
}

/// Runs a command with one fault in it.
pub fn with_fault(command: &Command, fault: Fault) -> Ended {
    let blow = match fault.blow {
        Blow::Kill => "signal=KILL".to_owned(),
        Blow::Error(error) => format!("error={error}"),
    };
    injected(command, &[], &format!("{}:{blow}:when={}", fault.call, fault.nth))
}

/// Runs a command in which calls of this name fail that concern one of these paths; `when` as strace has it.
pub fn with_error_at(command: &Command, paths: &[&Path], call: &str, error: &str, when: &str) -> Unjudged {
    let more: Vec<&str> = paths.iter().flat_map(|path| ["-P", path.to_str().unwrap()]).collect();
    match injected(command, &more, &format!("{call}:error={error}:when={when}")) {
        Ended::ByItself(run) => run,
        Ended::Killed => panic!("nobody sent a signal"),
    }
}

fn injected(command: &Command, more: &[&str], rule: &str) -> Ended {
    let name = rule.split(':').next().unwrap();
    let traced = format!("trace={name}");
    let inject = format!("inject={rule}");
    let mut options = vec!["-o", "/dev/null", "-e", "signal=none", "-e", &traced, "-e", &inject];
    options.extend(more);
    let output = output(&mut under(command, &options));
    match output.status.signal() {
        Some(9) => Ended::Killed,
        Some(other) => panic!("signal {other} from {rule}"),
        None => Ended::ByItself(Unjudged::of(&output)),
    }
}

/// The same command with strace before it.
pub fn under(command: &Command, options: &[&str]) -> Command {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq"]).args(options).arg("--").arg(command.get_program()).args(command.get_args());
    strace.stdin(std::process::Stdio::null());
    if let Some(dir) = command.get_current_dir() {
        strace.current_dir(dir);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => strace.env(name, value),
            None => strace.env_remove(name),
        };
    }
    strace
}

/// One call, as strace wrote it down.
#[derive(Debug, Clone)]
pub struct Call {
    /// Which one of its thread by this name, from 1.
    pub nth: usize,
    pub name: String,
    /// All that stands in the brackets.
    pub arguments: String,
    /// Whether it is the first thread's.
    pub is_main: bool,
}

impl Call {
    /// The first text among the arguments: the path, where there is one.
    pub fn path(&self) -> Option<PathBuf> {
        let from = self.arguments.find('"')? + 1;
        let to = from + self.arguments[from..].find('"')?;
        Some(PathBuf::from(&self.arguments[from..to]))
    }

    /// Whether it opens something to change it, or makes it.
    pub fn opens_to_write(&self) -> bool {
        ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_APPEND"].iter().any(|flag| self.arguments.contains(flag))
    }

    /// Whether it is one of those that change something, if its arguments are such.
    pub fn changes(&self) -> bool {
        CHANGING.contains(&self.name.as_str())
    }

    /// Whether it opens something to read it.
    pub fn only_looks(&self) -> bool {
        self.name.starts_with("open") && !self.opens_to_write()
    }
}

/// Runs a command to its end and lists every call that it makes.
pub fn calls_of(command: &Command) -> (Unjudged, Vec<Call>) {
    let log = tempfile::NamedTempFile::new().unwrap();
    let path = log.path().to_str().unwrap();
    let run = finish(&mut under(command, &["-o", path, "-e", "signal=none", "-s", "400", "-y"]));
    let text = String::from_utf8_lossy(&fs::read(log.path()).unwrap()).into_owned();
    let mut main = None;
    let mut counts: HashMap<(&str, &str), usize> = HashMap::new();
    let mut calls = Vec::new();
    for line in text.lines() {
        let (thread, rest) = line.split_once(' ').expect("strace -f writes the thread first");
        let rest = rest.trim_start();
        main.get_or_insert(thread);
        // The end of a call that another thread's interrupted was counted at its beginning.
        let Some((name, arguments)) = rest.split_once('(').filter(|_| !rest.starts_with('<')) else { continue };
        let nth = counts.entry((thread, name)).or_default();
        *nth += 1;
        let (nth, name, arguments) = (*nth, name.to_owned(), arguments.to_owned());
        calls.push(Call { nth, name, arguments, is_main: main == Some(thread) });
    }
    assert!(!calls.is_empty(), "strace wrote nothing: {run:#?}");
    (run, calls)
}

/// The names of calls to stop a command at, each with the first number that is its own work and not the loader's.
/// Fails on a name that nobody has judged yet.
pub fn points_of(calls: &[Call]) -> BTreeMap<&'static str, usize> {
    let mut points = BTreeMap::new();
    for call in calls {
        let Some(name) = CHANGING.iter().find(|n| **n == call.name) else {
            assert!(
                HARMLESS.contains(&call.name.as_str()),
                "{} is a new system call; does it change anything? {call:?}",
                call.name
            );
            continue;
        };
        let is_loader = call.path().is_some_and(|p| SYSTEM.iter().any(|dir| p.starts_with(dir) && dir.len() > 1));
        if call.is_main
            && !points.contains_key(name)
            && !(call.name.starts_with("open") && is_loader && !call.opens_to_write())
        {
            points.insert(*name, call.nth);
        }
    }
    points
}
