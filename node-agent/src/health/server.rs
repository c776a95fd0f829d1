//! Connections.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use interlock_engine::lease::holder::Tenure;
use interlock_model::names::{NodeName, ServiceName};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use super::answer::answer;
use super::question::{Bad, Question};
use crate::roles::{Signs, read_clocks};

/// How many connections each address has at a time. A load balancer has one or two; who comes on top waits to be accepted.
const CONNECTIONS: usize = 64;

/// How long a connection may take to say what it wants, the first time and between two questions.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest life of a connection: somebody who reads nothing keeps nobody else out for longer.
const LIFE: Duration = Duration::from_secs(60);

/// The pause before an address is tried again that could not be had, or does not accept.
const AGAIN: Duration = Duration::from_secs(5);

/// The greatest head of a question.
const MAX_HEAD: usize = 16 << 10;

/// One service, as it is told of.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) node: NodeName,
    pub(super) service: ServiceName,
    pub(super) signs: watch::Receiver<Signs>,
}

/// Listens on an address for as long as the agent runs.
pub(super) async fn listen(served: Arc<Served>, address: SocketAddr) {
    let service = &served.service;
    let listener = loop {
        match TcpListener::bind(address).await {
            Ok(listener) => break listener,
            Err(error) => {
                tracing::error!(%service, "load balancers cannot ask for its health: cannot listen on {address}: {error}; trying again");
                tokio::time::sleep(AGAIN).await;
            }
        }
    };
    let bound = listener.local_addr().unwrap_or(address);
    tracing::info!(%service, "its health is told on {bound}");
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let served = Arc::clone(&served);
                tokio::spawn(async move {
                    // Whoever breaks off, or says something else than HTTP, is told nothing.
                    let _ = tokio::time::timeout(LIFE, converse(served, stream)).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%service, "no connection is accepted on {bound}: {error}");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

async fn converse(served: Arc<Served>, stream: TcpStream) -> Result<(), hyper::Error> {
    let service = service_fn(|request: Request<Incoming>| {
        let response = served.respond(&request);
        async move { Ok::<_, Infallible>(response) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

impl Served {
    fn respond<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let (status, mut body) = match *request.method() {
            Method::GET | Method::HEAD | Method::OPTIONS => self.tell(request),
            _ => {
                let why = "only GET, HEAD and OPTIONS: nothing is changed here";
                (StatusCode::METHOD_NOT_ALLOWED, json!({ "why": why }))
            }
        };
        body["node"] = json!(self.node.as_str());
        body["service"] = json!(self.service.as_str());
        // HEAD is cut by the protocol.
        let text = match *request.method() {
            Method::OPTIONS => String::new(),
            _ => format!("{body}\n"),
        };
        let mut response = Response::new(Full::new(Bytes::from(text)));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            header::HeaderValue::from_static("application/json"),
        );
        headers.insert(
            header::CACHE_CONTROL,
            header::HeaderValue::from_static("no-store"),
        );
        headers.insert(
            header::ALLOW,
            header::HeaderValue::from_static("GET, HEAD, OPTIONS"),
        );
        response
    }

    fn tell<B>(&self, request: &Request<B>) -> (StatusCode, serde_json::Value) {
        let uri = request.uri();
        let question = match Question::read(uri.path(), uri.query().unwrap_or_default()) {
            Ok(question) => question,
            Err(Bad::Path) => {
                let why = "there is /primary, /leader, /read-write, /replica, /read-only, /health, /liveness, /readiness";
                return (StatusCode::NOT_FOUND, json!({ "why": why }));
            }
            Err(Bad::Parameter(why)) => return (StatusCode::BAD_REQUEST, json!({ "why": why })),
        };
        // Who keeps the roles must not wait for who answers here.
        let sign = self.signs.borrow().get(&self.service).cloned();
        let sign = sign.as_ref();
        let now = read_clocks();
        let answer = answer(&question, sign, now);
        let mut body = json!({});
        if let Some(sign) = sign {
            body["role"] = json!(sign.side.to_string());
            body["epoch"] = json!(sign.epoch.0);
            if let Some(tenure) = &sign.tenure {
                let age = |tenure: &Tenure| now.longest_since(tenure.renewed()).as_millis();
                body["renewed_ms_ago"] = json!(u64::try_from(age(tenure)).unwrap_or(u64::MAX));
            }
        }
        match answer {
            Ok(()) => (StatusCode::OK, body),
            Err(why) => {
                body["why"] = json!(why);
                (StatusCode::SERVICE_UNAVAILABLE, body)
            }
        }
    }
}
