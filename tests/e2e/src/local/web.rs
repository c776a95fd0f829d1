//! Just enough of a browser.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::patience;

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(60);

/// The first part of an answer.
#[derive(Debug)]
pub struct Head {
    /// The status.
    pub status: u16,
    headers: Vec<(String, String)>,
}

impl Head {
    /// Reads it, and nothing of what follows.
    ///
    /// # Errors
    /// It is none.
    pub fn read(answer: &mut BufReader<TcpStream>) -> Result<Self> {
        let mut first = String::new();
        answer.read_line(&mut first)?;
        let status = first.split_whitespace().nth(1);
        let status = status.with_context(|| format!("{first:?} is no answer"))?;
        let mut head = Self {
            status: status.parse()?,
            headers: Vec::new(),
        };
        loop {
            let mut line = String::new();
            answer.read_line(&mut line)?;
            match line.trim().split_once(": ") {
                Some((name, value)) => head
                    .headers
                    .push((name.to_ascii_lowercase(), value.to_owned())),
                None if line.trim().is_empty() => return Ok(head),
                None => bail!("{line:?} is no header"),
            }
        }
    }

    /// A header by its name in small letters; the first of several.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Gets a page.
///
/// # Errors
/// There is no answer; its status is the caller's to judge.
pub fn get(at: SocketAddr, path: &str, cookie: Option<&str>) -> Result<(Head, String)> {
    get_through(TcpStream::connect(at)?, path, cookie)
}

/// Gets a page through a connection that is there already.
///
/// # Errors
/// As [`get`].
pub fn get_through(
    mut stream: TcpStream,
    path: &str,
    cookie: Option<&str>,
) -> Result<(Head, String)> {
    stream.set_read_timeout(Some(patience(ANSWER)))?;
    let cookie = cookie.map_or_else(String::new, |cookie| format!("Cookie: {cookie}\r\n"));
    write!(stream, "GET {path} HTTP/1.0\r\nHost: lb\r\n{cookie}\r\n")?;
    let mut answer = BufReader::new(stream);
    let head = Head::read(&mut answer)?;
    let mut page = String::new();
    answer.read_to_string(&mut page)?;
    Ok((head, page))
}
