//! Having the store: the key that one process holds, and the lease under it.
//!
//! # Why two coordinators cannot both act
//! `holder` is put only if it is not there, with a lease, and every commit of the process is
//! conditional on its creation revision ([`Guard`]). Whoever holds it next has another creation
//! revision, so a commit of an earlier holder is refused by etcd itself, however late it arrives
//! and whatever that process believes. Clocks play no part: the lease only says when somebody else
//! may try.
//!
//! A holder that cannot renew does not give up by itself. While etcd has no majority nobody can
//! take over; afterwards the guard of its next commit tells whether it still holds. What it sent
//! to agents before was committed before, and a successor's term is above its own (I7).
//!
//! A lease, once ended, does not come back: the process that had it ends, and the next one reads
//! the store from the start.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Client, Compare, CompareOp, PutOptions, Txn, TxnOp, TxnOpResponse};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::super::{Error, Incarnation};
use super::endpoints::{ANSWER, Endpoints, PAUSE};
use super::fault::{Fault, Kind};
use super::layout::{Format, Holder, Layout, Revisions};
use super::open_error::OpenError;
use super::{IfHeld, Options};

/// How often a store that is held by another is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Holding the store.
#[derive(Debug)]
pub(crate) struct Hold {
    pub(crate) incarnation: Incarnation,
    pub(crate) revisions: Revisions,
    pub(crate) lease: i64,
    pub(crate) guard: Guard,
}

/// The state of `holder` that the next commit is conditional on.
#[derive(Debug, Clone)]
pub(crate) struct Guard {
    pub(crate) key: String,
    /// Whose hold: differs from that of every other.
    pub(crate) created: i64,
    /// After which commit: differs from that after every other.
    pub(crate) modified: i64,
    pub(crate) holder: Holder,
    pub(crate) lease: i64,
}

impl Guard {
    /// The conditions.
    pub(crate) fn compares(&self) -> [Compare; 2] {
        let key = self.key.as_str();
        [
            Compare::create_revision(key, CompareOp::Equal, self.created),
            Compare::mod_revision(key, CompareOp::Equal, self.modified),
        ]
    }

    /// The mark of `commit`, to be made in its transaction.
    pub(crate) fn mark(&self, commit: Uuid) -> TxnOp {
        let holder = Holder {
            commit,
            ..self.holder.clone()
        };
        put(&self.key, &holder, self.lease)
    }
}

fn put(key: &str, holder: &Holder, lease: i64) -> TxnOp {
    TxnOp::put(key, json(holder), Some(PutOptions::new().with_lease(lease)))
}

fn json<T: serde::Serialize>(value: &T) -> Vec<u8> {
    // Plain structs of texts: serialising them cannot fail.
    serde_json::to_vec(value).unwrap_or_default()
}

/// Waits until nobody has the store, and takes it; makes it if there is none.
pub(crate) async fn take(
    endpoints: &Endpoints,
    layout: &Layout,
    options: &Options,
) -> Result<Hold, OpenError> {
    let failed = |fault: Fault| OpenError::Store(fault.at(endpoints.place()));
    let own = Holder {
        coordinator: options.coordinator.clone(),
        process: Uuid::new_v4(),
        commit: Uuid::new_v4(),
    };
    let seconds = i64::try_from(options.lease.as_secs()).unwrap_or(i64::MAX);
    let granted = |mut client: Client| async move { client.lease_grant(seconds, None).await };
    let lease = endpoints.call(granted).await.map_err(failed)?.id();
    let mut said = false;
    loop {
        let found = look(endpoints, layout).await.map_err(OpenError::Store)?;
        match found.holder {
            // Taken by an earlier try whose answer was lost.
            Some((created, modified, holder)) if holder.process == own.process => {
                let Some((base, format)) = found.format else {
                    return Err(failed(Fault::nonsense("a held store without a format")));
                };
                let guard = Guard {
                    key: layout.holder.clone(),
                    created,
                    modified,
                    holder,
                    lease,
                };
                let (incarnation, revisions) = (format.incarnation, Revisions { base });
                return Ok(Hold {
                    incarnation,
                    revisions,
                    lease,
                    guard,
                });
            }
            Some((_, _, other)) => {
                if options.if_held == IfHeld::Refuse {
                    revoke(endpoints, lease).await;
                    return Err(OpenError::Held {
                        place: endpoints.place().to_owned(),
                        holder: other.coordinator,
                    });
                }
                if !said {
                    tracing::info!(place = %endpoints.place(), holder = %other.coordinator, "waiting for the store, which another process has; if that one was killed, its lease ends soon");
                    said = true;
                }
                sleep(LOOK).await;
                // The own lease has to outlive the wait. One that ended is found below.
                let renewed =
                    |mut client: Client| async move { client.lease_keep_alive(lease).await };
                if let Err(fault) = endpoints.once(renewed).await
                    && fault.kind() == Kind::NoLease
                {
                    return Err(failed(fault));
                }
            }
            None => match try_take(endpoints, layout, &own, lease, found.format.is_none()).await {
                Ok(()) => {}
                Err(fault) if fault.kind() == Kind::Unavailable => sleep(PAUSE).await,
                Err(fault) => return Err(failed(fault)),
            },
        }
    }
}

