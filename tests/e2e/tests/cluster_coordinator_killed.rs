//! The coordinator is killed with SIGKILL, again and again: no step is lost, none is done twice, the order stays
//! (invariants I2, I3, I4).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use interlock_e2e::local::account::{proven_once, started_in_order, stopped_in_order};
use interlock_e2e::local::{Cluster, Layout, Line, Machine, Operator, for_all, shop};
use interlock_e2e::{eventually, patience};

/// Three instances in two ranks: few entries in a journal, and each kind of them.
const SMALL: &str = r#"
cluster: local
control: { coordinators: [mgmt], heartbeat: 200ms, late: 1s, lost: 3s }
nodes:
  store1: { address: NET.11 }
  "web[1-2]": { address: "NET.[31-32]" }
services:
  store:
    nodes: [store1]
    manager: { process: { name: store } }
    checks: { answers: { tcp: "{address}:8080", every: 300ms, timeout: 300ms, fresh: 10s } }
  web:
    nodes: "web[1-2]"
    active: all
    manager: { process: { name: web } }
    requires: [store]
    checks: { answers: { tcp: "{address}:8080", every: 300ms, timeout: 300ms, fresh: 10s } }
"#;

const SMALL_ORDER: &[&[&str]] = &[&["store@store1"], &["web@web1", "web@web2"]];

fn small() -> Layout<'static> {
    let machines = [
        ("store1", 11, "store"),
        ("web1", 31, "web"),
        ("web2", 32, "web"),
    ];
    let machines = machines
        .map(|(node, host, name)| Machine::new(node, host).process(name))
        .to_vec();
    Layout {
        spec: SMALL,
        machines,
    }
}

fn kill_and_restart(cluster: &mut Cluster) -> Result<()> {
    cluster.kill_coordinator()?;
    cluster.start_coordinator()
}

/// What is done to everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Startup,
    Shutdown,
}

impl Kind {
    fn word(self) -> &'static str {
        if self == Self::Startup {
            "startup"
        } else {
            "shutdown"
        }
    }
    /// Where a stand-in is held.
    fn point(self) -> &'static str {
        if self == Self::Startup {
            "start"
        } else {
            "stop"
        }
    }
    /// What a stand-in writes before it can be held.
    fn begin(self) -> &'static str {
        if self == Self::Startup {
            "start"
        } else {
            "term"
        }
    }
    fn in_order(self, story: &[Line], groups: &[&[&str]]) -> Result<()> {
        if self == Self::Startup {
            started_in_order(story, groups)
        } else {
            stopped_in_order(story, groups)
        }
    }
}

/// Does the same on several clusters at once: agents that lose a coordinator again and again wait longer and longer
/// before they connect again, and that time is idle.
fn on_clusters<T: Sync>(of: &[T], act: impl Fn(&T) -> Result<()> + Sync) -> Result<()> {
    std::thread::scope(|scope| {
        let running: Vec<_> = of.iter().map(|one| scope.spawn(|| act(one))).collect();
        for one in running {
            one.join()
                .map_err(|_| anyhow!("a cluster's thread has panicked"))??;
        }
        Ok(())
    })
}

/// Waits until exactly one step is under way whose instance is held, and tells the instance. The step before may be
/// under way again: that it is done is shown at once, and known after a kill only if it was durable by then.
fn under_way(
    cluster: &Cluster,
    operator: &Operator,
    operation: &str,
    kind: Kind,
) -> Result<String> {
    let held = |who: &str| {
        cluster
            .path("holds")
            .join(format!("{}:{who}", kind.point()))
            .exists()
    };
    eventually("a step is under way", Duration::from_secs(20), || {
        let steps = operator.operation(operation)?.steps;
        let running = steps.iter().filter(|step| step.state == "running");
        let instances = running
            .filter_map(|step| step.step.split_once(':'))
            .map(|(_, who)| who);
        match instances
            .filter(|who| held(who))
            .collect::<Vec<_>>()
            .as_slice()
        {
            [who] => Ok((*who).to_owned()),
            other => bail!("under way are {other:?} of {steps:#?}"),
        }
    })
}

/// When the coordinator is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// Between two steps: nothing is under way.
    Before,
    /// What the step does to its instance has begun, and has not ended.
    Inside,
}

