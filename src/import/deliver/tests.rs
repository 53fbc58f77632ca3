//! What becomes of an envelope that the sink does not take, with a sink that does as the test says.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::applicants::{Applicants, UserId};
use crate::batch::manifest::{Format, IndexEntry, Manifest, Totals};
use crate::batch::name;
use crate::code::Code;
use crate::destination::{Destination, Reach};
use crate::examining::Program;
use crate::import::{OnGap, OtherDestination};
use crate::ledger::importer::Aside;
use crate::limits::EXAMINED_APART_LIMIT;
use crate::policy::Policy;
use crate::report::Silent;
use crate::report::call::Call;
use crate::set_aside::{BatchPlace, ConnectorName, Kind, Reason};
use crate::sink::scripted::{Answer, Scripted};
use crate::stream::{Sequence, Size};
use crate::trust::TrustStore;

const ENVELOPE: &[u8] = br#"{"bundle_type":"DIRECTORY_BUNDLE","applicant_id":"7c9e6679-7425-40de-944b-e07fc1f90ae7","connector":{"id":"feed","name":"Feed","type":"EXTERNAL_IMPORT","scope":"x","auto":false,"validate_before_import":false},"entities_types":null,"bundle":{"type":"bundle","id":"bundle--1","objects":[{"type":"domain-name","id":"domain-name--1","value":"a.example"}]},"update":false}"#;

/// The same with a command in it.
const COMMAND: &[u8] = br#"{"bundle_type":"DIRECTORY_BUNDLE","applicant_id":"7c9e6679-7425-40de-944b-e07fc1f90ae7","connector":{"id":"feed","name":"Feed","type":"EXTERNAL_IMPORT","scope":"x","auto":false,"validate_before_import":false},"entities_types":null,"bundle":{"type":"bundle","id":"bundle--1","objects":[{"type":"domain-name","id":"domain-name--1","value":"a.example","opencti_operation":"delete"}]},"update":false}"#;

struct Scene {
    _dir: tempfile::TempDir,
    site: Site,
    ledger: ImporterLedger,
    destination: i64,
    sha256: Digest,
}

impl Scene {
    /// A site in which one envelope is set aside.
    fn with_envelope_aside(kind: Kind) -> Self {
        Self::with_aside(kind, ENVELOPE)
    }

    /// A site in which this envelope is set aside.
    fn with_aside(kind: Kind, envelope: &[u8]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let site = Site::new(dir.path().join("site"));
        let (mut ledger, _) = ImporterLedger::open(&site).unwrap();
        let manifest = heartbeat();
        let sha256 = Digest::of(&manifest.encode());
        ledger.note_incoming(&manifest, sha256, &manifest.encode(), State::Delivered).unwrap();
        let batch = ledger.incoming(sha256).unwrap().unwrap().id;
        let to = Destination::parse("dir:out").unwrap();
        let destination = ledger.begin_destination(&to, "mark", false, "2026-11-25T02:05:00Z").unwrap().id;
        let reason = Reason {
            code: Code::Command.word().into(),
            what: "an operation".into(),
            place: String::new(),
            advice: String::new(),
            batch: BatchPlace { stream: manifest.stream, sequence: 1, ordinal: 1 },
            connector: ConnectorName { id: "feed".into(), name: "Feed".into() },
            name: "a.json".into(),
            sha256: Digest::of(envelope),
        };
        set_aside::put(&site, kind, envelope, &reason).unwrap();
        let aside = vec![Aside { kind, reason, batch, applicant: None, mtime: None, copied: true, bytes: 0 }];
        ledger.note_group(destination, &Group { aside, ..Group::default() }).unwrap();
        Self { _dir: dir, site, ledger, destination, sha256: Digest::of(envelope) }
    }

    fn release(&self) {
        let digits = self.sha256.to_string();
        let row = self.ledger.aside_by_beginning(&digits).unwrap().pop().unwrap();
        self.ledger.release(&[row], "seen", None).unwrap();
    }

    /// Tries what is set aside, with a sink that answers so.
    fn retry(&mut self, answer: Answer) -> ImportReport {
        self.retry_with(answer, "exit 101")
    }

    /// The same; a process of its own that examines an envelope does this.
    fn retry_with(&mut self, answer: Answer, apart: &str) -> ImportReport {
        self.retry_within(EXAMINED_APART_LIMIT, answer, apart)
    }

