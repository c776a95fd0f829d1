//! A terminal with the binary on it: what a person types there, and what stands on the screen then.
//!
//! The binary is the foreground process of a pseudo-terminal of its own, so that Ctrl-C reaches it as the signal that a
//! terminal makes of it. What it draws goes through an emulator: asserted is what a person sees, and not what was written.

use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use pty_process::Size;
use pty_process::blocking::{self, Pty};

use crate::support::Workplace;

const LINES: u16 = 40;
const COLUMNS: u16 = 120;

/// Longer than any answer takes: only a failed test waits as long.
const PATIENCE: Duration = Duration::from_secs(60);

/// The pause before something is looked at again.
const SOON: Duration = Duration::from_millis(10);

/// What Ctrl-C types.
pub(crate) const CTRL_C: &str = "\u{3}";

/// What Ctrl-D types: on an empty line, the end of the input.
pub(crate) const CTRL_D: &str = "\u{4}";

/// The binary on a terminal.
pub(crate) struct Terminal {
    child: Child,
    keyboard: Arc<Pty>,
    written: mpsc::Receiver<Vec<u8>>,
    screen: vt100::Parser,
}

impl Terminal {
    /// Runs a command line in this workplace, words separated by blanks.
    pub(crate) fn run(place: &Workplace, words: &str) -> Self {
        let (keyboard, side) = blocking::open().unwrap();
        keyboard.resize(Size::new(LINES, COLUMNS)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_interlockctl"));
        command
            .args(words.split_whitespace())
            .current_dir(place.path(""))
            .env_clear()
            .env("TERM", "xterm")
            .env("TZ", "UTC")
            .env("INTERLOCK_CONFIG", place.path("config.toml"));
        let child = blocking::Command::from(command).spawn(side).unwrap();
        let keyboard = Arc::new(keyboard);
        let (sender, written) = mpsc::channel();
        let reader = keyboard.clone();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // An error is the end as well: nobody has the other side open any more.
            while let Ok(read @ 1..) = (&*reader).read(&mut bytes) {
                if sender.send(bytes[..read].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            keyboard,
            written,
            screen: vt100::Parser::new(LINES, COLUMNS, 0),
        }
    }

    /// Types this.
    pub(crate) fn types(&self, text: &str) {
        (&*self.keyboard).write_all(text.as_bytes()).unwrap();
    }

    /// Waits until this stands on the screen, and returns all that stands there.
    #[track_caller]
    pub(crate) fn shows(&mut self, text: &str) -> String {
        loop {
            let seen = self.screen.screen().contents();
            if seen.contains(text) {
                return seen;
            }
            match self.written.recv_timeout(PATIENCE) {
                Ok(bytes) => self.screen.process(&bytes),
                Err(_) => panic!("{text:?} never stood on the screen:\n{seen}"),
            }
        }
    }

    /// Waits until something has happened elsewhere.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, happened: impl Fn() -> bool) {
        let begun = Instant::now();
        while !happened() {
            assert!(begun.elapsed() < PATIENCE, "never: {what}");
            std::thread::sleep(SOON);
        }
    }

    /// Waits for the end of the run: how it ended, and what is left on the screen.
    #[track_caller]
    pub(crate) fn ends(mut self) -> (ExitStatus, String) {
        loop {
            match self.written.recv_timeout(PATIENCE) {
                Ok(bytes) => self.screen.process(&bytes),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    panic!("it does not end:\n{}", self.screen.screen().contents())
                }
            }
        }
        (self.child.wait().unwrap(), self.screen.screen().contents())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Of a test that failed: what has ended already is not hurt.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
