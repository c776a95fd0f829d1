//! Messages of the PostgreSQL protocol: a byte that names the kind, a length that counts itself, and fields.

use std::io;

use tokio::io::AsyncRead;

use super::super::talk::Incoming;

/// The longest message that is taken. A row of ours has a few short fields, an error a few sentences.
const MAX_MESSAGE: usize = 64 << 10;

/// What the server sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    /// What it is: `R` for a request to authenticate, `E` for an error, and so on.
    pub(super) kind: u8,
    /// Everything behind the length.
    pub(super) body: Vec<u8>,
}

impl Message {
    /// Takes the next one.
    pub(super) async fn read<S: AsyncRead + Unpin>(incoming: &mut Incoming<S>) -> io::Result<Self> {
        let head = incoming.bytes(5).await?;
        let kind = head[0];
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
        let length = usize::try_from(length)
            .ok()
            .and_then(|length| length.checked_sub(4))
            .filter(|length| *length <= MAX_MESSAGE)
            .ok_or_else(|| nonsense("a message of an impossible length"))?;
        if !kind.is_ascii_alphanumeric() {
            return Err(nonsense("no message of PostgreSQL"));
        }
        let body = incoming.bytes(length).await?;
        Ok(Self { kind, body })
    }
}

/// The server does not speak the protocol.
pub(super) fn nonsense(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("it sends {what}"))
}

/// The fields of a message, from the front.
#[derive(Debug)]
pub(super) struct Fields<'m>(pub(super) &'m [u8]);

impl<'m> Fields<'m> {
    pub(super) fn bytes(&mut self, count: usize) -> io::Result<&'m [u8]> {
        if count > self.0.len() {
            return Err(nonsense("a message that ends too early"));
        }
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn int16(&mut self) -> io::Result<i16> {
        let bytes = self.bytes(2)?;
        Ok(i16::from_be_bytes([bytes[0], bytes[1]]))
    }

    pub(super) fn int32(&mut self) -> io::Result<i32> {
        let bytes = self.bytes(4)?;
        Ok(i32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// A text that ends with a zero byte.
    pub(super) fn text(&mut self) -> io::Result<String> {
        let end = self.0.iter().position(|byte| *byte == 0);
        let end = end.ok_or_else(|| nonsense("a text without an end"))?;
        let text = String::from_utf8_lossy(&self.0[..end]).into_owned();
        self.0 = &self.0[end + 1..];
        Ok(text)
    }

    /// The columns of a row; none for NULL.
    pub(super) fn row(&mut self) -> io::Result<Vec<Option<String>>> {
        let count = self.int16()?;
        (0..count)
            .map(|_| match usize::try_from(self.int32()?) {
                // NULL has the length -1.
                Err(_) => Ok(None),
                Ok(length) => Ok(Some(
                    String::from_utf8_lossy(self.bytes(length)?).into_owned(),
                )),
            })
            .collect()
    }
}

/// The first message of a connection: version 3.0 and the parameters.
pub(super) fn startup(parameters: &[(&str, &str)]) -> Vec<u8> {
    const VERSION: u32 = 3 << 16;
    let mut body = VERSION.to_be_bytes().to_vec();
    for text in parameters.iter().flat_map(|(name, value)| [name, value]) {
        body.extend(text.bytes().filter(|byte| *byte != 0));
        body.push(0);
    }
    body.push(0);
    counted(&body)
}

/// Any other message.
pub(super) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut message = vec![kind];
    message.extend(counted(body));
    message
}

/// A text as a field.
pub(super) fn text(text: &str) -> Vec<u8> {
    let mut bytes: Vec<u8> = text.bytes().filter(|byte| *byte != 0).collect();
    bytes.push(0);
    bytes
}

fn counted(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend(body);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_message_that_announces_gigabytes_or_ends_early_is_refused() {
        let read = async |bytes: &[u8]| {
            let mut incoming = Incoming::new(bytes, 1 << 20);
            Message::read(&mut incoming).await
        };
        let ready = read(b"Z\0\0\0\x05I").await.unwrap();
        assert_eq!((ready.kind, &*ready.body), (b'Z', &b"I"[..]));
        for broken in [
            &b"D\x7f\xff\xff\xff"[..],
            b"D\0\0\0\x03",
            b"HTTP/1.1 400 Bad Request",
            b"\0\0\0\0\x05I",
            b"D\0\0\0\x08ab",
        ] {
            assert!(read(broken).await.is_err(), "{broken:?}");
        }
        // Two columns are announced, one is there.
        assert!(Fields(b"\0\x02\0\0\0\x01a").row().is_err());
        assert_eq!(
            Fields(b"\0\x02\0\0\0\x01a\xff\xff\xff\xff").row().unwrap(),
            [Some("a".to_owned()), None]
        );
    }
}
