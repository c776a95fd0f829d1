//! A real Redis as a service of a local cluster.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::{Cluster, Machine};
use crate::patience;

/// The server's program in Debian's package of tools, which starts none. It looks at its own name.
const PROGRAM: &str = "/usr/bin/redis-check-rdb";

const PORT: u16 = 6379;

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(30);

/// One that listens on port 6379 of an address, and keeps nothing on disk.
#[derive(Debug, Clone, Copy)]
pub struct Redis {
    host: u8,
}

impl Redis {
    /// The program that has to be there, and its package.
    pub const NEEDED: (&'static str, &'static str) = (PROGRAM, "redis-tools");

    /// The machine of this node that runs it, for the service of this name.
    #[must_use]
    pub fn machine(node: &str, host: u8, service: &str) -> Machine {
        let command = ["DIR/bin/redis-server", "DIR/redis.conf"];
        Machine::new(node, host).command(service, &command, None)
    }

    /// Its files, with these users, who may do everything. It listens on the address with this last number.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn prepare(
        cluster: &Cluster,
        host: u8,
        users: impl IntoIterator<Item = String>,
    ) -> Result<Self> {
        fs::create_dir(cluster.path("bin"))?;
        symlink(PROGRAM, cluster.path("bin/redis-server"))?;
        let users = users
            .into_iter()
            .map(|user| format!("user {user} on nopass ~* &* +@all\n"));
        let file = format!(
            "bind {}\nport {PORT}\nprotected-mode no\nsave \"\"\ndir {}\n{}",
            cluster.address(host),
            cluster.path("").display(),
            users.collect::<String>()
        );
        fs::write(cluster.path("redis.conf"), file)?;
        Ok(Self { host })
    }

    /// Lets it listen on the address with this last number, and nowhere else.
    ///
    /// # Errors
    /// It does not.
    pub fn listen_on(&self, cluster: &Cluster, host: u8) -> Result<Self> {
        self.tell(
            cluster,
            &format!("CONFIG SET bind {}", cluster.address(host)),
        )?;
        Ok(Self { host })
    }

    /// Lets a user no longer in and throws him out, or lets him in again.
    ///
    /// # Errors
    /// It does not.
    pub fn shut_out(&self, cluster: &Cluster, user: &str, out: bool) -> Result<()> {
        let state = if out { "off" } else { "on" };
        self.tell(cluster, &format!("ACL SETUSER {user} {state}"))?;
        if out {
            self.tell(cluster, &format!("CLIENT KILL USER {user}"))?;
        }
        Ok(())
    }

    fn tell(self, cluster: &Cluster, command: &str) -> Result<()> {
        let mut redis = TcpStream::connect((cluster.address(self.host).as_str(), PORT))?;
        redis.set_read_timeout(Some(patience(ANSWER)))?;
        write!(redis, "{command}\r\n")?;
        let mut answer = String::new();
        BufReader::new(redis).read_line(&mut answer)?;
        ensure!(
            answer.starts_with(['+', ':']),
            "{command}: Redis says {answer:?}"
        );
        Ok(())
    }
}
