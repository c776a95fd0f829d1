//! One host: its plug, its cable, its disk, and the ways in.
//!
//! A host is a tree of control groups, so that each thing done to "the machine" meets all of it:
//!
//! ```text
//! <lab>/<host>            frozen, thawed and killed as one
//!     machine/            PID 1 and everything that it starts
//!     commands/           what tests run inside by exec
//!     <log name>-<n>/     each process that a test spawns inside
//! ```
//!
//! While it is on, a thread waits for the program that carries it. When that ends, the host has
//! shut down, has asked for a reboot (which the thread grants, like a machine's firmware), or was killed.

mod disk;
mod nspawn;
mod plain;
mod process;

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::lab::{Cgroup, Fault, Site, port, second_port};
use crate::machine::{Machine, clean_environment};
use crate::run::capture;
use crate::{eventually, patience};
use disk::Disk;
pub use process::Process;

/// Time for PID 1 to exist; it takes milliseconds, or a second on a loaded machine.
const STARTS_WITHIN: Duration = Duration::from_secs(30);

/// Time for a machine without power to be gone.
const DIES_WITHIN: Duration = Duration::from_secs(30);

/// Limit of a command run by [`Machine::output`], in `timeout(1)`'s notation.
const COMMAND_LIMIT: &str = "60";

/// What a host is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// systemd as PID 1.
    Nspawn,
    /// Namespaces and a shell that waits.
    Plain,
}

/// A machine in a [`Lab`](crate::Lab). It is off at first.
#[derive(Debug)]
pub struct Host(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    site: Arc<Site>,
    name: String,
    number: u8,
    kind: Kind,
    disk: Disk,
    group: Cgroup,
    power: Mutex<Power>,
    changed: Condvar,
    spawned: AtomicU32,
    second: OnceLock<Second>,
}

/// An interface in the second network.
#[derive(Debug)]
struct Second {
    /// Its name inside.
    interface: String,
    /// Has it an address of its own?
    addressed: bool,
}

#[derive(Debug, Default)]
struct Power {
    /// Whether the plug is in: decides whether a reboot comes back.
    plugged: bool,
    /// PID 1 of the host, as this machine numbers it; `None` while it is off.
    leader: Option<u32>,
    boots: u32,
    ended: Option<ExitStatus>,
}

impl Host {
    pub(crate) fn create(
        site: &Arc<Site>,
        name: &str,
        number: Option<u8>,
        kind: Kind,
    ) -> Result<Self> {
        let number = site.admit(name, number)?;
        let inner = Inner {
            disk: Disk::create(&site.rootfs, &site.host(name))?,
            group: site.cgroup.child(name)?,
            site: Arc::clone(site),
            name: name.to_owned(),
            number,
            kind,
            power: Mutex::default(),
            changed: Condvar::new(),
            spawned: AtomicU32::new(0),
            second: OnceLock::new(),
        };
        let host = Self(Arc::new(inner));
        host.put_file("/etc/hostname", format!("{name}\n").as_bytes(), 0o644)?;
        match kind {
            Kind::Nspawn => nspawn::prepare(&host)?,
            Kind::Plain => {}
        }
        Ok(host)
    }

    /// Gives it an interface in the second network, from the next time on that it is switched on; with an address of its own, or
    /// without one, for addresses that move.
    ///
    /// # Errors
    ///
    /// It has one, or its files cannot be written.
    pub fn add_second_network(&self, interface: &str, addressed: bool) -> Result<()> {
        let second = Second {
            interface: interface.to_owned(),
            addressed,
        };
        if self.0.kind == Kind::Nspawn {
            nspawn::prepare_second(self, &second)?;
        }
        let fresh = self.0.second.set(second).is_ok();
        ensure!(fresh, "{} has a second network already", self.name());
        Ok(())
    }

