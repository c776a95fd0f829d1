//! Logs of nodes, brought to a workstation, and to a share (`share`).

mod share;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use interlock_e2e::local::{Cluster, Layout, Life, shop};
use interlock_e2e::printed::as_on_the_page;
use interlock_e2e::{eventually, programs};
use interlock_mesh::identity::Role;
use rustix::process::Signal;

/// A cluster whose web nodes have a log `app`, with some lines in it.
fn cluster() -> Result<Cluster> {
    let mut cluster = prepared()?;
    cluster.start_coordinator()?;
    cluster.join()?;
    Ok(cluster)
}

/// The same before anything of it runs.
fn prepared() -> Result<Cluster> {
    prepared_as(&shop::layout())
}

/// The same of another layout with the same nodes.
fn prepared_as(layout: &Layout<'_>) -> Result<Cluster> {
    let cluster = Cluster::prepare(layout)?;
    for node in ["web1", "web2", "web3"] {
        let here = cluster.path("nodes").join(node);
        fs::create_dir_all(here.join("app"))?;
        fs::write(
            here.join("app/app.log"),
            format!("{node} line 1\n{node} line 2\n"),
        )?;
        let mut file = OpenOptions::new()
            .append(true)
            .open(here.join("agent.toml"))?;
        let globs = here.join("app/*.log*");
        writeln!(file, "\n[logs.app]\nglobs = [{globs:?}]\nservice = \"web\"")?;
    }
    Ok(cluster)
}

fn app(cluster: &Cluster, node: &str, name: &str) -> PathBuf {
    cluster.path("nodes").join(node).join("app").join(name)
}

fn add(path: &Path, text: &str) -> Result<()> {
    Ok(OpenOptions::new()
        .append(true)
        .open(path)?
        .write_all(text.as_bytes())?)
}

fn collect(cluster: &Cluster, to: &Path, more: &[&str]) -> Result<Output> {
    let to = to.display().to_string();
    let arguments = [&["logs", "collect", "--format", "json", "--out", &to], more].concat();
    cluster.ctl("olga", Role::Operator, &arguments)
}

fn ended(output: &Output, code: i32) -> Result<()> {
    let talk = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(code),
        "{:?}: {talk}",
        output.status
    );
    Ok(())
}

/// All files below a directory.
fn walk(root: &Path) -> Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                all.push(path);
            }
        }
    }
    Ok(all)
}

/// Everything that a collection has of a node's log `app`: the end of each path, and the content.
fn content(root: &Path, node: &str) -> Result<BTreeMap<String, String>> {
    let of_node = format!("/{node}/app/");
    let mut all = BTreeMap::new();
    for path in walk(root)? {
        let shown = path.display().to_string();
        if shown.ends_with(".zst") && shown.contains(&of_node) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let text = String::from_utf8(zstd::decode_all(File::open(&path)?)?)?;
            all.insert(name.into_owned(), text);
        }
    }
    Ok(all)
}

fn checked(root: &Path) -> Result<()> {
    let checked = Command::new("sha256sum")
        .args(["--check", "--quiet", "SHA256SUMS"])
        .current_dir(root)
        .output()?;
    ensure!(
        checked.status.success(),
        "{}",
        String::from_utf8_lossy(&checked.stderr)
    );
    let sums = fs::read_to_string(root.join("SHA256SUMS"))?;
    for path in walk(root)? {
        let below = path.strip_prefix(root)?.display().to_string();
        ensure!(
            !below.ends_with(".zst") || sums.contains(&format!("  {below}\n")),
            "{below} has no checksum: {sums}"
        );
    }
    Ok(())
}

