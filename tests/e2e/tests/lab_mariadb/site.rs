//! A pair in a lab: Debian's MariaDB on both, behind an address that goes with the role.

use std::collections::BTreeSet;
use std::ops::Deref;

use anyhow::{Result, ensure};
use interlock_e2e::pair::{Pair, SOON};
use interlock_e2e::rows::Writers;
use interlock_e2e::{Host, Lab, Machine, eventually};

const WRITER: &str = include_str!("writer.py");

/// The unit of Debian's package.
pub(crate) const UNIT: &str = "mariadb.service";

/// Who replicas log in as, and with which password.
const COPY: (&str, &str) = ("replicator", "c0py'that");

/// The lease of a role that moves by itself in seconds.
const LEASE: &str = "{ automatic: true, profile: fast, on_control_loss: demote, vm_pause: accepted, clients: address, \
                     max_lag: 5000tx }";

/// Two machines with MariaDB.
#[derive(Debug)]
pub(crate) struct Site<'lab> {
    pair: Pair<'lab>,
}

impl<'lab> Deref for Site<'lab> {
    type Target = Pair<'lab>;

    fn deref(&self) -> &Self::Target {
        &self.pair
    }
}

impl<'lab> Site<'lab> {
    /// Builds it; its machines are on, and its service is stopped.
    pub(crate) fn build(lab: &'lab Lab) -> Result<Self> {
        let declared = |address: &str| {
            format!(
                "    parts:\n      \
                 - mariadb: {{ server: main }}\n      \
                 - address: {{ ip: {address}/24, interface: host0 }}\n    \
                 failover: {LEASE}\n"
            )
        };
        let pair = Pair::build(lab, "books", declared, WRITER, prepare)?;
        Ok(Self { pair })
    }

    /// Starts the service, fills its first primary as an administrator would, and has a client and both machines write to it: the
    /// client by its address, the machines to their own server.
    pub(crate) fn start(&self) -> Result<Writers> {
        self.cluster
            .run(&["startup", "--service", "books", "--yes"])?;
        let (first, _) = self.primary()?;
        let password = COPY.1.replace('\'', "''");
        let (host, user) = (self.host(&first), COPY.0);
        sql(
            host,
            &format!(
                "CREATE USER {user}@'%' IDENTIFIED BY '{password}'; GRANT REPLICATION SLAVE ON *.* TO {user}@'%'; \
                 CREATE USER app@'%' IDENTIFIED BY 'app'; CREATE DATABASE app; GRANT ALL ON app.* TO app@'%'; \
                 CREATE TABLE app.written (name varchar(64) PRIMARY KEY) ENGINE=InnoDB"
            ),
        )?;
        self.write()
    }

    /// All rows that the server of this machine has.
    pub(crate) fn rows_of(&self, host: &Host) -> Result<BTreeSet<String>> {
        let rows = sql(host, "SELECT name FROM app.written")?;
        Ok(rows.lines().map(str::to_owned).collect())
    }

    /// All rows that the primary has.
    pub(crate) fn rows_there(&self) -> Result<BTreeSet<String>> {
        let (primary, _) = self.primary()?;
        self.rows_of(self.host(&primary))
    }

    /// Waits until the journal of a machine's agent says this in its present boot.
    pub(crate) fn wait_said(&self, host: &Host, words: &str) -> Result<String> {
        eventually(&format!("{} to say `{words}`", host.name()), SOON, || {
            let journal = journal(host)?;
            let line = journal.lines().find(|line| line.contains(words));
            ensure!(line.is_some(), "{journal}");
            Ok(line.unwrap_or_default().to_owned())
        })
    }
}

/// What the agent of a machine has said since it was booted.
pub(crate) fn journal(host: &Host) -> Result<String> {
    host.exec(&[
        "journalctl",
        "-u",
        "interlock-agent",
        "-b",
        "-o",
        "short-precise",
        "--no-pager",
    ])
}

/// Says something to the server of a machine as its administrator.
pub(crate) fn sql(host: &Host, statements: &str) -> Result<String> {
    host.exec(&[
        "mariadb",
        "--batch",
        "--skip-column-names",
        "--execute",
        statements,
    ])
}

/// Gives a member its server's configuration, as its administrator would.
fn prepare(host: &Host) -> Result<()> {
    let number = if host.name() == "db1" { 1 } else { 2 };
    let settings = format!(
        "[mariadbd]\nbind-address=0.0.0.0\nskip-name-resolve\nserver-id={number}\nlog_bin=binlog\n\
         innodb_buffer_pool_size=32M\ninnodb_log_file_size=16M\n"
    );
    host.put_file(
        "/etc/mysql/mariadb.conf.d/60-pair.cnf",
        settings.as_bytes(),
        0o644,
    )?;
    host.put_file(
        "/etc/interlock/secrets/mariadb-replication",
        COPY.1.as_bytes(),
        0o600,
    )?;
    // Nobody but the agent starts it again.
    let restart = "[Service]\nRestart=no\n";
    host.put_file(
        &format!("/etc/systemd/system/{UNIT}.d/interlock.conf"),
        restart.as_bytes(),
        0o644,
    )
}
