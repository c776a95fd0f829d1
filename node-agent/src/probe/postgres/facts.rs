//! What a PostgreSQL server is asked, and what its answers amount to.
//!
//! # Traps
//! * A diverged old primary that was put into standby mode also says that it is in recovery, and serves stale rows. It
//!   never gets as far as *streaming*; so a standby must be.
//! * `now() - pg_last_xact_replay_timestamp()` grows while the primary is idle. It is a lag only while there is something
//!   left to apply: up to the position that the primary has last told (`latest_end_lsn`).
//! * A standby that has connected to an idle primary does not know where that is until it is told (`wal_sender_timeout`
//!   / 2, half a minute): until then its lag is unknown.
//! * Positions are hidden from users who are not in `pg_monitor`: the columns are NULL. Hidden is unknown, not zero.
//! * A primary whose transactions are read-only by default takes no writes of this user.

use interlock_model::check::{Lag, PostgresCheck, PostgresRole, ProbeResult};

use super::super::outcome::{bad, ok, unknown};
use super::super::tls::Stream;
use super::session::{Rows, Session};

const ROLE: &str =
    "SELECT pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('transaction_read_only')";

/// One row: is there a receiver, its status, bytes and seconds that are left to apply.
const STANDBY: &str = "\
    SELECT r.pid, r.status, \
      pg_catalog.pg_wal_lsn_diff(r.latest_end_lsn, p.lsn), \
      CASE WHEN r.latest_end_lsn <= p.lsn THEN 0 \
        ELSE EXTRACT(EPOCH FROM pg_catalog.clock_timestamp() - pg_catalog.pg_last_xact_replay_timestamp()) END \
    FROM (SELECT pg_catalog.pg_last_wal_replay_lsn() AS lsn) p \
    LEFT JOIN pg_catalog.pg_stat_wal_receiver r ON true";

/// A row per standby: its state, bytes and seconds that it has left to apply. A base backup is none.
const STANDBYS: &str = "\
    SELECT state, \
      pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), replay_lsn), \
      CASE WHEN replay_lsn >= pg_catalog.pg_current_wal_lsn() THEN 0 ELSE EXTRACT(EPOCH FROM replay_lag) END \
    FROM pg_catalog.pg_stat_replication WHERE state IS DISTINCT FROM 'backup'";

/// What helps where positions are hidden.
const HIDDEN: &str = "is hidden from this user: GRANT pg_monitor";

/// Asks what the check wants to know.
pub(super) async fn look(
    session: &mut Session<'_, Box<dyn Stream>>,
    check: &PostgresCheck,
) -> Result<ProbeResult, ProbeResult> {
    let target = &check.target;
    let rows = session.query(ROLE).await?;
    let (recovery, read_only) = match rows.first().map(Vec::as_slice) {
        Some([Some(recovery), Some(read_only)]) => (recovery.as_str(), read_only.as_str()),
        _ => return Err(unknown(format!("{target} does not say its role"))),
    };
    let user = check.login.user.as_deref().unwrap_or_default();
    match (recovery, check.role) {
        ("f" | "t", None) => {
            let role = if recovery == "t" {
                "standby"
            } else {
                "primary"
            };
            Ok(ok(format!("{target} lets {user} in, it is a {role}")))
        }
        ("f", Some(PostgresRole::Standby)) => {
            Ok(bad(format!("{target} is a primary, expected a standby")))
        }
        ("t", Some(PostgresRole::Primary)) => {
            Ok(bad(format!("{target} is a standby, expected a primary")))
        }
        ("f", Some(PostgresRole::Primary)) if read_only != "off" => Ok(bad(format!(
            "{target} is a primary, but transactions of {user} are read-only"
        ))),
        ("f", Some(PostgresRole::Primary)) if check.standbys == 0 => {
            Ok(ok(format!("{target} is a primary")))
        }
        ("f", Some(PostgresRole::Primary)) => {
            let rows = session.query(STANDBYS).await?;
            Ok(primary(check, &rows))
        }
        ("t", Some(PostgresRole::Standby)) => {
            let rows = session.query(STANDBY).await?;
            Ok(standby(check, &rows))
        }
        _ => Err(unknown(format!(
            "{target} says '{recovery}' of its recovery, which is not known here"
        ))),
    }
}

fn standby(check: &PostgresCheck, rows: &Rows) -> ProbeResult {
    let target = &check.target;
    let Some([pid, status, bytes, seconds]) = rows.first().map(Vec::as_slice) else {
        return unknown(format!("{target} does not say how it receives"));
    };
    match (pid, status.as_deref()) {
        (None, _) => {
            return bad(format!(
                "{target} is a standby, but receives nothing: it is not streaming"
            ));
        }
        (Some(_), None) => return unknown(format!("whether {target} is streaming {HIDDEN}")),
        (Some(_), Some("streaming")) => {}
        (Some(_), Some(status)) => {
            return bad(format!(
                "{target} is a standby, but not streaming: {status}"
            ));
        }
    }
    match behind(check.max_lag, bytes.as_deref(), seconds.as_deref()) {
        Behind::Within(how) => ok(format!("{target} is a standby and streaming{how}")),
        Behind::Beyond(how) => bad(format!("{target} is a standby and streaming{how}")),
        Behind::Unknown => unknown(format!(
            "{target} is a standby and streaming, but does not know yet how far it is behind"
        )),
    }
}

