//! What a template writes: as much as a file may have, and which secret goes where.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use interlock_model::file::{MAX_TEXT, Piece, Text};
use interlock_model::names::LocalName;

/// The text so far.
#[derive(Debug, Default)]
pub(super) struct Sink {
    text: String,
    /// Which secret goes before which byte of the text.
    secrets: Vec<(usize, LocalName)>,
    /// The secrets that were named, and whether each was written, and nothing else was done with it.
    named: Vec<(LocalName, Done)>,
    is_full: bool,
}

/// What was done with a secret that a template has named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    Nothing,
    Written,
    /// Something was made of it, or of whether there is one.
    Used,
}

impl Sink {
    /// A secret is named; returns the number by which it is known.
    pub(super) fn name(&mut self, name: LocalName) -> usize {
        self.named.push((name, Done::Nothing));
        self.named.len() - 1
    }

    /// The secret of this number goes here.
    pub(super) fn put(&mut self, number: usize) {
        let Some((name, done)) = self.named.get_mut(number) else {
            return;
        };
        if *done == Done::Nothing {
            *done = Done::Written;
        }
        self.secrets.push((self.text.len(), name.clone()));
    }

    /// Something else is done with the secret of this number.
    pub(super) fn used(&mut self, number: usize) {
        if let Some((_, done)) = self.named.get_mut(number) {
            *done = Done::Used;
        }
    }

    /// How many bytes there are.
    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    /// Takes back what was written since there were so many.
    pub(super) fn back_to(&mut self, len: usize) {
        self.text.truncate(len);
    }

    /// Was there more than a file may have?
    pub(super) fn is_full(&self) -> bool {
        self.is_full
    }

    /// The whole text.
    ///
    /// # Errors
    /// The first secret that is not just written.
    pub(super) fn into_text(self) -> Result<Text, LocalName> {
        let odd = self.named.into_iter().find(|(_, it)| *it != Done::Written);
        if let Some((name, _)) = odd {
            return Err(name);
        }
        let mut pieces = Vec::new();
        let mut rest = self.text.as_str();
        let mut before = 0;
        for (at, name) in self.secrets {
            // Every place is an end of a text that was written.
            let (plain, after) = rest.split_at_checked(at - before).unwrap_or((rest, ""));
            if !plain.is_empty() {
                pieces.push(Piece::Plain(plain.to_owned()));
            }
            pieces.push(Piece::Secret(name));
            (rest, before) = (after, at);
        }
        if !rest.is_empty() {
            pieces.push(Piece::Plain(rest.to_owned()));
        }
        Ok(Text { pieces })
    }
}

/// The way to it.
#[derive(Debug)]
pub(super) struct Writer(pub(super) Arc<Mutex<Sink>>);

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A panic has changed nothing half.
        let mut sink = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if sink.text.len() + bytes.len() > MAX_TEXT {
            sink.is_full = true;
            return Err(io::Error::other("it is too long"));
        }
        let text = str::from_utf8(bytes).map_err(io::Error::other)?;
        sink.text.push_str(text);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
