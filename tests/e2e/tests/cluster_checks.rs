//! A store that the cluster depends on and does not operate, asked by the machine that uses it: from the spec, through
//! coordinator and agent, to what an operator reads.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use interlock_e2e::local::{Cluster, Layout, Machine, for_services};
use interlock_e2e::{eventually, skip};
use interlock_mesh::identity::Role;
use interlock_proto::v1;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

const SPEC: &str = r#"
cluster: local
control: { coordinators: [mgmt], heartbeat: 200ms, late: 1s, lost: 3s }
nodes:
  web1: { address: NET.31 }
services:
  queue:
    external: true
    checks:
      works:
        redis: { address: "127.0.0.1:PORT", password: { secret: queue }, role: master }
        every: 300ms
        timeout: 300ms
        fresh: 10s
        fail: 1
  web:
    nodes: [web1]
    manager: { process: { name: web } }
    requires: [queue]
"#;

/// The server's program under the name that it has in Debian's package of tools: it looks at its own name.
const PROGRAM: &str = "/usr/bin/redis-check-rdb";

/// A real Redis. Killed when dropped.
struct Redis(Child);

impl Redis {
    fn start(directory: &Path, port: u16) -> Result<Self> {
        let program = directory.join("redis-server");
        if !program.exists() {
            symlink(PROGRAM, &program)?;
        }
        let server = Command::new(program)
            .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
            .args(["--requirepass", "open sesame", "--save", "", "--dir"])
            .arg(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self(server))
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(Pid::from_child(&self.0), signal)?)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // It may have been killed by the test.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until the status says this of `queue`, with a reason that contains each of these.
fn queue_is(cluster: &Cluster, state: &str, reasons: &[&str]) -> Result<v1::Status> {
    let operator = cluster.admin()?;
    let what = format!("queue to be {state}, {reasons:?}");
    eventually(&what, Duration::from_secs(30), || {
        let status = operator.status()?;
        let queue = status.services.iter().find(|s| s.service == "queue");
        let queue = queue.context("no queue")?;
        ensure!(queue.state == state, "{}: {}", queue.state, queue.reason);
        for reason in reasons {
            ensure!(queue.reason.contains(reason), "{}", queue.reason);
        }
        Ok(status)
    })
}

#[test]
fn a_store_that_answers_wrongly_or_not_at_all_is_told_with_who_saw_it_and_keeps_its_users_from_starting()
-> Result<()> {
    if !Path::new(PROGRAM).exists() {
        skip(
            "a real Redis in a cluster",
            &format!("{PROGRAM} is missing; `cargo xtask test` installs redis-tools"),
        );
        return Ok(());
    }
    let directory = TempDir::new()?;
    let secret = directory.path().join("secrets/queue");
    fs::create_dir(directory.path().join("secrets"))?;
    fs::write(&secret, "open sesame\n")?;
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600))?;
    let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    let redis = Redis::start(directory.path(), port)?;
    // The last line of its section, so that another one may follow it.
    let secrets = format!(
        "check_secrets = {{ queue = [\"127.0.0.1:{port}\"] }}\n[secrets]\ndir = \"{}\"",
        directory.path().join("secrets").display()
    );
    let cluster = Cluster::start(&Layout {
        spec: &SPEC.replace("PORT", &port.to_string()),
        machines: vec![Machine::new("web1", 31).process("web").allow(&secrets)],
    })?;
    let operator = cluster.admin()?;
    queue_is(&cluster, "ok", &[])?;

    // Its kernel accepts, and nobody answers.
    redis.signal(Signal::STOP)?;
    let seen = [
        "queue.works on web1 is unknown",
        "accepts connections, but does not answer",
    ];
    queue_is(&cluster, "unknown", &seen)?;
    let startup = for_services("startup", &["web"]);
    let refused = operator.plan(&startup)?;
    ensure!(refused.digest.is_empty(), "a plan over an unknown store");
    ensure!(
        refused.report_json.contains("queue.works") && refused.report_json.contains("web1"),
        "{}",
        refused.report_json
    );
    redis.signal(Signal::CONT)?;
    queue_is(&cluster, "ok", &[])?;

    // It answers, and lets the user no longer in: the secret of the machine is another one.
    fs::write(&secret, "hunter2\n")?;
    queue_is(
        &cluster,
        "down",
        &["refuses the login by password", "WRONGPASS"],
    )?;
    let told = cluster.ctl("anna", Role::Reader, &["status"])?;
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    ensure!(told.contains("WRONGPASS"), "{told}");
    for log in [cluster.agent_log("web1")?, cluster.coordinator_log()?, told] {
        ensure!(
            !log.contains("hunter2") && !log.contains("open sesame"),
            "{log}"
        );
    }
    fs::write(&secret, "open sesame\n")?;
    queue_is(&cluster, "ok", &[])?;
    operator.run(&startup)?;

    drop(redis);
    queue_is(
        &cluster,
        "down",
        &["queue.works on web1", "refuses connections"],
    )?;
    let _again = Redis::start(directory.path(), port)?;
    queue_is(&cluster, "ok", &[])?;
    Ok(())
}
