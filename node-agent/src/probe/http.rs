//! An HTTP GET whose status, text and JSON fields are compared.
//!
//! HTTP/1.1, one connection per run, no redirects: a health endpoint answers for itself. With `https` the certificate is
//! verified ([`Trust`]).
//!
//! Text is compared, not only the status: an application server may answer 200 and say in the body that it is paused.

use std::collections::BTreeMap;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, Response, header};
use hyper_util::rt::TokioIo;
use interlock_model::check::ProbeResult;

use super::Names;
use super::outcome::{bad, ok, unknown};
use super::talk::Patience;
use super::tls::{Stream, Trust};
use super::url::Url;

/// The longest body that is looked at. Health answers are short; one that is longer is not judged by half of it.
const MAX_BODY: usize = 256 << 10;

/// What the answer must be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected<'c> {
    /// One of these status codes; an empty list stands for 200.
    pub(super) status: &'c [u16],
    /// A text in the body.
    pub(super) body: Option<&'c str>,
    /// JSON pointers into the body and their exact texts.
    pub(super) json: &'c BTreeMap<String, String>,
    /// JSON pointers and texts by all of which the instance says that it is paused.
    pub(super) paused: &'c BTreeMap<String, String>,
    /// The JSON pointer to what it waits for.
    pub(super) why: Option<&'c str>,
}

/// Gets `url` and compares. The certificate of an `https` server must have the name, if one is given.
pub(super) async fn probe(
    names: &Names,
    trust: &Trust,
    url: &str,
    server_name: Option<&str>,
    expected: Expected<'_>,
    patience: Patience,
) -> ProbeResult {
    let target = match Url::parse(url, ["http", "https"]) {
        Ok(target) => target,
        Err(why) => return unknown(format!("{url}: {why}")),
    };
    let request = match request(&target) {
        Ok(request) => request,
        Err(error) => return unknown(format!("{url}: {error}")),
    };
    let stream = match patience.connect(names, &target.address).await {
        Ok(stream) => stream,
        Err(result) => return result,
    };
    let talk = async {
        match &target.secure {
            None => get(url, stream, request, expected).await,
            Some(host) => {
                let name = server_name.unwrap_or(host);
                // Put aside: without it the rest is a fraction of that in size.
                let secured = async {
                    match trust.secure(stream, name, &target.address).await {
                        Ok(stream) => get(url, stream, request, expected).await,
                        Err(result) => result,
                    }
                };
                Box::pin(secured).await
            }
        }
    };
    patience.talk(&target.address, talk).await
}

fn request(target: &Url) -> Result<Request<Empty<Bytes>>, hyper::http::Error> {
    Request::get(&*target.path)
        .header(header::HOST, &*target.authority)
        .header(
            header::USER_AGENT,
            concat!("interlock-agent/", env!("CARGO_PKG_VERSION")),
        )
        .header(header::ACCEPT, "*/*")
        .header(header::CONNECTION, "close")
        .body(Empty::new())
}

async fn get(
    url: &str,
    stream: impl Stream,
    request: Request<Empty<Bytes>>,
    expected: Expected<'_>,
) -> ProbeResult {
    let (mut sender, connection) =
        match http1::handshake::<_, Empty<Bytes>>(TokioIo::new(stream)).await {
            Ok(pair) => pair,
            Err(error) => return unknown(format!("{url}: {error}")),
        };
    let exchange = async {
        let response = match sender.send_request(request).await {
            Ok(response) => response,
            Err(error) => return bad(format!("{url}: no valid HTTP answer: {error}")),
        };
        judge(url, response, expected).await
    };
    let mut exchange = std::pin::pin!(exchange);
    // The connection does the work of the exchange and lives no longer than it.
    tokio::select! {
        result = &mut exchange => result,
        _ = connection => exchange.await,
    }
}

async fn judge(url: &str, response: Response<Incoming>, expected: Expected<'_>) -> ProbeResult {
    let status = response.status().as_u16();
    let accepted = if expected.status.is_empty() {
        &[200][..]
    } else {
        expected.status
    };
    let refused = (!accepted.contains(&status)).then(|| {
        let wanted = accepted
            .iter()
            .map(u16::to_string)
            .collect::<Vec<_>>()
            .join(" or ");
        bad(format!("{url}: status {status}, expected {wanted}"))
    });
    // One that is paused may say so with any status.
    match refused {
        Some(refused) if expected.paused.is_empty() => return refused,
        None if expected.body.is_none()
            && expected.json.is_empty()
            && expected.paused.is_empty() =>
        {
            return ok(format!("{url}: status {status}"));
        }
        _ => {}
    }
    let body = match Limited::new(response.into_body(), MAX_BODY).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            return unknown(format!("{url}: the body is longer than {MAX_BODY} bytes"));
        }
        Err(error) => {
            return bad(format!(
                "{url}: status {status}, but the body breaks off: {error}"
            ));
        }
    };
    let text = String::from_utf8_lossy(&body);
    if let Some(why) = paused(&text, expected) {
        return ProbeResult {
            paused: true,
            ..bad(why)
        };
    }
    if let Some(refused) = refused {
        return refused;
    }
    match compare(&text, expected) {
        Ok(()) => ok(format!("{url}: status {status}, content as expected")),
        Err(why) => bad(format!("{url}: status {status}, but {why}")),
    }
}