    /// Pulls the cable of its second network (`false`) or plugs it back in (`true`).
    ///
    /// # Errors
    ///
    /// The network did not accept the change.
    pub fn set_second_cable(&self, plugged: bool) -> Result<()> {
        let name = self.name().to_owned();
        self.set_fault(Fault::SecondCable(name), &second_port(self.name()), plugged)
    }

    fn set_fault(&self, cable: Fault, port: &str, plugged: bool) -> Result<()> {
        // Under the lock, so that a reboot at the same time finds the cable as it is now.
        let power = self.0.power();
        self.0.site.network.change(|faults| {
            if plugged {
                faults.remove(&cable);
            } else {
                faults.insert(cable);
            }
        })?;
        if power.leader.is_some() {
            self.0.site.network.set_carrier(port, plugged)?;
        }
        Ok(())
    }

    /// Waits until it has booted: every unit that it starts by itself is up or has failed.
    ///
    /// # Errors
    ///
    /// It has not within the time, or it is off.
    pub fn wait_booted(&self, within: Duration) -> Result<()> {
        let booted = format!("{} to boot", self.name());
        eventually(&booted, within, || match self.0.kind {
            Kind::Nspawn => nspawn::is_booted(self),
            Kind::Plain => self.exec(&["true"]).map(drop),
        })
        .with_context(|| format!("console of {}:\n{}", self.name(), self.0.console_end()))
    }

    /// Waits until it is off, and says how the program that carried it ended: success after a
    /// shutdown of its own, a signal after a plug pull.
    ///
    /// # Errors
    ///
    /// It is still on.
    pub fn wait_off(&self, within: Duration) -> Result<ExitStatus> {
        let within = patience(within);
        let deadline = Instant::now() + within;
        let mut power = self.0.power();
        while power.leader.is_some() {
            let left = deadline.saturating_duration_since(Instant::now());
            ensure!(
                !left.is_zero(),
                "{} is still on after {within:?}",
                self.name()
            );
            let waited = self.0.changed.wait_timeout(power, left);
            power = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        power
            .ended
            .with_context(|| format!("{} was never on", self.name()))
    }

    /// How often it has started, reboots included.
    pub fn boots(&self) -> u32 {
        self.0.power().boots
    }

    /// Its number in the lab, from 1, which is the last octet of its address.
    pub fn number(&self) -> u8 {
        self.0.number
    }

    /// The root of its disk as this machine sees it.
    pub fn root(&self) -> &Path {
        self.0.disk.root()
    }

    /// Its address in the second network, where it has one there.
    pub fn second_address(&self) -> Ipv4Addr {
        self.0.site.network.second_address(self.0.number)
    }

    fn leader(&self) -> Result<u32> {
        self.0
            .power()
            .leader
            .with_context(|| format!("{} is off", self.name()))
    }

    /// The words that run a command in all namespaces of the host and below its root.
    fn enter(&self, argv: &[&str]) -> Result<Vec<String>> {
        let leader = self.leader()?;
        let mut words: Vec<String> = ["nsenter", "--target"].map(String::from).into();
        words.push(leader.to_string());
        words
            .extend(["-m", "-u", "-i", "-n", "-p", "-C", "--root", "--wd", "--"].map(String::from));
        words.extend(argv.iter().map(|&word| word.to_owned()));
        Ok(words)
    }

    fn command_in(&self, group: &Cgroup, argv: &[&str]) -> Result<Command> {
        let words = self.enter(argv)?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut command = group.command(&words);
        clean_environment(&mut command).stdin(Stdio::null());
        Ok(command)
    }
}

impl Inner {
    fn power(&self) -> MutexGuard<'_, Power> {
        self.power.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the machine and waits for its PID 1.
    fn start(&self, power: &mut Power) -> Result<Child> {
        self.site.require_open()?;
        self.disk
            .write("/etc/hosts", self.site.hosts_file().as_bytes(), 0o644)?;
        let argv = match self.kind {
            Kind::Nspawn => nspawn::argv(self),
            Kind::Plain => plain::wire(self)?,
        };
        let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
        let console = File::options()
            .create(true)
            .append(true)
            .open(self.console_path())?;
        let mut command = self.group.child("machine")?.command(&argv);
        clean_environment(&mut command)
            .stdin(Stdio::null())
            .stdout(console.try_clone()?)
            .stderr(console);
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot start {}", self.name))?;
        let found = eventually("its PID 1", STARTS_WITHIN, || {
            if let Some(status) = child.try_wait()? {
                return Ok(Err(status));
            }
            let leader = match self.kind {
                Kind::Nspawn => nspawn::leader(child.id()),
                Kind::Plain => plain::leader(child.id(), self.disk.root()),
            };
            leader.map(Ok).context("there is no PID 1 yet")
        });
        let started = found.and_then(|leader| {
            let leader = leader.map_err(|status| anyhow::anyhow!("it ended at once: {status}"))?;
            // The port is new, and comes up with its carrier on.
            let network = &self.site.network;
            if network.has_fault(&Fault::Cable(self.name.clone())) {
                network.set_carrier(&port(&self.name), false)?;
            }
            if self.second.get().is_some() {
                let port = second_port(&self.name);
                network.add_second_port(&port)?;
                if network.has_fault(&Fault::SecondCable(self.name.clone())) {
                    network.set_carrier(&port, false)?;
                }
            }
            Ok(leader)
        });
        match started {
            Ok(leader) => {
                power.leader = Some(leader);
                power.boots += 1;
                Ok(child)
            }
            Err(failed) => {
                self.group.kill()?;
                child.wait()?;
                self.unwire()?;
                Err(failed).with_context(|| {
                    let console = self.console_end();
                    format!("cannot start {}; its console ends:\n{console}", self.name)
                })
            }
        }
    }

