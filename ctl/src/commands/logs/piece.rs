//! A compressed file that grows by a frame.
//!
//! zstd frames that follow each other are one file to every reader of it (RFC 8878, section 3), so what is new of a log is
//! compressed for itself and put behind what is there.

use std::fs::{self, File};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use sha2::{Digest as _, Sha256};

/// zstd's own default: some 300 MB/s, a tenth of a log's size.
const LEVEL: i32 = 3;

/// A frame that is being written.
pub(super) struct Piece {
    encoder: zstd::Encoder<'static, File>,
    digest: Sha256,
    bytes: u64,
}

/// A frame that was written.
#[derive(Debug)]
pub(super) struct Written {
    /// How much went into it.
    pub(super) bytes: u64,
    /// The digest of that, in hexadecimal digits.
    pub(super) sha256: String,
    /// How long the file is now.
    pub(super) stored: u64,
}

impl Piece {
    /// Begins a frame behind the first `stored` bytes of a file; what comes after them was broken off, and goes.
    pub(super) fn begin(path: &Path, stored: u64) -> io::Result<Self> {
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        let mut file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)?;
        file.set_len(stored)?;
        file.seek(SeekFrom::Start(stored))?;
        let mut encoder = zstd::Encoder::new(file, LEVEL)?;
        encoder.include_checksum(true)?;
        Ok(Self {
            encoder,
            digest: Sha256::new(),
            bytes: 0,
        })
    }

    pub(super) fn write(&mut self, data: &[u8]) -> io::Result<()> {
        self.digest.update(data);
        self.bytes += data.len() as u64;
        self.encoder.write_all(data)
    }

    /// Ends the frame and makes it durable.
    pub(super) fn finish(self) -> io::Result<Written> {
        let mut file = self.encoder.finish()?;
        file.sync_data()?;
        Ok(Written {
            bytes: self.bytes,
            sha256: hex(&self.digest.finalize()),
            stored: file.stream_position()?,
        })
    }
}

/// Bytes in hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_follow_each_other_and_one_that_was_broken_off_is_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b.zst");
        let frame = |stored, text: &str| {
            let mut piece = Piece::begin(&path, stored).unwrap();
            piece.write(text.as_bytes()).unwrap();
            piece.finish().unwrap()
        };
        let first = frame(0, "one\n");
        assert_eq!(first.bytes, 4);
        frame(first.stored, "broken");
        let second = frame(first.stored, "two\n");
        assert_eq!(fs::metadata(&path).unwrap().len(), second.stored);
        let all = zstd::decode_all(File::open(&path).unwrap()).unwrap();
        assert_eq!(all, b"one\ntwo\n");
    }
}
