//! Who holds the lock on a file, for a sentence that a person can act on.

use std::fs::File;
use std::os::unix::fs::MetadataExt;

/// Describes the holder of the lock on `file`: program and pid if the kernel tells, else that it
/// is unknown. Never fails: it only makes another error more helpful.
pub(crate) fn describe(file: &File) -> String {
    let Some(pid) = pid(file) else {
        return "another process (its pid is not visible from here)".to_owned();
    };
    if pid == std::process::id() {
        return format!("this process (pid {pid})");
    }
    match std::fs::read_to_string(format!("/proc/{pid}/comm")) {
        Ok(program) => format!("{} (pid {pid})", program.trim()),
        Err(_) => format!("pid {pid}"),
    }
}

fn pid(file: &File) -> Option<u32> {
    let file = file.metadata().ok()?;
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    pid_in(&locks, file.dev(), file.ino())
}

/// Finds the lock on one inode in the text of /proc/locks (proc_locks(5)): number, type,
/// mode, access, pid, `major:minor:inode` (the first two in hexadecimal), range. The pid is 0 or
/// -1 when it is not visible or not known. Lines of waiters have `->` behind the number.
fn pid_in(locks: &str, device: u64, inode: u64) -> Option<u32> {
    let place = format!(
        "{:02x}:{:02x}:{inode}",
        rustix::fs::major(device),
        rustix::fs::minor(device)
    );
    locks.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let (_kind, _mode, _access) = (words.next()?, words.next()?, words.next()?);
        let (pid, at) = (words.next()?, words.next()?);
        let pid = pid.parse().ok().filter(|pid| *pid > 0)?;
        (at == place).then_some(pid)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_is_found_by_device_and_inode() {
        let locks = "\
1: POSIX  ADVISORY  WRITE 3568 fd:00:2531452 0 EOF
2: OFDLCK ADVISORY  READ -1 fe:01:77 0 EOF
3: FLOCK  ADVISORY  WRITE 4711 fe:01:77 0 EOF
3: -> FLOCK  ADVISORY  WRITE 4712 fe:01:78 0 EOF
";
        let device = rustix::fs::makedev(0xfe, 1);
        assert_eq!(pid_in(locks, device, 77), Some(4711));
        assert_eq!(pid_in(locks, device, 78), None);
        assert_eq!(pid_in(locks, rustix::fs::makedev(0xfe, 2), 77), None);
    }
}
