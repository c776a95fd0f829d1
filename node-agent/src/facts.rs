//! Facts about this machine, for people and for matching a VM with what its hypervisor says.
//!
//! Nothing is decided by them except two identities: the **boot id**, whose change proves that the machine was off in
//! between, and the **machine UUID**, which the hypervisor sees as well.
//!
//! Cheap by choice: no processes are listed, and of the file systems only those on local block devices are asked for
//! their size. Asking a network file system may block for ever, and a library that lists all disks does ask
//! (`sysinfo::Disks` calls statvfs(2) on every mount).

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use interlock_model::ids::BootId;
use sysinfo::{CpuRefreshKind, MemoryRefreshKind, RefreshKind, System};

/// SMBIOS product UUID (sysfs-class-dmi). Readable by root alone.
const PRODUCT_UUID: &str = "/sys/class/dmi/id/product_uuid";

/// The identity of the installation (machine-id(5)). A cloned VM may share it with its template.
const MACHINE_ID: &str = "/etc/machine-id";

/// Mounts that are reported at most, so that a machine with thousands of them has a hello of bounded size.
const MAX_DISKS: usize = 32;

/// File systems whose statistics are kept in memory: asking for them does no I/O that could hang.
const LOCAL: [&str; 7] = ["ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "vfat"];

/// The size of a file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// Where it is mounted.
    pub mount: PathBuf,
    /// Its size in bytes.
    pub total_bytes: u64,
    /// What is left for a process without privileges, in bytes.
    pub available_bytes: u64,
}

/// What is known of the machine. An empty text is a fact that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostFacts {
    /// The host name of the kernel.
    pub hostname: String,
    /// The distribution, as it calls itself.
    pub os: String,
    /// The kernel's release.
    pub kernel: String,
    /// Processors of the machine.
    pub cpus: u32,
    /// Memory of the machine, in bytes.
    pub memory_bytes: u64,
    /// Memory that programs could still get, in bytes.
    pub memory_available_bytes: u64,
    /// What the hypervisor calls the machine, in lower case; none if it cannot be read.
    pub machine_uuid: Option<String>,
    /// What the installation calls itself; none if it has no name.
    pub machine_id: Option<String>,
    /// Load average of one minute, times 100.
    pub load_percent: u32,
    /// Time since boot.
    pub uptime: Duration,
    /// File systems on local block devices, by mount.
    pub disks: Vec<Disk>,
}

/// Reads facts. What cannot change while the program runs is read once.
#[derive(Debug)]
pub struct FactsReader {
    system: Option<System>,
    constant: HostFacts,
}

impl FactsReader {
    /// Reads what cannot change.
    #[must_use]
    pub fn new() -> Self {
        let refresh = RefreshKind::nothing().with_cpu(CpuRefreshKind::nothing());
        let system = System::new_with_specifics(refresh)
            .inspect_err(|error| tracing::warn!(%error, "no host facts"))
            .ok();
        let cpus = system.as_ref().map_or(0, |system| system.cpus().len());
        let constant = HostFacts {
            os: System::long_os_version().unwrap_or_default(),
            kernel: System::kernel_version().unwrap_or_default(),
            cpus: u32::try_from(cpus).unwrap_or(u32::MAX),
            machine_uuid: word(Path::new(PRODUCT_UUID))
                .ok()
                .map(|uuid| uuid.to_ascii_lowercase()),
            machine_id: word(Path::new(MACHINE_ID)).ok(),
            ..HostFacts::default()
        };
        Self { system, constant }
    }

    /// Reads the rest, and returns all. Reads a few files of `/proc`; blocks nowhere.
    pub fn read(&mut self) -> HostFacts {
        let (mut memory_bytes, mut memory_available_bytes) = (0, 0);
        if let Some(system) = &mut self.system {
            system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
            (memory_bytes, memory_available_bytes) =
                (system.total_memory(), system.available_memory());
        }
        HostFacts {
            hostname: System::host_name().unwrap_or_default(),
            memory_bytes,
            memory_available_bytes,
            load_percent: System::load_average().map_or(0, |load| percent(load.one)),
            uptime: Duration::from_secs(System::uptime().unwrap_or_default()),
            disks: disks(&std::fs::read_to_string("/proc/self/mounts").unwrap_or_default()),
            ..self.constant.clone()
        }
    }
}

