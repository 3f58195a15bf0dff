//! What is done to a server's append-only files while it does not run. No file is written anew in a campaign, so there is
//! one that grows.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

/// The settings without which files would be written anew.
pub(super) const ONE_FILE: &str = "auto-aof-rewrite-percentage 0";
/// The beginning of a command, as a write that lost power leaves it.
const TORN: &[u8] = b"*4\r\n$4\r\nHSET\r\n$18\r\n{taskp";

/// Replaces all files by those of another directory.
pub(super) fn copy(from: &Path, to: &Path) {
    let (from, to) = (from.join("appendonlydir"), to.join("appendonlydir"));
    fs::remove_dir_all(&to).ok();
    fs::create_dir_all(&to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// How long the file that grows is now.
pub(super) fn length(directory: &Path) -> u64 {
    fs::metadata(growing(directory)).unwrap().len()
}

/// Cuts it back.
pub(super) fn cut(directory: &Path, length: u64) {
    fs::File::options().write(true).open(growing(directory)).unwrap().set_len(length).unwrap();
}

/// Leaves the beginning of a write that was never acknowledged.
pub(super) fn tear(directory: &Path) {
    fs::File::options().append(true).open(growing(directory)).unwrap().write_all(TORN).unwrap();
}

fn growing(directory: &Path) -> PathBuf {
    let files = fs::read_dir(directory.join("appendonlydir")).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.to_string_lossy().ends_with(".incr.aof")).max().unwrap()
}
