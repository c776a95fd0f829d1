//! The specs of `deploy/clusters`, adapted to a lab: BMCs in place of hypervisors.
//!
//! Nothing else is changed here: services, edges, checks and limits are the shipped ones.

use anyhow::{Context as _, Result, ensure};

use crate::bmc;

/// Name of the secret with the BMCs' password, in the files of the management node.
pub const SECRET: &str = "bmc";

/// `shipped` with BMCs for the `nodes` (name and number), whose plugs begin with `prefix` there.
///
/// # Errors
///
/// It has no hypervisor, or another node.
pub fn adapt(shipped: &str, prefix: &str, network: &str, nodes: &[(&str, u8)]) -> Result<String> {
    let mut spec = String::new();
    let mut device = "";
    for line in shipped.lines() {
        let indent = line.len() - line.trim_start().len();
        if indent == 2 && line.trim_end().ends_with(':') {
            device = line.trim().trim_end_matches(':');
        }
        if line.trim_start().starts_with("fence: fence_virsh") {
            spec.push_str("    fence: fence_ipmilan");
        } else if line.trim_start().starts_with("options: {") && device.starts_with("kvm") {
            spec.push_str(&format!("    options: {}", options()));
        } else if let Some((before, plug)) = line.split_once("plug: ") {
            let name = plug.trim_end_matches([' ', '}']).trim_matches('"');
            let name = name
                .strip_prefix(prefix)
                .with_context(|| format!("the plug {name}"))?;
            spec.push_str(&format!(
                "{before}plug: \"{}\" }} }}",
                controller(name, network, nodes)?
            ));
        } else {
            spec.push_str(line);
        }
        spec.push('\n');
    }
    ensure!(
        !spec.contains("fence_virsh") && spec.contains("fence_ipmilan"),
        "no hypervisor was replaced in\n{spec}"
    );
    Ok(spec)
}

/// The options of a device that is many BMCs: its plugs are their addresses. They switch before they answer, so nothing
/// is to be waited for (`power_wait`).
#[must_use]
pub fn options() -> String {
    format!(
        "{{ port_as_ip: \"1\", lanplus: \"1\", username: {}, password: {{ secret: {SECRET} }}, power_wait: \"0\" }}",
        bmc::USER
    )
}

/// The address of the BMC of a node, or the range of those of a range of nodes.
fn controller(name: &str, network: &str, nodes: &[(&str, u8)]) -> Result<String> {
    let number = |name: &str| {
        let found = nodes.iter().find(|(node, _)| *node == name);
        found
            .map(|(_, number)| 100 + number)
            .with_context(|| format!("there is no machine {name}"))
    };
    match name.strip_suffix(']').and_then(|name| name.split_once('[')) {
        None => Ok(format!("{network}{}", number(name)?)),
        Some((stem, range)) => {
            let (first, last) = range
                .split_once('-')
                .with_context(|| format!("the range {range}"))?;
            Ok(format!(
                "{network}[{}-{}]",
                number(&format!("{stem}{first}"))?,
                number(&format!("{stem}{last}"))?
            ))
        }
    }
}
