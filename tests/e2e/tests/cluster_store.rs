//! The coordinator's store: a full disk, and a file that comes back from a backup.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use interlock_e2e::local::{Cluster, for_all, shop};
use interlock_e2e::{eventually, programs, skip, tools};
use interlock_proto::v1::AttemptState;
use tonic::Code;

/// The size of the small disk: a store and not much more.
const DISK: &str = "6m";

/// Starts the coordinator with its state on a small disk of its own, and tells where that is seen from here.
fn on_a_small_disk(cluster: &mut Cluster) -> Result<PathBuf> {
    let state = cluster.path("coordinator");
    fs::create_dir_all(&state)?;
    let script = format!(
        "mount -t tmpfs -o size={DISK} none '{}' && exec '{}' run --config '{}'",
        state.display(),
        programs::coordinator()?.display(),
        cluster.path("coordinator.toml").display()
    );
    let arguments = ["--mount", "--propagation", "private", "sh", "-c", &script]
        .map(str::to_owned)
        .to_vec();
    cluster.start_coordinator_as("/usr/bin/unshare".into(), arguments)?;
    let root = format!("/proc/{}/root", cluster.coordinator_pid()?.as_raw_nonzero());
    Ok(PathBuf::from(format!("{root}{}", state.display())))
}

/// Fills a disk to the last byte.
fn fill(file: &PathBuf) -> Result<()> {
    let mut file = fs::File::create(file)?;
    let mut piece = 64 * 1024;
    while piece > 0 {
        if file.write_all(&vec![0; piece]).is_err() {
            piece /= 2;
        }
    }
    Ok(())
}

#[test]
fn a_full_disk_under_the_store_begins_nothing_new_and_says_so_until_there_is_room() -> Result<()> {
    const WHAT: &str = "a full disk under the store";
    if let Err(why) = tools::require_root() {
        skip(WHAT, &why.to_string());
        return Ok(());
    }
    let mut cluster = Cluster::prepare(&shop::layout())?;
    let disk = on_a_small_disk(&mut cluster)?;
    cluster.join()?;
    let operator = cluster.admin()?;
    cluster.hold("start:store@store1")?;
    let operation = operator.begin(&shop::startup(), false)?;
    eventually("the first step acts", Duration::from_secs(10), || {
        cluster.story().pid("start", "store@store1")
    })?;

    fill(&disk.join("filler"))?;
    // The store still has free pages in its file. Reasons in the journal use them up.
    let impatient = cluster.admin()?.within(Duration::from_secs(2));
    let reason = "x".repeat(300);
    let mut told = 0;
    let full = loop {
        let verb = if told % 2 == 0 { "pause" } else { "resume" };
        if let Err(problem) = impatient.control(&operation, verb, "", &reason) {
            break problem;
        }
        told += 1;
        ensure!(told < 20_000, "the disk does not get full");
    };
    ensure!(
        matches!(
            full.code(),
            Code::DeadlineExceeded | Code::Cancelled | Code::Unavailable
        ),
        "after {told}: refused, and not for the disk: {full}"
    );
    eventually(
        "the status names the store",
        Duration::from_secs(10),
        || {
            let causes = operator.status()?.causes;
            let cause = causes
                .iter()
                .find(|cause| cause.subject.contains("store") && cause.what.contains("space"));
            cause.map(|_| ()).with_context(|| format!("{causes:?}"))
        },
    )?;
    // Listed or shown, an operation is what the store holds, for the same reason.
    let (listed, shown) = (operator.operations()?, operator.operation(&operation)?);
    ensure!(
        !shown.store_trouble.is_empty() && listed.store_trouble == shown.store_trouble,
        "listed: {}; shown: {}",
        listed.store_trouble,
        shown.store_trouble
    );
    ensure!(
        listed.operations.first() == shown.summary.as_ref(),
        "listed: {:?}; shown: {:?}",
        listed.operations,
        shown.summary
    );
    // The step under way ends; the agent has it in its own ledger. What waits for it does not begin.
    cluster.release("start:store@store1")?;
    let agent = cluster.at_agent("store1")?;
    eventually(
        "the agent is done with the step",
        Duration::from_secs(10),
        || {
            let reports = agent
                .attempts()?
                .into_iter()
                .filter_map(|entry| entry.report);
            ensure!(
                reports
                    .into_iter()
                    .any(|report| report.state() == AttemptState::Done),
                "it is not"
            );
            Ok(())
        },
    )?;
    let late = impatient.begin(&for_all("shutdown"), false);
    ensure!(
        late.is_err(),
        "an operation was started without a durable word of it"
    );
    ensure!(
        cluster.story().count("start", "db@db1")? == 0,
        "a step began without a durable intent"
    );
    operator
        .status()
        .context("the status does not answer any more")?;

    fs::remove_file(disk.join("filler"))?;
    eventually(
        "the operation goes on",
        Duration::from_secs(30),
        || match operator.state(&operation)?.as_str() {
            "done" => Ok(()),
            "paused" => bail!(
                "resumed: {:?}",
                operator
                    .control(&operation, "resume", "", "there is room")
                    .map(|_| ())
            ),
            state => bail!("it is {state}"),
        },
    )?;
    ensure!(
        operator
            .status()?
            .causes
            .iter()
            .all(|cause| !cause.subject.contains("store")),
        "the cause is still named"
    );
    for who in shop::ORDER.concat() {
        ensure!(
            cluster.story().count("start", who)? == 1,
            "{who} was not started once"
        );
    }
    Ok(())
}

