//! A file system that is mounted: what, where, of which type, and for writing.
//!
//! The kernel's table of this program's own mount namespace (`/proc/self/mountinfo`, proc(5)) is read, which asks no file
//! system: a dead NFS server does not hold that up. Only a marker touches the file system, and that is read by a helper
//! that may hang ([`FileProbes`]). Of file systems that are mounted over one another the last one counts.
//!
//! Under `autofs` nothing is mounted until somebody looks: there the marker is read first.

use std::time::Duration;

use interlock_model::check::{MountCheck, ProbeResult, Verdict};

use super::files::{FileProbes, Marker};
use super::outcome::{bad, ok, unknown};

const TABLE: &str = "/proc/self/mountinfo";

/// Looks whether it is mounted, and reads the marker.
pub(crate) async fn probe(files: &FileProbes, check: &MountCheck, limit: Duration) -> ProbeResult {
    let mut mounted = look(check);
    if mounted.verdict != Verdict::Ok && !is_waiting(check) {
        return mounted;
    }
    let Some(path) = check.marker_path() else {
        return mounted;
    };
    let expected = Marker {
        content: check.content.as_deref(),
        write: false,
    };
    let marker = files.marker(&path, expected, limit).await;
    // Anew: it was unmounted meanwhile, or mounted by this very look.
    mounted = look(check);
    match (mounted.verdict, marker.verdict) {
        (Verdict::Ok, Verdict::Ok) => ok(format!("{}, and {}", mounted.evidence, marker.evidence)),
        (Verdict::Ok, _) => marker,
        _ => mounted,
    }
}

fn table() -> Result<Vec<Mount>, ProbeResult> {
    let text = std::fs::read_to_string(TABLE)
        .map_err(|error| unknown(format!("cannot read {TABLE}: {error}")))?;
    Ok(text.lines().filter_map(Mount::parse).collect())
}

fn look(check: &MountCheck) -> ProbeResult {
    match table() {
        Ok(mounts) => judge(check, &mounts),
        Err(result) => result,
    }
}

/// Does something wait there that mounts as soon as somebody looks?
fn is_waiting(check: &MountCheck) -> bool {
    table()
        .is_ok_and(|mounts| top(&mounts, &check.path).is_some_and(|mount| mount.fstype == "autofs"))
}

fn top<'m>(mounts: &'m [Mount], path: &str) -> Option<&'m Mount> {
    let path = match path.trim_end_matches('/') {
        "" => "/",
        path => path,
    };
    mounts.iter().rev().find(|mount| mount.path == path)
}

fn judge(check: &MountCheck, mounts: &[Mount]) -> ProbeResult {
    let path = &check.path;
    let Some(mount) = top(mounts, path) else {
        return bad(format!("nothing is mounted at {path}"));
    };
    let Mount { source, fstype, .. } = mount;
    let what = format!("{source} ({fstype}) is mounted at {path}");
    if let Some(wanted) = check.fstype.as_ref().filter(|wanted| *wanted != fstype) {
        return bad(format!("{what}, expected the type {wanted}"));
    }
    if let Some(wanted) = check.source.as_ref().filter(|wanted| *wanted != source) {
        return bad(format!("{what}, expected {wanted}"));
    }
    if check.writable && mount.read_only {
        return bad(format!("{what}, but read-only"));
    }
    ok(what)
}

/// A line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mount {
    path: String,
    fstype: String,
    source: String,
    /// By the options of the mount, or of the file system itself.
    read_only: bool,
}

impl Mount {
    /// `36 35 98:0 /root /path rw,noatime master:1 - ext4 /dev/root rw,errors=continue`
    fn parse(line: &str) -> Option<Self> {
        let (mount, system) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(4);
        let (path, options) = (mount.next()?, mount.next()?);
        let mut system = system.split(' ');
        let (fstype, source) = (system.next()?, system.next()?);
        let read_only = |options: &str| options.split(',').any(|option| option == "ro");
        Some(Self {
            path: unescaped(path),
            fstype: unescaped(fstype),
            source: unescaped(source),
            read_only: read_only(options) || system.next().is_some_and(read_only),
        })
    }
}

/// White space and backslashes are written as three octal digits.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after
            .get(..3)
            .filter(|_| *first == b'\\')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = "\
        22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro\n\
        40 22 0:35 / /home/jtel/shared rw,relatime - cifs //acd-store/shared rw,vers=3.0\n\
        41 22 0:36 / /srv/with\\040space rw - nfs4 10.1.0.9:/srv ro,vers=4.2\n\
        42 22 0:37 / /mnt rw - tmpfs tmpfs rw\n\
        43 42 0:38 / /mnt ro - xfs /dev/drbd0 rw\n\
        nonsense\n";

    fn check(path: &str) -> MountCheck {
        MountCheck {
            path: path.to_owned(),
            source: None,
            fstype: None,
            writable: false,
            marker: None,
            content: None,
        }
    }

    fn verdict(check: &MountCheck) -> ProbeResult {
        let mounts: Vec<Mount> = LINES.lines().filter_map(Mount::parse).collect();
        judge(check, &mounts)
    }

    #[test]
    fn what_is_mounted_is_compared_with_what_should_be() {
        let share = check("/home/jtel/shared/");
        assert_eq!(verdict(&share).verdict, Verdict::Ok);
        let source = |source: &str| MountCheck {
            source: Some(source.to_owned()),
            fstype: Some("cifs".to_owned()),
            writable: true,
            ..share.clone()
        };
        assert_eq!(verdict(&source("//acd-store/shared")).verdict, Verdict::Ok);
        let other = verdict(&source("//old-store/shared"));
        assert_eq!(other.verdict, Verdict::Bad);
        assert!(
            other.evidence.contains("expected //old-store/shared"),
            "{other:?}"
        );
        let local = verdict(&check("/home/jtel"));
        assert_eq!(
            (local.verdict, &*local.evidence),
            (Verdict::Bad, "nothing is mounted at /home/jtel")
        );
        assert_eq!(verdict(&check("/")).verdict, Verdict::Ok);
    }

    #[test]
    fn a_read_only_system_counts_as_read_only_whoever_made_it_so_and_the_last_mount_counts() {
        for path in ["/srv/with space", "/mnt"] {
            let mut check = check(path);
            assert_eq!(verdict(&check).verdict, Verdict::Ok, "{path}");
            check.writable = true;
            assert_eq!(verdict(&check).verdict, Verdict::Bad, "{path}");
        }
        assert!(
            verdict(&check("/mnt"))
                .evidence
                .contains("/dev/drbd0 (xfs)")
        );
    }
}
