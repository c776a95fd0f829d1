//! The journal of a unit, as `journalctl` prints it (journalctl(1)).
//!
//! It is a child of the agent that ends with the call: killed when it is let go of, and by the pipe that nobody reads if
//! the agent is. Its arguments are fixed words and the unit, which the agent's own file names; no shell is in between.

use std::process::Stdio;

use interlock_proto::v1;
use interlock_proto::v1::log_answer::Answer;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use super::CHUNK;
use super::answer::message;
use super::catalog::Catalog;

/// By what `--show-cursor` begins its line.
const CURSOR: &[u8] = b"-- cursor: ";

/// What it says when there is nothing.
const NOTHING: &[u8] = b"-- No entries --";

/// The longest complaint of it that is passed on, in bytes.
const COMPLAINT: u64 = 500;

/// The longest cursor, in bytes; they have some 120.
const MOST_CURSOR: usize = 1_000;

/// What reads the journal of a unit, with these words more.
fn command(catalog: &Catalog, unit: &str, words: &[&str]) -> Result<Child, String> {
    let Some((program, first)) = catalog.journalctl.split_first() else {
        return Err("no program is named that reads the journal".to_owned());
    };
    Command::new(program)
        .args(first)
        .args(["--no-pager", "--quiet", "--output=short-iso-precise"])
        .arg(format!("--unit={unit}"))
        .args(words)
        .env_clear()
        // What it says is read by programs and people of all languages.
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| {
            format!(
                "cannot start {program}: {error}; name another one as `journalctl` under [node]"
            )
        })
}

/// Sends the rest of a journal.
pub(super) async fn send(
    catalog: &Catalog,
    read: &v1::ReadLog,
    to: &mpsc::Sender<v1::LogAnswer>,
) -> Result<(), String> {
    if !catalog.units.contains_key(&read.file) {
        return Err("this node's file names no such unit".to_owned());
    }
    if !read.cursor.is_empty() {
        match piece(
            catalog,
            read,
            &format!("--after-cursor={}", cursor(read)?),
            to,
        )
        .await
        {
            // The journal was rotated away below it: from the time on then.
            Err(NoPiece::NotBegun(why)) => {
                tracing::debug!(unit = read.file, why, "a cursor is of no use")
            }
            Err(NoPiece::Broken(why)) => return Err(why),
            Ok(()) => return Ok(()),
        }
    }
    let since = format!("--since=@{}", read.since_ms / 1000);
    match piece(catalog, read, &since, to).await {
        Err(NoPiece::NotBegun(why) | NoPiece::Broken(why)) => Err(why),
        Ok(()) => Ok(()),
    }
}

/// A cursor is an argument of a program: it has the characters of one (sd_journal_get_cursor(3)), and no others.
fn cursor(read: &v1::ReadLog) -> Result<&str, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '=' | ';' | '-' | '_');
    if read.cursor.len() <= MOST_CURSOR && read.cursor.chars().all(fits) {
        Ok(&read.cursor)
    } else {
        Err("what is given as a cursor is none".to_owned())
    }
}

/// Why a piece was not sent.
enum NoPiece {
    /// Nothing of it was: something else may be tried.
    NotBegun(String),
    /// A part of it was.
    Broken(String),
}

