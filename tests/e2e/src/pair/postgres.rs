//! A pair in a lab, or more: Debian's PostgreSQL on all, behind an address that goes with the role.

use std::collections::BTreeSet;
use std::ops::Deref;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{Pair, SOON, leased};
use crate::rows::Writers;
use crate::{Host, Lab, Machine, eventually};

/// The program of a writer.
pub const WRITER: &str = include_str!("postgres_writer.py");

/// The unit of Debian's package.
pub const UNIT: &str = "postgresql@15-main.service";

/// Whom the server lets in.
const HBA: &str =
    "local all all trust\nhost all all 0.0.0.0/0 trust\nhost replication all 0.0.0.0/0 trust\n";

/// The lease of a role that moves by itself in seconds.
const LEASE: &str = "profile: fast, max_lag: 16MiB";

/// A unit that is the server, as PostgreSQL's own documentation has it, in place of Debian's commands around it.
const PLAIN: &str = "[Service]\nType=notify\nPIDFile=\nUser=postgres\nExecStart=\n\
                     ExecStart=/usr/lib/postgresql/15/bin/postgres -D /var/lib/postgresql/15/main \
                     -c config_file=/etc/postgresql/15/main/postgresql.conf\nExecStop=\nKillMode=mixed\nKillSignal=SIGINT\n";

/// Machines with PostgreSQL.
#[derive(Debug)]
pub struct Site<'lab> {
    pair: Pair<'lab>,
}

impl<'lab> Deref for Site<'lab> {
    type Target = Pair<'lab>;

    fn deref(&self) -> &Self::Target {
        &self.pair
    }
}

impl<'lab> Site<'lab> {
    /// Builds it; its machines are on, and its service is stopped. `server` is what the spec says of the server beside its name.
    ///
    /// # Errors
    /// If anything of that cannot be done.
    pub fn build(lab: &'lab Lab, server: &str) -> Result<Self> {
        Self::under(lab, server, LEASE)
    }

    /// The same under this lease: what the spec says of it beside that it moves by itself.
    ///
    /// # Errors
    /// If anything of that cannot be done.
    pub fn under(lab: &'lab Lab, server: &str, lease: &str) -> Result<Self> {
        Self::build_of(lab, 2, server, lease, prepare)
    }

    /// The same with a unit that is the server and nothing else.
    ///
    /// # Errors
    /// If anything of that cannot be done.
    pub fn build_plain(lab: &'lab Lab, server: &str) -> Result<Self> {
        Self::build_plain_with(lab, server, |_| Ok(()))
    }

    /// The same, where each member is given what it needs besides.
    ///
    /// # Errors
    /// If anything of that cannot be done.
    pub fn build_plain_with(
        lab: &'lab Lab,
        server: &str,
        besides: impl Fn(&Host) -> Result<()>,
    ) -> Result<Self> {
        Self::build_of(lab, 2, server, LEASE, |host| {
            prepare(host)?;
            let file = format!("/etc/systemd/system/{UNIT}.d/plain.conf");
            host.put_file(&file, PLAIN.as_bytes(), 0o644)?;
            besides(host)
        })
    }

    /// Of a pair that was built otherwise, of such members.
    #[must_use]
    pub fn of(pair: Pair<'lab>) -> Self {
        Self { pair }
    }

    /// The same with three machines.
    ///
    /// # Errors
    /// If anything of that cannot be done.
    pub fn build_three(lab: &'lab Lab, server: &str) -> Result<Self> {
        Self::build_of(lab, 3, server, LEASE, prepare)
    }

    fn build_of(
        lab: &'lab Lab,
        count: usize,
        server: &str,
        lease: &str,
        prepare: impl Fn(&Host) -> Result<()>,
    ) -> Result<Self> {
        let declared = |address: &str| declared(server, lease, address);
        let pair = Pair::build_of(lab, count, "db", declared, WRITER, prepare)?;
        Ok(Self { pair })
    }

    /// The same with two machines on VM hosts of their own: [`Pair::build_on_hosts`]. `besides` is what the spec says after
    /// the service, for its address.
    ///
    /// # Errors
    /// If anything of that cannot be done.
    pub fn build_on_hosts(
        lab: &'lab Lab,
        server: &str,
        besides: impl Fn(&str) -> String,
    ) -> Result<Self> {
        let declared = |address: &str| declared(server, LEASE, address) + &besides(address);
        let pair = Pair::build_on_hosts(lab, "db", declared, WRITER, prepare)?;
        Ok(Self { pair })
    }

    /// Starts the service, and has a client and both machines write to it: the client by its address, the machines to their
    /// own server.
    ///
    /// # Errors
    /// If that does not succeed.
    pub fn start(&self) -> Result<Writers> {
        self.begin()?;
        self.write()
    }