#[test]
fn a_store_that_comes_back_from_a_backup_goes_above_every_term_and_operation_that_agents_remember()
-> Result<()> {
    let mut cluster = Cluster::start(&shop::layout())?;
    let operator = cluster.admin()?;
    let store = cluster.path("coordinator/store.redb");
    let first = operator.run(&shop::startup())?;
    cluster.kill_coordinator()?;
    let backup = fs::read(&store)?;

    // What the backup does not know: later terms, later operations.
    cluster.start_coordinator()?;
    cluster.until_connected(&operator)?;
    operator.run(&for_all("shutdown"))?;
    cluster.kill_coordinator()?;
    cluster.start_coordinator()?;
    cluster.until_connected(&operator)?;
    let last = operator.run(&for_all("startup"))?;
    let agent = cluster.at_agent("web1")?;
    let highest = agent.node()?.highest_term;
    cluster.kill_coordinator()?;
    fs::write(&store, backup)?;

    cluster.start_coordinator()?;
    cluster.until_connected(&operator)?;
    let list = operator.operation(&first)?;
    ensure!(
        list.summary.unwrap_or_default().state == "done",
        "the backup has the first operation"
    );
    let term = operator.status()?.term;
    ensure!(
        term > highest,
        "the term {term} is not above {highest}, which agents remember"
    );
    let story = cluster.story().read()?.len();
    let next = operator.run(&for_all("shutdown"))?;
    let number = |operation: &str| operation.trim_start_matches("op-").parse::<u64>();
    ensure!(
        number(&next)? > number(&last)?,
        "{next} is not after {last}, which agents have in their ledgers"
    );
    ensure!(
        cluster.story().read()?.len() == story + 12,
        "the agents did not obey"
    );
    Ok(())
}

#[test]
fn an_agent_that_comes_back_to_the_same_coordinator_changes_no_term() -> Result<()> {
    let mut cluster = Cluster::start(&shop::layout())?;
    let operator = cluster.admin()?;
    let term = operator.status()?.term;
    for _ in 0..2 {
        cluster.kill_agent("web1")?;
        cluster.start_agent("web1")?;
        cluster.until_connected(&operator)?;
    }
    let after = operator.status()?.term;
    ensure!(
        after == term,
        "the term went from {term} to {after}, although leadership has not changed"
    );
    Ok(())
}