async fn piece(
    catalog: &Catalog,
    read: &v1::ReadLog,
    from: &str,
    to: &mpsc::Sender<v1::LogAnswer>,
) -> Result<(), NoPiece> {
    let mut child =
        command(catalog, &read.file, &["--show-cursor", from]).map_err(NoPiece::NotBegun)?;
    let mut lines = BufReader::new(
        child
            .stdout
            .take()
            .ok_or_else(|| NoPiece::NotBegun("it has no output".to_owned()))?,
    );
    let mut begun = false;
    let (mut digest, mut bytes, mut last) = (Sha256::new(), 0, String::new());
    let mut chunk = Vec::new();
    loop {
        let mut line = Vec::new();
        // A line without an end is handed on in pieces.
        let limited = (&mut lines)
            .take(CHUNK as u64)
            .read_until(b'\n', &mut line)
            .await;
        let ended = match limited {
            Ok(read) => read == 0,
            Err(error) => return Err(NoPiece::Broken(error.to_string())),
        };
        if let Some(cursor) = line.strip_prefix(CURSOR) {
            last = String::from_utf8_lossy(cursor).trim().to_owned();
            continue;
        }
        if line.starts_with(NOTHING) {
            continue;
        }
        if !chunk.is_empty() && (ended || chunk.len() + line.len() > CHUNK) {
            if !begun {
                begun = true;
                begin(to).await;
            }
            digest.update(&chunk);
            bytes += chunk.len() as u64;
            let data = std::mem::take(&mut chunk);
            let data = v1::LogChunk {
                data,
                of: String::new(),
            };
            if to.send(message(Answer::Chunk(data))).await.is_err() {
                return Ok(());
            }
        }
        if ended {
            break;
        }
        chunk.extend(line);
    }
    if let Err(why) = end_of(child).await {
        return Err(if begun {
            NoPiece::Broken(why)
        } else {
            NoPiece::NotBegun(why)
        });
    }
    if !begun {
        begin(to).await;
    }
    // Nothing new has no cursor: the one before stands.
    let cursor = if last.is_empty() {
        read.cursor.clone()
    } else {
        last
    };
    let done = v1::LogDone {
        bytes,
        sha256: digest.finalize().to_vec(),
        cursor,
        cut: false,
    };
    drop(to.send(message(Answer::Done(done))).await);
    Ok(())
}

async fn begin(to: &mpsc::Sender<v1::LogAnswer>) {
    // Whoever asked has gone: the next message tells.
    drop(
        to.send(message(Answer::Begin(v1::LogBegin::default())))
            .await,
    );
}

/// How it ended: an error if with a complaint, or by somebody's hand.
async fn end_of(mut child: Child) -> Result<(), String> {
    let mut complaint = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        // What cannot be read is no complaint.
        drop(stderr.take(COMPLAINT).read_to_end(&mut complaint).await);
    }
    let status = child.wait().await.map_err(|error| error.to_string())?;
    if status.success() {
        return Ok(());
    }
    let complaint = String::from_utf8_lossy(&complaint)
        .trim()
        .replace('\n', " ");
    // It says nothing where there is no journal at all.
    if complaint.is_empty() && status.code() == Some(1) {
        return Ok(());
    }
    Err(format!("journalctl ended with {status}: {complaint}"))
}

