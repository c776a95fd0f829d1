//! `logs collect`: all nodes, a few at a time.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use futures_util::{StreamExt as _, stream};
use interlock_proto::v1;
use interlock_proto::v1::log_answer::Answer;
use interlock_proto::v1::log_request::Ask;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::call::Call;
use super::place::Place;
use super::shelf::{Begun, Shelf};
use super::since::since;
use crate::cli::{Connection, LogsCollect, Names, place};
use crate::client::Client;
use crate::commands::status;
use crate::context;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::render::{Out, Table, Tone, clean, counted, now_millis, rfc3339};

/// Nodes that are read at a time: enough to use the line, few enough for a coordinator to hardly notice.
const AT_ONCE: usize = 4;

/// Bytes of a file that are asked for at a time. What is broken off is read again from the last of them.
const MOST: u64 = 8 * 1024 * 1024;

/// The log that journals are listed under.
const JOURNAL: &str = "journal";

/// What came of one node.
#[derive(Debug, Default)]
struct Took {
    /// Files and journals that something came of.
    files: usize,
    bytes: u64,
    /// Those that were looked at.
    seen: usize,
    /// What cannot be read, and why.
    problems: Vec<String>,
    /// Why the node as a whole could not be read to its end.
    failed: Option<String>,
}

impl Took {
    fn is_whole(&self) -> bool {
        self.failed.is_none() && self.problems.is_empty()
    }
}

pub(super) async fn run(connection: &Connection, args: &LogsCollect, out: Out) -> Outcome {
    let (path, format) = place(&args.out, args.format).map_err(Failure::Usage)?;
    let now = now_millis();
    let zone = TimeZone::system();
    let since = since(&args.since, now, &zone)?;
    let mut interrupt = Interrupt::listen()?;
    let client = context::coordinators(connection)?.connect().await?;
    let status = status::get(&client).await?;
    let nodes = chosen(&status, args)?;
    let stamp = |format| {
        jiff::Timestamp::now()
            .to_zoned(zone.clone())
            .strftime(format)
            .to_string()
    };
    let day = stamp("%Y%m%d");
    let path = path.map_or_else(
        || {
            let at = stamp("%Y%m%d-%H%M%S");
            PathBuf::from(format!("{}-logs-{at}.tar.zst", status.cluster))
        },
        Path::to_owned,
    );
    let place = Place::open(&path)?;
    let root = place.root().to_owned();
    let collecting = async {
        let mut took = stream::iter(nodes)
            .map(|node| one(&client, &root, &status.cluster, &day, node, since))
            .buffer_unordered(AT_ONCE);
        let mut all = Vec::new();
        while let Some(ended) = took.next().await {
            let (node, took, shelf) = ended?;
            out.say(&line(&node, &took))?;
            all.push((node, took, shelf));
        }
        Ok::<_, Failure>(all)
    };
    let mut all = tokio::select! {
        all = collecting => all?,
        () = interrupt.pressed() => {
            out.say(&format!("What has come is in {}; the same command with --out {} goes on from there.", root.display(), path.display()))?;
            return Ok(Exit::Detached);
        }
    };
    all.sort_by(|(one, ..), (other, ..)| one.cmp(other));
    let (took, shelves): (Vec<(String, Took)>, Vec<Shelf>) = all
        .into_iter()
        .map(|(node, took, shelf)| ((node, took), shelf))
        .unzip();
    let result = result(&status.cluster, now, since, &took);
    let text = serde_json::to_vec_pretty(&result).map_err(anyhow::Error::new)?;
    let unsummed: BTreeSet<&String> = shelves.iter().flat_map(Shelf::unsummed).collect();
    place.sum(&unsummed, &text)?;
    shelves.into_iter().try_for_each(Shelf::summed)?;
    let at = place.finish()?;
    out.show(
        format,
        || with_path(result, &at),
        |paint| {
            let mut table = Table::new(["node", "new", "bytes", "result"]);
            for (node, took) in &took {
                let (text, tone) = ending(took);
                table.row([
                    (node.clone(), Tone::Plain),
                    (format!("{} of {}", took.files, took.seen), Tone::Plain),
                    (took.bytes.to_string(), Tone::Plain),
                    (text, tone),
                ]);
            }
            format!("{}{}\n", table.render(paint), at.display())
        },
    )?;
    for problem in took
        .iter()
        .flat_map(|(node, took)| took.problems.iter().map(move |problem| (node, problem)))
    {
        out.say(&clean(&format!("{}: {}", problem.0, problem.1)))?;
    }
    if took.iter().all(|(_, took)| took.is_whole()) {
        Ok(Exit::Ok)
    } else {
        Ok(Exit::Incomplete)
    }
}

