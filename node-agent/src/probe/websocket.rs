//! A WebSocket upgrade that is taken: status 101 with the right `Sec-WebSocket-Accept` (RFC 6455, section 4).
//!
//! A load balancer that passes pages but not the upgrade answers 200 or 400 here, and every client of the service behind
//! it is lost. After the handshake the connection is closed with a Close frame; nothing of the service is used.

use interlock_model::check::ProbeResult;
use tokio::io::AsyncWriteExt as _;

use super::Names;
use super::outcome::{bad, ok, unknown};
use super::talk::{Incoming, Patience, broke};
use super::tls::{Stream, Trust};
use super::url::Url;

/// The example of RFC 6455, section 1.3: a key, and the answer that a server has to compute from it. It only has to prove
/// that the server speaks the protocol; a key that is different each time protects browsers against caches, of which
/// there is none that keeps a 101.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The longest head of an answer, in bytes.
const MAX_HEAD: usize = 16 << 10;

/// A Close frame of a client: final, opcode 8, status 1000 (normal), under a mask of zeros.
const CLOSE: [u8; 8] = [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8];

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Upgrade<'c> {
    /// A `ws://` or `wss://` URL.
    pub(super) url: &'c str,
    /// The name that the certificate must have, if that is not the host.
    pub(super) server_name: Option<&'c str>,
    /// The `Origin` to send.
    pub(super) origin: Option<&'c str>,
}

/// Asks for the upgrade.
pub(super) async fn probe(
    names: &Names,
    trust: &Trust,
    upgrade: Upgrade<'_>,
    patience: Patience,
) -> ProbeResult {
    let url = upgrade.url;
    let target = match Url::parse(url, ["ws", "wss"]) {
        Ok(target) => target,
        Err(why) => return unknown(format!("{url}: {why}")),
    };
    let stream = match patience.connect(names, &target.address).await {
        Ok(stream) => stream,
        Err(result) => return result,
    };
    let talk = async {
        let stream: Box<dyn Stream> = match &target.secure {
            None => Box::new(stream),
            Some(host) => {
                let name = upgrade.server_name.unwrap_or(host);
                match trust.secure(stream, name, &target.address).await {
                    Ok(stream) => stream,
                    Err(result) => return result,
                }
            }
        };
        shake(stream, &target, upgrade).await
    };
    patience.talk(&target.address, talk).await
}

async fn shake(stream: Box<dyn Stream>, target: &Url, upgrade: Upgrade<'_>) -> ProbeResult {
    let url = upgrade.url;
    let origin = upgrade.origin.filter(|origin| is_value(origin));
    let origin = origin.map_or_else(String::new, |origin| format!("Origin: {origin}\r\n"));
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: interlock-agent/{}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{origin}\r\n",
        target.path,
        target.authority,
        env!("CARGO_PKG_VERSION"),
    );
    let mut incoming = Incoming::new(stream, MAX_HEAD);
    // One that refuses may have hung up by now, and has said why before it did.
    let _ = incoming.stream().write_all(request.as_bytes()).await;
    let head = match head(&mut incoming).await {
        Ok(head) => head,
        Err(error) => return bad(format!("{url}: {}", broke(&error))),
    };
    let result = judge(url, &head);
    let _ = incoming.stream().write_all(&CLOSE).await;
    let _ = incoming.stream().shutdown().await;
    result
}

/// May it stand in a header?
fn is_value(text: &str) -> bool {
    text.bytes().all(|byte| (0x20..0x7f).contains(&byte))
}

/// The status line and the headers.
async fn head(incoming: &mut Incoming<Box<dyn Stream>>) -> std::io::Result<Vec<String>> {
    let mut lines = Vec::new();
    loop {
        let line = incoming.line().await?;
        if line.is_empty() {
            return Ok(lines);
        }
        lines.push(String::from_utf8_lossy(&line).into_owned());
    }
}

fn judge(url: &str, head: &[String]) -> ProbeResult {
    let status = head.first().map_or("", String::as_str);
    let code = status
        .strip_prefix("HTTP/1.1 ")
        .or_else(|| status.strip_prefix("HTTP/1.0 "))
        .and_then(|rest| rest.get(..3));
    let Some(code) = code else {
        return bad(format!("{url}: what answers there is not HTTP"));
    };
    if code != "101" {
        return bad(format!("{url}: status {code} instead of an upgrade (101)"));
    }
    let header = |name: &str| {
        let mut pairs = head.iter().skip(1).filter_map(|line| line.split_once(':'));
        pairs
            .find(|(key, _)| key.trim().eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    };
    if !header("Upgrade").is_some_and(|to| to.eq_ignore_ascii_case("websocket")) {
        return bad(format!(
            "{url}: status 101, but not to the WebSocket protocol"
        ));
    }
    if header("Sec-WebSocket-Accept") != Some(ACCEPT) {
        return bad(format!(
            "{url}: status 101, but its Sec-WebSocket-Accept is not the answer to the key"
        ));
    }
    ok(format!("{url}: upgraded to WebSocket (101)"))
}

#[cfg(test)]
mod tests {
    use interlock_model::check::Verdict;

    use super::*;

    #[test]
    fn only_the_answer_to_the_key_is_an_upgrade() {
        let of = |text: &str| {
            let head: Vec<String> = text.split("\r\n").map(str::to_owned).collect();
            judge("ws://lb/", &head)
        };
        let good = format!(
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\nConnection: Upgrade\r\n\
             sec-websocket-accept: {ACCEPT}"
        );
        assert_eq!(of(&good).verdict, Verdict::Ok, "{:?}", of(&good));
        let without = good.replace(ACCEPT, "AAAA");
        let other = good.replace("WebSocket", "h2c");
        for text in [
            &*without,
            &other,
            "HTTP/1.1 200 OK",
            "HTTP/1.1 400 Bad Request",
            "+PONG",
            "",
        ] {
            assert_eq!(of(text).verdict, Verdict::Bad, "{text}");
        }
        assert!(
            of("HTTP/1.1 502 Bad Gateway")
                .evidence
                .contains("status 502")
        );
    }
}