/// Sends the last lines of a journal and what is added, until nobody takes them.
pub(super) async fn follow(
    catalog: &Catalog,
    unit: &str,
    lines: u32,
    to: &mpsc::Sender<v1::LogAnswer>,
) -> Result<(), String> {
    let lines = format!("--lines={lines}");
    let mut child = command(catalog, unit, &["--follow", &lines])?;
    let mut output = child
        .stdout
        .take()
        .ok_or_else(|| "it has no output".to_owned())?;
    loop {
        let mut data = Vec::with_capacity(CHUNK);
        match output.read_buf(&mut data).await {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => return Err(error.to_string()),
        }
        let chunk = v1::LogChunk {
            data,
            of: unit.to_owned(),
        };
        if to.send(message(Answer::Chunk(chunk))).await.is_err() {
            return Ok(());
        }
    }
    end_of(child).await?;
    Err(format!("journalctl ended: nothing more comes of {unit}"))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::time::Duration;

    use super::*;

    /// A node with the unit `web.service`, where a script stands for `journalctl`. It finds its arguments in `$*`.
    fn catalog(dir: &Path, script: &str) -> Catalog {
        let path = dir.join("journalctl");
        fs::write(&path, script).unwrap();
        let web = vec!["web".parse().unwrap()];
        Catalog {
            file: "/etc/interlock/interlock-agent.toml".into(),
            files: Vec::new(),
            units: [("web.service".to_owned(), web)].into(),
            journalctl: vec!["/bin/sh".to_owned(), path.display().to_string()],
        }
    }

    fn read(cursor: &str) -> v1::ReadLog {
        v1::ReadLog {
            log: "journal".to_owned(),
            file: "web.service".to_owned(),
            cursor: cursor.to_owned(),
            since_ms: 7_000,
            ..v1::ReadLog::default()
        }
    }

    /// The text that was sent, and the end.
    async fn sent(catalog: &Catalog, read: &v1::ReadLog) -> Result<(String, v1::LogDone), String> {
        let (to, mut answers) = mpsc::channel(100);
        send(catalog, read, &to).await?;
        let mut text = Vec::new();
        while let Ok(answer) = answers.try_recv() {
            match answer.answer {
                Some(Answer::Chunk(chunk)) => text.extend(chunk.data),
                Some(Answer::Done(done)) => return Ok((String::from_utf8(text).unwrap(), done)),
                _ => {}
            }
        }
        panic!("there is no end of {text:?}")
    }

    #[tokio::test]
    async fn a_journal_goes_on_behind_the_last_entry_that_was_taken() {
        let dir = tempfile::tempdir().unwrap();
        let script = "echo \"$*\"\necho last line\necho '-- cursor: s=1;i=2'\n";
        let catalog = catalog(dir.path(), script);
        let (text, done) = sent(&catalog, &read("")).await.unwrap();
        assert!(
            text.contains("--unit=web.service") && text.contains("--since=@7"),
            "{text}"
        );
        assert!(text.ends_with("last line\n"), "{text}");
        assert_eq!(done.cursor, "s=1;i=2");
        assert_eq!(done.bytes, text.len() as u64);
        assert_eq!(done.sha256, Sha256::digest(&text).to_vec());
        let (text, _) = sent(&catalog, &read("s=1;i=2")).await.unwrap();
        assert!(
            text.contains("--after-cursor=s=1;i=2") && !text.contains("--since"),
            "{text}"
        );
    }

    #[tokio::test]
    async fn where_the_last_entry_is_gone_the_time_counts_and_nothing_new_keeps_it() {
        let dir = tempfile::tempdir().unwrap();
        let script = "case \"$*\" in *cursor=*) echo 'Failed to seek to cursor' >&2; exit 1;; esac\necho new\n";
        let (text, _) = sent(&catalog(dir.path(), script), &read("s=1"))
            .await
            .unwrap();
        assert_eq!(text, "new\n");
        let (text, done) = sent(&catalog(dir.path(), "exit 1"), &read("s=1"))
            .await
            .unwrap();
        assert_eq!((text.as_str(), done.cursor.as_str()), ("", "s=1"));
        let broken = "echo no such thing >&2; exit 2";
        let why = sent(&catalog(dir.path(), broken), &read(""))
            .await
            .unwrap_err();
        assert!(why.contains("no such thing"), "{why}");
    }

    #[tokio::test]
    async fn nothing_but_a_unit_of_this_node_and_a_cursor_becomes_an_argument() {
        let dir = tempfile::tempdir().unwrap();
        let catalog = catalog(dir.path(), "echo started >> $0.ran");
        let other = v1::ReadLog {
            file: "sshd.service".to_owned(),
            ..read("")
        };
        for request in [
            other,
            read("s=1 --file=/etc/shadow"),
            read("s=1\n"),
            read(&"s".repeat(2_000)),
        ] {
            assert!(sent(&catalog, &request).await.is_err(), "{request:?}");
        }
        assert!(!dir.path().join("journalctl.ran").exists());
    }

    #[tokio::test]
    async fn the_child_ends_with_who_follows() {
        let dir = tempfile::tempdir().unwrap();
        let catalog = catalog(dir.path(), "echo $$\nexec sleep 1000\n");
        let (to, mut answers) = mpsc::channel(4);
        let following = follow(&catalog, "web.service", 1, &to);
        let first = async {
            match answers.recv().await.and_then(|answer| answer.answer) {
                Some(Answer::Chunk(chunk)) => String::from_utf8(chunk.data).unwrap(),
                other => panic!("{other:?}"),
            }
        };
        let pid = tokio::select! {
            ended = following => panic!("{ended:?}"),
            pid = first => pid,
        };
        // Until it is waited for it is still there, as what has ended.
        let process = Path::new("/proc").join(pid.trim());
        while fs::read_to_string(process.join("stat")).is_ok_and(|stat| !stat.contains(") Z ")) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
