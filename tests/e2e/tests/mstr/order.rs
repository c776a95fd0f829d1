//! Starting and stopping.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use interlock_e2e::eventually;
use interlock_e2e::local::for_all;
use interlock_e2e::systems::mstr::clients::{self, Heard, WebSocket};
use interlock_e2e::systems::mstr::{NUMBERS, SOON, Site};
use interlock_mesh::identity::Role;
use interlock_proto::v1::Verdict;

#[test]
fn a_redis_that_nobody_else_reaches_stops_the_start_and_each_machine_that_needs_it_is_named()
-> Result<()> {
    let Some(site) = Site::with_a_lonely_redis()? else {
        return Ok(());
    };
    let operation = site.operator.begin(&for_all("startup"), false)?;
    for number in NUMBERS {
        let step = format!("start:collab@collab{number}");
        let gate = format!("redis.works on collab{number}");
        eventually(&format!("{step} waits for {gate}"), SOON, || {
            let seen = site.operator.step(&operation, &step)?;
            ensure!(seen.began_ms == 0, "it has begun: {seen:?}");
            ensure!(seen.waits_for.contains(&gate), "{seen:?}");
            Ok(())
        })?;
    }
    for number in NUMBERS {
        ensure!(site.log(number).is_err(), "collab{number} was started");
    }
    let told = site.cluster.ctl("anna", Role::Reader, &["status"])?;
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    ensure!(told.contains("cause: redis"), "{told}");
    ensure!(told.contains("refuses connections"), "{told}");
    site.members_are_down(&NUMBERS)?;

    site.let_redis_be_reached()?;
    site.operator.until(&operation, "done")?;
    site.operator.until_service("collab", "ok", &[])?;
    site.members_are_down(&[])
}

#[test]
fn a_start_is_in_order_and_a_stop_takes_nothing_from_anybody_who_runs() -> Result<()> {
    let Some(site) = Site::begin()? else {
        return Ok(());
    };
    let operation = site.operator.run(&for_all("startup"))?;
    let ended = |step: &str| anyhow::Ok(site.operator.step(&operation, step)?.ended_ms);
    let began = |step: &str| anyhow::Ok(site.operator.step(&operation, step)?.began_ms);
    ensure!(began("start:library@lib1")? >= ended("start:intelligence@is1")?);
    ensure!(began("start:lb@lb1")? >= ended("start:library@lib1")?);
    for number in NUMBERS {
        let start = format!("start:collab@collab{number}");
        for first in ["start:redis@redis1", "start:db@db1", "start:lb@lb1"] {
            ensure!(began(&start)? >= ended(first)?, "{start} before {first}");
        }
        let admit = format!("admit:collab@collab{number}:lb@lb1");
        ensure!(began(&admit)? >= ended(&start)?, "{admit} before {start}");
    }
    site.members_are_down(&[])?;
    // What one says, everybody hears who is at another instance: over Redis.
    let at = site.balancer()?;
    clients::get(at, 0, "/api/status").context("the Library, through the load balancer")?;
    let (_, page) = clients::get(at, 0, "/status")?;
    ensure!(page.contains("\"state\": \"running\""), "{page}");
    let mut one = WebSocket::open(at, 0)?;
    let other = (1..60).map(|network| WebSocket::open(at, network));
    let other = other.filter(|it| it.as_ref().is_ok_and(|it| it.served != one.served));
    let mut other = { other }.next().context("all are at one instance")??;
    // The first ones may be said before the other instance listens.
    eventually("one hears the other", SOON, || {
        one.say("hello")?;
        let heard = other.hear(Duration::from_secs(1))?;
        ensure!(heard == Heard::Text("hello".to_owned()), "{heard:?}");
        Ok(())
    })?;

    let door = |check: &str| site.operator.check("lib1", "door", check);
    let is = |check: &str, wanted: Verdict| {
        eventually(&format!("door.{check} to be {wanted:?}"), SOON, || {
            let (verdict, evidence) = door(check)?;
            ensure!(verdict == wanted, "{verdict:?}: {evidence}");
            Ok(())
        })
    };
    is("sockets", Verdict::Ok)?;
    is("status", Verdict::Ok)?;
    // Pages go through, WebSockets do not: what a load balancer does whose configuration hands no upgrade on.
    site.hand_upgrades_on(false)?;
    is("sockets", Verdict::Bad)?;
    is("status", Verdict::Ok)?;
    site.hand_upgrades_on(true)?;
    is("sockets", Verdict::Ok)?;

    let operation = site.operator.run(&for_all("shutdown"))?;
    let in_order = |earlier: &str, later: &str| {
        let earlier = site.operator.step(&operation, earlier)?;
        let later = site.operator.step(&operation, later)?;
        ensure!(later.began_ms >= earlier.ended_ms, "{earlier:?} {later:?}");
        Ok(())
    };
    in_order("stop:lb@lb1", "stop:library@lib1")?;
    in_order("stop:library@lib1", "stop:intelligence@is1")?;
    for number in NUMBERS {
        let stop = format!("stop:collab@collab{number}");
        for later in ["stop:lb@lb1", "stop:redis@redis1", "stop:db@db1"] {
            in_order(&stop, later)?;
        }
        let log = site.log(number)?;
        ensure!(log.ends_with("ended\n"), "{log}");
        ensure!(
            !log.contains("lost"),
            "collab{number} lost something: {log}"
        );
    }
    Ok(())
}
