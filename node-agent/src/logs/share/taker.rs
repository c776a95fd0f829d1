//! Takes what is new of this node's logs into the spool: a reader like every other, in this very program.

use futures_util::StreamExt as _;
use interlock_engine::collecting::{Head, Next, Seen, Taken, next};
use interlock_proto::v1;
use interlock_proto::v1::log_answer::Answer;
use interlock_proto::v1::log_request::Ask;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::super::catalog::JOURNAL;
use super::super::{Logs, QUEUE, answer};
use super::memory::Memory;
use super::spool::{NotSpooled, Spool};
use crate::session::Clock;

/// How far back a journal is taken of which nothing was taken so far: as far as a day's logs go.
const FIRST: u64 = 86_400_000;

/// A call to this agent itself.
struct Call {
    asks: mpsc::Sender<v1::LogRequest>,
    answers: mpsc::Receiver<v1::LogAnswer>,
}

impl Call {
    fn open(logs: &Logs) -> Self {
        let (asks, requests) = mpsc::channel(1);
        let (to, answers) = mpsc::channel(QUEUE);
        let logs = logs.clone();
        tokio::spawn(async move {
            let requests = ReceiverStream::new(requests).map(Ok);
            answer::all(&logs, requests, to).await;
        });
        Self { asks, answers }
    }

    async fn ask(&self, ask: Ask) {
        let request = v1::LogRequest {
            node: String::new(),
            ask: Some(ask),
        };
        // Its end is seen where the answer is read.
        drop(self.asks.send(request).await);
    }

    async fn next(&mut self) -> Result<Answer, String> {
        match self.answers.recv().await.and_then(|answer| answer.answer) {
            Some(Answer::Refused(why)) => Err(why),
            Some(answer) => Ok(answer),
            None => Err("the reading ended".to_owned()),
        }
    }
}

/// Takes what is new. True if the spool was too small for all of it. What cannot be read is told by a list to whoever
/// collects, and is no error here.
pub(super) async fn take(
    logs: &Logs,
    memory: &mut Memory,
    spool: &Spool,
    day: &str,
) -> Result<bool, String> {
    spool
        .sweep()
        .map_err(|error| format!("{}: {error}", spool.dir().display()))?;
    let mut call = Call::open(logs);
    call.ask(Ask::List(v1::ListLogs { since_ms: 0 })).await;
    let mut listed = Vec::new();
    let cut = loop {
        match call.next().await? {
            Answer::File(file) => listed.push(file),
            Answer::Done(done) => break done.cut,
            _ => {}
        }
    };
    let problems: Vec<String> = listed
        .iter()
        .filter(|file| !file.problem.is_empty())
        .map(|file| file.log.clone())
        .collect();
    let mut seen = Seeing::default();
    let mut full = false;
    for file in listed.iter().filter(|file| file.problem.is_empty()) {
        let taken = if file.log == JOURNAL {
            journal(&mut call, memory, spool, day, &file.file).await
        } else {
            one(&mut call, memory, spool, day, file, &mut seen).await
        };
        match taken {
            Ok(()) => {}
            Err(NotTaken::Full) => {
                full = true;
                // The rest of that answer is not wanted. Another log may be small enough.
                call = Call::open(logs);
            }
            Err(NotTaken::Spool(why)) => return Err(why),
            Err(NotTaken::Log(why)) => {
                tracing::warn!(
                    log = file.log,
                    file = file.file,
                    why,
                    "a log is not taken for the share"
                );
            }
        }
    }
    if !cut {
        seen.forget_others(memory, &problems);
    }
    Ok(full)
}

/// Why something was not taken.
enum NotTaken {
    Full,
    /// Nothing more can be taken.
    Spool(String),
    /// This log cannot be; others may.
    Log(String),
}

impl From<NotSpooled> for NotTaken {
    fn from(why: NotSpooled) -> Self {
        match why {
            NotSpooled::Full => Self::Full,
            NotSpooled::Io(error) => Self::Spool(error.to_string()),
        }
    }
}

/// Which inodes are there, so that what is gone can be forgotten.
#[derive(Default)]
struct Seeing(std::collections::BTreeMap<String, Vec<u64>>);

impl Seeing {
    fn forget_others(&self, memory: &mut Memory, unread: &[String]) {
        memory
            .files
            .retain(|log, _| self.0.contains_key(log) || unread.contains(log));
        for (log, files) in &mut memory.files {
            if let Some(inodes) = self.0.get(log).filter(|_| !unread.contains(log)) {
                files.retain(|file| inodes.contains(&file.inode));
            }
        }
    }
}

