//! The first bytes of a file, by which it is known again.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use interlock_proto::v1;
use sha2::{Digest as _, Sha256};

/// How many of the first bytes tell a file from others: some lines with their times.
const HEAD: u32 = 1024;

/// The head of a file as it is now.
pub(super) fn of(file: &File) -> io::Result<v1::LogHead> {
    of_length(file, HEAD)
}

/// Does the file still begin like that?
pub(super) fn is(file: &File, head: &v1::LogHead) -> io::Result<bool> {
    Ok(head.bytes <= HEAD && of_length(file, head.bytes)? == *head)
}

fn of_length(file: &File, most: u32) -> io::Result<v1::LogHead> {
    let mut bytes = vec![0; most as usize];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(v1::LogHead {
        bytes: u32::try_from(filled).unwrap_or(HEAD),
        sha256: Sha256::digest(&bytes[..filled]).to_vec(),
    })
}
