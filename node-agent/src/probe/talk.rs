//! Talking to a server that may be dead, slow or lying: within a limit, and within bounds.
//!
//! A stopped server still accepts connections: its kernel does (the listen queue). So *accepts* and *answers* are told
//! apart in the evidence.

use std::future::Future;
use std::io;
use std::time::Duration;

use interlock_model::check::ProbeResult;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::Names;
use super::outcome::unknown;
use super::tcp::refused;

/// The time that one look has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    limit: Duration,
    deadline: Instant,
}

impl Patience {
    /// From now on.
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            limit,
            deadline: Instant::now() + limit,
        }
    }

    /// What is left of it.
    pub(super) fn left(self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Connects to `host:port`.
    ///
    /// # Errors
    /// With the result that the check has instead.
    pub(super) async fn connect(
        self,
        names: &Names,
        target: &str,
    ) -> Result<TcpStream, ProbeResult> {
        let connecting = names.connect(target, self.limit);
        match tokio::time::timeout_at(self.deadline, connecting).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(refused(target, &error)),
            Err(_) => Err(unknown(format!(
                "cannot connect to {target} within {:?}",
                self.limit
            ))),
        }
    }

    /// What the talk with a server that has accepted comes to.
    pub(super) async fn talk(
        self,
        target: &str,
        talk: impl Future<Output = ProbeResult>,
    ) -> ProbeResult {
        match tokio::time::timeout_at(self.deadline, talk).await {
            Ok(result) => result,
            Err(_) => unknown(format!(
                "{target} accepts connections, but does not answer within {:?}",
                self.limit
            )),
        }
    }
}

/// Bytes of an answer as they come in, no more than a bound of them.
#[derive(Debug)]
pub(super) struct Incoming<S> {
    stream: S,
    held: Vec<u8>,
    taken: usize,
    left: usize,
}

impl<S: AsyncRead + Unpin> Incoming<S> {
    /// Of this stream, up to `most` bytes.
    pub(super) fn new(stream: S, most: usize) -> Self {
        Self {
            stream,
            held: Vec::new(),
            taken: 0,
            left: most,
        }
    }

    /// From now on, up to `most` bytes more.
    pub(super) fn allow(&mut self, most: usize) {
        self.left = most;
    }

    /// The stream, to write to.
    pub(super) fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    /// The next line without its end (`\r\n`).
    pub(super) async fn line(&mut self) -> io::Result<Vec<u8>> {
        loop {
            let waiting = &self.held[self.taken..];
            if let Some(end) = waiting.windows(2).position(|pair| pair == b"\r\n") {
                let line = waiting[..end].to_vec();
                self.taken += end + 2;
                return Ok(line);
            }
            self.more().await?;
        }
    }

    /// The next `count` bytes.
    pub(super) async fn bytes(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.held.len() - self.taken < count {
            // Before a byte of it is read: what is announced counts.
            if count > self.left + (self.held.len() - self.taken) {
                return Err(too_long());
            }
            self.more().await?;
        }
        let bytes = self.held[self.taken..self.taken + count].to_vec();
        self.taken += count;
        Ok(bytes)
    }

    async fn more(&mut self) -> io::Result<()> {
        if self.left == 0 {
            return Err(too_long());
        }
        let mut chunk = [0; 4096];
        let room = chunk.len().min(self.left);
        match self.stream.read(&mut chunk[..room]).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                self.held.drain(..self.taken);
                self.taken = 0;
                self.left -= read;
                self.held.extend_from_slice(&chunk[..read]);
                Ok(())
            }
        }
    }
}

fn too_long() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the answer is too long")
}

/// How a broken talk is told.
pub(crate) fn broke(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "it hangs up instead of answering".to_owned(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            "it resets the connection instead of answering".to_owned()
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_is_read_piece_by_piece_and_not_beyond_its_bound() {
        let mut incoming = Incoming::new(&b"+PONG\r\n$5\r\nabcde\r\n"[..], 100);
        assert_eq!(incoming.line().await.unwrap(), b"+PONG");
        assert_eq!(incoming.line().await.unwrap(), b"$5");
        assert_eq!(incoming.bytes(7).await.unwrap(), b"abcde\r\n");
        let end = incoming.line().await.unwrap_err();
        assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof);

        let endless = tokio::io::repeat(b'x');
        let mut incoming = Incoming::new(endless, 10_000);
        let error = incoming.line().await.unwrap_err();
        assert_eq!(error.to_string(), "the answer is too long");
        let mut announced = Incoming::new(&b""[..], 10);
        let error = announced.bytes(11).await.unwrap_err();
        assert_eq!(error.to_string(), "the answer is too long");
    }
}
