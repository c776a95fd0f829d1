//! Processes and commands of an agent whose unit is restarted, stopped and killed.
//!
//! The unit file is the one that is shipped: `KillMode=process` leaves what the agent runs alone, and `Delegate=yes` gives it
//! control groups, in which a worker is found that nothing else tells.

use anyhow::{Context as _, Result, ensure};
use interlock_e2e::{Lab, Machine, eventually};

use crate::site::{SOON, Site};

const SERVICES: &str = "  web: { nodes: [app1], manager: { process: { name: web } } }
  job: { nodes: [app1], manager: { exec: { name: job } } }
";

const COMMANDS: &str = r#"[process.web]
command = ["/opt/web"]

[exec.job]
start = ["/opt/job", "start"]
stop = ["/opt/job", "stop"]
check = ["/opt/job", "check"]
time_limit = "120s"
"#;

/// Notes each start, and leaves a worker in a session of its own with nothing of its environment.
const WEB: &str = "#!/bin/sh
echo start >> /srv/web.starts
env -i setsid sh -c 'echo $$ > /srv/web.worker; exec sleep 100000' &
echo $PPID > /srv/web.shim
echo $$ > /srv/web.main
exec sleep 100000
";

/// Notes each start and stop, and ends neither before it is let go on. Its worker is hidden as the other one; that it runs no
/// more after a stop is a matter of this command, as its check is the proof.
const JOB: &str = "#!/bin/sh
case $1 in
check) kill -0 $(cat /srv/job.main) 2> /dev/null || exit 3; exit 0 ;;
start)
    echo start >> /srv/job.starts
    until [ -e /srv/started ]; do sleep 0.1; done
    setsid sleep 100000 & echo $! > /srv/job.main
    env -i setsid sh -c 'echo $$ > /srv/job.worker; exec sleep 100000' &
    ;;
stop)
    echo stop >> /srv/job.stops
    until [ -e /srv/stopped ]; do sleep 0.1; done
    kill $(cat /srv/job.main /srv/job.worker)
    ;;
esac
";

/// The processes that there are, by the file that names each.
const PROCESSES: [&str; 4] = ["web.main", "web.worker", "job.main", "job.worker"];

/// Below the group of the shipped unit.
const RUNS: &str = "/system.slice/interlock-agent.service/interlock-runs/";

impl Site<'_> {
    fn file(&self, name: &str) -> Result<String> {
        let path = format!("/srv/{name}");
        let read = self.host.exec(&["cat", &path])?;
        ensure!(!read.trim().is_empty(), "{path} is empty");
        Ok(read.trim().to_owned())
    }

    /// The process of a file, as no other one can be: with when it was started.
    fn process(&self, name: &str) -> Result<String> {
        let pid = self.file(name)?;
        let stat = self
            .host
            .exec(&["cat", &format!("/proc/{pid}/stat")])
            .with_context(|| format!("{name} does not run"))?;
        let (_, fields) = stat.rsplit_once(')').context("no stat")?;
        let started = fields.split_whitespace().nth(19).context("no start time")?;
        Ok(format!("{name} {pid} {started}"))
    }

    fn processes(&self) -> Result<Vec<String>> {
        PROCESSES.iter().map(|name| self.process(name)).collect()
    }

    /// The main process of the agent's unit.
    fn agent(&self) -> Result<String> {
        let shown = ["systemctl", "show", "--value", "--property=MainPID"];
        let pid = self
            .host
            .exec(&[&shown[..], &["interlock-agent.service"]].concat())?;
        ensure!(pid.trim() != "0", "the agent does not run");
        Ok(pid.trim().to_owned())
    }

    /// Does this to the agent's unit, and waits for the next agent to be heard.
    fn after(&self, words: &str) -> Result<()> {
        let before = self.agent()?;
        self.shell(words)?;
        eventually("the next agent", SOON, || {
            ensure!(self.agent()? != before, "it is the one of before");
            Ok(())
        })?;
        self.until_heard()
    }

    /// Nothing has ended, and nothing was begun again.
    fn unchanged(&self, before: &[String], after: &str) -> Result<()> {
        for service in ["web", "job"] {
            eventually(&format!("{service} after {after}"), SOON, || {
                let seen = self.instance(service)?;
                ensure!(
                    seen["state"] == "running" && seen["restarts"] == 0,
                    "{seen}"
                );
                Ok(())
            })?;
        }
        let now = self.processes().with_context(|| after.to_owned())?;
        ensure!(now == before, "{after}: {before:?} became {now:?}");
        for starts in ["web.starts", "job.starts"] {
            ensure!(self.file(starts)? == "start", "{after}: {starts}");
        }
        Ok(())
    }

    /// The processes in the groups of runs, those of shims left out.
    fn in_groups(&self) -> Result<String> {
        self.shell(
            "find /sys/fs/cgroup -path '*/interlock-runs/*' -name cgroup.procs ! -path '*/-shims/*' -exec cat {} +",
        )
    }
}

