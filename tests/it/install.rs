//! What dist/ has for packages: units, examples, and the list of files. tests/install installs the packages themselves.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Run, World, finish, has};

/// How exposed a service may be, from 0 to 10, as systemd counts. Those that speak to a platform need the network.
const PACKS: f64 = 0.3;
const IMPORTS: f64 = 1.2;
/// Those that import from a medium or carry to one see /dev, for its label.
const SEES_MEDIUM: f64 = 0.2;

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    files
}

/// The units in a directory of their own, with the program that was built, and their services and timers.
fn units(world: &World) -> Vec<PathBuf> {
    let copied = world.path("units");
    fs::create_dir_all(copied.join("airpouch-.service.d")).unwrap();
    for file in [files(Path::new("dist/systemd")), files(Path::new("dist/systemd/airpouch-.service.d"))].concat() {
        if file.is_file() {
            let text = fs::read_to_string(&file).unwrap();
            let text = text.replace("=/usr/bin/airpouch ", concat!("=", env!("CARGO_BIN_EXE_airpouch"), " "));
            fs::write(copied.join(file.strip_prefix("dist/systemd").unwrap()), text).unwrap();
        }
    }
    let is_unit = |file: &PathBuf| file.extension().is_some_and(|end| end == "service" || end == "timer");
    files(&copied).into_iter().filter(is_unit).collect()
}

fn analyze(arguments: &[&str], units: &[PathBuf]) -> Run {
    finish(Command::new("systemd-analyze").args(arguments).args(units)).exits_one_of(&[0, 1])
}

#[test]
fn units_are_understood_by_systemd() {
    if !has("systemd-analyze") {
        println!("SKIP no systemd-analyze");
        return;
    }
    let world = World::new();
    let units = units(&world);
    assert!(units.len() > 8, "{units:?}");
    let run = analyze(&["--man=no", "verify"], &units);
    // It also says what is wrong with other units of this machine.
    let about_ours: Vec<&str> = run.stderr.lines().filter(|line| line.contains("airpouch")).collect();
    assert!(about_ours.is_empty(), "{about_ours:#?}");
}

#[test]
fn services_are_confined() {
    if !has("systemd-analyze") {
        println!("SKIP no systemd-analyze");
        return;
    }
    let world = World::new();
    for unit in units(&world).into_iter().filter(|unit| unit.extension().is_some_and(|end| end == "service")) {
        let run = analyze(&["--no-pager", "--offline=true", "security"], std::slice::from_ref(&unit));
        let level = run.stdout.split("Overall exposure level for ").nth(1).and_then(|line| line.split(' ').nth(1));
        let level: f64 = level.and_then(|level| level.parse().ok()).unwrap_or_else(|| panic!("{}", run.stdout));
        let name = unit.file_name().unwrap().to_str().unwrap();
        let talks = name.contains("import") || name.contains("follow");
        let allowed = if talks { IMPORTS } else { PACKS } + if name.contains('@') { SEES_MEDIUM } else { 0.0 };
        assert!(level <= allowed + 0.001, "{name}: {level}, at most {allowed}:\n{}", run.stdout);
    }
}

/// An example of dist/etc with the # taken from its settings.
fn uncommented(name: &str) -> String {
    let text = fs::read_to_string(Path::new("dist/etc").join(name)).unwrap();
    let is_kept = |line: &&str| line.is_empty() || line.starts_with('#');
    assert!(text.lines().all(|line| is_kept(&line)), "{name}: nothing is set in an example");
    let set = text.lines().filter(|line| line.starts_with('#') && !line.starts_with("# ") && *line != "#");
    let set: Vec<&str> = set.map(|line| &line[1..]).collect();
    assert!(set.len() > 2, "{name}: {set:?}");
    set.join("\n")
}

