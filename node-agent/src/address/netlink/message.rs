//! Messages as netlink(7) has them: written, and read.
//!
//! All numbers of the headers are in the byte order of the machine; each message and each attribute begins at a multiple of four.

/// Size of `struct nlmsghdr`: length (u32), type (u16), flags (u16), sequence (u32), port (u32).
const HEADER: usize = 16;

/// Size of `struct nlattr`: length (u16), type (u16).
const ATTRIBUTE_HEADER: usize = 4;

/// `NLA_F_NESTED`: the value is attributes again.
const NESTED: u16 = 0x8000;

/// The bits of an attribute's type that are its type (`NLA_TYPE_MASK`).
const TYPE: u16 = 0x3fff;

/// Messages one after the other, for one `send`.
#[derive(Debug)]
pub(in crate::address) struct Messages {
    bytes: Vec<u8>,
    next: u32,
}

impl Messages {
    /// None yet; the first will have this sequence number.
    pub(super) fn starting_at(sequence: u32) -> Self {
        Self {
            bytes: Vec::new(),
            next: sequence,
        }
    }

    /// Appends a message.
    pub(in crate::address) fn push(
        &mut self,
        kind: u16,
        flags: u16,
        body: impl FnOnce(&mut Body<'_>),
    ) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&flags.to_ne_bytes());
        self.bytes.extend_from_slice(&self.next.to_ne_bytes());
        // Port zero: the kernel fills in the socket's.
        self.bytes.extend_from_slice(&[0; 4]);
        self.next = self.next.wrapping_add(1);
        body(&mut Body(&mut self.bytes));
        // A length that does not fit is one that the kernel refuses.
        let length = u32::try_from(self.bytes.len() - start).unwrap_or(u32::MAX);
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
    }

    /// What is to be sent.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The sequence number after the last message's.
    pub(super) fn next(&self) -> u32 {
        self.next
    }
}

/// What follows the header of a message.
#[derive(Debug)]
pub(in crate::address) struct Body<'a>(&'a mut Vec<u8>);

impl Body<'_> {
    /// The fixed part of a family's messages: before all attributes, a multiple of four bytes.
    pub(in crate::address) fn fixed(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// An attribute.
    pub(in crate::address) fn attribute(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        self.framed(kind, |body| body.0.extend_from_slice(value))
    }

    /// An attribute that is a text, which ends with a zero.
    pub(in crate::address) fn text(&mut self, kind: u16, value: &str) -> &mut Self {
        self.framed(kind, |body| {
            body.0.extend_from_slice(value.as_bytes());
            body.0.push(0);
        })
    }

    /// An attribute whose value is attributes.
    pub(in crate::address) fn nested(
        &mut self,
        kind: u16,
        value: impl FnOnce(&mut Body<'_>),
    ) -> &mut Self {
        self.framed(kind | NESTED, value)
    }

    fn framed(&mut self, kind: u16, value: impl FnOnce(&mut Body<'_>)) -> &mut Self {
        let start = self.0.len();
        self.0.extend_from_slice(&[0; 2]);
        self.0.extend_from_slice(&kind.to_ne_bytes());
        value(&mut Body(self.0));
        // A length that does not fit is one that the kernel refuses.
        let length = u16::try_from(self.0.len() - start).unwrap_or(u16::MAX);
        self.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        while !self.0.len().is_multiple_of(4) {
            self.0.push(0);
        }
        self
    }
}

/// A message that was received.
#[derive(Debug, Clone, Copy)]
pub(super) struct Received<'a> {
    /// Its type.
    pub(super) kind: u16,
    /// Its flags.
    pub(super) flags: u16,
    /// The sequence number of what it answers.
    pub(super) sequence: u32,
    /// What follows the header.
    pub(super) body: &'a [u8],
}

/// The messages of one datagram. What is cut off is left out.
pub(super) fn messages(mut rest: &[u8]) -> impl Iterator<Item = Received<'_>> {
    std::iter::from_fn(move || {
        let length = usize::try_from(word(rest, 0)?).ok()?;
        let message = rest.get(..length)?;
        let body = message.get(HEADER..)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Received {
            kind: half(message, 4)?,
            flags: half(message, 6)?,
            sequence: word(message, 8)?,
            body,
        })
    })
}

/// The attributes in a message after its fixed part, each with its type. What is cut off is left out.
pub(in crate::address) fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(half(rest, 0)?);
        let kind = half(rest, 2)? & TYPE;
        let value = rest.get(ATTRIBUTE_HEADER..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The four bytes at an offset as a number of the machine.
pub(in crate::address) fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(u32::from_ne_bytes(four))
}

/// The two bytes at an offset as a number of the machine.
pub(in crate::address) fn half(bytes: &[u8], at: usize) -> Option<u16> {
    let two = bytes.get(at..at + 2)?.try_into().ok()?;
    Some(u16::from_ne_bytes(two))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let mut written = Messages::starting_at(7);
        written.push(20, 5, |body| {
            body.fixed(&[1, 2, 3, 4]).text(3, "eth0");
            body.nested(9, |inner| {
                inner.attribute(1, &[10, 0, 0, 1]).attribute(2, &[5]);
            });
        });
        written.push(21, 0, |_| {});
        assert_eq!(written.next(), 9);
        let read: Vec<_> = messages(written.bytes()).collect();
        assert_eq!(read.len(), 2);
        assert_eq!((read[0].kind, read[0].flags, read[0].sequence), (20, 5, 7));
        assert_eq!((read[1].kind, read[1].sequence), (21, 8));
        assert!(read[1].body.is_empty());
        let outer: Vec<_> = attributes(&read[0].body[4..]).collect();
        assert_eq!(outer[0], (3, b"eth0\0".as_slice()));
        assert_eq!(outer[1].0, 9);
        let inner: Vec<_> = attributes(outer[1].1).collect();
        assert_eq!(inner, [(1, [10, 0, 0, 1].as_slice()), (2, [5].as_slice())]);
    }

    #[test]
    fn what_is_cut_off_ends_the_reading() {
        let mut written = Messages::starting_at(1);
        written.push(20, 0, |body| {
            body.attribute(1, &[0; 8]);
        });
        let bytes = written.bytes();
        for length in 0..bytes.len() {
            assert_eq!(messages(&bytes[..length]).count(), 0, "{length}");
        }
        let body = &bytes[HEADER..];
        for length in 0..body.len() {
            assert_eq!(attributes(&body[..length]).count(), 0, "{length}");
        }
        assert_eq!(attributes(&[0, 0, 1, 0]).count(), 0, "a length of nothing");
    }
}
