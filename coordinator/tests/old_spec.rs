//! The program on a store whose newest spec breaks rules of this version, or cannot be read by it at all.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod program;

use std::ops::Deref;

use interlock_coordinator::store::embedded::{Embedded, IfMissing, Options};
use interlock_coordinator::store::{Key, Store as _, Transaction};
use interlock_engine::coordinator::{AppliedSpec, spec_key};
use interlock_model::ids::Generation;
use interlock_model::time::Timestamp;
use interlock_proto::v1;
use interlock_proto::v1::cluster_service_client::ClusterServiceClient;
use interlock_proto::v1::event_service_client::EventServiceClient;
use interlock_proto::v1::plan_service_client::PlanServiceClient;
use tonic::{Code, Status};

use crate::program::Program;

/// What this version accepts.
const SOUND: &str = "cluster: old\nnodes: { n1: { address: 10.0.0.1 } }\nservices:\n  web: { nodes: [n1], manager: { process: { name: web } } }\n";

/// A spec with a circle, and a reference to nothing: an earlier version that did not look would have accepted it.
const BROKEN: &str = "cluster: old\nnodes: { n1: { address: 10.0.0.1 } }\nservices:\n  \
                      a: { nodes: [n1], manager: { process: { name: a } }, requires: [b] }\n  \
                      b: { nodes: [n1], manager: { process: { name: b } }, requires: [a, c] }\n";

/// A spec in words that this version does not know.
const UNREADABLE: &str = "cluster: old\nnodes: { n1: { address: 10.0.0.1 } }\nservices:\n  web: { nodes: [n1], driver: wasm }\n";

/// A coordinator that runs on a store which was filled before. Killed at the end.
struct Bed {
    program: Program,
}

impl Deref for Bed {
    type Target = Program;

    fn deref(&self) -> &Self::Target {
        &self.program
    }
}

impl Bed {
    /// The record of the third generation is this.
    async fn with(record: Vec<u8>) -> Self {
        let mut program = Program::new("old");
        let store = Embedded::open(Options {
            path: program.path("store.redb"),
            if_missing: IfMissing::Create,
        })
        .await
        .unwrap();
        let key = Key::new(spec_key(Generation(3))).unwrap();
        let put = Transaction::new().put(&key, record);
        store.commit(put).await.unwrap().committed().unwrap();
        store.close().await;
        drop(store);
        program.start("").await;
        Self { program }
    }

    /// The same, and what it says is this.
    async fn with_spec(source: &str) -> Self {
        let record = AppliedSpec {
            reason: String::new(),
            generation: Generation(3),
            source: source.to_owned(),
            file_name: "old.yaml".to_owned(),
            by: "anna".to_owned(),
            at: Timestamp(1),
        };
        Self::with(serde_json::to_vec(&record).unwrap()).await
    }

    async fn status(&self) -> v1::Status {
        let mut cluster = ClusterServiceClient::new(self.channel());
        let status = cluster.get_status(v1::GetStatusRequest::default()).await;
        status.unwrap().into_inner()
    }

    async fn shown(&self) -> Result<v1::GetSpecResponse, Status> {
        let mut cluster = ClusterServiceClient::new(self.channel());
        let shown = cluster.get_spec(v1::GetSpecRequest::default()).await;
        shown.map(tonic::Response::into_inner)
    }

    async fn plan(&self) -> Result<(), Status> {
        let mut plans = PlanServiceClient::new(self.channel());
        let request = v1::MakePlanRequest {
            kind: "startup".to_owned(),
            all: true,
            ..v1::MakePlanRequest::default()
        };
        plans.make_plan(request).await.map(drop)
    }

    async fn apply(&self, source: &str) -> v1::ApplySpecResponse {
        self.try_to_apply(source).await.unwrap()
    }

