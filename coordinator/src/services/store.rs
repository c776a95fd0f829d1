//! `StoreService`: taking a store along.
//!
//! An import is one batch of writes of the driver: the mark that it has begun, the entries, the ancestors, and the
//! removal of the mark, in that order. A store takes it in several transactions and in order, so one that is broken off
//! leaves the mark, and the next start empties the store. When all is durable the engine is made anew from the store,
//! as at a start.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, StreamExt, stream};
use interlock_engine::coordinator::{
    ACTIVITY, BLOCKS, BY_HAND, COUNTED, Coordinator, EVENTS, FORGOTTEN, LET_GO, MAINTENANCE,
    OPERATIONS, OUTRUN, SPECS, UNHEARD, VERIFIED, Write,
};
use interlock_model::ids::{Generation, Term};
use interlock_proto::v1;
use interlock_proto::v1::store_chunk::Part;
use interlock_proto::v1::store_service_server::StoreService;
use sha2::{Digest as _, Sha256};
use tonic::{Request, Response, Status, Streaming};
use tracing::info;

use super::Caller;
use crate::clock;
use crate::driver::{Desk, Handle, highest_term, import_marks, is_portable, load};
use crate::leases::{LEASES, WHY};
use crate::store::{Entry, Incarnation, Prefix, Store};

/// What is taken along: everything but leadership. Leases too: that their records are of another store is told by the
/// incarnation in them, and nothing is decided by them until all members have spoken (safety rule E11).
pub(crate) const PORTABLE: &[&str] = &[
    ACTIVITY,
    BLOCKS,
    BY_HAND,
    COUNTED,
    EVENTS,
    FORGOTTEN,
    LEASES,
    LET_GO,
    MAINTENANCE,
    OPERATIONS,
    OUTRUN,
    SPECS,
    UNHEARD,
    VERIFIED,
    WHY,
];

/// The format of an export that this program writes, and the only one that it reads.
const FORMAT: u32 = 1;

/// Entries of about this size go into one message.
const MESSAGE: usize = 512 * 1024;

/// Most bytes of one import; it is held in memory once.
const MOST: usize = 256 * 1024 * 1024;

/// Serves `StoreService`.
#[derive(Debug, Clone)]
pub struct Stores {
    driver: Handle,
    store: Arc<dyn Store>,
    cluster: String,
}

impl Stores {
    /// The service over this driver and its store, of this cluster.
    #[must_use]
    pub fn new(driver: Handle, store: Arc<dyn Store>, cluster: String) -> Self {
        Self {
            driver,
            store,
            cluster,
        }
    }

    /// All messages of an export.
    async fn parts(&self) -> Result<Vec<Part>, Status> {
        let unavailable =
            |error: &dyn std::error::Error| Status::unavailable(crate::driver::chain(error));
        let term = highest_term(&*self.store)
            .await
            .map_err(|error| unavailable(&error))?;
        let all = Prefix::root();
        let snapshot = self.store.snapshot(&all).await;
        let snapshot = snapshot.map_err(|error| unavailable(&error))?;
        let lineage = self
            .driver
            .call(|desk| (desk.name.clone(), desk.lineage.clone()));
        let (coordinator, lineage) = lineage.await?;
        let mut parts = vec![Part::Header(v1::StoreHeader {
            format: FORMAT,
            cluster: self.cluster.clone(),
            coordinator,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            at_ms: clock::now().wall.0,
            incarnation: lineage.own().to_owned(),
            ancestors: lineage.ancestors().map(str::to_owned).collect(),
            term: term.0,
            revision: snapshot.revision.0,
        })];
        let mut digest = Sha256::new();
        let mut count = 0;
        let mut batch = v1::StoreEntries::default();
        let mut bytes = 0;
        for Entry { key, value, .. } in snapshot.entries {
            let portable = is_portable(key.as_str(), PORTABLE);
            if !portable.map_err(|error| Status::internal(error.to_string()))? {
                continue;
            }
            add(&mut digest, key.as_str(), &value);
            count += 1;
            bytes += key.as_str().len() + value.len();
            batch.entries.push(v1::StoreEntry {
                key: key.to_string(),
                value: value.to_vec(),
            });
            if bytes > MESSAGE {
                parts.push(Part::Entries(std::mem::take(&mut batch)));
                bytes = 0;
            }
        }
        parts.push(Part::Entries(batch));
        parts.push(Part::End(v1::StoreEnd {
            entries: count,
            sha256: digest.finalize().to_vec(),
        }));
        Ok(parts)
    }
}

fn add(digest: &mut Sha256, key: &str, value: &[u8]) {
    for bytes in [key.as_bytes(), value] {
        digest.update((bytes.len() as u64).to_be_bytes());
        digest.update(bytes);
    }
}

/// A whole export, checked.
#[derive(Debug)]
struct Import {
    header: v1::StoreHeader,
    entries: Vec<v1::StoreEntry>,
}

