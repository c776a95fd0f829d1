//! A real etcd of one member, on loopback and with TLS in both directions: the store of a coordinator under
//! measurement, and the floor of what is written to it.
//!
//! What is asked of it here is asked by a client that is not the coordinator's: how many revisions there are, what each
//! wrote, how large the file is. So a count has everything in it that the coordinator wrote, its own hold of the store
//! included, and nothing that only its code believes.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::ops::AddAssign;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use etcd_client::{
    Certificate, Client, CompactionOptions, Compare, CompareOp, ConnectOptions, GetOptions,
    Identity, TlsOptions, Txn, TxnOp, WatchOptions,
};
use interlock_mesh::credentials::Files;
use tokio::process::{Child, Command};

use crate::cluster::{MESSAGE, PATIENCE, Site};

/// Where a coordinator keeps what it has of operations: `/interlock/<cluster>/v1/data/operation/<number>/...`.
const OPERATIONS: &str = "/interlock/bench/v1/data/operation/";

/// How often other ports are tried: somebody else may take a free one before etcd does.
const TRIES: usize = 5;

/// How often is looked whether it is there.
const LOOK: Duration = Duration::from_millis(50);

/// What was written between two revisions.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Written {
    /// Transactions that changed something.
    pub(crate) transactions: usize,
    /// Keys that they put or deleted.
    pub(crate) writes: usize,
    /// Bytes of these keys and their values.
    pub(crate) bytes: usize,
}

impl AddAssign for Written {
    fn add_assign(&mut self, more: Self) {
        self.transactions += more.transactions;
        self.writes += more.writes;
        self.bytes += more.bytes;
    }
}

/// How large the state is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// Bytes of the file while the history is forgotten and its pages wait to be used again.
    pub(crate) file: f64,
    /// Bytes of the file when it has been defragmented: what is kept, and nothing else.
    pub(crate) state: f64,
}

/// A running etcd; it ends with this value.
#[derive(Debug)]
pub(crate) struct Etcd {
    child: Child,
    url: String,
    files: Files,
    /// How many transactions the floor has committed: each has keys of its own.
    floor: u64,
}

impl Etcd {
    /// Starts one below the site's directory, with certificates of its authority.
    pub(crate) async fn start(program: &Path, site: &Site) -> Result<Self> {
        for attempt in 0..TRIES {
            if let Some(etcd) = Self::attempt(program, site, attempt).await? {
                return Ok(etcd);
            }
        }
        let log = std::fs::read_to_string(site.path().join("etcd.log")).unwrap_or_default();
        let last = log.lines().last().unwrap_or_default();
        bail!("{} does not start: {last}", program.display())
    }