    async fn try_to_apply(&self, source: &str) -> Result<v1::ApplySpecResponse, Status> {
        let mut cluster = ClusterServiceClient::new(self.channel());
        let request = v1::ApplySpecRequest {
            source: source.as_bytes().to_vec(),
            file_name: "new.yaml".to_owned(),
            base: 3,
            ..v1::ApplySpecRequest::default()
        };
        let applied = cluster.apply_spec(request).await;
        applied.map(tonic::Response::into_inner)
    }

    /// The texts of the events of this kind.
    async fn told(&self, kind: &str) -> Vec<String> {
        let mut events = EventServiceClient::new(self.channel());
        let listed = events.list_events(v1::ListEventsRequest::default()).await;
        let events = listed.unwrap().into_inner().events;
        let of_kind = events.into_iter().filter(|event| event.kind == kind);
        of_kind.map(|event| event.text).collect()
    }

    /// It says of the third generation that this is wrong: in its status, its log, its events, and to who plans.
    async fn says_everywhere(&self, wrong: &[&str]) {
        let status = self.status().await;
        assert_eq!(status.generation, 3);
        let cause = status
            .causes
            .into_iter()
            .find(|cause| cause.subject == "spec");
        let refused = self.plan().await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
        let event = self.told("spec-broken").await.concat();
        for said in [
            cause.unwrap().what,
            refused.message().to_owned(),
            event,
            self.log(),
        ] {
            assert!(said.contains("generation 3 of the spec"), "{said}");
            for wrong in wrong {
                assert!(said.contains(wrong), "{wrong}: {said}");
            }
        }
    }

    /// A corrected spec is taken, and all is as ever.
    async fn is_corrected(&self) {
        assert_eq!(self.apply(SOUND).await.generation, 4);
        let status = self.status().await;
        assert!(status.causes.iter().all(|cause| cause.subject != "spec"));
        assert_eq!(status.services.len(), 1);
        self.plan().await.unwrap();
    }
}

#[tokio::test]
async fn a_spec_that_breaks_rules_of_this_version_is_served_and_told_and_nothing_is_planned_from_it()
 {
    let bed = Bed::with_spec(BROKEN).await;
    bed.says_everywhere(&["circle", "breaks rules of this version"])
        .await;
    let status = bed.status().await;
    assert_eq!((status.nodes.len(), status.services.len()), (1, 2));
    let shown = bed.shown().await.unwrap();
    assert_eq!(String::from_utf8(shown.source).unwrap(), BROKEN);
    bed.is_corrected().await;
}

#[tokio::test]
async fn a_spec_that_cannot_be_read_does_not_keep_the_coordinator_from_being_given_another() {
    let bed = Bed::with_spec(UNREADABLE).await;
    bed.says_everywhere(&["/spec/0000000003", "unknown key 'driver'"])
        .await;
    let shown = bed.shown().await.unwrap();
    assert_eq!(String::from_utf8(shown.source).unwrap(), UNREADABLE);
    bed.is_corrected().await;
}

#[tokio::test]
async fn a_record_that_is_none_is_named_by_generation_and_key() {
    let bed = Bed::with(b"{ \"generation\": 3, \"sauce\": ".to_vec()).await;
    bed.says_everywhere(&["/spec/0000000003", "its record"])
        .await;
    let refused = bed.shown().await.unwrap_err();
    assert!(refused.message().contains("/spec/0000000003"), "{refused}");
    bed.is_corrected().await;
}

#[tokio::test]
async fn a_spec_of_another_cluster_than_that_of_the_certificates_is_refused() {
    let other = SOUND.replace("cluster: old", "cluster: acd-prod");
    // Be it the first one that can be read, or be another one applied since before this was asked.
    for source in [UNREADABLE, SOUND, &other] {
        let bed = Bed::with_spec(source).await;
        let refused = bed.try_to_apply(&other).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
        let told = refused.message();
        assert!(told.contains("of the cluster old"), "{told}");
        assert!(told.contains("new.yaml is for acd-prod"), "{told}");
        assert_eq!(bed.status().await.generation, 3);
        bed.try_to_apply(SOUND).await.unwrap();
    }
}
