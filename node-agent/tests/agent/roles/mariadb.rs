//! A role whose server refuses writes by one variable: it is given back without a stop, and taken up again after a crash with all that
//! was acknowledged.

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;

use rustix::process::{Signal, geteuid};

use super::*;

const SERVER: &str = "/usr/sbin/mariadbd";
const INSTALL: &str = "/usr/bin/mariadb-install-db";
const CLIENT: &str = "/usr/bin/mariadb";

/// A server refuses to run as root.
const NOBODY: u32 = 65_534;

fn part(port: u32) -> v1::Part {
    v1::Part {
        part: Some(v1::part::Part::Mariadb(v1::MariadbServer {
            server: "main".into(),
            port,
            user: "copy".into(),
        })),
    }
}

/// Makes the data of a server that has none.
fn install(home: &Path) {
    let mut install = std::process::Command::new(INSTALL);
    as_nobody(&mut install);
    let made = install
        .args([
            "--no-defaults",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            "--skip-name-resolve",
        ])
        .arg(format!("--tmpdir={}", home.display()))
        .arg(format!("--datadir={}", home.join("data").display()))
        .current_dir(home)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
}

fn as_nobody(command: &mut std::process::Command) {
    if geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
}

/// Says something to a server: with the right to write although it is read-only.
fn say(socket: &Path, statement: &str) -> Option<String> {
    let output = std::process::Command::new(CLIENT)
        .args(["--no-defaults", "--user=root", "--batch"])
        .args(["--skip-column-names", "--execute", statement])
        .arg(format!("--socket={}", socket.display()))
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    output.status.success().then(|| said.trim().to_owned())
}

/// A primary that no agent knows, on another node. Ended when dropped.
struct Other {
    process: std::process::Child,
    port: u16,
}