    /// Waits for the machine to end, again and again if it reboots.
    fn supervise(&self, mut child: Child) {
        loop {
            let ended = child.wait();
            let mut power = self.power();
            let gone = self.group.kill().and_then(|()| self.unwire());
            let reboot = ended.as_ref().is_ok_and(|status| {
                self.kind == Kind::Nspawn && nspawn::asks_for_reboot(*status) && power.plugged
            });
            if reboot {
                match gone.and_then(|()| self.start(&mut power)) {
                    Ok(restarted) => {
                        child = restarted;
                        continue;
                    }
                    Err(error) => eprintln!("{} did not come back: {error:#}", self.name),
                }
            } else if let Err(error) = gone {
                eprintln!("{} is off, but not gone: {error:#}", self.name);
            }
            power.leader = None;
            power.ended = ended.ok();
            self.changed.notify_all();
            return;
        }
    }

    fn remove_ports(&self) -> Result<()> {
        self.site.network.remove_port(&port(&self.name))?;
        if self.second.get().is_some() {
            self.site.network.remove_port(&second_port(&self.name))?;
        }
        Ok(())
    }

    fn unwire(&self) -> Result<()> {
        self.remove_ports()?;
        match self.kind {
            Kind::Nspawn => Ok(()),
            Kind::Plain => plain::unwire(self),
        }
    }

    fn console_path(&self) -> PathBuf {
        self.site.logs().join(format!("console-{}.log", self.name))
    }

