//! What is remembered of resources across restarts of this agent, for as long as the machine is up: `STATE_DIR/ocf.json`.
//!
//! That something was seen running is what makes *not running* a death, and a `stop` that failed is in doubt whoever asks
//! later: an agent that starts anew and knew neither would take a dead resource for one that somebody has stopped, and one that
//! could not be stopped for stopped. After a boot nothing of it holds. What cannot be read may have been a doubt, and is one.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use interlock_model::ids::BootId;
use interlock_model::ocf::{AgentName, Resource};
use serde::{Deserialize, Serialize};

use crate::replace::keep;
use crate::tool::blocking;

/// What was seen of a resource, and done to it.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Memory {
    /// It was seen running since it was last stopped by a `stop`.
    pub(super) up: bool,
    /// Why it cannot be taken for stopped although its agent says so.
    pub(super) doubt: Option<String>,
}

/// The file, and what is in it. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Notebook {
    path: PathBuf,
    /// What an earlier agent has written.
    found: Arc<BTreeMap<String, Line>>,
    /// Why nothing is known of what that was, of what it does not name.
    unread: Option<String>,
    written: Arc<Mutex<Written>>,
}

/// The file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Written {
    boot: BootId,
    /// By agent type and name ([`key`]); those of an earlier version by name alone.
    resources: BTreeMap<String, Line>,
    /// Why nothing is known of resources that are not named: what was here before could not be read, in this boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unread: Option<String>,
}

/// A resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Line {
    agent: AgentName,
    #[serde(flatten)]
    memory: Memory,
}

/// What a resource ran as: its agent type and its name. One of another type that has its name is another one, and either may be
/// there.
fn key(agent: &AgentName, name: &str) -> String {
    format!("{agent}/{name}")
}

impl Notebook {
    /// What was written in this boot. Blocks, for one small file.
    pub(super) fn open(path: PathBuf, boot: BootId) -> Self {
        let empty = Written {
            boot,
            resources: BTreeMap::new(),
            unread: None,
        };
        let written = match read(&path) {
            Ok(Some(written)) if written.boot == empty.boot => written,
            Ok(_) => empty,
            Err(error) => {
                let path = path.display();
                tracing::error!(%path, %error, "what is remembered of resources of OCF agents cannot be read: none is taken for stopped until a start or a stop of it succeeds");
                Written {
                    unread: Some(format!("{path} could not be read ({error})")),
                    ..empty
                }
            }
        };
        Self {
            path,
            found: Arc::new(written.resources.clone()),
            unread: written.unread.clone(),
            written: Arc::new(Mutex::new(written)),
        }
    }

    /// What an earlier agent has remembered of a resource.
    pub(super) fn of(&self, resource: &Resource) -> Memory {
        match self
            .found
            .get(&key(&resource.agent, resource.name.as_str()))
        {
            Some(line) => line.memory.clone(),
            None => Memory {
                up: false,
                doubt: self.unread.clone(),
            },
        }
    }

    /// Remembers this of a resource, durably. What cannot be written down holds for this process alone, and that is said.
    pub(super) async fn remember(&self, resource: &Resource, memory: Memory) {
        let line = Line {
            agent: resource.agent.clone(),
            memory,
        };
        let (notebook, key) = (self.clone(), key(&resource.agent, resource.name.as_str()));
        if let Err(error) = blocking(move || notebook.write(key, line)).await {
            let (path, resource) = (self.path.display(), &resource.name);
            tracing::error!(%path, %resource, %error, "what is known of a resource cannot be written down: the next agent will not know it");
        }
    }

    fn write(&self, key: String, line: Line) -> io::Result<()> {
        // One writer at a time: the last one writes what all have said.
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.resources.insert(key, line);
        keep(&self.path, &serde_json::to_vec(&*written)?)
    }
}

fn read(path: &std::path::Path) -> io::Result<Option<Written>> {
    match std::fs::read(path) {
        Ok(bytes) => {
            let mut written: Written = serde_json::from_slice(&bytes)?;
            let resources = std::mem::take(&mut written.resources).into_iter();
            let keyed = resources.map(|(name, line)| match name.contains('/') {
                true => (name, line),
                // Of a version that knew one of each name.
                false => (key(&line.agent, &name), line),
            });
            written.resources = keyed.collect();
            Ok(Some(written))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(agent: &str) -> Resource {
        Resource {
            agent: agent.parse().unwrap(),
            name: "disk".parse().unwrap(),
            parameters: BTreeMap::new(),
            limits: Default::default(),
            promotable: false,
            every: None,
        }
    }

    fn doubt() -> Memory {
        Memory {
            up: false,
            doubt: Some("`stop`: failure (1)".to_owned()),
        }
    }

    #[tokio::test]
    async fn what_is_remembered_is_known_to_the_next_agent_of_this_boot_and_to_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let open = |boot: &str| {
            let path = dir.path().join("ocf.json");
            Notebook::open(path, BootId(boot.to_owned()))
        };
        let disk = resource("heartbeat:Filesystem");
        assert_eq!(open("one").of(&disk), Memory::default());
        open("one").remember(&disk, doubt()).await;
        assert_eq!(open("one").of(&disk), doubt());
        let other = resource("heartbeat:LVM");
        assert_eq!(open("one").of(&other), Memory::default(), "another thing");
        open("one").remember(&other, Memory::default()).await;
        assert_eq!(open("one").of(&disk), doubt(), "what it ran as before");
        assert_eq!(open("two").of(&disk), Memory::default(), "after a boot");
        // What another resource had is not lost over the writing of one.
        let mut second = resource("heartbeat:IPaddr2");
        second.name = "address".parse().unwrap();
        let notebook = open("one");
        let up = Memory {
            up: true,
            doubt: None,
        };
        notebook.remember(&second, up.clone()).await;
        assert_eq!(
            (open("one").of(&disk), open("one").of(&second)),
            (doubt(), up)
        );
    }

    #[test]
    fn what_an_earlier_version_has_written_holds() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ocf.json");
        let old = r#"{"boot":"one","resources":{"disk":{"agent":"heartbeat:Filesystem","up":false,"doubt":"`stop`: failure (1)"}}}"#;
        std::fs::write(&path, old).unwrap();
        let notebook = Notebook::open(path, BootId("one".to_owned()));
        assert_eq!(notebook.of(&resource("heartbeat:Filesystem")), doubt());
        assert_eq!(notebook.of(&resource("heartbeat:LVM")), Memory::default());
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_a_doubt_until_it_is_known_better() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ocf.json");
        std::fs::write(&path, "{\"boot\": ").unwrap();
        let open = || Notebook::open(path.clone(), BootId("one".to_owned()));
        let disk = resource("heartbeat:Filesystem");
        let why = open().of(&disk).doubt.expect("a doubt");
        assert!(why.contains("ocf.json could not be read"), "{why}");
        open().remember(&disk, Memory::default()).await;
        assert_eq!(open().of(&disk), Memory::default());
        // That one is known says nothing of another, to the next agent either.
        let mut other = resource("heartbeat:IPaddr2");
        other.name = "address".parse().unwrap();
        let why = open().of(&other).doubt.expect("still a doubt");
        assert!(why.contains("ocf.json could not be read"), "{why}");
        let next_boot = Notebook::open(path.clone(), BootId("two".to_owned()));
        assert_eq!(next_boot.of(&other), Memory::default());
    }
}
