//! A person steers an operation: pause, resume, single steps, retry, skip, abort, unwind. And what the cluster looks
//! like after each.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use interlock_e2e::eventually;
use interlock_e2e::local::account::{started_in_order, stopped_in_order};
use interlock_e2e::local::keeper::lives;
use interlock_e2e::local::{Cluster, Layout, Line, Machine, Operator, for_all, shop};
use interlock_mesh::identity::Role;

/// The instances that run, by their own account, in the order in which they came up.
fn running(cluster: &Cluster) -> Result<Vec<String>> {
    let story = cluster.story().read()?;
    let ups = story.iter().filter(|line| line.what == "up");
    let alive = ups.filter(|line| rustix::process::Pid::from_raw(line.pid).is_some_and(lives));
    Ok(alive.map(|line| line.who.clone()).collect())
}

fn until_begun(cluster: &Cluster, what: &str, who: &str) -> Result<()> {
    eventually(&format!("{what} of {who}"), Duration::from_secs(20), || {
        ensure!(cluster.story().count(what, who)? > 0, "not yet");
        Ok(())
    })
}

/// A startup that stands inside the start of this instance.
fn startup_held_at(cluster: &Cluster, operator: &Operator, who: &str) -> Result<String> {
    cluster.hold(&format!("start:{who}"))?;
    let operation = operator.begin(&shop::startup(), false)?;
    until_begun(cluster, "start", who)?;
    Ok(operation)
}

#[test]
fn a_pause_lets_the_running_step_end_and_begins_nothing_until_it_is_resumed() -> Result<()> {
    let cluster = Cluster::start(&shop::layout())?;
    let operator = cluster.admin()?;
    let operation = startup_held_at(&cluster, &operator, "db@db1")?;
    let paused = operator.control(&operation, "pause", "", "lunch")?;
    ensure!(
        paused.summary.unwrap_or_default().state == "pausing",
        "a step is still under way"
    );
    cluster.release("start:db@db1")?;
    let seen = operator.until(&operation, "paused")?;
    ensure!(
        running(&cluster)? == ["store@store1", "db@db1"],
        "{:?}",
        running(&cluster)?
    );
    let begun = seen.steps.iter().filter(|step| step.began_ms > 0).count();
    ensure!(
        begun == 2,
        "something began while it was paused: {:#?}",
        seen.steps
    );
    ensure!(
        seen.possible.contains(&"resume".to_owned()),
        "{:?}",
        seen.possible
    );

    operator.control(&operation, "resume", "", "")?;
    operator.until(&operation, "done")?;
    started_in_order(&cluster.story().read()?, shop::ORDER)?;
    let journal = operator.journal(&operation)?;
    let paused = journal
        .iter()
        .find(|entry| entry.detail.contains("lunch"))
        .context("the pause is not in the journal")?;
    ensure!(
        paused.detail.contains("ada"),
        "the journal does not say who paused: {}",
        paused.detail
    );
    Ok(())
}

#[test]
fn in_single_steps_each_next_begins_exactly_one_step() -> Result<()> {
    let cluster = Cluster::start(&shop::layout())?;
    let operator = cluster.admin()?;
    let operation = operator.begin(&shop::startup(), true)?;
    let count = shop::ORDER.concat().len();
    for done in 0..count {
        let seen = operator.operation(&operation)?;
        let begun = seen.steps.iter().filter(|step| step.began_ms > 0).count();
        ensure!(
            begun == done,
            "{begun} steps have begun after {done} times `next`"
        );
        ensure!(
            seen.possible.contains(&"next".to_owned()),
            "{:?}",
            seen.possible
        );
        operator.control(&operation, "next", "", "")?;
        eventually("one more step is done", Duration::from_secs(20), || {
            let steps = operator.operation(&operation)?.steps;
            ensure!(
                steps.iter().filter(|step| step.state == "done").count() > done,
                "{steps:#?}"
            );
            Ok(())
        })?;
    }
    operator.until(&operation, "done")?;
    Ok(())
}

