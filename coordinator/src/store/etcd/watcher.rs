//! A watch that survives its connection.
//!
//! etcd's watch ends in many ways: the member dies, loses its leader, compacts, or cancels the
//! watch because the token ran out. It may also just fall silent, with a stopped member or a
//! connection that a firewall forgot. This one remembers the revision up to which it has told
//! everything and takes the watch up again from the next, at the next endpoint; so nothing is told
//! twice or left out. Only a compaction of what it still had to tell ends it, and that is told.
//!
//! Silence is broken by asking for progress; no answer to that is a dead watch. What a progress
//! answer says of revisions is not used: etcd before 3.4.25 and 3.5.8 may send it before events of
//! earlier revisions.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Event, EventType, GetOptions, WatchOptions, WatchResponse, WatchStream};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::super::{Change, Prefix, Revision, WatchEvent};
use super::endpoints::{ANSWER, Endpoints};
use super::fault::Kind;
use super::layout::Reading;

/// After how much silence progress is asked for.
const SILENCE: Duration = Duration::from_secs(3);

/// Between two tries to take the watch up.
const AGAIN: Duration = Duration::from_millis(250);

/// One watch.
pub(crate) struct Watcher {
    pub(crate) endpoints: Arc<Endpoints>,
    pub(crate) reading: Arc<Reading>,
    pub(crate) prefix: Prefix,
    /// The first revision, etcd's, that was not told yet.
    pub(crate) next: i64,
    pub(crate) stream: Option<(usize, WatchStream)>,
    pub(crate) events: VecDeque<WatchEvent>,
    pub(crate) closed: CancellationToken,
    pub(crate) over: bool,
}

impl Watcher {
    /// The next event; none after a compaction, and when the store is closed.
    pub(crate) async fn event(mut self) -> Option<(WatchEvent, Self)> {
        let closed = self.closed.clone();
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some((event, self));
            }
            if self.over {
                return None;
            }
            tokio::select! {
                biased;
                () = closed.cancelled() => return None,
                () = self.more() => {}
            }
        }
    }

    /// Takes the next answer, or the watch up again.
    async fn more(&mut self) {
        let Some((index, stream)) = &mut self.stream else {
            match self.begin().await {
                Ok(stream) => self.stream = Some(stream),
                Err(()) => sleep(AGAIN).await,
            }
            return;
        };
        let index = *index;
        let answer = match timeout(SILENCE, stream.message()).await {
            Ok(answer) => answer,
            Err(_) => {
                // Not sent means broken, and then there is no answer either.
                stream.request_progress().await.ok();
                match timeout(ANSWER, stream.message()).await {
                    Ok(answer) => answer,
                    Err(_) => Ok(None),
                }
            }
        };
        match answer {
            Ok(Some(response)) if response.compact_revision() > 0 => {
                let oldest = self.reading.revisions.ours(response.compact_revision());
                // The compacted revision itself can still be read, and a watch begin there.
                self.end(oldest);
            }
            Ok(Some(response)) if response.canceled() => {
                tracing::debug!(reason = response.cancel_reason(), "etcd ended a watch");
                self.leave(index).await;
            }
            Ok(Some(response)) => self.take(&response),
            Ok(None) => self.leave(index).await,
            Err(error) if self.endpoints.fault(index, &error).kind() == Kind::Compacted => {
                self.stream = None;
            }
            Err(_) => self.leave(index).await,
        }
    }

    async fn leave(&mut self, index: usize) {
        self.stream = None;
        self.endpoints
            .leave(index, &self.endpoints.late(index))
            .await;
        sleep(AGAIN).await;
    }

    fn end(&mut self, oldest: Revision) {
        self.events.push_back(WatchEvent::Compacted { oldest });
        self.over = true;
    }

    /// Takes the watch up at the endpoint in use.
    async fn begin(&self) -> Result<(usize, WatchStream), ()> {
        let (start, end) = self.reading.layout.range(&self.prefix);
        // A call first: it renews an expired token, which the watch itself would not, and turns to
        // an endpoint that answers.
        let key = self.reading.layout.format.as_str();
        let count = GetOptions::new().with_count_only();
        let asked = self
            .endpoints
            .once(|mut client| async move { client.get(key, Some(count)).await });
        asked.await.map_err(drop)?;
        let (index, client) = self.endpoints.stream().await.map_err(drop)?;
        let options = WatchOptions::new()
            .with_range(end)
            .with_start_revision(self.next);
        let mut client = client.watch_client().max_decoding_message_size(usize::MAX);
        match timeout(ANSWER, client.watch(start, Some(options))).await {
            Ok(Ok(stream)) => Ok((index, stream)),
            Ok(Err(error)) => {
                let fault = self.endpoints.fault(index, &error);
                self.endpoints.leave(index, &fault).await;
                Err(())
            }
            Err(_) => {
                self.endpoints
                    .leave(index, &self.endpoints.late(index))
                    .await;
                Err(())
            }
        }
    }

    /// Takes the events of an answer. etcd never splits a revision over two answers.
    fn take(&mut self, response: &WatchResponse) {
        let revision = |event: &Event| event.kv().map_or(0, etcd_client::KeyValue::mod_revision);
        let events: Vec<&Event> = response
            .events()
            .iter()
            .filter(|event| revision(event) >= self.next)
            .collect();
        for group in events.chunk_by(|a, b| revision(a) == revision(b)) {
            let at = revision(group[0]);
            let mut changes: Vec<Change> = group
                .iter()
                .filter_map(|event| self.change(event))
                .collect();
            changes.sort_by(|a, b| a.key().cmp(b.key()));
            self.next = at + 1;
            if !changes.is_empty() {
                let revision = self.reading.revisions.ours(at);
                self.events
                    .push_back(WatchEvent::Changed { revision, changes });
            }
        }
    }

    /// What no coordinator wrote is no change of the store.
    fn change(&self, event: &Event) -> Option<Change> {
        let found = event.kv()?;
        match event.event_type() {
            EventType::Put => self.reading.entry(found).ok().map(Change::Put),
            EventType::Delete => self.reading.layout.parse(found.key()).map(Change::Deleted),
        }
    }
}
