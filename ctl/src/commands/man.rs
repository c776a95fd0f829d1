//! `man`: the manual pages, made of the command line itself so that they cannot differ from it.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use clap::CommandFactory;

use crate::cli::Cli;
use crate::exit::Exit;
use crate::failure::Outcome;
use crate::render::{Out, counted};

/// Writes a page for each command into a directory, which is made if it is not there.
pub(super) fn write(directory: &Path, out: Out) -> Outcome {
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot make the directory {}", directory.display()))?;
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let mut pages = Vec::new();
    render(&command, &mut pages)?;
    for (name, page) in &pages {
        let file = directory.join(format!("{name}.1"));
        fs::write(&file, page).with_context(|| format!("cannot write {}", file.display()))?;
    }
    out.say(&format!(
        "{} in {}; `man {}/interlockctl.1` shows the first",
        counted(pages.len(), "page"),
        directory.display(),
        directory.display()
    ))?;
    Ok(Exit::Ok)
}

/// The pages of a command and of those below it: `interlockctl-plan-shutdown`. Hidden ones have none.
fn render(command: &clap::Command, pages: &mut Vec<(String, Vec<u8>)>) -> anyhow::Result<()> {
    let name = command
        .get_display_name()
        .unwrap_or(command.get_name())
        .to_owned();
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone())
        .render(&mut page)
        .with_context(|| format!("cannot make the page {name}"))?;
    pages.push((name, page));
    command
        .get_subcommands()
        .filter(|below| !below.is_hide_set())
        .try_for_each(|below| render(below, pages))
}