#[test]
fn what_an_agent_runs_outlives_it_under_the_shipped_unit_and_its_groups_prove_a_stop() -> Result<()>
{
    let Some(lab) = Lab::open("kept")? else {
        return Ok(());
    };
    let files = [("/opt/web", WEB), ("/opt/job", JOB)];
    let site = Site::build(&lab, SERVICES, COMMANDS, &files)?;
    let begin = |kind: &str| {
        let words = [kind, "--all", "--yes", "--no-wait", "--reason", "a test"];
        site.cluster.run(&words)?;
        let newest = site.cluster.newest_operation()?;
        newest["operation"]
            .as_str()
            .map(str::to_owned)
            .context("it has no name")
    };
    let done = |operation: &str| {
        eventually(&format!("{operation} to be done"), SOON, || {
            let shown = site.cluster.ask(&["operation", "show", operation])?;
            ensure!(shown["state"] == "done", "{shown:#}");
            Ok(())
        })
    };

    // A command that runs while the agent is replaced is neither ended nor begun again.
    let startup = begin("startup")?;
    eventually("the start of job", SOON, || site.file("job.starts"))?;
    site.after("systemctl restart interlock-agent")?;
    site.shell("touch /srv/started")?;
    done(&startup)?;
    let before = site.processes()?;
    site.unchanged(&before, "the start")?;
    for name in PROCESSES {
        let pid = site.file(name)?;
        let group = site.host.exec(&["cat", &format!("/proc/{pid}/cgroup")])?;
        ensure!(group.contains(RUNS), "{name} is in {group}");
        let there = site.in_groups()?;
        ensure!(there.lines().any(|it| it == pid), "{name}: {there}");
    }

    for words in [
        "systemctl restart interlock-agent",
        "systemctl stop interlock-agent && sleep 1 && systemctl start interlock-agent",
        "systemctl kill --kill-whom=main --signal=KILL interlock-agent",
    ] {
        site.after(words)?;
        site.unchanged(&before, words)?;
    }

    // Its shim is lost together with the agent: the group alone still tells of the worker.
    site.after(
        "kill -9 $(cat /srv/web.shim); systemctl kill --kill-whom=main --signal=KILL interlock-agent",
    )?;
    let now = site.processes()?;
    ensure!(now == before, "{before:?} became {now:?}");

    let shutdown = begin("shutdown")?;
    eventually("the stop of job", SOON, || site.file("job.stops"))?;
    site.after("systemctl kill --kill-whom=main --signal=KILL interlock-agent")?;
    site.shell("touch /srv/stopped")?;
    done(&shutdown)?;
    ensure!(site.file("job.stops")? == "stop", "it was stopped twice");
    for name in PROCESSES {
        ensure!(site.process(name).is_err(), "{name} outlived its stop");
    }
    eventually("empty groups", SOON, || {
        let left = site.in_groups()?;
        ensure!(left.trim().is_empty(), "left in groups: {left}");
        Ok(())
    })?;

    // Nothing is in the way of the next start.
    site.shell("rm /srv/*.starts")?;
    done(&begin("startup")?)?;
    let again = site.processes()?;
    ensure!(again != before, "{again:?}");
    site.unchanged(&again, "the second start")?;
    lab.close()
}
