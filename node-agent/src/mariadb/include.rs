//! The small file of the agent's own that makes every start of a server that of a read-only one (safety rule D2).
//!
//! It is the last one that is read of the server's configuration, and what it says never changes: a server is promoted in its
//! memory only. Which of several files wins is for the server's own program to say (`--print-defaults`): it is asked what it would
//! be started with, before each start.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use rustix::process::{getegid, geteuid};
use tokio::process::Command;
use tokio::task::spawn_blocking;

use super::Trouble;
use super::settings::{STARTS, Value};
use crate::group::{Bounds, End, run};
use crate::replace::{Whose, replace_as};

/// The longest list of options that is read, in bytes.
const MAX_OPTIONS: usize = 256 << 10;

/// How long the program may take to tell them.
const TELL: Duration = Duration::from_secs(10);

/// What the file says.
fn text() -> String {
    let mut text = String::from(
        "# Written by interlock-agent, and not changed by promotions. Every start is that of a server that refuses writes and\n\
         # follows nobody: the agent says whom it follows, or promotes it when this node holds the role.\n[mariadbd]\n",
    );
    for (name, value) in STARTS {
        text.push_str(&format!("{name}={}\n", value.text()));
    }
    text.push_str("# A source that is lost is noticed.\nslave_net_timeout=4\n");
    text
}

/// Sees to it that a start of the server with this configuration is that of a read-only one.
///
/// # Errors
/// If the file cannot be written, or the configuration does not include it, or undoes it.
pub(super) async fn see_to(config: &Path, include: &Path, program: &Path) -> Result<(), Trouble> {
    let file = include.to_owned();
    let written = spawn_blocking(move || write(&file)).await;
    written.unwrap_or(Err(Trouble::Ending))?;
    let mut command = Command::new(program);
    command
        .arg(format!("--defaults-file={}", config.display()))
        .arg("--print-defaults")
        .env_clear()
        .env("LC_ALL", "C")
        .current_dir("/");
    let bounds = Bounds {
        time: TELL,
        stdout: MAX_OPTIONS,
        stderr: 4 << 10,
    };
    let failed = |why: String| Trouble::Config {
        path: config.to_owned(),
        why,
    };
    let told = run(&mut command, &[], bounds).await;
    let told = told.map_err(|source| Trouble::Start {
        program: program.to_owned(),
        source,
    })?;
    if !matches!(told.end, End::Exited(0)) || told.stdout.len() >= MAX_OPTIONS {
        let said = String::from_utf8_lossy(&told.stderr);
        let said = said.lines().next().unwrap_or_default().to_owned();
        let program = program.display();
        return Err(failed(format!(
            "{program} --print-defaults does not tell its options: {said}"
        )));
    }
    let options = String::from_utf8_lossy(&told.stdout);
    starts_read_only(&options).map_err(|why| {
        let include = include.display();
        failed(format!(
            "{why}; have `!includedir` or `!include` read {include} last"
        ))
    })
}

fn write(include: &Path) -> Result<(), Trouble> {
    let failed = |doing| {
        let path = include.to_owned();
        move |source| Trouble::File {
            doing,
            path,
            source,
        }
    };
    let now = match fs::read_to_string(include) {
        Ok(now) => Some(now),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(failed("read")(error)),
    };
    let text = text();
    if now.as_ref() == Some(&text) {
        return Ok(());
    }
    let whose = Whose {
        user: geteuid().as_raw(),
        group: getegid().as_raw(),
        // The server reads it as its own user, and takes no file that all may write.
        mode: 0o644,
    };
    replace_as(include, text.as_bytes(), whose).map_err(failed("write"))
}

/// Whether a server with these options, of which the last of a name counts, starts as our file says.
fn starts_read_only(options: &str) -> Result<(), String> {
    for (name, value) in STARTS {
        let mut given = options
            .split_whitespace()
            .filter_map(|word| option(word, name));
        match given.next_back() {
            Some(now) if value.is(&now) => {}
            Some(now) => {
                let wanted = value.text();
                return Err(format!("it starts with {name}={now}, and not {wanted}"));
            }
            None => return Err(format!("it does not say {name}={}", value.text())),
        }
    }
    Ok(())
}

/// The value that a word of a command line gives an option; none if it is of another one.
fn option(word: &str, name: &str) -> Option<String> {
    let word = word.strip_prefix("--")?;
    let (key, value) = match word.split_once('=') {
        Some((key, value)) => (key, Some(value)),
        None => (word, None),
    };
    let key = key.replace('-', "_").to_ascii_lowercase();
    let key = key.strip_prefix("loose_").unwrap_or(&key);
    if key == name {
        return Some(value.unwrap_or(Value::On.text()).to_owned());
    }
    let prefixed = |prefix: &str| key.strip_prefix(prefix) == Some(name);
    if prefixed("skip_") || prefixed("disable_") {
        return Some(Value::Off.text().to_owned());
    }
    prefixed("enable_").then(|| Value::On.text().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `--print-defaults` prints what our file says.
    fn ours() -> String {
        let all = text();
        let all: Vec<String> = all
            .lines()
            .filter(|line| line.contains('=') && !line.starts_with('#'))
            .map(|line| format!("--{line}"))
            .collect();
        format!(
            "/usr/sbin/mariadbd would have been started with the following arguments:\n--port=3306 {} ",
            all.join(" ")
        )
    }

    #[test]
    fn the_last_word_of_a_configuration_has_to_be_ours() {
        assert_eq!(starts_read_only(&ours()), Ok(()));
        let before = ours().replace("--port=3306", "--read-only=0 --skip-log-slave-updates");
        assert_eq!(starts_read_only(&before), Ok(()));
        for (after, why) in [
            ("--read-only=OFF", "read_only=OFF"),
            ("--read_only=0", "read_only=0"),
            ("--skip-read-only", "read_only=OFF"),
            ("--loose-disable-read_only", "read_only=OFF"),
            ("--skip-skip-slave-start", "skip_slave_start=OFF"),
            ("--sync-binlog=0", "sync_binlog=0"),
            ("--event-scheduler", "event_scheduler=ON"),
        ] {
            let said = starts_read_only(&format!("{}{after}", ours())).unwrap_err();
            assert!(said.contains(why), "{after}: {said}");
        }
        let nothing = starts_read_only("--port=3306").unwrap_err();
        assert!(nothing.contains("does not say read_only=ON"), "{nothing}");
    }

    #[test]
    fn the_file_is_written_once_and_again_when_it_was_changed() {
        let dir = tempfile::tempdir().unwrap();
        let own = dir.path().join("own.cnf");
        write(&own).unwrap();
        assert_eq!(fs::read_to_string(&own).unwrap(), text());
        fs::write(&own, "[mariadbd]\nread_only=OFF\n").unwrap();
        write(&own).unwrap();
        assert_eq!(fs::read_to_string(&own).unwrap(), text());
    }
}
