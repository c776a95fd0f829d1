//! A time server for each node (SNTP, RFC 4330). The node's clock is as far behind as its server is ahead.

use std::fs;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, Result};
use clap::Args;

use crate::local::Cluster;

/// Seconds from 1900 to 1970.
const FROM_1900: u64 = 2_208_988_800;

/// The time server of one node. It ends with its cluster.
#[derive(Debug)]
pub struct Clock {
    ahead: PathBuf,
}

impl Clock {
    /// Of the machine with this last number, and right.
    pub(super) fn of(cluster: &Cluster, host: u8) -> Result<Self> {
        let clock = Self {
            ahead: cluster.path(&format!("clock.{host}")),
        };
        clock.be_ahead(0)?;
        let listen = format!("{}:8123", cluster.address(host));
        let ahead = clock.ahead.display().to_string();
        cluster.start_helper(&["clock", &listen, &ahead], "clocks.log")?;
        Ok(clock)
    }

    /// So many seconds ahead from now on.
    ///
    /// # Errors
    /// It cannot be told.
    pub fn be_ahead(&self, seconds: u64) -> Result<()> {
        // As a whole, for a server that looks at any moment.
        let new = self.ahead.with_extension("new");
        fs::write(&new, seconds.to_string())?;
        Ok(fs::rename(&new, &self.ahead)?)
    }
}

/// A time server, as a process of its own.
#[derive(Debug, Args)]
pub struct Serve {
    /// Where it is asked: `ADDRESS:PORT`.
    listen: String,
    /// The file that says how many seconds it is ahead.
    ahead: PathBuf,
}

impl Serve {
    /// Answers for ever.
    ///
    /// # Errors
    /// It cannot listen, or does not know how wrong it is.
    pub fn run(&self) -> Result<()> {
        let socket = UdpSocket::bind(&self.listen).with_context(|| self.listen.clone())?;
        let mut request = [0; 48];
        loop {
            if let Ok((48, from)) = socket.recv_from(&mut request) {
                // Who asks again is answered again.
                let _ = socket.send_to(&answer(&request, ahead(&self.ahead)?), from);
            }
        }
    }
}

fn ahead(file: &Path) -> Result<u64> {
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    Ok(text.parse()?)
}

/// Of a server of stratum 2, with the time of the request's arrival as that of its answer.
fn answer(request: &[u8; 48], ahead: u64) -> [u8; 48] {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.unwrap_or_default();
    // The era of these 32 bits ends in 2036.
    let seconds = (now.as_secs() + FROM_1900 + ahead) & u64::from(u32::MAX);
    let fraction = (u64::from(now.subsec_nanos()) << 32) / 1_000_000_000;
    let time = (seconds << 32 | fraction).to_be_bytes();
    let mut answer = [0; 48];
    (answer[0], answer[1]) = (0x24, 2);
    answer[24..32].copy_from_slice(&request[40..]);
    answer[32..40].copy_from_slice(&time);
    answer[40..].copy_from_slice(&time);
    answer
}
