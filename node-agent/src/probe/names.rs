//! Host names, looked up without ever holding up anything else.
//!
//! The system's resolver blocks and cannot be ended: with a dead name server it returns after a minute or never. It is
//! therefore called on threads that the runtime lends for what blocks, of which attempts, records and secrets need some
//! as well. So only [`SLOTS`] look-ups are ever under way, abandoned ones included: a look-up holds its slot until the
//! resolver returns, however long ago the probe has given up. A probe that gets no slot is *unknown*.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Semaphore;

/// Look-ups at a time: one that hangs leaves room for another name server's.
const SLOTS: usize = 2;

type LookUp = dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// The way to the system's resolver. Clones share its slots.
#[derive(Clone)]
pub struct Names {
    slots: Arc<Semaphore>,
    look_up: Arc<LookUp>,
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names")
            .field("slots", &self.slots)
            .finish_non_exhaustive()
    }
}

impl Default for Names {
    fn default() -> Self {
        Self::with(|name| Ok(name.to_socket_addrs()?.collect()))
    }
}

impl Names {
    fn with(look_up: impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(SLOTS)),
            look_up: Arc::new(look_up),
        }
    }

    /// Connects to `host:port`, of which the name may take three quarters of the limit.
    ///
    /// # Errors
    /// What the target or the system says; [`io::ErrorKind::TimedOut`] if the name is not resolved in time.
    pub(super) async fn connect(&self, target: &str, limit: Duration) -> io::Result<TcpStream> {
        // Tried in the order of the resolver.
        TcpStream::connect(&*self.addresses(target, limit).await?).await
    }

    /// The addresses of `host:port`, of which the name may take three quarters of the limit.
    ///
    /// # Errors
    /// What the system says; [`io::ErrorKind::TimedOut`] if the name is not resolved in time.
    pub(super) async fn addresses(
        &self,
        target: &str,
        limit: Duration,
    ) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = target.parse::<SocketAddr>() {
            return Ok(vec![address]);
        }
        let resolved = tokio::time::timeout(limit * 3 / 4, self.resolve(target)).await;
        let hangs = |_| io::Error::new(io::ErrorKind::TimedOut, "name resolution hangs");
        resolved.map_err(hangs)?
    }

    async fn resolve(&self, target: &str) -> io::Result<Vec<SocketAddr>> {
        let slots = Arc::clone(&self.slots);
        // It is never closed.
        let slot = slots.acquire_owned().await.map_err(io::Error::other)?;
        let (look_up, target) = (Arc::clone(&self.look_up), target.to_owned());
        let looking = tokio::task::spawn_blocking(move || {
            let found = look_up(&target);
            drop(slot);
            found
        });
        looking.await?
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_dead_name_server_leaves_threads_for_everything_else() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(SLOTS + 1)
            .build()
            .unwrap();
        let (answer, never) = mpsc::channel::<()>();
        let never = Mutex::new(never);
        let names = Names::with(move |_| {
            // Ends when the test does.
            let _ = never.lock().unwrap().recv();
            Err(io::ErrorKind::NotFound.into())
        });
        let limit = Duration::from_millis(20);
        runtime.block_on(async {
            for _ in 0..3 * SLOTS {
                let error = names.connect("nowhere.invalid:80", limit).await;
                let error = error.unwrap_err();
                assert_eq!(error.to_string(), "name resolution hangs");
            }
            let other = tokio::task::spawn_blocking(|| 7);
            let other = tokio::time::timeout(Duration::from_secs(60), other).await;
            assert_eq!(other.expect("a thread is free").unwrap(), 7);
        });
        drop(answer);
    }

    #[tokio::test]
    async fn a_name_leads_to_the_address_that_accepts() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let target = format!("localhost:{port}");
        let limit = Duration::from_secs(60);
        Names::default().connect(&target, limit).await.unwrap();
    }
}