impl Import {
    async fn receive(mut chunks: Streaming<v1::StoreChunk>, cluster: &str) -> Result<Self, Status> {
        let cut_short = || Status::data_loss("the export is cut short: make it anew");
        let mut next = async || -> Result<Part, Status> {
            let chunk = chunks.next().await.ok_or_else(cut_short)??;
            chunk.part.ok_or_else(cut_short)
        };
        let Part::Header(header) = next().await? else {
            return Err(Status::invalid_argument("this is no export of a store"));
        };
        if header.format != FORMAT {
            return Err(Status::invalid_argument(format!(
                "the export has format {}, this coordinator reads {FORMAT}: use the version that made it",
                header.format
            )));
        }
        if header.cluster != cluster {
            return Err(Status::invalid_argument(format!(
                "the export is of the cluster {}, this coordinator is of {cluster}",
                header.cluster
            )));
        }
        let mut digest = Sha256::new();
        let mut bytes = 0;
        let mut entries = Vec::new();
        loop {
            match next().await? {
                Part::Entries(batch) => {
                    for entry in batch.entries {
                        bytes += entry.key.len() + entry.value.len();
                        if bytes > MOST {
                            return Err(Status::resource_exhausted(
                                "the export is larger than 256 MiB",
                            ));
                        }
                        if !is_portable(&entry.key, PORTABLE).unwrap_or(false) {
                            return Err(Status::invalid_argument(format!(
                                "the export has an entry {:?}, which no coordinator exports",
                                entry.key
                            )));
                        }
                        add(&mut digest, &entry.key, &entry.value);
                        entries.push(entry);
                    }
                }
                Part::End(end) => {
                    let whole = end.entries == entries.len() as u64
                        && end.sha256 == digest.finalize().as_slice();
                    return if whole {
                        Ok(Self { header, entries })
                    } else {
                        Err(Status::data_loss("the export was altered: make it anew"))
                    };
                }
                Part::Header(_) => {
                    return Err(Status::invalid_argument("the export has two beginnings"));
                }
            }
        }
    }
}

/// Wants the import written, if the store is empty.
fn begin(desk: &mut Desk, import: Import) -> Result<(), Status> {
    let used = desk.coordinator.generation() != Generation(0)
        || desk.coordinator.operations().next().is_some();
    if used {
        return Err(Status::failed_precondition(
            "this coordinator's store is in use: an import fills only an empty one. Stop the coordinator, give it another \
             prefix or move its file away, and start it",
        ));
    }
    let (begun, done) = import_marks();
    let mut lineage = desk.lineage.clone();
    let ancestors = import
        .header
        .ancestors
        .into_iter()
        .chain([import.header.incarnation]);
    let succeeded = lineage.succeed(ancestors);
    let entries = import.entries.into_iter().map(|entry| Write {
        key: entry.key,
        value: Some(entry.value),
    });
    desk.write([begun]);
    desk.write(entries);
    desk.write([succeeded, done]);
    Ok(())
}

#[tonic::async_trait]
impl StoreService for Stores {
    type ExportStoreStream = Pin<Box<dyn Stream<Item = Result<v1::StoreChunk, Status>> + Send>>;

    async fn export_store(
        &self,
        request: Request<v1::ExportStoreRequest>,
    ) -> Result<Response<Self::ExportStoreStream>, Status> {
        let caller = Caller::of(&request)?;
        let parts = self.parts().await?;
        info!(by = caller.name, "the store is exported");
        let chunks = parts
            .into_iter()
            .map(|part| Ok(v1::StoreChunk { part: Some(part) }));
        Ok(Response::new(Box::pin(stream::iter(chunks))))
    }

    async fn import_store(
        &self,
        request: Request<Streaming<v1::StoreChunk>>,
    ) -> Result<Response<v1::ImportStoreResponse>, Status> {
        let caller = Caller::of(&request)?;
        self.driver.can_write()?;
        let import = Import::receive(request.into_inner(), &self.cluster).await?;
        let (from, entries) = (
            import.header.incarnation.clone(),
            import.entries.len() as u64,
        );
        let seen = Term(import.header.term);
        self.driver.call(move |desk| begin(desk, import)).await??;
        // All of it is durable. From here on it is as at a start.
        let failed = |error: &dyn std::error::Error| {
            Status::internal(format!(
                "{}: restart the coordinator",
                crate::driver::chain(error)
            ))
        };
        let lineage = crate::driver::Lineage::load(&*self.store).await;
        let lineage = lineage.map_err(|error| failed(&error))?;
        let loaded = load(&*self.store).await.map_err(|error| failed(&error))?;
        let text = format!("{entries} entries of the store {from}");
        let by = caller.name;
        let taken_over = self.driver.call(move |desk| {
            let coordinator = Coordinator::recover(desk.coordinator.term(), loaded)?;
            desk.lineage = lineage;
            desk.take_over(coordinator, seen);
            desk.coordinator
                .event("store-imported", clock::now(), |event| {
                    event.who = by;
                    event.text = text;
                });
            Ok::<String, interlock_engine::operation::Corrupt>(desk.incarnation.clone())
        });
        let incarnation = taken_over.await?.map_err(|error| failed(&error))?;
        info!(from, entries, "a store was imported");
        Ok(Response::new(v1::ImportStoreResponse {
            entries,
            incarnation,
            from,
        }))
    }

    async fn adopt_agents(
        &self,
        request: Request<v1::AdoptAgentsRequest>,
    ) -> Result<Response<v1::AdoptAgentsResponse>, Status> {
        let caller = Caller::of(&request)?;
        let v1::AdoptAgentsRequest {
            incarnation,
            reason,
        } = request.into_inner();
        if incarnation.trim().is_empty() || reason.trim().is_empty() {
            return Err(Status::invalid_argument(
                "name the incarnation that the agents remember, and why its store is gone for good",
            ));
        }
        let incarnation: Incarnation = incarnation.trim().parse().map_err(|_| {
            Status::invalid_argument(format!(
                "{incarnation:?} is not what a store is called, as in 123e4567-e89b-12d3-a456-426614174000: copy it from \
                 the log of an agent that refuses this store"
            ))
        })?;
        self.driver
            .begin(move |desk| {
                let write = desk.lineage.succeed([incarnation.to_string()]);
                desk.write([write]);
                desk.coordinator
                    .event("agents-adopted", clock::now(), |event| {
                        event.who = caller.name;
                        event.text = format!("from the store {incarnation}: {}", reason.trim());
                    });
            })
            .await?;
        Ok(Response::new(v1::AdoptAgentsResponse {}))
    }
}
