//! HTTPS and WebSocket: stand-ins that really speak TLS and HTTP, with certificates that hold and others that do not.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use interlock_agent::probe::Trust;
use interlock_model::check::{CheckKind, Verdict};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::authority::Authority;
use crate::bed::Bed;
use crate::server;

/// Answers every request with this, behind TLS if it has a certificate. The request is sent on.
async fn serve(tls: Option<TlsAcceptor>, answer: String) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (tls, answer) = (tls.clone(), answer.clone());
            tokio::spawn(async move {
                match tls {
                    None => talk(stream, &answer).await,
                    Some(tls) => {
                        // A client that does not trust it goes away here.
                        if let Ok(stream) = tls.accept(stream).await {
                            talk(stream, &answer).await;
                        }
                    }
                }
            });
        }
    });
    address
}

/// An upgrade is refused to whoever does not ask as RFC 6455 has it, section 4.2.1.
async fn talk(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &str) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => request.push(byte),
            Err(_) => return,
        }
    }
    let request = String::from_utf8(request).unwrap().to_lowercase();
    let asked = [
        "connection: upgrade",
        "upgrade: websocket",
        "sec-websocket-version: 13",
    ];
    let is_upgrade = answer.starts_with("HTTP/1.1 101");
    let answer = if is_upgrade && !asked.iter().all(|header| request.contains(header)) {
        "HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n"
    } else {
        answer
    };
    let _ = stream.write_all(answer.as_bytes()).await;
    // It goes on until the other side has ended it.
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
}

fn page(url: String, server_name: Option<&str>) -> CheckKind {
    CheckKind::Http {
        url,
        server_name: server_name.map(str::to_owned),
        status: vec![200],
        body: None,
        json: [("/state".to_owned(), "running".to_owned())].into(),
        paused: [("/state".to_owned(), "paused".to_owned())].into(),
        why: Some("/reason".to_owned()),
    }
}

fn socket(url: String, server_name: Option<&str>) -> CheckKind {
    CheckKind::Websocket {
        url,
        server_name: server_name.map(str::to_owned),
        origin: None,
    }
}

fn status(json: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{json}",
        json.len()
    )
}

/// The answer to the key of RFC 6455, section 1.3.
const UPGRADED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

#[tokio::test]
async fn a_page_behind_tls_counts_if_its_certificate_holds_for_the_name() {
    let authority = Authority::new();
    let bed = Bed::trusting(authority.trust());
    let running = status(r#"{"state":"running"}"#);
    let own = serve(Some(authority.server("127.0.0.1")), running.clone()).await;
    bed.says(
        page(format!("https://{own}/status"), None),
        Verdict::Ok,
        &["status 200"],
    )
    .await;
    let named = serve(Some(authority.server("www.example")), running.clone()).await;
    let named = |name| page(format!("https://{named}/status"), name);
    bed.says(named(Some("www.example")), Verdict::Ok, &["status 200"])
        .await;
    let proof = "does not prove that it is 127.0.0.1";
    bed.says(named(None), Verdict::Bad, &[proof]).await;
    let stranger = Authority::new();
    let stranger = serve(Some(stranger.server("127.0.0.1")), running).await;
    bed.says(
        page(format!("https://{stranger}/"), None),
        Verdict::Bad,
        &[proof],
    )
    .await;
    let paused = status(r#"{"state":"paused","reason":"DB Service,Redis Server"}"#);
    let paused = serve(Some(authority.server("127.0.0.1")), paused).await;
    let result = bed
        .look(page(format!("https://{paused}/status"), None))
        .await;
    assert_eq!(
        (result.verdict, result.paused, &*result.evidence),
        (Verdict::Bad, true, "it waits for DB Service,Redis Server")
    );
    let plain = server::says("HTTP/1.1 400 Bad Request\r\n\r\n").await;
    let plain = page(format!("https://{plain}/"), None);
    bed.says(plain, Verdict::Bad, &["what answers there is not TLS"])
        .await;
    let (_listener, silent) = server::silent();
    let silent = page(format!("https://{silent}/"), None);
    let result = bed.look_within(silent, Duration::from_millis(300)).await;
    assert_eq!(result.verdict, Verdict::Unknown, "{result:?}");
}

#[tokio::test]
async fn a_machine_without_authorities_trusts_nobody() {
    let authority = Authority::new();
    let own = serve(Some(authority.server("127.0.0.1")), status("{}")).await;
    let empty = authority.bundle().join("empty.crt");
    std::fs::write(&empty, "").unwrap();
    for bundle in [empty, authority.bundle().join("missing.crt")] {
        let bed = Bed::trusting(Trust::of(bundle));
        let check = page(format!("https://{own}/"), None);
        bed.says(check, Verdict::Unknown, &["cannot verify certificates"])
            .await;
    }
}

#[tokio::test]
async fn an_upgrade_is_taken_or_it_is_not() {
    let authority = Authority::new();
    let bed = Bed::trusting(authority.trust());
    let plain = serve(None, UPGRADED.to_owned()).await;
    let check = socket(
        format!("ws://{plain}/socket.io/?EIO=4&transport=websocket"),
        None,
    );
    bed.says(check, Verdict::Ok, &["upgraded to WebSocket (101)"])
        .await;
    let secure = serve(Some(authority.server("www.example")), UPGRADED.to_owned()).await;
    let secure = |name| socket(format!("wss://{secure}/"), name);
    bed.says(secure(Some("www.example")), Verdict::Ok, &["(101)"])
        .await;
    bed.says(secure(None), Verdict::Bad, &["does not prove"])
        .await;
    // A balancer that does not pass the upgrade headers on.
    let page = serve(None, status("{}")).await;
    let check = socket(format!("ws://{page}/"), None);
    bed.says(check, Verdict::Bad, &["status 200 instead of an upgrade"])
        .await;
    let wrong = UPGRADED.replace("s3pPLM", "AAAAAA");
    let wrong = serve(None, wrong).await;
    let check = socket(format!("ws://{wrong}/"), None);
    bed.says(check, Verdict::Bad, &["not the answer to the key"])
        .await;
    let endless = server::says_without_end("HTTP/1.1 101 x\r\nX: y\r\n").await;
    bed.says(
        socket(format!("ws://{endless}/"), None),
        Verdict::Bad,
        &["too long"],
    )
    .await;
}
