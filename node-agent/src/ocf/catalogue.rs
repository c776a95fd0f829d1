//! The resource agents of this machine, and what they say of themselves.
//!
//! That an agent is there is seen in a directory. What it says of itself (`meta-data`) it has to be run for, which the
//! agent's own file permits or not; it is run again when its file has changed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use interlock_model::ocf::{AgentName, AgentType, Installed};
use tokio::process::Command;

use super::environment::ROOT;
use super::metadata;
use crate::group::{self, Bounds, End, Finished};

/// How long an agent may take to describe itself. It needs neither parameters nor the network for it; what agents advise
/// for it themselves is 5 s.
const DESCRIBE_LIMIT: Duration = Duration::from_secs(10);

/// The longest description. The longest of the agents in use has 14 KB.
const DESCRIPTION: usize = 256 << 10;

/// How much is kept of what an agent says when it cannot describe itself.
const COMPLAINT: usize = 4 << 10;

/// The most agents that are listed. The package that most have brings 140.
const MOST: usize = 1000;

/// Why a resource agent cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// It is not there.
    #[error(
        "the resource agent {agent} is not installed here, in {}",
        display(path)
    )]
    Missing {
        /// Its name.
        agent: AgentName,
        /// Where it was looked for.
        path: Vec<PathBuf>,
    },
    /// It does not say what it is.
    #[error("the resource agent {0} does not describe itself: {1}")]
    Mute(AgentName, String),
}

fn display(path: &[PathBuf]) -> String {
    let path: Vec<String> = path.iter().map(|dir| dir.display().to_string()).collect();
    path.join(" or ")
}

/// The resource agents of this machine.
#[derive(Debug)]
pub struct Catalogue {
    path: Vec<PathBuf>,
    permitted: BTreeSet<AgentName>,
    known: Mutex<BTreeMap<AgentName, Known>>,
}

/// What an agent said of itself, and the file that it was then.
#[derive(Debug, Clone)]
struct Known {
    file: Stamp,
    said: Result<Arc<AgentType>, Unusable>,
}

/// Which version of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    path: PathBuf,
    device: u64,
    inode: u64,
    changed: (i64, i64),
}

impl Catalogue {
    /// Of the agents in these directories of providers, of which these may be run.
    #[must_use]
    pub fn new(path: Vec<PathBuf>, permitted: BTreeSet<AgentName>) -> Self {
        Self {
            path,
            permitted,
            known: Mutex::default(),
        }
    }

    /// What is installed, and what the permitted ones say of themselves.
    pub async fn installed(&self) -> Installed {
        let path = self.path.clone();
        let names = tokio::task::spawn_blocking(move || list(&path)).await;
        let mut installed = Installed {
            names: names.unwrap_or_default(),
            ..Installed::default()
        };
        for agent in &self.permitted {
            match self.describe(agent).await {
                Ok(known) => {
                    installed.types.insert(agent.clone(), (*known).clone());
                }
                Err(Unusable::Missing { .. }) => {}
                Err(Unusable::Mute(_, why)) => {
                    installed.mute.insert(agent.clone(), why);
                }
            }
        }
        installed
    }

    /// The file of an agent: the first that is found. Blocks.
    ///
    /// # Errors
    /// If there is none.
    pub(super) fn find(&self, agent: &AgentName) -> Result<PathBuf, Unusable> {
        Ok(self.stamp(agent)?.path)
    }

    fn stamp(&self, agent: &AgentName) -> Result<Stamp, Unusable> {
        let files = self
            .path
            .iter()
            .map(|dir| dir.join(agent.provider()).join(agent.kind()));
        files
            .filter_map(|path| stamp_of(path).ok().flatten())
            .next()
            .ok_or_else(|| Unusable::Missing {
                agent: agent.clone(),
                path: self.path.clone(),
            })
    }

    /// What an agent says of itself, asked when its file is new.
    ///
    /// # Errors
    /// If it is not there, or does not say.
    pub async fn describe(&self, agent: &AgentName) -> Result<Arc<AgentType>, Unusable> {
        let file = self.stamp(agent)?;
        if let Some(known) = self.lock().get(agent).filter(|known| known.file == file) {
            return known.said.clone();
        }
        let said = ask(agent, &file.path).await;
        let said = said
            .map_err(|why| Unusable::Mute(agent.clone(), why))
            .map(Arc::new);
        if let Err(error) = &said {
            tracing::warn!(%error, "a resource agent cannot be used");
        }
        let known = Known {
            file,
            said: said.clone(),
        };
        self.lock().insert(agent.clone(), known);
        said
    }

