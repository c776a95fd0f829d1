//! Certificates of a local cluster, good ones and bad ones.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Result;
use interlock_mesh::credentials::Files;
use interlock_mesh::identity::{Identity, Role};
use interlock_mesh::pki::{CertificateAuthority, Existing, IssueRequest, SubjectName};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// When a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// Since four days ago, until tomorrow.
    Now,
    /// It ended yesterday.
    Past,
}

/// A certificate authority with a directory of its own for what it issues.
#[derive(Debug)]
pub struct Authority {
    authority: CertificateAuthority,
    directory: PathBuf,
}

impl Authority {
    /// Makes an authority for the cluster of this name.
    ///
    /// # Errors
    /// The name is none, or the directory cannot be made.
    pub fn new(cluster: &str, directory: &Path) -> Result<Self> {
        std::fs::create_dir_all(directory)?;
        let authority =
            CertificateAuthority::init(cluster.parse()?, SystemTime::now() - 5 * DAY, 30 * DAY)?;
        Ok(Self {
            authority,
            directory: directory.to_owned(),
        })
    }

    /// Issues a certificate for an agent at this address.
    ///
    /// # Errors
    /// It cannot be issued or written.
    pub fn agent(&self, node: &str, address: &str, life: Life) -> Result<Files> {
        let identity = Identity::agent(self.authority.cluster().clone(), node.parse()?);
        self.issue(identity, "agent", Some(address), life)
    }

    /// Issues a certificate for a coordinator at this address.
    ///
    /// # Errors
    /// It cannot be issued or written.
    pub fn coordinator(&self, node: &str, address: &str, life: Life) -> Result<Files> {
        let identity = Identity::coordinator(self.authority.cluster().clone(), node.parse()?);
        self.issue(identity, "coordinator", Some(address), life)
    }

    /// Issues a certificate for a person.
    ///
    /// # Errors
    /// It cannot be issued or written.
    pub fn operator(&self, name: &str, role: Role, life: Life) -> Result<Files> {
        let identity = Identity::operator(self.authority.cluster().clone(), name.parse()?, role);
        self.issue(identity, "operator", None, life)
    }

    fn issue(
        &self,
        identity: Identity,
        kind: &str,
        address: Option<&str>,
        life: Life,
    ) -> Result<Files> {
        let name = identity.name().to_owned();
        let directory = self.directory.join(kind).join(&name);
        std::fs::create_dir_all(&directory)?;
        let (not_before, life) = match life {
            Life::Now => (SystemTime::now() - 4 * DAY, 5 * DAY),
            Life::Past => (SystemTime::now() - 3 * DAY, 2 * DAY),
        };
        let names = address.map(str::parse::<SubjectName>).transpose()?;
        let names = names.into_iter().collect();
        let issued = self.authority.issue(&IssueRequest {
            identity,
            names,
            not_before,
            life,
        })?;
        Ok(issued.save(
            &directory,
            &name,
            self.authority.cert_pem(),
            Existing::Replace,
        )?)
    }
}
