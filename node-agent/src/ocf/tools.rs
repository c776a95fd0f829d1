//! The tools of a Pacemaker cluster that the agents of promotable resources call: `crm_attribute`, `crm_master` and
//! `attrd_updater`. They are this program under other names.
//!
//! What is supported is what concerns this node until its next boot: a score, and attributes. What another node has set is not
//! known here, and no answer is given for it: *not set* would be one (invariant I5).
//!
//! Source: the option tables of Pacemaker 2.1 (`tools/crm_attribute.c`, `tools/attrd_updater.c`, `tools/crm_master.in`), and its exit
//! codes (`include/crm/common/results.h`).

use std::ffi::OsString;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{fs, io};

use super::attributes::{Attributes, score};

/// The names under which this program is one of them.
const TOOLS: [&str; 3] = ["crm_attribute", "crm_master", "attrd_updater"];

/// The variable that says where attributes are.
pub(super) const ATTRIBUTES: &str = "INTERLOCK_OCF_ATTRIBUTES";

/// Exit codes of Pacemaker: a feature that is not there, wrong usage, no such thing.
const UNIMPLEMENTED: u8 = 3;
const USAGE: u8 = 64;
const NO_SUCH: u8 = 105;

/// Makes the tools in this directory. Blocks.
///
/// # Errors
/// If one may be missing.
pub(super) fn make(directory: &Path) -> io::Result<()> {
    let own = std::env::current_exe()?;
    fs::create_dir_all(directory)?;
    for tool in TOOLS {
        let link = directory.join(tool);
        if fs::read_link(&link).is_ok_and(|there| there == own) {
            continue;
        }
        // Another agent's may be running: its name is never missing.
        let new = directory.join(format!(".{tool}.{}", std::process::id()));
        symlink(&own, &new)?;
        fs::rename(&new, &link)?;
    }
    Ok(())
}

/// Is this program called under the name of a tool?
#[must_use]
pub fn tool(program: &OsString) -> Option<&'static str> {
    let name = Path::new(program).file_name()?;
    TOOLS.into_iter().find(|tool| name == *tool)
}