/// Tries to take a store that nobody has. Whether it worked is seen by looking again: that is right
/// also when the answer is lost.
async fn try_take(
    endpoints: &Endpoints,
    layout: &Layout,
    own: &Holder,
    lease: i64,
    is_new: bool,
) -> Result<(), Fault> {
    let mut conditions = vec![Compare::create_revision(
        layout.holder.as_str(),
        CompareOp::Equal,
        0,
    )];
    let mut writes = vec![put(&layout.holder, own, lease)];
    if is_new {
        let format = Format {
            incarnation: Incarnation(Uuid::new_v4()),
        };
        let key = layout.format.as_str();
        conditions.push(Compare::create_revision(key, CompareOp::Equal, 0));
        writes.push(TxnOp::put(key, json(&format), None));
    }
    let txn = Txn::new().when(conditions).and_then(writes);
    let send = |mut client: Client| async move { client.txn(txn).await };
    endpoints.once(send).await.map(drop)
}

/// What is there.
struct Found {
    /// Creation, modification, content.
    holder: Option<(i64, i64, Holder)>,
    /// Creation, content.
    format: Option<(i64, Format)>,
}

async fn look(endpoints: &Endpoints, layout: &Layout) -> Result<Found, Error> {
    let both = Txn::new().and_then([
        TxnOp::get(layout.holder.as_str(), None),
        TxnOp::get(layout.format.as_str(), None),
    ]);
    let ask = |mut client: Client| {
        let both = both.clone();
        async move { client.txn(both).await }
    };
    let mut found = Found {
        holder: None,
        format: None,
    };
    for answer in endpoints.read(ask).await?.op_responses() {
        let TxnOpResponse::Get(answer) = answer else {
            continue;
        };
        for entry in answer.kvs() {
            let not_ours = |source: serde_json::Error| Error::Damaged {
                place: endpoints.place().to_owned(),
                source: Arc::new(source),
            };
            if entry.key() == layout.holder.as_bytes() {
                let holder = serde_json::from_slice(entry.value()).map_err(not_ours)?;
                found.holder = Some((entry.create_revision(), entry.mod_revision(), holder));
            } else {
                let format = serde_json::from_slice(entry.value()).map_err(not_ours)?;
                found.format = Some((entry.create_revision(), format));
            }
        }
    }
    Ok(found)
}

/// Renews the lease until it is gone, or until `ended`. Sets `ended` when it is gone.
pub(crate) async fn keep(
    endpoints: Arc<Endpoints>,
    lease: i64,
    life: Duration,
    ended: CancellationToken,
) {
    let mut tick = interval(life / 4);
    // A short life leaves no time to wait long for one endpoint.
    let patience = ANSWER.min(life / 4);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stream = None;
    let mut failing = None;
    let renewing = async {
        loop {
            tick.tick().await;
            match renew(&endpoints, lease, patience, &mut stream).await {
                Ok(()) => {
                    if failing.take().is_some() {
                        tracing::info!(place = %endpoints.place(), "the lease on the store is renewed again");
                    }
                }
                Err(fault) if fault.kind() == Kind::NoLease => {
                    tracing::error!(place = %endpoints.place(), "the lease on the store has ended");
                    return;
                }
                Err(fault) => {
                    stream = None;
                    let since = *failing.get_or_insert_with(Instant::now);
                    tracing::warn!(place = %endpoints.place(), seconds = since.elapsed().as_secs(), reason = ?fault, "the lease on the store is not renewed");
                    // At the next endpoint at once: a life has few ticks.
                    tick.reset_after(PAUSE);
                }
            }
        }
    };
    tokio::select! {
        () = renewing => ended.cancel(),
        () = ended.cancelled() => {}
    }
}

type Stream = (
    usize,
    etcd_client::LeaseKeeper,
    etcd_client::LeaseKeepAliveStream,
);

async fn renew(
    endpoints: &Endpoints,
    lease: i64,
    patience: Duration,
    stream: &mut Option<Stream>,
) -> Result<(), Fault> {
    let Some((index, keeper, answers)) = stream else {
        let (index, mut client) = endpoints.stream().await?;
        // The first renewal comes with the stream.
        let begun = timeout(patience, client.lease_keep_alive(lease)).await;
        return match begun {
            Ok(Ok((keeper, answers))) => {
                *stream = Some((index, keeper, answers));
                Ok(())
            }
            Ok(Err(error)) => Err(failed(endpoints, index, Some(&error)).await),
            Err(_) => Err(failed(endpoints, index, None).await),
        };
    };
    let answer = timeout(patience, async {
        keeper.keep_alive().await?;
        answers.message().await
    });
    let index = *index;
    match answer.await {
        Ok(Ok(Some(answer))) if answer.ttl() > 0 => Ok(()),
        Ok(Ok(Some(_))) => {
            let gone = etcd_client::Error::LeaseKeepAliveError("lease not found".to_owned());
            Err(endpoints.fault(index, &gone))
        }
        Ok(Ok(None)) | Err(_) => Err(failed(endpoints, index, None).await),
        Ok(Err(error)) => Err(failed(endpoints, index, Some(&error)).await),
    }
}

async fn failed(endpoints: &Endpoints, index: usize, error: Option<&etcd_client::Error>) -> Fault {
    let fault = match error {
        Some(error) => endpoints.fault(index, error),
        None => endpoints.late(index),
    };
    if fault.is_of_the_endpoint() {
        endpoints.leave(index, &fault).await;
    }
    fault
}

/// Gives the lease back, so that the next holder need not wait. It ends by itself otherwise.
pub(crate) async fn revoke(endpoints: &Endpoints, lease: i64) {
    let revoke = |mut client: Client| async move { client.lease_revoke(lease).await };
    if let Err(fault) = endpoints.once(revoke).await {
        tracing::debug!(reason = ?fault, "the lease was not given back");
    }
}
