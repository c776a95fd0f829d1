//! The table in front of a real service.

use std::sync::{Arc, Mutex};

use interlock_mesh::authz::{Access, Table};
use interlock_mesh::server::{Options, PeerIdentity};
use tonic::Code;
use tonic::service::Routes;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::HealthService;

use crate::support::{AGENT, CHECK, COORDINATOR, Pki, READER, Running, call, serve_routes};

async fn serve(pki: &Pki, table: Table) -> Running {
    let (_, health) = tonic_health::server::health_reporter();
    serve_routes(
        pki.member(COORDINATOR),
        Options::default(),
        table,
        Routes::new(health),
    )
    .await
}

#[tokio::test]
async fn a_caller_without_the_role_is_told_who_it_is_what_it_called_and_what_it_needs() {
    let pki = Pki::new("acd");
    let server = serve(&pki, Table::new([(CHECK, Access::OPERATORS)]).unwrap()).await;

    let status = call(server.connect(&pki.member(READER)).await.unwrap())
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert_eq!(
        status.message(),
        "operator anna (reader) may not call /grpc.health.v1.Health/Check: it needs role operator or admin"
    );
    let status = call(server.connect(&pki.member(AGENT)).await.unwrap())
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(
        status.message().starts_with("agent dbm1 may not call"),
        "{}",
        status.message()
    );

    for role in ["operator", "admin"] {
        let caller = pki.member(&format!("interlock://acd/operator/anna?role={role}"));
        call(server.connect(&caller).await.unwrap()).await.unwrap();
    }
}

#[tokio::test]
async fn a_method_that_is_not_in_the_table_is_denied_to_everybody() {
    let pki = Pki::new("acd");
    let server = serve(&pki, Table::new([]).unwrap()).await;
    for uri in [
        AGENT,
        COORDINATOR,
        "interlock://acd/operator/anna?role=admin",
    ] {
        let status = call(server.connect(&pki.member(uri)).await.unwrap())
            .await
            .unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied, "{uri}");
        assert!(
            status.message().contains("does not know it"),
            "{}",
            status.message()
        );
    }
}

#[tokio::test]
async fn a_handler_knows_who_calls() {
    let pki = Pki::new("acd");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let record = seen.clone();
    let (reporter, _) = tonic_health::server::health_reporter();
    let service = HealthServer::with_interceptor(
        HealthService::from_health_reporter(reporter),
        move |request: tonic::Request<()>| {
            let peer = PeerIdentity::of(request.extensions())?;
            record.lock().unwrap().push((
                peer.identity().to_string(),
                peer.address().ip(),
                peer.not_after(),
            ));
            Ok(request)
        },
    );
    let table = Table::interlock_v1();
    let server = serve_routes(
        pki.member(COORDINATOR),
        Options::default(),
        table,
        Routes::new(service),
    )
    .await;

    let agent = pki.member(AGENT);
    call(server.connect(&agent).await.unwrap()).await.unwrap();
    let loopback = std::net::IpAddr::from([127, 0, 0, 1]);
    assert_eq!(
        *seen.lock().unwrap(),
        [(AGENT.to_owned(), loopback, agent.not_after())]
    );
}
