//! Counting what an agent says: a relay in front of the coordinator.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A relay that runs until this value is dropped.
#[derive(Debug)]
pub(crate) struct Relay {
    /// What to connect to.
    pub(crate) address: SocketAddr,
    bytes: Arc<AtomicU64>,
    _task: JoinSet<()>,
}

impl Relay {
    /// A relay to `to`.
    pub(crate) async fn start(to: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let bytes = Arc::new(AtomicU64::new(0));
        let mut task = JoinSet::new();
        let counter = Arc::clone(&bytes);
        task.spawn(async move {
            let mut copies = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = TcpStream::connect(to).await else {
                    continue;
                };
                let (near_read, near_write) = near.into_split();
                let (far_read, far_write) = far.into_split();
                copies.spawn(copy(near_read, far_write, Arc::clone(&counter)));
                copies.spawn(copy(far_read, near_write, Arc::default()));
            }
        });
        Ok(Self {
            address,
            bytes,
            _task: task,
        })
    }

    /// What was said to the coordinator so far: TCP's payload, TLS included.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// Copies until either side ends.
async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, count: Arc<AtomicU64>) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        count.fetch_add(read as u64, Ordering::Relaxed);
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
