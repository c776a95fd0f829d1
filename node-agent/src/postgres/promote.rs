//! Making a standby a primary.
//!
//! # Traps
//! * `pg_promote(true)` looks ten times a second whether it is done, and this is in the way of every client. So it is told to begin,
//!   and asked again and again.
//! * A primary that takes no writes is none: its transactions may be read-only by default, its disk may be full, or it may
//!   wait for a synchronous standby. A message in the log, committed as everything else is, shows it
//!   (`pg_logical_emit_message`), and needs no table.
//! * The server removes its signal file. Left like that, whoever starts it after a crash, be it an enabled unit at boot or a
//!   person, has a second primary (safety rule D2). So it is written again at once, and whoever keeps a primary looks again
//!   ([`Cluster::keep_standby`](super::Cluster::keep_standby)); a running server takes no notice. It does when it
//!   starts again **by itself** after one of its processes has crashed (`restart_after_crash`): then it is a standby
//!   of the same process, and has to be promoted once more.
//! * The new timeline has the next number, whoever else has begun one of that number. So it gets a mark ([`History`]), before.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::cluster::Site;
use super::deadline::Deadline;
use super::layout::Layout;
use super::local::Talk;
use super::observed::Role;
use super::{History, Lsn, Timeline, Trouble, files, observe};

/// The pause between two looks at whether it is a primary.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

const RECOVERY: &str = "SELECT pg_catalog.pg_is_in_recovery()";
const PROMOTE: &str = "SELECT pg_catalog.pg_promote(false)";
const READ_ONLY: &str = "SELECT pg_catalog.current_setting('transaction_read_only')";
const WRITE: &str = "SELECT pg_catalog.pg_logical_emit_message(true, 'interlock', 'takes writes')";

/// A server that is a primary, and has taken a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promoted {
    /// The timeline that it writes.
    pub timeline: Timeline,
    /// Where the write is in its log.
    pub wrote_at: Lsn,
}

/// Promotes.
pub(super) async fn promote(site: &Site, deadline: Deadline) -> Result<Promoted, Trouble> {
    let mut talk = Talk::local(&site.config, site.layout.owner, deadline)
        .await
        .map_err(not_running)?;
    let before = deadline
        .within(observe::facts(&mut talk, &site.config.login))
        .await?;
    if let Role::Standby(_) = before.role {
        let (layout, mark) = (site.layout.clone(), mark(site));
        let marked = site.blocking(deadline, move || {
            leave_mark(&layout, before.timeline, &mark)
        });
        marked.await?;
    }
    deadline.within(become_primary(&mut talk)).await?;
    let layout = site.layout.clone();
    let keep = site.blocking(deadline, move || layout.make_standby(&layout.data));
    keep.await?;
    let wrote_at = match deadline.within(write(&mut talk)).await {
        Err(Trouble::Limit(limit)) => {
            let why = format!(
                "a commit is not done within {limit:?}; does it wait for a synchronous standby?"
            );
            return Err(Trouble::NoWrites(why));
        }
        wrote_at => wrote_at?,
    };
    let facts = deadline
        .within(observe::facts(&mut talk, &site.config.login))
        .await?;
    talk.close().await;
    match facts.role {
        Role::Primary(_) => Ok(Promoted {
            timeline: facts.timeline,
            wrote_at,
        }),
        Role::Standby(_) => Err(Trouble::NoWrites("it is a standby again".to_owned())),
    }
}

/// A mark that no other promotion has, on this node or another one.
fn mark(site: &Site) -> String {
    // A clock that was set back says something else than before all the same, to the nanosecond.
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let nanos = since.unwrap_or_default().as_nanos();
    format!("on {}, {nanos}", site.node)
}

/// Leaves it in the history of the timeline that is about to be left: that which it was last seen on, or a later one that it has
/// heard of meanwhile. Where it does not come from these, the mark is of no use and does no harm. Blocks.
fn leave_mark(layout: &Layout, timeline: Timeline, mark: &str) -> Result<(), Trouble> {
    let log = layout.data.join("pg_wal");
    for number in timeline.0.. {
        let file = log.join(Timeline(number).history_file());
        let text = match files::read(&file)? {
            Some(text) => text,
            // The first one has no history, so there is no file, but one that is there is copied like any other.
            None if number == 1 => String::new(),
            None if number == timeline.0 => continue,
            None => return Ok(()),
        };
        files::write(&file, &History::marked(&text, mark), layout.owner)?;
    }
    Ok(())
}

async fn become_primary(talk: &mut Talk) -> Result<(), Trouble> {
    if talk.value(RECOVERY).await? == "f" {
        return Ok(());
    }
    if talk.value(PROMOTE).await? != "t" {
        return Err(talk.odd(PROMOTE));
    }
    while talk.value(RECOVERY).await? != "f" {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok(())
}

async fn write(talk: &mut Talk) -> Result<Lsn, Trouble> {
    if talk.value(READ_ONLY).await? != "off" {
        let why = "transactions are read-only: ALTER SYSTEM RESET default_transaction_read_only";
        return Err(Trouble::NoWrites(why.to_owned()));
    }
    let at = talk.value(WRITE).await?;
    observe::lsn(Some(at))?.ok_or_else(|| talk.odd(WRITE))
}

/// Nobody listens where the server would.
pub(super) fn not_running(trouble: Trouble) -> Trouble {
    match trouble {
        Trouble::Connect(..) => Trouble::NotRunning,
        other => other,
    }
}
