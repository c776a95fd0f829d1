//! Where the server of this machine and the one to follow stand.
//!
//! # Traps
//! * A killed server has written more than its control file knows. The end of its log is where the log stops making sense, and
//!   pg_waldump(1) finds that by reading it from the latest checkpoint on.
//! * A stopped standby replays everything that it has received when it is started again, so the end of what it has is what counts,
//!   applied or not.
//! * What a standby has received may end in the midst of a record, when its source was killed. Nobody will ever have the rest, and
//!   recovery throws it away: it is nothing that another one lacks.
//! * Where the log ends with one of its files, there is no next one. pg_waldump(1) waits five seconds for that file and then says
//!   nothing of what it has read, unless it was told to read no further.
//! * A standby that has such a log, with the beginning of a record at its end, asks whom it follows for the next file, also after a
//!   restart, and follows once that one has written as far: until then it waits, and has lost nothing.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use super::cluster::Site;
use super::control::Control;
use super::deadline::Deadline;
use super::divergence::{Comparison, Standing};
use super::local::Talk;
use super::observed::Role;
use super::tool::argument;
use super::{
    Divergence, Fork, History, Lsn, SystemId, Timeline, Trouble, Upstream, files, holders, observe,
    waldump,
};

/// The pause between two looks at a control file.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

const IDENTIFY: &str = "IDENTIFY_SYSTEM";

/// Is it a standby? Also of a connection for replication.
const RECOVERS: &str = "SHOW in_hot_standby";

/// Compares. This server is looked at first: see [`Divergence::between`].
pub(super) async fn divergence(
    site: &Site,
    upstream: &Upstream,
    deadline: Deadline,
) -> Result<Comparison, Trouble> {
    let (own, applied) = own(site, deadline).await?;
    let (theirs, leads) = theirs(site, upstream, deadline).await?;
    let found = match Divergence::between(&own, &theirs) {
        // Nothing of what the other lacks is applied: is it a whole record?
        Divergence::Diverged(fork) if applied.is_some_and(|applied| applied <= fork.at) => {
            let data = &site.layout.data;
            let bytes = control(site, data, deadline).await?.segment_bytes.max(1);
            let end = end_of_log(site, data, fork.timeline, fork.at, bytes, deadline).await;
            match end {
                Ok(end) if end <= fork.at => Divergence::None,
                Ok(end) => Divergence::Diverged(Fork { end, ..fork }),
                Err(trouble @ Trouble::Limit(_)) => return Err(trouble),
                Err(_) => Divergence::Diverged(fork),
            }
        }
        found => found,
    };
    Ok(Comparison { found, leads })
}

/// The control file of a data directory.
pub(super) async fn control(
    site: &Site,
    data: &Path,
    deadline: Deadline,
) -> Result<Control, Trouble> {
    let said = site
        .tools
        .run("pg_controldata", &["-D", &argument(data)], deadline)
        .await?;
    // It warns of a damaged file in what it prints, or fails.
    Control::parse(&said.done()?).map_err(Trouble::Control)
}

/// Where the upstream stands, and whether it is a primary.
pub(super) async fn theirs(
    site: &Site,
    upstream: &Upstream,
    deadline: Deadline,
) -> Result<(Standing, bool), Trouble> {
    let passfile = site.config.passfile.as_deref();
    let mut talk = Talk::upstream(upstream, None, passfile, site.layout.owner, deadline).await?;
    let standing = deadline.within(identify(&mut talk)).await?;
    talk.close().await;
    Ok(standing)
}

async fn identify(talk: &mut Talk) -> Result<(Standing, bool), Trouble> {
    // Before its position: one that is promoted in between is not taken for a primary with the position of a standby.
    let leads = talk.value(RECOVERS).await? == "off";
    let [system, timeline, end, _database] = talk.row(IDENTIFY).await?;
    let system = system.and_then(|system| system.parse().ok());
    let timeline = timeline.and_then(|timeline| timeline.parse().ok());
    let (system, timeline) = system.zip(timeline).ok_or_else(|| talk.odd(IDENTIFY))?;
    let end = observe::lsn(end)?.ok_or_else(|| talk.odd(IDENTIFY))?;
    let timeline = Timeline(timeline);
    let history = if timeline == Timeline(1) {
        History::alone(timeline)
    } else {
        let sql = format!("TIMELINE_HISTORY {timeline}");
        let [_name, text] = talk.row(&sql).await?;
        let text = text.ok_or_else(|| talk.odd(&sql))?;
        let from = |error| Trouble::History(talk.server().to_owned(), error);
        History::parse(timeline, &text).map_err(from)?
    };
    let standing = Standing {
        system: SystemId(system),
        history,
        end,
    };
    Ok((standing, leads))
}

/// Where this server stands, and how far a standby that runs has applied that.
async fn own(site: &Site, deadline: Deadline) -> Result<(Standing, Option<Lsn>), Trouble> {
    let data = site.layout.data.clone();
    let mut talk = match Talk::local(&site.config, site.layout.owner, deadline).await {
        Ok(talk) => talk,
        Err(Trouble::Connect(..)) => {
            let layout = site.layout.clone();
            let look = move || {
                holders::need_none(&layout.places(), layout.owner)?;
                let place = layout.settle()?;
                layout.need_data(place)
            };
            site.blocking(deadline, look).await?;
            return Ok((stopped(site, &data, deadline).await?, None));
        }
        Err(trouble) => return Err(trouble),
    };
    let facts = observe::facts(&mut talk, &site.config.login);
    let facts = deadline.within(facts).await?;
    talk.close().await;
    let standing = Standing {
        system: facts.system,
        history: history(site, &data, facts.timeline, deadline).await?,
        end: facts.end(),
    };
    let applied = match &facts.role {
        Role::Standby(standby) => Some(standby.replayed),
        Role::Primary(_) => None,
    };
    Ok((standing, applied))
}

