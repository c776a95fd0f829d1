//! When a supervised process counts as running, although somebody else may answer in its place: with real sockets.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};

use common::{Bed, open, soon};
use interlock_agent::config::{Listener, Process, Ready, Setting};
use interlock_agent::shim::Stop;
use interlock_agent::supervise::{Event, State, Supervisor};
use interlock_model::names::LocalName;
use tokio::sync::mpsc::Receiver;

fn web() -> LocalName {
    "web".parse().unwrap()
}

/// The supervisor of one process that is ready when it listens on this address.
fn supervisor(bed: &Bed, script: &str, address: SocketAddr) -> (Supervisor, Receiver<Event>) {
    let process = Process {
        command: vec!["/bin/sh".into(), "-c".into(), script.into()],
        setting: Setting {
            env: BTreeMap::new(),
            cwd: "/".into(),
            user: None,
            stop: Stop::default(),
        },
        ready: Ready::Tcp {
            address,
            listener: Listener::Own,
        },
        log_cap: 64 * 1024,
    };
    let processes = BTreeMap::from([(web(), process)]);
    Supervisor::new(open(bed.path(), "boot"), processes, bed.path().join("logs"))
}

/// A server that ends if it cannot have its port, as servers do.
fn server(address: SocketAddr) -> String {
    let (host, port) = (address.ip(), address.port());
    format!(
        "/usr/bin/python3 -c 'import socket, time; it = socket.create_server((\"{host}\", {port})); time.sleep(1000)'"
    )
}

async fn until(supervisor: &Supervisor, fits: impl FnMut(&State) -> bool) -> State {
    let mut watch = supervisor.watch(&web()).unwrap();
    soon(watch.wait_for(fits)).await.unwrap().clone()
}

#[tokio::test]
async fn an_answer_of_another_process_does_not_count_and_that_one_is_named() {
    let bed = Bed::new();
    let foreign = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = foreign.local_addr().unwrap();
    let (supervisor, _events) = supervisor(&bed, "exec sleep 1000", address);
    supervisor.start(&web()).await.unwrap();
    let told = until(&supervisor, |state| match state {
        State::Starting { note, .. } => !note.is_empty(),
        _ => true,
    })
    .await;
    let State::Starting { note, .. } = told else {
        panic!("{told}")
    };
    let named = format!(
        "{address} is answered by another process, pid {} (",
        std::process::id()
    );
    assert!(note.contains(&named), "{note}");
    soon(supervisor.stop(&web())).await.unwrap();
}

#[tokio::test]
async fn a_process_that_dies_because_its_port_is_taken_never_ran() {
    let bed = Bed::new();
    let foreign = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = foreign.local_addr().unwrap();
    let (supervisor, mut events) = supervisor(&bed, &server(address), address);
    supervisor.start(&web()).await.unwrap();
    let failed = soon(async {
        loop {
            match events.recv().await.unwrap().state {
                state @ State::Failed { .. } => break state,
                running @ State::Running { .. } => panic!("{running:?}"),
                _ => {}
            }
        }
    })
    .await;
    assert_eq!(failed.to_string(), "failed: exit code 1");
}

#[tokio::test]
async fn a_descendant_that_listens_makes_the_process_ready() {
    let bed = Bed::new();
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap();
    drop(held);
    let script = format!("{} & wait", server(address));
    let (supervisor, _events) = supervisor(&bed, &script, address);
    supervisor.start(&web()).await.unwrap();
    let running = until(&supervisor, |state| {
        !matches!(state, State::Starting { .. })
    })
    .await;
    let State::Running { note, .. } = running else {
        panic!("{running}")
    };
    assert_eq!(note, format!("listens on {address}"));
    soon(supervisor.stop(&web())).await.unwrap();
}
