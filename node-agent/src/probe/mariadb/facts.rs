//! What a MariaDB server is asked, and what its answers amount to.
//!
//! # Traps
//! * A server whose SQL thread stopped with an error answers, and serves stale rows.
//! * A thread that is `Connecting` is neither running nor stopped: its source is away or refuses it.
//! * The lag is NULL while a thread does not run; NULL is unknown, not zero.
//! * `read_only` does not bind users with `READ_ONLY ADMIN`: this tells how the server is set, not who could write.

use interlock_model::check::{MariadbCheck, ProbeResult};

use super::super::outcome::{bad, ok, unknown};
use super::client::{Client, Table, Trouble};

const SERVER: &str = "SELECT @@global.read_only AS read_only, VERSION() AS version";
const MARIADB_STATUS: &str = "SHOW ALL SLAVES STATUS";
const MYSQL_STATUS: &str = "SHOW REPLICA STATUS";

/// The server's error for a privilege that is missing.
const NO_PRIVILEGE: u32 = 1227;

/// Asks what the check wants to know.
pub(super) async fn look(
    client: &Client<'_>,
    check: &MariadbCheck,
) -> Result<ProbeResult, ProbeResult> {
    let target = &check.target;
    let server = client.ask(SERVER).await.map_err(|trouble| match trouble {
        Trouble::Over(result) => result,
        Trouble::Refused(number, text) => unknown(format!(
            "{target} lets the user in, but does not answer: {text} ({number})"
        )),
    })?;
    let writes = writes(check, &server)?;
    if !check.replicating {
        let user = check.login.user.as_deref().unwrap_or_default();
        return Ok(ok(format!("{target} lets {user} in, {writes}")));
    }
    let version = column(server.first(), "version").unwrap_or_default();
    let statement = if version.contains("MariaDB") {
        MARIADB_STATUS
    } else {
        MYSQL_STATUS
    };
    match client.ask(statement).await {
        Ok(status) => Ok(replication(check, writes, &status)),
        Err(Trouble::Over(result)) => Err(result),
        Err(Trouble::Refused(NO_PRIVILEGE, _)) => Err(unknown(format!(
            "the replication of {target} is hidden from this user: GRANT SLAVE MONITOR ON *.*"
        ))),
        Err(Trouble::Refused(number, text)) => Err(unknown(format!(
            "{target} does not tell its replication: {text} ({number})"
        ))),
    }
}

fn column<'t>(row: Option<&'t Vec<(String, String)>>, name: &str) -> Option<&'t str> {
    let mut columns = row?.iter();
    columns
        .find(|(column, _)| column == name)
        .map(|(_, value)| value.as_str())
}

/// Does the server take writes? In a word, if that is as wanted.
fn writes(check: &MariadbCheck, server: &Table) -> Result<&'static str, ProbeResult> {
    let target = &check.target;
    let read_only = match column(server.first(), "read_only") {
        Some("0" | "OFF") => false,
        // Later versions have more than one way of being read-only.
        Some(value) if !value.is_empty() && value != "NULL" => true,
        Some(_) | None => {
            return Err(unknown(format!(
                "{target} does not say whether it is read-only"
            )));
        }
    };
    match (check.writable, read_only) {
        (Some(true), true) => Err(bad(format!(
            "{target} is read-only, expected to take writes"
        ))),
        (Some(false), false) => Err(bad(format!("{target} takes writes, expected read-only"))),
        (_, true) => Ok("it is read-only"),
        (_, false) => Ok("it takes writes"),
    }
}

fn replication(check: &MariadbCheck, writes: &str, status: &Table) -> ProbeResult {
    let target = &check.target;
    if status.is_empty() {
        return bad(format!("{target} replicates from nowhere"));
    }
    let mut seen = Vec::new();
    let mut doubts = Vec::new();
    for row in status {
        match connection(check, row) {
            Ok(how) => seen.push(how),
            Err((Doubt::Bad, why)) => return bad(format!("{target} {why}")),
            Err((Doubt::Unknown, why)) => doubts.push(why),
        }
    }
    match doubts.first() {
        Some(why) => unknown(format!("{target} {why}")),
        None => ok(format!("{target} {}; {writes}", seen.join(", "))),
    }
}

/// How sure it is that something is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doubt {
    Bad,
    Unknown,
}

