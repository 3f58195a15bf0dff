//! The signals that are passed on to the command.

use crate::error::Failure;
use rustix::{
    process::{Signal, getpgrp},
    termios::tcgetpgrp,
};
use std::fs::File;
use tokio::signal::unix::{self, SignalKind};

/// All that is passed on. From the moment this exists, none of them ends us.
pub(super) struct Signals {
    hangup: unix::Signal,
    interrupt: unix::Signal,
    quit: unix::Signal,
    terminate: unix::Signal,
    user1: unix::Signal,
    user2: unix::Signal,
    window: unix::Signal,
}

impl Signals {
    pub(super) fn new() -> Result<Self, Failure> {
        Ok(Self {
            hangup: unix::signal(SignalKind::hangup())?,
            interrupt: unix::signal(SignalKind::interrupt())?,
            quit: unix::signal(SignalKind::quit())?,
            terminate: unix::signal(SignalKind::terminate())?,
            user1: unix::signal(SignalKind::user_defined1())?,
            user2: unix::signal(SignalKind::user_defined2())?,
            window: unix::signal(SignalKind::window_change())?,
        })
    }

    /// The next one.
    pub(super) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.hangup.recv() => Signal::HUP,
            _ = self.interrupt.recv() => Signal::INT,
            _ = self.quit.recv() => Signal::QUIT,
            _ = self.terminate.recv() => Signal::TERM,
            _ = self.user1.recv() => Signal::USR1,
            _ = self.user2.recv() => Signal::USR2,
            _ = self.window.recv() => Signal::WINCH,
        }
    }
}

/// Whether the command has this signal already: a terminal sends these to its whole foreground process group, and the
/// command is in ours.
pub(super) fn came_from_the_terminal(signal: Signal) -> bool {
    let by_terminal = [Signal::INT, Signal::QUIT, Signal::WINCH].contains(&signal);
    by_terminal
        && File::open("/dev/tty").is_ok_and(|tty| tcgetpgrp(tty).is_ok_and(|group| group == getpgrp()))
}
