//! A system with its database on two machines, from the shipped spec: those two, the machine that coordinates, and one of its
//! application. The rest of the system is in the spec, and has no agent.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use interlock_e2e::cluster::Cluster;
use interlock_e2e::pair::{Pair, SOON, postgres};
use interlock_e2e::rows::{PROGRAM, Writers};
use interlock_e2e::{Lab, Machine, eventually};

/// Time in which a host that was switched on has booted.
const BOOT: Duration = Duration::from_secs(60);

/// What is a system's own.
pub(crate) struct System {
    /// The name of its lab.
    pub(crate) name: &'static str,
    spec: &'static str,
    cluster: &'static str,
    /// The first three octets of its addresses.
    network: &'static str,
    /// The machines of the database, with their last octets.
    databases: [(&'static str, u8); 2],
    /// The same of one of its application.
    application: (&'static str, u8),
    /// Database and user of the application.
    login: (&'static str, &'static str),
    /// The name of its password.
    secret: &'static str,
}

pub(crate) const MSTR: System = System {
    name: "db-mstr",
    spec: include_str!("../../../../deploy/clusters/mstr-pair.yaml"),
    cluster: "mstr-pair",
    network: "10.8.0.",
    databases: [("db1", 12), ("db2", 13)],
    application: ("collab1", 51),
    login: ("mstr_collab", "mstr_collab"),
    secret: "mstr-db",
};

pub(crate) const HCDC: System = System {
    name: "db-hcdc",
    spec: include_str!("../../../../deploy/clusters/hcdc-pair.yaml"),
    cluster: "hcdc-pair",
    network: "10.7.0.",
    databases: [("pg1", 11), ("pg2", 14)],
    application: ("hipchat1", 31),
    login: ("hipchat_postgres", "hipchat"),
    secret: "hipchat-db",
};

/// The last octet of the database's address in both specs.
const ADDRESS: u8 = 10;

/// The system. Its client is the machine of the application.
pub(crate) struct Site<'lab> {
    site: postgres::Site<'lab>,
    login: (&'static str, &'static str),
}

impl<'lab> Deref for Site<'lab> {
    type Target = postgres::Site<'lab>;

    fn deref(&self) -> &Self::Target {
        &self.site
    }
}

impl<'lab> Site<'lab> {
    /// Builds it; its machines are on, and its database is stopped.
    pub(crate) fn build(lab: &'lab Lab, system: &System) -> Result<Self> {
        let host = |(name, number): (&str, u8)| lab.nspawn_at(name, number);
        let management = host(("mgmt1", 5))?;
        let [one, two] = system.databases;
        let (one, two) = (host(one)?, host(two)?);
        let client = host(system.application)?;
        let spec = system
            .spec
            .replace(system.network, &lab.network())
            .replace("interface: eth0", "interface: host0");
        let mut cluster = Cluster::create(lab, system.cluster, &spec)?;
        cluster.install_coordinator(&management)?;
        let all = [&management, &one, &two, &client];
        for host in all {
            cluster.install_agent(host, &[])?;
        }
        cluster.install_secret(&client, system.secret, "a password")?;
        for host in [&one, &two] {
            postgres::prepare(host)?;
        }
        for host in [&one, &two, &client] {
            host.put_file(PROGRAM, postgres::WRITER.as_bytes(), 0o644)?;
        }
        for host in all {
            host.power_on()?;
        }
        for host in all {
            host.wait_booted(BOOT)?;
        }
        let spec = cluster.spec();
        eventually("the coordinator", SOON, || {
            cluster.run(&["spec", "apply", "--yes", &spec])
        })?;
        for host in all {
            eventually(&format!("the agent of {}", host.name()), SOON, || {
                let seen = cluster.node(host.name())?;
                ensure!(seen["liveness"] == "alive", "{seen}");
                Ok(())
            })?;
        }
        let pair = Pair {
            cluster,
            service: "db",
            management,
            client,
            members: vec![Arc::clone(&one), Arc::clone(&two)],
            one,
            two,
            address: format!("{}{ADDRESS}", lab.network()),
            bmcs: None,
        };
        Ok(Self {
            site: postgres::Site::of(pair),
            login: system.login,
        })
    }

    /// Starts the database as its administrator would for the first time, and has the application and both machines write.
    pub(crate) fn start(&self) -> Result<Writers> {
        self.cluster.run(&["startup", "--service", "db", "--yes"])?;
        let (database, user) = self.login;
        for sql in [
            "CREATE ROLE replicator SUPERUSER LOGIN REPLICATION".to_owned(),
            format!("CREATE ROLE {user} LOGIN"),
            format!("CREATE DATABASE {database} OWNER {user}"),
            "CREATE TABLE rows (text text)".to_owned(),
        ] {
            self.sql(&sql)?;
        }
        self.write()
    }

    /// The application's own login works by the one address that it knows, and leads to a primary.
    pub(crate) fn wait_login(&self) -> Result<()> {
        eventually("the login of the application", SOON, || {
            let seen = self.cluster.node(self.client.name())?;
            let checks = seen["checks"].as_array().context("no checks")?;
            let works = checks.iter().find(|check| check["check"] == "db.works");
            ensure!(works.is_some_and(|it| it["verdict"] == "ok"), "{seen}");
            Ok(())
        })
    }

    /// Nothing that was acknowledged is missing, and never were two sides writable.
    pub(crate) fn nothing_is_lost(&self, writers: &Writers) -> Result<()> {
        writers.never_two_at_once()?;
        let lost = writers.lost(&writers.rows()?, &self.rows_there()?);
        ensure!(lost.is_empty(), "{} rows are lost: {lost:?}", lost.len());
        Ok(())
    }
}
