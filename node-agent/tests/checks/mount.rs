//! Mounts: a small file system, mounted here.

use std::fs;
use std::path::Path;
use std::process::Command;

use interlock_model::check::{CheckKind, MountCheck, Verdict};
use tempfile::TempDir;

use crate::bed::Bed;
use crate::skip::skip;

/// A file system in memory. Unmounted at the end.
struct Share(TempDir);

impl Share {
    fn mount() -> Option<Self> {
        let share = Self(tempfile::tempdir().unwrap());
        let mounted = mount(
            &["-t", "tmpfs", "-o", "size=64k", "store:/shared"],
            share.0.path(),
        );
        if mounted {
            return Some(share);
        }
        skip("checks of a mount", "cannot mount a tmpfs (needs root)");
        // Nothing is mounted that its end would have to unmount.
        drop(share.0.path().to_owned());
        std::mem::forget(share);
        None
    }

    fn check(&self) -> MountCheck {
        MountCheck {
            path: self.0.path().display().to_string(),
            source: Some("store:/shared".to_owned()),
            fstype: Some("tmpfs".to_owned()),
            writable: true,
            marker: Some(".alive".to_owned()),
            content: Some("jtelshared".to_owned()),
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        while Command::new("umount")
            .arg(self.0.path())
            .output()
            .is_ok_and(|ended| ended.status.success())
        {}
    }
}

fn mount(arguments: &[&str], path: &Path) -> bool {
    let mounted = Command::new("mount").args(arguments).arg(path).output();
    mounted.is_ok_and(|ended| ended.status.success())
}

#[tokio::test]
async fn a_share_must_be_mounted_as_it_should_and_hold_its_marker() {
    let Some(share) = Share::mount() else {
        return;
    };
    let bed = Bed::new();
    let path = share.0.path();
    let check = || CheckKind::Mount(share.check());
    bed.says(check(), Verdict::Bad, &[".alive", "No such file"])
        .await;
    fs::write(path.join(".alive"), "jtelshared\n").unwrap();
    bed.says(
        check(),
        Verdict::Ok,
        &["store:/shared (tmpfs) is mounted", "holds what is expected"],
    )
    .await;
    let other = MountCheck {
        source: Some("old-store:/shared".to_owned()),
        ..share.check()
    };
    bed.says(
        CheckKind::Mount(other),
        Verdict::Bad,
        &["expected old-store:/shared"],
    )
    .await;
    assert!(mount(&["-o", "remount,ro"], path));
    bed.says(check(), Verdict::Bad, &["but read-only"]).await;
    assert!(mount(&["-o", "remount,rw"], path));

    // A local directory with the same marker in it is what a lost mount leaves behind.
    let local = tempfile::tempdir().unwrap();
    fs::write(local.path().join(".alive"), "jtelshared\n").unwrap();
    let unmounted = MountCheck {
        path: local.path().display().to_string(),
        ..share.check()
    };
    bed.says(
        CheckKind::Mount(unmounted),
        Verdict::Bad,
        &["nothing is mounted at"],
    )
    .await;

    // Something else on top of it is what is seen.
    assert!(mount(&["-t", "tmpfs", "other"], path));
    bed.says(
        check(),
        Verdict::Bad,
        &["other (tmpfs)", "expected store:/shared"],
    )
    .await;
}
