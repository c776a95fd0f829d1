//! PostgreSQL: logins of every kind, roles, replication, and servers that are not there, stuck or lying.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use interlock_model::check::{
    CheckKind, Lag, Login, PostgresCheck, PostgresRole, ServerTls, Verdict,
};
use rustix::process::Signal;

use crate::authority::Authority;
use crate::bed::{Bed, nobody};
use crate::postgres_server::{Postgres, wanted};
use crate::server;

const PRIMARY: Option<PostgresRole> = Some(PostgresRole::Primary);
const STANDBY: Option<PostgresRole> = Some(PostgresRole::Standby);

#[tokio::test]
async fn a_login_works_by_every_method_that_sends_no_password() {
    let bed = Bed::new();
    let Some(postgres) = Postgres::start(&bed).await else {
        return;
    };
    for (user, password) in [("app", "app-pass"), ("legacy", "legacy-pass")] {
        let good = postgres.check(user, bed.login("", password), PRIMARY);
        bed.says(good, Verdict::Ok, &["is a primary"]).await;
        let wrong = postgres.check(user, bed.login("", "hunter2"), PRIMARY);
        let refused = format!("refuses the login of {user} to postgres");
        bed.says(wrong, Verdict::Bad, &[&refused, "(28P01)"]).await;
        let none = postgres.check(user, nobody(), PRIMARY);
        bed.says(
            none,
            Verdict::Unknown,
            &["asks for a password, and the check has none"],
        )
        .await;
    }
    let trusted = postgres.check("trusted", nobody(), None);
    bed.says(trusted, Verdict::Ok, &["lets trusted in, it is a primary"])
        .await;

    let clear = postgres.check("clear", bed.login("", "clear-pass"), None);
    bed.says(
        clear,
        Verdict::Unknown,
        &["in clear text, which is not sent"],
    )
    .await;
    let outsider = postgres.check("outsider", bed.login("", "x"), None);
    bed.says(
        outsider,
        Verdict::Bad,
        &["refuses the login of outsider", "(28000)"],
    )
    .await;
    let elsewhere = PostgresCheck {
        database: "missing".to_owned(),
        ..postgres.wanted("app", bed.login("", "app-pass"), None)
    };
    let elsewhere = CheckKind::Postgres(elsewhere);
    bed.says(elsewhere, Verdict::Bad, &["to missing", "(3D000)"])
        .await;
}

#[tokio::test]
async fn a_primary_that_takes_no_writes_of_this_user_and_one_without_standbys_are_bad() {
    let bed = Bed::new();
    let Some(postgres) = Postgres::start(&bed).await else {
        return;
    };
    let readonly = postgres.check("readonly", bed.login("", "r"), PRIMARY);
    bed.says(
        readonly,
        Verdict::Bad,
        &["is a primary", "readonly are read-only"],
    )
    .await;
    let standby = postgres.check("app", bed.login("", "app-pass"), STANDBY);
    bed.says(standby, Verdict::Bad, &["is a primary, expected a standby"])
        .await;
    let alone = PostgresCheck {
        standbys: 1,
        ..postgres.wanted("monitor", bed.login("", "m"), PRIMARY)
    };
    bed.says(
        CheckKind::Postgres(alone),
        Verdict::Bad,
        &["streams to 0 of 1 standbys"],
    )
    .await;
}