    /// The same; the process may take so long.
    fn retry_within(&mut self, limit: Duration, answer: Answer, apart: &str) -> ImportReport {
        let mut report = ImportReport::default();
        let mut sink = Scripted::new(answer);
        let path = self.site.root().join("apart");
        std::fs::write(&path, format!("#!/bin/sh\ncat > /dev/null\n{apart}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        let options = ImportOptions { program: Program { path, limit }, ..options() };
        let mut run = Import {
            site: &self.site,
            ledger: &mut self.ledger,
            trust: &TrustStore::of_keys(&[]),
            options: &options,
            observer: &Silent,
            report: &mut report,
        };
        Delivering::new(&mut run, &mut sink, self.destination)
            .and_then(|mut delivering| {
                let retried = delivering.retry_set_aside();
                // What the sink could not take is reported at the end of a run.
                retried.and(delivering.close(Ended::Run)).and(delivering.keep_suspects())
            })
            .unwrap();
        report
    }

    fn lies_in(&self, kind: Kind) -> bool {
        set_aside::get(&self.site, kind, self.sha256).is_ok()
    }

    fn kind(&self) -> Option<AsideKind> {
        self.ledger.aside_kind(self.sha256).unwrap()
    }
}

fn heartbeat() -> Manifest {
    let stream = StreamId::parse("c1d0a7e2-3b44-4f0e-9b3a-6a1c2d3e4f50").unwrap();
    Manifest {
        airpouch: Format::Batch1,
        stream,
        sequence: Sequence::FIRST,
        previous: None,
        succeeds: None,
        zone: "restricted".into(),
        created: "2026-11-25T02:05:00Z".into(),
        producer: "airpouch 0.1.0".into(),
        promise: None,
        totals: Totals { envelopes: 0, bytes: 0, packed: 9 },
        before: Size::default(),
        connectors: vec![],
        applicants: vec![],
        index: IndexEntry {
            name: name::index(stream, Sequence::FIRST),
            bytes: 9,
            sha256: Digest::of(b""),
            unpacked: 15,
        },
        volumes: vec![],
        history: vec![],
    }
}

fn options() -> ImportOptions {
    ImportOptions {
        officers: None,
        zone: "restricted".into(),
        to: Destination::parse("dir:out").unwrap(),
        reach: Reach::default(),
        connectors: BTreeMap::new(),
        other_destination: OtherDestination::Ask,
        policy: Policy::default(),
        policy_text: String::new(),
        quiet_after: 0,
        applicants: Applicants::with_default(UserId::parse("0b2f1a56-6a1d-4c57-9f0e-3f1f3a2c9d10").ok()),
        on_gap: OnGap::Deliver,
        accept_ledger: false,
        redeliver: false,
        keep: 0,
        set_aside_quota: 1 << 20,
        threads: 1,
        at: "2026-11-25T02:05:00Z".into(),
        call: Call::default(),
        program: Program { path: PathBuf::new(), limit: EXAMINED_APART_LIMIT },
    }
}

#[test]
fn released_envelope_that_is_delivered_leaves_the_quarantine() {
    let mut scene = Scene::with_envelope_aside(Kind::Quarantined);
    scene.release();
    let report = scene.retry(Answer::Place);
    assert_eq!((report.outcome.delivered, report.released), (1, 1));
    assert!(!scene.lies_in(Kind::Quarantined) && scene.kind().is_none());
}

#[test]
fn released_envelope_that_the_broker_refuses_stays_in_quarantine() {
    let mut scene = Scene::with_envelope_aside(Kind::Quarantined);
    scene.release();
    let report = scene.retry(Answer::Refuse);
    assert_eq!((report.outcome.delivered, report.outcome.quarantined), (0, 1));
    assert!(scene.lies_in(Kind::Quarantined), "the only copy is gone");
    assert_eq!(scene.kind(), Some(AsideKind::Quarantined), "a person decides anew");
}

#[test]
fn held_envelope_that_the_broker_refuses_moves_to_the_quarantine() {
    let mut scene = Scene::with_envelope_aside(Kind::Held);
    scene.retry(Answer::Refuse);
    assert!(scene.lies_in(Kind::Quarantined) && !scene.lies_in(Kind::Held));
    assert_eq!(scene.kind(), Some(AsideKind::Quarantined));
}

#[test]
fn released_envelope_that_is_deferred_stays_released_and_is_reported() {
    let mut scene = Scene::with_envelope_aside(Kind::Quarantined);
    scene.release();
    let report = scene.retry(Answer::Defer);
    assert_eq!((report.outcome.delivered, report.outcome.deferred, report.released), (0, 1, 0));
    let told: Vec<_> = report.findings.iter().map(|f| f.what.as_str()).collect();
    assert_eq!(told, ["1 envelope of Feed: the name is taken"]);
    assert!(scene.lies_in(Kind::Quarantined));
    assert_eq!(scene.kind(), Some(AsideKind::Released));
    assert_eq!(scene.ledger.unsettled(scene.destination).unwrap(), 0, "nothing of it is on its way");
    assert_eq!(scene.retry(Answer::Place).outcome.delivered, 1, "the next run tries again");
}

/// As a run leaves a site that dies while it examines the envelope.
fn a_run_dies(scene: &Scene) {
    let examining = Examining::open(&scene.site).unwrap();
    std::mem::forget(examining.note(&[scene.sha256]).unwrap());
}

fn codes(report: &ImportReport) -> Vec<&str> {
    report.findings.iter().map(|finding| finding.code.word()).collect()
}

#[test]
fn envelope_of_which_a_run_died_is_delivered_if_a_process_of_its_own_comes_through() {
    let mut scene = Scene::with_envelope_aside(Kind::Held);
    a_run_dies(&scene);
    let report = scene.retry_with(Answer::Place, "exit 0");
    assert_eq!((report.outcome.delivered, codes(&report)), (1, vec![]));
}

#[test]
fn envelope_of_which_a_process_of_its_own_dies_too_is_held_and_tried_again_in_each_run() {
    let mut scene = Scene::with_envelope_aside(Kind::Held);
    a_run_dies(&scene);
    let report = scene.retry_with(Answer::Place, "kill -9 $$");
    assert_eq!((report.outcome.delivered, codes(&report)), (0, vec!["stopped-a-run"]));
    assert!(report.findings[0].what.contains("signal 9"), "{}", report.findings[0].what);
    assert_eq!(scene.kind(), Some(AsideKind::Held));
    // Reported once, and tried in each run.
    let report = scene.retry_with(Answer::Place, "kill -6 $$");
    assert_eq!((report.outcome.delivered, codes(&report)), (0, vec![]));
    let report = scene.retry_with(Answer::Place, "exit 0");
    assert_eq!((report.outcome.delivered, codes(&report)), (1, vec![]));
    assert!(scene.kind().is_none());
}

#[test]
fn envelope_whose_examination_does_not_end_is_held_like_one_of_which_a_process_dies() {
    let mut scene = Scene::with_envelope_aside(Kind::Held);
    a_run_dies(&scene);
    let report = scene.retry_within(Duration::from_millis(1), Answer::Place, "exec tail -f /dev/null");
    assert_eq!((report.outcome.delivered, codes(&report)), (0, vec!["stopped-a-run"]));
    assert!(report.findings[0].what.contains("did not end within"), "{}", report.findings[0].what);
    assert_eq!(scene.kind(), Some(AsideKind::Held));
    let report = scene.retry_with(Answer::Place, "exit 0");
    assert_eq!((report.outcome.delivered, codes(&report)), (1, vec![]));
}

#[test]
fn envelope_of_which_three_runs_died_is_quarantined_without_another_try() {
    let mut scene = Scene::with_envelope_aside(Kind::Held);
    (0..3).for_each(|_| a_run_dies(&scene));
    let report = scene.retry_with(Answer::Place, "exit 0");
    assert_eq!((report.outcome.delivered, codes(&report)), (0, vec!["stops-runs"]));
    assert_eq!(scene.kind(), Some(AsideKind::Quarantined));
    // A person may say so: it is tried once more, and three deaths later a person decides anew.
    scene.release();
    (0..3).for_each(|_| a_run_dies(&scene));
    let report = scene.retry_with(Answer::Place, "exit 0");
    assert_eq!((report.outcome.delivered, codes(&report)), (0, vec!["stops-runs"]));
    assert_eq!(scene.kind(), Some(AsideKind::Quarantined));
    scene.release();
    let report = scene.retry_with(Answer::Place, "exit 0");
    assert_eq!((report.outcome.delivered, codes(&report)), (1, vec![]));
}

/// Nobody has seen what is in it: its release is for another try, not for what is found then.
#[test]
fn command_in_an_envelope_that_stopped_runs_is_quarantined_as_such_after_its_release() {
    let mut scene = Scene::with_aside(Kind::Held, COMMAND);
    (0..3).for_each(|_| a_run_dies(&scene));
    assert_eq!(codes(&scene.retry_with(Answer::Place, "exit 0")), ["stops-runs"]);
    scene.release();
    let report = scene.retry_with(Answer::Place, "exit 0");
    assert_eq!((report.outcome.delivered, codes(&report)), (0, vec!["command"]));
    assert_eq!(scene.kind(), Some(AsideKind::Quarantined));
    // Now a person has seen it.
    scene.release();
    assert_eq!(scene.retry(Answer::Place).outcome.delivered, 1);
}

#[test]
fn envelope_that_cannot_be_examined_apart_is_held_and_the_run_goes_on() {
    let mut scene = Scene::with_envelope_aside(Kind::Held);
    a_run_dies(&scene);
    let mut report = ImportReport::default();
    let mut sink = Scripted::new(Answer::Place);
    let program = Program { path: "/nonexistent/airpouch".into(), limit: EXAMINED_APART_LIMIT };
    let options = ImportOptions { program, ..options() };
    let mut run = Import {
        site: &scene.site,
        ledger: &mut scene.ledger,
        trust: &TrustStore::of_keys(&[]),
        options: &options,
        observer: &Silent,
        report: &mut report,
    };
    Delivering::new(&mut run, &mut sink, scene.destination)
        .and_then(|mut delivering| delivering.retry_set_aside())
        .unwrap();
    assert_eq!(codes(&report), ["stopped-a-run"]);
    assert!(report.findings[0].what.contains("cannot be started"), "{}", report.findings[0].what);
}
