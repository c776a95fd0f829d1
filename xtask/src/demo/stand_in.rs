//! A stand-in for a product: it listens, and it really connects to what it depends on.
//!
//! `GET /status` answers what such products answer: `{"state": "running" | "paused", "reason": "...", "role": ...}`,
//! where `paused` names what cannot be reached. Of those with the same `--lock` one is primary: whoever holds it.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use rustix::fs::{FlockOperation, flock};

/// A stand-in for a product of the demo.
#[derive(Debug, Args)]
pub(crate) struct StandIn {
    /// Where it listens.
    #[arg(long)]
    listen: SocketAddr,
    /// What it depends on: a name and where that listens; one address of a name is enough.
    #[arg(long = "needs", value_parser = needs)]
    needs: Vec<(String, SocketAddr)>,
    /// Whoever holds this file is primary.
    #[arg(long)]
    lock: Option<PathBuf>,
}

/// The lock is kept once it is had: an active side stays active until it ends.
fn role(lock: Option<&File>) -> Option<&'static str> {
    lock.map(
        |lock| match flock(lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => "primary",
            Err(_) => "standby",
        },
    )
}

fn needs(text: &str) -> Result<(String, SocketAddr), String> {
    let (name, address) = text
        .split_once('=')
        .ok_or("write it as NAME=ADDRESS:PORT")?;
    Ok((
        name.to_owned(),
        address
            .parse()
            .map_err(|_| format!("'{address}' is no address with a port"))?,
    ))
}

impl StandIn {
    /// Serves until it is killed.
    pub(crate) fn run(&self) -> Result<()> {
        let lock = self
            .lock
            .as_ref()
            .map(File::create)
            .transpose()
            .context("cannot open the lock")?;
        // Taken at the start if it is free: who comes first is primary.
        role(lock.as_ref());
        let listener = TcpListener::bind(self.listen)
            .with_context(|| format!("cannot listen on {}", self.listen))?;
        println!("listening on {}", self.listen);
        for connection in listener.incoming() {
            let connection = connection.context("cannot accept")?;
            // A client that goes away is no reason to end.
            drop(self.answer(connection, lock.as_ref()));
        }
        Ok(())
    }

    fn answer(&self, mut connection: TcpStream, lock: Option<&File>) -> std::io::Result<()> {
        connection.set_read_timeout(Some(Duration::from_secs(1)))?;
        let mut request = String::new();
        BufReader::new(&connection).read_line(&mut request)?;
        if request.is_empty() {
            return Ok(());
        }
        let missing = self.missing();
        let state = if missing.is_empty() {
            "running"
        } else {
            "paused"
        };
        let role = role(lock);
        let body =
            serde_json::json!({ "state": state, "reason": missing.join(", "), "role": role })
                .to_string();
        write!(
            connection,
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
    }

    /// The names of which no address answers.
    fn missing(&self) -> Vec<String> {
        let mut missing: Vec<String> = Vec::new();
        let mut names: Vec<&String> = self.needs.iter().map(|(name, _)| name).collect();
        names.dedup();
        for name in names {
            let reached =
                self.needs
                    .iter()
                    .filter(|(other, _)| other == name)
                    .any(|(_, address)| {
                        TcpStream::connect_timeout(address, Duration::from_millis(300)).is_ok()
                    });
            if !reached {
                missing.push(name.clone());
            }
        }
        missing
    }
}
