//! Every start is that of a server that refuses writes, and how it has to be set.

use std::error::Error as _;
use std::fs;

use interlock_agent::mariadb::{Link, Observed};
use rustix::process::Signal;

use crate::bed::{Mariadb, SOON, installed, pair, refusal};

#[tokio::test]
async fn whoever_starts_it_has_a_server_that_refuses_writes_and_follows_nobody() {
    let Some((mut one, mut two)) = pair().await else {
        return;
    };
    let written = one.client("INSERT INTO app.t VALUES (1)").output().unwrap();
    assert!(written.status.success(), "{written:?}");
    two.until_level(&one).await;
    one.end(Signal::KILL);
    two.end(Signal::KILL);
    let observed = one.server.observe(SOON).await.unwrap();
    assert_eq!(observed, Observed::Stopped);
    for server in [&mut one, &mut two] {
        let facts = server.launch().await;
        assert!(facts.read_only, "{facts:?}");
        let links = facts.sources.iter().map(|source| source.link);
        assert!(
            links.into_iter().all(|link| link == Link::Stopped),
            "{facts:?}"
        );
        let refused = server.client("INSERT INTO app.t VALUES (2)").output();
        let said = refusal(&refused.unwrap());
        assert!(said.contains("read-only"), "{said}");
        assert_eq!(server.rows(), [1], "what was acknowledged is there");
    }
}

#[tokio::test]
async fn a_configuration_that_would_start_a_primary_is_refused_before_it_does() {
    if !installed() {
        return;
    }
    let one = Mariadb::new(1);
    one.server.prepare_start().await.unwrap();
    let good = fs::read_to_string(one.path("my.cnf")).unwrap();
    let own = fs::read_to_string(one.path("interlock.cnf")).unwrap();
    for (text, why) in [
        (
            format!("{good}[mariadb]\nskip-read-only\n"),
            "read_only=OFF",
        ),
        (
            format!("{good}[mysqld]\nskip_slave_start=0\n"),
            "skip_slave_start=0",
        ),
        (
            good.replace("!include", "#include"),
            "does not say read_only=ON",
        ),
    ] {
        fs::write(one.path("my.cnf"), text).unwrap();
        let error = one.server.prepare_start().await.unwrap_err();
        let said = error.source().unwrap().to_string();
        assert!(
            said.contains(why) && said.contains("interlock.cnf"),
            "{said}"
        );
    }
    fs::write(one.path("my.cnf"), good).unwrap();
    // What somebody changes of the agent's own file is put right.
    fs::write(one.path("interlock.cnf"), "[mariadbd]\nread_only=OFF\n").unwrap();
    one.server.prepare_start().await.unwrap();
    assert_eq!(fs::read_to_string(one.path("interlock.cnf")).unwrap(), own);
}

#[tokio::test]
async fn a_server_that_is_set_to_lose_or_to_hide_something_is_objected_to() {
    let Some((one, _two)) = pair().await else {
        return;
    };
    let objection = async || one.server.objection(SOON).await.unwrap();
    assert_eq!(objection().await, None);
    for (bad, good, why) in [
        (
            "SET GLOBAL sync_binlog=0",
            "SET GLOBAL sync_binlog=1",
            "sync_binlog is 0",
        ),
        (
            "SET GLOBAL event_scheduler=ON",
            "SET GLOBAL event_scheduler=OFF",
            "event_scheduler is ON",
        ),
        (
            "CREATE USER boss@'%'; GRANT READ_ONLY ADMIN ON *.* TO boss@'%'",
            "DROP USER boss@'%'",
            "'boss'@'%' may write although it is read-only",
        ),
        (
            "CHANGE MASTER 'legacy' TO master_host='127.0.0.1', master_port=1",
            "RESET SLAVE 'legacy' ALL",
            "a connection of its own, 'legacy'",
        ),
        // The last one: there is no way back.
        (
            "SET SESSION gtid_domain_id=7; INSERT INTO app.t VALUES (7)",
            "",
            "transactions of another domain (7-1-1)",
        ),
    ] {
        one.sql(bad);
        let said = objection().await.unwrap_or_default();
        assert!(said.contains(why), "{bad}: {said}");
        if !good.is_empty() {
            one.sql(good);
            assert_eq!(objection().await, None, "{good}");
        }
    }
    assert!(one.facts().await.position().is_err());
}
