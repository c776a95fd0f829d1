//! What resource agents note of their resources on this node, for whoever decides which of them is promoted.
//!
//! One file for each attribute, below the directory of the agents' state files: none outlives a boot. A score says how good it
//! would be to promote a resource here, by its own agent. It is `master-NAME`, as Pacemaker calls it, so that it is found under
//! either name.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use interlock_model::names::LocalName;

/// The score that is above all others.
const INFINITY: i64 = 1_000_000;

/// The longest name and value.
const MOST: usize = 200;

/// The attributes of this node.
#[derive(Debug, Clone)]
pub(super) struct Attributes(PathBuf);

impl Attributes {
    /// Those of this directory, which need not be there yet.
    pub(super) fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// The name of the score of a resource.
    pub(super) fn of_score(resource: &str) -> String {
        format!("master-{resource}")
    }

    /// What an attribute is; none if it is not set.
    ///
    /// # Errors
    /// If nobody can tell.
    pub(super) fn get(&self, name: &str) -> io::Result<Option<String>> {
        match fs::read_to_string(self.file(name)?) {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sets it, as a whole.
    ///
    /// # Errors
    /// If it is as before.
    pub(super) fn set(&self, name: &str, value: &str) -> io::Result<()> {
        let file = self.file(name)?;
        if value.len() > MOST {
            return Err(invalid("its value is too long"));
        }
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(&self.0)?;
        let new = self.0.join(format!(".{}", std::process::id()));
        fs::write(&new, value)?;
        fs::rename(&new, file)
    }

    /// Removes it; what is not set stays so.
    ///
    /// # Errors
    /// If it may still be there.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.file(name)?) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The score of a resource; none if its agent has given it none.
    ///
    /// # Errors
    /// If nobody can tell.
    pub(super) fn score(&self, resource: &LocalName) -> io::Result<Option<i64>> {
        let value = self.get(&Self::of_score(resource.as_str()))?;
        value.as_deref().map(score).transpose()
    }

    fn file(&self, name: &str) -> io::Result<PathBuf> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':' | '#');
        if name.is_empty() || name.len() > MOST || name.starts_with('.') || !name.chars().all(plain)
        {
            return Err(invalid("it is not the name of an attribute"));
        }
        Ok(self.0.join(name))
    }
}

/// A score, as Pacemaker writes them.
pub(super) fn score(text: &str) -> io::Result<i64> {
    match text.trim() {
        "INFINITY" | "+INFINITY" => Ok(INFINITY),
        "-INFINITY" => Ok(-INFINITY),
        text => {
            let number: i64 = text.parse().map_err(|_| invalid("it is not a score"))?;
            Ok(number.clamp(-INFINITY, INFINITY))
        }
    }
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_is_what_it_was_last_set_to_and_no_name_leads_out_of_its_directory() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("attributes");
        let attributes = Attributes::at(&path);
        assert_eq!(attributes.get("a").unwrap(), None);
        attributes.remove("a").unwrap();
        attributes.set("a", "1").unwrap();
        attributes.set("a", "2").unwrap();
        assert_eq!(attributes.get("a").unwrap().as_deref(), Some("2"));
        attributes.remove("a").unwrap();
        assert_eq!(attributes.get("a").unwrap(), None);
        for bad in ["", ".", "..", "../a", "a/b", ".hidden", "a b"] {
            assert!(attributes.set(bad, "1").is_err(), "{bad}");
        }
    }

    #[test]
    fn a_score_is_a_number_or_without_end() {
        let dir = tempfile::tempdir().unwrap();
        let attributes = Attributes::at(dir.path());
        let disk: LocalName = "disk".parse().unwrap();
        for (text, expected) in [
            ("5", 5),
            ("-1", -1),
            ("INFINITY", INFINITY),
            ("-INFINITY", -INFINITY),
            ("99999999", INFINITY),
        ] {
            attributes.set("master-disk", text).unwrap();
            assert_eq!(attributes.score(&disk).unwrap(), Some(expected), "{text}");
        }
        attributes.set("master-disk", "high").unwrap();
        assert!(attributes.score(&disk).is_err(), "nobody can tell");
    }
}
