//! What a value in airpouch.toml may be, and how one would type it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// A value that has words on the command line.
pub trait AsWords {
    /// The words of an option that has this value; paths count from `root`.
    fn words(&self, root: &Path) -> Vec<OsString>;
}

macro_rules! as_printed {
    ($($kind:ty),*) => {
        $(impl AsWords for $kind {
            fn words(&self, _: &Path) -> Vec<OsString> {
                vec![self.to_string().into()]
            }
        })*
    };
}

as_printed!(String, bool, u16, u32, usize);

impl AsWords for PathBuf {
    fn words(&self, root: &Path) -> Vec<OsString> {
        vec![root.join(self).into()]
    }
}

/// One path, or a list of them.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum OneOrMore {
    One(PathBuf),
    More(Vec<PathBuf>),
}

impl AsWords for OneOrMore {
    fn words(&self, root: &Path) -> Vec<OsString> {
        match self {
            Self::One(path) => path.words(root),
            Self::More(paths) => paths.iter().flat_map(|path| path.words(root)).collect(),
        }
    }
}

/// A size as a number or as people write it.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Amount {
    Number(u64),
    Text(String),
}

impl AsWords for Amount {
    fn words(&self, _: &Path) -> Vec<OsString> {
        vec![match self {
            Self::Number(number) => number.to_string().into(),
            Self::Text(text) => text.into(),
        }]
    }
}

/// A destination, which may hold a path.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub struct Address(String);

impl AsWords for Address {
    fn words(&self, root: &Path) -> Vec<OsString> {
        let below = |kind: &str| {
            let dir = self.0.strip_prefix(kind).filter(|dir| !dir.is_empty())?;
            Some(format!("{kind}{}", root.join(dir).display()))
        };
        vec![below("dir:").or_else(|| below("spool:")).unwrap_or_else(|| self.0.clone()).into()]
    }
}