/// The nodes that are meant: if none is named, all on which an agent runs that could read something.
fn chosen(status: &v1::Status, args: &LogsCollect) -> Result<Vec<String>, Failure> {
    let all = || status.nodes.iter().map(|node| node.node.clone());
    let has_no_agent = |name: &str| {
        let mut nodes = status.nodes.iter();
        nodes.any(|node| node.node == name && node.agentless.is_some())
    };
    if args.nodes.is_empty() {
        return Ok(all().filter(|node| !has_no_agent(node)).collect());
    }
    let named: BTreeSet<String> = Names::all(&args.nodes)
        .map(|node| node.to_string())
        .collect();
    if let Some(mute) = named.iter().find(|node| has_no_agent(node)) {
        return Err(Failure::Refused(format!(
            "no agent runs on {mute}, by the spec: its logs can be read on the machine alone"
        )));
    }
    match named
        .iter()
        .find(|node| !all().any(|known| known == **node))
    {
        Some(unknown) => Err(Failure::Refused(format!(
            "the cluster has no node {unknown}; see interlockctl status"
        ))),
        None => Ok(named.into_iter().collect()),
    }
}

/// One node. A failure is one of this machine; what the node does not give is told in what came.
async fn one(
    client: &Client,
    root: &Path,
    cluster: &str,
    day: &str,
    node: String,
    since: u64,
) -> Result<(String, Took, Shelf), Failure> {
    let mut shelf = Shelf::open(root, cluster, &node, day)?;
    let mut took = Took::default();
    let ended = take(client, &mut shelf, &node, since, &mut took).await;
    shelf.save()?;
    match ended {
        Ok(()) => {}
        Err(Failure::Rpc(failure)) => took.failed = Some(failure.to_string()),
        Err(Failure::Refused(why)) => took.failed = Some(why),
        Err(other) => return Err(other),
    }
    Ok((node, took, shelf))
}

async fn take(
    client: &Client,
    shelf: &mut Shelf,
    node: &str,
    since: u64,
    took: &mut Took,
) -> Result<(), Failure> {
    let list = Ask::List(v1::ListLogs { since_ms: since });
    let mut call = Call::open(client, node, list).await?;
    let listed = call.listed().await?;
    if listed.cut {
        took.problems.push(
            "there are more files than a list has: name fewer, or a later --since".to_owned(),
        );
    }
    for entry in listed.entries {
        let what = format!("{} {}", entry.log, entry.file);
        if !entry.problem.is_empty() {
            took.problems.push(format!("{what}: {}", entry.problem));
            continue;
        }
        took.seen += 1;
        let taken = if entry.log == JOURNAL {
            journal(&mut call, shelf, &entry, since).await
        } else {
            file(&mut call, shelf, &entry).await
        };
        match taken {
            Ok(0) => {}
            Ok(bytes) => {
                took.files += 1;
                took.bytes += bytes;
            }
            Err(Failure::Refused(why)) if !call.is_astray() => {
                took.problems.push(format!("{what}: {why}"));
            }
            Err(other) => return Err(other),
        }
    }
    Ok(())
}

