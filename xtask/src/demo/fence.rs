//! The demo's power device, driven as every other: by a fence agent.
//!
//! It follows the fence agent API (fence-agents, FenceAgentAPI.md): options as `key=value` lines on standard input,
//! `on`, `off`, `status`, `list`, `monitor`, `metadata`; exit status 0 for on or done, 2 for off, 1 for failed.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

use super::machine::Machine;

const METADATA: &str = r#"<?xml version="1.0" ?>
<resource-agent name="fence_demo" shortdesc="Switches the machines of the demo">
  <longdesc>Machines are groups of processes below a directory.</longdesc>
  <parameters>
    <parameter name="action" unique="0" required="1"><content type="string" default="reboot"/></parameter>
    <parameter name="machines" unique="0" required="1"><content type="string"/></parameter>
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

/// Does what its standard input says.
pub(crate) fn run() -> ExitCode {
    let mut input = String::new();
    if let Err(error) = std::io::stdin().read_to_string(&mut input) {
        eprintln!("fence_demo: cannot read options: {error}");
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
        eprintln!("fence_demo: the option machines is missing");
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
        eprintln!("fence_demo: the option plug is missing");
        return ExitCode::FAILURE;
    };
    let directory = machines.join(plug);
    if !directory.join("agent.toml").exists() {
        eprintln!("fence_demo: no machine is plugged into '{plug}'");
        return ExitCode::FAILURE;
    }
    let machine = Machine::new(&directory);
    let done = match action.as_str() {
        "status" if machine.is_on() => return ExitCode::SUCCESS,
        "status" => return ExitCode::from(2),
        "on" => machine.switch_on(),
        "off" => machine.pull_plug(),
        other => Err(anyhow::anyhow!("unknown action '{other}'")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fence_demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn list(machines: &std::path::Path, print: bool) -> ExitCode {
    let Ok(entries) = std::fs::read_dir(machines) else {
        eprintln!("fence_demo: no machines in {}", machines.display());
        return ExitCode::FAILURE;
    };
    let mut names: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.path().join("agent.toml").exists())
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
