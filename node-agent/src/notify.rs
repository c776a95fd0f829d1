//! Telling the service manager how the agent is: datagrams to `$NOTIFY_SOCKET` (sd_notify(3)).
//!
//! Without the variable, or under another service manager, everything here does nothing.
//!
//! The variable must not reach programs that the agent starts: they could declare the agent ready or stopped. Removing
//! it from this process's environment takes `unsafe` (other threads may be reading it), so instead every child gets an
//! environment of its own, from nothing. The unit says `NotifyAccess=main` besides, with which systemd ignores others.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The longest status line, in bytes; systemd shows one line of a terminal.
const MAX_STATUS: usize = 512;

/// The way to the service manager, if there is one.
#[derive(Debug)]
pub struct Notify {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Notify {
    /// As the environment says (`NOTIFY_SOCKET`, `WATCHDOG_USEC`, `WATCHDOG_PID`).
    ///
    /// # Errors
    /// If the environment names a socket that cannot be used: the service manager would wait in vain for this process
    /// to be ready.
    pub fn from_env() -> io::Result<Self> {
        let ours = env::var("WATCHDOG_PID").is_ok_and(|pid| pid == std::process::id().to_string());
        let period = env::var("WATCHDOG_USEC")
            .ok()
            .and_then(|micros| micros.parse().ok());
        // systemd sets both for the main process; the process id guards against an inherited environment.
        let watchdog = period.filter(|_| ours || env::var_os("WATCHDOG_PID").is_none());
        Self::new(
            env::var_os("NOTIFY_SOCKET").as_deref(),
            watchdog.map(Duration::from_micros),
        )
    }

    /// To the socket of this name (`/path`, or `@name` in the abstract namespace), with this watchdog time-out.
    ///
    /// # Errors
    /// If the name is of another kind (`vsock:` is for machines, not services) or the socket cannot be made.
    pub fn new(name: Option<&OsStr>, watchdog: Option<Duration>) -> io::Result<Self> {
        let Some(name) = name.filter(|name| !name.is_empty()) else {
            return Ok(Self {
                socket: None,
                watchdog: None,
            });
        };
        let address = match name.as_bytes() {
            [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest)?,
            [b'/', ..] => SocketAddr::from_pathname(name)?,
            _ => {
                let message = format!(
                    "NOTIFY_SOCKET is neither a path nor an abstract name: {}",
                    name.display()
                );
                return Err(io::Error::new(io::ErrorKind::Unsupported, message));
            }
        };
        let socket = UnixDatagram::unbound()?;
        // A manager that does not read must not stop the agent; a lost status line is no loss.
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket: Some((socket, address)),
            watchdog: watchdog.filter(|period| !period.is_zero()),
        })
    }

    /// The agent has read its configuration, taken over what runs, and listens.
    pub fn ready(&self) {
        self.send("READY=1");
    }

    /// One line about what the agent is doing, for `systemctl status`.
    pub fn status(&self, line: &str) {
        let mut end = line.len().min(MAX_STATUS);
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        // A line break would begin another assignment.
        let line: String = line[..end]
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        self.send(&format!("STATUS={line}"));
    }

    /// The agent is on its way out. Say it once.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// The start or stop goes on, and may take as long as this from now.
    pub fn extend(&self, time: Duration) {
        self.send(&format!("EXTEND_TIMEOUT_USEC={}", time.as_micros()));
    }

    /// The agent is alive. To be called only from the loop whose progress is to be proven.
    pub fn watchdog(&self) {
        self.send("WATCHDOG=1");
    }

    /// How often [`Notify::watchdog`] has to be called: half the time-out. None if nobody watches.
    #[must_use]
    pub fn watchdog_period(&self) -> Option<Duration> {
        self.watchdog.map(|timeout| timeout / 2)
    }

    fn send(&self, message: &str) {
        let Some((socket, address)) = &self.socket else {
            return;
        };
        if let Err(error) = socket.send_to_addr(message.as_bytes(), address) {
            tracing::debug!(%error, "the service manager was not told {message}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 2048];
        let read = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..read].to_vec()).unwrap()
    }

    #[test]
    fn messages_arrive_at_a_path_one_a_datagram() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let notify = Notify::new(Some(path.as_os_str()), None).unwrap();
        notify.ready();
        notify.status("primary of dbm\nREADY=1 \u{1f600}");
        notify.extend(Duration::from_secs(2));
        notify.watchdog();
        notify.stopping();
        let expected = [
            "READY=1",
            "STATUS=primary of dbm READY=1 \u{1f600}",
            "EXTEND_TIMEOUT_USEC=2000000",
            "WATCHDOG=1",
            "STOPPING=1",
        ];
        assert_eq!(expected.map(|_| received(&socket)), expected);
        notify.status(&"\u{1f600}".repeat(1000));
        assert!(received(&socket).len() <= MAX_STATUS + "STATUS=".len());
    }

    #[test]
    fn messages_arrive_at_an_abstract_name() {
        let name = format!("@interlock-test-{}", std::process::id());
        let socket =
            UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name[1..]).unwrap()).unwrap();
        Notify::new(Some(OsStr::new(&name)), None).unwrap().ready();
        assert_eq!(received(&socket), "READY=1");
    }

    #[test]
    fn nobody_to_tell_is_silence_and_a_strange_name_an_error() {
        let silent = Notify::new(None, Some(Duration::from_secs(1))).unwrap();
        silent.ready();
        assert_eq!(silent.watchdog_period(), None);
        assert!(Notify::new(Some(OsStr::new("vsock:2:1234")), None).is_err());
        let gone = Notify::new(
            Some(OsStr::new("/nonexistent/notify")),
            Some(Duration::from_secs(3)),
        )
        .unwrap();
        gone.ready();
        assert_eq!(gone.watchdog_period(), Some(Duration::from_millis(1500)));
    }
}