    /// Starts the service, with a table for rows.
    ///
    /// # Errors
    /// If that does not succeed.
    pub fn begin(&self) -> Result<()> {
        self.cluster.run(&["startup", "--service", "db", "--yes"])?;
        self.sql("CREATE TABLE rows (text text)").map(drop)
    }

    /// What of it is the same with every service.
    #[must_use]
    pub fn into_pair(self) -> Pair<'lab> {
        self.pair
    }

    /// Asks the primary by the service's address.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn sql(&self, text: &str) -> Result<String> {
        let mut members = self.members.iter();
        let host = members.find(|host| host.is_on()).context("all are off")?;
        host.exec(&[
            "psql",
            "-X",
            "-A",
            "-t",
            "-U",
            "postgres",
            "-h",
            &self.address,
            "-c",
            text,
            "postgres",
        ])
    }

    /// All rows that the primary has.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn rows_there(&self) -> Result<BTreeSet<String>> {
        let rows = self.sql("SELECT text FROM rows")?;
        Ok(rows.lines().map(str::to_owned).collect())
    }

    /// Waits until commits wait for the standby on this machine, by the word of the primary.
    ///
    /// # Errors
    /// If they do not.
    pub fn wait_synchronous(&self, node: &str) -> Result<()> {
        eventually(&format!("commits that wait for {node}"), SOON, || {
            let waited = self.waited(self.other(node).name())?;
            ensure!(waited == node, "they wait for {waited}");
            Ok(())
        })
    }

    /// Whom the commits of this primary wait for, by its own word.
    ///
    /// # Errors
    /// If they are not known to wait for anybody.
    pub fn waited(&self, primary: &str) -> Result<String> {
        let seen = self.cluster.node(primary)?;
        let detail = text(&seen["instances"][0]["role"]["detail"]);
        let (_, node) = detail
            .split_once("commits wait for ")
            .with_context(|| format!("nobody is waited for: {seen}"))?;
        Ok(node.split(',').next().unwrap_or_default().to_owned())
    }

    /// Kills the server of this machine: its first process alone, whose children would write on. Waits until another server takes rows.
    ///
    /// # Errors
    /// If none does.
    pub fn kill_server(&self, node: &str, writers: &Writers) -> Result<()> {
        let last = || anyhow::Ok(writers.rows()?.last().map(|row| row.server.clone()));
        let before = last()?;
        // Its unit may not know it yet.
        let kill = "kill -KILL $(head -n 1 /var/lib/postgresql/15/main/postmaster.pid)";
        self.host(node).exec(&["sh", "-c", kill])?;
        eventually("another server that takes rows", SOON, || {
            let now = last()?;
            ensure!(now != before, "{now:?} takes rows");
            Ok(())
        })
    }
}

/// What the spec says of the service.
fn declared(server: &str, lease: &str, address: &str) -> String {
    format!(
        "    parts:\n      \
         - postgres: {{ cluster: main, user: postgres, {server} }}\n      \
         - address: {{ ip: {address}/24, interface: host0 }}\n    \
         failover: {}\n",
        leased(lease)
    )
}

/// Gives a member its server's settings, as its administrator would.
///
/// # Errors
/// If its files cannot be written.
pub fn prepare(host: &Host) -> Result<()> {
    let settings = format!(
        "listen_addresses = '*'\nssl = off\nwal_log_hints = on\ncluster_name = '{}'\nfsync = off\n\
         wal_keep_size = 256MB\nwal_retrieve_retry_interval = 200ms\nwal_sender_timeout = 5s\n\
         wal_receiver_timeout = 5s\n",
        host.name()
    );
    let etc = "/etc/postgresql/15/main";
    host.put_file(
        &format!("{etc}/conf.d/lab.conf"),
        settings.as_bytes(),
        0o644,
    )?;
    // Nobody but the agent starts it.
    host.put_file(&format!("{etc}/start.conf"), b"manual\n", 0o644)?;
    own_data(host)?;
    // Its place and its owner stay those of the package.
    let hba = host.root().join(format!("{}/pg_hba.conf", &etc[1..]));
    std::fs::write(&hba, HBA).with_context(|| format!("cannot write {}", hba.display()))
}

/// Makes the data directory one of the host's own: hosts share what their root file system began with, and what is shared
/// cannot be renamed.
fn own_data(host: &Host) -> Result<()> {
    let data = host.root().join("var/lib/postgresql/15/main");
    let copy = data.with_extension("own");
    let run = |argv: &[&std::ffi::OsStr]| {
        let mut command = std::process::Command::new(argv[0]);
        crate::run(command.args(&argv[1..])).map(drop)
    };
    run(&["cp".as_ref(), "-a".as_ref(), data.as_ref(), copy.as_ref()])?;
    run(&["rm".as_ref(), "-r".as_ref(), data.as_ref()])?;
    run(&["mv".as_ref(), copy.as_ref(), data.as_ref()])
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
