//! Secrets: one file each, readable by nobody else.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use interlock_model::names::LocalName;

use crate::power::Secret;

/// The longest secret, in bytes. Room for a key file, not for an accident.
const MAX_SECRET: u64 = 16 * 1024;

/// The directory with one file per secret, named like the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secrets {
    /// The directory.
    pub dir: PathBuf,
}

/// A secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error(
        "cannot read secret {name} from {file}: put it there, owned by the agent's user, mode 0600"
    )]
    Read {
        /// Its name.
        name: LocalName,
        /// Its file.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Others may read or change the file.
    #[error(
        "secret {name} is refused because others can reach it (mode {mode:04o}): run `chmod 0600 {file}`"
    )]
    Exposed {
        /// Its name.
        name: LocalName,
        /// Its file.
        file: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The file is empty, too long or not text.
    #[error("secret {name} in {file} is empty, longer than {MAX_SECRET} bytes or not UTF-8 text")]
    Content {
        /// Its name.
        name: LocalName,
        /// Its file.
        file: PathBuf,
    },
}

impl Secrets {
    /// Every secret that can be read, for keeping them out of what is told. Blocks.
    #[must_use]
    pub fn all(&self) -> Vec<Secret> {
        let entries = std::fs::read_dir(&self.dir).into_iter().flatten().flatten();
        entries
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter_map(|name| self.read(&name).ok())
            .collect()
    }

    /// Reads a secret. One newline at its end does not belong to it. Blocks.
    ///
    /// # Errors
    /// If there is no such file, others may reach it, or it holds no text.
    pub fn read(&self, name: &LocalName) -> Result<Secret, SecretError> {
        let path = self.dir.join(name.as_str());
        let failed = |source| SecretError::Read {
            name: name.clone(),
            file: path.clone(),
            source,
        };
        let file = File::open(&path).map_err(failed)?;
        // Of the open file, so that what was checked is what is read.
        let mode = file.metadata().map_err(failed)?.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(SecretError::Exposed {
                name: name.clone(),
                file: path,
                mode,
            });
        }
        let mut bytes = Vec::new();
        file.take(MAX_SECRET + 1)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        let text = String::from_utf8(bytes)
            .ok()
            .filter(|text| text.len() as u64 <= MAX_SECRET);
        match text
            .as_deref()
            .map(|text| text.strip_suffix('\n').unwrap_or(text))
        {
            Some(value) if !value.is_empty() => Ok(Secret::new(value)),
            Some(_) | None => Err(SecretError::Content {
                name: name.clone(),
                file: path,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_that_others_may_read_is_refused_with_the_command_that_helps() {
        let dir = tempfile::tempdir().unwrap();
        let secrets = Secrets {
            dir: dir.path().to_owned(),
        };
        let name: LocalName = "virsh".parse().unwrap();
        let file = dir.path().join("virsh");
        fs::write(&file, "hunter2\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        let error = secrets.read(&name).unwrap_err().to_string();
        assert!(
            error.contains("0640") && error.contains("chmod 0600"),
            "{error}"
        );
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let secret = secrets.read(&name).unwrap();
        assert_eq!(secret.expose(), "hunter2");
        assert!(!format!("{secret:?}").contains("hunter2"));
    }
}
