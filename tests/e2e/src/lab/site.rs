//! What the hosts of one lab share: names, places, the network.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};

use super::cgroup::Cgroup;
use super::network::{LONGEST_HOST_NAME, Network};

/// Hosts are numbered from 1; their addresses end in their number, those of their BMCs in 100 more.
const MOST_HOSTS: u8 = 90;

/// The ground that a lab stands on. Hosts share it, so it outlives the lab in a test that keeps a
/// host longer; such a host has no power any more.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) directory: PathBuf,
    pub(crate) cgroup: Cgroup,
    pub(crate) network: Network,
    pub(crate) rootfs: PathBuf,
    pub(crate) programs: PathBuf,
    pub(crate) names: Mutex<BTreeMap<String, Ipv4Addr>>,
    pub(crate) ended: AtomicBool,
}

impl Site {
    /// Where logs are written; kept if the run does not end well.
    pub(crate) fn logs(&self) -> PathBuf {
        self.directory.join("logs")
    }

    /// Fails once the lab is being taken down: what is made then would stay behind.
    pub(crate) fn require_open(&self) -> Result<()> {
        ensure!(!self.ended.load(Ordering::SeqCst), "the lab has ended");
        Ok(())
    }

    /// The directory of a host.
    pub(crate) fn host(&self, name: &str) -> PathBuf {
        self.directory.join("hosts").join(name)
    }

    /// Registers a host and returns its number: the one that is asked for, else the lowest free one.
    pub(crate) fn admit(&self, name: &str, number: Option<u8>) -> Result<u8> {
        self.require_open()?;
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        ensure!(
            (1..=LONGEST_HOST_NAME).contains(&name.len()) && name.chars().all(good),
            "{name:?} is no name for a host: 1 to {LONGEST_HOST_NAME} of a-z, 0-9 and -"
        );
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        ensure!(!names.contains_key(name), "there is a host {name} already");
        let taken: Vec<u8> = names.values().map(|address| address.octets()[3]).collect();
        let number = match number {
            Some(number) => number,
            None => (1..=MOST_HOSTS)
                .find(|free| !taken.contains(free))
                .with_context(|| format!("a lab has at most {MOST_HOSTS} hosts"))?,
        };
        ensure!(
            (1..=MOST_HOSTS).contains(&number) && !taken.contains(&number),
            "{number} is no free number for a host: 1 to {MOST_HOSTS}, taken are {taken:?}"
        );
        names.insert(name.to_owned(), self.network.address(number));
        Ok(number)
    }

    /// `/etc/hosts` with every host of the lab.
    pub(crate) fn hosts_file(&self) -> String {
        let mut text = String::from("127.0.0.1 localhost\n");
        for (name, address) in self
            .names
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
        {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{address} {name}");
        }
        text
    }

    /// The programs' directory as an argument.
    pub(crate) fn programs(&self) -> &Path {
        &self.programs
    }
}
