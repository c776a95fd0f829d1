//! The load balancer and its three nodes.

use anyhow::{Context as _, Result, ensure};
use interlock_e2e::eventually;
use interlock_e2e::local::{for_all, for_services, web};
use interlock_e2e::systems::hcdc::{NUMBERS, SOON, Site};
use interlock_proto::v1::{MakePlanRequest, Verdict};
use serde_json::Value;

/// The node that serves a client, by a cookie or to whom it comes.
fn served(site: &Site, cookie: Option<&str>) -> Result<String> {
    let (head, page) = web::get(site.door()?, "/", cookie)?;
    ensure!(head.status == 200, "{head:?}: {page}");
    let told: Value = serde_json::from_str(&page)?;
    Ok(told["node"].as_str().context("no node")?.to_owned())
}

fn for_node(kind: &str, node: &str) -> MakePlanRequest {
    MakePlanRequest {
        nodes: vec![node.to_owned()],
        ..for_services(kind, &[])
    }
}

#[test]
fn who_has_a_cookie_stays_while_his_node_is_drained_and_is_sent_on_afterwards_also_over_a_reload()
-> Result<()> {
    let Some(site) = Site::begin()? else {
        return Ok(());
    };
    site.operator.run(&for_all("startup"))?;
    let cookie = Some("SERVERID=hipchat1");
    ensure!(served(&site, cookie)? == "hipchat1");
    std::fs::write(site.cluster.path("slow"), "")?;
    let door = site.door()?;
    let operation = std::thread::scope(|clients| -> Result<String> {
        let client = clients.spawn(move || web::get(door, "/slow", cookie));
        eventually("he is at work", SOON, || {
            let sessions = site.balancer().figures("scur")?;
            ensure!(sessions[0] == "1", "{sessions:?}");
            Ok(())
        })?;
        let operation = site
            .operator
            .begin(&for_node("shutdown", "hipchat1"), false)?;
        eventually("it is drained", SOON, || {
            site.members_are(["DRAIN", "UP", "UP"])
        })?;
        ensure!(served(&site, cookie)? == "hipchat1", "he is not kept");
        for _ in 0..6 {
            ensure!(served(&site, None)? != "hipchat1", "a new one came in");
        }
        std::fs::remove_file(site.cluster.path("slow"))?;
        let answer = client.join().map_err(|_| anyhow::anyhow!("it panicked"))?;
        ensure!(answer?.0.status == 200, "he was cut off");
        Ok(operation)
    })?;
    site.operator.until(&operation, "done")?;
    let drain = "drain:hipchat@hipchat1:lb@lb1";
    let drain = site.operator.step(&operation, drain)?;
    ensure!(drain.evidence.contains("no session left"), "{drain:?}");
    ensure!(served(&site, cookie)? != "hipchat1", "nobody is there");

    // Whoever reloads it knows nothing of who is out.
    let before = site.balancer().worker()?;
    site.balancer().reload()?;
    eventually("the new process is told", SOON, || {
        ensure!(site.balancer().worker()? != before, "not reloaded yet");
        site.members_are(["MAINT", "UP", "UP"])
    })?;
    eventually("that is told", SOON, || {
        let events = site.operator.events()?;
        let told = "hipchat@hipchat1 was ready behind our back";
        ensure!(events.iter().any(|it| it.text.contains(told)), "{events:?}");
        Ok(())
    })?;

    site.operator.run(&for_all("startup"))?;
    site.members_are(["UP"; 3])?;
    ensure!(served(&site, cookie)? == "hipchat1", "it is not back");
    Ok(())
}

