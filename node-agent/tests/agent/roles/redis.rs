//! A role whose server keeps its data in memory: it is given back without a stop, and never taken up again by a restart.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::symlink;

use rustix::process::Signal;

use super::*;

/// The server's program under the name that it has in Debian's package of tools.
const PROGRAM: &str = "/usr/bin/redis-check-rdb";

fn part() -> v1::Part {
    v1::Part {
        part: Some(v1::part::Part::Redis(v1::RedisServer {
            server: "main".into(),
            // Nobody listens there: the others are not here.
            port: 1,
            rejoin: "never".into(),
        })),
    }
}

/// A node with a Redis, which is a standby that could be promoted; none where it is not installed.
struct Bed {
    lab: Lab,
    port: u16,
}

impl Bed {
    fn on(lab: Lab, endpoint: &str) -> Option<Self> {
        if !crate::lab::has("roles with a real Redis", PROGRAM, "redis-tools") {
            return None;
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let here = lab.here();
        symlink(PROGRAM, lab.path("redis-server")).unwrap();
        let config =
            format!("port {port}\nbind 127.0.0.1\ndir {here}\ninclude {here}/interlock.conf\n");
        fs::write(lab.path("redis.conf"), config).unwrap();
        lab.configure(
            endpoint,
            &format!(
                "[allow.services]\ndb = {{ redis = [\"main\"] }}\n[redis.main]\nconfig = \"{here}/redis.conf\"\nport = {port}\n\
                 process = \"redis\"\n[process.redis]\ncommand = [\"{here}/redis-server\", \"{here}/redis.conf\"]\n\
                 [lease]\nruntime_dir = \"{here}/run\"\n"
            ),
        );
        Some(Self { lab, port })
    }

    /// A replica of it, which no agent knows.
    fn replica(&self) -> Replica {
        let mut command = std::process::Command::new(self.lab.path("redis-server"));
        // It listens to nobody but has to listen somewhere.
        command.args(["--port", "0", "--unixsocket"]);
        command.arg(self.lab.path("replica.sock"));
        command.args(["--save", "", "--dir", &self.lab.here()]);
        command.args(["--dbfilename", "replica.rdb", "--replicaof", "127.0.0.1"]);
        command.arg(self.port.to_string());
        command.stdout(std::process::Stdio::null());
        Replica(command.spawn().unwrap())
    }

    /// Ends it as a crash does.
    fn kill(&self) -> u32 {
        let pid = pid_in(&self.lab, "redis").unwrap();
        crate::lab::signal(pid, Signal::KILL);
        pid
    }

    /// Waits until the agent has noted the line of its data.
    async fn until_noted(&self) {
        let noted = async {
            loop {
                let info = self.say("INFO replication");
                let mut lines = info.lines();
                let line = lines.find_map(|line| line.strip_prefix("master_replid:"));
                let note = fs::read_to_string(self.lab.path("state/redis/main"));
                if note.is_ok_and(|note| note.contains(line.unwrap())) {
                    return;
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        patiently(noted).await;
    }

    /// Waits until it runs and has read its data, whoever has started it.
    async fn until_up(&self) {
        let up = async {
            loop {
                let connects = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok();
                if connects && self.say("PING") == "+PONG" {
                    return;
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        patiently(up).await;
    }

    fn say(&self, command: &str) -> String {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        write!(stream, "{command}\r\n").unwrap();
        let mut answer = [0; 4096];
        let read = stream.read(&mut answer).unwrap();
        String::from_utf8_lossy(&answer[..read])
            .trim_end()
            .to_owned()
    }
}

/// Ended when dropped.
struct Replica(std::process::Child);

impl Drop for Replica {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn stand_by(session: &mut Session, book: &Book) {
    let peer = v1::LeasePeer {
        node: "n2".into(),
        address: "127.0.0.1".into(),
    };
    stand_by_beside(session, book, vec![peer]).await;
}

/// The same with these other instances.
async fn stand_by_beside(session: &mut Session, book: &Book, peers: Vec<v1::LeasePeer>) {
    let instance = || v1::InstanceCommand {
        service: "db".into(),
        parts: vec![part()],
    };
    session
        .assign_all(&[instance()], 3, Vec::new(), |instance| {
            instance.exclusive = true;
            instance.primary_parts = vec![part()];
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
async fn a_role_is_given_back_by_a_server_that_refuses_writes_and_goes_on_with_its_data() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    let Some(bed) = Bed::on(lab, &coordinator.endpoint) else {
        return;
    };
    let _agent = bed.lab.start().await;
    let mut session = coordinator.session(1).await;
    let book = Book::new(ControlLoss::Demote, Profile::Fast);
    stand_by(&mut session, &book).await;
    assert!(bed.say("SET a 1").starts_with("-READONLY"));
    primary(&mut session, &book, 1).await;
    assert_eq!(bed.say("SET a 1"), "+OK");
    let pid = pid_in(&bed.lab, "redis").unwrap();

    book.say(&session, 1, Word::Release(1)).await;
    let release = book.release(&mut session).await;
    assert!((release.epoch, release.began) == (1, true), "{release:?}");
    assert!(lives(pid), "it was stopped");
    assert!(bed.say("SET a 2").starts_with("-READONLY"));
    book.say(&session, 1, Word::ReleaseWritten(1)).await;

    // Nobody took it: it is promoted again, with all that it had.
    book.standing(&mut session, |it| it.idle && it.unready.is_empty())
        .await;
    primary(&mut session, &book, 2).await;
    assert_eq!(pid_in(&bed.lab, "redis"), Some(pid));
    assert_eq!(bed.say("GET a"), "$1\r\n1");
    assert_eq!(bed.say("SET a 2"), "+OK");
}

#[tokio::test]
async fn a_primary_that_died_gives_its_role_back_and_starts_as_a_replica() {
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
    assert_eq!(bed.say("SET a 1"), "+OK");
    // Its writes are counted as soon as somebody follows.
    let _replica = bed.replica();
    book.standing(&mut session, |it| it.position.is_some())
        .await;
    let pid = bed.kill();

    // The guard has restarts left, and they are not for this.
    let release = book.release(&mut session).await;
    assert!((release.epoch, release.began) == (1, true), "{release:?}");
    let standing = book.standing(&mut session, |it| it.idle).await;
    assert_eq!(standing.position, None, "what it had was in its memory");
    book.say(&session, 1, Word::ReleaseWritten(1)).await;
    bed.until_up().await;
    let now = pid_in(&bed.lab, "redis").unwrap();
    assert!(now != pid && lives(now));
    assert!(bed.say("SET a 2").starts_with("-READONLY"));
}

#[tokio::test]
async fn a_primary_whose_lease_is_over_is_ended_and_is_a_replica_afterwards() {
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
    let pid = pid_in(&bed.lab, "redis").unwrap();
    book.acknowledges = false;
    let release = book.release(&mut session).await;
    assert_eq!(release.epoch, 1);
    assert!(!lives(pid), "by force, whatever it says");
    book.acknowledges = true;
    book.say(&session, 1, Word::ReleaseWritten(1)).await;
    bed.until_up().await;
    assert!(bed.say("SET a 2").starts_with("-READONLY"));
}

/// With a save point of its term, as Debian's settings make them: the line of its data is the one that it led, and they are older.
#[tokio::test]
async fn what_was_saved_while_it_led_is_not_what_it_had_when_it_died() {
    let lab = Lab::new();
    let mut coordinator = lab.coordinator().await;
    let Some(bed) = Bed::on(lab, &coordinator.endpoint) else {
        return;
    };
    let agent = bed.lab.start().await;
    let mut session = coordinator.session(1).await;
    let book = Book::new(ControlLoss::Demote, Profile::Fast);
    stand_by(&mut session, &book).await;
    primary(&mut session, &book, 1).await;
    let _replica = bed.replica();
    book.standing(&mut session, |it| it.position.is_some())
        .await;
    assert_eq!(bed.say("SET a 1"), "+OK");
    assert_eq!(bed.say("SAVE"), "+OK");
    assert_eq!(bed.say("SET a 2"), "+OK");
    bed.until_noted().await;
    bed.kill();
    let release = book.release(&mut session).await;
    assert_eq!((release.epoch, release.position), (1, None), "{release:?}");
    book.say(&session, 1, Word::ReleaseWritten(1)).await;
    bed.until_up().await;
    assert_eq!(bed.say("GET a"), "$1\r\n1", "its disk has less");

    refuses(&bed, &mut session, &book, 2).await;
    // Another agent, which has seen nothing of that, knows it as well.
    agent.kill().await;
    let _agent = bed.lab.start().await;
    let mut session = coordinator.session(1).await;
    refuses(&bed, &mut session, &book, 3).await;
}

/// It says why it is not promoted, and nothing of how far its data go; told to be primary, it claims nothing.
async fn refuses(bed: &Bed, session: &mut Session, book: &Book, epoch: u64) {
    let why = "it was started again after it led";
    let standing = book
        .standing(session, |it| it.idle && it.unready.contains(why))
        .await;
    assert_eq!(standing.position, None, "{standing:?}");
    // An agent before this one has logged the same.
    let before = bed.lab.log().len();
    book.promote(session, epoch).await;
    let refused = format!("it is told to be primary and is not ready: {why}");
    let is_refused = |_: &Said| bed.lab.log()[before..].contains(&refused);
    book.until(session, is_refused).await;
    let standing = book.standing(session, |_| true).await;
    assert!(standing.idle && standing.holding.is_none(), "{standing:?}");
}

#[tokio::test]
async fn a_server_that_hangs_while_its_role_is_given_back_does_not_hold_up_its_forced_stop() {
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
    let pid = pid_in(&bed.lab, "redis").unwrap();
    crate::lab::signal(pid, Signal::STOP);
    book.say(&session, 1, Word::Release(1)).await;
    book.acknowledges = false;
    let release = book.release(&mut session).await;
    assert_eq!(release.epoch, 1);
    assert!(!lives(pid), "it is ended by force");
    let log = bed.lab.log();
    assert!(log.contains("while it was to refuse writes"), "{log}");
}

#[tokio::test]
async fn a_primary_that_somebody_else_turned_is_ended_and_does_not_say_how_far_it_had_written() {
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
    let _replica = bed.replica();
    book.standing(&mut session, |it| it.position.is_some())
        .await;
    assert_eq!(bed.say("SET a 1"), "+OK");
    let pid = pid_in(&bed.lab, "redis").unwrap();
    assert_eq!(bed.say("REPLICAOF 127.0.0.1 1"), "+OK");
    let release = book.release(&mut session).await;
    assert!(!lives(pid), "it is taken for what it is");
    assert_eq!((release.epoch, release.position), (1, None), "{release:?}");
}