/// Does what a tool would do.
#[must_use]
pub fn call(tool: &'static str, arguments: &[OsString]) -> ExitCode {
    let arguments: Option<Vec<&str>> = arguments.iter().map(|it| it.to_str()).collect();
    let done = arguments
        .ok_or_else(|| Failure::usage("an argument is no text"))
        .and_then(|arguments| Call::read(tool, &arguments, env))
        .and_then(|call| call.run());
    match done {
        Ok(said) => {
            print!("{said}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("{tool}: {}", failure.why);
            ExitCode::from(failure.code)
        }
    }
}

fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Why nothing was done.
#[derive(Debug, PartialEq, Eq)]
struct Failure {
    code: u8,
    why: String,
}

impl Failure {
    fn usage(why: impl Into<String>) -> Self {
        let why = why.into();
        Self { code: USAGE, why }
    }

    fn unimplemented(what: &str) -> Self {
        Self {
            code: UNIMPLEMENTED,
            why: format!(
                "{what} is not there: this cluster is not Pacemaker's, and keeps attributes of this node until its boot alone"
            ),
        }
    }
}

/// What is to be done with an attribute.
#[derive(Debug, PartialEq, Eq)]
enum Act {
    Query,
    Set(String),
    Remove,
}

/// A call of a tool.
#[derive(Debug)]
struct Call {
    attributes: PathBuf,
    node: String,
    name: String,
    act: Act,
    /// Only the value is to be printed.
    quiet: bool,
    updater: bool,
}

impl Call {
    fn read(
        tool: &str,
        arguments: &[&str],
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Failure> {
        let updater = tool == "attrd_updater";
        let missing =
            |name: &str| Failure::usage(format!("{name} is not set: resource agents call this"));
        let given = |name: &str| env(name).ok_or_else(|| missing(name));
        let own = given("OCF_RESKEY_CRM_meta_on_node")?;
        let resource = || given("OCF_RESOURCE_INSTANCE").map(|it| Attributes::of_score(&it));
        let mut name = match tool {
            "crm_master" => Some(resource()?),
            _ => None,
        };
        let (mut act, mut quiet) = (Act::Query, false);
        let mut left = arguments.iter().copied().peekable();
        while let Some(argument) = left.next() {
            let (option, attached) = match argument.split_once('=') {
                Some((option, value)) if option.starts_with("--") => (option, Some(value)),
                _ => (argument, None),
            };
            let mut value = || {
                let value = attached.or_else(|| left.next());
                value.ok_or_else(|| Failure::usage(format!("{option} takes a value")))
            };
            match option {
                "-p" | "--private" if updater => {}
                "-Q" | "--query" if updater => act = Act::Query,
                "-U" if updater => act = Act::Set(value()?.to_owned()),
                "-q" | "-Q" | "--quiet" => quiet = true,
                "-p" | "--promotion" => {
                    let next = attached.or_else(|| left.next_if(|next| !next.starts_with('-')));
                    name = Some(match next {
                        Some(resource) => Attributes::of_score(resource),
                        None => resource()?,
                    });
                }
                "-r" | "--resource" if tool == "crm_master" => {
                    name = Some(Attributes::of_score(value()?));
                }
                "-n" | "--name" | "--attr-name" => name = Some(value()?.to_owned()),
                "-v" | "--update" | "--attr-value" => act = Act::Set(value()?.to_owned()),
                "-D" | "--delete" | "--delete-attr" => act = Act::Remove,
                "-G" | "--query" | "--get-value" => act = Act::Query,
                "-N" | "--node" | "--uname" => {
                    let node = value()?;
                    if node != own {
                        return Err(Failure::unimplemented(&format!("an attribute of {node}")));
                    }
                }
                "-l" | "--lifetime" => {
                    let lifetime = value()?;
                    if lifetime != "reboot" {
                        return Err(Failure::unimplemented(&format!("a lifetime {lifetime}")));
                    }
                }
                other => return Err(Failure::unimplemented(other)),
            }
        }
        Ok(Self {
            attributes: given(ATTRIBUTES)?.into(),
            node: own,
            name: name.ok_or_else(|| Failure::usage("no attribute is named"))?,
            act,
            quiet,
            updater,
        })
    }

    /// What is to be printed.
    fn run(&self) -> Result<String, Failure> {
        let failed = |error: io::Error| Failure {
            code: 1,
            why: format!("{}: {error}", self.name),
        };
        let attributes = Attributes::at(&self.attributes);
        match &self.act {
            Act::Set(value) => {
                if self.name.starts_with(&Attributes::of_score("")) {
                    score(value).map_err(failed)?;
                }
                attributes.set(&self.name, value).map_err(failed)?;
                Ok(String::new())
            }
            Act::Remove => {
                attributes.remove(&self.name).map_err(failed)?;
                Ok(String::new())
            }
            Act::Query => {
                let value = attributes.get(&self.name).map_err(failed)?;
                let value = value.ok_or_else(|| Failure {
                    code: NO_SUCH,
                    why: format!("{} is not set", self.name),
                })?;
                let (name, node) = (&self.name, &self.node);
                Ok(match (self.quiet, self.updater) {
                    (true, _) => format!("{value}\n"),
                    (false, true) => format!("name=\"{name}\" host=\"{node}\" value=\"{value}\"\n"),
                    (false, false) => format!("scope=status  name={name} value={value}\n"),
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls a tool on node `n1`, for the resource `disk`, as a shell splits it.
    fn called(dir: &Path, line: &str) -> Result<String, u8> {
        let (tool, arguments) = line.split_once(' ').unwrap();
        let arguments: Vec<&str> = arguments.split(' ').collect();
        let env = |name: &str| match name {
            "OCF_RESKEY_CRM_meta_on_node" => Some("n1".to_owned()),
            "OCF_RESOURCE_INSTANCE" => Some("disk".to_owned()),
            ATTRIBUTES => Some(dir.display().to_string()),
            _ => None,
        };
        let done = Call::read(tool, &arguments, env).and_then(|call| call.run());
        done.map_err(|failure| failure.code)
    }

    #[test]
    fn a_score_that_one_tool_has_set_is_what_the_others_tell() {
        let dir = tempfile::tempdir().unwrap();
        let call = |line: &str| called(dir.path(), line);
        assert_eq!(call("crm_attribute -p -G"), Err(NO_SUCH));
        assert_eq!(call("crm_attribute -p -v 5"), Ok(String::new()));
        assert_eq!(call("crm_master -l reboot -G -q"), Ok("5\n".to_owned()));
        assert_eq!(call("crm_master -l reboot -N n1 -v 10"), Ok(String::new()));
        assert_eq!(
            call("crm_attribute --promotion=disk -G --quiet"),
            Ok("10\n".to_owned())
        );
        let told = "name=\"master-disk\" host=\"n1\" value=\"10\"\n";
        assert_eq!(call("attrd_updater -n master-disk -Q"), Ok(told.to_owned()));
        assert_eq!(call("crm_attribute -p disk -D"), Ok(String::new()));
        assert_eq!(call("crm_attribute -p disk -D"), Ok(String::new()), "again");
        assert_eq!(call("attrd_updater -Q -n master-disk"), Err(NO_SUCH));
    }

    #[test]
    fn an_attribute_is_set_asked_for_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let call = |line: &str| called(dir.path(), line);
        assert_eq!(
            call("attrd_updater -p -n disk-status -U LATEST"),
            Ok(String::new())
        );
        let told = "scope=status  name=disk-status value=LATEST\n";
        assert_eq!(
            call("crm_attribute -l reboot -N n1 -n disk-status --query"),
            Ok(told.to_owned())
        );
        assert_eq!(call("attrd_updater -n disk-status -D"), Ok(String::new()));
        assert_eq!(call("crm_attribute -n disk-status -G -q"), Err(NO_SUCH));
    }

    #[test]
    fn what_cannot_be_known_here_gets_no_answer() {
        let dir = tempfile::tempdir().unwrap();
        for line in [
            "crm_attribute -N n2 -p -G",
            "attrd_updater -n a -Q -N n2",
            "crm_attribute -l forever -n a -v 1",
            "crm_attribute --type crm_config --name a -q",
        ] {
            assert_eq!(called(dir.path(), line), Err(UNIMPLEMENTED), "{line}");
        }
        assert_eq!(called(dir.path(), "crm_attribute -p -v high"), Err(1));
        assert_eq!(called(dir.path(), "crm_attribute -v 1"), Err(USAGE));
        assert_eq!(called(dir.path(), "crm_attribute -p -v"), Err(USAGE));
    }
}
