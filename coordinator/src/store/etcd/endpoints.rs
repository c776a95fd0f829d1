//! The way to etcd: several endpoints, one in use.
//!
//! Calls go to the endpoint in use until it fails or is late; then the next one is in use, for
//! everybody. A member that is stopped, cut off or slow therefore costs one time limit, not one
//! for every so many calls as when calls are spread over all. A connection that failed is dropped,
//! and the next one is made with certificates, key and password read anew, so renewed files are
//! taken up. Tokens that expired are renewed by the client within the call.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use etcd_client::{Certificate, Client, ConnectOptions, Identity, TlsOptions};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

use super::super::Error;
use super::fault::{Fault, Kind};

/// How long one endpoint has for one answer. etcd answers in milliseconds; a member whose disk
/// needs this long is to be left.
pub(crate) const ANSWER: Duration = Duration::from_secs(2);

/// How long a call goes on trying endpoints: two rounds of three dead ones, and longer than an
/// election (measured: 1.1 to 1.6 s with etcd's defaults).
pub(crate) const CALL: Duration = Duration::from_secs(12);

/// Between two tries, so that servers without a leader are not asked in a tight loop.
pub(crate) const PAUSE: Duration = Duration::from_millis(100);

/// HTTP/2 pings on a connection. etcd ends connections that ping more often than every 5 s
/// (`--grpc-keepalive-min-time`).
const PING: Duration = Duration::from_secs(6);

/// Where etcd is, and how to get in.
#[derive(Debug, Clone)]
pub struct Access {
    /// The members' client URLs, `https://host:port`. There is no access without TLS.
    pub endpoints: Vec<String>,
    /// The authority that signed the members' certificates.
    pub ca: PathBuf,
    /// The coordinator's certificate as etcd's client.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// User and password, where etcd has authentication on and does not take the certificate's name.
    pub login: Option<Login>,
}

/// A user of etcd.
#[derive(Debug, Clone)]
pub struct Login {
    /// The name.
    pub user: String,
    /// The file with the password; white space around it does not count.
    pub password_file: PathBuf,
}

/// The endpoints of one etcd.
pub(crate) struct Endpoints {
    access: Access,
    place: String,
    current: AtomicUsize,
    clients: Vec<Mutex<Option<Client>>>,
}

impl fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoints")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

impl Endpoints {
    pub(crate) fn new(access: Access) -> Self {
        let hosts: Vec<&str> = access
            .endpoints
            .iter()
            .map(|url| url.strip_prefix("https://").unwrap_or(url))
            .collect();
        Self {
            place: format!("etcd at {}", hosts.join(", ")),
            current: AtomicUsize::new(0),
            clients: access.endpoints.iter().map(|_| Mutex::default()).collect(),
            access,
        }
    }

