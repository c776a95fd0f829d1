//! Operations and automatic failover keep off each other (invariant I8, safety rule E18).

use interlock_proto::v1;
use interlock_proto::v1::lease_word::Word;
use interlock_proto::v1::operation_service_client::OperationServiceClient;
use interlock_proto::v1::plan_service_client::PlanServiceClient;
use tonic::{Code, Status};

use crate::bed::{Bed, LIFE};
use crate::moves::two;

/// A plan of the shutdown of a service.
async fn plan(bed: &Bed, service: &str) -> String {
    plan_of(bed, "shutdown", service, "").await
}

async fn plan_of(bed: &Bed, kind: &str, service: &str, to: &str) -> String {
    let mut plans = PlanServiceClient::new(bed.channel());
    let request = v1::MakePlanRequest {
        kind: kind.to_owned(),
        services: vec![service.to_owned()],
        to: to.to_owned(),
        ..v1::MakePlanRequest::default()
    };
    let plan = plans.make_plan(request).await.unwrap().into_inner();
    assert!(!plan.digest.is_empty(), "{}", plan.report_json);
    plan.digest
}

/// Starts an operation whose first step waits for a person.
async fn start(bed: &Bed, digest: &str) -> Result<String, Status> {
    start_with(bed, digest, true).await
}

async fn start_with(bed: &Bed, digest: &str, single_step: bool) -> Result<String, Status> {
    let mut operations = OperationServiceClient::new(bed.channel());
    let request = v1::StartOperationRequest {
        digest: digest.to_owned(),
        reason: "to see who is first".to_owned(),
        single_step,
        ..v1::StartOperationRequest::default()
    };
    let started = operations.start_operation(request).await?.into_inner();
    Ok(started.summary.unwrap().operation)
}

async fn abort(bed: &Bed, operation: &str) {
    let mut operations = OperationServiceClient::new(bed.channel());
    let request = v1::ControlOperationRequest {
        operation: operation.to_owned(),
        verb: "abort".to_owned(),
        reason: "seen".to_owned(),
        ..v1::ControlOperationRequest::default()
    };
    operations.control_operation(request).await.unwrap();
}

/// A person moves the role to this node.
pub(crate) async fn switch(bed: &Bed, to: &str) {
    let switchover = plan_of(bed, "switchover", "db", to).await;
    start_with(bed, &switchover, false).await.unwrap();
}

#[tokio::test]
async fn nothing_moves_while_an_operation_holds_the_service() {
    let bed = Bed::new().await;
    let (db1, db2) = two(&bed).await;
    let operation = start(&bed, &plan(&bed, "db").await).await.unwrap();
    drop(db1);
    bed.silent_for("db1", LIFE * 2).await;
    let lease = bed.lease().await;
    assert_eq!((lease.epoch, lease.automatic), (1, false), "{lease:?}");
    assert!(!db2.was_promoted());
    abort(&bed, &operation).await;
    db2.renewed(&bed, 2).await;
}

#[tokio::test]
async fn nothing_moves_to_a_node_that_an_operation_holds() {
    let bed = Bed::new().await;
    let (db1, db2) = two(&bed).await;
    let operation = start(&bed, &plan(&bed, "web").await).await.unwrap();
    drop(db1);
    let held = format!("{operation} holds its node");
    bed.lease_is("refused for the operation", |lease| {
        lease.reason.contains(&held)
    })
    .await;
    bed.silent_for("db1", LIFE * 2).await;
    assert_eq!(bed.lease().await.epoch, 1);
    bed.told("failover-refused", &held).await;
    abort(&bed, &operation).await;
    db2.renewed(&bed, 2).await;
}

#[tokio::test]
async fn no_operation_begins_on_a_service_whose_role_is_moving() {
    let mut bed = Bed::new().await;
    let (db1, db2) = two(&bed).await;
    let shutdown = plan(&bed, "db").await;
    db2.change(|script| script.renews = false);
    drop(db1);
    db2.promoted(&bed, 2).await;
    let refused = start(&bed, &shutdown).await.unwrap_err();
    assert_eq!(refused.code(), Code::Aborted, "{refused}");
    let text = "failover of db to db2 is under way (epoch 2)";
    assert!(refused.message().contains(text), "{refused}");

    // Nor on the node where it goes, nor when another process has taken over meanwhile.
    bed.kill();
    bed.start().await;
    let db2 = db2.again(&bed).await;
    db2.promoted(&bed, 2).await;
    let shutdown = plan(&bed, "web").await;
    let refused = start(&bed, &shutdown).await.unwrap_err();
    assert!(refused.message().contains(text), "{refused}");

    db2.change(|script| script.renews = true);
    db2.renewed(&bed, 2).await;
    // The claim ends by a transaction of its own.
    let started = async {
        while let Err(refused) = start(&bed, &shutdown).await {
            assert!(refused.message().contains(text), "{refused}");
        }
    };
    let started = tokio::time::timeout(LIFE * 20, started).await;
    assert!(started.is_ok(), "the claim was never given back");
}

#[tokio::test]
async fn an_operation_moves_the_role_of_a_holder_that_gives_it_back_when_it_is_asked_to() {
    let bed = Bed::new().await;
    let (db1, db2) = two(&bed).await;
    let switchover = plan_of(&bed, "switchover", "db", "db2").await;
    let operation = start_with(&bed, &switchover, false).await.unwrap();
    db1.told(&bed, "to give it back", |word| {
        matches!(word, Word::Release(1))
    })
    .await;
    assert!(!db2.was_promoted());
    db1.release(1).await;
    db2.renewed(&bed, 2).await;
    let begun = bed.told("lease-begun", "epoch 2").await;
    assert!(begun.contains(&format!("by {operation}")), "{begun}");
    bed.told("operation-turned", &format!("{operation} is done"))
        .await;
    let lease = bed
        .lease_is("held", |lease| lease.epoch == 2 && lease.held)
        .await;
    assert_eq!(lease.holder, "db2");
}

#[tokio::test]
async fn a_persons_word_that_a_machine_is_down_belongs_to_a_failover_alone() {
    let bed = Bed::new().await;
    let (_db1, _db2) = two(&bed).await;
    let mut plans = PlanServiceClient::new(bed.channel());
    for kind in ["switchover", "shutdown", "startup", "restart"] {
        let request = v1::MakePlanRequest {
            kind: kind.to_owned(),
            services: vec!["db".to_owned()],
            attested_down: vec!["db1".to_owned()],
            ..v1::MakePlanRequest::default()
        };
        let refused = plans.make_plan(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{kind}: {refused}");
        assert!(refused.message().contains("attested_down"), "{refused}");
    }
}
