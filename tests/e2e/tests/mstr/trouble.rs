//! Stores are lost: for all instances, and Redis for one of them.

use anyhow::{Result, ensure};
use interlock_e2e::eventually;
use interlock_e2e::local::for_all;
use interlock_e2e::systems::System as _;
use interlock_e2e::systems::mstr::{NUMBERS, SOON, Site};

#[test]
fn a_lost_redis_is_one_cause_restarts_nothing_and_everybody_comes_back_by_himself() -> Result<()> {
    let Some(site) = Site::begin()? else {
        return Ok(());
    };
    site.operator.run(&for_all("startup"))?;
    site.operator.until_service("collab", "ok", &[])?;
    let before = NUMBERS.map(|number| site.process(number).ok());
    ensure!(before.iter().all(Option::is_some));
    let redis = site.cluster.at_agent("redis1")?;
    redis.by_hand("redis", "stop")?;

    let paused = ["collab1 is paused: it waits for Redis Server"];
    let status = site.operator.until_service("collab", "paused", &paused)?;
    let causes: Vec<&str> = status.causes.iter().map(|it| it.subject.as_str()).collect();
    ensure!(causes == ["redis"], "{:?}", status.causes);
    eventually("each one says what it misses", SOON, || {
        for number in NUMBERS {
            let seen = site.instance(number)?;
            ensure!(seen["state"] == "paused" && seen["reason"] == "Redis Server");
            // Which a stop in order never has in a log.
            let log = site.log(number)?;
            ensure!(log.contains("lost Redis Server"), "{log}");
        }
        Ok(())
    })?;

    redis.by_hand("redis", "start")?;
    site.operator.until_service("collab", "ok", &[])?;
    let after = NUMBERS.map(|number| site.process(number).ok());
    ensure!(before == after, "somebody was restarted");
    // It was nobody's own fault.
    let log = site.cluster.agent_log("lb1")?;
    ensure!(!log.contains("is left out"), "{log}");
    site.members_are_down(&[])
}

#[test]
fn both_stores_lost_are_two_causes_that_each_instance_names_and_each_comes_back() -> Result<()> {
    let Some(site) = Site::begin()? else {
        return Ok(());
    };
    site.operator.run(&for_all("startup"))?;
    site.operator.until_service("collab", "ok", &[])?;
    let before = site.processes()?;
    let by_hand = |node: &str, service: &str, verb: &str| -> Result<()> {
        site.cluster.at_agent(node)?.by_hand(service, verb)?;
        Ok(())
    };
    let waits_for = |what: &str| {
        let reason = format!("collab1 is paused: it waits for {what}");
        let reasons = [reason.as_str()];
        site.operator.until_service("collab", "paused", &reasons)
    };
    by_hand("db1", "db", "stop")?;
    waits_for("DB Service")?;
    by_hand("redis1", "redis", "stop")?;
    let status = waits_for("DB Service,Redis Server")?;
    let causes: Vec<&str> = status.causes.iter().map(|it| it.subject.as_str()).collect();
    ensure!(causes == ["db", "redis"], "{:?}", status.causes);
    by_hand("db1", "db", "start")?;
    waits_for("Redis Server")?;
    by_hand("redis1", "redis", "start")?;
    site.operator.until_service("collab", "ok", &[])?;
    ensure!(site.processes()? == before, "somebody was restarted");
    Ok(())
}

/// So many clients, each in a network of its own, find all three instances.
const NETWORKS: u8 = 40;

#[test]
fn an_instance_that_is_cut_off_alone_is_left_out_and_no_client_but_its_own_is_moved() -> Result<()>
{
    let Some(site) = Site::begin()? else {
        return Ok(());
    };
    site.operator.run(&for_all("startup"))?;
    site.operator.until_service("collab", "ok", &[])?;
    let (before, process) = (site.served(NETWORKS)?, site.process(2)?);
    let own = site.server(2);
    ensure!(before.contains(&own), "nobody is at {own}: {before:?}");

    site.cut_off(2, true)?;
    eventually("it is left out", SOON, || site.members_are_down(&[2]))?;
    let meanwhile = eventually("its workers are new", SOON, || {
        let served = site.served(NETWORKS)?;
        ensure!(!served.contains(&own), "{served:?}");
        Ok(served)
    })?;
    let others = before
        .iter()
        .zip(&meanwhile)
        .filter(|(was, _)| **was != own);
    for (was, is) in others {
        ensure!(was == is, "a client of {was} was moved to {is}");
    }
    let paused = ["collab2 is paused: it waits for Redis Server"];
    site.operator.until_service("collab", "degraded", &paused)?;
    eventually("it is told", SOON, || {
        let events = site.operator.events()?;
        let left_out = "collab@collab2 is left out: collab.status is bad";
        ensure!(
            events.iter().any(|it| it.text.contains(left_out)),
            "{events:?}"
        );
        Ok(())
    })?;

    site.cut_off(2, false)?;
    eventually("it is back", SOON, || site.members_are_down(&[]))?;
    eventually("so are its clients", SOON, || {
        let served = site.served(NETWORKS)?;
        ensure!(served == before, "{served:?}");
        Ok(())
    })?;
    ensure!(site.process(2)? == process, "it was restarted");
    Ok(())
}
