//! MariaDB: logins, `read_only`, replication that runs, is stuck, or comes from somewhere else.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use interlock_model::check::{CheckKind, Login, MariadbCheck, ServerTls, Verdict};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::authority::Authority;
use crate::bed::{Bed, nobody};
use crate::server::{self, Server, as_nobody, done, free_port, installed};

const SERVER: &str = "/usr/sbin/mariadbd";
const CLIENT: &str = "/usr/bin/mariadb";

/// A password with all that option files give a meaning to.
const ODD: &str = "a\"b\\c#d;e f'";

/// A running server.
struct Mariadb {
    server: Server,
    port: u16,
    dir: TempDir,
}

impl Mariadb {
    /// With this number in a replication; none where it is not installed.
    async fn start(bed: &Bed, id: u32) -> Option<Self> {
        Self::start_with(bed, id, &[]).await
    }

    /// The same with these options.
    async fn start_with(bed: &Bed, id: u32, options: &[String]) -> Option<Self> {
        let what = "checks of a real MariaDB";
        if !installed(SERVER, "mariadb-server-core", what)
            || !installed(CLIENT, "mariadb-client-core", what)
        {
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let data = format!("--datadir={}", dir.path().join("data").display());
        let temporary = format!("--tmpdir={}", dir.path().display());
        done(
            as_nobody("/usr/bin/mariadb-install-db", dir.path())
                .args(["--no-defaults", "--auth-root-authentication-method=normal"])
                .args(["--skip-test-db", "--skip-name-resolve", &temporary, &data]),
        );
        let port = free_port();
        let mut command = as_nobody(SERVER, dir.path());
        command
            .args([
                "--no-defaults",
                "--bind-address=127.0.0.1",
                "--skip-name-resolve",
            ])
            .args(["--log-bin=log", "--innodb-flush-log-at-trx-commit=0"])
            .args([&format!("--port={port}"), &format!("--server-id={id}")])
            .args(["--slave-net-timeout=2", &data, &temporary])
            .arg(format!("--socket={}", dir.path().join("socket").display()))
            .arg(format!("--pid-file={}", dir.path().join("pid").display()))
            .args(options);
        let mariadb = Self {
            server: Server::start(&mut command),
            port,
            dir,
        };
        // It refuses whoever comes without a password as soon as it is up.
        let refused = mariadb.check("x", nobody());
        bed.until(CheckKind::Mariadb(refused), Verdict::Bad, "(1045)")
            .await;
        mariadb.sql(&format!(
            "CREATE USER monitor@'%' IDENTIFIED BY 'm'; GRANT SLAVE MONITOR ON *.* TO monitor@'%'; \
             CREATE USER app@'%' IDENTIFIED BY '{}'; CREATE DATABASE app; GRANT SELECT ON app.* TO app@'%'; \
             CREATE USER copy@'%' IDENTIFIED BY 'copy'; GRANT REPLICATION SLAVE ON *.* TO copy@'%'",
            ODD.replace('\\', "\\\\").replace('\'', "''")
        ));
        Some(mariadb)
    }

    /// Runs statements as the administrator, on the server's own socket.
    fn sql(&self, statements: &str) {
        done(
            Command::new(CLIENT)
                .args(["--no-defaults", "--user=root", "--execute", statements])
                .arg(format!(
                    "--socket={}",
                    self.dir.path().join("socket").display()
                )),
        );
    }

    /// Makes it a replica of that server from now on.
    fn follow(&self, source: &Self) {
        self.sql(&format!(
            "SET GLOBAL gtid_slave_pos=''; CHANGE MASTER TO master_host='127.0.0.1', master_port={}, master_user='copy', \
             master_password='copy', master_use_gtid=slave_pos, master_connect_retry=1; START SLAVE",
            source.port
        ));
    }

    /// As this user; the login has the password alone.
    fn check(&self, user: &str, login: Login) -> MariadbCheck {
        check(
            SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)),
            user,
            login,
        )
    }
}

fn check(address: SocketAddr, user: &str, login: Login) -> MariadbCheck {
    MariadbCheck {
        target: address.to_string(),
        login: Login {
            user: Some(user.to_owned()),
            ..login
        },
        database: None,
        writable: None,
        replicating: false,
        source: None,
        max_lag: None,
        tls: None,
    }
}

