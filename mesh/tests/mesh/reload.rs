//! New files come into force without a restart, and bad ones do not.

use std::fs;
use std::time::{Duration, SystemTime};

use interlock_mesh::channel::{self, ConnectError, Expected};
use interlock_mesh::credentials::{LoadError, Reloaded, system_clock};
use interlock_mesh::server::Options;

use crate::support::{AGENT, COORDINATOR, DAY, Pki, call, open, serve, stopped_at};

#[tokio::test]
async fn a_server_goes_over_to_a_new_authority_without_a_restart() {
    let (pki, next) = (Pki::new("acd"), Pki::new("acd"));
    let files = pki.issue(COORDINATOR, DAY, 10 * DAY);
    let (mut store, credentials) = open(files.clone(), COORDINATOR, system_clock()).unwrap();
    let server = serve(credentials, Options::default()).await;
    let (of_the_old, of_the_new) = (pki.member(AGENT), next.member(AGENT));

    let standing = server.connect(&of_the_old).await.unwrap();
    call(standing.clone()).await.unwrap();
    server.refuse(&of_the_new).await;

    let replacement = next.issue(COORDINATOR, DAY, 10 * DAY);
    fs::rename(replacement.key, &files.key).unwrap();
    fs::rename(replacement.certificate, &files.certificate).unwrap();
    fs::rename(replacement.authority, &files.authority).unwrap();
    assert_eq!(store.reload().unwrap(), Reloaded::Changed);
    assert_eq!(store.reload().unwrap(), Reloaded::Unchanged);

    call(server.connect(&of_the_new).await.unwrap())
        .await
        .unwrap();
    server.refuse(&of_the_old).await;
    call(standing)
        .await
        .expect("a connection that stands is not cut");
}

#[tokio::test]
async fn a_channel_reconnects_with_the_renewed_certificate() {
    let pki = Pki::new("acd");
    let files = pki.issue(COORDINATOR, 20 * DAY, 40 * DAY);
    let server = serve(
        open(files, COORDINATOR, system_clock()).unwrap().1,
        Options::default(),
    )
    .await;

    let files = pki.issue(AGENT, 10 * DAY, 9 * DAY);
    let clock_behind = stopped_at(SystemTime::now() - 2 * DAY);
    let (mut store, credentials) = open(files, AGENT, clock_behind).unwrap();
    let target = server.target(Expected::Coordinator);
    let channel = channel::connect_lazy(&target, &credentials, &channel::Options::default());
    let status = call(channel.clone()).await.unwrap_err();
    assert!(
        matches!(
            ConnectError::inside(&status),
            Some(ConnectError::OwnExpired { .. })
        ),
        "{status:?}"
    );

    pki.issue(AGENT, 10 * DAY, 50 * DAY);
    assert_eq!(store.reload().unwrap(), Reloaded::Changed);
    call(channel).await.unwrap();
}

#[tokio::test]
async fn the_store_notices_new_files_by_itself() {
    let pki = Pki::new("acd");
    let (store, mut credentials) = pki.watched_member(AGENT);
    let before = credentials.not_after();
    let watch = tokio::spawn(store.run(Duration::from_millis(5)));
    pki.issue(AGENT, DAY, 20 * DAY);
    // Key, certificate and authority are three renames; what is published in between fits together all the same.
    while credentials.not_after() == before {
        assert!(credentials.changed().await);
    }
    assert!(credentials.not_after() > before);
    watch.abort();
}

#[test]
fn half_of_a_renewal_leaves_the_old_credentials_in_force() {
    let pki = Pki::new("acd");
    let files = pki.issue(AGENT, DAY, 10 * DAY);
    let (mut store, credentials) = open(files.clone(), AGENT, system_clock()).unwrap();
    let before = credentials.not_after();
    let old_certificate = fs::read(&files.certificate).unwrap();

    pki.issue(AGENT, DAY, 20 * DAY);
    let new_certificate = fs::read(&files.certificate).unwrap();
    fs::write(&files.certificate, old_certificate).unwrap();
    let error = store.reload().unwrap_err();
    assert!(matches!(error, LoadError::KeyMismatch { .. }), "{error}");
    assert_eq!(credentials.not_after(), before);
    assert!(store.reload().is_err(), "as long as it does not fit");

    fs::write(&files.certificate, new_certificate).unwrap();
    assert_eq!(store.reload().unwrap(), Reloaded::Changed);
    assert!(credentials.not_after() > before);
}

#[test]
fn a_reload_never_makes_a_program_somebody_else() {
    let pki = Pki::new("acd");
    let files = pki.issue(AGENT, DAY, 10 * DAY);
    let (mut store, credentials) = open(files.clone(), AGENT, system_clock()).unwrap();
    let other = pki.issue("interlock://acd/agent/dbm2", DAY, 10 * DAY);
    fs::rename(other.key, &files.key).unwrap();
    fs::rename(other.certificate, &files.certificate).unwrap();
    let error = store.reload().unwrap_err();
    assert!(matches!(error, LoadError::OtherMember { .. }), "{error}");
    assert_eq!(credentials.identity().to_string(), AGENT);
}

#[test]
fn a_role_may_change_with_a_renewal() {
    let pki = Pki::new("acd");
    let reader = "interlock://acd/operator/anna?role=reader";
    let (mut store, credentials) = pki.watched_member(reader);
    pki.issue("interlock://acd/operator/anna?role=admin", DAY, 10 * DAY);
    assert_eq!(store.reload().unwrap(), Reloaded::Changed);
    assert_eq!(credentials.identity().role().unwrap().to_string(), "admin");
}