/// What `interlockctl operation VERB` prints, typed by an operator.
fn typed(cluster: &Cluster, verb: &[&str]) -> Result<String> {
    let line = [&["operation"][..], verb].concat();
    let ran = cluster.ctl("ben", Role::Operator, &line)?;
    ensure!(
        ran.status.success(),
        "{line:?} ended with {}: {}",
        ran.status,
        String::from_utf8_lossy(&ran.stderr)
    );
    Ok(String::from_utf8_lossy(&ran.stdout).into_owned())
}

/// Seen to fail with a command line whose `pause` asks for a resume, and with one whose `resume` asks for the next step.
#[test]
fn a_pause_that_is_typed_pauses_until_a_resume_is_typed() -> Result<()> {
    let cluster = Cluster::start(&shop::layout())?;
    let operator = cluster.admin()?;
    let operation = startup_held_at(&cluster, &operator, "db@db1")?;
    let said = typed(&cluster, &["pause", &operation, "--reason", "lunch"])?;
    ensure!(
        said.starts_with(&format!("{operation} is pausing, 1 of ")),
        "{said}"
    );
    cluster.release("start:db@db1")?;
    let seen = operator.until(&operation, "paused")?;
    let begun = seen.steps.iter().filter(|step| step.began_ms > 0).count();
    ensure!(begun == 2, "something began: {:#?}", seen.steps);
    let said = typed(&cluster, &["pause", &operation])?;
    ensure!(
        said.starts_with(&format!("{operation} is paused already, 2 of ")),
        "{said}"
    );

    let said = typed(&cluster, &["resume", &operation])?;
    ensure!(
        said.starts_with(&format!("{operation} is running, ")),
        "{said}"
    );
    operator.until(&operation, "done")?;
    started_in_order(&cluster.story().read()?, shop::ORDER)?;
    let asked = operator.operation(&operation)?.asked;
    let asked: Vec<_> = asked
        .iter()
        .map(|it| (&*it.verb, &*it.by, &*it.reason))
        .collect();
    ensure!(
        asked.contains(&("pause", "ben", "lunch")) && asked.contains(&("resume", "ben", "")),
        "{asked:?}"
    );
    Ok(())
}

/// Seen to fail with a command line whose `next` asks for a resume, and with one whose `resume` asks for the next step.
#[test]
fn a_next_that_is_typed_begins_one_step_and_a_resume_ends_the_single_steps() -> Result<()> {
    let cluster = Cluster::start(&shop::layout())?;
    let operator = cluster.admin()?;
    let operation = operator.begin(&shop::startup(), true)?;
    for done in 1..=2 {
        let said = typed(&cluster, &["next", &operation])?;
        ensure!(said.contains(" in single steps, "), "{said}");
        let seen = eventually("the step is done", Duration::from_secs(20), || {
            let seen = operator.operation(&operation)?;
            let ended = seen
                .steps
                .iter()
                .filter(|step| step.state == "done")
                .count();
            ensure!(ended >= done, "{:#?}", seen.steps);
            Ok(seen)
        })?;
        let begun = seen.steps.iter().filter(|step| step.began_ms > 0).count();
        ensure!(begun == done, "{begun} steps after {done} times `next`");
    }
    let said = typed(&cluster, &["resume", &operation])?;
    ensure!(!said.contains("single steps"), "{said}");
    operator.until(&operation, "done")?;
    started_in_order(&cluster.story().read()?, shop::ORDER)
}