#[tokio::test]
async fn a_login_is_let_in_or_refused_and_the_password_is_nowhere_to_be_seen() {
    let bed = Bed::new();
    let Some(mariadb) = Mariadb::start(&bed, 1).await else {
        return;
    };
    let app = |password: &str, database: &str| {
        CheckKind::Mariadb(MariadbCheck {
            database: Some(database.to_owned()),
            ..mariadb.check("app", bed.login("", password))
        })
    };
    bed.says(
        app(ODD, "app"),
        Verdict::Ok,
        &["lets app in, it takes writes"],
    )
    .await;
    let wrong = bed.look(app("hunter2", "app")).await;
    assert_eq!(wrong.verdict, Verdict::Bad, "{wrong:?}");
    assert!(
        wrong.evidence.contains("refuses the login of app") && wrong.evidence.contains("(1045)"),
        "{wrong:?}"
    );
    assert!(!wrong.evidence.contains("hunter2"), "{wrong:?}");
    bed.says(
        app(ODD, "mysql"),
        Verdict::Bad,
        &["refuses the login of app", "(1044)"],
    )
    .await;

    // While a stopped server keeps the client waiting, its arguments and its environment can be read by others.
    mariadb.server.freeze();
    let check = app("hunter2", "app");
    let mut waiting = std::pin::pin!(bed.look_within(check, Duration::from_secs(3)));
    let mut seen = 0;
    let result = loop {
        tokio::select! {
            result = &mut waiting => break result,
            () = tokio::time::sleep(Duration::from_millis(20)) => seen += clients_without("hunter2"),
        }
    };
    assert!(seen > 0, "the client was running");
    assert_eq!(result.verdict, Verdict::Unknown, "{result:?}");
    mariadb.server.thaw();
    bed.says(app(ODD, "app"), Verdict::Ok, &[]).await;
}

/// How many clients run that are children of this process, after a look that none shows the secret.
fn clients_without(secret: &str) -> usize {
    let mut clients = 0;
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        let read = |name: &str| std::fs::read(process.path().join(name)).unwrap_or_default();
        let arguments = String::from_utf8_lossy(&read("cmdline")).into_owned();
        if !arguments.starts_with(CLIENT) {
            continue;
        }
        let parent = String::from_utf8_lossy(&read("status"))
            .lines()
            .find_map(|line| line.strip_prefix("PPid:")?.trim().parse().ok());
        if parent != Some(std::process::id()) {
            continue;
        }
        clients += 1;
        let environment = String::from_utf8_lossy(&read("environ")).into_owned();
        assert!(
            !arguments.contains(secret) && !environment.contains(secret),
            "{arguments}"
        );
    }
    clients
}

#[tokio::test]
async fn read_only_is_compared_with_what_is_wanted() {
    let bed = Bed::new();
    let Some(mariadb) = Mariadb::start(&bed, 1).await else {
        return;
    };
    let login = bed.login("", "m");
    let writable = |wanted| {
        CheckKind::Mariadb(MariadbCheck {
            writable: Some(wanted),
            ..mariadb.check("monitor", login.clone())
        })
    };
    bed.says(writable(true), Verdict::Ok, &["it takes writes"])
        .await;
    bed.says(
        writable(false),
        Verdict::Bad,
        &["takes writes, expected read-only"],
    )
    .await;
    mariadb.sql("SET GLOBAL read_only = ON");
    bed.says(
        writable(true),
        Verdict::Bad,
        &["is read-only, expected to take writes"],
    )
    .await;
    bed.says(writable(false), Verdict::Ok, &["it is read-only"])
        .await;
}

