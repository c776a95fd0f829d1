//! People at the load balancer, each in a network of its own: nginx's `ip_hash` goes by the first three numbers of a
//! client's address.

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use interlock_e2e::patience;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};

/// The header in which the load balancer tells who has served.
const SERVED: &str = "x-served";

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(30);

/// A connection to `to` from an address of network number `network`.
fn reach(to: SocketAddr, network: u8) -> Result<TcpStream> {
    let socket = socket_with(
        AddressFamily::INET,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    bind(
        &socket,
        &SocketAddr::from((Ipv4Addr::new(127, 0, network, 1), 0)),
    )?;
    connect(&socket, &to)?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(patience(ANSWER)))?;
    Ok(stream)
}

/// The status line of an answer, and who has served.
fn head(answer: &mut BufReader<TcpStream>) -> Result<(String, String)> {
    let mut first = String::new();
    answer.read_line(&mut first)?;
    let mut served = String::new();
    loop {
        let mut line = String::new();
        answer.read_line(&mut line)?;
        match line.trim().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case(SERVED) => served = value.to_owned(),
            Some(_) => {}
            None if line.trim().is_empty() => return Ok((first.trim().to_owned(), served)),
            None => bail!("{line:?} is no header"),
        }
    }
}

/// Gets a page: who has served it, and the page.
pub(crate) fn get(to: SocketAddr, network: u8, path: &str) -> Result<(String, String)> {
    let mut stream = reach(to, network)?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: lb\r\n\r\n")?;
    let mut answer = BufReader::new(stream);
    let (status, served) = head(&mut answer)?;
    ensure!(status.contains(" 200 "), "{path}: {status}");
    let mut page = String::new();
    answer.read_to_string(&mut page)?;
    Ok((served, page))
}

/// What comes through a WebSocket.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Somebody has said this.
    Text(String),
    /// Nobody has said anything.
    Nothing,
    /// The connection is over.
    End,
}

/// A WebSocket (RFC 6455).
#[derive(Debug)]
pub(crate) struct WebSocket {
    /// The server that it leads to.
    pub(crate) served: String,
    stream: BufReader<TcpStream>,
}

impl WebSocket {
    /// Opens one, with the example key of the RFC (section 1.3).
    pub(crate) fn open(to: SocketAddr, network: u8) -> Result<Self> {
        let mut stream = reach(to, network)?;
        write!(
            stream,
            "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: lb\r\nUpgrade: websocket\r\nConnection: \
             Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )?;
        let mut stream = BufReader::new(stream);
        let (status, served) = head(&mut stream)?;
        ensure!(status.contains(" 101 "), "no WebSocket: {status}");
        Ok(Self { served, stream })
    }

    /// Says something to everybody.
    pub(crate) fn say(&mut self, text: &str) -> Result<()> {
        let length = u8::try_from(text.len()).ok().filter(|it| *it < 126);
        let mut frame = vec![0x81, 0x80 | length.context("too long")?];
        // The mask: none, in the form of one.
        frame.extend([0; 4]);
        frame.extend(text.as_bytes());
        Ok(self.stream.get_mut().write_all(&frame)?)
    }

    /// What somebody says within this time.
    pub(crate) fn hear(&mut self, within: Duration) -> Result<Heard> {
        self.stream.get_ref().set_read_timeout(Some(within))?;
        let mut head = [0; 2];
        match self.stream.read_exact(&mut head) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Heard::Nothing),
            // Closed, or reset: it is over.
            Err(_) => return Ok(Heard::End),
        }
        ensure!(head[0] == 0x81 && head[1] < 126, "no short text: {head:?}");
        let mut text = vec![0; usize::from(head[1])];
        self.stream.read_exact(&mut text)?;
        Ok(Heard::Text(String::from_utf8(text)?))
    }
}
