//! Redis: what it says when it is healthy, protected, locked, without its master, and dead.

use std::fs::create_dir;
use std::net::Ipv4Addr;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::Duration;

use interlock_model::check::{CheckKind, Login, RedisCheck, RedisRole, ServerTls, Verdict};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::authority::Authority;
use crate::bed::{Bed, nobody};
use crate::server::{self, Server, free_port, installed, own_address};

/// The server's program under the name that it has in Debian's package of tools: it is one program, which looks at its
/// name. Installing the package of the server would start one.
const PROGRAM: &str = "/usr/bin/redis-check-rdb";

/// A running server.
struct Redis {
    server: Server,
    port: u16,
    /// Its working directory.
    _dir: TempDir,
}

impl Redis {
    /// With these options; none where it is not installed.
    async fn start(bed: &Bed, options: &[&str]) -> Option<Self> {
        let redis = Self::launch(options)?;
        // Whatever it says, it says something.
        for _ in 0..600 {
            let result = bed.look(redis.check(nobody(), None, None)).await;
            if result.verdict == Verdict::Ok || result.evidence.contains("answers") {
                return Some(redis);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the server did not come up");
    }

    fn launch(options: &[&str]) -> Option<Self> {
        if !installed(PROGRAM, "redis-tools", "checks of a real Redis") {
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        create_dir(dir.path().join("bin")).unwrap();
        let program = dir.path().join("bin/redis-server");
        symlink(PROGRAM, &program).unwrap();
        let port = free_port();
        let mut command = Command::new(program);
        command
            .args(["--port", &port.to_string(), "--save", "", "--dir"])
            .arg(dir.path());
        if !options.contains(&"--bind") {
            command.args(["--bind", "127.0.0.1"]);
        }
        command.args(options);
        Some(Self {
            server: Server::start(&mut command),
            port,
            _dir: dir,
        })
    }

    fn check(&self, login: Login, role: Option<RedisRole>, max_lag: Option<u64>) -> CheckKind {
        check(Ipv4Addr::LOCALHOST, self.port, login, role, max_lag)
    }
}

fn check(
    host: Ipv4Addr,
    port: u16,
    login: Login,
    role: Option<RedisRole>,
    max_lag: Option<u64>,
) -> CheckKind {
    CheckKind::Redis(RedisCheck {
        target: format!("{host}:{port}"),
        login,
        role,
        max_lag: max_lag.map(Duration::from_secs),
        tls: None,
    })
}

#[tokio::test]
async fn a_master_is_a_master_and_nothing_else() {
    let bed = Bed::new();
    let Some(redis) = Redis::start(&bed, &[]).await else {
        return;
    };
    let master = redis.check(nobody(), Some(RedisRole::Master), None);
    bed.says(master, Verdict::Ok, &["is a master with 0 replicas"])
        .await;
    let replica = redis.check(nobody(), Some(RedisRole::Replica), None);
    bed.says(replica, Verdict::Bad, &["is a master, expected a replica"])
        .await;
}

/// The vendor's recipe, `bind` alone, leaves a local ping well and a remote one refused.
#[tokio::test]
async fn a_server_in_protected_mode_is_bad_from_another_machine_and_good_from_its_own() {
    let Some(own) = own_address() else {
        let why = "this machine has no address but loopback";
        crate::skip::skip("Redis in protected mode", why);
        return;
    };
    let bed = Bed::new();
    let Some(redis) = Redis::start(&bed, &["--bind", "0.0.0.0"]).await else {
        return;
    };
    bed.says(redis.check(nobody(), None, None), Verdict::Ok, &[])
        .await;
    let remote = check(own, redis.port, nobody(), None, None);
    bed.says(
        remote,
        Verdict::Bad,
        &["answers PING with 'DENIED", "protected mode"],
    )
    .await;
}

#[tokio::test]
async fn a_server_with_a_password_lets_in_who_has_it_and_says_why_to_others() {
    let bed = Bed::new();
    let password = ["--requirepass", "open sesame"];
    let user = ["--user", "app", "on", ">app-pass", "~*", "+@all"];
    let options = [&password[..], &user].concat();
    let Some(redis) = Redis::start(&bed, &options).await else {
        return;
    };
    let master = Some(RedisRole::Master);
    bed.says(
        redis.check(nobody(), master, None),
        Verdict::Bad,
        &["NOAUTH"],
    )
    .await;
    let good = redis.check(bed.login("", "open sesame"), master, None);
    bed.says(good, Verdict::Ok, &["is a master"]).await;
    let good = redis.check(bed.login("app", "app-pass"), master, None);
    bed.says(good, Verdict::Ok, &["is a master"]).await;
    for user in ["", "app"] {
        let wrong = redis.check(bed.login(user, "hunter2"), master, None);
        let result = bed.look(wrong).await;
        assert_eq!(result.verdict, Verdict::Bad, "{result:?}");
        assert!(result.evidence.contains("refuses the login"), "{result:?}");
        assert!(result.evidence.contains("WRONGPASS"), "{result:?}");
        assert!(!result.evidence.contains("hunter2"), "{result:?}");
    }
    let missing = Login {
        user: None,
        password: Some("not-there".parse().unwrap()),
    };
    let unread = redis.check(missing, master, None);
    bed.says(
        unread,
        Verdict::Unknown,
        &["cannot read secret not-there", "mode 0600"],
    )
    .await;
}

#[tokio::test]
async fn a_user_who_may_not_ask_for_the_role_makes_it_unknown() {
    let bed = Bed::new();
    let options = ["--user", "app", "on", ">app-pass", "~*", "+ping"];
    let Some(redis) = Redis::start(&bed, &options).await else {
        return;
    };
    let check = redis.check(bed.login("app", "app-pass"), None, None);
    bed.says(check, Verdict::Unknown, &["but not its role", "NOPERM"])
        .await;
}

#[tokio::test]
async fn a_password_where_there_is_none_is_a_refused_login() {
    let bed = Bed::new();
    let Some(redis) = Redis::start(&bed, &[]).await else {
        return;
    };
    let check = redis.check(bed.login("", "hunter2"), None, None);
    bed.says(
        check,
        Verdict::Bad,
        &["refuses the login by password", "has no password"],
    )
    .await;
}

#[tokio::test]
async fn a_replica_is_good_with_its_link_and_bad_without_although_it_still_says_pong() {
    let bed = Bed::new();
    let Some(master) = Redis::start(&bed, &["--repl-diskless-sync-delay", "0"]).await else {
        return;
    };
    let of = format!("127.0.0.1 {}", master.port);
    let stale = Redis::start(&bed, &["--replicaof", &of]).await.unwrap();
    let strict = ["--replicaof", &of, "--replica-serve-stale-data", "no"];
    let strict = Redis::start(&bed, &strict).await.unwrap();
    let replica = Some(RedisRole::Replica);
    for server in [&stale, &strict] {
        let check = server.check(nobody(), replica, Some(60));
        bed.until(check, Verdict::Ok, "its link is up, last heard of")
            .await;
    }
    let expected = stale.check(nobody(), Some(RedisRole::Master), None);
    bed.says(
        expected,
        Verdict::Bad,
        &["is a replica of 127.0.0.1:", "expected a master"],
    )
    .await;
    let with_both = master.check(nobody(), Some(RedisRole::Master), None);
    bed.until(with_both, Verdict::Ok, "a master with 2 replicas")
        .await;

    // Still connected, and silent: only the time since the last word tells. (A pause, which the check does not wait for.)
    master.server.freeze();
    let late = stale.check(nobody(), replica, Some(1));
    bed.until(late, Verdict::Bad, "has not heard of it for")
        .await;
    let frozen = master.check(nobody(), None, None);
    let result = bed.look_within(frozen, Duration::from_millis(300)).await;
    assert_eq!(result.verdict, Verdict::Unknown, "{result:?}");
    assert!(
        result
            .evidence
            .contains("accepts connections, but does not answer"),
        "{result:?}"
    );
    master.server.thaw();

    master.server.end(Signal::KILL);
    for wanted in [None, replica] {
        let check = stale.check(nobody(), wanted, None);
        bed.until(check, Verdict::Bad, "its link to it is down")
            .await;
    }
    let strict = strict.check(nobody(), replica, None);
    bed.until(strict, Verdict::Bad, "answers PING with 'MASTERDOWN")
        .await;
}

#[tokio::test]
async fn half_an_answer_an_endless_one_and_another_protocol_are_told_apart() {
    let bed = Bed::new();
    let probe = |address: std::net::SocketAddr| {
        check(Ipv4Addr::LOCALHOST, address.port(), nobody(), None, None)
    };
    let hangs_up = server::says("+PO").await;
    bed.says(
        probe(hangs_up),
        Verdict::Unknown,
        &["hangs up instead of answering"],
    )
    .await;
    let http = server::says("HTTP/1.1 400 Bad Request\r\n\r\n").await;
    bed.says(probe(http), Verdict::Bad, &["is it a Redis server?"])
        .await;
    let endless = server::says_without_end(vec![b'x'; 65_536]).await;
    bed.says(probe(endless), Verdict::Bad, &["too long"]).await;
    let announced = server::says("$999999999999\r\n").await;
    bed.says(probe(announced), Verdict::Bad, &["too long"])
        .await;
    let rude = server::says("-ERR \x1b[2Jdeleted\r\n").await;
    bed.says(
        probe(rude),
        Verdict::Bad,
        &["answers PING with 'ERR  [2Jdeleted'"],
    )
    .await;
    let (listener, address) = server::silent();
    drop(listener);
    bed.says(probe(address), Verdict::Bad, &["refuses connections"])
        .await;
}

/// The same check, over TLS.
fn over_tls(check: CheckKind, server_name: Option<&str>) -> CheckKind {
    let CheckKind::Redis(check) = check else {
        return check;
    };
    CheckKind::Redis(RedisCheck {
        tls: Some(ServerTls {
            server_name: server_name.map(str::to_owned),
        }),
        ..check
    })
}

#[tokio::test]
async fn a_server_with_tls_has_to_prove_who_it_is() {
    let authority = Authority::new();
    let bed = Bed::trusting(authority.trust());
    let shown = authority.files(&["127.0.0.1", "queue.example"]);
    let port = free_port();
    let text = |path: &std::path::Path| path.display().to_string();
    let (certificate, key) = (text(&shown.certificate), text(&shown.key));
    let (trusted, at) = (text(&authority.bundle().join("ca.crt")), port.to_string());
    let options = [
        ["--tls-port", &at],
        ["--tls-cert-file", &certificate],
        ["--tls-key-file", &key],
        ["--tls-ca-cert-file", &trusted],
        ["--tls-auth-clients", "no"],
        ["--requirepass", "open sesame"],
    ]
    .concat();
    let Some(redis) = Redis::start(&bed, &options).await else {
        return;
    };
    let login = bed.login("", "open sesame");
    let check = |port| check(Ipv4Addr::LOCALHOST, port, login.clone(), None, None);
    for name in [None, Some("queue.example")] {
        let good = over_tls(check(port), name);
        bed.says(good, Verdict::Ok, &["is a master"]).await;
    }
    let misnamed = over_tls(check(port), Some("other.example"));
    bed.says(
        misnamed,
        Verdict::Bad,
        &["its certificate does not prove that it is other.example"],
    )
    .await;
    let other = Authority::new();
    let stranger = Bed::trusting(other.trust());
    let CheckKind::Redis(unknown) = over_tls(check(port), None) else {
        panic!("it is one of Redis");
    };
    let unknown = CheckKind::Redis(RedisCheck {
        login: stranger.login("", "open sesame"),
        ..unknown
    });
    stranger
        .says(unknown, Verdict::Bad, &["does not prove"])
        .await;

    // Who is asked in another way than he speaks is never well.
    for wrong in [check(port), over_tls(check(redis.port), None)] {
        // A server that waits for the rest of what it takes for a command says nothing.
        let result = bed.look_within(wrong, Duration::from_secs(2)).await;
        assert_ne!(result.verdict, Verdict::Ok, "{result:?}");
    }
}