/// What is new of a file: how much.
async fn file(call: &mut Call, shelf: &mut Shelf, entry: &v1::LogFile) -> Result<u64, Failure> {
    let mut new = 0;
    let Some(mut wanted) = shelf.wanted(entry) else {
        return Ok(0);
    };
    loop {
        call.ask(Ask::Read(v1::ReadLog {
            log: entry.log.clone(),
            file: entry.file.clone(),
            from: wanted.from,
            head: wanted.head.clone(),
            most: MOST,
            ..v1::ReadLog::default()
        }))
        .await?;
        let begin = match call.next().await? {
            Answer::Begin(begin) => begin,
            Answer::Refused(why) => return Err(Failure::Refused(why)),
            _ => return Err(call.out_of_order()),
        };
        let begun = match shelf.begin(entry, &wanted, &begin) {
            Ok(begun) => begun,
            Err(refused) => {
                call.drain().await?;
                return Err(refused);
            }
        };
        let of = begun.of();
        let (bytes, _) = piece(call, shelf, begun).await?;
        new += bytes;
        // Not beyond what was listed: a file that grows all the time has no end.
        if bytes < MOST || begin.from + bytes >= entry.bytes {
            return Ok(new);
        }
        wanted = shelf.rest(of);
    }
}

/// What is new of a journal: how much.
async fn journal(
    call: &mut Call,
    shelf: &mut Shelf,
    entry: &v1::LogFile,
    since: u64,
) -> Result<u64, Failure> {
    call.ask(Ask::Read(v1::ReadLog {
        log: entry.log.clone(),
        file: entry.file.clone(),
        cursor: shelf.cursor(&entry.file),
        since_ms: since,
        ..v1::ReadLog::default()
    }))
    .await?;
    match call.next().await? {
        Answer::Begin(_) => {}
        Answer::Refused(why) => return Err(Failure::Refused(why)),
        _ => return Err(call.out_of_order()),
    }
    let begun = match shelf.begin_journal(&entry.file) {
        Ok(begun) => begun,
        Err(refused) => {
            call.drain().await?;
            return Err(refused);
        }
    };
    Ok(piece(call, shelf, begun).await?.0)
}

/// Takes a piece as it comes. One that is broken off is kept as far as it came.
async fn piece(
    call: &mut Call,
    shelf: &mut Shelf,
    mut begun: Begun,
) -> Result<(u64, String), Failure> {
    let ended = loop {
        match call.next().await {
            Ok(Answer::Chunk(chunk)) => begun.write(shelf, &chunk.data)?,
            Ok(Answer::Done(done)) => break Ok(done),
            Ok(Answer::Refused(why)) => break Err(Failure::Refused(why)),
            Ok(_) => break Err(call.out_of_order()),
            Err(failure) => break Err(failure),
        }
    };
    let cursor = ended.as_ref().ok().map(|done| done.cursor.clone());
    let written = shelf.keep(begun, cursor)?;
    let done = ended?;
    if written.bytes > 0
        && !done.sha256.is_empty()
        && super::piece::hex(&done.sha256) != written.sha256
    {
        return Err(Failure::Refused(
            "what came is not what the node has read: collect into another place".to_owned(),
        ));
    }
    Ok((written.bytes, written.sha256))
}

/// One line for people while the others are still read.
fn line(node: &str, took: &Took) -> String {
    let files = counted(took.files, "file");
    clean(&match &took.failed {
        Some(why) => format!("{node}: {why}"),
        None => format!("{node}: {files} with something new, {} bytes", took.bytes),
    })
}

/// How it ended for a node.
fn ending(took: &Took) -> (String, Tone) {
    match &took.failed {
        Some(why) => (clean(why), Tone::Bad),
        None if !took.problems.is_empty() => (
            format!("{} cannot be read", counted(took.problems.len(), "file")),
            Tone::Doubt,
        ),
        None if took.seen == 0 => (
            "nothing to read: its agent's file names no log that was changed".to_owned(),
            Tone::Faint,
        ),
        None => ("all".to_owned(), Tone::Good),
    }
}

fn result(cluster: &str, now: u64, since: u64, took: &[(String, Took)]) -> Value {
    let nodes: serde_json::Map<String, Value> = took
        .iter()
        .map(|(node, took)| {
            let value = json!({
                "files": took.seen,
                "new_files": took.files,
                "new_bytes": took.bytes,
                "problems": took.problems,
                "failed": took.failed,
            });
            (node.clone(), value)
        })
        .collect();
    json!({ "cluster": cluster, "at": rfc3339(now), "since": rfc3339(since), "nodes": nodes })
}

fn with_path(mut result: Value, at: &Path) -> Value {
    result["path"] = json!(at);
    result
}