#[tokio::test]
async fn a_standby_must_stream_and_keep_up_and_an_idle_primary_is_no_lag() {
    let bed = Bed::new();
    let Some(primary) = Postgres::start(&bed).await else {
        return;
    };
    let copy = primary.standby();
    let login = bed.login("", "m");
    let standby = |max_lag| {
        CheckKind::Postgres(PostgresCheck {
            max_lag,
            ..copy.wanted("monitor", login.clone(), STANDBY)
        })
    };
    let streams = |max_lag| {
        CheckKind::Postgres(PostgresCheck {
            standbys: 1,
            max_lag,
            ..primary.wanted("monitor", login.clone(), PRIMARY)
        })
    };
    let (second, page) = (
        Some(Lag::Time(Duration::from_secs(1))),
        Some(Lag::Bytes(8192)),
    );
    bed.until(standby(None), Verdict::Ok, "is a standby and streaming")
        .await;
    // Something to be told: an idle primary says only after half a minute where it is.
    primary.sql("CREATE TABLE first (x int)");
    for lag in [None, second, page] {
        bed.until(standby(lag), Verdict::Ok, "is a standby and streaming")
            .await;
        bed.until(streams(lag), Verdict::Ok, "streams to 1 standbys")
            .await;
    }
    let wrong = copy.check("monitor", login.clone(), PRIMARY);
    bed.says(wrong, Verdict::Bad, &["is a standby, expected a primary"])
        .await;
    // Who may not see positions does not see that all is well, nor that it is not.
    let hidden = copy.check("app", bed.login("", "app-pass"), STANDBY);
    bed.says(hidden, Verdict::Unknown, &["GRANT pg_monitor"])
        .await;
    let hidden = PostgresCheck {
        standbys: 1,
        ..primary.wanted("app", bed.login("", "app-pass"), PRIMARY)
    };
    bed.says(
        CheckKind::Postgres(hidden),
        Verdict::Unknown,
        &["GRANT pg_monitor"],
    )
    .await;

    // Idle for longer than the allowed lag: the last transaction is old by then, and nothing is behind.
    primary.sql("CREATE TABLE t (x int)");
    bed.until(standby(page), Verdict::Ok, "0 bytes behind")
        .await;
    primary.sql("SELECT pg_sleep(1.5)");
    bed.says(standby(second), Verdict::Ok, &["0.0 s behind"])
        .await;

    // It receives, and does not apply.
    copy.sql("SELECT pg_wal_replay_pause()");
    primary.sql("INSERT INTO t SELECT generate_series(1, 10000)");
    bed.until(
        standby(page),
        Verdict::Bad,
        "bytes behind, allowed are 8192",
    )
    .await;
    bed.until(
        streams(page),
        Verdict::Bad,
        "streams to 0 of 1 standbys; one, ",
    )
    .await;
    bed.until(standby(second), Verdict::Bad, "s behind, allowed are 1s")
        .await;
    copy.sql("SELECT pg_wal_replay_resume()");
    bed.until(standby(second), Verdict::Ok, "s behind").await;
    bed.until(streams(page), Verdict::Ok, "streams to 1 standbys")
        .await;

    primary.server.end(Signal::QUIT);
    bed.until(
        standby(None),
        Verdict::Bad,
        "receives nothing: it is not streaming",
    )
    .await;
}

/// Put back as a standby of the new primary, it is in recovery and serves what the new one has not.
#[tokio::test]
async fn a_diverged_old_primary_is_no_standby_although_it_is_in_recovery() {
    let bed = Bed::new();
    let Some(primary) = Postgres::start(&bed).await else {
        return;
    };
    let copy = primary.standby();
    let login = bed.login("", "m");
    let check = |server: &Postgres, role| server.check("monitor", login.clone(), role);
    bed.until(check(&copy, STANDBY), Verdict::Ok, "streaming")
        .await;
    copy.sql("SELECT pg_promote()");
    bed.until(check(&copy, PRIMARY), Verdict::Ok, "is a primary")
        .await;
    primary.sql("CREATE TABLE diverged (x int)");
    let Postgres {
        programs,
        server,
        dir,
        ..
    } = primary;
    server.end(Signal::INT);
    let data = dir.path().join("data");
    fs::write(data.join("standby.signal"), "").unwrap();
    let source = format!(
        "primary_conninfo = 'host=127.0.0.1 port={} user=repl'\n",
        copy.port
    );
    fs::write(data.join("postgresql.auto.conf"), source).unwrap();
    let old = Postgres::launch(programs, dir);
    bed.until(check(&old, None), Verdict::Ok, "it is a standby")
        .await;
    bed.until(check(&old, STANDBY), Verdict::Bad, "not streaming")
        .await;
}

#[tokio::test]
async fn a_stopped_server_and_one_that_shuts_down_are_told_apart() {
    let bed = Bed::new();
    let Some(postgres) = Postgres::start(&bed).await else {
        return;
    };
    let check = || postgres.check("trusted", nobody(), None);
    postgres.server.freeze();
    let result = bed.look_within(check(), Duration::from_millis(300)).await;
    assert_eq!(result.verdict, Verdict::Unknown, "{result:?}");
    assert!(
        result
            .evidence
            .contains("accepts connections, but does not answer"),
        "{result:?}"
    );
    postgres.server.thaw();
    bed.says(check(), Verdict::Ok, &[]).await;
    let gone = check();
    postgres.server.end(Signal::INT);
    bed.says(gone, Verdict::Bad, &["refuses connections"]).await;
}

