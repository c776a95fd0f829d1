//! The act in which a primary is killed: its standby takes over, and it comes back as a standby.
//!
//! A small cluster of its own, on the loopback network like the rest. An address that goes with the role would take root, so a
//! client asks both machines here.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use interlock_e2e::eventually;
use interlock_e2e::local::pair::{Pair, Server};

use super::story::{act, show};

/// The longest that anything takes here.
const SOON: Duration = Duration::from_secs(45);

/// How many rows are written before anything happens.
const ROWS: u32 = 5;

/// Plays it.
pub(super) fn play(number: u32) -> Result<()> {
    let server = Server::installed();
    act(
        number,
        match server {
            Server::Postgres => {
                "Two more machines with a real PostgreSQL each, of which one is primary by its lease, and the other one follows. \
                 The primary is killed with -9."
            }
            Server::StandIn => {
                "Two more machines, of which one is primary by its lease. PostgreSQL 15 is not installed, so the server is a \
                 stand-in: it keeps no data, and runs on the primary alone. It is killed with -9."
            }
        },
    );
    let pair = Pair::begin(server)?;
    let ctl = |words: &[&str]| show(pair.ctl()?.args(words), words);
    let always = ["--yes", "--cluster", "local", "--reason", "demo"];
    ctl(&[["startup", "--service", "db"].as_slice(), &always].concat())?;
    let (first, _) = pair.primary()?;
    let second = Pair::other(&first);
    pair.make_table(&first)?;
    pair.until_standby(second)?;
    for row in 0..ROWS {
        ensure!(
            pair.write(&first, &format!("row-{row}"))?,
            "{first} takes no rows"
        );
    }
    ensure!(!pair.write(second, "nobody's")?, "{second} takes rows");
    // What is acknowledged is on its way to the standby: where it has to be there first, `synchronous: on` says so.
    let has_all = |node: &str| {
        eventually("all rows to be there", SOON, || {
            let Some(rows) = pair.rows(node)? else {
                return Ok(());
            };
            let missing = (0..ROWS).find(|row| !rows.contains(&format!("row-{row}")));
            ensure!(missing.is_none(), "{rows:?}");
            Ok(())
        })
    };
    has_all(second)?;

    let killed = pair.kill_server(&first)?;
    let began = Instant::now();
    println!(
        "$ kill -9 {}        # the server on {first}",
        killed.as_raw_nonzero()
    );
    let mut wrong = false;
    eventually("writes", SOON, || {
        wrong |= pair.write(&first, "nobody's")?;
        let taken = pair.write(second, "row-after")?;
        taken.then_some(()).context("nobody takes rows")
    })?;
    ensure!(!wrong, "{first} took a row although it had been killed");
    println!(
        "{second} takes writes after {:.1} s",
        began.elapsed().as_secs_f32()
    );
    has_all(second)?;
    pair.until_standby(&first)?;
    ensure!(!pair.write(&first, "nobody's")?, "{first} takes rows");
    println!(
        "{first} is back after {:.1} s, as a standby{}\n",
        began.elapsed().as_secs_f32(),
        match server {
            Server::Postgres => " that follows; not a row was lost",
            Server::StandIn => "",
        }
    );
    // What the coordinators have written down of it.
    ctl(&["why", "db"])
}
