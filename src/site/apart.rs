//! Places that must be apart. They are compared by device and inode, so that no link, no second name and no second
//! mount of a directory makes two places out of one.

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Site;
use crate::error::{Error, Result};

/// Device and inode.
type Node = (u64, u64);

/// Where a path leads, also one that is not there yet.
struct Spot {
    /// The nearest directory that is there, then each above it.
    nodes: Vec<Node>,
    /// What is still to be made below the nearest one.
    rest: Vec<OsString>,
}

impl Spot {
    fn of(path: &Path) -> Result<Self> {
        let fault = |e: std::io::Error| Error::io("look at a directory", path, &e);
        let mut there = std::path::absolute(path).map_err(fault)?;
        let mut rest = Vec::new();
        let real = loop {
            match there.canonicalize() {
                Ok(real) => break real,
                Err(e) => match (there.file_name().map(OsString::from), there.parent().map(PathBuf::from)) {
                    (Some(name), Some(parent)) => {
                        rest.insert(0, name);
                        there = parent;
                    }
                    _ => return Err(fault(e)),
                },
            }
        };
        let node = |p: &Path| p.metadata().map(|m| (m.dev(), m.ino()));
        let nodes = real.ancestors().map(node).collect::<std::io::Result<_>>().map_err(fault)?;
        Ok(Self { nodes, rest })
    }

    fn is(&self, other: &Self) -> bool {
        self.nodes.first() == other.nodes.first() && self.rest == other.rest
    }

    /// Whether this is the other place or lies below it.
    fn is_in(&self, other: &Self) -> bool {
        if other.rest.is_empty() {
            return other.nodes.first().is_some_and(|node| self.nodes.contains(node));
        }
        self.nodes.first() == other.nodes.first() && self.rest.starts_with(&other.rest)
    }
}

impl Site {
    /// Refuses a place that must be outside of the site: it is the site, lies in it, or holds it.
    ///
    /// # Errors
    /// It is not outside; `what` is the word for it, such as "the medium".
    pub fn refuse_inside(&self, what: &str, path: &Path) -> Result<()> {
        let (place, site) = (Spot::of(path)?, Spot::of(self.root())?);
        for (name, own) in self.own_places() {
            let own = Spot::of(&own)?;
            if place.is(&own) {
                return Err(refused(format!("{what} is {name}"), what, path));
            }
        }
        if place.is_in(&site) {
            return Err(refused(format!("{what} is inside the site {}", self.root().display()), what, path));
        }
        if site.is_in(&place) {
            return Err(refused(format!("the site {} is inside {what}", self.root().display()), what, path));
        }
        Ok(())
    }

    /// Refuses a source that is the site, or lies among what airpouch itself keeps there.
    ///
    /// # Errors
    /// It is, or does.
    pub fn refuse_as_source(&self, path: &Path) -> Result<()> {
        let place = Spot::of(path)?;
        for (name, own) in self.own_places() {
            let own_spot = Spot::of(&own)?;
            if place.is(&own_spot) || (own != self.root() && place.is_in(&own_spot)) {
                let verb = if place.is(&own_spot) { "is" } else { "is inside" };
                return Err(refused(format!("the source {verb} {name}"), "the source", path));
            }
        }
        Ok(())
    }

    /// The site and the directories that airpouch keeps in it, each with its words.
    fn own_places(&self) -> [(&'static str, PathBuf); 6] {
        [
            ("the site itself", self.root().to_owned()),
            ("the outbox of the site", self.outbox()),
            ("the inbox of the site", self.inbox()),
            ("the directory of held envelopes of the site", self.held()),
            ("the quarantine of the site", self.quarantine()),
            ("the trust store of the site", self.trust()),
        ]
    }
}

/// Refuses two places that are one directory.
///
/// # Errors
/// They are; `a` and `b` are the words for them, such as "the source".
pub fn refuse_same(a: &str, first: &Path, b: &str, second: &Path) -> Result<()> {
    if Spot::of(first)?.is(&Spot::of(second)?) {
        return Err(refused(format!("{a} and {b} are one directory"), a, first));
    }
    Ok(())
}

/// Refuses a place that lies in another one, or is it.
///
/// # Errors
/// It does; `inner` and `outer` are the words for them.
pub fn refuse_below(inner: &str, below: &Path, outer: &str, above: &Path) -> Result<()> {
    refuse_same(inner, below, outer, above)?;
    if Spot::of(below)?.is_in(&Spot::of(above)?) {
        return Err(refused(format!("{inner} is inside {outer}"), inner, below));
    }
    Ok(())
}

fn refused(words: String, what: &str, path: &Path) -> Error {
    Error::usage(format!("{words}; these must be apart"))
        .at(path)
        .advise(format!("name another directory for {}", what.trim_start_matches("the ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn one_directory_is_one_place_under_every_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::create_dir_all(path("site/outbox/deep")).unwrap();
        fs::create_dir(path("apart")).unwrap();
        symlink(path("site/outbox"), path("link")).unwrap();
        let site = Site::new(path("site"));
        for inside in
            ["site", "site/.", "site/outbox", "link", "link/deep", "site/new/deeper", "apart/../site", "", "link/new"]
        {
            let refused = site.refuse_inside("the medium", &path(inside)).unwrap_err();
            assert_eq!(refused.stop, crate::error::Stop::Usage, "{inside}: {refused}");
        }
        for outside in ["apart", "new", "apart/new"] {
            assert!(site.refuse_inside("the medium", &path(outside)).is_ok(), "{outside}");
        }
        assert!(refuse_same("the source", &path("link"), "the medium", &path("site/outbox")).is_err());
        assert!(refuse_same("the source", &path("new"), "the medium", &path("./new")).is_err());
        assert!(refuse_same("the source", &path("apart"), "the medium", &path("new")).is_ok());
        assert!(refuse_below("the destination", &path("apart/in"), "the medium", &path("apart")).is_err());
        assert!(refuse_below("the destination", &path("apart"), "the medium", &path("apart/in")).is_ok());
    }

    #[test]
    fn site_that_is_not_there_yet_is_kept_apart_too() {
        let dir = tempfile::tempdir().unwrap();
        let site = Site::new(dir.path().join("new/site"));
        for inside in ["new/site", "new/site/inbox", "new"] {
            assert!(site.refuse_inside("the destination", &dir.path().join(inside)).is_err(), "{inside}");
        }
        assert!(site.refuse_inside("the destination", &dir.path().join("new/sites")).is_ok());
        assert!(site.refuse_as_source(&dir.path().join("new/site/envelopes")).is_ok());
        assert!(site.refuse_as_source(&dir.path().join("new/site/outbox/x")).is_err());
    }
}