/// What is new of one file.
async fn one(
    call: &mut Call,
    memory: &mut Memory,
    spool: &Spool,
    day: &str,
    file: &v1::LogFile,
    seeing: &mut Seeing,
) -> Result<(), NotTaken> {
    seeing
        .0
        .entry(file.log.clone())
        .or_default()
        .push(file.inode);
    let known = memory.files.entry(file.log.clone()).or_default();
    let seen = Seen {
        inode: file.inode,
        bytes: file.bytes,
        head: head(file.head.as_ref()),
    };
    let (of, from) = match next(known, &seen) {
        Next::Nothing { of } => {
            known[of].inode = seen.inode;
            return Ok(());
        }
        Next::From { of } => (Some(of), known[of].through),
        Next::Whole => (None, 0),
    };
    call.ask(Ask::Read(v1::ReadLog {
        log: file.log.clone(),
        file: file.file.clone(),
        from,
        head: of.map(|of| wire(&known[of].head)),
        most: file.bytes - from,
        ..v1::ReadLog::default()
    }))
    .await;
    let Answer::Begin(begin) = call.next().await.map_err(NotTaken::Log)? else {
        return Err(NotTaken::Log("it does not begin".to_owned()));
    };
    let (bytes, _) = piece(call, spool, day, &file.log, &file.file).await?;
    let taken = Taken {
        inode: begin.inode,
        through: begin.from + bytes,
        head: head(begin.head.as_ref()),
    };
    let known = memory.files.entry(file.log.clone()).or_default();
    // Another file may have taken its place since it was listed.
    match of.filter(|_| begin.from == from) {
        Some(of) => known[of] = taken,
        None => known.push(taken),
    }
    save(memory)
}

/// What is new of a journal.
async fn journal(
    call: &mut Call,
    memory: &mut Memory,
    spool: &Spool,
    day: &str,
    unit: &str,
) -> Result<(), NotTaken> {
    call.ask(Ask::Read(v1::ReadLog {
        log: JOURNAL.to_owned(),
        file: unit.to_owned(),
        cursor: memory.journals.get(unit).cloned().unwrap_or_default(),
        since_ms: Clock.wall().0.saturating_sub(FIRST),
        ..v1::ReadLog::default()
    }))
    .await;
    let Answer::Begin(_) = call.next().await.map_err(NotTaken::Log)? else {
        return Err(NotTaken::Log("it does not begin".to_owned()));
    };
    let (_, cursor) = piece(call, spool, day, JOURNAL, &format!("{unit}.log")).await?;
    if !cursor.is_empty() {
        memory.journals.insert(unit.to_owned(), cursor);
    }
    save(memory)
}

fn save(memory: &Memory) -> Result<(), NotTaken> {
    memory
        .save()
        .map_err(|error| NotTaken::Spool(error.to_string()))
}

/// Writes a piece into the spool as it comes: how long it is, and a journal's last entry.
async fn piece(
    call: &mut Call,
    spool: &Spool,
    day: &str,
    log: &str,
    name: &str,
) -> Result<(u64, String), NotTaken> {
    let mut waiting = None;
    let ended = loop {
        match call.next().await {
            Ok(Answer::Chunk(chunk)) => {
                let mut to = match waiting.take() {
                    Some(to) => to,
                    None => spool.begin(day, log, name)?,
                };
                if let Err(why) = to.write(&chunk.data).await {
                    to.drop_it();
                    return Err(why.into());
                }
                waiting = Some(to);
            }
            Ok(Answer::Done(done)) => break Ok(done),
            Ok(_) => {}
            Err(why) => break Err(why),
        }
    };
    match (ended, waiting) {
        (Ok(done), None) => Ok((done.bytes, done.cursor)),
        (Ok(done), Some(waiting)) => {
            waiting.finish().await?;
            Ok((done.bytes, done.cursor))
        }
        (Err(why), waiting) => {
            if let Some(waiting) = waiting {
                waiting.drop_it();
            }
            Err(NotTaken::Log(why))
        }
    }
}

fn head(wire: Option<&v1::LogHead>) -> Head {
    let digits = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    wire.map_or_else(
        || Head {
            bytes: 0,
            sha256: String::new(),
        },
        |head| Head {
            bytes: head.bytes,
            sha256: digits(&head.sha256),
        },
    )
}

fn wire(head: &Head) -> v1::LogHead {
    let digits = head.sha256.as_bytes().chunks(2);
    v1::LogHead {
        bytes: head.bytes,
        sha256: digits
            .filter_map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok())
            .collect(),
    }
}
