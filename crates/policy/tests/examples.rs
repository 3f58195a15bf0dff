//! The policies that are shipped as examples: sound, tested, and nothing in them untested.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may panic"
)]

use std::{fs, path::PathBuf};
use taskpass_policy::{Policies, Report, Suite};

fn examples() -> Vec<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../deploy/policies");
    let mut dirs: Vec<_> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    dirs.sort();
    dirs
}

#[test]
fn every_example_is_sound_and_tested_whole() {
    let examples = examples();
    let names: Vec<_> = examples.iter().map(|dir| dir.file_name().unwrap().to_string_lossy()).collect();
    for expected in ["ci-deploy", "demo", "retrieval", "support-refunds"] {
        assert!(names.iter().any(|name| name == expected), "{names:?}");
    }
    for dir in examples {
        let report = Report::of_dir(&dir);
        assert!(report.is_ok() && report.warnings.is_empty(), "{}:\n{report}", dir.display());
        let policies = Policies::load_dir(&dir).unwrap();
        for policy in policies.iter() {
            assert!(policy.name.id().is_some() && policy.description.is_some(), "{}", policy.name);
        }
        let suite =
            Suite::load_dir(&dir.join("tests")).unwrap_or_else(|error| panic!("{}:\n{error}", dir.display()));
        let report = suite.run(&policies);
        let failed: Vec<_> = report.failed().collect();
        assert!(failed.is_empty(), "{}: {failed:#?}", dir.display());
        assert!(report.uncovered.is_empty(), "{}: nothing tests {:?}", dir.display(), report.uncovered);
        for effect in ["allow", "deny"] {
            assert!(report.cases.iter().any(|case| case.got.starts_with(effect)), "{}", dir.display());
        }
    }
}