impl Other {
    /// Where the server is allowed to read.
    fn beside(lab: &Lab) -> Self {
        let home = lab.path("other");
        fs::create_dir(&home).unwrap();
        if geteuid().is_root() {
            chown(&home, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        install(&home);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let mut server = std::process::Command::new(SERVER);
        as_nobody(&mut server);
        let at = |name: &str| home.join(name).display().to_string();
        server.args([
            "--no-defaults".to_owned(),
            format!("--port={port}"),
            "--bind-address=127.0.0.1".to_owned(),
            "--skip-name-resolve".to_owned(),
            "--server-id=2".to_owned(),
            "--log-bin=log".to_owned(),
            format!("--datadir={}", at("data")),
            format!("--tmpdir={}", home.display()),
            format!("--socket={}", at("socket")),
            format!("--pid-file={}", at("pid")),
        ]);
        server.current_dir(&home);
        server.stdout(std::process::Stdio::null());
        server.stderr(fs::File::create(lab.path("other.log")).unwrap());
        let process = server.spawn().unwrap();
        let other = Self { process, port };
        let socket = home.join("socket");
        let begun = std::time::Instant::now();
        while say(&socket, "SELECT 1").is_none() {
            assert!(
                begun.elapsed() < std::time::Duration::from_secs(60),
                "it does not come up"
            );
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        say(
            &socket,
            "CREATE USER copy@'%' IDENTIFIED BY 'copy'; GRANT REPLICATION SLAVE ON *.* TO copy@'%'; \
             CREATE DATABASE app; CREATE TABLE app.t (x int PRIMARY KEY)",
        )
        .unwrap();
        other
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A node with a MariaDB, which is a standby that could be promoted; none where it is not installed.
struct Bed {
    lab: Lab,
}

impl Bed {
    fn on(lab: Lab, endpoint: &str) -> Option<Self> {
        const WHAT: &str = "roles with a real MariaDB";
        let programs = [
            (SERVER, "mariadb-server-core"),
            (INSTALL, "mariadb-server-core"),
            (CLIENT, "mariadb-client-core"),
        ];
        if !programs
            .into_iter()
            .all(|(program, package)| crate::lab::has(WHAT, program, package))
        {
            return None;
        }
        let here = lab.here();
        let home = lab.path("mariadb");
        fs::create_dir(&home).unwrap();
        let mut user = "";
        if geteuid().is_root() {
            fs::set_permissions(&here, fs::Permissions::from_mode(0o711)).unwrap();
            chown(&home, Some(NOBODY), Some(NOBODY)).unwrap();
            user = "user = \"65534:65534\"\n";
        }
        install(&home);
        // The server's own program, until it is told to hang: then it does once.
        let program = lab.path("program");
        let script = format!(
            "#!/bin/sh\nif [ -e {here}/hang ] && /bin/mkdir {here}/hung 2>/dev/null; then echo $$ > {here}/hung/pid; \
             exec /bin/sleep 1000; fi\nexec {SERVER} \"$@\"\n"
        );
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let secrets = lab.path("secrets");
        fs::create_dir_all(&secrets).unwrap();
        fs::write(secrets.join("copy"), "copy").unwrap();
        fs::set_permissions(secrets.join("copy"), fs::Permissions::from_mode(0o600)).unwrap();
        let config = format!(
            "[mysqld]\nskip-networking\nserver-id=1\nlog-bin=log\ndatadir={here}/mariadb/data\ntmpdir={here}/mariadb\n\
             socket={here}/mariadb/socket\npid-file={here}/mariadb/pid\n!include {here}/interlock.cnf\n"
        );
        fs::write(lab.path("my.cnf"), config).unwrap();
        lab.configure(
            endpoint,
            &format!(
                "[allow.services]\ndb = {{ mariadb = [\"main\"] }}\n[mariadb.main]\nconfig = \"{here}/my.cnf\"\n\
                 include = \"{here}/interlock.cnf\"\nsocket = \"{here}/mariadb/socket\"\nprocess = \"mariadb\"\n\
                 program = \"{here}/program\"\nreplication_password = \"copy\"\n[process.mariadb]\n\
                 command = [\"{SERVER}\", \"--defaults-file={here}/my.cnf\"]\n{user}[lease]\nruntime_dir = \"{here}/run\"\n[secrets]\ndir = \"{here}/secrets\"\n"
            ),
        );
        Some(Self { lab })
    }

    /// Says something to it: with the right to write although it is read-only, so only who asks is asked by this.
    fn ask(&self, statement: &str) -> Option<String> {
        say(&self.lab.path("mariadb/socket"), statement)
    }

    fn is_read_only(&self) -> Option<bool> {
        self.ask("SELECT @@global.read_only").map(|it| it == "1")
    }

    fn pid(&self) -> Option<u32> {
        pid_in(&self.lab, "mariadb")
    }

    /// Waits until it takes writes, or refuses them, whoever has started it.
    async fn until_read_only(&self, wanted: bool) {
        let is = async {
            while self.is_read_only() != Some(wanted) {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        };
        patiently(is).await;
    }

    /// How far its log goes.
    fn number(&self) -> u64 {
        let last = self.ask("SELECT @@global.gtid_binlog_pos").unwrap();
        last.rsplit('-').next().unwrap().parse().unwrap()
    }
}

async fn stand_by(session: &mut Session, book: &Book) {
    stand_by_beside(session, book, 3306, Vec::new()).await;
}

/// The same with these other instances, whose servers listen at this port.
async fn stand_by_beside(session: &mut Session, book: &Book, port: u32, peers: Vec<v1::LeasePeer>) {
    let instance = || v1::InstanceCommand {
        service: "db".into(),
        parts: vec![part(port)],
    };
    session
        .assign_all(&[instance()], 3, Vec::new(), |instance| {
            instance.exclusive = true;
            instance.primary_parts = vec![part(port)];
            instance.lease = Some(v1::LeaseAssignment {
                peers: peers.clone(),
                ..v1::LeaseAssignment::default()
            });
        })
        .await;
    session
        .dispatch(id("start", 1), Command::Start(instance()))
        .await;
    let done = session.outcome(&id("start", 1)).await;
    assert_eq!(done.state(), v1::AttemptState::Done, "{done:?}");
    book.standing(session, |it| it.idle && it.unready.is_empty())
        .await;
}

#[tokio::test]
async fn a_role_is_given_back_by_a_server_that_goes_on_and_says_exactly_how_far_it_had_written() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    let Some(bed) = Bed::on(lab, &coordinator.endpoint) else {
        return;
    };
    let _agent = bed.lab.start().await;
    let mut session = coordinator.session(1).await;
    let book = Book::new(ControlLoss::Demote, Profile::Fast);
    stand_by(&mut session, &book).await;
    assert_eq!(bed.is_read_only(), Some(true));
    primary(&mut session, &book, 1).await;
    assert_eq!(bed.is_read_only(), Some(false));
    bed.ask(
        "CREATE DATABASE app; CREATE TABLE app.t (x int PRIMARY KEY); INSERT INTO app.t VALUES (1)",
    )
    .unwrap();
    let (pid, number) = (bed.pid().unwrap(), bed.number());

    book.say(&session, 1, Word::Release(1)).await;
    let release = book.release(&mut session).await;
    assert!((release.epoch, release.began) == (1, true), "{release:?}");
    assert_eq!(release.position, Some(number), "{release:?}");
    assert!(lives(pid), "it was stopped");
    assert_eq!(bed.is_read_only(), Some(true));
    book.say(&session, 1, Word::ReleaseWritten(1)).await;

    // Nobody took it: it is promoted again, with all that it had.
    book.standing(&mut session, |it| it.idle && it.unready.is_empty())
        .await;
    primary(&mut session, &book, 2).await;
    assert_eq!(bed.pid(), Some(pid));
    assert_eq!(bed.is_read_only(), Some(false));
    assert_eq!(bed.ask("SELECT x FROM app.t").as_deref(), Some("1"));
}

#[tokio::test]
async fn a_primary_that_died_is_started_read_only_and_promoted_again_with_all_that_it_had() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    let Some(bed) = Bed::on(lab, &coordinator.endpoint) else {
        return;
    };
    let _agent = bed.lab.start().await;
    let mut session = coordinator.session(1).await;
    let book = Book::new(ControlLoss::Demote, Profile::Fast);
    stand_by(&mut session, &book).await;
    primary(&mut session, &book, 1).await;
    bed.ask(
        "CREATE DATABASE app; CREATE TABLE app.t (x int PRIMARY KEY); INSERT INTO app.t VALUES (1)",
    )
    .unwrap();
    let (pid, number) = (bed.pid().unwrap(), bed.number());
    crate::lab::signal(pid, Signal::KILL);
    let again = async {
        tokio::select! {
            () = bed.until_read_only(false) => {}
            said = book.until(&mut session, |said| release_in(said).is_some()) => {
                panic!("its role was given back: {said:?}")
            }
        }
    };
    again.await;
    let now = bed.pid().unwrap();
    assert!(now != pid && lives(now));
    assert_eq!(bed.number(), number);
    assert_eq!(bed.ask("SELECT x FROM app.t").as_deref(), Some("1"));
}

#[tokio::test]
async fn a_primary_whose_lease_is_over_is_ended_and_is_read_only_afterwards() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    let Some(bed) = Bed::on(lab, &coordinator.endpoint) else {
        return;
    };
    let _agent = bed.lab.start().await;
    let mut session = coordinator.session(1).await;
    let mut book = Book::new(ControlLoss::Demote, Profile::Fast);
    stand_by(&mut session, &book).await;
    primary(&mut session, &book, 1).await;
    let pid = bed.pid().unwrap();
    book.acknowledges = false;
    let release = book.release(&mut session).await;
    assert_eq!(release.epoch, 1);
    assert!(!lives(pid), "by force, whatever it says");
    book.acknowledges = true;
    book.say(&session, 1, Word::ReleaseWritten(1)).await;
    bed.until_read_only(true).await;
    assert_ne!(bed.pid(), Some(pid));
}

#[tokio::test]
async fn a_server_that_somebody_made_take_writes_is_ended() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    let Some(bed) = Bed::on(lab, &coordinator.endpoint) else {
        return;
    };
    let _agent = bed.lab.start().await;
    let mut session = coordinator.session(1).await;
    let book = Book::new(ControlLoss::Demote, Profile::Fast);
    stand_by(&mut session, &book).await;
    let pid = bed.pid().unwrap();
    bed.ask("SET GLOBAL read_only=OFF").unwrap();
    let ended = async {
        tokio::select! {
            () = async {
                while lives(pid) {
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
            } => {}
            _ = book.until(&mut session, |_| false) => {}
        }
    };
    patiently(ended).await;
    patiently(async {
        tokio::select! {
            () = bed.until_read_only(true) => {}
            _ = book.until(&mut session, |_| false) => {}
        }
    })
    .await;
}

#[tokio::test]
async fn a_role_is_given_back_while_a_look_at_the_settings_of_its_server_hangs() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    let Some(bed) = Bed::on(lab, &coordinator.endpoint) else {
        return;
    };
    let _agent = bed.lab.start().await;
    let mut session = coordinator.session(1).await;
    let book = Book::new(ControlLoss::Demote, Profile::Fast);
    stand_by(&mut session, &book).await;
    primary(&mut session, &book, 1).await;
    fs::write(bed.lab.path("hang"), "").unwrap();
    let hung = async {
        loop {
            let pid = fs::read_to_string(bed.lab.path("hung/pid"));
            if let Ok(pid) = pid.unwrap_or_default().trim().parse::<u32>() {
                return pid;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let hung = patiently(async {
        tokio::select! {
            pid = hung => pid,
            _ = book.until(&mut session, |_| false) => unreachable!(),
        }
    })
    .await;
    let pid = bed.pid().unwrap();
    book.say(&session, 1, Word::Release(1)).await;
    let release = book.release(&mut session).await;
    assert!((release.epoch, release.began) == (1, true), "{release:?}");
    assert!(lives(hung), "it was waited for");
    assert!(lives(pid), "it was ended by force");
    assert_eq!(bed.is_read_only(), Some(true));
}

#[tokio::test]
async fn what_somebody_writes_to_a_replica_while_nobody_leads_is_a_divergence() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    let Some(bed) = Bed::on(lab, &coordinator.endpoint) else {
        return;
    };
    let other = Other::beside(&bed.lab);
    let _agent = bed.lab.start().await;
    let mut session = coordinator.session(1).await;
    let book = Book::new(ControlLoss::Demote, Profile::Fast);
    let peer = v1::LeasePeer {
        node: "n2".into(),
        address: "127.0.0.1".into(),
    };
    stand_by_beside(&mut session, &book, other.port.into(), vec![peer]).await;
    let heard = |holder: Option<&str>| {
        Word::Heard(v1::LeaseHeard {
            epoch: 1,
            holder: holder.map(|node| v1::LeaseHolder {
                node: node.into(),
                boot_id: "boot-1".into(),
            }),
            witnessed: 0,
        })
    };
    book.say(&session, 1, heard(Some("n2"))).await;
    let follows = book
        .standing(&mut session, |it| {
            it.follows == Some(1) && it.unready.is_empty()
        })
        .await;
    assert!(follows.position.is_some(), "{follows:?}");
    while bed.ask("SELECT COUNT(*) FROM app.t").is_none() {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    book.say(&session, 1, heard(None)).await;
    bed.ask("INSERT INTO app.t VALUES (9)").unwrap();
    let told = book
        .standing(&mut session, |it| {
            it.follows.is_none() && !it.unready.is_empty()
        })
        .await;
    assert!(told.unready.contains("while it was a replica"), "{told:?}");
    assert_eq!(
        told.position, None,
        "its number says nothing of what it has of others"
    );
}

#[tokio::test]
async fn an_epoch_in_which_it_was_not_promoted_is_told_as_one_whatever_came_before() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    let Some(bed) = Bed::on(lab, &coordinator.endpoint) else {
        return;
    };
    let _agent = bed.lab.start().await;
    let mut session = coordinator.session(1).await;
    let book = Book::new(ControlLoss::Demote, Profile::Fast);
    stand_by(&mut session, &book).await;
    primary(&mut session, &book, 1).await;
    book.say(&session, 1, Word::Release(1)).await;
    assert!(book.release(&mut session).await.began);
    book.say(&session, 1, Word::ReleaseWritten(1)).await;
    book.standing(&mut session, |it| it.idle && it.unready.is_empty())
        .await;
    // It would acknowledge what is not on its disk.
    bed.ask("SET GLOBAL sync_binlog=0").unwrap();
    book.promote(&session, 2).await;
    book.role(&mut session, |role| role.detail.contains("sync_binlog"))
        .await;
    book.say(&session, 1, Word::Release(2)).await;
    let release = book.release(&mut session).await;
    assert_eq!((release.epoch, release.began), (2, false), "{release:?}");
    assert_eq!(bed.is_read_only(), Some(true));
}

#[tokio::test]
async fn how_far_one_had_written_that_somebody_else_turned_is_not_known() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    let Some(bed) = Bed::on(lab, &coordinator.endpoint) else {
        return;
    };
    let _agent = bed.lab.start().await;
    let mut session = coordinator.session(1).await;
    let book = Book::new(ControlLoss::Demote, Profile::Fast);
    stand_by(&mut session, &book).await;
    primary(&mut session, &book, 1).await;
    bed.ask("SET GLOBAL read_only=ON").unwrap();
    book.say(&session, 1, Word::Release(1)).await;
    let release = book.release(&mut session).await;
    assert!((release.epoch, release.began) == (1, true), "{release:?}");
    assert_eq!(release.position, None, "{release:?}");
}
