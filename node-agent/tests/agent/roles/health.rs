//! What load balancers are told of a role.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;

/// A status and a body.
async fn ask_by(method: &str, at: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(at).await.unwrap();
    let request = format!("{method} {path} HTTP/1.0\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap();
    (status.parse().unwrap(), body.to_owned())
}

async fn ask(at: &str, path: &str) -> (u16, serde_json::Value) {
    let (status, body) = ask_by("GET", at, path).await;
    (status, serde_json::from_str(&body).unwrap())
}

/// Asks until the status is this one; renewals are answered meanwhile, as the book has it.
async fn until(
    at: &str,
    path: &str,
    status: u16,
    session: &mut Session,
    book: &Book,
) -> serde_json::Value {
    let waiting = async {
        loop {
            let (found, body) = ask(at, path).await;
            if found == status {
                return body;
            }
            let pause = Duration::from_millis(20);
            let _ = tokio::time::timeout(pause, book.next(session)).await;
        }
    };
    patiently(waiting).await
}

/// Where it is told.
fn told_on(lab: &Lab) -> String {
    let log = lab.log();
    let at = log.split("its health is told on ").nth(1).unwrap();
    let end = |c: char| !(c.is_ascii_digit() || c == '.' || c == ':');
    at.split(end).next().unwrap().to_owned()
}

async fn lab_that_tells() -> (Lab, crate::scripted::Coordinator, crate::lab::Agent, String) {
    let lab = Lab::new();
    let coordinator = lab.coordinator().await;
    let here = lab.here();
    let health = format!(
        "{DB}[lease]\nruntime_dir = \"{here}/run\"\n[health.db]\nlisten = [\"127.0.0.1:0\"]\n"
    );
    lab.configure(&coordinator.endpoint, &health);
    let agent = lab.start().await;
    let listening = async {
        while !lab.log().contains("its health is told on ") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    patiently(listening).await;
    let at = told_on(&lab);
    (lab, coordinator, agent, at)
}

#[tokio::test]
async fn writers_are_sent_to_a_primary_and_readers_to_a_standby_that_runs() {
    let (lab, mut coordinator, _agent, at) = lab_that_tells().await;
    for path in ["/primary", "/replica", "/read-only", "/health", "/liveness"] {
        let (status, body) = ask(&at, path).await;
        assert_eq!(status, 503, "{path}: nobody knows of a role: {body}");
    }
    let mut session = coordinator.session(1).await;
    let book = Book::new(ControlLoss::Demote, Profile::Conservative);
    assign(&session, 0).await;
    book.role(&mut session, |role| role.side() == v1::Side::Standby)
        .await;
    let (status, body) = ask(&at, "/replica").await;
    assert_eq!(status, 503, "it is not started: {body}");

    standby(&mut session, &book, 0).await;
    until(&at, "/replica", 200, &mut session, &book).await;
    for (path, expected) in [
        ("/", 503),
        ("/primary", 503),
        ("/leader", 503),
        ("/read-only", 200),
        ("/health", 200),
        ("/liveness", 200),
        ("/replica?lag=1MB", 503),
        ("/readiness", 503),
        ("/replica?lag=x", 400),
        ("/nothing", 404),
    ] {
        let (status, body) = ask(&at, path).await;
        assert_eq!(status, expected, "{path}: {body}");
    }

    primary(&mut session, &book, 1).await;
    until(&at, "/primary", 200, &mut session, &book).await;
    for (path, expected) in [
        ("/", 200),
        ("/master", 200),
        ("/read-write", 200),
        ("/leader", 200),
        ("/read-only", 200),
        ("/readiness", 200),
        ("/health", 200),
        ("/replica", 503),
    ] {
        let (status, body) = ask(&at, path).await;
        assert_eq!(status, expected, "{path}: {body}");
        assert_eq!(body["epoch"], 1, "{body}");
    }
    for (method, expected) in [("HEAD", 200), ("OPTIONS", 200), ("POST", 405)] {
        let (status, body) = ask_by(method, &at, "/primary").await;
        assert_eq!(status, expected, "{method}: {body}");
        assert_eq!(body.is_empty(), method != "POST", "{method}: {body}");
    }
    assert!(main_pid(&lab).is_some_and(lives));
}

#[tokio::test]
async fn clients_are_sent_away_while_the_primary_still_has_its_right_and_come_back_with_it() {
    let (lab, mut coordinator, _agent, at) = lab_that_tells().await;
    let mut session = coordinator.session(1).await;
    let mut book = Book::new(ControlLoss::Demote, Profile::Conservative);
    standby(&mut session, &book, 0).await;
    primary(&mut session, &book, 1).await;
    until(&at, "/primary", 200, &mut session, &book).await;
    let pid = main_pid(&lab).unwrap();

    book.acknowledges = false;
    let body = until(&at, "/primary", 503, &mut session, &book).await;
    assert_eq!(body["role"], "primary", "before it ends: {body}");
    let why = body["why"].as_str().unwrap();
    assert!(why.starts_with("its lease was last renewed"), "{why}");
    assert!(lives(pid), "it is not stopped yet");

    book.acknowledges = true;
    until(&at, "/primary", 200, &mut session, &book).await;
    assert_eq!(main_pid(&lab), Some(pid), "it was never stopped");
}

#[tokio::test]
async fn a_primary_that_holds_on_without_coordinators_keeps_its_clients() {
    let (lab, mut coordinator, _agent, at) = lab_that_tells().await;
    let mut session = coordinator.session(1).await;
    let mut book = Book::new(ControlLoss::Hold, Profile::Fast);
    standby(&mut session, &book, 0).await;
    primary(&mut session, &book, 1).await;
    book.acknowledges = false;
    // Longer than any right that ends.
    let age = async {
        loop {
            let (status, body) = ask(&at, "/primary").await;
            assert_eq!(status, 200, "{body}");
            if body["renewed_ms_ago"].as_u64().unwrap() > 3000 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    patiently(age).await;
    assert!(main_pid(&lab).is_some_and(lives));
}

#[tokio::test]
async fn who_asks_slowly_or_not_at_all_keeps_nobody_from_asking() {
    let (_lab, _coordinator, _agent, at) = lab_that_tells().await;
    let mut idle = Vec::new();
    for _ in 0..80 {
        idle.push(TcpStream::connect(&at).await.unwrap());
    }
    let (status, _) = patiently(ask(&at, "/liveness")).await;
    assert_eq!(status, 503);
}