    /// The endpoints as an operator knows them.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// One call to the endpoint in use, which is left if the call fails there.
    pub(crate) async fn once<T, F>(&self, call: impl FnOnce(Client) -> F) -> Result<T, Fault>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        let index = self.current.load(Ordering::Relaxed);
        let url = &self.access.endpoints[index];
        let answer = timeout(ANSWER, async {
            let client = self.client(index).await?;
            call(client).await.map_err(|error| Fault::of(url, &error))
        });
        let fault = match answer.await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(fault)) => fault,
            Err(_) => Fault::late(url),
        };
        if fault.is_of_the_endpoint() {
            self.leave(index, &fault).await;
        }
        Err(fault)
    }

    /// How often a call that is refused is sent again: once to each endpoint. A token that ended with its user's old password
    /// is refused where the new password is let in at once.
    pub(crate) fn refusals(&self) -> usize {
        self.clients.len()
    }

    /// A call that may be repeated, at one endpoint after the other.
    pub(crate) async fn call<T, F>(&self, call: impl Fn(Client) -> F) -> Result<T, Fault>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        let give_up = Instant::now() + CALL;
        let mut refusals = self.refusals();
        loop {
            let fault = match self.once(&call).await {
                Ok(answer) => return Ok(answer),
                Err(fault) => fault,
            };
            match fault.kind() {
                Kind::Unavailable if Instant::now() < give_up => {}
                Kind::Refused if refusals > 0 => refusals -= 1,
                _ => return Err(fault),
            }
            sleep(PAUSE).await;
        }
    }

    /// As [`call`](Self::call), for the store's caller.
    pub(crate) async fn read<T, F>(&self, call: impl Fn(Client) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        self.call(call).await.map_err(|fault| fault.at(&self.place))
    }

    /// The endpoint in use, for a stream that lives longer than a call. Give the number back to
    /// [`leave`](Self::leave) when the stream fails.
    pub(crate) async fn stream(&self) -> Result<(usize, Client), Fault> {
        let index = self.current.load(Ordering::Relaxed);
        match timeout(ANSWER, self.client(index)).await {
            Ok(Ok(client)) => Ok((index, client)),
            Ok(Err(fault)) => {
                self.leave(index, &fault).await;
                Err(fault)
            }
            Err(_) => {
                let fault = Fault::late(&self.access.endpoints[index]);
                self.leave(index, &fault).await;
                Err(fault)
            }
        }
    }

    /// What a stream from this endpoint failed with.
    pub(crate) fn fault(&self, index: usize, error: &etcd_client::Error) -> Fault {
        Fault::of(&self.access.endpoints[index], error)
    }

    /// A stream from this endpoint has said nothing for too long, or ended.
    pub(crate) fn late(&self, index: usize) -> Fault {
        Fault::late(&self.access.endpoints[index])
    }

    /// From now on the next endpoint, unless somebody else has turned already.
    pub(crate) async fn leave(&self, index: usize, fault: &Fault) {
        let next = (index + 1) % self.clients.len();
        let turned =
            self.current
                .compare_exchange(index, next, Ordering::Relaxed, Ordering::Relaxed);
        if turned.is_ok() {
            tracing::debug!(from = self.access.endpoints[index], reason = ?fault, "leaving an etcd endpoint");
        }
        // Not waited for: whoever holds the lock is making a new connection.
        if let Ok(mut client) = self.clients[index].try_lock() {
            *client = None;
        }
    }

    async fn client(&self, index: usize) -> Result<Client, Fault> {
        let mut slot = self.clients[index].lock().await;
        if let Some(client) = &*slot {
            return Ok(client.clone());
        }
        let url = &self.access.endpoints[index];
        let options = self.options().await?;
        // This connects at the first call only, or here, to log in.
        let client = Client::connect([url], Some(options))
            .await
            .map_err(|error| Fault::of(url, &error))?;
        *slot = Some(client.clone());
        Ok(client)
    }

    async fn options(&self) -> Result<ConnectOptions, Fault> {
        let Access {
            ca,
            cert,
            key,
            login,
            ..
        } = &self.access;
        let tls = TlsOptions::new()
            .ca_certificate(Certificate::from_pem(file(ca).await?))
            .identity(Identity::from_pem(file(cert).await?, file(key).await?));
        let mut options = ConnectOptions::new()
            .with_tls(tls)
            .with_connect_timeout(ANSWER)
            .with_keep_alive(PING, ANSWER)
            // A member without a leader says so at once instead of keeping watches silent.
            .with_require_leader(true);
        if let Some(login) = login {
            let password = file(&login.password_file).await?;
            let password = String::from_utf8_lossy(&password).trim().to_owned();
            options = options
                .with_user(login.user.clone(), password)
                .with_auto_token_refresh(true);
        }
        Ok(options)
    }
}

async fn file(path: &Path) -> Result<Vec<u8>, Fault> {
    tokio::fs::read(path)
        .await
        .map_err(|error| Fault::file(path, &error))
}