#[test]
fn a_failed_step_halts_what_comes_later_and_a_retry_goes_on() -> Result<()> {
    let cluster = Cluster::start(&shop::layout())?;
    let operator = cluster.admin()?;
    cluster.fail("start:db@db1")?;
    let operation = operator.begin(&shop::startup(), false)?;
    let seen = operator.until(&operation, "needs-attention")?;
    ensure!(
        seen.attention.contains("start:db@db1"),
        "{}",
        seen.attention
    );
    ensure!(operator.step(&operation, "start:db@db1")?.state == "failed");
    ensure!(
        running(&cluster)? == ["store@store1"],
        "{:?}",
        running(&cluster)?
    );
    let refused = operator
        .control(&operation, "retry", "start:store@store1", "")
        .unwrap_err();
    ensure!(
        refused
            .message()
            .contains("only blocked, failed and unknown"),
        "{refused}"
    );

    cluster.release("start:db@db1")?;
    operator.control(&operation, "retry", "start:db@db1", "repaired")?;
    operator.until(&operation, "done")?;
    ensure!(operator.step(&operation, "start:db@db1")?.attempt == 2);
    ensure!(running(&cluster)?.len() == 6, "{:?}", running(&cluster)?);
    Ok(())
}

#[test]
fn a_skipped_step_needs_a_reason_and_is_done_by_nobody() -> Result<()> {
    let cluster = Cluster::start(&shop::layout())?;
    let operator = cluster.admin()?;
    cluster.fail("start:web@web2")?;
    let operation = operator.begin(&shop::startup(), false)?;
    operator.until(&operation, "needs-attention")?;
    let refused = operator
        .control(&operation, "skip", "start:web@web2", "")
        .unwrap_err();
    ensure!(refused.message().contains("--reason"), "{refused}");
    let before = cluster.story().count("start", "web@web2")?;
    operator.control(&operation, "skip", "start:web@web2", "its disk is on order")?;
    let seen = operator.until(&operation, "done")?;
    let step = seen
        .steps
        .iter()
        .find(|step| step.step == "start:web@web2")
        .context("no such step")?;
    ensure!(step.state == "skipped", "{step:?}");
    ensure!(
        cluster.story().count("start", "web@web2")? == before,
        "a skipped step was tried again"
    );
    ensure!(!running(&cluster)?.contains(&"web@web2".to_owned()));
    ensure!(running(&cluster)?.len() == 5, "{:?}", running(&cluster)?);
    Ok(())
}

#[test]
fn nothing_is_started_upon_a_failed_start_that_was_skipped() -> Result<()> {
    let cluster = Cluster::start(&shop::layout())?;
    let operator = cluster.admin()?;
    cluster.fail("start:store@store1")?;
    let operation = operator.begin(&shop::startup(), false)?;
    operator.until(&operation, "needs-attention")?;
    let skip = |step: &str| operator.control(&operation, "skip", step, "never mind");
    let refused = eventually("its agent says how it is", Duration::from_secs(20), || {
        let refused = skip("start:store@store1").unwrap_err();
        ensure!(refused.message().contains("says its agent"), "{refused}");
        Ok(refused)
    })?;
    for word in ["store on store1", "start:db@db1", "`retry`", "abort"] {
        ensure!(refused.message().contains(word), "{word}: {refused}");
    }
    ensure!(running(&cluster)?.is_empty(), "{:?}", running(&cluster)?);

    cluster.release("start:store@store1")?;
    operator.control(&operation, "retry", "start:store@store1", "repaired")?;
    operator.until(&operation, "done")?;
    ensure!(running(&cluster)?.len() == 6, "{:?}", running(&cluster)?);
    Ok(())
}

