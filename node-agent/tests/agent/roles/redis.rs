//! A role whose server keeps its data in memory: it is given back without a stop, and never taken up again by a restart.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::symlink;

use rustix::process::{Pid, Signal, kill_process};

use super::*;

/// The server's program under the name that it has in Debian's package of tools.
const PROGRAM: &str = "/usr/bin/redis-check-rdb";

fn part() -> v1::Part {
    v1::Part {
        part: Some(v1::part::Part::Redis(v1::RedisServer {
            server: "main".into(),
            port: 6379,
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
        if !Path::new(PROGRAM).exists() {
            eprintln!(
                "SKIPPED: roles with a real Redis: {PROGRAM} is missing (package redis-tools)"
            );
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

async fn stand_by(session: &mut Session, book: &Book) {
    let instance = || v1::InstanceCommand {
        service: "db".into(),
        parts: vec![part()],
    };
    session
        .assign_all(&[instance()], 3, Vec::new(), |instance| {
            instance.exclusive = true;
            instance.primary_parts = vec![part()];
            instance.lease = Some(v1::LeaseAssignment::default());
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
    let pid = pid_in(&bed.lab, "redis").unwrap();
    kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL).unwrap();

    // The guard has restarts left, and they are not for this.
    let release = book.release(&mut session).await;
    assert!((release.epoch, release.began) == (1, true), "{release:?}");
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
