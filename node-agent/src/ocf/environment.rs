//! What a resource agent is told, which is all in its environment.
//!
//! # Secrets
//! The environment of a run is written to its directory before its shim starts. So a secret goes another way: the run is
//! this program again with [`WORD`], the agent and its action as arguments, which reads `NAME=VALUE` from its standard
//! input, adds that to its environment and becomes the agent ([`enter`]). Only root, and who an agent runs as, can read
//! an environment (proc(5), `/proc/pid/environ`).

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use interlock_model::action::OptionValue;
use interlock_model::names::NodeName;
use interlock_model::ocf::{PARAMETER_PREFIX, Resource};
use interlock_proto::convert::millis;

use super::Circle;
use super::tools::ATTRIBUTES;
use crate::shim::DEFAULT_PATH;

/// The first argument with which this program becomes a resource agent.
pub const WORD: &str = "resource-agent";

/// Where agents find their library.
pub(super) const ROOT: &str = "/usr/lib/ocf";

/// What the reason of a failure begins with.
pub(super) const REASON: &str = "ocf-exit-reason:";

/// The exit code if this program could not become the agent: that of a shell (POSIX, 2.8.2), which no agent has.
const NOT_EXECUTABLE: u8 = 126;

/// The version of the API that is spoken, as Pacemaker since 2.1 says.
const VERSION: [(&str, &str); 2] = [("OCF_RA_VERSION_MAJOR", "1"), ("OCF_RA_VERSION_MINOR", "1")];

/// The features of the cluster manager. Agents compare it with 3.10.0, and below that use tools that have been removed.
const FEATURE_SET: &str = "3.20.5";

/// Below the directory of state files: what is this program's, the tools that agents find there, and what those keep.
pub(super) const OWN: &str = ".interlock";
pub(super) const TOOLS: &str = "sbin";
pub(super) const KEPT: &str = "attributes";

/// The whole environment of one action, without secrets.
pub(super) fn environment(
    resource: &Resource,
    action: &str,
    limit: Duration,
    interval: Duration,
    node: &NodeName,
    state: &Path,
    circle: &Circle,
) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    for (name, value) in &resource.parameters {
        if let OptionValue::Plain(text) = value {
            env.insert(format!("{PARAMETER_PREFIX}{name}"), text.clone());
        }
    }
    let mut put = |name: &str, value: String| env.insert(name.to_owned(), value);
    put("OCF_ROOT", ROOT.to_owned());
    for (name, value) in VERSION {
        put(name, value.to_owned());
    }
    put("OCF_RESOURCE_INSTANCE", resource.name.to_string());
    put("OCF_RESOURCE_TYPE", resource.agent.kind().to_owned());
    put(
        "OCF_RESOURCE_PROVIDER",
        resource.agent.provider().to_owned(),
    );
    put("OCF_EXIT_REASON_PREFIX", REASON.to_owned());
    put("OCF_RESKEY_CRM_meta_name", action.to_owned());
    put("OCF_RESKEY_CRM_meta_timeout", millis(limit).to_string());
    put("OCF_RESKEY_CRM_meta_interval", millis(interval).to_string());
    put("OCF_RESKEY_CRM_meta_on_node", node.to_string());
    put("OCF_RESKEY_CRM_meta_on_node_uuid", node.to_string());
    put("OCF_RESKEY_crm_feature_set", FEATURE_SET.to_owned());
    put("HA_RSCTMP", state.display().to_string());
    // Agents read what other programs print.
    put("LC_ALL", "C".to_owned());
    if resource.promotable {
        let state = state.join(OWN);
        let tools = state.join(TOOLS).display().to_string();
        put("PATH", format!("{tools}:{DEFAULT_PATH}"));
        put("HA_SBIN_DIR", tools);
        put(ATTRIBUTES, state.join(KEPT).display().to_string());
        env.extend(circle.environment(resource, node));
    }
    let mut put = |name: &str, value: String| env.insert(name.to_owned(), value);
    if matches!(action, "monitor" | "validate-all") {
        put("OCF_CHECK_LEVEL", "0".to_owned());
    }
    env
}

/// Reads `NAME=VALUE`, each ended by a NUL, from standard input, and becomes the program of the arguments with that in its
/// environment and nothing to read. Returns only if that fails.
#[must_use]
pub fn enter(arguments: &[OsString]) -> ExitCode {
    let [program, arguments @ ..] = arguments else {
        eprintln!("no resource agent is named");
        return ExitCode::from(NOT_EXECUTABLE);
    };
    let mut input = Vec::new();
    if let Err(error) = std::io::stdin().read_to_end(&mut input) {
        eprintln!("cannot read what the resource agent is to be told: {error}");
        return ExitCode::from(NOT_EXECUTABLE);
    }
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    for line in input.split(|byte| *byte == 0) {
        let Some(at) = line.iter().position(|byte| *byte == b'=') else {
            continue;
        };
        command.env(
            OsStr::from_bytes(&line[..at]),
            OsStr::from_bytes(&line[at + 1..]),
        );
    }
    let error = command.exec();
    eprintln!("cannot run {}: {error}", program.display());
    ExitCode::from(NOT_EXECUTABLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_told_its_parameters_and_times_in_milliseconds_and_no_secret() {
        let secret = OptionValue::Secret("key".parse().unwrap());
        let resource = Resource {
            agent: "heartbeat:Dummy".parse().unwrap(),
            name: "vip-1".parse().unwrap(),
            parameters: BTreeMap::from([
                ("fake".to_owned(), OptionValue::Plain("a b".to_owned())),
                ("passwd".to_owned(), secret),
            ]),
            every: None,
            limits: Default::default(),
            promotable: false,
        };
        let of = |action| {
            let (limit, interval) = (Duration::from_secs(20), Duration::ZERO);
            let node = "n1".parse().unwrap();
            environment(
                &resource,
                action,
                limit,
                interval,
                &node,
                Path::new("/run/x"),
                &Circle::default(),
            )
        };
        let env = of("start");
        for (name, value) in [
            ("OCF_ROOT", "/usr/lib/ocf"),
            ("OCF_RESOURCE_INSTANCE", "vip-1"),
            ("OCF_RESOURCE_TYPE", "Dummy"),
            ("OCF_RESOURCE_PROVIDER", "heartbeat"),
            ("OCF_RESKEY_fake", "a b"),
            ("OCF_RESKEY_CRM_meta_timeout", "20000"),
            ("OCF_RESKEY_CRM_meta_interval", "0"),
            ("OCF_RESKEY_CRM_meta_name", "start"),
            ("OCF_RESKEY_CRM_meta_on_node", "n1"),
            ("HA_RSCTMP", "/run/x"),
        ] {
            assert_eq!(env.get(name).map(String::as_str), Some(value), "{name}");
        }
        assert!(!env.contains_key("OCF_RESKEY_passwd"));
        assert!(!env.contains_key("OCF_CHECK_LEVEL"));
        assert_eq!(of("monitor")["OCF_CHECK_LEVEL"], "0");
    }
}