#[test]
fn nexts_that_are_sent_at_once_begin_one_step() -> Result<()> {
    let cluster = Cluster::start(&shop::layout())?;
    let operator = cluster.admin()?;
    cluster.hold("start:store@store1")?;
    let operation = operator.begin(&shop::startup(), true)?;
    operator.control(&operation, "next", "", "")?;
    for _ in 0..4 {
        let refused = operator.control(&operation, "next", "", "").unwrap_err();
        ensure!(
            refused.message().contains("start:store@store1"),
            "{refused}"
        );
    }
    cluster.release("start:store@store1")?;
    operator.until_step(&operation, "start:store@store1", "done")?;
    let begun = || -> Result<usize> {
        let steps = operator.operation(&operation)?.steps;
        Ok(steps.iter().filter(|step| step.began_ms > 0).count())
    };
    ensure!(begun()? == 1, "something else began");

    // Of two who mean the same step one is followed; and a pause is not ended by a `next`.
    operator.control(&operation, "next", "start:db@db1", "")?;
    let refused = operator.control(&operation, "next", "start:db@db1", "");
    ensure!(refused.is_err(), "twice");
    operator.until_step(&operation, "start:db@db1", "done")?;
    operator.control(&operation, "pause", "", "lunch")?;
    operator.until(&operation, "paused")?;
    let refused = operator.control(&operation, "next", "", "").unwrap_err();
    for word in ["ada", "has paused it", "lunch", "`resume` first"] {
        ensure!(refused.message().contains(word), "{word}: {refused}");
    }
    operator.control(&operation, "resume", "", "")?;
    ensure!(begun()? == 2, "a resume of single steps began one");
    operator.control(&operation, "resume", "", "")?;
    operator.until(&operation, "done")?;
    Ok(())
}

#[test]
fn a_step_that_begins_beside_another_one_is_named() -> Result<()> {
    let cluster = Cluster::start(&shop::layout())?;
    let operator = cluster.admin()?;
    let operation = operator.begin(&shop::startup(), true)?;
    for before in ["store@store1", "db@db1", "db@db2"] {
        let step = format!("start:{before}");
        eventually(&step, Duration::from_secs(20), || {
            Ok(operator.control(&operation, "next", &step, "")?)
        })?;
        operator.until_step(&operation, &step, "done")?;
    }
    let offered = |count: usize| {
        eventually("what awaits a next", Duration::from_secs(20), || {
            let steps = operator.operation(&operation)?.steps;
            let offered = steps.iter().filter(|step| step.awaits_next).count();
            ensure!(offered == count, "{steps:#?}");
            Ok(())
        })
    };
    offered(3)?;
    cluster.hold("start:web@web1")?;
    typed(&cluster, &["next", &operation])?;
    offered(2)?;
    let refused = operator.control(&operation, "next", "", "").unwrap_err();
    let line = ["operation", "next", &operation];
    let said = cluster.ctl("ben", Role::Operator, &line)?;
    ensure!(!said.status.success(), "{said:?}");
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    for word in ["start:web@web1 is running", "name the step"] {
        ensure!(refused.message().contains(word), "{word}: {refused}");
        ensure!(said.contains(word), "{word}: {said}");
    }
    let shown = typed(&cluster, &["show", &operation, "-o", "json"])?;
    ensure!(
        shown.matches("\"awaits_next\": true").count() == 2,
        "{shown}"
    );
    typed(&cluster, &["next", &operation, "start:web@web3"])?;
    operator.until_step(&operation, "start:web@web3", "done")?;
    offered(1)?;
    cluster.release("start:web@web1")?;
    operator.control(&operation, "resume", "", "")?;
    operator.until(&operation, "done")?;
    Ok(())
}

#[test]
fn an_abort_ends_the_running_attempt_and_leaves_the_rest_as_it_is() -> Result<()> {
    let cluster = Cluster::start(&shop::layout())?;
    let operator = cluster.admin()?;
    let operation = startup_held_at(&cluster, &operator, "db@db1")?;
    let starting = cluster.story().pid("start", "db@db1")?;
    operator.control(&operation, "abort", "", "wrong day")?;
    let seen = operator.until(&operation, "aborted")?;
    ensure!(!lives(starting), "the attempt's process outlived the abort");
    ensure!(
        running(&cluster)? == ["store@store1"],
        "{:?}",
        running(&cluster)?
    );
    ensure!(seen.possible.is_empty(), "{:?}", seen.possible);
    let refused = operator.control(&operation, "resume", "", "").unwrap_err();
    ensure!(refused.message().contains("is over"), "{refused}");

    // Over, it holds nothing any more.
    cluster.release("start:db@db1")?;
    cluster.until_connected(&operator)?;
    operator.run(&shop::startup())?;
    ensure!(running(&cluster)?.len() == 6, "{:?}", running(&cluster)?);
    Ok(())
}