#[tokio::test]
async fn a_server_that_lies_or_never_ends_costs_nothing_and_is_named() {
    let bed = Bed::new();
    let look =
        |address: SocketAddr, login: Login| CheckKind::Postgres(wanted(address, "app", login));
    let announced = server::says(&b"R\x7f\xff\xff\xff\0\0\0\0"[..]).await;
    bed.says(
        look(announced, nobody()),
        Verdict::Bad,
        &["is it a PostgreSQL server?"],
    )
    .await;
    let endless = server::says_without_end(&b"S\0\0\0\x08a\0b\0"[..]).await;
    bed.says(look(endless, nobody()), Verdict::Bad, &["too long"])
        .await;
    let half = server::says(&b"R\0\0\0"[..]).await;
    bed.says(look(half, nobody()), Verdict::Unknown, &["hangs up"])
        .await;
    let http = server::says("HTTP/1.1 400 Bad Request\r\n\r\n").await;
    bed.says(
        look(http, nobody()),
        Verdict::Bad,
        &["is it a PostgreSQL server?"],
    )
    .await;
    // Ready without having asked for anything: whoever it is, nobody was let in.
    let early = server::says(&b"Z\0\0\0\x05I"[..]).await;
    bed.says(
        look(early, nobody()),
        Verdict::Bad,
        &["ready before the login"],
    )
    .await;
    let kerberos = server::says(&b"R\0\0\0\x08\0\0\0\x07"[..]).await;
    bed.says(
        look(kerberos, nobody()),
        Verdict::Unknown,
        &["by GSSAPI or SSPI"],
    )
    .await;
    // It asks for the proof of the password, and has none of its own: the exchange ends before anything is believed.
    let impostor =
        server::says(&b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I"[..])
            .await;
    bed.says(
        look(impostor, bed.login("", "x")),
        Verdict::Bad,
        &["the next step of the login"],
    )
    .await;
}

#[tokio::test]
async fn a_server_with_tls_has_to_prove_who_it_is_and_may_then_be_told_a_password() {
    let authority = Authority::new();
    let bed = Bed::trusting(authority.trust());
    let Some(postgres) = Postgres::start(&bed).await else {
        return;
    };
    let over_tls = |bed: &Bed, user: &str, password: &str, server_name: Option<&str>| {
        CheckKind::Postgres(PostgresCheck {
            tls: Some(ServerTls {
                server_name: server_name.map(str::to_owned),
            }),
            ..postgres.wanted(user, bed.login("", password), PRIMARY)
        })
    };
    let app = |server_name| over_tls(&bed, "app", "app-pass", server_name);
    bed.says(app(None), Verdict::Bad, &["takes no TLS"]).await;

    let shown = authority.files(&["127.0.0.1", "db.example"]);
    postgres.sql(&format!(
        "CREATE ROLE private LOGIN PASSWORD 'private-pass';\n\
         ALTER SYSTEM SET ssl_cert_file = '{}';\n\
         ALTER SYSTEM SET ssl_key_file = '{}';\n\
         ALTER SYSTEM SET ssl = on;\n",
        shown.certificate.display(),
        shown.key.display()
    ));
    postgres.permit("hostnossl all private 127.0.0.1/32 reject\n");
    postgres.sql("SELECT pg_reload_conf()");
    bed.until(app(None), Verdict::Ok, "is a primary").await;
    bed.says(app(Some("db.example")), Verdict::Ok, &[]).await;
    // Whom it lets in with TLS alone.
    let open = postgres.check("private", bed.login("", "private-pass"), PRIMARY);
    bed.says(open, Verdict::Bad, &["(28000)"]).await;
    let private = over_tls(&bed, "private", "private-pass", None);
    bed.says(private, Verdict::Ok, &["is a primary"]).await;
    let clear = over_tls(&bed, "clear", "clear-pass", None);
    bed.says(clear, Verdict::Ok, &["is a primary"]).await;
    let wrong = over_tls(&bed, "clear", "hunter2", None);
    bed.says(wrong, Verdict::Bad, &["(28P01)"]).await;

    bed.says(
        app(Some("other.example")),
        Verdict::Bad,
        &["its certificate does not prove that it is other.example"],
    )
    .await;
    let other = Authority::new();
    let stranger = Bed::trusting(other.trust());
    let unknown = over_tls(&stranger, "app", "app-pass", None);
    stranger
        .says(unknown, Verdict::Bad, &["does not prove"])
        .await;
}
