//! The journal of a unit, read by the `journalctl` of a host that runs journald.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use interlock_e2e::{Lab, eventually};

use crate::site::{NODE, SOON, Site};

const SERVICES: &str =
    "  teller: { nodes: [app1], manager: { systemd: { unit: teller.service } } }\n";

/// Says each word that comes through a pipe.
const UNIT: &str = "[Service]\nExecStartPre=/usr/bin/mkfifo /run/words\n\
                    ExecStart=/bin/sh -c 'while true; do cat /run/words; done'\n";

/// What was collected of the unit's journal, all pieces together.
fn collected(root: &Path) -> Result<String> {
    let mut text = String::new();
    for day in fs::read_dir(root)? {
        let journals = day?.path().join(NODE).join("journal");
        for piece in fs::read_dir(journals).into_iter().flatten() {
            let path = piece?.path();
            let piece = zstd::decode_all(fs::File::open(&path)?)?;
            text += &String::from_utf8(piece)?;
        }
    }
    Ok(text)
}

impl Site<'_> {
    /// Has the unit say a word, and waits until the journal has it.
    fn say(&self, word: &str) -> Result<()> {
        self.shell(&format!("echo {word} > /run/words"))?;
        eventually(&format!("{word} in the journal"), SOON, || {
            let journal = self.shell("journalctl --unit=teller.service --output=cat")?;
            ensure!(journal.lines().any(|line| line == word), "{journal}");
            Ok(())
        })
    }

    fn collect(&self, to: &Path, since: &str) -> Result<String> {
        let out = to.display().to_string();
        self.cluster
            .run(&["logs", "collect", "--since", since, "--out", &out])?;
        collected(to)
    }
}

#[test]
fn a_journal_is_collected_from_a_time_on_and_followed() -> Result<()> {
    let Some(lab) = Lab::open("journal")? else {
        return Ok(());
    };
    let site = Site::build(&lab, SERVICES, "", &[("teller.service", UNIT)])?;
    let startup = ["startup", "--all", "--yes", "--reason", "a test"];
    site.cluster.run(&startup)?;
    site.say("early")?;
    // Times of journalctl are asked for in whole seconds.
    let since = site.shell("sleep 1.1; date --utc +%FT%TZ; sleep 0.1")?;
    site.say("later")?;

    let to = lab.directory().join("some");
    let text = site.collect(&to, since.trim())?;
    ensure!(
        text.contains("later") && !text.contains("early"),
        "since {since}: {text}"
    );
    let all = site.collect(&lab.directory().join("all"), "all")?;
    ensure!(all.contains("early") && all.contains("later"), "{all}");

    // The next collection goes on behind the last entry, which a real cursor names.
    site.say("latest")?;
    let text = site.collect(&to, since.trim())?;
    for word in ["later", "latest"] {
        let lines = text
            .lines()
            .filter(|line| line.ends_with(&format!(": {word}")));
        ensure!(lines.count() == 1, "{word}: {text}");
    }

    let mut follow = site
        .cluster
        .ctl(&["logs", "follow", NODE, "teller", "--lines", "1"])?
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(follow.stdout.take().context("no output")?).lines();
    let mut next = || lines.next().context("it has ended")?.context("no text");
    let line = next()?;
    ensure!(line.ends_with(": latest"), "{line}");
    site.say("last")?;
    let line = next()?;
    ensure!(line.ends_with(": last"), "{line}");
    drop(lines);
    let status = eventually("interlockctl to end", SOON, || {
        follow.try_wait()?.context("it still runs")
    })?;
    ensure!(status.success(), "{status}");
    lab.close()
}
