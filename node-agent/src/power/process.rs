//! A fence agent as a process: what it is given, what it may take, and the end of what an earlier one has left.

use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use tokio::process::Command;

use crate::group::{self, Bounds, Finished};
use crate::shim;

/// Room for `list` of a large hypervisor cluster, and for the longest metadata (100 KiB).
const STDOUT: usize = 1 << 20;

/// Only the end of it is shown; agents that debug print megabytes.
const STDERR: usize = 64 << 10;

/// The variable that marks the processes of a fence agent, so that what a killed agent left can be found.
pub(super) const MARKER: &str = "INTERLOCK_FENCE";

/// The pause between two looks at what was killed.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Runs the program with an environment of its own: nothing of ours reaches it, `PCMK_service` and `NOTIFY_SOCKET`
/// least of all.
pub(super) async fn execute(
    path: &PathBuf,
    input: &str,
    marker: Option<&str>,
    limit: Duration,
) -> std::io::Result<Finished> {
    let mut command = Command::new(path);
    command
        .env_clear()
        .env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        )
        .env("LC_ALL", "C")
        .env("HOME", "/root")
        .current_dir("/");
    if let Some(marker) = marker {
        command.env(MARKER, marker);
    }
    group::run(
        &mut command,
        input.as_bytes(),
        Bounds {
            time: limit,
            stdout: STDOUT,
            stderr: STDERR,
        },
    )
    .await
}

/// Kills what was begun for a device before, by an agent that was killed or a call that was given up, and returns when
/// none of it is left: one that still switched would do so beside the next call. Waits as long as it takes.
pub(super) async fn end_left(marker: &str) -> std::io::Result<()> {
    loop {
        let marker = marker.to_owned();
        let killed = tokio::task::spawn_blocking(move || {
            let left = shim::marked(MARKER, &marker)?;
            for process in &left {
                tracing::warn!(
                    pid = process.pid,
                    "killing a fence agent that an earlier call has left"
                );
                process.signal(Signal::KILL)?;
            }
            Ok::<_, std::io::Error>(left.len())
        });
        if killed.await?? == 0 {
            return Ok(());
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
