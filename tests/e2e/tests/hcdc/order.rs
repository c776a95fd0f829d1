//! Starting and stopping.

use std::net::TcpStream;

use anyhow::{Result, ensure};
use interlock_e2e::local::{for_all, for_services, web};
use interlock_e2e::systems::hcdc::{NUMBERS, SOON, Site};
use interlock_e2e::{eventually, patience};
use interlock_mesh::identity::Role;
use interlock_proto::v1::Verdict;

#[test]
fn nodes_start_one_by_one_when_each_reaches_every_store_and_stop_under_nobody() -> Result<()> {
    let Some(site) = Site::begin()? else {
        return Ok(());
    };
    let operation = site.operator.run(&for_all("startup"))?;
    let step = |step: &str| site.operator.step(&operation, step);
    for store in ["db@pg1", "redis@redis1", "nfs@nfs1"] {
        let store = step(&format!("start:{store}"))?;
        ensure!(step("start:hipchat@hipchat1")?.began_ms >= store.ended_ms);
    }
    for number in [2, 3] {
        let before = step(&format!("start:hipchat@hipchat{}", number - 1))?;
        let start = step(&format!("start:hipchat@hipchat{number}"))?;
        ensure!(start.began_ms >= before.ended_ms, "{start:?} {before:?}");
    }
    let balancer = step("start:lb@lb1")?;
    ensure!(balancer.began_ms >= step("start:hipchat@hipchat2")?.ended_ms);
    for number in NUMBERS {
        let admit = step(&format!("admit:hipchat@hipchat{number}:lb@lb1"))?;
        ensure!(admit.began_ms >= balancer.ended_ms, "{admit:?}");
        // What counts is what each of them sees, with what it has itself.
        for (store, check) in [
            ("db", "works"),
            ("redis", "works"),
            ("nfs", "listens"),
            ("nfs", "mounted"),
            ("nfs", "writes"),
        ] {
            let (verdict, evidence) = site.check(number, store, check)?;
            ensure!(verdict == Verdict::Ok, "{store}.{check}: {evidence}");
        }
    }
    site.members_are(["UP"; 3])?;

    // A client is at work while everything stops: he has his answer, and nobody new gets in.
    std::fs::write(site.cluster.path("slow"), "")?;
    let door = site.door()?;
    let operation = std::thread::scope(|clients| -> Result<String> {
        let client = clients.spawn(|| web::get(door, "/slow", None));
        eventually("he is at work", SOON, || {
            let sessions = site.balancer().figures("scur")?;
            ensure!(sessions.contains(&"1".to_owned()), "{sessions:?}");
            Ok(())
        })?;
        let operation = site.operator.begin(&for_all("shutdown"), false)?;
        eventually("nobody new gets in", SOON, || {
            let opened = TcpStream::connect_timeout(&door, patience(SOON));
            ensure!(opened.is_err(), "somebody did");
            Ok(())
        })?;
        for number in NUMBERS {
            let stop = format!("stop:hipchat@hipchat{number}");
            let stop = site.operator.step(&operation, &stop)?;
            ensure!(stop.began_ms == 0, "under a client: {stop:?}");
        }
        std::fs::remove_file(site.cluster.path("slow"))?;
        let answer = client.join().map_err(|_| anyhow::anyhow!("it panicked"))?;
        let (head, page) = answer?;
        ensure!(head.status == 200, "{head:?} {page}");
        Ok(operation)
    })?;
    site.operator.until(&operation, "done")?;
    let step = |step: &str| site.operator.step(&operation, step);
    let mut before = step("stop:lb@lb1")?;
    for number in [3, 2, 1] {
        let stop = step(&format!("stop:hipchat@hipchat{number}"))?;
        ensure!(stop.began_ms >= before.ended_ms, "{stop:?} {before:?}");
        before = stop;
    }
    for store in ["nfs@nfs1", "redis@redis1", "db@pg1"] {
        let stop = step(&format!("stop:{store}"))?;
        ensure!(stop.began_ms >= before.ended_ms, "{stop:?} {before:?}");
    }
    for number in NUMBERS {
        let log = site.log(number)?;
        ensure!(log.ends_with("ended\n"), "{log}");
        ensure!(!log.contains("lost"), "hipchat{number}: {log}");
    }
    let recorded = site.database.recorded()?;
    ensure!(recorded == "shut down", "{recorded}");
    Ok(())
}

#[test]
fn a_database_that_listens_to_itself_alone_stops_the_start_and_each_node_that_misses_it_is_named()
-> Result<()> {
    let Some(site) = Site::with_a_lonely_database()? else {
        return Ok(());
    };
    let operation = site.operator.begin(&for_all("startup"), false)?;
    eventually("the first node waits for it", SOON, || {
        let seen = site.operator.step(&operation, "start:hipchat@hipchat1")?;
        ensure!(seen.began_ms == 0, "it has begun: {seen:?}");
        ensure!(seen.waits_for.contains("db.works on hipchat1"), "{seen:?}");
        let told = site.cluster.ctl("anna", Role::Reader, &["status"])?;
        let told = String::from_utf8_lossy(&told.stdout).into_owned();
        ensure!(told.contains("cause: db"), "{told}");
        let named = "db.works on hipchat1, hipchat2 and hipchat3 is bad";
        ensure!(told.contains(named), "{told}");
        ensure!(told.contains("refuses connections"), "{told}");
        Ok(())
    })?;
    for number in NUMBERS {
        ensure!(site.log(number).is_err(), "hipchat{number} was started");
    }

    // It is put right where it is wrong; a server of PostgreSQL has to be started again for that.
    site.operator.control(&operation, "abort", "", "listen")?;
    site.operator.until(&operation, "aborted")?;
    site.let_the_database_be_reached()?;
    site.operator.run(&for_services("restart", &["db"]))?;
    site.operator.until_service("db", "ok", &[])?;
    site.operator.run(&for_all("startup"))?;
    site.members_are(["UP"; 3])
}
