//! Certificates, users, tokens.

use std::path::{Path, PathBuf};
use std::time::Duration;

use etcd_client::{Client, Permission, PermissionType};
use interlock_coordinator::store::etcd::{Access, Etcd, Login, OpenError, Options};
use interlock_coordinator::store::{Class, Error, Prefix, Revision, Store};

use super::eventually;
use super::server::{Cluster, PATIENCE, Pki, Version};
use crate::conformance::{key, next, put};

async fn refused(options: Options) -> String {
    match Etcd::open(options).await.unwrap_err() {
        // A member that does not take a certificate closes the connection after the handshake, as one
        // that dies does (TLS 1.3): the words then name both.
        OpenError::Store(error @ (Error::Refused { .. } | Error::Unavailable { .. })) => {
            assert_eq!(error.class(), Class::Retryable);
            let cause = std::error::Error::source(&error).unwrap().to_string();
            format!("{error}: {cause}")
        }
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn a_member_or_a_client_of_another_authority_is_refused_and_named(
    version: Version,
) {
    let Some(cluster) = Cluster::start(version) else {
        return;
    };
    let other = Pki::new(&cluster.directory.path().join("other"));
    let with = |access: Access| Options {
        access,
        ..cluster.options()
    };
    // We do not trust the member.
    let text = refused(with(Access {
        ca: other.file("ca.crt"),
        ..cluster.access()
    }))
    .await;
    assert!(text.contains(&cluster.endpoints()[0]), "{text}");
    assert!(text.contains("certificate"), "{text}");
    // The member does not trust us.
    let text = refused(with(Access {
        cert: other.file("client.crt"),
        key: other.file("client.key"),
        ..cluster.access()
    }))
    .await;
    assert!(text.contains(&cluster.endpoints()[0]), "{text}");
    assert!(text.contains("certificate"), "{text}");
    // A file is missing.
    let missing = PathBuf::from("/nonexistent/client.key");
    let text = refused(with(Access {
        key: missing.clone(),
        ..cluster.access()
    }))
    .await;
    assert!(text.contains(&*missing.to_string_lossy()), "{text}");
    // Without TLS there is no access.
    let plain = cluster.endpoints()[0].replace("https", "http");
    let error = Etcd::open(with(Access {
        endpoints: vec![plain],
        ..cluster.access()
    }))
    .await;
    assert!(matches!(error, Err(OpenError::Endpoint { .. })));
}

/// Turns authentication on, with a user that may do no more than it needs.
async fn with_users(cluster: &Cluster, password: &str) -> Client {
    let mut client = cluster.client(None).await;
    client.user_add("root", "root", None).await.unwrap();
    client.role_add("root").await.unwrap();
    client.user_grant_role("root", "root").await.unwrap();
    client.user_add("mgmt1", password, None).await.unwrap();
    client.role_add("interlock").await.unwrap();
    let below = Permission::new(PermissionType::Readwrite, "/interlock/test/").with_prefix();
    client
        .role_grant_permission("interlock", below)
        .await
        .unwrap();
    client.user_grant_role("mgmt1", "interlock").await.unwrap();
    client.auth_enable().await.unwrap();
    cluster.client(Some(("root", "root"))).await
}

fn login(cluster: &Cluster, file: &Path) -> Options {
    let login = Some(Login {
        user: "mgmt1".to_owned(),
        password_file: file.to_owned(),
    });
    Options {
        access: Access {
            login,
            ..cluster.access()
        },
        ..cluster.options()
    }
}

pub(crate) async fn a_token_that_expired_is_renewed_within_the_call_and_watches_go_on(
    version: Version,
) {
    // A token that is not used for a second is forgotten.
    let Some(cluster) = Cluster::with(version, 1, &["--auth-token-ttl", "1"]) else {
        return;
    };
    with_users(&cluster, "secret").await;
    let file = cluster.directory.path().join("password");
    std::fs::write(&file, "secret\n").unwrap();
    let store = Etcd::open(login(&cluster, &file)).await.unwrap();
    let mut watch = store.watch(&Prefix::root(), Revision(1)).await.unwrap();
    for round in 1..=3 {
        put(&store, "/a", &round.to_string()).await;
        let told = tokio::time::timeout(PATIENCE, next(&mut watch)).await;
        assert_eq!(told.unwrap().1, [format!("/a={round}")]);
        // Time is what a token expires by.
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        let entry = store.get(&key("/a")).await.unwrap().unwrap();
        assert_eq!(&*entry.value, round.to_string().as_bytes());
    }
    // A new watch with a token that has expired by then.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let mut late = store.watch(&Prefix::root(), Revision(1)).await.unwrap();
    let told = tokio::time::timeout(PATIENCE, next(&mut late)).await;
    assert_eq!(told.unwrap().1, ["/a=1"]);
}

pub(crate) async fn a_password_that_changes_is_refused_until_the_file_has_it(version: Version) {
    let Some(cluster) = Cluster::start(version) else {
        return;
    };
    let mut root = with_users(&cluster, "old").await;
    let file = cluster.directory.path().join("password");
    std::fs::write(&file, "wrong").unwrap();
    let text = refused(login(&cluster, &file)).await;
    assert!(text.contains("authentication failed"), "{text}");
    assert!(!text.contains("wrong"), "the password is told: {text}");

    std::fs::write(&file, "old").unwrap();
    let store = Etcd::open(login(&cluster, &file)).await.unwrap();
    put(&store, "/a", "1").await;
    // Tokens of a user end with its password.
    root.user_change_password("mgmt1", "new").await.unwrap();
    let error = store.get(&key("/a")).await.unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error:?}");
    std::fs::write(&file, "new").unwrap();
    eventually("the new password is taken up", async || {
        store.get(&key("/a")).await.ok()
    })
    .await;
    put(&store, "/a", "2").await;

    // Where the file has it first, nobody notices.
    std::fs::write(&file, "newest").unwrap();
    root.user_change_password("mgmt1", "newest").await.unwrap();
    let entry = store.get(&key("/a")).await.unwrap().unwrap();
    assert_eq!(&*entry.value, b"2");
    put(&store, "/a", "3").await;
}
