//! Which file of the source uses which: what the rules about rooms rest on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::{code, files_of, rooms};

/// Files by the paths of their modules, such as `sink/queues`, each with the modules that it uses.
pub struct Graph(pub BTreeMap<String, BTreeSet<String>>);

impl Graph {
    /// Of the whole source, the binary's part too.
    pub fn of_the_source() -> Self {
        let rooms = rooms().into_iter().chain(["cli".to_owned()]);
        let files: Vec<PathBuf> = rooms.flat_map(|room| files_of(&room)).filter(|f| !f.ends_with("tests.rs")).collect();
        let name = |file: &PathBuf| file.with_extension("").strip_prefix("src").unwrap().display().to_string();
        let names: BTreeSet<String> = files.iter().map(name).collect();
        let uses = |file: &PathBuf| {
            let (name, code) = (name(file), code(file));
            let paths = paths(&code).into_iter();
            let used: BTreeSet<String> = paths.filter_map(|path| resolve(&name, &path, &names)).collect();
            (name.clone(), used.into_iter().filter(|other| *other != name).collect())
        };
        Self(files.iter().map(uses).collect())
    }

    /// Each use of one room by another: the file, and the room that it uses.
    pub fn between_rooms(&self) -> impl Iterator<Item = (&str, &str)> {
        let each = self.0.iter().flat_map(|(name, used)| used.iter().map(|other| (name.as_str(), room_of(other))));
        each.filter(|(name, other)| room_of(name) != *other)
    }

    /// Files that come back to themselves, with what they use of one another. A module and the files below it are one
    /// thing in several files: that it uses them does not count.
    pub fn circles(&self) -> Vec<(String, String)> {
        let uses = |(name, used): (&String, &BTreeSet<String>)| {
            let below = format!("{name}/");
            used.iter().filter(|other| !other.starts_with(&below)).map(|other| (name.clone(), other.clone())).collect()
        };
        let mut edges: Vec<(String, String)> = self.0.iter().flat_map(uses as fn(_) -> Vec<_>).collect();
        // What nobody uses, and what uses nobody, is in no circle; what is left when all of that is gone is.
        loop {
            let from: BTreeSet<_> = edges.iter().map(|(from, _)| from.clone()).collect();
            let to: BTreeSet<_> = edges.iter().map(|(_, to)| to.clone()).collect();
            let before = edges.len();
            edges.retain(|edge| to.contains(&edge.0) && from.contains(&edge.1));
            if edges.len() == before {
                return edges;
            }
        }
    }
}

/// The room of a module.
pub fn room_of(name: &str) -> &str {
    name.split('/').next().unwrap()
}

/// The file that a path in a module leads to.
fn resolve(from: &str, path: &[String], names: &BTreeSet<String>) -> Option<String> {
    let mut at: Vec<&str> = from.split('/').collect();
    let mut rest = path;
    if path[0] == "crate" {
        // The binary has no rooms of its own but one.
        at.truncate(if room_of(from) == "cli" { 1 } else { 0 });
    }
    while let Some((word, after)) = rest.split_first().filter(|(w, _)| ["crate", "super", "self"].contains(&w.as_str()))
    {
        if word == "super" {
            at.pop();
        }
        rest = after;
    }
    at.extend(rest.iter().map(String::as_str));
    (1..=at.len()).rev().map(|length| at[..length].join("/")).find(|name| names.contains(name))
}

/// All paths that begin in the library: those of a list in braces one by one.
fn paths(code: &str) -> Vec<Vec<String>> {
    let mut out = Vec::new();
    for begin in ["crate::", "super::", "self::"] {
        for (at, _) in code.match_indices(begin) {
            if !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') {
                path(&code[at..], &[], &mut out);
            }
        }
    }
    out
}

/// Reads one path, and says what comes after it.
fn path<'a>(code: &'a str, before: &[String], out: &mut Vec<Vec<String>>) -> &'a str {
    let length = code.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(code.len());
    let mut path = before.to_vec();
    path.extend((length > 0).then(|| code[..length].to_owned()));
    let Some(rest) = code[length..].strip_prefix("::") else {
        out.push(path);
        return &code[length..];
    };
    let Some(mut list) = rest.strip_prefix('{') else { return self::path(rest, &path, out) };
    loop {
        list = list.trim_start_matches(|c: char| c.is_whitespace() || c == ',' || c == '*');
        if let Some(after) = list.strip_prefix('}') {
            return after;
        }
        list = self::path(list, &path, out);
        // A name that is given to it, as in `a as b`.
        list = &list[list.find([',', '}']).expect("a list ends")..];
    }
}

#[test]
fn paths_are_read_with_their_lists() {
    let code =
        "use crate::a::{b, c::{D, e::F as G}, self}; pub(super) fn x(y: super::z::W) { crate::v(); my::crate::no() }";
    let found: Vec<String> = paths(code).iter().map(|path| path.join("/")).collect();
    assert_eq!(found, ["crate/a/b", "crate/a/c/D", "crate/a/c/e/F", "crate/a/self", "crate/v", "super/z/W"]);
    let names: BTreeSet<String> = ["a", "a/c", "x", "x/z", "cli/w"].map(str::to_owned).into();
    let resolve = |from: &str, path: &str| {
        resolve(from, &path.split('/').map(str::to_owned).collect::<Vec<_>>(), &names).unwrap_or_default()
    };
    assert_eq!(resolve("x/z", "crate/a/c/D"), "a/c");
    assert_eq!(resolve("x/z", "super/y"), "x");
    assert_eq!(resolve("x/z", "super/super/a/B"), "a");
    assert_eq!(resolve("cli/w", "super/w/B"), "cli/w");
    assert_eq!(resolve("x", "crate/w"), "");
}

#[test]
fn circle_is_found_without_files_that_only_lead_to_it() {
    let uses = |of: &[(&str, &[&str])]| {
        Graph(of.iter().map(|(n, used)| ((*n).to_owned(), used.iter().map(|u| (*u).to_owned()).collect())).collect())
    };
    let graph = uses(&[("a", &["b"]), ("b", &["c"]), ("c", &["b", "d"]), ("d", &[]), ("p", &["p/q"]), ("p/q", &["p"])]);
    assert_eq!(graph.circles(), [("b".into(), "c".into()), ("c".into(), "b".into())]);
}
