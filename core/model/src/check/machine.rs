//! What is looked at on the machine where a check runs.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::names::LocalName;
use crate::time::human;

/// A file system is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountCheck {
    /// The absolute path where it is mounted.
    pub path: String,
    /// What has to be mounted there, as the kernel names it: `//store/shared`, `10.1.0.9:/srv`, `/dev/drbd0`.
    pub source: Option<String>,
    /// Its type: `cifs`, `nfs4`, `ext4`.
    pub fstype: Option<String>,
    /// Must it be mounted for writing?
    pub writable: bool,
    /// A file below the path, relative to it, that can be read. A hung mount is *unknown*.
    pub marker: Option<String>,
    /// The exact content of that file, without a trailing newline.
    pub content: Option<String>,
}

impl MountCheck {
    /// The absolute path of the marker, if there is one.
    #[must_use]
    pub fn marker_path(&self) -> Option<String> {
        let marker = self.marker.as_ref()?;
        Some(format!("{}/{marker}", self.path.trim_end_matches('/')))
    }
}

/// The clock of the machine agrees with that of a time server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockCheck {
    /// `host:port` of an NTP server.
    pub target: String,
    /// The largest difference in either direction, with the uncertainty of the measurement on top.
    #[serde(with = "human")]
    pub max_offset: Duration,
}

/// Each server of an HAProxy takes clients, unless a plan has put it out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HaproxyCheck {
    /// The absolute path of its runtime socket.
    pub socket: String,
    /// The backends that are looked at; all that it has if none is named.
    pub backends: Vec<String>,
}

/// What is compared between the nodes where a check runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compared {
    /// The file at this absolute path.
    Path(String),
    /// What this command of the agent's own file prints, such as a version.
    Command(LocalName),
}
