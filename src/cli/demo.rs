use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, UNIX_EPOCH};

use airpouch::error::{Error, Result};
use airpouch::random;
use airpouch::report::ExitStatus;

use super::output::Output;

/// Run a self-contained demonstration
///
/// Makes two sites, keys, a stick and some envelopes in a new directory, which it names and leaves to look at, and runs
/// the daily commands there. Needs no arguments, no services and no network.
#[derive(clap::Args, Debug)]
#[command(args_override_self = true, after_help = "Example:\n  airpouch demo")]
pub struct Args {}

/// An envelope of `fixtures/demo`: its file name, its text, and when it was written, in seconds since 1970.
macro_rules! envelope {
    ($name:literal, $written:literal) => {
        ($name, include_str!(concat!("../../fixtures/demo/", $name)), $written)
    };
}

/// What connectors wrote, in their order.
const ENVELOPES: [(&str, &str, u64); 8] = [
    envelope!("bad_links-20261125-010002-1795568402.1182745.json", 1795568402),
    envelope!("threat_reports-20261125-012047-1795569647.5.json", 1795569647),
    envelope!("known_exploited-20261125-013011-1795570211.0093.json", 1795570211),
    envelope!("sharing_community-20261125-020001-1795572001.3182416.json", 1795572001),
    envelope!("échantillons-20261125-021512-1795572912.75.json", 1795572912),
    envelope!("sharing_community-20261125-022233-1795573353.2041-with-a-command.json", 1795573353),
    envelope!("blocked_addresses-20261125-024000-1795574400.0.json", 1795574400),
    envelope!("blocked_addresses-20261125-024001-1795574401.5-cut-off.json", 1795574401),
];

/// The applicants of the envelopes, and who they are in the restricted zone of the demo.
const ANALYST: (&str, &str) = ("7c9e6679-7425-40de-944b-e07fc1f90ae7", "0b2f1a56-6a1d-4c57-9f0e-3f1f3a2c9d10");
const FEEDS: (&str, &str) = ("5f2b8e4c-9d31-4a6b-8a59-2f6f5f0c7b11", "c1d0a7e2-3b44-4f0e-9b3a-6a1c2d3e4f50");
const SOMEBODY: &str = "9a1c2e4f-0b3d-4e5f-8a7b-6c5d4e3f2a1b";

pub fn run(_: &Args, _: &Output) -> Result<ExitStatus> {
    let dir = std::env::temp_dir().join(format!("airpouch-demo-{}", hex(&random::bytes::<4>()?)));
    let demo = Demo { dir };
    demo.prepare()?;
    demo.internet_zone()?;
    demo.by_hand()?;
    demo.damage()?;
    demo.restricted_zone()?;
    demo.tell(&format!("All of it is left in {} to look at. That is the whole journey.", demo.dir.display()));
    Ok(ExitStatus::Done)
}

struct Demo {
    dir: PathBuf,
}

impl Demo {
    #[expect(clippy::disallowed_methods, reason = "the demonstration's own directory, which was made just now")]
    fn prepare(&self) -> Result<()> {
        for dir in ["internet/out", "internet/keys", "stick", "restricted/trust"] {
            let path = self.dir.join(dir);
            fs::create_dir_all(&path).map_err(|e| Error::io("make a directory", &path, &e))?;
        }
        for (name, text, written) in ENVELOPES {
            let path = self.dir.join("internet/out").join(name);
            let at = UNIX_EPOCH + Duration::from_secs(written);
            let file = fs::write(&path, text).and_then(|()| File::options().write(true).open(&path));
            file.and_then(|f| f.set_modified(at)).map_err(|e| Error::io("write an envelope", &path, &e))?;
        }
        self.tell(&format!("Everything happens in {}. Go there to run these commands yourself.", self.dir.display()));
        Ok(())
    }

