//! The file with the contexts.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io;
use std::path::PathBuf;

use anyhow::Context as _;
use interlock_mesh::credentials::Files;
use interlock_mesh::pki::{Existing, write_private};
use interlock_model::suggest::nearest;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// What the file holds. Unknown keys are errors, so that a misspelt one is not silently without effect.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// The context that is used if none is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<String>,
    /// The contexts, by name.
    #[serde(default)]
    pub(crate) contexts: BTreeMap<String, Context>,
}

/// One cluster, and who the caller is there.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Context {
    /// The coordinators, each `HOST:PORT`; the first one that answers is used.
    pub(crate) endpoints: Vec<String>,
    /// The cluster's authority.
    pub(crate) ca: PathBuf,
    /// The caller's certificate.
    pub(crate) cert: PathBuf,
    /// Its key.
    pub(crate) key: PathBuf,
}

impl Context {
    /// The files of the certificate.
    pub(crate) fn files(&self) -> Files {
        Files {
            certificate: self.cert.clone(),
            key: self.key.clone(),
            authority: self.ca.clone(),
        }
    }
}

impl Config {
    /// Reads the file; one that does not exist is empty.
    pub(crate) fn load() -> Result<Self, Failure> {
        let path = config_path()?;
        match fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text).map_err(|error| {
                Failure::Refused(format!(
                    "the contexts in {} cannot be read: correct the file, or move it away\n{error}",
                    path.display()
                ))
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(Failure::Refused(format!(
                "cannot read the contexts in {}: {error}",
                path.display()
            ))),
        }
    }

    /// Writes the file, complete or not at all.
    pub(crate) fn save(&self) -> Result<PathBuf, Failure> {
        let path = config_path()?;
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)
                .with_context(|| format!("cannot make the directory {}", directory.display()))?;
        }
        let text = toml::to_string(self).context("cannot write the contexts as TOML")?;
        write_private(&path, &text, Existing::Replace).map_err(anyhow::Error::new)?;
        Ok(path)
    }

    /// A context by its name.
    pub(crate) fn get(&self, name: &str) -> Result<&Context, Failure> {
        self.contexts.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.contexts.keys().map(String::as_str).collect();
            let known = match nearest(name, known.iter().copied()) {
                _ if known.is_empty() => "there are none".to_owned(),
                Some(near) => format!("did you mean {near}? There are {}", known.join(", ")),
                None => format!("there are {}", known.join(", ")),
            };
            Failure::Usage(format!(
                "there is no context '{name}': {known}; `interlockctl context add {name} ...` makes it"
            ))
        })
    }
}

/// Where the contexts are.
pub(crate) fn config_path() -> Result<PathBuf, Failure> {
    if let Some(path) = given("INTERLOCK_CONFIG") {
        return Ok(path);
    }
    let below = given("XDG_CONFIG_HOME").or_else(|| Some(given("HOME")?.join(".config")));
    below
        .map(|directory| directory.join("interlock").join("config.toml"))
        .ok_or_else(|| {
            Failure::Usage(
                "neither HOME nor XDG_CONFIG_HOME is set: say where the contexts are with INTERLOCK_CONFIG, \
                 or use --endpoint and --tls-dir"
                    .to_owned(),
            )
        })
}

fn given(variable: &str) -> Option<PathBuf> {
    env::var_os(variable)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}
