//! Strangers who connect and say nothing.

use std::time::Duration;

use interlock_mesh::channel::{self, ConnectError, Expected};
use interlock_mesh::server::{InvalidOptions, Options};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::support::{AGENT, COORDINATOR, Pki, call, serve};

/// Longer than any test: a handshake that is held lasts until it is let go.
const FOREVER: Duration = Duration::from_secs(3_600);

#[tokio::test]
async fn no_more_handshakes_run_at_a_time_than_there_are_places() {
    let pki = Pki::new("acd");
    let options = Options {
        handshakes: 2,
        handshake_time: FOREVER,
        ..Options::default()
    };
    let server = serve(pki.member(COORDINATOR), options).await;
    let client = pki.member(AGENT);
    let standing = server.connect(&client).await.unwrap();

    let one = TcpStream::connect(server.address).await.unwrap();
    call(server.connect(&client).await.expect("one place is left"))
        .await
        .unwrap();
    let two = TcpStream::connect(server.address).await.unwrap();

    let impatient = channel::Options {
        connect_time: Duration::from_millis(300),
        ..channel::Options::default()
    };
    let target = server.target(Expected::Coordinator);
    let error = channel::connect(&target, &client, &impatient)
        .await
        .unwrap_err();
    assert!(matches!(error, ConnectError::Timeout { .. }), "{error:?}");
    call(standing)
        .await
        .expect("a connection that stands holds no place and misses none");

    drop(two);
    call(server.connect(&client).await.unwrap()).await.unwrap();
    drop(one);
}

#[tokio::test]
async fn a_silent_stranger_loses_its_place() {
    let pki = Pki::new("acd");
    let options = Options {
        handshakes: 1,
        handshake_time: Duration::from_millis(50),
        ..Options::default()
    };
    let server = serve(pki.member(COORDINATOR), options).await;
    let mut stranger = TcpStream::connect(server.address).await.unwrap();
    call(server.connect(&pki.member(AGENT)).await.unwrap())
        .await
        .unwrap();
    assert_eq!(
        stranger.read(&mut [0; 1]).await.unwrap(),
        0,
        "the stranger is cut off"
    );
}

#[tokio::test]
async fn a_server_that_stops_lets_requests_end_and_takes_no_new_connections() {
    let pki = Pki::new("acd");
    let server = pki.coordinator().await;
    let client = pki.member(AGENT);
    let target = server.target(Expected::Coordinator);
    let channel = server.connect(&client).await.unwrap();
    call(channel.clone()).await.unwrap();
    server.stop().await;

    let options = channel::Options::default();
    let error = channel::connect(&target, &client, &options)
        .await
        .unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    let status = call(channel).await.unwrap_err();
    let cause = ConnectError::inside(&status).unwrap_or_else(|| panic!("{status:?}"));
    assert!(matches!(cause, ConnectError::Refused { .. }), "{cause:?}");
}

#[test]
fn options_with_which_nobody_could_be_served_are_refused() {
    let good = Options::default();
    assert_eq!(good.validated(), Ok(good));
    let error = Options {
        handshakes: 0,
        ..good
    }
    .validated()
    .unwrap_err();
    assert_eq!(error, InvalidOptions::None("handshake at a time"));
    for zero in [
        Options {
            handshake_time: Duration::ZERO,
            ..good
        },
        Options {
            keepalive_after: Duration::ZERO,
            ..good
        },
        Options {
            keepalive_time: Duration::ZERO,
            ..good
        },
    ] {
        assert!(
            matches!(zero.validated(), Err(InvalidOptions::Zero(_))),
            "{zero:?}"
        );
    }
}
