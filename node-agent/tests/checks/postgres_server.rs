//! A real PostgreSQL: users who log in by each method, a standby, and a way to run statements.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use interlock_model::check::{CheckKind, Login, PostgresCheck, PostgresRole, Verdict};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::bed::{Bed, nobody};
use crate::server::{Server, as_nobody, done, free_port, installed};

/// Who may come in, and how.
const ACCESS: &str = "\
    local all admin trust\n\
    host replication repl 127.0.0.1/32 trust\n\
    host all clear 127.0.0.1/32 password\n\
    host all legacy 127.0.0.1/32 md5\n\
    host all trusted 127.0.0.1/32 trust\n\
    host all outsider 127.0.0.1/32 reject\n\
    host all all 127.0.0.1/32 scram-sha-256\n";

const USERS: &str = "\
    CREATE ROLE app LOGIN PASSWORD 'app-pass';\n\
    CREATE ROLE clear LOGIN PASSWORD 'clear-pass';\n\
    CREATE ROLE trusted LOGIN;\n\
    CREATE ROLE readonly LOGIN PASSWORD 'r';\n\
    ALTER ROLE readonly SET default_transaction_read_only = on;\n\
    CREATE ROLE monitor LOGIN PASSWORD 'm' IN ROLE pg_monitor;\n\
    CREATE ROLE repl LOGIN REPLICATION;\n\
    SET password_encryption = md5;\n\
    CREATE ROLE legacy LOGIN PASSWORD 'legacy-pass';\n\
    CREATE DATABASE app;\n";

/// A running server.
pub(crate) struct Postgres {
    pub(crate) programs: PathBuf,
    pub(crate) server: Server,
    pub(crate) port: u16,
    pub(crate) dir: TempDir,
}

impl Postgres {
    /// With these users; none where it is not installed.
    pub(crate) async fn start(bed: &Bed) -> Option<Self> {
        let programs = programs()?;
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let run = |program: &str| as_nobody(programs.join(program), dir.path());
        done(
            run("initdb")
                .args([
                    "--no-sync",
                    "--username=admin",
                    "--auth=trust",
                    "--no-locale",
                ])
                .args(["--encoding=UTF8", "--pgdata"])
                .arg(&data),
        );
        let postgres = Self::launch(programs.clone(), dir);
        bed.until(postgres.check("admin", nobody(), None), Verdict::Ok, "")
            .await;
        postgres.sql(USERS);
        fs::write(data.join("pg_hba.conf"), ACCESS).unwrap();
        postgres.sql("SELECT pg_reload_conf()");
        let refused = postgres.check("admin", nobody(), None);
        bed.until(refused, Verdict::Unknown, "asks for a password")
            .await;
        Some(postgres)
    }

    pub(crate) fn launch(programs: PathBuf, dir: TempDir) -> Self {
        let port = free_port();
        let mut command = as_nobody(programs.join("postgres"), dir.path());
        command.arg("-D").arg(dir.path().join("data"));
        for setting in [
            format!("port={port}"),
            "listen_addresses=127.0.0.1".to_owned(),
            format!("unix_socket_directories={}", dir.path().display()),
            "fsync=off".to_owned(),
            "wal_receiver_status_interval=1s".to_owned(),
            "wal_retrieve_retry_interval=100ms".to_owned(),
        ] {
            command.args(["-c", &setting]);
        }
        Self {
            programs,
            // It ends at once, and takes its processes along.
            server: Server::start(&mut command).ended_by(Signal::QUIT),
            port,
            dir,
        }
    }

    /// A standby of this server.
    pub(crate) fn standby(&self) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut backup = as_nobody(self.programs.join("pg_basebackup"), dir.path());
        let source = format!(
            "host=127.0.0.1 port={} user=repl application_name=copy",
            self.port
        );
        done(
            backup
                .args(["--checkpoint=fast", "--no-sync", "--write-recovery-conf"])
                .args(["--dbname", &source, "--pgdata"])
                .arg(dir.path().join("data")),
        );
        Self::launch(self.programs.clone(), dir)
    }

    /// Decides so, before all else, who may come in; from the next reload on.
    pub(crate) fn permit(&self, line: &str) {
        let file = self.dir.path().join("data/pg_hba.conf");
        fs::write(file, format!("{line}{ACCESS}")).unwrap();
    }

    /// Runs statements, one after the other, as the administrator on the server's own socket.
    pub(crate) fn sql(&self, statements: &str) {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args([
            "--no-psqlrc",
            "-v",
            "ON_ERROR_STOP=1",
            "-U",
            "admin",
            "-d",
            "postgres",
        ])
        .arg("-h")
        .arg(self.dir.path())
        .args(["-p", &self.port.to_string()]);
        for statement in statements
            .split(";\n")
            .filter(|statement| !statement.is_empty())
        {
            psql.args(["-c", statement]);
        }
        done(&mut psql);
    }

    /// As this user; the login has the password alone.
    pub(crate) fn check(&self, user: &str, login: Login, role: Option<PostgresRole>) -> CheckKind {
        CheckKind::Postgres(self.wanted(user, login, role))
    }

    pub(crate) fn wanted(
        &self,
        user: &str,
        login: Login,
        role: Option<PostgresRole>,
    ) -> PostgresCheck {
        PostgresCheck {
            role,
            ..wanted(
                SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)),
                user,
                login,
            )
        }
    }
}

pub(crate) fn wanted(address: SocketAddr, user: &str, login: Login) -> PostgresCheck {
    PostgresCheck {
        target: address.to_string(),
        database: "postgres".to_owned(),
        login: Login {
            user: Some(user.to_owned()),
            ..login
        },
        role: None,
        standbys: 0,
        max_lag: None,
        tls: None,
    }
}

/// Where the newest version's programs are.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql");
    let newest = versions.into_iter().flatten().filter_map(|version| {
        let programs = version.ok()?.path().join("bin");
        programs.join("initdb").exists().then_some(programs)
    });
    let newest = newest
        .max()
        .unwrap_or_else(|| Path::new("/usr/lib/postgresql/15/bin").into());
    let program = newest.join("initdb").display().to_string();
    installed(&program, "postgresql-15", "checks of a real PostgreSQL").then_some(newest)
}