#[tokio::test]
async fn replication_must_run_from_the_intended_source_without_error_or_lag() {
    let bed = Bed::new();
    let Some(source) = Mariadb::start(&bed, 1).await else {
        return;
    };
    let replica = Mariadb::start(&bed, 2).await.unwrap();
    let login = bed.login("", "m");
    let wanted = || MariadbCheck {
        replicating: true,
        source: Some("127.0.0.1".to_owned()),
        max_lag: Some(Duration::from_secs(30)),
        ..replica.check("monitor", login.clone())
    };
    let check = || CheckKind::Mariadb(wanted());
    bed.says(check(), Verdict::Bad, &["replicates from nowhere"])
        .await;
    // Both were set up by the same statements; the replica's own are not to be made again.
    source.sql("RESET MASTER");
    replica.sql("RESET MASTER");
    replica.follow(&source);
    bed.until(
        check(),
        Verdict::Ok,
        "replicates from 127.0.0.1, 0 s behind",
    )
    .await;
    let other = MariadbCheck {
        source: Some("dbm1".to_owned()),
        ..wanted()
    };
    let other = CheckKind::Mariadb(other);
    bed.says(
        other,
        Verdict::Bad,
        &["replicates from 127.0.0.1, expected dbm1"],
    )
    .await;
    let hidden = MariadbCheck {
        login: Login {
            user: Some("app".to_owned()),
            ..bed.login("", ODD)
        },
        ..wanted()
    };
    bed.says(
        CheckKind::Mariadb(hidden),
        Verdict::Unknown,
        &["hidden", "GRANT SLAVE MONITOR"],
    )
    .await;

    // A row that is there already: the SQL thread stops, the server goes on answering.
    replica.sql("CREATE TABLE app.t (x int PRIMARY KEY); INSERT INTO app.t VALUES (1)");
    source
        .sql("CREATE TABLE IF NOT EXISTS app.t (x int PRIMARY KEY); INSERT INTO app.t VALUES (1)");
    bed.until(
        check(),
        Verdict::Bad,
        "its SQL thread is stopped: Error 'Duplicate entry '1'",
    )
    .await;
    replica.sql("STOP SLAVE; DELETE FROM app.t; START SLAVE");
    bed.until(check(), Verdict::Ok, "0 s behind").await;
    replica.sql("STOP SLAVE IO_THREAD");
    bed.until(check(), Verdict::Bad, "its IO thread is stopped")
        .await;
    replica.sql("START SLAVE IO_THREAD");
    bed.until(check(), Verdict::Ok, "0 s behind").await;

    // Late on purpose: what happens at the source is applied a minute later.
    replica.sql("STOP SLAVE; CHANGE MASTER TO master_delay=60; START SLAVE");
    bed.until(check(), Verdict::Ok, "0 s behind").await;
    source.sql("INSERT INTO app.t VALUES (2)");
    let strict = CheckKind::Mariadb(MariadbCheck {
        max_lag: Some(Duration::from_millis(500)),
        ..wanted()
    });
    bed.until(strict, Verdict::Bad, "s behind, allowed are 500ms")
        .await;

    source.server.end(Signal::KILL);
    bed.until(check(), Verdict::Bad, "its IO thread is connecting")
        .await;
}

#[tokio::test]
async fn a_server_that_is_not_there_or_does_not_answer_is_told_apart() {
    let bed = Bed::new();
    if !installed(
        CLIENT,
        "mariadb-client-core",
        "checks through the mariadb client",
    ) {
        return;
    }
    let look = |address| CheckKind::Mariadb(check(address, "app", nobody()));
    let (listener, address) = server::silent();
    let silent = bed.look_within(look(address), Duration::from_secs(2)).await;
    assert_eq!(silent.verdict, Verdict::Unknown, "{silent:?}");
    drop(listener);
    bed.says(look(address), Verdict::Bad, &["refuses connections"])
        .await;
    // As a load balancer whose servers are all down.
    let closing = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = closing.local_addr().unwrap();
    let closing = tokio::spawn(async move { while closing.accept().await.is_ok() {} });
    bed.says(
        look(closed),
        Verdict::Bad,
        &["closes them before a greeting"],
    )
    .await;
    closing.abort();
    let endless = server::says_without_end(vec![b'x'; 65_536]).await;
    let result = bed.look_within(look(endless), Duration::from_secs(5)).await;
    assert_eq!(result.verdict, Verdict::Unknown, "{result:?}");
}

#[tokio::test]
async fn a_server_with_tls_has_to_prove_who_it_is() {
    let authority = Authority::new();
    let bed = Bed::trusting(authority.trust());
    let over_tls = |bed: &Bed, mariadb: &Mariadb| {
        CheckKind::Mariadb(MariadbCheck {
            tls: Some(ServerTls { server_name: None }),
            ..mariadb.check("private", bed.login("", "private-pass"))
        })
    };
    let private = "CREATE USER private@'%' IDENTIFIED BY 'private-pass' REQUIRE SSL";
    for (name, verdict, evidence) in [
        ("127.0.0.1", Verdict::Ok, "lets private in"),
        ("other.example", Verdict::Bad, "does not prove"),
    ] {
        let shown = authority.files(&[name]);
        let options = [
            format!("--ssl-cert={}", shown.certificate.display()),
            format!("--ssl-key={}", shown.key.display()),
        ];
        let Some(mariadb) = Mariadb::start_with(&bed, 1, &options).await else {
            return;
        };
        mariadb.sql(private);
        bed.says(over_tls(&bed, &mariadb), verdict, &[evidence])
            .await;
        let other = Authority::new();
        let stranger = Bed::trusting(other.trust());
        let unknown = over_tls(&stranger, &mariadb);
        stranger
            .says(unknown, Verdict::Bad, &["does not prove"])
            .await;
    }
    let Some(plain) = Mariadb::start(&bed, 1).await else {
        return;
    };
    let result = bed.look(over_tls(&bed, &plain)).await;
    assert_ne!(result.verdict, Verdict::Ok, "{result:?}");
}
