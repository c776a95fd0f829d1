//! What a range of names means for the texts below it.

use interlock_model::spec::Spec;

/// One controller for each machine, as with IPMI.
const CONTROLLERS: &str = r#"
cluster: ranges
power:
  bmc1: { fence: fence_ipmilan, via: [mgmt], options: { ip: 10.0.1.1 } }
  bmc2: { fence: fence_ipmilan, via: [mgmt], options: { ip: 10.0.1.2 } }
nodes:
  mgmt: { address: 10.0.0.1 }
  "db[1-2]": { address: "10.0.0.[11-12]", power: { by: "bmc[1-2]", plug: chassis, alias: "shop-db[1-2]" } }
"#;

#[test]
fn each_node_of_a_range_has_its_own_device_and_alias() {
    let spec = Spec::parse(CONTROLLERS.as_bytes(), "ranges.yaml")
        .unwrap_or_else(|problems| panic!("{}", problems.render(CONTROLLERS.as_bytes())))
        .spec;
    for (node, device, alias) in [("db1", "bmc1", "shop-db1"), ("db2", "bmc2", "shop-db2")] {
        let power = spec.nodes[node].power.as_ref().unwrap();
        assert_eq!(power.by.as_str(), device);
        assert_eq!(power.plug, "chassis");
        assert_eq!(power.alias.as_deref(), Some(alias));
    }
}

#[test]
fn a_range_of_devices_that_is_too_short_is_reported() {
    let text = CONTROLLERS.replace("\"bmc[1-2]\"", "\"bmc[1-1]\"");
    let problems = Spec::parse(text.as_bytes(), "ranges.yaml").unwrap_err();
    let told = problems.render(text.as_bytes());
    assert!(
        told.contains("stands for 1 texts") && told.contains("2 nodes"),
        "{told}"
    );
}
