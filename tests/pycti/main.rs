//! Beside pycti: our splitter and OpenCTI's own client take the same bundles apart, and every text is compared.
//!
//! Needs a Python that has pycti: `tests/run` makes one and names it in `AIRPOUCH_PYCTI`. `AIRPOUCH_BUNDLES` says how
//! many made-up bundles are split (100,000 if it says nothing), `AIRPOUCH_SEED` where they begin.

#![allow(clippy::disallowed_methods, reason = "tests and benchmarks open what they have made themselves")]

mod generate;
mod random;
mod reference;
mod reports;
mod traps;

use airpouch::opencti::split::{Split, Unsplittable};
use reference::{Answer, Pycti};

/// What pycti gives a bundle that has no id is random; ours is made up by the caller.
const SPARE_ID: &str = "bundle--00000000-0000-4000-8000-000000000000";

fn ours(bundle: &str) -> Result<(Vec<String>, Vec<String>), Unsplittable> {
    let split = Split::of(bundle)?;
    let part = |at| {
        let mut out = String::new();
        split.write_part(&mut out, bundle, at, SPARE_ID);
        out
    };
    let parts = (0..split.expectations()).map(part).collect();
    Ok((parts, split.incompatible().iter().map(|i| i.id.clone()).collect()))
}

/// Where ours may differ: pycti writes Infinity, takes the text of a marking apart, and counts without end.
fn is_our_own(fault: &Unsplittable) -> bool {
    ["takes for Infinity", "its marking would be lost", "a number of more than 64 digits"]
        .iter()
        .any(|words| fault.what.contains(words))
}

/// Compares both, and says whether pycti raised.
fn compare(bundle: &str, theirs: &Answer, name: &str) -> bool {
    match (ours(bundle), theirs) {
        (Err(fault), _) if is_our_own(&fault) => false,
        (Err(_), Answer::Raises(_)) => true,
        (Err(fault), Answer::Split { .. }) => panic!("{name}: pycti splits, ours says {fault}\n{bundle}"),
        (Ok(_), Answer::Raises(what)) => panic!("{name}: pycti raises {what}, ours does not\n{bundle}"),
        (Ok((parts, incompatible)), Answer::Split { parts: theirs, incompatible: passed_over }) => {
            for (at, (ours, theirs)) in parts.iter().zip(theirs).enumerate() {
                assert_eq!(without_spare_id(ours), without_spare_id(theirs), "{name}: part {at}\n{bundle}");
            }
            assert_eq!(parts.len(), theirs.len(), "{name}: parts\n{bundle}");
            assert_eq!(incompatible.len(), *passed_over, "{name}: incompatible\n{bundle}");
            false
        }
    }
}

/// The text with an id that was made up left out, whoever made it up.
fn without_spare_id(part: &str) -> String {
    let begin = "{\"type\": \"bundle\", \"id\": \"bundle--";
    match part.strip_prefix(begin) {
        Some(rest) if rest.len() > 36 => format!("{begin}{}", &rest[36..]),
        _ => part.to_owned(),
    }
}

#[test]
fn fixtures_are_what_pycti_makes() {
    if !Pycti::is_there() {
        return;
    }
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/split");
    let mut paths: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "json"));
    let bundles: Vec<String> = paths.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let raised = Pycti::beside(
        0..bundles.len() as u64,
        |at| bundles[at as usize].clone(),
        |bundle, theirs, at| {
            let path = &paths[at as usize];
            if let (Answer::Split { parts, .. }, Ok(kept)) =
                (theirs, std::fs::read_to_string(path.with_extension("parts")))
            {
                assert_eq!(kept.lines().collect::<Vec<_>>(), *parts, "{path:?}");
            }
            compare(bundle, theirs, &path.display().to_string())
        },
    );
    let named = paths.iter().filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("raises-")).count();
    assert_eq!(raised, named as u64);
}

#[test]
fn random_bundles_are_split_as_pycti_splits_them() {
    if !Pycti::is_there() {
        return;
    }
    let number = |name: &str, or: u64| std::env::var(name).map_or(or, |text| text.parse().unwrap());
    let (count, seed) = (number("AIRPOUCH_BUNDLES", 100_000), number("AIRPOUCH_SEED", 0));
    // Two generators, by two hands: what one has overlooked the other has not.
    let bundle = |seed: u64| if seed.is_multiple_of(2) { generate::bundle(seed) } else { traps::bundle(seed) };
    let raised = Pycti::beside(seed..seed + count, bundle, |bundle, theirs, seed| {
        compare(bundle, theirs, &format!("seed {seed}"))
    });
    assert!(
        raised * 10 > count / 2 && raised < count / 2,
        "{raised} of {count} raise: the generator has lost its teeth"
    );
}
