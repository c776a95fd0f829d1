//! The small file of the agent's own that makes every start of a server that of a replica (safety rule D2).
//!
//! It is included by the server's configuration, and what it says never changes: a server is promoted in its memory only. A
//! `CONFIG REWRITE`, by whoever else, writes the server's own file and not what is included, so not even that of a primary
//! makes its next start that of a primary.

use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;
use rustix::process::{getegid, geteuid};

use super::Trouble;
use crate::replace::{Whose, replace_as};

/// Whom a replica is told to follow that follows nobody. It is refused there at once, without a name to look up, for which the
/// server would stand still.
pub(super) const NOBODY: (&str, u16) = ("127.0.0.1", 1);

/// What the file says.
const TEXT: &str = "# Written by interlock-agent, and not changed by promotions. Every start is that of a replica of nobody:\n\
                    # the agent says whom it follows, or promotes it when this node holds the role.\n\
                    replicaof 127.0.0.1 1\n\
                    replica-read-only yes\n\
                    # How far it has written is counted also while nobody follows.\n\
                    repl-backlog-ttl 0\n\
                    # What it has is there at its next start.\n\
                    shutdown-on-sigterm save\n";

/// The longest configuration file that is read, in bytes. That of the package has a tenth of it.
const MAX_CONFIG: u64 = 1 << 20;

/// Sees to it that a start of the server with this configuration is that of a replica. Blocks.
///
/// # Errors
/// If the file cannot be written, or the configuration does not include it, or undoes it.
pub(super) fn see_to(config: &Path, include: &Path) -> Result<(), Trouble> {
    let failed = |doing, path: &Path| {
        let path = path.to_owned();
        move |source| Trouble::File {
            doing,
            path,
            source,
        }
    };
    let now = match read(include) {
        Ok(now) => Some(now),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(failed("read", include)(error)),
    };
    if now.as_deref() != Some(TEXT) {
        let whose = Whose {
            user: geteuid().as_raw(),
            group: getegid().as_raw(),
            mode: 0o644,
        };
        let written = replace_as(include, TEXT.as_bytes(), whose);
        written.map_err(failed("write", include))?;
    }
    let text = read(config).map_err(failed("read", config))?;
    starts_as_replica(&text, include).map_err(|why| Trouble::Config {
        path: config.to_owned(),
        why,
    })
}

/// Whether a configuration ends up as what our file says.
fn starts_as_replica(text: &str, include: &Path) -> Result<(), String> {
    let line = format!("write `include {}` as its last line", include.display());
    let mut included = false;
    for words in text.lines().map(|line| line.split_whitespace()) {
        let words: Vec<&str> = words.collect();
        let Some((key, values)) = words.split_first() else {
            continue;
        };
        let values: Vec<&str> = values
            .iter()
            .map(|it| it.trim_matches(['"', '\'']))
            .collect();
        match (key.to_ascii_lowercase().as_str(), values.as_slice()) {
            ("include", [path]) if Path::new(path) == include => included = true,
            ("include", paths) if included => {
                return Err(format!("it includes {paths:?} after that; {line}"));
            }
            ("replicaof" | "slaveof", ["no", "one"]) if included => {
                return Err(format!("it says `{key} no one` after that; {line}"));
            }
            ("replica-read-only" | "slave-read-only", ["no"]) if included => {
                return Err(format!("it says `{key} no` after that; {line}"));
            }
            _ => {}
        }
    }
    match included {
        true => Ok(()),
        false => Err(format!("it does not include that file; {line}")),
    }
}

/// The text of a regular file, and of nothing else: no pipe that would block.
fn read(path: &Path) -> io::Result<String> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let mut options = OpenOptions::new();
    let file = options.read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut text = String::new();
    file.take(MAX_CONFIG + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_CONFIG {
        return Err(io::Error::other("it is longer than 1 MiB"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn problem(text: &str) -> Option<String> {
        starts_as_replica(text, Path::new("/etc/redis/interlock.conf")).err()
    }

    #[test]
    fn a_start_is_that_of_a_replica_if_nothing_undoes_what_is_included() {
        const OURS: &str = "port 6379\ninclude /etc/redis/interlock.conf\n";
        // As `CONFIG REWRITE` of a replica leaves it.
        let rewritten = format!("{OURS}# Generated by CONFIG REWRITE\nreplicaof 10.0.0.1 6379\n");
        for good in [OURS, &rewritten, "Include \"/etc/redis/interlock.conf\"\n"] {
            assert_eq!(problem(good), None, "{good}");
        }
        for (bad, why) in [
            ("port 6379\n".to_owned(), "does not include"),
            (
                "# include /etc/redis/interlock.conf\n".to_owned(),
                "does not include",
            ),
            (format!("{OURS}replicaof no one\n"), "no one"),
            (
                format!("{OURS}replica-read-only no\n"),
                "replica-read-only no",
            ),
            (
                format!("{OURS}include /etc/redis/local.conf\n"),
                "local.conf",
            ),
        ] {
            let said = problem(&bad).unwrap_or_default();
            assert!(
                said.contains(why) && said.contains("as its last line"),
                "{said}"
            );
        }
    }

    #[test]
    fn the_file_is_written_once_and_again_when_it_was_changed() {
        let dir = tempfile::tempdir().unwrap();
        let (config, include) = (dir.path().join("redis.conf"), dir.path().join("own.conf"));
        fs::write(&config, format!("include {}\n", include.display())).unwrap();
        see_to(&config, &include).unwrap();
        assert_eq!(fs::read_to_string(&include).unwrap(), TEXT);
        fs::write(&include, "replicaof no one\n").unwrap();
        see_to(&config, &include).unwrap();
        assert_eq!(fs::read_to_string(&include).unwrap(), TEXT);
        assert!(TEXT.contains(&format!("replicaof {} {}\n", NOBODY.0, NOBODY.1)));
    }
}