#[test]
fn every_line_is_collected_once_also_of_files_that_grow_and_rotate() -> Result<()> {
    let cluster = cluster()?;
    let to = cluster.path("collected");
    ended(&collect(&cluster, &to, &[])?, 0)?;
    let first = content(&to, "web1")?;
    ensure!(
        first
            == [(
                "app.log.zst".to_owned(),
                "web1 line 1\nweb1 line 2\n".to_owned()
            )]
            .into(),
        "{first:?}"
    );
    checked(&to)?;

    // Nothing new: nothing comes.
    let again = collect(&cluster, &to, &["--node", "web1"])?;
    ended(&again, 0)?;
    let told: serde_json::Value = serde_json::from_slice(&again.stdout)?;
    ensure!(told["nodes"]["web1"]["new_bytes"] == 0, "{told}");
    as_on_the_page("collected", &[told])?;

    // One goes on, is renamed, and another takes its name; one is copied and cut.
    let log = app(&cluster, "web1", "app.log");
    add(&log, "web1 line 3\n")?;
    fs::rename(&log, app(&cluster, "web1", "app.log.1"))?;
    fs::write(&log, "web1 line 4\n")?;
    let log = app(&cluster, "web2", "app.log");
    fs::copy(&log, app(&cluster, "web2", "app.log.1"))?;
    fs::write(&log, "web2 line 3\n")?;
    ended(&collect(&cluster, &to, &[])?, 0)?;
    for (node, lines) in [("web1", 4), ("web2", 3), ("web3", 2)] {
        let all: String = content(&to, node)?.into_values().collect();
        let mut found: Vec<&str> = all.lines().collect();
        found.sort_unstable();
        let expected: Vec<String> = (1..=lines).map(|n| format!("{node} line {n}")).collect();
        ensure!(found == expected, "{node}: {found:?}");
    }
    checked(&to)
}

#[test]
fn files_that_were_not_changed_since_are_left_where_they_are() -> Result<()> {
    let cluster = cluster()?;
    let old = app(&cluster, "web1", "app.log");
    let of_1970 = SystemTime::UNIX_EPOCH + Duration::from_secs(7 * 24 * 60 * 60);
    let file = OpenOptions::new().append(true).open(&old)?;
    file.set_modified(of_1970)?;
    fs::write(app(&cluster, "web1", "app.log.1"), "web1 line 3\n")?;
    let names = |to: &Path| content(to, "web1").map(|all| all.into_keys().collect::<Vec<_>>());

    let to = cluster.path("some");
    for since in ["1970-01-09T00:00:00Z", "1d"] {
        ended(&collect(&cluster, &to, &["--since", since])?, 0)?;
        ensure!(
            names(&to)? == ["app.log.1.zst"],
            "{since}: {:?}",
            names(&to)?
        );
    }
    // It is the file that is left out, not a part of one.
    file.set_modified(of_1970 + Duration::from_secs(2 * 24 * 60 * 60))?;
    ended(
        &collect(&cluster, &to, &["--since", "1970-01-09T00:00:00Z"])?,
        0,
    )?;
    let all = content(&to, "web1")?;
    ensure!(
        all.get("app.log.zst").map(String::as_str) == Some("web1 line 1\nweb1 line 2\n"),
        "{all:?}"
    );
    checked(&to)
}

#[test]
fn a_node_that_does_not_answer_is_named_and_a_bundle_has_the_others() -> Result<()> {
    let mut cluster = cluster()?;
    cluster.kill_agent("web2")?;
    let bundle = cluster.path("shop.tar.zst");
    let output = collect(&cluster, &bundle, &["--node", "web[1-2]"])?;
    ended(&output, 8)?;
    let told: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let why = told["nodes"]["web2"]["failed"].as_str().unwrap_or_default();
    ensure!(why.contains("web2 is not connected"), "{told}");
    as_on_the_page("collected", &[told])?;
    let unpacked = cluster.path("unpacked");
    tar::Archive::new(zstd::Decoder::new(File::open(&bundle)?)?).unpack(&unpacked)?;
    let root = unpacked.join("shop");
    ensure!(content(&root, "web1")?.len() == 1 && content(&root, "web2")?.is_empty());
    let result = fs::read_to_string(root.join("result.json"))?;
    ensure!(result.contains("web2 is not connected"), "{result}");
    checked(&root)
}

#[test]
fn nothing_that_the_agents_file_does_not_name_is_read_by_anybody() -> Result<()> {
    let cluster = cluster()?;
    let secret = cluster.path("secret.log");
    fs::write(&secret, "hunter2\n")?;
    symlink(&secret, app(&cluster, "web1", "led.log"))?;
    fs::hard_link(&secret, app(&cluster, "web1", "hard.log"))?;
    let to = cluster.path("collected");
    // The file with two names is told, because it may be a mistake; a link is no file of this log.
    let output = collect(&cluster, &to, &["--node", "web1"])?;
    ended(&output, 8)?;
    let told: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let problems = told["nodes"]["web1"]["problems"].to_string();
    ensure!(
        problems.contains("hard.log: it has 2 names") && !problems.contains("led.log"),
        "{told}"
    );
    as_on_the_page("collected", &[told])?;
    let all: String = content(&to, "web1")?.into_values().collect();
    ensure!(
        !all.contains("hunter2") && all.contains("web1 line 1"),
        "{all}"
    );

    let to = cluster.path("other");
    let denied = cluster.ctl(
        "rita",
        Role::Reader,
        &["logs", "collect", "--out", &to.display().to_string()],
    )?;
    ended(&denied, 8)?;
    let talk = String::from_utf8_lossy(&denied.stderr);
    ensure!(talk.contains("does not permit it"), "{talk}");
    ensure!(content(&to, "web1")?.is_empty());
    Ok(())
}

