//! Proves what the embedded store promises: that its directory is private and takes a durable write now, and that its file
//! is whole. Nothing in the file changes.

use crate::{OpenError, file, tables::definition};
use redb::{ReadableDatabase as _, ReadableTableMetadata as _};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use taskpass_store::{Mark, Report, tables::Table};
use taskpass_types::HistoryId;

/// How many writes are timed.
const TIMED: usize = 20;
/// Less free space is soon none.
const LITTLE: u64 = 1 << 30;
/// A slower disk holds up every request.
const SLOW: Duration = Duration::from_millis(50);

/// A store, as it is now.
#[derive(Clone, Debug)]
pub struct About {
    /// The size of its file.
    pub bytes: u64,
    /// In which its epochs count.
    pub history: HistoryId,
    /// How many rows its tables have.
    pub rows: Vec<(&'static str, u64)>,
}

/// Looks at everything about the store at `path`.
pub fn check(path: &Path) -> Report {
    let mut report = Report::default();
    let directory = path.parent().unwrap_or(Path::new("."));
    private("directory", directory, &mut report);
    if !directory.is_dir() {
        return report;
    }
    if path.exists() {
        private("file", path, &mut report);
    }
    space(directory, &mut report);
    writes(directory, &mut report);
    match about(path) {
        _ if !path.exists() => report.ok("store", "none yet; the first start makes it"),
        Ok(about) => {
            let rows = about.rows.iter().map(|(table, count)| format!("{table} {count}"));
            report.ok("store", format!("whole, {} KiB, history {}", about.bytes >> 10, about.history));
            report.ok("rows", rows.collect::<Vec<_>>().join(", "));
        }
        Err(OpenError::InUse(_)) => {
            report.ok("store", format!("in use by a broker that runs, {} KiB", size(path) >> 10));
        }
        Err(error) => report.say(Mark::Fail, "store", error.to_string(), error.fix()),
    }
    report
}

/// What is in the store at `path`.
///
/// # Errors
/// [`OpenError`], also while a broker has it open.
pub fn about(path: &Path) -> Result<About, OpenError> {
    let damaged = |error: redb::Error| OpenError::damaged(path, error);
    let database = file::open(path)?;
    let history = file::history(path, &database)?;
    let transaction = database.begin_read().map_err(|error| damaged(error.into()))?;
    let count = |table: Table| -> Result<_, redb::Error> {
        Ok((table.name(), transaction.open_table(definition(table))?.len()?))
    };
    let rows = Table::ALL.into_iter().map(count).collect::<Result<_, _>>().map_err(damaged)?;
    Ok(About { bytes: size(path), history, rows })
}

/// The size of a file; 0 when there is none.
pub fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |about| about.len())
}

fn private(what: &'static str, path: &Path, report: &mut Report) {
    let about = match fs::metadata(path) {
        Ok(about) => about,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return report.say(
                Mark::Warn,
                what,
                format!("there is no `{}`", path.display()),
                "the first start makes it; or set `data.dir`",
            );
        }
        Err(error) => {
            let seen = format!("`{}`: {error}", path.display());
            return report.say(Mark::Fail, what, seen, "run this as the broker's user");
        }
    };
    let mode = about.mode() & 0o777;
    let seen = format!("`{}`, mode {mode:04o}, user {}", path.display(), about.uid());
    if mode & 0o077 == 0 {
        report.ok(what, seen);
    } else {
        report.say(
            Mark::Fail,
            what,
            format!("{seen}: others reach it"),
            format!("chmod go-rwx {}", path.display()),
        );
    }
}

fn space(directory: &Path, report: &mut Report) {
    let free = match rustix::fs::statvfs(directory) {
        Ok(about) => about.f_bavail.saturating_mul(about.f_frsize),
        Err(error) => {
            return report.say(Mark::Warn, "space", error.to_string(), "see df");
        }
    };
    let seen = format!("{} MiB free", free >> 20);
    if free < LITTLE {
        report.say(Mark::Warn, "space", seen, "make room: a full disk stops everything but ends");
    } else {
        report.ok("space", seen);
    }
}

/// Removes the file however the check ends.
struct Probe(PathBuf);

impl Drop for Probe {
    fn drop(&mut self) {
        // One that was never made is no loss.
        drop(fs::remove_file(&self.0));
    }
}

#[expect(clippy::disallowed_methods, reason = "measures; no decision rests on it")]
fn now() -> Instant {
    Instant::now()
}

fn writes(directory: &Path, report: &mut Report) {
    let probe = Probe(directory.join(format!(".probe-{}", std::process::id())));
    let timed = || -> io::Result<Vec<Duration>> {
        let mut file: File =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&probe.0)?;
        let mut took = Vec::with_capacity(TIMED);
        for _ in 0..TIMED {
            let start = now();
            file.write_all(&[0; 4096])?;
            file.sync_data()?;
            took.push(start.elapsed());
        }
        took.sort_unstable();
        Ok(took)
    };
    let took = match timed() {
        Ok(took) => took,
        Err(error) => {
            let fix = "let the directory belong to the broker's user, on a local disk with free space";
            return report.say(Mark::Fail, "write", error.to_string(), fix);
        }
    };
    let millis = |span: Option<&Duration>| span.map_or(0.0, |span| span.as_secs_f64() * 1000.0);
    let (middle, slowest) = (took.get(took.len() / 2), took.last());
    let seen = format!(
        "{TIMED} writes were synced, p50 {:.2} ms, slowest {:.2} ms",
        millis(middle),
        millis(slowest)
    );
    if middle.is_some_and(|middle| *middle > SLOW) {
        report.say(Mark::Warn, "write", seen, "use a faster disk: every request waits for one of these");
    } else {
        report.ok("write", seen);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RedbBackend;
    use std::os::unix::fs::PermissionsExt as _;
    use taskpass_lease::Limits;

    fn marks(report: &Report) -> Vec<(&'static str, Mark)> {
        report.lines.iter().map(|line| (line.what, line.mark)).collect()
    }

    #[test]
    fn a_store_is_whole_whether_a_broker_runs_or_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data/store.redb");
        assert_eq!(marks(&check(&path)), [("directory", Mark::Warn)]);
        let running = RedbBackend::open(&path, Limits::default()).unwrap();
        let report = check(&path);
        assert_eq!(report.failed().count(), 0, "{report:?}");
        assert!(report.lines.iter().any(|line| line.seen.contains("a broker that runs")), "{report:?}");
        drop(running);
        let report = check(&path);
        assert!(report.lines.iter().any(|line| line.seen.contains("tasks 0")), "{report:?}");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing is left behind");
    }

    #[test]
    fn what_others_reach_and_what_is_no_store_fails() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let path = dir.path().join("store.redb");
        fs::write(&path, "SQLite format 3").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let failed: Vec<_> = check(&path).failed().map(|line| line.what).collect();
        assert_eq!(failed, ["file", "store"]);
    }
}
