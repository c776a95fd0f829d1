//! Reading what a command writes, without ever waiting for it.

use std::io::{self, PipeReader};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::capture::Capture;

/// The most that is still read from the pipes when every process of the run is gone; more than a pipe holds, and a
/// bound in case that a stranger was handed the other end.
const LAST_OUTPUT: usize = 2 * 1024 * 1024;

/// What a pipe holds, in bytes (pipe(7)): as much as one read can give.
const PIPE: usize = 64 * 1024;

/// A stream of the command. Read only when poll says so, hence never blocking.
pub(super) struct Stream {
    /// None after its end.
    pipe: Option<PipeReader>,
    capture: Capture,
}

impl Stream {
    pub(super) fn new(pipe: PipeReader, capture: Capture) -> Self {
        Self {
            pipe: Some(pipe),
            capture,
        }
    }

    /// Its end to wait on; none after its end.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// How many bytes were not kept.
    pub(super) fn cut(&self) -> u64 {
        self.capture.cut()
    }

    /// Takes what is in the pipe now.
    pub(super) fn drain(&mut self) {
        let mut left = LAST_OUTPUT;
        while left > 0 && self.has_more() {
            left = left.saturating_sub(self.read());
        }
    }

    fn has_more(&self) -> bool {
        let ready = |fd| readable(&[fd], Some(Duration::ZERO)).is_ok_and(|ready| ready[0]);
        self.fd().is_some_and(ready)
    }

    /// Takes what one read gives; closes the stream at its end.
    pub(super) fn read(&mut self) -> usize {
        // Not touched beyond what is read: a shim that is never told much stays small.
        let mut buffer = Vec::with_capacity(PIPE);
        if let Some(pipe) = &self.pipe {
            let _ = rustix::io::read(pipe, rustix::buffer::spare_capacity(&mut buffer));
        }
        if buffer.is_empty() {
            self.pipe = None;
        }
        self.capture.write(&buffer);
        buffer.len()
    }
}

/// Which of these can be read without waiting, after waiting for one of them at most that long.
pub(super) fn readable(fds: &[BorrowedFd<'_>], timeout: Option<Duration>) -> io::Result<Vec<bool>> {
    let mut polled: Vec<PollFd<'_>> = fds
        .iter()
        .map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN))
        .collect();
    let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
    match poll(&mut polled, timeout.as_ref()) {
        Ok(_) | Err(Errno::INTR) => Ok(polled.iter().map(|fd| !fd.revents().is_empty()).collect()),
        Err(error) => Err(error.into()),
    }
}