#[test]
fn the_log_of_a_service_is_shown_as_it_is_written_and_ends_with_its_reader() -> Result<()> {
    let cluster = cluster()?;
    let files = cluster
        .authority()
        .operator("olga", Role::Operator, Life::Now)?;
    let mut follow = Command::new(programs::ctl()?)
        .args(["logs", "follow", "web1", "web", "--lines", "1"])
        .env("INTERLOCK_CONFIG", cluster.path("interlockctl.toml"))
        .env("INTERLOCK_ENDPOINT", cluster.endpoint())
        .env(
            "INTERLOCK_TLS_DIR",
            files.key.parent().context("a key in no directory")?,
        )
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(follow.stdout.take().context("no output")?);
    let mut line = String::new();
    lines.read_line(&mut line)?;
    ensure!(line == "web1 line 2\n", "{line:?}");
    add(&app(&cluster, "web1", "app.log"), "web1 line 3\n")?;
    line.clear();
    lines.read_line(&mut line)?;
    ensure!(line == "web1 line 3\n", "{line:?}");
    // The reader goes: the program ends by itself, and well, although nothing more is written.
    drop(lines);
    let status = eventually("interlockctl to end", Duration::from_secs(20), || {
        follow.try_wait()?.context("it still runs")
    })?;
    ensure!(status.success(), "{status}");

    let nothing = cluster.ctl("olga", Role::Operator, &["logs", "follow", "web1", "db"])?;
    ended(&nothing, 2)?;
    let talk = String::from_utf8_lossy(&nothing.stderr);
    ensure!(talk.contains("[logs.db]"), "{talk}");
    let nobody = cluster.ctl("olga", Role::Operator, &["logs", "follow", "web9", "web"])?;
    ended(&nobody, 2)?;
    let talk = String::from_utf8_lossy(&nobody.stderr);
    ensure!(talk.contains("no node web9"), "{talk}");
    Ok(())
}

/// Memory that a process has used at most, in bytes.
fn peak(pid: rustix::process::Pid) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line
        .and_then(|line| line.split_whitespace().next())
        .context("no VmHWM")?;
    Ok(kib.parse::<u64>()? * 1024)
}

#[test]
fn a_collection_that_was_killed_goes_on_and_a_large_log_fills_nobodys_memory() -> Result<()> {
    const SIZE: usize = 12 << 20;
    let cluster = cluster()?;
    let mut large = String::with_capacity(SIZE + 64);
    let mut state = 1_u64;
    while large.len() < SIZE {
        // Lines that compress to half of them, as hexadecimal digits do.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        large += &format!("{state:016x}{:016x}\n", state.rotate_left(17));
    }
    fs::write(app(&cluster, "web1", "large.log"), &large)?;
    let before = [
        peak(cluster.coordinator_pid()?)?,
        peak(cluster.agent_pid("web1")?)?,
    ];
    let to = cluster.path("collected");
    let files = cluster
        .authority()
        .operator("olga", Role::Operator, Life::Now)?;
    let mut killed = Command::new(programs::ctl()?)
        .args(["logs", "collect", "--node", "web1", "--out"])
        .arg(&to)
        .env("INTERLOCK_CONFIG", cluster.path("interlockctl.toml"))
        .env("INTERLOCK_ENDPOINT", cluster.endpoint())
        .env(
            "INTERLOCK_TLS_DIR",
            files.key.parent().context("a key in no directory")?,
        )
        .stderr(Stdio::null())
        .spawn()?;
    // As soon as something of it has come, however far that is.
    eventually("something to come", Duration::from_secs(60), || {
        let begun = walk(&to)?.iter().any(|path| {
            path.ends_with("large.log.zst") && path.metadata().is_ok_and(|file| file.len() > 0)
        });
        ensure!(begun || killed.try_wait()?.is_some(), "nothing yet");
        Ok(())
    })?;
    killed.kill()?;
    killed.wait()?;
    ended(&collect(&cluster, &to, &["--node", "web1"])?, 0)?;
    let found = content(&to, "web1")?;
    ensure!(
        found.get("large.log.zst") == Some(&large),
        "{:?}",
        found.keys()
    );
    checked(&to)?;
    let after = [
        peak(cluster.coordinator_pid()?)?,
        peak(cluster.agent_pid("web1")?)?,
    ];
    for (before, after) in before.into_iter().zip(after) {
        ensure!(
            after < before + SIZE as u64,
            "{before} bytes became {after}"
        );
    }
    Ok(())
}

