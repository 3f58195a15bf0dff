//! A handle on one process that never slips to another with the same pid.
//!
//! `/proc/<pid>`, opened as a directory, stays bound to the process: once that has been reaped, reads through the
//! handle fail with ESRCH. What is left is to be sure that the directory was opened for the process that connected.
//! With the kernel's pidfd of the peer that is certain: a pid is not reused while its process has not ended, and the
//! pidfd tells that it has not. Without one (before Linux 6.5) a process that started after the connection was
//! accepted is refused; a reuse between `connect` and `accept` cannot be told.

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{Mode, OFlags, open, openat, readlinkat},
    time::{ClockId, clock_gettime},
};
use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read},
    os::{fd::OwnedFd, unix::ffi::OsStringExt},
};

/// One running process, by handle.
pub(super) struct Process {
    pid: u32,
    /// `/proc/<pid>`.
    directory: OwnedFd,
    /// The kernel's own handle, where there is one.
    pidfd: Option<OwnedFd>,
    /// Clock ticks from boot to its start.
    started: u64,
}

impl Process {
    /// The process of a pidfd; `pid` is the number that the kernel gave with it.
    pub(super) fn of_pidfd(pid: u32, pidfd: OwnedFd) -> io::Result<Self> {
        let process = Self::open(pid, Some(pidfd))?;
        // Only now: it had not ended after `/proc/<pid>` was opened, so the number was its own at that moment.
        if process.has_ended()? { Err(ended()) } else { Ok(process) }
    }

    /// The process that has this number now, unless it started after `accepted` (see [`ticks_since_boot`]).
    pub(super) fn of_pid(pid: u32, accepted: u64) -> io::Result<Self> {
        let process = Self::open(pid, None)?;
        if process.started > accepted { Err(ended()) } else { Ok(process) }
    }

    fn open(pid: u32, pidfd: Option<OwnedFd>) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = open(format!("/proc/{pid}"), flags, Mode::empty())?;
        let stat = Stat::read(&directory)?;
        if stat.has_ended() {
            return Err(ended());
        }
        Ok(Self { pid, directory, pidfd, started: stat.started })
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Clock ticks from boot to the start of the process; with the pid, it names the process on this machine.
    pub(super) fn started(&self) -> u64 {
        self.started
    }

    /// Whether it still runs.
    pub(super) fn is_alive(&self) -> bool {
        let same =
            Stat::read(&self.directory).is_ok_and(|stat| !stat.has_ended() && stat.started == self.started);
        same && self.has_ended().is_ok_and(|ended| !ended)
    }

    /// The file that it executes, open for reading.
    pub(super) fn executable(&self) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        Ok(File::from(openat(&self.directory, "exe", flags, Mode::empty())?))
    }

    /// The name of that file in the process's own view of the file system.
    pub(super) fn executable_name(&self) -> io::Result<OsString> {
        let name = readlinkat(&self.directory, "exe", Vec::new())?;
        Ok(OsString::from_vec(name.into_bytes()))
    }

    /// What the pidfd says: it turns readable when the process ends. `false` without one.
    fn has_ended(&self) -> io::Result<bool> {
        let Some(pidfd) = &self.pidfd else { return Ok(false) };
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        Ok(poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&at_once))? != 0)
    }
}

fn ended() -> io::Error {
    io::Error::from(rustix::io::Errno::SRCH)
}

