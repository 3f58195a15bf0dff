//! What opening does with files that are not what they should be.

#![expect(clippy::unwrap_used, reason = "tests may panic")]

use redb::{Database, TableDefinition};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};
use taskpass_lease::Limits;
use taskpass_store::Backend;
use taskpass_store_redb::{OpenError, RedbBackend};

fn open(path: &Path) -> Result<RedbBackend, OpenError> {
    RedbBackend::open(path, Limits::default())
}

/// A directory with a store in it that was closed in order.
fn made() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    drop(open(&path).unwrap());
    (directory, path)
}

#[test]
fn the_file_and_its_directory_are_private_and_nothing_else_is_left() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("state/taskpass");
    drop(open(&directory.join("store.redb")).unwrap());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    assert_eq!(mode(&directory.join("store.redb")), 0o600);
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
}

#[test]
fn one_life_keeps_its_history_and_the_next_has_another() {
    let (_directory, path) = made();
    let first = open(&path).unwrap().history();
    assert_eq!(open(&path).unwrap().history(), first);
    fs::remove_file(&path).unwrap();
    assert_ne!(open(&path).unwrap().history(), first);
}

#[test]
fn a_second_opener_is_told() {
    let (_directory, path) = made();
    let first = open(&path).unwrap();
    let error = open(&path).unwrap_err();
    assert!(matches!(error, OpenError::InUse(_)), "{error:?}");
    assert!(error.to_string().contains("store.redb") && error.fix().contains("stop the other broker"));
    drop(first);
    open(&path).unwrap();
}

#[test]
fn what_is_no_store_is_refused_and_left_alone() {
    type Case = (&'static str, fn(&Path), fn(&OpenError) -> bool);
    let cases: [Case; 8] = [
        ("empty", |path| fs::write(path, b"").unwrap(), |error| matches!(error, OpenError::Empty(_))),
        (
            "text",
            |path| fs::write(path, [b'x'; 9000]).unwrap(),
            |error| matches!(error, OpenError::Foreign(_)),
        ),
        ("short text", |path| fs::write(path, b"hello").unwrap(), |_| true),
        (
            "directory",
            |path| {
                fs::remove_file(path).unwrap();
                fs::create_dir(path).unwrap()
            },
            |error| matches!(error, OpenError::Io { .. }),
        ),
        ("cut in the header", |path| cut(path, 100), |_| true),
        ("cut in half", |path| cut(path, fs::metadata(path).unwrap().len() / 2), |_| true),
        ("another program's", other_program, |error| matches!(error, OpenError::Foreign(_))),
        ("newer", newer, |error| matches!(error, OpenError::Newer { found: 99, .. })),
    ];
    for (name, damage, expected) in cases {
        let (_directory, path) = made();
        damage(&path);
        let before = fs::read(&path).ok();
        let error = open(&path).map(|_| ()).unwrap_err();
        assert!(expected(&error), "{name}: {error:?}");
        assert!(error.to_string().contains("store.redb"), "{name}: {error}");
        assert!(!error.fix().is_empty());
        if !matches!(error, OpenError::Newer { .. }) {
            assert_eq!(
                fs::read(&path).ok().map(|after| after.len()),
                before.map(|before| before.len()),
                "{name}"
            );
        }
    }
}

#[test]
fn flipped_bytes_never_panic_the_opener() {
    let (directory, path) = made();
    let good = fs::read(&path).unwrap();
    let bad = directory.path().join("bad.redb");
    for at in (0..good.len()).step_by(997) {
        let mut bytes = good.clone();
        bytes[at] ^= 0xff;
        fs::write(&bad, &bytes).unwrap();
        drop(open(&bad));
    }
}

fn cut(path: &Path, len: u64) {
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(len).unwrap();
}

fn other_program(path: &Path) {
    fs::remove_file(path).unwrap();
    let database = Database::create(path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(TableDefinition::<u64, u64>::new("theirs")).unwrap().insert(1, 1).unwrap();
    transaction.commit().unwrap();
}

fn newer(path: &Path) {
    let database = Database::open(path).unwrap();
    let transaction = database.begin_write().unwrap();
    let about = TableDefinition::<&str, u32>::new("taskpass");
    transaction.open_table(about).unwrap().insert("format", 99).unwrap();
    transaction.commit().unwrap();
}
