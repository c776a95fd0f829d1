//! The pair of the demo: a primary that is killed, its standby, and how it comes back.

use std::time::Duration;

use anyhow::{Result, ensure};
use interlock_e2e::eventually;
use interlock_e2e::local::for_all;
use interlock_e2e::local::pair::{Pair, Server};

/// The longest that anything takes here.
const SOON: Duration = Duration::from_secs(45);

fn a_killed_primary_is_followed_by_its_standby(server: Server) -> Result<()> {
    let pair = Pair::begin(server)?;
    pair.operator.run(&for_all("startup"))?;
    let (first, epoch) = pair.primary()?;
    let second = Pair::other(&first);
    pair.make_table(&first)?;
    pair.until_standby(second)?;
    ensure!(pair.write(&first, "before")?, "{first} takes no rows");
    ensure!(!pair.write(second, "wrong")?, "{second} takes rows");

    pair.kill_server(&first)?;
    let later = eventually("the other one to be primary", SOON, || {
        let (primary, epoch) = pair.primary()?;
        ensure!(primary == second, "{primary} is");
        Ok(epoch)
    })?;
    ensure!(later == epoch + 1, "epoch {later} after {epoch}");
    ensure!(pair.write(second, "after")?, "{second} takes no rows");
    pair.until_standby(&first)?;
    ensure!(!pair.write(&first, "wrong")?, "{first} takes rows");
    if let Some(rows) = pair.rows(&first)? {
        ensure!(rows.iter().all(|row| row != "wrong"), "{rows:?}");
        eventually("the row of the new primary", SOON, || {
            let rows = pair.rows(&first)?.unwrap_or_default();
            ensure!(rows.iter().any(|row| row == "after"), "{rows:?}");
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_stand_in() -> Result<()> {
    a_killed_primary_is_followed_by_its_standby(Server::StandIn)
}

#[test]
fn a_real_server_where_there_is_one() -> Result<()> {
    if Server::installed() == Server::StandIn {
        interlock_e2e::skip(
            "a pair of PostgreSQL without root",
            "postgresql-15 is missing",
        );
        return Ok(());
    }
    a_killed_primary_is_followed_by_its_standby(Server::Postgres)
}