    fn internet_zone(&self) -> Result<()> {
        self.tell("The internet zone. Connectors have written these envelopes (DIRECTORY_BUNDLE files):");
        self.shell("ls internet/out")?;
        self.tell(
            "Once: a key to sign with. Its public half goes to the restricted zone by another way than the stick.",
        );
        self.airpouch(&["keygen", "--out", "internet/keys/site-a"], 0)?;
        self.shell("cp internet/keys/site-a.pub.pem restricted/trust/")?;
        self.tell("Every hour, from cron: pack what is new. One file was cut off, so the exit status is 3, once; one carries a\nplatform command, which is packed with a warning. The other side will judge it.");
        let pack = [
            "pack",
            "internet/out",
            "--key",
            "internet/keys/site-a.key.pem",
            "--site",
            "internet/site",
            "--zone",
            "restricted",
        ];
        self.airpouch(&pack, 3)?;
        self.tell("An hour later nothing is new. It opens no file, says nothing, and exits 0:");
        self.airpouch(&pack, 0)?;
        self.tell("When a person comes for the stick: carry. Everything is read back before it says SAFE TO REMOVE.");
        self.airpouch(&["carry", "stick", "--site", "internet/site"], 0)?;
        self.shell("ls -l stick")?;
        self.tell(
            "Anyone with the public key can check the stick, on any machine, without a site and without a network:",
        );
        self.airpouch(&["verify", "stick", "--trust", "restricted/trust", "--zone", "restricted"], 0)
    }

    /// No lock-in: the tools that every machine has open a batch.
    fn by_hand(&self) -> Result<()> {
        self.tell("Or without airpouch. The signature, with openssl:");
        self.tools(
            &["openssl"],
            "cd stick && openssl pkeyutl -verify -rawin -pubin -inkey ../restricted/trust/site-a.pub.pem -in *-00000001.manifest -sigfile *-00000001.*.sig",
        )?;
        self.tell("The digests that the manifest names, with jq and sha256sum:");
        self.tools(
            &["jq", "sha256sum"],
            "cd stick && jq -r '.volumes[], .index | .sha256 + \"  \" + .name' *-00000001.manifest | sha256sum -c",
        )?;
        self.tell("What is in it, with zstd and jq, and the envelopes themselves, with tar:");
        self.tools(
            &["zstd", "jq"],
            "zstd -dcq stick/*-00000001.index.zst | tail -n +2 | jq -r '[.bytes, .name] | @tsv'",
        )?;
        self.tools(
            &["zstd", "tar"],
            "mkdir opened && zstd -dcq stick/*-00000001.v0001.tar.zst | tar -xf - -C opened && ls opened",
        )
    }

    fn damage(&self) -> Result<()> {
        self.tell(
            "A stick that was tampered with. One byte of a copy is changed, and verify says which file and exits 4:",
        );
        self.shell("cp -r stick damaged && printf X | dd of=$(echo damaged/*.v0001.tar.zst) bs=1 seek=100 conv=notrunc status=none")?;
        self.airpouch(&["verify", "damaged", "--trust", "restricted/trust"], 4)
    }

