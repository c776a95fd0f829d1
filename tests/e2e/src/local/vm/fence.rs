//! The power device of these machines, driven as every other: by a fence agent.
//!
//! It follows the fence agent API (fence-agents, FenceAgentAPI.md): options as `key=value` lines on standard input,
//! `on`, `off`, `status`, `list`, `monitor`, `metadata`; exit status 0 for on or done, 2 for off, 1 for failed.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};

use super::Vm;
use crate::programs;

const METADATA: &str = r#"<?xml version="1.0" ?>
<resource-agent name="fence_vm" shortdesc="Switches machines that are groups of processes">
  <longdesc>Machines are groups of processes below a directory.</longdesc>
  <parameters>
    <parameter name="action" unique="0" required="1"><content type="string" default="reboot"/></parameter>
    <parameter name="machines" unique="0" required="1"><content type="string"/></parameter>
    <parameter name="password" unique="0" required="0"><content type="string"/></parameter>
    <parameter name="nodename" unique="0" required="0"><content type="string"/></parameter>
    <parameter name="plug" unique="0" required="1" obsoletes="port"><content type="string"/></parameter>
    <parameter name="port" unique="0" required="0" deprecated="1"><content type="string"/></parameter>
    <parameter name="disable_timeout" unique="0" required="0"><content type="string"/></parameter>
  </parameters>
  <actions>
    <action name="on" automatic="0"/>
    <action name="off"/>
    <action name="status"/>
    <action name="list"/>
    <action name="monitor"/>
    <action name="metadata"/>
  </actions>
</resource-agent>
"#;

/// The fence agent of the machines below a directory, as a file that an agent can be told to use.
///
/// # Errors
/// It cannot be written.
pub fn install(path: &Path) -> Result<()> {
    let program = programs::local()?;
    fs::write(
        path,
        format!("#!/bin/sh\nexec '{}' fence \"$@\"\n", program.display()),
    )
    .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o755)))
    .with_context(|| format!("cannot write {}", path.display()))
}

/// Does what its standard input says.
#[must_use]
pub fn run() -> ExitCode {
    let mut input = String::new();
    if let Err(error) = std::io::stdin().read_to_string(&mut input) {
        eprintln!("fence_vm: cannot read options: {error}");
        return ExitCode::FAILURE;
    }
    let options: BTreeMap<&str, &str> = input
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .collect();
    let argument = std::env::args()
        .skip_while(|argument| argument != "-o")
        .nth(1);
    let action = options
        .get("action")
        .copied()
        .map(str::to_owned)
        .or(argument)
        .unwrap_or_default();
    if action == "metadata" {
        print!("{METADATA}");
        return ExitCode::SUCCESS;
    }
    let Some(machines) = options.get("machines").map(PathBuf::from) else {
        eprintln!("fence_vm: the option machines is missing");
        return ExitCode::FAILURE;
    };
    if matches!(action.as_str(), "list" | "monitor") {
        return list(&machines, action == "list");
    }
    let Some(plug) = options
        .get("plug")
        .or_else(|| options.get("port"))
        .filter(|plug| !plug.contains('/'))
    else {
        eprintln!("fence_vm: the option plug is missing");
        return ExitCode::FAILURE;
    };
    let directory = machines.join(plug);
    if !directory.is_dir() {
        eprintln!("fence_vm: no machine is plugged into '{plug}'");
        return ExitCode::FAILURE;
    }
    let vm = Vm::new(&directory);
    let done = match action.as_str() {
        "status" if vm.is_on() => return ExitCode::SUCCESS,
        "status" => return ExitCode::from(2),
        "on" => vm.switch_on(),
        "off" => vm.pull_plug(),
        other => Err(anyhow::anyhow!("unknown action '{other}'")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fence_vm: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn list(machines: &Path, print: bool) -> ExitCode {
    let Ok(entries) = std::fs::read_dir(machines) else {
        eprintln!("fence_vm: no machines in {}", machines.display());
        return ExitCode::FAILURE;
    };
    let mut names: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    if print {
        for name in names {
            println!("{name},{name}");
        }
    }
    ExitCode::SUCCESS
}
