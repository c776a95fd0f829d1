//! Writes that only a lost primary has: nobody takes over by itself, and a person may accept that they are lost.

use interlock_proto::v1;
use interlock_proto::v1::operation_service_client::OperationServiceClient;
use interlock_proto::v1::plan_service_client::PlanServiceClient;
use tonic::{Code, Status};

use crate::bed::Bed;
use crate::moves::two;

async fn failover(bed: &Bed, accept_loss: bool) -> v1::MakePlanResponse {
    let request = v1::MakePlanRequest {
        kind: "failover".to_owned(),
        services: vec!["db".to_owned()],
        attested_down: vec!["db1".to_owned()],
        accept_loss,
        ..v1::MakePlanRequest::default()
    };
    let mut plans = PlanServiceClient::new(bed.channel());
    plans.make_plan(request).await.unwrap().into_inner()
}

async fn start(bed: &Bed, digest: &str, service: &str, reason: &str) -> Result<(), Status> {
    let request = v1::StartOperationRequest {
        digest: digest.to_owned(),
        reason: reason.to_owned(),
        confirm_service: service.to_owned(),
        ..v1::StartOperationRequest::default()
    };
    let mut operations = OperationServiceClient::new(bed.channel());
    operations.start_operation(request).await.map(|_| ())
}

#[tokio::test]
async fn writes_that_only_a_lost_primary_has_are_lost_by_a_persons_word_alone() {
    let bed = Bed::new().await;
    let (db1, db2) = two(&bed).await;
    db2.change(|script| script.position = 40);
    db1.change(|script| script.position = 100);
    bed.lease_is("held at 100", |lease| lease.held).await;
    // Two renewals, so that the record has it.
    for _ in 0..2 {
        let sent = db1.look().renewed;
        while db1.look().renewed == sent {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
    drop(db1);
    bed.lease_is("waiting for a person", |lease| {
        lease.reason.contains("60 behind")
    })
    .await;
    bed.told("node-lost", "db1").await;

    let refused = failover(&bed, false).await;
    assert_eq!(refused.digest, "", "{}", refused.report_json);
    for part in ["at least 60", "--accept-loss"] {
        assert!(
            refused.report_json.contains(part),
            "{}",
            refused.report_json
        );
    }

    let plan = failover(&bed, true).await;
    assert!(
        plan.plan_json
            .contains("\"accepted\":{\"db\":{\"at-least\":60}}"),
        "{}",
        plan.plan_json
    );
    for wrong in ["", "web"] {
        let refused = start(&bed, &plan.digest, wrong, "it burnt")
            .await
            .unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
        assert!(
            refused
                .message()
                .contains("confirm it with the service's name, db"),
            "{refused}"
        );
    }
    let refused = start(&bed, &plan.digest, "db", " ").await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    start(&bed, &plan.digest, "db", "it burnt").await.unwrap();
    db2.renewed(&bed, 2).await;

    let told = bed.told("loss-accepted", "at least 60").await;
    assert!(told.contains("it burnt"), "{told}");
    let why = bed.decision("begun", |why| why.epoch == 2).await;
    let word = why
        .evidence
        .iter()
        .find(|line| line.contains("accepts that writes are lost"));
    assert!(
        word.is_some_and(|word| word.contains("at least 60") && word.contains("it burnt")),
        "{why:?}"
    );
}

#[tokio::test]
async fn a_loss_is_accepted_by_a_failover_alone() {
    let bed = Bed::new().await;
    let (_db1, _db2) = two(&bed).await;
    let mut plans = PlanServiceClient::new(bed.channel());
    for kind in ["switchover", "failback", "shutdown"] {
        let request = v1::MakePlanRequest {
            kind: kind.to_owned(),
            services: vec!["db".to_owned()],
            accept_loss: true,
            ..v1::MakePlanRequest::default()
        };
        let refused = plans.make_plan(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{kind}: {refused}");
        assert!(refused.message().contains("accept_loss"), "{refused}");
    }
}
