//! A piece of a file, as an answer.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

use interlock_proto::v1;
use interlock_proto::v1::log_answer::Answer;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use super::answer::message;
use super::{CHUNK, head};

/// Reads the piece that is asked for. Blocks: on the disk, and while nobody takes what is read. An error is the file's.
pub(super) fn send(
    file: &File,
    request: &v1::ReadLog,
    to: &mpsc::Sender<v1::LogAnswer>,
) -> io::Result<()> {
    let metadata = file.metadata()?;
    let is_known = match &request.head {
        Some(head) => head::is(file, head)?,
        None => false,
    };
    // What was read before is not what is there now: it was cut, or is another file of the same name.
    let from = if is_known && request.from <= metadata.len() {
        request.from
    } else {
        0
    };
    let begin = Answer::Begin(v1::LogBegin {
        from,
        inode: metadata.ino(),
        head: Some(head::of(file)?),
    });
    if to.blocking_send(message(begin)).is_err() {
        return Ok(());
    }
    let mut digest = Sha256::new();
    let mut at = from;
    let end = from.saturating_add(request.most);
    while at < end {
        let room = usize::try_from(end - at).unwrap_or(CHUNK).min(CHUNK);
        let mut data = vec![0; room];
        let read = match file.read_at(&mut data, at) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        data.truncate(read);
        digest.update(&data);
        at += read as u64;
        let chunk = Answer::Chunk(v1::LogChunk {
            data,
            of: String::new(),
        });
        if to.blocking_send(message(chunk)).is_err() {
            return Ok(());
        }
    }
    let done = Answer::Done(v1::LogDone {
        bytes: at - from,
        sha256: digest.finalize().to_vec(),
        ..v1::LogDone::default()
    });
    // Whoever asked has gone.
    drop(to.blocking_send(message(done)));
    Ok(())
}
