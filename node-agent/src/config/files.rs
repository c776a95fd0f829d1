//! Files that the cluster may have written: where each lies, whose it is, and what checks it.

use std::path::{Component, PathBuf};

use interlock_model::names::LocalName;
use serde::Deserialize;
use toml::Spanned;

use super::account::Account;
use super::check::Check;

/// What stands for the path of a text that is not in its place yet.
const PLACEHOLDER: &str = "{file}";

/// A file that may be written in the name of the services that are permitted it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManagedFile {
    /// Where it lies.
    pub path: PathBuf,
    /// Who owns it; none leaves that as it is, and a new one to the agent.
    pub owner: Option<Account>,
    /// Who may do what with it (chmod(2)); none leaves that as it is, and gives a new one to its owner alone.
    pub mode: Option<u32>,
    /// What checks it; nothing if none.
    pub check: Option<Vec<String>>,
    /// The secrets that its texts may name.
    pub secrets: Vec<LocalName>,
    /// May plans show the lines that it has? None: if everybody on the machine may read it.
    pub show: Option<bool>,
}

impl ManagedFile {
    /// What checks it can look at a text before that is in its place: the command for this path.
    pub(crate) fn check_of(&self, path: &str) -> Option<Vec<String>> {
        let check = self.check.as_ref().filter(|_| self.checks_elsewhere())?;
        let put = |word: &String| word.replace(PLACEHOLDER, path);
        Some(check.iter().map(put).collect())
    }

    /// Is its checker told where the text is?
    pub(crate) fn checks_elsewhere(&self) -> bool {
        let mut words = self.check.iter().flatten();
        words.any(|word| word.contains(PLACEHOLDER))
    }
}

/// `[file.NAME]`, as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    path: Spanned<PathBuf>,
    owner: Option<Account>,
    mode: Option<Spanned<String>>,
    check: Option<Spanned<Vec<String>>>,
    #[serde(default)]
    secrets: Vec<LocalName>,
    show: Option<bool>,
}

impl Check<'_> {
    /// A file that may be written.
    pub(super) fn managed_file(&mut self, given: Raw) -> ManagedFile {
        let span = given.path.span();
        let path = self.absolute(given.path);
        let plain = |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
        if path.file_name().is_none() || !path.components().all(plain) {
            let what = format!("'{}' is not the path of a file", path.display());
            self.report(&span, what, "write it without '..'");
        }
        let mode = given.mode.and_then(|mode| {
            let number = u32::from_str_radix(mode.get_ref(), 8).ok();
            let number = number.filter(|number| *number <= 0o777);
            if number.is_none() {
                let what = format!("'{}' is not the mode of a file", mode.get_ref());
                self.report(
                    &mode.span(),
                    what,
                    "write three octal digits, such as \"0640\"",
                );
            }
            number
        });
        if let (false, Some(mode)) = (given.secrets.is_empty(), mode)
            && mode & 0o007 != 0
        {
            let what = format!("everybody could read its secrets (mode {mode:04o})");
            self.report(&span, what, "give it a mode such as \"0640\"");
        }
        ManagedFile {
            path,
            owner: given.owner,
            mode,
            check: given.check.map(|command| self.command(command)),
            secrets: given.secrets,
            show: given.show,
        }
    }
}