/// Now, in the unit of a process's start.
pub(super) fn ticks_since_boot() -> u64 {
    let per_second = rustix::param::clock_ticks_per_second();
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(now.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(per_second).saturating_add(nanos.saturating_mul(per_second) / 1_000_000_000)
}

/// The two fields of `/proc/<pid>/stat` (proc(5)) that matter here.
struct Stat {
    state: u8,
    started: u64,
}

impl Stat {
    fn read(directory: &OwnedFd) -> io::Result<Self> {
        let file = openat(directory, "stat", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let mut text = Vec::new();
        File::from(file).take(4096).read_to_end(&mut text)?;
        Self::parse(&text).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
    }

    /// The second field is the program's name in parentheses, chosen by the program and full of whatever it likes:
    /// the rest is counted from the last `)`. Then the state is field 3 and the start field 22.
    fn parse(text: &[u8]) -> Option<Self> {
        let end_of_name = text.iter().rposition(|byte| *byte == b')')?;
        let rest = std::str::from_utf8(text.get(end_of_name + 1..)?).ok()?;
        let mut fields = rest.split_ascii_whitespace();
        let state = *fields.next()?.as_bytes().first()?;
        let started = fields.nth(18)?.parse().ok()?;
        Some(Self { state, started })
    }

    /// A zombie, or dead (`Z`, `X`, `x`).
    fn has_ended(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x')
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command, Stdio};

    /// A process that does nothing; ended when dropped, so that a failed test leaves none behind.
    struct Sleeper(Child);

    impl Sleeper {
        fn start() -> Self {
            Self(Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap())
        }

        fn id(&self) -> u32 {
            self.0.id()
        }

        fn end(&mut self) {
            self.0.kill().unwrap();
            self.0.wait().unwrap();
        }
    }

    impl Drop for Sleeper {
        fn drop(&mut self) {
            self.end();
        }
    }

    #[test]
    fn a_program_cannot_forge_its_stat_by_its_name() {
        let forged = b"42 (x) Z 1 1) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 777 20";
        let stat = Stat::parse(forged).unwrap();
        assert_eq!((stat.state, stat.started), (b'S', 777));
        for bad in [
            &b""[..],
            b"42 (x",
            b"42 (x)",
            b"42 (x) S 1 2",
            b"42 (x) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 -7",
        ] {
            assert!(Stat::parse(bad).is_none());
        }
    }

    #[test]
    fn a_handle_dies_with_its_process() {
        let mut child = Sleeper::start();
        let process = Process::of_pid(child.id(), ticks_since_boot()).unwrap();
        assert!(process.is_alive());
        assert!(process.executable_name().is_ok());
        child.end();
        assert!(!process.is_alive());
        assert!(process.executable().is_err(), "a reaped process has no executable");
    }

    /// A recycled pid: the number is another process's by now, which the kernel's handle on the first one gives away.
    #[test]
    fn a_recycled_pid_cannot_pose() {
        let (mut first, second) = (Sleeper::start(), Sleeper::start());
        let pidfd = || {
            let pid = rustix::process::Pid::from_child(&first.0);
            rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap()
        };
        let (before, after) = (pidfd(), pidfd());
        assert!(Process::of_pidfd(first.id(), before).is_ok());
        first.end();
        assert!(Process::of_pidfd(second.id(), after).is_err());
    }

    #[test]
    fn a_zombie_is_not_alive() {
        let mut child = Command::new("true").spawn().unwrap();
        let process = Process::of_pid(child.id(), ticks_since_boot());
        // Its end closes this pipe before it is reaped; `wait` would reap it, so only its end is awaited.
        let pid = rustix::process::Pid::from_child(&child);
        let options = rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT;
        rustix::process::waitid(rustix::process::WaitId::Pid(pid), options).unwrap();
        assert!(!process.is_ok_and(|process| process.is_alive()));
        assert!(Process::of_pid(child.id(), ticks_since_boot()).is_err());
        child.wait().unwrap();
    }

    #[test]
    fn a_process_that_started_later_is_not_the_one_that_connected() {
        let child = Sleeper::start();
        let mut process = Process::of_pid(child.id(), ticks_since_boot()).unwrap();
        process.started += 1;
        assert!(!process.is_alive(), "another start time is another process");
        let started = process.started - 1;
        assert!(Process::of_pid(child.id(), started).is_ok());
        assert!(
            Process::of_pid(child.id(), started - 1).is_err(),
            "it started after the connection was accepted"
        );
    }
}
