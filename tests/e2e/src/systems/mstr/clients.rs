//! People at the load balancer, each in a network of its own: nginx's `ip_hash` goes by the first three numbers of a
//! client's address.

use std::io::{BufReader, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};

use crate::local::web::{self, Head};
use crate::patience;

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

/// Gets a page: who has served it, and the page.
///
/// # Errors
/// There is none, or not this one.
pub fn get(to: SocketAddr, network: u8, path: &str) -> Result<(String, String)> {
    let (head, page) = web::get_through(reach(to, network)?, path, None)?;
    ensure!(head.status == 200, "{path}: {head:?}");
    Ok((served(&head), page))
}

fn served(head: &Head) -> String {
    head.header(SERVED).unwrap_or_default().to_owned()
}

/// What comes through a WebSocket.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// Somebody has said this.
    Text(String),
    /// Nobody has said anything.
    Nothing,
    /// The connection is over.
    End,
}

/// A WebSocket (RFC 6455).
#[derive(Debug)]
pub struct WebSocket {
    /// The server that it leads to.
    pub served: String,
    stream: BufReader<TcpStream>,
}

impl WebSocket {
    /// Opens one, with the example key of the RFC (section 1.3).
    ///
    /// # Errors
    /// It is not taken.
    pub fn open(to: SocketAddr, network: u8) -> Result<Self> {
        let mut stream = reach(to, network)?;
        write!(
            stream,
            "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: lb\r\nUpgrade: websocket\r\nConnection: \
             Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )?;
        let mut stream = BufReader::new(stream);
        let head = Head::read(&mut stream)?;
        ensure!(head.status == 101, "no WebSocket: {head:?}");
        let served = served(&head);
        Ok(Self { served, stream })
    }

    /// Says something to everybody.
    ///
    /// # Errors
    /// It cannot be sent, or is too long.
    pub fn say(&mut self, text: &str) -> Result<()> {
        let length = u8::try_from(text.len()).ok().filter(|it| *it < 126);
        let mut frame = vec![0x81, 0x80 | length.context("too long")?];
        // The mask: none, in the form of one.
        frame.extend([0; 4]);
        frame.extend(text.as_bytes());
        Ok(self.stream.get_mut().write_all(&frame)?)
    }

    /// What somebody says within this time.
    ///
    /// # Errors
    /// What comes is no short text.
    pub fn hear(&mut self, within: Duration) -> Result<Heard> {
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
