//! Watching what a killed shim has left, until it is gone.

use std::future::pending;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use super::leftover::{self, Group};
use super::procfs::ProcessRef;
use super::run::watch_fd;
use super::spec::SpecFile;

/// The pause before another look although nothing has died: for what was born since, or could not be watched.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Says what is left now and after each death among it; the last word is that nothing is.
pub(super) async fn watch(dir: PathBuf, spec: SpecFile, mut say: impl FnMut(Group)) {
    loop {
        let (group, pidfds) = look(&dir, &spec).await;
        let gone = group.is_empty();
        say(group);
        if gone {
            return;
        }
        tokio::select! {
            () = any_dies(pidfds) => {}
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
    }
}

async fn look(dir: &Path, spec: &SpecFile) -> (Group, Vec<OwnedFd>) {
    let (dir, spec) = (dir.to_owned(), spec.clone());
    let looked = tokio::task::spawn_blocking(move || {
        let Ok(group) = leftover::look(&dir, &spec) else {
            return (Group::Left { pids: Vec::new() }, Vec::new());
        };
        let pids = match &group {
            Group::Left { pids } => pids.as_slice(),
            Group::Empty(_) => &[],
        };
        // One that died since, and whose number is somebody else's, only delays the next look.
        let open = |pid: &u32| ProcessRef::of(*pid)?.open().ok().flatten();
        let pidfds = pids.iter().filter_map(open).collect();
        (group, pidfds)
    });
    let unknown = |_| (Group::Left { pids: Vec::new() }, Vec::new());
    looked.await.unwrap_or_else(unknown)
}

/// A pidfd becomes readable when its process exits (pidfd_open(2)).
async fn any_dies(pidfds: Vec<OwnedFd>) {
    let watched = pidfds.into_iter().filter_map(|fd| watch_fd(fd).ok());
    let mut deaths: FuturesUnordered<_> = watched
        .map(|fd| async move {
            let _ = fd.readable().await;
        })
        .collect();
    if deaths.next().await.is_none() {
        pending::<()>().await;
    }
}
