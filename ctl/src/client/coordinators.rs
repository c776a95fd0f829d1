//! The coordinators of one cluster.

use std::time::SystemTime;

use interlock_mesh::channel::{Address, Expected, Target};
use interlock_mesh::credentials::{Credentials, Files, open, system_clock};
use interlock_mesh::identity::{Identity, Kind};

use super::{Client, ConnectFailure};

/// Where the coordinators are, and the certificate that they are shown.
#[derive(Debug, Clone)]
pub(crate) struct Coordinators {
    endpoints: Vec<Address>,
    credentials: Credentials,
}

impl Coordinators {
    /// Reads the certificate. Nothing is connected yet.
    pub(crate) fn new(endpoints: Vec<Address>, files: Files) -> Result<Self, ConnectFailure> {
        Ok(Self {
            endpoints,
            credentials: credentials(files)?,
        })
    }

    /// Connects to the first one that answers.
    pub(crate) async fn connect(&self) -> Result<Client, ConnectFailure> {
        let mut tried = Vec::new();
        for address in &self.endpoints {
            let target = Target {
                address: address.clone(),
                expected: Expected::Coordinator,
            };
            match Client::connect(&target, &self.credentials).await {
                Ok(client) => return Ok(client),
                Err(ConnectFailure::Tried(more)) => tried.extend(more),
                Err(other @ ConnectFailure::Credentials(_)) => return Err(other),
            }
        }
        Err(ConnectFailure::Tried(tried))
    }

    /// Connects to each: what becomes of that.
    pub(crate) async fn try_each(&self) -> Vec<(Address, Result<(), ConnectFailure>)> {
        let mut tried = Vec::new();
        for address in &self.endpoints {
            let target = Target {
                address: address.clone(),
                expected: Expected::Coordinator,
            };
            let client = Client::connect(&target, &self.credentials).await;
            tried.push((address.clone(), client.map(drop)));
        }
        tried
    }

    /// Whose certificate it is.
    pub(crate) fn identity(&self) -> Identity {
        self.credentials.identity()
    }

    /// When it ends.
    pub(crate) fn not_after(&self) -> SystemTime {
        self.credentials.not_after()
    }
}

/// Reads an operator's certificate.
pub(crate) fn credentials(files: Files) -> Result<Credentials, ConnectFailure> {
    // The store is dropped: a command is over long before its certificate is renewed.
    open(files, Kind::Operator, system_clock())
        .map(|(_, credentials)| credentials)
        .map_err(|error| ConnectFailure::Credentials(Box::new(error)))
}
