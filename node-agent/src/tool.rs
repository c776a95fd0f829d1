//! Running the short commands of the agent's own file that test and reload.

use std::io;
use std::time::Duration;

use tokio::process::Command;

use crate::group::{self, Bounds, End};

/// Bytes of what a command prints that are kept.
const PRINTED: usize = 16 << 10;

/// What a command printed, and how it ended.
pub(crate) struct Printed {
    /// How it ended.
    pub(crate) end: End,
    /// What it printed, its errors first.
    pub(crate) text: String,
}

/// Runs a command, which is not empty, for at most this long.
///
/// # Errors
/// It cannot be started.
pub(crate) async fn run(command: &[String], limit: Duration) -> io::Result<Printed> {
    let [program, arguments @ ..] = command else {
        return Err(io::Error::other("there is no command"));
    };
    let mut running = Command::new(program);
    running
        .args(arguments)
        .env_clear()
        .env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        )
        .env("LC_ALL", "C")
        .current_dir("/");
    let bounds = Bounds {
        time: limit,
        stdout: PRINTED,
        stderr: PRINTED,
    };
    let finished = group::run(&mut running, &[], bounds).await?;
    let mut text = String::from_utf8_lossy(&finished.stderr).into_owned();
    text.push_str(&String::from_utf8_lossy(&finished.stdout));
    Ok(Printed {
        end: finished.end,
        text,
    })
}

/// Does what may block where that does no harm.
///
/// # Errors
/// Those of the work.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}
