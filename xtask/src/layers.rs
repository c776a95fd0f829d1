//! Checks who depends on whom.
//!
//! The shape of the workspace (docs/architecture.md) is a promise: the core stays pure, the programs
//! meet only on the wire. A compiler does not hold anybody to it; this does.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use interlock_e2e::run;
use serde_json::Value;

const CORE: &[&str] = &["interlock-engine", "interlock-model", "interlock-planner"];
const PROGRAMS: &[&str] = &["interlock-agent", "interlock-coordinator", "interlockctl"];

/// Which members of the workspace a member may name in its manifest, for any purpose, tests included; none for one
/// without a place. The table of docs/architecture.md says the same to people.
fn may_name(member: &str) -> Option<&'static [&'static str]> {
    Some(match member {
        "interlock-model" => &[],
        "interlock-planner" | "interlock-proto" => &["interlock-model"],
        "interlock-engine" => &["interlock-model", "interlock-planner"],
        "interlock-mesh" => &["interlock-model", "interlock-proto"],
        "interlock-coordinator" | "interlockctl" => &[
            "interlock-model",
            "interlock-planner",
            "interlock-engine",
            "interlock-proto",
            "interlock-mesh",
        ],
        "interlock-agent" => &[
            "interlock-model",
            "interlock-engine",
            "interlock-proto",
            "interlock-mesh",
        ],
        "interlock-sim" => CORE,
        "interlock-e2e" => &["interlock-proto", "interlock-mesh"],
        // It runs a thousand agents in one process, by the agent's own session code, and measures the coordinator's
        // own store for its floor; both are the libraries behind the programs, which it spawns as well.
        "interlock-bench" => &[
            "interlock-model",
            "interlock-planner",
            "interlock-engine",
            "interlock-proto",
            "interlock-mesh",
            "interlock-e2e",
            "interlock-agent",
            "interlock-coordinator",
        ],
        "xtask" => &["interlock-e2e"],
        _ => return None,
    })
}

/// What a member must not pull in, however indirectly, when it is built to run.
fn must_not_pull(member: &str) -> &'static [&'static str] {
    match member {
        name if CORE.contains(&name) => &["tokio", "tonic", "etcd-client"],
        "interlock-agent" | "interlockctl" => &["etcd-client"],
        _ => &[],
    }
}

/// Checks every member of the workspace.
pub(crate) fn check(cargo: &str, root: &Path) -> Result<()> {
    let members = members(cargo, root)?;
    let mut wrong = wrong_names(&members);
    for member in members.keys() {
        let forbidden = must_not_pull(member);
        if forbidden.is_empty() {
            continue;
        }
        let pulled = pulled(cargo, root, member)?;
        for name in forbidden.iter().filter(|name| pulled.contains(**name)) {
            wrong.push(format!(
                "{member} must not pull in {name}; see `cargo tree -p {member} -e normal -i {name}`"
            ));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("; "));
    Ok(())
}

/// What is wrong with the names in the members' manifests.
fn wrong_names(members: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (member, named) in members {
        let Some(allowed) = may_name(member) else {
            wrong.push(format!(
                "{member} has no place in the table of xtask/src/layers.rs"
            ));
            continue;
        };
        for name in named {
            if members.contains_key(name) && !allowed.contains(&name.as_str()) {
                wrong.push(format!("{member} must not name {name}"));
            }
        }
    }
    for member in CORE.iter().chain(PROGRAMS) {
        if !members.contains_key(*member) {
            wrong.push(format!(
                "{member} of the table is no member of the workspace"
            ));
        }
    }
    wrong
}

/// Each member of the workspace with the packages that its manifest names.
fn members(cargo: &str, root: &Path) -> Result<BTreeMap<String, Vec<String>>> {
    let metadata = run(Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(root))?;
    let metadata: Value = serde_json::from_str(&metadata).context("cargo metadata is no JSON")?;
    let packages = metadata["packages"]
        .as_array()
        .context("cargo metadata has no packages")?;
    let members = packages.iter().filter_map(|package| {
        let named = package["dependencies"].as_array()?.iter();
        let named = named.filter_map(|dependency| dependency["name"].as_str().map(String::from));
        Some((package["name"].as_str()?.to_owned(), named.collect()))
    });
    Ok(members.collect())
}

/// The names of all packages that end up in a build of `member`.
fn pulled(cargo: &str, root: &Path, member: &str) -> Result<BTreeSet<String>> {
    let tree = run(Command::new(cargo)
        .args([
            "tree", "--edges", "normal", "--prefix", "none", "--format", "{p}",
        ])
        .args(["--package", member])
        .current_dir(root))?;
    Ok(tree
        .lines()
        .filter_map(|line| line.split(' ').next())
        .map(String::from)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workspace(extra: &[(&str, &[&str])]) -> BTreeMap<String, Vec<String>> {
        let plain = CORE
            .iter()
            .chain(PROGRAMS)
            .map(|&member| (member, [].as_slice()));
        plain
            .chain(extra.iter().copied())
            .map(|(member, named)| {
                (
                    member.to_owned(),
                    named.iter().map(|&name| name.to_owned()).collect(),
                )
            })
            .collect()
    }

    #[test]
    fn a_program_may_name_the_core_and_not_another_program() {
        let good = workspace(&[("interlockctl", &["interlock-model", "tokio"])]);
        assert!(wrong_names(&good).is_empty());
        let bad = workspace(&[("interlockctl", &["interlock-agent"])]);
        assert_eq!(
            wrong_names(&bad),
            ["interlockctl must not name interlock-agent"]
        );
    }

    #[test]
    fn the_table_for_people_says_what_is_held() {
        let page = include_str!("../../docs/architecture.md");
        let full = |short: &str| match short {
            "interlockctl" | "xtask" => short.to_owned(),
            short => format!("interlock-{short}"),
        };
        let mut rows = 0;
        for row in page.lines().filter_map(|line| line.strip_prefix("| `")) {
            let cells: Vec<&str> = row.trim_end_matches(" |").split(" | ").collect();
            let [member, _, named] = cells[..] else {
                continue;
            };
            let member = member.trim_end_matches('`');
            let Some(allowed) = may_name(member) else {
                continue;
            };
            let named = named.split(", ").filter(|name| *name != "nothing");
            let named: BTreeSet<String> = named.map(full).collect();
            let allowed: BTreeSet<String> = allowed.iter().map(|&name| name.to_owned()).collect();
            assert_eq!(named, allowed, "{member}");
            rows += 1;
        }
        assert_eq!(rows, 12, "each member has a row");
    }

    #[test]
    fn a_member_without_a_place_is_found_and_so_is_one_that_went() {
        let mut members = workspace(&[("newcomer", &[])]);
        members.remove("interlock-agent");
        let wrong = wrong_names(&members);
        assert_eq!(wrong.len(), 2, "{wrong:?}");
    }
}
