//! Redis is lost: for all instances, and for one of them.

use anyhow::{Result, ensure};
use interlock_e2e::eventually;
use interlock_e2e::local::for_all;

use crate::site::{NUMBERS, SOON, Site};

#[test]
fn a_lost_redis_is_one_cause_restarts_nothing_and_everybody_comes_back_by_himself() -> Result<()> {
    let Some(site) = Site::begin()? else {
        return Ok(());
    };
    site.operator.run(&for_all("startup"))?;
    site.until("collab", "ok", &[])?;
    let before = NUMBERS.map(|number| site.process(number).ok());
    ensure!(before.iter().all(Option::is_some));
    let redis = site.cluster.at_agent("redis1")?;
    redis.by_hand("redis", "stop")?;

    let paused = ["collab1 is paused: it waits for Redis Server"];
    let status = site.until("collab", "paused", &paused)?;
    let causes: Vec<&str> = status.causes.iter().map(|it| it.subject.as_str()).collect();
    ensure!(causes == ["redis"], "{:?}", status.causes);
    eventually("each one says what it misses", SOON, || {
        for number in NUMBERS {
            let seen = site.instance(number)?;
            ensure!(seen["state"] == "paused" && seen["reason"] == "Redis Server");
        }
        Ok(())
    })?;

    redis.by_hand("redis", "start")?;
    site.until("collab", "ok", &[])?;
    let after = NUMBERS.map(|number| site.process(number).ok());
    ensure!(before == after, "somebody was restarted");
    site.members_are_down(&[])
}