#[test]
fn examples_of_settings_are_accepted_once_uncommented() {
    let world = World::new();
    world.made("1.json");
    fs::create_dir(world.path("exporter")).unwrap();
    let root = world.dir.path().display().to_string();
    let exporter = uncommented("exporter.toml.example");
    let exporter = exporter
        .replace("/srv/opencti/out", &format!("{root}/src"))
        .replace("/etc/airpouch/signing.key.pem", &format!("{root}/keys/site-a.key.pem"));
    fs::write(world.path("exporter/airpouch.toml"), exporter).unwrap();
    world.run(["pack", "--site", "exporter"]).exits(0).prints("packed batch 1 for zone restricted");
    world.run(["carry", "medium", "--site", "exporter"]).exits(1).says("nothing is mounted");

    fs::create_dir(world.path("importer")).unwrap();
    let importer = uncommented("importer.toml.example").replace("opencti+https://opencti.example", "dir:../out");
    let importer = importer.replace("/etc/airpouch/token", "token").replace("ca_file = ", "# ");
    fs::write(world.path("importer/token"), "2d1b0a3c-6f0e-4b0e-9c55-0f7c0a6f7e11\n").unwrap();
    fs::write(world.path("importer/airpouch.toml"), importer).unwrap();
    fs::write(world.path("importer/policy.toml"), uncommented("policy.toml.example")).unwrap();
    fs::create_dir(world.path("out")).unwrap();
    let import = ["import", "exporter/outbox", "--site", "importer", "--trust", "trust"];
    world.run(import).exits(2).says("operator");
    world.run(import.iter().chain(&["--operator", "A. Kowalski"])).exits(0).prints("delivered 1 envelope");
}

#[test]
fn packages_name_only_files_that_exist_and_leave_out_no_unit() {
    let list = fs::read_to_string("dist/package/nfpm.yaml").unwrap();
    let sources: Vec<&str> = list
        .lines()
        .filter_map(|line| line.split("src: ").nth(1)?.split(", ").next())
        .filter(|s| !s.starts_with('$'))
        .collect();
    assert!(sources.len() > 10, "{sources:?}");
    let mut named: Vec<PathBuf> = Vec::new();
    for source in sources {
        let (dir, name) = source.rsplit_once('/').unwrap_or((".", source));
        let end = name.strip_prefix('*').unwrap_or(name);
        let found: Vec<PathBuf> =
            files(Path::new(dir)).into_iter().filter(|f| f.is_file() && f.to_str().unwrap().ends_with(end)).collect();
        assert!(!found.is_empty(), "{source} is not there");
        named.extend(found);
    }
    for dir in ["dist/systemd", "dist/systemd/airpouch-.service.d", "dist/etc", "dist/udev", "dist/cron"] {
        for file in files(Path::new(dir)).into_iter().filter(|f| f.is_file()) {
            assert!(named.contains(&file), "{} is in no package", file.display());
        }
    }
}

#[test]
fn key_that_systemd_passes_to_a_service_is_not_called_readable_by_others() {
    let world = World::new();
    world.made("1.json");
    let key = world.path("keys/site-a.key.pem");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o440)).unwrap();
    let pack = ["pack", "src", "--key", "keys/site-a.key.pem", "--site", "exporter", "-q"];
    let run = finish(world.command().args(pack).env("AIRPOUCH_KEY", &key).env("CREDENTIALS_DIRECTORY", "elsewhere"));
    run.exits(0).says("this private key is readable by others (mode 440)");
    let pack = ["pack", "src", "--site", "exporter", "--heartbeat", "-q"];
    let credentials = world.path("keys");
    let run = finish(world.command().args(pack).env("AIRPOUCH_KEY", &key).env("CREDENTIALS_DIRECTORY", credentials));
    assert_eq!(run.exits(0).stderr, "");
}

#[test]
fn version_has_the_commit_of_the_source() {
    let world = World::new();
    let run = world.run(["--version"]).exits(0);
    let git = |arguments: &[&str]| {
        let ran = Command::new("git").args(arguments).output().ok().filter(|ran| ran.status.success());
        ran.map(|ran| String::from_utf8(ran.stdout).unwrap().trim().to_owned())
    };
    // Without git, or out of an archive, it says that it does not know.
    let is_own = git(&["rev-parse", "--show-prefix"]).is_some_and(|prefix| prefix.is_empty());
    let from = match git(&["rev-parse", "HEAD"]).filter(|_| is_own) {
        Some(commit) => format!("commit {}", &commit[..12]),
        None => "unknown commit".to_owned(),
    };
    let expected = format!("airpouch {} ({from}", env!("CARGO_PKG_VERSION"));
    let rest = run.stdout.strip_prefix(&expected).unwrap_or_else(|| panic!("{expected}: {}", run.stdout));
    assert!([")\n", ", changed)\n"].contains(&rest), "{}", run.stdout);
}
