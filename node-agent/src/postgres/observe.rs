//! A look at the server of this machine.
//!
//! # Traps
//! * A server that is stopped (SIGSTOP) or hangs still has its connections accepted by the kernel: no answer in time is no
//!   answer.
//! * Right after a promotion the control file and what shows it have the old timeline; the name of the file that is written has
//!   the new one.
//! * A receiver begins at the beginning of a file of the log, so that what it has received may be less than what was replayed.
//! * `pg_stat_replication` and `pg_stat_wal_receiver` show NULL to who may not see them. Hidden is not zero.

use super::cluster::Site;
use super::deadline::Deadline;
use super::local::Talk;
use super::observed::{Facts, Observed, Primary, Receiver, Role, Source, Standby, Sync};
use super::{Lsn, SystemId, Timeline, Trouble, holders};

const WHO: &str = "\
    SELECT pg_catalog.pg_is_in_recovery(), s.system_identifier FROM pg_catalog.pg_control_system() s";

const PRIMARY: &str = "\
    SELECT pg_catalog.pg_current_wal_flush_lsn(), \
      pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), \
      pg_catalog.current_setting('transaction_read_only'), \
      pg_catalog.current_setting('synchronous_standby_names'), \
      pg_catalog.current_setting('synchronous_commit')";

const RECEIVERS: &str = "\
    SELECT application_name, client_addr, state, sync_state, flush_lsn, replay_lsn \
    FROM pg_catalog.pg_stat_replication WHERE state IS DISTINCT FROM 'backup' ORDER BY 1, pid";

const STANDBY: &str = "\
    SELECT pg_catalog.pg_last_wal_receive_lsn(), pg_catalog.pg_last_wal_replay_lsn(), \
      pg_catalog.pg_is_wal_replay_paused(), \
      GREATEST(c.timeline_id, m.min_recovery_end_timeline, r.received_tli), \
      r.pid, r.status, r.sender_host, r.sender_port, r.latest_end_lsn \
    FROM pg_catalog.pg_control_checkpoint() c, pg_catalog.pg_control_recovery() m \
    LEFT JOIN pg_catalog.pg_stat_wal_receiver r ON true";

/// Looks.
pub(super) async fn observe(site: &Site, deadline: Deadline) -> Result<Observed, Trouble> {
    let why = match Talk::local(&site.config, site.layout.owner, deadline).await {
        Ok(mut talk) => {
            let facts = deadline
                .within(facts(&mut talk, &site.config.login))
                .await?;
            talk.close().await;
            return Ok(Observed::Up(facts));
        }
        Err(Trouble::Closed(why)) => why,
        Err(trouble @ Trouble::Connect(..)) => trouble.to_string(),
        Err(trouble) => return Err(trouble),
    };
    let layout = site.layout.clone();
    let held = site.blocking(deadline, move || {
        holders::holders(&layout.places(), layout.owner)
    });
    let held = held.await?;
    if held.is_empty() {
        return Ok(Observed::Stopped);
    }
    Ok(Observed::Busy {
        processes: held.iter().map(|process| process.pid).collect(),
        why,
    })
}

/// What the server says of itself.
pub(super) async fn facts(talk: &mut Talk, login: &str) -> Result<Facts, Trouble> {
    let [recovery, system] = talk.row(WHO).await?;
    let system = system.and_then(|system| system.parse::<i64>().ok());
    // The server shows an unsigned number as a signed one.
    let system = SystemId(system.ok_or_else(|| talk.odd(WHO))?.cast_unsigned());
    let (role, timeline) = if recovery.as_deref() == Some("t") {
        standby(talk, login).await?
    } else {
        primary(talk, login).await?
    };
    Ok(Facts {
        system,
        timeline,
        role,
    })
}

async fn primary(talk: &mut Talk, login: &str) -> Result<(Role, Timeline), Trouble> {
    let [flushed, file, read_only, synchronous, commit] = talk.row(PRIMARY).await?;
    let odd = || talk.odd(PRIMARY);
    let timeline = file
        .as_deref()
        .and_then(Timeline::of_segment)
        .ok_or_else(odd)?;
    let flushed = lsn(flushed)?.ok_or_else(odd)?;
    let mut standbys = Vec::new();
    for row in talk.rows(RECEIVERS).await? {
        let row: [Option<String>; 6] = row.try_into().map_err(|_| talk.odd(RECEIVERS))?;
        standbys.push(receiver(row, login)?);
    }
    let primary = Primary {
        flushed,
        read_only: read_only.as_deref() != Some("off"),
        synchronous: synchronous.unwrap_or_default(),
        commit: commit.unwrap_or_default(),
        standbys,
    };
    Ok((Role::Primary(primary), timeline))
}

fn receiver(row: [Option<String>; 6], login: &str) -> Result<Receiver, Trouble> {
    let [name, address, state, sync, flushed, replayed] = row;
    let hidden = || Trouble::Hidden("who receives", login.to_owned());
    Ok(Receiver {
        name: name.unwrap_or_default(),
        address: address.and_then(|address| address.parse().ok()),
        streaming: state.ok_or_else(hidden)? == "streaming",
        sync: match sync.as_deref() {
            Some("sync" | "quorum") => Sync::Sync,
            Some("potential") => Sync::Potential,
            _ => Sync::Async,
        },
        flushed: lsn(flushed)?,
        replayed: lsn(replayed)?,
    })
}

async fn standby(talk: &mut Talk, login: &str) -> Result<(Role, Timeline), Trouble> {
    let row: [Option<String>; 9] = talk.row(STANDBY).await?;
    let [
        received,
        replayed,
        paused,
        timeline,
        pid,
        status,
        host,
        port,
        told,
    ] = row;
    let timeline = timeline.and_then(|timeline| timeline.parse().ok());
    let timeline = Timeline(timeline.ok_or_else(|| talk.odd(STANDBY))?);
    let replayed = lsn(replayed)?.ok_or_else(|| talk.odd(STANDBY))?;
    let source = match (pid, status) {
        (None, _) => None,
        (Some(_), None) => {
            return Err(Trouble::Hidden("how it receives", login.to_owned()));
        }
        (Some(_), Some(status)) => Some(Source {
            host,
            port: port.and_then(|port| port.parse().ok()),
            streaming: status == "streaming",
            told: lsn(told)?,
        }),
    };
    let standby = Standby {
        received: lsn(received)?.unwrap_or_default().max(replayed),
        replayed,
        paused: paused.as_deref() == Some("t"),
        source,
    };
    Ok((Role::Standby(standby), timeline))
}

/// A position of an answer; none for NULL.
pub(super) fn lsn(text: Option<String>) -> Result<Option<Lsn>, Trouble> {
    let parsed = text.map(|text| text.parse()).transpose();
    parsed.map_err(|error| Trouble::Position("the server".to_owned(), error))
}
