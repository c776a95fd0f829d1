//! What is said to a Redis server, and what it says (RESP2, `redis.io/docs/reference/protocol-spec`): a command is a list of
//! counted words; an answer is a line, a counted text, a number, or a list of such.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

use super::talk::Incoming;

/// How many answers a list may have.
const MAX_LIST: usize = 4096;

/// What a server says to one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    /// A simple or a counted text.
    Text(String),
    /// A refusal, of which the first word is a code.
    Error(String),
    /// A number.
    Number(i64),
    /// Nothing.
    Nil,
    /// Texts and numbers, as texts; lists in lists are not asked for here.
    List(Vec<String>),
}

impl Reply {
    /// The text of an answer, or of a refusal. Of anything else, [`io::ErrorKind::InvalidData`].
    pub(crate) fn text(self) -> io::Result<Result<String, String>> {
        match self {
            Self::Text(text) => Ok(Ok(text)),
            Self::Error(text) => Ok(Err(text)),
            Self::Number(_) | Self::Nil | Self::List(_) => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "its answer is of another kind",
            )),
        }
    }
}

/// A talk with a server.
#[derive(Debug)]
pub(crate) struct Resp<S> {
    incoming: Incoming<S>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Resp<S> {
    /// Over this stream; the server says no more than so many bytes in all.
    pub(crate) fn new(stream: S, most: usize) -> Self {
        Self {
            incoming: Incoming::new(stream, most),
        }
    }

    /// From now on it may say so many bytes.
    pub(crate) fn allow(&mut self, most: usize) {
        self.incoming.allow(most);
    }

    /// Asks, and reads the answer. What is no answer of a Redis server is [`io::ErrorKind::InvalidData`].
    pub(crate) async fn ask(&mut self, command: &[&str]) -> io::Result<Reply> {
        let mut text = format!("*{}\r\n", command.len());
        for word in command {
            text.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        // One that refuses may have hung up by now, and has said why before it did.
        let _ = self.incoming.stream().write_all(text.as_bytes()).await;
        let _ = self.incoming.stream().flush().await;
        self.reply().await
    }

    async fn reply(&mut self) -> io::Result<Reply> {
        let line = self.incoming.line().await?;
        let Some(count) = line.strip_prefix(b"*") else {
            return self.simple(&line).await;
        };
        let count = number(count)?;
        if count < 0 {
            return Ok(Reply::Nil);
        }
        let count = usize::try_from(count).map_err(|_| strange())?;
        if count > MAX_LIST {
            return Err(strange());
        }
        let mut list = Vec::with_capacity(count);
        for _ in 0..count {
            let line = self.incoming.line().await?;
            list.push(match self.simple(&line).await? {
                Reply::Text(text) | Reply::Error(text) => text,
                Reply::Number(number) => number.to_string(),
                Reply::Nil => String::new(),
                Reply::List(_) => return Err(strange()),
            });
        }
        Ok(Reply::List(list))
    }

    async fn simple(&mut self, line: &[u8]) -> io::Result<Reply> {
        let (kind, rest) = line.split_first().ok_or_else(strange)?;
        let text = || String::from_utf8_lossy(rest).into_owned();
        match kind {
            b'+' => Ok(Reply::Text(text())),
            b'-' => Ok(Reply::Error(text())),
            b':' => Ok(Reply::Number(number(rest)?)),
            b'$' => {
                let Ok(length) = usize::try_from(number(rest)?) else {
                    return Ok(Reply::Nil);
                };
                let mut bytes = self.incoming.bytes(length.saturating_add(2)).await?;
                bytes.truncate(length);
                Ok(Reply::Text(String::from_utf8_lossy(&bytes).into_owned()))
            }
            _ => Err(strange()),
        }
    }
}

fn number(text: &[u8]) -> io::Result<i64> {
    let text = std::str::from_utf8(text).map_err(|_| strange())?;
    text.parse().map_err(|_| strange())
}

fn strange() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "what it says is not RESP")
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn answer(said: &'static [u8]) -> io::Result<Reply> {
        let (near, mut far) = tokio::io::duplex(4096);
        far.write_all(said).await.unwrap();
        drop(far);
        Resp::new(near, 1000).ask(&["PING"]).await
    }

    #[tokio::test]
    async fn an_answer_is_a_line_a_counted_text_a_number_or_a_list() {
        let list = Reply::List(vec!["save".to_owned(), "3600 1".to_owned(), "7".to_owned()]);
        for (said, meant) in [
            (&b"+PONG\r\n"[..], Reply::Text("PONG".to_owned())),
            (
                b"-NOAUTH first\r\n",
                Reply::Error("NOAUTH first".to_owned()),
            ),
            (b"$5\r\na\r\nbc\r\n", Reply::Text("a\r\nbc".to_owned())),
            (b"$-1\r\n", Reply::Nil),
            (b":-3\r\n", Reply::Number(-3)),
            (b"*3\r\n$4\r\nsave\r\n$6\r\n3600 1\r\n:7\r\n", list),
        ] {
            assert_eq!(answer(said).await.unwrap(), meant);
        }
        for said in [&b"HTTP/1.1 400\r\n"[..], b"*99999\r\n", b"$x\r\n", b"\r\n"] {
            let error = answer(said).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{said:?}");
        }
    }
}
