//! The demo, played by nobody: from the programs that are built already, to what it leaves running, and to its end.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

/// The longest that any of it takes.
const PATIENCE: Duration = Duration::from_secs(300);

/// Plays it with the programs of this directory. It checks itself; what it leaves running has to answer, and to be gone when it
/// was ended.
pub(crate) fn play(programs: &Path) -> Result<()> {
    let demo = |words: &[&str]| {
        let mut command = Command::new(programs.join("xtask"));
        command.arg("demo").args(words).stdin(Stdio::null());
        command
    };
    let told = tempfile::NamedTempFile::new()?;
    let playing = demo(&["--built", "--keep"]).stdout(told.reopen()?).spawn();
    let ended = bounded(playing.context("cannot play the demo")?)?;
    let told = fs::read_to_string(told.path())?;
    ensure!(ended.success(), "the demo ended with {ended}:\n{told}");
    let after = |words: &str| {
        let line = told
            .lines()
            .find_map(|line| line.trim().strip_prefix(words));
        line.with_context(|| format!("it does not tell its `{words}`:\n{told}"))
    };
    let directory = Path::new(after("cargo xtask demo --end ")?);
    let looked = look(&told, programs);
    // Whatever was seen, it is ended.
    let ended = bounded(demo(&["--end"]).arg(directory).spawn()?)?;
    looked?;
    ensure!(ended.success(), "its end ended with {ended}");
    ensure!(
        !directory.exists(),
        "{} is there still",
        directory.display()
    );
    let left = of(directory)?;
    ensure!(left.is_empty(), "these run still: {left:#?}");
    println!(
        "{}",
        told.lines()
            .rfind(|line| line.starts_with("The demo took"))
            .unwrap_or_default()
    );
    Ok(())
}

/// What was left running answers as it is told.
fn look(told: &str, programs: &Path) -> Result<()> {
    let exported = told
        .lines()
        .filter_map(|line| line.trim().strip_prefix("export "));
    let status = Command::new(programs.join("interlockctl"))
        .arg("status")
        .envs(exported.filter_map(|line| line.split_once('=')))
        .output()?;
    let said = String::from_utf8_lossy(&status.stdout);
    ensure!(
        status.status.success() && said.contains("jb4"),
        "what it left running does not answer: {status:?}"
    );
    Ok(())
}

/// Waits for its end, and does not wait for ever.
fn bounded(mut child: Child) -> Result<ExitStatus> {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if began.elapsed() > PATIENCE {
            child.kill()?;
            child.wait()?;
            bail!(
                "it has not ended after {} s, and was killed",
                PATIENCE.as_secs()
            );
        }
        sleep(Duration::from_millis(100));
    }
}

/// The commands that run and name something below this directory.
fn of(directory: &Path) -> Result<Vec<String>> {
    let name = directory.display().to_string();
    let lines = fs::read_dir("/proc")?.flatten().filter_map(|process| {
        let line = fs::read(process.path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&line).replace('\0', " "))
    });
    Ok(lines.filter(|line| line.contains(&name)).collect())
}
