//! A container host for `fence_docker`: a power device that lists its plugs by name, without hardware.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result};

use super::{Authority, Life};

const SERVER: &str = include_str!("../containers.py");

/// A running container host. It goes with this value, and with the test: the server ends with its standard input.
#[derive(Debug)]
pub struct Containers {
    server: Child,
    port: u16,
    file: PathBuf,
}

impl Containers {
    /// Starts it with these containers: `ID NAME on|off` a line.
    ///
    /// # Errors
    /// The server does not start.
    pub fn start(directory: &Path, containers: &str) -> Result<Self> {
        let tls = Authority::new("containers", directory)?.agent("host", "127.0.0.1", Life::Now)?;
        let file = directory.join("containers");
        fs::write(&file, containers)?;
        let mut server = Command::new("/usr/bin/python3")
            .args(["-u", "-c", SERVER])
            .args([&tls.certificate, &tls.key, &file])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run python3")?;
        let mut line = String::new();
        let stdout = server.stdout.take().context("no standard output")?;
        BufReader::new(stdout).read_line(&mut line)?;
        let port = line.trim().parse();
        let containers = Self {
            server,
            port: port.with_context(|| format!("no port: {line:?}"))?,
            file,
        };
        Ok(containers)
    }

    /// Where it listens, on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Other containers from now on.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn change(&self, containers: &str) -> Result<()> {
        // A request meanwhile reads the one or the other.
        let new = self.file.with_extension("new");
        fs::write(&new, containers)?;
        Ok(fs::rename(new, &self.file)?)
    }
}

impl Drop for Containers {
    fn drop(&mut self) {
        // It is gone, or it goes.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
