//! What an authority hands out.

use std::fmt;
use std::path::Path;

use super::{Existing, WriteError, write_private, write_public};
use crate::credentials::Files;

/// A certificate and its key, as PEM.
#[derive(Clone)]
pub struct Issued {
    /// The certificate.
    pub cert_pem: String,
    /// The key in PKCS#8.
    pub key_pem: String,
}

impl Issued {
    /// Writes `NAME.key`, `NAME.crt` and the authority's certificate `ca.crt` into `directory` and says where they
    /// are. The key goes first: a program that watches the files may meet a new key with an old certificate, says so,
    /// and stays with what it had until the certificate has followed.
    ///
    /// `existing` is about key and certificate; `ca.crt` is replaced in any case, it is public and comes from the
    /// authority that issued the other two.
    ///
    /// # Errors
    /// [`WriteError`] if the key or the certificate exists and is to be kept, or a file cannot be written.
    pub fn save(
        &self,
        directory: &Path,
        name: &str,
        authority_pem: &str,
        existing: Existing,
    ) -> Result<Files, WriteError> {
        let files = Files::named(directory, name);
        write_private(&files.key, &self.key_pem, existing)?;
        write_public(&files.certificate, &self.cert_pem, existing)?;
        write_public(&files.authority, authority_pem, Existing::Replace)?;
        Ok(files)
    }
}

impl fmt::Debug for Issued {
    /// Leaves the key out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued")
            .field("cert_pem", &self.cert_pem)
            .finish_non_exhaustive()
    }
}
