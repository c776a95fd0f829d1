//! Logs of a node that brings them to a share by itself, while that is away, hangs, or answers.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use interlock_e2e::local::{Cluster, Disk, shop};
use interlock_e2e::{eventually, run, skip, tools};
use interlock_mesh::identity::Role;
use interlock_proto::v1::Liveness;

use super::{add, app, collect, ended, prepared, prepared_as, walk};

/// How soon anything of this is seen: what does not answer is given half a minute, and tried again.
const SOON: Duration = Duration::from_secs(120);

/// A file system in memory. Unmounted at the end.
struct Mounted(PathBuf);

impl Mounted {
    fn mount(at: &Path) -> Result<Option<Self>> {
        let arguments = ["-t", "tmpfs", "-o", "size=1m", "share"];
        let mounted = Command::new("mount").args(arguments).arg(at).output()?;
        if !mounted.status.success() {
            skip("a share that is away", "mounting needs root");
            return Ok(None);
        }
        Ok(Some(Self(at.to_owned())))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Lazily, because the agent may be looking.
        drop(Command::new("umount").arg("--lazy").arg(&self.0).output());
    }
}

fn unzipped(path: &Path) -> Result<String> {
    let output = Command::new("gzip")
        .args(["--decompress", "--stdout"])
        .arg(path)
        .output()?;
    ensure!(
        output.status.success(),
        "{}: {}",
        path.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// Everything that is in a share of this node's log `app`; in a spool, without a node.
fn shared(logs: &Path, node: &str) -> Result<Vec<String>> {
    let of_node = format!("/{node}app/");
    let paths = walk(logs)?.into_iter();
    let paths = paths.filter(|path| path.display().to_string().contains(&of_node));
    let mut all: Vec<String> = paths.map(|path| unzipped(&path)).collect::<Result<_>>()?;
    all.sort();
    Ok(all)
}

/// Has the agent of `web1` bring its logs to this share.
fn configure(cluster: &Cluster, share: &Path, more: &str) -> Result<()> {
    let text = format!(
        "\n[log_share]\ndir = {:?}\nmount = {share:?}\nmarker = \".alive\"\n{more}",
        share.join("logs")
    );
    add(&cluster.path("nodes/web1/agent.toml"), &text)
}

/// Another day begins, for all that the agent of `web1` knows, which is another one, too.
fn another_day(cluster: &mut Cluster) -> Result<()> {
    cluster.kill_agent("web1")?;
    let memory = cluster.path("nodes/web1/state/log-share.json");
    let mut value: serde_json::Value = serde_json::from_slice(&fs::read(&memory)?)?;
    value["taken"] = serde_json::Value::Null;
    fs::write(&memory, value.to_string())?;
    cluster.start_agent("web1").map(drop)
}

fn has_event(cluster: &Cluster, kind: &str) -> Result<()> {
    let told = cluster.ctl("olga", Role::Operator, &["events"])?;
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    let lines: Vec<&str> = told.lines().filter(|line| line.contains(kind)).collect();
    ensure!(
        matches!(lines.as_slice(), [line] if line.contains("web1")),
        "{told}"
    );
    Ok(())
}

fn says(cluster: &Cluster, words: &[&str], wanted: &str) -> Result<()> {
    let told = cluster.ctl("olga", Role::Operator, words)?;
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    ensure!(told.contains(wanted), "{told}");
    Ok(())
}

/// What `doctor` finds, as a support bundle has it.
fn examined(cluster: &Cluster) -> Result<String> {
    let bundle = cluster.path("away.tar.zst");
    let out = bundle.display().to_string();
    // One that is there is not written over.
    if bundle.exists() {
        fs::remove_file(&bundle)?;
    }
    let words = ["support", "bundle", "--out", &out];
    cluster.ctl("olga", Role::Operator, &words)?;
    let mut tar = tar::Archive::new(zstd::Decoder::new(File::open(&bundle)?)?);
    for entry in tar.entries()? {
        let mut entry = entry?;
        if entry.path()?.ends_with("doctor.json") {
            let mut text = String::new();
            entry.read_to_string(&mut text)?;
            return Ok(text);
        }
    }
    anyhow::bail!("nobody was examined")
}

#[test]
fn a_node_whose_share_is_away_says_so_keeps_its_logs_and_brings_them_later() -> Result<()> {
    let mut cluster = prepared()?;
    let share = cluster.path("share");
    fs::create_dir(&share)?;
    configure(&cluster, &share, "")?;
    // The directory is there, with the marker in it, and nothing is mounted.
    fs::write(share.join(".alive"), "")?;
    cluster.start_coordinator()?;
    cluster.join()?;
    eventually("the node to be named", Duration::from_secs(30), || {
        let output = collect(
            &cluster,
            &cluster.path("collected"),
            &["--node", "web[1-2]"],
        )?;
        let told: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        let problems = told["nodes"]["web1"]["problems"].to_string();
        ensure!(problems.contains("nothing is mounted at"), "{told}");
        ensure!(
            told["nodes"]["web2"]["problems"] == serde_json::json!([]),
            "{told}"
        );
        ended(&output, 8)
    })?;
    ensure!(
        !share.join("logs").exists(),
        "it wrote below the mount point"
    );
    eventually("that to be told", Duration::from_secs(30), || {
        has_event(&cluster, "log-share-away")
    })?;
    says(&cluster, &["status"], "note: the logs of web1 wait: ")?;
    says(&cluster, &["status"], "nothing is mounted at")?;
    says(&cluster, &["node", "show", "web1"], "nothing is mounted at")?;
    let doctor = examined(&cluster)?;
    ensure!(doctor.contains("share for the logs of web1"), "{doctor}");
    ensure!(!doctor.contains("share for the logs of web2"), "{doctor}");
    for node in ["web1", "web2"] {
        let certificate = format!("certificate of the agent of {node}");
        ensure!(doctor.contains(&certificate), "{doctor}");
    }

    let Some(mounted) = Mounted::mount(&share)? else {
        return Ok(());
    };
    fs::write(share.join(".alive"), "")?;
    let logs = share.join("logs");
    let both = "web1 line 1\nweb1 line 2\n".to_owned();
    eventually("the logs to be brought", Duration::from_secs(60), || {
        let found = shared(&logs, "web1/")?;
        ensure!(found == [both.clone()], "{found:?}");
        Ok(())
    })?;

    eventually("that to be told", Duration::from_secs(30), || {
        has_event(&cluster, "log-share-back")
    })?;
    let doctor = examined(&cluster)?;
    ensure!(!doctor.contains("share for the logs"), "{doctor}");

    // Only what is new comes.
    add(&app(&cluster, "web1", "app.log"), "web1 line 3\n")?;
    another_day(&mut cluster)?;
    eventually(
        "the new line to be brought",
        Duration::from_secs(60),
        || {
            let found = shared(&logs, "web1/")?;
            ensure!(
                found == [both.clone(), "web1 line 3\n".to_owned()],
                "{found:?}"
            );
            Ok(())
        },
    )?;
    drop(mounted);
    Ok(())
}

/// A day, so many days ago, as the share calls it and as people do.
fn day(ago: u8) -> Result<(String, String)> {
    let date = |format: &str| {
        let words = ["-u", "-d", &format!("{ago} days ago"), format];
        Ok::<_, anyhow::Error>(run(Command::new("date").args(words))?.trim().to_owned())
    };
    Ok((date("+%Y%m%d")?, date("+%Y-%m-%d")?))
}

#[test]
fn a_node_that_runs_brings_its_logs_when_the_next_day_begins_and_into_that_day() -> Result<()> {
    const WHAT: &str = "a day that ends while an agent runs";
    let library = match tools::libfaketime() {
        Ok(library) => library.display().to_string(),
        Err(why) => {
            skip(WHAT, &why.to_string());
            return Ok(());
        }
    };
    // The clock that `web1` shows its agent stands still where the file says.
    let preload = format!("LD_PRELOAD={library}");
    let under = [
        "/usr/bin/env",
        "TZ=UTC",
        &preload,
        "FAKETIME_TIMESTAMP_FILE=DIR/clock",
        "FAKETIME_CACHE_DURATION=1",
        "FAKETIME_DONT_FAKE_MONOTONIC=1",
        "DONT_FAKE_MONOTONIC=1",
    ];
    let mut layout = shop::layout();
    let machines = std::mem::take(&mut layout.machines).into_iter();
    let machines = machines.map(|it| match it.node() {
        "web1" => it.under(&under),
        _ => it,
    });
    layout.machines = machines.collect();
    let mut cluster = prepared_as(&layout)?;
    let share = cluster.path("share");
    fs::create_dir(&share)?;
    let Some(mounted) = Mounted::mount(&share)? else {
        return Ok(());
    };
    fs::write(share.join(".alive"), "")?;
    configure(&cluster, &share, "")?;
    let ((first, first_date), (second, second_date)) = (day(2)?, day(1)?);
    let clock = cluster.path("clock");
    let set = |date: &str, time: &str| fs::write(&clock, format!("{date} {time}\n"));
    set(&first_date, "23:59:58")?;
    cluster.start_coordinator()?;
    cluster.join()?;
    let logs = share.join("logs");
    let brought = |day: &str, wanted: &str| {
        eventually("the logs of a day", SOON, || {
            let found = shared(&logs.join(day), "web1/")?;
            ensure!(found == [wanted], "{found:?}");
            Ok(())
        })
    };
    brought(&first, "web1 line 1\nweb1 line 2\n")?;
    // What comes on that day waits for its end.
    add(&app(&cluster, "web1", "app.log"), "web1 line 3\n")?;
    ensure!(!logs.join(&second).exists(), "before the day began");
    set(&second_date, "00:00:01")?;
    brought(&second, "web1 line 3\n")?;
    brought(&first, "web1 line 1\nweb1 line 2\n")?;
    drop(mounted);
    Ok(())
}

#[test]
fn a_share_that_hangs_holds_up_neither_its_node_nor_the_next_agent_and_has_everything_later()
-> Result<()> {
    let mut cluster = prepared()?;
    let share = cluster.path("share");
    fs::create_dir(&share)?;
    let Some(mut disk) = Disk::mount(&share, &cluster.path("disk"))? else {
        return Ok(());
    };
    fs::write(share.join(".alive"), "")?;
    configure(&cluster, &share, "spool = \"64KiB\"\n")?;
    disk.freeze()?;
    cluster.start_coordinator()?;
    cluster.join()?;
    let operator = cluster.admin()?;
    eventually("it is told", SOON, || {
        says(&cluster, &["status"], "note: the logs of web1 wait: ")?;
        says(&cluster, &["status"], "does not answer")
    })?;
    says(&cluster, &["node", "show", "web1"], "does not answer")?;
    has_event(&cluster, "log-share-away")?;
    let doctor = examined(&cluster)?;
    ensure!(doctor.contains("share for the logs of web1"), "{doctor}");
    let nodes = ["--node", "web[1-2]"];
    let output = collect(&cluster, &cluster.path("collected"), &nodes)?;
    let told: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let problems = told["nodes"]["web1"]["problems"].to_string();
    ensure!(problems.contains("does not answer"), "{told}");
    let of_others = &told["nodes"]["web2"]["problems"];
    ensure!(*of_others == serde_json::json!([]), "{told}");
    ended(&output, 8)?;
    // Meanwhile it works as ever, and is heard.
    operator.run(&shop::startup())?;
    let is_alive = || -> Result<()> {
        let status = operator.status()?;
        let node = status.nodes.into_iter().find(|it| it.node == "web1");
        let node = node.context("no such node")?;
        ensure!(node.liveness() == Liveness::Alive, "{node:?}");
        Ok(())
    };
    is_alive()?;

    // Another day, while it hangs: what fits waits, and what does not is told. What the last agent was at keeps neither that
    // one from ending nor this one from beginning.
    add(&app(&cluster, "web1", "app.log"), "web1 line 3\n")?;
    let large = app(&cluster, "web1", "large.log");
    let random = fs::read("/proc/self/exe")?;
    fs::write(&large, &random[..1 << 20])?;
    another_day(&mut cluster)?;
    eventually("the next agent works", SOON, is_alive)?;
    eventually("that it is full is told", SOON, || {
        says(&cluster, &["status"], "full: not everything is in it")
    })?;
    let both = "web1 line 1\nweb1 line 2\n".to_owned();
    let all = [both, "web1 line 3\n".to_owned()];
    let waiting = shared(&cluster.path("nodes/web1/state/log-spool"), "")?;
    ensure!(waiting == all, "{waiting:?}");

    disk.thaw()?;
    let logs = share.join("logs");
    eventually("what waited to be brought", SOON, || {
        let found = shared(&logs, "web1/")?;
        ensure!(found == all, "{found:?}");
        says(
            &cluster,
            &["status"],
            "not everything of the last day is in the share",
        )
    })?;
    // What did not fit is there the next day.
    fs::write(&large, "web1 large\n")?;
    another_day(&mut cluster)?;
    eventually("the rest to be brought", SOON, || {
        let found = shared(&logs, "web1/")?;
        ensure!(found.contains(&"web1 large\n".to_owned()), "{found:?}");
        ensure!(found.len() == 3, "{found:?}");
        has_event(&cluster, "log-share-back")
    })
}
