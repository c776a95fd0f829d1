//! How a server has to be set, without any I/O.

use crate::probe::mariadb::Table;

/// What a start of the server has to be told, each under the name of its option, and in the agent's own file: whoever starts it
/// has a server that refuses writes and follows nobody, does not run events, and whose log is all that it has acknowledged.
pub(super) const STARTS: [(&str, Value); 7] = [
    ("read_only", Value::On),
    ("skip_slave_start", Value::On),
    ("event_scheduler", Value::Off),
    ("log_slave_updates", Value::On),
    ("gtid_strict_mode", Value::On),
    ("sync_binlog", Value::Is("1")),
    ("innodb_flush_log_at_trx_commit", Value::Is("1")),
];

/// What is asked of a server that runs. `wsrep_on` is that of Galera.
pub(super) const NOW: &str = "SELECT VERSION() AS version, @@global.log_bin AS log_bin, \
     @@global.log_slave_updates AS log_slave_updates, @@global.gtid_strict_mode AS gtid_strict_mode, \
     @@global.sync_binlog AS sync_binlog, @@global.innodb_flush_log_at_trx_commit AS innodb_flush_log_at_trx_commit, \
     @@global.event_scheduler AS event_scheduler, @@global.wsrep_on AS wsrep_on";

/// Who may write to a read-only server; not whoever comes from its own machine by the name of that.
pub(super) const PRIVILEGED: &str = "SELECT DISTINCT grantee FROM information_schema.user_privileges \
     WHERE privilege_type IN ('READ_ONLY ADMIN', 'READ ONLY ADMIN') \
     AND RIGHT(grantee, CHAR_LENGTH(@@hostname) + 3) <> CONCAT('@', QUOTE(@@hostname))";

/// The first version whose `read_only` holds for accounts with `SUPER` too (MDEV-29596). It can be told to follow from where its own
/// log ends (`MASTER_DEMOTE_TO_SLAVE`) since the one before.
const LEAST: (u32, u32) = (10, 11);

/// A value of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    On,
    Off,
    Is(&'static str),
}

impl Value {
    /// As the file has it.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::On => "ON",
            Self::Off => "OFF",
            Self::Is(text) => text,
        }
    }

    /// Does this text mean it?
    pub(super) fn is(self, text: &str) -> bool {
        let text = text.trim_matches(['"', '\'']);
        let any = |words: &[&str]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
        match self {
            Self::On => any(&["1", "on", "true", "yes"]),
            Self::Off => any(&["0", "off", "false", "no", "disabled"]),
            Self::Is(value) => text == value,
        }
    }
}

/// Why a server should not be run under a lease as it is set.
///
/// # Errors
/// With what is missing of the answer.
pub(super) fn objection(settings: &Table) -> Result<Option<String>, String> {
    let row = settings.first();
    let get = |name: &str| {
        let mut columns = row.into_iter().flatten();
        let found = columns.find(|(column, _)| column == name);
        found
            .map(|(_, value)| value.as_str())
            .ok_or_else(|| format!("no {name}"))
    };
    let version = get("version")?;
    if !version.contains("MariaDB") || numbers(version) < Some(LEAST) {
        return Ok(Some(format!(
            "it is {version}, and MariaDB {}.{} is needed",
            LEAST.0, LEAST.1
        )));
    }
    if Value::On.is(get("wsrep_on")?) {
        return Ok(Some(
            "it belongs to a Galera cluster, which decides itself who writes: no lease is needed"
                .to_owned(),
        ));
    }
    if !Value::On.is(get("log_bin")?) {
        return Ok(Some(
            "it keeps no binary log: write `log_bin` into its configuration, and start it again"
                .to_owned(),
        ));
    }
    for (name, value) in STARTS {
        // Those say nothing of the next start, and change with a role or a person.
        if matches!(name, "read_only" | "skip_slave_start") {
            continue;
        }
        let now = get(name)?;
        if !value.is(now) {
            let wanted = value.text();
            return Ok(Some(format!(
                "{name} is {now} and has to be {wanted}: set it, or start the server again"
            )));
        }
    }
    Ok(None)
}

/// Whoever can write from another machine to a server that is read-only.
pub(super) fn strangers(grantees: &Table) -> Option<String> {
    const HERE: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
    let all = grantees.iter().filter_map(|row| row.first());
    let strangers: Vec<&str> = all
        .map(|(_, grantee)| grantee.as_str())
        .filter(|grantee| {
            let host = grantee
                .rsplit_once('@')
                .map(|(_, host)| host.trim_matches('\''));
            !host.is_some_and(|host| HERE.contains(&host))
        })
        .collect();
    (!strangers.is_empty()).then(|| {
        let who = strangers.join(", ");
        format!(
            "{who} may write although it is read-only, from elsewhere than this machine: REVOKE READ_ONLY ADMIN ON *.* FROM {who}"
        )
    })
}

fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split(['.', '-']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(changed: (&str, &str)) -> Table {
        let good = [
            ("version", "10.11.19-MariaDB-0+deb12u1-log"),
            ("log_bin", "1"),
            ("log_slave_updates", "1"),
            ("gtid_strict_mode", "1"),
            ("sync_binlog", "1"),
            ("innodb_flush_log_at_trx_commit", "1"),
            ("event_scheduler", "OFF"),
            ("wsrep_on", "0"),
        ];
        let value = |(name, value): (&str, &str)| match name == changed.0 {
            true => (name.to_owned(), changed.1.to_owned()),
            false => (name.to_owned(), value.to_owned()),
        };
        vec![good.into_iter().map(value).collect()]
    }

    #[test]
    fn a_server_is_refused_by_the_setting_that_would_lose_or_hide_something() {
        assert_eq!(objection(&table(("", ""))), Ok(None));
        for (name, value, why) in [
            ("version", "8.0.36", "8.0.36"),
            ("version", "10.5.23-MariaDB", "10.11"),
            ("version", "10.10.7-MariaDB", "10.11"),
            ("log_bin", "0", "log_bin"),
            ("log_slave_updates", "0", "log_slave_updates is 0"),
            ("gtid_strict_mode", "0", "gtid_strict_mode is 0"),
            ("sync_binlog", "0", "sync_binlog is 0"),
            (
                "innodb_flush_log_at_trx_commit",
                "2",
                "is 2 and has to be 1",
            ),
            ("event_scheduler", "ON", "event_scheduler is ON"),
            ("wsrep_on", "1", "Galera"),
        ] {
            let said = objection(&table((name, value)))
                .unwrap()
                .unwrap_or_default();
            assert!(said.contains(why), "{name}={value}: {said}");
        }
        assert!(objection(&vec![]).is_err());
    }

    #[test]
    fn whoever_may_write_to_a_read_only_server_from_elsewhere_is_named() {
        let grantees = |all: &[&str]| -> Table {
            let row = |it: &&str| vec![("grantee".to_owned(), (*it).to_owned())];
            all.iter().map(row).collect()
        };
        let local = ["'root'@'localhost'", "'mysql'@'localhost'", "'root'@'::1'"];
        assert_eq!(strangers(&grantees(&local)), None);
        // A role has no host: whoever has been granted it.
        for who in ["'admin'@'%'", "'x'@'10.0.0.%'", "'keeper'@''", "keeper"] {
            let said = strangers(&grantees(&["'root'@'localhost'", who])).unwrap_or_default();
            assert!(said.contains(who) && !said.contains("'root'"), "{said}");
        }
    }
}