    fn restricted_zone(&self) -> Result<()> {
        self.tell("The restricted zone. The first import takes custody of the batch, so the stick may leave. What may not cross is\nkept with its reason; what names an applicant whom nobody has mapped yet waits. Exit status 3 says so.");
        let import = [
            "import",
            "--to",
            "spool:restricted/spool",
            "--trust",
            "restricted/trust",
            "--site",
            "restricted/site",
            "--zone",
            "restricted",
        ];
        let mut first = import.to_vec();
        first.insert(1, "stick");
        self.airpouch(&first, 3)?;
        self.tell("An admin says who they are here, and the import goes on from the inbox; no stick is needed:");
        let (analyst, feeds) = (format!("{}={}", ANALYST.0, ANALYST.1), format!("{}={}", FEEDS.0, FEEDS.1));
        let nobody = format!("default={SOMEBODY}");
        let mut mapped = import.to_vec();
        mapped.extend(["--applicant", &analyst, "--applicant", &feeds, "--unmapped", &nobody]);
        self.airpouch(&mapped, 0)?;
        self.tell("The bundles came apart as OpenCTI's own client takes them apart. Each connector has its registration and its\nmessages, numbered in the order of delivery, ready for the broker; they bear the ids that the applicants have here:");
        self.shell("ls restricted/spool && ls restricted/spool/83552c6f-ff81-520c-be98-ce896fea1212")?;
        self.tools(
            &["jq", "base64"],
            "cd restricted/spool && jq -r .content $(ls */0*.json | tail -n 1) | base64 -d | jq .",
        )?;
        self.tell("What becomes of one envelope can be seen beforehand, on either side:");
        self.airpouch(&["split", "internet/out/threat_reports-20261125-012047-1795569647.5.json"], 0)?;
        self.tell("The same stick again: everything was delivered before, so there is nothing to do.");
        let mut again = mapped.clone();
        again.insert(1, "stick");
        self.airpouch(&again, 0)?;
        self.tell("What was refused, and why. Only a person releases it:");
        self.airpouch(&["quarantine", "list", "--site", "restricted/site"], 0)?;
        self.tell("Each side in one screen:");
        self.airpouch(&["status", "--site", "internet/site"], 0)?;
        self.airpouch(&["status", "--site", "restricted/site"], 0)
    }

    fn tell(&self, words: &str) {
        let _ = writeln!(io::stdout(), "\n# {}", words.replace('\n', "\n# "));
    }

    /// Runs this program in the demo's directory, as a person would.
    fn airpouch(&self, arguments: &[&str], expected: i32) -> Result<()> {
        let program = std::env::current_exe().map_err(|e| Error::io("find this program", Path::new("airpouch"), &e))?;
        let status = self.show(&format!("airpouch {}", arguments.join(" ")), Command::new(program).args(arguments))?;
        if status != 0 {
            let _ = writeln!(io::stdout(), "  (exit status {status})");
        }
        if status == expected {
            return Ok(());
        }
        Err(Error::failed(format!(
            "the demo expected exit status {expected} of `airpouch {}`, and it was {status}",
            arguments[0]
        ))
        .at(&self.dir))
    }

    fn shell(&self, line: &str) -> Result<()> {
        match self.show(line, Command::new("sh").args(["-c", line]))? {
            0 => Ok(()),
            status => Err(Error::failed(format!("`{line}` ended with exit status {status}")).at(&self.dir)),
        }
    }

    /// Shows a line for other tools, and runs it where they are installed.
    fn tools(&self, programs: &[&str], line: &str) -> Result<()> {
        let missing = programs.iter().find(|p| !is_installed(p));
        match missing {
            None => self.shell(line),
            Some(program) => {
                let _ = writeln!(
                    io::stdout(),
                    "\n$ {line}\n  ({program} is not installed here; the line is to paste where it is)"
                );
                Ok(())
            }
        }
    }

    fn show(&self, line: &str, command: &mut Command) -> Result<i32> {
        let _ = writeln!(io::stdout(), "\n$ {line}");
        for (name, _) in std::env::vars_os().filter(|(n, _)| n.to_string_lossy().starts_with("AIRPOUCH_")) {
            command.env_remove(name);
        }
        let output = command
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .output()
            .map_err(|e| Error::io("run a command of the demo", &self.dir, &e))?;
        for text in [&output.stdout, &output.stderr] {
            for line in String::from_utf8_lossy(text).lines() {
                let _ = writeln!(io::stdout(), "  {line}");
            }
        }
        Ok(output.status.code().unwrap_or(-1))
    }
}

fn is_installed(program: &str) -> bool {
    let found = Command::new("sh")
        .args(["-c", &format!("command -v {program}")])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    found.is_ok_and(|s| s.success())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
