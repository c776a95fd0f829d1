//! What the owner of the machine says of leases.

use std::path::PathBuf;

use serde::Deserialize;

/// How leases are kept here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// What is done when a forced stop hangs.
    pub reset: Reset,
    /// A directory that does not outlive the boot, for what the next agent of this boot has to know.
    pub runtime_dir: PathBuf,
}

/// What is done when what must not write any more cannot be ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reset {
    /// Nothing: it is said as an error every second, and the role is not free.
    #[default]
    Off,
    /// The kernel restarts the machine at once, without a word to anybody and without writing back what it holds
    /// (reboot(2), `LINUX_REBOOT_CMD_RESTART`).
    Kernel,
}