fn primary(check: &PostgresCheck, rows: &Rows) -> ProbeResult {
    let target = &check.target;
    let wanted = check.standbys;
    let (mut good, mut hidden, mut untold) = (0, 0, 0);
    let mut late = Vec::new();
    for row in rows {
        let [state, bytes, seconds] = row.as_slice() else {
            return unknown(format!("{target} does not say what it streams"));
        };
        match state.as_deref() {
            None => hidden += 1,
            Some("streaming") => {
                match behind(check.max_lag, bytes.as_deref(), seconds.as_deref()) {
                    Behind::Within(_) => good += 1,
                    Behind::Beyond(how) => late.push(format!("one{how}")),
                    Behind::Unknown => untold += 1,
                }
            }
            Some(state) => late.push(format!("one in state {state}")),
        }
    }
    let late = late.join(", ");
    let but = if late.is_empty() { "" } else { "; " };
    if good >= wanted {
        ok(format!(
            "{target} is a primary and streams to {good} standbys{but}{late}"
        ))
    } else if good + untold + hidden < wanted {
        bad(format!(
            "{target} is a primary and streams to {good} of {wanted} standbys{but}{late}"
        ))
    } else if hidden > 0 {
        unknown(format!("what {target} streams to its standbys {HIDDEN}"))
    } else {
        unknown(format!(
            "{target} is a primary, but does not say how far its standbys are behind"
        ))
    }
}

/// How far something is behind, compared with what is allowed.
#[derive(Debug, PartialEq, Eq)]
enum Behind {
    Within(String),
    Beyond(String),
    Unknown,
}

fn behind(most: Option<Lag>, bytes: Option<&str>, seconds: Option<&str>) -> Behind {
    // Both are fractions in text. What was applied meanwhile can make them negative.
    let number = |text: Option<&str>| {
        text?
            .parse::<f64>()
            .ok()
            .filter(|number| number.is_finite())
    };
    let (within, how) = match most {
        None => return Behind::Within(String::new()),
        Some(Lag::Bytes(most)) => {
            let Some(bytes) = number(bytes) else {
                return Behind::Unknown;
            };
            let bytes = bytes.max(0.0);
            // A double is exact up to 8 PiB.
            let within = bytes <= most as f64;
            let how = format!(", {bytes:.0} bytes behind, allowed are {most}");
            (within, how)
        }
        Some(Lag::Time(most)) => {
            let Some(seconds) = number(seconds) else {
                return Behind::Unknown;
            };
            let seconds = seconds.max(0.0);
            (
                seconds <= most.as_secs_f64(),
                format!(", {seconds:.1} s behind, allowed are {most:?}"),
            )
        }
    };
    if within {
        Behind::Within(how)
    } else {
        Behind::Beyond(how)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use interlock_model::check::{Login, Verdict};

    use super::*;

    fn check(standbys: u32, max_lag: Option<Lag>) -> PostgresCheck {
        PostgresCheck {
            target: "db:5432".to_owned(),
            database: "app".to_owned(),
            login: Login {
                user: Some("app".to_owned()),
                password: None,
            },
            role: None,
            standbys,
            max_lag,
            tls: None,
        }
    }

    fn row(columns: &[&str]) -> Vec<Option<String>> {
        let text = |column: &&str| (*column != "NULL").then(|| (*column).to_owned());
        columns.iter().map(text).collect()
    }

    const TIME: Option<Lag> = Some(Lag::Time(Duration::from_secs(30)));
    const BYTES: Option<Lag> = Some(Lag::Bytes(16 << 20));

    #[test]
    fn a_standby_must_be_streaming_and_what_is_hidden_or_not_told_is_unknown() {
        for (columns, lag, verdict) in [
            (["7", "streaming", "0", "0"], TIME, Verdict::Ok),
            (["7", "streaming", "-8", "-0.1"], BYTES, Verdict::Ok),
            (["7", "streaming", "9000", "31.5"], TIME, Verdict::Bad),
            (["7", "streaming", "9000", "31.5"], BYTES, Verdict::Ok),
            (["7", "streaming", "17000000", "1"], BYTES, Verdict::Bad),
            (["7", "streaming", "9000", "NULL"], TIME, Verdict::Unknown),
            (["7", "streaming", "NULL", "NULL"], BYTES, Verdict::Unknown),
            (["7", "streaming", "NULL", "NULL"], None, Verdict::Ok),
            (["7", "startup", "NULL", "NULL"], None, Verdict::Bad),
            (["7", "NULL", "NULL", "NULL"], None, Verdict::Unknown),
            (["NULL", "NULL", "NULL", "NULL"], None, Verdict::Bad),
        ] {
            let result = standby(&check(0, lag), &vec![row(&columns)]);
            assert_eq!(result.verdict, verdict, "{columns:?}: {result:?}");
        }
    }

    #[test]
    fn a_primary_must_stream_to_as_many_standbys_as_are_wanted() {
        let good = row(&["streaming", "10", "0.1"]);
        let late = row(&["streaming", "10", "90"]);
        let catching_up = row(&["catchup", "10", "0.1"]);
        let hidden = row(&["NULL", "NULL", "NULL"]);
        let untold = row(&["streaming", "NULL", "NULL"]);
        for (rows, wanted, verdict) in [
            (vec![good.clone()], 1, Verdict::Ok),
            (vec![good.clone(), late.clone()], 1, Verdict::Ok),
            (vec![good.clone(), late.clone()], 2, Verdict::Bad),
            (vec![catching_up], 1, Verdict::Bad),
            (vec![], 1, Verdict::Bad),
            (vec![hidden.clone()], 1, Verdict::Unknown),
            (vec![hidden], 2, Verdict::Bad),
            (vec![good, untold], 2, Verdict::Unknown),
        ] {
            let result = primary(&check(wanted, TIME), &rows);
            assert_eq!(result.verdict, verdict, "{rows:?}: {result:?}");
        }
    }
}
