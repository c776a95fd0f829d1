//! A real time server, chrony's: it serves the time that it takes to be right, and leaves the clock of this machine alone.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::Command;

use interlock_model::check::Verdict;
use rustix::process::geteuid;
use tempfile::TempDir;

use crate::bed::Bed;
use crate::clock::{check, time_server};
use crate::server::Server;
use crate::skip::skip;

/// Where a machine has it that runs one.
const INSTALLED: &str = "/usr/sbin/chronyd";

/// A running server.
struct TimeServer {
    address: SocketAddr,
    _server: Server,
    _dir: TempDir,
}

impl TimeServer {
    /// With these lines of its configuration; none where there is no chrony.
    fn start(lines: &[&str]) -> Option<Self> {
        let tools = PathBuf::from(env!("CARGO_BIN_EXE_interlock-agent"));
        let unpacked = tools.parent()?.parent()?.join("tools/chrony");
        let installed = PathBuf::from(INSTALLED);
        let Some(program) = [unpacked, installed].into_iter().find(|it| it.is_file()) else {
            skip(
                "a real time server",
                "chrony is missing; `cargo xtask test` unpacks it",
            );
            return None;
        };
        let dir = tempfile::tempdir().unwrap();
        // Free a moment ago.
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = socket.local_addr().unwrap();
        drop(socket);
        let mut command = Command::new(program);
        // In the foreground, and without control of the clock.
        command.args(["-d", "-x", "-U"]);
        if geteuid().is_root() {
            command.args(["-u", "root"]);
        }
        command
            .args([&format!("port {}", address.port()), "cmdport 0"])
            .args([
                "bindaddress 127.0.0.1",
                "bindcmdaddress /",
                "allow 127.0.0.1",
            ])
            .arg(format!("pidfile {}", dir.path().join("pid").display()))
            .args(lines);
        Some(Self {
            address,
            _server: Server::start(&mut command),
            _dir: dir,
        })
    }
}

#[tokio::test]
async fn a_real_server_that_has_the_time_is_a_measure_and_one_that_has_not_is_none() {
    let bed = Bed::new();
    let Some(right) = TimeServer::start(&["local stratum 8"]) else {
        return;
    };
    bed.until(check(right.address), Verdict::Ok, "this clock is")
        .await;
    let Some(lost) = TimeServer::start(&[]) else {
        return;
    };
    let why = "is not synchronised itself";
    bed.until(check(lost.address), Verdict::Unknown, why).await;
}

#[tokio::test]
async fn a_clock_that_is_not_where_a_real_server_takes_the_time_to_be_is_bad() {
    let bed = Bed::new();
    for (ahead, evidence) in [(60, "behind"), (-60, "ahead of")] {
        // As exact as a real one, or nobody follows it.
        let source = time_server(ahead, |answer| {
            answer[3] = 0xe8;
            answer[12..16].copy_from_slice(&[127, 127, 1, 1]);
            answer.copy_within(40..48, 16);
        });
        let follows = format!(
            "server 127.0.0.1 port {} iburst minpoll -2 maxpoll -2",
            source.port()
        );
        let Some(server) = TimeServer::start(&[&follows]) else {
            return;
        };
        bed.until(check(server.address), Verdict::Bad, evidence)
            .await;
    }
}