/// One operation in single steps, with a kill at each of them.
fn killed_at_every_step(cluster: &mut Cluster, kind: Kind, moment: Moment) -> Result<()> {
    let operator = cluster.admin()?;
    if kind == Kind::Shutdown {
        operator.run(&shop::startup())?;
    }
    let plan = operator.plan(&if kind == Kind::Startup {
        shop::startup()
    } else {
        for_all("shutdown")
    })?;
    ensure!(!plan.digest.is_empty(), "{}", plan.report_json);
    let from = cluster.story().read()?.len();
    let instances: Vec<&str> = shop::ORDER.concat();
    for who in &instances {
        cluster.hold(&format!("{}:{who}", kind.point()))?;
    }
    let operation = operator
        .start(&plan.digest, true)?
        .summary
        .context("no summary")?
        .operation;
    for _ in &instances {
        if moment == Moment::Before {
            kill_and_restart(cluster)?;
        }
        eventually("the operation may go on", Duration::from_secs(10), || {
            Ok(operator.control(&operation, "next", "", "")?)
        })?;
        let who = under_way(cluster, &operator, &operation, kind)?;
        let step = format!("{}:{who}", kind.point());
        eventually("the step acts", Duration::from_secs(20), || {
            let story = &cluster.story().read()?[from..];
            ensure!(
                story
                    .iter()
                    .any(|line| line.what == kind.begin() && line.who == who),
                "{step} has not begun"
            );
            Ok(())
        })?;
        if moment == Moment::Inside {
            kill_and_restart(cluster)?;
        }
        cluster.release(&format!("{}:{who}", kind.point()))?;
        operator.until_step(&operation, &step, "done")?;
    }
    operator.until(&operation, "done")?;
    proven_once(&operator, &operation)?;
    kind.in_order(&cluster.story().read()?[from..], shop::ORDER)
}

#[test]
fn killed_before_every_step_it_does_each_step_once_and_in_order() -> Result<()> {
    on_clusters(&[Kind::Startup, Kind::Shutdown], |kind| {
        killed_at_every_step(&mut Cluster::start(&shop::layout())?, *kind, Moment::Before)
    })
}

#[test]
fn killed_inside_every_step_it_does_each_step_once_and_in_order() -> Result<()> {
    on_clusters(&[Kind::Startup, Kind::Shutdown], |kind| {
        killed_at_every_step(&mut Cluster::start(&shop::layout())?, *kind, Moment::Inside)
    })
}

/// Runs an operation, and kills the coordinator as soon as its journal has this many entries. False if it is over
/// before.
fn killed_at(
    cluster: &mut Cluster,
    operator: &Operator,
    kind: Kind,
    entries: usize,
) -> Result<bool> {
    // Plans are made of what agents say, and the last one may have been waiting to connect again.
    cluster.until_connected(operator)?;
    let from = cluster.story().read()?.len();
    let operation = operator.begin(&for_all(kind.word()), false)?;
    let give_up = Instant::now() + patience(Duration::from_secs(20));
    // Not `eventually`: between two looks of that, several entries are written.
    let killed = loop {
        let journal = operator.journal(&operation)?;
        if journal.last().is_some_and(|last| last.what == "turned") {
            break false;
        }
        if journal.len() >= entries {
            kill_and_restart(cluster)?;
            break true;
        }
        if Instant::now() > give_up {
            bail!("{operation} has stopped at {journal:#?}");
        }
    };
    operator.until(&operation, "done")?;
    proven_once(operator, &operation)?;
    kind.in_order(&cluster.story().read()?[from..], SMALL_ORDER)?;
    Ok(killed)
}

/// How many clusters share the entries of a journal.
const SHARES: usize = 6;

#[test]
fn killed_at_every_entry_of_the_journal_it_does_each_step_once_and_in_order() -> Result<()> {
    let killed = AtomicUsize::new(0);
    let shares: Vec<usize> = (0..SHARES).collect();
    on_clusters(&shares, |share| {
        let mut cluster = Cluster::start(&small())?;
        let operator = cluster.admin()?;
        for entries in (1 + share..).step_by(SHARES) {
            let up = killed_at(&mut cluster, &operator, Kind::Startup, entries)?;
            let down = killed_at(&mut cluster, &operator, Kind::Shutdown, entries)?;
            killed.fetch_add(usize::from(up) + usize::from(down), Ordering::Relaxed);
            if !up && !down {
                break;
            }
        }
        Ok(())
    })?;
    // Start, and for each of three steps at least intent, issued and proof, in both directions.
    let killed = killed.into_inner();
    ensure!(
        killed >= 20,
        "only {killed} kills: the operations were over too fast to be tested"
    );
    Ok(())
}