/// What an instance that says it is paused waits for.
fn paused(text: &str, expected: Expected<'_>) -> Option<String> {
    if expected.paused.is_empty() {
        return None;
    }
    let json: serde_json::Value = serde_json::from_str(text).ok()?;
    let says = |(pointer, wanted): (&String, &String)| {
        json.pointer(pointer)
            .is_some_and(|found| plain(found) == *wanted)
    };
    if !expected.paused.iter().all(says) {
        return None;
    }
    let why = expected.why.and_then(|pointer| json.pointer(pointer));
    Some(match why.map(plain).filter(|why| !why.is_empty()) {
        Some(why) => format!("it waits for {why}"),
        None => "it does not say what it waits for".to_owned(),
    })
}

/// A JSON value as people read it: texts without quotes, a list with commas.
fn plain(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

fn compare(text: &str, expected: Expected<'_>) -> Result<(), String> {
    if let Some(wanted) = expected.body
        && !text.contains(wanted)
    {
        return Err(format!("the body does not contain '{wanted}': {text}"));
    }
    if expected.json.is_empty() {
        return Ok(());
    }
    let json: serde_json::Value = serde_json::from_str(text)
        .map_err(|error| format!("the body is not JSON ({error}): {text}"))?;
    for (pointer, wanted) in expected.json {
        let found = match json.pointer(pointer) {
            None => return Err(format!("there is no {pointer}: {text}")),
            Some(serde_json::Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        if found != *wanted {
            return Err(format!("{pointer} is '{found}', expected '{wanted}'"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use interlock_model::check::Verdict;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    async fn probe(url: &str, expected: Expected<'_>) -> ProbeResult {
        super::probe(
            &Names::default(),
            &Trust::default(),
            url,
            None,
            expected,
            Patience::new(Duration::from_secs(60)),
        )
        .await
    }

    /// Serves `answer` once; the URL, and the request when it has come.
    async fn serve(answer: impl Into<Vec<u8>>) -> (String, tokio::task::JoinHandle<String>) {
        let answer = answer.into();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/status?x=1", listener.local_addr().unwrap());
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let read = stream.read(&mut request).await.unwrap();
            // The probe may hang up as soon as it knows enough.
            let _ = stream.write_all(&answer).await;
            String::from_utf8_lossy(&request[..read]).into_owned()
        });
        (url, served)
    }

    /// Runs a probe that knows how the instance says that it is paused.
    async fn run_pausing(answer: &str) -> ProbeResult {
        let (url, _) = serve(answer).await;
        let of = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            let owned = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
            pairs.iter().map(owned).collect()
        };
        probe(
            &url,
            Expected {
                status: &[200],
                body: None,
                json: &of(&[("/state", "running")]),
                paused: &of(&[("/state", "paused")]),
                why: Some("/waiting"),
            },
        )
        .await
    }

    async fn run(
        answer: &str,
        status: &[u16],
        body: Option<&str>,
        json: &[(&str, &str)],
    ) -> ProbeResult {
        let (url, _) = serve(answer).await;
        let json = json
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        probe(
            &url,
            Expected {
                status,
                body,
                json: &json,
                paused: &BTreeMap::new(),
                why: None,
            },
        )
        .await
    }

    const PAUSED: &str = "HTTP/1.1 200 OK\r\nContent-Length: 58\r\n\r\n\
                          {\"state\":\"paused\",\"reason\":\"DB Service\",\"main\":{\"pid\":7}} ";

    #[tokio::test]
    async fn the_request_is_a_get_of_the_path_with_the_host() {
        let (url, served) = serve("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        let result = probe(
            &url,
            Expected {
                status: &[],
                body: None,
                json: &BTreeMap::new(),
                paused: &BTreeMap::new(),
                why: None,
            },
        )
        .await;
        assert_eq!(result.verdict, Verdict::Ok, "{result:?}");
        let request = served.await.unwrap();
        assert!(
            request.starts_with("GET /status?x=1 HTTP/1.1\r\n"),
            "{request}"
        );
        assert!(
            request.to_lowercase().contains("host: 127.0.0.1:"),
            "{request}"
        );
    }

    #[tokio::test]
    async fn only_an_expected_status_is_good() {
        let answer = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(run(answer, &[200], None, &[]).await.verdict, Verdict::Bad);
        assert_eq!(
            run(answer, &[200, 503], None, &[]).await.verdict,
            Verdict::Ok
        );
    }

    #[tokio::test]
    async fn a_service_that_answers_200_and_says_that_it_is_paused_is_bad() {
        let result = run(PAUSED, &[200], None, &[("/state", "running")]).await;
        assert_eq!(result.verdict, Verdict::Bad);
        assert!(
            result
                .evidence
                .contains("/state is 'paused', expected 'running'"),
            "{result:?}"
        );
        assert_eq!(
            run(
                PAUSED,
                &[200],
                None,
                &[("/state", "paused"), ("/main/pid", "7")]
            )
            .await
            .verdict,
            Verdict::Ok
        );
        assert_eq!(
            run(PAUSED, &[200], None, &[("/nothing", "")]).await.verdict,
            Verdict::Bad
        );
    }

    #[tokio::test]
    async fn the_body_must_contain_the_text_however_it_is_sent() {
        let chunked =
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nPON\r\n1\r\nG\r\n0\r\n\r\n";
        assert_eq!(
            run(chunked, &[], Some("PONG"), &[]).await.verdict,
            Verdict::Ok
        );
        assert_eq!(
            run(chunked, &[], Some("pong"), &[]).await.verdict,
            Verdict::Bad
        );
        let until_close = "HTTP/1.0 200 OK\r\n\r\nPONG";
        assert_eq!(
            run(until_close, &[], Some("PONG"), &[]).await.verdict,
            Verdict::Ok
        );
    }

    #[tokio::test]
    async fn what_is_not_an_answer_is_bad_and_half_an_answer_too() {
        assert_eq!(
            run("SSH-2.0-OpenSSH_9.2\r\n", &[], None, &[]).await.verdict,
            Verdict::Bad
        );
        assert_eq!(run("", &[], None, &[]).await.verdict, Verdict::Bad);
        let broken = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nPONG";
        assert_eq!(
            run(broken, &[], Some("PONG"), &[]).await.verdict,
            Verdict::Bad
        );
        assert_eq!(
            run("HTTP/1.1 200 OK\r\n\r\nno json", &[], None, &[("/a", "b")])
                .await
                .verdict,
            Verdict::Bad
        );
    }

    #[tokio::test]
    async fn a_body_without_end_is_not_judged() {
        let endless = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(MAX_BODY + 1));
        assert_eq!(
            run(&endless, &[], Some("x"), &[]).await.verdict,
            Verdict::Unknown
        );
    }

    #[tokio::test]
    async fn a_url_that_cannot_be_probed_is_unknown() {
        let none = BTreeMap::new();
        for url in ["ftp://127.0.0.1/", "/status", "http://", "http://a b/"] {
            let result = probe(
                url,
                Expected {
                    status: &[],
                    body: None,
                    json: &none,
                    paused: &none,
                    why: None,
                },
            )
            .await;
            assert_eq!(result.verdict, Verdict::Unknown, "{url}: {result:?}");
        }
    }

    #[tokio::test]
    async fn an_instance_that_says_it_is_paused_is_bad_and_names_what_it_waits_for() {
        let answer = |status: &str, body: &str| {
            format!(
                "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
        };
        for status in ["200", "503"] {
            let body = r#"{"state":"paused","waiting":["Database","Share"]}"#;
            let result = run_pausing(&answer(status, body)).await;
            assert_eq!((result.verdict, result.paused), (Verdict::Bad, true));
            assert_eq!(result.evidence, "it waits for Database, Share");
        }
        let result = run_pausing(&answer("200", r#"{"state":"paused"}"#)).await;
        assert_eq!(result.evidence, "it does not say what it waits for");
        let result = run_pausing(&answer("200", r#"{"state":"running"}"#)).await;
        assert_eq!((result.verdict, result.paused), (Verdict::Ok, false));
        let result = run_pausing(&answer("503", "no JSON")).await;
        assert_eq!((result.verdict, result.paused), (Verdict::Bad, false));
        assert!(
            result.evidence.contains("status 503"),
            "{}",
            result.evidence
        );
    }
}
