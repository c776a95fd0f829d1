//! The lab itself: its network, its hosts, its end.

mod cgroup;
mod network;
mod reaper;
mod site;

use std::collections::BTreeMap;
use std::fs;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result, ensure};

pub(crate) use cgroup::Cgroup;
use network::Network;
pub(crate) use network::{BRIDGE, Fault, port, second_port};
use reaper::Reaper;
pub(crate) use site::Site;

use crate::host::{Host, Kind};
use crate::machine::clean_environment;
use crate::{programs, rootfs, skip, tools};

/// A network with hosts; see the [crate documentation](crate). Everything in it ends with it.
///
/// A test that ends well calls [`close`](Self::close). A lab that is only dropped belongs to a test
/// that failed: it is taken down all the same, but its logs are kept.
#[derive(Debug)]
pub struct Lab {
    site: Arc<Site>,
    reaper: Reaper,
    closed: bool,
}

impl Lab {
    /// Opens a lab for `test` (a-z, 0-9 and `-`; it becomes part of names), or reports a skip and
    /// returns `None` where this machine cannot have one.
    ///
    /// # Errors
    ///
    /// The machine could have a lab, but making it failed.
    pub fn open(test: &str) -> Result<Option<Self>> {
        Self::open_with(test, &[])
    }

    /// The same, in a network of these three octets (`[10, 8, 0]`): for a spec that has its own addresses in it.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_in(test: &str, network: [u8; 3]) -> Result<Option<Self>> {
        Self::make(test, &[], Some(network))
    }

    /// The same, with these built programs on its hosts in place of those beside the running executable; all of those if
    /// there are none.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), and if one of the programs cannot be copied.
    pub fn open_with(test: &str, built: &[PathBuf]) -> Result<Option<Self>> {
        Self::make(test, built, None)
    }

    fn make(test: &str, built: &[PathBuf], network: Option<[u8; 3]>) -> Result<Option<Self>> {
        if let Err(why) = tools::can_have_a_lab() {
            // The test runner names a test's thread after the test.
            let thread = std::thread::current();
            skip(thread.name().unwrap_or(test), &why.to_string());
            return Ok(None);
        }
        let rootfs = rootfs::prepare()?;
        let base = std::env::temp_dir().join("interlock-lab");
        fs::create_dir_all(&base).with_context(|| format!("cannot make {}", base.display()))?;
        let root = Cgroup::root()?;
        reaper::sweep(&base, &root)?;

        let random = RandomState::new().build_hasher().finish();
        let id = format!("interlock-{test}-{:06x}", random >> 40);
        let directory = base.join(&id);
        fs::create_dir_all(directory.join("logs"))
            .with_context(|| format!("cannot make {}", directory.display()))?;
        let cgroup = root.child(&id)?;
        let reaper = Reaper::start(&directory, &id, &cgroup)?;
        let subnet = u8::try_from(random % 250).unwrap_or(0);
        let programs = match built {
            [] => programs::directory()?,
            built => put_into(&directory.join("hosts/programs"), built)?,
        };
        let site = Site {
            network: Network::create(&id, network.unwrap_or([10, 77, subnet]), subnet)?,
            programs,
            names: Mutex::new(BTreeMap::new()),
            ended: AtomicBool::new(false),
            directory,
            cgroup,
            rootfs,
        };
        Ok(Some(Self {
            site: Arc::new(site),
            reaper,
            closed: false,
        }))
    }

    /// Takes the lab down after a test that ended well.
    ///
    /// # Errors
    ///
    /// Something of it would not go; its directory then stays, with the reason in its logs.
    pub fn close(mut self) -> Result<()> {
        self.closed = true;
        self.end(true)
    }

    /// A new host that will boot systemd; it is off.
    ///
    /// # Errors
    ///
    /// The name is taken or does not fit (12 characters of a-z, 0-9 and `-`), or its disk cannot be made.
    pub fn nspawn(&self, name: &str) -> Result<Arc<Host>> {
        Host::create(&self.site, name, None, Kind::Nspawn).map(Arc::new)
    }

    /// As [`nspawn`](Self::nspawn), with the last octet of its address (1 to 90): for clusters whose spec
    /// has addresses in it.
    ///
    /// # Errors
    ///
    /// As [`nspawn`](Self::nspawn), and if the number is taken.
    pub fn nspawn_at(&self, name: &str, number: u8) -> Result<Arc<Host>> {
        Host::create(&self.site, name, Some(number), Kind::Nspawn).map(Arc::new)
    }

    /// A new host of plain namespaces, without a service manager; it is off.
    ///
    /// # Errors
    ///
    /// As [`nspawn`](Self::nspawn).
    pub fn plain(&self, name: &str) -> Result<Arc<Host>> {
        Host::create(&self.site, name, None, Kind::Plain).map(Arc::new)
    }

    /// The first three octets of every address of the lab, with the dot behind them: `10.77.3.`.
    pub fn network(&self) -> String {
        let [a, b, c, _] = self.address().octets();
        format!("{a}.{b}.{c}.")
    }

    /// The lab's own address on the bridge, where commands of [`command`](Self::command) are.
    pub fn address(&self) -> Ipv4Addr {
        self.site.network.address(254)
    }

    /// An address for a service that may move between hosts: number 0 to 50.
    ///
    /// # Errors
    ///
    /// There are no more.
    pub fn service_address(&self, number: u8) -> Result<Ipv4Addr> {
        ensure!(
            number <= 50,
            "service addresses are numbered 0 to 50, not {number}"
        );
        Ok(self.site.network.address(200 + number))
    }

    /// An address in the second network: that of the host with this number, or of a service from 200 on.
    pub fn second_address(&self, last: u8) -> Ipv4Addr {
        self.site.network.second_address(last)
    }

    /// A command on the lab's network but on this machine's files: a workstation beside the hosts.
    /// It ends with the lab.
    ///
    /// # Errors
    ///
    /// Its control group cannot be made.
    pub fn command(&self, argv: &[&str]) -> Result<Command> {
        let [nsenter, namespace] = self.site.network.enter();
        let mut words = vec![nsenter.as_str(), namespace.as_str()];
        words.extend(argv);
        let mut command = self.site.cgroup.child("workstation")?.command(&words);
        clean_environment(&mut command);
        Ok(command)
    }

    /// Lets nothing pass between two hosts, in either direction.
    ///
    /// # Errors
    ///
    /// The network did not accept the change; so for the others that follow.
    pub fn cut(&self, one: &str, other: &str) -> Result<()> {
        self.site.network.change(|faults| {
            faults.insert(Fault::Cut(one.to_owned(), other.to_owned()));
            faults.insert(Fault::Cut(other.to_owned(), one.to_owned()));
        })
    }

    /// Lets nothing pass from one host to another; the other direction stays open.
    ///
    /// # Errors
    ///
    /// As [`cut`](Self::cut).
    pub fn cut_one_way(&self, from: &str, to: &str) -> Result<()> {
        self.site.network.change(|faults| {
            faults.insert(Fault::Cut(from.to_owned(), to.to_owned()));
        })
    }

    /// Loses `percent` of the packets from one host to another, at random.
    ///
    /// # Errors
    ///
    /// As [`cut`](Self::cut).
    pub fn lose(&self, from: &str, to: &str, percent: u8) -> Result<()> {
        self.site.network.change(|faults| {
            faults.insert(Fault::Loss(from.to_owned(), to.to_owned(), percent));
        })
    }

    /// Ends every cut and loss. Cables that are out stay out.
    ///
    /// # Errors
    ///
    /// As [`cut`](Self::cut).
    pub fn heal(&self) -> Result<()> {
        self.site.network.change(|faults| {
            faults.retain(|fault| matches!(fault, Fault::Cable(_) | Fault::SecondCable(_)));
        })
    }

    /// Where the logs of this lab are while it lasts, and after a run that failed.
    pub fn logs(&self) -> PathBuf {
        self.site.logs()
    }

    /// A directory of this machine that goes with the lab.
    pub fn directory(&self) -> &Path {
        &self.site.directory
    }

    fn end(&mut self, clean: bool) -> Result<()> {
        self.site.ended.store(true, Ordering::SeqCst);
        self.reaper.finish(clean)
    }

    pub(crate) fn site(&self) -> &Arc<Site> {
        &self.site
    }
}

/// Copies programs into a directory, and says which.
fn put_into(directory: &Path, programs: &[PathBuf]) -> Result<PathBuf> {
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    for program in programs {
        let name = program.file_name().context("a program without a name")?;
        fs::copy(program, directory.join(name))
            .with_context(|| format!("cannot copy {}", program.display()))?;
    }
    Ok(directory.to_owned())
}

impl Drop for Lab {
    fn drop(&mut self) {
        if self.closed {
            return;
        }
        eprintln!(
            "this lab was not closed; its logs are kept in {}",
            self.logs().display()
        );
        if let Err(error) = self.end(false) {
            eprintln!("{error:#}");
        }
    }
}