#[test]
fn an_unwind_takes_back_what_was_done_in_the_reverse_order() -> Result<()> {
    let cluster = Cluster::start(&shop::layout())?;
    let operator = cluster.admin()?;
    let operation = startup_held_at(&cluster, &operator, "web@web2")?;
    for step in ["start:web@web1", "start:web@web3"] {
        operator.until_step(&operation, step, "done")?;
    }
    let from = cluster.story().read()?.len();
    // Shown before anybody agrees: also what is under way, and nothing of what has not begun.
    let unwind = ["operation", "abort", &operation, "--unwind"];
    let asked = cluster.ctl("ann", Role::Operator, &unwind)?;
    ensure!(asked.status.code() == Some(2), "{asked:?}");
    let shown = String::from_utf8_lossy(&asked.stdout).into_owned();
    let words = shown.lines().map(|line| line.split("  ").next());
    let told: BTreeSet<&str> = words
        .flatten()
        .filter(|it| it.starts_with("stop "))
        .collect();
    let wanted = [
        "stop store on store1",
        "stop db on db1",
        "stop db on db2",
        "stop web on web1",
        "stop web on web2",
        "stop web on web3",
    ];
    ensure!(told == BTreeSet::from(wanted), "{shown}");
    ensure!(
        operator
            .operation(&operation)?
            .summary
            .unwrap_or_default()
            .state
            == "running"
    );
    let agreed = cluster.ctl("ann", Role::Operator, &[&unwind[..], &["--yes"]].concat())?;
    ensure!(agreed.status.success(), "{agreed:?}");
    operator.until(&operation, "unwound")?;
    ensure!(running(&cluster)?.is_empty(), "{:?}", running(&cluster)?);
    // What was in the middle of its start never came up; it is no part of the order.
    let story: Vec<Line> = cluster
        .story()
        .read()?
        .into_iter()
        .skip(from)
        .filter(|line| line.who != "web@web2")
        .collect();
    stopped_in_order(
        &story,
        &[
            &["store@store1"],
            &["db@db1"],
            &["db@db2"],
            &["web@web1", "web@web3"],
        ],
    )?;
    ensure!(
        cluster.story().count("up", "web@web2")? == 0,
        "the aborted start went on"
    );
    let steps = operator.operation(&operation)?.steps;
    let undone = steps.iter().filter(|step| step.state == "undone").count();
    ensure!(undone >= 5, "{steps:#?}");
    Ok(())
}

#[test]
fn an_unwound_shutdown_starts_again_what_it_stopped() -> Result<()> {
    let cluster = Cluster::start(&shop::layout())?;
    let operator = cluster.admin()?;
    operator.run(&shop::startup())?;
    cluster.fail("stop:db@db1")?;
    let operation = operator.begin(&for_all("shutdown"), true)?;
    let steps = [
        "stop:web@web",
        "stop:web@web",
        "stop:web@web",
        "stop:db@db2",
    ];
    for (before, step) in steps.into_iter().enumerate() {
        operator.control(&operation, "next", "", "")?;
        let seen = eventually("the step is done", Duration::from_secs(20), || {
            let mut done = operator.operation(&operation)?.steps;
            done.retain(|step| step.state == "done");
            ensure!(done.len() == before + 1, "{done:#?}");
            done.into_iter()
                .max_by_key(|step| step.ended_ms)
                .context("none")
        })?;
        ensure!(
            seen.step.starts_with(step),
            "{} instead of {step}",
            seen.step
        );
    }
    ensure!(
        running(&cluster)? == ["store@store1", "db@db1"],
        "{:?}",
        running(&cluster)?
    );
    let from = cluster.story().read()?.len();
    operator.control(&operation, "unwind", "", "called back")?;
    operator.until(&operation, "unwound")?;
    let story = &cluster.story().read()?[from..];
    started_in_order(story, &[&["db@db2"], &["web@web1", "web@web2", "web@web3"]])?;
    ensure!(running(&cluster)?.len() == 6, "{:?}", running(&cluster)?);
    Ok(())
}

