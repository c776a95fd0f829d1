//! Stores are lost: one, both databases, and the share.

use anyhow::{Result, ensure};
use interlock_e2e::eventually;
use interlock_e2e::local::for_all;
use interlock_e2e::systems::System as _;
use interlock_e2e::systems::hcdc::{NUMBERS, SOON, Site};

#[test]
fn a_lost_store_makes_all_nodes_sick_for_one_cause_and_they_come_back_by_themselves() -> Result<()>
{
    let Some(site) = Site::begin()? else {
        return Ok(());
    };
    site.operator.run(&for_all("startup"))?;
    site.operator.until_service("hipchat", "ok", &[])?;
    let before = site.processes()?;
    let by_hand = |node: &str, service: &str, verb: &str| -> Result<()> {
        let agent = site.cluster.at_agent(node)?;
        agent.by_hand(service, verb)?;
        Ok(())
    };
    let causes_are = |wanted: &[&str]| {
        eventually(&format!("the causes to be {wanted:?}"), SOON, || {
            let status = site.operator.status()?;
            let causes: Vec<&str> = status.causes.iter().map(|it| it.subject.as_str()).collect();
            ensure!(causes == wanted, "{:#?}", status.causes);
            Ok(())
        })
    };
    let nodes_miss = |missing: &str| {
        eventually(&format!("all nodes miss {missing:?}"), SOON, || {
            for number in NUMBERS {
                let (status, told) = site.node(number)?;
                ensure!(status == 503 && told["reason"] == missing, "{told}");
                // Which a stop in order never has in a log.
                let log = site.log(number)?;
                for store in missing.split(',') {
                    ensure!(log.contains(&format!("lost {store}")), "{log}");
                }
            }
            Ok(())
        })
    };

    for number in NUMBERS {
        site.mount(number, false)?;
    }
    by_hand("nfs1", "nfs", "stop")?;
    nodes_miss("file store")?;
    site.operator.until_service("hipchat", "down", &[])?;
    causes_are(&["nfs"])?;
    by_hand("nfs1", "nfs", "start")?;
    for number in NUMBERS {
        site.mount(number, true)?;
    }
    site.operator.until_service("hipchat", "ok", &[])?;
    causes_are(&[])?;

    by_hand("pg1", "db", "stop")?;
    nodes_miss("database")?;
    site.operator.until_service("hipchat", "down", &[])?;
    causes_are(&["db"])?;
    by_hand("redis1", "redis", "stop")?;
    nodes_miss("Redis,database")?;
    causes_are(&["db", "redis"])?;
    eventually("the load balancer has nobody", SOON, || {
        site.members_are(["DOWN"; 3])
    })?;

    by_hand("redis1", "redis", "start")?;
    causes_are(&["db"])?;
    by_hand("pg1", "db", "start")?;
    site.operator.until_service("hipchat", "ok", &[])?;
    causes_are(&[])?;
    eventually("the load balancer has all", SOON, || {
        site.members_are(["UP"; 3])
    })?;
    ensure!(site.processes()? == before, "a node was restarted");
    Ok(())
}