    /// None if it ends instead of serving.
    async fn attempt(program: &Path, site: &Site, attempt: usize) -> Result<Option<Self>> {
        let files = site.issue("coordinator/etcd")?;
        let (client, peer) = free_ports()?;
        let url = format!("https://{client}");
        // One member: nobody else speaks to this.
        let peer = format!("http://{peer}");
        let log = std::fs::File::create(site.path().join("etcd.log"))?;
        let child = Command::new(program)
            .args(["--name", "etcd"])
            .arg("--data-dir")
            .arg(site.path().join(format!("etcd{attempt}.data")))
            .args(["--listen-client-urls", &url])
            .args(["--advertise-client-urls", &url])
            .args(["--listen-peer-urls", &peer])
            .args(["--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("etcd={peer}")])
            .arg("--trusted-ca-file")
            .arg(&files.authority)
            .arg("--cert-file")
            .arg(&files.certificate)
            .arg("--key-file")
            .arg(&files.key)
            .arg("--client-cert-auth")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let mut etcd = Self {
            child,
            url,
            files,
            floor: 0,
        };
        let give_up = Instant::now() + PATIENCE;
        while etcd.child.try_wait()?.is_none() {
            let served = async { etcd.client().await?.status().await.map_err(Into::into) };
            let served: Result<_> = served.await;
            match served {
                Ok(_) => return Ok(Some(etcd)),
                Err(error) if Instant::now() > give_up => {
                    return Err(error.context("etcd does not serve"));
                }
                Err(_) => tokio::time::sleep(LOOK).await,
            }
        }
        Ok(None)
    }

    /// The section of a coordinator's configuration that names it.
    pub(crate) fn section(&self) -> String {
        format!(
            "[store.etcd]\nendpoints = [{:?}]\nca = {:?}\ncert = {:?}\nkey = {:?}\n",
            self.url, self.files.authority, self.files.certificate, self.files.key,
        )
    }

    /// A connection of its own.
    pub(crate) async fn client(&self) -> Result<Client> {
        let tls = TlsOptions::new()
            .ca_certificate(Certificate::from_pem(std::fs::read(&self.files.authority)?))
            .identity(Identity::from_pem(
                std::fs::read(&self.files.certificate)?,
                std::fs::read(&self.files.key)?,
            ));
        let options = ConnectOptions::new().with_tls(tls);
        Ok(Client::connect([&self.url], Some(options)).await?)
    }

    /// The last revision: the number of all transactions so far that changed something.
    pub(crate) async fn revision(&self) -> Result<i64> {
        let status = self.client().await?.status().await?;
        let header = status.header().context("an answer without header")?;
        Ok(header.revision())
    }

    /// What was written after one revision and up to another, read from etcd's own history.
    pub(crate) async fn written(&self, after: i64, until: i64) -> Result<Written> {
        ensure!(after < until, "nothing was written after revision {after}");
        let options = WatchOptions::new()
            .with_all_keys()
            .with_start_revision(after + 1);
        let client = self.client().await?.watch_client();
        let mut stream = client
            .max_decoding_message_size(MESSAGE)
            .watch("", Some(options))
            .await?;
        let mut written = Written::default();
        let mut revisions = BTreeSet::new();
        let read = async {
            while !revisions.contains(&until) {
                let message = stream.message().await?.context("the watch has ended")?;
                ensure!(
                    !message.canceled(),
                    "the watch is cancelled: {}",
                    message.cancel_reason()
                );
                for pair in message.events().iter().filter_map(etcd_client::Event::kv) {
                    if pair.mod_revision() <= until {
                        revisions.insert(pair.mod_revision());
                        written.writes += 1;
                        written.bytes += pair.key().len() + pair.value().len();
                    }
                }
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(PATIENCE, read)
            .await
            .context("etcd does not tell what was written")??;
        written.transactions = revisions.len();
        Ok(written)
    }

    /// The time of one transaction with so many writes of so many bytes together, under one condition as a holder's are.
    pub(crate) async fn commit(
        &mut self,
        client: &mut Client,
        writes: usize,
        bytes: usize,
    ) -> Result<Duration> {
        self.floor += 1;
        let value = vec![7; bytes / writes.max(1)];
        let puts: Vec<TxnOp> = (0..writes)
            .map(|write| {
                TxnOp::put(
                    format!("/floor/{}/{write}", self.floor),
                    value.clone(),
                    None,
                )
            })
            .collect();
        let absent = Compare::create_revision("/floor/holder", CompareOp::Equal, 0);
        let transaction = Txn::new().when([absent]).and_then(puts);
        let begin = Instant::now();
        let answer = client.txn(transaction).await?;
        let took = begin.elapsed();
        ensure!(answer.succeeded(), "the floor's transaction is refused");
        Ok(took)
    }

    /// Waits until at most so many operations are kept.
    pub(crate) async fn keeps(&self, operations: usize) -> Result<()> {
        let mut client = self.client().await?;
        let look = async {
            loop {
                let options = GetOptions::new().with_prefix().with_keys_only();
                let found = client.get(OPERATIONS, Some(options)).await?;
                let numbers: BTreeSet<&[u8]> = found
                    .kvs()
                    .iter()
                    .filter_map(|pair| {
                        pair.key()
                            .get(OPERATIONS.len()..)?
                            .split(|byte| *byte == b'/')
                            .next()
                    })
                    .collect();
                ensure!(
                    !numbers.is_empty(),
                    "there is no operation below {OPERATIONS}"
                );
                if numbers.len() <= operations {
                    return Ok(());
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(PATIENCE, look)
            .await
            .context("old operations are not let go")?
    }

    /// Forgets the history, as a coordinator does after five minutes, and says how large what is left is.
    pub(crate) async fn size(&self) -> Result<Size> {
        let revision = self.revision().await?;
        let mut client = self.client().await?;
        let physical = CompactionOptions::new().with_physical();
        client.compact(revision, Some(physical)).await?;
        let file = client.status().await?.db_size() as f64;
        client.defragment().await?;
        let state = client.status().await?.db_size() as f64;
        Ok(Size { file, state })
    }
}

/// Two that nobody uses now.
fn free_ports() -> Result<(SocketAddr, SocketAddr)> {
    // Held until both are chosen, so that they differ.
    let (one, other) = (
        TcpListener::bind("127.0.0.1:0")?,
        TcpListener::bind("127.0.0.1:0")?,
    );
    Ok((one.local_addr()?, other.local_addr()?))
}