    /// What is known of an agent without asking it; none if it was never asked.
    #[must_use]
    pub fn known(&self, agent: &AgentName) -> Option<Result<Arc<AgentType>, Unusable>> {
        self.lock().get(agent).map(|known| known.said.clone())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<AgentName, Known>> {
        // Every change is complete before anything can panic.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// None for what is not a program.
fn stamp_of(path: PathBuf) -> io::Result<Option<Stamp>> {
    let metadata = fs::metadata(&path)?;
    let is_program = metadata.is_file() && metadata.permissions().mode() & 0o111 != 0;
    Ok(is_program.then(|| Stamp {
        device: metadata.dev(),
        inode: metadata.ino(),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
        path,
    }))
}

async fn ask(agent: &AgentName, file: &Path) -> Result<AgentType, String> {
    let mut command = Command::new(file);
    command
        .arg("meta-data")
        .env_clear()
        .env("OCF_ROOT", ROOT)
        .env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        )
        .env("LC_ALL", "C")
        .current_dir("/");
    let bounds = Bounds {
        time: DESCRIBE_LIMIT,
        stdout: DESCRIPTION,
        stderr: COMPLAINT,
    };
    let Finished {
        end,
        stdout,
        stderr,
    } = group::run(&mut command, b"", bounds)
        .await
        .map_err(|error| format!("it cannot be run: {error}"))?;
    match end {
        End::Exited(0) => {
            let document = String::from_utf8_lossy(&stdout);
            metadata::parse(agent, &document)
                .map_err(|why| format!("its metadata cannot be read: {why}"))
        }
        End::Exited(code) => {
            let said = String::from_utf8_lossy(&stderr);
            let last = said.trim().lines().last().unwrap_or_default();
            Err(format!("its meta-data ended with {code}: {last}"))
        }
        End::Signalled(signal) => Err(format!("its meta-data was ended by signal {signal}")),
        End::TimedOut | End::Undead(_) => {
            Err(format!("its meta-data took longer than {DESCRIBE_LIMIT:?}"))
        }
    }
}

/// Every program that is named like an agent, in a directory that is named like a provider. Directories that are not
/// there have none.
fn list(path: &[PathBuf]) -> BTreeSet<AgentName> {
    let entries = |dir: &Path| fs::read_dir(dir).into_iter().flatten().flatten();
    let mut found = BTreeSet::new();
    for provider in path.iter().flat_map(|dir| entries(dir)) {
        for file in entries(&provider.path()) {
            if !matches!(stamp_of(file.path()), Ok(Some(_))) {
                continue;
            }
            let (provider, kind) = (provider.file_name(), file.file_name());
            let name = format!("{}:{}", provider.to_string_lossy(), kind.to_string_lossy());
            found.extend(name.parse::<AgentName>().ok());
        }
    }
    if found.len() > MOST {
        tracing::warn!(
            count = found.len(),
            "only the first {MOST} resource agents are listed"
        );
    }
    found.into_iter().take(MOST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DESCRIPTION: &str = "echo '<resource-agent name=\"X\" version=\"VERSION\"><actions><action name=\"start\"/>\
                               <action name=\"stop\"/><action name=\"monitor\"/></actions></resource-agent>'";

    fn write(dir: &Path, provider: &str, kind: &str, body: &str, mode: u32) {
        fs::create_dir_all(dir.join(provider)).unwrap();
        // As a package does: another file takes the place of the one that may run.
        let (file, new) = (
            dir.join(provider).join(kind),
            dir.join(provider).join(".new"),
        );
        fs::write(&new, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(mode)).unwrap();
        fs::rename(&new, &file).unwrap();
    }

    fn catalogue(dir: &Path, permitted: &[&str]) -> Catalogue {
        let permitted = permitted.iter().map(|name| name.parse().unwrap());
        Catalogue::new(vec![dir.to_owned()], permitted.collect())
    }

    #[tokio::test]
    async fn what_is_not_permitted_is_listed_and_not_run() {
        let dir = tempfile::tempdir().unwrap();
        let ran = dir.path().join("ran");
        write(dir.path(), "a", "Yes", DESCRIPTION, 0o755);
        write(
            dir.path(),
            "a",
            "No",
            &format!("touch {}", ran.display()),
            0o755,
        );
        write(dir.path(), "a", ".hidden", DESCRIPTION, 0o755);
        write(dir.path(), "a", "readme.txt", "", 0o644);
        write(dir.path(), "b", "Mute", "echo broken >&2; exit 1", 0o755);
        let installed = catalogue(dir.path(), &["a:Yes", "b:Mute", "b:Missing"])
            .installed()
            .await;
        let names: Vec<String> = installed.names.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["a:No", "a:Yes", "b:Mute"]);
        let types: Vec<String> = installed.types.keys().map(ToString::to_string).collect();
        assert_eq!(types, ["a:Yes"]);
        let mute: Vec<&String> = installed.mute.values().collect();
        assert_eq!(mute, ["its meta-data ended with 1: broken"]);
        assert!(!ran.exists());
    }

    #[tokio::test]
    async fn an_agent_whose_file_is_another_one_is_asked_again() {
        let dir = tempfile::tempdir().unwrap();
        let agent: AgentName = "a:X".parse().unwrap();
        let catalogue = catalogue(dir.path(), &["a:X"]);
        for version in ["1", "2"] {
            write(
                dir.path(),
                "a",
                "X",
                &DESCRIPTION.replace("VERSION", version),
                0o755,
            );
            assert_eq!(catalogue.describe(&agent).await.unwrap().version, version);
        }
        fs::remove_file(dir.path().join("a/X")).unwrap();
        let gone = catalogue.describe(&agent).await;
        assert!(matches!(gone, Err(Unusable::Missing { .. })), "{gone:?}");
    }
}