#[test]
fn what_a_killed_collection_had_brought_has_its_checksum_after_the_next_one() -> Result<()> {
    let cluster = cluster()?;
    let to = cluster.path("collected");
    ended(&collect(&cluster, &to, &[])?, 0)?;
    for node in ["web1", "web2", "web3"] {
        add(&app(&cluster, node, "app.log"), "a third line\n")?;
    }
    // It waits for one node when it is killed, and has all of another one.
    let hung = cluster.agent_pid("web1")?;
    rustix::process::kill_process(hung, Signal::STOP)?;
    let mut killed = cluster.ctl_command("olga", Role::Operator)?;
    let mut killed = killed
        .args(["logs", "collect", "--out"])
        .arg(&to)
        .stderr(Stdio::null())
        .spawn()?;
    let brought = eventually("web2 to be through", Duration::from_secs(60), || {
        let index = fs::read_to_string(to.join("index/web2.json"))?;
        let through = index.matches("\"stored\"").count();
        ensure!(through == 2, "{through} pieces: {index}");
        Ok(())
    });
    killed.kill()?;
    killed.wait()?;
    rustix::process::kill_process(hung, Signal::CONT)?;
    brought?;
    // What was being written then is known to nobody.
    for path in walk(&to)?.iter().filter(|it| it.ends_with("app.log.zst")) {
        add(path, "broken off")?;
    }
    eventually("web1 is back", Duration::from_secs(60), || {
        ended(&collect(&cluster, &to, &[])?, 0)
    })?;
    checked(&to)?;
    for node in ["web1", "web2", "web3"] {
        let all = content(&to, node)?;
        let wanted = format!("{node} line 1\n{node} line 2\na third line\n");
        ensure!(all.get("app.log.zst") == Some(&wanted), "{all:?}");
    }
    Ok(())
}

#[test]
fn a_name_that_is_refused_here_shifts_nothing_and_the_agents_own_key_is_no_log() -> Result<()> {
    let mut cluster = prepared()?;
    let here = cluster.path("nodes").join("web1");
    let key = fs::read_to_string(here.join("agent.toml"))?
        .lines()
        .find_map(|line| line.strip_prefix("key = "))
        .context("no key in the file")?
        .trim_matches('"')
        .to_owned();
    for (name, text) in [
        ("a\u{1b}[31m.log", "red\n"),
        ("b.log", "b\n"),
        ("c.log", "c\n"),
    ] {
        fs::write(here.join("app").join(name), text)?;
    }
    let mut file = OpenOptions::new()
        .append(true)
        .open(here.join("agent.toml"))?;
    let keys = Path::new(&key).with_file_name("*");
    writeln!(file, "\n[logs.keys]\nglobs = [{keys:?}]\nservice = \"web\"")?;
    cluster.start_coordinator()?;
    cluster.join()?;

    let to = cluster.path("collected");
    let output = collect(&cluster, &to, &["--node", "web1"])?;
    ended(&output, 8)?;
    let told: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let problems = told["nodes"]["web1"]["problems"].to_string();
    for word in ["31m.log", "the agent's own"] {
        ensure!(problems.contains(word), "{problems}");
    }
    let mut seen = BTreeMap::new();
    for path in walk(&to)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let text = match name.strip_suffix(".zst") {
            Some(_) => String::from_utf8(zstd::decode_all(File::open(&path)?)?)?,
            None => continue,
        };
        ensure!(
            !text.contains("PRIVATE KEY"),
            "{} has a key",
            path.display()
        );
        seen.insert(name.into_owned(), text);
    }
    for (name, text) in [("b.log.zst", "b\n"), ("c.log.zst", "c\n")] {
        ensure!(seen.get(name).map(String::as_str) == Some(text), "{seen:?}");
    }
    Ok(())
}
