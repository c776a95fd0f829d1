//! `EventService`: what happened, and who did what.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use interlock_engine::coordinator::{EVENTS, Event};
use interlock_model::lease::Epoch;
use interlock_model::names::ServiceName;
use interlock_proto::v1;
use interlock_proto::v1::event_service_server::EventService;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::{next_change, render};
use crate::driver::{Handle, read_json};
use crate::leases::decisions;
use crate::store::{Key, PageRequest, Prefix, Store};

/// Serves `EventService`.
#[derive(Debug, Clone)]
pub struct Events {
    driver: Handle,
    store: Arc<dyn Store>,
}

impl Events {
    /// The service over this driver and its store.
    #[must_use]
    pub fn new(driver: Handle, store: Arc<dyn Store>) -> Self {
        Self { driver, store }
    }

    async fn page(&self, after: u64, limit: usize) -> Result<(Vec<v1::Event>, bool), Status> {
        let internal = |error: &dyn std::error::Error| Status::internal(error.to_string());
        let prefix = Prefix::new(EVENTS).map_err(|error| internal(&error))?;
        let from = Key::new(format!("{EVENTS}/{after:015}")).map_err(|error| internal(&error))?;
        let page = self
            .store
            .range(
                &prefix,
                PageRequest {
                    after: Some(&from),
                    limit,
                },
            )
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?;
        let mut events = Vec::with_capacity(page.entries.len());
        for entry in &page.entries {
            let event: Event =
                read_json(&entry.key, &entry.value).map_err(|error| internal(&error))?;
            events.push(render::event(event));
        }
        Ok((events, page.more))
    }

    async fn last(&self) -> Result<u64, Status> {
        Ok(self
            .driver
            .call(|desk| desk.coordinator.last_event())
            .await?)
    }
}

#[tonic::async_trait]
impl EventService for Events {
    async fn list_events(
        &self,
        request: Request<v1::ListEventsRequest>,
    ) -> Result<Response<v1::ListEventsResponse>, Status> {
        let request = request.into_inner();
        let limit = if request.limit == 0 {
            200
        } else {
            request.limit.min(1000)
        };
        let after = if request.tail {
            self.last().await?.saturating_sub(u64::from(limit))
        } else {
            request.after
        };
        let (events, more) = self.page(after, limit as usize).await?;
        Ok(Response::new(v1::ListEventsResponse { events, more }))
    }

    async fn list_decisions(
        &self,
        request: Request<v1::ListDecisionsRequest>,
    ) -> Result<Response<v1::ListDecisionsResponse>, Status> {
        let request = request.into_inner();
        let service: ServiceName = request
            .service
            .parse()
            .map_err(|error| Status::invalid_argument(format!("service: {error}")))?;
        let epoch = (request.epoch > 0).then_some(Epoch(request.epoch));
        let limit = request.limit.clamp(1, 100) as usize;
        let decisions = decisions(self.store.as_ref(), &service, epoch, limit).await?;
        Ok(Response::new(v1::ListDecisionsResponse { decisions }))
    }

    type WatchEventsStream = Pin<Box<dyn Stream<Item = Result<v1::Event, Status>> + Send>>;

    async fn watch_events(
        &self,
        request: Request<v1::WatchEventsRequest>,
    ) -> Result<Response<Self::WatchEventsStream>, Status> {
        let mut after = request.into_inner().after;
        let kept = self
            .last()
            .await?
            .saturating_sub(interlock_engine::coordinator::KEPT_EVENTS);
        if after > 0 && after < kept {
            return Err(Status::out_of_range(format!(
                "events up to {kept} are no longer kept: list, then watch from the last"
            )));
        }
        let service = self.clone();
        let (sender, receiver) = mpsc::channel(64);
        tokio::spawn(async move {
            let mut changes = service.driver.changes();
            loop {
                let (events, more) = match service.page(after, 500).await {
                    Ok(page) => page,
                    Err(status) => {
                        // The watcher is gone, or is told.
                        drop(sender.send(Err(status)).await);
                        return;
                    }
                };
                for event in events {
                    after = event.revision;
                    if sender.send(Ok(event)).await.is_err() {
                        return;
                    }
                }
                if sender.is_closed()
                    || (!more
                        && !next_change(
                            &mut changes,
                            Duration::from_millis(50),
                            Duration::from_secs(1),
                        )
                        .await)
                {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}