#[test]
fn who_is_taken_out_by_hand_is_seen_by_what_the_load_balancer_says_and_comes_back() -> Result<()> {
    let Some(site) = Site::begin()? else {
        return Ok(());
    };
    site.operator.run(&for_all("startup"))?;
    let servers = || site.check_on("lb1", "lb", "servers");
    eventually("all take clients", SOON, || {
        let (verdict, evidence) = servers()?;
        let well = "3 servers take clients";
        ensure!(verdict == Verdict::Ok && evidence == well, "{evidence}");
        Ok(())
    })?;
    let by_hand = |what: &str| -> Result<()> {
        let command = format!("set server hipchat/hipchat2 {what}");
        site.balancer().tell(&command).map(drop)
    };
    by_hand("state maint")?;
    eventually("it is seen", SOON, || {
        // It is put back now and then, which may be before two checks in a row have seen it.
        by_hand("state maint")?;
        let (verdict, evidence) = servers()?;
        let named = evidence.contains("hipchat/hipchat2 is MAINT");
        ensure!(verdict == Verdict::Bad && named, "{evidence}");
        let told = site
            .operator
            .until_service("lb", "degraded", &["lb.servers on lb1"]);
        told.map(drop)
    })?;
    eventually("it is put back", SOON, || {
        site.members_are(["UP"; 3])?;
        let (verdict, evidence) = servers()?;
        ensure!(verdict == Verdict::Ok, "{evidence}");
        Ok(())
    })?;

    // Well by its own checks, and not for the load balancer: nobody else sees that.
    by_hand("addr 127.255.255.254 port 9")?;
    eventually("it is down there", SOON, || {
        let (verdict, evidence) = servers()?;
        let named = evidence.contains("hipchat/hipchat2 is DOWN");
        ensure!(verdict == Verdict::Bad && named, "{evidence}");
        Ok(())
    })?;
    let (verdict, evidence) = site.check(2, "hipchat", "web")?;
    ensure!(verdict == Verdict::Ok, "{evidence}");

    // Who is put out by a plan is as he should be.
    site.operator.run(&for_node("shutdown", "hipchat2"))?;
    eventually("it is named as put out", SOON, || {
        let (verdict, evidence) = servers()?;
        let named = evidence.contains("put out by a plan: hipchat/hipchat2 is");
        ensure!(verdict == Verdict::Ok && named, "{evidence}");
        Ok(())
    })
}

#[test]
fn no_second_node_is_taken_out_while_one_is_missing() -> Result<()> {
    let Some(site) = Site::begin()? else {
        return Ok(());
    };
    site.operator.run(&for_all("startup"))?;
    let restart = for_services("restart", &["hipchat"]);
    ensure!(!site.operator.plan(&restart)?.digest.is_empty(), "refused");
    let agent = site.cluster.at_agent("hipchat3")?;
    agent.by_hand("hipchat", "stop")?;
    site.operator
        .until_service("hipchat", "degraded", &["hipchat3"])?;
    for request in [
        restart,
        for_node("shutdown", "hipchat2"),
        for_node("reboot", "hipchat1"),
    ] {
        let refused = site.operator.plan(&request)?;
        ensure!(refused.digest.is_empty(), "{} is planned", request.kind);
        let why = refused.report_json;
        ensure!(why.contains("\"capacity-short\""), "{why}");
    }
    let members = site.balancer().members()?;
    ensure!(members[..2] == ["UP", "UP"], "{members:?}");

    site.operator.run(&for_all("startup"))?;
    let operation = site.operator.run(&for_services("restart", &["hipchat"]))?;
    let step = |step: String| site.operator.step(&operation, &step);
    let mut out = Vec::new();
    for number in NUMBERS {
        let drained = step(format!("drain:hipchat@hipchat{number}:lb@lb1"))?;
        let admitted = step(format!("admit:hipchat@hipchat{number}:lb@lb1"))?;
        out.push((drained.began_ms, admitted.ended_ms));
    }
    out.sort_unstable();
    let one_by_one = out.windows(2).all(|two| two[0].1 <= two[1].0);
    ensure!(one_by_one, "two were out at once: {out:?}");
    Ok(())
}

#[test]
fn the_load_balancer_starts_without_a_node_that_is_missing_and_has_it_back_with_the_next_startup()
-> Result<()> {
    let Some(site) = Site::begin()? else {
        return Ok(());
    };
    site.operator.run(&for_all("startup"))?;
    let agent = site.cluster.at_agent("hipchat3")?;
    agent.by_hand("hipchat", "stop")?;
    site.operator
        .until_service("hipchat", "degraded", &["hipchat3"])?;
    site.operator.run(&for_services("shutdown", &["lb"]))?;
    // Its HAProxy finds the third one down, and would never be well.
    let operation = site.operator.run(&for_services("startup", &["lb"]))?;
    let left = site
        .operator
        .step(&operation, "drain:hipchat@hipchat3:lb@lb1")?;
    ensure!(left.state == "done", "{left:?}");
    site.members_are(["UP", "UP", "MAINT"])?;
    // A HAProxy that has just started takes them all for up: the check may have asked it before the drain.
    eventually("it is named as put out", SOON, || {
        let (verdict, evidence) = site.check_on("lb1", "lb", "servers")?;
        let named = evidence.contains("put out by a plan: hipchat/hipchat3 is MAINT");
        ensure!(verdict == Verdict::Ok && named, "{evidence}");
        Ok(())
    })?;
    ensure!(served(&site, None)? != "hipchat3");

    site.operator.run(&for_all("startup"))?;
    site.members_are(["UP"; 3])
}