/// Where a server stands that is stopped, or was killed: what its control file says, and the log behind that.
pub(super) async fn stopped(
    site: &Site,
    data: &Path,
    deadline: Deadline,
) -> Result<Standing, Trouble> {
    let control = control(site, data, deadline).await?;
    let timeline = control.newest_timeline();
    let from = match control.consistent {
        // The checkpoint is on an older timeline, whose files are others.
        Some((at, newer)) if newer > control.timeline => at,
        _ => control.redo,
    };
    let bytes = control.segment_bytes.max(1);
    Ok(Standing {
        system: control.system,
        history: history(site, data, timeline, deadline).await?,
        end: end_of_log(site, data, timeline, from, bytes, deadline).await?,
    })
}

/// Where a timeline of a data directory comes from.
async fn history(
    site: &Site,
    data: &Path,
    timeline: Timeline,
    deadline: Deadline,
) -> Result<History, Trouble> {
    if timeline == Timeline(1) {
        return Ok(History::alone(timeline));
    }
    let path = data.join("pg_wal").join(timeline.history_file());
    let read = move || {
        let missing = || files::failed("read", &path)(ErrorKind::NotFound.into());
        let text = files::read(&path)?.ok_or_else(missing)?;
        let from = |error| Trouble::History(path.display().to_string(), error);
        History::parse(timeline, &text).map_err(from)
    };
    site.blocking(deadline, read).await
}

/// Returns when the control file of the upstream, a primary, names the timeline that it writes. After a promotion it does so with the
/// next checkpoint, which is minutes away if nobody asks for one.
pub(super) async fn wait_for_control_file(
    site: &Site,
    upstream: &Upstream,
    timeline: Timeline,
    deadline: Deadline,
) -> Result<(), Trouble> {
    const SQL: &str = "SELECT timeline_id FROM pg_catalog.pg_control_checkpoint()";
    let passfile = site.config.passfile.as_deref();
    let database = Some(site.config.database.as_str());
    let talk = Talk::upstream(upstream, database, passfile, site.layout.owner, deadline);
    let mut talk = talk.await?;
    let wanted = timeline.to_string();
    let shown = deadline.within(talk.value(SQL)).await?;
    if shown != wanted {
        match deadline.within(talk.rows("CHECKPOINT")).await {
            Ok(_) => {}
            // It may not ask, and can only wait.
            Err(Trouble::Refused { code, .. }) if code == "42501" => {
                tracing::info!(
                    user = upstream.user,
                    "waiting for a checkpoint of the upstream: GRANT pg_checkpoint to the user, and it is made at once"
                );
            }
            Err(trouble) => return Err(trouble),
        }
    }
    let waiting = async {
        while talk.value(SQL).await? != wanted {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(())
    };
    deadline.within(waiting).await?;
    talk.close().await;
    Ok(())
}

/// How many transactions were committed in what a stopped server has behind a fork; none if its log does not tell, as where that
/// begins in the files of an earlier timeline.
pub(super) async fn commits_behind(site: &Site, fork: Fork, deadline: Deadline) -> Option<u64> {
    let log = argument(&site.layout.data.join("pg_wal"));
    let (number, start) = (fork.timeline.to_string(), fork.at.to_string());
    let arguments = [
        "--stats=record",
        "--rmgr=Transaction",
        "-p",
        &log,
        "-t",
        &number,
        "-s",
        &start,
    ];
    // It ends with an error where the log does, which is always.
    let said = site.tools.run("pg_waldump", &arguments, deadline).await;
    waldump::commits(&said.ok()?.stdout)
}

/// The end of the log of a timeline: where it stops making sense, or where its files end.
async fn end_of_log(
    site: &Site,
    data: &Path,
    timeline: Timeline,
    from: Lsn,
    segment_bytes: u64,
    deadline: Deadline,
) -> Result<Lsn, Trouble> {
    let directory = data.join("pg_wal");
    let (log, number, start) = (argument(&directory), timeline.to_string(), from.to_string());
    let look = move || {
        let has = |at| directory.join(timeline.segment(at, segment_bytes)).exists();
        Ok(end_of_files(from, segment_bytes, has))
    };
    let until = site.blocking(deadline, look).await?.to_string();
    let mut arguments = vec!["--stats", "-p", &log, "-t", &number, "-s", &start];
    // Without the first file it says so itself.
    if until != start {
        arguments.extend(["-e", &until]);
    }
    // It ends with an error where the log does, which is always.
    let said = site.tools.run("pg_waldump", &arguments, deadline).await?;
    if let Some(end) = waldump::end(&said.stdout) {
        return Ok(end);
    }
    if waldump::is_empty(&said.stderr) {
        return Ok(from);
    }
    Err(Trouble::NoEnd(said.why()))
}

/// The beginning of the first file at or behind a position that is not there; the position itself if its own file is not.
fn end_of_files(from: Lsn, segment_bytes: u64, has: impl Fn(Lsn) -> bool) -> Lsn {
    let mut at = from;
    while has(at) {
        at = Lsn((at.0 / segment_bytes + 1) * segment_bytes);
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_end_before_the_first_that_is_missing() {
        let there = |numbers: &'static [u64]| move |at: Lsn| numbers.contains(&(at.0 / 16));
        assert_eq!(end_of_files(Lsn(35), 16, there(&[2])), Lsn(48));
        assert_eq!(end_of_files(Lsn(32), 16, there(&[2, 3, 5])), Lsn(64));
        assert_eq!(end_of_files(Lsn(35), 16, there(&[3])), Lsn(35));
    }
}
