//! OCF resource agents: those of the package `resource-agents` as they are, and one that fails on demand.

mod real;
mod restarts;
mod tester;
mod thing;

use std::process::Command as Program;

use interlock_proto::v1;
use interlock_proto::v1::dispatch::Command;

use crate::lab::{Lab, has};
use crate::scripted::{Session, id};

/// Where the package puts its agents.
const AGENTS: &str = "/usr/lib/ocf/resource.d/heartbeat";

/// Is this one here? A machine without the package runs the other tests.
fn is_here(agent: &str) -> bool {
    let path = format!("{AGENTS}/{agent}");
    has("OCF resource agents", &path, "resource-agents")
}

/// And the program that it runs, which another package has?
fn is_here_with(agent: &str, program: &str, package: &str) -> bool {
    is_here(agent) && has(&format!("the resource agent {agent}"), program, package)
}

/// Set where the network and the mounts belong to this test alone.
const APART: &str = "INTERLOCK_TEST_APART";

/// Runs a test of this program, which is ignored otherwise, with a network and mounts of its own.
fn run_apart(name: &str) {
    let apart = "mount --make-rprivate / && ip link set lo up && exec \"$0\" \"$@\"";
    let run = Program::new("unshare")
        .args(["--net", "--mount", "sh", "-c", apart])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture", name])
        .env(APART, "1")
        .output();
    let ran = match run {
        Ok(ran) => ran,
        Err(error) => return skip(&format!("cannot run unshare: {error}")),
    };
    let said = String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned();
    if said.contains("unshare failed") {
        return skip("no network namespace can be made (needs root)");
    }
    assert!(ran.status.success() && said.contains("1 passed"), "{said}");
}

/// Ends a test that would change the network of this machine.
fn is_apart() {
    assert!(
        std::env::var_os(APART).is_some(),
        "this would change the network of this machine"
    );
}

fn skip(why: &str) {
    crate::lab::skip("OCF resource agents", why);
}

/// A file that permits an agent to be given these parameters for the service `probe`.
fn permit(lab: &Lab, agent: &str, parameters: &str) -> String {
    let here = lab.here();
    format!(
        "[ocf]\npath = [\"{here}/ocf.d\", \"/usr/lib/ocf/resource.d\"]\nstate = \"{here}/ocf\"\n[secrets]\ndir = \
         \"{here}\"\n[allow.services]\nprobe = {{ ocf = [{{ agent = \"{agent}\", parameters = {{ {parameters} }} }}] }}\n"
    )
}

async fn does(session: &mut Session, step: &str, command: Command) -> v1::AttemptReport {
    session.dispatch(id(step, 1), command).await;
    session.outcome(&id(step, 1)).await
}