/// Two edges with different wait conditions.
const EDGES: &str = r#"
cluster: local
control: { coordinators: [mgmt], heartbeat: 200ms, late: 1s, lost: 3s }
nodes:
  "n[1-5]": { address: "NET.[11-15]" }
services:
  base: { nodes: [n1], manager: { process: { name: base } } }
  disk: { nodes: [n2], manager: { process: { name: disk } } }
  file: { nodes: [n3], manager: { process: { name: file } } }
  told: { nodes: [n4], manager: { process: { name: told } }, requires: { base: { start: up, stop: issued } } }
  gone: { nodes: [n5], manager: { process: { name: gone } }, requires: { disk: { start: up, stop: down }, file: { start: up, stop: going-down } } }
"#;

#[test]
fn each_edge_waits_for_its_own_condition_as_the_times_of_the_journal_show() -> Result<()> {
    let services = ["base", "disk", "file", "told", "gone"];
    let machines = services
        .iter()
        .zip(1..)
        .map(|(name, n)| Machine::new(&format!("n{n}"), 10 + n).process(name))
        .collect();
    let cluster = Cluster::start(&Layout {
        spec: EDGES,
        machines,
    })?;
    let operator = cluster.admin()?;
    operator.run(&for_all("startup"))?;
    for who in ["told@n4", "gone@n5"] {
        cluster.hold(&format!("stop:{who}"))?;
    }
    let operation = operator.begin(&for_all("shutdown"), false)?;
    // `issued` and `going-down` are enough for these two, although nothing that requires them is down.
    operator.until_step(&operation, "stop:base@n1", "done")?;
    operator.until_step(&operation, "stop:file@n3", "done")?;
    let waiting = operator.step(&operation, "stop:disk@n2")?;
    ensure!(
        waiting.state == "waiting" && waiting.waits_for == "stop:gone@n5 down",
        "{waiting:?}"
    );
    for who in ["told@n4", "gone@n5"] {
        cluster.release(&format!("stop:{who}"))?;
    }
    operator.until(&operation, "done")?;

    let journal = operator.journal(&operation)?;
    let at = |what: &str, step: &str, detail: &str| {
        let found = journal
            .iter()
            .find(|e| e.what == what && e.step == step && e.detail.starts_with(detail));
        found
            .map(|entry| (entry.at_ms, entry.sequence))
            .with_context(|| format!("no {what} {detail} of {step}: {journal:#?}"))
    };
    let intent = |step| at("intent", step, "");
    ensure!(
        at("reached", "stop:told@n4", "issued")? < intent("stop:base@n1")?,
        "base did not wait for issued"
    );
    ensure!(
        intent("stop:base@n1")? < at("proven", "stop:told@n4", "")?,
        "base waited for more than issued"
    );
    ensure!(
        at("reached", "stop:gone@n5", "going-down")? < intent("stop:file@n3")?,
        "file did not wait for going-down"
    );
    ensure!(
        intent("stop:file@n3")? < at("proven", "stop:gone@n5", "")?,
        "file waited for more than going-down"
    );
    ensure!(
        at("proven", "stop:gone@n5", "")? < intent("stop:disk@n2")?,
        "disk did not wait for down"
    );
    Ok(())
}