/// How one connection to a source is.
fn connection(
    check: &MariadbCheck,
    row: &Vec<(String, String)>,
) -> Result<String, (Doubt, String)> {
    let fact = |slave: &str, replica: &str| {
        column(Some(row), slave).or_else(|| column(Some(row), replica))
    };
    let source = fact("Master_Host", "Source_Host").unwrap_or("?");
    if let Some(wanted) = &check.source
        && wanted != source
    {
        let why = format!("replicates from {source}, expected {wanted}");
        return Err((Doubt::Bad, why));
    }
    let threads = [
        (
            "IO",
            fact("Slave_IO_Running", "Replica_IO_Running"),
            fact("Last_IO_Error", "Last_IO_Error"),
        ),
        (
            "SQL",
            fact("Slave_SQL_Running", "Replica_SQL_Running"),
            fact("Last_SQL_Error", "Last_SQL_Error"),
        ),
    ];
    for (thread, running, error) in threads {
        let error = error.filter(|error| !error.is_empty() && *error != "NULL");
        let because = error.map_or_else(String::new, |error| format!(": {error}"));
        let what = match running {
            Some("Yes") if error.is_none() => continue,
            Some("Yes") => "runs with an error",
            Some("No") => "is stopped",
            Some("Connecting" | "Preparing") => "is connecting",
            Some(_) | None => {
                let why = format!(
                    "says '{}' of its {thread} thread from {source}, which is not known here",
                    running.unwrap_or_default()
                );
                return Err((Doubt::Unknown, why));
            }
        };
        let why = format!("replicates from {source}, but its {thread} thread {what}{because}");
        return Err((Doubt::Bad, why));
    }
    let lag = fact("Seconds_Behind_Master", "Seconds_Behind_Source").map(str::parse::<u64>);
    let behind = format!("replicates from {source}");
    match (lag, check.max_lag) {
        (Some(Ok(seconds)), Some(most)) if seconds > most.as_secs() => Err((
            Doubt::Bad,
            format!("{behind}, {seconds} s behind, allowed are {most:?}"),
        )),
        (Some(Ok(seconds)), _) => Ok(format!("{behind}, {seconds} s behind")),
        (Some(Err(_)) | None, Some(_)) => Err((
            Doubt::Unknown,
            format!("{behind}, but does not say how far it is behind"),
        )),
        (Some(Err(_)) | None, None) => Ok(behind),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use interlock_model::check::{Login, Verdict};

    use super::*;

    fn check() -> MariadbCheck {
        MariadbCheck {
            target: "dbs1:3306".to_owned(),
            login: Login {
                user: Some("monitor".to_owned()),
                password: None,
            },
            database: None,
            writable: None,
            replicating: true,
            source: Some("dbm1".to_owned()),
            max_lag: Some(Duration::from_secs(30)),
            tls: None,
        }
    }

    fn row(source: &str, io: &str, sql: &str, lag: &str) -> Vec<(String, String)> {
        let pairs = [
            ("Master_Host", source),
            ("Slave_IO_Running", io),
            ("Slave_SQL_Running", sql),
            ("Seconds_Behind_Master", lag),
            ("Last_SQL_Error", ""),
        ];
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn every_connection_must_run_from_the_intended_source_without_lag() {
        let good = || row("dbm1", "Yes", "Yes", "0");
        for (rows, verdict) in [
            (vec![good()], Verdict::Ok),
            (vec![], Verdict::Bad),
            (vec![good(), row("dbm1", "Yes", "No", "NULL")], Verdict::Bad),
            (vec![row("dbm2", "Yes", "Yes", "0")], Verdict::Bad),
            (vec![row("dbm1", "Connecting", "Yes", "NULL")], Verdict::Bad),
            (vec![row("dbm1", "Perhaps", "Yes", "0")], Verdict::Unknown),
            (vec![row("dbm1", "Yes", "Yes", "NULL")], Verdict::Unknown),
            (vec![row("dbm1", "Yes", "Yes", "31")], Verdict::Bad),
            (vec![good(), row("dbm1", "Yes", "Yes", "30")], Verdict::Ok),
        ] {
            let result = replication(&check(), "", &rows);
            assert_eq!(result.verdict, verdict, "{rows:?}: {result:?}");
        }
    }

    #[test]
    fn a_server_that_does_not_say_whether_it_is_read_only_is_unknown() {
        let server = |value: &str| vec![vec![("read_only".to_owned(), value.to_owned())]];
        let verdict = |wanted, value| {
            let check = MariadbCheck {
                writable: wanted,
                ..check()
            };
            writes(&check, &server(value))
                .err()
                .map(|result| result.verdict)
        };
        assert_eq!(verdict(Some(true), "0"), None);
        assert_eq!(verdict(Some(true), "1"), Some(Verdict::Bad));
        assert_eq!(verdict(Some(false), "OFF"), Some(Verdict::Bad));
        assert_eq!(verdict(Some(false), "NO_LOCK_NO_ADMIN"), None);
        assert_eq!(verdict(Some(false), "NULL"), Some(Verdict::Unknown));
        assert_eq!(verdict(None, ""), Some(Verdict::Unknown));
    }
}
