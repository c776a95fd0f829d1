//! What is answered to each request of a call.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, SystemTime};

use futures_util::{Stream, StreamExt as _};
use interlock_proto::v1;
use interlock_proto::v1::log_answer::Answer;
use interlock_proto::v1::log_request::Ask;
use tokio::sync::mpsc;
use tonic::Status;

use super::catalog::{JOURNAL, PROCESS};
use super::{Logs, follow, head, journal, piece, tree};

/// Files that are listed at most. More are told as a cut list.
const MOST_FILES: usize = 5_000;

pub(super) fn message(answer: Answer) -> v1::LogAnswer {
    v1::LogAnswer {
        answer: Some(answer),
    }
}

/// Answers the requests of a call, one after the other, until there are no more or nobody takes the answers.
pub(super) async fn all(
    logs: &Logs,
    mut requests: impl Stream<Item = Result<v1::LogRequest, Status>> + Unpin,
    to: mpsc::Sender<v1::LogAnswer>,
) {
    while let Some(Ok(request)) = requests.next().await {
        let answered = match request.ask {
            Some(Ask::List(list)) => listed(logs, list, &to).await,
            Some(Ask::Read(read)) if read.log == JOURNAL => tokio::select! {
                read = journal::send(&logs.0.catalog, &read, &to) => read,
                () = to.closed() => return,
            },
            Some(Ask::Read(read)) => one(logs, read, &to).await,
            Some(Ask::Follow(wanted)) => tokio::select! {
                followed = follow::run(&logs.0.catalog, &wanted, &to) => followed,
                // Whatever is asked next, or nothing: this is enough.
                _ = requests.next() => return,
                () = to.closed() => return,
            },
            None => Err("this agent does not know what is asked for: is it older than the program that asks?".to_owned()),
        };
        if let Err(why) = answered
            && to.send(message(Answer::Refused(why))).await.is_err()
        {
            return;
        }
    }
}

/// Lists what can be read.
async fn listed(
    logs: &Logs,
    list: v1::ListLogs,
    to: &mpsc::Sender<v1::LogAnswer>,
) -> Result<(), String> {
    let (logs, to) = (logs.clone(), to.clone());
    blocking(move || {
        let since = SystemTime::UNIX_EPOCH + Duration::from_millis(list.since_ms);
        let mut left = MOST_FILES;
        let mut cut = false;
        for files in &logs.0.catalog.files {
            let mut each = |found: tree::Found| {
                let named = v1::LogFile {
                    log: files.log.clone(),
                    file: files.name(&found.path),
                    ..v1::LogFile::default()
                };
                if let Some(file) = entry(named, found.file, since) {
                    if left == 0 {
                        cut = true;
                        return false;
                    }
                    left -= 1;
                    return to.blocking_send(message(Answer::File(file))).is_ok();
                }
                true
            };
            if let Err(error) = tree::walk(&files.glob, &files.private.now(), &mut each)
                && files.log != PROCESS
            {
                let problem = v1::LogFile {
                    log: files.log.clone(),
                    problem: format!("{}: {error}", files.glob),
                    ..v1::LogFile::default()
                };
                drop(to.blocking_send(message(Answer::File(problem))));
            }
        }
        for unit in logs.0.catalog.units.keys() {
            let file = v1::LogFile {
                log: JOURNAL.to_owned(),
                file: unit.clone(),
                ..v1::LogFile::default()
            };
            drop(to.blocking_send(message(Answer::File(file))));
        }
        if let Some(problem) = logs.0.share.told() {
            let share = v1::LogFile {
                log: "share".to_owned(),
                problem,
                ..v1::LogFile::default()
            };
            drop(to.blocking_send(message(Answer::File(share))));
        }
        let done = v1::LogDone {
            cut,
            ..v1::LogDone::default()
        };
        drop(to.blocking_send(message(Answer::Done(done))));
        Ok(())
    })
    .await
}

/// A file as it is listed; none if it was not changed since.
fn entry(
    mut entry: v1::LogFile,
    file: Result<File, String>,
    since: SystemTime,
) -> Option<v1::LogFile> {
    let read = file.and_then(|file| {
        let text = |error: std::io::Error| error.to_string();
        let metadata = file.metadata().map_err(text)?;
        let modified = metadata.modified().map_err(text)?;
        if modified < since {
            return Ok(false);
        }
        entry.inode = metadata.ino();
        entry.bytes = metadata.len();
        entry.modified_ms = modified
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, interlock_proto::convert::millis);
        entry.head = Some(head::of(&file).map_err(text)?);
        Ok(true)
    });
    match read {
        Ok(true) => Some(entry),
        Ok(false) => None,
        Err(problem) => Some(v1::LogFile { problem, ..entry }),
    }
}

/// A piece of one file.
async fn one(
    logs: &Logs,
    read: v1::ReadLog,
    to: &mpsc::Sender<v1::LogAnswer>,
) -> Result<(), String> {
    let (logs, to) = (logs.clone(), to.clone());
    blocking(move || {
        let mut why = "this node's file names no such log".to_owned();
        for files in logs
            .0
            .catalog
            .files
            .iter()
            .filter(|files| files.log == read.log)
        {
            let Some(path) = files.path(&read.file) else {
                continue;
            };
            match tree::open(&files.glob, &files.private.now(), path) {
                Ok(file) => {
                    return piece::send(&file, &read, &to).map_err(|error| error.to_string());
                }
                Err(other) => why = other,
            }
        }
        Err(why)
    })
    .await
}

async fn blocking(
    work: impl FnOnce() -> Result<(), String> + Send + 'static,
) -> Result<(), String> {
    // One that panicked has told what it told; the next may be asked.
    let ended = tokio::task::spawn_blocking(work).await;
    ended.unwrap_or_else(|error| Err(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_listed_from_the_moment_of_its_last_change_on_and_one_that_cannot_be_read_always() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(5_000);
        let moment = Duration::from_millis(1);
        let listed = |since| {
            let file = tempfile::tempfile().unwrap();
            file.set_modified(at).unwrap();
            entry(v1::LogFile::default(), Ok(file), since)
        };
        for since in [SystemTime::UNIX_EPOCH, at - moment, at] {
            let file = listed(since);
            assert_eq!(file.map(|it| it.modified_ms), Some(5_000), "{since:?}");
        }
        assert_eq!(listed(at + moment), None);
        let problem = entry(v1::LogFile::default(), Err("denied".to_owned()), at);
        assert_eq!(problem.map(|it| it.problem), Some("denied".to_owned()));
    }
}
