//! What a test may do to a machine, whatever the machine is made of.

use std::fmt::Debug;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context as _, Result, bail};

use crate::host::Process;

/// Where the built programs are inside every machine; on its search path.
pub const PROGRAMS: &str = "/usr/lib/interlock";

/// The search path of commands inside a machine.
pub(crate) const SEARCH_PATH: &str =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/interlock";

/// A machine with a plug, a cable and a disk.
///
/// Blocking; in an async test, call it from `spawn_blocking`. All methods take `&self`, so that a
/// test, a BMC and a thread that breaks things can share one machine.
pub trait Machine: Debug + Send + Sync {
    /// Its name, which is its host name too.
    fn name(&self) -> &str;

    /// Its own address on the lab's network, on interface `host0`.
    fn address(&self) -> Ipv4Addr;

    /// Supplies power. Returns when the machine runs its PID 1, which is long before it has booted;
    /// does nothing if it is on.
    ///
    /// # Errors
    ///
    /// It did not come up; the message has the end of its console.
    fn power_on(&self) -> Result<()>;

    /// Pulls the plug: from one moment to the next it neither runs nor answers, not even with a
    /// reset or an ARP reply. Does nothing if it is off.
    ///
    /// # Errors
    ///
    /// The machine could not be brought down.
    fn pull_plug(&self) -> Result<()>;

    /// Presses the power button: asks the machine to shut down in its own order. It may take its
    /// time, or never do it.
    ///
    /// # Errors
    ///
    /// It is off.
    fn press_power_button(&self) -> Result<()>;

    /// Whether it has power and has not shut itself down.
    fn is_on(&self) -> bool;

    /// Stops every process at once without ending any: a hung machine. Its kernel still answers
    /// ping and accepts connections.
    ///
    /// # Errors
    ///
    /// The freeze did not complete.
    fn freeze(&self) -> Result<()>;

    /// Ends [`freeze`](Self::freeze).
    ///
    /// # Errors
    ///
    /// The thaw did not complete.
    fn thaw(&self) -> Result<()>;

    /// Pulls the network cable (`false`) or plugs it back in (`true`). It stays as it is over
    /// power-off and power-on.
    ///
    /// # Errors
    ///
    /// The network did not accept the change.
    fn set_cable(&self, plugged: bool) -> Result<()>;

    /// A command that will run inside, as root, with a clean environment. Its standard streams are
    /// yours to set.
    ///
    /// # Errors
    ///
    /// The machine is off.
    fn command(&self, argv: &[&str]) -> Result<Command>;

    /// Runs a command inside to its end, whatever its exit status. One minute is the limit; then it
    /// is killed, and the status says so.
    ///
    /// # Errors
    ///
    /// The machine is off, or the command cannot be started.
    fn output(&self, argv: &[&str]) -> Result<Output>;

    /// Starts a command inside that goes on by itself; its output goes to `logs/<log>.log`.
    ///
    /// # Errors
    ///
    /// The machine is off, or the command cannot be started.
    fn spawn(&self, log: &str, argv: &[&str]) -> Result<Process>;

    /// Writes a file on its disk, with its parent directories. It need not be on. Not below `/run`
    /// or `/dev`, which are not on the disk.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    fn put_file(&self, path: &str, contents: &[u8], mode: u32) -> Result<()>;

    /// Reads a file from its disk. It need not be on.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    fn read_file(&self, path: &str) -> Result<Vec<u8>>;

    /// What its console has shown since the lab began.
    fn console(&self) -> String;

    /// Runs a command inside to its end and returns its standard output as text.
    ///
    /// # Errors
    ///
    /// As [`output`](Self::output), and if the exit status is not 0; the message has its standard
    /// error.
    fn exec(&self, argv: &[&str]) -> Result<String> {
        let output = self.output(argv)?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!(
                "{} on {}: {}: {}",
                argv.join(" "),
                self.name(),
                output.status,
                said.trim()
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Puts a file of this machine, say a built program, on its disk.
    ///
    /// # Errors
    ///
    /// Either file cannot be used.
    fn copy_file(&self, from: &Path, to: &str, mode: u32) -> Result<()> {
        let contents = std::fs::read(from)
            .with_context(|| format!("cannot read {} for {}", from.display(), self.name()))?;
        self.put_file(to, &contents, mode)
    }
}

/// Clears the environment of `command` and gives it what a root shell has.
pub(crate) fn clean_environment(command: &mut Command) -> &mut Command {
    command.env_clear().envs([
        ("PATH", SEARCH_PATH),
        ("HOME", "/root"),
        ("LANG", "C.UTF-8"),
    ])
}
