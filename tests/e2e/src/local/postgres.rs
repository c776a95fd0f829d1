//! A real PostgreSQL as a service of a local cluster.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use rustix::process::geteuid;

use super::{Cluster, Machine};
use crate::run;

/// Debian has each version's programs in a directory of its own.
const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";

/// `nobody`: the server refuses to be root's.
const NOBODY: u32 = 65_534;

/// One that listens on port 5432 of an address, with one database of one user, who logs in with a password
/// (`scram-sha-256`).
#[derive(Debug)]
pub struct Postgres {
    data: PathBuf,
}

impl Postgres {
    /// The program that has to be there, and its package.
    pub const NEEDED: (&'static str, &'static str) =
        ("/usr/lib/postgresql/15/bin/postgres", "postgresql-15");

    /// The machine of this node that runs it, for the service of this name. It is stopped by SIGINT, its fast shutdown:
    /// whoever is still connected is thrown out.
    #[must_use]
    pub fn machine(node: &str, host: u8, service: &str) -> Machine {
        let command = [Self::NEEDED.0, "-D", "DIR/postgres"];
        let machine = Machine::new(node, host).command(service, &command, None);
        let machine = machine
            .with("stop_signal = \"INT\"")
            .with("stop_grace = \"60s\"");
        if geteuid().is_root() {
            machine.with(&format!("user = \"{NOBODY}:{NOBODY}\""))
        } else {
            machine
        }
    }

    /// Its files. It listens on the address with this last number.
    ///
    /// # Errors
    /// They cannot be written, or one of its programs fails.
    pub fn prepare(
        cluster: &Cluster,
        host: u8,
        database: &str,
        user: &str,
        password: &str,
    ) -> Result<Self> {
        let data = cluster.path("postgres");
        fs::create_dir(&data)?;
        fs::set_permissions(&data, fs::Permissions::from_mode(0o700))?;
        if geteuid().is_root() {
            // It has to pass through the cluster's directory, and no more.
            fs::set_permissions(cluster.path(""), fs::Permissions::from_mode(0o711))?;
            chown(&data, Some(NOBODY), Some(NOBODY))?;
        }
        let postgres = Self { data };
        let options = ["--no-sync", "--auth=reject", "--no-locale", "--pgdata"];
        run(postgres.command("initdb").args(options).arg(&postgres.data))?;
        fs::write(
            postgres.data.join("pg_hba.conf"),
            format!("host {database} {user} 127.0.0.0/8 scram-sha-256\n"),
        )?;
        postgres.listen_on(cluster, host)?;
        postgres.alone(&format!(
            "CREATE ROLE {user} LOGIN PASSWORD '{password}'\nCREATE DATABASE {database} OWNER {user}\n"
        ))?;
        Ok(postgres)
    }

    /// It listens on the address with this last number, and nowhere else, from its next start on.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn listen_on(&self, cluster: &Cluster, host: u8) -> Result<()> {
        let file = format!(
            "listen_addresses = '{}'\nunix_socket_directories = ''\nfsync = off\nshared_buffers = 16MB\nmax_connections = 50\n",
            cluster.address(host)
        );
        Ok(fs::write(self.data.join("postgresql.auto.conf"), file)?)
    }

    /// What it has written down of its end: `shut down`, or where it stood otherwise.
    ///
    /// # Errors
    /// Its control file cannot be read.
    pub fn recorded(&self) -> Result<String> {
        let told = run(self.command("pg_controldata").arg(&self.data))?;
        let state = told
            .lines()
            .find_map(|line| line.strip_prefix("Database cluster state:"));
        Ok(state.context("no state")?.trim().to_owned())
    }

    /// Runs statements, one a line, in a server for nobody else.
    fn alone(&self, statements: &str) -> Result<()> {
        let mut server = self
            .command("postgres")
            .args(["--single", "-D"])
            .arg(&self.data)
            .arg("postgres")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut input = server.stdin.take().context("no input")?;
        input.write_all(statements.as_bytes())?;
        drop(input);
        let ended = server.wait_with_output()?;
        let said = String::from_utf8_lossy(&ended.stderr);
        ensure!(
            ended.status.success() && !said.contains("ERROR"),
            "{statements}: {said}"
        );
        Ok(())
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(Path::new(PROGRAMS).join(program));
        command.current_dir(&self.data).env("LC_ALL", "C");
        if geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }
}
