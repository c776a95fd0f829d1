//! The logs of a service as they are written.

use std::time::Duration;

use interlock_proto::v1;
use interlock_proto::v1::log_answer::Answer;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::answer::message;
use super::catalog::{Catalog, Files, Source};
use super::journal;
use super::tail::{Added, Tail};

/// How often files are looked at. A person reads along; nothing else waits for it.
const LOOK: Duration = Duration::from_millis(250);

/// Of how many lines a follow may begin.
const MOST_LINES: u32 = 1_000;

/// Sends lines of all logs of a service until nobody takes them. Returns with why nothing more comes.
pub(super) async fn run(
    catalog: &Catalog,
    wanted: &v1::FollowLog,
    to: &mpsc::Sender<v1::LogAnswer>,
) -> Result<(), String> {
    let sources = catalog.sources(&wanted.service);
    if sources.is_empty() {
        return Err(catalog.nothing(&wanted.service));
    }
    let lines = wanted.lines.min(MOST_LINES);
    let mut files = JoinSet::new();
    let mut journals = Vec::new();
    for source in sources {
        match source {
            Source::Files(source) => drop(files.spawn(follow(source, lines, to.clone()))),
            Source::Journal(unit) => journals.push(unit),
        }
    }
    let journals = journals
        .iter()
        .map(|unit| Box::pin(journal::follow(catalog, unit, lines, to)));
    let journals = async {
        let mut journals: Vec<_> = journals.collect();
        if journals.is_empty() {
            return std::future::pending().await;
        }
        let (ended, _, _) = futures_util::future::select_all(&mut journals).await;
        ended
    };
    let files = async {
        match files.join_next().await {
            Some(ended) => ended.unwrap_or_else(|error| Err(error.to_string())),
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        ended = files => ended,
        ended = journals => ended,
    }
}

/// Sends what is added to files.
async fn follow(files: Files, lines: u32, to: mpsc::Sender<v1::LogAnswer>) -> Result<(), String> {
    let mut tail = Tail::default();
    let mut files = files;
    loop {
        // Back and forth, because a file system may hang: this task can be let go of, the thread not.
        let looked = tokio::task::spawn_blocking(move || {
            let looked = tail.look(&files, lines);
            (tail, files, looked)
        });
        let (tail_again, files_again, looked) = looked.await.map_err(|error| error.to_string())?;
        (tail, files) = (tail_again, files_again);
        // A directory may come and go.
        let added = looked.unwrap_or_default();
        let nothing = added.is_empty();
        for Added { of, data } in added {
            let chunk = Answer::Chunk(v1::LogChunk { data, of });
            if to.send(message(chunk)).await.is_err() {
                return Ok(());
            }
        }
        if nothing {
            tokio::time::sleep(LOOK).await;
        }
    }
}