    fn console_end(&self) -> String {
        let console = fs::read(self.console_path()).unwrap_or_default();
        let console = String::from_utf8_lossy(&console);
        let lines: Vec<&str> = console.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Machine for Host {
    fn name(&self) -> &str {
        &self.0.name
    }

    fn address(&self) -> Ipv4Addr {
        self.0.site.network.address(self.0.number)
    }

    fn power_on(&self) -> Result<()> {
        let mut power = self.0.power();
        power.plugged = true;
        if power.leader.is_some() {
            return Ok(());
        }
        power.ended = None;
        let child = self.0.start(&mut power)?;
        let inner = Arc::clone(&self.0);
        std::thread::Builder::new()
            .name(format!("power of {}", self.name()))
            .spawn(move || inner.supervise(child))
            .context("cannot start the thread that waits for the host")?;
        Ok(())
    }

    fn pull_plug(&self) -> Result<()> {
        {
            let mut power = self.0.power();
            power.plugged = false;
            if power.leader.is_none() {
                return Ok(());
            }
            // First the network: a dying kernel would still answer, and reset connections.
            self.0.remove_ports()?;
            self.0.group.kill()?;
            self.0.group.set_frozen(false)?;
        }
        self.wait_off(DIES_WITHIN).map(drop)
    }

    fn press_power_button(&self) -> Result<()> {
        let leader = self.leader()?;
        match self.0.kind {
            Kind::Nspawn => nspawn::press_power_button(leader),
            Kind::Plain => plain::press_power_button(leader),
        }
    }

    fn is_on(&self) -> bool {
        self.0.power().leader.is_some()
    }

    fn freeze(&self) -> Result<()> {
        self.0.group.set_frozen(true)
    }

    fn thaw(&self) -> Result<()> {
        self.0.group.set_frozen(false)
    }

    fn set_cable(&self, plugged: bool) -> Result<()> {
        let cable = Fault::Cable(self.name().to_owned());
        self.set_fault(cable, &port(self.name()), plugged)
    }

    fn command(&self, argv: &[&str]) -> Result<Command> {
        self.command_in(&self.0.group.child("commands")?, argv)
    }

    fn output(&self, argv: &[&str]) -> Result<Output> {
        // The limit is enforced from outside the host's group: inside it would freeze with it.
        let inside = self.command(argv)?;
        let mut limited = Command::new("timeout");
        limited
            .args(["--signal=KILL", COMMAND_LIMIT])
            .arg(inside.get_program());
        limited.args(inside.get_args());
        capture(clean_environment(&mut limited))
    }

    fn spawn(&self, log: &str, argv: &[&str]) -> Result<Process> {
        let number = self.0.spawned.fetch_add(1, Ordering::Relaxed);
        let group = self.0.group.child(&format!("{log}-{number}"))?;
        let path = self.0.site.logs().join(format!("{log}.log"));
        let output = File::options().create(true).append(true).open(&path);
        let output = output.with_context(|| format!("cannot open {}", path.display()))?;
        let mut command = self.command_in(&group, argv)?;
        command.stdout(output.try_clone()?).stderr(output);
        let child = command.spawn();
        let child =
            child.with_context(|| format!("cannot run {} on {}", argv.join(" "), self.name()))?;
        Ok(Process::new(child, group, path))
    }

    fn put_file(&self, path: &str, contents: &[u8], mode: u32) -> Result<()> {
        self.0.disk.write(path, contents, mode)
    }

    fn read_file(&self, path: &str) -> Result<Vec<u8>> {
        self.0.disk.read(path)
    }

    fn console(&self) -> String {
        let console = fs::read(self.0.console_path()).unwrap_or_default();
        String::from_utf8_lossy(&console).into_owned()
    }
}

/// The child of `parent` that is PID 1 of a pid namespace of its own, if it exists yet.
fn init_below(parent: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
    children.split_whitespace().find_map(|pid| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let numbers = status
            .lines()
            .find_map(|line| line.strip_prefix("NSpid:"))?;
        // Its pid in each namespace, from this one to its own.
        let own = numbers.split_whitespace().skip(1).last()?;
        if own == "1" { pid.parse().ok() } else { None }
    })
}

/// Sends a signal by its number.
fn signal(pid: u32, number: u32) -> Result<()> {
    let sent = crate::run(&mut crate::run::command(
        "kill",
        ["-s", &number.to_string(), &pid.to_string()],
    ));
    if let Err(error) = sent {
        bail!("cannot signal PID 1 of the host: {error:#}");
    }
    Ok(())
}
