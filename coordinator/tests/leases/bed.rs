//! A coordinator of a cluster with one leased service, and what an operator sees of it.

use std::ops::Deref;
use std::time::Duration;

use interlock_proto::v1;
use interlock_proto::v1::cluster_service_client::ClusterServiceClient;
use interlock_proto::v1::event_service_client::EventServiceClient;

use crate::program::Program;
use crate::server::Cluster;

/// How long something may take that is sure to happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// L of the fast profile.
pub(crate) const LIFE: Duration = Duration::from_millis(2450);

const SPEC: &str = "
cluster: bed
nodes:
  db1: { address: 10.9.0.2 }
  db2: { address: 10.9.0.3 }
services:
  db:
    nodes: [db1, db2]
    active: one
    parts:
      - process: { name: db }
      - address: { ip: 10.1.0.10/24, interface: eth0 }
    failover:
      automatic: true
      profile: fast
      on_control_loss: demote
      vm_pause: accepted
      clients: address
  web:
    nodes: [db2]
    manager: { process: { name: web } }
";

/// A coordinator, killed at the end.
pub(crate) struct Bed {
    program: Program,
    /// If the store is on etcd.
    etcd: Option<Cluster>,
}

impl Deref for Bed {
    type Target = Program;

    fn deref(&self) -> &Self::Target {
        &self.program
    }
}

impl Bed {
    /// A coordinator with the spec applied.
    pub(crate) async fn new() -> Self {
        Self::with(|spec| spec).await
    }

    /// The same with another spec.
    pub(crate) async fn with(change: impl FnOnce(String) -> String) -> Self {
        let bed = Self::of(Program::new("bed"), None).await;
        bed.apply(&change(SPEC.to_owned()), 0).await;
        bed
    }

    /// The same with the store on etcd.
    pub(crate) async fn on(etcd: Cluster) -> Self {
        let bed = Self::of(Program::new("bed"), Some(etcd)).await;
        bed.apply(SPEC, 0).await;
        bed
    }

    /// Applies the spec with other timings of the lease.
    pub(crate) async fn apply_conservative(&self) {
        self.apply(&SPEC.replace("profile: fast", "profile: conservative"), 1)
            .await;
    }

    async fn apply(&self, spec: &str, base: u64) {
        let mut cluster = ClusterServiceClient::new(self.channel());
        let request = v1::ApplySpecRequest {
            source: spec.into(),
            file_name: "bed.yaml".to_owned(),
            base,
            ..v1::ApplySpecRequest::default()
        };
        cluster.apply_spec(request).await.unwrap();
    }

    /// Another coordinator of the same cluster, on a store of its own.
    pub(crate) async fn successor(self) -> Self {
        Self::of(self.program.successor(), None).await
    }

    async fn of(program: Program, etcd: Option<Cluster>) -> Self {
        let mut bed = Self { program, etcd };
        bed.start().await;
        bed
    }

    /// Ends the coordinator as a crash does.
    pub(crate) fn kill(&mut self) {
        self.program.kill();
    }

    /// Starts the coordinator on its store.
    pub(crate) async fn start(&mut self) {
        let store = self.etcd.as_ref().map(|etcd| {
            let file = |name| etcd.pki.file(name).display().to_string();
            format!(
                "[store.etcd]\nendpoints = {:?}\nca = '{}'\ncert = '{}'\nkey = '{}'\n",
                etcd.endpoints(),
                file("ca.crt"),
                file("client.crt"),
                file("client.key")
            )
        });
        self.program.start(&store.unwrap_or_default()).await;
    }

    /// The status of a service and of a node.
    pub(crate) async fn status(&self) -> v1::Status {
        let mut cluster = ClusterServiceClient::new(self.channel());
        let status = cluster.get_status(v1::GetStatusRequest::default()).await;
        status.unwrap().into_inner()
    }

    /// How it stands with the lease, once it was read.
    pub(crate) async fn lease(&self) -> v1::LeaseStatus {
        let services = self.status().await.services;
        let db = services.into_iter().find(|service| service.service == "db");
        db.unwrap().lease.unwrap_or_default()
    }

    /// Waits until the lease is like this.
    pub(crate) async fn lease_is(
        &self,
        what: &str,
        is_so: impl Fn(&v1::LeaseStatus) -> bool,
    ) -> v1::LeaseStatus {
        let mut last = v1::LeaseStatus::default();
        let waited = tokio::time::timeout(PATIENCE, async {
            loop {
                last = self.lease().await;
                if is_so(&last) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let in_time = waited.await.is_ok();
        assert!(in_time, "never {what}: {last:?}\n{}", self.log());
        last
    }

    /// Waits until the agent of a node was not heard for so long.
    pub(crate) async fn silent_for(&self, node: &str, silence: Duration) {
        let heard = async {
            loop {
                let nodes = self.status().await.nodes;
                let node = nodes.into_iter().find(|seen| seen.node == node).unwrap();
                let heard = Duration::from_millis(node.heard_ms.unwrap_or_default());
                if heard >= silence {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, heard).await.unwrap();
    }

    /// Waits until the newest decision over the role is as wanted.
    pub(crate) async fn decision(
        &self,
        wanted: &str,
        is: impl Fn(&v1::Decision) -> bool,
    ) -> v1::Decision {
        let mut events = EventServiceClient::new(self.channel());
        let request = v1::ListDecisionsRequest {
            service: "db".to_owned(),
            ..v1::ListDecisionsRequest::default()
        };
        let mut last = None;
        let waited = tokio::time::timeout(PATIENCE, async {
            loop {
                let listed = events.list_decisions(request.clone()).await.unwrap();
                last = listed.into_inner().decisions.into_iter().next();
                if let Some(decision) = last.take_if(|last| is(last)) {
                    return decision;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let decision = waited.await.ok();
        decision.unwrap_or_else(|| panic!("not {wanted}: {last:?}\n{}", self.log()))
    }

    /// Waits for an event of this kind whose text has this.
    pub(crate) async fn told(&self, kind: &str, part: &str) -> String {
        let told = async {
            loop {
                let mut events = EventServiceClient::new(self.channel());
                let listed = events.list_events(v1::ListEventsRequest::default()).await;
                let mut events = listed.unwrap().into_inner().events.into_iter();
                let is_it = |event: &v1::Event| event.kind == kind && event.text.contains(part);
                if let Some(event) = events.find(is_it) {
                    return event.text;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let told = tokio::time::timeout(PATIENCE, told).await;
        told.unwrap_or_else(|_| panic!("no {kind} with {part:?}: {}", self.log()))
    }
}
