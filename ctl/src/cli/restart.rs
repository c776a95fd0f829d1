//! `restart`, which may change a file on the way.

use std::path::PathBuf;

use clap::Args;
use interlock_model::names::LocalName;

use super::Run;
use super::plan::PlanKindArg;

/// A file of a service, and where its new text comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config {
    /// Which of the files of the service; none if it has one only.
    pub(crate) name: Option<LocalName>,
    /// The template.
    pub(crate) template: PathBuf,
    /// Also restart what runs with such a file already.
    pub(crate) even_if_unchanged: bool,
}

/// What `restart` has beside the others.
#[derive(Debug, Args)]
pub(crate) struct Change {
    /// Change a file of the service on the way, to this template (Jinja; docs/rolling.md): the file that the spec names for it,
    /// or NAME of several.
    #[arg(long, value_name = "[NAME=]FILE", value_parser = config)]
    config: Option<Config>,
    /// With --config: also restart the instances that are healthy and run with a file that says so already.
    #[arg(long, requires = "config")]
    even_if_unchanged: bool,
}

impl Change {
    fn config(self) -> Option<Config> {
        let even_if_unchanged = self.even_if_unchanged;
        self.config.map(|config| Config {
            even_if_unchanged,
            ..config
        })
    }
}

/// `restart`.
#[derive(Debug, Args)]
pub(crate) struct Restart {
    #[command(flatten)]
    change: Change,
    #[command(flatten)]
    run: Run,
}

impl From<Restart> for Run {
    fn from(args: Restart) -> Self {
        let mut run = args.run;
        run.plan.config = args.change.config();
        run
    }
}

/// `plan restart`.
#[derive(Debug, Args)]
pub(crate) struct PlanRestart {
    #[command(flatten)]
    change: Change,
    #[command(flatten)]
    plan: PlanKindArg,
}

impl From<PlanRestart> for PlanKindArg {
    fn from(args: PlanRestart) -> Self {
        let mut plan = args.plan;
        plan.plan.config = args.change.config();
        plan
    }
}

/// Reads `[NAME=]FILE`. What stands before the `=` is a name, or part of a path.
fn config(text: &str) -> Result<Config, String> {
    let named = text
        .split_once('=')
        .and_then(|(name, path)| Some((name.parse().ok()?, path)));
    let (name, path) = match named {
        Some((name, path)) => (Some(name), path),
        None => (None, text),
    };
    if path.is_empty() {
        return Err("write the path of the template".to_owned());
    }
    Ok(Config {
        name,
        template: path.into(),
        even_if_unchanged: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_told_from_a_path() {
        let read = |text| {
            let read = config(text).unwrap();
            let name = read.name.map(|name| name.to_string());
            (name, read.template.display().to_string())
        };
        assert_eq!(read("app.json"), (None, "app.json".into()));
        assert_eq!(
            read("app=a=b.json"),
            (Some("app".into()), "a=b.json".into())
        );
        assert_eq!(read("./a=b.json"), (None, "./a=b.json".into()));
        assert!(config("app=").is_err());
    }
}
