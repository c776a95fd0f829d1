//! The example clusters say what the operators' lists say (`deploy/clusters`).

use std::fs;

use crate::support;
use interlock_model::plan::Wait;
use interlock_model::spec::{Boot, Sequence, Spec};

fn cluster(name: &str) -> Spec {
    let path = support::repository(&format!("deploy/clusters/{name}.yaml"));
    let bytes = fs::read(&path).unwrap();
    Spec::parse(&bytes, name)
        .unwrap_or_else(|problems| panic!("{}", problems.render(&bytes)))
        .spec
}

/// What a start of the first waits for on the second, and what a stop of the second waits for on the first.
fn edge(spec: &Spec, from: &str, to: &str) -> (Wait, Wait) {
    let edge = spec.services[from].dependencies[to];
    (edge.start, edge.stop)
}

fn nodes(spec: &Spec, service: &str) -> Vec<String> {
    spec.services[service]
        .nodes
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn the_management_machine_is_never_switched_and_everything_else_can_be() {
    for name in ["jtel-nonredundant", "jtel-small-v2", "jtel-large-v2"] {
        let spec = cluster(name);
        assert_eq!(spec.cluster.as_str(), name);
        for (node, declared) in &spec.nodes {
            assert_eq!(
                declared.power.is_some(),
                node.as_str() != "mgmt1",
                "{node} in {name}"
            );
        }
        assert!(
            spec.services
                .values()
                .all(|service| service.nodes.iter().all(|node| node.as_str() != "mgmt1"))
        );
        let operated = spec.services.values().filter(|it| !it.external);
        let services: Vec<&str> = operated.map(|it| it.name.as_str()).collect();
        assert_eq!(services, ["dbm", "dbs", "jb", "lb", "store", "tel"]);
    }
}

#[test]
fn large_v2_has_pairs_whose_standby_goes_down_first_and_comes_up_last() {
    let spec = cluster("jtel-large-v2");
    assert_eq!(spec.nodes.len(), 13 + 1);
    for pair in ["lb", "dbm"] {
        let service = &spec.services[pair];
        assert!(service.is_exclusive());
        assert_eq!(service.nodes.len(), 2);
        assert!(
            !service.active_when.is_empty(),
            "{pair}: its active side can be observed"
        );
        assert_eq!(
            service.sequence,
            Sequence {
                start: Wait::Up,
                stop: Wait::Down
            }
        );
    }
}

#[test]
fn large_v2_lets_the_slaves_go_once_web_and_telephony_are_told_to() {
    let spec = cluster("jtel-large-v2");
    for service in ["jb", "tel"] {
        assert_eq!(edge(&spec, service, "dbs"), (Wait::Up, Wait::Issued));
        assert_eq!(edge(&spec, service, "store"), (Wait::Healthy, Wait::Down));
        assert!(
            !spec.services[service]
                .dependencies
                .contains_key(if service == "jb" { "tel" } else { "jb" })
        );
        assert_eq!(
            spec.services[service].sequence,
            Sequence {
                start: Wait::None,
                stop: Wait::None
            }
        );
    }
    // They start dbs2, dbs1 and stop in the reverse: dbs1 issued before dbs2, both down before a master goes.
    assert_eq!(nodes(&spec, "dbs"), ["dbs2", "dbs1"]);
    assert_eq!(
        spec.services["dbs"].sequence,
        Sequence {
            start: Wait::Up,
            stop: Wait::Issued
        }
    );
    assert_eq!(edge(&spec, "dbs", "dbm"), (Wait::Up, Wait::Down));
    assert_eq!(edge(&spec, "dbm", "lb"), (Wait::Up, Wait::Down));
    assert_eq!(edge(&spec, "lb", "store"), (Wait::Up, Wait::Down));
}

#[test]
fn nonredundant_waits_for_web_and_telephony_and_then_for_nothing() {
    let spec = cluster("jtel-nonredundant");
    for service in ["jb", "tel"] {
        assert_eq!(edge(&spec, service, "dbs"), (Wait::Up, Wait::Down));
        assert_eq!(edge(&spec, service, "store"), (Wait::Healthy, Wait::Down));
    }
    assert_eq!(edge(&spec, "dbs", "dbm"), (Wait::Up, Wait::Issued));
    assert_eq!(edge(&spec, "dbm", "lb"), (Wait::Issued, Wait::Issued));
    assert_eq!(edge(&spec, "lb", "store"), (Wait::Up, Wait::Issued));
}

#[test]
fn small_v2_carries_services_of_several_ranks_on_one_machine() {
    let spec = cluster("jtel-small-v2");
    for service in ["store", "lb", "jb"] {
        assert_eq!(nodes(&spec, service), ["box1"]);
    }
    assert_eq!(spec.services["jb"].boot, Boot::Autostart);
    assert_eq!(edge(&spec, "jb", "dbs"), (Wait::Healthy, Wait::Down));
    assert_eq!(edge(&spec, "tel", "jb"), (Wait::Healthy, Wait::Down));
    assert!(!spec.services["tel"].dependencies["jb"].needed);
}

#[test]
fn the_cluster_of_the_readme_is_three_machines_of_which_two_are_switched() {
    let spec = cluster("shop");
    let switched: Vec<&str> = spec
        .nodes
        .values()
        .filter(|node| node.power.is_some())
        .map(|node| node.name.as_str())
        .collect();
    assert_eq!(switched, ["db1", "web1"]);
    assert_eq!(spec.nodes.len(), 3);
}

#[test]
fn mstr_instances_come_after_what_they_need_and_behind_a_load_balancer_that_is_there() {
    let spec = cluster("mstr");
    let healthy_and_down = (Wait::Healthy, Wait::Down);
    for first in ["redis", "db", "library", "lb"] {
        assert_eq!(edge(&spec, "collab", first), healthy_and_down, "{first}");
    }
    assert_eq!(edge(&spec, "lb", "library"), healthy_and_down);
    assert_eq!(edge(&spec, "library", "intelligence"), healthy_and_down);
    let collab = &spec.services["collab"];
    assert_eq!(
        (nodes(&spec, "collab").len(), collab.at_least),
        (3, 2),
        "one may be away"
    );
    assert!(collab.member_of.contains_key("lb"));
    assert!(spec.services["lb"].balancer.is_some());
}

#[test]
fn hcdc_nodes_come_one_by_one_between_their_stores_and_a_load_balancer_that_goes_first() {
    let spec = cluster("hcdc");
    let healthy_and_down = (Wait::Healthy, Wait::Down);
    for store in ["db", "redis", "nfs"] {
        assert_eq!(edge(&spec, "hipchat", store), healthy_and_down, "{store}");
    }
    assert_eq!(edge(&spec, "lb", "hipchat"), healthy_and_down);
    let hipchat = &spec.services["hipchat"];
    let one_by_one = Sequence {
        start: Wait::Healthy,
        stop: Wait::Down,
    };
    assert_eq!(hipchat.sequence, one_by_one);
    assert_eq!(
        (nodes(&spec, "hipchat").len(), hipchat.at_least),
        (3, 2),
        "one may be away"
    );
    assert!(hipchat.member_of.contains_key("lb"));
    assert!(spec.services["lb"].balancer.is_some());
}

#[test]
fn uc8k_has_a_database_on_both_its_address_before_its_ippbx_and_moves_by_itself() {
    let spec = cluster("uc8k-mode1");
    let pbx = &spec.services["pbx"];
    assert_eq!(nodes(&spec, "pbx"), ["pbx1", "pbx2"]);
    let parts: Vec<String> = pbx.primary_parts.iter().map(ToString::to_string).collect();
    assert_eq!(parts.len(), 2, "{parts:?}");
    for (part, what) in parts.iter().zip(["10.1.0.10", "ippbx.service"]) {
        assert!(part.contains(what), "{parts:?}");
    }
    let servers = pbx.parts.iter().filter(|part| part.is_promoted());
    assert_eq!(servers.count(), 1);
    assert!(pbx.is_leased() && pbx.failover.as_ref().is_some_and(|it| it.automatic));
    // The third party is on neither of the two.
    assert!(pbx.nodes.iter().all(|node| node.as_str() != "mgmt1"));
}

#[test]
fn uc8k_with_records_elsewhere_needs_one_of_two_databases_and_none_of_them_moves() {
    let spec = cluster("uc8k-mode2");
    let (cdr, pbx) = (&spec.services["cdr"], &spec.services["pbx"]);
    assert!(!cdr.is_exclusive() && cdr.at_least == 1);
    assert_eq!(edge(&spec, "pbx", "cdr"), (Wait::Healthy, Wait::Down));
    assert!(pbx.is_leased() && pbx.parts.is_empty());
    assert!(cdr.nodes.iter().all(|node| !pbx.nodes.contains(node)));
}
