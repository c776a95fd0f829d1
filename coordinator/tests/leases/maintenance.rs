//! In maintenance nothing moves by itself, whatever becomes of the coordinator; a person moves what they like.

use interlock_proto::v1;
use interlock_proto::v1::cluster_service_client::ClusterServiceClient;
use interlock_proto::v1::maintenance_scope::Of;
use tonic::{Code, Status};

use crate::bed::{Bed, LIFE};
use crate::claims::switch;
use crate::moves::two;

fn node(name: &str) -> v1::MaintenanceScope {
    v1::MaintenanceScope {
        of: Some(Of::Node(name.to_owned())),
    }
}

pub(crate) fn service(name: &str) -> v1::MaintenanceScope {
    v1::MaintenanceScope {
        of: Some(Of::Service(name.to_owned())),
    }
}

async fn enter_for(
    bed: &Bed,
    scope: v1::MaintenanceScope,
    for_ms: u64,
) -> Result<v1::Maintenance, Status> {
    let request = v1::EnterMaintenanceRequest {
        scope: Some(scope),
        for_ms,
        reason: "new disks".to_owned(),
    };
    let mut cluster = ClusterServiceClient::new(bed.channel());
    Ok(cluster.enter_maintenance(request).await?.into_inner())
}

pub(crate) async fn enter(bed: &Bed, scope: v1::MaintenanceScope) {
    enter_for(bed, scope, 3_600_000).await.unwrap();
}

async fn leave(bed: &Bed, scope: v1::MaintenanceScope) {
    let request = v1::LeaveMaintenanceRequest {
        scope: Some(scope),
        reason: String::new(),
    };
    let mut cluster = ClusterServiceClient::new(bed.channel());
    cluster.leave_maintenance(request).await.unwrap();
}

#[tokio::test]
async fn a_service_in_maintenance_waits_for_a_person_also_after_a_restart_of_the_coordinator() {
    let mut bed = Bed::new().await;
    let (db1, db2) = two(&bed).await;
    enter(&bed, service("db")).await;
    bed.kill();
    bed.start().await;
    let db2 = db2.again(&bed).await;
    drop(db1);
    let rests = "service db is in maintenance by anna: new disks";
    bed.told("failover-refused", rests).await;
    let lease = bed.lease().await;
    assert_eq!((lease.epoch, lease.automatic), (1, false), "{lease:?}");
    assert_eq!(lease.reason, rests);
    assert!(!db2.was_promoted());
    let shown = bed.status().await.maintenance;
    assert_eq!(shown[0].owner, "anna");
    assert_eq!(shown[0].scope, Some(service("db")));

    leave(&bed, service("db")).await;
    db2.renewed(&bed, 2).await;
    bed.told("maintenance-entered", "new disks").await;
    bed.told("maintenance-left", "anna").await;
}

#[tokio::test]
async fn a_node_in_maintenance_loses_no_role_by_itself_also_if_it_has_given_it_back() {
    let bed = Bed::new().await;
    let (db1, db2) = two(&bed).await;
    enter(&bed, node("db1")).await;
    bed.lease_is("at rest", |lease| !lease.automatic).await;
    db1.release(1).await;
    bed.lease_is("given back", |lease| lease.holder.is_empty())
        .await;
    let text = bed
        .told("failover-refused", "node db1 is in maintenance")
        .await;
    assert!(
        text.starts_with("db has no primary, and none is made"),
        "{text}"
    );
    assert_eq!(bed.lease().await.epoch, 1);
    assert!(!db2.was_promoted());
    leave(&bed, node("db1")).await;
    db2.renewed(&bed, 2).await;
}

#[tokio::test]
async fn a_node_in_maintenance_is_given_no_role_but_by_a_person() {
    let bed = Bed::new().await;
    let (db1, db2) = two(&bed).await;
    enter(&bed, node("db2")).await;
    db1.change(|script| script.renews = false);
    let text = bed
        .told("failover-refused", "db2: node db2 is in maintenance")
        .await;
    // It may not reach us, and be well.
    let expected = "the lease of db is not renewed by db1, which may go on as its primary";
    assert!(text.starts_with(expected), "{text}");
    assert!(!db2.was_promoted());
    db1.change(|script| script.renews = true);
    db1.renew(1).await;
    assert_eq!(bed.lease().await.epoch, 1);
    switch(&bed, "db2").await;
    db1.release(1).await;
    db2.renewed(&bed, 2).await;
}

#[tokio::test]
async fn it_ends_by_itself_with_an_alarm_and_then_the_role_moves() {
    let bed = Bed::new().await;
    let (db1, db2) = two(&bed).await;
    let millis = u64::try_from((LIFE * 3).as_millis()).unwrap();
    let entered = std::time::Instant::now();
    enter_for(&bed, service("db"), millis).await.unwrap();
    drop(db1);
    bed.told("maintenance-expired", "automatic failover is on again")
        .await;
    assert!(bed.status().await.maintenance.is_empty());
    // Without it the role moves when its lease is over.
    let promoted = db2.promoted(&bed, 2).await;
    assert!(promoted - entered >= LIFE * 2, "{:?}", promoted - entered);
    db2.renewed(&bed, 2).await;
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let bed = Bed::new().await;
    let code = async |scope, length| enter_for(&bed, scope, length).await.unwrap_err().code();
    assert_eq!(code(node("db9"), 1000).await, Code::NotFound);
    assert_eq!(code(service("db"), 0).await, Code::InvalidArgument);
    let nothing = v1::MaintenanceScope { of: None };
    assert_eq!(code(nothing, 1000).await, Code::InvalidArgument);
}