impl Default for FactsReader {
    fn default() -> Self {
        Self::new()
    }
}

/// The identity of this boot, from `path`, normally `/proc/sys/kernel/random/boot_id` (random(4)). Agents that share one
/// kernel, as in a test bed, are given files of their own.
///
/// # Errors
/// If the file cannot be read or is empty: an agent that does not know its boot must not start.
pub fn boot_id(path: &Path) -> io::Result<BootId> {
    word(path).map(BootId)
}

/// The content of a small file, without white space around it.
fn word(path: &Path) -> io::Result<String> {
    let text = std::fs::read_to_string(path)?;
    let text = text.trim();
    if text.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{} is empty", path.display()),
        ));
    }
    Ok(text.to_owned())
}

/// Not negative, and cut where nobody cares any more.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float cast saturates, and NaN becomes 0"
)]
fn percent(load: f64) -> u32 {
    (load * 100.0).round() as u32
}

fn disks(mounts: &str) -> Vec<Disk> {
    let size = |mount: PathBuf| {
        let stat = rustix::fs::statvfs(&mount).ok()?;
        let total_bytes = stat.f_blocks.saturating_mul(stat.f_frsize);
        let available_bytes = stat.f_bavail.saturating_mul(stat.f_frsize);
        (total_bytes > 0).then_some(Disk {
            mount,
            total_bytes,
            available_bytes,
        })
    };
    local_mounts(mounts)
        .into_iter()
        .filter_map(size)
        .take(MAX_DISKS)
        .collect()
}

/// The mounts of block devices with a local file system in a table like `/proc/self/mounts` (fstab(5)); of a device that
/// is mounted more than once, only the first.
fn local_mounts(mounts: &str) -> BTreeSet<PathBuf> {
    let mut devices = BTreeSet::new();
    let mut found = BTreeSet::new();
    for line in mounts.lines() {
        let mut fields = line.split(' ');
        if let (Some(device), Some(mount), Some(kind)) =
            (fields.next(), fields.next(), fields.next())
            && device.starts_with("/dev/")
            && LOCAL.contains(&kind)
            && devices.insert(device)
        {
            found.insert(PathBuf::from(unescape(mount)));
        }
    }
    found
}

/// White space and backslashes are written as three octal digits.
fn unescape(field: &str) -> String {
    [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ]
    .iter()
    .fold(field.to_owned(), |text, (escape, plain)| {
        text.replace(escape, plain)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_name_a_kernel_processors_and_memory() {
        let facts = FactsReader::new().read();
        assert!(
            !facts.hostname.is_empty() && !facts.kernel.is_empty(),
            "{facts:?}"
        );
        assert!(
            facts.cpus > 0 && facts.memory_bytes >= facts.memory_available_bytes,
            "{facts:?}"
        );
        assert!(
            facts.memory_available_bytes > 0 && facts.uptime > Duration::ZERO,
            "{facts:?}"
        );
    }

    #[test]
    fn the_boot_id_is_the_first_word_of_its_file_and_its_absence_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("boot_id");
        assert!(boot_id(&path).is_err());
        std::fs::write(&path, "\n").unwrap();
        assert!(boot_id(&path).is_err());
        std::fs::write(&path, "aaaa-bbbb\n").unwrap();
        assert_eq!(boot_id(&path).unwrap(), BootId("aaaa-bbbb".to_owned()));
        assert!(boot_id(Path::new("/proc/sys/kernel/random/boot_id")).is_ok());
    }

    #[test]
    fn only_local_block_devices_are_asked_and_each_once() {
        let mounts = "/dev/vda1 / ext4 rw 0 0\nnfs:/x /srv/nfs nfs4 rw 0 0\n/dev/drbd0 /srv/my\\040data xfs rw 0 0\n\
                      tmpfs /run tmpfs rw 0 0\n/dev/fuse /srv/fuse fuse rw 0 0\n/dev/vda1 /mnt ext4 rw 0 0\nbroken\n";
        let expected = [PathBuf::from("/"), PathBuf::from("/srv/my data")];
        assert_eq!(local_mounts(mounts), BTreeSet::from(expected));
    }

    #[test]
    fn load_is_a_number_of_hundredths() {
        assert_eq!(
            (percent(0.42), percent(-1.0), percent(f64::NAN)),
            (42, 0, 0)
        );
    }
}
