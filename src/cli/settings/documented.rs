//! docs/policy.md has a row for each key of each settings file, and no other rows; and each variable of the environment.

use std::collections::BTreeSet;

use airpouch::policy::Policy;
use airpouch::trust::{PrivateKey, TrustStore};
use clap::CommandFactory;

use super::Settings;
use crate::cli::Cli;

const PAGE: &str = include_str!("../../../docs/policy.md");

/// The text between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The keys that serde expects, by what it says of one that it does not know.
fn expected(error: &str) -> BTreeSet<String> {
    let (_, known) = error.split_once("expected").unwrap_or_else(|| panic!("it names no keys: {error}"));
    quoted(known).map(str::to_owned).collect()
}

/// The keys in the first column of the tables below a heading that have a column `default`: no others list settings.
fn documented(heading: &str) -> BTreeSet<String> {
    let (_, section) = PAGE.split_once(&format!("\n## {heading}\n")).expect("the page has this heading");
    let section = section.split("\n## ").next().unwrap_or_default();
    let mut keys = BTreeSet::new();
    let mut is_of_settings = false;
    for line in section.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        match cells.get(1) {
            None => is_of_settings = false,
            Some(&"key") => is_of_settings = cells.contains(&"default"),
            Some(first) if is_of_settings => keys.extend(quoted(first).map(name)),
            Some(_) => {}
        }
    }
    keys
}

/// `applicants` of `[applicants."STREAM"]`.
fn name(key: &str) -> String {
    key.trim_matches(['[', ']']).split('.').next().unwrap_or_default().to_owned()
}

#[test]
fn each_key_of_airpouch_toml_has_a_row_in_the_settings_page() {
    let error = toml::from_str::<Settings>("nobodys = 1").unwrap_err().to_string();
    let known = expected(&error);
    assert!(known.contains("set_aside_quota") && known.contains("applicants"), "{known:?}");
    assert_eq!(documented("airpouch.toml"), known);
}

#[test]
fn each_key_of_policy_toml_has_a_row_in_the_settings_page() {
    assert_eq!(documented("policy.toml"), expected(&Policy::from_toml("nobodys = 1").unwrap_err().to_string()));
}

#[test]
fn each_key_of_trust_toml_has_a_row_in_the_settings_page() {
    let said = |text: &str| {
        let key = PrivateKey::from_seed([7; 32]).public().to_pem().into_bytes();
        let store = TrustStore::from_files(vec![("a.pem".to_owned(), key)], Some(text), false);
        expected(&store.unwrap_err().to_string())
    };
    let known = &said("nobodys = 1") | &said("[[key]]\nfile = \"a.pem\"\nnobodys = 1");
    assert_eq!(documented("trust.toml"), known);
}

/// Those for broker and platform are named by one sentence, which refers to their table.
#[test]
fn each_variable_of_the_environment_is_named_in_the_settings_page() {
    let mut command = Cli::command();
    command.build();
    let mut variables = BTreeSet::new();
    for verb in command.get_subcommands() {
        for arg in verb.get_arguments().chain(verb.get_subcommands().flat_map(clap::Command::get_arguments)) {
            variables.extend(arg.get_env().map(|name| name.to_string_lossy().into_owned()));
        }
    }
    assert!(variables.len() > 30, "{variables:?}");
    let (_, for_broker) = PAGE.split_once("For broker and platform, at the importer").expect("the page has this table");
    let (for_broker, _) = for_broker.split_once("\n\n    ").expect("an example follows the table");
    let of_table: BTreeSet<&str> =
        for_broker.lines().filter_map(|line| line.split('|').nth(1)).flat_map(quoted).collect();
    let is_named = |variable: &&String| {
        let key = variable.trim_start_matches("AIRPOUCH_").to_lowercase();
        PAGE.contains(&format!("`{variable}`")) || of_table.contains(&*key)
    };
    let unnamed: Vec<&String> = variables.iter().filter(|variable| !is_named(variable)).collect();
    assert!(unnamed.is_empty(), "{unnamed:?}");
}
