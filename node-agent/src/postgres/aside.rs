//! Saving what a rejoin loses (safety rule D3).
//!
//! What the other server never got is in the log behind the fork. Its files are copied into a directory of their own, named by the
//! time and the fork, with a text that says what they are; pg_waldump(1) shows what is in them, and a copy of the server from before
//! recovers with them. Nothing that was saved is ever removed here: when there is no more room for it, what is saved is not
//! complete, and that is told.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::cluster::Site;
use super::deadline::Deadline;
use super::layout::Layout;
use super::{Fork, Timeline, Trouble, compare, files};

/// What begins the name of a directory that is not complete.
const PART: &str = ".part-";
/// The text in each directory.
const ABOUT: &str = "README";

/// What was saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// Where it is.
    pub dir: PathBuf,
    /// What was lost, in bytes.
    pub lost: u64,
    /// And in transactions that were committed; none if nobody can tell.
    pub transactions: Option<u64>,
    /// Files of the log that were not saved, because the server had removed them or there was no more room.
    pub missing: Vec<String>,
}

/// Saves the log of a stopped server behind the fork.
pub(super) async fn save(site: &Site, fork: Fork, deadline: Deadline) -> Result<Saved, Trouble> {
    let control = compare::control(site, &site.layout.data, deadline).await?;
    let transactions = compare::commits_behind(site, fork, deadline).await;
    let work = Work {
        transactions,
        layout: site.layout.clone(),
        aside: site.config.aside.clone(),
        limit: site.config.aside_limit,
        fork,
        segment_bytes: control.segment_bytes,
        about: format!(
            "The write-ahead log of database system {} that no other server has: timeline {}, from {} to {} ({} bytes).\n\
             {}pg_waldump -p . -t {} -s {} shows what is in it.\n",
            control.system,
            fork.timeline,
            fork.at,
            fork.end,
            fork.bytes(),
            transactions.map_or_else(String::new, |number| {
                format!("Transactions that were committed there: {number}.\n")
            }),
            fork.timeline,
            fork.at,
        ),
    };
    site.blocking(deadline, move || work.save()).await
}

struct Work {
    layout: Layout,
    aside: PathBuf,
    limit: u64,
    fork: Fork,
    segment_bytes: u64,
    transactions: Option<u64>,
    about: String,
}

impl Work {
    fn save(&self) -> Result<Saved, Trouble> {
        files::make_dir(&self.aside, self.layout.owner)?;
        let fork = self.fork;
        let plain = |lsn: super::Lsn| lsn.to_string().replace('/', "-");
        let what = format!(
            "timeline-{}-from-{}-to-{}",
            fork.timeline,
            plain(fork.at),
            plain(fork.end)
        );
        let log = self.layout.data.join("pg_wal");
        let names = names(&log)?;
        let (wanted, missing) = self.wanted(&names);
        if let Some(dir) = self.saved_before(&what)? {
            return Ok(Saved {
                missing: lacking(&dir, wanted.into_iter().chain(missing))?,
                dir,
                lost: fork.bytes(),
                transactions: self.transactions,
            });
        }
        let part = self.aside.join(format!("{PART}{what}"));
        files::remove_dir(&part)?;
        files::make_dir(&part, self.layout.owner)?;
        let mut room = self.limit.saturating_sub(size(&self.aside)?);
        let mut missing = missing;
        for name in wanted {
            let file = log.join(&name);
            let bytes = fs::symlink_metadata(&file)
                .map_err(files::failed("look at", &file))?
                .len();
            if bytes > room {
                missing.push(name);
                continue;
            }
            room -= bytes;
            files::copy(&file, &part.join(&name), self.layout.owner)?;
        }
        let mut about = self.about.clone();
        if !missing.is_empty() {
            about += &format!("Not complete: {} are missing.\n", missing.join(", "));
        }
        files::write(&part.join(ABOUT), &about, self.layout.owner)?;
        let time = humantime::format_rfc3339_seconds(SystemTime::now());
        let time = time.to_string().replace(['-', ':'], "");
        let dir = self.aside.join(format!("{time}-{what}"));
        files::rename(&part, &dir)?;
        Ok(Saved {
            dir,
            lost: fork.bytes(),
            transactions: self.transactions,
            missing,
        })
    }

    /// The files of the log that are there of those that hold what is lost, and those that are not there.
    fn wanted(&self, names: &BTreeSet<String>) -> (Vec<String>, Vec<String>) {
        let own = |name: &&String| {
            Timeline::of_segment(name).is_some_and(|timeline| timeline <= self.fork.timeline)
        };
        let histories = names
            .iter()
            .filter(own)
            .filter(|name| name.ends_with(".history"));
        let mut wanted: Vec<String> = histories.cloned().collect();
        let mut missing = Vec::new();
        let bytes = self.segment_bytes.max(1);
        // The end belongs to what comes next.
        let last = self.fork.end.0.saturating_sub(1) / bytes;
        for number in self.fork.at.0 / bytes..=last {
            let name = self
                .fork
                .timeline
                .segment(super::Lsn(number * bytes), bytes);
            // The fork may be before the timeline began: then it is in the files of the one before.
            let same = names
                .iter()
                .filter(own)
                .filter(|other| other.len() == name.len() && other[8..] == name[8..]);
            let same: Vec<String> = same.cloned().collect();
            if same.is_empty() {
                missing.push(name);
            }
            wanted.extend(same);
        }
        (wanted, missing)
    }

    fn saved_before(&self, what: &str) -> Result<Option<PathBuf>, Trouble> {
        let ending = format!("-{what}");
        let names = names(&self.aside)?;
        let complete = |name: &&String| !name.starts_with(PART) && name.ends_with(&ending);
        Ok(names
            .iter()
            .find(complete)
            .map(|name| self.aside.join(name)))
    }
}

/// Which of these a directory does not have.
fn lacking(dir: &Path, wanted: impl Iterator<Item = String>) -> Result<Vec<String>, Trouble> {
    let there = names(dir)?;
    Ok(wanted.filter(|name| !there.contains(name)).collect())
}

fn names(dir: &Path) -> Result<BTreeSet<String>, Trouble> {
    let entries = fs::read_dir(dir).map_err(files::failed("list", dir))?;
    let name = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.map_err(files::failed("list", dir))?;
        Ok(entry.file_name().to_string_lossy().into_owned())
    };
    entries.map(name).collect()
}

/// The bytes in a directory of directories of files.
fn size(dir: &Path) -> Result<u64, Trouble> {
    let mut bytes = 0;
    for name in names(dir)? {
        let path = dir.join(name);
        let meta = fs::symlink_metadata(&path).map_err(files::failed("look at", &path))?;
        bytes += if meta.is_dir() {
            size(&path)?
        } else {
            meta.len()
        };
    }
    Ok(bytes)
}
